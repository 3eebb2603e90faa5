//! What is seen of the demo: lines, and below them bars of the transfers under way. Without a
//! terminal the bars become plain lines.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::meter::Meter;

const REDRAW: Duration = Duration::from_millis(100);
/// Between two plain lines of a transfer.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The terminal, or whatever the output goes to.
#[derive(Clone, Debug)]
pub struct Screen {
    bars: Option<MultiProgress>,
    begun: Instant,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// The standard output.
    #[must_use]
    pub fn new() -> Self {
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Self { bars: terminal.then(MultiProgress::new), begun: Instant::now() }
    }

    /// The title of an act.
    pub fn title(&self, title: &str) {
        self.line("");
        self.line(&if self.bars.is_some() {
            format!("\x1b[1m{title}\x1b[0m")
        } else {
            title.to_owned()
        });
    }

    /// Something that happened, with the time since the begin.
    pub fn say(&self, what: &str) {
        for line in what.lines() {
            self.line(&format!("{:>7.1} s  {line}", self.begun.elapsed().as_secs_f64()));
        }
    }

    /// A line as it is.
    pub fn line(&self, line: &str) {
        match &self.bars {
            // Neither can fail in a way that matters: the exit code tells the outcome.
            Some(bars) => drop(bars.println(line)),
            None => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// How long the demo has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Shows a transfer for as long as `work` takes.
    pub async fn showing<T>(&self, meter: &Arc<Meter>, work: impl Future<Output = T>) -> T {
        let bar = self.bars.as_ref().map(|bars| bars.add(bar_of(meter)));
        let mut line_at = Instant::now() + LINE_EVERY;
        let mut ticks = tokio::time::interval(REDRAW);
        tokio::pin!(work);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticks.tick() => match &bar {
                    Some(bar) => bar.set_position(meter.done()),
                    None if Instant::now() >= line_at => {
                        line_at = Instant::now() + LINE_EVERY;
                        self.say(&format!(
                            "  {} {:.0} % ({:.0} MB/s)",
                            meter.name(),
                            meter.percent(),
                            meter.rate()
                        ));
                    }
                    None => {}
                },
            }
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        outcome
    }
}

fn bar_of(meter: &Meter) -> ProgressBar {
    let template = "{prefix:>10}  {bar:40.green} {percent:>3} %  {decimal_bytes_per_sec}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(meter.total())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(meter.name())
}
