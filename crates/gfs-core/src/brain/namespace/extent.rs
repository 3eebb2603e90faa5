//! An extent of a file: a chunk, or a hole. 8 bytes either way: a hole needs no entry in the chunk
//! table, nor a handle.

use gfs_types::ChunkHandle;
use smallvec::SmallVec;

/// The extents of a file, in order.
pub(crate) type Extents = SmallVec<[Extent; 2]>;

/// A chunk by its handle (which is below 2^63), or a hole: bit 63, then in 32 bits how many extents
/// lie between it and the last chunk before it (or the beginning), then in 31 bits its length.
///
/// All of these are as long as a chunk can be: a hole is followed by a hole only if it is full, and
/// what a hole becomes when somebody writes into it has its length. So where a hole begins follows
/// from that one chunk, however many holes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent(u64);

/// A hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Bytes, 1 up to the size of a chunk.
    pub(crate) length: u32,
    /// Extents between it and the chunk that its place is counted from, or the beginning.
    pub(crate) after: u32,
}

const HOLE: u64 = 1 << 63;
const LENGTH: u64 = (1 << 31) - 1;

impl Extent {
    /// A chunk.
    pub(crate) fn chunk(handle: ChunkHandle) -> Self {
        Self(handle.0 & !HOLE)
    }

    /// A hole.
    pub(crate) fn hole(hole: Hole) -> Self {
        Self(HOLE | u64::from(hole.after) << 31 | u64::from(hole.length) & LENGTH)
    }

    /// The hole that goes behind these extents.
    pub(crate) fn next_hole(before: &[Self], length: u32) -> Self {
        let after = match before.last().and_then(|last| last.as_hole()) {
            Some(hole) => hole.after.saturating_add(1),
            None => 0,
        };
        Self::hole(Hole { length, after })
    }

    /// The chunk, if it is one.
    pub(crate) fn handle(self) -> Option<ChunkHandle> {
        (self.0 & HOLE == 0).then_some(ChunkHandle(self.0))
    }

    /// The hole, if it is one.
    pub(crate) fn as_hole(self) -> Option<Hole> {
        (self.0 & HOLE != 0)
            .then_some(Hole { length: (self.0 & LENGTH) as u32, after: (self.0 >> 31) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::MAX_CHUNK_SIZE;

    #[test]
    fn an_extent_is_a_chunk_or_a_hole_in_8_bytes() {
        assert_eq!(size_of::<Extent>(), 8);
        let chunk = Extent::chunk(ChunkHandle(7));
        assert_eq!((chunk.handle(), chunk.as_hole()), (Some(ChunkHandle(7)), None));
        for (length, after) in [(1, 0), (MAX_CHUNK_SIZE, u32::MAX), (65_536, 3)] {
            let hole = Hole { length, after };
            let extent = Extent::hole(hole);
            assert_eq!((extent.handle(), extent.as_hole()), (None, Some(hole)));
        }
        let mut extents = vec![chunk];
        for after in 0..3 {
            let next = Extent::next_hole(&extents, 9);
            assert_eq!(next.as_hole(), Some(Hole { length: 9, after }));
            extents.push(next);
        }
        assert_eq!(Extent::next_hole(&[], 9).as_hole(), Some(Hole { length: 9, after: 0 }));
    }
}
