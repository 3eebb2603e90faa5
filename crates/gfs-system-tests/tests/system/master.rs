//! The master dies: between any two calls, and while files are written.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use gfs_client::{Client, ErrorCode};
use gfs_local::Part;
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, eventually, write_file};
use tokio::io::AsyncWriteExt as _;

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);

fn new_master(bench: &Bench) -> anyhow::Result<()> {
    bench.kill(Part::Master)?;
    bench.restart(Part::Master)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_restarted_between_any_two_calls_changes_nothing() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        let (content, half) = (Content(1), 1_700_000);
        client.mkdir("/d").await?;
        new_master(&bench)?;
        let mut file = client.create("/d/f").await?;
        new_master(&bench)?;
        file.write_bytes(content.bytes(0, half)).await?;
        file.flush().await?;
        new_master(&bench)?;
        file.write_bytes(content.bytes(half as u64, half)).await?;
        assert_eq!(file.sync().await?.length, 2 * half as u64);
        new_master(&bench)?;
        file.close().await?;
        new_master(&bench)?;
        bench.check_file("/d/f", content, 2 * half as u64).await?;
        let inode = client.stat("/d/f").await?.inode;
        new_master(&bench)?;
        client.rename("/d/f", "/d/g", false).await?;
        new_master(&bench)?;
        assert_eq!(client.stat("/d/g").await?.inode, inode);
        assert!(!client.exists("/d/f").await?);
        let mut file = client.open_write("/d/g").await?;
        new_master(&bench)?;
        file.write_bytes(content.bytes(2 * half as u64, 10)).await?;
        file.close().await?;
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas("/d/g", content, 2 * half as u64 + 10, 3).await?;
        client.remove("/d/g").await?;
        new_master(&bench)?;
        assert!(client.list("/d").await?.is_empty());
        bench.wait_whole(WHOLE).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_written_while_the_master_is_killed_again_and_again() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(2);
        let progress = Arc::<Acknowledged>::default();
        let writer = tokio::spawn(write_file(
            bench.client.clone(),
            "/f".to_owned(),
            content,
            u64::MAX,
            3,
            Arc::clone(&progress),
        ));
        for _ in 0..5 {
            let goal = progress.bytes() + (3 << 20);
            eventually("the writer goes on", Duration::from_secs(20), async || {
                Ok(progress.bytes() >= goal)
            })
            .await?;
            new_master(&bench)?;
        }
        progress.stop();
        let length = writer.await??;
        bench.check_file("/f", content, length).await?;
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas("/f", content, length, 3).await
    })
    .await
}

/// Creates files until told to stop; returns the names of those that were acknowledged, and of the
/// one whose outcome is unknown, if any.
async fn create_files(
    client: Client,
    worker: usize,
    progress: Arc<Acknowledged>,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
        let path = format!("/w{worker}-{}", made.len());
        client.create_empty(&path).await?;
        made.push(path);
        progress.add(1);
    }
    Ok(made)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_master_acknowledged_is_there_after_each_kill() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let kills: u64 = std::env::var("GFS_MASTER_KILLS").map_or(Ok(12), |kills| kills.parse())?;
        let progress = Arc::<Acknowledged>::default();
        let stop = Arc::<std::sync::atomic::AtomicBool>::default();
        let mut workers = Vec::new();
        for worker in 0..4 {
            let client = bench.another_client(Duration::from_secs(30)).await?;
            let (progress, stop) = (Arc::clone(&progress), Arc::clone(&stop));
            workers.push(tokio::spawn(create_files(client, worker, progress, stop)));
        }
        let mut dice = gfs_system_tests::Dice::new(3);
        for _ in 0..kills {
            let goal = progress.bytes() + 1 + dice.below(200);
            eventually("creates go on", Duration::from_secs(30), async || {
                Ok(progress.bytes() >= goal)
            })
            .await?;
            new_master(&bench)?;
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut made = Vec::new();
        for worker in workers {
            // A retried create that had been made before the kill is answered as made: were it
            // taken for another's, it would fail with ALREADY_EXISTS here.
            made.extend(worker.await??);
        }
        bench.kill(Part::Master)?;
        bench.restart(Part::Master)?;
        let mut found: Vec<String> =
            bench.client.list("/").await?.into_iter().map(|e| format!("/{}", e.name)).collect();
        found.sort();
        made.sort();
        println!("{} files made across {kills} kills", made.len());
        ensure!(found == made, "{} were acknowledged, {} are there", made.len(), found.len());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_master_calls_end_with_their_deadline() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let shape = Shape { deadline: Duration::from_secs(2), ..Shape::default() };
        let bench = Bench::start(shape).await?;
        bench.kill(Part::Master)?;
        let error = bench.client.create("/f").await.expect_err("nobody answers");
        assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
        bench.restart(Part::Master)?;
        let mut file = bench.client.create("/f").await?;
        file.write_all(b"x").await?;
        file.close().await?;
        bench.check_text("/f", "x").await
    })
    .await
}
