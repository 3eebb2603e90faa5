//! Open, Allocate, Recover, Sync, Close: the life of a file being written.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, GfsError, InodeId, ServerNumber};

use super::{Caller, Outcome};
use crate::brain::chunks::{Waiter, WaiterKind, Want};
use crate::brain::namespace::Extent;
use crate::brain::step::Brain;
use crate::brain::work::Work;
use crate::brain::writers::Waiting;
use crate::brain::{Response, Token};

/// Chunks that a Close may finish.
const FINISHED_AT_MOST: usize = 64;
/// Unreachable servers that a Recover may name.
const UNREACHABLE_AT_MOST: usize = 64;

fn internal(text: &str) -> GfsError {
    GfsError::new(ErrorCode::Internal, text)
}

impl Brain {
    pub(super) fn open(
        &mut self,
        work: &mut Work,
        token: Token,
        caller: Caller,
        request: &pb::OpenRequest,
    ) -> Outcome {
        let (inode, node) = self.node_meant(work, request.inode, &request.path)?;
        if node.file().is_none() {
            return Err(GfsError::new(
                ErrorCode::IsADirectory,
                format!("inode {inode} is a directory"),
            ));
        }
        let near = request.place.clone().unwrap_or_default();
        if !request.write && !request.append {
            return Ok(Some(Response::Open(pb::OpenResponse {
                attributes: Some(self.attributes(inode, node)),
                chunks: self.first_locations(inode, request.locations, &near),
                last: None,
                epoch: self.term.epoch.0,
            })));
        }
        if request.write && request.append {
            return Err(GfsError::invalid("a file is opened for write or to append, not for both"));
        }

        self.is_being_cut(inode)?;
        let acquired = self.acquire(work, inode, caller.client, request.append)?;
        let waiting = Waiting {
            client: caller.client,
            sequence: caller.sequence,
            inode,
            near,
            locations: request.locations as usize,
            acquired,
            since: work.now.mono,
            repeats: Vec::new(),
        };
        // Where others append already, their primary takes this one's records, too.
        let shared = self.writers.get(&inode).is_some_and(|writing| writing.clients.len() > 1);
        let last = self.open_chunk(inode);
        if let Some(last) = last.filter(|last| shared && self.chunks.has_primary(*last)) {
            let location = self.chunks.location(last, &waiting.near);
            return self.opened(work, &waiting, location).map(Some);
        }
        let answer = self.settle(work, token, &waiting, None);
        if answer.is_err() && acquired {
            self.leave(work, inode, caller.client);
        }
        answer
    }

    /// The answer of an Open for write or to append, when the file is in order.
    pub(in crate::brain) fn opened(
        &self,
        _work: &mut Work,
        waiting: &Waiting,
        last: Option<pb::ChunkLocation>,
    ) -> Result<Response, GfsError> {
        let asked = u32::try_from(waiting.locations).unwrap_or(u32::MAX);
        Ok(Response::Open(pb::OpenResponse {
            attributes: self.attributes_of(waiting.inode),
            chunks: self.first_locations(waiting.inode, asked, &waiting.near),
            last,
            epoch: self.term.epoch.0,
        }))
    }

    /// The inode of a call for an open file.
    pub(super) fn open_file(&self, work: &mut Work, inode: u64) -> Result<InodeId, GfsError> {
        if inode == 0 {
            return Err(GfsError::invalid("inode 0 is no file"));
        }
        let (id, node) = self.node_meant(work, inode, "")?;
        if node.file().is_none() {
            return Err(GfsError::new(
                ErrorCode::IsADirectory,
                format!("inode {inode} is a directory"),
            ));
        }
        Ok(id)
    }

    pub(super) fn allocate(
        &mut self,
        work: &mut Work,
        caller: Caller,
        request: &pb::AllocateRequest,
    ) -> Result<Response, GfsError> {
        let inode = self.open_file(work, request.inode)?;
        self.written_by(inode, caller.client, work.now.mono)?;
        if let Some(finished) = &request.finished {
            self.finish(work, inode, finished, true).map_err(|e| self.explain(finished, e))?;
        }
        let near = request.place.clone().unwrap_or_default();
        let handle = self.chunk_at(work, inode, request.index as usize, &near)?;
        let chunk = self
            .chunks
            .location(handle, &near)
            .ok_or_else(|| internal("the chunk has no location"))?;
        Ok(Response::Allocate(pb::AllocateResponse { chunk: Some(chunk) }))
    }

    /// The chunk at an index of a file being written: an extent, the spare, or a new one.
    fn chunk_at(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        index: usize,
        near: &pb::Place,
    ) -> Result<ChunkHandle, GfsError> {
        let file = self.namespace.file(inode).ok_or_else(|| internal("no file"))?;
        let count = file.extents.len();
        if let Some(extent) = file.extents.get(index) {
            // A repeat, or the spare that became an extent meanwhile.
            return extent.handle().ok_or_else(|| {
                GfsError::new(ErrorCode::Conflict, format!("extent {index} is a hole"))
            });
        }
        if index > count {
            return Err(GfsError::new(
                ErrorCode::OutOfRange,
                format!("chunk {index} of a file that has {count}"),
            ));
        }
        let writing = self.writers.get(&inode).ok_or_else(|| internal("no writer"))?;
        let last = file.extents.last().copied();
        let chunk_size = u64::from(self.geometry.chunk_size());
        let is_open = last.is_some_and(|last| !self.is_final(last));
        if writing.appends && is_open {
            // Nobody knows where a next one would begin.
            return Err(GfsError::new(
                ErrorCode::Conflict,
                "the chunk before this one is not finished",
            ));
        }
        if let Some(spare) = writing.spare {
            return Ok(spare);
        }

        let start = match last {
            None => 0,
            // Of an open one: as if it became full. If not, the spare is dropped.
            Some(_) if is_open => self.extent_start(file, count - 1).saturating_add(chunk_size),
            Some(_) => self.length_of(file),
        };
        let Ok(index) = u32::try_from(index) else {
            return Err(GfsError::new(ErrorCode::OutOfRange, "too many chunks"));
        };
        if start.saturating_add(chunk_size) > gfs_types::MAX_FILE_LENGTH {
            return Err(GfsError::new(ErrorCode::OutOfRange, "the file is as long as any can be"));
        }
        self.may_grow(inode)?;
        let info = self.chunk_info(inode, index, start);
        let handle = self.new_chunk(work, info, 0, near)?;
        if is_open {
            if let Some(writing) = self.writers.get_mut(&inode) {
                writing.spare = Some(handle);
            }
            work.entry(inode);
        } else if let Some(file) = self.namespace.file_mut(inode) {
            file.extents.push(Extent::chunk(handle));
            let count = file.extents.len();
            work.extent(inode, count - 1, count);
        }
        Ok(handle)
    }

    pub(super) fn recover(
        &mut self,
        work: &mut Work,
        token: Token,
        caller: Caller,
        request: &pb::RecoverRequest,
    ) -> Outcome {
        let inode = self.open_file(work, request.inode)?;
        let handle = ChunkHandle(request.handle);
        let is_extent = self.chunks.info(handle).is_some_and(|info| {
            let file = self.namespace.file(inode).filter(|_| info.inode == inode);
            let extent = file.and_then(|file| file.extents.get(info.index as usize));
            extent == Some(&Extent::chunk(handle))
        });
        let writing = self.writers.get(&inode);
        if !is_extent && writing.is_none_or(|w| w.spare != Some(handle)) {
            return Err(GfsError::new(
                ErrorCode::UnknownChunk,
                format!("chunk {handle} is none of inode {inode}"),
            ));
        }
        let holds_right = writing.is_some_and(|w| w.is_held_by(caller.client));
        // A version change takes the lease away: not while somebody writes. (And a displaced
        // writer must not come back in this way.) But where no primary is left that could say what
        // was acknowledged, a reader need not wait until the writer is known to have vanished.
        let overwrites = !holds_right && self.overwrites(handle, caller.client);
        if !holds_right && !overwrites && self.chunks.has_primary(handle) {
            if let Some(busy) = self.held(inode, work.now.mono) {
                return Err(busy);
            }
            self.is_overwritten(handle)?;
        }
        if holds_right {
            self.written_by(inode, caller.client, work.now.mono)?;
        }
        let unreachable = unreachable(&request.unreachable, holds_right || overwrites)?;
        let record = self.chunks.record(handle).ok_or_else(|| internal("no such chunk"))?;
        let version = record.version.max(1);
        if request.version > version {
            return Err(GfsError::new(
                ErrorCode::StaleVersion,
                format!("chunk {handle} is at version {version}, not {}", request.version),
            ));
        }
        let waiting = Waiting {
            client: caller.client,
            sequence: caller.sequence,
            inode,
            near: request.place.clone().unwrap_or_default(),
            locations: 0,
            acquired: false,
            since: work.now.mono,
            repeats: Vec::new(),
        };
        self.wait(token, waiting)?;
        let waiter = Waiter { token, kind: WaiterKind::Recover };
        self.chunks.recover(
            work.now,
            handle,
            request.version,
            &unreachable,
            match (holds_right, overwrites) {
                (true, _) => Want::Extend,
                (false, true) => Want::Overwrite,
                (false, false) => Want::Read,
            },
            waiter,
            &mut work.chunks,
        );
        Ok(None)
    }

    pub(super) fn sync(
        &mut self,
        work: &mut Work,
        caller: Caller,
        request: &pb::SyncRequest,
    ) -> Result<Response, GfsError> {
        let inode = self.open_file(work, request.inode)?;
        self.written_by(inode, caller.client, work.now.mono)?;
        if let Some(last) = &request.last {
            let before = self.namespace.file(inode).map(|file| self.length_of(file));
            self.finish(work, inode, last, false).map_err(|error| self.explain(last, error))?;
            let after = self.namespace.file(inode).map(|file| self.length_of(file));
            if before != after {
                self.modified(work, inode);
            }
        }
        Ok(Response::Sync(pb::SyncResponse { attributes: self.attributes_of(inode) }))
    }

    pub(super) fn close(
        &mut self,
        work: &mut Work,
        caller: Caller,
        request: &pb::CloseRequest,
    ) -> Result<Response, GfsError> {
        let inode = self.open_file(work, request.inode)?;
        let writing = self.written_by(inode, caller.client, work.now.mono)?;
        let (created, appends) = (writing.created, writing.appends);
        if request.abandon {
            if !created {
                return Err(GfsError::new(
                    ErrorCode::Conflict,
                    "only a file that this client has just created can be abandoned: remove it",
                ));
            }
            let attributes = self.attributes_of(inode);
            self.dispose(work, inode);
            return Ok(Response::Close(pb::CloseResponse { attributes }));
        }
        if request.finished.len() > FINISHED_AT_MOST {
            return Err(GfsError::invalid(format!(
                "at most {FINISHED_AT_MOST} chunks can be finished at once"
            )));
        }
        for finished in &request.finished {
            self.finish(work, inode, finished, false)
                .map_err(|error| self.explain(finished, error))?;
        }
        if appends {
            // What the others had acknowledged only the replicas know.
            self.leave(work, inode, caller.client);
        } else {
            self.drop_empty_last(work, inode);
            self.give_up_right(work, inode);
        }
        self.modified(work, inode);
        Ok(Response::Close(pb::CloseResponse { attributes: self.attributes_of(inode) }))
    }

    /// The file changed just now.
    pub(in crate::brain) fn modified(&mut self, work: &mut Work, inode: InodeId) {
        if let Some(node) = self.namespace.get_mut(inode) {
            node.modified_at = work.now.wall.0.max(node.modified_at);
            work.entry(inode);
        }
    }

    /// Says what version the chunk has, where that is the matter.
    fn explain(&self, finished: &pb::FinishedChunk, error: GfsError) -> GfsError {
        if error.code != ErrorCode::StaleVersion {
            return error;
        }
        let version = self
            .chunks
            .record(ChunkHandle(finished.handle))
            .map_or(0, |record| record.version.max(1));
        GfsError::new(
            ErrorCode::StaleVersion,
            format!(
                "chunk {} is at version {version}, not {}: recover it",
                ChunkHandle(finished.handle),
                finished.version
            ),
        )
    }
}

/// Which servers a caller could not reach; only who writes is believed about that.
///
/// # Errors
/// INVALID_ARGUMENT if it names absurdly many.
pub(super) fn unreachable(told: &[u32], believed: bool) -> Result<Vec<ServerNumber>, GfsError> {
    if told.len() > UNREACHABLE_AT_MOST {
        return Err(GfsError::invalid("too many unreachable servers"));
    }
    Ok(told.iter().filter(|_| believed).map(|number| ServerNumber(*number)).collect())
}
