//! The wish that the process ends, as a value that can be awaited, asked and passed on.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether the process was asked to end. Cheap to clone; every component holds one.
#[derive(Clone, Debug)]
pub struct Shutdown {
    requested: watch::Receiver<bool>,
}

/// Asks for the end. The request cannot be taken back. A trigger dropped unused asks nothing.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger {
    request: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// A trigger and what it triggers.
    #[must_use]
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger { request: Arc::new(sender) }, Self { requested: receiver })
    }

    /// Completes once the end was asked for; at once if it was already. Safe to cancel.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        if requested.wait_for(|requested| *requested).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

impl ShutdownTrigger {
    /// Asks for the end.
    pub fn request(&self) {
        self.request.send_replace(true);
    }
}

/// SIGTERM and SIGINT, counted from when this was made.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the two signals over from their default of killing the process. Needs a runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next signal to arrive.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn all_clones_hear_the_request_and_late_ones_too() {
        let (trigger, shutdown) = Shutdown::new();
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        assert!(!shutdown.is_requested());
        trigger.request();
        timeout(Duration::from_secs(5), early).await.expect("heard").expect("no panic");
        timeout(Duration::from_secs(5), shutdown.clone().requested()).await.expect("heard late");
        assert!(shutdown.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_trigger_asks_nothing() {
        let (trigger, shutdown) = Shutdown::new();
        drop(trigger);
        assert!(timeout(Duration::from_secs(3600), shutdown.requested()).await.is_err());
    }
}
