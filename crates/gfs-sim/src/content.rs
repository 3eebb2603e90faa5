//! What files contain: bytes that follow from the file and the offset, so that every byte can be
//! checked wherever it turns up, and no two places have the same.

use bytes::Bytes;

fn mix(mut x: u64) -> u64 {
    // splitmix64
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The bytes of a file (named by any number) from an offset on.
#[must_use]
pub fn bytes(file: u64, offset: u64, length: usize) -> Bytes {
    let mut out = Vec::with_capacity(length + 16);
    let skip = (offset % 8) as usize;
    let mut word = offset / 8;
    let base = mix(file);
    while out.len() < length + skip {
        out.extend_from_slice(&mix(base ^ word).to_le_bytes());
        word += 1;
    }
    Bytes::from(out).slice(skip..skip + length)
}

/// Where these bytes first differ from what the file contains at the offset.
#[must_use]
pub fn difference(file: u64, offset: u64, found: &[u8]) -> Option<u64> {
    let expected = bytes(file, offset, found.len());
    if expected == found {
        return None;
    }
    let at = expected.iter().zip(found).position(|(a, b)| a != b)?;
    Some(offset + at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_file_and_offset() {
        let whole = bytes(7, 0, 1000);
        assert_eq!(whole.slice(13..500), bytes(7, 13, 487));
        assert_ne!(whole, bytes(8, 0, 1000));
        assert_eq!(difference(7, 13, &whole[13..]), None);
        let mut wrong = whole.to_vec();
        wrong[40] ^= 1;
        assert_eq!(difference(7, 0, &wrong), Some(40));
    }
}
