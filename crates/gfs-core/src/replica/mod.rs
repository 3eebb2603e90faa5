//! One replica of a chunk on a chunkserver, and the gate that fences its server.
