//! ReportDamage, SetDrain, EndRollback.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, GfsError, ServerNumber};

use super::Outcome;
use crate::brain::Response;
use crate::brain::step::Brain;
use crate::brain::work::Work;

impl Brain {
    /// Ends rollback mode, if that is confirmed. A repeat changes nothing more.
    pub(super) fn end_rollback(
        &mut self,
        work: &mut Work,
        request: &pb::EndRollbackRequest,
    ) -> Response {
        let unknown = self.chunks.unknown();
        if request.confirmed && self.chunks.rollback_mode() {
            self.cluster.rollback_mode = false;
            self.cluster.known_sequence = self.chunks.end_rollback(&mut work.chunks);
            work.cluster = true;
        }
        Response::EndRollback(pb::EndRollbackResponse {
            rollback_mode: self.chunks.rollback_mode(),
            ..unknown
        })
    }

    pub(super) fn report_damage(
        &mut self,
        work: &mut Work,
        request: &pb::ReportDamageRequest,
    ) -> Outcome {
        let handle = ChunkHandle(request.handle);
        if self.chunks.info(handle).is_none() {
            return Err(GfsError::new(
                ErrorCode::UnknownChunk,
                format!("chunk {handle} does not exist"),
            ));
        }
        self.chunks.damage_reported(
            work.now,
            handle,
            request.version,
            ServerNumber(request.server),
            request.blocks,
            &mut work.chunks,
        );
        Ok(Some(Response::ReportDamage(pb::ReportDamageResponse {})))
    }

    pub(super) fn set_drain(&mut self, work: &mut Work, request: &pb::SetDrainRequest) -> Outcome {
        let chunks_left = self.chunks.set_drain(
            work.now,
            ServerNumber(request.server),
            request.drain,
            request.force,
            self.cluster.default_copies as u8,
            &mut work.chunks,
        )?;
        // The mark may be another call's, and not durable yet.
        work.after = self.journal.last();
        Ok(Some(Response::SetDrain(pb::SetDrainResponse { chunks_left })))
    }

    /// Nobody is told that a server may be removed before that is durable.
    pub(super) fn rest_on_moves(&self, work: &mut Work) {
        if self.chunks.is_draining() {
            work.after = self.journal.last();
        }
    }
}
