//! Files that are overwritten, cut, and extended by holes.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, MAX_FILE_LENGTH, Millis};

use super::appending::{append, empty, tell_vanished};
use super::world::{CHUNK, World};
use super::writing::{allocate, close, create, done, locate, next, open, recover, sound, stat};
use crate::brain::{Event, Request, Response};

const SIZE: u64 = CHUNK as u64;

pub(super) fn lease(
    world: &mut World,
    client: u64,
    inode: u64,
    offset: u64,
) -> Result<pb::ChunkLocation, ErrorCode> {
    let header = world.header(client, next(world));
    let request = pb::LeaseRequest { header, inode, offset, ..Default::default() };
    match world.ask(Request::Lease(request)) {
        Ok(Response::Lease(response)) => Ok(response.chunk.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

fn truncation(world: &World, inode: u64, length: u64) -> Request {
    let header = world.header(50, next(world));
    Request::Truncate(pb::TruncateRequest { header, inode, path: String::new(), length })
}

/// Truncates, however often it is told to try again.
pub(super) fn truncate(world: &mut World, inode: u64, length: u64) -> Result<u64, ErrorCode> {
    for _ in 0..20 {
        let request = truncation(world, inode, length);
        match world.ask(request) {
            Ok(Response::Truncate(response)) => return Ok(response.attributes.unwrap().length),
            Ok(other) => panic!("{other:?}"),
            Err(detail) if detail.error_code() == ErrorCode::Busy => world.run(Millis(500)),
            Err(detail) => return Err(detail.error_code()),
        }
    }
    Err(ErrorCode::Busy)
}

/// A closed file of so many full chunks and some bytes more.
fn file(world: &mut World, path: &str, full: u32, more: u32) -> u64 {
    let made = create(world, 7, path);
    let inode = made.attributes.unwrap().inode;
    let mut chunk = made.chunk.unwrap();
    for index in 0..full {
        world.write(&chunk, CHUNK);
        chunk = allocate(world, 7, inode, index + 1, Some(done(&chunk, CHUNK))).unwrap();
    }
    if more > 0 {
        world.write(&chunk, more);
    }
    close(world, 7, inode, vec![done(&chunk, more)]).unwrap();
    inode
}

fn attributes(world: &mut World, path: &str) -> pb::Attributes {
    stat(world, path).attributes.unwrap()
}

/// Lengths of a chunk's replicas on all servers.
fn lengths(world: &World, handle: u64) -> Vec<u32> {
    let held = world.servers.iter().filter_map(|server| server.held.get(&handle));
    held.map(|held| held.state.length).collect()
}

#[test]
fn a_chunk_is_leased_to_be_overwritten_and_sealed_again() {
    let mut world = World::with_servers(4);
    let inode = file(&mut world, "/f", 1, 500);
    let before = locate(&mut world, inode, 0);
    let leased = lease(&mut world, 8, inode, 5).unwrap();
    assert_eq!((leased.handle, leased.index, leased.length), (before[0].handle, 0, CHUNK));
    assert!(leased.version > before[0].version && leased.primary != 0);
    let limit = |world: &World, handle| -> Vec<(u32, bool)> {
        let live = world.servers.iter().filter(|server| !server.silent);
        let held = live.filter_map(|server| server.held.get(&handle));
        held.map(|held| (held.limit, held.state.sealed)).collect()
    };
    assert_eq!(limit(&world, leased.handle), [(CHUNK, false); 3]);
    // Others share it; neither they nor a reader take it away.
    assert_eq!(lease(&mut world, 9, inode, SIZE - 1).unwrap(), leased);
    assert_eq!(recover(&mut world, 10, inode, &leased, vec![]).unwrap_err(), ErrorCode::Busy);
    // What is not final does not grow either, when nobody has the right to write.
    let last = lease(&mut world, 9, inode, SIZE + 499).unwrap();
    assert_eq!(limit(&world, last.handle), [(500, false); 3]);
    assert_eq!(lease(&mut world, 9, inode, SIZE + 500).unwrap_err(), ErrorCode::OutOfRange);
    assert_eq!(lease(&mut world, 9, inode, u64::MAX).unwrap_err(), ErrorCode::OutOfRange);
    sound(&mut world);
    // A member is lost: who overwrites goes on without it.
    let victim = leased.servers[1].server;
    world.server(victim).silent = true;
    let without = recover(&mut world, 8, inode, &leased, vec![victim]).unwrap();
    assert!(without.primary != 0 && without.servers.iter().all(|s| s.server != victim));
    world.run(Millis(5_000));
    let now = lease(&mut world, 8, inode, 5).unwrap();

    tell_vanished(&mut world, &now, 8, CHUNK);
    assert_eq!(lease(&mut world, 9, inode, 5).unwrap().version, now.version, "one is left");
    tell_vanished(&mut world, &now, 9, CHUNK);
    let after = locate(&mut world, inode, 0).remove(0);
    assert!(after.version > now.version && after.primary == 0 && after.sealed, "{after:?}");
    assert!(limit(&world, after.handle).iter().all(|(_, sealed)| *sealed));
    assert_eq!(attributes(&mut world, "/f").length, SIZE + 500);
    sound(&mut world);
    // A writer may make the last one longer again.
    let opened = open(&mut world, 11, inode).unwrap().last.unwrap();
    assert_eq!(limit(&world, opened.handle), [(0, false); 3]);
    // And while it does, others may overwrite what is there, with the same primary.
    let same = lease(&mut world, 12, inode, SIZE + 900).unwrap();
    assert_eq!((same.handle, same.version), (opened.handle, opened.version));
    sound(&mut world);
}

/// A primary that lost a member ends its role, and none of its messages to the master says so.
#[test]
fn who_failed_at_a_version_gets_the_lease_with_another() {
    let mut world = World::with_servers(4);
    let inode = file(&mut world, "/f", 1, 0);
    let leased = lease(&mut world, 8, inode, 5).unwrap();
    let failed = |world: &World, client, version, unreachable| {
        let header = world.header(client, next(world));
        Request::Lease(pb::LeaseRequest {
            header,
            inode,
            offset: 5,
            version,
            unreachable,
            place: None,
        })
    };
    let again = |world: &mut World, request| match world.ask(request) {
        Ok(Response::Lease(response)) => Ok(response.chunk.unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    };
    // It was not this version that failed.
    let request = failed(&world, 9, leased.version - 1, vec![]);
    assert_eq!(again(&mut world, request).unwrap(), leased);
    let request = failed(&world, 8, leased.version, vec![]);
    let next = again(&mut world, request).unwrap();
    assert!(next.version > leased.version && next.primary != 0 && next.servers.len() == 3);
    // The other, who failed there, too, is not why there is yet another.
    let request = failed(&world, 9, leased.version, vec![]);
    assert_eq!(again(&mut world, request).unwrap(), next);
    let victim = next.servers[1].server;
    world.server(victim).silent = true;
    let request = failed(&world, 8, next.version, vec![victim]);
    let without = again(&mut world, request).unwrap();
    assert!(without.primary != 0 && without.servers.iter().all(|s| s.server != victim));
    let request = failed(&world, 8, without.version + 100, vec![]);
    assert_eq!(again(&mut world, request), Err(ErrorCode::StaleVersion));
    let now = lease(&mut world, 8, inode, 5).unwrap();
    let request = failed(&world, 8, now.version, vec![1; 65]);
    assert_eq!(again(&mut world, request), Err(ErrorCode::InvalidArgument));
    sound(&mut world);
}

#[test]
fn a_lease_of_former_terms_ends() {
    let mut world = World::with_servers(3);
    let inode = file(&mut world, "/f", 1, 0);
    let leased = lease(&mut world, 8, inode, 5).unwrap();
    world.crash();
    world.register_all();
    world.run(Millis(2_000));
    let after = locate(&mut world, inode, 0).remove(0);
    assert!(after.version > leased.version && after.primary == 0);
    let again = lease(&mut world, 8, inode, 5).unwrap();
    assert!(again.version > after.version && again.primary != 0);
    // And one of clients that are never heard of again, in time.
    world.brain.config.limits.client_idle = Millis(90_000);
    world.run(Millis(95_000));
    assert_eq!(locate(&mut world, inode, 0)[0].primary, 0);
    sound(&mut world);
}

#[test]
fn a_hole_is_read_as_such_and_becomes_a_chunk_where_it_is_written() {
    let mut world = World::with_servers(3);
    let inode = file(&mut world, "/f", 0, 700);
    assert_eq!(truncate(&mut world, inode, 700 + 2 * SIZE + 9).unwrap(), 700 + 2 * SIZE + 9);
    sound(&mut world);
    let parts = |world: &mut World, offset| -> Vec<_> {
        let chunks = locate(world, inode, offset);
        chunks.iter().map(|c| (c.index, c.start, c.length, c.hole, c.sealed)).collect()
    };
    let holes = [
        (1, 700, CHUNK, true, true),
        (2, 700 + SIZE, CHUNK, true, true),
        (3, 700 + 2 * SIZE, 9, true, true),
    ];
    assert_eq!(parts(&mut world, 0)[1..], holes);
    assert_eq!(parts(&mut world, 700 + SIZE), holes[1..]);
    assert_eq!(parts(&mut world, 699 + SIZE), holes);
    assert!(locate(&mut world, inode, 0)[1].servers.is_empty());
    // The one that ends the file grows first.
    truncate(&mut world, inode, 700 + 4 * SIZE + 1).unwrap();
    let more = [(3, 700 + 2 * SIZE, CHUNK, true, true), (4, 700 + 3 * SIZE, CHUNK, true, true)];
    assert_eq!(parts(&mut world, 700 + 2 * SIZE)[..2], more);
    sound(&mut world);

    let chunk = lease(&mut world, 8, inode, 700 + SIZE + 3).unwrap();
    assert_eq!((chunk.index, chunk.start, chunk.length), (2, 700 + SIZE, CHUNK));
    assert_eq!((chunk.version, chunk.sealed), (1, true));
    assert_eq!(lengths(&world, chunk.handle), [CHUNK; 3], "zeros");
    assert_eq!(lease(&mut world, 9, inode, 700 + SIZE).unwrap(), chunk, "the same for all");
    assert_eq!(parts(&mut world, 700 + 2 * SIZE)[..2], more, "the others are where they were");
    assert_eq!(attributes(&mut world, "/f").length, 700 + 4 * SIZE + 1);
    sound(&mut world);
    // What is written at the end follows the last hole.
    let opened = open(&mut world, 8, inode).unwrap();
    assert!(opened.last.is_none());
    let behind = allocate(&mut world, 8, inode, 6, None).unwrap();
    assert_eq!((behind.start, behind.index), (700 + 4 * SIZE + 1, 6));
    assert_eq!(allocate(&mut world, 8, inode, 4, None).unwrap_err(), ErrorCode::Conflict);
    world.write(&behind, 10);
    close(&mut world, 8, inode, vec![done(&behind, 10)]).unwrap();
    truncate(&mut world, inode, 700 + 6 * SIZE).unwrap();
    sound(&mut world);
    assert_eq!(attributes(&mut world, "/f").length, 700 + 6 * SIZE);
}

#[test]
fn zeros_whose_grants_were_lost_are_made_again() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/f");
    truncate(&mut world, inode, 5_000).unwrap();
    let header = world.header(8, 1);
    world.call(Request::Lease(pb::LeaseRequest { header, inode, offset: 7, ..Default::default() }));
    // It is durable, and no server hears of it.
    world.commit_all();
    world.crash();
    world.register_all();
    world.run(Millis(2_000));
    let chunk = lease(&mut world, 8, inode, 7).unwrap();
    assert_eq!((chunk.length, chunk.sealed, chunk.start), (5_000, true, 0));
    assert_eq!(lengths(&world, chunk.handle), [5_000; 3]);
    sound(&mut world);
}

#[test]
fn a_cut_is_a_version_change_and_takes_what_is_behind_with_it() {
    let mut world = World::with_servers(4);
    let inode = file(&mut world, "/f", 3, 500);
    let before = locate(&mut world, inode, 0);
    let request = truncation(&world, inode, SIZE + 77);
    let Ok(Response::Truncate(cut)) = world.ask(request.clone()) else { panic!() };
    let attributes = cut.attributes.unwrap();
    assert_eq!((attributes.length, attributes.chunks), (SIZE + 77, 2));
    let after = locate(&mut world, inode, 0);
    assert_eq!(after.len(), 2);
    assert!(after[1].version > before[1].version && after[1].sealed && after[1].primary == 0);
    assert_eq!(lengths(&world, after[1].handle), [77; 3], "cut everywhere");
    sound(&mut world);
    world.run(Millis(2_000));
    for gone in &before[2..] {
        assert!(lengths(&world, gone.handle).is_empty(), "deleted everywhere");
    }
    // A repeat is answered with what is so, and cuts nothing more, whatever was written since.
    let opened = append(&mut world, 9, inode).unwrap();
    assert!(opened.last.is_none(), "its end is final");
    let new = allocate(&mut world, 9, inode, 2, None).unwrap();
    assert_eq!(new.start, SIZE + 77);
    world.write(&new, 40);
    close(&mut world, 9, inode, vec![]).unwrap();
    world.settle();
    let again = |world: &mut World| match world.ask(request.clone()) {
        Ok(Response::Truncate(cut)) => cut.attributes.unwrap().length,
        other => panic!("{other:?}"),
    };
    assert_eq!(again(&mut world), SIZE + 117);
    world.crash();
    world.register_all();
    assert_eq!(again(&mut world), SIZE + 117);
    sound(&mut world);
    // Between extents nobody need be asked; nor for nothing.
    assert_eq!(truncate(&mut world, inode, SIZE).unwrap(), SIZE);
    assert_eq!(truncate(&mut world, inode, SIZE).unwrap(), SIZE);
    assert_eq!(truncate(&mut world, inode, 0).unwrap(), 0);
    assert_eq!(truncate(&mut world, inode, 10).unwrap(), 10);
    assert_eq!(truncate(&mut world, inode, 3).unwrap(), 3, "in a hole");
    sound(&mut world);
}

#[test]
fn a_cut_is_committed_at_once_or_not_at_all() {
    // The master dies with each of the commits that it takes.
    for steps in 0..30 {
        let mut world = World::with_servers(3);
        let inode = file(&mut world, "/f", 3, 500);
        let request = truncation(&world, inode, SIZE + 77);
        let token = world.call(request.clone());
        let whole = world.steps(steps);
        world.crash();
        world.register_all();
        world.run(Millis(2_000));
        let length = attributes(&mut world, "/f").length;
        assert!(length == 3 * SIZE + 500 || length == SIZE + 77, "{steps}: {length}");
        sound(&mut world);
        if world.replies.contains_key(&token) {
            assert!(length == SIZE + 77, "{steps}: it was answered");
        }
        world.ask(request).unwrap();
        assert_eq!(attributes(&mut world, "/f").length, SIZE + 77);
        let chunk = locate(&mut world, inode, SIZE).remove(0);
        assert_eq!(lengths(&world, chunk.handle), [77; 3]);
        sound(&mut world);
        if whole {
            return;
        }
    }
    panic!("it takes more steps");
}

#[test]
fn a_truncation_waits_for_writers_and_keeps_others_out() {
    let mut world = World::with_servers(3);
    let inode = file(&mut world, "/f", 1, 500);
    open(&mut world, 8, inode).unwrap();
    let request = truncation(&world, inode, 7);
    assert_eq!(world.refused(request), ErrorCode::Busy);
    close(&mut world, 8, inode, vec![]).unwrap();
    let last = append(&mut world, 9, inode).unwrap().last.unwrap();
    let request = truncation(&world, inode, 7);
    assert_eq!(world.refused(request), ErrorCode::Busy);
    // It appends some more and vanishes: that counts before anything is cut.
    world.write(&last, 800);
    world.run(Millis(61_000));
    tell_vanished(&mut world, &last, 9, 800);
    assert_eq!(truncate(&mut world, inode, SIZE + 750).unwrap(), SIZE + 750);
    sound(&mut world);
    // While the cut is under way nobody opens the file to write, and its end is left alone.
    let request = truncation(&world, inode, SIZE + 600);
    let token = world.call(request);
    assert_eq!(open_now(&mut world, inode), ErrorCode::Busy);
    let request = truncation(&world, inode, 3);
    assert_eq!(refused_now(&mut world, request), ErrorCode::Busy);
    // Whoever asked hangs up, and the file stays as it is.
    world.step(Event::Forget { token });
    world.settle();
    assert_eq!(attributes(&mut world, "/f").length, SIZE + 750);
    open(&mut world, 8, inode).unwrap();
    close(&mut world, 8, inode, vec![]).unwrap();
    // No server answers: the call ends in time, and nothing is cut afterwards.
    for server in &mut world.servers {
        server.silent = true;
    }
    let request = truncation(&world, inode, SIZE + 600);
    assert_eq!(world.refused(request), ErrorCode::DeadlineExceeded);
    for at in 0..3 {
        world.servers[at].silent = false;
        world.register(at);
    }
    world.run(Millis(5_000));
    assert_eq!(attributes(&mut world, "/f").length, SIZE + 750);
    assert_eq!(truncate(&mut world, inode, SIZE + 600).unwrap(), SIZE + 600);
    sound(&mut world);
    // Removed in the middle of it.
    let request = truncation(&world, inode, SIZE + 100);
    let token = world.call(request);
    let remove =
        pb::RemoveRequest { header: world.fresh(), path: "/f".into(), ..Default::default() };
    world.ask(Request::Remove(remove)).unwrap();
    let Some(Err(gone)) = world.replies.remove(&token) else { panic!() };
    assert_eq!(gone.error_code(), ErrorCode::NotFound);
    world.run(Millis(2_000));
    assert!(world.servers.iter().all(|s| s.held.is_empty()));
}

fn refused_now(world: &mut World, request: Request) -> ErrorCode {
    let token = world.call(request);
    world.commit_all();
    match world.replies.remove(&token) {
        Some(Err(detail)) => detail.error_code(),
        other => panic!("{other:?}"),
    }
}

fn open_now(world: &mut World, inode: u64) -> ErrorCode {
    let header = world.header(8, next(world));
    let request = pb::OpenRequest { header, inode, write: true, ..Default::default() };
    refused_now(world, Request::Open(request))
}

#[test]
fn absurd_truncations_and_leases_are_refused() {
    let mut world = World::with_servers(3);
    let inode = file(&mut world, "/f", 0, 500);
    let dir = pb::MkdirRequest { header: world.fresh(), path: "/d".into(), ..Default::default() };
    let Ok(Response::Mkdir(dir)) = world.ask(Request::Mkdir(dir)) else { panic!() };
    let dir = dir.attributes.unwrap().inode;
    world.settle();
    let before = (world.store.clone(), world.groups);
    for (inode, length, code) in [
        (inode, u64::MAX, ErrorCode::OutOfRange),
        (inode, MAX_FILE_LENGTH + 1, ErrorCode::OutOfRange),
        (inode, 500 + 2_048 * SIZE + 1, ErrorCode::OutOfRange),
        (dir, 0, ErrorCode::IsADirectory),
        (u64::MAX, 0, ErrorCode::NotFound),
        (2, 0, ErrorCode::NotFound),
        (0, 0, ErrorCode::InvalidArgument),
    ] {
        assert_eq!(truncate(&mut world, inode, length).unwrap_err(), code, "{inode} {length}");
    }
    for (inode, offset, code) in [
        (inode, 500, ErrorCode::OutOfRange),
        (inode, u64::MAX, ErrorCode::OutOfRange),
        (dir, 0, ErrorCode::IsADirectory),
        (u64::MAX, 0, ErrorCode::NotFound),
        (0, 0, ErrorCode::InvalidArgument),
    ] {
        assert_eq!(lease(&mut world, 8, inode, offset).unwrap_err(), code, "{inode} {offset}");
    }
    assert_eq!(before, (world.store.clone(), world.groups));
    let nothing = empty(&mut world, "/empty");
    assert_eq!(lease(&mut world, 8, nothing, 0).unwrap_err(), ErrorCode::OutOfRange);
}

#[test]
fn a_long_tail_is_taken_down_page_by_page_whatever_happens() {
    let mut world = World::with_servers(3);
    for keep in [0, 1, 31, 32, 33, 100] {
        let inode = file(&mut world, "/f", 190, 0);
        world.brain.config.limits.removals_per_tick = 1;
        world.config.limits.removals_per_tick = 1;
        let request = truncation(&world, inode, keep * SIZE);
        world.call(request);
        assert_eq!(world.queue.len(), 1, "one commit");
        world.settle();
        // Until it is gone the file does not grow.
        let request = truncation(&world, inode, 200 * SIZE);
        assert_eq!(refused_now(&mut world, request), ErrorCode::Busy);
        assert_eq!(attributes(&mut world, "/f").length, keep * SIZE);
        sound(&mut world);
        for round in 0..100 {
            world.step(Event::Tick);
            for (_, mutations, _) in &world.queue {
                assert!(mutations.len() <= 100, "{} in one commit", mutations.len());
            }
            if round % 3 == 2 {
                world.crash();
            } else {
                world.commit_all();
            }
            if world.brain.doomed.is_empty() && world.queue.is_empty() {
                break;
            }
        }
        world.crash();
        assert!(world.brain.doomed.is_empty());
        world.register_all();
        world.run(Millis(3_000));
        sound(&mut world);
        let pages = (keep as usize).div_ceil(32).saturating_sub(1);
        assert_eq!(world.store.keys().filter(|key| key[0] == b'x').count(), pages);
        let chunks = world.servers.iter().map(|s| s.held.len()).sum::<usize>();
        assert_eq!(chunks, 3 * keep as usize, "the others are deleted");
        assert_eq!(truncate(&mut world, inode, 200 * SIZE).unwrap(), 200 * SIZE);
        sound(&mut world);
        let remove =
            pb::RemoveRequest { header: world.fresh(), path: "/f".into(), ..Default::default() };
        world.ask(Request::Remove(remove)).unwrap();
        world.run(Millis(5_000));
        assert!(!world.store.keys().any(|key| matches!(key[0], b'x' | b'g')), "nothing is left");
    }
}

#[test]
fn a_file_is_removed_with_what_was_cut_off_it() {
    let mut world = World::with_servers(3);
    let inode = file(&mut world, "/f", 190, 0);
    world.brain.config.limits.removals_per_tick = 1;
    truncate(&mut world, inode, 2 * SIZE).unwrap();
    assert!(!world.brain.doomed.is_empty());
    let remove =
        pb::RemoveRequest { header: world.fresh(), path: "/f".into(), ..Default::default() };
    world.ask(Request::Remove(remove)).unwrap();
    world.crash();
    world.register_all();
    world.run(Millis(40_000));
    assert!(!world.store.keys().any(|key| matches!(key[0], b'x' | b'g')), "nothing is left");
    assert!(world.servers.iter().all(|s| s.held.is_empty()));
}

#[test]
fn thousands_of_holes_cost_few_bytes_and_little_time() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/f");
    for step in 1..=20 {
        let request = truncation(&world, inode, step * 2_048 * SIZE);
        world.call(request);
        for (_, mutations, _) in &world.queue {
            assert!(mutations.len() <= 70);
        }
        world.settle();
    }
    let far = 33_333 * SIZE;
    let chunk = lease(&mut world, 8, inode, far + 5).unwrap();
    assert_eq!((chunk.index, chunk.start), (33_333, far));
    let found = locate(&mut world, inode, far + SIZE + 1);
    assert_eq!((found[0].start, found[0].hole), (far + SIZE, true));
    sound(&mut world);
    truncate(&mut world, inode, far + SIZE / 2).unwrap();
    assert_eq!(lengths(&world, chunk.handle), [CHUNK / 2; 3]);
    world.run(Millis(60_000));
    assert!(world.brain.doomed.is_empty());
    assert_eq!(attributes(&mut world, "/f").length, far + SIZE / 2);
    sound(&mut world);
}
