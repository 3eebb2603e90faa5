//! When a chunk cannot go on: silence, refusals, nonsense, and the way to another version.

use super::{ChunkWriter, Link, Manner, Probe, Watch};
use crate::writer::failure::{self, Remedy};
use crate::writer::{Answer, AskId, Config, Effect, Question, Step};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};

impl ChunkWriter {
    /// How long to wait for a sign before the next step against silence. Longer when silence was
    /// what failed before: a busy cluster must not be made busier for being slow.
    pub(super) fn patience(&self, watch: &Watch, config: &Config) -> Millis {
        let stretch = |span: Millis| Millis(span.0 << self.silences.min(2));
        match watch.probe {
            Probe::NotAsked => config.probe_after,
            Probe::Asked(_) => stretch(config.suspect_after),
            Probe::Answered => stretch(config.stall_after),
        }
    }

    pub(super) fn look_for_silence(&mut self, step: &mut Step<'_>) {
        let Some(watch) = self.watch() else { return };
        let Some(since) = watch.since else { return };
        if step.now.since(since) < self.patience(watch, step.config) {
            return;
        }
        let primary = self.primary();
        // A disk may take longer than anything else, as long as its server lives.
        let flushes = matches!(&self.link, Link::Open(stream)
        if stream.flush.is_some_and(|flush| {
            step.now.since(flush.since) < step.config.flush_after
        }));
        match watch.probe {
            Probe::Answered if flushes => {
                if let Some(watch) = self.watch_mut() {
                    *watch = Watch { since: Some(step.now), probe: Probe::NotAsked };
                }
            }
            Probe::NotAsked => {
                let Some(location) = &self.location else { return };
                let server = location.servers.iter().find(|s| s.server == primary).cloned();
                let Some(server) = server else { return };
                let probe = AskId(step.ids.next());
                let request = pb::ConfirmedRequest {
                    header: None,
                    handle: location.handle,
                    version: location.version,
                };
                step.effects.push(Effect::Probe { probe, server, request });
                if let Some(watch) = self.watch_mut() {
                    watch.probe = Probe::Asked(probe);
                }
            }
            Probe::Asked(_) => {
                self.silences = self.silences.saturating_add(1);
                step.trouble(ErrorCode::Unreachable, format!("s{primary} is silent"));
                self.end_stream(Remedy::Recover(Some(primary)), step);
            }
            Probe::Answered => {
                self.silences = self.silences.saturating_add(1);
                let text = format!("s{primary} lives but did not acknowledge in time");
                step.trouble(ErrorCode::DeadlineExceeded, text);
                self.end_stream(Remedy::Recover(None), step);
            }
        }
    }

    /// A primary that says what cannot be is not believed; another version sorts it out.
    pub(super) fn nonsense(&mut self, what: &str, step: &mut Step<'_>) {
        let primary = self.primary();
        step.trouble(ErrorCode::Internal, format!("s{primary} {what}"));
        self.end_stream(Remedy::Recover(None), step);
    }

    pub(super) fn refused(
        &mut self,
        detail: &pb::ErrorDetail,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        let error = failure::error_of(detail);
        if error.code == ErrorCode::OutcomeUnknown && self.manner != Manner::InOrder {
            // What was never to be applied goes on behind it.
            self.fail_doubtful();
            self.end_stream(Remedy::Reopen, step);
            return Ok(());
        }
        let remedy = failure::remedy(detail, self.primary());
        if remedy == Remedy::GiveUp {
            if self.fails_alone() {
                self.fail_all(&error, step);
                return Ok(());
            }
            return Err(error);
        }
        step.trouble = Some(error);
        self.end_stream(remedy, step);
        Ok(())
    }

    /// A stream that stood may have broken alone: it is opened again, once. If that fails too, the
    /// primary is out of reach.
    pub(super) fn broken(&mut self, step: &mut Step<'_>) {
        let primary = self.primary();
        step.trouble(ErrorCode::Unavailable, format!("the stream to s{primary} broke"));
        if matches!(self.link, Link::Open(_)) && !self.reopened {
            self.reopened = true;
            self.end_stream(Remedy::Reopen, step);
        } else {
            self.end_stream(Remedy::Recover(Some(primary)), step);
        }
    }

    fn end_stream(&mut self, remedy: Remedy, step: &mut Step<'_>) {
        self.close_stream(step.effects);
        self.pause(remedy, step);
    }

    pub(super) fn close_stream(&self, effects: &mut Vec<Effect>) {
        if let Some(stream) = self.stream() {
            effects.push(Effect::CloseStream { stream });
        }
    }

    pub(super) fn pause(&mut self, remedy: Remedy, step: &mut Step<'_>) {
        if let Remedy::Recover(Some(server)) = remedy
            && server != 0
        {
            self.unreachable.insert(server);
        }
        let until = step.now + failure::pause(step.config, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        self.link = Link::Pausing { until, then: remedy };
    }

    pub(super) fn recover(&mut self, step: &mut Step<'_>) {
        if self.manner == Manner::Overwrite {
            // It holds no right to the file, and the master of today may not know that it overwrites.
            let lease = pb::LeaseRequest {
                header: None,
                inode: step.inode,
                offset: self.start,
                place: None,
                version: self.version(),
                unreachable: self.unreachable.iter().copied().collect(),
            };
            self.link = Link::Recovering(step.ask(Question::Lease(lease)));
            return;
        }
        let recover = pb::RecoverRequest {
            header: None,
            inode: step.inode,
            handle: self.handle(),
            version: self.version(),
            unreachable: self.unreachable.iter().copied().collect(),
            place: None,
        };
        self.link = Link::Recovering(step.ask(Question::Recover(recover)));
    }

    /// The master says that the chunk is at another version than it was finished or synced at.
    pub(in crate::writer) fn outdated(&mut self, step: &mut Step<'_>) {
        self.finished = false;
        self.ended = None;
        self.end_stream(Remedy::Recover(None), step);
    }

    /// The answer to Recover or Lease.
    pub(super) fn recovered(
        &mut self,
        result: Result<Answer, pb::ErrorDetail>,
        step: &mut Step<'_>,
    ) -> Result<(), GfsError> {
        match result {
            Ok(Answer::Chunk(location)) => {
                let (sealed, length) = (location.sealed, location.length);
                if let Err(error) = self.locate(step.config, *location) {
                    if self.fails_alone() {
                        self.fail_all(&error, step);
                        return Ok(());
                    }
                    return Err(error);
                }
                match self.manner {
                    Manner::InOrder if sealed => self.sealed_at(length, step)?,
                    Manner::Append if sealed => self.is_sealed_for_appender(step),
                    _ => {}
                }
                Ok(())
            }
            Ok(Answer::Attributes(_) | Answer::Outcomes(_)) => Err(GfsError::new(
                ErrorCode::Internal,
                "the master answered Recover without a location",
            )),
            Err(detail) => {
                let error = failure::error_of(&detail);
                if !error.code.is_retryable() {
                    if self.fails_alone() {
                        self.fail_all(&error, step);
                        return Ok(());
                    }
                    return Err(error);
                }
                step.trouble = Some(error);
                self.pause(Remedy::Recover(None), step);
                Ok(())
            }
        }
    }

    /// The master sealed the chunk: all its replicas have this length for good. As nobody else
    /// wrote to it, the bytes below it are ours, whether or not their acknowledgements arrived.
    fn sealed_at(&mut self, length: u32, step: &mut Step<'_>) -> Result<(), GfsError> {
        let fits = |slice: &&super::Mutation| slice.offset + slice.length <= length;
        let count = self.mutations.iter().take_while(fits).count() as u64;
        if count > 0 {
            self.applied(count, length, &[]);
            self.moved(step);
        }
        if self.acknowledged != length || !self.mutations.is_empty() {
            return Err(GfsError::new(
                ErrorCode::Sealed,
                format!(
                    "the master ended chunk {:016x} at {length} bytes because its writer was not \
                     heard for too long; open the file again to append",
                    self.handle()
                ),
            ));
        }
        self.finished = true;
        Ok(())
    }
}
