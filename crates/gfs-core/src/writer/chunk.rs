//! One chunk of a file being written: its slices, the stream to its primary, and its recovery.
//!
//! ```text
//!            located            Opened
//! Unlocated ────────▶ Idle ──▶ Opening ──▶ Open ──▶ (Finished) Idle
//!                      ▲          │ failure  │
//!                      │          ▼          ▼
//!            located   └──────  Pausing ──▶ Recovering (Metadata.Recover)
//! ```
//!
//! Slices are numbered when the first stream stands: after what the primary says it has of this
//! writer. From then on a slice keeps its number through all recoveries.

mod recovery;

use super::failure::Remedy;
use super::{AskId, Config, Effect, SliceId, Step, StreamEvent, StreamId};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};
use std::collections::{BTreeSet, VecDeque};

#[derive(Debug)]
struct Slice {
    id: SliceId,
    offset: u32,
    length: u32,
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
}

/// Slices that are committed together while earlier ones are under way. Each commit costs every
/// member a few small messages, so a writer that has more to say lets them gather, as Nagle's
/// algorithm (RFC 896) does for TCP; one that has not is never made to wait for more.
const BATCH: u64 = 4;

/// When the primary is told to apply what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
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
    /// Slices, from the first unacknowledged one on, that were sent.
    sent: usize,
    in_flight: u64,
    /// Sequence through which the primary was told to apply.
    committed: u64,
    credit: u64,
    finishing: bool,
    watch: Watch,
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
    index: u32,
    start: u64,
    location: Option<pb::ChunkLocation>,
    link: Link,
    /// Length that is acknowledged: on every current replica.
    acknowledged: u32,
    /// Where the next slice goes.
    end: u32,
    /// Length when this writer came.
    began_at: u32,
    slices: VecDeque<Slice>,
    /// Sequence of the last acknowledged slice; `None` until a primary told where numbers begin.
    sequence: Option<u64>,
    /// Highest sequence that any primary was told to apply: none above it can be acknowledged.
    committed: u64,
    want_finish: bool,
    finished: bool,
    /// Since the last progress: failures, those of them that were silence, and whether the stream
    /// was opened again without asking for a new version.
    attempts: u32,
    silences: u32,
    reopened: bool,
    /// Servers to be left out.
    unreachable: BTreeSet<u32>,
}

impl Stream {
    /// Whether what is sent up to `sequence` is to be committed now, when everything through `base`
    /// is acknowledged.
    fn commits(&self, sequence: u64, base: u64, pace: Pace) -> bool {
        match pace {
            Pace::Hold => false,
            Pace::Batch => self.committed <= base || sequence >= self.committed + BATCH,
            Pace::Now => true,
        }
    }
}

impl ChunkWriter {
    /// A chunk of this length without location.
    pub(super) fn new(index: u32, start: u64, length: u32) -> Self {
        Self {
            index,
            start,
            location: None,
            link: Link::Unlocated,
            acknowledged: length,
            end: length,
            began_at: length,
            slices: VecDeque::new(),
            sequence: None,
            committed: 0,
            want_finish: false,
            finished: false,
            attempts: 0,
            silences: 0,
            reopened: false,
            unreachable: BTreeSet::new(),
        }
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

    /// Bytes handed in and not acknowledged.
    pub(super) fn outstanding(&self) -> u64 {
        u64::from(self.end - self.acknowledged)
    }

    pub(super) fn slices(&self) -> usize {
        self.slices.len()
    }

    pub(super) fn was_written(&self) -> bool {
        self.end > self.began_at
    }

    /// Acknowledged to its last byte: finished without a word.
    pub(super) fn is_full(&self, config: &Config) -> bool {
        self.acknowledged == config.chunk_size
    }

    pub(super) fn is_located(&self) -> bool {
        self.location.is_some()
    }

    /// `0` while unlocated.
    pub(super) fn handle(&self) -> u64 {
        self.location.as_ref().map_or(0, |location| location.handle)
    }

    fn version(&self) -> u64 {
        self.location.as_ref().map_or(0, |location| location.version)
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

    pub(super) fn hand_in(&mut self, id: SliceId, length: u32) {
        self.slices.push_back(Slice { id, offset: self.end, length });
        self.end += length;
    }

    /// No more data comes: have the length confirmed.
    pub(super) fn want_finish(&mut self) {
        self.want_finish = true;
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
        }
        self.location = Some(location);
        self.link = Link::Idle;
        Ok(())
    }

    pub(super) fn has_stream(&self, stream: StreamId) -> bool {
        self.stream() == Some(stream)
    }

    pub(super) fn asked(&self, ask: AskId) -> bool {
        matches!(&self.link, Link::Recovering(asked) if *asked == ask)
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
        self.look_for_silence(step);
        if let Link::Pausing { until, then } = &self.link
            && *until <= step.now
        {
            match then {
                Remedy::Recover(_) => self.recover(step),
                Remedy::Reopen | Remedy::GiveUp => self.link = Link::Idle,
            }
        }
        if matches!(self.link, Link::Idle) && self.wants_stream(step.config) {
            self.open(step);
        }
        self.talk(pace, step);
        Ok(())
    }

    fn wants_stream(&self, config: &Config) -> bool {
        !self.slices.is_empty() || (self.want_finish && !self.finished && !self.is_full(config))
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
        };
        step.effects.push(Effect::OpenStream { stream, server: primary, open });
        let watch = Watch { since: Some(step.now), probe: Probe::NotAsked };
        self.link = Link::Opening(watch, stream);
    }

    /// Sends what the stream may carry now.
    fn talk(&mut self, pace: Pace, step: &mut Step<'_>) {
        let (Link::Open(stream), Some(base)) = (&mut self.link, self.sequence) else { return };
        let sent_through = base + stream.sent as u64;
        if stream.committed < sent_through && stream.commits(sent_through, base, pace) {
            stream.committed = sent_through;
            step.effects.push(Effect::SendCommit { stream: stream.id, through: sent_through });
        }
        while let Some(slice) = self.slices.get(stream.sent) {
            let room = stream.credit.saturating_sub(stream.in_flight);
            if stream.in_flight > 0 && u64::from(slice.length) > room {
                break;
            }
            stream.sent += 1;
            stream.in_flight += u64::from(slice.length);
            let sequence = base + stream.sent as u64;
            let last = slice.offset + slice.length == step.config.chunk_size;
            let commit = stream.commits(sequence, base, pace) || (last && pace != Pace::Hold);
            if commit {
                stream.committed = sequence;
            }
            step.effects.push(Effect::Send {
                stream: stream.id,
                slice: slice.id,
                head: pb::Slice {
                    sequence,
                    offset: slice.offset,
                    length: slice.length,
                    sums: Vec::new(),
                    commit,
                    ..Default::default()
                },
            });
            if step.config.mistakes.has(Mistake::WriterReleasesBeforeAcknowledged) {
                step.effects.push(Effect::Release { slice: slice.id });
            }
        }
        self.committed = self.committed.max(stream.committed);
        // Behind the last slice: the primary finishes when all before it is applied.
        let all_sent =
            stream.sent == self.slices.len() && stream.committed == base + stream.sent as u64;
        if self.want_finish && all_sent && !stream.finishing {
            stream.finishing = true;
            step.effects.push(Effect::SendFinish { stream: stream.id });
        }
        let due = stream.committed > base || stream.finishing;
        match (due, stream.watch.since) {
            (true, None) => stream.watch.since = Some(step.now),
            (false, Some(_)) => stream.watch = Watch::default(),
            _ => {}
        }
    }

    /// What came up the stream of this chunk.
    pub(super) fn heard(
        &mut self,
        event: StreamEvent,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        match event {
            StreamEvent::Opened(opened) => self.opened(opened, step),
            StreamEvent::Acknowledged(acknowledged) => {
                self.take_acknowledged(acknowledged, step);
                Ok(())
            }
            StreamEvent::Resend(resend) => {
                self.send_again(resend, step);
                Ok(())
            }
            StreamEvent::Finished(finished) => {
                self.take_finished(finished, step);
                Ok(())
            }
            StreamEvent::Failed(detail) => self.refused(&detail, step),
            StreamEvent::Broken => {
                self.broken(step);
                Ok(())
            }
        }
    }

    fn opened(&mut self, opened: pb::PushOpened, step: &mut Step<'_>) -> Result<(), GfsError> {
        let Link::Opening(_, id) = self.link else {
            self.nonsense("opened a stream twice", step);
            return Ok(());
        };
        if opened.length < self.acknowledged {
            return Err(GfsError::new(
                ErrorCode::DataLost,
                format!(
                    "the primary has {} bytes of chunk {:016x} version {}, but {} were acknowledged",
                    opened.length,
                    self.handle(),
                    self.version(),
                    self.acknowledged
                ),
            ));
        }
        let base = match self.sequence {
            Some(sequence) => sequence,
            None if opened.length == self.began_at => opened.sequence,
            None => {
                return Err(GfsError::new(
                    ErrorCode::WrongOffset,
                    format!(
                        "chunk {:016x} has {} bytes where the master said {}: another writer?",
                        self.handle(),
                        opened.length,
                        self.began_at
                    ),
                ));
            }
        };
        let again = self.sequence.is_some();
        self.sequence = Some(base);
        if again && step.config.mistakes.has(Mistake::WriterResendsWithNewSequences) {
            self.sequence = Some(base.max(opened.sequence));
        }
        self.link = Link::Open(Stream {
            id,
            sent: 0,
            in_flight: 0,
            committed: self.sequence.unwrap_or(base),
            credit: u64::from(opened.credit),
            finishing: false,
            watch: Watch::default(),
        });
        Ok(())
    }

    fn take_acknowledged(&mut self, acknowledged: pb::Acknowledged, step: &mut Step<'_>) {
        let (Link::Open(stream), Some(base)) = (&mut self.link, self.sequence) else {
            return self.nonsense("acknowledged before it opened", step);
        };
        let Some(count) = acknowledged.through.checked_sub(base) else { return };
        if count == 0 {
            return;
        }
        // What was never committed cannot have been applied. (It may have been on a stream before
        // this one.)
        let believed = acknowledged.through <= self.committed;
        let count = count as usize;
        let end = self.slices.get(count - 1).map(|last| last.offset + last.length);
        let Some(end) = end.filter(|end| believed && acknowledged.length >= *end) else {
            return self.nonsense("acknowledged what was not written", step);
        };
        for (at, slice) in self.slices.drain(..count).enumerate() {
            if at < stream.sent {
                stream.in_flight = stream.in_flight.saturating_sub(u64::from(slice.length));
            }
            step.effects.push(Effect::Release { slice: slice.id });
        }
        stream.sent = stream.sent.saturating_sub(count);
        stream.committed = stream.committed.max(acknowledged.through);
        stream.watch = Watch::default();
        self.acknowledged = end;
        self.sequence = Some(acknowledged.through);
        self.moved(step);
        if self.is_full(step.config) {
            // Full is finished: nothing more to say.
            self.close_stream(step.effects);
            self.link = Link::Idle;
        }
    }

    fn send_again(&mut self, resend: pb::Resend, step: &mut Step<'_>) {
        let (Link::Open(stream), Some(base)) = (&mut self.link, self.sequence) else { return };
        let at = resend.sequence.checked_sub(base + 1).map(|at| at as usize);
        let Some((at, slice)) = at
            .filter(|at| *at < stream.sent)
            .and_then(|at| self.slices.get(at).map(|slice| (at, slice)))
        else {
            return;
        };
        let sequence = base + 1 + at as u64;
        step.effects.push(Effect::Send {
            stream: stream.id,
            slice: slice.id,
            head: pb::Slice {
                sequence,
                offset: slice.offset,
                length: slice.length,
                sums: Vec::new(),
                commit: sequence <= stream.committed,
                ..Default::default()
            },
        });
    }

    fn take_finished(&mut self, finished: pb::Finished, step: &mut Step<'_>) {
        let asked = matches!(&self.link, Link::Open(stream) if stream.finishing);
        let all = self.slices.is_empty() && finished.length == self.end;
        if !asked || finished.version != self.version() || !all {
            return self.nonsense("finished another length or version", step);
        }
        self.finished = true;
        self.moved(step);
        self.close_stream(step.effects);
        self.link = Link::Idle;
    }

    fn moved(&mut self, step: &mut Step<'_>) {
        self.attempts = 0;
        self.silences = 0;
        self.reopened = false;
        step.progress = true;
    }

    /// Closes the stream and releases all slices.
    pub(super) fn let_go(&mut self, effects: &mut Vec<Effect>) {
        self.close_stream(effects);
        self.link = Link::Unlocated;
        effects.extend(self.slices.drain(..).map(|slice| Effect::Release { slice: slice.id }));
    }
}
