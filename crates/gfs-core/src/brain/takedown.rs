//! Taking down what was removed for good: a few entries per commit, however large the tree.
//!
//! Remove detaches a tree with one commit, into the orphanage; from then on nobody sees it. The
//! rest is done here, in steps, and goes on after a restart.

use gfs_types::{ChunkHandle, InodeId};

use super::namespace::{ORPHANAGE, orphan_name};
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
            for handle in &file.extents {
                self.chunks.discard(*handle, &mut work.chunks);
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
        if self.namespace.weight(inode) == 1 && extents <= EXTENTS_PER_PAGE {
            self.erase(work, inode);
        } else {
            self.detach(work, inode);
        }
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
        let dropped: Vec<ChunkHandle> =
            file.extents.drain(page as usize * EXTENTS_PER_PAGE..).collect();
        for handle in dropped {
            self.chunks.discard(handle, &mut work.chunks);
        }
        work.deleted.push(records::page_key(inode, page));
        work.entry(inode);
    }
}
