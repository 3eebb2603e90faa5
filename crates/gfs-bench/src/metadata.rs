//! Creates and stats a second, and what a file costs the master.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gfs_client::Client;
use gfs_local::Part;

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

/// Resident memory of the master per file with one chunk and a name of 16 bytes.
pub(crate) async fn memory_per_file(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    const FILES: u64 = 20_000;
    const WRITERS: u64 = 16;
    let pid = bench.cluster.pid(Part::Master)?.context("the master does not run")?;
    bench.client.mkdir_all("/memory").await?;
    let before = memory(pid)?.0;
    let mut tasks = Vec::new();
    for (number, client) in bench.clients(WRITERS as usize).await?.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            for round in 0..FILES / WRITERS {
                let mut file = client.create(&format!("/memory/f{number:02}-{round:012}")).await?;
                file.write_bytes(bytes::Bytes::from_static(b"x")).await?;
                file.close().await?;
            }
            anyhow::Ok(())
        }));
    }
    let begun = Instant::now();
    for task in tasks {
        task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = memory(pid)?.0;
    let each = after.saturating_sub(before) as f64 / FILES as f64;
    rows.push(Row::new("master memory per one-chunk file", each, "B").reach(Reach::AtMost(200.0)));
    rows.push(Row::new("files of 1 byte written, 16 clients", FILES as f64 / seconds, "/s"));
    bench.client.remove_all("/memory").await?;
    Ok(())
}
