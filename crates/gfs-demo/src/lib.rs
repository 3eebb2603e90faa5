//! `make demo`: real files are stored and fetched while servers are killed and stopped, bytes rot
//! and the master dies; everything that is claimed of it is measured and judged.
//!
//! [`run`] plays the acts one after another. Each says what it claims and what was seen into the
//! [`Verdict`]. Parts: the input ([`Corpus`]), transfers with a stopwatch ([`Meter`]), an observer
//! that asks for the cluster's status all the time ([`Watch`]), and what is printed ([`Screen`]).

mod acts;
mod corpus;
mod meter;
mod screen;
mod stage;
mod transfer;
mod verdict;
mod watch;

pub use acts::run;
pub use corpus::{Corpus, Fingerprint, InputFile, fingerprint};
pub use meter::{Meter, Stall, Stream};
pub use screen::Screen;
pub use stage::Stage;
pub use transfer::{get_tree, put_tree};
pub use verdict::{Outcome, Verdict, seconds};
pub use watch::Watch;
