//! A server was declared dead: its session ends, and the table is swept for what it held.

use super::detector::{COUNTED_PER_TICK, Signal, State};
use super::{Chunks, Now, Outbox};
use gfs_types::{ChunkHandle, ServerNumber};

/// Pages of the table (64 chunks each) swept in one event: a quarter of a million chunks, a few
/// milliseconds.
const SWEPT_PAGES: usize = 4_096;

/// A search of the table for what dead servers held.
#[derive(Debug)]
pub(super) struct Sweep {
    servers: Vec<ServerNumber>,
    from: ChunkHandle,
}

impl Chunks {
    /// Whether the detector says so.
    pub(super) fn is_dead(&self, server: ServerNumber) -> bool {
        self.servers.get(server).is_none_or(|s| s.watch.state() == State::Dead || s.decommissioned)
    }

    /// Lets time pass for the detector.
    pub(super) fn tick_detector(&mut self, now: Now, out: &mut Outbox) {
        let counted = now.mono.since(self.last_tick).0.min(COUNTED_PER_TICK);
        let mut changed = Vec::new();
        for server in self.servers.iter_mut().filter(|s| !s.decommissioned) {
            if let Some(state) = server.watch.on(Signal::Passed(counted), now) {
                changed.push((server.number, state));
            }
        }
        self.verdicts.extend(changed.iter().filter(|(_, s)| *s == State::Dead).map(|(n, _)| *n));
        for (number, state) in changed.into_iter().filter(|(_, s)| *s != State::Dead) {
            self.server_changed(now, number, state, out);
        }
        self.pronounce(now, out);
    }

    /// Carries out the verdicts of the detector.
    pub(super) fn pronounce(&mut self, now: Now, out: &mut Outbox) {
        let dead = std::mem::take(&mut self.verdicts);
        let Some(first) = dead.first() else { return };
        let why = self.servers.get(*first).map_or("", |s| s.watch.reason);
        let last_sign = dead
            .iter()
            .filter_map(|s| self.servers.get(*s))
            .map(|s| s.watch.last_sign)
            .min_by_key(|sign| sign.mono)
            .unwrap_or(now);
        self.incidents.servers_lost(now, &dead, last_sign, why);
        let registered = self.servers.registered().count();
        for server in &dead {
            let silent =
                self.servers.get(*server).map_or(0, |s| now.mono.since(s.watch.last_sign.mono).0);
            out.notes.push((
                true,
                format!("server {server} is dead: {why}; last sign of life {silent} ms ago"),
            ));
            if self.caution.death(now.mono, registered) {
                out.notes.push((
                    true,
                    "many servers were lost at once: only endangered chunks are repaired for 30 s"
                        .into(),
                ));
            }
            self.end_session(now, *server, out);
            self.forget_strays_of(*server);
            self.fail_in_changes(now, *server, "it is dead", out);
        }
        self.sweeps.push_back(Sweep { servers: dead, from: ChunkHandle(0) });
        self.sweep(now);
        self.retry_changes(now, out);
    }

    /// It takes no part in a change any more, not even where it has answered already: it would
    /// become a member that is known to be dead, or that may have forgotten its promise.
    pub(super) fn fail_in_changes(
        &mut self,
        now: Now,
        server: ServerNumber,
        why: &str,
        out: &mut Outbox,
    ) {
        let asks: Vec<(ChunkHandle, u64)> = self
            .changes
            .iter()
            .filter_map(|(handle, change)| Some((*handle, change.asks(server)?)))
            .collect();
        for (handle, next) in asks {
            self.member_failed(now, handle, server, next, why, out);
        }
    }

    /// Goes on with the sweeps, a bounded step.
    pub(super) fn sweep(&mut self, now: Now) {
        let Some(mut sweep) = self.sweeps.pop_front() else { return };
        // One that is back and has reported is known better.
        sweep.servers.retain(|s| self.is_dead(*s));
        let (slots, next) = self.table.scan(sweep.from, SWEPT_PAGES);
        let concerned = |s: ServerNumber| sweep.servers.contains(&s);
        let hit: Vec<ChunkHandle> = slots
            .filter(|(_, slot)| slot.members().any(concerned))
            .map(|(handle, _)| handle)
            .collect();
        for handle in hit {
            let Some(slot) = self.table.get(handle) else { continue };
            let mut lost = false;
            for server in slot.members().filter(|s| concerned(*s)) {
                lost |= self.set_holds(handle, server, false);
            }
            if slot.lease && slot.first().is_some_and(concerned) {
                self.set_lease(handle, false);
            }
            if lost && let Some(slot) = self.table.get(handle) {
                self.incidents.lost(handle, &slot);
            }
            self.refresh(now, handle);
        }
        if let Some(next) = next {
            sweep.from = next;
            self.sweeps.push_front(sweep);
        }
    }
}
