//! Rename and Remove.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, GfsPath, InodeId};

use super::{conflict, parse};
use crate::brain::Response;
use crate::brain::journal::Fact;
use crate::brain::namespace::ORPHANAGE;
use crate::brain::step::Brain;
use crate::brain::work::Work;

impl Brain {
    pub(super) fn rename(
        &mut self,
        work: &mut Work,
        request: &pb::RenameRequest,
    ) -> Result<Response, GfsError> {
        let (from, to) = (parse(&request.from)?, parse(&request.to)?);
        if from.is_root() || to.is_root() {
            return Err(GfsError::invalid("the root cannot be renamed or replaced"));
        }
        let (inode, node) = self.node_at(work, &from)?;
        work.rests_on(&self.journal, Fact::Inode(inode));
        let is_file = node.file().is_some();
        if request.inode != 0 && request.inode != inode.0 {
            return Err(conflict(&from, inode, request.inode));
        }
        let target = self.find(work, &to)?;
        if self.namespace.is_within(target.parent, inode, |_| {}) {
            return Err(GfsError::invalid(format!("{to} is inside {from}")));
        }
        if target.inode == Some(inode) {
            work.rests_on(&self.journal, Fact::Children(inode));
            return Ok(Response::Rename(pb::RenameResponse {
                attributes: self.attributes_of(inode),
            }));
        }
        if let Some(replaced) = target.inode {
            self.may_replace(work, request, &to, replaced, is_file)?;
            self.take_away(work, replaced, &to, false);
        }

        if let Some(node) = self.namespace.get(inode) {
            work.unbound(inode, node);
        }
        let name = to.split().map_or("", |(_, name)| name);
        self.namespace.move_to(inode, target.parent, name);
        if let Some(node) = self.namespace.get_mut(inode) {
            node.modified_at = work.now.wall.0.max(node.modified_at);
        }
        work.bound(target.parent, name, inode);
        work.entry(inode);
        Ok(Response::Rename(pb::RenameResponse { attributes: self.attributes_of(inode) }))
    }

    /// Whether the node under the new name may go.
    fn may_replace(
        &self,
        work: &mut Work,
        request: &pb::RenameRequest,
        to: &GfsPath,
        replaced: InodeId,
        by_file: bool,
    ) -> Result<(), GfsError> {
        if request.replaced_inode != 0 && request.replaced_inode != replaced.0 {
            return Err(conflict(to, replaced, request.replaced_inode));
        }
        if request.replaced_inode == 0 && !request.replace {
            return Err(GfsError::new(ErrorCode::AlreadyExists, format!("{to} exists already")));
        }
        work.rests_on(&self.journal, Fact::Children(replaced));
        match (by_file, self.namespace.directory(replaced)) {
            (true, Some(_)) => {
                Err(GfsError::new(ErrorCode::IsADirectory, format!("{to} is a directory")))
            }
            (false, None) => {
                Err(GfsError::new(ErrorCode::NotADirectory, format!("{to} is a file")))
            }
            (false, Some(directory)) if directory.children.len() > 0 => {
                Err(GfsError::new(ErrorCode::NotEmpty, format!("{to} is not empty")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn remove(
        &mut self,
        work: &mut Work,
        request: &pb::RemoveRequest,
    ) -> Result<Response, GfsError> {
        let path = parse(&request.path)?;
        if path.is_root() {
            return Err(GfsError::invalid("the root cannot be removed"));
        }
        let (inode, node) = self.node_at(work, &path)?;
        work.rests_on(&self.journal, Fact::Inode(inode));
        if request.inode != 0 && request.inode != inode.0 {
            return Err(conflict(&path, inode, request.inode));
        }
        if let Some(directory) = node.directory() {
            work.rests_on(&self.journal, Fact::Children(inode));
            if directory.children.len() > 0 && !request.recursive {
                return Err(GfsError::new(ErrorCode::NotEmpty, format!("{path} is not empty")));
            }
        }
        debug_assert_ne!(inode, ORPHANAGE);
        let removed = self.namespace.weight(inode);
        self.take_away(work, inode, &path, request.skip_trash);
        Ok(Response::Remove(pb::RemoveResponse { removed }))
    }
}
