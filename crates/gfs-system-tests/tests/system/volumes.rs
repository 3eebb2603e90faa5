//! Chunkservers with two data directories, one of which goes: the server and its other directory go
//! on, the write that is under way too, and what was lost is made good elsewhere.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::proto::{ServerState, StatusResponse, server_status::VolumeState};
use gfs_local::{LoopDisk, Part};
use gfs_system_tests::{
    Acknowledged, Bench, Content, Replica, Shape, bounded, eventually, write_file,
};

const LIMIT: Duration = Duration::from_secs(240);
const WHOLE: Duration = Duration::from_secs(60);
const LENGTH: u64 = 48 << 20;
const SHAPE: Shape =
    Shape { servers: 4, directories: 2, chunk_size: 1 << 20, deadline: Duration::from_secs(60) };

/// The volume of a server in this directory, as the master tells it.
fn volume(
    bench: &Bench,
    status: &StatusResponse,
    dir: &Path,
) -> Option<(ServerState, VolumeState)> {
    let _ = bench;
    let dir = dir.to_string_lossy();
    status.servers.iter().find_map(|server| {
        let volume = server.volumes.iter().find(|volume| volume.dir == dir)?;
        Some((server.state(), volume.clone()))
    })
}

/// Writes a file, does something to a data directory of the first server when a third of it is
/// acknowledged, and checks that no byte is lost, that the server and its other directory go on, and
/// that all is whole again without the directory.
async fn goes_while_written(
    bench: &Bench,
    seed: u64,
    fail: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (content, victim) = (Content(seed), Part::Server(0));
    let before = Content(seed + 1);
    let path = format!("/f-{seed}");
    let progress = Arc::<Acknowledged>::default();
    write_file(bench.client.clone(), "/before".into(), before, 8 << 20, 3, progress).await?;
    let progress = Arc::<Acknowledged>::default();
    let (client, shared) = (bench.client.clone(), Arc::clone(&progress));
    let writer = tokio::spawn(write_file(client, path.clone(), content, LENGTH, 3, shared));
    let third = async || Ok(progress.bytes() >= LENGTH / 3);
    eventually("the writer goes on", Duration::from_secs(60), third).await?;
    let [good, bad] = bench.cluster.directories(victim)? else {
        anyhow::bail!("two directories are needed");
    };
    ensure!(!Replica::all(bad, bench.chunk_size())?.is_empty(), "nothing was placed there");
    let pid = bench.cluster.pid(victim)?;
    tokio::task::block_in_place(fail)?;
    let out_of_service = async || {
        let status = bench.client.status().await?;
        Ok(volume(bench, &status, bad).is_some_and(|(_, volume)| !volume.failing.is_empty()))
    };
    eventually("the master hears of it", Duration::from_secs(20), out_of_service).await?;
    ensure!(writer.await?? == LENGTH);
    bench.wait_whole(WHOLE).await?;
    bench.check_file(&path, content, LENGTH).await?;
    bench.check_file("/before", before, 8 << 20).await?;
    ensure!(bench.cluster.pid(victim)? == pid, "the server must go on");
    // With as many copies as there are servers, one must be on the server's other directory.
    let everywhere = Content(seed + 2);
    let progress = Arc::<Acknowledged>::default();
    write_file(bench.client.clone(), "/after".into(), everywhere, 1 << 20, 4, progress).await?;
    // A server that was not heard for a moment is passed over at first.
    bench.wait_whole(WHOLE).await?;
    bench.check_replicas("/after", everywhere, 1 << 20, 4).await?;
    let holds = async || {
        let status = bench.client.status().await?;
        Ok(volume(bench, &status, good).is_some_and(|(_, volume)| volume.chunks > 0))
    };
    eventually("the other directory holds something", WHOLE, holds).await?;
    let status = bench.client.status().await?;
    let (state, other) = volume(bench, &status, good).context("the other volume")?;
    // On a busy machine a beat may be late.
    let lives = matches!(state, ServerState::Alive | ServerState::Suspect);
    ensure!(lives && other.failing.is_empty(), "{state:?} {other:?}");
    let incident = status.incidents.first().context("no incident")?;
    ensure!(incident.cause.contains("volume") && incident.full_ms.is_some(), "{incident:?}");
    println!("{}: full again after {:?} ms", incident.cause, incident.full_ms);
    // What the command line shows of it.
    let output = bench.kubectl().arg("status").output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("OUT OF SERVICE"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_turns_read_only_leaves_service_alone_and_comes_back() -> anyhow::Result<()>
{
    bounded(LIMIT, async {
        let directory = tempfile::tempdir()?;
        let mut disk = None;
        let at = directory.path().join("chunkserver-0-disk-1");
        let image = directory.path().join("disk.img");
        let bench = Bench::start_in(directory, SHAPE, |_| {
            disk = Some(LoopDisk::make(&image, 1 << 30, &at)?);
            Ok(())
        })
        .await?;
        let disk = disk.context("no disk")?;
        goes_while_written(&bench, 1, || disk.turn_read_only()).await?;
        // Repaired and mounted again, with a restart, it takes part again.
        let victim = Part::Server(0);
        ensure!(
            tokio::task::block_in_place(|| bench.cluster.end(victim))?,
            "it must end by itself"
        );
        disk.repair()?;
        bench.restart(victim)?;
        let back = async || {
            let status = bench.client.status().await?;
            Ok(volume(&bench, &status, &at).is_some_and(|(state, volume)| {
                state == ServerState::Alive && volume.failing.is_empty()
            }))
        };
        eventually("the volume is back", Duration::from_secs(30), back).await?;
        bench.wait_whole(WHOLE).await?;
        bench.check_file("/f-1", Content(1), LENGTH).await?;
        drop(bench);
        drop(disk);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_pulled_while_written_costs_its_own_copies_only() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(SHAPE).await?;
        let [_, bad] = bench.cluster.directories(Part::Server(0))? else {
            anyhow::bail!("two directories are needed");
        };
        let away = bench.directory().join("pulled");
        goes_while_written(&bench, 3, || Ok(std::fs::rename(bad, &away)?)).await?;
        put_back(&bench, &away, bad).await?;
        bench.check_file("/f-3", Content(3), LENGTH).await?;
        std::fs::rename(bad, &away)?;
        eventually("the server notices", WHOLE, async || {
            let status = bench.client.status().await?;
            Ok(volume(&bench, &status, bad).is_some_and(|(_, volume)| !volume.failing.is_empty()))
        })
        .await?;
        // Without the directory the server starts all the same, and says so.
        bench.restart(Part::Server(0))?;
        eventually("the server says that it is missing", WHOLE, async || {
            let status = bench.client.status().await?;
            let (state, volume) = volume(&bench, &status, bad).context("the volume")?;
            Ok(state == ServerState::Alive && volume.failing.contains("missing"))
        })
        .await?;
        bench.check_file("/f-3", Content(3), LENGTH).await?;
        ensure!(!bad.exists(), "a directory was made in place of the missing one");
        put_back(&bench, &away, bad).await?;
        bench.check_file("/f-3", Content(3), LENGTH).await
    })
    .await
}

/// Puts back what was pulled: the process that runs takes it back, its replicas are told again, and
/// the stale ones among them go.
async fn put_back(bench: &Bench, away: &Path, dir: &Path) -> anyhow::Result<()> {
    let pid = bench.cluster.pid(Part::Server(0))?;
    std::fs::rename(away, dir)?;
    eventually("the volume is taken back", WHOLE, async || {
        let status = bench.client.status().await?;
        Ok(volume(bench, &status, dir).is_some_and(|(state, volume)| {
            state == ServerState::Alive && volume.failing.is_empty()
        }))
    })
    .await?;
    bench.wait_whole(WHOLE).await?;
    ensure!(bench.cluster.pid(Part::Server(0))? == pid, "it must be the same process");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_different_servers_are_not_mixed() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape { servers: 2, ..SHAPE }).await?;
        let one = bench.cluster.directories(Part::Server(0))?.to_vec();
        let other = bench.cluster.directories(Part::Server(1))?.to_vec();
        for server in bench.cluster.servers() {
            bench.cluster.end(server)?;
        }
        let started = |dirs: &[&Path]| -> anyhow::Result<String> {
            let mut command = Command::new(bench.binary("gfs-chunkserver"));
            command.args(["--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"]);
            command.arg(format!("--master={}", bench.cluster.endpoint()));
            command.args(dirs.iter().map(|dir| format!("--data={}", dir.display())));
            let output = command.output()?;
            ensure!(!output.status.success(), "it must not start");
            Ok(String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let text = started(&[&one[0], &other[1]])?;
        ensure!(text.contains("give each server its own directories"), "{text}");
        let text = started(&[&one[0], &one[0]])?;
        ensure!(text.contains("given twice"), "{text}");
        Ok(())
    })
    .await
}
