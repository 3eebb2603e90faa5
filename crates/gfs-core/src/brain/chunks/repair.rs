//! The repair planner: which chunk gets a new copy next, from where, to where.
//!
//! Chunks that lack something wait in a queue, those with the fewest copies first and, among
//! equals, those that a client waits for. As many copies run as the limits per server allow; when
//! one ends, the next one starts in the same event. A clone makes a replica that does not count;
//! a version change then takes it in (see `change`), beside the clones of other chunks.

use super::moves::MOVING;
use super::placement::{For, Lack, mix};
use super::servers::{Purpose, Server};
use super::strays::{Stray, StrayKind};
use super::table::{Health, Slot};
use super::{Chunks, Now, Outbox};
use crate::mistakes::Mistake;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ErrorCode, Millis, ServerNumber};

/// Chunks looked at in one event.
const EXAMINED: usize = 1_024;
/// So many chunks in a row that find their servers crowded, and the others are left for the next
/// event: with thousands in the queue, looking at all of them each time one is done would be most
/// of the master's work.
const CROWDED: usize = 128;
/// Version changes that repair may have under way.
pub(super) const MAX_CHANGES: usize = 256;
/// In the queue, where nothing lacks and something is to be cleaned up.
pub(super) const CLEANING: u8 = 200;
/// A clone that takes longer is given up: this, and a second for every 4 MiB.
const CLONE_LIMIT: Millis = Millis(30_000);
const SLOWEST: u32 = 4 << 20;

/// A full chunk counts as so many shares of a server's limit of clones, a small one as few: moving
/// thousands of small chunks is a matter of round trips, not of bytes.
const SHARES: u32 = 16;

/// A clone under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clone {
    pub(super) source: ServerNumber,
    /// What it takes of the limits of its source and its target.
    pub(super) shares: u16,
    version: u64,
    begun: Millis,
}

/// A chunk whose copies failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setback {
    failures: u8,
    not_before: Millis,
}

/// What became of a chunk that the planner looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing more to start for it now.
    Settled,
    /// It must wait a while.
    Busy,
    /// The servers that it needs have enough to do.
    Crowded,
    /// There is nowhere to go; only other servers can help.
    Stuck,
}

impl Chunks {
    /// Version changes under way, and how many there may be before no more are begun unasked.
    pub(in crate::brain) fn changes_under_way(&self) -> (usize, usize) {
        (self.changes.len(), MAX_CHANGES)
    }

    /// The clones of a chunk, in order of their targets.
    pub(super) fn clones_of(
        &self,
        handle: ChunkHandle,
    ) -> impl Iterator<Item = (ServerNumber, &Clone)> {
        let range = (handle, ServerNumber(0))..=(handle, ServerNumber(u32::MAX));
        self.clones.range(range).map(|((_, server), clone)| (*server, clone))
    }

    /// Brings what is derived from a chunk up to date: health counts, incidents, the queue.
    pub(super) fn refresh(&mut self, now: Now, handle: ChunkHandle) {
        let Some(slot) = self.table.get(handle) else { return };
        let health = slot.health();
        let counted = slot.counted();
        if health != counted {
            self.count(counted, health);
            if let Some(slot) = self.table.get_mut(handle) {
                slot.set_counted(health);
            }
        }
        if health == Health::Full && !self.is_moving(handle, &slot) {
            self.setbacks.remove(&handle);
        }
        self.incidents.changed(now, handle, &slot);
        self.stuck.remove(&handle);
        let wanted = self.priority(handle, &slot);
        self.enqueue(handle, wanted);
    }

    /// Moves a chunk from one count to another.
    pub(super) fn count(&mut self, from: Health, to: Health) {
        for (health, up) in [(from, false), (to, true)] {
            let at = match health {
                Health::Full => continue,
                Health::Under => 0,
                Health::Endangered => 1,
                Health::Unavailable => 2,
            };
            if let Some(count) = self.lacking.get_mut(at) {
                *count = if up { *count + 1 } else { count.saturating_sub(1) };
            }
        }
    }

    /// Puts a chunk in its place in the queue; 0: out of it.
    pub(super) fn enqueue(&mut self, handle: ChunkHandle, wanted: u8) {
        let Some(slot) = self.table.get_mut(handle) else { return };
        if slot.queued == wanted {
            self.pump_wanted |= wanted != 0;
            return;
        }
        if slot.queued != 0 {
            self.queue.remove(&(slot.queued, handle));
        }
        slot.queued = wanted;
        if wanted != 0 {
            self.queue.insert((wanted, handle));
            self.pump_wanted = true;
        }
    }

    /// Where in the queue a chunk belongs.
    fn priority(&self, handle: ChunkHandle, slot: &Slot) -> u8 {
        let blocked = self.changes.get(&handle).is_some_and(|change| change.is_blocked());
        if !blocked && !self.repair_allowed() {
            return 0;
        }
        let good = slot.good();
        if good >= slot.copies {
            if self.is_moving(handle, slot) {
                return MOVING;
            }
            let cleaning = self.clones_of(handle).next().is_some()
                || (slot.strays && self.strays_of(handle).any(|(_, stray)| !stray.deleting));
            return if cleaning { CLEANING } else { 0 };
        }
        if good == 0 {
            // Only copies that a power loss or damage made doubtful may be left.
            let doubtful =
                slot.strays && self.strays_of(handle).any(|(_, s)| s.kind == StrayKind::Suspect);
            return u8::from(doubtful || slot.is_untouched());
        }
        2 * good + u8::from(!blocked)
    }

    /// Starts what can be started. At the end of every event.
    pub(super) fn pump(&mut self, now: Now, out: &mut Outbox) {
        if !std::mem::take(&mut self.pump_wanted) {
            return;
        }
        self.crowded.clear();
        let only_endangered = self.caution.only_endangered(now.mono);
        let mut from = (0u8, ChunkHandle(0));
        let mut crowded = 0;
        for _ in 0..EXAMINED {
            let Some(&(priority, handle)) = self.queue.range(from..).next() else { return };
            from = (priority, ChunkHandle(handle.0 + 1));
            let Some(slot) = self.table.get(handle) else {
                self.queue.remove(&(priority, handle));
                continue;
            };
            let seen = if priority == CLEANING {
                self.cancel_clones(handle, out);
                self.clean(now, handle, out);
                Seen::Settled
            } else if only_endangered && slot.good() >= 2.min(slot.copies) {
                Seen::Busy
            } else if priority == MOVING {
                self.move_on(now, handle, &slot, out)
            } else {
                self.repair(now, handle, &slot, out)
            };
            crowded = if seen == Seen::Crowded { crowded + 1 } else { 0 };
            match seen {
                Seen::Crowded if crowded >= CROWDED => break,
                Seen::Busy | Seen::Crowded => {}
                // What changes brings it back (`refresh`); strays that must wait, the tick.
                Seen::Settled => self.enqueue(handle, 0),
                Seen::Stuck => {
                    self.enqueue(handle, 0);
                    self.stuck.insert(handle);
                }
            }
        }
        self.pump_wanted = true;
    }

    /// Does the next thing for a chunk that lacks copies.
    fn repair(&mut self, now: Now, handle: ChunkHandle, slot: &Slot, out: &mut Outbox) -> Seen {
        if self.is_set_back(now, handle) {
            return Seen::Busy;
        }
        // A clone's unfinished beginning is no copy.
        let ever = self.strays_of(handle).any(|(_, s)| s.complete.max(s.promised) > 0);
        if slot.good() == 0 && slot.is_untouched() && !ever {
            return self.grant_again(now, handle, slot, out);
        }
        let changing = self.changes.contains_key(&handle);
        let blocked = self.changes.get(&handle).is_some_and(|c| c.is_blocked());
        let mut ready: u8 = 0;
        let mut stale = None;
        let mut crowded = None;
        for (server, stray) in self.strays_of(handle) {
            if stray.deleting || stray.not_before > now.mono || !self.is_usable(server) {
                continue;
            }
            match stray.kind {
                StrayKind::Filled | StrayKind::Suspect => ready += 1,
                StrayKind::Stale if self.may_include(server, slot.length) => {
                    stale = stale.or(Some(server));
                }
                StrayKind::Stale => crowded = Some(server),
                StrayKind::Damaged => {}
            }
        }
        if let Some(server) = crowded.filter(|server| !self.crowded.contains(server)) {
            self.crowded.push(server);
        }
        let idle = stale.is_some() && !slot.lease && slot.good() > 0;
        if (!changing && (ready > 0 || idle)) || (blocked && ready > 0) {
            if !changing && self.changes.len() >= MAX_CHANGES {
                return Seen::Crowded;
            }
            let include = if ready > 0 { None } else { stale };
            self.begin_change(now, handle, include, out);
            return if self.changes.contains_key(&handle) { Seen::Settled } else { Seen::Busy };
        }
        if changing && !blocked {
            // Its end brings the chunk back.
            return Seen::Settled;
        }
        let have = slot.good() + ready + self.clones_of(handle).count() as u8;
        let mut lacking = slot.copies.saturating_sub(have);
        while lacking > 0 {
            match self.start_clone(now, handle, slot, &[], out) {
                Ok(()) => lacking -= 1,
                Err(Lack::Busy) => return Seen::Crowded,
                Err(Lack::Servers | Lack::Space) if self.clones_of(handle).next().is_some() => {
                    return Seen::Settled;
                }
                // Its place is with a stale copy, whose turn comes when others' are through.
                Err(Lack::Servers | Lack::Space) if stale.is_none() && crowded.is_some() => {
                    return Seen::Crowded;
                }
                Err(Lack::Servers | Lack::Space) => {
                    return self.make_do(now, handle, slot, stale, out);
                }
            }
        }
        Seen::Settled
    }

    /// A fresh chunk of which no member is known to have a replica: the Grants were lost on their
    /// way, with the master or with the sessions. It begins afresh on the members that are there.
    ///
    /// That loses nothing, for nothing was acknowledged in it. At version 1 the members are those
    /// it was made with, and an acknowledgement takes that *every* one of them holds the bytes and
    /// has applied them. It is enough that one member has no replica, provided that it never had
    /// one:
    /// * It has none (or what a clone began here, which counts for nothing and is deleted): its
    ///   report of this session is complete, and it creates one only if it has none, so that a
    ///   Grant that is under way changes nothing.
    /// * It deleted none: a Delete names a version below the chunk's, and there is none below 1.
    /// * It forgot none: a killed process keeps what it wrote; only a power loss takes a file that
    ///   was not synced, and it has been up under one boot since before the chunk was made
    ///   ([`Server::remembers`](super::servers::Server::remembers)). A server whose disk was
    ///   replaced is another server.
    /// * The record is not from the past, where the version may be another one in truth (rollback).
    ///
    /// Without such a member (all have lost power, say) all must be there to say that none has it.
    /// An absent one that comes back has an empty replica at most: it could apply nothing before
    /// all members held it.
    fn grant_again(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        slot: &Slot,
        out: &mut Outbox,
    ) -> Seen {
        let never_had = |member: ServerNumber| {
            self.is_usable(member) && self.servers.get(member).is_some_and(|s| s.remembers(handle))
        };
        let proven = !self.rollback && slot.members().any(never_had);
        if !proven && !slot.members().all(|m| self.is_usable(m)) {
            return Seen::Stuck;
        }
        for member in slot.members() {
            match self.strays.get(&(handle, member)) {
                None => self.send_grant(member, handle, out),
                Some(fragment) => !fragment.deleting && self.delete_stray(handle, member, out),
            };
        }
        self.set_back(now, handle);
        Seen::Settled
    }

    /// Something for a chunk was tried and failed, or should not be tried again soon.
    pub(super) fn set_back(&mut self, now: Now, handle: ChunkHandle) {
        let setback =
            self.setbacks.entry(handle).or_insert(Setback { failures: 0, not_before: now.mono });
        setback.failures = setback.failures.saturating_add(1);
        setback.not_before = now.mono + Millis(100 << setback.failures.min(6));
    }

    /// Whether nothing should be tried for a chunk now.
    pub(super) fn is_set_back(&self, now: Now, handle: ChunkHandle) -> bool {
        self.setbacks.get(&handle).is_some_and(|s| s.not_before > now.mono)
    }

    /// No other server can take a copy: what is on the servers that have one already?
    fn make_do(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        slot: &Slot,
        stale: Option<ServerNumber>,
        out: &mut Outbox,
    ) -> Seen {
        if stale.is_some() {
            self.begin_change(now, handle, stale, out);
            return Seen::Settled;
        }
        if self.changes.contains_key(&handle) {
            return Seen::Stuck;
        }
        // A damaged copy gives way to a fresh one on the same server: first it leaves the
        // members, then it is deleted, then the server is a target as any other. Where too few
        // others are left for that, it is made equal as it stands.
        let damaged = self.strays_of(handle).find(|(server, stray)| {
            stray.kind == StrayKind::Damaged
                && !stray.deleting
                && stray.not_before <= now.mono
                && self.is_usable(*server)
        });
        let Some((server, stray)) = damaged.map(|(server, stray)| (server, *stray)) else {
            return Seen::Stuck;
        };
        let enough = usize::from((slot.copies - 1).clamp(1, 2));
        if self.reliable(handle) < enough {
            // It stays, and its damaged blocks are copied from a good one.
            if !slot.is_member(server) || slot.good() == 0 {
                return Seen::Stuck;
            }
            self.begin_change(now, handle, Some(server), out);
            return Seen::Settled;
        }
        if !self.deletes_allowed() {
            return Seen::Stuck;
        }
        if slot.is_member(server) && stray.complete.max(stray.promised) >= slot.version {
            self.begin_change(now, handle, None, out);
            return Seen::Settled;
        }
        if self.delete_stray(handle, server, out) { Seen::Settled } else { Seen::Stuck }
    }

    /// Shares of clones that a server may have, in and out each. The last clone may go over it.
    pub(super) fn clone_limit(&self) -> u16 {
        u16::from(self.config.clones_per_server) * SHARES as u16
    }

    /// What a clone of so many bytes takes of the limits.
    fn shares(&self, length: u32) -> u16 {
        length.div_ceil((self.config.chunk_size / SHARES).max(1)).clamp(1, SHARES) as u16
    }

    /// Starts one clone of a chunk. Copies on servers that are `leaving` do not count for its
    /// place. What the balancer moves goes where that said, at its rate.
    pub(super) fn start_clone(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        slot: &Slot,
        leaving: &[ServerNumber],
        out: &mut Outbox,
    ) -> Result<(), Lack> {
        let limit = self.clone_limit();
        let mut sources: Vec<(u16, u64, ServerNumber)> = slot
            .holders()
            .filter(|s| self.is_usable(*s))
            .map(|s| (self.servers.get(s).map_or(0, |x| x.outgoing), mix(handle, s), s))
            .collect();
        sources.sort_unstable();
        let Some((busy, _, source)) = sources.first().copied() else { return Err(Lack::Servers) };
        if busy >= limit {
            return Err(Lack::Busy);
        }
        // Not where a copy is, of whatever kind. Places of copies on dead servers do not count.
        let mut others: Vec<ServerNumber> =
            slot.holders().filter(|m| !self.is_dead(*m) && !leaving.contains(m)).collect();
        others.extend(self.strays_of(handle).map(|(server, _)| server));
        others.extend(self.clones_of(handle).map(|(server, _)| server));
        let planned = self.planned_move(handle).filter(|_| !leaving.is_empty());
        let usable = |server: &Server| {
            !leaving.contains(&server.number) && planned.is_none_or(|p| p.to == server.number)
        };
        let target = self.place(now, handle, &others, None, For::Clone, usable)?;
        let clone = pb::Clone {
            version: slot.version,
            sources: self.locations(sources.iter().map(|(_, _, s)| *s)),
            inode: slot.inode,
            index: slot.index,
            start: self.table.start(handle, slot),
            goal: Some(super::commands::copies(slot.copies)),
            rate: planned.map_or(0, |_| Self::move_rate()),
        };
        if !self.send(target, handle, Purpose::Clone, Body::Clone(clone), out) {
            return Err(Lack::Busy);
        }
        self.placed(target);
        let shares = self.shares(slot.length);
        if let Some(server) = self.servers.get_mut(target) {
            server.incoming += shares;
        }
        if let Some(server) = self.servers.get_mut(source) {
            server.outgoing += shares;
        }
        let clone = Clone { source, shares, version: slot.version, begun: now.mono };
        self.clones.insert((handle, target), clone);
        self.incidents.copying(now, handle);
        if self.config.mistakes.has(Mistake::TrimsBeforeTheCloneIsVerified) {
            self.clean(now, handle, out);
        }
        Ok(())
    }

    /// A clone is over, one way or the other: its places are free. Whether it was known.
    pub(super) fn clone_ended(&mut self, handle: ChunkHandle, target: ServerNumber) -> bool {
        let Some(clone) = self.clones.remove(&(handle, target)) else { return false };
        if let Some(server) = self.servers.get_mut(target) {
            server.incoming = server.incoming.saturating_sub(clone.shares);
        }
        if let Some(server) = self.servers.get_mut(clone.source) {
            server.outgoing = server.outgoing.saturating_sub(clone.shares);
        }
        self.pump_wanted = true;
        true
    }

    /// A clone is finished, or failed.
    pub(super) fn cloned(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        target: ServerNumber,
        outcome: Result<Option<&pb::ReplicaState>, &pb::ErrorDetail>,
        state: Option<&pb::ReplicaState>,
        out: &mut Outbox,
    ) {
        let known = self.clone_ended(handle, target);
        if let (Err(_), Some(state)) = (outcome, state)
            && state.complete.max(state.promised) > 0
        {
            // Refused for the sake of a replica that is there.
            self.found_stale(now, handle, target, state.complete, state.promised);
        }
        match outcome {
            Ok(state) => {
                let promised = state.map_or(0, |s| s.promised);
                if self.table.get(handle).is_none() {
                    self.orphan(handle, target, promised);
                } else if !self.table.get(handle).is_some_and(|slot| slot.holds(target)) {
                    self.add_stray(handle, target, Stray::new(StrayKind::Filled, 0, promised));
                }
            }
            Err(error) if known => {
                let blamed = if error.error_code() == ErrorCode::Unreachable && error.server != 0 {
                    ServerNumber(error.server)
                } else {
                    target
                };
                self.trouble(now, blamed);
                self.set_back(now, handle);
                out.notes.push((
                    false,
                    format!(
                        "chunk {handle}: the clone to server {target} failed: {}",
                        error.message
                    ),
                ));
            }
            Err(_) => {}
        }
        self.refresh(now, handle);
    }

    /// Cancels the clones of a chunk that is whole.
    pub(super) fn cancel_clones(&mut self, handle: ChunkHandle, out: &mut Outbox) {
        let running: Vec<(ServerNumber, u64)> =
            self.clones_of(handle).map(|(target, clone)| (target, clone.version)).collect();
        for (target, version) in running {
            self.clone_ended(handle, target);
            let cancel = pb::CancelClone { version };
            self.send(target, handle, Purpose::CancelClone, Body::CancelClone(cancel), out);
        }
    }

    /// Whether one more stray on this server may be made equal: as many small ones at a time as
    /// there may be clones of them, of larger ones a quarter.
    fn may_include(&self, server: ServerNumber, length: u32) -> bool {
        if self.crowded.contains(&server) {
            return false;
        }
        let small = self.shares(length) == 1;
        let limit = if small { self.clone_limit() } else { self.clone_limit() / 4 };
        let running = self.changes.values().filter(|c| c.include == Some(server)).count();
        running < usize::from(limit)
    }

    /// Looks again at what had nowhere to go.
    pub(super) fn retry_stuck(&mut self) {
        for server in self.servers.iter_mut() {
            server.no_target = None;
        }
        for handle in std::mem::take(&mut self.stuck) {
            if let Some(slot) = self.table.get(handle) {
                let wanted = self.priority(handle, &slot);
                self.enqueue(handle, wanted);
            }
        }
        self.pump_wanted = true;
    }

    /// Gives up clones that hang, and looks after strays that could not go.
    pub(super) fn tick_repair(&mut self, now: Now, whole_second: bool, out: &mut Outbox) {
        let limit = CLONE_LIMIT + Millis(1_000 * u64::from(self.config.chunk_size / SLOWEST));
        let late: Vec<(ChunkHandle, ServerNumber, u64)> = self
            .clones
            .iter()
            .filter(|(_, clone)| now.mono.since(clone.begun) > limit)
            .map(|((handle, target), clone)| (*handle, *target, clone.version))
            .collect();
        for (handle, target, version) in late {
            self.clone_ended(handle, target);
            let cancel = pb::CancelClone { version };
            self.send(target, handle, Purpose::CancelClone, Body::CancelClone(cancel), out);
            self.trouble(now, target);
            self.refresh(now, handle);
        }
        if whole_second {
            for server in self.servers.iter_mut() {
                server.recent /= 2;
            }
            self.retry_strays(now);
        }
        if now.mono.since(self.stuck_retried) > Millis(10_000) {
            self.stuck_retried = now.mono;
            self.retry_stuck();
        }
        self.pump_wanted |= !self.queue.is_empty();
    }

    /// Puts a part of the chunks that have strays back into the queue.
    fn retry_strays(&mut self, now: Now) {
        let from = self.strays_from;
        let mut some: Vec<ChunkHandle> =
            self.strays.range(from..).take(EXAMINED).map(|((handle, _), _)| *handle).collect();
        self.strays_from = match some.last() {
            Some(last) if some.len() == EXAMINED => (ChunkHandle(last.0 + 1), ServerNumber(0)),
            _ => (ChunkHandle(0), ServerNumber(0)),
        };
        some.dedup();
        for handle in some {
            self.refresh(now, handle);
        }
    }
}
