//! Making chunks durable: on demand, and in the background, where headers become *clean*.

use super::chunk::{Chunk, Membership, Shared, lock};
use super::header::Position;
use super::{StoreError, StoreResult};
use crate::files::ChunkFile;
use gfs_types::{ChunkHandle, Millis};
use std::io;
use std::sync::Arc;

/// A chunk that nobody changed for this long is synced and becomes clean.
const IDLE: Millis = Millis(2_000);

/// One that is being written all the time is synced this often; it stays unclean, since clearing
/// `clean` again would cost its writer a sync.
const PROGRESS: Millis = Millis(4_000);

/// Writeback is started once a volume has so many bytes that were not written back, before a sync
/// has too much to wait for and the kernel makes writers wait. Less, and it competes with the
/// clients of every short burst; what is left is synced when the burst is over.
const WRITEBACK: u64 = 1024 * 1024 * 1024;

/// Longer than any file of a chunk.
const WHOLE_FILE: u64 = 1 << 40;

/// What the background pass knows of a chunk that is not clean.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dirty {
    /// The chunk's activity count and when that was first seen. `None` before the first pass.
    seen: Option<(u64, Millis)>,
    synced_at: Millis,
}

/// How a sync ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The header records it, durably.
    Durable,
    /// The header records it.
    Progress,
    /// The header becomes clean, unless something changed meanwhile.
    Clean,
}

/// What a background pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Chunks synced.
    pub synced: u64,
    /// Of these, chunks that are clean now.
    pub cleaned: u64,
    /// Chunks that failed to sync.
    pub failed: u64,
    /// Chunks left that are not clean.
    pub dirty: u64,
}

struct Snapshot {
    file: Arc<dyn ChunkFile>,
    activity: u64,
    cuts: u64,
    position: Position,
    content: super::Extent,
    suspect: bool,
    never_synced: bool,
}

impl Chunk {
    /// Makes all that was acknowledged durable, and has the header say so, durably.
    pub(crate) fn sync(&self, shared: &Shared, member: Membership) -> StoreResult<()> {
        self.sync_to(shared, member, End::Durable).map(|_| ())
    }

    /// Makes the chunk clean, if nobody changes it meanwhile.
    pub(crate) fn close(&self, shared: &Shared, member: Membership) -> StoreResult<bool> {
        self.sync_to(shared, member, End::Clean)
    }

    /// Syncs beside writers: the lock is held before and after, not over the I/O. Whether the
    /// chunk is clean at the end.
    fn sync_to(&self, shared: &Shared, member: Membership, end: End) -> StoreResult<bool> {
        let _one_at_a_time = lock(&self.syncing);
        let Some(snapshot) = self.snapshot(shared, member, end)? else { return Ok(true) };
        let result = self.flush(shared, &snapshot);
        self.finish(shared, member, &snapshot, result, end)
    }

    /// What is to be made durable; `None` when all is.
    fn snapshot(
        &self,
        shared: &Shared,
        member: Membership,
        end: End,
    ) -> StoreResult<Option<Snapshot>> {
        self.with(shared, member, |open| {
            if open.failed.is_some() {
                return Err(StoreError::Failed(self.handle));
            }
            if end == End::Durable {
                if open.header.flags.suspect {
                    // Durable is not the same as right.
                    return Err(StoreError::Suspect(self.handle));
                }
                open.promise_durable(shared)?;
            }
            let header = &open.header;
            let marked = open.marked && end == End::Durable;
            let done = header.flags.clean && !open.unsynced && !marked;
            Ok((!done).then(|| Snapshot {
                file: Arc::clone(&open.file),
                activity: open.activity(),
                cuts: open.cuts,
                position: header.complete,
                content: header.content,
                suspect: header.flags.suspect,
                never_synced: header.synced.0 == Position::default(),
            }))
        })
    }

    fn flush(&self, shared: &Shared, snapshot: &Snapshot) -> io::Result<()> {
        if snapshot.never_synced {
            // Its name may not be durable either.
            shared.files.sync_dir(&shared.volume.shard_of(self.handle))?;
        }
        snapshot.file.sync()
    }

    /// Records what the flush of a snapshot made durable, or that it failed.
    fn finish(
        &self,
        shared: &Shared,
        member: Membership,
        snapshot: &Snapshot,
        result: io::Result<()>,
        end: End,
    ) -> StoreResult<bool> {
        self.with(shared, member, |open| {
            if !Arc::ptr_eq(&open.file, &snapshot.file) {
                // Deleted meanwhile; what is there under its name now is another one's to sync.
                return Err(StoreError::UnknownChunk(self.handle));
            }
            if let Err(error) = result {
                return Err(open.sync_failed(shared, error));
            }
            let moved = open.activity() != snapshot.activity;
            open.unsynced = moved;
            if snapshot.suspect || open.header.flags.suspect {
                // It stays suspect until someone compared it.
                lock(&shared.dirty).remove(&self.handle);
                return Ok(false);
            }
            let mut next = open.header.clone();
            if open.cuts == snapshot.cuts && next.synced.0 <= snapshot.position {
                next.synced = (snapshot.position, snapshot.content);
            }
            let clean = end == End::Clean && !moved;
            if clean {
                next.flags.clean = true;
                next.redo = None;
            }
            open.put_header(shared, next)?;
            open.unsynced = moved;
            open.marked = true;
            if clean {
                open.drop_record();
                open.list(shared);
                lock(&shared.dirty).remove(&self.handle);
            }
            if end == End::Durable && moved {
                // Headers written beside the sync lack its mark, and the mark is what finds the
                // synced bytes again when later ones in the same block are lost.
                open.sync_now(shared)?;
            }
            Ok(open.header.flags.clean)
        })
    }

    /// Starts to write back what was written since the last time.
    fn start_writeback(&self, shared: &Shared) -> StoreResult<()> {
        let range = lock(&self.open).as_mut().and_then(|open| {
            let (from, to) = match std::mem::take(&mut open.rewritten) {
                0 => (u64::from(open.written_back), u64::from(open.written)),
                _ => (0, WHOLE_FILE),
            };
            open.written_back = open.written.max(open.written_back);
            (from < to).then(|| (Arc::clone(&open.file), from, to))
        });
        if let Some((file, from, to)) = range {
            file.start_writeback(from, to - from)
                .map_err(|error| shared.disk_error("write back", self.handle, error))?;
        }
        Ok(())
    }
}

/// How many chunks a pass has in hand, and so keeps open beside others.
const BATCH: usize = 128;

/// From how many chunks on one sync of the file system is cheaper than one for each.
const TOGETHER: usize = 8;

/// One pass over the chunks that are not clean; `chunk` finds one by its handle, `open` only one
/// whose file may be open. See [`super::Volume::background_sync`].
pub(crate) fn background_pass(
    shared: &Shared,
    member: Membership,
    now: Millis,
    open: impl Fn(ChunkHandle) -> Option<Arc<Chunk>>,
    chunk: impl Fn(ChunkHandle) -> Arc<Chunk>,
) -> SyncReport {
    let mut report = SyncReport::default();
    let dirty: Vec<ChunkHandle> = lock(&shared.dirty).keys().copied().collect();
    let mut unwritten = 0;
    for batch in dirty.chunks(BATCH) {
        let mut due = Vec::with_capacity(batch.len());
        for handle in batch {
            match background_step(shared, *handle, open(*handle).as_deref(), now) {
                Step::Due(end) => due.push((chunk(*handle), end)),
                Step::Wait(bytes) => unwritten += bytes,
            }
        }
        sync_batch(shared, member, due, &mut report);
    }
    if unwritten >= WRITEBACK {
        for chunk in dirty.iter().filter_map(|handle| open(*handle)) {
            if let Err(error) = chunk.start_writeback(shared) {
                report.note(shared, chunk.handle, Err(error));
            }
        }
    }
    report.dirty = lock(&shared.dirty).len() as u64;
    report
}

/// Makes all chunks that are not clean so, as far as nobody changes them.
pub(crate) fn close_all(
    shared: &Shared,
    member: Membership,
    chunk: impl Fn(ChunkHandle) -> Arc<Chunk>,
) -> SyncReport {
    let mut report = SyncReport::default();
    let dirty: Vec<ChunkHandle> = lock(&shared.dirty).keys().copied().collect();
    for batch in dirty.chunks(BATCH) {
        let due = batch.iter().map(|handle| (chunk(*handle), End::Clean)).collect();
        sync_batch(shared, member, due, &mut report);
    }
    report.dirty = lock(&shared.dirty).len() as u64;
    report
}

/// Syncs these chunks. Many at once by one sync of the file system: a disk's flush takes
/// milliseconds, however little it flushes.
fn sync_batch(
    shared: &Shared,
    member: Membership,
    due: Vec<(Arc<Chunk>, End)>,
    report: &mut SyncReport,
) {
    if due.len() < TOGETHER {
        for (chunk, end) in due {
            report.note(shared, chunk.handle, chunk.sync_to(shared, member, end));
        }
        return;
    }
    let mut snapshots = Vec::with_capacity(due.len());
    for (chunk, end) in due {
        match chunk.snapshot(shared, member, end) {
            Ok(Some(snapshot)) => {
                // The disk gets the work of all before anyone waits for the work of one. If it
                // cannot be started here, waiting for it tells.
                let _ = snapshot.file.start_writeback(0, WHOLE_FILE);
                snapshots.push((chunk, snapshot, end));
            }
            Ok(None) => report.note(shared, chunk.handle, Ok(true)),
            Err(error) => report.note(shared, chunk.handle, Err(error)),
        }
    }
    let written: Vec<io::Result<()>> =
        snapshots.iter().map(|(_, snapshot, _)| snapshot.file.write_back()).collect();
    let together = shared.files.sync_file_system(&shared.volume.dir);
    if let Err(error) = &together {
        tracing::warn!(%error, "the file system failed to sync; chunks are synced one by one");
    }
    for ((chunk, snapshot, end), written) in snapshots.into_iter().zip(written) {
        let result = match (written, &together) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), _) => Err(error),
            // Some file of the file system failed, not necessarily this one.
            (Ok(()), Err(_)) => chunk.flush(shared, &snapshot),
        };
        let result = chunk.finish(shared, member, &snapshot, result, end);
        report.note(shared, chunk.handle, result);
    }
}

/// What a chunk that is not clean needs now.
enum Step {
    /// A sync.
    Due(End),
    /// Nothing yet; it has so many bytes that were not written back.
    Wait(u64),
}

/// Decides whether a chunk is to be synced now. One whose file was closed (`None`) has not changed
/// since, nor is it opened for this.
fn background_step(
    shared: &Shared,
    handle: ChunkHandle,
    open: Option<&Chunk>,
    now: Millis,
) -> Step {
    let open = open.and_then(|chunk| {
        let open = lock(&chunk.open);
        open.as_ref().map(|open| {
            let behind = open.written.saturating_sub(open.written_back);
            (open.activity(), u64::from(behind) + open.rewritten)
        })
    });
    let unwritten = open.map_or(0, |(_, unwritten)| unwritten);
    let mut due = None;
    if let Some(dirty) = lock(&shared.dirty).get_mut(&handle) {
        let before = dirty.seen.map_or(0, |(activity, _)| activity);
        let activity = open.map_or(before, |(activity, _)| activity);
        match dirty.seen {
            Some((seen, since)) if seen == activity => {
                due = (now.since(since) >= IDLE).then_some(End::Clean);
            }
            seen => {
                dirty.seen = Some((activity, now));
                if seen.is_none() {
                    dirty.synced_at = now;
                }
                if now.since(dirty.synced_at) >= PROGRESS {
                    dirty.synced_at = now;
                    due = Some(End::Progress);
                }
            }
        }
    }
    due.map_or(Step::Wait(unwritten), Step::Due)
}

impl SyncReport {
    fn note(&mut self, shared: &Shared, handle: ChunkHandle, result: StoreResult<bool>) {
        match result {
            Ok(clean) => {
                self.synced += 1;
                self.cleaned += u64::from(clean);
            }
            Err(StoreError::UnknownChunk(_) | StoreError::Garbled { .. }) => {
                lock(&shared.dirty).remove(&handle);
            }
            Err(error) => {
                tracing::error!(%handle, %error, "cannot sync a chunk");
                self.failed += 1;
            }
        }
    }
}
