//! The right to a file's end is kept by calling: a writer that has nothing to ask says that it is
//! there.

use super::{Answer, AskId, Config, Question, Step, failure};
use gfs_proto::v1 as pb;
use gfs_types::{GfsError, Millis};

/// The calls by which a client keeps its right.
#[derive(Debug)]
pub(super) struct Renewal {
    /// When the next one is due.
    due: Millis,
    asked: Option<AskId>,
    /// Something was handed in since the last one.
    active: bool,
}

impl Renewal {
    /// The right was given now.
    pub(super) fn new(now: Millis, config: &Config) -> Self {
        Self { due: now + config.renew_after, asked: None, active: false }
    }

    /// Something was handed in.
    pub(super) fn wrote(&mut self) {
        self.active = true;
    }

    /// When there is something to do.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.asked.is_none().then_some(self.due)
    }

    /// Calls if it is time. `busy`: something is under way.
    pub(super) fn drive(&mut self, busy: bool, step: &mut Step<'_>) {
        if self.asked.is_some() || step.now < self.due {
            return;
        }
        let idle = !(std::mem::take(&mut self.active) || busy);
        let sync = pb::SyncRequest { inode: step.inode, idle, ..Default::default() };
        self.asked = Some(step.ask(Question::Sync(sync)));
    }

    /// Takes the answer to its call, which says nothing of how far the data has come. Whether it
    /// was that.
    ///
    /// # Errors
    /// The right is lost.
    pub(super) fn answered(
        &mut self,
        ask: AskId,
        result: &Result<Answer, pb::ErrorDetail>,
        step: &Step<'_>,
    ) -> Result<bool, GfsError> {
        if self.asked.take_if(|asked| *asked == ask).is_none() {
            return Ok(false);
        }
        self.due = match result {
            Ok(_) => step.now + step.config.renew_after,
            Err(detail) => {
                let error = failure::error_of(detail);
                if !error.code.is_retryable() {
                    return Err(error);
                }
                step.now + step.config.pause_max
            }
        };
        Ok(true)
    }
}
