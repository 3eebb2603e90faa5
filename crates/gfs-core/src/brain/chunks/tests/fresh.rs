//! Fresh chunks whose Grants were lost: begun afresh when it is certain that nothing was
//! acknowledged in them, and only then.

use super::world::World;
use crate::brain::SessionId;
use gfs_proto::v1 as pb;
use gfs_types::ChunkHandle;

/// A chunk of three copies whose Grants nobody heard, and the servers that were to have it.
fn ungranted(servers: usize) -> (World, ChunkHandle, Vec<usize>) {
    let mut world = World::new(servers);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    let members = members(&world, handle);
    for at in 0..servers {
        world.reset(at);
    }
    (world, handle, members)
}

fn members(world: &World, handle: ChunkHandle) -> Vec<usize> {
    let at = |number: &u32| world.hosts.iter().position(|h| h.number == *number).unwrap();
    world.records[&handle.0].members.iter().map(at).collect()
}

/// The power of a server fails; this is what it had and had not synced.
fn lose_power(world: &mut World, at: usize) {
    world.kill(at);
    world.hosts[at].boot += 1;
    world.hosts[at].replicas.clear();
}

#[test]
fn a_chunk_that_no_member_heard_of_does_without_those_that_are_gone() {
    for gone in 1..=2 {
        let (mut world, handle, members) = ungranted(5);
        for at in &members[..gone] {
            world.kill(*at);
        }
        world.run(5_000);
        assert_eq!(world.good(handle.0).len(), 3, "{gone} gone: {:?}", world.notes);
        // One that comes back has nothing that counts.
        for at in members {
            world.hosts[at].up = true;
        }
        world.run(5_000);
        assert_eq!(world.good(handle.0).len(), 3);
    }
}

#[test]
fn what_a_clone_left_on_a_member_makes_room() {
    let (mut world, handle, members) = ungranted(5);
    // Another member had the chunk for a moment, and a clone of it came here.
    world.connect(members[1]);
    world.hosts[members[1]].replicas.insert(handle.0, super::model::Replica::default());
    world.send_report(members[1]);
    world.kill(members[0]);
    world.kill(members[2]);
    world.run(5_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
}

#[test]
fn also_when_another_master_leads() {
    let (mut world, handle, members) = ungranted(4);
    world.kill(members[0]);
    world.restart_master();
    world.run(40_000);
    assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
}

#[test]
fn after_a_power_loss_a_member_without_a_replica_proves_nothing() {
    for restart in [false, true] {
        let mut world = World::new(5);
        world.run(1_000);
        let handle = world.create(3).unwrap();
        world.settle();
        assert!(world.write(handle, None));
        let members = members(&world, handle);
        for at in &members[1..] {
            world.kill(*at);
        }
        lose_power(&mut world, members[0]);
        if restart {
            world.restart_master();
        }
        world.hosts[members[0]].up = true;
        world.run(60_000);
        assert_eq!(world.good(handle.0).len(), 0);
        assert_eq!(world.chunks.version(handle), 1, "it waits for the others");
        world.hosts[members[2]].up = true;
        world.run(10_000);
        // The rules of the world see that what was acknowledged is there.
        assert_eq!(world.good(handle.0).len(), 3, "{:?}", world.notes);
    }
}

#[test]
fn a_member_that_lost_its_replica_proves_nothing() {
    let mut world = World::new(5);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    let members = members(&world, handle);
    for at in &members[1..] {
        world.kill(*at);
    }
    world.hosts[members[0]].replicas.clear();
    let session = world.hosts[members[0]].session.unwrap();
    let gone = pb::ReplicaState { handle: handle.0, ..Default::default() };
    let notice = pb::Notice { handle: handle.0, body: Some(pb::notice::Body::Damaged(gone)) };
    world.event(|c, now, _, out| c.notice(now, SessionId(session), &notice, out));
    world.run(10_000);
    assert_eq!(world.chunks.version(handle), 1);
    assert_eq!(world.good(handle.0).len(), 0, "{:?}", world.notes);
}

#[test]
fn a_member_that_reports_later_has_had_time_to_say_what_it_has() {
    // The Grants reached all, a write was acknowledged, and no result reached the master.
    let mut world = World::new(4);
    world.run(1_000);
    let handle = world.create(3).unwrap();
    for at in 0..4 {
        while world.serve(at) {}
    }
    assert!(world.write(handle, None));
    let members = members(&world, handle);
    world.restart_master();
    for at in &members[1..] {
        world.kill(*at);
    }
    world.run(40_000);
    assert_eq!(world.good(handle.0).len(), 2, "from the one that has it: {:?}", world.notes);
}
