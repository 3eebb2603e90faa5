//! What is stored of a replica: one file, with data, checksums of whole blocks, and a header that
//! makes both count, in two slots by turns.
//!
//! Data goes first, then the checksums of the blocks it fills, then the header. A kill in the middle
//! leaves bytes beyond the length that the header says, which nobody may take for content.

use super::Left;
use crate::dice::Dice;
use bytes::Bytes;
use gfs_core::replica::{CopyOutcome, DiskOp, Header, Identity, Part};
use gfs_types::{BLOCK_SIZE, Crc, Millis};
use std::collections::BTreeSet;

/// Pages are written back one by one.
const PAGE: usize = 4096;

/// What a header slot says beside the replica's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Everything that the header describes is durable.
    clean: bool,
    /// Not to be trusted until compared.
    suspect: bool,
    /// Checksum of the last block where that is not whole.
    tail: u32,
    /// The last sync: version, serial, length.
    synced: (u64, u64, u32),
}

/// One of the two header slots.
#[derive(Clone, Debug)]
struct Slot {
    header: Header,
    marks: Marks,
}

/// What is written of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    data: Vec<u8>,
    /// Checksums of whole blocks.
    sums: Vec<u32>,
}

/// What is durable of a file.
#[derive(Clone, Debug)]
pub(super) struct Image {
    slot: Slot,
    file: File,
}

/// What is stored of a replica.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is of.
    pub identity: Identity,
    /// Its header.
    pub header: Header,
    marks: Marks,
    /// The other slot: the header before this one, if it was written.
    before: Option<Slot>,
    file: File,
    durable: Option<Box<Image>>,
    /// A sync failed: it takes no more writes.
    failed: bool,
    /// Counts changes, for the background pass.
    activity: u64,
    seen: Option<(u64, Millis)>,
    synced_at: Millis,
}

impl Stored {
    /// A file without content that was just created.
    pub(super) fn new(identity: Identity, header: Header) -> Self {
        Self {
            identity,
            header,
            marks: Marks::default(),
            before: None,
            file: File::default(),
            durable: None,
            failed: false,
            activity: 0,
            seen: None,
            synced_at: Millis(0),
        }
    }

    /// A file of zeros, as many as the header says.
    pub(super) fn zeros(identity: Identity, header: Header) -> Self {
        let mut stored = Self::new(identity, header);
        stored.file.data = vec![0; stored.header.length as usize];
        stored.marks.tail = stored.sum_blocks(0, stored.header.length);
        stored
    }

    /// Makes the checksums of the blocks from this one up to a length; returns that of the last
    /// block if it is not whole, else 0.
    fn sum_blocks(&mut self, first: u32, end: u32) -> u32 {
        for block in first..end / BLOCK_SIZE {
            let sum = Crc::of(self.range(block, BLOCK_SIZE)).0;
            self.file.put_sum(block, sum);
        }
        let rest = end % BLOCK_SIZE;
        if rest == 0 { 0 } else { Crc::of(self.range(end / BLOCK_SIZE, rest)).0 }
    }

    /// Whether it counts as no copy until it is compared with one.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.marks.suspect
    }

    /// A sync of it failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// The mutation up to which it was synced, as its header says.
    #[must_use]
    pub const fn synced(&self) -> (u64, u64) {
        (self.marks.synced.0, self.marks.synced.1)
    }

    /// Bytes that a sync made durable, as its header says.
    #[must_use]
    pub const fn synced_length(&self) -> u32 {
        if self.marks.clean { self.header.length } else { self.marks.synced.2 }
    }

    pub(super) const fn was_synced(&self) -> bool {
        self.durable.is_some()
    }

    fn range(&self, block: u32, bytes: u32) -> &[u8] {
        let start = block as usize * BLOCK_SIZE as usize;
        self.file.data.get(start..start + bytes as usize).unwrap_or_default()
    }

    /// What a block's checksum says it must be, and of how many bytes.
    fn sum(&self, block: u32) -> (u32, u32) {
        let length = bytes_of(block, self.header.length);
        if length < BLOCK_SIZE {
            (self.marks.tail, length)
        } else {
            (self.file.sums.get(block as usize).copied().unwrap_or_default(), length)
        }
    }

    /// Whether a block matches its checksum.
    #[must_use]
    pub fn is_sound(&self, block: u32) -> bool {
        let (sum, length) = self.sum(block);
        let bytes = self.range(block, length);
        bytes.len() == length as usize && Crc::of(bytes).0 == sum
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
        (0..self.blocks()).map(|block| self.sum(block).0).collect()
    }

    /// The bytes of a range of the content, unverified.
    #[must_use]
    pub fn bytes(&self, offset: u32, length: u32) -> Bytes {
        let start = (offset as usize).min(self.file.data.len());
        let end = (start + length as usize).min(self.file.data.len());
        Bytes::copy_from_slice(self.file.data.get(start..end).unwrap_or_default())
    }

    /// Before the first change to data or length: a header that says *clean* says so no more,
    /// durably.
    fn begin_change(&mut self) {
        if self.marks.clean {
            self.put_slot(|_, marks| marks.clean = false);
            self.make_durable();
        }
    }

    /// Writes the header, into the slot that does not hold the present one.
    fn put_slot(&mut self, change: impl FnOnce(&mut Header, &mut Marks)) {
        self.before = Some(Slot { header: self.header.clone(), marks: self.marks.clone() });
        change(&mut self.header, &mut self.marks);
        self.activity += 1;
    }

    fn make_durable(&mut self) {
        let slot = Slot { header: self.header.clone(), marks: self.marks.clone() };
        // No older header can come back.
        self.before = Some(slot.clone());
        self.durable = Some(Box::new(Image { slot, file: self.file.clone() }));
    }

    /// Carries out an operation on what is there.
    pub(super) fn change(&mut self, op: &DiskOp<Bytes>) -> Result<(), String> {
        match op {
            DiskOp::Write { serial, writer, sequence, offset, parts, .. } => {
                self.check_kept(*offset, parts)?;
                self.begin_change();
                let tail = self.write(*offset, parts);
                let end = offset + length_of(parts);
                self.put_slot(|header, marks| {
                    header.length = header.length.max(end);
                    header.serial = *serial;
                    header.window.record(*writer, *sequence, *offset);
                    marks.tail = tail;
                    // What the last sync made durable holds up to here only.
                    marks.synced.2 = marks.synced.2.min(*offset);
                });
            }
            DiskOp::Promise { next } => self.put_slot(|header, _| header.promised = *next),
            DiskOp::Complete { version, sealed, length } => {
                self.cut(*length)?;
                self.put_slot(|header, marks| {
                    header.promised = *version;
                    header.complete = *version;
                    header.serial = 0;
                    header.sealed = *sealed;
                    marks.suspect = false;
                });
            }
            DiskOp::Flush => self.sync(false),
            DiskOp::Seal => self.put_slot(|header, _| header.sealed = true),
            DiskOp::Demote => self.put_slot(|header, _| header.complete = 0),
            DiskOp::Become(outcome) => self.become_copy(outcome),
            DiskOp::Create { .. } | DiskOp::Delete => {}
        }
        Ok(())
    }

    /// Bytes of the content that stay beside new ones in their block must match their checksum.
    fn check_kept(&self, offset: u32, parts: &[Part<Bytes>]) -> Result<(), String> {
        let (old, end) = (self.header.length, offset + length_of(parts));
        if offset >= old {
            return Ok(());
        }
        for block in offset / BLOCK_SIZE..end.min(old).div_ceil(BLOCK_SIZE) {
            let start = block * BLOCK_SIZE;
            let replaced = offset <= start && start + bytes_of(block, old) <= end;
            if !replaced && !self.is_sound(block) {
                return Err(format!("block {block} does not match its checksum"));
            }
        }
        Ok(())
    }

    /// Writes the bytes of a mutation and the checksums of whole blocks; returns the new one of the
    /// tail.
    fn write(&mut self, offset: u32, parts: &[Part<Bytes>]) -> u32 {
        // What the length does not cover is no content: the checksum of the tail is made of the
        // bytes below the old length, which must match their own, and of the new ones.
        let old = self.header.length;
        let (tail, end) = (old / BLOCK_SIZE, offset + length_of(parts));
        let sound = old.is_multiple_of(BLOCK_SIZE) || offset < old || self.is_sound(tail);
        let mut at = offset;
        for part in parts {
            self.file.put(at, &part.payload);
            at += part.length;
        }
        let length = old.max(end);
        let first = offset / BLOCK_SIZE;
        // Behind what is written the checksums stay.
        let summed = length.min(end.next_multiple_of(BLOCK_SIZE));
        let mut last = self.sum_blocks(first, summed);
        if !sound && first == tail {
            // A damaged block stays one.
            match self.file.sums.get_mut(tail as usize) {
                Some(sum) if length / BLOCK_SIZE > tail => *sum ^= 1,
                _ => last ^= 1,
            }
        }
        if summed == length { last } else { self.marks.tail }
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
        self.begin_change();
        self.file.data.truncate(length as usize);
        self.file.sums.truncate(tail as usize);
        let sum = self.sum_blocks(tail, length);
        self.put_slot(|header, marks| {
            header.length = length;
            marks.tail = sum;
            marks.synced.2 = marks.synced.2.min(length - length % BLOCK_SIZE);
        });
        // No older header, longer than its file, can come back.
        self.make_durable();
        Ok(())
    }

    /// Bytes that were written before the header that would have counted them. Below the length a
    /// redo record sees to it that nothing is torn.
    pub(super) fn tear(&mut self, offset: u32, bytes: &[u8]) {
        let known = self.header.length.saturating_sub(offset) as usize;
        if let Some(bytes) = bytes.get(known..)
            && !bytes.is_empty()
        {
            self.begin_change();
            self.file.put(offset + known as u32, bytes);
        }
    }

    /// Writes blocks of another replica in place.
    pub fn put_blocks(&mut self, first: u32, payload: &[u8]) {
        self.begin_change();
        self.file.put(first * BLOCK_SIZE, payload);
        for (block, piece) in (first..).zip(payload.chunks(BLOCK_SIZE as usize)) {
            // The checksum of a part of a block stands in the header, which comes at the end.
            if piece.len() == BLOCK_SIZE as usize {
                self.file.put_sum(block, Crc::of(piece).0);
            }
        }
        // What the last sync made durable holds up to here only.
        self.marks.synced.2 = self.marks.synced.2.min(first * BLOCK_SIZE);
        self.activity += 1;
    }

    fn become_copy(&mut self, outcome: &CopyOutcome) {
        if (self.header.length, self.marks.tail) != (outcome.length, outcome.tail) {
            self.begin_change();
        }
        let cut = outcome.length < self.marks.synced.2;
        self.put_slot(|header, marks| {
            header.length = outcome.length;
            header.serial = outcome.serial;
            header.window = outcome.window.clone();
            marks.tail = outcome.tail;
            if cut {
                marks.synced.2 = outcome.length - outcome.length % BLOCK_SIZE;
            }
        });
        if cut {
            self.make_durable();
        }
    }

    /// Whether the background pass is to sync it now, and (`true`) whether it is clean then.
    pub(super) fn sync_due(&mut self, now: Millis, idle: Millis, progress: Millis) -> Option<bool> {
        if self.marks.clean || self.marks.suspect || self.failed {
            return None;
        }
        match self.seen {
            Some((seen, since)) if seen == self.activity => {
                (now.since(since) >= idle).then_some(true)
            }
            seen => {
                self.seen = Some((self.activity, now));
                if seen.is_none() {
                    self.synced_at = now;
                }
                (now.since(self.synced_at) >= progress).then_some(false)
            }
        }
    }

    /// Syncs it. That it was is in a header that is durable only later.
    pub(super) fn sync(&mut self, idle: bool) {
        self.make_durable();
        self.synced_at = self.seen.map_or(self.synced_at, |(_, since)| since);
        self.put_slot(|header, marks| {
            marks.synced = (header.complete, header.serial, header.length);
            marks.clean |= idle;
        });
        self.seen = Some((self.activity, self.synced_at));
    }

    /// The disk failed a sync: what was written since the one before may be gone, and no later one
    /// tells.
    pub(super) fn sync_failed(&mut self) {
        self.failed = true;
        self.put_slot(|_, marks| {
            marks.clean = false;
            marks.suspect = true;
        });
    }

    /// What a loss of power leaves; `None`: nothing that says what it is.
    pub(super) fn after_power_loss(self, left: Left, dice: &mut Dice) -> Option<Self> {
        let Self { identity, header, marks, before, file, durable, .. } = self;
        let present = Slot { header, marks };
        let kept = match (left, durable) {
            (Left::Everything, _) => Image { slot: present, file },
            (Left::Nothing, durable) => *durable?,
            (Left::Parts, None) => {
                let slots = [None, before, Some(present)];
                let slot = slots.into_iter().nth(dice.index(3))??;
                let mut kept = Image { slot, file: File::default() };
                kept.file.take_parts_of(&file, dice);
                kept
            }
            (Left::Parts, Some(durable)) => {
                let mut kept = *durable;
                match (dice.range(0, 3), before) {
                    (0, _) => kept.slot = present,
                    (1, Some(before)) => kept.slot = before,
                    _ => {}
                }
                kept.file.take_parts_of(&file, dice);
                kept
            }
        };
        let Image { slot: Slot { header, marks }, file } = kept;
        let mut stored = Self::new(identity, header);
        stored.marks = marks;
        stored.marks.suspect |= !stored.marks.clean;
        stored.file = file;
        stored.make_durable();
        Some(stored)
    }

    /// Flips a bit of the content.
    pub fn rot(&mut self, at: usize) {
        // Under what is written and under what is durable alike.
        let durable = self.durable.as_mut().and_then(|image| image.file.data.get_mut(at));
        for byte in [self.file.data.get_mut(at), durable].into_iter().flatten() {
            *byte ^= 0x10;
        }
    }
}

impl File {
    fn put(&mut self, offset: u32, bytes: &[u8]) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        if let Some(target) = self.data.get_mut(start..end) {
            target.copy_from_slice(bytes);
        }
    }

    fn put_sum(&mut self, block: u32, sum: u32) {
        let at = block as usize;
        if self.sums.len() <= at {
            self.sums.resize(at + 1, 0);
        }
        if let Some(place) = self.sums.get_mut(at) {
            *place = sum;
        }
    }

    /// Some pages and checksums are as they are in another one.
    fn take_parts_of(&mut self, other: &Self, dice: &mut Dice) {
        self.data.resize(self.data.len().max(other.data.len()), 0);
        for (mine, theirs) in self.data.chunks_mut(PAGE).zip(other.data.chunks(PAGE)) {
            let same = mine.get(..theirs.len()).is_some_and(|mine| mine == theirs);
            if !same && dice.chance(500) {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = *theirs);
            }
        }
        self.sums.resize(self.sums.len().max(other.sums.len()), 0);
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            if *mine != *theirs && dice.chance(500) {
                *mine = *theirs;
            }
        }
    }
}

fn length_of(parts: &[Part<Bytes>]) -> u32 {
    parts.iter().map(|part| part.length).sum()
}

/// Bytes of a block below a length.
const fn bytes_of(block: u32, length: u32) -> u32 {
    let rest = length.saturating_sub(block.saturating_mul(BLOCK_SIZE));
    if rest < BLOCK_SIZE { rest } else { BLOCK_SIZE }
}
