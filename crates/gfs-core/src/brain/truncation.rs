//! Cutting a file, and extending it by holes.
//!
//! A cut in the middle of a chunk is a version change: when its members are equal, and those that
//! cannot take part are left out, the new version, the new length and the removal of all extents
//! behind it are committed at once; then the members are told to drop what is behind. Nobody ever
//! sees a part of it. Where the cut falls between extents, or into a hole, the commit alone does it.
//!
//! A transaction cannot hold the garbage records of thousands of chunks. So of a long tail only what
//! shares its page with the last extent kept becomes garbage with that commit; the pages behind stay
//! as they are, out of the file and named in its record as *doomed*, and are taken down a page per
//! commit (see `takedown`). Until then the file does not grow.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, GfsError, InodeId};

use super::namespace::{Extent, Extents, File, Hole};
use super::records::{self, EXTENTS_PER_PAGE, page_of};
use super::step::Brain;
use super::work::Work;
use super::{Effect, Response};

/// Extents that may become garbage in one transaction.
const AT_ONCE: usize = 64;
/// Holes that one Truncate may add: 64 pages.
pub(super) const MAX_NEW_HOLES: u64 = 2_048;

/// Extents that a truncation took away, still to be discarded: whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    /// Index that the first one had; at the beginning of a page.
    pub(crate) first: usize,
    pub(crate) extents: Extents,
}

impl Doomed {
    /// The one that had this index.
    pub(crate) fn get(&self, index: usize) -> Option<Extent> {
        self.extents.get(index.checked_sub(self.first)?).copied()
    }
}

impl Brain {
    /// Takes away the extents from this index on.
    pub(super) fn shorten(&mut self, work: &mut Work, inode: InodeId, keep: usize) {
        let Some(file) = self.namespace.file_mut(inode) else { return };
        if keep >= file.extents.len() {
            work.entry(inode);
            return;
        }
        let before = file.extents.len();
        let mut rest: Extents = file.extents.drain(keep..).collect();
        file.extents.shrink_to_fit();
        // The page of the last one kept is written again anyway.
        let page = keep.div_ceil(EXTENTS_PER_PAGE).max(1) * EXTENTS_PER_PAGE;
        if rest.len() > AT_ONCE {
            let doomed: Extents = rest.drain(page - keep..).collect();
            self.doomed.insert(inode, Doomed { first: page, extents: doomed });
            self.raise_format(work);
        } else {
            for first in (page..before).step_by(EXTENTS_PER_PAGE) {
                work.deleted.push(records::page_key(inode, page_of(first)));
            }
        }
        for handle in rest.into_iter().filter_map(Extent::handle) {
            self.chunks.discard(handle, &mut work.chunks);
        }
        match keep.checked_sub(1) {
            Some(last) => work.extent(inode, last, keep),
            None => work.entry(inode),
        }
    }

    /// Discards the last page of what a truncation took from a file; `false` if there is none.
    pub(super) fn drop_doomed_page(&mut self, work: &mut Work, inode: InodeId) -> bool {
        let Some(doomed) = self.doomed.get_mut(&inode) else { return false };
        let Some(last) = doomed.extents.len().checked_sub(1) else { return false };
        let begin = last / EXTENTS_PER_PAGE * EXTENTS_PER_PAGE;
        let page: Extents = doomed.extents.drain(begin..).collect();
        work.deleted.push(records::page_key(inode, page_of(doomed.first + begin)));
        if doomed.extents.is_empty() {
            self.doomed.remove(&inode);
        }
        for handle in page.into_iter().filter_map(Extent::handle) {
            self.chunks.discard(handle, &mut work.chunks);
        }
        work.entry(inode);
        true
    }

    /// Why a file cannot grow just now.
    pub(super) fn may_grow(&self, inode: InodeId) -> Result<(), GfsError> {
        if self.doomed.contains_key(&inode) {
            return Err(GfsError::new(
                ErrorCode::Busy,
                format!("what was cut off inode {inode} is still being taken down"),
            ));
        }
        Ok(())
    }

    /// Why the length of a file cannot be relied on just now.
    pub(super) fn is_being_cut(&self, inode: InodeId) -> Result<(), GfsError> {
        if self.cutting.contains_key(&inode) {
            return Err(GfsError::new(
                ErrorCode::Busy,
                format!("inode {inode} is being truncated"),
            ));
        }
        Ok(())
    }

    /// Extends a file by holes up to a length above its own.
    pub(super) fn extend(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        length: u64,
    ) -> Result<(), GfsError> {
        let chunk_size = self.geometry.chunk_size();
        self.may_grow(inode)?;
        let file = self.namespace.file(inode);
        let Some(file) = file else { return Err(GfsError::new(ErrorCode::NotFound, "no file")) };
        let count = file.extents.len();
        let mut missing = length.saturating_sub(self.length_of(file));
        // A hole that ends the file becomes a whole one first.
        let hole = file.extents.last().and_then(|last| last.as_hole());
        let grown = hole.map_or(0, |hole| missing.min((chunk_size - hole.length).into()));
        missing -= grown;
        let holes = missing.div_ceil(chunk_size.into());
        if holes > MAX_NEW_HOLES || count as u64 + holes > u32::MAX.into() {
            let step = MAX_NEW_HOLES * u64::from(chunk_size);
            return Err(GfsError::new(
                ErrorCode::OutOfRange,
                format!("a file can be extended by {step} bytes at a time: go in steps"),
            ));
        }
        if let Some(open) = self.open_chunk(inode) {
            let version = self.chunks.version(open);
            let length = self.chunks.length(open);
            self.chunks.finish(open, version, length, true, &mut work.chunks)?;
        }
        let Some(file) = self.namespace.file_mut(inode) else { return Ok(()) };
        if let (Some(hole), Some(last)) = (hole, file.extents.last_mut()) {
            *last = Extent::hole(Hole { length: hole.length + grown as u32, ..hole });
        }
        while missing > 0 {
            let length = missing.min(chunk_size.into());
            let next = Extent::next_hole(&file.extents, length as u32);
            file.extents.push(next);
            missing -= length;
        }
        let extents = file.extents.len();
        work.entry(inode);
        for page in page_of(count.saturating_sub(1))..=page_of(extents.saturating_sub(1)) {
            if page > 0 {
                work.pages.push((inode, page));
            }
        }
        self.raise_format(work);
        Ok(())
    }

    /// Makes a chunk of zeros where a hole is.
    pub(super) fn fill_hole(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        index: usize,
        near: &pb::Place,
    ) -> Result<ChunkHandle, GfsError> {
        let missing = || GfsError::new(ErrorCode::Internal, "there is no hole");
        let file = self.namespace.file(inode).ok_or_else(missing)?;
        let hole = file.extents.get(index).and_then(|e| e.as_hole()).ok_or_else(missing)?;
        let start = self.extent_start(file, index);
        let number = u32::try_from(index).map_err(|_| missing())?;
        let info = self.chunk_info(inode, number, start);
        let handle = self.new_chunk(work, info, hole.length, near)?;
        if let Some(file) = self.namespace.file_mut(inode) {
            if let Some(extent) = file.extents.get_mut(index) {
                *extent = Extent::chunk(handle);
            }
            let extents = file.extents.len();
            work.extent(inode, index, extents);
        }
        Ok(handle)
    }

    /// A chunk was cut, in memory: what goes with that, and who asked is answered. All in one
    /// transaction of its own.
    pub(super) fn finish_cuts(&mut self, work: &mut Work, out: &mut Vec<Effect>) {
        for (token, handle) in std::mem::take(&mut work.chunks.cuts) {
            let Some(info) = self.chunks.info(handle) else { continue };
            let mut own = Work::default();
            own.begin(work.now, self.floor);
            self.shorten(&mut own, info.inode, info.index as usize + 1);
            own.chunks.touched.push(handle);
            self.modified(&mut own, info.inode);
            let attributes = self.attributes_of(info.inode);
            let answer = Ok(Response::Truncate(pb::TruncateResponse { attributes }));
            self.answer_waiting(&mut own, token, answer, true);
            self.commit(&mut own, usize::MAX, out);
            work.absorb(own);
        }
        work.after = self.journal.last();
    }

    /// How many extents stay, and where the last of them is cut, if a file is to have this length,
    /// which is below its own.
    pub(super) fn place_of_cut(&self, file: &File, length: u64) -> (usize, u32) {
        if length == 0 {
            return (0, 0);
        }
        // The extent that holds the last byte kept.
        let index = self.extent_at(file, length - 1);
        let within = length - self.extent_start(file, index);
        (index + 1, u32::try_from(within).unwrap_or(u32::MAX))
    }
}
