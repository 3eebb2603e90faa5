//! Where time comes from. Nothing else in a shell reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};

use gfs_types::{Millis, WallMillis};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A source of time, handed to whatever needs one.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time. It advances while the machine is suspended, so that a lease does not
    /// outlive its span by as long as the machine slept.
    fn now(&self) -> Millis;

    /// The time of day, for people to read. No decision may rest on it.
    fn wall(&self) -> WallMillis;
}

/// The machine's clocks: `CLOCK_BOOTTIME` and `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        Millis(millis(clock_gettime(ClockId::Boottime)))
    }

    fn wall(&self) -> WallMillis {
        WallMillis(millis(clock_gettime(ClockId::Realtime)))
    }
}

/// A time before the clock's origin (a machine whose date is before 1970) reads as the origin.
fn millis(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// A clock that stands still until a test moves it. Both times advance together.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn at(now: Millis) -> Self {
        Self { now: AtomicU64::new(now.0) }
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Millis) {
        self.now.fetch_add(span.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.now.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallMillis {
        WallMillis(self.now.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_runs_forward_and_knows_the_year() {
        let before = SystemClock.now();
        while SystemClock.now() == before {
            std::hint::spin_loop();
        }
        assert!(SystemClock.now() > before);
        // 2024-01-01 .. 2100-01-01
        assert!((1_704_067_200_000..4_102_444_800_000).contains(&SystemClock.wall().0));
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(Millis(5));
        assert_eq!(clock.now(), Millis(5));
        clock.advance(Millis(7));
        assert_eq!(clock.now(), Millis(12));
    }
}
