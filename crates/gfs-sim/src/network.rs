//! The virtual network: streams between processes, with delay, stall, loss and corruption.
//!
//! A stream is what an HTTP/2 stream over TCP is: messages of one direction arrive in order, once,
//! or not at all; the end of a process breaks its streams, of which the peer hears soon, late, or
//! (from a machine that vanished) only when its keep-alive goes unanswered. A blocked direction between two
//! nodes stalls what is on its way, as TCP does that sends again; a *cut* loses the rest of a
//! stream, and each end hears of it sooner or later.

use crate::clock::Time;
use crate::dice::Dice;
use crate::wire::Wire;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// A process, by the machine it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The master.
    Master,
    /// A chunkserver, from 0.
    Server(usize),
    /// A client, from 0.
    Client(usize),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Server(n) => write!(f, "server{n}"),
            Self::Client(n) => write!(f, "client{n}"),
        }
    }
}

/// A stream, numbered from 1 in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One end of a stream: the opener is 0.
pub type End = usize;

/// Microseconds after which an end knows that nobody answers at the other one.
pub const KEEP_ALIVE: u64 = 4_000_000;

/// What arrives at an end.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// A message.
    Message(Wire),
    /// The other end closed the stream; all that it sent before has arrived.
    Closed,
    /// The stream broke.
    Broken,
}

#[derive(Default)]
struct Direction {
    queue: VecDeque<Arrival>,
    /// When the last thing sent arrives: the next comes no earlier.
    last: Time,
    /// Deliveries that came while the direction was blocked.
    owed: usize,
    /// Everything is lost from here on.
    cut: bool,
}

struct Stream {
    /// Process and its life at each end.
    ends: [(Node, u32); 2],
    /// Towards end 0, towards end 1.
    towards: [Direction; 2],
    /// Whether an end is still interested.
    open: [bool; 2],
}

/// How the network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// One-way delay in microseconds: at least, at most.
    pub delay: (u64, u64),
    /// Messages of a thousand that are late, and by how much at most, in microseconds.
    pub late: (u64, u64),
    /// Messages of a hundred thousand at which their stream is cut.
    pub cut: u64,
    /// Payloads of a hundred thousand in which a bit is flipped behind the back of TCP.
    pub flip: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { delay: (50, 400), late: (0, 0), cut: 0, flip: 0 }
    }
}

/// The virtual network.
pub struct Network {
    streams: BTreeMap<StreamId, Stream>,
    opened: u64,
    blocked: BTreeSet<(Node, Node)>,
    /// How it behaves now.
    pub weather: Weather,
    dice: Dice,
}

/// What a send comes to: deliveries to be put on the clock.
pub type Deliveries = Vec<(Time, StreamId, End)>;

impl Network {
    /// A network in which nothing is connected.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self {
            streams: BTreeMap::new(),
            opened: 0,
            blocked: BTreeSet::new(),
            weather: Weather::default(),
            dice,
        }
    }

    /// Opens a stream between two processes.
    pub fn open(&mut self, from: (Node, u32), to: (Node, u32)) -> StreamId {
        self.opened += 1;
        let id = StreamId(self.opened);
        self.streams
            .insert(id, Stream { ends: [from, to], towards: Default::default(), open: [true; 2] });
        id
    }

    /// Whose end this is, if the stream is still known.
    #[must_use]
    pub fn owner(&self, stream: StreamId, end: End) -> Option<(Node, u32)> {
        self.streams.get(&stream).and_then(|s| s.ends.get(end)).copied()
    }

    /// The end of the stream that this process has.
    #[must_use]
    pub fn end_of(&self, stream: StreamId, process: (Node, u32)) -> Option<End> {
        self.streams.get(&stream)?.ends.iter().position(|end| *end == process)
    }

    /// Sends something from one end to the other.
    pub fn send(
        &mut self,
        now: Time,
        stream: StreamId,
        from: End,
        mut what: Arrival,
    ) -> Deliveries {
        let weather = self.weather;
        let mut delay = self.dice.range(weather.delay.0, weather.delay.1 + 1);
        if self.dice.chance(weather.late.0) {
            delay += self.dice.range(0, weather.late.1 + 1);
        }
        let cut = weather.cut > 0 && self.dice.range(0, 100_000) < weather.cut;
        let Some(state) = self.streams.get_mut(&stream) else { return Vec::new() };
        if let Arrival::Message(message) = &mut what {
            // One gigabyte per second.
            delay += message.weight() / 1000;
            if weather.flip > 0 && self.dice.range(0, 100_000) < weather.flip {
                flip(message, &mut self.dice);
            }
        }
        let to = 1 - from;
        if cut {
            // The rest of both directions is lost. Each end hears of it, at the latest when nobody
            // answers what keeps the connection alive.
            state.towards.iter_mut().for_each(|direction| direction.cut = true);
            let mut deliveries = Vec::new();
            for end in [0, 1] {
                let at = now.plus(self.dice.range(0, KEEP_ALIVE));
                deliveries.extend(Self::push(state, stream, end, at, Arrival::Broken, true));
            }
            return deliveries;
        }
        Self::push(state, stream, to, now.plus(delay), what, false).into_iter().collect()
    }

    fn push(
        state: &mut Stream,
        id: StreamId,
        to: End,
        at: Time,
        what: Arrival,
        though_cut: bool,
    ) -> Option<(Time, StreamId, End)> {
        let direction = state.towards.get_mut(to)?;
        if direction.cut && !though_cut {
            return None;
        }
        direction.queue.push_back(what);
        direction.last = direction.last.max(at);
        Some((direction.last, id, to))
    }

    /// A delivery is due. `None`: nothing arrives (now, or any more).
    pub fn arrive(&mut self, stream: StreamId, to: End) -> Option<Arrival> {
        let state = self.streams.get_mut(&stream)?;
        let (sender, receiver) = (state.ends[1 - to].0, state.ends[to].0);
        let direction = &mut state.towards[to];
        if self.blocked.contains(&(sender, receiver)) {
            direction.owed += 1;
            return None;
        }
        let arrived = direction.queue.pop_front()?;
        if !matches!(arrived, Arrival::Message(_)) {
            // Nothing comes after the end. The other end of a broken stream hears of it in its own
            // time.
            let open = std::mem::replace(&mut state.open[to], false);
            if !state.open[1 - to] || matches!(arrived, Arrival::Closed) {
                self.streams.remove(&stream);
            }
            return open.then_some(arrived);
        }
        if !state.open[to] { None } else { Some(arrived) }
    }

    /// An end closes the stream: what it sent arrives, then the other end hears of it; nothing
    /// comes back any more.
    pub fn close(&mut self, now: Time, stream: StreamId, end: End) -> Deliveries {
        let Some(state) = self.streams.get_mut(&stream) else { return Vec::new() };
        if !std::mem::replace(&mut state.open[end], false) {
            return Vec::new();
        }
        self.send(now, stream, end, Arrival::Closed)
    }

    /// Nobody is at this end any more.
    pub fn leave(&mut self, stream: StreamId, end: End) {
        if let Some(open) = self.streams.get_mut(&stream).and_then(|s| s.open.get_mut(end)) {
            *open = false;
        }
    }

    /// Tells an end that the stream broke, after `delay`, behind all that is on its way to it.
    pub fn break_towards(&mut self, at: Time, stream: StreamId, end: End) -> Deliveries {
        let Some(state) = self.streams.get_mut(&stream) else { return Vec::new() };
        Self::push(state, stream, end, at, Arrival::Broken, true).into_iter().collect()
    }

    /// Every stream that a process has, with its end.
    #[must_use]
    pub fn streams_of(&self, process: (Node, u32)) -> Vec<(StreamId, End)> {
        let ends = |s: &Stream| s.ends.iter().position(|end| *end == process);
        self.streams.iter().filter_map(|(id, s)| ends(s).map(|end| (*id, end))).collect()
    }

    /// Blocks or clears one direction between two nodes. What was held up goes on when it is
    /// cleared.
    pub fn block(&mut self, now: Time, from: Node, to: Node, block: bool) -> Deliveries {
        if block {
            self.blocked.insert((from, to));
            return Vec::new();
        }
        if !self.blocked.remove(&(from, to)) {
            return Vec::new();
        }
        let mut deliveries = Vec::new();
        for (id, state) in &mut self.streams {
            for end in [0, 1] {
                if (state.ends[1 - end].0, state.ends[end].0) != (from, to) {
                    continue;
                }
                for _ in 0..std::mem::take(&mut state.towards[end].owed) {
                    deliveries.push((now.plus(self.dice.range(100, 200_000)), *id, end));
                }
            }
        }
        deliveries
    }

    /// Clears everything.
    pub fn unblock_all(&mut self, now: Time) -> Deliveries {
        let blocked: Vec<_> = self.blocked.iter().copied().collect();
        blocked.into_iter().flat_map(|(from, to)| self.block(now, from, to, false)).collect()
    }
}

/// Flips a bit of the payload: what checksums are for.
fn flip(message: &mut Wire, dice: &mut Dice) {
    if let Wire::Push(_, Some(payload)) | Wire::Piece(_, payload) | Wire::Copied(_, payload) =
        message
        && !payload.is_empty()
    {
        let mut bytes = payload.to_vec();
        let at = dice.index(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << dice.range(0, 8);
        }
        *payload = bytes.into();
    }
}
