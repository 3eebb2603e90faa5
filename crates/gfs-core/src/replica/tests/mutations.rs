//! Mutations in several slices, and those that are appended, message by message.

use super::*;

const KIB: u32 = 1_024;

/// A single member, primary, with an open stream 1 of writer 9.
fn alone() -> One {
    let mut one = One::granted(1, &[1]);
    one.credit = 64 << 20;
    one.push(1, open(1, 9, 0, &[]));
    one
}

/// A primary of two with an open stream 1 of writer 9.
fn of_two() -> One {
    let mut one = One::granted(1, &[1, 2]);
    one.credit = 64 << 20;
    one.push(1, open(1, 9, 0, &[2]));
    one.opened_below(1);
    one
}

fn part(sequence: u64, offset: u32, length: u32, more: bool, append: bool) -> (PushBody, Payload) {
    let sums = vec![0; gfs_types::BlockSums::parts(offset, length) as usize];
    let (commit, bytes) = (true, vec![offset as u8; 3]);
    let slice = pb::Slice { sequence, offset, length, sums, commit, append, more };
    (PushBody::Slice(slice), bytes)
}

fn write(out: &[Output<Payload>]) -> Option<(u32, bool, Vec<u32>)> {
    out.iter().find_map(|output| match output {
        Output::Disk(DiskOp::Write { offset, append, parts, .. }) => {
            Some((*offset, *append, parts.iter().map(|part| part.length).collect()))
        }
        _ => None,
    })
}

#[test]
fn a_mutation_is_held_and_applied_whole() {
    let mut one = of_two();
    let out = one.slice(1, part(1, 0, BLOCK_SIZE, true, false));
    assert_eq!(sent_down(&out).len(), 1, "sent on as it comes");
    // A member that says it holds more than was sent whole is out of order; so it does not.
    let out = one.slice(1, part(1, BLOCK_SIZE, 100, false, false));
    let bodies = sent_down(&out);
    let [PushBody::Slice(last)] = bodies.as_slice() else { panic!("{out:?}") };
    assert_eq!((last.offset, last.more, last.commit), (BLOCK_SIZE, false, true));
    assert_eq!(write(&out), None);
    let out = one.down(1, ReplyBody::Held(pb::Held { through: 1 }));
    assert_eq!(write(&out), Some((0, false, vec![BLOCK_SIZE, 100])));
    one.disk(Ok(()));
    let out = one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    assert_eq!(acknowledged(&out), Some((1, BLOCK_SIZE + 100)));
    // The repeat is answered once it has come whole.
    assert!(one.slice(1, part(1, 0, BLOCK_SIZE, true, false)).is_empty());
    let out = one.slice(1, part(1, BLOCK_SIZE, 100, false, false));
    assert_eq!(places(&out), Some((1, vec![0])));
}

#[test]
fn a_member_says_that_it_holds_what_is_whole() {
    let mut one = One::granted(2, &[1, 2]);
    one.credit = 64 << 20;
    one.push(1, open(1, 9, 1, &[]));
    assert!(one.slice(1, part(1, 0, BLOCK_SIZE, true, true)).is_empty());
    let out = one.slice(1, part(1, BLOCK_SIZE, 7, false, true));
    assert_eq!(replies(&out), [&ReplyBody::Held(pb::Held { through: 1 })]);
    // Half a mutation cannot be applied.
    one.slice(1, part(2, 0, BLOCK_SIZE, true, true));
    let (serial, writer, offset) = (1, 9, 0);
    let apply = pb::Apply { serial, writer, sequence: 2, offset, ..Default::default() };
    let out = one.push(1, PushBody::Apply(apply));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::InvalidArgument));
}

#[test]
fn a_commit_in_the_middle_of_a_mutation_counts_for_those_before_it() {
    let mut one = of_two();
    one.slice(1, part(1, 0, BLOCK_SIZE, true, false));
    assert!(one.push(1, PushBody::Commit(pb::Commit { through: 1 })).is_empty());
    assert!(one.wait(10_000).is_empty(), "the member behind owes nothing");
}

#[test]
fn a_mutation_ahead_of_its_turn_is_sent_on_whole() {
    let mut one = of_two();
    let half = BLOCK_SIZE;
    assert!(one.slice(1, part(2, 100, half, true, false)).is_empty());
    assert!(one.slice(1, part(2, 100 + half, half - 100, false, false)).is_empty());
    let out = one.slice(1, slice(1, 0, &[0; 100]));
    let slices: Vec<_> = sent_down(&out)
        .into_iter()
        .filter_map(|body| match body {
            PushBody::Slice(s) => Some((s.sequence, s.offset, s.more)),
            _ => None,
        })
        .collect();
    assert_eq!(slices, [(1, 0, false), (2, 100, true), (2, 100 + half, false)]);
}

#[test]
fn records_go_to_the_end_and_the_writer_is_told_where() {
    let mut one = alone();
    one.push(2, open(1, 8, 0, &[]));
    assert_eq!(write(&one.slice(1, record(1, 10))), Some((0, true, vec![10])));
    one.slice(2, record(1, 20));
    one.slice(1, record(2, 30));
    assert_eq!(places(&one.disk(Ok(()))), Some((1, vec![0])));
    assert_eq!(places(&one.disk(Ok(()))), Some((1, vec![10])));
    assert_eq!(places(&one.disk(Ok(()))), Some((2, vec![30])));
    // The answer got lost: a repeat, or a new stream, tells it again.
    assert_eq!(places(&one.slice(1, record(2, 30))), Some((2, vec![0, 30])));
    let out = one.push(3, open(1, 9, 0, &[]));
    let opened = replies(&out).into_iter().find_map(|body| match body {
        ReplyBody::Opened(opened) => Some((opened.sequence, opened.offsets.clone())),
        _ => None,
    });
    assert_eq!(opened, Some((2, vec![0, 30])));
}

#[test]
fn a_record_that_does_not_fit_closes_the_chunk_to_everybody() {
    let mut one = of_two();
    one.push(2, open(1, 8, 0, &[2]));
    one.opened_below(2);
    for sequence in 1..=4 {
        one.slice(1, record(sequence, 255 * KIB));
    }
    one.down(1, ReplyBody::Held(pb::Held { through: 4 }));
    for _ in 0..4 {
        one.disk(Ok(()));
    }
    // Four KiB are left; four records are in flight.
    one.slice(2, record(1, 5 * KIB));
    let out = one.down(2, ReplyBody::Held(pb::Held { through: 1 }));
    assert!(out.is_empty(), "what is in flight comes first: {out:?}");
    assert!(one.slice(1, record(5, 1)).is_empty(), "not even one that would fit");
    assert!(one.slice(1, slice(6, 0, b"abc")).is_empty());
    let out = one.down(1, ReplyBody::Applied(pb::Applied { through: 4 }));
    let offsets = [0, 255, 510, 765].map(|k| k * KIB).to_vec();
    assert_eq!(places(&out), Some((4, offsets)));
    let finish = PushBody::Finish(pb::Finish { confirmed: 1_020 * KIB });
    assert_eq!(sent_down(&out), [&finish, &finish]);
    assert!(one.disk(Ok(())).is_empty());
    let finished = pb::Finished { version: 1, length: 1_020 * KIB, serial: 4 };
    let finished = ReplyBody::Finished(finished);
    assert_eq!(replies(&one.down(1, finished.clone())), [&finished]);
    assert_eq!(replies(&one.down(2, finished.clone())), [&finished]);
    // One that comes later hears the same, and so does who did not listen.
    one.push(3, open(1, 7, 0, &[2]));
    one.opened_below(3);
    assert_eq!(replies(&one.down(3, finished.clone())), [&finished]);
    assert_eq!(replies(&one.slice(1, record(5, 1))), [&finished]);
    let outcomes = one.replica.outcomes(1, 9).unwrap();
    assert_eq!((outcomes.sequence, outcomes.sealed, outcomes.offsets.len()), (4, true, 4));
    assert!(one.replica.outcomes(2, 9).is_err());
}

/// The master seals it by its length, without a word to the members.
#[test]
fn a_chunk_full_to_its_last_byte_is_known_to_take_no_more_records() {
    let mut one = alone();
    for sequence in 1..=4 {
        assert!(!one.replica.outcomes(1, 9).unwrap().sealed);
        one.slice(1, record(sequence, CHUNK / 4));
        one.disk(Ok(()));
    }
    let outcomes = one.replica.outcomes(1, 9).unwrap();
    assert_eq!((outcomes.sequence, outcomes.sealed, outcomes.offsets.len()), (4, true, 4));
}

#[test]
fn a_flush_of_a_full_chunk_covers_what_it_took() {
    let mut one = alone();
    for sequence in 1..=4 {
        one.slice(1, record(sequence, 255 * KIB));
        one.disk(Ok(()));
    }
    one.slice(1, record(5, 255 * KIB));
    assert!(one.disk(Ok(())).iter().any(|o| matches!(o, Output::Reply { .. })), "finished");
    one.push(1, PushBody::Flush(pb::Flush { token: 1 }));
    let flushed = ReplyBody::Flushed(pb::Flushed { token: 1 });
    assert_eq!(replies(&one.disk(Ok(()))), [&flushed]);
}

#[test]
fn the_limit_of_the_grant_holds() {
    let mut one = One::absent(1);
    one.command(Body::Grant(pb::Grant { limit: 10, ..grant(1, &[1], 10) }));
    one.disk(Ok(()));
    one.push(1, open(1, 9, 0, &[]));
    assert_eq!(written(&one.slice(1, slice(1, 7, b"abc"))), Some(1));
    one.disk(Ok(()));
    assert_eq!(one.replica.primary_at(), Some(1));
    let out = one.slice(1, slice(2, 8, b"abc"));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::OutOfRange));
    one.push(2, open(1, 8, 0, &[]));
    one.slice(2, record(1, 1));
    let out = one.disk(Ok(()));
    assert!(matches!(replies(&out).as_slice(), [ReplyBody::Finished(f)] if f.length == 10));
}

#[test]
fn hostile_mutations_end_their_stream_only() {
    let b = BLOCK_SIZE;
    let cases: Vec<(Vec<(PushBody, Payload)>, ErrorCode)> = vec![
        // Not cut at a block.
        (vec![part(1, 0, 100, true, false)], ErrorCode::InvalidArgument),
        // A gap, an overlap, another mind about appending, another mutation in the middle.
        (
            vec![part(1, 0, b, true, false), part(1, b + 1, 5, false, false)],
            ErrorCode::InvalidArgument,
        ),
        (vec![part(1, 0, b, true, false), part(1, 0, b, true, false)], ErrorCode::InvalidArgument),
        (vec![part(1, 0, b, true, true), part(1, b, b, false, false)], ErrorCode::InvalidArgument),
        (vec![part(1, 0, b, true, false), part(2, b, b, false, false)], ErrorCode::InvalidArgument),
        (vec![part(1, b, b, false, true)], ErrorCode::InvalidArgument),
        // It never ends.
        ((0..9).map(|n| part(1, n * b, b, true, false)).collect(), ErrorCode::OutOfRange),
        ((0..9).map(|n| part(1, n * b, b, true, true)).collect(), ErrorCode::OutOfRange),
        // Too large, and by an overflow.
        (vec![record(1, CHUNK / 4 + 1)], ErrorCode::OutOfRange),
        (vec![part(1, u32::MAX, b, true, true)], ErrorCode::OutOfRange),
        // More of them than the window tells the places of.
        ((2..=9).map(|n| record(n, 1)).collect(), ErrorCode::InvalidArgument),
        (vec![record(2, 1), slice(9, 0, b"a")], ErrorCode::InvalidArgument),
    ];
    for (slices, code) in cases {
        let mut one = alone();
        let mut out = Vec::new();
        for slice in &slices {
            out.extend(one.slice(1, slice.clone()));
        }
        assert_eq!(failed(&out).map(|f| f.0), Some(code), "{:?}", slices.last());
        assert_eq!((written(&out), one.replica.primary_at()), (None, Some(1)));
        assert!(!one.replica.is_active(), "nothing is left of it");
    }
}

#[test]
fn records_with_sums_that_do_not_fit_are_refused() {
    let mut one = alone();
    let (PushBody::Slice(s), payload) = record(1, BLOCK_SIZE + 1) else { panic!() };
    let out = one.slice(1, (PushBody::Slice(pb::Slice { sums: vec![0], ..s }), payload));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::OutOfRange));
}

#[test]
fn a_record_after_the_writers_own_finish_is_refused() {
    let mut one = alone();
    one.push(2, open(1, 8, 0, &[]));
    let out = one.push(1, PushBody::Finish(pb::Finish::default()));
    assert!(matches!(replies(&out).as_slice(), [ReplyBody::Finished(_)]), "{out:?}");
    // Others still append: the chunk is not finished at this length.
    let out = one.slice(1, record(1, 5));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Sealed));
    assert_eq!(written(&one.slice(2, record(1, 5))), Some(1));
}
