//! What comes up the stream of a chunk.

use super::{ChunkWriter, Ended, Flushing, Link, Manner, Stream, Watch, send};
use crate::mistakes::Mistake;
use crate::writer::{Config, Step, StreamEvent};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};

impl ChunkWriter {
    /// What came up the stream of this chunk.
    pub(in crate::writer) fn heard(
        &mut self,
        event: StreamEvent,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        match event {
            StreamEvent::Opened(opened) => return self.opened(&opened, step),
            StreamEvent::Failed(detail) => return self.refused(&detail, step),
            StreamEvent::Acknowledged(acknowledged) => self.take_acknowledged(&acknowledged, step),
            StreamEvent::Resend(resend) => self.send_again(resend, step),
            StreamEvent::Flushed(flushed) => self.take_flushed(flushed, step),
            StreamEvent::Finished(finished) => self.take_finished(finished, step),
            StreamEvent::Broken => self.broken(step),
        }
        Ok(())
    }

    fn opened(&mut self, opened: &pb::PushOpened, step: &mut Step<'_>) -> Result<(), GfsError> {
        let Link::Opening(_, id) = self.link else {
            self.nonsense("opened a stream twice", step);
            return Ok(());
        };
        // An overwriter is told of a length that others may have cut since.
        if opened.length < self.acknowledged && self.manner != Manner::Overwrite {
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
        let alone = self.manner == Manner::InOrder;
        let base = match self.sequence {
            Some(sequence) => sequence,
            None if !alone || opened.length == self.began_at => opened.sequence,
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
        self.greeted = true;
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
            applied: (opened.sequence, opened.offsets.clone()),
            finishing: false,
            flushes: 0,
            flush: None,
            watch: Watch::default(),
        });
        Ok(())
    }

    fn take_acknowledged(&mut self, acknowledged: &pb::Acknowledged, step: &mut Step<'_>) {
        let (Link::Open(_), Some(base)) = (&self.link, self.sequence) else {
            return self.nonsense("acknowledged before it opened", step);
        };
        let Some(count) = acknowledged.through.checked_sub(base).filter(|count| *count > 0) else {
            return;
        };
        // What was never committed cannot have been applied. (It may have been on a stream before
        // this one.)
        let believed = acknowledged.through <= self.committed
            && self.are_applied(count, acknowledged.length, &acknowledged.offsets);
        if !believed {
            return self.nonsense("acknowledged what was not written", step);
        }
        let sent = match &self.link {
            Link::Open(stream) => stream.sent,
            _ => 0,
        };
        let sent: u64 = self
            .mutations
            .iter()
            .take(sent.min(count as usize))
            .map(|mutation| u64::from(mutation.length))
            .sum();
        self.applied(count, acknowledged.length, &acknowledged.offsets);
        if let Link::Open(stream) = &mut self.link {
            stream.in_flight = stream.in_flight.saturating_sub(sent);
            stream.sent = stream.sent.saturating_sub(count as usize);
            stream.committed = stream.committed.max(acknowledged.through);
            stream.watch = Watch::default();
        }
        self.moved(step);
        self.leave_if_complete(step);
    }

    /// Whether the first `count` mutations may have been applied as somebody says: the chunk has
    /// this length and the last of them lie at `offsets`.
    pub(super) fn are_applied(&self, count: u64, length: u32, offsets: &[u32]) -> bool {
        let Some(last) = (count as usize).checked_sub(1).and_then(|at| self.mutations.get(at))
        else {
            return false;
        };
        match self.manner {
            Manner::InOrder => length >= last.offset + last.length,
            Manner::Append => offsets.len() >= count as usize,
            Manner::Overwrite => true,
        }
    }

    /// Takes the first `count` mutations for applied everywhere.
    pub(super) fn applied(&mut self, count: u64, length: u32, offsets: &[u32]) {
        // They are named from the last one backwards.
        let skip = offsets.len().saturating_sub(count as usize);
        let mut offsets = offsets.get(skip..).unwrap_or_default().iter().copied();
        for _ in 0..count {
            let Some(mutation) = self.mutations.pop_front() else { break };
            let offset = match self.manner {
                Manner::Append => offsets.next().unwrap_or_default(),
                Manner::InOrder | Manner::Overwrite => mutation.offset,
            };
            let end = offset.saturating_add(mutation.length);
            self.acknowledged = match self.manner {
                Manner::InOrder => end,
                Manner::Append => self.acknowledged.max(end).max(length),
                Manner::Overwrite => self.acknowledged,
            };
            self.sequence = self.sequence.map(|sequence| sequence + 1);
            self.settle(&mutation, Ok(self.start + u64::from(offset)));
        }
    }

    /// Full, and on disk where that is wanted, is finished: nothing more to say.
    fn leave_if_complete(&mut self, step: &mut Step<'_>) {
        let config: &Config = step.config;
        if self.manner == Manner::InOrder && self.is_full(config) && !self.lacks_disk() {
            self.close_stream(step.effects);
            self.link = Link::Idle;
        }
    }

    fn take_flushed(&mut self, flushed: pb::Flushed, step: &mut Step<'_>) {
        let Link::Open(stream) = &mut self.link else { return };
        let Some(Flushing { covers, .. }) =
            stream.flush.take_if(|flush| flush.token == flushed.token)
        else {
            return;
        };
        stream.watch = Watch::default();
        // What is not acknowledged is not counted, whatever the disks may have of it.
        self.on_disk = self.on_disk.max(Some(covers.min(self.done)));
        self.moved(step);
        self.leave_if_complete(step);
    }

    fn send_again(&mut self, resend: pb::Resend, step: &mut Step<'_>) {
        let (Link::Open(stream), Some(base)) = (&mut self.link, self.sequence) else { return };
        let at = resend.sequence.checked_sub(base + 1).map(|at| at as usize);
        let Some((at, mutation)) = at
            .filter(|at| *at < stream.sent)
            .and_then(|at| self.mutations.get(at).map(|mutation| (at, mutation)))
        else {
            return;
        };
        let sequence = base + 1 + at as u64;
        let commit = sequence <= stream.committed;
        send(self.manner, stream.id, mutation, sequence, commit, step);
    }

    /// A primary carries all that it had applied to its end before it says that a chunk is finished,
    /// though it may never have acknowledged on this stream what it knew from an earlier one.
    fn take_applied(&mut self, length: u32) -> bool {
        let (Link::Open(stream), Some(base)) = (&self.link, self.sequence) else { return true };
        let (through, offsets) = stream.applied.clone();
        let count = through.saturating_sub(base);
        let believed =
            count == 0 || (through <= self.committed && self.are_applied(count, length, &offsets));
        if believed {
            self.applied(count, length, &offsets);
        }
        believed
    }

    fn take_finished(&mut self, finished: pb::Finished, step: &mut Step<'_>) {
        let asked = matches!(&self.link, Link::Open(stream) if stream.finishing);
        let known = matches!(self.link, Link::Open(_)) && finished.version == self.version();
        let agrees = match self.manner {
            Manner::InOrder => asked && self.mutations.is_empty() && finished.length == self.end,
            Manner::Append => finished.length >= self.acknowledged,
            Manner::Overwrite => false,
        };
        if !known || !agrees {
            return self.nonsense("finished another length or version", step);
        }
        if self.manner == Manner::Append {
            self.acknowledged = finished.length;
            if !self.take_applied(finished.length) {
                return self.nonsense("had applied what was not written", step);
            }
        }
        if asked && self.mutations.is_empty() {
            self.finished = true;
        } else {
            let (handle, version) = (self.handle(), self.version());
            let length = finished.length;
            self.ended = Some(Ended::Full(pb::FinishedChunk { handle, version, length }));
        }
        self.moved(step);
        self.close_stream(step.effects);
        self.link = Link::Idle;
    }
}
