//! Random calls against a plain vector of bytes, with restarts.

use crate::rig::*;
use gfs_chunkserver::files::FaultyFiles;
use gfs_chunkserver::store::{Cut, NewChunk, Position, StateChange};
use gfs_types::{BlockSums, Crc, Millis, Serial, Version};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Append(usize),
    /// At an offset by its share of the content, with checksums of the chunk's or its own blocks.
    Write(u32, usize, bool),
    Read(u32, u32),
    Truncate(u32),
    NewVersion,
    Close,
    Sync,
    Background,
    Trim,
    Reserve(u32),
    Restart,
    Checksums,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (0usize..100_000).prop_map(Call::Append),
        3 => (0usize..300).prop_map(Call::Append),
        5 => (any::<u32>(), 0usize..100_000, any::<bool>()).prop_map(|(at, len, own)| Call::Write(at, len, own)),
        5 => (any::<u32>(), 1usize..300, any::<bool>()).prop_map(|(at, len, own)| Call::Write(at, len, own)),
        6 => (0..=CHUNK, 0..=CHUNK).prop_map(|(at, len)| Call::Read(at, len)),
        1 => (0..=CHUNK).prop_map(Call::Truncate),
        1 => Just(Call::NewVersion),
        1 => Just(Call::Close),
        1 => Just(Call::Sync),
        1 => Just(Call::Background),
        1 => Just(Call::Trim),
        1 => (0..=CHUNK).prop_map(Call::Reserve),
        2 => Just(Call::Restart),
        1 => Just(Call::Checksums),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_vector_of_bytes(
        calls in proptest::collection::vec(call(), 1..60), seed: u64, zeros in 0..CHUNK, begins_with_zeros: bool,
    ) {
        let files = FaultyFiles::new(seed);
        let mut volume = open(&files, BOOT);
        let length = if begins_with_zeros { zeros } else { 0 };
        volume.create(NewChunk { length, ..new_chunk(H) }).unwrap();
        let mut bytes = vec![0; length as usize];
        let (mut version, mut serial, mut now) = (1, 0, 0);
        for (take, call) in calls.into_iter().enumerate() {
            match call {
                Call::Append(len) => {
                    let data = pattern(H, take as u64, bytes.len(), len);
                    let result = append(&volume, H, &data);
                    if bytes.len() + len > CHUNK as usize {
                        prop_assert!(result.is_err());
                    } else {
                        bytes.extend(data);
                        serial += 1;
                        prop_assert_eq!(result.unwrap() as usize, bytes.len());
                    }
                }
                Call::Write(at, len, own) => {
                    let at = ((u64::from(at) * (bytes.len() as u64 + 1)) >> 32) as usize;
                    let cut = if own { Cut::Mutation } else { Cut::Chunk };
                    let data = pattern(H, take as u64, at, len);
                    let result = write(&volume, H, at as u32, &data, cut);
                    let end = at + len;
                    if end > CHUNK as usize {
                        prop_assert!(result.is_err());
                    } else {
                        bytes.resize(bytes.len().max(end), 0);
                        bytes[at..end].copy_from_slice(&data);
                        serial += 1;
                        prop_assert_eq!(result.unwrap() as usize, bytes.len());
                        prop_assert_eq!(volume.window(H).unwrap().offset(9, serial), Some(at as u32));
                    }
                }
                Call::Read(at, len) => {
                    let read = volume.read(H, at, len).unwrap();
                    let begin = (at as usize).min(bytes.len());
                    let end = (begin + len as usize).min(bytes.len());
                    prop_assert!(read.data == bytes[begin..end]);
                    prop_assert_eq!(read.length as usize, bytes.len());
                    prop_assert_eq!(read.sums, BlockSums::of(at, &[read.data]));
                }
                Call::Truncate(len) => {
                    let result = volume.truncate(H, len);
                    prop_assert_eq!(result.is_ok(), len as usize <= bytes.len());
                    bytes.truncate(len as usize);
                }
                Call::NewVersion => {
                    (version, serial) = (version + 1, 0);
                    let complete = Position { version: Version(version), serial: Serial(0) };
                    let state = StateChange { promised: Some(Version(version)), complete: Some(complete), ..Default::default() };
                    volume.set_state(H, &state, take % 2 == 0).unwrap();
                }
                Call::Close => prop_assert!(volume.close(H).unwrap()),
                Call::Sync => volume.sync(H).unwrap(),
                Call::Background => {
                    now += 1_100;
                    volume.background_sync(Millis(now));
                }
                Call::Trim => volume.trim(H).unwrap(),
                Call::Reserve(upto) => volume.reserve(H, upto).unwrap(),
                Call::Restart => {
                    drop(volume);
                    files.restart();
                    volume = open(&files, BOOT);
                    prop_assert_eq!(volume.scan(1).unwrap().entries.len(), 1);
                }
                Call::Checksums => {
                    let sums = volume.checksums(H).unwrap();
                    let expected: Vec<Crc> = bytes.chunks(BLOCK).map(Crc::of).collect();
                    prop_assert_eq!(sums.sums, expected);
                }
            }
            let state = volume.state(H).unwrap();
            prop_assert_eq!(state.content.length as usize, bytes.len());
            prop_assert_eq!((state.complete.version.0, state.complete.serial.0), (version, serial));
            prop_assert!(state.synced.1.length <= state.content.length);
        }
        prop_assert!(read_all(&volume, H).unwrap() == bytes);
        prop_assert!(volume.verify(H).unwrap().damaged.is_empty());
    }
}
