//! Chunkservers die, or hang, while files are written and read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_local::{Part, Signal};
use gfs_system_tests::{Acknowledged, Bench, Content, Shape, bounded, eventually, write_file};

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);
const LENGTH: u64 = 24 << 20;

/// The chunkserver at this position of the chain of the chunk that is being written.
async fn member(bench: &Bench, path: &str, position: usize) -> anyhow::Result<Part> {
    let chunks = bench.client.locate(path).await?;
    let chunk = chunks.iter().rfind(|chunk| !chunk.sealed).or(chunks.last());
    let chunk = chunk.context("no chunk yet")?;
    let mut servers: Vec<_> = chunk.servers.iter().collect();
    // The primary leads the chain.
    servers.sort_by_key(|server| server.server != chunk.primary);
    bench.part(servers.get(position).or(servers.last()).context("no server")?)
}

/// Waits until so many bytes are acknowledged.
async fn acknowledged(progress: &Acknowledged, bytes: u64) -> anyhow::Result<()> {
    eventually(
        "the writer goes on",
        Duration::from_secs(20),
        async || Ok(progress.bytes() >= bytes),
    )
    .await
}

/// Writes a file, sends a signal to the member at `position` of the chain when a third of it is
/// acknowledged, and checks that the file becomes what it should be.
async fn dies_while_written(
    bench: &Bench,
    path: &str,
    seed: u64,
    position: usize,
    signal: Signal,
) -> anyhow::Result<()> {
    let content = Content(seed);
    let progress = Arc::<Acknowledged>::default();
    let writer = tokio::spawn(write_file(
        bench.client.clone(),
        path.to_owned(),
        content,
        LENGTH,
        3,
        Arc::clone(&progress),
    ));
    acknowledged(&progress, LENGTH / 3).await?;
    let victim = member(bench, path, position).await?;
    let begun = Instant::now();
    tokio::task::block_in_place(|| bench.cluster.kill(victim, signal))?;
    let written = writer.await??;
    println!("{signal:?} to {victim} at position {position}: {:?} to the end", begun.elapsed());
    assert_eq!(written, LENGTH);
    bench.check_file(path, content, LENGTH).await?;
    match signal {
        Signal::KILL => bench.restart(victim)?,
        _ => bench.cluster.cont(victim)?,
    }
    bench.wait_whole(WHOLE).await?;
    bench.check_replicas(path, content, LENGTH, 3).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_of_the_chain_may_be_killed_while_a_file_is_written() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        for round in 0..2 {
            for position in 0..3 {
                let path = format!("/killed-{round}-{position}");
                let seed = round * 10 + position as u64;
                dies_while_written(&bench, &path, seed, position, Signal::KILL)
                    .await
                    .context(path)?;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_of_the_chain_may_hang_while_a_file_is_written() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        for position in 0..3 {
            let path = format!("/stopped-{position}");
            dies_while_written(&bench, &path, 100 + position as u64, position, Signal::STOP)
                .await
                .context(path)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_goes_on_when_its_server_is_killed_or_hangs() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        // Chunks larger than what is read ahead: the stream breaks in its middle.
        let shape = Shape { chunk_size: 16 << 20, ..Shape::default() };
        let bench = Bench::start(shape).await?;
        let (content, length) = (Content(7), 48_u64 << 20);
        let progress = Arc::<Acknowledged>::default();
        write_file(bench.client.clone(), "/r".to_owned(), content, length, 3, progress).await?;
        for signal in [Signal::KILL, Signal::STOP] {
            let mut file = bench.client.open("/r").await?;
            let mut position = 0;
            let mut victims = Vec::new();
            let mut longest = Duration::ZERO;
            let mut last = Instant::now();
            while let Some(piece) = file.next_piece().await? {
                longest = longest.max(last.elapsed());
                ensure!(content.differs(position, &piece).is_none(), "bad bytes at {position}");
                position += piece.len() as u64;
                if victims.is_empty() && position > 18 << 20 {
                    // Readers prefer the first one; it serves the second chunk now.
                    let chunks = bench.client.locate("/r").await?;
                    let chunk = chunks.get(1).context("a second chunk")?;
                    let victim = bench.part(chunk.servers.first().context("a server")?)?;
                    tokio::task::block_in_place(|| bench.cluster.kill(victim, signal))?;
                    victims.push(victim);
                }
                last = Instant::now();
            }
            assert_eq!(position, length);
            println!("{signal:?}: longest wait {longest:?}");
            for victim in victims {
                match signal {
                    Signal::KILL => bench.restart(victim)?,
                    _ => bench.cluster.cont(victim)?,
                }
            }
            bench.wait_whole(WHOLE).await?;
        }
        bench.check_replicas("/r", content, length, 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_replaced_and_the_incident_told() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let (content, length) = (Content(8), 16_u64 << 20);
        let progress = Arc::<Acknowledged>::default();
        write_file(bench.client.clone(), "/f".to_owned(), content, length, 3, progress).await?;
        bench.wait_whole(WHOLE).await?;
        let victim = Part::Server(1);
        bench.kill(victim)?;
        let status = bench
            .wait_status("three copies again, without the dead server", WHOLE, |status| {
                let chunks = status.chunks.unwrap_or_default();
                chunks.full == chunks.total
                    && status.incidents.iter().any(|incident| incident.full_ms.is_some())
            })
            .await?;
        assert_eq!(status.incidents.len(), 1, "one death, one incident");
        let incident = status.incidents.first().context("an incident")?;
        assert!(incident.chunks > 0 && incident.bytes > 0, "{incident:?}");
        assert!(incident.first_clone_ms <= incident.full_ms, "{incident:?}");
        assert!(incident.two_copies_ms <= incident.full_ms, "{incident:?}");
        println!("{incident:?}");
        bench.check_replicas("/f", content, length, 3).await?;
        bench.restart(victim)?;
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas("/f", content, length, 3).await
    })
    .await
}
