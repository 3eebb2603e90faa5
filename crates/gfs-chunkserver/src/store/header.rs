//! The header of a chunk file: what it says and how it is laid out.

use super::fields::{Reader, Writer};
use super::layout::SLOT;
use gfs_core::replica::{MAX_WRITERS, WINDOW_DEPTH, Window};
use gfs_proto::v1::WindowEntry;
use gfs_types::{BLOCK_SIZE, ChunkHandle, ClusterId, Crc, InodeId, Serial, Version};

/// The version of the format that this code writes, and the only one it reads.
pub const FORMAT: u32 = 3;

const MAGIC: &[u8; 8] = b"GFSCHUNK";
const FIXED_CRC_AT: usize = 508;
const WINDOW_AT: usize = 512;
const WINDOW_CRC_AT: usize = SLOT as usize - 4;
/// Stands for an offset that is not there: no chunk is that long.
const ABSENT: u32 = u32::MAX;

/// The kernel's boot id (`/proc/sys/kernel/random/boot_id`): as long as it is the same, what was
/// written is in the page cache even if it is not on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// Where a chunk stands in a file, so that files can be rebuilt without metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub inode: InodeId,
    /// Which extent of the file, from 0.
    pub index: u64,
    /// Where in the file the chunk begins, in bytes.
    pub chunk_start: u64,
    /// The file's replication goal, as the number of its enum on the wire.
    pub goal: u8,
}

/// A position in the order of mutations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The version.
    pub version: Version,
    /// The last serial applied within it.
    pub serial: Serial,
}

/// A length of content, with the checksum of its last block when that is not whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes.
    pub length: u32,
    /// Checksum of the bytes past the last whole block; 0 when there are none.
    pub tail: Crc,
}

/// What the header's flag bits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Everything the header describes is durable.
    pub clean: bool,
    /// No more mutations.
    pub sealed: bool,
    /// A clone is being written; `complete` says nothing yet.
    pub incomplete: bool,
    /// Some block did not match its checksum when it was last read.
    pub damaged: bool,
    /// Not to be trusted until verified: a sync failed, or the newer header slot was garbled.
    pub suspect: bool,
    /// Bytes were, or are to be, acknowledged as durable: redo records are synced before data is
    /// overwritten.
    pub durable: bool,
}

impl Flags {
    pub(super) const fn bits(self) -> u32 {
        self.clean as u32
            | (self.sealed as u32) << 1
            | (self.incomplete as u32) << 2
            | (self.damaged as u32) << 3
            | (self.suspect as u32) << 4
            | (self.durable as u32) << 5
    }

    pub(super) const fn from_bits(bits: u32) -> Option<Self> {
        if bits >= 1 << 6 {
            return None;
        }
        Some(Self {
            clean: bits & 1 != 0,
            sealed: bits & 1 << 1 != 0,
            incomplete: bits & 1 << 2 != 0,
            damaged: bits & 1 << 3 != 0,
            suspect: bits & 1 << 4 != 0,
            durable: bits & 1 << 5 != 0,
        })
    }
}

/// One header slot of a chunk file: 4096 bytes, little endian, written in one write.
///
/// Power loss may leave parts of a slot old and others new, in sectors of 512 bytes at the least,
/// and may do so to both slots at once. So everything but the window stands in the first sector,
/// under a checksum of its own; the window's checksum covers the generation too, so that it is
/// known to belong. A window that does not match is lost, the rest of the header is not.
///
/// | at | bytes | what |
/// |---|---|---|
/// | 0 | 8 | `GFSCHUNK` |
/// | 8 | 4 | format version, 3 |
/// | 12 | 4 | zero (features that a reader must know) |
/// | 16 | 8 | generation: of two valid slots the higher holds |
/// | 24 | 16 | cluster id, big endian |
/// | 40 | 8 | chunk handle |
/// | 48 | 8 | inode id |
/// | 56 | 8 | extent index |
/// | 64 | 8 | offset in the file at which the chunk begins |
/// | 72 | 8 | `promised` version |
/// | 80 | 8 | `complete` version |
/// | 88 | 8 | last serial applied in `complete` |
/// | 96 | 4 | chunk size |
/// | 100 | 4 | length |
/// | 104 | 4 | checksum of the partial last block; 0 when the length ends a block |
/// | 108 | 4 | flags: 1 clean, 2 sealed, 4 incomplete, 8 damaged, 16 suspect, 32 durable |
/// | 112 | 8 | version of the last sync |
/// | 120 | 8 | serial of the last sync |
/// | 128 | 4 | length that the last sync made durable |
/// | 132 | 4 | its partial last block's checksum |
/// | 136 | 16 | kernel boot id under which the chunk last became unclean |
/// | 152 | 1 | replication goal of the file |
/// | 153 | 1 | 1: the window forgot a writer |
/// | 154 | 1 | 1: a redo record belongs to this header |
/// | 155 | 1 | zero |
/// | 156 | 4 | writers in the window, at most 64 |
/// | 160 | 4 | checksum of the redo record that belongs to it, else zero |
/// | 164 | 344 | zero |
/// | 508 | 4 | CRC-32C of bytes 0..508 |
/// | 512 | 48 each | window, the writer silent for longest first: writer u64, last sequence u64, offsets of its last 8 mutations u32 each, the last one last, absent ones `ffff_ffff` and first |
/// | 4092 | 4 | CRC-32C of bytes 16..24 (the generation) and 512..4092 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the header writes of this chunk.
    pub generation: u64,
    /// The cluster that the chunk belongs to.
    pub cluster: ClusterId,
    /// The chunk.
    pub handle: ChunkHandle,
    /// Where it stands in its file.
    pub place: Place,
    /// The version it promised to go to; never below `complete`'s.
    pub promised: Version,
    /// The version it is complete at, and the last serial applied in it.
    pub complete: Position,
    /// Bytes of a full chunk.
    pub chunk_size: u32,
    /// What it holds.
    pub content: Extent,
    /// Flags.
    pub flags: Flags,
    /// What the last sync made durable: position and content.
    pub synced: (Position, Extent),
    /// Under which boot it last became unclean.
    pub boot: BootId,
    /// What recent mutations did, for repeats.
    pub window: Window,
    /// The checksum of the [`super::RedoRecord`] of the last overwrite, until that is known to be
    /// durable or no longer says what the chunk holds.
    pub redo: Option<Crc>,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// All zeros: never written.
    Empty,
    /// A valid header. Its window is empty and its flag `suspect` set when the window was lost.
    Valid {
        /// The header.
        header: Box<Header>,
        /// Whether the window is as it was written.
        window_intact: bool,
    },
    /// Anything else, and what is wrong with it.
    Garbled(String),
}

impl Header {
    /// The slot's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SLOT as usize] {
        let mut slot = [0; SLOT as usize];
        let mut w = Writer(&mut slot, 0);
        w.bytes(MAGIC);
        w.u32(FORMAT);
        w.u32(0);
        w.u64(self.generation);
        w.bytes(&self.cluster.to_bytes());
        w.u64(self.handle.0);
        w.u64(self.place.inode.0);
        w.u64(self.place.index);
        w.u64(self.place.chunk_start);
        w.u64(self.promised.0);
        w.position(self.complete);
        w.u32(self.chunk_size);
        w.extent(self.content);
        w.u32(self.flags.bits());
        let (position, extent) = self.synced;
        w.position(position);
        w.extent(extent);
        w.bytes(&self.boot.0);
        let forgot = u8::from(self.window.forgot());
        w.bytes(&[self.place.goal, forgot, u8::from(self.redo.is_some()), 0]);
        w.u32(self.window.entries().len() as u32);
        w.u32(self.redo.unwrap_or_default().0);
        w.1 = WINDOW_AT;
        for entry in self.window.entries() {
            w.u64(entry.writer);
            w.u64(entry.sequence);
            for _ in entry.offsets.len()..WINDOW_DEPTH {
                w.u32(ABSENT);
            }
            entry.offsets.iter().take(WINDOW_DEPTH).for_each(|offset| w.u32(*offset));
        }
        let fixed = Crc::of(slot.get(..FIXED_CRC_AT).unwrap_or_default());
        let window = window_crc(self.generation, &slot);
        Writer(&mut slot, FIXED_CRC_AT).u32(fixed.0);
        Writer(&mut slot, WINDOW_CRC_AT).u32(window.0);
        slot
    }

    /// Reads a slot. A short one counts as garbled, unless it is all zeros.
    #[must_use]
    pub fn decode(slot: &[u8]) -> Slot {
        if slot.iter().all(|byte| *byte == 0) {
            return Slot::Empty;
        }
        match Self::parse(slot) {
            Ok((header, window_intact)) => Slot::Valid { header: Box::new(header), window_intact },
            Err(why) => Slot::Garbled(why),
        }
    }

    fn parse(slot: &[u8]) -> Result<(Self, bool), String> {
        let slot: &[u8; SLOT as usize] =
            slot.try_into().map_err(|_| format!("header slot has {} bytes", slot.len()))?;
        if !slot.starts_with(MAGIC) {
            return Err("header has the wrong magic".to_owned());
        }
        let (fixed, crc) = slot.split_at(FIXED_CRC_AT);
        if Crc::of(fixed) != Crc(Reader(crc).u32()) {
            return Err("header does not match its checksum".to_owned());
        }
        let mut r = Reader(fixed);
        r.bytes::<8>();
        let (format, features) = (r.u32(), r.u32());
        if format != FORMAT || features != 0 {
            return Err(format!(
                "format version {format}, features {features:#x}: written by newer software"
            ));
        }
        let generation = r.u64();
        let cluster = ClusterId(u128::from_be_bytes(r.bytes()));
        let handle = ChunkHandle(r.u64());
        let mut place =
            Place { inode: InodeId(r.u64()), index: r.u64(), chunk_start: r.u64(), goal: 0 };
        let promised = Version(r.u64());
        let complete = r.position();
        let chunk_size = r.u32();
        let content = r.extent();
        let flags = r.u32();
        let mut flags =
            Flags::from_bits(flags).ok_or_else(|| format!("unknown flags {flags:#x}"))?;
        let synced = (r.position(), r.extent());
        let boot = BootId(r.bytes());
        place.goal = r.u8();
        let forgot = r.u8() != 0;
        let has_redo = r.u8() != 0;
        r.u8();
        let count = r.u32() as usize;
        let redo = Some(Crc(r.u32())).filter(|_| has_redo);
        if content.length > chunk_size || synced.1.length > chunk_size {
            return Err(format!("length {} over chunk size {chunk_size}", content.length));
        }
        if chunk_size == 0 || !chunk_size.is_multiple_of(BLOCK_SIZE) || promised < complete.version
        {
            return Err(format!(
                "contradicts itself: chunk size {chunk_size}, promised {promised}, complete {}",
                complete.version
            ));
        }
        if count > MAX_WRITERS {
            return Err(format!("{count} writers in the window"));
        }
        let crc = Crc(Reader(slot.get(WINDOW_CRC_AT..).unwrap_or_default()).u32());
        let window_intact = window_crc(generation, slot) == crc;
        flags.suspect |= !window_intact;
        let mut r = Reader(slot.get(WINDOW_AT..).unwrap_or_default());
        let entries = if window_intact { count } else { 0 };
        let entries = (0..entries).map(|_| WindowEntry {
            writer: r.u64(),
            sequence: r.u64(),
            offsets: (0..WINDOW_DEPTH).map(|_| r.u32()).filter(|o| *o != ABSENT).collect(),
        });
        // Which writers there were is not known any more.
        let window = Window::from_entries(entries, forgot || !window_intact);
        let header = Self {
            generation,
            cluster,
            handle,
            place,
            promised,
            complete,
            chunk_size,
            content,
            flags,
            synced,
            boot,
            window,
            redo,
        };
        Ok((header, window_intact))
    }
}

fn window_crc(generation: u64, slot: &[u8; SLOT as usize]) -> Crc {
    let window = slot.get(WINDOW_AT..WINDOW_CRC_AT).unwrap_or_default();
    Crc::of(&generation.to_le_bytes()).append(window)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn sample() -> Header {
        Header {
            generation: 9,
            cluster: ClusterId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            handle: ChunkHandle(0xabcd),
            place: Place { inode: InodeId(77), index: 3, chunk_start: 1 << 33, goal: 3 },
            promised: Version(6),
            complete: Position { version: Version(5), serial: Serial(41) },
            chunk_size: 1 << 20,
            content: Extent { length: 70_000, tail: Crc(0x1234_5678) },
            flags: Flags { sealed: true, damaged: true, durable: true, ..Flags::default() },
            synced: (
                Position { version: Version(5), serial: Serial(40) },
                Extent { length: 65_540, tail: Crc(7) },
            ),
            boot: BootId([9; 16]),
            window: {
                let mut window = Window::default();
                for n in 0..200 {
                    window.record(n, n + 1, n as u32 * 10);
                    window.record(n / 2, 1_000 + n, n as u32 * 10 + 5);
                }
                window
            },
            redo: Some(Crc(0x9abc_def0)),
        }
    }

    #[test]
    fn a_header_survives_its_slot() {
        let header = sample();
        assert_eq!(header.window.entries().len(), MAX_WRITERS);
        let decoded = Header::decode(&header.encode());
        assert_eq!(decoded, Slot::Valid { header: Box::new(header), window_intact: true });
    }

    #[test]
    fn empty_and_short_slots_are_told_apart() {
        assert_eq!(Header::decode(&[0; 4096]), Slot::Empty);
        assert_eq!(Header::decode(&[]), Slot::Empty);
        let slot = sample().encode();
        assert!(matches!(Header::decode(&slot[..4095]), Slot::Garbled(_)));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(bit in 0usize..4096 * 8) {
            let mut slot = sample().encode();
            slot[bit / 8] ^= 1 << (bit % 8);
            match Header::decode(&slot) {
                Slot::Garbled(_) => prop_assert!(bit / 8 < WINDOW_AT),
                Slot::Valid { header, window_intact } => {
                    prop_assert!(bit / 8 >= WINDOW_AT && !window_intact);
                    let flags = Flags { suspect: true, ..sample().flags };
                    let window = Window::from_entries([], true);
                    prop_assert_eq!(*header, Header { window, flags, ..sample() });
                }
                Slot::Empty => prop_assert!(false),
            }
        }

        /// Power loss that tears a slot by sectors leaves the old or the new header; only the
        /// window may be lost.
        #[test]
        fn a_torn_slot_is_the_old_or_the_new(new_sectors in 0u8..=255) {
            let old = sample();
            let mut new = sample();
            new.generation += 2;
            new.content = Extent { length: 80_000, tail: Crc(1) };
            new.window.record(3, 9, 1);
            let (mut slot, newer) = (old.encode(), new.encode());
            for sector in (0..8).filter(|sector| new_sectors & 1 << sector != 0) {
                let range = sector * 512..(sector + 1) * 512;
                slot[range.clone()].copy_from_slice(&newer[range]);
            }
            let Slot::Valid { header, window_intact } = Header::decode(&slot) else {
                return Err(TestCaseError::fail("garbled"));
            };
            let expected = if new_sectors & 1 == 1 { new } else { old };
            prop_assert_eq!((header.generation, header.content), (expected.generation, expected.content));
            prop_assert!(!window_intact || header.window == expected.window);
        }

        /// With a valid checksum around it, so that the fields themselves are reached.
        #[test]
        fn hostile_slots_do_no_harm(at in 8usize..4000, bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
            let mut slot = sample().encode();
            let end = (at + bytes.len()).min(WINDOW_CRC_AT);
            slot[at..end].copy_from_slice(&bytes[..end - at]);
            let crc = Crc::of(&slot[..FIXED_CRC_AT]).0.to_le_bytes();
            slot[FIXED_CRC_AT..WINDOW_AT].copy_from_slice(&crc);
            if let Slot::Valid { header, .. } = Header::decode(&slot) {
                prop_assert!(header.content.length <= header.chunk_size);
                prop_assert!(header.window.entries().len() <= MAX_WRITERS);
            }
        }
    }
}
