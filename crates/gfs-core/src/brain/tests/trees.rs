//! Large directories and trees.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};

use super::world::World;
use crate::brain::{Event, Request, Response};

fn create(world: &mut World, path: String) {
    let request = pb::CreateRequest {
        header: world.fresh(),
        path,
        parents: true,
        empty: true,
        ..Default::default()
    };
    world.call(Request::Create(request));
    world.commit_all();
}

fn list(world: &mut World, path: &str, after: &str, limit: u32) -> pb::ListResponse {
    let request = pb::ListRequest {
        header: world.header(1, 0),
        path: path.into(),
        after: after.into(),
        limit,
    };
    match world.ask(Request::List(request)) {
        Ok(Response::List(page)) => page,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_large_directory_is_listed_in_pages_and_in_order() {
    let mut world = World::new();
    for number in 0..2_500_u64 {
        create(&mut world, format!("/d/{:04}", number * 7_919 % 2_500));
    }
    world.replies.clear();
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().cloned().unwrap_or_default();
        let page = list(&mut world, "/d", &after, 0);
        assert!(page.entries.len() <= 1_000);
        names.extend(page.entries.into_iter().map(|entry| entry.name));
        if !page.more {
            break;
        }
    }
    let expected: Vec<_> = (0..2_500).map(|number| format!("{number:04}")).collect();
    assert_eq!(names, expected);
    // A name that is gone meanwhile is as good a mark as any.
    assert_eq!(list(&mut world, "/d", "0999x", 1).entries[0].name, "1000");
    assert!(list(&mut world, "/d", "zzz", 5).entries.is_empty());
    assert_eq!(list(&mut world, "/d", "", u32::MAX).entries.len(), 2_500);
}

#[test]
fn a_large_tree_goes_at_once_and_is_taken_down_in_steps_whatever_happens() {
    let mut world = World::new();
    for number in 0..600 {
        create(&mut world, format!("/tree/{}/{}/{number}", number % 3, number % 7));
    }
    create(&mut world, "/other".into());
    world.replies.clear();
    let records = world.store.len();
    let request = pb::RemoveRequest {
        header: world.header(5, 1),
        path: "/tree".into(),
        recursive: true,
        ..Default::default()
    };
    let groups = world.groups;
    let Ok(Response::Remove(done)) = world.ask(Request::Remove(request.clone())) else { panic!() };
    assert_eq!(done.removed, 1 + 3 + 21 + 600);
    assert_eq!(world.groups, groups + 1, "one commit");
    let stat = pb::StatRequest { header: world.header(1, 0), path: "/tree/0".into(), inode: 0 };
    assert_eq!(world.refused(Request::Stat(stat)), ErrorCode::NotFound);
    // What is below cannot be reached by its id either.
    let inode = world.brain.namespace.iter_from(gfs_types::InodeId(10)).next().unwrap().0.0;
    let stat = pb::StatRequest { header: world.header(1, 0), path: String::new(), inode };
    assert_eq!(world.refused(Request::Stat(stat)), ErrorCode::NotFound);

    world.brain.config.limits.removals_per_tick = 1;
    world.config.limits.removals_per_tick = 1;
    let mut before = world.store.len();
    assert!(before >= records, "nothing is taken down yet");
    for round in 0.. {
        world.step(Event::Tick);
        for (_, mutations, _) in &world.queue {
            assert!(mutations.len() <= 100, "{} in one commit", mutations.len());
        }
        if round % 3 == 2 {
            world.crash();
        } else {
            world.commit_all();
        }
        assert!(world.store.len() <= before);
        before = world.store.len();
        if world.brain.namespace.weight(crate::brain::namespace::ORPHANAGE) == 1 {
            break;
        }
        assert!(round < 1_000);
    }
    let left = world.store.keys().filter(|key| key[0] == b'd').count();
    assert_eq!(left, 2, "the root and /other");
    assert_eq!((world.brain.namespace.files(), world.brain.namespace.directories()), (1, 0));
    // The repeat of the Remove, after all this.
    let mut repeat = request;
    repeat.header = world.header(5, 1);
    let Ok(Response::Remove(again)) = world.ask(Request::Remove(repeat)) else { panic!() };
    assert_eq!(again.removed, done.removed);
}

#[test]
fn fsck_counts_what_is_below_a_path() {
    let mut world = World::new();
    for number in 0..50 {
        create(&mut world, format!("/a/{}/{number}", number % 5));
        create(&mut world, format!("/b/{number}"));
    }
    world.replies.clear();
    world.brain.config.limits.fsck_per_step = 7;
    let ask = |world: &mut World, path: &str| {
        let header = world.header(1, 0);
        let request = pb::FsckRequest { header, path: path.into(), limit: 0 };
        world.call(Request::Fsck(request))
    };
    // Two at a time: one after the other.
    let tokens = [ask(&mut world, ""), ask(&mut world, "/a")];
    world.run(Millis(10_000));
    let counts = tokens.map(|token| match world.replies.remove(&token) {
        Some(Ok(Response::Fsck(report))) => {
            (report.files, report.directories, report.problem_count)
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(counts, [(100, 7, 0), (50, 6, 0)]);
    for _ in 0..8 {
        ask(&mut world, "");
    }
    let token = ask(&mut world, "");
    let Some(Err(detail)) = world.replies.remove(&token) else { panic!("taken") };
    assert_eq!(detail.error_code(), ErrorCode::ResourceExhausted);
}
