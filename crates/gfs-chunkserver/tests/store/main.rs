//! The chunk store over a model disk with faults, and over real files.

#![allow(clippy::unwrap_used, clippy::panic)] // also in the helpers, which are no tests

mod concurrency;
mod crash;
mod damage;
mod faults;
mod fixtures;
mod model;
mod overwrite;
mod power;
mod rig;
mod scrub;
mod start;
mod volume;
mod witness;
