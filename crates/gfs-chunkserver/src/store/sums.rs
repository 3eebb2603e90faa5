//! From the checksums that a mutation came with to those of the blocks it goes to.
//!
//! What the writer's checksums cover stays covered: where they are cut as the blocks are, they are
//! combined; where a block's border lies inside one, both sides are computed here and must combine
//! to what was given. So damage in this process's memory is found here, or by the next reader.

use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, BlockSums, Crc};

/// A piece of a mutation as it came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The bytes.
    pub pieces: &'a [Bytes],
    /// Their checksums; the receiver verified them.
    pub sums: &'a BlockSums,
}

/// At what the checksums of a mutation's parts are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// At block borders of the chunk.
    Chunk,
    /// At multiples of a block's size within the mutation: its writer did not know where it goes.
    Mutation,
}

/// What a mutation puts into one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) len: u32,
    pub(super) crc: Crc,
}

impl Span {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len() as u32, crc: Crc::of(bytes) }
    }

    fn then(self, next: Self) -> Self {
        Self { len: self.len + next.len, crc: self.crc.combine(next.crc, next.len) }
    }
}

/// Why checksums are not those of a mutation's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Count,
    Value,
}

pub(super) fn total(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Cuts a mutation that goes to `offset` at the chunk's block borders. Its end lies below 4 GiB.
pub(super) fn spans(offset: u32, cut: Cut, parts: &[Part<'_>]) -> Result<Vec<Span>, Wrong> {
    let mut spans: Vec<Span> = Vec::new();
    let mut put = |at: u32, next: Span| match spans.last_mut() {
        Some(last) if !at.is_multiple_of(BLOCK_SIZE) => *last = last.then(next),
        _ => spans.push(next),
    };
    let mut at = offset;
    let mut place = if cut == Cut::Chunk { offset } else { 0 };
    for part in parts {
        let mut left = total(part.pieces) as u32;
        let mut bytes = Cursor(part.pieces, 0);
        let mut sums = part.sums.0.iter();
        while left > 0 {
            let len = left.min(BLOCK_SIZE - place % BLOCK_SIZE);
            let given = Span { len, crc: *sums.next().ok_or(Wrong::Count)? };
            let room = BLOCK_SIZE - at % BLOCK_SIZE;
            if len <= room {
                bytes.skip(len);
                put(at, given);
            } else {
                let (head, rest) = (bytes.take(room), bytes.take(len - room));
                if head.then(rest) != given {
                    return Err(Wrong::Value);
                }
                put(at, head);
                put(at + room, rest);
            }
            at += len;
            place += len;
            left -= len;
        }
        if sums.next().is_some() {
            return Err(Wrong::Count);
        }
    }
    Ok(spans)
}

/// Goes through bytes in several pieces.
struct Cursor<'a>(&'a [Bytes], usize);

impl Cursor<'_> {
    fn next(&mut self, most: usize) -> Option<&[u8]> {
        while self.0.first().is_some_and(|piece| piece.len() <= self.1) {
            self.0 = self.0.get(1..)?;
            self.1 = 0;
        }
        let piece = self.0.first()?;
        let begin = self.1;
        self.1 = piece.len().min(begin + most);
        piece.get(begin..self.1)
    }

    fn skip(&mut self, len: u32) {
        let mut left = len as usize;
        while left > 0
            && let Some(part) = self.next(left)
        {
            left -= part.len();
        }
    }

    fn take(&mut self, len: u32) -> Span {
        let (mut left, mut crc) = (len as usize, Crc::default());
        while left > 0
            && let Some(part) = self.next(left)
        {
            crc = crc.append(part);
            left -= part.len();
        }
        Span { len, crc }
    }
}

/// The checksums of the blocks that a mutation touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    /// Those of the blocks that are whole then, from the first one touched.
    pub(super) whole: Vec<Crc>,
    /// That of the last one, if the chunk ends in it.
    pub(super) tail: Option<Crc>,
}

/// Joins spans with what stays of the blocks that they do not cover: before them in the first one,
/// behind them in the last one.
pub(super) fn checksums(offset: u32, before: Crc, spans: &[Span], behind: Span) -> Checksums {
    let inside = Span { len: offset % BLOCK_SIZE, crc: before };
    let mut sums = Checksums { whole: Vec::with_capacity(spans.len()), tail: None };
    for (at, span) in spans.iter().enumerate() {
        let mut block = if at == 0 { inside.then(*span) } else { *span };
        if at + 1 == spans.len() {
            block = block.then(behind);
        }
        if block.len == BLOCK_SIZE {
            sums.whole.push(block.crc);
        } else {
            sums.tail = Some(block.crc);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: usize = BLOCK_SIZE as usize;

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| ((i + seed) * 31 % 251) as u8).collect()
    }

    /// Parts as a writer sends them: of this size, in two pieces each.
    fn parts(data: &[u8], size: usize, place: u32) -> Vec<(Vec<Bytes>, BlockSums)> {
        let mut place = place;
        let slices = data.chunks(size.max(1)).map(|slice| {
            let bytes = Bytes::copy_from_slice(slice);
            let cut = slice.len() / 3;
            let pieces = vec![bytes.slice(..cut), bytes.slice(cut..)];
            let sums = BlockSums::of(place, &pieces);
            place += slice.len() as u32;
            (pieces, sums)
        });
        slices.collect()
    }

    fn borrowed(parts: &[(Vec<Bytes>, BlockSums)]) -> Vec<Part<'_>> {
        parts.iter().map(|(pieces, sums)| Part { pieces, sums }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn the_blocks_get_the_checksums_of_their_bytes(
            offset in 0usize..200_000, len in 1usize..400_000, size in 1usize..5, behind in 0usize..BLOCK, append: bool,
        ) {
            let data = bytes(len, offset);
            let (cut, place) = if append { (Cut::Mutation, 0) } else { (Cut::Chunk, offset as u32) };
            let parts = parts(&data, size * 2 * BLOCK, place);
            let spans = spans(offset as u32, cut, &borrowed(&parts)).unwrap();
            let end = offset + len;
            prop_assert_eq!(spans.len(), end.div_ceil(BLOCK) - offset / BLOCK);

            let mut all = bytes(offset / BLOCK * BLOCK, 5);
            all.extend(bytes(offset % BLOCK, 9));
            let before = Crc::of(&all[offset / BLOCK * BLOCK..]);
            all.extend(&data);
            let behind = bytes(behind.min(end.next_multiple_of(BLOCK) - end), 11);
            all.extend(&behind);
            let sums = checksums(offset as u32, before, &spans, Span::of(&behind));
            let mut expected: Vec<Crc> = all.chunks(BLOCK).skip(offset / BLOCK).map(Crc::of).collect();
            let tail = if all.len().is_multiple_of(BLOCK) { None } else { expected.pop() };
            prop_assert_eq!(sums, Checksums { whole: expected, tail });
        }

        /// What the writer's checksums do not cover is refused wherever they are not stored as
        /// they are, and found by the next reader where they are.
        #[test]
        fn damage_on_the_way_is_found(offset in 0usize..200_000, len in 1usize..200_000, at: proptest::sample::Index) {
            let data = bytes(len, 1);
            let sound = parts(&data, 2 * BLOCK, 0);
            let mut damaged = data.clone();
            damaged[at.index(len)] ^= 4;
            let mut parts = parts(&damaged, 2 * BLOCK, 0);
            for (part, (_, sums)) in parts.iter_mut().zip(&sound) {
                part.1 = sums.clone();
            }
            match spans(offset as u32, Cut::Mutation, &borrowed(&parts)) {
                Err(wrong) => prop_assert_eq!(wrong, Wrong::Value),
                Ok(spans) => {
                    let good = super::spans(offset as u32, Cut::Mutation, &borrowed(&sound)).unwrap();
                    prop_assert_eq!(spans, good);
                }
            }
        }
    }

    #[test]
    fn too_few_and_too_many_checksums_are_refused() {
        let data = bytes(3 * BLOCK, 0);
        for change in [-1i32, 1] {
            let mut parts = parts(&data, 2 * BLOCK, 0);
            match change {
                1 => parts[0].1.0.push(Crc(1)),
                _ => drop(parts[0].1.0.pop()),
            }
            assert_eq!(spans(0, Cut::Chunk, &borrowed(&parts)), Err(Wrong::Count));
        }
    }
}
