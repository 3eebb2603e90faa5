//! The fence around a chunkserver: whose commands count, and how long reads may be served without
//! a word from the leader.

use super::failure;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};

/// What a server must remember beyond its own end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remember {
    /// Highest epoch seen.
    pub epoch: u64,
    /// Highest commit sequence heard.
    pub commit_sequence: u64,
}

/// Highest numbers seen, and when the leader was last heard. Both numbers only grow.
#[derive(Clone, Debug)]
pub struct ServerGate {
    seen: Remember,
    stored: Remember,
    read_limit: Millis,
    leader_at: Option<Millis>,
}

impl ServerGate {
    /// A gate that starts from what was remembered. No read is served before the leader was heard.
    #[must_use]
    pub const fn new(stored: Remember, read_limit: Millis) -> Self {
        Self { seen: stored, stored, read_limit, leader_at: None }
    }

    /// What was seen so far.
    #[must_use]
    pub const fn seen(&self) -> Remember {
        self.seen
    }

    /// How long reads go on without a word of the leader.
    pub const fn set_read_limit(&mut self, limit: Millis) {
        self.read_limit = limit;
    }

    /// A master says that its epoch is this one. What is returned must be stored before anything
    /// is done under that epoch, and confirmed with [`ServerGate::remembered`].
    ///
    /// # Errors
    /// STALE_EPOCH when a higher one was seen: do nothing the sender says.
    pub fn observe(
        &mut self,
        epoch: u64,
        commit_sequence: u64,
    ) -> Result<Option<Remember>, pb::ErrorDetail> {
        self.check(epoch)?;
        self.seen.epoch = epoch;
        self.seen.commit_sequence = self.seen.commit_sequence.max(commit_sequence);
        Ok((self.seen.epoch > self.stored.epoch).then_some(self.seen))
    }

    /// This is stored.
    pub const fn remembered(&mut self, stored: Remember) {
        self.stored = stored;
    }

    /// What is seen and not stored yet, a higher commit sequence alone included: to be stored now
    /// and then.
    #[must_use]
    pub fn to_remember(&self) -> Option<Remember> {
        (self.seen != self.stored).then_some(self.seen)
    }

    /// Whether a command, or a stream, of this epoch counts. A higher one must be observed (and
    /// stored) first.
    ///
    /// # Errors
    /// STALE_EPOCH when a higher one was seen.
    pub fn check(&self, epoch: u64) -> Result<(), pb::ErrorDetail> {
        if epoch >= self.seen.epoch {
            return Ok(());
        }
        let text = format!("epoch {epoch} is over: {} was seen here", self.seen.epoch);
        let mut error = failure(ErrorCode::StaleEpoch, text);
        error.epoch = self.seen.epoch;
        Err(error)
    }

    /// The master of this epoch answered that it leads.
    pub fn heard_leader(&mut self, epoch: u64, now: Millis) {
        if epoch >= self.seen.epoch {
            self.leader_at = self.leader_at.max(Some(now));
        }
    }

    /// Whether reads may be served.
    ///
    /// # Errors
    /// FENCED when the leader was not heard for longer than the limit: versions may have moved on.
    pub fn check_read(&self, now: Millis) -> Result<(), pb::ErrorDetail> {
        match self.leader_at {
            Some(at) if now.since(at) <= self.read_limit => Ok(()),
            Some(at) => {
                let text = format!("the leader was last heard {} ago", now.since(at));
                Err(failure(ErrorCode::Fenced, text))
            }
            None => Err(failure(ErrorCode::Fenced, "the leader was not heard since the start")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only_grow_and_older_epochs_are_refused() {
        let stored = Remember { epoch: 4, commit_sequence: 100 };
        let mut gate = ServerGate::new(stored, Millis(10_000));
        assert_eq!(gate.observe(3, 500).unwrap_err().error_code(), ErrorCode::StaleEpoch);
        assert_eq!(gate.observe(4, 90), Ok(None));
        assert_eq!(gate.seen(), stored);
        let higher = Remember { epoch: 6, commit_sequence: 100 };
        assert_eq!(gate.observe(6, 7), Ok(Some(higher)));
        assert_eq!(gate.check(5).unwrap_err().epoch, 6);
        // Until it is stored, it is asked for again.
        assert_eq!(gate.observe(6, 7), Ok(Some(higher)));
        gate.remembered(higher);
        assert_eq!(gate.observe(6, 101), Ok(None));
        assert_eq!(gate.to_remember(), Some(Remember { epoch: 6, commit_sequence: 101 }));
    }

    #[test]
    fn reads_need_a_recent_word_of_the_leader() {
        let mut gate = ServerGate::new(Remember::default(), Millis(10_000));
        assert_eq!(gate.check_read(Millis(0)).unwrap_err().error_code(), ErrorCode::Fenced);
        gate.observe(2, 0).unwrap();
        gate.heard_leader(1, Millis(5));
        assert!(gate.check_read(Millis(6)).is_err(), "an old leader's word counts for nothing");
        gate.heard_leader(2, Millis(100));
        gate.heard_leader(2, Millis(50));
        assert!(gate.check_read(Millis(10_100)).is_ok());
        assert!(gate.check_read(Millis(10_101)).is_err());
    }
}
