//! Memory for pushed data: reserved when a stream is opened, or refused at once. A server that
//! waited for memory while it holds another chain's data could wait for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that one stream gets.
const MOST: u64 = 16 << 20;
/// The least that is worth a stream: two slices and a bit.
const LEAST: u64 = 3 << 20;
/// So many further streams shall still find credit.
const SHARE: u64 = 12;

/// A server's memory for pushed data.
#[derive(Clone, Debug)]
pub(crate) struct Credit {
    total: u64,
    used: Arc<AtomicU64>,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    bytes: u64,
    used: Arc<AtomicU64>,
}

impl Credit {
    /// So many bytes in all.
    pub(crate) fn new(total: u64) -> Self {
        Self { total, used: Arc::default() }
    }

    /// Credit for one stream: the more are open the less each gets. `None`: there is none left.
    pub(crate) fn reserve(&self) -> Option<Reserved> {
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let left = self.total.saturating_sub(used);
            let bytes = (left / SHARE).clamp(LEAST, MOST);
            if bytes > left {
                return None;
            }
            match self.used.compare_exchange_weak(
                used,
                used + bytes,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(Reserved { bytes, used: Arc::clone(&self.used) }),
                Err(now) => used = now,
            }
        }
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Reserved {
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes as u32
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_bounded_and_comes_back() {
        let credit = Credit::new(64 << 20);
        let mut held = Vec::new();
        while let Some(reserved) = credit.reserve() {
            assert!(u64::from(reserved.bytes()) >= LEAST);
            held.push(reserved);
        }
        assert!(credit.used() <= 64 << 20);
        assert!(held.len() >= SHARE as usize, "{}", held.len());
        held.pop();
        assert!(credit.reserve().is_some());
        held.clear();
        assert_eq!(credit.used(), 0);
    }
}
