//! Readers beside writers, and more chunks than may be open.

use crate::rig::*;
use gfs_chunkserver::files::OsFiles;
use gfs_types::{ChunkHandle, Millis};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn readers_beside_a_writer_see_right_bytes_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let volume = open_in(Arc::new(OsFiles), dir.path(), BOOT).unwrap();
    volume.create(new_chunk(H)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2u32 {
            let (volume, done) = (&volume, &done);
            scope.spawn(move || {
                let mut at = reader * 777;
                while !done.load(Ordering::Relaxed) {
                    let read = volume.read(H, at % CHUNK, 70_000).unwrap();
                    // Any round's bytes, but of one round from each cut on: see below.
                    assert!(read.data.iter().all(|byte| (1..=20).contains(byte)));
                    at += 4_999;
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                volume.background_sync(Millis(0));
                volume.sync(H).unwrap();
            }
        });
        // Cut and written again with other bytes, so that readers meet blocks that change.
        for round in 1..=20u8 {
            volume.truncate(H, 0).unwrap();
            for _ in 0..20 {
                append(&volume, H, &[round; 13_000]).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(volume.damaged().is_empty());
    assert_eq!(read_all(&volume, H).unwrap(), vec![20; 260_000]);
}

#[test]
fn more_chunks_than_may_be_open() {
    let dir = tempfile::tempdir().unwrap();
    let volume = open_in(Arc::new(OsFiles), dir.path(), BOOT).unwrap();
    let handles: Vec<_> = (0..100).map(|n| ChunkHandle(n * 3)).collect();
    std::thread::scope(|scope| {
        for part in handles.chunks(25) {
            let volume = &volume;
            scope.spawn(move || {
                for round in 0..3 {
                    for handle in part {
                        if round == 0 {
                            volume.create(new_chunk(*handle)).unwrap();
                        }
                        append(volume, *handle, &[round; 30_000]).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(volume.scan(2).unwrap().entries.len(), 100);
    assert_eq!(volume.background_sync(Millis(0)).dirty, 100);
    assert_eq!(volume.background_sync(Millis(2_000)).cleaned, 100);
    for handle in handles {
        let bytes = read_all(&volume, handle).unwrap();
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 30_000));
    }
}
