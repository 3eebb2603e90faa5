//! The virtual disk of a chunkserver: files in a page cache over what is durable.
//!
//! A process that is killed leaves the cache as it is: of the operation that it was at, all, a part
//! or nothing. A loss of power ([`Disk::lose_power`]) leaves what was synced, and of everything
//! written since whatever happened to be written back: pages, checksums and headers each on their
//! own, files whose name was never synced or not, deleted files that are there again.
//!
//! What is synced when follows the chunk store of `gfs-chunkserver`: a header that says *clean* is
//! made to say otherwise, durably, before anything changes; a chunk that nobody changed for 2 s is
//! synced and becomes clean, one that is always written is synced every 4 s. After another boot a
//! chunk that is not clean is *suspect* ([`Stored::is_suspect`]).

mod stored;

use crate::dice::Dice;
use bytes::Bytes;
use gfs_core::replica::{DiskOp, Header, Remember};
use gfs_types::Millis;
use std::collections::BTreeMap;
pub use stored::Stored;

/// As in the chunk store.
const IDLE: Millis = Millis(2_000);
const PROGRESS: Millis = Millis(4_000);

/// What a loss of power leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Everything,
    Parts,
}

/// A virtual disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The replicas.
    pub chunks: BTreeMap<u64, Stored>,
    /// Files that were deleted, which a loss of power may bring back.
    graves: BTreeMap<u64, Stored>,
    /// What the server remembers beyond its end: number, cluster, highest epoch. Durable when set.
    pub server: u32,
    /// Cluster id; empty on a fresh disk.
    pub cluster: Bytes,
    /// See [`Remember`].
    pub remember: Remember,
    /// Which boot of the machine this is.
    pub boot: u32,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            chunks: BTreeMap::new(),
            graves: BTreeMap::new(),
            server: 0,
            cluster: Bytes::new(),
            remember: Remember::default(),
            boot: 1,
        }
    }
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
                self.chunks.insert(handle, Stored::zeros(*identity, header));
            }
            DiskOp::Delete => self.delete(handle),
            op => {
                if let Some(stored) = self.chunks.get_mut(&handle) {
                    stored.change(op)?;
                }
                if matches!(op, DiskOp::Flush) {
                    // The directory is synced with the file.
                    self.graves.remove(&handle);
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
        let (mut at, mut left) = (*offset, written);
        for part in parts {
            stored.tear(at, part.payload.get(..left).unwrap_or(&part.payload));
            at += part.length;
            left = left.saturating_sub(part.length as usize);
        }
    }

    fn delete(&mut self, handle: u64) {
        if let Some(stored) = self.chunks.remove(&handle)
            && stored.was_synced()
        {
            self.graves.insert(handle, stored);
        }
    }

    /// The pass over the chunks that are not clean. `fails` says of each sync whether the disk
    /// fails it; returns whether one failed.
    pub fn background_sync(&mut self, now: Millis, mut fails: impl FnMut() -> bool) -> bool {
        let mut failed = false;
        for (handle, stored) in &mut self.chunks {
            let Some(idle) = stored.sync_due(now, IDLE, PROGRESS) else { continue };
            if fails() {
                stored.sync_failed();
                failed = true;
                continue;
            }
            stored.sync(idle);
            // The directory is synced with the file.
            self.graves.remove(handle);
        }
        failed
    }

    /// The power goes. The machine starts under another boot.
    pub fn lose_power(&mut self, dice: &mut Dice) {
        self.boot += 1;
        let chunks = std::mem::take(&mut self.chunks);
        let graves = std::mem::take(&mut self.graves);
        // A deleted file whose place nothing durable has taken may be there again.
        for (handle, stored) in graves {
            if dice.chance(300) {
                self.keep(handle, stored, Left::Nothing, dice);
            }
        }
        for (handle, stored) in chunks {
            let left = match dice.range(0, 4) {
                0 => Left::Nothing,
                1 => Left::Everything,
                _ => Left::Parts,
            };
            self.keep(handle, stored, left, dice);
        }
    }

    fn keep(&mut self, handle: u64, stored: Stored, left: Left, dice: &mut Dice) {
        if let Some(stored) = stored.after_power_loss(left, dice) {
            self.chunks.insert(handle, stored);
        }
    }

    /// Bytes of the contents.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.chunks.values().map(|stored| u64::from(stored.header.length)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_core::replica::{Identity, Part};
    use gfs_types::BlockSums;

    fn write(disk: &mut Disk, serial: u64, offset: u32, byte: u8, length: u32) {
        let payload = Bytes::from(vec![byte; length as usize]);
        let sums = BlockSums::of(offset, std::slice::from_ref(&payload));
        let sums = sums.0.into_iter().map(|sum| sum.0).collect();
        let (version, writer, sequence, append) = (1, 9, serial, false);
        let parts = vec![Part { length, sums, payload }];
        let op = DiskOp::Write { version, serial, writer, sequence, offset, append, parts };
        disk.apply(7, &op).unwrap();
    }

    fn disk() -> Disk {
        let mut disk = Disk::default();
        let identity = Identity { handle: 7, inode: 3, ..Identity::default() };
        disk.apply(7, &DiskOp::Create { identity, version: 1, length: 0 }).unwrap();
        write(&mut disk, 1, 0, 1, 100_000);
        disk
    }

    fn settle(disk: &mut Disk) {
        for at in [0, 1_000, 3_000] {
            assert!(!disk.background_sync(Millis(at), || false));
        }
    }

    #[test]
    fn what_was_synced_is_there_after_a_loss_of_power() {
        for seed in 0..50 {
            let mut disk = disk();
            settle(&mut disk);
            disk.lose_power(&mut Dice::new(seed, 0));
            let stored = disk.chunks.get(&7).unwrap();
            assert_eq!((stored.header.length, stored.damaged().len()), (100_000, 0));
        }
    }

    #[test]
    fn what_was_not_synced_may_be_lost_in_part_and_is_suspect() {
        let (mut gone, mut whole, mut partly) = (0, 0, 0);
        for seed in 0..200 {
            let mut disk = disk();
            disk.lose_power(&mut Dice::new(seed, 0));
            match disk.chunks.get(&7) {
                None => gone += 1,
                Some(stored) => {
                    assert!(stored.is_suspect());
                    if stored.damaged().is_empty() && stored.header.length == 100_000 {
                        whole += 1;
                    } else {
                        partly += 1;
                    }
                }
            }
        }
        assert!(gone > 10 && whole > 10 && partly > 10, "{gone} {whole} {partly}");
    }

    /// Writing to a clean chunk makes it unclean, durably, before anything changes.
    #[test]
    fn nothing_that_was_changed_is_called_clean() {
        for seed in 0..200 {
            let mut disk = disk();
            settle(&mut disk);
            write(&mut disk, 2, 100_000, 2, 60_000);
            disk.lose_power(&mut Dice::new(seed, 0));
            let stored = disk.chunks.get(&7).unwrap();
            assert!(stored.is_suspect(), "seed {seed}");
            // What was synced is intact, wherever the newer header's tail was lost.
            assert!(!stored.damaged().contains(&0), "seed {seed}");
            assert_eq!(stored.bytes(0, 100_000).iter().filter(|b| **b == 1).count(), 100_000);
        }
    }

    #[test]
    fn a_deleted_file_may_come_back_until_its_place_is_taken_durably() {
        let mut back = 0;
        for seed in 0..100 {
            let mut disk = disk();
            settle(&mut disk);
            disk.apply(7, &DiskOp::Delete).unwrap();
            disk.lose_power(&mut Dice::new(seed, 0));
            back += u32::from(disk.chunks.contains_key(&7));
        }
        assert!((1..100).contains(&back), "{back}");
    }

    #[test]
    fn a_failed_sync_is_not_tried_again() {
        let mut disk = disk();
        disk.background_sync(Millis(0), || true);
        assert!(disk.background_sync(Millis(3_000), || true));
        assert!(!disk.background_sync(Millis(9_000), || true));
        assert!(disk.chunks.get(&7).unwrap().has_failed());
    }

    #[test]
    fn overwriting_keeps_what_is_beside_it_and_verifies_that_first() {
        let mut disk = disk();
        write(&mut disk, 2, 65_000, 2, 1_000);
        write(&mut disk, 3, 99_000, 3, 70_000);
        let stored = disk.chunks.get(&7).unwrap();
        assert_eq!((stored.header.length, stored.damaged().len()), (169_000, 0));
        let ends = |at: u32| (stored.bytes(at - 1, 1)[0], stored.bytes(at, 1)[0]);
        assert_eq!([65_000, 66_000, 99_000].map(ends), [(1, 2), (2, 1), (1, 3)]);
        disk.chunks.get_mut(&7).unwrap().rot(70_000);
        let payload = Bytes::from_static(b"x");
        let parts =
            |payload: &Bytes| vec![Part { length: 1, sums: vec![0], payload: payload.clone() }];
        let (version, serial, writer, sequence, append) = (1, 4, 9, 4, false);
        let over = |offset| {
            let parts = parts(&payload);
            DiskOp::Write { version, serial, writer, sequence, offset, append, parts }
        };
        assert!(disk.apply(7, &over(80_000)).is_err(), "its block is damaged");
        assert!(disk.apply(7, &over(0)).is_ok());
        let cut = |length| DiskOp::Complete { version: 2, sealed: true, length };
        assert!(disk.apply(7, &cut(90_000)).is_err(), "the block that is cut is damaged");
        disk.apply(7, &cut(60_000)).unwrap();
        let stored = disk.chunks.get(&7).unwrap();
        assert_eq!((stored.header.length, stored.damaged().len()), (60_000, 0));
    }

    #[test]
    fn what_was_flushed_survives_and_a_chunk_may_begin_with_zeros() {
        for seed in 0..50 {
            let mut disk = Disk::default();
            let identity = Identity { handle: 7, inode: 3, ..Identity::default() };
            disk.apply(7, &DiskOp::Create { identity, version: 1, length: 70_000 }).unwrap();
            write(&mut disk, 1, 10, 1, 5);
            disk.apply(7, &DiskOp::Flush).unwrap();
            write(&mut disk, 2, 70_000, 2, 5);
            disk.lose_power(&mut Dice::new(seed, 0));
            let stored = disk.chunks.get(&7).unwrap();
            assert_eq!(stored.bytes(9, 7)[..], [0, 1, 1, 1, 1, 1, 0], "seed {seed}");
            assert!(stored.header.length >= 70_000 && !stored.damaged().contains(&0));
        }
    }
}
