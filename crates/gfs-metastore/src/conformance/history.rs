//! Checks of following.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Subject, Writer, puts, records, text};
use crate::{Change, Follower, Revision, StoreError};

async fn next(follower: &mut Follower) -> Arc<Change> {
    follower.next().await.expect("the next change")
}

pub async fn followers_see_every_commit_in_order(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    writer.put("before", "1").await;
    let snapshot = writer.store.load().await.unwrap();
    let mut follower = writer.store.follow(snapshot.revision).await.unwrap();
    let mut committed = Vec::new();
    for n in 0..50 {
        let key = format!("k{n}");
        let changes = puts([(key.as_str(), Some("v")), ("same", Some("w"))]);
        let revision = writer.commit(changes.clone()).await;
        committed.push((revision, writer.at, changes));
    }
    let deletion = puts([("k0", None)]);
    committed.push((writer.commit(deletion.clone()).await, writer.at, deletion));
    for (revision, sequence, changes) in committed {
        let change = next(&mut follower).await;
        assert_eq!(change.revision, revision);
        assert_eq!(change.sequence.sequence, sequence);
        assert_eq!(change.sequence.counters, text("counters"));
        assert_eq!(change.puts, changes);
    }
}

pub async fn a_follower_waits_for_the_next_commit(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let revision = writer.put("a", "1").await;
    let mut follower = writer.store.follow(revision).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(20), follower.next()).await;
    assert!(early.is_err(), "nothing was committed: {early:?}");
    // The waiting future was dropped; nothing may be lost by that.
    let waiting = tokio::spawn(async move { (next(&mut follower).await, follower) });
    let revision = writer.put("b", "2").await;
    let (change, mut follower) = waiting.await.expect("the follower's task");
    assert_eq!(change.revision, revision);
    writer.put("c", "3").await;
    assert_eq!(next(&mut follower).await.sequence.sequence, writer.at);
}

pub async fn following_from_the_middle_misses_nothing(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let start = writer.store.load().await.unwrap().revision;
    let mut revisions = Vec::new();
    for n in 0..20 {
        revisions.push(writer.put("key", &n.to_string()).await);
    }
    for from in 0..=revisions.len() {
        let after = from.checked_sub(1).map_or(start, |n| revisions[n]);
        let mut follower = writer.store.follow(after).await.unwrap();
        for expected in &revisions[from..] {
            assert_eq!(next(&mut follower).await.revision, *expected);
        }
    }
}

pub async fn compaction_keeps_what_follows_it(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let mut revisions = Vec::new();
    for n in 0..20 {
        revisions.push(writer.put(&format!("k{n}"), "v").await);
    }
    let expected = records(&writer.store).await;
    writer.store.compact(revisions[10]).await.unwrap();
    writer.store.compact(revisions[5]).await.expect("having compacted further is no error");
    let mut follower = writer.store.follow(revisions[10]).await.unwrap();
    for revision in &revisions[11..] {
        assert_eq!(next(&mut follower).await.revision, *revision);
    }
    all_or_compacted(&writer, revisions[3], &revisions[4..]).await;
    assert_eq!(records(&writer.store).await, expected);
    writer.put("after", "compaction").await;
}

pub async fn history_before_a_snapshot_is_not_silently_skipped(subject: &impl Subject) {
    let store = subject.open().await;
    let mut writer = Writer::begin(&store).await;
    let start = store.load().await.unwrap().revision;
    let mut revisions = Vec::new();
    for n in 0..10 {
        revisions.push(writer.put(&n.to_string(), "v").await);
    }
    store.close().await;
    let writer = Writer::begin(&subject.open().await).await;
    all_or_compacted(&writer, start, &revisions).await;
    all_or_compacted(&writer, revisions[3], &revisions[4..]).await;
}

pub async fn a_slow_follower_sees_all_or_is_told(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let start = writer.put("first", "v").await;
    let mut slow = writer.store.follow(start).await.unwrap();
    let mut model = BTreeMap::from([(text("first"), text("v"))]);
    let value = "x".repeat(100_000);
    for n in 0..150_u8 {
        let key = format!("k{}", n % 10);
        writer.put(&key, &value).await;
    }
    let told = loop {
        match slow.next().await {
            Err(StoreError::Compacted) => break true,
            Err(error) => panic!("{error}"),
            Ok(change) => {
                assert_eq!(change.puts.len(), 1);
                for (key, value) in &change.puts {
                    model.insert(key.clone(), value.clone().unwrap_or_else(Bytes::new));
                }
                if change.sequence.sequence == writer.at {
                    break false;
                }
            }
        }
    };
    if !told {
        assert_eq!(model, records(&writer.store).await);
    }
}

pub async fn closing_ends_followers(subject: &impl Subject) {
    let mut writer = Writer::begin(&subject.open().await).await;
    let revision = writer.put("a", "1").await;
    let mut follower = writer.store.follow(revision).await.unwrap();
    let waiting = tokio::spawn(async move { follower.next().await });
    writer.store.close().await;
    let end = waiting.await.expect("the follower's task");
    assert!(matches!(end, Err(StoreError::Closed)), "{end:?}");
}

/// Following from `after` must give all of `expected`, or say that it cannot.
async fn all_or_compacted(writer: &Writer, after: Revision, expected: &[Revision]) {
    let mut follower = match writer.store.follow(after).await {
        Ok(follower) => follower,
        Err(StoreError::Compacted) => return,
        Err(error) => panic!("{error}"),
    };
    for (position, revision) in expected.iter().enumerate() {
        match follower.next().await {
            Ok(change) => assert_eq!(change.revision, *revision),
            Err(StoreError::Compacted) if position == 0 => return,
            Err(error) => panic!("{error}"),
        }
    }
}
