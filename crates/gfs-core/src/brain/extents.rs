//! The extents of files: where each is and how long, and what is said and written of them.

use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, InodeId};

use super::namespace::{Extent, File};
use super::records::{EXTENTS_PER_PAGE, page_of};
use super::step::Brain;
use super::work::Work;

impl Brain {
    /// Length of a file in bytes, as recorded.
    pub(super) fn length_of(&self, file: &File) -> u64 {
        match file.extents.last() {
            Some(last) => {
                self.extent_start(file, file.extents.len() - 1)
                    + u64::from(self.extent_length(*last))
            }
            None => 0,
        }
    }

    /// Bytes of an extent, as recorded.
    pub(super) fn extent_length(&self, extent: Extent) -> u32 {
        match (extent.handle(), extent.as_hole()) {
            (Some(handle), _) => self.chunks.length(handle),
            (None, hole) => hole.map_or(0, |hole| hole.length),
        }
    }

    /// File offset of an extent's first byte.
    pub(super) fn extent_start(&self, file: &File, index: usize) -> u64 {
        let Some(extent) = file.extents.get(index) else { return 0 };
        let Some(hole) = extent.as_hole() else { return self.chunk_start(*extent) };
        let after = hole.after as usize;
        let anchor = index.checked_sub(after + 1).and_then(|anchor| file.extents.get(anchor));
        let end = anchor
            .map_or(0, |anchor| self.chunk_start(*anchor) + u64::from(self.extent_length(*anchor)));
        end + after as u64 * u64::from(self.geometry.chunk_size())
    }

    fn chunk_start(&self, extent: Extent) -> u64 {
        extent.handle().and_then(|handle| self.chunks.info(handle)).map_or(0, |info| info.start)
    }

    /// The extent that holds an offset; the last one for what lies behind it.
    pub(super) fn extent_at(&self, file: &File, offset: u64) -> usize {
        let (mut low, mut high) = (0, file.extents.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.extent_start(file, middle) <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// Whether a chunk is final at its length.
    pub(super) fn is_sealed(&self, handle: ChunkHandle) -> bool {
        self.chunks.is_sealed(handle)
    }

    /// Whether an extent's length is final.
    pub(super) fn is_final(&self, extent: Extent) -> bool {
        extent.handle().is_none_or(|handle| self.is_sealed(handle))
    }

    /// The last chunk of a file, if that is where it ends.
    pub(super) fn last_chunk(&self, inode: InodeId) -> Option<ChunkHandle> {
        self.namespace.file(inode)?.extents.last()?.handle()
    }

    /// The last chunk of a file, if it may grow.
    pub(super) fn open_chunk(&self, inode: InodeId) -> Option<ChunkHandle> {
        self.last_chunk(inode).filter(|last| !self.is_sealed(*last))
    }

    /// Where an extent is.
    pub(super) fn extent_location(
        &self,
        file: &File,
        index: usize,
        near: &pb::Place,
    ) -> Option<pb::ChunkLocation> {
        let extent = file.extents.get(index)?;
        if let Some(handle) = extent.handle() {
            return self.chunks.location(handle, near);
        }
        Some(pb::ChunkLocation {
            index: u32::try_from(index).ok()?,
            start: self.extent_start(file, index),
            length: self.extent_length(*extent),
            sealed: true,
            hole: true,
            ..Default::default()
        })
    }

    /// What is persisted of an extent.
    fn extent_record(&self, extent: Extent) -> Option<pb::ExtentRecord> {
        match extent.handle() {
            Some(handle) => self.chunks.record(handle),
            None => Some(pb::ExtentRecord {
                length: self.extent_length(extent),
                sealed: true,
                ..Default::default()
            }),
        }
    }

    /// The extents of a page of a file, as they are persisted.
    pub(super) fn page_of_extents(&self, inode: InodeId, page: u32) -> Vec<pb::ExtentRecord> {
        let first = page as usize * EXTENTS_PER_PAGE;
        let Some(file) = self.namespace.file(inode) else { return Vec::new() };
        let doomed = self.doomed.get(&inode).filter(|doomed| doomed.first <= first);
        let (extents, first) = match doomed {
            Some(doomed) => (&doomed.extents[..], first - doomed.first),
            None => (&file.extents[..], first),
        };
        let page = extents.iter().skip(first).take(EXTENTS_PER_PAGE);
        page.filter_map(|extent| self.extent_record(*extent)).collect()
    }

    /// A chunk's record changed: finds the record that holds it.
    pub(super) fn touched(&self, work: &mut Work, handle: ChunkHandle) {
        let Some(info) = self.chunks.info(handle) else { return };
        let Some(file) = self.namespace.file(info.inode) else { return };
        let index = info.index as usize;
        let extents = file.extents.len();
        let doomed = self.doomed.get(&info.inode).and_then(|doomed| doomed.get(index));
        if file.extents.get(index) == Some(&Extent::chunk(handle)) {
            work.extent(info.inode, index, extents);
        } else if doomed == Some(Extent::chunk(handle)) {
            work.pages.push((info.inode, page_of(index)));
        } else if self.writers.get(&info.inode).is_some_and(|w| w.spare == Some(handle)) {
            work.extent(info.inode, usize::MAX, extents);
        }
    }
}
