//! Makes mutations durable: one transaction in flight, each with all that queued meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gfs_core::brain::Event;
use gfs_metastore::{Batch, CommitError, GroupBatch, MetaStore, Refused, SequenceRecord};
use gfs_process::Clock;
use gfs_types::CommitSequence;

use crate::metrics::CommitMetrics;
use crate::term::{Commit, Term};

/// Wait before a transaction that certainly had no effect is tried again; doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Committer {
    pub(crate) term: Arc<Term>,
    pub(crate) store: Arc<dyn MetaStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The stored sequence.
    pub(crate) sequence: CommitSequence,
    /// The highest number ever tried: each try gets a new one, so that the number read after an
    /// unknown outcome names the transaction.
    pub(crate) tried: CommitSequence,
    pub(crate) metrics: CommitMetrics,
}

impl Committer {
    /// Commits until the term is over.
    ///
    /// # Errors
    /// The reason for which it is over, if that came from the store.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let mut waiting: VecDeque<Commit> = VecDeque::new();
        while !self.term.is_over() {
            waiting.append(&mut self.term.take_commits());
            if waiting.is_empty() {
                self.term.queued.notified().await;
                continue;
            }
            let group = self.group(&mut waiting)?;
            self.commit(group).await?;
        }
        Ok(())
    }

    fn group(&self, waiting: &mut VecDeque<Commit>) -> anyhow::Result<Group> {
        let mut batch = GroupBatch::new(self.store.limits());
        let mut group = None;
        while let Some(Commit { ordinal, mutations, counters }) = waiting.pop_front() {
            match batch.add(mutations) {
                Ok(()) => group = Some((ordinal, counters)),
                Err(Refused::Full(mutations)) => {
                    waiting.push_front(Commit { ordinal, mutations, counters });
                    break;
                }
                Err(Refused::TooLarge(why)) => {
                    bail!("one operation is larger than a transaction may be: {why}")
                }
            }
        }
        let (through, counters) = group.context("nothing to commit")?;
        Ok(Group { through, counters, operations: batch.operations(), puts: batch.into_puts() })
    }

    async fn commit(&mut self, group: Group) -> anyhow::Result<()> {
        let begun = self.clock.now();
        let mut pause = FIRST_PAUSE;
        loop {
            self.tried = self.tried.next();
            let batch = Batch {
                expected: self.sequence,
                next: SequenceRecord { sequence: self.tried, counters: group.counters.clone() },
                puts: group.puts.clone(),
            };
            match self.store.commit(&self.term.leadership, batch).await {
                Ok(_) => break,
                Err(CommitError::Unknown(why)) => {
                    tracing::warn!(%why, "the outcome of a commit is unknown; asking the store");
                    let found = self.settled().await?;
                    if found == self.tried {
                        break;
                    }
                    if found != self.sequence {
                        bail!("the store is at sequence {found}: somebody else leads");
                    }
                }
                Err(CommitError::Unavailable(why) | CommitError::NoSpace(why)) => {
                    tracing::warn!(%why, "the metadata store takes no commit; trying again");
                    self.metrics.refused.inc();
                }
                Err(error) => return Err(error).context("committing metadata"),
            }
            if self.term.is_over() {
                bail!("the term ended during a commit");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.sequence = self.tried;
        self.metrics.committed(begun, self.clock.now(), group.operations, group.puts.len());
        self.term.tell(Event::Committed { through: group.through, sequence: self.sequence });
        Ok(())
    }

    /// The stored sequence, once the store answers.
    async fn settled(&self) -> anyhow::Result<CommitSequence> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.read_sequence().await {
                Ok(record) => return Ok(record.sequence),
                Err(gfs_metastore::StoreError::Unavailable(why)) if !self.term.is_over() => {
                    tracing::warn!(%why, "the metadata store does not answer; asking again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error).context("reading the commit sequence"),
            }
        }
    }
}

struct Group {
    through: gfs_core::brain::Ordinal,
    counters: bytes::Bytes,
    operations: usize,
    puts: std::collections::BTreeMap<gfs_metastore::Key, Option<gfs_metastore::Value>>,
}
