//! A whole cluster in one thread, on virtual time, network and disks: the shipped state machines of
//! `gfs-core` (the master's brain, the replicas of chunkservers, the writer and reader of clients)
//! in shells of their own, with faults drawn from a seed, and checkers that look for broken
//! promises. The same seed gives the same run, to the byte of its log.
//!
//! * [`run`] runs a seed, [`run_scenario`] a scenario made by hand.
//! * [`context`], [`clock`], [`network`], [`disk`], [`dice`], [`log`]: the world's physics.
//! * [`master`], [`server`], [`client`]: the shells.
//! * [`scenario`], [`faults`]: what happens; [`ledger`], [`checkers`]: what must not.

pub mod checkers;
pub mod client;
pub mod clock;
pub mod content;
pub mod context;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod ledger;
pub mod log;
pub mod master;
pub mod network;
pub mod scenario;
pub mod server;
pub mod steps;
pub mod wire;
pub mod world;

use gfs_core::mistakes::Mistakes;
use scenario::Scenario;
use world::World;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep every line of the log.
    pub keep_log: bool,
    /// Rules broken on purpose.
    pub mistakes: Mistakes,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Hash over the log.
    pub log_hash: u64,
    /// Lines of the log, if kept.
    pub log: Vec<String>,
    /// Rules found broken: empty, if all is well.
    pub violations: Vec<String>,
    /// What happened, in numbers.
    pub stats: Stats,
}

/// A run in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Virtual milliseconds.
    pub millis: u64,
    /// Events.
    pub events: u64,
    /// Bytes acknowledged to applications.
    pub acknowledged: u64,
    /// Bytes that readers got, all of them right.
    pub read: u64,
    /// Writes and reads that ended with an (excusable) error.
    pub writes_failed: u64,
    /// See there.
    pub reads_failed: u64,
    /// Notes of the master that say a human must act.
    pub alarms: u64,
}

/// Runs the scenario of a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    run_scenario(seed, Scenario::of_seed(seed), options)
}

/// Runs a scenario; the seed decides what it leaves open.
#[must_use]
pub fn run_scenario(seed: u64, scenario: Scenario, options: &Options) -> Outcome {
    let mut world = World::new(seed, scenario, options.mistakes, options.keep_log);
    world.run(seed);
    let stats = Stats {
        millis: world.ctx.millis().0,
        events: world.events,
        acknowledged: world.ctx.ledger.acknowledged(),
        read: world.clients.iter().map(|client| client.bytes_read).sum(),
        writes_failed: world.clients.iter().map(|client| client.writes_failed).sum(),
        reads_failed: world.clients.iter().map(|client| client.reads_failed).sum(),
        alarms: world.master.alarms,
    };
    Outcome {
        log_hash: world.ctx.log.hash(),
        violations: std::mem::take(&mut world.ctx.violations),
        stats,
        log: world.ctx.log.into_lines(),
    }
}
