//! What is stored of a replica beside its bytes.

use gfs_proto::v1 as pb;
use std::collections::VecDeque;

/// How many mutations a replica remembers. Replicas apply the same mutations in the same order, so
/// their windows are the same. More than any client has in flight.
pub const MAX_WINDOW: usize = 112;

/// What never changes of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The chunk.
    pub handle: u64,
    /// The file.
    pub inode: u64,
    /// Which extent of the file, from 0.
    pub index: u32,
    /// File offset of the chunk's first byte.
    pub start: u64,
    /// Whole copies wanted; 0: unknown.
    pub copies: u8,
}

/// What a replica's header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Highest version promised; never below `complete`.
    pub promised: u64,
    /// Version at which it is equal to the other members; 0: never, or no longer.
    pub complete: u64,
    /// Last serial applied at `complete`.
    pub serial: u64,
    /// Bytes it holds.
    pub length: u32,
    /// No more mutations at this version: all its bytes are acknowledged.
    pub sealed: bool,
    /// Recent mutations.
    pub window: Window,
}

/// Recent mutations of a chunk, oldest first, bounded: what recognises repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(VecDeque<pb::WindowEntry>);

impl Window {
    /// The last [`MAX_WINDOW`] of these, given oldest first.
    pub fn from_entries(entries: impl IntoIterator<Item = pb::WindowEntry>) -> Self {
        let mut window = Self::default();
        entries.into_iter().for_each(|entry| window.push(entry));
        window
    }

    /// Remembers a mutation; the oldest goes where there is no room.
    pub fn push(&mut self, entry: pb::WindowEntry) {
        if self.0.len() == MAX_WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// The highest sequence remembered of this writer; 0: none.
    #[must_use]
    pub fn last(&self, writer: u64) -> u64 {
        self.0.iter().rev().find(|entry| entry.writer == writer).map_or(0, |entry| entry.sequence)
    }

    /// What this writer's mutation did, if it is remembered.
    #[must_use]
    pub fn find(&self, writer: u64, sequence: u64) -> Option<&pb::WindowEntry> {
        self.0.iter().rev().find(|entry| entry.writer == writer && entry.sequence == sequence)
    }

    /// Every entry, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &pb::WindowEntry> {
        self.0.iter()
    }
}
