//! Files to which many clients append, and files whose writers are never heard of again.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};

use super::world::{CHUNK, World};
use super::writing::{allocate, close, create, done, next, open, recover, sound, stat};
use crate::brain::{Event, Request, Response};

pub(super) fn append(
    world: &mut World,
    client: u64,
    inode: u64,
) -> Result<pb::OpenResponse, ErrorCode> {
    let header = world.header(client, next(world));
    let request = pb::OpenRequest { header, inode, append: true, ..Default::default() };
    match world.ask(Request::Open(request)) {
        Ok(Response::Open(response)) => Ok(response),
        Ok(other) => panic!("{other:?}"),
        Err(detail) => Err(detail.error_code()),
    }
}

/// An empty file.
pub(super) fn empty(world: &mut World, path: &str) -> u64 {
    let request = pb::CreateRequest {
        header: world.fresh(),
        path: path.into(),
        empty: true,
        ..Default::default()
    };
    let Ok(Response::Create(made)) = world.ask(Request::Create(request)) else { panic!() };
    made.attributes.unwrap().inode
}

/// The primary of a chunk says that a client is gone.
pub(super) fn tell_vanished(
    world: &mut World,
    chunk: &pb::ChunkLocation,
    writer: u64,
    length: u32,
) {
    let session = world.server(chunk.primary).session.unwrap();
    let vanished = pb::WriterVanished { version: chunk.version, writer, length };
    let body = Some(pb::notice::Body::WriterVanished(vanished));
    let notice = pb::Notice { handle: chunk.handle, body };
    world.step(Event::Notice { session, notice });
    world.settle();
}

/// What the record in the store says of who may write.
fn holders(world: &World) -> Vec<(u64, Vec<u64>)> {
    world.brain.writers.values().map(|writing| writing.record()).collect()
}

#[test]
fn appenders_share_a_file_and_its_chunks() {
    let mut world = World::with_servers(4);
    let inode = empty(&mut world, "/log");
    assert!(append(&mut world, 7, inode).unwrap().last.is_none(), "nothing is there yet");
    assert!(append(&mut world, 8, inode).unwrap().last.is_none());
    let first = allocate(&mut world, 7, inode, 0, None).unwrap();
    assert_eq!(allocate(&mut world, 8, inode, 0, None).unwrap(), first, "the same for both");
    // A third comes while the chunk has a primary: no new version for it.
    let third = append(&mut world, 9, inode).unwrap().last.unwrap();
    assert_eq!((third.handle, third.version, third.primary), (first.handle, 1, first.primary));
    assert_eq!(open(&mut world, 10, inode).unwrap_err(), ErrorCode::Busy);
    assert_eq!(open(&mut world, 8, inode).unwrap_err(), ErrorCode::Conflict);
    sound(&mut world);

    // Nobody gets a next chunk before this one is finished, not even early.
    world.write(&first, 700);
    assert_eq!(allocate(&mut world, 7, inode, 1, None).unwrap_err(), ErrorCode::Conflict);
    let finished = Some(done(&first, 700));
    let second = allocate(&mut world, 8, inode, 1, finished).unwrap();
    assert_eq!((second.index, second.start), (1, 700), "it follows at once");
    assert_eq!(allocate(&mut world, 7, inode, 1, finished).unwrap(), second);
    assert_eq!(allocate(&mut world, 9, inode, 1, None).unwrap(), second);
    let other = Some(done(&first, 701));
    assert_eq!(allocate(&mut world, 9, inode, 1, other).unwrap_err(), ErrorCode::Conflict);
    sound(&mut world);

    // Who lags behind learns that the first takes no more.
    let sealed = recover(&mut world, 9, inode, &first, vec![]).unwrap();
    assert!(sealed.sealed && sealed.primary == 0 && sealed.length == 700, "{sealed:?}");

    world.write(&second, 50);
    for client in [7, 8] {
        let closed = close(&mut world, client, inode, vec![]).unwrap();
        assert!(closed.open_for_write && closed.length == 700, "another one appends");
    }
    assert_eq!(close(&mut world, 8, inode, vec![]).unwrap_err(), ErrorCode::Conflict);
    assert_eq!(allocate(&mut world, 8, inode, 1, None).unwrap_err(), ErrorCode::Conflict);
    // The last one need not know how long the file is.
    close(&mut world, 9, inode, vec![]).unwrap();
    world.settle();
    let attributes = stat(&mut world, "/log").attributes.unwrap();
    assert_eq!((attributes.length, attributes.open_for_write), (750, false));
    sound(&mut world);
    // What comes next follows what is there.
    let again = append(&mut world, 7, inode).unwrap().last.unwrap();
    assert_eq!((again.handle, again.length), (second.handle, 50));
    assert!(again.version > second.version && again.primary != 0);
}

#[test]
fn a_full_chunk_and_an_empty_one_are_what_they_are() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    append(&mut world, 8, inode).unwrap();
    let first = allocate(&mut world, 7, inode, 0, None).unwrap();
    world.write(&first, CHUNK);
    let second = allocate(&mut world, 8, inode, 1, Some(done(&first, CHUNK))).unwrap();
    assert_eq!(second.start, u64::from(CHUNK));
    // Nothing was written to the last one: it goes with the last appender.
    close(&mut world, 7, inode, vec![]).unwrap();
    close(&mut world, 8, inode, vec![done(&second, 0)]).unwrap();
    world.settle();
    let attributes = stat(&mut world, "/log").attributes.unwrap();
    assert_eq!((attributes.length, attributes.chunks), (CHUNK.into(), 1));
    sound(&mut world);
}

#[test]
fn what_was_finished_at_an_older_version_is_found_out_anew() {
    let mut world = World::with_servers(4);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    append(&mut world, 8, inode).unwrap();
    let chunk = allocate(&mut world, 7, inode, 0, None).unwrap();
    world.write(&chunk, 100);
    // The primary has finished it, of which one heard; a member dies, and the other recovers it.
    let old = Some(done(&chunk, 100));
    let victim = chunk.servers[1].server;
    world.server(victim).silent = true;
    let went_on = recover(&mut world, 8, inode, &chunk, vec![victim]).unwrap();
    assert!(went_on.version > chunk.version && !went_on.sealed);
    assert_eq!(allocate(&mut world, 7, inode, 1, old).unwrap_err(), ErrorCode::StaleVersion);
    // (Repair may have taken in another copy meanwhile.)
    let went_on = recover(&mut world, 7, inode, &chunk, vec![]).unwrap();
    world.write(&went_on, 150);
    let next = allocate(&mut world, 8, inode, 1, Some(done(&went_on, 150))).unwrap();
    assert_eq!(next.start, 150);
    assert_eq!(allocate(&mut world, 7, inode, 1, old).unwrap_err(), ErrorCode::StaleVersion);
    assert!(recover(&mut world, 7, inode, &chunk, vec![]).unwrap().sealed);
    sound(&mut world);
}

#[test]
fn a_writer_and_appenders_exclude_each_other() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    assert_eq!(append(&mut world, 8, inode).unwrap_err(), ErrorCode::Busy);
    assert_eq!(append(&mut world, 7, inode).unwrap_err(), ErrorCode::Conflict);
    let both = pb::OpenRequest {
        header: world.fresh(),
        inode,
        write: true,
        append: true,
        ..Default::default()
    };
    assert_eq!(world.refused(Request::Open(both)), ErrorCode::InvalidArgument);
    // The writer fills a chunk and more, and vanishes; an appender takes over, with all of that.
    let first = made.chunk.unwrap();
    world.write(&first, CHUNK);
    let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
    world.write(&spare, 300);
    world.run(Millis(61_000));
    let opened = append(&mut world, 8, inode).unwrap();
    assert_eq!(opened.attributes.unwrap().length, u64::from(CHUNK) + 300);
    let last = opened.last.unwrap();
    assert_eq!((last.handle, last.length), (spare.handle, 300));
    assert_eq!(recover(&mut world, 7, inode, &spare, vec![]).unwrap_err(), ErrorCode::Busy);
    sound(&mut world);
}

#[test]
fn a_file_has_so_many_appenders_and_no_more() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    for client in 1..=1_024 {
        append(&mut world, client, inode).unwrap();
    }
    assert_eq!(append(&mut world, 2_000, inode).unwrap_err(), ErrorCode::ResourceExhausted);
    append(&mut world, 1, inode).unwrap();
    close(&mut world, 5, inode, vec![]).unwrap();
    append(&mut world, 2_000, inode).unwrap();
    sound(&mut world);
}

#[test]
fn appenders_survive_the_master() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    append(&mut world, 8, inode).unwrap();
    let chunk = allocate(&mut world, 7, inode, 0, None).unwrap();
    world.write(&chunk, 10);
    world.crash();
    world.register_all();
    assert_eq!(holders(&world), [(0, vec![7, 8])]);
    assert_eq!(open(&mut world, 9, inode).unwrap_err(), ErrorCode::Busy);
    let next = allocate(&mut world, 8, inode, 1, Some(done(&chunk, 10))).unwrap();
    assert_eq!(allocate(&mut world, 7, inode, 1, Some(done(&chunk, 10))).unwrap(), next);
    // While the last one's file is being settled the master dies: the next one does it.
    world.write(&next, 20);
    close(&mut world, 7, inode, vec![]).unwrap();
    let header = world.header(8, 900_000);
    let request = pb::CloseRequest { header, inode, ..Default::default() };
    world.call(Request::Close(request));
    world.commit_all();
    world.config.limits.client_idle = Millis(100_000);
    world.crash();
    world.register_all();
    assert_eq!(holders(&world), [(0, vec![8])]);
    world.run(Millis(5_000));
    let attributes = stat(&mut world, "/log").attributes.unwrap();
    assert_eq!((attributes.length, attributes.open_for_write), (30, true));
    world.run(Millis(100_000));
    assert_eq!(holders(&world), []);
    sound(&mut world);
}

#[test]
fn appenders_of_a_file_that_is_gone_are_told_and_of_a_renamed_one_go_on() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    append(&mut world, 8, inode).unwrap();
    let chunk = allocate(&mut world, 7, inode, 0, None).unwrap();
    world.write(&chunk, 10);
    let rename = pb::RenameRequest {
        header: world.fresh(),
        from: "/log".into(),
        to: "/log.1".into(),
        ..Default::default()
    };
    world.ask(Request::Rename(rename)).unwrap();
    let next = allocate(&mut world, 8, inode, 1, Some(done(&chunk, 10))).unwrap();
    assert_eq!(next.start, 10);
    sound(&mut world);
    let remove =
        pb::RemoveRequest { header: world.fresh(), path: "/log.1".into(), ..Default::default() };
    world.ask(Request::Remove(remove)).unwrap();
    let finished = Some(done(&next, 5));
    assert_eq!(allocate(&mut world, 7, inode, 2, finished).unwrap_err(), ErrorCode::NotFound);
    assert_eq!(append(&mut world, 7, inode).unwrap_err(), ErrorCode::NotFound);
    assert_eq!(recover(&mut world, 8, inode, &next, vec![]).unwrap_err(), ErrorCode::NotFound);
    assert_eq!(close(&mut world, 8, inode, vec![]).unwrap_err(), ErrorCode::NotFound);
    world.run(Millis(2_000));
    assert!(world.servers.iter().all(|s| s.held.is_empty()));
    sound(&mut world);
}

#[test]
fn a_vanished_writer_leaves_what_was_acknowledged_and_no_right() {
    let mut world = World::with_servers(4);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    world.write(&chunk, 700);
    // It is idle: as long as its stream is there, its primary says nothing.
    world.run(Millis(200_000));
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().length, 0);
    assert_eq!(holders(&world).len(), 1);
    // What is said of another chunk, version or client, or by another server, means nothing.
    let other = pb::ChunkLocation { version: 9, ..chunk.clone() };
    tell_vanished(&mut world, &other, 7, 700);
    tell_vanished(&mut world, &chunk, 8, 700);
    let by_another = pb::ChunkLocation { primary: chunk.servers[1].server, ..chunk.clone() };
    tell_vanished(&mut world, &by_another, 7, 700);
    assert_eq!(holders(&world).len(), 1);
    tell_vanished(&mut world, &chunk, 7, 700);
    let attributes = stat(&mut world, "/f").attributes.unwrap();
    assert_eq!((attributes.length, attributes.open_for_write), (700, false));
    assert!(world.notes.iter().any(|note| note.contains("has vanished")));
    assert_eq!(recover(&mut world, 7, inode, &chunk, vec![]).unwrap().primary, 0);
    assert_eq!(close(&mut world, 7, inode, vec![]).unwrap_err(), ErrorCode::Conflict);
    sound(&mut world);
}

#[test]
fn a_writer_that_still_calls_has_not_vanished() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    world.write(&chunk, 700);
    world.run(Millis(55_000));
    let sync =
        pb::SyncRequest { header: world.header(7, 4_444), inode, last: None, ..Default::default() };
    world.ask(Request::Sync(sync)).unwrap();
    tell_vanished(&mut world, &chunk, 7, 700);
    world.run(Millis(50_000));
    assert_eq!(holders(&world).len(), 1);
    // It never calls again: then the primary was right.
    world.run(Millis(15_000));
    assert_eq!(holders(&world).len(), 0);
    assert_eq!(stat(&mut world, "/f").attributes.unwrap().length, 700);
    sound(&mut world);
}

/// A writer says that it is there.
fn renew(world: &mut World, client: u64, inode: u64, idle: bool) {
    let header = world.header(client, next(world));
    let sync = pb::SyncRequest { header, inode, last: None, idle };
    world.ask(Request::Sync(sync)).unwrap();
}

#[test]
fn who_renews_keeps_the_right_however_long_it_writes_nothing() {
    for appends in [false, true] {
        let mut world = World::with_servers(3);
        let (inode, chunk) = if appends {
            let inode = empty(&mut world, "/f");
            append(&mut world, 7, inode).unwrap();
            (inode, allocate(&mut world, 7, inode, 0, None).unwrap())
        } else {
            let made = create(&mut world, 7, "/f");
            (made.attributes.unwrap().inode, made.chunk.unwrap())
        };
        world.write(&chunk, 700);
        for round in 0..6 {
            world.run(Millis(20_000));
            renew(&mut world, 7, inode, true);
            if round == 3 {
                // It has had no stream for a minute. That is said once.
                tell_vanished(&mut world, &chunk, 7, 700);
            }
            assert_eq!(open(&mut world, 8, inode).unwrap_err(), ErrorCode::Busy);
            assert_eq!(holders(&world).len(), 1, "round {round}");
        }
        // Once it falls silent, the primary was right.
        world.run(Millis(55_000));
        assert_eq!(holders(&world).len(), 1);
        world.run(Millis(10_000));
        assert_eq!(holders(&world).len(), 0);
        let attributes = stat(&mut world, "/f").attributes.unwrap();
        assert_eq!((attributes.length, attributes.open_for_write), (700, false));
        sound(&mut world);
    }
}

#[test]
fn who_writes_again_has_not_vanished_whatever_was_said_before() {
    let mut world = World::with_servers(3);
    world.brain.config.limits.client_idle = Millis(200_000);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    world.write(&chunk, 700);
    renew(&mut world, 7, inode, true);
    tell_vanished(&mut world, &chunk, 7, 700);
    renew(&mut world, 7, inode, false);
    // It cannot reach the master any more, but its primary: that says nothing.
    world.run(Millis(150_000));
    assert_eq!(holders(&world).len(), 1);
    // Nor does a primary that never heard of it: then it is forgotten with all it ever asked.
    world.run(Millis(60_000));
    assert_eq!(holders(&world).len(), 0);
    sound(&mut world);
}

#[test]
fn a_vanished_writer_s_spare_counts_if_the_chunk_before_is_full() {
    for (length, lost_primary) in [(CHUNK, false), (CHUNK, true), (CHUNK - 1, false)] {
        let mut world = World::with_servers(4);
        let made = create(&mut world, 7, "/f");
        let inode = made.attributes.unwrap().inode;
        let first = made.chunk.unwrap();
        world.write(&first, length);
        let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
        if length == CHUNK {
            world.write(&spare, 300);
        }
        if lost_primary {
            // Nobody speaks for the writer any more.
            for server in &mut world.servers {
                for held in server.held.values_mut() {
                    held.state.lease = false;
                }
            }
            world.register_all();
            world.brain.config.limits.client_idle = Millis(90_000);
            world.run(Millis(85_000));
            assert_eq!(holders(&world).len(), 1, "not for long enough");
            world.run(Millis(10_000));
        } else {
            world.run(Millis(61_000));
            tell_vanished(&mut world, &first, 7, length);
            if length == CHUNK {
                assert_eq!(holders(&world).len(), 1, "it may write the next one");
                tell_vanished(&mut world, &spare, 7, 300);
            }
        }
        assert_eq!(holders(&world).len(), 0);
        let expected = if length == CHUNK { u64::from(CHUNK) + 300 } else { length.into() };
        assert_eq!(stat(&mut world, "/f").attributes.unwrap().length, expected);
        sound(&mut world);
        world.run(Millis(2_000));
        let kept = world.servers.iter().any(|s| s.held.contains_key(&spare.handle));
        assert_eq!(kept, length == CHUNK, "a spare that does not count is deleted");
    }
}

#[test]
fn vanished_appenders_are_dropped_one_by_one() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    append(&mut world, 8, inode).unwrap();
    let chunk = allocate(&mut world, 7, inode, 0, None).unwrap();
    world.write(&chunk, 40);
    world.run(Millis(61_000));
    assert_eq!(open(&mut world, 9, inode).unwrap_err(), ErrorCode::Busy, "both are there, idle");
    tell_vanished(&mut world, &chunk, 7, 40);
    assert_eq!(holders(&world), [(0, vec![8])]);
    let after = stat(&mut world, "/log").last.unwrap();
    assert_eq!((after.version, after.primary), (1, chunk.primary), "the other one goes on");
    tell_vanished(&mut world, &chunk, 8, 40);
    assert_eq!(holders(&world), []);
    assert_eq!(stat(&mut world, "/log").attributes.unwrap().length, 40);
    sound(&mut world);
}

#[test]
fn an_open_that_fails_loses_nothing_of_the_writer_before() {
    let mut world = World::with_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let first = made.chunk.unwrap();
    world.write(&first, CHUNK);
    let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
    world.write(&spare, 300);
    world.run(Millis(61_000));
    // The next one comes while no server of the file can be reached, and does not wait for ever.
    for server in &mut world.servers {
        server.silent = true;
    }
    assert_eq!(open(&mut world, 8, inode).unwrap_err(), ErrorCode::DeadlineExceeded);
    for at in 0..3 {
        world.servers[at].silent = false;
        world.register(at);
    }
    world.run(Millis(5_000));
    let attributes = stat(&mut world, "/f").attributes.unwrap();
    assert_eq!((attributes.length, attributes.open_for_write), (u64::from(CHUNK) + 300, false));
    sound(&mut world);
}

/// The answer to an Open was lost, and others have appended since.
#[test]
fn a_repeated_open_tells_where_the_file_ends_now() {
    let mut world = World::with_servers(3);
    let inode = empty(&mut world, "/log");
    append(&mut world, 7, inode).unwrap();
    let header = world.header(8, next(&world));
    let request = pb::OpenRequest { header, inode, append: true, ..Default::default() };
    let ask = |world: &mut World| match world.ask(Request::Open(request.clone())) {
        Ok(Response::Open(response)) => response.last.map(|last| last.handle),
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&mut world), None);
    let first = allocate(&mut world, 7, inode, 0, None).unwrap();
    assert_eq!(ask(&mut world), Some(first.handle));
    world.write(&first, 700);
    let second = allocate(&mut world, 7, inode, 1, Some(done(&first, 700))).unwrap();
    assert_eq!(ask(&mut world), Some(second.handle));
}
