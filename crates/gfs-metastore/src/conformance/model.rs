//! Random histories against the simplest store there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use gfs_types::Epoch;
use proptest::prelude::*;

use super::{Subject, Writer, records};
use crate::{CommitError, Key, MetaStore, StoreError, Value};

/// One step of a random history. Keys are few, so that they meet again.
#[derive(Clone, Debug)]
pub enum Step {
    /// Commits these changes; the sequence grows by as much.
    Commit { changes: BTreeMap<u8, Option<Vec<u8>>>, by: u64 },
    /// Tries to commit with a sequence that is off by this, or as an old leader.
    Refused { changes: BTreeMap<u8, Option<Vec<u8>>>, off: Option<u64> },
    /// Begins another term.
    NewTerm,
    /// Closes the store and opens it again.
    Reopen,
    /// Compares everything, and that a follower heard of everything.
    Compare,
}

/// Random histories.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        Just(None),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Some),
        (4000_usize..9000, any::<u8>()).prop_map(|(length, byte)| Some(vec![byte; length])),
    ];
    let changes = proptest::collection::btree_map(0..40_u8, value, 0..12);
    let step = prop_oneof![
        12 => (changes.clone(), 1..5_u64).prop_map(|(changes, by)| Step::Commit { changes, by }),
        2 => (changes, proptest::option::of(1..3_u64))
            .prop_map(|(changes, off)| Step::Refused { changes, off }),
        1 => Just(Step::NewTerm),
        1 => Just(Step::Reopen),
        2 => Just(Step::Compare),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Takes the steps with the store and with a map, and compares.
pub async fn agrees_with_a_map(subject: &impl Subject, steps: Vec<Step>) {
    let mut model = BTreeMap::new();
    let mut store = subject.open().await;
    let mut writer = Writer::begin(&store).await;
    let mut former = None;
    let mut copy = Copy::of(&store).await;
    for step in steps {
        match step {
            Step::Commit { changes, by } => {
                let mut batch = writer.batch(owned(&changes));
                batch.next.sequence.0 += by - 1;
                writer.at = batch.next.sequence;
                apply(&mut model, &batch.puts);
                store.commit(&writer.term, batch).await.expect("commit");
            }
            Step::Refused { changes, off } => {
                let mut batch = writer.batch(owned(&changes));
                let term = match (off, former) {
                    (None, Some(former)) => former,
                    (off, _) => {
                        batch.expected.0 += off.unwrap_or(1);
                        batch.next.sequence = batch.expected.next();
                        writer.term
                    }
                };
                let refused = store.commit(&term, batch).await;
                assert!(matches!(refused, Err(CommitError::GuardFailed(_))), "{refused:?}");
            }
            Step::NewTerm => {
                former = Some(writer.term);
                store.resign(&writer.term).await.expect("resign");
                writer.term = store.acquire("again", Epoch(0)).await.expect("acquire");
            }
            Step::Reopen => {
                copy.catch_up(&writer).await;
                store.close().await;
                drop(store);
                store = subject.open().await;
                former = Some(writer.term);
                let at = writer.at;
                writer = Writer::begin(&store).await;
                assert_eq!(writer.at, at, "the sequence after reopening");
                assert_eq!(records(&store).await, model, "after reopening");
                copy = Copy::of(&store).await;
            }
            Step::Compare => {
                assert_eq!(records(&store).await, model);
                copy.catch_up(&writer).await;
                assert_eq!(copy.records, model, "as followed");
            }
        }
    }
    store.close().await;
    assert_eq!(records(&subject.open().await).await, model, "at the end");
}

/// A standby: loads once, follows from there.
struct Copy {
    records: BTreeMap<Key, Value>,
    at: gfs_types::CommitSequence,
    follower: crate::Follower,
}

impl Copy {
    async fn of(store: &Arc<dyn MetaStore>) -> Self {
        let snapshot = store.load().await.expect("load");
        let follower = store.follow(snapshot.revision).await.expect("follow");
        Self { records: records(store).await, at: snapshot.sequence.sequence, follower }
    }

    async fn catch_up(&mut self, writer: &Writer) {
        while self.at < writer.at {
            match self.follower.next().await {
                Ok(change) => {
                    assert!(change.sequence.sequence > self.at);
                    self.at = change.sequence.sequence;
                    apply(&mut self.records, &change.puts);
                }
                Err(StoreError::Compacted) => *self = Self::of(&writer.store).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn apply(model: &mut BTreeMap<Key, Value>, puts: &BTreeMap<Key, Option<Value>>) {
    for (key, value) in puts {
        match value {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

fn owned(changes: &BTreeMap<u8, Option<Vec<u8>>>) -> BTreeMap<Key, Option<Value>> {
    changes
        .iter()
        .map(|(key, value)| (Bytes::from(format!("key {key}")), value.clone().map(Bytes::from)))
        .collect()
}
