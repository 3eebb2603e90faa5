//! Is the process alive, and is it ready? Two questions with different consequences: a process that
//! is not alive gets restarted, one that is not ready gets no new callers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gfs_types::Millis;

use crate::clock::Clock;

/// The health of one process. Clones share it.
///
/// It is *alive* while every [`Pulse`] beats: liveness asks whether loops go round, not whether
/// peers answer or disks work, since a restart heals neither. It is *ready* while every
/// [`Condition`] holds.
#[derive(Clone)]
pub struct Health {
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    pulses: BTreeMap<&'static str, Watched>,
    conditions: BTreeMap<&'static str, Option<String>>,
}

struct Watched {
    limit: Millis,
    last: Arc<AtomicU64>,
}

impl Health {
    /// Health with nothing to watch: alive and ready.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: Arc::default() }
    }

    /// Watches a loop: the process counts as stuck when it did not beat for `limit`. The first beat
    /// is now. A name used again replaces its predecessor.
    #[must_use = "a pulse nobody beats makes the process look stuck"]
    pub fn pulse(&self, name: &'static str, limit: Millis) -> Pulse {
        let last = Arc::new(AtomicU64::new(self.clock.now().0));
        let watched = Watched { limit, last: Arc::clone(&last) };
        self.lock().pulses.insert(name, watched);
        Pulse { name, last, health: self.clone() }
    }

    /// Adds a condition of readiness that does not hold yet, for this reason.
    #[must_use = "a condition nobody sets makes the process unready for ever"]
    pub fn condition(&self, name: &'static str, reason: &str) -> Condition {
        self.lock().conditions.insert(name, Some(reason.to_owned()));
        Condition { name, health: self.clone() }
    }

    /// Whether every loop goes round.
    ///
    /// # Errors
    /// Says which loops are stuck, and for how long.
    pub fn alive(&self) -> Result<(), String> {
        let now = self.clock.now();
        let shared = self.lock();
        let stuck = shared.pulses.iter().filter_map(|(name, pulse)| {
            let silent = now.since(Millis(pulse.last.load(Ordering::Relaxed)));
            (silent > pulse.limit).then(|| format!("{name} made no progress for {silent}"))
        });
        none_of(stuck)
    }

    /// Whether every condition holds.
    ///
    /// # Errors
    /// Says which conditions do not, and why.
    pub fn ready(&self) -> Result<(), String> {
        let shared = self.lock();
        let unmet = shared
            .conditions
            .iter()
            .filter_map(|(name, reason)| reason.as_ref().map(|reason| format!("{name}: {reason}")));
        none_of(unmet)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn none_of(reasons: impl Iterator<Item = String>) -> Result<(), String> {
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
}

/// A loop's sign of life. Dropping it does not end the watch: a loop that is gone makes no progress.
pub struct Pulse {
    name: &'static str,
    last: Arc<AtomicU64>,
    health: Health,
}

impl Pulse {
    /// Says that the loop went round. Costs a clock reading.
    pub fn beat(&self) {
        self.last.store(self.health.clock.now().0, Ordering::Relaxed);
    }

    /// Ends the watch, since the loop ends on purpose.
    pub fn retire(self) {
        self.health.lock().pulses.remove(self.name);
    }
}

/// One of the things that must be so for the process to be ready.
pub struct Condition {
    name: &'static str,
    health: Health,
}

impl Condition {
    /// It is so.
    pub fn hold(&self) {
        self.set(None);
    }

    /// It is not so, for this reason.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        self.health.lock().conditions.insert(self.name, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_loop_that_stops_is_noticed_and_one_that_goes_on_is_not() {
        let clock = Arc::new(ManualClock::at(Millis(1000)));
        let health = Health::new(clock.clone());
        let (one, two) = (health.pulse("one", Millis(100)), health.pulse("two", Millis(500)));
        clock.advance(Millis(100));
        assert_eq!(health.alive(), Ok(()));
        clock.advance(Millis(1));
        assert_eq!(health.alive(), Err("one made no progress for 0.101 s".to_owned()));
        one.beat();
        assert_eq!(health.alive(), Ok(()));
        drop(two);
        clock.advance(Millis(1000));
        assert!(health.alive().is_err_and(|e| e.contains("one") && e.contains("two")));
        one.retire();
        assert!(health.alive().is_err_and(|e| !e.contains("one")));
    }

    #[test]
    fn ready_means_that_all_conditions_hold() {
        let health = Health::new(Arc::new(ManualClock::default()));
        assert_eq!(health.ready(), Ok(()));
        let registered = health.condition("registered", "no master answered yet");
        let mounted = health.condition("mounted", "volume is not open");
        registered.hold();
        assert_eq!(health.ready(), Err("mounted: volume is not open".to_owned()));
        mounted.hold();
        assert_eq!(health.ready(), Ok(()));
        registered.fail("refused");
        assert_eq!(health.ready(), Err("registered: refused".to_owned()));
    }
}
