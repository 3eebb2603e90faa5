//! A master's chunk side with model servers around it: every message is delivered by hand, and the
//! invariants are checked after every event.

use super::model::{Host, carry_out};
use crate::brain::chunks::{
    ChunkInfo, Chunks, ChunksConfig, Outbox, Waiter, WaiterKind, Want, report_digest,
};
use crate::brain::{Now, Response, SessionId, Token};
use crate::mistakes::Mistakes;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{
    ChunkHandle, ClusterId, Crc, GfsError, InodeId, Millis, PROTOCOL_VERSION, ServerNumber,
    WallMillis,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const CHUNK: u32 = 64 << 20;
const CLUSTER: ClusterId = ClusterId(7);

/// What the model knows of a chunk beyond its record.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) info: ChunkInfo,
    /// The writes that were acknowledged.
    pub(super) acked: Vec<u32>,
    /// The highest number ever committed as `next` or version.
    pub(super) highest: u64,
}

pub(super) struct World {
    pub(super) chunks: Chunks,
    pub(super) mistakes: Mistakes,
    chunk_size: u32,
    pub(super) now: Now,
    pub(super) epoch: u64,
    commits: u64,
    counters: pb::Counters,
    pub(super) hosts: Vec<Host>,
    pub(super) records: BTreeMap<u64, pb::ExtentRecord>,
    servers: BTreeMap<u32, pb::ServerRecord>,
    pub(super) garbage: BTreeMap<u64, pb::GarbageRecord>,
    pub(super) known: BTreeMap<u64, Known>,
    pub(super) waiting: BTreeSet<u64>,
    pub(super) answered: Vec<(u64, Result<ChunkHandle, GfsError>)>,
    registering: Option<usize>,
    next_token: u64,
    next_write: u32,
    pub(super) notes: Vec<(bool, String)>,
    /// Commands sent, by kind, since the start.
    pub(super) sent: BTreeMap<&'static str, usize>,
    /// The rules are not checked after every event: there are too many chunks.
    pub(super) unchecked: bool,
    /// What breaks the rules.
    pub(super) broken: Vec<String>,
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Grant(_) => "grant",
        Body::Prepare(_) => "prepare",
        Body::Equalize(_) => "equalize",
        Body::Clone(_) => "clone",
        Body::CancelClone(_) => "cancel",
        Body::Delete(_) => "delete",
        Body::Verify(_) => "verify",
        Body::Revoke(_) => "revoke",
    }
}

impl World {
    pub(super) fn new(servers: usize) -> Self {
        Self::with(servers, Mistakes::default())
    }

    pub(super) fn with(servers: usize, mistakes: Mistakes) -> Self {
        let hosts = (0..servers).map(|_| Host { up: true, ..Host::default() }).collect();
        Self::of(hosts, mistakes, CHUNK)
    }

    /// These servers, as far as they run, and chunks of so many bytes.
    pub(super) fn of(hosts: Vec<Host>, mistakes: Mistakes, chunk_size: u32) -> Self {
        let mut world = Self {
            chunks: Chunks::new(Self::config(mistakes, chunk_size)),
            mistakes,
            chunk_size,
            now: Now { mono: Millis(1_000), wall: WallMillis(1_000) },
            epoch: 1,
            commits: 1,
            counters: pb::Counters { inode: 2, handle: 1, server: 1 },
            hosts,
            records: BTreeMap::new(),
            servers: BTreeMap::new(),
            garbage: BTreeMap::new(),
            known: BTreeMap::new(),
            waiting: BTreeSet::new(),
            answered: Vec::new(),
            registering: None,
            next_token: 1,
            next_write: 1,
            notes: Vec::new(),
            sent: BTreeMap::new(),
            unchecked: false,
            broken: Vec::new(),
        };
        world.chunks.started(world.now, 1, 1, false);
        for at in 0..world.hosts.len() {
            if world.hosts[at].runs() {
                world.connect(at);
                world.send_report(at);
            }
        }
        world
    }

    fn config(mistakes: Mistakes, chunk_size: u32) -> ChunksConfig {
        ChunksConfig { mistakes, ..ChunksConfig::new(CLUSTER, chunk_size) }
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Runs a method of the chunk side, commits what it changed, delivers what it sent, and checks
    /// the invariants.
    pub(super) fn event<T>(
        &mut self,
        step: impl FnOnce(&mut Chunks, Now, &mut pb::Counters, &mut Outbox) -> T,
    ) -> T {
        let mut out = Outbox::default();
        let result = step(&mut self.chunks, self.now, &mut self.counters, &mut out);
        self.take(out);
        result
    }

    fn take(&mut self, out: Outbox) {
        for handle in &out.touched {
            match self.chunks.record(*handle) {
                Some(record) => self.commit(handle.0, record),
                None => drop(self.records.remove(&handle.0)),
            }
        }
        for number in &out.touched_servers {
            let record = self.chunks.server_record(*number).unwrap();
            self.servers.insert(number.0, record);
        }
        for (handle, record) in &out.garbage {
            match record {
                Some(record) => drop(self.garbage.insert(handle.0, record.clone())),
                None => self.forget_garbage(handle.0),
            }
            self.records.remove(&handle.0);
            self.known.remove(&handle.0);
        }
        self.commits += 1;
        self.chunks.committed(self.commits);
        for session in &out.ended {
            for host in self.hosts.iter_mut().filter(|h| h.session == Some(session.0)) {
                host.inbox.clear();
            }
        }
        for (session, command) in out.sends {
            *self.sent.entry(kind(command.body.as_ref().unwrap())).or_default() += 1;
            self.check_send(session, &command);
            if let Some(host) = self.hosts.iter_mut().find(|h| h.session == Some(session.0)) {
                host.inbox.push_back(command);
            }
        }
        for (session, reply) in out.beats {
            if reply.stale_session
                && let Some(at) = self.hosts.iter().position(|h| h.session == Some(session.0))
            {
                self.hosts[at].session = None;
            }
        }
        for (token, reply) in out.replies {
            if let Ok(Response::Register(response)) = reply
                && let Some(at) = self.registering.take()
            {
                let _ = token;
                let host = &mut self.hosts[at];
                host.session = Some(response.session);
                host.number = response.server;
                host.epoch = response.epoch;
                host.reported = false;
                host.inbox.clear();
            }
        }
        for (waiter, result) in out.done {
            self.waiting.remove(&waiter.token.0);
            self.answered.push((waiter.token.0, result));
        }
        self.notes.extend(out.notes);
        if !self.unchecked {
            self.check();
        }
    }
}

// What the servers and the clients do.
impl World {
    /// Registers a server and opens its commands.
    pub(super) fn connect(&mut self, at: usize) {
        let host = &self.hosts[at];
        let request = pb::RegisterRequest {
            cluster_id: CLUSTER.to_bytes().to_vec().into(),
            protocol_version: PROTOCOL_VERSION,
            server_uuid: (100 + at as u128).to_be_bytes().to_vec().into(),
            server: host.number,
            epoch: host.epoch,
            addresses: vec![format!("host-{at}:1")],
            place: Some(pb::Place {
                node: format!("node-{at}"),
                pod_uid: format!("pod-{at}"),
                zone: host.zone.clone(),
                ..pb::Place::default()
            }),
            volumes: vec![host.volume()],
            boot_id: vec![host.boot + 1; 16].into(),
            highest_handle: host.replicas.keys().next_back().copied().unwrap_or(0),
            ..Default::default()
        };
        self.registering = Some(at);
        let token = self.token();
        self.event(|c, now, counters, out| c.register(now, token, &request, counters, out));
        assert!(self.registering.is_none(), "registration was refused");
        if let Some(session) = self.hosts[at].session {
            self.event(|c, now, _, out| c.commands_open(now, SessionId(session), out));
        }
    }

    /// Sends the whole report, in pages of two.
    pub(super) fn send_report(&mut self, at: usize) {
        let Some(session) = self.hosts[at].session else { return };
        let states: Vec<pb::ReplicaState> =
            self.hosts[at].replicas.iter().map(|(h, r)| r.state(*h)).collect();
        let digest = states.iter().fold(Crc::default(), report_digest).0;
        let count = states.len() as u64;
        let mut pages: Vec<Vec<pb::ReplicaState>> = states.chunks(2).map(<[_]>::to_vec).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        for (page, replicas) in pages.into_iter().enumerate() {
            let request = pb::ReportRequest {
                session,
                report: 1,
                page: page as u32,
                replicas,
                last: page == last,
                count: if page == last { count } else { 0 },
                digest: if page == last { digest } else { 0 },
            };
            let token = self.token();
            self.event(|c, now, counters, out| c.report(now, token, &request, counters, out));
        }
        self.hosts[at].reported = true;
    }

    /// The server does its next thing: registers, reports, or carries out a command. Whether there
    /// was anything.
    pub(super) fn serve(&mut self, at: usize) -> bool {
        if !self.hosts[at].runs() {
            return false;
        }
        let Some(session) = self.hosts[at].session else {
            self.connect(at);
            return true;
        };
        if !self.hosts[at].reported {
            self.send_report(at);
            return true;
        }
        if self.hosts[at].deaf {
            return false;
        }
        let Some(command) = self.hosts[at].inbox.pop_front() else { return false };
        let result = carry_out(&mut self.hosts, at, &command);
        self.hosts[at].results.push_back((session, result));
        true
    }

    /// The server's oldest result arrives, if its session still stands.
    pub(super) fn hear(&mut self, at: usize) -> bool {
        let Some((session, result)) = self.hosts[at].results.pop_front() else { return false };
        if self.hosts[at].session == Some(session) {
            self.event(|c, now, _, out| c.result(now, SessionId(session), &result, out));
        }
        true
    }

    /// A result of an older session, of an older term even, arrives in the present one.
    pub(super) fn hear_late(&mut self, at: usize) {
        let Some(session) = self.hosts[at].session.filter(|_| self.hosts[at].runs()) else {
            return;
        };
        let late = self.hosts[at].results.iter().position(|(s, _)| *s != session);
        if let Some((_, result)) = late.and_then(|n| self.hosts[at].results.remove(n)) {
            self.event(|c, now, _, out| c.result(now, SessionId(session), &result, out));
        }
    }

    /// Serves and hears until nothing is left to do.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut busy = false;
            for at in 0..self.hosts.len() {
                busy |= self.serve(at);
                busy |= self.hear(at);
            }
            if !busy {
                return;
            }
        }
        panic!("the servers never come to rest");
    }

    /// Time passes, servers that run beat.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.mono = self.now.mono + Millis(ms);
        self.now.wall.0 += ms;
        for at in 0..self.hosts.len() {
            if let Some(session) = self.hosts[at].session.filter(|_| self.hosts[at].runs()) {
                let volumes = vec![self.hosts[at].volume()];
                let beat = pb::Heartbeat { session, volumes, ..Default::default() };
                self.event(|c, now, _, out| c.heartbeat(now, SessionId(session), &beat, out));
            }
        }
        self.event(|c, now, _, out| c.tick(now, out));
    }

    /// Time passes in ticks of 100 ms, and servers do what they are asked.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.pass(100);
            self.settle();
        }
    }

    pub(super) fn kill(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.up = false;
        host.stopped = false;
        host.inbox.clear();
        host.results.clear();
        for replica in host.replicas.values_mut() {
            replica.lease = false;
        }
        self.reset(at);
    }

    /// The connection of a server breaks.
    pub(super) fn reset(&mut self, at: usize) {
        self.hosts[at].inbox.clear();
        if let Some(session) = self.hosts[at].session.take() {
            self.event(|c, now, _, out| c.session_broken(now, SessionId(session), out));
        }
    }

    /// The master dies and another one leads with what was committed.
    pub(super) fn restart_master(&mut self) {
        self.epoch += 1;
        let mut chunks = Chunks::new(Self::config(self.mistakes, self.chunk_size));
        for (number, record) in &self.servers {
            chunks.load_server(ServerNumber(*number), record);
        }
        for (handle, record) in &self.garbage {
            chunks.load_garbage(ChunkHandle(*handle), record);
        }
        for (handle, record) in &self.records {
            chunks.load_chunk(self.known[handle].info, record);
        }
        chunks.started(self.now, self.epoch, self.commits, false);
        self.chunks = chunks;
        self.waiting.clear();
        for host in &mut self.hosts {
            host.session = None;
            host.inbox.clear();
        }
    }

    pub(super) fn create(&mut self, copies: u8) -> Result<ChunkHandle, GfsError> {
        let handle = ChunkHandle(self.counters.handle);
        self.counters.handle += 1;
        let info = ChunkInfo {
            inode: InodeId(handle.0 + 1_000),
            index: 0,
            start: 0,
            copies,
            durability: pb::Durability::Replicated,
        };
        self.known.insert(handle.0, Known { info, acked: Vec::new(), highest: 1 });
        let made =
            self.event(|c, now, _, out| c.create(now, handle, info, 0, &pb::Place::default(), out));
        if made.is_err() {
            self.known.remove(&handle.0);
        }
        made.map(|()| handle)
    }

    pub(super) fn recover(
        &mut self,
        handle: ChunkHandle,
        unreachable: &[usize],
        lease: bool,
    ) -> u64 {
        let token = self.token();
        let seen = self.chunks.version(handle);
        let waiter = Waiter { token, kind: WaiterKind::Recover };
        let servers: Vec<ServerNumber> =
            unreachable.iter().map(|at| ServerNumber(self.hosts[*at].number)).collect();
        self.waiting.insert(token.0);
        let want = if lease { Want::Extend } else { Want::Read };
        self.event(|c, now, _, out| c.recover(now, handle, seen, &servers, want, waiter, out));
        token.0
    }

    /// Has a server emptied, or takes that back.
    pub(super) fn drain(&mut self, at: usize, drain: bool, force: bool) -> Result<u64, GfsError> {
        let number = ServerNumber(self.hosts[at].number);
        self.event(|c, now, _, out| c.set_drain(now, number, drain, force, 3, out))
    }

    /// The goal of a chunk's file changes.
    pub(super) fn set_copies(&mut self, handle: ChunkHandle, copies: u8) {
        if let Some(known) = self.known.get_mut(&handle.0) {
            known.info.copies = copies;
        }
        self.event(|c, now, _, out| {
            c.set_copies(now, handle, copies);
            c.settle(now, out);
        });
    }

    fn status_of(&self, at: usize) -> Option<pb::ServerStatus> {
        let number = self.hosts[at].number;
        let mut all = self.chunks.server_statuses(self.now).into_iter();
        all.find(|s| s.location.as_ref().is_some_and(|l| l.server == number))
    }

    pub(super) fn is_draining(&self, at: usize) -> bool {
        self.status_of(at).is_some_and(|s| s.draining)
    }

    /// It is drained and may be removed.
    pub(super) fn is_empty(&self, at: usize) -> bool {
        self.status_of(at).is_some_and(|s| s.may_be_removed)
    }

    /// What is said of a draining server.
    pub(super) fn reason(&self, at: usize) -> String {
        self.status_of(at).map(|s| s.reason).unwrap_or_default()
    }

    /// A writer writes through the primary, if there is one: on all members, and then it is
    /// acknowledged; or on the first `only` of them.
    pub(super) fn write(&mut self, handle: ChunkHandle, only: Option<usize>) -> bool {
        let primary = self.hosts.iter().position(|h| {
            h.runs()
                && h.replicas
                    .get(&handle.0)
                    .is_some_and(|r| r.lease && r.promised == r.complete && !r.sealed)
        });
        let Some(primary) = primary else { return false };
        let first = self.hosts[primary].replicas[&handle.0].clone();
        let members: Vec<usize> = first
            .members
            .iter()
            .filter_map(|n| self.hosts.iter().position(|h| h.number == *n))
            .collect();
        let able = |h: &Host| {
            h.runs()
                && h.replicas.get(&handle.0).is_some_and(|r| {
                    r.complete == first.complete
                        && r.promised == first.promised
                        && r.serial == first.serial
                        && !r.suspect
                })
        };
        let ready = members.iter().take_while(|m| able(&self.hosts[**m])).count();
        let reach = ready.min(only.unwrap_or(usize::MAX));
        self.next_write += 1;
        for member in members.iter().take(reach) {
            let replica = self.hosts[*member].replicas.get_mut(&handle.0).unwrap();
            replica.content.push(self.next_write);
            replica.serial += 1;
        }
        if reach == members.len() {
            let replica = self.hosts[primary].replicas[&handle.0].clone();
            if let Some(known) = self.known.get_mut(&handle.0) {
                if !replica.content.starts_with(&known.acked) {
                    self.broken.push(format!(
                        "chunk {handle}: a write was acknowledged without those before it"
                    ));
                }
                known.acked = replica.content;
            }
            return true;
        }
        // Its role is over: the rest of the chain is out of step.
        if reach > 0 {
            self.hosts[primary].replicas.get_mut(&handle.0).unwrap().lease = false;
        }
        false
    }
}
