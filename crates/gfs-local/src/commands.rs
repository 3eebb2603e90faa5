//! The three commands.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use gfs_local::{Binaries, LocalCluster, Options, http_get, is_running, read_state, request_end};
use tokio::signal::unix::{SignalKind, signal};

use crate::Up;

const REAP_EVERY: Duration = Duration::from_millis(500);
const DOWN_PATIENCE: Duration = Duration::from_secs(90);
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Starts a cluster and runs it until a signal comes.
pub(crate) fn up(flags: Up) -> anyhow::Result<()> {
    let data = std::path::absolute(&flags.place.data)?;
    let binaries = match &flags.binaries {
        Some(directory) => Binaries::in_directory(directory),
        None => Binaries::find()?,
    };
    let options = Options {
        data,
        servers: flags.servers,
        directories: flags.dirs,
        address: flags.address,
        first_port: flags.master_port,
        chunk_size: flags.chunk_size,
        zones: flags.zones,
        binaries,
        log: flags.log_level,
        master_arguments: Vec::new(),
        server_arguments: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(options, flags.restart));
    // A start or an end that was cut short goes on in a thread; the kernel ends its processes.
    runtime.shutdown_background();
    outcome
}

async fn run(options: Options, restart: bool) -> anyhow::Result<()> {
    // Taken over before anything is started, so that no signal leaves half a cluster behind.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let starting = tokio::task::spawn_blocking(move || LocalCluster::start(options));
    let cluster = tokio::select! {
        cluster = starting => cluster??,
        _ = interrupt.recv() => bail!("interrupted while starting"),
        _ = terminate.recv() => bail!("terminated while starting"),
    };
    introduce(&cluster)?;
    let mut reap = tokio::time::interval(REAP_EVERY);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = reap.tick() => look_after(&cluster, restart)?,
        }
    }
    println!("ending");
    let ending = tokio::task::spawn_blocking(move || cluster.shutdown());
    let killed = tokio::select! {
        killed = ending => killed??,
        _ = interrupt.recv() => bail!("interrupted again: the processes were killed"),
    };
    ensure!(killed.is_empty(), "did not end when asked to and were killed: {killed:?}");
    Ok(())
}

fn introduce(cluster: &LocalCluster) -> anyhow::Result<()> {
    println!("A GFS cluster runs in {}:\n", cluster.options().data.display());
    for part in cluster.parts() {
        let (grpc, http) = (cluster.grpc(part)?, cluster.http(part)?);
        let pid = cluster.pid(part)?.unwrap_or_default();
        println!("  {:<15} grpc {grpc:<21} http {http:<21} pid {pid}", part.to_string());
    }
    let endpoint = cluster.endpoint();
    println!(
        "\nUse it:\n  kubectl-gfs --endpoint {endpoint} put FILE /FILE\n  \
         kubectl-gfs --endpoint {endpoint} ls /\n  kubectl-gfs --endpoint {endpoint} status\n\n\
         Logs are in {}. Ctrl-C ends it and keeps its data.",
        cluster.options().data.join("logs").display()
    );
    Ok(())
}

fn look_after(cluster: &LocalCluster, restart: bool) -> anyhow::Result<()> {
    for (part, status) in cluster.take_ended()? {
        println!("{part} ended: {status}; see {}", cluster.log(part)?.display());
        if restart {
            cluster.restart(part)?;
            println!("{part} was started again");
        }
    }
    Ok(())
}

/// Shows the processes. Fails unless all are ready.
pub(crate) fn status(data: &Path) -> anyhow::Result<()> {
    let state = read_state(data)?;
    let running = is_running(data)?;
    let mut unready = 0;
    println!("endpoint {}", state.endpoint);
    for part in &state.parts {
        let readiness = match (running, http_get(part.http, "/readyz", PROBE_PATIENCE)) {
            (false, _) => "not running".to_owned(),
            (true, Ok(answer)) if answer.status == 200 => "ready".to_owned(),
            (true, Ok(answer)) => format!("not ready: {}", answer.body.trim_end()),
            (true, Err(error)) => format!("does not answer: {error}"),
        };
        unready += usize::from(readiness != "ready");
        let pid = part.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        println!("{:<15} {:<21} pid {pid:<8} {readiness}", part.name, part.grpc.to_string());
    }
    ensure!(unready == 0, "{unready} of {} processes are not ready", state.parts.len());
    Ok(())
}

/// Ends the cluster.
pub(crate) fn down(data: &Path) -> anyhow::Result<()> {
    request_end(data)?;
    let until = Instant::now() + DOWN_PATIENCE;
    while is_running(data)? {
        ensure!(Instant::now() < until, "it still runs after {DOWN_PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    read_state(data).map(|_| ()).context("after its end")
}
