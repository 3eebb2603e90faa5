//! Incidents: a loss of servers or copies, and how it healed, for people and for figures.
//!
//! An incident holds the chunks that lost a copy and are not whole yet. A further loss while
//! copies are still being made belongs to the same incident.

use super::Now;
use super::table::Slot;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, Millis, ServerNumber};
use std::collections::{BTreeMap, VecDeque};

/// How many are kept.
const KEPT: usize = 64;
/// A loss that comes later than this after the verdict is an incident of its own, even if chunks
/// are lacking from before.
const MERGED_WITHIN: Millis = Millis(60_000);

#[derive(Debug)]
struct Incident {
    shown: pb::Incident,
    verdict: Millis,
    /// Its chunks that are not whole, and whether they are below two copies.
    open: BTreeMap<ChunkHandle, bool>,
    below_two: usize,
}

/// What was lost and how it healed, the newest last.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    kept: VecDeque<Incident>,
    last_id: u64,
}

impl Incidents {
    /// Servers were declared dead; `last_sign` is the earliest of their last signs of life.
    pub(super) fn servers_lost(
        &mut self,
        now: Now,
        servers: &[ServerNumber],
        last_sign: Now,
        why: &str,
    ) {
        let silent = now.mono.since(last_sign.mono).0;
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let cause = format!("server {} lost: {why}", names.join(", "));
        let incident = self.at(now, last_sign, silent, &cause);
        incident.shown.servers.extend(servers.iter().map(|s| s.0));
    }

    /// A copy was found damaged or gone.
    pub(super) fn damage(
        &mut self,
        now: Now,
        server: ServerNumber,
        handle: ChunkHandle,
        slot: &Slot,
        what: &str,
    ) {
        let cause = format!("copy on server {server} {what}");
        self.at(now, now, 0, &cause);
        self.lost(handle, slot);
    }

    /// A copy is gone with the disk it was on.
    pub(super) fn disk_lost(&mut self, now: Now, handle: ChunkHandle, slot: &Slot, cause: &str) {
        self.at(now, now, 0, cause);
        self.lost(handle, slot);
    }

    /// The open incident to which a loss now belongs, or a new one.
    fn at(&mut self, now: Now, begun: Now, silent: u64, cause: &str) -> &mut Incident {
        let merge = self
            .kept
            .back()
            .is_some_and(|i| !i.shown.closed && now.mono.since(i.verdict) < MERGED_WITHIN);
        if merge {
            if let Some(incident) = self.kept.back_mut()
                && !incident.shown.cause.contains(cause)
                && incident.shown.cause.len() < 200
            {
                incident.shown.cause.push_str("; ");
                incident.shown.cause.push_str(cause);
            }
        } else {
            self.last_id += 1;
            while self.kept.len() >= KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(Incident {
                shown: pb::Incident {
                    id: self.last_id,
                    begun_at: begun.wall.0,
                    cause: cause.into(),
                    detected_ms: u32::try_from(silent).unwrap_or(u32::MAX),
                    ..Default::default()
                },
                verdict: now.mono,
                open: BTreeMap::new(),
                below_two: 0,
            });
        }
        // It was pushed above, if it was not there.
        let last = self.kept.len() - 1;
        &mut self.kept[last]
    }

    /// A chunk lost a copy in the newest incident.
    pub(super) fn lost(&mut self, handle: ChunkHandle, slot: &Slot) {
        let Some(incident) = self.kept.back_mut() else { return };
        if incident.open.contains_key(&handle) {
            return;
        }
        incident.shown.chunks += 1;
        incident.shown.bytes += u64::from(slot.length);
        let below = slot.good() < 2.min(slot.copies);
        incident.open.insert(handle, below);
        incident.below_two += usize::from(below);
        if below {
            incident.shown.two_copies_ms = None;
        }
    }

    /// The copies of a chunk changed.
    pub(super) fn changed(&mut self, now: Now, handle: ChunkHandle, slot: &Slot) {
        let _ = now;
        for incident in self.kept.iter_mut().filter(|i| !i.shown.closed) {
            let Some(was_below) = incident.open.get_mut(&handle) else { continue };
            let below = slot.good() < 2.min(slot.copies);
            incident.below_two -= usize::from(*was_below);
            incident.below_two += usize::from(below);
            *was_below = below;
            if slot.good() >= slot.copies {
                incident.below_two -= usize::from(below);
                incident.open.remove(&handle);
            }
        }
    }

    /// A chunk was removed.
    pub(super) fn discarded(&mut self, handle: ChunkHandle) {
        for incident in self.kept.iter_mut().filter(|i| !i.shown.closed) {
            if let Some(below) = incident.open.remove(&handle) {
                incident.below_two -= usize::from(below);
            }
        }
    }

    /// A copy of a chunk is being made.
    pub(super) fn copying(&mut self, now: Now, handle: ChunkHandle) {
        for incident in self.kept.iter_mut().filter(|i| !i.shown.closed) {
            if incident.shown.first_clone_ms.is_none() && incident.open.contains_key(&handle) {
                incident.shown.first_clone_ms = Some(span(now.mono, incident.verdict));
            }
        }
    }

    /// Takes the times. At the end of every event, unless it is still being found out what was
    /// lost.
    pub(super) fn observe(&mut self, now: Now) {
        for incident in self.kept.iter_mut().filter(|i| !i.shown.closed) {
            let spent = span(now.mono, incident.verdict);
            if incident.below_two == 0 && incident.shown.two_copies_ms.is_none() {
                incident.shown.two_copies_ms = Some(spent);
            }
            if incident.open.is_empty() {
                incident.shown.full_ms = Some(spent);
                incident.shown.closed = true;
            }
        }
    }

    /// The newest first.
    pub(super) fn shown(&self) -> Vec<pb::Incident> {
        self.kept.iter().rev().map(|incident| incident.shown.clone()).collect()
    }
}

fn span(now: Millis, verdict: Millis) -> u32 {
    u32::try_from(now.since(verdict).0).unwrap_or(u32::MAX)
}
