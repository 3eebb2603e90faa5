//! Older metadata is put back: nothing is deleted until an administrator says so.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::Client;
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Replica, Shape, bounded, eventually};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);

async fn put(client: &Client, path: &str, content: Content, length: usize) -> anyhow::Result<()> {
    let mut file = client.create(path).await?;
    file.write_bytes(content.bytes(0, length)).await?;
    file.close().await?;
    Ok(())
}

/// Chunk files on the disks of all servers.
fn chunk_files(bench: &Bench) -> anyhow::Result<usize> {
    let mut count = 0;
    for part in bench.cluster.servers() {
        count += Replica::all(bench.cluster.data(part)?, bench.chunk_size())?.len();
    }
    Ok(count)
}

/// Copies the files of a directory over those of another one.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
            count += 1;
        }
    }
    Ok(count)
}

/// `kubectl-gfs end-rollback`, as JSON and as text.
fn end_rollback(bench: &Bench, arguments: &[&str]) -> anyhow::Result<(Value, String)> {
    let output = |more: &[&str]| {
        let mut command = bench.kubectl();
        let output = command.arg("end-rollback").args(arguments).args(more).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let json = serde_json::from_slice(&output(&["-o", "json"])?)?;
    Ok((json, String::from_utf8_lossy(&output(&[])?).into_owned()))
}

async fn all_have_reported(bench: &Bench) -> anyhow::Result<()> {
    eventually("every server has reported", WHOLE, async || {
        let (unknown, _) = tokio::task::block_in_place(|| end_rollback(bench, &[]))?;
        Ok(unknown["silent_servers"] == 0)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn older_metadata_deletes_nothing_until_an_administrator_says_so() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        let (old, new, length) = (Content(1), Content(2), 2_500_000);
        put(client, "/old", old, length).await?;
        bench.wait_whole(WHOLE).await?;
        let before = chunk_files(&bench)?;
        let (json, text) = tokio::task::block_in_place(|| end_rollback(&bench, &["--yes"]))?;
        assert_eq!((&json["rollback_mode"], &json["ended"]), (&false.into(), &false.into()));
        ensure!(text.contains("is not in rollback mode"), "{text}");

        // A backup, taken while the master stands still; then the cluster goes on.
        let backup = tempfile::tempdir()?;
        bench.kill(Part::Master)?;
        let store = bench.cluster.data(Part::Master)?.to_owned();
        ensure!(copy_files(&store, backup.path())? > 0, "no store in {}", store.display());
        bench.restart(Part::Master)?;
        put(client, "/new", new, length).await?;
        bench.wait_whole(WHOLE).await?;
        let all = chunk_files(&bench)?;
        ensure!(all > before, "{all} chunk files, {before} before");

        bench.kill(Part::Master)?;
        copy_files(backup.path(), &store)?;
        bench.restart(Part::Master)?;
        eventually("the master notices", WHOLE, async || Ok(client.status().await?.rollback_mode))
            .await?;
        all_have_reported(&bench).await?;
        bench.check_file("/old", old, length as u64).await?;
        assert!(!client.exists("/new").await?);
        // What is removed now stays as well.
        put(client, "/later", Content(3), 10).await?;
        client.remove("/later").await?;
        client.empty_trash().await?;
        assert!(chunk_files(&bench)? >= all);
        let output = bench.kubectl().arg("status").output().context("status")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.contains("ROLLBACK MODE"), "{text}");

        // It outlives the master, and asking changes nothing.
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        all_have_reported(&bench).await?;
        let (json, text) = tokio::task::block_in_place(|| end_rollback(&bench, &[]))?;
        assert_eq!(json["rollback_mode"], true, "{json}");
        let chunks = json["unknown_chunks"].as_u64().context("unknown_chunks")?;
        assert_eq!(json["unknown_replicas"], (all - before) as u64, "{json}");
        ensure!(text.contains(&format!("{chunks} chunks that no file has")), "{text}");
        ensure!(text.contains("Nothing was done"), "{text}");
        assert!(chunk_files(&bench)? >= all);
        assert!(client.status().await?.rollback_mode);

        let (json, _) = tokio::task::block_in_place(|| end_rollback(&bench, &["--yes"]))?;
        assert_eq!((&json["rollback_mode"], &json["ended"]), (&false.into(), &true.into()));
        eventually("what no file has is deleted", WHOLE, async || {
            Ok(chunk_files(&bench)? == before)
        })
        .await?;
        bench.check_file("/old", old, length as u64).await?;
        // That the servers had heard of later commits is no news.
        bench.kill(Part::Server(1))?;
        bench.restart(Part::Server(1))?;
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        bench.wait_whole(WHOLE).await?;
        assert!(!client.status().await?.rollback_mode);
        put(client, "/new", new, length).await?;
        bench.check_file("/new", new, length as u64).await
    })
    .await
}
