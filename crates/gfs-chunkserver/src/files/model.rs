//! A disk in memory that forgets what real disks forget.
//!
//! Every file has two contents: what the page cache holds, which a killed process leaves intact,
//! and what is durable. A sync copies the first to the second; so does, a page at a time and at
//! random, the kernel's own writeback. Power loss keeps of each page not yet synced the old
//! bytes, the new bytes or a mixture by sector, and of the names changed since the last directory
//! sync a prefix (a journal's order). All choices come from one seed.

use super::{Capacity, DirEntry, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const PAGE: usize = 4096;
const SECTOR: usize = 512;
/// Clocks of file systems are coarse.
const CHANGES_PER_TICK: u64 = 16;

type Page = Arc<[u8; PAGE]>;

/// SplitMix64 (Steele, Lea, Flood 2014): a few lines, and the same stream everywhere.
#[derive(Clone, Debug)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    pages: BTreeMap<u64, Page>,
    len: u64,
}

impl Content {
    fn page(&self, index: u64) -> Page {
        self.pages.get(&index).cloned().unwrap_or_else(|| Arc::new([0; PAGE]))
    }

    fn put(&mut self, index: u64, page: Option<Page>) {
        match page {
            Some(page) => self.pages.insert(index, page),
            None => self.pages.remove(&index),
        };
    }

    /// Bytes past the end read as zeros once the file grows again.
    fn cut(&mut self, len: u64) {
        let last = len / PAGE as u64;
        self.pages.retain(|index, _| *index <= last);
        if let Some(page) = self.pages.get_mut(&last) {
            Arc::make_mut(page)[(len % PAGE as u64) as usize..].fill(0);
        }
        self.len = len;
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    cached: Content,
    durable: Content,
    dirty: BTreeSet<u64>,
    /// When it was last written to: now, and as the disk has it.
    modified: u64,
    durable_modified: u64,
}

impl Inode {
    fn write_back(&mut self, index: u64) {
        self.dirty.remove(&index);
        self.durable.put(index, self.cached.pages.get(&index).cloned());
        let end = self.cached.len.min((index + 1) * PAGE as u64);
        self.durable.len = self.durable.len.max(end);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Put(path, _) | Self::Remove(path) => path.parent() == Some(dir),
            Self::Rename(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct ModelDisk {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    /// Name changes since the last directory sync that covers them, in order.
    journal: Vec<NameChange>,
    next_inode: u64,
    total_pages: u64,
    /// Counts changes: [`CHANGES_PER_TICK`] of them happen at one time.
    changes: u64,
    pub(super) random: Seeded,
}

fn errno(error: rustix::io::Errno) -> io::Error {
    error.into()
}

fn not_found() -> io::Error {
    errno(rustix::io::Errno::NOENT)
}

impl ModelDisk {
    pub(super) fn new(seed: u64, total_bytes: u64) -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        Self {
            inodes: BTreeMap::new(),
            names: root.clone(),
            durable_names: root,
            journal: Vec::new(),
            next_inode: 1,
            total_pages: total_bytes / PAGE as u64,
            changes: 0,
            random: Seeded(seed),
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.journal.push(change);
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(Node::Dir) => Ok(()),
            _ => Err(not_found()),
        }
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(errno(rustix::io::Errno::ISDIR)),
            None => Err(not_found()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.parent_exists(path)?;
        if self.names.contains_key(path) {
            return Err(errno(rustix::io::Errno::EXIST));
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.change(NameChange::Put(path.to_owned(), Node::File(inode)));
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.parent_exists(path)?;
        if self.names.contains_key(path) {
            return Err(errno(rustix::io::Errno::EXIST));
        }
        self.change(NameChange::Put(path.to_owned(), Node::Dir));
        Ok(())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.names.get(path) == Some(&Node::Dir)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.inode(from)?;
        self.parent_exists(to)?;
        self.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.inode(path)?;
        self.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        if !self.is_dir(dir) {
            return Err(not_found());
        }
        let children = self.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(children
            .filter_map(|(path, node)| {
                let name = path.file_name()?.to_string_lossy().into_owned();
                Some(DirEntry { name, is_dir: *node == Node::Dir })
            })
            .collect())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !self.is_dir(dir) {
            return Err(not_found());
        }
        let last = self.journal.iter().rposition(|change| change.is_in(dir));
        for change in self.journal.drain(..last.map_or(0, |last| last + 1)) {
            change.apply(&mut self.durable_names);
        }
        Ok(())
    }

    fn used_pages(&self) -> u64 {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => self.inodes.get(inode),
            Node::Dir => None,
        });
        files.map(|inode| inode.cached.pages.len() as u64).sum()
    }

    pub(super) fn capacity(&self) -> Capacity {
        let free = self.total_pages.saturating_sub(self.used_pages());
        Capacity { total: self.total_pages * PAGE as u64, free: free * PAGE as u64 }
    }

    /// Makes the disk as large as its content plus `free` bytes.
    pub(super) fn set_free(&mut self, free: u64) {
        self.total_pages = self.used_pages() + free / PAGE as u64;
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&inode).ok_or_else(not_found)
    }

    /// A file is written to.
    fn touch(&mut self, inode: u64) -> io::Result<&mut Inode> {
        self.changes += 1;
        let now = self.changes / CHANGES_PER_TICK;
        let file = self.file(inode)?;
        file.modified = now;
        Ok(file)
    }

    /// Time passes.
    pub(super) fn next_tick(&mut self) {
        self.changes = (self.changes / CHANGES_PER_TICK + 1) * CHANGES_PER_TICK;
    }

    pub(super) fn stamp(&mut self, inode: u64) -> io::Result<Stamp> {
        let file = self.file(inode)?;
        let modified = (i64::try_from(file.modified).unwrap_or(i64::MAX), 0);
        Ok(Stamp { inode, length: file.cached.len, modified })
    }

    /// Writes page by page; a full disk stops in the middle, as real ones do.
    pub(super) fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut free = self.total_pages.saturating_sub(self.used_pages());
        let file = self.touch(inode)?;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let (index, start) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let (part, tail) = rest.split_at(rest.len().min(PAGE - start));
            if !file.cached.pages.contains_key(&index) {
                if free == 0 {
                    return Err(errno(rustix::io::Errno::NOSPC));
                }
                free -= 1;
            }
            let mut page = file.cached.page(index);
            Arc::make_mut(&mut page)[start..start + part.len()].copy_from_slice(part);
            file.cached.put(index, Some(page));
            file.dirty.insert(index);
            at += part.len() as u64;
            file.cached.len = file.cached.len.max(at);
            rest = tail;
        }
        self.write_back_now_and_then();
        Ok(())
    }

    /// A write that leaves no trace but its bytes.
    pub(super) fn rot(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let modified = self.file(inode)?.modified;
        let written = self.write(inode, bytes, offset);
        self.file(inode)?.modified = modified;
        written
    }

    fn write_back_now_and_then(&mut self) {
        if self.random.below(4) != 0 {
            return;
        }
        let dirty: Vec<(u64, u64)> = self
            .inodes
            .iter()
            .flat_map(|(inode, file)| file.dirty.iter().map(|page| (*inode, *page)))
            .collect();
        let chosen = self.random.below(dirty.len() as u64) as usize;
        if let Some((inode, page)) = dirty.get(chosen)
            && let Some(file) = self.inodes.get_mut(inode)
        {
            file.write_back(*page);
        }
    }

    pub(super) fn read(&mut self, inode: u64, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let file = self.file(inode)?;
        let len = file.cached.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let start = (at % PAGE as u64) as usize;
            let count = (len - done).min(PAGE - start);
            let page = file.cached.page(at / PAGE as u64);
            buffer[done..done + count].copy_from_slice(&page[start..start + count]);
            done += count;
        }
        Ok(len)
    }

    pub(super) fn sync(&mut self, inode: u64) -> io::Result<()> {
        let file = self.file(inode)?;
        file.durable = file.cached.clone();
        file.dirty.clear();
        Ok(())
    }

    pub(super) fn sync_all(&mut self) {
        for file in self.inodes.values_mut() {
            file.durable = file.cached.clone();
            file.dirty.clear();
            file.durable_modified = file.modified;
        }
        for change in self.journal.drain(..) {
            change.apply(&mut self.durable_names);
        }
    }

    pub(super) fn len(&mut self, inode: u64) -> io::Result<u64> {
        Ok(self.file(inode)?.cached.len)
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let file = self.touch(inode)?;
        if len < file.cached.len {
            let first = len / PAGE as u64;
            let cut: Vec<u64> = file.cached.pages.range(first..).map(|(index, _)| *index).collect();
            file.dirty.extend(cut);
            file.cached.cut(len);
        }
        file.cached.len = len;
        Ok(())
    }

    pub(super) fn allocate(&mut self, inode: u64, offset: u64, len: u64) -> io::Result<()> {
        let free = self.total_pages.saturating_sub(self.used_pages());
        let file = self.touch(inode)?;
        let range = offset / PAGE as u64..(offset + len).div_ceil(PAGE as u64);
        let missing: Vec<u64> =
            range.filter(|index| !file.cached.pages.contains_key(index)).collect();
        if missing.len() as u64 > free {
            return Err(errno(rustix::io::Errno::NOSPC));
        }
        for index in missing {
            file.cached.put(index, Some(Arc::new([0; PAGE])));
            file.dirty.insert(index);
        }
        file.cached.len = file.cached.len.max(offset + len);
        Ok(())
    }

    pub(super) fn punch(&mut self, inode: u64, offset: u64, len: u64) -> io::Result<()> {
        let file = self.touch(inode)?;
        // Only whole pages, as the store asks.
        for index in offset.div_ceil(PAGE as u64)..(offset + len) / PAGE as u64 {
            if file.cached.pages.remove(&index).is_some() {
                file.dirty.insert(index);
            }
        }
        Ok(())
    }

    pub(super) fn write_back_range(&mut self, inode: u64, offset: u64, len: u64) -> io::Result<()> {
        let file = self.file(inode)?;
        let range = offset / PAGE as u64..(offset + len).div_ceil(PAGE as u64);
        let pages: Vec<u64> = file.dirty.range(range).copied().collect();
        for page in pages {
            file.write_back(page);
        }
        Ok(())
    }

    /// See the module.
    pub(super) fn lose_power(&mut self) {
        let kept = self.random.below(self.journal.len() as u64 + 1) as usize;
        for change in self.journal.drain(..).take(kept) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        for (inode, file) in &mut self.inodes {
            // A sync of data alone leaves the time behind; writeback may have taken it along.
            if inode.is_multiple_of(2) {
                file.modified = file.durable_modified;
            }
            for index in std::mem::take(&mut file.dirty) {
                match self.random.below(3) {
                    0 => {}
                    1 => file.write_back(index),
                    _ => {
                        let (old, new) = (file.durable.page(index), file.cached.page(index));
                        let mut torn = *old;
                        for sector in (0..PAGE).step_by(SECTOR) {
                            if self.random.below(2) == 0 {
                                let range = sector..sector + SECTOR;
                                torn[range.clone()].copy_from_slice(&new[range]);
                            }
                        }
                        file.durable.put(index, Some(Arc::new(torn)));
                    }
                }
            }
            if self.random.below(2) == 0 {
                file.durable.len = file.cached.len;
            }
            let len = file.durable.len;
            file.durable.cut(len);
            file.cached = file.durable.clone();
        }
    }
}
