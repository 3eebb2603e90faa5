//! The version change: how a chunk gets other members, or a new primary for content that exists.
//!
//! 1. A number above all used ones is committed as `next` in the chunk's record.
//! 2. Each member that takes part ends what is under way, promises `next` and says what it has.
//! 3. When *all* asked have answered, the others are made equal to the best one that is complete
//!    at the chunk's version.
//! 4. The number becomes the version, those asked become the members, they are told (Grant), and
//!    whoever waits is answered, all with the commit.
//!
//! When one asked is silent or refuses, the number is burnt and a new one is tried without it, as
//! long as a complete member takes part. Otherwise the change waits, for ever if need be: a number
//! that is in a record is never forgotten before the version is above it.

use super::attempt::EAGER_ATTEMPTS;
use super::moves::Members;
use super::servers::Purpose;
use super::strays::StrayKind;
use super::table::{MAX_MEMBERS, Slot};
use super::{Chunks, Now, Outbox, Waiter};
use crate::brain::Token;
use crate::mistakes::Mistake;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ErrorCode, GfsError, Millis, ServerNumber};
use smallvec::SmallVec;

/// A member that does not answer: of a suspect one, of any one, and while it copies.
const SUSPECT_ANSWERS_WITHIN: Millis = Millis(1_000);
const ANSWERS_WITHIN: Millis = Millis(3_000);
const COPIES_WITHIN: Millis = Millis(10_000);
/// Who failed or was said to be unreachable is left out for so long, if others remain; twice as
/// long with every failure after the first few, so that numbers are not burnt in a row.
const LEFT_OUT_FOR: Millis = Millis(2_000);
/// Doubled so many times at most: where nobody waits, and where somebody does.
const LEFT_OUT_LONGER: (u8, u8) = (5, 1);
/// A suspect member is waited for that long where nobody waits for the change.
const SUSPECT_AWAITED: Millis = Millis(3_000);
/// And that long where somebody does.
const AWAITED_WITH_WAITERS: Millis = Millis(300);
/// Without anybody waiting, the lease is not wanted any more after that.
const LEASE_WANTED_FOR: Millis = Millis(30_000);
/// Callers that wait for one chunk.
const MAX_WAITERS: usize = 64;

/// A version change under way.
#[derive(Debug)]
pub(super) struct Change {
    /// The number tried, or burnt; committed in the record. 0: none yet.
    pub(super) next: u64,
    /// Whether the first member gets the lease.
    pub(super) lease: bool,
    /// With the conclusion, the chunk is cut to this length, for who asked under this token.
    pub(super) cut: Option<(u32, Token)>,
    pub(super) waiters: Vec<Waiter>,
    /// The namespace side wants to hear of the end.
    pub(super) fixes: bool,
    /// Not asked before that time, if it can be done without.
    left_out: SmallVec<[(ServerNumber, Millis); 2]>,
    /// A stray to be made equal and taken in.
    pub(super) include: Option<ServerNumber>,
    /// Members that are to go, as far as there are enough others.
    leavers: Members,
    pub(super) stage: Stage,
    /// Of the stage, and of the whole.
    pub(super) since: Millis,
    begun: Millis,
    pub(super) failures: u8,
    pub(super) asked: SmallVec<[Asked; 4]>,
    /// It waits for more copies, although a complete one could take part.
    short: bool,
    /// It was reported that too few complete ones are there.
    reported: bool,
}

/// What the next version is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To read.
    Read,
    /// To change what is there.
    Overwrite,
    /// To write at the end.
    Extend,
}

/// Where a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// For servers: known ones, enough, or the next attempt.
    Waiting,
    /// For the promises.
    Preparing,
    /// For the others to become equal to this one.
    Equalizing(ServerNumber),
}

/// Somebody who takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) server: ServerNumber,
    /// Held the chunk at its version before, as far as was known.
    pub(super) holder: bool,
    pub(super) answer: Option<Answer>,
    pub(super) equal: bool,
}

/// What a replica says it has, having promised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) complete: u64,
    pub(super) serial: u64,
    pub(super) length: u32,
    /// Bytes before its first damaged block.
    pub(super) valid: u32,
    pub(super) digest: u32,
    pub(super) suspect: bool,
    pub(super) damaged: bool,
    pub(super) fsynced: (u64, u64),
}

impl Change {
    pub(super) fn new(next: u64, lease: bool, now: Now) -> Self {
        Self {
            next,
            lease,
            cut: None,
            waiters: Vec::new(),
            fixes: false,
            left_out: SmallVec::new(),
            include: None,
            leavers: Members::new(),
            stage: Stage::Waiting,
            since: now.mono,
            begun: now.mono,
            failures: 0,
            asked: SmallVec::new(),
            short: false,
            reported: false,
        }
    }

    /// The number under which this server takes part in an attempt, if it does.
    pub(super) fn asks(&self, server: ServerNumber) -> Option<u64> {
        let asked = self.stage != Stage::Waiting && self.asked.iter().any(|a| a.server == server);
        asked.then_some(self.next)
    }

    /// Whether it waits for copies that repair should make.
    pub(super) fn is_blocked(&self) -> bool {
        self.stage == Stage::Waiting && (self.lease || self.short)
    }

    fn leaves_out(&self, server: ServerNumber, now: Now) -> bool {
        self.left_out.iter().any(|(s, until)| *s == server && *until > now.mono)
    }

    pub(super) fn leave_out(&mut self, server: ServerNumber, now: Now) {
        self.left_out.retain(|(s, _)| *s != server);
        let most = if self.waiters.is_empty() { LEFT_OUT_LONGER.0 } else { LEFT_OUT_LONGER.1 };
        let doublings = self.failures.saturating_sub(EAGER_ATTEMPTS).min(most);
        self.left_out.push((server, now.mono + Millis(LEFT_OUT_FOR.0 << doublings)));
    }

    pub(super) fn asked_mut(&mut self, server: ServerNumber) -> Option<&mut Asked> {
        self.asked.iter_mut().find(|a| a.server == server)
    }
}

impl Chunks {
    /// Asks for a version above `seen` without the unreachable servers, with a lease unless it is to
    /// read. Answered through [`Outbox::done`]: in this very call if the chunk is there already or
    /// (for who wants to write at its end) sealed, else when the change is committed. For Open: `seen` is the
    /// present version.
    #[expect(clippy::too_many_arguments, reason = "as the call has them")]
    pub fn recover(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        seen: u64,
        unreachable: &[ServerNumber],
        want: Want,
        waiter: Waiter,
        out: &mut Outbox,
    ) {
        let lease = want != Want::Read;
        if want == Want::Extend
            && let Some(slot) = self.table.get_mut(handle)
        {
            slot.set_capped(false);
        }
        let Some(slot) = self.table.get(handle) else {
            let error =
                GfsError::new(ErrorCode::UnknownChunk, format!("there is no chunk {handle}"));
            out.done.push((waiter, Err(error)));
            return;
        };
        if seen > slot.version {
            let text = format!("chunk {handle} is at version {}, not yet at {seen}", slot.version);
            out.done.push((waiter, Err(GfsError::new(ErrorCode::StaleVersion, text))));
            return;
        }
        let served = slot.version > seen
            && (slot.lease || !lease)
            && slot.first().is_some_and(|first| self.is_live(first))
            && !unreachable.iter().any(|s| slot.is_member(*s));
        let changing = self.changes.contains_key(&handle);
        // A reader asks for a new version of a sealed chunk when no replica knows any more that all
        // its bytes were acknowledged: all were killed before they had stored that it is sealed.
        let settled =
            slot.sealed && (want == Want::Extend || (want == Want::Read && slot.version > seen));
        if settled || (served && !changing) {
            out.done.push((waiter, Ok(handle)));
            return;
        }
        let change =
            self.changes.entry(handle).or_insert_with(|| Box::new(Change::new(0, false, now)));
        change.lease |= lease;
        if change.waiters.len() >= MAX_WAITERS {
            let text = format!("{MAX_WAITERS} callers wait for chunk {handle} already");
            out.done.push((waiter, Err(GfsError::new(ErrorCode::Busy, text))));
        } else {
            change.waiters.retain(|w| w.token != waiter.token);
            change.waiters.push(waiter);
            for (_, until) in &mut change.left_out {
                *until = (*until).min(now.mono + LEFT_OUT_FOR);
            }
        }
        let mut again = change.stage == Stage::Waiting;
        for server in unreachable.iter().filter(|s| slot.is_member(**s)) {
            change.leave_out(*server, now);
            again |= change.asked.iter().any(|a| a.server == *server);
        }
        for server in unreachable {
            self.trouble(now, *server);
        }
        if again {
            self.attempt(now, handle, out);
        }
        self.settle(now, out);
    }

    /// Nobody waits under this token any more.
    pub fn forget(&mut self, token: Token) {
        for change in self.changes.values_mut() {
            change.waiters.retain(|w| w.token != token);
            change.cut = change.cut.filter(|(_, by)| *by != token);
        }
    }

    /// A change found in a record, or a number found promised: repeated unasked.
    pub(super) fn burn(&mut self, now: Now, handle: ChunkHandle, next: u64, out: &mut Outbox) {
        let change =
            self.changes.entry(handle).or_insert_with(|| Box::new(Change::new(0, false, now)));
        if next > change.next {
            change.next = next;
            change.stage = Stage::Waiting;
            change.asked.clear();
            out.touched.push(handle);
        }
    }

    /// Starts a change that the planner of repairs wants: take in what a clone filled, or this
    /// stray.
    pub(super) fn begin_change(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        include: Option<ServerNumber>,
        out: &mut Outbox,
    ) {
        let lease = self.table.get(handle).is_some_and(|slot| slot.lease);
        let change =
            self.changes.entry(handle).or_insert_with(|| Box::new(Change::new(0, lease, now)));
        change.include = include.or(change.include);
        if change.stage == Stage::Waiting {
            self.attempt(now, handle, out);
        }
    }

    /// Cuts a chunk, with a version change. Told through [`Outbox::cuts`] when it is concluded, or
    /// through [`Outbox::done`] when it fails. `length` is below the chunk's.
    pub fn cut(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        length: u32,
        waiter: Waiter,
        out: &mut Outbox,
    ) {
        if self.table.get(handle).is_none_or(|slot| length >= slot.length) {
            let text = format!("chunk {handle} has no {length} bytes to be cut to");
            out.done.push((waiter, Err(GfsError::new(ErrorCode::Internal, text))));
            return;
        }
        let change =
            self.changes.entry(handle).or_insert_with(|| Box::new(Change::new(0, false, now)));
        if change.waiters.len() >= MAX_WAITERS {
            let text = format!("{MAX_WAITERS} callers wait for chunk {handle} already");
            out.done.push((waiter, Err(GfsError::new(ErrorCode::Busy, text))));
            return;
        }
        change.waiters.push(waiter);
        change.cut = Some((length, waiter.token));
        change.lease = false;
        if change.stage == Stage::Waiting {
            self.attempt(now, handle, out);
        }
        self.settle(now, out);
    }

    /// Nobody writes the chunk any more, and nobody knows how long it is: a version change ends the
    /// lease and finds out. Told through [`Outbox::fixed`], however long it takes.
    pub fn fix(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) {
        if self.table.get(handle).is_none() {
            return;
        }
        let change =
            self.changes.entry(handle).or_insert_with(|| Box::new(Change::new(0, false, now)));
        change.fixes = true;
        change.lease &= !change.waiters.is_empty();
        if change.stage == Stage::Waiting {
            self.attempt(now, handle, out);
        }
        self.settle(now, out);
    }

    /// Starts a change that takes in what clones filled and leaves out members that are to go.
    pub(super) fn begin_leave(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        leavers: Members,
        out: &mut Outbox,
    ) {
        let lease = self.table.get(handle).is_some_and(|slot| slot.lease);
        let mut change = Change::new(0, lease, now);
        change.leavers = leavers;
        self.changes.insert(handle, Box::new(change));
        self.attempt(now, handle, out);
    }

    /// Tries all changes that wait again.
    pub(super) fn retry_changes(&mut self, now: Now, out: &mut Outbox) {
        let waiting: Vec<ChunkHandle> = self
            .changes
            .iter()
            .filter(|(_, change)| change.stage == Stage::Waiting)
            .map(|(handle, _)| *handle)
            .collect();
        for handle in waiting {
            self.attempt(now, handle, out);
        }
    }

    /// Who would take part now: those that hold the chunk first, then strays to be made equal.
    /// `None`: it is better to wait.
    fn choose(
        &self,
        now: Now,
        handle: ChunkHandle,
        change: &Change,
    ) -> Option<SmallVec<[Asked; 4]>> {
        let slot = self.table.get(handle)?;
        let asked = |server, holder| Asked { server, holder, answer: None, equal: false };
        let wanted = |s: ServerNumber| self.is_usable(s) && !change.leaves_out(s, now);
        // In a cold start writes wait for what is not known yet.
        let unknown = |s: ServerNumber| {
            !change.leaves_out(s, now) && self.servers.get(s).is_some_and(|s| s.is_unknown(now))
        };
        if self.caution.is_cold() && slot.members().any(unknown) {
            return None;
        }
        // Who is silent or reports anew is waited for a little, rather than left out.
        let doubtful =
            |s: ServerNumber| self.servers.get(s).is_some_and(|server| server.watch.is_doubtful());
        let spent = now.mono.since(change.begun);
        let patience =
            if change.waiters.is_empty() { SUSPECT_AWAITED } else { AWAITED_WITH_WAITERS };
        let awaited = |s: ServerNumber| !change.leaves_out(s, now) && (doubtful(s) || unknown(s));
        if spent < patience && slot.members().any(awaited) {
            return None;
        }
        let mut chosen: SmallVec<[Asked; 4]> =
            slot.holders().filter(|s| wanted(*s)).map(|s| asked(s, true)).collect();
        let strays: SmallVec<[(ServerNumber, StrayKind); 4]> = self
            .strays_of(handle)
            .filter(|(s, stray)| wanted(*s) && !stray.deleting && stray.not_before <= now.mono)
            .map(|(s, stray)| (s, stray.kind))
            .collect();
        if chosen.is_empty() {
            // All that is left may be copies that a power loss or damage made doubtful. A sound one
            // may still come back, and would be stale then: so they count only when every member
            // is known to have none, or, after a power loss, dead. One that was here in this term
            // may well have what was acknowledged, and is waited for.
            let away = |s: ServerNumber| {
                self.servers.get(s).is_some_and(|s| s.is_unknown(now) || s.watch.is_doubtful())
            };
            if slot.good() > 0 || slot.members().any(away) {
                return None;
            }
            let some_dead = slot.members().any(|s| self.is_dead(s));
            let missed = |s: ServerNumber| {
                self.is_dead(s) && self.servers.get(s).is_some_and(|s| s.may_return(now))
            };
            let awaited = slot.members().any(missed);
            let last: SmallVec<[ServerNumber; 4]> = strays
                .iter()
                .filter(|(s, _)| slot.is_member(*s))
                .filter(|(_, kind)| match kind {
                    StrayKind::Suspect => !awaited,
                    StrayKind::Damaged => !some_dead,
                    StrayKind::Stale | StrayKind::Filled => false,
                })
                .map(|(s, _)| *s)
                .collect();
            if last.is_empty() {
                return None;
            }
            return Some(last.into_iter().map(|s| asked(s, true)).collect());
        }
        let included = strays.iter().filter(|(s, kind)| {
            let wanted = *kind == StrayKind::Filled
                || change.include == Some(*s)
                || *kind == StrayKind::Suspect;
            wanted && !change.leavers.contains(s)
        });
        let leaves = |a: &Asked| change.leavers.contains(&a.server);
        let holders = chosen.len();
        let leaving = chosen.iter().filter(|a| leaves(a)).count();
        for (server, _) in included {
            if chosen.len() - leaving < usize::from(slot.copies) {
                chosen.push(asked(*server, false));
            }
        }
        if leaving > 0 {
            // As many go as are replaced, and never the last one that has the bytes for sure.
            let surplus = chosen.len().saturating_sub(usize::from(slot.copies));
            let mut go = surplus.min(leaving).min(holders - 1);
            let idle = go == 0 && chosen.len() == holders;
            let wanted = !change.waiters.is_empty() || change.fixes;
            if idle && change.next <= slot.version && !wanted {
                return None;
            }
            chosen.retain(|a| {
                let goes = go > 0 && leaves(a);
                go -= usize::from(goes);
                !goes
            });
            chosen.truncate(MAX_MEMBERS);
        }
        Some(chosen)
    }

    /// Whether these are too few to go on with: see the rule at the top.
    fn is_short(&self, slot: &Slot, change: &Change, chosen: &[Asked]) -> bool {
        let enough = chosen.len() >= usize::from(self.min_copies(slot.copies));
        if enough || slot.good() == 0 {
            // Doubtful copies are chosen only when there is no hope of better ones.
            return false;
        }
        // A live member that is known to have no good copy is not waited for.
        let left_out = |s: ServerNumber| {
            let takes_part = chosen.iter().any(|a| a.server == s);
            !takes_part && (slot.holds(s) || !self.is_usable(s))
        };
        change.lease || (change.waiters.is_empty() && slot.members().any(left_out))
    }

    /// Starts an attempt, if there is who to ask.
    pub(super) fn attempt(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) {
        let Some(mut change) = self.changes.remove(&handle) else { return };
        let Some(slot) = self.table.get(handle) else { return };
        let chosen = self.choose(now, handle, &change);
        change.short = chosen.as_ref().is_some_and(|c| self.is_short(&slot, &change, c));
        change.asked.clear();
        change.since = now.mono;
        let Some(asked) = chosen.filter(|_| !change.short) else {
            change.stage = Stage::Waiting;
            self.wait(now, handle, change, out);
            return;
        };
        let used = asked.iter().filter_map(|a| self.strays.get(&(handle, a.server)));
        let used = used.map(|s| s.promised).filter(|p| plausible(*p, slot.version)).max();
        let used = used.unwrap_or(0).max(change.next).max(slot.version);
        change.next = if self.config.mistakes.has(Mistake::SkipsTheVersionBump) {
            slot.version
        } else {
            used.saturating_add(1)
        };
        change.stage = Stage::Preparing;
        change.asked = asked;
        out.touched.push(handle);
        // The role of the old primary ends with the first promise.
        self.set_lease(handle, false);
        let (next, version) = (change.next, slot.version);
        let servers: SmallVec<[ServerNumber; 4]> = change.asked.iter().map(|a| a.server).collect();
        self.changes.insert(handle, change);
        for server in servers {
            let prepare = pb::Prepare { version, next };
            if !self.send(server, handle, Purpose::Prepare { next }, Body::Prepare(prepare), out) {
                self.member_failed(now, handle, server, next, "it takes no commands", out);
                return;
            }
        }
        self.refresh(now, handle);
    }

    /// Nobody can be asked now. A change that has no number yet and no reason left is over.
    fn wait(&mut self, now: Now, handle: ChunkHandle, mut change: Box<Change>, out: &mut Outbox) {
        let Some(slot) = self.table.get(handle) else { return };
        if change.next <= slot.version && change.waiters.is_empty() && !change.fixes {
            self.refresh(now, handle);
            return;
        }
        let hopeless = (slot.good() == 0 || change.short) && !self.caution.is_cold();
        if hopeless && !change.reported && now.mono.since(change.begun) > SUSPECT_AWAITED {
            change.reported = true;
            let enough = if change.short { self.min_copies(slot.copies) } else { 1 };
            out.notes.push((
                true,
                format!(
                    "chunk {handle}: fewer complete copies than {enough} can be reached; its \
                     version change waits"
                ),
            ));
        }
        self.changes.insert(handle, change);
        self.refresh(now, handle);
    }

    /// Looks after all changes: who is silent for too long, and what can go on.
    pub(super) fn tick_changes(&mut self, now: Now, out: &mut Outbox) {
        let mut silent: Vec<(ChunkHandle, ServerNumber, u64)> = Vec::new();
        for (handle, change) in &mut self.changes {
            if change.waiters.is_empty() && now.mono.since(change.begun) > LEASE_WANTED_FOR {
                change.lease = false;
            }
            let limit = match change.stage {
                Stage::Waiting => continue,
                Stage::Preparing => ANSWERS_WITHIN,
                Stage::Equalizing(_) => COPIES_WITHIN,
            };
            let spent = now.mono.since(change.since);
            let late = change.asked.iter().find(|a| {
                let owes = match change.stage {
                    Stage::Equalizing(_) => !a.equal,
                    _ => a.answer.is_none(),
                };
                let suspect = self
                    .servers
                    .get(a.server)
                    .is_none_or(|s| s.watch.is_doubtful() || s.session.is_none());
                owes && (spent >= limit || (suspect && spent >= SUSPECT_ANSWERS_WITHIN))
            });
            silent.extend(late.map(|a| (*handle, a.server, change.next)));
        }
        for (handle, server, next) in silent {
            self.member_failed(now, handle, server, next, "it does not answer", out);
        }
        self.retry_changes(now, out);
    }

    /// Those who were members learn it with the next heartbeat reply, once the new members know.
    pub(super) fn tell_left_out(&mut self, handle: ChunkHandle, version: u64) {
        if self.leaving.get(&handle).is_some_and(|(v, _)| *v == version)
            && let Some((_, servers)) = self.leaving.remove(&handle)
        {
            for server in servers {
                self.leave_out(server, handle, version);
            }
        }
    }

    /// A server's replica is not the chunk any more: no more reads of it.
    pub(super) fn leave_out(&mut self, server: ServerNumber, handle: ChunkHandle, version: u64) {
        if let Some(server) = self.servers.get_mut(server).filter(|s| s.session.is_some()) {
            server.left_out.push(pb::LeftOut { handle: handle.0, version });
        }
    }
}

/// Numbers go up one by one: one that is this far ahead was never given out by any master, and
/// taking it up would use up all there are.
pub(super) fn plausible(number: u64, version: u64) -> bool {
    number <= version.saturating_add(1 << 32)
}
