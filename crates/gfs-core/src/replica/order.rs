//! The order of mutations: the primary gives serials to what all members hold, every member applies
//! strictly by serial, and what all have applied is acknowledged, in order.

use super::mutation::Mutation;
use super::role::{InFlight, Ordered, Primary};
use super::stream::{Finish, Phase};
use super::{DiskOp, Output, Outputs, PushBody, Replica, ReplyBody, StreamId, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use std::collections::BTreeMap;

/// Writes that a secondary may answer together.
const ANSWER_EVERY: u64 = 4;

impl<P: Clone> Replica<P> {
    /// Primary: gives serials to all mutations whose turn it is.
    pub(super) fn order(&mut self, out: &mut Outputs<P>) {
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            while self.order_next(stream, out) {}
        }
    }

    /// Orders the next mutation of a stream if it may be: held by all, committed, the writer's
    /// next. One that is appended goes to where the chunk will end.
    fn order_next(&mut self, id: StreamId, out: &mut Outputs<P>) -> bool {
        let (Some(role), Some(stream)) = (self.role.as_ref(), self.streams.get(&id)) else {
            return false;
        };
        let takes = |p: &&Primary| !p.draining && !p.closed && !p.full;
        let Some(primary) = role.primary.as_ref().filter(takes) else { return false };
        let Some(writer) = primary.writers.get(&stream.writer) else { return false };
        let sequence = writer.ordered + 1;
        let ready = stream.phase == Phase::Open
            && stream.next > sequence
            && stream.is_held_below(sequence)
            && stream.committed >= sequence;
        if !ready {
            return false;
        }
        let Some(mutation) = stream.held.get(&sequence) else { return false };
        match self.place(primary, stream.writer, sequence, mutation) {
            Ok(Some(offset)) => self.give_serial(id, sequence, offset, out),
            Ok(None) => self.close_full(out),
            Err(error) => self.fail_stream(id, error, out),
        }
        true
    }

    /// Where a mutation goes; `None`: there is no room for it, and so for no other.
    fn place(
        &self,
        primary: &Primary,
        writer: u64,
        sequence: u64,
        mutation: &Mutation<P>,
    ) -> Result<Option<u32>, pb::ErrorDetail> {
        let (end, limit) = (primary.projected, primary.limit);
        let offset = if mutation.append { end } else { mutation.offset };
        if offset > end {
            let text = format!("slice {sequence} begins at {offset}, the chunk ends at {end}");
            let mut error = failure(ErrorCode::WrongOffset, text);
            error.actual = u64::from(end);
            return Err(error);
        }
        if u64::from(offset) + u64::from(mutation.length) > u64::from(limit) {
            if mutation.append {
                return Ok(None);
            }
            let text = format!(
                "slice {sequence} at {offset} of {} bytes in a chunk of at most {limit}",
                mutation.length
            );
            return Err(failure(ErrorCode::OutOfRange, text));
        }
        // One more writer makes every member forget the one that is silent for longest.
        let window = &primary.window;
        if window.of(writer).is_none() && window.oldest().is_some_and(|oldest| self.is_live(oldest))
        {
            return Err(self.no_room());
        }
        Ok(Some(offset))
    }

    fn give_serial(&mut self, id: StreamId, sequence: u64, offset: u32, out: &mut Outputs<P>) {
        let (Some(role), Some(stream)) = (self.role.as_mut(), self.streams.get_mut(&id)) else {
            return;
        };
        let Some(primary) = role.primary.as_mut() else { return };
        let Some(mut mutation) = stream.held.remove(&sequence) else { return };
        let (writer, length) = (stream.writer, mutation.length);
        mutation.offset = offset;
        if let Some(known) = primary.writers.get_mut(&writer) {
            known.ordered = sequence;
        }
        primary.serial += 1;
        primary.window.record(writer, sequence, offset);
        let twice = self.settings.mistakes.has(Mistake::PrimaryGivesOffsetTwice);
        if !(twice && mutation.append) {
            primary.projected = primary.projected.max(offset + length);
        }
        let serial = primary.serial;
        primary.flight.push_back(InFlight { serial, writer, sequence, stream: id, offset, length });
        stream.serials.push_back((serial, length));
        if stream.has_next() {
            let apply = pb::Apply {
                serial,
                writer,
                sequence,
                confirmed: self.confirmed,
                offset,
                acknowledged: self.unsettled.acknowledged(),
            };
            let body = PushBody::Apply(apply);
            out.push(Output::SendDown { stream: id, body, payload: None });
        }
        role.ordered.insert(serial, Ordered { writer, sequence, mutation });
        self.saw(writer);
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
        let fits = |mutation: &Mutation<P>| {
            mutation.whole && (mutation.append || mutation.offset == apply.offset)
        };
        let right = !wrong && apply.writer == stream.writer;
        let held = stream.held.get(&apply.sequence).is_some_and(fits) && right;
        let held = if held { stream.held.remove(&apply.sequence) } else { None };
        let Some(mut mutation) = held else {
            let text = format!(
                "serial {} for slice {} of writer {:x} was not expected at serial {applied}",
                apply.serial, apply.sequence, apply.writer
            );
            let error = failure(ErrorCode::InvalidArgument, text);
            self.end_role(&error, out);
            return Ok(());
        };
        mutation.offset = apply.offset;
        stream.serials.push_back((apply.serial, mutation.length));
        let (writer, sequence) = (apply.writer, apply.sequence);
        role.ordered.insert(apply.serial, Ordered { writer, sequence, mutation });
        if stream.has_next() {
            let body = PushBody::Apply(*apply);
            out.push(Output::SendDown { stream: id, body, payload: None });
        }
        let version = role.version;
        self.heard_confirmed(version, apply.confirmed, apply.acknowledged);
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
        let Ordered { writer, sequence, mutation } = role.ordered.remove(&serial)?;
        let Mutation { append, offset, length, parts, .. } = mutation;
        let end = u64::from(offset) + u64::from(length);
        let (here, size) = (header.length, u64::from(self.settings.chunk_size));
        let follows = if append { offset == here } else { offset <= here };
        if !(follows && end <= size || hasty) {
            // The primary's replica and this one differ: nothing more may be built on that.
            let text = format!(
                "serial {serial} begins at {offset}, chunk {} ends at {here} here",
                self.handle
            );
            self.disk_failed(failure(ErrorCode::Internal, text), out);
            return None;
        }
        if offset < here {
            self.unsettled.overwritten(serial, offset, here.min(offset + length));
        }
        let version = role.version;
        Some(DiskOp::Write { version, serial, writer, sequence, offset, append, parts })
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
        let before = self.confirmed;
        let (mut places, mut last) = (BTreeMap::<u64, Vec<u32>>::new(), None);
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
            self.unsettled.settle(first.serial);
            if let Some(writer) = primary.writers.get_mut(&first.writer) {
                writer.acknowledged = first.sequence;
            }
            places.entry(first.writer).or_default().push(first.offset);
            last = Some(first.stream);
        }
        for (id, stream) in &self.streams {
            if !stream.upstream || stream.phase != Phase::Open {
                continue;
            }
            let Some(known) = primary.writers.get(&stream.writer) else { continue };
            let Some(offsets) = places.remove(&stream.writer) else { continue };
            let (through, length) = (known.acknowledged, self.confirmed);
            let body = ReplyBody::Acknowledged(pb::Acknowledged { through, length, offsets });
            out.push(Output::Reply { stream: *id, body });
        }
        // A chunk that one writer filled is finished without being asked: each member learns that
        // all its bytes count.
        let filled = before < self.confirmed && self.confirmed == self.settings.chunk_size;
        if filled
            && self.streams.values().filter(|stream| stream.upstream).count() == 1
            && let Some(stream) = last.and_then(|id| self.streams.get_mut(&id))
            && stream.finish == Finish::No
        {
            stream.finish = Finish::Asked;
        }
        self.pass_flushes(out);
    }

    /// The primary says that every byte up to here, and every mutation through this serial, is
    /// acknowledged.
    pub(super) fn heard_confirmed(&mut self, version: u64, length: u32, serial: u64) {
        let Some((_, header)) = &self.stored else { return };
        if version == header.complete && header.promised == header.complete {
            self.confirmed = self.confirmed.max(length.min(header.length));
            self.unsettled.settle(serial);
        }
    }
}
