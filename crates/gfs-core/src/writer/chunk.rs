//! One chunk of a file being written: its mutations, the stream to its primary, and its recovery.
//!
//! ```text
//!            located            Opened
//! Unlocated ────────▶ Idle ──▶ Opening ──▶ Open ──▶ (Finished) Idle
//!                      ▲          │ failure  │
//!                      │          ▼          ▼
//!            located   └──────  Pausing ──▶ Recovering (Metadata.Recover, Metadata.Lease)
//!                                              │ sealed, of an appender
//!                                              ▼
//!                                           Settling (Data.Outcomes)
//! ```
//!
//! Mutations are numbered when the first stream stands: after what the primary says it has of this
//! writer. From then on a mutation keeps its number in this chunk through all recoveries.

mod outcomes;
mod recovery;
mod replies;

use super::failure::Remedy;
use super::{AskId, Config, Effect, SliceId, Step, StreamId};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, ErrorCode, GfsError, Millis};
use std::collections::{BTreeSet, VecDeque};

/// Who says where the mutations of a chunk go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// One behind the other: this writer is the only one.
    InOrder,
    /// The primary, wherever the chunk ends when their turn comes.
    Append,
    /// The application, anywhere in what is there.
    Overwrite,
}

/// A mutation that is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mutation {
    /// Whose payload.
    pub(super) id: SliceId,
    /// From which of its bytes on.
    pub(super) from: u32,
    /// Where in the chunk; of an appended one 0.
    pub(super) offset: u32,
    /// Bytes.
    pub(super) length: u32,
}

/// What became of a mutation: where in the file it lies, or why it failed.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) id: SliceId,
    pub(super) length: u32,
    pub(super) result: Result<u64, GfsError>,
}

/// Why a chunk takes nothing more of this writer.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// Its primary closed it, at this length: final when the master accepts it.
    Full(pb::FinishedChunk),
    /// The master calls it sealed.
    Sealed,
    /// It cannot be written to any more; its mutations have failed.
    Lost,
}

/// The way to the primary.
#[derive(Debug)]
enum Link {
    /// The file asks for a location.
    Unlocated,
    /// Located; a stream is opened when there is something to say.
    Idle,
    Opening(Watch, StreamId),
    Open(Stream),
    Pausing {
        until: Millis,
        then: Remedy,
    },
    Recovering(AskId),
    /// A replica of the sealed chunk is asked what became of the mutations; it is this one of the
    /// location.
    Settling(AskId, usize),
}

/// Mutations that are committed together while earlier ones are under way. Each commit costs every
/// member a few small messages, so a writer that has more to say lets them gather, as Nagle's
/// algorithm (RFC 896) does for TCP; one that has not is never made to wait for more.
const BATCH: u64 = 4;

/// Mutations as large as the largest that an overwriter has under way in a chunk, and is not slowed
/// by.
const ENOUGH: u32 = 4;

/// When the primary is told to apply what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Never, nor is there to be a stream: the chunk before this one has none, and might wait for
    /// the memory that this one's holds.
    Back,
    /// Not yet: the chunk before this one is not acknowledged full.
    Hold,
    /// At once when nothing committed is under way, else in batches.
    Batch,
    /// At once: someone waits for the acknowledgement.
    Now,
}

/// A stream that stands on all members.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    /// Mutations, from the first unacknowledged one on, that were sent.
    sent: usize,
    in_flight: u64,
    /// Sequence through which the primary was told to apply.
    committed: u64,
    credit: u64,
    /// What the primary had applied of this writer when the stream was opened: the last sequence,
    /// and the places of the last few.
    applied: (u64, Vec<u32>),
    finishing: bool,
    /// Flushes asked for on this stream: the tokens.
    flushes: u64,
    flush: Option<Flushing>,
    watch: Watch,
}

/// A flush that is not answered.
#[derive(Clone, Copy, Debug)]
struct Flushing {
    token: u64,
    /// Mutations of the chunk that it covers, counted from the first.
    covers: u64,
    since: Millis,
}

/// Looks for signs of life of a stream from which an answer is due.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The last sign, or the moment from which on one was due. `None`: none is due.
    since: Option<Millis>,
    probe: Probe,
}

#[derive(Clone, Copy, Debug, Default)]
enum Probe {
    #[default]
    NotAsked,
    Asked(AskId),
    Answered,
}

/// A chunk being written.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    manner: Manner,
    index: u32,
    start: u64,
    location: Option<pb::ChunkLocation>,
    link: Link,
    /// Length that is acknowledged: on every current replica.
    acknowledged: u32,
    /// Where the next slice goes, in order.
    end: u32,
    /// Length when this writer came.
    began_at: u32,
    mutations: VecDeque<Mutation>,
    /// Mutations that are acknowledged or failed, since the file asked last.
    settled: Vec<Settled>,
    /// Sequence of the last acknowledged mutation; `None` until a primary told where numbers begin.
    sequence: Option<u64>,
    /// Highest sequence that any primary was told to apply: none above it can be acknowledged.
    committed: u64,
    /// Mutations that were settled, from the first on.
    done: u64,
    /// How many of them are to be on disk, and are; `Some(0)`: what the chunk held before.
    want_disk: Option<u64>,
    on_disk: Option<u64>,
    want_finish: bool,
    finished: bool,
    ended: Option<Ended>,
    /// A primary of this version knows that this writer is there.
    greeted: bool,
    /// Since the last progress: failures, those of them that were silence, and whether the stream
    /// was opened again without asking for a new version.
    attempts: u32,
    silences: u32,
    reopened: bool,
    /// Servers to be left out.
    unreachable: BTreeSet<u32>,
    /// The last version at which a primary was given anything: what is not applied where a later one
    /// is complete never will be.
    pushed: u64,
}

impl Stream {
    /// Whether what is sent up to `sequence` is to be committed now, when everything through `base`
    /// is acknowledged.
    fn commits(&self, sequence: u64, base: u64, pace: Pace) -> bool {
        match pace {
            Pace::Back | Pace::Hold => false,
            Pace::Batch => self.committed <= base || sequence >= self.committed + BATCH,
            Pace::Now => true,
        }
    }
}

impl ChunkWriter {
    /// A chunk of this length without location.
    pub(super) fn new(manner: Manner, index: u32, start: u64, length: u32) -> Self {
        Self {
            manner,
            index,
            start,
            location: None,
            link: Link::Unlocated,
            acknowledged: length,
            end: length,
            began_at: length,
            mutations: VecDeque::new(),
            settled: Vec::new(),
            sequence: None,
            committed: 0,
            done: 0,
            want_disk: None,
            on_disk: None,
            want_finish: false,
            finished: false,
            ended: None,
            greeted: false,
            attempts: 0,
            silences: 0,
            reopened: false,
            unreachable: BTreeSet::new(),
            pushed: 0,
        }
    }

    /// The chunk at this location.
    pub(super) fn at(
        manner: Manner,
        config: &Config,
        location: pb::ChunkLocation,
    ) -> Result<Self, GfsError> {
        let mut chunk = Self::new(manner, location.index, location.start, location.length);
        chunk.locate(config, location)?;
        Ok(chunk)
    }

    pub(super) fn index(&self) -> u32 {
        self.index
    }

    /// File offset of its first byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u32 {
        self.end
    }

    pub(super) fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// Bytes handed in, in order, and not acknowledged.
    pub(super) fn outstanding(&self) -> u64 {
        u64::from(self.end - self.acknowledged)
    }

    /// Mutations that are not acknowledged.
    pub(super) fn mutations(&self) -> usize {
        self.mutations.len()
    }

    pub(super) fn was_written(&self) -> bool {
        self.end > self.began_at
    }

    /// Acknowledged to its last byte, in order: finished without a word.
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.acknowledged == config.chunk_size
    }

    pub(super) fn is_located(&self) -> bool {
        self.location.is_some()
    }

    pub(super) fn location(&self) -> Option<&pb::ChunkLocation> {
        self.location.as_ref()
    }

    /// `0` while unlocated.
    pub(super) fn handle(&self) -> u64 {
        self.location.as_ref().map_or(0, |location| location.handle)
    }

    fn version(&self) -> u64 {
        self.location.as_ref().map_or(0, |location| location.version)
    }

    fn primary(&self) -> u32 {
        self.location.as_ref().map_or(0, |location| location.primary)
    }

    /// Why it takes nothing more, if so.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// What became of mutations since the last call.
    pub(super) fn take_settled(&mut self) -> std::vec::Drain<'_, Settled> {
        self.settled.drain(..)
    }

    /// What is not acknowledged, to go elsewhere.
    pub(super) fn take_mutations(&mut self) -> VecDeque<Mutation> {
        std::mem::take(&mut self.mutations)
    }

    /// What its primary confirmed so far; `None` while its version is in doubt.
    pub(super) fn confirmed(&self) -> Option<pb::FinishedChunk> {
        let certain = matches!(self.link, Link::Idle | Link::Opening(..) | Link::Open(_));
        certain.then(|| pb::FinishedChunk {
            handle: self.handle(),
            version: self.version(),
            length: self.acknowledged,
        })
    }

    /// The same, once it is final.
    pub(super) fn finished(&self, config: &Config) -> Option<pb::FinishedChunk> {
        self.confirmed().filter(|_| self.finished || self.is_full(config))
    }

    /// Takes the next slice, in order.
    pub(super) fn hand_in(&mut self, id: SliceId, length: u32) {
        self.mutations.push_back(Mutation { id, from: 0, offset: self.end, length });
        self.end += length;
    }

    /// Takes a mutation that is appended or says where it goes.
    pub(super) fn push(&mut self, mutation: Mutation) {
        self.mutations.push_back(mutation);
    }

    /// No more data comes: have the length confirmed.
    pub(super) fn want_finish(&mut self) {
        self.want_finish = true;
    }

    /// Mutations handed in so far, from the first on.
    pub(super) fn handed_in(&self) -> u64 {
        self.done + self.mutations.len() as u64
    }

    /// Mutations settled so far, from the first on.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Mutations, from the first on, that are on disk; `None`: nothing is known to be.
    pub(super) fn on_disk(&self) -> Option<u64> {
        self.on_disk
    }

    /// So many mutations, from the first on, and what the chunk held before, are to be on disk.
    pub(super) fn want_disk(&mut self, count: u64) {
        self.want_disk = self.want_disk.max(Some(count));
    }

    /// Whether something that was asked to be on disk is not.
    pub(super) fn lacks_disk(&self) -> bool {
        self.want_disk > self.on_disk
    }

    /// Whether all that was acknowledged is on disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.on_disk.is_some_and(|on_disk| on_disk >= self.done)
    }

    /// Takes the first or a new location.
    pub(super) fn locate(
        &mut self,
        config: &Config,
        location: pb::ChunkLocation,
    ) -> Result<(), GfsError> {
        let known = self.location.as_ref();
        let strange = location.hole
            || location.handle == 0
            || location.version == 0
            || location.index != self.index
            || location.length > config.chunk_size
            || known.is_some_and(|known| {
                known.handle != location.handle || known.version > location.version
            });
        if strange {
            return Err(GfsError::new(
                ErrorCode::Internal,
                format!(
                    "the master located chunk {} of the file at handle {:016x} version {}, which \
                     does not follow handle {:016x} version {}",
                    self.index,
                    location.handle,
                    location.version,
                    self.handle(),
                    self.version()
                ),
            ));
        }
        if self.version() != location.version {
            self.unreachable.clear();
            self.finished = false;
            self.greeted = false;
        }
        self.location = Some(location);
        self.link = Link::Idle;
        Ok(())
    }

    /// Whether its stream stands on all members.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    pub(super) fn has_stream(&self, stream: StreamId) -> bool {
        self.stream() == Some(stream)
    }

    pub(super) fn asked(&self, ask: AskId) -> bool {
        matches!(&self.link, Link::Recovering(asked) | Link::Settling(asked, _) if *asked == ask)
    }

    fn stream(&self) -> Option<StreamId> {
        match &self.link {
            Link::Opening(_, id) => Some(*id),
            Link::Open(stream) => Some(stream.id),
            _ => None,
        }
    }

    fn watch(&self) -> Option<&Watch> {
        match &self.link {
            Link::Opening(watch, _) => Some(watch),
            Link::Open(stream) => Some(&stream.watch),
            _ => None,
        }
    }

    fn watch_mut(&mut self) -> Option<&mut Watch> {
        match &mut self.link {
            Link::Opening(watch, _) => Some(watch),
            Link::Open(stream) => Some(&mut stream.watch),
            _ => None,
        }
    }

    /// When to look again.
    pub(super) fn wake_at(&self, config: &Config) -> Option<Millis> {
        if let Link::Pausing { until, .. } = &self.link {
            return Some(*until);
        }
        let watch = self.watch()?;
        let since = watch.since?;
        Some(since + self.patience(watch, config))
    }

    pub(super) fn probed(&mut self, probe: AskId) {
        if let Some(watch) = self.watch_mut()
            && matches!(watch.probe, Probe::Asked(asked) if asked == probe)
        {
            watch.probe = Probe::Answered;
        }
    }

    /// Does whatever can be done now.
    pub(super) fn drive(&mut self, pace: Pace, step: &mut Step<'_>) -> Result<(), GfsError> {
        if pace == Pace::Back && self.stream().is_some() {
            self.close_stream(step.effects);
            self.link = Link::Idle;
        }
        self.look_for_silence(step);
        if let Link::Pausing { until, then } = &self.link
            && *until <= step.now
        {
            match then {
                Remedy::Recover(_) => self.recover(step),
                Remedy::Reopen | Remedy::GiveUp => self.link = Link::Idle,
            }
        }
        let may_open = matches!(self.link, Link::Idle) && pace != Pace::Back;
        if may_open && self.wants_stream(step.config) {
            self.open(step);
        }
        self.talk(pace, step);
        Ok(())
    }

    fn wants_stream(&self, config: &Config) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match self.manner {
            // It is open for one moment at least: the primary says when an appender is gone, and so
            // must have heard of it.
            Manner::Append => {
                !self.finished
                    && (!self.greeted
                        || !self.mutations.is_empty()
                        || self.want_finish
                        || self.lacks_disk())
            }
            Manner::Overwrite => !self.mutations.is_empty() || self.lacks_disk(),
            Manner::InOrder => {
                !self.mutations.is_empty()
                    || (self.want_finish && !self.finished && !self.is_full(config))
                    || self.lacks_disk()
            }
        }
    }

    fn open(&mut self, step: &mut Step<'_>) {
        let Some(location) = &self.location else { return };
        let primary =
            location.servers.iter().find(|s| s.server == location.primary && s.server != 0);
        let Some(primary) = primary.cloned() else {
            // Nobody holds the lease at this version: only a new version has one who does.
            return self.pause(Remedy::Recover(None), step);
        };
        let stream = StreamId(step.ids.next());
        let chain =
            location.servers.iter().filter(|s| s.server != location.primary).cloned().collect();
        let largest = self.mutations.iter().map(|mutation| mutation.length).max().unwrap_or(0);
        // Who overwrites has many chunks open, and little to say to each.
        let enough = match self.manner {
            Manner::Overwrite => largest.saturating_mul(ENOUGH).max(ENOUGH * BLOCK_SIZE),
            Manner::InOrder | Manner::Append => 0,
        };
        let open = pb::PushOpen {
            header: None,
            handle: location.handle,
            version: location.version,
            writer: step.writer,
            chain,
            start: self.start,
            position: 0,
            acknowledged: self.sequence.unwrap_or(0),
            committed: self.committed,
            need: largest,
            enough,
        };
        self.pushed = location.version;
        step.effects.push(Effect::OpenStream { stream, server: primary, open });
        let watch = Watch { since: Some(step.now), probe: Probe::NotAsked };
        self.link = Link::Opening(watch, stream);
    }

    /// Whether what comes next is larger than all that may be under way on the stream: one that is
    /// opened anew asks for as much as it needs.
    fn is_cramped(&self) -> bool {
        let Link::Open(stream) = &self.link else { return false };
        let next = self.mutations.get(stream.sent);
        stream.in_flight == 0 && next.is_some_and(|next| u64::from(next.length) > stream.credit)
    }

    /// Sends what the stream may carry now.
    fn talk(&mut self, pace: Pace, step: &mut Step<'_>) {
        if self.is_cramped() {
            let text = "a mutation is larger than what the stream may carry".to_owned();
            step.trouble(ErrorCode::NoCredit, text);
            return self.end_stream(Remedy::Reopen, step);
        }
        let (Link::Open(stream), Some(base)) = (&mut self.link, self.sequence) else { return };
        let sent_through = base + stream.sent as u64;
        if stream.committed < sent_through && stream.commits(sent_through, base, pace) {
            stream.committed = sent_through;
            step.effects.push(Effect::SendCommit { stream: stream.id, through: sent_through });
        }
        while let Some(mutation) = self.mutations.get(stream.sent) {
            let room = stream.credit.saturating_sub(stream.in_flight);
            if stream.in_flight > 0 && u64::from(mutation.length) > room {
                break;
            }
            stream.sent += 1;
            stream.in_flight += u64::from(mutation.length);
            let sequence = base + stream.sent as u64;
            let last = self.manner == Manner::InOrder
                && mutation.offset + mutation.length == step.config.chunk_size;
            let commit = stream.commits(sequence, base, pace)
                || (last && !matches!(pace, Pace::Back | Pace::Hold));
            if commit {
                stream.committed = sequence;
            }
            send(self.manner, stream.id, mutation, sequence, commit, step);
            if step.config.mistakes.has(Mistake::WriterReleasesBeforeAcknowledged) {
                step.effects.push(Effect::Release { slice: mutation.id });
            }
        }
        self.committed = self.committed.max(stream.committed);
        let all_sent =
            stream.sent == self.mutations.len() && stream.committed == base + stream.sent as u64;
        let covers = self.done + (stream.committed - base);
        if self.want_disk > self.on_disk
            && stream.flush.is_none()
            && self.want_disk.is_some_and(|wanted| covers >= wanted)
        {
            stream.flushes += 1;
            let token = stream.flushes;
            stream.flush = Some(Flushing { token, covers, since: step.now });
            step.effects.push(Effect::SendFlush { stream: stream.id, token });
        }
        // Behind the last mutation: the primary finishes when all before it is applied. What is to
        // be on disk is there first: on a finished stream nothing more can be asked.
        let settled = all_sent && self.want_disk <= self.on_disk;
        if self.want_finish && settled && !stream.finishing {
            stream.finishing = true;
            step.effects.push(Effect::SendFinish { stream: stream.id });
        }
        let due = stream.committed > base || stream.finishing || stream.flush.is_some();
        match (due, stream.watch.since) {
            (true, None) => stream.watch.since = Some(step.now),
            (false, Some(_)) => stream.watch = Watch::default(),
            _ => {}
        }
    }

    /// A mutation is known to be applied everywhere, or to have failed.
    fn settle(&mut self, mutation: &Mutation, result: Result<u64, GfsError>) {
        self.done += 1;
        self.settled.push(Settled { id: mutation.id, length: mutation.length, result });
    }

    fn moved(&mut self, step: &mut Step<'_>) {
        self.attempts = 0;
        self.silences = 0;
        self.reopened = false;
        step.progress = true;
    }

    /// Closes the stream and releases all mutations.
    pub(super) fn let_go(&mut self, effects: &mut Vec<Effect>) {
        self.close_stream(effects);
        self.link = Link::Unlocated;
        effects.extend(self.settled.drain(..).map(|settled| Effect::Release { slice: settled.id }));
        effects.extend(self.mutations.drain(..).map(|m| Effect::Release { slice: m.id }));
    }
}

/// Sends a mutation, in pieces where it is larger than a slice may be.
fn send(
    manner: Manner,
    stream: StreamId,
    mutation: &Mutation,
    sequence: u64,
    commit: bool,
    step: &mut Step<'_>,
) {
    let append = manner == Manner::Append;
    let mut at = 0;
    while at < mutation.length {
        let length = step.config.max_slice.min(mutation.length - at);
        let more = at + length < mutation.length;
        let head = pb::Slice {
            sequence,
            offset: mutation.offset + at,
            length,
            sums: Vec::new(),
            commit: commit && !more,
            append,
            more,
        };
        let from = mutation.from + at;
        step.effects.push(Effect::Send { stream, slice: mutation.id, from, head });
        at += length;
    }
}
