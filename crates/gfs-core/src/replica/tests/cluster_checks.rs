//! What must hold in the cluster in miniature, and what its disks do.

use super::cluster::{Above, Checked, Cluster, Disk, server};
use super::*;
use std::collections::BTreeSet;

impl Cluster {
    /// What is acknowledged is on the disk of every member of that version.
    pub(super) fn check_acknowledged(
        &self,
        n: usize,
        stream: StreamId,
        ack: &pb::Acknowledged,
    ) -> Checked {
        let Some(link) = self.links.values().find(|l| l.node == n && l.stream == stream) else {
            return Ok(());
        };
        let Above::Writer(w) = link.above else { return Ok(()) };
        for member in &self.nodes[n].replica.members.1 {
            self.check_holds(member.server as usize - 1, w, ack.through)?;
        }
        Ok(())
    }

    pub(super) fn check_holds(&self, n: usize, w: usize, through: u64) -> Checked {
        let disk = &self.nodes[n].disk;
        for (offset, bytes) in self.writers[w].slices.iter().take(through as usize) {
            let range = *offset as usize..*offset as usize + bytes.len();
            if disk.bytes.get(range) != Some(bytes) {
                return Err(format!(
                    "server {} lacks bytes at {offset} of writer {w}, acknowledged",
                    server(n)
                ));
            }
        }
        Ok(())
    }

    /// All members are equal, hold all that was acknowledged, and nothing twice.
    pub(super) fn check_members(&self) -> Checked {
        let first = &self.nodes[self.master.members[0]].disk;
        for n in &self.master.members {
            let disk = &self.nodes[*n].disk;
            if disk.bytes != first.bytes || disk.log != first.log {
                return Err(format!("server {} differs", server(*n)));
            }
            for w in 0..self.writers.len() {
                self.check_holds(*n, w, self.writers[w].acknowledged)?;
            }
        }
        let once: BTreeSet<_> = first.log.iter().collect();
        if once.len() != first.log.len() {
            return Err(format!("applied twice: {:?}", first.log));
        }
        Ok(())
    }
}

/// What an operation does to a disk.
pub(super) fn store(disk: &mut Disk, op: DiskOp<Payload>) {
    let op = match op {
        DiskOp::Create { identity, version } => {
            let header = Header { promised: version, complete: version, ..Header::default() };
            *disk = Disk { stored: Some((identity, header)), ..Disk::default() };
            return;
        }
        DiskOp::Delete => {
            *disk = Disk::default();
            return;
        }
        other => other,
    };
    let Some((_, header)) = &mut disk.stored else { return };
    match op {
        DiskOp::Write { serial, writer, slice, payload, .. } => {
            let (start, end) = (slice.offset as usize, slice.offset as usize + payload.len());
            // Past the length there may be what an aborted copy left.
            disk.bytes.truncate(header.length as usize);
            if disk.bytes.len() < end {
                disk.bytes.resize(end, 0);
            }
            disk.bytes[start..end].copy_from_slice(&payload);
            disk.log.push((writer, slice.sequence));
            header.serial = serial;
            header.length = disk.bytes.len() as u32;
            header.window.record(writer, slice.sequence, slice.offset);
        }
        DiskOp::Promise { next } => header.promised = next,
        DiskOp::Complete { version, sealed } => {
            header.complete = version;
            header.serial = 0;
            header.sealed = sealed;
        }
        DiskOp::Seal => header.sealed = true,
        DiskOp::Demote => header.complete = 0,
        DiskOp::Become(outcome) => {
            header.length = outcome.length;
            header.serial = outcome.serial;
            header.window = outcome.window;
            disk.bytes.truncate(outcome.length as usize);
            disk.log = std::mem::take(&mut disk.copied);
        }
        DiskOp::Create { .. } | DiskOp::Delete => {}
    }
}
