//! Runs seeds of the simulation and prints those that break a promise.

use anyhow::{Context, bail};
use clap::Parser;
use gfs_sim::{Options, run};
use std::time::Instant;

/// Simulates a whole cluster under faults, seed by seed.
#[derive(Debug, Parser)]
struct Flags {
    /// Seeds `from..to`, `to` not included.
    #[arg(long, default_value = "1..1001")]
    seeds: String,
    /// One seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print the log of the run.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Stop at so many failing seeds.
    #[arg(long, default_value_t = 20)]
    stop: usize,
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        let outcome = run(seed, &Options { keep_log: flags.log, ..Options::default() });
        for line in &outcome.log {
            println!("{line}");
        }
        println!("seed {seed}: log {:016x}, {:?}", outcome.log_hash, outcome.stats);
        for violation in &outcome.violations {
            println!("  {violation}");
        }
        if !outcome.violations.is_empty() {
            bail!("seed {seed} breaks a promise");
        }
        return Ok(());
    }
    let (from, to) = flags.seeds.split_once("..").context("--seeds is FROM..TO")?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let began = Instant::now();
    let (mut failing, mut done, mut total) = (Vec::new(), 0_u64, gfs_sim::Stats::default());
    for seed in from..to {
        let outcome = run(seed, &Options::default());
        done += 1;
        total.millis += outcome.stats.millis;
        total.events += outcome.stats.events;
        total.acknowledged += outcome.stats.acknowledged;
        total.read += outcome.stats.read;
        total.writes_failed += outcome.stats.writes_failed;
        total.reads_failed += outcome.stats.reads_failed;
        if !outcome.violations.is_empty() {
            println!("seed {seed}: run it again with --seed {seed} --log");
            for violation in outcome.violations.iter().take(3) {
                println!("  {violation}");
            }
            failing.push(seed);
            if failing.len() >= flags.stop {
                break;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{done} runs in {seconds:.1} s ({:.0} a minute), {} virtual s, {} events, {} MB acknowledged, \
         {} MB read, {} writes and {} reads ended with an error",
        done as f64 / seconds * 60.0,
        total.millis / 1000,
        total.events,
        total.acknowledged / 1_000_000,
        total.read / 1_000_000,
        total.writes_failed,
        total.reads_failed,
    );
    if !failing.is_empty() {
        bail!("{} of {done} seeds break a promise: {failing:?}", failing.len());
    }
    Ok(())
}
