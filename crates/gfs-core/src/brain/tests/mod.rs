//! Tests of the brain as a whole.

mod appending;
mod bad_input;
mod changing;
mod files;
mod hostile;
mod limits;
mod loading;
mod model;
mod namespace;
mod trash;
mod trees;
mod world;
mod writing;
