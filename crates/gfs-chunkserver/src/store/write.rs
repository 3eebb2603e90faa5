//! Changing a chunk's bytes: mutations, and blocks copied from another replica.

use super::chunk::{Chunk, Membership, OpenChunk, Shared, lock};
use super::header::{Extent, Position};
use super::redo::RedoRecord;
use super::sums::{Checksums, Cut, Part, Span, Wrong, checksums, spans, total};
use super::{StoreError, StoreResult};
use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, BlockSums, ClientId, Crc, OpSequence, Serial, Version};

/// One mutation in the order that the chunk's primary gave it. Begins where the chunk ends or
/// below: what it covers is overwritten, what reaches further makes the chunk longer.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// The version under which it was ordered: what the replica is complete at, and promised.
    pub version: Version,
    /// Its serial: the one after the last applied.
    pub serial: Serial,
    /// Where it begins, in bytes within the chunk.
    pub offset: u32,
    /// Its parts, one behind the other.
    pub parts: &'a [Part<'a>],
    /// At what their checksums are cut.
    pub cut: Cut,
    /// Whose it is and its number among that writer's, to be remembered for repeats.
    pub writer: Option<(ClientId, OpSequence)>,
}

impl Write<'_> {
    fn len(&self) -> u64 {
        self.parts.iter().map(|part| total(part.pieces)).sum()
    }

    fn pieces(&self) -> Vec<Bytes> {
        self.parts.iter().flat_map(|part| part.pieces.iter().cloned()).collect()
    }
}

impl OpenChunk {
    fn check_write(&self, write: &Write<'_>) -> StoreResult<u32> {
        let header = &self.header;
        let handle = header.handle;
        if self.failed.is_some() {
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
        let length = header.content.length;
        if write.offset > length {
            return Err(StoreError::WrongOffset { handle, offset: write.offset, length });
        }
        let len = self.check_range(write.offset, write.len())?;
        if write.offset < length && len > self.layout.max_overwrite() {
            let why = format!("cannot overwrite {len} bytes at once");
            return Err(StoreError::OutOfRange { handle, why });
        }
        Ok(len)
    }

    /// A length that fits the chunk from `offset` on.
    fn check_range(&self, offset: u32, len: u64) -> StoreResult<u32> {
        let end = u64::from(offset) + len;
        if end > u64::from(self.layout.chunk_size()) {
            let why =
                format!("bytes {offset}..{end} reach past {} bytes", self.layout.chunk_size());
            return Err(StoreError::OutOfRange { handle: self.header.handle, why });
        }
        Ok(len as u32)
    }

    /// Writes data, then the checksums of the blocks that are whole with it.
    fn put_data(
        &mut self,
        shared: &Shared,
        offset: u32,
        pieces: &[Bytes],
        whole: &[Crc],
    ) -> StoreResult<()> {
        let handle = self.header.handle;
        self.file
            .write_pieces(pieces, u64::from(offset))
            .map_err(|error| shared.disk_error("write", handle, error))?;
        self.written = self.written.max(offset + total(pieces) as u32);
        self.put_sums(shared, offset / BLOCK_SIZE, whole)
    }

    /// Writes the checksums of blocks from `first` on.
    pub(super) fn put_sums(
        &mut self,
        shared: &Shared,
        first: u32,
        sums: &[Crc],
    ) -> StoreResult<()> {
        if sums.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.0.to_le_bytes()).collect();
        self.file
            .write_all(&bytes, self.layout.checksum(first))
            .map_err(|error| shared.disk_error("write", self.header.handle, error))?;
        for (entry, sum) in self.sums.iter_mut().skip(first as usize).zip(sums) {
            *entry = *sum;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, shared: &Shared, write: &Write<'_>) -> StoreResult<u32> {
        let len = self.check_write(write)?;
        let handle = self.header.handle;
        let spans = spans(write.offset, write.cut, write.parts).map_err(|wrong| match wrong {
            Wrong::Count => StoreError::Invalid("not one checksum for each part".to_owned()),
            Wrong::Value => StoreError::BadPayload(handle),
        })?;
        if write.offset < self.header.content.length && len > 0 {
            self.overwrite(shared, write, len, &spans)?;
        } else {
            self.extend(shared, write, len, &spans)?;
        }
        Ok(self.header.content.length)
    }

    /// Writes behind the content: until the header says so nobody looks there.
    fn extend(
        &mut self,
        shared: &Shared,
        write: &Write<'_>,
        len: u32,
        spans: &[Span],
    ) -> StoreResult<()> {
        self.begin_change(shared)?;
        let mut next = self.header.clone();
        if len > 0 {
            let Checksums { whole, tail } =
                checksums(write.offset, next.content.tail, spans, Span::default());
            self.put_data(shared, write.offset, &write.pieces(), &whole)?;
            next.content = Extent { length: write.offset + len, tail: tail.unwrap_or_default() };
        }
        next.complete.serial = write.serial;
        if let Some((writer, sequence)) = write.writer {
            next.window.record(writer.0, sequence.0, write.offset);
        }
        self.put_header(shared, next)
    }

    /// Writes over the content: see [`super::redo`].
    fn overwrite(
        &mut self,
        shared: &Shared,
        write: &Write<'_>,
        len: u32,
        spans: &[Span],
    ) -> StoreResult<()> {
        let (offset, end) = (write.offset, write.offset + len);
        let (before, behind) = self.edges(shared, offset, end)?;
        let sums = checksums(offset, before, spans, behind);
        let content = self.header.content;
        let length = content.length.max(end);
        // Where the mutation neither touches the last block nor makes a new one, that stays.
        let tail = match sums.tail {
            Some(tail) => tail,
            None if length.is_multiple_of(BLOCK_SIZE) => Crc(0),
            None => content.tail,
        };
        self.begin_change(shared)?;
        let handle = self.header.handle;
        // In a hole there may be no space: better known before than half-way.
        self.file
            .allocate(u64::from(offset), u64::from(len))
            .map_err(|error| shared.disk_error("reserve", handle, error))?;
        let record = RedoRecord {
            generation: self.header.generation,
            cluster: self.header.cluster,
            handle,
            position: Position { version: write.version, serial: write.serial },
            writer: write.writer,
            offset,
            len,
            content: Extent { length, tail },
            sums: sums.whole,
        };
        let pieces = write.pieces();
        let data = spans.iter().fold(Crc(0), |crc, span| crc.combine(span.crc, span.len));
        let crc = self.put_record(shared, &record, &pieces, data)?;
        let next = self.completed(&record, crc);
        self.rewritten += 2 * u64::from(len);
        self.put_data(shared, offset, &pieces, &record.sums)
            .and_then(|()| self.put_header(shared, next))
            .inspect_err(|_| self.torn(shared))?;
        // What it left of its first and last block was verified.
        self.no_longer_damaged(shared, offset / BLOCK_SIZE, BlockSums::parts(offset, len));
        Ok(())
    }

    /// What an overwrite leaves of the first and the last block it touches: the checksum of the
    /// bytes before it in the one, behind it in the other. The blocks are verified.
    fn edges(&mut self, shared: &Shared, offset: u32, end: u32) -> StoreResult<(Crc, Span)> {
        let length = self.header.content.length;
        let last = (end - 1) / BLOCK_SIZE;
        let inside = (offset % BLOCK_SIZE) as usize;
        let last_end = length.min((last + 1) * BLOCK_SIZE);
        let mut before = Crc(0);
        if inside > 0 {
            let block = self.verified_block(shared, offset / BLOCK_SIZE)?;
            before = Crc::of(block.get(..inside).unwrap_or_default());
            if offset / BLOCK_SIZE == last && end < last_end {
                let behind = block.get((end % BLOCK_SIZE) as usize..).unwrap_or_default();
                return Ok((before, Span::of(behind)));
            }
        }
        if end >= last_end {
            return Ok((before, Span::default()));
        }
        let block = self.verified_block(shared, last)?;
        Ok((before, Span::of(block.get((end % BLOCK_SIZE) as usize..).unwrap_or_default())))
    }

    /// These blocks are as they should be.
    fn no_longer_damaged(&self, shared: &Shared, first: u32, count: u32) {
        let mut damage = lock(&shared.damage);
        if let Some(blocks) = damage.get_mut(&self.header.handle) {
            blocks.retain(|block| !(first..first + count).contains(block));
            if blocks.is_empty() {
                damage.remove(&self.header.handle);
            }
        }
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
        if self.failed.is_some() {
            return Err(StoreError::Failed(handle));
        }
        let len = self.check_range(offset, total(pieces))?;
        let parts = BlockSums::parts(offset, len);
        if sums.0.len() != parts as usize {
            let why = format!("{} checksums for {parts} blocks", sums.0.len());
            return Err(StoreError::Invalid(why));
        }
        self.check_replace(shared, first, len, &sums.0)?;
        self.begin_change(shared)?;
        self.outdate_record(shared)?;
        self.cuts += 1;
        let whole = (len / BLOCK_SIZE) as usize;
        self.put_data(shared, offset, pieces, sums.0.get(..whole).unwrap_or_default())?;
        // What the last sync made durable holds up to here only.
        let synced = &mut self.header.synced.1;
        if synced.length > offset {
            *synced = Extent { length: offset, tail: Crc(0) };
        }
        self.written_back = self.written_back.min(offset);
        self.no_longer_damaged(shared, first, sums.0.len() as u32);
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
