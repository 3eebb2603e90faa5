//! What the tests over real processes share: a cluster with its client ([`Bench`]), content that
//! can be told from any other ([`Content`],
//! [`record`]), and a look at the replicas on the servers' disks
//! ([`Replica`]).
//!
//! The tests run the binaries that lie where theirs do, so those must have been built before:
//! `make test` does. Every wait is bounded; nothing is awaited by sleeping for a fixed time.

mod bench;
mod content;
mod records;
mod replicas;
mod slots;
mod writer;

pub use bench::{Bench, Shape, bounded, eventually};
pub use content::{Content, Dice};
pub use records::{Appending, LEAST, Told, append_records, record, records_of};
pub use replicas::Replica;
pub use slots::{SlotWriter, slots_written, write_slots};
pub use writer::{Acknowledged, write_file};
