//! A store without a disk, for simulation and tests, which fails exactly as told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gfs_types::{CommitSequence, Epoch};

use crate::batch::{Key, Value};
use crate::follow::History;
use crate::snapshot::{Entry, PageSource};
use crate::{
    Batch, Change, CommitError, Follower, GuardFailure, LeaderRecord, LeaderToken, Leadership,
    Limits, MetaStore, Revision, SequenceRecord, Snapshot, StoreError, Tenure, Usage,
};

/// A [`MetaStore`] in memory. Clones are handles of the same store, as connections to one etcd are.
///
/// Everything but [`follow`](MetaStore::follow) completes at once and does the same in every run.
/// Each operation also exists as a plain function (`commit_now` …), for a simulation that has no
/// runtime. It enforces etcd's limits by default, so that what works here fits there.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    history: History,
    limits: Limits,
}

/// What goes wrong with a commit, in the order they were [queued](MemoryStore::inject).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store cannot be reached: certainly not applied.
    Unavailable,
    /// Applied (if its guard holds), but the answer is lost.
    UnknownApplied,
    /// Lost on the way, and nobody knows.
    UnknownNotApplied,
    /// Nobody knows, and it arrives late: after the next read of the sequence, or just before the
    /// next commit, whichever comes first. Its guard is judged then.
    UnknownAppliedLater,
    /// The term ends before the commit: another leader took over.
    GuardFailed,
    /// The quota is reached.
    NoSpace,
    /// The store fails for good, as the embedded one does after an I/O error: nothing more is
    /// answered until it was [reopened](MemoryStore::reopen).
    Failed {
        /// Whether the batch is found applied then (if its guard holds).
        applied: bool,
    },
}

/// Everything in a [`MemoryStore`] at one revision.
#[derive(Clone, Debug)]
pub struct MemoryImage {
    /// The revision.
    pub revision: Revision,
    /// The sequence record.
    pub sequence: SequenceRecord,
    /// All records.
    pub records: Arc<BTreeMap<Key, Value>>,
}

#[derive(Debug, Default)]
struct State {
    /// Shared with snapshots; copied on the first write while one is being read.
    records: Arc<BTreeMap<Key, Value>>,
    bytes: u64,
    revision: Revision,
    sequence: SequenceRecord,
    epoch: Epoch,
    leader: Option<LeaderRecord>,
    faults: VecDeque<Fault>,
    late: VecDeque<(Leadership, Batch)>,
    away: bool,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Failed,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with etcd's limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::ETCD)
    }

    /// An empty store with these limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::default())),
            history: History::beginning_after(Revision(0)),
            limits,
        }
    }

    /// The same data behind a new handle, as after a restart of the process that held the old ones:
    /// history is forgotten, nobody leads, queued faults are gone. The old handles are closed.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut old = self.state();
        self.finish(&mut old, End::Closed);
        let state = State {
            records: Arc::clone(&old.records),
            bytes: old.bytes,
            revision: old.revision,
            sequence: old.sequence.clone(),
            epoch: old.epoch,
            ..State::default()
        };
        Self {
            history: History::beginning_after(state.revision),
            state: Arc::new(Mutex::new(state)),
            limits: self.limits,
        }
    }

    /// Makes the next commit that has no fault waiting for it yet fail this way.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Makes every call fail as unavailable, until told otherwise.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Another leader takes over, as if its process had acquired leadership.
    pub fn supersede(&self, who: &str) -> Leadership {
        self.state().begin_term(who, Epoch(0))
    }

    /// All records now, for checkers.
    #[must_use]
    pub fn records(&self) -> BTreeMap<Key, Value> {
        self.state().records.as_ref().clone()
    }

    /// [`MetaStore::acquire`] without a runtime.
    ///
    /// # Errors
    /// As there.
    pub fn acquire_now(&self, who: &str, above: Epoch) -> Result<Leadership, StoreError> {
        Ok(self.reachable()?.begin_term(who, above))
    }

    /// [`MetaStore::commit`] without a runtime.
    ///
    /// # Errors
    /// As there.
    pub fn commit_now(&self, term: &Leadership, batch: Batch) -> Result<Revision, CommitError> {
        let mut state = self.reachable().map_err(|error| match error {
            StoreError::Unavailable(text) => CommitError::Unavailable(text),
            other => CommitError::Failed(other),
        })?;
        self.deliver_late(&mut state);
        batch.check(&self.limits)?;
        match state.faults.pop_front() {
            None => self.apply(&mut state, term, batch),
            Some(Fault::Unavailable) => Err(CommitError::Unavailable(INJECTED.to_owned())),
            Some(Fault::NoSpace) => Err(CommitError::NoSpace(INJECTED.to_owned())),
            Some(Fault::UnknownNotApplied) => Err(CommitError::Unknown(INJECTED.to_owned())),
            Some(Fault::UnknownApplied) => {
                // Whether its guard held is exactly what the caller does not learn.
                let _ = self.apply(&mut state, term, batch);
                Err(CommitError::Unknown(INJECTED.to_owned()))
            }
            Some(Fault::UnknownAppliedLater) => {
                state.late.push_back((*term, batch));
                Err(CommitError::Unknown(INJECTED.to_owned()))
            }
            Some(Fault::Failed { applied }) => {
                if applied {
                    let _ = self.apply(&mut state, term, batch);
                }
                self.finish(&mut state, End::Failed);
                Err(CommitError::Failed(StoreError::Poisoned(INJECTED.to_owned())))
            }
            Some(Fault::GuardFailed) => {
                state.begin_term(INJECTED, Epoch(0));
                Err(GuardFailure::NotLeader.into())
            }
        }
    }

    /// [`MetaStore::read_sequence`] without a runtime.
    ///
    /// # Errors
    /// As there.
    pub fn read_sequence_now(&self) -> Result<SequenceRecord, StoreError> {
        let mut state = self.reachable()?;
        let sequence = state.sequence.clone();
        self.deliver_late(&mut state);
        Ok(sequence)
    }

    /// [`MetaStore::load`] without a runtime: everything at once.
    ///
    /// # Errors
    /// As there.
    pub fn load_now(&self) -> Result<MemoryImage, StoreError> {
        let state = self.reachable()?;
        Ok(MemoryImage {
            revision: state.revision,
            sequence: state.sequence.clone(),
            records: Arc::clone(&state.records),
        })
    }

    fn apply(
        &self,
        state: &mut State,
        term: &Leadership,
        batch: Batch,
    ) -> Result<Revision, CommitError> {
        let Batch { expected, next, puts } = batch;
        state.check_guard(term, expected)?;
        let records = Arc::make_mut(&mut state.records);
        for (key, value) in &puts {
            let (old, new) = match value {
                Some(value) => (records.insert(key.clone(), value.clone()), Some(value)),
                None => (records.remove(key), None),
            };
            let weight = |value: &Value| (key.len() + value.len()) as u64;
            state.bytes += new.map_or(0, weight);
            state.bytes = state.bytes.saturating_sub(old.as_ref().map_or(0, weight));
        }
        // With gaps, as in an etcd that others use as well: nobody may count on there being none.
        state.revision = Revision(state.revision.0 + 3);
        state.sequence = next.clone();
        let revision = state.revision;
        self.history.push(Change { revision, sequence: next, puts });
        Ok(revision)
    }

    /// The first end is the one that counts.
    fn finish(&self, state: &mut State, end: End) {
        state.end.get_or_insert(end);
        self.history.close();
    }

    fn deliver_late(&self, state: &mut State) {
        while let Some((term, batch)) = state.late.pop_front() {
            // Nobody is waiting for the answer any more.
            let _ = self.apply(state, &term, batch);
        }
    }

    fn reachable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        match state.end {
            Some(End::Closed) => Err(StoreError::Closed),
            Some(End::Failed) => Err(StoreError::Poisoned(INJECTED.to_owned())),
            None if state.away => Err(StoreError::Unavailable(INJECTED.to_owned())),
            None => Ok(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held was a failed assertion of a test.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const INJECTED: &str = "injected fault";

impl State {
    fn begin_term(&mut self, who: &str, above: Epoch) -> Leadership {
        self.epoch = self.epoch.max(above).next();
        self.leader = Some(LeaderRecord { who: who.to_owned(), epoch: self.epoch });
        Leadership { epoch: self.epoch, token: LeaderToken(self.epoch.0) }
    }

    fn leads(&self, term: &Leadership) -> bool {
        self.leader.is_some() && self.epoch == term.epoch && self.epoch.0 == term.token.0
    }

    fn check_guard(&self, term: &Leadership, expected: CommitSequence) -> Result<(), GuardFailure> {
        if !self.leads(term) {
            Err(GuardFailure::NotLeader)
        } else if self.sequence.sequence != expected {
            Err(GuardFailure::Sequence { found: self.sequence.sequence })
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl MetaStore for MemoryStore {
    async fn acquire(&self, who: &str, above: Epoch) -> Result<Leadership, StoreError> {
        self.acquire_now(who, above)
    }

    fn tenure(&self, leadership: &Leadership) -> Tenure {
        let state = self.state();
        if state.end.is_none() && state.leads(leadership) {
            Tenure::Indefinite
        } else {
            Tenure::Over
        }
    }

    async fn resign(&self, leadership: &Leadership) -> Result<(), StoreError> {
        let mut state = self.reachable()?;
        if state.leads(leadership) {
            state.leader = None;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<Option<LeaderRecord>, StoreError> {
        Ok(self.reachable()?.leader.clone())
    }

    async fn load(&self) -> Result<Snapshot, StoreError> {
        let MemoryImage { revision, sequence, records } = self.load_now()?;
        Ok(Snapshot::new(revision, sequence, Box::new(MapPages { records, after: None })))
    }

    async fn commit(&self, leadership: &Leadership, batch: Batch) -> Result<Revision, CommitError> {
        self.commit_now(leadership, batch)
    }

    async fn read_sequence(&self) -> Result<SequenceRecord, StoreError> {
        self.read_sequence_now()
    }

    async fn follow(&self, after: Revision) -> Result<Follower, StoreError> {
        drop(self.reachable()?);
        self.history.follow(after)
    }

    async fn compact(&self, upto: Revision) -> Result<(), StoreError> {
        drop(self.reachable()?);
        self.history.compact(upto);
        Ok(())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    async fn usage(&self) -> Result<Usage, StoreError> {
        Ok(Usage { bytes: self.reachable()?.bytes, quota: None })
    }

    async fn close(&self) {
        self.finish(&mut self.state(), End::Closed);
    }
}

/// Pages of a map that nobody changes any more.
struct MapPages {
    records: Arc<BTreeMap<Key, Value>>,
    after: Option<Key>,
}

/// Small enough that tests with a few hundred records see several pages.
const PAGE_ENTRIES: usize = 128;

#[async_trait]
impl PageSource for MapPages {
    async fn next_page(&mut self) -> Result<Vec<Entry>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = self.after.as_ref().map_or(Unbounded, Excluded);
        let page: Vec<Entry> = self
            .records
            .range::<Key, _>((from, Unbounded))
            .take(PAGE_ENTRIES)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some((last, _)) = page.last() {
            self.after = Some(last.clone());
        }
        Ok(page)
    }
}
