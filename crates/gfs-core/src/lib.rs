//! All protocol and decision logic of GFS, without I/O, clock, randomness or async:
//!
//! * [`brain`]: the master. Namespace, chunk table, versions and version changes, placement, failure
//!   detection, repair, collection.
//! * [`replica`]: one replica of a chunk on a chunkserver, and the gate that fences its server.
//! * [`writer`]: a client that writes a file.
//! * [`reader`]: a client that reads one.
//! * [`scrub`]: a volume's background verification.
//! * [`volume`]: which of a server's volumes takes a new replica, and when one leaves service.
//!
//! Each is a state machine: `(state, event, now) -> (state, effects)`. The shells (`gfs-master`,
//! `gfs-chunkserver`, `gfs-client`) turn sockets, disks and clocks into events and carry effects
//! out; `gfs-sim` does the same on virtual ones. Messages are those of `gfs-proto`, validated here:
//! what a hostile peer may send is a matter of this crate.

pub mod brain;
pub mod mistakes;
pub mod reader;
pub mod replica;
pub mod scrub;
pub mod volume;
pub mod writer;
