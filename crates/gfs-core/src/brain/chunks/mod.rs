//! The chunk side of the brain: chunk table, servers and sessions, failure detector, version
//! changes, placement, repair, incidents.
//!
//! [`Chunks`] is deterministic and has no time source. Each method takes the time and an
//! [`Outbox`], which the brain drains after the event.

use super::{Now, Response, SessionId, Token};
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ClusterId, GfsError, InodeId, ServerNumber};

/// What is fixed for a cluster or a process.
#[derive(Clone, Debug)]
pub struct ChunksConfig {
    /// Whose servers may register.
    pub cluster_id: ClusterId,
    /// Bytes of a full chunk.
    pub chunk_size: u32,
    /// Copies below which nothing is acknowledged (1 where the goal is 1). Default 2.
    pub min_copies: u8,
    /// How often servers beat, in milliseconds. Default 250.
    pub heartbeat_ms: u32,
    /// How long a server serves reads after the leader's last word, in milliseconds. Default
    /// 10 000.
    pub stale_read_limit_ms: u32,
    /// Clones into one server at a time, and out of one server at a time. Default 4.
    pub clones_per_server: u8,
}

impl ChunksConfig {
    /// The defaults for this cluster.
    #[must_use]
    pub fn new(cluster_id: ClusterId, chunk_size: u32) -> Self {
        Self {
            cluster_id,
            chunk_size,
            min_copies: 2,
            heartbeat_ms: 250,
            stale_read_limit_ms: 10_000,
            clones_per_server: 4,
        }
    }
}

/// What the methods of [`Chunks`] want done. Filled by them, drained by the brain after each event.
///
/// **Order.** `sends`, `replies`, `done` and `ended` leave only when *everything changed up to and
/// including this event* is committed, not only what this event changed: a Delete may repeat what
/// an earlier, uncommitted event decided. `beats` and `notes` leave at once.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The persisted part ([`Chunks::record`]) of these chunks changed. May name one twice.
    pub touched: Vec<ChunkHandle>,
    /// The persisted part ([`Chunks::server_record`]) of these servers changed.
    pub touched_servers: Vec<ServerNumber>,
    /// Put, or delete, these garbage records. In order; the last one of a handle counts.
    pub garbage: Vec<(ChunkHandle, Option<pb::GarbageRecord>)>,
    /// Commands to servers.
    pub sends: Vec<(SessionId, pb::Command)>,
    /// Answers to heartbeats.
    pub beats: Vec<(SessionId, pb::HeartbeatReply)>,
    /// Sessions that ended: close their streams.
    pub ended: Vec<SessionId>,
    /// Answers to Register and Report.
    pub replies: Vec<(Token, Result<Response, pb::ErrorDetail>)>,
    /// Version changes that somebody waits for.
    pub done: Vec<(Waiter, Result<ChunkHandle, GfsError>)>,
    /// For the log; `true`: a human must act.
    pub notes: Vec<(bool, String)>,
    /// Metadata was rolled back: record rollback mode in the cluster record, with the counters.
    pub rolled_back: bool,
}

/// Somebody who waits for a version change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Whom to answer.
    pub token: Token,
    /// With which answer.
    pub kind: WaiterKind,
}

/// What the waiter's call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaiterKind {
    /// Recover.
    Recover,
    /// Open for writing.
    Open,
    /// Allocate.
    Allocate,
}

/// What the namespace knows of a chunk. Fixed when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// The file.
    pub inode: InodeId,
    /// Position among the file's extents.
    pub index: u32,
    /// File offset of its first byte.
    pub start: u64,
    /// Goal, 1 to 8.
    pub copies: u8,
    /// Of its file.
    pub durability: pb::Durability,
}

/// Something that `fsck` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The chunk.
    pub handle: ChunkHandle,
    /// Its file, if it has one.
    pub inode: InodeId,
    /// Stable name, see `FsckProblem.kind`.
    pub kind: &'static str,
    /// For people.
    pub text: String,
    /// Data cannot be read now.
    pub severe: bool,
}

/// Chunk table, servers, and everything that keeps the one on the other.
#[derive(Debug)]
pub struct Chunks {
    config: ChunksConfig,
}

#[expect(unused_variables, reason = "first the signatures")]
impl Chunks {
    /// An empty table.
    #[must_use]
    pub fn new(config: ChunksConfig) -> Self {
        Self { config }
    }

    // ---- loading, before `started`

    /// Adds a chunk (or spare) as its record has it. Not for holes.
    pub fn load_chunk(&mut self, info: ChunkInfo, record: &pb::ExtentRecord) {}
    /// Adds a server.
    pub fn load_server(&mut self, number: ServerNumber, record: &pb::ServerRecord) {}
    /// Adds a chunk that no file needs.
    pub fn load_garbage(&mut self, handle: ChunkHandle, record: &pb::GarbageRecord) {}
    /// All is loaded; this master leads from now on. `rollback`: as the cluster record says.
    pub fn started(
        &mut self,
        now: Now,
        epoch: u64,
        commit_sequence: u64,
        counters: &pb::Counters,
        rollback: bool,
    ) {
    }
    /// The last commit, for heartbeat replies.
    pub fn committed(&mut self, commit_sequence: u64) {}

    // ---- for the namespace

    /// Makes a chunk at version 1 with a lease for its first member, which is near the writer.
    /// Fewer members than the goal are made up for by repair.
    ///
    /// # Errors
    /// `TooFewServers` if fewer than `min_copies` servers can take it, `NoSpace` if that is why.
    pub fn create(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        info: ChunkInfo,
        near: &pb::Place,
        out: &mut Outbox,
    ) -> Result<(), GfsError> {
        Ok(())
    }

    /// Asks for a version above `seen` without the unreachable servers, with a lease if `lease`.
    /// Answered through [`Outbox::done`]: in this very call if the chunk is there already or is
    /// sealed, else when the change is committed. For Open: `seen` is the present version.
    #[expect(clippy::too_many_arguments, reason = "as the call has them")]
    pub fn recover(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        seen: u64,
        unreachable: &[ServerNumber],
        lease: bool,
        waiter: Waiter,
        out: &mut Outbox,
    ) {
    }

    /// Nobody waits under this token any more.
    pub fn forget(&mut self, token: Token) {}

    /// Records a length that the primary confirmed; with `sealed` the final one, which ends the
    /// lease. Never shortens.
    ///
    /// # Errors
    /// `UnknownChunk`; `StaleVersion` unless the chunk is at `version`; `OutOfRange` above the
    /// chunk size; `Sealed` if it is sealed at another length.
    pub fn finish(
        &mut self,
        handle: ChunkHandle,
        version: u64,
        length: u32,
        sealed: bool,
        out: &mut Outbox,
    ) -> Result<(), GfsError> {
        Ok(())
    }

    /// Nobody writes the chunk any more.
    pub fn release(&mut self, handle: ChunkHandle, out: &mut Outbox) {}

    /// No file needs the chunk any more: it leaves the table, its replicas are deleted.
    pub fn discard(&mut self, handle: ChunkHandle, out: &mut Outbox) {}

    /// Where the chunk is: live current replicas, the primary first, then nearest to `near`.
    #[must_use]
    pub fn location(&self, handle: ChunkHandle, near: &pb::Place) -> Option<pb::ChunkLocation> {
        None
    }

    /// What is persisted of the chunk.
    #[must_use]
    pub fn record(&self, handle: ChunkHandle) -> Option<pb::ExtentRecord> {
        None
    }

    /// What the namespace said of the chunk.
    #[must_use]
    pub fn info(&self, handle: ChunkHandle) -> Option<ChunkInfo> {
        None
    }

    /// Bytes of the chunk as recorded; 0 if there is none.
    #[must_use]
    pub fn length(&self, handle: ChunkHandle) -> u32 {
        0
    }

    /// A reader met bytes that do not match: the server is asked to verify. Its own finding
    /// decides.
    pub fn damage_reported(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        version: u64,
        server: ServerNumber,
        blocks: Option<pb::BlockRange>,
        out: &mut Outbox,
    ) {
    }

    /// What Kubernetes says of the pods.
    pub fn set_pod_states(&mut self, now: Now, states: &pb::SetPodStatesRequest, out: &mut Outbox) {
    }

    /// Announces that a server goes away for a short time, or takes that back. Returns how many
    /// chunks have no other live copy.
    ///
    /// # Errors
    /// `NotFound` if there is no such server.
    pub fn set_maintenance(
        &mut self,
        now: Now,
        server: ServerNumber,
        on: bool,
        out: &mut Outbox,
    ) -> Result<u64, GfsError> {
        Ok(0)
    }

    // ---- events of servers, and time

    /// A server registers; mints its number if it is new. Answered through [`Outbox::replies`].
    pub fn register(
        &mut self,
        now: Now,
        token: Token,
        request: &pb::RegisterRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) {
    }
    /// A heartbeat; answered through [`Outbox::beats`].
    pub fn heartbeat(
        &mut self,
        now: Now,
        session: SessionId,
        beat: &pb::Heartbeat,
        out: &mut Outbox,
    ) {
    }
    /// Commands may be sent.
    pub fn commands_open(&mut self, now: Now, session: SessionId, out: &mut Outbox) {}
    /// A stream of the session broke.
    pub fn session_broken(&mut self, now: Now, session: SessionId, out: &mut Outbox) {}
    /// A command was carried out or refused.
    pub fn result(
        &mut self,
        now: Now,
        session: SessionId,
        result: &pb::CommandResult,
        out: &mut Outbox,
    ) {
    }
    /// A server says something unasked.
    pub fn notice(&mut self, now: Now, session: SessionId, notice: &pb::Notice, out: &mut Outbox) {}
    /// A page of a report. Answered through [`Outbox::replies`].
    pub fn report(
        &mut self,
        now: Now,
        token: Token,
        page: &pb::ReportRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) {
    }
    /// Time passed.
    pub fn tick(&mut self, now: Now, out: &mut Outbox) {}

    // ---- what people see

    /// Chunks by health, exact after a tick.
    #[must_use]
    pub fn health(&self) -> pb::ChunkHealth {
        pb::ChunkHealth::default()
    }
    /// Every server.
    #[must_use]
    pub fn server_statuses(&self, now: Now) -> Vec<pb::ServerStatus> {
        Vec::new()
    }
    /// What is persisted of a server.
    #[must_use]
    pub fn server_record(&self, server: ServerNumber) -> Option<pb::ServerRecord> {
        None
    }
    /// Incidents, the newest first, at most 64.
    #[must_use]
    pub fn incidents(&self) -> Vec<pb::Incident> {
        Vec::new()
    }
    /// What is wrong with chunks (at most `limit`), and how much in all.
    #[must_use]
    pub fn problems(&self, limit: usize) -> (Vec<Problem>, u64) {
        (Vec::new(), 0)
    }
    /// What the cluster waits for after the start; `None`: nothing.
    #[must_use]
    pub fn phase(&self) -> Option<String> {
        None
    }
    /// Total and free bytes of the live servers.
    #[must_use]
    pub fn capacity(&self) -> (u64, u64) {
        (0, 0)
    }
    /// Nothing is deleted: metadata was rolled back.
    #[must_use]
    pub fn rollback_mode(&self) -> bool {
        false
    }
}
