//! When not to act: after the start, while it is not known yet what is there, and after many
//! servers were lost at once, which is more likely a network than so many deaths.

use super::Chunks;
use gfs_types::Millis;
use std::collections::VecDeque;

/// The cold start ends after that, whoever has not been heard.
const COLD_LIMIT: Millis = Millis(30_000);
/// Deaths within that time make a mass loss.
const MASS_WINDOW: Millis = Millis(5_000);
/// So long after it only endangered chunks are repaired.
const MASS_PAUSE: Millis = Millis(30_000);

/// What holds the planner back.
#[derive(Debug)]
pub(super) struct Caution {
    cold: bool,
    started: Millis,
    deaths: VecDeque<Millis>,
    mass_loss_until: Option<Millis>,
}

impl Caution {
    pub(super) fn new() -> Self {
        Self {
            cold: true,
            started: Millis::default(),
            deaths: VecDeque::new(),
            mass_loss_until: None,
        }
    }

    pub(super) fn started(&mut self, now: Millis) {
        self.started = now;
    }

    pub(super) fn is_cold(&self) -> bool {
        self.cold
    }

    /// A server of `registered` ones died. Whether this makes it a mass loss.
    pub(super) fn death(&mut self, now: Millis, registered: usize) -> bool {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|t| now.since(*t) > MASS_WINDOW) {
            self.deaths.pop_front();
        }
        let many = self.deaths.len() > (registered / 4).max(2);
        if many {
            self.mass_loss_until = Some(now + MASS_PAUSE);
        }
        many
    }

    /// Only chunks below two live copies are repaired.
    pub(super) fn only_endangered(&self, now: Millis) -> bool {
        self.mass_loss_until.is_some_and(|until| now < until)
    }
}

impl Chunks {
    /// Ends the cold start when all servers have reported or are dead, or after 30 s. Whether it
    /// ended now.
    pub(super) fn check_cold(&mut self, now: Millis) -> bool {
        let over = self.caution.cold
            && self.is_started
            && (now.since(self.caution.started) >= COLD_LIMIT
                || self.servers.registered().all(|s| self.is_dead(s.number) || s.is_reported()));
        if over {
            self.caution.cold = false;
        }
        over
    }

    /// Repair may go on: all is known, or all but one in a thousand chunks are full anyway.
    pub(super) fn repair_allowed(&self) -> bool {
        let lacking = self.lacking.iter().sum::<u64>();
        !self.caution.cold || lacking * 1_000 <= self.table.len()
    }

    /// Replicas may be deleted: it is known what there is, and metadata is not from the past.
    pub(super) fn deletes_allowed(&self) -> bool {
        !self.rollback
            && !self.caution.cold
            && self.servers.registered().all(|s| s.session.is_none() || s.is_reported())
    }

    /// What the cluster waits for after the start; `None`: nothing.
    #[must_use]
    pub fn phase(&self) -> Option<String> {
        if !self.is_started {
            return Some("loading".into());
        }
        if !self.caution.cold {
            return None;
        }
        let all = self.servers.registered().count();
        let known =
            self.servers.registered().filter(|s| self.is_dead(s.number) || s.is_reported()).count();
        Some(format!("{known} of {all} servers have reported what they hold"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_quarter_at_once_is_a_mass_loss() {
        let mut caution = Caution::new();
        assert!(!caution.death(Millis(0), 5));
        assert!(!caution.death(Millis(10), 5));
        assert!(caution.death(Millis(20), 5));
        assert!(
            caution.only_endangered(Millis(30_019)) && !caution.only_endangered(Millis(30_020))
        );
        // One after another is none.
        let mut caution = Caution::new();
        for t in 0..10 {
            assert!(!caution.death(Millis(t * 3_000), 5));
        }
        // Five of a hundred are none either.
        let mut caution = Caution::new();
        assert!((0..25).all(|t| !caution.death(Millis(t), 100)));
        assert!(caution.death(Millis(30), 100));
    }
}
