//! A server with several volumes, of which one fails, hangs, fills up or goes.

use crate::master::{CHUNK, CLUSTER};
use crate::rig::{Disk, Rig, Running, volumes_options};
use crate::wire::{Push, code, pattern, read};
use gfs_chunkserver::files::{Fault, FaultyFiles, Moment, OperationKind, OsFiles, Rule};
use gfs_chunkserver::store::{Header, Slot, VolumeRecord};
use gfs_chunkserver::{Directory, OpenError, Volumes};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Geometry, ServerNumber, ServerUuid};
use pb::command::Body;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const A: u64 = 0xa01;
const B: u64 = 0xb02;
const C: u64 = 0xc03;
const MIB: u32 = 1 << 20;
/// Plenty.
const SIZE: u64 = 1 << 40;

/// One server with two volumes; A was written on the first, B on the second, and their streams are
/// open.
async fn rig() -> (Rig, Vec<FaultyFiles>, Push, Push) {
    let (disk, files) = Disk::models(2);
    let rig = Rig::on(vec![disk]).await;
    let volume = |at: usize| format!("/volume-{at}");
    files[1].set_free(SIZE / 2);
    rig.master.beat(1, |beat| beat.volumes[1].free_bytes <= SIZE / 2).await;
    let a = written(&rig, A).await;
    files[1].set_free(SIZE);
    files[0].set_free(SIZE / 2);
    let turned = |beat: &pb::Heartbeat| {
        beat.volumes[0].free_bytes <= SIZE / 2 && beat.volumes[1].free_bytes > SIZE / 2
    };
    rig.master.beat(1, turned).await;
    let b = written(&rig, B).await;
    files[0].set_free(SIZE);
    let one_each = |beat: &pb::Heartbeat| {
        (0..2).all(|at| beat.volumes[at].chunks == 1 && beat.volumes[at].dir == volume(at))
    };
    rig.master.beat(1, one_each).await;
    (rig, files, a, b)
}

async fn written(rig: &Rig, handle: u64) -> Push {
    rig.master.grant(handle, 1, &[1], 0).await;
    let mut push = Push::open(rig, handle, 1, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, MIB).await;
    push
}

const FILE_OF_A: &str = "/volume-0/chunks/01/0000000000000a01.chunk";

/// The headers in a chunk's file, the newer one first, and where they are.
fn headers(content: &[u8]) -> [(usize, Box<Header>); 2] {
    let slots = [0, 1].map(|index| {
        let at = (CHUNK + index * 4096) as usize;
        match Header::decode(&content[at..at + 4096]) {
            Slot::Valid { header, .. } => (at, header),
            other => panic!("{other:?}"),
        }
    });
    match slots {
        [a, b] if a.1.generation > b.1.generation => [a, b],
        [a, b] => [b, a],
    }
}

/// How many looks at the first volume ended so.
fn probes(rig: &Rig, result: &str) -> u64 {
    let text = rig.servers[0].metrics.render().unwrap();
    let name = "gfs_chunkserver_volume_probes_total{volume=\"/volume-0\",result=";
    let name = format!("{name}\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

/// Waits until so many did.
async fn probed(rig: &Rig, result: &str, times: u64) {
    let waiting = async {
        while probes(rig, result) < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("no probes");
}

fn replica(report: &[pb::ReplicaState], handle: u64) -> Option<&pb::ReplicaState> {
    report.iter().find(|state| state.handle == handle)
}

/// Reported after the first volume was gone.
fn without_a(report: &[pb::ReplicaState]) -> bool {
    replica(report, A).is_none() && replica(report, B).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_to_the_emptiest_volume_and_are_found_again() {
    let (mut rig, files, mut a, mut b) = rig().await;
    a.finish().await;
    b.finish().await;
    assert!(files[0].content(Path::new("/volume-0/chunks/01/0000000000000a01.chunk")).is_ok());
    assert!(files[1].content(Path::new("/volume-1/chunks/02/0000000000000b02.chunk")).is_ok());
    rig.servers.pop().unwrap().stop().await;
    rig.servers.push(Running::start(&rig.master, &rig.disks[0], 1).await);
    assert_eq!(rig.servers[0].number, 1);
    for handle in [A, B] {
        assert!(read(&rig, 1, handle, 1, 0, MIB).await.unwrap() == pattern(0, MIB));
    }
    let text = rig.servers[0].metrics.render().unwrap();
    assert!(text.contains("gfs_chunkserver_volume_in_service{volume=\"/volume-1\"} 1"), "{text}");
    // It had ended in order: no file was opened to find them.
    for volume in ["/volume-0", "/volume-1"] {
        let used = format!("gfs_chunkserver_starts_total{{volume=\"{volume}\",log=\"used\"}} 1");
        assert!(text.contains(&used), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_says_other_than_the_start_up_log_is_reported_anew_when_it_is_used() {
    let (mut rig, files, mut a, _b) = rig().await;
    a.finish().await;
    rig.servers.pop().unwrap().stop().await;
    // A later header, that leaves no trace at the file: what no system call does.
    let path = Path::new(FILE_OF_A);
    let content = files[0].content(path).unwrap();
    let [(_, newer), (at, _)] = headers(&content);
    let promised = gfs_types::Version(5);
    let forged = Header { promised, generation: newer.generation + 1, ..*newer }.encode();
    for (at, byte) in (at..).zip(forged) {
        files[0].damage(path, at as u64, content[at] ^ byte).unwrap();
    }
    rig.servers.push(Running::start(&rig.master, &rig.disks[0], 1).await);
    assert_eq!(replica(&rig.master.report(1), A).unwrap().promised, 1);
    assert!(read(&rig, 1, A, 1, 0, 10).await.unwrap() == pattern(0, 10));
    rig.master
        .reported(1, |report| replica(report, A).is_some_and(|state| state.promised == 5))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_turns_read_only_leaves_service_alone() {
    let (rig, files, mut a, mut b) = rig().await;
    files[0].set_read_only(true);
    a.sender.send(crate::wire::slice(2, MIB, &pattern(MIB, 10))).await.unwrap();
    let error = a.failed().await;
    assert_eq!((code(&error), error.server), (ErrorCode::DiskError, 1), "{error:?}");
    rig.master.beat(1, |beat| beat.volumes[0].failing.contains("read-only")).await;
    // All masters hear anew what there is: A does not count, B does.
    let report = rig
        .master
        .reported(1, |report| replica(report, A).is_some_and(|a| !a.damaged.is_empty()))
        .await;
    assert_eq!(replica(&report, A).unwrap().damaged, [pb::BlockRange { first: 0, count: 16 }]);
    assert!(replica(&report, B).unwrap().damaged.is_empty());
    rig.master.registered(1).await;
    // Where there is nothing better it can be read; the other volume goes on.
    assert!(read(&rig, 1, A, 1, 0, 100).await.unwrap() == pattern(0, 100));
    b.write(2, MIB, 100).await;
    written(&rig, C).await;
    assert!(files[1].content(Path::new("/volume-1/chunks/03/0000000000000c03.chunk")).is_ok());
    // What is deleted is forgotten: the file stays until the volume is back.
    rig.master.done(1, A, Body::Delete(pb::Delete { version: 1 })).await;
    assert_eq!(code(&read(&rig, 1, A, 1, 0, 1).await.unwrap_err()), ErrorCode::UnknownChunk);
    let text = rig.servers[0].metrics.render().unwrap();
    assert!(text.contains("gfs_chunkserver_volume_in_service{volume=\"/volume-1\"} 1"), "{text}");

    // Back, with a restart, it is told again.
    let Rig { master, mut servers, disks, dialer } = rig;
    servers.pop().unwrap().stop().await;
    files[0].set_read_only(false);
    let rig =
        Rig { servers: vec![Running::start(&master, &disks[0], 1).await], master, disks, dialer };
    let report = rig.master.report(1);
    assert!(replica(&report, A).unwrap().damaged.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_can_be_written_to_again_is_taken_back() {
    let (rig, files, mut a, mut b) = rig().await;
    let before = rig.master.boot_id(1);
    files[0].set_read_only(true);
    a.sender.send(crate::wire::slice(2, MIB, &pattern(MIB, 10))).await.unwrap();
    a.failed().await;
    rig.master
        .reported(1, |report| replica(report, A).is_some_and(|a| !a.damaged.is_empty()))
        .await;
    probed(&rig, "refused", 1).await;
    let without = rig.master.boot_id(1);
    files[0].set_read_only(false);
    let back = |report: &[pb::ReplicaState]| {
        replica(report, A).is_some_and(|a| a.damaged.is_empty()) && replica(report, B).is_some()
    };
    let report = rig.master.reported(1, back).await;
    rig.master.registered(1).await;
    let state = replica(&report, A).unwrap();
    assert_eq!((state.complete, state.length), (1, MIB));
    // What was not synced may be gone, though no kernel was booted.
    let [(_, header), _] = headers(&files[0].content(Path::new(FILE_OF_A)).unwrap());
    assert_eq!(state.suspect, !header.flags.clean);
    // What it does not have does not show what it never had: neither before nor without.
    let after = rig.master.boot_id(1);
    assert!(before != without && without != after && after != before);
    // New replicas go there again, and the other volume went on.
    rig.master.beat(1, |beat| beat.volumes[0].failing.is_empty()).await;
    files[1].set_free(SIZE / 2);
    rig.master.beat(1, |beat| beat.volumes[1].free_bytes <= SIZE / 2).await;
    written(&rig, C).await;
    assert!(files[0].content(Path::new("/volume-0/chunks/03/0000000000000c03.chunk")).is_ok());
    b.write(2, MIB, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_away_is_taken_back_and_another_in_its_place_is_not() {
    let (rig, files, mut a, mut b) = rig().await;
    a.finish().await;
    b.finish().await;
    let record = Path::new("/volume-0/gfs-volume");
    let ours = files[0].content(record).unwrap();
    files[0].inject(Rule {
        kind: OperationKind::Open,
        path: "gfs-volume".to_owned(),
        skip: 0,
        times: u64::MAX,
        fault: Fault::Error(libc::ENOENT),
    });
    rig.master.reported(1, without_a).await;
    rig.master.registered(1).await;
    // It is made anew on the other volume, at a later version.
    rig.master.grant(A, 1, &[1], 0).await;
    rig.master.done(1, A, Body::Prepare(pb::Prepare { version: 1, next: 2 })).await;
    rig.master.grant(A, 2, &[1], 0).await;
    // Another one is mounted in its place.
    let mut other = VolumeRecord::decode(&ours).unwrap();
    other.volume = gfs_types::VolumeUuid(0xbad);
    files[0].overwrite(record, 0, other.encode().as_bytes()).unwrap();
    files[0].clear_rules();
    probed(&rig, "refused", probes(&rig, "refused") + 2).await;
    rig.master.beat(1, |beat| !beat.volumes[0].failing.is_empty()).await;
    assert_eq!(files[0].content(record).unwrap(), other.encode().as_bytes());
    // And then the right one.
    files[0].overwrite(record, 0, &ours).unwrap();
    probed(&rig, "taken back", 1).await;
    rig.master.beat(1, |beat| beat.volumes[0].failing.is_empty()).await;
    rig.master.registered(1).await;
    let report =
        rig.master.reported(1, |report| replica(report, A).is_some_and(|a| a.complete == 2)).await;
    assert_eq!(report.len(), 2, "{report:?}");
    assert!(files[0].content(Path::new("/volume-0/quarantine/0000000000000a01.chunk")).is_ok());
    assert!(read(&rig, 1, B, 1, 0, 100).await.unwrap() == pattern(0, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_missing_at_the_start_is_taken_in_when_it_comes() {
    let (mut rig, files, mut a, mut b) = rig().await;
    a.finish().await;
    b.finish().await;
    rig.servers.pop().unwrap().stop().await;
    files[0].inject(Rule {
        kind: OperationKind::Lock,
        path: String::new(),
        skip: 0,
        times: u64::MAX,
        fault: Fault::Error(libc::ENOENT),
    });
    rig.servers.push(Running::start(&rig.master, &rig.disks[0], 1).await);
    assert!(without_a(&rig.master.report(1)));
    probed(&rig, "refused", 1).await;
    files[0].clear_rules();
    rig.master.reported(1, |report| replica(report, A).is_some_and(|a| !a.suspect)).await;
    rig.master.registered(1).await;
    for handle in [A, B] {
        assert!(read(&rig, 1, handle, 1, 0, MIB).await.unwrap() == pattern(0, MIB));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_takes_its_volume_out_of_service() {
    let (rig, files, _a, mut b) = rig().await;
    files[0].inject(Rule {
        kind: OperationKind::Sync,
        path: String::new(),
        skip: 0,
        times: u64::MAX,
        fault: Fault::Error(libc::EIO),
    });
    // The sync in the background meets it.
    rig.master.beat(1, |beat| !beat.volumes[0].failing.is_empty()).await;
    rig.master
        .reported(1, |report| replica(report, A).is_some_and(|a| !a.damaged.is_empty()))
        .await;
    rig.master.registered(1).await;
    b.write(2, MIB, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_hangs_is_gone_after_ten_seconds_and_the_other_never_waits() {
    let (rig, files, mut a, mut b) = rig().await;
    let (hang, hangs) = watch::channel(true);
    files[0].set_hook(Some(Arc::new(move |operation, moment| {
        let waits = matches!(operation.kind, OperationKind::Write | OperationKind::Read);
        while waits && moment == Moment::Before && *hangs.borrow() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    })));
    a.sender.send(crate::wire::slice(2, MIB, &pattern(MIB, 10))).await.unwrap();
    rig.master.beat(1, |beat| beat.volumes[0].oldest_io_ms > 2_500).await;
    // No new work for it, and none is kept waiting by it.
    b.write(2, MIB, 100).await;
    written(&rig, C).await;
    assert!(files[1].content(Path::new("/volume-1/chunks/03/0000000000000c03.chunk")).is_ok());
    let error = a.failed().await;
    assert_eq!((code(&error), error.server), (ErrorCode::DiskError, 1), "{error:?}");
    rig.master.beat(1, |beat| beat.volumes[0].failing.contains("not answered")).await;
    let report = rig.master.reported(1, without_a).await;
    assert!(replica(&report, C).is_some(), "{report:?}");
    rig.master.registered(1).await;
    b.write(3, MIB + 100, 100).await;
    // A new replica of the chunk can be made beside what hangs.
    rig.master.grant(A, 1, &[1], 0).await;
    assert!(files[1].content(Path::new("/volume-1/chunks/01/0000000000000a01.chunk")).is_ok());
    // When it answers again what was under way comes to its end first. It has the better replica of
    // what was made anew: that is not thrown away, nor can it be told.
    hang.send_replace(false);
    rig.master.beat(1, |beat| beat.volumes[0].failing.is_empty()).await;
    assert!(files[0].content(Path::new(FILE_OF_A)).is_ok());
    rig.master.reported(1, |report| replica(report, A).is_some_and(|a| a.length == 0)).await;
    rig.master.registered(1).await;
    assert!(rig.master.boot_id(1).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_goes_takes_its_replicas_along_and_brings_back_what_is_not_outdone() {
    let (rig, files, mut a, mut b) = rig().await;
    a.finish().await;
    b.finish().await;
    // Its record is gone: what is written to its files would be lost with the process.
    files[0].inject(Rule {
        kind: OperationKind::Open,
        path: "gfs-volume".to_owned(),
        skip: 0,
        times: u64::MAX,
        fault: Fault::Error(libc::ENOENT),
    });
    rig.master.reported(1, without_a).await;
    rig.master.registered(1).await;
    assert_eq!(code(&read(&rig, 1, A, 1, 0, 1).await.unwrap_err()), ErrorCode::UnknownChunk);
    // It is made anew on the other volume, at a later version.
    rig.master.grant(A, 1, &[1], 0).await;
    let prepare = pb::Prepare { version: 1, next: 2 };
    rig.master.done(1, A, Body::Prepare(prepare)).await;
    rig.master.grant(A, 2, &[1], 0).await;
    let mut push = Push::open(&rig, A, 2, 9, &[1]).await;
    push.opened().await;
    push.write(1, 0, 77).await;
    push.finish().await;
    let Rig { master, mut servers, disks, dialer } = rig;
    servers.pop().unwrap().stop().await;
    files[0].clear_rules();
    let rig =
        Rig { servers: vec![Running::start(&master, &disks[0], 1).await], master, disks, dialer };
    let report = rig.master.report(1);
    let state = replica(&report, A).unwrap();
    assert_eq!((report.len(), state.complete, state.length), (2, 2, 77));
    assert!(files[0].content(Path::new("/volume-0/quarantine/0000000000000a01.chunk")).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_volumes_are_all_full_takes_no_new_chunk() {
    let (rig, files, mut a, _b) = rig().await;
    // A model disk is as large as what is on it and what is left.
    let used = std::cell::Cell::new([0; 2]);
    let look = |beat: &pb::Heartbeat| {
        let [a, b] = [0, 1].map(|at| beat.volumes[at].total_bytes - beat.volumes[at].free_bytes);
        used.set([a, b]);
        a.min(b) > u64::from(MIB)
    };
    rig.master.beat(1, look).await;
    let [first, second] = used.get();
    files[0].set_free(first / 10);
    files[1].set_free(second / 25);
    let nearly_full =
        |beat: &pb::Heartbeat| (0..2).all(|at| beat.volumes[at].free_bytes < u64::from(MIB));
    rig.master.beat(1, nearly_full).await;
    // 91 % used: new chunks, no clones; 96 %: nothing new; what is there goes on.
    let clone = pb::Clone { version: 1, inode: 7, ..Default::default() };
    let result = rig.master.command(1, C, Body::Clone(clone)).await;
    let error = result.error.unwrap();
    assert_eq!(code(&error), ErrorCode::NoSpace, "{error:?}");
    rig.master.grant(C, 1, &[1], 0).await;
    assert!(files[0].content(Path::new("/volume-0/chunks/03/0000000000000c03.chunk")).is_ok());
    files[0].set_free(first / 25);
    rig.master.beat(1, |beat| beat.volumes[0].free_bytes <= first / 25).await;
    let id = rig.master.send(1, 0xd04, rig.master.grant_body(1, &[1], 0)).await;
    let error = rig.master.result(id).await.error.unwrap();
    assert_eq!(code(&error), ErrorCode::NoSpace);
    assert!(error.message.contains("/volume-0: 97 % used"), "{}", error.message);
    a.write(2, MIB, 100).await;
}

// ---- which directories a server starts with

fn directories(dirs: &[PathBuf]) -> Vec<Directory> {
    dirs.iter().map(|dir| Directory { dir: dir.clone(), files: Arc::new(OsFiles) }).collect()
}

fn open(dirs: &[PathBuf], seed: u128) -> Result<Volumes, OpenError> {
    Volumes::open(directories(dirs), &volumes_options(seed))
}

/// Two directories of a server, and a place for more.
fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let (a, b) = (place.path().join("deep/a"), place.path().join("b"));
    let volumes = open(&[a.clone(), b.clone()], 1).unwrap();
    assert_eq!(volumes.record().server, ServerUuid(1));
    (place, a, b)
}

#[test]
fn a_missing_directory_is_done_without_and_none_is_made_in_its_place() {
    let (place, a, b) = two();
    let away = place.path().join("away");
    std::fs::rename(&b, &away).unwrap();
    let volumes = open(&[a.clone(), b.clone()], 2).unwrap();
    assert_eq!(volumes.record().server, ServerUuid(1));
    let why: Vec<String> = volumes.states().into_iter().map(|state| state.failing).collect();
    assert!(why[0].is_empty() && why[1].contains("missing") && !b.exists(), "{why:?}");
    let without = volumes.memory();
    drop(volumes);
    // With none of them it is a new server: both are made.
    let elsewhere = [place.path().join("x"), place.path().join("y")];
    assert_eq!(open(&elsewhere, 3).unwrap().record().server, ServerUuid(3));
    // It comes back, and the server remembers another thing than before.
    std::fs::rename(&away, &b).unwrap();
    let volumes = open(&[a, b], 2).unwrap();
    assert!(volumes.states().iter().all(|state| state.failing.is_empty()));
    assert_ne!(volumes.memory(), without);
}

#[test]
fn an_empty_directory_is_taken_in_and_gets_what_the_others_know() {
    let (place, a, b) = two();
    let cluster = {
        let options = gfs_chunkserver::store::VolumeOptions {
            cluster: Some(CLUSTER),
            new_server: ServerUuid(9),
            new_volume: gfs_types::VolumeUuid(9),
            geometry: Geometry::default(),
            boot: gfs_chunkserver::store::BootId([1; 16]),
            max_open: 8,
        };
        let volume = gfs_chunkserver::store::Volume::open(Arc::new(OsFiles), &a, options).unwrap();
        volume.join(CLUSTER, ServerNumber(4), Geometry::default()).unwrap();
        volume.persist_epoch(gfs_types::Epoch(7), gfs_types::CommitSequence(8)).unwrap();
        volume.record()
    };
    std::fs::remove_dir_all(&b).unwrap();
    std::fs::create_dir(&b).unwrap();
    let c = place.path().join("c");
    std::fs::create_dir_all(c.join("lost+found")).unwrap();
    let dirs = [a, b.clone(), c];
    drop(open(&dirs, 2).unwrap());
    let volumes = open(&dirs[1..], 3).unwrap();
    let record = volumes.record();
    assert_eq!((record.server, record.number), (ServerUuid(1), ServerNumber(4)));
    assert_eq!((record.cluster, record.epoch.0), (cluster.cluster, 7));
}

#[test]
fn directories_that_do_not_belong_together_are_refused() {
    let (place, a, b) = two();
    let other = place.path().join("other");
    drop(open(std::slice::from_ref(&other), 5).unwrap());
    let error = open(&[a.clone(), other], 1).unwrap_err();
    assert!(matches!(error, OpenError::Mixed { of_b: ServerUuid(5), .. }), "{error}");
    let error = open(&[a.clone(), b.clone(), a.join(".")], 1).unwrap_err();
    assert!(matches!(error, OpenError::Twice(_)), "{error}");
    // By another name it is known by its lock.
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&a, &link).unwrap();
    let error = open(&[a.clone(), link], 1).unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    // A copy is told by its volume's uuid.
    let copy = place.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(a.join("gfs-volume"), copy.join("gfs-volume")).unwrap();
    let error = open(&[a, copy], 1).unwrap_err();
    assert!(matches!(error, OpenError::Copied { .. }), "{error}");
    assert!(matches!(open(&[], 1), Err(OpenError::Count(0))));
}

#[test]
fn what_is_no_volume_is_left_alone() {
    let (place, a, b) = two();
    let record = b.join("gfs-volume");
    std::fs::write(&record, "gfs-volume 2\nnonsense\n").unwrap();
    let volumes = open(&[a, b.clone()], 2).unwrap();
    let states = volumes.states();
    assert!(states[1].failing.contains("cannot be used as a volume"), "{states:?}");
    assert!(states[1].uuid.is_empty() && states[0].failing.is_empty());
    drop(volumes);
    // A new server takes all or none: it is not known whose the directory is.
    let fresh = place.path().join("fresh");
    let error = open(&[b, fresh.clone()], 2).unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }) && !fresh.exists(), "{error}");
    assert_eq!(std::fs::read_to_string(record).unwrap(), "gfs-volume 2\nnonsense\n");
}
