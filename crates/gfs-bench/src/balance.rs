//! A server joins that holds nothing: how equally full all become, and what readers notice of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_client::proto::{ServerState, StatusResponse};
use gfs_local::{Part, Signal};

use crate::cluster::Bench;
use crate::data::{read, write};
use crate::report::{Reach, Row, median};

const SERVERS: usize = 4;
const COPIES: u64 = 3;
/// Clients that fill the cluster, with one file each.
const WRITERS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time that balancing may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Reads before, and after, that are the baseline.
const BASELINE: usize = 3;

/// Four servers hold `filled` bytes each when an empty fifth one joins.
pub(crate) async fn empty_server(
    directory: &Path,
    filled: u64,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let files = directory.join("balance");
    let bench = Bench::start_as(&files, 3, SERVERS + 1, &[]).await?;
    let fifth = Part::Server(SERVERS + 1);
    bench.cluster.kill(fifth, Signal::KILL)?;
    bench
        .wait("the loss of the fifth", PATIENCE, |s| with_state(s, ServerState::Dead) == 1)
        .await?;
    let bytes = (filled * SERVERS as u64 / COPIES / WRITERS) >> 20 << 20;
    write(&bench, &bench.clients(WRITERS as usize).await?, bytes).await?;
    bench.wait_full(PATIENCE).await?;
    bench.cluster.restart(fifth)?;
    let all = SERVERS + 1;
    bench.wait("the fifth server", PATIENCE, |s| with_state(s, ServerState::Alive) == all).await?;

    let reader = bench.clients(1).await?;
    let (mut beside, mut free) = (Vec::new(), Vec::new());
    for _ in 0..BASELINE {
        free.push(read(&bench, &reader, bytes).await?.mb_per_s);
    }
    let begun = Instant::now();
    bench.client.rebalance(false).await?;
    let status = loop {
        let rate = read(&bench, &reader, bytes).await?.mb_per_s;
        let status = bench.client.status().await?;
        let balance = status.balance.clone().context("no balance in the status")?;
        if !balance.active && balance.moving == 0 {
            break status;
        }
        // What was read while it went on, from beginning to end.
        beside.push(rate);
        ensure!(begun.elapsed() < LIMIT, "not balanced within {LIMIT:?}: {balance:?}");
    };
    let seconds = begun.elapsed().as_secs_f64();
    for _ in 0..BASELINE {
        free.push(read(&bench, &reader, bytes).await?.mb_per_s);
    }
    ensure!(!beside.is_empty(), "balanced before anything was read");

    let stored: Vec<f64> = status.servers.iter().map(|s| s.stored_bytes as f64).collect();
    let share = stored.iter().sum::<f64>() / stored.len() as f64;
    let farthest = stored.iter().map(|s| (s - share).abs()).fold(0.0, f64::max);
    let moved = status.balance.map_or(0, |balance| balance.moved_bytes) as f64 / 1e6;
    rows.push(
        Row::new("an empty fifth server: farthest from its share", farthest / share * 100.0, "%")
            .reach(Reach::AtMost(10.0))
            .note(format!(
                "{moved:.0} MB moved in {seconds:.1} s; {} MB a server",
                share as u64 / 1_000_000
            )),
    );
    rows.push(
        Row::new("sequential read beside balancing", median(&mut beside), "MB/s")
            .baseline(median(&mut free))
            .reach(Reach::Share(0.8))
            .note("baseline: before and after"),
    );
    drop(bench);
    std::fs::remove_dir_all(files)?;
    Ok(())
}

fn with_state(status: &StatusResponse, state: ServerState) -> usize {
    status.servers.iter().filter(|server| server.state() == state).count()
}
