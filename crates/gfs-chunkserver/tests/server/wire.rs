//! A client that speaks the data streams by hand.

use crate::master::CLUSTER;
use crate::rig::Rig;
use bytes::Bytes;
use gfs_proto::{detail_of, v1 as pb};
use gfs_transport::{BulkFrame, BulkReceiver, BulkSender};
use gfs_types::{BlockSums, ErrorCode, PROTOCOL_VERSION};
use pb::push_reply::Body as ReplyBody;
use pb::push_request::Body as PushBody;
use prost::Message as _;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn header() -> pb::StreamHeader {
    pb::StreamHeader {
        cluster_id: CLUSTER.to_bytes().to_vec().into(),
        protocol_version: PROTOCOL_VERSION,
        epoch: 3,
    }
}

/// `length` bytes that follow from where they are.
pub(crate) fn pattern(offset: u32, length: u32) -> Bytes {
    (offset..offset + length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(crate) fn slice(sequence: u64, offset: u32, data: &Bytes) -> BulkFrame {
    let sums = BlockSums::of(offset, std::slice::from_ref(data));
    let slice = pb::Slice {
        sequence,
        offset,
        length: data.len() as u32,
        sums: sums.0.iter().map(|sum| sum.0).collect(),
        commit: true,
        ..Default::default()
    };
    frame(PushBody::Slice(slice), data.clone())
}

pub(crate) fn frame(body: PushBody, payload: Bytes) -> BulkFrame {
    BulkFrame::new(pb::PushRequest { body: Some(body) }.encode_to_vec(), payload)
}

/// A push stream.
pub(crate) struct Push {
    pub(crate) sender: BulkSender,
    pub(crate) receiver: BulkReceiver,
}

impl Push {
    /// Opens a stream to the first of `servers`, with the others as its chain.
    pub(crate) async fn open(
        rig: &Rig,
        handle: u64,
        version: u64,
        writer: u64,
        servers: &[u32],
    ) -> Self {
        let chain = rig.master.locations(&servers[1..]);
        let open = pb::PushOpen {
            header: Some(header()),
            handle,
            version,
            writer,
            chain,
            ..Default::default()
        };
        Self::open_with(rig, servers[0], open).await
    }

    pub(crate) async fn open_with(rig: &Rig, server: u32, open: pb::PushOpen) -> Self {
        let peer = rig.dialer.peer(&rig.server(server).address).unwrap();
        let opened = peer.open("/gfs.v1.Data/Push", Default::default()).await;
        let (mut sender, receiver) = opened.unwrap();
        sender.send(frame(PushBody::Open(open), Bytes::new())).await.unwrap();
        Self { sender, receiver }
    }

    /// The next reply; `None` at the end of the stream, however it ends.
    pub(crate) async fn reply(&mut self) -> Option<ReplyBody> {
        let received = tokio::time::timeout(PATIENCE, self.receiver.recv()).await.expect("a reply");
        let frame = received.ok()??;
        pb::PushReply::decode(frame.head).unwrap().body
    }

    pub(crate) async fn opened(&mut self) -> pb::PushOpened {
        match self.reply().await {
            Some(ReplyBody::Opened(opened)) => opened,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, body: PushBody) {
        self.sender.send(frame(body, Bytes::new())).await.unwrap();
    }

    /// Pushes bytes and waits until they are acknowledged.
    pub(crate) async fn write(&mut self, sequence: u64, offset: u32, length: u32) {
        self.sender.send(slice(sequence, offset, &pattern(offset, length))).await.unwrap();
        self.acknowledged(sequence).await;
    }

    pub(crate) async fn acknowledged(&mut self, sequence: u64) -> pb::Acknowledged {
        loop {
            match self.reply().await {
                Some(ReplyBody::Acknowledged(ack)) if ack.through >= sequence => return ack,
                Some(ReplyBody::Acknowledged(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the stream to fail.
    pub(crate) async fn failed(&mut self) -> pb::ErrorDetail {
        loop {
            match self.reply().await {
                Some(ReplyBody::Failed(failed)) => return failed.error.unwrap(),
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    }

    pub(crate) async fn finish(&mut self) -> pb::Finished {
        self.send(PushBody::Finish(pb::Finish::default())).await;
        loop {
            match self.reply().await {
                Some(ReplyBody::Finished(finished)) => return finished,
                Some(ReplyBody::Acknowledged(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Reads from one server, verifying what comes.
pub(crate) async fn read(
    rig: &Rig,
    server: u32,
    handle: u64,
    version: u64,
    offset: u32,
    length: u32,
) -> Result<Vec<u8>, pb::ErrorDetail> {
    let header = Some(header());
    let request = pb::ReadRequest { header, handle, version, offset, length };
    read_with(rig, server, request).await
}

pub(crate) async fn read_with(
    rig: &Rig,
    server: u32,
    request: pb::ReadRequest,
) -> Result<Vec<u8>, pb::ErrorDetail> {
    let peer = rig.dialer.peer(&rig.server(server).address).unwrap();
    let opened = peer.open("/gfs.v1.Data/Read", Default::default()).await;
    let (mut sender, mut receiver) = opened.unwrap();
    sender.send(BulkFrame::head_only(request.encode_to_vec())).await.unwrap();
    let _ = sender.finish().await;
    let mut data = Vec::new();
    loop {
        let received = tokio::time::timeout(PATIENCE, receiver.recv()).await.expect("a reply");
        let frame = match received {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(data),
            Err(error) => return Err(detail_of(error.status().expect("a status"))),
        };
        let reply = pb::ReadReply::decode(frame.head.clone()).unwrap();
        let sums = BlockSums::of(reply.offset, &frame.payload);
        assert!(sums.0.iter().map(|sum| sum.0).eq(reply.sums), "wrong sums");
        frame.payload.iter().for_each(|piece| data.extend_from_slice(piece));
    }
}

pub(crate) fn code(error: &pb::ErrorDetail) -> ErrorCode {
    error.error_code()
}
