//! A client: an application that writes, appends to, overwrites, reads, cuts, renames and removes
//! files, over the core's writers and reader.

mod appending;
mod calls;
mod overwriting;
mod pushing;
mod reading;
mod workload;
mod writing;

use crate::context::{Context, Process, Timer};
use crate::dice::Dice;
use crate::ledger::Content;
use crate::network::{Arrival, Node, StreamId};
use crate::wire::Wire;
use calls::{CALL, Calls, Purpose};
use gfs_core::brain::Response;
use gfs_core::writer::{AskId, Event as WriteEvent, StreamId as PushId};
use gfs_core::{reader, writer};
use gfs_proto::v1 as pb;
use pushing::{Job, Pushing};
use reading::Reading;
use std::collections::BTreeMap;
use workload::Task;
pub use workload::{Habits, Part};

/// Timers of a client. [`CALL`] is 2.
const NEXT: u32 = 1;
const WAKE: u32 = 3;
const GO_ON: u32 = 4;
const READ_WAKE: u32 = 5;
const SILENCE: u32 = 6;
const OUTCOMES: u32 = 7;

/// What a stream of a client is, apart from calls.
#[derive(Clone, Copy, Debug)]
enum Role {
    Push(PushId),
    Probe(AskId),
    Outcomes(AskId),
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
    pushing: Option<Pushing>,
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
            pushing: None,
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
        if let Some(pushing) = self.pushing.take()
            && let Some(fact) = ctx.ledger.file(pushing.file)
        {
            fact.being_written = false;
            match (pushing.job, &mut fact.content) {
                (Job::Append(appending), Content::Records(records)) => {
                    records.give_up(appending.unheard());
                }
                (Job::Overwrite(overwriting), Content::Slots(slots)) => {
                    for (slot, write) in overwriting.unheard() {
                        slots.settle(slot, write, false, ctx.now.millis());
                    }
                }
                _ => {}
            }
        }
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
                self.push_heard(ctx, id, Some(*body));
            }
            (Some(Role::Push(id)), None) => self.push_heard(ctx, id, None),
            (Some(Role::Outcomes(ask)), message) => {
                self.outcomes_heard(ctx, stream, ask, message);
            }
            (Some(Role::Probe(probe)), Some(Wire::IsConfirmed(_))) => {
                self.roles.remove(&stream);
                self.push_step(ctx, WriteEvent::Probed { probe });
                self.push_on(ctx);
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
            Purpose::Ask(ask) => self.push_answer(ctx, ask, result),
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
                let wake = self.pushing.as_ref().and_then(Pushing::wakes_at);
                if wake.is_some_and(|wake| wake.0 <= ctx.millis().0) {
                    self.push_step(ctx, WriteEvent::Tick);
                    self.push_on(ctx);
                }
            }
            GO_ON => self.push_on(ctx),
            OUTCOMES => {
                let stream = StreamId(timer.number);
                if let Some(Role::Outcomes(ask)) = self.roles.get(&stream).copied() {
                    self.outcomes_heard(ctx, stream, ask, None);
                }
            }
            READ_WAKE => self.read_step(ctx, reader::Event::Tick),
            SILENCE => self.read_silence(ctx, timer.number),
            _ => {}
        }
    }
}
