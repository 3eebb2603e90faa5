//! Lease and Truncate: changing what is there.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, GfsError, MAX_FILE_LENGTH};

use super::write::unreachable;
use super::{Caller, Outcome};
use crate::brain::chunks::{Waiter, WaiterKind, Want};
use crate::brain::namespace::{Extent, Hole};
use crate::brain::step::Brain;
use crate::brain::work::Work;
use crate::brain::writers::Waiting;
use crate::brain::{Response, Token};

impl Brain {
    pub(super) fn lease(
        &mut self,
        work: &mut Work,
        token: Token,
        caller: Caller,
        request: &pb::LeaseRequest,
    ) -> Outcome {
        let inode = self.open_file(work, request.inode)?;
        self.is_being_cut(inode)?;
        let near = request.place.clone().unwrap_or_default();
        let missing = || GfsError::new(ErrorCode::Internal, format!("no file {inode}"));
        let file = self.namespace.file(inode).ok_or_else(missing)?;
        let index = self.extent_at(file, request.offset);
        let beyond = || {
            let offset = request.offset;
            GfsError::new(
                ErrorCode::OutOfRange,
                format!("offset {offset} is behind the file's end"),
            )
        };
        let extent = *file.extents.get(index).ok_or_else(beyond)?;
        // How long a chunk is that is being written only its primary knows.
        let grows = !self.is_final(extent) && self.writers.contains_key(&inode);
        let room = if grows { self.geometry.chunk_size() } else { self.extent_length(extent) };
        if request.offset >= self.extent_start(file, index).saturating_add(room.into()) {
            return Err(beyond());
        }
        let handle = match extent.handle() {
            Some(handle) => handle,
            None => self.fill_hole(work, inode, index, &near)?,
        };
        let waiting = Waiting {
            client: caller.client,
            sequence: caller.sequence,
            inode,
            near,
            locations: 0,
            acquired: false,
            since: work.now.mono,
            repeats: Vec::new(),
        };
        let version = self.chunks.version(handle);
        if request.version > version {
            let failed = request.version;
            let text = format!("chunk {handle} is at version {version}, not {failed}");
            return Err(GfsError::new(ErrorCode::StaleVersion, text));
        }
        // A primary may have given up its role without being able to say so.
        if request.version < version && self.chunks.has_primary(handle) {
            return self.leased(&waiting, handle).map(Some);
        }
        let believed = self.overwrites(handle, caller.client);
        let unreachable = unreachable(&request.unreachable, believed)?;
        self.wait(token, waiting)?;
        let waiter = Waiter { token, kind: WaiterKind::Lease };
        let want = Want::Overwrite;
        self.chunks.recover(
            work.now,
            handle,
            version,
            &unreachable,
            want,
            waiter,
            &mut work.chunks,
        );
        Ok(None)
    }

    /// The answer of a Lease, when the chunk should have a primary.
    pub(in crate::brain) fn leased(
        &mut self,
        waiting: &Waiting,
        handle: ChunkHandle,
    ) -> Result<Response, GfsError> {
        let location = self.chunks.location(handle, &waiting.near);
        let chunk = location.filter(|chunk| chunk.primary != 0).ok_or_else(|| {
            GfsError::new(ErrorCode::Busy, format!("the lease of chunk {handle} ended just now"))
        })?;
        self.note_overwriter(handle, waiting.client);
        Ok(Response::Lease(pb::LeaseResponse { chunk: Some(chunk) }))
    }

    pub(super) fn truncate(
        &mut self,
        work: &mut Work,
        token: Token,
        caller: Caller,
        request: &pb::TruncateRequest,
    ) -> Outcome {
        if request.length > MAX_FILE_LENGTH {
            return Err(GfsError::new(
                ErrorCode::OutOfRange,
                format!("{} bytes: a file has at most {MAX_FILE_LENGTH}", request.length),
            ));
        }
        let (inode, node) = self.node_meant(work, request.inode, &request.path)?;
        if node.file().is_none() {
            return Err(GfsError::new(
                ErrorCode::IsADirectory,
                format!("inode {inode} is a directory"),
            ));
        }
        self.is_being_cut(inode)?;
        if let Some(busy) = self.held(inode, work.now.mono) {
            return Err(busy);
        }
        if self.writers.contains_key(&inode) {
            self.end_writing(work, inode);
        }
        if self.writers.contains_key(&inode) {
            return Err(GfsError::new(
                ErrorCode::Busy,
                format!("how much was written to inode {inode} last is being found out"),
            ));
        }
        self.may_grow(inode)?;
        let missing = || GfsError::new(ErrorCode::Internal, format!("no file {inode}"));
        let file = self.namespace.file(inode).ok_or_else(missing)?;
        let length = self.length_of(file);
        if request.length > length {
            self.extend(work, inode, request.length)?;
        } else if request.length < length {
            let (keep, within) = self.place_of_cut(file, request.length);
            let last = keep.checked_sub(1).and_then(|last| file.extents.get(last)).copied();
            let cut = last.filter(|last| self.extent_length(*last) > within);
            if let Some(handle) = cut.and_then(Extent::handle) {
                let waiting = Waiting {
                    client: caller.client,
                    sequence: caller.sequence,
                    inode,
                    near: pb::Place::default(),
                    locations: 0,
                    acquired: false,
                    since: work.now.mono,
                    repeats: Vec::new(),
                };
                self.wait(token, waiting)?;
                self.cutting.insert(inode, token);
                let waiter = Waiter { token, kind: WaiterKind::Truncate };
                self.chunks.cut(work.now, handle, within, waiter, &mut work.chunks);
                return Ok(None);
            }
            if let Some(hole) = cut.and_then(Extent::as_hole)
                && let Some(file) = self.namespace.file_mut(inode)
                && let Some(extent) = file.extents.get_mut(keep - 1)
            {
                *extent = Extent::hole(Hole { length: within, ..hole });
            }
            self.shorten(work, inode, keep);
        }
        // Also where nothing is to be done: the outcome is recorded with it.
        self.modified(work, inode);
        let attributes = self.attributes_of(inode);
        Ok(Some(Response::Truncate(pb::TruncateResponse { attributes })))
    }
}
