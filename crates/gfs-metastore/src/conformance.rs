//! What every metadata store must do, as tests that run against any of them.
//!
//! An implementation's test file says how to open its store (a [`Subject`]) and calls
//! [`conformance_suite!`](crate::conformance_suite), which makes one test of every check here.
//! A check gets a subject whose store is new and empty.
//!
//! The checks demand what [`MetaStore`] promises and nothing more: revisions may have gaps, and the
//! deletion of an absent key may go unreported, as in etcd.

// A failed check is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod history;
mod model;
mod terms;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gfs_types::{CommitSequence, Epoch};

pub use history::*;
pub use model::*;
pub use terms::*;

use crate::{
    Batch, CommitError, GuardFailure, Key, Leadership, MetaStore, Revision, SequenceRecord, Value,
};

/// One store under test: new and empty at first, the same data whenever it is opened again.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens it. Handles opened before were closed with [`MetaStore::close`].
    async fn open(&self) -> Arc<dyn MetaStore>;
}

/// Makes a test of every check: `conformance_suite!(subject)` where `subject()` makes a new
/// [`Subject`].
#[macro_export]
macro_rules! conformance_suite {
    ($subject:path) => {
        $crate::conformance_suite!($subject:
            a_new_store_is_empty
            batches_are_read_back
            deletions_are_applied
            a_batch_without_mutations_moves_the_sequence
            counters_are_kept_with_the_sequence
            a_wrong_sequence_is_refused_and_changes_nothing
            the_sequence_may_jump_but_not_stand_still
            the_same_batch_is_applied_once
            empty_keys_are_refused
            empty_values_are_kept
            binary_keys_keep_their_order
            what_exceeds_the_limits_is_refused_untouched
            a_full_batch_is_accepted
            loading_pages_through_many_records
            a_snapshot_does_not_see_later_commits
            a_snapshot_does_not_keep_a_closed_store_open
            everything_is_there_after_reopening
            usage_is_reported
            epochs_grow_also_across_restarts
            an_epoch_can_be_raised
            a_superseded_leader_changes_nothing
            resigning_ends_the_term
            the_leader_is_known_to_others
            nobody_leads_after_reopening
            a_closed_store_answers_nothing
            followers_see_every_commit_in_order
            a_follower_waits_for_the_next_commit
            following_from_the_middle_misses_nothing
            compaction_keeps_what_follows_it
            history_before_a_snapshot_is_not_silently_skipped
            a_slow_follower_sees_all_or_is_told
            closing_ends_followers
        );
    };
    ($subject:path: $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::conformance::bounded($crate::conformance::$check(&$subject())).await;
            }
        )*
    };
}

/// Runs a check, failing it when it hangs.
pub async fn bounded(check: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), check).await.expect("the check hangs");
}

/// A leader as small as can be: sends batches one after the other.
pub struct Writer {
    pub store: Arc<dyn MetaStore>,
    pub term: Leadership,
    pub at: CommitSequence,
}

impl Writer {
    /// Becomes the leader where the store is.
    pub async fn begin(store: &Arc<dyn MetaStore>) -> Self {
        let term = store.acquire("conformance", Epoch(0)).await.expect("acquire");
        let at = store.read_sequence().await.expect("read the sequence").sequence;
        Self { store: Arc::clone(store), term, at }
    }

    /// The batch that would be next.
    pub fn batch(&self, puts: BTreeMap<Key, Option<Value>>) -> Batch {
        let next = SequenceRecord { sequence: self.at.next(), counters: Bytes::from("counters") };
        Batch { expected: self.at, next, puts }
    }

    /// Commits, and expects it to succeed.
    pub async fn commit(&mut self, puts: BTreeMap<Key, Option<Value>>) -> Revision {
        let batch = self.batch(puts);
        let next = batch.next.sequence;
        let revision = self.store.commit(&self.term, batch).await.expect("commit");
        self.at = next;
        revision
    }

    /// Puts one record.
    pub async fn put(&mut self, key: &str, value: &str) -> Revision {
        self.commit(puts([(key, Some(value))])).await
    }
}

/// Mutations from text.
pub fn puts<'a>(
    from: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> BTreeMap<Key, Option<Value>> {
    let own = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    from.into_iter().map(|(key, value)| (own(key), value.map(own))).collect()
}

/// Every record, and that pages come in order, are bounded, and name no key twice.
pub async fn records(store: &Arc<dyn MetaStore>) -> BTreeMap<Key, Value> {
    let mut snapshot = store.load().await.expect("load");
    let mut all = BTreeMap::new();
    while let Some(page) = snapshot.next_page().await.expect("a page") {
        assert!(!page.is_empty(), "an empty page that is not the end");
        for (key, value) in page {
            if let Some((last, _)) = all.last_key_value() {
                assert!(key > *last, "{key:?} after {last:?}");
            }
            all.insert(key, value);
        }
    }
    assert!(snapshot.next_page().await.expect("the end again").is_none());
    all
}

fn text(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

fn refused_for_sequence(result: Result<Revision, CommitError>) -> bool {
    matches!(result, Err(CommitError::GuardFailed(GuardFailure::Sequence { .. })))
}

pub async fn a_new_store_is_empty(subject: &impl Subject) {
    let store = subject.open().await;
    assert_eq!(store.read_sequence().await.unwrap(), SequenceRecord::default());
    assert_eq!(records(&store).await, BTreeMap::new());
    assert_eq!(store.leader().await.unwrap(), None);
}

pub async fn batches_are_read_back(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let first = writer.commit(puts([("a", Some("1")), ("b", Some("2"))])).await;
    let second = writer.commit(puts([("b", Some("3")), ("c", Some("4"))])).await;
    assert!(second > first);
    let snapshot = writer.store.load().await.unwrap();
    assert!(snapshot.revision >= second);
    assert_eq!(snapshot.sequence.sequence, writer.at);
    let expected = [("a", "1"), ("b", "3"), ("c", "4")];
    let found = records(&writer.store).await;
    assert!(
        found
            .iter()
            .map(|(k, v)| (k.as_ref(), v.as_ref()))
            .eq(expected.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())))
    );
}

pub async fn deletions_are_applied(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.commit(puts([("a", Some("1")), ("b", Some("2"))])).await;
    writer.commit(puts([("a", None), ("never there", None), ("c", Some("3"))])).await;
    let found = records(&writer.store).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), [&text("b"), &text("c")]);
}

pub async fn a_batch_without_mutations_moves_the_sequence(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.commit(BTreeMap::new()).await;
    assert_eq!(writer.store.read_sequence().await.unwrap().sequence, CommitSequence(1));
}

pub async fn counters_are_kept_with_the_sequence(subject: &impl Subject) {
    let store = subject.open().await;
    let writer = Writer::begin(&store).await;
    let mut batch = writer.batch(BTreeMap::new());
    batch.next.counters = Bytes::from(vec![0, 255, 7]);
    let next = batch.next.clone();
    store.commit(&writer.term, batch).await.unwrap();
    assert_eq!(store.read_sequence().await.unwrap(), next);
    assert_eq!(store.load().await.unwrap().sequence, next);
    store.close().await;
    assert_eq!(subject.open().await.read_sequence().await.unwrap(), next);
}

pub async fn a_wrong_sequence_is_refused_and_changes_nothing(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.put("a", "1").await;
    for wrong in [0, 2, u64::MAX - 1] {
        let mut batch = writer.batch(puts([("a", Some("wrong")), ("b", Some("wrong"))]));
        batch.expected = CommitSequence(wrong);
        batch.next.sequence = CommitSequence(wrong).next();
        assert!(refused_for_sequence(writer.store.commit(&writer.term, batch).await));
    }
    assert_eq!(records(&writer.store).await, BTreeMap::from([(text("a"), text("1"))]));
    assert_eq!(writer.store.read_sequence().await.unwrap().sequence, writer.at);
    // The term is not over because of it.
    writer.put("b", "2").await;
}

pub async fn the_sequence_may_jump_but_not_stand_still(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let mut batch = writer.batch(puts([("a", Some("1"))]));
    batch.next.sequence = CommitSequence(1 << 40);
    let first = writer.store.commit(&writer.term, batch).await.unwrap();
    writer.at = CommitSequence(1 << 40);
    for standing in [writer.at, CommitSequence(5)] {
        let mut batch = writer.batch(puts([("a", Some("wrong"))]));
        batch.next.sequence = standing;
        let refused = writer.store.commit(&writer.term, batch).await;
        assert!(matches!(refused, Err(CommitError::Malformed(_))), "{refused:?}");
    }
    assert!(writer.put("b", "2").await > first);
    assert_eq!(records(&writer.store).await[&text("a")], text("1"));
}

pub async fn the_same_batch_is_applied_once(subject: &impl Subject) {
    let writer = Writer::begin(&subject.open().await).await;
    let batch = writer.batch(puts([("a", Some("1"))]));
    writer.store.commit(&writer.term, batch.clone()).await.unwrap();
    assert!(refused_for_sequence(writer.store.commit(&writer.term, batch).await));
}

pub async fn empty_keys_are_refused(subject: &impl Subject) {
    let writer = Writer::begin(&subject.open().await).await;
    let batch = writer.batch(puts([("", Some("1")), ("a", Some("1"))]));
    let refused = writer.store.commit(&writer.term, batch).await;
    assert!(matches!(refused, Err(CommitError::Malformed(_))), "{refused:?}");
    assert_eq!(records(&writer.store).await, BTreeMap::new());
}

pub async fn empty_values_are_kept(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.put("a", "").await;
    assert_eq!(records(&writer.store).await, BTreeMap::from([(text("a"), Bytes::new())]));
}

pub async fn binary_keys_keep_their_order(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let keys: [&[u8]; 6] = [&[0], &[0, 0], &[0, 255], &[127], &[255], &[255, 255, 0]];
    let own = |key: &&[u8]| (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(key)));
    writer.commit(keys.iter().map(own).collect()).await;
    let found = records(&writer.store).await;
    assert!(found.keys().map(|key| key.as_ref()).eq(keys), "{found:?}");
}

pub async fn what_exceeds_the_limits_is_refused_untouched(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let limits = writer.store.limits();
    let value = |bytes: usize| Some(Bytes::from(vec![1; bytes]));
    let many = |count: usize| (0..count).map(|n| Bytes::from(format!("key {n:09}")));
    let half = limits.max_value_bytes / 2;
    let oversized: [BTreeMap<Key, Option<Value>>; 4] = [
        many(limits.max_operations + 1).map(|key| (key, None)).collect(),
        BTreeMap::from([(text("a"), value(limits.max_value_bytes + 1))]),
        BTreeMap::from([(Bytes::from(vec![1; limits.max_key_bytes + 1]), value(1))]),
        many(limits.max_batch_bytes / half + 1).map(|key| (key, value(half))).collect(),
    ];
    for puts in oversized {
        let batch = writer.batch(puts);
        let refused = writer.store.commit(&writer.term, batch).await;
        assert!(matches!(refused, Err(CommitError::TooLarge(_))), "{refused:?}");
    }
    let mut batch = writer.batch(puts([("a", Some("1"))]));
    batch.next.counters = Bytes::from(vec![0; crate::MAX_COUNTERS_BYTES + 1]);
    let refused = writer.store.commit(&writer.term, batch).await;
    assert!(matches!(refused, Err(CommitError::TooLarge(_))), "{refused:?}");
    assert_eq!(records(&writer.store).await, BTreeMap::new());
    writer.put("a", "1").await;
}

pub async fn a_full_batch_is_accepted(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let limits = writer.store.limits();
    let small: BTreeMap<_, _> = (0..limits.max_operations)
        .map(|n| (Bytes::from(format!("many {n:09}")), Some(Bytes::from_static(b"value"))))
        .collect();
    writer.commit(small.clone()).await;
    // As many bytes as are allowed, in values as large as they may be.
    let mut large = BTreeMap::new();
    loop {
        let room = limits.max_batch_bytes - writer.batch(large.clone()).bytes();
        let key = Bytes::from(format!("large {:09}", large.len()));
        let overhead = crate::ENTRY_OVERHEAD_BYTES + key.len();
        if room <= overhead {
            break;
        }
        let value = Bytes::from(vec![3; (room - overhead).min(limits.max_value_bytes)]);
        large.insert(key, Some(value));
    }
    writer.commit(large.clone()).await;
    let found = records(&writer.store).await;
    assert_eq!(found.len(), small.len() + large.len());
    assert!(large.iter().all(|(key, value)| found.get(key) == value.as_ref()));
}

pub async fn loading_pages_through_many_records(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let mut expected = BTreeMap::new();
    for round in 0..100 {
        let puts: BTreeMap<Key, Option<Value>> = (0..100)
            .map(|n| (Bytes::from(format!("{n:03}/{round:03}")), Some(Bytes::from(vec![7; 50]))))
            .collect();
        expected.extend(puts.iter().map(|(k, v)| (k.clone(), v.clone().unwrap())));
        writer.commit(puts).await;
    }
    assert_eq!(records(&writer.store).await, expected);
}

pub async fn a_snapshot_does_not_see_later_commits(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let before: BTreeMap<Key, Option<Value>> =
        (0..100).map(|n| (Bytes::from(format!("k{n:03}")), Some(text("before")))).collect();
    let revision = writer.commit(before.clone()).await;
    let mut snapshot = writer.store.load().await.unwrap();
    let after = before.keys().map(|key| (key.clone(), Some(text("after")))).collect();
    writer.commit(after).await;
    writer.put("new", "record").await;
    assert_eq!((snapshot.revision, snapshot.sequence.sequence), (revision, CommitSequence(1)));
    let mut count = 0;
    while let Some(page) = snapshot.next_page().await.unwrap() {
        assert!(page.iter().all(|(_, value)| value == "before"), "{page:?}");
        count += page.len();
    }
    assert_eq!(count, 100);
}

pub async fn a_snapshot_does_not_keep_a_closed_store_open(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.put("a", "1").await;
    let mut snapshot = writer.store.load().await.unwrap();
    writer.store.close().await;
    let mut again = Writer::begin(&subject.open().await).await;
    again.put("a", "2").await;
    // What is left of the old one may answer or not, with what it saw.
    if let Ok(Some(page)) = snapshot.next_page().await {
        assert_eq!(page, [(text("a"), text("1"))]);
    }
}

pub async fn everything_is_there_after_reopening(subject: &impl Subject) {
    let mut expected = BTreeMap::new();
    for round in 0..4 {
        let store = subject.open().await;
        assert_eq!(records(&store).await, expected);
        let mut writer = Writer::begin(&store).await;
        assert_eq!(writer.at, CommitSequence(round));
        writer.put(["a", "b", "c", "d"][round as usize], "value").await;
        expected = records(&store).await;
        assert_eq!(expected.len(), round as usize + 1);
        store.close().await;
    }
}

pub async fn usage_is_reported(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let value = "v".repeat(1000);
    for n in 0..100 {
        writer.put(&n.to_string(), &value).await;
    }
    let usage = writer.store.usage().await.unwrap();
    assert!(usage.bytes >= 100_000, "{usage:?}");
    assert!(usage.quota.is_none_or(|quota| quota > usage.bytes), "{usage:?}");
}
