//! The shell of a [`FileOverwriter`]: one task per overwriter that cuts what is written into
//! slices, keeps them, and answers when all of a write is stored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gfs_core::writer::{Effect, Event, FileOverwriter, SliceId, Token};
use gfs_types::{ErrorCode, GfsError, MAX_SLICE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::links::{Links, Payload};
use super::{Outcome, config_of};
use crate::client::Client;

/// Commands that wait for the task.
const COMMANDS: usize = 1024;
/// Writes that the task holds and the machine has no room for.
const WAITING: usize = 64;
/// What a write costs beside its bytes.
const OVERHEAD: usize = 256;

type Done = Result<(), GfsError>;

#[derive(Debug)]
struct Write {
    position: u64,
    bytes: Bytes,
    disk: bool,
    reply: oneshot::Sender<Done>,
    /// Its share of what may be on its way.
    permit: OwnedSemaphorePermit,
}

/// What the application asks of an overwriter.
#[derive(Debug)]
enum Command {
    Write(Write),
    Flush { disk: bool, reply: oneshot::Sender<Outcome> },
    Close(oneshot::Sender<Outcome>),
}

/// The application's end. Dropped, the task stops where it is.
#[derive(Debug)]
pub(crate) struct OverwriteWriter {
    commands: mpsc::Sender<Command>,
    /// Bytes that may be on their way.
    room: Arc<Semaphore>,
    most_room: usize,
    failure: Arc<OnceLock<GfsError>>,
}

impl OverwriteWriter {
    /// Starts an overwriter of this file.
    pub(crate) fn start(client: &Client, inode: u64, disk: bool) -> Self {
        let config = config_of(client, disk);
        let masters = client.inner.another_client();
        let now = client.inner.options.clock.now();
        let machine = FileOverwriter::new(config, inode, masters.client_id, now);
        let frames = config.window_slices * 2;
        let (links, events) =
            Links::new(Arc::clone(&client.inner), masters, client.deadline, frames);
        let (commands, queue) = mpsc::channel(COMMANDS);
        let most_room = config.window as usize;
        let room = Arc::new(Semaphore::new(most_room));
        let failure = Arc::new(OnceLock::new());
        let task = Task {
            machine,
            effects: Vec::new(),
            queue: VecDeque::new(),
            cut: None,
            writes: BTreeMap::new(),
            last_write: 0,
            slices: BTreeMap::new(),
            syncing: BTreeMap::new(),
            room: Arc::clone(&room),
            links,
            failure: Arc::clone(&failure),
        };
        tokio::spawn(task.run(queue, events));
        Self { commands, room, most_room, failure }
    }

    /// Writes; returns when it is stored.
    pub(crate) async fn write(&self, position: u64, bytes: Bytes, disk: bool) -> Done {
        let cost = (bytes.len() + OVERHEAD).min(self.most_room) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(cost).await;
        let permit = permit.map_err(|_| self.failure())?;
        let (reply, answer) = oneshot::channel();
        let write = Command::Write(Write { position, bytes, disk, reply, permit });
        self.commands.send(write).await.map_err(|_| self.failure())?;
        answer.await.unwrap_or_else(|_| Err(self.failure()))
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

    /// Why the overwriter stopped.
    fn failure(&self) -> GfsError {
        self.failure.get().cloned().unwrap_or_else(|| {
            GfsError::new(ErrorCode::Internal, "the file's overwriter ended unexpectedly")
        })
    }
}

/// A write of which slices are under way or not yet cut.
struct Running {
    /// Slices under way; one more while the write is being cut.
    left: usize,
    error: Option<GfsError>,
    disk: bool,
    reply: oneshot::Sender<Done>,
    permit: OwnedSemaphorePermit,
}

/// A write that is stored, but not on disk.
struct Stored {
    reply: oneshot::Sender<Done>,
    _permit: OwnedSemaphorePermit,
}

struct Task {
    machine: FileOverwriter,
    effects: Vec<Effect>,
    queue: VecDeque<Command>,
    /// The rest of the write that is being cut.
    cut: Option<(u64, u64, Bytes)>,
    writes: BTreeMap<u64, Running>,
    last_write: u64,
    /// To which write a slice belongs.
    slices: BTreeMap<SliceId, u64>,
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
            let hungry = self.queue.len() < WAITING;
            let doze = Links::doze(self.links.now(), self.machine.wake_at());
            tokio::select! {
                Some(event) = events.recv() => {
                    self.step(event);
                    while let Ok(event) = events.try_recv() {
                        self.step(event);
                    }
                }
                command = commands.recv(), if hungry => match command {
                    Some(command) => self.queue.push_back(command),
                    // The application let go of the file.
                    None => return,
                },
                () = self.links.reap() => {}
                () = doze => self.step(Event::Tick),
            }
        }
    }

    /// Hands in what there is room for, in order.
    fn hand_in(&mut self) {
        while self.machine.failure().is_none() {
            if self.cut.is_some() {
                if !self.hand_in_slice() {
                    return;
                }
                continue;
            }
            match self.queue.pop_front() {
                Some(Command::Write(Write { position, bytes, disk, reply, permit })) => {
                    self.last_write += 1;
                    let running = Running { left: 1, error: None, disk, reply, permit };
                    self.writes.insert(self.last_write, running);
                    self.cut = Some((self.last_write, position, bytes));
                }
                Some(Command::Flush { disk, reply }) => {
                    let token = self.links.token(reply);
                    self.step(Event::Flush { token, disk });
                }
                Some(Command::Close(reply)) => {
                    let token = self.links.token(reply);
                    self.step(Event::Close { token });
                }
                None => return,
            }
        }
    }

    /// Hands in the next slice of the write that is being cut; whether there was room.
    fn hand_in_slice(&mut self) -> bool {
        let Some((write, position, mut bytes)) = self.cut.take() else { return true };
        if bytes.is_empty() {
            self.slice_done(write, Ok(()), &mut Vec::new());
            return true;
        }
        // Slices end at whole multiples of the slice size, so that most blocks are written whole.
        let most = u64::from(MAX_SLICE) - position % u64::from(MAX_SLICE);
        let length = most.min(bytes.len() as u64) as u32;
        if !self.machine.has_room(length) {
            self.cut = Some((write, position, bytes));
            return false;
        }
        let piece = bytes.split_to(length as usize);
        let slice = self.links.keep(Payload::anywhere(vec![piece]));
        self.slices.insert(slice, write);
        if let Some(running) = self.writes.get_mut(&write) {
            running.left += 1;
        }
        let rest = (!bytes.is_empty()).then(|| (write, position + u64::from(length), bytes));
        let last = rest.is_none();
        self.cut = rest;
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.write(self.links.now(), slice, position, length, &mut effects);
        self.effects = effects;
        self.carry_out();
        if last {
            let mut to_disk = Vec::new();
            self.slice_done(write, Ok(()), &mut to_disk);
            self.sync(to_disk);
        }
        true
    }

    fn step(&mut self, event: Event) {
        self.links.note(&event);
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.step(self.links.now(), event, &mut effects);
        self.effects = effects;
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let mut to_disk = Vec::new();
        for effect in effects.drain(..) {
            match self.links.carry_out(effect) {
                Some(Effect::Settled { slice, result }) => {
                    if let Some(write) = self.slices.remove(&slice) {
                        self.slice_done(write, result.map(|_| ()), &mut to_disk);
                    }
                }
                Some(Effect::Done { token, result }) => {
                    for Stored { reply, .. } in self.syncing.remove(&token).unwrap_or_default() {
                        let _ = reply.send(result.clone().map(|_| ()));
                    }
                }
                _ => {}
            }
        }
        self.effects = effects;
        self.sync(to_disk);
    }

    /// Brings to disk what somebody waits for.
    fn sync(&mut self, to_disk: Vec<Stored>) {
        if !to_disk.is_empty() {
            let token = self.links.bare_token();
            self.syncing.insert(token, to_disk);
            self.step(Event::Flush { token, disk: true });
        }
    }

    /// A slice of a write is settled, or its cutting is over; with the last one, the write is.
    fn slice_done(&mut self, write: u64, result: Done, to_disk: &mut Vec<Stored>) {
        let Some(running) = self.writes.get_mut(&write) else { return };
        running.left -= 1;
        if let Err(error) = result {
            running.error.get_or_insert(error);
        }
        if running.left > 0 {
            return;
        }
        let Some(Running { error, disk, reply, permit, .. }) = self.writes.remove(&write) else {
            return;
        };
        match error {
            Some(error) => {
                let _ = reply.send(Err(error));
            }
            None if disk => to_disk.push(Stored { reply, _permit: permit }),
            None => {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// Answers what waits with the failure; the closed channel tells the rest.
    fn end(mut self, commands: &mut mpsc::Receiver<Command>) {
        let error = match self.machine.failure() {
            Some(error) => error.clone(),
            None => GfsError::invalid("the overwriter is closed"),
        };
        let _ = self.failure.set(error.clone());
        self.room.close();
        commands.close();
        while let Ok(command) = commands.try_recv() {
            self.queue.push_back(command);
        }
        for running in self.writes.into_values() {
            let _ = running.reply.send(Err(error.clone()));
        }
        for command in self.queue {
            match command {
                Command::Write(write) => {
                    let _ = write.reply.send(Err(error.clone()));
                }
                Command::Flush { reply, .. } | Command::Close(reply) => {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}
