//! Losses of power, and disks that fail syncs: what is in doubt does not count, what was forgotten
//! is noticed, and what may still come back is waited for.

use super::world::World;
use gfs_types::ChunkHandle;

/// A chunk of three copies, written once and sealed.
fn stored(servers: usize) -> (World, ChunkHandle, Vec<usize>) {
    let mut world = World::new(servers);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    world.event(|c, _, _, out| c.finish(handle, 1, 1, true, out)).unwrap();
    world.settle();
    let members = members(&world, handle);
    (world, handle, members)
}

fn members(world: &World, handle: ChunkHandle) -> Vec<usize> {
    let at = |number: &u32| world.hosts.iter().position(|h| h.number == *number).unwrap();
    world.records[&handle.0].members.iter().map(at).collect()
}

/// The power of a server fails: its replicas are in doubt.
fn lose_power(world: &mut World, at: usize) {
    world.kill(at);
    world.hosts[at].boot += 1;
    for replica in world.hosts[at].replicas.values_mut() {
        replica.suspect = true;
    }
}

/// Two copies are in doubt, and the third server is only away: its bytes are all there, and what
/// is in doubt must not take their place.
#[test]
fn a_sound_copy_on_a_server_that_is_away_is_waited_for() {
    let (mut world, handle, members) = stored(4);
    lose_power(&mut world, members[0]);
    lose_power(&mut world, members[1]);
    world.kill(members[2]);
    for at in &members[..2] {
        // Bytes that were not synced are gone.
        world.hosts[*at].replicas.get_mut(&handle.0).unwrap().content.clear();
        world.hosts[*at].up = true;
    }
    world.run(60_000);
    assert_eq!(world.chunks.health().unavailable, 1);
    world.hosts[members[2]].up = true;
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
    let kept = &world.hosts[members[2]].replicas[&handle.0].content;
    assert_eq!(kept, &world.known[&handle.0].acked);
    assert!(world.broken.is_empty(), "{:?}", world.broken);
}

/// For ever it is not waited for: what is left is better than nothing.
#[test]
fn what_is_in_doubt_counts_when_the_others_do_not_come_back() {
    let (mut world, handle, members) = stored(4);
    lose_power(&mut world, members[0]);
    lose_power(&mut world, members[1]);
    world.kill(members[2]);
    world.hosts[members[0]].up = true;
    world.hosts[members[1]].up = true;
    world.run(590_000);
    assert_eq!(world.chunks.health().unavailable, 1);
    world.run(30_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
}

/// A member promises, loses power and the promise with it, and is back before the change is over.
#[test]
fn a_promise_that_was_forgotten_does_not_count() {
    let (mut world, handle, members) = stored(4);
    world.recover(handle, &[], false);
    // The first has answered, the others have not.
    let first = members[0];
    assert!(world.serve(first) && world.hear(first));
    let before = world.hosts[first].replicas[&handle.0].clone();
    world.kill(first);
    world.hosts[first].boot += 1;
    let forgetful = world.hosts[first].replicas.get_mut(&handle.0).unwrap();
    forgetful.promised = 1;
    assert!(before.promised > 1);
    world.hosts[first].up = true;
    // It registers before the others answer.
    assert!(world.serve(first));
    world.settle();
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
}

/// The promise is forgotten after the change was committed, and before the Grant came.
#[test]
fn a_promise_forgotten_before_the_grant_is_found_out() {
    let (mut world, handle, members) = stored(4);
    world.recover(handle, &[], false);
    for at in &members {
        world.serve(*at);
    }
    for at in &members {
        world.hear(*at);
    }
    let next = world.chunks.version(handle);
    assert_eq!(next, 2);
    // No new session, so that nothing but the Grant tells; until then the rules are broken.
    world.unchecked = true;
    world.hosts[members[1]].replicas.get_mut(&handle.0).unwrap().promised = 1;
    world.settle();
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
}

/// A replica whose sync failed takes promises and never becomes complete again: numbers must not
/// be burnt on it without end.
#[test]
fn a_copy_that_cannot_be_completed_is_replaced() {
    for servers in [3, 4] {
        let (mut world, handle, members) = stored(servers);
        world.hosts[members[0]].grants_fail = true;
        world.recover(handle, &[], false);
        world.run(60_000);
        let version = world.chunks.version(handle);
        assert!(version < 60, "{servers} servers: version {version}");
        let health = world.chunks.health();
        let expected = if servers == 4 { (1, 0) } else { (0, 1) };
        assert_eq!((health.full, health.under_replicated), expected, "{:?}", world.notes);
        world.hosts[members[0]].grants_fail = false;
        world.run(20_000);
        assert_eq!(world.chunks.health().full, 1, "{:?}", world.notes);
    }
}

/// All of them fail: what they hold is what there is, and it is granted until one can store it.
#[test]
fn the_last_copies_are_granted_again() {
    let (mut world, handle, members) = stored(3);
    for at in &members {
        world.hosts[*at].grants_fail = true;
    }
    world.recover(handle, &[], false);
    world.run(10_000);
    assert!(world.sent["grant"] < 500, "{:?}", world.sent);
    for at in &members {
        world.hosts[*at].grants_fail = false;
    }
    world.run(20_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
    let copy = &world.hosts[members[1]].replicas[&handle.0];
    assert_eq!(copy.content, world.known[&handle.0].acked);
}

/// The only member was made equal and loses power before its Grant comes: nothing better is left,
/// and nobody else is to be waited for.
#[test]
fn the_only_copy_counts_although_power_failed_before_its_grant() {
    let mut world = World::new(3);
    world.run(1_000);
    let handle = world.create(1).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    let at = members(&world, handle)[0];
    world.recover(handle, &[], true);
    assert!(world.serve(at) && world.hear(at));
    assert_eq!(world.chunks.version(handle), 2);
    lose_power(&mut world, at);
    world.hosts[at].up = true;
    world.run(10_000);
    assert_eq!(world.chunks.health().full, 1, "{:?}", world.notes);
}

/// All lose power before what they wrote of the last version is on disk: promises and Grants are
/// forgotten, what was flushed before is there.
#[test]
fn what_is_on_disk_counts_although_every_member_forgot_the_last_version() {
    let mut world = World::new(4);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    world.recover(handle, &[], true);
    world.settle();
    assert_eq!(world.chunks.version(handle), 2);
    let members = members(&world, handle);
    for at in &members {
        lose_power(&mut world, *at);
        let replica = world.hosts[*at].replicas.get_mut(&handle.0).unwrap();
        (replica.promised, replica.complete) = (1, 1);
    }
    world.run(5_000);
    // The last of them may be the one that remembers.
    for at in &members[1..] {
        world.hosts[*at].up = true;
    }
    world.run(30_000);
    assert_eq!(world.chunks.health().unavailable, 1);
    world.hosts[members[0]].up = true;
    world.run(10_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
    for at in &members {
        assert_eq!(world.hosts[*at].replicas[&handle.0].content, world.known[&handle.0].acked);
    }
}
