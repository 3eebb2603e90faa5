//! What every GFS process is made of, apart from what it does: flags, logs, clock, randomness,
//! metrics, health, the HTTP endpoint that shows them, supervised tasks and orderly shutdown.
//!
//! A binary's `main` parses its flags and calls [`run`]; the component gets a [`Process`] with all
//! of the above. Nothing here is global: a test makes the parts it needs, as often as it likes.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use clap::Parser;
//! use gfs_process::{Process, ProcessFlags};
//!
//! /// Does nothing, observably.
//! #[derive(Parser)]
//! struct Flags {
//!     #[command(flatten)]
//!     process: ProcessFlags,
//! }
//!
//! async fn idle(process: Process) -> anyhow::Result<()> {
//!     let started = process.health.condition("started", "still starting");
//!     // … bind, load, spawn through `process.tasks` …
//!     started.hold();
//!     process.shutdown.requested().await;
//!     // … wind down …
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     let flags = Flags::parse();
//!     gfs_process::run("idle", &flags.process, idle)
//! }
//! ```

mod clock;
mod flags;
mod health;
mod http;
mod logs;
mod metrics;
mod own_usage;
mod random;
mod run;
mod shutdown;
mod tasks;

pub use clock::{Clock, ManualClock, SystemClock};
pub use flags::{LogFlags, LogFormat, ProcessFlags};
pub use health::{Condition, Health, Pulse};
pub use http::HttpEndpoint;
pub use logs::start_logs;
pub use metrics::{
    Buckets, Counter, DURATION_BUCKETS, FloatGauge, Gauge, Histogram, Labelled, Metrics,
};
pub use own_usage::resident_bytes;
pub use random::{Random, random_from_os, random_from_seed};
pub use run::{Process, run};
pub use shutdown::{Shutdown, ShutdownTrigger};
pub use tasks::Tasks;
