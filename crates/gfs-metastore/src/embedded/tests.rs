//! The embedded store on a file that fails: power loss at every step, failing syncs, a full device.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gfs_types::{CommitSequence, Epoch};

use super::engine::{Engine, format};
use super::file::StoreFile;
use super::worker::Worker;
use super::{EmbeddedOptions, EmbeddedStore};
use crate::follow::History;
use crate::{
    Batch, CommitError, Key, Leadership, MetaStore, Revision, SequenceRecord, StoreError, Value,
};

/// A file whose unsynced writes may be lost, in any combination, when the power fails.
#[derive(Debug, Default)]
struct FragileFile(Mutex<Disk>);

#[derive(Clone, Debug)]
struct Disk {
    /// What reads see.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// What was done since the last sync.
    pending: Vec<Pending>,
    /// Operations that still succeed; then the power is gone.
    operations_left: u64,
    sync_fails: bool,
    available: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            seen: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            operations_left: u64::MAX,
            sync_fails: false,
            available: u64::MAX,
        }
    }
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write(offset, data) => {
                if image.len() < offset + data.len() {
                    image.resize(offset + data.len(), 0);
                }
                image[*offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl Disk {
    fn step(&mut self) -> io::Result<()> {
        if self.operations_left == 0 {
            return Err(io::Error::other("the power is gone"));
        }
        self.operations_left -= 1;
        Ok(())
    }

    fn change(&mut self, change: Pending) -> io::Result<()> {
        self.step()?;
        change.apply(&mut self.seen);
        self.pending.push(change);
        Ok(())
    }

    /// What is there when the power is back: of what was not synced, some writes, whole or torn at
    /// sectors.
    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut image = self.durable.clone();
        for change in &self.pending {
            match (random.below(4), change) {
                (0, _) => {}
                (1, Pending::Write(offset, data)) => {
                    for (n, sector) in data.chunks(512).enumerate() {
                        if random.below(2) == 0 {
                            Pending::Write(offset + n * 512, sector.to_vec()).apply(&mut image);
                        }
                    }
                }
                _ => change.apply(&mut image),
            }
        }
        image
    }
}

impl FragileFile {
    fn holding(image: Vec<u8>) -> Arc<Self> {
        let disk = Disk { seen: image.clone(), durable: image, ..Disk::default() };
        Arc::new(Self(Mutex::new(disk)))
    }

    fn set(&self, change: impl FnOnce(&mut Disk)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl StoreFile for FragileFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let offset = offset as usize;
        let found = disk.seen.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().change(Pending::Write(offset as usize, data.to_vec()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().unwrap().change(Pending::Length(length as usize))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        if disk.sync_fails {
            return Err(io::Error::other("injected sync failure"));
        }
        disk.pending.clear();
        disk.durable = disk.seen.clone();
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }

    fn available(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().available)
    }

    fn release(&self) {}
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

type Records = BTreeMap<Key, Value>;

fn blank() -> Arc<FragileFile> {
    let file = Arc::new(FragileFile::default());
    format(file.clone(), Path::new("test")).unwrap();
    file
}

fn open(file: Arc<FragileFile>) -> Engine {
    let history = History::beginning_after(Revision(0));
    Engine::open(file, Path::new("test"), EmbeddedOptions::default(), history).unwrap()
}

/// A random batch for a store at this sequence.
fn random_batch(at: CommitSequence, random: &mut Random) -> Batch {
    let puts = (0..1 + random.below(12))
        .map(|_| {
            let key = Bytes::from(format!("key {:03}", random.below(300)));
            let value = (random.below(4) > 0)
                .then(|| Bytes::from(vec![random.below(256) as u8; random.below(600) as usize]));
            (key, value)
        })
        .collect();
    Batch { expected: at, next: SequenceRecord { sequence: at.next(), ..Default::default() }, puts }
}

fn apply(records: &mut Records, batch: &Batch) {
    for (key, value) in &batch.puts {
        match value {
            Some(value) => records.insert(key.clone(), value.clone()),
            None => records.remove(key),
        };
    }
}

fn records(engine: &Engine) -> Records {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut all = Records::new();
        let mut snapshot = engine.load().unwrap();
        while let Some(page) = snapshot.next_page().await.unwrap() {
            all.extend(page);
        }
        all
    })
}

/// The power fails at a random operation of a random history, again and again on the same disk:
/// what was acknowledged is there, what was not is there whole or not at all, epochs never repeat.
#[test]
fn power_loss_at_any_moment_loses_nothing_acknowledged() {
    for seed in 0..12 {
        let mut random = Random(seed);
        let mut file = blank();
        let mut model = Records::new();
        let mut at = CommitSequence(0);
        let mut epoch = Epoch(0);
        let mut unacknowledged_found = 0;
        for _ in 0..25 {
            let mut engine = open(file.clone());
            // Opening repaired and committed; the power fails some operations later.
            let left = random.below(60);
            file.set(|disk| disk.operations_left = left);
            let mut in_flight = None;
            if let Ok(term) = engine.acquire("test".to_owned(), Epoch(0)) {
                assert!(term.epoch > epoch, "seed {seed}: {} after {epoch}", term.epoch);
                epoch = term.epoch;
                // Bounded: a commit takes at least one operation, so the power fails before that.
                for round in 0.. {
                    assert!(round < 100, "seed {seed}: commits that write nothing");
                    let batch = random_batch(at, &mut random);
                    match engine.commit(&term, batch.clone()) {
                        Ok(result) => {
                            result.unwrap();
                            at = batch.next.sequence;
                            apply(&mut model, &batch);
                        }
                        Err(_) => {
                            in_flight = Some(batch);
                            break;
                        }
                    }
                }
            }
            drop(engine);
            let image = file.0.lock().unwrap().after_power_loss(&mut random);
            file = FragileFile::holding(image);
            let engine = open(file.clone());
            let found = engine.sequence().sequence;
            if let Some(batch) = in_flight
                && found == batch.next.sequence
            {
                at = found;
                apply(&mut model, &batch);
                unacknowledged_found += 1;
            }
            assert_eq!(found, at, "seed {seed}: the sequence after power loss");
            assert_eq!(records(&engine), model, "seed {seed}: at {at}");
        }
        assert!(at.0 > 25 && unacknowledged_found < 25, "seed {seed}: {at}");
    }
}

/// Power loss while a store is being made: the file never gets its name, so what matters is that a
/// synced one is whole.
#[test]
fn a_formatted_file_survives_power_loss() {
    let file = blank();
    let image = file.0.lock().unwrap().durable.clone();
    let engine = open(FragileFile::holding(image));
    assert_eq!(engine.sequence(), &SequenceRecord::default());
}

async fn store_on(file: Arc<FragileFile>, options: EmbeddedOptions) -> EmbeddedStore {
    let limits = options.limits;
    let worker =
        Worker::start(move |history| Engine::open(file, Path::new("test"), options, history))
            .await
            .unwrap();
    EmbeddedStore { path: "test".into(), limits, worker }
}

fn put(at: u64, key: &str) -> Batch {
    let puts = BTreeMap::from([(Bytes::from(key.to_owned()), Some(Bytes::from_static(b"value")))]);
    let next = SequenceRecord { sequence: CommitSequence(at + 1), ..Default::default() };
    Batch { expected: CommitSequence(at), next, puts }
}

/// After a failed fsync the page cache and the disk differ in ways nobody can tell: the store must
/// not acknowledge, nor show, anything more. What it holds is learnt by opening it again.
#[tokio::test]
async fn a_failed_sync_poisons_the_store_until_it_is_reopened() {
    let file = blank();
    let store = store_on(file.clone(), EmbeddedOptions::default()).await;
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    store.commit(&term, put(0, "a")).await.unwrap();
    let mut follower = store.follow(Revision(1)).await.unwrap();
    let mut snapshot = store.load().await.unwrap();

    file.set(|disk| disk.sync_fails = true);
    let failed = store.commit(&term, put(1, "b")).await;
    assert!(matches!(failed, Err(CommitError::Failed(StoreError::Poisoned(_)))), "{failed:?}");
    // The device works again, as it seems to after a failed fsync.
    file.set(|disk| disk.sync_fails = false);

    for _ in 0..2 {
        let refused = store.commit(&term, put(1, "b")).await;
        assert!(matches!(refused, Err(CommitError::Failed(StoreError::Poisoned(_)))));
        assert!(matches!(store.read_sequence().await, Err(StoreError::Poisoned(_))));
        assert!(matches!(store.load().await, Err(StoreError::Poisoned(_))));
        assert!(matches!(store.acquire("x", Epoch(0)).await, Err(StoreError::Poisoned(_))));
    }
    assert!(!store.tenure(&term).holds());
    assert!(follower.next().await.is_err());
    assert!(snapshot.next_page().await.is_err());

    // The disk kept only what was synced.
    let durable = file.0.lock().unwrap().durable.clone();
    let store = store_on(FragileFile::holding(durable), EmbeddedOptions::default()).await;
    assert_eq!(store.read_sequence().await.unwrap().sequence, CommitSequence(1));
    let again = store.acquire("test", Epoch(0)).await.unwrap();
    assert!(again.epoch > term.epoch);
    store.commit(&again, put(1, "b")).await.unwrap();
}

/// An epoch that did not reach the disk is not handed out, and the old term is over all the same.
#[tokio::test]
async fn an_epoch_that_cannot_be_written_is_not_handed_out() {
    let file = blank();
    let store = store_on(file.clone(), EmbeddedOptions::default()).await;
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    file.set(|disk| disk.sync_fails = true);
    let refused = store.acquire("test", Epoch(0)).await;
    assert!(matches!(refused, Err(StoreError::Poisoned(_))), "{refused:?}");
    assert!(!store.tenure(&term).holds());
}

#[tokio::test]
async fn a_full_device_refuses_puts_and_allows_deletions() {
    let file = blank();
    let store = store_on(file.clone(), EmbeddedOptions::default()).await;
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    store.commit(&term, put(0, "a")).await.unwrap();
    file.set(|disk| disk.available = 1000);
    let refused = store.commit(&term, put(1, "b")).await;
    assert!(matches!(refused, Err(CommitError::NoSpace(_))), "{refused:?}");
    let mut deletion = put(1, "a");
    deletion.puts.insert(Bytes::from_static(b"a"), None);
    store.commit(&term, deletion).await.unwrap();
    file.set(|disk| disk.available = u64::MAX);
    store.commit(&term, put(2, "b")).await.unwrap();
    assert_eq!(store.read_sequence().await.unwrap().sequence, CommitSequence(3));
}

#[tokio::test]
async fn the_quota_refuses_puts() {
    let options = EmbeddedOptions { quota_bytes: Some(1), ..EmbeddedOptions::default() };
    let store = store_on(blank(), options).await;
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    let refused = store.commit(&term, put(0, "a")).await;
    assert!(matches!(refused, Err(CommitError::NoSpace(_))), "{refused:?}");
    assert_eq!(store.usage().await.unwrap().quota, Some(1));
}

/// A master that acquires again in the same process ends its own first term.
#[tokio::test]
async fn a_second_acquisition_supersedes_the_first() {
    let store = store_on(blank(), EmbeddedOptions::default()).await;
    let first = store.acquire("first", Epoch(0)).await.unwrap();
    let second = store.acquire("second", Epoch(0)).await.unwrap();
    let refused = store.commit(&first, put(0, "a")).await;
    assert!(matches!(refused, Err(CommitError::GuardFailed(_))), "{refused:?}");
    assert!(!store.tenure(&first).holds() && store.tenure(&second).holds());
    store.commit(&second, put(0, "a")).await.unwrap();
}

/// A caller that stops waiting does not stop the commit, and a read asked for later sees it.
#[tokio::test]
async fn an_abandoned_commit_is_in_front_of_the_next_read() {
    let store = store_on(blank(), EmbeddedOptions::default()).await;
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    {
        let mut commit = std::pin::pin!(store.commit(&term, put(0, "a")));
        // Polled once: the request is queued, or, when this thread was held up meanwhile, done already.
        std::future::poll_fn(|context| {
            drop(commit.as_mut().poll(context));
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert_eq!(store.read_sequence().await.unwrap().sequence, CommitSequence(1));
}

/// `Leadership` values that nobody handed out are refused.
#[tokio::test]
async fn an_invented_term_is_refused() {
    let store = store_on(blank(), EmbeddedOptions::default()).await;
    let invented = Leadership { epoch: Epoch(0), token: crate::LeaderToken(0) };
    assert!(!store.tenure(&invented).holds());
    let refused = store.commit(&invented, put(0, "a")).await;
    assert!(matches!(refused, Err(CommitError::GuardFailed(_))), "{refused:?}");
}
