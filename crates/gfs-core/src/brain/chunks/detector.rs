//! The failure detector: one state machine per server, and the only place where a server is
//! declared dead.
//!
//! | state | signal | next |
//! |---|---|---|
//! | any | registered | alive |
//! | not heard | 30 s passed since the start; pod deleted | dead |
//! | alive | session broken; silent for 750 ms | suspect |
//! | alive, suspect | beat that says *leaving*; maintenance set | maintenance |
//! | suspect | beat | alive |
//! | suspect | session broken for 600 ms; silent for 1 700 ms; broken and pod deleted | dead |
//! | maintenance | taken back | alive, or suspect if broken or silent |
//! | maintenance | 2 min passed | alive, or dead if broken or silent for as long as above |
//! | dead | beat | dead: its session ended with the verdict, it must register |
//!
//! Nothing else changes a state: a pod that is not ready but beats is alive, an API server that
//! cannot be reached says nothing. Silence is measured by the passing of time *while the detector
//! runs*, at most 200 ms a tick: a master that was paused itself accuses nobody.

use super::Now;
use gfs_types::Millis;

/// Milliseconds after which something is so.
const SUSPECT_SILENT: u64 = 750;
const DEAD_SILENT: u64 = 1_700;
const DEAD_BROKEN: u64 = 600;
const DEAD_NOT_HEARD: u64 = 30_000;
const MAINTENANCE_LIMIT: u64 = 120_000;
/// The most that counts of the time between two ticks.
pub(super) const COUNTED_PER_TICK: u64 = 200;

/// What the detector holds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Registered once, not heard since this master leads.
    NotHeard,
    /// Beats.
    Alive,
    /// Silent or disconnected, not yet long enough.
    Suspect,
    /// What it held does not count.
    Dead,
    /// Away on purpose for a short time.
    Maintenance,
}

/// What happens to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Registered,
    Beat {
        leaving: bool,
    },
    Broken,
    PodDeleted,
    PodSeen,
    MaintenanceSet,
    MaintenanceTakenBack,
    /// So much of the time since the last tick counts.
    Passed(u64),
}

/// The detector of one server.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    state: State,
    /// In this state since.
    pub(super) since: Millis,
    /// Last registration or beat.
    pub(super) last_sign: Now,
    /// Counted milliseconds since the last sign of life.
    silent: u64,
    /// Counted milliseconds since the session broke, if it did.
    broken: Option<u64>,
    /// Counted milliseconds in a state with a limit.
    elapsed: u64,
    pod_deleted: bool,
    /// Why it is in its state.
    pub(super) reason: &'static str,
}

impl Watch {
    /// Of a server that has not been heard since the start.
    pub(super) fn new(now: Now) -> Self {
        Self {
            state: State::NotHeard,
            since: now.mono,
            last_sign: now,
            silent: 0,
            broken: None,
            elapsed: 0,
            pod_deleted: false,
            reason: "not heard since this master leads",
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Beats now and may be given work. A server in maintenance that still beats is live, too.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Maintenance)
            && self.broken.is_none()
            && self.silent < SUSPECT_SILENT
    }

    /// The detector will soon know better. (A server in maintenance is not doubtful.)
    pub(super) fn is_doubtful(&self) -> bool {
        matches!(self.state, State::Suspect | State::NotHeard)
    }

    /// Takes a signal; returns the new state if it changed.
    pub(super) fn on(&mut self, signal: Signal, now: Now) -> Option<State> {
        match signal {
            Signal::Registered => {
                self.broken = None;
                self.heard(now);
                self.pod_deleted = false;
            }
            Signal::Beat { .. } if self.state != State::Dead => self.heard(now),
            Signal::Broken => self.broken = self.broken.or(Some(0)),
            Signal::PodDeleted => self.pod_deleted = true,
            Signal::PodSeen => self.pod_deleted = false,
            Signal::Passed(counted) => {
                self.silent += counted.min(now.mono.since(self.last_sign.mono).0);
                self.broken = self.broken.map(|b| b + counted);
                self.elapsed += counted;
            }
            _ => {}
        }
        let (next, reason) = self.next(signal)?;
        self.reason = reason;
        if next == self.state {
            return None;
        }
        self.state = next;
        self.since = now.mono;
        self.elapsed = 0;
        Some(next)
    }

    fn heard(&mut self, now: Now) {
        self.last_sign = now;
        self.silent = 0;
    }

    /// The table above.
    fn next(&self, signal: Signal) -> Option<(State, &'static str)> {
        let broken = self.broken.is_some();
        let gone = if broken && self.pod_deleted {
            Some("disconnected, and its pod was deleted")
        } else if self.broken.is_some_and(|b| b >= DEAD_BROKEN) {
            Some("disconnected (killed)")
        } else if self.silent >= DEAD_SILENT {
            Some("silent")
        } else {
            None
        };
        match (self.state, signal) {
            (_, Signal::Registered) => Some((State::Alive, "beats")),
            (State::Dead, _) => None,
            (State::NotHeard, _) if self.pod_deleted => Some((State::Dead, "its pod was deleted")),
            (State::NotHeard, _) if self.elapsed >= DEAD_NOT_HEARD => {
                Some((State::Dead, "not heard within 30 s of the start"))
            }
            (State::NotHeard, _) => None,
            (State::Alive | State::Suspect, Signal::Beat { leaving: true }) => {
                Some((State::Maintenance, "is leaving"))
            }
            (State::Alive | State::Suspect, Signal::MaintenanceSet) => {
                Some((State::Maintenance, "set by an administrator"))
            }
            (State::Maintenance, Signal::MaintenanceTakenBack) => match gone {
                Some(_) => Some((State::Suspect, "maintenance was taken back")),
                None => Some((State::Alive, "beats")),
            },
            (State::Maintenance, _) if self.elapsed >= MAINTENANCE_LIMIT => match gone {
                Some(_) => Some((State::Dead, "not back from maintenance within 2 min")),
                None => Some((State::Alive, "beats")),
            },
            (State::Maintenance, _) => None,
            (State::Alive | State::Suspect, _) if gone.is_some() && !self.just_alive() => {
                gone.map(|reason| (State::Dead, reason))
            }
            (State::Alive | State::Suspect, _) if broken => Some((State::Suspect, "disconnected")),
            (State::Alive | State::Suspect, _) if self.silent >= SUSPECT_SILENT => {
                Some((State::Suspect, "silent"))
            }
            (State::Alive | State::Suspect, _) => Some((State::Alive, "beats")),
        }
    }

    /// No server goes from alive to dead in one step, except one whose pod was deleted.
    fn just_alive(&self) -> bool {
        self.state == State::Alive && !(self.pod_deleted && self.broken.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::WallMillis;

    fn at(ms: u64) -> Now {
        Now { mono: Millis(ms), wall: WallMillis(ms) }
    }

    /// Plays signals at their times with ticks of 100 ms between them; returns the changes.
    fn play(watch: &mut Watch, signals: &[(u64, Signal)], until: u64) -> Vec<(u64, State)> {
        let mut changes = Vec::new();
        for t in (100..=until).step_by(50) {
            for (_, signal) in signals.iter().filter(|(when, _)| *when == t) {
                changes.extend(watch.on(*signal, at(t)).map(|s| (t, s)));
            }
            if t % 100 == 0 {
                changes.extend(watch.on(Signal::Passed(100), at(t)).map(|s| (t, s)));
            }
        }
        changes
    }

    const BEAT: Signal = Signal::Beat { leaving: false };
    const LEAVING: Signal = Signal::Beat { leaving: true };

    #[test]
    fn the_table() {
        use Signal::*;
        use State::*;
        type Case = (&'static str, Vec<(u64, Signal)>, u64, Vec<(u64, State)>);
        let cases: Vec<Case> = vec![
            ("never heard", vec![], 31_000, vec![(30_000, Dead)]),
            (
                "killed",
                vec![(100, Registered), (350, BEAT), (500, Broken)],
                3_000,
                vec![(100, Alive), (500, Suspect), (1_000, Dead)],
            ),
            (
                "stopped",
                vec![(100, Registered), (350, BEAT), (600, BEAT)],
                3_000,
                vec![(100, Alive), (1_400, Suspect), (2_300, Dead)],
            ),
            (
                "slow beats",
                vec![(100, Registered), (1_000, BEAT), (2_000, BEAT), (3_000, BEAT)],
                3_200,
                vec![
                    (100, Alive),
                    (900, Suspect),
                    (1_000, Alive),
                    (1_800, Suspect),
                    (2_000, Alive),
                    (2_800, Suspect),
                    (3_000, Alive),
                ],
            ),
            (
                "connection lost and back",
                vec![(100, Registered), (500, Broken), (900, Registered)],
                1_600,
                vec![(100, Alive), (500, Suspect), (900, Alive)],
            ),
            (
                "pod deleted while connected",
                vec![(100, Registered), (200, PodDeleted), (300, BEAT)],
                500,
                vec![(100, Alive)],
            ),
            (
                "pod deleted, then disconnected",
                vec![(100, Registered), (200, PodDeleted), (300, Broken)],
                500,
                vec![(100, Alive), (300, Dead)],
            ),
            (
                "disconnected, then pod deleted",
                vec![(100, Registered), (200, Broken), (300, PodDeleted)],
                500,
                vec![(100, Alive), (200, Suspect), (300, Dead)],
            ),
            (
                "leaving and back",
                vec![(100, Registered), (200, LEAVING), (300, Broken), (60_000, Registered)],
                60_200,
                vec![(100, Alive), (200, Maintenance), (60_000, Alive)],
            ),
            (
                "leaving for good",
                vec![(100, Registered), (200, LEAVING), (300, Broken)],
                121_000,
                vec![(100, Alive), (200, Maintenance), (120_100, Dead)],
            ),
            (
                "maintenance taken back",
                vec![
                    (100, Registered),
                    (200, MaintenanceSet),
                    (300, Broken),
                    (2_000, MaintenanceTakenBack),
                ],
                2_500,
                vec![(100, Alive), (200, Maintenance), (2_000, Suspect), (2_000, Dead)],
            ),
            (
                "dead servers do not beat",
                vec![(100, Registered), (200, Broken), (2_000, BEAT), (2_500, Registered)],
                2_600,
                vec![(100, Alive), (200, Suspect), (700, Dead), (2_500, Alive)],
            ),
            ("pod gone before it was heard", vec![(500, PodDeleted)], 600, vec![(500, Dead)]),
        ];
        for (name, signals, until, expected) in cases {
            let mut watch = Watch::new(at(0));
            assert_eq!(play(&mut watch, &signals, until), expected, "{name}");
        }
    }

    #[test]
    fn a_paused_master_accuses_nobody() {
        let mut watch = Watch::new(at(0));
        watch.on(Signal::Registered, at(100));
        // A tick after an hour: at most 200 ms of it count.
        assert_eq!(watch.on(Signal::Passed(COUNTED_PER_TICK), at(3_600_000)), None);
        assert!(watch.is_live());
    }

    #[test]
    fn suspects_and_the_disconnected_are_not_live() {
        let mut watch = Watch::new(at(0));
        assert!(!watch.is_live());
        watch.on(Signal::Registered, at(0));
        assert!(watch.is_live());
        watch.on(LEAVING, at(100));
        assert!(watch.is_live());
        watch.on(Signal::Broken, at(100));
        // Expected to be away: not live, and nobody waits for a verdict.
        assert!(!watch.is_live() && !watch.is_doubtful());
    }
}
