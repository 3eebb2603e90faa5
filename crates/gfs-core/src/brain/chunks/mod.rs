//! The chunk side of the brain: chunk table, servers and sessions, failure detector, version
//! changes, placement, repair, incidents.
//!
//! [`Chunks`] is deterministic and has no time source. Each method takes the time and an
//! [`Outbox`], which the brain drains after the event.

mod attempt;
mod balance;
mod caution;
mod change;
mod commands;
mod deaths;
mod detector;
mod garbage;
mod incidents;
mod moves;
mod placement;
mod repair;
mod reports;
mod rollback;
mod servers;
mod sessions;
mod status;
mod strays;
mod table;
#[cfg(test)]
mod tests;

pub use change::Want;
pub use reports::report_digest;

use super::{Now, Response, SessionId, Token};
use crate::mistakes::Mistakes;
use gfs_proto::v1 as pb;
use gfs_types::{
    ChunkHandle, ClientId, ClusterId, ErrorCode, GfsError, InodeId, Millis, ServerNumber,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use table::{Health, Table};

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
    /// Clones of full chunks into one server at a time, and out of one server at a time; of smaller
    /// ones accordingly more, up to 16 times as many. Default 4.
    pub clones_per_server: u8,
    /// Rules that are broken on purpose; none in a release.
    pub mistakes: Mistakes,
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
            mistakes: Mistakes::default(),
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
    /// Chunks that a version change has cut ([`Chunks::cut`]), and who asked for it. What goes with
    /// that must be committed with the chunk's record.
    pub cuts: Vec<(Token, ChunkHandle)>,
    /// Chunks whose length a version change has found that [`Chunks::fix`] asked for.
    pub fixed: Vec<ChunkHandle>,
    /// Clients that a primary says have vanished, and the length that it has acknowledged.
    pub vanished: Vec<(ChunkHandle, ClientId, u32)>,
    /// For the log; `true`: a human must act.
    pub notes: Vec<(bool, String)>,
    /// Metadata was rolled back: record rollback mode in the cluster record, with the counters.
    pub rolled_back: bool,
}

impl Outbox {
    /// Takes over what another one holds, but what is persisted.
    pub(super) fn absorb(&mut self, other: Self) {
        self.sends.extend(other.sends);
        self.beats.extend(other.beats);
        self.ended.extend(other.ended);
        self.replies.extend(other.replies);
        self.done.extend(other.done);
        self.fixed.extend(other.fixed);
        self.vanished.extend(other.vanished);
        self.notes.extend(other.notes);
        self.rolled_back |= other.rolled_back;
    }

    /// Whether there is something for the namespace side to go on with.
    pub(super) fn is_news(&self) -> bool {
        !self.done.is_empty() || !self.fixed.is_empty() || !self.vanished.is_empty()
    }
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
    /// Lease.
    Lease,
    /// Truncate.
    Truncate,
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
    epoch: u64,
    commit_sequence: u64,
    is_started: bool,
    rollback: bool,
    /// Highest commit sequence that a server had heard when it registered.
    heard_sequence: u64,
    /// Up to there this is no sign of a rollback.
    forgiven_sequence: u64,
    last_command: u64,
    last_session: u64,
    last_tick: Millis,
    table: Table,
    servers: servers::Servers,
    /// Replicas that do not count.
    strays: BTreeMap<(ChunkHandle, ServerNumber), strays::Stray>,
    strays_from: (ChunkHandle, ServerNumber),
    /// Version changes under way. Every record with `next` above its version has one.
    changes: BTreeMap<ChunkHandle, Box<change::Change>>,
    /// Who is to be told that it is no member any more, once the new ones know of the version.
    leaving: BTreeMap<ChunkHandle, (u64, Vec<ServerNumber>)>,
    /// Grants to be repeated.
    grants_owed: BTreeSet<(ServerNumber, ChunkHandle)>,
    /// Clones under way, by target.
    clones: BTreeMap<(ChunkHandle, ServerNumber), repair::Clone>,
    /// Chunks that lack copies, have some to move, or are to be cleaned up, by priority.
    queue: BTreeSet<(u8, ChunkHandle)>,
    pump_wanted: bool,
    /// Chunks that lack copies, or have some to move, and have nowhere to go.
    stuck: BTreeSet<ChunkHandle>,
    stuck_retried: Millis,
    setbacks: BTreeMap<ChunkHandle, repair::Setback>,
    /// Servers on which no further stray can be made equal, as found while the queue is gone
    /// through.
    crowded: Vec<ServerNumber>,
    /// Chunks under-replicated, endangered, unavailable.
    lacking: [u64; 3],
    /// By number of a server: what it is listed with.
    listed: Vec<moves::Listed>,
    /// The table is being searched for chunks with copies to move, from here on.
    moves_from: Option<ChunkHandle>,
    balance: balance::Balance,
    garbage: BTreeMap<ChunkHandle, garbage::Garbage>,
    caution: caution::Caution,
    /// Servers that the detector has declared dead in this event.
    verdicts: Vec<ServerNumber>,
    sweeps: VecDeque<deaths::Sweep>,
    incidents: incidents::Incidents,
}

impl Chunks {
    /// An empty table.
    #[must_use]
    pub fn new(config: ChunksConfig) -> Self {
        Self {
            table: Table::new(config.chunk_size),
            config,
            epoch: 0,
            commit_sequence: 0,
            is_started: false,
            rollback: false,
            heard_sequence: 0,
            forgiven_sequence: 0,
            last_command: 0,
            last_session: 0,
            last_tick: Millis::default(),
            servers: servers::Servers::default(),
            strays: BTreeMap::new(),
            strays_from: (ChunkHandle(0), ServerNumber(0)),
            changes: BTreeMap::new(),
            leaving: BTreeMap::new(),
            grants_owed: BTreeSet::new(),
            clones: BTreeMap::new(),
            queue: BTreeSet::new(),
            pump_wanted: false,
            stuck: BTreeSet::new(),
            stuck_retried: Millis::default(),
            setbacks: BTreeMap::new(),
            crowded: Vec::new(),
            lacking: [0; 3],
            listed: Vec::new(),
            moves_from: None,
            balance: balance::Balance::default(),
            garbage: BTreeMap::new(),
            caution: caution::Caution::new(),
            verdicts: Vec::new(),
            sweeps: VecDeque::new(),
            incidents: incidents::Incidents::default(),
        }
    }

    // ---- loading, before `started`

    /// Adds a chunk (or spare) as its record has it. Not for holes.
    pub fn load_chunk(&mut self, info: ChunkInfo, record: &pb::ExtentRecord) {
        if record.handle == 0 {
            return;
        }
        let handle = ChunkHandle(record.handle);
        self.table.insert(handle, &info, record.version);
        let members: Vec<ServerNumber> = record.members.iter().map(|m| ServerNumber(*m)).collect();
        let Some(slot) = self.table.get_mut(handle) else { return };
        slot.length = record.length;
        slot.sealed = record.sealed;
        slot.set_zeros(record.zeros);
        slot.set_members(&members, false);
        slot.set_counted(Health::Unavailable);
        let changing = record.next > slot.version;
        let listed = *slot;
        self.list(&listed, true);
        self.count(Health::Full, Health::Unavailable);
        if changing {
            let mut unneeded = Outbox::default();
            self.burn(Now::default(), handle, record.next, &mut unneeded);
        }
    }

    /// Adds a server.
    pub fn load_server(&mut self, number: ServerNumber, record: &pb::ServerRecord) {
        self.servers.insert(servers::Server::new(number, record, Now::default()));
    }

    /// All is loaded; this master leads from now on. `rollback`: as the cluster record says.
    pub fn started(&mut self, now: Now, epoch: u64, commit_sequence: u64, rollback: bool) {
        self.epoch = epoch;
        self.commit_sequence = commit_sequence;
        self.rollback = rollback;
        self.is_started = true;
        self.last_tick = now.mono;
        self.caution.started(now.mono);
        for server in self.servers.iter_mut() {
            server.watch = detector::Watch::new(now);
        }
        self.assign_garbage();
        self.check_cold(now.mono);
    }

    /// The last commit, for heartbeat replies.
    pub fn committed(&mut self, commit_sequence: u64) {
        self.commit_sequence = commit_sequence;
    }

    // ---- for the namespace

    /// Makes a chunk at version 1 with a lease for its first member, which is near the writer: an
    /// empty one, or one of so many `zeros`, final at that length, to be overwritten. Fewer members than the goal are made up for by repair.
    ///
    /// # Errors
    /// `TooFewServers` if fewer than `min_copies` servers can take it, `NoSpace` if that is why.
    pub fn create(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        info: ChunkInfo,
        zeros: u32,
        near: &pb::Place,
        out: &mut Outbox,
    ) -> Result<(), GfsError> {
        let mut members: Vec<ServerNumber> = Vec::new();
        let mut lack = placement::Lack::Servers;
        while members.len() < usize::from(info.copies).min(table::MAX_MEMBERS) {
            let near = members.is_empty().then_some(near);
            match self.place(now, handle, &members, near, placement::For::New, |_| true) {
                Ok(server) => members.push(server),
                Err(why) => {
                    lack = why;
                    break;
                }
            }
        }
        let enough = usize::from(self.min_copies(info.copies));
        if members.len() < enough {
            let (code, text) = match lack {
                placement::Lack::Space => (ErrorCode::NoSpace, "the others are full"),
                _ => (ErrorCode::TooFewServers, "no more are alive and have reported"),
            };
            let text = format!(
                "a chunk with goal {} needs {enough} servers at least, {} can take it: {text}",
                info.copies,
                members.len()
            );
            return Err(GfsError::new(code, text));
        }
        self.table.insert(handle, &info, 1);
        if let Some(slot) = self.table.get_mut(handle) {
            slot.lease = true;
            slot.length = zeros;
            slot.sealed = zeros > 0;
            slot.set_zeros(zeros > 0);
        }
        self.replace_members(handle, &members);
        out.touched.push(handle);
        for member in members {
            self.placed(member);
            self.send_grant(member, handle, out);
        }
        self.refresh(now, handle);
        self.settle(now, out);
        Ok(())
    }

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
        let chunk_size = self.config.chunk_size;
        let slot = self.table.get_mut(handle).ok_or_else(|| {
            GfsError::new(ErrorCode::UnknownChunk, format!("there is no chunk {handle}"))
        })?;
        if slot.version != version {
            let text = format!(
                "chunk {handle} is at version {}; what was confirmed at {version} must be confirmed \
                 again",
                slot.version
            );
            return Err(GfsError::new(ErrorCode::StaleVersion, text));
        }
        if length > chunk_size {
            let text = format!("{length} bytes are more than a chunk of {chunk_size} holds");
            return Err(GfsError::new(ErrorCode::OutOfRange, text));
        }
        if slot.sealed {
            if length != slot.length {
                let text = format!("chunk {handle} is sealed at {} bytes", slot.length);
                return Err(GfsError::new(ErrorCode::Sealed, text));
            }
            return Ok(());
        }
        let (before, length) = ((slot.length, slot.sealed), slot.length.max(length));
        slot.sealed = sealed;
        if before != (length, sealed) {
            self.set_length(handle, length);
            out.touched.push(handle);
        }
        if sealed {
            self.release(handle, out);
        }
        Ok(())
    }

    /// Nobody may make the chunk longer until somebody wants to ([`Want::Extend`]).
    pub fn cap(&mut self, handle: ChunkHandle) {
        if let Some(slot) = self.table.get_mut(handle) {
            slot.set_capped(true);
        }
    }

    /// Nobody writes the chunk any more.
    pub fn release(&mut self, handle: ChunkHandle, out: &mut Outbox) {
        self.cap(handle);
        if let Some(change) = self.changes.get_mut(&handle) {
            change.lease = false;
        }
        let Some(slot) = self.table.get(handle).filter(|slot| slot.lease) else { return };
        self.set_lease(handle, false);
        if let Some(primary) = slot.first() {
            let revoke = pb::command::Body::Revoke(pb::Revoke { version: slot.version });
            self.send(primary, handle, servers::Purpose::Revoke, revoke, out);
        }
    }

    /// Where the chunk is: live current replicas, the primary first, then nearest to `near`.
    #[must_use]
    pub fn location(&self, handle: ChunkHandle, near: &pb::Place) -> Option<pb::ChunkLocation> {
        let slot = self.table.get(handle)?;
        let lease = slot.lease && !self.changes.contains_key(&handle);
        let primary = slot.first().filter(|first| lease && slot.holds(*first));
        let same = |a: &str, b: &str| !a.is_empty() && a == b;
        let rank = |number: ServerNumber| {
            let server = self.servers.get(number)?;
            (!self.is_dead(number)).then(|| {
                let distance = if same(&server.place.node, &near.node) {
                    0
                } else if same(&server.place.zone, &near.zone) {
                    1
                } else {
                    2
                };
                (
                    Some(number) != primary,
                    !server.is_live(),
                    distance,
                    server.streams,
                    placement::mix(handle, number),
                    number,
                )
            })
        };
        let mut servers: Vec<_> = slot.holders().filter_map(rank).collect();
        if servers.is_empty() {
            // Damaged copies still have their good blocks.
            let damaged = self.strays_of(handle).filter(|(server, stray)| {
                stray.kind == strays::StrayKind::Damaged
                    && stray.complete == slot.version
                    && slot.is_member(*server)
            });
            servers = damaged.filter_map(|(server, _)| rank(server)).collect();
        }
        servers.sort_unstable();
        Some(pb::ChunkLocation {
            handle: handle.0,
            version: slot.version,
            index: slot.index,
            start: self.table.start(handle, &slot),
            length: slot.length,
            sealed: slot.sealed,
            servers: self.locations(servers.into_iter().map(|(.., number)| number)),
            primary: primary.map_or(0, |p| p.0),
            hole: false,
        })
    }

    /// What is persisted of the chunk.
    #[must_use]
    pub fn record(&self, handle: ChunkHandle) -> Option<pb::ExtentRecord> {
        let slot = self.table.get(handle)?;
        let next = self.changes.get(&handle).map_or(0, |change| change.next);
        Some(pb::ExtentRecord {
            handle: handle.0,
            version: if slot.version == 1 { 0 } else { slot.version },
            next: if next > slot.version { next } else { 0 },
            members: slot.members().map(|m| m.0).collect(),
            length: slot.length,
            sealed: slot.sealed,
            zeros: slot.is_zeros(),
        })
    }

    /// What the namespace said of the chunk.
    #[must_use]
    pub fn info(&self, handle: ChunkHandle) -> Option<ChunkInfo> {
        self.table.info(handle)
    }

    /// The version of the chunk; 0 if there is none.
    #[must_use]
    pub fn version(&self, handle: ChunkHandle) -> u64 {
        self.table.get(handle).map_or(0, |slot| slot.version)
    }

    /// Whether the length of the chunk is final.
    #[must_use]
    pub fn is_sealed(&self, handle: ChunkHandle) -> bool {
        self.table.get(handle).is_some_and(|slot| slot.sealed)
    }

    /// Whether the chunk can be overwritten, but not grow.
    #[must_use]
    pub fn is_capped(&self, handle: ChunkHandle) -> bool {
        self.table.get(handle).is_some_and(|slot| slot.is_capped())
    }

    /// Whether some server orders mutations of the chunk, or is to.
    #[must_use]
    pub fn is_leased(&self, handle: ChunkHandle) -> bool {
        self.table.get(handle).is_some_and(|slot| slot.lease) || self.changes.contains_key(&handle)
    }

    /// Whether a live server orders mutations of the chunk, and is to go on with that.
    #[must_use]
    pub fn has_primary(&self, handle: ChunkHandle) -> bool {
        let primary = self.table.get(handle).filter(|slot| slot.lease).and_then(|s| s.first());
        primary.is_some_and(|s| self.is_live(s)) && !self.changes.contains_key(&handle)
    }

    /// Bytes of the chunk as recorded; 0 if there is none.
    #[must_use]
    pub fn length(&self, handle: ChunkHandle) -> u32 {
        self.table.get(handle).map_or(0, |slot| slot.length)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now, out: &mut Outbox) {
        let whole_second = now.mono.0 / 1_000 != self.last_tick.0 / 1_000;
        self.tick_detector(now, out);
        self.last_tick = now.mono;
        self.sweep(now);
        self.check_caution(now, out);
        self.find_moves(now);
        for server in self.grants_owed.iter().map(|(server, _)| *server).collect::<BTreeSet<_>>() {
            self.send_owed_grants(server, out);
        }
        if whole_second {
            self.end_deaf_sessions(now, out);
        }
        self.tick_changes(now, out);
        self.tick_repair(now, whole_second, out);
        self.tick_garbage(whole_second, out);
        self.settle(now, out);
        self.tick_balance(now, whole_second, out);
        self.settle(now, out);
    }

    // ---- shared by the parts

    /// The end of every event: starts what can be started, takes the times of incidents.
    fn settle(&mut self, now: Now, out: &mut Outbox) {
        self.pump(now, out);
        if self.sweeps.is_empty() {
            self.incidents.observe(now);
        }
    }

    /// Ends the cold start if it is time, and looks at all chunks then.
    fn check_caution(&mut self, now: Now, out: &mut Outbox) {
        if !self.check_cold(now.mono) {
            return;
        }
        out.notes.push((false, "all servers have reported or are dead: repair may begin".into()));
        let lacking: Vec<ChunkHandle> = self
            .table
            .iter()
            .filter(|(_, slot)| slot.health() != Health::Full || slot.strays)
            .map(|(handle, _)| handle)
            .collect();
        for handle in lacking {
            self.refresh(now, handle);
        }
        // Servers to be emptied, and goals that were lowered, of former terms.
        self.search_moves();
        self.retry_changes(now, out);
    }

    /// Copies below which nothing is acknowledged, for this goal.
    fn min_copies(&self, copies: u8) -> u8 {
        self.config.min_copies.clamp(1, copies.max(1))
    }

    /// Sets whether a member is known to hold a chunk. Whether that changed anything.
    fn set_holds(&mut self, handle: ChunkHandle, server: ServerNumber, holds: bool) -> bool {
        let changed = self.table.get_mut(handle).is_some_and(|slot| slot.set_holds(server, holds));
        if changed && let Some(server) = self.servers.get_mut(server) {
            server.held = if holds { server.held + 1 } else { server.held.saturating_sub(1) };
        }
        changed
    }

    fn set_lease(&mut self, handle: ChunkHandle, lease: bool) {
        if let Some(slot) = self.table.get_mut(handle) {
            slot.lease = lease;
        }
    }

    /// These are the members now, and all of them hold the chunk.
    fn replace_members(&mut self, handle: ChunkHandle, members: &[ServerNumber]) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        let before = *slot;
        slot.set_members(members, true);
        let after = *slot;
        self.list(&before, false);
        self.list(&after, true);
        for server in before.holders() {
            if let Some(server) = self.servers.get_mut(server) {
                server.held = server.held.saturating_sub(1);
            }
        }
        for server in after.holders() {
            if let Some(server) = self.servers.get_mut(server) {
                server.held += 1;
            }
        }
    }
}
