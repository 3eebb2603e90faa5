//! A version change with each of its steps lost, in each way that a step can be lost.

use super::random::heal;
use super::world::World;
use gfs_types::ChunkHandle;

/// How a message, or who has it, is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// The server's connection breaks: commands and results under way are gone.
    Reset,
    /// The server is killed, and started again three seconds later.
    Kill,
    /// It hangs, and goes on three seconds later.
    Hang,
    /// The master restarts.
    Master,
}

/// Plays a change of a chunk that a writer holds; after `steps` commands carried out or results
/// heard, something is lost at server `at`.
fn play(servers: usize, steps: usize, at: usize, loss: Loss) {
    let mut world = World::new(servers);
    let handle = world.create(3).unwrap();
    world.settle();
    assert!(world.write(handle, None));
    // One that the others do not have: the change must bring them together.
    world.write(handle, Some(1));
    let token = world.recover(handle, &[], true);
    let mut left = steps;
    'steps: while left > 0 {
        for host in 0..servers {
            for heard in [false, true] {
                let done = if heard { world.hear(host) } else { world.serve(host) };
                left -= usize::from(done && left > 0);
                if left == 0 {
                    break 'steps;
                }
            }
        }
        if world.hosts.iter().all(|h| h.inbox.is_empty() && h.results.is_empty()) {
            break;
        }
    }
    match loss {
        Loss::Reset => world.reset(at),
        Loss::Kill => world.kill(at),
        Loss::Hang => world.hosts[at].stopped = true,
        Loss::Master => world.restart_master(),
    }
    world.run(3_000);
    world.hosts[at].up = true;
    world.hosts[at].stopped = false;
    world.run(3_000);
    let answered = world.answered.iter().any(|(t, r)| *t == token && r.is_ok());
    assert!(answered || loss == Loss::Master, "the writer was not answered");
    // It goes on, if need be under yet another version.
    let mut goes_on = world.write(handle, None);
    for _ in 0..3 {
        if !goes_on {
            world.recover(handle, &[], true);
            world.run(1_000);
            goes_on = world.write(handle, None);
        }
    }
    assert!(goes_on, "the writer cannot go on");
    heal(&mut world);
    assert_eq!(world.good(handle.0).len(), 3);
    let acked = &world.known[&handle.0].acked;
    assert!(!acked.is_empty());
    assert!(world.records[&handle.0].version >= 2);
    assert_eq!(world.chunks.version(ChunkHandle(1)), world.records[&handle.0].version);
}

#[test]
fn a_version_change_survives_the_loss_of_each_step() {
    for servers in [3, 5] {
        for steps in 0..20 {
            for at in 0..servers {
                for loss in [Loss::Reset, Loss::Kill, Loss::Hang, Loss::Master] {
                    let case = (servers, steps, at, loss);
                    let played = std::panic::catch_unwind(|| play(servers, steps, at, loss));
                    assert!(played.is_ok(), "{case:?}");
                }
            }
        }
    }
}
