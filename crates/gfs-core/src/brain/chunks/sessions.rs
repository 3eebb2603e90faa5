//! Sessions: a server registers, opens its stream of commands, beats, and goes.
//!
//! A session belongs to one term of one master. Nothing is asked of a server before the report of
//! the session is complete: a command and a report never cross.

use super::detector::{Signal, State};
use super::rollback::{is_plausible, rolled_back};
use super::servers::{MAX_SERVERS, Report, Server, Session};
use super::{Chunks, Now, Outbox};
use crate::brain::{Response, SessionId, Token};
use gfs_proto::v1 as pb;
use gfs_types::{
    ChunkHandle, ClusterId, ErrorCode, GfsError, PROTOCOL_VERSION, ServerNumber, ServerUuid,
};
use std::collections::BTreeMap;

/// What a registration may hold.
const MAX_ADDRESSES: usize = 8;
const MAX_VOLUMES: usize = 64;
const MAX_TEXT: usize = 256;
/// Sessions of one term: their ids are `epoch << 32 | n`, so that none is taken for one of another
/// term.
const SESSION_BITS: u32 = 32;

impl Chunks {
    /// A server registers; mints its number if it is new. Answered through [`Outbox::replies`].
    /// A session that the same server had before ends.
    pub fn register(
        &mut self,
        now: Now,
        token: Token,
        request: &pb::RegisterRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) {
        let reply = self
            .try_register(now, request, counters, out)
            .map(Response::Register)
            .map_err(pb::ErrorDetail::from);
        out.replies.push((token, reply));
        self.settle(now, out);
    }

    fn try_register(
        &mut self,
        now: Now,
        request: &pb::RegisterRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) -> Result<pb::RegisterResponse, GfsError> {
        let uuid = self.check(request)?;
        if !is_plausible(request.highest_handle, counters) {
            let text = format!("no master ever made chunk {:016x}", request.highest_handle);
            return Err(GfsError::invalid(text));
        }
        self.heard_sequence = self.heard_sequence.max(request.commit_sequence);
        let sequence = self.commit_sequence.max(self.forgiven_sequence);
        if let Some(why) = rolled_back(request, self.epoch, sequence, counters) {
            self.enter_rollback(&why, out);
            counters.handle = counters.handle.max(request.highest_handle.saturating_add(1));
        }
        let number = match self.servers.by_uuid(uuid) {
            Some(number) => number,
            None => self.admit(now, uuid, request, counters, out)?,
        };
        self.end_session(now, number, out);

        self.last_session += 1;
        let id = SessionId(self.epoch << SESSION_BITS | self.last_session);
        self.servers.bind(id, number);
        let Some(server) = self.servers.get_mut(number) else {
            return Err(GfsError::new(ErrorCode::Internal, "the server is not in the table"));
        };
        let place = request.place.clone().unwrap_or_default();
        if server.addresses != request.addresses || server.place != place {
            server.addresses.clone_from(&request.addresses);
            server.place = place;
            out.touched_servers.push(number);
        }
        let rebooted = server.booted(&request.boot_id, ChunkHandle(counters.handle.max(1)));
        if rebooted {
            out.touched_servers.push(number);
        }
        let failed = server.take_volumes(request.volumes.clone());
        out.notes.extend(failed.map(|text| (true, text)));
        server.software.clone_from(&request.software);
        server.session = Some(Session {
            id,
            opened: now.mono,
            commands_open: false,
            report: Report::Awaited,
            pending: BTreeMap::new(),
            deleting: 0,
        });
        if let Some(state) = server.watch.on(Signal::Registered, now) {
            self.server_changed(now, number, state, out);
        }
        if rebooted {
            self.fail_in_changes(now, number, "it was started anew", out);
        }
        Ok(pb::RegisterResponse {
            cluster_id: self.config.cluster_id.to_bytes().to_vec().into(),
            server: number.0,
            session: id.0,
            epoch: self.epoch,
            commit_sequence: self.commit_sequence,
            heartbeat_ms: self.config.heartbeat_ms,
            stale_read_limit_ms: self.config.stale_read_limit_ms,
            chunk_size: self.config.chunk_size,
            leader: true,
        })
    }

    /// Whether this may register at all.
    fn check(&self, request: &pb::RegisterRequest) -> Result<ServerUuid, GfsError> {
        if request.protocol_version != PROTOCOL_VERSION {
            return Err(GfsError::new(
                ErrorCode::WrongProtocol,
                format!(
                    "the server speaks protocol version {}, the master {PROTOCOL_VERSION}; run the \
                     same release",
                    request.protocol_version
                ),
            ));
        }
        if !request.cluster_id.is_empty() {
            let theirs = ClusterId::from_slice(&request.cluster_id)
                .ok_or_else(|| GfsError::invalid("the cluster id is not 16 bytes"))?;
            if theirs != self.config.cluster_id {
                return Err(GfsError::new(
                    ErrorCode::WrongCluster,
                    format!(
                        "the server's volume belongs to cluster {theirs}, this is cluster {}; \
                         nothing was touched",
                        self.config.cluster_id
                    ),
                ));
            }
        }
        let uuid = ServerUuid::from_slice(&request.server_uuid)
            .ok_or_else(|| GfsError::invalid("the server uuid is not 16 bytes, or zero"))?;
        let place = request.place.clone().unwrap_or_default();
        let texts = [&place.node, &place.zone, &place.pod, &place.pod_uid, &request.software];
        let sound = !request.addresses.is_empty()
            && request.addresses.len() <= MAX_ADDRESSES
            && request.addresses.iter().all(|a| !a.is_empty() && a.len() <= MAX_TEXT)
            && request.volumes.len() <= MAX_VOLUMES
            && request
                .volumes
                .iter()
                .all(|v| v.failing.len() <= MAX_TEXT && v.dir.len() <= MAX_TEXT)
            && request.boot_id.len() <= MAX_TEXT
            && texts.into_iter().all(|t| t.len() <= MAX_TEXT);
        if !sound {
            return Err(GfsError::invalid(
                "a server registers with 1 to 8 addresses, at most 64 volumes, and texts of at most \
                 256 bytes",
            ));
        }
        Ok(uuid)
    }

    /// Gives a new server its number.
    fn admit(
        &mut self,
        now: Now,
        uuid: ServerUuid,
        request: &pb::RegisterRequest,
        counters: &mut pb::Counters,
        out: &mut Outbox,
    ) -> Result<ServerNumber, GfsError> {
        let number = ServerNumber(counters.server.max(1));
        if number.0 > MAX_SERVERS {
            return Err(GfsError::new(
                ErrorCode::ResourceExhausted,
                format!("the cluster has given out all of its {MAX_SERVERS} server numbers"),
            ));
        }
        counters.server = number.0 + 1;
        let record = pb::ServerRecord {
            uuid: uuid.to_bytes().to_vec().into(),
            addresses: request.addresses.clone(),
            place: request.place.clone(),
            ..pb::ServerRecord::default()
        };
        self.servers.insert(Server::new(number, &record, now));
        out.touched_servers.push(number);
        out.notes.push((false, format!("server {number} ({uuid}) is new")));
        Ok(number)
    }

    /// Commands may be sent.
    pub fn commands_open(&mut self, now: Now, session: SessionId, out: &mut Outbox) {
        let Some(number) = self.servers.by_session(session) else {
            out.ended.push(session);
            return;
        };
        if let Some(open) = self.servers.get_mut(number).and_then(|s| s.session.as_mut()) {
            open.commands_open = true;
        }
        self.server_usable(now, number, out);
        self.settle(now, out);
    }

    /// A stream of the session broke: the session is over. The server registers again, or is dead
    /// soon.
    pub fn session_broken(&mut self, now: Now, session: SessionId, out: &mut Outbox) {
        let Some(number) = self.servers.by_session(session) else { return };
        self.end_session(now, number, out);
        if let Some(server) = self.servers.get_mut(number)
            && let Some(state) = server.watch.on(Signal::Broken, now)
        {
            self.server_changed(now, number, state, out);
        }
        self.settle(now, out);
    }

    /// Ends the session of a server, if it has one. What was sent in it is lost.
    pub(super) fn end_session(&mut self, now: Now, number: ServerNumber, out: &mut Outbox) {
        let Some(server) = self.servers.get_mut(number) else { return };
        server.left_out.clear();
        let Some(session) = server.session.take() else { return };
        self.servers.unbind(session.id);
        self.grants_owed.retain(|(server, _)| *server != number);
        out.ended.push(session.id);
        self.lost(now, number, session.pending.into_values(), out);
    }

    /// Ends the sessions of servers that beat and do not hear their commands: they register again,
    /// over new streams, or fall silent.
    pub(super) fn end_deaf_sessions(&mut self, now: Now, out: &mut Outbox) {
        let deaf: Vec<ServerNumber> =
            self.servers.iter().filter(|s| s.is_deaf(now)).map(|s| s.number).collect();
        for number in deaf {
            out.notes.push((
                false,
                format!("server {number} beats and does not answer: its session is ended"),
            ));
            self.end_session(now, number, out);
        }
    }

    /// A heartbeat; answered through [`Outbox::beats`].
    pub fn heartbeat(
        &mut self,
        now: Now,
        session: SessionId,
        beat: &pb::Heartbeat,
        out: &mut Outbox,
    ) {
        let mut reply = pb::HeartbeatReply {
            sequence: beat.sequence,
            epoch: self.epoch,
            commit_sequence: self.commit_sequence,
            leader: true,
            stale_session: false,
            left_out: Vec::new(),
        };
        let found = self.servers.by_session(session);
        let Some(server) = found.and_then(|number| self.servers.get_mut(number)) else {
            reply.stale_session = true;
            out.beats.push((session, reply));
            return;
        };
        if beat.volumes.len() <= MAX_VOLUMES {
            let mut volumes = beat.volumes.clone();
            for volume in &mut volumes {
                if volume.failing.len() > MAX_TEXT {
                    volume.failing = "the server's reason is too long to keep".into();
                }
                if volume.dir.len() > MAX_TEXT {
                    volume.dir.clear();
                }
            }
            out.notes.extend(server.take_volumes(volumes).map(|text| (true, text)));
        }
        server.streams = beat.streams;
        reply.left_out = std::mem::take(&mut server.left_out);
        out.beats.push((session, reply));
        let number = server.number;
        let was_live = server.watch.is_live();
        let change = server.watch.on(Signal::Beat { leaving: beat.leaving }, now);
        let back = !was_live && server.watch.is_live();
        if let Some(state) = change {
            self.server_changed(now, number, state, out);
        }
        if back {
            self.server_usable(now, number, out);
        }
        self.settle(now, out);
    }

    /// The detector changed the state of a server.
    pub(super) fn server_changed(
        &mut self,
        now: Now,
        number: ServerNumber,
        state: State,
        out: &mut Outbox,
    ) {
        let reason = self.servers.get(number).map_or("", |s| s.watch.reason);
        match state {
            State::Dead => self.verdicts.push(number),
            State::Alive => out.notes.push((false, format!("server {number} is alive"))),
            State::Maintenance => {
                out.notes.push((false, format!("server {number} is in maintenance: {reason}")));
            }
            State::Suspect | State::NotHeard => {}
        }
        if state == State::Dead {
            self.pronounce(now, out);
        }
    }

    /// A server takes commands again, or its report is complete: what waited for it goes on.
    pub(super) fn server_usable(&mut self, now: Now, number: ServerNumber, out: &mut Outbox) {
        self.send_owed_grants(number, out);
        if self.is_usable(number) {
            self.retry_stuck();
            self.retry_changes(now, out);
        }
    }

    /// What Kubernetes says of the pods. Matched by pod UID; a pod without one says nothing.
    pub fn set_pod_states(&mut self, now: Now, states: &pb::SetPodStatesRequest, out: &mut Outbox) {
        let by_uid: BTreeMap<&str, &pb::PodState> = states
            .pods
            .iter()
            .filter(|p| !p.pod_uid.is_empty())
            .map(|p| (p.pod_uid.as_str(), p))
            .collect();
        let mut changed = Vec::new();
        for server in self.servers.iter_mut().filter(|s| !s.place.pod_uid.is_empty()) {
            let signal = match by_uid.get(server.place.pod_uid.as_str()) {
                Some(pod) => {
                    let texts = [&pod.node, &pod.zone];
                    if texts.iter().all(|t| t.len() <= MAX_TEXT) {
                        for (ours, theirs) in [
                            (&mut server.place.node, &pod.node),
                            (&mut server.place.zone, &pod.zone),
                        ] {
                            if !theirs.is_empty() && ours != theirs {
                                ours.clone_from(theirs);
                                out.touched_servers.push(server.number);
                            }
                        }
                    }
                    if pod.deleted { Signal::PodDeleted } else { Signal::PodSeen }
                }
                None if states.complete => Signal::PodDeleted,
                None => continue,
            };
            if let Some(state) = server.watch.on(signal, now) {
                changed.push((server.number, state));
            }
        }
        for (number, state) in changed {
            self.server_changed(now, number, state, out);
        }
        self.settle(now, out);
    }

    /// Announces that a server goes away for a short time, or takes that back. Returns how many
    /// chunks have no other live copy.
    ///
    /// # Errors
    /// `NotFound` if there is no such server.
    pub fn set_maintenance(
        &mut self,
        now: Now,
        number: ServerNumber,
        on: bool,
        out: &mut Outbox,
    ) -> Result<u64, GfsError> {
        let server = self.servers.get_mut(number).ok_or_else(|| {
            GfsError::new(ErrorCode::NotFound, format!("there is no server {number}"))
        })?;
        let signal = if on { Signal::MaintenanceSet } else { Signal::MaintenanceTakenBack };
        if let Some(state) = server.watch.on(signal, now) {
            self.server_changed(now, number, state, out);
        }
        let alone = self.table.iter().filter(|(_, slot)| {
            slot.holds(number) && !slot.holders().any(|s| s != number && self.is_live(s))
        });
        let alone = alone.count() as u64;
        self.settle(now, out);
        Ok(alone)
    }
}
