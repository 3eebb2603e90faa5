//! Which writers a primary knows, takes, and misses.

use super::*;

fn single() -> One {
    let mut one = One::granted(1, &[1]);
    one.credit = 10;
    one
}

fn open_in_doubt(writer: u64, acknowledged: u64, committed: u64) -> PushBody {
    let PushBody::Open(open) = open(1, writer, 0, &[]) else { panic!() };
    PushBody::Open(pb::PushOpen { acknowledged, committed, ..open })
}

/// Each of these writers appends a byte and goes.
fn append_from(one: &mut One, writers: std::ops::Range<u64>) {
    for writer in writers {
        one.push(writer, open(1, writer, 0, &[]));
        assert!(written(&one.slice(writer, record(1, 1))).is_some(), "writer {writer}");
        one.disk(Ok(()));
        one.step(Event::Closed { stream: StreamId(writer) });
    }
}

fn vanished(out: &[Output<Payload>]) -> Vec<(u64, u32)> {
    out.iter()
        .filter_map(|output| match output {
            Output::WriterVanished { version: 1, writer, length } => Some((*writer, *length)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_sixty_fifth_writer_waits_until_one_is_gone() {
    let mut one = single();
    append_from(&mut one, 1..65);
    let refused = |out: &[Output<Payload>]| failed(out).map(|f| f.0);
    let out = one.push(100, open(1, 100, 0, &[]));
    assert_eq!(refused(&out), Some(ErrorCode::ResourceExhausted));
    // The oldest comes back and stays: nobody else's turn either.
    one.push(101, open(1, 1, 0, &[]));
    let gone = vanished(&one.wait(60_100));
    assert_eq!(gone.len(), 63, "each is missed once, but not the one that is here");
    let out = one.push(100, open(1, 100, 0, &[]));
    assert_eq!(refused(&out), Some(ErrorCode::ResourceExhausted));
    // It mutates, and is no longer the one to be forgotten.
    one.slice(101, record(2, 1));
    one.disk(Ok(()));
    assert_eq!(refused(&one.push(100, open(1, 100, 0, &[]))), None);
    one.slice(100, record(1, 1));
    one.disk(Ok(()));
    let window = &one.replica.header().unwrap().window;
    assert!(window.forgot() && window.of(2).is_none() && window.last(100) == 1);
}

#[test]
fn writers_that_only_have_streams_are_counted_too() {
    let mut one = single();
    for writer in 1..=64 {
        assert_eq!(failed(&one.push(writer, open(1, writer, 0, &[]))), None);
    }
    let out = one.push(65, open(1, 65, 0, &[]));
    assert_eq!(failed(&out).map(|f| f.0), Some(ErrorCode::ResourceExhausted));
    one.step(Event::Closed { stream: StreamId(7) });
    assert_eq!(failed(&one.push(66, open(1, 66, 0, &[]))), None);
    // Thousands that come and go leave nothing.
    for writer in 1_000..3_000 {
        one.step(Event::Closed { stream: StreamId(writer - 1) });
        one.step(Event::Closed { stream: StreamId(66) });
        assert_eq!(failed(&one.push(writer, open(1, writer, 0, &[]))), None, "{writer}");
    }
    let known = one.replica.role.as_ref().and_then(|role| role.primary.as_ref());
    assert_eq!((known.map(|p| p.writers.len()), one.replica.seen.len()), (Some(64), 128));
}

/// A primary that forgot writers 1 and 2.
pub(super) fn forgetful(mistakes: Mistakes) -> One {
    let mut one = One::absent(1);
    let mut window = Window::default();
    for writer in 1..=66 {
        window.record(writer, 5, 0);
    }
    assert!(window.forgot());
    let identity = Identity { handle: 5, ..Default::default() };
    let header = Header { promised: 1, complete: 1, length: 10, window, ..Default::default() };
    one.replica = Replica::load(Settings { mistakes, ..settings(1) }, identity, header);
    one.command(Body::Grant(grant(1, &[1], 10)));
    // All of them are long gone.
    one.wait(60_100);
    one
}

/// Whether a primary says that it cannot tell.
pub(super) fn in_doubt(one: &mut One, writer: u64, acknowledged: u64, committed: u64) -> bool {
    let out = one.push(writer, open_in_doubt(writer, acknowledged, committed));
    failed(&out).map(|f| f.0) == Some(ErrorCode::OutcomeUnknown)
}

fn opened_at(out: &[Output<Payload>]) -> Option<u64> {
    replies(out).into_iter().find_map(|body| match body {
        ReplyBody::Opened(opened) => Some(opened.sequence),
        _ => None,
    })
}

#[test]
fn what_was_forgotten_is_not_made_up() {
    let mut one = forgetful(Mistakes::default());
    assert!(in_doubt(&mut one, 1, 4, 5));
    // Nothing is in doubt: it goes on behind what it knows.
    assert_eq!(opened_at(&one.push(200, open_in_doubt(2, 5, 5))), Some(5));
    assert!(written(&one.slice(200, record(6, 1))).is_some());
    // The window knows better than the writer.
    assert_eq!(opened_at(&one.push(300, open_in_doubt(50, 1, 9))), Some(5));
    // Where nobody was forgotten, one that is not known has done nothing.
    let mut one = single();
    assert_eq!(opened_at(&one.push(1, open_in_doubt(9, 0, 3))), Some(0));
}

#[test]
fn a_writer_that_is_silent_for_a_minute_is_reported_once() {
    let mut one = single();
    one.push(1, open(1, 9, 0, &[]));
    one.slice(1, record(1, 5));
    one.disk(Ok(()));
    assert!(one.wait(120_000).is_empty(), "its stream is there");
    one.step(Event::Closed { stream: StreamId(1) });
    assert!(one.wait(59_800).is_empty());
    one.push(2, open(1, 9, 0, &[]));
    one.step(Event::Closed { stream: StreamId(2) });
    assert!(one.wait(59_800).is_empty(), "it was there again");
    assert_eq!(vanished(&one.wait(400)), [(9, 5)]);
    assert!(one.wait(200_000).is_empty() && !one.replica.needs_ticks());
}

#[test]
fn a_primary_whose_role_ended_misses_its_writers_all_the_same() {
    let mut one = One::granted(1, &[1, 2]);
    one.push(1, open(1, 9, 0, &[2]));
    one.opened_below(1);
    one.step(Event::DownBroken { stream: StreamId(1), why: "reset".into() });
    assert_eq!(vanished(&one.wait(60_100)), [(9, 0)]);
}

#[test]
fn writers_of_a_finished_chunk_are_not_missed() {
    let mut one = single();
    one.push(1, open(1, 9, 0, &[]));
    one.push(1, PushBody::Finish(pb::Finish::default()));
    one.disk(Ok(()));
    one.step(Event::Closed { stream: StreamId(1) });
    assert!(!one.replica.needs_ticks());
}

#[test]
fn writers_of_an_earlier_version_are_missed_too() {
    let mut one = single();
    append_from(&mut one, 9..10);
    one.command(Body::Prepare(pb::Prepare { version: 1, next: 2 }));
    one.disk(Ok(()));
    one.command(Body::Grant(grant(2, &[1], 1)));
    one.disk(Ok(()));
    let out = one.wait(60_100);
    assert!(
        out.iter()
            .any(|o| matches!(o, Output::WriterVanished { version: 2, writer: 9, length: 1 }))
    );
}
