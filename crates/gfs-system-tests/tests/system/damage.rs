//! Files on a server's disk that are not as the server left them.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use gfs_client::proto::{Place, StatusResponse};
use gfs_client::{Client, ClientOptions};
use gfs_local::{Options, Part};
use gfs_system_tests::{Bench, Content, Replica, Shape, bounded, eventually};

const LIMIT: Duration = Duration::from_secs(90);
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the damaged file: two chunks and a bit.
const LENGTH: u64 = (2 << 20) + 300_000;

/// A cluster with a file, and where one copy of its first chunk is: on the server readers go to.
async fn stored(content: Content) -> anyhow::Result<(Bench, Part, u64)> {
    stored_in(content, |_| Ok(())).await
}

/// The same with other options.
async fn stored_in(
    content: Content,
    prepare: impl FnOnce(&mut Options) -> anyhow::Result<()>,
) -> anyhow::Result<(Bench, Part, u64)> {
    let bench = Bench::start_in(tempfile::tempdir()?, Shape::default(), prepare).await?;
    let mut file = bench.client.create("/f").await?;
    file.write_bytes(content.bytes(0, LENGTH as usize)).await?;
    file.close().await?;
    bench.wait_whole(PATIENCE).await?;
    let chunks = bench.client.locate("/f").await?;
    let chunk = chunks.first().context("a chunk")?;
    let part = bench.part(chunk.servers.first().context("a server")?)?;
    Ok((bench, part, chunk.handle))
}

/// Reads where `part` is nearest, until all copies are right on their disks again and nothing is
/// amiss; what is read must be right from the first time on.
async fn heals_near(bench: &Bench, part: Part, content: Content) -> anyhow::Result<()> {
    let Part::Server(number) = part else { anyhow::bail!("{part} holds no chunks") };
    let place = Place { node: format!("node-{number}"), ..Place::default() };
    let near = ClientOptions { place, ..ClientOptions::default() };
    let client = Client::connect([bench.cluster.endpoint()], near).await?;
    let last = RefCell::new(None);
    eventually("three right copies", PATIENCE, async || {
        bench.check_file_with(&client, "/f", content, LENGTH).await?;
        let outcome = bench.check_replicas("/f", content, LENGTH, 3).await;
        last.replace(outcome.as_ref().err().map(|error| format!("{error:#}")));
        Ok(outcome.is_ok())
    })
    .await
    .with_context(|| format!("{:?}", last.borrow()))?;
    bench.wait_whole(PATIENCE).await
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    Ok(file.write_all_at(bytes, at)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_data_is_never_returned_and_repaired() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let content = Content(1);
        let (bench, part, handle) = stored(content).await?;
        let path = Replica::path(bench.cluster.data(part)?, handle);
        overwrite(&path, 200_000, &[0xff; 10])?;
        assert!(bench.check_replicas("/f", content, LENGTH, 3).await.is_err(), "it is damaged");
        heals_near(&bench, part, content).await
    })
    .await
}

/// Three right copies on the disks, by looking at the disks alone.
async fn heals_unread(bench: &Bench, content: Content) -> anyhow::Result<()> {
    eventually("three right copies", PATIENCE, async || {
        Ok(bench.check_replicas("/f", content, LENGTH, 3).await.is_ok())
    })
    .await?;
    bench.wait_whole(PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_is_scrubbed_and_repaired() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let content = Content(7);
        let (bench, part, handle) = stored_in(content, |options| {
            options.server_arguments =
                ["--scrub-rate", "1000", "--scrub-interval", "1"].map(str::to_owned).to_vec();
            Ok(())
        })
        .await?;
        let path = Replica::path(bench.cluster.data(part)?, handle);
        // Data, then the whole file.
        overwrite(&path, 200_000, &[0xff; 10])?;
        let found = |status: &StatusResponse| {
            let volumes = status.servers.iter().flat_map(|server| &server.volumes);
            let scrubs: Vec<_> = volumes.filter_map(|volume| volume.scrub).collect();
            let passes = scrubs.iter().all(|s| s.passes > 0 && s.completed_ms > 0);
            passes && scrubs.iter().map(|s| s.damaged_blocks).sum::<u64>() >= 1
        };
        bench.wait_status("the finding shows", PATIENCE, found).await?;
        heals_unread(&bench, content).await?;
        let holder = bench.client.locate("/f").await?.swap_remove(0).servers.swap_remove(0);
        let path = Replica::path(bench.cluster.data(bench.part(&holder)?)?, handle);
        std::fs::remove_file(&path)?;
        heals_unread(&bench, content).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbled_block_checksums_are_repaired() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let content = Content(2);
        let (bench, part, handle) = stored(content).await?;
        let path = Replica::path(bench.cluster.data(part)?, handle);
        // Behind the data and the two header slots: four bytes for each of the 16 blocks.
        let table = u64::from(bench.chunk_size()) + 2 * 4096;
        let range = table as usize..table as usize + 64;
        let right = std::fs::read(&path)?.get(range.clone()).context("a table")?.to_vec();
        // A running server has them in memory.
        tokio::task::block_in_place(|| bench.cluster.end(part))?;
        overwrite(&path, table, &[0xff; 64])?;
        bench.restart(part)?;
        heals_near(&bench, part, content).await?;
        for server in &bench.client.locate("/f").await?.first().context("a chunk")?.servers {
            let file = Replica::path(bench.cluster.data(bench.part(server)?)?, handle);
            let found = std::fs::read(&file)?;
            assert_eq!(found.get(range.clone()), Some(right.as_slice()), "{}", file.display());
        }
        Ok(())
    })
    .await
}

/// Damages a chunk file while its server is down.
async fn while_down(
    content: Content,
    damage: impl FnOnce(&Path, u32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (bench, part, handle) = stored(content).await?;
    tokio::task::block_in_place(|| bench.cluster.end(part))?;
    damage(&Replica::path(bench.cluster.data(part)?, handle), bench.chunk_size())?;
    bench.restart(part)?;
    heals_near(&bench, part, content).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_chunk_file_is_repaired() -> anyhow::Result<()> {
    bounded(
        LIMIT,
        while_down(Content(3), |path, _| {
            Ok(OpenOptions::new().write(true).open(path)?.set_len(100_000)?)
        }),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbled_header_is_repaired() -> anyhow::Result<()> {
    bounded(
        LIMIT,
        while_down(Content(4), |path, chunk_size| {
            overwrite(path, chunk_size.into(), &[0x5a; 8192])
        }),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_garbled_header_slot_is_made_up_for() -> anyhow::Result<()> {
    bounded(
        LIMIT,
        while_down(Content(5), |path, chunk_size| {
            overwrite(path, chunk_size.into(), &[0x5a; 4096])
        }),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_file_that_vanished_is_made_again() -> anyhow::Result<()> {
    bounded(LIMIT, while_down(Content(6), |path, _| Ok(std::fs::remove_file(path)?))).await
}
