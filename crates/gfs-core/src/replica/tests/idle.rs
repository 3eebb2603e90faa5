//! Streams that hold memory and do nothing.

use super::*;

/// A primary, alone, that ends idle streams after a second.
fn primary() -> One {
    let mut one = One::absent(1);
    one.replica = Replica::absent(Settings { idle_limit: IDLE_LIMIT, ..settings(1) }, 5);
    one.command(Body::Grant(grant(1, &[1], 0)));
    one.disk(Ok(()));
    one.push(1, open(1, 9, 0, &[]));
    one
}

fn ended(out: &[Output<Payload>]) -> bool {
    let closed = out.iter().any(|output| matches!(output, Output::Close { .. }));
    assert_eq!(closed, failed(out).map(|f| f.0) == Some(ErrorCode::Cancelled), "{out:?}");
    closed
}

fn uncommitted(sequence: u64, offset: u32) -> (PushBody, Payload) {
    let (PushBody::Slice(head), payload) = slice(sequence, offset, b"abc") else { panic!() };
    (PushBody::Slice(pb::Slice { commit: false, ..head }), payload)
}

#[test]
fn an_idle_stream_is_ended_and_its_writer_goes_on_with_another() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    assert!(!ended(&one.wait(5_000)), "the disk has not written it");
    assert_eq!(acknowledged(&one.disk(Ok(()))), Some((1, 3)));
    assert!(!ended(&one.wait(900)));
    one.slice(1, slice(2, 3, b"d"));
    one.disk(Ok(()));
    assert!(!ended(&one.wait(900)), "what came in between starts the wait anew");
    assert!(ended(&one.wait(200)));
    assert_eq!(one.replica.primary_at(), Some(1), "the role stays");
    let out = one.push(2, open(1, 9, 0, &[]));
    assert!(matches!(
        replies(&out).as_slice(),
        [ReplyBody::Opened(pb::PushOpened { sequence: 2, length: 4, .. })]
    ));
    one.slice(2, slice(3, 4, b"e"));
    assert_eq!(acknowledged(&one.disk(Ok(()))), Some((3, 5)));
    // A stream on which nothing ever came.
    one.push(3, open(1, 8, 0, &[]));
    assert!(ended(&one.wait(1_100)));
}

#[test]
fn what_is_pushed_and_never_committed_is_held_for_a_minute() {
    let mut one = primary();
    one.slice(1, uncommitted(1, 0));
    assert!(!ended(&one.wait(40_000)));
    one.slice(1, uncommitted(2, 3));
    assert!(!ended(&one.wait(59_000)), "the writer has said something since");
    assert!(ended(&one.wait(1_100)));
    // It pushes them again, and more.
    one.push(2, open(1, 9, 0, &[]));
    one.slice(2, uncommitted(1, 0));
    assert!(written(&one.slice(2, slice(2, 3, b"xyz"))).is_some());
}

#[test]
fn a_stream_holds_so_many_mutations_however_small() {
    let mut one = primary();
    one.credit = u32::MAX;
    one.push(2, open(1, 8, 0, &[]));
    for sequence in 1..=MAX_HELD as u64 {
        assert_eq!(failed(&one.slice(2, uncommitted(sequence, 0))), None);
    }
    let out = one.slice(2, uncommitted(MAX_HELD as u64 + 1, 0));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::NoCredit));
    assert_eq!(one.replica.primary_at(), Some(1));
}

#[test]
fn where_memory_is_short_idle_streams_go_earlier_and_busy_ones_stay() {
    let mut one = primary();
    one.push(2, open(1, 8, 0, &[]));
    one.slice(2, uncommitted(1, 0));
    one.wait(200);
    assert!(!ended(&one.step(Event::Reclaim)), "its first slice may be on its way");
    one.wait(100);
    let out = one.step(Event::Reclaim);
    assert!(ended(&out) && replies(&out).len() == 1);
    assert!(matches!(out[0], Output::Reply { stream: StreamId(1), .. }), "{out:?}");
    assert!(!ended(&one.step(Event::Reclaim)));
}

#[test]
fn a_stream_is_not_idle_while_a_flush_or_the_end_is_awaited() {
    let mut one = primary();
    one.push(1, PushBody::Flush(pb::Flush { token: 1 }));
    assert!(!ended(&one.wait(5_000)));
    assert_eq!(replies(&one.disk(Ok(()))), [&ReplyBody::Flushed(pb::Flushed { token: 1 })]);
    one.push(1, PushBody::Finish(pb::Finish::default()));
    assert!(!ended(&one.wait(5_000)), "the disk has not sealed it");
    let out = one.disk(Ok(()));
    assert!(matches!(replies(&out).as_slice(), [ReplyBody::Finished(_)]), "{out:?}");
}

#[test]
fn members_behind_keep_a_stream_until_the_primary_ends_it() {
    let mut one = One::absent(2);
    one.replica = Replica::absent(Settings { idle_limit: IDLE_LIMIT, ..settings(2) }, 5);
    let behind = pb::Grant { lease: false, ..grant(1, &[1, 2], 0) };
    one.command(Body::Grant(behind));
    one.disk(Ok(()));
    one.push(1, open(1, 9, 1, &[]));
    assert!(one.wait(120_000).is_empty());
    assert!(one.step(Event::Reclaim).is_empty());
    let out = one.step(Event::Closed { stream: StreamId(1) });
    assert!(matches!(out.as_slice(), [Output::Close { .. }]), "{out:?}");
}
