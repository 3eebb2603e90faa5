//! Chunkservers killed at hundreds of random moments while files are written: nothing that was
//! acknowledged is lost, and every replica holds it byte for byte.
//!
//! `GFS_CRASH_KILLS` sets how many kills each test makes.

mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_local::Part;
use gfs_system_tests::{
    Acknowledged, Bench, Content, Dice, Replica, Shape, bounded, eventually, write_file,
};
use gfs_types::ChunkHandle;
use tokio::task::JoinHandle;

const WHOLE: Duration = Duration::from_secs(60);
/// A file is closed and the next one begun at this length.
const FILE: u64 = 12 << 20;

/// Files written one after another, and the one being written.
struct Stream {
    copies: u32,
    done: Vec<(String, Content, u64)>,
    path: String,
    content: Content,
    progress: Arc<Acknowledged>,
    writer: JoinHandle<anyhow::Result<u64>>,
}

impl Stream {
    fn begin(bench: &Bench, copies: u32, number: u64) -> Self {
        let (path, content) = (format!("/f{number}"), Content(number));
        let progress = Arc::<Acknowledged>::default();
        let writer = tokio::spawn(write_file(
            bench.client.clone(),
            path.clone(),
            content,
            FILE,
            copies,
            Arc::clone(&progress),
        ));
        Self { copies, done: Vec::new(), path, content, progress, writer }
    }

    /// Begins the next file when this one is complete.
    async fn go_on(&mut self, bench: &Bench) -> anyhow::Result<()> {
        if !self.writer.is_finished() {
            return Ok(());
        }
        let next = Self::begin(bench, self.copies, self.content.0 + 1);
        let finished = std::mem::replace(self, next);
        let length = finished.writer.await?.with_context(|| finished.path.clone())?;
        self.done = finished.done;
        self.done.push((finished.path, finished.content, length));
        Ok(())
    }

    /// Waits until the writer has gone on by so many acknowledged bytes, into the next file if need
    /// be.
    async fn advance(&mut self, bench: &Bench, mut bytes: u64) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(40);
        let mut seen = self.progress.bytes();
        while bytes > 0 {
            ensure!(Instant::now() < until, "{} stands still at {seen}", self.path);
            let now = self.progress.bytes();
            bytes = bytes.saturating_sub(now - seen);
            seen = now;
            if self.writer.is_finished() {
                self.go_on(bench).await?;
                seen = 0;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

/// What the killed servers hold on disk of the file that is being written. Every replica is a
/// prefix of the content from where its chunk begins, and those that are complete at the highest
/// version hold all that was acknowledged before the kill.
fn compare(
    bench: &Bench,
    killed: &[Part],
    content: Content,
    inode: u64,
    acknowledged: u64,
) -> anyhow::Result<usize> {
    let all = killed.len() == bench.cluster.servers().count();
    let mut newest: BTreeMap<ChunkHandle, Vec<Replica>> = BTreeMap::new();
    let mut compared = 0;
    for part in killed {
        for replica in Replica::all(bench.cluster.data(*part)?, bench.chunk_size())? {
            let header = &replica.header;
            // An unfinished copy says nothing yet.
            if header.place.inode.0 != inode
                || header.flags.incomplete
                || header.complete.version.0 == 0
            {
                continue;
            }
            replica.check(content, 0)?;
            compared += 1;
            let of_chunk = newest.entry(header.handle).or_default();
            let highest =
                of_chunk.first().map_or(header.complete.version, |r| r.header.complete.version);
            if header.complete.version > highest {
                of_chunk.clear();
            }
            if header.complete.version >= highest {
                of_chunk.push(replica);
            }
        }
    }
    // Only with all of them at rest is it known which version is the highest.
    if all {
        let mut covered = 0;
        let mut chunks: Vec<&Vec<Replica>> = newest.values().collect();
        chunks.sort_by_key(|of_chunk| of_chunk.first().map(|r| r.header.place.chunk_start));
        for of_chunk in chunks {
            for replica in of_chunk {
                let start = replica.header.place.chunk_start;
                let here = acknowledged.saturating_sub(start).min(bench.chunk_size().into());
                replica.check(content, here)?;
                covered = covered.max(start + u64::from(replica.header.content.length));
            }
        }
        ensure!(covered >= acknowledged, "{covered} bytes are on disk of {acknowledged}");
    }
    Ok(compared)
}

/// Kills servers at random moments of a stream of writes; each time compares what the killed ones
/// hold, and at the end every replica of every file.
async fn crash(copies: u32, seed: u64, kills: usize) -> anyhow::Result<()> {
    let kills = std::env::var("GFS_CRASH_KILLS").map_or(Ok(kills), |kills| kills.parse())?;
    let bench =
        Bench::start(Shape { deadline: Duration::from_secs(60), ..Shape::default() }).await?;
    let mut dice = Dice::new(seed);
    let mut stream = Stream::begin(&bench, copies, seed << 32);
    let servers: Vec<Part> = bench.cluster.servers().collect();
    let (mut made, mut compared) = (0, 0);
    let begun = Instant::now();
    while made < kills {
        stream.advance(&bench, 1 + dice.below(1 << 20)).await?;
        let (path, content) = (stream.path.clone(), stream.content);
        let inode = bench.client.stat(&path).await.map(|attributes| attributes.inode);
        // Most often one, now and then all at once.
        let victims = match dice.below(8) {
            0 => servers.clone(),
            _ => servers
                .get(dice.below(servers.len() as u64) as usize)
                .copied()
                .into_iter()
                .collect(),
        };
        std::thread::sleep(Duration::from_micros(dice.below(3_000)));
        let acknowledged = stream.progress.bytes();
        for victim in &victims {
            bench.kill(*victim)?;
        }
        made += victims.len();
        if let (Ok(inode), true) = (inode, path == stream.path) {
            compared += compare(&bench, &victims, content, inode, acknowledged)
                .with_context(|| format!("after kill {made}, of {victims:?}"))?;
        }
        for victim in &victims {
            tokio::task::block_in_place(|| bench.cluster.restart(*victim))?;
        }
        tokio::task::block_in_place(|| bench.cluster.wait_ready(Duration::from_secs(30)))?;
    }
    stream.progress.stop();
    eventually("the last file is closed", WHOLE, async || Ok(stream.writer.is_finished())).await?;
    stream.go_on(&bench).await?;
    stream.progress.stop();
    bench.wait_whole(WHOLE).await?;
    let mut total = 0;
    for (path, content, length) in &stream.done {
        bench.check_file(path, *content, *length).await?;
        bench.check_replicas(path, *content, *length, copies as usize).await?;
        total += length;
    }
    println!(
        "{made} kills in {:?}; {compared} replicas compared at them, and all of {} files with {} \
         MiB at the end",
        begun.elapsed(),
        stream.done.len(),
        total >> 20
    );
    ensure!(compared >= kills / 4, "too few replicas were compared at the kills: {compared}");
    Ok(())
}

const LIMIT: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_three_copies() -> anyhow::Result<()> {
    bounded(LIMIT, crash(3, 1, 200)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_one_copy() -> anyhow::Result<()> {
    bounded(LIMIT, crash(1, 2, 100)).await
}
