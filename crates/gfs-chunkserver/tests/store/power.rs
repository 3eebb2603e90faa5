//! Power loss: what is called clean is whole, what was synced is found again, and the rest is
//! called suspect.

use crate::rig::*;
use gfs_chunkserver::files::{Fault, FaultyFiles, Moment, OperationKind, Rule};
use gfs_chunkserver::store::{Cut, ScanEntry, StateChange, StoreError, Volume};
use gfs_types::{ChunkHandle, Millis};
use std::collections::BTreeMap;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    bytes: Vec<u8>,
    /// How many of these were acknowledged as durable and not cut since.
    durable: usize,
    ever_synced: bool,
    take: u64,
}

/// Random operations on a few chunks; returns what was acknowledged.
fn run(volume: &Volume, random: &mut Random, cuts: bool) -> BTreeMap<ChunkHandle, Model> {
    let mut chunks: BTreeMap<ChunkHandle, Model> = BTreeMap::new();
    let mut now = 0;
    // Few chunks that change much, or many that are synced together.
    let kinds = if random.below(2) == 0 { 3 } else { 16 };
    for _ in 0..random.below(15 * kinds) + 5 {
        let handle = ChunkHandle(0x100 + random.below(kinds));
        let Some(model) = chunks.get_mut(&handle) else {
            volume.create(new_chunk(handle)).unwrap();
            chunks.insert(handle, Model::default());
            continue;
        };
        match random.below(12) {
            0 => {
                volume.sync(handle).unwrap();
                (model.durable, model.ever_synced) = (model.bytes.len(), true);
            }
            1 => {
                if volume.close(handle).unwrap() {
                    (model.durable, model.ever_synced) = (model.bytes.len(), true);
                }
            }
            2 => {
                now += random.below(3_000);
                volume.background_sync(Millis(now));
                for (handle, model) in &mut chunks {
                    if volume.state(*handle).unwrap().flags.clean {
                        (model.durable, model.ever_synced) = (model.bytes.len(), true);
                    }
                }
            }
            3 if cuts && !model.bytes.is_empty() => {
                let len = random.below(model.bytes.len() as u64) as usize;
                volume.truncate(handle, len as u32).unwrap();
                model.bytes.truncate(len);
                model.durable = model.durable.min(len);
                model.take += 1;
            }
            4 => volume.trim(handle).unwrap(),
            5 => volume.reserve(handle, CHUNK).unwrap(),
            _ => {
                let room = CHUNK as u64 - model.bytes.len() as u64;
                let most = if random.below(2) == 0 { 300 } else { 90_000 };
                let len = random.below(most).min(room);
                let data = pattern(handle, model.take, model.bytes.len(), len as usize);
                append(volume, handle, &data).unwrap();
                model.bytes.extend(data);
            }
        }
    }
    chunks
}

#[test]
fn clean_chunks_are_whole_and_synced_bytes_are_found() {
    let (mut clean, mut suspect, mut missing, mut shorter) = (0, 0, 0, 0);
    for seed in 0..400 {
        let files = FaultyFiles::new(seed);
        let mut random = Random(seed);
        let volume = open(&files, BOOT);
        let chunks = run(&volume, &mut random, true);
        drop(volume);
        files.lose_power();

        let volume = open(&files, NEXT_BOOT);
        let scan = volume.scan(1).unwrap();
        assert!(scan.unreadable.is_empty(), "{scan:?}");
        let entries: BTreeMap<ChunkHandle, &ScanEntry> =
            scan.entries.iter().map(|entry| (entry.handle(), entry)).collect();
        for (handle, model) in &chunks {
            let state = match entries.get(handle) {
                Some(ScanEntry::Chunk(state)) => state,
                entry => {
                    assert!(!model.ever_synced, "seed {seed}: {handle} was synced, now {entry:?}");
                    missing += 1;
                    continue;
                }
            };
            if state.flags.clean && !state.flags.suspect {
                clean += 1;
                assert!(read_all(&volume, *handle).unwrap() == model.bytes, "seed {seed} {handle}");
                assert!(volume.verify(*handle).unwrap().damaged.is_empty());
                continue;
            }
            suspect += 1;
            assert!(state.flags.suspect, "seed {seed}: {handle} is unclean and trusted");
            assert!(matches!(append(&volume, *handle, b"x"), Err(StoreError::Suspect(_))));
            let verified = volume.verify(*handle).unwrap();
            let prefix = verified.prefix;
            assert!(
                prefix.length as usize >= model.durable,
                "seed {seed}: {handle} had {} durable bytes, found {verified:?} {state:?}",
                model.durable
            );
            shorter += u64::from((prefix.length as usize) < model.bytes.len());
            // Made the truth, it is what was written: nothing else can have the same checksums.
            let trust = StateChange { content: Some(prefix), trusted: true, ..Default::default() };
            volume.set_state(*handle, &trust, true).unwrap();
            let bytes = read_all(&volume, *handle).unwrap();
            assert_eq!(bytes.len(), prefix.length as usize);
            assert!(bytes[..model.durable] == model.bytes[..model.durable], "seed {seed} {handle}");
            assert!(!volume.state(*handle).unwrap().flags.suspect);
            if bytes.len() < CHUNK as usize {
                append(&volume, *handle, b"x").unwrap();
            }
        }
    }
    // The test would show nothing if one of these never happened.
    println!("clean {clean}, suspect {suspect}, shorter {shorter}, missing {missing}");
    assert!(clean > 50 && suspect > 50 && shorter > 20 && missing > 5);
}

/// A disk that lies about syncing: nobody can keep promises on it, but no wrong byte comes out.
#[test]
fn a_disk_that_loses_syncs_returns_no_wrong_byte() {
    let mut damaged = 0;
    for seed in 0..150 {
        let files = FaultyFiles::new(seed);
        let volume = open(&files, BOOT);
        for (kind, skip) in [(OperationKind::Sync, seed % 3), (OperationKind::SyncDir, seed % 2)] {
            let path = "chunks".to_owned();
            files.inject(Rule { kind, path, skip, times: 1000, fault: Fault::LostSync });
        }
        let chunks = run(&volume, &mut Random(seed), false);
        drop(volume);
        files.lose_power();
        let volume = open(&files, NEXT_BOOT);
        volume.scan(1).unwrap();
        for (handle, model) in chunks {
            let Ok(state) = volume.state(handle) else { continue };
            let length = state.content.length;
            assert!(length as usize <= model.bytes.len());
            for at in (0..length).step_by(BLOCK) {
                match volume.read(handle, at, BLOCK as u32) {
                    Ok(read) => {
                        let at = at as usize;
                        assert!(read.data == model.bytes[at..at + read.data.len()]);
                    }
                    Err(error) => {
                        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
                        damaged += 1;
                    }
                }
            }
        }
    }
    assert!(damaged > 10, "{damaged} damaged blocks");
}

/// A sync beside a writer: bytes after the synced ones, in the same block, may be lost without
/// taking the synced ones along.
#[test]
fn synced_bytes_outlive_lost_ones_in_their_block() {
    let mut partial = 0;
    for seed in 0..200 {
        let files = FaultyFiles::new(seed);
        let volume = open(&files, BOOT);
        volume.create(new_chunk(H)).unwrap();
        let data = pattern(H, 0, 0, 60_000);
        append(&volume, H, &data[..30_000]).unwrap();
        volume.sync(H).unwrap();
        append(&volume, H, &data[30_000..45_000]).unwrap();
        append(&volume, H, &data[45_000..]).unwrap();
        drop(volume);
        files.lose_power();
        let volume = open(&files, NEXT_BOOT);
        let verified = volume.verify(H).unwrap();
        assert!([30_000, 45_000, 60_000].contains(&verified.prefix.length), "{verified:?}");
        partial += u64::from(!verified.damaged.is_empty() && verified.prefix.length == 30_000);
    }
    assert!(partial > 10, "{partial}");
}

#[test]
fn the_same_boot_trusts_what_was_written_and_another_does_not() {
    let files = FaultyFiles::new(1);
    let volume = open(&files, BOOT);
    volume.create(new_chunk(H)).unwrap();
    append(&volume, H, b"abc").unwrap();
    drop(volume);
    files.restart();
    let volume = open(&files, BOOT);
    assert!(!volume.state(H).unwrap().flags.suspect);
    append(&volume, H, b"def").unwrap();
    drop(volume);
    files.restart();
    // A header written under the new boot does not whitewash the chunk.
    for _ in 0..2 {
        let volume = open(&files, NEXT_BOOT);
        let state = volume.state(H).unwrap();
        assert!(state.flags.suspect && !state.flags.clean);
        let promised = Some(state.promised.next());
        change(&volume, H, StateChange { promised, ..Default::default() }).unwrap();
        assert!(!volume.close(H).unwrap(), "suspect chunks do not become clean");
        assert_eq!(read_all(&volume, H).unwrap(), b"abcdef");
        drop(volume);
        files.restart();
    }
}

/// What happens beside a sync is not covered by it, and does not take away what is.
#[test]
fn changes_beside_a_sync() {
    type Change = fn(&Volume);
    let promise = |volume: &Volume| {
        let promised = Some(volume.state(H).unwrap().promised.next());
        change(volume, H, StateChange { promised, ..Default::default() }).unwrap();
    };
    let (before, after) = (pattern(H, 0, 0, 30_000), pattern(H, 0, 30_000, 20_000));
    let changes: [(Change, bool); 3] = [
        (|volume| assert!(append(volume, H, &pattern(H, 0, 30_000, 20_000)).is_ok()), false),
        (|volume| volume.truncate(H, 10_000).unwrap(), true),
        (|volume| drop(replace(volume, H, 0, &pattern(H, 5, 0, BLOCK)).unwrap()), true),
    ];
    let mut lost = 0;
    for (index, (beside, cuts)) in changes.into_iter().enumerate() {
        for seed in 0..120 {
            let files = FaultyFiles::new(seed);
            let volume = std::sync::Arc::new(open(&files, BOOT));
            volume.create(new_chunk(H)).unwrap();
            append(&volume, H, &before).unwrap();
            if index == 2 {
                promise(&volume); // blocks are replaced in a version change
            }
            let inside = std::sync::Mutex::new(Some(std::sync::Arc::clone(&volume)));
            files.set_hook(Some(std::sync::Arc::new(move |operation, moment| {
                // After the file was synced, or before.
                let when = if seed % 3 == 0 { Moment::Before } else { Moment::After };
                if (operation.kind, moment) == (OperationKind::Sync, when) {
                    let volume = inside.lock().unwrap().take();
                    volume.iter().for_each(|volume| beside(volume));
                }
            })));
            let close = seed % 4 < 2;
            if close {
                assert!(!volume.close(H).unwrap(), "changed meanwhile, and called clean");
            } else {
                volume.sync(H).unwrap();
            }
            assert!(!volume.state(H).unwrap().flags.clean);
            files.set_hook(None);
            if !close && !cuts {
                // More in the same block, never synced.
                append(&volume, H, &pattern(H, 0, 50_000, 5_000)).unwrap();
            }
            drop(volume);
            files.lose_power();
            let volume = open(&files, NEXT_BOOT);
            assert!(volume.state(H).unwrap().flags.suspect);
            let verified = volume.verify(H).unwrap();
            lost += u64::from(!verified.damaged.is_empty());
            let prefix = verified.prefix;
            volume
                .set_state(
                    H,
                    &StateChange { content: Some(prefix), trusted: true, ..Default::default() },
                    true,
                )
                .unwrap();
            let bytes = read_all(&volume, H).unwrap();
            if !cuts && !close {
                assert!(bytes.len() >= before.len(), "seed {seed}: {verified:?}");
            }
            if index < 2 {
                let all = [&before[..], &after, &pattern(H, 0, 50_000, 5_000)].concat();
                assert!(bytes == all[..bytes.len()], "seed {seed}");
            }
        }
    }
    assert!(lost > 20, "{lost}");
}

/// Of a chunk whose bytes were acknowledged as durable an overwrite leaves the old ones or the new,
/// also when power fails in the middle of it; and takes nothing durable with it.
#[test]
fn power_loss_leaves_durable_bytes_old_or_overwritten() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..500 {
        let files = FaultyFiles::new(seed);
        let mut random = Random(seed);
        let volume = open(&files, BOOT);
        volume.create(new_chunk(H)).unwrap();
        let mut before = pattern(H, 0, 0, 1 + random.below(150_000) as usize);
        append(&volume, H, &before).unwrap();
        volume.sync(H).unwrap();
        let mut durable = before.clone();
        for take in 1..random.below(6) + 1 {
            let room = CHUNK as usize - before.len();
            if random.below(3) == 0 {
                let len = random.below(20_000).min(room as u64) as usize;
                let data = pattern(H, take, before.len(), len);
                append(&volume, H, &data).unwrap();
                before.extend(data);
            } else {
                let (at, data) = some_overwrite(&mut random, take, &before);
                write(&volume, H, at as u32, &data, Cut::Chunk).unwrap();
                before = overwritten(&before, at, &data);
                durable.clone_from(&before);
            }
        }
        // Killed at any step of one more, and perhaps behind it.
        let (at, data) = some_overwrite(&mut random, 100, &before);
        let after = overwritten(&before, at, &data);
        files.kill_at(1 + random.below(12));
        if write(&volume, H, at as u32, &data, Cut::Chunk).is_ok() {
            (before, durable) = (after.clone(), after.clone());
        }
        drop(volume);
        files.lose_power();

        let volume = open(&files, NEXT_BOOT);
        let state = volume.state(H).unwrap();
        assert!(state.flags.suspect && !state.flags.clean);
        let prefix = volume.verify(H).unwrap().prefix;
        let trust = StateChange { content: Some(prefix), trusted: true, ..Default::default() };
        volume.set_state(H, &trust, true).unwrap();
        let bytes = read_all(&volume, H).unwrap();
        if bytes == after {
            new += 1;
        } else {
            assert!(bytes.len() >= durable.len(), "seed {seed}: {} bytes", bytes.len());
            assert!(bytes == before[..bytes.len()], "seed {seed}");
            old += 1;
        }
        drop(volume);
        files.lose_power();
        // What was carried out and trusted is durable.
        assert!(read_all(&open(&files, NEXT_BOOT), H).unwrap() == bytes, "seed {seed}");
    }
    println!("old {old}, new {new}");
    assert!(old > 50 && new > 50, "{old} {new}");
}

fn some_overwrite(random: &mut Random, take: u64, content: &[u8]) -> (usize, Vec<u8>) {
    let at = random.below(content.len() as u64);
    let most = if random.below(2) == 0 { 500 } else { 140_000 };
    let len = (1 + random.below(most)).min(u64::from(CHUNK) - at);
    (at as usize, pattern(H, take, at as usize, len as usize))
}

fn overwritten(content: &[u8], at: usize, data: &[u8]) -> Vec<u8> {
    let mut after = content.to_vec();
    after.resize(after.len().max(at + data.len()), 0);
    after[at..at + data.len()].copy_from_slice(data);
    after
}
