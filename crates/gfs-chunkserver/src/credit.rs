//! Memory for pushed data: reserved when a stream is opened, or refused at once. A server that
//! waited for memory while it holds another chain's data could wait for itself.

use gfs_core::replica::IDLE_IN_NEED;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::node::lock;

/// The most that one stream gets, unless it needs more.
const MOST: u64 = 16 << 20;
/// The least that is worth a stream: two slices and a bit.
const LEAST: u64 = 3 << 20;
/// What a stream costs however little is enough for it.
const LITTLE: u64 = 64 << 10;
/// So many further streams shall still find credit.
const SHARE: u64 = 12;

/// A server's memory for pushed data.
#[derive(Debug)]
pub(crate) struct Credit {
    total: u64,
    used: Arc<Used>,
    /// When idle streams were last told to end.
    reclaimed: Mutex<Option<Millis>>,
}

#[derive(Debug, Default)]
struct Used {
    now: AtomicU64,
    peak: AtomicU64,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    bytes: u64,
    used: Arc<Used>,
}

impl Credit {
    /// So many bytes in all.
    pub(crate) fn new(total: u64) -> Self {
        Self { total, used: Arc::default(), reclaimed: Mutex::default() }
    }

    /// Credit for one stream that needs so many bytes at least, and no more than are `enough` for
    /// it, if that is not 0: the more are open the less each gets.
    ///
    /// # Errors
    /// NO_CREDIT when there is too little left now; OUT_OF_RANGE when there will never be enough.
    pub(crate) fn reserve(&self, need: u32, enough: u32) -> Result<Reserved, pb::ErrorDetail> {
        let enough = if enough == 0 { MOST } else { LITTLE.max(enough.into()) };
        let (least, total) = (LEAST.min(enough).max(u64::from(need)), self.total);
        if least > total {
            let text = format!(
                "a stream needs {least} bytes, this chunkserver has {total} for pushed data in all"
            );
            return Err(pb::ErrorDetail::new(ErrorCode::OutOfRange, text));
        }
        let mut used = self.used.now.load(Ordering::Relaxed);
        loop {
            let left = total.saturating_sub(used);
            let bytes = (left / SHARE).clamp(least, MOST.min(enough).max(least));
            if bytes > left {
                let text = "no memory for more pushed data on this chunkserver now";
                return Err(pb::ErrorDetail::new(ErrorCode::NoCredit, text));
            }
            let now = &self.used.now;
            match now.compare_exchange_weak(
                used,
                used + bytes,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    self.used.peak.fetch_max(used + bytes, Ordering::Relaxed);
                    return Ok(Reserved { bytes, used: Arc::clone(&self.used) });
                }
                Err(now) => used = now,
            }
        }
    }

    /// Whether idle streams are to be told to end now: more often than they become idle is no use.
    pub(crate) fn may_reclaim(&self, now: Millis) -> bool {
        let mut last = lock(&self.reclaimed);
        let may = last.is_none_or(|last| now.since(last).0 >= IDLE_IN_NEED.0 / 4);
        if may {
            *last = Some(now);
        }
        may
    }

    /// Bytes reserved now.
    pub(crate) fn used(&self) -> u64 {
        self.used.now.load(Ordering::Relaxed)
    }

    /// The most that were ever reserved at a time.
    pub(crate) fn peak(&self) -> u64 {
        self.used.peak.load(Ordering::Relaxed)
    }

    /// Bytes that may be.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

impl Reserved {
    pub(crate) const fn bytes(&self) -> u32 {
        self.bytes as u32
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.used.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_bounded_and_comes_back() {
        let credit = Credit::new(64 << 20);
        let mut held = Vec::new();
        let refused = loop {
            match credit.reserve(0, 0) {
                Ok(reserved) => {
                    assert!(u64::from(reserved.bytes()) >= LEAST);
                    held.push(reserved);
                }
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.error_code(), ErrorCode::NoCredit);
        assert!(credit.used() <= 64 << 20);
        assert_eq!(credit.peak(), credit.used());
        assert!(held.len() >= SHARE as usize, "{}", held.len());
        held.pop();
        assert!(credit.reserve(0, 0).is_ok());
        held.clear();
        assert_eq!(credit.used(), 0);
        assert!(credit.peak() > 0);
    }

    #[test]
    fn who_needs_much_gets_it_or_hears_that_it_never_will() {
        let credit = Credit::new(64 << 20);
        let small = credit.reserve(0, 0);
        assert!(small.is_ok_and(|reserved| reserved.bytes() < 8 << 20));
        let large = credit.reserve(20 << 20, 0);
        assert!(large.as_ref().is_ok_and(|reserved| reserved.bytes() == 20 << 20));
        let code =
            |refused: Result<Reserved, pb::ErrorDetail>| refused.err().map(|e| e.error_code());
        assert_eq!(code(credit.reserve(50 << 20, 0)), Some(ErrorCode::NoCredit));
        assert_eq!(code(credit.reserve(65 << 20, 0)), Some(ErrorCode::OutOfRange));
        drop(large);
        assert!(credit.reserve(50 << 20, 0).is_ok());
    }

    #[test]
    fn who_has_enough_with_little_leaves_the_rest_to_others() {
        let credit = Credit::new(64 << 20);
        let bytes = |need, enough| credit.reserve(need, enough).map_or(0, |r| r.bytes());
        assert_eq!(bytes(4 << 10, 256 << 10), 256 << 10);
        assert_eq!(bytes(1 << 20, 256 << 10), 1 << 20);
        assert_eq!(bytes(0, 1), 64 << 10);
        assert!(bytes(0, u32::MAX) > 3 << 20);
        let held: Vec<_> = (0..256).map(|_| credit.reserve(4 << 10, 256 << 10)).collect();
        assert!(held.iter().all(Result::is_ok) && credit.used() == 64 << 20);
    }

    #[test]
    fn idle_streams_are_not_looked_for_without_end() {
        let credit = Credit::new(1);
        assert!(credit.may_reclaim(Millis(1_000)));
        assert!(!credit.may_reclaim(Millis(1_010)));
        assert!(credit.may_reclaim(Millis(1_000) + IDLE_IN_NEED));
    }
}
