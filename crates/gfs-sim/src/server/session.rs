//! The session with the master: register, beat, take commands, report.

use super::{BEAT, REGISTER, Role, Server};
use crate::context::{Context, Timer};
use crate::network::{Node, StreamId};
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::Response;
use gfs_core::replica::{Event, Replica};
use gfs_proto::v1 as pb;
use gfs_types::{Crc, Millis, PROTOCOL_VERSION, ServerUuid};

/// Replicas of a page of a report: few, so that reports have pages.
const PAGE: usize = 3;
/// Without a word of the master for so long the session is given up.
const SILENCE: Millis = Millis(2_000);

/// The session of this life, if there is one.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// As the master named it; 0: none.
    pub(super) id: u64,
    beats: Option<StreamId>,
    commands: Option<StreamId>,
    asking: Option<StreamId>,
    sequence: u64,
    heard_at: Millis,
    pages: Vec<pb::ReportRequest>,
}

impl Server {
    /// Dials the master.
    pub(super) fn register(&mut self, ctx: &mut Context) {
        if self.session.asking.is_some() || self.session.id != 0 {
            return;
        }
        let request = pb::RegisterRequest {
            cluster_id: self.disk.cluster.clone(),
            protocol_version: PROTOCOL_VERSION,
            server_uuid: ServerUuid(0x5e11_0000 + self.index as u128 + 1)
                .to_bytes()
                .to_vec()
                .into(),
            server: self.disk.server,
            epoch: self.gate.seen().epoch,
            commit_sequence: self.gate.seen().commit_sequence,
            addresses: vec![format!("server{}:1", self.index)],
            place: Some(pb::Place { node: format!("node{}", self.index), ..pb::Place::default() }),
            volumes: vec![self.volume(ctx)],
            boot_id: u128::from(self.disk.boot).to_be_bytes().to_vec().into(),
            cluster_level: 1,
            highest_handle: self.disk.chunks.keys().next_back().copied().unwrap_or(0),
            software: "sim".to_owned(),
        };
        let stream = ctx.open(self.me(), Node::Master, Wire::Register(Box::new(request)));
        self.roles.insert(stream, Role::Register);
        self.session.asking = Some(stream);
        self.session.heard_at = ctx.millis();
    }

    fn volume(&self, ctx: &Context) -> pb::VolumeState {
        let oldest = self.writing.values().map(|(began, _)| ctx.millis().since(*began).0).max();
        pb::VolumeState {
            uuid: Bytes::from_static(&[9; 16]),
            total_bytes: self.manners.room,
            free_bytes: self.manners.room.saturating_sub(self.disk.used()),
            oldest_io_ms: oldest.unwrap_or(0) as u32,
            failing: if self.manners.read_only {
                "read-only".to_owned()
            } else {
                self.failing.clone()
            },
            chunks: self.disk.chunks.len() as u32,
            ..Default::default()
        }
    }

    pub(super) fn registered(
        &mut self,
        ctx: &mut Context,
        result: Result<Box<Response>, Box<pb::ErrorDetail>>,
    ) {
        self.session.asking = None;
        let Ok(Response::Register(response)) = result.map(|r| *r) else {
            return self.session_ended(ctx);
        };
        if self.observe(ctx, response.epoch, response.commit_sequence).is_err() {
            return self.session_ended(ctx);
        }
        self.gate.heard_leader(response.epoch, ctx.millis());
        self.gate.set_read_limit(Millis(u64::from(response.stale_read_limit_ms)));
        self.disk.cluster = response.cluster_id;
        if self.disk.server != response.server {
            self.disk.server = response.server;
            // Replicas know their server; on a fresh disk there are none yet.
            self.load_replicas();
        }
        let me = self.me();
        self.session.id = response.session;
        self.session.sequence = 0;
        self.session.heard_at = ctx.millis();
        ctx.note(me, format_args!("has session {:x}", response.session));
        let hello = pb::Hello { cluster_id: self.disk.cluster.clone(), session: response.session };
        let hello = Wire::FromServer(Box::new(pb::server_message::Body::Hello(hello)));
        let commands = ctx.open(me, Node::Master, hello);
        self.roles.insert(commands, Role::Commands);
        self.session.commands = Some(commands);
        let beat = self.next_beat(ctx);
        let beats = ctx.open(me, Node::Master, Wire::Beat(beat));
        self.roles.insert(beats, Role::Beats);
        self.session.beats = Some(beats);
        let every = u64::from(response.heartbeat_ms).max(1) * 1000;
        ctx.after(me, every, Timer { kind: BEAT, number: response.session });
        self.session.pages = self.report();
        self.session.pages.reverse();
        self.next_page(ctx);
    }

    /// A master says that its epoch is this one. Under a higher one than before, nothing of the
    /// older ones goes on.
    pub(super) fn observe(
        &mut self,
        ctx: &mut Context,
        epoch: u64,
        commit_sequence: u64,
    ) -> Result<(), pb::ErrorDetail> {
        if let Some(remember) = self.gate.observe(epoch, commit_sequence)? {
            self.disk.remember = remember;
            self.gate.remembered(remember);
            let handles: Vec<u64> = self.replicas.keys().copied().collect();
            for handle in handles {
                self.step(ctx, handle, Event::NewEpoch);
            }
        }
        Ok(())
    }

    fn next_beat(&mut self, ctx: &Context) -> pb::Heartbeat {
        self.session.sequence += 1;
        pb::Heartbeat {
            session: self.session.id,
            sequence: self.session.sequence,
            volumes: vec![self.volume(ctx)],
            ..pb::Heartbeat::default()
        }
    }

    pub(super) fn beat(&mut self, ctx: &mut Context, timer: Timer) {
        if timer.number != self.session.id {
            return;
        }
        if let Some(stream) = self.session.beats {
            let beat = self.next_beat(ctx);
            ctx.send(self.me(), stream, Wire::Beat(beat));
            ctx.after(self.me(), 250_000, timer);
        }
    }

    pub(super) fn beaten(&mut self, ctx: &mut Context, reply: &pb::HeartbeatReply) {
        if reply.stale_session {
            return self.session_ended(ctx);
        }
        if self.observe(ctx, reply.epoch, reply.commit_sequence).is_err() {
            return self.session_ended(ctx);
        }
        self.session.heard_at = ctx.millis();
        if reply.leader {
            self.gate.heard_leader(reply.epoch, ctx.millis());
        }
        for left in &reply.left_out {
            if self.replicas.contains_key(&left.handle) {
                self.step(ctx, left.handle, Event::LeftOut { version: left.version });
            }
        }
    }

    /// The pages of a report of everything.
    fn report(&self) -> Vec<pb::ReportRequest> {
        let state = |(handle, replica): (&u64, &Replica<Bytes>)| {
            self.state_of(*handle, false).or_else(|| replica.reported())
        };
        let states: Vec<pb::ReplicaState> = self.replicas.iter().filter_map(state).collect();
        let mut digest = Crc::default();
        for state in &states {
            for number in [state.handle, state.complete, state.promised] {
                digest = digest.append(&number.to_be_bytes());
            }
        }
        let mut pages: Vec<Vec<pb::ReplicaState>> =
            states.chunks(PAGE).map(<[_]>::to_vec).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let count = pages.len();
        (0..)
            .zip(pages)
            .map(|(page, replicas)| {
                let last = page as usize + 1 == count;
                pb::ReportRequest {
                    session: self.session.id,
                    report: 1,
                    page,
                    replicas,
                    last,
                    count: if last { states.len() as u64 } else { 0 },
                    digest: if last { digest.0 } else { 0 },
                }
            })
            .collect()
    }

    fn next_page(&mut self, ctx: &mut Context) {
        let Some(page) = self.session.pages.pop() else { return };
        let stream = ctx.open(self.me(), Node::Master, Wire::Report(Box::new(page)));
        self.roles.insert(stream, Role::Report);
        self.session.asking = Some(stream);
    }

    pub(super) fn reported(
        &mut self,
        ctx: &mut Context,
        result: Result<Box<Response>, Box<pb::ErrorDetail>>,
    ) {
        self.session.asking = None;
        match result {
            Ok(_) => self.next_page(ctx),
            Err(_) => self.session_ended(ctx),
        }
    }

    /// A stream of the session broke, or the master does not know it: from the start.
    pub(super) fn session_ended(&mut self, ctx: &mut Context) {
        let ended = std::mem::take(&mut self.session);
        let me = self.me();
        ctx.note(me, format_args!("has no session"));
        for stream in [ended.beats, ended.commands, ended.asking].into_iter().flatten() {
            self.roles.remove(&stream);
            ctx.close(me, stream);
        }
        let pause = ctx.dice.range(50_000, 300_000);
        ctx.after(me, pause, Timer { kind: REGISTER, number: 0 });
    }

    pub(super) fn watch_session(&mut self, ctx: &mut Context) {
        let live = self.session.id != 0 || self.session.asking.is_some();
        if live && ctx.millis().since(self.session.heard_at) > SILENCE {
            self.session_ended(ctx);
        }
    }

    /// Says something on the stream of commands.
    pub(super) fn tell(&mut self, ctx: &mut Context, body: pb::server_message::Body) {
        if let Some(stream) = self.session.commands {
            let message = Wire::FromServer(Box::new(body));
            ctx.note(self.me(), format_args!("-> {message}"));
            ctx.send(self.me(), stream, message);
        }
    }

    pub(super) fn notice(&mut self, ctx: &mut Context, notice: pb::Notice) {
        self.tell(ctx, pb::server_message::Body::Notice(notice));
    }
}
