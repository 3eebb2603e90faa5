//! What a local cluster is made of.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, ensure};

/// Ports a cluster may use, from its first one on.
const PORTS: u16 = 100;
/// The first of the ports that the kernel gives to outgoing connections.
const EPHEMERAL_PORTS: u16 = 32_768;

/// What a local cluster is made of. Start from [`Options::new`] or [`Options::isolated`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds all files of the cluster: `master/`, `chunkserver-N/`, `logs/`, `cluster.json`.
    pub data: PathBuf,
    /// How many chunkservers, 1 to 48.
    pub servers: usize,
    /// Data directories of each chunkserver, 1 to 16: `chunkserver-N/`, `chunkserver-N-disk-1/`, ...
    pub directories: usize,
    /// Where all processes listen.
    pub address: Ipv4Addr,
    /// The master's port; its HTTP port and those of the chunkservers follow.
    pub first_port: u16,
    /// Bytes of a chunk, for a cluster that does not exist yet; the master's default if `None`.
    pub chunk_size: Option<u64>,
    /// Into how many zones the servers, each a node of its own, are spread.
    pub zones: usize,
    /// What to run.
    pub binaries: Binaries,
    /// The processes' log filter.
    pub log: String,
    /// Further arguments for the master.
    pub master_arguments: Vec<String>,
    /// Further arguments for every chunkserver.
    pub server_arguments: Vec<String>,
}

impl Options {
    /// Four servers in one zone at 127.0.0.1, from port 7000 on.
    ///
    /// # Errors
    /// Where the daemons' binaries cannot be found.
    pub fn new(data: impl Into<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            data: data.into(),
            servers: 4,
            directories: 1,
            address: Ipv4Addr::LOCALHOST,
            first_port: 7000,
            chunk_size: None,
            zones: 1,
            binaries: Binaries::find()?,
            log: "info".to_owned(),
            master_arguments: Vec::new(),
            server_arguments: Vec::new(),
        })
    }

    /// The same with a loopback address and ports that no other cluster on the machine uses, for
    /// tests that run side by side. `counter` is shared by the clusters of a process.
    ///
    /// Each process has a loopback address of its own and each of its clusters a range of ports,
    /// below those the kernel gives away, so that a killed server finds its port free again.
    ///
    /// # Errors
    /// Where the daemons' binaries cannot be found.
    pub fn isolated(data: impl Into<PathBuf>, counter: &AtomicU16) -> anyhow::Result<Self> {
        const FIRST: u16 = 10_000;
        let ranges = (EPHEMERAL_PORTS - FIRST) / PORTS;
        let range = counter.fetch_add(1, Ordering::Relaxed) % ranges;
        let [_, high, middle, low] = std::process::id().to_be_bytes();
        Ok(Self {
            // Process ids have 22 bits: the second byte stays below 127.
            address: Ipv4Addr::new(127, 64 | (high & 63), middle, low),
            first_port: FIRST + range * PORTS,
            ..Self::new(data)?
        })
    }

    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=48).contains(&self.servers), "--servers must lie in 1..=48");
        ensure!((1..=16).contains(&self.directories), "--dirs must lie in 1..=16");
        ensure!((1..=self.servers).contains(&self.zones), "--zones must lie in 1..=servers");
        ensure!(
            (1..=u16::MAX - PORTS).contains(&self.first_port),
            "the first port must lie in 1..={}",
            u16::MAX - PORTS
        );
        for binary in [&self.binaries.master, &self.binaries.chunkserver] {
            ensure!(binary.is_file(), "{} is not there", binary.display());
        }
        Ok(())
    }
}

/// The binaries of a cluster.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `gfs-master`.
    pub master: PathBuf,
    /// `gfs-chunkserver`.
    pub chunkserver: PathBuf,
}

impl Binaries {
    /// Those beside the running program, or, for a test or a benchmark, where the build put them.
    ///
    /// # Errors
    /// Where they are not there.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("finding out where this program lies")?;
        let beside = own.parent().unwrap_or(Path::new("."));
        // Tests lie in `deps/` and examples in `examples/` below the directory of the binaries.
        let above = beside.parent().unwrap_or(beside);
        [beside, above].into_iter().map(Self::in_directory).find(Self::exist).with_context(|| {
            format!(
                "gfs-master and gfs-chunkserver lie neither in {} nor above it: build them with \
                 `cargo build --workspace`",
                beside.display()
            )
        })
    }

    /// Those in this directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            master: directory.join("gfs-master"),
            chunkserver: directory.join("gfs-chunkserver"),
        }
    }

    fn exist(&self) -> bool {
        self.master.is_file() && self.chunkserver.is_file()
    }
}
