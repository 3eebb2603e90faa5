//! Runs of a [`FileWriter`] in a cluster that fails in every way a seed can think of.

mod batches;
mod cluster;
mod overwriting;
mod renewing;
mod shared;
mod spares;

use super::*;
use crate::mistakes::Mistakes;
use cluster::Cluster;
pub(crate) use cluster::Dice;
use proptest::prelude::*;
use std::collections::BTreeMap;

const BLOCK: u32 = 64 * 1024;

fn config(mistakes: Mistakes) -> Config {
    Config {
        chunk_size: 4 * BLOCK,
        max_slice: BLOCK,
        window: 6 * BLOCK,
        window_slices: 12,
        mistakes,
        ..Config::default()
    }
}

/// The byte at a file position.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 13) as u8
}

struct Run {
    cluster: Cluster,
    writer: FileWriter,
    next_slice: u64,
    next_token: u64,
    /// Where the data handed in ended when each wish was made.
    marks: BTreeMap<Token, (u64, bool)>,
    handed: u64,
    began_at: u64,
    /// The whole file is to be on disk.
    disk: bool,
}

impl Run {
    fn new(seed: u64, faults: u32, config: Config) -> Self {
        let mut cluster = Cluster::new(seed, config.chunk_size, faults);
        // Begin at nothing, or within a chunk that this client wrote to before.
        let began_at = if cluster.dice.roll(2) == 0 { 0 } else { cluster.dice.roll(200_000) };
        let last = (began_at > 0).then(|| {
            let sequence = cluster.dice.roll(3);
            cluster.with_content((0..began_at).map(byte).collect(), sequence)
        });
        let chunks = u32::from(last.is_some());
        let start = Start { inode: 9, writer: 77, length: began_at, chunks, last };
        let writer = FileWriter::new(config, start, cluster.now).expect("a sound start");
        Self {
            cluster,
            writer,
            next_slice: 0,
            next_token: 0,
            marks: BTreeMap::new(),
            handed: began_at,
            began_at,
            disk: config.disk,
        }
    }

    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.writer.step(self.cluster.now, event, &mut effects);
        let failed = self.writer.failure().is_some();
        self.cluster.take(effects, failed);
        let limit = u64::from(6 * BLOCK);
        let kept: usize = self.cluster.payload.values().map(|(_, bytes)| bytes.len()).sum();
        assert!(kept as u64 <= limit, "more than the window is kept");
        assert!(self.writer.acknowledged() <= self.handed);
        for (token, result) in std::mem::take(&mut self.cluster.done) {
            let (mark, disk) = self.marks.remove(&token).expect("a token is answered once");
            if result.is_ok() && !self.cluster.abandoned {
                let began_at = if self.handed > self.began_at { self.began_at } else { mark };
                let on_disk = self.cluster.is_on_disk(began_at, mark);
                assert!(on_disk || !(disk || self.disk), "done before all was on disk");
                let stored = self.cluster.stored();
                assert!(stored.len() as u64 >= mark, "done before all was stored");
                assert!(stored.iter().zip(0..).all(|(b, at)| *b == byte(at)), "other bytes stored");
            } else {
                assert!(failed || self.cluster.abandoned, "an error without a failure");
            }
        }
    }

    fn token(&mut self) -> Token {
        self.token_of(false)
    }

    fn token_of(&mut self, disk: bool) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.marks.insert(token, (self.handed, disk));
        token
    }

    fn hand_in(&mut self) {
        let Some(room) = self.writer.room() else { return };
        assert_eq!(room.position, self.handed);
        let few = self.cluster.dice.roll(3) == 0;
        let length = if few {
            1 + self.cluster.dice.roll(u64::from(room.length.min(5000))) as u32
        } else {
            room.length
        };
        let slice = SliceId(self.next_slice);
        self.next_slice += 1;
        let bytes = (self.handed..self.handed + u64::from(length)).map(byte).collect();
        self.cluster.payload.insert(slice, (self.handed, bytes));
        self.handed += u64::from(length);
        self.step(Event::Data { slice, length });
    }

    /// Lets time pass until something is due.
    fn pass_time(&mut self) {
        let hop = Millis(1 + self.cluster.dice.roll(20));
        let wake = self.writer.wake_at().unwrap_or(self.cluster.now + hop);
        self.cluster.now = if self.cluster.is_quiet() {
            wake.max(self.cluster.now)
        } else {
            wake.min(self.cluster.now + hop).max(self.cluster.now)
        };
        self.step(Event::Tick);
    }

    fn world(&mut self) {
        if self.cluster.dice.roll(10) == 0 || self.cluster.is_quiet() {
            self.pass_time();
        }
        if let Some(event) = self.cluster.happen() {
            self.step(event);
        }
    }

    /// Writes `length` bytes with syncs in between, and closes.
    fn write_and_close(&mut self, length: u64) {
        let goal = self.began_at + length;
        let mut steps = 0;
        while self.handed < goal {
            match self.cluster.dice.roll(12) {
                0 => {
                    let disk = self.cluster.dice.roll(4) == 0;
                    let token = self.token_of(disk);
                    self.step(Event::Flush { token, disk });
                }
                1 if self.cluster.dice.roll(4) == 0 => {
                    let disk = self.cluster.dice.roll(2) == 0;
                    let token = self.token_of(disk);
                    self.step(Event::Sync { token, disk });
                }
                2..5 => self.hand_in(),
                _ => self.world(),
            }
            steps += 1;
            assert!(steps < 200_000, "does not get on: {:?}", self.writer);
            if let Some(error) = self.writer.failure() {
                panic!("failed: {error}");
            }
        }
        let token = self.token();
        self.step(Event::Close { token });
        self.settle();
        if let Some(error) = self.writer.failure() {
            panic!("failed: {error}");
        }
        assert!(self.cluster.closed);
        assert!(self.cluster.payload.is_empty(), "payload is kept after the close");
        let stored = self.cluster.stored();
        assert_eq!(stored.len() as u64, self.handed);
        assert!(stored.iter().zip(0..).all(|(b, at)| *b == byte(at)));
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while !self.marks.is_empty() {
            self.world();
            steps += 1;
            assert!(steps < 200_000, "does not come to an end: {:?}", self.writer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_stored_whatever_fails(
        seed: u64, faults in 0u32..60, length in 0u64..1_200_000, disk: bool,
    ) {
        let config = Config { disk, ..config(Mistakes::default()) };
        Run::new(seed, faults, config).write_and_close(length);
    }

    /// When a whole cluster is gone the writer fails in bounded time with an error that says why.
    #[test]
    fn a_dead_cluster_is_an_error_not_a_hang(seed: u64, length in 1u64..300_000) {
        let mut run = Run::new(seed, 0, config(Mistakes::default()));
        while run.handed < run.began_at + length && run.writer.room().is_some() {
            run.hand_in();
        }
        run.cluster.dead = (1..=5).collect();
        let since = run.cluster.now;
        let token = run.token();
        run.step(Event::Close { token });
        run.settle();
        let error = run.writer.failure().expect("nothing can be written").clone();
        prop_assert_eq!(error.code, ErrorCode::DeadlineExceeded);
        prop_assert!(run.cluster.now.since(since) <= Millis(31_000));
        prop_assert!(run.cluster.payload.is_empty());
        prop_assert!(run.cluster.questions < 100, "{} questions", run.cluster.questions);
        prop_assert!(run.writer.wake_at().is_none());
    }

    /// One silent server costs less than the four seconds that are promised.
    #[test]
    fn a_silent_primary_is_left_out_soon(seed: u64) {
        let mut run = Run::new(seed, 0, config(Mistakes::default()));
        run.hand_in();
        let token = run.token();
        run.step(Event::Flush { token, disk: false });
        run.settle();
        run.hand_in();
        let primary = run.cluster.primary_of_last();
        run.cluster.dead = vec![primary];
        let since = run.cluster.now;
        let token = run.token();
        run.step(Event::Flush { token, disk: false });
        run.settle();
        prop_assert!(run.writer.failure().is_none());
        prop_assert!(run.cluster.now.since(since) <= Millis(2_000));
    }

    #[test]
    fn an_abandoned_file_keeps_nothing(seed: u64, faults in 0u32..20, length in 0u64..400_000) {
        let mut run = Run::new(seed, faults, config(Mistakes::default()));
        while run.handed < run.began_at + length {
            run.hand_in();
            run.world();
        }
        let flush = run.token();
        run.step(Event::Flush { token: flush, disk: false });
        run.cluster.abandoned = true;
        let token = run.token();
        run.step(Event::Abandon { token });
        prop_assert!(run.cluster.payload.is_empty());
        run.settle();
        prop_assert!(run.writer.failure().is_none());
        prop_assert!(run.writer.room().is_none());
    }
}

#[test]
fn a_close_without_data_says_nothing_finished() {
    let mut run = Run::new(1, 0, config(Mistakes::default()));
    run.write_and_close(0);
}

#[test]
fn a_refusal_that_lasts_is_the_error_at_the_deadline() {
    let start = Start { inode: 9, writer: 77, length: 0, chunks: 0, last: None };
    let mut now = Millis(5);
    let mut writer = FileWriter::new(config(Mistakes::default()), start, now).unwrap();
    let mut effects = Vec::new();
    writer.step(now, Event::Data { slice: SliceId(1), length: 10 }, &mut effects);
    let (mut asked, mut released) = (0, false);
    while writer.failure().is_none() {
        match effects.pop() {
            Some(Effect::Ask { ask, question: Question::Allocate(_) }) => {
                asked += 1;
                let code = ErrorCode::TooFewServers as u32;
                let result = Err(pb::ErrorDetail { code, ..Default::default() });
                writer.step(now, Event::Answer { ask, result }, &mut effects);
            }
            // That the master still knows it does not bring it any further.
            Some(Effect::Ask { ask, question: Question::Sync(_) }) => {
                let result = Ok(Answer::Attributes(Box::default()));
                writer.step(now, Event::Answer { ask, result }, &mut effects);
            }
            Some(effect) => panic!("{effect:?}"),
            None => {
                now = writer.wake_at().expect("it tries again").max(now);
                writer.step(now, Event::Tick, &mut effects);
            }
        }
        released = effects.iter().any(|e| matches!(e, Effect::Release { slice: SliceId(1) }));
    }
    assert_eq!(writer.failure().unwrap().code, ErrorCode::TooFewServers);
    assert!(released, "the payload may go");
    assert!((10..60).contains(&asked), "asked {asked} times");
    assert!(now <= Millis(31_000));
}

/// The planted mistakes are noticed by the runs above.
#[cfg(feature = "planted-mistakes")]
mod planted {
    use super::*;
    use crate::mistakes::Mistake;

    fn is_caught(mistake: Mistake) {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let caught = (0..200).any(|seed| {
            std::panic::catch_unwind(|| {
                let mistakes = Mistakes::default().with(mistake);
                Run::new(seed, 40, config(mistakes)).write_and_close(900_000);
            })
            .is_err()
        });
        std::panic::set_hook(hook);
        assert!(caught, "{mistake:?} went unnoticed");
    }

    #[test]
    fn resending_with_new_sequences_is_caught() {
        is_caught(Mistake::WriterResendsWithNewSequences);
    }

    #[test]
    fn releasing_before_acknowledgement_is_caught() {
        is_caught(Mistake::WriterReleasesBeforeAcknowledged);
    }
}
