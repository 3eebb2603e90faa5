//! Records appended by many to one file, while servers and the master die.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::{AppendOptions, CreateOptions, Durability, ErrorCode};
use gfs_local::{Part, Signal};
use gfs_system_tests::{
    Appending, Bench, Dice, LEAST, Shape, Told, append_records, bounded, eventually, record,
    records_of,
};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(120);
const WHOLE: Duration = Duration::from_secs(30);

/// So many appenders, each a client of its own.
async fn appenders(
    bench: &Bench,
    path: &str,
    count: u64,
    records: u32,
    most: usize,
    progress: &Arc<Appending>,
) -> anyhow::Result<Vec<(u64, JoinHandle<anyhow::Result<Told>>)>> {
    let mut tasks = Vec::new();
    for appender in 1..=count {
        let client = bench.another_client(Duration::from_secs(60)).await?;
        let (path, progress) = (path.to_owned(), Arc::clone(progress));
        let task = append_records(client, path, appender, records, most, progress);
        tasks.push((appender, tokio::spawn(task)));
    }
    Ok(tasks)
}

async fn told(
    tasks: Vec<(u64, JoinHandle<anyhow::Result<Told>>)>,
) -> anyhow::Result<Vec<(u64, Told)>> {
    let mut all = Vec::new();
    for (appender, task) in tasks {
        all.push((appender, task.await?.with_context(|| format!("appender {appender}"))?));
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appenders_store_each_record_once() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        bench.client.create_empty("/log").await?;
        let progress = Arc::<Appending>::default();
        // Up to a quarter of a chunk: most chunks are sealed short.
        let most = bench.chunk_size() as usize / 4;
        let tasks = appenders(&bench, "/log", 6, 40, most, &progress).await?;
        let told = told(tasks).await?;
        assert!(told.iter().all(|(_, told)| told.stored.len() == 40 && told.unknown.is_empty()));
        bench.check_records("/log", &told).await?;
        eventually("all have closed", WHOLE, async || {
            Ok(!bench.client.stat("/log").await?.open_for_write)
        })
        .await?;
        let length = bench.client.stat("/log").await?.length;
        assert_eq!(length, bench.read("/log").await?.len() as u64);
        bench.wait_whole(WHOLE).await?;
        bench.check_replicas_are_equal("/log", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_stored_once_while_servers_and_the_master_die() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        bench.client.create_empty("/log").await?;
        let progress = Arc::<Appending>::default();
        let tasks = appenders(&bench, "/log", 6, u32::MAX, 30_000, &progress).await?;
        let mut dice = Dice::new(5);
        for round in 0..10 {
            let goal = progress.acknowledged() + 20 + dice.below(40);
            eventually("records are acknowledged", Duration::from_secs(40), async || {
                ensure!(tasks.iter().all(|(_, task)| !task.is_finished()), "an appender gave up");
                Ok(progress.acknowledged() >= goal)
            })
            .await
            .with_context(|| format!("in round {round}"))?;
            let victim = match round % 4 {
                // The primary of the last chunk leads; then a secondary, the master, anybody.
                0 | 1 => {
                    let chunks = bench.client.locate("/log").await?;
                    let chunk = chunks.last().context("a chunk")?;
                    let mut servers: Vec<_> = chunk.servers.iter().collect();
                    servers.sort_by_key(|server| server.server != chunk.primary);
                    let victim = servers.get(round % 4).or(servers.last()).context("a server")?;
                    bench.part(victim)?
                }
                2 => Part::Master,
                _ => Part::Server(dice.below(4) as usize),
            };
            if round == 7 {
                // One hangs instead.
                tokio::task::block_in_place(|| bench.cluster.kill(victim, Signal::STOP))?;
                let goal = progress.acknowledged() + 20;
                let on = async || Ok(progress.acknowledged() >= goal);
                eventually("it goes on without who hangs", Duration::from_secs(40), on).await?;
                bench.cluster.cont(victim)?;
            } else {
                bench.kill(victim)?;
                bench.restart(victim)?;
            }
        }
        progress.stop();
        let told = told(tasks).await?;
        assert!(told.iter().all(|(_, told)| told.unknown.is_empty()), "six are remembered");
        println!("{} records", told.iter().map(|(_, told)| told.stored.len()).sum::<usize>());
        bench.check_records("/log", &told).await?;
        bench.wait_whole(WHOLE).await?;
        bench.check_records("/log", &told).await?;
        bench.check_replicas_are_equal("/log", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_what_is_acknowledged_and_no_more() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        bench.client.create_empty("/log").await?;
        let reader = bench.another_client(Duration::from_secs(30)).await?;
        let mut follower = reader.open("/log").await?;
        let progress = Arc::<Appending>::default();
        let tasks = appenders(&bench, "/log", 3, 60, 100_000, &progress).await?;
        let mut appended = tokio::spawn(told(tasks));
        let (mut seen, mut goal, mut all) = (Vec::new(), None, Vec::new());
        while goal.is_none_or(|goal| (seen.len() as u64) < goal) {
            tokio::select! {
                piece = follower.next_piece_or_wait() => seen.extend_from_slice(&piece?),
                appended = &mut appended, if goal.is_none() => {
                    all = appended??;
                    goal = Some(bench.client.stat("/log").await?.length);
                }
            }
        }
        assert_eq!(seen, bench.read("/log").await?, "as somebody else reads it");
        records_of(&seen)?;
        bench.check_records("/log", &all).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_to_disk_are_answered_and_stay() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let create = CreateOptions { durability: Durability::Disk, ..CreateOptions::default() };
        let options = AppendOptions { create: Some(create), ..AppendOptions::default() };
        let file = bench.client.open_append_with("/disk", options).await?;
        let mut told = Told::default();
        // Over the end of several chunks.
        for number in 0..30 {
            let offset = file.append(record(1, number, 200_000)).await?;
            told.stored.insert(number, offset);
        }
        file.close().await?;
        let file = bench.client.open_append("/disk").await?;
        let offset = file.append_with(record(1, 30, LEAST), Durability::Disk).await?;
        told.stored.insert(30, offset);
        file.sync(Durability::Disk).await?;
        file.close().await?;
        bench.check_records("/disk", &[(1, told)]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_appended_is_refused() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let client = &bench.client;
        client.mkdir("/d").await?;
        assert_eq!(client.open_append("/d").await.unwrap_err().code(), ErrorCode::IsADirectory);
        assert_eq!(client.open_append("/none").await.unwrap_err().code(), ErrorCode::NotFound);
        client.create_empty("/log").await?;
        let file = client.open_append("/log").await?;
        // Over the limit: nothing is sent, and the appender goes on.
        let most = file.max_record() as usize;
        assert_eq!(most, bench.chunk_size() as usize / 4);
        let error = file.append(vec![0; most + 1]).await.expect_err("too large");
        assert_eq!(error.code(), ErrorCode::OutOfRange, "{error}");
        let error = file.append("").await.expect_err("nothing");
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        let told = Told { stored: [(0, 0)].into(), ..Told::default() };
        assert_eq!(file.append(record(1, 0, most)).await?, 0);

        // One who writes and one who appends keep each other out.
        let other = bench.another_client(Duration::from_secs(1)).await?;
        assert_eq!(other.open_write("/log").await.unwrap_err().code(), ErrorCode::Busy);
        assert_eq!(other.truncate("/log", 0).await.unwrap_err().code(), ErrorCode::Busy);
        file.close().await?;
        let writer = client.open_write("/log").await?;
        assert_eq!(other.open_append("/log").await.unwrap_err().code(), ErrorCode::Busy);
        writer.close().await?;
        bench.check_records("/log", &[(1, told)]).await?;

        // Removed under the appender: an error, in time.
        let file = client.open_append("/log").await?;
        file.append(record(1, 1, 1000)).await?;
        client.remove("/log").await?;
        let mut refused = None;
        for number in 2..40 {
            if let Err(error) = file.append(record(1, number, most)).await {
                refused = Some(error);
                break;
            }
        }
        let error = refused.context("a removed file cannot grow for ever")?;
        assert!(matches!(error.code(), ErrorCode::NotFound | ErrorCode::Conflict), "{error}");
        Ok(())
    })
    .await
}
