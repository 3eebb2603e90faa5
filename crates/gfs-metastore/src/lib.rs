//! The metadata store: guarded atomic batches, load, follow; in memory and embedded.
