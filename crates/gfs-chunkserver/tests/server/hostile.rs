//! Messages that no client of ours would send, and starts that must fail.

use crate::master::{CHUNK, CLUSTER};
use crate::rig::Rig;
use crate::wire::{Push, code, frame, header, pattern, read, read_with, slice};
use bytes::Bytes;
use gfs_chunkserver::files::OsFiles;
use gfs_chunkserver::store::{BootId, StoreError, Volume, VolumeOptions};
use gfs_proto::v1 as pb;
use gfs_transport::BulkFrame;
use gfs_types::{ClusterId, ErrorCode, Geometry, ServerUuid, VolumeUuid};
use pb::push_request::Body as PushBody;
use std::sync::Arc;

const H: u64 = 0x901;

async fn granted() -> Rig {
    let rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_handshakes_are_refused() {
    let rig = granted().await;
    let good = pb::PushOpen {
        header: Some(header()),
        handle: H,
        version: 1,
        writer: 9,
        ..Default::default()
    };
    let with = |change: fn(&mut pb::StreamHeader)| {
        let mut header = header();
        change(&mut header);
        pb::PushOpen { header: Some(header), ..good.clone() }
    };
    let other = |h: &mut pb::StreamHeader| h.cluster_id = ClusterId(5).to_bytes().to_vec().into();
    let cases = [
        (with(other), ErrorCode::WrongCluster),
        (with(|h| h.cluster_id = Bytes::from_static(b"short")), ErrorCode::InvalidArgument),
        (with(|h| h.protocol_version = 99), ErrorCode::WrongProtocol),
        (pb::PushOpen { header: None, ..good.clone() }, ErrorCode::InvalidArgument),
        (pb::PushOpen { handle: 0, ..good.clone() }, ErrorCode::InvalidArgument),
        (pb::PushOpen { handle: 0xdead, ..good.clone() }, ErrorCode::UnknownChunk),
        (pb::PushOpen { version: 0, ..good.clone() }, ErrorCode::StaleVersion),
        (pb::PushOpen { version: 2, ..good.clone() }, ErrorCode::StaleVersion),
        (pb::PushOpen { start: 77, ..good.clone() }, ErrorCode::Conflict),
        (pb::PushOpen { position: 1, ..good.clone() }, ErrorCode::NotPrimary),
        (
            pb::PushOpen { chain: rig.master.locations(&[1]), ..good.clone() },
            ErrorCode::InvalidArgument,
        ),
    ];
    for (open, expected) in cases {
        let mut push = Push::open_with(&rig, 1, open.clone()).await;
        assert_eq!(code(&push.failed().await), expected, "{open:?}");
        assert!(push.reply().await.is_none());
    }
    let good =
        pb::ReadRequest { header: Some(header()), handle: H, version: 1, offset: 0, length: 1 };
    let cases = [
        (pb::ReadRequest { header: None, ..good.clone() }, ErrorCode::InvalidArgument),
        (pb::ReadRequest { handle: 0xdead, ..good.clone() }, ErrorCode::UnknownChunk),
        (pb::ReadRequest { version: u64::MAX, ..good.clone() }, ErrorCode::StaleVersion),
    ];
    for (request, expected) in cases {
        let error = read_with(&rig, 1, request.clone()).await.unwrap_err();
        assert_eq!(code(&error), expected, "{request:?}");
    }
    let absurd = pb::ReadRequest { offset: u32::MAX, length: u32::MAX, ..good };
    assert!(read_with(&rig, 1, absurd).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_messages_end_their_stream_and_nothing_else() {
    let rig = granted().await;
    let data = pattern(0, 100);
    let damaged = {
        let mut frame = slice(1, 0, &data);
        frame.payload = vec![pattern(1, 100)];
        frame
    };
    let short = {
        let mut frame = slice(1, 0, &data);
        frame.payload = vec![pattern(0, 99)];
        frame
    };
    let beyond = slice(1, CHUNK - 50, &data);
    let oversized = {
        let slice = pb::Slice { sequence: 1, length: 3 << 20, commit: true, ..Default::default() };
        frame(PushBody::Slice(slice), data.clone())
    };
    let apply = frame(PushBody::Apply(pb::Apply::default()), Bytes::new());
    let cases = [
        (damaged, ErrorCode::Corrupt),
        (short, ErrorCode::InvalidArgument),
        (beyond, ErrorCode::OutOfRange),
        (oversized, ErrorCode::InvalidArgument),
        (slice(1, 7, &data), ErrorCode::WrongOffset),
        (BulkFrame::head_only(&b"\xff\xff\xff"[..]), ErrorCode::InvalidArgument),
        (BulkFrame::default(), ErrorCode::InvalidArgument),
    ];
    for (message, expected) in cases {
        let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
        push.opened().await;
        push.sender.send(message).await.unwrap();
        assert_eq!(code(&push.failed().await), expected);
        assert!(push.reply().await.is_none());
    }
    // A writer cannot order anything itself: that ends the role, and is no harm to what is stored.
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, 100).await;
    push.sender.send(apply).await.unwrap();
    assert_eq!(code(&push.failed().await), ErrorCode::InvalidArgument);
    crate::changes::change(&rig, H, 1, 2, &[1]).await;
    assert_eq!(read(&rig, 1, H, 2, 0, 200).await.unwrap(), data[..]);
    // A stream that is cut off within a message.
    let push = Push::open(&rig, H, 2, 9, &[1]).await;
    drop(push);
    assert!(rig.servers[0].health.alive().is_ok());
}

/// A slice that its writer has not asked to be applied.
fn uncommitted() -> BulkFrame {
    use prost::Message as _;
    let data = pattern(0, 100);
    let request = pb::PushRequest::decode(slice(1, 0, &data).head).unwrap();
    let Some(PushBody::Slice(head)) = request.body else { panic!() };
    frame(PushBody::Slice(pb::Slice { commit: false, ..head }), data)
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_is_limited_and_comes_back() {
    let rig = granted().await;
    let mut streams = Vec::new();
    let refused = loop {
        let writer = 100 + streams.len() as u64;
        let mut push = Push::open(&rig, H, 1, writer, &[1]).await;
        match push.reply().await {
            Some(pb::push_reply::Body::Opened(_)) => {
                // It is not idle: that would make room for others.
                push.sender.send(uncommitted()).await.unwrap();
                streams.push(push);
            }
            Some(pb::push_reply::Body::Failed(failed)) => break failed.error.unwrap(),
            other => panic!("{other:?}"),
        }
        assert!(streams.len() < 100, "memory for pushes is not bounded");
    };
    assert_eq!(code(&refused), ErrorCode::NoCredit);
    drop(streams);
    for _ in 0..500 {
        let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
        if let Some(pb::push_reply::Body::Opened(_)) = push.reply().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("credit does not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_or_of_another_cluster_is_refused() {
    let rig = Rig::start(1).await;
    let options = |cluster| VolumeOptions {
        cluster,
        new_server: ServerUuid(9),
        new_volume: VolumeUuid(0x70),
        geometry: Geometry::default(),
        boot: BootId([1; 16]),
        max_open: 8,
    };
    let dir = rig.disks[0].dir();
    let error = Volume::open(Arc::new(OsFiles), &dir, options(None)).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let Rig { servers, disks, .. } = rig;
    for server in servers {
        server.stop().await;
    }
    let dir = disks[0].dir();
    let error = Volume::open(Arc::new(OsFiles), &dir, options(Some(ClusterId(5)))).unwrap_err();
    assert!(matches!(error, StoreError::WrongCluster { found, .. } if found == CLUSTER), "{error}");
}
