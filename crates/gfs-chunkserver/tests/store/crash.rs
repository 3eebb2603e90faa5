//! A process killed at every step of every operation loses nothing that was acknowledged.

use crate::rig::*;
use gfs_chunkserver::files::FaultyFiles;
use gfs_chunkserver::store::{
    Cut, Extent, NewChunk, Position, ScanEntry, StateChange, StoreResult, Volume,
};
use gfs_types::{ChunkHandle, Millis, Serial, Version};
use std::path::Path;
use std::sync::Arc;

const CLONE: ChunkHandle = ChunkHandle(0x77);

/// What a chunk is expected to be; `None` when it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    bytes: Vec<u8>,
    promised: u64,
    complete: u64,
    serial: u64,
    sealed: bool,
    incomplete: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Create,
    CreateZeros(usize),
    Append(usize),
    /// A record, with the checksums of its own blocks.
    Record(usize),
    Overwrite(usize, usize),
    Truncate(usize),
    Promise,
    Complete,
    Sync,
    Close,
    Background(u64),
    Reserve,
    Trim,
    Seal,
    CreateClone,
    FillClone,
    FinishClone,
    DeleteClone,
    Delete,
}

const SCRIPT: &[Step] = &[
    Step::Create,
    Step::Append(100),
    Step::Append(70_000),
    Step::Reserve,
    Step::Append(0),
    Step::Close,
    Step::Append(61_000), // ends in the next block, after having been clean
    Step::Sync,
    Step::Background(0),
    Step::Background(2_500),
    Step::Append(1),
    Step::CreateClone,
    Step::FillClone,
    Step::FinishClone,
    Step::Promise,
    Step::Complete,
    Step::Append(100_000),
    Step::Truncate(80_000),
    Step::Append(5_000),
    Step::Promise,
    Step::Truncate(65_536),
    Step::Complete,
    Step::Trim,
    Step::Append(65_536),
    Step::DeleteClone,
    Step::Close,
    Step::Seal,
    Step::Delete,
];

/// Several of these happen to one chunk of zeros.
const OVERWRITES: &[Step] = &[
    Step::CreateZeros(100_000),
    Step::Overwrite(10, 20),
    Step::Overwrite(0, 65_536),
    Step::Record(70_000),
    Step::Overwrite(65_500, 100),
    Step::Overwrite(30_000, 150_000), // beyond the end
    Step::Sync,                       // from here on records are synced
    Step::Overwrite(131_000, 45_000),
    Step::Close,
    Step::Overwrite(65_536, 65_536),
    Step::Append(1_000),
    Step::Overwrite(65_536, 65_536),
    Step::Truncate(100_000),
    Step::Overwrite(99_999, 90_000),
    Step::Promise,
    Step::Complete,
    Step::Overwrite(5, 131_072),
    Step::Background(0),
    Step::Background(2_500),
    Step::Overwrite(1, 1),
    Step::Seal,
];

impl Step {
    fn handle(self) -> ChunkHandle {
        match self {
            Self::CreateClone | Self::FillClone | Self::FinishClone | Self::DeleteClone => CLONE,
            _ => H,
        }
    }

    /// The state after the step.
    fn expect(self, before: Option<&Model>) -> Option<Model> {
        let mut after = before.cloned().unwrap_or(Model {
            bytes: Vec::new(),
            promised: 1,
            complete: 1,
            serial: 0,
            sealed: false,
            incomplete: false,
        });
        match self {
            Self::Append(len) => {
                let at = after.bytes.len();
                after.bytes.extend(pattern(H, after.complete, at, len));
                after.serial += 1;
            }
            Self::Record(len) => {
                let at = after.bytes.len();
                after.bytes.extend(pattern(H, 50, at, len));
                after.serial += 1;
            }
            Self::Overwrite(at, len) => {
                let end = at + len;
                after.bytes.resize(after.bytes.len().max(end), 0);
                after.serial += 1;
                after.bytes[at..end].copy_from_slice(&pattern(H, 100 + after.serial, at, len));
            }
            Self::CreateZeros(len) => after.bytes = vec![0; len],
            Self::Truncate(len) => after.bytes.truncate(len),
            Self::Promise => after.promised += 1,
            Self::Complete => {
                after.complete = after.promised;
                after.serial = 0;
            }
            Self::Seal => after.sealed = true,
            Self::CreateClone => {
                after.promised = 3;
                after.complete = 0;
                after.incomplete = true;
            }
            Self::FinishClone => {
                after.bytes = clone_bytes();
                after.complete = 3;
                after.serial = 17;
                after.incomplete = false;
            }
            Self::Delete | Self::DeleteClone => return None,
            _ => {}
        }
        Some(after)
    }

    fn run(self, volume: &Volume, before: Option<&Model>) -> StoreResult<()> {
        let handle = self.handle();
        match self {
            Self::Create => volume.create(new_chunk(handle)),
            Self::Append(len) => {
                let before = before.unwrap();
                let data = pattern(H, before.complete, before.bytes.len(), len);
                append(volume, handle, &data).map(drop)
            }
            Self::Record(len) => {
                let at = before.unwrap().bytes.len();
                write(volume, handle, at as u32, &pattern(H, 50, at, len), Cut::Mutation).map(drop)
            }
            Self::Overwrite(at, len) => {
                let take = 101 + before.unwrap().serial;
                write(volume, handle, at as u32, &pattern(H, take, at, len), Cut::Chunk).map(drop)
            }
            Self::CreateZeros(len) => {
                volume.create(NewChunk { length: len as u32, ..new_chunk(handle) })
            }
            Self::Truncate(len) => volume.truncate(handle, len as u32),
            Self::Promise => {
                let promised = Some(Version(before.unwrap().promised + 1));
                let change = StateChange { promised, ..Default::default() };
                volume.set_state(handle, &change, true)
            }
            Self::Complete => {
                let version = Version(before.unwrap().promised);
                let complete = Some(Position { version, serial: Serial(0) });
                change(volume, handle, StateChange { complete, ..Default::default() })
            }
            Self::Sync => volume.sync(handle),
            Self::Close => volume.close(handle).map(drop),
            Self::Background(now) => {
                volume.background_sync(Millis(now));
                Ok(())
            }
            Self::Reserve => volume.reserve(handle, CHUNK),
            Self::Trim => volume.trim(handle),
            Self::Seal => volume.seal(handle),
            Self::CreateClone => {
                let place = new_chunk(handle).place;
                let (promised, complete) = (Version(3), Version(0));
                let new = new_chunk(handle);
                volume.create(NewChunk { place, promised, complete, incomplete: true, ..new })
            }
            Self::FillClone => {
                let bytes = clone_bytes();
                replace(volume, handle, 1, &bytes[BLOCK..])?;
                replace(volume, handle, 0, &bytes[..BLOCK]).map(drop)
            }
            Self::FinishClone => {
                let bytes = clone_bytes();
                let tail = gfs_types::Crc::of(&bytes[BLOCK..]);
                let finish = StateChange {
                    complete: Some(Position { version: Version(3), serial: Serial(17) }),
                    content: Some(Extent { length: bytes.len() as u32, tail }),
                    incomplete: Some(false),
                    ..Default::default()
                };
                volume.set_state(handle, &finish, true)
            }
            Self::Delete | Self::DeleteClone => volume.delete(handle, Version(9)),
        }
    }
}

fn clone_bytes() -> Vec<u8> {
    pattern(CLONE, 0, 0, BLOCK + 1000)
}

fn found(volume: &Volume, handle: ChunkHandle) -> Option<Model> {
    let state = match volume.state(handle) {
        Err(gfs_chunkserver::store::StoreError::UnknownChunk(_)) => return None,
        state => state.unwrap(),
    };
    assert!(!state.flags.suspect, "a killed process leaves no doubt: {state:?}");
    Some(Model {
        bytes: read_all(volume, handle).unwrap(),
        promised: state.promised.0,
        complete: state.complete.version.0,
        serial: state.complete.serial.0,
        sealed: state.flags.sealed,
        incomplete: state.flags.incomplete,
    })
}

#[test]
fn a_kill_at_every_step_keeps_what_was_acknowledged() {
    let kills = kill_at_every_step(SCRIPT);
    assert!(kills > 60, "{kills} kills");
}

#[test]
fn a_kill_at_every_step_of_an_overwrite_leaves_old_or_new() {
    let kills = kill_at_every_step(OVERWRITES);
    assert!(kills > 100, "{kills} kills");
}

fn kill_at_every_step(script: &[Step]) -> u64 {
    let mut kills = 0;
    for (index, step) in script.iter().enumerate() {
        for kill in 1.. {
            let files = FaultyFiles::new(kill * 1000 + index as u64);
            let volume = open(&files, BOOT);
            let (mut chunk, mut clone) = (None, None);
            for done in &script[..index] {
                let model = if done.handle() == H { &mut chunk } else { &mut clone };
                done.run(&volume, model.as_ref()).unwrap();
                *model = done.expect(model.as_ref());
            }
            let (model, other, other_handle) = match step.handle() {
                H => (&chunk, &clone, CLONE),
                _ => (&clone, &chunk, H),
            };
            files.kill_at(kill);
            let result = step.run(&volume, model.as_ref());
            let was_killed = files.is_killed();
            let after = step.expect(model.as_ref());
            drop(volume);
            files.restart();

            let volume = open(&files, BOOT);
            let scan = volume.scan(2).unwrap();
            assert!(scan.unreadable.is_empty() && scan.strangers.is_empty(), "{scan:?}");
            assert!(scan.entries.iter().all(|entry| matches!(entry, ScanEntry::Chunk(_))));
            let now = found(&volume, step.handle());
            // Acknowledged, or not and then either way: never in between.
            let acknowledged = result.is_ok();
            assert!(
                now == after || (!acknowledged && now == *model),
                "{step:?} killed at {kill}, acknowledged {acknowledged}: {:?}",
                now.map(|now| (now.bytes.len(), now.serial, now.promised, now.complete))
            );
            assert_eq!(&found(&volume, other_handle), other, "another chunk changed");
            // And it goes on.
            if let Some(now) = now.filter(|now| !now.sealed && !now.incomplete)
                && now.promised == now.complete
                && now.bytes.len() < CHUNK as usize
            {
                append(&volume, step.handle(), b"more").unwrap();
                assert_eq!(
                    read_all(&volume, step.handle()).unwrap(),
                    [&now.bytes[..], b"more"].concat()
                );
            }
            if !was_killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[test]
fn a_kill_while_a_volume_is_made_leaves_one_that_can_be_made() {
    for kill in 1.. {
        let files = FaultyFiles::new(kill);
        files.kill_at(kill);
        let made = open_in(Arc::new(files.clone()), Path::new(DIR), BOOT);
        let was_killed = files.is_killed();
        assert_eq!(made.is_err(), was_killed);
        drop(made);
        files.restart();
        let volume = open(&files, BOOT);
        volume.create(new_chunk(H)).unwrap();
        assert_eq!(volume.record().cluster, Some(CLUSTER));
        if !was_killed {
            assert!(kill > 250);
            break;
        }
    }
}

#[test]
fn a_kill_while_the_epoch_is_stored_leaves_the_old_or_the_new() {
    use gfs_types::{CommitSequence, Epoch};
    for kill in 1.. {
        let files = FaultyFiles::new(kill);
        let volume = open(&files, BOOT);
        volume.persist_epoch(Epoch(3), CommitSequence(30)).unwrap();
        files.kill_at(kill);
        let stored = volume.persist_epoch(Epoch(4), CommitSequence(40)).is_ok();
        let was_killed = files.is_killed();
        drop(volume);
        // Power loss besides: what was stored is durable.
        files.lose_power();
        let record = open(&files, NEXT_BOOT).record();
        let now = (record.epoch.0, record.sequence.0);
        assert!(now == (4, 40) || (!stored && now == (3, 30)), "{now:?} after kill at {kill}");
        if !was_killed {
            break;
        }
    }
}
