//! What can go wrong with a store, and what each means to callers elsewhere.

use gfs_types::{ChunkHandle, ClusterId, Epoch, ErrorCode, GfsError, Version};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Result with a [`StoreError`].
pub type StoreResult<T> = Result<T, StoreError>;

/// Why the store refused or failed. Nothing was acknowledged; unless a variant says otherwise the
/// chunk is as it was before the call and stays usable.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no file of this chunk.
    #[error("chunk {0} is not on this volume")]
    UnknownChunk(ChunkHandle),
    /// A chunk is created that exists.
    #[error("chunk {0} is already on this volume")]
    AlreadyExists(ChunkHandle),
    /// The chunk's file is there and cannot be trusted at all. It is kept.
    #[error("the file of chunk {handle} is garbled: {why}")]
    Garbled {
        /// The chunk that the file's name says.
        handle: ChunkHandle,
        /// What does not fit.
        why: String,
    },
    /// Bytes do not match their checksums. The chunk's other blocks are good.
    #[error("chunk {handle} is damaged in blocks {blocks:?}")]
    Corrupt {
        /// The chunk.
        handle: ChunkHandle,
        /// The blocks (of 64 KiB, from 0) that do not match.
        blocks: Vec<u32>,
    },
    /// A sequential write that does not begin where the chunk ends.
    #[error("chunk {handle} ends at {length}, the write begins at {offset}")]
    WrongOffset {
        /// The chunk.
        handle: ChunkHandle,
        /// Where the write begins.
        offset: u32,
        /// Where the chunk ends.
        length: u32,
    },
    /// Overwriting acknowledged bytes needs a redo record, which this format version lacks.
    #[error("chunk {0}: overwriting is not supported by this version of the store")]
    OverwriteUnsupported(ChunkHandle),
    /// A range that reaches past the chunk size, or a malformed request.
    #[error("chunk {handle}: {why}")]
    OutOfRange {
        /// The chunk.
        handle: ChunkHandle,
        /// What is out of range.
        why: String,
    },
    /// The request contradicts itself; it changed nothing.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// A mutation of a version that the replica is not at, or has promised to leave.
    #[error("chunk {handle} is complete at {complete}, promised {promised}; asked was {asked}")]
    StaleVersion {
        /// The chunk.
        handle: ChunkHandle,
        /// The version that the caller named.
        asked: Version,
        /// What the replica promised.
        promised: Version,
        /// What it is complete at.
        complete: Version,
    },
    /// The chunk takes no more mutations.
    #[error("chunk {0} is sealed")]
    Sealed(ChunkHandle),
    /// A write to a replica that a clone has not finished.
    #[error("chunk {0} is an unfinished clone")]
    Incomplete(ChunkHandle),
    /// The chunk may have lost bytes (power loss, failed sync) and was not yet verified.
    #[error("chunk {0} was not closed cleanly and is not verified yet")]
    Suspect(ChunkHandle),
    /// A sync of this chunk failed before: what was written may be gone.
    #[error("chunk {0} failed to sync; it takes no more writes")]
    Failed(ChunkHandle),
    /// The disk is full.
    #[error("no space on the volume for {path}")]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// No volume has room for a new replica.
    #[error("no volume takes a new replica ({0})")]
    Full(String),
    /// The file system is read-only.
    #[error("the volume is read-only: {path}")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The disk failed (`EIO`), or another error of the operating system.
    #[error("{operation} {path}: {source}")]
    Disk {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The volume has left service: see [`gfs_core::volume::Service`].
    #[error("volume {dir} is out of service: {why}")]
    OutOfService {
        /// The volume's directory.
        dir: PathBuf,
        /// Why.
        why: String,
    },
    /// The volume belongs to another cluster. Nothing on it was touched.
    #[error("{dir} belongs to cluster {found}, not {expected}; nothing was changed")]
    WrongCluster {
        /// The volume's directory.
        dir: PathBuf,
        /// The cluster in its record.
        found: ClusterId,
        /// The cluster of this server.
        expected: ClusterId,
    },
    /// Another process holds the volume.
    #[error("{dir} is in use by another process")]
    InUse {
        /// The volume's directory.
        dir: PathBuf,
    },
    /// The directory is neither a volume nor empty, or its record is garbled. Nothing was touched.
    #[error("{dir} cannot be used as a volume: {why}; nothing was changed")]
    NotAVolume {
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: String,
    },
    /// The volume is not yet part of a cluster.
    #[error("the volume does not belong to a cluster yet")]
    NoCluster,
    /// An epoch below one that this volume has seen.
    #[error("epoch {asked} is over: this volume has seen {seen}")]
    StaleEpoch {
        /// The caller's.
        asked: Epoch,
        /// The highest seen.
        seen: Epoch,
    },
}

impl StoreError {
    /// Sorts an error of the operating system: full and read-only disks have variants of their own.
    pub(crate) fn disk(operation: &'static str, path: &Path, source: io::Error) -> Self {
        use rustix::io::Errno;
        let path = path.to_owned();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace { path },
            Some(Errno::ROFS) => Self::ReadOnly { path },
            _ => Self::Disk { operation, path, source },
        }
    }

    /// The code that callers elsewhere see.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownChunk(_) => ErrorCode::UnknownChunk,
            Self::AlreadyExists(_) => ErrorCode::AlreadyExists,
            Self::Garbled { .. } | Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::WrongOffset { .. } => ErrorCode::WrongOffset,
            Self::OverwriteUnsupported(_) => ErrorCode::Unsupported,
            Self::OutOfRange { .. } => ErrorCode::OutOfRange,
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::StaleVersion { .. } | Self::Incomplete(_) => ErrorCode::StaleVersion,
            Self::Sealed(_) => ErrorCode::Sealed,
            Self::Suspect(_) => ErrorCode::Fenced,
            Self::NoSpace { .. } | Self::Full(_) => ErrorCode::NoSpace,
            Self::Failed(_)
            | Self::ReadOnly { .. }
            | Self::Disk { .. }
            | Self::OutOfService { .. } => ErrorCode::DiskError,
            Self::WrongCluster { .. } => ErrorCode::WrongCluster,
            Self::InUse { .. } => ErrorCode::Busy,
            Self::NotAVolume { .. } => ErrorCode::Internal,
            Self::NoCluster => ErrorCode::NotReady,
            Self::StaleEpoch { .. } => ErrorCode::StaleEpoch,
        }
    }
}

impl From<StoreError> for GfsError {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
