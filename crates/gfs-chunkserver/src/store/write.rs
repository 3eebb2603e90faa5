//! Changing a chunk's bytes: sequential writes, and blocks copied from another replica.

use super::chunk::{Chunk, Membership, OpenChunk, Shared, lock};
use super::header::Extent;
use super::{StoreError, StoreResult};
use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, BlockSums, ClientId, Crc, OpSequence, Serial, Version};

/// How a mutation relates to what the chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// Begins where the chunk ends.
    Sequential,
    /// Replaces bytes that the chunk holds. Refused in this version: it needs a redo record.
    Overwrite,
}

/// One mutation in the order that the chunk's primary gave it.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// The version under which it was ordered: what the replica is complete at, and promised.
    pub version: Version,
    /// Its serial: the one after the last applied.
    pub serial: Serial,
    /// What it does.
    pub kind: WriteKind,
    /// Where it begins, in bytes within the chunk.
    pub offset: u32,
    /// The bytes.
    pub pieces: &'a [Bytes],
    /// Their checksums, cut at block borders. The receiver verified them; they are stored as they
    /// are, so that damage in this process's memory is found by the next reader.
    pub sums: &'a BlockSums,
    /// Whose it is and its number among that writer's, to be remembered for repeats.
    pub writer: Option<(ClientId, OpSequence)>,
}

fn total(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// The checksums of the blocks that a write fills, and of the block it ends in.
struct Checksums {
    filled: Vec<Crc>,
    tail: Crc,
}

/// Continues a block that holds `tail` (when `offset` lies inside one) with the parts of a write:
/// no byte is read again.
fn continue_blocks(mut tail: Crc, offset: u32, len: u32, sums: &BlockSums) -> Checksums {
    let (mut at, mut left) = (offset, len);
    let mut filled = Vec::with_capacity(sums.0.len());
    for sum in &sums.0 {
        let inside = at % BLOCK_SIZE;
        let part = left.min(BLOCK_SIZE - inside);
        let crc = if inside == 0 { *sum } else { tail.combine(*sum, part) };
        at += part;
        left -= part;
        if at.is_multiple_of(BLOCK_SIZE) {
            filled.push(crc);
            tail = Crc(0);
        } else {
            tail = crc;
        }
    }
    Checksums { filled, tail }
}

impl OpenChunk {
    fn check_write(&self, write: &Write<'_>) -> StoreResult<u32> {
        let header = &self.header;
        let handle = header.handle;
        if self.failed {
            return Err(StoreError::Failed(handle));
        }
        if header.flags.incomplete {
            return Err(StoreError::Incomplete(handle));
        }
        if header.flags.suspect {
            return Err(StoreError::Suspect(handle));
        }
        if write.version != header.complete.version || write.version < header.promised {
            return Err(StoreError::StaleVersion {
                handle,
                asked: write.version,
                promised: header.promised,
                complete: header.complete.version,
            });
        }
        if header.flags.sealed {
            return Err(StoreError::Sealed(handle));
        }
        if write.serial != header.complete.serial.next() {
            return Err(StoreError::Invalid(format!(
                "chunk {handle}: serial {} does not follow {}",
                write.serial, header.complete.serial
            )));
        }
        if write.kind == WriteKind::Overwrite {
            return Err(StoreError::OverwriteUnsupported(handle));
        }
        let length = header.content.length;
        if write.offset != length {
            return Err(StoreError::WrongOffset { handle, offset: write.offset, length });
        }
        self.check_range(write.offset, write.pieces, write.sums)
    }

    /// The length of `pieces`, if they fit the chunk and `sums` are as many as their parts.
    fn check_range(&self, offset: u32, pieces: &[Bytes], sums: &BlockSums) -> StoreResult<u32> {
        let len = total(pieces);
        let end = u64::from(offset) + len;
        if end > u64::from(self.layout.chunk_size()) {
            let why =
                format!("bytes {offset}..{end} reach past {} bytes", self.layout.chunk_size());
            return Err(StoreError::OutOfRange { handle: self.header.handle, why });
        }
        let len = len as u32;
        let parts = BlockSums::parts(offset, len);
        if sums.0.len() != parts as usize {
            return Err(StoreError::Invalid(format!(
                "{} checksums for {parts} parts",
                sums.0.len()
            )));
        }
        Ok(len)
    }

    /// Writes data, then the checksums of the blocks it fills, from `first` on.
    fn put_data(
        &mut self,
        shared: &Shared,
        offset: u32,
        pieces: &[Bytes],
        filled: &[Crc],
    ) -> StoreResult<()> {
        let handle = self.header.handle;
        let disk = |error| shared.disk_error("write", handle, error);
        self.file.write_pieces(pieces, u64::from(offset)).map_err(disk)?;
        self.written = self.written.max(offset + total(pieces) as u32);
        if !filled.is_empty() {
            let first = offset / BLOCK_SIZE;
            let bytes: Vec<u8> = filled.iter().flat_map(|sum| sum.0.to_le_bytes()).collect();
            self.file.write_all(&bytes, self.layout.checksum(first)).map_err(disk)?;
            for (entry, sum) in self.sums.iter_mut().skip(first as usize).zip(filled) {
                *entry = *sum;
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, shared: &Shared, write: &Write<'_>) -> StoreResult<u32> {
        let len = self.check_write(write)?;
        self.begin_change(shared)?;
        let sums = continue_blocks(self.header.content.tail, write.offset, len, write.sums);
        if len > 0 {
            self.put_data(shared, write.offset, write.pieces, &sums.filled)?;
        }
        let mut next = self.header.clone();
        next.content = Extent { length: write.offset + len, tail: sums.tail };
        next.complete.serial = write.serial;
        if let Some((writer, sequence)) = write.writer {
            next.window.record(writer.0, sequence.0, write.offset);
        }
        self.put_header(shared, next)?;
        Ok(self.header.content.length)
    }

    /// Whether blocks may be replaced: while a clone or a version change is under way, or the
    /// chunk is not trusted. Otherwise only damaged blocks, by the bytes they should hold.
    fn check_replace(
        &self,
        shared: &Shared,
        first: u32,
        len: u32,
        sums: &[Crc],
    ) -> StoreResult<()> {
        let header = &self.header;
        let flags = header.flags;
        if flags.incomplete || flags.suspect || header.promised > header.complete.version {
            return Ok(());
        }
        let damage = lock(&shared.damage);
        let damaged = damage.get(&header.handle);
        let refuse = |block: u32, why: &str| {
            StoreError::Invalid(format!("chunk {}: block {block} {why}", header.handle))
        };
        for (block, sum) in (first..).zip(sums) {
            if !damaged.is_some_and(|damaged| damaged.contains(&block)) {
                return Err(refuse(block, "is not damaged, and no version change is under way"));
            }
            // A whole block's entry may be what is damaged; the header's checksum is protected.
            let tail = header.content.length / BLOCK_SIZE;
            if block > tail || (block == tail && *sum != header.content.tail) {
                return Err(refuse(block, "is not what it was"));
            }
        }
        let (end, length) = (first * BLOCK_SIZE + len, header.content.length);
        if end != length && !len.is_multiple_of(BLOCK_SIZE) {
            return Err(refuse(end / BLOCK_SIZE, "would be replaced in part"));
        }
        Ok(())
    }

    pub(crate) fn replace_blocks(
        &mut self,
        shared: &Shared,
        first: u32,
        pieces: &[Bytes],
        sums: &BlockSums,
    ) -> StoreResult<()> {
        let handle = self.header.handle;
        let offset = first.checked_mul(BLOCK_SIZE).ok_or_else(|| StoreError::OutOfRange {
            handle,
            why: format!("there is no block {first}"),
        })?;
        if self.failed {
            return Err(StoreError::Failed(handle));
        }
        let len = self.check_range(offset, pieces, sums)?;
        self.check_replace(shared, first, len, &sums.0)?;
        self.begin_change(shared)?;
        self.cuts += 1;
        let whole = (len / BLOCK_SIZE) as usize;
        self.put_data(shared, offset, pieces, sums.0.get(..whole).unwrap_or_default())?;
        // What the last sync made durable holds up to here only.
        let synced = &mut self.header.synced.1;
        if synced.length > offset {
            *synced = Extent { length: offset, tail: Crc(0) };
        }
        self.written_back = self.written_back.min(offset);
        let mut damage = lock(&shared.damage);
        if let Some(blocks) = damage.get_mut(&handle) {
            blocks.retain(|block| !(first..first + sums.0.len() as u32).contains(block));
            if blocks.is_empty() {
                damage.remove(&handle);
            }
        }
        Ok(())
    }
}

impl Chunk {
    pub(crate) fn write(
        &self,
        shared: &Shared,
        member: Membership,
        write: &Write<'_>,
    ) -> StoreResult<u32> {
        self.with(shared, member, |open| open.write(shared, write))
    }
}
