//! A push stream as its receiver sees it.

use super::mutation::Mutation;
use gfs_proto::v1 as pb;
use gfs_types::Millis;
use std::collections::{BTreeMap, VecDeque};

/// How far the opening of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its version is not granted yet.
    Waiting {
        /// Since when.
        since: Millis,
    },
    /// The next member has not said that it is open.
    Opening,
    /// Slices may come.
    Open,
}

/// The end of a stream's mutations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// Not asked for.
    No,
    /// Asked for; waits until everything is acknowledged.
    Asked,
    /// Every member behind was told; `down`: they all answered.
    Sealing { down: bool },
    /// Answered.
    Done,
}

/// Somebody waits for what was applied to be on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flush {
    pub(super) token: u64,
    /// Primary: what must be acknowledged first.
    pub(super) after: u64,
    pub(super) here: Here,
    /// The members behind have done it.
    pub(super) below: bool,
}

/// How far a flush is on this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Here {
    /// Not everything it is to cover is applied.
    Waiting,
    /// Passed on; waits for the disk.
    Due,
    Running,
    Done,
}

#[derive(Debug)]
pub(super) struct Stream<P> {
    pub(super) writer: u64,
    pub(super) version: u64,
    pub(super) open: pb::PushOpen,
    pub(super) phase: Phase,
    /// The sender is there. An orphan lives on until what it has in flight is done.
    pub(super) upstream: bool,
    /// Bytes that may be held and in flight.
    pub(super) credit: u32,
    pub(super) used: u32,
    /// Mutations that came and are not ordered yet.
    pub(super) held: BTreeMap<u64, Mutation<P>>,
    /// The one of them of which the end has not come; 0: none.
    pub(super) partial: u64,
    /// The repeat of a mutation that goes on with the next slice; 0: none.
    pub(super) repeating: u64,
    /// The next sequence to take (and send on): all below are held, ordered or done. 0: not known
    /// yet (a secondary takes what the first slice says).
    pub(super) next: u64,
    /// What the sender was told is held.
    pub(super) held_told: u64,
    /// The members behind hold up to this sequence.
    pub(super) down_held: u64,
    /// Last sequence that was sent on.
    pub(super) sent_down: u64,
    /// Serials (and bytes) ordered over this stream and not yet answered.
    pub(super) serials: VecDeque<(u64, u32)>,
    /// The members behind have applied up to this serial.
    pub(super) down_applied: u64,
    /// The writer committed up to this sequence: it may be ahead of what has come.
    pub(super) committed: u64,
    pub(super) flushes: VecDeque<Flush>,
    /// The last token.
    pub(super) flush_token: u64,
    pub(super) finish: Finish,
    /// Someone waits for the answer to Finish.
    pub(super) finish_reply: bool,
    /// Since when something is awaited from the next member without any progress.
    pub(super) quiet: Option<Millis>,
    /// When the sender last said something.
    pub(super) heard: Millis,
    /// Since when there is nothing to do for it.
    pub(super) idle: Option<Millis>,
}

impl<P> Stream<P> {
    pub(super) fn new(open: pb::PushOpen, credit: u32, now: Millis) -> Self {
        Self {
            writer: open.writer,
            version: open.version,
            open,
            phase: Phase::Waiting { since: now },
            upstream: true,
            credit,
            used: 0,
            held: BTreeMap::new(),
            partial: 0,
            repeating: 0,
            next: 0,
            held_told: 0,
            down_held: 0,
            sent_down: 0,
            serials: VecDeque::new(),
            down_applied: 0,
            committed: 0,
            flushes: VecDeque::new(),
            flush_token: 0,
            finish: Finish::No,
            finish_reply: false,
            quiet: None,
            heard: now,
            idle: None,
        }
    }

    /// Whether nothing came over it that is not done and answered.
    pub(super) fn is_idle(&self) -> bool {
        let finishing = matches!(self.finish, Finish::Asked | Finish::Sealing { .. });
        self.phase == Phase::Open
            && self.held.is_empty()
            && self.serials.is_empty()
            && self.flushes.is_empty()
            && !finishing
            && !self.awaits_next()
    }

    /// Whether it only holds what the sender has not asked to be applied.
    pub(super) fn waits_for_commit(&self) -> bool {
        !self.held.is_empty() && self.serials.is_empty() && !self.awaits_next()
    }

    /// The highest sequence that came, whole.
    pub(super) fn taken(&self) -> u64 {
        let mut held = self.held.iter().rev().filter(|(_, mutation)| mutation.whole);
        let held = held.next().map_or(0, |(sequence, _)| *sequence);
        held.max(self.next.saturating_sub(1))
    }

    /// Someone waits to hear that it is finished.
    pub(super) fn wants_finish(&mut self) {
        self.finish_reply = true;
        match self.finish {
            Finish::No => self.finish = Finish::Asked,
            Finish::Done => self.finish = Finish::Sealing { down: true },
            Finish::Asked | Finish::Sealing { .. } => {}
        }
    }

    /// Whether members stand behind this one.
    pub(super) fn has_next(&self) -> bool {
        !self.open.chain.is_empty()
    }

    /// The member that stands next in the chain; 0: none.
    pub(super) fn next_server(&self) -> u32 {
        self.open.chain.first().map_or(0, |next| next.server)
    }

    /// Whether every member from here down holds this sequence, given that this one does.
    pub(super) fn is_held_below(&self, sequence: u64) -> bool {
        !self.has_next() || self.down_held >= sequence
    }

    /// Whether every member behind has applied this serial.
    pub(super) fn is_applied_below(&self, serial: u64) -> bool {
        !self.has_next() || self.down_applied >= serial
    }

    /// Whether the next member owes the answer to a flush: it may be waiting for its disk.
    pub(super) fn awaits_flush(&self) -> bool {
        self.flushes.iter().any(|flush| flush.here > Here::Waiting && !flush.below)
    }

    /// Whether the next member owes an answer.
    pub(super) fn awaits_next(&self) -> bool {
        self.has_next()
            && (self.phase == Phase::Opening
                || self.sent_down.min(self.committed) > self.down_held
                || self.serials.back().is_some_and(|(serial, _)| *serial > self.down_applied)
                || self.finish == Finish::Sealing { down: false }
                || self.awaits_flush())
    }
}
