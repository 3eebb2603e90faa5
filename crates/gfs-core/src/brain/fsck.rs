//! Consistency of the tree and the chunk table: looked over in steps, so that a large tree stops
//! nobody.

use std::collections::VecDeque;

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, InodeId, ROOT_INODE};

use super::namespace::{Body, Node};
use super::step::Brain;
use super::work::Work;
use super::{Response, Token};

/// Problems in an answer that does not say how many.
const PROBLEMS: usize = 1_000;
const PROBLEMS_AT_MOST: usize = 10_000;
/// Calls that may wait for their turn.
const QUEUE: usize = 8;

/// Fscks asked for, the first under way.
#[derive(Debug)]
pub(crate) struct FsckJob {
    queue: VecDeque<Asked>,
    /// The next inode to look at.
    cursor: InodeId,
    files: u64,
    directories: u64,
    trash_files: u64,
    problems: Vec<pb::FsckProblem>,
    count: u64,
}

#[derive(Debug)]
struct Asked {
    token: Token,
    /// Only what is within.
    root: InodeId,
    limit: usize,
}

impl FsckJob {
    fn new(asked: Asked) -> Self {
        Self {
            queue: VecDeque::from([asked]),
            cursor: InodeId(0),
            files: 0,
            directories: 0,
            trash_files: 0,
            problems: Vec::new(),
            count: 0,
        }
    }
}

impl Brain {
    /// Fscks that wait, the one under way included, and how many may.
    pub(super) fn fscks(&self) -> (usize, usize) {
        (self.fsck.as_ref().map_or(0, |job| job.queue.len()), QUEUE)
    }

    /// Queues an fsck.
    pub(super) fn begin_fsck(
        &mut self,
        work: &mut Work,
        token: Token,
        request: &pb::FsckRequest,
    ) -> Result<(), GfsError> {
        let root = if request.path.is_empty() {
            ROOT_INODE
        } else {
            self.node_at(work, &super::calls::parse(&request.path)?)?.0
        };
        let limit = match request.limit as usize {
            0 => PROBLEMS,
            limit => limit.min(PROBLEMS_AT_MOST),
        };
        let asked = Asked { token, root, limit };
        match &mut self.fsck {
            None => self.fsck = Some(FsckJob::new(asked)),
            Some(job) if job.queue.len() < QUEUE => job.queue.push_back(asked),
            Some(_) => {
                return Err(GfsError::new(ErrorCode::ResourceExhausted, "too many fscks wait"));
            }
        }
        Ok(())
    }

    /// Looks at some more inodes.
    pub(super) fn go_on_with_fsck(&mut self, work: &mut Work) {
        let Some(mut job) = self.fsck.take() else { return };
        let Some(asked) = job.queue.front() else { return };
        let mut next = None;
        for (looked, (inode, node)) in self.namespace.iter_from(job.cursor).enumerate() {
            if looked == self.config.limits.fsck_per_step {
                next = Some(inode);
                break;
            }
            let in_trash = asked.root == ROOT_INODE
                && self.trash.len() > 0
                && self.namespace.is_in_trash(inode);
            if !in_trash && !self.namespace.is_within(inode, asked.root, |_| {}) {
                continue;
            }
            match &node.body {
                Body::Directory(_) => {
                    job.directories += u64::from(inode != ROOT_INODE && !in_trash);
                }
                Body::File(_) => {
                    *(if in_trash { &mut job.trash_files } else { &mut job.files }) += 1;
                    if let Some(text) = self.fault_of(inode, node) {
                        job.count += 1;
                        if job.problems.len() < asked.limit {
                            job.problems.push(pb::FsckProblem {
                                kind: "LENGTH_MISMATCH".into(),
                                path: self.namespace.path_of(inode),
                                inode: inode.0,
                                text,
                                ..Default::default()
                            });
                        }
                    }
                }
            }
        }
        if let Some(next) = next {
            job.cursor = next;
            self.fsck = Some(job);
            return;
        }
        self.end_fsck(work, job);
    }

    /// What is wrong with the extents of a file.
    fn fault_of(&self, inode: InodeId, node: &Node) -> Option<String> {
        let file = node.file()?;
        let mut start = 0;
        for (index, extent) in file.extents.iter().enumerate() {
            let Some(handle) = &extent.handle() else {
                let (stands, length) =
                    (self.extent_start(file, index), self.extent_length(*extent));
                if stands != start || length == 0 || length > self.geometry.chunk_size() {
                    return Some(format!(
                        "a hole of {length} bytes stands at {start} (index {index}) and is taken \
                         to be at {stands}"
                    ));
                }
                start += u64::from(length);
                continue;
            };
            let Some(info) = self.chunks.info(*handle) else {
                return Some(format!("its chunk {handle} is not in the chunk table"));
            };
            if info.inode != inode || info.index as usize != index || info.start != start {
                return Some(format!(
                    "chunk {handle} stands at {start} (index {index}) and says it is at {} (index \
                     {}) of inode {}",
                    info.start, info.index, info.inode
                ));
            }
            if index + 1 < file.extents.len() && !self.is_sealed(*handle) {
                return Some(format!("chunk {handle} is open and not the last"));
            }
            start += u64::from(self.chunks.length(*handle));
        }
        None
    }

    fn end_fsck(&mut self, work: &mut Work, mut job: FsckJob) {
        let Some(asked) = job.queue.pop_front() else { return };
        // With a path, those of other files are left out afterwards.
        let all = asked.root == ROOT_INODE;
        let wanted = if all { asked.limit } else { usize::MAX };
        let (problems, count) = self.chunks.problems(wanted);
        if all {
            job.count += count;
        }
        for problem in problems {
            if !all {
                if !self.namespace.is_within(problem.inode, asked.root, |_| {}) {
                    continue;
                }
                job.count += 1;
            }
            if job.problems.len() < asked.limit {
                job.problems.push(pb::FsckProblem {
                    kind: problem.kind.into(),
                    path: if problem.inode.0 == 0 {
                        String::new()
                    } else {
                        self.namespace.path_of(problem.inode)
                    },
                    inode: problem.inode.0,
                    handle: problem.handle.0,
                    text: problem.text,
                    severe: problem.severe,
                });
            }
        }
        let response = Response::Fsck(pb::FsckResponse {
            files: job.files,
            directories: job.directories,
            trash_files: job.trash_files,
            chunks: Some(self.chunks.health()),
            problems: job.problems,
            problem_count: job.count,
        });
        work.after = self.journal.last();
        work.replies.push((asked.token, Ok(response)));
        self.fsck = job.queue.pop_front().map(|next| {
            let mut next = FsckJob::new(next);
            next.queue.append(&mut job.queue);
            next
        });
    }
}
