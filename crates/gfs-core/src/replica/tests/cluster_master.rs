//! The master of the cluster in miniature: version changes, grants, clones.

use super::cluster::{Change, Cluster, Node, SERVERS, server};
use super::*;
use std::collections::BTreeSet;

impl Cluster {
    pub(super) fn grant(&self, length: u32) -> pb::Grant {
        let servers: Vec<u32> = self.master.members.iter().map(|n| server(*n)).collect();
        let length = if self.master.version == 1 { 0 } else { length };
        let sealed = self.master.sealed;
        pb::Grant { sealed, ..grant(self.master.version, &servers, length) }
    }

    pub(super) fn grant_all(&mut self) {
        let grant = self.grant(self.master.length);
        for n in self.master.members.clone() {
            let id = self.id();
            let lease = self.master.members[0] == n;
            let body = Body::Grant(pb::Grant { lease, ..grant.clone() });
            self.nodes[n].commands.push_back((CommandId(id), body));
        }
    }

    pub(super) fn start_change(&mut self) {
        // The members of a committed version are equal, and stay so until they are prepared for
        // another: that waits until one at least heard of the commit.
        let complete = |n: &Node| n.replica.header().map_or(0, |header| header.complete);
        if self.nodes.iter().all(|n| complete(n) < self.master.version) {
            self.master.change = None;
            return self.grant_all();
        }
        let master = &mut self.master;
        master.next = master.next.max(master.version) + 1;
        master.prepared.clear();
        let stored = |n: &usize| self.nodes[*n].disk.stored.is_some();
        let (mut chosen, absent): (Vec<usize>, Vec<usize>) = (0..SERVERS).partition(stored);
        for n in absent {
            // Filled beside the writes; a later change includes it.
            let id = CommandId(self.id());
            self.nodes[n].commands.push_back((id, Body::Clone(pb::Clone::default())));
        }
        if chosen.len() > 1 && self.faults && self.dice.roll(3) == 0 {
            let left_out = self.dice.roll(chosen.len());
            chosen.remove(left_out);
        }
        let turn = self.dice.roll(chosen.len());
        chosen.rotate_left(turn);
        let mut waiting = BTreeSet::new();
        for n in &chosen {
            let id = CommandId(self.id());
            waiting.insert(id);
            let prepare = pb::Prepare { version: self.master.version, next: self.master.next };
            self.nodes[*n].commands.push_back((id, Body::Prepare(prepare)));
        }
        self.master.change = Some((Change::Prepare, waiting, chosen));
    }

    pub(super) fn command_done(
        &mut self,
        n: usize,
        id: CommandId,
        result: Result<(), pb::ErrorDetail>,
    ) {
        let Some((_, waiting, _)) = &mut self.master.change else { return };
        if !waiting.remove(&id) {
            return;
        }
        if result.is_err() {
            return self.start_change();
        }
        let header = self.nodes[n].replica.header().cloned().unwrap_or_default();
        let disk = &self.nodes[n].disk;
        let mut content = disk.bytes.clone();
        content.resize((header.length / BLOCK_SIZE) as usize, 0);
        let said = (header.complete, header.serial, content);
        self.master.prepared.insert(n, said);
        self.advance_change();
    }

    pub(super) fn advance_change(&mut self) {
        let Some((change, waiting, chosen)) = &self.master.change else { return };
        if !waiting.is_empty() {
            return;
        }
        let (preparing, chosen) = (matches!(change, Change::Prepare), chosen.clone());
        if preparing {
            let best = chosen
                .iter()
                .filter(|n| self.master.prepared[n].0 >= self.master.version)
                .max_by_key(|n| (self.master.prepared[n].0, self.master.prepared[n].1));
            let Some(best) = best.copied() else { return self.start_change() };
            self.master.source = best;
            let mut waiting = BTreeSet::new();
            for n in &chosen {
                // Also one with the same bytes may have applied other mutations.
                if self.master.prepared[n] != self.master.prepared[&best] {
                    let id = CommandId(self.id());
                    waiting.insert(id);
                    let body = pb::Equalize { next: self.master.next, ..Default::default() };
                    self.nodes[*n].commands.push_back((id, Body::Equalize(body)));
                }
            }
            self.master.change = Some((Change::Equalize, waiting, chosen));
            return self.advance_change();
        }
        self.master.version = self.master.next;
        let blocks = self.master.prepared[&self.master.source].2.len() as u32;
        self.master.length = blocks * BLOCK_SIZE;
        self.master.history.insert(self.master.version, chosen.clone());
        self.master.members = chosen;
        self.master.change = None;
        self.grant_all();
    }

    /// A writer that waits has the version changed; a change that hangs is started again.
    pub(super) fn watch(&mut self) {
        let wanted = self.writers.iter().any(|w| w.stale == Some(self.master.version));
        let hangs = self.master.change.is_some() && self.dice.roll(40) == 0;
        if (wanted && self.master.change.is_none()) || hangs {
            self.start_change();
        }
    }
}
