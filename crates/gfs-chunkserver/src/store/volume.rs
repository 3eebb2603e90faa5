//! A volume: a directory that holds the chunks of one server.

use super::buffers::BufferPool;
use super::chunk::{Chunk, Membership, OpenChunk, Shared, lock};
use super::header::BootId;
use super::layout::{ChunkLayout, SHARDS, VolumeLayout};
use super::read::{BlockChecksums, ChunkRead, Verified};
use super::record::VolumeRecord;
use super::state::{ChunkState, StateChange};
use super::sync::{SyncReport, background_pass, close_all};
use super::write::Write;
use super::{StoreError, StoreResult};
use crate::files::{Capacity, ChunkFiles, DirLock};
use bytes::Bytes;
use gfs_core::replica::Window;
use gfs_types::{
    BlockSums, ChunkHandle, ClusterId, CommitSequence, Epoch, Geometry, Millis, ServerNumber,
    ServerUuid, VolumeUuid,
};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Idle read buffers kept, about 1 MiB each.
const IDLE_BUFFERS: usize = 32;

/// What a volume is opened with.
#[derive(Clone, Copy, Debug)]
pub struct VolumeOptions {
    /// The cluster it must belong to, if that is known: a new volume joins it, another's is
    /// refused.
    pub cluster: Option<ClusterId>,
    /// The identity of the server that a new volume gets.
    pub new_server: ServerUuid,
    /// The identity that a new volume gets.
    pub new_volume: VolumeUuid,
    /// How a new volume's chunks are cut, until [`Volume::join`] says otherwise.
    pub geometry: Geometry,
    /// The kernel's boot id.
    pub boot: BootId,
    /// How many chunk files are kept open, at least 8. A few more are open while calls run.
    pub max_open: usize,
}

/// How a volume fares. Grows worse only: what failed once is to be replaced or looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeHealth {
    /// The first write or sync that the disk failed: the volume takes no new work.
    pub failing: Option<String>,
    /// The file system turned out to be read-only.
    pub read_only: bool,
    /// Reads that the disk failed.
    pub read_errors: u64,
    /// Writes and syncs that the disk failed.
    pub write_errors: u64,
    /// The directory is not what was opened: why not.
    pub missing: Option<String>,
}

impl VolumeHealth {
    pub(crate) fn note(&mut self, operation: &str, error: &StoreError) {
        match error {
            // The process ran out of something; the disk has nothing to do with it.
            StoreError::Disk { source, .. } if is_shortage(source) => {}
            StoreError::ReadOnly { .. } => self.read_only = true,
            StoreError::Disk { .. } if matches!(operation, "read" | "open" | "list") => {
                self.read_errors += 1;
            }
            StoreError::Disk { .. } => {
                self.write_errors += 1;
                self.failing.get_or_insert_with(|| error.to_string());
            }
            // A sync that finds the disk full lost data like any other that failed.
            StoreError::NoSpace { .. } if operation == "sync" => {
                self.write_errors += 1;
                self.failing.get_or_insert_with(|| error.to_string());
            }
            _ => {}
        }
    }
}

/// Of file descriptors or memory.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

/// The chunks that are in use or were lately.
#[derive(Debug, Default)]
struct OpenChunks {
    chunks: BTreeMap<ChunkHandle, (Arc<Chunk>, u64)>,
    tick: u64,
}

/// See the module. Laid out as
///
/// ```text
/// gfs-volume                              VolumeRecord
/// gfs-scrub                               where the scrub stands: see `progress`
/// gfs-start                               the start-up log, while no server runs: see `start_log`
/// gfs-probe                               written and removed to see whether the disk does its part
/// chunks/34/0000000000001234.chunk        ChunkLayout, Header
/// chunks/34/0000000000001234.new          a chunk without a header yet; removed at the next start
/// quarantine/0000000000001234.chunk[.n]   files that are garbled or unknown to the cluster
/// ```
#[derive(Debug)]
pub struct Volume {
    pub(crate) shared: Shared,
    record: Mutex<VolumeRecord>,
    /// Held over the I/O that replaces the record.
    saving: Mutex<()>,
    open: Mutex<OpenChunks>,
    max_open: usize,
    _lock: Box<dyn DirLock>,
}

impl Volume {
    /// Opens the volume in `dir`, or makes one where there is nothing. The directory's parent must
    /// exist.
    ///
    /// # Errors
    /// Another process holds it; it belongs to another cluster; it is something else than a volume
    /// or its record is garbled (nothing is touched in these cases); the disk fails.
    pub fn open(
        files: Arc<dyn ChunkFiles>,
        dir: &Path,
        options: VolumeOptions,
    ) -> StoreResult<Self> {
        match files.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // A read-only file system may say so before it looks.
                let error = StoreError::disk("create", dir, error);
                if !matches!(error, StoreError::ReadOnly { .. }) {
                    return Err(error);
                }
            }
            _ => {}
        }
        let held = lock_dir(&*files, dir)?;
        let layout = VolumeLayout::new(dir);
        let record = match VolumeRecord::load(&*files, &layout)? {
            Some(record) => record,
            None => create(&*files, &layout, &options)?,
        };
        Self::opened(files, layout, held, record, options)
    }

    /// Opens the volume in `dir` if there is one. Touches nothing where there is none.
    ///
    /// # Errors
    /// As [`Self::open`]; there is no such directory.
    pub fn open_existing(
        files: Arc<dyn ChunkFiles>,
        dir: &Path,
        options: VolumeOptions,
    ) -> StoreResult<Option<Self>> {
        let held = lock_dir(&*files, dir)?;
        let layout = VolumeLayout::new(dir);
        match VolumeRecord::load(&*files, &layout)? {
            Some(record) => Self::opened(files, layout, held, record, options).map(Some),
            None => Ok(None),
        }
    }

    fn opened(
        files: Arc<dyn ChunkFiles>,
        layout: VolumeLayout,
        held: Box<dyn DirLock>,
        record: VolumeRecord,
        options: VolumeOptions,
    ) -> StoreResult<Self> {
        match (options.cluster, record.cluster) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(StoreError::WrongCluster { dir: layout.dir, found, expected });
            }
            _ => {}
        }
        let volume = Self {
            shared: Shared {
                files,
                volume: layout,
                boot: options.boot,
                buffers: BufferPool::new(IDLE_BUFFERS),
                damage: Mutex::default(),
                failed: Mutex::default(),
                dirty: Mutex::default(),
                health: Mutex::default(),
                listed: Mutex::default(),
                logging: Mutex::default(),
            },
            record: Mutex::new(record),
            saving: Mutex::new(()),
            open: Mutex::default(),
            max_open: options.max_open.max(8),
            _lock: held,
        };
        if let (Some(cluster), None) = (options.cluster, volume.record().cluster) {
            let VolumeRecord { number, geometry, .. } = volume.record();
            volume.join(cluster, number, geometry)?;
        }
        Ok(volume)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.volume.dir
    }

    /// Looks whether the directory is still the one that was opened, with this volume's record in
    /// it: files that are open outlive the directory that they were in, and what is written to them
    /// then is lost with the process. What is found shows in [`Self::health`].
    pub fn look(&self) {
        let why = match VolumeRecord::load(&*self.shared.files, &self.shared.volume) {
            Ok(Some(record)) if record.volume == self.record().volume => return,
            Ok(Some(record)) => format!("volume {} is in its place", record.volume),
            Ok(None) => "its directory was removed or unmounted".to_owned(),
            Err(StoreError::NotAVolume { why, .. }) => why,
            Err(error) => {
                lock(&self.shared.health).note("read", &error);
                return;
            }
        };
        lock(&self.shared.health).missing.get_or_insert(why);
    }

    /// The volume's record.
    #[must_use]
    pub fn record(&self) -> VolumeRecord {
        lock(&self.record).clone()
    }

    /// Makes the volume part of a cluster under this number; again with the same to no effect.
    ///
    /// # Errors
    /// It belongs to another cluster, or its chunks are cut differently; the disk fails.
    pub fn join(
        &self,
        cluster: ClusterId,
        number: ServerNumber,
        geometry: Geometry,
    ) -> StoreResult<()> {
        let expected = cluster;
        self.save(|record| {
            match record.cluster {
                Some(found) if found != expected => {
                    let dir = self.shared.volume.dir.clone();
                    return Err(StoreError::WrongCluster { dir, found, expected });
                }
                Some(_) if record.geometry != geometry => {
                    return Err(StoreError::Invalid(format!(
                        "the volume's chunks have {} bytes, the cluster's {}",
                        record.geometry.chunk_size(),
                        geometry.chunk_size()
                    )));
                }
                _ => {}
            }
            record.cluster = Some(expected);
            record.number = number;
            record.geometry = geometry;
            Ok(())
        })
    }

    /// Stores, durably, the epoch that a leader showed and the commit sequence heard with it.
    /// Neither goes down.
    ///
    /// # Errors
    /// The epoch is below one seen before: the leader's term is over. The disk fails.
    pub fn persist_epoch(&self, epoch: Epoch, sequence: CommitSequence) -> StoreResult<()> {
        self.save(|record| {
            if epoch < record.epoch {
                return Err(StoreError::StaleEpoch { asked: epoch, seen: record.epoch });
            }
            record.epoch = epoch;
            record.sequence = record.sequence.max(sequence);
            Ok(())
        })
    }

    /// Changes the record on disk, then in memory.
    fn save(&self, change: impl FnOnce(&mut VolumeRecord) -> StoreResult<()>) -> StoreResult<()> {
        let _one_at_a_time = lock(&self.saving);
        let mut next = self.record();
        change(&mut next)?;
        if next == self.record() {
            return Ok(());
        }
        next.save(&*self.shared.files, &self.shared.volume).inspect_err(|error| {
            lock(&self.shared.health).note("write", error);
        })?;
        *lock(&self.record) = next;
        Ok(())
    }

    /// Space of the volume's file system.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn capacity(&self) -> StoreResult<Capacity> {
        let dir = &self.shared.volume.dir;
        self.shared.files.capacity(dir).map_err(|error| StoreError::disk("ask", dir, error))
    }

    /// How the volume fares.
    #[must_use]
    pub fn health(&self) -> VolumeHealth {
        lock(&self.shared.health).clone()
    }

    /// Blocks found damaged since the start and not repaired, per chunk.
    #[must_use]
    pub fn damaged(&self) -> Vec<(ChunkHandle, Vec<u32>)> {
        let damage = lock(&self.shared.damage);
        damage.iter().map(|(handle, blocks)| (*handle, blocks.iter().copied().collect())).collect()
    }

    /// Those of one chunk, in order.
    #[must_use]
    pub fn damaged_blocks(&self, handle: ChunkHandle) -> Vec<u32> {
        lock(&self.shared.damage).get(&handle).into_iter().flatten().copied().collect()
    }

    pub(crate) fn member(&self) -> StoreResult<Membership> {
        let record = lock(&self.record);
        let cluster = record.cluster.ok_or(StoreError::NoCluster)?;
        Ok(Membership { cluster, layout: ChunkLayout::new(record.geometry) })
    }

    /// The chunk of this handle, whether or not there is a file of it.
    pub(crate) fn chunk(&self, handle: ChunkHandle) -> Arc<Chunk> {
        let open = &mut *lock(&self.open);
        open.tick += 1;
        let entry = open.chunks.entry(handle);
        let entry = entry.or_insert_with(|| (Arc::new(Chunk::new(handle)), 0));
        entry.1 = open.tick;
        let chunk = Arc::clone(&entry.0);
        if open.chunks.len() > self.max_open {
            // The quarter that was not used for the longest time, less what is in use just now:
            // closing one that someone holds would give it a second lock.
            let mut ticks: Vec<u64> = open.chunks.values().map(|(_, tick)| *tick).collect();
            let (_, oldest, _) = ticks.select_nth_unstable(self.max_open / 4);
            let oldest = *oldest;
            open.chunks.retain(|_, (chunk, tick)| *tick > oldest || Arc::strong_count(chunk) > 1);
        }
        chunk
    }

    fn with<T>(
        &self,
        handle: ChunkHandle,
        act: impl FnOnce(&mut OpenChunk) -> StoreResult<T>,
    ) -> StoreResult<T> {
        self.chunk(handle).with(&self.shared, self.member()?, act)
    }

    /// Applies a mutation, and returns the chunk's length after it. On return it survives a killed
    /// process; power loss only after a sync. What it overwrites is old or new as a whole after a
    /// kill at any moment; after power loss, too, of a chunk that was synced or marked
    /// ([`super::Flags::durable`]).
    ///
    /// # Errors
    /// The replica is not in the state that the mutation assumes (version, serial, offset, sealed,
    /// incomplete, suspect); it does not fit; a block that it would overwrite in part is damaged;
    /// it does not match its checksums; the disk is full or fails. Then the chunk holds what it
    /// held, unless the disk failed while bytes were overwritten: [`StoreError::Torn`].
    pub fn write(&self, handle: ChunkHandle, write: &Write<'_>) -> StoreResult<u32> {
        self.chunk(handle).write(&self.shared, self.member()?, write)
    }

    /// Reads up to `len` bytes at `offset`, at most [`gfs_types::MAX_SLICE`], less at the chunk's
    /// end and none past it. Does not wait for writers.
    ///
    /// # Errors
    /// Blocks in the range are damaged (the others stay readable); `offset` is past the chunk size;
    /// the disk fails.
    pub fn read(&self, handle: ChunkHandle, offset: u32, len: u32) -> StoreResult<ChunkRead> {
        self.chunk(handle).read(&self.shared, self.member()?, offset, len)
    }

    /// Like [`Self::read`], of a chunk in use, without waiting for anything. `None` where the disk or
    /// a writer would have to be waited for, where there is nothing to read, and where anything is
    /// wrong: [`Self::read`] tells.
    pub fn read_cached(&self, handle: ChunkHandle, offset: u32, len: u32) -> Option<ChunkRead> {
        self.chunk(handle).read_cached(&self.shared, offset, len)
    }

    /// Reads every block of a chunk and compares it with its checksum:
    /// what tells how much of a suspect chunk is good. To keep only the good prefix, set it as the
    /// content ([`StateChange::content`]). Does not stop writers.
    ///
    /// # Errors
    /// There is no such chunk, its file is garbled, or the disk fails other than in reading blocks.
    pub fn verify(&self, handle: ChunkHandle) -> StoreResult<Verified> {
        self.chunk(handle).verify(&self.shared, self.member()?)
    }

    /// The recorded checksums of all blocks, without reading them.
    ///
    /// # Errors
    /// There is no such chunk, or the disk fails.
    pub fn checksums(&self, handle: ChunkHandle) -> StoreResult<BlockChecksums> {
        self.with(handle, |open| Ok(open.checksums(&self.shared)))
    }

    /// What the replica says of itself.
    ///
    /// # Errors
    /// There is no such chunk, its file is garbled, or the disk fails.
    pub fn state(&self, handle: ChunkHandle) -> StoreResult<ChunkState> {
        self.with(handle, |open| Ok(ChunkState::from(&open.header)))
    }

    /// What recent mutations did.
    ///
    /// # Errors
    /// As [`Self::state`].
    pub fn window(&self, handle: ChunkHandle) -> StoreResult<Window> {
        self.with(handle, |open| Ok(open.header.window.clone()))
    }

    /// Writes whole blocks from `first` on, as they are on another replica; only the last may be
    /// partial. Changes neither length nor window: [`Self::set_state`] does, when all blocks are
    /// there. Allowed for an unfinished clone, in a version change (`promised` above `complete`),
    /// for a suspect chunk, and to repair blocks known to be damaged with the bytes they had.
    ///
    /// # Errors
    /// It is none of these; the blocks do not fit; the disk is full or fails (blocks of the range
    /// may then be damaged).
    pub fn replace_blocks(
        &self,
        handle: ChunkHandle,
        first: u32,
        pieces: &[Bytes],
        sums: &BlockSums,
    ) -> StoreResult<()> {
        self.with(handle, |open| open.replace_blocks(&self.shared, first, pieces, sums))
    }

    /// Changes the header in one write. `durable` syncs the file before it returns; without it the
    /// change survives a killed process only.
    ///
    /// # Errors
    /// A number would go down, or the change contradicts itself; the disk fails.
    pub fn set_state(
        &self,
        handle: ChunkHandle,
        change: &StateChange,
        durable: bool,
    ) -> StoreResult<()> {
        self.with(handle, |open| open.set_state(&self.shared, change, durable))
    }

    /// Cuts the content to `length`. Durable at once when that goes below what was synced.
    ///
    /// # Errors
    /// The chunk is shorter; the block that is cut in two is damaged; the disk fails.
    pub fn truncate(&self, handle: ChunkHandle, length: u32) -> StoreResult<()> {
        let cut = StateChange { cut: Some(length), ..Default::default() };
        self.set_state(handle, &cut, false)
    }

    /// Ends the chunk: it takes no more mutations at any version.
    ///
    /// # Errors
    /// There is no such chunk, or the disk fails.
    pub fn seal(&self, handle: ChunkHandle) -> StoreResult<()> {
        self.set_state(handle, &StateChange { sealed: Some(true), ..Default::default() }, false)
    }

    /// Makes all acknowledged mutations of a chunk durable: `durability: disk`. Writers go on
    /// meanwhile. The chunk stays open for writing; [`Self::close`] makes it clean.
    ///
    /// # Errors
    /// The disk fails: then nothing since the last sync counts as durable, the chunk is suspect and
    /// takes no more writes.
    pub fn sync(&self, handle: ChunkHandle) -> StoreResult<()> {
        self.chunk(handle).sync(&self.shared, self.member()?)
    }

    /// Syncs a chunk and makes it clean, unless it is changed meanwhile; whether it is.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn close(&self, handle: ChunkHandle) -> StoreResult<bool> {
        self.chunk(handle).close(&self.shared, self.member()?)
    }

    /// Closes all chunks that are not clean: at the end of a server's life. Returns how many could
    /// not be.
    pub fn close_all(&self) -> u64 {
        let Ok(member) = self.member() else { return 0 }; // no cluster, so no chunks
        let report = close_all(&self.shared, member, |handle| self.chunk(handle));
        report.dirty + report.failed
    }

    /// To be called a few times a second with a monotonic time. Starts writeback once 1 GiB was
    /// written and not written back; syncs chunks that nobody changed for 2 s and
    /// makes them clean; syncs those that are always written every 4 s. Not in a writer's call, so
    /// that no writer waits for the disk's queue. Blocks for as long as the disk takes; many chunks
    /// at once are synced by one sync of the whole file system.
    pub fn background_sync(&self, now: Millis) -> SyncReport {
        match self.member() {
            Ok(member) => {
                let open =
                    |handle| lock(&self.open).chunks.get(&handle).map(|(c, _)| Arc::clone(c));
                background_pass(&self.shared, member, now, open, |handle| self.chunk(handle))
            }
            Err(_) => SyncReport::default(), // no cluster, so no chunks
        }
    }

    /// Allocates space up to `upto` bytes of the chunk, so that writes up to there do not find the
    /// disk full.
    ///
    /// # Errors
    /// The disk is full or fails; `upto` is past the chunk size.
    pub fn reserve(&self, handle: ChunkHandle, upto: u32) -> StoreResult<()> {
        let layout = self.member()?.layout;
        if upto > layout.chunk_size() {
            let why = format!("cannot reserve {upto} of {} bytes", layout.chunk_size());
            return Err(StoreError::OutOfRange { handle, why });
        }
        let (file, length) =
            self.with(handle, |open| Ok((Arc::clone(&open.file), open.header.content.length)))?;
        if upto <= length {
            return Ok(());
        }
        file.allocate(u64::from(length), u64::from(upto - length))
            .map_err(|error| self.shared.disk_error("reserve", handle, error))
    }

    /// Gives back reserved space behind the content.
    ///
    /// # Errors
    /// There is no such chunk, or the disk fails.
    pub fn trim(&self, handle: ChunkHandle) -> StoreResult<()> {
        self.with(handle, |open| {
            // Under the lock, so that no write lands in what is punched.
            let end = open.layout.chunk_size();
            let begin = open.header.content.length.next_multiple_of(super::SLOT as u32);
            if begin >= end {
                return Ok(());
            }
            open.file
                .punch(u64::from(begin), u64::from(end - begin))
                .map_err(|error| self.shared.disk_error("trim", handle, error))?;
            open.list(&self.shared);
            Ok(())
        })
    }
}

fn lock_dir(files: &dyn ChunkFiles, dir: &Path) -> StoreResult<Box<dyn DirLock>> {
    files.lock_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => StoreError::InUse { dir: dir.to_owned() },
        _ => StoreError::disk("lock", dir, error),
    })
}

/// Makes a volume where there is nothing, or the beginnings of one that a crash left.
fn create(
    files: &dyn ChunkFiles,
    layout: &VolumeLayout,
    options: &VolumeOptions,
) -> StoreResult<VolumeRecord> {
    let list = |dir: &Path| files.list(dir).map_err(|e| StoreError::disk("list", dir, e));
    for entry in list(&layout.dir)? {
        let why = match entry.name.as_str() {
            "lost+found" | VolumeLayout::NEW_RECORD => continue,
            VolumeLayout::CHUNKS if entry.is_dir => {
                let mut chunks = false;
                for shard in list(&layout.chunks())? {
                    chunks |= !shard.is_dir || !list(&layout.chunks().join(shard.name))?.is_empty();
                }
                if !chunks {
                    continue;
                }
                "there are chunks, but no record of whose they are".to_owned()
            }
            VolumeLayout::QUARANTINE if list(&layout.quarantine())?.is_empty() => continue,
            name => format!("it is not empty ({name}), and no volume"),
        };
        return Err(StoreError::NotAVolume { dir: layout.dir.clone(), why });
    }
    let mut dirs = vec![layout.chunks(), layout.quarantine()];
    dirs.extend((0..SHARDS).map(|shard| layout.shard(shard)));
    for dir in &dirs {
        match files.create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::disk("create", dir, error));
            }
            _ => {}
        }
    }
    files
        .sync_dir(&layout.chunks())
        .map_err(|error| StoreError::disk("sync", &layout.chunks(), error))?;
    let record = VolumeRecord {
        cluster: options.cluster,
        server: options.new_server,
        volume: options.new_volume,
        number: ServerNumber(0),
        geometry: options.geometry,
        epoch: Epoch(0),
        sequence: CommitSequence(0),
    };
    record.save(files, layout)?;
    Ok(record)
}
