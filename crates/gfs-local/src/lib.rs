//! A whole GFS cluster on one machine, as child processes.
