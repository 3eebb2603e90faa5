//! How far the limits of a leading master are used. (All of them: see `docs/limits.md`.)

use super::Brain;

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is limited, in one word.
    pub of: &'static str,
    /// So much there is.
    pub used: usize,
    /// So much there may be.
    pub limit: usize,
}

impl Brain {
    /// How much there is of what clients and servers can make more of, and how much there may be.
    #[must_use]
    pub fn usage(&self) -> [Usage; 6] {
        let limits = &self.config.limits;
        let (changes, most_changes) = self.chunks.changes_under_way();
        let (fscks, most_fscks) = self.fscks();
        let usage = |of, used, limit| Usage { of, used, limit };
        [
            usage("uncommitted", self.journal.waiting(), limits.uncommitted),
            usage("waiting_calls", self.waiting.len(), limits.waiting),
            usage("clients", self.outcomes.clients(), limits.clients),
            usage("version_changes", changes, most_changes),
            usage("trash_entries", self.trash.len(), limits.trash_entries),
            usage("fscks", fscks, most_fscks),
        ]
    }
}
