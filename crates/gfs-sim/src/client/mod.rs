//! A client: an application that writes, reads, renames and removes files, over the core's writer
//! and reader.

mod calls;
mod reading;
mod workload;
mod writing;

use crate::context::{Context, Process, Timer};
use crate::dice::Dice;
use crate::network::{Arrival, Node, StreamId};
use crate::wire::Wire;
use calls::{CALL, Calls, Purpose};
use gfs_core::brain::Response;
use gfs_core::writer::{AskId, Event as WriteEvent, StreamId as PushId};
use gfs_core::{reader, writer};
use gfs_proto::v1 as pb;
use reading::Reading;
use std::collections::BTreeMap;
pub use workload::Habits;
use workload::Task;
use writing::Writing;

/// Timers of a client. [`CALL`] is 2.
const NEXT: u32 = 1;
const WAKE: u32 = 3;
const GO_ON: u32 = 4;
const READ_WAKE: u32 = 5;
const SILENCE: u32 = 6;

/// What a stream of a client is, apart from calls.
#[derive(Clone, Copy, Debug)]
enum Role {
    Push(PushId),
    Probe(AskId),
    Read(reader::StreamId),
}

/// A client.
pub struct Client {
    index: usize,
    dice: Dice,
    habits: Habits,
    chunk_size: u32,
    write_config: writer::Config,
    read_config: reader::Config,
    calls: Calls,
    roles: BTreeMap<StreamId, Role>,
    task: Task,
    writing: Option<Writing>,
    reading: Option<Reading>,
    /// Longest pause of the application, in microseconds.
    think: u64,
    /// Tasks still to be done.
    rounds: u32,
    /// Files to be read at the end, by a client that verifies.
    to_verify: Vec<u64>,
    /// Bytes read and found right.
    pub bytes_read: u64,
    /// Reads and writes that ended with an error.
    pub reads_failed: u64,
    /// See there.
    pub writes_failed: u64,
}

impl Client {
    /// A client that has not started.
    #[must_use]
    pub fn new(
        index: usize,
        dice: Dice,
        habits: Habits,
        write_config: writer::Config,
        read_config: reader::Config,
    ) -> Self {
        let mut client = Self {
            index,
            dice,
            habits,
            chunk_size: write_config.chunk_size,
            write_config,
            read_config,
            calls: Calls::new(Self::node(index), 0),
            roles: BTreeMap::new(),
            task: Task::Connect,
            writing: None,
            reading: None,
            think: habits.think,
            rounds: habits.rounds,
            to_verify: Vec::new(),
            bytes_read: 0,
            reads_failed: 0,
            writes_failed: 0,
        };
        let id = client.dice.any() | 1;
        client.calls = Calls::new(Self::node(index), id);
        client
    }

    fn node(index: usize) -> Node {
        Node::Client(index)
    }

    fn me(&self) -> Node {
        Self::node(self.index)
    }

    /// Starts it.
    pub fn start(&mut self, ctx: &mut Context) {
        ctx.born(self.me());
        self.connect(ctx);
    }

    /// It ends in the middle of whatever it does, for good.
    pub fn kill(&mut self, ctx: &mut Context) {
        ctx.died(self.me(), Process::Killed);
        if let Some(fact) = self.writing.as_ref().and_then(|w| ctx.ledger.file(w.file)) {
            fact.being_written = false;
        }
        self.writing = None;
        self.reading = None;
        self.task = Task::Nothing;
        self.rounds = 0;
        self.roles.clear();
    }

    /// Whether it has nothing more to do.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rounds == 0 && self.task == Task::Nothing && self.to_verify.is_empty()
    }

    /// What it is at.
    #[must_use]
    pub fn occupation(&self) -> String {
        format!("{:?}, {} rounds left", self.task, self.rounds)
    }

    /// Something arrived.
    pub fn arrived(&mut self, ctx: &mut Context, stream: StreamId, arrival: Arrival) {
        let message = match arrival {
            Arrival::Message(message) => Some(message),
            Arrival::Closed | Arrival::Broken => None,
        };
        if self.calls.has(stream) {
            let answer = match message {
                Some(Wire::Reply(answer)) => Some(answer),
                _ => None,
            };
            if let Some((purpose, result)) = self.calls.arrived(ctx, stream, answer) {
                self.answered(ctx, purpose, result);
            }
            return;
        }
        let role = match message {
            Some(_) => self.roles.get(&stream).copied(),
            None => self.roles.remove(&stream),
        };
        match (role, message) {
            (Some(Role::Push(id)), Some(Wire::Pushed(body))) => {
                self.write_heard(ctx, id, Some(*body));
            }
            (Some(Role::Push(id)), None) => self.write_heard(ctx, id, None),
            (Some(Role::Probe(probe)), Some(Wire::IsConfirmed(_))) => {
                self.roles.remove(&stream);
                self.write_step(ctx, WriteEvent::Probed { probe });
                self.write_on(ctx);
            }
            (Some(Role::Read(id)), message) => self.read_heard(ctx, id, message),
            _ => {}
        }
    }

    fn answered(
        &mut self,
        ctx: &mut Context,
        purpose: Purpose,
        result: Result<Response, pb::ErrorDetail>,
    ) {
        match purpose {
            Purpose::Task => self.task_answered(ctx, result),
            Purpose::Ask(ask) => self.write_answer(ctx, ask, result),
            Purpose::Locate => self.read_located(ctx, result),
            Purpose::Report => {}
        }
    }

    /// A timer went off.
    pub fn timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer.kind {
            NEXT => self.next_task(ctx),
            CALL => {
                if let Some((purpose, result)) = self.calls.timer(ctx, timer.number) {
                    self.answered(ctx, purpose, result);
                }
            }
            WAKE => {
                let due = self.writing_wakes_at().is_some_and(|wake| wake.0 <= ctx.millis().0);
                if due {
                    self.write_step(ctx, WriteEvent::Tick);
                    self.write_on(ctx);
                }
            }
            GO_ON => self.write_on(ctx),
            READ_WAKE => self.read_step(ctx, reader::Event::Tick),
            SILENCE => self.read_silence(ctx, timer.number),
            _ => {}
        }
    }
}
