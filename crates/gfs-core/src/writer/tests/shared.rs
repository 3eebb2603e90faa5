//! Several [`FileAppender`]s on one file, in a cluster that fails as a seed says: chunks are closed
//! and sealed short, versions change under what is in flight, answers are lost, and a chunk
//! remembers only the last few writers.

use super::super::*;
use super::{BLOCK, Dice, config};
use crate::mistakes::Mistakes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Writers that a chunk remembers.
const REMEMBERED: usize = 3;
/// Before the bytes of a record: who appended it, its number, how long it is.
const HEAD: u32 = 9;

#[derive(Clone)]
struct Done {
    writer: u64,
    sequence: u64,
    offset: u32,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Chunk {
    version: u64,
    start: u64,
    primary: u32,
    /// On every replica.
    content: Vec<u8>,
    /// By writer: the last sequence, the places of the last eight, and when.
    window: BTreeMap<u64, (u64, Vec<u32>, u64)>,
    forgot: bool,
    serial: u64,
    /// Applied at the primary only.
    tentative: Vec<Done>,
    /// The primary takes nothing more at this version.
    closed: bool,
    /// For the master.
    sealed: Option<u32>,
    on_disk: usize,
}

impl Chunk {
    fn projected(&self) -> u32 {
        (self.content.len() + self.tentative.iter().map(|d| d.bytes.len()).sum::<usize>()) as u32
    }

    fn last_sequence(&self, writer: u64) -> u64 {
        let tentative = self.tentative.iter().rev().find(|d| d.writer == writer);
        tentative.map_or_else(|| self.confirmed(writer), |done| done.sequence)
    }

    fn confirmed(&self, writer: u64) -> u64 {
        self.window.get(&writer).map_or(0, |(sequence, ..)| *sequence)
    }

    fn confirm(&mut self, count: usize) {
        for done in self.tentative.drain(..count) {
            assert_eq!(done.offset as usize, self.content.len());
            self.content.extend(&done.bytes);
            self.serial += 1;
            let entry = self.window.entry(done.writer).or_default();
            assert!(entry.0 == 0 || entry.0 + 1 == done.sequence, "a sequence was skipped");
            entry.0 = done.sequence;
            entry.1.push(done.offset);
            entry.2 = self.serial;
            if entry.1.len() > DEPTH {
                entry.1.remove(0);
            }
            if self.window.len() > REMEMBERED
                && let Some(oldest) =
                    self.window.iter().min_by_key(|(_, entry)| entry.2).map(|(writer, _)| *writer)
            {
                self.window.remove(&oldest);
                self.forgot = true;
            }
        }
    }
}

enum Up {
    Open(pb::PushOpen),
    Slice(pb::Slice, Vec<u8>),
    Commit(u64),
    Flush(u64),
    Finish,
}

struct Stream {
    index: usize,
    version: u64,
    up: VecDeque<Up>,
    down: VecDeque<StreamEvent>,
    parts: BTreeMap<u64, Vec<u8>>,
    whole: BTreeMap<u64, Vec<u8>>,
    committed: u64,
    acknowledged: u64,
    flushing: Option<u64>,
    finishing: bool,
    opened: bool,
    mute: bool,
}

struct Client {
    writer: u64,
    machine: FileAppender,
    streams: BTreeMap<StreamId, Stream>,
    asks: Vec<(AskId, Question)>,
    outcomes: Vec<(AskId, pb::OutcomesRequest)>,
    payload: BTreeMap<SliceId, Vec<u8>>,
    next: u64,
    goal: u64,
    tokens: u64,
    stored: BTreeMap<u64, u64>,
    unknown: BTreeSet<u64>,
    /// Flushes to disk that wait: how many records they cover.
    flushes: BTreeMap<Token, u64>,
    closing: bool,
    closed: bool,
}

struct World {
    now: Millis,
    dice: Dice,
    faults: u32,
    size: u32,
    chunks: Vec<Chunk>,
    clients: Vec<Client>,
}

fn failed(code: ErrorCode) -> pb::ErrorDetail {
    pb::ErrorDetail { code: code as u32, ..Default::default() }
}

impl World {
    fn new(seed: u64, faults: u32, writers: u64, records: u64) -> Self {
        // Some records go in parts. Whoever finds no room at a primary waits for others to close.
        let config = Config {
            max_slice: BLOCK / 4,
            deadline: Millis(600_000),
            ..config(Mistakes::default())
        };
        let now = Millis(1_000);
        let client = |number: u64| {
            let start = Start { inode: 9, writer: 70 + number, length: 0, chunks: 0, last: None };
            Client {
                writer: start.writer,
                machine: FileAppender::new(config, start, now).expect("a sound start"),
                streams: BTreeMap::new(),
                asks: Vec::new(),
                outcomes: Vec::new(),
                payload: BTreeMap::new(),
                next: 0,
                goal: records,
                tokens: 0,
                stored: BTreeMap::new(),
                unknown: BTreeSet::new(),
                flushes: BTreeMap::new(),
                closing: false,
                closed: false,
            }
        };
        let clients = (0..writers).map(client).collect();
        let size = config.chunk_size;
        Self { now, dice: Dice(seed), faults, size, chunks: Vec::new(), clients }
    }

    fn step(&mut self, at: usize, event: Event) {
        let mut effects = Vec::new();
        self.clients[at].machine.step(self.now, event, &mut effects);
        for effect in effects {
            self.take(at, effect);
        }
        if let Some(error) = self.clients[at].machine.failure() {
            panic!("failed: {error}");
        }
    }

    fn take(&mut self, at: usize, effect: Effect) {
        let position_of = |chunks: &[Chunk], position: u64, length: usize| {
            chunks.iter().any(|chunk| {
                chunk.start <= position
                    && position + length as u64 <= chunk.start + chunk.content.len() as u64
            })
        };
        let client = &mut self.clients[at];
        match effect {
            Effect::Ask { ask, question } => {
                client.asks.push((ask, question));
                assert!(client.asks.len() <= 3, "questions pile up");
            }
            Effect::Outcomes { ask, request, .. } => client.outcomes.push((ask, request)),
            Effect::OpenStream { stream, open, .. } => {
                let stream_at = Stream {
                    index: open.handle as usize - 1,
                    version: open.version,
                    up: [Up::Open(open)].into(),
                    down: VecDeque::new(),
                    parts: BTreeMap::new(),
                    whole: BTreeMap::new(),
                    committed: 0,
                    acknowledged: 0,
                    flushing: None,
                    finishing: false,
                    opened: false,
                    mute: false,
                };
                client.streams.insert(stream, stream_at);
                assert!(client.streams.len() <= 3, "streams pile up");
            }
            Effect::Send { stream, slice, from, head } => {
                let bytes = client.payload.get(&slice).expect("sent a released slice");
                let range = from as usize..(from + head.length) as usize;
                let bytes = bytes.get(range).expect("within the payload").to_vec();
                assert!(head.append && head.offset == from);
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
            Effect::SendFinish { stream } => {
                if let Some(stream) = client.streams.get_mut(&stream) {
                    stream.up.push_back(Up::Finish);
                }
            }
            Effect::CloseStream { stream } => {
                // What is on its way may still arrive and take effect.
                if self.dice.roll(2) == 0 {
                    while self.serve(at, stream) {}
                }
                self.clients[at].streams.remove(&stream);
            }
            Effect::Probe { .. } => {}
            Effect::Settled { slice, result } => {
                let bytes = client.payload.get(&slice).expect("settled a released slice");
                match result {
                    Ok(position) => {
                        assert!(
                            position_of(&self.chunks, position, bytes.len()),
                            "settled before it was stored"
                        );
                        let last = client.stored.last_key_value().map(|(_, position)| *position);
                        assert!(last.is_none_or(|last| last < position), "out of order");
                        assert!(client.stored.insert(slice.0, position).is_none());
                    }
                    Err(error) => {
                        assert_eq!(error.code, ErrorCode::OutcomeUnknown, "{error}");
                        client.unknown.insert(slice.0);
                    }
                }
            }
            Effect::Release { slice } => {
                assert!(client.payload.remove(&slice).is_some(), "released twice");
            }
            Effect::Done { token, result } => {
                result.expect("nothing fails");
                match client.flushes.remove(&token) {
                    Some(mark) => {
                        for (number, position) in client.stored.range(..mark) {
                            let chunk = self
                                .chunks
                                .iter()
                                .rev()
                                .find(|chunk| chunk.start <= *position)
                                .expect("stored somewhere");
                            assert!(
                                chunk.start + chunk.on_disk as u64 > *position,
                                "record {number} is not on disk"
                            );
                        }
                        let settled = client.stored.range(..mark).count()
                            + client.unknown.range(..mark).count();
                        assert_eq!(settled as u64, mark, "flushed before all was settled");
                    }
                    None => client.closed = true,
                }
            }
        }
    }

    /// The primary takes one message, applies one mutation or confirms; whether anything happened.
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
        let (size, writer) = (self.size, self.clients[at].writer);
        let live: BTreeSet<u64> = self
            .clients
            .iter()
            .filter(|c| c.streams.values().any(|s| s.index == stream.index && s.opened && !s.mute))
            .map(|c| c.writer)
            .collect();
        let chunk = &mut self.chunks[stream.index];
        let fail = |stream: &mut Stream, code| {
            stream.mute = true;
            stream.down.push_back(StreamEvent::Failed(failed(code)));
            true
        };
        if stream.version != chunk.version || chunk.primary == 0 {
            return fail(stream, ErrorCode::StaleVersion);
        }
        let finished = StreamEvent::Finished(pb::Finished {
            version: chunk.version,
            length: chunk.projected(),
            serial: chunk.serial,
        });
        match stream.up.pop_front() {
            Some(Up::Open(_)) if chunk.closed => return fail(stream, ErrorCode::Sealed),
            Some(Up::Open(open)) => {
                let known = chunk.last_sequence(writer) > 0;
                // Who has a stream is not forgotten.
                let mut entries: Vec<_> = chunk.window.iter().collect();
                entries.sort_by_key(|(_, entry)| entry.2);
                let gone = entries.iter().take_while(|(w, _)| !live.contains(w)).count();
                let new = live.iter().filter(|w| !chunk.window.contains_key(w)).count() + 1;
                if !known && entries.len() + new > REMEMBERED + gone {
                    return fail(stream, ErrorCode::ResourceExhausted);
                }
                if !known && chunk.forgot && open.committed > open.acknowledged {
                    return fail(stream, ErrorCode::OutcomeUnknown);
                }
                stream.opened = true;
                let sequence = if known || !chunk.forgot {
                    chunk.last_sequence(writer)
                } else {
                    open.acknowledged
                };
                stream.acknowledged = if known { chunk.confirmed(writer) } else { sequence };
                let (credit, length) = (size / 2, chunk.projected());
                let offsets = chunk.window.get(&writer).map(|(_, offsets, _)| offsets.clone());
                let tentative = chunk.tentative.iter().filter(|done| done.writer == writer);
                let mut offsets = offsets.unwrap_or_default();
                offsets.extend(tentative.map(|done| done.offset));
                let offsets = offsets.split_off(offsets.len().saturating_sub(DEPTH));
                let opened = pb::PushOpened { credit, length, sequence, offsets };
                stream.down.push_back(StreamEvent::Opened(opened));
                return true;
            }
            Some(Up::Slice(head, bytes)) => {
                let whole = stream.parts.entry(head.sequence).or_default();
                assert_eq!(whole.len(), head.offset as usize, "parts in order");
                whole.extend(bytes);
                if !head.more {
                    let whole = stream.parts.remove(&head.sequence).unwrap_or_default();
                    assert!(whole.len() as u32 <= size / 4);
                    if head.sequence <= chunk.last_sequence(writer) {
                        stream.acknowledged = stream.acknowledged.min(head.sequence - 1);
                    } else {
                        stream.whole.insert(head.sequence, whole);
                    }
                    if head.commit {
                        stream.committed = stream.committed.max(head.sequence);
                    }
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
            Some(Up::Finish) => {
                stream.finishing = true;
                return true;
            }
            None => {}
        }
        let last = chunk.last_sequence(writer);
        let next = stream.whole.first_key_value().map(|(sequence, _)| *sequence);
        if !chunk.closed
            && let Some(next) = next.filter(|next| *next <= stream.committed)
            && let Some(bytes) = stream.whole.remove(&next)
        {
            // (Of a writer that was forgotten, where its numbers go on is its own word.)
            assert!(last == 0 || next == last + 1, "a sequence was skipped");
            let offset = chunk.projected();
            if offset + bytes.len() as u32 > size {
                chunk.closed = true;
                return true;
            }
            assert!(chunk.sealed.is_none(), "appended to what is sealed");
            // One more writer makes the chunk forget who is silent for longest: nobody who is there.
            let coming: BTreeSet<u64> = chunk.tentative.iter().map(|done| done.writer).collect();
            let staying = chunk.window.iter().filter(|(w, _)| !coming.contains(w));
            let oldest = staying.min_by_key(|(_, entry)| entry.2).map(|(w, _)| *w);
            let known = chunk.window.keys().chain(&coming).collect::<BTreeSet<_>>();
            if !known.contains(&writer)
                && known.len() >= REMEMBERED
                && oldest.is_none_or(|oldest| live.contains(&oldest))
            {
                return fail(stream, ErrorCode::ResourceExhausted);
            }
            chunk.tentative.push(Done { writer, sequence: next, offset, bytes });
            return true;
        }
        if !chunk.tentative.is_empty() {
            chunk.confirm(1);
            return true;
        }
        if let Some((through, offsets, _)) = chunk.window.get(&writer)
            && *through > stream.acknowledged
        {
            let count = ((through - stream.acknowledged) as usize).min(offsets.len());
            stream.acknowledged = *through;
            stream.down.push_back(StreamEvent::Acknowledged(pb::Acknowledged {
                through: *through,
                length: chunk.content.len() as u32,
                offsets: offsets[offsets.len() - count..].to_vec(),
            }));
            return true;
        }
        if chunk.closed {
            stream.mute = true;
            stream.down.push_back(finished);
            return true;
        }
        if let Some(token) = stream.flushing.take() {
            chunk.on_disk = chunk.content.len();
            stream.down.push_back(StreamEvent::Flushed(pb::Flushed { token }));
            return true;
        }
        if stream.finishing {
            stream.finishing = false;
            stream.down.push_back(finished);
            return true;
        }
        false
    }

    fn change_version(&mut self, index: usize, lease: bool) {
        let survives = self.dice.roll(4) as usize;
        let seals = self.faults > 0 && self.dice.roll(6) == 0;
        let chunk = &mut self.chunks[index];
        let count = survives.min(chunk.tentative.len());
        chunk.confirm(count);
        chunk.tentative.clear();
        chunk.version += 1;
        chunk.closed = false;
        if seals && chunk.sealed.is_none() && !chunk.content.is_empty() {
            chunk.sealed = Some(chunk.content.len() as u32);
        }
        chunk.primary = u32::from(lease && chunk.sealed.is_none());
    }

    fn locate(&self, index: usize) -> Answer {
        let chunk = &self.chunks[index];
        let server = |server| pb::ServerLocation { server, ..Default::default() };
        Answer::Chunk(Box::new(pb::ChunkLocation {
            handle: index as u64 + 1,
            version: chunk.version,
            index: index as u32,
            start: chunk.start,
            length: chunk.sealed.unwrap_or(0),
            sealed: chunk.sealed.is_some(),
            servers: [1, 2, 3].map(server).into(),
            primary: chunk.primary,
            hole: false,
        }))
    }

    fn seal(&mut self, finished: &pb::FinishedChunk, seal: bool) -> Result<(), ErrorCode> {
        let chunk = &mut self.chunks[finished.handle as usize - 1];
        match chunk.sealed {
            Some(length) if length != finished.length => return Err(ErrorCode::Conflict),
            Some(_) => return Ok(()),
            None if chunk.version != finished.version => return Err(ErrorCode::StaleVersion),
            None => {}
        }
        assert!(chunk.content.len() as u32 >= finished.length, "more than there is");
        if seal {
            assert!(chunk.closed && chunk.tentative.is_empty(), "sealed while it takes more");
            assert_eq!(chunk.content.len() as u32, finished.length);
            chunk.sealed = Some(finished.length);
            chunk.primary = 0;
        }
        Ok(())
    }

    fn answer(&mut self, question: Question) -> Result<Answer, pb::ErrorDetail> {
        match question {
            Question::Allocate(allocate) => {
                if let Some(finished) = &allocate.finished {
                    self.seal(finished, true).map_err(failed)?;
                }
                let index = allocate.index as usize;
                if index == self.chunks.len() {
                    let last = self.chunks.last();
                    let start = last.map_or(0, |last| {
                        last.start + u64::from(last.sealed.expect("the last is sealed first"))
                    });
                    let chunk = Chunk { version: 1, start, primary: 1, ..Default::default() };
                    self.chunks.push(chunk);
                }
                assert!(index < self.chunks.len(), "too far ahead");
                Ok(self.locate(index))
            }
            Question::Recover(recover) => {
                let index = recover.handle as usize - 1;
                let chunk = &self.chunks[index];
                if chunk.version == recover.version && chunk.sealed.is_none() {
                    self.change_version(index, true);
                }
                Ok(self.locate(index))
            }
            Question::Lease(lease) => {
                let end = |chunk: &Chunk| chunk.start + chunk.content.len() as u64;
                let index = self
                    .chunks
                    .iter()
                    .position(|c| c.start <= lease.offset && lease.offset < end(c))
                    .expect("a lease of what was written");
                if self.chunks[index].primary == 0 {
                    self.change_version(index, true);
                    self.chunks[index].primary = 1;
                }
                Ok(self.locate(index))
            }
            Question::Close(close) => {
                for finished in &close.finished {
                    self.seal(finished, false).map_err(failed)?;
                }
                Ok(Answer::Attributes(Box::default()))
            }
            Question::Sync(sync) => {
                assert!(sync.last.is_none(), "an appender only renews its right");
                Ok(Answer::Attributes(Box::default()))
            }
        }
    }

    fn fault(&mut self, one_in: u64) -> bool {
        let happens = self.faults > 0 && self.dice.roll(one_in) == 0;
        self.faults -= u32::from(happens);
        happens
    }

    /// The application does something, or the world does.
    fn happen(&mut self, at: usize) {
        if self.dice.roll(6) == 0 && self.appends(at) {
            return;
        }
        if self.fault(200) && !self.chunks.is_empty() {
            // The master repairs a chunk unasked.
            let index = self.dice.roll(self.chunks.len() as u64) as usize;
            let lease = self.dice.roll(2) == 0;
            self.change_version(index, lease);
            return;
        }
        match self.dice.roll(6) {
            0 if !self.clients[at].asks.is_empty() => {
                let (ask, question) = self.clients[at].asks.remove(0);
                let result = if self.fault(6) {
                    // Refused, or done and the answer lost.
                    if self.dice.roll(2) == 0 && !matches!(question, Question::Close(_)) {
                        let _ = self.answer(question);
                    }
                    Err(failed(ErrorCode::Unavailable))
                } else {
                    self.answer(question)
                };
                self.step(at, Event::Answer { ask, result });
            }
            1 if !self.clients[at].outcomes.is_empty() => {
                let (ask, request) = self.clients[at].outcomes.remove(0);
                let chunk = &self.chunks[request.handle as usize - 1];
                let entry = chunk.window.get(&request.writer).cloned().unwrap_or_default();
                let result = if chunk.version != request.version || self.dice.roll(5) == 0 {
                    Err(failed(ErrorCode::StaleVersion))
                } else {
                    Ok(Answer::Outcomes(Box::new(pb::OutcomesResponse {
                        sequence: entry.0,
                        offsets: entry.1,
                        forgot: chunk.forgot,
                        sealed: true,
                    })))
                };
                self.step(at, Event::Answer { ask, result });
            }
            2 => {
                self.now = self.now + Millis(1 + self.dice.roll(3));
                self.step(at, Event::Tick);
            }
            _ => {
                let ids: Vec<StreamId> = self.clients[at].streams.keys().copied().collect();
                let roll = self.dice.roll(ids.len() as u64) as usize;
                let Some(id) = ids.get(roll).copied() else { return };
                if self.fault(150) {
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

    fn appends(&mut self, at: usize) -> bool {
        let roll = self.dice.roll(8);
        let length = match self.dice.roll(4) {
            0 => HEAD + self.dice.roll(u64::from(BLOCK - HEAD) + 1) as u32,
            1 => BLOCK,
            _ => HEAD + self.dice.roll(900) as u32,
        };
        let client = &mut self.clients[at];
        if client.closing {
            return false;
        }
        if client.next == client.goal {
            client.closing = true;
            self.step(at, Event::Close { token: Token(u64::MAX) });
            return true;
        }
        if roll == 0 {
            let token = Token(client.tokens);
            client.tokens += 1;
            client.flushes.insert(token, client.next);
            self.step(at, Event::Flush { token, disk: true });
            return true;
        }
        let Some(_) = client.machine.room(u64::from(length)) else { return false };
        let number = client.next;
        client.next += 1;
        let mut bytes = vec![client.writer as u8];
        bytes.extend((number as u32).to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.resize(length as usize, number as u8);
        client.payload.insert(SliceId(number), bytes);
        self.step(at, Event::Data { slice: SliceId(number), length });
        true
    }

    fn run(&mut self) {
        let mut steps = 0;
        while self.clients.iter().any(|client| !client.closed) {
            let at = self.dice.roll(self.clients.len() as u64) as usize;
            self.happen(at);
            steps += 1;
            if steps == 400_000 {
                let stuck = self.clients.iter().find(|client| !client.closed);
                panic!(
                    "does not get on: {:?}",
                    stuck.map(|client| (&client.machine, &client.asks))
                );
            }
        }
        self.check();
    }

    /// The file is records and nothing else, each once, where its appender was told.
    fn check(&self) {
        let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for chunk in &self.chunks {
            let mut at = 0;
            while at < chunk.content.len() {
                let head = &chunk.content[at..at + HEAD as usize];
                let number = u32::from_le_bytes(head[1..5].try_into().expect("four bytes"));
                let length = u32::from_le_bytes(head[5..9].try_into().expect("four bytes"));
                let record = &chunk.content[at..at + length as usize];
                assert!(record[HEAD as usize..].iter().all(|byte| *byte == number as u8));
                let key = (u64::from(head[0]), u64::from(number));
                let twice = found.insert(key, chunk.start + at as u64);
                assert!(twice.is_none(), "record {key:?} is there twice");
                at += length as usize;
            }
        }
        for client in &self.clients {
            assert!(client.payload.is_empty() && client.flushes.is_empty());
            for number in 0..client.goal {
                let place = found.get(&(client.writer, number));
                match client.stored.get(&number) {
                    Some(position) => assert_eq!(place, Some(position), "record {number}"),
                    None => assert!(client.unknown.contains(&number)),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn each_record_is_stored_once_whatever_fails(
        seed: u64, faults in 0u32..40, writers in 1u64..6, records in 1u64..40,
    ) {
        World::new(seed, faults, writers, records).run();
    }
}

/// With few enough writers nothing is ever forgotten: every record has its place.
#[test]
fn as_long_as_a_chunk_remembers_all_its_writers_no_outcome_is_unknown() {
    for seed in 0..60 {
        let mut world = World::new(seed, 30, REMEMBERED as u64, 30);
        world.run();
        assert!(world.clients.iter().all(|client| client.unknown.is_empty()));
    }
}
