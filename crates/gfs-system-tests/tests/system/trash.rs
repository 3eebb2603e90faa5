//! What is removed can be brought back, until its time is over or somebody empties the trash.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::{Client, ErrorCode, RemoveOptions};
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Replica, Shape, bounded, eventually};
use tokio::io::AsyncWriteExt as _;

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);

async fn put(client: &Client, path: &str, content: Content, length: usize) -> anyhow::Result<u64> {
    let mut file = client.create(path).await?;
    file.write_bytes(content.bytes(0, length)).await?;
    Ok(file.close().await?.inode)
}

/// Chunk files on the disks of all servers.
fn chunk_files(bench: &Bench) -> anyhow::Result<usize> {
    let mut count = 0;
    for part in bench.cluster.servers() {
        count += Replica::all(bench.cluster.data(part)?, bench.chunk_size())?.len();
    }
    Ok(count)
}

async fn wait_chunk_files(bench: &Bench, count: usize) -> anyhow::Result<()> {
    eventually("as many chunk files as there should be", WHOLE, async || {
        Ok(chunk_files(bench)? == count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_comes_back_and_an_emptied_trash_frees_its_chunks() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        let (content, length) = (Content(1), 2_500_000);
        client.mkdir("/d").await?;
        let inode = put(client, "/d/f", content, length).await?;
        bench.wait_whole(WHOLE).await?;
        assert_eq!(chunk_files(&bench)?, 9);

        assert_eq!(client.remove_all("/d").await?, 2);
        assert!(!client.exists("/d").await?);
        // The trash outlives the master and the death of a server.
        bench.kill(Part::Master)?;
        bench.kill(Part::Server(1))?;
        bench.restart(Part::Master)?;
        bench.restart(Part::Server(1))?;
        let entry = client.find_in_trash("/d").await?;
        assert_eq!((entry.files, entry.directories), (1, 1));
        let directory = entry.attributes.context("attributes")?.inode;
        let status = client.status().await?;
        assert_eq!((status.files, status.directories), (0, 0));
        assert_eq!((status.trash_entries, status.trash_files), (1, 1));

        client.mkdir("/d").await?;
        let error = client.restore_trash(directory, None).await.expect_err("/d is taken");
        assert_eq!(error.code(), ErrorCode::AlreadyExists, "{error}");
        let error = client.restore_trash(inode, None).await.expect_err("no entry of its own");
        assert_eq!(error.code(), ErrorCode::NotFound, "{error}");
        assert_eq!(client.restore_trash(directory, Some("/e/d")).await?, "/e/d");
        bench.wait_whole(WHOLE).await?;
        assert_eq!(client.stat("/e/d/f").await?.inode, inode);
        bench.check_file("/e/d/f", content, length as u64).await?;
        bench.check_replicas("/e/d/f", content, length as u64, 3).await?;

        client.remove("/e/d/f").await?;
        let status = bench
            .wait_status("its bytes are counted in the trash", WHOLE, |status| {
                status.trash_bytes == length as u64 && status.logical_bytes == 0
            })
            .await?;
        assert_eq!(status.trash_entries, 1);
        assert_eq!(client.fsck("/", 10).await?.trash_files, 1);
        assert!(chunk_files(&bench)? >= 9);
        assert_eq!(client.empty_trash().await?, 1);
        assert!(client.trash().await?.is_empty());
        wait_chunk_files(&bench, 0).await?;

        put(client, "/g", content, 100).await?;
        let at_once = RemoveOptions { skip_trash: true, ..RemoveOptions::default() };
        client.remove_with("/g", at_once).await?;
        assert!(client.trash().await?.is_empty());
        wait_chunk_files(&bench, 0).await?;
        bench.wait_whole(WHOLE).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_goes_when_its_time_is_over() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let directory = tempfile::tempdir()?;
        let bench = Bench::start_in(directory, Shape::default(), |options| {
            options.master_arguments = vec!["--trash-period".to_owned(), "3".to_owned()];
            Ok(())
        })
        .await?;
        let client = &bench.client;
        put(client, "/f", Content(1), 1_500_000).await?;
        client.remove("/f").await?;
        let entry = client.find_in_trash("/f").await?;
        assert_eq!(entry.expires_at - entry.deleted_at, 3_000);
        let inode = entry.attributes.context("attributes")?.inode;
        eventually("its time is over", WHOLE, async || Ok(client.trash().await?.is_empty()))
            .await?;
        wait_chunk_files(&bench, 0).await?;
        let error = client.restore_trash(inode, None).await.expect_err("too late");
        assert_eq!(error.code(), ErrorCode::NotFound);
        bench.wait_whole(WHOLE).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_removed_while_it_is_written_comes_back_with_what_was_acknowledged()
-> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(3);
        let writer = bench.another_client(Duration::from_secs(5)).await?;
        let mut file = writer.create("/f").await?;
        let length = 1_700_000;
        file.write_bytes(content.bytes(0, length)).await?;
        file.flush().await?;
        let inode = bench.client.stat("/f").await?.inode;
        bench.client.remove("/f").await?;
        let error = file.close().await.expect_err("it was removed");
        ensure!(error.code() == ErrorCode::NotFound, "{error}");
        drop(writer);
        assert_eq!(bench.client.restore_trash(inode, None).await?, "/f");
        bench.check_file("/f", content, length as u64).await
    })
    .await
}
