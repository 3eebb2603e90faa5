//! The store of one master on one machine: a single file, fsynced at every commit.
//!
//! * `file`: the operating system's part: the directory, its lock, reads, writes, syncs;
//! * `format`: the file's header, and what is put in front of [`redb`] because of it;
//! * `engine`: the store itself, plain synchronous code on top of [`redb`];
//! * `worker`: the thread that runs the engine, so that no fsync ever blocks an async worker.

mod engine;
mod file;
mod format;
mod pages;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use gfs_types::Epoch;

use crate::{
    Batch, CommitError, Follower, LeaderRecord, Leadership, Limits, MetaStore, Revision,
    SequenceRecord, Snapshot, StoreError, Tenure, Usage,
};
pub use format::FORMAT_VERSION;
use worker::{Request, Worker};

/// The name of the store's file in its directory.
pub const FILE_NAME: &str = "metadata.gfs";

/// How an [`EmbeddedStore`] behaves.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// What a batch may hold. Wider than etcd's by default: one fsync then serves more operations.
    pub limits: Limits,
    /// Memory for cached pages, in bytes. Small: the master has every record in memory itself.
    pub cache_bytes: usize,
    /// Room that must be free on the device for a batch that puts. Below it such batches are
    /// refused cleanly ([`CommitError::NoSpace`]), while deletions still have room to be written.
    pub reserve_bytes: u64,
    /// The most the file may occupy before batches that put are refused; `None` for no limit.
    pub quota_bytes: Option<u64>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            limits: Limits {
                max_operations: 4096,
                max_batch_bytes: 8 * 1024 * 1024,
                max_value_bytes: Limits::ETCD.max_value_bytes,
                max_key_bytes: Limits::ETCD.max_key_bytes,
            },
            cache_bytes: 16 * 1024 * 1024,
            reserve_bytes: 32 * 1024 * 1024,
            quota_bytes: None,
        }
    }
}

/// A [`MetaStore`] in one file of a local directory, for a single master.
///
/// The directory is locked while it is open, so that a second process is told [`InUse`]. Every
/// commit is on the disk when it is acknowledged. After an I/O error the store is *poisoned*: after
/// a failed fsync nobody can say what the disk holds, so it answers nothing more until it was
/// opened again, which reads what is really there. Opening verifies the checksum of every page.
///
/// The revision of a commit is its sequence.
///
/// [`InUse`]: StoreError::InUse
#[derive(Debug)]
pub struct EmbeddedStore {
    path: PathBuf,
    limits: Limits,
    worker: Worker,
}

impl EmbeddedStore {
    /// Opens the store in `directory`, or creates both.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerFormat`] and [`StoreError::NotAStore`], having
    /// touched nothing; [`StoreError::Corrupt`] when the contents are damaged, [`StoreError::Io`].
    pub async fn open(directory: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let owned = directory.to_owned();
        let limits = options.limits;
        let worker = Worker::start(move |history| {
            let path = owned.join(FILE_NAME);
            let (file, draft) = file::DiskFile::open_or_create(&owned)?;
            if let Some(draft) = draft {
                engine::format(file.clone(), &path)?;
                draft.publish()?;
            }
            engine::Engine::open(file, &path, options, history)
        })
        .await?;
        Ok(Self { path: directory.join(FILE_NAME), limits, worker })
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl MetaStore for EmbeddedStore {
    async fn acquire(&self, who: &str, above: Epoch) -> Result<Leadership, StoreError> {
        let who = who.to_owned();
        self.worker.ask(|reply| Request::Acquire { who, above, reply }).await?
    }

    fn tenure(&self, leadership: &Leadership) -> Tenure {
        if self.worker.leads(leadership) { Tenure::Indefinite } else { Tenure::Over }
    }

    async fn resign(&self, leadership: &Leadership) -> Result<(), StoreError> {
        let term = *leadership;
        self.worker.ask(|reply| Request::Resign { term, reply }).await
    }

    async fn leader(&self) -> Result<Option<LeaderRecord>, StoreError> {
        self.worker.ask(|reply| Request::Leader { reply }).await
    }

    async fn load(&self) -> Result<Snapshot, StoreError> {
        self.worker.ask(|reply| Request::Load { reply }).await?
    }

    async fn commit(&self, leadership: &Leadership, batch: Batch) -> Result<Revision, CommitError> {
        let term = *leadership;
        // Malformed or oversized batches are refused here, before they take a place in the queue.
        batch.check(&self.limits)?;
        self.worker
            .ask(|reply| Request::Commit { term, batch, reply })
            .await
            .map_err(CommitError::Failed)?
    }

    async fn read_sequence(&self) -> Result<SequenceRecord, StoreError> {
        self.worker.ask(|reply| Request::ReadSequence { reply }).await
    }

    async fn follow(&self, after: Revision) -> Result<Follower, StoreError> {
        self.worker.history().follow(after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), StoreError> {
        self.worker.check_open()?;
        self.worker.history().compact(upto);
        Ok(())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        self.worker.ask(|reply| Request::Usage { reply }).await?
    }

    async fn close(&self) {
        // Refused only when it is closed, or has failed and let go of everything, already.
        let _ = self.worker.ask(|reply| Request::Close { reply }).await;
    }
}
