//! One of two data directories of a chunkserver fails while files are written: on a cluster of its own,
//! whose first server has a disk that can be made to fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_client::proto::{ServerState, StatusResponse};
use gfs_client::{Client, ClientOptions};
use gfs_local::{LocalCluster, LoopDisk, Options, Part};

use super::death::reaches;
use crate::meter::Meter;
use crate::stage::Stage;
use crate::transfer::{get_tree, put_tree};
use crate::verdict::seconds;

/// How much is written meanwhile, at least.
const BYTES: u64 = 120 << 20;
/// The disk fails when the put has come this far, in percent.
const FAILS_AT: f64 = 25.0;
/// Size of the disk that fails.
const DISK: u64 = 2 << 30;
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.screen.title("7  One of two data directories of a server fails while files are written");
    let directory = stage.cluster.options().data.join("two-disks");
    let mut options = Options::isolated(&directory, &AtomicU16::new(1))?;
    options.directories = 2;
    let bad = directory.join("chunkserver-0-disk-1");
    let disk = match LoopDisk::make(&stage.cluster.options().data.join("disk.img"), DISK, &bad) {
        Ok(disk) => {
            stage.screen.say("the directory is an ext4 file system of its own");
            Some(disk)
        }
        Err(error) => {
            stage.screen.say(&format!(
                "no file system can be mounted here (that takes root and loop devices): the \
                 directory will be taken away instead of turning read-only; {error:#}"
            ));
            None
        }
    };
    let cluster = tokio::task::block_in_place(|| LocalCluster::start(options))?;
    let client = Client::connect([cluster.endpoint()], ClientOptions::default()).await?;
    let played = fail(stage, &cluster, &client, &bad, disk.as_ref()).await;
    tokio::task::block_in_place(|| cluster.shutdown())?;
    drop(disk);
    played
}

async fn fail(
    stage: &mut Stage<'_>,
    cluster: &LocalCluster,
    client: &Client,
    bad: &Path,
    disk: Option<&LoopDisk>,
) -> anyhow::Result<()> {
    let how = if disk.is_some() { "read-only" } else { "gone" };
    let corpus = Arc::new(stage.corpus.largest_files(BYTES));
    let put = Arc::new(Meter::new("put", corpus.bytes()));
    let pid = cluster.pid(Part::Server(0))?;
    let failing = async {
        reaches(&put, FAILS_AT).await;
        match disk {
            Some(disk) => tokio::task::block_in_place(|| disk.turn_read_only())?,
            None => std::fs::rename(bad, bad.with_extension("gone"))?,
        }
        let at = Instant::now();
        stage.screen.say(&format!(
            "{} is {how} while {:.0} % are written",
            bad.display(),
            put.percent()
        ));
        anyhow::Ok(at)
    };
    let (at, ()) = tokio::try_join!(
        failing,
        stage.screen.showing(&put, put_tree(client, &corpus, "/t", &put)),
    )?;
    stage.screen.say("the put finished");
    let (seen, _) = wait(client, at, |status| told(status, bad)).await?;
    let (full, status) = wait(client, at, |status| {
        let chunks = status.chunks.unwrap_or_default();
        chunks.full == chunks.total && told(status, bad)
    })
    .await?;
    let server = status
        .servers
        .iter()
        .find(|s| s.volumes.iter().any(|v| Path::new(&v.dir) == bad))
        .context("the master does not know the directory")?;
    let others = server.volumes.iter().filter(|v| v.failing.is_empty()).count();
    let serves = server.state() == ServerState::Alive && others == 1;
    ensure!(cluster.pid(Part::Server(0))? == pid, "the server ended");
    let get = Arc::new(Meter::new("get", corpus.bytes()));
    stage.screen.showing(&get, get_tree(client, &corpus, "/t", &get)).await?;
    stage.screen.say(&format!("every copy is there again after {}", seconds(full)));
    let verdict = &mut stage.verdict;
    verdict.claim(format!("data directory {how}: the put goes on, SHA-256 equal"), "yes", true);
    verdict.claim(
        format!("data directory {how}: server and other directory serve on"),
        if serves { "yes" } else { "no" },
        serves,
    );
    verdict.note(format!("data directory {how}: seen by the master (or earlier)"), seconds(seen));
    verdict.note(format!("data directory {how}: full redundancy (or earlier)"), seconds(full));
    Ok(())
}

/// Whether the master knows the directory to be out of service.
fn told(status: &StatusResponse, bad: &Path) -> bool {
    let mut volumes = status.servers.iter().flat_map(|server| &server.volumes);
    volumes.any(|volume| Path::new(&volume.dir) == bad && !volume.failing.is_empty())
}

/// Waits until the status is so; how long that took from `begun`.
async fn wait(
    client: &Client,
    begun: Instant,
    enough: impl Fn(&StatusResponse) -> bool,
) -> anyhow::Result<(Duration, StatusResponse)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = client.status().await?;
        if enough(&status) {
            return Ok((begun.elapsed(), status));
        }
        let chunks = status.chunks.unwrap_or_default();
        ensure!(Instant::now() < until, "not whole within {PATIENCE:?}: {chunks:?}");
        tokio::time::sleep(POLL).await;
    }
}
