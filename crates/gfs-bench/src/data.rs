//! Sequential write and read through the client library, beside the raw baselines.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use gfs_client::{Client, RemoveOptions};

use crate::cluster::Bench;
use crate::raw::{Rate, RawChain};
use crate::report::{Reach, Row, median};
use crate::usage::memory;
use crate::warmth::Warmth;

const PIECE: u64 = 1 << 20;

/// Every client writes a file of `bytes`.
pub(crate) async fn write(bench: &Bench, clients: &[Client], bytes: u64) -> anyhow::Result<Rate> {
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, client) in clients.iter().cloned().enumerate() {
        tasks.push(tokio::spawn(async move {
            let payload: Bytes =
                (0..PIECE as usize).map(|i| (i * 31 + number) as u8).collect::<Vec<_>>().into();
            let mut file = client.create(&format!("/bench-{number}")).await?;
            for _ in 0..bytes / PIECE {
                file.write_bytes(payload.clone()).await?;
            }
            file.close().await
        }));
    }
    for task in tasks {
        task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Rate::of(bytes * clients.len() as u64, seconds, cpu.seconds()?))
}

/// Every client reads back the file it wrote; the library verifies each byte.
pub(crate) async fn read(bench: &Bench, clients: &[Client], bytes: u64) -> anyhow::Result<Rate> {
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, client) in clients.iter().cloned().enumerate() {
        tasks.push(tokio::spawn(async move {
            let mut file = client.open(&format!("/bench-{number}")).await?;
            let mut read = 0;
            while let Some(piece) = file.next_piece().await? {
                read += piece.len() as u64;
            }
            anyhow::Ok(read)
        }));
    }
    for task in tasks {
        let read = task.await??;
        if read != bytes {
            bail!("read {read} bytes of {bytes}");
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Rate::of(bytes * clients.len() as u64, seconds, cpu.seconds()?))
}

/// Removes the files, and waits until their chunks are gone from the disks.
pub(crate) async fn remove(bench: &Bench, clients: usize) -> anyhow::Result<()> {
    for number in 0..clients {
        remove_file(bench, &format!("/bench-{number}")).await?;
    }
    no_chunks(bench).await
}

/// Removes a file for good.
pub(crate) async fn remove_file(bench: &Bench, path: &str) -> anyhow::Result<()> {
    let options = RemoveOptions { skip_trash: true, ..RemoveOptions::default() };
    bench.client.remove_with(path, options).await?;
    Ok(())
}

/// Waits until no chunk is on the disks.
pub(crate) async fn no_chunks(bench: &Bench) -> anyhow::Result<()> {
    // Collection is lazy; the pages must be free again before the next round.
    let begun = Instant::now();
    while chunk_files(bench)? > 0 {
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("deleted chunks are still on the disks after 30 s");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn chunk_files(bench: &Bench) -> anyhow::Result<usize> {
    let mut count = 0;
    for part in bench.cluster.servers() {
        count += files_below(&bench.cluster.data(part)?.join("chunks"))?;
    }
    Ok(count)
}

fn files_below(directory: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() {
            files_below(&entry.path())?
        } else {
            usize::from(entry.path().extension().is_some_and(|extension| extension == "chunk"))
        };
    }
    Ok(count)
}

/// Medians of several rates.
pub(crate) fn middle(rates: &[Rate]) -> Rate {
    Rate {
        mb_per_s: median(&mut rates.iter().map(|rate| rate.mb_per_s).collect::<Vec<_>>()),
        cpu_s_per_gb: median(&mut rates.iter().map(|rate| rate.cpu_s_per_gb).collect::<Vec<_>>()),
    }
}

/// Fresh files: the machine's own limit is the control.
pub(crate) async fn fresh(
    bench: &Bench,
    directory: &Path,
    bytes: u64,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let control = plain_files(directory, bytes)?;
    let clients = bench.clients(1).await?;
    let rate = write(bench, &clients, bytes).await?;
    remove(bench, 1).await?;
    rows.push(
        Row::new("sequential write, 3 copies, fresh memory, 1 client", rate.mb_per_s, "MB/s")
            .baseline(control)
            .note("baseline: three plain files of these bytes at once"),
    );
    Ok(())
}

/// Writes three plain files of `bytes` at once; user MB/s.
fn plain_files(directory: &Path, bytes: u64) -> anyhow::Result<f64> {
    use std::io::Write as _;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn(move || -> std::io::Result<()> {
                    let mut file =
                        std::fs::File::create(directory.join(format!("control-{number}")))?;
                    let piece = vec![number as u8; PIECE as usize];
                    for _ in 0..bytes / PIECE {
                        file.write_all(&piece)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a writer panicked"),
            }
        }
        Ok(())
    })?;
    let rate = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    for number in 0..3 {
        std::fs::remove_file(directory.join(format!("control-{number}")))?;
    }
    Ok(rate)
}

/// What is written and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// At once.
    pub(crate) clients: usize,
    /// In a round, by all of them together.
    pub(crate) bytes: u64,
    pub(crate) rounds: usize,
    pub(crate) warmth: Warmth,
}

/// Write and read, in turn with the baselines.
pub(crate) async fn sequential(
    bench: &Bench,
    chain: &RawChain,
    load: Load,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    // Three copies, and as much again for what the free lists hand out first.
    let touched = 6 * load.bytes;
    let count = load.clients;
    let clients = bench.clients(count).await?;
    let each = load.bytes / count as u64;
    let (mut raw_writes, mut raw_reads) = (Vec::new(), Vec::new());
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..load.rounds {
        load.warmth.touch(touched)?;
        raw_writes.push(chain.write(count, each)?);
        // Reads are not to compete with the writing back of what was just written.
        rustix::fs::sync();
        raw_reads.push(chain.read(count, each)?);
        chain.remove(count)?;
        load.warmth.touch(touched)?;
        writes.push(write(bench, &clients, each).await?);
        rustix::fs::sync();
        reads.push(read(bench, &clients, each).await?);
        remove(bench, count).await?;
    }
    let plural = if count == 1 { "client" } else { "clients" };
    let (raw_write, raw_read) = (middle(&raw_writes), middle(&raw_reads));
    let (write, read) = (middle(&writes), middle(&reads));
    rows.push(
        Row::new(format!("sequential read, {count} {plural}"), read.mb_per_s, "MB/s")
            .baseline(raw_read.mb_per_s)
            .reach(Reach::Share(0.75))
            .acceptance(),
    );
    rows.push(
        Row::new(
            format!("sequential write, 3 copies, warm, {count} {plural}"),
            write.mb_per_s,
            "MB/s",
        )
        .baseline(raw_write.mb_per_s)
        .reach(Reach::Share(0.65))
        .acceptance(),
    );
    rows.push(
        Row::new(format!("CPU of a read, {count} {plural}"), read.cpu_s_per_gb, "s/GB")
            .baseline(raw_read.cpu_s_per_gb)
            .reach(Reach::AtMost(1.0)),
    );
    rows.push(
        Row::new(format!("CPU of a write, {count} {plural}"), write.cpu_s_per_gb, "s/GB")
            .baseline(raw_write.cpu_s_per_gb)
            .reach(Reach::AtMost(5.0)),
    );
    Ok(())
}

/// Memory of each process under 16 writers, and 10 s after.
pub(crate) async fn memory_under_load(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let idle = largest(bench, |(now, _)| now)?;
    let clients = bench.clients(16).await?;
    write(bench, &clients, 64 << 20).await?;
    let peak = largest(bench, |(_, highest)| highest)?;
    remove(bench, 16).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = largest(bench, |(now, _)| now)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    rows.push(
        Row::new("memory of the largest process, 16 writers", mib(peak), "MiB")
            .reach(Reach::AtMost(512.0)),
    );
    rows.push(
        Row::new("the same 10 s later", mib(after), "MiB")
            .baseline(mib(idle))
            .note("baseline: before the load"),
    );
    Ok(())
}

fn largest(bench: &Bench, which: impl Fn((u64, u64)) -> u64) -> anyhow::Result<u64> {
    let mut most = 0;
    for (name, pid) in bench.pids()? {
        let of = memory(pid).with_context(|| format!("memory of {name}"))?;
        most = most.max(which(of));
    }
    Ok(most)
}
