//! The chunkserver: chunk store, data streams, cloning, heartbeats.
//!
//! [`store`] keeps chunks on a volume, over the file operations of [`files`]. Both are plain
//! blocking code; what listens on the network calls them from threads that may block.

pub mod files;
pub mod store;
