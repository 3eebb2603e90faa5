//! The start-up log: what the headers of a volume's clean chunks say, in one file, so that a start
//! after an orderly end need not open the files of all chunks.
//!
//! It is a snapshot, believed once: written when a server ends in order, removed, durably, by the
//! next start before anything changes, or by the first change, should there be one after it was
//! written. Chunks that are not in it are read as ever. Those that are must have the file that the
//! log saw ([`Stamp`]); one that has not, or is not there, has the whole log thrown away.

use super::chunk::{OpenChunk, Shared, lock};
use super::fields::{Reader, Writer};
use super::header::{Flags, Place};
use super::record::replace_file;
use super::volume::Volume;
use super::{ChunkState, StoreError, StoreResult};
use crate::files::Stamp;
use gfs_types::{ChunkHandle, ClusterId, Crc, InodeId, Version, VolumeUuid};
use std::collections::BTreeMap;
use std::io;

const MAGIC: &[u8; 8] = b"GFSSTART";
const FORMAT: u32 = 1;
const HEAD: usize = 64;
const ENTRY: usize = 128;
/// A log of 1 GiB.
const MAX_ENTRIES: usize = 8 << 20;

/// What the log says of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logged {
    pub(super) state: ChunkState,
    pub(super) stamp: Stamp,
}

/// The file `gfs-start`, little endian but for ids. It is replaced as a whole, as `gfs-volume` is.
///
/// | at | bytes | what |
/// |---|---|---|
/// | 0 | 8 | `GFSSTART` |
/// | 8 | 4 | format version, 1 |
/// | 12 | 4 | chunk size |
/// | 16 | 16 | cluster id, big endian |
/// | 32 | 16 | volume uuid, big endian |
/// | 48 | 8 | number of entries |
/// | 56 | 8 | zero |
/// | 64 | 128 each | entries, in the order of handles, each once |
/// | end | 4 | CRC-32C of all bytes before |
///
/// An entry: what the chunk's header says ([`super::Header`]), which is clean and not suspect, and
/// what its file looked like.
///
/// | at | bytes | what |
/// |---|---|---|
/// | 0 | 8 | chunk handle |
/// | 8 | 8 | inode id |
/// | 16 | 8 | extent index |
/// | 24 | 8 | offset in the file at which the chunk begins |
/// | 32 | 8 | `promised` version |
/// | 40 | 16 | `complete` version, last serial |
/// | 56 | 8 | length, checksum of the partial last block |
/// | 64 | 16 | version and serial of the last sync |
/// | 80 | 8 | length and checksum that it made durable |
/// | 88 | 4 | flags |
/// | 92 | 4 | replication goal |
/// | 96 | 8 | number of the file in its file system |
/// | 104 | 8 | the file's length |
/// | 112 | 8 | when it was last written to: seconds since 1970, signed |
/// | 120 | 4 | and nanoseconds |
/// | 124 | 4 | zero |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StartLog {
    pub(super) cluster: ClusterId,
    pub(super) volume: VolumeUuid,
    pub(super) chunk_size: u32,
    pub(super) chunks: BTreeMap<ChunkHandle, Logged>,
}

impl StartLog {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEAD + self.chunks.len() * ENTRY];
        let mut writer = Writer(&mut bytes, 0);
        writer.bytes(MAGIC);
        writer.u32(FORMAT);
        writer.u32(self.chunk_size);
        writer.bytes(&self.cluster.to_bytes());
        writer.bytes(&self.volume.to_bytes());
        writer.u64(self.chunks.len() as u64);
        writer.u64(0);
        for Logged { state, stamp } in self.chunks.values() {
            writer.u64(state.handle.0);
            writer.u64(state.place.inode.0);
            writer.u64(state.place.index);
            writer.u64(state.place.chunk_start);
            writer.u64(state.promised.0);
            writer.position(state.complete);
            writer.extent(state.content);
            writer.position(state.synced.0);
            writer.extent(state.synced.1);
            writer.u32(state.flags.bits());
            writer.u32(u32::from(state.place.goal));
            writer.u64(stamp.inode);
            writer.u64(stamp.length);
            writer.bytes(&stamp.modified.0.to_le_bytes());
            writer.u32(stamp.modified.1);
            writer.u32(0);
        }
        let crc = Crc::of(&bytes);
        bytes.extend_from_slice(&crc.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it is empty")?;
        let (head, mut entries) = body.split_at_checked(HEAD).ok_or("it is cut short")?;
        let mut reader = Reader(head);
        if &reader.bytes::<8>() != MAGIC {
            return Err("it is none".to_owned());
        }
        let format = reader.u32();
        if format != FORMAT {
            return Err(format!("it has format {format}"));
        }
        if Crc(u32::from_le_bytes(*crc)) != Crc::of(body) {
            return Err("it does not match its checksum".to_owned());
        }
        let mut log = Self {
            chunk_size: reader.u32(),
            cluster: ClusterId(u128::from_be_bytes(reader.bytes())),
            volume: VolumeUuid(u128::from_be_bytes(reader.bytes())),
            chunks: BTreeMap::new(),
        };
        let count = reader.u64();
        while let Some((entry, rest)) = entries.split_at_checked(ENTRY) {
            entries = rest;
            let logged = Logged::decode(entry).ok_or("an entry makes no sense")?;
            log.chunks.insert(logged.state.handle, logged);
        }
        if !entries.is_empty() || log.chunks.len() as u64 != count {
            return Err(format!("it should have {count} entries"));
        }
        Ok(log)
    }
}

impl Logged {
    /// Of [`ENTRY`] bytes.
    fn decode(entry: &[u8]) -> Option<Self> {
        let mut reader = Reader(entry);
        let handle = ChunkHandle(reader.u64());
        let (inode, index, chunk_start) = (InodeId(reader.u64()), reader.u64(), reader.u64());
        let (promised, complete) = (Version(reader.u64()), reader.position());
        let content = reader.extent();
        let synced = (reader.position(), reader.extent());
        let flags = Flags::from_bits(reader.u32()).filter(|flags| flags.clean && !flags.suspect)?;
        let goal = u8::try_from(reader.u32()).ok()?;
        let place = Place { inode, index, chunk_start, goal };
        let state = ChunkState { handle, place, promised, complete, content, flags, synced };
        let (inode, length) = (reader.u64(), reader.u64());
        let modified = (i64::from_le_bytes(reader.bytes()), reader.u32());
        Some(Self { state, stamp: Stamp { inode, length, modified } })
    }
}

/// What a log would say if it were written now, kept up to date.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    chunks: BTreeMap<ChunkHandle, Logged>,
    /// Counts what was struck off.
    pub(super) struck: u64,
    /// There is a log, or one is being written.
    logged: bool,
}

impl Shared {
    /// To be called, under the chunk's lock, before the file of a chunk that may be listed is
    /// changed or goes: what a log says of it will not hold. Should there be one, it goes first.
    ///
    /// # Errors
    /// The log cannot be removed: then nothing may be changed.
    pub(super) fn strike(&self, handle: ChunkHandle) -> StoreResult<()> {
        self.unlist(handle);
        let logged = lock(&self.listed).logged;
        if logged { self.remove_log(&mut lock(&self.logging)) } else { Ok(()) }
    }

    /// There is no file of a chunk any more.
    pub(super) fn unlist(&self, handle: ChunkHandle) {
        let listed = &mut *lock(&self.listed);
        listed.chunks.remove(&handle);
        listed.struck += 1;
    }

    /// A chunk is clean, and nobody changes it.
    fn list(&self, state: ChunkState, stamp: Stamp) {
        lock(&self.listed).chunks.insert(state.handle, Logged { state, stamp });
    }

    /// The same, of chunks that were looked at without their locks when so many had been struck
    /// off: where one was since, it may be one of these.
    pub(super) fn list_unless_struck(&self, struck: u64, found: impl Iterator<Item = Logged>) {
        let listed = &mut *lock(&self.listed);
        if listed.struck == struck {
            listed.chunks.extend(found.map(|logged| (logged.state.handle, logged)));
        }
    }

    fn remove_log(&self, _one_at_a_time: &mut ()) -> StoreResult<()> {
        let path = self.volume.start_log();
        let removed = match self.files.unlink(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        // Its name may have gone, and not durably so.
        let removed = removed.and_then(|()| self.files.sync_dir(&self.volume.dir));
        removed.map_err(|error| {
            let error = StoreError::disk("remove", &path, error);
            lock(&self.health).note("remove", &error);
            error
        })?;
        lock(&self.listed).logged = false;
        Ok(())
    }
}

impl OpenChunk {
    /// Lists the chunk if its header says that it is clean; to be called when the file was written
    /// to, whatever it was.
    pub(super) fn list(&mut self, shared: &Shared) {
        let Flags { clean, suspect, .. } = self.header.flags;
        self.listed = clean;
        if clean
            && !suspect
            && let Ok(stamp) = self.file.stamp()
        {
            shared.list(ChunkState::from(&self.header), stamp);
        }
    }
}

impl Volume {
    /// Writes the start-up log: at the end, when no more changes are expected. A change that comes
    /// after all removes it. How many chunks are in it: those that are clean.
    ///
    /// # Errors
    /// The disk fails or is full, or there are too many chunks: there is no log then.
    pub fn write_start_log(&self) -> StoreResult<u64> {
        let shared = &self.shared;
        let record = self.record();
        let Some(cluster) = record.cluster else { return Ok(0) }; // no chunks
        let one_at_a_time = &mut *lock(&shared.logging);
        let (bytes, count) = {
            let listed = &mut *lock(&shared.listed);
            let count = listed.chunks.len();
            if count > MAX_ENTRIES {
                return Err(StoreError::Invalid(format!("a start-up log of {count} chunks")));
            }
            listed.logged = true;
            let log = StartLog {
                cluster,
                volume: record.volume,
                chunk_size: record.geometry.chunk_size(),
                chunks: std::mem::take(&mut listed.chunks),
            };
            let bytes = log.encode();
            listed.chunks = log.chunks;
            (bytes, count as u64)
        };
        let (files, layout) = (&*shared.files, &shared.volume);
        // That a chunk is clean was written after its sync, and so were its file's times.
        let written = files
            .sync_file_system(&layout.dir)
            .map_err(|error| StoreError::disk("sync", &layout.dir, error))
            .and_then(|()| {
                replace_file(files, layout, &layout.new_start_log(), &layout.start_log(), &bytes)
            });
        if written.is_err() {
            let _ = files.unlink(&layout.new_start_log());
            shared.remove_log(one_at_a_time)?;
        }
        written.map(|()| count)
    }

    /// Takes the log that the last end left: reads it and removes it, durably. `None` where there is
    /// none.
    ///
    /// # Errors
    /// It cannot be used: why.
    pub(super) fn take_start_log(&self) -> Result<Option<StartLog>, String> {
        let shared = &self.shared;
        let read = self.read_start_log();
        if matches!(read, Ok(None)) {
            return Ok(None);
        }
        // Until it is gone no change may be made.
        lock(&shared.listed).logged = true;
        shared
            .remove_log(&mut lock(&shared.logging))
            .map_err(|error| format!("it cannot be removed: {error}"))?;
        let Some(log) = read? else { return Ok(None) };
        let record = self.record();
        if (Some(log.cluster), log.volume) != (record.cluster, record.volume) {
            return Err(format!("it is that of volume {} of cluster {}", log.volume, log.cluster));
        }
        if log.chunk_size != record.geometry.chunk_size() {
            return Err(format!("it has chunk size {}", log.chunk_size));
        }
        Ok(Some(log))
    }

    fn read_start_log(&self) -> Result<Option<StartLog>, String> {
        let file = match self.shared.files.open(&self.shared.volume.start_log()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let length = file.length().map_err(|error| error.to_string())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > HEAD + MAX_ENTRIES * ENTRY + 4 {
            return Err(format!("it has {length} bytes"));
        }
        let mut bytes = vec![0; length];
        let read = file.read(&mut bytes, 0).map_err(|error| error.to_string())?;
        StartLog::decode(bytes.get(..read).unwrap_or_default()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::{Extent, Position};
    use super::*;
    use gfs_types::Serial;

    fn log(handles: &[u64]) -> StartLog {
        let logged = |handle: u64| {
            let position =
                |version, serial| Position { version: Version(version), serial: Serial(serial) };
            let state = ChunkState {
                handle: ChunkHandle(handle),
                place: Place { inode: InodeId(7), index: 2, chunk_start: 1 << 40, goal: 3 },
                promised: Version(handle + 1),
                complete: position(handle, 9),
                content: Extent { length: 70_000, tail: Crc(0xabcd) },
                flags: Flags { clean: true, sealed: true, ..Flags::default() },
                synced: (position(handle, 8), Extent { length: 65_536, tail: Crc(0) }),
            };
            let stamp = Stamp { inode: 77, length: 1 << 27, modified: (-5, 999_999_999) };
            (ChunkHandle(handle), Logged { state, stamp })
        };
        StartLog {
            cluster: ClusterId(0xc1 << 100),
            volume: VolumeUuid(0x70),
            chunk_size: 1 << 26,
            chunks: handles.iter().map(|handle| logged(*handle)).collect(),
        }
    }

    #[test]
    fn logs_round_trip_and_garbage_is_told() {
        for handles in [&[][..], &[5], &[5, u64::MAX - 1, 6]] {
            let log = log(handles);
            let bytes = log.encode();
            assert_eq!(bytes.len(), HEAD + handles.len() * ENTRY + 4);
            assert_eq!(StartLog::decode(&bytes), Ok(log));
            for at in 0..bytes.len() {
                let mut garbled = bytes.clone();
                garbled[at] ^= 0x10;
                assert!(StartLog::decode(&garbled).is_err(), "byte {at}");
                assert!(StartLog::decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn what_no_log_says_is_told_though_the_checksum_is_right() {
        let bytes = log(&[5, 6]).encode();
        let sealed = |mut bytes: Vec<u8>| {
            let end = bytes.len() - 4;
            let crc = Crc::of(&bytes[..end]).0.to_le_bytes();
            bytes[end..].copy_from_slice(&crc);
            StartLog::decode(&bytes)
        };
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            sealed(bytes)
        };
        assert!(sealed(bytes.clone()).is_ok());
        assert!(with(8, 2).unwrap_err().contains("format 2"));
        assert!(with(48, 3).unwrap_err().contains("entries"));
        assert!(with(HEAD, 6).unwrap_err().contains("entries"), "a chunk that is there twice");
        for flags in [0, 1 | 16, 1 | 64] {
            assert!(with(HEAD + 88, flags).is_err(), "flags {flags}: unclean, suspect, unknown");
        }
        assert!(with(HEAD + 93, 1).is_err(), "no goal is that high");
        let longer = [&bytes[..bytes.len() - 4], &[0; 5]].concat();
        assert!(sealed(longer).is_err());
    }
}
