//! What a primary knows of the writers of its chunk: where each goes on, how many there may be, and
//! which of them are gone.

use super::role::{Primary, Writer};
use super::stream::{Phase, Stream};
use super::{MAX_WRITERS, Output, Outputs, Replica, failure};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// A writer without a stream that has not mutated the chunk for so long is gone.
pub const WRITER_SILENCE: Millis = Millis(60_000);
/// Writers that are watched: those that mutated the chunk, and as many that only had a stream.
const MAX_WATCHED: usize = 2 * MAX_WRITERS;
/// When a writer that there was no room for may ask again, in milliseconds.
const ASK_AGAIN: u32 = 1_000;

impl<P: Clone> Replica<P> {
    /// Primary: a writer opens a stream. Where does it go on?
    ///
    /// # Errors
    /// OUTCOME_UNKNOWN when what it asked for may have been done, and was forgotten;
    /// RESOURCE_EXHAUSTED when there are too many writers.
    pub(super) fn admit(&self, open: &pb::PushOpen) -> Result<Writer, pb::ErrorDetail> {
        let Some(primary) = self.role.as_ref().and_then(|role| role.primary.as_ref()) else {
            return Err(failure(ErrorCode::NotPrimary, "it is no primary any more"));
        };
        if let Some(known) = primary.writers.get(&open.writer) {
            return Ok(*known);
        }
        let from = |last| Writer { ordered: last, acknowledged: last, appended: 0 };
        if self.settings.mistakes.has(Mistake::PrimaryReappliesRetriedRecord) {
            return Ok(from(open.acknowledged));
        }
        if let Some(entry) = primary.window.of(open.writer) {
            return Ok(from(entry.sequence));
        }
        self.check_room(primary, open.writer)?;
        if !primary.window.forgot() {
            return Ok(from(0));
        }
        let trusting = self.settings.mistakes.has(Mistake::PrimaryTrustsForgottenWriter);
        if open.committed > open.acknowledged && !trusting {
            let text = format!(
                "mutations {} to {} of writer {:x} may have been applied to chunk {}: it was \
                 forgotten here",
                open.acknowledged + 1,
                open.committed,
                open.writer,
                self.handle
            );
            return Err(failure(ErrorCode::OutcomeUnknown, text));
        }
        Ok(from(open.acknowledged))
    }

    /// Whether one more writer can be remembered without forgetting one that may come back.
    fn check_room(&self, primary: &Primary, writer: u64) -> Result<(), pb::ErrorDetail> {
        let window = &primary.window;
        let streams = self.streams.values().filter(|s| !matches!(s.phase, Phase::Waiting { .. }));
        let new: BTreeSet<u64> = streams
            .map(|stream| stream.writer)
            .chain([writer])
            .filter(|writer| window.of(*writer).is_none())
            .collect();
        let gone = window.entries().take_while(|entry| !self.is_live(entry.writer)).count();
        if window.entries().len() + new.len() > MAX_WRITERS + gone {
            return Err(self.no_room());
        }
        Ok(())
    }

    pub(super) fn no_room(&self) -> pb::ErrorDetail {
        let text = format!("chunk {} has {MAX_WRITERS} writers", self.handle);
        let mut error = failure(ErrorCode::ResourceExhausted, text);
        error.retry_after_ms = ASK_AGAIN;
        error
    }

    /// Whether a writer has a stream, or mutated the chunk of late.
    pub(super) fn is_live(&self, writer: u64) -> bool {
        has_stream(&self.streams, writer) || self.seen.contains_key(&writer)
    }

    /// A sign of a writer of this primary.
    pub(super) fn saw(&mut self, writer: u64) {
        let known = self.seen.insert(writer, self.clock).is_some();
        if known || self.seen.len() <= MAX_WATCHED {
            return;
        }
        let window = self.role.as_ref().and_then(|role| role.primary.as_ref()).map(|p| &p.window);
        let wanted = |other: u64| {
            has_stream(&self.streams, other) || window.is_some_and(|w| w.of(other).is_some())
        };
        let silent = self.seen.iter().filter(|(other, _)| !wanted(**other));
        let silent = silent.min_by_key(|(_, at)| **at).map(|(other, _)| *other);
        self.seen.remove(&silent.unwrap_or(writer));
    }

    /// Time passed: tells the master of writers that are gone. That the role ended changes nothing:
    /// then too somebody must settle what they left.
    pub(super) fn watch_writers(&mut self, out: &mut Outputs<P>) {
        let (clock, streams) = (self.clock, &self.streams);
        for (writer, at) in &mut self.seen {
            if has_stream(streams, *writer) {
                *at = clock;
            }
        }
        let silent = |at: Millis| clock.since(at) >= WRITER_SILENCE;
        let gone: Vec<u64> =
            self.seen.iter().filter(|(_, at)| silent(**at)).map(|(writer, _)| *writer).collect();
        for writer in gone {
            self.seen.remove(&writer);
            let (version, length) = (self.led, self.confirmed);
            out.push(Output::WriterVanished { version, writer, length });
        }
    }

    /// Lets go of what is known of writers that have no stream any more: the window has it.
    pub(super) fn release_writers(&mut self) {
        if let Some(primary) = self.role.as_mut().and_then(|role| role.primary.as_mut()) {
            let streams = &self.streams;
            primary.writers.retain(|writer, _| has_stream(streams, *writer));
        }
    }
}

fn has_stream<P>(streams: &BTreeMap<super::StreamId, Stream<P>>, writer: u64) -> bool {
    streams.values().any(|stream| stream.writer == writer)
}
