//! SIGKILL at random moments: every acknowledged commit is there afterwards, nothing half applied.
//!
//! A child process commits as fast as it can and prints each sequence once it was acknowledged; the
//! records of a commit are a function of its sequence, so that what must be there can be computed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gfs_metastore::{
    Batch, EmbeddedOptions, EmbeddedStore, Key, MetaStore, SequenceRecord, StoreError, Value,
};
use gfs_types::{CommitSequence, Epoch};

const KILLS: u64 = 60;
const LIMIT: Duration = Duration::from_secs(60);

/// splitmix64 of a seed and a position
fn random(seed: u64, position: u64) -> u64 {
    let z = seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(position);
    let z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the commit with this sequence changes: between 1 and 40 of 2000 keys.
fn changes(sequence: u64) -> BTreeMap<Key, Option<Value>> {
    (0..1 + random(sequence, 0) % 40)
        .map(|n| {
            let draw = random(sequence, n + 1);
            let key = Bytes::from(format!("key {:04}", draw % 2000));
            let value =
                Bytes::from(format!("{sequence:>width$}", width = 8 + (draw >> 32) as usize % 300));
            (key, (draw >> 16 & 7 != 0).then_some(value))
        })
        .collect()
}

fn apply(records: &mut BTreeMap<Key, Value>, sequence: u64) {
    for (key, value) in changes(sequence) {
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
    }
}

/// Not a test of its own: the child process.
#[tokio::test]
#[ignore = "the child process of acknowledged_commits_survive_kills"]
async fn helper_commits_until_killed() {
    let Some(directory) = std::env::var_os("STORE") else { return };
    let store =
        EmbeddedStore::open(Path::new(&directory), EmbeddedOptions::default()).await.unwrap();
    let term = store.acquire("child", Epoch(0)).await.unwrap();
    let mut out = std::io::stdout();
    // On a line of its own, whatever the test harness has printed before.
    writeln!(out, "\nepoch {}", term.epoch).unwrap();
    let mut at = store.read_sequence().await.unwrap().sequence;
    loop {
        let next = at.next();
        let counters = Bytes::from(format!("counters {next}"));
        let next = SequenceRecord { sequence: next, counters };
        let batch = Batch { expected: at, puts: changes(next.sequence.0), next };
        at = batch.next.sequence;
        store.commit(&term, batch).await.unwrap();
        writeln!(out, "acknowledged {at}").unwrap();
        out.flush().unwrap();
    }
}

struct Committer {
    process: Child,
    lines: Receiver<String>,
}

impl Committer {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper_commits_until_killed", "--ignored", "--nocapture"])
            .env("STORE", directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    /// The epoch it got.
    fn epoch(&self) -> u64 {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("the child says its epoch");
            if let Some(epoch) = line.strip_prefix("epoch ") {
                return epoch.parse().unwrap();
            }
        }
    }

    /// Kills it; the highest sequence it was acknowledged, if any.
    fn kill(mut self) -> Option<u64> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // The kill may have cut the last line short, which makes a smaller number of it.
        let numbers = self.lines.iter().filter_map(|line| {
            line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok())
        });
        numbers.max()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_kills() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let seed = u64::from(std::process::id());
    let mut records = BTreeMap::new();
    let (mut at, mut acknowledged, mut epoch, mut ahead) = (0, 0, 0, 0);
    for kill in 0..KILLS {
        let committer = Committer::start(directory.path());
        let took = committer.epoch();
        assert!(took > epoch, "epoch {took} after {epoch}");
        epoch = took;
        std::thread::sleep(Duration::from_micros(random(seed, kill) % 120_000));
        if kill % 10 == 0 {
            let second = EmbeddedStore::open(directory.path(), EmbeddedOptions::default()).await;
            assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
        }
        acknowledged = committer.kill().unwrap_or(acknowledged);

        let store =
            EmbeddedStore::open(directory.path(), EmbeddedOptions::default()).await.unwrap();
        let found = store.read_sequence().await.unwrap();
        let sequence = found.sequence.0;
        assert!(
            sequence == acknowledged || sequence == acknowledged + 1,
            "kill {kill}: at {sequence}, acknowledged {acknowledged}"
        );
        ahead += u64::from(sequence > acknowledged);
        acknowledged = sequence;
        if sequence > 0 {
            assert_eq!(found.counters, format!("counters {}", CommitSequence(sequence)));
        }
        while at < sequence {
            at += 1;
            apply(&mut records, at);
        }
        let mut stored = BTreeMap::new();
        let mut snapshot = store.load().await.unwrap();
        while let Some(page) = snapshot.next_page().await.unwrap() {
            stored.extend(page);
        }
        assert!(stored == records, "kill {kill}: the records at {sequence} are not as committed");
        store.close().await;
    }
    assert!(at > KILLS, "only {at} commits");
    println!(
        "{KILLS} kills, {at} commits, {ahead} found applied though not acknowledged, {:.1?}",
        start.elapsed()
    );
    assert!(start.elapsed() < LIMIT);
}
