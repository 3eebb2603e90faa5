//! What was removed: how long it stays, what comes back, and what is refused.

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use prost::Message;

use super::world::{CHUNK, World, config};
use super::writing::{allocate, close, create, done, open, sound, stat};
use crate::brain::records::cluster_key;
use crate::brain::{BrainConfig, Request, Response};

const PERIOD: Millis = Millis(30_000);

fn with_trash() -> BrainConfig {
    BrainConfig { trash_period: Some(PERIOD), ..config() }
}

fn remove(world: &mut World, path: &str, skip_trash: bool) -> u64 {
    let header = world.fresh();
    let (path, inode, recursive) = (path.into(), 0, true);
    let request = pb::RemoveRequest { header, path, inode, recursive, skip_trash };
    match world.ask(Request::Remove(request)) {
        Ok(Response::Remove(response)) => response.removed,
        other => panic!("{other:?}"),
    }
}

fn touch(world: &mut World, path: &str) -> u64 {
    let header = world.fresh();
    let path = path.into();
    let request =
        pb::CreateRequest { header, path, empty: true, parents: true, ..Default::default() };
    match world.ask(Request::Create(request)) {
        Ok(Response::Create(response)) => response.attributes.unwrap().inode,
        other => panic!("{other:?}"),
    }
}

fn list(world: &mut World, after: u64, limit: u32) -> pb::ListTrashResponse {
    let request = pb::ListTrashRequest { header: world.header(9, 0), after, limit };
    match world.ask(Request::ListTrash(request)) {
        Ok(Response::ListTrash(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn restore(world: &World, inode: u64, path: &str) -> Request {
    let header = world.fresh();
    Request::RestoreTrash(pb::RestoreTrashRequest { header, inode, path: path.into() })
}

fn restored(world: &mut World, inode: u64, path: &str) -> String {
    match world.ask(restore(world, inode, path)) {
        Ok(Response::RestoreTrash(response)) => {
            let entry = response.entry.unwrap();
            assert!(response.path.ends_with(&format!("/{}", entry.name)));
            assert_eq!(entry.attributes.unwrap().inode, inode);
            response.path
        }
        other => panic!("{other:?}"),
    }
}

fn empty(world: &World, inodes: Vec<u64>) -> Request {
    Request::EmptyTrash(pb::EmptyTrashRequest { header: world.fresh(), inodes })
}

fn emptied(world: &mut World, inodes: Vec<u64>) -> pb::EmptyTrashResponse {
    match world.ask(empty(world, inodes)) {
        Ok(Response::EmptyTrash(response)) => response,
        other => panic!("{other:?}"),
    }
}

fn status(world: &mut World) -> pb::StatusResponse {
    let header = world.header(9, 0);
    match world.ask(Request::Status(pb::StatusRequest { header })) {
        Ok(Response::Status(status)) => status,
        other => panic!("{other:?}"),
    }
}

fn fsck(world: &mut World) -> pb::FsckResponse {
    let request = pb::FsckRequest { header: world.header(9, 0), ..Default::default() };
    match world.ask(Request::Fsck(request)) {
        Ok(Response::Fsck(report)) => report,
        other => panic!("{other:?}"),
    }
}

fn restart(world: &mut World) {
    world.crash();
    world.register_all();
}

fn replicas(world: &World) -> usize {
    world.servers.iter().map(|server| server.held.len()).sum()
}

/// `/d/f` of two chunks, closed. Returns its inode and length.
fn file(world: &mut World) -> (u64, u64) {
    let made = create(world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let first = made.chunk.unwrap();
    world.write(&first, CHUNK);
    let second = allocate(world, 7, inode, 1, Some(done(&first, CHUNK))).unwrap();
    world.write(&second, 500);
    let closed = close(world, 7, inode, vec![done(&second, 500)]).unwrap();
    (inode, closed.length)
}

#[test]
fn a_removed_file_keeps_its_chunks_until_its_time_is_over() {
    let mut world = World::with(with_trash()).and_servers(4);
    let (inode, length) = file(&mut world);
    assert_eq!(remove(&mut world, "/f", false), 1);
    let entries = list(&mut world, 0, 0).entries;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.path.as_str(), entry.files, entry.directories), ("/f", 1, 0));
    assert_eq!(entry.expires_at - entry.deleted_at, PERIOD.0);
    let attributes = entry.attributes.as_ref().unwrap();
    assert_eq!((attributes.inode, attributes.length), (inode, length));
    let by_inode = pb::StatRequest { header: world.header(9, 0), path: String::new(), inode };
    assert_eq!(world.refused(Request::Stat(by_inode)), ErrorCode::NotFound);

    world.run(Millis(1_000));
    let shown = status(&mut world);
    assert_eq!((shown.files, shown.logical_bytes), (0, 0));
    assert_eq!((shown.trash_entries, shown.trash_files, shown.trash_directories), (1, 1, 0));
    assert_eq!((shown.trash_bytes, shown.trash_period_ms), (length, PERIOD.0));
    let report = fsck(&mut world);
    assert_eq!((report.files, report.trash_files, report.problem_count), (0, 1, 0));

    // Its chunks are repaired like any.
    assert_eq!(replicas(&world), 6);
    let victim = (0..4).find(|at| !world.servers[*at].held.is_empty()).unwrap();
    world.servers[victim].silent = true;
    world.run(Millis(10_000));
    let whole = world.servers.iter().filter(|s| !s.silent).map(|s| s.held.len()).sum::<usize>();
    assert_eq!(whole, 6);
    let (silent, expires_at) = (victim, entry.expires_at);
    world.servers[silent].silent = false;
    restart(&mut world);
    sound(&mut world);
    assert_eq!(list(&mut world, 0, 0).entries[0].expires_at, expires_at);
    while world.time().wall.0 + 100 < expires_at {
        assert_eq!(list(&mut world, 0, 0).entries.len(), 1);
        world.run(Millis(100));
    }
    world.run(Millis(40_000));
    assert!(list(&mut world, 0, 0).entries.is_empty());
    assert_eq!(world.refused(restore(&world, inode, "")), ErrorCode::NotFound);
    assert_eq!(replicas(&world), 0, "all replicas are gone");
    assert!(!world.store.keys().any(|key| key[0] == b'g'), "all records are gone");
    sound(&mut world);
}

#[test]
fn a_restored_file_is_the_one_that_was_removed() {
    let mut world = World::with(with_trash()).and_servers(3);
    let (inode, length) = file(&mut world);
    let before = stat(&mut world, "/f").attributes.unwrap();
    remove(&mut world, "/f", false);
    restart(&mut world);
    // Its name may be taken meanwhile.
    touch(&mut world, "/f");
    assert_eq!(world.refused(restore(&world, inode, "")), ErrorCode::AlreadyExists);
    assert_eq!(list(&mut world, 0, 0).entries.len(), 1);
    assert_eq!(restored(&mut world, inode, "/new/sub/f"), "/new/sub/f");
    assert_eq!(stat(&mut world, "/new/sub/f").attributes.unwrap(), before);
    assert!(list(&mut world, 0, 0).entries.is_empty());
    sound(&mut world);
    restart(&mut world);
    assert_eq!(stat(&mut world, "/new/sub/f").attributes.unwrap().length, length);
    world.run(PERIOD + PERIOD);
    assert_eq!(replicas(&world), 6);
    sound(&mut world);
}

#[test]
fn a_file_removed_while_it_is_written_keeps_what_was_acknowledged() {
    let mut world = World::with(with_trash()).and_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let first = made.chunk.unwrap();
    // The master knows neither that the first chunk is full nor what is in the spare.
    let spare = allocate(&mut world, 7, inode, 1, None).unwrap();
    world.write(&first, CHUNK);
    world.write(&spare, 300);
    remove(&mut world, "/f", false);
    assert_eq!(allocate(&mut world, 7, inode, 2, None), Err(ErrorCode::NotFound));
    let confirmed = vec![done(&first, CHUNK), done(&spare, 300)];
    assert_eq!(close(&mut world, 7, inode, confirmed), Err(ErrorCode::NotFound));
    assert!(list(&mut world, 0, 0).entries[0].attributes.as_ref().unwrap().open_for_write);
    sound(&mut world);
    restart(&mut world);
    restored(&mut world, inode, "");
    sound(&mut world);
    // The writer is gone: another one may follow it, and finds all of it.
    world.run(Millis(61_000));
    let opened = open(&mut world, 8, inode).unwrap();
    assert_eq!(opened.attributes.unwrap().length, u64::from(CHUNK) + 300);
    sound(&mut world);
}

#[test]
fn an_undisturbed_writer_goes_on_after_a_restore() {
    let mut world = World::with(with_trash()).and_servers(3);
    let made = create(&mut world, 7, "/f");
    let inode = made.attributes.unwrap().inode;
    let chunk = made.chunk.unwrap();
    remove(&mut world, "/f", false);
    world.write(&chunk, 100);
    restored(&mut world, inode, "");
    world.write(&chunk, 200);
    assert_eq!(close(&mut world, 7, inode, vec![done(&chunk, 200)]).unwrap().length, 200);
    sound(&mut world);
}

#[test]
fn a_tree_goes_and_comes_back_whole() {
    let mut world = World::with(with_trash());
    for number in 0..300 {
        touch(&mut world, &format!("/tree/{}/{number}", number % 7));
    }
    let groups = world.groups;
    assert_eq!(remove(&mut world, "/tree", false), 308);
    assert_eq!(world.groups, groups + 1, "one commit");
    let entry = list(&mut world, 0, 0).entries.remove(0);
    assert_eq!((entry.files, entry.directories), (300, 8));
    let inode = entry.attributes.unwrap().inode;
    let shown = status(&mut world);
    assert_eq!((shown.files, shown.directories), (0, 0));
    assert_eq!((shown.trash_files, shown.trash_directories), (300, 8));
    assert_eq!(world.refused(restore(&world, inode + 1, "")), ErrorCode::NotFound, "only whole");
    world.crash();
    let groups = world.groups;
    restored(&mut world, inode, "");
    assert_eq!(world.groups, groups + 1, "one commit");
    assert_eq!(status(&mut world).files, 300);
    assert_eq!(stat(&mut world, "/tree").attributes.unwrap().entries, 7);
    sound(&mut world);

    remove(&mut world, "/tree", false);
    assert_eq!(emptied(&mut world, vec![inode]).removed, 308);
    world.run(Millis(3_000));
    assert_eq!(world.store.keys().filter(|key| key[0] == b'd').count(), 1, "the root");
}

#[test]
fn what_goes_past_the_trash() {
    let mut world = World::with(with_trash()).and_servers(3);
    touch(&mut world, "/a");
    remove(&mut world, "/a", true);
    let inode = create(&mut world, 7, "/b").attributes.unwrap().inode;
    let header = world.header(7, 1 << 20);
    let abandon = pb::CloseRequest { header, inode, abandon: true, ..Default::default() };
    world.ask(Request::Close(abandon)).unwrap();
    assert!(list(&mut world, 0, 0).entries.is_empty());
    world.run(Millis(2_000));
    assert_eq!(replicas(&world), 0);

    // What a rename replaces does not.
    let old = touch(&mut world, "/c");
    touch(&mut world, "/d");
    let (header, from, to) = (world.fresh(), "/d".into(), "/c".into());
    let rename = pb::RenameRequest { header, from, to, replace: true, ..Default::default() };
    world.ask(Request::Rename(rename)).unwrap();
    let entry = list(&mut world, 0, 0).entries.remove(0);
    assert_eq!((entry.path.as_str(), entry.attributes.unwrap().inode), ("/c", old));
}

#[test]
fn restoring_onto_an_existing_name_is_refused() {
    let mut world = World::with(with_trash());
    let file = touch(&mut world, "/d/f");
    touch(&mut world, "/d/g/h");
    remove(&mut world, "/d/f", false);
    let before = world.store.clone();
    for (path, code) in [
        ("/d", ErrorCode::AlreadyExists),
        ("/d/g", ErrorCode::AlreadyExists),
        ("/d/g/h", ErrorCode::AlreadyExists),
        ("/", ErrorCode::AlreadyExists),
        ("/d/g/h/f", ErrorCode::NotADirectory),
        ("relative", ErrorCode::InvalidArgument),
        ("/d/../f", ErrorCode::InvalidArgument),
    ] {
        assert_eq!(world.refused(restore(&world, file, path)), code, "{path}");
        assert_eq!(world.store, before, "{path} changed something");
    }
    restored(&mut world, file, "");
}

#[test]
fn unknown_entries_of_the_trash_are_refused() {
    let mut world = World::with(with_trash());
    let (gone, there) = (touch(&mut world, "/gone"), touch(&mut world, "/there"));
    remove(&mut world, "/gone", false);
    let before = world.store.clone();
    for inode in [0, 1, 2, there, gone + 100, u64::MAX] {
        for request in [
            restore(&world, inode, ""),
            restore(&world, inode, "/new"),
            empty(&world, vec![inode]),
            empty(&world, vec![gone, inode]),
        ] {
            assert_eq!(world.refused(request), ErrorCode::NotFound, "{inode}");
        }
    }
    let many = (100..133).collect();
    assert_eq!(world.refused(empty(&world, many)), ErrorCode::InvalidArgument);
    assert_eq!(world.store, before);
    assert_eq!(emptied(&mut world, vec![gone, gone]).removed, 1);
}

#[test]
fn a_large_trash_is_listed_in_pages_and_emptied_in_steps() {
    let mut world = World::with(with_trash());
    for number in 0..1_100 {
        touch(&mut world, &format!("/{number}"));
        remove(&mut world, &format!("/{number}"), false);
        world.now = world.now + Millis(1);
    }
    let page = list(&mut world, 0, 0);
    assert!(page.more && page.entries.len() == 1_000);
    let last = page.entries.last().unwrap().attributes.as_ref().unwrap().inode;
    let rest = list(&mut world, last, 0);
    assert!(!rest.more && rest.entries.len() == 100);
    assert!(!list(&mut world, u64::MAX, 5).more);

    let mut removed = 0;
    loop {
        let token = world.call(empty(&world, vec![]));
        for (_, mutations, _) in &world.queue {
            assert!(mutations.len() <= 100, "{} in one commit", mutations.len());
        }
        world.commit_all();
        let Some(Ok(Response::EmptyTrash(page))) = world.replies.remove(&token) else { panic!() };
        removed += page.removed;
        if !page.more {
            break;
        }
    }
    assert_eq!(removed, 1_100);
    assert_eq!(emptied(&mut world, vec![]).removed, 0);
    assert_eq!(world.store.keys().filter(|key| key[0] == b'd').count(), 1, "the root");
}

#[test]
fn a_repeated_restore_or_emptying_changes_nothing_more() {
    let mut world = World::with(with_trash());
    let file = touch(&mut world, "/f");
    remove(&mut world, "/f", false);
    let restore = |world: &World| {
        let header = world.header(5, 1);
        Request::RestoreTrash(pb::RestoreTrashRequest { header, inode: file, path: "/x/y".into() })
    };
    let empty = |world: &World| {
        let header = world.header(5, 2);
        Request::EmptyTrash(pb::EmptyTrashRequest { header, inodes: vec![] })
    };
    let Ok(Response::RestoreTrash(first)) = world.ask(restore(&world)) else { panic!() };
    world.crash();
    let Ok(Response::RestoreTrash(again)) = world.ask(restore(&world)) else { panic!() };
    assert_eq!(first, again);
    assert_eq!(again.path, "/x/y");

    remove(&mut world, "/x", false);
    let Ok(Response::EmptyTrash(first)) = world.ask(empty(&world)) else { panic!() };
    touch(&mut world, "/z");
    remove(&mut world, "/z", false);
    world.crash();
    let Ok(Response::EmptyTrash(again)) = world.ask(empty(&world)) else { panic!() };
    assert_eq!((first.removed, again.removed), (2, 2));
    assert_eq!(list(&mut world, 0, 0).entries.len(), 1);
}

#[test]
fn a_full_trash_gives_up_what_would_expire_first() {
    let mut config = with_trash();
    config.limits.trash_entries = 3;
    let mut world = World::with(config);
    for number in 0..5 {
        touch(&mut world, &format!("/{number}"));
        remove(&mut world, &format!("/{number}"), false);
        world.now = world.now + Millis(1);
    }
    let paths: Vec<_> = list(&mut world, 0, 0).entries.into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["/2", "/3", "/4"]);
    sound(&mut world);
}

#[test]
fn the_period_is_the_clusters_until_another_is_configured() {
    let mut world = World::with(with_trash());
    touch(&mut world, "/a");
    remove(&mut world, "/a", false);
    let expires_at = list(&mut world, 0, 0).entries[0].expires_at;
    world.config.trash_period = None;
    world.crash();
    assert_eq!(status(&mut world).trash_period_ms, PERIOD.0);

    // Another one is written down, and holds for what is removed from then on.
    world.config.trash_period = Some(Millis(0));
    let mut out = Vec::new();
    let brain = world.loader().finish(world.time(), &mut out).unwrap();
    assert_eq!(out.len(), 1, "one commit");
    world.brain = brain;
    world.epoch += 1;
    world.committed = crate::brain::Ordinal(0);
    world.take(out);
    world.commit_all();
    touch(&mut world, "/b");
    remove(&mut world, "/b", false);
    let entries = list(&mut world, 0, 0).entries;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].path.as_str(), entries[0].expires_at), ("/a", expires_at));
    world.config.trash_period = None;
    world.crash();
    assert_eq!(status(&mut world).trash_period_ms, 0);
}

#[test]
fn a_store_of_format_1_becomes_one_of_3_with_its_first_trash() {
    let mut world = World::with(with_trash());
    touch(&mut world, "/a");
    let mut record = pb::ClusterRecord::decode(&world.store[&cluster_key()][..]).unwrap();
    (record.format, record.trash_period_ms) = (1, None);
    let old: Bytes = record.encode_to_vec().into();
    world.store.insert(cluster_key(), old);
    world.config.trash_period = None;
    world.crash();
    let format =
        |world: &World| pb::ClusterRecord::decode(&world.store[&cluster_key()][..]).unwrap().format;
    assert_eq!(status(&mut world).trash_period_ms, 24 * 3_600_000);
    touch(&mut world, "/b");
    remove(&mut world, "/b", true);
    assert_eq!(format(&world), 1);
    remove(&mut world, "/a", false);
    assert_eq!(format(&world), 3);
    sound(&mut world);
}
