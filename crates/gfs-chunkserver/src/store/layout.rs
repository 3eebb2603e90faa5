//! Where things are: the files of a volume, and the parts of a chunk file.

use gfs_types::{BLOCK_SIZE, ChunkHandle, Geometry, MAX_SLICE};
use std::path::{Path, PathBuf};

/// Bytes of a header slot.
pub const SLOT: u64 = 4096;

/// Directories of chunk files in a volume: one per last byte of the handle.
pub(crate) const SHARDS: u32 = 256;

/// The parts of a chunk file: data at 0, and behind the chunk size two header slots, the block
/// checksums (`u32`, little endian, one per 64 KiB block) and, on the next multiple of 4096 bytes,
/// the slot of the redo record ([`super::RedoRecord`]). The data part is sparse. The file ends
/// where the slot begins unless there is a record, or the leftover of one.
///
/// The entry of a block counts once the chunk's length passes the block's end; the checksum of
/// the block in which the length lies stands in the header, beside the length. Bytes past the
/// length are unspecified, and so are their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLayout {
    chunk_size: u32,
}

impl ChunkLayout {
    /// The layout of chunks of this geometry.
    #[must_use]
    pub const fn new(geometry: Geometry) -> Self {
        Self { chunk_size: geometry.chunk_size() }
    }

    /// Bytes of a full chunk.
    #[must_use]
    pub const fn chunk_size(self) -> u32 {
        self.chunk_size
    }

    /// Blocks of a full chunk.
    #[must_use]
    pub const fn blocks(self) -> u32 {
        self.chunk_size / BLOCK_SIZE
    }

    /// Where header slot 0 or 1 is.
    #[must_use]
    pub const fn slot(self, index: u8) -> u64 {
        self.chunk_size as u64 + index as u64 * SLOT
    }

    /// Where the checksum of `block` is.
    #[must_use]
    pub const fn checksum(self, block: u32) -> u64 {
        self.chunk_size as u64 + 2 * SLOT + block as u64 * 4
    }

    /// Where header and checksums begin, and how many bytes they are.
    #[must_use]
    pub const fn metadata(self) -> (u64, u64) {
        (self.chunk_size as u64, 2 * SLOT + self.blocks() as u64 * 4)
    }

    /// Where the redo record is.
    #[must_use]
    pub const fn redo(self) -> u64 {
        (self.chunk_size as u64 + 2 * SLOT + self.blocks() as u64 * 4).next_multiple_of(SLOT)
    }

    /// The longest mutation that a redo record holds, in bytes: a quarter of a chunk, and a slice
    /// also where chunks are small.
    #[must_use]
    pub const fn max_overwrite(self) -> u32 {
        let quarter = self.chunk_size / 4;
        if quarter > MAX_SLICE { quarter } else { MAX_SLICE }
    }
}

/// Names of what is in a volume's directory.
#[derive(Clone, Debug)]
pub(crate) struct VolumeLayout {
    pub(crate) dir: PathBuf,
}

impl VolumeLayout {
    pub(crate) const RECORD: &'static str = "gfs-volume";
    pub(crate) const NEW_RECORD: &'static str = "gfs-volume.new";
    pub(crate) const SCRUB: &'static str = "gfs-scrub";
    pub(crate) const NEW_SCRUB: &'static str = "gfs-scrub.new";
    pub(crate) const START_LOG: &'static str = "gfs-start";
    pub(crate) const NEW_START_LOG: &'static str = "gfs-start.new";
    pub(crate) const PROBE: &'static str = "gfs-probe";
    pub(crate) const CHUNKS: &'static str = "chunks";
    pub(crate) const QUARANTINE: &'static str = "quarantine";

    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.dir.join(Self::RECORD)
    }

    pub(crate) fn new_record(&self) -> PathBuf {
        self.dir.join(Self::NEW_RECORD)
    }

    pub(crate) fn scrub(&self) -> PathBuf {
        self.dir.join(Self::SCRUB)
    }

    pub(crate) fn new_scrub(&self) -> PathBuf {
        self.dir.join(Self::NEW_SCRUB)
    }

    pub(crate) fn start_log(&self) -> PathBuf {
        self.dir.join(Self::START_LOG)
    }

    pub(crate) fn new_start_log(&self) -> PathBuf {
        self.dir.join(Self::NEW_START_LOG)
    }

    pub(crate) fn probe(&self) -> PathBuf {
        self.dir.join(Self::PROBE)
    }

    pub(crate) fn chunks(&self) -> PathBuf {
        self.dir.join(Self::CHUNKS)
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join(Self::QUARANTINE)
    }

    pub(crate) fn shard(&self, shard: u32) -> PathBuf {
        self.chunks().join(format!("{shard:02x}"))
    }

    pub(crate) fn shard_of(&self, handle: ChunkHandle) -> PathBuf {
        self.shard((handle.0 & 0xff) as u32)
    }

    pub(crate) fn chunk(&self, handle: ChunkHandle) -> PathBuf {
        self.shard_of(handle).join(format!("{handle}.chunk"))
    }

    /// A chunk's file until it has a header: a leftover was never acknowledged.
    pub(crate) fn new_chunk(&self, handle: ChunkHandle) -> PathBuf {
        self.shard_of(handle).join(format!("{handle}.new"))
    }
}

/// The handle in a chunk file's name, when it is the name of one in this shard.
pub(crate) fn handle_of(name: &str, suffix: &str, shard: u32) -> Option<ChunkHandle> {
    let digits = name.strip_suffix(suffix)?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 16 || !digits.bytes().all(lower) {
        return None;
    }
    let handle = u64::from_str_radix(digits, 16).ok()?;
    (handle & 0xff == u64::from(shard)).then_some(ChunkHandle(handle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        let layout = ChunkLayout::new(Geometry::default());
        assert_eq!((layout.slot(0), layout.slot(1)), (67_108_864, 67_112_960));
        assert_eq!(layout.checksum(1), 67_108_864 + 8192 + 4);
        assert_eq!(layout.metadata(), (67_108_864, 8192 + 4096));
        assert_eq!((layout.redo(), layout.max_overwrite()), (67_108_864 + 12_288, 16 << 20));
        let small = ChunkLayout::new(Geometry::new(1 << 20).unwrap());
        assert_eq!((small.redo(), small.max_overwrite()), ((1 << 20) + 12_288, 1 << 20));
        let volume = VolumeLayout::new(Path::new("/v"));
        let path = volume.chunk(ChunkHandle(0x1234));
        assert_eq!(path, Path::new("/v/chunks/34/0000000000001234.chunk"));
        assert_eq!(handle_of("0000000000001234.chunk", ".chunk", 0x34), Some(ChunkHandle(0x1234)));
        for name in ["0000000000001234.new", "+000000000001234.chunk", "1234.chunk", "", "x"] {
            assert_eq!(handle_of(name, ".chunk", 0x34), None, "{name}");
        }
        assert_eq!(handle_of("0000000000001234.chunk", ".chunk", 0x35), None);
    }
}
