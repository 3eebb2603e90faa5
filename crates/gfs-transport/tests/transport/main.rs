//! The crate from outside: clients and servers of it, over a network in memory or TCP.

// Helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bulk;
mod connections;
mod hostile;
mod net;
