//! The tree of files and directories, in memory. It knows nothing of clients, chunks' states or
//! the store: it keeps the tree whole, and says why a change would not.

mod children;
mod extent;
mod table;

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, InodeId, ROOT_INODE};
use smallvec::SmallVec;

pub(crate) use children::Children;
pub(crate) use extent::{Extent, Extents, Hole};
pub(crate) use table::{Body, Directory, File, Node, Table};

/// The hidden directory of what was removed: what is in the trash, and what is being taken down.
pub(crate) const ORPHANAGE: InodeId = InodeId(2);

/// The name that a removed node has in the orphanage while it is taken down.
pub(crate) fn orphan_name(inode: InodeId) -> String {
    format!("{:016x}", inode.0)
}

/// The name that a removed node has in the orphanage while it is in the trash: such names come
/// after those of orphans.
pub(crate) fn trash_name(inode: InodeId) -> String {
    format!("{TRASH_MARK}{:016x}", inode.0)
}

const TRASH_MARK: char = 't';

fn is_trash_name(name: &[u8]) -> bool {
    name.first() == Some(&(TRASH_MARK as u8))
}

/// Directories a path may have, the file not counted: so that making all of them fits into one
/// transaction of any store.
pub(crate) const MAX_DEPTH: usize = 96;

/// The tree.
#[derive(Debug)]
pub(crate) struct Namespace {
    table: Table,
    /// Files and directories below the root, and those being taken down.
    files: u64,
    directories: u64,
}

/// Where a path leads: its directory and, if the name is bound, the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The directory the last name is in; 0 for the root.
    pub(crate) parent: InodeId,
    /// The node.
    pub(crate) inode: Option<InodeId>,
}

fn missing(what: impl std::fmt::Display) -> GfsError {
    GfsError::new(ErrorCode::NotFound, format!("{what} does not exist"))
}

impl Namespace {
    /// An empty tree: the root and the orphanage.
    pub(crate) fn new(created_at: u64) -> Self {
        let mut table = Table::default();
        for id in [ROOT_INODE, ORPHANAGE] {
            table.insert(
                id,
                Node {
                    parent: InodeId(0),
                    name: SmallVec::new(),
                    modified_at: created_at,
                    created_at,
                    body: Body::Directory(Box::default()),
                },
            );
        }
        Self { table, files: 0, directories: 0 }
    }

    /// The node of an id, wherever it is.
    pub(crate) fn get(&self, id: InodeId) -> Option<&Node> {
        self.table.get(id)
    }

    /// The node of an id, to change its attributes (not its place in the tree).
    pub(crate) fn get_mut(&mut self, id: InodeId) -> Option<&mut Node> {
        self.table.get_mut(id)
    }

    /// The file of an id.
    pub(crate) fn file(&self, id: InodeId) -> Option<&File> {
        self.table.get(id)?.file()
    }

    /// The file of an id, to change it.
    pub(crate) fn file_mut(&mut self, id: InodeId) -> Option<&mut File> {
        match &mut self.table.get_mut(id)?.body {
            Body::File(file) => Some(file),
            Body::Directory(_) => None,
        }
    }

    /// The directory of an id.
    pub(crate) fn directory(&self, id: InodeId) -> Option<&Directory> {
        self.table.get(id)?.directory()
    }

    /// The directory of an id, to change its attributes.
    pub(crate) fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.table.get_mut(id)?.body {
            Body::Directory(directory) => Some(directory),
            Body::File(_) => None,
        }
    }

    /// Files, those in the trash and being taken down included.
    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    /// Directories without the root, those in the trash and being taken down included.
    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }

    /// Nodes with an id of at least `from`, in order of ids.
    pub(crate) fn iter_from(&self, from: InodeId) -> impl Iterator<Item = (InodeId, &Node)> {
        self.table.iter_from(from)
    }

    /// Entries of a directory after a name, in order.
    pub(crate) fn list<'a>(
        &'a self,
        directory: &'a Directory,
        after: &'a str,
    ) -> impl Iterator<Item = InodeId> + 'a {
        directory.children.after(&self.table, after.as_bytes())
    }

    /// Follows names from the root. `look` hears of every binding looked at, absent ones too.
    ///
    /// # Errors
    /// NOT_FOUND or NOT_A_DIRECTORY for the names before the last; an unbound last name is `None`.
    pub(crate) fn find<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        mut look: impl FnMut(InodeId, &str),
    ) -> Result<Found, GfsError> {
        let mut found = Found { parent: InodeId(0), inode: Some(ROOT_INODE) };
        for name in names {
            let Some(parent) = found.inode else {
                return Err(missing("a directory of the path"));
            };
            let Some(directory) = self.directory(parent) else {
                return Err(GfsError::new(
                    ErrorCode::NotADirectory,
                    format!("{:?} is a file", self.get(parent).map_or("", Node::name)),
                ));
            };
            look(parent, name);
            found = Found { parent, inode: directory.children.find(&self.table, name.as_bytes()) };
        }
        Ok(found)
    }

    /// Adds a node under a free name.
    ///
    /// # Errors
    /// INTERNAL when the caller did not look before.
    pub(crate) fn insert(&mut self, id: InodeId, node: Node) -> Result<(), GfsError> {
        let parent = node.parent;
        let is_file = node.file().is_some();
        if !self.table.insert(id, node) || !self.attach(parent, id) {
            return Err(GfsError::new(ErrorCode::Internal, format!("inode {id} is taken")));
        }
        if is_file {
            self.files += 1;
        } else {
            self.directories += 1;
        }
        self.count(parent, 1, i64::from(is_file));
        Ok(())
    }

    /// Puts a node (in the table) among its parent's children.
    fn attach(&mut self, parent: InodeId, id: InodeId) -> bool {
        // The children are taken out for the moment: they compare names in the table.
        let Some(directory) = self.directory_mut(parent) else { return false };
        let mut children = std::mem::take(&mut directory.children);
        let done = children.insert(&self.table, id);
        if let Some(directory) = self.directory_mut(parent) {
            directory.children = children;
        }
        done
    }

    fn detach(&mut self, parent: InodeId, name: &[u8]) {
        let Some(directory) = self.directory_mut(parent) else { return };
        let mut children = std::mem::take(&mut directory.children);
        children.remove(&self.table, name);
        if let Some(directory) = self.directory_mut(parent) {
            directory.children = children;
        }
    }

    /// Adds to the descendants of a directory and all above it, and to the files among them.
    fn count(&mut self, from: InodeId, change: i64, files: i64) {
        let mut at = from;
        while let Some(node) = self.table.get_mut(at) {
            if let Body::Directory(directory) = &mut node.body {
                directory.descendants = directory.descendants.saturating_add_signed(change);
                directory.files = directory.files.saturating_add_signed(files);
            }
            at = node.parent;
        }
    }

    /// Nodes in the tree that hangs from this one, itself included.
    pub(crate) fn weight(&self, id: InodeId) -> u64 {
        1 + self.directory(id).map_or(0, |d| d.descendants)
    }

    /// Files in the tree that hangs from this node, itself included.
    pub(crate) fn files_in(&self, id: InodeId) -> u64 {
        match self.get(id).map(|node| &node.body) {
            Some(Body::File(_)) => 1,
            Some(Body::Directory(directory)) => directory.files,
            None => 0,
        }
    }

    /// Takes out a file or an empty directory.
    pub(crate) fn remove(&mut self, id: InodeId) -> Option<Node> {
        let node = self.get(id)?;
        if node.directory().is_some_and(|d| d.children.len() > 0) {
            return None;
        }
        let (parent, name) = (node.parent, node.name.clone());
        self.detach(parent, &name);
        let is_file = self.get(id)?.file().is_some();
        self.count(parent, -1, -i64::from(is_file));
        let node = self.table.remove(id)?;
        if node.file().is_some() {
            self.files -= 1;
        } else {
            self.directories -= 1;
        }
        Some(node)
    }

    /// Moves a node, with all below it, to a free name of a directory that is not below it.
    pub(crate) fn move_to(&mut self, id: InodeId, parent: InodeId, name: &str) {
        let Some(node) = self.get(id) else { return };
        let (old, old_name) = (node.parent, node.name.clone());
        let weight = i64::try_from(self.weight(id)).unwrap_or(i64::MAX);
        let files = i64::try_from(self.files_in(id)).unwrap_or(i64::MAX);
        self.detach(old, &old_name);
        self.count(old, -weight, -files);
        if let Some(node) = self.table.get_mut(id) {
            node.parent = parent;
            node.name = SmallVec::from_slice(name.as_bytes());
        }
        self.attach(parent, id);
        self.count(parent, weight, files);
    }

    /// Whether `id` is `above` or lies below it. `look` hears of every node on the way up.
    pub(crate) fn is_within(
        &self,
        id: InodeId,
        above: InodeId,
        mut look: impl FnMut(InodeId),
    ) -> bool {
        let mut at = id;
        while at.0 != 0 {
            look(at);
            if at == above {
                return true;
            }
            at = self.get(at).map_or(InodeId(0), |node| node.parent);
        }
        false
    }

    /// The path of a node, for people.
    pub(crate) fn path_of(&self, id: InodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while let Some(node) = self.get(at) {
            if at == ROOT_INODE {
                break;
            }
            if node.parent == ORPHANAGE && is_trash_name(&node.name) {
                names.extend([node.name().get(1..).unwrap_or_default(), "(trash)"]);
                break;
            }
            names.push(if at == ORPHANAGE { "(removed)" } else { node.name() });
            at = node.parent;
        }
        names.iter().rev().fold(String::new(), |path, name| path + "/" + name)
    }

    /// Replication goal and durability of a file or of new files of a directory; 0 and default if
    /// the cluster's count. A goal is inherited when a file is made: a file that has none then has
    /// none for good. For the rest the nearest directory above counts that says something.
    pub(crate) fn policy(&self, id: InodeId) -> (u8, pb::Durability) {
        let mut durability = pb::Durability::Default;
        let mut copies = self.file(id).map(|file| file.copies);
        let mut at = id;
        while let Some(node) = self.get(at) {
            let own = match &node.body {
                Body::File(f) => (f.copies, f.durability),
                Body::Directory(d) => (d.copies, d.durability),
            };
            if copies.is_none() && own.0 != 0 {
                copies = Some(own.0);
            }
            if durability == pb::Durability::Default {
                durability = own.1;
            }
            if copies.is_some() && durability != pb::Durability::Default {
                break;
            }
            at = node.parent;
        }
        (copies.unwrap_or(0), durability)
    }

    /// A file or empty directory somewhere below `id`, or `id` itself: what to take down next.
    pub(crate) fn leaf_below(&self, id: InodeId) -> InodeId {
        let mut at = id;
        while let Some(first) =
            self.directory(at).and_then(|d| d.children.after(&self.table, b"").next())
        {
            at = first;
        }
        at
    }

    /// Something to take down: what hangs in the orphanage and is not in the trash.
    pub(crate) fn first_orphan(&self) -> Option<InodeId> {
        let first = self.directory(ORPHANAGE)?.children.after(&self.table, b"").next()?;
        (!is_trash_name(&self.get(first)?.name)).then_some(first)
    }

    /// Whether a node is in the trash, by itself or with what it was in.
    pub(crate) fn is_in_trash(&self, id: InodeId) -> bool {
        let mut at = id;
        while let Some(node) = self.get(at) {
            if node.parent == ORPHANAGE {
                return is_trash_name(&node.name);
            }
            at = node.parent;
        }
        false
    }

    /// Bytes of memory it takes, roughly: tables, blocks, and names and extents of their own
    /// allocation.
    pub(crate) fn memory(&self) -> u64 {
        let mut bytes = self.table.bytes();
        for (_, node) in self.table.iter_from(InodeId(0)) {
            if node.name.spilled() {
                bytes += node.name.capacity() + 16;
            }
            match &node.body {
                Body::File(file) if file.extents.spilled() => {
                    bytes += file.extents.capacity() * 8 + 16;
                }
                Body::File(_) => {}
                Body::Directory(d) => bytes += size_of::<Directory>() + 16 + d.children.bytes(),
            }
        }
        bytes as u64
    }

    /// Builds the tree from nodes that were loaded in any order; `children` are the entries of
    /// each directory.
    ///
    /// # Errors
    /// What is not a tree, in words.
    pub(crate) fn load(created_at: u64, nodes: Vec<(InodeId, Node)>) -> Result<Self, String> {
        let mut tree = Self::new(created_at);
        let mut order = Vec::with_capacity(nodes.len());
        for (id, node) in nodes {
            if id == ROOT_INODE {
                if let Some(root) = tree.table.get_mut(ROOT_INODE) {
                    *root = node;
                }
                continue;
            }
            if node.file().is_some() {
                tree.files += 1;
            } else {
                tree.directories += 1;
            }
            if !tree.table.insert(id, node) {
                return Err(format!("inode {id} stands under two names"));
            }
            order.push(id);
        }
        for id in &order {
            let parent = tree.get(*id).map_or(InodeId(0), |node| node.parent);
            if tree.directory(parent).is_none() {
                return Err(format!("inode {id} is in {parent}, which is no directory"));
            }
            if !tree.attach(parent, *id) {
                return Err(format!("two entries of directory {parent} have one name"));
            }
        }
        tree.count_all()?;
        Ok(tree)
    }

    /// Counts the descendants of all directories, from the roots; what is not reached is in a
    /// circle.
    fn count_all(&mut self) -> Result<(), String> {
        let mut reached = 0;
        let mut order = Vec::new();
        let mut open = vec![ROOT_INODE, ORPHANAGE];
        while let Some(id) = open.pop() {
            reached += 1;
            if let Some(directory) = self.directory(id) {
                open.extend(directory.children.after(&self.table, b""));
                order.push(id);
            }
        }
        if reached != self.table.len() {
            return Err("directories contain each other in a circle".into());
        }
        // Below before above.
        for id in order.into_iter().rev() {
            let Some(directory) = self.directory(id) else { continue };
            let (mut below, mut files) = (0, 0);
            for child in directory.children.after(&self.table, b"") {
                below += self.weight(child);
                files += self.files_in(child);
            }
            if let Some(directory) = self.directory_mut(id) {
                (directory.descendants, directory.files) = (below, files);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Namespace {
    /// Checks that the tree is one: every child knows its parent, names are in order, counts add
    /// up.
    pub(crate) fn check(&self) {
        let mut total = 0;
        for (id, node) in self.table.iter_from(InodeId(0)) {
            total += 1;
            if let Some(directory) = node.directory() {
                let mut last: Option<Vec<u8>> = None;
                let (mut count, mut below, mut files) = (0, 0, 0);
                for child in directory.children.after(&self.table, b"") {
                    let node = self.get(child).unwrap();
                    assert_eq!(node.parent, id);
                    assert!(last.as_deref() < Some(&node.name[..]), "order of names");
                    last = Some(node.name.to_vec());
                    count += 1;
                    below += self.weight(child);
                    files += self.files_in(child);
                }
                assert_eq!((count, below), (directory.children.len(), directory.descendants));
                assert_eq!(files, directory.files);
            }
        }
        assert_eq!(total, self.table.len());
        assert_eq!(self.files + self.directories + 2, total as u64);
    }
}
