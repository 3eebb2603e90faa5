//! Parts of `make demo`: its input, its stopwatch and its verdict.

mod corpus;
mod meter;
mod verdict;

pub use corpus::{Corpus, Fingerprint, InputFile, fingerprint};
pub use meter::{Meter, Stall, Stream};
pub use verdict::{Verdict, seconds};
