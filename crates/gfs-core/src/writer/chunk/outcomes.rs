//! A chunk that the master sealed: what became of the mutations that were under way.

use super::{ChunkWriter, Ended, Link, Manner};
use crate::writer::failure::{self, Remedy};
use crate::writer::{Answer, AskId, Effect, Step};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};

impl ChunkWriter {
    /// The master says that the chunk is sealed. An appender asks a replica which of its mutations
    /// are in it.
    pub(in crate::writer) fn is_sealed_for_appender(&mut self, step: &mut Step<'_>) {
        let in_doubt = self.sequence.is_some_and(|sequence| sequence < self.committed);
        if in_doubt && !self.mutations.is_empty() {
            self.ask_outcomes(0, step);
        } else {
            self.ended = Some(Ended::Sealed);
        }
    }

    /// Asks the replica at this place of the location.
    fn ask_outcomes(&mut self, at: usize, step: &mut Step<'_>) {
        let location = self.location.as_ref();
        let Some((location, server)) = location.and_then(|l| Some((l, l.servers.get(at)?.clone())))
        else {
            // All were asked: where is it now?
            return self.pause(Remedy::Recover(None), step);
        };
        let request = pb::OutcomesRequest {
            header: None,
            handle: location.handle,
            version: location.version,
            writer: step.writer,
        };
        let ask = AskId(step.ids.next());
        step.effects.push(Effect::Outcomes { ask, server, request });
        self.link = Link::Settling(ask, at);
    }

    /// The answer to a question of this chunk.
    pub(in crate::writer) fn answered(
        &mut self,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        let Link::Settling(_, at) = self.link else { return self.recovered(result, step) };
        match result {
            // A sealed chunk is not sealed for its replicas while somebody overwrites it (or brings it
            // to disk), at a version after the one that this writer knew.
            Ok(Answer::Outcomes(outcomes)) if outcomes.sealed || self.version() > self.pushed => {
                self.take_outcomes(&outcomes, step);
                return Ok(());
            }
            Ok(_) => step.trouble(
                ErrorCode::Internal,
                format!(
                    "a replica of chunk {:016x} does not know that it is sealed",
                    self.handle()
                ),
            ),
            Err(detail) => step.trouble = Some(failure::error_of(&detail)),
        }
        self.ask_outcomes(at + 1, step);
        Ok(())
    }

    fn take_outcomes(&mut self, outcomes: &pb::OutcomesResponse, step: &mut Step<'_>) {
        let base = self.sequence.unwrap_or_default();
        let count = outcomes.sequence.saturating_sub(base);
        if count > 0 && !self.are_applied(count, 0, &outcomes.offsets) {
            // It was forgotten and came back: of what it did before the places are gone.
            if outcomes.forgot && outcomes.sequence <= self.committed {
                self.fail_doubtful();
                return self.leave_sealed(step);
            }
            let text = format!(
                "remembers mutation {} and {} places, {base} to {} are in doubt",
                outcomes.sequence,
                outcomes.offsets.len(),
                self.committed
            );
            return self.nonsense(&text, step);
        }
        self.applied(count, 0, &outcomes.offsets);
        // A writer that is remembered for less than it had acknowledged was forgotten in between.
        if (outcomes.sequence == 0 && outcomes.forgot) || outcomes.sequence < base {
            self.fail_doubtful();
        }
        self.leave_sealed(step);
    }

    fn leave_sealed(&mut self, step: &mut Step<'_>) {
        self.moved(step);
        self.link = Link::Idle;
        self.ended = Some(Ended::Sealed);
    }

    /// Nobody remembers this writer: what was to be applied may be in the chunk, or not.
    pub(super) fn fail_doubtful(&mut self) {
        let base = self.sequence.unwrap_or_default();
        let error = GfsError::new(
            ErrorCode::OutcomeUnknown,
            format!(
                "chunk {:016x} has forgotten this writer, because too many others came in between: \
                 whether this was stored cannot be told",
                self.handle()
            ),
        );
        for _ in base..self.committed {
            let Some(mutation) = self.mutations.pop_front() else { break };
            self.settle(&mutation, Err(error.clone()));
        }
        self.sequence = self.sequence.map(|sequence| sequence.max(self.committed));
    }

    /// Nothing more can be written to the chunk: all that is under way fails.
    pub(super) fn fail_all(&mut self, error: &GfsError, step: &mut Step<'_>) {
        self.close_stream(step.effects);
        self.link = Link::Idle;
        for mutation in std::mem::take(&mut self.mutations) {
            self.settle(&mutation, Err(error.clone()));
        }
        self.ended = Some(Ended::Lost);
        step.progress = true;
    }

    /// Whether failures of this chunk concern only what is written to it.
    pub(super) fn fails_alone(&self) -> bool {
        self.manner == Manner::Overwrite
    }
}
