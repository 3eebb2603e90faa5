//! Who knows what was acknowledged, and what a report says of a replica in the making.

use super::*;

fn primary() -> One {
    let mut one = One::granted(1, &[1, 2, 3]);
    one.push(1, open(1, 9, 0, &[2, 3]));
    one.opened_below(1);
    one
}

fn held(through: u64) -> ReplyBody {
    ReplyBody::Held(pb::Held { through })
}

#[test]
fn a_primary_whose_role_ended_still_knows_what_was_acknowledged() {
    let mut one = primary();
    one.slice(1, slice(1, 0, b"abc"));
    one.down(1, held(1));
    one.disk(Ok(()));
    one.down(1, ReplyBody::Applied(pb::Applied { through: 1 }));
    one.slice(1, slice(2, 3, b"de"));
    one.down(1, held(2));
    one.disk(Ok(()));
    assert_eq!(one.replica.header().map(|h| h.length), Some(5));
    one.step(Event::DownBroken { stream: StreamId(1), why: "reset".into() });
    assert_eq!(one.replica.primary_at(), None);
    // To the end, and past it, and while another version is promised.
    let served = ReadVerdict::Serve { bytes: 3, chunk_length: 3 };
    assert_eq!(one.replica.read(1, 0, 1_000), served);
    assert!(one.replica.knows_confirmed(1) && !one.replica.knows_confirmed(2));
    one.command(Body::Prepare(pb::Prepare { version: 1, next: 2 }));
    one.disk(Ok(()));
    assert_eq!(one.replica.read(1, 0, 1_000), served);
    // One that was started anew does not know.
    let (identity, header) = (one.replica.identity().unwrap(), one.replica.header().unwrap());
    let again = Replica::<Payload>::load(settings(1), *identity, header.clone());
    assert!(!again.knows_confirmed(1));
    assert!(matches!(again.read(1, 0, 1_000), ReadVerdict::Refuse(_)));
}

#[test]
fn a_replica_in_the_making_is_reported() {
    let mut one = One::absent(1);
    assert_eq!(one.replica.reported(), None);
    one.command(Body::Grant(grant(1, &[1, 2], 0)));
    // A master that knew nothing of it would never take it away.
    let state = one.replica.reported().unwrap();
    assert_eq!((state.promised, state.complete, state.inode, state.lease), (1, 0, 7, false));
    one.disk(Err(disk_error()));
    assert_eq!(one.replica.reported(), None);
    let clone = pb::Clone { version: 4, inode: 7, ..Default::default() };
    one.command(Body::Clone(clone));
    let state = one.replica.reported().unwrap();
    assert_eq!((state.promised, state.complete, state.cloning), (0, 0, false));
    one.disk(Ok(()));
    assert!(one.replica.is_stored());
}
