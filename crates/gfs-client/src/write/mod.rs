//! The shell of a [`FileWriter`]: one task per open file that keeps the payload, runs the streams,
//! asks the master, and tells the time.

pub(crate) mod append;
mod buffers;
mod links;
pub(crate) mod overwrite;
mod push;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gfs_core::writer::{Config, Effect, Event, FileWriter, Start};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, MAX_SLICE, Millis};
use tokio::sync::{mpsc, oneshot};

pub(crate) use buffers::{BUFFER, Buffers};
use links::{Links, Payload};

use crate::client::Client;

/// Answer to a flush, sync, close or abandon.
pub(crate) type Outcome = Result<Option<Box<pb::Attributes>>, GfsError>;

/// Commands that wait for the task; with the window and the buffer being filled, this bounds the
/// memory of an open file.
const COMMANDS: usize = 2;
/// What the application asks of an open file.
#[derive(Debug)]
pub(crate) enum Command {
    Data(Bytes),
    Flush(oneshot::Sender<Outcome>),
    Sync(oneshot::Sender<Outcome>),
    /// A sync, and what was written is on disk.
    SyncToDisk(oneshot::Sender<Outcome>),
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
    /// Starts a writer; with `disk` everything is to be on disk before it is answered.
    pub(crate) fn start(client: &Client, start: Start, disk: bool) -> Result<Self, GfsError> {
        let config = config_of(client, disk);
        let now = client.inner.options.clock.now();
        let inode = start.inode;
        let machine = FileWriter::new(config, start, now)?;
        let (commands, queue) = mpsc::channel(COMMANDS);
        let frames = config.window_slices * 2;
        let (inner, masters) = (Arc::clone(&client.inner), Arc::clone(&client.inner.masters));
        let (links, events) = Links::new(inner, masters, client.deadline, frames);
        let buffers = Arc::clone(&client.inner.buffers);
        let failure = Arc::new(OnceLock::new());
        let task = Task {
            inode,
            machine,
            effects: Vec::new(),
            pieces: VecDeque::new(),
            waiting: 0,
            pressing: VecDeque::new(),
            links,
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

/// Limits and times of a writer of this client.
fn config_of(client: &Client, disk: bool) -> Config {
    Config {
        chunk_size: client.inner.geometry.chunk_size(),
        window: client.inner.options.write_window.max(MAX_SLICE),
        deadline: Millis(client.deadline.as_millis() as u64),
        disk,
        ..Config::default()
    }
}

struct Task {
    inode: u64,
    machine: FileWriter,
    effects: Vec<Effect>,
    /// Data that is not cut into slices yet, and its bytes.
    pieces: VecDeque<Bytes>,
    waiting: usize,
    /// Flushes and the like that came behind this data.
    pressing: VecDeque<Command>,
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
            let hungry = self.pressing.is_empty() && self.waiting < MAX_SLICE as usize;
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
                () = self.links.reap() => {}
                () = doze => self.step(Event::Tick),
            }
            if let Some(error) = self.machine.failure() {
                let _ = self.failure.set(error.clone());
                return self.refuse(&mut commands);
            }
        }
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
            | Command::SyncToDisk(reply)
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
            let slice = self.links.keep(Payload::of(room.offset, pieces));
            self.step(Event::Data { slice, length: length as u32 });
        }
        while let Some(command) = self.pressing.pop_front() {
            let event = match command {
                Command::Flush(reply) => {
                    Event::Flush { token: self.links.token(reply), disk: false }
                }
                Command::Sync(reply) => Event::Sync { token: self.links.token(reply), disk: false },
                Command::SyncToDisk(reply) => {
                    Event::Sync { token: self.links.token(reply), disk: true }
                }
                Command::Close(reply) => Event::Close { token: self.links.token(reply) },
                Command::Abandon(reply) => Event::Abandon { token: self.links.token(reply) },
                Command::Data(bytes) => {
                    self.waiting += bytes.len();
                    self.pieces.push_back(bytes);
                    continue;
                }
            };
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
        self.links.note(&event);
        let now = self.links.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            // Everything in order is answered by its position.
            let _ = self.links.carry_out(effect);
        }
        self.effects = effects;
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("inode", &self.inode).finish_non_exhaustive()
    }
}
