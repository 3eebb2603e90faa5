//! The servers: who they are, what they say of themselves, and what is under way with them.

use super::detector::{State, Watch};
use super::placement::Lack;
use super::{Chunks, Now};
use crate::brain::SessionId;
use crate::volume::{DEAD_IO_MS, Purpose as For, SLOW_IO_MS, has_room};
use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, Millis, ServerNumber, ServerUuid};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers go up to this: chunk records are kept with 16 bits per member.
pub(super) const MAX_SERVERS: u32 = u16::MAX as u32;
/// Commands that a server may have unanswered.
const MAX_PENDING: usize = 16_384;
/// The report of a new session is waited for that long.
const REPORT_AWAITED: Millis = Millis(10_000);

/// A dead server that may have the only copy that is not in doubt is waited for that long: as long
/// as an operator waits before it replaces a server.
const RETURNS_WITHIN: Millis = Millis(600_000);

/// A command that takes no copying is answered within that time by a server whose disks work.
const HEARS_WITHIN: Millis = Millis(10_000);
/// Bytes of a kernel boot id.
const BOOT_ID: usize = 16;

/// A registered server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) number: ServerNumber,
    pub(super) uuid: ServerUuid,
    pub(super) addresses: Vec<String>,
    pub(super) place: pb::Place,
    pub(super) draining: bool,
    pub(super) decommissioned: bool,
    /// Draining: why a chunk could not be moved, when that was tried last.
    pub(super) no_target: Option<Lack>,
    /// The kernel boot it runs under; empty: not known.
    pub(super) boot_id: Bytes,
    /// Chunks from this handle on were made while it was up under this boot.
    up_since: ChunkHandle,
    pub(super) software: String,
    pub(super) volumes: Vec<pb::VolumeState>,
    pub(super) streams: u32,
    pub(super) watch: Watch,
    pub(super) session: Option<Session>,
    /// Its report was complete at some time of this term.
    pub(super) was_known: bool,
    /// Copies under way into it and out of it.
    pub(super) incoming: u16,
    pub(super) outgoing: u16,
    /// Chunks placed on it lately, in 1/256, halved every second.
    pub(super) recent: u32,
    /// Somebody could not reach it, or it refused work: others are preferred until then.
    pub(super) trouble_until: Millis,
    /// Chunks of the table that it is known to hold.
    pub(super) held: u64,
    /// Garbage that it must be told to delete.
    pub(super) deletes: BTreeSet<ChunkHandle>,
    /// Deletes that failed: taken up again at the next second.
    pub(super) deletes_later: BTreeSet<ChunkHandle>,
    /// For the next heartbeat reply.
    pub(super) left_out: Vec<pb::LeftOut>,
}

/// A session that stands.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) opened: Millis,
    pub(super) commands_open: bool,
    pub(super) report: Report,
    /// Commands without a result, by id.
    pub(super) pending: BTreeMap<u64, Pending>,
    /// How many of them are deletes.
    pub(super) deleting: usize,
}

/// How far the report of a session has come.
#[derive(Debug)]
pub(super) enum Report {
    /// No page yet.
    Awaited,
    /// Some pages.
    Coming(super::reports::Pages),
    /// What the server holds is known.
    Complete,
}

/// A command that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) handle: ChunkHandle,
    pub(super) purpose: Purpose,
    /// At the tick before it was sent.
    pub(super) sent: Millis,
}

/// What a command was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Grant { version: u64 },
    Prepare { next: u64 },
    Equalize { next: u64 },
    Clone,
    CancelClone,
    DeleteGarbage,
    DeleteStray,
    Verify,
    Revoke,
}

impl Server {
    pub(super) fn new(number: ServerNumber, record: &pb::ServerRecord, now: Now) -> Self {
        Self {
            number,
            uuid: ServerUuid::from_slice(&record.uuid).unwrap_or_default(),
            addresses: record.addresses.clone(),
            place: record.place.clone().unwrap_or_default(),
            draining: record.draining,
            decommissioned: record.decommissioned,
            no_target: None,
            boot_id: record.boot_id.clone(),
            up_since: ChunkHandle(record.up_since_handle),
            software: String::new(),
            volumes: Vec::new(),
            streams: 0,
            watch: Watch::new(now),
            session: None,
            was_known: false,
            incoming: 0,
            outgoing: 0,
            recent: 0,
            trouble_until: Millis::default(),
            held: 0,
            deletes: BTreeSet::new(),
            deletes_later: BTreeSet::new(),
            left_out: Vec::new(),
        }
    }

    pub(super) fn location(&self) -> pb::ServerLocation {
        pb::ServerLocation {
            server: self.number.0,
            addresses: self.addresses.clone(),
            place: Some(self.place.clone()),
            uuid: self.uuid.to_bytes().to_vec().into(),
        }
    }

    pub(super) fn record(&self) -> pb::ServerRecord {
        pb::ServerRecord {
            uuid: self.uuid.to_bytes().to_vec().into(),
            addresses: self.addresses.clone(),
            place: Some(self.place.clone()),
            draining: self.draining,
            decommissioned: self.decommissioned,
            boot_id: self.boot_id.clone(),
            up_since_handle: self.up_since.0,
        }
    }

    /// It registers under this boot, `next` being the next handle. Whether that is another boot
    /// than before.
    pub(super) fn booted(&mut self, boot_id: &Bytes, next: ChunkHandle) -> bool {
        if *boot_id == self.boot_id {
            return false;
        }
        self.boot_id.clone_from(boot_id);
        self.up_since = next;
        true
    }

    /// A replica that it had is gone: what it has not does not show what it never had.
    pub(super) fn forgot(&mut self, handle: ChunkHandle) -> bool {
        let is_news = self.up_since <= handle;
        self.up_since = self.up_since.max(ChunkHandle(handle.0.saturating_add(1)));
        is_news
    }

    /// Whether it has had no power loss since the chunk was made: what it stored of it is there.
    pub(super) fn remembers(&self, handle: ChunkHandle) -> bool {
        self.boot_id.len() == BOOT_ID && handle >= self.up_since
    }

    /// Its report of this session is complete.
    pub(super) fn is_reported(&self) -> bool {
        self.session.as_ref().is_some_and(|s| matches!(s.report, Report::Complete))
    }

    /// It can be sent commands, and what it holds is known.
    pub(super) fn takes_commands(&self) -> bool {
        self.is_reported()
            && self
                .session
                .as_ref()
                .is_some_and(|s| s.commands_open && s.pending.len() < MAX_PENDING)
    }

    /// Beats, is not suspected, and what it holds is known.
    pub(super) fn is_live(&self) -> bool {
        self.watch.is_live() && self.is_reported()
    }

    /// May be asked to take part in something now.
    pub(super) fn is_usable(&self) -> bool {
        self.watch.is_live() && self.takes_commands()
    }

    /// It is not known yet whether it is there, or what it holds; the report of a server that is
    /// there is waited for only so long.
    pub(super) fn is_unknown(&self, now: Now) -> bool {
        match self.watch.state() {
            State::NotHeard => true,
            State::Dead => false,
            _ => self.session.as_ref().is_some_and(|s| {
                !matches!(s.report, Report::Complete) && now.mono.since(s.opened) < REPORT_AWAITED
            }),
        }
    }

    /// It was here in this term, and is not away for so long that it is not waited for any more.
    pub(super) fn may_return(&self, now: Now) -> bool {
        let away = now.mono.since(self.watch.last_sign.mono);
        self.was_known && !self.decommissioned && away < RETURNS_WITHIN
    }

    /// Total and free bytes of the volumes that take new data.
    pub(super) fn room(&self) -> (u64, u64) {
        self.volumes.iter().filter(|v| v.failing.is_empty() && v.oldest_io_ms < SLOW_IO_MS).fold(
            (0u64, 0u64),
            |(total, free), v| {
                (
                    total.saturating_add(v.total_bytes),
                    free.saturating_add(v.free_bytes.min(v.total_bytes)),
                )
            },
        )
    }

    /// Whether one of the volumes takes one more replica of up to `chunk_size` bytes.
    pub(super) fn has_room(&self, purpose: For, chunk_size: u32) -> bool {
        self.volumes.iter().any(|v| {
            v.failing.is_empty()
                && v.oldest_io_ms < SLOW_IO_MS
                && v.free_bytes >= u64::from(chunk_size)
                && has_room(v.total_bytes, v.free_bytes, purpose)
        })
    }

    /// What it says of its volumes now; returns what is to be said of those that have left service.
    pub(super) fn take_volumes(
        &mut self,
        volumes: Vec<pb::VolumeState>,
    ) -> impl Iterator<Item = String> + use<> {
        let before = std::mem::replace(&mut self.volumes, volumes);
        let known = |v: &pb::VolumeState| {
            before.iter().any(|b| (&b.uuid, &b.dir, &b.failing) == (&v.uuid, &v.dir, &v.failing))
        };
        let failed = self.volumes.iter().filter(|v| !v.failing.is_empty() && !known(v));
        let text = failed.map(|v| {
            format!("server {}: volume {} is out of service: {}", self.number, v.dir, v.failing)
        });
        text.collect::<Vec<_>>().into_iter()
    }

    /// What is to be said of the first volume that is out of service.
    pub(super) fn failing_volume(&self) -> Option<String> {
        let volume = self.volumes.iter().find(|v| !v.failing.is_empty())?;
        Some(format!("volume {} of server {} lost: {}", volume.dir, self.number, volume.failing))
    }

    /// Away on purpose, soon or now.
    pub(super) fn is_leaving(&self) -> bool {
        self.watch.state() == State::Maintenance
    }

    /// It beats, its disks work, and what it was told is not answered: the stream of its commands
    /// leads nowhere.
    pub(super) fn is_deaf(&self, now: Now) -> bool {
        let quick = |p: &&Pending| {
            matches!(p.purpose, Purpose::Grant { .. } | Purpose::Prepare { .. } | Purpose::Revoke)
        };
        let oldest = self.session.as_ref().and_then(|s| s.pending.values().find(quick));
        oldest.is_some_and(|p| now.mono.since(p.sent) >= HEARS_WITHIN)
            && self.watch.is_live()
            && self.volumes.iter().all(|v| !v.failing.is_empty() || v.oldest_io_ms < SLOW_IO_MS)
    }

    /// Its only volumes stand still for so long that they count as gone.
    pub(super) fn is_stuck(&self) -> bool {
        !self.volumes.is_empty() && self.volumes.iter().all(|v| v.oldest_io_ms > DEAD_IO_MS)
    }
}

/// All servers by number.
#[derive(Debug, Default)]
pub(super) struct Servers {
    by_number: Vec<Option<Box<Server>>>,
    by_uuid: BTreeMap<ServerUuid, ServerNumber>,
    by_session: BTreeMap<SessionId, ServerNumber>,
}

impl Servers {
    pub(super) fn get(&self, number: ServerNumber) -> Option<&Server> {
        self.by_number.get(number.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: ServerNumber) -> Option<&mut Server> {
        self.by_number.get_mut(number.0 as usize)?.as_deref_mut()
    }

    /// Adds a server; its number is in `1..=MAX_SERVERS`.
    pub(super) fn insert(&mut self, server: Server) {
        let at = server.number.0 as usize;
        if at == 0 || server.number.0 > MAX_SERVERS {
            return;
        }
        if self.by_number.len() <= at {
            self.by_number.resize_with(at + 1, || None);
        }
        if !server.decommissioned {
            self.by_uuid.insert(server.uuid, server.number);
        }
        if let Some(place) = self.by_number.get_mut(at) {
            *place = Some(Box::new(server));
        }
    }

    pub(super) fn by_uuid(&self, uuid: ServerUuid) -> Option<ServerNumber> {
        self.by_uuid.get(&uuid).copied()
    }

    pub(super) fn by_session(&self, session: SessionId) -> Option<ServerNumber> {
        self.by_session.get(&session).copied()
    }

    pub(super) fn bind(&mut self, session: SessionId, server: ServerNumber) {
        self.by_session.insert(session, server);
    }

    pub(super) fn unbind(&mut self, session: SessionId) {
        self.by_session.remove(&session);
    }

    /// In order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Server> {
        self.by_number.iter().filter_map(Option::as_deref)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.by_number.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// Those that belong to the cluster.
    pub(super) fn registered(&self) -> impl Iterator<Item = &Server> {
        self.iter().filter(|s| !s.decommissioned)
    }
}

impl Chunks {
    /// Whether a server may be asked to take part in something now.
    pub(super) fn is_usable(&self, server: ServerNumber) -> bool {
        self.servers.get(server).is_some_and(Server::is_usable)
    }

    /// Whether a copy on this server can be relied on now.
    pub(super) fn is_live(&self, server: ServerNumber) -> bool {
        self.servers.get(server).is_some_and(Server::is_live)
    }

    /// Locations of servers, in this order.
    pub(super) fn locations(
        &self,
        servers: impl IntoIterator<Item = ServerNumber>,
    ) -> Vec<pb::ServerLocation> {
        servers.into_iter().filter_map(|s| self.servers.get(s)).map(Server::location).collect()
    }
}
