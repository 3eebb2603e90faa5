//! Servers that die or freeze, and a master that restarts, in the middle of reads and writes.

use std::time::{Duration, Instant};

use gfs_client::Client;
use gfs_local::{LocalCluster, Part, Signal};

use crate::setup::{CHUNK, Setup, assert_same, text};

const LENGTH: u64 = 40 * CHUNK as u64 + 4_321;

/// Writes a file of [`LENGTH`] bytes and closes it; `at` runs when the first third is handed in.
/// Returns the longest time that a write of 64 KiB took.
async fn write(client: &Client, path: &str, seed: u64, at: impl FnOnce()) -> Duration {
    let mut at = Some(at);
    let mut file = client.create(path).await.unwrap();
    let mut longest = Duration::ZERO;
    let mut position = 0;
    while position < LENGTH {
        if position > LENGTH / 3
            && let Some(at) = at.take()
        {
            at();
        }
        let end = (position + 65_536).min(LENGTH);
        let since = Instant::now();
        file.write_bytes(text(seed, position, end)).await.unwrap();
        longest = longest.max(since.elapsed());
        position = end;
    }
    let since = Instant::now();
    assert_eq!(file.close().await.unwrap().length, LENGTH);
    longest.max(since.elapsed())
}

/// Reads the file; `at` runs after the first third.
async fn read(client: &Client, path: &str, seed: u64, at: impl FnOnce()) -> Duration {
    let mut at = Some(at);
    let mut file = client.open(path).await.unwrap();
    let mut longest = Duration::ZERO;
    let mut position = 0;
    loop {
        if position > LENGTH / 3
            && let Some(at) = at.take()
        {
            at();
        }
        let since = Instant::now();
        let Some(piece) = file.next_piece().await.unwrap() else { break };
        longest = longest.max(since.elapsed());
        assert_same(&piece, &text(seed, position, position + piece.len() as u64));
        position += piece.len() as u64;
    }
    assert_eq!(position, LENGTH);
    longest
}

/// A server that holds a part of the file that comes late.
async fn holder(setup: &Setup, path: &str) -> Part {
    let chunks = setup.client.locate(path).await.unwrap();
    let late = chunks.last().expect("the file has chunks");
    let pod = &late.servers[0].place.as_ref().expect("servers say where they are").pod;
    setup.cluster.servers().find(|part| part.to_string() == *pod).expect("a server of ours")
}

fn kill(cluster: &LocalCluster, part: Part) {
    cluster.kill(part, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_stops_neither_reads_nor_writes() {
    let setup = Setup::new(4).await;
    let (client, cluster) = (&setup.client, &setup.cluster);
    for round in 0..4 {
        let victim = Part::Server(round);
        let path = format!("/file-{round}");
        let stall = write(client, &path, round as u64, || kill(cluster, victim)).await;
        eprintln!("write, {victim} killed: longest stall {stall:?}");
        assert!(stall < Duration::from_secs(5), "{stall:?}");
        read(client, &path, round as u64, || ()).await;
        cluster.restart(victim).unwrap();
        cluster.wait_ready(Duration::from_secs(20)).unwrap();
    }
    for round in 0..4 {
        let path = format!("/file-{round}");
        let victim = holder(&setup, &path).await;
        let stall = read(client, &path, round as u64, || kill(cluster, victim)).await;
        eprintln!("read, {victim} killed: longest stall {stall:?}");
        assert!(stall < Duration::from_secs(5), "{stall:?}");
        cluster.restart(victim).unwrap();
        cluster.wait_ready(Duration::from_secs(20)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_stops_neither_reads_nor_writes() {
    let setup = Setup::new(4).await;
    let (client, cluster) = (&setup.client, &setup.cluster);
    for round in 0..3 {
        let victim = Part::Server(round);
        let path = format!("/file-{round}");
        let stall = write(client, &path, round as u64, || cluster.stop(victim).unwrap()).await;
        eprintln!("write, {victim} frozen: longest stall {stall:?}");
        assert!(stall < Duration::from_secs(6), "{stall:?}");
        cluster.cont(victim).unwrap();
        let victim = holder(&setup, &path).await;
        let stall = read(client, &path, round as u64, || cluster.stop(victim).unwrap()).await;
        eprintln!("read, {victim} frozen: longest stall {stall:?}");
        assert!(stall < Duration::from_secs(4), "{stall:?}");
        cluster.cont(victim).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_restarts_loses_nothing() {
    let setup = Setup::new(3).await;
    let (client, cluster) = (&setup.client, &setup.cluster);
    for round in 0..3 {
        let path = format!("/file-{round}");
        let stall = write(client, &path, round, || {
            kill(cluster, Part::Master);
            cluster.restart(Part::Master).unwrap();
        })
        .await;
        eprintln!("write, master restarted: longest stall {stall:?}");
        read(client, &path, round, || ()).await;
    }
}
