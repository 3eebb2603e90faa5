//! A cluster on this machine for one test, its client, and what is asked of them again and again.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use gfs_client::proto::{ServerLocation, ServerState, StatusResponse};
use gfs_client::{Client, ClientOptions};
use gfs_local::{LocalCluster, Options, Part};
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::content::Content;
use crate::replicas::Replica;

/// Ports are handed out by it, so that the clusters of a process do not meet.
static CLUSTERS: AtomicU16 = AtomicU16::new(0);
const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to be ready on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// What a test's cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Chunkservers.
    pub servers: usize,
    /// Data directories of each.
    pub directories: usize,
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// Longest time a client's call may take.
    pub deadline: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self { servers: 4, directories: 1, chunk_size: 1 << 20, deadline: Duration::from_secs(30) }
    }
}

/// A running cluster and a client of it. The processes end when it is dropped, the files go.
pub struct Bench {
    /// The processes.
    pub cluster: LocalCluster,
    /// A client.
    pub client: Client,
    shape: Shape,
    // Dropped after the processes that write there.
    directory: TempDir,
}

impl Bench {
    /// Starts a cluster.
    ///
    /// # Errors
    /// Where a process does not start or the client cannot connect.
    pub async fn start(shape: Shape) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        Self::start_in(directory, shape, |_| Ok(())).await
    }

    /// Starts a cluster in a directory; `prepare` may change its options and make directories.
    ///
    /// # Errors
    /// The same.
    pub async fn start_in(
        directory: TempDir,
        shape: Shape,
        prepare: impl FnOnce(&mut Options) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut options = Self::options(directory.path(), shape)?;
        prepare(&mut options)?;
        let cluster = block_in_place(|| LocalCluster::start(options))?;
        let client = connect(&cluster, shape.deadline).await?;
        Ok(Self { cluster, client, shape, directory })
    }

    /// The options that a cluster of this shape gets.
    ///
    /// # Errors
    /// Where the binaries were not built.
    pub fn options(directory: &Path, shape: Shape) -> anyhow::Result<Options> {
        Ok(Options {
            servers: shape.servers,
            directories: shape.directories,
            chunk_size: Some(shape.chunk_size.into()),
            ..Options::isolated(directory, &CLUSTERS)?
        })
    }

    /// The directory of all its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes of a chunk.
    #[must_use]
    pub const fn chunk_size(&self) -> u32 {
        self.shape.chunk_size
    }

    /// Another client, with an identity and connections of its own.
    ///
    /// # Errors
    /// Where it cannot connect.
    pub async fn another_client(&self, deadline: Duration) -> anyhow::Result<Client> {
        connect(&self.cluster, deadline).await
    }

    /// The chunkserver that a location names.
    ///
    /// # Errors
    /// Where it is none of this cluster.
    pub fn part(&self, location: &ServerLocation) -> anyhow::Result<Part> {
        for part in self.cluster.servers() {
            if location.addresses.contains(&self.cluster.grpc(part)?.to_string()) {
                return Ok(part);
            }
        }
        bail!("no chunkserver listens at {:?}", location.addresses)
    }

    /// Kills a process with SIGKILL.
    ///
    /// # Errors
    /// Where it does not run.
    pub fn kill(&self, part: Part) -> anyhow::Result<()> {
        block_in_place(|| self.cluster.kill(part, gfs_local::Signal::KILL))
    }

    /// Starts a process again and waits until it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn restart(&self, part: Part) -> anyhow::Result<()> {
        block_in_place(|| {
            self.cluster.restart(part)?;
            self.cluster.wait_part_ready(part, READY)
        })
    }

    /// Waits until the status is as `enough` wants it.
    ///
    /// # Errors
    /// Where it is not within `patience`.
    pub async fn wait_status(
        &self,
        what: &str,
        patience: Duration,
        enough: impl Fn(&StatusResponse) -> bool,
    ) -> anyhow::Result<StatusResponse> {
        let until = Instant::now() + patience;
        loop {
            let status = self.client.status().await?;
            if enough(&status) {
                return Ok(status);
            }
            ensure!(
                Instant::now() < until,
                "not within {patience:?}: {what}; chunks {:?}, servers {:?}",
                status.chunks,
                status.servers.iter().map(|s| (s.state(), s.reason.clone())).collect::<Vec<_>>()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until all servers are alive, every chunk has all its copies, and `fsck` finds nothing.
    ///
    /// # Errors
    /// Where that is not so within `patience`.
    pub async fn wait_whole(&self, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        self.wait_status("all alive, all full", patience, |status| {
            let alive = status.servers.iter().all(|server| server.state() == ServerState::Alive);
            let chunks = status.chunks.unwrap_or_default();
            alive && chunks.full == chunks.total && chunks.cloning == 0
        })
        .await?;
        loop {
            let found = self.client.fsck("/", 10).await?;
            if found.problem_count == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < until, "fsck still finds {:?}", found.problems);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Reads the file from end to end and compares it: the content, and the length.
    ///
    /// # Errors
    /// Where it is not so.
    pub async fn check_file(
        &self,
        path: &str,
        content: Content,
        length: u64,
    ) -> anyhow::Result<()> {
        self.check_file_with(&self.client, path, content, length).await
    }

    /// The same, as another client reads it.
    ///
    /// # Errors
    /// The same.
    pub async fn check_file_with(
        &self,
        client: &Client,
        path: &str,
        content: Content,
        length: u64,
    ) -> anyhow::Result<()> {
        let mut file = client.open(path).await?;
        let mut position = 0;
        while let Some(piece) = file.next_piece().await? {
            if let Some(place) = content.differs(position, &piece) {
                bail!("{path} as read differs from byte {place} on");
            }
            position += piece.len() as u64;
        }
        ensure!(position == length, "{path} has {position} bytes as read, not {length}");
        Ok(())
    }

    /// Reads a small file and compares it.
    ///
    /// # Errors
    /// Where it is not this text.
    pub async fn check_text(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let found = self.client.open(path).await?.read_at(0, text.len() + 1).await?;
        ensure!(found == text.as_bytes(), "{path} has {found:?}, not {text:?}");
        Ok(())
    }

    /// Compares every replica of a closed file, on the disks, with the content: there must be
    /// `copies` of each chunk, complete at its version, together of this length.
    ///
    /// # Errors
    /// Where it is not so.
    pub async fn check_replicas(
        &self,
        path: &str,
        content: Content,
        length: u64,
        copies: usize,
    ) -> anyhow::Result<()> {
        let mut position = 0;
        for chunk in self.client.locate(path).await? {
            ensure!(chunk.start == position, "{path} has a gap at {position}: {chunk:?}");
            position += u64::from(chunk.length);
            ensure!(
                chunk.servers.len() == copies,
                "chunk {} of {path} is on {} servers: {chunk:?}",
                chunk.index,
                chunk.servers.len()
            );
            for server in &chunk.servers {
                let replica = self.replica(self.part(server)?, chunk.handle)?;
                replica.check(content, chunk.length.into())?;
                ensure!(
                    replica.header.complete.version.0 == chunk.version
                        && replica.header.content.length == chunk.length
                        && replica.header.place.chunk_start == chunk.start,
                    "{} is not at {chunk:?}: {:?}",
                    replica.path.display(),
                    replica.header
                );
            }
        }
        ensure!(position == length, "the chunks of {path} have {position} bytes, not {length}");
        Ok(())
    }

    /// The replica of a chunk on a server: the latest, in whichever of its directories.
    ///
    /// # Errors
    /// Where there is none.
    pub fn replica(&self, part: Part, handle: u64) -> anyhow::Result<Replica> {
        let mut found = Vec::new();
        for data in self.cluster.directories(part)? {
            found.extend(Replica::of(data, handle, self.chunk_size())?);
        }
        found
            .into_iter()
            .max_by_key(|replica| replica.header.complete.version)
            .with_context(|| format!("no replica of chunk {handle:016x} on {part}"))
    }

    /// The binary of this name beside those of the cluster.
    #[must_use]
    pub fn binary(&self, name: &str) -> std::path::PathBuf {
        self.cluster.options().binaries.master.with_file_name(name)
    }

    /// `kubectl-gfs` with the endpoint of this cluster.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.binary("kubectl-gfs"));
        command.args(["--endpoint", &self.cluster.endpoint()]);
        command
    }
}

async fn connect(cluster: &LocalCluster, deadline: Duration) -> anyhow::Result<Client> {
    let options = ClientOptions { deadline, ..ClientOptions::default() };
    Ok(Client::connect([cluster.endpoint()], options).await?)
}

/// Runs a test within a limit of time.
///
/// # Errors
/// What the test fails with, or that it took too long.
pub async fn bounded<T>(
    limit: Duration,
    test: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::time::timeout(limit, test).await.with_context(|| format!("took over {limit:?}"))?
}

/// Waits until a condition holds.
///
/// # Errors
/// Where it does not within `patience`.
pub async fn eventually<F>(
    what: &str,
    patience: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let until = Instant::now() + patience;
    while !condition().await? {
        ensure!(Instant::now() < until, "not within {patience:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}
