//! Buffers for reads, used again: fresh memory costs page faults, more than the read itself.

use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, MAX_SLICE};
use std::sync::{Arc, Mutex, PoisonError};

/// Holds a slice at any offset, widened to whole blocks.
const BUFFER: usize = (MAX_SLICE + BLOCK_SIZE) as usize;

/// Reads up to this take memory of their exact size.
const SMALL: usize = 4 * BLOCK_SIZE as usize;

type Idle = Arc<Mutex<Vec<Vec<u8>>>>;

/// Keeps up to `limit` buffers that are not in use.
#[derive(Debug)]
pub(crate) struct BufferPool {
    idle: Idle,
    limit: usize,
}

/// A buffer that goes back to its pool when the last [`Bytes`] made from it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Option<(Idle, usize)>,
}

impl BufferPool {
    pub(crate) fn new(limit: usize) -> Self {
        Self { idle: Arc::default(), limit }
    }

    /// A buffer of `len` bytes with any content.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        if len <= SMALL || len > BUFFER {
            return Buffer { bytes: vec![0; len], len, pool: None };
        }
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BUFFER]);
        Buffer { bytes, len, pool: Some((Arc::clone(&self.idle), self.limit)) }
    }
}

impl Buffer {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len.min(self.bytes.len());
        &mut self.bytes[..len]
    }

    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some((idle, limit)) = self.pool.take() {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < limit {
                idle.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_no_more_than_the_limit_are_kept() {
        let pool = BufferPool::new(1);
        let mut first = pool.take(MAX_SLICE as usize);
        first.bytes_mut()[0] = 7;
        let second = pool.take(MAX_SLICE as usize);
        let frozen = first.freeze();
        let slice = frozen.slice(..1);
        drop(frozen);
        assert_eq!(pool.idle.lock().unwrap().len(), 0, "still in use");
        assert_eq!((&slice[..], second.as_ref().len()), (&[7][..], MAX_SLICE as usize));
        drop(slice);
        drop(second);
        assert_eq!(pool.idle.lock().unwrap().len(), 1);
        assert_eq!(pool.take(10).as_ref(), [0; 10]);
    }
}
