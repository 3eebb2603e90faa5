//! Dialling, accepting, windows and the copy-free gRPC codec for bulk streams.
