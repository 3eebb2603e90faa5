//! The shell of a [`FileAppender`]: one task per appender that gathers records into mutations,
//! keeps them, and tells each record where it lies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use gfs_core::writer::{DEPTH, Effect, Event, FileAppender, SliceId, Start, Token};
use gfs_types::{BLOCK_SIZE, ErrorCode, GfsError, MAX_SLICE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::links::{Links, Payload};
use super::{Outcome, config_of};
use crate::client::Client;
use crate::masters::Masters;

/// Commands that wait for the task.
const COMMANDS: usize = 1024;
/// Records gathered for the next mutations, at most so many and so many bytes (or one).
const GATHERED: usize = 4096;
const GATHERED_BYTES: usize = 4 << 20;
/// What a record costs beside its bytes.
const OVERHEAD: usize = 256;
/// Smaller records of a batch are copied together; larger ones stay where they are.
const SMALL: usize = BLOCK_SIZE as usize;

/// Where a record lies, or why it is not stored.
pub(crate) type Place = Result<u64, GfsError>;

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Record {
    bytes: Bytes,
    disk: bool,
    reply: oneshot::Sender<Place>,
    /// Its share of what may be on its way.
    permit: OwnedSemaphorePermit,
}

/// What the application asks of an appender.
#[derive(Debug)]
enum Command {
    Record(Record),
    Flush { disk: bool, reply: oneshot::Sender<Outcome> },
    Close(oneshot::Sender<Outcome>),
}

/// The application's end. Dropped, the task stops where it is.
#[derive(Debug)]
pub(crate) struct AppendWriter {
    commands: mpsc::Sender<Command>,
    /// Bytes that may be on their way.
    room: Arc<Semaphore>,
    most_room: usize,
    failure: Arc<OnceLock<GfsError>>,
}

impl AppendWriter {
    /// Starts an appender for this client of the masters.
    pub(crate) fn start(
        client: &Client,
        masters: Arc<Masters>,
        start: Start,
        disk: bool,
    ) -> Result<Self, GfsError> {
        let config = config_of(client, disk);
        let machine = FileAppender::new(config, start, client.inner.options.clock.now())?;
        // Each mutation may be many slices, and be asked for again.
        let slices = FileAppender::most(&config).div_ceil(MAX_SLICE) as usize;
        let frames = (DEPTH * slices * 2).max(64);
        let (links, events) =
            Links::new(Arc::clone(&client.inner), masters, client.deadline, frames);
        let (commands, queue) = mpsc::channel(COMMANDS);
        let most_room = config.window as usize + GATHERED_BYTES;
        let room = Arc::new(Semaphore::new(most_room));
        let failure = Arc::new(OnceLock::new());
        let task = Task {
            machine,
            effects: Vec::new(),
            queue: VecDeque::new(),
            gathered: 0,
            wishes: 0,
            batches: BTreeMap::new(),
            syncing: BTreeMap::new(),
            room: Arc::clone(&room),
            links,
            failure: Arc::clone(&failure),
        };
        tokio::spawn(task.run(queue, events));
        Ok(Self { commands, room, most_room, failure })
    }

    /// Hands a record in, behind those handed in before; the answer says where it lies.
    pub(crate) async fn record(
        &self,
        bytes: Bytes,
        disk: bool,
    ) -> Result<oneshot::Receiver<Place>, GfsError> {
        let cost = (bytes.len() + OVERHEAD).min(self.most_room) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(cost).await;
        let permit = permit.map_err(|_| self.failure())?;
        let (reply, answer) = oneshot::channel();
        let record = Command::Record(Record { bytes, disk, reply, permit });
        self.commands.send(record).await.map_err(|_| self.failure())?;
        Ok(answer)
    }

    pub(crate) async fn flush(&self, disk: bool) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let flush = Command::Flush { disk, reply };
        self.commands.send(flush).await.map_err(|_| self.failure())?;
        answer.await.unwrap_or_else(|_| Err(self.failure()))
    }

    pub(crate) async fn close(self) -> Outcome {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Close(reply)).await.map_err(|_| self.failure())?;
        answer.await.unwrap_or_else(|_| Err(self.failure()))
    }

    /// Why the appender stopped.
    pub(crate) fn failure(&self) -> GfsError {
        self.failure.get().cloned().unwrap_or_else(|| {
            GfsError::new(ErrorCode::Internal, "the file's appender ended unexpectedly")
        })
    }
}

/// A record that lies in a mutation.
struct Member {
    /// Where.
    at: u64,
    disk: bool,
    reply: oneshot::Sender<Place>,
    permit: OwnedSemaphorePermit,
}

/// A record that is stored, but not on disk.
struct Stored {
    position: u64,
    reply: oneshot::Sender<Place>,
    _permit: OwnedSemaphorePermit,
}

struct Task {
    machine: FileAppender,
    effects: Vec<Effect>,
    /// What was not handed to the machine, and the bytes of its records.
    queue: VecDeque<Command>,
    gathered: usize,
    /// Those of `queue` that are no records: nobody waits for more behind them.
    wishes: usize,
    batches: BTreeMap<SliceId, Vec<Member>>,
    /// By the flush that they wait for.
    syncing: BTreeMap<Token, Vec<Stored>>,
    room: Arc<Semaphore>,
    links: Links,
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
            if self.machine.failure().is_some() || self.machine.is_over() {
                return self.end(&mut commands);
            }
            let hungry = self.queue.len() < GATHERED && self.gathered < GATHERED_BYTES;
            let doze = Links::doze(self.links.now(), self.machine.wake_at());
            tokio::select! {
                Some(event) = events.recv() => {
                    self.step(event);
                    // More that is there already, before anything is sent.
                    while let Ok(event) = events.try_recv() {
                        self.step(event);
                    }
                }
                command = commands.recv(), if hungry => match command {
                    Some(command) => {
                        self.gather(command);
                        while self.queue.len() < GATHERED
                            && self.gathered < GATHERED_BYTES
                            && let Ok(command) = commands.try_recv()
                        {
                            self.gather(command);
                        }
                    }
                    // The application let go of the file.
                    None => return,
                },
                () = self.links.reap() => {}
                () = doze => self.step(Event::Tick),
            }
        }
    }

    fn gather(&mut self, command: Command) {
        match &command {
            Command::Record(record) => self.gathered += record.bytes.len(),
            Command::Flush { .. } | Command::Close(_) => self.wishes += 1,
        }
        self.queue.push_back(command);
    }

    /// Hands in what there is room for, in order.
    fn hand_in(&mut self) {
        while let Some(command) = self.queue.pop_front() {
            match command {
                Command::Record(record) => {
                    // Nobody is made to wait for records that may never come.
                    let waiting = if self.wishes > 0 { u64::MAX } else { self.gathered as u64 };
                    let Some(limit) = self.machine.room(waiting) else {
                        self.queue.push_front(Command::Record(record));
                        return;
                    };
                    self.hand_in_batch(record, limit as usize);
                }
                Command::Flush { disk, reply } => {
                    self.wishes -= 1;
                    let token = self.links.token(reply);
                    self.step(Event::Flush { token, disk });
                }
                Command::Close(reply) => {
                    self.wishes -= 1;
                    let token = self.links.token(reply);
                    self.step(Event::Close { token });
                }
            }
            if self.machine.failure().is_some() {
                return;
            }
        }
    }

    /// A record, and those behind it that lie with it in one mutation of at most `limit` bytes.
    fn hand_in_batch(&mut self, first: Record, limit: usize) {
        let mut members = Vec::new();
        let mut pieces: Vec<Bytes> = Vec::new();
        let mut small = BytesMut::new();
        let mut length = 0_usize;
        let mut next = Some(first);
        while let Some(Record { bytes, disk, reply, permit }) = next.take() {
            self.gathered -= bytes.len();
            members.push(Member { at: length as u64, disk, reply, permit });
            length += bytes.len();
            if bytes.len() < SMALL {
                small.extend_from_slice(&bytes);
            } else {
                if !small.is_empty() {
                    pieces.push(small.split().freeze());
                }
                pieces.push(bytes);
            }
            match self.queue.pop_front() {
                Some(Command::Record(record)) if length + record.bytes.len() <= limit => {
                    next = Some(record);
                }
                Some(other) => self.queue.push_front(other),
                None => {}
            }
        }
        if !small.is_empty() {
            pieces.push(small.freeze());
        }
        let slice = self.links.keep(Payload::of(0, pieces));
        self.batches.insert(slice, members);
        // A record has at most a quarter of a chunk, which fits into 32 bits.
        self.step(Event::Data { slice, length: length as u32 });
    }

    fn step(&mut self, event: Event) {
        self.links.note(&event);
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let mut effects = std::mem::take(&mut self.effects);
            self.machine.step(self.links.now(), event, &mut effects);
            let mut to_disk = Vec::new();
            for effect in effects.drain(..) {
                match self.links.carry_out(effect) {
                    Some(Effect::Settled { slice, result }) => {
                        self.settled(slice, &result, &mut to_disk);
                    }
                    Some(Effect::Done { token, result }) => self.synced(token, &result),
                    _ => {}
                }
            }
            self.effects = effects;
            if !to_disk.is_empty() {
                let token = self.links.bare_token();
                self.syncing.insert(token, to_disk);
                next = Some(Event::Flush { token, disk: true });
            }
        }
    }

    /// A mutation is stored, or failed: so are its records.
    fn settled(&mut self, slice: SliceId, result: &Place, to_disk: &mut Vec<Stored>) {
        for Member { at, disk, reply, permit } in self.batches.remove(&slice).unwrap_or_default() {
            match result {
                Ok(position) if disk => {
                    to_disk.push(Stored { position: position + at, reply, _permit: permit });
                }
                Ok(position) => {
                    let _ = reply.send(Ok(position + at));
                }
                Err(error) => {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn synced(&mut self, token: Token, result: &Outcome) {
        for Stored { position, reply, .. } in self.syncing.remove(&token).unwrap_or_default() {
            let _ = reply.send(match result {
                Ok(_) => Ok(position),
                Err(error) => Err(GfsError::new(
                    error.code,
                    format!("stored at {position}, but not known to be on disk: {}", error.message),
                )),
            });
        }
    }

    /// Answers what waits with the failure; the closed channel tells the rest.
    fn end(mut self, commands: &mut mpsc::Receiver<Command>) {
        let error = match self.machine.failure() {
            Some(error) => error.clone(),
            None => GfsError::invalid("the appender is closed"),
        };
        let _ = self.failure.set(error.clone());
        self.room.close();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            self.queue.push_back(command);
        }
        for command in self.queue {
            match command {
                Command::Record(record) => {
                    let _ = record.reply.send(Err(error.clone()));
                }
                Command::Flush { reply, .. } | Command::Close(reply) => {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}
