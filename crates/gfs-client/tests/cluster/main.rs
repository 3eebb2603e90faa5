//! The library against real processes: a master and chunkservers on this machine.

// Helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod examples;
mod faults;
mod files;
mod setup;
mod writers;
