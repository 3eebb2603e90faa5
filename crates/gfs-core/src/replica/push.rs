//! Push streams: opening them along the chain, taking slices and passing them on, what comes back
//! from below, and the end of a stream.

use super::role::Writer;
use super::stream::{Finish, Held, Phase, Stream};
use super::{
    Event, GRANT_WAIT, MAX_HELD, OPEN_LIMIT, Output, Outputs, PROGRESS_LIMIT, PushBody, Replica,
    ReplyBody, StreamId, failure,
};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{BlockSums, ErrorCode, MAX_SLICE, Millis};

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
            PushBody::Flush(_) => Err(failure(ErrorCode::Unsupported, "flush is not served yet")),
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
        let (Some(stream), Some(role)) = (self.streams.get_mut(&id), self.role.as_mut()) else {
            return;
        };
        stream.phase = Phase::Opening;
        let (writer, mut superseded) = (stream.writer, None);
        if let Some(primary) = &mut role.primary {
            let last = self.stored.as_ref().map_or(0, |(_, header)| header.window.last(writer));
            let known = Writer { ordered: last, acknowledged: last };
            let known = primary.writers.entry(writer).or_insert(known);
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
        let opened = pb::PushOpened {
            credit: stream.credit,
            length: header.length,
            sequence: known
                .map_or_else(|| header.window.last(stream.writer), |known| known.acknowledged),
            offsets: Vec::new(),
        };
        out.push(Output::Reply { stream: id, body: ReplyBody::Opened(opened) });
    }

    fn slice(
        &mut self,
        id: StreamId,
        slice: pb::Slice,
        payload: Option<P>,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let chunk_size = u64::from(self.settings.chunk_size);
        let (Some(payload), Some(stream)) = (payload, self.streams.get_mut(&id)) else {
            return Err(invalid("a slice without payload"));
        };
        if stream.phase != Phase::Open {
            return Err(invalid("a slice before the stream is open"));
        }
        let end = u64::from(slice.offset) + u64::from(slice.length);
        let parts = BlockSums::parts(slice.offset, slice.length) as usize;
        if slice.length == 0 || slice.length > MAX_SLICE || slice.sequence == 0 {
            let text = format!("slice {} of {} bytes", slice.sequence, slice.length);
            return Err(invalid(text));
        }
        if end > chunk_size || slice.sums.len() != parts {
            let text = format!(
                "slice at {}..{end} with {} sums in a chunk of {chunk_size} bytes",
                slice.offset,
                slice.sums.len()
            );
            return Err(failure(ErrorCode::OutOfRange, text));
        }
        let primary = self.role.as_ref().and_then(|role| role.primary.as_ref());
        if let Some(primary) = primary {
            if slice.sequence < stream.next {
                return self.repeated(id, &slice, out);
            }
            if primary.closed || stream.finish != Finish::No {
                return Err(failure(ErrorCode::Sealed, "the chunk is finished at this version"));
            }
        } else if stream.next == 0 {
            stream.next = slice.sequence;
        } else if slice.sequence < stream.next {
            return Ok(());
        } else if slice.sequence > stream.next {
            return Err(invalid(format!("slice {} follows {}", slice.sequence, stream.next - 1)));
        }
        if stream.held.contains_key(&slice.sequence) {
            return Ok(());
        }
        stream.used = stream.used.saturating_add(slice.length);
        let held = stream.held.len() + stream.serials.len();
        if stream.used > stream.credit || held >= MAX_HELD {
            let text = format!("{} bytes in flight, {} allowed", stream.used, stream.credit);
            return Err(failure(ErrorCode::NoCredit, text));
        }
        if slice.commit {
            stream.committed = stream.committed.max(slice.sequence);
        }
        stream.held.insert(slice.sequence, Held { slice, payload });
        // Members below see a writer's slices in order; one ahead of its turn waits here.
        while let Some(held) = stream.held.get(&stream.next) {
            stream.next += 1;
            if stream.has_next() {
                stream.sent_down = held.slice.sequence;
                out.push(Output::SendDown {
                    stream: id,
                    body: PushBody::Slice(held.slice.clone()),
                    payload: Some(held.payload.clone()),
                });
            }
        }
        self.tell_held(id, out);
        self.order(out);
        Ok(())
    }

    /// A mutation that already has its serial: it gets the recorded answer, or waits for the same.
    fn repeated(
        &self,
        id: StreamId,
        slice: &pb::Slice,
        out: &mut Outputs<P>,
    ) -> Result<(), pb::ErrorDetail> {
        let (Some(stream), Some(role)) = (self.streams.get(&id), self.role.as_ref()) else {
            return Ok(());
        };
        let Some(primary) = &role.primary else { return Ok(()) };
        let header = self.header();
        let known = header.and_then(|h| h.window.offset(stream.writer, slice.sequence));
        if known.is_some_and(|offset| offset != slice.offset) {
            let text = format!("slice {} is not what it was before", slice.sequence);
            return Err(failure(ErrorCode::Conflict, text));
        }
        let through = primary.writers.get(&stream.writer).map_or(0, |w| w.acknowledged);
        if slice.sequence <= through {
            let body = pb::Acknowledged { through, length: self.confirmed, offsets: Vec::new() };
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
        self.end_role(&error, out);
    }

    /// The sender is gone. What is in flight is carried to its end, the rest is dropped.
    pub(super) fn upstream_closed(&mut self, id: StreamId, out: &mut Outputs<P>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.upstream = false;
        stream.finish_reply = false;
        stream.held.clear();
        self.drop_orphans(out);
    }

    /// Ends streams whose sender is gone and that have nothing in flight any more.
    pub(super) fn drop_orphans(&mut self, out: &mut Outputs<P>) {
        let primary = self.primary_at().is_some();
        let over = |s: &Stream<P>| !s.upstream && (s.serials.is_empty() || !primary);
        let ids: Vec<_> = self.streams.iter().filter(|(_, s)| over(s)).map(|(id, _)| *id).collect();
        for id in ids {
            self.streams.remove(&id);
            out.push(Output::Close { stream: id });
        }
    }

    /// Time passed: streams that waited too long for their grant, or for the next member.
    pub(super) fn tick(&mut self, out: &mut Outputs<P>) {
        let (clock, mut late, mut broken) = (self.clock, Vec::new(), None);
        for (id, stream) in &self.streams {
            if let Phase::Waiting { since } = stream.phase
                && clock.since(since) >= GRANT_WAIT
            {
                late.push((*id, stream.version));
            }
            let all = stream.open.position as u64 + stream.open.chain.len() as u64 + 1;
            let limit = match stream.phase {
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
