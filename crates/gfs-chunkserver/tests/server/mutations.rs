//! Overwrites, records and flushes through the chain.

use crate::master::CHUNK;
use crate::rig::{Disk, Rig};
use crate::wire::{Push, frame, pattern, read};
use gfs_proto::v1 as pb;
use gfs_types::BlockSums;
use pb::push_reply::Body as ReplyBody;
use pb::push_request::Body as PushBody;

const H: u64 = 0x601;

fn file_of(disk: &Disk) -> std::path::PathBuf {
    disk.dir().join(format!("chunks/{:02x}/{H:016x}.chunk", H & 0xff))
}

async fn flush(push: &mut Push, token: u64) {
    push.send(PushBody::Flush(pb::Flush { token })).await;
    loop {
        match push.reply().await {
            Some(ReplyBody::Flushed(flushed)) => return assert_eq!(flushed.token, token),
            Some(ReplyBody::Acknowledged(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// No member answers, and so the writer is not answered, before all that was acknowledged is on
/// every disk: data, checksums, header, and the file's name.
#[tokio::test(flavor = "multi_thread")]
async fn flushed_means_on_the_disk_of_every_member() {
    let (disks, watched): (Vec<_>, Vec<_>) = (0..3).map(|_| Disk::watched()).unzip();
    let rig = Rig::on(disks).await;
    rig.master.grant(H, 1, &[1, 2, 3], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 3, 2]).await;
    push.opened().await;
    let writes = [(0, 100_000), (100_000, 5), (30_000, 60_000), (0, 1), (90_000, 50_000)];
    for (token, (offset, length)) in (1..).zip(writes) {
        push.write(token, offset, length).await;
        let unsynced = |watched: &gfs_chunkserver::files::WitnessFiles, disk, when| {
            watched.volatile(&file_of(disk), when)
        };
        let disks = || watched.iter().zip(&rig.disks);
        let before = disks().filter(|(w, disk)| !unsynced(w, disk, w.now()).is_empty()).count();
        assert!(before > 0, "nothing was to be flushed");
        let moments: Vec<_> = watched.iter().map(|watched| watched.now()).collect();
        flush(&mut push, token).await;
        for ((watched, disk), when) in disks().zip(moments) {
            assert_eq!(unsynced(watched, disk, when), [""; 0], "flush {token}");
        }
    }
    for server in [1, 2, 3] {
        assert_eq!(read(&rig, server, H, 1, 0, CHUNK).await.unwrap(), pattern(0, 140_000)[..]);
    }
}

/// A record, whose checksums are not cut where the chunk's blocks are.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_written_where_the_primary_says() {
    let rig = Rig::start(2).await;
    rig.master.grant(H, 1, &[1, 2], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    push.opened().await;
    push.write(1, 0, 77).await;
    let record = pattern(5, 300_000);
    let sums = BlockSums::of(0, std::slice::from_ref(&record));
    let slice = pb::Slice {
        sequence: 2,
        length: record.len() as u32,
        sums: sums.0.iter().map(|sum| sum.0).collect(),
        commit: true,
        append: true,
        ..Default::default()
    };
    push.sender.send(frame(PushBody::Slice(slice), record.clone())).await.unwrap();
    assert_eq!(push.acknowledged(2).await.offsets, [77]);
    let all = [&pattern(0, 77)[..], &record].concat();
    for server in [1, 2] {
        assert!(read(&rig, server, H, 1, 0, CHUNK).await.unwrap() == all, "server {server}");
    }
}
