//! The contract every metadata store keeps.

use std::fmt;

use async_trait::async_trait;
use gfs_types::Epoch;

use crate::{
    Batch, CommitError, Follower, LeaderRecord, Leadership, Limits, SequenceRecord, Snapshot,
    StoreError, Tenure,
};

/// A point in a store's history. Later commits have higher revisions; the numbers between two
/// commits of this store may be missing (etcd counts what other users of it write as well).
/// Meaningful only within one store, and only until that store is rolled back from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a store occupies, for status and for the refusal of creates near the quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes allocated on disk (or in memory), free space inside the store included.
    pub bytes: u64,
    /// Bytes it may occupy before commits that put are answered [`CommitError::NoSpace`]; `None`
    /// when nothing but the device limits it.
    pub quota: Option<u64>,
}

/// A small transactional store of the cluster's metadata: one writer at a time, any number of
/// followers.
///
/// # What every implementation promises
///
/// **Atomic.** A batch is applied whole or not at all, for every reader, and after any crash.
///
/// **Durable.** What [`commit`](Self::commit) or [`acquire`](Self::acquire) returned survives the
/// loss of power (of a majority's disks in etcd, of the process in a [`MemoryStore`]).
///
/// **Guarded.** A batch is applied only if, at that very moment, the caller's [`Leadership`] is the
/// current one *and* the stored commit sequence equals [`Batch::expected`]. So of two masters that
/// both believe they lead, one commits; and a batch that is sent twice is applied once.
///
/// **Ordered.** Revisions grow with every commit, and so does the commit sequence. Followers see
/// every commit once, whole, in that order.
///
/// **Bounded.** A batch beyond [`limits`](Self::limits) is refused untouched.
///
/// # What none of them promises
///
/// Reads of single records (the master has them in memory); more than one batch in flight at a
/// time (a second one waits or fails its guard); that a commit whose future was dropped did or did
/// not happen (treat it as [`CommitError::Unknown`]); that followers hear of the deletion of a key
/// that was not there; that the history before a [`Snapshot`] can still be followed.
///
/// # Unknown outcomes
///
/// After [`CommitError::Unknown`] the batch may be applied, may never be, **or may be applied
/// later**. The caller sends nothing else until [`read_sequence`](Self::read_sequence) answered:
///
/// * it shows the number the batch carried in [`Batch::next`]: it is applied;
/// * it shows [`Batch::expected`]: send the batch again, with the same `expected` and a `next`
///   *never tried before*. If the first attempt arrives after all, one of the two fails its guard,
///   and the number read afterwards names the one that won;
/// * anything else: someone else leads.
///
/// [`MemoryStore`]: crate::MemoryStore
#[async_trait]
pub trait MetaStore: fmt::Debug + Send + Sync + 'static {
    /// Waits until the caller is the leader, and begins a term whose epoch is above every earlier
    /// one of this store and above `above` (0 normally; a leader that met a trace of a higher
    /// epoch, because metadata was rolled back, passes it). The epoch is durable before it is
    /// returned. `who` is what followers are told ([`leader`](Self::leader)): the address to
    /// redirect clients to.
    ///
    /// Stores on one machine have no competing leaders and return at once; there, a second call
    /// ends the first term. In etcd it waits for the other's lease to end.
    ///
    /// Dropping the future gives up; an epoch may have been used up by then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again; every other error is final for this handle.
    async fn acquire(&self, who: &str, above: Epoch) -> Result<Leadership, StoreError>;

    /// How long `leadership` may still be acted upon. Cheap, does no I/O: ask before every answer
    /// that rests on being the leader. As long as it says so, no other term has begun.
    fn tenure(&self, leadership: &Leadership) -> Tenure;

    /// Ends a term early, so that a successor need not wait for the lease to run out. Ending a
    /// term that is over already is no error.
    ///
    /// # Errors
    /// The store could not be reached: the term ends by itself later.
    async fn resign(&self, leadership: &Leadership) -> Result<(), StoreError>;

    /// Who leads now, as far as the store knows; `None` between terms. A hint for redirecting
    /// clients, never a reason to act as leader.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again.
    async fn leader(&self) -> Result<Option<LeaderRecord>, StoreError>;

    /// All records, and the sequence record, as of one revision that is not older than any commit
    /// acknowledged before the call. Read page by page, so that memory is bounded by the page.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again; see also [`Snapshot::next_page`].
    async fn load(&self) -> Result<Snapshot, StoreError>;

    /// Applies `batch` if `leadership` is current and the stored sequence is [`Batch::expected`],
    /// and returns its revision once it is durable.
    ///
    /// # Errors
    /// Each variant of [`CommitError`] says what is known of the outcome. Only
    /// [`CommitError::Unknown`] and [`CommitError::Failed`] leave it open.
    async fn commit(&self, leadership: &Leadership, batch: Batch) -> Result<Revision, CommitError>;

    /// The sequence record as of now: a linearizable read, which reflects every commit that was
    /// applied before the call. [`SequenceRecord::default`] in a store nothing was committed to.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again.
    async fn read_sequence(&self) -> Result<SequenceRecord, StoreError>;

    /// Every commit with a revision above `after`, in order, without a gap. `after` is the revision
    /// of a [`Snapshot`] or of the last [`Change`](crate::Change) seen.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when that history is gone (here, or later from
    /// [`Follower::next`]): load again. [`StoreError::Unavailable`] may be tried again.
    async fn follow(&self, after: Revision) -> Result<Follower, StoreError>;

    /// Lets the store forget history up to `upto`: following from `upto` or later still works,
    /// following from an earlier revision or reading on in an older snapshot may answer
    /// [`StoreError::Compacted`]. Current records are not affected.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again. Having compacted further already is no error.
    async fn compact(&self, upto: Revision) -> Result<(), StoreError>;

    /// What a batch may hold. Constant for the life of a handle.
    fn limits(&self) -> Limits;

    /// What the store occupies now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] may be tried again.
    async fn usage(&self) -> Result<Usage, StoreError>;

    /// Ends everything this handle holds (its term, locks, files), after what is in flight. Every
    /// later call answers [`StoreError::Closed`], and followers end with it. Returns when the store
    /// can be opened again. Closing twice is no error. Nothing durable depends on it.
    async fn close(&self);
}
