//! Servers are emptied, and then go for good; goals of files change.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::ErrorCode;
use gfs_client::proto::ServerStatus;
use gfs_local::Part;
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, eventually, write_file};
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(120);
const EMPTY: Duration = Duration::from_secs(60);
const LENGTH: u64 = 24 << 20;

fn number(status: &ServerStatus) -> u32 {
    status.location.as_ref().map_or(0, |location| location.server)
}

/// The server of this number, as the master says.
async fn status_of(bench: &Bench, server: u32) -> anyhow::Result<ServerStatus> {
    let all = bench.client.servers().await?;
    all.into_iter().find(|status| number(status) == server).context("no such server")
}

async fn wait_empty(bench: &Bench, server: u32) -> anyhow::Result<ServerStatus> {
    let empty = |status: &ServerStatus| number(status) == server && status.may_be_removed;
    bench.wait_status("drained", EMPTY, |status| status.servers.iter().any(empty)).await?;
    status_of(bench, server).await
}

/// The server is killed for good: every file is as it was, with all its copies.
async fn goes(
    bench: &Bench,
    drained: &ServerStatus,
    files: &[(&str, Content)],
) -> anyhow::Result<()> {
    let location = drained.location.as_ref().context("no location")?;
    bench.kill(bench.part(location)?)?;
    bench
        .wait_status("it is dead", EMPTY, |status| {
            let dead = gfs_client::proto::ServerState::Dead;
            status.servers.iter().any(|s| number(s) == number(drained) && s.state() == dead)
        })
        .await?;
    let health = bench.client.status().await?.chunks.unwrap_or_default();
    ensure!(health.full == health.total, "chunks were lost with it: {health:?}");
    let found = bench.client.fsck("/", 10).await?;
    ensure!(found.problem_count == 0, "{:?}", found.problems);
    for (path, content) in files {
        bench.check_file(path, *content, LENGTH).await?;
        bench.check_replicas(path, *content, LENGTH, 3).await?;
        for chunk in bench.client.locate(path).await? {
            ensure!(chunk.servers.iter().all(|s| s.server != number(drained)), "{chunk:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_drained_while_files_are_written_goes_without_loss() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape { servers: 5, ..Shape::default() }).await?;
        let (old, new) = (Content(1), Content(2));
        let write = |path: &str, content, progress: &Arc<Acknowledged>| {
            let (client, progress) = (bench.client.clone(), Arc::clone(progress));
            tokio::spawn(write_file(client, path.to_owned(), content, LENGTH, 3, progress))
        };
        write("/old", old, &Arc::default()).await??;
        let progress = Arc::<Acknowledged>::default();
        let writer = write("/new", new, &progress);
        eventually("it writes", EMPTY, async || Ok(progress.bytes() > LENGTH / 3)).await?;
        // The one that the writer's chunk has as its primary.
        let chunks = bench.client.locate("/new").await?;
        let victim = chunks.last().context("a chunk")?.servers.first().context("a server")?.server;
        bench.client.set_drain(victim, true, false).await?;
        assert!(status_of(&bench, victim).await?.draining);
        // The mark outlives the master.
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        let written = writer.await??;
        assert_eq!(written, LENGTH);
        let drained = wait_empty(&bench, victim).await?;
        assert_eq!((drained.chunks_left, drained.reason.as_str()), (0, "drained: may be removed"));
        goes(&bench, &drained, &[("/old", old), ("/new", new)]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_the_last_servers_is_refused_unless_forced() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape { servers: 3, ..Shape::default() }).await?;
        let (content, progress) = (Content(3), Arc::default());
        write_file(bench.client.clone(), "/f".to_owned(), content, LENGTH, 3, progress).await?;
        let server = number(bench.client.servers().await?.first().context("a server")?);

        let refused = bench.client.set_drain(server, true, false).await.expect_err("too few stay");
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        let unknown = bench.client.set_drain(99, true, true).await.expect_err("there is none");
        assert_eq!(unknown.code(), ErrorCode::NotFound);
        assert!(!status_of(&bench, server).await?.draining);

        let name = format!("s{server}");
        let said = run(&bench, &["drain", &name], 1)?;
        assert!(String::from_utf8_lossy(&said.stderr).contains("add servers"), "{said:?}");
        run(&bench, &["drain", "s99"], 4)?;
        run(&bench, &["drain", "nonsense"], 2)?;
        // Forced: it says that it is stuck, and nothing is lost.
        run(&bench, &["drain", "--force", &name], 0)?;
        bench
            .wait_status("it is stuck", EMPTY, |status| {
                status.servers.iter().any(|s| !s.drain_stuck.is_empty() && !s.may_be_removed)
            })
            .await?;
        let shown = run(&bench, &["status"], 0)?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("draining is stuck"), "{shown}");
        let waited = run(&bench, &["drain", &name, "--wait", "--timeout", "1"], 1)?;
        assert!(String::from_utf8_lossy(&waited.stderr).contains("not done within"), "{waited:?}");
        bench.check_replicas("/f", content, LENGTH, 3).await?;

        let back = run(&bench, &["undrain", &name, "-o", "json"], 0)?;
        let back: serde_json::Value = serde_json::from_slice(&back.stdout)?;
        assert_eq!(back[0]["draining"], false, "{back}");
        bench.wait_whole(EMPTY).await?;
        bench.check_replicas("/f", content, LENGTH, 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_verb_waits_until_the_server_may_be_removed() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let (content, progress) = (Content(4), Arc::default());
        write_file(bench.client.clone(), "/f".to_owned(), content, LENGTH, 3, progress).await?;
        let arguments = ["drain", "s2", "--wait", "--timeout", "60", "-o", "json"];
        let done = run(&bench, &arguments, 0)?;
        let done: serde_json::Value = serde_json::from_slice(&done.stdout)?;
        assert_eq!(done[0]["may_be_removed"], true, "{done}");
        let drained = status_of(&bench, 2).await?;
        goes(&bench, &drained, &[("/f", content)]).await
    })
    .await
}

fn run(bench: &Bench, arguments: &[&str], code: i32) -> anyhow::Result<Output> {
    let output = block_in_place(|| bench.kubectl().args(arguments).output())?;
    ensure!(output.status.code() == Some(code), "{arguments:?}, not {code}: {output:?}");
    Ok(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn goals_are_raised_lowered_and_inherited() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(5);
        bench.client.mkdir("/d").await?;
        for path in ["/d/one", "/two"] {
            let progress = Arc::default();
            write_file(bench.client.clone(), path.to_owned(), content, LENGTH, 3, progress).await?;
        }
        run(&bench, &["setrep", "5", "/two"], 1)?;
        run(&bench, &["setrep", "9", "/two"], 2)?;
        run(&bench, &["setrep", "2", "/none"], 4)?;
        let refused = bench.client.set_copies("/two", 5).await.expect_err("there are four servers");
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);

        run(&bench, &["setrep", "4", "/two"], 0)?;
        bench.wait_whole(EMPTY).await?;
        bench.check_replicas("/two", content, LENGTH, 4).await?;
        let set = run(&bench, &["setrep", "-R", "2", "/d", "-o", "json"], 0)?;
        let set: serde_json::Value = serde_json::from_slice(&set.stdout)?;
        assert_eq!((&set["files"], &set["directories"]), (&1.into(), &1.into()), "{set}");
        eventually("the surplus goes", EMPTY, async || {
            Ok(bench.client.locate("/d/one").await?.iter().all(|chunk| chunk.servers.len() == 2))
        })
        .await?;
        bench.check_replicas("/d/one", content, LENGTH, 2).await?;
        // What the directory says counts for new files, also after the master was restarted, and
        // wherever they are moved.
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        write_file(bench.client.clone(), "/d/new".to_owned(), content, LENGTH, 0, Arc::default())
            .await?;
        bench.client.rename("/d/new", "/new", false).await?;
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        bench.wait_whole(EMPTY).await?;
        for (path, copies) in [("/new", 2), ("/d/one", 2), ("/two", 4)] {
            bench.check_file(path, content, LENGTH).await?;
            bench.check_replicas(path, content, LENGTH, copies).await?;
        }
        Ok(())
    })
    .await
}
