//! Which bytes of a replica may be read.

use super::{Header, Replica, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;

/// When a reader of bytes that are being overwritten may ask again, in milliseconds.
const READ_AGAIN: u32 = 5;

/// Whether a read may be served. (Whether this server may serve any is a matter of
/// [`super::ServerGate`].)
#[derive(Clone, Debug, PartialEq)]
pub enum ReadVerdict {
    /// Serve so many bytes.
    Serve {
        /// Bytes from the offset asked for: fewer than asked, or none, where the chunk ends.
        bytes: u32,
        /// Bytes of the chunk that count.
        chunk_length: u32,
    },
    /// The range reaches into bytes that may not be acknowledged, or were overwritten by mutations
    /// that may not be: ask the primary, say [`super::Event::Confirmed`], try again.
    AskPrimary(pb::ServerLocation),
    /// Not here; BUSY: not now, for what is there may still be taken back.
    Refuse(pb::ErrorDetail),
}

impl<P: Clone> Replica<P> {
    /// Judges a read of `length` bytes at `offset` by someone who knows the chunk at `version`.
    #[must_use]
    pub fn read(&self, version: u64, offset: u32, length: u32) -> ReadVerdict {
        let Some((_, header)) = &self.stored else {
            let text = format!("chunkserver {} has no chunk {}", self.settings.server, self.handle);
            return ReadVerdict::Refuse(failure(ErrorCode::UnknownChunk, text));
        };
        if header.complete == 0 || header.complete != version || self.left_out > header.complete {
            let text = format!(
                "chunk {} is complete at {} here, {version} was asked for",
                self.handle, header.complete
            );
            let mut error = failure(ErrorCode::StaleVersion, text);
            error.actual = header.complete.max(self.left_out);
            return ReadVerdict::Refuse(error);
        }
        let end = u64::from(offset) + u64::from(length);
        let known = end <= u64::from(self.confirmed)
            || self.confirmed == header.length
            || self.knows_confirmed(version);
        let bytes = length.min(self.confirmed.saturating_sub(offset));
        let settled = self.is_settled(offset, bytes);
        if known && settled {
            return ReadVerdict::Serve { bytes, chunk_length: self.confirmed };
        }
        let (granted, members) = &self.members;
        match members.first() {
            Some(primary) if *granted == version && primary.server != self.settings.server => {
                ReadVerdict::AskPrimary(primary.clone())
            }
            _ if known => ReadVerdict::Refuse(self.unsettled_now()),
            _ => {
                let text = format!(
                    "chunk {}: {} of {} bytes are known to be acknowledged here",
                    self.handle, self.confirmed, header.length
                );
                ReadVerdict::Refuse(failure(ErrorCode::Fenced, text))
            }
        }
    }

    /// Whether none of these bytes may be taken back: true of what was judged, as long as nothing
    /// overwrites it. Who reads bytes after they were judged must ask again when they are read.
    #[must_use]
    pub fn is_settled(&self, offset: u32, length: u32) -> bool {
        let hasty = self.settings.mistakes.has(Mistake::ReplicaShowsUnsettledBytes);
        hasty || !self.unsettled.touches(offset, offset.saturating_add(length))
    }

    /// The refusal of bytes that are just being overwritten. Of a primary that ended: nobody settles
    /// them but a new version.
    #[must_use]
    pub fn unsettled_now(&self) -> pb::ErrorDetail {
        let first = self.members.1.first().is_some_and(|m| m.server == self.settings.server);
        if first && self.primary_at().is_none() {
            let text = format!("chunk {} has no primary that could settle this", self.handle);
            return failure(ErrorCode::Fenced, text);
        }
        let text = format!("chunk {} is just being overwritten there", self.handle);
        let mut error = failure(ErrorCode::Busy, text);
        error.retry_after_ms = READ_AGAIN;
        error
    }

    /// What became of a writer's mutations, for one that asks a chunk which takes no more of them.
    ///
    /// # Errors
    /// STALE_VERSION when the replica is not at `version`, or about to leave it.
    pub fn outcomes(
        &self,
        version: u64,
        writer: u64,
    ) -> Result<pb::OutcomesResponse, pb::ErrorDetail> {
        let known = |header: &&Header| header.complete == version && header.promised == version;
        let header = self.header().filter(known).filter(|_| self.left_out <= version);
        let header = header.filter(|_| version != 0).ok_or_else(|| self.stale(version))?;
        let entry = header.window.of(writer).cloned().unwrap_or_default();
        Ok(pb::OutcomesResponse {
            sequence: entry.sequence,
            offsets: entry.offsets,
            forgot: header.window.forgot(),
            sealed: header.sealed || header.length == self.settings.chunk_size,
        })
    }
}
