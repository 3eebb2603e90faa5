//! Content that is known at every offset, and repeatable chance.

use bytes::{Bytes, BytesMut};

/// The content of a file: at each offset another one, for each seed another one, without an end.
/// Bytes that are lost, doubled, moved or another file's are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content(pub u64);

impl Content {
    /// `length` bytes from `offset` on.
    #[must_use]
    pub fn bytes(self, offset: u64, length: usize) -> Bytes {
        let mut all = BytesMut::with_capacity(length + 16);
        let mut word = offset / 8;
        let skip = (offset % 8) as usize;
        while all.len() < length + skip {
            all.extend_from_slice(&mix(self.0 ^ mix(word)).to_le_bytes());
            word += 1;
        }
        let mut wanted = all.freeze().split_off(skip);
        wanted.truncate(length);
        wanted
    }

    /// Where `found`, read from `offset` on, begins to differ; `None` if it does not.
    #[must_use]
    pub fn differs(self, offset: u64, found: &[u8]) -> Option<u64> {
        let expected = self.bytes(offset, found.len());
        if expected == found {
            return None;
        }
        let place = expected.iter().zip(found).position(|(a, b)| a != b);
        place.map(|place| offset + place as u64)
    }
}

/// SplitMix64: what the tests choose by. The same seed makes the same choices.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins with a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % limit.max(1)
    }
}

const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_a_part_of_the_whole_and_differences_are_found() {
        let content = Content(7);
        let whole = content.bytes(0, 100);
        assert_eq!(content.bytes(13, 50), whole.slice(13..63));
        assert_eq!(content.differs(13, &whole[13..63]), None);
        assert_eq!(content.differs(14, &whole[13..63]), Some(14));
        let mut bad = whole.to_vec();
        bad[42] ^= 1;
        assert_eq!(content.differs(0, &bad), Some(42));
        assert_ne!(Content(8).bytes(0, 100), whole);
    }
}
