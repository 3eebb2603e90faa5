//! Tests of the brain as a whole.

mod bad_input;
mod model;
mod namespace;
mod world;
