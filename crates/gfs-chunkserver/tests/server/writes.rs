//! Writes through the chain, and reads of what was written.

use crate::master::CHUNK;
use crate::rig::{Disk, Rig, Running};
use crate::wire::{Push, code, pattern, read, slice};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use pb::notice::Body as Notice;
use pb::push_reply::Body as ReplyBody;
use std::collections::BTreeSet;
use std::time::Duration;

const MIB: u32 = 1 << 20;
const H: u64 = 0x501;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_through_the_chain_is_read_from_each() {
    let rig = Rig::start(3).await;
    rig.master.grant(H, 1, &[1, 2, 3], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 3, 2]).await;
    let opened = push.opened().await;
    assert!(opened.credit >= 2 * MIB && opened.length == 0, "{opened:?}");
    // Several in flight, of odd sizes.
    let sizes = [MIB, 5, 70_000, MIB - 5, 1];
    let (mut offset, mut sequence) = (0, 0);
    for size in sizes {
        sequence += 1;
        push.sender.send(slice(sequence, offset, &pattern(offset, size))).await.unwrap();
        offset += size;
    }
    assert_eq!(push.acknowledged(sequence).await.length, offset);
    // Before Finish the last bytes are only known acknowledged at the primary: others ask it.
    for server in [1, 2, 3] {
        let data = read(&rig, server, H, 1, 0, CHUNK).await.unwrap();
        assert!(data == pattern(0, offset), "server {server}");
    }
    let finished = push.finish().await;
    assert_eq!((finished.version, finished.length, finished.serial), (1, offset, 5));
    for server in [1, 2, 3] {
        assert_eq!(read(&rig, server, H, 1, 65_530, 20).await.unwrap(), pattern(65_530, 20)[..]);
        assert!(read(&rig, server, H, 1, offset, 20).await.unwrap().is_empty());
        let error = read(&rig, server, H, 2, 0, 20).await.unwrap_err();
        assert_eq!((code(&error), error.actual), (ErrorCode::StaleVersion, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_may_come_before_its_grant() {
    let rig = Rig::start(2).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    // The secondary's comes last.
    let first = rig.master.send(1, H, rig.master.grant_body(1, &[1, 2], 0)).await;
    rig.master.result(first).await;
    rig.master.send(2, H, rig.master.grant_body(1, &[1, 2], 0)).await;
    push.opened().await;
    push.write(1, 0, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_acknowledged_and_not_applied_again() {
    let rig = Rig::start(2).await;
    rig.master.grant(H, 1, &[1, 2], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    push.opened().await;
    push.write(1, 0, 100).await;
    push.write(2, 100, 100).await;
    // On the same stream, and on a new one.
    push.sender.send(slice(1, 0, &pattern(0, 100))).await.unwrap();
    assert_eq!(push.acknowledged(1).await.through, 2);
    let mut again = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    let opened = again.opened().await;
    assert_eq!((opened.sequence, opened.length), (2, 200));
    again.sender.send(slice(2, 100, &pattern(100, 100))).await.unwrap();
    assert_eq!(again.acknowledged(2).await.length, 200);
    again.write(3, 200, 100).await;
    assert_eq!(read(&rig, 2, H, 1, 0, CHUNK).await.unwrap(), pattern(0, 300)[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_breaks_off_is_named_and_the_write_goes_on_without_it() {
    let rig = Rig::start(3).await;
    rig.master.grant(H, 1, &[1, 2, 3], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2, 3]).await;
    push.opened().await;
    push.write(1, 0, MIB).await;
    // The connection between the secondaries breaks while a slice is on its way.
    rig.server(2).wire.cut(&rig.server(3).address);
    let _ = push.sender.send(slice(2, MIB, &pattern(MIB, MIB))).await;
    let error = push.failed().await;
    assert_eq!((code(&error), error.server), (ErrorCode::Unreachable, 3));
    let (from, notice) = rig.master.notice(H).await;
    let Notice::PrimaryEnded(notice) = notice else { panic!("{notice:?}") };
    assert_eq!((from, notice.unreachable, notice.version), (1, 3, 1));
    // The version changes without it, and the same slice comes again.
    let length = crate::changes::change(&rig, H, 1, 2, &[1, 2]).await;
    let mut push = Push::open(&rig, H, 2, 9, &[1, 2]).await;
    let opened = push.opened().await;
    assert!(opened.length == length && opened.sequence >= 1, "{opened:?}");
    push.sender.send(slice(2, MIB, &pattern(MIB, MIB))).await.unwrap();
    assert_eq!(push.acknowledged(2).await.length, 2 * MIB);
    push.write(3, 2 * MIB, 10).await;
    for server in [1, 2] {
        let data = read(&rig, server, H, 2, 0, CHUNK).await.unwrap();
        assert!(data == pattern(0, 2 * MIB + 10), "server {server}");
    }
    // The one left behind answers nobody who knows the new version.
    let error = read(&rig, 3, H, 2, 0, 10).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::StaleVersion);
    rig.master.leave_out(H, 2);
    for _ in 0..500 {
        let error = read(&rig, 3, H, 1, 0, 10).await.unwrap_err();
        if code(&error) == ErrorCode::StaleVersion {
            return;
        }
        // Until it was told: the primary it would have to ask has moved on.
        assert_eq!(code(&error), ErrorCode::Fenced);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not told that it is left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_role_and_not_the_server() {
    let (disk, files) = Disk::model();
    let rig = Rig::on(vec![Disk::real(), disk]).await;
    rig.master.grant(H, 1, &[1, 2], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    push.opened().await;
    push.write(1, 0, 70_000).await;
    files.set_free(0);
    push.sender.send(slice(2, 70_000, &pattern(70_000, MIB))).await.unwrap();
    let error = push.failed().await;
    assert_eq!((code(&error), error.server), (ErrorCode::NoSpace, 2));
    // What was acknowledged is there, and can be read as soon as the version has changed.
    files.set_free(1 << 30);
    let length = crate::changes::change(&rig, H, 1, 2, &[2, 1]).await;
    assert!(length >= 70_000);
    assert_eq!(read(&rig, 2, H, 2, 0, 70_000).await.unwrap(), pattern(0, 70_000)[..]);
    assert!(rig.server(2).health.alive().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_by_a_read_and_reported() {
    let rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, MIB).await;
    let path = rig.disks[0].dir().join(format!("chunks/{:02x}/{H:016x}.chunk", H & 0xff));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = read(&rig, 1, H, 1, 0, MIB).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::Corrupt);
    let (_, notice) = rig.master.notice(H).await;
    let Notice::Damaged(state) = notice else { panic!("{notice:?}") };
    assert_eq!(state.damaged, [pb::BlockRange { first: 3, count: 1 }]);
    assert_eq!(read(&rig, 1, H, 1, 0, 100_000).await.unwrap(), pattern(0, 100_000)[..]);
    let verify = pb::command::Body::Verify(pb::Verify { version: 1, blocks: None });
    assert_eq!(rig.master.done(1, H, verify).await.damaged.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_reports_what_it_has_and_orders_nothing() {
    let mut rig = Rig::start(2).await;
    rig.master.grant(H, 1, &[1, 2], 0).await;
    rig.master.grant(H + 1, 1, &[1, 2], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    push.opened().await;
    push.write(1, 0, MIB).await;
    let mut done = Push::open(&rig, H + 1, 1, 9, &[1, 2]).await;
    done.opened().await;
    done.write(1, 0, 50).await;
    done.finish().await;
    drop((push, done));
    let second = rig.servers.remove(1);
    second.stop().await;
    rig.servers.push(Running::start(&rig.master, &rig.disks[1], 2).await);
    let report = rig.master.report(2);
    let said: Vec<_> =
        report.iter().map(|s| (s.handle, s.complete, s.length, s.serial, s.sealed)).collect();
    assert_eq!(said, [(H, 1, MIB, 1, false), (H + 1, 1, 50, 1, true)]);
    // Of the open one it does not know what is acknowledged; of the finished one it does.
    let error = read(&rig, 2, H, 1, 0, 10).await.unwrap_err();
    assert_eq!(code(&error), ErrorCode::Fenced);
    assert_eq!(read(&rig, 2, H + 1, 1, 0, 50).await.unwrap(), pattern(0, 50)[..]);
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    let error = push.failed().await;
    assert_eq!((code(&error), error.server), (ErrorCode::Unreachable, 2), "it has moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_stop_when_the_leader_is_not_heard() {
    let rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, 10).await;
    // The session goes on under a limit that a test can wait for.
    rig.master.read_limit.send_replace(300);
    rig.master.restart();
    rig.master.registered(1).await;
    rig.master.leads.send_replace(false);
    let mut refused = None;
    for _ in 0..500 {
        match read(&rig, 1, H, 1, 0, 10).await {
            Ok(data) => assert_eq!(data, pattern(0, 10)[..]),
            Err(error) => {
                refused = Some(code(&error));
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refused, Some(ErrorCode::Fenced));
    // A slice is still taken: fencing of writes is a matter of versions.
    push.write(2, 10, 10).await;
    rig.master.leads.send_replace(true);
    for _ in 0..500 {
        if read(&rig, 1, H, 1, 0, 20).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("reads do not come back with the leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_restarts_is_registered_with_again() {
    let rig = Rig::start(2).await;
    rig.master.grant(H, 1, &[1, 2], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1, 2]).await;
    push.opened().await;
    push.write(1, 0, 10).await;
    rig.master.epoch.send_replace(4);
    rig.master.restart();
    for server in [1, 2] {
        rig.master.registered(server).await;
    }
    // The role lives on, and is reported.
    assert!(rig.master.report(1).iter().any(|state| state.handle == H && state.lease));
    push.write(2, 10, 10).await;
    // Commands of the old epoch count no more.
    let grant = rig.master.grant_body(1, &[1], 0);
    let old = rig.master.send_under(3, 1, H + 1, grant).await;
    let error = rig.master.result(old).await.error.unwrap();
    assert_eq!((code(&error), error.epoch), (ErrorCode::StaleEpoch, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_so_and_ends_its_streams() {
    let mut rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, 10).await;
    let server = rig.servers.remove(0);
    let master = rig.master.clone();
    let (leaving, ()) = tokio::join!(
        tokio::spawn(async move { master.beat(1, |beat| beat.leaving).await }),
        async {
            // A writer that hangs on does not keep it.
            let stopping = tokio::time::timeout(Duration::from_secs(15), server.stop());
            stopping.await.expect("ends");
        }
    );
    leaving.unwrap();
    assert!(!matches!(push.reply().await, Some(ReplyBody::Acknowledged(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_was_done() {
    let rig = Rig::start(1).await;
    rig.master.grant(H, 1, &[1], 0).await;
    let mut push = Push::open(&rig, H, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, 1000).await;
    read(&rig, 1, H, 1, 0, 1000).await.unwrap();
    let text = rig.servers[0].metrics.render().unwrap();
    for line in [
        "gfs_chunkserver_written_bytes_total 1000",
        "gfs_chunkserver_read_bytes_total 1000",
        "gfs_chunkserver_commands_total{kind=\"grant\",code=\"OK\"} 1",
        "gfs_chunkserver_sessions 1",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    // Every metric is documented. (Those with labels are shown once something was counted.)
    let document = include_str!("../../../../docs/metrics-chunkserver.md");
    let names = |text: &str, before: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(before));
        let name = |line: &str| {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            line.split_at(end.unwrap_or(line.len())).0.trim_end_matches("_total").to_owned()
        };
        lines.filter(|line| line.starts_with("gfs_chunkserver_")).map(name).collect()
    };
    let (documented, shown) = (names(document, "| `"), names(&text, "# TYPE "));
    assert!(shown.len() >= 14, "{shown:?}");
    assert_eq!(shown.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new());
}
