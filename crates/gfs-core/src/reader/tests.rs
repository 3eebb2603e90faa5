//! Reads from replicas that lie, stop, break and are out of date.

use super::*;
use crate::writer::tests::Dice;
use proptest::prelude::*;

const LENGTH: u32 = 5 * BLOCK_SIZE + 777;

fn content() -> Bytes {
    (0..LENGTH).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect::<Vec<_>>().into()
}

fn location(version: u64, servers: &[u32]) -> pb::ChunkLocation {
    pb::ChunkLocation {
        handle: 5,
        version,
        length: LENGTH,
        servers: servers
            .iter()
            .map(|server| pb::ServerLocation { server: *server, ..Default::default() })
            .collect(),
        ..Default::default()
    }
}

struct Run {
    now: Millis,
    dice: Dice,
    faults: u32,
    reader: ChunkReader,
    version: u64,
    /// Of the open stream: server, offset, end, version asked for.
    open: Option<(StreamId, u32, u32, u32, u64)>,
    asked: bool,
    reports: Vec<pb::ReportDamageRequest>,
    damaged: Option<u32>,
    delivered: Vec<u8>,
    outcome: Option<Result<(), GfsError>>,
}

impl Run {
    fn new(seed: u64, faults: u32, range: Range, mistakes: Mistakes) -> Self {
        let config = Config { mistakes, ..Config::default() };
        Self {
            now: Millis(5),
            dice: Dice(seed),
            faults,
            reader: ChunkReader::new(config, location(3, &[1, 2, 3]), range),
            version: 3,
            open: None,
            asked: false,
            reports: Vec::new(),
            damaged: None,
            delivered: Vec::new(),
            outcome: None,
        }
    }

    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.reader.step(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Open { stream, server, request } => {
                    assert!(self.open.is_none(), "two streams at once");
                    let end = request.offset + request.length;
                    self.open = Some((stream, server.server, request.offset, end, request.version));
                }
                Effect::Close { stream } => {
                    assert!(self.open.take_if(|open| open.0 == stream).is_some());
                }
                Effect::Locate { .. } => self.asked = true,
                Effect::Deliver { pieces } => {
                    pieces.iter().for_each(|piece| self.delivered.extend_from_slice(piece));
                }
                Effect::Report(report) => self.reports.push(report),
                Effect::Done => self.outcome = Some(Ok(())),
                Effect::Failed(error) => self.outcome = Some(Err(error)),
            }
        }
    }

    fn fault(&mut self, one_in: u64) -> bool {
        let hit = self.faults > 0 && self.dice.roll(one_in) == 0;
        self.faults -= u32::from(hit);
        hit
    }

    fn happen(&mut self) {
        if let Some(wake) = self.reader.wake_at() {
            self.now = wake.max(self.now);
            return self.step(Event::Tick);
        }
        if self.asked {
            self.asked = false;
            let result = if self.fault(3) {
                Err(pb::ErrorDetail { code: ErrorCode::NotReady as u32, ..Default::default() })
            } else {
                Ok(Box::new(location(self.version, &[3, 1, 2])))
            };
            return self.step(Event::Located(result));
        }
        let Some((stream, server, offset, end, version)) = self.open else {
            return self.step(Event::Tick);
        };
        let fails = |code: ErrorCode| Event::Failed {
            stream,
            detail: pb::ErrorDetail { code: code as u32, ..Default::default() },
        };
        if self.fault(20) {
            self.version += 1;
        }
        let event = if version != self.version {
            fails(ErrorCode::StaleVersion)
        } else if self.fault(4) {
            match self.dice.roll(5) {
                0 => Event::Broken { stream },
                1 => Event::Ended { stream },
                2 => Event::Silent { stream },
                3 => fails(ErrorCode::Fenced),
                _ => self.message(stream, offset, end, true),
            }
        } else if self.damaged == Some(server) {
            self.message(stream, offset, end, true)
        } else if offset >= end.min(LENGTH) {
            Event::Ended { stream }
        } else {
            self.message(stream, offset, end, false)
        };
        if let (Some(open), Event::Received { reply, .. }) = (&mut self.open, &event) {
            open.2 += reply.length;
        }
        self.step(event);
    }

    fn message(&mut self, stream: StreamId, offset: u32, end: u32, damaged: bool) -> Event {
        let most = (end.min(LENGTH) - offset).min(2 * BLOCK_SIZE);
        let length = if most == 0 { 0 } else { 1 + self.dice.roll(u64::from(most)) as u32 };
        let range = offset as usize..(offset + length) as usize;
        let mut payload = content().slice(range).to_vec();
        let sums = BlockSums::of(offset, &[Bytes::from(payload.clone())]);
        if damaged && !payload.is_empty() {
            let at = self.dice.roll(payload.len() as u64) as usize;
            payload[at] ^= 1 << self.dice.roll(8);
        }
        let cut = self.dice.roll(payload.len() as u64 + 1) as usize;
        let payload = Bytes::from(payload);
        Event::Received {
            stream,
            reply: pb::ReadReply {
                offset,
                length,
                sums: sums.0.iter().map(|sum| sum.0).collect(),
                chunk_length: LENGTH,
            },
            payload: vec![payload.slice(..cut), payload.slice(cut..)],
        }
    }

    fn finish(&mut self) -> Result<(), GfsError> {
        self.step(Event::Tick);
        for _ in 0..20_000 {
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            self.happen();
        }
        panic!("does not come to an end: {:?}", self.reader);
    }
}

const WHOLE: Range = Range { offset: 0, end: LENGTH, required: LENGTH };

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(
        seed: u64, faults in 0u32..12, offset in 0..LENGTH, length in 0..LENGTH,
    ) {
        let end = (offset + length).min(LENGTH);
        let range = Range { offset, end, required: end };
        let mut run = Run::new(seed, faults, range, Mistakes::default());
        prop_assert_eq!(run.finish(), Ok(()));
        prop_assert_eq!(&run.delivered[..], &content()[offset as usize..end as usize]);
        prop_assert!(run.open.is_none(), "a stream is left open");
    }

    #[test]
    fn a_damaged_replica_is_reported_and_avoided(seed: u64) {
        let mut run = Run::new(seed, 0, WHOLE, Mistakes::default());
        run.damaged = Some(1);
        prop_assert_eq!(run.finish(), Ok(()));
        prop_assert_eq!(&run.delivered[..], &content()[..]);
        prop_assert_eq!(run.reports.len(), 1);
        prop_assert_eq!(run.reports[0].server, 1);
    }
}

#[test]
fn an_open_chunk_ends_where_it_ends() {
    let range = Range { offset: 10, end: LENGTH + 90_000, required: LENGTH };
    let mut run = Run::new(4, 0, range, Mistakes::default());
    assert_eq!(run.finish(), Ok(()));
    assert_eq!(run.delivered, &content()[10..]);
}

#[test]
fn when_all_are_gone_the_read_fails_in_time() {
    let mut run = Run::new(4, 0, WHOLE, Mistakes::default());
    run.step(Event::Tick);
    let mut asked = 0;
    while run.outcome.is_none() {
        if let Some((stream, ..)) = run.open {
            run.now = run.now + Millis(100);
            run.step(Event::Broken { stream });
        } else if run.asked {
            run.asked = false;
            asked += 1;
            run.step(Event::Located(Ok(Box::new(location(3, &[1, 2, 3])))));
        } else {
            run.now = run.reader.wake_at().unwrap().max(run.now);
            run.step(Event::Tick);
        }
    }
    assert_eq!(run.outcome.unwrap().unwrap_err().code, ErrorCode::Unavailable);
    assert!((5..60).contains(&asked), "{asked}");
    assert!(run.now <= Millis(32_000));
}

#[test]
fn an_absurd_message_is_not_believed() {
    for (offset, length, sums, bytes) in
        [(1, 10, 1, 10), (0, 11, 1, 10), (0, 10, 0, 10), (0, 10, 2, 10), (0, 0, 0, 0)]
    {
        let mut run = Run::new(4, 0, WHOLE, Mistakes::default());
        run.step(Event::Tick);
        let (stream, server, ..) = run.open.unwrap();
        run.step(Event::Received {
            stream,
            reply: pb::ReadReply { offset, length, sums: vec![0; sums], chunk_length: LENGTH },
            payload: vec![Bytes::from(vec![0; bytes])],
        });
        assert!(run.delivered.is_empty());
        assert_ne!(run.open.unwrap().1, server, "goes on elsewhere");
    }
}

#[cfg(feature = "planted-mistakes")]
#[test]
fn believing_unverified_bytes_is_caught() {
    let mut run =
        Run::new(4, 0, WHOLE, Mistakes::default().with(Mistake::ReaderBelievesUnverifiedBytes));
    run.damaged = Some(1);
    assert_eq!(run.finish(), Ok(()));
    assert_ne!(run.delivered, &content()[..], "the check of the other tests sees it");
}
