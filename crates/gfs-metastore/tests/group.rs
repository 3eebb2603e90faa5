//! Group commit: merging operations is the same as applying them one after the other, an operation
//! is never split, and what comes out always fits.

use std::collections::BTreeMap;

use bytes::Bytes;
use gfs_metastore::{
    Batch, ENTRY_OVERHEAD_BYTES, GroupBatch, Key, Limits, MAX_COUNTERS_BYTES, Mutation, Refused,
    SequenceRecord, Value,
};
use gfs_types::CommitSequence;
use proptest::prelude::*;

fn limits() -> impl Strategy<Value = Limits> {
    (1..20_usize, 2000..8000_usize, 50..400_usize).prop_map(|(operations, bytes, value)| Limits {
        max_operations: operations,
        max_batch_bytes: bytes,
        max_value_bytes: value,
        max_key_bytes: 20,
    })
}

fn operation() -> impl Strategy<Value = Vec<Mutation>> {
    let key = (0..30_u8).prop_map(|n| Bytes::from(format!("key {n}")));
    let value = proptest::option::of((0..300_usize).prop_map(|n| Bytes::from(vec![1; n])));
    proptest::collection::vec((key, value), 0..6)
}

fn batch_of(puts: BTreeMap<Key, Option<Value>>) -> Batch {
    let counters = Bytes::from(vec![0; MAX_COUNTERS_BYTES]);
    let next = SequenceRecord { sequence: CommitSequence(1), counters };
    Batch { expected: CommitSequence(0), next, puts }
}

proptest! {
    #[test]
    fn groups_equal_the_operations_one_by_one(
        limits in limits(),
        operations in proptest::collection::vec(operation(), 1..40),
    ) {
        let mut one_by_one: BTreeMap<Key, Option<Value>> = BTreeMap::new();
        let mut grouped = BTreeMap::new();
        let mut group = GroupBatch::new(limits);
        for operation in operations {
            let (before, bytes) = (group.len(), group.bytes());
            match group.add(operation.clone()) {
                Ok(()) => {}
                Err(Refused::TooLarge(_)) => {
                    // Rightly: it does not pass the store's own check either.
                    prop_assert_eq!((group.len(), group.bytes()), (before, bytes));
                    let alone = batch_of(operation.iter().cloned().collect());
                    let doubled = operation.len() > alone.puts.len();
                    prop_assert!(alone.check(&limits).is_err() || doubled);
                    continue;
                }
                Err(Refused::Full(back)) => {
                    prop_assert_eq!(&back, &operation);
                    prop_assert_eq!((group.len(), group.bytes()), (before, bytes));
                    prop_assert!(group.operations() > 0, "an empty group refuses nothing as full");
                    let full = std::mem::replace(&mut group, GroupBatch::new(limits));
                    let batch = batch_of(full.into_puts());
                    prop_assert!(batch.check(&limits).is_ok());
                    grouped.extend(batch.puts);
                    prop_assert_eq!(&grouped, &one_by_one, "an operation was split");
                    prop_assert_eq!(group.add(back), Ok(()));
                }
            }
            one_by_one.extend(operation);
        }
        let batch = batch_of(group.into_puts());
        prop_assert!(batch.check(&limits).is_ok());
        grouped.extend(batch.puts);
        prop_assert_eq!(grouped, one_by_one);
    }
}

#[test]
fn a_group_holds_as_many_operations_as_fit() {
    let mut group = GroupBatch::new(Limits::ETCD);
    let put = |n: usize| vec![(Bytes::from(format!("key {n}")), Some(Bytes::from_static(b"v")))];
    for n in 0..Limits::ETCD.max_operations {
        group.add(put(n)).expect("room");
    }
    assert_eq!(group.add(put(1000)), Err(Refused::Full(put(1000))));
    // What only touches keys that are there already still fits, and so does nothing at all.
    group.add(put(5)).expect("a known key");
    group.add(Vec::new()).expect("nothing");
    assert_eq!(group.operations(), Limits::ETCD.max_operations + 2);
    assert_eq!(group.len(), Limits::ETCD.max_operations);
}

#[test]
fn a_group_is_bounded_by_bytes() {
    let mut group = GroupBatch::new(Limits::ETCD);
    let value = Bytes::from(vec![0; Limits::ETCD.max_value_bytes]);
    group.add(vec![(Bytes::from_static(b"a"), Some(value.clone()))]).expect("one fits");
    let second = vec![(Bytes::from_static(b"b"), Some(value.clone()))];
    assert_eq!(group.add(second.clone()), Err(Refused::Full(second)));
    let both = vec![
        (Bytes::from_static(b"a"), Some(value.clone())),
        (Bytes::from_static(b"b"), Some(value)),
    ];
    assert!(matches!(group.add(both), Err(Refused::TooLarge(_))));
    let room = Limits::ETCD.max_batch_bytes - group.bytes() - ENTRY_OVERHEAD_BYTES - 1;
    let exact = vec![(Bytes::from_static(b"c"), Some(Bytes::from(vec![0; room])))];
    group.add(exact).expect("exactly full");
    assert_eq!(group.bytes(), Limits::ETCD.max_batch_bytes);
}
