//! Disk operations of replicas, on the threads that may block.

use crate::chunks::{Chunk, Payload};
use crate::node::Node;
use crate::store::{
    Extent, NewChunk, Place, Position, StateChange, StoreError, StoreResult, Write, WriteKind,
};
use gfs_core::replica::{CopyOutcome, DiskOp, Identity};
use gfs_proto::v1 as pb;
use gfs_types::{
    BlockSums, ChunkHandle, ClientId, Crc, ErrorCode, GfsError, InodeId, OpSequence, Serial,
    Version,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Node {
    /// Runs a call of the store, about one replica, on a thread that may wait for its disk.
    ///
    /// # Errors
    /// Those of the store. A disk that hangs is waited for until its volume counts as gone.
    pub(crate) async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        handle: ChunkHandle,
        call: impl FnOnce() -> StoreResult<T> + Send + 'static,
    ) -> Result<T, pb::ErrorDetail> {
        let bay = self.volumes.bay(handle).map_err(|error| self.disk_error(operation, error))?;
        let node = Arc::clone(self);
        let done = bay.blocking(move || node.timed(operation, call));
        tokio::select! {
            done = done => done.unwrap_or_else(|_| {
                let text = format!("{operation}: the disk operation panicked");
                Err(pb::ErrorDetail::new(ErrorCode::Internal, text))
            }),
            () = bay.gone() => {
                let why = bay.service().reason().to_owned();
                let error = StoreError::OutOfService { dir: bay.dir.clone(), why };
                Err(self.disk_error(operation, error))
            }
        }
    }

    /// Runs a call of the store, here, and counts its errors.
    pub(crate) fn timed<T>(
        &self,
        operation: &'static str,
        call: impl FnOnce() -> StoreResult<T>,
    ) -> Result<T, pb::ErrorDetail> {
        call().map_err(|error| self.disk_error(operation, error))
    }

    pub(crate) fn disk_error(&self, operation: &'static str, error: StoreError) -> pb::ErrorDetail {
        if matches!(error.code(), ErrorCode::DiskError | ErrorCode::NoSpace) {
            self.metrics.disk_errors.with([operation]).inc();
            tracing::warn!(operation, %error, "a disk operation failed");
        }
        GfsError::from(error).into()
    }

    /// Carries out an operation of a replica. Blocks.
    pub(crate) fn execute(
        &self,
        chunk: &Chunk,
        op: DiskOp<Payload>,
    ) -> Result<(), pb::ErrorDetail> {
        let handle = ChunkHandle(chunk.handle);
        match op {
            DiskOp::Create { length, .. } if length > 0 => {
                Err(unsupported("a chunk of zeros cannot be made yet"))
            }
            DiskOp::Create { identity, version, .. } => {
                self.timed("create", || self.volumes.create(new_chunk(&identity, version)))
            }
            DiskOp::Write { append: true, .. } => {
                Err(unsupported("records cannot be appended yet"))
            }
            DiskOp::Write { version, serial, writer, sequence, offset, parts, .. } => {
                let [part] = parts.as_slice() else {
                    return Err(unsupported("mutations of several parts cannot be written yet"));
                };
                let sums = BlockSums(part.sums.iter().map(|sum| Crc(*sum)).collect());
                let write = Write {
                    version: Version(version),
                    serial: Serial(serial),
                    kind: WriteKind::Sequential,
                    offset,
                    pieces: &part.payload,
                    sums: &sums,
                    writer: Some((ClientId(writer), OpSequence(sequence))),
                };
                self.timed("write", || self.volumes.write(handle, &write))?;
                self.counts.written.fetch_add(u64::from(part.length), Ordering::Relaxed);
                self.metrics.written.inc_by(u64::from(part.length));
                Ok(())
            }
            DiskOp::Promise { next } => {
                let change = StateChange { promised: Some(Version(next)), ..Default::default() };
                self.change(handle, &change)
            }
            DiskOp::Complete { version, sealed, length } => {
                if self.timed("header", || self.volumes.state(handle))?.content.length != length {
                    return Err(unsupported("a chunk cannot be cut yet"));
                }
                let complete = Position { version: Version(version), serial: Serial(0) };
                let change = StateChange {
                    promised: Some(Version(version)),
                    complete: Some(complete),
                    sealed: Some(sealed),
                    incomplete: Some(false),
                    trusted: true,
                    ..Default::default()
                };
                self.change(handle, &change)?;
                chunk.inner().suspect = false;
                Ok(())
            }
            DiskOp::Seal => {
                self.change(handle, &StateChange { sealed: Some(true), ..Default::default() })
            }
            DiskOp::Demote => {
                self.change(handle, &StateChange { incomplete: Some(true), ..Default::default() })
            }
            DiskOp::Become(outcome) => self.timed("become", || self.become_copy(handle, &outcome)),
            DiskOp::Flush => self.timed("flush", || self.volumes.sync(handle)),
            DiskOp::Delete => {
                // Whether it may be deleted was decided when the command was judged.
                self.timed("delete", || match self.volumes.delete(handle, Version(u64::MAX)) {
                    Err(StoreError::UnknownChunk(_)) => Ok(()),
                    done => done,
                })
            }
        }
    }

    fn change(&self, handle: ChunkHandle, change: &StateChange) -> Result<(), pb::ErrorDetail> {
        self.timed("header", || self.volumes.set_state(handle, change, false))
    }

    /// Takes over what a copy made of the replica: length, serial and window in one write.
    fn become_copy(&self, handle: ChunkHandle, outcome: &CopyOutcome) -> StoreResult<()> {
        let state = self.volumes.state(handle)?;
        let serial = Serial(outcome.serial);
        let complete = Position { version: state.complete.version, serial };
        let change = StateChange {
            complete: (!state.flags.incomplete).then_some(complete),
            content: Some(Extent { length: outcome.length, tail: Crc(outcome.tail) }),
            window: Some(outcome.window.clone()),
            ..Default::default()
        };
        self.volumes.set_state(handle, &change, false)
    }
}

fn unsupported(text: &str) -> pb::ErrorDetail {
    pb::ErrorDetail::new(ErrorCode::Unsupported, text)
}

fn new_chunk(identity: &Identity, version: u64) -> NewChunk {
    NewChunk {
        handle: ChunkHandle(identity.handle),
        place: Place {
            inode: InodeId(identity.inode),
            index: u64::from(identity.index),
            chunk_start: identity.start,
            goal: identity.copies,
        },
        promised: Version(version),
        complete: Version(version),
        incomplete: version == 0,
    }
}
