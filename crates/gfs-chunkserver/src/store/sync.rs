//! Making chunks durable: on demand, and in the background, where headers become *clean*.

use super::chunk::{Chunk, Membership, Shared, lock};
use super::header::Position;
use super::{StoreError, StoreResult};
use crate::files::ChunkFile;
use gfs_types::{ChunkHandle, Millis};
use std::sync::Arc;

/// A chunk that nobody changed for this long is synced and becomes clean.
const IDLE: Millis = Millis(2_000);

/// One that is being written all the time is synced this often; it stays unclean, since clearing
/// `clean` again would cost its writer a sync.
const PROGRESS: Millis = Millis(4_000);

/// Writeback is started in steps of so many bytes, so that a later sync has little to wait for.
const WRITEBACK: u32 = 8 * 1024 * 1024;

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
        let snapshot = self.with(shared, member, |open| {
            if open.failed {
                return Err(StoreError::Failed(self.handle));
            }
            let header = &open.header;
            let done = header.flags.clean && !open.unsynced;
            Ok((!done).then(|| Snapshot {
                file: Arc::clone(&open.file),
                activity: open.activity(),
                cuts: open.cuts,
                position: header.complete,
                content: header.content,
                suspect: header.flags.suspect,
                never_synced: header.synced.0 == Position::default(),
            }))
        })?;
        let Some(snapshot) = snapshot else { return Ok(true) };
        let dir = shared.volume.shard_of(self.handle);
        // A chunk that was never synced may not have a durable name.
        let named = if snapshot.never_synced { shared.files.sync_dir(&dir) } else { Ok(()) };
        let result = named.and_then(|()| snapshot.file.sync());
        self.with(shared, member, |open| {
            if !Arc::ptr_eq(&open.file, &snapshot.file) {
                return Err(StoreError::UnknownChunk(self.handle)); // deleted meanwhile
            }
            if let Err(error) = result {
                return Err(open.sync_failed(shared, error));
            }
            let moved = open.activity() != snapshot.activity;
            open.unsynced = moved;
            if snapshot.suspect || open.header.flags.suspect {
                // Durable is not the same as right: it stays suspect until someone compared it.
                lock(&shared.dirty).remove(&self.handle);
                return Ok(false);
            }
            let mut next = open.header.clone();
            if open.cuts == snapshot.cuts {
                next.synced = (snapshot.position, snapshot.content);
            }
            let clean = end == End::Clean && !moved;
            next.flags.clean |= clean;
            open.put_header(shared, next)?;
            open.unsynced = moved;
            if clean {
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

    /// Starts to write back what was written since the last time, when that is enough.
    fn start_writeback(&self, shared: &Shared, member: Membership) -> StoreResult<()> {
        let range = self.with(shared, member, |open| {
            let from = open.written_back;
            let to = open.written;
            if to.saturating_sub(from) < WRITEBACK {
                return Ok(None);
            }
            open.written_back = to;
            Ok(Some((Arc::clone(&open.file), from, to)))
        })?;
        if let Some((file, from, to)) = range {
            file.start_writeback(u64::from(from), u64::from(to - from))
                .map_err(|error| shared.disk_error("write back", self.handle, error))?;
        }
        Ok(())
    }
}

/// One pass over the chunks that are not clean; `chunk` finds one by its handle. See
/// [`super::Volume::background_sync`].
pub(crate) fn background_pass(
    shared: &Shared,
    member: Membership,
    now: Millis,
    chunk: impl Fn(ChunkHandle) -> Arc<Chunk>,
) -> SyncReport {
    let mut report = SyncReport::default();
    let dirty: Vec<(ChunkHandle, Dirty)> =
        lock(&shared.dirty).iter().map(|(handle, dirty)| (*handle, *dirty)).collect();
    for (handle, known) in dirty {
        let chunk = chunk(handle);
        let activity = chunk.with(shared, member, |open| Ok(open.activity()));
        let mut result = match (activity, known.seen) {
            (Err(error), _) => Err(error),
            (Ok(activity), Some((seen, since))) if seen == activity => {
                if now.since(since) >= IDLE {
                    chunk.sync_to(shared, member, End::Clean).map(Some)
                } else {
                    Ok(None)
                }
            }
            (Ok(activity), seen) => {
                let mut next = Dirty { seen: Some((activity, now)), ..known };
                if seen.is_none() {
                    next.synced_at = now;
                }
                let due = now.since(next.synced_at) >= PROGRESS;
                if due {
                    next.synced_at = now;
                }
                if let Some(entry) = lock(&shared.dirty).get_mut(&handle) {
                    *entry = next;
                }
                if due { chunk.sync_to(shared, member, End::Progress).map(Some) } else { Ok(None) }
            }
        };
        if matches!(result, Ok(None)) {
            result = chunk.start_writeback(shared, member).map(|()| None);
        }
        match result {
            Ok(None) => {}
            Ok(Some(clean)) => {
                report.synced += 1;
                report.cleaned += u64::from(clean);
            }
            Err(StoreError::UnknownChunk(_) | StoreError::Garbled { .. }) => {
                lock(&shared.dirty).remove(&handle);
            }
            Err(error) => {
                tracing::error!(%handle, %error, "cannot sync a chunk");
                report.failed += 1;
            }
        }
    }
    report.dirty = lock(&shared.dirty).len() as u64;
    report
}
