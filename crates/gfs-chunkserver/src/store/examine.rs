//! Looking at a chunk's file for the scrub: apart from the chunks in use, so that none of those is
//! closed for it, and without their locks. What does not fit at such a glance may be a write under
//! way: it counts only when it was found again under the chunk's lock ([`Volume::recheck`],
//! [`Volume::recheck_blocks`], [`Volume::recheck_gone`]).

use super::chunk::{OpenChunk, Shared, lock};
use super::header::{Header, Slot};
use super::read::Plan;
use super::volume::Volume;
use super::{SLOT, StoreError, StoreResult};
use gfs_types::{BLOCK_SIZE, ChunkHandle, MAX_SLICE};
use std::io;

/// A chunk's file as it was when it was opened; writers do not know of it.
#[derive(Debug)]
pub struct Examined(OpenChunk);

impl Examined {
    /// Its length in bytes.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.0.header.content.length
    }

    /// Its header cannot be trusted: see [`super::Flags`].
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.0.header.flags.suspect
    }
}

/// What is found of a chunk under its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rechecked {
    /// The file says what it should.
    Sound,
    /// The file did not say what the server knew of the chunk, having it in use; now it does.
    Restored,
    /// The header cannot be trusted.
    Suspect,
}

impl Volume {
    /// Opens a chunk's file and reads its header and checksums, of what is on the disk now. Keeps
    /// nothing open beyond the value, takes no lock.
    ///
    /// # Errors
    /// There is no such file, it is garbled, or the disk fails: at a glance, see the module.
    pub fn examine(&self, handle: ChunkHandle) -> StoreResult<Examined> {
        Ok(Examined(OpenChunk::load(&self.shared, self.member()?, handle)?))
    }

    /// Whether all blocks of a range of at most [`MAX_SLICE`] are as they should be, at a glance.
    #[must_use]
    pub fn glance(&self, examined: &Examined, offset: u32, length: u32) -> bool {
        let end = offset.saturating_add(length.min(MAX_SLICE)).min(examined.length());
        if offset >= end {
            return true;
        }
        let plan = Plan::new(&examined.0, offset, end);
        let mut buffer = self.shared.buffers.take(plan.len());
        plan.read(&mut buffer).is_ok_and(|damaged| damaged.is_empty())
    }

    /// Reads a range's blocks again, under the chunk's lock. Returns those that do not match or
    /// cannot be read, which are then known as damaged. Where there are none, also sees to it that
    /// the file says what the server knows of the chunk: [`Self::recheck`].
    ///
    /// # Errors
    /// There is no such chunk, it is garbled, or the disk fails other than in reading blocks.
    pub fn recheck_blocks(
        &self,
        handle: ChunkHandle,
        offset: u32,
        length: u32,
    ) -> StoreResult<(Vec<u32>, Rechecked)> {
        let (chunk, member) = (self.chunk(handle), self.member()?);
        let end = offset.saturating_add(length);
        let damaged = chunk.unreadable_blocks(&self.shared, member, offset, end)?;
        if !damaged.is_empty() {
            return Ok((damaged, Rechecked::Sound));
        }
        Ok((damaged, self.recheck(handle)?))
    }

    /// Looks at a chunk's header and checksums again, under its lock. A chunk in use is known
    /// better than its file may say: then the file is put right.
    ///
    /// # Errors
    /// There is no such chunk, it is garbled, or the disk fails.
    pub fn recheck(&self, handle: ChunkHandle) -> StoreResult<Rechecked> {
        let (chunk, member) = (self.chunk(handle), self.member()?);
        chunk.with(&self.shared, member, |open| match open.header.flags.suspect {
            true => Ok(Rechecked::Suspect),
            false => open.restore(&self.shared),
        })
    }

    /// Whether a chunk's file is gone from a directory that is there; looked up under the chunk's
    /// lock. If so nothing is kept of it in memory either.
    ///
    /// # Errors
    /// The disk fails, or the directory is not there: that says nothing about its files.
    pub fn recheck_gone(&self, handle: ChunkHandle) -> StoreResult<bool> {
        let chunk = self.chunk(handle);
        let open = &mut *lock(&chunk.open);
        let (files, layout) = (&self.shared.files, &self.shared.volume);
        let dir = layout.shard_of(handle);
        let names = files.list(&dir).map_err(|error| StoreError::disk("list", &dir, error))?;
        let path = layout.chunk(handle);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if names.iter().any(|entry| entry.name == name) {
            return Ok(false);
        }
        self.forget(handle, open);
        Ok(true)
    }
}

impl OpenChunk {
    /// Writes again what the file no longer says of its header and its checksums.
    fn restore(&mut self, shared: &Shared) -> StoreResult<Rechecked> {
        let handle = self.header.handle;
        let (at, len) = self.layout.metadata();
        let mut bytes = vec![0; len as usize];
        let read = self.file.read(&mut bytes, at);
        let read = match read {
            Ok(read) => read,
            // What cannot be read can perhaps be written.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => 0,
            Err(error) => return Err(shared.disk_error("read", handle, error)),
        };
        bytes.truncate(read);
        let slot = |index: u8| {
            let begin = usize::from(index) * SLOT as usize;
            bytes.get(begin..begin + SLOT as usize).map(Header::decode)
        };
        let current = matches!(slot(self.slot), Some(Slot::Valid { header, window_intact: true })
            if header.generation == self.header.generation);
        let other = matches!(slot(1 - self.slot), Some(Slot::Valid { .. } | Slot::Empty));
        let whole = (self.header.content.length / BLOCK_SIZE) as usize;
        let known = self.sums.get(..whole).unwrap_or(&self.sums);
        let table: Vec<u8> = known.iter().flat_map(|sum| sum.0.to_le_bytes()).collect();
        let on_disk = bytes.get(2 * SLOT as usize..).and_then(|sums| sums.get(..table.len()));
        let right = on_disk == Some(table.as_slice());
        if current && other && right {
            return Ok(Rechecked::Sound);
        }
        if !right {
            let write = |error: io::Error| shared.disk_error("write", handle, error);
            self.file.write_all(&table, self.layout.checksum(0)).map_err(write)?;
        }
        // Each goes to the slot that is not the last one written: the garbled one, or both in turn.
        if !current || !other {
            self.put_header(shared, self.header.clone())?;
        }
        if !current {
            self.put_header(shared, self.header.clone())?;
        }
        self.sync_now(shared)?;
        self.list(shared);
        Ok(Rechecked::Restored)
    }
}
