//! The *volumes* (data directories) of a chunkserver: which one takes a new replica, when one leaves
//! service, and when it is looked at again. A volume does so alone: the server and its other volumes
//! go on.

use gfs_types::Millis;

/// Work for a volume whose oldest operation is older than this waits, in milliseconds.
pub const SLOW_IO_MS: u32 = 2_000;
/// A volume that stands for longer than this counts as gone, in milliseconds.
pub const DEAD_IO_MS: u32 = 10_000;
/// From so many reads on that the disk failed, a volume counts as failing. Single blocks that cannot
/// be read are none of these: they are damage, which is repaired block by block.
pub const READ_ERRORS: u64 = 16;
/// How full a volume may be to get new chunks, and clones; per cent of its size.
pub const FULL_FOR_NEW: u64 = 95;
/// See [`FULL_FOR_NEW`]. Lower, so that repair never takes the space that clients' writes need.
pub const FULL_FOR_CLONES: u64 = 90;

/// What a replica is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new chunk.
    New,
    /// A clone.
    Clone,
}

/// Whether a volume of `total` bytes, `free` of them free, may take one more replica: used space has
/// not reached the limit. A volume without size has no room.
#[must_use]
pub fn has_room(total: u64, free: u64, purpose: Purpose) -> bool {
    let full = match purpose {
        Purpose::New => FULL_FOR_NEW,
        Purpose::Clone => FULL_FOR_CLONES,
    };
    let used = u128::from(total.saturating_sub(free));
    used * 100 < u128::from(total) * u128::from(full)
}

/// What is known of a volume that may take a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// It is in service.
    pub serving: bool,
    /// Size in bytes.
    pub total: u64,
    /// Free bytes.
    pub free: u64,
    /// Bytes that replicas placed lately may still take.
    pub expected: u64,
    /// Age of its oldest operation, in milliseconds.
    pub oldest_io_ms: u32,
}

/// The volumes that may take a new replica, by their place in `candidates`: the emptiest first (by
/// the share of its size that is free), of equals the one with more bytes free, then the first.
#[must_use]
pub fn emptiest_first(candidates: &[Candidate], purpose: Purpose) -> Vec<usize> {
    let takes = |c: &Candidate| {
        c.serving && c.oldest_io_ms < SLOW_IO_MS && has_room(c.total, c.free, purpose)
    };
    let mut order: Vec<(u128, u64, usize)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| takes(candidate))
        .map(|(at, c)| {
            let left = c.free.saturating_sub(c.expected);
            let used = u128::from(c.total.saturating_sub(left));
            ((used << 32) / u128::from(c.total.max(1)), u64::MAX - left, at)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(.., at)| at).collect()
}

/// Between two looks whether a volume that left service does its part again.
pub const PROBE: Millis = Millis(5_000);
/// The longest that a volume waits for the first look; one that has served for so long since it was
/// taken back counts as sound.
pub const LONGEST_WAIT: Millis = Millis(3_600_000);

/// Whether a volume does its part. By what is seen of it, it only ever gets worse. It serves again
/// when it was looked at ([`Probation`]) and opened anew, as at a restart of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// It does.
    #[default]
    Serving,
    /// It takes nothing new, for this reason. What it holds can perhaps be read and does not count:
    /// its replicas are reported as damaged, so that they are made good elsewhere.
    Failing(String),
    /// It does not answer or is not there, for this reason: it has no replicas any more.
    Gone(String),
}

/// What can be seen of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// Age of its oldest operation, in milliseconds.
    pub oldest_io_ms: u32,
    /// The first write or sync that the disk failed.
    pub failing: Option<String>,
    /// The file system has turned read-only.
    pub read_only: bool,
    /// Reads that the disk failed.
    pub read_errors: u64,
    /// The directory is not what it was: removed, or another file system in its place.
    pub missing: Option<String>,
}

impl Service {
    /// What these signs make of it, if that is worse than what it was.
    #[must_use]
    pub fn judge(&self, signs: &Signs) -> Option<Self> {
        let gone = match &signs.missing {
            Some(why) => Some(why.clone()),
            None if signs.oldest_io_ms > DEAD_IO_MS => {
                Some(format!("it has not answered for {} s", signs.oldest_io_ms / 1_000))
            }
            None => None,
        };
        match (self, gone) {
            (Self::Gone(_), _) => None,
            (_, Some(why)) => Some(Self::Gone(why)),
            (Self::Failing(_), None) => None,
            (Self::Serving, None) => {
                let why = if signs.read_only {
                    "the file system is read-only".to_owned()
                } else if let Some(failing) = &signs.failing {
                    failing.clone()
                } else if signs.read_errors >= READ_ERRORS {
                    format!("the disk failed {} reads", signs.read_errors)
                } else {
                    return None;
                };
                Some(Self::Failing(why))
            }
        }
    }

    /// Why it does not do its part; empty while it does.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Serving => "",
            Self::Failing(why) | Self::Gone(why) => why,
        }
    }

    /// Whether it does its part.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        matches!(self, Self::Serving)
    }

    /// Whether nothing of it can be used.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone(_))
    }
}

/// When a volume that has left service is looked at again. One that leaves it soon after it was taken
/// back waits twice as long as the last time: each time costs the cluster copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probation {
    wait: Millis,
    next: Option<Millis>,
    taken_back: Option<Millis>,
}

impl Probation {
    /// Whether it is to be looked at now; to be asked while it is out of service.
    pub fn is_due(&mut self, now: Millis) -> bool {
        let Some(next) = self.next else {
            let soon = self.taken_back.is_some_and(|at| now.since(at) < LONGEST_WAIT);
            self.wait = if soon { (self.wait + self.wait).min(LONGEST_WAIT) } else { PROBE };
            self.next = Some(now + self.wait);
            return false;
        };
        let due = next <= now;
        if due {
            self.next = Some(now + PROBE);
        }
        due
    }

    /// It is in service again.
    pub fn taken_back(&mut self, now: Millis) {
        self.taken_back = Some(now);
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(total: u64, free: u64) -> Candidate {
        Candidate { serving: true, total, free, ..Candidate::default() }
    }

    #[test]
    fn new_chunks_stop_at_95_per_cent_and_clones_at_90() {
        for (used, new, clone) in [
            (0, true, true),
            (89, true, true),
            (90, true, false),
            (94, true, false),
            (95, false, false),
        ] {
            let free = 1_000 - used * 10;
            assert_eq!(has_room(1_000, free, Purpose::New), new, "{used} %");
            assert_eq!(has_room(1_000, free, Purpose::Clone), clone, "{used} %");
        }
        assert!(!has_room(0, 0, Purpose::New));
        assert!(has_room(u64::MAX, u64::MAX, Purpose::Clone));
    }

    #[test]
    fn the_emptiest_that_does_its_part_takes_the_replica() {
        let small = candidate(100, 60);
        let large = candidate(1_000, 500);
        let full = candidate(1_000, 20);
        let failing = Candidate { serving: false, ..candidate(1_000, 1_000) };
        let slow = Candidate { oldest_io_ms: SLOW_IO_MS, ..candidate(1_000, 1_000) };
        let all = [full, large, small, failing, slow];
        assert_eq!(emptiest_first(&all, Purpose::New), [2, 1]);
        // What was placed there lately counts as used.
        let busy = Candidate { expected: 30, ..small };
        assert_eq!(emptiest_first(&[full, large, busy], Purpose::New), [1, 2]);
        assert_eq!(emptiest_first(&[], Purpose::New), [0; 0]);
    }

    #[test]
    fn a_volume_gets_worse_only() {
        let serving = Service::Serving;
        assert_eq!(serving.judge(&Signs::default()), None);
        assert_eq!(serving.judge(&Signs { oldest_io_ms: DEAD_IO_MS, ..Signs::default() }), None);
        let failed = Signs { failing: Some("EIO".into()), ..Signs::default() };
        let failing = serving.judge(&failed).unwrap();
        assert_eq!(failing, Service::Failing("EIO".into()));
        assert_eq!(failing.judge(&failed), None);
        assert_eq!(failing.judge(&Signs::default()), None, "no word of it is taken back");
        let hung = Signs { oldest_io_ms: DEAD_IO_MS + 1, ..failed };
        let gone = failing.judge(&hung).unwrap();
        assert!(gone.is_gone() && gone.reason().contains("not answered"), "{gone:?}");
        assert_eq!(gone.judge(&Signs { missing: Some("x".into()), ..hung }), None);
        let reads = |read_errors| Signs { read_errors, ..Signs::default() };
        assert_eq!(serving.judge(&reads(READ_ERRORS - 1)), None);
        assert!(!serving.judge(&reads(READ_ERRORS)).unwrap().is_serving());
    }

    #[test]
    fn a_volume_is_looked_at_now_and_then_and_more_rarely_when_it_fails_again() {
        let mut probation = Probation::default();
        let mut now = Millis(1_000_000);
        // How long after it left it is first looked at.
        let mut wait = |probation: &mut Probation| {
            let left = now;
            while !probation.is_due(now) {
                now = now + Millis(1_000);
            }
            let wait = now - left;
            // It is not well yet.
            for _ in 0..3 {
                let last = now;
                now = now + Millis(1_000);
                while !probation.is_due(now) {
                    now = now + Millis(1_000);
                }
                assert_eq!(now - last, PROBE);
            }
            probation.taken_back(now);
            now = now + Millis(10_000);
            wait
        };
        let waits: Vec<u64> = (0..14).map(|_| wait(&mut probation).0).collect();
        let mut expected = PROBE.0;
        for found in waits {
            // Asked once a second.
            assert!((expected..=expected + 1_000).contains(&found), "{found} {expected}");
            expected = (expected * 2).min(LONGEST_WAIT.0);
        }
        // After an hour in service it is as good as any.
        probation.taken_back(Millis(u64::MAX / 2));
        let later = Millis(u64::MAX / 2) + LONGEST_WAIT;
        assert!(!probation.is_due(later) && !probation.is_due(later + PROBE - Millis(1)));
        assert!(probation.is_due(later + PROBE));
    }

    proptest! {
        #[test]
        fn only_volumes_with_room_take_replicas_and_none_of_them_is_left_out(
            volumes in prop::collection::vec(
                (any::<bool>(), 0u64..2_000, 0u64..2_000, 0u64..500, 0u32..4_000), 0..8),
            clone in any::<bool>(),
        ) {
            let purpose = if clone { Purpose::Clone } else { Purpose::New };
            let candidates: Vec<Candidate> = volumes
                .into_iter()
                .map(|(serving, total, free, expected, oldest_io_ms)| Candidate {
                    serving, total, free: free.min(total), expected, oldest_io_ms,
                })
                .collect();
            let order = emptiest_first(&candidates, purpose);
            for (at, c) in candidates.iter().enumerate() {
                let takes =
                    c.serving && c.oldest_io_ms < SLOW_IO_MS && has_room(c.total, c.free, purpose);
                prop_assert_eq!(takes, order.contains(&at));
            }
            let share = |at: usize| {
                let c = candidates[at];
                c.free.saturating_sub(c.expected) as f64 / c.total as f64
            };
            for pair in order.windows(2) {
                prop_assert!(share(pair[0]) >= share(pair[1]) - 1e-6);
            }
        }
    }
}
