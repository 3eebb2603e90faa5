//! Several [`FileOverwriter`]s on one file of chunks of odd lengths, in a cluster that fails as a
//! seed says. Each writes places of its own, so that it is known what must be there.

use super::super::*;
use super::{BLOCK, Dice, config};
use crate::mistakes::Mistakes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Lengths of the chunks: sealed short, but for the last.
const CHUNKS: [u32; 4] = [3 * BLOCK + 17, 100, BLOCK, 2 * BLOCK];

#[derive(Default)]
struct Chunk {
    start: u64,
    version: u64,
    primary: u32,
    bytes: Vec<u8>,
    /// By writer: the last sequence that is on every replica.
    done: BTreeMap<u64, u64>,
    /// Applied at the primary only: writer, sequence, offset, bytes.
    tentative: Vec<(u64, u64, u32, Vec<u8>)>,
    /// The bytes as they are on disk everywhere.
    on_disk: Vec<u8>,
}

impl Chunk {
    fn last(&self, writer: u64) -> u64 {
        let tentative = self.tentative.iter().rev().find(|(w, ..)| *w == writer);
        tentative.map_or_else(|| self.done.get(&writer).copied().unwrap_or(0), |(_, s, ..)| *s)
    }

    fn confirm(&mut self, count: usize) {
        for (writer, sequence, offset, bytes) in self.tentative.drain(..count) {
            let range = offset as usize..offset as usize + bytes.len();
            self.bytes[range].copy_from_slice(&bytes);
            let before = self.done.insert(writer, sequence).unwrap_or(0);
            assert_eq!(before + 1, sequence, "once and in order");
        }
    }
}

enum Up {
    Open,
    Slice(pb::Slice, Vec<u8>),
    Commit(u64),
    Flush(u64),
}

struct Stream {
    index: usize,
    version: u64,
    up: VecDeque<Up>,
    down: VecDeque<StreamEvent>,
    held: BTreeMap<u64, (u32, Vec<u8>)>,
    committed: u64,
    acknowledged: u64,
    flushing: Option<u64>,
    mute: bool,
}

struct Client {
    writer: u64,
    machine: FileOverwriter,
    streams: BTreeMap<StreamId, Stream>,
    asks: Vec<(AskId, Question)>,
    payload: BTreeMap<SliceId, (u64, Vec<u8>)>,
    next: u64,
    goal: u64,
    /// Where it has written, and what must be there in the end: in the order of its writes.
    log: BTreeMap<SliceId, (u64, u64)>,
    expected: Vec<u8>,
    /// A flush to disk, and what is to be there then.
    flush: Option<(Token, Vec<u8>)>,
    closing: bool,
    closed: bool,
}

struct World {
    now: Millis,
    dice: Dice,
    faults: u32,
    chunks: Vec<Chunk>,
    clients: Vec<Client>,
    /// Bytes of the file of each client.
    share: u64,
}

fn failed(code: ErrorCode) -> pb::ErrorDetail {
    pb::ErrorDetail { code: code as u32, ..Default::default() }
}

impl World {
    fn new(seed: u64, faults: u32, writers: u64, writes: u64) -> Self {
        let config = Config { deadline: Millis(600_000), ..config(Mistakes::default()) };
        let now = Millis(1_000);
        let mut start = 0;
        let chunks = CHUNKS.map(|length| {
            let bytes = vec![0; length as usize];
            let chunk =
                Chunk { start, version: 1, on_disk: bytes.clone(), bytes, ..Default::default() };
            start += u64::from(length);
            chunk
        });
        let share = start / writers;
        let client = |number: u64| Client {
            writer: 70 + number,
            machine: FileOverwriter::new(config, 9, 70 + number, now),
            streams: BTreeMap::new(),
            asks: Vec::new(),
            payload: BTreeMap::new(),
            next: 0,
            goal: writes,
            log: BTreeMap::new(),
            expected: vec![0; share as usize],
            flush: None,
            closing: false,
            closed: false,
        };
        let clients = (0..writers).map(client).collect();
        Self { now, dice: Dice(seed), faults, chunks: chunks.into(), clients, share }
    }

    fn file(&self, of: impl Fn(&Chunk) -> &Vec<u8>) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| of(chunk).iter().copied()).collect()
    }

    fn take_all(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.take(at, effect);
        }
        if let Some(error) = self.clients[at].machine.failure() {
            panic!("failed: {error}");
        }
    }

    fn step(&mut self, at: usize, event: Event) {
        let mut effects = Vec::new();
        self.clients[at].machine.step(self.now, event, &mut effects);
        self.take_all(at, effects);
    }

    fn take(&mut self, at: usize, effect: Effect) {
        let first = at * self.share as usize;
        let whole = self.file(|chunk| &chunk.bytes);
        let client = &mut self.clients[at];
        match effect {
            Effect::Ask { ask, question } => client.asks.push((ask, question)),
            Effect::OpenStream { stream, open, .. } => {
                let opened = Stream {
                    index: open.handle as usize - 1,
                    version: open.version,
                    up: [Up::Open].into(),
                    down: VecDeque::new(),
                    held: BTreeMap::new(),
                    committed: 0,
                    acknowledged: 0,
                    flushing: None,
                    mute: false,
                };
                client.streams.insert(stream, opened);
            }
            Effect::Send { stream, slice, from, head } => {
                let (_, bytes) = client.payload.get(&slice).expect("sent a released slice");
                let range = from as usize..(from + head.length) as usize;
                let bytes = bytes.get(range).expect("within the payload").to_vec();
                assert!(!head.append && !head.more);
                if let Some(stream) = client.streams.get_mut(&stream) {
                    stream.up.push_back(Up::Slice(head, bytes));
                }
            }
            Effect::SendCommit { stream, through } => {
                if let Some(stream) = client.streams.get_mut(&stream) {
                    stream.up.push_back(Up::Commit(through));
                }
            }
            Effect::SendFlush { stream, token } => {
                if let Some(stream) = client.streams.get_mut(&stream) {
                    stream.up.push_back(Up::Flush(token));
                }
            }
            Effect::CloseStream { stream } => {
                if self.dice.roll(2) == 0 {
                    while self.serve(at, stream) {}
                }
                self.clients[at].streams.remove(&stream);
            }
            Effect::Probe { .. } => {}
            Effect::Settled { slice, result } => {
                let position = result.expect("nothing fails");
                let (wanted, bytes) = &client.payload[&slice];
                assert_eq!(position, *wanted);
                // A later write may be there already.
                let end = position + bytes.len() as u64;
                let later = client
                    .log
                    .range(slice..)
                    .skip(1)
                    .any(|(_, (at, length))| *at < end && position < at + length);
                let stored = &whole[position as usize..end as usize];
                assert!(later || stored == bytes.as_slice(), "settled before it was stored");
            }
            Effect::Release { slice } => {
                assert!(client.payload.remove(&slice).is_some(), "released twice");
            }
            Effect::Done { token, result } => {
                result.expect("nothing fails");
                match client.flush.take() {
                    Some((flush, expected)) if flush == token => {
                        let on_disk = self.file(|chunk| &chunk.on_disk);
                        assert!(
                            on_disk[first..first + expected.len()] == expected,
                            "done before all was on disk"
                        );
                    }
                    other => {
                        client.flush = other;
                        client.closed = true;
                    }
                }
            }
            Effect::SendFinish { .. } | Effect::Outcomes { .. } => panic!("not for overwriters"),
        }
    }

    fn serve(&mut self, at: usize, id: StreamId) -> bool {
        let Some(mut stream) = self.clients[at].streams.remove(&id) else { return false };
        let happened = self.serve_stream(at, &mut stream);
        self.clients[at].streams.insert(id, stream);
        happened
    }

    fn serve_stream(&mut self, at: usize, stream: &mut Stream) -> bool {
        if stream.mute {
            return false;
        }
        let writer = self.clients[at].writer;
        let chunk = &mut self.chunks[stream.index];
        if stream.version != chunk.version || chunk.primary == 0 {
            stream.mute = true;
            stream.down.push_back(StreamEvent::Failed(failed(ErrorCode::StaleVersion)));
            return true;
        }
        match stream.up.pop_front() {
            Some(Up::Open) => {
                stream.acknowledged = chunk.done.get(&writer).copied().unwrap_or(0);
                let (length, sequence) = (chunk.bytes.len() as u32, chunk.last(writer));
                let opened = pb::PushOpened { credit: BLOCK, length, sequence, offsets: vec![] };
                stream.down.push_back(StreamEvent::Opened(opened));
                return true;
            }
            Some(Up::Slice(head, bytes)) => {
                if head.sequence <= chunk.last(writer) {
                    stream.acknowledged = stream.acknowledged.min(head.sequence - 1);
                } else {
                    stream.held.insert(head.sequence, (head.offset, bytes));
                }
                if head.commit {
                    stream.committed = stream.committed.max(head.sequence);
                }
                return true;
            }
            Some(Up::Commit(through)) => {
                stream.committed = stream.committed.max(through);
                return true;
            }
            Some(Up::Flush(token)) => {
                stream.flushing = Some(token);
                return true;
            }
            None => {}
        }
        let next = chunk.last(writer) + 1;
        if next <= stream.committed
            && let Some((offset, bytes)) = stream.held.remove(&next)
        {
            assert!(offset as usize + bytes.len() <= chunk.bytes.len(), "beyond the chunk");
            chunk.tentative.push((writer, next, offset, bytes));
            return true;
        }
        if !chunk.tentative.is_empty() {
            chunk.confirm(1);
            return true;
        }
        let through = chunk.done.get(&writer).copied().unwrap_or(0);
        if through > stream.acknowledged {
            stream.acknowledged = through;
            let length = chunk.bytes.len() as u32;
            let acknowledged = pb::Acknowledged { through, length, offsets: vec![] };
            stream.down.push_back(StreamEvent::Acknowledged(acknowledged));
            return true;
        }
        if let Some(token) = stream.flushing.take() {
            chunk.on_disk = chunk.bytes.clone();
            stream.down.push_back(StreamEvent::Flushed(pb::Flushed { token }));
            return true;
        }
        false
    }

    fn change_version(&mut self, index: usize, primary: u32) {
        let survives = self.dice.roll(4) as usize;
        let chunk = &mut self.chunks[index];
        let count = survives.min(chunk.tentative.len());
        chunk.confirm(count);
        chunk.tentative.clear();
        chunk.version += 1;
        chunk.primary = primary;
    }

    fn lease(&mut self, offset: u64) -> Answer {
        let end = |chunk: &Chunk| chunk.start + chunk.bytes.len() as u64;
        let index = self.chunks.iter().position(|c| c.start <= offset && offset < end(c));
        let index = index.expect("within the file");
        if self.chunks[index].primary == 0 {
            self.change_version(index, 1);
        }
        let chunk = &self.chunks[index];
        let server = |server| pb::ServerLocation { server, ..Default::default() };
        Answer::Chunk(Box::new(pb::ChunkLocation {
            handle: index as u64 + 1,
            version: chunk.version,
            index: index as u32,
            start: chunk.start,
            length: chunk.bytes.len() as u32,
            sealed: index + 1 < self.chunks.len(),
            servers: [1, 2, 3].map(server).into(),
            primary: chunk.primary,
            hole: false,
        }))
    }

    fn recover(&mut self, recover: &pb::RecoverRequest) -> Answer {
        let index = recover.handle as usize - 1;
        if self.chunks[index].version == recover.version {
            self.change_version(index, 1);
        }
        self.lease(self.chunks[index].start)
    }

    fn fault(&mut self, one_in: u64) -> bool {
        let happens = self.faults > 0 && self.dice.roll(one_in) == 0;
        self.faults -= u32::from(happens);
        happens
    }

    fn happen(&mut self, at: usize) {
        if self.dice.roll(6) == 0 && self.writes(at) {
            return;
        }
        if self.fault(150) {
            let index = self.dice.roll(self.chunks.len() as u64) as usize;
            let primary = self.dice.roll(2) as u32;
            return self.change_version(index, primary);
        }
        match self.dice.roll(5) {
            0 if !self.clients[at].asks.is_empty() => {
                let (ask, question) = self.clients[at].asks.remove(0);
                let result = match question {
                    _ if self.fault(6) => Err(failed(ErrorCode::Unavailable)),
                    Question::Lease(lease) => Ok(self.lease(lease.offset)),
                    Question::Recover(recover) => Ok(self.recover(&recover)),
                    other => panic!("{other:?} is not for overwriters"),
                };
                self.step(at, Event::Answer { ask, result });
            }
            1 => {
                self.now = self.now + Millis(1 + self.dice.roll(3));
                self.step(at, Event::Tick);
            }
            _ => {
                let ids: Vec<StreamId> = self.clients[at].streams.keys().copied().collect();
                let roll = self.dice.roll(ids.len() as u64) as usize;
                let Some(id) = ids.get(roll).copied() else { return };
                if self.fault(100) {
                    while self.dice.roll(3) > 0 && self.serve(at, id) {}
                    if let Some(stream) = self.clients[at].streams.get_mut(&id) {
                        stream.mute = true;
                    }
                    return self.step(at, Event::Stream { stream: id, event: StreamEvent::Broken });
                }
                if self.dice.roll(2) == 0 {
                    self.serve(at, id);
                    return;
                }
                let stream = self.clients[at].streams.get_mut(&id);
                if let Some(event) = stream.and_then(|stream| stream.down.pop_front()) {
                    self.step(at, Event::Stream { stream: id, event });
                }
            }
        }
    }

    fn writes(&mut self, at: usize) -> bool {
        let most = if self.dice.roll(3) == 0 { u64::from(BLOCK) } else { 300 };
        let length = 1 + self.dice.roll(most.min(self.share));
        let place = self.dice.roll(self.share - length + 1);
        let flush = self.dice.roll(8) == 0;
        let (now, first) = (self.now, at as u64 * self.share);
        let client = &mut self.clients[at];
        if client.closing || client.flush.is_some() {
            return false;
        }
        if client.next == client.goal {
            client.closing = true;
            self.step(at, Event::Close { token: Token(u64::MAX) });
            return true;
        }
        let number = client.next;
        if flush {
            // Nothing is written until it is answered: what must be there is known.
            let expected = client.expected.clone();
            client.next += 1;
            client.flush = Some((Token(number), expected));
            self.step(at, Event::Flush { token: Token(number), disk: true });
            return true;
        }
        if !client.machine.has_room(length as u32) {
            return false;
        }
        client.next += 1;
        let (slice, position) = (SliceId(number), first + place);
        let bytes = vec![number as u8 | 1; length as usize];
        client.expected[place as usize..(place + length) as usize].copy_from_slice(&bytes);
        client.log.insert(slice, (position, length));
        client.payload.insert(slice, (position, bytes));
        let mut effects = Vec::new();
        client.machine.write(now, slice, position, length as u32, &mut effects);
        self.take_all(at, effects);
        true
    }

    fn run(&mut self) {
        let mut steps = 0;
        while self.clients.iter().any(|client| !client.closed) {
            let at = self.dice.roll(self.clients.len() as u64) as usize;
            self.happen(at);
            steps += 1;
            assert!(steps < 400_000, "does not get on: {:?}", self.clients[0].machine);
        }
        let file = self.file(|chunk| &chunk.bytes);
        for (client, stored) in self.clients.iter().zip(file.chunks(self.share as usize)) {
            assert!(client.expected == stored, "something else is stored than was acknowledged");
            assert!(client.payload.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_overwritten_is_stored_whatever_fails(
        seed: u64, faults in 0u32..40, writers in 1u64..5, writes in 1u64..60,
    ) {
        World::new(seed, faults, writers, writes).run();
    }
}

/// The master does not know that a primary ended, and gives its lease again: it is told so.
#[test]
fn who_is_given_the_lease_that_failed_asks_for_another_version() {
    let mut machine = FileOverwriter::new(config(Mistakes::default()), 9, 7, Millis(0));
    let mut effects = Vec::new();
    let mut world = World::new(1, 0, 1, 0);
    let question = |effects: &mut Vec<Effect>| {
        effects.drain(..).find_map(|effect| match effect {
            Effect::Ask { ask, question } => Some((ask, question)),
            _ => None,
        })
    };
    machine.write(Millis(0), SliceId(1), 5, 10, &mut effects);
    let (ask, _) = question(&mut effects).expect("a lease is asked for");
    let location = world.lease(5);
    machine.step(Millis(1), Event::Answer { ask, result: Ok(location.clone()) }, &mut effects);
    let Some(Effect::OpenStream { stream, .. }) = effects.pop() else { panic!("{effects:?}") };
    let event = StreamEvent::Failed(failed(ErrorCode::NotPrimary));
    machine.step(Millis(2), Event::Stream { stream, event }, &mut effects);
    machine.step(Millis(100), Event::Tick, &mut effects);
    let Some((ask, Question::Lease(_))) = question(&mut effects) else { panic!("a lease") };
    machine.step(Millis(101), Event::Answer { ask, result: Ok(location) }, &mut effects);
    let Some((ask, Question::Recover(recover))) = question(&mut effects) else {
        panic!("it goes back to the primary that ended");
    };
    let result = Ok(world.recover(&recover));
    machine.step(Millis(102), Event::Answer { ask, result }, &mut effects);
    let opened = effects.iter().any(|effect| {
        matches!(effect, Effect::OpenStream { open, .. } if open.version > recover.version)
    });
    assert!(opened, "{effects:?}");
}

/// Nothing is under way any more when it is asked for, so nothing else will make it happen.
#[test]
fn what_is_wanted_on_disk_is_asked_for_at_once() {
    let mut machine = FileOverwriter::new(config(Mistakes::default()), 9, 7, Millis(0));
    let mut effects = Vec::new();
    let mut world = World::new(1, 0, 1, 0);
    machine.write(Millis(0), SliceId(1), 5, 10, &mut effects);
    let Some(Effect::Ask { ask, .. }) = effects.pop() else { panic!("{effects:?}") };
    let result = Ok(world.lease(5));
    machine.step(Millis(1), Event::Answer { ask, result }, &mut effects);
    let Some(Effect::OpenStream { stream, .. }) = effects.pop() else { panic!("{effects:?}") };
    let (length, offsets) = (BLOCK, vec![]);
    let opened = pb::PushOpened { credit: BLOCK, length, sequence: 0, offsets: vec![] };
    let acknowledged = pb::Acknowledged { through: 1, length, offsets };
    for event in [StreamEvent::Opened(opened), StreamEvent::Acknowledged(acknowledged)] {
        machine.step(Millis(2), Event::Stream { stream, event }, &mut effects);
    }
    effects.clear();
    machine.step(Millis(3), Event::Flush { token: Token(1), disk: true }, &mut effects);
    assert!(matches!(effects.as_slice(), [Effect::SendFlush { .. }]), "{effects:?}");
}

/// What lies beyond the file fails, alone.
#[test]
fn a_write_that_the_master_has_no_chunk_for_fails_and_others_do_not() {
    let mut machine = FileOverwriter::new(config(Mistakes::default()), 9, 7, Millis(0));
    let mut effects = Vec::new();
    machine.write(Millis(0), SliceId(1), 1 << 40, 10, &mut effects);
    let Some(Effect::Ask { ask, question: Question::Lease(lease) }) = effects.pop() else {
        panic!("a lease is asked for: {effects:?}");
    };
    assert_eq!(lease.offset, 1 << 40);
    machine.write(Millis(0), SliceId(2), 5, 10, &mut effects);
    assert!(effects.is_empty(), "one question at a time");
    let result = Err(failed(ErrorCode::OutOfRange));
    machine.step(Millis(1), Event::Answer { ask, result }, &mut effects);
    let refused = effects.iter().any(|effect| {
        matches!(effect, Effect::Settled { slice: SliceId(1), result: Err(error) }
            if error.code == ErrorCode::OutOfRange)
    });
    assert!(refused && machine.failure().is_none(), "{effects:?}");
    let asks = effects.iter().any(|effect| {
        matches!(effect, Effect::Ask { question: Question::Lease(lease), .. } if lease.offset == 5)
    });
    assert!(asks, "the other goes on: {effects:?}");
}
