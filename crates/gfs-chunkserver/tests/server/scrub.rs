//! A server that verifies its replicas unasked, and what its master hears of it.

use crate::changes::{clone, written};
use crate::rig::{Disk, Rig, Running};
use crate::wire::read;
use gfs_proto::v1 as pb;
use gfs_types::BLOCK_SIZE;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

const H: u64 = 0x777;
const LENGTH: u32 = 3 * BLOCK_SIZE + 100;

/// Server 1 does not scrub, server 2 does; both hold the chunk, which nobody writes any more.
async fn rig() -> (Rig, PathBuf) {
    let mut rig = Rig::start(1).await;
    rig.disks.push(Disk::real());
    rig.servers.push(Running::scrubbing(&rig.master, &rig.disks[1], 2, 1_000_000_000).await);
    let mut push = written(&rig, &[1, 2], LENGTH).await;
    push.finish().await;
    let file = rig.disks[1].dir().join(format!("chunks/77/{H:016x}.chunk"));
    (rig, file)
}

async fn damaged(rig: &Rig) -> pb::ReplicaState {
    let (server, pb::notice::Body::Damaged(state)) = rig.master.notice(H).await else {
        panic!("another notice");
    };
    assert_eq!(server, 2);
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_without_a_read_and_a_lost_replica_can_be_made_again() {
    let (rig, file) = rig().await;
    rig.master.beat(2, |beat| beat.volumes[0].scrub.is_some_and(|scrub| scrub.passes > 0)).await;
    rig.master.beat(1, |beat| beat.volumes[0].scrub.is_some_and(|scrub| scrub.rate == 0)).await;
    let handle = std::fs::File::options().write(true).open(&file).unwrap();
    handle.write_all_at(&[0xff; 3], u64::from(2 * BLOCK_SIZE)).unwrap();
    let state = damaged(&rig).await;
    assert_eq!((state.complete, state.length), (1, LENGTH));
    assert_eq!(state.damaged, [pb::BlockRange { first: 2, count: 1 }]);
    rig.master
        .beat(2, |beat| beat.volumes[0].scrub.is_some_and(|scrub| scrub.damaged_blocks == 1))
        .await;
    let text = rig.servers[1].metrics.render().unwrap();
    assert!(text.contains("gfs_chunkserver_scrub_findings_total{kind=\"damaged\"}"), "{text}");

    // A master that was not there hears of it in the report.
    rig.master.restart();
    rig.master.registered(1).await;
    rig.master.registered(2).await;
    let report = rig.master.report(2);
    assert_eq!(report[0].damaged, [pb::BlockRange { first: 2, count: 1 }]);

    std::fs::remove_file(&file).unwrap();
    // Of the damage it may be told once more.
    let gone = loop {
        let state = damaged(&rig).await;
        if state.complete == 0 {
            break state;
        }
    };
    assert_eq!(gone, pb::ReplicaState { handle: H, ..Default::default() });
    rig.master
        .beat(2, |beat| beat.volumes[0].scrub.is_some_and(|scrub| scrub.lost_replicas == 1))
        .await;
    let state = rig.master.done(2, H, clone(&rig, &[1])).await;
    assert_eq!(state.length, LENGTH);
    assert!(file.exists());
    read(&rig, 1, H, 1, 0, LENGTH).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_goes_on_where_it_stood() {
    let (mut rig, _) = rig().await;
    rig.master.beat(2, |beat| beat.volumes[0].scrub.is_some_and(|scrub| scrub.passes > 1)).await;
    rig.servers.pop().unwrap().stop().await;
    let second = Running::scrubbing(&rig.master, &rig.disks[1], 2, 1).await;
    assert_eq!(second.number, 2);
    // At a byte a second it has not ended a pass of its own.
    rig.master
        .beat(2, |beat| {
            let scrub = beat.volumes[0].scrub.unwrap_or_default();
            scrub.rate == 1 && scrub.passes > 1 && scrub.completed_ms > 0
        })
        .await;
}
