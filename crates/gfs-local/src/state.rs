//! `DIR/cluster.json`, which tells other programs where the cluster's parts are, and
//! `DIR/cluster.lock`, which is held as long as it runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

const STATE: &str = "cluster.json";
const LOCK: &str = "cluster.lock";

/// A cluster's parts, as of their last start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterState {
    /// The process that started the others.
    pub pid: u32,
    /// What clients are given as `--endpoint`.
    pub endpoint: String,
    /// The master, then the chunkservers.
    pub parts: Vec<PartState>,
}

/// One of the processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartState {
    /// `master` or `chunkserver-N`.
    pub name: String,
    /// Its process; none while it does not run.
    pub pid: Option<u32>,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves `/healthz`, `/readyz` and `/metrics`.
    pub http: SocketAddr,
    /// Its files.
    pub data: PathBuf,
    /// What it says.
    pub log: PathBuf,
}

/// Reads the state of the cluster in `data`.
///
/// # Errors
/// Where none was ever started there, or the file is damaged.
pub fn read_state(data: &Path) -> anyhow::Result<ClusterState> {
    let path = data.join(STATE);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{}: no cluster was started here", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// Whether the cluster in `data` is being run by some process.
///
/// # Errors
/// Where that cannot be found out.
pub fn is_running(data: &Path) -> anyhow::Result<bool> {
    let path = data.join(LOCK);
    if !path.exists() {
        return Ok(false);
    }
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

/// Asks the process that runs the cluster in `data` to end it.
///
/// # Errors
/// Where it does not run.
pub fn request_end(data: &Path) -> anyhow::Result<()> {
    let state = read_state(data)?;
    // Only the holder of the lock wrote this id: it cannot be a stranger's while the lock is held.
    if !is_running(data)? {
        bail!("the cluster in {} does not run", data.display());
    }
    let pid = i32::try_from(state.pid).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, Signal::TERM).context("signalling it")
}

/// How long a lock is asked for again.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Keeps a second cluster out of a directory.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        // A child that this process is just starting for another cluster has all its files for a
        // moment, a lock that was given up among them: until it becomes the program it is to run.
        let until = Instant::now() + LOCK_PATIENCE;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= until {
                bail!("another process runs the cluster in {}", data.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { _file: file })
    }
}

/// Replaces the state file; readers see the old one or the new one.
pub(crate) fn write_state(data: &Path, state: &ClusterState) -> anyhow::Result<()> {
    let new = data.join("cluster.json.new");
    let mut file = File::create(&new).with_context(|| format!("creating {}", new.display()))?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    fs::rename(&new, data.join(STATE)).context("replacing the state file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_run_by_one_process_at_a_time() {
        let data = tempfile::tempdir().expect("directory");
        assert!(!is_running(data.path()).expect("answers"));
        let lock = Lock::take(data.path()).expect("free");
        assert!(is_running(data.path()).expect("answers"));
        assert!(Lock::take(data.path()).expect_err("taken").to_string().contains("another"));
        drop(lock);
        assert!(!is_running(data.path()).expect("answers"));
    }

    #[test]
    fn the_state_is_read_as_written_and_absence_is_an_error() {
        let data = tempfile::tempdir().expect("directory");
        assert!(read_state(data.path()).is_err());
        let part = PartState {
            name: "master".to_owned(),
            pid: None,
            grpc: "127.0.0.1:7000".parse().expect("address"),
            http: "127.0.0.1:7001".parse().expect("address"),
            data: "m".into(),
            log: "l".into(),
        };
        let state =
            ClusterState { pid: 7, endpoint: "127.0.0.1:7000".to_owned(), parts: vec![part] };
        write_state(data.path(), &state).expect("writes");
        let read = read_state(data.path()).expect("reads");
        assert_eq!((read.pid, read.parts.len()), (7, 1));
        assert!(request_end(data.path()).is_err(), "it does not run");
        fs::write(data.path().join(STATE), "{").expect("writes");
        assert!(read_state(data.path()).expect_err("damaged").to_string().contains("damaged"));
    }
}
