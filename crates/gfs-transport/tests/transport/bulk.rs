//! Bulk streams between a client and a server of this crate, over a network in memory.

use crate::net::{pair, soon};
use bytes::Bytes;
use gfs_transport::{BulkCall, BulkFrame, BulkReceiver, BulkSender, Config, Error, Limits, Server};
use http::HeaderMap;
use tokio::sync::mpsc;
use tonic::{Code, Status};

const PATH: &str = "/gfs.v1.Data/Push";

async fn echo(
    _call: BulkCall,
    mut sender: BulkSender,
    mut receiver: BulkReceiver,
) -> Result<(), Status> {
    while let Some(frame) = receiver.recv().await? {
        sender.send(frame).await?;
    }
    Ok(())
}

fn echo_server() -> Server {
    Server::new(Config::default()).bulk(PATH, echo)
}

fn joined(frame: &BulkFrame) -> Vec<u8> {
    frame.payload.concat()
}

fn message(number: u32, size: usize) -> BulkFrame {
    let payload: Vec<u8> = (0..size).map(|at| (at as u32 ^ number).to_le_bytes()[0]).collect();
    let pieces = payload.chunks(size.div_ceil(3).max(1)).map(Bytes::copy_from_slice).collect();
    BulkFrame { head: Bytes::copy_from_slice(&number.to_le_bytes()), payload: pieces }
}

#[tokio::test]
async fn messages_of_all_sizes_come_back_in_order() {
    let pair = pair(echo_server(), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let sizes = [0, 1, 100, 4095, 4096, 70_000, 1 << 20, 3, (1 << 20) - 1, 1 << 20, 1 << 20];
    let send = async {
        for (number, size) in (0..).zip(sizes) {
            sender.send(message(number, size)).await.unwrap();
        }
        sender.finish().await.unwrap();
    };
    let receive = async {
        for (number, size) in (0..).zip(sizes) {
            let got = receiver.recv().await.unwrap().expect("a message");
            let want = message(number, size);
            assert_eq!(got.head, want.head);
            assert!(joined(&got) == joined(&want), "payload of message {number}");
        }
        assert_eq!(receiver.recv().await.unwrap(), None);
        assert_eq!(receiver.recv().await.unwrap(), None, "the end is repeated");
    };
    soon(async { tokio::join!(send, receive) }).await;
}

#[tokio::test]
async fn a_status_arrives_with_code_message_and_details_after_all_messages() {
    let refuse = |_: BulkCall, mut sender: BulkSender, _: BulkReceiver| async move {
        sender.send(BulkFrame::new("h", "before")).await?;
        let details = Bytes::from_static(&[0, 255, 7, b'\n']);
        Err(Status::with_details(Code::FailedPrecondition, "schön: 50 %\n", details))
    };
    let server = Server::new(Config::default()).bulk(PATH, refuse);
    let pair = pair(server, Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (_sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let first = soon(receiver.recv()).await.unwrap().unwrap();
    assert_eq!(joined(&first), b"before");
    for _ in 0..2 {
        let error = soon(receiver.recv()).await.unwrap_err();
        let status = error.status().expect("a status");
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "schön: 50 %\n");
        assert_eq!(status.details(), [0, 255, 7, b'\n']);
    }
}

#[tokio::test]
async fn a_status_too_long_for_the_wire_keeps_its_code() {
    let refuse = |_: BulkCall, _: BulkSender, _: BulkReceiver| async move {
        let details = Bytes::from(vec![1; 100 << 10]);
        Err::<(), _>(Status::with_details(Code::Aborted, "x", details))
    };
    let pair = pair(Server::new(Config::default()).bulk(PATH, refuse), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (_sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let error = soon(receiver.recv()).await.unwrap_err();
    assert_eq!(error.status().map(Status::code), Some(Code::Aborted), "{error}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let pair = pair(echo_server(), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (_sender, mut receiver) = peer.open("/gfs.v1.Data/Other", HeaderMap::new()).await.unwrap();
    let error = soon(receiver.recv()).await.unwrap_err();
    assert_eq!(error.status().map(Status::code), Some(Code::Unimplemented));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent_and_the_stream_goes_on() {
    let pair = pair(echo_server(), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let large = BulkFrame::new("", vec![0; (1 << 20) + 1]);
    let refused = sender.send(large).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { part: "payload", .. }), "{refused}");
    let large = BulkFrame::new(vec![0; (256 << 10) + 1], "");
    let refused = sender.send(large).await.unwrap_err();
    assert!(matches!(refused, Error::TooLarge { part: "head", .. }), "{refused}");
    sender.send(BulkFrame::new("h", "p")).await.unwrap();
    assert_eq!(joined(&soon(receiver.recv()).await.unwrap().unwrap()), b"p");
}

#[tokio::test]
async fn a_receiver_refuses_what_exceeds_its_own_limits() {
    let config = Config { limits: Limits { head: 16, payload: 100 }, ..Config::default() };
    let pair = pair(Server::new(config).bulk(PATH, echo), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    sender.send(BulkFrame::new("h", vec![1; 101])).await.unwrap();
    let error = soon(receiver.recv()).await.unwrap_err();
    assert_eq!(error.status().map(Status::code), Some(Code::ResourceExhausted), "{error}");
}

/// A server whose handler reports how its receiver ended.
fn reporting() -> (Server, mpsc::Receiver<Result<usize, Error>>) {
    let (report, reports) = mpsc::channel(4);
    let handler = move |_: BulkCall, sender: BulkSender, mut receiver: BulkReceiver| {
        let report = report.clone();
        async move {
            let mut messages = 0;
            let outcome = loop {
                match receiver.recv().await {
                    Ok(Some(_)) => messages += 1,
                    Ok(None) => break Ok(messages),
                    Err(error) => break Err(error),
                }
            };
            if outcome.is_err() {
                // The sending half learns of it too.
                sender.closed().await;
            }
            report.send(outcome).await.map_err(|_| Status::internal("test ended"))
        }
    };
    (Server::new(Config::default()).bulk(PATH, handler), reports)
}

#[tokio::test]
async fn dropping_the_sender_unfinished_resets_the_stream() {
    let (server, mut reports) = reporting();
    let pair = pair(server, Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    sender.send(message(0, 100)).await.unwrap();
    drop(sender);
    let report = soon(reports.recv()).await.unwrap();
    assert!(matches!(report, Err(Error::Broken(_))), "{report:?}");
    let error = soon(receiver.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
}

#[tokio::test]
async fn dropping_the_receiver_resets_the_stream_before_and_after_the_headers() {
    for wait_for_headers in [false, true] {
        let (server, mut reports) = reporting();
        let pair = pair(server, Config::default());
        let peer = pair.dialer.peer("a:1").unwrap();
        let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
        sender.send(message(0, 100)).await.unwrap();
        if wait_for_headers {
            let waited =
                tokio::time::timeout(std::time::Duration::from_millis(200), receiver.recv()).await;
            assert!(waited.is_err(), "nothing was sent");
        }
        drop(receiver);
        soon(sender.closed()).await;
        let error = soon(sender.send(message(1, 100))).await.unwrap_err();
        assert!(matches!(error, Error::Broken(_)), "{error}");
        // Cancelled before its request was sent, the stream may never have reached the server.
        if wait_for_headers {
            let report = soon(reports.recv()).await;
            assert!(matches!(report, Some(Err(Error::Broken(_)))), "{report:?}");
        }
    }
}

#[tokio::test]
async fn a_finished_stream_ends_cleanly_on_both_sides() {
    let (server, mut reports) = reporting();
    let pair = pair(server, Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    sender.send(message(0, 1 << 20)).await.unwrap();
    sender.finish().await.unwrap();
    assert_eq!(soon(receiver.recv()).await.unwrap(), None);
    assert_eq!(soon(reports.recv()).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_answers_early_is_heard_though_the_client_still_sends() {
    let refuse = |_: BulkCall, _: BulkSender, _: BulkReceiver| async move {
        Err::<(), _>(Status::unavailable("not now"))
    };
    let pair = pair(Server::new(Config::default()).bulk(PATH, refuse), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let send = async {
        // Far more than the windows hold: only the end of the stream can end this.
        for number in 0..1000 {
            if sender.send(message(number, 1 << 20)).await.is_err() {
                return true;
            }
        }
        false
    };
    let (refused, got) = soon(async { tokio::join!(send, receiver.recv()) }).await;
    assert!(refused);
    assert_eq!(got.unwrap_err().status().map(Status::code), Some(Code::Unavailable));
}

#[tokio::test]
async fn a_panicking_handler_breaks_its_stream_and_no_other() {
    let fail = |_: BulkCall, _: BulkSender, _: BulkReceiver| async move {
        if true {
            panic!("planted");
        }
        Ok(())
    };
    let server = echo_server().bulk("/gfs.v1.Data/Panic", fail);
    let pair = pair(server, Config { data_connections: 1, ..Config::default() });
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(PATH, HeaderMap::new()).await.unwrap();
    let (_bad, mut broken) = peer.open("/gfs.v1.Data/Panic", HeaderMap::new()).await.unwrap();
    let error = soon(broken.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    sender.send(message(1, 10)).await.unwrap();
    assert!(soon(receiver.recv()).await.unwrap().is_some());
}

/// The bulk message as a stock gRPC client declares it.
#[derive(Clone, PartialEq, prost::Message)]
struct StockBulk {
    #[prost(bytes = "vec", tag = "1")]
    head: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    payload: Vec<u8>,
}

#[tokio::test]
async fn a_stock_grpc_client_can_speak_it() {
    let pair = pair(echo_server(), Config::default());
    let mut client = tonic::client::Grpc::new(pair.dialer.peer("a:1").unwrap().control());
    soon(client.ready()).await.unwrap();
    let sent: Vec<StockBulk> = [0, 1, 5000, 1 << 20]
        .map(|size| StockBulk { head: vec![1; size.min(9)], payload: vec![size as u8 ^ 7; size] })
        .into();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let codec = tonic_prost::ProstCodec::<StockBulk, StockBulk>::default();
    let request = tonic::Request::new(futures_util::stream::iter(sent.clone()));
    let mut answers = soon(client.streaming(request, path, codec)).await.unwrap().into_inner();
    for want in sent {
        let got = soon(answers.message()).await.unwrap().expect("an answer");
        assert!(got == want, "payload of {} bytes", want.payload.len());
    }
    assert!(soon(answers.message()).await.unwrap().is_none());
}
