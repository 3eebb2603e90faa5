//! A client that overwrites bytes of a file, anywhere below its length, as may others at the same
//! time.
//!
//! [`FileOverwriter`] speaks the language of [`FileWriter`](super::FileWriter): [`Event`]s in,
//! [`Effect`]s out. What is handed in with [`FileOverwriter::write`] is cut where chunks end; each
//! part is one mutation of one chunk, whose primary puts it in order with those of others.
//!
//! # Rules
//! * It holds no right to the file: the master gives a lease of a chunk to one of its servers for
//!   whoever asks, and refuses what lies beyond the length of the file.
//! * A part is stored once, in the order in which parts of its chunk were handed in.
//! * A write is settled when all its parts are. If one fails, so does it; others of its parts may
//!   have been stored.
//! * What goes wrong with a chunk concerns what is written to that chunk; only silence of the whole
//!   cluster ends the writer.

use super::chunk::{ChunkWriter, Ended, Manner, Mutation, Pace};
use super::patience::Patience;
use super::step::{Ids, Step};
use super::{Answer, AskId, Config, Effect, Event, Question, Settled, SliceId, Token, failure};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Chunks whose streams may stand while nothing is written to them.
const IDLE: usize = 32;
/// Chunks that were left before they were on disk and are remembered, for the next sync.
const UNFLUSHED: usize = 16_384;

/// A part of a write that waits for its chunk's location.
#[derive(Clone, Copy, Debug)]
struct Part {
    id: SliceId,
    from: u32,
    position: u64,
    length: u32,
}

/// A write of which parts are not settled.
#[derive(Debug)]
struct Write {
    position: u64,
    left: u32,
    error: Option<GfsError>,
}

#[derive(Debug)]
struct Waiting {
    token: Token,
    disk: bool,
    /// Everything up to this slice was handed in before.
    mark: Option<SliceId>,
    /// Once all that is settled: what is to be on disk, as mutations of the chunk that begins here.
    targets: Option<BTreeMap<u64, u64>>,
}

/// A chunk being overwritten.
#[derive(Debug)]
struct Open {
    chunk: ChunkWriter,
    /// Grows with each use.
    used: u64,
}

/// The state of a file that this client overwrites.
#[derive(Debug)]
pub struct FileOverwriter {
    config: Config,
    inode: u64,
    writer: u64,
    ids: Ids,
    /// By their start in the file.
    chunks: BTreeMap<u64, Open>,
    uses: u64,
    parts: VecDeque<Part>,
    writes: BTreeMap<SliceId, Write>,
    last: Option<SliceId>,
    outstanding: u64,
    /// Starts of chunks that were left before they were on disk.
    unflushed: BTreeSet<u64>,
    waiting: VecDeque<Waiting>,
    /// The lease that is asked for, by file offset.
    pending: Option<(AskId, u64)>,
    patience: Patience,
    closed: bool,
    failed: Option<GfsError>,
}

impl FileOverwriter {
    /// An overwriter of this file, under this client id.
    #[must_use]
    pub fn new(config: Config, inode: u64, writer: u64, now: Millis) -> Self {
        Self {
            config,
            inode,
            writer,
            ids: Ids::default(),
            chunks: BTreeMap::new(),
            uses: 0,
            parts: VecDeque::new(),
            writes: BTreeMap::new(),
            last: None,
            outstanding: 0,
            unflushed: BTreeSet::new(),
            waiting: VecDeque::new(),
            pending: None,
            patience: Patience::new(now),
            closed: false,
            failed: None,
        }
    }

    /// Whether a write of this many bytes, at most [`Config::max_slice`], may be handed in now.
    #[must_use]
    pub fn has_room(&self, length: u32) -> bool {
        let fits = self.outstanding + u64::from(length) <= u64::from(self.config.window)
            && self.writes.len() < self.config.window_slices;
        self.failed.is_none() && !self.closed && (fits || self.writes.is_empty())
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
        let chunks = self.chunks.values().filter_map(|open| open.chunk.wake_at(&self.config));
        own.into_iter().chain(chunks).min()
    }

    fn is_busy(&self) -> bool {
        !self.writes.is_empty() || !self.waiting.is_empty()
    }

    /// Takes a write of `length` bytes at this position of the file, at least 1 and at most
    /// [`Config::max_slice`]. Slices are named in ascending order.
    pub fn write(
        &mut self,
        now: Millis,
        slice: SliceId,
        position: u64,
        length: u32,
        effects: &mut Vec<Effect>,
    ) {
        let sane = (1..=self.config.max_slice).contains(&length)
            && self.last.is_none_or(|last| last < slice)
            && !self.closed;
        if self.failed.is_none() && !sane {
            let text = format!("{length} bytes were handed in where that cannot be");
            return self.fail(GfsError::new(ErrorCode::Internal, text), effects);
        }
        if let Some(error) = self.failed.clone() {
            effects.push(Effect::Settled { slice, result: Err(error) });
            effects.push(Effect::Release { slice });
            return;
        }
        if !self.is_busy() {
            self.patience.moved(now);
        }
        self.last = Some(slice);
        self.outstanding += u64::from(length);
        self.writes.insert(slice, Write { position, left: length, error: None });
        self.parts.push_back(Part { id: slice, from: 0, position, length });
        self.step(now, Event::Tick, effects);
    }

    /// Takes an event and appends what is to be done. [`Event::Data`] is not for this writer.
    pub fn step(&mut self, now: Millis, event: Event, effects: &mut Vec<Effect>) {
        if self.failed.is_some() || self.is_over() {
            return self.refuse(&event, effects);
        }
        if !self.is_busy() {
            self.patience.moved(now);
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

    fn take(&mut self, event: Event, step: &mut Step<'_>) -> Result<(), GfsError> {
        match event {
            Event::Data { .. } => {
                return Err(GfsError::new(ErrorCode::Internal, "an overwrite says where it goes"));
            }
            Event::Flush { token, disk } | Event::Sync { token, disk } => self.wish(token, disk),
            Event::Close { token } => {
                self.closed = true;
                self.wish(token, false);
            }
            Event::Abandon { token } => {
                let error = GfsError::invalid("what was overwritten cannot be abandoned");
                step.effects.push(Effect::Done { token, result: Err(error) });
            }
            Event::Answer { ask, result } => return self.answered(ask, result, step),
            Event::Stream { stream, event } => {
                if let Some(open) = self.chunks.values_mut().find(|o| o.chunk.has_stream(stream)) {
                    return open.chunk.heard(event, step);
                }
            }
            Event::Probed { probe } => {
                self.chunks.values_mut().for_each(|open| open.chunk.probed(probe));
            }
            Event::Tick => {}
        }
        Ok(())
    }

    fn wish(&mut self, token: Token, disk: bool) {
        let disk = disk || self.config.disk;
        self.waiting.push_back(Waiting { token, disk, mark: self.last, targets: None });
    }

    /// Does whatever can be done now.
    fn advance(&mut self, step: &mut Step<'_>) -> Result<(), GfsError> {
        self.place();
        let pace = if self.waiting.is_empty() { Pace::Batch } else { Pace::Now };
        for open in self.chunks.values_mut() {
            open.chunk.drive(pace, step)?;
        }
        self.tell_settled(step);
        // What went wrong with a chunk does not stick to it: the next write asks for it anew.
        self.chunks.retain(|start, open| {
            let lost = matches!(open.chunk.ended(), Some(Ended::Lost));
            if lost {
                if open.chunk.done() > 0 && !open.chunk.is_on_disk() {
                    self.unflushed.insert(*start);
                }
                open.chunk.let_go(step.effects);
            }
            !lost
        });
        self.answer_waiting(step);
        self.leave_idle(step);
        // What is wanted on disk from now on is asked for now: nothing else may ever happen.
        for open in self.chunks.values_mut().filter(|open| open.chunk.lacks_disk()) {
            open.chunk.drive(pace, step)?;
        }
        if self.pending.is_none() && self.patience.may_ask(step.now) {
            self.ask_next(step);
        }
        Ok(())
    }

    /// Gives parts to the chunks that hold them, in their order.
    fn place(&mut self) {
        let size = u64::from(self.config.chunk_size);
        while let Some(part) = self.parts.front_mut() {
            let Some((start, open)) = self.chunks.range_mut(..=part.position).next_back() else {
                return;
            };
            let reach = open.chunk.location().map_or(0, |location| {
                // The open last chunk of a file may be longer than the master knows.
                if location.sealed { u64::from(location.length) } else { size }
            });
            let Some(room) = (start + reach).checked_sub(part.position).filter(|room| *room > 0)
            else {
                return;
            };
            let length = u64::from(part.length).min(room) as u32;
            let offset = (part.position - start) as u32;
            open.chunk.push(Mutation { id: part.id, from: part.from, offset, length });
            self.uses += 1;
            open.used = self.uses;
            part.from += length;
            part.position += u64::from(length);
            part.length -= length;
            if part.length == 0 {
                self.parts.pop_front();
            }
        }
    }

    fn tell_settled(&mut self, step: &mut Step<'_>) {
        for open in self.chunks.values_mut() {
            for Settled { id, length, result } in open.chunk.take_settled() {
                let result = result.map(|_| ());
                settle(&mut self.writes, &mut self.outstanding, id, length, result, step.effects);
            }
        }
    }

    fn answer_waiting(&mut self, step: &mut Step<'_>) {
        let Self { waiting, chunks, unflushed, writes, .. } = self;
        waiting.retain_mut(|w| {
            let settled = w.mark.is_none_or(|mark| writes.range(..=mark).next().is_none());
            if !settled {
                return true;
            }
            if w.disk {
                let targets = w.targets.get_or_insert_with(|| {
                    let left = unflushed.iter().map(|start| (*start, 0));
                    let here = chunks
                        .iter()
                        .filter(|(_, open)| open.chunk.done() > 0 && !open.chunk.is_on_disk())
                        .map(|(start, open)| (*start, open.chunk.done()));
                    left.chain(here).collect()
                });
                targets.retain(|start, count| match chunks.get_mut(start) {
                    Some(open) => {
                        open.chunk.want_disk(*count);
                        let done = open.chunk.on_disk() >= Some(*count);
                        if done {
                            unflushed.remove(start);
                        }
                        !done
                    }
                    None => true,
                });
                if let Some((start, _)) =
                    targets.iter().find(|(s, _)| !chunks.contains_key(s) && !unflushed.contains(s))
                {
                    let text = format!("the chunk at {start} was changed before it was on disk");
                    let error = GfsError::new(ErrorCode::Conflict, text);
                    step.effects.push(Effect::Done { token: w.token, result: Err(error) });
                    return false;
                }
                if !targets.is_empty() {
                    return true;
                }
            }
            step.effects.push(Effect::Done { token: w.token, result: Ok(None) });
            false
        });
        if self.closed && self.waiting.is_empty() {
            self.let_go(step.effects);
        }
    }

    /// Lets go of chunks that nobody has written to for the longest time.
    fn leave_idle(&mut self, step: &mut Step<'_>) {
        while self.chunks.len() > IDLE {
            let full = self.unflushed.len() >= UNFLUSHED;
            let idle = self
                .chunks
                .iter_mut()
                .filter(|(_, o)| o.chunk.mutations() == 0 && !o.chunk.lacks_disk())
                .min_by_key(|(_, open)| open.used);
            let Some((start, open)) = idle else { return };
            let start = *start;
            if open.chunk.done() > 0 && !open.chunk.is_on_disk() {
                if full && !self.unflushed.contains(&start) {
                    // No more can be remembered: it is brought to disk first.
                    let done = open.chunk.done();
                    open.chunk.want_disk(done);
                    return;
                }
                self.unflushed.insert(start);
            }
            open.chunk.let_go(step.effects);
            self.chunks.remove(&start);
        }
    }

    /// Asks for the lease that is missed first.
    fn ask_next(&mut self, step: &mut Step<'_>) {
        let offset = match self.parts.front() {
            Some(part) => part.position,
            None => {
                let targets = self.waiting.iter().filter_map(|w| w.targets.as_ref());
                let missed = targets
                    .flat_map(|targets| targets.keys())
                    .find(|start| !self.chunks.contains_key(start));
                match missed {
                    Some(start) => *start,
                    None => return,
                }
            }
        };
        let lease = pb::LeaseRequest { inode: self.inode, offset, ..Default::default() };
        self.pending = Some((step.ask(Question::Lease(lease)), offset));
    }

    fn answered(
        &mut self,
        ask: AskId,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        if let Some(open) = self.chunks.values_mut().find(|open| open.chunk.asked(ask)) {
            return open.chunk.answered(result, step);
        }
        let Some((_, offset)) = self.pending.take_if(|(id, _)| *id == ask) else {
            return Ok(());
        };
        match result {
            Ok(Answer::Chunk(location)) => {
                self.leased(offset, *location, step)?;
                step.progress = true;
                self.patience.answered();
            }
            Ok(_) => {
                return Err(GfsError::new(
                    ErrorCode::Internal,
                    "the master answered Lease without a location",
                ));
            }
            Err(detail) => {
                let error = failure::error_of(&detail);
                if error.code.is_retryable() {
                    self.patience.refused(step.now, step.config, &detail);
                    step.trouble = Some(error);
                } else {
                    self.patience.answered();
                    step.progress = true;
                    self.cannot_reach(offset, &error, step);
                }
            }
        }
        Ok(())
    }

    fn leased(
        &mut self,
        offset: u64,
        location: pb::ChunkLocation,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        let size = u64::from(self.config.chunk_size);
        let reach = if location.sealed { u64::from(location.length) } else { size };
        let start = location.start;
        if location.hole || offset < start || offset >= start.saturating_add(reach) {
            return Err(GfsError::new(
                ErrorCode::Internal,
                format!("the master found another chunk than the one at {offset}"),
            ));
        }
        self.uses += 1;
        let chunk = ChunkWriter::at(Manner::Overwrite, step.config, location)?;
        // It counts its mutations anew; what it held before is to be on disk.
        let targets = self.waiting.iter_mut().filter_map(|w| w.targets.as_mut());
        for count in targets.filter_map(|targets| targets.get_mut(&start)) {
            *count = 0;
        }
        let used = self.uses;
        if let Some(mut old) = self.chunks.insert(start, Open { chunk, used }) {
            // It was known with less than there is now: nothing can be under way in it, because
            // what lies behind waits until it is known.
            for m in old.chunk.take_mutations() {
                let error = GfsError::new(ErrorCode::Conflict, "the chunk was replaced");
                let (writes, outstanding) = (&mut self.writes, &mut self.outstanding);
                settle(writes, outstanding, m.id, m.length, Err(error), step.effects);
            }
            old.chunk.let_go(step.effects);
        }
        Ok(())
    }

    /// The master has no chunk there: what was to be written at this offset fails.
    fn cannot_reach(&mut self, offset: u64, error: &GfsError, step: &mut Step<'_>) {
        self.unflushed.remove(&offset);
        if let Some(part) = self.parts.pop_front_if(|part| part.position == offset) {
            let (writes, outstanding) = (&mut self.writes, &mut self.outstanding);
            let result = Err(error.clone());
            settle(writes, outstanding, part.id, part.length, result, step.effects);
        }
    }

    /// Closes all streams and releases all payload.
    fn let_go(&mut self, effects: &mut Vec<Effect>) {
        for open in self.chunks.values_mut() {
            // Payload is released with the writes.
            open.chunk.take_settled().for_each(drop);
            open.chunk.take_mutations().clear();
            open.chunk.let_go(effects);
        }
        self.chunks.clear();
        self.parts.clear();
        self.pending = None;
    }

    fn fail(&mut self, error: GfsError, effects: &mut Vec<Effect>) {
        self.let_go(effects);
        for slice in std::mem::take(&mut self.writes).into_keys() {
            effects.push(Effect::Settled { slice, result: Err(error.clone()) });
            effects.push(Effect::Release { slice });
        }
        for waiting in self.waiting.drain(..) {
            effects.push(Effect::Done { token: waiting.token, result: Err(error.clone()) });
        }
        self.failed = Some(error);
    }

    /// After a failure, or the end, everything is answered with it.
    fn refuse(&self, event: &Event, effects: &mut Vec<Effect>) {
        let error = self.failed.clone().unwrap_or_else(|| GfsError::invalid("the file is closed"));
        if let Event::Flush { token, .. }
        | Event::Sync { token, .. }
        | Event::Close { token }
        | Event::Abandon { token } = event
        {
            effects.push(Effect::Done { token: *token, result: Err(error) });
        }
    }
}

/// A part of a write is settled; with the last one, the write is.
fn settle(
    writes: &mut BTreeMap<SliceId, Write>,
    outstanding: &mut u64,
    slice: SliceId,
    length: u32,
    result: Result<(), GfsError>,
    effects: &mut Vec<Effect>,
) {
    let Some(write) = writes.get_mut(&slice) else { return };
    *outstanding = outstanding.saturating_sub(u64::from(length));
    write.left = write.left.saturating_sub(length);
    if let Err(error) = result {
        write.error.get_or_insert(error);
    }
    if write.left == 0
        && let Some(Write { position, error, .. }) = writes.remove(&slice)
    {
        let result = error.map_or(Ok(position), Err);
        effects.push(Effect::Settled { slice, result });
        effects.push(Effect::Release { slice });
    }
}
