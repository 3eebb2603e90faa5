//! The store in memory fails as told, and the rule for unknown outcomes copes with each fault.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use gfs_metastore::{
    Batch, CommitError, Fault, GuardFailure, MemoryStore, MetaStore, Revision, SequenceRecord,
    StoreError,
};
use gfs_types::{CommitSequence, Epoch};

fn put(at: u64, next: u64, value: &'static str) -> Batch {
    Batch {
        expected: CommitSequence(at),
        next: SequenceRecord { sequence: CommitSequence(next), counters: Bytes::new() },
        puts: BTreeMap::from([(
            Bytes::from_static(b"key"),
            Some(Bytes::from_static(value.as_bytes())),
        )]),
    }
}

fn value(store: &MemoryStore) -> Option<Bytes> {
    store.records().get(b"key".as_slice()).cloned()
}

fn sequence(store: &MemoryStore) -> u64 {
    store.read_sequence_now().unwrap().sequence.0
}

#[test]
fn unavailable_means_not_applied() {
    let store = MemoryStore::new();
    let term = store.acquire_now("test", Epoch(0)).unwrap();
    store.inject(Fault::Unavailable);
    let failed = store.commit_now(&term, put(0, 1, "a"));
    assert!(matches!(failed, Err(CommitError::Unavailable(_))), "{failed:?}");
    assert_eq!((sequence(&store), value(&store)), (0, None));
    store.commit_now(&term, put(0, 1, "a")).unwrap();
}

#[test]
fn an_unknown_outcome_that_was_applied_shows_its_number() {
    let store = MemoryStore::new();
    let term = store.acquire_now("test", Epoch(0)).unwrap();
    store.inject(Fault::UnknownApplied);
    let failed = store.commit_now(&term, put(0, 1, "a"));
    assert!(matches!(failed, Err(CommitError::Unknown(_))), "{failed:?}");
    assert_eq!(sequence(&store), 1);
    assert_eq!(value(&store).unwrap(), "a");
}

#[test]
fn an_unknown_outcome_that_was_lost_shows_the_old_number() {
    let store = MemoryStore::new();
    let term = store.acquire_now("test", Epoch(0)).unwrap();
    store.inject(Fault::UnknownNotApplied);
    assert!(matches!(store.commit_now(&term, put(0, 1, "a")), Err(CommitError::Unknown(_))));
    assert_eq!((sequence(&store), value(&store)), (0, None));
    store.commit_now(&term, put(0, 2, "a")).unwrap();
}

/// The case that needs a number never tried before: the first attempt arrives after the read that
/// said it had not, and the second finds it there.
#[test]
fn a_late_arrival_is_named_by_its_number() {
    let store = MemoryStore::new();
    let term = store.acquire_now("test", Epoch(0)).unwrap();
    store.inject(Fault::UnknownAppliedLater);
    assert!(matches!(store.commit_now(&term, put(0, 1, "first")), Err(CommitError::Unknown(_))));
    assert_eq!(sequence(&store), 0, "not applied yet");
    let second = store.commit_now(&term, put(0, 2, "second"));
    let at = CommitSequence(1);
    assert!(
        matches!(&second, Err(CommitError::GuardFailed(GuardFailure::Sequence { found })) if *found == at),
        "{second:?}"
    );
    assert_eq!(sequence(&store), 1, "names the attempt that won");
    assert_eq!(value(&store).unwrap(), "first");
}

#[test]
fn a_late_arrival_of_an_ended_term_is_refused() {
    let store = MemoryStore::new();
    let old = store.acquire_now("old", Epoch(0)).unwrap();
    store.inject(Fault::UnknownAppliedLater);
    assert!(matches!(store.commit_now(&old, put(0, 1, "old")), Err(CommitError::Unknown(_))));
    let new = store.supersede("new");
    assert!(new.epoch > old.epoch);
    store.commit_now(&new, put(0, 1, "new")).unwrap();
    assert_eq!(value(&store).unwrap(), "new");
}

#[tokio::test]
async fn a_superseded_leader_is_refused_and_knows() {
    let store = MemoryStore::new();
    let old = store.acquire("old", Epoch(0)).await.unwrap();
    assert!(store.tenure(&old).holds());
    store.inject(Fault::GuardFailed);
    let refused = store.commit(&old, put(0, 1, "old")).await;
    assert!(matches!(refused, Err(CommitError::GuardFailed(GuardFailure::NotLeader))));
    assert!(!store.tenure(&old).holds());
    assert_eq!(value(&store), None);
}

#[tokio::test]
async fn faults_come_in_the_order_they_were_queued() {
    let store = MemoryStore::new();
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    store.inject(Fault::NoSpace);
    store.inject(Fault::Unavailable);
    assert!(matches!(store.commit(&term, put(0, 1, "a")).await, Err(CommitError::NoSpace(_))));
    assert!(matches!(store.commit(&term, put(0, 1, "a")).await, Err(CommitError::Unavailable(_))));
    assert_eq!(store.commit(&term, put(0, 1, "a")).await.unwrap(), Revision(3));
}

#[tokio::test]
async fn a_store_that_is_away_answers_nothing_and_comes_back() {
    let store = MemoryStore::new();
    let term = store.acquire("test", Epoch(0)).await.unwrap();
    store.set_away(true);
    assert!(matches!(store.commit(&term, put(0, 1, "a")).await, Err(CommitError::Unavailable(_))));
    assert!(matches!(store.read_sequence().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.acquire("x", Epoch(0)).await, Err(StoreError::Unavailable(_))));
    store.set_away(false);
    store.commit(&term, put(0, 1, "a")).await.unwrap();
}

/// Handles are connections to one store, not stores of their own.
#[tokio::test]
async fn clones_share_the_store() {
    let store = MemoryStore::new();
    let other = store.clone();
    let first = store.acquire("first", Epoch(0)).await.unwrap();
    let second = other.acquire("second", Epoch(0)).await.unwrap();
    let refused = store.commit(&first, put(0, 1, "first")).await;
    assert!(matches!(refused, Err(CommitError::GuardFailed(GuardFailure::NotLeader))));
    other.commit(&second, put(0, 1, "second")).await.unwrap();
    assert_eq!(value(&store).unwrap(), "second");
}

#[tokio::test]
async fn a_failed_store_shows_what_it_holds_when_reopened() {
    for applied in [false, true] {
        let store = MemoryStore::new();
        let term = store.acquire("test", Epoch(0)).await.unwrap();
        store.inject(Fault::Failed { applied });
        let failed = store.commit(&term, put(0, 1, "a")).await;
        assert!(matches!(failed, Err(CommitError::Failed(StoreError::Poisoned(_)))), "{failed:?}");
        assert!(matches!(store.read_sequence().await, Err(StoreError::Poisoned(_))));
        assert!(!store.tenure(&term).holds());
        let store = store.reopen();
        assert_eq!(sequence(&store), u64::from(applied));
        assert_eq!(value(&store).is_some(), applied);
        assert!(store.acquire("test", Epoch(0)).await.unwrap().epoch > term.epoch);
    }
}
