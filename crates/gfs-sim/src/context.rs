//! What every process of the virtual cluster shares: time, network, processes, log.

use crate::clock::{Queue, Time};
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::network::{Arrival, Deliveries, End, KEEP_ALIVE, Network, Node, StreamId};
use crate::wire::Wire;
use gfs_core::brain::Now;
use gfs_types::{Millis, WallMillis};
use std::collections::BTreeMap;

/// A timer of a process. What it means is the process's own matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What kind.
    pub kind: u32,
    /// Which one of its kind.
    pub number: u64,
}

/// What happens next in the world.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Something on a stream is due to arrive.
    Delivery(StreamId, End),
    /// A timer of one life of a process.
    Timer(Node, u32, Timer),
    /// A fault, or its end; numbered by the scenario.
    Fault(usize),
    /// The world looks at itself.
    Look,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It runs.
    Up,
    /// It is stopped; what happens to it waits.
    Paused,
    /// It was killed; its machine answers that nobody is there.
    Killed,
    /// Its machine is gone: nothing answers.
    Vanished,
}

/// What all processes share.
pub struct Context {
    /// The time.
    pub now: Time,
    /// What is to happen.
    pub queue: Queue<Happening>,
    /// The network.
    pub network: Network,
    /// The log.
    pub log: Log,
    /// Delays of disks and of programs.
    pub dice: Dice,
    processes: BTreeMap<Node, (u32, Process)>,
    /// What was promised to clients.
    pub ledger: Ledger,
    /// Since when nothing fails any more.
    pub calm: Option<Time>,
    /// Rules that were found broken, at most a few.
    pub violations: Vec<String>,
}

impl Context {
    /// A world without processes.
    #[must_use]
    pub fn new(seed: u64, keep_log: bool) -> Self {
        Self {
            now: Time::default(),
            queue: Queue::default(),
            network: Network::new(Dice::new(seed, 1)),
            log: Log::new(keep_log),
            dice: Dice::new(seed, 2),
            processes: BTreeMap::new(),
            ledger: Ledger::default(),
            calm: None,
            violations: Vec::new(),
        }
    }

    /// What a process reads from its monotonic clock.
    #[must_use]
    pub const fn millis(&self) -> Millis {
        self.now.millis()
    }

    /// Both clocks.
    #[must_use]
    pub const fn clocks(&self) -> Now {
        Now { mono: self.now.millis(), wall: WallMillis(1_700_000_000_000 + self.now.0 / 1000) }
    }

    /// Appends to the log.
    pub fn note(&mut self, node: Node, text: std::fmt::Arguments<'_>) {
        self.log.line(self.now, format_args!("{node} {text}"));
    }

    /// A rule is broken.
    pub fn violation(&mut self, text: String) {
        self.log.line(self.now, format_args!("VIOLATION {text}"));
        if self.violations.len() < 20 {
            self.violations.push(format!("{:.6} s: {text}", self.now.0 as f64 / 1e6));
        }
    }

    /// The life of a process and how it is.
    #[must_use]
    pub fn process(&self, node: Node) -> (u32, Process) {
        self.processes.get(&node).copied().unwrap_or((0, Process::Killed))
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self, node: Node) -> bool {
        self.process(node).1 == Process::Up
    }

    /// A process begins a new life.
    pub fn born(&mut self, node: Node) {
        let life = self.process(node).0 + 1;
        self.processes.insert(node, (life, Process::Up));
        self.note(node, format_args!("starts, life {life}"));
    }

    /// A process is stopped or goes on.
    pub fn set_paused(&mut self, node: Node, paused: bool) {
        if let Some((_, process)) = self.processes.get_mut(&node) {
            *process = if paused { Process::Paused } else { Process::Up };
        }
    }

    /// A process ends. Its peers hear of it unless the machine vanished.
    pub fn died(&mut self, node: Node, how: Process) {
        let (life, _) = self.process(node);
        self.processes.insert(node, (life, how));
        for (stream, end) in self.network.streams_of((node, life)) {
            // Towards the dead nothing arrives any more: its life is over. From it, what it sent.
            let after = match how {
                Process::Vanished => self.dice.range(KEEP_ALIVE / 4, KEEP_ALIVE),
                _ => self.dice.range(100, 2_000),
            };
            self.network.leave(stream, end);
            let deliveries = self.network.break_towards(self.now.plus(after), stream, 1 - end);
            self.schedule(deliveries);
        }
    }

    fn schedule(&mut self, deliveries: Deliveries) {
        for (at, stream, end) in deliveries {
            self.queue.add(at, Happening::Delivery(stream, end));
        }
    }

    /// Opens a stream with its first message.
    pub fn open(&mut self, from: Node, to: Node, first: Wire) -> StreamId {
        let (from_life, to_life) = (self.process(from).0, self.process(to).0);
        let stream = self.network.open((from, from_life), (to, to_life));
        self.send_from(stream, 0, first);
        stream
    }

    /// Sends on a stream.
    pub fn send(&mut self, node: Node, stream: StreamId, message: Wire) {
        if let Some(end) = self.network.end_of(stream, (node, self.process(node).0)) {
            self.send_from(stream, end, message);
        }
    }

    fn send_from(&mut self, stream: StreamId, end: End, message: Wire) {
        let deliveries = self.network.send(self.now, stream, end, Arrival::Message(message));
        self.schedule(deliveries);
    }

    /// Closes a stream.
    pub fn close(&mut self, node: Node, stream: StreamId) {
        if let Some(end) = self.network.end_of(stream, (node, self.process(node).0)) {
            let deliveries = self.network.close(self.now, stream, end);
            self.schedule(deliveries);
        }
    }

    /// Sets a timer, `micros` from now.
    pub fn after(&mut self, node: Node, micros: u64, timer: Timer) {
        let life = self.process(node).0;
        self.queue.add(self.now.plus(micros), Happening::Timer(node, life, timer));
    }

    /// Blocks or clears a direction of the network.
    pub fn block(&mut self, from: Node, to: Node, block: bool) {
        let deliveries = self.network.block(self.now, from, to, block);
        self.schedule(deliveries);
    }

    /// Clears the network.
    pub fn unblock_all(&mut self) {
        let deliveries = self.network.unblock_all(self.now);
        self.schedule(deliveries);
    }

    /// Takes a delivery that is due off the network. `None`: nobody receives anything.
    pub fn deliver(&mut self, stream: StreamId, end: End) -> Option<(Node, Arrival)> {
        let (node, life) = self.network.owner(stream, end)?;
        let (current, process) = self.process(node);
        if life == current && matches!(process, Process::Up | Process::Paused) {
            return self.network.arrive(stream, end).map(|arrival| (node, arrival));
        }
        let arrived = self.network.arrive(stream, end)?;
        let answers = process != Process::Vanished;
        if answers && matches!(arrived, Arrival::Message(_)) {
            // A machine answers for a process that is no more.
            let at = self.now.plus(self.dice.range(50, 400));
            let deliveries = self.network.break_towards(at, stream, 1 - end);
            self.schedule(deliveries);
        } else if matches!(arrived, Arrival::Message(_)) {
            // Nothing answers: whoever dials gives up after a while.
            let at = self.now.plus(self.dice.range(2_000_000, 5_000_000));
            let deliveries = self.network.break_towards(at, stream, 1 - end);
            self.schedule(deliveries);
        }
        None
    }
}
