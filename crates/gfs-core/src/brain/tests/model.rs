//! What a namespace is, in a few lines: paths and what they are. It answers the calls that the
//! random tests make, and so says what the brain should have answered.

use std::collections::BTreeMap;

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};

use super::world::Reply;
use crate::brain::{Request, Response};

/// What can be asked in the random tests.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Mkdir {
        path: String,
        parents: bool,
    },
    Create {
        path: String,
        parents: bool,
    },
    Rename {
        from: String,
        to: String,
        replace: bool,
    },
    Remove {
        path: String,
        recursive: bool,
        skip_trash: bool,
    },
    Restore {
        inode: u64,
        to: String,
    },
    /// All, or this entry.
    Empty {
        inode: Option<u64>,
    },
    Stat {
        path: String,
    },
    List {
        path: String,
    },
    Trash,
}

impl Call {
    pub(super) fn is_mutation(&self) -> bool {
        !matches!(self, Call::Stat { .. } | Call::List { .. } | Call::Trash)
    }

    pub(super) fn request(&self, header: Option<pb::RequestHeader>) -> Request {
        match self.clone() {
            Call::Mkdir { path, parents } => {
                Request::Mkdir(pb::MkdirRequest { header, path, parents, parent_inode: 0 })
            }
            Call::Create { path, parents } => Request::Create(pb::CreateRequest {
                header,
                path,
                parents,
                empty: true,
                ..Default::default()
            }),
            Call::Rename { from, to, replace } => Request::Rename(pb::RenameRequest {
                header,
                from,
                to,
                replace,
                ..Default::default()
            }),
            Call::Remove { path, recursive, skip_trash } => {
                let inode = 0;
                Request::Remove(pb::RemoveRequest { header, path, inode, recursive, skip_trash })
            }
            Call::Restore { inode, to: path } => {
                Request::RestoreTrash(pb::RestoreTrashRequest { header, inode, path })
            }
            Call::Empty { inode } => {
                let inodes = inode.into_iter().collect();
                Request::EmptyTrash(pb::EmptyTrashRequest { header, inodes })
            }
            Call::Trash => {
                Request::ListTrash(pb::ListTrashRequest { header, ..Default::default() })
            }
            Call::Stat { path } => Request::Stat(pb::StatRequest { header, path, inode: 0 }),
            Call::List { path } => {
                Request::List(pb::ListRequest { header, path, ..Default::default() })
            }
        }
    }
}

/// The gist of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gist {
    Failed(ErrorCode),
    /// Inode, and entries if it is a directory.
    Node(u64, Option<u64>),
    Names(Vec<(String, u64)>),
    Removed(u64),
}

pub(super) fn gist(reply: &Reply) -> Gist {
    let node = |a: &Option<pb::Attributes>| {
        let a = a.as_ref().unwrap();
        Gist::Node(a.inode, (a.r#type() == pb::FileType::Directory).then_some(a.entries))
    };
    match reply {
        Err(detail) => Gist::Failed(detail.error_code()),
        Ok(Response::Mkdir(r)) => node(&r.attributes),
        Ok(Response::Create(r)) => node(&r.attributes),
        Ok(Response::Rename(r)) => node(&r.attributes),
        Ok(Response::Stat(r)) => node(&r.attributes),
        Ok(Response::Remove(r)) => Gist::Removed(r.removed),
        Ok(Response::RestoreTrash(r)) => node(&r.entry.as_ref().unwrap().attributes),
        Ok(Response::EmptyTrash(r)) => {
            assert!(!r.more);
            Gist::Removed(r.removed)
        }
        Ok(Response::ListTrash(r)) => Gist::Names(
            r.entries
                .iter()
                .map(|e| {
                    let attributes = e.attributes.as_ref().unwrap();
                    let is_file = attributes.r#type() == pb::FileType::File;
                    assert_eq!(is_file, e.directories == 0);
                    (format!("{} {} {}", e.path, e.files, e.directories), attributes.inode)
                })
                .collect(),
        ),
        Ok(Response::List(r)) => Gist::Names(
            r.entries
                .iter()
                .map(|e| (e.name.clone(), e.attributes.as_ref().unwrap().inode))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

/// What was removed: the path it had, and what was there, below `""`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) at: Millis,
    path: String,
    nodes: BTreeMap<String, (u64, bool)>,
}

/// A path without the trailing slash has its inode and whether it is a directory. `""` is the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) nodes: BTreeMap<String, (u64, bool)>,
    /// By inode.
    pub(super) trash: BTreeMap<u64, Removed>,
    /// The time, set by who asks.
    pub(super) now: Millis,
    next: u64,
    /// Of operations that changed something.
    pub(super) done: BTreeMap<(u64, u64), Gist>,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap()
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(String::new(), (1, true))]),
            trash: BTreeMap::new(),
            now: Millis(0),
            next: 3,
            done: BTreeMap::new(),
        }
    }

    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a String, &'a (u64, bool))> {
        self.nodes
            .iter()
            .filter(move |(p, _)| p.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    }

    fn entries(&self, path: &str) -> Vec<(String, u64)> {
        let mut names: Vec<_> = self
            .below(path)
            .map(|(p, (inode, _))| (p[path.len() + 1..].to_string(), *inode))
            .filter(|(name, _)| !name.contains('/'))
            .collect();
        names.sort();
        names
    }

    fn node(&self, path: &str) -> Gist {
        let (inode, is_directory) = self.nodes[path];
        Gist::Node(inode, is_directory.then(|| self.entries(path).len() as u64))
    }

    /// Follows the names before the last one.
    fn walk(&self, path: &str) -> Result<(), ErrorCode> {
        let mut at = String::new();
        for name in path.split('/').skip(1) {
            match self.nodes.get(&at) {
                None => return Err(ErrorCode::NotFound),
                Some((_, false)) => return Err(ErrorCode::NotADirectory),
                Some(_) => {}
            }
            at = format!("{at}/{name}");
        }
        Ok(())
    }

    fn lookup(&self, path: &str) -> Result<(u64, bool), ErrorCode> {
        self.walk(path)?;
        self.nodes.get(path).copied().ok_or(ErrorCode::NotFound)
    }

    fn make(&mut self, path: &str, directory: bool, parents: bool) -> Result<(), ErrorCode> {
        if let Err(code) = self.walk(path) {
            if code != ErrorCode::NotFound || !parents {
                return Err(code);
            }
            let parent = split(path).0.to_string();
            self.make(&parent, true, true)?;
        }
        match self.nodes.get(path) {
            Some((_, true)) if directory && parents => Ok(()),
            Some(_) => Err(ErrorCode::AlreadyExists),
            None => {
                self.nodes.insert(path.into(), (self.next, directory));
                self.next += 1;
                Ok(())
            }
        }
    }

    /// What a call is answered, and whether it changed anything.
    pub(super) fn call(&mut self, call: &Call) -> Gist {
        let result = match call {
            Call::Mkdir { path, parents } => {
                self.make(path, true, *parents).map(|()| self.node(path))
            }
            Call::Create { path, parents } => {
                self.make(path, false, *parents).map(|()| self.node(path))
            }
            Call::Stat { path } => self.lookup(path).map(|_| self.node(path)),
            Call::List { path } => match self.lookup(path) {
                Ok((_, true)) => Ok(Gist::Names(self.entries(path))),
                Ok(_) => Err(ErrorCode::NotADirectory),
                Err(code) => Err(code),
            },
            Call::Remove { path, recursive, skip_trash } => {
                self.remove(path, *recursive, *skip_trash)
            }
            Call::Restore { inode, to } => self.restore(*inode, to),
            Call::Empty { inode } => self.empty(*inode),
            Call::Trash => Ok(Gist::Names(
                self.trash
                    .iter()
                    .map(|(inode, removed)| {
                        let directories = removed.nodes.values().filter(|(_, d)| *d).count();
                        let files = removed.nodes.len() - directories;
                        (format!("{} {files} {directories}", removed.path), *inode)
                    })
                    .collect(),
            )),
            Call::Rename { from, to, replace } => self.rename(from, to, *replace),
        };
        result.unwrap_or_else(Gist::Failed)
    }

    fn remove(&mut self, path: &str, recursive: bool, skip_trash: bool) -> Result<Gist, ErrorCode> {
        self.lookup(path)?;
        let below: Vec<_> = self.below(path).map(|(p, _)| p.clone()).collect();
        if !below.is_empty() && !recursive {
            return Err(ErrorCode::NotEmpty);
        }
        self.take(path, skip_trash);
        Ok(Gist::Removed(1 + below.len() as u64))
    }

    /// Takes out what is at a path and below it.
    fn take(&mut self, path: &str, skip_trash: bool) {
        let below: Vec<_> = self.below(path).map(|(p, _)| p.clone()).collect();
        let nodes: BTreeMap<_, _> = below
            .into_iter()
            .chain([path.to_string()])
            .map(|p| (p[path.len()..].to_string(), self.nodes.remove(&p).unwrap()))
            .collect();
        if !skip_trash {
            self.trash.insert(nodes[""].0, Removed { at: self.now, path: path.into(), nodes });
        }
    }

    fn restore(&mut self, inode: u64, to: &str) -> Result<Gist, ErrorCode> {
        let removed = self.trash.get(&inode).ok_or(ErrorCode::NotFound)?.clone();
        let to = if to.is_empty() { removed.path } else { to.to_string() };
        // As if it were made there, but for its number.
        let mut made = self.clone();
        made.make(&to, false, true)?;
        made.next -= 1;
        made.nodes.extend(removed.nodes.into_iter().map(|(p, node)| (to.clone() + &p, node)));
        made.trash.remove(&inode);
        *self = made;
        Ok(self.node(&to))
    }

    fn empty(&mut self, inode: Option<u64>) -> Result<Gist, ErrorCode> {
        let given_up = match inode {
            None => std::mem::take(&mut self.trash).into_values().collect(),
            Some(inode) => vec![self.trash.remove(&inode).ok_or(ErrorCode::NotFound)?],
        };
        Ok(Gist::Removed(given_up.iter().map(|removed| removed.nodes.len() as u64).sum()))
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> Result<Gist, ErrorCode> {
        let (_, is_directory) = self.lookup(from)?;
        self.walk(to)?;
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(ErrorCode::InvalidArgument);
        }
        if from == to {
            return Ok(self.node(to));
        }
        if let Some((_, target)) = self.nodes.get(to) {
            match (replace, is_directory, target) {
                (false, ..) => return Err(ErrorCode::AlreadyExists),
                (_, false, true) => return Err(ErrorCode::IsADirectory),
                (_, true, false) => return Err(ErrorCode::NotADirectory),
                (_, true, true) if self.below(to).next().is_some() => {
                    return Err(ErrorCode::NotEmpty);
                }
                _ => self.take(to, false),
            }
        }
        let moved: Vec<_> = self.below(from).map(|(p, n)| (p.clone(), *n)).collect();
        for (path, node) in moved {
            self.nodes.remove(&path);
            self.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        let node = self.nodes.remove(from).unwrap();
        self.nodes.insert(to.into(), node);
        Ok(self.node(to))
    }
}
