//! The Session service: chunkservers.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use gfs_core::brain::{Event, Response as Answer, SessionId};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::session_server::Session;
use gfs_types::ErrorCode;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Front, mismatched, opened};
use crate::term::Term;

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Tells the brain that a stream of the session broke, however it did.
struct Watched {
    term: Arc<Term>,
    session: SessionId,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.term.tell(Event::SessionBroken { session: self.session });
    }
}

#[tonic::async_trait]
impl Session for Front {
    type HeartbeatsStream = Replies<pb::HeartbeatReply>;
    type CommandsStream = Replies<pb::Command>;

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        match opened(self.term()?.register(request.into_inner()).await)? {
            Answer::Register(response) => Ok(Response::new(response)),
            _ => Err(mismatched()),
        }
    }

    async fn heartbeats(
        &self,
        request: Request<Streaming<pb::Heartbeat>>,
    ) -> Result<Response<Self::HeartbeatsStream>, Status> {
        let beats = Beats { term: self.term()?, beats: request.into_inner(), watched: None };
        let replies = stream::unfold(beats, |mut beats| async move {
            let reply = beats.next().await?;
            Some((Ok(reply), beats))
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn commands(
        &self,
        request: Request<Streaming<pb::ServerMessage>>,
    ) -> Result<Response<Self::CommandsStream>, Status> {
        let term = self.term()?;
        let mut messages = request.into_inner();
        let session = match messages.next().await {
            Some(Ok(pb::ServerMessage { body: Some(pb::server_message::Body::Hello(hello)) })) => {
                SessionId(hello.session)
            }
            _ => {
                return Err(gfs_proto::status_of(&pb::ErrorDetail::new(
                    ErrorCode::InvalidArgument,
                    "the first message of a stream of commands must be hello",
                )));
            }
        };
        let commands = ReceiverStream::new(term.open_commands(session)).map(Ok);
        let watched = Watched { term: Arc::clone(&term), session };
        // Results are taken in for as long as the stream of commands is held by the connection:
        // each ends with the other.
        let results = async move {
            loop {
                let message = tokio::select! {
                    () = term.over() => break,
                    message = messages.next() => message,
                };
                match message {
                    Some(Ok(message)) => take(&term, session, message),
                    Some(Err(_)) | None => break,
                }
            }
            drop(watched);
        };
        let results = stream::once(results).filter_map(|()| async { None });
        let ended = stream::select(commands.map(Some), results.chain(stream::once(async { None })))
            .take_while(|next| std::future::ready(next.is_some()))
            .filter_map(std::future::ready);
        Ok(Response::new(Box::pin(ended)))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        match opened(self.term()?.report(request.into_inner()).await)? {
            Answer::Report(response) => Ok(Response::new(response)),
            _ => Err(mismatched()),
        }
    }
}

/// The heartbeats of one stream.
struct Beats {
    term: Arc<Term>,
    beats: Streaming<pb::Heartbeat>,
    watched: Option<Watched>,
}

impl Beats {
    async fn next(&mut self) -> Option<pb::HeartbeatReply> {
        let beat = tokio::select! {
            () = self.term.over() => return None,
            beat = self.beats.next() => beat?.ok()?,
        };
        let session = SessionId(beat.session);
        if self.watched.as_ref().is_none_or(|watched| watched.session != session) {
            self.watched = Some(Watched { term: Arc::clone(&self.term), session });
        }
        self.term.heartbeat(beat)
    }
}

fn take(term: &Term, session: SessionId, message: pb::ServerMessage) {
    use pb::server_message::Body;
    match message.body {
        Some(Body::Result(result)) => term.tell(Event::Result { session, result }),
        Some(Body::Notice(notice)) => term.tell(Event::Notice { session, notice }),
        // A second hello, or a message of a newer release: nothing to do.
        Some(Body::Hello(_)) | None => {}
    }
}
