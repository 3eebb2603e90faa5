//! The replicas of this server: one state machine each, behind a lock that is never held over I/O,
//! and what carries out its outputs.
//!
//! Outputs are carried out, or put into the queue of a stream, while the lock is held: so they
//! happen in the order in which the machine gave them, whichever thread it ran on.

use crate::commands::Origin;
use crate::credit::Reserved;
use crate::fetch::CopyTask;
use crate::node::{Node, lock};
use crate::push::Downward;
use crate::store::{ChunkState, Position, StoreError};
use bytes::Bytes;
use gfs_core::mistakes::Mistakes;
use gfs_core::replica::{
    CommandId, DiskOp, Event, Header, IDLE_LIMIT, Identity, Output, Replica, Settings, StreamId,
    Window,
};
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

/// What slices are kept in: the memory they were received in.
pub(crate) type Payload = Vec<Bytes>;

/// Chunks that pushes may wait for before their Grant came.
const MAX_ABSENT: usize = 1_024;

/// A chunk this server has, or may be about to get.
pub(crate) struct Chunk {
    pub(crate) handle: u64,
    inner: Mutex<Inner>,
}

/// A replica and what its outputs need.
pub(crate) struct Inner {
    pub(crate) replica: Replica<Payload>,
    pub(crate) commands: BTreeMap<CommandId, Origin>,
    pub(crate) copies: BTreeMap<CommandId, CopyTask>,
    /// After a power loss: not to be served before it was compared with a current one.
    pub(crate) suspect: bool,
    /// Highest (version, serial) known to be on disk, as of the start.
    synced: Position,
    ports: BTreeMap<StreamId, Port>,
    /// Gets ticks.
    ticking: bool,
    /// Its volume is gone: nothing that still comes is for it.
    abandoned: bool,
}

/// The queues of a push stream. What they carry is within its credit; a peer that does not take it
/// loses the stream.
struct Port {
    up: Sender<pb::push_reply::Body>,
    /// The sender does not read its replies.
    deaf: CancellationToken,
    down: Option<Sender<Downward>>,
    reserved: Arc<Reserved>,
}

/// All chunks of a server.
#[derive(Default)]
pub(crate) struct Chunks {
    loaded: Mutex<BTreeMap<u64, Arc<Chunk>>>,
    /// Replicas found at the start and not yet used.
    found: Mutex<BTreeMap<u64, ChunkState>>,
    ticking: Mutex<BTreeSet<u64>>,
    /// Loaded without a replica; some of them may have got one since. Taken after `loaded`.
    absent: Mutex<BTreeSet<u64>>,
    last_id: AtomicU64,
}

impl Chunks {
    /// A number never used before: for streams and commands.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the start found.
    pub(crate) fn set_found(&self, found: impl IntoIterator<Item = ChunkState>) {
        *lock(&self.found) = found.into_iter().map(|state| (state.handle.0, state)).collect();
    }

    /// The server got another number: everything that was said under the old one is void.
    pub(crate) fn forget_loaded(&self) {
        let mut loaded = lock(&self.loaded);
        loaded.clear();
        lock(&self.absent).clear();
        lock(&self.ticking).clear();
    }

    /// The highest handle among the replicas.
    pub(crate) fn highest_handle(&self) -> u64 {
        let found = lock(&self.found).keys().next_back().copied();
        let loaded = lock(&self.loaded);
        let loaded = loaded.values().rev().find(|chunk| chunk.inner().replica.is_stored());
        found.max(loaded.map(|chunk| chunk.handle)).unwrap_or(0)
    }

    /// Every replica, in the order of handles.
    pub(crate) fn states(&self) -> Vec<pb::ReplicaState> {
        let loaded: Vec<Arc<Chunk>> = lock(&self.loaded).values().cloned().collect();
        let mut states: BTreeMap<u64, pb::ReplicaState> =
            lock(&self.found).iter().map(|(handle, state)| (*handle, reported(state))).collect();
        for chunk in loaded {
            match chunk.inner().reported() {
                Some(state) => states.insert(chunk.handle, state),
                None => states.remove(&chunk.handle),
            };
        }
        states.into_values().collect()
    }

    /// What the server knows of a replica.
    pub(crate) fn state(&self, handle: u64) -> Option<pb::ReplicaState> {
        match self.get(handle) {
            Some(chunk) => chunk.inner().state(),
            None => lock(&self.found).get(&handle).map(reported),
        }
    }

    /// The same, of a replica that nothing is being done to.
    pub(crate) fn idle(&self, handle: u64) -> Option<pb::ReplicaState> {
        match self.get(handle) {
            Some(chunk) => chunk.inner().idle(),
            None => lock(&self.found).get(&handle).map(reported),
        }
    }

    /// There is no file of a replica any more that was idle in this state. Whether it still was:
    /// then there is no such replica from now on, and a new one may be made.
    pub(crate) fn lose(&self, state: &pb::ReplicaState) -> bool {
        let handle = state.handle;
        let loaded = lock(&self.loaded);
        let Some(chunk) = loaded.get(&handle) else {
            return lock(&self.found).remove(&handle).is_some();
        };
        let mut inner = chunk.inner();
        let lost = inner.idle().as_ref() == Some(state);
        if lost {
            inner.replica.lose();
            inner.suspect = false;
            inner.synced = Position::default();
            lock(&self.absent).insert(handle);
        }
        lost
    }

    /// The volume that a replica was on is gone, and with it the replica: whatever is under way with
    /// it ends, and a new one may be made.
    pub(crate) fn abandon(&self, node: &Arc<Node>, handle: u64, error: &pb::ErrorDetail) {
        lock(&self.found).remove(&handle);
        let loaded = lock(&self.loaded).remove(&handle);
        lock(&self.ticking).remove(&handle);
        lock(&self.absent).remove(&handle);
        let Some(chunk) = loaded else { return };
        let mut outputs = Vec::new();
        let mut inner = chunk.inner();
        inner.replica.abandon(error.clone(), &mut outputs);
        inner.abandoned = true;
        for output in outputs {
            node.carry_out(&chunk, &mut inner, output);
        }
    }

    /// A replica is here that was not, or was gone. Who waits for a Grant of one tries again.
    pub(crate) fn regain(&self, node: &Arc<Node>, state: ChunkState) {
        let handle = state.handle.0;
        let text = format!("chunk {handle} has just been found");
        self.abandon(node, handle, &pb::ErrorDetail::new(ErrorCode::Busy, text));
        lock(&self.found).insert(handle, state);
    }

    /// The chunk if this server knows anything of it.
    pub(crate) fn get(&self, handle: u64) -> Option<Arc<Chunk>> {
        lock(&self.loaded).get(&handle).cloned()
    }

    /// Those that need ticks.
    pub(crate) fn ticking(&self) -> Vec<Arc<Chunk>> {
        let handles: Vec<u64> = lock(&self.ticking).iter().copied().collect();
        let loaded = lock(&self.loaded);
        handles.iter().filter_map(|handle| loaded.get(handle).cloned()).collect()
    }

    /// Drops chunks that are not there and that nobody waits for.
    pub(crate) fn drop_absent(&self) {
        sweep(&mut lock(&self.loaded), &mut lock(&self.absent));
    }

    /// Commands of older epochs are void.
    pub(crate) fn new_epoch(&self, node: &Arc<Node>) {
        for chunk in self.ticking() {
            node.step(&chunk, Event::NewEpoch);
        }
    }
}

/// Goes through the chunks that were absent: forgets those that are not any more, and drops those
/// that nobody waits for.
fn sweep(loaded: &mut BTreeMap<u64, Arc<Chunk>>, absent: &mut BTreeSet<u64>) {
    absent.retain(|handle| {
        let Some(chunk) = loaded.get(handle) else { return false };
        let (stored, active) = {
            let inner = chunk.inner();
            (inner.replica.is_stored(), inner.replica.is_active())
        };
        let wanted = active || Arc::strong_count(chunk) > 1;
        if !stored && !wanted {
            loaded.remove(handle);
        }
        !stored && wanted
    });
}

/// Whether two states of a replica are one to the master.
fn same(a: &ChunkState, b: &ChunkState) -> bool {
    let said = |state: &ChunkState| {
        let ChunkState { promised, complete, content, flags, .. } = state;
        (*promised, *complete, *content, flags.sealed, flags.incomplete)
    };
    said(a) == said(b)
}

/// A replica as it was found, with what is known of it then.
fn reported(state: &ChunkState) -> pb::ReplicaState {
    let (identity, header) = loaded(state, Window::default());
    let settings = Settings {
        server: 0,
        chunk_size: 0,
        idle_limit: IDLE_LIMIT,
        mistakes: Mistakes::default(),
    };
    let replica = Replica::<Payload>::load(settings, identity, header);
    let (position, _) = state.synced;
    pb::ReplicaState {
        suspect: state.flags.suspect,
        fsynced_version: position.version.0,
        fsynced_serial: position.serial.0,
        ..replica.state().unwrap_or_default()
    }
}

fn loaded(state: &ChunkState, window: Window) -> (Identity, Header) {
    let complete = if state.flags.incomplete { 0 } else { state.complete.version.0 };
    let identity = Identity {
        handle: state.handle.0,
        inode: state.place.inode.0,
        index: u32::try_from(state.place.index).unwrap_or(u32::MAX),
        start: state.place.chunk_start,
        copies: state.place.goal,
    };
    let header = Header {
        promised: state.promised.0,
        complete,
        serial: state.complete.serial.0,
        length: state.content.length,
        sealed: state.flags.sealed,
        window,
    };
    (identity, header)
}

impl Chunk {
    /// Its state, under its lock.
    pub(crate) fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Registers the queue of a stream's replies; to be called before its Open.
    pub(crate) fn attach(
        &self,
        stream: StreamId,
        up: Sender<pb::push_reply::Body>,
        deaf: CancellationToken,
        reserved: Reserved,
    ) {
        let reserved = Arc::new(reserved);
        self.inner().ports.insert(stream, Port { up, deaf, down: None, reserved });
    }
}

impl Inner {
    /// What the master is told of the replica; `None` when there is none.
    pub(crate) fn state(&self) -> Option<pb::ReplicaState> {
        self.replica.state().map(|state| self.with_disk(state))
    }

    /// The same while nothing is being done to it.
    fn idle(&self) -> Option<pb::ReplicaState> {
        if self.replica.is_active() { None } else { self.state() }
    }

    /// What a report says of it.
    fn reported(&self) -> Option<pb::ReplicaState> {
        self.replica.reported().map(|state| self.with_disk(state))
    }

    fn with_disk(&self, state: pb::ReplicaState) -> pb::ReplicaState {
        pb::ReplicaState {
            suspect: self.suspect,
            fsynced_version: self.synced.version.0,
            fsynced_serial: self.synced.serial.0,
            ..state
        }
    }
}

impl Node {
    /// The chunk of this handle; where there is no replica, an absent one that may get a Grant.
    ///
    /// # Errors
    /// The server has no number yet, the disk fails, or too many chunks are waited for.
    pub(crate) async fn chunk(
        self: &Arc<Self>,
        handle: u64,
    ) -> Result<Arc<Chunk>, pb::ErrorDetail> {
        if handle == 0 {
            return Err(pb::ErrorDetail::new(ErrorCode::InvalidArgument, "chunk 0"));
        }
        if let Some(chunk) = self.chunks.get(handle) {
            return Ok(chunk);
        }
        let record = self.volumes.record();
        if record.cluster.is_none() || record.number.0 == 0 {
            let text = "this chunkserver is not registered with a master yet";
            return Err(pb::ErrorDetail::new(ErrorCode::NotReady, text));
        }
        let settings = Settings {
            server: record.number.0,
            chunk_size: record.geometry.chunk_size(),
            idle_limit: self.idle_limit,
            mistakes: Mistakes::default(),
        };
        let found = lock(&self.chunks.found).get(&handle).cloned();
        let node = Arc::clone(self);
        let on_disk = if found.is_some() {
            let handle = ChunkHandle(handle);
            let read = move || match node.volumes.state(handle) {
                Ok(state) => Ok(Some((state, node.volumes.window(handle)?))),
                Err(StoreError::UnknownChunk(_)) => Ok(None),
                Err(error) => Err(error),
            };
            self.on_disk("load", handle, read).await?
        } else {
            None
        };
        let mut loaded_chunks = lock(&self.chunks.loaded);
        if let Some(chunk) = loaded_chunks.get(&handle) {
            return Ok(Arc::clone(chunk));
        }
        let (replica, suspect, synced) = match on_disk {
            Some((state, window)) => {
                if !found.is_some_and(|found| same(&found, &state)) {
                    // The start-up log was wrong, or the file was changed behind our back.
                    tracing::error!(chunk = handle, "a chunk's file says other than was reported");
                    self.reports.send_modify(|reports| *reports += 1);
                }
                let (identity, header) = loaded(&state, window);
                let replica = Replica::load(settings, identity, header);
                (replica, state.flags.suspect, state.synced.0)
            }
            None if lock(&self.chunks.found).contains_key(&handle) => {
                let text = format!("chunk {handle} has just been found");
                return Err(pb::ErrorDetail::new(ErrorCode::Busy, text));
            }
            None => {
                let mut absent = lock(&self.chunks.absent);
                if absent.len() >= MAX_ABSENT {
                    sweep(&mut loaded_chunks, &mut absent);
                }
                if absent.len() >= MAX_ABSENT {
                    let text = "too many unknown chunks are waited for";
                    return Err(pb::ErrorDetail::new(ErrorCode::UnknownChunk, text));
                }
                absent.insert(handle);
                (Replica::absent(settings, handle), false, Position::default())
            }
        };
        let inner = Inner {
            replica,
            commands: BTreeMap::new(),
            copies: BTreeMap::new(),
            suspect,
            synced,
            ports: BTreeMap::new(),
            ticking: false,
            abandoned: false,
        };
        let chunk = Arc::new(Chunk { handle, inner: Mutex::new(inner) });
        loaded_chunks.insert(handle, Arc::clone(&chunk));
        drop(loaded_chunks);
        lock(&self.chunks.found).remove(&handle);
        Ok(chunk)
    }

    /// Lets an event happen to a chunk and carries out what comes of it. Does not block. Must run
    /// within the runtime.
    pub(crate) fn step(self: &Arc<Self>, chunk: &Arc<Chunk>, event: Event<Payload>) {
        let Some(op) = self.step_without_disk(chunk, event) else { return };
        let (node, chunk) = (Arc::clone(self), Arc::clone(chunk));
        // As long as the chunk has more for the disk this thread stays with it.
        let handle = ChunkHandle(chunk.handle);
        let volumes = Arc::clone(&self.volumes);
        volumes.blocking(handle, move || {
            let mut next = Some(op);
            while let Some(op) = next {
                let done = catch_unwind(AssertUnwindSafe(|| node.execute(&chunk, op)));
                let result = done.unwrap_or_else(|_| {
                    Err(pb::ErrorDetail::new(ErrorCode::Internal, "a disk operation panicked"))
                });
                next = node.step_without_disk(&chunk, Event::DiskDone { result });
            }
        });
    }

    /// The same, but hands the disk operation to the caller.
    fn step_without_disk(
        self: &Arc<Self>,
        chunk: &Arc<Chunk>,
        event: Event<Payload>,
    ) -> Option<DiskOp<Payload>> {
        let mut outputs = Vec::new();
        let mut disk = None;
        let mut inner = chunk.inner();
        if inner.abandoned {
            return None;
        }
        let was_stored = inner.replica.is_stored();
        inner.replica.step(self.clock.now(), event, &mut outputs);
        for output in outputs {
            match output {
                Output::Disk(op) => disk = Some(op),
                other => self.carry_out(chunk, &mut inner, other),
            }
        }
        let active = inner.replica.needs_ticks();
        if active != inner.ticking {
            inner.ticking = active;
            let mut ticking = lock(&self.chunks.ticking);
            if active {
                ticking.insert(chunk.handle);
            } else {
                ticking.remove(&chunk.handle);
            }
        }
        let deleted = was_stored && !inner.replica.is_stored();
        drop(inner);
        if deleted {
            lock(&self.chunks.absent).insert(chunk.handle);
        }
        disk
    }

    fn carry_out(self: &Arc<Self>, chunk: &Arc<Chunk>, inner: &mut Inner, output: Output<Payload>) {
        match output {
            // A queue whose other end is gone belongs to a stream that has ended.
            Output::Reply { stream, body } => {
                if let Some(port) = inner.ports.get(&stream)
                    && let Err(TrySendError::Full(_)) = port.up.try_send(body)
                {
                    port.deaf.cancel();
                }
            }
            Output::Dial { stream, next, open } => {
                if let Some(port) = inner.ports.get_mut(&stream) {
                    let reserved = Arc::clone(&port.reserved);
                    port.down = Some(self.dial_next(chunk, stream, next, *open, reserved));
                }
            }
            Output::SendDown { stream, body, payload } => {
                if let Some(port) = inner.ports.get_mut(&stream)
                    && let Some(down) = &port.down
                {
                    let message = Downward { body, payload: payload.unwrap_or_default() };
                    if let Err(TrySendError::Full(_)) = down.try_send(message) {
                        // It ends there, and so makes no progress: the replica acts on that.
                        port.down = None;
                    }
                }
            }
            Output::Close { stream } => {
                inner.ports.remove(&stream);
            }
            Output::PlanCopy { id, copy } => {
                let origin = inner.commands.get(&id);
                let copied = origin.map(|origin| Arc::clone(&origin.copied)).unwrap_or_default();
                inner.copies.insert(id, self.copy(chunk, id, copy, copied));
            }
            Output::GoCopy { id } => {
                if let Some(copy) = inner.copies.get(&id) {
                    copy.go.notify_one();
                }
            }
            Output::AbortCopy { id } => {
                if let Some(copy) = inner.copies.get(&id) {
                    copy.stop.cancel();
                }
            }
            Output::CommandDone { id, result, digest } => {
                inner.copies.remove(&id);
                if let Some(origin) = inner.commands.remove(&id) {
                    self.answer(chunk, origin, result, inner.state(), digest);
                }
            }
            Output::PrimaryEnded { version, unreachable } => {
                let body = pb::PrimaryEnded { version, unreachable };
                self.notify(chunk.handle, pb::notice::Body::PrimaryEnded(body));
            }
            Output::WriterVanished { version, writer, length } => {
                let body = pb::WriterVanished { version, writer, length };
                self.notify(chunk.handle, pb::notice::Body::WriterVanished(body));
            }
            // Taken by the caller.
            Output::Disk(_) => {}
        }
    }
}
