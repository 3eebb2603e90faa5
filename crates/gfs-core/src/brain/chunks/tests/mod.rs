//! The chunk side with its servers played by hand.

#[cfg(feature = "planted-mistakes")]
mod mistakes;
mod fresh;
mod model;
mod random;
mod rules;
mod steps;
mod story;
mod world;
