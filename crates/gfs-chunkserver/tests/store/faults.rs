//! Full, read-only, failing and hung disks, and requests that make no sense.

use crate::rig::*;
use gfs_chunkserver::files::{Fault, FaultyFiles, Moment, OperationKind, Rule};
use gfs_chunkserver::store::{
    Cut, Extent, NewChunk, Part, Position, StateChange, StoreError, StoreResult, Write,
};
use gfs_types::{BLOCK_SIZE, BlockSums, ChunkHandle, Crc, ErrorCode, Millis, Serial, Version};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const EIO: i32 = 5;

fn rule(kind: OperationKind, fault: Fault) -> Rule {
    Rule { kind, path: String::new(), skip: 0, times: 1, fault }
}

#[test]
fn a_full_disk_in_the_middle_of_a_write_costs_that_write_only() {
    for free in [0, 4096, 20_000, 90_000] {
        let files = FaultyFiles::new(1);
        let volume = open(&files, BOOT);
        volume.create(new_chunk(H)).unwrap();
        let data = pattern(H, 0, 0, 30_000);
        append(&volume, H, &data).unwrap();
        files.set_free(free);
        let error = append(&volume, H, &pattern(H, 1, 30_000, 100_000)).unwrap_err();
        assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::NoSpace);
        assert_eq!(read_all(&volume, H).unwrap(), data);
        assert!(volume.health().failing.is_none(), "full is not failing");
        let other = ChunkHandle(0x99);
        if free == 0 {
            // Headers have their space from the start: the state can still change.
            let promised = Some(Version(2));
            change(&volume, H, StateChange { promised, ..Default::default() }).unwrap();
            volume.close(H).unwrap();
            assert!(matches!(volume.create(new_chunk(other)), Err(StoreError::NoSpace { .. })));
            assert!(matches!(volume.reserve(H, CHUNK), Err(StoreError::NoSpace { .. })));
            let complete = Some(Position { version: Version(2), serial: Serial(0) });
            change(&volume, H, StateChange { complete, ..Default::default() }).unwrap();
        }
        files.set_free(1 << 20);
        let more = pattern(H, 2, 30_000, 100_000);
        append(&volume, H, &more).unwrap();
        let all = [data, more].concat();
        assert_eq!(read_all(&volume, H).unwrap(), all);
        volume.create(new_chunk(other)).unwrap();
        drop(volume);
        files.restart();
        let volume = open(&files, BOOT);
        assert!(volume.scan(1).unwrap().strangers.is_empty());
        assert_eq!(read_all(&volume, H).unwrap(), all);
    }
}

#[test]
fn a_write_that_fails_anywhere_leaves_what_was_there() {
    for skip in 0..3 {
        for fault in [Fault::Error(EIO), Fault::Torn(EIO)] {
            let files = FaultyFiles::new(skip);
            let volume = open(&files, BOOT);
            volume.create(new_chunk(H)).unwrap();
            let data = pattern(H, 0, 0, 60_000);
            append(&volume, H, &data).unwrap();
            append(&volume, H, b"").unwrap();
            files.inject(Rule { skip, ..rule(OperationKind::Write, fault) });
            let error = append(&volume, H, &pattern(H, 1, 60_000, 80_000)).unwrap_err();
            assert!(matches!(error, StoreError::Disk { .. }), "{error}");
            assert_eq!(error.code(), ErrorCode::DiskError);
            assert_eq!(read_all(&volume, H).unwrap(), data);
            assert_eq!(volume.health().write_errors, 1);
            assert!(volume.health().failing.is_some());
            let more = pattern(H, 2, 60_000, 50_000);
            append(&volume, H, &more).unwrap();
            drop(volume);
            files.restart();
            assert_eq!(read_all(&open(&files, BOOT), H).unwrap(), [data, more].concat());
        }
    }
}

#[test]
fn an_unreadable_block_is_an_error_and_the_others_are_read() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    let data = pattern(H, 0, 0, 2 * BLOCK);
    append(&volume, H, &data).unwrap();
    files.inject(rule(OperationKind::Read, Fault::Error(EIO)));
    assert!(matches!(volume.read(H, 0, CHUNK), Err(StoreError::Disk { .. })));
    assert_eq!(volume.health().read_errors, 1);
    assert_eq!(read_all(&volume, H).unwrap(), data);
    // A bit flipped on its way from the disk is read again, and condemns nothing.
    files.inject(rule(OperationKind::Read, Fault::FlippedBit));
    assert_eq!(read_all(&volume, H).unwrap(), data);
    assert!(volume.damaged().is_empty());
    // The whole range fails, then its first block: verification finds just that one.
    files.inject(Rule { times: 2, ..rule(OperationKind::Read, Fault::Error(EIO)) });
    let verified = volume.verify(H).unwrap();
    assert_eq!((verified.damaged, verified.prefix.length), (vec![0], 0));
    replace(&volume, H, 0, &data[..BLOCK]).unwrap();
    assert!(volume.verify(H).unwrap().damaged.is_empty());
}

#[test]
fn a_failed_sync_is_never_believed_again() {
    let syncs: [fn(&gfs_chunkserver::store::Volume) -> StoreResult<()>; 3] = [
        |volume| volume.sync(H),
        |volume| volume.close(H).map(drop),
        |volume| {
            let promised = Some(Version(2));
            volume.set_state(H, &StateChange { promised, ..Default::default() }, true)
        },
    ];
    for sync in syncs {
        let files = FaultyFiles::new(1);
        let volume = open(&files, BOOT);
        volume.create(new_chunk(H)).unwrap();
        append(&volume, H, b"abc").unwrap();
        files.inject(rule(OperationKind::Sync, Fault::Error(EIO)));
        assert!(matches!(sync(&volume), Err(StoreError::Disk { .. })));
        assert!(volume.health().failing.is_some());
        assert!(matches!(volume.sync(H), Err(StoreError::Failed(_))), "not tried again");
        let failed = append(&volume, H, b"def");
        assert!(matches!(failed, Err(StoreError::Failed(_) | StoreError::StaleVersion { .. })));
        assert!(volume.state(H).unwrap().flags.suspect);
        assert_eq!(read_all(&volume, H).unwrap(), b"abc");
        assert_eq!(volume.background_sync(Millis(1)).dirty, 0);
        drop(volume);
        files.restart();
        // Also under the same boot: the page cache may have dropped what failed to be written.
        let volume = open(&files, BOOT);
        let state = volume.state(H).unwrap();
        assert!(state.flags.suspect && !state.flags.clean);
    }
}

#[test]
fn a_failed_sync_in_the_background_is_reported() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    files.inject(rule(OperationKind::Sync, Fault::Error(EIO)));
    assert_eq!(volume.background_sync(Millis(10)).dirty, 1);
    let report = volume.background_sync(Millis(2_010));
    assert_eq!((report.failed, report.synced, report.dirty), (1, 0, 0));
    assert!(volume.state(H).unwrap().flags.suspect);
}

/// Many chunks are synced by one sync of the file system; a failure is told apart by chunk.
#[test]
fn chunks_synced_together_fail_one_by_one() {
    let handles: Vec<_> = (0..20).map(|n| ChunkHandle(0x200 + n)).collect();
    let bad = handles[3];
    let clean = |volume: &gfs_chunkserver::store::Volume, handle| {
        let flags = volume.state(handle).unwrap().flags;
        flags.clean && !flags.suspect
    };
    // (what fails, how many chunks fail, how many file syncs of single chunks it takes)
    let cases = [
        (None, 0, 0),
        (Some((OperationKind::Writeback, format!("{bad}"), 1)), 1, 0),
        (Some((OperationKind::SyncFileSystem, String::new(), 0)), 0, 20),
        (Some((OperationKind::Sync, format!("{bad}"), 0)), 0, 0),
    ];
    for (fault, failed, single) in cases {
        let files = FaultyFiles::new(1);
        let volume = open(&files, BOOT);
        for handle in &handles {
            volume.create(new_chunk(*handle)).unwrap();
            append(&volume, *handle, b"abc").unwrap();
        }
        assert_eq!(volume.background_sync(Millis(0)).synced, 0);
        if let Some((kind, path, skip)) = fault {
            files.inject(Rule { path, skip, ..rule(kind, Fault::Error(EIO)) });
        }
        let syncs = Arc::new(Mutex::new(0));
        let count = Arc::clone(&syncs);
        files.set_hook(Some(Arc::new(move |operation, moment| {
            let counts = moment == Moment::Before && operation.kind == OperationKind::Sync;
            *count.lock().unwrap() += u64::from(counts);
        })));
        let report = volume.background_sync(Millis(2_000));
        assert_eq!((report.cleaned, report.failed, report.dirty), (20 - failed, failed, 0));
        assert_eq!(*syncs.lock().unwrap(), single);
        for handle in &handles {
            assert_eq!(clean(&volume, *handle), failed == 0 || *handle != bad);
        }
        assert_eq!(volume.health().failing.is_some(), failed > 0);
    }
}

#[test]
fn the_background_cleans_what_rests_and_marks_what_does_not() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    let busy = ChunkHandle(0x55);
    for handle in [H, busy] {
        volume.create(new_chunk(handle)).unwrap();
        append(&volume, handle, b"abc").unwrap();
    }
    for now in (0..5_000).step_by(500) {
        append(&volume, busy, b"d").unwrap();
        volume.background_sync(Millis(now));
    }
    assert!(volume.state(H).unwrap().flags.clean);
    let state = volume.state(busy).unwrap();
    assert!(!state.flags.clean && state.synced.1.length > 3, "{state:?}");
    assert_eq!(volume.background_sync(Millis(5_000)).dirty, 1);
    // The end of a server's life leaves all clean.
    assert_eq!(volume.close_all(), 0);
    assert!(volume.state(busy).unwrap().flags.clean);
    assert_eq!(volume.background_sync(Millis(5_500)).dirty, 0);
    drop(volume);
    files.restart();
    // What is clean is trusted under another boot.
    let volume = open(&files, NEXT_BOOT);
    assert_eq!(read_all(&volume, busy).unwrap(), b"abcdddddddddd");
    // After a restart under the same boot the pass finds what is not clean by the scan.
    append(&volume, H, b"x").unwrap();
    drop(volume);
    files.restart();
    let volume = open(&files, NEXT_BOOT);
    volume.scan(1).unwrap();
    assert_eq!(volume.background_sync(Millis(0)).dirty, 1);
    assert_eq!(volume.background_sync(Millis(2_000)).cleaned, 1);
}

#[test]
fn a_read_only_disk_is_read() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    files.set_read_only(true);
    for error in [
        append(&volume, H, b"def").unwrap_err(),
        volume.create(new_chunk(ChunkHandle(0x99))).unwrap_err(),
        volume.delete(H, Version(9)).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
        assert_eq!(error.code(), ErrorCode::DiskError);
    }
    assert!(volume.health().read_only);
    assert_eq!(read_all(&volume, H).unwrap(), b"abc");
    drop(volume);
    files.restart();
    let volume = open(&files, BOOT);
    assert_eq!(volume.scan(1).unwrap().entries.len(), 1);
    assert_eq!(read_all(&volume, H).unwrap(), b"abc");
}

/// No lock that chunks share is held over I/O.
#[test]
fn a_hung_write_hangs_its_chunk_only() {
    let files = FaultyFiles::new(1);
    let volume = Arc::new(open(&files, BOOT));
    let other = ChunkHandle(0x99);
    for handle in [H, other] {
        volume.create(new_chunk(handle)).unwrap();
        append(&volume, handle, b"abc").unwrap();
    }
    let (hung_in, hung) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    files.set_hook(Some(Arc::new(move |operation, moment| {
        let path = operation.path.to_string_lossy();
        if moment == Moment::Before
            && operation.kind == OperationKind::Write
            && path.contains("1234")
        {
            let _ = hung_in.send(());
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
        }
    })));
    let writer = {
        let volume = Arc::clone(&volume);
        std::thread::spawn(move || append(&volume, H, b"def"))
    };
    hung.recv_timeout(Duration::from_secs(10)).unwrap();
    append(&volume, other, b"def").unwrap();
    assert_eq!(read_all(&volume, other).unwrap(), b"abcdef");
    volume.create(new_chunk(ChunkHandle(0x98))).unwrap();
    volume.close(other).unwrap();
    volume.scan(1).unwrap();
    assert!(!writer.is_finished());
    drop(release);
    writer.join().unwrap().unwrap();
    assert_eq!(read_all(&volume, H).unwrap(), b"abcdef");
}

#[test]
fn requests_that_do_not_fit_change_nothing() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    let before = files.content(&path_of(H)).unwrap();
    let data = pieces(b"0123456789");
    let write = |version, serial, cut, offset, sums: &BlockSums| {
        let (version, serial) = (Version(version), Serial(serial));
        let parts = &[Part { pieces: &data, sums }];
        let write = Write { version, serial, offset, parts, cut, writer: None };
        volume.write(H, &write).unwrap_err()
    };
    let sums = BlockSums::of(3, &data);
    let zeros = |length, incomplete| {
        let new = NewChunk { length, incomplete, ..new_chunk(ChunkHandle(2)) };
        volume.create(new).unwrap_err()
    };
    let cases = [
        (write(2, 2, Cut::Chunk, 3, &sums), ErrorCode::StaleVersion),
        (write(0, 2, Cut::Chunk, 3, &sums), ErrorCode::StaleVersion),
        (write(1, 3, Cut::Chunk, 3, &sums), ErrorCode::InvalidArgument),
        (write(1, 1, Cut::Chunk, 3, &sums), ErrorCode::InvalidArgument),
        (write(1, 2, Cut::Chunk, CHUNK - 5, &sums), ErrorCode::WrongOffset),
        (write(1, 2, Cut::Chunk, 4, &sums), ErrorCode::WrongOffset),
        (write(1, 2, Cut::Chunk, u32::MAX, &sums), ErrorCode::WrongOffset),
        (write(1, 2, Cut::Chunk, 3, &BlockSums::default()), ErrorCode::InvalidArgument),
        (write(1, 2, Cut::Mutation, 1, &BlockSums::default()), ErrorCode::InvalidArgument),
        (zeros(CHUNK + 1, false), ErrorCode::OutOfRange),
        (zeros(1, true), ErrorCode::OutOfRange),
        (volume.read(H, u32::MAX, 1).unwrap_err(), ErrorCode::OutOfRange),
        (volume.truncate(H, 4).unwrap_err(), ErrorCode::OutOfRange),
        (volume.reserve(H, CHUNK + 1).unwrap_err(), ErrorCode::OutOfRange),
        (replace(&volume, H, 0, b"abc").unwrap_err(), ErrorCode::InvalidArgument),
        (replace(&volume, H, 1 << 20, b"abc").unwrap_err(), ErrorCode::OutOfRange),
        (replace(&volume, H, 4, b"abc").unwrap_err(), ErrorCode::OutOfRange),
        (volume.create(new_chunk(H)).unwrap_err(), ErrorCode::AlreadyExists),
        (volume.delete(H, Version(0)).unwrap_err(), ErrorCode::StaleVersion),
        (volume.read(ChunkHandle(1), 0, 1).unwrap_err(), ErrorCode::UnknownChunk),
        (volume.delete(ChunkHandle(1), Version(9)).unwrap_err(), ErrorCode::UnknownChunk),
    ];
    for (error, code) in cases {
        assert_eq!(error.code(), code, "{error}");
    }
    let version = |number| Some(Position { version: Version(number), serial: Serial(0) });
    let length = |length| Some(Extent { length, tail: Crc(1) });
    for wrong in [
        StateChange { promised: Some(Version(0)), ..Default::default() },
        StateChange { complete: version(2), ..Default::default() },
        StateChange { complete: version(0), ..Default::default() },
        StateChange { content: length(CHUNK + 1), ..Default::default() },
        StateChange { content: length(BLOCK_SIZE), ..Default::default() },
    ] {
        change(&volume, H, wrong).unwrap_err();
    }
    assert!(files.content(&path_of(H)).unwrap() == before);
    assert_eq!(volume.read(H, 3, 10).unwrap().data.len(), 0);
    assert_eq!(volume.read(H, 2, u32::MAX).unwrap().data, b"c"[..]);

    // Longer than the chunk.
    let long = vec![1; CHUNK as usize - 2];
    assert_eq!(append(&volume, H, &long).unwrap_err().code(), ErrorCode::OutOfRange);
    append(&volume, H, &long[1..]).unwrap();
    // A promise stops mutations of the version before, and deletes that do not know of it.
    change(&volume, H, StateChange { promised: Some(Version(5)), ..Default::default() }).unwrap();
    assert_eq!(append(&volume, H, b"").unwrap_err().code(), ErrorCode::StaleVersion);
    assert_eq!(volume.delete(H, Version(4)).unwrap_err().code(), ErrorCode::StaleVersion);
    change(&volume, H, StateChange { complete: version(5), ..Default::default() }).unwrap();
    volume.seal(H).unwrap();
    assert_eq!(append(&volume, H, b"").unwrap_err().code(), ErrorCode::Sealed);
    volume.delete(H, Version(5)).unwrap();
}
