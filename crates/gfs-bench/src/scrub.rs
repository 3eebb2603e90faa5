//! Background verification: what it costs, and what readers notice of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::cluster::Bench;
use crate::data::{read, write};
use crate::report::{Reach, Row, median};
use crate::usage::cpu_seconds;

/// Stored once; the cluster holds it three times.
const STORED: u64 = 512 << 20;
/// Verified, by all servers together, while the CPU time is taken.
const VERIFIED: f64 = 8e9;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Pass after pass: else there would be nothing to measure after the first.
const ALWAYS: [&str; 2] = ["--scrub-interval", "1"];

/// Bytes verified so far by all servers, and the CPU seconds that these have used.
fn spent(bench: &Bench) -> anyhow::Result<(f64, f64)> {
    let (mut verified, mut seconds) = (0.0, 0.0);
    for part in bench.cluster.servers() {
        let text = bench.cluster.metrics(part)?;
        let line =
            text.lines().find_map(|l| l.strip_prefix("gfs_chunkserver_scrubbed_bytes_total"));
        verified += line.context("no figure of the scrub")?.trim().parse::<f64>()?;
        seconds += cpu_seconds(bench.cluster.pid(part)?.context("a server does not run")?)?;
    }
    Ok((verified, seconds))
}

/// Bytes per CPU second where nothing limits it, all that servers do when idle included.
pub(crate) async fn unlimited(directory: &Path, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let files = directory.join("scrub");
    let rate = [&ALWAYS[..], &["--scrub-rate", "1000000"]].concat();
    let bench = Bench::start_as(&files, 1, 4, &rate).await?;
    write(&bench, &bench.clients(1).await?, STORED).await?;
    let (begun, (verified, seconds)) = (Instant::now(), spent(&bench)?);
    let (bytes, cpu) = loop {
        tokio::time::sleep(POLL).await;
        let now = spent(&bench)?;
        if now.0 - verified >= VERIFIED {
            break (now.0 - verified, now.1 - seconds);
        }
        ensure!(begun.elapsed() < PATIENCE, "{} bytes in {PATIENCE:?}", now.0 - verified);
    };
    rows.push(
        Row::new("scrub, not limited, per CPU second", bytes / 1e6 / cpu, "MB")
            .reach(Reach::AtLeast(1000.0)),
    );
    drop(bench);
    std::fs::remove_dir_all(files)?;
    Ok(())
}

/// Reads beside a scrub at the default limit, in turn with reads of an equal cluster without one.
pub(crate) async fn beside_readers(
    directory: &Path,
    rounds: usize,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let (with, without) = (directory.join("scrub-on"), directory.join("scrub-off"));
    let scrubbed = Bench::start_as(&with, 1, 4, &ALWAYS).await?;
    let plain = Bench::start_as(&without, 2, 4, &["--scrub-rate", "0"]).await?;
    let (near, far) = (scrubbed.clients(1).await?, plain.clients(1).await?);
    write(&scrubbed, &near, STORED).await?;
    write(&plain, &far, STORED).await?;
    let before = spent(&scrubbed)?.0;
    let begun = Instant::now();
    let (mut slowed, mut free) = (Vec::new(), Vec::new());
    // A read is short: more of them than of other figures.
    for _ in 0..4 * rounds.max(1) {
        slowed.push(read(&scrubbed, &near, STORED).await?.mb_per_s);
        free.push(read(&plain, &far, STORED).await?.mb_per_s);
    }
    let verified = (spent(&scrubbed)?.0 - before) / 1e6 / begun.elapsed().as_secs_f64();
    ensure!(verified > 1.0, "the scrub stood still: {verified} MB/s");
    rows.push(
        Row::new("sequential read beside a scrub, default limit", median(&mut slowed), "MB/s")
            .baseline(median(&mut free))
            .reach(Reach::Share(0.9))
            .note(format!("4 servers verified {verified:.0} MB/s; baseline: no scrub")),
    );
    drop((scrubbed, plain));
    std::fs::remove_dir_all(with)?;
    std::fs::remove_dir_all(without)?;
    Ok(())
}
