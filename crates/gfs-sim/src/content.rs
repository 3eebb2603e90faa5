//! What files contain: bytes that follow from a number and the offset, so that every byte can be
//! checked wherever it turns up, and no two places have the same.

use bytes::{Bytes, BytesMut};

fn mix(mut x: u64) -> u64 {
    // splitmix64
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One number made of two.
#[must_use]
pub fn key(one: u64, other: u64) -> u64 {
    mix(one) ^ mix(other.wrapping_add(1) << 20)
}

/// The bytes of a content (named by any number) from an offset on.
#[must_use]
pub fn bytes(key: u64, offset: u64, length: usize) -> Bytes {
    let mut out = Vec::with_capacity(length + 16);
    let skip = (offset % 8) as usize;
    let mut word = offset / 8;
    let base = mix(key);
    while out.len() < length + skip {
        out.extend_from_slice(&mix(base ^ word).to_le_bytes());
        word += 1;
    }
    Bytes::from(out).slice(skip..skip + length)
}

/// Where these bytes first differ from what is expected, as an index.
#[must_use]
pub fn difference(expected: &[u8], found: &[u8]) -> Option<usize> {
    if expected == found {
        return None;
    }
    let at = expected.iter().zip(found).position(|(a, b)| a != b);
    Some(at.unwrap_or(expected.len().min(found.len())))
}

/// A file that is written from its beginning to its end, cut, extended by zeros, and written on:
/// which content begins where.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// File offsets with the content from there on; `None`: zeros. In order.
    parts: Vec<(u64, Option<u64>)>,
    /// Contents made.
    minted: u64,
}

impl Layout {
    /// From here on something new is written.
    pub fn begin(&mut self, file: u64, offset: u64) {
        self.minted += 1;
        self.cut(offset);
        self.parts.push((offset, Some(key(file, self.minted))));
    }

    /// What is behind is cut off.
    pub fn cut(&mut self, offset: u64) {
        self.parts.retain(|(start, _)| *start < offset);
    }

    /// From here on there are zeros.
    pub fn extend(&mut self, offset: u64) {
        self.cut(offset);
        self.parts.push((offset, None));
    }

    /// The bytes of a range. (Before the first part there is nothing to be found.)
    #[must_use]
    pub fn bytes(&self, offset: u64, length: usize) -> Bytes {
        let end = offset + length as u64;
        let mut out = BytesMut::with_capacity(length);
        for (index, (start, content)) in self.parts.iter().enumerate() {
            let next = self.parts.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
            let (from, to) = (offset.max(*start), end.min(next));
            if from >= to {
                continue;
            }
            let count = (to - from) as usize;
            match content {
                Some(content) => out.extend_from_slice(&bytes(*content, from, count)),
                None => out.resize(out.len() + count, 0),
            }
        }
        out.freeze()
    }

    /// Where these bytes first differ from what the file contains at the offset.
    #[must_use]
    pub fn difference(&self, offset: u64, found: &[u8]) -> Option<u64> {
        let expected = self.bytes(offset, found.len());
        difference(&expected, found).map(|at| offset + at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_file_and_offset() {
        let whole = bytes(7, 0, 1000);
        assert_eq!(whole.slice(13..500), bytes(7, 13, 487));
        assert_ne!(whole, bytes(8, 0, 1000));
        let mut wrong = whole.to_vec();
        assert_eq!(difference(&whole, &wrong), None);
        wrong[40] ^= 1;
        assert_eq!(difference(&whole, &wrong), Some(40));
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let mut layout = Layout::default();
        layout.begin(7, 0);
        let first = layout.bytes(0, 500);
        layout.cut(100);
        layout.extend(100);
        layout.begin(7, 300);
        let all = layout.bytes(0, 500);
        assert_eq!(all[..100], first[..100]);
        assert_eq!(all[100..300], [0; 200]);
        assert_ne!(all[300..], first[300..]);
        assert_eq!(layout.bytes(90, 220), all.slice(90..310));
        assert_eq!(layout.difference(90, &all[90..310]), None);
        assert_eq!(layout.difference(290, &first[290..310]), Some(290));
    }
}
