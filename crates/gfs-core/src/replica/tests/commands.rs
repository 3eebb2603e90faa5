//! Commands of the master, message by message.

use super::*;

fn prepare(version: u64, next: u64) -> Body {
    Body::Prepare(pb::Prepare { version, next })
}

fn equalize(next: u64) -> Body {
    Body::Equalize(pb::Equalize { next, source: Some(member(2)), ..Default::default() })
}

/// A single member, primary, with an open stream 1 of writer 9 and a write under way.
fn writing() -> One {
    let mut one = One::granted(1, &[1]);
    one.push(1, open(1, 9, 0, &[]));
    assert_eq!(written(&one.slice(1, slice(1, 0, b"abc"))), Some(1));
    one
}

fn outcome(length: u32, serial: u64) -> CopyOutcome {
    CopyOutcome { length, tail: 0, serial, window: Window::default() }
}

#[test]
fn prepare_is_answered_when_nothing_runs_and_the_promise_is_stored() {
    let mut one = writing();
    let out = one.command(prepare(1, 2));
    assert_eq!(failed(&out), Some((ErrorCode::StaleVersion, 0, 2)));
    assert_eq!(done(&out), None, "a write runs");
    let out = one.disk(Ok(()));
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Promise { next: 2 })]), "{out:?}");
    let out = one.disk(Ok(()));
    assert!(matches!(out.as_slice(), [Output::CommandDone { result: Ok(()), digest: true, .. }]));
    let state = one.replica.state().unwrap();
    assert_eq!((state.promised, state.complete, state.serial, state.length), (2, 1, 1, 3));
    assert_eq!(failed(&one.push(2, open(1, 9, 0, &[]))), Some((ErrorCode::StaleVersion, 0, 2)));
    // Reads of what was confirmed go on.
    assert!(matches!(one.replica.read(1, 0, 0), ReadVerdict::Serve { .. }));
    assert_eq!(done(&one.command(prepare(1, 2))), Some(Ok(())), "a repeat");
    assert_eq!(done(&one.command(prepare(1, 1))), Some(Err(ErrorCode::StaleVersion)));
}

#[test]
fn what_was_ordered_and_not_begun_is_forgotten_by_prepare() {
    let mut one = writing();
    one.slice(1, slice(2, 3, b"de"));
    one.command(prepare(1, 2));
    let out = one.disk(Ok(()));
    assert_eq!(written(&out), None);
    one.disk(Ok(()));
    assert_eq!(one.replica.header().map(|h| h.length), Some(3));
}

#[test]
fn a_grant_needs_the_promise_and_the_agreed_length() {
    let mut one = writing();
    one.disk(Ok(()));
    assert_eq!(
        done(&one.command(Body::Grant(grant(2, &[1], 3)))),
        Some(Err(ErrorCode::StaleVersion))
    );
    one.command(prepare(1, 2));
    one.disk(Ok(()));
    assert_eq!(done(&one.command(Body::Grant(grant(2, &[1], 4)))), Some(Err(ErrorCode::Conflict)));
    assert_eq!(
        done(&one.command(Body::Grant(grant(3, &[1], 3)))),
        Some(Err(ErrorCode::StaleVersion))
    );
    let out = one.command(Body::Grant(grant(2, &[1], 3)));
    assert!(matches!(
        out.as_slice(),
        [Output::Disk(DiskOp::Complete { version: 2, sealed: false, length: 3 })]
    ));
    assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
    let header = one.replica.header().unwrap();
    assert_eq!((header.complete, header.serial, one.replica.confirmed()), (2, 0, 3));
    // The window outlives the version: a repeat is known.
    let out = one.push(2, open(2, 9, 0, &[]));
    let opened = pb::PushOpened { credit: 100, length: 3, sequence: 1, offsets: vec![0] };
    assert_eq!(replies(&out), [&ReplyBody::Opened(opened)]);
    assert_eq!(acknowledged(&one.slice(2, slice(1, 0, b"abc"))), Some((1, 3)));
}

#[test]
fn only_version_one_makes_a_replica() {
    let mut one = One::absent(1);
    assert_eq!(
        done(&one.command(Body::Grant(grant(2, &[1], 0)))),
        Some(Err(ErrorCode::UnknownChunk))
    );
    assert_eq!(done(&one.command(prepare(1, 2))), Some(Err(ErrorCode::UnknownChunk)));
    assert_eq!(done(&one.command(equalize(2))), Some(Err(ErrorCode::UnknownChunk)));
    assert_eq!(done(&one.command(Body::Delete(pb::Delete { version: 9 }))), Some(Ok(())));
    let empty = pb::Grant { members: vec![], ..grant(1, &[], 0) };
    assert_eq!(done(&one.command(Body::Grant(empty))), Some(Err(ErrorCode::InvalidArgument)));
}

#[test]
fn delete_spares_what_moved_on() {
    let mut one = writing();
    one.disk(Ok(()));
    one.command(prepare(1, 3));
    one.disk(Ok(()));
    let delete = |version| Body::Delete(pb::Delete { version });
    assert_eq!(done(&one.command(delete(2))), Some(Err(ErrorCode::StaleVersion)));
    let out = one.command(delete(3));
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Delete)]));
    assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
    assert!(!one.replica.is_stored() && !one.replica.is_active());
}

#[test]
fn revoke_lets_what_is_in_flight_end() {
    let mut one = writing();
    one.slice(1, slice(2, 3, b"de"));
    let out = one.command(Body::Revoke(pb::Revoke { version: 1 }));
    assert_eq!(done(&out), None);
    one.slice(1, slice(3, 5, b"f"));
    one.disk(Ok(()));
    let out = one.disk(Ok(()));
    assert_eq!(acknowledged(&out), Some((2, 5)));
    assert_eq!(done(&out), Some(Ok(())));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::NotPrimary));
    assert_eq!((one.replica.confirmed(), one.replica.primary_at()), (5, None));
}

#[test]
fn a_stale_replica_is_complete_at_nothing_while_it_is_overwritten() {
    let mut one = writing();
    one.disk(Ok(()));
    one.command(prepare(4, 5));
    one.disk(Ok(()));
    assert_eq!(done(&one.command(equalize(6))), Some(Err(ErrorCode::StaleVersion)));
    let out = one.command(equalize(5));
    let [Output::PlanCopy { id, copy: Copy::Equalize(_) }] = out.as_slice() else {
        panic!("{out:?}")
    };
    let id = *id;
    let out = one.step(Event::CopyPlanned { id, source_complete: 4 });
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Demote)]), "{out:?}");
    assert!(matches!(one.disk(Ok(())).as_slice(), [Output::GoCopy { .. }]));
    assert_eq!(one.replica.state().map(|s| (s.complete, s.cloning)), Some((0, true)));
    assert!(matches!(one.replica.read(1, 0, 1), ReadVerdict::Refuse(_)));
    let out = one.step(Event::CopyEnded { id, result: Ok(outcome(9, 40)) });
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Become(_))]));
    assert!(matches!(one.disk(Ok(())).as_slice(), [Output::CommandDone { digest: true, .. }]));
    one.command(Body::Grant(grant(5, &[2, 1], 9)));
    one.disk(Ok(()));
    let header = one.replica.header().unwrap();
    assert_eq!((header.complete, header.length, header.serial), (5, 9, 0));
}

#[test]
fn a_member_of_the_same_version_stays_a_copy_while_it_is_equalised() {
    let mut one = writing();
    one.disk(Ok(()));
    one.command(prepare(1, 2));
    one.disk(Ok(()));
    let out = one.command(equalize(2));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    let out = one.step(Event::CopyPlanned { id, source_complete: 1 });
    assert!(matches!(out.as_slice(), [Output::GoCopy { .. }]));
    assert_eq!(one.replica.header().map(|h| h.complete), Some(1));
}

#[test]
fn a_new_prepare_ends_a_copy_first() {
    let mut one = writing();
    one.disk(Ok(()));
    one.command(prepare(1, 2));
    one.disk(Ok(()));
    let out = one.command(equalize(2));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    let out = one.command(prepare(1, 3));
    assert!(matches!(out.as_slice(), [Output::AbortCopy { .. }]), "{out:?}");
    // Even a copy that came to its end counts for nothing now.
    let out = one.step(Event::CopyEnded { id, result: Ok(outcome(9, 9)) });
    assert_eq!(done(&out), Some(Err(ErrorCode::Cancelled)));
    assert!(out.iter().any(|o| matches!(o, Output::Disk(DiskOp::Promise { next: 3 }))));
    one.disk(Ok(()));
    assert_eq!(one.replica.header().map(|h| (h.promised, h.length)), Some((3, 3)));
}

#[test]
fn clones_fill_what_is_not_there_and_are_dropped_when_cancelled() {
    let clone = || Body::Clone(pb::Clone { version: 4, inode: 7, index: 2, ..Default::default() });
    let mut one = writing();
    one.disk(Ok(()));
    assert_eq!(done(&one.command(clone())), Some(Err(ErrorCode::AlreadyExists)));
    let mut one = One::absent(3);
    let out = one.command(clone());
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Create { version: 0, .. })]));
    let out = one.disk(Ok(()));
    let [Output::PlanCopy { id, copy: Copy::Clone(_) }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    assert!(matches!(
        one.step(Event::CopyPlanned { id, source_complete: 4 }).as_slice(),
        [Output::GoCopy { .. }]
    ));
    let out = one.command(Body::CancelClone(pb::CancelClone { version: 4 }));
    assert!(matches!(out.as_slice(), [Output::AbortCopy { .. }]));
    let error = failure(ErrorCode::Cancelled, "stopped");
    let out = one.step(Event::CopyEnded { id, result: Err(error) });
    assert_eq!(done(&out), Some(Err(ErrorCode::Cancelled)));
    assert!(out.iter().any(|o| matches!(o, Output::Disk(DiskOp::Delete))));
    assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
    assert!(!one.replica.is_stored());
}

#[test]
fn a_clone_that_failed_leaves_nothing() {
    let mut one = One::absent(3);
    one.command(Body::Clone(pb::Clone { version: 4, ..Default::default() }));
    let out = one.disk(Ok(()));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let error = failure(ErrorCode::Unreachable, "no source");
    let out = one.step(Event::CopyEnded { id: *id, result: Err(error) });
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Delete)]), "{out:?}");
    assert_eq!(done(&one.disk(Ok(()))), Some(Err(ErrorCode::Unreachable)));
    assert!(!one.replica.is_stored() && !one.replica.is_active());

    one.command(Body::Clone(pb::Clone { version: 4, ..Default::default() }));
    let out = one.disk(Ok(()));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    one.step(Event::CopyPlanned { id, source_complete: 4 });
    one.step(Event::CopyEnded { id, result: Ok(outcome(10, 3)) });
    let out = one.disk(Err(failure(ErrorCode::DiskError, "no")));
    assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Delete)]), "{out:?}");
    let out = one.disk(Err(failure(ErrorCode::DiskError, "no")));
    assert_eq!(done(&out), Some(Err(ErrorCode::DiskError)), "not for ever");
}

#[test]
fn a_clone_waits_for_the_version_that_includes_it() {
    let mut one = One::absent(3);
    one.command(Body::Clone(pb::Clone { version: 4, ..Default::default() }));
    let out = one.disk(Ok(()));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    one.step(Event::CopyPlanned { id, source_complete: 4 });
    one.step(Event::CopyEnded { id, result: Ok(outcome(10, 3)) });
    assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
    assert_eq!(one.replica.state().map(|s| (s.complete, s.length)), Some((0, 10)));
    assert!(matches!(one.replica.read(4, 0, 1), ReadVerdict::Refuse(_)));
    one.command(prepare(4, 5));
    assert_eq!(done(&one.disk(Ok(()))), Some(Ok(())));
    one.command(Body::Grant(grant(5, &[1, 3], 10)));
    one.disk(Ok(()));
    assert_eq!(one.replica.header().map(|h| h.complete), Some(5));
}

#[test]
fn failed_stores_fail_the_command_and_change_nothing() {
    let mut one = writing();
    one.disk(Ok(()));
    one.command(prepare(1, 2));
    assert_eq!(done(&one.disk(Err(disk_error()))), Some(Err(ErrorCode::DiskError)));
    assert_eq!(one.replica.header().map(|h| h.promised), Some(1));
    let mut one = One::absent(1);
    one.command(Body::Grant(grant(1, &[1], 0)));
    assert_eq!(done(&one.disk(Err(disk_error()))), Some(Err(ErrorCode::DiskError)));
    assert!(!one.replica.is_stored());
}

#[test]
fn commands_of_one_chunk_are_bounded() {
    let mut one = writing();
    let mut refused = 0;
    for next in 0..100 {
        let out = one.command(prepare(1, 2 + next));
        refused += u32::from(done(&out) == Some(Err(ErrorCode::ResourceExhausted)));
    }
    assert_eq!(refused as usize, 100 - MAX_COMMANDS);
    for _ in 0..MAX_COMMANDS + 1 {
        one.disk(Ok(()));
    }
    assert_eq!(one.replica.header().map(|h| h.promised), Some(1 + MAX_COMMANDS as u64));
}

#[test]
fn a_replica_without_lease_takes_no_mutations() {
    let mut one = One::absent(1);
    one.command(Body::Grant(pb::Grant { lease: false, ..grant(1, &[1, 2], 0) }));
    one.disk(Ok(()));
    assert_eq!(failed(&one.push(1, open(1, 9, 0, &[2]))).map(|f| f.0), Some(ErrorCode::NotPrimary));
    // The lease may come later, as long as nothing was written.
    one.command(Body::Grant(grant(1, &[1, 2], 0)));
    assert_eq!(one.replica.primary_at(), Some(1));
}

#[test]
fn a_new_epoch_voids_what_waits_and_ends_copies() {
    let mut one = One::absent(3);
    one.command(Body::Clone(pb::Clone { version: 4, ..Default::default() }));
    let out = one.disk(Ok(()));
    let [Output::PlanCopy { id, .. }] = out.as_slice() else { panic!("{out:?}") };
    let id = *id;
    one.command(Body::Grant(grant(1, &[3], 0)));
    let out = one.step(Event::NewEpoch);
    assert!(matches!(out.first(), Some(Output::AbortCopy { .. })), "{out:?}");
    assert_eq!(done(&out), Some(Err(ErrorCode::StaleEpoch)));
    let error = failure(ErrorCode::Cancelled, "stopped");
    let out = one.step(Event::CopyEnded { id, result: Err(error) });
    assert_eq!(done(&out), Some(Err(ErrorCode::Cancelled)));
    assert!(!one.replica.is_active());
}
