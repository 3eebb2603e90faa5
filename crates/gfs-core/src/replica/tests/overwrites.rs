//! Overwrites, cuts, chunks of zeros: and who may see what.

use super::*;

fn served(one: &One, offset: u32, length: u32) -> bool {
    matches!(one.replica.read(1, offset, length), ReadVerdict::Serve { .. })
}

fn apply(serial: u64, sequence: u64, offset: u32, acknowledged: u64) -> PushBody {
    let (writer, confirmed) = (9, 10);
    PushBody::Apply(pb::Apply { serial, writer, sequence, confirmed, offset, acknowledged })
}

/// A member with ten acknowledged bytes and a stream of writer 9.
fn member_of_two(server: u32) -> One {
    let mut one = One::absent(server);
    one.command(Body::Grant(grant(1, &[1, 2], 10)));
    let out = one.disk(Ok(()));
    assert_eq!(done(&out), Some(Ok(())));
    let position = server - 1;
    one.push(1, open(1, 9, position, if server == 1 { &[2] } else { &[] }));
    if server == 1 {
        one.opened_below(1);
    }
    one
}

#[test]
fn a_fresh_chunk_may_begin_with_zeros() {
    let mut one = One::absent(1);
    let out = one.command(Body::Grant(grant(1, &[1], 10)));
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Create { length: 10, .. })]));
    one.disk(Ok(()));
    assert_eq!((one.replica.confirmed(), served(&one, 0, 10)), (10, true));
    let mut one = One::absent(1);
    let out = one.command(Body::Grant(grant(1, &[1], CHUNK + 1)));
    assert_eq!(done(&out), Some(Err(ErrorCode::OutOfRange)));
}

#[test]
fn what_is_overwritten_is_shown_once_that_is_acknowledged() {
    let mut one = member_of_two(1);
    one.slice(1, slice(1, 2, b"abc"));
    let out = one.down(1, ReplyBody::Held(pb::Held { through: 1 }));
    assert_eq!(written(&out), Some(1));
    let busy = |one: &One| match one.replica.read(1, 4, 1) {
        ReadVerdict::Refuse(error) => (error.error_code() == ErrorCode::Busy, error.retry_after_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(busy(&one), (true, 5), "it is being written");
    one.disk(Ok(()));
    assert_eq!(busy(&one), (true, 5), "the other member has not got it");
    assert!(served(&one, 0, 2) && served(&one, 5, 5) && !served(&one, 0, 3));
    assert!(!one.replica.is_settled(0, 3) && one.replica.is_settled(5, 100));
    one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    assert!(served(&one, 0, 10));
    assert_eq!((one.replica.acknowledged(), one.replica.confirmed()), (1, 10));
}

#[test]
fn a_member_asks_the_primary_about_what_was_overwritten() {
    let mut one = member_of_two(2);
    one.slice(1, slice(1, 2, b"abc"));
    assert_eq!(written(&one.push(1, apply(1, 1, 2, 0))), Some(1));
    assert_eq!(one.replica.read(1, 0, 3), ReadVerdict::AskPrimary(member(1)));
    one.disk(Ok(()));
    one.step(Event::Confirmed { version: 1, length: 10, serial: 0 });
    assert_eq!(one.replica.read(1, 0, 3), ReadVerdict::AskPrimary(member(1)));
    assert!(served(&one, 5, 5));
    // The next mutation tells it, unasked.
    one.slice(1, slice(2, 8, b"abc"));
    one.push(1, apply(2, 2, 8, 1));
    assert!(served(&one, 0, 8));
    one.disk(Ok(()));
    assert!(!served(&one, 0, 9));
    one.step(Event::Confirmed { version: 1, length: 11, serial: 2 });
    assert!(served(&one, 0, 11));
    // One that was started anew does not know what was overwritten last.
    let (identity, header) = one.replica.stored.clone().unwrap();
    let mut again = Replica::<Payload>::load(settings(2), identity, header);
    let mut out = Vec::new();
    let confirmed = |serial| Event::Confirmed { version: 1, length: 11, serial };
    again.step(Millis(1), confirmed(1), &mut out);
    assert!(matches!(again.read(1, 0, 1), ReadVerdict::Refuse(_)));
    again.step(Millis(1), confirmed(2), &mut out);
    assert!(matches!(again.read(1, 0, 1), ReadVerdict::Serve { .. }));
}

#[test]
fn a_version_change_settles_everything() {
    let mut one = member_of_two(1);
    one.slice(1, slice(1, 2, b"abc"));
    one.down(1, ReplyBody::Held(pb::Held { through: 1 }));
    one.disk(Ok(()));
    one.step(Event::DownBroken { stream: StreamId(1), why: "reset".into() });
    // Another version decides, and a reader may ask for it.
    let ReadVerdict::Refuse(error) = one.replica.read(1, 0, 10) else { panic!("it is served") };
    assert_eq!(error.error_code(), ErrorCode::Fenced);
    one.command(Body::Prepare(pb::Prepare { version: 1, next: 2 }));
    one.disk(Ok(()));
    assert!(!served(&one, 0, 10));
    one.command(Body::Grant(grant(2, &[1], 10)));
    one.disk(Ok(()));
    assert!(matches!(one.replica.read(2, 0, 10), ReadVerdict::Serve { bytes: 10, .. }));
}

#[test]
fn what_is_being_made_equal_is_not_shown() {
    let mut one = member_of_two(2);
    one.command(Body::Prepare(pb::Prepare { version: 1, next: 2 }));
    one.disk(Ok(()));
    assert!(served(&one, 0, 10));
    let equalize = pb::Equalize { next: 2, source: Some(member(1)), ..Default::default() };
    let out = one.command(Body::Equalize(equalize));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    one.step(Event::CopyPlanned { id, source_complete: 1 });
    assert!(!served(&one, 0, 1), "another change may take it back");
    // Also after a restart in the middle.
    let (identity, header) = one.replica.stored.clone().unwrap();
    let again = Replica::<Payload>::load(settings(2), identity, header);
    assert!(!matches!(again.read(1, 0, 1), ReadVerdict::Serve { .. }));
}

#[test]
fn a_grant_cuts_what_a_truncation_dropped() {
    let cut = |cut: bool, sealed: bool, length| {
        let mut one = member_of_two(1);
        one.command(Body::Prepare(pb::Prepare { version: 1, next: 2 }));
        one.disk(Ok(()));
        let body = Body::Grant(pb::Grant { cut, sealed, ..grant(2, &[1], length) });
        let out = one.command(body.clone());
        if let [Output::Disk(DiskOp::Complete { length: stored, .. })] = out.as_slice() {
            assert_eq!(*stored, length);
            assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
            assert_eq!(one.replica.confirmed(), length);
            assert_eq!(done(&one.command(body)), Some(Ok(())), "a repeat");
            return None;
        }
        done(&out)
    };
    assert_eq!(cut(true, false, 4), None);
    assert_eq!(cut(false, true, 4), None);
    assert_eq!(cut(true, false, 10), None);
    assert_eq!(cut(false, false, 4), Some(Err(ErrorCode::Conflict)));
    assert_eq!(cut(true, true, 11), Some(Err(ErrorCode::Conflict)));
}

#[test]
fn a_primary_and_a_member_that_differ_go_no_further() {
    // Where the primary says is not where the chunk ends, or where the slice was to go.
    let mut one = member_of_two(2);
    one.slice(1, record(1, 5));
    let out = one.push(1, apply(1, 1, 9, 0));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Internal));
    let mut one = member_of_two(2);
    one.slice(1, slice(1, 2, b"abc"));
    let out = one.push(1, apply(1, 1, 3, 0));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::InvalidArgument));
    let mut one = member_of_two(2);
    one.slice(1, record(1, 5));
    let out = one.push(1, apply(1, 1, u32::MAX, 0));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::Internal));
}

#[test]
fn overwriting_a_full_chunk_does_not_finish_it() {
    let mut one = One::absent(1);
    one.command(Body::Grant(grant(1, &[1], CHUNK)));
    one.disk(Ok(()));
    one.push(1, open(1, 9, 0, &[]));
    for sequence in 1..=3 {
        assert_eq!(written(&one.slice(1, slice(sequence, 5, b"abc"))), Some(sequence));
        assert_eq!(acknowledged(&one.disk(Ok(()))), Some((sequence, CHUNK)));
    }
}
