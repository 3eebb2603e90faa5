//! The chunkserver: chunk store, data streams, cloning, heartbeats.
