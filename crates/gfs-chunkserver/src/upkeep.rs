//! What a chunkserver does unasked: ticks for its replicas, syncs in the background, space, and
//! the numbers it must remember.

use crate::node::Node;
use crate::store::ScanEntry;
use anyhow::Context as _;
use gfs_core::replica::Event;
use gfs_process::{Pulse, Shutdown};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Between two ticks of active replicas.
const TICK: Duration = Duration::from_millis(100);
/// Between two background passes over the disk.
const SYNC: Duration = Duration::from_millis(250);
/// Background passes between two storings of the commit sequence heard.
const REMEMBER: u32 = 20;
/// Threads that read headers at the start.
const SCANNERS: usize = 4;

/// Reads what is on the volume.
///
/// # Errors
/// A directory cannot be listed.
pub(crate) async fn scan(node: &Arc<Node>) -> anyhow::Result<()> {
    let volume = Arc::clone(&node.volume);
    let read = tokio::task::spawn_blocking(move || {
        volume.scan(SCANNERS).and_then(|found| Ok((found, volume.quarantined()?)))
    });
    let (found, quarantined) = read.await??;
    let forgetful = !found.unreadable.is_empty() || !quarantined.is_empty();
    node.forgetful.store(forgetful, Ordering::Relaxed);
    for (handle, why) in &found.unreadable {
        tracing::error!(%handle, why, "a chunk's file cannot be read");
    }
    for name in &found.strangers {
        tracing::warn!(name, "a file that is none of ours was left alone");
    }
    let mut states = Vec::with_capacity(found.entries.len());
    for entry in found.entries {
        match entry {
            ScanEntry::Chunk(state) => states.push(state),
            ScanEntry::Garbled { handle, why } => {
                tracing::error!(%handle, why, "a garbled chunk file was put into quarantine");
            }
        }
    }
    tracing::info!(replicas = states.len(), "the volume was read");
    node.chunks.set_found(states);
    Ok(())
}

/// Ticks active replicas until shutdown.
pub(crate) async fn tick(node: Arc<Node>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return Ok(()),
        }
        for chunk in node.chunks.ticking() {
            node.step(&chunk, Event::Tick);
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(10) {
            node.chunks.drop_absent();
            let replicas = node.chunks.count();
            node.counts.replicas.store(replicas as u32, Ordering::Relaxed);
            node.metrics.replicas.set(replicas as i64);
            node.metrics.push_memory.set(node.credit.used() as i64);
            let oldest = node.io.oldest_ms(node.clock.now());
            node.metrics.oldest_io.set(i64::from(oldest));
        }
    }
}

/// The thread that syncs in the background, asks for space, and gives freed memory back.
pub(crate) fn sync(node: &Node, shutdown: &Shutdown, pulse: Pulse) -> anyhow::Result<()> {
    let mut count = 0_u32;
    while !shutdown.is_requested() {
        pulse.beat();
        ask_space(node);
        let report = node.volume.background_sync(node.clock.now());
        node.metrics.unclean.set(report.dirty as i64);
        if count.is_multiple_of(4) {
            gfs_transport::memory::trim();
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(REMEMBER) {
            remember(node);
        }
        std::thread::sleep(SYNC);
    }
    pulse.retire();
    Ok(())
}

/// Space, for those who must not wait for the disk.
pub(crate) fn ask_space(node: &Node) {
    let asked = node.timed("space", || node.volume.capacity());
    if let Ok(capacity) = asked {
        node.capacity.total.store(capacity.total, Ordering::Relaxed);
        node.capacity.free.store(capacity.free, Ordering::Relaxed);
        node.metrics.total_bytes.set(capacity.total as i64);
        node.metrics.free_bytes.set(capacity.free as i64);
    }
}

/// Stores the highest commit sequence heard, so that a rolled back master is noticed.
fn remember(node: &Node) {
    let Some(remember) = node.gate().to_remember() else { return };
    let epoch = gfs_types::Epoch(remember.epoch);
    let sequence = gfs_types::CommitSequence(remember.commit_sequence);
    let stored = node.timed("epoch", || node.volume.persist_epoch(epoch, sequence));
    if stored.is_ok() {
        node.gate().remembered(remember);
    }
}

/// The end: everything that was acknowledged is made durable, and says so.
pub(crate) async fn close(node: &Arc<Node>) -> anyhow::Result<()> {
    let volume = Arc::clone(&node.volume);
    let unclean = tokio::task::spawn_blocking(move || volume.close_all());
    let unclean = unclean.await.context("closing the volume")?;
    if unclean > 0 {
        tracing::warn!(unclean, "replicas that could not be made clean");
    }
    Ok(())
}
