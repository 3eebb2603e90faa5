//! The real daemons as children: started, killed, stopped, restarted, and never left behind.
#![allow(clippy::expect_used)] // tests: a surprise shall panic

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use gfs_local::{LocalCluster, Options, Part, Signal, http_get, is_running, read_state};

static CLUSTERS: AtomicU16 = AtomicU16::new(0);
const PATIENCE: Duration = Duration::from_secs(30);

fn options(data: &Path) -> Options {
    Options { servers: 2, zones: 2, ..Options::isolated(data, &CLUSTERS).expect("binaries") }
}

/// Whether a process runs; one that ended and was not awaited by its new parent does not.
fn lives(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    state.is_some_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with('Z'))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answers(cluster: &LocalCluster, part: Part) -> bool {
    let address = cluster.http(part).expect("part");
    http_get(address, "/healthz", Duration::from_millis(300)).is_ok_and(|a| a.status == 200)
}

#[test]
fn parts_are_killed_stopped_and_restarted() {
    let data = tempfile::tempdir().expect("directory");
    let cluster = LocalCluster::start(options(data.path())).expect("starts");
    let (one, two) = (Part::Server(0), Part::Server(1));
    assert!(cluster.parts().all(|part| answers(&cluster, part)));
    assert!(cluster.metrics(Part::Master).expect("metrics").contains("process_cpu_seconds_total"));

    let first = cluster.pid(one).expect("part").expect("runs");
    let uuid = cluster.server_uuid(one).expect("part").expect("registered");
    cluster.kill(one, Signal::KILL).expect("killed");
    assert!(!lives(first));
    assert_eq!(cluster.pid(one).expect("part"), None);
    assert!(cluster.kill(one, Signal::TERM).is_err(), "it has ended");
    assert_eq!(cluster.take_ended().expect("asked").len(), 1);
    assert!(cluster.take_ended().expect("asked").is_empty(), "each end is told once");

    cluster.stop(two).expect("stopped");
    assert!(!answers(&cluster, two), "a stopped process answers nothing");
    cluster.cont(two).expect("goes on");
    wait_until("the stopped one answers again", || answers(&cluster, two));

    cluster.restart(one).expect("restarts");
    cluster.wait_ready(PATIENCE).expect("ready again");
    assert_ne!(cluster.pid(one).expect("part"), Some(first));
    assert_eq!(cluster.server_uuid(one).expect("part"), Some(uuid), "the same server came back");

    cluster.restart(Part::Master).expect("restarts");
    cluster.wait_ready(PATIENCE).expect("ready again");
    assert!(is_running(data.path()).expect("asked"));
    assert!(cluster.shutdown().expect("ends").is_empty(), "nothing had to be killed");
    // A child just being started beside may have the lock for a moment.
    wait_until("the lock is free", || !is_running(data.path()).expect("asked"));
}

#[test]
fn dropping_a_cluster_leaves_no_process() {
    let data = tempfile::tempdir().expect("directory");
    let cluster = LocalCluster::start(options(data.path())).expect("starts");
    let pids: Vec<u32> =
        cluster.parts().map(|part| cluster.pid(part).expect("part").expect("runs")).collect();
    cluster.stop(Part::Server(1)).expect("stopped");
    drop(cluster);
    assert!(!pids.iter().any(|pid| lives(*pid)), "of {pids:?} some live");
}

#[test]
fn a_start_that_fails_says_why() {
    let data = tempfile::tempdir().expect("directory");
    let taken = options(data.path());
    let _held = TcpListener::bind((taken.address, taken.first_port)).expect("free");
    let error = LocalCluster::start(taken).err().expect("the port is in use");
    let error = format!("{error:#}");
    assert!(error.contains("master ended") && error.contains("in use"), "{error}");

    let cluster = LocalCluster::start(options(data.path())).expect("starts elsewhere");
    let error = LocalCluster::start(options(data.path())).err().expect("the directory is in use");
    assert!(error.to_string().contains("another process"), "{error:#}");
    drop(cluster);

    let none = Options { servers: 0, ..options(data.path()) };
    assert!(LocalCluster::start(none).is_err());
}

#[test]
fn the_children_of_a_killed_gfs_local_die_with_it() {
    let data = tempfile::tempdir().expect("directory");
    let options = options(data.path());
    let mut up = Command::new(env!("CARGO_BIN_EXE_gfs-local"))
        .args(["up", "--servers", "2", "--data"])
        .arg(data.path())
        .args(["--address", &options.address.to_string()])
        .args(["--master-port", &options.first_port.to_string()])
        .arg("--binaries")
        .arg(options.binaries.master.parent().expect("a directory"))
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let status = || {
        Command::new(env!("CARGO_BIN_EXE_gfs-local"))
            .args(["status", "--data"])
            .arg(data.path())
            .output()
            .expect("runs")
    };
    wait_until("gfs-local status is content", || status().status.success());
    let state = read_state(data.path()).expect("state");
    let pids: Vec<u32> = state.parts.iter().filter_map(|part| part.pid).collect();
    assert_eq!(pids.len(), 3);
    up.kill().expect("killed");
    up.wait().expect("awaited");
    wait_until("the children are gone", || !pids.iter().any(|pid| lives(*pid)));
    assert!(!status().status.success(), "status must not claim that it runs");
}
