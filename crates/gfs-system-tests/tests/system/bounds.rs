//! Limits that a whole cluster runs into, and stays within.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::{Client, ClientOptions, proto};
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, eventually, write_file};

const LIMIT: Duration = Duration::from_secs(180);
/// How long a client may wait without any progress.
const DEADLINE: Duration = Duration::from_secs(60);

/// Starts three servers with so many MiB for pushed data.
async fn cramped(push_memory: u64) -> anyhow::Result<Bench> {
    let shape = Shape { servers: 3, deadline: DEADLINE, ..Shape::default() };
    Bench::start_in(tempfile::tempdir()?, shape, |options| {
        options.server_arguments.push(format!("--push-memory={push_memory}"));
        Ok(())
    })
    .await
}

/// What this metric says, of each server.
fn gauges(bench: &Bench, name: &str) -> anyhow::Result<Vec<u64>> {
    let mut all = Vec::new();
    for part in bench.cluster.servers() {
        let page = tokio::task::block_in_place(|| bench.cluster.metrics(part))?;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        all.push(line.with_context(|| format!("{part} does not tell {name}"))?.parse()?);
    }
    Ok(all)
}

/// Two servers are heads of chains that go through the third and end at the other. If one kept a
/// chain's data while it waits for room for another's, they would wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn chains_in_opposite_directions_under_full_load_do_not_deadlock() -> anyhow::Result<()> {
    /// Enough for two streams at a time, on each server.
    const MEMORY: u64 = 6;
    const WRITERS: u64 = 8;
    const LENGTH: u64 = 4 << 20;
    bounded(LIMIT, async {
        let bench = cramped(MEMORY).await?;
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..WRITERS {
            // Half of them next to either server, which becomes the primary of what they write.
            let node = format!("node-{}", 2 * (number % 2));
            let place = proto::Place { node, ..proto::Place::default() };
            let options = ClientOptions { deadline: DEADLINE, place, ..ClientOptions::default() };
            let client = Client::connect([bench.cluster.endpoint()], options).await?;
            let progress = Arc::<Acknowledged>::default();
            let content = Content(number);
            writers.spawn(write_file(client, format!("/f{number}"), content, LENGTH, 3, progress));
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        eventually("each server has given all that it has, and no more", DEADLINE, async || {
            let peaks = gauges(&bench, "gfs_chunkserver_push_credit_peak_bytes")?;
            ensure!(peaks.iter().all(|peak| *peak <= MEMORY << 20), "over the limit: {peaks:?}");
            Ok(peaks.iter().all(|peak| *peak == MEMORY << 20))
        })
        .await?;
        let mut primaries = BTreeSet::new();
        for number in 0..WRITERS {
            let path = format!("/f{number}");
            bench.check_file(&path, Content(number), LENGTH).await?;
            bench.check_replicas(&path, Content(number), LENGTH, 3).await?;
            for chunk in bench.client.locate(&path).await? {
                primaries.extend(chunk.servers.first().map(|server| server.server));
            }
        }
        ensure!(primaries.len() >= 2, "the chains all went one way: {primaries:?}");
        Ok(())
    })
    .await
}

/// Open files cost a server no memory while nothing is written to them.
#[tokio::test(flavor = "multi_thread")]
async fn idle_writers_keep_no_memory_from_others() -> anyhow::Result<()> {
    /// Enough for ten streams.
    const MEMORY: u64 = 32;
    const WRITERS: u64 = 32;
    bounded(LIMIT, async {
        let bench = cramped(MEMORY).await?;
        let text = |number: u64, part: &str| format!("{part} of {number}\n");
        let (mut files, mut appenders) = (Vec::new(), Vec::new());
        for number in 0..WRITERS {
            let mut file = bench.client.create(&format!("/f{number}")).await?;
            file.write_bytes(text(number, "begin").into()).await?;
            file.sync().await?;
            files.push(file);
            let path = format!("/log{number}");
            bench.client.create_empty(&path).await?;
            let appender = bench.client.open_append(&path).await?;
            appender.append(text(number, "begin")).await?;
            appenders.push(appender);
        }
        // A new one gets what it needs, though there are 64 before it.
        let client = bench.another_client(DEADLINE).await?;
        let (content, length) = (Content(99), 5 << 20);
        write_file(client, "/new".into(), content, length, 3, Arc::default()).await?;
        bench.check_file("/new", content, length).await?;
        eventually("nobody holds memory", DEADLINE, async || {
            Ok(gauges(&bench, "gfs_chunkserver_push_credit_bytes")?.iter().all(|used| *used == 0))
        })
        .await?;
        // All the others go on where they were.
        for ((number, mut file), appender) in (0..).zip(files).zip(appenders) {
            file.write_bytes(text(number, "end").into()).await?;
            file.close().await?;
            appender.append(text(number, "end")).await?;
            appender.close().await?;
            let both = text(number, "begin") + &text(number, "end");
            bench.check_text(&format!("/f{number}"), &both).await?;
            bench.check_text(&format!("/log{number}"), &both).await?;
        }
        let peaks = gauges(&bench, "gfs_chunkserver_push_credit_peak_bytes")?;
        ensure!(peaks.iter().all(|peak| *peak <= MEMORY << 20), "over the limit: {peaks:?}");
        Ok(())
    })
    .await
}
