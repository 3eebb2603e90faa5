//! The shell of a [`ChunkReader`]: runs its streams and passes on what it delivers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gfs_core::reader::{ChunkReader, Config, Effect, Event, Range, StreamId};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_transport::{BulkFrame, BulkReceiver, Error as TransportError};
use gfs_types::{ErrorCode, GfsError, Millis};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::locations::Locations;
use crate::client::{Client, Inner};

const READ: &str = "/gfs.v1.Data/Read";

/// Verified bytes of one message, or why there are no more.
pub(super) type Delivery = Result<Vec<Bytes>, GfsError>;

/// Reads the range and sends it, in order, to `out`. Ends early when nobody listens.
pub(super) async fn read(
    client: Client,
    locations: Arc<Locations>,
    location: pb::ChunkLocation,
    range: Range,
    out: mpsc::Sender<Delivery>,
) {
    let inner = &client.inner;
    let config =
        Config { deadline: Millis(client.deadline.as_millis() as u64), ..Config::default() };
    let patience = Duration::from_millis(config.patience.0);
    let mut reader = ChunkReader::new(config, location, range);
    let mut event = Event::Tick;
    let mut stream: Option<(StreamId, BulkReceiver)> = None;
    let mut effects = Vec::new();
    loop {
        reader.step(inner.options.clock.now(), event, &mut effects);
        let mut follows = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Open { stream: id, server, request } => {
                    match timeout(patience, open(inner, &server, request)).await {
                        Ok(Ok(receiver)) => stream = Some((id, receiver)),
                        Ok(Err(error)) => follows = Some(ended(id, &error)),
                        Err(_) => follows = Some(Event::Silent { stream: id }),
                    }
                }
                Effect::Close { .. } => stream = None,
                Effect::Locate { recover } => {
                    let located = locations.again(reader.location(), recover).await;
                    follows = Some(Event::Located(located));
                }
                Effect::Deliver { pieces } => {
                    if out.send(Ok(pieces)).await.is_err() {
                        return;
                    }
                }
                Effect::Report(report) => inner.report(report),
                Effect::Done => return,
                Effect::Failed(error) => {
                    let _ = out.send(Err(error)).await;
                    return;
                }
            }
        }
        event = match (follows, &mut stream) {
            (Some(event), _) => event,
            (None, Some((id, receiver))) => {
                let stream = *id;
                match timeout(patience, receiver.recv()).await {
                    Ok(Ok(Some(frame))) => match pb::ReadReply::decode(frame.head) {
                        Ok(reply) => Event::Received { stream, reply, payload: frame.payload },
                        Err(_) => Event::Broken { stream },
                    },
                    Ok(Ok(None)) => Event::Ended { stream },
                    Ok(Err(error)) => ended(stream, &error),
                    Err(_) => Event::Silent { stream },
                }
            }
            (None, None) => {
                if let Some(wake) = reader.wake_at() {
                    let span = wake.since(inner.options.clock.now());
                    sleep(Duration::from_millis(span.0)).await;
                }
                Event::Tick
            }
        };
        if out.is_closed() {
            return;
        }
    }
}

async fn open(
    inner: &Inner,
    server: &pb::ServerLocation,
    request: pb::ReadRequest,
) -> Result<BulkReceiver, TransportError> {
    let request = pb::ReadRequest { header: Some(inner.stream_header()), ..request };
    let head = Bytes::from(request.encode_to_vec());
    let mut last = TransportError::Invalid("a server without address".into());
    for address in &server.addresses {
        let opened = async {
            let (mut sender, receiver) =
                inner.dialer.peer(address)?.open(READ, Default::default()).await?;
            sender.send(BulkFrame::head_only(head.clone())).await?;
            sender.finish().await?;
            Ok(receiver)
        };
        match opened.await {
            Ok(receiver) => return Ok(receiver),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What the end of a stream means to the reader.
fn ended(stream: StreamId, error: &TransportError) -> Event {
    match error {
        TransportError::Status(status) => {
            Event::Failed { stream, detail: gfs_proto::detail_of(status) }
        }
        TransportError::Exhausted { .. } => Event::Failed {
            stream,
            detail: pb::ErrorDetail::new(ErrorCode::ResourceExhausted, error.to_string()),
        },
        _ => Event::Broken { stream },
    }
}

impl Inner {
    /// Tells the master of damage, without waiting: the read goes on elsewhere.
    fn report(self: &Arc<Self>, report: pb::ReportDamageRequest) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let request =
                pb::ReportDamageRequest { header: Some(inner.masters.header()), ..report };
            let told = inner.masters.call(inner.options.deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).report_damage(request).await }
            });
            if let Err(error) = told.await {
                tracing::warn!(error = error.message, "damage could not be reported");
            }
        });
    }

    /// Asks for a version of the chunk at which it can be read.
    pub(super) async fn recover(
        &self,
        inode: u64,
        chunk: &pb::ChunkLocation,
        deadline: Duration,
    ) -> Result<Box<pb::ChunkLocation>, pb::ErrorDetail> {
        let mutation = self.masters.mutation();
        let request = pb::RecoverRequest {
            header: Some(mutation.header.clone()),
            inode,
            handle: chunk.handle,
            version: chunk.version,
            unreachable: Vec::new(),
            place: Some(self.options.place.clone()),
        };
        let answer = self
            .masters
            .call(deadline, |channel| {
                let request = request.clone();
                async move { MetadataClient::new(channel).recover(request).await }
            })
            .await?;
        answer.chunk.map(Box::new).ok_or_else(|| {
            pb::ErrorDetail::new(ErrorCode::Internal, "the master's answer is incomplete")
        })
    }
}
