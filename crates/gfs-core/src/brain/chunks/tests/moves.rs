//! Servers are drained: everything goes elsewhere, and no chunk ever has fewer copies for it. Goals
//! change: chunks get copies, or lose the right ones.

use super::random::heal;
use super::world::World;
use gfs_types::{ChunkHandle, ErrorCode, ServerNumber};

/// A world with sealed chunks of so many copies.
fn stored(servers: usize, chunks: usize, copies: u8) -> (World, Vec<ChunkHandle>) {
    let mut world = World::new(servers);
    world.run(1_000);
    let handles: Vec<ChunkHandle> = (0..chunks).map(|_| world.create(copies).unwrap()).collect();
    world.settle();
    for handle in &handles {
        assert!(world.write(*handle, None));
        world.event(|c, _, _, out| c.finish(*handle, 1, 1, true, out)).unwrap();
    }
    world.settle();
    (world, handles)
}

/// Lets time pass until the servers are empty; all copies are there at every moment.
fn wait_empty(world: &mut World, drained: &[usize], handles: &[ChunkHandle], copies: usize) {
    for _ in 0..600 {
        if drained.iter().all(|at| world.is_empty(*at)) {
            break;
        }
        world.pass(100);
        loop {
            let mut busy = false;
            for at in 0..world.hosts.len() {
                busy |= world.serve(at);
                busy |= world.hear(at);
                for handle in handles {
                    let good = world.good(handle.0);
                    assert!(good.len() >= copies, "chunk {handle} is only on {good:?}");
                }
            }
            if !busy {
                break;
            }
        }
    }
    for at in drained {
        assert!(world.is_empty(*at), "{}", world.reason(*at));
    }
}

#[test]
fn a_drained_server_is_emptied_without_a_copy_less() {
    let (mut world, handles) = stored(5, 40, 3);
    let left = world.drain(0, true, false).unwrap();
    assert!(left > 10, "{left}");
    assert!(world.reason(0).starts_with("draining: "), "{}", world.reason(0));
    wait_empty(&mut world, &[0], &handles, 3);
    assert_eq!(world.reason(0), "drained: may be removed");
    world.run(5_000);
    assert!(world.hosts[0].replicas.is_empty(), "the stale ones are deleted");
    // It goes for good, and nothing is lost or to be repaired.
    let clones = world.sent["clone"];
    world.kill(0);
    world.run(10_000);
    let health = world.chunks.health();
    assert_eq!((health.full, health.cloning), (40, 0));
    assert_eq!(world.sent["clone"], clones);
    assert!(world.is_empty(0));
    assert!(world.reason(0).ends_with("drained: may be removed"), "{}", world.reason(0));
    // Asking again is the same as asking once.
    assert_eq!(world.drain(0, true, false).unwrap(), 0);
}

#[test]
fn new_chunks_do_not_go_to_a_draining_server() {
    let (mut world, _) = stored(4, 4, 3);
    world.drain(1, true, false).unwrap();
    let drained = world.hosts[1].number;
    for _ in 0..12 {
        let handle = world.create(3).unwrap();
        assert!(!world.records[&handle.0].members.contains(&drained));
    }
    world.settle();
}

#[test]
fn chunks_that_are_written_move_and_their_writers_go_on() {
    let mut world = World::new(5);
    world.run(1_000);
    let handles: Vec<ChunkHandle> = (0..10).map(|_| world.create(3).unwrap()).collect();
    world.settle();
    for handle in &handles {
        assert!(world.write(*handle, None));
    }
    world.drain(2, true, false).unwrap();
    for _ in 0..100 {
        world.pass(100);
        world.settle();
        for handle in &handles {
            if !world.write(*handle, None) {
                world.recover(*handle, &[], true);
            }
        }
    }
    assert!(world.is_empty(2), "{}", world.reason(2));
    for handle in &handles {
        assert!(world.known[&handle.0].acked.len() > 80, "the writers go on meanwhile");
    }
    heal(&mut world);
}

#[test]
fn single_copies_and_chunks_with_all_copies_on_drained_servers_move() {
    for copies in [1u8, 2] {
        let (mut world, handles) = stored(6, 20, copies);
        for at in [0, 1, 2] {
            world.drain(at, true, false).unwrap();
        }
        wait_empty(&mut world, &[0, 1, 2], &handles, usize::from(copies));
        heal(&mut world);
    }
}

#[test]
fn a_drain_survives_the_master_and_is_taken_back() {
    let (mut world, handles) = stored(5, 40, 3);
    world.drain(3, true, false).unwrap();
    world.pass(100);
    world.restart_master();
    world.run(500);
    assert!(world.is_draining(3));
    wait_empty(&mut world, &[3], &handles, 3);

    let (mut world, handles) = stored(5, 40, 3);
    let before = world.drain(3, true, false).unwrap();
    world.pass(100);
    world.drain(3, false, false).unwrap();
    world.run(10_000);
    assert!(!world.is_draining(3) && !world.is_empty(3));
    let number = world.hosts[3].number;
    let held = handles.iter().filter(|h| world.good(h.0).contains(&number)).count();
    assert!(held as u64 + 8 > before, "{held} of {before} stayed");
    heal(&mut world);
    let changed = handles.iter().filter(|h| world.chunks.version(**h) > 1).count();
    assert!(changed < 8, "{changed} chunks were changed for nothing");
}

#[test]
fn draining_the_last_servers_is_refused_unless_forced_and_then_shown_as_stuck() {
    let (mut world, handles) = stored(4, 8, 3);
    world.drain(0, true, false).unwrap();
    let refused = world.drain(1, true, false).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert!(refused.message.contains("there are 2 servers"), "{refused}");
    assert!(!world.is_draining(1));
    let unknown = ServerNumber(77);
    let refused = world.event(|c, now, _, out| c.set_drain(now, unknown, true, true, 3, out));
    assert_eq!(refused.unwrap_err().code, ErrorCode::NotFound);

    world.drain(1, true, true).unwrap();
    wait_empty(&mut world, &[], &handles, 3);
    world.run(30_000);
    let stuck = |world: &World, at| world.reason(at).contains("no other server can take a copy");
    assert!(stuck(&world, 0) || stuck(&world, 1), "{} {}", world.reason(0), world.reason(1));
    assert_eq!(world.chunks.health().full, 8);
    for handle in &handles {
        assert_eq!(world.good(handle.0).len(), 3);
    }
    // Taken back for one, the other one goes on.
    world.drain(0, false, false).unwrap();
    wait_empty(&mut world, &[1], &handles, 3);
}

#[test]
fn a_drain_waits_for_repair_and_for_servers_to_go_to() {
    let (mut world, handles) = stored(4, 12, 3);
    world.drain(0, true, false).unwrap();
    world.kill(1);
    world.run(20_000);
    // Three copies need the draining one now.
    assert_eq!(world.chunks.health().full + world.chunks.health().under_replicated, 12);
    assert!(!world.is_empty(0));
    for handle in &handles {
        assert!(world.good(handle.0).len() >= 2);
    }
    world.hosts[1].up = true;
    world.run(40_000);
    assert!(world.is_empty(0), "{}", world.reason(0));
    heal(&mut world);
}

#[test]
fn a_higher_goal_gives_copies_and_a_lower_one_takes_the_surplus() {
    let (mut world, handles) = stored(5, 20, 2);
    for handle in &handles {
        world.set_copies(*handle, 4);
    }
    assert_eq!(world.chunks.health().under_replicated, 20);
    world.run(10_000);
    for handle in &handles {
        assert_eq!(world.good(handle.0).len(), 4);
    }
    for (handle, copies) in handles.iter().zip([1u8, 2, 3].into_iter().cycle()) {
        world.set_copies(*handle, copies);
    }
    world.run(20_000);
    heal(&mut world);
    for (handle, copies) in handles.iter().zip([1usize, 2, 3].into_iter().cycle()) {
        assert_eq!(world.good(handle.0).len(), copies);
        let replicas = world.hosts.iter().filter(|h| h.replicas.contains_key(&handle.0));
        assert_eq!(replicas.count(), copies, "the surplus is deleted");
    }
}

#[test]
fn the_surplus_goes_where_a_zone_has_two() {
    let mut world = World::new(5);
    for (at, zone) in ["a", "a", "a", "b", "c"].into_iter().enumerate() {
        world.hosts[at].zone = zone.into();
        world.reset(at);
    }
    world.run(2_000);
    let handles: Vec<ChunkHandle> = (0..12).map(|_| world.create(5).unwrap()).collect();
    world.settle();
    for handle in &handles {
        assert!(world.write(*handle, None));
        assert_eq!(world.good(handle.0).len(), 5);
        world.set_copies(*handle, 3);
    }
    world.run(20_000);
    for handle in &handles {
        let good = world.good(handle.0);
        let zones: std::collections::BTreeSet<&str> = world
            .hosts
            .iter()
            .filter(|h| good.contains(&h.number))
            .map(|h| h.zone.as_str())
            .collect();
        assert_eq!((good.len(), zones.len()), (3, 3), "{good:?}");
    }
    heal(&mut world);
}

#[test]
fn the_surplus_stays_while_a_copy_that_is_to_stay_is_in_doubt() {
    let (mut world, handles) = stored(3, 6, 3);
    world.kill(0);
    // The verdict is not there yet.
    world.pass(100);
    for handle in &handles {
        world.set_copies(*handle, 2);
    }
    world.run(20_000);
    for handle in &handles {
        assert_eq!(world.good(handle.0).len(), 2, "none was dropped for the sake of the dead one");
    }
    heal(&mut world);
}
