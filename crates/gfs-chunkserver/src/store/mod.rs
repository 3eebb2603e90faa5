//! The chunk store: replicas of chunks as files on one volume.
//!
//! What it promises, in the order of the rules that make it so:
//!
//! - **Data before checksums before header before the answer.** A header names no byte that was
//!   not written before. A killed process leaves every acknowledged byte readable, because the
//!   page cache outlives it; what was not acknowledged lies past the recorded length.
//! - **A redo record before acknowledged bytes are overwritten**, durable first where they were
//!   acknowledged as durable: [`RedoRecord`].
//! - **Every byte returned was checked** against its block's checksum at that moment. A mismatch
//!   is looked at again under the chunk's lock before it counts, and condemns blocks, not the
//!   replica.
//! - **A header says *clean* only when all it describes is durable**, and stops saying so,
//!   durably, before anything changes. After another boot, whatever is not clean is *suspect*: it
//!   counts as no copy until someone compared it ([`Volume::verify`], [`StateChange::trusted`]).
//! - **A failed sync is never tried again as if it could help**: the chunk becomes suspect and
//!   takes no more writes, the volume is reported as failing.
//! - **Nothing that might be data is deleted on the store's own judgement**: files that make no
//!   sense go to `quarantine/`.
//!
//! A start reads the headers of all chunks that the start-up log does not tell of: see
//! [`Volume::start`].
//!
//! Everything here blocks, and every method takes `&self`: a chunk has a lock of its own, and no
//! lock that chunks share is held over I/O.

mod buffers;
mod chunk;
mod error;
mod examine;
mod fields;
mod header;
mod layout;
mod lifecycle;
mod probe;
mod progress;
mod read;
mod record;
mod redo;
mod scan;
mod start_log;
mod state;
mod sums;
mod sync;
mod volume;
mod write;

pub use error::{StoreError, StoreResult};
pub use examine::{Examined, Rechecked};
pub use header::{BootId, Extent, FORMAT, Flags, Header, Place, Position, Slot};
pub use layout::{ChunkLayout, SLOT};
pub use lifecycle::NewChunk;
pub use read::{BlockChecksums, ChunkRead, Verified};
pub use record::VolumeRecord;
pub use redo::RedoRecord;
pub use scan::{LogUse, ScanEntry, ScanReport};
pub use state::{ChunkState, StateChange};
pub use sums::{Cut, Part};
pub use sync::SyncReport;
pub use volume::{Volume, VolumeHealth, VolumeOptions};
pub use write::Write;
