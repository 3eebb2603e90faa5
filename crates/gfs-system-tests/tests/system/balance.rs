//! A server joins that holds nothing: it gets its share, while files are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use gfs_client::proto::{ServerState, StatusResponse};
use gfs_local::Part;
use gfs_system_tests::{Bench, Content, Shape, bounded, eventually, write_file};
use tokio::task::block_in_place;

const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: u64 = 24 << 20;
const FILES: u64 = 4;

/// Runs the verb with these arguments; what it prints as JSON.
fn rebalance(bench: &Bench, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
    let mut command = bench.kubectl();
    let output =
        block_in_place(|| command.args(["rebalance", "-o", "json"]).args(arguments).output())?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn with_state(status: &StatusResponse, state: ServerState) -> usize {
    status.servers.iter().filter(|server| server.state() == state).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_gets_its_share_while_files_are_read() -> anyhow::Result<()> {
    bounded(LIMIT, async {
        let bench = Bench::start(Shape { servers: 5, ..Shape::default() }).await?;
        let fifth = Part::Server(4);
        bench.kill(fifth)?;
        bench
            .wait_status("four are left", PATIENCE, |s| with_state(s, ServerState::Dead) == 1)
            .await?;
        let path = |number: u64| format!("/file-{number}");
        for number in 0..FILES {
            let (client, content) = (bench.client.clone(), Content(number));
            write_file(client, path(number), content, LENGTH, 3, Arc::default()).await?;
        }
        bench.restart(fifth)?;
        bench.wait_whole(PATIENCE).await?;
        let share = FILES * LENGTH * 3 / 5;
        let before = rebalance(&bench, &["--status"])?;
        assert_eq!((&before["balanced"], &before["moved_chunks"]), (&false.into(), &0.into()));

        let done = AtomicBool::new(false);
        let read = async {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                for number in 0..FILES {
                    bench.check_file(&path(number), Content(number), LENGTH).await?;
                }
                rounds += 1;
            }
            anyhow::Ok(rounds)
        };
        let balance = async {
            rebalance(&bench, &[])?;
            let idle = |s: &StatusResponse| {
                s.balance.as_ref().is_some_and(|balance| !balance.active && balance.moving == 0)
            };
            let status = bench.wait_status("balanced", PATIENCE, idle).await;
            done.store(true, Ordering::Relaxed);
            status
        };
        let (read, status) = tokio::join!(read, balance);
        let status = status?;
        ensure!(read? > 0, "nothing was read");
        for server in &status.servers {
            let stored = server.stored_bytes;
            ensure!(stored.abs_diff(share) * 10 <= share, "{stored} of {share}: {status:?}");
        }
        let balance = status.balance.context("no balance")?;
        ensure!(balance.balanced && balance.moved_bytes >= share * 9 / 10, "{balance:?}");
        // Each copy that went is gone from its disk.
        bench.wait_whole(PATIENCE).await?;
        for number in 0..FILES {
            bench.check_replicas(&path(number), Content(number), LENGTH, 3).await?;
        }
        // Metrics are set once a second.
        let moved = format!("gfs_master_balance_moved{{of=\"chunks\"}} {}", balance.moved_chunks);
        let shown =
            async || Ok(block_in_place(|| bench.cluster.metrics(Part::Master))?.contains(&moved));
        eventually(&format!("the line {moved:?}"), PATIENCE, shown).await?;
        // Nothing is left to be done, and asking again does nothing.
        let waited = rebalance(&bench, &["--wait"])?;
        assert_eq!((&waited["active"], &waited["balanced"]), (&false.into(), &true.into()));
        let stopped = rebalance(&bench, &["--stop"])?;
        assert_eq!((&stopped["active"], &stopped["moving"]), (&false.into(), &0.into()));
        Ok(())
    })
    .await
}
