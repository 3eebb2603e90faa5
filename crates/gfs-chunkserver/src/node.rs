//! What all parts of one chunkserver share.

use crate::chunks::Chunks;
use crate::credit::Credit;
use crate::metrics::ServerMetrics;
use crate::read::ranges;
use crate::volumes::{ServerRecord, Volumes};
use gfs_core::replica::{Event, Remember, ServerGate};
use gfs_process::{Clock, Tasks};
use gfs_proto::v1 as pb;
use gfs_transport::Dialer;
use gfs_types::{BLOCK_SIZE, ChunkHandle, CommitSequence, Epoch, Millis};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};

/// Copies made at a time. More would only share the same disk and network.
const COPIES_AT_ONCE: usize = 8;

/// Locks what no panic leaves half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A way to a master, for results and notices. Bounded: what a master does not take is dropped, and
/// the next report tells it all.
pub(crate) type ToMaster = mpsc::Sender<pb::ServerMessage>;

/// One chunkserver.
pub(crate) struct Node {
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dialer: Dialer,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: ServerMetrics,
    pub(crate) credit: Credit,
    /// After so long a push stream that has nothing to do ends.
    pub(crate) idle_limit: Millis,
    pub(crate) chunks: Chunks,
    pub(crate) copying: Semaphore,
    /// Reads that may be served at a time.
    pub(crate) reading: Semaphore,
    max_reads: usize,
    /// Going away on purpose.
    pub(crate) leaving: AtomicBool,
    pub(crate) counts: Counts,
    /// Counts what makes all masters hear anew which replicas there are.
    pub(crate) reports: watch::Sender<u64>,
    /// Set by a flag: instead of what the master says.
    pub(crate) read_limit: Option<Millis>,
    gate: Mutex<ServerGate>,
    masters: Mutex<BTreeMap<usize, ToMaster>>,
}

/// What heartbeats tell.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) read: AtomicU64,
    pub(crate) streams: AtomicI64,
}

/// A stream that is open, for as long as it lives.
pub(crate) struct OpenStream(Arc<Node>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.counts.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.streams.dec();
    }
}

/// What a node is made from.
pub(crate) struct NodeParts {
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dialer: Dialer,
    pub(crate) tasks: Tasks,
    pub(crate) metrics: ServerMetrics,
    pub(crate) push_memory: u64,
    pub(crate) idle_limit: Millis,
    pub(crate) max_reads: usize,
    pub(crate) read_limit: Option<Millis>,
}

impl Node {
    pub(crate) fn new(parts: NodeParts) -> Arc<Self> {
        let ServerRecord { epoch, sequence, .. } = parts.volumes.record();
        let stored = Remember { epoch: epoch.0, commit_sequence: sequence.0 };
        let read_limit = parts.read_limit.unwrap_or(Millis(10_000));
        Arc::new(Self {
            volumes: parts.volumes,
            clock: parts.clock,
            dialer: parts.dialer,
            tasks: parts.tasks,
            metrics: parts.metrics,
            credit: Credit::new(parts.push_memory),
            idle_limit: parts.idle_limit,
            chunks: Chunks::default(),
            copying: Semaphore::new(COPIES_AT_ONCE),
            reading: Semaphore::new(parts.max_reads),
            max_reads: parts.max_reads,
            leaving: AtomicBool::new(false),
            counts: Counts::default(),
            reports: watch::channel(0).0,
            read_limit: parts.read_limit,
            gate: Mutex::new(ServerGate::new(stored, read_limit)),
            masters: Mutex::default(),
        })
    }

    /// The fence. Never held over I/O.
    pub(crate) fn gate(&self) -> MutexGuard<'_, ServerGate> {
        lock(&self.gate)
    }

    /// Takes notice of a master's epoch and stores a higher one before anything is done under it.
    /// Whether it is higher than any before.
    ///
    /// # Errors
    /// A higher epoch was seen before, or it cannot be stored.
    pub(crate) async fn observe(
        self: &Arc<Self>,
        epoch: u64,
        commit_sequence: u64,
    ) -> Result<bool, pb::ErrorDetail> {
        let remember = self.gate().observe(epoch, commit_sequence)?;
        let Some(remember) = remember else { return Ok(false) };
        self.remember(remember).await?;
        self.chunks.new_epoch(self);
        Ok(true)
    }

    /// Stores the highest numbers seen.
    pub(crate) async fn remember(
        self: &Arc<Self>,
        remember: Remember,
    ) -> Result<(), pb::ErrorDetail> {
        let (epoch, sequence) = (Epoch(remember.epoch), CommitSequence(remember.commit_sequence));
        let stored = self.volumes.persist_epoch(epoch, sequence).await;
        stored.map_err(|error| self.disk_error("epoch", error))?;
        self.gate().remembered(remember);
        Ok(())
    }

    /// Reads being served.
    pub(crate) fn reads(&self) -> usize {
        self.max_reads.saturating_sub(self.reading.available_permits())
    }

    /// There is no memory for another stream: those that are idle end.
    pub(crate) fn reclaim(self: &Arc<Self>) {
        if self.credit.may_reclaim(self.clock.now()) {
            for chunk in self.chunks.ticking() {
                self.step(&chunk, Event::Reclaim);
            }
        }
    }

    /// A stream begins.
    pub(crate) fn stream(self: &Arc<Self>) -> OpenStream {
        self.counts.streams.fetch_add(1, Ordering::Relaxed);
        self.metrics.streams.inc();
        OpenStream(Arc::clone(self))
    }

    /// Where results and notices of this session go from now on; `None` ends it.
    pub(crate) fn set_master(&self, link: usize, to: Option<ToMaster>) {
        let mut masters = lock(&self.masters);
        match to {
            Some(to) => masters.insert(link, to),
            None => masters.remove(&link),
        };
        self.metrics.sessions.set(masters.len() as i64);
    }

    /// Tells every master something unasked.
    pub(crate) fn notify(&self, handle: u64, body: pb::notice::Body) {
        let notice = pb::Notice { handle, body: Some(body) };
        let message = pb::ServerMessage { body: Some(pb::server_message::Body::Notice(notice)) };
        for to in lock(&self.masters).values() {
            if to.try_send(message.clone()).is_err() {
                tracing::warn!(handle, "a master does not take notices: one was dropped");
            }
        }
    }

    /// Whether any master hears what is found.
    pub(crate) fn has_master(&self) -> bool {
        !lock(&self.masters).is_empty()
    }

    /// Every replica with the damage that is known of it, in the order of handles: for reports. So
    /// a finding is not lost with the notice that told it.
    pub(crate) fn replica_states(&self) -> Vec<pb::ReplicaState> {
        let mut states = self.chunks.states();
        for (handle, blocks) in self.volumes.damaged() {
            let at = states.binary_search_by_key(&handle.0, |state| state.handle).ok();
            if let Some(state) = at.and_then(|at| states.get_mut(at)) {
                state.damaged = ranges(&blocks);
            }
        }
        for state in &mut states {
            let bay = self.volumes.bay(ChunkHandle(state.handle)).ok();
            if bay.is_some_and(|bay| !bay.service().is_serving()) {
                // It may be read where no other one can be, and does not count.
                let count = state.length.div_ceil(BLOCK_SIZE).max(1);
                state.damaged = vec![pb::BlockRange { first: 0, count }];
            }
        }
        states
    }
}
