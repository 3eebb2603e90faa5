//! One data directory of a server, with the volume in it, if that could be opened.

use super::Directory;
use crate::files::ChunkFiles;
use crate::io_age::IoAges;
use crate::node::lock;
use crate::store::{StoreError, StoreResult, Volume};
use gfs_core::volume::{Candidate, Probation, SLOW_IO_MS, Service, Signs};
use gfs_proto::v1 as pb;
use gfs_types::{Millis, VolumeUuid};
use std::future::pending;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, spawn_blocking};

/// Between two looks whether a volume has become slow.
const LOOK: Duration = Duration::from_millis(100);
/// The longest reason that masters take, in bytes.
const MAX_REASON: usize = 250;

/// See the module.
#[derive(Debug)]
pub(crate) struct Bay {
    pub(crate) dir: PathBuf,
    /// What it lies on.
    pub(super) files: Arc<dyn ChunkFiles>,
    /// `None`: it could not be opened, and the bay is out of service.
    volume: RwLock<Option<Arc<Volume>>>,
    /// The identity of the volume that was last opened here.
    uuid: Mutex<Option<VolumeUuid>>,
    /// Another number each time that it is taken back, 0 before.
    taken_back: Mutex<u128>,
    /// When it is looked at again, while it is out of service.
    pub(crate) probation: Mutex<Probation>,
    /// It is being looked at, or taken back.
    pub(crate) probing: AtomicBool,
    pub(crate) io: IoAges,
    /// Space as last asked, for those who must not wait for the disk.
    total: AtomicU64,
    free: AtomicU64,
    /// Bytes that replicas placed here lately may still take.
    expected: AtomicU64,
    pub(crate) replicas: AtomicU32,
    /// The scrub, as heartbeats tell it.
    pub(crate) scrub: Mutex<pb::ScrubState>,
    service: watch::Sender<Service>,
    /// Threads that may wait for this disk: when it hangs, some are left for the others.
    pub(crate) threads: Arc<Semaphore>,
}

impl Bay {
    pub(super) fn new(
        directory: Directory,
        volume: Result<Arc<Volume>, String>,
        io: IoAges,
        threads: usize,
    ) -> Self {
        let Directory { dir, files } = directory;
        let (volume, service) = match volume {
            Ok(volume) => (Some(volume), Service::Serving),
            Err(why) => (None, Service::Gone(why)),
        };
        Self {
            dir,
            files,
            uuid: Mutex::new(volume.as_ref().map(|volume| volume.record().volume)),
            volume: RwLock::new(volume),
            taken_back: Mutex::default(),
            probation: Mutex::default(),
            probing: AtomicBool::new(false),
            io,
            total: AtomicU64::new(0),
            free: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            replicas: AtomicU32::new(0),
            scrub: Mutex::default(),
            service: watch::channel(service).0,
            threads: Arc::new(Semaphore::new(threads)),
        }
    }

    /// The volume, unless it is gone.
    ///
    /// # Errors
    /// It is.
    pub(crate) fn volume(&self) -> StoreResult<Arc<Volume>> {
        match self.opened() {
            Some(volume) if !self.service.borrow().is_gone() => Ok(volume),
            _ => Err(self.out_of_service()),
        }
    }

    fn opened(&self) -> Option<Arc<Volume>> {
        self.volume.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The volume, to change something on it.
    ///
    /// # Errors
    /// It takes no changes any more.
    pub(super) fn changeable(&self) -> StoreResult<Arc<Volume>> {
        match self.opened() {
            Some(volume) if self.service.borrow().is_serving() => Ok(volume),
            _ => Err(self.out_of_service()),
        }
    }

    fn out_of_service(&self) -> StoreError {
        let why = self.service.borrow().reason().to_owned();
        StoreError::OutOfService { dir: self.dir.clone(), why }
    }

    /// Whether it does its part.
    pub(crate) fn service(&self) -> Service {
        self.service.borrow().clone()
    }

    /// Completes when the volume is gone.
    pub(crate) async fn gone(&self) {
        let mut service = self.service.subscribe();
        // The sender lives as long as `self`.
        let _ = service.wait_for(Service::is_gone).await;
    }

    /// Completes when its oldest operation is so old that there is no new work for it.
    pub(super) async fn slow(&self) {
        while self.io.oldest_ms() < SLOW_IO_MS {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs a call on a thread that may wait for this disk. When none is free the call waits for
    /// one: threads are left for the other volumes. Must run within the runtime. The call is made
    /// whether or not it is awaited.
    pub(crate) fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let held = |turn: OwnedSemaphorePermit| {
            move || {
                let result = call();
                drop(turn);
                result
            }
        };
        match Arc::clone(&self.threads).try_acquire_owned() {
            Ok(turn) => spawn_blocking(held(turn)),
            Err(_) => {
                let threads = Arc::clone(&self.threads);
                tokio::spawn(async move {
                    // The semaphore is never closed.
                    let Ok(turn) = threads.acquire_owned().await else { pending().await };
                    match spawn_blocking(held(turn)).await {
                        Ok(result) => result,
                        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                        // The runtime ends.
                        Err(_) => pending().await,
                    }
                })
            }
        }
    }

    /// Time passed: does not touch the disk. What it has become, if it got worse.
    pub(super) fn passed(&self, span: Millis) -> Option<Service> {
        self.io.passed(span);
        let health = self.opened()?.health();
        let signs = Signs {
            oldest_io_ms: self.io.oldest_ms(),
            failing: health.failing,
            read_only: health.read_only,
            read_errors: health.read_errors,
            missing: health.missing,
        };
        let worse = self.service.borrow().judge(&signs)?;
        self.service.send_replace(worse.clone());
        Some(worse)
    }

    /// Something about it cannot go on.
    pub(super) fn fail(&self, why: String) {
        self.service.send_if_modified(|service| {
            let serving = service.is_serving();
            if serving {
                *service = Service::Failing(why);
            }
            serving
        });
    }

    /// It is gone, whatever it was.
    pub(super) fn withdraw(&self, why: String) {
        self.service.send_replace(Service::Gone(why));
    }

    /// Closes the volume that is gone, if nobody holds it any more. Whether it is closed.
    pub(super) fn let_go(&self) -> bool {
        let mut volume = self.volume.write().unwrap_or_else(PoisonError::into_inner);
        match volume.take().map(Arc::try_unwrap) {
            None | Some(Ok(_)) => true,
            Some(Err(held)) => {
                *volume = Some(held);
                false
            }
        }
    }

    /// A volume is in service here from now on. `taken_back` was never used before.
    pub(super) fn serve(&self, volume: Arc<Volume>, taken_back: u128) {
        *lock(&self.uuid) = Some(volume.record().volume);
        *lock(&self.taken_back) = taken_back;
        *self.volume.write().unwrap_or_else(PoisonError::into_inner) = Some(volume);
        self.service.send_replace(Service::Serving);
    }

    /// What tells apart the times at which it was in service.
    pub(super) fn memory(&self) -> u128 {
        let uuid = self.uuid().map_or(0, |uuid| uuid.0.rotate_left(1));
        uuid ^ *lock(&self.taken_back)
    }

    /// Asks for its space. Blocks.
    pub(crate) fn ask_space(&self) -> StoreResult<()> {
        let capacity = self.volume()?.capacity()?;
        self.total.store(capacity.total, Ordering::Relaxed);
        self.free.store(capacity.free, Ordering::Relaxed);
        // What was expected shows in what is used, by and by.
        let expected = self.expected.load(Ordering::Relaxed);
        self.expected.fetch_sub(expected.div_ceil(8), Ordering::Relaxed);
        Ok(())
    }

    /// Total and free bytes, as last asked.
    pub(crate) fn space(&self) -> (u64, u64) {
        (self.total.load(Ordering::Relaxed), self.free.load(Ordering::Relaxed))
    }

    pub(super) fn expect(&self, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn candidate(&self) -> Candidate {
        let (total, free) = self.space();
        Candidate {
            serving: self.service.borrow().is_serving(),
            total,
            free,
            expected: self.expected.load(Ordering::Relaxed),
            oldest_io_ms: self.io.oldest_ms(),
        }
    }

    pub(crate) fn uuid(&self) -> Option<VolumeUuid> {
        *lock(&self.uuid)
    }

    /// As heartbeats tell it, without touching the disk.
    pub(crate) fn state(&self) -> pb::VolumeState {
        let (total_bytes, free_bytes) = self.space();
        let uuid = self.uuid().map(|uuid| uuid.to_bytes().to_vec());
        pb::VolumeState {
            uuid: uuid.unwrap_or_default().into(),
            total_bytes,
            free_bytes,
            oldest_io_ms: self.io.oldest_ms(),
            failing: shortened(self.service.borrow().reason()),
            chunks: self.replicas.load(Ordering::Relaxed),
            dir: shortened(&self.dir.to_string_lossy()),
            scrub: self.opened().is_some().then(|| *lock(&self.scrub)),
        }
    }

    /// For logs and labels.
    pub(crate) fn name(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=MAX_REASON.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

/// A directory's place among those of the same path is told by this.
pub(super) fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}
