//! How far a transfer is: a bar on a terminal, plain lines otherwise, nothing when asked to be
//! quiet. Always on the standard error stream.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::bytes;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of one command.
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: Option<Mutex<Instant>>,
    verb: &'static str,
    begun: Instant,
    total: AtomicU64,
    done: AtomicU64,
    files: AtomicU64,
    quiet: bool,
}

impl Progress {
    /// A command that has not moved anything yet. `verb` is shown: `stored`.
    pub(crate) fn new(verb: &'static str, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal && !quiet {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template(
            "{bar:30} {binary_bytes} of {binary_total_bytes} {binary_bytes_per_sec} {eta} {msg}",
        );
        let bar = ProgressBar::with_draw_target(Some(0), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            plain: (!terminal && !quiet).then(|| Mutex::new(Instant::now())),
            verb,
            begun: Instant::now(),
            total: AtomicU64::new(0),
            done: AtomicU64::new(0),
            files: AtomicU64::new(0),
            quiet,
        }
    }

    /// So many bytes more are to be moved.
    pub(crate) fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc_length(bytes);
    }

    /// So many bytes were moved.
    pub(crate) fn moved(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        self.bar.inc(count);
        if let Some(last) = &self.plain
            && let Ok(mut last) = last.try_lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let total = self.total.load(Ordering::Relaxed);
            eprintln!("{} {} of {}", self.verb, bytes(done), bytes(total.max(done)));
        }
    }

    /// A file is complete.
    pub(crate) fn file_done(&self, name: &str) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bar.set_message(
            name.chars().rev().take(40).collect::<Vec<_>>().iter().rev().collect::<String>(),
        );
    }

    /// The end, where the result says all.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The summary at the end.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        if !self.quiet {
            let (files, done) =
                (self.files.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed));
            let seconds = self.begun.elapsed().as_secs_f64().max(0.001);
            let rate = bytes((done as f64 / seconds) as u64);
            let plural = if files == 1 { "" } else { "s" };
            eprintln!(
                "{} {files} file{plural}, {} in {seconds:.1} s ({rate}/s)",
                self.verb,
                bytes(done)
            );
        }
    }
}
