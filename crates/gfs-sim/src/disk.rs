//! The virtual disk of a chunkserver: what is stored of each replica, and what a kill leaves.
//!
//! Every operation is atomic for who reads the header, as the chunk store's are: data goes first,
//! then the checksums of its blocks, then the header that makes both count. A kill in the middle
//! leaves bytes beyond the length that the header says, which nobody may take for content.

use bytes::Bytes;
use gfs_core::replica::{CopyOutcome, DiskOp, Header, Identity, Part, Remember};
use gfs_types::{BLOCK_SIZE, Crc};
use std::collections::{BTreeMap, BTreeSet};

/// A checksum and how many bytes of the block it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    crc: u32,
    length: u32,
}

/// What is stored of a replica.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is of.
    pub identity: Identity,
    /// Its header.
    pub header: Header,
    data: Vec<u8>,
    sums: Vec<Sum>,
}

impl Stored {
    fn bytes_of(block: u32, length: u32) -> u32 {
        length.saturating_sub(block.saturating_mul(BLOCK_SIZE)).min(BLOCK_SIZE)
    }

    fn range(&self, block: u32, bytes: u32) -> &[u8] {
        let start = block as usize * BLOCK_SIZE as usize;
        self.data.get(start..start + bytes as usize).unwrap_or_default()
    }

    /// Whether a block matches its checksum.
    #[must_use]
    pub fn is_sound(&self, block: u32) -> bool {
        let Some(sum) = self.sums.get(block as usize) else { return false };
        let bytes = self.range(block, sum.length);
        bytes.len() == sum.length as usize
            && sum.length >= Self::bytes_of(block, self.header.length)
            && Crc::of(bytes).0 == sum.crc
    }

    /// The blocks of the content.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.header.length.div_ceil(BLOCK_SIZE)
    }

    /// Blocks of the content that do not match their checksums.
    #[must_use]
    pub fn damaged(&self) -> BTreeSet<u32> {
        (0..self.blocks()).filter(|block| !self.is_sound(*block)).collect()
    }

    /// The checksum of every block of the content, the last one of its part below the length. As
    /// recorded: a damaged block has the sum it should match.
    #[must_use]
    pub fn sums(&self) -> Vec<u32> {
        (0..self.blocks())
            .map(|block| {
                let bytes = Self::bytes_of(block, self.header.length);
                match self.sums.get(block as usize) {
                    Some(sum) if sum.length == bytes => sum.crc,
                    _ => Crc::of(self.range(block, bytes)).0,
                }
            })
            .collect()
    }

    /// The bytes of a range of the content, unverified.
    #[must_use]
    pub fn bytes(&self, offset: u32, length: u32) -> Bytes {
        let start = (offset as usize).min(self.data.len());
        let end = (start + length as usize).min(self.data.len());
        Bytes::copy_from_slice(self.data.get(start..end).unwrap_or_default())
    }

    fn put(&mut self, offset: u32, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        if let Some(target) = self.data.get_mut(start..end) {
            target.copy_from_slice(bytes);
        }
    }

    fn sum_up_to(&mut self, block: u32, length: u32) {
        let crc = Crc::of(self.range(block, length)).0;
        let at = block as usize;
        if self.sums.len() <= at {
            self.sums.resize(at + 1, Sum::default());
        }
        if let Some(sum) = self.sums.get_mut(at) {
            *sum = Sum { crc, length };
        }
    }

    /// Writes a mutation: over bytes of the content, behind them, or both.
    fn write(&mut self, offset: u32, parts: &[Part<Bytes>]) -> Result<(), String> {
        let old = self.header.length;
        let end = offset + parts.iter().map(|part| part.length).sum::<u32>();
        let blocks = offset / BLOCK_SIZE..end.div_ceil(BLOCK_SIZE);
        // What the length does not cover is no content: the checksum of the tail is made of the
        // bytes below the old length, which must match their own, and of the new ones.
        let tail = old / BLOCK_SIZE;
        let sound = old.is_multiple_of(BLOCK_SIZE) || self.is_sound(tail);
        for block in blocks.clone() {
            let start = block * BLOCK_SIZE;
            let kept = start + Self::bytes_of(block, old);
            let replaced = offset <= start && kept <= end;
            if offset < kept && !replaced && !self.is_sound(block) {
                return Err(format!("block {block} does not match its checksum"));
            }
        }
        let mut at = offset;
        for part in parts {
            self.put(at, &part.payload);
            at += part.length;
        }
        let length = old.max(end);
        for block in blocks {
            self.sum_up_to(block, Self::bytes_of(block, length));
        }
        if !sound
            && offset >= old
            && let Some(sum) = self.sums.get_mut(tail as usize)
        {
            // A damaged block stays one.
            sum.crc ^= 1;
        }
        self.header.length = length;
        Ok(())
    }

    /// Drops what is behind this length.
    fn cut(&mut self, length: u32) -> Result<(), String> {
        if length >= self.header.length {
            return Ok(());
        }
        let tail = length / BLOCK_SIZE;
        if !length.is_multiple_of(BLOCK_SIZE) && !self.is_sound(tail) {
            return Err(format!("block {tail} does not match its checksum"));
        }
        self.header.length = length;
        self.data.truncate(length as usize);
        self.sums.truncate(self.blocks() as usize);
        if !length.is_multiple_of(BLOCK_SIZE) {
            self.sum_up_to(tail, Self::bytes_of(tail, length));
        }
        Ok(())
    }

    /// Writes blocks of another replica in place.
    pub fn put_blocks(&mut self, first: u32, payload: &[u8]) {
        self.put(first * BLOCK_SIZE, payload);
        for (block, piece) in (first..).zip(payload.chunks(BLOCK_SIZE as usize)) {
            self.sum_up_to(block, piece.len() as u32);
        }
    }

    /// Flips a bit of the content.
    pub fn rot(&mut self, at: usize) {
        if let Some(byte) = self.data.get_mut(at) {
            *byte ^= 0x10;
        }
    }
}

/// A virtual disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The replicas.
    pub chunks: BTreeMap<u64, Stored>,
    /// What the server remembers beyond its end: number, cluster, highest epoch.
    pub server: u32,
    /// Cluster id; empty on a fresh disk.
    pub cluster: Bytes,
    /// See [`Remember`].
    pub remember: Remember,
}

impl Disk {
    /// Carries out an operation.
    ///
    /// # Errors
    /// When bytes that are to be kept beside new ones in their block, or below a cut, do not match
    /// their checksum: nothing is done.
    pub fn apply(&mut self, handle: u64, op: &DiskOp<Bytes>) -> Result<(), String> {
        match op {
            DiskOp::Create { identity, version, length } => {
                let (promised, complete) = (*version, *version);
                let header = Header { promised, complete, length: *length, ..Header::default() };
                let data = vec![0; *length as usize];
                let mut stored = Stored { identity: *identity, header, data, sums: Vec::new() };
                for block in 0..stored.blocks() {
                    stored.sum_up_to(block, Stored::bytes_of(block, *length));
                }
                self.chunks.insert(handle, stored);
            }
            DiskOp::Delete => {
                self.chunks.remove(&handle);
            }
            op => {
                if let Some(stored) = self.chunks.get_mut(&handle) {
                    return change(stored, op);
                }
            }
        }
        Ok(())
    }

    /// What a kill in the middle of an operation leaves: bytes that do not count.
    pub fn tear(&mut self, handle: u64, op: &DiskOp<Bytes>, written: usize) {
        let (DiskOp::Write { offset, parts, .. }, Some(stored)) =
            (op, self.chunks.get_mut(&handle))
        else {
            return;
        };
        // Below the length the redo record sees to it that nothing is torn.
        let (mut at, mut left) = (*offset, written);
        for part in parts {
            let bytes = part.payload.get(..left).unwrap_or(&part.payload);
            let known = stored.header.length.saturating_sub(at).min(bytes.len() as u32);
            stored.put(at + known, bytes.get(known as usize..).unwrap_or_default());
            at += part.length;
            left = left.saturating_sub(part.length as usize);
        }
    }
}

fn change(stored: &mut Stored, op: &DiskOp<Bytes>) -> Result<(), String> {
    let header = &mut stored.header;
    match op {
        DiskOp::Write { serial, writer, sequence, offset, parts, .. } => {
            stored.write(*offset, parts)?;
            stored.header.serial = *serial;
            stored.header.window.record(*writer, *sequence, *offset);
        }
        DiskOp::Promise { next } => header.promised = *next,
        DiskOp::Complete { version, sealed, length } => {
            stored.cut(*length)?;
            let header = &mut stored.header;
            header.promised = *version;
            header.complete = *version;
            header.serial = 0;
            header.sealed = *sealed;
        }
        DiskOp::Seal => header.sealed = true,
        DiskOp::Demote => header.complete = 0,
        DiskOp::Become(CopyOutcome { length, serial, window, .. }) => {
            header.length = *length;
            header.serial = *serial;
            header.window = window.clone();
            let blocks = stored.blocks();
            stored.data.truncate(*length as usize);
            stored.sums.truncate(blocks as usize);
            // The last block may have been longer here.
            if let Some(last) = blocks.checked_sub(1)
                && stored.is_sound_prefix(last)
            {
                stored.sum_up_to(last, Stored::bytes_of(last, *length));
            }
        }
        DiskOp::Flush | DiskOp::Create { .. } | DiskOp::Delete => {}
    }
    Ok(())
}

impl Stored {
    /// Whether the recorded sum of the block covers more than the content has of it.
    fn is_sound_prefix(&self, block: u32) -> bool {
        self.sums
            .get(block as usize)
            .is_some_and(|sum| sum.length > Self::bytes_of(block, self.header.length))
    }
}
