//! From parsed flags to an exit code.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gfs_types::Millis;

use crate::clock::{Clock, SystemClock};
use crate::flags::ProcessFlags;
use crate::health::Health;
use crate::http::HttpEndpoint;
use crate::logs::start_logs;
use crate::metrics::Metrics;
use crate::own_usage::OwnUsage;
use crate::random::{Random, random_from_os};
use crate::shutdown::{Shutdown, ShutdownTrigger, Signals};
use crate::tasks::Tasks;

/// Threads for calls that block, at most. They keep a disk's queue filled. Hundreds of them, which
/// bursts of small operations would start, cost a heap of their own each: 600 MiB were seen, and
/// half of all CPU time spent in clearing fresh pages.
const BLOCKING_THREADS: usize = 32;
/// How often the runtime shows that it schedules tasks, and after which silence it is stuck.
const RUNTIME_BEAT: Duration = Duration::from_secs(1);
const RUNTIME_LIMIT: Millis = Millis(30_000);

/// What a component is given.
pub struct Process {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness; fork it for each part.
    pub random: Random,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Where loops and conditions are reported.
    pub health: Health,
    /// Whether the process was asked to end.
    pub shutdown: Shutdown,
    /// Asks it to end.
    pub trigger: ShutdownTrigger,
    /// Where tasks are started.
    pub tasks: Tasks,
    /// Where the HTTP endpoint listens.
    pub http_address: SocketAddr,
}

/// Runs `component` as this process: starts logs and the HTTP endpoint, runs the component until
/// it returns, and reports the outcome as exit code.
///
/// The component sets itself up, runs until `shutdown` is requested, winds down and returns; what
/// it spawned through `tasks` then has the rest of the grace time to end. SIGTERM and SIGINT
/// request shutdown; a second one ends the process at once, with code 130. An essential task that
/// fails requests shutdown too, and the process ends with code 1, as it does when the component
/// returns an error.
pub fn run<C, F>(name: &'static str, flags: &ProcessFlags, component: C) -> ExitCode
where
    C: FnOnce(Process) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    if let Err(error) = start_logs(&flags.log) {
        eprintln!("{name}: {error:#}");
        return ExitCode::FAILURE;
    }
    if let Some(parent) = flags.die_with_parent
        && let Err(error) = die_with(parent)
    {
        tracing::error!(error = format!("{error:#}"), "cannot be bound to the parent's life");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start threads");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(supervise(name, flags, component));
    // Threads stuck in a system call must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(Outcome::Ended) => {
            tracing::info!(process = name, "ended");
            ExitCode::SUCCESS
        }
        Ok(Outcome::CutShort) => ExitCode::from(130),
        Err(error) => {
            tracing::error!(process = name, error = format!("{error:#}"), "ended with an error");
            ExitCode::FAILURE
        }
    }
}

/// Has the kernel kill this process when the *thread* that started it ends.
fn die_with(parent: i32) -> anyhow::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the kernel was told.
    let actual = rustix::process::getppid().map(rustix::process::Pid::as_raw_nonzero);
    anyhow::ensure!(actual.is_some_and(|pid| pid.get() == parent), "process {parent} is gone");
    Ok(())
}

enum Outcome {
    Ended,
    CutShort,
}

async fn supervise<C, F>(
    name: &'static str,
    flags: &ProcessFlags,
    component: C,
) -> anyhow::Result<Outcome>
where
    C: FnOnce(Process) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut signals = Signals::new().context("taking over signals")?;
    let (trigger, shutdown) = Shutdown::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Metrics::new();
    metrics.collector(OwnUsage { started: clock.wall() });
    let tasks = Tasks::new(shutdown.clone(), &metrics);
    let health = Health::new(Arc::clone(&clock));
    tasks.essential("runtime pulse", beat(health.clone(), shutdown.clone()));
    let http = HttpEndpoint::start(
        flags.http_listen,
        health.clone(),
        metrics.clone(),
        shutdown.clone(),
        &tasks,
    )?;
    tracing::info!(process = name, version = env!("CARGO_PKG_VERSION"), http = %http.address());

    let whole = run_to_end(
        component(Process {
            clock,
            random: random_from_os().context("no entropy from the kernel")?,
            metrics,
            health,
            shutdown: shutdown.clone(),
            trigger: trigger.clone(),
            tasks: tasks.clone(),
            http_address: http.address(),
        }),
        &trigger,
        &shutdown,
        &tasks,
        flags.grace(),
    );
    tokio::pin!(whole);
    let mut asked = false;
    loop {
        tokio::select! {
            outcome = &mut whole => return outcome.map(|()| Outcome::Ended),
            signal = signals.next() => {
                if asked {
                    tracing::warn!(signal, "second signal: ending at once");
                    return Ok(Outcome::CutShort);
                }
                tracing::info!(signal, "shutting down");
                asked = true;
                trigger.request();
            }
        }
    }
}

/// Runs the component, then what is left of its tasks. The grace time begins with the request to
/// end, whoever made it.
async fn run_to_end(
    component: impl Future<Output = anyhow::Result<()>>,
    trigger: &ShutdownTrigger,
    shutdown: &Shutdown,
    tasks: &Tasks,
    grace: Duration,
) -> anyhow::Result<()> {
    let ending = async {
        let outcome = component.await;
        trigger.request();
        outcome?;
        tasks.ended(Duration::MAX).await
    };
    let overdue = async {
        tokio::select! {
            () = shutdown.requested() => {}
            _ = tasks.failed() => trigger.request(),
        }
        tokio::time::sleep(grace).await;
        match tasks.ended(Duration::ZERO).await {
            Err(error) => error,
            Ok(()) => anyhow::anyhow!("shutdown took longer than {grace:?}"),
        }
    };
    let outcome = tokio::select! {
        outcome = ending => outcome,
        error = overdue => Err(error),
    };
    // The first cause is the one worth telling.
    match tasks.failure() {
        Some(failure) => Err(anyhow::anyhow!("{failure:#}")),
        None => outcome,
    }
}

async fn beat(health: Health, shutdown: Shutdown) -> anyhow::Result<()> {
    let pulse = health.pulse("runtime", RUNTIME_LIMIT);
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            () = tokio::time::sleep(RUNTIME_BEAT) => pulse.beat(),
        }
    }
    pulse.retire();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(20);

    fn parts() -> (ShutdownTrigger, Shutdown, Tasks) {
        let (trigger, shutdown) = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone(), &Metrics::new());
        (trigger, shutdown, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn the_component_ending_ends_its_tasks() {
        let (trigger, shutdown, tasks) = parts();
        let waits = shutdown.clone();
        tasks.essential("waits", async move {
            waits.requested().await;
            Ok(())
        });
        run_to_end(async { Ok(()) }, &trigger, &shutdown, &tasks, GRACE).await.expect("ends");
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_task_ends_the_component_and_is_the_error() {
        let (trigger, shutdown, tasks) = parts();
        tasks.essential("committer", async { panic!("boom") });
        let component = async {
            shutdown.requested().await;
            Ok(())
        };
        let error = run_to_end(component, &trigger, &shutdown, &tasks, GRACE).await;
        let error = error.expect_err("fails").to_string();
        assert_eq!(error, "task committer panicked: boom");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_abandoned_after_the_grace_time() {
        let (trigger, shutdown, tasks) = parts();
        tasks.passing("deaf", std::future::pending());
        trigger.request();
        let begun = tokio::time::Instant::now();
        let error = run_to_end(std::future::pending(), &trigger, &shutdown, &tasks, GRACE).await;
        assert!(error.expect_err("overdue").to_string().contains("deaf"));
        assert_eq!(begun.elapsed(), GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_component_that_cannot_start_is_the_error() {
        let (trigger, shutdown, tasks) = parts();
        let component = async { Err(anyhow::anyhow!("port in use")) };
        let error = run_to_end(component, &trigger, &shutdown, &tasks, GRACE).await;
        assert_eq!(error.expect_err("fails").to_string(), "port in use");
    }
}
