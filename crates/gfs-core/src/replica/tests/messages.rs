//! Push streams, message by message.

use super::*;

fn held(through: u64) -> ReplyBody {
    ReplyBody::Held(pb::Held { through })
}

fn applied(through: u64) -> ReplyBody {
    ReplyBody::Applied(pb::Applied { through })
}

fn apply(serial: u64, writer: u64, sequence: u64, offset: u32) -> PushBody {
    PushBody::Apply(pb::Apply { serial, writer, sequence, offset, ..Default::default() })
}

/// A primary of three with an open stream 1 of writer 9.
fn primary() -> One {
    let mut one = One::granted(1, &[1, 2, 3]);
    let out = one.push(1, open(1, 9, 0, &[2, 3]));
    let [Output::Dial { next, open, .. }] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((next.server, open.position, open.chain.len()), (2, 1, 1));
    let out = one.opened_below(1);
    let expected = pb::PushOpened { credit: 80, length: 0, sequence: 0, ..Default::default() };
    assert_eq!(replies(&out), [&ReplyBody::Opened(expected)]);
    one
}

/// The last of three with open streams 1 (writer 9) and 2 (writer 8).
fn tail() -> One {
    let mut one = One::granted(3, &[1, 2, 3]);
    for (stream, writer) in [(1, 9), (2, 8)] {
        let out = one.push(stream, open(1, writer, 2, &[]));
        assert!(matches!(replies(&out).as_slice(), [ReplyBody::Opened(o)] if o.credit == 100));
    }
    one
}

#[test]
fn nothing_is_applied_before_all_hold_it_nor_acknowledged_before_all_applied() {
    let mut one = primary();
    let out = one.slice(1, slice(1, 0, b"abc"));
    assert_eq!((sent_down(&out).len(), written(&out)), (1, None));
    let out = one.down(1, held(1));
    assert_eq!(written(&out), Some(1));
    assert!(matches!(sent_down(&out).as_slice(), [PushBody::Apply(a)] if a.serial == 1));
    assert_eq!(acknowledged(&one.disk(Ok(()))), None, "applied here alone");
    assert_eq!(acknowledged(&one.down(1, applied(1))), Some((1, 3)));
    // The other way round: below first.
    one.slice(1, slice(2, 3, b"de"));
    one.down(1, held(2));
    assert_eq!(acknowledged(&one.down(1, applied(2))), None, "not applied here");
    assert_eq!(acknowledged(&one.disk(Ok(()))), Some((2, 5)));
    assert_eq!(one.replica.confirmed(), 5);
}

/// A slice that waits for its commit.
fn waiting(sequence: u64, offset: u32, bytes: &[u8]) -> (PushBody, Vec<u8>) {
    let (PushBody::Slice(s), payload) = slice(sequence, offset, bytes) else { panic!() };
    (PushBody::Slice(pb::Slice { commit: false, ..s }), payload)
}

#[test]
fn a_slice_waits_for_its_commit() {
    let mut one = primary();
    one.slice(1, waiting(1, 0, b"abc"));
    assert!(one.down(1, held(1)).is_empty());
    let commit = PushBody::Commit(pb::Commit { through: 1 });
    let out = one.push(1, commit.clone());
    assert_eq!(written(&out), Some(1));
    assert_eq!(sent_down(&out).first(), Some(&&commit), "members learn of it");
}

#[test]
fn a_commit_of_what_was_not_sent_is_passed_to_nobody() {
    let mut one = primary();
    for through in 1..100 {
        assert!(one.push(1, PushBody::Commit(pb::Commit { through })).is_empty());
    }
    one.slice(1, waiting(1, 0, b"abc"));
    assert!(one.down(1, held(1)).is_empty(), "it was not sent when the commit came");
    assert_eq!(written(&one.push(1, PushBody::Commit(pb::Commit { through: 99 }))), Some(1));
}

#[test]
fn a_mark_commits_all_before_it() {
    let mut one = primary();
    one.slice(1, waiting(1, 0, b"abc"));
    one.slice(1, slice(2, 3, b"de"));
    let out = one.down(1, held(2));
    assert_eq!(written(&out), Some(1));
    assert!(one.slice(1, waiting(3, 5, b"f")).iter().all(|o| matches!(o, Output::SendDown { .. })));
    assert_eq!(written(&one.disk(Ok(()))), Some(2));
    assert_eq!(written(&one.disk(Ok(()))), None, "the third is not committed");
}

#[test]
fn a_member_says_what_is_held_once_that_is_committed() {
    let mut one = tail();
    assert!(one.slice(1, waiting(1, 0, b"abc")).is_empty());
    assert!(one.slice(1, waiting(2, 3, b"abc")).is_empty());
    let out = one.push(1, PushBody::Commit(pb::Commit { through: 1 }));
    assert_eq!(replies(&out), [&held(2)]);
    let out = one.slice(1, slice(3, 6, b"abc"));
    assert_eq!(replies(&out), [&held(3)]);
}

#[test]
fn slices_that_nobody_committed_are_no_debt_of_the_next_member() {
    let mut one = primary();
    one.slice(1, waiting(1, 0, b"abc"));
    assert!(one.wait(10_000).is_empty());
    one.push(1, PushBody::Commit(pb::Commit { through: 1 }));
    assert_eq!(failed(&one.wait(10_000)).map(|f| f.0), Some(ErrorCode::Unreachable));
}

#[test]
fn a_repeat_is_answered_and_never_applied_again() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.down(1, held(1));
    one.disk(Ok(()));
    let out = one.slice(1, slice(1, 0, b"abc"));
    assert!(out.is_empty(), "in flight: it waits for the same answer: {out:?}");
    assert_eq!(acknowledged(&one.down(1, applied(1))), Some((1, 3)));
    let out = one.slice(1, slice(1, 0, b"abc"));
    assert_eq!((acknowledged(&out), out.len()), (Some((1, 3)), 1));
    let out = one.slice(1, slice(1, 1, b"abc"));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Conflict), "not where it was");
}

#[test]
fn one_ahead_of_its_turn_waits() {
    let mut one = primary();
    assert!(one.slice(1, slice(2, 3, b"de")).is_empty(), "not even sent on");
    let out = one.slice(1, slice(1, 0, b"abc"));
    let order: Vec<_> = sent_down(&out)
        .into_iter()
        .filter_map(|body| match body {
            PushBody::Slice(slice) => Some(slice.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(order, [1, 2]);
    let out = one.down(1, held(2));
    assert_eq!((written(&out), sent_down(&out).len()), (Some(1), 2));
    assert_eq!(written(&one.disk(Ok(()))), Some(2));
}

#[test]
fn a_writer_that_reconnects_gets_the_answer_of_what_was_in_flight() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.down(1, held(1));
    let out = one.step(Event::Closed { stream: StreamId(1) });
    assert!(out.is_empty(), "the orphan carries its mutation to the end: {out:?}");
    one.push(2, open(1, 9, 0, &[3, 2]));
    one.opened_below(2);
    assert!(one.slice(2, slice(1, 0, b"abc")).is_empty());
    one.disk(Ok(()));
    let out = one.down(1, applied(1));
    assert_eq!(acknowledged(&out), Some((1, 3)));
    assert!(out.iter().any(|o| matches!(o, Output::Close { stream: StreamId(1) })));
    let out = one.slice(2, slice(2, 3, b"d"));
    assert_eq!(sent_down(&out).len(), 1);
}

#[test]
fn a_second_stream_of_a_writer_takes_the_place_of_the_first() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    let out = one.push(2, open(1, 9, 0, &[2, 3]));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Cancelled));
    assert!(out.iter().any(|o| matches!(o, Output::Close { stream: StreamId(1) })));
    one.opened_below(2);
    assert_eq!(sent_down(&one.slice(2, slice(1, 0, b"abc"))).len(), 1, "what was held is gone");
}

#[test]
fn offsets_must_follow_the_projected_length() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.slice(1, slice(2, 4, b"de"));
    let out = one.down(1, held(2));
    assert_eq!(failed(&out), Some((ErrorCode::WrongOffset, 0, 3)));
    assert_eq!(written(&out), Some(1), "the role goes on with what was right");
    assert_eq!(one.replica.primary_at(), Some(1));
}

#[test]
fn hostile_slices_end_their_stream_only() {
    let whole = |offset, length, sums: usize, sequence| {
        let sums = vec![0; sums];
        PushBody::Slice(pb::Slice {
            sequence,
            offset,
            length,
            sums,
            commit: true,
            ..Default::default()
        })
    };
    let cases = [
        (whole(0, 0, 0, 1), ErrorCode::InvalidArgument),
        (whole(0, 2 << 20, 32, 1), ErrorCode::InvalidArgument),
        (whole(0, 5, 1, 0), ErrorCode::InvalidArgument),
        (whole(0, 5, 2, 1), ErrorCode::OutOfRange),
        (whole(CHUNK - 4, 5, 1, 1), ErrorCode::OutOfRange),
        (whole(u32::MAX, 5, 1, 1), ErrorCode::OutOfRange),
        (whole(0, 81, 1, 1), ErrorCode::NoCredit),
        (PushBody::Open(pb::PushOpen::default()), ErrorCode::InvalidArgument),
    ];
    for (body, code) in cases {
        let mut one = primary();
        let out = one.slice(1, (body.clone(), Vec::new()));
        assert_eq!(failed(&out).map(|f| f.0), Some(code), "{body:?}");
        assert!(matches!(out.last(), Some(Output::Close { .. })));
        assert_eq!(one.replica.primary_at(), Some(1), "{body:?}");
        assert!(one.slice(1, slice(1, 0, b"a")).is_empty(), "the stream is gone");
    }
}

#[test]
fn opens_that_do_not_fit_the_grant_are_refused() {
    let cases = [
        (open(1, 9, 0, &[2]), ErrorCode::InvalidArgument),
        (open(1, 9, 0, &[2, 2]), ErrorCode::InvalidArgument),
        (open(1, 9, 0, &[1, 2]), ErrorCode::InvalidArgument),
        (open(1, 9, 0, &[2, 4]), ErrorCode::InvalidArgument),
        (open(1, 9, 1, &[2]), ErrorCode::NotPrimary),
        (open(1, 9, u32::MAX, &[2, 3]), ErrorCode::NotPrimary),
        (open(0, 9, 0, &[2, 3]), ErrorCode::StaleVersion),
    ];
    for (body, code) in cases {
        let mut one = One::granted(1, &[1, 2, 3]);
        let out = one.push(1, body.clone());
        assert_eq!(failed(&out).map(|f| f.0), Some(code), "{body:?}");
    }
    let mut one = One::granted(2, &[1, 2, 3]);
    assert_eq!(
        failed(&one.push(1, open(1, 9, 0, &[1, 3]))).map(|f| f.0),
        Some(ErrorCode::NotPrimary)
    );
    let mut one = One::absent(1);
    let few = pb::Grant { min_copies: 2, ..grant(1, &[1], 0) };
    one.command(Body::Grant(few));
    one.disk(Ok(()));
    assert_eq!(
        failed(&one.push(1, open(1, 9, 0, &[]))).map(|f| f.0),
        Some(ErrorCode::TooFewServers)
    );
}

#[test]
fn a_push_waits_for_its_grant_and_not_for_ever() {
    let mut one = One::absent(1);
    assert!(one.push(1, open(1, 9, 0, &[2])).is_empty());
    assert!(one.wait(1_500).is_empty());
    one.command(Body::Grant(grant(1, &[1, 2], 0)));
    let out = one.disk(Ok(()));
    assert!(out.iter().any(|o| matches!(o, Output::Dial { .. })), "{out:?}");
    let mut one = One::absent(1);
    one.push(1, open(1, 9, 0, &[2]));
    assert_eq!(failed(&one.wait(2_500)).map(|f| f.0), Some(ErrorCode::UnknownChunk));
    assert!(!one.replica.is_active());
    let mut one = One::granted(1, &[1, 2]);
    one.push(1, open(3, 9, 0, &[2]));
    assert_eq!(failed(&one.wait(2_500)), Some((ErrorCode::StaleVersion, 0, 1)));
}

#[test]
fn a_gap_in_the_serials_blocks() {
    let mut one = tail();
    one.slice(1, slice(1, 0, b"abc"));
    one.slice(2, slice(1, 3, b"de"));
    assert!(one.push(2, apply(2, 8, 1, 3)).is_empty(), "serial 1 is missing");
    let out = one.push(1, apply(1, 9, 1, 0));
    assert_eq!(written(&out), Some(1));
    let out = one.disk(Ok(()));
    assert_eq!((replies(&out), written(&out)), (vec![], Some(2)), "the next is here already");
    assert_eq!(replies(&one.disk(Ok(()))), [&applied(1), &applied(2)]);
}

#[test]
fn a_batch_is_answered_together_but_not_for_ever() {
    let mut one = tail();
    for sequence in 1..=6 {
        one.slice(1, slice(sequence, (sequence as u32 - 1) * 3, b"abc"));
    }
    for serial in 1..=6 {
        one.push(1, apply(serial, 9, serial, (serial as u32 - 1) * 3));
    }
    let answers: Vec<_> = (1..=6)
        .flat_map(|_| replies(&one.disk(Ok(()))).into_iter().cloned().collect::<Vec<_>>())
        .collect();
    assert_eq!(answers, [applied(4), applied(6)]);
}

#[test]
fn a_role_alone_needs_no_ticks() {
    let mut one = primary();
    assert!(one.replica.is_active());
    one.step(Event::Closed { stream: StreamId(1) });
    assert!(one.replica.primary_at().is_some() && !one.replica.is_active());
    assert!(one.replica.needs_ticks(), "the writer may be gone");
    assert!(!one.wait(60_100).is_empty() && !one.replica.needs_ticks());
}

#[test]
fn a_serial_comes_once() {
    let mut one = tail();
    one.slice(1, slice(1, 0, b"abc"));
    one.slice(1, slice(2, 3, b"de"));
    one.push(1, apply(1, 9, 1, 0));
    let out = one.push(1, apply(1, 9, 2, 3));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::InvalidArgument));
    // The write under way ends well all the same, and what is stored says so.
    one.disk(Ok(()));
    assert_eq!(one.replica.header().map(|h| (h.serial, h.length)), Some((1, 3)));
}

#[test]
fn a_member_passes_on_and_speaks_for_all_below() {
    let mut one = One::granted(2, &[1, 2, 3]);
    let out = one.push(1, open(1, 9, 1, &[3]));
    assert!(matches!(out.as_slice(), [Output::Dial { next, .. }] if next.server == 3));
    one.opened_below(1);
    let out = one.slice(1, slice(1, 0, b"abc"));
    assert_eq!((sent_down(&out).len(), replies(&out).len()), (1, 0));
    assert_eq!(replies(&one.down(1, held(1))), [&held(1)]);
    let out = one.push(1, apply(1, 9, 1, 0));
    assert_eq!((written(&out), sent_down(&out).len()), (Some(1), 1));
    assert!(one.down(1, applied(1)).is_empty());
    assert_eq!(replies(&one.disk(Ok(()))), [&applied(1)]);
}

#[test]
fn a_broken_chain_ends_the_role_and_names_the_member() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.down(1, held(1));
    let out = one.step(Event::DownBroken { stream: StreamId(1), why: "reset".into() });
    assert_eq!(failed(&out), Some((ErrorCode::Unreachable, 2, 0)));
    assert!(out.iter().any(|o| matches!(o, Output::PrimaryEnded { version: 1, unreachable: 2 })));
    assert_eq!(one.replica.primary_at(), None);
    // The write that was under way ends; nothing is acknowledged any more.
    assert_eq!(replies(&one.disk(Ok(()))).len(), 0);
    // The same grant again does not bring it back: the members may stand at different serials.
    one.command(Body::Grant(grant(1, &[1, 2, 3], 0)));
    assert_eq!(
        failed(&one.push(3, open(1, 9, 0, &[2, 3]))).map(|f| f.0),
        Some(ErrorCode::NotPrimary)
    );
}

#[test]
fn a_failure_further_down_is_passed_up() {
    let mut one = primary();
    let error = Replica::<Payload>::unreachable(3, "dial");
    let out = one.down(1, ReplyBody::Failed(pb::PushFailed { error: Some(error) }));
    assert_eq!(failed(&out), Some((ErrorCode::Unreachable, 3, 0)));
    assert!(out.iter().any(|o| matches!(o, Output::PrimaryEnded { unreachable: 3, .. })));
}

#[test]
fn too_little_credit_below_concerns_one_stream() {
    let mut one = primary();
    one.push(2, open(1, 8, 0, &[2, 3]));
    let error = Some(failure(ErrorCode::NoCredit, "full"));
    let out = one.down(2, ReplyBody::Failed(pb::PushFailed { error }));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::NoCredit));
    assert_eq!(one.replica.primary_at(), Some(1));
}

#[test]
fn silence_below_ends_the_role_after_two_seconds_of_it() {
    let mut one = primary();
    assert!(one.wait(60_000).is_empty(), "nothing is owed");
    one.slice(1, slice(1, 0, b"abc"));
    assert!(one.wait(1_900).is_empty());
    one.down(1, held(1));
    assert!(one.wait(1_600).is_empty(), "progress starts the wait anew");
    // A process that was stopped counts little of the time it missed.
    one.now = one.now + Millis(60_000);
    assert!(one.step(Event::Tick).is_empty());
    assert_eq!(failed(&one.wait(2_000)), Some((ErrorCode::Unreachable, 2, 0)));
}

#[test]
fn a_disk_error_ends_the_role_and_names_this_server() {
    let mut one = tail();
    one.slice(1, slice(1, 0, b"abc"));
    one.push(1, apply(1, 9, 1, 0));
    let out = one.disk(Err(failure(ErrorCode::NoSpace, "full")));
    assert_eq!(failed(&out), Some((ErrorCode::NoSpace, 3, 0)));
    assert_eq!(one.replica.header().map(|h| (h.serial, h.length)), Some((0, 0)));
}

#[test]
fn finish_seals_the_chunk_everywhere_and_can_be_repeated() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.down(1, held(1));
    assert!(one.push(1, PushBody::Finish(pb::Finish::default())).is_empty(), "not yet");
    one.disk(Ok(()));
    let out = one.down(1, applied(1));
    assert_eq!(acknowledged(&out), Some((1, 3)));
    assert_eq!(sent_down(&out), [&PushBody::Finish(pb::Finish { confirmed: 3 })]);
    assert!(out.iter().any(|o| matches!(o, Output::Disk(DiskOp::Seal))));
    assert!(one.disk(Ok(())).is_empty());
    let finished = ReplyBody::Finished(pb::Finished { version: 1, length: 3, serial: 1 });
    assert_eq!(replies(&one.down(1, finished.clone())), [&finished]);
    assert_eq!(failed(&one.slice(1, slice(2, 3, b"d"))).map(|f| f.0), Some(ErrorCode::Sealed));
    // The answer got lost: the writer asks again.
    one.push(2, open(1, 9, 0, &[2, 3]));
    one.opened_below(2);
    one.push(2, PushBody::Finish(pb::Finish::default()));
    assert_eq!(replies(&one.down(2, finished.clone())), [&finished]);
    // After a restart all its bytes are known to count.
    let (identity, header) = one.replica.stored.clone().unwrap();
    let again = Replica::<Payload>::load(settings(1), identity, header);
    assert_eq!(again.confirmed(), 3);
}

#[test]
fn a_writer_that_finishes_beside_another_does_not_seal() {
    let mut one = primary();
    one.push(2, open(1, 8, 0, &[2, 3]));
    one.opened_below(2);
    let out = one.push(2, PushBody::Finish(pb::Finish::default()));
    assert!(matches!(replies(&out).as_slice(), [ReplyBody::Finished(_)]), "{out:?}");
    one.slice(1, slice(1, 0, b"abc"));
    assert_eq!(written(&one.down(1, held(1))), Some(1));
}

#[test]
fn a_member_seals_at_the_confirmed_length_only() {
    let mut one = tail();
    one.slice(1, slice(1, 0, b"abc"));
    one.push(1, apply(1, 9, 1, 0));
    one.disk(Ok(()));
    let out = one.push(1, PushBody::Finish(pb::Finish { confirmed: 3 }));
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Seal)]), "{out:?}");
    assert!(
        matches!(replies(&one.disk(Ok(()))).as_slice(), [ReplyBody::Finished(f)] if f.length == 3)
    );
    let mut one = tail();
    let out = one.push(1, PushBody::Finish(pb::Finish { confirmed: 3 }));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Internal));
}

#[test]
fn reads_stop_at_what_is_confirmed() {
    let mut one = tail();
    let serve = |bytes, chunk_length| ReadVerdict::Serve { bytes, chunk_length };
    assert_eq!(one.replica.read(1, 0, 10), serve(0, 0));
    one.slice(1, slice(1, 0, b"abc"));
    one.push(1, apply(1, 9, 1, 0));
    one.disk(Ok(()));
    assert_eq!(one.replica.read(1, 0, 3), ReadVerdict::AskPrimary(member(1)));
    one.step(Event::Confirmed { version: 1, length: 2, serial: 0 });
    assert_eq!(one.replica.read(1, 0, 2), serve(2, 2));
    assert_eq!(one.replica.read(1, 1, 2), ReadVerdict::AskPrimary(member(1)));
    one.step(Event::Confirmed { version: 1, length: 9, serial: 0 });
    assert_eq!(one.replica.read(1, 1, 9), serve(2, 3));
    assert_eq!(one.replica.read(1, u32::MAX, u32::MAX), serve(0, 3));
    assert!(matches!(one.replica.read(2, 0, 1), ReadVerdict::Refuse(e) if e.actual == 1));
    // After a restart nobody knows.
    let (identity, header) = one.replica.stored.clone().unwrap();
    let again = Replica::<Payload>::load(settings(3), identity, header);
    assert!(
        matches!(again.read(1, 0, 3), ReadVerdict::Refuse(e) if e.error_code() == ErrorCode::Fenced)
    );
    one.step(Event::LeftOut { version: 2 });
    assert!(matches!(one.replica.read(1, 0, 1), ReadVerdict::Refuse(e) if e.actual == 2));
}
