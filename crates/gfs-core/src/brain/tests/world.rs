//! A brain with a store that the test commits when it likes, and servers that do as they are told.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{
    ClusterId, CommitSequence, Epoch, ErrorCode, Geometry, Millis, PROTOCOL_VERSION, WallMillis,
};

use crate::brain::{
    Brain, BrainConfig, Effect, Event, Loader, Now, Ordinal, Request, Response, SessionId, Term,
    Token,
};

pub(super) const CLUSTER: ClusterId = ClusterId(0xC1);
pub(super) const CHUNK: u32 = 1 << 20;

pub(super) type Reply = Result<Response, pb::ErrorDetail>;
type Mutations = Vec<(Bytes, Option<Bytes>)>;

/// What a server holds of a chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) state: pb::ReplicaState,
    /// As the last grant says.
    members: Vec<u32>,
    pub(super) limit: u32,
}

/// A chunkserver: answers commands, keeps states instead of bytes.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) uuid: u8,
    pub(super) number: u32,
    pub(super) session: Option<SessionId>,
    pub(super) held: BTreeMap<u64, Held>,
    /// Answers nothing any more.
    pub(super) silent: bool,
    pub(super) beats: u64,
}

pub(super) struct World {
    pub(super) brain: Brain,
    pub(super) config: BrainConfig,
    pub(super) now: Millis,
    pub(super) epoch: u64,
    /// What is durable.
    pub(super) store: BTreeMap<Bytes, Bytes>,
    pub(super) counters: Bytes,
    pub(super) sequence: u64,
    pub(super) committed: Ordinal,
    /// What is on its way there.
    pub(super) queue: VecDeque<(Ordinal, Mutations, Bytes)>,
    pub(super) replies: BTreeMap<Token, Reply>,
    pub(super) servers: Vec<Server>,
    pub(super) notes: Vec<String>,
    token: u64,
    sends: VecDeque<(SessionId, pb::Command)>,
    /// Ordinals of each key's last mutation, to check that each key stands once in a group.
    pub(super) groups: u64,
    /// Operations of a client that does each once.
    pub(super) operations: std::cell::Cell<u64>,
}

pub(super) fn config() -> BrainConfig {
    BrainConfig {
        fresh_cluster_id: CLUSTER,
        geometry: Geometry::new(CHUNK.into()).unwrap(),
        // What is removed is gone, where a test does not say otherwise.
        trash_period: Some(Millis(0)),
        ..BrainConfig::default()
    }
}

impl World {
    /// A fresh cluster without servers, durable.
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: BrainConfig) -> Self {
        let now = Millis(1_000);
        let term = Term { epoch: Epoch(1), commit_sequence: CommitSequence(0) };
        let mut out = Vec::new();
        let brain = Loader::new(config.clone(), term, &[])
            .unwrap()
            .finish(Now { mono: now, wall: WallMillis(now.0) }, &mut out)
            .unwrap();
        let mut world = Self {
            brain,
            config,
            now,
            epoch: 1,
            store: BTreeMap::new(),
            counters: Bytes::new(),
            sequence: 0,
            committed: Ordinal(0),
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            servers: Vec::new(),
            notes: Vec::new(),
            token: 0,
            sends: VecDeque::new(),
            groups: 0,
            operations: Default::default(),
        };
        world.take(out);
        world.commit_all();
        world
    }

    /// A cluster of so many live servers, past its cold start.
    pub(super) fn with_servers(count: u8) -> Self {
        Self::new().and_servers(count)
    }

    /// The same with so many live servers.
    pub(super) fn and_servers(mut self, count: u8) -> Self {
        for uuid in 1..=count {
            self.servers.push(Server { uuid, ..Server::default() });
        }
        self.register_all();
        self.run(Millis(500));
        self
    }

    pub(super) fn time(&self) -> Now {
        Now { mono: self.now, wall: WallMillis(1_000_000 + self.now.0) }
    }

    pub(super) fn step(&mut self, event: Event) {
        let mut out = Vec::new();
        self.brain.step(self.time(), event, &mut out);
        self.take(out);
        self.brain.namespace.check();
    }

    pub(super) fn take(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Commit { ordinal, mutations, counters } => {
                    let mut keys: Vec<_> = mutations.iter().map(|(key, _)| key).collect();
                    keys.sort();
                    keys.dedup();
                    assert_eq!(keys.len(), mutations.len(), "a key stands twice in a group");
                    let expected = self.queue.back().map_or(self.committed, |(last, ..)| *last);
                    assert_eq!(ordinal.0, expected.0 + 1, "ordinals follow each other");
                    self.groups += 1;
                    self.queue.push_back((ordinal, mutations, counters));
                }
                Effect::Reply { token, result } => {
                    let result = result.map(|r| *r).map_err(|e| *e);
                    assert!(self.replies.insert(token, result).is_none(), "answered twice");
                }
                Effect::Send { session, command } => self.sends.push_back((session, *command)),
                Effect::Note { text, .. } => self.notes.push(text),
                Effect::Beat { .. } | Effect::EndSession { .. } => {}
            }
        }
    }

    /// Makes the next group durable.
    pub(super) fn commit_one(&mut self) -> bool {
        let Some((ordinal, mutations, counters)) = self.queue.pop_front() else { return false };
        for (key, value) in mutations {
            match value {
                Some(value) => self.store.insert(key, value),
                None => self.store.remove(&key),
            };
        }
        self.counters = counters;
        self.sequence += 1;
        self.committed = ordinal;
        let sequence = CommitSequence(self.sequence);
        self.step(Event::Committed { through: ordinal, sequence });
        true
    }

    pub(super) fn commit_all(&mut self) {
        while self.commit_one() {}
    }

    /// A loader that has heard all that is durable now.
    pub(super) fn loader(&self) -> Loader {
        let term =
            Term { epoch: Epoch(self.epoch + 1), commit_sequence: CommitSequence(self.sequence) };
        let mut loader = Loader::new(self.config.clone(), term, &self.counters).unwrap();
        for (key, value) in &self.store {
            loader.entry(key, value).unwrap();
        }
        loader
    }

    /// A brain of what is durable now.
    pub(super) fn load(&self) -> Brain {
        let mut out = Vec::new();
        let brain = self.loader().finish(self.time(), &mut out).unwrap();
        assert!(out.is_empty(), "loading changes nothing");
        brain.namespace.check();
        brain
    }

    /// The master dies and another takes over: what was not durable is gone.
    pub(super) fn crash(&mut self) {
        self.brain = self.load();
        self.epoch += 1;
        self.queue.clear();
        self.sends.clear();
        self.committed = Ordinal(0);
        for server in &mut self.servers {
            server.session = None;
        }
    }

    pub(super) fn header(&self, client: u64, sequence: u64) -> Option<pb::RequestHeader> {
        Some(pb::RequestHeader {
            cluster_id: CLUSTER.to_bytes().to_vec().into(),
            client_id: client,
            sequence,
            answered_through: 0,
            epoch: self.epoch,
        })
    }

    /// The header of an operation that is no repeat.
    pub(super) fn fresh(&self) -> Option<pb::RequestHeader> {
        self.operations.set(self.operations.get() + 1);
        self.header(1_000, self.operations.get())
    }

    pub(super) fn call(&mut self, request: Request) -> Token {
        self.token += 1;
        let token = Token(self.token);
        self.step(Event::Call { token, request });
        token
    }

    /// Calls, lets the store and the servers do their work, and returns the answer.
    pub(super) fn ask(&mut self, request: Request) -> Reply {
        let token = self.call(request);
        // A cold start waits 30 s for servers that it knows of.
        for _ in 0..700 {
            self.settle();
            if let Some(reply) = self.replies.remove(&token) {
                return reply;
            }
            self.run(Millis(100));
        }
        panic!("no answer within 70 s");
    }

    /// The code of the error that a call is answered with.
    pub(super) fn refused(&mut self, request: Request) -> ErrorCode {
        match self.ask(request) {
            Ok(response) => panic!("not refused: {response:?}"),
            Err(detail) => detail.error_code(),
        }
    }

    /// Until nothing is on its way.
    pub(super) fn settle(&mut self) {
        loop {
            self.commit_all();
            let Some((session, command)) = self.sends.pop_front() else { break };
            self.carry_out(session, command);
        }
    }

    /// So many commits and commands, and no more. Whether nothing is left to be done.
    pub(super) fn steps(&mut self, count: usize) -> bool {
        for _ in 0..count {
            if !self.commit_one() {
                let Some((session, command)) = self.sends.pop_front() else { return true };
                self.carry_out(session, command);
            }
        }
        self.queue.is_empty() && self.sends.is_empty()
    }

    /// Lets time pass, with heartbeats and ticks every 100 ms.
    pub(super) fn run(&mut self, span: Millis) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Millis(100);
            for at in 0..self.servers.len() {
                let server = &mut self.servers[at];
                if let (Some(session), false) = (server.session, server.silent) {
                    server.beats += 1;
                    let beat = pb::Heartbeat {
                        session: session.0,
                        sequence: server.beats,
                        volumes: vec![volume(server)],
                        ..Default::default()
                    };
                    self.step(Event::Heartbeat { session, beat });
                }
            }
            self.step(Event::Tick);
            self.settle();
        }
    }

    pub(super) fn register_all(&mut self) {
        for at in 0..self.servers.len() {
            if !self.servers[at].silent {
                self.register(at);
            }
        }
        self.settle();
    }

    /// A server registers and reports.
    pub(super) fn register(&mut self, at: usize) {
        {
            self.token += 1;
            let token = Token(self.token);
            let server = &self.servers[at];
            let request = pb::RegisterRequest {
                cluster_id: CLUSTER.to_bytes().to_vec().into(),
                protocol_version: PROTOCOL_VERSION,
                server_uuid: vec![server.uuid; 16].into(),
                server: server.number,
                addresses: vec![format!("s{}:1", server.uuid)],
                place: Some(pb::Place { node: format!("n{}", server.uuid), ..Default::default() }),
                volumes: vec![volume(server)],
                boot_id: vec![9; 16].into(),
                cluster_level: 1,
                ..Default::default()
            };
            self.step(Event::Register { token, request });
            self.commit_all();
            let Some(Ok(Response::Register(response))) = self.replies.remove(&token) else {
                panic!("not registered");
            };
            let session = SessionId(response.session);
            let server = &mut self.servers[at];
            server.number = response.server;
            server.session = Some(session);
            self.step(Event::CommandsOpen { session });
            self.token += 1;
            let token = Token(self.token);
            let replicas: Vec<_> =
                self.servers[at].held.values().map(|held| held.state.clone()).collect();
            let mut digest = gfs_types::Crc::default();
            for state in &replicas {
                for number in [state.handle, state.complete, state.promised] {
                    digest = digest.append(&number.to_be_bytes());
                }
            }
            let page = pb::ReportRequest {
                session: session.0,
                report: 1,
                page: 0,
                count: replicas.len() as u64,
                digest: digest.0,
                replicas,
                last: true,
            };
            self.step(Event::Report { token, page });
            self.commit_all();
            assert!(
                matches!(self.replies.remove(&token), Some(Ok(Response::Report(_)))),
                "report refused"
            );
        }
    }

    /// The server of a number.
    pub(super) fn server(&mut self, number: u32) -> &mut Server {
        self.servers.iter_mut().find(|s| s.number == number).unwrap()
    }

    /// As if a writer had pushed so many bytes: on every member, confirmed.
    pub(super) fn write(&mut self, chunk: &pb::ChunkLocation, length: u32) {
        self.try_write(chunk, length).unwrap();
    }

    /// Writes up to this length if every member that was granted can be reached and is at the
    /// version of the location; else says who is not.
    pub(super) fn try_write(
        &mut self,
        chunk: &pb::ChunkLocation,
        length: u32,
    ) -> Result<(), Vec<u32>> {
        let at_version = |server: &Server| {
            !server.silent
                && server.held.get(&chunk.handle).is_some_and(|h| {
                    h.state.complete == chunk.version && h.state.promised == chunk.version
                })
        };
        let primary = self.servers.iter().find(|s| s.number == chunk.primary).ok_or(vec![])?;
        if !at_version(primary) || !primary.held[&chunk.handle].state.lease {
            return Err(if primary.silent { vec![primary.number] } else { vec![] });
        }
        let members = primary.held[&chunk.handle].members.clone();
        let missing: Vec<u32> = self
            .servers
            .iter()
            .filter(|s| members.contains(&s.number) && !at_version(s))
            .map(|s| s.number)
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        for member in members {
            let held = self.server(member).held.get_mut(&chunk.handle).unwrap();
            assert!(held.state.length <= length, "nobody writes behind the writer's back");
            held.state.length = length;
            held.state.serial += 1;
            held.state.confirmed = length;
        }
        Ok(())
    }

    fn carry_out(&mut self, session: SessionId, command: pb::Command) {
        use pb::command::Body;
        let Some(server) =
            self.servers.iter_mut().find(|s| s.session == Some(session) && !s.silent)
        else {
            return;
        };
        let handle = command.handle;
        let number = server.number;
        let state = match command.body.clone() {
            Some(Body::Grant(grant)) => {
                let fresh = Held {
                    state: pb::ReplicaState { length: grant.length, ..Default::default() },
                    ..Held::default()
                };
                let held = server.held.entry(handle).or_insert(fresh);
                if grant.sealed || grant.cut {
                    held.state.length = held.state.length.min(grant.length);
                }
                held.limit = grant.limit;
                held.state.handle = handle;
                held.state.promised = grant.version;
                held.state.complete = grant.version;
                held.state.serial = 0;
                held.state.inode = grant.inode;
                held.state.index = grant.index;
                held.state.start = grant.start;
                held.state.sealed = grant.sealed;
                held.state.confirmed = held.state.length;
                held.members = grant.members.iter().map(|m| m.server).collect();
                held.state.lease =
                    grant.lease && grant.members.first().is_some_and(|m| m.server == number);
                Some(held.state.clone())
            }
            Some(Body::Prepare(prepare)) => server.held.get_mut(&handle).map(|held| {
                held.state.promised = prepare.next;
                held.state.lease = false;
                held.state.digest = held.state.length;
                held.state.clone()
            }),
            Some(Body::Equalize(equal)) => server.held.get_mut(&handle).map(|held| {
                held.state.length = equal.length;
                held.state.digest = equal.length;
                held.state.clone()
            }),
            Some(Body::Clone(clone)) => {
                let held = server.held.entry(handle).or_default();
                held.state = pb::ReplicaState {
                    handle,
                    inode: clone.inode,
                    index: clone.index,
                    start: clone.start,
                    ..Default::default()
                };
                Some(held.state.clone())
            }
            Some(Body::Delete(_) | Body::CancelClone(_)) => {
                server.held.remove(&handle);
                None
            }
            Some(Body::Verify(_) | Body::Revoke(_)) => {
                server.held.get(&handle).map(|held| held.state.clone())
            }
            None => None,
        };
        let error = (state.is_none()
            && !matches!(command.body, Some(Body::Delete(_) | Body::CancelClone(_))))
        .then(|| pb::ErrorDetail::new(ErrorCode::UnknownChunk, "no replica"));
        let result = pb::CommandResult {
            id: command.id,
            epoch: command.epoch,
            handle,
            error,
            state,
            copied: 0,
        };
        self.step(Event::Result { session, result });
    }
}

fn volume(server: &Server) -> pb::VolumeState {
    pb::VolumeState {
        uuid: vec![server.uuid; 16].into(),
        total_bytes: 1 << 40,
        free_bytes: 1 << 39,
        chunks: server.held.len() as u32,
        ..Default::default()
    }
}
