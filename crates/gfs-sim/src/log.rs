//! What happened, line by line. The hash over all lines tells whether two runs were the same; the
//! lines themselves are kept only on demand.

use crate::clock::Time;
use std::fmt::{Arguments, Write};

/// The log of a run.
#[derive(Debug)]
pub struct Log {
    hash: u64,
    count: u64,
    line: String,
    kept: Option<Vec<String>>,
}

impl Log {
    /// An empty log that keeps its lines or not.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        // FNV-1a: defined by two numbers, the same on every platform and in every release.
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            line: String::new(),
            kept: keep.then(Vec::new),
        }
    }

    /// Appends a line.
    pub fn line(&mut self, now: Time, text: Arguments<'_>) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.line, "{:>10} {text}", now.0);
        for byte in self.line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    /// Hash over all lines so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines so far.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
