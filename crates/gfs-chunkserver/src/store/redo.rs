//! The redo record: what makes an overwrite whole that a crash cut short.
//!
//! Bytes that were acknowledged are overwritten in four steps: the record, with all it takes to
//! carry out the other three; the data; the checksums of the blocks that are whole; the header. A
//! process killed before the record is whole leaves the old bytes, one killed later the new ones,
//! as soon as the chunk is opened again. Without it one kill could tear the same block of every
//! copy, all of them writing it at the same moment.
//!
//! For chunks whose bytes were acknowledged as durable ([`super::Flags::durable`]) the record is
//! synced before anything else is written, and so is all that came before it. After a power loss
//! the record is carried out again even if the header says that it was: the data may not have
//! reached the disk. (Such a chunk is suspect, as any that is not clean.) So it stays until a sync
//! covers the data, and whatever outdates it, the next record included, syncs first. (A writer that
//! has each of its writes made durable has done so already.)

use super::StoreResult;
use super::chunk::{Failure, OpenChunk, Shared, lock};
use super::fields::{Reader, Writer};
use super::header::{Extent, FORMAT, Header, Position};
use super::layout::ChunkLayout;
use crate::files::ChunkFile;
use bytes::Bytes;
use gfs_types::{BLOCK_SIZE, ChunkHandle, ClientId, ClusterId, Crc, MAX_SLICE, OpSequence};
use std::io;

const MAGIC: &[u8; 8] = b"GFSREDO\n";
/// Bytes before the block checksums.
const FIXED: usize = 128;
const CRC_AT: usize = FIXED - 4;

/// A redo record, in the slot behind the block checksums; little endian, written in one write.
///
/// | at | bytes | what |
/// |---|---|---|
/// | 0 | 8 | `GFSREDO` and a line feed |
/// | 8 | 4 | format version, that of the header |
/// | 12 | 4 | zero (features that a reader must know) |
/// | 16 | 8 | generation of the header on top of which it is carried out |
/// | 24 | 16 | cluster id, big endian |
/// | 40 | 8 | chunk handle |
/// | 48 | 8 | version |
/// | 56 | 8 | serial of the mutation |
/// | 64 | 8 | its writer |
/// | 72 | 8 | its number among the writer's; 0: it is to be remembered for nobody |
/// | 80 | 4 | offset of the data within the chunk |
/// | 84 | 4 | bytes of data, at least 1, at most [`ChunkLayout::max_overwrite`] |
/// | 88 | 4 | length of the chunk afterwards |
/// | 92 | 4 | checksum of its partial last block then; 0 when the length ends a block |
/// | 96 | 28 | zero |
/// | 124 | 4 | CRC-32C of all other bytes of the record |
/// | 128 | 4 each | checksums of the blocks that the data touches and that are whole afterwards |
/// | … | | the data |
///
/// It counts if its checksum is right and either
///
/// - it *follows* the header: that has the record's generation and version, the serial before the
///   record's, and a length that fits. The header's next write makes it a leftover, whatever is
///   written;
/// - or the header names its checksum, and is suspect: then data and checksums are written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedoRecord {
    /// Generation of the header before.
    pub generation: u64,
    /// The cluster that the chunk belongs to.
    pub cluster: ClusterId,
    /// The chunk.
    pub handle: ChunkHandle,
    /// Version and serial of the mutation.
    pub position: Position,
    /// Whose it is, and its number among that writer's.
    pub writer: Option<(ClientId, OpSequence)>,
    /// Where the data goes, in bytes within the chunk.
    pub offset: u32,
    /// Bytes of data.
    pub len: u32,
    /// What the chunk holds afterwards.
    pub content: Extent,
    /// Checksums of the blocks touched that are whole afterwards.
    pub sums: Vec<Crc>,
}

impl RedoRecord {
    /// How many blocks the data touches that are whole afterwards.
    fn whole(&self) -> usize {
        let end = self.offset.saturating_add(self.len).div_ceil(BLOCK_SIZE);
        let whole = end.min(self.content.length / BLOCK_SIZE);
        whole.saturating_sub(self.offset / BLOCK_SIZE) as usize
    }

    /// Where the data is in the record.
    fn data_at(&self) -> u64 {
        FIXED as u64 + 4 * self.sums.len() as u64
    }

    /// The bytes before the data, whose checksum is given, and the checksum of the record.
    #[must_use]
    pub fn encode(&self, data: Crc) -> (Vec<u8>, Crc) {
        let mut bytes = vec![0; self.data_at() as usize];
        let mut w = Writer(&mut bytes, 0);
        w.bytes(MAGIC);
        w.u32(FORMAT);
        w.u32(0);
        w.u64(self.generation);
        w.bytes(&self.cluster.to_bytes());
        w.u64(self.handle.0);
        w.position(self.position);
        w.u64(self.writer.map_or(0, |(writer, _)| writer.0));
        w.u64(self.writer.map_or(0, |(_, sequence)| sequence.0));
        w.u32(self.offset);
        w.u32(self.len);
        w.extent(self.content);
        w.1 = FIXED;
        self.sums.iter().for_each(|sum| w.u32(sum.0));
        let crc = crc_before_data(&bytes).combine(data, self.len);
        Writer(&mut bytes, CRC_AT).u32(crc.0);
        (bytes, crc)
    }

    /// What a slot holds of a record before the data: nothing, unless it can be one of a chunk of
    /// this layout. With its checksum, which has yet to be compared ([`Self::is_intact`]).
    ///
    /// # Errors
    /// The disk fails.
    pub fn read(file: &dyn ChunkFile, layout: ChunkLayout) -> io::Result<Option<(Self, Crc)>> {
        let mut fixed = [0; FIXED];
        if file.read(&mut fixed, layout.redo())? < FIXED {
            return Ok(None);
        }
        let Some((mut record, crc)) = Self::parse(&fixed, layout) else { return Ok(None) };
        let mut sums = vec![0; 4 * record.whole()];
        if file.read(&mut sums, layout.redo() + FIXED as u64)? < sums.len() {
            return Ok(None);
        }
        let sums = sums.as_chunks::<4>().0.iter();
        record.sums = sums.map(|sum| Crc(u32::from_le_bytes(*sum))).collect();
        Ok(Some((record, crc)))
    }

    fn parse(fixed: &[u8; FIXED], layout: ChunkLayout) -> Option<(Self, Crc)> {
        let mut r = Reader(fixed);
        if r.bytes() != *MAGIC || r.u32() != FORMAT || r.u32() != 0 {
            return None;
        }
        let generation = r.u64();
        let cluster = ClusterId(u128::from_be_bytes(r.bytes()));
        let handle = ChunkHandle(r.u64());
        let position = r.position();
        let (writer, sequence) = (ClientId(r.u64()), OpSequence(r.u64()));
        let (offset, len) = (r.u32(), r.u32());
        let content = r.extent();
        r.bytes::<28>();
        let crc = Crc(r.u32());
        let end = offset.checked_add(len)?;
        let fits = len > 0
            && len <= layout.max_overwrite()
            && end <= content.length
            && content.length <= layout.chunk_size();
        let writer = (sequence != OpSequence(0)).then_some((writer, sequence));
        let sums = Vec::new();
        let record =
            Self { generation, cluster, handle, position, writer, offset, len, content, sums };
        fits.then_some((record, crc))
    }

    /// Whether the record is whole: reads all of its data.
    ///
    /// # Errors
    /// The disk fails.
    pub fn is_intact(
        &self,
        crc: Crc,
        file: &dyn ChunkFile,
        layout: ChunkLayout,
    ) -> io::Result<bool> {
        let mut found = crc_before_data(&self.encode(Crc::default()).0);
        let whole = self.for_each(file, layout, |bytes, _| {
            found = found.append(bytes);
            Ok(())
        })?;
        Ok(whole && found == crc)
    }

    /// Reads the data step by step; each comes with its place in the chunk. Whether all was there.
    fn for_each(
        &self,
        file: &dyn ChunkFile,
        layout: ChunkLayout,
        mut act: impl FnMut(&[u8], u64) -> io::Result<()>,
    ) -> io::Result<bool> {
        let mut buffer = vec![0; self.len.min(MAX_SLICE) as usize];
        let mut done = 0;
        while done < self.len {
            let step = buffer.len().min((self.len - done) as usize);
            let Some(bytes) = buffer.get_mut(..step) else { return Ok(false) };
            if file.read(bytes, layout.redo() + self.data_at() + u64::from(done))? < step {
                return Ok(false);
            }
            act(bytes, u64::from(self.offset + done))?;
            done += step as u32;
        }
        Ok(true)
    }

    /// Whether it is to be carried out on top of this header.
    fn follows(&self, header: &Header) -> bool {
        let length = header.content.length;
        (self.generation, self.cluster, self.handle)
            == (header.generation, header.cluster, header.handle)
            && self.position.version == header.complete.version
            && self.position.serial == header.complete.serial.next()
            && self.offset <= length
            && self.content.length == length.max(self.offset + self.len)
    }
}

/// The checksum of what stands before the data, leaving out the field of the checksum itself.
fn crc_before_data(bytes: &[u8]) -> Crc {
    let (before, behind) = (bytes.get(..CRC_AT), bytes.get(FIXED..));
    Crc::of(before.unwrap_or_default()).append(behind.unwrap_or_default())
}

impl OpenChunk {
    /// Writes the record of a mutation and, where it must survive power loss, syncs it. After an
    /// error nothing was overwritten, and nothing will be.
    pub(super) fn put_record(
        &mut self,
        shared: &Shared,
        record: &RedoRecord,
        pieces: &[Bytes],
        data: Crc,
    ) -> StoreResult<Crc> {
        self.sync_recorded(shared)?;
        let (begin, crc) = record.encode(data);
        let all: Vec<Bytes> =
            std::iter::once(Bytes::from(begin)).chain(pieces.iter().cloned()).collect();
        self.has_record = true;
        if let Err(error) = self.file.write_pieces(&all, self.layout.redo()) {
            // It may be whole all the same. The header's next write outdates it, too.
            self.drop_record();
            return Err(shared.disk_error("write", record.handle, error));
        }
        if self.header.flags.durable {
            self.sync_now(shared)?;
        }
        Ok(crc)
    }

    /// The header that completes a record.
    pub(super) fn completed(&self, record: &RedoRecord, crc: Crc) -> Header {
        let mut next = self.header.clone();
        next.content = record.content;
        next.complete = record.position;
        if let Some((writer, sequence)) = record.writer {
            next.window.record(writer.0, sequence.0, record.offset);
        }
        next.redo = Some(crc);
        if next.flags.durable {
            // The record is on the disk, and all that was before it.
            next.synced = (next.complete, next.content);
        }
        next
    }

    /// Looks for a record in a file that was just opened, and carries it out if it counts.
    ///
    /// # Errors
    /// The disk fails: then the chunk cannot be used, since part of it may be new, part old.
    pub(super) fn recover(&mut self, shared: &Shared) -> StoreResult<()> {
        let handle = self.header.handle;
        let length =
            self.file.length().map_err(|error| shared.disk_error("read", handle, error))?;
        self.has_record = length > self.layout.redo();
        if !self.has_record {
            return Ok(());
        }
        match self.pending() {
            Ok(Some((record, crc))) => {
                tracing::info!(%handle, serial = %record.position.serial, "carrying out an overwrite");
                self.carry_out(shared, &record, crc).inspect_err(|_| self.torn(shared))?;
            }
            Ok(None) => {}
            // A record that cannot be read may have been the one that counts.
            Err(error) => {
                let error = shared.disk_error("read", handle, error);
                tracing::warn!(%handle, %error, "a redo record cannot be read");
                self.header.flags.suspect = true;
            }
        }
        if self.header.redo.is_none() {
            self.drop_record();
            self.list(shared);
        }
        Ok(())
    }

    /// The record in the file if it counts.
    fn pending(&self) -> io::Result<Option<(RedoRecord, Crc)>> {
        let (file, header) = (&*self.file, &self.header);
        if header.flags.clean {
            return Ok(None);
        }
        let Some((record, crc)) = RedoRecord::read(file, self.layout)? else { return Ok(None) };
        let again = header.flags.suspect && header.redo == Some(crc);
        let counts =
            (again || record.follows(header)) && record.is_intact(crc, file, self.layout)?;
        Ok(counts.then_some((record, crc)))
    }

    /// Data, checksums, header.
    fn carry_out(&mut self, shared: &Shared, record: &RedoRecord, crc: Crc) -> StoreResult<()> {
        let handle = record.handle;
        if self.header.flags.durable {
            // Killed before it was: the header that is to follow says that it is.
            self.sync(shared).map_err(|error| shared.disk_error("sync", handle, error))?;
        }
        let file = &*self.file;
        record
            .for_each(file, self.layout, |bytes, at| file.write_all(bytes, at))
            .map_err(|error| shared.disk_error("write", handle, error))?;
        self.put_sums(shared, record.offset / BLOCK_SIZE, &record.sums)?;
        if record.follows(&self.header) {
            self.put_header(shared, self.completed(record, crc))?;
        }
        if self.header.flags.suspect {
            // Not to be done again each time that it is opened.
            self.sync_now(shared)?;
            self.outdate_record(shared)?;
        }
        Ok(())
    }

    /// Makes durable what the last record protects, before that is no longer to be had.
    pub(super) fn sync_recorded(&mut self, shared: &Shared) -> StoreResult<()> {
        let needed = self.header.redo.is_some() && self.header.flags.durable && self.unsynced;
        if needed { self.sync_now(shared) } else { Ok(()) }
    }

    /// Has the header name no record any more, before something changes what the last one wrote.
    pub(super) fn outdate_record(&mut self, shared: &Shared) -> StoreResult<()> {
        if self.header.redo.is_some() {
            self.sync_recorded(shared)?;
            let next = Header { redo: None, ..self.header.clone() };
            self.put_header(shared, next)?;
        }
        Ok(())
    }

    /// Gives back the space of a record that counts no more.
    pub(super) fn drop_record(&mut self) {
        if self.has_record {
            match self.file.set_len(self.layout.redo()) {
                Ok(()) => self.has_record = false,
                Err(error) => {
                    let handle = self.header.handle;
                    tracing::debug!(%handle, %error, "cannot give back the space of a redo record");
                }
            }
        }
    }

    /// An overwrite failed behind its record: the chunk is out of service until it is opened by
    /// another process, which carries the record out. Until then nobody could tell old from new.
    pub(super) fn torn(&mut self, shared: &Shared) {
        let handle = self.header.handle;
        tracing::error!(%handle, "an overwrite failed half-way; the chunk is out of service");
        self.failed = Some(Failure::Torn);
        lock(&shared.failed).insert(handle, Failure::Torn);
        lock(&shared.dirty).remove(&handle);
    }
}
