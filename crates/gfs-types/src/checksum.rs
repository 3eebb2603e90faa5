//! CRC-32C (Castagnoli), the one checksum of GFS: per piece of a slice on the wire, per block of
//! [`BLOCK_SIZE`] bytes on disk, end to end from the writing to the reading client.

use crate::BLOCK_SIZE;
use bytes::Bytes;

/// A CRC-32C value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Crc(pub u32);

impl Crc {
    /// The checksum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(crc32c::crc32c(bytes))
    }

    /// The checksum of what this covers followed by `bytes`.
    #[must_use]
    pub fn append(self, bytes: &[u8]) -> Self {
        Self(crc32c::crc32c_append(self.0, bytes))
    }

    /// The checksum of what this covers followed by `len` bytes whose checksum is `other`.
    #[must_use]
    pub fn combine(self, other: Self, len: u32) -> Self {
        // Of nothing before, as for every first part of a block.
        if self.0 == 0 { other } else { Self(times(zeros(len), self.0) ^ other.0) }
    }
}

/// The polynomial of CRC-32C, bits reversed: the highest bit is the coefficient of x^0, as in all
/// that follows.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x^(8 * 2^k) modulo the polynomial: what 2^k bytes of zeros do to a checksum.
const SHIFTS: [u32; 32] = {
    let mut shifts = [0; 32];
    shifts[0] = 1 << (31 - 8);
    let mut k = 1;
    while k < 32 {
        shifts[k] = times(shifts[k - 1], shifts[k - 1]);
        k += 1;
    }
    shifts
};

/// The product of two polynomials modulo that of CRC-32C.
const fn times(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 1 << 31);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 0 { b >> 1 } else { b >> 1 ^ POLYNOMIAL };
        bit >>= 1;
    }
    product
}

/// What `len` bytes of zeros do to a checksum, as a factor (zlib 1.2.12: `crc32_combine_gen`; more
/// than ten times as fast as squaring matrices, which costs more than the checksum of a block).
fn zeros(len: u32) -> u32 {
    let factors = SHIFTS.iter().enumerate().filter(|(k, _)| len >> k & 1 != 0);
    factors.fold(1 << 31, |product, (_, factor)| times(*factor, product))
}

/// The checksum of bytes that lie in several pieces.
#[must_use]
pub fn crc_of(pieces: &[Bytes]) -> Crc {
    pieces.iter().fold(Crc::default(), |crc, piece| crc.append(piece))
}

/// The checksums of the *parts* of a range of a chunk that starts at any offset: the range cut at
/// block borders, one checksum per part. This is what travels with a slice: the sender and each
/// hop verify parts, and a part that is a whole block goes to disk as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockSums(pub Vec<Crc>);

impl BlockSums {
    /// The checksums of `pieces`, which start at `offset` (bytes within the chunk).
    #[must_use]
    pub fn of(offset: u32, pieces: &[Bytes]) -> Self {
        let mut sums = Vec::new();
        let mut crc = Crc::default();
        let mut room = BLOCK_SIZE - offset % BLOCK_SIZE;
        let mut open = false;
        for piece in pieces {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let (part, tail) = rest.split_at(rest.len().min(room as usize));
                crc = crc.append(part);
                open = true;
                room -= part.len() as u32;
                rest = tail;
                if room == 0 {
                    sums.push(std::mem::take(&mut crc));
                    room = BLOCK_SIZE;
                    open = false;
                }
            }
        }
        if open {
            sums.push(crc);
        }
        Self(sums)
    }

    /// How many parts `len` bytes at `offset` have.
    #[must_use]
    pub const fn parts(offset: u32, len: u32) -> u32 {
        if len == 0 {
            return 0;
        }
        (offset as u64 + len as u64).div_ceil(BLOCK_SIZE as u64) as u32 - offset / BLOCK_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_value() {
        // RFC 3720 B.4: 32 bytes of zeros.
        assert_eq!(Crc::of(&[0; 32]), Crc(0x8a91_36aa));
    }

    proptest! {
        #[test]
        fn parts_are_cut_at_block_borders(offset in 0u32..300_000, len in 0usize..300_000, cut in 0usize..300_000) {
            let data = Bytes::from((0..len).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>());
            let cut = cut.min(len);
            let sums = BlockSums::of(offset, &[data.slice(..cut), data.slice(cut..)]);
            prop_assert_eq!(sums.0.len() as u32, BlockSums::parts(offset, len as u32));
            let mut at = 0usize;
            for sum in sums.0 {
                let block = BLOCK_SIZE as usize;
                let end = len.min(at + block - (offset as usize + at) % block);
                prop_assert_eq!(sum, Crc::of(&data[at..end]));
                at = end;
            }
            prop_assert_eq!(at, len);
        }

        #[test]
        fn combining_is_appending(a in proptest::collection::vec(any::<u8>(), 0..100), b in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(Crc::of(&a).combine(Crc::of(&b), b.len() as u32), Crc::of(&a).append(&b));
        }

        #[test]
        fn combining_over_any_length_is_what_the_library_does(a: u32, b: u32, len: u32) {
            prop_assert_eq!(Crc(a).combine(Crc(b), len).0, crc32c::crc32c_combine(a, b, len as usize));
        }
    }
}
