//! How many commits a second the embedded store does here, one in flight, beside a bare append and
//! fsync of as many bytes in the same directory:
//! `cargo run --release -p gfs-metastore --example commit_rate -- DIRECTORY [RECORDS]`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use gfs_metastore::{Batch, EmbeddedOptions, EmbeddedStore, Leadership, MetaStore, SequenceRecord};
use gfs_types::{CommitSequence, Epoch};

const SPAN: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 120;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("which directory?")?);
    let records: u64 = arguments.next().map_or(Ok(100_000), |n| n.parse())?;
    let store = EmbeddedStore::open(&directory, EmbeddedOptions::default()).await?;
    let term = store.acquire("bench", Epoch(0)).await?;
    let mut load = Load { store, term, sequence: CommitSequence(0), files: 0, random: 1 };
    load.sequence = load.store.read_sequence().await?.sequence;

    let start = Instant::now();
    for first in (0..records).step_by(4000) {
        load.commit((first..records.min(first + 4000)).collect()).await?;
    }
    println!("filled with {records} records in {:.2?}", start.elapsed());
    println!("puts/commit   commits/s   puts/s   mean ms   bare append+fsync/s");
    for puts in [1_u64, 16, 64, 256] {
        let bare = appends(&directory, puts as usize * (VALUE_BYTES + 24))?;
        let start = Instant::now();
        let mut commits = 0_u32;
        while start.elapsed() < SPAN {
            let keys = (0..puts).map(|_| load.draw() % records.max(1)).collect();
            load.commit(keys).await?;
            commits += 1;
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(commits) / seconds;
        println!(
            "{puts:11} {rate:11.0} {:8.0} {:9.3} {bare:21.0}",
            rate * puts as f64,
            1000.0 / rate
        );
    }
    println!("creates/commit   commits/s   creates/s   mean ms   CPU ms/commit");
    for creates in [1_u64, 4, 16, 64] {
        let start = Instant::now();
        let cpu = cpu_time();
        let mut commits = 0_u32;
        while start.elapsed() < SPAN {
            load.create(creates).await?;
            commits += 1;
        }
        let cpu = (cpu_time() - cpu).as_secs_f64() * 1000.0 / f64::from(commits);
        let rate = f64::from(commits) / start.elapsed().as_secs_f64();
        println!(
            "{creates:14} {rate:11.0} {:11.0} {:9.3} {cpu:15.3}",
            rate * creates as f64,
            1000.0 / rate
        );
    }
    let usage = load.store.usage().await?;
    println!("file: {:.1} MB", usage.bytes as f64 / 1e6);
    load.store.close().await;
    let start = Instant::now();
    let store = EmbeddedStore::open(&directory, EmbeddedOptions::default()).await?;
    let opened = start.elapsed();
    let mut snapshot = store.load().await?;
    let mut count = 0;
    while let Some(page) = snapshot.next_page().await? {
        count += page.len();
    }
    println!("opened in {opened:.2?}, loaded {count} records in {:.2?}", start.elapsed() - opened);
    Ok(())
}

struct Load {
    store: EmbeddedStore,
    term: Leadership,
    sequence: CommitSequence,
    files: u64,
    random: u64,
}

impl Load {
    /// Records of these numbers, anywhere among those there are.
    async fn commit(&mut self, numbers: Vec<u64>) -> Result<()> {
        let value = Bytes::from(vec![self.draw() as u8; VALUE_BYTES]);
        let entry = |number: &u64| (key(b'f', 0, *number), Some(value.clone()));
        self.send(numbers.iter().map(entry).collect()).await
    }

    /// What creating files amounts to: for each a new inode, a name in one of 16 directories, and
    /// the outcome for its client.
    async fn create(&mut self, files: u64) -> Result<()> {
        let mut puts = BTreeMap::new();
        for _ in 0..files {
            self.files += 1;
            let (file, name, client) = (self.files, self.draw(), self.draw() % 64);
            puts.insert(key(b'i', 0, file), Some(Bytes::from(vec![1; 80])));
            puts.insert(key(b'd', file % 16, name), Some(Bytes::from(vec![2; 10])));
            puts.insert(key(b'o', 0, client), Some(Bytes::from(vec![3; 30])));
        }
        self.send(puts).await
    }

    async fn send(&mut self, puts: BTreeMap<Bytes, Option<Bytes>>) -> Result<()> {
        let next = SequenceRecord { sequence: self.sequence.next(), counters: Bytes::new() };
        let batch = Batch { expected: self.sequence, next, puts };
        self.store.commit(&self.term, batch).await?;
        self.sequence = self.sequence.next();
        Ok(())
    }

    /// splitmix64
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn key(kind: u8, parent: u64, number: u64) -> Bytes {
    let mut key = vec![kind];
    key.extend_from_slice(&parent.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    Bytes::from(key)
}

/// What this process has used so far, of the user's and the system's time.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What the device gives: appends of this size, each followed by fdatasync, a second.
fn appends(directory: &Path, bytes: usize) -> Result<f64> {
    let path = directory.join("bare");
    let mut file = File::create(&path)?;
    let data = vec![7; bytes];
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < Duration::from_secs(1) {
        file.write_all(&data)?;
        file.sync_data()?;
        count += 1;
    }
    std::fs::remove_file(&path)?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
