//! What must happen, told step by step.

use super::world::{CHUNK, World};
use crate::brain::SessionId;
use crate::brain::chunks::Want;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, ServerNumber};

fn counts(world: &World) -> [u64; 5] {
    let h = world.chunks.health();
    [h.total, h.full, h.under_replicated, h.endangered, h.unavailable]
}

/// A world with chunks of three copies, each written once, and settled.
fn stored(servers: usize, chunks: usize) -> (World, Vec<ChunkHandle>) {
    let mut world = World::new(servers);
    world.run(1_000);
    let handles: Vec<ChunkHandle> = (0..chunks).map(|_| world.create(3).unwrap()).collect();
    world.settle();
    for handle in &handles {
        assert!(world.write(*handle, None));
    }
    assert_eq!(counts(&world), [chunks as u64, chunks as u64, 0, 0, 0]);
    (world, handles)
}

fn seal(world: &mut World, handles: &[ChunkHandle]) {
    for handle in handles {
        world.event(|c, _, _, out| c.finish(*handle, 1, 1, true, out)).unwrap();
    }
    world.settle();
}

#[test]
fn a_new_chunk_is_granted_to_as_many_as_its_goal() {
    let (world, handles) = stored(4, 8);
    let location = world.chunks.location(handles[0], &pb::Place::default()).unwrap();
    assert_eq!(location.servers.len(), 3);
    assert_eq!(location.primary, location.servers[0].server);
    assert_eq!((location.version, location.length), (1, 0));
    assert_eq!(world.sent["grant"], 24);
    // Spread over all four.
    for status in world.chunks.server_statuses(world.now) {
        assert!((4..=8).contains(&status.chunks), "{status:?}");
    }
}

#[test]
fn the_writers_node_is_the_primary() {
    let mut world = World::new(4);
    let near = pb::Place { node: "node-2".into(), ..pb::Place::default() };
    let info = crate::brain::chunks::ChunkInfo {
        inode: gfs_types::InodeId(9),
        index: 0,
        start: 0,
        copies: 3,
        durability: pb::Durability::Replicated,
    };
    world.event(|c, now, _, out| c.create(now, ChunkHandle(1), info, 0, &near, out)).unwrap();
    let location = world.chunks.location(ChunkHandle(1), &near).unwrap();
    assert_eq!(location.servers[0].place.as_ref().unwrap().node, "node-2");
}

#[test]
fn too_few_servers_is_an_error_and_one_missing_is_not() {
    let mut world = World::new(2);
    let handle = world.create(3).unwrap();
    world.settle();
    assert_eq!(counts(&world), [1, 0, 1, 0, 0]);
    assert!(world.write(handle, None));
    let mut world = World::new(1);
    assert_eq!(world.create(3).unwrap_err().code, ErrorCode::TooFewServers);
    assert!(world.create(1).is_ok());
}

#[test]
fn a_killed_server_is_replaced_at_once() {
    let (mut world, handles) = stored(4, 24);
    seal(&mut world, &handles);
    world.kill(0);
    world.run(700);
    assert!(world.chunks.server_statuses(world.now)[0].state == pb::ServerState::Dead as i32);
    assert_eq!(counts(&world), [24, 24, 0, 0, 0]);
    let incident = &world.chunks.incidents()[0];
    assert!(incident.closed && incident.chunks > 10, "{incident:?}");
    assert_eq!(incident.first_clone_ms, Some(0));
    assert!(incident.detected_ms < 1_000 && incident.full_ms.unwrap() <= 100, "{incident:?}");
    assert_eq!(incident.servers, [1]);
    for handle in handles {
        assert_eq!(world.good(handle.0).len(), 3);
        assert_eq!(
            world.chunks.version(handle),
            if world.records[&handle.0].version == 0 { 1 } else { 2 }
        );
    }
}

#[test]
fn clones_start_in_the_event_of_the_verdict_and_keep_flowing() {
    let (mut world, handles) = stored(4, 300);
    seal(&mut world, &handles);
    world.kill(3);
    while world.chunks.health().full == 300 {
        world.pass(100);
    }
    // Three servers live. These chunks are small: up to 64 out of each, 64 into each.
    let flowing = world.chunks.health().cloning as usize;
    assert!((100..=192).contains(&flowing), "{flowing}");
    // As long as chunks wait, no place stays empty for longer than an event.
    let mut least = flowing;
    while let Some(at) = (0..3).find(|at| world.serve(*at)) {
        while world.hear(at) {}
        if world.chunks.queue.len() > 12 {
            least = least.min(world.chunks.health().cloning as usize);
        }
    }
    assert!(least >= 80, "{least}");
    world.settle();
    assert_eq!(world.chunks.health().full, 300);
}

#[test]
fn a_death_among_tens_of_thousands_of_chunks_starts_repair_in_the_same_event() {
    let mut world = World::new(5);
    world.unchecked = true;
    for n in 0..20_000u32 {
        world.create(3).unwrap();
        if n % 1_000 == 0 {
            world.settle();
            world.run(1_000);
        }
    }
    world.settle();
    world.kill(2);
    let held = world.chunks.server_statuses(world.now)[2].chunks;
    assert!(held > 10_000, "{held}");
    while world.chunks.server_statuses(world.now)[2].state != pb::ServerState::Dead as i32 {
        assert_eq!(world.chunks.health().full, 20_000);
        world.pass(100);
    }
    let health = world.chunks.health();
    assert_eq!(health.full, 20_000 - held);
    assert!(health.cloning >= 16, "{health:?}");
    let incident = &world.chunks.incidents()[0];
    assert_eq!((incident.chunks, incident.first_clone_ms), (held, Some(0)));
    assert_eq!(incident.two_copies_ms, Some(0));
    world.settle();
    world.unchecked = false;
    world.pass(100);
    assert_eq!(world.chunks.health().full, 20_000);
}

#[test]
fn where_only_stale_copies_can_be_used_they_are_one_after_another() {
    let (mut world, handles) = stored(4, 300);
    seal(&mut world, &handles);
    world.kill(0);
    world.run(2_000);
    assert_eq!(world.chunks.health().full, 300);
    // Another one dies, and before that is noticed the first one returns, with what is stale by
    // now and cannot be deleted: two good copies are left.
    world.kill(1);
    for _ in 0..5 {
        world.pass(100);
    }
    world.hosts[0].up = true;
    world.connect(0);
    world.send_report(0);
    while world.chunks.health().full == 300 {
        world.pass(100);
    }
    assert!(world.hosts[0].replicas.len() > 200);
    world.run(2_000);
    assert_eq!(world.chunks.health().full, 300);
    let incident = &world.chunks.incidents()[0];
    assert!(incident.closed && incident.full_ms.unwrap() <= 200, "{incident:?}");
}

#[test]
fn a_stopped_server_is_dead_within_two_seconds_and_its_stale_copies_go() {
    let (mut world, handles) = stored(4, 8);
    seal(&mut world, &handles);
    world.hosts[1].stopped = true;
    world.run(1_600);
    assert_eq!(world.chunks.health().full, 8);
    world.run(200);
    assert_eq!(world.chunks.server_statuses(world.now)[1].state, pb::ServerState::Dead as i32);
    assert_eq!(world.chunks.health().full, 8);
    assert!(world.sent.get("clone").copied().unwrap_or(0) > 0);
    // It comes back: what it has is stale, and goes.
    world.hosts[1].stopped = false;
    world.run(3_000);
    assert_eq!(world.chunks.server_statuses(world.now)[1].state, pb::ServerState::Alive as i32);
    for handle in handles {
        let held = world.hosts.iter().filter(|h| h.replicas.contains_key(&handle.0)).count();
        assert_eq!(held, 3, "chunk {handle}");
    }
}

#[test]
fn a_server_that_returns_in_time_is_counted_and_clones_are_cancelled() {
    let (mut world, handles) = stored(4, 30);
    seal(&mut world, &handles);
    world.kill(0);
    for _ in 0..8 {
        world.pass(100);
    }
    let running = world.chunks.health().cloning;
    assert!(running > 0);
    world.hosts[0].up = true;
    world.connect(0);
    world.send_report(0);
    assert_eq!((world.chunks.health().cloning, world.chunks.health().full), (0, 30));
    assert_eq!(world.sent["cancel"], running as usize);
    assert!(world.chunks.incidents()[0].closed);
    world.run(2_000);
    for handle in handles {
        assert_eq!(world.hosts.iter().filter(|h| h.replicas.contains_key(&handle.0)).count(), 3);
        assert_eq!(world.chunks.version(handle), 1);
    }
}

#[test]
fn a_chunk_being_written_moves_on_first_and_is_filled_beside_the_writes() {
    let (mut world, handles) = stored(4, 1);
    let handle = handles[0];
    let primary = world.chunks.location(handle, &pb::Place::default()).unwrap().primary;
    let at = world.hosts.iter().position(|h| h.number == primary).unwrap();
    world.kill(at);
    let token = world.recover(handle, &[at], true);
    world.settle();
    assert_eq!(world.answered, [(token, Ok(handle))]);
    let location = world.chunks.location(handle, &pb::Place::default()).unwrap();
    // First two of the old members; then, beside the writes, a third one.
    assert_eq!((location.version, location.servers.len()), (3, 3));
    assert!(location.primary != 0 && location.primary != primary);
    assert!(world.write(handle, None));
    world.run(2_000);
    let location = world.chunks.location(handle, &pb::Place::default()).unwrap();
    assert_eq!((location.version, location.servers.len()), (3, 3));
    assert!(location.primary != 0, "the writer keeps its lease");
    assert!(world.write(handle, None));
    assert_eq!(world.known[&handle.0].acked.len(), 3);
}

#[test]
fn below_min_copies_a_new_member_comes_first() {
    let (mut world, handles) = stored(5, 1);
    let handle = handles[0];
    let members = world.records[&handle.0].members.clone();
    let dead: Vec<usize> = members[1..]
        .iter()
        .map(|m| world.hosts.iter().position(|h| h.number == *m).unwrap())
        .collect();
    world.kill(dead[0]);
    world.kill(dead[1]);
    let token = world.recover(handle, &dead, true);
    world.settle();
    world.run(3_000);
    assert_eq!(world.answered, [(token, Ok(handle))]);
    let location = world.chunks.location(handle, &pb::Place::default()).unwrap();
    assert_eq!(location.servers.len(), 3);
    assert!(world.write(handle, None));
}

#[test]
fn a_late_recover_is_answered_with_what_is_there() {
    let (mut world, handles) = stored(4, 1);
    let handle = handles[0];
    world.recover(handle, &[], true);
    world.settle();
    assert_eq!(world.chunks.version(handle), 2);
    let token = world.token();
    let waiter =
        crate::brain::chunks::Waiter { token, kind: crate::brain::chunks::WaiterKind::Recover };
    world.event(|c, now, _, out| c.recover(now, handle, 1, &[], Want::Extend, waiter, out));
    assert_eq!(world.answered.last(), Some(&(token.0, Ok(handle))));
    assert_eq!(world.chunks.version(handle), 2);
    // From the future: refused.
    world.event(|c, now, _, out| c.recover(now, handle, 9, &[], Want::Extend, waiter, out));
    let code = world.answered.last().unwrap().1.as_ref().unwrap_err().code;
    assert_eq!(code, ErrorCode::StaleVersion);
}

#[test]
fn a_reader_gets_a_new_version_of_a_sealed_chunk_and_a_writer_the_present_one() {
    let (mut world, handles) = stored(4, 1);
    seal(&mut world, &handles);
    world.recover(handles[0], &[], true);
    world.settle();
    assert_eq!(world.chunks.version(handles[0]), 1);
    let token = world.recover(handles[0], &[], false);
    world.settle();
    assert_eq!(world.chunks.version(handles[0]), 2);
    assert_eq!(world.answered.last(), Some(&(token, Ok(handles[0]))));
    assert!(world.records[&handles[0].0].sealed);
}

#[test]
fn finish_is_held_to_the_version_and_never_shortens() {
    let (mut world, handles) = stored(4, 1);
    let handle = handles[0];
    let mut finish = |version, length, sealed| {
        world
            .event(|c, _, _, out| c.finish(handle, version, length, sealed, out))
            .map_err(|e| e.code)
    };
    assert_eq!(finish(2, 5, false), Err(ErrorCode::StaleVersion));
    assert_eq!(finish(1, CHUNK + 1, false), Err(ErrorCode::OutOfRange));
    assert_eq!(finish(1, 10, false), Ok(()));
    assert_eq!(finish(1, 5, false), Ok(()));
    assert_eq!(finish(1, 12, true), Ok(()));
    assert_eq!(finish(1, 12, true), Ok(()));
    assert_eq!(finish(1, 13, true), Err(ErrorCode::Sealed));
    assert_eq!(world.records[&handle.0].length, 12);
    let unknown = world.event(|c, _, _, out| c.finish(ChunkHandle(99), 1, 1, true, out));
    assert_eq!(unknown.unwrap_err().code, ErrorCode::UnknownChunk);
}

#[test]
fn a_discarded_chunk_is_deleted_everywhere_also_where_it_comes_back() {
    let (mut world, handles) = stored(4, 2);
    let member = world.records[&handles[0].0].members[0];
    let at = world.hosts.iter().position(|h| h.number == member).unwrap();
    world.kill(at);
    world.event(|c, _, _, out| c.discard(handles[0], out));
    world.run(2_000);
    let held = |world: &World| {
        world.hosts.iter().filter(|h| h.replicas.contains_key(&handles[0].0)).count()
    };
    assert_eq!(held(&world), 1);
    world.restart_master();
    world.run(1_000);
    assert_eq!(held(&world), 1);
    world.hosts[at].up = true;
    world.run(1_000);
    assert_eq!(held(&world), 0);
    assert_eq!(world.chunks.garbage.len(), 0);
}

#[test]
fn a_damaged_copy_is_replaced_elsewhere_or_else_in_place() {
    for servers in [4, 3] {
        let (mut world, handles) = stored(servers, 1);
        let handle = handles[0];
        seal(&mut world, &handles);
        let member = world.records[&handle.0].members[1];
        let at = world.hosts.iter().position(|h| h.number == member).unwrap();
        world.hosts[at].replicas.get_mut(&handle.0).unwrap().damaged = true;
        world.event(|c, now, _, out| {
            c.damage_reported(now, handle, 1, ServerNumber(member), None, out);
        });
        world.run(3_000);
        assert_eq!(counts(&world), [1, 1, 0, 0, 0], "{servers} servers");
        assert_eq!(world.good(handle.0).len(), 3, "{servers} servers");
        assert!(world.hosts.iter().all(|h| h.replicas.get(&handle.0).is_none_or(|r| !r.damaged)));
        assert!(world.chunks.incidents()[0].closed);
    }
}

#[test]
fn a_damaged_copy_is_mended_beside_the_only_good_one() {
    for copies in [3, 2] {
        let (mut world, _) = stored(3, 0);
        let handle = world.create(copies).unwrap();
        world.settle();
        world.write(handle, None);
        seal(&mut world, &[handle]);
        let members = world.records[&handle.0].members.clone();
        let host = |world: &World, at: usize| {
            world.hosts.iter().position(|h| h.number == members[at]).unwrap()
        };
        let (good, damaged) = (host(&world, 0), host(&world, 1));
        for at in (0..3).filter(|at| ![good, damaged].contains(at)) {
            world.kill(at);
        }
        world.run(5_000);
        world.hosts[damaged].replicas.get_mut(&handle.0).unwrap().damaged = true;
        let number = ServerNumber(world.hosts[damaged].number);
        world.event(|c, now, _, out| c.damage_reported(now, handle, 1, number, None, out));
        world.run(5_000);
        assert_eq!(world.good(handle.0).len(), 2, "of {copies}");
        assert!(!world.hosts[damaged].replicas[&handle.0].damaged);
    }
}

#[test]
fn the_last_copy_is_never_condemned() {
    let (mut world, _) = stored(4, 0);
    let handle = world.create(1).unwrap();
    world.settle();
    world.write(handle, None);
    let member = world.records[&handle.0].members[0];
    let at = world.hosts.iter().position(|h| h.number == member).unwrap();
    let replica = world.hosts[at].replicas.get_mut(&handle.0).unwrap();
    replica.damaged = true;
    let state = replica.state(handle.0);
    let session = world.hosts[at].session.unwrap();
    let notice = pb::Notice { handle: handle.0, body: Some(pb::notice::Body::Damaged(state)) };
    world.event(|c, now, _, out| c.notice(now, SessionId(session), &notice, out));
    world.run(20_000);
    assert!(world.hosts[at].replicas.contains_key(&handle.0));
    assert_eq!(counts(&world), [1, 0, 0, 0, 1]);
    let (problems, _) = world.chunks.problems(10);
    assert!(problems.iter().any(|p| p.kind == "DAMAGED" && p.severe), "{problems:?}");
    // Its good blocks can still be read.
    assert_eq!(world.chunks.location(handle, &pb::Place::default()).unwrap().servers.len(), 1);
}

#[test]
fn the_last_copy_is_never_condemned_when_the_others_are_dead() {
    let (mut world, handles) = stored(3, 1);
    let handle = handles[0];
    seal(&mut world, &handles);
    world.kill(0);
    world.kill(1);
    world.run(60_000);
    let session = world.hosts[2].session.unwrap();
    let replica = world.hosts[2].replicas.get_mut(&handle.0).unwrap();
    replica.damaged = true;
    let state = replica.state(handle.0);
    let notice = pb::Notice { handle: handle.0, body: Some(pb::notice::Body::Damaged(state)) };
    // As a scrub does, pass after pass.
    for _ in 0..5 {
        world.event(|c, now, _, out| c.notice(now, SessionId(session), &notice, out));
        world.run(20_000);
        assert!(world.hosts[2].replicas.contains_key(&handle.0));
        let location = world.chunks.location(handle, &pb::Place::default()).unwrap();
        assert_eq!(location.servers.len(), 1, "its good blocks can still be read");
    }
}

#[test]
fn a_restarted_master_repeats_what_was_under_way() {
    let (mut world, handles) = stored(4, 1);
    let handle = handles[0];
    world.recover(handle, &[], true);
    // Nobody answered yet; the number is in the record.
    assert_eq!(world.records[&handle.0].next, 2);
    world.restart_master();
    world.run(1_000);
    assert_eq!(world.chunks.version(handle), 3);
    assert_eq!(world.records[&handle.0].next, 0);
    assert_eq!(world.good(handle.0).len(), 3);
}

#[test]
fn a_cold_start_is_over_when_all_have_reported() {
    let (mut world, handles) = stored(4, 6);
    seal(&mut world, &handles);
    world.restart_master();
    assert!(world.chunks.phase().is_some());
    world.settle();
    assert_eq!(world.chunks.phase(), None);
    assert_eq!(counts(&world), [6, 6, 0, 0, 0]);
    assert!(world.create(3).is_ok());
}

#[test]
fn in_a_cold_start_nothing_is_repaired_before_its_time() {
    let (mut world, handles) = stored(4, 6);
    seal(&mut world, &handles);
    world.kill(2);
    world.restart_master();
    world.sent.clear();
    world.run(29_000);
    assert_eq!(world.sent.get("clone"), None);
    assert!(world.chunks.phase().is_some());
    // Reads are served meanwhile.
    let location = world.chunks.location(handles[0], &pb::Place::default()).unwrap();
    assert!(location.servers.len() >= 2);
    world.run(2_000);
    assert_eq!(world.chunks.phase(), None);
    assert_eq!(counts(&world), [6, 6, 0, 0, 0]);
}

#[test]
fn maintenance_starts_no_repair_for_two_minutes() {
    let (mut world, handles) = stored(4, 6);
    seal(&mut world, &handles);
    let session = world.hosts[0].session.unwrap();
    let leaving = pb::Heartbeat { session, leaving: true, ..Default::default() };
    world.event(|c, now, _, out| c.heartbeat(now, SessionId(session), &leaving, out));
    world.kill(0);
    world.sent.clear();
    world.run(100_000);
    assert_eq!(world.sent.get("clone"), None);
    world.hosts[0].up = true;
    world.run(1_000);
    assert_eq!(world.chunks.server_statuses(world.now)[0].state, pb::ServerState::Alive as i32);
    assert_eq!((counts(&world), world.sent.get("clone")), ([6, 6, 0, 0, 0], None));
}

#[test]
fn after_a_mass_loss_only_endangered_chunks_are_repaired_at_first() {
    let (mut world, handles) = stored(8, 40);
    seal(&mut world, &handles);
    for at in 0..3 {
        world.kill(at);
    }
    world.run(5_000);
    let health = world.chunks.health();
    assert_eq!(health.endangered, 0);
    assert!(health.under_replicated > 0, "{health:?}");
    world.run(30_000);
    let health = world.chunks.health();
    assert_eq!(health.under_replicated + health.endangered, 0, "{health:?}");
}

#[test]
fn rolled_back_metadata_deletes_nothing() {
    let (mut world, handles) = stored(4, 3);
    seal(&mut world, &handles);
    // A chunk that this master never made.
    let replica = world.hosts[0].replicas.values().next().unwrap().clone();
    world.hosts[0].replicas.insert(5_000, replica);
    world.reset(0);
    world.settle();
    assert!(world.chunks.rollback_mode());
    world.event(|c, _, _, out| c.discard(handles[0], out));
    world.run(5_000);
    assert_eq!(world.sent.get("delete"), None);
    // Nothing new takes the number.
    assert!(world.create(3).unwrap().0 > 5_000);
}

#[test]
fn an_administrator_ends_rollback_mode_and_only_then_unknown_chunks_go() {
    let (mut world, handles) = stored(4, 3);
    seal(&mut world, &handles);
    let replica = world.hosts[0].replicas.values().next().unwrap().clone();
    for at in [0, 1] {
        world.hosts[at].replicas.insert(5_000, replica.clone());
        world.reset(at);
    }
    world.settle();
    let unknown = world.chunks.unknown();
    assert_eq!(
        (unknown.rollback_mode, unknown.unknown_chunks, unknown.unknown_replicas),
        (true, 1, 2)
    );
    world.run(5_000);
    assert_eq!(world.sent.get("delete"), None);
    world.event(|c, _, _, out| c.end_rollback(out));
    world.run(5_000);
    assert!(!world.chunks.rollback_mode());
    assert_eq!(world.sent["delete"], 2);
    assert!(!world.hosts[0].replicas.contains_key(&5_000));
    assert_eq!(world.chunks.unknown().unknown_chunks, 0);
    assert_eq!(counts(&world), [3, 3, 0, 0, 0]);
    // That the servers had heard more is no news when they come again.
    for at in 0..4 {
        world.reset(at);
    }
    world.run(5_000);
    assert!(!world.chunks.rollback_mode());
}

#[test]
fn hostile_registrations_and_reports_are_refused() {
    let mut world = World::new(1);
    let good = pb::RegisterRequest {
        cluster_id: gfs_types::ClusterId(7).to_bytes().to_vec().into(),
        protocol_version: gfs_types::PROTOCOL_VERSION,
        server_uuid: 5u128.to_be_bytes().to_vec().into(),
        addresses: vec!["a:1".into()],
        ..Default::default()
    };
    let cases: Vec<(pb::RegisterRequest, ErrorCode)> = vec![
        (pb::RegisterRequest { protocol_version: 9, ..good.clone() }, ErrorCode::WrongProtocol),
        (
            pb::RegisterRequest { cluster_id: vec![1; 16].into(), ..good.clone() },
            ErrorCode::WrongCluster,
        ),
        (
            pb::RegisterRequest { cluster_id: vec![1; 3].into(), ..good.clone() },
            ErrorCode::InvalidArgument,
        ),
        (
            pb::RegisterRequest { server_uuid: vec![0; 16].into(), ..good.clone() },
            ErrorCode::InvalidArgument,
        ),
        (pb::RegisterRequest { addresses: vec![], ..good.clone() }, ErrorCode::InvalidArgument),
        (
            // Taking it up would leave no handles.
            pb::RegisterRequest { highest_handle: u64::MAX - 1, ..good.clone() },
            ErrorCode::InvalidArgument,
        ),
        (
            pb::RegisterRequest { addresses: vec!["x".repeat(300)], ..good.clone() },
            ErrorCode::InvalidArgument,
        ),
    ];
    let ask = |world: &mut World, request: &pb::RegisterRequest| {
        let token = world.token();
        let mut out = crate::brain::chunks::Outbox::default();
        let mut counters = pb::Counters { inode: 9, handle: 9, server: 9 };
        let now = world.now;
        world.chunks.register(now, token, request, &mut counters, &mut out);
        out.replies.pop().unwrap().1
    };
    for (request, code) in cases {
        assert_eq!(ask(&mut world, &request).unwrap_err().error_code(), code);
    }
    let Ok(crate::brain::Response::Register(response)) = ask(&mut world, &good) else { panic!() };
    let report = |page: pb::ReportRequest, world: &mut World| {
        let token = world.token();
        let mut out = crate::brain::chunks::Outbox::default();
        let mut counters = pb::Counters { inode: 9, handle: 9, server: 9 };
        let now = world.now;
        world.chunks.report(now, token, &page, &mut counters, &mut out);
        out.replies.pop().unwrap().1.map_err(|e| e.error_code()).map(drop)
    };
    let page = pb::ReportRequest { session: response.session, report: 1, ..Default::default() };
    let cases: Vec<(pb::ReportRequest, Result<(), ErrorCode>)> = vec![
        (pb::ReportRequest { session: 3, ..page.clone() }, Err(ErrorCode::StaleSession)),
        (pb::ReportRequest { page: 4, ..page.clone() }, Err(ErrorCode::InvalidArgument)),
        (
            pb::ReportRequest {
                replicas: vec![pb::ReplicaState::default(); 4_097],
                ..page.clone()
            },
            Err(ErrorCode::InvalidArgument),
        ),
        (pb::ReportRequest { last: true, digest: 77, ..page.clone() }, Err(ErrorCode::Corrupt)),
        (pb::ReportRequest { last: true, count: 1, ..page.clone() }, Err(ErrorCode::Corrupt)),
        (page.clone(), Ok(())),
        (pb::ReportRequest { page: 2, ..page.clone() }, Err(ErrorCode::InvalidArgument)),
        (pb::ReportRequest { last: true, ..page.clone() }, Ok(())),
        (pb::ReportRequest { last: true, ..page.clone() }, Ok(())),
    ];
    for (n, (page, expected)) in cases.into_iter().enumerate() {
        assert_eq!(report(page, &mut world), expected, "case {n}");
    }
}
