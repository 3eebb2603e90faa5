//! A supervisor: no task of the process ends unseen.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt as _;
use tokio::sync::watch;

use crate::metrics::{Counter, Metrics};
use crate::shutdown::Shutdown;

/// Starts tasks and threads and remembers them until they end. Clones share one register.
///
/// *Essential* tasks run as long as the process does: one that fails, panics, or returns before
/// shutdown was asked for makes [`Tasks::failed`] return its error, which brings the process down
/// (a process without one of its parts would answer health checks and do nothing). *Passing* ones,
/// such as one for a connection, may end at any time; their panic is logged and counted.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    shutdown: Shutdown,
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, &'static str>>,
    count: watch::Sender<usize>,
    failure: watch::Sender<Option<Arc<anyhow::Error>>>,
    panics: Counter,
}

impl Tasks {
    /// A supervisor without tasks.
    #[must_use]
    pub fn new(shutdown: Shutdown, metrics: &Metrics) -> Self {
        Self {
            shared: Arc::new(Shared {
                shutdown,
                next: AtomicU64::new(0),
                running: Mutex::default(),
                count: watch::channel(0).0,
                failure: watch::channel(None).0,
                panics: metrics.counter(
                    "gfs_process_task_panics_total",
                    "Tasks that ended in a panic; each is a bug",
                ),
            }),
        }
    }

    /// Spawns a task the process cannot be without. It returns once shutdown was asked for.
    pub fn essential<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let entry = self.enter(name);
        tokio::spawn(async move {
            let outcome = AssertUnwindSafe(task).catch_unwind().await;
            entry.essential_ended(outcome);
        });
    }

    /// Starts a thread the process cannot be without. It returns once shutdown was asked for.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn essential_thread<F>(&self, name: &'static str, body: F) -> io::Result<()>
    where
        F: FnOnce() -> anyhow::Result<()> + Send + 'static,
    {
        let entry = self.enter(name);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(body));
            entry.essential_ended(outcome);
        })?;
        Ok(())
    }

    /// Spawns a task that may end at any time.
    pub fn passing<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let entry = self.enter(name);
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                entry.shared.panics.inc();
                tracing::error!(task = name, panic = %panic_text(&*panic), "a task panicked");
            }
        });
    }

    /// How many tasks and threads run.
    #[must_use]
    pub fn running(&self) -> usize {
        *self.shared.count.borrow()
    }

    /// Completes, with the reason, when an essential task has failed. Safe to cancel.
    pub async fn failed(&self) -> Arc<anyhow::Error> {
        let mut failure = self.shared.failure.subscribe();
        if let Ok(failure) = failure.wait_for(Option::is_some).await
            && let Some(failure) = failure.as_ref()
        {
            return Arc::clone(failure);
        }
        // `shared` holds the sender: it cannot be gone.
        std::future::pending().await
    }

    /// The failure of an essential task, if there was one.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<anyhow::Error>> {
        self.shared.failure.borrow().clone()
    }

    /// Waits at most `grace` for all tasks to end. Call it once shutdown was requested.
    ///
    /// # Errors
    /// Names the tasks that still run.
    pub async fn ended(&self, grace: Duration) -> anyhow::Result<()> {
        let mut count = self.shared.count.subscribe();
        if tokio::time::timeout(grace, count.wait_for(|count| *count == 0)).await.is_ok() {
            return Ok(());
        }
        let mut names: Vec<_> = self.shared.lock().values().copied().collect();
        names.sort_unstable();
        names.dedup();
        Err(anyhow!("still running {grace:?} after shutdown was requested: {}", names.join(", ")))
    }

    fn enter(&self, name: &'static str) -> Entry {
        let shared = Arc::clone(&self.shared);
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let mut running = shared.lock();
        running.insert(id, name);
        shared.count.send_replace(running.len());
        drop(running);
        Entry { shared, id, name }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, &'static str>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task's line in the register; it leaves when dropped, however the task ended.
struct Entry {
    shared: Arc<Shared>,
    id: u64,
    name: &'static str,
}

impl Entry {
    fn essential_ended(self, outcome: std::thread::Result<anyhow::Result<()>>) {
        let name = self.name;
        let error = match outcome {
            Ok(Ok(())) if self.shared.shutdown.is_requested() => return,
            Ok(Ok(())) => anyhow!("task {name} ended though nothing asked it to"),
            Ok(Err(error)) => error.context(format!("task {name} failed")),
            Err(panic) => {
                self.shared.panics.inc();
                anyhow!("task {name} panicked: {}", panic_text(&*panic))
            }
        };
        tracing::error!(task = name, error = format!("{error:#}"), "an essential task is gone");
        self.shared.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(Arc::new(error));
            }
            first
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = self.shared.lock();
        running.remove(&self.id);
        self.shared.count.send_replace(running.len());
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::ShutdownTrigger;

    const SOON: Duration = Duration::from_secs(5);

    fn tasks() -> (ShutdownTrigger, Shutdown, Tasks) {
        let (trigger, shutdown) = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone(), &Metrics::new());
        (trigger, shutdown, tasks)
    }

    async fn failure(tasks: &Tasks) -> String {
        let error = tokio::time::timeout(SOON, tasks.failed()).await.expect("noticed");
        format!("{error:#}")
    }

    #[tokio::test]
    async fn an_essential_task_that_panics_is_noticed() {
        let (_trigger, _, tasks) = tasks();
        tasks.essential("committer", async { panic!("index {}", 7) });
        assert_eq!(failure(&tasks).await, "task committer panicked: index 7");
    }

    #[tokio::test]
    async fn an_essential_task_that_fails_or_ends_early_is_noticed() {
        let (_trigger, _, tasks) = tasks();
        tasks.essential("ender", async { Ok(()) });
        assert!(failure(&tasks).await.contains("ender ended"));
        let (_trigger, _, tasks) = self::tasks();
        tasks.essential("failer", async { Err(anyhow!("no disk")) });
        assert_eq!(failure(&tasks).await, "task failer failed: no disk");
    }

    #[tokio::test]
    async fn an_essential_thread_is_noticed_too() {
        let (_trigger, _, tasks) = tasks();
        tasks.essential_thread("heart", || panic!("stopped")).expect("thread");
        assert_eq!(failure(&tasks).await, "task heart panicked: stopped");
    }

    #[tokio::test]
    async fn ending_after_shutdown_is_no_failure() {
        let (trigger, shutdown, tasks) = tasks();
        tasks.essential("steady", async move {
            shutdown.requested().await;
            Ok(())
        });
        trigger.request();
        tasks.ended(SOON).await.expect("ends");
        assert!(tasks.failure().is_none());
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn a_passing_task_may_panic_without_harm_but_not_unseen() {
        let (_trigger, _, tasks) = tasks();
        tasks.passing("connection", async { panic!("bad") });
        tasks.ended(SOON).await.expect("ends");
        assert_eq!(tasks.shared.panics.get(), 1);
        assert!(tasks.failure().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_named() {
        let (trigger, _, tasks) = tasks();
        tasks.passing("deaf", std::future::pending());
        trigger.request();
        let error = tasks.ended(Duration::from_secs(20)).await.expect_err("times out");
        assert!(error.to_string().ends_with("deaf"), "{error}");
    }
}
