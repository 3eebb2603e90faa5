//! Push streams: frames in, verified, into the replica's state machine; its answers out; and the
//! stream to the next member of the chain.

use crate::chunks::{Chunk, Payload};
use crate::credit::Reserved;
use crate::handshake::{FIRST_MESSAGE, PUSH, error};
use crate::node::Node;
use gfs_core::replica::{Event, MAX_HELD, StreamId};
use gfs_proto::status_of;
use gfs_proto::v1 as pb;
use gfs_transport::{BulkFrame, BulkReceiver, BulkSender};
use gfs_types::{BlockSums, ErrorCode};
use http::HeaderMap;
use pb::push_reply::Body as ReplyBody;
use pb::push_request::Body as PushBody;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// How long the next member gets to end a stream that we ended.
const LINGER: Duration = Duration::from_secs(2);
/// Replies that may wait for a sender that does not read them: more than all that it may have under
/// way can make.
const REPLIES: usize = 4 * MAX_HELD;
/// Messages that may wait for the next member. What they carry is within the stream's credit.
const DOWNWARD: usize = 4 * MAX_HELD;
/// How long the last word to a sender may take.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A message to the next member.
pub(crate) struct Downward {
    pub(crate) body: PushBody,
    pub(crate) payload: Payload,
}

/// Serves one push stream.
pub(crate) async fn serve(
    node: Arc<Node>,
    sender: BulkSender,
    mut receiver: BulkReceiver,
) -> Result<(), Status> {
    let _stream = node.stream();
    let first = timeout(FIRST_MESSAGE, receiver.recv()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no first message"))??;
    let Some(first) = first else { return Ok(()) };
    let opened = begin(&node, &first).await;
    let (chunk, open, reserved) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            node.metrics.failed_pushes.with([error.error_code().name()]).inc();
            return refuse(sender, error).await;
        }
    };
    let stream = StreamId(node.chunks.next_id());
    let (up, replies) = mpsc::channel(REPLIES);
    let (body, credit) = (PushBody::Open(open), reserved.bytes());
    let deaf = CancellationToken::new();
    chunk.attach(stream, up, deaf.clone(), reserved);
    node.step(&chunk, Event::Push { stream, body, payload: None, credit });
    let reading = async {
        // Whatever ends it: the sender is gone.
        if let Err(error) = read_frames(&node, &chunk, stream, &mut receiver).await {
            tracing::debug!(chunk = chunk.handle, %error, "a push stream broke");
        }
        node.step(&chunk, Event::Closed { stream });
        // The replies go on until the replica lets go of the stream.
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = write_replies(&node, sender, replies) => ended,
        () = reading => Ok(()),
        () = deaf.cancelled() => {
            let text = "the sender does not read what it is answered";
            let error = error(ErrorCode::ResourceExhausted, text);
            node.metrics.failed_pushes.with([error.error_code().name()]).inc();
            Err(status(&error))
        }
    };
    // The peer may be gone before we knew.
    node.step(&chunk, Event::Closed { stream });
    ended
}

type Begun = (Arc<Chunk>, pb::PushOpen, Reserved);

/// Judges the first message, and reserves memory.
async fn begin(node: &Arc<Node>, first: &BulkFrame) -> Result<Begun, pb::ErrorDetail> {
    let request = decode(first)?;
    let Some(PushBody::Open(open)) = request else {
        return Err(error(ErrorCode::InvalidArgument, "a push stream begins with its open"));
    };
    node.check_header(open.header.as_ref())?;
    let reserved = node.credit.reserve(open.need, open.enough).or_else(|refused| {
        if refused.error_code() == ErrorCode::NoCredit {
            node.reclaim();
        }
        // Whoever made room is faster than another try of the sender, at times.
        node.credit.reserve(open.need, open.enough)
    })?;
    let chunk = node.chunk(open.handle).await?;
    Ok((chunk, open, reserved))
}

fn decode(frame: &BulkFrame) -> Result<Option<PushBody>, pb::ErrorDetail> {
    let request = pb::PushRequest::decode(frame.head.clone())
        .map_err(|e| error(ErrorCode::InvalidArgument, format!("a garbled message: {e}")))?;
    Ok(request.body)
}

/// The last word on a stream that never began.
async fn refuse(mut sender: BulkSender, error: pb::ErrorDetail) -> Result<(), Status> {
    let failed = ReplyBody::Failed(pb::PushFailed { error: Some(error) });
    // A peer that is gone needs no answer.
    let _ = sender.send(reply_frame(failed)).await;
    Ok(())
}

fn reply_frame(body: ReplyBody) -> BulkFrame {
    BulkFrame::head_only(pb::PushReply { body: Some(body) }.encode_to_vec())
}

/// Takes what comes up the stream until it ends.
async fn read_frames(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    stream: StreamId,
    receiver: &mut BulkReceiver,
) -> Result<(), gfs_transport::Error> {
    while let Some(frame) = receiver.recv().await? {
        let event = match checked(frame) {
            Ok((body, payload)) => Event::Push { stream, body, payload, credit: 0 },
            Err(error) => Event::Refused { stream, error },
        };
        node.step(chunk, event);
    }
    Ok(())
}

/// A message, with the payload verified where there is one.
fn checked(frame: BulkFrame) -> Result<(PushBody, Option<Payload>), pb::ErrorDetail> {
    let Some(body) = decode(&frame)? else {
        return Err(error(ErrorCode::InvalidArgument, "an empty message"));
    };
    let PushBody::Slice(slice) = &body else { return Ok((body, None)) };
    if frame.payload_len() != slice.length as usize {
        let text = format!(
            "slice {} has {} bytes, {} came",
            slice.sequence,
            slice.length,
            frame.payload_len()
        );
        return Err(error(ErrorCode::InvalidArgument, text));
    }
    let sums = BlockSums::of(slice.offset, &frame.payload);
    if !sums.0.iter().map(|sum| sum.0).eq(slice.sums.iter().copied()) {
        let text = format!("slice {} does not match its checksums", slice.sequence);
        return Err(error(ErrorCode::Corrupt, text));
    }
    Ok((body, Some(frame.payload)))
}

/// Sends replies until the replica lets go of the stream, or has said that it failed.
async fn write_replies(
    node: &Arc<Node>,
    mut sender: BulkSender,
    mut replies: Receiver<ReplyBody>,
) -> Result<(), Status> {
    while let Some(body) = replies.recv().await {
        if let ReplyBody::Failed(failed) = &body {
            let code =
                failed.error.as_ref().map_or(ErrorCode::Internal, pb::ErrorDetail::error_code);
            node.metrics.failed_pushes.with([code.name()]).inc();
            // A sender that does not listen any more keeps nothing here.
            let _ = timeout(LAST_WORD, sender.send(reply_frame(body))).await;
            break;
        }
        if sender.send(reply_frame(body)).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl Node {
    /// Opens the stream to the next member, in a task of its own. What is put into the queue that
    /// is returned is sent; dropping it ends the stream.
    pub(crate) fn dial_next(
        self: &Arc<Self>,
        chunk: &Arc<Chunk>,
        stream: StreamId,
        next: pb::ServerLocation,
        open: pb::PushOpen,
        reserved: Arc<Reserved>,
    ) -> Sender<Downward> {
        let (sender, queue) = mpsc::channel(DOWNWARD);
        let (node, chunk) = (Arc::clone(self), Arc::clone(chunk));
        self.tasks.passing("push to the next member", async move {
            let open =
                pb::PushOpen { header: Some(node.stream_header()), handle: chunk.handle, ..open };
            if let Err(why) = forward(&node, &chunk, stream, &next, open, queue).await {
                node.step(&chunk, Event::DownBroken { stream, why });
            }
            // What waited for the next member counted until now.
            drop(reserved);
        });
        sender
    }
}

/// Runs the stream to the next member to its end. An error says why it broke.
async fn forward(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    stream: StreamId,
    next: &pb::ServerLocation,
    open: pb::PushOpen,
    mut queue: Receiver<Downward>,
) -> Result<(), String> {
    let (mut sender, mut receiver) = connect(node, next, PUSH).await?;
    let first = pb::PushRequest { body: Some(PushBody::Open(open)) };
    sender
        .send(BulkFrame::head_only(first.encode_to_vec()))
        .await
        .map_err(|error| error.to_string())?;
    let sending = async move {
        while let Some(Downward { body, payload }) = queue.recv().await {
            let head = pb::PushRequest { body: Some(body) }.encode_to_vec().into();
            if sender.send(BulkFrame { head, payload }).await.is_err() {
                // The receiving half knows why.
                return false;
            }
        }
        // The replica let go of the stream.
        sender.finish().await.is_ok()
    };
    let receiving = async {
        while let Some(frame) = receiver.recv().await.map_err(|error| error.to_string())? {
            let reply = pb::PushReply::decode(frame.head)
                .map_err(|error| format!("it sent a garbled message: {error}"))?;
            let Some(body) = reply.body else { return Err("it sent an empty message".to_owned()) };
            let failed = matches!(body, ReplyBody::Failed(_));
            node.step(chunk, Event::Down { stream, body });
            if failed {
                return Ok(());
            }
        }
        Err("it ended the stream".to_owned())
    };
    tokio::pin!(receiving);
    tokio::pin!(sending);
    tokio::select! {
        ended = &mut receiving => return ended,
        finished = &mut sending => if finished {
            // A late message concerns nobody; the stream is only to end in order.
            let _ = timeout(LINGER, receiving).await;
            return Ok(());
        },
    }
    // Sending failed: why, the receiver is told.
    timeout(LINGER, receiving).await.unwrap_or_else(|_| Err("the stream broke".to_owned()))
}

/// Opens a bulk stream to a server, at the first of its addresses that answers.
pub(crate) async fn connect(
    node: &Node,
    server: &pb::ServerLocation,
    path: &str,
) -> Result<(BulkSender, BulkReceiver), String> {
    let mut last = "it has no address".to_owned();
    for address in &server.addresses {
        let opened = match node.dialer.peer(address) {
            Ok(peer) => peer.open(path, HeaderMap::new()).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(halves) => return Ok(halves),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// The status that carries an error.
pub(crate) fn status(error: &pb::ErrorDetail) -> Status {
    status_of(error)
}
