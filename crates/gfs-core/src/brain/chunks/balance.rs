//! The balancer: which copies move so that servers are equally full, and so that the copies of a
//! chunk are on as many nodes and in as many zones as there are (when a zone returns, say).
//!
//! It decides that *this* copy goes to *that* server; how a copy moves is told in `moves`. A move is
//! begun only
//!
//! * if it makes things better for good: the chunk's copies share fewer nodes or zones; or they
//!   share no more than before, and the sum over all servers of their bytes times their fullness
//!   becomes less. The planner raises neither: so it comes to an end, and takes nothing back;
//! * while nothing is repaired or waits for that, and of a chunk that is whole and at rest;
//! * within a limit per server, in and out, and at a limited rate, for the sake of those who read
//!   and write. Moves are given up when repair needs the servers.
//!
//! *Fullness* is what a server is listed with in the chunk table, of that and what is free on it:
//! known to the byte the moment a move is decided, equally right where servers share a disk.
//!
//! Nothing here is persisted. A new leader begins afresh, when servers differ enough.

use super::repair::CLEANING;
use super::servers::Server;
use super::table::Slot;
use super::{Chunks, Now, Outbox};
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, Millis, ServerNumber};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Servers that differ by more are balanced unasked, in thousandths of their space.
const UNASKED: u64 = 100;
/// Balanced: no server is off by more than this part of what it should hold.
const TOLERANCE: u64 = 20;
/// Pages of the table (64 chunks each) searched in one tick.
const SEARCHED_PAGES: usize = 256;
/// Copies on their way into one server, and out of one server, whatever their size: a chunkserver
/// makes few at a time, and version changes that clients wait for need some of them.
const AT_ONCE: u16 = 2;
/// Limit of what moves into one server, bytes a second.
const RATE: u64 = 64 << 20;
/// A move that takes longer is given up, and the chunk looked at again in a later round.
const MOVE_LIMIT: Millis = Millis(120_000);
/// After a round that found nothing but what was busy.
const PAUSE: Millis = Millis(1_000);
/// After servers were made as equally full as they can be.
const REST: Millis = Millis(60_000);

/// A copy on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) from: ServerNumber,
    pub(super) to: ServerNumber,
    bytes: u32,
    begun: Millis,
}

/// A walk through the table.
#[derive(Debug, Default)]
struct Round {
    from: ChunkHandle,
    /// Begins then.
    not_before: Millis,
    /// Something was on its way meanwhile.
    fruitful: bool,
    /// Something is to be moved, and it or its servers are busy.
    again: bool,
}

/// What the balancer remembers.
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// One per chunk at most.
    moves: BTreeMap<ChunkHandle, Move>,
    round: Option<Round>,
    /// Servers are being made equally full; because somebody asked.
    active: bool,
    asked: bool,
    /// No round of its own accord before.
    rests_until: Millis,
    /// Who takes part, and where it is, as of the round before.
    places: Vec<(ServerNumber, pb::Place)>,
    /// Since this master leads.
    moved_chunks: u64,
    moved_bytes: u64,
}

/// A server as the planner sees it.
#[derive(Clone, Copy, Debug)]
struct Side {
    number: ServerNumber,
    /// Equal numbers: the same node, the same zone. 0: not known, that is, a place of its own.
    node: u16,
    zone: u16,
    /// Listed with it, what is on its way counted where it goes.
    stored: u64,
    /// Of these and free ones.
    space: u64,
    /// What it should hold.
    share: u64,
    /// Copies on their way in, and out.
    incoming: u16,
    outgoing: u16,
    /// Can take a clone.
    has_room: bool,
}

/// How many pairs of copies share a node, and a zone: less is better.
type Crowding = (u32, u32);

impl Side {
    /// Thousandths.
    fn fullness(&self, bytes: u64) -> u64 {
        if self.space == 0 {
            0
        } else {
            (u128::from(bytes) * 1_000 / u128::from(self.space)) as u64
        }
    }

    /// How far it may be off.
    fn slack(&self, chunk_size: u32) -> u64 {
        (self.share / TOLERANCE).max(chunk_size.into())
    }

    fn is_over(&self, chunk_size: u32) -> bool {
        self.stored > self.share + self.slack(chunk_size)
    }

    fn is_under(&self, chunk_size: u32) -> bool {
        self.stored + self.slack(chunk_size) < self.share
    }

    fn can_give(&self) -> bool {
        self.outgoing < AT_ONCE
    }

    fn can_take(&self) -> bool {
        self.has_room && self.incoming < AT_ONCE
    }

    /// Whether the sum of bytes times fullness becomes less if this one gives the other so many.
    fn evens_out(&self, other: &Self, bytes: u64) -> bool {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
        let (mine, theirs) = (product(self.stored, other.space), product(other.stored, self.space));
        let spaces = u128::from(self.space) + u128::from(other.space);
        let half = (u128::from(bytes) * spaces).div_ceil(2);
        bytes > 0 && mine.saturating_sub(theirs) > half
    }
}

/// All pairs of these places.
fn crowding(sides: &[&Side]) -> Crowding {
    let same = |a: u16, b: u16| u32::from(a != 0 && a == b);
    let mut pairs = (0, 0);
    for (i, a) in sides.iter().enumerate() {
        for b in sides.iter().skip(i + 1) {
            pairs.0 += same(a.node, b.node);
            pairs.1 += same(a.zone, b.zone);
        }
    }
    pairs
}

/// What a move is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gain {
    Spread,
    Fullness,
}

impl Chunks {
    /// Has servers made equally full now, or has that stopped.
    pub fn rebalance(&mut self, now: Now, stop: bool, out: &mut Outbox) {
        self.balance.asked = !stop;
        self.balance.active = !stop;
        // What was begun unasked is not begun again at once.
        self.balance.rests_until = if stop { now.mono + REST } else { now.mono };
        self.balance.round = (!stop).then(Round::default);
        if stop {
            self.abandon_moves(now);
        }
        let what = if stop { "balancing is stopped" } else { "balancing is asked for" };
        out.notes.push((false, what.into()));
        self.settle(now, out);
    }

    /// Whether the planner has a copy of the chunk on its way.
    pub(super) fn planned_move(&self, handle: ChunkHandle) -> Option<Move> {
        self.balance.moves.get(&handle).copied()
    }

    /// Bytes a second for a clone of what is moved.
    pub(super) const fn move_rate() -> u64 {
        RATE / AT_ONCE as u64
    }

    /// Gives up what is on its way; clones of it are cancelled.
    pub(super) fn abandon_moves(&mut self, now: Now) {
        for handle in std::mem::take(&mut self.balance.moves).into_keys() {
            self.refresh(now, handle);
        }
    }

    /// Does what can be done now. `whole_second`: looks at how full the servers are, too.
    pub(super) fn tick_balance(&mut self, now: Now, whole_second: bool, out: &mut Outbox) {
        self.review_moves(now);
        if self.held_up(now).is_some() {
            self.abandon_moves(now);
            return;
        }
        if whole_second {
            self.consider(now, out);
        }
        self.go_round(now, out);
    }

    /// Why nothing is begun now.
    fn held_up(&self, now: Now) -> Option<&'static str> {
        let repair = self.queue.first().is_some_and(|(priority, _)| *priority < CLEANING);
        if self.caution.is_cold() {
            Some("the master has just started")
        } else if self.rollback {
            Some("rollback mode")
        } else if self.caution.only_endangered(now.mono) {
            Some("many servers were lost")
        } else if repair || !self.sweeps.is_empty() {
            Some("repair goes first")
        } else {
            None
        }
    }

    /// Ends moves that are done, or do not come to anything.
    fn review_moves(&mut self, now: Now) {
        let mut over = Vec::new();
        for (handle, planned) in &self.balance.moves {
            let slot = self.table.get(*handle);
            let gone = slot.is_none_or(|slot| !slot.is_member(planned.from));
            let late = now.mono.since(planned.begun) > MOVE_LIMIT;
            let fails = self.setbacks.contains_key(handle) || self.stuck.contains(handle);
            if gone || late || fails {
                let moved = slot.is_some_and(|slot| gone && slot.holds(planned.to));
                over.push((*handle, moved.then_some(planned.bytes)));
            }
        }
        for (handle, moved) in over {
            self.balance.moves.remove(&handle);
            if let Some(bytes) = moved {
                self.balance.moved_chunks += 1;
                self.balance.moved_bytes += u64::from(bytes);
            }
            self.refresh(now, handle);
        }
    }

    /// Whether a round is due.
    fn consider(&mut self, now: Now, out: &mut Outbox) {
        let part = || self.servers.registered().filter(|s| takes_part(s));
        let known = &self.balance.places;
        let changed = !part()
            .map(|s| (s.number, &s.place))
            .eq(known.iter().map(|(number, place)| (*number, place)));
        if changed {
            self.balance.rests_until = now.mono;
            self.balance.places = part().map(|s| (s.number, s.place.clone())).collect();
            self.balance.round = Some(Round::default());
            return;
        }
        if self.balance.active || now.mono < self.balance.rests_until {
            return;
        }
        let sides = self.sides();
        let full = sides.iter().map(|side| side.fullness(side.stored));
        let (low, high) = (full.clone().min().unwrap_or(0), full.max().unwrap_or(0));
        if high - low > UNASKED {
            self.balance.active = true;
            self.balance.round = Some(Round::default());
            let text = format!(
                "servers are full to between {} and {} %: copies are moved",
                low / 10,
                high / 10
            );
            out.notes.push((false, text));
        }
    }

    /// Goes on with the round, a bounded step, and begins moves.
    fn go_round(&mut self, now: Now, out: &mut Outbox) {
        let Some(mut round) = self.balance.round.take() else { return };
        let mut sides = self.sides();
        if !sides.iter().any(|side| side.has_room) {
            self.end_balancing(now, "servers differ, and none has room", out);
            return;
        }
        if now.mono < round.not_before
            || !sides.iter().any(Side::can_give)
            || !sides.iter().any(Side::can_take)
        {
            self.balance.round = Some(round);
            return;
        }
        round.fruitful |= !self.balance.moves.is_empty();
        let (slots, mut next) = self.table.scan(round.from, SEARCHED_PAGES);
        let mut begun: Vec<(ChunkHandle, Move)> = Vec::new();
        for (handle, slot) in slots {
            if !Self::may_move(slot) {
                continue;
            }
            match self.better(slot, &sides) {
                Err(Busy) => round.again = true,
                Ok(None) => {}
                Ok(Some(_)) if !self.is_at_rest(handle, slot) => round.again = true,
                Ok(Some((from, to))) => {
                    let planned = Move { from, to, bytes: slot.length, begun: now.mono };
                    reckon(&mut sides, &planned);
                    begun.push((handle, planned));
                    if !sides.iter().any(Side::can_give) || !sides.iter().any(Side::can_take) {
                        next = Some(ChunkHandle(handle.0 + 1));
                        break;
                    }
                }
            }
        }
        round.fruitful |= !begun.is_empty();
        for (handle, planned) in begun {
            self.balance.moves.insert(handle, planned);
            self.refresh(now, handle);
        }
        match next {
            Some(next) => self.balance.round = Some(Round { from: next, ..round }),
            None if round.fruitful => self.balance.round = Some(Round::default()),
            None if round.again => {
                let not_before = now.mono + PAUSE;
                self.balance.round = Some(Round { not_before, ..Round::default() });
            }
            None => self.end_balancing(now, "servers are as equally full as they can be", out),
        }
    }

    fn end_balancing(&mut self, now: Now, why: &str, out: &mut Outbox) {
        if self.balance.active {
            out.notes.push((false, why.into()));
            (self.balance.active, self.balance.asked) = (false, false);
            self.balance.rests_until = now.mono + REST;
        }
    }

    /// Whether a chunk may be moved at all: whole, and not being written.
    fn may_move(slot: &Slot) -> bool {
        slot.good() == slot.copies
            && slot.members().count() == usize::from(slot.copies)
            && !slot.lease
            && !slot.is_untouched()
    }

    /// Nothing goes on with it.
    fn is_at_rest(&self, handle: ChunkHandle, slot: &Slot) -> bool {
        !slot.strays
            && slot.queued == 0
            && !self.changes.contains_key(&handle)
            && !self.balance.moves.contains_key(&handle)
    }

    /// The move of a copy of this chunk that is worth it, if there is one.
    fn better(
        &self,
        slot: &Slot,
        sides: &[Side],
    ) -> Result<Option<(ServerNumber, ServerNumber)>, Busy> {
        let of = |number: ServerNumber| {
            let at = sides.binary_search_by_key(&number, |side| side.number).ok()?;
            sides.get(at)
        };
        let mut members: SmallVec<[&Side; 8]> = SmallVec::new();
        for member in slot.members() {
            // One of them is not well just now: a change would leave it out.
            let Some(side) = of(member) else { return Ok(None) };
            members.push(side);
        }
        let chunk_size = self.config.chunk_size;
        let bytes = u64::from(slot.length);
        let now = crowding(&members);
        let even = self.balance.active
            && bytes > 0
            && members.iter().any(|member| member.stored > member.share);
        if now == (0, 0) && !even {
            return Ok(None);
        }
        let mut best = None;
        let mut busy = false;
        for (at, from) in members.iter().enumerate() {
            let mut after = members.clone();
            for to in sides.iter().filter(|to| members.iter().all(|m| m.number != to.number)) {
                if let Some(place) = after.get_mut(at) {
                    *place = to;
                }
                let then = crowding(&after);
                let gain = if then < now {
                    Gain::Spread
                } else if even
                    && then == now
                    && from.stored > from.share
                    && (from.is_over(chunk_size) || to.is_under(chunk_size))
                    && from.evens_out(to, bytes)
                {
                    Gain::Fullness
                } else {
                    continue;
                };
                if !from.can_give() || !to.can_take() {
                    busy |= to.has_room;
                    continue;
                }
                let gap = from.fullness(from.stored).saturating_sub(to.fullness(to.stored));
                let worth = (gain == Gain::Spread, std::cmp::Reverse(then), gap);
                if best.as_ref().is_none_or(|(other, _)| worth > *other) {
                    best = Some((worth, (from.number, to.number)));
                }
            }
        }
        match best {
            Some((_, pair)) => Ok(Some(pair)),
            None if busy => Err(Busy),
            None => Ok(None),
        }
    }

    /// The servers that take part, in order of their numbers.
    fn sides(&self) -> Vec<Side> {
        let mut nodes: BTreeMap<&str, u16> = BTreeMap::new();
        let mut zones: BTreeMap<&str, u16> = BTreeMap::new();
        let mut sides = Vec::new();
        for server in self.servers.registered().filter(|s| takes_part(s)) {
            let stored = self.stored(server.number);
            sides.push(Side {
                number: server.number,
                node: number_of(&mut nodes, &server.place.node),
                zone: number_of(&mut zones, &server.place.zone),
                stored,
                space: stored.saturating_add(server.room().1),
                share: 0,
                incoming: 0,
                outgoing: 0,
                has_room: self.has_room_for_clone(server),
            });
        }
        let sum = |of: fn(&Side) -> u64| sides.iter().map(|s| u128::from(of(s))).sum::<u128>();
        let (stored, space) = (sum(|s| s.stored), sum(|s| s.space).max(1));
        for side in &mut sides {
            side.share = (stored * u128::from(side.space) / space) as u64;
        }
        for planned in self.balance.moves.values() {
            reckon(&mut sides, planned);
        }
        sides
    }

    // ---- what people see

    /// How equally full the servers are, and what is done about it.
    #[must_use]
    pub fn balance_status(&self, now: Now) -> pb::BalanceStatus {
        let sides = self.sides();
        let full = || sides.iter().map(|side| side.fullness(side.stored));
        let chunk_size = self.config.chunk_size;
        let off = |side: &Side| side.is_over(chunk_size) || side.is_under(chunk_size);
        let wanted = self.balance.round.is_some() || !self.balance.moves.is_empty();
        pb::BalanceStatus {
            active: self.balance.active,
            asked: self.balance.asked,
            emptiest_permille: full().min().unwrap_or(0) as u32,
            fullest_permille: full().max().unwrap_or(0) as u32,
            balanced: !sides.iter().any(off),
            moving: self.balance.moves.len() as u64,
            bytes_left: sides.iter().map(|side| side.stored.saturating_sub(side.share)).sum(),
            moved_chunks: self.balance.moved_chunks,
            moved_bytes: self.balance.moved_bytes,
            waits_for: self.held_up(now).filter(|_| wanted).unwrap_or("").into(),
        }
    }
}

/// There is something to move, and its servers have enough to do.
struct Busy;

/// Can be relied on as source and as target.
fn takes_part(server: &Server) -> bool {
    server.is_usable() && !server.draining && !server.is_leaving() && !server.is_stuck()
}

/// The same number for the same name; 0 for none.
fn number_of<'a>(known: &mut BTreeMap<&'a str, u16>, name: &'a str) -> u16 {
    if name.is_empty() {
        return 0;
    }
    let next = u16::try_from(known.len() + 1).unwrap_or(u16::MAX);
    *known.entry(name).or_insert(next)
}

/// Counts what is on its way where it goes.
fn reckon(sides: &mut [Side], planned: &Move) {
    let bytes = u64::from(planned.bytes);
    for side in sides.iter_mut() {
        if side.number == planned.from {
            side.stored = side.stored.saturating_sub(bytes);
            side.outgoing += 1;
        } else if side.number == planned.to {
            side.stored = side.stored.saturating_add(bytes);
            side.incoming += 1;
        }
    }
}
