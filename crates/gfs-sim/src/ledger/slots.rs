//! A file of slots that many overwrite, each at most one at a time, so that it is known what each may
//! hold.
//!
//! A write has a number, and the bytes of a slot follow from its own number and that. Writes of a
//! slot follow one another. What a slot may hold is the last write that was acknowledged, or one
//! that was sent since and of which nobody knows; or one that failed before, for nobody knows when
//! what is left of it on the network takes effect.

use crate::content;
use bytes::Bytes;
use gfs_types::Millis;

/// Bytes of a slot: not a multiple of a block or a page.
pub const SLOT: u64 = 9_001;
/// For so long a server that the master does not reach may go on serving what it has.
const STALE: Millis = Millis(10_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    Acknowledged { at: Millis, on_disk: bool },
    Unknown,
}

/// What was written to a slot: the writes by their numbers, from 1 on. 0: zeros.
#[derive(Clone, Debug, Default)]
struct Slot {
    writes: Vec<Fate>,
    /// The last write that a reader has seen.
    seen: usize,
    /// A loss of power may have taken back what came behind the first of these, up to the second.
    lost: Option<(usize, usize)>,
}

impl Slot {
    /// The last write that was acknowledged before some time.
    fn acknowledged(&self, before: Millis) -> usize {
        let known = |fate: &Fate| matches!(fate, Fate::Acknowledged { at, .. } if *at < before);
        self.writes.iter().rposition(known).map_or(0, |index| index + 1)
    }

    fn on_disk(&self) -> usize {
        let known = |fate: &Fate| matches!(fate, Fate::Acknowledged { on_disk: true, .. });
        self.writes.iter().rposition(known).map_or(0, |index| index + 1)
    }

    /// Whether it may hold this write, for somebody to whom all that was acknowledged before some
    /// time must be shown.
    fn may_hold(&self, write: usize, before: Millis) -> bool {
        let floor = match (self.acknowledged(before), self.lost) {
            (last, Some((left, lost))) if last <= lost => last.min(left),
            (last, _) => last,
        };
        let failed = write.checked_sub(1).and_then(|index| self.writes.get(index));
        write >= floor || failed == Some(&Fate::Unknown)
    }

    fn is_busy(&self) -> bool {
        self.writes.last() == Some(&Fate::Sent)
    }
}

/// The slots of a file.
#[derive(Clone, Debug)]
pub struct Slots {
    /// A number of the file's own.
    key: u64,
    slots: Vec<Slot>,
    /// Across multiples of these numbers a write goes in parts.
    borders: [u64; 2],
}

impl Slots {
    /// So many slots of zeros, in a file of chunks and slices of these sizes.
    #[must_use]
    pub fn new(key: u64, count: usize, chunk_size: u32, max_slice: u32) -> Self {
        let borders = [chunk_size.into(), max_slice.into()];
        Self { key, slots: vec![Slot::default(); count], borders }
    }

    /// Length of the file.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.slots.len() as u64 * SLOT
    }

    /// Slots that nobody writes just now.
    #[must_use]
    pub fn idle(&self) -> Vec<usize> {
        let idle = self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_busy());
        idle.map(|(number, _)| number).collect()
    }

    /// What a slot holds after this write of it.
    fn bytes(&self, slot: usize, write: usize) -> Bytes {
        if write == 0 {
            return vec![0; SLOT as usize].into();
        }
        let key = content::key(self.key, (slot as u64) << 32 | write as u64);
        content::bytes(key, 0, SLOT as usize)
    }

    /// The next write of a slot: its number, where it goes, its bytes.
    pub fn send(&mut self, slot: usize) -> Option<(usize, u64, Bytes)> {
        let entry = self.slots.get_mut(slot)?;
        entry.writes.push(Fate::Sent);
        let write = entry.writes.len();
        Some((write, slot as u64 * SLOT, self.bytes(slot, write)))
    }

    fn fate(&mut self, slot: usize, write: usize) -> Option<&mut Fate> {
        self.slots.get_mut(slot)?.writes.get_mut(write.checked_sub(1)?)
    }

    /// A write was acknowledged, or nobody knows what became of it.
    pub fn settle(&mut self, slot: usize, write: usize, acknowledged: bool, at: Millis) {
        if let Some(fate) = self.fate(slot, write).filter(|fate| **fate == Fate::Sent) {
            *fate = match acknowledged {
                true => Fate::Acknowledged { at, on_disk: false },
                false => Fate::Unknown,
            };
        }
    }

    /// A write that was acknowledged is on disk, too.
    pub fn is_on_disk(&mut self, slot: usize, write: usize) {
        if let Some(Fate::Acknowledged { on_disk, .. }) = self.fate(slot, write) {
            *on_disk = true;
        }
    }

    /// A loss of power took every copy of this range of the file: what was not on disk may be gone.
    pub fn excuse(&mut self, from: u64, to: u64) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let start = number as u64 * SLOT;
            if start < to && from < start + SLOT {
                let left = slot.on_disk();
                slot.lost = Some((left, slot.acknowledged(Millis(u64::MAX))));
                slot.seen = slot.seen.min(left);
            }
        }
    }

    /// What is wrong with these bytes from an offset of the file on, for somebody who asked at a
    /// time; `now`: nothing that is out of date is to be found.
    #[must_use]
    pub fn check(&mut self, offset: u64, bytes: &[u8], asked: Millis, now: bool) -> Vec<String> {
        let end = offset + bytes.len() as u64;
        let before = if now { Millis(u64::MAX) } else { Millis(asked.0.saturating_sub(STALE.0)) };
        let mut complaints = Vec::new();
        for number in (offset / SLOT) as usize..self.slots.len().min(end.div_ceil(SLOT) as usize) {
            let start = number as u64 * SLOT;
            let mut at = start.max(offset);
            while at < end.min(start + SLOT) {
                let borders = self.borders.map(|size| (at / size + 1) * size);
                let to = borders.into_iter().fold(end.min(start + SLOT), u64::min);
                let found = bytes.get((at - offset) as usize..(to - offset) as usize);
                let range = (at - start) as usize..(to - start) as usize;
                self.check_part(number, range, found.unwrap_or_default(), (before, now))
                    .into_iter()
                    .for_each(|text| complaints.push(format!("slot {number} at {at}: {text}")));
                at = to;
            }
        }
        complaints
    }

    fn check_part(
        &mut self,
        slot: usize,
        range: std::ops::Range<usize>,
        found: &[u8],
        (before, now): (Millis, bool),
    ) -> Option<String> {
        let entry = self.slots.get(slot)?;
        let whole = range.len() == SLOT as usize;
        let holds = |write: &usize| self.bytes(slot, *write).get(range.clone()) == Some(found);
        let Some(write) = (0..=entry.writes.len()).rev().find(holds) else {
            return Some("it is nothing that was ever written there".to_owned());
        };
        let (known, seen) = (entry.acknowledged(before), entry.seen);
        if !entry.may_hold(write, before) {
            return Some(format!("it holds write {write}, but {known} was acknowledged"));
        }
        let failed = write.checked_sub(1).and_then(|index| entry.writes.get(index));
        if now && write < seen && failed != Some(&Fate::Unknown) {
            return Some(format!("it holds write {write}, but {seen} was seen"));
        }
        if whole
            && !now
            && let Some(entry) = self.slots.get_mut(slot)
        {
            entry.seen = seen.max(write);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two slots: one was written three times (acknowledged, unknown, on its way).
    fn slots() -> Slots {
        let mut slots = Slots::new(3, 2, 10_000, 10_000);
        for write in 1..=3 {
            slots.send(0);
            match write {
                1 => slots.settle(0, 1, true, Millis(50_000)),
                2 => slots.settle(0, 2, false, Millis(50_000)),
                _ => {}
            }
        }
        slots
    }

    fn file(slots: &Slots, write: usize) -> Vec<u8> {
        [slots.bytes(0, write), slots.bytes(1, 0)].concat()
    }

    #[test]
    fn a_slot_holds_the_last_write_or_one_that_nobody_knows_of() {
        let mut slots = slots();
        let complaints = |slots: &mut Slots, write, asked, now| {
            let file = file(slots, write);
            slots.check(0, &file, Millis(asked), now).len()
        };
        for write in 1..=3 {
            assert_eq!(complaints(&mut slots.clone(), write, 0, true), 0, "{write}");
        }
        assert_eq!(complaints(&mut slots, 0, 0, true), 1);
        assert_eq!(complaints(&mut slots, 0, 60_000, false), 0, "a stale server");
        assert_eq!(complaints(&mut slots, 0, 60_001, false), 1);
        let mut torn = file(&slots, 3);
        torn[8_000] ^= 1;
        assert_eq!(slots.check(0, &torn, Millis(0), true).len(), 1);
        slots.settle(0, 3, true, Millis(70_000));
        assert_eq!(complaints(&mut slots, 1, 0, true), 1);
        assert_eq!(complaints(&mut slots, 2, 0, true), 0, "what failed may come late");
    }

    #[test]
    fn what_was_on_disk_is_not_excused() {
        let mut slots = slots();
        slots.settle(0, 3, true, Millis(70_000));
        slots.is_on_disk(0, 1);
        slots.excuse(0, 5);
        for (write, wrong) in [(0, 1), (1, 0), (3, 0)] {
            let file = file(&slots, write);
            assert_eq!(slots.check(0, &file, Millis(0), true).len(), wrong, "{write}");
        }
    }
}
