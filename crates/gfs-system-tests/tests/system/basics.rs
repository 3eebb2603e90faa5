//! The client library against a cluster at its best.

use std::io::SeekFrom;
use std::time::Duration;

use anyhow::ensure;
use gfs_client::proto::FileType;
use gfs_client::{CreateOptions, ErrorCode};
use gfs_system_tests::{Bench, Content, Shape, bounded};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

const LIMIT: Duration = Duration::from_secs(60);
const WHOLE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_come_and_go() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        client.mkdir_all("/a/b").await?;
        client.mkdir("/a/c").await?;
        let mut file = client.create("/a/b/f").await?;
        file.write_all(b"hello").await?;
        let closed = file.close().await?;
        assert_eq!(closed.length, 5);
        let attributes = client.stat("/a/b/f").await?;
        assert_eq!((attributes.length, attributes.r#type()), (5, FileType::File));
        assert_eq!(attributes.inode, closed.inode);

        let names = |entries: Vec<gfs_client::proto::Entry>| -> Vec<String> {
            entries.into_iter().map(|entry| entry.name).collect()
        };
        assert_eq!(names(client.list("/a").await?), ["b", "c"]);
        client.rename("/a/b/f", "/a/c/g", false).await?;
        assert!(client.list("/a/b").await?.is_empty());
        assert_eq!(client.stat("/a/c/g").await?.inode, closed.inode);
        let mut text = String::new();
        client.open("/a/c/g").await?.read_to_string(&mut text).await?;
        assert_eq!(text, "hello");

        assert_eq!(client.remove("/a/c/g").await?, 1);
        assert!(!client.exists("/a/c/g").await?);
        assert_eq!(client.open("/a/c/g").await.expect_err("gone").code(), ErrorCode::NotFound);
        assert_eq!(client.remove_all("/a").await?, 3);
        assert!(client.list("/").await?.is_empty());
        bench.wait_whole(WHOLE).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_chunks_is_read_in_every_way() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let (content, length) = (Content(1), (5 << 20) + 12_345);
        let mut file = bench.client.create("/large").await?;
        file.write_bytes(content.bytes(0, length)).await?;
        file.close().await?;
        assert_eq!(bench.client.locate("/large").await?.len(), 6);
        bench.check_file("/large", content, length as u64).await?;
        bench.check_replicas("/large", content, length as u64, 3).await?;

        let mut file = bench.client.open("/large").await?;
        for (offset, count) in [(0, 1), (65_535, 2), ((1 << 20) - 1, 2), (3 << 20, 2 << 20)] {
            let found = file.read_at(offset, count).await?;
            ensure!(content.bytes(offset, count) == found, "read_at {offset} {count}");
        }
        file.seek(SeekFrom::End(-345)).await?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).await?;
        ensure!(content.bytes(length as u64 - 345, 345) == tail, "the tail");
        file.seek(SeekFrom::Start(777_777)).await?;
        let mut some = vec![0; 1_000_000];
        file.read_exact(&mut some).await?;
        ensure!(content.bytes(777_777, some.len()) == some, "after a seek");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_past_the_end_gets_what_there_is() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(2);
        let mut file = bench.client.create("/short").await?;
        file.write_bytes(content.bytes(0, 100)).await?;
        file.close().await?;
        let mut file = bench.client.open("/short").await?;
        assert_eq!(file.read_at(90, 1_000).await?, content.bytes(90, 10));
        assert!(file.read_at(100, 10).await?.is_empty());
        assert!(file.read_at(1 << 40, 10).await?.is_empty());
        file.seek(SeekFrom::Start(1 << 30)).await?;
        let mut rest = Vec::new();
        assert_eq!(file.read_to_end(&mut rest).await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_offsets_and_sizes_are_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let mut file = bench.client.create("/f").await?;
        file.write_all(b"x").await?;
        file.close().await?;
        let mut file = bench.client.open("/f").await?;
        for (offset, length) in [(u64::MAX, 1), (u64::MAX - 5, 100), (1 << 62, 1), (0, usize::MAX)]
        {
            let error = file.read_at(offset, length).await.expect_err("absurd");
            assert_eq!(error.code(), ErrorCode::OutOfRange, "{offset} {length}: {error}");
        }
        assert!(file.seek(SeekFrom::Start(u64::MAX)).await.is_err());
        assert!(file.seek(SeekFrom::Current(-2)).await.is_err());
        for copies in [9, u32::MAX] {
            let options = CreateOptions { copies, ..CreateOptions::default() };
            let error = bench.client.create_with("/g", options).await.expect_err("absurd");
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        }
        assert!(!bench.client.exists("/g").await?, "a refused create changes nothing");
        bench.check_text("/f", "x").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_appended_to_after_it_was_closed() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(3);
        bench.client.create("/log").await?.close().await?;
        let mut length = 0;
        for piece in [1, 70_000, 1 << 20, 5, (1 << 20) - 70_006, 3] {
            let mut file = bench.client.open_write("/log").await?;
            assert_eq!(file.len(), length, "an append begins at the end");
            file.write_bytes(content.bytes(length, piece)).await?;
            file.close().await?;
            length += piece as u64;
            assert_eq!(bench.client.stat("/log").await?.length, length);
        }
        bench.check_file("/log", content, length).await?;
        bench.check_replicas("/log", content, length, 3).await?;

        let first = bench.client.open_write("/log").await?;
        let other = bench.another_client(Duration::from_secs(1)).await?;
        let refused = other.open_write("/log").await.expect_err("one writer at a time");
        assert_eq!(refused.code(), ErrorCode::Busy, "{refused}");
        first.close().await?;
        other.open_write("/log").await?.close().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_in_the_namespace_are_refused_and_change_nothing() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        client.mkdir_all("/d/sub").await?;
        let mut file = client.create("/d/f").await?;
        file.write_all(b"first").await?;
        file.close().await?;

        let code = client.create("/d/f").await.expect_err("taken").code();
        assert_eq!(code, ErrorCode::AlreadyExists);
        let code = client.remove("/d").await.expect_err("has entries").code();
        assert_eq!(code, ErrorCode::NotEmpty);
        for target in ["/d/sub/d", "/d/d", "/d/sub/x/y"] {
            let code = client.rename("/d", target, false).await.expect_err("below itself").code();
            assert!(
                matches!(code, ErrorCode::InvalidArgument | ErrorCode::NotFound),
                "{target}: {code}"
            );
        }
        for path in ["", "d", "/d/../f", "/d/./f", "/d\0", &format!("/{}", "x".repeat(256))] {
            let code = client.stat(path).await.expect_err("a bad path").code();
            assert_eq!(code, ErrorCode::InvalidArgument, "{path:?}");
        }
        assert_eq!(client.list("/d/f").await.expect_err("a file").code(), ErrorCode::NotADirectory);
        assert_eq!(
            client.open("/d").await.expect_err("not a file").code(),
            ErrorCode::IsADirectory
        );
        bench.check_text("/d/f", "first").await?;
        assert_eq!(client.list("/d").await?.len(), 2);
        Ok(())
    })
    .await
}
