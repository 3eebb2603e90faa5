//! A whole GFS cluster on one machine, as child processes: for laptops, the demo, benchmarks and
//! tests that kill real processes.
//!
//! It starts the shipped binaries with their flags, knows where they listen, and sends them
//! signals. Everything else is up to them. Calls block, each for a bounded time.

mod child;
mod cluster;
mod disk;
mod options;
mod probe;
mod state;

pub use cluster::{LocalCluster, Part};
pub use disk::LoopDisk;
pub use options::{Binaries, Options};
pub use probe::{Answer, http_get};
pub use rustix::process::Signal;
pub use state::{ClusterState, PartState, is_running, read_state, request_end};
