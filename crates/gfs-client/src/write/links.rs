//! What a writer's machine wants done outside: its streams, its questions, and the payload that it
//! never sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gfs_core::writer::{
    Answer, AskId, Effect, Event, Question, SliceId, StreamEvent, StreamId, Token,
};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::data_client::DataClient;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_transport::BulkFrame;
use gfs_types::{BLOCK_SIZE, BlockSums, ErrorCode, Millis};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::buffers::Buffers;
use super::{Outcome, push};
use crate::client::Inner;
use crate::masters::Masters;

/// Events that wait for the task.
const EVENTS: usize = 64;
/// Longest wait for the length of an open chunk.
const CONFIRMED: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a probe.
const PROBE: Duration = Duration::from_secs(5);
/// Longest wait for what one replica remembers.
const OUTCOMES: Duration = Duration::from_secs(2);

/// Bytes that are not acknowledged.
#[derive(Debug)]
pub(super) struct Payload {
    pieces: Vec<Bytes>,
    length: usize,
    /// Of parts of 64 KiB: at block borders of the chunk if its place was known, else counted from
    /// the payload's beginning. None: it may be cut anywhere, and each cut gets its own.
    sums: Option<Vec<u32>>,
}

impl Payload {
    /// Bytes that go to this place in their chunk, or are appended (place 0).
    pub(super) fn of(offset: u32, pieces: Vec<Bytes>) -> Self {
        let sums = sums_of(offset, &pieces);
        Self { sums: Some(sums), ..Self::anywhere(pieces) }
    }

    /// Bytes whose place is not known yet.
    pub(super) fn anywhere(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(Bytes::len).sum();
        Self { pieces, length, sums: None }
    }

    /// What is sent of it: `length` bytes from `from` on.
    fn part(&self, from: u32, head: &pb::Slice) -> (Vec<u32>, Vec<Bytes>) {
        let (at, length) = (from as usize, head.length as usize);
        if let Some(sums) = self.sums.as_ref().filter(|_| length == self.length) {
            return (sums.clone(), self.pieces.clone());
        }
        let pieces = cut(&self.pieces, at, length);
        let (block, end) = (BLOCK_SIZE as usize, at + length);
        let sums = match &self.sums {
            // Those of whole blocks, and of what is left at the end.
            Some(sums)
                if at.is_multiple_of(block)
                    && (end.is_multiple_of(block) || end == self.length) =>
            {
                let blocks = at / block..end.div_ceil(block);
                sums.get(blocks).map(<[u32]>::to_vec)
            }
            _ => None,
        };
        (sums.unwrap_or_else(|| sums_of(head.offset, &pieces)), pieces)
    }
}

fn sums_of(offset: u32, pieces: &[Bytes]) -> Vec<u32> {
    BlockSums::of(offset, pieces).0.iter().map(|sum| sum.0).collect()
}

/// A range of what several pieces are together.
fn cut(pieces: &[Bytes], mut at: usize, mut length: usize) -> Vec<Bytes> {
    let mut cut = Vec::new();
    for piece in pieces {
        if at >= piece.len() {
            at -= piece.len();
            continue;
        }
        let taken = length.min(piece.len() - at);
        if taken > 0 {
            cut.push(piece.slice(at..at + taken));
        }
        (at, length) = (0, length - taken);
    }
    cut
}

struct Stream {
    frames: mpsc::Sender<BulkFrame>,
    task: AbortHandle,
    opened: bool,
}

/// What a writer's machine has outside.
pub(super) struct Links {
    client: Arc<Inner>,
    /// Who asks the master: the client itself, or one of its own for this file.
    masters: Arc<Masters>,
    deadline: Duration,
    pub(super) payload: BTreeMap<SliceId, Payload>,
    slices: u64,
    tokens: BTreeMap<Token, oneshot::Sender<Outcome>>,
    next_token: u64,
    streams: BTreeMap<StreamId, Stream>,
    /// Messages that may wait for a stream: more than the writer's window can make.
    frames: usize,
    events: mpsc::Sender<Event>,
    /// Questions, probes and streams: they end with this.
    tasks: JoinSet<()>,
    buffers: Arc<Buffers>,
}

impl Links {
    /// Links, and the events that come by them.
    pub(super) fn new(
        client: Arc<Inner>,
        masters: Arc<Masters>,
        deadline: Duration,
        frames: usize,
    ) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let buffers = Arc::clone(&client.buffers);
        let links = Self {
            client,
            masters,
            deadline,
            payload: BTreeMap::new(),
            slices: 0,
            tokens: BTreeMap::new(),
            next_token: 0,
            streams: BTreeMap::new(),
            frames,
            events,
            tasks: JoinSet::new(),
            buffers,
        };
        (links, receiver)
    }

    pub(super) fn now(&self) -> Millis {
        self.client.options.clock.now()
    }

    /// How long until then; for ever without a time.
    pub(super) async fn doze(now: Millis, wake: Option<Millis>) {
        match wake {
            Some(at) => tokio::time::sleep(Duration::from_millis(at.since(now).0)).await,
            None => std::future::pending().await,
        }
    }

    /// A task of this writer has ended; never when there is none.
    pub(super) async fn reap(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Keeps payload, and names it.
    pub(super) fn keep(&mut self, payload: Payload) -> SliceId {
        let slice = SliceId(self.slices);
        self.slices += 1;
        self.payload.insert(slice, payload);
        slice
    }

    /// Names a question whose answer goes here.
    pub(super) fn token(&mut self, reply: oneshot::Sender<Outcome>) -> Token {
        let token = self.bare_token();
        self.tokens.insert(token, reply);
        token
    }

    /// Names a question whose answer the writer's task looks at.
    pub(super) fn bare_token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    /// Must be told of every event before the machine.
    pub(super) fn note(&mut self, event: &Event) {
        if let Event::Stream { stream, event: StreamEvent::Opened(_) } = event
            && let Some(stream) = self.streams.get_mut(stream)
        {
            stream.opened = true;
        }
    }

    /// Does what the machine wants; gives back what only the writer's task can do.
    pub(super) fn carry_out(&mut self, effect: Effect) -> Option<Effect> {
        use pb::push_request::Body;
        match effect {
            Effect::Ask { ask, question } => self.ask(ask, question),
            Effect::OpenStream { stream, server, open } => self.open(stream, server, open),
            Effect::Send { stream, slice, from, head } => {
                let (sums, pieces) = self.payload.get(&slice)?.part(from, &head);
                let head = pb::Slice { sums, ..head };
                let frame = push::frame(Body::Slice(head), pieces);
                self.send(stream, frame);
            }
            Effect::SendCommit { stream, through } => {
                self.send(stream, push::frame(Body::Commit(pb::Commit { through }), Vec::new()));
            }
            Effect::SendFinish { stream } => {
                self.send(stream, push::frame(Body::Finish(pb::Finish::default()), Vec::new()));
            }
            Effect::SendFlush { stream, token } => {
                self.send(stream, push::frame(Body::Flush(pb::Flush { token }), Vec::new()));
            }
            Effect::CloseStream { stream } => {
                // One that stands ends in order, when its queue is dropped.
                if let Some(stream) = self.streams.remove(&stream)
                    && !stream.opened
                {
                    stream.task.abort();
                }
            }
            Effect::Probe { probe, server, request } => self.probe(probe, server, request),
            Effect::Outcomes { ask, server, request } => self.outcomes(ask, server, request),
            Effect::Release { slice } => {
                for piece in self.payload.remove(&slice).into_iter().flat_map(|p| p.pieces) {
                    self.buffers.give(piece);
                }
            }
            Effect::Done { token, result } => match self.tokens.remove(&token) {
                Some(reply) => {
                    let _ = reply.send(result);
                }
                None => return Some(Effect::Done { token, result }),
            },
            settled @ Effect::Settled { .. } => return Some(settled),
        }
        None
    }

    fn open(&mut self, stream: StreamId, server: pb::ServerLocation, open: pb::PushOpen) {
        let (frames, queue) = mpsc::channel(self.frames);
        let events = self.events.clone();
        let dialer = self.client.dialer.clone();
        let task = self.tasks.spawn(push::run(dialer, stream, server, queue, events));
        self.streams.insert(stream, Stream { frames, task, opened: false });
        let open = pb::PushOpen { header: Some(self.client.stream_header()), ..open };
        self.send(stream, push::frame(pb::push_request::Body::Open(open), Vec::new()));
    }

    fn send(&mut self, id: StreamId, frame: BulkFrame) {
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.frames.try_send(frame).is_err() {
            // It ended and says so in its last event; or a primary asks for far too much again.
            stream.task.abort();
            let events = self.events.clone();
            self.tasks.spawn(async move {
                let event = Event::Stream { stream: id, event: StreamEvent::Broken };
                let _ = events.send(event).await;
            });
        }
    }

    fn ask(&mut self, ask: AskId, question: Question) {
        let (client, deadline) = (Arc::clone(&self.client), self.deadline);
        let masters = Arc::clone(&self.masters);
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let result = client.ask(&masters, question, deadline).await;
            let _ = events.send(Event::Answer { ask, result }).await;
        });
    }

    fn probe(&mut self, probe: AskId, server: pb::ServerLocation, request: pb::ConfirmedRequest) {
        let client = Arc::clone(&self.client);
        let events = self.events.clone();
        self.tasks.spawn(async move {
            if let Ok(true) = timeout(PROBE, client.lives(&server, request)).await {
                let _ = events.send(Event::Probed { probe }).await;
            }
        });
    }

    fn outcomes(&mut self, ask: AskId, server: pb::ServerLocation, request: pb::OutcomesRequest) {
        let client = Arc::clone(&self.client);
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let result = match timeout(OUTCOMES, client.outcomes(&server, request)).await {
                Ok(Ok(outcomes)) => Ok(Answer::Outcomes(Box::new(outcomes))),
                Ok(Err(status)) => Err(gfs_proto::detail_of(&status)),
                Err(_) => Err(pb::ErrorDetail::new(
                    ErrorCode::Unavailable,
                    format!("s{} does not answer", server.server),
                )),
            };
            let _ = events.send(Event::Answer { ask, result }).await;
        });
    }
}

impl Inner {
    /// The header of a data stream or call.
    pub(crate) fn stream_header(&self) -> pb::StreamHeader {
        pb::StreamHeader {
            cluster_id: self.masters.header().cluster_id,
            protocol_version: gfs_types::PROTOCOL_VERSION,
            epoch: self.masters.epoch(),
        }
    }

    /// Asks the leader what a writer wants to know. All tries have the same sequence.
    async fn ask(
        &self,
        masters: &Masters,
        question: Question,
        deadline: Duration,
    ) -> Result<Answer, pb::ErrorDetail> {
        let mutation = masters.mutation();
        let header = Some(mutation.header.clone());
        let place = Some(self.options.place.clone());
        let incomplete =
            || pb::ErrorDetail::new(ErrorCode::Internal, "the master's answer is incomplete");
        let chunk = |chunk: Option<pb::ChunkLocation>| {
            chunk.map(|chunk| Answer::Chunk(Box::new(chunk))).ok_or_else(incomplete)
        };
        let attributes = |attributes: Option<pb::Attributes>| {
            Ok(Answer::Attributes(Box::new(attributes.ok_or_else(incomplete)?)))
        };
        /// Calls a method of the Metadata service, with the same message at each try.
        macro_rules! call {
            ($method:ident, $request:expr) => {{
                let request = $request;
                masters.call(deadline, move |channel| {
                    let request = request.clone();
                    async move { MetadataClient::new(channel).$method(request).await }
                })
            }};
        }
        match question {
            Question::Allocate(request) => {
                let request = pb::AllocateRequest { header, place, ..request };
                chunk(call!(allocate, request).await?.chunk)
            }
            Question::Recover(request) => {
                let request = pb::RecoverRequest { header, place, ..request };
                chunk(call!(recover, request).await?.chunk)
            }
            Question::Lease(request) => {
                let request = pb::LeaseRequest { header, place, ..request };
                chunk(call!(lease, request).await?.chunk)
            }
            Question::Sync(request) => {
                let request = pb::SyncRequest { header, ..request };
                attributes(call!(sync, request).await?.attributes)
            }
            Question::Close(request) => {
                let request = pb::CloseRequest { header, ..request };
                attributes(call!(close, request).await?.attributes)
            }
        }
    }

    /// The confirmed length of an open chunk, as this server says.
    pub(crate) async fn confirmed(
        &self,
        server: &pb::ServerLocation,
        request: pb::ConfirmedRequest,
    ) -> Result<pb::ConfirmedResponse, tonic::Status> {
        let request = pb::ConfirmedRequest { header: Some(self.stream_header()), ..request };
        let mut last = tonic::Status::unavailable("the server has no address");
        for address in &server.addresses {
            let Ok(peer) = self.dialer.peer(address) else { continue };
            match DataClient::new(peer.control()).confirmed(request.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if is_answer(&status) => return Err(status),
                Err(status) => last = status,
            }
        }
        Err(last)
    }

    /// What this server remembers of a writer of a sealed chunk.
    async fn outcomes(
        &self,
        server: &pb::ServerLocation,
        request: pb::OutcomesRequest,
    ) -> Result<pb::OutcomesResponse, tonic::Status> {
        let request = pb::OutcomesRequest { header: Some(self.stream_header()), ..request };
        let mut last = tonic::Status::unavailable("the server has no address");
        for address in &server.addresses {
            let Ok(peer) = self.dialer.peer(address) else { continue };
            match DataClient::new(peer.control()).outcomes(request.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if is_answer(&status) => return Err(status),
                Err(status) => last = status,
            }
        }
        Err(last)
    }

    /// Length of an open chunk that is acknowledged, if its primary says so in time.
    pub(crate) async fn confirmed_length(&self, chunk: &pb::ChunkLocation) -> Option<u32> {
        let primary = chunk.servers.iter().find(|server| server.server == chunk.primary)?;
        let request =
            pb::ConfirmedRequest { header: None, handle: chunk.handle, version: chunk.version };
        let answer = timeout(CONFIRMED, self.confirmed(primary, request)).await.ok()?.ok()?;
        answer.primary.then_some(answer.length)
    }

    /// Whether the server answers at all.
    async fn lives(&self, server: &pb::ServerLocation, request: pb::ConfirmedRequest) -> bool {
        match self.confirmed(server, request).await {
            Ok(_) => true,
            Err(status) => is_answer(&status),
        }
    }
}

/// Whether the status comes from the server and not from the way to it.
fn is_answer(status: &tonic::Status) -> bool {
    !status.details().is_empty() || status.code() == tonic::Code::Unimplemented
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_the_sums_of_its_blocks() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let pieces: Vec<Bytes> = bytes.chunks(70_001).map(Bytes::copy_from_slice).collect();
        let head = |offset, length| pb::Slice { offset, length, ..Default::default() };
        let (from, length) = (2 * BLOCK_SIZE, 100_000);
        for payload in [Payload::of(0, pieces.clone()), Payload::anywhere(pieces)] {
            let (sums, part) = payload.part(from, &head(from, length));
            let expected = Bytes::copy_from_slice(&bytes[from as usize..(from + length) as usize]);
            assert_eq!(part.concat(), expected);
            assert_eq!(sums, sums_of(from, &[expected]));
        }
    }
}
