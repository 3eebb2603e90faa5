//! How far a transfer is, and how long it ever stood still.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The progress of one transfer of many files.
///
/// A *stall* is the time between two steps of one file's stream, from its opening to its end: with
/// several streams under way the others' progress must not hide that one stands still.
#[derive(Debug)]
pub struct Meter {
    name: &'static str,
    total: u64,
    done: AtomicU64,
    begun: Instant,
    stall: Mutex<Stall>,
}

/// The longest stall.
#[derive(Clone, Debug, Default)]
pub struct Stall {
    /// How long.
    pub span: Duration,
    /// Of which file.
    pub file: String,
    /// How many bytes of it had passed.
    pub at: u64,
}

impl Meter {
    /// A transfer of `total` bytes that begins now.
    #[must_use]
    pub fn new(name: &'static str, total: u64) -> Self {
        let begun = Instant::now();
        Self { name, total, done: AtomicU64::new(0), begun, stall: Mutex::default() }
    }

    /// What is transferred.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes to transfer.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that have passed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The part of the bytes that has passed, in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.total == 0 {
            return 100.0;
        }
        self.done() as f64 * 100.0 / self.total as f64
    }

    /// Bytes passed so far, in MB (10⁶ bytes) for each second since the begin.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.done() as f64 / 1e6 / seconds.max(1e-9)
    }

    /// How long it has been under way.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The longest stall so far.
    #[must_use]
    pub fn stall(&self) -> Stall {
        self.stall.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins the stream of one file. It ends when dropped.
    #[must_use]
    pub fn stream<'a>(&'a self, file: &'a str) -> Stream<'a> {
        Stream { meter: self, file, at: 0, last: Instant::now() }
    }
}

/// One file's way through a transfer.
#[derive(Debug)]
pub struct Stream<'a> {
    meter: &'a Meter,
    file: &'a str,
    at: u64,
    last: Instant,
}

impl Stream<'_> {
    /// `bytes` more have passed.
    pub fn step(&mut self, bytes: usize) {
        let now = Instant::now();
        self.note(now);
        self.last = now;
        self.at += bytes as u64;
        self.meter.done.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn note(&self, now: Instant) {
        let span = now.duration_since(self.last);
        let mut longest = self.meter.stall.lock().unwrap_or_else(PoisonError::into_inner);
        if span > longest.span {
            *longest = Stall { span, file: self.file.to_owned(), at: self.at };
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.note(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_stall_of_any_stream_counts() {
        let meter = Meter::new("put", 300);
        let mut slow = meter.stream("slow");
        slow.step(100);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(30) {
            // The other stream's progress does not hide that this one stands still.
            meter.stream("fast").step(0);
        }
        slow.step(50);
        drop(slow);
        let stall = meter.stall();
        assert!(stall.span >= Duration::from_millis(30), "{stall:?}");
        assert_eq!((stall.file.as_str(), stall.at), ("slow", 100));
        assert!((meter.percent() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_stream_that_ends_after_a_wait_has_stalled_too() {
        let meter = Meter::new("get", 1);
        let stream = meter.stream("late");
        std::thread::sleep(Duration::from_millis(5));
        drop(stream);
        assert!(meter.stall().span >= Duration::from_millis(5));
    }
}
