//! Flags, health, metrics, logs and shutdown, shared by all GFS binaries.
