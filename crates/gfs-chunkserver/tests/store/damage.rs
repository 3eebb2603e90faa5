//! Damaged files: what is wrong is found, what is right is returned, nothing is deleted.

use crate::rig::*;
use gfs_chunkserver::files::FaultyFiles;
use gfs_chunkserver::store::{ScanEntry, StateChange, StoreError, Volume};
use gfs_types::{BLOCK_SIZE, Version};
use proptest::prelude::*;

const LENGTH: usize = 3 * BLOCK + 500;

fn written(files: &FaultyFiles) -> Vec<u8> {
    let volume = open(files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    let data = pattern(H, 0, 0, LENGTH);
    for part in data.chunks(70_000) {
        append(&volume, H, part).unwrap();
    }
    assert!(volume.close(H).unwrap());
    data
}

fn block_of(volume: &Volume, block: u32) -> Result<bytes::Bytes, StoreError> {
    volume.read(H, block * BLOCK_SIZE, BLOCK_SIZE).map(|read| read.data)
}

#[test]
fn a_flipped_bit_in_data_costs_its_block_until_it_is_repaired() {
    for bad in 0..4u32 {
        let files = FaultyFiles::new(1);
        let data = written(&files);
        files.damage(&path_of(H), u64::from(bad * BLOCK_SIZE + 77), 0x10).unwrap();
        let volume = open(&files, BOOT);
        for block in 0..4 {
            let at = block as usize * BLOCK;
            match block_of(&volume, block) {
                Ok(bytes) => assert_eq!(bytes, data[at..(at + BLOCK).min(LENGTH)]),
                Err(StoreError::Corrupt { blocks, .. }) => assert_eq!(blocks, [bad]),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(corrupt_blocks(volume.read(H, 0, CHUNK)), [bad]);
        assert_eq!(volume.damaged(), [(H, vec![bad])]);
        assert_eq!(volume.checksums(H).unwrap().damaged, [bad]);
        assert_eq!(volume.verify(H).unwrap().damaged, [bad]);
        assert_eq!(volume.verify(H).unwrap().prefix.length, bad * BLOCK_SIZE);
        assert!(volume.state(H).unwrap().flags.damaged);

        // Only the damaged block may be replaced, by what it held.
        let at = bad as usize * BLOCK;
        let right = &data[at..(at + BLOCK).min(LENGTH)];
        let other = (bad + 1) % 3;
        let good = &data[other as usize * BLOCK..][..BLOCK];
        assert!(matches!(replace(&volume, H, other, good), Err(StoreError::Invalid(_))));
        assert!(matches!(replace(&volume, H, bad, &right[..400]), Err(StoreError::Invalid(_))));
        replace(&volume, H, bad, right).unwrap();
        assert_eq!(read_all(&volume, H).unwrap(), data);
        assert!(volume.damaged().is_empty());
        assert!(volume.verify(H).unwrap().damaged.is_empty());
        assert!(!volume.state(H).unwrap().flags.damaged);
        volume.close(H).unwrap();
        drop(volume);
        files.lose_power();
        assert_eq!(read_all(&open(&files, NEXT_BOOT), H).unwrap(), data);
    }
}

#[test]
fn a_flipped_checksum_costs_its_block_only() {
    let files = FaultyFiles::new(1);
    let data = written(&files);
    files.damage(&path_of(H), u64::from(CHUNK) + 8192 + 4, 1).unwrap();
    let volume = open(&files, BOOT);
    assert_eq!(corrupt_blocks(volume.read(H, 0, CHUNK)), [1]);
    assert_eq!(block_of(&volume, 0).unwrap(), data[..BLOCK]);
    replace(&volume, H, 1, &data[BLOCK..2 * BLOCK]).unwrap();
    assert_eq!(read_all(&volume, H).unwrap(), data);
}

#[test]
fn a_garbled_header_slot_makes_the_chunk_suspect_and_two_quarantine_it() {
    for slot in 0..2u64 {
        let files = FaultyFiles::new(1);
        let data = written(&files);
        let at = u64::from(CHUNK) + slot * 4096 + 100;
        files.damage(&path_of(H), at, 4).unwrap();
        let volume = open(&files, BOOT);
        let scan = volume.scan(1).unwrap();
        let [ScanEntry::Chunk(state)] = &scan.entries[..] else { panic!("{scan:?}") };
        assert!(state.flags.suspect, "the other slot may have been newer");
        // Here it was the same but for the clean flag.
        assert_eq!(read_all(&volume, H).unwrap(), data);
        assert!(matches!(append(&volume, H, b"x"), Err(StoreError::Suspect(_))));
        drop(volume);

        files.damage(&path_of(H), u64::from(CHUNK) + (1 - slot) * 4096 + 300, 4).unwrap();
        let before = files.content(&path_of(H)).unwrap();
        let volume = open(&files, BOOT);
        assert!(matches!(volume.state(H), Err(StoreError::Garbled { .. })));
        assert!(matches!(volume.delete(H, Version(9)), Err(StoreError::Garbled { .. })));
        let scan = volume.scan(2).unwrap();
        assert!(matches!(&scan.entries[..], [ScanEntry::Garbled { handle: H, .. }]), "{scan:?}");
        assert_eq!(volume.quarantined().unwrap(), ["0000000000001234.chunk"]);
        let kept = std::path::Path::new(DIR).join("quarantine/0000000000001234.chunk");
        assert!(files.content(&kept).unwrap() == before, "the file is kept as it was");
        // The chunk can be copied here anew, and be quarantined again.
        assert!(matches!(volume.state(H), Err(StoreError::UnknownChunk(_))));
        volume.create(new_chunk(H)).unwrap();
        append(&volume, H, b"new").unwrap();
        volume.quarantine(H).unwrap();
        assert!(matches!(volume.quarantine(H), Err(StoreError::UnknownChunk(_))));
        assert_eq!(volume.quarantined().unwrap().len(), 2);
        assert!(volume.scan(1).unwrap().entries.is_empty());
    }
}

#[test]
fn a_lost_window_makes_the_chunk_suspect_and_keeps_the_rest() {
    let files = FaultyFiles::new(1);
    let data = written(&files);
    let volume = open(&files, BOOT);
    let window = volume.window(H).unwrap();
    drop(volume);
    for slot in 0..2 {
        files.damage(&path_of(H), u64::from(CHUNK) + slot * 4096 + 600, 4).unwrap();
    }
    let volume = open(&files, BOOT);
    let state = volume.state(H).unwrap();
    assert!(state.flags.suspect);
    let lost = volume.window(H).unwrap();
    assert!(window.last(9) == 3 && lost.last(9) == 0 && lost.forgot());
    assert_eq!(read_all(&volume, H).unwrap(), data);
    // As a version change would repair it.
    let window = Some(window);
    change(&volume, H, StateChange { window, trusted: true, ..Default::default() }).unwrap();
    append(&volume, H, b"more").unwrap();
    assert_eq!(volume.window(H).unwrap().last(9), 4);
}

#[test]
fn a_file_cut_short_is_garbled_or_damaged_never_wrong() {
    let full = u64::from(CHUNK) + 8192 + 16;
    for len in
        [0, 1, 70_000, u64::from(CHUNK), u64::from(CHUNK) + 4096, full - 16, full - 6, full - 1]
    {
        let files = FaultyFiles::new(1);
        let data = written(&files);
        files.cut(&path_of(H), len).unwrap();
        let volume = open(&files, BOOT);
        let scan = volume.scan(1).unwrap();
        match &scan.entries[..] {
            [ScanEntry::Garbled { .. }] => assert!(len < full - 16, "{len}"),
            [ScanEntry::Chunk(_)] => {
                assert!(len >= full - 16, "{len}");
                let mut good = 0;
                for block in 0..4 {
                    if let Ok(bytes) = block_of(&volume, block) {
                        let at = block as usize * BLOCK;
                        assert_eq!(bytes, data[at..(at + BLOCK).min(LENGTH)]);
                        good += 1;
                    }
                }
                assert!(good >= 1, "the tail's checksum stands in the header");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A buffer that is used again still holds what an earlier read found there.
#[test]
fn bytes_that_are_gone_do_not_come_back_from_an_old_buffer() {
    let files = FaultyFiles::new(1);
    let geometry = gfs_types::Geometry::new(8 * u64::from(BLOCK_SIZE)).unwrap();
    let large = gfs_chunkserver::store::VolumeOptions { geometry, ..options(BOOT) };
    let volume =
        Volume::open(std::sync::Arc::new(files.clone()), std::path::Path::new(DIR), large).unwrap();
    volume.create(new_chunk(H)).unwrap();
    let data = pattern(H, 0, 0, 7 * BLOCK);
    append(&volume, H, &data).unwrap();
    assert!(volume.read(H, 0, u32::MAX).unwrap().data == data);
    files.cut(&path_of(H), 2 * u64::from(BLOCK_SIZE) + 10).unwrap();
    assert_eq!(corrupt_blocks(volume.read(H, 0, u32::MAX)), [2, 3, 4, 5, 6]);
}

#[test]
fn a_file_of_another_chunk_or_cluster_is_garbled() {
    let files = FaultyFiles::new(1);
    written(&files);
    let volume = open(&files, BOOT);
    use gfs_chunkserver::files::ChunkFiles;
    let other = gfs_types::ChunkHandle(0x5634);
    files.rename(&path_of(H), &path_of(other)).unwrap();
    let scan = volume.scan(1).unwrap();
    assert!(
        matches!(&scan.entries[..], [ScanEntry::Garbled { handle, why }] if *handle == other && why.contains("1234")),
        "{scan:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any one byte of the file altered: each block reads right or is called corrupt, and at most
    /// one is lost.
    #[test]
    fn any_altered_byte_costs_at_most_one_block(at in 0..u64::from(CHUNK) + 8192 + 16, mask in 1u8..) {
        let files = FaultyFiles::new(1);
        let data = written(&files);
        files.damage(&path_of(H), at, mask).unwrap();
        let volume = open(&files, BOOT);
        let scan = volume.scan(1).unwrap();
        prop_assert!(matches!(&scan.entries[..], [ScanEntry::Chunk(_)]), "{:?}", scan);
        let mut lost = 0;
        for block in 0..4 {
            match block_of(&volume, block) {
                Ok(bytes) => {
                    let begin = block as usize * BLOCK;
                    prop_assert!(bytes == data[begin..(begin + BLOCK).min(LENGTH)]);
                }
                Err(StoreError::Corrupt { blocks, .. }) => {
                    prop_assert_eq!(blocks, [block]);
                    lost += 1;
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
        prop_assert!(lost <= 1);
        prop_assert_eq!(lost == 1, (at < LENGTH as u64) || (u64::from(CHUNK) + 8192..u64::from(CHUNK) + 8192 + 12).contains(&at));
    }
}
