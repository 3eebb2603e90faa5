//! Messages of every kind with any numbers in them: each call has an answer, nothing panics, and
//! the tree and the store stay whole.

use gfs_proto::v1 as pb;
use gfs_types::{CommitSequence, Millis};
use proptest::prelude::*;

use super::world::{World, config};
use super::writing::sound;
use crate::brain::{BrainConfig, Event, Ordinal, Request, SessionId, Token};

/// Numbers that are often right, or just beside it, or absurd.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0_u64..12, 1 => Just(1 << 20), 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    number().prop_map(|number| number as u32)
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["/a", "/b", "/a/x", "/a/x/y", "/", "/f", "/g"])
            .prop_map(String::from),
        1 => any::<String>(),
    ]
}

fn finished() -> impl Strategy<Value = pb::FinishedChunk> {
    (number(), number(), small()).prop_map(|(handle, version, length)| pb::FinishedChunk {
        handle,
        version,
        length,
    })
}

fn header(world: &World, client: u64, sequence: u64, answered: u64) -> Option<pb::RequestHeader> {
    let mut header = world.header(client, sequence)?;
    header.answered_through = answered;
    Some(header)
}

#[derive(Clone, Debug)]
struct Words {
    path: String,
    other: String,
    numbers: [u64; 4],
    flags: [bool; 3],
    finished: Vec<pb::FinishedChunk>,
    unreachable: Vec<u32>,
}

fn words() -> impl Strategy<Value = Words> {
    (
        path(),
        path(),
        [number(), number(), number(), number()],
        any::<[bool; 3]>(),
        prop::collection::vec(finished(), 0..3),
        prop::collection::vec(small(), 0..3),
    )
        .prop_map(|(path, other, numbers, flags, finished, unreachable)| Words {
            path,
            other,
            numbers,
            flags,
            finished,
            unreachable,
        })
}

fn request(kind: u8, words: Words, header: Option<pb::RequestHeader>) -> Request {
    let Words { path, other, numbers: [a, b, c, d], flags: [f, g, h], finished, unreachable } =
        words;
    let blocks = f.then_some(pb::BlockRange { first: a as u32, count: b as u32 });
    match kind % 24 {
        0 => Request::Connect(pb::ConnectRequest { header, protocol_version: 1, place: None }),
        1 => Request::Stat(pb::StatRequest { header, path, inode: a }),
        2 => Request::List(pb::ListRequest { header, path, after: other, limit: a as u32 }),
        3 => Request::Mkdir(pb::MkdirRequest { header, path, parents: f, parent_inode: a }),
        4 => Request::Create(pb::CreateRequest {
            header,
            path,
            parents: f,
            empty: g,
            parent_inode: if h { a } else { 0 },
            ..Default::default()
        }),
        5 => Request::Open(pb::OpenRequest {
            header,
            path,
            inode: a,
            write: f,
            append: g,
            locations: b as u32,
            place: None,
        }),
        6 => Request::Locate(pb::LocateRequest {
            header,
            inode: a,
            offset: b,
            limit: c as u32,
            place: None,
        }),
        7 => Request::Allocate(pb::AllocateRequest {
            header,
            inode: a,
            index: b as u32,
            finished: finished.first().copied(),
            place: None,
        }),
        8 => Request::Recover(pb::RecoverRequest {
            header,
            inode: a,
            handle: b,
            version: c,
            unreachable,
            place: None,
        }),
        9 => Request::Sync(pb::SyncRequest { header, inode: a, last: finished.first().copied() }),
        10 => Request::Close(pb::CloseRequest { header, inode: a, finished, abandon: f && g }),
        11 => Request::Rename(pb::RenameRequest {
            header,
            from: path,
            to: other,
            inode: if f { a } else { 0 },
            replaced_inode: if g { b } else { 0 },
            replace: h,
        }),
        12 => Request::Remove(pb::RemoveRequest {
            header,
            path,
            inode: if f { a } else { 0 },
            recursive: g,
            skip_trash: h,
        }),
        13 => Request::ReportDamage(pb::ReportDamageRequest {
            header,
            handle: a,
            version: b,
            server: c as u32,
            blocks,
        }),
        14 => Request::Status(pb::StatusRequest { header }),
        15 => Request::ListServers(pb::ListServersRequest { header }),
        16 => Request::Fsck(pb::FsckRequest { header, path: String::new(), limit: d as u32 }),
        17 => Request::SetPodStates(pb::SetPodStatesRequest {
            header,
            pods: vec![pb::PodState {
                pod: path,
                pod_uid: other,
                ready: f,
                deleted: g,
                ..Default::default()
            }],
            complete: h,
        }),
        18 => Request::ListTrash(pb::ListTrashRequest { header, after: a, limit: b as u32 }),
        19 => Request::RestoreTrash(pb::RestoreTrashRequest {
            header,
            inode: a,
            path: if f { path } else { String::new() },
        }),
        20 => Request::EmptyTrash(pb::EmptyTrashRequest {
            header,
            inodes: if f { vec![a, b] } else { Vec::new() },
        }),
        21 => Request::Lease(pb::LeaseRequest {
            header,
            inode: a,
            offset: b,
            version: c % 4,
            unreachable: if f { vec![d as u32] } else { Vec::new() },
            place: None,
        }),
        22 => Request::Truncate(pb::TruncateRequest { header, inode: a, path, length: b }),
        _ => Request::SetMaintenance(pb::SetMaintenanceRequest {
            header,
            server: a as u32,
            maintenance: f,
        }),
    }
}

fn state(words: &Words) -> pb::ReplicaState {
    let [a, b, c, d] = words.numbers;
    pb::ReplicaState {
        handle: a,
        promised: b,
        complete: c,
        length: d as u32,
        serial: b,
        lease: words.flags[0],
        suspect: words.flags[1],
        ..Default::default()
    }
}

/// An event as a server that lies would cause it. Versions and handles above what was minted mean
/// that metadata was rolled back, which is another story: here they stay below.
fn lie(kind: u8, words: &Words, session: SessionId) -> Event {
    let [a, b, c, d] = words.numbers.map(|number| number % 12);
    let state = pb::ReplicaState { handle: a, promised: 1, complete: 1, ..state(words) };
    match kind % 5 {
        0 => Event::Result {
            session,
            result: pb::CommandResult {
                id: a,
                epoch: b % 3,
                handle: c,
                state: words.flags[2].then_some(state),
                ..Default::default()
            },
        },
        1 => Event::Heartbeat {
            session: SessionId(d),
            beat: pb::Heartbeat { session: d, sequence: a, ..Default::default() },
        },
        2 => Event::SessionBroken { session: SessionId(1_000 + d) },
        3 => Event::CommandsOpen { session: SessionId(1_000 + d) },
        _ => Event::Committed {
            // Nothing more than was sent.
            through: Ordinal(0),
            sequence: CommitSequence(0),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn no_message_does_harm(
        messages in prop::collection::vec((any::<u8>(), words(), 1_u64..4, 0_u64..40), 1..80),
    ) {
        // With a trash from which things go before the end.
        let config = BrainConfig { trash_period: Some(Millis(20_000)), ..config() };
        let mut world = World::with(config).and_servers(3);
        let mut calls: Vec<Token> = Vec::new();
        for (at, (kind, words, client, sequence)) in messages.into_iter().enumerate() {
            if at % 4 == 3 {
                let session = world.servers[at % 3].session.unwrap();
                let event = lie(kind, &words, session);
                world.step(event);
            } else {
                let answered = words.numbers[3].min(sequence.saturating_sub(3));
                let header = header(&world, client, sequence, answered);
                calls.push(world.call(request(kind, words, header)));
            }
            if at % 3 == 0 {
                world.settle();
            }
        }
        for server in 0..3 {
            world.servers[server].session = None;
            world.register(server);
        }
        world.run(Millis(70_000));
        for token in calls {
            prop_assert!(world.replies.remove(&token).is_some(), "{token:?} has no answer");
        }
        sound(&mut world);
    }
}
