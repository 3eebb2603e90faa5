//! The format of the store's file.
//!
//! | offset | length | what |
//! |---|---|---|
//! | 0 | 8 | magic `GFSMETA\0` |
//! | 8 | 4 | format version, big endian |
//! | 12 | 4 | CRC-32C of the 12 bytes before, big endian |
//! | 16 | 4080 | zero |
//! | 4096 | | a redb database, format 3 |
//!
//! The first 16 bytes keep their meaning in every version, so that any release recognises a newer
//! file and leaves it alone. They are written once, when the file is created.
//!
//! The database (version 1) has two tables of byte strings:
//!
//! * `records`: the records;
//! * `state`: `sequence` → the [`SequenceRecord`](crate::SequenceRecord), `epoch` → the epoch of
//!   the last term, 8 bytes big endian.

use std::io;
use std::path::Path;
use std::sync::Arc;

use gfs_types::Crc;
use redb::{StorageBackend, TableDefinition};

use super::file::{StoreFile, failed};
use crate::StoreError;

/// The format this release writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Where the database begins.
pub(crate) const HEADER_BYTES: u64 = 4096;

/// The records.
pub(crate) const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("records");
/// Sequence and epoch.
pub(crate) const STATE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("state");
/// Key of the sequence record in [`STATE`].
pub(crate) const SEQUENCE_KEY: &str = "sequence";
/// Key of the last epoch in [`STATE`].
pub(crate) const EPOCH_KEY: &str = "epoch";

const MAGIC: &[u8; 8] = b"GFSMETA\0";

/// The header of a file of this version.
pub(crate) fn header(version: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(HEADER_BYTES as usize);
    block.extend_from_slice(MAGIC);
    block.extend_from_slice(&version.to_be_bytes());
    let checksum = Crc::of(&block).0;
    block.extend_from_slice(&checksum.to_be_bytes());
    block.resize(HEADER_BYTES as usize, 0);
    block
}

/// Reads the header of an existing file, changing nothing.
///
/// # Errors
/// When it is none of ours, damaged, or newer than this release.
pub(crate) fn check_header(file: &dyn StoreFile, path: &Path) -> Result<(), StoreError> {
    let refuse = |reason: &str| {
        Err(StoreError::NotAStore { path: path.to_owned(), reason: reason.to_owned() })
    };
    let length = file.len().map_err(|e| failed("reading", path, e))?;
    if length <= HEADER_BYTES {
        return refuse(&format!("it has only {length} bytes"));
    }
    let mut head = [0; 16];
    file.read_at(0, &mut head).map_err(|e| failed("reading", path, e))?;
    let Some((magic, rest)) = head.split_first_chunk::<8>() else { return refuse("too short") };
    let Some((version, checksum)) = rest.split_first_chunk::<4>() else {
        return refuse("too short");
    };
    if magic != MAGIC {
        return refuse("it does not begin with the magic number");
    }
    if Crc::of(head.get(..12).unwrap_or_default()).0.to_be_bytes() != *checksum {
        return refuse("the checksum of its header is wrong");
    }
    let found = u32::from_be_bytes(*version);
    if found > FORMAT_VERSION {
        return Err(StoreError::NewerFormat {
            path: path.to_owned(),
            found,
            supported: FORMAT_VERSION,
        });
    }
    if found == 0 {
        return refuse("format 0 does not exist");
    }
    Ok(())
}

/// The part of the file behind the header, as redb sees it. (The lock is the directory's.)
#[derive(Debug)]
pub(crate) struct Database(pub(crate) Arc<dyn StoreFile>);

impl Database {
    fn offset(position: u64) -> io::Result<u64> {
        position
            .checked_add(HEADER_BYTES)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "offset beyond any file"))
    }
}

impl StorageBackend for Database {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len()?.saturating_sub(HEADER_BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(Self::offset(offset)?, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(Self::offset(length)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(Self::offset(offset)?, data)
    }
}
