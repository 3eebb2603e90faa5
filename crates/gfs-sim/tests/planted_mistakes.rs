//! Do the checkers notice? Each planted mistake is switched on, and seeds are run until a checker
//! says that a promise was broken. One that nobody notices fails the test.
//!
//! `cargo test -p gfs-sim --release --features planted-mistakes --test planted_mistakes -- --nocapture`
//! prints the table of `docs/planted-mistakes.md`.
#![cfg(feature = "planted-mistakes")]

use gfs_core::mistakes::{Mistake, Mistakes};
use gfs_sim::{Options, run};

/// Seeds tried at most.
const SEEDS: u64 = 3_000;

/// What the simulation must notice. All of these, and those that need what a run of the simulation
/// hardly ever has (two streams of one writer that overtake each other, say), are noticed by
/// gfs-core's own tests as well: see the document.
const NOTICED: &[Mistake] = &[
    Mistake::WriterResendsWithNewSequences,
    Mistake::WriterReleasesBeforeAcknowledged,
    Mistake::ReaderBelievesUnverifiedBytes,
    Mistake::PrimaryAcknowledgesBeforeLastSecondary,
    Mistake::ReplicaAcceptsOldVersion,
    Mistake::ReplicaForgetsWindow,
    Mistake::ReplicaAnswersPrepareDuringWrite,
    Mistake::MasterRepliesBeforeCommit,
    Mistake::MasterReusesHandle,
    Mistake::MasterForgetsOutcomes,
    Mistake::SkipsTheVersionBump,
    Mistake::GrantsBeforeAllMembersAnswered,
    Mistake::BelievesStaleReplicas,
];

/// The first seed that shows the mistake, and what it shows.
fn first_seed(mistake: Mistake) -> Option<(u64, String)> {
    let options = Options { mistakes: Mistakes::default().with(mistake), ..Options::default() };
    (1..=SEEDS).find_map(|seed| {
        let shown = run(seed, &options).violations.into_iter().next()?;
        // What the seed shows without the mistake proves nothing.
        run(seed, &Options::default()).violations.is_empty().then_some((seed, shown))
    })
}

#[test]
fn every_planted_mistake_is_noticed() {
    let mut missed = Vec::new();
    for mistake in NOTICED {
        match first_seed(*mistake) {
            Some((seed, shown)) => println!("| {mistake:?} | {seed} | {shown} |"),
            None => {
                println!("| {mistake:?} | - | not noticed |");
                missed.push(*mistake);
            }
        }
    }
    assert!(missed.is_empty(), "not noticed in {SEEDS} seeds: {missed:?}");
}
