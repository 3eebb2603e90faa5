//! What is acknowledged as durable is: asked of a file layer that remembers what was not synced.

use crate::rig::*;
use gfs_chunkserver::files::{Fault, FaultyFiles, Moment, OperationKind, Rule, WitnessFiles};
use gfs_chunkserver::store::{Cut, NewChunk, StateChange, Volume};
use gfs_types::{Millis, Version};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn watched() -> (FaultyFiles, WitnessFiles, Volume) {
    let faulty = FaultyFiles::new(1);
    let files = WitnessFiles::new(Arc::new(faulty.clone()));
    let volume = open_in(Arc::new(files.clone()), Path::new(DIR), BOOT).unwrap();
    (faulty, files, volume)
}

/// What was done to the chunk before it is synced, and is not durable when that returns.
fn left_by(
    files: &WitnessFiles,
    volume: &Volume,
    sync: impl FnOnce(&Volume) -> bool,
) -> Vec<String> {
    let when = files.now();
    assert!(sync(volume), "not acknowledged");
    files.volatile(&path_of(H), when)
}

#[test]
fn everything_before_a_sync_is_durable_after_it() {
    let (_, files, volume) = watched();
    let sync = |volume: &Volume| volume.sync(H).is_ok();
    volume.create(new_chunk(H)).unwrap();
    let all = files.volatile(&path_of(H), files.now());
    assert!(all.iter().any(|change| change.starts_with("renamed")), "{all:?}");
    assert!(all.iter().any(|change| change.starts_with("wrote 4096")), "{all:?}");
    assert_eq!(left_by(&files, &volume, sync), [""; 0]);
    type Act = fn(&Volume);
    let acts: [Act; 8] = [
        |volume| assert_eq!(append(volume, H, &pattern(H, 0, 0, 150_000)).unwrap(), 150_000),
        |volume| assert!(write(volume, H, 1_000, &pattern(H, 1, 0, 100_000), Cut::Chunk).is_ok()),
        |volume| assert!(volume.close(H).unwrap()),
        |volume| assert!(write(volume, H, 0, &pattern(H, 2, 0, 9), Cut::Mutation).is_ok()),
        |volume| volume.truncate(H, 70_000).unwrap(),
        |volume| {
            let promised = Some(Version(2));
            change(volume, H, StateChange { promised, ..Default::default() }).unwrap();
        },
        |volume| volume.reserve(H, CHUNK).unwrap(),
        |volume| {
            volume.background_sync(Millis(0));
            assert_eq!(volume.background_sync(Millis(10_000)).cleaned, 1);
        },
    ];
    for (index, act) in acts.into_iter().enumerate() {
        act(&volume);
        assert_ne!(files.volatile(&path_of(H), files.now()), [""; 0], "act {index}");
        assert_eq!(left_by(&files, &volume, sync), [""; 0], "act {index}");
    }
}

#[test]
fn a_name_is_durable_too_however_the_chunk_was_first_synced() {
    for first in 0..3 {
        let (_, files, volume) = watched();
        volume.create(NewChunk { length: 5, ..new_chunk(H) }).unwrap();
        let left = left_by(&files, &volume, |volume| match first {
            0 => volume.set_state(H, &StateChange::default(), true).is_ok(),
            1 => volume.close(H).unwrap(),
            _ => {
                volume.truncate(H, 3).unwrap();
                volume.sync(H).is_ok()
            }
        });
        assert_eq!(left, [""; 0], "{first}");
    }
}

/// The witness tells: a sync that does nothing, and one that came too early, are found out.
#[test]
fn an_acknowledgement_before_its_sync_is_told() {
    let (faulty, files, volume) = watched();
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    faulty.inject(Rule {
        kind: OperationKind::Sync,
        path: String::new(),
        skip: 0,
        times: 1,
        fault: Fault::Error(5),
    });
    let left = left_by(&files, &volume, |volume| volume.sync(H).is_err());
    assert!(left.iter().any(|change| change == "wrote 3 bytes at 0"), "{left:?}");

    // A write beside the sync, which it does not cover.
    let (faulty, files, volume) = watched();
    let volume = Arc::new(volume);
    volume.create(new_chunk(H)).unwrap();
    let beside = Mutex::new(Some(Arc::clone(&volume)));
    faulty.set_hook(Some(Arc::new(move |operation, moment| {
        if (operation.kind, moment) == (OperationKind::Sync, Moment::Before) {
            let volume = beside.lock().unwrap().take();
            volume.iter().for_each(|volume| assert!(append(volume, H, b"defg").is_ok()));
        }
    })));
    assert!(volume.close(H).is_ok_and(|clean| !clean));
    faulty.set_hook(None);
    let left = files.volatile(&path_of(H), files.now());
    assert!(left.iter().any(|change| change == "wrote 4 bytes at 0"), "{left:?}");
    assert_eq!(left_by(&files, &volume, |volume| volume.sync(H).is_ok()), [""; 0]);
}

/// Before acknowledged bytes are overwritten that are durable, the record of it is.
#[test]
fn nothing_durable_is_overwritten_before_its_redo_record_is_durable() {
    for durable in [false, true] {
        let (faulty, files, volume) = watched();
        volume.create(NewChunk { durable, ..new_chunk(H) }).unwrap();
        append(&volume, H, &pattern(H, 0, 0, 100_000)).unwrap();
        if !durable {
            volume.sync(H).unwrap();
        }
        for round in 0..3u32 {
            let seen = Arc::new(Mutex::new(None));
            let (inside, layer) = (Arc::clone(&seen), files.clone());
            let at = u64::from(round * 10 + 7);
            faulty.set_hook(Some(Arc::new(move |operation, moment| {
                let data = operation.kind == OperationKind::Write && operation.offset == at;
                if data && moment == Moment::Before {
                    let now = layer.volatile(&path_of(H), layer.now());
                    *inside.lock().unwrap() = Some(now);
                }
            })));
            write(&volume, H, at as u32, &pattern(H, 1, 0, 50_000), Cut::Chunk).unwrap();
            faulty.set_hook(None);
            // Only the write of the data itself, which is just beginning.
            let seen = seen.lock().unwrap().take().unwrap();
            assert_eq!(seen, [format!("wrote 50000 bytes at {at}")], "durable: {durable}");
        }
    }
}
