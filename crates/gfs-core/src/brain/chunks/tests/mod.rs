//! The chunk side with its servers played by hand.

mod model;
mod random;
mod story;
mod world;
