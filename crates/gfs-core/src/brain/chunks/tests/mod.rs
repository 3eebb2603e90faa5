//! The chunk side with its servers played by hand.

mod balance;
mod fresh;
mod membership;
#[cfg(feature = "planted-mistakes")]
mod mistakes;
mod model;
mod moves;
mod power;
mod random;
mod rules;
mod steps;
mod story;
mod world;
