//! `gfs-master`: namespace and chunk metadata of a GFS cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use gfs_master::{Master, MasterConfig};
use gfs_process::ProcessFlags;
use gfs_types::DEFAULT_CHUNK_SIZE;

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

/// The master of a GFS cluster: keeps the namespace and knows where every chunk is
///
/// Clients, chunkservers and administrators reach it on one gRPC port. Its truth is the metadata
/// store; what is in memory is loaded from there when a term of leadership begins.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Address and port for gRPC; port 0 takes any free one, which is printed
    #[arg(long, env = "GFS_LISTEN", value_name = "ADDR:PORT", default_value = "0.0.0.0:7000")]
    listen: SocketAddr,

    /// Where others reach this master, if that is not the address it listens on
    #[arg(long, env = "GFS_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// Directory of the embedded metadata store
    #[arg(long, env = "GFS_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Where metadata is kept
    #[arg(long, env = "GFS_METADATA", value_enum, default_value_t = Metadata::Embedded)]
    metadata: Metadata,

    /// Bytes of a full chunk, when the cluster is created: a multiple of 65536 up to 1 GiB
    #[arg(long, env = "GFS_CHUNK_SIZE", value_name = "BYTES", default_value_t = u64::from(DEFAULT_CHUNK_SIZE))]
    chunk_size: u64,

    /// Id of the cluster when it is created (else drawn at random); must match one that exists
    #[arg(long, env = "GFS_CLUSTER_ID", value_name = "UUID")]
    cluster_id: Option<String>,

    /// Copies of files whose directories do not say, when the cluster is created: 1 to 8
    #[arg(long, env = "GFS_COPIES", value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=8))]
    copies: u8,

    /// Seconds that removed files stay in the trash; 0: they are gone at once. Kept with the cluster
    /// (86400, when it is new and nothing is said here); a new value holds for what is removed from
    /// then on
    #[arg(long, env = "GFS_TRASH_PERIOD", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=315_360_000))]
    trash_period: Option<u64>,

    #[command(flatten)]
    process: ProcessFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Metadata {
    /// One file in the data directory: one master, no standby.
    Embedded,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    gfs_process::run("gfs-master", &flags.process.clone(), async move |process| {
        let Metadata::Embedded = flags.metadata;
        let config = MasterConfig {
            listen: flags.listen,
            advertise: flags.advertise,
            data: flags.data,
            chunk_size: flags.chunk_size,
            cluster_id: flags.cluster_id,
            copies: flags.copies,
            trash_period: flags.trash_period.map(Duration::from_secs),
        };
        let shutdown = process.shutdown.clone();
        process.tasks.essential("memory", async move {
            loop {
                tokio::select! {
                    () = shutdown.requested() => return Ok(()),
                    () = tokio::time::sleep(gfs_transport::memory::TRIM_INTERVAL) => {}
                }
                gfs_transport::memory::trim();
            }
        });
        Master::run(config, process).await
    })
}
