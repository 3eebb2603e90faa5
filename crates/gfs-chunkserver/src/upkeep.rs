//! What a chunkserver does unasked: ticks for its replicas, looking after its volumes, syncs in the
//! background, and the numbers it must remember.

use crate::node::{Node, lock};
use crate::store::BootId;
use crate::volumes::{Bay, Started};
use anyhow::Context as _;
use gfs_core::replica::Event;
use gfs_process::{Pulse, Random, Shutdown};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use rand::RngExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// Between two ticks of active replicas.
const TICK: Duration = Duration::from_millis(100);
/// Between two background passes over a disk.
const SYNC: Duration = Duration::from_millis(250);
/// Background passes between two looks whether the volume is still there.
const LOOK: u32 = 4;
/// Ticks between two storings of the commit sequence heard.
const REMEMBER: u32 = 50;

/// Reads what is on the volumes and what space they have, at the start: ticks have not begun. A
/// volume that hangs at that is gone.
pub(crate) async fn start(node: &Arc<Node>) {
    let reading = async {
        scan(node).await;
        for bay in node.volumes.bays() {
            let asking = Arc::clone(bay);
            tokio::select! {
                // What it does not say is asked again.
                _ = bay.blocking(move || asking.ask_space()) => {}
                () = bay.gone() => {}
            }
            node.metrics.begin_volume(bay);
        }
    };
    tokio::pin!(reading);
    let mut ticks = interval(TICK);
    loop {
        tokio::select! {
            () = &mut reading => return,
            _ = ticks.tick() => {
                for (at, service, _) in node.volumes.passed(Millis(TICK.as_millis() as u64)) {
                    let volume = node.volumes.bays().get(at).map(|bay| bay.name());
                    tracing::error!(volume, why = service.reason(), "a volume fails");
                }
            }
        }
    }
}

/// Reads what is on the volumes.
pub(crate) async fn scan(node: &Arc<Node>) {
    let Started { replicas, logs } = node.volumes.scan().await;
    for (volume, log) in logs {
        node.metrics.starts.with([&volume, log.name()]).inc();
    }
    node.chunks.set_found(replicas);
}

/// Ticks active replicas until shutdown.
///
/// The pulse stops when all volumes are gone: they may come back with a restart.
pub(crate) async fn tick(
    node: Arc<Node>,
    shutdown: Shutdown,
    pulse: Pulse,
    mut random: Random,
) -> anyhow::Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u32;
    let mut last = node.clock.now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => {
                pulse.retire();
                return Ok(());
            }
        }
        let now = node.clock.now();
        watch_volumes(&node, now.since(last));
        last = now;
        for chunk in node.chunks.ticking() {
            node.step(&chunk, Event::Tick);
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(10) {
            tokio::task::spawn_blocking(gfs_transport::memory::trim);
            node.chunks.drop_absent();
            node.volumes.count();
            probe_volumes(&node, &mut random);
            if node.volumes.bays().iter().any(|bay| bay.volume().is_ok()) {
                pulse.beat();
            }
            node.metrics.tell_credit(&node.credit);
            node.metrics.reads.set(node.reads() as i64);
            for bay in node.volumes.bays() {
                node.metrics.tell_volume(bay);
            }
        }
        if count.is_multiple_of(REMEMBER) {
            remember(&node);
        }
    }
}

/// Looks after the health of the volumes, without touching them. One that is gone takes its replicas
/// along; of one that fails they count no more. The masters hear of either at once, by a new report,
/// and make them good elsewhere.
fn watch_volumes(node: &Arc<Node>, span: Millis) {
    let worse = node.volumes.passed(span);
    if worse.is_empty() {
        return;
    }
    for (at, service, lost) in worse {
        let Some(bay) = node.volumes.bays().get(at) else { continue };
        let (volume, why) = (bay.name(), service.reason().to_owned());
        if service.is_gone() {
            tracing::error!(volume, why, replicas = lost.len(), "a volume is gone");
        } else {
            let replicas = node.volumes.replicas_on(at).len();
            tracing::error!(volume, why, replicas, "a volume fails: it takes nothing new");
        }
        let text = format!("volume {volume} is gone: {why}");
        let error = pb::ErrorDetail::new(ErrorCode::DiskError, text);
        for handle in lost {
            node.chunks.abandon(node, handle.0, &error);
        }
    }
    node.reports.send_modify(|reports| *reports += 1);
}

/// Looks again at volumes that left service, where it is time.
fn probe_volumes(node: &Arc<Node>, random: &mut Random) {
    for (at, bay) in node.volumes.bays().iter().enumerate() {
        let due = !bay.service().is_serving()
            && !node.leaving.load(Ordering::Relaxed)
            && !bay.probing.load(Ordering::Relaxed)
            && lock(&bay.probation).is_due(node.clock.now());
        if !due {
            continue;
        }
        bay.probing.store(true, Ordering::Relaxed);
        let (node, bay) = (Arc::clone(node), Arc::clone(bay));
        let boot = BootId(random.random());
        // A disk that hangs at this has it look again when it does not any more.
        node.tasks.clone().passing("probe", async move {
            let result = match take_back(&node, at, &bay, boot).await {
                Ok(replicas) => {
                    lock(&bay.probation).taken_back(node.clock.now());
                    tracing::warn!(volume = bay.name(), replicas, "a volume was taken back");
                    "taken back"
                }
                Err(why) => {
                    tracing::info!(volume = bay.name(), why, "a volume is still out of service");
                    "refused"
                }
            };
            node.metrics.probes.with([&bay.name(), result]).inc();
            bay.probing.store(false, Ordering::Relaxed);
        });
    }
}

/// Takes a volume that is well back into service, and has the masters hear of its replicas. How many
/// these are.
async fn take_back(
    node: &Arc<Node>,
    at: usize,
    bay: &Arc<Bay>,
    boot: BootId,
) -> Result<usize, String> {
    let panicked = |_| "looking at it panicked".to_owned();
    let volumes = Arc::clone(&node.volumes);
    spawn_blocking(move || volumes.probe(at)).await.map_err(panicked)??;
    // What was opened before comes to its end.
    let lost = node.volumes.withdraw(at, "it is being opened anew".to_owned());
    let text = format!("volume {} is being opened anew", bay.name());
    let error = pb::ErrorDetail::new(ErrorCode::DiskError, text);
    let readable = !lost.is_empty();
    for handle in lost {
        node.chunks.abandon(node, handle.0, &error);
    }
    let volumes = Arc::clone(&node.volumes);
    let reopened = spawn_blocking(move || volumes.reopen(at, boot)).await.map_err(panicked)?;
    let reopened = match reopened {
        Ok(reopened) => reopened,
        Err(why) => {
            node.volumes.withdraw(at, why.clone());
            if readable {
                node.reports.send_modify(|reports| *reports += 1);
            }
            return Err(why);
        }
    };
    let taking = Arc::clone(node);
    let taken = spawn_blocking(move || {
        let known = |handle| taking.chunks.state(handle);
        taking.volumes.take_back(at, reopened, boot, known)
    });
    let (replicas, log) = taken.await.map_err(panicked)?;
    node.metrics.starts.with([&bay.name(), log.name()]).inc();
    let count = replicas.len();
    for state in replicas {
        node.chunks.regain(node, state);
    }
    node.reports.send_modify(|reports| *reports += 1);
    Ok(count)
}

/// The thread that syncs one volume in the background, asks for its space, and looks whether it is
/// still there.
pub(crate) fn sync(node: &Node, bay: &Bay, shutdown: &Shutdown) -> anyhow::Result<()> {
    let mut count = 0_u32;
    let name = bay.name();
    while !shutdown.is_requested() {
        if let Ok(volume) = bay.volume() {
            if let Err(error) = bay.ask_space() {
                tracing::warn!(volume = name, %error, "a volume does not say what space it has");
            }
            if count.is_multiple_of(LOOK) {
                volume.look();
            }
            if bay.service().is_serving() {
                let report = volume.background_sync(node.clock.now());
                node.metrics.unclean.with([&name]).set(report.dirty as i64);
            }
        }
        count = count.wrapping_add(1);
        std::thread::sleep(SYNC);
    }
    Ok(())
}

/// Stores the highest commit sequence heard, so that a rolled back master is noticed.
fn remember(node: &Arc<Node>) {
    let Some(remember) = node.gate().to_remember() else { return };
    let node = Arc::clone(node);
    tokio::spawn(async move {
        // What was not stored is stored the next time.
        let _ = node.remember(remember).await;
    });
}

/// The end: everything that was acknowledged is made durable, and says so; the start-up log tells the
/// next start of it. A volume that hangs is not waited for.
pub(crate) async fn close(node: &Arc<Node>) -> anyhow::Result<()> {
    let mut unclean = 0;
    let mut closing = Vec::new();
    for bay in node.volumes.bays() {
        if let Ok(volume) = bay.volume() {
            let (name, serving) = (bay.name(), bay.service().is_serving());
            let close = move || {
                let unclean = volume.close_all();
                if serving {
                    match volume.write_start_log() {
                        Ok(chunks) => tracing::info!(volume = name, chunks, "start-up log written"),
                        Err(error) => tracing::warn!(
                            volume = name,
                            %error,
                            "no start-up log: the next start reads all of the volume"
                        ),
                    }
                }
                unclean
            };
            closing.push((bay, tokio::task::spawn_blocking(close)));
        }
    }
    for (bay, closed) in closing {
        tokio::select! {
            closed = closed => unclean += closed.context("closing a volume")?,
            () = bay.gone() => {}
        }
    }
    if unclean > 0 {
        tracing::warn!(unclean, "replicas that could not be made clean");
    }
    Ok(())
}
