//! Faults that strike where it hurts most, one at a time.

use gfs_sim::scenario::{Deed, Moment, Scenario, Step, Whom};
use gfs_sim::{Options, Outcome, run_scenario};

const SEEDS: std::ops::Range<u64> = 1..13;

fn step(moment: Moment, whom: Whom, deed: Deed) -> Step {
    Step { moment, whom, deed }
}

/// Runs the scenario with several seeds: the moments are the same, all else differs.
fn all_is_well(steps: &[Step]) -> Vec<Outcome> {
    all_is_well_in(Scenario::of_steps, steps)
}

/// The same where many append and overwrite.
fn all_is_well_for_many(steps: &[Step]) {
    all_is_well_in(Scenario::of_many, steps);
}

fn all_is_well_in(scenario: fn(Vec<Step>) -> Scenario, steps: &[Step]) -> Vec<Outcome> {
    let mut written = 0;
    let outcomes = SEEDS
        .map(|seed| {
            let scenario = scenario(steps.to_vec());
            let options = Options { keep_log: true, ..Options::default() };
            let outcome = run_scenario(seed, scenario, &options);
            assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
            let failed = outcome.log.iter().find(|line| line.contains("write failed"));
            assert_eq!(failed, None, "seed {seed}");
            for fault in steps {
                let name = format!("{:?}", fault.deed);
                let there = outcome.log.iter().any(|l| l.contains("FAULT") && l.contains(&name));
                assert!(there, "seed {seed}: no {name} happened");
            }
            outcome
        })
        .inspect(|outcome| written += outcome.stats.acknowledged)
        .collect();
    assert!(written > 0, "nothing was written");
    outcomes
}

#[test]
fn nothing_fails() {
    for seed in SEEDS {
        let outcome = run_scenario(seed, Scenario::quiet(), &Options::default());
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        let stats = outcome.stats;
        assert_eq!((stats.writes_failed, stats.reads_failed), (0, 0), "seed {seed}");
        assert!(stats.millis < 10_000, "seed {seed} took {} ms", stats.millis);
    }
}

#[test]
fn the_primary_is_killed_in_mid_write() {
    all_is_well(&[step(Moment::Written(50_000), Whom::Primary, Deed::Kill)]);
}

#[test]
fn a_secondary_is_killed_in_mid_write() {
    all_is_well(&[step(Moment::Written(50_000), Whom::Secondary(0), Deed::Kill)]);
    all_is_well(&[step(Moment::Written(50_000), Whom::Secondary(1), Deed::Kill)]);
}

#[test]
fn a_primary_that_was_stopped_for_5_s_acknowledges_nothing_more() {
    all_is_well(&[
        step(Moment::Written(50_000), Whom::Primary, Deed::Pause),
        step(Moment::After(5_000_000), Whom::Same, Deed::Resume),
    ]);
}

#[test]
fn a_secondary_that_was_stopped_for_5_s_is_made_current_or_dropped() {
    all_is_well(&[
        step(Moment::Written(50_000), Whom::Secondary(0), Deed::Pause),
        step(Moment::After(5_000_000), Whom::Same, Deed::Resume),
    ]);
}

#[test]
fn the_master_is_killed_and_restarted_in_mid_write() {
    all_is_well(&[
        step(Moment::Written(50_000), Whom::Master, Deed::Kill),
        step(Moment::After(1_500_000), Whom::Same, Deed::Start),
    ]);
}

#[test]
fn two_servers_are_killed_one_after_the_other() {
    all_is_well(&[
        step(Moment::Written(30_000), Whom::Primary, Deed::Kill),
        step(Moment::Written(60_000), Whom::Primary, Deed::Kill),
    ]);
}

#[test]
fn a_stale_replica_returns() {
    all_is_well(&[
        step(Moment::Written(30_000), Whom::Secondary(0), Deed::Kill),
        step(Moment::After(8_000_000), Whom::Same, Deed::Start),
    ]);
}

#[test]
fn a_server_returns_before_it_is_missed() {
    all_is_well(&[
        step(Moment::Written(30_000), Whom::Secondary(1), Deed::Kill),
        step(Moment::After(300_000), Whom::Same, Deed::Start),
        step(Moment::Written(40_000), Whom::Primary, Deed::Kill),
        step(Moment::After(300_000), Whom::Same, Deed::Start),
    ]);
}

/// The writer dies without a word, and then whoever knew what was acknowledged: a reader is given
/// it all the same, long before the writer counts as vanished.
#[test]
fn what_a_dead_writer_wrote_is_read_at_once() {
    let dead = step(Moment::Written(150_000), Whom::Writer, Deed::Kill);
    let endings: [&[Step]; 3] = [
        &[],
        &[step(Moment::After(1_000), Whom::Primary, Deed::Kill)],
        &[
            step(Moment::After(1_000), Whom::Primary, Deed::Kill),
            step(Moment::After(200_000), Whom::Same, Deed::Start),
        ],
    ];
    for ending in endings {
        let steps: Vec<Step> = [dead].iter().chain(ending).copied().collect();
        for outcome in all_is_well(&steps) {
            assert_eq!(outcome.stats.reads_failed, 0);
            assert!(outcome.stats.millis < 26_000, "{} ms", outcome.stats.millis);
        }
    }
}

#[test]
fn many_append_and_overwrite() {
    all_is_well_for_many(&[]);
}

#[test]
fn a_primary_is_killed_while_many_append_and_overwrite() {
    all_is_well_for_many(&[step(Moment::Written(50_000), Whom::Primary, Deed::Kill)]);
}

#[test]
fn a_secondary_is_killed_while_many_append_and_overwrite() {
    all_is_well_for_many(&[
        step(Moment::Written(50_000), Whom::Secondary(0), Deed::Kill),
        step(Moment::After(2_000_000), Whom::Same, Deed::Start),
    ]);
}

#[test]
fn the_master_is_restarted_while_many_append_and_overwrite() {
    all_is_well_for_many(&[
        step(Moment::Written(50_000), Whom::Master, Deed::Kill),
        step(Moment::After(1_500_000), Whom::Same, Deed::Start),
    ]);
}

#[test]
fn a_primary_is_stopped_for_5_s_while_many_append_and_overwrite() {
    all_is_well_for_many(&[
        step(Moment::Written(50_000), Whom::Primary, Deed::Pause),
        step(Moment::After(5_000_000), Whom::Same, Deed::Resume),
    ]);
}
