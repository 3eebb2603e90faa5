//! How long the oldest disk operation has been under way: what tells a hanging disk from a busy
//! server. Kept in memory, so that heartbeats can say it while the disk hangs.

use gfs_types::Millis;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Time between two looks counts at most this much: a process that was stopped must not conclude
/// from its own silence that a disk was silent.
const MAX_LAPSE: Millis = Millis(250);

/// The disk operations under way on one volume. Their time is one of its own, which goes on with
/// [`Self::passed`] only.
#[derive(Clone, Debug, Default)]
pub(crate) struct IoAges {
    time: Arc<AtomicU64>,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    /// By when they began, and a number that tells those apart that began together.
    began: BTreeSet<(Millis, u64)>,
}

/// One operation, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Io {
    id: (Millis, u64),
    ages: IoAges,
}

impl IoAges {
    /// An operation begins that may well take this long.
    pub(crate) fn begin(&self, allowance: Millis) -> Io {
        let at = Millis(self.time.load(Ordering::Relaxed)) + allowance;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.next += 1;
        let id = (at, running.next);
        running.began.insert(id);
        drop(running);
        Io { id, ages: self.clone() }
    }

    /// Time passed. To be called several times a second.
    pub(crate) fn passed(&self, span: Millis) {
        self.time.fetch_add(span.min(MAX_LAPSE).0, Ordering::Relaxed);
    }

    /// Age of the oldest one, in milliseconds, exact to a call of [`Self::passed`].
    pub(crate) fn oldest_ms(&self) -> u32 {
        let now = Millis(self.time.load(Ordering::Relaxed));
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = running.began.first().copied();
        oldest.map_or(0, |(began, _)| u32::try_from(now.since(began).0).unwrap_or(u32::MAX))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.ages.running.lock().unwrap_or_else(PoisonError::into_inner).began.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_operation_counts() {
        let ages = IoAges::default();
        let first = ages.begin(Millis(0));
        ages.passed(Millis(200));
        let second = ages.begin(Millis(0));
        let _patient = ages.begin(Millis(1_000));
        ages.passed(Millis(100));
        assert_eq!(ages.oldest_ms(), 300);
        drop(first);
        assert_eq!(ages.oldest_ms(), 100);
        drop(second);
        assert_eq!(ages.oldest_ms(), 0, "it may take its time");
        for _ in 0..8 {
            ages.passed(Millis(200));
        }
        assert_eq!(ages.oldest_ms(), 700);
    }

    #[test]
    fn a_stopped_process_does_not_blame_its_disk() {
        let ages = IoAges::default();
        let _io = ages.begin(Millis(0));
        ages.passed(Millis(60_000));
        assert_eq!(ages.oldest_ms(), MAX_LAPSE.0 as u32);
    }
}
