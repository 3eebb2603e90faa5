//! The chunkserver's daemon: flags in, a [`ChunkServer`] out.

use anyhow::Context as _;
use clap::Parser as _;
use gfs_chunkserver::files::{ChunkFiles, OsFiles};
use gfs_chunkserver::flags::Flags;
use gfs_chunkserver::store::BootId;
use gfs_chunkserver::{ChunkServer, Config, Directory, Parts, Volumes, VolumesOptions};
use gfs_core::scrub::Settings;
use gfs_process::Process;
use gfs_proto::v1 as pb;
use gfs_transport::{TcpConnector, tcp_incoming};
use gfs_types::{Geometry, Millis, ServerUuid, VolumeUuid};
use rand::RngExt as _;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let process = flags.process.clone();
    gfs_process::run("gfs-chunkserver", &process, move |process| run(flags, process))
}

async fn run(flags: Flags, mut process: Process) -> anyhow::Result<()> {
    let listener = TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("cannot listen on {}", flags.listen))?;
    let address = listener.local_addr()?;
    let advertise = match flags.advertise {
        Some(advertise) => advertise,
        None if address.ip().is_unspecified() => {
            anyhow::bail!("--advertise is needed where --listen names no address of its own")
        }
        None => address.to_string(),
    };
    let boot_id = boot_id()?;
    let options = VolumesOptions {
        new_server: ServerUuid(process.random.random()),
        new_volumes: flags.data.iter().map(|_| VolumeUuid(process.random.random())).collect(),
        geometry: Geometry::default(),
        boot: BootId(boot_id),
        max_open: flags.max_open,
    };
    let files: Arc<dyn ChunkFiles> = Arc::new(OsFiles);
    let dirs: Vec<Directory> = flags
        .data
        .iter()
        .map(|dir| Directory { dir: dir.clone(), files: Arc::clone(&files) })
        .collect();
    let opened = tokio::task::spawn_blocking(move || Volumes::open(dirs, &options));
    let volumes = opened.await?.context("--data")?;
    let uuid = volumes.record().server;
    let config = Config {
        masters: flags.master,
        advertise: vec![advertise],
        place: pb::Place {
            node: flags.node,
            zone: flags.zone,
            pod: flags.pod,
            pod_uid: flags.pod_uid,
        },
        boot_id,
        stale_read_limit: flags.stale_read_limit.map(Millis),
        push_memory: flags.push_memory << 20,
        max_reads: flags.max_reads,
        idle_limit: gfs_core::replica::IDLE_LIMIT,
        scrub: Settings {
            rate: flags.scrub_rate.saturating_mul(1_000_000),
            interval: Millis(flags.scrub_interval.saturating_mul(1_000)),
        },
        transport: gfs_transport::Config::default(),
    };
    let http = process.http_address;
    let tasks = process.tasks.clone();
    let server = ChunkServer::new(
        Parts {
            clock: process.clock,
            random: process.random,
            metrics: process.metrics,
            health: process.health,
            tasks: process.tasks,
            shutdown: process.shutdown,
            connector: Arc::new(TcpConnector),
            volumes: Arc::new(volumes),
        },
        config,
    );
    let mut number = server.number();
    tasks.passing("ready line", async move {
        if number.wait_for(|number| *number != 0).await.is_ok() {
            println!("gfs-chunkserver ready grpc={address} http={http} server={uuid}");
        }
    });
    server.serve(tcp_incoming(listener)).await
}

/// The kernel's boot id.
fn boot_id() -> anyhow::Result<[u8; 16]> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let id = u128::from_str_radix(&digits, 16).with_context(|| format!("{path}: {text:?}"))?;
    Ok(id.to_be_bytes())
}
