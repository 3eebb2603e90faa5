//! The scrub of a volume whose files rot, vanish, or are written meanwhile, on a virtual clock.

use crate::rig::*;
use gfs_chunkserver::files::{
    ChunkFiles, Fault, FaultyFiles, Moment, Operation, OperationKind, Rule,
};
use gfs_chunkserver::scrub::{Finding, Replicas, Scrub};
use gfs_chunkserver::store::Volume;
use gfs_core::scrub::{Page, Settings};
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, ChunkHandle, Millis, WallMillis};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const LENGTH: usize = 3 * BLOCK + 500;
const FAST: Settings = Settings { rate: u64::MAX, interval: Millis(0) };
const WALL: WallMillis = WallMillis(99);

/// The server in miniature.
#[derive(Default)]
struct Server {
    handles: Vec<u64>,
    /// Something is being done to each of them.
    active: Cell<bool>,
    found: RefCell<Vec<(u64, Finding)>>,
    verified: Cell<u64>,
}

impl Server {
    fn take(&self) -> Vec<(u64, Finding)> {
        self.found.take()
    }
}

impl Replicas for Server {
    fn page(&self, after: u64, limit: usize) -> Page {
        let before = self.handles.iter().filter(|handle| **handle <= after).count();
        let behind = self.handles.iter().copied().filter(|handle| *handle > after);
        Page {
            handles: behind.take(limit).collect(),
            before: before as u64,
            total: self.handles.len() as u64,
        }
    }

    fn state(&self, handle: u64) -> Option<pb::ReplicaState> {
        Some(pb::ReplicaState { handle, complete: 1, ..Default::default() })
    }

    fn idle(&self, handle: u64) -> Option<pb::ReplicaState> {
        self.state(handle).filter(|_| !self.active.get())
    }

    fn found(&self, state: &pb::ReplicaState, finding: &Finding) -> bool {
        self.found.borrow_mut().push((state.handle, finding.clone()));
        true
    }

    fn verified(&self, bytes: u32) {
        self.verified.set(self.verified.get() + u64::from(bytes));
    }

    fn busy(&self, _: Millis) -> bool {
        false
    }
}

/// A volume with so many chunks, closed, and the server that has them.
fn stored(files: &FaultyFiles, count: u64) -> Server {
    let volume = open(files, BOOT);
    let handles: Vec<u64> = (0..count).map(|n| H.0 + n * 7).collect();
    for handle in handles.iter().copied().map(ChunkHandle) {
        volume.create(new_chunk(handle)).unwrap();
        append(&volume, handle, &pattern(handle, 0, 0, LENGTH)).unwrap();
        assert!(volume.close(handle).unwrap());
    }
    Server { handles, ..Server::default() }
}

/// Runs to the end of the present pass, and stores that.
fn pass(scrub: &mut Scrub, server: &Server, now: &mut Millis) {
    let passes = scrub.state().passes;
    while scrub.state().passes == passes {
        *now = *now + scrub.step(server, *now, WALL);
    }
    assert_eq!(scrub.step(server, *now, WALL), Millis(0), "stores that");
    assert_eq!((scrub.state().percent, scrub.state().completed_ms), (100, WALL.0));
}

fn once(volume: &Arc<Volume>, server: &Server) -> pb::ScrubState {
    let mut now = Millis(1_000);
    let mut scrub = Scrub::new(Arc::clone(volume), FAST, now);
    pass(&mut scrub, server, &mut now);
    scrub.state()
}

fn damaged(blocks: &[u32], fresh: u64) -> Finding {
    Finding::Damaged { blocks: blocks.to_vec(), fresh }
}

fn right(volume: &Volume, handle: ChunkHandle) {
    assert_eq!(read_all(volume, handle).unwrap(), pattern(handle, 0, 0, LENGTH));
}

#[test]
fn a_sound_volume_is_verified_to_the_last_byte_and_nothing_is_kept_open() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 20);
    let volume = Arc::new(open(&files, BOOT));
    right(&volume, H);
    // What clients have in use stays open: reading it again opens no file.
    let opened = Arc::new(AtomicU64::new(0));
    let state = once(&volume, &server);
    let counter = Arc::clone(&opened);
    files.set_hook(Some(Arc::new(move |operation: &Operation, _: Moment| {
        if operation.kind == OperationKind::Open {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })));
    right(&volume, H);
    assert_eq!(opened.load(Ordering::Relaxed), 0);
    assert_eq!(server.take(), []);
    assert_eq!(server.verified.get(), 20 * LENGTH as u64);
    assert_eq!((state.passes, state.damaged_blocks, state.lost_replicas), (1, 0, 0));
}

#[test]
fn flipped_bits_that_nobody_read_are_found_and_counted_once() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 5);
    let bad = ChunkHandle(server.handles[3]);
    files.damage(&path_of(bad), u64::from(2 * BLOCK_SIZE + 9), 0x40).unwrap();
    files.damage(&path_of(bad), u64::from(3 * BLOCK_SIZE + 9), 0x40).unwrap();
    let volume = Arc::new(open(&files, BOOT));
    let state = once(&volume, &server);
    assert_eq!(server.take(), [(bad.0, damaged(&[2, 3], 2))]);
    assert_eq!(state.damaged_blocks, 2);
    assert_eq!(volume.damaged(), [(bad, vec![2, 3])]);
    // The next pass tells it again, as nobody has repaired it, and does not count it again.
    let state = once(&volume, &server);
    assert_eq!(server.take(), [(bad.0, damaged(&[2, 3], 0))]);
    assert_eq!((state.passes, state.damaged_blocks), (2, 2));
    // Repaired, it is sound.
    let data = pattern(bad, 0, 0, LENGTH);
    replace(&volume, bad, 2, &data[2 * BLOCK..]).unwrap();
    once(&volume, &server);
    assert_eq!(server.take(), []);
}

#[test]
fn a_block_that_the_disk_does_not_return_is_damaged() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 3);
    let bad = ChunkHandle(server.handles[1]);
    let volume = Arc::new(open(&files, BOOT));
    // Reads of the file: its header, all blocks at once, its header again, then block by block.
    for skip in [1, 2 + 2] {
        let path = format!("{bad}.chunk");
        let (kind, fault) = (OperationKind::Read, Fault::Error(libc::EIO));
        files.inject(Rule { kind, path, skip, times: 1, fault });
    }
    let state = once(&volume, &server);
    let found = server.take();
    assert!(
        matches!(&found[..], [(handle, Finding::Damaged { blocks, fresh: 1 })]
            if *handle == bad.0 && blocks.len() == 1),
        "{found:?}"
    );
    assert_eq!((state.damaged_blocks, volume.health().failing.clone()), (1, None));
    // A file that cannot even be opened is of no use either.
    files.clear_rules();
    let path = format!("{}.chunk", ChunkHandle(server.handles[2]));
    let (kind, fault) = (OperationKind::Open, Fault::Error(libc::EIO));
    files.inject(Rule { kind, path, skip: 0, times: u64::MAX, fault });
    once(&volume, &server);
    assert!(server.take().contains(&(server.handles[2], damaged(&[], 0))));
}

#[test]
fn a_file_that_vanished_is_found_in_use_or_not() {
    for in_use in [false, true] {
        let files = FaultyFiles::new(1);
        let server = stored(&files, 3);
        let volume = Arc::new(open(&files, BOOT));
        if in_use {
            right(&volume, H);
        }
        files.unlink(&path_of(H)).unwrap();
        server.active.set(true);
        once(&volume, &server);
        assert_eq!(server.take(), [], "what is being written or deleted is left alone");
        server.active.set(false);
        let state = once(&volume, &server);
        assert_eq!(server.take(), [(H.0, Finding::Lost { why: "its file is gone".to_owned() })]);
        assert_eq!(state.lost_replicas, 1);
        // A new one can be made in its place.
        volume.create(new_chunk(H)).unwrap();
        append(&volume, H, &pattern(H, 0, 0, LENGTH)).unwrap();
        once(&volume, &server);
        assert_eq!(server.take(), []);
    }
}

#[test]
fn a_garbled_header_is_quarantined_or_put_right_from_what_is_known() {
    for in_use in [false, true] {
        let files = FaultyFiles::new(1);
        let server = stored(&files, 3);
        let volume = Arc::new(open(&files, BOOT));
        if in_use {
            right(&volume, H);
        }
        for slot in 0..2 {
            files.damage(&path_of(H), u64::from(CHUNK) + slot * 4096 + 100, 4).unwrap();
        }
        once(&volume, &server);
        let found = server.take();
        if in_use {
            assert_eq!(found, [(H.0, Finding::Restored)]);
            drop(volume);
            right(&open(&files, BOOT), H);
        } else {
            assert!(matches!(&found[..], [(handle, Finding::Lost { .. })] if *handle == H.0));
            assert_eq!(volume.quarantined().unwrap(), [format!("{H}.chunk")]);
        }
    }
}

#[test]
fn one_garbled_slot_puts_a_replica_in_doubt_unless_it_is_known() {
    for (slot, in_use) in [(0, false), (1, false), (0, true), (1, true)] {
        let files = FaultyFiles::new(1);
        let server = stored(&files, 3);
        let volume = Arc::new(open(&files, BOOT));
        if in_use {
            right(&volume, H);
        }
        files.damage(&path_of(H), u64::from(CHUNK) + slot * 4096 + 100, 4).unwrap();
        once(&volume, &server);
        if in_use {
            assert_eq!(server.take(), [(H.0, Finding::Restored)]);
            drop(volume);
            let volume = open(&files, BOOT);
            assert!(!volume.state(H).unwrap().flags.suspect);
            right(&volume, H);
        } else {
            assert_eq!(server.take(), [(H.0, damaged(&[], 0))]);
            right(&volume, H);
        }
    }
}

#[test]
fn garbled_checksums_of_a_chunk_in_use_are_written_again() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 2);
    let volume = Arc::new(open(&files, BOOT));
    right(&volume, H);
    let before = files.content(&path_of(H)).unwrap();
    files.damage(&path_of(H), u64::from(CHUNK) + 8192 + 4, 0xff).unwrap();
    once(&volume, &server);
    assert_eq!(server.take(), [(H.0, Finding::Restored)]);
    assert_eq!(files.content(&path_of(H)).unwrap(), before);
}

#[test]
fn a_pass_goes_on_after_a_restart_and_anew_where_its_place_is_lost() {
    for (garbled, rest) in [(false, 6), (true, 10)] {
        let files = FaultyFiles::new(1);
        let server = stored(&files, 10);
        let volume = Arc::new(open(&files, BOOT));
        let mut now = Millis(1_000);
        let mut scrub = Scrub::new(Arc::clone(&volume), FAST, now);
        while server.verified.get() < 4 * LENGTH as u64 {
            now = now + scrub.step(&server, now, WALL);
        }
        assert_eq!(scrub.state().percent, 40);
        scrub.save(now);
        drop((scrub, volume));
        let place = Path::new(DIR).join("gfs-scrub");
        if garbled {
            files.damage(&place, 20, 1).unwrap();
        }
        server.verified.set(0);
        let volume = Arc::new(open(&files, BOOT));
        let state = once(&volume, &server);
        assert_eq!((state.passes, server.take()), (1, vec![]));
        assert_eq!(server.verified.get(), rest * LENGTH as u64, "garbled: {garbled}");
        assert!(volume.health().failing.is_none());
    }
}

#[test]
fn a_place_that_cannot_be_stored_stops_nothing() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 3);
    let volume = Arc::new(open(&files, BOOT));
    let path = "gfs-scrub".to_owned();
    let (kind, fault) = (OperationKind::Create, Fault::Error(libc::ENOSPC));
    files.inject(Rule { kind, path, skip: 0, times: u64::MAX, fault });
    assert_eq!(once(&volume, &server).passes, 1);
    assert!(volume.health().failing.is_none());
    assert_eq!(volume.scrub_progress().passes, 0);
}

#[test]
fn no_more_than_the_rate_is_read_from_the_disk() {
    const RATE: u64 = 500_000;
    let files = FaultyFiles::new(1);
    let server = stored(&files, 30);
    let volume = Arc::new(open(&files, BOOT));
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    files.set_hook(Some(Arc::new(move |operation: &Operation, moment: Moment| {
        let before = moment == Moment::Before;
        if before && operation.kind == OperationKind::Read {
            counter.fetch_add(operation.len, Ordering::Relaxed);
        }
    })));
    let begun = Millis(1_000);
    let settings = Settings { rate: RATE, interval: Millis(0) };
    let (mut scrub, mut now) = (Scrub::new(Arc::clone(&volume), settings, begun), begun);
    read.store(0, Ordering::Relaxed);
    while scrub.state().passes == 0 {
        now = now + scrub.step(&server, now, WALL);
        let allowed = RATE * ((now - begun).0 + 100) / 1_000 + 2 * u64::from(CHUNK);
        assert!(read.load(Ordering::Relaxed) <= allowed);
    }
    let needed = 30 * (LENGTH as u64 + u64::from(BLOCK_SIZE)) * 1_000 / RATE;
    assert!((now - begun).0 <= needed + 1_000, "{} for {needed} ms", now - begun);
}

#[test]
fn writes_under_way_are_no_damage() {
    let files = FaultyFiles::new(1);
    let server = stored(&files, 2);
    let volume = Arc::new(open(&files, BOOT));
    let grown = ChunkHandle(server.handles[1] + 7);
    volume.create(new_chunk(grown)).unwrap();
    let server = Server { handles: [server.handles, vec![grown.0]].concat(), ..Server::default() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for part in pattern(grown, 0, 0, CHUNK as usize).chunks(701) {
                append(&volume, grown, part).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut now = Millis(1_000);
        let mut scrub = Scrub::new(Arc::clone(&volume), FAST, now);
        while !done.load(Ordering::Relaxed) {
            pass(&mut scrub, &server, &mut now);
        }
    });
    assert_eq!(server.take(), []);
    assert!(volume.damaged().is_empty());
}
