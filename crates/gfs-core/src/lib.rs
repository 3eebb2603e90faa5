//! All protocol and decision logic of GFS, without I/O, clock, randomness or async.
