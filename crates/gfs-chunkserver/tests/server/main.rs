//! Chunkservers over real sockets, with the test in the master's and the clients' place: it speaks
//! the wire by hand, message by message.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // also in the helpers

mod changes;
mod hostile;
mod limits;
mod master;
mod mutations;
mod rig;
mod scrub;
mod volumes;
mod wire;
mod writes;
