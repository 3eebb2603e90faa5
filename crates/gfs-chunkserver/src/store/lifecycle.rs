//! How a chunk's file comes and goes: created, deleted, put into quarantine.

use super::chunk::{Membership, OpenChunk, lock};
use super::header::{Extent, Flags, Header, Place, Position};
use super::layout::ChunkLayout;
use super::volume::Volume;
use super::{StoreError, StoreResult};
use gfs_core::replica::Window;
use gfs_types::{BLOCK_SIZE, ChunkHandle, Crc, Serial, Version};
use std::io;

/// A chunk to create.
#[derive(Clone, Copy, Debug)]
pub struct NewChunk {
    /// Its handle.
    pub handle: ChunkHandle,
    /// Where it stands in its file.
    pub place: Place,
    /// The version it promises.
    pub promised: Version,
    /// The version it is complete at; 0 for a clone to be filled.
    pub complete: Version,
    /// Whether it is a clone to be filled.
    pub incomplete: bool,
    /// So many zeros are its content; they take no space.
    pub length: u32,
    /// Its bytes are to be acknowledged as durable.
    pub durable: bool,
}

impl Volume {
    /// Creates a chunk, empty or of zeros. It survives a killed process; its name becomes durable
    /// with its first sync.
    ///
    /// # Errors
    /// It exists; it exists and is garbled; the numbers contradict each other; the disk fails.
    pub fn create(&self, new: NewChunk) -> StoreResult<()> {
        if new.promised < new.complete {
            return Err(StoreError::Invalid(format!(
                "chunk {}: complete at {} above promised {}",
                new.handle, new.complete, new.promised
            )));
        }
        let member = self.member()?;
        if new.length > member.layout.chunk_size() || (new.incomplete && new.length > 0) {
            let why = format!("cannot begin with {} bytes", new.length);
            return Err(StoreError::OutOfRange { handle: new.handle, why });
        }
        let chunk = self.chunk(new.handle);
        let open = &mut *lock(&chunk.open);
        let path = self.shared.volume.chunk(new.handle);
        if open.is_none() {
            match self.shared.files.open(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let created = self.create_file(new, member).inspect_err(|_| {
                        // A leftover is removed at the next start, too.
                        let _ = self.shared.files.unlink(&self.shared.volume.new_chunk(new.handle));
                    })?;
                    *open = Some(created);
                    lock(&self.shared.dirty).entry(new.handle).or_default();
                    return Ok(());
                }
                Err(error) => return Err(self.shared.disk_error("open", new.handle, error)),
            }
        }
        Err(StoreError::AlreadyExists(new.handle))
    }

    fn create_file(&self, new: NewChunk, member: Membership) -> StoreResult<OpenChunk> {
        let (handle, layout, shared) = (new.handle, member.layout, &self.shared);
        let path = shared.volume.new_chunk(handle);
        let disk = |error| shared.disk_error("create", handle, error);
        let file = match shared.files.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A leftover of a creation that failed.
                shared
                    .files
                    .unlink(&path)
                    .and_then(|()| shared.files.create(&path))
                    .map_err(disk)?
            }
            done => done.map_err(disk)?,
        };
        let (content, sums) = zeros(new.length, layout);
        let header = Header {
            generation: 1,
            cluster: member.cluster,
            handle,
            place: new.place,
            promised: new.promised,
            complete: Position { version: new.complete, serial: Serial(0) },
            chunk_size: layout.chunk_size(),
            content,
            flags: Flags { incomplete: new.incomplete, durable: new.durable, ..Flags::default() },
            synced: (Position::default(), Extent::default()),
            boot: shared.boot,
            window: Window::default(),
            redo: None,
        };
        shared.strike(handle)?;
        // Space for headers and checksums at once, so that a full disk never stops them.
        let (at, len) = layout.metadata();
        let table: Vec<u8> = sums.iter().flat_map(|sum| sum.0.to_le_bytes()).collect();
        file.allocate(at, len)
            .and_then(|()| match new.length {
                0 => Ok(()),
                _ => file.write_all(&table, layout.checksum(0)),
            })
            .and_then(|()| file.write_all(&header.encode(), layout.slot(0)))
            .and_then(|()| shared.files.rename(&path, &shared.volume.chunk(handle)))
            .map_err(disk)?;
        Ok(OpenChunk {
            file,
            layout,
            header,
            slot: 0,
            sums,
            unsynced: true,
            marked: false,
            cuts: 0,
            written: new.length,
            written_back: new.length,
            rewritten: 0,
            has_record: false,
            listed: false,
            failed: None,
        })
    }

    /// Deletes the chunk if it is not above the version that is condemned.
    ///
    /// # Errors
    /// The replica promised, or is complete at, a higher version; there is no such chunk; its file
    /// is garbled ([`Self::quarantine`] takes those); the disk fails.
    pub fn delete(&self, handle: ChunkHandle, condemned: Version) -> StoreResult<()> {
        let member = self.member()?;
        let chunk = self.chunk(handle);
        chunk.with_any(&self.shared, member, |open| {
            let Header { promised, complete, .. } = open.header;
            if promised > condemned {
                let complete = complete.version;
                return Err(StoreError::StaleVersion {
                    handle,
                    asked: condemned,
                    promised,
                    complete,
                });
            }
            Ok(())
        })?;
        let open = &mut *lock(&chunk.open);
        // Looked at again: the lock was free in between.
        if let Some(OpenChunk { header, .. }) = open
            && header.promised > condemned
        {
            let (promised, complete) = (header.promised, header.complete.version);
            return Err(StoreError::StaleVersion { handle, asked: condemned, promised, complete });
        }
        self.shared.strike(handle)?;
        let path = self.shared.volume.chunk(handle);
        self.shared
            .files
            .unlink(&path)
            .map_err(|error| self.shared.disk_error("delete", handle, error))?;
        self.forget(handle, open);
        Ok(())
    }

    pub(super) fn forget(&self, handle: ChunkHandle, open: &mut Option<OpenChunk>) {
        *open = None;
        self.shared.unlist(handle);
        lock(&self.shared.dirty).remove(&handle);
        lock(&self.shared.damage).remove(&handle);
        lock(&self.shared.failed).remove(&handle);
    }

    /// Moves a chunk's file out of the way, whatever is in it: garbled files, and chunks that the
    /// cluster does not know while nothing may be deleted.
    ///
    /// # Errors
    /// There is no such file, or the disk fails.
    pub fn quarantine(&self, handle: ChunkHandle) -> StoreResult<()> {
        let chunk = self.chunk(handle);
        let open = &mut *lock(&chunk.open);
        let shared = &self.shared;
        let from = shared.volume.chunk(handle);
        let dir = shared.volume.quarantine();
        let disk = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::UnknownChunk(handle),
            _ => shared.disk_error("quarantine", handle, error),
        };
        let taken: Vec<String> =
            shared.files.list(&dir).map_err(disk)?.into_iter().map(|entry| entry.name).collect();
        shared.strike(handle)?;
        let base = format!("{handle}.chunk");
        let names = std::iter::once(base.clone()).chain((1..).map(|n| format!("{base}.{n}")));
        for name in names.take(taken.len() + 1) {
            if !taken.contains(&name) {
                shared.files.rename(&from, &dir.join(name)).map_err(disk)?;
                break;
            }
        }
        self.forget(handle, open);
        Ok(())
    }

    /// Names of the files in quarantine.
    ///
    /// # Errors
    /// The disk fails.
    pub fn quarantined(&self) -> StoreResult<Vec<String>> {
        let dir = self.shared.volume.quarantine();
        let entries = self.shared.files.list(&dir);
        let entries = entries.map_err(|error| StoreError::disk("list", &dir, error))?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }
}

/// A content of `length` zeros, and the checksums of its blocks.
fn zeros(length: u32, layout: ChunkLayout) -> (Extent, Vec<Crc>) {
    let block = vec![0; BLOCK_SIZE as usize];
    let mut sums = vec![Crc(0); layout.blocks() as usize];
    let whole = (length / BLOCK_SIZE) as usize;
    let sum = Crc::of(&block);
    sums.iter_mut().take(whole).for_each(|entry| *entry = sum);
    let rest = block.get(..(length % BLOCK_SIZE) as usize).unwrap_or_default();
    (Extent { length, tail: Crc::of(rest) }, sums)
}
