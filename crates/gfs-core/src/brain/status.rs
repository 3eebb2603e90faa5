//! The cluster on one page.

use gfs_proto::v1 as pb;
use gfs_types::InodeId;

use super::step::Brain;
use super::work::Work;

/// Inodes whose bytes are counted per tick.
const COUNTED_PER_TICK: usize = 2_000;

/// Bytes of all files, counted a few files at a time, over and over.
#[derive(Debug, Default)]
pub(crate) struct LogicalBytes {
    /// As of the last time all were counted.
    known: u64,
    cursor: InodeId,
    sum: u64,
    /// The same of files in the trash, which are not in the others.
    trash_known: u64,
    trash_sum: u64,
}

impl Brain {
    /// Counts the bytes of some more files.
    pub(super) fn count_bytes(&mut self) {
        let mut files = self.namespace.iter_from(self.logical.cursor);
        let (mut sum, mut trash_sum) = (0, 0);
        for (inode, node) in files.by_ref().take(COUNTED_PER_TICK) {
            let Some(file) = node.file() else { continue };
            if self.trash.len() > 0 && self.namespace.is_in_trash(inode) {
                trash_sum += self.length_of(file);
            } else {
                sum += self.length_of(file);
            }
        }
        let next = files.next().map(|(inode, _)| inode);
        self.logical.sum += sum;
        self.logical.trash_sum += trash_sum;
        match next {
            Some(next) => self.logical.cursor = next,
            None => {
                let LogicalBytes { sum: known, trash_sum: trash_known, .. } = self.logical;
                self.logical = LogicalBytes { known, trash_known, ..LogicalBytes::default() };
            }
        }
    }

    /// What Status answers. `memory_bytes` and, between several masters, `leader` are the shell's
    /// to fill in.
    pub(super) fn status(&self, work: &Work) -> pb::StatusResponse {
        let (total_bytes, free_bytes) = self.chunks.capacity();
        pb::StatusResponse {
            cluster_id: self.cluster.cluster_id.clone(),
            epoch: self.term.epoch.0,
            commit_sequence: self.commit_sequence.0,
            leader: self.config.master_addresses.first().cloned().unwrap_or_default(),
            phase: self.chunks.phase().unwrap_or_else(|| "serving".into()),
            files: self.namespace.files() - self.trash.files(),
            directories: self.namespace.directories() - self.trash.directories(),
            chunks: Some(self.chunks.health()),
            total_bytes,
            free_bytes,
            logical_bytes: self.logical.known,
            servers: self.chunks.server_statuses(work.now),
            incidents: self.chunks.incidents(),
            rollback_mode: self.chunks.rollback_mode(),
            chunk_size: self.geometry.chunk_size(),
            leading_ms: work.now.mono.since(self.began).0,
            memory_bytes: 0,
            trash_entries: self.trash.len() as u64,
            trash_files: self.trash.files(),
            trash_directories: self.trash.directories(),
            trash_bytes: self.logical.trash_known,
            trash_period_ms: self.trash_period().0,
            balance: Some(self.chunks.balance_status(work.now)),
        }
    }

    /// Bytes of memory that the tree takes, roughly; the chunk table not counted.
    #[must_use]
    pub fn namespace_memory(&self) -> u64 {
        self.namespace.memory()
    }
}
