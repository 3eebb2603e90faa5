//! Bytes overwritten by many, files cut and extended, and what is read of holes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use gfs_client::{Durability, ErrorCode};
use gfs_local::Part;
use gfs_system_tests::{
    Acknowledged, Bench, Content, Dice, Shape, bounded, eventually, slots_written, write_file,
    write_slots,
};

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);

async fn store(bench: &Bench, path: &str, content: Content, length: u64) -> anyhow::Result<()> {
    let progress = Arc::<Acknowledged>::default();
    write_file(bench.client.clone(), path.to_owned(), content, length, 3, progress).await?;
    Ok(())
}

/// Compares a file with what it should be.
async fn check(bench: &Bench, path: &str, expected: &[u8]) -> anyhow::Result<()> {
    let found = bench.read(path).await?;
    ensure!(found.len() == expected.len(), "{path}: {} bytes, not {}", found.len(), expected.len());
    if let Some(at) = found.iter().zip(expected).position(|(a, b)| a != b) {
        anyhow::bail!("{path} differs from byte {at} on: {} not {}", found[at], expected[at]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overwritten_is_read() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let length = 3 * u64::from(bench.chunk_size()) + 12_345;
        store(&bench, "/f", Content(1), length).await?;
        let mut expected = Content(1).bytes(0, length as usize).to_vec();
        let file = bench.client.open_overwrite("/f").await?;
        let mut dice = Dice::new(3);
        for round in 0..60 {
            // Within a block, over block borders, over the ends of chunks.
            let most = [100, 70_000, 1 << 20, 2_500_000][round % 4].min(length);
            let count = 1 + dice.below(most);
            let offset = dice.below(length - count + 1);
            let bytes = Content(100 + round as u64).bytes(offset, count as usize);
            expected[offset as usize..(offset + count) as usize].copy_from_slice(&bytes);
            file.write_at(offset, bytes).await?;
        }
        check(&bench, "/f", &expected).await?;
        // At once, each in its own range.
        let part = length / 16;
        let writes = (0..16).map(|n| {
            let bytes = Content(200 + n).bytes(0, part as usize);
            let range = (n * part) as usize..((n + 1) * part) as usize;
            expected[range].copy_from_slice(&bytes);
            file.write_at(n * part, bytes)
        });
        let writes: Vec<_> = writes.collect();
        futures_util::future::try_join_all(writes).await?;
        file.sync(Durability::Disk).await?;
        file.close().await?;
        check(&bench, "/f", &expected).await?;
        assert_eq!(bench.client.stat("/f").await?.length, length, "no length was changed");
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas_are_equal("/f", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_zeros_until_they_are_written() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        let chunk = u64::from(bench.chunk_size());
        store(&bench, "/f", Content(1), 100_000).await?;
        let length = 5 * chunk + 77;
        assert_eq!(client.truncate("/f", length).await?.length, length);
        let mut expected = Content(1).bytes(0, 100_000).to_vec();
        expected.resize(length as usize, 0);
        check(&bench, "/f", &expected).await?;
        let chunks = client.locate("/f").await?;
        assert!(chunks.iter().filter(|chunk| chunk.hole).count() >= 4, "{chunks:?}");

        // A reader that is open all the time sees what was put into the hole.
        let reader = bench.another_client(Duration::from_secs(30)).await?.open("/f").await?;
        let offset = 2 * chunk + 150_000;
        assert!(reader.read_at(offset, 10).await?.iter().all(|byte| *byte == 0));
        let file = client.open_overwrite("/f").await?;
        file.write_at(offset, "not a zero").await?;
        expected[offset as usize..offset as usize + 10].copy_from_slice(b"not a zero");
        assert_eq!(reader.read_at(offset, 10).await?, "not a zero");
        // Over the end of one hole into the next.
        let bytes = Content(9).bytes(0, 300_000);
        let offset = 100_000 + 3 * chunk - 150_000;
        file.write_at(offset, bytes.clone()).await?;
        expected[offset as usize..offset as usize + 300_000].copy_from_slice(&bytes);
        file.close().await?;
        check(&bench, "/f", &expected).await?;
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas_are_equal("/f", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_cut_and_extended() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        let chunk = u64::from(bench.chunk_size());
        let mut expected = Content(1).bytes(0, (3 * chunk + 500) as usize).to_vec();
        store(&bench, "/f", Content(1), expected.len() as u64).await?;
        for length in [
            3 * chunk + 499,
            3 * chunk,
            3 * chunk - 1,
            2 * chunk + 70_000,
            2 * chunk + 70_000,
            2 * chunk + 90_000,
            4 * chunk,
            70_000,
            65_536,
            1,
            0,
            10,
        ] {
            assert_eq!(client.truncate("/f", length).await?.length, length);
            expected.resize(length as usize, 0);
            assert_eq!(client.stat("/f").await?.length, length);
            check(&bench, "/f", &expected).await.with_context(|| format!("at {length}"))?;
        }
        // Whoever comes after goes on at the new end.
        let file = client.open_append("/f").await?;
        assert_eq!(file.append("behind").await?, 10);
        file.close().await?;
        expected.extend_from_slice(b"behind");
        check(&bench, "/f", &expected).await?;
        bench.wait_whole(WHOLE).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_ranges_are_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        client.mkdir("/d").await?;
        assert_eq!(client.open_overwrite("/d").await.unwrap_err().code(), ErrorCode::IsADirectory);
        assert_eq!(client.open_overwrite("/none").await.unwrap_err().code(), ErrorCode::NotFound);
        assert_eq!(client.truncate("/d", 0).await.unwrap_err().code(), ErrorCode::IsADirectory);
        assert_eq!(client.truncate("/none", 0).await.unwrap_err().code(), ErrorCode::NotFound);
        store(&bench, "/f", Content(1), 1000).await?;
        for length in [u64::MAX, 1 << 60, (1 << 53) + 1] {
            let error = client.truncate("/f", length).await.expect_err("absurd");
            assert_eq!(error.code(), ErrorCode::OutOfRange, "{length}: {error}");
        }
        let file = client.open_overwrite("/f").await?;
        for (offset, count) in [(1000, 1), (999, 2), (0, 1001), (u64::MAX, 1), (1 << 60, 1)] {
            let error = file.write_at(offset, vec![1; count]).await.expect_err("past the end");
            assert_eq!(error.code(), ErrorCode::OutOfRange, "{offset} {count}: {error}");
            assert!(error.to_string().contains("1000"), "it says how long the file is: {error}");
        }
        file.write_at(1000, Bytes::new()).await?;
        file.close().await?;
        bench.check_file("/f", Content(1), 1000).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn overwrites_survive_kills() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let (path, progress) = ("/table", Arc::<Acknowledged>::default());
        let writers = write_slots(&bench, path, 4, 100, &progress).await?;
        let mut dice = Dice::new(9);
        for round in 0..8 {
            let goal = progress.bytes() + 30 + dice.below(60);
            eventually("writes are acknowledged", Duration::from_secs(40), async || {
                ensure!(writers.iter().all(|task| !task.is_finished()), "a writer gave up");
                Ok(progress.bytes() >= goal)
            })
            .await
            .with_context(|| format!("in round {round}"))?;
            let victim = match round % 4 {
                3 => Part::Master,
                _ => Part::Server(dice.below(4) as usize),
            };
            bench.kill(victim)?;
            bench.restart(victim)?;
        }
        progress.stop();
        let expected = slots_written(writers).await?;
        println!("{} writes", progress.bytes());
        check(&bench, "/table", &expected).await?;
        bench.wait_whole(WHOLE).await?;
        check(&bench, "/table", &expected).await?;
        bench.check_replicas_are_equal("/table", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_to_disk_covers_all_that_was_written() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let content = Content(4);
        let length = 3 * u64::from(bench.chunk_size()) + 1000;
        // The call wants it only when earlier chunks were left already.
        let mut file = bench.client.create("/call").await?;
        file.write_bytes(content.bytes(0, length as usize)).await?;
        assert_eq!(file.sync_with(Durability::Disk).await?.length, length);
        file.write_bytes(content.bytes(length, 500)).await?;
        assert_eq!(file.close_with(Durability::Disk).await?.length, length + 500);
        bench.check_file("/call", content, length + 500).await?;
        // The file wants it.
        let durability = Durability::Disk;
        let options = gfs_client::CreateOptions { durability, ..Default::default() };
        let mut file = bench.client.create_with("/file", options).await?;
        file.write_bytes(content.bytes(0, length as usize)).await?;
        assert_eq!(file.close().await?.length, length);
        bench.check_file("/file", content, length).await?;
        bench.check_replicas("/file", content, length, 3).await
    })
    .await
}
