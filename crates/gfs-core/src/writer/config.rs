//! Limits, times, and where writing begins.

use crate::mistakes::Mistakes;
use gfs_proto::v1 as pb;
use gfs_types::{MAX_SLICE, Millis};

/// Limits and times of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Bytes of a full chunk, as the cluster says.
    pub chunk_size: u32,
    /// Most bytes of a slice, at most [`MAX_SLICE`].
    pub max_slice: u32,
    /// Most bytes that are handed in and not acknowledged.
    pub window: u32,
    /// Most slices that are handed in and not acknowledged.
    pub window_slices: usize,
    /// Give up after this long without progress.
    pub deadline: Millis,
    /// Silence of a stream after which the primary is asked whether it lives.
    pub probe_after: Millis,
    /// Silence after which a primary that does not answer the probe is reported as unreachable.
    pub suspect_after: Millis,
    /// Silence after which the chunk is recovered though the primary lives. More than the 2 s that
    /// a primary waits for its secondaries and a server for its grant: they know better whom to
    /// blame.
    pub stall_after: Millis,
    /// How long a flush may take as long as the primary lives: longer than a disk may be silent
    /// before its server gives it up (10 s).
    pub flush_after: Millis,
    /// Time between two calls to the master that keep the right to the file's end: a third of what a
    /// master waits before it gives that to somebody else.
    pub renew_after: Millis,
    /// Pause before the second try; doubles with every further one.
    pub pause_min: Millis,
    /// Longest pause between tries.
    pub pause_max: Millis,
    /// Everything is to be on disk before a chunk is left, and before a flush, sync or close is
    /// answered: the level DISK for the whole file.
    pub disk: bool,
    /// Rules broken on purpose.
    pub mistakes: Mistakes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunk_size: gfs_types::DEFAULT_CHUNK_SIZE,
            max_slice: MAX_SLICE,
            window: 16 << 20,
            window_slices: 1024,
            deadline: Millis(30_000),
            probe_after: Millis(500),
            suspect_after: Millis(1_200),
            stall_after: Millis(2_500),
            flush_after: Millis(12_000),
            renew_after: Millis(20_000),
            pause_min: Millis(20),
            pause_max: Millis(1_000),
            disk: false,
            mistakes: Mistakes::default(),
        }
    }
}

/// Where writing begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// Of the file.
    pub inode: u64,
    /// The client id under which slices are pushed.
    pub writer: u64,
    /// Length of the file: where the first byte goes.
    pub length: u64,
    /// Extents of the file.
    pub chunks: u32,
    /// The open last chunk; none when the file is empty or its last chunk accepts no more.
    pub last: Option<pb::ChunkLocation>,
}
