//! Bytes in several pieces, written to the socket without being joined.

use std::io::IoSlice;
use std::vec;

use bytes::{Buf, Bytes};

/// A buffer of several pieces of memory, handed to the socket in one vectored write.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    first: Bytes,
    rest: vec::IntoIter<Bytes>,
    remaining: usize,
}

impl Pieces {
    /// The pieces in order; empty ones are harmless.
    pub(crate) fn new(first: Bytes, rest: Vec<Bytes>) -> Self {
        let remaining = first.len() + rest.iter().map(Bytes::len).sum::<usize>();
        let mut pieces = Self { first, rest: rest.into_iter(), remaining };
        pieces.skip_empty();
        pieces
    }

    fn skip_empty(&mut self) {
        while self.first.is_empty() {
            match self.rest.next() {
                Some(next) => self.first = next,
                None => break,
            }
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes, Vec::new())
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let pieces = std::iter::once(&self.first).chain(self.rest.as_slice());
        let mut filled = 0;
        for (slot, piece) in into.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// # Panics
    /// When `count` exceeds [`remaining`](Buf::remaining), as the trait demands.
    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advanced past the end");
        self.remaining -= count;
        loop {
            let step = count.min(self.first.len());
            self.first.advance(step);
            count -= step;
            self.skip_empty();
            if count == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &Pieces) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = pieces.chunks_vectored(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn advances_across_pieces_and_skips_empty_ones() {
        let parts: [&'static [u8]; 5] = [b"", b"abc", b"", b"de", b""];
        let whole = b"abcde";
        for step in 1..=5 {
            let rest = parts.iter().map(|part| Bytes::from_static(part)).collect();
            let mut pieces = Pieces::new(Bytes::new(), rest);
            let mut at = 0;
            while pieces.has_remaining() {
                assert_eq!(joined(&pieces), &whole[at..]);
                assert!(!pieces.chunk().is_empty());
                let count = step.min(pieces.remaining());
                pieces.advance(count);
                at += count;
            }
            assert_eq!(at, whole.len());
            assert!(joined(&pieces).is_empty());
        }
    }

    #[test]
    fn fills_no_more_slices_than_given() {
        let pieces = Pieces::new(Bytes::from_static(b"a"), vec![Bytes::from_static(b"b"); 3]);
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(pieces.chunks_vectored(&mut slices), 2);
        assert_eq!(pieces.remaining(), 4);
    }
}
