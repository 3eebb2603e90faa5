//! A client that appends records to a file, as may many others at the same time.
//!
//! [`FileAppender`] speaks the language of [`FileWriter`](super::FileWriter): [`Event`]s in,
//! [`Effect`]s out. What is handed in with [`Event::Data`] is one *mutation*: a record, or several
//! that are to lie together. The primary says where it goes ([`Effect::Settled`]).
//!
//! # Rules
//! * A mutation is stored once and whole. It keeps its number in a chunk for as long as it may be
//!   in there, whatever fails; it goes to the next chunk only when it is certain that it is not,
//!   and never will be, in this one: its primary closed the chunk without it and the master
//!   accepted that, or a replica of the sealed chunk says so.
//! * Mutations are stored in the order in which they were handed in.
//! * Where nobody can tell what became of one (the chunk has forgotten this writer), that one fails
//!   with `OUTCOME_UNKNOWN`, and those behind it go on.
//! * At most [`DEPTH`] mutations are unacknowledged: a replica remembers the places of so many.

use super::chunk::{ChunkWriter, Ended, Manner, Mutation, Pace};
use super::flusher::Flusher;
use super::patience::Patience;
use super::renewal::Renewal;
use super::step::{Ids, Step};
use super::{
    Answer, AskId, Config, Effect, Event, Question, Settled, SliceId, Start, Token, failure,
};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};
use std::collections::VecDeque;

/// Mutations that may be unacknowledged.
pub const DEPTH: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Flush,
    Close,
}

#[derive(Debug)]
struct Waiting {
    token: Token,
    wish: Wish,
    disk: bool,
    /// So many mutations were handed in before.
    mark: u64,
}

/// The one question about the file that is with the master.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Allocate,
    Close,
}

/// The state of a file that this client appends to.
#[derive(Debug)]
pub struct FileAppender {
    config: Config,
    inode: u64,
    writer: u64,
    ids: Ids,
    /// The last chunk that this client knows.
    chunk: Option<ChunkWriter>,
    /// Index of the chunk to ask for when there is none yet.
    first: u32,
    /// Mutations that were settled before they came to `chunk`.
    before: u64,
    /// Mutations for the chunk after this one.
    backlog: VecDeque<Mutation>,
    /// Mutations handed in, and settled: in the same order.
    handed: u64,
    settled: u64,
    outstanding: u64,
    flusher: Flusher,
    renewal: Renewal,
    waiting: VecDeque<Waiting>,
    pending: Option<(AskId, Pending)>,
    patience: Patience,
    closed: bool,
    /// The master knows a newer end than this client confirmed: it closes without saying one.
    plain_close: bool,
    failed: Option<GfsError>,
}

impl FileAppender {
    /// An appender to a file that the master has opened for it.
    ///
    /// # Errors
    /// When the location makes no sense.
    pub fn new(config: Config, start: Start, now: Millis) -> Result<Self, GfsError> {
        let chunk = match start.last {
            Some(last) => Some(ChunkWriter::at(Manner::Append, &config, last)?),
            None => None,
        };
        Ok(Self {
            config,
            inode: start.inode,
            writer: start.writer,
            ids: Ids::default(),
            chunk,
            first: start.chunks,
            before: 0,
            backlog: VecDeque::new(),
            handed: 0,
            settled: 0,
            outstanding: 0,
            flusher: Flusher::default(),
            renewal: Renewal::new(now, &config),
            waiting: VecDeque::new(),
            pending: None,
            patience: Patience::new(now),
            closed: false,
            plain_close: false,
            failed: None,
        })
    }

    /// Most bytes of a record: a quarter of a chunk.
    #[must_use]
    pub fn most(config: &Config) -> u32 {
        config.chunk_size / 4
    }

    /// How many bytes of records a mutation may have that is handed in now, when `waiting` bytes
    /// wait; `None`: wait for acknowledgements. One record may have more, up to
    /// [`most`](Self::most).
    #[must_use]
    pub fn room(&self, waiting: u64) -> Option<u32> {
        if self.failed.is_some() || self.closed {
            return None;
        }
        let limit = self.config.max_slice.min(Self::most(&self.config));
        // Small records gather while two mutations are under way, as Nagle's algorithm has it.
        let depth = if waiting >= u64::from(limit) { DEPTH } else { 2 };
        let unsettled = self.handed - self.settled;
        let fits =
            self.outstanding + waiting.min(u64::from(limit)) <= u64::from(self.config.window);
        (unsettled < depth as u64 && (fits || unsettled == 0)).then_some(limit)
    }

    /// Why nothing more is accepted, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&GfsError> {
        self.failed.as_ref()
    }

    /// Whether it is closed and nothing more is to be done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closed && self.waiting.is_empty()
    }

    /// When [`Event::Tick`] is due at the latest; `None`: nothing waits for time.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        if self.failed.is_some() || self.is_over() {
            return None;
        }
        let own = self.patience.wake_at(self.is_busy(), &self.config);
        let chunk = self.chunk.as_ref().and_then(|chunk| chunk.wake_at(&self.config));
        let renewal = self.renewal.wake_at().filter(|_| !self.closed);
        let flusher = self.flusher.wake_at(&self.config);
        own.into_iter().chain(chunk).chain(flusher).chain(renewal).min()
    }

    /// Takes an event and appends what is to be done.
    pub fn step(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        if self.failed.is_some() || self.is_over() {
            return self.refuse(event, effects);
        }
        if !self.is_busy() {
            self.patience.moved(now);
        }
        // Taken out so that the chunk can be borrowed beside them.
        let (config, mut ids) = (self.config, std::mem::take(&mut self.ids));
        let mut step = Step {
            now,
            config: &config,
            inode: self.inode,
            writer: self.writer,
            ids: &mut ids,
            effects,
            progress: false,
            trouble: self.patience.trouble.take(),
        };
        let result = self.take(event, &mut step).and_then(|()| self.advance(&mut step));
        let progress = step.progress;
        self.patience.trouble = step.trouble;
        self.ids = ids;
        if progress || !self.is_busy() {
            self.patience.moved(now);
        }
        match result {
            Err(error) => self.fail(error, effects),
            Ok(()) if self.is_busy() && self.patience.is_over(now, &config) => {
                let what = "what was not acknowledged may have been stored, or not";
                self.fail(self.patience.error(&config, what), effects);
            }
            Ok(()) => {}
        }
    }

    fn is_busy(&self) -> bool {
        self.handed > self.settled || !self.waiting.is_empty()
    }

    fn take(&mut self, event: Event, step: &mut Step<'_>) -> Result<(), GfsError> {
        match event {
            Event::Data { slice, length } => return self.hand_in(slice, length),
            Event::Flush { token, disk } | Event::Sync { token, disk } => {
                self.wish(token, Wish::Flush, disk, step);
            }
            Event::Close { token } => self.wish(token, Wish::Close, self.config.disk, step),
            Event::Abandon { token } => {
                let error = GfsError::invalid("what was appended cannot be abandoned");
                step.effects.push(Effect::Done { token, result: Err(error) });
            }
            Event::Answer { ask, result } => return self.answered(ask, result, step),
            Event::Stream { stream, event } => {
                if let Some(chunk) = self.chunk.as_mut().filter(|chunk| chunk.has_stream(stream)) {
                    return chunk.heard(event, step);
                }
                if self.flusher.has_stream(stream) {
                    return self.flusher.heard(event, step);
                }
            }
            Event::Probed { probe } => {
                if let Some(chunk) = &mut self.chunk {
                    chunk.probed(probe);
                }
                self.flusher.probed(probe);
            }
            Event::Tick => {}
        }
        Ok(())
    }

    fn hand_in(&mut self, id: SliceId, length: u32) -> Result<(), GfsError> {
        if self.closed || !(1..=Self::most(&self.config)).contains(&length) {
            return Err(GfsError::new(
                ErrorCode::Internal,
                format!("{length} bytes were handed in where that cannot be"),
            ));
        }
        self.handed += 1;
        self.outstanding += u64::from(length);
        self.renewal.wrote();
        let mutation = Mutation { id, from: 0, offset: 0, length };
        match self.chunk.as_mut().filter(|chunk| chunk.ended().is_none()) {
            Some(chunk) => chunk.push(mutation),
            None => self.backlog.push_back(mutation),
        }
        Ok(())
    }

    fn wish(&mut self, token: Token, wish: Wish, disk: bool, step: &mut Step<'_>) {
        if self.closed {
            let error = GfsError::invalid("the file is closed");
            step.effects.push(Effect::Done { token, result: Err(error) });
            return;
        }
        self.closed = wish == Wish::Close;
        let disk = disk || self.config.disk;
        self.waiting.push_back(Waiting { token, wish, disk, mark: self.handed });
    }

    /// Does whatever can be done now.
    fn advance(&mut self, step: &mut Step<'_>) -> Result<(), GfsError> {
        let pace = if self.waiting.is_empty() { Pace::Batch } else { Pace::Now };
        let disk = self.waiting.iter().filter(|w| w.disk).map(|w| w.mark).max();
        if let Some(chunk) = &mut self.chunk {
            if let Some(count) = disk.and_then(|mark| mark.checked_sub(self.before)) {
                chunk.want_disk(count.min(chunk.handed_in()));
            }
            let all = self.backlog.is_empty() && chunk.mutations() == 0;
            if self.closed && all && chunk.done() > 0 && !chunk.lacks_disk() {
                chunk.want_finish();
            }
            chunk.drive(pace, step)?;
        }
        self.flusher.drive(disk.is_some(), step)?;
        self.tell_settled(step);
        let (settled, on_disk) = (self.settled, self.on_disk());
        self.waiting.retain(|w| {
            let done = w.wish == Wish::Flush
                && w.mark <= settled
                && (!w.disk || on_disk.is_some_and(|on_disk| w.mark <= on_disk));
            if done {
                step.effects.push(Effect::Done { token: w.token, result: Ok(None) });
            }
            !done
        });
        if self.pending.is_none() && self.patience.may_ask(step.now) {
            self.ask_next(step);
        }
        if !self.closed {
            self.renewal.drive(self.handed > self.settled, step);
        }
        Ok(())
    }

    fn tell_settled(&mut self, step: &mut Step<'_>) {
        let Some(chunk) = &mut self.chunk else { return };
        for Settled { id, length, result } in chunk.take_settled() {
            self.settled += 1;
            self.outstanding = self.outstanding.saturating_sub(u64::from(length));
            step.effects.push(Effect::Settled { slice: id, result });
            step.effects.push(Effect::Release { slice: id });
        }
    }

    /// Mutations, from the first on, that are known to be on disk; `None`: not even the first.
    fn on_disk(&self) -> Option<u64> {
        if !self.flusher.is_done() {
            return None;
        }
        let here = self.chunk.as_ref().and_then(ChunkWriter::on_disk).unwrap_or_default();
        Some(self.before + here)
    }

    /// Asks the master what is most urgent, if anything.
    fn ask_next(&mut self, step: &mut Step<'_>) {
        let disk = self.waiting.iter().any(|w| w.disk)
            && self.on_disk().is_none_or(|on_disk| on_disk < self.handed);
        // A chunk that ended can be brought to disk only after it was left.
        let leave = disk
            && self.flusher.is_done()
            && self.chunk.as_ref().is_some_and(|chunk| chunk.ended().is_some());
        let closing = self.closed && self.settled == self.handed && !leave;
        if !closing {
            // It asks for the next chunk even if it has nothing to append just now: so the primary
            // that speaks for the file's appenders knows this one.
            let (index, finished) = match &self.chunk {
                None => (self.first, None),
                Some(chunk) => match chunk.ended() {
                    Some(Ended::Full(finished)) => (chunk.index() + 1, Some(*finished)),
                    Some(Ended::Sealed | Ended::Lost) => (chunk.index() + 1, None),
                    None => return,
                },
            };
            return self.allocate(index, finished, step);
        }
        if disk {
            return;
        }
        let finished = match &self.chunk {
            Some(chunk) if !self.plain_close => match chunk.ended() {
                Some(Ended::Full(finished)) => Some(*finished),
                Some(_) => None,
                None if chunk.done() == 0 => None,
                None => match chunk.finished(step.config) {
                    Some(finished) => Some(finished),
                    None => return,
                },
            },
            _ => None,
        };
        let finished = finished.into_iter().collect();
        let close = pb::CloseRequest { inode: self.inode, finished, ..Default::default() };
        self.pending = Some((step.ask(Question::Close(close)), Pending::Close));
    }

    /// The primary closed the chunk, and the master has not accepted that.
    fn ended_full(&self) -> bool {
        let ended = self.chunk.as_ref().and_then(ChunkWriter::ended);
        matches!(ended, Some(Ended::Full(_)))
    }

    fn allocate(&mut self, index: u32, finished: Option<pb::FinishedChunk>, step: &mut Step<'_>) {
        let inode = self.inode;
        let allocate = pb::AllocateRequest { inode, index, finished, ..Default::default() };
        self.pending = Some((step.ask(Question::Allocate(allocate)), Pending::Allocate));
    }

    fn answered(
        &mut self,
        ask: AskId,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        if let Some(chunk) = self.chunk.as_mut().filter(|chunk| chunk.asked(ask)) {
            return chunk.answered(result, step);
        }
        if self.flusher.asked(ask) {
            return self.flusher.answered(ask, result, step);
        }
        if self.renewal.answered(ask, &result, step)? {
            return Ok(());
        }
        let Some((_, pending)) = self.pending.take_if(|(id, _)| *id == ask) else {
            return Ok(());
        };
        match (result, pending) {
            (Ok(Answer::Chunk(location)), Pending::Allocate) => self.go_to(*location, step)?,
            (Ok(Answer::Attributes(attributes)), Pending::Close) => {
                self.let_go(step.effects);
                let result = Ok(Some(attributes));
                for waiting in self.waiting.drain(..) {
                    step.effects
                        .push(Effect::Done { token: waiting.token, result: result.clone() });
                }
            }
            (Ok(_), pending) => {
                return Err(GfsError::new(
                    ErrorCode::Internal,
                    format!("the master gave the answer to another question ({pending:?})"),
                ));
            }
            (Err(detail), pending) => return self.refused(&detail, pending, step),
        }
        step.progress = true;
        self.patience.answered();
        Ok(())
    }

    /// The next chunk: what the last one did not take goes there, under new numbers.
    fn go_to(&mut self, location: pb::ChunkLocation, step: &mut Step<'_>) -> Result<(), GfsError> {
        let index = self.chunk.as_ref().map_or(self.first, |chunk| chunk.index() + 1);
        if location.index != index {
            return Err(GfsError::new(
                ErrorCode::Internal,
                format!("the master gave chunk {} where {index} was wanted", location.index),
            ));
        }
        let sealed = location.sealed;
        let mut next = ChunkWriter::at(Manner::Append, step.config, location)?;
        self.tell_settled(step);
        if let Some(mut last) = self.chunk.take() {
            self.before += last.done();
            if last.done() > 0 && !last.is_on_disk() {
                self.flusher.leave(last.start(), next.start());
            }
            last.take_mutations().into_iter().for_each(|mutation| next.push(mutation));
            last.let_go(step.effects);
        }
        self.backlog.drain(..).for_each(|mutation| next.push(mutation));
        if sealed {
            // Others have filled it already.
            next.is_sealed_for_appender(step);
        }
        self.chunk = Some(next);
        Ok(())
    }

    /// The master refused a question about the file.
    fn refused(
        &mut self,
        detail: &pb::ErrorDetail,
        pending: Pending,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        let error = failure::error_of(detail);
        let outdated = error.code == ErrorCode::StaleVersion;
        let conflict = error.code == ErrorCode::Conflict;
        match pending {
            // Somebody recovered the chunk, or sealed it: its length is recorded.
            Pending::Close if !self.plain_close && (outdated || conflict) => {
                self.plain_close = true;
            }
            // A version change came in between: the chunk may take mutations again, or somebody
            // sealed it with more.
            Pending::Allocate if outdated || (conflict && self.ended_full()) => {
                if let Some(chunk) = &mut self.chunk {
                    chunk.outdated(step);
                    self.backlog.drain(..).for_each(|mutation| chunk.push(mutation));
                }
            }
            _ if !error.code.is_retryable() => return Err(error),
            _ => {}
        }
        self.patience.refused(step.now, step.config, detail);
        step.trouble = Some(error);
        Ok(())
    }

    /// Closes all streams and releases all payload.
    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        if let Some(mut chunk) = self.chunk.take() {
            chunk.let_go(effects);
        }
        self.flusher.let_go(effects);
        effects.extend(self.backlog.drain(..).map(|m| Effect::Release { slice: m.id }));
        self.pending = None;
    }

    fn fail(&mut self, error: GfsError, effects: &mut Vec<Effect>) {
        let chunk = self.chunk.iter_mut().flat_map(|chunk| {
            let settled: Vec<Settled> = chunk.take_settled().collect();
            let left = chunk.take_mutations().into_iter();
            let fail =
                |m: Mutation| Settled { id: m.id, length: m.length, result: Err(error.clone()) };
            settled.into_iter().chain(left.map(fail)).collect::<Vec<_>>()
        });
        let backlog = self.backlog.drain(..).map(|m| Settled {
            id: m.id,
            length: m.length,
            result: Err(error.clone()),
        });
        for Settled { id, result, .. } in chunk.chain(backlog) {
            effects.push(Effect::Settled { slice: id, result });
            effects.push(Effect::Release { slice: id });
        }
        self.settled = self.handed;
        self.let_go(effects);
        for waiting in self.waiting.drain(..) {
            effects.push(Effect::Done { token: waiting.token, result: Err(error.clone()) });
        }
        self.failed = Some(error);
    }

    /// After a failure, or the end, everything is answered with it.
    fn refuse(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let error = self.failed.clone().unwrap_or_else(|| GfsError::invalid("the file is closed"));
        match event {
            Event::Flush { token, .. }
            | Event::Sync { token, .. }
            | Event::Close { token }
            | Event::Abandon { token } => effects.push(Effect::Done { token, result: Err(error) }),
            Event::Data { slice, .. } => {
                effects.push(Effect::Settled { slice, result: Err(error) });
                effects.push(Effect::Release { slice });
            }
            _ => {}
        }
    }
}
