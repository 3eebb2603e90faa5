//! Servers that die or hang, with 2 GiB stored.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use gfs_client::proto::{Incident, ServerState};
use gfs_local::{Part, Signal};

use crate::cluster::Bench;
use crate::report::{Reach, Row};
use crate::warmth::Warmth;

const FILES: usize = 8;
const FILE: u64 = 256 << 20;
const PIECE: usize = 1 << 20;
/// Memory touched before a loss: twice what the copies can take.
const TOUCHED: u64 = 2 * FILES as u64 * FILE;
/// Longest wait for redundancy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Losses of one server of four, and of two of five.
pub(crate) async fn losses(
    directory: &Path,
    warmth: Warmth,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    one(directory, Signal::KILL, "SIGKILL of 1 of 4", 1000.0, warmth, rows).await?;
    one(directory, Signal::STOP, "SIGSTOP of 1 of 4", 2000.0, warmth, rows).await?;
    two(directory, warmth, rows).await
}

async fn one(
    directory: &Path,
    signal: Signal,
    name: &str,
    detect_ms: f64,
    warmth: Warmth,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let bench = filled(directory, 4).await?;
    warmth.touch(TOUCHED)?;
    bench.cluster.kill(Part::Server(1), signal)?;
    let incident = healed(&bench).await?;
    let full = f64::from(incident.full_ms.unwrap_or(u32::MAX));
    let detected = f64::from(incident.detected_ms);
    rows.push(
        Row::new(format!("{name}: detected"), detected, "ms")
            .reach(Reach::AtMost(detect_ms))
            .acceptance(),
    );
    rows.push(
        Row::new(format!("{name}: full redundancy"), detected + full, "ms")
            .reach(Reach::AtMost(5000.0))
            .acceptance()
            .note(format!("from the last sign of life; {} chunks to copy", incident.chunks)),
    );
    falsely_dead(&bench, 1, rows, name).await?;
    end(bench, directory, 4)
}

async fn two(directory: &Path, warmth: Warmth, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let bench = filled(directory, 5).await?;
    warmth.touch(TOUCHED)?;
    bench.cluster.kill(Part::Server(1), Signal::KILL)?;
    bench.cluster.kill(Part::Server(2), Signal::KILL)?;
    let incident = healed(&bench).await?;
    let detected = f64::from(incident.detected_ms);
    let since = |ms: Option<u32>| detected + f64::from(ms.unwrap_or(u32::MAX));
    rows.push(
        Row::new("SIGKILL of 2 of 5: no chunk below 2 copies", since(incident.two_copies_ms), "ms")
            .reach(Reach::AtMost(3000.0)),
    );
    rows.push(Row::new("SIGKILL of 2 of 5: full redundancy", since(incident.full_ms), "ms"));
    falsely_dead(&bench, 2, rows, "SIGKILL of 2 of 5").await?;
    end(bench, directory, 5)
}

/// A cluster with 2 GiB in it, warm.
async fn filled(directory: &Path, servers: usize) -> anyhow::Result<Bench> {
    let bench = Bench::start(directory, servers).await?;
    let payload = Bytes::from(vec![0x5a; PIECE]);
    for number in 0..FILES {
        let mut file = bench.client.create(&format!("/file-{number}")).await?;
        for _ in 0..FILE / PIECE as u64 {
            file.write_bytes(payload.clone()).await?;
        }
        file.close().await?;
    }
    bench.wait_full(PATIENCE).await?;
    Ok(bench)
}

/// The newest incident, once everything is full again.
async fn healed(bench: &Bench) -> anyhow::Result<Incident> {
    let status = bench
        .wait("recovery", PATIENCE, |status| {
            status.incidents.first().is_some_and(|incident| incident.full_ms.is_some())
                && status.chunks.is_some_and(|health| health.full == health.total)
        })
        .await?;
    status.incidents.into_iter().next().context("no incident")
}

async fn falsely_dead(
    bench: &Bench,
    lost: usize,
    rows: &mut Vec<Row>,
    name: &str,
) -> anyhow::Result<()> {
    let status = bench.client.status().await?;
    let dead = status.servers.iter().filter(|server| server.state() == ServerState::Dead).count();
    rows.push(
        Row::new(
            format!("{name}: servers dead that were not stopped"),
            dead.saturating_sub(lost) as f64,
            "",
        )
        .reach(Reach::AtMost(0.0))
        .acceptance(),
    );
    Ok(())
}

fn end(bench: Bench, directory: &Path, servers: usize) -> anyhow::Result<()> {
    drop(bench);
    std::fs::remove_dir_all(directory.join(format!("cluster-{servers}")))?;
    Ok(())
}
