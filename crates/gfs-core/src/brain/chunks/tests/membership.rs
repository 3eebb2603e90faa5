//! Whom a version change may leave out.

use super::world::World;
use gfs_types::{ChunkHandle, ServerNumber};

/// A sealed chunk of three copies with a burnt number, of which all members but the first are
/// away: expected back, or dead.
fn alone(servers: usize, dead: bool) -> (World, ChunkHandle, Vec<usize>) {
    let mut world = World::new(servers);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    world.event(|c, _, _, out| c.finish(handle, 1, 1, true, out)).unwrap();
    world.settle();
    let at = |number: &u32| world.hosts.iter().position(|h| h.number == *number).unwrap();
    let members: Vec<usize> = world.records[&handle.0].members.iter().map(at).collect();
    for at in &members[1..] {
        let number = ServerNumber(world.hosts[*at].number);
        if !dead {
            world.event(|c, now, _, out| c.set_maintenance(now, number, true, out)).unwrap();
        }
        world.kill(*at);
    }
    world.event(|c, now, _, out| c.burn(now, handle, 2, out));
    (world, handle, members)
}

#[test]
fn a_change_that_nobody_waits_for_does_not_leave_one_copy() {
    for dead in [false, true] {
        let (mut world, handle, members) = alone(3, dead);
        world.run(20_000);
        assert_eq!(world.chunks.version(handle), 1, "dead: {dead}");
        assert_eq!(world.records[&handle.0].members.len(), 3);
        let reports = world
            .notes
            .iter()
            .filter(|(act, n)| *act && n.contains("fewer complete copies than 2"));
        assert_eq!(reports.count(), 1);
        // Numbers are not burnt meanwhile.
        assert_eq!(world.records[&handle.0].next, 2);
        world.hosts[members[1]].up = true;
        world.run(5_000);
        assert_eq!(world.chunks.version(handle), 3);
        assert_eq!(world.good(handle.0).len(), 2);
        world.hosts[members[2]].up = true;
        world.run(5_000);
        assert_eq!(world.good(handle.0).len(), 3);
    }
}

#[test]
fn it_goes_on_with_a_new_copy() {
    let (mut world, handle, _) = alone(4, true);
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 2, "{:?}", world.notes);
    assert_eq!(world.records[&handle.0].next, 0);
}

#[test]
fn a_reader_that_waits_is_served_by_the_last_copy() {
    let (mut world, handle, members) = alone(3, true);
    world.run(20_000);
    let token = world.recover(handle, &[], false);
    world.run(1_000);
    assert_eq!(world.answered, [(token, Ok(handle))]);
    assert_eq!(world.good(handle.0).len(), 1);
    for at in members {
        world.hosts[at].up = true;
    }
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 3);
}

#[test]
fn a_server_that_beats_and_does_not_hear_registers_again_and_burns_few_numbers() {
    let mut world = World::new(3);
    world.run(1_000);
    let handle = world.create(1).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    let at = world.hosts.iter().position(|h| h.replicas.contains_key(&handle.0)).unwrap();
    let session = world.hosts[at].session;
    world.hosts[at].deaf = true;
    world.event(|c, now, _, out| c.burn(now, handle, 2, out));
    world.run(9_000);
    assert_eq!(world.hosts[at].session, session, "it may still answer");
    world.run(3_000);
    assert_ne!(world.hosts[at].session, session);
    assert!(world.notes.iter().all(|(_, note)| !note.contains("is dead")));
    world.run(600_000);
    let burnt = world.records[&handle.0].next;
    assert!(burnt < 25, "{burnt} numbers in ten minutes");
    // Somebody comes, and it hears again.
    world.hosts[at].deaf = false;
    let token = world.recover(handle, &[], true);
    world.run(5_000);
    assert_eq!(world.answered, [(token, Ok(handle))]);
    assert!(world.write(handle, None));
}

#[test]
fn who_answered_and_died_does_not_become_a_member() {
    let mut world = World::new(4);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    let at = |number: &u32| world.hosts.iter().position(|h| h.number == *number).unwrap();
    let members: Vec<usize> = world.records[&handle.0].members.iter().map(at).collect();
    for at in &members[1..] {
        world.hosts[*at].deaf = true;
    }
    world.recover(handle, &[], true);
    world.settle();
    // It has promised; the others take their time.
    world.kill(members[0]);
    world.run(1_000);
    for at in &members[1..] {
        world.hosts[*at].deaf = false;
    }
    world.run(5_000);
    let dead = world.hosts[members[0]].number;
    assert!(!world.records[&handle.0].members.contains(&dead));
    assert_eq!(world.good(handle.0).len(), 3);
}
