//! The scrub: all replicas of a volume are verified in the background, as
//! `gfs_core::scrub::Scrubber` paces it. What is found goes the way that findings of reads go: to
//! the master, which has the replica repaired from another one, and condemns none that is the last.

use crate::node::{Node, lock};
use crate::read::ranges;
use crate::store::{Examined, Rechecked, StoreError, Volume};
use crate::volumes::Bay;
use gfs_core::scrub::{Next, Page, Scrubber, Settings};
use gfs_process::Shutdown;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, Millis, WallMillis};
use std::sync::Arc;
use std::time::Duration;

/// The thread looks so often whether it is to end.
const NAP: Millis = Millis(100);
/// A disk operation of clients that takes so long shows that the disk has enough to do. (Ages are
/// exact to 100 ms.)
const BUSY: Millis = Millis(200);

/// What was found wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Blocks that do not match their checksums or cannot be read, `fresh` of them not known
    /// before; none where all of it is in doubt: its header is garbled or unreadable in part.
    Damaged {
        /// In order.
        blocks: Vec<u32>,
        /// How many were not known.
        fresh: u64,
    },
    /// There is no usable file of it any more. What is left of it is in quarantine.
    Lost {
        /// For people.
        why: String,
    },
    /// Its file did not say what the server knew of it, and was put right.
    Restored,
}

/// The server's replicas, as the scrub sees them. Nothing here waits for the disk.
pub trait Replicas {
    /// Replicas with handles above `after`, and how many there are.
    fn page(&self, after: u64, limit: usize) -> Page;
    /// What the server knows of a replica; `None` where there is none.
    fn state(&self, handle: u64) -> Option<pb::ReplicaState>;
    /// The same of a replica that nothing is being done to; `None` while something
    /// is, and where there is none.
    fn idle(&self, handle: u64) -> Option<pb::ReplicaState>;
    /// Something is wrong with a replica, whose state before it was looked at was this. Whether
    /// it is taken as such: not when the state has changed since.
    fn found(&self, state: &pb::ReplicaState, finding: &Finding) -> bool;
    /// Bytes were read.
    fn verified(&self, bytes: u32);
    /// Clients keep the disk busy.
    fn busy(&self, now: Millis) -> bool;
}

/// The scrub of one volume. Blocks; to be driven by a thread of its own.
#[derive(Debug)]
pub struct Scrub {
    volume: Arc<Volume>,
    settings: Settings,
    scrubber: Scrubber,
    examined: Option<Examined>,
}

impl Scrub {
    /// Goes on where the volume says that the scrub stood.
    #[must_use]
    pub fn new(volume: Arc<Volume>, settings: Settings, now: Millis) -> Self {
        let scrubber = Scrubber::new(settings, volume.scrub_progress(), now);
        Self { volume, settings, scrubber, examined: None }
    }

    /// Does what is to be done now, if anything, and says how long nothing is to be done.
    pub fn step(&mut self, replicas: &impl Replicas, now: Millis, wall: WallMillis) -> Millis {
        match self.scrubber.next(now, replicas.busy(now)) {
            Next::Wait(span) => return span,
            Next::List { after } => {
                let page = replicas.page(after, gfs_core::scrub::PAGE);
                self.scrubber.listed(now, wall, page);
                if self.scrubber.percent() == 100 {
                    let progress = self.scrubber.progress();
                    tracing::info!(pass = progress.passes, "all replicas were verified");
                }
            }
            Next::Open { handle } => {
                let length = self.open(replicas, handle);
                self.scrubber.opened(now, length);
            }
            Next::Verify { handle, offset, length } => {
                let volume = &self.volume;
                let sound = self.examined.as_ref().is_none_or(|e| volume.glance(e, offset, length));
                if !sound {
                    self.look_again(replicas, handle, offset, length);
                }
                replicas.verified(length);
                self.scrubber.verified(now, length);
            }
            Next::Save(_) => self.save(now),
        }
        Millis(0)
    }

    /// Stores where it stands.
    pub fn save(&mut self, now: Millis) {
        let progress = self.scrubber.progress();
        if let Err(error) = self.volume.save_scrub_progress(&progress) {
            tracing::warn!(%error, "where the scrub stands was not stored");
        }
        self.scrubber.saved(now, progress);
    }

    /// As heartbeats tell it.
    #[must_use]
    pub fn state(&self) -> pb::ScrubState {
        let progress = self.scrubber.progress();
        pb::ScrubState {
            rate: self.settings.rate,
            percent: self.scrubber.percent(),
            completed_ms: progress.completed.0,
            passes: progress.passes,
            damaged_blocks: progress.damaged_blocks,
            lost_replicas: progress.lost_replicas,
        }
    }

    /// Bytes to verify of a replica.
    fn open(&mut self, replicas: &impl Replicas, handle: u64) -> u32 {
        self.examined = None;
        match self.volume.examine(ChunkHandle(handle)) {
            Ok(examined) if !examined.is_suspect() => {
                let length = examined.length();
                self.examined = Some(examined);
                length
            }
            Ok(_) | Err(_) => {
                self.look_at_file(replicas, handle);
                0
            }
        }
    }

    /// A file could not be opened, or its header is not as it should be.
    fn look_at_file(&mut self, replicas: &impl Replicas, handle: u64) {
        // What is being changed or deleted just now is looked at in the next pass.
        let Some(state) = replicas.idle(handle) else { return };
        let chunk = ChunkHandle(handle);
        let finding = match self.volume.recheck(chunk) {
            // In use it may be there in memory only.
            Ok(Rechecked::Sound) | Err(StoreError::UnknownChunk(_)) => {
                return self.gone(replicas, &state);
            }
            Ok(Rechecked::Restored) => Finding::Restored,
            // After a power loss the master knows that.
            Ok(Rechecked::Suspect) if state.suspect => return,
            Ok(Rechecked::Suspect) | Err(StoreError::Disk { .. }) => {
                Finding::Damaged { blocks: Vec::new(), fresh: 0 }
            }
            Err(StoreError::Garbled { why, .. }) => {
                if let Err(error) = self.volume.quarantine(chunk) {
                    tracing::error!(%chunk, %error, "cannot quarantine a garbled file");
                    return;
                }
                Finding::Lost { why }
            }
            Err(error) => {
                tracing::warn!(%chunk, %error, "a replica could not be verified");
                return;
            }
        };
        self.tell(replicas, &state, &finding);
    }

    fn gone(&mut self, replicas: &impl Replicas, state: &pb::ReplicaState) {
        match self.volume.recheck_gone(ChunkHandle(state.handle)) {
            Ok(false) => {}
            Ok(true) => {
                let why = "its file is gone".to_owned();
                self.tell(replicas, state, &Finding::Lost { why });
            }
            Err(error) => {
                tracing::warn!(chunk = state.handle, %error, "a file that is missing");
            }
        }
    }

    /// Blocks did not match at a glance.
    fn look_again(&mut self, replicas: &impl Replicas, handle: u64, offset: u32, length: u32) {
        let chunk = ChunkHandle(handle);
        let known = self.volume.damaged_blocks(chunk);
        let Some(state) = replicas.state(handle) else { return };
        match self.volume.recheck_blocks(chunk, offset, length) {
            Ok((blocks, _)) if !blocks.is_empty() => {
                let fresh = blocks.iter().filter(|block| !known.contains(block)).count() as u64;
                self.tell(replicas, &state, &Finding::Damaged { blocks, fresh });
            }
            Ok((_, Rechecked::Restored)) => self.tell(replicas, &state, &Finding::Restored),
            // A write was under way; or it was deleted or changed since, and its turn comes again.
            Ok(_) | Err(StoreError::UnknownChunk(_)) => {}
            Err(error) => tracing::warn!(%chunk, %error, "a replica could not be verified"),
        }
    }

    fn tell(&mut self, replicas: &impl Replicas, state: &pb::ReplicaState, finding: &Finding) {
        if replicas.found(state, finding) {
            match finding {
                Finding::Damaged { fresh, .. } => self.scrubber.found(*fresh, 0),
                Finding::Lost { .. } => self.scrubber.found(0, 1),
                Finding::Restored => {}
            }
        }
    }
}

/// The replicas of one volume of a server.
struct OnVolume<'a> {
    node: &'a Node,
    at: usize,
    bay: &'a Bay,
}

/// The thread of the volume that has this place among the server's.
pub(crate) fn run(
    node: &Arc<Node>,
    at: usize,
    settings: Settings,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let Some(bay) = node.volumes.bays().get(at) else { return Ok(()) };
    while !shutdown.is_requested() {
        // One that left service may come back, as another one.
        match bay.volume() {
            Ok(volume) if bay.service().is_serving() => {
                serving(node, at, bay, volume, settings, shutdown);
            }
            _ => std::thread::sleep(Duration::from_millis(NAP.0)),
        }
    }
    Ok(())
}

/// The same as long as the volume is in service.
fn serving(
    node: &Arc<Node>,
    at: usize,
    bay: &Bay,
    volume: Arc<Volume>,
    settings: Settings,
    shutdown: &Shutdown,
) {
    let replicas = OnVolume { node, at, bay };
    let mut scrub = Scrub::new(volume, settings, node.clock.now());
    let mut next = Millis(0);
    let name = bay.name();
    while !shutdown.is_requested() && bay.service().is_serving() {
        let now = node.clock.now();
        // Nothing is found as long as nobody hears of it.
        let rest = if node.has_master() { next - now } else { NAP };
        if rest > Millis(0) {
            std::thread::sleep(Duration::from_millis(rest.min(NAP).0));
            continue;
        }
        let span = scrub.step(&replicas, now, node.clock.wall());
        next = now + span;
        let state = scrub.state();
        let completed = i64::try_from(state.completed_ms / 1_000).unwrap_or(0);
        node.metrics.scrub_percent.with([&name]).set(i64::from(state.percent));
        node.metrics.scrub_completed.with([&name]).set(completed);
        *lock(&bay.scrub) = state;
    }
    if bay.service().is_serving() {
        scrub.save(node.clock.now());
    }
}

impl OnVolume<'_> {
    fn is_here(&self, handle: u64) -> bool {
        self.node.volumes.home(ChunkHandle(handle)) == Some(self.at)
    }
}

impl Replicas for OnVolume<'_> {
    fn page(&self, after: u64, limit: usize) -> Page {
        self.node.volumes.page(self.at, after, limit)
    }

    fn state(&self, handle: u64) -> Option<pb::ReplicaState> {
        self.node.chunks.state(handle).filter(|_| self.is_here(handle))
    }

    fn idle(&self, handle: u64) -> Option<pb::ReplicaState> {
        self.node.chunks.idle(handle).filter(|_| self.is_here(handle))
    }

    fn found(&self, state: &pb::ReplicaState, finding: &Finding) -> bool {
        let node = self.node;
        let (chunk, count) = (state.handle, &node.metrics.scrub_findings);
        match finding {
            Finding::Restored => {
                count.with(["restored"]).inc();
                tracing::warn!(chunk, "a file did not say what was known of it, and was put right");
            }
            // A clone that is being filled is nobody's copy yet.
            Finding::Damaged { .. } if state.complete == 0 => return false,
            Finding::Damaged { blocks, fresh } => {
                count.with(["damaged"]).inc();
                node.metrics.corrupt.inc_by(blocks.len() as u64);
                tracing::warn!(chunk, ?blocks, fresh, "the scrub found damage");
                let damaged = pb::ReplicaState { damaged: ranges(blocks), ..state.clone() };
                node.notify(chunk, pb::notice::Body::Damaged(damaged));
            }
            Finding::Lost { why } => {
                if !node.chunks.lose(state) {
                    return false;
                }
                node.volumes.forget(ChunkHandle(chunk));
                count.with(["lost"]).inc();
                tracing::error!(chunk, why, "a replica is lost");
                let lost = pb::ReplicaState { handle: chunk, ..Default::default() };
                node.notify(chunk, pb::notice::Body::Damaged(lost));
            }
        }
        true
    }

    fn verified(&self, bytes: u32) {
        self.node.metrics.scrubbed.inc_by(u64::from(bytes));
    }

    fn busy(&self, _now: Millis) -> bool {
        u64::from(self.bay.io.oldest_ms()) >= BUSY.0
    }
}
