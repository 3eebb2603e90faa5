//! Random events against random servers; the rules are checked after each (`world`), and in the
//! end everything heals.

use super::model::Host;
use super::world::{CHUNK, World};
use crate::brain::SessionId;
use crate::brain::chunks::table::Health;
use crate::mistakes::Mistakes;
use gfs_proto::v1 as pb;
use gfs_types::ChunkHandle;
use proptest::prelude::*;

/// What happens next; numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Pass(u8),
    Serve(u8),
    Hear(u8),
    HearTwice(u8),
    HearOld(u8),
    Kill(u8),
    Start(u8),
    Stop(u8),
    Continue(u8),
    Reset(u8),
    PowerLoss(u8),
    Damage(u8, u8),
    Create(u8),
    Write(u8),
    WriteSome(u8, u8),
    Recover(u8, u8),
    Open(u8),
    Finish(u8, bool),
    Discard(u8),
    Drain(u8, bool),
    Copies(u8, u8),
    Rebalance(bool),
    RestartMaster,
    Settle,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let n = any::<u8>;
    prop_oneof![
        6 => n().prop_map(Step::Pass),
        20 => n().prop_map(Step::Serve),
        14 => n().prop_map(Step::Hear),
        2 => n().prop_map(Step::HearTwice),
        2 => n().prop_map(Step::HearOld),
        2 => n().prop_map(Step::Kill),
        4 => n().prop_map(Step::Start),
        1 => n().prop_map(Step::Stop),
        2 => n().prop_map(Step::Continue),
        2 => n().prop_map(Step::Reset),
        1 => n().prop_map(Step::PowerLoss),
        1 => (n(), n()).prop_map(|(a, b)| Step::Damage(a, b)),
        3 => n().prop_map(Step::Create),
        8 => n().prop_map(Step::Write),
        3 => (n(), n()).prop_map(|(a, b)| Step::WriteSome(a, b)),
        5 => (n(), n()).prop_map(|(a, b)| Step::Recover(a, b)),
        2 => n().prop_map(Step::Open),
        1 => (n(), any::<bool>()).prop_map(|(a, b)| Step::Finish(a, b)),
        1 => n().prop_map(Step::Discard),
        2 => (n(), any::<bool>()).prop_map(|(a, b)| Step::Drain(a, b)),
        1 => (n(), n()).prop_map(|(a, b)| Step::Copies(a, b)),
        1 => any::<bool>().prop_map(Step::Rebalance),
        1 => Just(Step::RestartMaster),
        3 => Just(Step::Settle),
    ]
}

pub(super) fn take(world: &mut World, step: Step) {
    let hosts = world.hosts.len();
    let host = |n: u8| usize::from(n) % hosts;
    let handles: Vec<ChunkHandle> = world.known.keys().map(|h| ChunkHandle(*h)).collect();
    let chunk = |n: u8| handles.get(usize::from(n) % handles.len().max(1)).copied();
    match step {
        Step::Pass(n) => world.pass(50 + u64::from(n % 4) * 50),
        Step::Serve(n) => drop(world.serve(host(n))),
        Step::Hear(n) => drop(world.hear(host(n))),
        Step::HearTwice(n) => {
            if let Some(result) = world.hosts[host(n)].results.front().cloned() {
                world.hosts[host(n)].results.push_back(result);
            }
            world.hear(host(n));
        }
        Step::HearOld(n) => world.hear_late(host(n)),
        Step::Kill(n) => world.kill(host(n)),
        Step::Start(n) => world.hosts[host(n)].up = true,
        Step::Stop(n) => world.hosts[host(n)].stopped = true,
        Step::Continue(n) => world.hosts[host(n)].stopped = false,
        Step::Reset(n) => world.reset(host(n)),
        Step::PowerLoss(n) => {
            // Only one at a time: the last copies stay good, or nothing could be promised.
            let whole = world.chunks.table.iter().all(|(_, s)| s.health() == Health::Full);
            if whole {
                world.kill(host(n));
                let boot = &mut world.hosts[host(n)].boot;
                *boot = boot.wrapping_add(1);
                for replica in world.hosts[host(n)].replicas.values_mut() {
                    replica.suspect = replica.complete > 0;
                }
            }
        }
        Step::Damage(n, c) => {
            let Some(handle) = chunk(c) else { return };
            let at = host(n);
            let number = world.hosts[at].number;
            let others = world.good(handle.0).iter().filter(|g| **g != number).count();
            let current = world.good(handle.0).contains(&number);
            // Never the last good one.
            if others < 2 || !current {
                return;
            }
            let Some(session) = world.hosts[at].session.filter(|_| world.hosts[at].reported) else {
                return;
            };
            let Some(replica) = world.hosts[at].replicas.get_mut(&handle.0) else { return };
            replica.damaged = true;
            let state = replica.state(handle.0);
            let notice =
                pb::Notice { handle: handle.0, body: Some(pb::notice::Body::Damaged(state)) };
            world.event(|c, now, _, out| c.notice(now, SessionId(session), &notice, out));
        }
        Step::Create(n) => {
            if handles.len() < 12 {
                let _ = world.create(1 + n % 3);
            }
        }
        Step::Write(n) => {
            if let Some(handle) = chunk(n) {
                world.write(handle, None);
            }
        }
        Step::WriteSome(n, k) => {
            if let Some(handle) = chunk(n) {
                world.write(handle, Some(usize::from(k % 3)));
            }
        }
        Step::Recover(n, s) => {
            if let Some(handle) = chunk(n) {
                let unreachable = [host(s)];
                let blame = s % 3 != 0;
                world.recover(handle, if blame { &unreachable } else { &[] }, true);
            }
        }
        Step::Open(n) => {
            if let Some(handle) = chunk(n) {
                world.recover(handle, &[], true);
            }
        }
        Step::Finish(n, sealed) => {
            if let Some(handle) = chunk(n) {
                let length = world.known[&handle.0].acked.len() as u32;
                let version = world.chunks.version(handle);
                // Confirmed by the primary: no write is half done.
                if sealed && !settled(world, handle) {
                    return;
                }
                if sealed {
                    // The primary accepts nothing more from then on.
                    for host in &mut world.hosts {
                        if let Some(replica) = host.replicas.get_mut(&handle.0) {
                            replica.lease = false;
                        }
                    }
                }
                let _ = world.event(|c, _, _, out| c.finish(handle, version, length, sealed, out));
            }
        }
        Step::Discard(n) => {
            if let Some(handle) = chunk(n) {
                world.event(|c, _, _, out| c.discard(handle, out));
            }
        }
        Step::Drain(n, drain) => {
            let at = host(n);
            if world.hosts[at].number != 0 {
                world.drain(at, drain, true).unwrap();
            }
        }
        Step::Copies(n, copies) => {
            if let Some(handle) = chunk(n) {
                world.set_copies(handle, 1 + copies % 3);
            }
        }
        Step::Rebalance(stop) => world.event(|c, now, _, out| c.rebalance(now, stop, out)),
        Step::RestartMaster => world.restart_master(),
        Step::Settle => world.settle(),
    }
}

/// All members have exactly what was acknowledged, and no change is under way.
fn settled(world: &World, handle: ChunkHandle) -> bool {
    let record = &world.records[&handle.0];
    record.next == 0
        && record.members.iter().all(|m| {
            world
                .hosts
                .iter()
                .find(|h| h.number == *m)
                .and_then(|h| h.replicas.get(&handle.0))
                .is_some_and(|r| {
                    r.complete == record.version.max(1) && r.content == world.known[&handle.0].acked
                })
        })
}

/// Faults stop: within two minutes every chunk is whole, and what was acknowledged is on all
/// copies.
pub(super) fn heal(world: &mut World) {
    for host in &mut world.hosts {
        host.up = true;
        host.stopped = false;
    }
    world.run(2_000);
    // Where too few would stay, nothing can be drained.
    let drained: Vec<usize> = (0..world.hosts.len()).filter(|at| world.is_draining(*at)).collect();
    let enough = world.hosts.len() - drained.len() >= 3;
    if !enough {
        for at in &drained {
            world.drain(*at, false, false).unwrap();
        }
    }
    // Writers come back to what they left half done.
    let open: Vec<u64> =
        world.records.iter().filter(|(_, r)| !r.sealed).map(|(handle, _)| *handle).collect();
    for handle in open {
        world.recover(ChunkHandle(handle), &[], true);
    }
    for _ in 0..120 {
        world.run(1_000);
        let health = world.chunks.health();
        let clean = world.chunks.strays.is_empty()
            && world.chunks.garbage.is_empty()
            && world.chunks.queue.is_empty();
        let empty = !enough || drained.iter().all(|at| world.is_empty(*at));
        let still = world.chunks.clones.is_empty() && world.chunks.changes.is_empty();
        if health.full == health.total && still && clean && empty {
            break;
        }
    }
    assert_eq!(world.chunks.phase(), None);
    let health = world.chunks.health();
    let (problems, _) = world.chunks.problems(10);
    assert_eq!(health.full, health.total, "{health:?} {problems:?} {:?}", world.chunks.changes);
    assert!(world.chunks.changes.is_empty(), "{:?}", world.chunks.changes);
    assert!(world.chunks.clones.is_empty() && world.chunks.queue.is_empty());
    assert!(world.chunks.strays.is_empty(), "{:?}", world.chunks.strays);
    for (handle, known) in &world.known {
        let good = world.good(*handle);
        assert_eq!(good.len(), usize::from(known.info.copies), "chunk {handle}: {good:?}");
        let contents: Vec<_> = world
            .hosts
            .iter()
            .filter(|h| good.contains(&h.number))
            .map(|h| &h.replicas[handle].content)
            .collect();
        assert!(contents.iter().all(|c| *c == contents[0]), "chunk {handle}: {contents:?}");
        assert!(contents[0].starts_with(&known.acked), "chunk {handle}");
    }
    for host in &world.hosts {
        for handle in host.replicas.keys() {
            assert!(world.known.contains_key(handle), "chunk {handle} was not deleted");
        }
    }
    for at in drained.into_iter().filter(|_| enough) {
        assert!(world.is_empty(at), "s{} is not drained", world.hosts[at].number);
        assert!(world.hosts[at].replicas.is_empty(), "{:?}", world.hosts[at].replicas);
    }
    assert!(world.waiting.is_empty(), "somebody still waits: {:?}", world.waiting);
    assert!(world.chunks.incidents().iter().all(|i| i.closed));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_acknowledged_is_lost_and_all_heals(
        servers in 3usize..7,
        zoned in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let zone = |at: usize| if zoned { ["a", "b", "c"][at % 3] } else { "" };
        let host = |at| Host { up: true, zone: zone(at).into(), ..Host::default() };
        let mut world = World::of((0..servers).map(host).collect(), Mistakes::default(), CHUNK);
        for step in steps {
            take(&mut world, step);
        }
        heal(&mut world);
    }
}
