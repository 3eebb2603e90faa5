//! Which bytes of a replica may be read.

use super::{Replica, failure};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;

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
    /// The range reaches into bytes that may not be acknowledged: ask the primary, say
    /// [`super::Event::Confirmed`], try again.
    AskPrimary(pb::ServerLocation),
    /// Not here.
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
        if known {
            let bytes = length.min(self.confirmed.saturating_sub(offset));
            return ReadVerdict::Serve { bytes, chunk_length: self.confirmed };
        }
        let (granted, members) = &self.members;
        match members.first() {
            Some(primary) if *granted == version && primary.server != self.settings.server => {
                ReadVerdict::AskPrimary(primary.clone())
            }
            _ => {
                let text = format!(
                    "chunk {}: {} of {} bytes are known to be acknowledged here",
                    self.handle, self.confirmed, header.length
                );
                ReadVerdict::Refuse(failure(ErrorCode::Fenced, text))
            }
        }
    }
}
