//! Replicas that exist and do not count: stale, not verified, damaged, or filled by a clone and
//! not yet part of the chunk.
//!
//! None is deleted unless as many live, current copies exist as the goal says, reported in the
//! present sessions of their servers, and nothing forbids deleting at all (cold start, rollback).
//! A delete names a number below the chunk's version, so that it can never hit a current replica.

use super::change::Answer;
use super::servers::Purpose;
use super::{Chunks, Now, Outbox};
use crate::mistakes::Mistake;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ErrorCode, Millis, ServerNumber};

/// Deletes that one server is given at a time.
pub(super) const MAX_DELETES: usize = 64;

/// Why it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayKind {
    /// Behind, or its server is no member.
    Stale,
    /// At the chunk's version, and not known to be on disk after a power loss.
    Suspect,
    /// At the chunk's version, and some blocks do not match their checksums.
    Damaged,
    /// Copied from a current one by a clone.
    Filled,
}

/// A replica that does not count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stray {
    pub(super) kind: StrayKind,
    pub(super) complete: u64,
    pub(super) promised: u64,
    /// A Delete is under way.
    pub(super) deleting: bool,
    /// It could not be used or deleted: not again before.
    pub(super) not_before: Millis,
}

impl Stray {
    pub(super) fn new(kind: StrayKind, complete: u64, promised: u64) -> Self {
        Self { kind, complete, promised, deleting: false, not_before: Millis::default() }
    }
}

impl Chunks {
    /// The strays of a chunk, in order of their servers.
    pub(super) fn strays_of(
        &self,
        handle: ChunkHandle,
    ) -> impl Iterator<Item = (ServerNumber, &Stray)> {
        let range = (handle, ServerNumber(0))..=(handle, ServerNumber(u32::MAX));
        self.strays.range(range).map(|((_, server), stray)| (*server, stray))
    }

    pub(super) fn add_stray(&mut self, handle: ChunkHandle, server: ServerNumber, stray: Stray) {
        if let Some(slot) = self.table.get_mut(handle) {
            slot.strays = true;
            self.strays.insert((handle, server), stray);
        }
    }

    pub(super) fn remove_stray(&mut self, handle: ChunkHandle, server: ServerNumber) {
        if self.strays.remove(&(handle, server)).is_some() {
            let left = self.strays_of(handle).next().is_some();
            if let Some(slot) = self.table.get_mut(handle) {
                slot.strays = left;
            }
        }
    }

    /// Nothing is known of the server's strays any more (it died, or reports anew).
    pub(super) fn forget_strays_of(&mut self, server: ServerNumber) {
        let of: Vec<ChunkHandle> =
            self.strays.keys().filter(|(_, s)| *s == server).map(|(handle, _)| *handle).collect();
        for handle in of {
            self.remove_stray(handle, server);
        }
    }

    /// A server turns out to have a replica that nobody counted on.
    pub(super) fn found_stale(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        complete: u64,
        promised: u64,
    ) {
        let held = self.table.get(handle).is_none_or(|slot| slot.holds(server));
        if !held && !self.strays.contains_key(&(handle, server)) {
            self.add_stray(handle, server, Stray::new(StrayKind::Stale, complete, promised));
            self.refresh(now, handle);
        }
    }

    /// The server's own finding: its replica is damaged, or gone.
    pub(super) fn found_damaged(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        state: &pb::ReplicaState,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.table.get(handle).filter(|slot| slot.holds(server)) else { return };
        if state.complete != 0 && ![state.complete, state.promised].contains(&slot.version) {
            // A finding about a version that is over: the change has brought the replica in line.
            return;
        }
        self.set_holds(handle, server, false);
        if state.complete != 0 {
            let stray = Stray::new(StrayKind::Damaged, state.complete, state.promised);
            self.add_stray(handle, server, stray);
        } else {
            self.forgotten(handle, server, out);
        }
        if slot.lease && slot.first() == Some(server) && state.complete == 0 {
            self.set_lease(handle, false);
        }
        let what = if state.complete == 0 { "lost" } else { "damaged" };
        let last = slot.good() == 1;
        out.notes.push((
            last,
            format!(
                "chunk {handle}: the copy on server {server} is {what}{}",
                if last { "; there is no other good copy now" } else { "" }
            ),
        ));
        let fresh = self.table.get(handle).unwrap_or(slot);
        self.incidents.damage(now, server, handle, &fresh, what);
        self.refresh(now, handle);
        // What it answered in a change under way does not hold any more.
        if let Some(next) = self.changes.get(&handle).and_then(|change| change.asks(server)) {
            self.member_failed(now, handle, server, next, "its copy is damaged", out);
        }
    }

    /// A server lost a replica that it is known to have had.
    pub(super) fn forgotten(
        &mut self,
        handle: ChunkHandle,
        server: ServerNumber,
        out: &mut Outbox,
    ) {
        if self.servers.get_mut(server).is_some_and(|s| s.forgot(handle)) {
            out.touched_servers.push(server);
        }
    }

    /// Copies that can be relied on now: reported in the present sessions of servers that beat.
    pub(super) fn reliable(&self, handle: ChunkHandle) -> usize {
        let believed = self.config.mistakes.has(Mistake::CountsSuspectsAsLive);
        self.table.get(handle).map_or(0, |slot| {
            slot.holders().filter(|s| self.is_live(*s) || (believed && !self.is_dead(*s))).count()
        })
    }

    /// Deletes the strays of a chunk that can go now. Whether all are gone or on their way.
    pub(super) fn clean(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) -> bool {
        let Some(slot) = self.table.get(handle).filter(|slot| slot.strays) else { return true };
        if self.changes.contains_key(&handle) {
            return false;
        }
        let mut good = self.reliable(handle);
        if self.config.mistakes.has(Mistake::TrimsBeforeTheCloneIsVerified) {
            good += self.clones_of(handle).count();
        }
        let enough = self.deletes_allowed() && good >= usize::from(slot.copies);
        let mut done = true;
        let strays: Vec<_> = self.strays_of(handle).map(|(s, stray)| (s, *stray)).collect();
        let moving = self.is_moving(handle, &slot);
        for (server, stray) in strays {
            if stray.deleting || (moving && stray.kind == StrayKind::Filled) {
                continue;
            }
            let sent =
                enough && stray.not_before <= now.mono && self.delete_stray(handle, server, out);
            done &= sent;
        }
        done
    }

    /// Sends the Delete of a stray. The caller has made sure that it may go.
    pub(super) fn delete_stray(
        &mut self,
        handle: ChunkHandle,
        server: ServerNumber,
        out: &mut Outbox,
    ) -> bool {
        let Some(slot) = self.table.get(handle) else { return false };
        let Some(stray) = self.strays.get(&(handle, server)).copied() else { return false };
        // A damaged replica is at the very version of the chunk: it leaves the members first.
        if slot.is_member(server) && stray.complete.max(stray.promised) >= slot.version {
            return false;
        }
        let room = self
            .servers
            .get(server)
            .and_then(|s| s.session.as_ref())
            .is_some_and(|s| s.deleting < MAX_DELETES);
        let delete = pb::Delete { version: slot.version - 1 };
        if !room || !self.send(server, handle, Purpose::DeleteStray, Body::Delete(delete), out) {
            return false;
        }
        if let Some(stray) = self.strays.get_mut(&(handle, server)) {
            stray.deleting = true;
        }
        true
    }

    /// A Delete of a stray was carried out, or refused.
    pub(super) fn stray_deleted(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        error: Option<&pb::ErrorDetail>,
    ) {
        match error.map(pb::ErrorDetail::error_code) {
            None | Some(ErrorCode::UnknownChunk) => self.remove_stray(handle, server),
            Some(_) => {
                if let Some(stray) = self.strays.get_mut(&(handle, server)) {
                    stray.deleting = false;
                    stray.not_before = now.mono + Millis(5_000);
                }
            }
        }
        self.refresh(now, handle);
    }

    /// What a member answered shows what kind of replica it is, should it stay out of the change.
    pub(super) fn stray_of(answer: &Answer, version: u64, promised: u64) -> Stray {
        let kind = if answer.complete != version {
            StrayKind::Stale
        } else if answer.damaged {
            StrayKind::Damaged
        } else {
            StrayKind::Suspect
        };
        Stray::new(kind, answer.complete, promised)
    }
}
