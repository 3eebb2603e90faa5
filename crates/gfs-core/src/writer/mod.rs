//! A client that writes a file: what to push where, when a slice may be forgotten, and what to do
//! when something fails.
//!
//! [`FileWriter`] is told what happens ([`Event`]) and says what is to be done ([`Effect`]). It
//! never sees payload: the shell keeps each slice under its [`SliceId`] until [`Effect::Release`].
//!
//! * [`chunk`] pushes the slices of one chunk and recovers it;
//! * this file cuts the data into slices and chunks, asks the master for what concerns the whole
//!   file (the next chunk, length, close), one question at a time, and answers the application;
//! * [`append`] and [`overwrite`] do so for records that are appended, and bytes that are
//!   overwritten;
//! * [`flusher`] brings to disk what was left behind;
//! * [`renewal`] keeps the right to the file's end while nothing is written;
//! * [`failure`] is the table of what an error means.
//!
//! # Rules
//! * A slice is released when the primary acknowledged it: then it is on every current replica.
//! * Whatever fails, unacknowledged slices are pushed again under the sequences they had; replicas
//!   recognise repeats, so nothing is written twice and no order changes.
//! * `Done(Ok)` of a flush, sync or close says that every byte handed in before is acknowledged
//!   *and* lies in a chunk that the master knows as part of the file. (A chunk asked for early is
//!   a spare until its predecessor is known to be full.) If it was asked for, also that every
//!   replica has fsynced them.
//! * Without progress for [`Config::deadline`] the writer gives up, with an error that says what
//!   is acknowledged. What is acknowledged stays.

mod append;
mod chunk;
mod config;
mod event;
mod failure;
mod flusher;
mod overwrite;
mod patience;
mod renewal;
mod step;
#[cfg(test)]
pub(crate) mod tests;

pub use append::{DEPTH, FileAppender};
use chunk::{ChunkWriter, Manner, Pace, Settled};
pub use config::{Config, Start};
pub use event::{
    Answer, AskId, Effect, Event, Question, Room, SliceId, StreamEvent, StreamId, Token,
};
use flusher::Flusher;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, MAX_FILE_LENGTH, Millis};
pub use overwrite::FileOverwriter;
use renewal::Renewal;
use std::collections::VecDeque;
use step::{Ids, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Flush,
    Sync,
    Close,
    Abandon,
}

#[derive(Debug)]
struct Waiting {
    token: Token,
    wish: Wish,
    /// It is to be on disk as well.
    disk: bool,
    /// Everything before this file position was handed in before.
    mark: u64,
}

/// The one question about the file that is with the master.
#[derive(Debug)]
enum Pending {
    Allocate { index: u32, finished: Option<u64> },
    Sync { mark: u64, handle: u64 },
    Close,
    Abandon,
}

/// The state of a file being written.
#[derive(Debug)]
pub struct FileWriter {
    config: Config,
    inode: u64,
    writer: u64,
    ids: Ids,
    /// The first is the last extent that the master knows; the others are spares. At most 3.
    chunks: VecDeque<ChunkWriter>,
    /// Index and start of the chunk after the last of `chunks`.
    next_chunk: (u32, u64),
    /// Everything before this file position was handed in.
    handed: u64,
    slices: usize,
    flusher: Flusher,
    renewal: Renewal,
    waiting: VecDeque<Waiting>,
    pending: Option<(AskId, Pending)>,
    /// After a refused question: when to ask again.
    retry: Option<Millis>,
    /// Questions refused since the last one that was not.
    refusals: u32,
    /// The last time something moved, or there was nothing to move.
    moved_at: Millis,
    /// The last thing that went wrong, for the error at the deadline.
    trouble: Option<GfsError>,
    closed: bool,
    failed: Option<GfsError>,
}

impl FileWriter {
    /// A writer at the end of a file.
    ///
    /// # Errors
    /// When the location makes no sense.
    pub fn new(config: Config, start: Start, now: Millis) -> Result<Self, GfsError> {
        let mut chunks = VecDeque::new();
        let mut next_chunk = (start.chunks, start.length);
        if let Some(last) = start.last {
            if last.start + u64::from(last.length) != start.length || last.hole {
                return Err(GfsError::new(
                    ErrorCode::Internal,
                    format!(
                        "the last chunk has {} bytes from {} on, but the file has {}",
                        last.length, last.start, start.length
                    ),
                ));
            }
            next_chunk = (last.index.saturating_add(1), last.start + u64::from(config.chunk_size));
            chunks.push_back(ChunkWriter::at(Manner::InOrder, &config, last)?);
        }
        Ok(Self {
            config,
            inode: start.inode,
            writer: start.writer,
            ids: Ids::default(),
            chunks,
            next_chunk,
            handed: start.length,
            slices: 0,
            flusher: Flusher::default(),
            renewal: Renewal::new(now, &config),
            waiting: VecDeque::new(),
            pending: None,
            retry: None,
            refusals: 0,
            moved_at: now,
            trouble: None,
            closed: false,
            failed: None,
        })
    }

    /// How much may be handed in now; `None`: wait for acknowledgements, or no more at all.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        if self.failed.is_some() || self.closed {
            return None;
        }
        let size = self.config.chunk_size;
        let (start, offset) = match self.chunks.iter().find(|chunk| chunk.end() < size) {
            Some(chunk) => (chunk.start(), chunk.end()),
            None if self.chunks.len() < 3 => (self.next_chunk.1, 0),
            None => return None,
        };
        // Slices end at whole multiples of the slice size, so that blocks go to disk whole.
        let cut = self.config.max_slice - offset % self.config.max_slice;
        let length = cut.min(size - offset);
        let outstanding = self.outstanding();
        let fits = outstanding + u64::from(length) <= u64::from(self.config.window)
            && self.slices < self.config.window_slices;
        let position = start + u64::from(offset);
        let far = position.saturating_add(u64::from(length)) > MAX_FILE_LENGTH;
        ((fits || outstanding == 0) && !far).then_some(Room { position, offset, length })
    }

    /// Bytes that are handed in and not acknowledged.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.chunks.iter().map(ChunkWriter::outstanding).sum()
    }

    /// Every byte of the file before this position is acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        match self.chunks.iter().find(|chunk| chunk.outstanding() > 0) {
            Some(chunk) => chunk.start() + u64::from(chunk.acknowledged()),
            None => self.handed,
        }
    }

    /// Why nothing more is accepted, if so.
    #[must_use]
    pub fn failure(&self) -> Option<&GfsError> {
        self.failed.as_ref()
    }

    /// When [`Event::Tick`] is due at the latest; `None`: nothing waits for time.
    #[must_use]
    pub fn wake_at(&self) -> Option<Millis> {
        if self.failed.is_some() {
            return None;
        }
        let mut wake: Option<Millis> = None;
        let mut at = |time: Millis| wake = Some(wake.map_or(time, |w| w.min(time)));
        if self.is_busy() {
            at(self.moved_at + self.config.deadline);
        }
        if let Some(retry) = self.retry {
            at(retry);
        }
        for chunk in &self.chunks {
            if let Some(time) = chunk.wake_at(&self.config) {
                at(time);
            }
        }
        if let Some(time) = self.flusher.wake_at(&self.config) {
            at(time);
        }
        if let Some(time) = self.renewal.wake_at().filter(|_| !self.closed) {
            at(time);
        }
        wake
    }

    /// Takes an event and appends what is to be done.
    pub fn step(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        if self.failed.is_some() {
            return self.refuse(event, effects);
        }
        if !self.is_busy() {
            self.moved_at = now;
        }
        // Taken out so that the chunks can be borrowed beside them.
        let (config, mut ids) = (self.config, std::mem::take(&mut self.ids));
        let mut step = Step {
            now,
            config: &config,
            inode: self.inode,
            writer: self.writer,
            ids: &mut ids,
            effects,
            progress: false,
            trouble: self.trouble.take(),
        };
        let result = self.take(event, &mut step).and_then(|()| self.advance(&mut step));
        let progress = step.progress;
        self.trouble = step.trouble;
        self.ids = ids;
        if progress || !self.is_busy() {
            self.moved_at = now;
        }
        match result {
            Err(error) => self.fail(error, effects),
            Ok(()) if self.is_busy() && now.since(self.moved_at) >= self.config.deadline => {
                self.give_up(effects);
            }
            Ok(()) => {}
        }
    }

    fn is_busy(&self) -> bool {
        self.slices > 0 || !self.waiting.is_empty()
    }

    fn take(&mut self, event: Event, step: &mut Step<'_>) -> Result<(), GfsError> {
        match event {
            Event::Data { slice, length } => self.hand_in(slice, length),
            Event::Flush { token, disk } => self.wish(token, Wish::Flush, disk, step),
            Event::Sync { token, disk } => self.wish(token, Wish::Sync, disk, step),
            Event::Close { token } => self.wish(token, Wish::Close, false, step),
            Event::Abandon { token } => self.wish(token, Wish::Abandon, false, step),
            Event::Answer { ask, result } => self.answered(ask, result, step),
            Event::Stream { stream, event } => {
                match self.chunks.iter_mut().find(|chunk| chunk.has_stream(stream)) {
                    Some(chunk) => chunk.heard(event, step),
                    None if self.flusher.has_stream(stream) => self.flusher.heard(event, step),
                    None => Ok(()),
                }
            }
            Event::Probed { probe } => {
                self.chunks.iter_mut().for_each(|chunk| chunk.probed(probe));
                self.flusher.probed(probe);
                Ok(())
            }
            Event::Tick => Ok(()),
        }
    }

    fn hand_in(&mut self, slice: SliceId, length: u32) -> Result<(), GfsError> {
        let room = self.room().filter(|room| (1..=room.length).contains(&length));
        if room.is_none() {
            return Err(GfsError::new(
                ErrorCode::Internal,
                format!("a slice of {length} bytes was handed in where none has room"),
            ));
        }
        let size = self.config.chunk_size;
        if !self.chunks.iter().any(|chunk| chunk.end() < size) {
            let (index, start) = self.next_chunk;
            self.chunks.push_back(ChunkWriter::new(Manner::InOrder, index, start, 0));
            self.next_chunk = (index + 1, start + u64::from(size));
        }
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.end() < size) {
            chunk.hand_in(slice, length);
        }
        self.handed += u64::from(length);
        self.slices += 1;
        self.renewal.wrote();
        Ok(())
    }

    fn wish(
        &mut self,
        token: Token,
        wish: Wish,
        disk: bool,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        if self.closed {
            let error = GfsError::invalid("the file is closed");
            step.effects.push(Effect::Done { token, result: Err(error) });
            return Ok(());
        }
        self.closed = matches!(wish, Wish::Close | Wish::Abandon);
        let disk = disk || self.config.disk;
        self.waiting.push_back(Waiting { token, wish, disk, mark: self.handed });
        if wish == Wish::Abandon {
            let given_up = GfsError::new(ErrorCode::Cancelled, "the file was abandoned");
            self.let_go(step.effects);
            self.finish_waiting(|w| w.wish != Wish::Abandon, &Err(given_up), step.effects);
            self.pending = None;
            self.retry = None;
        }
        Ok(())
    }

    /// Does whatever can be done now.
    fn advance(&mut self, step: &mut Step<'_>) -> Result<(), GfsError> {
        let closing = self.waiting.iter().any(|w| w.wish == Wish::Close);
        let mut pace = if self.waiting.is_empty() { Pace::Batch } else { Pace::Now };
        let disk = self.wants_disk();
        for chunk in &mut self.chunks {
            // A chunk that is full will be left, and then it takes a lease to reach it.
            let left = self.config.disk && chunk.end() == self.config.chunk_size;
            if (disk || left) && chunk.was_written() {
                chunk.want_disk(chunk.handed_in());
            }
            if closing && chunk.was_written() {
                chunk.want_finish();
            }
            chunk.drive(pace, step)?;
            if !chunk.is_full(step.config) {
                // A spare that holds memory must not keep its predecessor, or another writer's,
                // from getting any.
                let held = pace != Pace::Back && chunk.is_open();
                pace = if held { Pace::Hold } else { Pace::Back };
            }
            for Settled { id, .. } in chunk.take_settled() {
                step.effects.push(Effect::Release { slice: id });
            }
        }
        self.flusher.drive(disk, step)?;
        self.slices = self.chunks.iter().map(ChunkWriter::mutations).sum();
        let (durable, on_disk) = (self.durable(), self.is_on_disk());
        self.finish_waiting(
            |w| w.wish == Wish::Flush && w.mark <= durable && (on_disk || !w.disk),
            &Ok(None),
            step.effects,
        );
        if self.pending.is_none() && self.retry.is_none_or(|retry| step.now >= retry) {
            self.retry = None;
            self.ask_next(step);
        }
        if !self.closed {
            self.renewal.drive(self.slices > 0, step);
        }
        Ok(())
    }

    /// Every byte before this position is acknowledged and part of the file for the master.
    fn durable(&self) -> u64 {
        match (self.chunks.front(), self.chunks.get(1)) {
            (Some(_), Some(spare)) => self.acknowledged().min(spare.start()),
            // The chunk of the file's first byte in this session may not be allocated yet.
            _ => self.acknowledged(),
        }
    }

    /// Somebody waits until what was handed in is on disk.
    fn wants_disk(&self) -> bool {
        self.waiting.iter().any(|w| w.disk && w.wish != Wish::Abandon)
    }

    /// All that was handed in is on disk.
    fn is_on_disk(&self) -> bool {
        let is_on_disk = |chunk: &ChunkWriter| !chunk.was_written() || chunk.is_on_disk();
        self.flusher.is_done() && self.chunks.iter().all(is_on_disk)
    }

    /// Asks the master what is most urgent, if anything.
    fn ask_next(&mut self, step: &mut Step<'_>) {
        let has = |wish| self.waiting.iter().any(|w| w.wish == wish);
        let (question, pending) = if has(Wish::Abandon) {
            let close = pb::CloseRequest { inode: self.inode, abandon: true, ..Default::default() };
            (Question::Close(close), Pending::Abandon)
        } else if let Some((index, finished)) = self.chunk_wanted() {
            let pending =
                Pending::Allocate { index, finished: finished.as_ref().map(|f| f.handle) };
            let allocate =
                pb::AllocateRequest { inode: self.inode, index, finished, ..Default::default() };
            (Question::Allocate(allocate), pending)
        } else if has(Wish::Sync) && self.settled() {
            let mark = self.handed;
            match self.chunks.front().filter(|chunk| chunk.was_written()) {
                Some(chunk) => {
                    let Some(last) = chunk.confirmed() else { return };
                    let last = Some(last);
                    let sync = pb::SyncRequest { inode: self.inode, last, ..Default::default() };
                    (Question::Sync(sync), Pending::Sync { mark, handle: chunk.handle() })
                }
                None => {
                    self.finish_waiting(|w| w.wish == Wish::Sync, &Ok(None), step.effects);
                    return self.ask_next(step);
                }
            }
        } else if has(Wish::Close) && self.settled() {
            let finished = match self.chunks.front().filter(|chunk| chunk.was_written()) {
                Some(chunk) => match chunk.finished(step.config) {
                    Some(finished) => vec![finished],
                    None => return,
                },
                None => Vec::new(),
            };
            let close = pb::CloseRequest { inode: self.inode, finished, ..Default::default() };
            (Question::Close(close), Pending::Close)
        } else {
            return;
        };
        self.pending = Some((step.ask(question), pending));
    }

    /// All is acknowledged (and on disk, if somebody waits for that), and lies in the last extent
    /// that the master knows.
    fn settled(&self) -> bool {
        (self.is_on_disk() || !self.wants_disk())
            && self.slices == 0
            && self.chunks.iter().skip(1).all(|chunk| !chunk.was_written())
    }

    /// The chunk to allocate or to make a part of the file, with its predecessor if that is done.
    fn chunk_wanted(&self) -> Option<(u32, Option<pb::FinishedChunk>)> {
        let (front, second) = (self.chunks.front()?, self.chunks.get(1));
        if !front.is_located() {
            return Some((front.index(), None));
        }
        let complete = front.is_full(&self.config) && !front.lacks_disk();
        let finished = front.confirmed().filter(|_| complete);
        match second {
            // A written spare becomes an extent once its predecessor is done.
            Some(spare) if finished.is_some() && spare.was_written() => {
                Some((spare.index(), finished))
            }
            Some(spare) if !spare.is_located() => Some((spare.index(), None)),
            Some(_) => None,
            // Early, when the chunk is half full and more is to be expected.
            None => (!self.closed
                && front.was_written()
                && front.end() > self.config.chunk_size / 2
                && front.end() < self.config.chunk_size)
                .then_some((self.next_chunk.0, None)),
        }
    }

    fn answered(
        &mut self,
        ask: AskId,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.asked(ask)) {
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
            (Ok(Answer::Chunk(location)), Pending::Allocate { index, finished }) => {
                self.allocated(index, finished, *location, step.config)?;
            }
            (Ok(Answer::Attributes(attributes)), Pending::Sync { mark, .. }) => {
                let done = Ok(Some(attributes));
                self.finish_waiting(
                    |w| w.wish == Wish::Sync && w.mark <= mark,
                    &done,
                    step.effects,
                );
            }
            (Ok(Answer::Attributes(attributes)), Pending::Close | Pending::Abandon) => {
                self.let_go(step.effects);
                self.finish_waiting(|_| true, &Ok(Some(attributes)), step.effects);
            }
            (Ok(_), pending) => {
                return Err(GfsError::new(
                    ErrorCode::Internal,
                    format!("the master gave the answer to another question ({pending:?})"),
                ));
            }
            (Err(detail), pending) => return self.refused(&detail, &pending, step),
        }
        step.progress = true;
        self.refusals = 0;
        Ok(())
    }

    fn allocated(
        &mut self,
        index: u32,
        finished: Option<u64>,
        location: pb::ChunkLocation,
        config: &Config,
    ) -> Result<(), GfsError> {
        if let Some(handle) = finished {
            // The predecessor is recorded: nothing more is to be done for it.
            let left = self.chunks.pop_front_if(|chunk| chunk.handle() == handle);
            if let Some(left) = left.filter(|left| left.was_written() && !left.is_on_disk()) {
                self.flusher.leave(left.start(), left.start() + u64::from(left.end()));
            }
        }
        if !self.chunks.iter().any(|chunk| chunk.index() == index) {
            self.chunks.push_back(ChunkWriter::new(Manner::InOrder, index, self.next_chunk.1, 0));
            self.next_chunk = (index + 1, self.next_chunk.1 + u64::from(config.chunk_size));
        }
        match self.chunks.iter_mut().find(|chunk| chunk.index() == index) {
            Some(chunk) if !chunk.is_located() => chunk.locate(config, location),
            Some(chunk) if chunk.handle() == location.handle => Ok(()),
            _ => Err(GfsError::new(
                ErrorCode::Conflict,
                format!(
                    "the master gave chunk {index} of the file two handles, the second {:016x}",
                    location.handle
                ),
            )),
        }
    }

    /// The master refused a question about the file.
    fn refused(
        &mut self,
        detail: &pb::ErrorDetail,
        pending: &Pending,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        let error = failure::error_of(detail);
        let stale = match pending {
            _ if error.code != ErrorCode::StaleVersion => None,
            Pending::Allocate { finished, .. } => *finished,
            Pending::Sync { handle, .. } => Some(*handle),
            Pending::Close => self.chunks.front().map(ChunkWriter::handle),
            Pending::Abandon => None,
        };
        if let Some(chunk) =
            stale.and_then(|handle| self.chunks.iter_mut().find(|c| c.handle() == handle))
        {
            // A version change came in between. What is acknowledged is in it: only the version
            // must be learned, and a partial chunk finished once more.
            chunk.outdated(step);
        } else if !error.code.is_retryable() {
            return Err(error);
        }
        let pause = failure::pause(step.config, self.refusals)
            .max(Millis(u64::from(detail.retry_after_ms)).min(step.config.pause_max));
        self.retry = Some(step.now + pause);
        self.refusals = self.refusals.saturating_add(1);
        step.trouble = Some(error);
        Ok(())
    }

    fn finish_waiting(
        &mut self,
        which: impl Fn(&Waiting) -> bool,
        result: &Result<Option<Box<pb::Attributes>>, GfsError>,
        effects: &mut Vec<Effect>,
    ) {
        self.waiting.retain(|waiting| {
            let done = which(waiting);
            if done {
                effects.push(Effect::Done { token: waiting.token, result: result.clone() });
            }
            !done
        });
    }

    /// Closes all streams and releases all slices.
    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        for chunk in &mut self.chunks {
            chunk.let_go(effects);
        }
        self.flusher.let_go(effects);
        self.chunks.clear();
        self.slices = 0;
    }

    fn give_up(&mut self, effects: &mut Vec<Effect>) {
        let seconds = self.config.deadline.0.div_ceil(1000);
        let why = match &self.trouble {
            Some(error) => format!("; the last failure was: {error}"),
            None => String::new(),
        };
        let message = format!(
            "nothing moved for {seconds} s; every byte before {} is stored{why}",
            self.acknowledged()
        );
        // What somebody must act upon is the better code.
        let code = match self.trouble.as_ref().map(|error| error.code) {
            Some(code @ (ErrorCode::NoSpace | ErrorCode::TooFewServers)) => code,
            _ => ErrorCode::DeadlineExceeded,
        };
        self.fail(GfsError::new(code, message), effects);
    }

    fn fail(&mut self, error: GfsError, effects: &mut Vec<Effect>) {
        self.let_go(effects);
        self.finish_waiting(|_| true, &Err(error.clone()), effects);
        self.pending = None;
        self.failed = Some(error);
    }

    /// After a failure everything is answered with it.
    fn refuse(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match (event, &self.failed) {
            (
                Event::Flush { token, .. }
                | Event::Sync { token, .. }
                | Event::Close { token }
                | Event::Abandon { token },
                Some(error),
            ) => effects.push(Effect::Done { token, result: Err(error.clone()) }),
            (Event::Data { slice, .. }, _) => effects.push(Effect::Release { slice }),
            _ => {}
        }
    }
}
