//! What a header says, and changing it.

use super::chunk::{OpenChunk, Shared};
use super::header::{Extent, Flags, Header, Place, Position};
use super::{StoreError, StoreResult};
use gfs_core::replica::Window;
use gfs_types::{BLOCK_SIZE, ChunkHandle, Crc, Version};

/// What a replica says of itself: in reports, and as its answer in a version change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkState {
    /// The chunk.
    pub handle: ChunkHandle,
    /// Where it stands in its file.
    pub place: Place,
    /// The version it promised.
    pub promised: Version,
    /// The version it is complete at, and the last serial applied in it.
    pub complete: Position,
    /// What it holds.
    pub content: Extent,
    /// Flags; `suspect` also when the header is not clean and of another boot.
    pub flags: Flags,
    /// The last sync: up to which mutation, and how much content it made durable.
    pub synced: (Position, Extent),
}

impl From<&Header> for ChunkState {
    fn from(header: &Header) -> Self {
        Self {
            handle: header.handle,
            place: header.place,
            promised: header.promised,
            complete: header.complete,
            content: header.content,
            flags: header.flags,
            synced: header.synced,
        }
    }
}

/// A change of a chunk's header, made in one write; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChange {
    /// Never lower than before.
    pub promised: Option<Version>,
    /// Its version never lower than before, never above `promised`.
    pub complete: Option<Position>,
    /// A length whose blocks were all written or held before.
    pub content: Option<Extent>,
    /// A length that is not above what it holds: the rest is dropped. The block that is cut in two
    /// must be good. Not together with `content`.
    pub cut: Option<u32>,
    /// Replaces the window.
    pub window: Option<Window>,
    /// Where it stands in its file.
    pub place: Option<Place>,
    /// Whether it takes mutations no more.
    pub sealed: Option<bool>,
    /// Whether it is an unfinished clone.
    pub incomplete: Option<bool>,
    /// Its bytes are to be acknowledged as durable. Never taken back.
    pub durable: bool,
    /// The content was compared with a current replica, or chosen as the truth: no longer suspect.
    pub trusted: bool,
}

impl OpenChunk {
    /// Makes the change. `durable` waits for a sync; without it the change survives a killed
    /// process, and may be lost by power loss.
    pub(crate) fn set_state(
        &mut self,
        shared: &Shared,
        change: &StateChange,
        durable: bool,
    ) -> StoreResult<()> {
        let mut next = self.changed(shared, change)?;
        let content = next.content;
        let mut durable = durable;
        if change.trusted {
            if self.failed.is_some() {
                return Err(StoreError::Failed(next.handle));
            }
            next.flags.suspect = false;
            next.boot = shared.boot;
        }
        if content != self.header.content {
            self.begin_change(shared)?;
            // Beside the new content the redo record says nothing any more.
            self.sync_recorded(shared)?;
            next.redo = None;
            next.flags.clean = false;
            next.boot = self.header.boot;
            if change.trusted {
                next.boot = shared.boot;
            }
            if content.length < next.synced.1.length {
                // Bytes written past the cut must not meet a header from before it: what was
                // durable below the cut would then fail its checksum.
                durable = true;
                let whole = content.length - content.length % BLOCK_SIZE;
                next.synced.1 = Extent { length: whole, tail: Crc(0) };
            }
            if content.length < self.header.content.length {
                self.cuts += 1;
                self.written = content.length;
                self.written_back = self.written_back.min(content.length);
            }
        }
        self.put_header(shared, next)?;
        if !self.header.flags.clean && self.failed.is_none() && !self.header.flags.suspect {
            super::chunk::lock(&shared.dirty).entry(self.header.handle).or_default();
        }
        if !durable {
            return Ok(());
        }
        self.sync_now(shared)?;
        if !self.header.flags.suspect {
            self.mark_synced(shared, self.header.complete, self.header.content)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Notes that bytes are to be acknowledged as durable. Not durable itself until a sync.
    pub(super) fn promise_durable(&mut self, shared: &Shared) -> StoreResult<()> {
        if !self.header.flags.durable {
            let mut next = self.header.clone();
            next.flags.durable = true;
            self.put_header(shared, next)?;
        }
        Ok(())
    }

    /// The header with the change, if it makes sense.
    fn changed(&mut self, shared: &Shared, change: &StateChange) -> StoreResult<Header> {
        let mut next = self.header.clone();
        let handle = next.handle;
        if let Some(promised) = change.promised {
            if promised < next.promised {
                return Err(StoreError::StaleVersion {
                    handle,
                    asked: promised,
                    promised: next.promised,
                    complete: next.complete.version,
                });
            }
            next.promised = promised;
        }
        if let Some(complete) = change.complete {
            if complete.version < next.complete.version || complete.version > next.promised {
                return Err(StoreError::StaleVersion {
                    handle,
                    asked: complete.version,
                    promised: next.promised,
                    complete: next.complete.version,
                });
            }
            next.complete = complete;
        }
        if let Some(content) = change.content {
            let ends_block = content.length.is_multiple_of(BLOCK_SIZE);
            if content.length > self.layout.chunk_size() || (ends_block && content.tail != Crc(0)) {
                let why = format!("cannot hold {content:?}");
                return Err(StoreError::OutOfRange { handle, why });
            }
            next.content = content;
        }
        if let Some(length) = change.cut {
            let held = next.content.length;
            if length > held {
                let why = format!("cannot be cut to {length} bytes, it has {held}");
                return Err(StoreError::OutOfRange { handle, why });
            }
            if length < held {
                next.content = Extent { length, tail: self.prefix_checksum(shared, length)? };
            }
        }
        if let Some(window) = &change.window {
            next.window = window.clone();
        }
        next.place = change.place.unwrap_or(next.place);
        next.flags.sealed = change.sealed.unwrap_or(next.flags.sealed);
        next.flags.incomplete = change.incomplete.unwrap_or(next.flags.incomplete);
        next.flags.durable |= change.durable;
        Ok(next)
    }
}
