//! What a writer has left behind in chunks that it no longer writes to, and may have to bring to
//! disk later: a range of the file, walked chunk by chunk with a lease of each.

use super::chunk::{ChunkWriter, Ended, Manner, Pace};
use super::{Answer, AskId, Config, Effect, Question, Step, StreamEvent, StreamId, failure};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};

#[derive(Debug, Default)]
pub(super) struct Flusher {
    /// Not known to be on disk.
    range: std::ops::Range<u64>,
    /// The chunk at the beginning of the range.
    chunk: Option<ChunkWriter>,
    ask: Option<AskId>,
    retry: Option<Millis>,
    refusals: u32,
}

impl Flusher {
    /// A chunk is left whose bytes are not known to be on disk.
    pub(super) fn leave(&mut self, start: u64, end: u64) {
        if self.range.is_empty() {
            self.range = start..end;
        }
        self.range.end = self.range.end.max(end);
    }

    pub(super) fn is_done(&self) -> bool {
        self.range.is_empty()
    }

    /// Everything before this position is on disk, as far as it was left.
    pub(super) fn wake_at(&self, config: &Config) -> Option<Millis> {
        self.retry.into_iter().chain(self.chunk.as_ref().and_then(|c| c.wake_at(config))).min()
    }

    pub(super) fn asked(&self, ask: AskId) -> bool {
        self.ask == Some(ask) || self.chunk.as_ref().is_some_and(|chunk| chunk.asked(ask))
    }

    pub(super) fn has_stream(&self, stream: StreamId) -> bool {
        self.chunk.as_ref().is_some_and(|chunk| chunk.has_stream(stream))
    }

    pub(super) fn heard(
        &mut self,
        event: StreamEvent,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        self.chunk.as_mut().map_or(Ok(()), |chunk| chunk.heard(event, step))
    }

    pub(super) fn probed(&mut self, probe: AskId) {
        if let Some(chunk) = &mut self.chunk {
            chunk.probed(probe);
        }
    }

    pub(super) fn let_go(&mut self, effects: &mut Vec<Effect>) {
        if let Some(mut chunk) = self.chunk.take() {
            chunk.let_go(effects);
        }
        *self = Self::default();
    }

    /// Goes on, if somebody waits for it.
    pub(super) fn drive(&mut self, wanted: bool, step: &mut Step<'_>) -> Result<(), GfsError> {
        if let Some(chunk) = &mut self.chunk {
            chunk.drive(Pace::Now, step)?;
            if matches!(chunk.ended(), Some(Ended::Lost)) {
                return Err(GfsError::new(
                    ErrorCode::Conflict,
                    format!("chunk {:016x} was changed before it was on disk", chunk.handle()),
                ));
            }
            if chunk.is_on_disk() {
                let length = chunk.location().map_or(0, |location| location.length);
                self.range.start = chunk.start().saturating_add(u64::from(length));
                chunk.let_go(step.effects);
                self.chunk = None;
                step.progress = true;
            }
        }
        self.retry.take_if(|retry| step.now >= *retry);
        let idle = self.chunk.is_none() && self.ask.is_none() && self.retry.is_none();
        if wanted && idle && !self.is_done() {
            let (inode, offset) = (step.inode, self.range.start);
            let lease = pb::LeaseRequest { inode, offset, ..Default::default() };
            self.ask = Some(step.ask(Question::Lease(lease)));
        }
        Ok(())
    }

    pub(super) fn answered(
        &mut self,
        ask: AskId,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        if self.ask.take_if(|asked| *asked == ask).is_none() {
            return self.chunk.as_mut().map_or(Ok(()), |chunk| chunk.answered(result, step));
        }
        match result {
            Ok(Answer::Chunk(location)) => {
                let end = location.start.saturating_add(u64::from(location.length));
                if location.start > self.range.start || end <= self.range.start {
                    return Err(GfsError::new(
                        ErrorCode::Internal,
                        format!("the master found another chunk than at {}", self.range.start),
                    ));
                }
                let mut chunk = ChunkWriter::at(Manner::Overwrite, step.config, *location)?;
                chunk.want_disk(0);
                self.chunk = Some(chunk);
                self.refusals = 0;
                step.progress = true;
            }
            Ok(_) => {
                return Err(GfsError::new(
                    ErrorCode::Internal,
                    "the master answered Lease without a location",
                ));
            }
            Err(detail) => {
                let error = failure::error_of(&detail);
                if !error.code.is_retryable() {
                    return Err(error);
                }
                step.trouble = Some(error);
                self.retry = Some(step.now + failure::pause(step.config, self.refusals + 1));
                self.refusals = self.refusals.saturating_add(1);
            }
        }
        Ok(())
    }
}
