//! The shell of a [`FileWriter`]: one task per open file that keeps the payload, runs the streams,
//! asks the master, and tells the time.

mod buffers;
mod push;

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use gfs_core::writer::{
    Answer, AskId, Config, Effect, Event, FileWriter, Question, SliceId, Start, StreamEvent,
    StreamId, Token,
};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::data_client::DataClient;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_transport::BulkFrame;
use gfs_types::{BlockSums, ErrorCode, GfsError, MAX_SLICE, Millis};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub(crate) use buffers::{BUFFER, Buffers};

use crate::client::{Client, Inner};

/// Answer to a flush, sync, close or abandon.
pub(crate) type Outcome = Result<Option<Box<pb::Attributes>>, GfsError>;

/// Commands that wait for the task; with the window and the buffer being filled, this bounds the
/// memory of an open file.
const COMMANDS: usize = 2;
/// Events that wait for the task.
const EVENTS: usize = 64;
/// Longest wait for the length of an open chunk.
const CONFIRMED: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a probe.
const PROBE: Duration = Duration::from_secs(5);

/// What the application asks of an open file.
#[derive(Debug)]
pub(crate) enum Command {
    Data(Bytes),
    Flush(oneshot::Sender<Outcome>),
    Sync(oneshot::Sender<Outcome>),
    Close(oneshot::Sender<Outcome>),
    Abandon(oneshot::Sender<Outcome>),
}

/// The application's end of a writer. Dropped, the writer stops where it is: what is acknowledged
/// stays, and the master ends the file after its writer was not heard for a while.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) buffers: Arc<Buffers>,
    failure: Arc<OnceLock<GfsError>>,
}

impl Writer {
    /// Starts a writer.
    pub(crate) fn start(client: &Client, start: Start) -> Result<Self, GfsError> {
        let options = &client.inner.options;
        let config = Config {
            chunk_size: client.inner.geometry.chunk_size(),
            window: options.write_window.max(MAX_SLICE),
            deadline: Millis(client.deadline.as_millis() as u64),
            ..Config::default()
        };
        let now = options.clock.now();
        let inode = start.inode;
        let machine = FileWriter::new(config, start, now)?;
        let (commands, queue) = mpsc::channel(COMMANDS);
        let (sender, events) = mpsc::channel(EVENTS);
        let buffers = Arc::clone(&client.inner.buffers);
        let failure = Arc::new(OnceLock::new());
        let task = Task {
            client: Arc::clone(&client.inner),
            deadline: client.deadline,
            inode,
            machine,
            effects: Vec::new(),
            pieces: VecDeque::new(),
            waiting: 0,
            pressing: VecDeque::new(),
            payload: BTreeMap::new(),
            slices: 0,
            tokens: BTreeMap::new(),
            next_token: 0,
            streams: BTreeMap::new(),
            frames: config.window_slices * 2,
            events: sender,
            tasks: JoinSet::new(),
            buffers: Arc::clone(&buffers),
            failure: Arc::clone(&failure),
        };
        tokio::spawn(task.run(queue, events));
        Ok(Self { commands, buffers, failure })
    }

    /// Why the writer stopped.
    pub(crate) fn failure(&self) -> GfsError {
        self.failure.get().cloned().unwrap_or_else(|| {
            GfsError::new(ErrorCode::Internal, "the file's writer ended unexpectedly")
        })
    }
}

struct Slice {
    sums: Vec<u32>,
    pieces: Vec<Bytes>,
}

struct Stream {
    frames: mpsc::Sender<BulkFrame>,
    task: AbortHandle,
    opened: bool,
}

struct Task {
    client: Arc<Inner>,
    deadline: Duration,
    inode: u64,
    machine: FileWriter,
    effects: Vec<Effect>,
    /// Data that is not cut into slices yet, and its bytes.
    pieces: VecDeque<Bytes>,
    waiting: usize,
    /// Flushes and the like that came behind this data.
    pressing: VecDeque<Command>,
    payload: BTreeMap<SliceId, Slice>,
    slices: u64,
    tokens: BTreeMap<Token, oneshot::Sender<Outcome>>,
    next_token: u64,
    streams: BTreeMap<StreamId, Stream>,
    /// Messages that may wait for a stream: more than the writer's window can make.
    frames: usize,
    events: mpsc::Sender<Event>,
    /// Questions, probes and streams: they end with this task.
    tasks: JoinSet<()>,
    buffers: Arc<Buffers>,
    failure: Arc<OnceLock<GfsError>>,
}

impl Task {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut events: mpsc::Receiver<Event>,
    ) {
        loop {
            self.hand_in();
            let hungry = self.pressing.is_empty() && self.waiting < MAX_SLICE as usize;
            let wake = self.machine.wake_at().map(|at| self.until(at));
            let doze = async move {
                match wake {
                    Some(span) => sleep(span).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(event) = events.recv() => {
                    self.step(event);
                    // More that is there already, before anything is sent.
                    while let Ok(event) = events.try_recv() {
                        self.step(event);
                    }
                }
                command = commands.recv(), if hungry => match command {
                    Some(Command::Data(bytes)) => {
                        self.waiting += bytes.len();
                        self.pieces.push_back(bytes);
                        while self.waiting < MAX_SLICE as usize
                            && let Ok(command) = commands.try_recv()
                        {
                            match command {
                                Command::Data(bytes) => {
                                    self.waiting += bytes.len();
                                    self.pieces.push_back(bytes);
                                }
                                other => {
                                    self.pressing.push_back(other);
                                    break;
                                }
                            }
                        }
                    }
                    Some(other) => self.pressing.push_back(other),
                    // The application let go of the file.
                    None => return,
                },
                Some(_) = self.tasks.join_next() => {}
                () = doze => self.step(Event::Tick),
            }
            if let Some(error) = self.machine.failure() {
                let _ = self.failure.set(error.clone());
                return self.refuse(&mut commands);
            }
        }
    }

    fn until(&self, at: Millis) -> Duration {
        Duration::from_millis(at.since(self.client.options.clock.now()).0)
    }

    /// Answers what waits with the failure; the closed channel tells the rest.
    fn refuse(self, commands: &mut mpsc::Receiver<Command>) {
        let Some(error) = self.failure.get() else { return };
        commands.close();
        let mut left: Vec<Command> = self.pressing.into();
        while let Ok(command) = commands.try_recv() {
            left.push(command);
        }
        for command in left {
            if let Command::Flush(reply)
            | Command::Sync(reply)
            | Command::Close(reply)
            | Command::Abandon(reply) = command
            {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }

    /// Cuts waiting data into slices as far as there is room; then passes on what came behind it.
    fn hand_in(&mut self) {
        while self.waiting > 0 {
            let Some(room) = self.machine.room() else { return };
            // Small writes wait for each other while something is under way anyway.
            let worth = self.waiting >= room.length as usize
                || !self.pressing.is_empty()
                || self.machine.outstanding() == 0;
            if !worth {
                return;
            }
            let length = (room.length as usize).min(self.waiting);
            let pieces = self.cut(length);
            let sums = BlockSums::of(room.offset, &pieces).0.iter().map(|sum| sum.0).collect();
            let slice = SliceId(self.slices);
            self.slices += 1;
            self.payload.insert(slice, Slice { sums, pieces });
            self.step(Event::Data { slice, length: length as u32 });
        }
        while let Some(command) = self.pressing.pop_front() {
            let token = Token(self.next_token);
            self.next_token += 1;
            let (reply, event) = match command {
                Command::Flush(reply) => (reply, Event::Flush { token }),
                Command::Sync(reply) => (reply, Event::Sync { token }),
                Command::Close(reply) => (reply, Event::Close { token }),
                Command::Abandon(reply) => (reply, Event::Abandon { token }),
                Command::Data(bytes) => {
                    self.waiting += bytes.len();
                    self.pieces.push_back(bytes);
                    continue;
                }
            };
            self.tokens.insert(token, reply);
            self.step(event);
        }
    }

    /// Takes the first `length` of the waiting bytes.
    fn cut(&mut self, length: usize) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let mut wanted = length;
        while wanted > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            if piece.len() > wanted {
                let rest = piece.split_off(wanted);
                self.pieces.push_front(rest);
            }
            wanted -= piece.len();
            pieces.push(piece);
        }
        self.waiting -= length - wanted;
        pieces
    }

    fn step(&mut self, event: Event) {
        if let Event::Stream { stream, event: StreamEvent::Opened(_) } = &event
            && let Some(stream) = self.streams.get_mut(stream)
        {
            stream.opened = true;
        }
        let now = self.client.options.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(effect);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: Effect) {
        use pb::push_request::Body;
        match effect {
            Effect::Ask { ask, question } => self.ask(ask, question),
            Effect::OpenStream { stream, server, open } => self.open(stream, server, open),
            Effect::Send { stream, slice, head } => {
                let Some(Slice { sums, pieces }) = self.payload.get(&slice) else { return };
                let head = pb::Slice { sums: sums.clone(), ..head };
                let frame = push::frame(Body::Slice(head), pieces.clone());
                self.send(stream, frame);
            }
            Effect::SendCommit { stream, through } => {
                self.send(stream, push::frame(Body::Commit(pb::Commit { through }), Vec::new()));
            }
            Effect::SendFinish { stream } => {
                self.send(stream, push::frame(Body::Finish(pb::Finish::default()), Vec::new()));
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
            Effect::Release { slice } => {
                for piece in self.payload.remove(&slice).into_iter().flat_map(|s| s.pieces) {
                    self.buffers.give(piece);
                }
            }
            Effect::Done { token, result } => {
                if let Some(reply) = self.tokens.remove(&token) {
                    let _ = reply.send(result);
                }
            }
        }
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
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let result = client.ask(question, deadline).await;
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
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("inode", &self.inode).finish_non_exhaustive()
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
    async fn ask(&self, question: Question, deadline: Duration) -> Result<Answer, pb::ErrorDetail> {
        let mutation = self.masters.mutation();
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
                self.masters.call(deadline, move |channel| {
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
