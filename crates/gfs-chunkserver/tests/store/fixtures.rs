//! Files that earlier releases wrote are read by this one.
//!
//! `fixtures/v2` is a volume with chunks of format version 2: its record, and two chunks. To add another
//! version, run the ignored test below with the code that writes it; never rewrite an old one.

use crate::rig::*;
use gfs_chunkserver::files::OsFiles;
use gfs_chunkserver::store::{BootId, Header, NewChunk, Slot, StateChange, Volume, VolumeOptions};
use gfs_types::{
    BLOCK_SIZE, ChunkHandle, ClusterId, CommitSequence, Epoch, Geometry, ServerNumber, ServerUuid,
    Version, VolumeUuid,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FIRST: ChunkHandle = ChunkHandle(0xfeed);
const SECOND: ChunkHandle = ChunkHandle(0xbeef);

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2")
}

fn options() -> VolumeOptions {
    VolumeOptions {
        cluster: Some(ClusterId(0x0123_4567_89ab_cdef)),
        new_server: ServerUuid(0xfedc_ba98),
        new_volume: VolumeUuid(0x70),
        geometry: Geometry::new(u64::from(2 * BLOCK_SIZE)).unwrap(),
        boot: BootId([7; 16]),
        max_open: 8,
    }
}

#[test]
#[ignore = "writes the fixture of the current format"]
fn write_fixture() {
    let dir = fixture();
    std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
    let volume = Volume::open(Arc::new(OsFiles), &dir, options()).unwrap();
    volume.join(options().cluster.unwrap(), ServerNumber(5), options().geometry).unwrap();
    volume.persist_epoch(Epoch(11), CommitSequence(1_234)).unwrap();
    volume.create(new_chunk(FIRST)).unwrap();
    // Text, so that the files stay small in version control.
    append(&volume, FIRST, &b"first ".repeat(11_000)).unwrap();
    append(&volume, FIRST, &b"second ".repeat(9_000)).unwrap();
    volume.close(FIRST).unwrap();
    volume.create(NewChunk { promised: Version(4), ..new_chunk(SECOND) }).unwrap();
    change(
        &volume,
        SECOND,
        StateChange { incomplete: Some(true), sealed: Some(true), ..Default::default() },
    )
    .unwrap();
}

#[test]
fn version_2_is_read() {
    let copy = tempfile::tempdir().unwrap();
    for shard in 0..256 {
        std::fs::create_dir_all(copy.path().join(format!("chunks/{shard:02x}"))).unwrap();
    }
    std::fs::create_dir(copy.path().join("quarantine")).unwrap();
    for file in
        ["gfs-volume", "chunks/ed/000000000000feed.chunk", "chunks/ef/000000000000beef.chunk"]
    {
        std::fs::copy(fixture().join(file), copy.path().join(file)).unwrap();
    }
    let volume = Volume::open(Arc::new(OsFiles), copy.path(), options()).unwrap();
    let record = volume.record();
    assert_eq!((record.number, record.epoch.0, record.sequence.0), (ServerNumber(5), 11, 1_234));
    assert_eq!(record.server, options().new_server);
    assert_eq!(volume.scan(1).unwrap().entries.len(), 2);

    let state = volume.state(FIRST).unwrap();
    assert!(state.flags.clean && !state.flags.suspect);
    assert_eq!((state.complete.version.0, state.complete.serial.0), (1, 2));
    assert_eq!((state.synced.0, state.synced.1), (state.complete, state.content));
    assert_eq!(state.place, new_chunk(FIRST).place);
    let expected = [b"first ".repeat(11_000), b"second ".repeat(9_000)].concat();
    assert_eq!(read_all(&volume, FIRST).unwrap(), expected);
    let window = volume.window(FIRST).unwrap();
    assert_eq!(
        (window.last(9), window.offset(9, 1), window.offset(9, 2)),
        (2, Some(0), Some(66_000))
    );

    let state = volume.state(SECOND).unwrap();
    assert_eq!((state.promised.0, state.complete.version.0), (4, 1));
    assert!(state.flags.incomplete && state.flags.sealed && !state.flags.clean);

    // Byte for byte: what this release writes is what that one wrote.
    for file in ["ed/000000000000feed.chunk", "ef/000000000000beef.chunk"] {
        let bytes = std::fs::read(fixture().join("chunks").join(file)).unwrap();
        for slot in bytes[2 * BLOCK..2 * BLOCK + 8192].chunks(4096) {
            let Slot::Valid { header, .. } = Header::decode(slot) else { panic!("{file}") };
            assert!(header.encode() == slot, "{file}");
        }
    }
}
