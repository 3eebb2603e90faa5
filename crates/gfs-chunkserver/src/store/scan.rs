//! The start: every chunk's header is read, nothing else.

use super::chunk::{lock, read_header};
use super::layout::{SHARDS, handle_of};
use super::volume::Volume;
use super::{ChunkState, StoreError, StoreResult};
use gfs_types::ChunkHandle;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the file of a chunk says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanEntry {
    /// A replica, as it says.
    Chunk(ChunkState),
    /// A file that cannot be trusted at all. It was moved to quarantine.
    Garbled {
        /// The chunk that its name says.
        handle: ChunkHandle,
        /// What does not fit.
        why: String,
    },
}

impl ScanEntry {
    /// The chunk.
    #[must_use]
    pub fn handle(&self) -> ChunkHandle {
        match self {
            Self::Chunk(state) => state.handle,
            Self::Garbled { handle, .. } => *handle,
        }
    }
}

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Every chunk, by handle.
    pub entries: Vec<ScanEntry>,
    /// Files that could not be read: the disk failed. They are kept, and neither counted as
    /// present nor as gone.
    pub unreadable: Vec<(ChunkHandle, String)>,
    /// Names that are none of the store's, left alone.
    pub strangers: Vec<String>,
}

impl Volume {
    /// Reads the headers of all chunks, with so many threads. Leftovers of creations that a crash
    /// cut short are removed (no one was told of them), garbled files moved to quarantine. To be
    /// called before anything else; it may be repeated beside other calls.
    ///
    /// # Errors
    /// A directory cannot be listed.
    pub fn scan(&self, threads: usize) -> StoreResult<ScanReport> {
        if self.record().cluster.is_none() {
            return Ok(ScanReport::default());
        }
        let next = AtomicU32::new(0);
        let work = || {
            let mut report = ScanReport::default();
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= SHARDS {
                    return Ok(report);
                }
                self.scan_shard(shard, &mut report)?;
            }
        };
        let parts: Vec<StoreResult<ScanReport>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.clamp(1, 64)).map(|_| scope.spawn(work)).collect();
            let mut parts = vec![work()];
            for other in others {
                // A thread that panicked leaves its shards unread: that is no report at all.
                parts.push(other.join().unwrap_or_else(|_| {
                    Err(StoreError::Invalid("a scanning thread panicked".to_owned()))
                }));
            }
            parts
        });
        let mut all = ScanReport::default();
        for part in parts {
            let part = part?;
            all.entries.extend(part.entries);
            all.unreadable.extend(part.unreadable);
            all.strangers.extend(part.strangers);
        }
        all.entries.sort_unstable_by_key(ScanEntry::handle);
        all.unreadable.sort_unstable();
        all.strangers.sort_unstable();
        Ok(all)
    }

    fn scan_shard(&self, shard: u32, report: &mut ScanReport) -> StoreResult<()> {
        let dir = self.shared.volume.shard(shard);
        let files = &self.shared.files;
        let entries = files.list(&dir).map_err(|error| StoreError::disk("list", &dir, error))?;
        for entry in entries {
            if let Some(handle) = handle_of(&entry.name, ".chunk", shard) {
                self.scan_chunk(handle, report);
            } else if let Some(handle) = handle_of(&entry.name, ".new", shard) {
                let chunk = self.chunk(handle);
                let _not_being_created = lock(&chunk.open);
                match files.unlink(&dir.join(&entry.name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::warn!(%handle, %error, "cannot remove what a crash left");
                    }
                    _ => {}
                }
            } else {
                report.strangers.push(format!("{shard:02x}/{}", entry.name));
            }
        }
        Ok(())
    }

    fn scan_chunk(&self, handle: ChunkHandle, report: &mut ScanReport) {
        let state = match self.peek(handle) {
            Some(state) if !state.flags.suspect => Ok(state),
            // Looked at again under the chunk's lock, which tells damage from a write under way.
            _ => self.state(handle),
        };
        match state {
            Ok(state) => {
                if !state.flags.clean && !state.flags.suspect {
                    lock(&self.shared.dirty).entry(handle).or_default();
                }
                report.entries.push(ScanEntry::Chunk(state));
            }
            Err(StoreError::UnknownChunk(_)) => {} // deleted meanwhile
            Err(StoreError::Garbled { handle, why }) => {
                tracing::error!(%handle, why, "a chunk's file is garbled");
                if let Err(error) = self.quarantine(handle) {
                    tracing::error!(%handle, %error, "cannot quarantine a garbled file");
                }
                report.entries.push(ScanEntry::Garbled { handle, why });
            }
            Err(error) => report.unreadable.push((handle, error.to_string())),
        }
    }

    /// A chunk's state when its file is closed and sound: one open and one read, remembering
    /// nothing. Where there may be a redo record to be carried out, opening it tells.
    fn peek(&self, handle: ChunkHandle) -> Option<ChunkState> {
        let member = self.member().ok()?;
        let file = self.shared.files.open(&self.shared.volume.chunk(handle)).ok()?;
        let mut slots = [0; 2 * super::SLOT as usize];
        let (header, _) =
            read_header(&*file, member, self.shared.boot, handle, &mut slots).ok()?.ok()?;
        let sound = header.flags.clean || file.length().ok()? <= member.layout.redo();
        sound.then(|| ChunkState::from(&header))
    }
}
