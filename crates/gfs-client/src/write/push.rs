//! A push stream to a primary: what the writer wants sent goes out in order, what comes up goes to
//! the writer as events.

use std::time::Duration;

use bytes::Bytes;
use gfs_core::writer::{Event, StreamEvent, StreamId};
use gfs_proto::v1 as pb;
use gfs_transport::{BulkFrame, BulkReceiver, BulkSender, Dialer, Error as TransportError};
use gfs_types::ErrorCode;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::sleep;

const PUSH: &str = "/gfs.v1.Data/Push";

/// How long a stream that is given up may take to end by itself.
const LINGER: Duration = Duration::from_secs(2);

/// A message that goes up.
pub(super) fn frame(body: pb::push_request::Body, payload: Vec<Bytes>) -> BulkFrame {
    let head = pb::PushRequest { body: Some(body) }.encode_to_vec();
    BulkFrame { head: head.into(), payload }
}

/// Runs a stream until it ends, or until `frames` is closed and the rest is sent. Its last event
/// says that it ended, unless nobody listens any more.
pub(super) async fn run(
    dialer: Dialer,
    stream: StreamId,
    server: pb::ServerLocation,
    mut frames: mpsc::Receiver<BulkFrame>,
    events: mpsc::Sender<Event>,
) {
    let last = match open(&dialer, &server).await {
        Ok((sender, receiver)) => {
            tokio::select! {
                last = receive(receiver, stream, &events) => last,
                () = send(sender, &mut frames) => {
                    sleep(LINGER).await;
                    StreamEvent::Broken
                }
            }
        }
        Err(last) => last,
    };
    // The writer may be gone.
    let _ = events.send(Event::Stream { stream, event: last }).await;
}

/// Connects to the first address of the server that can be reached.
async fn open(
    dialer: &Dialer,
    server: &pb::ServerLocation,
) -> Result<(BulkSender, BulkReceiver), StreamEvent> {
    let mut last = StreamEvent::Broken;
    for address in &server.addresses {
        let opened = match dialer.peer(address) {
            Ok(peer) => peer.open(PUSH, Default::default()).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(halves) => return Ok(halves),
            Err(error) => {
                tracing::debug!(server = server.server, %error, "no push stream");
                last = ended_by(&error);
            }
        }
    }
    Err(last)
}

/// Sends what comes until nothing more can come; then half-closes the stream. Never returns when
/// the stream broke: the receiver knows why.
async fn send(mut sender: BulkSender, frames: &mut mpsc::Receiver<BulkFrame>) {
    while let Some(frame) = frames.recv().await {
        if sender.send(frame).await.is_err() {
            return std::future::pending().await;
        }
    }
    let _ = sender.finish().await;
}

async fn receive(
    mut receiver: BulkReceiver,
    stream: StreamId,
    events: &mpsc::Sender<Event>,
) -> StreamEvent {
    use pb::push_reply::Body;
    loop {
        let frame = match receiver.recv().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return StreamEvent::Broken,
            Err(error) => return ended_by(&error),
        };
        let body = pb::PushReply::decode(frame.head).ok().and_then(|reply| reply.body);
        let event = match body {
            Some(Body::Opened(opened)) => StreamEvent::Opened(opened),
            Some(Body::Acknowledged(acknowledged)) => StreamEvent::Acknowledged(acknowledged),
            Some(Body::Resend(resend)) => StreamEvent::Resend(resend),
            Some(Body::Finished(finished)) => StreamEvent::Finished(finished),
            Some(Body::Flushed(flushed)) => StreamEvent::Flushed(flushed),
            Some(Body::Failed(failed)) => {
                return StreamEvent::Failed(failed.error.unwrap_or_default());
            }
            // Matters among servers only.
            Some(Body::Held(_) | Body::Applied(_)) => continue,
            None => return StreamEvent::Broken,
        };
        if events.send(Event::Stream { stream, event }).await.is_err() {
            return StreamEvent::Broken;
        }
    }
}

/// What the end of a stream means to the writer.
fn ended_by(error: &TransportError) -> StreamEvent {
    match error {
        TransportError::Status(status) => StreamEvent::Failed(gfs_proto::detail_of(status)),
        TransportError::Exhausted { .. } => StreamEvent::Failed(pb::ErrorDetail::new(
            ErrorCode::ResourceExhausted,
            error.to_string(),
        )),
        _ => StreamEvent::Broken,
    }
}
