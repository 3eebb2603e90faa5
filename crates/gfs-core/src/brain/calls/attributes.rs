//! SetAttributes: the replication goal of a file, or of the new files of a directory.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};

use super::copies_of;
use crate::brain::Response;
use crate::brain::step::Brain;
use crate::brain::work::Work;

impl Brain {
    /// A file's chunks get or lose copies from now on, by themselves (see `chunks::moves`). What a
    /// directory says counts for files made in it from now on.
    pub(super) fn set_attributes(
        &mut self,
        work: &mut Work,
        request: &pb::SetAttributesRequest,
    ) -> Result<Response, GfsError> {
        let copies = copies_of(request.goal.as_ref())?;
        let unsupported = |text: &str| GfsError::new(ErrorCode::Unsupported, text);
        if request.durability != pb::Durability::Default as i32 {
            return Err(unsupported("changing the durability is not served yet"));
        }
        if request.recursive {
            return Err(unsupported("set the goal of each file and directory below by itself"));
        }
        if copies == 0 {
            return Err(GfsError::invalid("no goal is given"));
        }
        let (inode, node) = self.node_meant(work, request.inode, &request.path)?;
        let is_file = node.file().is_some();
        let servers = self.chunks.servers_for_copies();
        if usize::from(copies) > servers {
            return Err(GfsError::invalid(format!(
                "a goal of {copies} copies needs as many servers; there are {servers}"
            )));
        }
        if is_file {
            let Some(file) = self.namespace.file_mut(inode) else {
                return Err(GfsError::new(ErrorCode::Internal, "the file is gone"));
            };
            file.copies = copies;
            let spare = self.writers.get(&inode).and_then(|writing| writing.spare);
            for handle in file.extents.iter().filter_map(|extent| extent.handle()).chain(spare) {
                self.chunks.set_copies(work.now, handle, copies);
            }
        } else if let Some(directory) = self.namespace.directory_mut(inode) {
            directory.copies = copies;
        }
        work.entry(inode);
        Ok(Response::SetAttributes(pb::SetAttributesResponse {
            attributes: self.attributes_of(inode),
        }))
    }
}
