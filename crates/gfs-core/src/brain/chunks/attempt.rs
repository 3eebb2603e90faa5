//! The steps of an attempt at a version change: promises, equality, conclusion (see [`super::change`]).

use super::change::{Answer, Asked, Stage, plausible};
use super::servers::Purpose;
use super::strays::StrayKind;
use super::{Chunks, Now, Outbox};
use crate::mistakes::Mistake;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{BLOCK_SIZE, ChunkHandle, ErrorCode, Millis, ServerNumber};
use smallvec::SmallVec;

/// Attempts at once; after so many failures the tick sets the pace.
pub(super) const EAGER_ATTEMPTS: u8 = 4;

impl Chunks {
    /// A member has promised, or refused.
    pub(super) fn prepared(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        next: u64,
        outcome: Result<Option<&pb::ReplicaState>, &pb::ErrorDetail>,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.table.get(handle) else { return };
        let chunk_size = self.config.chunk_size;
        let Some(change) = self.changes.get_mut(&handle) else { return };
        if change.next != next || change.stage != Stage::Preparing {
            return;
        }
        let Some(asked) = change.asked_mut(server) else { return };
        let state = match outcome {
            Ok(Some(state)) => state,
            Ok(None) => {
                self.member_failed(now, handle, server, next, "its answer has no state", out);
                return;
            }
            Err(error) => {
                let text = error.message.clone();
                let gone = matches!(error.error_code(), ErrorCode::UnknownChunk);
                let taken = error.actual;
                if error.error_code() == ErrorCode::StaleVersion
                    && taken > change.next
                    && plausible(taken, slot.version)
                {
                    // It has promised more than was ever asked here: that number is burnt, too.
                    change.next = taken;
                    change.stage = Stage::Waiting;
                    out.touched.push(handle);
                    self.attempt(now, handle, out);
                    return;
                }
                if gone {
                    self.set_holds(handle, server, false);
                    self.remove_stray(handle, server);
                } else if let Some(stray) = self.strays.get_mut(&(handle, server)) {
                    stray.not_before = now.mono + Millis(5_000);
                }
                self.member_failed(now, handle, server, next, &text, out);
                return;
            }
        };
        let sound = state.promised == next
            && state.complete <= slot.version
            && state.length <= chunk_size
            && (state.inode == 0 || (state.inode, state.index) == (slot.inode, slot.index));
        if !sound {
            let text = format!(
                "it answered promised {}, complete {}, length {} of file {} at {}",
                state.promised, state.complete, state.length, state.inode, state.index
            );
            out.notes.push((true, format!("chunk {handle} on server {server}: {text}")));
            self.member_failed(now, handle, server, next, &text, out);
            return;
        }
        if !state.damaged.is_empty() && slot.holds(server) {
            // No copy to rely on, as it turns out. Where it was the last one, a sound one may be on
            // a server that is away, and must not be made stale for this one's sake.
            self.found_damaged(now, handle, server, state, out);
            return;
        }
        asked.answer = Some(Answer {
            complete: state.complete,
            serial: state.serial,
            length: state.length,
            valid: valid_bytes(state),
            digest: state.digest,
            suspect: state.suspect,
            damaged: !state.damaged.is_empty(),
            fsynced: (state.fsynced_version, state.fsynced_serial),
        });
        let hasty = self.config.mistakes.has(Mistake::GrantsBeforeAllMembersAnswered);
        if hasty || change.asked.iter().all(|a| a.answer.is_some()) {
            self.equalize(now, handle, out);
        }
    }

    /// All have promised: makes them equal to the best one.
    fn equalize(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) {
        let Some(slot) = self.table.get(handle) else { return };
        let Some(change) = self.changes.get_mut(&handle) else { return };
        let Some((best, answer)) = best(&change.asked, slot.version) else {
            self.no_source(now, handle, out);
            return;
        };
        for asked in &mut change.asked {
            asked.equal = asked.server == best
                || asked.answer.is_some_and(|a| {
                    // With the same bytes it may still remember other mutations: one that it did
                    // not apply may have written what was there. A clone has what its source had.
                    let there = a.complete == answer.complete || a.complete == 0;
                    (a.length, a.digest) == (answer.length, answer.digest)
                        && (there && a.serial == answer.serial)
                        && !a.damaged
                });
        }
        change.stage = Stage::Equalizing(best);
        change.since = now.mono;
        let next = change.next;
        let behind: SmallVec<[ServerNumber; 4]> =
            change.asked.iter().filter(|a| !a.equal).map(|a| a.server).collect();
        // Blocks that the best one cannot read may be found with any other; the checksums of the
        // best one say what they must be.
        let mut others: SmallVec<[(bool, ServerNumber); 4]> = change
            .asked
            .iter()
            .filter(|a| a.server != best)
            .map(|a| (!a.equal, a.server))
            .collect();
        others.sort_unstable();
        if behind.is_empty() || self.config.mistakes.has(Mistake::GrantsBeforeAllMembersAnswered) {
            self.conclude(now, handle, out);
            return;
        }
        let equalize = pb::Equalize {
            next,
            source: self.locations([best]).pop(),
            others: Vec::new(),
            length: answer.length,
            serial: answer.serial,
            inode: slot.inode,
            index: slot.index,
            start: self.table.start(handle, &slot),
            goal: Some(super::commands::copies(slot.copies)),
        };
        for server in behind {
            let mut equalize = equalize.clone();
            let rest = others.iter().map(|(_, s)| *s).filter(|s| *s != server);
            equalize.others = self.locations(rest);
            let body = Body::Equalize(equalize);
            if !self.send(server, handle, Purpose::Equalize { next }, body, out) {
                self.member_failed(now, handle, server, next, "it takes no commands", out);
                return;
            }
            if self.strays.get(&(handle, server)).is_some_and(|s| s.kind != StrayKind::Filled) {
                self.incidents.copying(now, handle);
            }
        }
    }

    /// Those asked turned out to have no complete copy among them.
    fn no_source(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) {
        let Some(slot) = self.table.get(handle) else { return };
        let Some(change) = self.changes.get_mut(&handle) else { return };
        change.stage = Stage::Waiting;
        change.since = now.mono;
        let next = change.next;
        let found: SmallVec<[(ServerNumber, Answer); 4]> = change
            .asked
            .drain(..)
            .filter_map(|a| a.answer.map(|answer| (a.server, answer)))
            .collect();
        for (server, answer) in found {
            self.set_holds(handle, server, false);
            self.add_stray(handle, server, Self::stray_of(&answer, slot.version, next));
        }
        out.notes.push((
            true,
            format!(
                "chunk {handle}: none of the copies asked is complete at version {}",
                slot.version
            ),
        ));
        self.refresh(now, handle);
    }

    /// A member has become equal, or could not.
    pub(super) fn equalized(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        next: u64,
        outcome: Result<Option<&pb::ReplicaState>, &pb::ErrorDetail>,
        out: &mut Outbox,
    ) {
        let Some(change) = self.changes.get_mut(&handle) else { return };
        let Stage::Equalizing(best) = change.stage else { return };
        if change.next != next {
            return;
        }
        let length =
            change.asked_mut(best).and_then(|a| a.answer).map_or(0, |answer| answer.length);
        let Some(asked) = change.asked_mut(server) else { return };
        match outcome {
            Ok(state) => {
                if state.is_some_and(|s| s.length != length || s.promised != next) {
                    self.member_failed(now, handle, server, next, "it did not become equal", out);
                    return;
                }
                asked.equal = true;
                if change.asked.iter().all(|a| a.equal) {
                    self.conclude(now, handle, out);
                }
            }
            Err(error) => {
                let text = error.message.clone();
                let source = error.error_code() == ErrorCode::Unreachable && error.server == best.0;
                let others = change.asked.iter().any(|a| {
                    a.server != best
                        && a.answer
                            .is_some_and(|x| x.complete == asked_version(&self.table, handle))
                });
                if source && others {
                    self.member_failed(now, handle, best, next, &text, out);
                } else {
                    if let Some(stray) = self.strays.get_mut(&(handle, server)) {
                        stray.not_before = now.mono + Millis(5_000);
                    }
                    self.member_failed(now, handle, server, next, &text, out);
                }
            }
        }
    }

    /// Somebody asked is silent, gone, or refused: the number is burnt.
    pub(super) fn member_failed(
        &mut self,
        now: Now,
        handle: ChunkHandle,
        server: ServerNumber,
        next: u64,
        why: &str,
        out: &mut Outbox,
    ) {
        let Some(change) = self.changes.get_mut(&handle) else { return };
        if change.next != next
            || change.stage == Stage::Waiting
            || !change.asked.iter().any(|a| a.server == server)
        {
            return;
        }
        change.leave_out(server, now);
        if change.include == Some(server) {
            change.include = None;
        }
        change.failures = change.failures.saturating_add(1);
        change.stage = Stage::Waiting;
        change.since = now.mono;
        change.asked.clear();
        let eager = change.failures <= EAGER_ATTEMPTS;
        out.notes.push((
            false,
            format!("chunk {handle}: version {next} is given up, server {server}: {why}"),
        ));
        if eager {
            self.attempt(now, handle, out);
        } else {
            self.refresh(now, handle);
        }
    }

    /// All are equal: the number becomes the version, those asked the members.
    fn conclude(&mut self, now: Now, handle: ChunkHandle, out: &mut Outbox) {
        let Some(change) = self.changes.remove(&handle) else { return };
        // There is room for the next one.
        self.pump_wanted = true;
        let Some(slot) = self.table.get(handle) else { return };
        let Stage::Equalizing(source) = change.stage else { return };
        let Some(answer) = change.asked.iter().find(|a| a.server == source).and_then(|a| a.answer)
        else {
            return;
        };
        // The old primary stays, so that the writer's streams need not move.
        let mut members: SmallVec<[ServerNumber; 8]> =
            change.asked.iter().filter(|a| a.holder).map(|a| a.server).collect();
        members.extend(change.asked.iter().filter(|a| !a.holder).map(|a| a.server));
        let left: Vec<ServerNumber> = slot.members().filter(|m| !members.contains(m)).collect();
        for member in &left {
            if slot.holds(*member) && !self.is_dead(*member) {
                let stray = super::strays::Stray::new(StrayKind::Stale, slot.version, slot.version);
                self.add_stray(handle, *member, stray);
            }
        }
        if answer.length < slot.length {
            out.notes.push((
                true,
                format!(
                    "chunk {handle} of file {}: {} bytes are left of {}; the rest is lost on all \
                     copies",
                    slot.inode, answer.length, slot.length
                ),
            ));
        }
        self.replace_members(handle, &members);
        let enough = members.len() >= usize::from(self.min_copies(slot.copies));
        if let Some(slot) = self.table.get_mut(handle) {
            slot.version = change.next;
            slot.lease = change.lease && enough && change.cut.is_none();
            let length = match change.cut {
                Some((length, _)) => {
                    slot.sealed = true;
                    Some(length)
                }
                None => (!slot.sealed).then_some(answer.length),
            };
            if let Some(length) = length {
                self.set_length(handle, length);
            }
        }
        for member in &members {
            self.remove_stray(handle, *member);
        }
        out.touched.push(handle);
        for member in &members {
            if !self.send_grant(*member, handle, out) {
                // Its session is another one than that in which it became equal.
                self.grants_owed.insert((*member, handle));
            }
        }
        if !left.is_empty() {
            let leaving = self.leaving.entry(handle).or_default();
            leaving.0 = change.next;
            leaving.1.retain(|s| !members.contains(s));
            leaving.1.extend(left);
        }
        let cut = change.cut.map(|(_, token)| token);
        let others = change.waiters.iter().filter(|waiter| Some(waiter.token) != cut);
        out.done.extend(others.map(|waiter| (*waiter, Ok(handle))));
        out.cuts.extend(cut.map(|token| (token, handle)));
        out.fixed.extend(change.fixes.then_some(handle));
        self.refresh(now, handle);
    }
}

fn asked_version(table: &super::table::Table, handle: ChunkHandle) -> u64 {
    table.get(handle).map_or(0, |slot| slot.version)
}

/// Bytes of a replica before its first damaged block.
fn valid_bytes(state: &pb::ReplicaState) -> u32 {
    let damaged = state.damaged.iter().map(|range| range.first.saturating_mul(BLOCK_SIZE));
    damaged.min().map_or(state.length, |at| at.min(state.length))
}

/// The copy that the others become equal to: complete at the version, with the highest serial. If
/// all are doubtful after a power loss, the one that had most on disk, then the one with most valid
/// bytes (a longer one whose tail was torn may have lost with it what was synced in the same block);
/// one that was made equal and lost power before its Grant came last.
fn best(asked: &[Asked], version: u64) -> Option<(ServerNumber, Answer)> {
    asked
        .iter()
        .filter_map(|a| a.answer.map(|answer| (a.server, answer)))
        .filter(|(_, answer)| {
            answer.complete == version || (answer.suspect && answer.complete != 0)
        })
        .max_by_key(|(server, a)| {
            // What was acknowledged is on every complete copy: an undamaged one loses nothing.
            let kept = if a.suspect { a.fsynced } else { (u64::MAX, a.serial) };
            let sound = !a.suspect && !a.damaged;
            let granted = a.complete == version;
            (granted, !a.suspect, sound, kept, a.valid, a.length, std::cmp::Reverse(*server))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two copies after a loss of power: what both had synced is whole on the shorter one only.
    #[test]
    fn of_doubtful_copies_the_longest_valid_one_counts() {
        let damaged = vec![pb::BlockRange { first: 0, count: 1 }];
        let torn = pb::ReplicaState { length: 131_072, damaged, ..Default::default() };
        let whole = pb::ReplicaState { length: 65_470, ..Default::default() };
        assert_eq!((valid_bytes(&torn), valid_bytes(&whole)), (0, 65_470));
        let asked = |server, state: &pb::ReplicaState, fsynced| Asked {
            server: ServerNumber(server),
            holder: true,
            answer: Some(Answer {
                complete: 1,
                serial: 13,
                length: state.length,
                valid: valid_bytes(state),
                digest: 0,
                suspect: true,
                damaged: !state.damaged.is_empty(),
                fsynced,
            }),
            equal: false,
        };
        let chosen = |asked: &[Asked]| best(asked, 1).map(|(server, _)| server.0);
        let two = [asked(1, &torn, (1, 10)), asked(2, &whole, (1, 10))];
        assert_eq!(chosen(&two), Some(2));
        let two = [asked(1, &torn, (1, 13)), asked(2, &whole, (1, 10))];
        assert_eq!(chosen(&two), Some(1), "it had more on disk");
    }
}
