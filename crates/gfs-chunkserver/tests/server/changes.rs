//! Version changes, clones, and deletes, as the master would make them.

use crate::master::CHUNK;
use crate::rig::{Disk, Rig, Running};
use crate::wire::{Push, code, pattern, read, slice};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use pb::command::Body;

const MIB: u32 = 1 << 20;
const H: u64 = 0x777;

fn prepare(version: u64, next: u64) -> Body {
    Body::Prepare(pb::Prepare { version, next })
}

/// Changes the version of a chunk to `next` with these members, and returns its length.
pub(crate) async fn change(
    rig: &Rig,
    handle: u64,
    version: u64,
    next: u64,
    servers: &[u32],
) -> u32 {
    let mut states = Vec::new();
    for server in servers {
        states.push((*server, rig.master.done(*server, handle, prepare(version, next)).await));
    }
    let best = states
        .iter()
        .filter(|(_, state)| state.complete >= version)
        .max_by_key(|(_, state)| (state.complete, state.serial, state.damaged.is_empty()))
        .cloned();
    let (source, best) = best.expect("a complete member");
    for (server, state) in &states {
        let differs = (state.length, state.digest) != (best.length, best.digest);
        if differs || !state.damaged.is_empty() {
            let equalize = pb::Equalize {
                next,
                source: Some(rig.master.location(source)),
                length: best.length,
                serial: best.serial,
                ..Default::default()
            };
            let equal = rig.master.done(*server, handle, Body::Equalize(equalize)).await;
            assert_eq!((equal.length, equal.digest), (best.length, best.digest));
            assert_eq!(equal.damaged, []);
        }
    }
    rig.master.grant(handle, next, servers, best.length).await;
    best.length
}

pub(crate) fn clone(rig: &Rig, sources: &[u32]) -> Body {
    let sources = rig.master.locations(sources);
    Body::Clone(pb::Clone { version: 1, sources, inode: 7, ..Default::default() })
}

pub(crate) async fn written(rig: &Rig, servers: &[u32], length: u32) -> Push {
    rig.master.grant(H, 1, servers, 0).await;
    let mut push = Push::open(rig, H, 1, 9, servers).await;
    push.opened().await;
    let (mut offset, mut sequence) = (0, 0);
    while offset < length {
        let size = MIB.min(length - offset);
        sequence += 1;
        push.write(sequence, offset, size).await;
        offset += size;
    }
    push
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_made_beside_the_writes_and_joins_by_a_change() {
    let rig = Rig::start(3).await;
    let length = 2 * MIB + 70_000;
    let mut push = written(&rig, &[1, 2], length).await;
    let result = rig.master.command(3, H, clone(&rig, &[2, 1])).await;
    assert_eq!((result.error, result.copied), (None, u64::from(length)));
    let state = result.state.unwrap();
    assert_eq!((state.complete, state.length), (0, length));
    let error = read(&rig, 3, H, 1, 0, 10).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::StaleVersion, "complete at nothing");
    // It has grown meanwhile; only what differs is copied then.
    push.write(4, length, 40_000).await;
    let agreed = change(&rig, H, 1, 2, &[1, 2, 3]).await;
    assert_eq!(agreed, length + 40_000);
    assert_eq!(code(&push.failed().await), ErrorCode::StaleVersion);
    let mut push = Push::open(&rig, H, 2, 9, &[1, 3, 2]).await;
    assert_eq!(push.opened().await.sequence, 4);
    push.write(5, agreed, 10).await;
    for server in [1, 2, 3] {
        let data = read(&rig, server, H, 2, 0, CHUNK).await.unwrap();
        assert!(data == pattern(0, agreed + 10), "server {server}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_takes_damaged_blocks_from_another_source() {
    let rig = Rig::start(3).await;
    written(&rig, &[1, 2], 2 * MIB).await.finish().await;
    for (server, at) in [(1, 70_000), (2, 1_500_000)] {
        let dir = rig.disks[server as usize - 1].dir();
        let path = dir.join(format!("chunks/{:02x}/{H:016x}.chunk", H & 0xff));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    let result = rig.master.command(3, H, clone(&rig, &[1, 2])).await;
    assert_eq!(result.error, None);
    let state = result.state.unwrap();
    assert_eq!(state.length, 2 * MIB);
    // It is whole: as a member of its own it serves everything.
    let verify = Body::Verify(pb::Verify { version: 0, blocks: None });
    assert_eq!(rig.master.done(3, H, verify).await.damaged, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_member_is_repaired_by_a_change() {
    let rig = Rig::start(2).await;
    written(&rig, &[1, 2], 2 * MIB).await;
    let path = rig.disks[1].dir().join(format!("chunks/{:02x}/{H:016x}.chunk", H & 0xff));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300_000] ^= 2;
    std::fs::write(&path, bytes).unwrap();
    let error = read(&rig, 2, H, 1, 0, 2 * MIB).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::Corrupt);
    change(&rig, H, 1, 2, &[1, 2]).await;
    let data = read(&rig, 2, H, 2, 0, CHUNK).await.unwrap();
    assert!(data == pattern(0, 2 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_clone_leaves_nothing() {
    let rig = Rig::start(2).await;
    written(&rig, &[1], 3 * MIB).await;
    let Body::Clone(slow) = clone(&rig, &[1]) else { panic!() };
    let id = rig.master.send(2, H, Body::Clone(pb::Clone { rate: 300_000, ..slow })).await;
    let cancel = Body::CancelClone(pb::CancelClone { version: 1 });
    let state = rig.master.done(2, H, cancel).await;
    assert_eq!((state.handle, state.length), (H, 0));
    let error = rig.master.result(id).await.error.unwrap();
    assert_eq!(code(&error), ErrorCode::Cancelled);
    let again = rig.master.command(2, H, clone(&rig, &[1])).await;
    assert_eq!(again.error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_without_a_living_source_fails_in_time() {
    let rig = Rig::start(2).await;
    written(&rig, &[1], 10).await;
    let gone = pb::ServerLocation {
        server: 7,
        addresses: vec!["127.0.0.1:1".to_owned()],
        ..Default::default()
    };
    let Body::Clone(clone) = clone(&rig, &[1]) else { panic!() };
    let lost = Body::Clone(pb::Clone { sources: vec![gone.clone()], ..clone.clone() });
    let error = rig.master.command(2, H, lost).await.error.unwrap();
    assert_eq!(code(&error), ErrorCode::Unreachable);
    // With another one it goes on there.
    let mut sources = vec![gone];
    sources.extend(clone.sources.clone());
    let result = rig.master.command(2, H, Body::Clone(pb::Clone { sources, ..clone })).await;
    assert_eq!(result.error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_replicas_are_deleted_and_others_spared() {
    let rig = Rig::start(2).await;
    let mut push = written(&rig, &[1, 2], 100).await;
    let delete = |version| Body::Delete(pb::Delete { version });
    change(&rig, H, 1, 3, &[1, 2]).await;
    assert_eq!(code(&push.failed().await), ErrorCode::StaleVersion);
    let error = rig.master.command(1, H, delete(2)).await.error.unwrap();
    assert_eq!((code(&error), error.actual), (ErrorCode::StaleVersion, 3));
    assert_eq!(rig.master.done(2, H, delete(3)).await.length, 0);
    let error = read(&rig, 2, H, 3, 0, 1).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::UnknownChunk);
    assert_eq!(read(&rig, 1, H, 3, 0, 100).await.unwrap(), pattern(0, 100)[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_takes_no_clones() {
    let (disk, files) = Disk::model();
    let rig = Rig::on(vec![Disk::real(), disk]).await;
    files.set_free(0);
    rig.master.beat(2, |beat| beat.volumes[0].free_bytes == 0).await;
    written(&rig, &[1], 100).await;
    let error = rig.master.command(2, H, clone(&rig, &[1])).await.error.unwrap();
    assert_eq!(code(&error), ErrorCode::NoSpace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_middle_of_a_stream_loses_nothing_acknowledged() {
    let rig = Rig::start(3).await;
    rig.master.grant(H, 1, &[1, 2, 3], 0).await;
    let mut version = 1;
    let (mut acknowledged, mut sequence, size) = (0_u32, 0_u64, 100_000_u32);
    while acknowledged < 3 * MIB {
        let mut push = Push::open(&rig, H, version, 9, &[1, 2, 3]).await;
        let opened = push.opened().await;
        assert!(opened.sequence >= sequence, "{opened:?} after {sequence}");
        sequence = opened.sequence;
        for ahead in 1..=5 {
            let offset = (sequence + ahead - 1) as u32 * size;
            let _ = push.sender.send(slice(sequence + ahead, offset, &pattern(offset, size))).await;
        }
        let changing = change(&rig, H, version, version + 1, &[1, 2, 3]);
        let hearing = async {
            let mut last = 0;
            while let Some(reply) = push.reply().await {
                if let pb::push_reply::Body::Acknowledged(ack) = reply {
                    last = ack.through;
                }
            }
            last
        };
        let (length, last) = tokio::join!(changing, hearing);
        sequence = sequence.max(last);
        acknowledged = sequence as u32 * size;
        assert!(length >= acknowledged, "{length} after {acknowledged} were acknowledged");
        version += 1;
        for server in [1, 2, 3] {
            let data = read(&rig, server, H, version, 0, CHUNK).await.unwrap();
            assert!(data == pattern(0, length), "server {server} at version {version}");
        }
    }
}

/// A chunk that is not there does not show that it never was, where a garbled file was put aside:
/// without a boot id the master does not conclude it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_put_a_file_aside_gives_no_boot_id_from_then_on() {
    let mut rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    assert!(!rig.master.boot_id(1).is_empty());
    rig.servers.remove(0).stop().await;
    let path = rig.disks[0].dir().join(format!("chunks/{:02x}/{H:016x}.chunk", H & 0xff));
    std::fs::write(&path, [7; 100]).unwrap();
    for _ in 0..2 {
        let server = Running::start(&rig.master, &rig.disks[0], 1).await;
        assert!(rig.master.boot_id(1).is_empty());
        server.stop().await;
    }
}
