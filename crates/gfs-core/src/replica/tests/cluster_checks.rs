//! What must hold in the cluster in miniature.

use super::cluster::{Above, Checked, Cluster, Manner, server};
use super::cluster_disk::{Disk, Entry};
use super::*;
use std::collections::BTreeSet;

fn entry_of(log: &[Entry], w: usize, sequence: u64) -> Option<&Entry> {
    log.iter().find(|entry| (entry.writer, entry.sequence) == (w as u64 + 1, sequence))
}

impl Cluster {
    /// What a primary tells a writer is so on every member of its version.
    pub(super) fn check_reply(&mut self, n: usize, stream: StreamId, body: &ReplyBody) -> Checked {
        if let ReplyBody::Failed(failed) = body {
            let error = failed.error.clone().unwrap_or_default();
            if error.error_code() == ErrorCode::Internal {
                return Err(format!("server {}: {}", server(n), error.message));
            }
        }
        let Some(link) = self.links.values().find(|l| l.node == n && l.stream == stream) else {
            return Ok(());
        };
        let Above::Writer(w) = link.above else { return Ok(()) };
        let members = self.nodes[n].replica.members.1.clone();
        let disks = members.iter().map(|member| &self.nodes[member.server as usize - 1].disk);
        match body {
            ReplyBody::Acknowledged(ack) => {
                for disk in disks {
                    self.check_holds(disk, w, ack.through)?;
                    self.check_places(disk, w, ack.through, &ack.offsets)?;
                }
            }
            ReplyBody::Opened(opened) => {
                for disk in disks {
                    self.check_places(disk, w, opened.sequence, &opened.offsets)?;
                }
            }
            // On the stream that it has, not on one that it gave up.
            ReplyBody::Flushed(flushed) if self.writers[w].link == Some(stream.0 as usize) => {
                let asked = self.writers[w].flushes.iter().find(|f| f.0 == flushed.token);
                let through = asked.map_or(0, |(_, through)| *through);
                // Of a full chunk: what it took.
                let role = self.nodes[n].replica.role.as_ref();
                let primary = role.and_then(|role| role.primary.as_ref()).filter(|p| p.full);
                let known = primary.and_then(|primary| primary.writers.get(&(w as u64 + 1)));
                let through = known.map_or(through, |known| through.min(known.ordered));
                for disk in disks {
                    let log = disk.log.get(..disk.flushed).unwrap_or_default();
                    if (1..=through).any(|sequence| entry_of(log, w, sequence).is_none()) {
                        return Err(format!("writer {w}: not all through {through} is flushed"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Everything of this writer up to `through` is on the disk, whole and where it was to go.
    fn check_holds(&self, disk: &Disk, w: usize, through: u64) -> Checked {
        for (sequence, (place, bytes)) in (1..=through).zip(&self.writers[w].mutations) {
            let Some(entry) = entry_of(&disk.log, w, sequence) else {
                return Err(format!("mutation {sequence} of writer {w} is lost, acknowledged"));
            };
            if entry.bytes != *bytes || place.is_some_and(|place| place != entry.start) {
                return Err(format!("mutation {sequence} of writer {w} is {entry:?}"));
            }
        }
        Ok(())
    }

    /// The last mutations up to `through` went where the writer is told.
    fn check_places(&self, disk: &Disk, w: usize, through: u64, offsets: &[u32]) -> Checked {
        for (back, offset) in (0..).zip(offsets.iter().rev()) {
            let entry = entry_of(&disk.log, w, through - back);
            if entry.map(|entry| entry.start * BLOCK_SIZE) != Some(*offset) {
                return Err(format!(
                    "mutation {} of writer {w} is not at {offset}",
                    through - back
                ));
            }
        }
        Ok(())
    }

    /// All members are equal, hold all that was acknowledged, and nothing twice; and nothing of
    /// what its writer was told will not be there.
    pub(super) fn check_members(&self) -> Checked {
        let first = &self.nodes[self.master.members[0]].disk;
        for n in &self.master.members {
            let disk = &self.nodes[*n].disk;
            let replayed = self.torn || disk.replayed() == disk.bytes;
            if disk.bytes != first.bytes || disk.log != first.log || !replayed {
                return Err(format!("server {} differs", server(*n)));
            }
            for (w, writer) in self.writers.iter().enumerate() {
                self.check_holds(disk, w, writer.acknowledged)?;
                let beyond = entry_of(&disk.log, w, writer.acknowledged + 1);
                if writer.done && beyond.is_some() {
                    return Err(format!("writer {w} goes on elsewhere, and {beyond:?} is here"));
                }
            }
        }
        let once: BTreeSet<_> = first.log.iter().map(|e| (e.writer, e.sequence)).collect();
        if once.len() != first.log.len() {
            return Err(format!("applied twice: {:?}", first.log));
        }
        // Records lie one behind the other.
        let appends = |e: &&Entry| self.writers[e.writer as usize - 1].manner == Manner::Append;
        let records: Vec<_> = first.log.iter().filter(appends).collect();
        for (before, after) in records.iter().zip(records.iter().skip(1)) {
            if after.start < before.start + before.bytes.len() as u32 {
                return Err(format!("{after:?} lies over {before:?}"));
            }
        }
        Ok(())
    }

    /// Somebody reads: what is shown was applied by every member, so that nothing takes it back.
    pub(super) fn read(&mut self) -> Checked {
        let n = self.dice.roll(super::cluster::SERVERS);
        let blocks = (self.chunk_size / BLOCK_SIZE) as usize;
        let (from, count) = (self.dice.roll(blocks) as u32, 1 + self.dice.roll(8) as u32);
        let version = self.nodes[n].replica.header().map_or(0, |header| header.complete);
        let judge = |cluster: &Self| {
            let replica = &cluster.nodes[n].replica;
            replica.read(version, from * BLOCK_SIZE, count * BLOCK_SIZE)
        };
        let mut verdict = judge(self);
        if let ReadVerdict::AskPrimary(primary) = &verdict {
            let primary = &self.nodes[primary.server as usize - 1].replica;
            if !primary.knows_confirmed(version) {
                return Ok(());
            }
            let (length, serial) = (primary.confirmed(), primary.acknowledged());
            self.step(n, Event::Confirmed { version, length, serial })?;
            verdict = judge(self);
        }
        let ReadVerdict::Serve { bytes, .. } = verdict else { return Ok(()) };
        let members = self.master.history.get(&version).into_iter().flatten();
        let now = self.master.history.get(&self.master.version).into_iter().flatten();
        let at = |n: &usize, version: u64| {
            self.nodes[*n].replica.header().is_some_and(|header| header.complete == version)
        };
        let others: BTreeSet<usize> = members
            .filter(|n| at(n, version))
            .chain(now.filter(|n| at(n, self.master.version)))
            .copied()
            .collect();
        for block in from..from + bytes / BLOCK_SIZE {
            let shown = self.nodes[n].disk.shown().iter().rev().find(|entry| entry.covers(block));
            let Some(shown) = shown else {
                return Err(format!("block {block} is shown, and nobody wrote it"));
            };
            if let Some(other) =
                others.iter().find(|o| !self.nodes[**o].disk.shown().contains(shown))
            {
                let (n, other) = (server(n), server(*other));
                return Err(format!("server {n} shows {shown:?}, which server {other} lacks"));
            }
        }
        Ok(())
    }
}
