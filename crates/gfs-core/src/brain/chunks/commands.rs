//! Commands to servers and what comes back: results matched by id, and notices.

use super::servers::{Pending, Purpose};
use super::strays::StrayKind;
use super::{Chunks, Now, Outbox};
use crate::brain::SessionId;
use crate::mistakes::Mistake;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ClientId, ErrorCode, Millis, ServerNumber};

impl Chunks {
    /// Sends a command to a server. Whether it could be sent.
    pub(super) fn send(
        &mut self,
        server: ServerNumber,
        handle: ChunkHandle,
        purpose: Purpose,
        body: Body,
        out: &mut Outbox,
    ) -> bool {
        let Some(server) = self.servers.get_mut(server).filter(|s| s.takes_commands()) else {
            return false;
        };
        let Some(session) = server.session.as_mut() else { return false };
        self.last_command += 1;
        let id = self.last_command;
        session.pending.insert(id, Pending { handle, purpose, sent: self.last_tick });
        session.deleting +=
            usize::from(matches!(purpose, Purpose::DeleteGarbage | Purpose::DeleteStray));
        let command = pb::Command { id, epoch: self.epoch, handle: handle.0, body: Some(body) };
        out.sends.push((session.id, command));
        true
    }

    /// Sends the Grant of the chunk's present version to one of its members.
    pub(super) fn send_grant(
        &mut self,
        server: ServerNumber,
        handle: ChunkHandle,
        out: &mut Outbox,
    ) -> bool {
        let Some(slot) = self.table.get(handle) else { return false };
        let grant = pb::Grant {
            version: slot.version,
            members: self.locations(slot.members()),
            lease: slot.lease,
            inode: slot.inode,
            index: slot.index,
            start: self.table.start(handle, &slot),
            length: slot.length,
            goal: Some(copies(slot.copies)),
            durability: slot.durability() as i32,
            sealed: slot.sealed && !slot.lease,
            min_copies: u32::from(self.min_copies(slot.copies)),
            cut: slot.sealed,
            limit: if slot.is_capped() { slot.length } else { 0 },
        };
        let purpose = Purpose::Grant { version: slot.version };
        self.send(server, handle, purpose, Body::Grant(grant), out)
    }

    /// Repeats the Grants to a server whose results nobody heard.
    pub(super) fn send_owed_grants(&mut self, server: ServerNumber, out: &mut Outbox) {
        let range = (server, ChunkHandle(0))..=(server, ChunkHandle(u64::MAX));
        let owed: Vec<ChunkHandle> = self.grants_owed.range(range).map(|(_, h)| *h).collect();
        for handle in owed {
            let member = self.table.get(handle).is_some_and(|slot| slot.is_member(server));
            if !member || self.send_grant(server, handle, out) {
                self.grants_owed.remove(&(server, handle));
            }
        }
    }

    /// A command was carried out or refused. What does not answer a command under way is ignored:
    /// it comes twice, or from an older term or session.
    pub fn result(
        &mut self,
        now: Now,
        session: SessionId,
        result: &pb::CommandResult,
        out: &mut Outbox,
    ) {
        let Some(number) = self.servers.by_session(session) else { return };
        let current = result.epoch == self.epoch
            || self.config.mistakes.has(Mistake::AcceptsResultsOfOlderEpochs);
        if !current {
            return;
        }
        let Some(server) = self.servers.get_mut(number) else { return };
        let Some(open) = server.session.as_mut().filter(|s| s.id == session) else { return };
        if open.pending.get(&result.id).is_none_or(|p| p.handle.0 != result.handle) {
            return;
        }
        let Some(Pending { handle, purpose, .. }) = open.pending.remove(&result.id) else { return };
        if matches!(purpose, Purpose::DeleteGarbage | Purpose::DeleteStray) {
            open.deleting = open.deleting.saturating_sub(1);
        }
        let state = result.state.as_ref().filter(|state| state.handle == handle.0);
        let outcome = match (&result.error, state) {
            (Some(error), _) => Err(error),
            (None, state) => Ok(state),
        };
        match purpose {
            Purpose::Grant { version } => {
                self.granted(now, handle, number, version, outcome, state);
            }
            Purpose::Prepare { next } => self.prepared(now, handle, number, next, outcome, out),
            Purpose::Equalize { next } => self.equalized(now, handle, number, next, outcome, out),
            Purpose::Clone => self.cloned(now, handle, number, outcome, state, out),
            Purpose::DeleteGarbage => self.garbage_deleted(handle, number, outcome.err(), out),
            Purpose::DeleteStray => self.stray_deleted(now, handle, number, outcome.err()),
            Purpose::Verify => self.verified(now, handle, number, outcome, out),
            Purpose::CancelClone => {
                if let (Err(_), Some(state)) = (outcome, state) {
                    // What the clone began is still there.
                    self.found_stale(now, handle, number, state.complete, state.promised);
                }
            }
            Purpose::Revoke => {}
        }
        self.settle(now, out);
    }

    /// What was sent and not answered when a session ended. The session is gone already.
    pub(super) fn lost(
        &mut self,
        now: Now,
        server: ServerNumber,
        pending: impl Iterator<Item = Pending>,
        out: &mut Outbox,
    ) {
        for Pending { handle, purpose, .. } in pending {
            match purpose {
                Purpose::Prepare { next } | Purpose::Equalize { next } => {
                    self.member_failed(now, handle, server, next, "its session ended", out);
                }
                Purpose::Clone => {
                    self.clone_ended(handle, server);
                    self.refresh(now, handle);
                }
                Purpose::DeleteGarbage => {
                    if let Some(server) = self.servers.get_mut(server) {
                        server.deletes.insert(handle);
                    }
                }
                Purpose::DeleteStray => {
                    if let Some(stray) = self.strays.get_mut(&(handle, server)) {
                        stray.deleting = false;
                    }
                }
                // The next report says what became of it.
                Purpose::Grant { .. }
                | Purpose::CancelClone
                | Purpose::Verify
                | Purpose::Revoke => {}
            }
        }
    }

    /// A Grant was carried out, or not.
    fn granted(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        version: u64,
        outcome: Result<Option<&pb::ReplicaState>, &pb::ErrorDetail>,
        state: Option<&pb::ReplicaState>,
    ) {
        let Some(slot) = self.table.get(handle) else { return };
        if slot.version != version {
            // Too late: the chunk went on without it.
            if outcome.is_ok() && !slot.holds(server) {
                self.found_stale(now, handle, server, version, version);
            }
            return;
        }
        let error = match outcome {
            Ok(_) => {
                // It has promised this version in a change that was committed with it.
                if !slot.holds(server) && !self.strays.contains_key(&(handle, server)) {
                    self.set_holds(handle, server, true);
                    self.refresh(now, handle);
                }
                self.tell_left_out(handle, version);
                return;
            }
            Err(error) => error,
        };
        let stale = error.error_code() == ErrorCode::StaleVersion;
        if stale && state.is_none_or(|state| state.promised >= version) {
            // It went on to another number already: the change under way will say.
            return;
        }
        self.set_holds(handle, server, false);
        if slot.first() == Some(server) {
            self.set_lease(handle, false);
        }
        if let Some(state) = state {
            // It kept what it had, and that does not count: it could not store that it is equal, or
            // it forgot, with the power, that it had promised to be.
            self.found_stale(now, handle, server, state.complete, state.promised);
        }
        let good = self.table.get(handle).map_or(0, |slot| slot.good());
        if !stale && good == 0 && slot.is_member(server) {
            // It is equal all the same, and nobody else is left: it is granted again.
            self.grants_owed.insert((server, handle));
        } else if let Some(stray) = self.strays.get_mut(&(handle, server))
            && error.error_code() == ErrorCode::DiskError
        {
            // Its disk took the promise and not the rest: to take it in once more would only burn
            // numbers. Another copy is made, here after it was deleted if need be.
            stray.kind = StrayKind::Damaged;
            stray.not_before = now.mono + Millis(5_000);
        }
        self.trouble(now, server);
        self.refresh(now, handle);
    }

    /// A server says something unasked.
    pub fn notice(&mut self, now: Now, session: SessionId, notice: &pb::Notice, out: &mut Outbox) {
        let Some(server) = self.servers.by_session(session) else { return };
        let handle = ChunkHandle(notice.handle);
        match &notice.body {
            Some(pb::notice::Body::Damaged(state))
                if self.servers.get(server).is_some_and(|s| s.is_reported()) =>
            {
                self.found_damaged(now, handle, server, state, out);
            }
            // The writer asks for a new version when it needs one; so may readers from now on. Until
            // then others are preferred for new work.
            Some(pb::notice::Body::PrimaryEnded(ended))
                if self
                    .table
                    .get(handle)
                    .is_some_and(|s| s.version == ended.version && s.first() == Some(server)) =>
            {
                self.trouble(now, ServerNumber(ended.unreachable));
                self.set_lease(handle, false);
            }
            Some(pb::notice::Body::WriterVanished(vanished))
                if self.table.get(handle).is_some_and(|s| {
                    s.version == vanished.version && s.lease && s.first() == Some(server)
                }) =>
            {
                out.vanished.push((handle, ClientId(vanished.writer), vanished.length));
            }
            _ => {}
        }
        self.settle(now, out);
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
        let current =
            self.table.get(handle).is_some_and(|s| s.version == version && s.is_member(server));
        let asked = self.servers.get(server).and_then(|s| s.session.as_ref()).is_some_and(|s| {
            s.pending.len() > 1_000
                || s.pending.values().any(|p| p.handle == handle && p.purpose == Purpose::Verify)
        });
        if current && !asked {
            let verify = pb::Verify { version, blocks };
            self.send(server, handle, Purpose::Verify, Body::Verify(verify), out);
        }
        self.settle(now, out);
    }

    /// A server verified a replica.
    fn verified(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        outcome: Result<Option<&pb::ReplicaState>, &pb::ErrorDetail>,
        out: &mut Outbox,
    ) {
        match outcome {
            Ok(Some(state)) if !state.damaged.is_empty() => {
                self.found_damaged(now, handle, server, state, out);
            }
            Err(error)
                if matches!(error.error_code(), ErrorCode::Corrupt | ErrorCode::UnknownChunk) =>
            {
                let gone = error.error_code() == ErrorCode::UnknownChunk;
                let complete = match self.table.get(handle) {
                    Some(slot) if !gone => slot.version,
                    _ => 0,
                };
                let state = pb::ReplicaState { handle: handle.0, complete, ..Default::default() };
                self.found_damaged(now, handle, server, &state, out);
            }
            _ => {}
        }
    }

    /// Others are preferred for a while.
    pub(super) fn trouble(&mut self, now: Now, server: ServerNumber) {
        if let Some(server) = self.servers.get_mut(server) {
            server.trouble_until = now.mono + Millis(5_000);
        }
    }
}

/// The goal as a message.
pub(super) fn copies(copies: u8) -> pb::Goal {
    pb::Goal { kind: Some(pb::goal::Kind::Copies(u32::from(copies))) }
}
