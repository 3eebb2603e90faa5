//! The chunk table: 48 bytes a chunk, in pages of 64 neighbours, since handles are minted one
//! after another.
//!
//! What is rare stands elsewhere, under the handle: version changes, strays, clones, odd starts.

use super::ChunkInfo;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, InodeId, ServerNumber};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The most members a chunk can have.
pub(super) const MAX_MEMBERS: usize = 8;
const PAGE: u64 = 64;

/// A chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    /// The file.
    pub(super) inode: u64,
    /// The committed version (or the one being committed). 0: the slot is empty.
    pub(super) version: u64,
    /// Position among the file's extents.
    pub(super) index: u32,
    /// Bytes as recorded.
    pub(super) length: u32,
    /// Who should hold it, the primary of the last grant first; 0: nobody.
    members: [u16; MAX_MEMBERS],
    /// Bit i: member i is known to hold it at `version`, and is not known to be dead.
    present: u8,
    /// Goal.
    pub(super) copies: u8,
    /// Durability (bits 0 and 1), odd start (2), capped (3), health (4 and 5), zeros (6).
    packed: u8,
    /// Final length.
    pub(super) sealed: bool,
    /// The first member orders mutations.
    pub(super) lease: bool,
    /// There are entries in the table of strays.
    pub(super) strays: bool,
    /// Priority in the queue of the repair planner; 0: not in it.
    pub(super) queued: u8,
}

const ODD_START: u8 = 1 << 2;
const CAPPED: u8 = 1 << 3;
const ZEROS: u8 = 1 << 6;

/// How many copies a chunk has, of those it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// As many as the goal says, or more.
    Full,
    /// Fewer.
    Under,
    /// One, of a goal above one.
    Endangered,
    /// None.
    Unavailable,
}

impl Slot {
    /// Who should hold it.
    pub(super) fn members(&self) -> impl Iterator<Item = ServerNumber> + Clone + use<> {
        self.members.into_iter().take_while(|m| *m != 0).map(|m| ServerNumber(u32::from(m)))
    }

    /// Members known to hold it at its version.
    pub(super) fn holders(&self) -> impl Iterator<Item = ServerNumber> + Clone + use<> {
        let present = self.present;
        self.members()
            .enumerate()
            .filter(move |(i, _)| present & (1 << i) != 0)
            .map(|(_, member)| member)
    }

    /// How many members are known to hold it: the good copies.
    pub(super) fn good(&self) -> u8 {
        self.present.count_ones() as u8
    }

    /// Whether the server should hold it.
    pub(super) fn is_member(&self, server: ServerNumber) -> bool {
        self.members().any(|m| m == server)
    }

    /// Whether the server is known to hold it.
    pub(super) fn holds(&self, server: ServerNumber) -> bool {
        self.holders().any(|m| m == server)
    }

    /// Fresh, as far as the record says: nothing was confirmed in it yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.version == 1 && (self.is_zeros() || (self.length == 0 && !self.sealed))
    }

    /// It took the place of a hole, and began as that many zeros.
    pub(super) fn is_zeros(&self) -> bool {
        self.version == 1 && self.packed & ZEROS != 0
    }

    pub(super) fn set_zeros(&mut self, zeros: bool) {
        self.packed = self.packed & !ZEROS | if zeros { ZEROS } else { 0 };
    }

    /// Nobody may make it longer: its length is final, or nobody holds the right to write the file.
    pub(super) fn is_capped(&self) -> bool {
        self.sealed || self.packed & CAPPED != 0
    }

    pub(super) fn set_capped(&mut self, capped: bool) {
        self.packed = self.packed & !CAPPED | if capped { CAPPED } else { 0 };
    }

    /// The primary of the last grant.
    pub(super) fn first(&self) -> Option<ServerNumber> {
        self.members().next()
    }

    /// Sets who should hold it; all or none of them do. At most [`MAX_MEMBERS`] count.
    pub(super) fn set_members(&mut self, members: &[ServerNumber], present: bool) {
        self.members = [0; MAX_MEMBERS];
        self.present = 0;
        let usable = members.iter().filter_map(|m| u16::try_from(m.0).ok()).filter(|m| *m != 0);
        for (i, (place, member)) in self.members.iter_mut().zip(usable).enumerate() {
            *place = member;
            if present {
                self.present |= 1 << i;
            }
        }
    }

    /// Sets whether a member holds it. Whether that changed anything.
    pub(super) fn set_holds(&mut self, server: ServerNumber, holds: bool) -> bool {
        let before = self.present;
        if let Some(i) = self.members().position(|m| m == server) {
            if holds {
                self.present |= 1 << i;
            } else {
                self.present &= !(1 << i);
            }
        }
        self.present != before
    }

    /// Of its file.
    pub(super) fn durability(&self) -> pb::Durability {
        pb::Durability::try_from(i32::from(self.packed & 3)).unwrap_or_default()
    }

    /// As its good copies say.
    pub(super) fn health(&self) -> Health {
        match self.good() {
            good if good >= self.copies => Health::Full,
            0 => Health::Unavailable,
            1 => Health::Endangered,
            _ => Health::Under,
        }
    }

    /// As it was counted last.
    pub(super) fn counted(&self) -> Health {
        match self.packed >> 4 & 3 {
            0 => Health::Full,
            1 => Health::Under,
            2 => Health::Endangered,
            _ => Health::Unavailable,
        }
    }

    pub(super) fn set_counted(&mut self, health: Health) {
        self.packed = self.packed & !0x30 | (health as u8) << 4;
    }
}

#[derive(Debug)]
struct Page {
    used: u32,
    slots: [Slot; PAGE as usize],
}

/// All chunks by handle.
#[derive(Debug)]
pub(super) struct Table {
    chunk_size: u32,
    pages: BTreeMap<u64, Box<Page>>,
    odd_starts: BTreeMap<ChunkHandle, u64>,
    len: u64,
}

impl Table {
    pub(super) fn new(chunk_size: u32) -> Self {
        Self { chunk_size, pages: BTreeMap::new(), odd_starts: BTreeMap::new(), len: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The chunk, copied.
    pub(super) fn get(&self, handle: ChunkHandle) -> Option<Slot> {
        let page = self.pages.get(&(handle.0 / PAGE))?;
        page.slots.get((handle.0 % PAGE) as usize).copied().filter(|slot| slot.version != 0)
    }

    /// The chunk, to change.
    pub(super) fn get_mut(&mut self, handle: ChunkHandle) -> Option<&mut Slot> {
        let page = self.pages.get_mut(&(handle.0 / PAGE))?;
        page.slots.get_mut((handle.0 % PAGE) as usize).filter(|slot| slot.version != 0)
    }

    /// Adds a chunk without members.
    pub(super) fn insert(&mut self, handle: ChunkHandle, info: &ChunkInfo, version: u64) {
        let odd_start = info.start != u64::from(info.index) * u64::from(self.chunk_size);
        if odd_start {
            self.odd_starts.insert(handle, info.start);
        }
        let page = self
            .pages
            .entry(handle.0 / PAGE)
            .or_insert_with(|| Box::new(Page { used: 0, slots: [Slot::default(); PAGE as usize] }));
        if let Some(slot) = page.slots.get_mut((handle.0 % PAGE) as usize) {
            if slot.version == 0 {
                page.used += 1;
                self.len += 1;
            }
            *slot = Slot {
                inode: info.inode.0,
                version: version.max(1),
                index: info.index,
                copies: info.copies.clamp(1, MAX_MEMBERS as u8),
                packed: (info.durability as i32 as u8 & 3) | if odd_start { ODD_START } else { 0 },
                ..Slot::default()
            };
        }
    }

    /// Removes a chunk.
    pub(super) fn remove(&mut self, handle: ChunkHandle) {
        let number = handle.0 / PAGE;
        let Some(page) = self.pages.get_mut(&number) else { return };
        let Some(slot) = page.slots.get_mut((handle.0 % PAGE) as usize) else { return };
        if slot.version == 0 {
            return;
        }
        *slot = Slot::default();
        page.used -= 1;
        self.len -= 1;
        self.odd_starts.remove(&handle);
        if page.used == 0 {
            self.pages.remove(&number);
        }
    }

    /// What the namespace said of the chunk.
    pub(super) fn info(&self, handle: ChunkHandle) -> Option<ChunkInfo> {
        let slot = self.get(handle)?;
        Some(ChunkInfo {
            inode: InodeId(slot.inode),
            index: slot.index,
            start: self.start(handle, &slot),
            copies: slot.copies,
            durability: slot.durability(),
        })
    }

    /// File offset of the chunk's first byte.
    pub(super) fn start(&self, handle: ChunkHandle, slot: &Slot) -> u64 {
        if slot.packed & ODD_START != 0 {
            self.odd_starts.get(&handle).copied().unwrap_or_default()
        } else {
            u64::from(slot.index) * u64::from(self.chunk_size)
        }
    }

    /// All chunks in order of their handles.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ChunkHandle, &Slot)> {
        self.pages.iter().flat_map(|(number, page)| slots(*number, page))
    }

    /// The chunks from `from` on in `pages` pages, and where to go on.
    pub(super) fn scan(
        &self,
        from: ChunkHandle,
        pages: usize,
    ) -> (impl Iterator<Item = (ChunkHandle, &Slot)>, Option<ChunkHandle>) {
        let first = from.0 / PAGE;
        let next = self.pages.range(first..).nth(pages).map(|(n, _)| ChunkHandle(n * PAGE));
        let end = next.map_or(Bound::Unbounded, |next| Bound::Excluded(next.0 / PAGE));
        let range = (Bound::Included(first), end);
        (self.pages.range(range).flat_map(|(number, page)| slots(*number, page)), next)
    }
}

fn slots(number: u64, page: &Page) -> impl Iterator<Item = (ChunkHandle, &Slot)> {
    page.slots
        .iter()
        .zip(number * PAGE..)
        .filter(|(slot, _)| slot.version != 0)
        .map(|(slot, handle)| (ChunkHandle(handle), slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(index: u32, start: u64) -> ChunkInfo {
        ChunkInfo {
            inode: InodeId(7),
            index,
            start,
            copies: 3,
            durability: pb::Durability::Replicated,
        }
    }

    #[test]
    fn a_chunk_costs_48_bytes() {
        assert_eq!(size_of::<Slot>(), 48);
    }

    #[test]
    fn what_is_packed_does_not_mix() {
        let all = [Health::Full, Health::Under, Health::Endangered, Health::Unavailable];
        for health in all {
            let mut slot = Slot { version: 1, packed: 2 | ODD_START, ..Slot::default() };
            slot.set_capped(true);
            slot.set_zeros(true);
            slot.set_counted(health);
            assert_eq!((slot.counted(), slot.durability()), (health, pb::Durability::Disk));
            assert!(slot.is_capped() && slot.is_zeros() && slot.packed & ODD_START != 0);
            slot.set_capped(false);
            assert!(!slot.is_capped() && slot.is_zeros());
            slot.set_zeros(false);
            assert_eq!((slot.counted(), slot.is_zeros()), (health, false));
        }
    }

    #[test]
    fn chunks_come_and_go() {
        let mut table = Table::new(1 << 20);
        for n in 1..=200 {
            table.insert(ChunkHandle(n), &info(n as u32, u64::from(n as u32) << 20), 1);
        }
        table.insert(ChunkHandle(1000), &info(3, 17), 5);
        assert_eq!(table.len(), 201);
        assert_eq!(table.info(ChunkHandle(1000)), Some(info(3, 17)));
        assert_eq!(table.info(ChunkHandle(130)), Some(info(130, 130 << 20)));
        let (some, next) = table.scan(ChunkHandle(0), 2);
        assert_eq!(some.count(), 127);
        let (rest, end) = table.scan(next.unwrap(), 100);
        assert_eq!((rest.count(), end), (74, None));
        for n in 1..=200 {
            table.remove(ChunkHandle(n));
        }
        assert_eq!((table.len(), table.pages.len(), table.iter().count()), (1, 1, 1));
        assert!(table.get(ChunkHandle(5)).is_none());
    }

    #[test]
    fn members_and_holders() {
        let mut slot = Slot::default();
        slot.set_members(&[ServerNumber(9), ServerNumber(4), ServerNumber(70_000)], true);
        assert_eq!(slot.members().collect::<Vec<_>>(), [ServerNumber(9), ServerNumber(4)]);
        assert_eq!(slot.good(), 2);
        assert!(slot.set_holds(ServerNumber(9), false));
        assert!(!slot.set_holds(ServerNumber(5), true));
        assert_eq!(slot.holders().collect::<Vec<_>>(), [ServerNumber(4)]);
        assert!(slot.is_member(ServerNumber(9)) && !slot.holds(ServerNumber(9)));
    }
}
