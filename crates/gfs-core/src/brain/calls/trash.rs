//! ListTrash, RestoreTrash, EmptyTrash.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, InodeId};

use super::lookup::limit;
use super::{Outcome, parse};
use crate::brain::Response;
use crate::brain::journal::Fact;
use crate::brain::namespace::ORPHANAGE;
use crate::brain::step::Brain;
use crate::brain::work::Work;

/// Entries of a ListTrash that does not say how many.
const LIST: usize = 1_000;
const LIST_AT_MOST: usize = 10_000;
/// Entries that an EmptyTrash may name.
const NAMED_AT_MOST: usize = 32;

fn not_there(inode: InodeId) -> GfsError {
    GfsError::new(ErrorCode::NotFound, format!("inode {inode} is not in the trash"))
}

impl Brain {
    pub(super) fn list_trash(&self, work: &mut Work, request: &pb::ListTrashRequest) -> Outcome {
        work.rests_on(&self.journal, Fact::Children(ORPHANAGE));
        let limit = limit(request.limit, LIST, LIST_AT_MOST);
        let mut left = self.trash.after(InodeId(request.after));
        let mut entries = Vec::with_capacity(limit.min(self.trash.len()));
        for (inode, trashed) in left.by_ref().take(limit) {
            work.rests_on(&self.journal, Fact::Inode(inode));
            entries.push(pb::TrashEntry {
                path: trashed.path.to_string(),
                attributes: self.attributes_of(inode),
                deleted_at: trashed.deleted_at,
                expires_at: trashed.expires_at,
                files: trashed.files,
                directories: trashed.directories,
            });
        }
        let more = left.next().is_some();
        Ok(Some(Response::ListTrash(pb::ListTrashResponse { entries, more })))
    }

    pub(super) fn restore_trash(
        &mut self,
        work: &mut Work,
        request: &pb::RestoreTrashRequest,
    ) -> Result<Response, GfsError> {
        let inode = InodeId(request.inode);
        work.rests_on(&self.journal, Fact::Inode(inode));
        let trashed = self.trash.get(inode).ok_or_else(|| not_there(inode))?;
        let path =
            if request.path.is_empty() { parse(&trashed.path)? } else { parse(&request.path)? };
        let site = self.site(work, &path, true, 0)?;
        let Some((name, directories)) = site.names.split_last() else {
            return Err(GfsError::new(
                ErrorCode::AlreadyExists,
                format!("{path} exists already: restore it to another path"),
            ));
        };
        let parent = self.make_directories(work, site.directory, directories)?;
        if let Some(node) = self.namespace.get(inode) {
            work.unbound(inode, node);
        }
        self.trash.remove(inode);
        self.namespace.move_to(inode, parent, name);
        work.bound(parent, name, inode);
        work.entry(inode);
        Ok(self.restored(inode))
    }

    /// The answer of a RestoreTrash, from what is there now.
    pub(super) fn restored(&self, inode: InodeId) -> Response {
        let attributes = self
            .attributes_of(inode)
            .unwrap_or(pb::Attributes { inode: inode.0, ..Default::default() });
        let name = self.namespace.get(inode).map_or_else(String::new, |node| node.name().into());
        Response::RestoreTrash(pb::RestoreTrashResponse {
            entry: Some(pb::Entry { name, attributes: Some(attributes) }),
            path: self.namespace.path_of(inode),
        })
    }

    pub(super) fn empty_trash(
        &mut self,
        work: &mut Work,
        request: &pb::EmptyTrashRequest,
    ) -> Result<Response, GfsError> {
        work.rests_on(&self.journal, Fact::Children(ORPHANAGE));
        let mut named: Vec<InodeId> = request.inodes.iter().copied().map(InodeId).collect();
        named.sort_unstable();
        named.dedup();
        if named.len() > NAMED_AT_MOST {
            return Err(GfsError::invalid(format!(
                "at most {NAMED_AT_MOST} entries of the trash can be named at once"
            )));
        }
        if let Some(absent) = named.iter().find(|inode| self.trash.get(**inode).is_none()) {
            return Err(not_there(*absent));
        }
        let mut budget = self.config.limits.removed_per_commit;
        let mut removed = 0;
        let mut give_up = |brain: &mut Self, inode: InodeId| {
            removed += brain.namespace.weight(inode);
            budget = budget.saturating_sub(brain.give_up(work, inode, budget));
            budget > 0
        };
        if named.is_empty() {
            while let Some((_, first)) = self.trash.first_to_expire() {
                if !give_up(self, first) {
                    break;
                }
            }
        } else {
            for inode in &named {
                give_up(self, *inode);
            }
        }
        let more = named.is_empty() && self.trash.len() > 0;
        Ok(Response::EmptyTrash(pb::EmptyTrashResponse { removed, more }))
    }
}
