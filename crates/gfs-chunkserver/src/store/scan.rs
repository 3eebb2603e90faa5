//! The start: which chunks there are, by the start-up log as far as it goes, else by reading every
//! chunk's header, and nothing else of it.

use super::chunk::{lock, read_header};
use super::layout::{SHARDS, handle_of};
use super::start_log::Logged;
use super::volume::Volume;
use super::{ChunkState, StoreError, StoreResult};
use gfs_types::ChunkHandle;
use std::collections::BTreeMap;
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

/// What a start made of the start-up log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogUse {
    /// The files of so many chunks were not opened for it.
    Used(u64),
    /// There was none: the last server was killed or lost its power, or this is the first.
    Missing,
    /// It could not be used, for this reason; all headers were read.
    Unusable(String),
    /// The files were other than it said, in this; all headers were read.
    Disagrees(String),
}

impl LogUse {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Used(_) => "used",
            Self::Missing => "missing",
            Self::Unusable(_) => "unusable",
            Self::Disagrees(_) => "disagrees",
        }
    }
}

/// What was found, and how.
#[derive(Debug, Default)]
struct Found {
    report: ScanReport,
    /// How many chunks are as the log says.
    logged: u64,
    disagreement: Option<String>,
}

impl Volume {
    /// What is on the volume, as [`Self::scan`] finds it, by the start-up log where one tells. To be
    /// called before anything else.
    ///
    /// # Errors
    /// A directory cannot be listed.
    pub fn start(&self, threads: usize) -> StoreResult<(ScanReport, LogUse)> {
        if self.record().cluster.is_none() {
            return Ok((ScanReport::default(), LogUse::Missing));
        }
        let log = match self.take_start_log() {
            Ok(Some(log)) => log,
            Ok(None) => return Ok((self.scan(threads)?, LogUse::Missing)),
            Err(why) => return Ok((self.scan(threads)?, LogUse::Unusable(why))),
        };
        let struck = lock(&self.shared.listed).struck;
        let Found { report, logged, disagreement } = self.find(threads, &log.chunks)?;
        let missing = || {
            let found = |handle: &ChunkHandle| {
                report.entries.binary_search_by_key(handle, ScanEntry::handle).is_ok()
            };
            let missing = log.chunks.keys().find(|handle| !found(handle))?;
            Some(format!("there is no file of chunk {missing}"))
        };
        match disagreement.or_else(missing) {
            None => {
                self.shared.list_unless_struck(struck, log.chunks.into_values());
                Ok((report, LogUse::Used(logged)))
            }
            Some(why) => Ok((self.scan(threads)?, LogUse::Disagrees(why))),
        }
    }

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
        Ok(self.find(threads, &BTreeMap::new())?.report)
    }

    /// Reads the headers of all chunks that the log does not tell of. Ends early when it disagrees
    /// with a file.
    fn find(&self, threads: usize, log: &BTreeMap<ChunkHandle, Logged>) -> StoreResult<Found> {
        let next = AtomicU32::new(0);
        let work = || {
            let mut found = Found::default();
            loop {
                let shard = next.fetch_add(1, Ordering::Relaxed);
                if shard >= SHARDS || found.disagreement.is_some() {
                    return Ok(found);
                }
                self.find_in(shard, log, &mut found)?;
            }
        };
        let parts: Vec<StoreResult<Found>> = std::thread::scope(|scope| {
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
        let mut all = Found::default();
        for part in parts {
            let part = part?;
            all.report.entries.extend(part.report.entries);
            all.report.unreadable.extend(part.report.unreadable);
            all.report.strangers.extend(part.report.strangers);
            all.logged += part.logged;
            all.disagreement = all.disagreement.or(part.disagreement);
        }
        all.report.entries.sort_unstable_by_key(ScanEntry::handle);
        all.report.unreadable.sort_unstable();
        all.report.strangers.sort_unstable();
        Ok(all)
    }

    fn find_in(
        &self,
        shard: u32,
        log: &BTreeMap<ChunkHandle, Logged>,
        found: &mut Found,
    ) -> StoreResult<()> {
        let dir = self.shared.volume.shard(shard);
        let files = &self.shared.files;
        let entries = files.list(&dir).map_err(|error| StoreError::disk("list", &dir, error))?;
        for entry in entries {
            if let Some(handle) = handle_of(&entry.name, ".chunk", shard) {
                let Some(Logged { state, stamp }) = log.get(&handle) else {
                    self.scan_chunk(handle, &mut found.report);
                    continue;
                };
                match files.stamp(&dir.join(&entry.name)) {
                    Ok(is) if is == *stamp => {
                        found.report.entries.push(ScanEntry::Chunk(state.clone()));
                        found.logged += 1;
                    }
                    Ok(_) => {
                        found.disagreement =
                            Some(format!("the file of chunk {handle} was changed"));
                        return Ok(());
                    }
                    Err(error) => {
                        found.disagreement = Some(format!("the file of chunk {handle}: {error}"));
                        return Ok(());
                    }
                }
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
                found.report.strangers.push(format!("{shard:02x}/{}", entry.name));
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
        let struck = lock(&self.shared.listed).struck;
        let member = self.member().ok()?;
        let file = self.shared.files.open(&self.shared.volume.chunk(handle)).ok()?;
        let stamp = file.stamp().ok()?;
        let mut slots = [0; 2 * super::SLOT as usize];
        let (header, _) =
            read_header(&*file, member, self.shared.boot, handle, &mut slots).ok()?.ok()?;
        let state = ChunkState::from(&header);
        if header.flags.clean && !header.flags.suspect {
            let logged = Logged { state: state.clone(), stamp };
            self.shared.list_unless_struck(struck, std::iter::once(logged));
        }
        (header.flags.clean || stamp.length <= member.layout.redo()).then_some(state)
    }
}
