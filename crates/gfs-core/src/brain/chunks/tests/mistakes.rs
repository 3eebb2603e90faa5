//! Each planted mistake is noticed: some random run with it breaks a rule.

use super::random::{heal, step, take};
use super::world::World;
use crate::mistakes::{Mistake, Mistakes};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs tried for one mistake.
const RUNS: usize = 20_000;

/// The run in which the rules noticed, and what they said.
fn noticed(mistakes: Mistakes, runs: usize) -> Option<(usize, String)> {
    let mut runner = TestRunner::deterministic();
    let steps = (3usize..7, proptest::collection::vec(step(), 1..300));
    (0..runs).find_map(|run| {
        let (servers, steps) = steps.new_tree(&mut runner).unwrap().current();
        let mut world = World::with(servers, mistakes);
        let played = catch_unwind(AssertUnwindSafe(|| {
            for step in steps {
                take(&mut world, step);
            }
            heal(&mut world);
        }));
        let error = played.err()?;
        let text = error.downcast_ref::<String>().cloned().unwrap_or_default();
        Some((run, text))
    })
}

fn is_noticed(mistake: Mistake) {
    let (run, text) = noticed(Mistakes::default().with(mistake), RUNS)
        .unwrap_or_else(|| panic!("{mistake:?} went unnoticed in {RUNS} runs"));
    println!("{mistake:?} was noticed in run {run}: {text}");
}

#[test]
fn without_a_mistake_nothing_is_noticed() {
    assert_eq!(noticed(Mistakes::default(), 200), None);
}

#[test]
fn a_skipped_version_bump_is_noticed() {
    is_noticed(Mistake::SkipsTheVersionBump);
}

#[test]
fn a_grant_before_all_answered_is_noticed() {
    is_noticed(Mistake::GrantsBeforeAllMembersAnswered);
}

#[test]
fn counting_suspects_as_live_is_noticed() {
    is_noticed(Mistake::CountsSuspectsAsLive);
}

#[test]
fn believing_stale_replicas_is_noticed() {
    is_noticed(Mistake::BelievesStaleReplicas);
}

#[test]
fn trimming_before_the_clone_is_verified_is_noticed() {
    is_noticed(Mistake::TrimsBeforeTheCloneIsVerified);
}

#[test]
fn results_of_older_epochs_are_noticed() {
    // Ids start anew with each term: the late result of a Grant stands for that of a Delete.
    let play = |mistakes| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::with(4, mistakes);
            let handle = world.create(1).unwrap();
            for at in 0..4 {
                while world.serve(at) {}
            }
            world.restart_master();
            for at in 0..4 {
                world.serve(at);
                world.serve(at);
            }
            world.event(|c, _, _, out| c.discard(handle, out));
            for _ in 0..3 {
                (0..4).for_each(|at| world.hear_late(at));
            }
        }))
    };
    assert!(play(Mistakes::default()).is_ok());
    assert!(play(Mistakes::default().with(Mistake::AcceptsResultsOfOlderEpochs)).is_err());
}
