//! Following a store, and the recent history that the stores of one process keep for it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Key, Revision, SequenceRecord, StoreError, Value};

/// One commit, as followers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its revision.
    pub revision: Revision,
    /// The sequence record it left.
    pub sequence: SequenceRecord,
    /// What it changed, by key; `None` deletes. The deletion of a key that was not there may be
    /// missing.
    pub puts: BTreeMap<Key, Option<Value>>,
}

/// The commits of a store from some revision on.
pub struct Follower {
    source: Box<dyn ChangeSource>,
}

/// Where a [`Follower`] gets its changes from: the part a store implements.
#[async_trait]
pub trait ChangeSource: Send {
    /// Waits for the next change. Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Follower::next`].
    async fn next(&mut self) -> Result<Arc<Change>, StoreError>;
}

impl Follower {
    /// A follower reading from `source`.
    #[must_use]
    pub fn new(source: Box<dyn ChangeSource>) -> Self {
        Self { source }
    }

    /// Waits for the next commit. Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when it has fallen too far behind: load again.
    /// [`StoreError::Unavailable`]: follow again from the last change seen.
    /// [`StoreError::Closed`]: this handle is.
    pub async fn next(&mut self) -> Result<Arc<Change>, StoreError> {
        self.source.next().await
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

/// The recent commits of a store that lives in this process. Bounded: what exceeds the bounds is
/// forgotten, oldest first, and a follower that still needed it has to load again.
#[derive(Clone, Debug)]
pub(crate) struct History {
    shared: Arc<Mutex<Recent>>,
    /// The revision of the newest commit; `None` once closed. Wakes followers.
    head: watch::Sender<Option<Revision>>,
}

/// How much history is kept for followers that lag.
const MAX_CHANGES: usize = 4096;
const MAX_CHANGE_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
struct Recent {
    /// Everything after this revision is in `changes`.
    floor: Revision,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

impl History {
    /// A history that begins after `revision`.
    pub(crate) fn beginning_after(revision: Revision) -> Self {
        let recent = Recent { floor: revision, changes: VecDeque::new(), bytes: 0 };
        let (head, _) = watch::channel(Some(revision));
        Self { shared: Arc::new(Mutex::new(recent)), head }
    }

    /// Starts over after `revision`, before anyone follows.
    pub(crate) fn begin_after(&self, revision: Revision) {
        *lock(&self.shared) = Recent { floor: revision, changes: VecDeque::new(), bytes: 0 };
        self.head.send_replace(Some(revision));
    }

    /// Adds a commit and wakes followers.
    pub(crate) fn push(&self, change: Change) {
        let revision = change.revision;
        {
            let mut recent = lock(&self.shared);
            recent.bytes += weight(&change);
            recent.changes.push_back(Arc::new(change));
            while recent.changes.len() > MAX_CHANGES || recent.bytes > MAX_CHANGE_BYTES {
                if !recent.forget_oldest() {
                    break;
                }
            }
        }
        // Not before the change is there to be found.
        self.head.send_if_modified(|head| match head {
            Some(head) => {
                *head = revision;
                true
            }
            None => false,
        });
    }

    /// Forgets everything up to and including `upto`.
    pub(crate) fn compact(&self, upto: Revision) {
        let mut recent = lock(&self.shared);
        while recent.changes.front().is_some_and(|oldest| oldest.revision <= upto) {
            recent.forget_oldest();
        }
    }

    /// Ends every follower.
    pub(crate) fn close(&self) {
        self.head.send_replace(None);
    }

    /// Follows from `after`.
    pub(crate) fn follow(&self, after: Revision) -> Result<Follower, StoreError> {
        let head = self.head.subscribe();
        let newest = (*head.borrow()).ok_or(StoreError::Closed)?;
        // A revision from the future is one of another store, or of one that was rolled back.
        if after < lock(&self.shared).floor || after > newest {
            return Err(StoreError::Compacted);
        }
        let shared = Arc::clone(&self.shared);
        Ok(Follower::new(Box::new(HistoryFollower { shared, head, seen: after })))
    }
}

impl Recent {
    fn forget_oldest(&mut self) -> bool {
        let Some(oldest) = self.changes.pop_front() else { return false };
        self.floor = oldest.revision;
        self.bytes = self.bytes.saturating_sub(weight(&oldest));
        true
    }

    fn after(&self, seen: Revision) -> Result<Option<Arc<Change>>, StoreError> {
        if seen < self.floor {
            return Err(StoreError::Compacted);
        }
        let position = self.changes.partition_point(|change| change.revision <= seen);
        Ok(self.changes.get(position).cloned())
    }
}

fn weight(change: &Change) -> usize {
    let records: usize =
        change.puts.iter().map(|(k, v)| 64 + k.len() + v.as_ref().map_or(0, Value::len)).sum();
    128 + records + change.sequence.counters.len()
}

/// A panic elsewhere while holding the lock leaves the ring whole: every update is one step.
fn lock(shared: &Mutex<Recent>) -> MutexGuard<'_, Recent> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct HistoryFollower {
    shared: Arc<Mutex<Recent>>,
    head: watch::Receiver<Option<Revision>>,
    seen: Revision,
}

#[async_trait]
impl ChangeSource for HistoryFollower {
    async fn next(&mut self) -> Result<Arc<Change>, StoreError> {
        loop {
            // Marks the head as seen *before* looking, so that a commit in between wakes us.
            let open = self.head.borrow_and_update().is_some();
            if let Some(change) = lock(&self.shared).after(self.seen)? {
                self.seen = change.revision;
                return Ok(change);
            }
            if !open || self.head.changed().await.is_err() {
                return Err(StoreError::Closed);
            }
        }
    }
}
