//! The scrub of one volume: every replica is read in turn and compared with its checksums, at a
//! bounded rate, over and over. Damage that nobody reads is found before the last good copy goes.
//!
//! [`Scrubber`] decides what is read next and when; it is told the time and what came of it. A
//! *pass* goes through the replicas in the order of their handles. Where it stands survives a
//! restart ([`Progress`]), to the replica.

use gfs_types::{BLOCK_SIZE, MAX_SLICE, Millis, WallMillis};
use std::collections::VecDeque;

/// Handles that are asked for at a time.
pub const PAGE: usize = 1_024;
/// What opening a file counts for: so that a volume of tiny chunks is spared, too. In bytes.
pub const OPENING: u32 = BLOCK_SIZE;
/// A reader that comes late may make up for so much: sleeping is not exact.
const CREDIT: Millis = Millis(100);
/// Between two passes at least, whatever the settings say.
const SHORTEST_REST: Millis = Millis(1_000);
/// Progress is stored so often while a pass is under way.
const SAVE_EVERY: Millis = Millis(300_000);
/// How long it steps back when clients keep the disk busy.
const BACK_OFF: Millis = Millis(250);
/// So often in a row: then a piece is read all the same, or a busy volume would never be verified.
const BACK_OFFS: u32 = 8;

/// How a volume is scrubbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes a second, openings included; 0: never.
    pub rate: u64,
    /// From the begin of one pass to the begin of the next, at least.
    pub interval: Millis,
}

/// What outlives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The present pass has verified every replica up to this handle; 0: none yet.
    pub after: u64,
    /// Complete passes.
    pub passes: u64,
    /// When the last one ended; for people.
    pub completed: WallMillis,
    /// Blocks found damaged, in all.
    pub damaged_blocks: u64,
    /// Replicas found lost or beyond use, in all.
    pub lost_replicas: u64,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing for so long.
    Wait(Millis),
    /// Tell the replicas behind this handle: [`Scrubber::listed`].
    List {
        /// Only greater handles.
        after: u64,
    },
    /// Open this replica, and say how long it is: [`Scrubber::opened`].
    Open {
        /// Its handle.
        handle: u64,
    },
    /// Verify a range of the open replica: [`Scrubber::verified`].
    Verify {
        /// The replica's handle.
        handle: u64,
        /// Where: at a block's border.
        offset: u32,
        /// How much, at least one byte and at most [`MAX_SLICE`].
        length: u32,
    },
    /// Store this: [`Scrubber::saved`], also when that failed.
    Save(Progress),
}

/// Replicas in the order of handles, behind the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most [`PAGE`]; none: the pass is over.
    pub handles: Vec<u64>,
    /// Replicas up to the handle asked for.
    pub before: u64,
    /// All replicas of the volume.
    pub total: u64,
}

/// The replica that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    handle: u64,
    at: u32,
    length: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Scrubber {
    settings: Settings,
    progress: Progress,
    saved: Progress,
    saved_at: Millis,
    /// A pass has ended: that is stored at once.
    save_now: bool,
    /// Between two passes, until then.
    resting: Option<Millis>,
    pass_began: Millis,
    page: VecDeque<u64>,
    /// Replicas verified in this pass, and those there are.
    before: u64,
    total: u64,
    open: Option<Open>,
    /// Nothing is read before; microseconds, for rates that allow more than a piece a millisecond.
    due: u64,
    back_offs: u32,
}

impl Scrubber {
    /// A scrubber that goes on where `progress` says.
    #[must_use]
    pub fn new(settings: Settings, progress: Progress, now: Millis) -> Self {
        Self {
            settings,
            progress,
            saved: progress,
            saved_at: now,
            save_now: false,
            resting: None,
            pass_began: now,
            page: VecDeque::new(),
            before: 0,
            total: 0,
            open: None,
            due: 0,
            back_offs: 0,
        }
    }

    /// What is to be done. `busy`: clients keep the disk busy.
    pub fn next(&mut self, now: Millis, busy: bool) -> Next {
        let old = now.since(self.saved_at) >= SAVE_EVERY;
        if self.progress != self.saved && (old || self.save_now) {
            return Next::Save(self.progress);
        }
        if self.settings.rate == 0 {
            return Next::Wait(SAVE_EVERY);
        }
        match self.resting {
            Some(until) if now < until => return Next::Wait(until - now),
            Some(_) => {
                self.resting = None;
                self.pass_began = now;
            }
            None => {}
        }
        if let Some(early) = self.due.checked_sub(micros(now)).filter(|early| *early > 0) {
            return Next::Wait(Millis(early.div_ceil(1_000)));
        }
        if busy && self.back_offs < BACK_OFFS {
            self.back_offs += 1;
            return Next::Wait(BACK_OFF);
        }
        self.back_offs = 0;
        if let Some(Open { handle, at, length }) = self.open {
            return Next::Verify { handle, offset: at, length: self.piece().min(length - at) };
        }
        match self.page.front() {
            Some(handle) => Next::Open { handle: *handle },
            None => Next::List { after: self.progress.after },
        }
    }

    /// The replicas that there are.
    pub fn listed(&mut self, now: Millis, wall: WallMillis, page: Page) {
        self.before = page.before;
        self.total = page.total;
        self.page = page.handles.into_iter().filter(|h| *h > self.progress.after).collect();
        if self.page.is_empty() {
            self.progress.after = 0;
            self.progress.passes += 1;
            self.progress.completed = wall;
            self.save_now = true;
            let rest = (self.pass_began + self.settings.interval).max(now + SHORTEST_REST);
            self.resting = Some(rest);
        }
    }

    /// The replica was opened and has so many bytes to verify; 0 also where it cannot be verified.
    pub fn opened(&mut self, now: Millis, length: u32) {
        self.charge(now, OPENING);
        match self.page.front() {
            Some(handle) if length > 0 => {
                self.open = Some(Open { handle: *handle, at: 0, length });
            }
            _ => self.done(),
        }
    }

    /// So many bytes were verified, whatever came of it; to be the length that was asked for.
    pub fn verified(&mut self, now: Millis, length: u32) {
        self.charge(now, length);
        if let Some(open) = &mut self.open {
            open.at = open.at.saturating_add(length.max(1));
            if open.at >= open.length {
                self.done();
            }
        }
    }

    /// Something was found.
    pub const fn found(&mut self, damaged_blocks: u64, lost_replicas: u64) {
        self.progress.damaged_blocks += damaged_blocks;
        self.progress.lost_replicas += lost_replicas;
    }

    /// Progress was stored, or could not be: then it is tried again in a while.
    pub const fn saved(&mut self, now: Millis, progress: Progress) {
        self.saved = progress;
        self.saved_at = now;
        self.save_now = false;
    }

    /// What a restart is to go on with.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// Of the replicas, how many the present pass has verified, in percent; 100 between passes.
    #[must_use]
    pub fn percent(&self) -> u32 {
        if self.resting.is_some() {
            return 100;
        }
        let percent = self.before.saturating_mul(100).checked_div(self.total).unwrap_or(0);
        u32::try_from(percent.min(100)).unwrap_or(100)
    }

    fn done(&mut self) {
        self.open = None;
        if let Some(handle) = self.page.pop_front() {
            self.progress.after = handle;
            self.before += 1;
        }
    }

    /// At low rates pieces get smaller, so that they come at least four times a second.
    fn piece(&self) -> u32 {
        let quarter = u32::try_from(self.settings.rate / 4).unwrap_or(MAX_SLICE);
        (quarter / BLOCK_SIZE * BLOCK_SIZE).clamp(BLOCK_SIZE, MAX_SLICE)
    }

    fn charge(&mut self, now: Millis, bytes: u32) {
        let span = (u64::from(bytes) * 1_000_000).div_ceil(self.settings.rate.max(1));
        self.due = self.due.max(micros(now - CREDIT)).saturating_add(span);
    }
}

const fn micros(at: Millis) -> u64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const WALL: WallMillis = WallMillis(77);

    /// A volume and its scrubber, on a clock that only `run` moves.
    struct World {
        scrubber: Scrubber,
        replicas: BTreeMap<u64, u32>,
        now: Millis,
        stored: Progress,
        saves: u64,
        /// When, which, where, how much.
        read: Vec<(Millis, u64, u32, u32)>,
    }

    impl World {
        fn new(rate: u64, interval: u64, replicas: &[(u64, u32)]) -> Self {
            let settings = Settings { rate, interval: Millis(interval) };
            Self {
                scrubber: Scrubber::new(settings, Progress::default(), Millis(5_000)),
                replicas: replicas.iter().copied().collect(),
                now: Millis(5_000),
                stored: Progress::default(),
                saves: 0,
                read: Vec::new(),
            }
        }

        fn restart(&mut self) {
            self.scrubber = Scrubber::new(self.scrubber.settings, self.stored, self.now);
        }

        /// One step; the time that `late` says passes beside what is waited for.
        fn step(&mut self, busy: bool, late: u64) {
            match self.scrubber.next(self.now, busy) {
                Next::Wait(span) => {
                    assert!(span.0 > 0, "no busy waiting");
                    self.now = self.now + span;
                }
                Next::List { after } => {
                    let behind = self.replicas.range(after + 1..);
                    let page = Page {
                        // Pages of 2, so that there are several.
                        handles: behind.map(|(handle, _)| *handle).take(2).collect(),
                        before: self.replicas.range(..=after).count() as u64,
                        total: self.replicas.len() as u64,
                    };
                    self.scrubber.listed(self.now, WALL, page);
                }
                Next::Open { handle } => {
                    let length = self.replicas.get(&handle).copied().unwrap_or(0);
                    self.scrubber.opened(self.now, length);
                }
                Next::Verify { handle, offset, length } => {
                    assert!(length > 0 && length <= MAX_SLICE && offset.is_multiple_of(BLOCK_SIZE));
                    self.read.push((self.now, handle, offset, length));
                    self.scrubber.verified(self.now, length);
                }
                Next::Save(progress) => {
                    self.stored = progress;
                    self.saves += 1;
                    self.scrubber.saved(self.now, progress);
                }
            }
            self.now = self.now + Millis(late);
        }

        fn run_pass(&mut self) {
            let passes = self.scrubber.progress().passes;
            while self.scrubber.progress().passes == passes {
                self.step(false, 0);
            }
        }

        /// Bytes read of each, every one of them once and in order.
        fn covered(&self) -> BTreeMap<u64, u32> {
            let mut covered = BTreeMap::new();
            for (_, handle, offset, length) in &self.read {
                let at: &mut u32 = covered.entry(*handle).or_default();
                assert_eq!(*at, *offset, "chunk {handle}");
                *at += length;
            }
            covered
        }
    }

    #[test]
    fn off_is_off() {
        let mut world = World::new(0, 0, &[(1, 5_000)]);
        for _ in 0..100 {
            world.step(false, 1);
        }
        assert!(world.read.is_empty());
    }

    #[test]
    fn a_pass_is_followed_by_a_rest_and_stored_once() {
        let mut world = World::new(1 << 20, 3_600_000, &[(3, 1 << 20), (9, 1)]);
        assert_eq!(world.scrubber.percent(), 0);
        world.run_pass();
        assert_eq!(world.scrubber.percent(), 100);
        world.step(false, 0);
        assert_eq!((world.saves, world.stored.passes, world.stored.completed), (1, 1, WALL));
        assert_eq!(world.scrubber.next(world.now, false), {
            let next = Millis(5_000 + 3_600_000);
            Next::Wait(next - world.now)
        });
        world.read.clear();
        world.run_pass();
        assert!(world.read.iter().all(|(at, ..)| at.0 >= 3_605_000));
        assert_eq!(world.covered().len(), 2);
    }

    #[test]
    fn an_empty_volume_is_not_gone_through_without_end() {
        let mut world = World::new(u64::MAX, 0, &[]);
        for _ in 0..300 {
            world.step(false, 0);
        }
        assert!(world.now.0 >= 5_000 + 99_000, "{}", world.now);
    }

    #[test]
    fn clients_go_first_and_it_goes_on_all_the_same() {
        let mut world = World::new(u64::MAX, 0, &[(1, 8 << 20)]);
        let begun = world.now;
        while world.read.len() < 4 {
            world.step(true, 0);
        }
        let span = (world.now - begun).0;
        assert!((8_000..=14_000).contains(&span), "{span} ms for 6 steps");
    }

    #[test]
    fn a_long_pass_is_stored_now_and_then() {
        // 100 replicas of 10 s each.
        let replicas: Vec<(u64, u32)> = (1..=100).map(|handle| (handle, 10 << 20)).collect();
        let mut world = World::new(1 << 20, 0, &replicas);
        world.run_pass();
        assert!((2..=5).contains(&world.saves), "{} in about 1 000 s", world.saves);
        assert!(world.stored.after > 50);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        /// However the clock goes: no span of time sees more bytes than the rate allows, but for a
        /// piece and what sleeping late may be made up for.
        #[test]
        fn the_rate_is_kept(
            rate in 40_000_u64..50_000_000,
            lengths in prop::collection::vec(0_u32..5_000_000, 1..6),
            lates in prop::collection::vec(0_u64..400, 1..20),
        ) {
            let replicas: Vec<(u64, u32)> = (1..).zip(lengths).collect();
            let mut world = World::new(rate, 0, &replicas);
            for step in 0..400 {
                world.step(false, lates[step % lates.len()]);
            }
            let read = &world.read;
            for (first, (from, ..)) in read.iter().enumerate() {
                let mut bytes = 0_u64;
                for (to, _, _, length) in &read[first..] {
                    bytes += u64::from(*length);
                    let allowed = rate * ((*to - *from) + CREDIT).0 / 1_000 + u64::from(*length);
                    prop_assert!(bytes <= allowed + 1, "{bytes} > {allowed} from {from} to {to}");
                }
            }
        }

        /// And in the long run it is also reached.
        #[test]
        fn the_rate_is_used(rate in 100_000_u64..50_000_000, length in 1_000_000_u32..60_000_000) {
            let mut world = World::new(rate, 0, &[(1, length)]);
            let begun = world.now;
            world.run_pass();
            let least = (u64::from(length) + u64::from(OPENING)) * 1_000 / rate;
            // Rounding costs at most a millisecond a piece.
            let pieces = world.read.len() as u64;
            prop_assert!((world.now - begun).0 <= least + pieces + 2_000);
        }

        /// A pass with restarts anywhere reads all of every replica that is there throughout.
        #[test]
        fn a_pass_goes_on_after_restarts(
            lengths in prop::collection::vec(0_u32..4_000_000, 1..12),
            restarts in prop::collection::vec(0_usize..120, 0..5),
            gone in 0_u64..12,
        ) {
            let replicas: Vec<(u64, u32)> = (1..).map(|n| n * 3).zip(lengths).collect();
            let mut world = World::new(500_000, 0, &replicas);
            let mut steps = 0;
            let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
            while world.stored.passes == 0 {
                world.step(false, 0);
                steps += 1;
                if let Some((_, handle, offset, length)) = world.read.pop() {
                    let at = seen.entry(handle).or_default();
                    // Again from its begin after a restart, never with a gap.
                    prop_assert!(offset <= *at);
                    *at = (*at).max(offset + length);
                }
                if restarts.contains(&steps) {
                    // As a crash does, or with what an orderly end stores.
                    if steps % 2 == 0 {
                        world.stored = world.scrubber.progress();
                    }
                    world.restart();
                }
                if steps == 40 {
                    world.replicas.remove(&(gone * 3));
                }
                prop_assert!(steps < 10_000);
            }
            for (handle, length) in &world.replicas {
                prop_assert_eq!(seen.get(handle).copied().unwrap_or(0), *length);
            }
        }
    }
}
