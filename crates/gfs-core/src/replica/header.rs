//! What is stored of a replica beside its bytes.

use gfs_proto::v1 as pb;
use std::collections::VecDeque;

/// How many writers a replica remembers. Replicas apply the same mutations in the same order, so
/// they remember the same.
pub const MAX_WRITERS: usize = 64;

/// Of how many of a writer's last mutations a replica remembers where they went. A writer whose
/// records the primary places has no more of them unacknowledged.
pub const WINDOW_DEPTH: usize = 8;

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

/// What is remembered of the writers of a chunk: what recognises repeats. The writer whose last
/// mutation is the longest ago comes first, and is forgotten where there is no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    writers: VecDeque<pb::WindowEntry>,
    forgot: bool,
}

impl Window {
    /// A window as another one was: [`Self::entries`] in their order, and [`Self::forgot`]. Of too
    /// many the first are forgotten.
    pub fn from_entries(entries: impl IntoIterator<Item = pb::WindowEntry>, forgot: bool) -> Self {
        let mut window = Self { writers: VecDeque::new(), forgot };
        for mut entry in entries {
            let surplus = entry.offsets.len().saturating_sub(WINDOW_DEPTH);
            entry.offsets.drain(..surplus);
            window.push(entry);
        }
        window
    }

    /// Remembers that a writer's mutation of this sequence went to `offset`.
    pub fn record(&mut self, writer: u64, sequence: u64, offset: u32) {
        let known = self.writers.iter().position(|entry| entry.writer == writer);
        let mut entry = known.and_then(|at| self.writers.remove(at)).unwrap_or_default();
        if entry.sequence + 1 != sequence {
            entry.offsets.clear();
        }
        if entry.offsets.len() == WINDOW_DEPTH {
            entry.offsets.remove(0);
        }
        entry.writer = writer;
        entry.sequence = sequence;
        entry.offsets.push(offset);
        self.push(entry);
    }

    fn push(&mut self, entry: pb::WindowEntry) {
        if self.writers.len() == MAX_WRITERS {
            self.writers.pop_front();
            self.forgot = true;
        }
        self.writers.push_back(entry);
    }

    /// What is remembered of this writer.
    #[must_use]
    pub fn of(&self, writer: u64) -> Option<&pb::WindowEntry> {
        self.writers.iter().rev().find(|entry| entry.writer == writer)
    }

    /// The last sequence of this writer; 0: none is remembered.
    #[must_use]
    pub fn last(&self, writer: u64) -> u64 {
        self.of(writer).map_or(0, |entry| entry.sequence)
    }

    /// Where this writer's mutation went, if that is remembered.
    #[must_use]
    pub fn offset(&self, writer: u64, sequence: u64) -> Option<u32> {
        let entry = self.of(writer)?;
        let back = usize::try_from(entry.sequence.checked_sub(sequence)?).ok()?;
        let at = entry.offsets.len().checked_sub(back + 1)?;
        entry.offsets.get(at).copied()
    }

    /// Where this writer's mutations through this sequence went, as far as that is remembered, the
    /// last one last.
    #[must_use]
    pub fn offsets_through(&self, writer: u64, through: u64) -> Vec<u32> {
        let Some(entry) = self.of(writer) else { return Vec::new() };
        let later = entry.sequence.saturating_sub(through);
        let later = usize::try_from(later).unwrap_or(usize::MAX);
        let count = entry.offsets.len().saturating_sub(later);
        entry.offsets.get(..count).unwrap_or_default().to_vec()
    }

    /// The writer that one more would make it forget.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        let full = self.writers.len() == MAX_WRITERS;
        self.writers.front().filter(|_| full).map(|entry| entry.writer)
    }

    /// Whether a writer was forgotten at some time: one that is not known may be it.
    #[must_use]
    pub const fn forgot(&self) -> bool {
        self.forgot
    }

    /// Every writer, the one first whose last mutation is the longest ago.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &pb::WindowEntry> {
        self.writers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writers_last_mutations_are_found_again() {
        let mut window = Window::default();
        for n in 1..=20 {
            window.record(7, n, n as u32 * 10);
            window.record(8, n, n as u32 * 10 + 5);
        }
        assert_eq!((window.last(7), window.last(8), window.last(9)), (20, 20, 0));
        assert_eq!(window.offset(7, 20), Some(200));
        assert_eq!(window.offset(8, 13), Some(135));
        assert_eq!(
            (window.offset(8, 12), window.offset(8, 21), window.offset(9, 1)),
            (None, None, None)
        );
        let copy = Window::from_entries(window.entries().cloned(), window.forgot());
        assert_eq!(copy, window);
    }

    #[test]
    fn the_writer_silent_for_longest_is_forgotten_and_that_is_known() {
        let mut window = Window::default();
        for writer in 0..MAX_WRITERS as u64 {
            assert_eq!(window.oldest(), None);
            window.record(writer, 1, 0);
        }
        window.record(0, 2, 1);
        assert_eq!((window.oldest(), window.forgot()), (Some(1), false));
        window.record(1_000, 1, 2);
        assert!(window.forgot() && window.of(1).is_none() && window.last(0) == 2);
        assert_eq!(window.entries().len(), MAX_WRITERS);
    }

    /// A forgotten writer that comes back, and goes on where it was.
    #[test]
    fn places_of_a_gap_are_not_made_up() {
        let mut window = Window::default();
        window.record(1, 1, 10);
        window.record(1, 5, 50);
        assert_eq!(
            (window.offset(1, 5), window.offset(1, 4), window.offset(1, 1)),
            (Some(50), None, None)
        );
    }
}
