//! The master's shell. It decides nothing: [`gfs_core::brain::Brain`] does.
//!
//! * [`Master`] becomes the leader through the metadata store, loads the brain, and serves until
//!   the term ends ([`leadership`](crate::leadership)).
//! * A [`Term`](crate::term::Term) is a loaded brain with what waits for it: calls for their
//!   replies, sessions for their commands, mutations for their commit.
//! * The [committer](crate::committer) makes mutations durable, one transaction at a time, with all
//!   that queued while the last one was in flight.
//! * [`services`](crate::services) turn RPCs into events and back.

mod committer;
mod leadership;
mod metrics;
mod services;
mod term;

pub use leadership::{Master, MasterConfig, MasterParts};
