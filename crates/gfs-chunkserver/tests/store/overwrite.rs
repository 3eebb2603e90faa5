//! Overwriting: what is there afterwards, what a failing disk leaves, and what a redo record that
//! lies, or is damaged, does.

use crate::rig::*;
use gfs_chunkserver::files::{Fault, FaultyFiles, OperationKind, Rule};
use gfs_chunkserver::store::{ChunkLayout, Cut, NewChunk, RedoRecord, StoreError, Volume};
use gfs_types::{Crc, ErrorCode, Geometry, Millis};
use proptest::prelude::*;

const EIO: i32 = 5;
const LENGTH: usize = 3 * BLOCK + 500;

fn layout() -> ChunkLayout {
    ChunkLayout::new(Geometry::new(u64::from(CHUNK)).unwrap())
}

fn overwrite(volume: &Volume, at: usize, data: &[u8]) -> Result<u32, StoreError> {
    write(volume, H, at as u32, data, Cut::Chunk)
}

fn written(files: &FaultyFiles) -> (Volume, Vec<u8>) {
    let volume = open(files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    let data = pattern(H, 0, 0, LENGTH);
    append(&volume, H, &data).unwrap();
    (volume, data)
}

fn with(data: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut after = data.to_vec();
    after.resize(after.len().max(at + new.len()), 0);
    after[at..at + new.len()].copy_from_slice(new);
    after
}

/// Ranges of every kind: within a block, at its borders, over several, to the end and beyond.
const RANGES: [(usize, usize); 12] = [
    (0, 1),
    (100, 200),
    (0, BLOCK),
    (BLOCK, BLOCK),
    (BLOCK - 1, 2),
    (5, 3 * BLOCK),
    (BLOCK, 2 * BLOCK + 500),
    (0, LENGTH),
    (LENGTH - 1, 1),
    (LENGTH - 1, 2),
    (3 * BLOCK, BLOCK),
    (17, CHUNK as usize - 17),
];

#[test]
fn every_range_is_overwritten_and_found_again() {
    for (at, len) in RANGES {
        for cut in [Cut::Chunk, Cut::Mutation] {
            let files = FaultyFiles::new(1);
            let (volume, data) = written(&files);
            let new = pattern(H, 1, at, len);
            let length = write(&volume, H, at as u32, &new, cut).unwrap();
            let after = with(&data, at, &new);
            assert_eq!(length as usize, after.len());
            assert!(read_all(&volume, H).unwrap() == after, "{at}+{len}");
            let sums: Vec<Crc> = after.chunks(BLOCK).map(Crc::of).collect();
            assert_eq!(volume.checksums(H).unwrap().sums, sums);
            drop(volume);
            files.restart();
            let volume = open(&files, BOOT);
            assert!(read_all(&volume, H).unwrap() == after, "{at}+{len} after a restart");
            assert_eq!(volume.state(H).unwrap().complete.serial.0, 2);
            assert_eq!(volume.window(H).unwrap().offset(9, 2), Some(at as u32));
        }
    }
}

#[test]
fn the_space_of_the_record_is_given_back() {
    let files = FaultyFiles::new(1);
    let (volume, _) = written(&files);
    let length = |files: &FaultyFiles| files.content(&path_of(H)).unwrap().len() as u64;
    assert!(length(&files) <= layout().redo());
    overwrite(&volume, 5, &[1; 1000]).unwrap();
    assert!(length(&files) > layout().redo() + 1000);
    volume.background_sync(Millis(0));
    volume.background_sync(Millis(3_000));
    assert!(volume.state(H).unwrap().flags.clean);
    assert_eq!(length(&files), layout().redo());
    // A leftover that a crash left beside a clean header goes at the next open.
    overwrite(&volume, 5, &[2; 1000]).unwrap();
    volume.truncate(H, 100).unwrap();
    drop(volume);
    files.restart();
    let volume = open(&files, BOOT);
    volume.scan(1).unwrap();
    assert_eq!(length(&files), layout().redo());
    assert_eq!(read_all(&volume, H).unwrap()[5..100], [2; 95]);
}

#[test]
fn zeros_take_no_space_and_are_overwritten() {
    for length in [1, 1000, BLOCK as u32, CHUNK - 1, CHUNK] {
        let files = FaultyFiles::new(1);
        let volume = open(&files, BOOT);
        let before = volume.capacity().unwrap().free;
        volume.create(NewChunk { length, ..new_chunk(H) }).unwrap();
        assert!(before - volume.capacity().unwrap().free <= 5 * 4096);
        let zeros = vec![0; length as usize];
        assert_eq!(read_all(&volume, H).unwrap(), zeros);
        assert!(volume.verify(H).unwrap().damaged.is_empty());
        let at = length as usize / 2;
        overwrite(&volume, at, b"x").unwrap();
        volume.close(H).unwrap();
        drop(volume);
        files.lose_power();
        let volume = open(&files, NEXT_BOOT);
        assert!(read_all(&volume, H).unwrap() == with(&zeros, at, b"x"));
    }
}

#[test]
fn a_damaged_block_is_not_overwritten_in_part() {
    let files = FaultyFiles::new(1);
    let (volume, data) = written(&files);
    files.damage(&path_of(H), BLOCK as u64 + 77, 1).unwrap();
    let before = files.content(&path_of(H)).unwrap();
    for (at, len) in [(BLOCK + 1, 10), (BLOCK - 5, 10), (BLOCK + 100, BLOCK), (100, BLOCK)] {
        assert_eq!(corrupt_blocks(overwrite(&volume, at, &pattern(H, 1, at, len))), [1]);
    }
    let after = files.content(&path_of(H)).unwrap();
    assert!(after[..CHUNK as usize] == before[..CHUNK as usize], "data was written");
    assert_eq!(volume.state(H).unwrap().complete.serial.0, 1);
    assert_eq!(volume.damaged_blocks(H), [1]);
    // The others can be, and so can the block as a whole, which heals it.
    overwrite(&volume, 2 * BLOCK, b"abc").unwrap();
    let data = with(&data, 2 * BLOCK, b"abc");
    let new = pattern(H, 2, 0, BLOCK + 100);
    overwrite(&volume, BLOCK, &new).unwrap();
    assert!(volume.damaged_blocks(H).is_empty());
    assert!(read_all(&volume, H).unwrap() == with(&data, BLOCK, &new));
}

#[test]
fn more_than_a_record_holds_is_refused() {
    let files = FaultyFiles::new(1);
    let large = gfs_chunkserver::store::VolumeOptions {
        geometry: Geometry::new(2 << 20).unwrap(),
        ..options(BOOT)
    };
    let dir = std::path::Path::new(DIR);
    let volume = Volume::open(std::sync::Arc::new(files.clone()), dir, large).unwrap();
    volume.create(NewChunk { length: 2 << 20, ..new_chunk(H) }).unwrap();
    let error = overwrite(&volume, 0, &vec![1; (1 << 20) + 1]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfRange);
    overwrite(&volume, 0, &vec![1; 1 << 20]).unwrap();
}

/// Bytes that changed in memory since they were verified.
#[test]
fn what_does_not_match_its_checksums_is_not_written() {
    use gfs_chunkserver::store::{Part, Write};
    use gfs_types::{BlockSums, Serial, Version};
    let files = FaultyFiles::new(1);
    let (volume, data) = written(&files);
    let pieces = pieces(&[7; 1000]);
    let sums = BlockSums(vec![Crc(1)]);
    let (version, serial, cut) = (Version(1), Serial(2), Cut::Mutation);
    let parts = &[Part { pieces: &pieces, sums: &sums }];
    let at = BLOCK as u32 - 500;
    let write = Write { version, serial, offset: at, parts, cut, writer: None };
    let error = volume.write(H, &write).unwrap_err();
    assert!(matches!(error, StoreError::BadPayload(_)), "{error}");
    assert_eq!(error.code(), ErrorCode::Corrupt);
    assert!(read_all(&volume, H).unwrap() == data);
}

#[test]
fn a_full_disk_leaves_the_old_bytes() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(NewChunk { length: CHUNK, ..new_chunk(H) }).unwrap();
    overwrite(&volume, 0, &[1; 10]).unwrap();
    let before = read_all(&volume, H).unwrap();
    for free in [0, 4096, 60_000, 100_000, 150_000] {
        files.set_free(free);
        let error = overwrite(&volume, BLOCK, &[2; 100_000]).unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{free}: {error}");
        assert!(read_all(&volume, H).unwrap() == before);
        assert!(volume.health().failing.is_none(), "full is not failing");
    }
    // Where there is space the record needs little.
    files.set_free(8 * 4096);
    overwrite(&volume, 5, &[3; 20]).unwrap();
    files.set_free(1 << 30);
    overwrite(&volume, BLOCK, &[2; 100_000]).unwrap();
    let after = with(&with(&before, 5, &[3; 20]), BLOCK, &[2; 100_000]);
    assert!(read_all(&volume, H).unwrap() == after);
}

/// A step that the disk fails: the old bytes, or none until another process has them whole.
#[test]
fn a_step_that_fails_leaves_old_or_new_as_a_whole() {
    let (mut old, mut torn) = (0, 0);
    for durable in [false, true] {
        for (kind, fault) in [
            (OperationKind::Write, Fault::Error(EIO)),
            (OperationKind::Write, Fault::Torn(EIO)),
            (OperationKind::Sync, Fault::Error(EIO)),
            (OperationKind::Allocate, Fault::Error(EIO)),
            (OperationKind::Read, Fault::Error(EIO)),
        ] {
            for skip in 0.. {
                let files = FaultyFiles::new(skip);
                let (volume, data) = written(&files);
                if durable {
                    volume.sync(H).unwrap();
                }
                let new = pattern(H, 1, 70_000, 100_000);
                let after = with(&data, 70_000, &new);
                files.inject(Rule { kind, path: String::new(), skip, times: 1, fault });
                let result = overwrite(&volume, 70_000, &new);
                files.clear_rules();
                let Err(error) = result else { break };
                assert_eq!(error.code(), ErrorCode::DiskError, "{error}");
                match read_all(&volume, H) {
                    Ok(bytes) => {
                        assert!(bytes == data, "{kind:?} {skip}");
                        assert_eq!(volume.state(H).unwrap().complete.serial.0, 1);
                        old += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error, StoreError::Torn(_)), "{error}");
                        assert!(volume.state(H).is_err() && volume.sync(H).is_err());
                        assert!(volume.read_cached(H, 0, 10).is_none());
                        assert_eq!(volume.background_sync(Millis(9_000)).failed, 0);
                        torn += 1;
                    }
                }
                drop(volume);
                files.restart();
                let volume = open(&files, BOOT);
                volume.scan(1).unwrap();
                let serial = volume.state(H).unwrap().complete.serial.0;
                let bytes = read_all(&volume, H).unwrap();
                assert!(bytes == if serial == 2 { after } else { data }, "{kind:?} {skip}");
                assert!(volume.verify(H).unwrap().damaged.is_empty());
            }
        }
    }
    assert!(old >= 8 && torn >= 6, "{old} {torn}");
}

/// A chunk that is out of service can still be deleted.
#[test]
fn a_torn_chunk_can_be_deleted() {
    let files = FaultyFiles::new(1);
    let (volume, _) = written(&files);
    let (kind, fault) = (OperationKind::Write, Fault::Error(EIO));
    files.inject(Rule { kind, path: String::new(), skip: 1, times: 1, fault });
    overwrite(&volume, 0, b"abc").unwrap_err();
    assert!(matches!(volume.state(H), Err(StoreError::Torn(_))));
    volume.delete(H, gfs_types::Version(1)).unwrap();
    assert!(matches!(volume.state(H), Err(StoreError::UnknownChunk(_))));
    volume.create(new_chunk(H)).unwrap();
    assert_eq!(append(&volume, H, b"abc").unwrap(), 3);
}

/// A chunk of which an overwrite ended behind its record, before any data; what it holds without
/// and with it.
fn pending(files: &FaultyFiles) -> (Vec<u8>, Vec<u8>) {
    let (volume, data) = written(files);
    let new = pattern(H, 1, 70_000, 100_000);
    overwrite(&volume, 0, &[0; 4]).unwrap();
    let data = with(&data, 0, &[0; 4]);
    let (kind, fault) = (OperationKind::Write, Fault::Error(EIO));
    files.inject(Rule { kind, path: String::new(), skip: 1, times: 1, fault });
    assert!(matches!(overwrite(&volume, 70_000, &new), Err(StoreError::Disk { .. })));
    drop(volume);
    files.restart();
    let after = with(&data, 70_000, &new);
    (data, after)
}

#[test]
fn an_overwrite_that_was_cut_short_is_carried_out() {
    let files = FaultyFiles::new(1);
    let (data, after) = pending(&files);
    assert!(files.content(&path_of(H)).unwrap()[..LENGTH] == data[..]);
    let volume = open(&files, BOOT);
    assert!(read_all(&volume, H).unwrap() == after);
    assert_eq!(volume.state(H).unwrap().complete.serial.0, 3);
    assert_eq!(volume.window(H).unwrap().offset(9, 3), Some(70_000));
}

/// A disk that went read-only with an overwrite half done: nobody can say what the chunk holds.
#[test]
fn a_read_only_disk_keeps_a_half_done_overwrite_out_of_service() {
    let files = FaultyFiles::new(1);
    let (_, after) = pending(&files);
    files.set_read_only(true);
    let volume = open(&files, BOOT);
    let scan = volume.scan(1).unwrap();
    assert_eq!((scan.entries.len(), scan.unreadable.len()), (0, 1), "{scan:?}");
    assert!(volume.read(H, 0, 10).is_err());
    drop(volume);
    files.restart();
    files.set_read_only(false);
    assert!(read_all(&open(&files, BOOT), H).unwrap() == after);
}

#[test]
fn an_unreadable_record_makes_the_chunk_suspect() {
    let files = FaultyFiles::new(1);
    let (data, _) = pending(&files);
    // The volume's record and the chunk's header are read first.
    let (kind, fault) = (OperationKind::Read, Fault::Error(EIO));
    files.inject(Rule { kind, path: ".chunk".to_owned(), skip: 1, times: 1, fault });
    let volume = open(&files, BOOT);
    assert!(volume.state(H).unwrap().flags.suspect);
    assert!(read_all(&volume, H).unwrap() == data);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    /// Any altered byte of a record that was to be carried out: it is not, and says so to nobody.
    #[test]
    fn a_damaged_record_is_not_carried_out(at in 0u64..128 + 8 + 100_000, mask in 1u8..) {
        let files = FaultyFiles::new(1);
        let (data, _) = pending(&files);
        files.damage(&path_of(H), layout().redo() + at, mask).unwrap();
        let volume = open(&files, BOOT);
        prop_assert!(read_all(&volume, H).unwrap() == data);
        prop_assert_eq!(volume.state(H).unwrap().complete.serial.0, 2);
    }

    /// Cut short anywhere, as by a kill in the middle of its write.
    #[test]
    fn a_record_cut_short_is_not_carried_out(at in 0u64..128 + 8 + 100_000) {
        let files = FaultyFiles::new(1);
        let (data, _) = pending(&files);
        files.cut(&path_of(H), layout().redo() + at).unwrap();
        let volume = open(&files, BOOT);
        prop_assert!(read_all(&volume, H).unwrap() == data);
    }

    /// Records with a right checksum that say what they like: nothing past the chunk is touched,
    /// nothing panics, and only one that follows the header is carried out.
    #[test]
    fn hostile_records_do_no_harm(
        generation in 0u64..12, version in 0u64..3, serial in 0u64..5, sequence in 0u64..4,
        offset in prop_oneof![0..CHUNK, Just(u32::MAX), Just(CHUNK)],
        len in prop_oneof![0u32..200_000, Just(u32::MAX), Just(CHUNK)],
        length in prop_oneof![Just(LENGTH as u32), 0..CHUNK, Just(u32::MAX)],
        fits: bool,
    ) {
        use gfs_chunkserver::store::{Extent, Position};
        use gfs_types::{ClientId, OpSequence, Serial, Version};
        let files = FaultyFiles::new(1);
        let (volume, data) = written(&files);
        overwrite(&volume, 0, &[0; 4]).unwrap();
        let data = with(&data, 0, &[0; 4]);
        drop(volume);
        files.restart();
        let length = if fits { length.max(offset.saturating_add(len)).min(CHUNK) } else { length };
        let mut record = RedoRecord {
            generation, cluster: CLUSTER, handle: H,
            position: Position { version: Version(version), serial: Serial(serial) },
            writer: Some((ClientId(4), OpSequence(sequence))),
            offset, len, content: Extent { length, tail: Crc(5) }, sums: Vec::new(),
        };
        let end = offset.saturating_add(len).div_ceil(BLOCK as u32).min(length / BLOCK as u32);
        let whole = end.saturating_sub(offset / BLOCK as u32);
        record.sums = vec![Crc(9); whole.min(64) as usize];
        let payload = vec![3; len.min(300_000) as usize];
        let (mut bytes, _) = record.encode(Crc::of(&payload));
        bytes.extend(&payload);
        files.overwrite(&path_of(H), layout().redo(), &bytes).unwrap();
        let volume = open(&files, BOOT);
        let scan = volume.scan(1).unwrap();
        prop_assert_eq!(scan.entries.len() + scan.unreadable.len(), 1);
        let state = volume.state(H).unwrap();
        if state.complete.serial.0 == 2 {
            prop_assert!(read_all(&volume, H).unwrap() == data);
        } else {
            prop_assert_eq!((serial, version, state.complete.serial.0), (3, 1, 3));
            prop_assert!(state.content.length <= CHUNK);
        }
        let content = files.content(&path_of(H)).unwrap();
        prop_assert_eq!(&content[CHUNK as usize..][..8], b"GFSCHUNK");
    }
}
