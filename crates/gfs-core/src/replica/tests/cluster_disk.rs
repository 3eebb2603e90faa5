//! What is on the disks of the cluster in miniature.

use super::*;

/// A mutation as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) writer: u64,
    pub(super) sequence: u64,
    /// In blocks.
    pub(super) start: u32,
    pub(super) bytes: Payload,
}

impl Entry {
    pub(super) fn covers(&self, block: u32) -> bool {
        (self.start..self.start + self.bytes.len() as u32).contains(&block)
    }
}

/// What is on a server's disk.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) stored: Option<(Identity, Header)>,
    pub(super) bytes: Vec<u8>,
    /// Everything that was applied, in its order.
    pub(super) log: Vec<Entry>,
    /// How much of that was flushed.
    pub(super) flushed: usize,
    /// The log of what is being copied: the bytes are those of the source already.
    pub(super) copied: Option<Vec<Entry>>,
}

impl Disk {
    /// What made the bytes that are there.
    pub(super) fn shown(&self) -> &[Entry] {
        self.copied.as_ref().unwrap_or(&self.log)
    }

    /// The bytes that the log makes.
    pub(super) fn replayed(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in &self.log {
            put(&mut bytes, entry.start as usize, &entry.bytes);
        }
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, start: usize, new: &[u8]) {
    let end = start + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(new);
}

/// What an operation does to a disk.
pub(super) fn store(disk: &mut Disk, op: DiskOp<Payload>) {
    let op = match op {
        DiskOp::Create { identity, version, .. } => {
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
        DiskOp::Write { serial, writer, sequence, offset, parts, .. } => {
            let start = offset / BLOCK_SIZE;
            let bytes: Payload = parts.into_iter().flat_map(|part| part.payload).collect();
            // Past the length there may be what an aborted copy left.
            disk.bytes.truncate((header.length / BLOCK_SIZE) as usize);
            put(&mut disk.bytes, start as usize, &bytes);
            disk.log.push(Entry { writer, sequence, start, bytes });
            header.serial = serial;
            header.length = disk.bytes.len() as u32 * BLOCK_SIZE;
            header.window.record(writer, sequence, offset);
        }
        DiskOp::Promise { next } => header.promised = next,
        DiskOp::Complete { version, sealed, length } => {
            header.complete = version;
            header.serial = 0;
            header.sealed = sealed;
            header.length = length;
            disk.copied = None;
        }
        DiskOp::Seal => header.sealed = true,
        DiskOp::Flush => disk.flushed = disk.log.len(),
        DiskOp::Demote => header.complete = 0,
        DiskOp::Become(outcome) => {
            header.length = outcome.length;
            header.serial = outcome.serial;
            header.window = outcome.window;
            disk.bytes.truncate((outcome.length / BLOCK_SIZE) as usize);
            let before = std::mem::replace(&mut disk.log, disk.copied.take().unwrap_or_default());
            // What was flushed and is the same still is.
            let same = before.iter().zip(&disk.log).take_while(|(old, new)| old == new).count();
            disk.flushed = disk.flushed.min(same);
        }
        DiskOp::Create { .. } | DiskOp::Delete => {}
    }
}
