//! Reading a chunk: nothing is returned that does not match its checksum.

use super::buffers::Buffer;
use super::chunk::{Chunk, Failure, Membership, OpenChunk, Shared, lock};
use super::header::{Extent, Position};
use super::{StoreError, StoreResult};
use crate::files::ChunkFile;
use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, BlockSums, ChunkHandle, Crc, MAX_SLICE};
use std::io;
use std::sync::Arc;

/// Bytes that are read in one call: a small part of what a processor core caches.
const STEP: u32 = 4 * BLOCK_SIZE;

/// Bytes of a chunk, each verified against its block's checksum.
#[derive(Clone, Debug)]
pub struct ChunkRead {
    /// The bytes; fewer than asked for at the chunk's end, and past [`MAX_SLICE`].
    pub data: Bytes,
    /// The checksums of exactly these bytes, cut at block borders.
    pub sums: BlockSums,
    /// The chunk's length when it was read.
    pub length: u32,
}

/// The recorded checksums of a chunk's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChecksums {
    /// The chunk's length.
    pub length: u32,
    /// One per block that the length touches; the last covers only what the chunk holds of it.
    pub sums: Vec<Crc>,
    /// Which of these blocks are known not to match.
    pub damaged: Vec<u32>,
}

/// What [`super::Volume::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The length that the header says.
    pub length: u32,
    /// Blocks that do not match or cannot be read.
    pub damaged: Vec<u32>,
    /// The longest prefix that is good, also where the last sync remembers a checksum that the
    /// header no longer has. Where nothing is damaged, all of the content.
    pub prefix: Extent,
    /// What the header says of the last sync.
    pub synced: Position,
}

/// A range of blocks, with all it takes to read and check them without the chunk's lock.
pub(super) struct Plan {
    file: Arc<dyn ChunkFile>,
    length: u32,
    /// From the first block's begin to the last one's end, or the content's.
    begin: u32,
    end: u32,
    sums: Vec<Crc>,
}

impl Plan {
    /// Covers the blocks that bytes `offset..end` touch; these lie within the content.
    pub(super) fn new(open: &OpenChunk, offset: u32, end: u32) -> Self {
        let length = open.header.content.length;
        let first = offset / BLOCK_SIZE;
        let blocks = first..end.div_ceil(BLOCK_SIZE);
        Self {
            file: Arc::clone(&open.file),
            length,
            begin: first * BLOCK_SIZE,
            end: end.next_multiple_of(BLOCK_SIZE).min(length),
            sums: blocks.map(|block| open.checksum(block).unwrap_or_default()).collect(),
        }
    }

    /// Bytes that it reads.
    pub(super) const fn len(&self) -> usize {
        (self.end - self.begin) as usize
    }

    /// Fills `buffer`, and returns the blocks that are not as they should be.
    pub(super) fn read(&self, buffer: &mut Buffer) -> io::Result<Vec<u32>> {
        let read = |bytes: &mut [u8], at| self.file.read(bytes, at).map(Some);
        Ok(self.read_with(buffer, read)?.unwrap_or_default())
    }

    /// The same from memory alone; `None` where the disk would be needed.
    fn read_cached(&self, buffer: &mut Buffer) -> io::Result<Option<Vec<u32>>> {
        self.read_with(buffer, |bytes, at| self.file.read_cached(bytes, at))
    }

    /// Reads step by step: what was just read is checked while the processor's cache has it.
    fn read_with(
        &self,
        buffer: &mut Buffer,
        read: impl Fn(&mut [u8], u64) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<Vec<u32>>> {
        let mut damaged = Vec::new();
        let mut at = self.begin;
        let steps = buffer.bytes_mut().chunks_mut(STEP as usize);
        for (step, sums) in steps.zip(self.sums.chunks((STEP / BLOCK_SIZE) as usize)) {
            let Some(read) = read(step, u64::from(at))? else { return Ok(None) };
            let blocks = step.chunks(BLOCK_SIZE as usize).zip(sums);
            let mut end = 0;
            for (block, (bytes, sum)) in (at / BLOCK_SIZE..).zip(blocks) {
                end += bytes.len();
                if end > read || Crc::of(bytes) != *sum {
                    damaged.push(block);
                }
            }
            at += step.len() as u32;
        }
        Ok(Some(damaged))
    }

    /// The checksums of `offset..end`: those of the blocks where they are whole.
    fn sums_of(&self, bytes: &[u8], offset: u32, end: u32) -> BlockSums {
        let mut sums = Vec::with_capacity(self.sums.len());
        let mut at = self.begin;
        for (block, sum) in bytes.chunks(BLOCK_SIZE as usize).zip(&self.sums) {
            let block_end = at + block.len() as u32;
            let (from, to) = (offset.max(at), end.min(block_end));
            if (from, to) == (at, block_end) {
                sums.push(*sum);
            } else if let Some(part) = block.get((from - at) as usize..(to - at) as usize) {
                sums.push(Crc::of(part));
            }
            at = block_end;
        }
        BlockSums(sums)
    }
}

impl OpenChunk {
    /// Remembers damaged blocks, in memory and (that there are some) in the header.
    fn note_damage(&mut self, shared: &Shared, damaged: &[u32]) {
        let handle = self.header.handle;
        tracing::warn!(%handle, blocks = ?damaged, "chunk is damaged");
        lock(&shared.damage).entry(handle).or_default().extend(damaged);
        self.set_damaged(shared, true);
    }

    fn set_damaged(&mut self, shared: &Shared, damaged: bool) {
        if self.header.flags.damaged != damaged {
            let mut next = self.header.clone();
            next.flags.damaged = damaged;
            // A hint for after a restart, so an error changes nothing.
            let _ = self.put_header(shared, next);
        }
    }

    /// The checksum of the bytes from the last block border before `length` up to it.
    pub(crate) fn prefix_checksum(&mut self, shared: &Shared, length: u32) -> StoreResult<Crc> {
        let inside = (length % BLOCK_SIZE) as usize;
        if inside == 0 {
            return Ok(Crc(0));
        }
        let block = self.verified_block(shared, length / BLOCK_SIZE)?;
        Ok(Crc::of(block.get(..inside).unwrap_or_default()))
    }

    /// The content of a block, which must be good.
    pub(super) fn verified_block(&mut self, shared: &Shared, block: u32) -> StoreResult<Bytes> {
        let handle = self.header.handle;
        let begin = block * BLOCK_SIZE;
        let plan = Plan::new(self, begin, self.header.content.length.min(begin + BLOCK_SIZE));
        let mut buffer = shared.buffers.take(plan.len());
        let damaged =
            plan.read(&mut buffer).map_err(|error| shared.disk_error("read", handle, error))?;
        if damaged.is_empty() {
            return Ok(buffer.freeze());
        }
        self.note_damage(shared, &damaged);
        Err(StoreError::Corrupt { handle, blocks: damaged })
    }

    pub(crate) fn checksums(&self, shared: &Shared) -> BlockChecksums {
        let length = self.header.content.length;
        let blocks = 0..length.div_ceil(BLOCK_SIZE);
        let damage = lock(&shared.damage);
        BlockChecksums {
            length,
            sums: blocks.map(|block| self.checksum(block).unwrap_or_default()).collect(),
            damaged: damage.get(&self.header.handle).into_iter().flatten().copied().collect(),
        }
    }
}

impl Chunk {
    pub(crate) fn read(
        &self,
        shared: &Shared,
        member: Membership,
        offset: u32,
        len: u32,
    ) -> StoreResult<ChunkRead> {
        let disk = |error| shared.disk_error("read", self.handle, error);
        // Without the lock: whoever overwrites meanwhile, the plan knows what the bytes were.
        let plan = self.with(shared, member, |open| plan_of(open, self.handle, offset, len))?;
        let Some((plan, end)) = plan else { return self.nothing(shared, member) };
        let mut buffer = shared.buffers.take((plan.end - plan.begin) as usize);
        if plan.read(&mut buffer).map_err(disk)?.is_empty() {
            return Ok(finish(&plan, buffer, offset, end));
        }
        // A cut or a clone may have come in between: only what is found under the lock counts.
        self.with(shared, member, |open| {
            let Some((plan, end)) = plan_of(open, self.handle, offset, len)? else {
                return Ok(empty(open));
            };
            let mut buffer = shared.buffers.take((plan.end - plan.begin) as usize);
            let damaged = plan.read(&mut buffer).map_err(disk)?;
            if damaged.is_empty() {
                return Ok(finish(&plan, buffer, offset, end));
            }
            open.note_damage(shared, &damaged);
            Err(StoreError::Corrupt { handle: self.handle, blocks: damaged })
        })
    }

    /// Reads what is in memory, without waiting for anything: `None` where the disk or another
    /// thread would have to be waited for, and where anything is wrong, which [`Self::read`] then
    /// tells.
    pub(crate) fn read_cached(&self, shared: &Shared, offset: u32, len: u32) -> Option<ChunkRead> {
        let (plan, end) = {
            let open = self.open.try_lock().ok()?;
            let open = open.as_ref().filter(|open| open.failed != Some(Failure::Torn))?;
            plan_of(open, self.handle, offset, len).ok()??
        };
        let mut buffer = shared.buffers.take((plan.end - plan.begin) as usize);
        let damaged = plan.read_cached(&mut buffer).ok()??;
        damaged.is_empty().then(|| finish(&plan, buffer, offset, end))
    }

    fn nothing(&self, shared: &Shared, member: Membership) -> StoreResult<ChunkRead> {
        self.with(shared, member, |open| Ok(empty(open)))
    }

    /// Reads all blocks. Takes the lock for each step of a slice's size, not over the whole.
    pub(crate) fn verify(&self, shared: &Shared, member: Membership) -> StoreResult<Verified> {
        let mut damaged = Vec::new();
        let mut at = 0;
        loop {
            let length = self.with(shared, member, |open| Ok(open.header.content.length))?;
            if at >= length {
                break;
            }
            let end = length.min(at + MAX_SLICE);
            match self.read(shared, member, at, end - at) {
                Ok(_) => {}
                Err(StoreError::Corrupt { blocks, .. }) => damaged.extend(blocks),
                Err(StoreError::Disk { .. }) => {
                    damaged.extend(self.unreadable_blocks(shared, member, at, end)?);
                }
                Err(error) => return Err(error),
            }
            at = end;
        }
        self.with(shared, member, |open| {
            let content = open.header.content;
            damaged.retain(|block| *block < content.length.div_ceil(BLOCK_SIZE));
            if damaged.is_empty() {
                lock(&shared.damage).remove(&self.handle);
                open.set_damaged(shared, false);
            }
            let prefix = match damaged.first() {
                None => content,
                Some(first) => open.good_prefix(shared, *first),
            };
            let synced = open.header.synced.0;
            Ok(Verified { length: content.length, damaged, prefix, synced })
        })
    }

    /// Which blocks of a range the disk does not return, or not as they should be.
    pub(super) fn unreadable_blocks(
        &self,
        shared: &Shared,
        member: Membership,
        begin: u32,
        end: u32,
    ) -> StoreResult<Vec<u32>> {
        self.with(shared, member, |open| {
            let length = open.header.content.length;
            let mut damaged = Vec::new();
            for block in begin / BLOCK_SIZE..end.min(length).div_ceil(BLOCK_SIZE) {
                let plan =
                    Plan::new(open, block * BLOCK_SIZE, length.min((block + 1) * BLOCK_SIZE));
                let mut buffer = shared.buffers.take((plan.end - plan.begin) as usize);
                if plan.read(&mut buffer).map_or(true, |damaged| !damaged.is_empty()) {
                    damaged.push(block);
                }
            }
            if !damaged.is_empty() {
                open.note_damage(shared, &damaged);
            }
            Ok(damaged)
        })
    }
}

impl OpenChunk {
    /// The longest good prefix when `first` is the first damaged block.
    fn good_prefix(&self, shared: &Shared, first: u32) -> Extent {
        let whole = Extent { length: first * BLOCK_SIZE, tail: Crc(0) };
        let synced = self.header.synced.1;
        if synced.length <= whole.length || synced.length - whole.length >= BLOCK_SIZE {
            return whole;
        }
        let mut buffer = shared.buffers.take((synced.length - whole.length) as usize);
        match self.file.read(buffer.bytes_mut(), u64::from(whole.length)) {
            Ok(read)
                if read == buffer.as_ref().len() && Crc::of(buffer.as_ref()) == synced.tail =>
            {
                synced
            }
            _ => whole,
        }
    }
}

/// What to read, and where the returned bytes end; `None` for an empty range.
fn plan_of(
    open: &OpenChunk,
    handle: ChunkHandle,
    offset: u32,
    len: u32,
) -> StoreResult<Option<(Plan, u32)>> {
    if offset > open.layout.chunk_size() {
        let why = format!("byte {offset} lies past {} bytes", open.layout.chunk_size());
        return Err(StoreError::OutOfRange { handle, why });
    }
    let length = open.header.content.length;
    let end = offset.saturating_add(len.min(MAX_SLICE)).min(length);
    Ok((offset < end).then(|| (Plan::new(open, offset, end), end)))
}

fn finish(plan: &Plan, buffer: Buffer, offset: u32, end: u32) -> ChunkRead {
    let sums = plan.sums_of(buffer.as_ref(), offset, end);
    let range = (offset - plan.begin) as usize..(end - plan.begin) as usize;
    ChunkRead { data: buffer.freeze().slice(range), sums, length: plan.length }
}

fn empty(open: &OpenChunk) -> ChunkRead {
    let length = open.header.content.length;
    ChunkRead { data: Bytes::new(), sums: BlockSums::default(), length }
}
