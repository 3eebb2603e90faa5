//! What was removed and can be brought back for a while.
//!
//! Remove moves a file or a tree, whole, out of the tree: into the hidden directory of what was
//! removed, under a name of its own, with one commit however large it is. What it was stands in
//! its entry's record, and here. Chunks hear nothing of it: they are kept and repaired like any,
//! until the entry is given up (its time is over, or somebody empties the trash) and goes the way
//! of everything that is taken down (`takedown`).
//!
//! | | |
//! |---|---|
//! | time | when it expires is fixed at the removal, from the period as it is then, by the time of day |
//! | a file that is being written | goes as it is, with what was acknowledged; its writer's calls fail with NOT_FOUND. Restored, it has the writer it had, who may go on or, silent for long enough, be displaced |
//! | replaced by a rename | goes into the trash like what is removed |
//! | given up by its creator before the first close | never was: not into the trash |
//! | rollback mode | nothing expires |
//! | too many entries | the first to expire makes room, before its time |

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::{GfsPath, InodeId, Millis};

use super::namespace::{ORPHANAGE, trash_name};
use super::records::EXTENTS_PER_PAGE;
use super::step::Brain;
use super::work::Work;

/// How long things stay in the trash of a cluster that says nothing else.
pub(crate) const DEFAULT_PERIOD: Millis = Millis(24 * 3_600_000);

/// An entry of the trash: what one removal took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trashed {
    /// Path it had.
    pub(crate) path: Box<str>,
    /// Milliseconds since 1970.
    pub(crate) deleted_at: u64,
    /// Milliseconds since 1970.
    pub(crate) expires_at: u64,
    /// Files in it, itself included.
    pub(crate) files: u64,
    /// Directories in it, itself included.
    pub(crate) directories: u64,
}

/// The entries of the trash, by inode.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trash {
    entries: BTreeMap<InodeId, Trashed>,
    by_expiry: BTreeSet<(u64, InodeId)>,
    files: u64,
    directories: u64,
}

impl Trash {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Files in all entries.
    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    /// Directories in all entries.
    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }

    /// The entry of an inode.
    pub(crate) fn get(&self, inode: InodeId) -> Option<&Trashed> {
        self.entries.get(&inode)
    }

    /// Entries after an inode, in order of inodes.
    pub(crate) fn after(&self, inode: InodeId) -> impl Iterator<Item = (InodeId, &Trashed)> {
        self.entries
            .range(InodeId(inode.0.saturating_add(1))..)
            .map(|(inode, trashed)| (*inode, trashed))
    }

    /// The entry that expires first, and when.
    pub(crate) fn first_to_expire(&self) -> Option<(u64, InodeId)> {
        self.by_expiry.first().copied()
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, inode: InodeId, trashed: Trashed) {
        self.remove(inode);
        self.files += trashed.files;
        self.directories += trashed.directories;
        self.by_expiry.insert((trashed.expires_at, inode));
        self.entries.insert(inode, trashed);
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, inode: InodeId) -> Option<Trashed> {
        let trashed = self.entries.remove(&inode)?;
        self.files -= trashed.files;
        self.directories -= trashed.directories;
        self.by_expiry.remove(&(trashed.expires_at, inode));
        Some(trashed)
    }
}

impl Brain {
    /// How long things stay in the trash; 0: nothing goes there.
    pub(super) fn trash_period(&self) -> Millis {
        self.cluster.trash_period_ms.map_or(DEFAULT_PERIOD, Millis)
    }

    /// Takes a file or tree away that stands at `path`: into the trash, unless the cluster has none
    /// or the caller wants none.
    pub(super) fn take_away(
        &mut self,
        work: &mut Work,
        inode: InodeId,
        path: &GfsPath,
        skip_trash: bool,
    ) {
        let period = self.trash_period();
        if skip_trash || period == Millis(0) {
            self.dispose(work, inode);
            return;
        }
        while self.trash.len() >= self.config.limits.trash_entries
            && let Some((_, first)) = self.trash.first_to_expire()
        {
            self.give_up(work, first, self.config.limits.removed_per_commit);
        }
        let Some(node) = self.namespace.get(inode) else { return };
        work.unbound(inode, node);
        let name = trash_name(inode);
        self.namespace.move_to(inode, ORPHANAGE, &name);
        work.bound(ORPHANAGE, &name, inode);
        work.entry(inode);
        let deleted_at = work.now.wall.0;
        let files = self.namespace.files_in(inode);
        let trashed = Trashed {
            path: path.as_str().into(),
            deleted_at,
            expires_at: deleted_at.saturating_add(period.0),
            files,
            directories: self.namespace.weight(inode) - files,
        };
        self.trash.insert(inode, trashed);
        // Who knows nothing of the trash would take it down.
        self.raise_format(work);
    }

    /// Gives an entry up. Returns how many records that changes at most: no more than `budget`,
    /// or 2.
    pub(super) fn give_up(&mut self, work: &mut Work, inode: InodeId, budget: usize) -> usize {
        self.trash.remove(inode);
        let extents = self.namespace.file(inode).map_or(0, |file| file.extents.len());
        let in_entry = extents <= EXTENTS_PER_PAGE && !self.doomed.contains_key(&inode);
        if self.namespace.weight(inode) == 1 && in_entry && extents < budget {
            self.erase(work, inode);
            extents + 1
        } else {
            self.detach(work, inode);
            2
        }
    }

    /// Gives up some entries whose time is over; `false` when there are none.
    pub(super) fn expire_trash(&mut self, work: &mut Work) -> bool {
        if self.chunks.rollback_mode() {
            return false;
        }
        let mut budget = self.config.limits.removed_per_commit;
        let mut any = false;
        while budget > 0
            && let Some((at, inode)) = self.trash.first_to_expire()
            && at <= work.now.wall.0
        {
            any = true;
            budget = budget.saturating_sub(self.give_up(work, inode, budget));
        }
        any
    }
}
