//! Creates and stats a second, and what a file costs the master.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gfs_client::Client;
use gfs_local::{Part, Signal};

use crate::cluster::Bench;
use crate::empty::EmptyServer;
use crate::report::{Reach, Row};
use crate::usage::memory;

const SPAN: Duration = Duration::from_secs(5);

/// Runs `operation(client number, round)` on every client until the time is over; per second.
async fn per_second<C, F, Fut>(clients: Vec<C>, operation: F) -> anyhow::Result<f64>
where
    C: Send + Sync + 'static,
    F: Fn(Arc<C>, usize, u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, client) in clients.into_iter().enumerate() {
        let (done, operation, client) = (Arc::clone(&done), operation.clone(), Arc::new(client));
        tasks.push(tokio::spawn(async move {
            let mut round = 0;
            while begun.elapsed() < SPAN {
                operation(Arc::clone(&client), number, round).await?;
                done.fetch_add(1, Ordering::Relaxed);
                round += 1;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

pub(crate) async fn creates(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    for (count, mark) in [(16, 8_000.0), (64, 12_000.0)] {
        let directory = format!("/creates-{count}");
        bench.client.mkdir(&directory).await?;
        let clients = bench.clients(count).await?;
        let rate = per_second(clients, move |client: Arc<Client>, number, round| {
            let path = format!("{directory}/c{number:02}-{round:010}");
            async move {
                client.create_empty(&path).await?;
                Ok(())
            }
        })
        .await?;
        rows.push(
            Row::new(format!("creates, {count} clients"), rate, "/s").reach(Reach::AtLeast(mark)),
        );
    }
    Ok(())
}

pub(crate) async fn stats(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    bench.client.mkdir_all("/stats").await?;
    bench.client.create_empty("/stats/a-file-to-stat").await?;
    let server = EmptyServer::start()?;
    let empty =
        per_second(server.clients(16)?, |client, _, _| async move { client.call().await }).await?;
    let clients = bench.clients(16).await?;
    let rate = per_second(clients, |client: Arc<Client>, _, _| async move {
        client.stat("/stats/a-file-to-stat").await?;
        Ok(())
    })
    .await?;
    rows.push(
        Row::new("stats, 16 clients", rate, "/s")
            .baseline(empty)
            .reach(Reach::Share(0.6))
            .note("baseline: an empty unary call of the same stack"),
    );
    rows.push(Row::new("stats, 16 clients, absolute", rate, "/s").reach(Reach::AtLeast(25_000.0)));
    Ok(())
}

/// One-chunk files with names of 16 bytes, on a cluster of their own: what the master needs for
/// each, and how long it takes after a restart of the master until all their replicas are reported.
pub(crate) async fn many_files(directory: &Path, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    const FILES: u64 = 33_600;
    const WRITERS: u64 = 16;
    let bench = Bench::start(directory, 4).await?;
    let pid = bench.cluster.pid(Part::Master)?.context("the master does not run")?;
    let clients = bench.clients(WRITERS as usize).await?;
    let begun = Instant::now();
    one_chunk_files(&clients, 0..FILES / WRITERS / 2).await?;
    let mut seconds = begun.elapsed().as_secs_f64();
    let half = settled(pid).await?;
    let begun = Instant::now();
    one_chunk_files(&clients, FILES / WRITERS / 2..FILES / WRITERS).await?;
    seconds += begun.elapsed().as_secs_f64();
    let all = settled(pid).await?;
    let each = all.saturating_sub(half) as f64 / (FILES / 2) as f64;
    rows.push(Row::new("files of 1 byte written, 16 clients", FILES as f64 / seconds, "/s"));
    rows.push(
        Row::new("master memory per one-chunk file", each, "B")
            .reach(Reach::AtMost(200.0))
            .note(format!("growth of the resident memory over the last {} files", FILES / 2)),
    );
    bench.wait_full(Duration::from_secs(30)).await?;
    bench.cluster.kill(Part::Master, Signal::KILL)?;
    bench.cluster.end(Part::Master)?;
    bench.cluster.restart(Part::Master)?;
    let begun = Instant::now();
    bench.wait_full(Duration::from_secs(60)).await?;
    rows.push(
        Row::new(
            format!("{} replicas register with a new master", 3 * FILES),
            begun.elapsed().as_secs_f64(),
            "s",
        )
        .reach(Reach::AtMost(5.0))
        .note("from its start until all chunks are known to be full"),
    );
    drop(bench);
    std::fs::remove_dir_all(directory.join("cluster-4"))?;
    Ok(())
}

/// Each client writes a file of one byte for each of these numbers.
async fn one_chunk_files(clients: &[Client], numbers: Range<u64>) -> anyhow::Result<()> {
    let mut tasks = Vec::new();
    for (client, writer) in clients.iter().cloned().zip(0_u32..) {
        let numbers = numbers.clone();
        tasks.push(tokio::spawn(async move {
            for number in numbers {
                let mut file = client.create(&format!("/f{writer:02}-{number:012}")).await?;
                file.write_bytes(bytes::Bytes::from_static(b"x")).await?;
                file.close().await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Resident memory of a process, once what it freed is given back.
async fn settled(pid: u32) -> anyhow::Result<u64> {
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(memory(pid)?.0)
}
