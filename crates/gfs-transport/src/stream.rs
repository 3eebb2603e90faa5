//! The two halves of a bulk stream, and the HTTP body between a sender and the wire.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

use crate::error::{Error, Result};
use crate::frame::{BulkFrame, Decoder, Limits};
use crate::pieces::Pieces;

/// Messages between a sender and the connection. Another one waits in the connection for window,
/// and up to [`Config::send_buffer`](crate::Config::send_buffer) for the socket.
const QUEUE: usize = 1;

/// Longest trailers: a status whose encoded message and details are longer arrives with its code
/// only. Peers refuse header lists beyond 16 KiB, and with them the code.
const MAX_TRAILERS: usize = 12 << 10;

/// What a sender hands to the connection.
pub(crate) enum Outgoing {
    Message(Pieces),
    /// The clean end; a server's carries the trailers.
    End(Option<HeaderMap>),
}

/// The connection's end of a sender.
///
/// A sender that goes away without an end, and a client's receiver that goes away before the
/// peer's verdict, reset the stream.
pub(crate) struct BulkBody {
    messages: mpsc::Receiver<Outgoing>,
    /// Resolves when the client's receiver is dropped; a server has none.
    abandoned: Option<oneshot::Receiver<Infallible>>,
    ended: bool,
}

impl Body for BulkBody {
    type Data = Pieces;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Pieces>, h2::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(abandoned) = &mut self.abandoned
            && Pin::new(abandoned).poll(cx).is_ready()
        {
            self.ended = true;
            return Poll::Ready(Some(Err(h2::Reason::CANCEL.into())));
        }
        match ready!(self.messages.poll_recv(cx)) {
            Some(Outgoing::Message(pieces)) => Poll::Ready(Some(Ok(Frame::data(pieces)))),
            Some(Outgoing::End(trailers)) => {
                self.ended = true;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            None => {
                self.ended = true;
                Poll::Ready(Some(Err(h2::Reason::CANCEL.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Counts a connection's open streams: one for as long as either half lives.
#[derive(Debug)]
pub(crate) struct StreamCount(Arc<AtomicUsize>);

impl StreamCount {
    pub(crate) fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }

    /// Whether this is the connection's only stream.
    pub(crate) fn is_only(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The sending half of a bulk stream.
///
/// A client must end it with [`finish`](Self::finish); dropped before that, the stream is reset and
/// the server's receiver fails. A server's stream ends when its handler returns; there dropping or
/// finishing the sender early only means that no message follows.
#[derive(Debug)]
pub struct BulkSender {
    messages: mpsc::Sender<Outgoing>,
    limits: Limits,
    ends_stream: bool,
    _count: Option<Arc<StreamCount>>,
}

impl BulkSender {
    /// Queues one message, waiting while about two messages of this stream wait for the peer to
    /// read. Dropping the future before it is done sends nothing of the message.
    ///
    /// # Errors
    /// [`Error::TooLarge`], with the stream still usable; [`Error::Broken`] when the stream ended:
    /// the receiver knows why, and what the peer's status was if it gave one.
    pub async fn send(&mut self, frame: BulkFrame) -> Result<()> {
        let pieces = frame.encode(&self.limits)?;
        self.messages.send(Outgoing::Message(pieces)).await.map_err(|_| ended())
    }

    /// Ends this direction cleanly, after all that was sent.
    ///
    /// # Errors
    /// [`Error::Broken`] when the stream ended before.
    pub async fn finish(self) -> Result<()> {
        if self.ends_stream {
            self.messages.send(Outgoing::End(None)).await.map_err(|_| ended())?;
        }
        Ok(())
    }

    /// Waits until the stream can take no more messages: the peer reset it or ended it, the
    /// connection broke, or this side's receiver was dropped.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }
}

fn ended() -> Error {
    Error::broken("the stream has ended")
}

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

enum Source {
    /// A client's stream before the response's headers.
    Pending(ResponseFuture),
    Body(Incoming),
    /// Nothing more comes; the error is repeated when asked again.
    Ended(Option<Error>),
}

/// The receiving half of a bulk stream.
///
/// Nothing is read from the wire beyond the stream's window unless [`recv`](Self::recv) is called.
/// A client that drops it before the end resets the stream. A server that drops it before the end
/// refuses further messages; the stream ends with its handler.
pub struct BulkReceiver {
    source: Source,
    decoder: Decoder,
    /// A client needs the server's status for a clean end.
    is_client: bool,
    _abandon: Option<oneshot::Sender<Infallible>>,
    _count: Option<Arc<StreamCount>>,
}

impl std::fmt::Debug for BulkReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match &self.source {
            Source::Pending(_) => "pending",
            Source::Body(_) => "open",
            Source::Ended(_) => "ended",
        };
        f.debug_struct("BulkReceiver").field("source", &source).finish_non_exhaustive()
    }
}

impl BulkReceiver {
    /// The next message, or `None` at the clean end: for a client after the server's status OK, for
    /// a server after the client finished. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Error::Status`] when the server ended the stream with another status,
    /// [`Error::Broken`] when the stream ended without one, [`Error::Protocol`] and
    /// [`Error::TooLarge`] for what is no bulk message. An error is final and repeated.
    pub async fn recv(&mut self) -> Result<Option<BulkFrame>> {
        match self.advance().await {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) => {
                self.source = Source::Ended(None);
                Ok(None)
            }
            Err(error) => {
                self.source = Source::Ended(Some(error.clone()));
                // A client's sender has nobody left to send to.
                self._abandon = None;
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<BulkFrame>> {
        loop {
            match &mut self.source {
                Source::Pending(response) => {
                    let response = response.await.map_err(|error| Error::broken_by(&error))?;
                    if let Some(end) = check_response(&response) {
                        return end.map(|()| None);
                    }
                    self.source = Source::Body(response.into_body());
                }
                Source::Body(body) => {
                    if let Some(frame) = self.decoder.next()? {
                        return Ok(Some(frame));
                    }
                    match body.frame().await {
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => self.decoder.push(data),
                            Err(frame) => {
                                if let (true, Some(trailers)) =
                                    (self.is_client, frame.trailers_ref())
                                {
                                    return self.end(trailers).map(|()| None);
                                }
                            }
                        },
                        Some(Err(error)) => return Err(Error::broken_by(&error)),
                        None if self.is_client => {
                            return Err(Error::broken("no status at the end"));
                        }
                        None => return self.whole().map(|()| None),
                    }
                }
                Source::Ended(None) => return Ok(None),
                Source::Ended(Some(error)) => return Err(error.clone()),
            }
        }
    }

    fn end(&self, trailers: &HeaderMap) -> Result<()> {
        match Status::from_header_map(trailers) {
            Some(status) if status.code() == Code::Ok => self.whole(),
            Some(status) => Err(Error::Status(Box::new(status))),
            None => Err(Error::protocol("trailers without grpc-status")),
        }
    }

    fn whole(&self) -> Result<()> {
        if self.decoder.is_between_messages() {
            Ok(())
        } else {
            Err(Error::protocol("the stream ended within a message"))
        }
    }
}

/// Whether the response's headers already are the end: a status without messages, or no gRPC.
fn check_response<B>(response: &Response<B>) -> Option<Result<()>> {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Some(match status.code() {
            Code::Ok => Ok(()),
            _ => Err(Error::Status(Box::new(status))),
        });
    }
    if response.status() != StatusCode::OK {
        return Some(Err(Error::protocol(format!("HTTP status {}", response.status()))));
    }
    if !is_grpc(response.headers()) {
        return Some(Err(Error::protocol("the response is no gRPC")));
    }
    None
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A client's stream before its request is sent: the request's body, and what makes the halves.
pub(crate) struct ClientStream {
    messages: mpsc::Sender<Outgoing>,
    abandon: oneshot::Sender<Infallible>,
}

impl ClientStream {
    pub(crate) fn new() -> (Self, BulkBody) {
        let (messages, queue) = mpsc::channel(QUEUE);
        let (abandon, abandoned) = oneshot::channel();
        let body = BulkBody { messages: queue, abandoned: Some(abandoned), ended: false };
        (Self { messages, abandon }, body)
    }

    pub(crate) fn halves(
        self,
        response: impl Future<Output = Result<Response<Incoming>, hyper::Error>> + Send + 'static,
        limits: Limits,
        count: StreamCount,
    ) -> (BulkSender, BulkReceiver) {
        let count = Some(Arc::new(count));
        let sender = BulkSender {
            messages: self.messages,
            limits,
            ends_stream: true,
            _count: count.clone(),
        };
        let receiver = BulkReceiver {
            source: Source::Pending(Box::pin(response)),
            decoder: Decoder::new(limits),
            is_client: true,
            _abandon: Some(self.abandon),
            _count: count,
        };
        (sender, receiver)
    }
}

/// A server's end of its responses: ends the stream with the handler's verdict. Dropped without
/// one (the handler panicked or was stopped), the stream is reset.
pub(crate) struct Verdict(mpsc::Sender<Outgoing>);

impl Verdict {
    /// Sends the trailers, after all messages. A client that is gone needs none.
    pub(crate) async fn give(self, status: Status) {
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        let size: usize =
            trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if added.is_err() || size > MAX_TRAILERS {
            tracing::warn!(code = ?status.code(), size, "a status cannot be sent with its text");
            trailers.clear();
            let plain = Status::new(status.code(), "(the error's text is too long to be sent)");
            // A code and plain text always make valid header values.
            let _ = plain.add_header(&mut trailers);
        }
        let _ = self.0.send(Outgoing::End(Some(trailers))).await;
    }
}

/// The halves of a server's stream, the response's body, and the handle that ends it.
pub(crate) fn server_stream(
    request: Incoming,
    limits: Limits,
) -> (BulkSender, BulkReceiver, BulkBody, Verdict) {
    let (messages, queue) = mpsc::channel(QUEUE);
    let verdict = Verdict(messages.clone());
    let sender = BulkSender { messages, limits, ends_stream: false, _count: None };
    let receiver = BulkReceiver {
        source: Source::Body(request),
        decoder: Decoder::new(limits),
        is_client: false,
        _abandon: None,
        _count: None,
    };
    (sender, receiver, BulkBody { messages: queue, abandoned: None, ended: false }, verdict)
}

/// A response's body: of a control call, or of a bulk stream.
pub(crate) enum ResponseBody {
    Control(tonic::body::Body),
    Bulk(BulkBody),
}

impl Body for ResponseBody {
    type Data = Pieces;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Pieces>, Self::Error>>> {
        match self.get_mut() {
            Self::Control(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| Ok(frame?.map_data(<Pieces as From<Bytes>>::from)))),
            Self::Bulk(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Control(body) => body.is_end_stream(),
            Self::Bulk(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Control(body) => body.size_hint(),
            Self::Bulk(body) => body.size_hint(),
        }
    }
}
