//! Flushes, message by message.

use super::*;

fn flush(token: u64) -> PushBody {
    PushBody::Flush(pb::Flush { token })
}

fn flushed(token: u64) -> ReplyBody {
    ReplyBody::Flushed(pb::Flushed { token })
}

fn flushes(out: &[Output<Payload>]) -> bool {
    out.iter().any(|output| matches!(output, Output::Disk(DiskOp::Flush)))
}

/// A primary of two with a stream of writer 9, and its first mutation written here.
fn written_here() -> One {
    let mut one = One::granted(1, &[1, 2]);
    one.push(1, open(1, 9, 0, &[2]));
    one.opened_below(1);
    one.slice(1, slice(1, 0, b"abc"));
    assert_eq!(written(&one.down(1, ReplyBody::Held(pb::Held { through: 1 }))), Some(1));
    one.disk(Ok(()));
    one
}

#[test]
fn a_flush_waits_for_what_is_committed_and_for_every_member() {
    let mut one = written_here();
    assert!(one.push(1, flush(1)).is_empty(), "the member behind has not applied it");
    let out = one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    assert_eq!(acknowledged(&out), Some((1, 3)));
    assert_eq!(sent_down(&out), [&flush(1)]);
    assert!(flushes(&out));
    assert!(one.disk(Ok(())).is_empty(), "not there yet");
    assert_eq!(replies(&one.down(1, flushed(1))), [&flushed(1)]);
    // The other way round, and with nothing to wait for.
    let out = one.push(1, flush(2));
    assert!(flushes(&out) && sent_down(&out) == [&flush(2)]);
    assert!(one.down(1, flushed(2)).is_empty());
    assert_eq!(replies(&one.disk(Ok(()))), [&flushed(2)]);
}

#[test]
fn a_flush_covers_what_an_earlier_stream_of_the_writer_has_in_flight() {
    let mut one = written_here();
    one.step(Event::Closed { stream: StreamId(1) });
    one.push(2, open(1, 9, 0, &[2]));
    one.opened_below(2);
    one.slice(2, slice(1, 0, b"abc"));
    assert!(one.push(2, flush(1)).is_empty(), "the member behind has not applied it");
    let out = one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    assert_eq!(acknowledged(&out), Some((1, 3)));
    assert!(flushes(&out));
}

#[test]
fn a_member_flushes_and_speaks_for_all_below() {
    let mut one = One::granted(2, &[1, 2, 3]);
    one.push(1, open(1, 9, 1, &[3]));
    one.opened_below(1);
    let out = one.push(1, flush(1));
    assert!(flushes(&out) && sent_down(&out) == [&flush(1)]);
    assert!(one.disk(Ok(())).is_empty());
    assert_eq!(replies(&one.down(1, flushed(1))), [&flushed(1)]);
}

#[test]
fn flushes_that_come_together_cost_one_and_writes_have_their_turn() {
    let mut one = One::granted(1, &[1]);
    for (stream, writer) in [(1, 9), (2, 8)] {
        one.push(stream, open(1, writer, 0, &[]));
    }
    assert!(flushes(&one.push(1, flush(1))));
    // While the disk flushes: another flush, and a write.
    one.push(2, flush(1));
    one.push(1, flush(2));
    one.slice(1, slice(1, 0, b"abc"));
    let out = one.disk(Ok(()));
    assert_eq!((replies(&out), written(&out)), (vec![&flushed(1)], Some(1)));
    let out = one.disk(Ok(()));
    assert!(flushes(&out), "{out:?}");
    assert_eq!(replies(&one.disk(Ok(()))), [&flushed(2), &flushed(1)]);
}

#[test]
fn a_flush_that_fails_ends_the_role() {
    let mut one = One::granted(3, &[1, 2, 3]);
    one.push(1, open(1, 9, 2, &[]));
    one.push(1, flush(1));
    let out = one.disk(Err(disk_error()));
    assert_eq!(failed(&out), Some((ErrorCode::DiskError, 3, 0)));
}

#[test]
fn a_member_that_flushes_has_more_time() {
    let mut one = written_here();
    one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    one.push(1, flush(1));
    one.disk(Ok(()));
    // A write of another writer waits behind the flush there.
    one.push(2, open(1, 8, 0, &[2]));
    one.opened_below(2);
    one.slice(2, slice(1, 3, b"de"));
    assert!(one.wait(9_500).is_empty());
    assert_eq!(failed(&one.wait(1_000)), Some((ErrorCode::Unreachable, 2, 0)));
}

#[test]
fn hostile_flushes_end_their_stream_only() {
    for (tokens, code) in [
        (vec![0], ErrorCode::InvalidArgument),
        (vec![2], ErrorCode::InvalidArgument),
        (vec![1, 1], ErrorCode::InvalidArgument),
        ((1..=9).collect(), ErrorCode::ResourceExhausted),
    ] {
        let mut one = One::granted(1, &[1, 2]);
        one.push(1, open(1, 9, 0, &[2]));
        one.opened_below(1);
        let mut out = Vec::new();
        for token in &tokens {
            out = one.push(1, flush(*token));
        }
        assert_eq!(failed(&out).map(|f| f.0), Some(code), "{tokens:?}");
        assert_eq!(one.replica.primary_at(), Some(1));
    }
    // An answer to what was not asked.
    let mut one = written_here();
    assert_eq!(failed(&one.down(1, flushed(1))).map(|f| f.0), Some(ErrorCode::Unreachable));
    // Before the stream is open.
    let mut one = One::granted(1, &[1, 2]);
    one.push(1, open(1, 9, 0, &[2]));
    assert_eq!(failed(&one.push(1, flush(1))).map(|f| f.0), Some(ErrorCode::InvalidArgument));
}
