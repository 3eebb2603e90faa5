//! An adversarial cluster around a [`FileWriter`]: one primary per chunk that applies, confirms,
//! forgets, breaks and lies dead as a seed says, and a master that changes versions.

use super::super::*;
use std::collections::BTreeMap;

/// A small deterministic generator (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }
}

type Outcome = Result<Option<Box<pb::Attributes>>, GfsError>;

struct Chunk {
    index: u32,
    handle: u64,
    version: u64,
    primary: u32,
    members: Vec<u32>,
    extent: bool,
    /// On every replica.
    confirmed: Vec<u8>,
    confirmed_sequence: u64,
    /// Applied at the primary only.
    applied: Vec<Vec<u8>>,
    /// Bytes that every replica has fsynced.
    on_disk: usize,
}

impl Chunk {
    fn last_sequence(&self) -> u64 {
        self.confirmed_sequence + self.applied.len() as u64
    }

    fn length(&self) -> usize {
        self.confirmed.len() + self.applied.iter().map(Vec::len).sum::<usize>()
    }

    fn confirm(&mut self, count: usize) {
        for bytes in self.applied.drain(..count) {
            self.confirmed.extend(bytes);
            self.confirmed_sequence += 1;
        }
    }
}

enum Up {
    Open,
    Slice(pb::Slice, Vec<u8>),
    Commit(u64),
    Flush(u64),
    Finish,
}

struct Stream {
    handle: u64,
    version: u64,
    server: u32,
    up: VecDeque<Up>,
    down: VecDeque<StreamEvent>,
    held: BTreeMap<u64, (u32, Vec<u8>)>,
    committed: u64,
    flushing: Option<u64>,
    finishing: bool,
    acknowledged: u64,
    opened: bool,
    /// Says nothing any more.
    mute: bool,
}

/// The cluster, the network and the application's data.
pub(super) struct Cluster {
    pub(super) now: Millis,
    pub(super) dice: Dice,
    /// Faults that may still happen.
    pub(super) faults: u32,
    pub(super) chunk_size: u32,
    credit: u32,
    chunks: Vec<Chunk>,
    streams: BTreeMap<StreamId, Stream>,
    asks: Vec<(AskId, Question)>,
    probes: Vec<(AskId, u32)>,
    /// Servers that answer nothing.
    pub(super) dead: Vec<u32>,
    pub(super) payload: BTreeMap<SliceId, (u64, Vec<u8>)>,
    pub(super) done: Vec<(Token, Outcome)>,
    pub(super) closed: bool,
    pub(super) questions: u32,
    pub(super) abandoned: bool,
    next_handle: u64,
}

impl Cluster {
    pub(super) fn new(seed: u64, chunk_size: u32, faults: u32) -> Self {
        Self {
            now: Millis(1_000),
            dice: Dice(seed),
            faults,
            chunk_size,
            credit: chunk_size / 4,
            chunks: Vec::new(),
            streams: BTreeMap::new(),
            asks: Vec::new(),
            probes: Vec::new(),
            dead: Vec::new(),
            payload: BTreeMap::new(),
            done: Vec::new(),
            closed: false,
            questions: 0,
            abandoned: false,
            next_handle: 1,
        }
    }

    /// A file with this much in its last, open chunk.
    pub(super) fn with_content(&mut self, content: Vec<u8>, sequence: u64) -> pb::ChunkLocation {
        let handle = self.allocate(0, true);
        let chunk = self.chunk(handle);
        chunk.confirmed = content;
        chunk.confirmed_sequence = sequence;
        self.locate(handle)
    }

    fn chunk(&mut self, handle: u64) -> &mut Chunk {
        self.chunks.iter_mut().find(|chunk| chunk.handle == handle).expect("a known handle")
    }

    fn allocate(&mut self, index: u32, extent: bool) -> u64 {
        if let Some(chunk) = self.chunks.iter_mut().find(|chunk| chunk.index == index) {
            chunk.extent |= extent;
            return chunk.handle;
        }
        let handle = self.next_handle;
        self.next_handle += 1;
        let first = self.dice.roll(5) as u32;
        let members: Vec<u32> = (0..3).map(|n| 1 + (first + n) % 5).collect();
        self.chunks.push(Chunk {
            index,
            handle,
            version: 1,
            primary: members[0],
            members,
            extent,
            confirmed: Vec::new(),
            confirmed_sequence: 0,
            applied: Vec::new(),
            on_disk: 0,
        });
        handle
    }

    pub(super) fn locate(&mut self, handle: u64) -> pb::ChunkLocation {
        let size = u64::from(self.chunk_size);
        let chunk = self.chunk(handle);
        pb::ChunkLocation {
            handle,
            version: chunk.version,
            index: chunk.index,
            start: u64::from(chunk.index) * size,
            length: chunk.confirmed.len() as u32,
            servers: chunk
                .members
                .iter()
                .map(|server| pb::ServerLocation { server: *server, ..Default::default() })
                .collect(),
            primary: chunk.primary,
            ..Default::default()
        }
    }

    /// Bytes of the file that are on every replica of its extents.
    pub(super) fn stored(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut chunks: Vec<&Chunk> = self.chunks.iter().filter(|chunk| chunk.extent).collect();
        chunks.sort_by_key(|chunk| chunk.index);
        for chunk in chunks {
            file.extend(&chunk.confirmed);
        }
        file
    }

    /// Whether every byte from one position of the file to another is fsynced everywhere.
    pub(super) fn is_on_disk(&self, from: u64, to: u64) -> bool {
        let size = u64::from(self.chunk_size);
        self.chunks.iter().all(|chunk| {
            let start = u64::from(chunk.index) * size;
            let end = to.min(start + size);
            from.max(start) >= end || start + chunk.on_disk as u64 >= end
        })
    }

    fn confirmed_through(&self, position: u64) -> bool {
        let size = u64::from(self.chunk_size);
        self.chunks.iter().any(|chunk| {
            let start = u64::from(chunk.index) * size;
            start < position && position <= start + chunk.confirmed.len() as u64
        })
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>, failed: bool) {
        for effect in effects {
            match effect {
                Effect::Ask { ask, question } => {
                    self.questions += 1;
                    self.asks.push((ask, question));
                    assert!(self.asks.len() <= 4, "questions pile up");
                }
                Effect::OpenStream { stream, server, open } => {
                    assert_eq!(open.chain.len() + 1, self.chunk(open.handle).members.len().max(1));
                    self.streams.insert(
                        stream,
                        Stream {
                            handle: open.handle,
                            version: open.version,
                            server: server.server,
                            up: [Up::Open].into(),
                            down: VecDeque::new(),
                            held: BTreeMap::new(),
                            committed: 0,
                            flushing: None,
                            finishing: false,
                            acknowledged: 0,
                            opened: false,
                            mute: false,
                        },
                    );
                    assert!(self.streams.len() <= 8, "streams pile up");
                }
                Effect::Send { stream, slice, from, head } => {
                    assert_eq!(from, 0, "slices go whole");
                    let (_, bytes) = self.payload.get(&slice).expect("sent a released slice");
                    assert_eq!(head.length as usize, bytes.len());
                    let bytes = bytes.clone();
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.up.push_back(Up::Slice(head, bytes));
                        let flying: usize = stream
                            .up
                            .iter()
                            .map(|up| match up {
                                Up::Slice(_, bytes) => bytes.len(),
                                _ => 0,
                            })
                            .sum();
                        assert!(flying <= 1 << 20, "no window");
                    }
                }
                Effect::SendCommit { stream, through } => {
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.up.push_back(Up::Commit(through));
                    }
                }
                Effect::SendFlush { stream, token } => {
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.up.push_back(Up::Flush(token));
                    }
                }
                Effect::Outcomes { .. } | Effect::Settled { .. } => {
                    panic!("a sole writer need not ask")
                }
                Effect::SendFinish { stream } => {
                    if let Some(stream) = self.streams.get_mut(&stream) {
                        stream.up.push_back(Up::Finish);
                    }
                }
                Effect::CloseStream { stream } => {
                    // What is on its way may still arrive and take effect.
                    if self.dice.roll(2) == 0 {
                        while self.serve(stream) {}
                    }
                    self.streams.remove(&stream);
                }
                Effect::Probe { probe, server, .. } => self.probes.push((probe, server.server)),
                Effect::Release { slice } => {
                    let (position, bytes) = self.payload.remove(&slice).expect("released twice");
                    let end = position + bytes.len() as u64;
                    assert!(
                        failed || self.abandoned || self.confirmed_through(end),
                        "released {position}..{end} before it was stored"
                    );
                }
                Effect::Done { token, result } => self.done.push((token, result)),
            }
        }
    }

    /// The server takes one message, applies one slice or confirms; whether anything happened.
    fn serve(&mut self, id: StreamId) -> bool {
        let Some(mut stream) = self.streams.remove(&id) else { return false };
        let happened = self.serve_stream(&mut stream);
        self.streams.insert(id, stream);
        happened
    }

    fn serve_stream(&mut self, stream: &mut Stream) -> bool {
        if stream.mute || self.dead.contains(&stream.server) {
            return false;
        }
        let size = self.chunk_size as usize;
        let credit = self.credit;
        let index = self.chunk(stream.handle).index;
        let predecessor_full = index == 0
            || self.chunks.iter().any(|c| c.index + 1 == index && c.confirmed.len() == size)
            || self.chunk(stream.handle).extent;
        let chunk = self.chunk(stream.handle);
        if stream.version != chunk.version || chunk.primary != stream.server {
            stream.mute = true;
            let code = ErrorCode::StaleVersion as u32;
            let detail = pb::ErrorDetail { code, actual: chunk.version, ..Default::default() };
            stream.down.push_back(StreamEvent::Failed(detail));
            return true;
        }
        match stream.up.pop_front() {
            Some(Up::Open) => {
                stream.opened = true;
                stream.acknowledged = chunk.confirmed_sequence;
                let length = chunk.length() as u32;
                let sequence = chunk.last_sequence();
                let opened = pb::PushOpened { credit, length, sequence, ..Default::default() };
                stream.down.push_back(StreamEvent::Opened(opened));
                return true;
            }
            Some(Up::Slice(head, bytes)) => {
                assert!(stream.opened, "sent before it opened");
                if head.sequence <= chunk.last_sequence() {
                    let all: Vec<u8> = chunk
                        .confirmed
                        .iter()
                        .copied()
                        .chain(chunk.applied.iter().flatten().copied())
                        .collect();
                    let range = head.offset as usize..head.offset as usize + bytes.len();
                    assert_eq!(
                        all.get(range),
                        Some(&bytes[..]),
                        "a sequence stands for other data"
                    );
                    // Acknowledged again at once, if it is confirmed.
                    stream.acknowledged = stream.acknowledged.min(head.sequence - 1);
                } else {
                    stream.held.insert(head.sequence, (head.offset, bytes));
                }
                if head.commit {
                    assert!(predecessor_full, "committed to a spare");
                    stream.committed = stream.committed.max(head.sequence);
                }
                return true;
            }
            Some(Up::Commit(through)) => {
                assert!(predecessor_full, "committed to a spare");
                stream.committed = stream.committed.max(through);
                return true;
            }
            Some(Up::Flush(token)) => {
                assert!(stream.flushing.is_none(), "a second flush beside the first");
                stream.flushing = Some(token);
                return true;
            }
            Some(Up::Finish) => {
                stream.finishing = true;
                return true;
            }
            None => {}
        }
        let next = chunk.last_sequence() + 1;
        if next <= stream.committed
            && let Some((offset, bytes)) = stream.held.remove(&next)
        {
            if offset as usize != chunk.length() {
                stream.mute = true;
                let code = ErrorCode::WrongOffset as u32;
                let detail = pb::ErrorDetail { code, ..Default::default() };
                stream.down.push_back(StreamEvent::Failed(detail));
                return true;
            }
            chunk.applied.push(bytes);
            return true;
        }
        if !chunk.applied.is_empty() {
            chunk.confirm(1);
            return true;
        }
        let through = chunk.confirmed_sequence;
        if through > stream.acknowledged {
            stream.acknowledged = through;
            let length = chunk.confirmed.len() as u32;
            stream.down.push_back(StreamEvent::Acknowledged(pb::Acknowledged {
                through,
                length,
                ..Default::default()
            }));
            return true;
        }
        if through >= stream.committed
            && let Some(token) = stream.flushing.take()
        {
            chunk.on_disk = chunk.confirmed.len();
            stream.down.push_back(StreamEvent::Flushed(pb::Flushed { token }));
            return true;
        }
        if stream.finishing && stream.held.is_empty() {
            stream.finishing = false;
            stream.down.push_back(StreamEvent::Finished(pb::Finished {
                version: chunk.version,
                length: chunk.confirmed.len() as u32,
                serial: 1,
            }));
            return true;
        }
        false
    }

    /// A version change: some of what was applied and not confirmed survives.
    fn change_version(&mut self, handle: u64, without: &[u32], lease: bool) {
        let first = 1 + self.dice.roll(5) as u32;
        let survives = self.dice.roll(4) as usize;
        let dead = self.dead.clone();
        let chunk = self.chunk(handle);
        let count = survives.min(chunk.applied.len());
        chunk.confirm(count);
        chunk.applied.clear();
        chunk.version += 1 + u64::from(first.is_multiple_of(3));
        let fit = |server: &u32| !without.contains(server) && !dead.contains(server);
        let mut members: Vec<u32> = chunk.members.iter().copied().filter(fit).collect();
        for n in 0..5 {
            let server = 1 + (first + n) % 5;
            if members.len() < 3 && !members.contains(&server) && fit(&server) {
                members.push(server);
            }
        }
        chunk.members = members;
        chunk.primary = if lease { chunk.members.first().copied().unwrap_or(0) } else { 0 };
    }

    fn answer(&mut self, question: Question) -> Result<Answer, pb::ErrorDetail> {
        let stale = |actual| pb::ErrorDetail {
            code: ErrorCode::StaleVersion as u32,
            actual,
            ..Default::default()
        };
        match question {
            Question::Allocate(allocate) => {
                if let Some(finished) = allocate.finished {
                    let size = self.chunk_size;
                    let chunk = self.chunk(finished.handle);
                    if chunk.version != finished.version {
                        return Err(stale(chunk.version));
                    }
                    assert_eq!(finished.length, size);
                    assert_eq!(chunk.confirmed.len(), size as usize);
                    assert_eq!(chunk.index + 1, allocate.index);
                }
                let extent = allocate.index == 0 || allocate.finished.is_some();
                let handle = self.allocate(allocate.index, extent);
                Ok(Answer::Chunk(Box::new(self.locate(handle))))
            }
            Question::Recover(recover) => {
                let (version, primary) = {
                    let chunk = self.chunk(recover.handle);
                    (chunk.version, chunk.primary)
                };
                if version == recover.version || primary == 0 && self.dice.roll(2) == 0 {
                    self.change_version(recover.handle, &recover.unreachable, true);
                }
                Ok(Answer::Chunk(Box::new(self.locate(recover.handle))))
            }
            Question::Lease(lease) => {
                let size = u64::from(self.chunk_size);
                let index = (lease.offset / size) as u32;
                let chunk = self.chunks.iter().find(|chunk| chunk.extent && chunk.index == index);
                let chunk = chunk.expect("a lease of what was written");
                let (handle, primary) = (chunk.handle, chunk.primary);
                if primary == 0 || self.dice.roll(2) == 0 {
                    self.change_version(handle, &[], true);
                }
                Ok(Answer::Chunk(Box::new(self.locate(handle))))
            }
            Question::Sync(sync) => {
                let Some(last) = sync.last else { return Ok(Answer::Attributes(Box::default())) };
                let chunk = self.chunk(last.handle);
                if chunk.version != last.version {
                    return Err(stale(chunk.version));
                }
                assert!(chunk.extent, "synced a spare");
                assert!(chunk.confirmed.len() >= last.length as usize);
                Ok(Answer::Attributes(Box::default()))
            }
            Question::Close(close) => {
                for finished in &close.finished {
                    let chunk = self.chunk(finished.handle);
                    if chunk.version != finished.version {
                        return Err(stale(chunk.version));
                    }
                    assert_eq!(chunk.confirmed.len(), finished.length as usize);
                    assert!(chunk.extent, "closed with a spare");
                }
                self.closed = true;
                Ok(Answer::Attributes(Box::default()))
            }
        }
    }

    fn fault(&mut self, one_in: u64) -> bool {
        if self.faults > 0 && self.dice.roll(one_in) == 0 {
            self.faults -= 1;
            return true;
        }
        false
    }

    /// Something happens out there; the event that the writer sees of it, if any.
    pub(super) fn happen(&mut self) -> Option<Event> {
        match self.dice.roll(8) {
            0 if !self.asks.is_empty() => {
                let at = self.dice.roll(self.asks.len() as u64) as usize;
                let (ask, question) = self.asks.remove(at);
                let lost = |code: ErrorCode| {
                    Err(pb::ErrorDetail { code: code as u32, ..Default::default() })
                };
                let result = if self.fault(6) {
                    // Refused, or done and the answer lost.
                    if self.dice.roll(2) == 0 && !matches!(question, Question::Close(_)) {
                        let _ = self.answer(question);
                    }
                    lost(ErrorCode::Unavailable)
                } else {
                    self.answer(question)
                };
                Some(Event::Answer { ask, result })
            }
            1 if !self.probes.is_empty() => {
                let (probe, server) = self.probes.remove(0);
                (!self.dead.contains(&server)).then_some(Event::Probed { probe })
            }
            2 if self.fault(40) => {
                // The master repairs a chunk unasked.
                let at = self.dice.roll(self.chunks.len() as u64) as usize;
                let handle = self.chunks.get(at)?.handle;
                let lease = self.dice.roll(2) == 0;
                self.change_version(handle, &[], lease);
                None
            }
            _ => {
                let ids: Vec<StreamId> = self.streams.keys().copied().collect();
                let id = *ids.get(self.dice.roll(ids.len() as u64) as usize)?;
                if self.fault(60) {
                    return self.break_stream(id);
                }
                if self.dice.roll(2) == 0 {
                    self.serve(id);
                    return None;
                }
                let event = self.streams.get_mut(&id)?.down.pop_front()?;
                Some(Event::Stream { stream: id, event })
            }
        }
    }

    fn break_stream(&mut self, id: StreamId) -> Option<Event> {
        let kind = self.dice.roll(6);
        let members = {
            let handle = self.streams.get(&id)?.handle;
            self.chunk(handle).members.clone()
        };
        let code = |code: ErrorCode, server| {
            StreamEvent::Failed(pb::ErrorDetail { code: code as u32, server, ..Default::default() })
        };
        let server = members.get(self.dice.roll(3) as usize).copied().unwrap_or(0);
        let event = match kind {
            0 => {
                self.streams.get_mut(&id)?.mute = true;
                return None;
            }
            1 => code(ErrorCode::Unreachable, server),
            2 => code(ErrorCode::NoCredit, 0),
            3 => code(ErrorCode::DiskError, server),
            4 => {
                let stream = self.streams.get_mut(&id)?;
                let sequence = stream.committed;
                return Some(Event::Stream {
                    stream: id,
                    event: StreamEvent::Resend(pb::Resend { sequence, server }),
                });
            }
            _ => StreamEvent::Broken,
        };
        // What it had received it may still act upon.
        while self.dice.roll(3) > 0 && self.serve(id) {}
        self.streams.get_mut(&id)?.mute = true;
        Some(Event::Stream { stream: id, event })
    }

    /// The primary of the youngest chunk.
    pub(super) fn primary_of_last(&self) -> u32 {
        self.chunks.last().map_or(0, |chunk| chunk.primary)
    }

    /// Whether nothing but time can move anything.
    pub(super) fn is_quiet(&self) -> bool {
        let talks = |s: &Stream| !s.mute && !self.dead.contains(&s.server) || !s.down.is_empty();
        self.asks.is_empty() && !self.streams.values().any(talks)
    }
}
