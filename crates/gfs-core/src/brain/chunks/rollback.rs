//! Metadata that went back in time (an older store restored, an empty one started): how it is
//! noticed, and that nothing is deleted from then on.

use super::{Chunks, Outbox};
use gfs_proto::v1 as pb;

/// Handles are minted one by one: one that is this far ahead was never given out by any master,
/// and going on above it would use up all there are.
const FARTHEST: u64 = 1 << 48;

/// Whether a handle may have been minted by a master that knew more than this one.
pub(super) fn is_plausible(handle: u64, counters: &pb::Counters) -> bool {
    handle < counters.handle.saturating_add(FARTHEST)
}

/// Why a registration shows that this master's metadata is older than what servers saw.
pub(super) fn rolled_back(
    request: &pb::RegisterRequest,
    epoch: u64,
    commit_sequence: u64,
    counters: &pb::Counters,
) -> Option<String> {
    if request.epoch > epoch {
        Some(format!("it saw epoch {}, this master leads in {epoch}", request.epoch))
    } else if request.commit_sequence > commit_sequence {
        Some(format!(
            "it heard of commit {}, the last one here is {commit_sequence}",
            request.commit_sequence
        ))
    } else if request.highest_handle >= counters.handle.max(1) {
        Some(format!("it holds chunk {:016x}, which was never made", request.highest_handle))
    } else if request.server >= counters.server.max(1) {
        Some(format!("it was given number {}, which was never given out", request.server))
    } else {
        None
    }
}

impl Chunks {
    /// From now on nothing is deleted, until an administrator ends it.
    pub(super) fn enter_rollback(&mut self, why: &str, out: &mut Outbox) {
        if self.rollback {
            return;
        }
        self.rollback = true;
        out.rolled_back = true;
        out.notes.push((
            true,
            format!(
                "a server knows more than this master ({why}): metadata was rolled back. Unknown \
                 chunks are kept and nothing is deleted until an administrator ends this"
            ),
        ));
    }

    /// What servers hold and no file has, and how much of it is not known. Handles are never reused:
    /// in rollback mode these are chunks made or removed after the metadata that is there now.
    #[must_use]
    pub fn unknown(&self) -> pb::EndRollbackResponse {
        let replicas = self.unknown_replicas();
        let silent = self.servers.registered().filter(|server| !server.is_reported()).count();
        pb::EndRollbackResponse {
            rollback_mode: self.rollback,
            unknown_chunks: replicas.clone().count() as u64,
            unknown_replicas: replicas.map(|of_one| of_one as u64).sum(),
            silent_servers: u32::try_from(silent).unwrap_or(u32::MAX),
        }
    }

    /// An administrator ends rollback mode: what no file has is garbage from now on. Returns the
    /// commit sequence up to which servers give no sign of another rollback, to be recorded.
    pub fn end_rollback(&mut self, out: &mut Outbox) -> u64 {
        self.rollback = false;
        out.rolled_back = false;
        self.forgive(self.heard_sequence);
        out.notes.push((false, "an administrator has ended rollback mode".to_owned()));
        self.pump_deletes(out);
        self.forgiven_sequence
    }

    /// What servers heard up to this commit is known to have been rolled back.
    pub fn forgive(&mut self, sequence: u64) {
        self.forgiven_sequence = self.forgiven_sequence.max(sequence);
    }

    /// Nothing is deleted: metadata was rolled back.
    #[must_use]
    pub fn rollback_mode(&self) -> bool {
        self.rollback
    }
}
