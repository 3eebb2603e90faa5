//! The thread that owns the engine.
//!
//! Requests are served one after the other, so that a read of the sequence comes after every commit
//! asked for before it, also after one whose caller gave up waiting.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use gfs_types::Epoch;
use tokio::sync::{mpsc, oneshot};

use super::engine::{Engine, Failure};
use crate::follow::History;
use crate::{
    Batch, CommitError, LeaderRecord, Leadership, Revision, SequenceRecord, Snapshot, StoreError,
    Usage,
};

/// How many requests may wait. The master has one commit in flight; the rest are rare.
const QUEUE: usize = 64;

type Reply<T> = oneshot::Sender<T>;

/// What the thread is asked to do. A reply that nobody waits for any more is dropped.
pub(crate) enum Request {
    Acquire { who: String, above: Epoch, reply: Reply<Result<Leadership, StoreError>> },
    Resign { term: Leadership, reply: Reply<()> },
    Leader { reply: Reply<Option<LeaderRecord>> },
    Commit { term: Leadership, batch: Batch, reply: Reply<Result<Revision, CommitError>> },
    ReadSequence { reply: Reply<SequenceRecord> },
    Load { reply: Reply<Result<Snapshot, StoreError>> },
    Usage { reply: Reply<Result<Usage, StoreError>> },
    Close { reply: Reply<()> },
}

/// The handle of the thread. When it is dropped the thread ends after what it was asked to do.
pub(crate) struct Worker {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// What is known without asking the thread.
struct Shared {
    /// The epoch of the current term; 0 when there is none.
    epoch: AtomicU64,
    /// Set before the last request is answered.
    end: OnceLock<End>,
    history: History,
}

enum End {
    Closed,
    Failed(String),
}

impl Worker {
    /// Starts the thread, which opens the store first.
    pub(crate) async fn start(
        open: impl FnOnce(History) -> Result<Engine, StoreError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let (opened, result) = oneshot::channel();
        let shared = Arc::new(Shared {
            epoch: AtomicU64::new(0),
            end: OnceLock::new(),
            history: History::beginning_after(Revision(0)),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("metastore".to_owned())
            .spawn(move || {
                // A panic of the database on a damaged file ends this thread; everyone who asks
                // afterwards is told so.
                let guard = EndGuard(theirs);
                match open(guard.0.history.clone()) {
                    Ok(engine) => {
                        if opened.send(Ok(())).is_ok() {
                            serve(engine, queue, &guard.0);
                        }
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            })
            .map_err(|source| StoreError::Io {
                context: "starting the metadata store's thread".to_owned(),
                source,
            })?;
        result.await.map_err(|_| {
            StoreError::Corrupt("the database gave up while opening its file".to_owned())
        })??;
        Ok(Self { requests, shared })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`StoreError::Closed`] or [`StoreError::Poisoned`]; the request may have been carried out
    /// in the second case.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(request(reply)).await.is_err() {
            return Err(self.shared.error());
        }
        answer.await.map_err(|_| self.shared.error())
    }

    /// Whether it still serves, for what is answered without asking the thread.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.shared.end.get().is_some() { Err(self.shared.error()) } else { Ok(()) }
    }

    /// Whether `term` is the current one.
    pub(crate) fn leads(&self, term: &Leadership) -> bool {
        term.epoch.0 != 0
            && term.epoch.0 == term.token.0
            && self.shared.end.get().is_none()
            && self.shared.epoch.load(Ordering::Acquire) == term.epoch.0
    }

    pub(crate) fn history(&self) -> &History {
        &self.shared.history
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("epoch", &self.shared.epoch).finish_non_exhaustive()
    }
}

impl Shared {
    fn error(&self) -> StoreError {
        match self.end.get() {
            Some(End::Failed(text)) => StoreError::Poisoned(text.clone()),
            Some(End::Closed) | None => StoreError::Closed,
        }
    }

    fn finish(&self, end: End) {
        // The first end is the one that counts.
        let _ = self.end.set(end);
        self.epoch.store(0, Ordering::Release);
        self.history.close();
    }

    fn publish_term(&self, leader: Option<&LeaderRecord>) {
        self.epoch.store(leader.map_or(0, |leader| leader.epoch.0), Ordering::Release);
    }
}

/// Says that the thread is gone, however it went.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let end = if thread::panicking() {
            End::Failed("the database panicked".to_owned())
        } else {
            End::Closed
        };
        self.0.finish(end);
    }
}

/// Serves requests until the store is closed, has failed, or its handle is gone.
///
/// The last answer is given when the engine is closed and the lock released: whoever receives it can
/// open the store again.
fn serve(mut engine: Engine, mut queue: mpsc::Receiver<Request>, shared: &Shared) {
    while let Some(request) = queue.blocking_recv() {
        match carry_out(&mut engine, request, shared) {
            Next::Serve => {}
            Next::End { end, answer } => {
                if let End::Failed(text) = &end {
                    tracing::error!(reason = %text, "the metadata store failed; it must be reopened");
                }
                shared.finish(end);
                engine.close();
                answer();
                return;
            }
        }
    }
    engine.close();
}

/// Answers, unless nobody waits for it any more.
fn tell<T>(reply: Reply<T>, value: T) {
    let _ = reply.send(value);
}

enum Next {
    Serve,
    End { end: End, answer: Box<dyn FnOnce()> },
}

fn carry_out(engine: &mut Engine, request: Request, shared: &Shared) -> Next {
    match request {
        Request::Acquire { who, above, reply } => {
            // Nobody is told of the new term before the old one is over.
            shared.publish_term(None);
            let result = engine.acquire(who, above);
            shared.publish_term(engine.leader());
            answer(reply, result, StoreError::Poisoned)
        }
        Request::Commit { term, batch, reply } => match engine.commit(&term, batch) {
            Ok(result) => {
                tell(reply, result);
                Next::Serve
            }
            Err(failure) => end(reply, failure.to_string(), |text| {
                Err(CommitError::Failed(StoreError::Poisoned(text)))
            }),
        },
        Request::Load { reply } => answer(reply, engine.load(), StoreError::Poisoned),
        Request::Usage { reply } => {
            tell(reply, engine.usage());
            Next::Serve
        }
        Request::ReadSequence { reply } => {
            tell(reply, engine.sequence().clone());
            Next::Serve
        }
        Request::Leader { reply } => {
            tell(reply, engine.leader().cloned());
            Next::Serve
        }
        Request::Resign { term, reply } => {
            engine.resign(&term);
            shared.publish_term(engine.leader());
            tell(reply, ());
            Next::Serve
        }
        Request::Close { reply } => {
            Next::End { end: End::Closed, answer: Box::new(|| tell(reply, ())) }
        }
    }
}

fn answer<T: Send + 'static>(
    reply: Reply<Result<T, StoreError>>,
    result: Result<T, Failure>,
    error: fn(String) -> StoreError,
) -> Next {
    match result {
        Ok(value) => {
            tell(reply, Ok(value));
            Next::Serve
        }
        Err(failure) => end(reply, failure.to_string(), move |text| Err(error(text))),
    }
}

fn end<T: Send + 'static>(
    reply: Reply<T>,
    text: String,
    error: impl FnOnce(String) -> T + 'static,
) -> Next {
    let told = text.clone();
    Next::End { end: End::Failed(text), answer: Box::new(move || tell(reply, error(told))) }
}
