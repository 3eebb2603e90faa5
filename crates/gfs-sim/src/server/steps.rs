//! Steps of a replica: what it wants done is done.

use super::{Asked, DISK, Role, Server, failure, node_at};
use crate::context::{Context, Timer};
use crate::disk::Stored;
use crate::network::StreamId;
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::replica::{CommandId, DiskOp, Event, Output, Part, Replica, digest};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;

fn length_of(parts: &[Part<Bytes>]) -> u64 {
    parts.iter().map(|part| u64::from(part.length)).sum()
}

impl Server {
    /// Feeds a replica an event and carries out what comes of it.
    pub(super) fn step(&mut self, ctx: &mut Context, handle: u64, event: Event<Bytes>) {
        let settings = self.settings();
        let replica =
            self.replicas.entry(handle).or_insert_with(|| Replica::absent(settings, handle));
        let mut outputs = Vec::new();
        replica.step(ctx.millis(), event, &mut outputs);
        for output in outputs {
            self.carry_out(ctx, handle, output);
        }
    }

    fn carry_out(&mut self, ctx: &mut Context, handle: u64, output: Output<Bytes>) {
        let me = self.me();
        match output {
            Output::Reply { stream, body } => {
                ctx.send(me, StreamId(stream.0), Wire::Pushed(Box::new(body)));
            }
            Output::Dial { stream, next, open } => {
                let Some(node) = node_at(&next) else { return };
                let body = Box::new(pb::push_request::Body::Open(*open));
                let out = ctx.open(me, node, Wire::Push(body, None));
                self.roles.insert(out, Role::PushOut { handle, of: stream });
                self.down.insert(stream, out);
            }
            Output::SendDown { stream, body, payload } => {
                if let Some(out) = self.down.get(&stream) {
                    ctx.send(me, *out, Wire::Push(Box::new(body), payload));
                }
            }
            Output::Close { stream } => {
                let up = StreamId(stream.0);
                self.roles.remove(&up);
                ctx.close(me, up);
                if let Some(out) = self.down.remove(&stream) {
                    self.roles.remove(&out);
                    ctx.close(me, out);
                }
            }
            Output::Disk(op) => self.begin_disk(ctx, handle, op),
            Output::PlanCopy { id, copy } => self.plan_copy(ctx, handle, id, copy),
            Output::GoCopy { id } => self.go_copy(ctx, handle, id),
            Output::AbortCopy { id } => self.abort_copy(ctx, handle, id),
            Output::CommandDone { id, result, digest } => {
                self.command_done(ctx, id, result.err(), digest);
            }
            Output::PrimaryEnded { version, unreachable } => {
                let ended = pb::PrimaryEnded { version, unreachable };
                let body = Some(pb::notice::Body::PrimaryEnded(ended));
                self.notice(ctx, pb::Notice { handle, body });
            }
            Output::WriterVanished { version, writer, length } => {
                let vanished = pb::WriterVanished { version, writer, length };
                let body = Some(pb::notice::Body::WriterVanished(vanished));
                self.notice(ctx, pb::Notice { handle, body });
            }
        }
    }

    fn begin_disk(&mut self, ctx: &mut Context, handle: u64, op: DiskOp<Bytes>) {
        let weight = match &op {
            DiskOp::Write { parts, .. } => length_of(parts) / 500,
            _ => 0,
        };
        let mut delay = ctx.dice.range(self.manners.delay.0, self.manners.delay.1 + 1) + weight;
        if ctx.dice.chance(self.manners.slow.0) {
            delay += ctx.dice.range(0, self.manners.slow.1 + 1);
        }
        self.writing.insert(handle, (ctx.millis(), op));
        ctx.after(self.me(), delay, Timer { kind: DISK, number: handle });
    }

    pub(super) fn disk_done(&mut self, ctx: &mut Context, handle: u64) {
        let Some((_, op)) = self.writing.remove(&handle) else { return };
        let result = self.carry_out_on_disk(ctx, handle, &op);
        if result.as_ref().is_err_and(|error| error.error_code() == ErrorCode::Corrupt) {
            self.tell_damage(ctx, handle);
        }
        match &op {
            DiskOp::Write { serial, offset, parts, .. } => ctx.note(
                self.me(),
                format_args!(
                    "wrote {handle} serial {serial} at {}+{} {}",
                    offset,
                    length_of(parts),
                    result.is_ok()
                ),
            ),
            op => ctx.note(self.me(), format_args!("stored {handle} {op:?} {}", result.is_ok())),
        }
        self.step(ctx, handle, Event::DiskDone { result });
    }

    fn carry_out_on_disk(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        op: &DiskOp<Bytes>,
    ) -> Result<(), pb::ErrorDetail> {
        self.check_disk(handle, op)?;
        if self.manners.fail > 0 && ctx.dice.range(0, 100_000) < self.manners.fail {
            self.disk.tear(handle, op, ctx.dice.range(0, 1 << 18) as usize);
            self.failing = "a write failed".to_owned();
            return Err(failure(ErrorCode::DiskError, "the disk failed"));
        }
        self.disk.apply(handle, op).map_err(|why| failure(ErrorCode::Corrupt, why))
    }

    /// What the store refuses, and what a disk that is full or read-only does not take.
    fn check_disk(&self, handle: u64, op: &DiskOp<Bytes>) -> Result<(), pb::ErrorDetail> {
        if self.manners.read_only {
            return Err(failure(ErrorCode::DiskError, "the volume is read-only"));
        }
        let room = self.manners.room;
        let used = self.disk.used();
        let (bytes, most) = match op {
            DiskOp::Write { parts, .. } => (length_of(parts), room),
            DiskOp::Create { version: 0, .. } => (1, room / 100 * 90),
            DiskOp::Create { .. } => (1, room / 100 * 95),
            _ => (0, u64::MAX),
        };
        if used + bytes > most {
            return Err(failure(ErrorCode::NoSpace, "the disk is full"));
        }
        let stored = self.disk.chunks.get(&handle);
        match op {
            DiskOp::Write { .. } if stored.is_some_and(Stored::is_suspect) => {
                Err(failure(ErrorCode::Fenced, "it was not closed cleanly, nor verified"))
            }
            DiskOp::Write { .. } | DiskOp::Complete { .. }
                if stored.is_some_and(Stored::has_failed) =>
            {
                Err(failure(ErrorCode::DiskError, "a sync of it failed"))
            }
            _ => Ok(()),
        }
    }

    /// Syncs in the background what is due.
    pub(super) fn sync(&mut self, ctx: &mut Context) {
        if self.manners.read_only {
            return;
        }
        let (fail, now) = (self.manners.fail, ctx.millis());
        let fails = || fail > 0 && ctx.dice.range(0, 100_000) < fail;
        if self.disk.background_sync(now, fails) {
            self.failing = "a sync failed".to_owned();
        }
    }

    /// A command of the master.
    pub(super) fn commanded(&mut self, ctx: &mut Context, command: pb::Command) {
        let session = self.session.id;
        let asked = Asked { handle: command.handle, id: command.id, epoch: command.epoch, session };
        if let Err(error) = self.observe(ctx, command.epoch, 0) {
            return self.answer(ctx, asked, Some(error), false);
        }
        let Some(body) = command.body else { return };
        if let pb::command::Body::Verify(_) = body {
            return self.answer(ctx, asked, None, true);
        }
        if let pb::command::Body::Grant(grant) = &body {
            let members = grant.members.iter().map(|member| member.server).collect();
            self.granted.insert(command.handle, members);
        }
        self.last_command += 1;
        let id = CommandId(self.last_command);
        self.commands.insert(id, asked);
        self.step(ctx, command.handle, Event::Command { id, body });
    }

    fn command_done(
        &mut self,
        ctx: &mut Context,
        id: CommandId,
        error: Option<pb::ErrorDetail>,
        digest: bool,
    ) {
        let Some(asked) = self.commands.remove(&id) else { return };
        self.answer(ctx, asked, error, digest);
    }

    fn answer(
        &mut self,
        ctx: &mut Context,
        asked: Asked,
        error: Option<pb::ErrorDetail>,
        digest: bool,
    ) {
        let copied = self.copied_by(asked.handle);
        if asked.session != self.session.id {
            return;
        }
        let result = pb::CommandResult {
            id: asked.id,
            epoch: asked.epoch,
            handle: asked.handle,
            error,
            state: self.state_of(asked.handle, digest),
            copied,
        };
        self.tell(ctx, pb::server_message::Body::Result(result));
    }

    /// What the master is told of a replica.
    pub(super) fn state_of(&self, handle: u64, with_digest: bool) -> Option<pb::ReplicaState> {
        let mut state = self.replicas.get(&handle)?.state()?;
        let stored = self.disk.chunks.get(&handle)?;
        if with_digest {
            state.digest = digest(stored.header.length, &stored.sums());
        }
        state.suspect = stored.is_suspect();
        (state.fsynced_version, state.fsynced_serial) = stored.synced();
        let range = |first| pb::BlockRange { first, count: 1 };
        state.damaged = stored.damaged().into_iter().map(range).collect();
        Some(state)
    }
}
