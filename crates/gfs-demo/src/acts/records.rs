//! Many append to one file, while a server and the master are killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use gfs_client::Client;
use gfs_local::{Part, Signal};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::stage::Stage;
use crate::verdict::seconds;

const FILE: &str = "/records";
const WRITERS: u64 = 8;
/// By all of them together.
const RECORDS: u64 = 10_000;
/// Records that a writer has on their way.
const TOGETHER: u64 = 8;
/// Most bytes of a record, about.
const MOST: u64 = 40_000;
/// Shares of the records after which somebody is killed, in percent.
const SERVER_AT: u64 = 25;
const MASTER_AT: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(30);

/// A record: a line that says whose it is, some text, and the SHA-256 of all that.
fn record(writer: u64, number: u64) -> Bytes {
    let seed = (writer << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let filler = "the quick brown fox jumps over the lazy dog ";
    let mut line =
        format!("{writer} {number} {}", filler.repeat((seed >> 20) as usize % MOST as usize / 44));
    let digest: String = Sha256::digest(&line).iter().map(|byte| format!("{byte:02x}")).collect();
    line.push_str(&digest);
    line.push('\n');
    line.into()
}

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .screen
        .title("7  Eight writers append to one file while a server and the master are killed");
    stage.client.create_empty(FILE).await?;
    let acknowledged = Arc::<AtomicU64>::default();
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(append(stage.client.clone(), writer, Arc::clone(&acknowledged)));
    }
    reaches(&acknowledged, SERVER_AT).await?;
    let chunks = stage.client.locate(FILE).await?;
    let chunk = chunks.last().context("records lie somewhere")?;
    let victim = stage
        .part(chunk.primary)
        .or_else(|_| stage.part(chunk.servers.first().map_or(0, |server| server.server)))?;
    let number = stage.number(victim)?;
    stage.watch.expect_absent(number);
    tokio::task::block_in_place(|| stage.cluster.kill(victim, Signal::KILL))?;
    stage.screen.say(&format!(
        "SIGKILL to {victim}, which orders the records, after {} of them",
        acknowledged.load(Ordering::SeqCst)
    ));
    reaches(&acknowledged, MASTER_AT).await?;
    tokio::task::block_in_place(|| stage.cluster.kill(Part::Master, Signal::KILL))?;
    stage.screen.say(&format!(
        "SIGKILL to the master after {} records",
        acknowledged.load(Ordering::SeqCst)
    ));
    stage.cluster.take_ended()?;
    stage.restart(Part::Master)?;
    stage.restart(victim)?;

    let mut told = BTreeMap::new();
    while let Some(appended) = writers.join_next().await {
        told.extend(appended??);
    }
    let took = begun.elapsed();
    let mib = stage.client.stat(FILE).await?.length >> 20;
    stage.screen.say(&format!("{} records, {mib} MiB, appended in {}", told.len(), seconds(took)));
    let (whole, twice, elsewhere) = check(stage, &told).await?;
    stage.screen.say(&format!(
        "the file has {whole} of them whole, {twice} twice, {elsewhere} elsewhere than acknowledged"
    ));
    stage.verdict.claim(
        format!("{RECORDS} records appended by {WRITERS}: each whole and exactly once"),
        format!("{whole} whole, {twice} twice, {elsewhere} elsewhere"),
        whole == RECORDS && twice == 0 && elsewhere == 0,
    );
    stage.wait_whole(PATIENCE).await?;
    stage.watch.expect_present(number);
    stage.claim_consistent("after the appends").await
}

/// Appends this writer's records; returns where each lies.
async fn append(
    client: Client,
    writer: u64,
    acknowledged: Arc<AtomicU64>,
) -> anyhow::Result<Vec<((u64, u64), u64)>> {
    let file = Arc::new(client.open_append(FILE).await?);
    let mut told = Vec::new();
    let mut number = 0;
    while number < RECORDS / WRITERS {
        let mut together = JoinSet::new();
        for number in number..(number + TOGETHER).min(RECORDS / WRITERS) {
            let file = Arc::clone(&file);
            together.spawn(async move {
                file.append(record(writer, number)).await.map(|offset| ((writer, number), offset))
            });
        }
        number += TOGETHER;
        while let Some(stored) = together.join_next().await {
            told.push(stored??);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }
    if let Ok(file) = Arc::try_unwrap(file) {
        file.close().await?;
    }
    Ok(told)
}

/// Waits until this share of the records is acknowledged.
async fn reaches(acknowledged: &AtomicU64, percent: u64) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while acknowledged.load(Ordering::SeqCst) * 100 < RECORDS * percent {
        ensure!(Instant::now() < until, "the appends do not get on");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Reads the file: how many records are whole, how many of them there twice, and how many of those
/// acknowledged not where they should be. A line that is no record fails.
async fn check(
    stage: &Stage<'_>,
    told: &BTreeMap<(u64, u64), u64>,
) -> anyhow::Result<(u64, u64, u64)> {
    let mut file = stage.client.open(FILE).await?;
    let mut all = Vec::new();
    while let Some(piece) = file.next_piece().await? {
        all.extend_from_slice(&piece);
    }
    let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let (mut at, mut twice) = (0, 0);
    for line in all.split_inclusive(|byte| *byte == b'\n') {
        let text = std::str::from_utf8(line).context("what is no text is no record")?;
        let mut words = text.split(' ');
        let mut word = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(writer), Some(number)) = (word(), word()) else {
            anyhow::bail!("no record begins at {at}");
        };
        ensure!(record(writer, number) == line, "record {number} of {writer} is damaged");
        twice += u64::from(found.insert((writer, number), at).is_some());
        at += line.len() as u64;
    }
    let elsewhere = told.iter().filter(|(record, place)| found.get(record) != Some(place)).count();
    Ok((found.len() as u64, twice, elsewhere as u64))
}
