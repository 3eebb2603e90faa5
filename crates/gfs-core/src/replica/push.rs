//! Push streams: opening them along the chain, taking slices and passing them on, what comes back
//! from below, and the end of a stream.

use super::mutation::Mutation;
use super::stream::{Finish, Phase, Stream};
use super::{
    Event, FLUSH_LIMIT, GRANT_WAIT, MAX_HELD, OPEN_LIMIT, Output, Outputs, PROGRESS_LIMIT,
    PushBody, Replica, ReplyBody, StreamId, WINDOW_DEPTH, failure,
};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, BlockSums, ErrorCode, MAX_SLICE, Millis};
use std::collections::btree_map::Entry;

impl<P: Clone> Replica<P> {
    pub(super) fn pushed(
        &mut self,
        stream: StreamId,
        body: PushBody,
        payload: Option<P>,
        credit: u32,
        out: &mut Outputs<P>,
    ) {
        let done = match body {
            PushBody::Open(open) => return self.open(stream, open, credit, out),
            // A stream that ended here: what was on its way is dropped.
            _ if self.streams.get(&stream).is_none_or(|s| !s.upstream) => return,
            PushBody::Slice(slice) => self.slice(stream, slice, payload, out),
            PushBody::Commit(commit) => self.commit(stream, commit.through, out),
            PushBody::Apply(apply) => self.apply(stream, &apply, out),
            PushBody::Finish(finish) => self.finish(stream, finish.confirmed, out),
            PushBody::Flush(flush) => self.flush(stream, flush.token, out),
        };
        if let Err(error) = done {
            self.fail_stream(stream, error, out);
        }
    }

    fn open(&mut self, id: StreamId, open: pb::PushOpen, credit: u32, out: &mut Outputs<P>) {
        if self.streams.contains_key(&id) {
            return self.fail_stream(id, invalid("a second open on one stream"), out);
        }
        self.streams.insert(id, Stream::new(open, credit, self.clock));
        self.try_open(id, out);
    }

    /// Opens the streams that waited for the version the replica has now.
    pub(super) fn open_waiting(&mut self, out: &mut Outputs<P>) {
        let waiting = |stream: &Stream<P>| matches!(stream.phase, Phase::Waiting { .. });
        let ids: Vec<_> =
            self.streams.iter().filter(|(_, s)| waiting(s)).map(|(id, _)| *id).collect();
        for id in ids {
            self.try_open(id, out);
        }
    }

    fn try_open(&mut self, id: StreamId, out: &mut Outputs<P>) {
        match self.check_open(id) {
            Ok(true) => self.enter(id, out),
            Ok(false) => {}
            Err(error) => self.fail_stream(id, error, out),
        }
    }

    /// Whether the stream may open now; `Ok(false)`: not before a grant that may be on its way.
    fn check_open(&self, id: StreamId) -> Result<bool, pb::ErrorDetail> {
        let Some(stream) = self.streams.get(&id) else { return Ok(false) };
        let open = &stream.open;
        let Some((identity, header)) = &self.stored else { return Ok(false) };
        let lazy = self.settings.mistakes.has(Mistake::ReplicaAcceptsOldVersion);
        if open.version < header.complete || (open.version < header.promised && !lazy) {
            return Err(self.stale(open.version));
        }
        if open.version > header.complete {
            return Ok(false);
        }
        if open.start != identity.start {
            let text =
                format!("chunk {} begins at {}, not {}", self.handle, identity.start, open.start);
            return Err(failure(ErrorCode::Conflict, text));
        }
        let Some(role) = self.role.as_ref().filter(|role| role.version == open.version) else {
            let text = format!(
                "chunkserver {} takes no mutations of chunk {} at version {}",
                self.settings.server, self.handle, open.version
            );
            let code = if header.sealed { ErrorCode::Sealed } else { ErrorCode::NotPrimary };
            return Err(failure(code, text));
        };
        if (open.position == 0) != role.is_primary() {
            let text = format!(
                "chunkserver {} is not at position {} of chunk {}",
                self.settings.server, open.position, self.handle
            );
            return Err(failure(ErrorCode::NotPrimary, text));
        }
        // Whom the data goes to is not the sender's choice, only in which order: an
        // acknowledgement speaks for all members.
        let behind = role.members.len() - 1;
        if open.chain.len() + open.position as usize != behind {
            return Err(invalid(format!(
                "chain of {} at position {} for {} members",
                open.chain.len(),
                open.position,
                role.members.len()
            )));
        }
        for (at, next) in open.chain.iter().enumerate() {
            let twice = open.chain.iter().skip(at + 1).any(|other| other.server == next.server);
            let me = next.server == self.settings.server;
            if twice || me || role.member(next.server).is_none() {
                return Err(invalid(format!("chunkserver {} in the chain", next.server)));
            }
        }
        if role.is_primary() && role.members.len() < role.min_copies as usize {
            let text = format!("{} of at least {} copies", role.members.len(), role.min_copies);
            return Err(failure(ErrorCode::TooFewServers, text));
        }
        Ok(true)
    }

    fn enter(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let primary = self.primary_at().is_some();
        let known = match self.streams.get(&id) {
            Some(stream) if primary => self.admit(&stream.open).map(Some),
            _ => Ok(None),
        };
        let known = match known {
            Ok(known) => known,
            Err(error) => return self.fail_stream(id, error, out),
        };
        let (Some(stream), Some(role)) = (self.streams.get_mut(&id), self.role.as_mut()) else {
            return;
        };
        stream.phase = Phase::Opening;
        let (writer, mut superseded) = (stream.writer, None);
        if let (Some(primary), Some(known)) = (&mut role.primary, known) {
            primary.writers.insert(writer, known);
            stream.next = known.ordered + 1;
            stream.down_held = known.ordered;
            stream.sent_down = known.ordered;
            // A writer has one stream: a second one means that it gave the first one up.
            superseded = self
                .streams
                .iter()
                .find(|(other, s)| **other != id && s.writer == writer && s.upstream)
                .map(|(other, _)| *other);
        }
        if primary {
            self.saw(writer);
        }
        if let Some(old) = superseded {
            let error = failure(ErrorCode::Cancelled, "the writer opened another stream");
            self.fail_stream(old, error, out);
        }
        let (Some(stream), Some(role)) = (self.streams.get(&id), self.role.as_ref()) else {
            return;
        };
        let mut chain = stream.open.chain.iter();
        match chain.next().and_then(|next| role.member(next.server)) {
            Some(next) => {
                let open = pb::PushOpen {
                    chain: chain.filter_map(|s| role.member(s.server)).cloned().collect(),
                    position: stream.open.position + 1,
                    ..stream.open.clone()
                };
                out.push(Output::Dial { stream: id, next: next.clone(), open: Box::new(open) });
            }
            None => self.opened(id, u32::MAX, out),
        }
    }

    /// Everything below is open.
    fn opened(&mut self, id: StreamId, credit_below: u32, out: &mut Outputs<P>) {
        let Some(header) = self.stored.as_ref().map(|(_, header)| header) else { return };
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.phase = Phase::Open;
        stream.credit = stream.credit.min(credit_below);
        let primary = self.role.as_ref().and_then(|role| role.primary.as_ref());
        let known = primary.and_then(|primary| primary.writers.get(&stream.writer));
        let (sequence, offsets) = match known {
            Some(known) => {
                let through = known.acknowledged;
                (through, header.window.offsets_through(stream.writer, through))
            }
            None => (header.window.last(stream.writer), Vec::new()),
        };
        let (credit, length) = (stream.credit, header.length);
        let opened = pb::PushOpened { credit, length, sequence, offsets };
        out.push(Output::Reply { stream: id, body: ReplyBody::Opened(opened) });
        if primary.is_some_and(|primary| primary.full) {
            self.finish_unasked(id, out);
        }
    }

    fn slice(
        &mut self,
        id: StreamId,
        slice: pb::Slice,
        payload: Option<P>,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let chunk_size = self.settings.chunk_size;
        let (Some(payload), Some(stream)) = (payload, self.streams.get_mut(&id)) else {
            return Err(invalid("a slice without payload"));
        };
        if stream.phase != Phase::Open {
            return Err(invalid("a slice before the stream is open"));
        }
        check_slice(&slice, chunk_size)?;
        let sequence = slice.sequence;
        if let Some(primary) = self.role.as_ref().and_then(|role| role.primary.as_ref()) {
            if sequence < stream.next {
                return self.repeated(id, &slice, out);
            }
            if primary.closed || primary.full {
                // What comes after the record that did not fit does not count either.
                if slice.append && !slice.more {
                    self.finish_unasked(id, out);
                } else if !slice.append && !primary.full {
                    return Err(sealed());
                }
                return Ok(());
            }
            if stream.finish != Finish::No {
                return Err(sealed());
            }
        } else if stream.next == 0 {
            stream.next = sequence;
        } else if sequence < stream.next {
            return Ok(());
        } else if sequence > stream.next {
            return Err(invalid(format!("slice {sequence} follows {}", stream.next - 1)));
        }
        if stream.held.get(&sequence).is_some_and(|mutation| mutation.whole) {
            return Ok(());
        }
        if stream.partial != 0 && stream.partial != sequence {
            let text = format!("slice {sequence} within mutation {}", stream.partial);
            return Err(invalid(text));
        }
        self.check_ahead(id, &slice)?;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.used = stream.used.saturating_add(slice.length);
        let held = stream.held.len() + stream.serials.len();
        if stream.used > stream.credit || held >= MAX_HELD {
            let text = format!("{} bytes in flight, {} allowed", stream.used, stream.credit);
            return Err(failure(ErrorCode::NoCredit, text));
        }
        let (commit, more) = (slice.commit, slice.more);
        let mutation = match stream.held.entry(sequence) {
            Entry::Vacant(entry) => match Mutation::begin(slice, payload) {
                Some(mutation) => entry.insert(mutation),
                None => return Err(invalid(format!("mutation {sequence} does not begin so"))),
            },
            Entry::Occupied(entry) => {
                let mutation = entry.into_mut();
                if !mutation.goes_on_with(&slice) {
                    return Err(invalid(format!("mutation {sequence} does not go on so")));
                }
                mutation.take(slice, payload);
                mutation
            }
        };
        let quarter = chunk_size / 4;
        if (mutation.append || mutation.is_cut()) && mutation.length > quarter {
            let text = format!("mutation {sequence} has more than {quarter} bytes");
            return Err(failure(ErrorCode::OutOfRange, text));
        }
        stream.partial = if more { sequence } else { 0 };
        if commit && !more {
            stream.committed = stream.committed.max(sequence);
        }
        self.pass_on(id, out);
        self.tell_held(id, out);
        self.order(out);
        Ok(())
    }

    /// Passes on what came. Members below see a writer's slices in order; one ahead of its turn
    /// waits here.
    fn pass_on(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let hasty = self.settings.mistakes.has(Mistake::ReplicaAppliesHalfAMutation);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        while let Some(mutation) = stream.held.get_mut(&stream.next) {
            if !stream.open.chain.is_empty() {
                while let Some((slice, payload)) = mutation.send_on(stream.next) {
                    let (body, payload) = (PushBody::Slice(slice), Some(payload));
                    out.push(Output::SendDown { stream: id, body, payload });
                }
            }
            if hasty && !mutation.whole {
                (mutation.whole, stream.partial) = (true, 0);
            }
            if !mutation.whole {
                break;
            }
            stream.sent_down = stream.next;
            stream.next += 1;
        }
    }

    /// Primary: a writer has few appended mutations under way, so that the window always tells
    /// where each of them went.
    fn check_ahead(&mut self, id: StreamId, slice: &pb::Slice) -> Result<(), pb::ErrorDetail> {
        let Some(stream) = self.streams.get(&id) else { return Ok(()) };
        let primary = self.role.as_mut().and_then(|role| role.primary.as_mut());
        let Some(writer) = primary.and_then(|p| p.writers.get_mut(&stream.writer)) else {
            return Ok(());
        };
        if slice.append {
            writer.appended = writer.appended.max(slice.sequence);
        }
        let ahead = slice.sequence.saturating_sub(writer.acknowledged);
        if writer.appended > writer.acknowledged && ahead > WINDOW_DEPTH as u64 {
            let text = format!(
                "mutation {} with records among {ahead} that are not acknowledged: at most                  {WINDOW_DEPTH}",
                slice.sequence
            );
            return Err(invalid(text));
        }
        Ok(())
    }

    /// A mutation that already has its serial: it gets the recorded answer, or waits for the same.
    fn repeated(
        &mut self,
        id: StreamId,
        slice: &pb::Slice,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let (Some(stream), Some(role)) = (self.streams.get_mut(&id), self.role.as_ref()) else {
            return Ok(());
        };
        let (Some(primary), Some((_, header))) = (&role.primary, &self.stored) else {
            return Ok(());
        };
        let first = stream.repeating != slice.sequence;
        stream.repeating = if slice.more { slice.sequence } else { 0 };
        let window = &header.window;
        let known = window.offset(stream.writer, slice.sequence);
        if first && !slice.append && known.is_some_and(|offset| offset != slice.offset) {
            let text = format!("slice {} is not what it was before", slice.sequence);
            return Err(failure(ErrorCode::Conflict, text));
        }
        let through = primary.writers.get(&stream.writer).map_or(0, |w| w.acknowledged);
        if slice.sequence <= through && !slice.more {
            let offsets = window.offsets_through(stream.writer, through);
            let body = pb::Acknowledged { through, length: self.confirmed, offsets };
            out.push(Output::Reply { stream: id, body: ReplyBody::Acknowledged(body) });
        }
        Ok(())
    }

    fn commit(
        &mut self,
        id: StreamId,
        through: u64,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.phase != Phase::Open {
            return Err(invalid("a commit before the stream is open"));
        }
        // A writer commits what it has sent: more would only make messages for the members.
        let through = if stream.open.position == 0 { through.min(stream.taken()) } else { through };
        if through > stream.committed {
            stream.committed = through;
            if stream.has_next() {
                let body = PushBody::Commit(pb::Commit { through });
                out.push(Output::SendDown { stream: id, body, payload: None });
            }
        }
        self.tell_held(id, out);
        self.order(out);
        Ok(())
    }

    /// Tells the member before this one what all from here down hold, once something of it is
    /// committed: before that nobody waits for it.
    fn tell_held(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mine = stream.next.saturating_sub(1);
        let through = if stream.has_next() { mine.min(stream.down_held) } else { mine };
        let wanted = stream.committed > stream.held_told && through > stream.held_told;
        if stream.open.position == 0 || !wanted || !stream.upstream {
            return;
        }
        stream.held_told = through;
        out.push(Output::Reply { stream: id, body: ReplyBody::Held(pb::Held { through }) });
    }

    /// A message from the next member.
    pub(super) fn down(&mut self, id: StreamId, body: ReplyBody, out: &mut Outputs<P>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.quiet = None;
        let done = match body {
            ReplyBody::Opened(opened) if stream.phase == Phase::Opening => {
                self.opened(id, opened.credit, out);
                Ok(())
            }
            ReplyBody::Held(held) if held.through <= stream.sent_down => {
                stream.down_held = stream.down_held.max(held.through);
                self.tell_held(id, out);
                self.order(out);
                Ok(())
            }
            ReplyBody::Applied(applied) => {
                let sent = stream.serials.back().map_or(stream.down_applied, |(last, _)| *last);
                stream.down_applied = stream.down_applied.max(applied.through.min(sent));
                self.applied(out);
                Ok(())
            }
            ReplyBody::Finished(_) => {
                if let Finish::Sealing { down } = &mut stream.finish {
                    *down = true;
                }
                self.finish_streams(out);
                Ok(())
            }
            ReplyBody::Flushed(flushed) => self.flushed_below(id, flushed.token, out),
            ReplyBody::Failed(failed) => {
                return self.down_failed(id, failed.error.unwrap_or_default(), out);
            }
            _ => Err(()),
        };
        match done {
            Ok(()) => {}
            Err(()) => {
                let server = self.streams.get(&id).map_or(0, Stream::next_server);
                let why = "it sent something out of order";
                self.down_failed(id, Self::unreachable(server, why), out);
            }
        }
    }

    pub(super) fn down_broken(&mut self, id: StreamId, why: &str, out: &mut Outputs<P>) {
        if let Some(stream) = self.streams.get(&id) {
            let error = Self::unreachable(stream.next_server(), why);
            self.down_failed(id, error, out);
        }
    }

    /// The chain is broken below. Where nothing was in flight yet and the member is only short of
    /// memory, that concerns this stream alone; all else ends the role.
    fn down_failed(&mut self, id: StreamId, error: pb::ErrorDetail, out: &mut Outputs<P>) {
        let opening = self.streams.get(&id).is_some_and(|s| s.phase == Phase::Opening);
        if opening && error.error_code() == ErrorCode::NoCredit {
            return self.fail_stream(id, error, out);
        }
        self.fail_role(&error, out);
    }

    /// The sender is gone. What is in flight is carried to its end, the rest is dropped.
    pub(super) fn upstream_closed(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.upstream = false;
        stream.finish_reply = false;
        stream.held.clear();
        stream.flushes.clear();
        let writer = stream.writer;
        if self.seen.contains_key(&writer) {
            self.seen.insert(writer, self.clock);
        }
        self.drop_orphans(out);
    }

    /// Ends streams whose sender is gone and that have nothing in flight any more.
    pub(super) fn drop_orphans(&mut self, out: &mut Outputs<P>) {
        let primary = self.primary_at().is_some();
        let over = |s: &Stream<P>| !s.upstream && (s.serials.is_empty() || !primary);
        let ids: Vec<_> = self.streams.iter().filter(|(_, s)| over(s)).map(|(id, _)| *id).collect();
        for id in &ids {
            self.streams.remove(id);
            out.push(Output::Close { stream: *id });
        }
        if !ids.is_empty() {
            self.release_writers();
        }
    }

    /// Time passed: streams that waited too long for their grant, or for the next member.
    pub(super) fn tick(&mut self, out: &mut Outputs<P>) {
        let (clock, mut late, mut broken) = (self.clock, Vec::new(), None);
        // What a member writes waits for its flushes, on whichever stream they came.
        let flushing = self.streams.values().any(Stream::awaits_flush);
        for (id, stream) in &self.streams {
            if let Phase::Waiting { since } = stream.phase
                && clock.since(since) >= GRANT_WAIT
            {
                late.push((*id, stream.version));
            }
            let all = stream.open.position as u64 + stream.open.chain.len() as u64 + 1;
            let limit = match stream.phase {
                Phase::Open if flushing => FLUSH_LIMIT,
                Phase::Open => PROGRESS_LIMIT,
                _ => OPEN_LIMIT,
            };
            // Members further down give up first, so that who is next to the culprit names it.
            let limit = limit - Millis(1_000 * u64::from(stream.open.position) / all);
            if stream.quiet.is_some_and(|since| clock.since(since) >= limit) {
                broken.get_or_insert(*id);
            }
        }
        for (id, version) in late {
            let error = if self.stored.is_some() {
                self.stale(version)
            } else {
                failure(ErrorCode::UnknownChunk, format!("there is no chunk {} here", self.handle))
            };
            self.fail_stream(id, error, out);
        }
        if let Some(id) = broken {
            self.down_broken(id, "no progress", out);
        }
        self.watch_writers(out);
    }

    /// Notes since when the next members owe an answer.
    pub(super) fn watch_streams(&mut self) {
        for stream in self.streams.values_mut() {
            if stream.awaits_next() {
                stream.quiet.get_or_insert(self.clock);
            } else {
                stream.quiet = None;
            }
        }
    }

    /// The refusal of a version that the replica is not at.
    pub(super) fn stale(&self, asked: u64) -> pb::ErrorDetail {
        let actual = self.header().map_or(0, |header| header.promised.max(header.complete));
        let text = format!("chunk {} is at version {actual}, not {asked}", self.handle);
        let mut error = failure(ErrorCode::StaleVersion, text);
        error.actual = actual;
        error
    }
}

/// Whether a slice can be one of a chunk of this size at all.
fn check_slice(slice: &pb::Slice, chunk_size: u32) -> Result<(), pb::ErrorDetail> {
    let (sequence, length) = (slice.sequence, slice.length);
    // Parts are whole blocks, so that those of a record are cut where its checksums are.
    let cut = slice.more && !length.is_multiple_of(BLOCK_SIZE);
    if length == 0 || length > MAX_SLICE || sequence == 0 || cut {
        return Err(invalid(format!("slice {sequence} of {length} bytes")));
    }
    let end = u64::from(slice.offset) + u64::from(length);
    let parts = BlockSums::parts(slice.offset, length) as usize;
    if end > u64::from(chunk_size) || slice.sums.len() != parts {
        let text = format!(
            "slice at {}..{end} with {} sums in a chunk of {chunk_size} bytes",
            slice.offset,
            slice.sums.len()
        );
        return Err(failure(ErrorCode::OutOfRange, text));
    }
    Ok(())
}

fn sealed() -> pb::ErrorDetail {
    failure(ErrorCode::Sealed, "the chunk is finished at this version")
}

fn invalid(text: impl Into<String>) -> pb::ErrorDetail {
    failure(ErrorCode::InvalidArgument, text)
}

/// The events of a push stream, for shells that read them from a wire.
impl<P> Event<P> {
    /// A message without payload, other than Open.
    #[must_use]
    pub const fn push(stream: StreamId, body: PushBody) -> Self {
        Self::Push { stream, body, payload: None, credit: 0 }
    }
}
