//! The order of mutations: the primary gives serials to what all members hold, every member applies
//! strictly by serial, and what all have applied is acknowledged, in order.

use super::role::{InFlight, Ordered};
use super::stream::{Finish, Phase};
use super::{DiskOp, Output, Outputs, PushBody, Replica, ReplyBody, StreamId, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use std::collections::BTreeSet;

/// Writes that a secondary may answer together.
const ANSWER_EVERY: u64 = 4;

impl<P: Clone> Replica<P> {
    /// Primary: gives serials to all slices whose turn it is.
    pub(super) fn order(&mut self, out: &mut Outputs<P>) {
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            while self.order_next(stream, out) {}
        }
    }

    /// Orders the next slice of a stream if it may be: held by all, committed, the writer's next,
    /// and beginning where the chunk will end.
    fn order_next(&mut self, id: StreamId, out: &mut Outputs<P>) -> bool {
        let (Some(role), Some(stream)) = (self.role.as_mut(), self.streams.get_mut(&id)) else {
            return false;
        };
        let Some(primary) = role.primary.as_mut().filter(|p| !p.draining && !p.closed) else {
            return false;
        };
        let Some(writer) = primary.writers.get_mut(&stream.writer) else { return false };
        let sequence = writer.ordered + 1;
        let ready = stream.phase == Phase::Open
            && stream.next > sequence
            && stream.is_held_below(sequence)
            && stream.committed >= sequence;
        if !ready {
            return false;
        }
        let Some(held) = stream.held.remove(&sequence) else { return false };
        let slice = held.slice;
        if slice.offset != primary.projected {
            let text = format!(
                "slice {sequence} begins at {}, the chunk ends at {}",
                slice.offset, primary.projected
            );
            let mut error = failure(ErrorCode::WrongOffset, text);
            error.actual = u64::from(primary.projected);
            self.fail_stream(id, error, out);
            return false;
        }
        writer.ordered = sequence;
        primary.serial += 1;
        primary.projected += slice.length;
        let serial = primary.serial;
        primary.flight.push_back(InFlight {
            serial,
            writer: stream.writer,
            sequence,
            stream: id,
            offset: slice.offset,
            length: slice.length,
        });
        stream.serials.push_back((serial, slice.length));
        if stream.has_next() {
            let apply = pb::Apply {
                serial,
                writer: stream.writer,
                sequence,
                confirmed: self.confirmed,
                offset: slice.offset,
                acknowledged: 0,
            };
            let body = PushBody::Apply(apply);
            out.push(Output::SendDown { stream: id, body, payload: None });
        }
        let ordered = Ordered { writer: stream.writer, slice, payload: held.payload };
        role.ordered.insert(serial, ordered);
        true
    }

    /// Secondary: the primary ordered a slice of this stream.
    pub(super) fn apply(
        &mut self,
        id: StreamId,
        apply: &pb::Apply,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let applied = self.applied_serial();
        let (Some(role), Some(stream)) = (self.role.as_mut(), self.streams.get_mut(&id)) else {
            return Ok(());
        };
        let known = apply.serial <= applied || role.ordered.contains_key(&apply.serial);
        let wrong = role.is_primary() || stream.phase != Phase::Open || known;
        let held = if wrong || apply.writer != stream.writer {
            None
        } else {
            stream.held.remove(&apply.sequence)
        };
        let Some(held) = held else {
            let text = format!(
                "serial {} for slice {} of writer {:x} was not expected at serial {applied}",
                apply.serial, apply.sequence, apply.writer
            );
            let error = failure(ErrorCode::InvalidArgument, text);
            self.end_role(&error, out);
            return Ok(());
        };
        stream.serials.push_back((apply.serial, held.slice.length));
        let ordered = Ordered { writer: apply.writer, slice: held.slice, payload: held.payload };
        role.ordered.insert(apply.serial, ordered);
        if stream.has_next() {
            let body = PushBody::Apply(*apply);
            out.push(Output::SendDown { stream: id, body, payload: None });
        }
        let version = role.version;
        self.heard_confirmed(version, apply.confirmed);
        Ok(())
    }

    /// Last serial that is written here, or being written.
    fn applied_serial(&self) -> u64 {
        let written = self.header().map_or(0, |header| header.serial);
        self.disk.as_ref().and_then(super::Running::serial).map_or(written, |s| s.max(written))
    }

    /// The next mutation to write, if it is here: the one after the last, never a later one.
    pub(super) fn next_write(&mut self, out: &mut Outputs<P>) -> Option<DiskOp<P>> {
        let (_, header) = self.stored.as_ref()?;
        let role = self.role.as_mut()?;
        let mut serial = header.serial + 1;
        let hasty = self.settings.mistakes.has(Mistake::SecondarySkipsSerialGap);
        if hasty && let Some((first, _)) = role.ordered.first_key_value() {
            serial = *first;
        }
        let Ordered { writer, slice, payload } = role.ordered.remove(&serial)?;
        if slice.offset != header.length && !hasty {
            // The primary's replica and this one differ: nothing more may be built on that.
            let text = format!(
                "serial {serial} begins at {}, chunk {} ends at {} here",
                slice.offset, self.handle, header.length
            );
            self.disk_failed(failure(ErrorCode::Internal, text), out);
            return None;
        }
        let version = role.version;
        Some(DiskOp::Write { version, serial, writer, slice, payload })
    }

    /// Something more is applied, here or below: answers who waits for that.
    pub(super) fn applied(&mut self, out: &mut Outputs<P>) {
        if self.primary_at().is_some() {
            self.acknowledge(out);
        } else {
            self.tell_applied(out);
        }
        self.finish_streams(out);
        self.drop_orphans(out);
    }

    /// Secondary: tells senders what it and all below have applied. While the next write is here
    /// already this waits for it, so that a batch is answered once, but not for more than
    /// [`ANSWER_EVERY`] of them.
    fn tell_applied(&mut self, out: &mut Outputs<P>) {
        let written = self.header().map_or(0, |header| header.serial);
        let more = self.role.as_ref().is_some_and(|role| role.ordered.contains_key(&(written + 1)));
        if more && !written.is_multiple_of(ANSWER_EVERY) {
            return;
        }
        for (id, stream) in &mut self.streams {
            let mut through = 0;
            while let Some((serial, length)) = stream.serials.front().copied() {
                if serial > written || !stream.is_applied_below(serial) {
                    break;
                }
                through = serial;
                stream.used = stream.used.saturating_sub(length);
                stream.serials.pop_front();
            }
            if through > 0 && stream.upstream {
                let body = ReplyBody::Applied(pb::Applied { through });
                out.push(Output::Reply { stream: *id, body });
            }
        }
    }

    /// Primary: acknowledges what every member has applied, in the order of serials.
    fn acknowledge(&mut self, out: &mut Outputs<P>) {
        let written = self.header().map_or(0, |header| header.serial);
        let hasty = self.settings.mistakes.has(Mistake::PrimaryAcknowledgesBeforeLastSecondary);
        let Some(primary) = self.role.as_mut().and_then(|role| role.primary.as_mut()) else {
            return;
        };
        let (mut writers, mut last) = (BTreeSet::new(), None);
        while let Some(first) = primary.flight.front().copied() {
            let Some(stream) = self.streams.get_mut(&first.stream) else { break };
            let below = stream.is_applied_below(first.serial) || hasty;
            if first.serial > written || !below {
                break;
            }
            primary.flight.pop_front();
            stream.serials.pop_front();
            stream.used = stream.used.saturating_sub(first.length);
            self.confirmed = self.confirmed.max(first.offset + first.length);
            if let Some(writer) = primary.writers.get_mut(&first.writer) {
                writer.acknowledged = first.sequence;
            }
            writers.insert(first.writer);
            last = Some(first.stream);
        }
        for (id, stream) in &self.streams {
            let Some(known) = primary.writers.get(&stream.writer) else { continue };
            if writers.contains(&stream.writer) && stream.upstream && stream.phase == Phase::Open {
                let body = pb::Acknowledged {
                    through: known.acknowledged,
                    length: self.confirmed,
                    offsets: Vec::new(),
                };
                out.push(Output::Reply { stream: *id, body: ReplyBody::Acknowledged(body) });
            }
        }
        // A full chunk is finished without being asked: each member learns that all its bytes count.
        if self.confirmed == self.settings.chunk_size
            && let Some(stream) = last.and_then(|id| self.streams.get_mut(&id))
            && stream.finish == Finish::No
        {
            stream.finish = Finish::Asked;
        }
    }

    /// Up to here the primary says that all is acknowledged.
    pub(super) fn heard_confirmed(&mut self, version: u64, length: u32) {
        let Some((_, header)) = &self.stored else { return };
        if version == header.complete && header.promised == header.complete {
            self.confirmed = self.confirmed.max(length.min(header.length));
        }
    }

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
        }
        stream.finish_reply = true;
        match stream.finish {
            Finish::No => stream.finish = Finish::Asked,
            Finish::Done => stream.finish = Finish::Sealing { down: true },
            Finish::Asked | Finish::Sealing { .. } => {}
        }
        self.finish_streams(out);
        Ok(())
    }

    /// Carries on the streams that are being finished.
    ///
    /// When the last writer finishes, the chunk is closed at this version: every member stores that
    /// it is sealed, and so knows, also after a restart, that all its bytes are acknowledged. A
    /// writer that finishes while another still writes is only answered.
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
            if let Some(primary) = &mut role.primary {
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
