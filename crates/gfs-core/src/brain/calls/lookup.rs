//! Stat, List, Locate: calls that change nothing.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, InodeId, MAX_FILE_LENGTH};

use super::{Outcome, parse};
use crate::brain::Response;
use crate::brain::journal::Fact;
use crate::brain::step::Brain;
use crate::brain::work::Work;

/// Entries of a List that does not say how many.
const LIST: usize = 1_000;
const LIST_AT_MOST: usize = 10_000;
/// Locations of an Open or Locate that does not say how many.
const LOCATIONS: usize = 16;
const LOCATIONS_AT_MOST: usize = 1_000;
/// How long a location may be used without asking again.
const LOCATION_VALID_MS: u32 = 10_000;

pub(super) fn limit(asked: u32, usual: usize, most: usize) -> usize {
    if asked == 0 { usual } else { (asked as usize).min(most) }
}

impl Brain {
    pub(super) fn stat(&self, work: &mut Work, request: &pb::StatRequest) -> Outcome {
        let (inode, node) = self.node_meant(work, request.inode, &request.path)?;
        if node.directory().is_some() {
            work.rests_on(&self.journal, Fact::Children(inode));
        }
        let last = self
            .last_chunk(inode)
            .filter(|_| self.writers.contains_key(&inode))
            .and_then(|last| self.chunks.location(last, &pb::Place::default()));
        Ok(Some(Response::Stat(pb::StatResponse {
            attributes: Some(self.attributes(inode, node)),
            epoch: self.term.epoch.0,
            last,
        })))
    }

    pub(super) fn list(&self, work: &mut Work, request: &pb::ListRequest) -> Outcome {
        let path = parse(&request.path)?;
        let (inode, node) = self.node_at(work, &path)?;
        let Some(directory) = node.directory() else {
            return Err(GfsError::new(ErrorCode::NotADirectory, format!("{path} is a file")));
        };
        work.rests_on(&self.journal, Fact::Children(inode));
        let limit = limit(request.limit, LIST, LIST_AT_MOST);
        let mut ids = self.namespace.list(directory, &request.after);
        let mut entries = Vec::with_capacity(limit.min(directory.children.len()));
        for child in ids.by_ref().take(limit) {
            let Some(node) = self.namespace.get(child) else { continue };
            work.rests_on(&self.journal, Fact::Inode(child));
            if node.directory().is_some() {
                work.rests_on(&self.journal, Fact::Children(child));
            }
            let attributes = Some(self.attributes(child, node));
            entries.push(pb::Entry { name: node.name().into(), attributes });
        }
        let more = ids.next().is_some();
        Ok(Some(Response::List(pb::ListResponse { entries, more, inode: inode.0 })))
    }

    pub(super) fn locate(&self, work: &mut Work, request: &pb::LocateRequest) -> Outcome {
        if request.inode == 0 {
            return Err(GfsError::invalid("a location of no inode"));
        }
        if request.offset > MAX_FILE_LENGTH {
            return Err(GfsError::new(
                ErrorCode::OutOfRange,
                format!("offset {} is beyond any file", request.offset),
            ));
        }
        let (inode, node) = self.node_meant(work, request.inode, "")?;
        let Some(file) = node.file() else {
            return Err(GfsError::new(
                ErrorCode::IsADirectory,
                format!("inode {inode} is a directory"),
            ));
        };
        let near = request.place.clone().unwrap_or_default();
        let limit = limit(request.limit, LOCATIONS, LOCATIONS_AT_MOST);
        // The extent that holds the offset, or the last one: an open chunk may be longer than is
        // recorded.
        let first = self.extent_at(file, request.offset);
        // After the last chunk comes the spare. It holds nothing unless the last one is full, of
        // which the primary knows more than the record.
        let spare = self.writers.get(&inode).and_then(|writing| writing.spare);
        let spare = spare.and_then(|spare| self.chunks.location(spare, &near));
        let chunks = (first..file.extents.len())
            .take(limit)
            .filter_map(|index| self.extent_location(file, index, &near))
            .chain(spare)
            .take(limit)
            .filter(|chunk| !chunk.sealed || request.offset < chunk.start + u64::from(chunk.length))
            .collect();
        Ok(Some(Response::Locate(pb::LocateResponse {
            attributes: Some(self.attributes(inode, node)),
            chunks,
            valid_ms: LOCATION_VALID_MS,
        })))
    }

    /// The first extents of a file.
    pub(super) fn first_locations(
        &self,
        inode: InodeId,
        asked: u32,
        near: &pb::Place,
    ) -> Vec<pb::ChunkLocation> {
        let limit = limit(asked, LOCATIONS, LOCATIONS_AT_MOST);
        self.namespace.file(inode).map_or_else(Vec::new, |file| {
            (0..file.extents.len())
                .take(limit)
                .filter_map(|index| self.extent_location(file, index, near))
                .collect()
        })
    }
}
