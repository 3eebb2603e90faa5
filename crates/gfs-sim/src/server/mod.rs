//! The shell around the replicas of a chunkserver: streams, disk, copies, session.

mod copies;
mod reads;
mod session;
mod steps;

use crate::context::{Context, Process, Timer};
use crate::disk::Disk;
use crate::network::{Arrival, Node, StreamId};
use crate::wire::Wire;
use bytes::Bytes;
use copies::Copying;
use gfs_core::mistakes::Mistakes;
use gfs_core::replica::StreamId as PushId;
use gfs_core::replica::{CommandId, DiskOp, Event, Replica, ServerGate, Settings};
use gfs_proto::v1 as pb;
use gfs_types::{BlockSums, ErrorCode, Millis};
use session::Session;
use std::collections::BTreeMap;

/// Timers of a server.
pub(crate) const TICK: u32 = 1;
pub(crate) const BEAT: u32 = 2;
pub(crate) const DISK: u32 = 3;
pub(crate) const REGISTER: u32 = 4;
pub(crate) const COPY: u32 = 5;
pub(crate) const SCRUB: u32 = 6;

/// A chunk is verified this often, in microseconds.
const SCRUB_MICROS: u64 = 500_000;

/// How a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct DiskManners {
    /// An operation takes this long, in microseconds: at least, at most.
    pub delay: (u64, u64),
    /// Operations of a thousand that take much longer, and how long at most.
    pub slow: (u64, u64),
    /// Writes and syncs of a hundred thousand that fail.
    pub fail: u64,
    /// Reads of a hundred thousand that fail.
    pub unreadable: u64,
    /// Bytes of content that there is room for.
    pub room: u64,
    /// The file system is mounted read-only.
    pub read_only: bool,
}

impl Default for DiskManners {
    fn default() -> Self {
        Self {
            delay: (20, 300),
            slow: (0, 0),
            fail: 0,
            unreadable: 0,
            room: 1 << 40,
            read_only: false,
        }
    }
}

/// What a stream at this server is.
#[derive(Clone, Debug)]
enum Role {
    Register,
    Beats,
    Commands,
    Report,
    /// A push stream into this server.
    PushIn {
        handle: u64,
    },
    /// Its continuation to the next member.
    PushOut {
        handle: u64,
        of: PushId,
    },
    /// A copy out of another server.
    CopyOut {
        handle: u64,
    },
    /// The primary is asked for a reader.
    AskPrimary {
        read: StreamId,
        request: pb::ReadRequest,
    },
}

/// Where the answer to a command goes.
#[derive(Clone, Copy, Debug)]
struct Asked {
    handle: u64,
    id: u64,
    epoch: u64,
    session: u64,
}

/// A chunkserver with its disk.
pub struct Server {
    index: usize,
    chunk_size: u32,
    mistakes: Mistakes,
    /// How the disk behaves.
    pub manners: DiskManners,
    /// What is durable.
    pub disk: Disk,
    gate: ServerGate,
    session: Session,
    replicas: BTreeMap<u64, Replica<Bytes>>,
    roles: BTreeMap<StreamId, Role>,
    /// Continuations of push streams, by the stream they belong to.
    down: BTreeMap<PushId, StreamId>,
    /// Operations under way, by chunk, and when they began.
    writing: BTreeMap<u64, (Millis, DiskOp<Bytes>)>,
    /// The first write or sync that the disk failed in this life: it takes no new chunks.
    failing: String,
    commands: BTreeMap<CommandId, Asked>,
    last_command: u64,
    copying: BTreeMap<u64, Copying>,
    /// Chunk and bytes of the last copy that ended.
    last_copied: (u64, u64),
    /// Members of the last grant of each chunk: what scenarios aim at.
    granted: BTreeMap<u64, Vec<u32>>,
}

/// The node with this address.
pub(crate) fn node_at(location: &pb::ServerLocation) -> Option<Node> {
    let address = location.addresses.first()?;
    address
        .strip_prefix("server")?
        .strip_suffix(":1")
        .and_then(|n| n.parse().ok())
        .map(Node::Server)
}

pub(crate) fn failure(code: ErrorCode, text: impl Into<String>) -> pb::ErrorDetail {
    pb::ErrorDetail::new(code, text)
}

impl Server {
    /// A server with an empty disk, not running.
    #[must_use]
    pub fn new(index: usize, chunk_size: u32, mistakes: Mistakes) -> Self {
        Self {
            index,
            chunk_size,
            mistakes,
            manners: DiskManners::default(),
            disk: Disk::default(),
            gate: ServerGate::new(Default::default(), Millis(10_000)),
            session: Session::default(),
            replicas: BTreeMap::new(),
            roles: BTreeMap::new(),
            down: BTreeMap::new(),
            writing: BTreeMap::new(),
            failing: String::new(),
            commands: BTreeMap::new(),
            last_command: 0,
            copying: BTreeMap::new(),
            last_copied: (0, 0),
            granted: BTreeMap::new(),
        }
    }

    fn me(&self) -> Node {
        Node::Server(self.index)
    }

    fn settings(&self) -> Settings {
        Settings { server: self.disk.server, chunk_size: self.chunk_size, mistakes: self.mistakes }
    }

    /// Begins a new life with what is on the disk.
    pub fn start(&mut self, ctx: &mut Context) {
        ctx.born(self.me());
        self.failing.clear();
        self.gate = ServerGate::new(self.disk.remember, Millis(10_000));
        self.load_replicas();
        self.session = Session::default();
        self.register(ctx);
        ctx.after(self.me(), 100_000, Timer { kind: TICK, number: 0 });
        ctx.after(self.me(), SCRUB_MICROS, Timer { kind: SCRUB, number: 0 });
    }

    fn load_replicas(&mut self) {
        let settings = self.settings();
        let load = |stored: &crate::disk::Stored| {
            Replica::load(settings, stored.identity, stored.header.clone())
        };
        self.replicas = self.disk.chunks.iter().map(|(h, stored)| (*h, load(stored))).collect();
    }

    /// Ends this life. Of each operation under way all, a part, or nothing was done.
    pub fn kill(&mut self, ctx: &mut Context, how: Process) {
        ctx.died(self.me(), how);
        for (handle, (_, op)) in std::mem::take(&mut self.writing) {
            match ctx.dice.range(0, 3) {
                0 => drop(self.disk.apply(handle, &op)),
                1 => self.disk.tear(handle, &op, ctx.dice.range(0, 1 << 20) as usize),
                _ => {}
            }
        }
        self.replicas.clear();
        self.roles.clear();
        self.down.clear();
        self.commands.clear();
        self.copying.clear();
    }

    /// The disk failed a write or a sync in this life.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Something arrived.
    pub fn arrived(&mut self, ctx: &mut Context, stream: StreamId, arrival: Arrival) {
        match arrival {
            Arrival::Message(message) => self.heard(ctx, stream, message),
            Arrival::Closed | Arrival::Broken => self.ended(ctx, stream),
        }
    }

    fn ended(&mut self, ctx: &mut Context, stream: StreamId) {
        match self.roles.remove(&stream) {
            Some(Role::PushIn { handle }) => {
                self.step(ctx, handle, Event::Closed { stream: PushId(stream.0) });
            }
            Some(Role::PushOut { handle, of }) => {
                if self.down.get(&of) == Some(&stream) {
                    self.down.remove(&of);
                }
                let why = "the stream broke".to_owned();
                self.step(ctx, handle, Event::DownBroken { stream: of, why });
            }
            Some(Role::CopyOut { handle }) => self.copy_broken(ctx, handle, stream),
            Some(Role::AskPrimary { read, .. }) => {
                let why = failure(ErrorCode::Fenced, "the primary does not answer");
                ctx.send(self.me(), read, Wire::Status(Err(Box::new(why))));
                ctx.close(self.me(), read);
            }
            Some(Role::Register | Role::Beats | Role::Commands | Role::Report) => {
                self.session_ended(ctx);
            }
            None => {}
        }
    }

    fn heard(&mut self, ctx: &mut Context, stream: StreamId, message: Wire) {
        match (message, self.roles.get(&stream).cloned()) {
            (Wire::Reply(result), Some(Role::Register)) => {
                self.roles.remove(&stream);
                self.registered(ctx, result);
            }
            (Wire::Reply(result), Some(Role::Report)) => {
                self.roles.remove(&stream);
                self.reported(ctx, result);
            }
            (Wire::BeatReply(reply), Some(Role::Beats)) => self.beaten(ctx, &reply),
            (Wire::Command(command), Some(Role::Commands)) => self.commanded(ctx, *command),
            (Wire::Push(body, payload), role) => self.pushed(ctx, stream, *body, payload, role),
            (Wire::Pushed(body), Some(Role::PushOut { handle, of })) => {
                self.step(ctx, handle, Event::Down { stream: of, body: *body });
            }
            (Wire::Read(request), None) => self.read(ctx, stream, &request, true),
            (Wire::Copy(request), None) => self.copy_in(ctx, stream, &request),
            (Wire::Copied(body, payload), Some(Role::CopyOut { handle })) => {
                self.copied(ctx, handle, stream, *body, payload);
            }
            (Wire::Status(result), Some(Role::CopyOut { handle })) => {
                self.copy_status(ctx, handle, stream, result);
            }
            (Wire::Confirmed(request), None) => self.confirmed(ctx, stream, &request),
            (Wire::Outcomes(request), None) => self.outcomes(ctx, stream, &request),
            (Wire::IsConfirmed(answer), Some(Role::AskPrimary { read, request })) => {
                self.roles.remove(&stream);
                self.asked_primary(ctx, read, &request, answer);
            }
            _ => {}
        }
    }

    fn pushed(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        body: pb::push_request::Body,
        payload: Option<Bytes>,
        role: Option<Role>,
    ) {
        let id = PushId(stream.0);
        let handle = match (&body, role) {
            (pb::push_request::Body::Open(open), None) => {
                self.roles.insert(stream, Role::PushIn { handle: open.handle });
                open.handle
            }
            (_, Some(Role::PushIn { handle })) => handle,
            _ => return,
        };
        if let (pb::push_request::Body::Slice(slice), Some(payload)) = (&body, &payload) {
            let sums = BlockSums::of(slice.offset, std::slice::from_ref(payload));
            if !sums.0.iter().map(|sum| sum.0).eq(slice.sums.iter().copied()) {
                let error = failure(ErrorCode::Corrupt, "a slice does not match its checksums");
                return self.step(ctx, handle, Event::Refused { stream: id, error });
            }
        }
        let event = Event::Push { stream: id, body, payload, credit: 1 << 20 };
        self.step(ctx, handle, event);
    }

    /// A timer went off.
    pub fn timer(&mut self, ctx: &mut Context, timer: Timer) {
        match timer.kind {
            TICK => {
                let active: Vec<u64> = self
                    .replicas
                    .iter()
                    .filter(|(_, replica)| replica.needs_ticks())
                    .map(|(handle, _)| *handle)
                    .collect();
                for handle in active {
                    self.step(ctx, handle, Event::Tick);
                }
                self.replicas.retain(|_, r| r.is_stored() || r.is_active());
                self.watch_session(ctx);
                self.sync(ctx);
                ctx.after(self.me(), 100_000, timer);
            }
            BEAT => self.beat(ctx, timer),
            REGISTER => self.register(ctx),
            DISK => self.disk_done(ctx, timer.number),
            COPY => self.copy_written(ctx, timer.number),
            SCRUB => self.scrub(ctx, timer.number),
            _ => {}
        }
    }

    /// The replica of a chunk, if it is in memory.
    #[must_use]
    pub fn replica(&self, handle: u64) -> Option<&Replica<Bytes>> {
        self.replicas.get(&handle)
    }
}

impl Server {
    /// Members (the primary, this server, first) of a chunk that it orders the mutations of, with
    /// at least so many bytes, not sealed.
    #[must_use]
    pub fn written(&self, least: u32) -> Option<Vec<u32>> {
        self.replicas.iter().find_map(|(handle, replica)| {
            let header = replica.header()?;
            let writing =
                replica.primary_at().is_some() && !header.sealed && header.length >= least;
            self.granted.get(handle).filter(|_| writing).cloned()
        })
    }
}
