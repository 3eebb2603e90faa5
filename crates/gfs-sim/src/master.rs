//! The shell around the master's brain: its store, its streams, its lives.
//!
//! The store is an ordered map. Commits become durable one at a time, each after a while; what had
//! queued meanwhile goes together in the next. A kill loses what was not begun; of what was under
//! way nobody knows, so the dice decide.

use crate::context::{Context, Process, Timer};
use crate::network::{Arrival, Node, StreamId};
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::{
    Brain, BrainConfig, Effect, Event, Loader, Ordinal, Request, Response, SessionId, Term, Token,
};
use gfs_proto::v1 as pb;
use gfs_types::{CommitSequence, Epoch};
use std::collections::{BTreeMap, VecDeque};

const TICK: u32 = 1;
const COMMIT: u32 = 2;
const TICK_MICROS: u64 = 100_000;

/// What is durable.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Records.
    pub records: BTreeMap<Bytes, Bytes>,
    counters: Bytes,
    sequence: u64,
    epoch: u64,
}

#[derive(Debug)]
struct Commit {
    through: Ordinal,
    mutations: Vec<(Bytes, Option<Bytes>)>,
    counters: Bytes,
}

impl Store {
    fn apply(&mut self, commit: Commit) {
        for (key, value) in commit.mutations {
            match value {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
        self.counters = commit.counters;
        self.sequence += 1;
    }
}

/// What a stream at the master is.
#[derive(Clone, Copy, Debug)]
enum Role {
    Call(Token),
    Beats(SessionId),
    Commands(SessionId),
}

#[derive(Clone, Copy, Debug, Default)]
struct Session {
    beats: Option<StreamId>,
    commands: Option<StreamId>,
}

/// How the store behaves.
#[derive(Clone, Copy, Debug)]
pub struct StoreManners {
    /// A commit takes this long, in microseconds: at least, at most.
    pub delay: (u64, u64),
    /// Commits of a thousand that take much longer, and how long at most.
    pub slow: (u64, u64),
}

impl Default for StoreManners {
    fn default() -> Self {
        Self { delay: (300, 3_000), slow: (0, 0) }
    }
}

/// The master and its store.
pub struct Master {
    config: BrainConfig,
    /// How the store behaves.
    pub manners: StoreManners,
    /// What is durable.
    pub store: Store,
    brain: Option<Brain>,
    queued: VecDeque<Commit>,
    under_way: Option<Commit>,
    roles: BTreeMap<StreamId, Role>,
    calls: BTreeMap<Token, StreamId>,
    sessions: BTreeMap<SessionId, Session>,
    tokens: u64,
    /// Notes that say a human must act.
    pub alarms: u64,
}

const ME: Node = Node::Master;

impl Master {
    /// A master with an empty store, not running.
    #[must_use]
    pub fn new(config: BrainConfig) -> Self {
        Self {
            config,
            manners: StoreManners::default(),
            store: Store::default(),
            brain: None,
            queued: VecDeque::new(),
            under_way: None,
            roles: BTreeMap::new(),
            calls: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tokens: 0,
            alarms: 0,
        }
    }

    /// Begins a new life, with the next epoch.
    pub fn start(&mut self, ctx: &mut Context) {
        ctx.born(ME);
        self.store.epoch += 1;
        let term = Term {
            epoch: Epoch(self.store.epoch),
            commit_sequence: CommitSequence(self.store.sequence),
        };
        let mut effects = Vec::new();
        match self.load(ctx, term, &mut effects) {
            Ok(brain) => self.brain = Some(brain),
            Err(error) => ctx.violation(format!("the master cannot load its store: {error}")),
        }
        self.carry_out(ctx, effects);
        ctx.after(ME, TICK_MICROS, Timer { kind: TICK, number: 0 });
    }

    fn load(
        &self,
        ctx: &Context,
        term: Term,
        effects: &mut Vec<Effect>,
    ) -> Result<Brain, gfs_core::brain::LoadError> {
        let mut loader = Loader::new(self.config.clone(), term, &self.store.counters)?;
        for (key, value) in &self.store.records {
            loader.entry(key, value)?;
        }
        loader.finish(ctx.clocks(), effects)
    }

    /// Ends this life.
    pub fn kill(&mut self, ctx: &mut Context, how: Process) {
        ctx.died(ME, how);
        if let Some(commit) = self.under_way.take()
            && ctx.dice.chance(500)
        {
            ctx.note(ME, format_args!("the commit under way made it"));
            self.store.apply(commit);
        }
        self.brain = None;
        self.queued.clear();
        self.roles.clear();
        self.calls.clear();
        self.sessions.clear();
    }

    fn step(&mut self, ctx: &mut Context, event: Event) {
        let mut effects = Vec::new();
        if let Some(brain) = &mut self.brain {
            brain.step(ctx.clocks(), event, &mut effects);
        }
        self.carry_out(ctx, effects);
    }

    /// An administrator has a server emptied, or takes that back.
    pub fn drain(&mut self, ctx: &mut Context, server: u32, drain: bool) {
        self.ask(ctx, |header| {
            Request::SetDrain(pb::SetDrainRequest { header, server, drain, force: true })
        });
    }

    /// An administrator has servers made equally full, or stops that.
    pub fn rebalance(&mut self, ctx: &mut Context, stop: bool) {
        self.ask(ctx, |header| Request::Rebalance(pb::RebalanceRequest { header, stop }));
    }

    fn ask(
        &mut self,
        ctx: &mut Context,
        request: impl FnOnce(Option<pb::RequestHeader>) -> Request,
    ) {
        let Some(brain) = &self.brain else { return };
        let cluster_id = brain.cluster_id().to_bytes().to_vec().into();
        let header = Some(pb::RequestHeader { cluster_id, ..Default::default() });
        self.tokens += 1;
        let token = Token(self.tokens);
        self.step(ctx, Event::Call { token, request: request(header) });
    }

    fn token(&mut self, stream: StreamId) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.roles.insert(stream, Role::Call(token));
        self.calls.insert(token, stream);
        token
    }

    /// Something arrived.
    pub fn arrived(&mut self, ctx: &mut Context, stream: StreamId, arrival: Arrival) {
        match arrival {
            Arrival::Message(message) => self.heard(ctx, stream, message),
            Arrival::Closed | Arrival::Broken => match self.roles.remove(&stream) {
                Some(Role::Call(token)) => {
                    self.calls.remove(&token);
                    self.step(ctx, Event::Forget { token });
                }
                Some(Role::Beats(session) | Role::Commands(session)) => {
                    self.step(ctx, Event::SessionBroken { session });
                }
                None => {}
            },
        }
    }

    fn heard(&mut self, ctx: &mut Context, stream: StreamId, message: Wire) {
        let event = match message {
            Wire::Call(request) => Event::Call { token: self.token(stream), request: *request },
            Wire::Register(request) => {
                Event::Register { token: self.token(stream), request: *request }
            }
            Wire::Report(page) => Event::Report { token: self.token(stream), page: *page },
            Wire::Beat(beat) => {
                let session = SessionId(beat.session);
                self.roles.insert(stream, Role::Beats(session));
                self.sessions.entry(session).or_default().beats = Some(stream);
                Event::Heartbeat { session, beat }
            }
            Wire::FromServer(body) => match (*body, self.roles.get(&stream)) {
                (pb::server_message::Body::Hello(hello), _) => {
                    let session = SessionId(hello.session);
                    self.roles.insert(stream, Role::Commands(session));
                    self.sessions.entry(session).or_default().commands = Some(stream);
                    Event::CommandsOpen { session }
                }
                (pb::server_message::Body::Result(result), Some(Role::Commands(session))) => {
                    Event::Result { session: *session, result }
                }
                (pb::server_message::Body::Notice(notice), Some(Role::Commands(session))) => {
                    Event::Notice { session: *session, notice }
                }
                _ => return,
            },
            _ => return,
        };
        self.step(ctx, event);
    }

    /// A timer went off.
    pub fn timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer.kind {
            TICK => {
                self.step(ctx, Event::Tick);
                ctx.after(ME, TICK_MICROS, timer);
            }
            COMMIT => {
                if let Some(commit) = self.under_way.take() {
                    let through = commit.through;
                    self.store.apply(commit);
                    let sequence = CommitSequence(self.store.sequence);
                    ctx.note(ME, format_args!("commit {} through {}", sequence.0, through.0));
                    self.step(ctx, Event::Committed { through, sequence });
                }
                self.commit_next(ctx);
            }
            _ => {}
        }
    }

    fn commit_next(&mut self, ctx: &mut Context) {
        if self.under_way.is_some() {
            return;
        }
        let Some(mut group) = self.queued.pop_front() else { return };
        while let Some(next) = self.queued.pop_front() {
            // Later ones stand behind and win.
            group.mutations.extend(next.mutations);
            group.counters = next.counters;
            group.through = next.through;
        }
        self.under_way = Some(group);
        let mut delay = ctx.dice.range(self.manners.delay.0, self.manners.delay.1 + 1);
        if ctx.dice.chance(self.manners.slow.0) {
            delay += ctx.dice.range(0, self.manners.slow.1 + 1);
        }
        ctx.after(ME, delay, Timer { kind: COMMIT, number: 0 });
    }

    fn carry_out(&mut self, ctx: &mut Context, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit { ordinal, mutations, counters } => {
                    self.queued.push_back(Commit { through: ordinal, mutations, counters });
                }
                Effect::Reply { token, result } => self.reply(ctx, token, result),
                Effect::Send { session, command } => {
                    ctx.note(
                        ME,
                        format_args!("{:x} <- {}", session.0, Wire::Command(command.clone())),
                    );
                    if let Some(stream) = self.sessions.get(&session).and_then(|s| s.commands) {
                        ctx.send(ME, stream, Wire::Command(command));
                    }
                }
                Effect::Beat { session, reply } => {
                    if let Some(stream) = self.sessions.get(&session).and_then(|s| s.beats) {
                        ctx.send(ME, stream, Wire::BeatReply(reply));
                    }
                }
                Effect::EndSession { session } => {
                    let ended = self.sessions.remove(&session).unwrap_or_default();
                    for stream in [ended.beats, ended.commands].into_iter().flatten() {
                        self.roles.remove(&stream);
                        ctx.close(ME, stream);
                    }
                }
                Effect::Note { severe, text } => {
                    self.alarms += u64::from(severe);
                    ctx.note(ME, format_args!("{} {text}", if severe { "ALARM" } else { "note" }));
                }
            }
        }
        self.commit_next(ctx);
    }

    fn reply(
        &mut self,
        ctx: &mut Context,
        token: Token,
        result: Result<Box<Response>, Box<pb::ErrorDetail>>,
    ) {
        if let Some(stream) = self.calls.remove(&token) {
            self.roles.remove(&stream);
            ctx.send(ME, stream, Wire::Reply(result));
            ctx.close(ME, stream);
        }
    }
}
