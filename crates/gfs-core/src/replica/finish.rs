//! The end of a chunk's mutations at a version: asked for by its last writer, or because a record
//! did not fit.

use super::stream::{Finish, Phase};
use super::{Output, Outputs, PushBody, Replica, ReplyBody, StreamId, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;

impl<P: Clone> Replica<P> {
    /// Finish came up a stream: from the writer, or from the primary.
    pub(super) fn finish(
        &mut self,
        id: StreamId,
        confirmed: u32,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let (Some(role), Some((_, header))) = (self.role.as_ref(), self.stored.as_ref()) else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.phase != Phase::Open {
            return Err(failure(ErrorCode::InvalidArgument, "a finish before the stream is open"));
        }
        if !role.is_primary() {
            if confirmed != header.length || !role.ordered.is_empty() {
                let text = format!(
                    "finished at {confirmed} bytes, chunk {} has {} here",
                    self.handle, header.length
                );
                let error = failure(ErrorCode::Internal, text);
                self.end_role(&error, out);
                return Ok(());
            }
            self.confirmed = confirmed;
            let serial = header.serial;
            self.unsettled.settle(serial);
        }
        stream.wants_finish();
        self.finish_streams(out);
        Ok(())
    }

    /// A record did not fit into the chunk: nothing more is ordered, what is in flight is carried
    /// to its end, and then every writer is told that the chunk is finished. What it pushed beyond
    /// will not be applied.
    pub(super) fn close_full(&mut self, out: &mut Outputs<P>) {
        let Some(primary) = self.role.as_mut().and_then(|role| role.primary.as_mut()) else {
            return;
        };
        primary.full = true;
        for stream in self.streams.values_mut() {
            stream.held.clear();
            stream.partial = 0;
            let ordered = primary.writers.get(&stream.writer).map_or(0, |writer| writer.ordered);
            for flush in &mut stream.flushes {
                flush.after = flush.after.min(ordered);
            }
            if stream.upstream && stream.phase == Phase::Open {
                (stream.finish, stream.finish_reply) = (Finish::Asked, true);
            }
        }
        self.finish_streams(out);
        self.pass_flushes(out);
    }

    /// Tells the writer of a stream that the chunk is finished, once it is.
    pub(super) fn finish_unasked(&mut self, id: StreamId, out: &mut Outputs<P>) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.wants_finish();
        }
        self.finish_streams(out);
    }

    /// Carries on the streams that are being finished.
    ///
    /// When the last writer finishes, or a record did not fit, the chunk is closed at this version:
    /// every member stores that it is sealed, and so knows, also after a restart, that all its
    /// bytes are acknowledged. A writer that finishes while another still writes is only answered.
    pub(super) fn finish_streams(&mut self, out: &mut Outputs<P>) {
        let ids: Vec<_> = self
            .streams
            .iter()
            .filter(|(_, s)| matches!(s.finish, Finish::Asked | Finish::Sealing { .. }))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.finish_stream(id, out);
        }
    }

    fn finish_stream(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let others = self.streams.iter().any(|(other, s)| {
            *other != id && s.upstream && !matches!(s.phase, Phase::Waiting { .. })
        });
        let (Some(role), Some(stream)) = (self.role.as_mut(), self.streams.get_mut(&id)) else {
            return;
        };
        if stream.finish == Finish::Asked {
            let mut alone = true;
            if let Some(primary) = role.primary.as_mut().filter(|primary| primary.full) {
                let hasty = self.settings.mistakes.has(Mistake::PrimarySealsBeforeInFlightIsDone);
                if !primary.flight.is_empty() && !hasty {
                    return;
                }
            } else if let Some(primary) = &mut role.primary {
                let known = primary.writers.get(&stream.writer);
                let done = known.is_some_and(|known| known.acknowledged == known.ordered);
                if !done || !stream.held.is_empty() {
                    return;
                }
                alone = !others && primary.flight.is_empty();
                primary.closed |= alone;
            }
            if alone {
                role.seal = true;
                stream.finish = Finish::Sealing { down: !stream.has_next() };
                if stream.has_next() {
                    let body = PushBody::Finish(pb::Finish { confirmed: self.confirmed });
                    out.push(Output::SendDown { stream: id, body, payload: None });
                }
            } else {
                stream.finish = Finish::Sealing { down: true };
            }
        }
        let Some((_, header)) = &self.stored else { return };
        let sealed = header.sealed || !role.seal;
        if stream.finish == (Finish::Sealing { down: true }) && sealed {
            stream.finish = Finish::Done;
            if std::mem::take(&mut stream.finish_reply) && stream.upstream {
                let body = pb::Finished {
                    version: role.version,
                    length: self.confirmed,
                    serial: header.serial,
                };
                out.push(Output::Reply { stream: id, body: ReplyBody::Finished(body) });
            }
        }
    }
}
