//! How long the oldest disk operation has been under way: what tells a hanging disk from a busy
//! server. Kept in memory, so that heartbeats can say it while the disk hangs.

use gfs_types::Millis;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The disk operations under way on one volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct IoAges(Arc<Mutex<Running>>);

#[derive(Debug, Default)]
struct Running {
    next: u64,
    began: BTreeMap<u64, Millis>,
}

/// One operation, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Io {
    id: u64,
    ages: IoAges,
}

impl IoAges {
    /// An operation begins.
    pub(crate) fn begin(&self, now: Millis) -> Io {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.next += 1;
        let id = running.next;
        running.began.insert(id, now);
        drop(running);
        Io { id, ages: self.clone() }
    }

    /// Age of the oldest one, in milliseconds.
    pub(crate) fn oldest_ms(&self, now: Millis) -> u32 {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = running.began.values().next().copied();
        oldest.map_or(0, |began| u32::try_from(now.since(began).0).unwrap_or(u32::MAX))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.ages.0.lock().unwrap_or_else(PoisonError::into_inner).began.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_operation_counts() {
        let ages = IoAges::default();
        let first = ages.begin(Millis(100));
        let _second = ages.begin(Millis(300));
        assert_eq!(ages.oldest_ms(Millis(400)), 300);
        drop(first);
        assert_eq!(ages.oldest_ms(Millis(400)), 100);
    }
}
