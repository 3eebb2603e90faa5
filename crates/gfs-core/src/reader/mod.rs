//! A client that reads a range of a chunk: which replica to ask, what to believe, and where to go
//! on when one fails.
//!
//! [`ChunkReader`] is told what happens and says what is to be done. One stream at a time brings
//! the range, in order. When it fails, another replica goes on at the exact byte where verified
//! data ended; whoever reads does not notice.
//!
//! # Rules
//! * No byte is delivered before the checksum of its part was verified.
//! * Replicas that failed come last; when all failed, the master is asked where the chunk is now.
//! * A mismatch is reported to the master, which has the server verify for itself.
//! * Without a delivered byte for [`Config::deadline`] after a failure, the read fails with the
//!   last error.

#[cfg(test)]
mod tests;

use crate::mistakes::{Mistake, Mistakes};
use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, BlockSums, ErrorCode, GfsError, MAX_SLICE, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Times of a reader.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Give up after this long of failures without a byte delivered.
    pub deadline: Millis,
    /// How long the shell waits for a message before it says [`Event::Silent`].
    pub patience: Millis,
    /// Pause before the second question to the master; doubles with every further one.
    pub pause_min: Millis,
    /// Longest pause.
    pub pause_max: Millis,
    /// Rules broken on purpose.
    pub mistakes: Mistakes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline: Millis(30_000),
            patience: Millis(1_000),
            pause_min: Millis(20),
            pause_max: Millis(1_000),
            mistakes: Mistakes::default(),
        }
    }
}

/// Names a read stream. Minted by the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What happens to a reader.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message came.
    Received {
        /// On which stream.
        stream: StreamId,
        /// Its head.
        reply: pb::ReadReply,
        /// Its payload, in pieces.
        payload: Vec<Bytes>,
    },
    /// The stream ended cleanly.
    Ended {
        /// Which.
        stream: StreamId,
    },
    /// The server ended the stream with an error.
    Failed {
        /// Which.
        stream: StreamId,
        /// Why.
        detail: pb::ErrorDetail,
    },
    /// The stream could not be opened, or broke without a word.
    Broken {
        /// Which.
        stream: StreamId,
    },
    /// For [`Config::patience`] the shell waited for a message in vain. (While it did not wait,
    /// because nobody took the data, there is no silence.)
    Silent {
        /// Which.
        stream: StreamId,
    },
    /// The master's answer to [`Effect::Locate`].
    Located(Result<Box<pb::ChunkLocation>, pb::ErrorDetail>),
    /// Time passed: see [`ChunkReader::wake_at`].
    Tick,
}

/// What a reader wants done, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Open a read stream with this request (the shell adds the header).
    Open {
        /// Names the stream.
        stream: StreamId,
        /// The replica's server.
        server: pb::ServerLocation,
        /// The request.
        request: pb::ReadRequest,
    },
    /// Nothing more is wanted of this stream. Each stream opened is closed once.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// Ask the master where the chunk is now.
    Locate {
        /// No replica may answer at this version: ask for a new one (`Metadata.Recover`).
        recover: bool,
    },
    /// Verified bytes, in order.
    Deliver {
        /// In the pieces in which they came.
        pieces: Vec<Bytes>,
    },
    /// Tell the master of damage.
    Report(pb::ReportDamageRequest),
    /// The range is read.
    Done,
    /// It cannot be read.
    Failed(GfsError),
}

/// A range of a chunk to be read.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// From this byte of the chunk.
    pub offset: u32,
    /// Up to, not including, this one.
    pub end: u32,
    /// Everything before this byte must exist. From there on (the last chunk of a file that is
    /// being written) the range ends where the chunk does.
    pub required: u32,
}

/// The state of a read.
#[derive(Debug)]
pub struct ChunkReader {
    config: Config,
    location: pb::ChunkLocation,
    /// The next byte.
    at: u32,
    range: Range,
    streams: u64,
    stream: Option<(StreamId, u32)>,
    /// Servers that failed since the last location.
    tried: BTreeSet<u32>,
    /// Failures by server since the read began: who failed comes last.
    failures: BTreeMap<u32, u32>,
    /// A replica said that it may not answer.
    fenced: bool,
    /// Questions to the master since the last byte.
    rounds: u32,
    ask_at: Option<Millis>,
    asking: bool,
    failing_since: Option<Millis>,
    trouble: Option<GfsError>,
    over: bool,
}

impl ChunkReader {
    /// A reader of this range of the chunk at `location`. It begins with the first
    /// [`Event::Tick`].
    #[must_use]
    pub fn new(config: Config, location: pb::ChunkLocation, range: Range) -> Self {
        Self {
            config,
            location,
            at: range.offset,
            range,
            streams: 0,
            stream: None,
            tried: BTreeSet::new(),
            failures: BTreeMap::new(),
            fenced: false,
            rounds: 0,
            ask_at: None,
            asking: false,
            failing_since: None,
            trouble: None,
            over: false,
        }
    }

    /// The next byte of the chunk that will be delivered.
    #[must_use]
    pub fn at(&self) -> u32 {
        self.at
    }

    /// Where the chunk is, as last heard.
    #[must_use]
    pub fn location(&self) -> &pb::ChunkLocation {
        &self.location
    }

    /// When [`Event::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        self.ask_at
    }

    /// Takes an event and appends what is to be done. After [`Effect::Done`] or
    /// [`Effect::Failed`] nothing more comes.
    pub fn step(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        if self.over {
            return;
        }
        let current = |stream| self.stream.is_some_and(|(id, _)| id == stream);
        match event {
            Event::Received { stream, reply, payload } if current(stream) => {
                self.received(now, &reply, payload, effects);
            }
            Event::Ended { stream } if current(stream) => self.ended(now, effects),
            Event::Failed { stream, detail } if current(stream) => {
                self.refused(now, &detail, effects);
            }
            Event::Broken { stream } if current(stream) => {
                self.next(now, ErrorCode::Unavailable, "broke the stream", effects);
            }
            Event::Silent { stream } if current(stream) => {
                self.next(now, ErrorCode::Unavailable, "is silent", effects);
            }
            Event::Located(result) if self.asking => {
                self.asking = false;
                self.located(now, result, effects);
            }
            _ => {}
        }
        self.advance(now, effects);
    }

    fn advance(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.over || self.stream.is_some() || self.asking {
            return;
        }
        if self.at >= self.range.end {
            self.over = true;
            return effects.push(Effect::Done);
        }
        let late = |since| now.since(since) >= self.config.deadline;
        if self.failing_since.is_some_and(late) {
            let error = self.trouble.take().unwrap_or_else(|| {
                GfsError::new(ErrorCode::DeadlineExceeded, "no replica delivered anything")
            });
            return self.fail(error, effects);
        }
        match self.ask_at {
            Some(time) if now < time => {}
            Some(_) => {
                self.ask_at = None;
                self.asking = true;
                // The first failure may have passed by itself; then only a new version helps.
                let recover = self.fenced && self.rounds > 1;
                effects.push(Effect::Locate { recover });
            }
            None => self.open(now, effects),
        }
    }

    /// Opens a stream to the best replica that was not tried yet.
    fn open(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let rank = |server: u32| self.failures.get(&server).copied().unwrap_or(0);
        let untried = self.location.servers.iter().filter(|s| !self.tried.contains(&s.server));
        // `min_by_key` takes the first of equals: the nearest.
        let Some(server) = untried.min_by_key(|s| rank(s.server)).cloned() else {
            if self.location.servers.is_empty() {
                self.trouble = Some(GfsError::new(
                    ErrorCode::Unavailable,
                    format!("chunk {:016x} has no live replica now", self.location.handle),
                ));
                self.failing_since.get_or_insert(now);
            }
            self.ask(now);
            return self.advance(now, effects);
        };
        self.streams += 1;
        let stream = StreamId(self.streams);
        self.stream = Some((stream, server.server));
        let request = pb::ReadRequest {
            header: None,
            handle: self.location.handle,
            version: self.location.version,
            offset: self.at,
            length: self.range.end - self.at,
        };
        effects.push(Effect::Open { stream, server, request });
    }

    /// Asks the master soon: at once the first time, then with growing pauses.
    fn ask(&mut self, now: Millis) {
        let pause = match self.rounds.checked_sub(1) {
            None => 0,
            Some(n) => (self.config.pause_min.0 << n.min(16)).min(self.config.pause_max.0),
        };
        self.rounds = self.rounds.saturating_add(1);
        self.ask_at = Some(now + Millis(pause));
    }

    fn received(
        &mut self,
        now: Millis,
        reply: &pb::ReadReply,
        payload: Vec<Bytes>,
        effects: &mut Vec<Effect>,
    ) {
        let length: usize = payload.iter().map(Bytes::len).sum();
        if reply.length == 0 && length == 0 && reply.offset == self.at {
            // There is nothing from here on that is acknowledged.
            return self.ended(now, effects);
        }
        let sane = reply.offset == self.at
            && reply.length > 0
            && reply.length as usize == length
            && reply.length <= MAX_SLICE
            && reply.length <= self.range.end - self.at
            && reply.sums.len() as u32 == BlockSums::parts(reply.offset, reply.length);
        if !sane {
            return self.next(now, ErrorCode::Internal, "answered another question", effects);
        }
        let sums = BlockSums::of(reply.offset, &payload);
        let wrong = sums.0.iter().zip(&reply.sums).position(|(ours, theirs)| ours.0 != *theirs);
        if let Some(part) = wrong
            && !self.config.mistakes.has(Mistake::ReaderBelievesUnverifiedBytes)
        {
            self.report(self.at / BLOCK_SIZE + part as u32, effects);
            return self.next(now, ErrorCode::Corrupt, "sent damaged bytes", effects);
        }
        self.at += reply.length;
        self.failing_since = None;
        self.rounds = 0;
        self.fenced = false;
        effects.push(Effect::Deliver { pieces: payload });
        if self.at >= self.range.end {
            self.close(effects);
        }
    }

    fn report(&self, block: u32, effects: &mut Vec<Effect>) {
        let Some((_, server)) = self.stream else { return };
        effects.push(Effect::Report(pb::ReportDamageRequest {
            header: None,
            handle: self.location.handle,
            version: self.location.version,
            server,
            blocks: Some(pb::BlockRange { first: block, count: 1 }),
        }));
    }

    fn ended(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        if self.at < self.range.required {
            return self.next(now, ErrorCode::Internal, "ended too early", effects);
        }
        self.close(effects);
        self.range.end = self.at;
    }

    fn refused(&mut self, now: Millis, detail: &pb::ErrorDetail, effects: &mut Vec<Effect>) {
        use ErrorCode as E;
        let code = E::from_number(detail.code);
        match code {
            // The location is out of date.
            E::StaleVersion | E::UnknownChunk => {
                self.next(now, code, &detail.message, effects);
                self.ask(now);
            }
            E::Corrupt => {
                self.report(self.at / BLOCK_SIZE, effects);
                self.next(now, code, &detail.message, effects);
            }
            E::WrongCluster | E::WrongProtocol | E::Unsupported => {
                self.close(effects);
                self.fail(GfsError::new(code, detail.message.clone()), effects);
            }
            _ => {
                self.fenced |= code == E::Fenced;
                self.next(now, code, &detail.message, effects);
            }
        }
    }

    /// This replica is of no use now.
    fn next(&mut self, now: Millis, code: ErrorCode, why: &str, effects: &mut Vec<Effect>) {
        let Some((_, server)) = self.stream else { return };
        self.close(effects);
        self.tried.insert(server);
        *self.failures.entry(server).or_default() += 1;
        self.failing_since.get_or_insert(now);
        let (handle, at) = (self.location.handle, self.at);
        let text = format!("reading chunk {handle:016x} from byte {at} on: s{server} {why}");
        self.trouble = Some(GfsError::new(code, text));
    }

    fn located(
        &mut self,
        now: Millis,
        result: Result<Box<pb::ChunkLocation>, pb::ErrorDetail>,
        effects: &mut Vec<Effect>,
    ) {
        match result {
            Ok(location) if location.handle == self.location.handle => {
                self.location = *location;
                self.tried.clear();
                // The same answer again gets no faster.
                self.failing_since.get_or_insert(now);
            }
            Ok(_) => {
                let text = format!("chunk {:016x} is no longer in the file", self.location.handle);
                self.fail(GfsError::new(ErrorCode::NotFound, text), effects);
            }
            Err(detail) => {
                let error =
                    GfsError::new(ErrorCode::from_number(detail.code), detail.message.clone());
                if !error.code.is_retryable() {
                    return self.fail(error, effects);
                }
                self.trouble = Some(error);
                self.ask(now);
            }
        }
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        if let Some((stream, _)) = self.stream.take() {
            effects.push(Effect::Close { stream });
        }
    }

    fn fail(&mut self, error: GfsError, effects: &mut Vec<Effect>) {
        self.over = true;
        effects.push(Effect::Failed(error));
    }
}
