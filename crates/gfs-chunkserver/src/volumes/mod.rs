//! The volumes of a server: its data directories, each with a disk, a size and a health of its own.
//! A replica is whole on one of them. One that fails leaves service alone (see
//! [`gfs_core::volume`]).

mod back;
mod bay;
mod open;
mod start;

pub(crate) use bay::Bay;
pub use open::{Directory, MAX_VOLUMES, OpenError, VolumesOptions};
pub(crate) use start::Started;

use crate::files::Capacity;
use crate::node::lock;
use crate::store::{
    BlockChecksums, ChunkRead, ChunkState, NewChunk, StateChange, StoreError, StoreResult,
    Verified, Volume, VolumeOptions, VolumeRecord, Write,
};
use bytes::Bytes;
use gfs_core::replica::Window;
use gfs_core::scrub::Page;
use gfs_core::volume::{Candidate, Purpose, Service, emptiest_first};
use gfs_proto::v1 as pb;
use gfs_types::{
    BlockSums, ChunkHandle, ClusterId, CommitSequence, Epoch, Geometry, Millis, ServerNumber,
    ServerUuid, Version,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::task::{JoinHandle, spawn_blocking};

/// What the volumes of a server agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRecord {
    /// The cluster, once the server has joined one.
    pub cluster: Option<ClusterId>,
    /// The server's identity.
    pub server: ServerUuid,
    /// Its number in the cluster; 0 before it registered.
    pub number: ServerNumber,
    /// How chunks are cut.
    pub geometry: Geometry,
    /// The highest epoch that any of them has stored.
    pub epoch: Epoch,
    /// The highest commit sequence.
    pub sequence: CommitSequence,
}

/// See the module.
#[derive(Debug)]
pub struct Volumes {
    bays: Vec<Arc<Bay>>,
    record: Mutex<ServerRecord>,
    /// On which of them each replica is, by its place among them.
    homes: RwLock<BTreeMap<ChunkHandle, usize>>,
    /// What volumes are opened with.
    options: VolumeOptions,
    /// There is, or was, something that cannot be told: see [`Self::is_forgetful`].
    forgetful: AtomicBool,
}

impl Volumes {
    /// All data directories, in the order they were given.
    pub(crate) fn bays(&self) -> &[Arc<Bay>] {
        &self.bays
    }

    /// What they agree on.
    #[must_use]
    pub fn record(&self) -> ServerRecord {
        lock(&self.record).clone()
    }

    /// As heartbeats tell them, in the order they were given.
    #[must_use]
    pub fn states(&self) -> Vec<pb::VolumeState> {
        self.bays.iter().map(|bay| bay.state()).collect()
    }

    /// Where a replica is.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn bay(&self, handle: ChunkHandle) -> StoreResult<&Arc<Bay>> {
        let at = self.homes.read().unwrap_or_else(PoisonError::into_inner).get(&handle).copied();
        let bay = at.and_then(|at| self.bays.get(at));
        bay.ok_or(StoreError::UnknownChunk(handle))
    }

    /// Runs a call about a replica, which may be about to be made, on a thread that may wait for its
    /// disk: see [`Bay::blocking`].
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        handle: ChunkHandle,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let at = self.home(handle).or_else(|| self.emptiest_first(Purpose::New).first().copied());
        match at.and_then(|at| self.bays.get(at)) {
            Some(bay) => bay.blocking(call),
            None => spawn_blocking(call),
        }
    }

    fn emptiest_first(&self, purpose: Purpose) -> Vec<usize> {
        let candidates: Vec<Candidate> = self.bays.iter().map(|bay| bay.candidate()).collect();
        emptiest_first(&candidates, purpose)
    }

    fn volume(&self, handle: ChunkHandle) -> StoreResult<Arc<Volume>> {
        self.bay(handle)?.volume()
    }

    fn changeable(&self, handle: ChunkHandle) -> StoreResult<Arc<Volume>> {
        self.bay(handle)?.changeable()
    }

    fn settle(&self, handle: ChunkHandle, at: usize) {
        self.homes.write().unwrap_or_else(PoisonError::into_inner).insert(handle, at);
    }

    /// The same unless it is somewhere already: then not.
    fn settle_new(&self, handle: ChunkHandle, at: usize) -> bool {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        let new = !homes.contains_key(&handle);
        homes.entry(handle).or_insert(at);
        new
    }

    fn unsettle(&self, handle: ChunkHandle, at: usize) {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        if homes.get(&handle) == Some(&at) {
            homes.remove(&handle);
        }
    }

    /// There is no file of a replica any more.
    pub(crate) fn forget(&self, handle: ChunkHandle) {
        self.homes.write().unwrap_or_else(PoisonError::into_inner).remove(&handle);
    }

    /// The replicas on one volume, in order.
    pub(crate) fn replicas_on(&self, at: usize) -> Vec<ChunkHandle> {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        homes.iter().filter(|(_, home)| **home == at).map(|(handle, _)| *handle).collect()
    }

    /// The replicas on one volume with handles above `after`, in order, and how many there are up to
    /// it and in all.
    pub(crate) fn page(&self, at: usize, after: u64, limit: usize) -> Page {
        let homes = self.homes.read().unwrap_or_else(PoisonError::into_inner);
        let (mut before, mut total, mut handles) = (0, 0, Vec::new());
        for handle in homes.iter().filter(|(_, home)| **home == at).map(|(handle, _)| handle.0) {
            total += 1;
            if handle <= after {
                before += 1;
            } else if handles.len() < limit {
                handles.push(handle);
            }
        }
        Page { handles, before, total }
    }

    /// On which volume a replica is, by its place among them.
    pub(crate) fn home(&self, handle: ChunkHandle) -> Option<usize> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner).get(&handle).copied()
    }

    /// Brings the counts of replicas up to date.
    pub(crate) fn count(&self) {
        let mut counts = vec![0_u32; self.bays.len()];
        for home in self.homes.read().unwrap_or_else(PoisonError::into_inner).values() {
            if let Some(count) = counts.get_mut(*home) {
                *count += 1;
            }
        }
        for (bay, count) in self.bays.iter().zip(counts) {
            bay.replicas.store(count, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Time passed; does not touch the disks. The volumes that got worse by that, by their places,
    /// and what they have become. What is gone has no replicas from now on: they are returned.
    pub(crate) fn passed(&self, span: Millis) -> Vec<(usize, Service, Vec<ChunkHandle>)> {
        let mut worse = Vec::new();
        for (at, bay) in self.bays.iter().enumerate() {
            let Some(service) = bay.passed(span) else { continue };
            let lost = if service.is_gone() { self.leave(at) } else { Vec::new() };
            worse.push((at, service, lost));
        }
        worse
    }

    /// A volume has no replicas from now on; those that it had.
    fn leave(&self, at: usize) -> Vec<ChunkHandle> {
        let lost = self.replicas_on(at);
        for handle in &lost {
            self.forget(*handle);
        }
        lost
    }

    /// A volume that has left service counts as gone, for this reason; the replicas that it had.
    pub(crate) fn withdraw(&self, at: usize, why: String) -> Vec<ChunkHandle> {
        if let Some(bay) = self.bays.get(at) {
            bay.withdraw(why);
        }
        self.leave(at)
    }

    /// Makes all volumes part of a cluster.
    ///
    /// # Errors
    /// As [`Volume::join`], and [`Self::on_each`].
    pub(crate) async fn join(
        &self,
        cluster: ClusterId,
        number: ServerNumber,
        geometry: Geometry,
    ) -> StoreResult<()> {
        self.on_each(move |volume| volume.join(cluster, number, geometry)).await?;
        let mut record = lock(&self.record);
        record.cluster = Some(cluster);
        record.number = number;
        record.geometry = geometry;
        Ok(())
    }

    /// Whether all volumes in service belong to this cluster under this number.
    pub(crate) fn are_joined(
        &self,
        cluster: ClusterId,
        number: ServerNumber,
        geometry: Geometry,
    ) -> bool {
        self.bays.iter().filter_map(|bay| bay.changeable().ok()).all(|volume| {
            let record = volume.record();
            (record.cluster, record.number, record.geometry) == (Some(cluster), number, geometry)
        })
    }

    /// Stores an epoch on all volumes: [`Volume::persist_epoch`].
    ///
    /// # Errors
    /// As there, and [`Self::on_each`].
    pub(crate) async fn persist_epoch(
        &self,
        epoch: Epoch,
        sequence: CommitSequence,
    ) -> StoreResult<()> {
        self.on_each(move |volume| volume.persist_epoch(epoch, sequence)).await?;
        let mut record = lock(&self.record);
        record.epoch = record.epoch.max(epoch);
        record.sequence = record.sequence.max(sequence);
        Ok(())
    }

    /// Changes the record of every volume in service, side by side. It is changed when one of them
    /// has it: what counts at a start is the highest that any of them says. A disk that is slow just
    /// then is not waited for once another one is done; one that fails is left to its health.
    ///
    /// # Errors
    /// What is none of the disk's doing; the error of a disk when none did it.
    async fn on_each(
        &self,
        call: impl Fn(&Volume) -> StoreResult<()> + Clone + Send + 'static,
    ) -> StoreResult<()> {
        let mut under_way = Vec::new();
        for bay in &self.bays {
            let Ok(volume) = bay.changeable() else { continue };
            let call = call.clone();
            under_way.push((bay, bay.blocking(move || call(&volume))));
        }
        let mut failed = StoreError::Invalid("no volume is in service".to_owned());
        let mut done = false;
        // Those that answer first are taken first, so that a slow one finds another done.
        under_way.sort_by_key(|(bay, _)| bay.io.oldest_ms());
        for (bay, result) in under_way {
            let result = tokio::select! {
                result = result => result.unwrap_or_else(|_| {
                    Err(StoreError::Invalid("a disk operation panicked".to_owned()))
                }),
                () = bay.slow(), if done => continue,
                () = bay.gone() => continue,
            };
            match result {
                Ok(()) => done = true,
                Err(
                    error @ (StoreError::Disk { .. }
                    | StoreError::ReadOnly { .. }
                    | StoreError::NoSpace { .. }),
                ) => {
                    tracing::warn!(volume = bay.name(), %error, "a volume's record was not stored");
                    failed = error;
                }
                Err(error) => return Err(error),
            }
        }
        if done { Ok(()) } else { Err(failed) }
    }

    // ---- one replica: as the methods of `Volume` of the same names, on its volume

    /// See [`Volume::read`].
    ///
    /// # Errors
    /// As there; so too of the next ones.
    pub fn read(&self, handle: ChunkHandle, offset: u32, len: u32) -> StoreResult<ChunkRead> {
        self.volume(handle)?.read(handle, offset, len)
    }

    /// See [`Volume::read_cached`].
    #[must_use]
    pub fn read_cached(&self, handle: ChunkHandle, offset: u32, len: u32) -> Option<ChunkRead> {
        self.volume(handle).ok()?.read_cached(handle, offset, len)
    }

    /// See [`Volume::verify`].
    pub fn verify(&self, handle: ChunkHandle) -> StoreResult<Verified> {
        self.volume(handle)?.verify(handle)
    }

    /// See [`Volume::checksums`].
    pub fn checksums(&self, handle: ChunkHandle) -> StoreResult<BlockChecksums> {
        self.volume(handle)?.checksums(handle)
    }

    /// See [`Volume::state`].
    pub fn state(&self, handle: ChunkHandle) -> StoreResult<ChunkState> {
        self.volume(handle)?.state(handle)
    }

    /// See [`Volume::window`].
    pub fn window(&self, handle: ChunkHandle) -> StoreResult<Window> {
        self.volume(handle)?.window(handle)
    }

    /// See [`Volume::write`].
    pub fn write(&self, handle: ChunkHandle, write: &Write<'_>) -> StoreResult<u32> {
        self.changeable(handle)?.write(handle, write)
    }

    /// See [`Volume::sync`].
    pub fn sync(&self, handle: ChunkHandle) -> StoreResult<()> {
        self.changeable(handle)?.sync(handle)
    }

    /// See [`Volume::replace_blocks`].
    pub fn replace_blocks(
        &self,
        handle: ChunkHandle,
        first: u32,
        pieces: &[Bytes],
        sums: &BlockSums,
    ) -> StoreResult<()> {
        self.changeable(handle)?.replace_blocks(handle, first, pieces, sums)
    }

    /// See [`Volume::set_state`].
    pub fn set_state(
        &self,
        handle: ChunkHandle,
        change: &StateChange,
        durable: bool,
    ) -> StoreResult<()> {
        self.changeable(handle)?.set_state(handle, change, durable)
    }

    /// See [`Volume::delete`]. On a volume that takes no changes any more the replica is only
    /// forgotten: its file comes back with the volume, and is told to the master then.
    pub fn delete(&self, handle: ChunkHandle, version: Version) -> StoreResult<()> {
        let Some(at) = self.home(handle) else { return Err(StoreError::UnknownChunk(handle)) };
        match self.changeable(handle) {
            Ok(volume) => match volume.delete(handle, version) {
                Ok(()) | Err(StoreError::UnknownChunk(_)) => {}
                // It has just turned out to be read-only.
                Err(StoreError::ReadOnly { .. }) => {}
                Err(error) => return Err(error),
            },
            Err(StoreError::OutOfService { .. }) => {}
            Err(error) => return Err(error),
        }
        self.unsettle(handle, at);
        Ok(())
    }

    /// Creates a replica on the emptiest volume that does its part and has room: see
    /// [`gfs_core::volume`]. One whose disk fails at that is passed over.
    ///
    /// # Errors
    /// As [`Volume::create`]; `NoSpace` when none has room.
    pub fn create(&self, new: NewChunk) -> StoreResult<()> {
        let purpose = if new.incomplete { Purpose::Clone } else { Purpose::New };
        if self.home(new.handle).is_some() {
            return Err(StoreError::AlreadyExists(new.handle));
        }
        let chunk_size = u64::from(self.record().geometry.chunk_size());
        let mut failed = None;
        for at in self.emptiest_first(purpose) {
            let Some(bay) = self.bays.get(at) else { continue };
            // At home before there is a file: a volume that hangs at this takes it along.
            self.settle(new.handle, at);
            let created = bay.changeable().and_then(|volume| volume.create(new));
            if created.is_err() {
                self.unsettle(new.handle, at);
            }
            match created {
                Ok(()) => {
                    bay.expect(chunk_size);
                    return Ok(());
                }
                Err(
                    error @ (StoreError::Disk { .. }
                    | StoreError::ReadOnly { .. }
                    | StoreError::OutOfService { .. }
                    | StoreError::NoSpace { .. }),
                ) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(|| StoreError::Full(self.fullness())))
    }

    /// For people.
    fn fullness(&self) -> String {
        let say = |bay: &Arc<Bay>| match bay.service() {
            Service::Serving => {
                let (total, free) = bay.space();
                format!("{}: {} % used", bay.name(), Capacity { total, free }.used_percent())
            }
            _ => format!("{}: out of service", bay.name()),
        };
        self.bays.iter().map(say).collect::<Vec<_>>().join(", ")
    }

    /// Blocks known to be damaged, per replica, in order.
    pub(crate) fn damaged(&self) -> Vec<(ChunkHandle, Vec<u32>)> {
        let mut damaged: Vec<_> = self
            .bays
            .iter()
            .enumerate()
            .filter_map(|(at, bay)| Some((at, bay.volume().ok()?.damaged())))
            .flat_map(|(at, damaged)| damaged.into_iter().map(move |found| (at, found)))
            .filter(|(at, (handle, _))| self.home(*handle) == Some(*at))
            .map(|(_, found)| found)
            .collect();
        damaged.sort_unstable();
        damaged
    }

    /// Whether a volume has, or had, a file that cannot be told: that a chunk is not here does not
    /// show that it never was.
    #[must_use]
    pub fn is_forgetful(&self) -> bool {
        self.forgetful.load(Ordering::Relaxed)
    }

    /// There is something that cannot be told.
    fn cannot_tell_all(&self) {
        self.forgetful.store(true, Ordering::Relaxed);
    }

    /// What tells apart two times at which different volumes are in service: of a server that has
    /// lost a volume, what it does not have does not show what it never had. Nor when that is back.
    #[must_use]
    pub fn memory(&self) -> u128 {
        let serving = self.bays.iter().filter(|bay| bay.service().is_serving());
        serving.fold(0, |all, bay| all ^ bay.memory())
    }
}

impl From<&VolumeRecord> for ServerRecord {
    fn from(record: &VolumeRecord) -> Self {
        let VolumeRecord { cluster, server, number, geometry, epoch, sequence, .. } = record;
        Self {
            cluster: *cluster,
            server: *server,
            number: *number,
            geometry: *geometry,
            epoch: *epoch,
            sequence: *sequence,
        }
    }
}
