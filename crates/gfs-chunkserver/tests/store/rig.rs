//! What the tests share: a small volume, and chunks whose bytes follow from handle and offset.

use bytes::Bytes;
use gfs_chunkserver::files::{ChunkFiles, FaultyFiles};
use gfs_chunkserver::store::{
    BootId, NewChunk, Place, StateChange, StoreError, StoreResult, Volume, VolumeOptions, Write,
    WriteKind,
};
use gfs_types::{
    BLOCK_SIZE, BlockSums, ChunkHandle, ClientId, ClusterId, Geometry, InodeId, OpSequence,
    ServerUuid, Version, VolumeUuid,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
pub(crate) const BLOCK: usize = BLOCK_SIZE as usize;
/// Four blocks.
pub(crate) const CHUNK: u32 = 4 * BLOCK_SIZE;
pub(crate) const BOOT: BootId = BootId([1; 16]);
pub(crate) const NEXT_BOOT: BootId = BootId([2; 16]);
pub(crate) const DIR: &str = "/volume";
pub(crate) const H: ChunkHandle = ChunkHandle(0x1234);

pub(crate) fn options(boot: BootId) -> VolumeOptions {
    VolumeOptions {
        cluster: Some(CLUSTER),
        new_server: ServerUuid(0x5e),
        new_volume: VolumeUuid(0x70),
        geometry: Geometry::new(u64::from(CHUNK)).unwrap(),
        boot,
        max_open: 8,
    }
}

pub(crate) fn open_in(files: Arc<dyn ChunkFiles>, dir: &Path, boot: BootId) -> StoreResult<Volume> {
    Volume::open(files, dir, options(boot))
}

pub(crate) fn open(files: &FaultyFiles, boot: BootId) -> Volume {
    open_in(Arc::new(files.clone()), Path::new(DIR), boot).unwrap()
}

pub(crate) fn path_of(handle: ChunkHandle) -> PathBuf {
    Path::new(DIR).join(format!("chunks/{:02x}/{handle}.chunk", handle.0 & 0xff))
}

/// `len` bytes at `offset` of a chunk, of the `take`th try to write there.
pub(crate) fn pattern(handle: ChunkHandle, take: u64, offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len)
        .map(|at| {
            let word = (at as u64 / 8 + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add((handle.0 ^ take << 32).wrapping_mul(0xbf58_476d_1ce4_e5b9));
            (word >> (at % 8 * 8)) as u8
        })
        .collect()
}

/// In three pieces, as they come from a network.
pub(crate) fn pieces(data: &[u8]) -> Vec<Bytes> {
    let data = Bytes::copy_from_slice(data);
    let (a, b) = (data.len() / 3, data.len() / 2);
    vec![data.slice(..a), data.slice(a..b), data.slice(b..)]
}

pub(crate) fn new_chunk(handle: ChunkHandle) -> NewChunk {
    let place = Place { inode: InodeId(7), index: 2, chunk_start: 1 << 30, goal: 3 };
    NewChunk { handle, place, promised: Version(1), complete: Version(1), incomplete: false }
}

/// The next mutation in order: appends `data`.
pub(crate) fn append(volume: &Volume, handle: ChunkHandle, data: &[u8]) -> StoreResult<u32> {
    let state = volume.state(handle)?;
    let (offset, pieces) = (state.content.length, pieces(data));
    let serial = state.complete.serial.next();
    let write = Write {
        version: state.complete.version,
        serial,
        kind: WriteKind::Sequential,
        offset,
        pieces: &pieces,
        sums: &BlockSums::of(offset, &pieces),
        writer: Some((ClientId(9), OpSequence(serial.0))),
    };
    volume.write(handle, &write)
}

/// All of a chunk, in reads of odd sizes, each checked against its checksums.
pub(crate) fn read_all(volume: &Volume, handle: ChunkHandle) -> StoreResult<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let offset = all.len() as u32;
        let read = volume.read(handle, offset, 50_021)?;
        if read.data.is_empty() {
            assert_eq!(offset, read.length);
            return Ok(all);
        }
        assert_eq!(read.sums, BlockSums::of(offset, std::slice::from_ref(&read.data)));
        all.extend_from_slice(&read.data);
    }
}

pub(crate) fn replace(
    volume: &Volume,
    handle: ChunkHandle,
    first: u32,
    data: &[u8],
) -> StoreResult<BlockSums> {
    let pieces = pieces(data);
    let sums = BlockSums::of(first.wrapping_mul(BLOCK_SIZE), &pieces);
    volume.replace_blocks(handle, first, &pieces, &sums)?;
    Ok(sums)
}

pub(crate) fn change(volume: &Volume, handle: ChunkHandle, change: StateChange) -> StoreResult<()> {
    volume.set_state(handle, &change, false)
}

pub(crate) fn corrupt_blocks<T: std::fmt::Debug>(result: StoreResult<T>) -> Vec<u32> {
    match result {
        Err(StoreError::Corrupt { blocks, .. }) => blocks,
        other => panic!("not corrupt: {other:?}"),
    }
}
