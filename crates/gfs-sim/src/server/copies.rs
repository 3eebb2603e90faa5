//! Clones and equalisations: the side that copies, and the side that is copied from.
//!
//! First the source's header, which makes the plan; then the blocks that differ, each verified
//! against its checksum and the plan before it is written.

use super::{COPY, Role, Server, failure, node_at};
use crate::context::{Context, Timer};
use crate::disk::Stored;
use crate::network::StreamId;
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::replica::{CommandId, Copy, CopyPlan, Event};
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, BlockSums, ErrorCode};
use std::collections::VecDeque;

/// Silence of a source after which the next one is asked, in microseconds.
const PATIENCE: u64 = 1_500_000;

/// A copy under way.
#[derive(Debug)]
pub(super) struct Copying {
    id: CommandId,
    version: u64,
    /// Still to be tried, the best last.
    sources: Vec<pb::ServerLocation>,
    source: Option<pb::ServerLocation>,
    stream: Option<StreamId>,
    plan: Option<CopyPlan>,
    going: bool,
    /// Blocks that came and are to be written; the first is being written.
    queue: VecDeque<(u32, Bytes)>,
    ended: bool,
    aborted: bool,
    copied: u64,
    heard_at: u64,
}

impl Server {
    pub(super) fn plan_copy(&mut self, ctx: &mut Context, handle: u64, id: CommandId, copy: Copy) {
        let (version, sources) = match copy {
            Copy::Clone(clone) => (clone.version, clone.sources),
            Copy::Equalize(e) => (e.next, e.source.into_iter().chain(e.others).collect()),
        };
        let copying = Copying {
            id,
            version,
            sources: sources.into_iter().rev().collect(),
            source: None,
            stream: None,
            plan: None,
            going: false,
            queue: VecDeque::new(),
            ended: false,
            aborted: false,
            copied: 0,
            heard_at: 0,
        };
        self.copying.insert(handle, copying);
        self.ask_source(ctx, handle);
    }

    /// Asks the next source for its header. Without one the copy has failed.
    fn ask_source(&mut self, ctx: &mut Context, handle: u64) {
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        let Some(source) = copying.sources.pop() else {
            let error = failure(ErrorCode::Unreachable, "no source could be copied");
            return self.end_copy(ctx, handle, Err(error));
        };
        copying.source = Some(source);
        copying.ended = false;
        // The plan of the first source says what the blocks of the others must be.
        match copying.plan.as_ref().map(CopyPlan::wanted) {
            Some(wanted) => self.dial_source(ctx, handle, false, wanted),
            None => self.dial_source(ctx, handle, true, Vec::new()),
        }
    }

    fn dial_source(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        checksums_only: bool,
        blocks: Vec<pb::BlockRange>,
    ) {
        let me = self.me();
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        let Some(node) = copying.source.as_ref().and_then(node_at) else { return };
        let version = copying.version;
        let request = pb::CopyRequest { header: None, handle, version, checksums_only, blocks };
        let stream = ctx.open(me, node, Wire::Copy(request));
        copying.stream = Some(stream);
        copying.heard_at = ctx.now.0;
        self.roles.insert(stream, Role::CopyOut { handle });
        ctx.after(me, PATIENCE, Timer { kind: COPY, number: handle });
    }

    /// The side that is copied from.
    pub(super) fn copy_in(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        request: &pb::CopyRequest,
    ) {
        let me = self.me();
        let handle = request.handle;
        let result = match self.disk.chunks.get(&handle) {
            None => Err(failure(ErrorCode::UnknownChunk, "no such chunk")),
            Some(stored) if stored.header.complete == 0 => {
                Err(failure(ErrorCode::StaleVersion, "it is not complete here"))
            }
            Some(stored) if self.doubts(stored, request.version) => {
                Err(failure(ErrorCode::Fenced, "it may have lost bytes in a power loss"))
            }
            Some(_) if self.cannot_read(ctx) => {
                Err(failure(ErrorCode::DiskError, "the disk cannot be read"))
            }
            Some(stored) => {
                if request.checksums_only {
                    let header = pb::CopyHeader {
                        promised: stored.header.promised,
                        complete: stored.header.complete,
                        length: stored.header.length,
                        serial: stored.header.serial,
                        sums: stored.sums(),
                        window: stored.header.window.entries().cloned().collect(),
                        inode: stored.identity.inode,
                        index: stored.identity.index,
                        start: stored.identity.start,
                        sealed: stored.header.sealed,
                        forgot: stored.header.window.forgot(),
                    };
                    let body = Box::new(pb::copy_reply::Body::Header(header));
                    ctx.send(me, stream, Wire::Copied(body, Bytes::new()));
                }
                let wanted = request.blocks.iter().flat_map(|r| r.first..r.first + r.count);
                for block in wanted {
                    let start = block.saturating_mul(BLOCK_SIZE);
                    let length = stored.header.length.saturating_sub(start).min(BLOCK_SIZE);
                    if !stored.is_sound(block) || length == 0 {
                        let damaged = pb::BlockRange { first: block, count: 1 };
                        let body = Box::new(pb::copy_reply::Body::Damaged(damaged));
                        ctx.send(me, stream, Wire::Copied(body, Bytes::new()));
                        continue;
                    }
                    let payload = stored.bytes(start, length);
                    let sums = BlockSums::of(start, std::slice::from_ref(&payload));
                    let blocks = pb::CopyBlocks {
                        first: block,
                        length,
                        sums: sums.0.into_iter().map(|sum| sum.0).collect(),
                    };
                    let body = Box::new(pb::copy_reply::Body::Blocks(blocks));
                    ctx.send(me, stream, Wire::Copied(body, payload));
                }
                Ok(())
            }
        };
        ctx.send(me, stream, Wire::Status(result.map_err(Box::new)));
        ctx.close(me, stream);
    }

    /// Whether a replica is nothing to copy from: it was not compared since a loss of power, nor is
    /// it what the others are being made equal to.
    fn doubts(&self, stored: &Stored, version: u64) -> bool {
        let chosen = version > stored.header.complete && version == stored.header.promised;
        stored.is_suspect() && !chosen
    }

    /// Something came from the source.
    pub(super) fn copied(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        stream: StreamId,
        body: pb::copy_reply::Body,
        payload: Bytes,
    ) {
        let chunk_size = self.chunk_size;
        let Some(copying) = self.copying.get_mut(&handle).filter(|c| c.stream == Some(stream))
        else {
            return;
        };
        copying.heard_at = ctx.now.0;
        match body {
            pb::copy_reply::Body::Header(header) => {
                let Some(stored) = self.disk.chunks.get(&handle) else { return };
                let plan = CopyPlan::new(
                    &header,
                    chunk_size,
                    stored.header.length,
                    &stored.sums(),
                    &stored.damaged(),
                );
                match plan {
                    Ok(plan) => {
                        copying.plan = Some(plan);
                        let id = copying.id;
                        // The stream of the header is done with.
                        copying.stream = None;
                        self.roles.remove(&stream);
                        ctx.close(self.me(), stream);
                        let source_complete = header.complete;
                        self.step(ctx, handle, Event::CopyPlanned { id, source_complete });
                    }
                    Err(error) => {
                        let error = failure(ErrorCode::Internal, error.to_string());
                        self.end_copy(ctx, handle, Err(error));
                    }
                }
            }
            pb::copy_reply::Body::Blocks(blocks) => self.take_blocks(ctx, handle, blocks, payload),
            // Another source may have it.
            pb::copy_reply::Body::Damaged(_) => {}
        }
    }

    fn take_blocks(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        mut blocks: pb::CopyBlocks,
        mut payload: Bytes,
    ) {
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        let Some(plan) = copying.plan.as_ref() else { return };
        let start = blocks.first.saturating_mul(BLOCK_SIZE);
        let sums = |payload: &Bytes| {
            let sums = BlockSums::of(start, std::slice::from_ref(payload));
            sums.0.into_iter().map(|sum| sum.0).collect::<Vec<u32>>()
        };
        let mut checked =
            if sums(&payload) == blocks.sums && blocks.length as usize == payload.len() {
                Ok(())
            } else {
                Err(failure(ErrorCode::Corrupt, "a block does not match its checksum"))
            };
        // A source that is written to meanwhile has a longer tail than it said.
        let room = plan.length().saturating_sub(start) as usize;
        if checked.is_ok() && payload.len() > room {
            payload.truncate(room);
            blocks.length = room as u32;
            blocks.sums = sums(&payload);
        }
        if checked.is_ok() {
            checked =
                plan.check(&blocks).map_err(|error| failure(ErrorCode::Corrupt, error.to_string()));
        }
        if let Err(error) = checked {
            return self.end_copy(ctx, handle, Err(error));
        }
        copying.queue.push_back((blocks.first, payload));
        if copying.queue.len() == 1 {
            self.write_next(ctx, handle);
        }
    }

    fn write_next(&mut self, ctx: &mut Context, handle: u64) {
        let delay = ctx.dice.range(self.manners.delay.0, self.manners.delay.1 + 1);
        ctx.after(self.me(), delay, Timer { kind: COPY, number: handle });
    }

    /// A block is written, or the source was silent for too long.
    pub(super) fn copy_written(&mut self, ctx: &mut Context, handle: u64) {
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        if let Some((first, payload)) = copying.queue.pop_front() {
            copying.heard_at = ctx.now.0;
            copying.copied += payload.len() as u64;
            if self.manners.read_only {
                let error = failure(ErrorCode::DiskError, "the volume is read-only");
                return self.end_copy(ctx, handle, Err(error));
            }
            if let Some(stored) = self.disk.chunks.get_mut(&handle) {
                stored.put_blocks(first, &payload);
            }
            let count = payload.len().div_ceil(BLOCK_SIZE as usize) as u32;
            if let Some(plan) = &mut copying.plan {
                plan.written(first, count);
            }
            if copying.aborted {
                copying.queue.clear();
            }
            if copying.queue.is_empty() {
                self.go_on_copying(ctx, handle);
            } else {
                self.write_next(ctx, handle);
            }
        } else if copying.stream.is_some() && ctx.now.0 >= copying.heard_at + PATIENCE {
            self.source_failed(ctx, handle);
        }
    }

    fn go_on_copying(&mut self, ctx: &mut Context, handle: u64) {
        let Some(copying) = self.copying.get(&handle) else { return };
        let Some(plan) = copying.plan.as_ref() else { return };
        if copying.aborted {
            let error = failure(ErrorCode::Cancelled, "the copy was stopped");
            self.end_copy(ctx, handle, Err(error));
        } else if copying.going && plan.is_done() {
            let outcome = plan.outcome();
            self.end_copy(ctx, handle, Ok(outcome));
        } else if copying.ended {
            self.ask_source(ctx, handle);
        }
    }

    pub(super) fn go_copy(&mut self, ctx: &mut Context, handle: u64, id: CommandId) {
        let Some(copying) = self.copying.get_mut(&handle).filter(|c| c.id == id) else { return };
        let Some(plan) = &copying.plan else { return };
        copying.going = true;
        let wanted = plan.wanted();
        if wanted.is_empty() {
            self.go_on_copying(ctx, handle);
        } else {
            self.dial_source(ctx, handle, false, wanted);
        }
    }

    pub(super) fn abort_copy(&mut self, ctx: &mut Context, handle: u64, id: CommandId) {
        let Some(copying) = self.copying.get_mut(&handle).filter(|c| c.id == id) else { return };
        copying.aborted = true;
        if copying.queue.is_empty() {
            let error = failure(ErrorCode::Cancelled, "the copy was stopped");
            self.end_copy(ctx, handle, Err(error));
        }
    }

    /// The stream of the copy ended with a status.
    pub(super) fn copy_status(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        stream: StreamId,
        result: Result<(), Box<pb::ErrorDetail>>,
    ) {
        self.roles.remove(&stream);
        let Some(copying) = self.copying.get_mut(&handle).filter(|c| c.stream == Some(stream))
        else {
            return;
        };
        match result {
            Err(_) => self.source_failed(ctx, handle),
            Ok(()) => {
                copying.stream = None;
                copying.ended = true;
                if copying.queue.is_empty() {
                    self.go_on_copying(ctx, handle);
                }
            }
        }
    }

    pub(super) fn copy_broken(&mut self, ctx: &mut Context, handle: u64, stream: StreamId) {
        if self.copying.get(&handle).is_some_and(|c| c.stream == Some(stream)) {
            self.source_failed(ctx, handle);
        }
    }

    fn source_failed(&mut self, ctx: &mut Context, handle: u64) {
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        if let Some(stream) = copying.stream.take() {
            self.roles.remove(&stream);
            ctx.close(Self::me(self), stream);
        }
        let Some(copying) = self.copying.get_mut(&handle) else { return };
        if copying.queue.is_empty() {
            self.ask_source(ctx, handle);
        } else {
            // What is being written is written first.
            copying.ended = true;
        }
    }

    fn end_copy(
        &mut self,
        ctx: &mut Context,
        handle: u64,
        result: Result<gfs_core::replica::CopyOutcome, pb::ErrorDetail>,
    ) {
        let Some(copying) = self.copying.remove(&handle) else { return };
        if let Some(stream) = copying.stream {
            self.roles.remove(&stream);
            ctx.close(self.me(), stream);
        }
        self.last_copied = (handle, copying.copied);
        self.step(ctx, handle, Event::CopyEnded { id: copying.id, result });
    }

    /// Bytes that the copy of the command just answered has copied.
    pub(super) fn copied_by(&mut self, handle: u64) -> u64 {
        let (of, bytes) = self.last_copied;
        if of == handle {
            self.last_copied = (0, 0);
            bytes
        } else {
            0
        }
    }
}
