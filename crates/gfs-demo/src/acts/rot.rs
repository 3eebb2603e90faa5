//! Bytes of a stored chunk rot on a disk.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_client::proto::ChunkLocation;

use super::tree::TREE;
use crate::corpus::{Fingerprint, InputFile};
use crate::stage::Stage;
use crate::verdict::seconds;
use sha2::{Digest as _, Sha256};

/// Where in the chunk, and how much: within one block of 64 KiB.
const AT: u64 = 3 * 65_536 + 100;
const ROTTEN: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.screen.title("4  Bytes rot on a disk");
    let corpus = std::sync::Arc::clone(&stage.corpus);
    let file = corpus.largest()?;
    let path = format!("{TREE}/{}", file.name);
    let chunks = stage.client.locate(&path).await?;
    let chunk = chunks.first().context("the file has no chunk")?;
    // The first one is where readers go.
    let rotten = chunk.servers.first().context("the chunk has no server")?.server;
    let on_disk = replica(stage, rotten, chunk.handle)?;
    let good = read(&on_disk)?;
    let mut bad = good.clone();
    bad.iter_mut().for_each(|byte| *byte ^= 0x55);
    OpenOptions::new().write(true).open(&on_disk)?.write_all_at(&bad, AT)?;
    let begun = Instant::now();
    stage.screen.say(&format!(
        "flipped {ROTTEN} bytes of {} in chunk {:016x} on {}",
        file.name,
        chunk.handle,
        stage.part(rotten)?
    ));

    ensure!(fetch(stage, &path, file).await? == file.fingerprint, "the read returned bad bytes");
    stage.screen.say("read the file: every byte is right");
    stage.verdict.claim("flipped bytes: the read returns right data", "yes", true);

    let took = repaired(stage, &path, file, chunk.handle, &good, begun).await?;
    stage
        .screen
        .say(&format!("all three copies are right on their disks again, after {}", seconds(took)));
    stage.verdict.claim("flipped bytes: the copy is repaired on its disk", seconds(took), true);
    stage.claim_consistent("after the repair").await
}

/// Waits until every copy of the file's first chunk has the right bytes on its disk.
async fn repaired(
    stage: &Stage<'_>,
    path: &str,
    file: &InputFile,
    handle: u64,
    good: &[u8],
    begun: Instant,
) -> anyhow::Result<Duration> {
    loop {
        let chunks = stage.client.locate(path).await?;
        let chunk = chunks.first().filter(|chunk| chunk.handle == handle);
        let chunk = chunk.context("the file's first chunk is another one now")?;
        if chunk.servers.len() == 3 && all_right(stage, chunk, good)? {
            let took = begun.elapsed();
            stage.wait_whole(PATIENCE).await?;
            return Ok(took);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "after {PATIENCE:?} not all of {} copies are right",
            chunk.servers.len()
        );
        // Another reader may meet the damage where the first one went elsewhere.
        ensure!(fetch(stage, path, file).await? == file.fingerprint, "a read returned bad bytes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn all_right(stage: &Stage<'_>, chunk: &ChunkLocation, good: &[u8]) -> anyhow::Result<bool> {
    for server in &chunk.servers {
        let on_disk = replica(stage, server.server, chunk.handle)?;
        if !fs::exists(&on_disk)? || read(&on_disk)? != good {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file of a chunk on a server: its data begin at 0.
fn replica(stage: &Stage<'_>, server: u32, handle: u64) -> anyhow::Result<PathBuf> {
    let data = stage.cluster.data(stage.part(server)?)?;
    Ok(data.join(format!("chunks/{:02x}/{handle:016x}.chunk", handle & 0xff)))
}

fn read(on_disk: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; ROTTEN];
    let file = File::open(on_disk).with_context(|| format!("opening {}", on_disk.display()))?;
    file.read_exact_at(&mut bytes, AT)?;
    Ok(bytes)
}

async fn fetch(stage: &Stage<'_>, path: &str, file: &InputFile) -> anyhow::Result<Fingerprint> {
    let mut source = stage.client.open(path).await?;
    let mut hash = Sha256::new();
    let mut fetched = 0;
    while let Some(piece) = source.next_piece().await? {
        hash.update(&piece);
        fetched += piece.len() as u64;
    }
    ensure!(fetched == file.bytes, "{fetched} of {} bytes came", file.bytes);
    Ok(hash.finalize().into())
}
