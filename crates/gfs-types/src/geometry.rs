//! Sizes. All in bytes.

use thiserror::Error;

/// The unit of checksumming on disk: one CRC-32C each (GFS paper §5.2).
pub const BLOCK_SIZE: u32 = 64 * 1024;

/// The largest slice: what a client pushes, and a server streams, in one message.
pub const MAX_SLICE: u32 = 1024 * 1024;

/// Chunk size of a cluster that does not say otherwise (GFS paper §2.5).
pub const DEFAULT_CHUNK_SIZE: u32 = 64 * 1024 * 1024;

/// The largest chunk size a cluster may be created with.
pub const MAX_CHUNK_SIZE: u32 = 1024 * 1024 * 1024;

/// The longest file: 2^53 bytes (8 PiB), so that every offset is exact in any client language.
pub const MAX_FILE_LENGTH: u64 = 1 << 53;

/// Why a chunk size is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("chunk size {0} is not a multiple of 65536 bytes between 65536 and 1073741824")]
pub struct GeometryError(pub u64);

/// How a cluster cuts files. Fixed when the cluster is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    chunk_size: u32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE }
    }
}

impl Geometry {
    /// A geometry with chunks of `chunk_size` bytes.
    ///
    /// # Errors
    /// Unless it is a multiple of [`BLOCK_SIZE`] in `BLOCK_SIZE..=MAX_CHUNK_SIZE`.
    pub fn new(chunk_size: u64) -> Result<Self, GeometryError> {
        match u32::try_from(chunk_size) {
            Ok(size)
                if (BLOCK_SIZE..=MAX_CHUNK_SIZE).contains(&size)
                    && size.is_multiple_of(BLOCK_SIZE) =>
            {
                Ok(Self { chunk_size: size })
            }
            _ => Err(GeometryError(chunk_size)),
        }
    }

    /// Bytes of a full chunk.
    #[must_use]
    pub const fn chunk_size(self) -> u32 {
        self.chunk_size
    }

    /// Checksummed blocks of a full chunk.
    #[must_use]
    pub const fn blocks(self) -> u32 {
        self.chunk_size / BLOCK_SIZE
    }

    /// Blocks that `length` bytes of a chunk touch.
    #[must_use]
    pub const fn blocks_of(self, length: u32) -> u32 {
        length.div_ceil(BLOCK_SIZE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_make_a_chunk() {
        assert!(Geometry::new(0).is_err());
        assert!(Geometry::new(65_537).is_err());
        assert!(Geometry::new(u64::from(MAX_CHUNK_SIZE) + u64::from(BLOCK_SIZE)).is_err());
        let g = Geometry::new(1 << 20).unwrap();
        assert_eq!(
            (g.blocks(), g.blocks_of(0), g.blocks_of(1), g.blocks_of(65_537)),
            (16, 0, 1, 2)
        );
    }
}
