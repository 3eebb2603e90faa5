//! The start-up log: it gives what reading all headers gives, or it is not used.

use crate::rig::*;
use gfs_chunkserver::files::{
    ChunkFiles as _, Fault, FaultyFiles, Moment, OperationKind, OsFiles, Rule,
};
use gfs_chunkserver::store::{
    BootId, Cut, LogUse, ScanEntry, ScanReport, StateChange, StoreError, Volume, VolumeOptions,
};
use gfs_types::{ChunkHandle, Millis, Version, VolumeUuid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHUNKS: u64 = 5;

fn log_path() -> PathBuf {
    Path::new(DIR).join("gfs-start")
}

fn handle(index: u64) -> ChunkHandle {
    ChunkHandle(0x500 + index)
}

/// A volume with some chunks, all but the last clean.
fn filled(files: &FaultyFiles) -> Volume {
    let volume = open(files, BOOT);
    for index in 0..=CHUNKS {
        volume.create(new_chunk(handle(index))).unwrap();
        append(&volume, handle(index), &pattern(H, index, 0, 1_000 * index as usize)).unwrap();
        if index < CHUNKS {
            assert!(volume.close(handle(index)).unwrap());
        }
    }
    volume
}

/// The same, ended in order but for the last chunk, which is not clean.
fn ended(files: &FaultyFiles) {
    let volume = filled(files);
    assert_eq!(volume.write_start_log().unwrap(), CHUNKS);
    drop(volume);
    files.restart();
}

/// Starts, and compares what that gives with what the headers say.
fn start(files: &FaultyFiles, boot: BootId) -> (Volume, ScanReport, LogUse) {
    let volume = open(files, boot);
    let (mut report, log) = volume.start(2).unwrap();
    // What is garbled is in quarantine since.
    report.entries.retain(|entry| matches!(entry, ScanEntry::Chunk(_)));
    assert_eq!(report, volume.scan(2).unwrap(), "{log:?}");
    (volume, report, log)
}

#[test]
fn an_orderly_end_spares_the_next_start_the_headers() {
    let files = FaultyFiles::new(1);
    ended(&files);
    let opened = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&opened);
    files.set_hook(Some(Arc::new(move |operation, moment| {
        let chunk = operation.path.extension().is_some_and(|extension| extension == "chunk");
        if (operation.kind, moment, chunk) == (OperationKind::Open, Moment::Before, true) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    })));
    let volume = open(&files, BOOT);
    let (report, log) = volume.start(2).unwrap();
    assert_eq!((report.entries.len() as u64, log), (CHUNKS + 1, LogUse::Used(CHUNKS)));
    assert_eq!(opened.load(Ordering::Relaxed), 1, "the one that is not clean");
    assert_eq!(report, volume.scan(2).unwrap());
    // It is used once.
    assert!(files.content(&log_path()).is_err());
    drop(volume);
    files.restart();
    assert_eq!(start(&files, BOOT).2, LogUse::Missing);
    // After another boot, too, if the end was in order; what was not clean is in doubt as ever.
    let files = FaultyFiles::new(2);
    ended(&files);
    files.lose_power();
    let (_, report, log) = start(&files, NEXT_BOOT);
    assert_eq!(log, LogUse::Used(CHUNKS));
    let suspect = report.entries.iter().filter(|entry| match entry {
        ScanEntry::Chunk(state) => state.flags.suspect,
        ScanEntry::Garbled { .. } => true,
    });
    assert!(suspect.count() <= 1);
}

#[test]
fn what_a_start_learned_is_in_the_next_log() {
    let files = FaultyFiles::new(1);
    ended(&files);
    for life in 0..3 {
        let (volume, _, log) = start(&files, BOOT);
        assert_eq!(log, LogUse::Used(if life == 0 { CHUNKS } else { CHUNKS + 1 }));
        assert_eq!(volume.close_all(), 0);
        assert_eq!(volume.write_start_log().unwrap(), CHUNKS + 1);
        drop(volume);
        files.restart();
    }
    // A scan learns it, too.
    files.unlink(&log_path()).unwrap();
    let (volume, _, log) = start(&files, BOOT);
    assert_eq!((log, volume.write_start_log().unwrap()), (LogUse::Missing, CHUNKS + 1));
}

/// The log of another volume with the same chunks.
fn foreign_log() -> Vec<u8> {
    let files = FaultyFiles::new(3);
    let other = VolumeOptions { new_volume: VolumeUuid(0x71), ..options(BOOT) };
    drop(Volume::open(Arc::new(files.clone()), Path::new(DIR), other).unwrap());
    files.restart();
    ended(&files);
    files.content(&log_path()).unwrap()
}

#[test]
fn a_start_up_log_that_disagrees_with_the_files_is_not_believed() {
    type Tamper = fn(&FaultyFiles);
    let cases: [(&str, &str, Tamper); 10] = [
        ("missing", "", |files| files.unlink(&log_path()).unwrap()),
        ("unusable", "checksum", |files| files.damage(&log_path(), 100, 4).unwrap()),
        ("unusable", "is none", |files| files.damage(&log_path(), 0, 4).unwrap()),
        ("unusable", "checksum", |files| files.cut(&log_path(), 300).unwrap()),
        ("unusable", "empty", |files| files.cut(&log_path(), 0).unwrap()),
        ("unusable", "that of volume", |files| {
            files.overwrite(&log_path(), 0, &foreign_log()).unwrap();
        }),
        ("disagrees", "no file of chunk 0000000000000501", |files| {
            files.unlink(&path_of(handle(1))).unwrap();
        }),
        ("disagrees", "was changed", |files| {
            // Back to what it once was.
            let slot = u64::from(CHUNK) + 4096;
            files.overwrite(&path_of(handle(2)), slot, &[0; 4096]).unwrap();
        }),
        ("disagrees", "was changed", |files| {
            let content = files.content(&path_of(handle(3))).unwrap();
            files.unlink(&path_of(handle(3))).unwrap();
            files.create(&path_of(handle(3))).unwrap().write_all(&content, 0).unwrap();
        }),
        ("used", "", |files| {
            // More than it tells of is looked at.
            files.rename(&path_of(handle(CHUNKS)), Path::new("/volume/chunks/05/else")).unwrap();
            files.create(Path::new("/volume/chunks/07/stranger")).unwrap();
        }),
    ];
    for (name, why, tamper) in cases {
        let files = FaultyFiles::new(1);
        ended(&files);
        tamper(&files);
        let (volume, _, log) = start(&files, BOOT);
        let said = match &log {
            LogUse::Unusable(said) | LogUse::Disagrees(said) => said.clone(),
            LogUse::Used(_) | LogUse::Missing => String::new(),
        };
        assert!(log.name() == name && said.contains(why), "{name} {why}: {log:?}");
        assert!(files.content(&log_path()).is_err(), "{name} {why}");
        // Every chunk that is there is what it says, and can be worked with.
        append(&volume, handle(0), b"more").unwrap();
    }
}

#[test]
fn a_log_that_cannot_be_removed_is_not_used_and_its_volume_fails() {
    let files = FaultyFiles::new(1);
    ended(&files);
    let cannot = |path: &str| Rule {
        kind: OperationKind::Unlink,
        path: path.to_owned(),
        skip: 0,
        times: u64::MAX,
        fault: Fault::Error(libc::EIO),
    };
    files.inject(cannot("gfs-start"));
    let (volume, _, log) = start(&files, BOOT);
    assert!(matches!(&log, LogUse::Unusable(why) if why.contains("removed")), "{log:?}");
    assert!(volume.health().failing.is_some());
    // Nothing it tells of is changed while it is there.
    assert!(matches!(append(&volume, handle(1), b"x"), Err(StoreError::Disk { .. })));
    assert!(matches!(volume.delete(handle(2), Version(9)), Err(StoreError::Disk { .. })));
    assert!(matches!(volume.quarantine(handle(3)), Err(StoreError::Disk { .. })));
    files.clear_rules();
    append(&volume, handle(1), b"x").unwrap();
    assert!(files.content(&log_path()).is_err());
}

#[test]
fn a_change_after_the_log_was_written_removes_it_first() {
    type Change = fn(&Volume);
    let changes: [Change; 6] = [
        |volume| assert!(append(volume, handle(1), b"x").is_ok()),
        |volume| assert!(write(volume, handle(1), 0, b"x", Cut::Chunk).is_ok()),
        |volume| volume.delete(handle(1), Version(9)).unwrap(),
        |volume| volume.quarantine(handle(1)).unwrap(),
        |volume| volume.seal(handle(1)).unwrap(),
        |volume| volume.truncate(handle(1), 10).unwrap(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        for (boot, power) in [(BOOT, false), (NEXT_BOOT, true)] {
            let files = FaultyFiles::new(index as u64);
            let volume = filled(&files);
            volume.write_start_log().unwrap();
            change(&volume);
            assert!(files.content(&log_path()).is_err(), "change {index}");
            drop(volume);
            if power {
                files.lose_power();
            } else {
                files.restart();
            }
            assert_eq!(start(&files, boot).2, LogUse::Missing, "change {index}");
        }
    }
}

/// A log that says nothing of the change that is under way while it is written.
#[test]
fn a_change_beside_the_writing_of_the_log_is_in_it_or_removes_it() {
    for (kind, path) in [
        (OperationKind::SyncFileSystem, ""),
        (OperationKind::Create, "gfs-start"),
        (OperationKind::Write, "gfs-start"),
        (OperationKind::Rename, "gfs-start"),
        (OperationKind::SyncDir, "/volume"),
    ] {
        let files = FaultyFiles::new(1);
        let volume = Arc::new(filled(&files));
        let (begun, path) = (Arc::new(AtomicU64::new(0)), path.to_owned());
        let (changing, seen) = (Arc::clone(&volume), Arc::clone(&begun));
        let beside = Arc::new(std::sync::Mutex::new(None));
        let started = Arc::clone(&beside);
        files.set_hook(Some(Arc::new(move |operation, _| {
            let here = operation.kind == kind && operation.path.to_string_lossy().contains(&path);
            if here && seen.fetch_add(1, Ordering::Relaxed) == 0 {
                let volume = Arc::clone(&changing);
                // It waits until the log is written.
                let thread = std::thread::spawn(move || append(&volume, handle(1), b"x").unwrap());
                *started.lock().unwrap() = Some(thread);
            }
        })));
        volume.write_start_log().unwrap();
        beside.lock().unwrap().take().unwrap().join().unwrap();
        files.set_hook(None);
        assert!(files.content(&log_path()).is_err(), "{kind:?}");
        drop(volume);
        files.lose_power();
        assert_eq!(start(&files, NEXT_BOOT).2, LogUse::Missing);
    }
}

#[test]
fn a_kill_at_every_step_of_an_end_and_a_start_leaves_a_log_to_be_believed_or_none() {
    let (mut used, mut kills) = (0, 0);
    for power in [false, true] {
        for killed_in_start in [false, true] {
            for kill in 1.. {
                let files = FaultyFiles::new(kill);
                if killed_in_start {
                    ended(&files);
                    let volume = open(&files, BOOT);
                    files.kill_at(kill);
                    let _ = volume.start(1);
                } else {
                    let volume = filled(&files);
                    files.kill_at(kill);
                    volume.close_all();
                    let _ = volume.write_start_log();
                }
                let was_killed = files.is_killed();
                let boot = if power { NEXT_BOOT } else { BOOT };
                if power {
                    files.lose_power();
                } else {
                    files.restart();
                }
                let (volume, report, log) = start(&files, boot);
                // One was never synced.
                assert!(report.entries.len() as u64 >= CHUNKS + u64::from(!power));
                assert!(matches!(log, LogUse::Used(_) | LogUse::Missing), "{log:?}");
                used += u64::from(matches!(log, LogUse::Used(_)));
                if !volume.state(handle(0)).unwrap().flags.suspect {
                    append(&volume, handle(0), b"more").unwrap();
                }
                if !was_killed {
                    break;
                }
                kills += 1;
            }
        }
    }
    assert!(used > 5 && kills > 50, "{used} used, {kills} kills");
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Something happens to the volume; what it answers does not matter here.
fn act(volume: &Volume, random: &mut Random, now: &mut u64) {
    let handle = handle(random.below(6));
    let version = |volume: &Volume| Some(volume.state(handle).ok()?.promised);
    match random.below(14) {
        0..4 => {
            let _ = volume.create(new_chunk(handle));
        }
        4 => {
            let _ = append(volume, handle, &pattern(H, *now, 0, random.below(70_000) as usize));
        }
        5 => {
            let _ = write(volume, handle, 0, &pattern(H, *now, 0, 500), Cut::Chunk);
        }
        6 => {
            let _ = volume.close(handle);
        }
        7 => {
            *now += random.below(5_000);
            volume.background_sync(Millis(*now));
        }
        8 => {
            let promised = version(volume).map(Version::next);
            let _ = change(volume, handle, StateChange { promised, ..Default::default() });
        }
        9 => {
            let Ok(verified) = volume.verify(handle) else { return };
            let content = Some(verified.prefix);
            let trust = StateChange { content, trusted: true, ..Default::default() };
            let _ = volume.set_state(handle, &trust, true);
        }
        10 => {
            let _ = volume.trim(handle);
        }
        11 => {
            let _ = volume.truncate(handle, random.below(1_000) as u32);
        }
        12 if random.below(4) == 0 => {
            let _ = volume.delete(handle, Version(1_000));
        }
        12 => {
            let _ = volume.recheck(handle);
        }
        _ => {
            let _ = volume.scan(1);
        }
    }
}

#[test]
fn after_any_history_the_log_gives_what_the_scan_gives() {
    let (mut used, mut missing, mut chunks) = (0, 0, 0);
    for seed in 0..150 {
        let files = FaultyFiles::new(seed);
        let mut random = Random(seed);
        let (mut boot, mut now, mut late) = (1, 0, false);
        for _ in 0..6 {
            let (volume, _, log) = start(&files, BootId([boot; 16]));
            match log {
                LogUse::Used(known) => {
                    used += 1;
                    chunks += known;
                }
                LogUse::Missing => missing += 1,
                // Space given back changes no header, but a file.
                LogUse::Disagrees(_) if late => {}
                // Nobody but us touched the files.
                other => panic!("seed {seed}: {other:?}"),
            }
            if random.below(4) == 0 {
                files.kill_at(1 + random.below(200));
            }
            for _ in 0..random.below(30) {
                act(&volume, &mut random, &mut now);
            }
            if random.below(3) > 0 {
                volume.close_all();
                let _ = volume.write_start_log();
            }
            late = random.below(5) == 0;
            if late {
                act(&volume, &mut random, &mut now);
            }
            drop(volume);
            if random.below(2) == 0 {
                files.lose_power();
                boot += 1;
            } else {
                files.restart();
            }
        }
    }
    println!("used {used} for {chunks} chunks, missing {missing}");
    assert!(used > 150 && missing > 150 && chunks > 300, "{used} {missing} {chunks}");
}

#[test]
fn a_log_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume");
    let open = || open_in(Arc::new(OsFiles), &path, BOOT).unwrap();
    let volume = open();
    for index in 0..300 {
        volume.create(new_chunk(handle(index))).unwrap();
    }
    append(&volume, handle(0), b"some bytes").unwrap();
    assert_eq!((volume.close_all(), volume.write_start_log().unwrap()), (0, 300));
    drop(volume);
    let volume = open();
    let (report, log) = volume.start(2).unwrap();
    assert_eq!(log, LogUse::Used(300));
    assert_eq!(report, volume.scan(2).unwrap());
    assert!(!path.join("gfs-start").exists());
    assert_eq!(volume.write_start_log().unwrap(), 300);
    drop(volume);
    // Somebody writes into a file and puts nothing else in its place.
    let chunk = path.join(format!("chunks/01/{}.chunk", handle(1)));
    std::fs::OpenOptions::new().append(true).open(&chunk).unwrap().set_len(1 << 20).unwrap();
    let volume = open();
    let (report, log) = volume.start(2).unwrap();
    assert!(matches!(log, LogUse::Disagrees(_)), "{log:?}");
    assert_eq!(report, volume.scan(2).unwrap());
}
