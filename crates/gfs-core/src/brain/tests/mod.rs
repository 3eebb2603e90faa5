//! Tests of the brain as a whole.

mod bad_input;
mod loading;
mod model;
mod namespace;
mod world;
