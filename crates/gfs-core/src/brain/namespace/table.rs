//! All files and directories by inode id: pages of 256 slots, found by division.
//!
//! Inode ids are minted one after the other, so a page is full when it is young and is given back
//! when the last of its inodes is gone. A node takes 80 bytes, names of up to 16 bytes included.

use gfs_proto::v1 as pb;
use gfs_types::InodeId;
use smallvec::SmallVec;

use super::{Children, Extents};

/// Slots of a page.
const PAGE: usize = 256;

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The directory it is in; 0 for the root and the orphanage.
    pub(crate) parent: InodeId,
    /// Its name there (UTF-8).
    pub(crate) name: SmallVec<[u8; 16]>,
    /// Milliseconds since 1970.
    pub(crate) modified_at: u64,
    /// Milliseconds since 1970.
    pub(crate) created_at: u64,
    /// What it is.
    pub(crate) body: Body,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A file.
    File(File),
    /// A directory.
    Directory(Box<Directory>),
}

/// A file: its chunks and holes. Lengths and members of chunks are in the chunk table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// In order.
    pub(crate) extents: Extents,
    /// Replication goal; 0: the cluster's. What directories said was taken over when it was made.
    pub(crate) copies: u8,
    /// As the file says.
    pub(crate) durability: pb::Durability,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// What is in it, in the order of names.
    pub(crate) children: Children,
    /// All that is below it, however deep.
    pub(crate) descendants: u64,
    /// The files among them.
    pub(crate) files: u64,
    /// Goal of new files; 0: as the parent says.
    pub(crate) copies: u8,
    /// Durability of new files.
    pub(crate) durability: pb::Durability,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            children: Children::default(),
            descendants: 0,
            files: 0,
            copies: 0,
            durability: pb::Durability::Default,
        }
    }
}

impl Node {
    /// The name as text.
    pub(crate) fn name(&self) -> &str {
        // Names come from checked paths and checked records.
        std::str::from_utf8(&self.name).unwrap_or("\u{fffd}")
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.body {
            Body::File(file) => Some(file),
            Body::Directory(_) => None,
        }
    }

    /// The directory, if it is one.
    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            Body::File(_) => None,
        }
    }
}

#[derive(Debug, Default)]
struct Page {
    /// Empty or `PAGE` of them.
    slots: Box<[Option<Node>]>,
    used: usize,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pages: Vec<Page>,
    len: usize,
}

fn place(id: InodeId) -> (usize, usize) {
    let id = usize::try_from(id.0).unwrap_or(usize::MAX);
    (id / PAGE, id % PAGE)
}

impl Table {
    /// The node of this id.
    pub(crate) fn get(&self, id: InodeId) -> Option<&Node> {
        let (page, slot) = place(id);
        self.pages.get(page)?.slots.get(slot)?.as_ref()
    }

    /// The node of this id, to change it.
    pub(crate) fn get_mut(&mut self, id: InodeId) -> Option<&mut Node> {
        let (page, slot) = place(id);
        self.pages.get_mut(page)?.slots.get_mut(slot)?.as_mut()
    }

    /// Puts a node where none is; `false` if the id is taken. The ids are our own: memory grows
    /// with the highest one.
    pub(crate) fn insert(&mut self, id: InodeId, node: Node) -> bool {
        let (page, slot) = place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Page::default);
        }
        let Some(page) = self.pages.get_mut(page) else { return false };
        if page.slots.is_empty() {
            page.slots = (0..PAGE).map(|_| None).collect();
        }
        match page.slots.get_mut(slot) {
            Some(slot @ None) => *slot = Some(node),
            _ => return false,
        }
        page.used += 1;
        self.len += 1;
        true
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, id: InodeId) -> Option<Node> {
        let (page, slot) = place(id);
        let page = self.pages.get_mut(page)?;
        let node = page.slots.get_mut(slot)?.take()?;
        page.used -= 1;
        self.len -= 1;
        if page.used == 0 {
            page.slots = Box::default();
        }
        Some(node)
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Nodes with an id of at least `from`, in order of their ids.
    pub(crate) fn iter_from(&self, from: InodeId) -> impl Iterator<Item = (InodeId, &Node)> {
        let (first, _) = place(from);
        self.pages
            .iter()
            .enumerate()
            .skip(first)
            .flat_map(|(p, page)| {
                page.slots.iter().enumerate().filter_map(move |(s, node)| {
                    node.as_ref().map(|node| (InodeId((p * PAGE + s) as u64), node))
                })
            })
            .skip_while(move |(id, _)| *id < from)
    }

    /// Bytes that the table itself takes, without what names and extents allocate.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.capacity() * size_of::<Page>()
            + self.pages.iter().map(|p| p.slots.len() * size_of::<Option<Node>>()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 80);
        assert_eq!(size_of::<Option<Node>>(), 80);
    }
}
