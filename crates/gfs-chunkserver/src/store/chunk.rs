//! One chunk: its file while that is open, what its header says, and the lock around both.

use super::buffers::BufferPool;
use super::header::{BootId, Extent, Flags, Header, Position, Slot};
use super::layout::{ChunkLayout, VolumeLayout};
use super::start_log::Listed;
use super::sync::Dirty;
use super::volume::VolumeHealth;
use super::{StoreError, StoreResult};
use crate::files::{ChunkFile, ChunkFiles};
use gfs_types::{ChunkHandle, ClusterId, Crc};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A lock whose holder never leaves a half-made change behind, so that a panic elsewhere in the
/// process does not take the chunk out of service.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the chunks of a volume share. None of its locks but `logging` is held over I/O, and each may
/// be taken while a chunk's is held, never the other way round.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) files: Arc<dyn ChunkFiles>,
    pub(crate) volume: VolumeLayout,
    pub(crate) boot: BootId,
    pub(crate) buffers: BufferPool,
    /// Blocks found damaged since the start and not repaired.
    pub(crate) damage: Mutex<BTreeMap<ChunkHandle, BTreeSet<u32>>>,
    /// Chunks that failed: remembered also when their files are closed.
    pub(crate) failed: Mutex<BTreeMap<ChunkHandle, Failure>>,
    /// Chunks that are not clean.
    pub(crate) dirty: Mutex<BTreeMap<ChunkHandle, Dirty>>,
    pub(crate) health: Mutex<VolumeHealth>,
    /// For the start-up log: chunks that are clean.
    pub(crate) listed: Mutex<Listed>,
    /// Held while that log is written or removed: at the end and at the start.
    pub(crate) logging: Mutex<()>,
}

/// What a chunk does not recover from while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A sync failed: it takes no more writes.
    Sync,
    /// An overwrite failed half-way: it is out of service.
    Torn,
}

/// Whose chunks, cut how: fixed once the volume belongs to a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) cluster: ClusterId,
    pub(crate) layout: ChunkLayout,
}

/// A chunk of a volume, open or not. There is one of it per handle as long as anyone holds it.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) handle: ChunkHandle,
    pub(crate) open: Mutex<Option<OpenChunk>>,
    /// Held by the one that syncs, over its I/O, so that syncs of a chunk do not pile up.
    pub(crate) syncing: Mutex<()>,
}

/// What is known of a chunk whose file is open.
#[derive(Debug)]
pub(crate) struct OpenChunk {
    pub(crate) file: Arc<dyn ChunkFile>,
    pub(crate) layout: ChunkLayout,
    /// As last written.
    pub(crate) header: Header,
    /// In which slot.
    pub(crate) slot: u8,
    /// The checksum array, one entry per block of a full chunk.
    pub(crate) sums: Vec<Crc>,
    /// The header says more than the last sync made durable, apart from that sync's own mark.
    pub(crate) unsynced: bool,
    /// That mark is not durable itself.
    pub(crate) marked: bool,
    /// Counts changes other than appending; a sync that ran beside one marks nothing.
    pub(crate) cuts: u64,
    /// Up to where data was written, and up to where writeback of it was started, in bytes.
    pub(crate) written: u32,
    pub(crate) written_back: u32,
    /// Bytes written below that since, and for redo records.
    pub(crate) rewritten: u64,
    /// The slot of the redo record is in use, or was.
    pub(crate) has_record: bool,
    /// The chunk may be listed for the start-up log.
    pub(crate) listed: bool,
    pub(crate) failed: Option<Failure>,
}

impl Shared {
    /// Sorts an error of the operating system and notes it in the volume's health.
    pub(crate) fn disk_error(
        &self,
        operation: &'static str,
        handle: ChunkHandle,
        error: io::Error,
    ) -> StoreError {
        let error = StoreError::disk(operation, &self.volume.chunk(handle), error);
        lock(&self.health).note(operation, &error);
        error
    }
}

impl Chunk {
    pub(crate) fn new(handle: ChunkHandle) -> Self {
        Self { handle, open: Mutex::new(None), syncing: Mutex::new(()) }
    }

    /// Runs `act` on the open chunk, under its lock; opens it first where needed.
    pub(crate) fn with<T>(
        &self,
        shared: &Shared,
        member: Membership,
        act: impl FnOnce(&mut OpenChunk) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.with_any(shared, member, |open| match open.failed {
            Some(Failure::Torn) => Err(StoreError::Torn(self.handle)),
            _ => act(open),
        })
    }

    /// The same also of a chunk that is out of service.
    pub(crate) fn with_any<T>(
        &self,
        shared: &Shared,
        member: Membership,
        act: impl FnOnce(&mut OpenChunk) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let mut open = lock(&self.open);
        let chunk = match &mut *open {
            Some(chunk) => chunk,
            closed => {
                let mut chunk = OpenChunk::load(shared, member, self.handle)?;
                if chunk.failed != Some(Failure::Torn) {
                    chunk.recover(shared)?;
                }
                closed.insert(chunk)
            }
        };
        act(chunk)
    }
}

/// Chooses between the slots of a file: the newer valid one. When the other is garbled it may have
/// been the newer one, so the chunk is suspect then. A window that was lost is taken from the other
/// slot, which knows all but the last mutation; the chunk is suspect then, too.
pub(crate) fn choose(slots: [Slot; 2]) -> Result<(Header, u8), String> {
    let mut valid: Vec<(Header, bool, u8)> = Vec::with_capacity(2);
    let mut garbled = Vec::new();
    for (index, slot) in (0..).zip(slots) {
        match slot {
            Slot::Empty => {}
            Slot::Valid { header, window_intact } => valid.push((*header, window_intact, index)),
            Slot::Garbled(why) => garbled.push(format!("slot {index}: {why}")),
        }
    }
    valid.sort_by_key(|(header, ..)| header.generation);
    let Some((mut header, window_intact, slot)) = valid.pop() else {
        garbled.push("there is no header".to_owned());
        return Err(garbled.join("; "));
    };
    header.flags.suspect |= !garbled.is_empty();
    if let (false, Some((older, true, _))) = (window_intact, valid.pop()) {
        header.window = older.window;
    }
    Ok((header, slot))
}

/// Reads a file's header; the checksum array, too, when `sums` has room for it. Applies the rule
/// that after another boot a chunk that is not clean is suspect.
pub(crate) fn read_header(
    file: &dyn ChunkFile,
    member: Membership,
    boot: BootId,
    handle: ChunkHandle,
    buffer: &mut [u8],
) -> io::Result<Result<(Header, u8), String>> {
    buffer.fill(0);
    let read = file.read(buffer, member.layout.slot(0))?;
    let slots = buffer.get(..2 * super::SLOT as usize).unwrap_or_default();
    if read < slots.len() {
        return Ok(Err(format!("the file ends {} bytes too early", slots.len() - read)));
    }
    let (a, b) = slots.split_at(slots.len() / 2);
    Ok(choose([Header::decode(a), Header::decode(b)]).and_then(|(mut header, slot)| {
        if header.handle != handle {
            return Err(format!("the header is that of chunk {}", header.handle));
        }
        if header.cluster != member.cluster {
            return Err(format!("the header is of cluster {}", header.cluster));
        }
        if header.chunk_size != member.layout.chunk_size() {
            return Err(format!("the header has chunk size {}", header.chunk_size));
        }
        header.flags.suspect |= !header.flags.clean && header.boot != boot;
        Ok((header, slot))
    }))
}

impl OpenChunk {
    /// Opens the file and reads all but the data, and the redo record: see [`Self::recover`].
    pub(super) fn load(
        shared: &Shared,
        member: Membership,
        handle: ChunkHandle,
    ) -> StoreResult<Self> {
        let path = shared.volume.chunk(handle);
        let file = match shared.files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownChunk(handle));
            }
            Err(error) => return Err(shared.disk_error("open", handle, error)),
        };
        let layout = member.layout;
        let mut buffer = vec![0; layout.metadata().1 as usize];
        let (header, slot) = read_header(&*file, member, shared.boot, handle, &mut buffer)
            .map_err(|error| shared.disk_error("read", handle, error))?
            .map_err(|why| StoreError::Garbled { handle, why })?;
        let array = buffer.get(2 * super::SLOT as usize..).unwrap_or_default();
        let sums = array.as_chunks::<4>().0.iter().map(|sum| Crc(u32::from_le_bytes(*sum)));
        Ok(Self {
            written: header.content.length,
            written_back: header.content.length,
            rewritten: 0,
            has_record: false,
            listed: true,
            file,
            layout,
            slot,
            sums: sums.collect(),
            unsynced: true,
            marked: false,
            cuts: 0,
            failed: lock(&shared.failed).get(&handle).copied(),
            header,
        })
    }

    /// Writes `next` as the header, into the slot that does not hold the current one, and makes it
    /// the current one. After an error the current one stands, in memory and on disk.
    pub(crate) fn put_header(&mut self, shared: &Shared, mut next: Header) -> StoreResult<()> {
        if self.listed {
            shared.strike(next.handle)?;
            self.listed = false;
        }
        next.generation = self.header.generation + 1;
        let slot = 1 - self.slot;
        self.file
            .write_all(&next.encode(), self.layout.slot(slot))
            .map_err(|error| shared.disk_error("write", next.handle, error))?;
        self.header = next;
        self.slot = slot;
        self.unsynced = true;
        self.list(shared);
        Ok(())
    }

    /// To be called before the first change to data or length: makes the header say, durably, that
    /// the chunk is not clean. Also has the chunk synced in a while.
    pub(crate) fn begin_change(&mut self, shared: &Shared) -> StoreResult<()> {
        if self.failed.is_some() {
            return Err(StoreError::Failed(self.header.handle));
        }
        if self.header.flags.clean {
            let mut next = self.header.clone();
            next.flags.clean = false;
            next.boot = shared.boot;
            self.put_header(shared, next)?;
            self.sync_now(shared)?;
        }
        lock(&shared.dirty).entry(self.header.handle).or_default();
        Ok(())
    }

    /// Syncs under the chunk's lock: for headers and the little that was written beside a sync.
    pub(crate) fn sync_now(&mut self, shared: &Shared) -> StoreResult<()> {
        match self.sync(shared) {
            Ok(()) => {
                self.unsynced = false;
                self.marked = false;
                Ok(())
            }
            Err(error) => Err(self.sync_failed(shared, error)),
        }
    }

    /// Makes the file durable, and its name, if that may not be.
    pub(super) fn sync(&self, shared: &Shared) -> io::Result<()> {
        if self.header.synced.0 == Position::default() {
            shared.files.sync_dir(&shared.volume.shard_of(self.header.handle))?;
        }
        self.file.sync()
    }

    /// What was written since the last sync may be gone, and no later sync will tell: the chunk
    /// takes no more writes and, if the disk still takes a header, says so after a restart.
    pub(crate) fn sync_failed(&mut self, shared: &Shared, error: io::Error) -> StoreError {
        let handle = self.header.handle;
        let error = shared.disk_error("sync", handle, error);
        self.failed = Some(Failure::Sync);
        lock(&shared.failed).insert(handle, Failure::Sync);
        let mut next = self.header.clone();
        next.flags = Flags { clean: false, suspect: true, ..next.flags };
        if let Err(second) = self.put_header(shared, next) {
            tracing::warn!(%handle, error = %second, "cannot mark a chunk that failed to sync");
        }
        lock(&shared.dirty).remove(&handle);
        error
    }

    /// Differs whenever something changed.
    pub(crate) fn activity(&self) -> u64 {
        self.header.generation.wrapping_add(self.cuts)
    }

    /// Records what a sync made durable.
    pub(crate) fn mark_synced(
        &mut self,
        shared: &Shared,
        position: Position,
        content: Extent,
    ) -> StoreResult<()> {
        let mut next = self.header.clone();
        next.synced = (position, content);
        self.put_header(shared, next)
    }

    /// The checksum that a block must have, `None` past the content.
    pub(crate) fn checksum(&self, block: u32) -> Option<Crc> {
        let content = self.header.content;
        let whole = content.length / gfs_types::BLOCK_SIZE;
        if block < whole {
            self.sums.get(block as usize).copied()
        } else {
            (block == whole && !content.length.is_multiple_of(gfs_types::BLOCK_SIZE))
                .then_some(content.tail)
        }
    }
}
