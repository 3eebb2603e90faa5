//! What can go wrong, told apart by what the caller must do next.

use std::io;
use std::path::PathBuf;

use gfs_types::CommitSequence;
use thiserror::Error;

/// A batch, key or value beyond the store's [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{found} {what}, at most {limit} are possible")]
pub struct TooLarge {
    /// What there is too much of, with its unit.
    pub what: &'static str,
    /// How much there is.
    pub found: usize,
    /// How much there may be.
    pub limit: usize,
}

/// Why a batch was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GuardFailure {
    /// The term is over: another one began, or the lease ran out.
    #[error("the term is over")]
    NotLeader,
    /// The term is current, but the store is at another sequence than the batch expects: an earlier
    /// batch of the caller, whose outcome it did not know, was applied.
    #[error("the store is at sequence {found}")]
    Sequence {
        /// Where the store is.
        found: CommitSequence,
    },
}

/// Why a commit was not acknowledged, and what is known of it.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Not applied, and will not be: it no longer passes the guard.
    #[error("commit refused: {0}")]
    GuardFailed(#[from] GuardFailure),
    /// Applied, not applied, or applied later: read the sequence before anything else (see
    /// [`MetaStore`](crate::MetaStore), *Unknown outcomes*).
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// Not applied: it exceeds the store's limits.
    #[error("batch too large: {0}")]
    TooLarge(#[from] TooLarge),
    /// Not applied: it cannot be one of ours (an empty key, a sequence that does not grow).
    #[error("malformed batch: {0}")]
    Malformed(&'static str),
    /// Not applied: the quota or the device is exhausted. Batches that only delete may still
    /// succeed.
    #[error("the metadata store is full: {0}")]
    NoSpace(String),
    /// Not applied: the store could not be reached. The same batch may be sent again.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
    /// The store failed for good, perhaps after applying the batch: nothing more can be learnt
    /// through this handle. The term is over; open the store again to see what it holds.
    #[error("the metadata store failed during a commit: {0}")]
    Failed(#[source] StoreError),
}

/// Why something other than a commit failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store could not be reached; the call may be tried again.
    #[error("the metadata store is unavailable: {0}")]
    Unavailable(String),
    /// The history asked for is gone: load again.
    #[error("the metadata store no longer has this part of its history")]
    Compacted,
    /// This handle was closed.
    #[error("the metadata store is closed")]
    Closed,
    /// An earlier write or sync failed, so that nobody knows what is on the disk: nothing is
    /// written or read until the store was opened again.
    #[error("the metadata store refuses service since an I/O error: {0}")]
    Poisoned(String),
    /// Another process has it open.
    #[error("the metadata store {} is in use by another process", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It was written by a newer release. Nothing was touched.
    #[error(
        "the metadata store {} has format {found}, this release knows formats up to {supported}",
        .path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format known here.
        supported: u32,
    },
    /// The file is something else, or no longer recognisable. Nothing was touched.
    #[error("{} is not a metadata store: {reason}", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store's contents contradict themselves.
    #[error("the metadata store is damaged: {0}")]
    Corrupt(String),
    /// The operating system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, and to which file.
        context: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
