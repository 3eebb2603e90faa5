//! Files with chunks, on servers that keep states instead of bytes.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, InodeId, Millis, ROOT_INODE};

use super::world::{CHUNK, World};
use crate::brain::{Request, Response};

pub(super) fn create(world: &mut World, client: u64, path: &str) -> pb::CreateResponse {
    let header = world.header(client, next(world));
    let request = pb::CreateRequest { header, path: path.into(), ..Default::default() };
    match world.ask(Request::Create(request)) {
        Ok(Response::Create(response)) => response,
        other => panic!("{other:?}"),
    }
}

pub(super) fn next(world: &World) -> u64 {
    world.fresh().unwrap().sequence
}

pub(super) fn done(chunk: &pb::ChunkLocation, length: u32) -> pb::FinishedChunk {
    pb::FinishedChunk { handle: chunk.handle, version: chunk.version, length }
}

pub(super) fn allocate(
    world: &mut World,
    client: u64,
    inode: u64,
    index: u32,
    finished: Option<pb::FinishedChunk>,
) -> Result<pb::ChunkLocation, ErrorCode> {
    let header = world.header(client, next(world));
    let request = pb::AllocateRequest { header, inode, index, finished, place: None };
    match world.ask(Request::Allocate(request)) {
        Ok(Response::Allocate(response)) => Ok(response.chunk.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

pub(super) fn close(
    world: &mut World,
    client: u64,
    inode: u64,
    finished: Vec<pb::FinishedChunk>,
) -> Result<pb::Attributes, ErrorCode> {
    let header = world.header(client, next(world));
    let request = pb::CloseRequest { header, inode, finished, abandon: false };
    match world.ask(Request::Close(request)) {
        Ok(Response::Close(response)) => Ok(response.attributes.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

pub(super) fn open(
    world: &mut World,
    client: u64,
    inode: u64,
) -> Result<pb::OpenResponse, ErrorCode> {
    let header = world.header(client, next(world));
    let request = pb::OpenRequest { header, inode, write: true, ..Default::default() };
    match world.ask(Request::Open(request)) {
        Ok(Response::Open(response)) => Ok(response),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

pub(super) fn recover(
    world: &mut World,
    client: u64,
    inode: u64,
    chunk: &pb::ChunkLocation,
    unreachable: Vec<u32>,
) -> Result<pb::ChunkLocation, ErrorCode> {
    let request = pb::RecoverRequest {
        header: world.header(client, next(world)),
        inode,
        handle: chunk.handle,
        version: chunk.version,
        unreachable,
        place: None,
    };
    match world.ask(Request::Recover(request)) {
        Ok(Response::Recover(response)) => Ok(response.chunk.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

pub(super) fn stat(world: &mut World, path: &str) -> pb::StatResponse {
    let request = pb::StatRequest { header: world.header(99, 0), path: path.into(), inode: 0 };
    match world.ask(Request::Stat(request)) {
        Ok(Response::Stat(response)) => response,
        other => panic!("{other:?}"),
    }
}

pub(super) fn locate(world: &mut World, inode: u64, offset: u64) -> Vec<pb::ChunkLocation> {
    let request =
        pb::LocateRequest { header: world.header(99, 0), inode, offset, ..Default::default() };
    match world.ask(Request::Locate(request)) {
        Ok(Response::Locate(response)) => response.chunks,
        other => panic!("{other:?}"),
    }
}

/// Fsck finds nothing, and a brain loaded from the store knows the same.
pub(super) fn sound(world: &mut World) {
    world.settle();
    let request = pb::FsckRequest { header: world.header(99, 0), ..Default::default() };
    let Ok(Response::Fsck(report)) = world.ask(Request::Fsck(request)) else { panic!() };
    let faults: Vec<_> = report.problems.iter().filter(|p| p.kind == "LENGTH_MISMATCH").collect();
    assert!(faults.is_empty(), "{faults:?}");
    world.settle();
    let loaded = world.load();
    for (inode, _) in world.brain.namespace.iter_from(InodeId(0)) {
        if inode != ROOT_INODE && inode.0 != 2 {
            assert_eq!(world.brain.entry_record(inode), loaded.entry_record(inode));
        }
    }
    for (inode, writing) in &world.brain.writers {
        let other = &loaded.writers[inode];
        assert_eq!((writing.record(), writing.spare), (other.record(), other.spare));
    }
    assert_eq!(world.brain.writers.len(), loaded.writers.len());
}

#[test]
fn a_file_of_three_chunks() {
    let mut world = World::with_servers(4);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let first = made.chunk.unwrap();
    assert_eq!((first.servers.len(), first.version, first.index), (3, 1, 0));
    assert_eq!(first.primary, first.servers[0].server);
    sound(&mut world);

    world.write(&first, CHUNK);
    let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
    assert_eq!((spare.index, spare.start), (1, CHUNK.into()));
    assert_eq!(allocate(&mut world, 7, inode, 1, None).unwrap().handle, spare.handle, "one spare");
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().chunks, 1, "a spare is no extent");
    assert_eq!(locate(&mut world, inode, CHUNK.into()).last().unwrap().handle, spare.handle);
    sound(&mut world);

    // The second is an extent once the first is known full.
    let third = allocate(&mut world, 7, inode, 2, Some(done(&first, CHUNK))).unwrap();
    assert_eq!((third.index, third.start), (2, 2 * u64::from(CHUNK)));
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().chunks, 2);
    sound(&mut world);
    world.write(&spare, CHUNK);
    world.write(&third, 1_000);
    let closed =
        close(&mut world, 7, inode, vec![done(&spare, CHUNK), done(&third, 1_000)]).unwrap();
    assert_eq!(closed.length, 2 * u64::from(CHUNK) + 1_000);
    assert!(!closed.open_for_write);
    sound(&mut world);
    let all = locate(&mut world, inode, 0);
    let sealed: Vec<_> = all.iter().map(|c| (c.start, c.length, c.sealed)).collect();
    let size = u64::from(CHUNK);
    assert_eq!(sealed, [(0, CHUNK, true), (size, CHUNK, true), (2 * size, 1_000, false)]);
    assert_eq!(locate(&mut world, inode, size).len(), 2);
    assert_eq!(locate(&mut world, inode, 2 * size + 5_000).len(), 1, "it may have grown");
}

#[test]
fn an_empty_file_keeps_no_chunk() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let closed = close(&mut world, 7, inode, vec![]).unwrap();
    assert_eq!((closed.length, closed.chunks), (0, 0));
    sound(&mut world);
    world.run(Millis(1_000));
    assert!(world.servers.iter().all(|s| s.held.is_empty()), "deleted on all servers");
    sound(&mut world);
}

#[test]
fn one_writer_at_a_time() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    assert_eq!(open(&mut world, 8, inode).unwrap_err(), ErrorCode::Busy);
    assert_eq!(recover(&mut world, 8, inode, &chunk, vec![]).unwrap_err(), ErrorCode::Busy);
    assert_eq!(close(&mut world, 8, inode, vec![]).unwrap_err(), ErrorCode::Conflict);
    assert_eq!(allocate(&mut world, 8, inode, 1, None).unwrap_err(), ErrorCode::Conflict);
    world.write(&chunk, 500);
    close(&mut world, 7, inode, vec![done(&chunk, 500)]).unwrap();

    let opened = open(&mut world, 8, inode).unwrap();
    let last = opened.last.unwrap();
    assert!(last.version > chunk.version);
    assert_ne!(last.primary, 0);
    assert_eq!((last.length, opened.attributes.unwrap().length), (500, 500));
    assert_eq!(
        close(&mut world, 7, inode, vec![done(&chunk, 600)]).unwrap_err(),
        ErrorCode::Conflict
    );
    world.write(&last, 900);
    let old = done(&chunk, 900);
    assert_eq!(close(&mut world, 8, inode, vec![old]).unwrap_err(), ErrorCode::StaleVersion);
    close(&mut world, 8, inode, vec![done(&last, 900)]).unwrap();
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().length, 900);
    sound(&mut world);
}

#[test]
fn what_a_vanished_writer_wrote_is_kept() {
    let mut world = World::with_servers(4);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let first = made.chunk.unwrap();
    world.write(&first, CHUNK);
    let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
    // The first is full and acknowledged, of which the master never heard; then some more.
    world.write(&spare, 300);
    world.run(Millis(59_000));
    assert_eq!(open(&mut world, 8, inode).unwrap_err(), ErrorCode::Busy);
    world.run(Millis(2_000));
    let opened = open(&mut world, 8, inode).unwrap();
    assert_eq!(opened.attributes.unwrap().length, u64::from(CHUNK) + 300);
    let last = opened.last.unwrap();
    assert_eq!((last.handle, last.length), (spare.handle, 300));
    assert!(last.version > 1);
    // The old one cannot come back.
    assert_eq!(recover(&mut world, 7, inode, &spare, vec![]).unwrap_err(), ErrorCode::Busy);
    sound(&mut world);
}

#[test]
fn readers_do_not_wait_for_a_writer_that_is_gone() {
    let mut world = World::with_servers(4);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    world.write(&chunk, 700);
    // While there is a primary, it says what is acknowledged.
    assert_eq!(recover(&mut world, 8, inode, &chunk, vec![]).unwrap_err(), ErrorCode::Busy);
    // The writer's machine dies, and the primary is started anew: nobody knows any more.
    let primary = world.servers.iter().position(|s| s.number == chunk.primary).unwrap();
    for held in world.servers[primary].held.values_mut() {
        held.state.lease = false;
    }
    world.register(primary);
    world.settle();
    let found = recover(&mut world, 8, inode, &chunk, vec![]).unwrap();
    assert!(found.version > chunk.version);
    assert_eq!((found.length, found.primary), (700, 0));
    // Should the writer live after all, it goes on.
    let next = recover(&mut world, 7, inode, &chunk, vec![]).unwrap();
    assert!(next.version > found.version && next.primary != 0);
    world.write(&next, 900);
    assert_eq!(recover(&mut world, 8, inode, &next, vec![]).unwrap_err(), ErrorCode::Busy);
    close(&mut world, 7, inode, vec![done(&next, 900)]).unwrap();
    sound(&mut world);
}

#[test]
fn a_writer_goes_on_without_a_server() {
    let mut world = World::with_servers(4);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    world.write(&chunk, 700);
    let victim = chunk.servers[1].server;
    world.server(victim).silent = true;
    let next = recover(&mut world, 7, inode, &chunk, vec![victim]).unwrap();
    assert!(next.version > chunk.version);
    assert!(next.servers.iter().all(|s| s.server != victim));
    assert_eq!(next.length, 700);
    assert!(next.servers.len() >= 2);
    assert_ne!(next.primary, 0);
    // Who asks for what is done already is answered at once.
    let next = recover(&mut world, 7, inode, &chunk, vec![victim]).unwrap();
    world.write(&next, 800);
    close(&mut world, 7, inode, vec![done(&next, 800)]).unwrap();
    sound(&mut world);
}

#[test]
fn a_repeated_create_is_answered_with_the_same_file() {
    let mut world = World::with_servers(3);
    let header = world.header(7, 1);
    let request = pb::CreateRequest { header, path: "/f".into(), ..Default::default() };
    let Ok(Response::Create(first)) = world.ask(Request::Create(request.clone())) else { panic!() };
    let Ok(Response::Create(again)) = world.ask(Request::Create(request.clone())) else { panic!() };
    assert_eq!(first, again);
    world.crash();
    world.register_all();
    let mut later = request;
    later.header = world.header(7, 1);
    let Ok(Response::Create(after)) = world.ask(Request::Create(later)) else { panic!() };
    assert_eq!(first.attributes, after.attributes);
    assert_eq!(first.chunk.unwrap().handle, after.chunk.unwrap().handle);
}

#[test]
fn repeats_of_a_waiting_call_wait_with_it() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    let request = Request::Recover(pb::RecoverRequest {
        header: world.header(7, 500_000),
        inode,
        handle: chunk.handle,
        version: chunk.version,
        ..Default::default()
    });
    let tokens: Vec<_> = (0..3).map(|_| world.call(request.clone())).collect();
    assert!(world.replies.is_empty());
    world.settle();
    for token in tokens {
        let Some(Ok(Response::Recover(r))) = world.replies.remove(&token) else { panic!() };
        assert_eq!(r.chunk.unwrap().version, 2);
    }
}

#[test]
fn large_files_lie_in_pages() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let mut chunk = made.chunk.unwrap();
    for index in 1..70 {
        world.write(&chunk, CHUNK);
        let finished = Some(done(&chunk, CHUNK));
        chunk = allocate(&mut world, 7, inode, index, finished).unwrap();
        assert_eq!(chunk.start, u64::from(index) * u64::from(CHUNK));
    }
    sound(&mut world);
    assert!(world.store.iter().filter(|(key, _)| key[0] == b'x').count() == 2);
    // An empty last chunk goes, with its page if that becomes empty.
    close(&mut world, 7, inode, vec![]).unwrap();
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().length, 69 * u64::from(CHUNK));
    sound(&mut world);
    let far = 40 * u64::from(CHUNK) + 3;
    assert_eq!(locate(&mut world, inode, far)[0].index, 40);

    let request =
        pb::RemoveRequest { header: world.fresh(), path: "/f".into(), ..Default::default() };
    world.ask(Request::Remove(request)).unwrap();
    world.run(Millis(3_000));
    assert!(!world.store.keys().any(|key| matches!(key[0], b'x' | b'g')), "all records are gone");
    assert!(world.servers.iter().all(|s| s.held.is_empty()), "all replicas are gone");
}

#[test]
fn an_abandoned_file_leaves_nothing() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    allocate(&mut world, 7, inode, 1, None).unwrap();
    let abandon =
        pb::CloseRequest { header: world.fresh(), inode, abandon: true, ..Default::default() };
    let mut request = abandon.clone();
    request.header = world.header(7, 77_000);
    world.ask(Request::Close(request)).unwrap();
    let stat = pb::StatRequest { header: world.header(1, 0), path: "/f".into(), inode: 0 };
    assert_eq!(world.refused(Request::Stat(stat)), ErrorCode::NotFound);
    world.run(Millis(2_000));
    assert!(world.servers.iter().all(|s| s.held.is_empty()));
    sound(&mut world);
}
