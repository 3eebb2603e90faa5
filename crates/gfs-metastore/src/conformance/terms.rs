//! Checks of leadership and fencing.

use std::collections::BTreeMap;
use std::sync::Arc;

use gfs_types::Epoch;

use super::{Subject, Writer, puts, records, text};
use crate::{CommitError, GuardFailure, LeaderRecord, MetaStore, Revision, StoreError};

fn refused_for_term(result: &Result<Revision, CommitError>) -> bool {
    matches!(result, Err(CommitError::GuardFailed(GuardFailure::NotLeader)))
}

pub async fn epochs_grow_also_across_restarts(subject: &impl Subject) {
    let mut last = Epoch(0);
    for _ in 0..3 {
        let store = subject.open().await;
        for _ in 0..3 {
            let term = store.acquire("someone", Epoch(0)).await.unwrap();
            assert!(term.epoch > last, "{} after {last}", term.epoch);
            last = term.epoch;
            store.resign(&term).await.unwrap();
        }
        store.close().await;
    }
}

pub async fn an_epoch_can_be_raised(subject: &impl Subject) {
    let store = subject.open().await;
    let term = store.acquire("someone", Epoch(1000)).await.unwrap();
    assert!(term.epoch > Epoch(1000));
    store.close().await;
    let store = subject.open().await;
    let next = store.acquire("someone", Epoch(7)).await.unwrap();
    assert!(next.epoch > term.epoch);
}

pub async fn a_superseded_leader_changes_nothing(subject: &impl Subject) {
    let store = subject.open().await;
    let mut old = Writer::begin(&store).await;
    old.put("a", "1").await;
    // In etcd the old term would have to be over first; where a second call supersedes, it is now.
    store.resign(&old.term).await.unwrap();
    let mut new = Writer::begin(&store).await;
    assert!(new.term.epoch > old.term.epoch);
    assert_ne!(new.term.token, old.term.token);
    assert!(!store.tenure(&old.term).holds() && store.tenure(&new.term).holds());
    // At a sequence that would fit, and at one that would not.
    let refused = store.commit(&old.term, old.batch(puts([("a", Some("wrong"))]))).await;
    assert!(refused_for_term(&refused), "{refused:?}");
    new.put("b", "2").await;
    let refused = store.commit(&old.term, old.batch(puts([("a", Some("wrong"))]))).await;
    assert!(refused_for_term(&refused), "{refused:?}");
    // Not even with the new epoch and the old token, or the other way round.
    for mixed in [
        crate::Leadership { epoch: new.term.epoch, token: old.term.token },
        crate::Leadership { epoch: old.term.epoch, token: new.term.token },
    ] {
        assert!(!store.tenure(&mixed).holds());
        let refused = store.commit(&mixed, new.batch(puts([("a", Some("wrong"))]))).await;
        assert!(refused_for_term(&refused), "{refused:?}");
    }
    let expected = BTreeMap::from([(text("a"), text("1")), (text("b"), text("2"))]);
    assert_eq!(records(&store).await, expected);
}

pub async fn resigning_ends_the_term(subject: &impl Subject) {
    let store = subject.open().await;
    let mut writer = Writer::begin(&store).await;
    writer.put("a", "1").await;
    assert!(store.tenure(&writer.term).holds());
    store.resign(&writer.term).await.unwrap();
    store.resign(&writer.term).await.expect("resigning twice is no error");
    assert!(!store.tenure(&writer.term).holds());
    let refused = store.commit(&writer.term, writer.batch(puts([("a", Some("wrong"))]))).await;
    assert!(refused_for_term(&refused), "{refused:?}");
    // An old term's resignation does not end a newer one.
    let mut next = Writer::begin(&store).await;
    store.resign(&writer.term).await.unwrap();
    assert!(store.tenure(&next.term).holds());
    next.put("b", "2").await;
}

pub async fn the_leader_is_known_to_others(subject: &impl Subject) {
    let store = subject.open().await;
    let term = store.acquire("host-1:7000", Epoch(0)).await.unwrap();
    let expected = LeaderRecord { who: "host-1:7000".to_owned(), epoch: term.epoch };
    assert_eq!(store.leader().await.unwrap(), Some(expected));
    store.resign(&term).await.unwrap();
    assert_eq!(store.leader().await.unwrap(), None);
}

pub async fn nobody_leads_after_reopening(subject: &impl Subject) {
    let store = subject.open().await;
    let old = Writer::begin(&store).await;
    store.close().await;
    let store = subject.open().await;
    assert!(!store.tenure(&old.term).holds());
    let refused = store.commit(&old.term, old.batch(puts([("a", Some("wrong"))]))).await;
    assert!(refused_for_term(&refused), "{refused:?}");
    assert_eq!(store.leader().await.unwrap(), None);
}

pub async fn a_closed_store_answers_nothing(subject: &impl Subject) {
    let store: Arc<dyn MetaStore> = subject.open().await;
    let mut writer = Writer::begin(&store).await;
    let revision = writer.put("a", "1").await;
    store.close().await;
    store.close().await;
    assert!(!store.tenure(&writer.term).holds());
    let refused = store.commit(&writer.term, writer.batch(BTreeMap::new())).await;
    assert!(matches!(refused, Err(CommitError::Failed(StoreError::Closed))), "{refused:?}");
    assert!(matches!(store.acquire("x", Epoch(0)).await, Err(StoreError::Closed)));
    assert!(matches!(store.read_sequence().await, Err(StoreError::Closed)));
    assert!(matches!(store.load().await, Err(StoreError::Closed)));
    assert!(matches!(store.follow(revision).await, Err(StoreError::Closed)));
    assert!(matches!(store.leader().await, Err(StoreError::Closed)));
    assert!(matches!(store.usage().await, Err(StoreError::Closed)));
    assert!(matches!(store.compact(revision).await, Err(StoreError::Closed)));
    assert!(matches!(store.resign(&writer.term).await, Err(StoreError::Closed)));
}
