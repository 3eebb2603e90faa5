//! The chunkserver: chunk store, data streams, cloning, heartbeats.
//!
//! [`store`] keeps chunks on a volume, over the file operations of [`files`]. Both are plain
//! blocking code. [`ChunkServer`] is the shell around the replicas' state machines of
//! `gfs_core::replica`: it turns streams ([`push`], [`read`], [`copy`]), the masters' sessions
//! ([`session`], [`heartbeat`]) and the disk ([`disk`]) into events and carries out what the
//! machines want done ([`chunks`]). A server has one volume or several ([`Volumes`]); [`scrub`]
//! verifies them in the background.

mod chunks;
mod commands;
mod confirmed;
mod copy;
mod credit;
mod disk;
mod fetch;
pub mod files;
pub mod flags;
mod handshake;
mod heartbeat;
mod io_age;
mod metrics;
mod node;
mod push;
mod read;
pub mod scrub;
mod server;
mod session;
pub mod store;
mod upkeep;
mod volumes;

pub use server::{ChunkServer, Config, Parts};
pub use volumes::{Directory, MAX_VOLUMES, OpenError, ServerRecord, Volumes, VolumesOptions};
