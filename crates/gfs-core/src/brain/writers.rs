//! Files that are open for write: what length is agreed, and the calls that wait for a version
//! change. (Who may write is in `rights`.)
//!
//! A file has at most one *spare*: its next chunk, asked for early. It becomes an extent when its
//! predecessor is known full; as long as that is not known, no byte of it can be acknowledged.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ClientId, ErrorCode, GfsError, InodeId, Millis};

use super::chunks::{ChunkInfo, Waiter, WaiterKind, Want};
use super::namespace::Extent;
use super::records::{self, EXTENTS_PER_PAGE, page_of};
use super::step::Brain;
use super::work::Work;
use super::{Effect, Response, Token};
use crate::mistakes::Mistake;

/// A call that waits for a version change.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) client: ClientId,
    pub(crate) sequence: u64,
    pub(crate) inode: InodeId,
    pub(crate) near: pb::Place,
    /// Of Open: how many locations.
    pub(crate) locations: usize,
    /// Of Open: the right was given with this call, and goes if it fails.
    pub(crate) acquired: bool,
    pub(crate) since: Millis,
    /// Repeats of the call, answered with it.
    pub(crate) repeats: Vec<Token>,
}

/// Repeats that may wait with a call.
const REPEATS: usize = 16;

impl Brain {
    /// What the chunk table is to know of a chunk of this file.
    pub(super) fn chunk_info(&self, inode: InodeId, index: u32, start: u64) -> ChunkInfo {
        let (copies, durability) = self.namespace.policy(inode);
        let copies = if copies == 0 { self.cluster.default_copies as u8 } else { copies };
        ChunkInfo { inode, index, start, copies, durability }
    }

    /// Makes a chunk for a file, at this position, with a lease: an empty one, or one of so many
    /// zeros that does not grow.
    pub(super) fn new_chunk(
        &mut self,
        work: &mut Work,
        info: ChunkInfo,
        zeros: u32,
        near: &pb::Place,
    ) -> Result<ChunkHandle, GfsError> {
        let handle = ChunkHandle(self.counters.handle.max(1));
        self.chunks.create(work.now, handle, info, zeros, near, &mut work.chunks)?;
        let reuse = self.config.mistakes.has(Mistake::MasterReusesHandle) && handle.0 % 4 == 3;
        if !reuse {
            self.counters.handle = handle.0 + 1;
        }
        Ok(handle)
    }

    /// The spare, if there is one, becomes the last extent. Its predecessor must be full.
    pub(super) fn promote(&mut self, work: &mut Work, inode: InodeId) {
        let Some(writing) = self.writers.get_mut(&inode) else { return };
        let Some(spare) = writing.spare.take() else { return };
        let Some(file) = self.namespace.file_mut(inode) else { return };
        file.extents.push(Extent::chunk(spare));
        let count = file.extents.len();
        work.extent(inode, count - 1, count);
    }

    /// Drops the spare, if there is one.
    pub(super) fn drop_spare(&mut self, work: &mut Work, inode: InodeId) {
        if let Some(spare) = self.writers.get_mut(&inode).and_then(|w| w.spare.take()) {
            self.chunks.discard(spare, &mut work.chunks);
            work.entry(inode);
        }
    }

    /// Takes the last extent away if it is empty.
    pub(super) fn drop_empty_last(&mut self, work: &mut Work, inode: InodeId) {
        let Some(last) = self.last_chunk(inode) else { return };
        if self.chunks.length(last) != 0 {
            return;
        }
        let Some(file) = self.namespace.file_mut(inode) else { return };
        file.extents.pop();
        let index = file.extents.len();
        if index > 0 && index.is_multiple_of(EXTENTS_PER_PAGE) {
            work.deleted.push(records::page_key(inode, page_of(index)));
        } else if page_of(index) > 0 {
            work.pages.push((inode, page_of(index)));
        }
        self.chunks.discard(last, &mut work.chunks);
        work.entry(inode);
    }

    /// Records what a primary confirmed of a chunk of a file. A full chunk is sealed, and so is
    /// any other if `seal`; then the spare follows it. A repeat changes nothing.
    ///
    /// # Errors
    /// As [`Chunks::finish`](super::chunks::Chunks::finish); UNKNOWN_CHUNK for a chunk that is
    /// none of the file's; CONFLICT for a spare whose predecessor is not finished, and for another
    /// length of a chunk that is final.
    pub(super) fn finish(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        finished: &pb::FinishedChunk,
        seal: bool,
    ) -> Result<(), GfsError> {
        let handle = ChunkHandle(finished.handle);
        let chunk_size = self.geometry.chunk_size();
        if finished.length > chunk_size {
            return Err(GfsError::new(
                ErrorCode::OutOfRange,
                format!("{} bytes do not fit into a chunk of {chunk_size}", finished.length),
            ));
        }
        let Some(file) = self.namespace.file(inode) else {
            return Err(GfsError::new(ErrorCode::NotFound, format!("no file {inode}")));
        };
        let Some(index) = file.extents.iter().rposition(|extent| extent.handle() == Some(handle))
        else {
            let is_spare = self.writers.get(&inode).is_some_and(|w| w.spare == Some(handle));
            return Err(if is_spare {
                GfsError::new(ErrorCode::Conflict, "the chunk before this one is not finished")
            } else {
                GfsError::new(
                    ErrorCode::UnknownChunk,
                    format!("chunk {handle} is none of inode {inode}"),
                )
            });
        };
        let is_last = index + 1 == file.extents.len();
        if self.is_sealed(handle) {
            let length = self.chunks.length(handle);
            if length != finished.length && self.chunks.version(handle) != finished.version {
                // It went on, and was finished, without this caller.
                return Err(GfsError::new(
                    ErrorCode::StaleVersion,
                    format!("chunk {handle} went on after version {}", finished.version),
                ));
            }
            if length != finished.length {
                return Err(GfsError::new(
                    ErrorCode::Conflict,
                    format!("chunk {handle} is final with {length} bytes, not {}", finished.length),
                ));
            }
        } else {
            let sealed = seal || finished.length == chunk_size;
            self.chunks.finish(
                handle,
                finished.version,
                finished.length,
                sealed,
                &mut work.chunks,
            )?;
            work.extent(inode, index, index + 1);
        }
        if is_last && self.is_sealed(handle) {
            if self.chunks.length(handle) == chunk_size {
                self.promote(work, inode);
            } else {
                // It was made for another offset.
                self.drop_spare(work, inode);
            }
        }
        Ok(())
    }

    /// Remembers a call that waits for a version change.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many wait.
    pub(super) fn wait(&mut self, token: Token, waiting: Waiting) -> Result<(), GfsError> {
        if self.waiting.len() >= self.config.limits.waiting {
            return Err(GfsError::new(
                ErrorCode::ResourceExhausted,
                "too many calls wait for version changes",
            ));
        }
        self.outcomes.begin(waiting.client, waiting.sequence, token);
        self.waiting.insert(token, waiting);
        Ok(())
    }

    /// A repeat waits with the call it repeats.
    pub(super) fn wait_with(&mut self, first: Token, token: Token) -> Result<(), GfsError> {
        match self.waiting.get_mut(&first) {
            Some(waiting) if waiting.repeats.len() < REPEATS => {
                waiting.repeats.push(token);
                Ok(())
            }
            _ => Err(GfsError::new(ErrorCode::ResourceExhausted, "too many repeats wait")),
        }
    }

    /// Nobody waits for the answer of this call any more; what it asked for may still come.
    pub(super) fn forget(&mut self, token: Token) {
        if let Some(waiting) = self.waiting.get(&token) {
            // A repeat may still be answered in its place.
            if waiting.repeats.is_empty() {
                let (client, sequence) = (waiting.client, waiting.sequence);
                if self.cutting.get(&waiting.inode) == Some(&token) {
                    self.cutting.remove(&waiting.inode);
                }
                self.waiting.remove(&token);
                self.outcomes.end(client, sequence);
                self.chunks.forget(token);
            }
            return;
        }
        for waiting in self.waiting.values_mut() {
            waiting.repeats.retain(|repeat| *repeat != token);
        }
    }

    /// Version changes that were waited for are done, or cannot be.
    pub(super) fn carry_on(&mut self, work: &mut Work) {
        // A change may lead to the next one (a spare that became the last chunk): each step takes
        // a chunk of one file, so this ends.
        while work.chunks.is_news() {
            for (waiter, result) in std::mem::take(&mut work.chunks.done) {
                self.changed(work, waiter, result);
            }
            for handle in std::mem::take(&mut work.chunks.fixed) {
                self.fixed(work, handle);
            }
            for (handle, client, length) in std::mem::take(&mut work.chunks.vanished) {
                self.writer_vanished(work, handle, client, length);
            }
        }
    }

    fn changed(&mut self, work: &mut Work, waiter: Waiter, result: Result<ChunkHandle, GfsError>) {
        let Some(waiting) = self.waiting.get(&waiter.token).cloned() else { return };
        let answer = match result {
            Err(error) => Err(error),
            Ok(handle) => self.change_done(work, waiter, &waiting, handle),
        };
        if let Some(answer) = answer.transpose() {
            self.answer_waiting(work, waiter.token, answer, false);
        }
    }

    /// The next step of a call whose version change is committed; `None`: it waits again.
    fn change_done(
        &mut self,
        work: &mut Work,
        waiter: Waiter,
        waiting: &Waiting,
        handle: ChunkHandle,
    ) -> Result<Option<Response>, GfsError> {
        let inode = waiting.inode;
        if !self.is_attached(work, inode) {
            return Err(GfsError::new(ErrorCode::NotFound, format!("inode {inode} was removed")));
        }
        self.seal_if_full(work, inode, handle);
        match waiter.kind {
            WaiterKind::Open => self.settle(work, waiter.token, waiting, Some(handle)),
            WaiterKind::Lease => self.leased(waiting, handle).map(Some),
            WaiterKind::Truncate => {
                Err(GfsError::new(ErrorCode::Internal, "a version change that cut nothing"))
            }
            WaiterKind::Recover | WaiterKind::Allocate => {
                let chunk = self.chunks.location(handle, &waiting.near).ok_or_else(|| {
                    GfsError::new(ErrorCode::UnknownChunk, format!("chunk {handle} is gone"))
                })?;
                Ok(Some(Response::Recover(pb::RecoverResponse { chunk: Some(chunk) })))
            }
        }
    }

    /// A version change found a chunk full: that is final.
    pub(super) fn seal_if_full(&mut self, work: &mut Work, inode: InodeId, handle: ChunkHandle) {
        let Some(record) = self.chunks.record(handle) else { return };
        if !record.sealed && record.length == self.geometry.chunk_size() {
            let finished = pb::FinishedChunk {
                handle: handle.0,
                version: record.version.max(1),
                length: record.length,
            };
            // A spare cannot be full before its predecessor; anything else is a matter of fsck.
            let _ = self.finish(work, inode, &finished, true);
        }
    }

    /// Brings a file that somebody opens for write into order: finds out the true length of its
    /// last chunk (unless `settled` just now) and gives that a lease. `None`: waits for a version
    /// change.
    pub(super) fn settle(
        &mut self,
        work: &mut Work,
        token: Token,
        waiting: &Waiting,
        settled: Option<ChunkHandle>,
    ) -> Result<Option<Response>, GfsError> {
        let inode = waiting.inode;
        if self.namespace.file(inode).is_none() {
            return Err(GfsError::new(ErrorCode::NotFound, format!("no file {inode}")));
        }
        let Some(open) = self.open_chunk(inode) else {
            if let Some(last) = self.last_chunk(inode)
                && self.writers.get(&inode).is_some_and(|w| w.spare.is_some())
                && self.chunks.length(last) == self.geometry.chunk_size()
            {
                self.promote(work, inode);
                return self.settle(work, token, waiting, settled);
            }
            return self.opened(work, waiting, None).map(Some);
        };
        if settled == Some(open) {
            let location = self.chunks.location(open, &waiting.near);
            // What the last writer pushed into the spare was never applied.
            self.drop_spare(work, inode);
            return self.opened(work, waiting, location).map(Some);
        }
        let version = self.chunks.record(open).map_or(0, |record| record.version.max(1));
        if !self.waiting.contains_key(&token) {
            self.wait(token, waiting.clone())?;
        }
        let waiter = Waiter { token, kind: WaiterKind::Open };
        let want = Want::Extend;
        self.chunks.recover(work.now, open, version, &[], want, waiter, &mut work.chunks);
        Ok(None)
    }

    /// Answers a call that waited, and its repeats. `persisted`: with its outcome in the store.
    pub(super) fn answer_waiting(
        &mut self,
        work: &mut Work,
        token: Token,
        answer: Result<Response, GfsError>,
        persisted: bool,
    ) {
        let Some(waiting) = self.waiting.remove(&token) else { return };
        if self.cutting.get(&waiting.inode) == Some(&token) {
            self.cutting.remove(&waiting.inode);
        }
        self.outcomes.end(waiting.client, waiting.sequence);
        if answer.is_err() && waiting.acquired {
            // The right that came with the Open goes with it.
            self.leave(work, waiting.inode, waiting.client);
        }
        self.note_outcome(work, waiting.client, waiting.sequence, persisted, &answer);
        let answer = answer.map_err(pb::ErrorDetail::from);
        for repeat in waiting.repeats {
            work.replies.push((repeat, answer.clone()));
        }
        work.replies.push((token, answer));
        work.after = self.journal.last();
    }

    /// Nobody holds the right to write a file any more.
    pub(super) fn give_up_right(&mut self, work: &mut Work, inode: InodeId) {
        self.drop_spare(work, inode);
        self.writers.remove(&inode);
        if let Some(last) = self.open_chunk(inode) {
            self.chunks.release(last, &mut work.chunks);
        }
        work.entry(inode);
    }

    /// Answers calls that waited for too long. What becomes of each is a commit of its own.
    pub(super) fn end_long_waits(&mut self, work: &mut Work, out: &mut Vec<Effect>) {
        let limit = self.config.limits.longest_wait;
        let now = work.now.mono;
        let late: Vec<Token> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| now.since(waiting.since) >= limit)
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            self.chunks.forget(token);
            let error = GfsError::new(
                ErrorCode::DeadlineExceeded,
                "the chunk's version could not be changed in time: too few of its servers answer",
            );
            self.answer_waiting(work, token, Err(error), false);
            self.carry_on(work);
            self.flush(work, usize::MAX, out);
        }
    }
}
