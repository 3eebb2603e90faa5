//! Flags of the daemon.

use clap::Parser;
use gfs_process::ProcessFlags;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Stores chunks of files for a GFS cluster
///
/// Keeps one or more data directories, registers with the masters, serves readers and writers, and copies
/// chunks from other chunkservers when the leading master says so.
#[derive(Debug, Parser)]
#[command(name = "gfs-chunkserver", version)]
pub struct Flags {
    /// Address and port for clients, masters' and other chunkservers' calls
    ///
    /// Port 0 takes any free port; the one taken is printed.
    #[arg(long, env = "GFS_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:7300")]
    pub listen: SocketAddr,

    /// Where others reach this server, if that is not what it listens on
    #[arg(long, env = "GFS_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// Data directory; repeat for several, each a disk of its own
    ///
    /// A chunk is whole in one of them: the emptiest that does its part. One that fails, hangs for
    /// 10 s, turns read-only or goes away leaves service alone, and its chunks are made good
    /// elsewhere; it is taken back when it is there and can be written to again. The directories must be those of one server: what is in them says which. An empty
    /// one is taken in as a new volume, which replaces a broken disk or adds one; a missing one is
    /// done without, and the server says so. Directories are made for a new server only.
    #[arg(long, env = "GFS_DATA", value_name = "DIR", value_delimiter = ',', required = true)]
    pub data: Vec<PathBuf>,

    /// Every master of the cluster
    #[arg(
        long,
        env = "GFS_MASTER",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        required = true
    )]
    pub master: Vec<String>,

    /// Name of the node (machine) it runs on, for placement
    #[arg(long, env = "GFS_NODE", value_name = "NAME", default_value = "")]
    pub node: String,

    /// Failure zone it runs in, for placement
    #[arg(long, env = "GFS_ZONE", value_name = "NAME", default_value = "")]
    pub zone: String,

    /// Name of its pod
    #[arg(long, env = "GFS_POD", value_name = "NAME", default_value = "")]
    pub pod: String,

    /// UID of its pod
    #[arg(long, env = "GFS_POD_UID", value_name = "UID", default_value = "")]
    pub pod_uid: String,

    /// Serve reads at most this long after the last word of the leading master, in milliseconds
    ///
    /// The cluster's own limit unless given.
    #[arg(long, env = "GFS_STALE_READ_LIMIT", value_name = "MS")]
    pub stale_read_limit: Option<u64>,

    /// Memory for data that is being pushed and not stored yet, in MiB
    /// At least 3. A record that is appended needs its own length of it on each server of its chunk.
    #[arg(
        long,
        env = "GFS_PUSH_MEMORY",
        value_name = "MIB",
        default_value_t = 256,
        value_parser = clap::value_parser!(u64).range(3..=1_048_576)
    )]
    pub push_memory: u64,

    /// Reads served at a time; one more is refused and goes to another copy, or comes again
    ///
    /// Each may hold 3 MiB of memory while its reader is slow.
    #[arg(
        long,
        env = "GFS_MAX_READS",
        value_name = "READS",
        default_value_t = 1_024,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65_536)
    )]
    pub max_reads: usize,

    /// Chunk files kept open in all
    #[arg(long, env = "GFS_MAX_OPEN", value_name = "FILES", default_value_t = 512)]
    pub max_open: usize,

    /// Verify all replicas in the background, at this rate in MB/s (1 000 000 bytes); 0: do not
    ///
    /// Replicas that nobody reads are read too, so that damage is found and repaired from another
    /// copy before that one is gone as well. The scrub gives way to clients, goes on where it
    /// stood after a restart, and shows in `kubectl gfs status` and the metrics.
    #[arg(long, env = "GFS_SCRUB_RATE", value_name = "MB/S", default_value_t = 20)]
    pub scrub_rate: u64,

    /// Begin to verify all replicas anew so many seconds after the last begin
    ///
    /// Or as soon as that pass has ended, if that takes longer.
    #[arg(long, env = "GFS_SCRUB_INTERVAL", value_name = "SECONDS", default_value_t = 86_400)]
    pub scrub_interval: u64,

    /// What every process has.
    #[command(flatten)]
    pub process: ProcessFlags,
}
