//! Connections: two kinds of call on one port, pools, peers that vanish, shutdown.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use gfs_transport::{
    BoxedIo, BulkCall, BulkFrame, BulkReceiver, BulkSender, Config, Connector, Dialer, Error,
    Server, TcpConnector, tcp_incoming,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::net::{pair, soon};

const ECHO: &str = "/test.Bulk/Echo";
const SINK: &str = "/test.Bulk/Sink";
const UNARY: &str = "/test.Control/Reverse";

// --- A unary tonic service, written by hand: answers with the request's bytes reversed. ---

#[derive(Clone, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(into, &item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; bytes::Buf::remaining(from)];
        bytes::Buf::copy_to_slice(from, &mut item);
        Ok(Some(item))
    }
}

#[derive(Clone)]
struct Reverse;

impl tonic::server::NamedService for Reverse {
    const NAME: &'static str = "test.Control";
}

impl tonic::server::UnaryService<Vec<u8>> for Reverse {
    type Response = Vec<u8>;
    type Future =
        Pin<Box<dyn Future<Output = Result<tonic::Response<Vec<u8>>, Status>> + Send + 'static>>;
    fn call(&mut self, request: tonic::Request<Vec<u8>>) -> Self::Future {
        Box::pin(async move {
            let mut bytes = request.into_inner();
            bytes.reverse();
            Ok(tonic::Response::new(bytes))
        })
    }
}

impl tower::Service<Request<tonic::body::Body>> for Reverse {
    type Response = Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future =
        Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send + 'static>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(
            async move { Ok(tonic::server::Grpc::new(RawCodec).unary(Reverse, request).await) },
        )
    }
}

async fn reverse(channel: Channel, bytes: &[u8]) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(UNARY);
    let request = tonic::Request::new(bytes.to_vec());
    client.unary(request, path, RawCodec).await.map(tonic::Response::into_inner)
}

// --- Bulk handlers ---

async fn echo(
    _: BulkCall,
    mut sender: BulkSender,
    mut receiver: BulkReceiver,
) -> Result<(), Status> {
    while let Some(frame) = receiver.recv().await? {
        sender.send(frame).await?;
    }
    Ok(())
}

/// Reads nothing until the client is gone.
async fn sink(_: BulkCall, sender: BulkSender, receiver: BulkReceiver) -> Result<(), Status> {
    sender.closed().await;
    drop(receiver);
    Ok(())
}

fn server(config: Config) -> Server {
    Server::new(config).control(Routes::new(Reverse)).bulk(ECHO, echo).bulk(SINK, sink)
}

async fn echoes(dialer: &Dialer, address: &str) -> Result<(), Error> {
    let (mut sender, mut receiver) = dialer.peer(address)?.open(ECHO, HeaderMap::new()).await?;
    let want = BulkFrame::new("head", Bytes::from_static(b"payload"));
    sender.send(want.clone()).await?;
    assert_eq!(receiver.recv().await?, Some(want));
    sender.finish().await?;
    assert_eq!(receiver.recv().await?, None);
    Ok(())
}

#[tokio::test]
async fn control_and_bulk_share_a_tcp_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = tokio::spawn(async move {
        let server = server(Config::default());
        server.serve(tcp_incoming(listener), stopped.cancelled_owned()).await;
    });
    let dialer = Dialer::new(Arc::new(TcpConnector), Config::default());
    let peer = dialer.peer(&address).unwrap();
    assert_eq!(soon(reverse(peer.control(), b"abc")).await.unwrap(), b"cba");
    soon(echoes(&dialer, &address)).await.unwrap();
    stop.cancel();
    soon(serving).await.unwrap();
    // Nobody listens any more: an error, at once.
    let error = soon(async {
        loop {
            if let Err(error) = echoes(&dialer, &address).await {
                break error;
            }
        }
    });
    assert!(error.await.is_unreachable());
    let error = soon(reverse(peer.control(), b"abc")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

#[tokio::test]
async fn streams_nobody_reads_delay_neither_others_nor_control() {
    let config = Config { stream_window: 1 << 16, ..Config::default() };
    let config = Config {
        connection_window: config.stream_window * config.streams_per_connection as u32,
        data_connections: 1,
        max_data_connections: 1,
        ..config
    };
    let pair = pair(server(config.clone()), config.clone());
    let peer = pair.dialer.peer("a:1").unwrap();
    let mut unread = Vec::new();
    // All streams of the only connection but one, each stuffed until its window is used up.
    for _ in 1..config.streams_per_connection {
        let (mut sender, receiver) = peer.open(SINK, HeaderMap::new()).await.unwrap();
        let stuff =
            async { while sender.send(BulkFrame::new("", vec![0; 32 << 10])).await.is_ok() {} };
        let stuffed = tokio::time::timeout(Duration::from_millis(50), stuff).await;
        assert!(stuffed.is_err(), "an unread stream must make its sender wait");
        unread.push((sender, receiver));
    }
    soon(echoes(&pair.dialer, "a:1")).await.unwrap();
    soon(reverse(peer.control(), b"ab")).await.unwrap();
    // The connection is full with one more; and there may be no other.
    let _last = peer.open(SINK, HeaderMap::new()).await.unwrap();
    let error = peer.open(SINK, HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error, Error::Exhausted { .. }), "{error}");
    unread.pop();
    soon(echoes(&pair.dialer, "a:1")).await.unwrap();
}

#[tokio::test]
async fn streams_spread_over_the_pool_and_idle_connections_are_used_again() {
    let config = Config { streams_per_connection: 2, max_data_connections: 3, ..Config::default() };
    let pair = pair(server(config.clone()), config);
    let dials = || pair.wire.dials.load(Ordering::SeqCst);
    for _ in 0..5 {
        soon(echoes(&pair.dialer, "a:1")).await.unwrap();
    }
    assert_eq!(dials(), 1, "one stream after another needs one connection");
    let peer = pair.dialer.peer("a:1").unwrap();
    let mut open = Vec::new();
    for expected in [1, 2, 2, 2, 3, 3] {
        open.push(soon(peer.open(SINK, HeaderMap::new())).await.unwrap());
        assert_eq!(dials(), expected, "with {} streams", open.len());
    }
    assert!(matches!(peer.open(SINK, HeaderMap::new()).await, Err(Error::Exhausted { .. })));
}

/// Fails the first dials, then connects.
struct Flaky<C> {
    failures: usize,
    dials: AtomicUsize,
    then: C,
}

#[async_trait]
impl<C: Connector> Connector for Flaky<Arc<C>> {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        if self.dials.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.then.connect(address).await
    }
}

#[tokio::test]
async fn failed_dials_are_repeated_with_pauses_and_fail_at_once_in_between() {
    let config = Config::default();
    let pair = pair(server(config.clone()), config.clone());
    let then = Arc::clone(&pair.wire);
    let flaky = Arc::new(Flaky { failures: 3, dials: AtomicUsize::new(0), then });
    let dialer = Dialer::new(Arc::clone(&flaky) as Arc<dyn Connector>, config);
    let mut failures = 0;
    let tried = Instant::now();
    soon(async {
        while let Err(error) = echoes(&dialer, "a:1").await {
            assert!(matches!(error, Error::Connect { .. }), "{error}");
            failures += 1;
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Pauses of 20, 40 and 80 ms, in which many attempts failed without dialling.
    assert!(tried.elapsed() >= Duration::from_millis(140));
    assert!(failures > 3, "{failures}");
    assert_eq!(flaky.dials.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_says_nothing_is_a_connect_failure() {
    struct Silent;
    #[async_trait]
    impl Connector for Silent {
        async fn connect(&self, _: &str) -> io::Result<BoxedIo> {
            std::future::pending().await
        }
    }
    let dialer = Dialer::new(Arc::new(Silent), Config::default());
    let error = soon(echoes(&dialer, "a:1")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    let peer = dialer.peer("a:1").unwrap();
    let error = soon(reverse(peer.control(), b"")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

#[test]
fn addresses_that_are_none_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _within = runtime.enter();
    let dialer = Dialer::new(Arc::new(TcpConnector), Config::default());
    for address in ["", "host", "host:", "host:99999", "a b:1", "u@h:1", "h:1/path", "[::1"] {
        let refused = dialer.peer(address);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{address:?}: {refused:?}");
    }
    for address in ["host:1", "10.0.0.1:80", "[::1]:9"] {
        assert_eq!(dialer.peer(address).unwrap().address(), address);
    }
    let peer = dialer.peer("host:1").unwrap();
    for path in ["", "no-slash", "/a b"] {
        let refused = runtime.block_on(peer.open(path, HeaderMap::new()));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{path:?}: {refused:?}");
    }
}

/// A connection that can be cut, or made to go silent, from outside.
struct Fragile {
    io: BoxedIo,
    fault: CancellationToken,
    silent: bool,
    fired: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Fragile {
    fn faulted(&mut self, cx: &mut Context<'_>) -> bool {
        self.fault.is_cancelled() || self.fired.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Fragile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match (self.faulted(cx), self.silent) {
            (false, _) => Pin::new(&mut self.io).poll_read(cx, into),
            (true, true) => Poll::Pending,
            (true, false) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match (self.faulted(cx), self.silent) {
            (false, _) => Pin::new(&mut self.io).poll_write(cx, from),
            (true, true) => Poll::Ready(Ok(from.len())),
            (true, false) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

struct FragileConnector<C> {
    then: Arc<C>,
    fault: CancellationToken,
    silent: bool,
}

#[async_trait]
impl<C: Connector> Connector for FragileConnector<C> {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        let io = self.then.connect(address).await?;
        let fault = self.fault.child_token();
        let fired = Box::pin(fault.clone().cancelled_owned());
        Ok(Box::new(Fragile { io, fault, silent: self.silent, fired }))
    }
}

/// How a stream whose client waits for a message ends, and how long after the fault.
async fn fault(silent: bool) -> (Error, Duration) {
    let config = Config::default();
    let pair = pair(server(config.clone()), config.clone());
    let fault = CancellationToken::new();
    let connector = FragileConnector { then: Arc::clone(&pair.wire), fault: fault.clone(), silent };
    let dialer = Dialer::new(Arc::new(connector), config);
    let peer = dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(ECHO, HeaderMap::new()).await.unwrap();
    sender.send(BulkFrame::head_only("h")).await.unwrap();
    assert!(soon(receiver.recv()).await.unwrap().is_some());
    let since = tokio::time::Instant::now();
    fault.cancel();
    let error = soon(receiver.recv()).await.unwrap_err();
    let took = since.elapsed();
    soon(sender.closed()).await;
    // The broken connection is out of the pool at once.
    assert!(matches!(soon(echoes(&dialer, "a:1")).await, Err(error) if error.is_unreachable()));
    (error, took)
}

#[tokio::test]
async fn a_cut_connection_ends_its_streams_at_once() {
    let (error, took) = fault(false).await;
    assert!(matches!(error, Error::Broken(_)), "{error}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends_its_streams_when_a_ping_stays_unanswered() {
    let config = Config::default();
    let (error, took) = fault(true).await;
    assert!(matches!(error, Error::Broken(_)), "{error}");
    let limit = config.keep_alive_interval * 2 + config.keep_alive_timeout;
    assert!(took <= limit, "{took:?}");
}

#[tokio::test]
async fn shutdown_lets_streams_end_and_takes_no_new_ones() {
    // One connection only, so that new streams would have to use the one that goes on.
    let config = Config { data_connections: 1, max_data_connections: 1, ..Config::default() };
    let pair = pair(server(config.clone()), config);
    let peer = pair.dialer.peer("a:1").unwrap();
    let (mut sender, mut receiver) = peer.open(ECHO, HeaderMap::new()).await.unwrap();
    sender.send(BulkFrame::head_only("1")).await.unwrap();
    assert!(soon(receiver.recv()).await.unwrap().is_some());
    pair.shutdown.cancel();
    let since = Instant::now();
    soon(async {
        // Requests may still slip in until the client has heard of it.
        while echoes(&pair.dialer, "a:1").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(async { while pair.wire.connect("a:1").await.is_ok() {} }).await;
    assert!(since.elapsed() < Duration::from_secs(2), "refused, not left to wait");
    assert!(!pair.serving.is_finished());
    sender.send(BulkFrame::head_only("2")).await.unwrap();
    assert!(soon(receiver.recv()).await.unwrap().is_some(), "a running stream goes on");
    sender.finish().await.unwrap();
    assert_eq!(soon(receiver.recv()).await.unwrap(), None);
    soon(pair.serving).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_stops_streams_that_do_not_end() {
    let pair = pair(server(Config::default()), Config::default());
    let peer = pair.dialer.peer("a:1").unwrap();
    let (_sender, mut receiver) = peer.open(SINK, HeaderMap::new()).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), receiver.recv()).await;
    assert!(waited.is_err());
    pair.shutdown.cancel();
    let error = soon(receiver.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Broken(_)), "{error}");
    soon(pair.serving).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_bound_and_those_that_ask_nothing_are_closed() {
    let config = Config { max_connections: 1, ..Config::default() };
    let pair = pair(server(config.clone()), config.clone());
    let mut idle = pair.wire.connect("a:1").await.unwrap();
    let mut refused = pair.wire.connect("a:1").await.unwrap();
    let reader = async move {
        let mut read = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut refused, &mut read).await;
        read
    };
    assert!(soon(reader).await.is_empty(), "closed before a word was said");
    let since = tokio::time::Instant::now();
    let mut read = Vec::new();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut read)).await;
    assert!(since.elapsed() <= config.first_request_timeout + Duration::from_secs(1));
    // There is room again.
    soon(echoes(&pair.dialer, "a:1")).await.unwrap();
}
