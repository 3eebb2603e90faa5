//! The same while many append to one file, and many overwrite another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_local::Part;
use gfs_system_tests::{
    Acknowledged, Appending, Bench, Dice, Shape, append_records, bounded, eventually,
    slots_written, write_slots,
};

const LIMIT: Duration = Duration::from_secs(600);
const WHOLE: Duration = Duration::from_secs(60);
const WRITERS: u64 = 4;

/// Kills servers at random moments, `kills` in all, waiting each time until `progress` has moved on.
async fn kill_servers(
    bench: &Bench,
    seed: u64,
    kills: usize,
    progress: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let kills = std::env::var("GFS_CRASH_KILLS").map_or(Ok(kills), |kills| kills.parse())?;
    let mut dice = Dice::new(seed);
    let servers: Vec<Part> = bench.cluster.servers().collect();
    let (mut made, begun) = (0, Instant::now());
    while made < kills {
        let goal = progress()? + 1 + dice.below(60);
        eventually("it goes on", Duration::from_secs(40), async || Ok(progress()? >= goal))
            .await
            .with_context(|| format!("after {made} kills"))?;
        // Most often one, now and then all at once.
        let victims = match dice.below(8) {
            0 => servers.clone(),
            _ => {
                let victim = servers.get(dice.below(servers.len() as u64) as usize);
                victim.copied().into_iter().collect()
            }
        };
        std::thread::sleep(Duration::from_micros(dice.below(3_000)));
        for victim in &victims {
            bench.kill(*victim)?;
        }
        made += victims.len();
        for victim in &victims {
            tokio::task::block_in_place(|| bench.cluster.restart(*victim))?;
        }
        tokio::task::block_in_place(|| bench.cluster.wait_ready(Duration::from_secs(30)))?;
    }
    println!("{made} kills in {:?}", begun.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_record_is_there_once() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        bench.client.create_empty("/log").await?;
        let progress = Arc::<Appending>::default();
        let mut tasks = Vec::new();
        for appender in 1..=WRITERS {
            let client = bench.another_client(Duration::from_secs(60)).await?;
            let (path, progress) = ("/log".to_owned(), Arc::clone(&progress));
            let task = append_records(client, path, appender, u32::MAX, 30_000, progress);
            tasks.push((appender, tokio::spawn(task)));
        }
        kill_servers(&bench, 3, 100, || {
            ensure!(tasks.iter().all(|(_, task)| !task.is_finished()), "an appender gave up");
            Ok(progress.acknowledged())
        })
        .await?;
        progress.stop();
        let mut told = Vec::new();
        for (appender, task) in tasks {
            told.push((appender, task.await?.with_context(|| format!("appender {appender}"))?));
        }
        println!("{} records", progress.acknowledged());
        bench.wait_whole(WHOLE).await?;
        bench.check_records("/log", &told).await?;
        bench.check_replicas_are_equal("/log", 3).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_overwrite_is_there() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape::default()).await?;
        let progress = Arc::<Acknowledged>::default();
        let writers = write_slots(&bench, "/table", WRITERS, 100, &progress).await?;
        kill_servers(&bench, 4, 100, || {
            ensure!(writers.iter().all(|task| !task.is_finished()), "a writer gave up");
            Ok(progress.bytes())
        })
        .await?;
        progress.stop();
        let expected = slots_written(writers).await?;
        println!("{} writes", progress.bytes());
        bench.wait_whole(WHOLE).await?;
        ensure!(bench.read("/table").await? == expected, "something else than was acknowledged");
        bench.check_replicas_are_equal("/table", 3).await
    })
    .await
}
