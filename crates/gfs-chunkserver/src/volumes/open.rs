//! How a server comes by its volumes at the start: which directories are its own, which are taken in
//! as new, and which it does without.

use super::bay::{Bay, same_path};
use super::{ServerRecord, Volumes};
use crate::files::{AgedFiles, ChunkFiles};
use crate::io_age::IoAges;
use crate::store::{BootId, StoreError, StoreResult, Volume, VolumeOptions};
use gfs_types::{ClusterId, Geometry, ServerUuid, VolumeUuid};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

/// A directory that does not answer for so long is left out.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most directories a server can have: what masters take.
pub const MAX_VOLUMES: usize = 64;
/// Threads that may wait for the disks in all, and for one of them.
const THREADS: usize = 128;
const THREADS_PER_VOLUME: usize = 32;

/// A data directory, and the files to reach it by.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its path.
    pub dir: PathBuf,
    /// What it lies on.
    pub files: Arc<dyn ChunkFiles>,
}

/// What volumes are opened with.
#[derive(Clone, Debug)]
pub struct VolumesOptions {
    /// The identity of a new server.
    pub new_server: ServerUuid,
    /// The identities of new volumes, one for each directory.
    pub new_volumes: Vec<VolumeUuid>,
    /// How a new server's chunks are cut, until it has joined a cluster.
    pub geometry: Geometry,
    /// The kernel's boot id.
    pub boot: BootId,
    /// How many chunk files are kept open in all.
    pub max_open: usize,
}

/// Why a server does not start with these directories. Nothing on them was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none, or there are too many.
    #[error("a server has 1 to {MAX_VOLUMES} data directories, not {0}")]
    Count(usize),
    /// One is given more than once.
    #[error("{0} is given twice")]
    Twice(PathBuf),
    /// They belong to different servers.
    #[error(
        "{a} belongs to server {of_a}, {b} to server {of_b}: give each server its own directories"
    )]
    Mixed {
        /// A directory.
        a: PathBuf,
        /// Its server.
        of_a: ServerUuid,
        /// Another one.
        b: PathBuf,
        /// Its server.
        of_b: ServerUuid,
    },
    /// They belong to different clusters.
    #[error("{a} belongs to cluster {of_a}, {b} to cluster {of_b}")]
    Clusters {
        /// A directory.
        a: PathBuf,
        /// Its cluster.
        of_a: ClusterId,
        /// Another one.
        b: PathBuf,
        /// Its cluster.
        of_b: ClusterId,
    },
    /// One is a copy of another.
    #[error("{a} and {b} are both volume {volume}: one is a copy of the other; remove it")]
    Copied {
        /// A directory.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
        /// What both say they are.
        volume: VolumeUuid,
    },
    /// Another process has it, or it is given twice by different names.
    #[error(transparent)]
    InUse(StoreError),
    /// None can be used, or a new server cannot use all of them: what a directory that cannot be
    /// looked into belongs to is not known.
    #[error("{dir}: {why}")]
    Unusable {
        /// A directory.
        dir: PathBuf,
        /// Why.
        why: String,
    },
}

/// What was found in a directory.
enum Found {
    Volume(Arc<Volume>),
    /// Nothing of ours.
    Nothing,
    /// No such directory.
    Missing,
    Unusable(String),
}

impl Volumes {
    /// Opens the volumes of a server. Blocks, though not for ever: a directory that does not answer
    /// is left out.
    ///
    /// The directories that hold volumes say which server this is; they must all say the same. An
    /// empty one is taken in as a new volume of that server, which is how a broken disk is replaced
    /// and one is added. One that is missing, is something else than a volume, does not answer or
    /// cannot be read is left out, and shows as a volume that is out of service: the server starts
    /// without it as long as there is another one. Directories are made for a new server only, which
    /// takes all that are given: a directory that is not there, of a server that is, is a disk that
    /// is not mounted.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dirs: Vec<Directory>, options: &VolumesOptions) -> Result<Self, OpenError> {
        if dirs.is_empty() || dirs.len() > MAX_VOLUMES || options.new_volumes.len() < dirs.len() {
            return Err(OpenError::Count(dirs.len()));
        }
        for (at, one) in dirs.iter().enumerate() {
            if dirs.iter().take(at).any(|other| same_path(&other.dir, &one.dir)) {
                return Err(OpenError::Twice(one.dir.clone()));
            }
        }
        let ages: Vec<IoAges> = dirs.iter().map(|_| IoAges::default()).collect();
        let aged = |(one, ages): (&Directory, &IoAges)| Directory {
            dir: one.dir.clone(),
            files: Arc::new(AgedFiles::new(Arc::clone(&one.files), ages.clone())),
        };
        let dirs: Vec<Directory> = dirs.iter().zip(&ages).map(aged).collect();
        let base = VolumeOptions {
            cluster: None,
            new_server: options.new_server,
            new_volume: VolumeUuid::default(),
            geometry: options.geometry,
            boot: options.boot,
            max_open: (options.max_open / dirs.len()).max(8),
        };
        let found =
            each(&dirs, move |one, _| match Volume::open_existing(one.files, &one.dir, base) {
                Ok(Some(volume)) => Ok(Found::Volume(Arc::new(volume))),
                Ok(None) => Ok(Found::Nothing),
                Err(error @ StoreError::InUse { .. }) => Err(OpenError::InUse(error)),
                Err(StoreError::Disk { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(Found::Missing)
                }
                Err(error) => Ok(Found::Unusable(error.to_string())),
            });
        let found = found.into_iter().collect::<Result<Vec<Found>, OpenError>>()?;
        let record = agreed(&dirs, &found)?;
        let new_server = record.is_none();
        if new_server {
            for (one, found) in dirs.iter().zip(&found) {
                if let Found::Unusable(why) = found {
                    return Err(OpenError::Unusable { dir: one.dir.clone(), why: why.clone() });
                }
            }
        }
        let server = record.as_ref().map_or(options.new_server, |record| record.server);
        let wanted: Vec<Option<VolumeUuid>> = found
            .iter()
            .zip(&options.new_volumes)
            .map(|(found, uuid)| match found {
                Found::Nothing => Some(*uuid),
                Found::Missing if new_server => Some(*uuid),
                _ => None,
            })
            .collect();
        let joined = record.clone();
        let made = each(&dirs, move |one, at| {
            let Some(new_volume) = wanted.get(at).copied().flatten() else { return Ok(None) };
            let options = VolumeOptions { new_server: server, new_volume, ..base };
            let made = make(&one, options, joined.as_ref());
            Ok(Some(made.map(Arc::new).map_err(|error| error.to_string())))
        });
        let mut bays = Vec::with_capacity(dirs.len());
        let threads = (THREADS / dirs.len()).clamp(2, THREADS_PER_VOLUME);
        for ((one, ages), (found, made)) in
            dirs.into_iter().zip(ages).zip(found.into_iter().zip(made))
        {
            let volume = match (found, made?) {
                (_, Some(made)) => made,
                (Found::Volume(volume), _) => Ok(volume),
                (Found::Unusable(why), _) => Err(why),
                (Found::Missing | Found::Nothing, None) => {
                    Err("the directory is missing".to_owned())
                }
            };
            if let (true, Err(why)) = (new_server, &volume) {
                return Err(OpenError::Unusable { dir: one.dir, why: why.clone() });
            }
            bays.push(Arc::new(Bay::new(one, volume, ages, threads)));
        }
        let open = bays.iter().find_map(|bay| bay.volume().ok());
        let Some(record) = record.or_else(|| open.map(|open| (&open.record()).into())) else {
            let bay = bays.first();
            return Err(OpenError::Unusable {
                dir: bay.map(|bay| bay.dir.clone()).unwrap_or_default(),
                why: bay.map(|bay| bay.service().reason().to_owned()).unwrap_or_default(),
            });
        };
        for bay in &bays {
            match bay.service().reason() {
                "" => {}
                why => tracing::error!(
                    volume = bay.name(),
                    why,
                    "a data directory cannot be used: the server starts without it"
                ),
            }
        }
        Ok(Self {
            bays,
            record: Mutex::new(record),
            homes: RwLock::default(),
            options: base,
            forgetful: AtomicBool::new(false),
        })
    }
}

/// What the volumes that were found agree on; `None` where there are none.
fn agreed(dirs: &[Directory], found: &[Found]) -> Result<Option<ServerRecord>, OpenError> {
    let mut agreed: Option<(&Path, ServerRecord)> = None;
    let mut uuids: BTreeMap<VolumeUuid, &Path> = BTreeMap::new();
    for (one, found) in dirs.iter().zip(found) {
        let Found::Volume(volume) = found else { continue };
        let record = volume.record();
        if let Some(other) = uuids.insert(record.volume, &one.dir) {
            let (a, b) = (other.to_owned(), one.dir.clone());
            return Err(OpenError::Copied { a, b, volume: record.volume });
        }
        let theirs = ServerRecord::from(&record);
        let Some((dir, ours)) = &mut agreed else {
            agreed = Some((&one.dir, theirs));
            continue;
        };
        let (a, b) = (dir.to_owned(), one.dir.clone());
        if ours.server != theirs.server {
            return Err(OpenError::Mixed { a, of_a: ours.server, b, of_b: theirs.server });
        }
        if let (Some(of_a), Some(of_b)) = (ours.cluster, theirs.cluster)
            && of_a != of_b
        {
            return Err(OpenError::Clusters { a, of_a, b, of_b });
        }
        let (epoch, sequence) = (ours.epoch.max(theirs.epoch), ours.sequence.max(theirs.sequence));
        // One that has not joined, or was away while the others got another number, says less.
        if (theirs.cluster.is_some(), theirs.epoch) > (ours.cluster.is_some(), ours.epoch) {
            *ours = theirs;
        }
        (ours.epoch, ours.sequence) = (epoch, sequence);
    }
    Ok(agreed.map(|(_, record)| record))
}

/// Makes a new volume of a server.
fn make(
    one: &Directory,
    options: VolumeOptions,
    server: Option<&ServerRecord>,
) -> StoreResult<Volume> {
    if server.is_none()
        && let Some(parent) = one.dir.parent()
    {
        make_dirs(&*one.files, parent)?;
    }
    let volume = Volume::open(Arc::clone(&one.files), &one.dir, options)?;
    if let Some(server) = server {
        tracing::warn!(
            volume = %one.dir.display(),
            server = %server.server,
            "an empty directory is taken in as a new volume of this server"
        );
        if let Some(cluster) = server.cluster {
            volume.join(cluster, server.number, server.geometry)?;
        }
        volume.persist_epoch(server.epoch, server.sequence)?;
    }
    Ok(volume)
}

/// Makes a directory and those above it.
fn make_dirs(files: &dyn ChunkFiles, dir: &Path) -> StoreResult<()> {
    // The root, or the directory that a relative path begins in, is there.
    let Some(parent) = dir.parent() else { return Ok(()) };
    match files.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dirs(files, parent)?;
            match files.create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    Err(StoreError::disk("create", dir, error))
                }
                _ => Ok(()),
            }
        }
        // That it cannot be made may be because it is there; if not, what comes next tells.
        _ => Ok(()),
    }
}

/// What is found out about a directory.
type Finding<T> = Result<T, OpenError>;

/// Does the same with all directories, side by side; those that do not answer in time are told.
fn each<T: Answerless + Send + 'static>(
    dirs: &[Directory],
    call: impl Fn(Directory, usize) -> Finding<T> + Clone + Send + 'static,
) -> Vec<Finding<T>> {
    let (to, answers) = channel::<(usize, Finding<T>)>();
    for (at, one) in dirs.iter().enumerate() {
        let (to, call, one): (Sender<_>, _, _) = (to.clone(), call.clone(), one.clone());
        // Not joined: it may never end. What it opens after all is closed again.
        let spawned = std::thread::Builder::new().name("open".to_owned()).spawn(move || {
            let _ = to.send((at, call(one, at)));
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "a directory cannot be opened: no thread");
        }
    }
    drop(to);
    let mut found: Vec<Option<Finding<T>>> = dirs.iter().map(|_| None).collect();
    let until = Instant::now() + PATIENCE;
    // Ends when all have answered, or when time is up.
    let left = || until.saturating_duration_since(Instant::now());
    while let Ok((at, answer)) = answers.recv_timeout(left()) {
        if let Some(place) = found.get_mut(at) {
            *place = Some(answer);
        }
    }
    found.into_iter().map(|answer| answer.unwrap_or_else(|| Ok(T::answerless()))).collect()
}

/// What stands for a directory that did not answer.
trait Answerless {
    fn answerless() -> Self;
}

const ANSWERLESS: &str = "it does not answer";

impl Answerless for Found {
    fn answerless() -> Self {
        Self::Unusable(ANSWERLESS.to_owned())
    }
}

impl Answerless for Option<Result<Arc<Volume>, String>> {
    fn answerless() -> Self {
        Some(Err(ANSWERLESS.to_owned()))
    }
}
