//! Buffers that are used again: memory that the allocator hands back and maps anew costs a page
//! fault per 4 KiB, more than copying the bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Bytes of a buffer: the largest slice.
pub(crate) const BUFFER: usize = 1 << 20;

/// Free buffers that are kept.
const MOST: usize = 32;

/// Buffers that are free, at most 32 MiB.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<BytesMut>>,
}

impl Buffers {
    fn free(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer with room for [`BUFFER`] bytes.
    pub(crate) fn take(&self) -> BytesMut {
        self.free().pop().unwrap_or_else(|| BytesMut::with_capacity(BUFFER))
    }

    /// Takes a piece back, if it is a whole buffer that nobody else holds.
    pub(crate) fn give(&self, piece: Bytes) {
        if let Ok(mut buffer) = piece.try_into_mut() {
            buffer.clear();
            if buffer.capacity() == BUFFER {
                let mut free = self.free();
                if free.len() < MOST {
                    free.push(buffer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_buffers_come_back_and_shared_ones_do_not() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"abc");
        let address = buffer.as_ptr();
        let piece = buffer.freeze();
        let shared = piece.clone();
        buffers.give(piece);
        assert!(buffers.free().is_empty());
        buffers.give(shared);
        let again = buffers.take();
        assert_eq!((again.len(), again.as_ptr()), (0, address));
        buffers.give(Bytes::from_static(b"small"));
        assert!(buffers.free().is_empty());
    }
}
