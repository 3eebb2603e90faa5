//! The vocabulary of GFS: ids and counters, geometry, checksums, path rules, error codes.
//!
//! Everything here is plain data. No I/O, no clock, no randomness: what needs them gets them as
//! arguments (see `ARCHITECTURE.md`, *Invariants*).

mod checksum;
mod error;
mod geometry;
mod ids;
mod path;
mod time;

pub use checksum::{BlockSums, Crc, crc_of};
pub use error::{ErrorCode, GfsError, Result};
pub use geometry::{
    BLOCK_SIZE, DEFAULT_CHUNK_SIZE, Geometry, GeometryError, MAX_CHUNK_SIZE, MAX_FILE_LENGTH,
    MAX_SLICE,
};
pub use ids::{
    ChunkHandle, ClientId, ClusterId, CommitSequence, Epoch, InodeId, OpSequence, PROTOCOL_VERSION,
    ROOT_INODE, Serial, ServerNumber, ServerUuid, Version, VolumeUuid,
};
pub use path::{GfsPath, MAX_NAME_BYTES, MAX_PATH_BYTES, Name, PathError};
pub use time::{Millis, WallMillis};
