//! Mkdir and Create.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, GfsPath, InodeId};
use smallvec::SmallVec;

use super::{Caller, conflict, copies_of, durability_of, parse};
use crate::brain::Response;
use crate::brain::chunks::ChunkInfo;
use crate::brain::namespace::{Body, Directory, Extent, File, MAX_DEPTH, Node};
use crate::brain::rights::Writing;
use crate::brain::step::Brain;
use crate::brain::work::Work;

/// Where a new node goes: the deepest directory that exists, and the names still to be made in it,
/// the last of which is the node's.
pub(super) struct Site<'a> {
    pub(super) directory: InodeId,
    pub(super) names: Vec<&'a str>,
}

impl Brain {
    pub(super) fn mkdir(
        &mut self,
        work: &mut Work,
        request: &pb::MkdirRequest,
    ) -> Result<Response, GfsError> {
        let path = parse(&request.path)?;
        if path.names().count() > MAX_DEPTH {
            return Err(GfsError::invalid(format!("more than {MAX_DEPTH} directories deep")));
        }
        let site = self.site(work, &path, request.parents, request.parent_inode)?;
        if site.names.is_empty() {
            let (inode, node) = self.node_at(work, &path)?;
            return if request.parents && node.directory().is_some() {
                work.rests_on(&self.journal, crate::brain::journal::Fact::Children(inode));
                let attributes = Some(self.attributes(inode, node));
                Ok(Response::Mkdir(pb::MkdirResponse { attributes }))
            } else {
                Err(exists(&path))
            };
        }
        let inode = self.make_directories(work, site.directory, &site.names)?;
        let attributes = self.attributes_of(inode);
        Ok(Response::Mkdir(pb::MkdirResponse { attributes }))
    }

    pub(super) fn create(
        &mut self,
        work: &mut Work,
        caller: Caller,
        request: &pb::CreateRequest,
    ) -> Result<Response, GfsError> {
        let path = parse(&request.path)?;
        let copies = copies_of(request.goal.as_ref())?;
        let durability = durability_of(request.durability)?;
        if request.replace || request.replaced_inode != 0 {
            return Err(GfsError::new(
                ErrorCode::Unsupported,
                "replacing a file by Create is not served yet: create another name and rename it",
            ));
        }
        let site = self.site(work, &path, request.parents, request.parent_inode)?;
        let Some((name, directories)) = site.names.split_last() else {
            return Err(exists(&path));
        };

        // First what may fail.
        let inode = InodeId(self.counters.inode + directories.len() as u64);
        let (inherited, policy) = self.namespace.policy(site.directory);
        let copies = if copies == 0 { inherited } else { copies };
        let chunk = if request.empty {
            None
        } else {
            let goal = [copies, self.cluster.default_copies as u8];
            let info = ChunkInfo {
                inode,
                index: 0,
                start: 0,
                copies: goal.into_iter().find(|copies| *copies != 0).unwrap_or(1),
                durability: if durability == pb::Durability::Default { policy } else { durability },
            };
            let near = request.place.clone().unwrap_or_default();
            Some(self.new_chunk(work, info, 0, &near)?)
        };

        let parent = if directories.is_empty() {
            site.directory
        } else {
            self.make_directories(work, site.directory, directories)?
        };
        let file =
            File { extents: chunk.into_iter().map(Extent::chunk).collect(), copies, durability };
        let made = self.make_node(work, parent, name, Body::File(file))?;
        debug_assert_eq!(made, inode);
        if chunk.is_some() {
            let writing = Writing::new(caller.client, false, work.now.mono);
            self.writers.insert(inode, Writing { created: true, ..writing });
        }
        let near = request.place.clone().unwrap_or_default();
        Ok(Response::Create(pb::CreateResponse {
            attributes: self.attributes_of(inode),
            chunk: chunk.and_then(|handle| self.chunks.location(handle, &near)),
            epoch: self.term.epoch.0,
        }))
    }

    /// Finds where a new node goes. No names are left when the path exists.
    pub(super) fn site<'a>(
        &self,
        work: &mut Work,
        path: &'a GfsPath,
        parents: bool,
        parent_seen: u64,
    ) -> Result<Site<'a>, GfsError> {
        let names: Vec<&str> = path.names().collect();
        let mut known = names.len();
        let found = loop {
            let result = self.namespace.find(names.iter().take(known).copied(), |parent, name| {
                work.rests_on(&self.journal, crate::brain::journal::Fact::name(parent, name));
            });
            match result {
                Ok(found) => break found,
                Err(error) if parents && error.code == ErrorCode::NotFound && known > 0 => {
                    known -= 1;
                }
                Err(error) => {
                    return Err(GfsError::new(error.code, format!("{path}: {}", error.message)));
                }
            }
        };
        let missing = names.len() - known;
        let (directory, missing) = match found.inode {
            // The path as far as it was followed is bound.
            Some(inode) => (if missing == 0 { found.parent } else { inode }, missing),
            None => (found.parent, missing + 1),
        };
        let names = names.into_iter().rev().take(missing).rev().collect::<Vec<_>>();
        if parent_seen != 0 && names.len() < 2 && directory.0 != parent_seen {
            return Err(match path.split() {
                Some((parent, _)) => conflict(&parent, directory, parent_seen),
                None => exists(path),
            });
        }
        if parent_seen != 0 && names.len() > 1 {
            return Err(GfsError::new(
                ErrorCode::Conflict,
                format!("the directory of {path} is gone, the caller saw inode {parent_seen}"),
            ));
        }
        Ok(Site { directory, names })
    }

    /// Makes a chain of directories; returns the last one.
    pub(super) fn make_directories(
        &mut self,
        work: &mut Work,
        directory: InodeId,
        names: &[&str],
    ) -> Result<InodeId, GfsError> {
        let mut at = directory;
        for name in names {
            at = self.make_node(work, at, name, Body::Directory(Box::<Directory>::default()))?;
        }
        Ok(at)
    }

    fn make_node(
        &mut self,
        work: &mut Work,
        parent: InodeId,
        name: &str,
        body: Body,
    ) -> Result<InodeId, GfsError> {
        let inode = InodeId(self.counters.inode);
        self.counters.inode += 1;
        let wall = work.now.wall.0;
        let node = Node {
            parent,
            name: SmallVec::from_slice(name.as_bytes()),
            modified_at: wall,
            created_at: wall,
            body,
        };
        self.namespace.insert(inode, node)?;
        work.bound(parent, name, inode);
        work.entry(inode);
        Ok(inode)
    }
}

fn exists(path: &GfsPath) -> GfsError {
    GfsError::new(ErrorCode::AlreadyExists, format!("{path} exists already"))
}
