//! Taking down what was removed for good: a few entries per commit, however large the tree.
//!
//! Remove detaches a tree with one commit, into the orphanage; from then on nobody sees it. The
//! rest is done here, in steps, and goes on after a restart.

use gfs_types::InodeId;

use super::namespace::{Extent, Extents, ORPHANAGE, orphan_name};
use super::records::{self, EXTENTS_PER_PAGE, page_of};
use super::step::Brain;
use super::work::Work;

impl Brain {
    /// Removes a file or an empty directory with all that belongs to it, at once. Only for files
    /// whose extents fit into their entry.
    pub(super) fn erase(&mut self, work: &mut Work, inode: InodeId) {
        if let Some(writing) = self.writers.remove(&inode)
            && let Some(spare) = writing.spare
        {
            self.chunks.discard(spare, &mut work.chunks);
        }
        let Some(node) = self.namespace.remove(inode) else { return };
        if let Some(file) = node.file() {
            for handle in file.extents.iter().filter_map(|extent| extent.handle()) {
                self.chunks.discard(handle, &mut work.chunks);
            }
        }
        work.unbound(inode, &node);
    }

    /// Hides a tree from everybody; it is taken down later.
    pub(super) fn detach(&mut self, work: &mut Work, inode: InodeId) {
        let Some(node) = self.namespace.get(inode) else { return };
        work.unbound(inode, node);
        self.namespace.move_to(inode, ORPHANAGE, &orphan_name(inode));
        work.entry(inode);
    }

    /// Removes a file or a tree: at once if it is small.
    pub(super) fn dispose(&mut self, work: &mut Work, inode: InodeId) {
        let extents = self.namespace.file(inode).map_or(0, |file| file.extents.len());
        let in_entry = extents <= EXTENTS_PER_PAGE && !self.doomed.contains_key(&inode);
        if self.namespace.weight(inode) == 1 && in_entry {
            self.erase(work, inode);
        } else {
            self.detach(work, inode);
        }
    }

    /// Takes down a page of what truncations cut off; `false` when there is none.
    pub(super) fn take_down_doomed(&mut self, work: &mut Work) -> bool {
        let first = self.doomed.first_key_value().map(|(inode, _)| *inode);
        first.is_some_and(|inode| self.drop_doomed_page(work, inode))
    }

    /// Takes down a few orphans; `false` when there are none.
    pub(super) fn take_down(&mut self, work: &mut Work) -> bool {
        let mut budget = self.config.limits.removed_per_commit;
        let mut any = false;
        while budget > 0 {
            let Some(orphan) = self.namespace.first_orphan() else { break };
            let inode = self.namespace.leaf_below(orphan);
            any = true;
            let extents = self.namespace.file(inode).map_or(0, |file| file.extents.len());
            if self.drop_doomed_page(work, inode) {
                budget = budget.saturating_sub(EXTENTS_PER_PAGE + 1);
                continue;
            }
            if extents > EXTENTS_PER_PAGE {
                self.drop_last_page(work, inode, extents);
            } else {
                self.erase(work, inode);
            }
            budget = budget.saturating_sub(1 + extents.min(EXTENTS_PER_PAGE));
        }
        any
    }

    /// Discards the chunks of a large file's last page.
    fn drop_last_page(&mut self, work: &mut Work, inode: InodeId, extents: usize) {
        let page = page_of(extents - 1);
        let Some(file) = self.namespace.file_mut(inode) else { return };
        let dropped: Extents = file.extents.drain(page as usize * EXTENTS_PER_PAGE..).collect();
        for handle in dropped.into_iter().filter_map(Extent::handle) {
            self.chunks.discard(handle, &mut work.chunks);
        }
        work.deleted.push(records::page_key(inode, page));
        work.entry(inode);
    }
}
