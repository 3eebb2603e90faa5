//! What a peer can make a server hold is limited, and who reaches a limit hears so.

use crate::rig::Rig;
use crate::wire::{Push, code, header, pattern, read};
use gfs_proto::v1 as pb;
use gfs_transport::{BulkFrame, Dialer, TcpConnector};
use gfs_types::ErrorCode;
use pb::push_reply::Body as ReplyBody;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;

const H: u64 = 0x1001;
/// Chunks that each have a stream.
const CHUNKS: u64 = 4;

/// What a metric without labels, or with these, says.
fn metric(rig: &Rig, name: &str) -> u64 {
    let text = rig.servers[0].metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// A dialer that lets little come that is not read.
fn modest() -> Dialer {
    let config = gfs_transport::Config {
        stream_window: 64 << 10,
        connection_window: 64 << 10,
        ..gfs_transport::Config::default()
    };
    Dialer::new(Arc::new(TcpConnector), config)
}

async fn open(rig: &Rig, handle: u64, need: u32) -> (Push, Option<ReplyBody>) {
    let header = Some(header());
    let open = pb::PushOpen { header, handle, version: 1, writer: 9, need, ..Default::default() };
    let mut push = Push::open_with(rig, 1, open).await;
    let reply = push.reply().await;
    (push, reply)
}

fn refusal(reply: Option<ReplyBody>) -> Option<ErrorCode> {
    match reply {
        Some(ReplyBody::Failed(failed)) => failed.error.as_ref().map(code),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_pushed_data_is_limited_and_idle_streams_make_room() {
    let rig = Rig::start(1).await;
    for handle in H..=H + CHUNKS {
        rig.master.grant(handle, 1, &[1], 0).await;
    }
    // Three have all the memory. They are idle, but on a fast machine not for long.
    let (need, all) = (20 << 20, 64 << 20);
    let mut held = Vec::new();
    for handle in H..H + CHUNKS {
        match open(&rig, handle, need).await {
            (push, Some(ReplyBody::Opened(opened))) => {
                assert!(opened.credit >= need);
                held.push(push);
            }
            (_, reply) => assert_eq!(refusal(reply), Some(ErrorCode::NoCredit)),
        }
    }
    let refused = open(&rig, H + CHUNKS, all + 1).await.1;
    assert_eq!(refusal(refused), Some(ErrorCode::OutOfRange), "it would never fit");
    // This one fits when all the others have gone.
    let patience = async {
        loop {
            match open(&rig, H + CHUNKS, 50 << 20).await {
                (push, Some(ReplyBody::Opened(_))) => return push,
                (_, reply) => assert_eq!(refusal(reply), Some(ErrorCode::NoCredit)),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut late = tokio::time::timeout(Duration::from_secs(20), patience).await.unwrap();
    for push in &mut held {
        assert_eq!(code(&push.failed().await), ErrorCode::Cancelled);
    }
    late.write(1, 0, 1000).await;
    // It is told every second.
    let told = async {
        while metric(&rig, "gfs_chunkserver_push_credit_peak_bytes") < u64::from(need) * 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    let limit = metric(&rig, "gfs_chunkserver_push_credit_limit_bytes");
    let peak = metric(&rig, "gfs_chunkserver_push_credit_peak_bytes");
    assert!(limit == u64::from(all) && peak <= limit, "{peak} of {limit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_a_time_are_limited() {
    const READS: usize = 8;
    let rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    for piece in 0..4 {
        push.write(u64::from(piece) + 1, piece << 20, 1 << 20).await;
    }
    let request = pb::ReadRequest {
        header: Some(header()),
        handle: H,
        version: 1,
        offset: 0,
        length: 4 << 20,
    };
    // Readers that take nothing: what they asked for is more than can be on its way.
    let mut slow = Vec::new();
    for _ in 0..READS {
        let peer = modest().peer(&rig.server(1).address).unwrap();
        let (mut sender, receiver) =
            peer.open("/gfs.v1.Data/Read", Default::default()).await.unwrap();
        sender.send(BulkFrame::head_only(request.encode_to_vec())).await.unwrap();
        slow.push((peer, sender, receiver));
    }
    let until = |count: u64| {
        let rig = &rig;
        async move {
            while metric(rig, "gfs_chunkserver_reads") != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), until(READS as u64)).await.unwrap();
    let refused = read(&rig, 1, H, 1, 0, 10).await.unwrap_err();
    assert_eq!(code(&refused), ErrorCode::ResourceExhausted);
    drop(slow);
    tokio::time::timeout(Duration::from_secs(20), until(0)).await.unwrap();
    assert_eq!(read(&rig, 1, H, 1, 0, 10).await.unwrap(), pattern(0, 10)[..]);
}
