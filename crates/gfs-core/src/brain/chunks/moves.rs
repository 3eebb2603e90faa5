//! Moving copies away from where they should not stay, while every copy is there: the planner of
//! decommission, and of goals that were lowered (then nothing is copied, the surplus goes); and how
//! what `balance` decides is carried out. A move never lowers the number of good copies:
//!
//! 1. A clone is made elsewhere, under the limits of repair and after all repair (see `repair`).
//! 2. A version change takes it in and leaves out the one that goes (see `change`), which is stale
//!    from then on. If the copies that go are all there is, one stays for that change and goes in
//!    the next.
//! 3. The stale replica is deleted as any other, when as many good ones as the goal says were
//!    reported (see `strays`).
//!
//! Nothing of this is persisted but the mark of the server, and the goal with the file: a new leader
//! finds the members that are to go, and goes on.

use super::placement::{Lack, clone_room, load, mix};
use super::repair::{MAX_CHANGES, Seen};
use super::servers::Server;
use super::strays::StrayKind;
use super::table::{Health, MAX_MEMBERS, Slot};
use super::{Chunks, Now, Outbox};
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ErrorCode, GfsError, ServerNumber};
use smallvec::SmallVec;

/// In the queue, where nothing lacks and copies are to move: the last ones.
pub(super) const MOVING: u8 = 220;
/// Pages of the table (64 chunks each) searched in one event.
const SWEPT_PAGES: usize = 4_096;

/// What a server is listed with in the table, as a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) chunks: u64,
    /// As recorded.
    pub(super) bytes: u64,
}

/// Members of one chunk.
pub(super) type Members = SmallVec<[ServerNumber; 4]>;

impl Chunks {
    /// Has a server emptied, or takes that back. Returns of how many chunks it is a member.
    /// `least`: servers that must stay for the sake of new files.
    ///
    /// # Errors
    /// `NotFound` if there is no such server. `InvalidArgument` if the servers that stay are too
    /// few for the goals of its chunks or have too little room, unless `force`.
    pub fn set_drain(
        &mut self,
        now: Now,
        number: ServerNumber,
        drain: bool,
        force: bool,
        least: u8,
        out: &mut Outbox,
    ) -> Result<u64, GfsError> {
        let missing = || GfsError::new(ErrorCode::NotFound, format!("there is no server {number}"));
        let server = self.servers.get(number).filter(|s| !s.decommissioned).ok_or_else(missing)?;
        let changes = server.draining != drain;
        if changes && drain && !force {
            self.can_do_without(number, least)?;
        }
        if changes && let Some(server) = self.servers.get_mut(number) {
            server.draining = drain;
            server.no_target = None;
            out.touched_servers.push(number);
            let what = if drain { "is being drained" } else { "is drained no more" };
            out.notes.push((false, format!("server {number} {what}")));
            self.search_moves();
            self.abandon_moves(now);
            // Clones that are not wanted any more.
            let cloning: Vec<ChunkHandle> = self.clones.keys().map(|(handle, _)| *handle).collect();
            for handle in cloning {
                self.refresh(now, handle);
            }
            self.find_moves(now);
        }
        self.settle(now, out);
        Ok(self.listed(number))
    }

    /// Whether the other servers can hold what this one does.
    fn can_do_without(&self, number: ServerNumber, least: u8) -> Result<(), GfsError> {
        let (mut needed, mut bytes) = (least, 0u64);
        for (_, slot) in self.table.iter().filter(|(_, slot)| slot.is_member(number)) {
            needed = needed.max(slot.copies);
            bytes = bytes.saturating_add(u64::from(slot.length));
        }
        let mut others = 0;
        let mut room = 0u64;
        for server in self.servers.registered() {
            let stays = server.number != number && !server.draining && !server.is_stuck();
            if stays && !self.is_dead(server.number) {
                others += 1;
                room = room.saturating_add(clone_room(server));
            }
        }
        if others < usize::from(needed) {
            return Err(GfsError::invalid(format!(
                "without server {number} there are {others} servers, and goals of up to {needed} \
                 copies: add servers, lower the goal, or force it"
            )));
        }
        if bytes > room && !self.caution.is_cold() {
            return Err(GfsError::invalid(format!(
                "server {number} holds {bytes} bytes, the others have room for {room}: add servers, \
                 or force it"
            )));
        }
        Ok(())
    }

    /// Members that are to go: those on draining servers, the one that the balancer wants elsewhere,
    /// those that are not sound, and of what is above the goal then, first what shares its node or zone with another copy, then
    /// what is on the busiest server.
    pub(super) fn leavers(&self, handle: ChunkHandle, slot: &Slot) -> Members {
        let planned = self.planned_move(handle).map(|planned| planned.from);
        let goes = |server: &ServerNumber| {
            self.is_drained(*server)
                || planned == Some(*server)
                || self.is_unsound(handle, slot, *server)
        };
        let mut leaving: Members = slot.members().filter(goes).collect();
        let mut staying: Members = slot.holders().filter(|s| !leaving.contains(s)).collect();
        while staying.len() > usize::from(slot.copies) && !self.rollback {
            let place = |s: ServerNumber| self.servers.get(s).map(|s| &s.place);
            let same = |a: &str, b: &str| !a.is_empty() && a == b;
            let rank = |s: &ServerNumber| {
                let others = || staying.iter().filter(move |other| *other != s);
                let shares = |of: fn(&pb::Place) -> &str| {
                    let here = place(*s).map_or("", of);
                    others().filter(|o| same(here, place(**o).map_or("", of))).count()
                };
                let is_primary = slot.lease && slot.first() == Some(*s);
                let busy = self.servers.get(*s).map_or(0, load);
                (shares(|p| &p.node), shares(|p| &p.zone), !is_primary, busy, mix(handle, *s))
            };
            let Some(at) = (0..staying.len()).max_by_key(|at| staying.get(*at).map(rank)) else {
                break;
            };
            leaving.push(staying.remove(at));
        }
        leaving
    }

    /// Whether a member has a copy at the chunk's version that is damaged or in doubt: where nothing
    /// lacks (the goal was lowered), it is no member any more before it can be deleted.
    fn is_unsound(&self, handle: ChunkHandle, slot: &Slot, server: ServerNumber) -> bool {
        slot.strays
            && self.strays.get(&(handle, server)).is_some_and(|stray| {
                !slot.holds(server) && stray.complete.max(stray.promised) >= slot.version
            })
    }

    fn is_drained(&self, server: ServerNumber) -> bool {
        self.servers.get(server).is_some_and(|s| s.draining)
    }

    /// The goal of the chunk's file changed: copies are made, or the surplus goes. The caller
    /// persists the goal.
    pub fn set_copies(&mut self, now: Now, handle: ChunkHandle, copies: u8) {
        if let Some(slot) = self.table.get_mut(handle) {
            slot.copies = copies.clamp(1, MAX_MEMBERS as u8);
            self.refresh(now, handle);
        }
    }

    /// How many servers there are for the copies of a chunk: known ones that are neither dead nor
    /// drained.
    #[must_use]
    pub fn servers_for_copies(&self) -> usize {
        let there = |s: &&Server| !s.draining && !self.is_dead(s.number);
        self.servers.registered().filter(there).count()
    }

    /// Whether copies of the chunk, of which none lacks, are to move.
    pub(super) fn is_moving(&self, handle: ChunkHandle, slot: &Slot) -> bool {
        !self.caution.is_cold()
            && slot.health() == Health::Full
            && ((slot.good() > slot.copies && !self.rollback)
                || (slot.strays && slot.members().any(|s| self.is_unsound(handle, slot, s)))
                || slot.members().any(|s| self.is_drained(s))
                || self.planned_move(handle).is_some_and(|p| slot.is_member(p.from)))
    }

    /// The table is to be searched for what is to move, or not any more.
    pub(super) fn search_moves(&mut self) {
        self.moves_from = Some(ChunkHandle(0));
    }

    /// Goes on with the search, a bounded step.
    pub(super) fn find_moves(&mut self, now: Now) {
        let Some(from) = self.moves_from.take() else { return };
        let (slots, next) = self.table.scan(from, SWEPT_PAGES);
        let concerned: Vec<ChunkHandle> = slots
            .filter(|(handle, slot)| slot.queued == MOVING || self.is_moving(*handle, slot))
            .map(|(handle, _)| handle)
            .collect();
        self.moves_from = next;
        for handle in concerned {
            self.refresh(now, handle);
        }
    }

    /// Does the next thing for a chunk of which copies are to move.
    pub(super) fn move_on(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        slot: &Slot,
        out: &mut Outbox,
    ) -> Seen {
        if self.is_set_back(now, handle) {
            return Seen::Busy;
        }
        if self.changes.contains_key(&handle) {
            // Its end brings the chunk back.
            return Seen::Settled;
        }
        let leaving = self.leavers(handle, slot);
        // What is left elsewhere of former times stands in the way.
        self.clean(now, handle, out);
        if leaving.is_empty() {
            self.cancel_clones(handle, out);
            return Seen::Settled;
        }
        let staying: Members = slot.holders().filter(|s| !leaving.contains(s)).collect();
        if staying.iter().any(|s| !self.is_usable(*s)) {
            // A change now would leave it out.
            return Seen::Busy;
        }
        let ready = self.strays_of(handle).filter(|(server, stray)| {
            stray.kind == StrayKind::Filled
                && !stray.deleting
                && stray.not_before <= now.mono
                && self.is_usable(*server)
        });
        let ready = ready.count();
        let goal = usize::from(slot.copies);
        let mut copying = self.clones_of(handle).count();
        let mut lack = None;
        for _ in staying.len() + ready + copying..goal {
            match self.start_clone(now, handle, slot, &leaving, out) {
                Ok(()) => copying += 1,
                Err(Lack::Busy) => return Seen::Crowded,
                Err(why) => {
                    lack = Some(why);
                    break;
                }
            }
        }
        if copying > 0 {
            return Seen::Settled;
        }
        if ready == 0 && staying.len() < goal {
            for server in leaving {
                if let Some(server) = self.servers.get_mut(server) {
                    server.no_target = lack;
                }
            }
            return Seen::Stuck;
        }
        if self.changes.len() >= MAX_CHANGES {
            return Seen::Crowded;
        }
        self.begin_leave(now, handle, leaving, out);
        if self.changes.contains_key(&handle) {
            return Seen::Settled;
        }
        self.set_back(now, handle);
        Seen::Busy
    }

    // ---- what people see

    /// Of how many chunks the server is a member.
    pub(super) fn listed(&self, server: ServerNumber) -> u64 {
        self.listed.get(server.0 as usize).map_or(0, |listed| listed.chunks)
    }

    /// Bytes of these chunks, as recorded.
    pub(super) fn stored(&self, server: ServerNumber) -> u64 {
        self.listed.get(server.0 as usize).map_or(0, |listed| listed.bytes)
    }

    /// Records how long a chunk is.
    pub(super) fn set_length(&mut self, handle: ChunkHandle, length: u32) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        let before = *slot;
        slot.length = length;
        let after = *slot;
        self.list(&before, false);
        self.list(&after, true);
    }

    /// Counts the members of a chunk, or no more.
    pub(super) fn list(&mut self, slot: &Slot, up: bool) {
        let bytes = u64::from(slot.length);
        for member in slot.members() {
            let at = member.0 as usize;
            if self.listed.len() <= at {
                self.listed.resize(at + 1, Listed::default());
            }
            if let Some(listed) = self.listed.get_mut(at) {
                let Listed { chunks: n, bytes: b } = *listed;
                *listed = if up {
                    Listed { chunks: n + 1, bytes: b.saturating_add(bytes) }
                } else {
                    Listed { chunks: n.saturating_sub(1), bytes: b.saturating_sub(bytes) }
                };
            }
        }
    }

    /// Whether some server is being drained.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.servers.registered().any(|s| s.draining)
    }

    /// Whether a draining server can be taken away for good: no chunk lists it, and no chunk that
    /// lacks copies has even a stale replica there.
    pub(super) fn may_be_removed(&self, server: &Server) -> bool {
        let wanted = || {
            self.strays.keys().any(|(handle, on)| {
                *on == server.number
                    && self.table.get(*handle).is_some_and(|slot| slot.health() != Health::Full)
            })
        };
        server.draining
            && self.listed(server.number) == 0
            && !self.rollback
            && !self.caution.is_cold()
            && !wanted()
    }

    /// Fills in how far the draining of a server has come.
    pub(super) fn drain_status(&self, server: &Server, status: &mut pb::ServerStatus) {
        if !server.draining {
            return;
        }
        status.draining = true;
        status.chunks_left = self.listed(server.number);
        status.may_be_removed = self.may_be_removed(server);
        let stuck = match server.no_target.filter(|_| status.chunks_left > 0) {
            Some(Lack::Space) => "the other servers are full",
            Some(_) => "no other server can take a copy",
            None => "",
        };
        status.drain_stuck = stuck.into();
        let left = status.chunks_left;
        let how_far = if status.may_be_removed {
            "drained: may be removed".to_owned()
        } else if stuck.is_empty() {
            format!("draining: {left} chunks left")
        } else {
            format!("draining is stuck with {left} chunks left: {stuck}")
        };
        let beats = status.state() == pb::ServerState::Draining;
        status.reason = if beats { how_far } else { format!("{}; {how_far}", status.reason) };
    }
}
