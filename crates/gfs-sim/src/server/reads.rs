//! Reads of clients, and what a primary has confirmed.

use super::{Role, SCRUB, SCRUB_MICROS, Server, failure, node_at};
use crate::context::{Context, Timer};
use crate::disk::Stored;
use crate::network::StreamId;
use crate::wire::Wire;
use gfs_core::replica::{Event, ReadVerdict};
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, BlockSums, ErrorCode};

/// Bytes of a piece. Smaller than the protocol allows, so that streams break in the middle.
const PIECE: u32 = 48 * 1024;

impl Server {
    /// A reader asks; `first`: the primary may be asked for it.
    pub(super) fn read(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        request: &pb::ReadRequest,
        first: bool,
    ) {
        let stored = self.disk.chunks.get(&request.handle);
        let verdict = match self.gate.check_read(ctx.millis()) {
            Err(error) => ReadVerdict::Refuse(error),
            Ok(()) if stored.is_some_and(Stored::is_suspect) => {
                ReadVerdict::Refuse(failure(ErrorCode::Fenced, "not verified since a power loss"))
            }
            Ok(()) => match self.replicas.get(&request.handle) {
                Some(r) => r.read(request.version, request.offset, request.length),
                None => ReadVerdict::Refuse(failure(ErrorCode::UnknownChunk, "no such chunk")),
            },
        };
        match verdict {
            ReadVerdict::Serve { bytes, chunk_length } => {
                self.serve(ctx, stream, request, bytes, chunk_length);
            }
            ReadVerdict::AskPrimary(primary) if first => {
                let Some(node) = node_at(&primary) else { return };
                let question = pb::ConfirmedRequest {
                    header: None,
                    handle: request.handle,
                    version: request.version,
                };
                let asked = ctx.open(self.me(), node, Wire::Confirmed(question));
                let role = Role::AskPrimary { read: stream, request: request.clone() };
                self.roles.insert(asked, role);
            }
            ReadVerdict::AskPrimary(_) => {
                let error = match self.replicas.get(&request.handle) {
                    Some(replica) => replica.unsettled_now(),
                    None => failure(ErrorCode::UnknownChunk, "no such chunk"),
                };
                self.end_read(ctx, stream, Err(error));
            }
            ReadVerdict::Refuse(error) => self.end_read(ctx, stream, Err(error)),
        }
    }

    fn end_read(&self, ctx: &mut Context, stream: StreamId, result: Result<(), pb::ErrorDetail>) {
        ctx.send(self.me(), stream, Wire::Status(result.map_err(Box::new)));
        ctx.close(self.me(), stream);
    }

    fn serve(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        request: &pb::ReadRequest,
        bytes: u32,
        chunk_length: u32,
    ) {
        if self.cannot_read(ctx) {
            let error = failure(ErrorCode::DiskError, "the disk cannot be read");
            return self.end_read(ctx, stream, Err(error));
        }
        let Some(stored) = self.disk.chunks.get(&request.handle) else { return };
        let (mut at, end) = (request.offset, request.offset.saturating_add(bytes));
        while at < end {
            let piece = (end - at).min(PIECE);
            let (from, to) = (at / BLOCK_SIZE, (at + piece).div_ceil(BLOCK_SIZE));
            if (from..to).any(|block| !stored.is_sound(block)) {
                let error = failure(ErrorCode::Corrupt, "a block does not match its checksum");
                self.end_read(ctx, stream, Err(error));
                return self.tell_damage(ctx, request.handle);
            }
            let payload = stored.bytes(at, piece);
            let sums = BlockSums::of(at, std::slice::from_ref(&payload));
            let head = pb::ReadReply {
                offset: at,
                length: piece,
                sums: sums.0.into_iter().map(|sum| sum.0).collect(),
                chunk_length: if at == request.offset { chunk_length } else { 0 },
            };
            ctx.send(self.me(), stream, Wire::Piece(head, payload));
            at += piece;
        }
        self.end_read(ctx, stream, Ok(()));
    }

    /// The disk fails this read.
    pub(super) fn cannot_read(&self, ctx: &mut Context) -> bool {
        self.manners.unreadable > 0 && ctx.dice.range(0, 100_000) < self.manners.unreadable
    }

    /// Verifies the next chunk after this one.
    pub(super) fn scrub(&mut self, ctx: &mut Context, after: u64) {
        let next = self.disk.chunks.range(after + 1..).next();
        let number = match next.map(|(handle, stored)| (*handle, stored.damaged().is_empty())) {
            Some((handle, sound)) => {
                if !sound {
                    self.tell_damage(ctx, handle);
                }
                handle
            }
            None => 0,
        };
        ctx.after(self.me(), SCRUB_MICROS, Timer { kind: SCRUB, number });
    }

    pub(super) fn tell_damage(&mut self, ctx: &mut Context, handle: u64) {
        if let Some(state) = self.state_of(handle, false) {
            let body = Some(pb::notice::Body::Damaged(state));
            self.notice(ctx, pb::Notice { handle, body });
        }
    }

    pub(super) fn asked_primary(
        &mut self,
        ctx: &mut Context,
        read: StreamId,
        request: &pb::ReadRequest,
        answer: Result<pb::ConfirmedResponse, Box<pb::ErrorDetail>>,
    ) {
        match answer {
            Ok(confirmed) if confirmed.primary => {
                let (version, length) = (request.version, confirmed.length);
                let serial = confirmed.serial;
                self.step(ctx, request.handle, Event::Confirmed { version, length, serial });
                self.read(ctx, read, request, false);
            }
            _ => {
                let error = failure(ErrorCode::Fenced, "the primary is no primary");
                self.end_read(ctx, read, Err(error));
            }
        }
    }

    /// Somebody asks how much is acknowledged.
    pub(super) fn confirmed(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        request: &pb::ConfirmedRequest,
    ) {
        let answer = match self.replicas.get(&request.handle) {
            Some(replica) => Ok(pb::ConfirmedResponse {
                length: replica.confirmed(),
                primary: replica.knows_confirmed(request.version),
                serial: replica.acknowledged(),
            }),
            None => Err(Box::new(failure(ErrorCode::UnknownChunk, "no such chunk"))),
        };
        ctx.send(self.me(), stream, Wire::IsConfirmed(answer));
        ctx.close(self.me(), stream);
    }

    /// An appender asks what became of its records.
    pub(super) fn outcomes(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        request: &pb::OutcomesRequest,
    ) {
        let gate = self.gate.check_read(ctx.millis());
        let answer = match self.replicas.get(&request.handle) {
            _ if gate.is_err() => gate.map(|()| pb::OutcomesResponse::default()),
            _ if self.disk.chunks.get(&request.handle).is_some_and(Stored::is_suspect) => {
                Err(failure(ErrorCode::Fenced, "not verified since a power loss"))
            }
            Some(replica) => replica.outcomes(request.version, request.writer),
            None => Err(failure(ErrorCode::UnknownChunk, "no such chunk")),
        };
        ctx.send(self.me(), stream, Wire::AreOutcomes(answer.map_err(Box::new)));
        ctx.close(self.me(), stream);
    }
}
