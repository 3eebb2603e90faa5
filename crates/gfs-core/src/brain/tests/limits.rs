//! Limits of what clients can make wait, reached.

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};

use super::world::{World, config};
use super::writing::{create, next, sound};
use crate::brain::{Request, Token};

/// A file of one full chunk whose servers are all gone, so that every Recover waits.
fn unreachable(world: &mut World) -> (u64, pb::ChunkLocation) {
    let made = create(world, 7, "/f");
    let (inode, chunk) = (made.attributes.unwrap().inode, made.chunk.unwrap());
    world.write(&chunk, 700);
    for server in &mut world.servers {
        server.silent = true;
    }
    (inode, chunk)
}

/// Its writer asks for another version, as this operation.
fn recover(world: &mut World, inode: u64, chunk: &pb::ChunkLocation, sequence: u64) -> Token {
    let request = pb::RecoverRequest {
        header: world.header(7, sequence),
        inode,
        handle: chunk.handle,
        version: chunk.version,
        unreachable: vec![],
        place: None,
    };
    let token = world.call(Request::Recover(request));
    world.commit_all();
    token
}

fn refused(world: &World, token: Token) -> Option<ErrorCode> {
    world.replies.get(&token)?.as_ref().err().map(pb::ErrorDetail::error_code)
}

fn used(world: &World, of: &str) -> (usize, usize) {
    let usage = world.brain.usage().into_iter().find(|usage| usage.of == of).unwrap();
    (usage.used, usage.limit)
}

#[test]
fn calls_that_wait_for_version_changes_are_limited() {
    let mut config = config();
    config.limits.waiting = 5;
    let mut world = World::with(config).and_servers(3);
    let (inode, chunk) = unreachable(&mut world);
    for waiting in 1..=5 {
        let sequence = next(&world);
        let token = recover(&mut world, inode, &chunk, sequence);
        assert_eq!((refused(&world, token), used(&world, "waiting_calls")), (None, (waiting, 5)));
    }
    let sequence = next(&world);
    let token = recover(&mut world, inode, &chunk, sequence);
    assert_eq!(refused(&world, token), Some(ErrorCode::ResourceExhausted));
    // None of them waits for ever.
    world.run(Millis(61_000));
    assert_eq!(used(&world, "waiting_calls").0, 0);
    sound(&mut world);
}

#[test]
fn callers_that_wait_for_one_chunk_are_limited_and_so_are_their_repeats() {
    let mut world = World::with_servers(3);
    let (inode, chunk) = unreachable(&mut world);
    let first = next(&world);
    recover(&mut world, inode, &chunk, first);
    // A connection that breaks again and again brings the same call as often.
    for repeat in 1..=20 {
        let token = recover(&mut world, inode, &chunk, first);
        let expected = (repeat > 16).then_some(ErrorCode::ResourceExhausted);
        assert_eq!(refused(&world, token), expected, "repeat {repeat}");
    }
    for waiter in 2..=70 {
        let sequence = next(&world);
        let token = recover(&mut world, inode, &chunk, sequence);
        let expected = (waiter > 64).then_some(ErrorCode::Busy);
        assert_eq!(refused(&world, token), expected, "waiter {waiter}");
    }
    assert_eq!(used(&world, "waiting_calls").0, 64);
    assert_eq!(used(&world, "version_changes").0, 1);
}
