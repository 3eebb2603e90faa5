//! Records appended by several writers to one file.

use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gfs_client::{Appender, Client};

use crate::cluster::Bench;
use crate::data::{self, middle};
use crate::raw::Rate;
use crate::report::{Reach, Row};
use crate::warmth::Warmth;

const LARGE: usize = 1 << 20;
const SMALL: usize = 1 << 10;
/// Writers at once, of the larger figures.
const MANY: usize = 16;
/// Large records that a writer has on their way.
const LARGE_IN_FLIGHT: usize = 4;
/// Small records that a writer has on their way.
const SMALL_IN_FLIGHT: usize = 256;
/// How long small records are counted.
const SPAN: Duration = Duration::from_secs(5);
const FILE: &str = "/bench-append";

async fn appenders(clients: &[Client]) -> anyhow::Result<Vec<Appender>> {
    let mut appenders = Vec::new();
    for client in clients {
        appenders.push(client.open_append(FILE).await?);
    }
    Ok(appenders)
}

fn payload(length: usize, number: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + number) as u8).collect::<Vec<_>>().into()
}

/// All append large records, `bytes` together; user rate.
async fn append_large(bench: &Bench, clients: &[Client], bytes: u64) -> anyhow::Result<Rate> {
    bench.client.create_empty(FILE).await?;
    let records = bytes / LARGE as u64 / clients.len() as u64;
    let appenders = appenders(clients).await?;
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, appender) in appenders.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let payload = payload(LARGE, number);
            stream::iter(0..records)
                .map(|_| appender.append(payload.clone()))
                .buffered(LARGE_IN_FLIGHT)
                .try_for_each(|_| std::future::ready(Ok(())))
                .await?;
            appender.close().await
        }));
    }
    for task in tasks {
        task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = Rate::of(records * (LARGE * clients.len()) as u64, seconds, cpu.seconds()?);
    let length = bench.client.stat(FILE).await?.length;
    ensure!(length == records * (LARGE * clients.len()) as u64, "the file has {length} bytes");
    data::remove_file(bench, FILE).await?;
    data::no_chunks(bench).await?;
    Ok(rate)
}

/// Records of 1 MiB, in turn with a sequential write of as many bytes.
pub(crate) async fn large(
    bench: &Bench,
    bytes: u64,
    rounds: usize,
    warmth: Warmth,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let clients = bench.clients(MANY).await?;
    let alone = clients.get(..1).unwrap_or_default();
    let (mut writes, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        warmth.touch(6 * bytes)?;
        writes.push(data::write(bench, alone, bytes).await?);
        data::remove(bench, 1).await?;
        warmth.touch(6 * bytes)?;
        one.push(append_large(bench, alone, bytes).await?);
        warmth.touch(6 * bytes)?;
        many.push(append_large(bench, &clients, bytes).await?);
    }
    let (write, one, many) = (middle(&writes), middle(&one), middle(&many));
    rows.push(
        Row::new("append, 1 MiB records, 4 in flight, 1 writer", one.mb_per_s, "MB/s")
            .baseline(write.mb_per_s)
            .reach(Reach::Share(0.6))
            .acceptance()
            .note("baseline: sequential write of the same run"),
    );
    rows.push(
        Row::new("the same, 16 writers to one file", many.mb_per_s, "MB/s")
            .baseline(write.mb_per_s)
            .reach(Reach::Share(0.6))
            .acceptance(),
    );
    let drop = (1.0 - many.mb_per_s / one.mb_per_s) * 100.0;
    rows.push(
        Row::new("drop from 1 to 16 writers", drop, "%").reach(Reach::AtMost(15.0)).acceptance(),
    );
    rows.push(Row::new("CPU of an append, 16 writers", many.cpu_s_per_gb, "s/GB"));
    Ok(())
}

/// Records of 1 KiB, for some seconds.
pub(crate) async fn small(bench: &Bench, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let clients = bench.clients(MANY).await?;
    bench.client.create_empty(FILE).await?;
    let appenders = appenders(&clients).await?;
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for (number, appender) in appenders.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            let payload = payload(SMALL, number);
            let records = stream::iter(0_u64..)
                .take_while(|_| std::future::ready(begun.elapsed() < SPAN))
                .map(|_| appender.append(payload.clone()))
                .buffered(SMALL_IN_FLIGHT)
                .try_fold(0_u64, |count, _| std::future::ready(Ok(count + 1)))
                .await?;
            appender.close().await?;
            gfs_client::Result::<u64>::Ok(records)
        }));
    }
    let mut records = 0;
    for task in tasks {
        records += task.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu.seconds()?;
    let length = bench.client.stat(FILE).await?.length;
    ensure!(length == records * SMALL as u64, "{records} records, but {length} bytes");
    rows.push(
        Row::new("append, 1 KiB records, 16 writers", records as f64 / seconds, "records/s")
            .reach(Reach::AtLeast(20_000.0)),
    );
    rows.push(Row::new("CPU of a record", cpu / records as f64 * 1e6, "µs"));
    data::remove_file(bench, FILE).await?;
    data::no_chunks(bench).await
}
