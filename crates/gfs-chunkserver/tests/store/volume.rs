//! Whose volume it is, and one holder at a time.

use crate::rig::*;
use gfs_chunkserver::files::{ChunkFiles, FaultyFiles, OsFiles};
use gfs_chunkserver::store::{ScanReport, StoreError, Volume, VolumeOptions};
use gfs_types::{ClusterId, CommitSequence, Epoch, Geometry, ServerNumber};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.insert(path.display().to_string(), Vec::new());
                left.push(path);
            } else {
                all.insert(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn os() -> Arc<dyn ChunkFiles> {
    Arc::new(OsFiles)
}

#[test]
fn a_second_opener_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("volume");
    let first = open_in(os(), &dir, BOOT).unwrap();
    let error = open_in(os(), &dir, BOOT).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    first.create(new_chunk(H)).unwrap();
    drop(first);
    open_in(os(), &dir, BOOT).unwrap().state(H).unwrap();

    let files = FaultyFiles::new(1);
    let _first = open(&files, BOOT);
    assert!(matches!(
        open_in(Arc::new(files.clone()), Path::new(DIR), BOOT),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn another_clusters_directory_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let volume = open_in(os(), dir.path(), BOOT).unwrap();
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    drop(volume);
    let before = tree(dir.path());
    let others = VolumeOptions { cluster: Some(ClusterId(0xbad)), ..options(BOOT) };
    let error = Volume::open(os(), dir.path(), others).unwrap_err();
    assert!(matches!(error, StoreError::WrongCluster { .. }), "{error}");
    assert!(tree(dir.path()) == before);
    // A server that does not know its cluster yet learns it from the volume, and joins no other.
    let volume =
        Volume::open(os(), dir.path(), VolumeOptions { cluster: None, ..options(BOOT) }).unwrap();
    assert_eq!(volume.record().cluster, Some(CLUSTER));
    let geometry = volume.record().geometry;
    assert!(volume.join(ClusterId(0xbad), ServerNumber(1), geometry).is_err());
    assert!(volume.join(CLUSTER, ServerNumber(1), Geometry::default()).is_err());
    volume.join(CLUSTER, ServerNumber(1), geometry).unwrap();
    assert_eq!(read_all(&volume, H).unwrap(), b"abc");
}

#[test]
fn what_is_no_volume_is_refused_untouched() {
    type Make = fn(&Path);
    let cases: [(&str, Make); 4] = [
        ("no volume", |dir| std::fs::write(dir.join("thesis.txt"), b"mine").unwrap()),
        ("not one of GFS", |dir| {
            std::fs::write(dir.join("gfs-volume"), b"hello\nworld\n").unwrap()
        }),
        ("cut short", |dir| std::fs::write(dir.join("gfs-volume"), b"").unwrap()),
        ("no record", |dir| {
            std::fs::create_dir_all(dir.join("chunks/34")).unwrap();
            std::fs::write(dir.join("chunks/34/0000000000001234.chunk"), b"data").unwrap();
        }),
    ];
    for (why, make) in cases {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let before = tree(dir.path());
        let error = open_in(os(), dir.path(), BOOT).unwrap_err();
        assert!(matches!(&error, StoreError::NotAVolume { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(tree(dir.path()) == before);
    }
    // A fresh file system is fine, and a missing mount's parent is not made up.
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    open_in(os(), dir.path(), BOOT).unwrap();
    assert!(open_in(os(), &dir.path().join("not/there"), BOOT).is_err());
}

#[test]
fn a_volume_joins_its_cluster_later() {
    let files = FaultyFiles::new(1);
    let fresh = VolumeOptions { cluster: None, ..options(BOOT) };
    let open = || Volume::open(Arc::new(files.clone()), Path::new(DIR), fresh).unwrap();
    let volume = open();
    assert!(matches!(volume.create(new_chunk(H)), Err(StoreError::NoCluster)));
    assert_eq!(volume.scan(2).unwrap(), ScanReport::default());
    let geometry = Geometry::new(1 << 20).unwrap();
    volume.join(CLUSTER, ServerNumber(4), geometry).unwrap();
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, &vec![3; 1 << 20]).unwrap();
    volume.close_all();
    drop(volume);
    files.lose_power();
    let record = open().record();
    assert_eq!(
        (record.cluster, record.number, record.geometry),
        (Some(CLUSTER), ServerNumber(4), geometry)
    );
    assert_eq!(record.server, fresh.new_server);
}

#[test]
fn epochs_only_rise_and_are_kept() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.persist_epoch(Epoch(4), CommitSequence(100)).unwrap();
    volume.persist_epoch(Epoch(4), CommitSequence(90)).unwrap();
    let stale = volume.persist_epoch(Epoch(3), CommitSequence(200));
    assert!(matches!(stale, Err(StoreError::StaleEpoch { .. })));
    drop(volume);
    files.lose_power();
    let record = open(&files, NEXT_BOOT).record();
    assert_eq!((record.epoch, record.sequence), (Epoch(4), CommitSequence(100)));
}

#[test]
fn real_files_do_what_the_model_does() {
    let dir = tempfile::tempdir().unwrap();
    let volume = open_in(os(), dir.path(), BOOT).unwrap();
    volume.create(new_chunk(H)).unwrap();
    let data = pattern(H, 0, 0, CHUNK as usize - 100);
    volume.reserve(H, CHUNK).unwrap();
    for part in data.chunks(77_777) {
        append(&volume, H, part).unwrap();
    }
    volume.trim(H).unwrap();
    assert_eq!(read_all(&volume, H).unwrap(), data);
    volume.sync(H).unwrap();
    assert!(volume.close(H).unwrap());
    volume.truncate(H, 100_000).unwrap();
    append(&volume, H, b"end").unwrap();
    let capacity = volume.capacity().unwrap();
    assert!(capacity.free > 0 && capacity.free <= capacity.total);
    drop(volume);
    let volume = open_in(os(), dir.path(), BOOT).unwrap();
    assert_eq!(volume.scan(3).unwrap().entries.len(), 1);
    assert_eq!(read_all(&volume, H).unwrap(), [&data[..100_000], b"end"].concat());
    assert_eq!(volume.close_all(), 0);
    volume.quarantine(H).unwrap();
    assert_eq!(volume.quarantined().unwrap().len(), 1);
}
