//! What one step of a writer works with.

use super::{AskId, Config, Effect, Question};
use gfs_types::{ErrorCode, GfsError, Millis};

/// Mints the ids of streams, questions and probes.
#[derive(Debug, Default)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// What a step works with.
pub(super) struct Step<'a> {
    pub(super) now: Millis,
    pub(super) config: &'a Config,
    pub(super) inode: u64,
    pub(super) writer: u64,
    pub(super) ids: &'a mut Ids,
    pub(super) effects: &'a mut Vec<Effect>,
    /// Whether something moved: data acknowledged, or the master answered.
    pub(super) progress: bool,
    /// The last thing that went wrong.
    pub(super) trouble: Option<GfsError>,
}

impl Step<'_> {
    pub(super) fn trouble(&mut self, code: ErrorCode, text: String) {
        self.trouble = Some(GfsError::new(code, text));
    }

    pub(super) fn ask(&mut self, question: Question) -> AskId {
        let ask = AskId(self.ids.next());
        self.effects.push(Effect::Ask { ask, question });
        ask
    }
}
