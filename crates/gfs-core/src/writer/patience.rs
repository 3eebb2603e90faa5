//! How long a writer waits: for anything to move, and with its next question to the master.

use super::{Config, failure};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};

#[derive(Debug)]
pub(super) struct Patience {
    /// The last time something moved, or there was nothing to move.
    moved_at: Millis,
    /// The last thing that went wrong, for the error at the deadline.
    pub(super) trouble: Option<GfsError>,
    /// After a refused question: when to ask again.
    retry: Option<Millis>,
    /// Questions refused since the last one that was not.
    refusals: u32,
}

impl Patience {
    pub(super) fn new(now: Millis) -> Self {
        Self { moved_at: now, trouble: None, retry: None, refusals: 0 }
    }

    /// Something moved, or there is nothing to move.
    pub(super) fn moved(&mut self, now: Millis) {
        self.moved_at = now;
    }

    /// Whether nothing has moved for too long.
    pub(super) fn is_over(&self, now: Millis, config: &Config) -> bool {
        now.since(self.moved_at) >= config.deadline
    }

    /// When there is something to look at: the deadline of who is `busy`, or the next question.
    pub(super) fn wake_at(&self, busy: bool, config: &Config) -> Option<Millis> {
        let deadline = busy.then(|| self.moved_at + config.deadline);
        deadline.into_iter().chain(self.retry).min()
    }

    /// Whether the master may be asked now.
    pub(super) fn may_ask(&mut self, now: Millis) -> bool {
        self.retry.take_if(|retry| now >= *retry);
        self.retry.is_none()
    }

    /// The master answered.
    pub(super) fn answered(&mut self) {
        self.refusals = 0;
    }

    /// The master refused, for now: the next question waits.
    pub(super) fn refused(&mut self, now: Millis, config: &Config, detail: &pb::ErrorDetail) {
        let pause = failure::pause(config, self.refusals)
            .max(Millis(u64::from(detail.retry_after_ms)).min(config.pause_max));
        self.retry = Some(now + pause);
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Why it is over. `what` says what is known.
    pub(super) fn error(&self, config: &Config, what: &str) -> GfsError {
        let seconds = config.deadline.0.div_ceil(1000);
        let why = match &self.trouble {
            Some(error) => format!("; the last failure was: {error}"),
            None => String::new(),
        };
        // What somebody must act upon is the better code.
        let code = match self.trouble.as_ref().map(|error| error.code) {
            Some(code @ (ErrorCode::NoSpace | ErrorCode::TooFewServers)) => code,
            _ => ErrorCode::DeadlineExceeded,
        };
        GfsError::new(code, format!("nothing moved for {seconds} s; {what}{why}"))
    }
}
