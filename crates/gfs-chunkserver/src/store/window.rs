//! What recent mutations of a chunk did, so that a repeat gets the recorded answer.

use gfs_types::{ClientId, OpSequence, WallMillis};
use std::collections::VecDeque;

/// How many entries a chunk keeps; the oldest goes first. Replicas of a chunk apply the same
/// mutations in the same order, so their windows are the same.
pub const WINDOW_CAPACITY: usize = 108;

/// One applied mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowEntry {
    /// Who asked for it.
    pub writer: ClientId,
    /// Its number among that writer's mutations.
    pub sequence: OpSequence,
    /// Where it went, in bytes within the chunk.
    pub offset: u32,
    /// Its bytes.
    pub len: u32,
    /// When its primary ordered it, for the retry horizon.
    pub wall: WallMillis,
}

/// A bounded list of [`WindowEntry`], oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window(VecDeque<WindowEntry>);

impl Window {
    /// The last [`WINDOW_CAPACITY`] of these, given oldest first.
    pub fn from_entries(entries: impl IntoIterator<Item = WindowEntry>) -> Self {
        let mut window = Self::default();
        entries.into_iter().for_each(|entry| window.push(entry));
        window
    }

    /// Adds an entry; the oldest makes room.
    pub fn push(&mut self, entry: WindowEntry) {
        if self.0.len() == WINDOW_CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &WindowEntry> {
        self.0.iter()
    }

    /// What this mutation did, if it is still known.
    #[must_use]
    pub fn find(&self, writer: ClientId, sequence: OpSequence) -> Option<&WindowEntry> {
        self.0.iter().rev().find(|entry| (entry.writer, entry.sequence) == (writer, sequence))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
