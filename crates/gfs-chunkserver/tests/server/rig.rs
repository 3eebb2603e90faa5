//! Chunkservers in this process, each with its own directory, port and connector.

use crate::master::Master;
use async_trait::async_trait;
use gfs_chunkserver::files::{ChunkFiles, FaultyFiles, OsFiles, WitnessFiles};
use gfs_chunkserver::store::BootId;
use gfs_chunkserver::{ChunkServer, Config, Directory, Parts, Volumes, VolumesOptions};
use gfs_core::scrub::Settings;
use gfs_process::{
    Health, Metrics, Shutdown, ShutdownTrigger, SystemClock, Tasks, random_from_seed,
};
use gfs_proto::v1 as pb;
use gfs_transport::{BoxedIo, Connector, Dialer, TcpConnector, tcp_incoming};
use gfs_types::{Geometry, Millis, ServerUuid, VolumeUuid};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A connector whose connections to one address can be cut.
#[derive(Clone)]
pub(crate) struct Wire {
    cut: watch::Sender<Option<String>>,
}

impl Wire {
    fn new() -> Self {
        Self { cut: watch::channel(None).0 }
    }

    /// Breaks every connection to this address and refuses new ones.
    pub(crate) fn cut(&self, address: &str) {
        self.cut.send_replace(Some(address.to_owned()));
    }
}

#[async_trait]
impl Connector for Wire {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        let mut cut = self.cut.subscribe();
        if cut.borrow_and_update().as_deref() == Some(address) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let mut far = TcpConnector.connect(address).await?;
        let (near, mut inner) = tokio::io::duplex(1 << 20);
        let address = address.to_owned();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut inner, &mut far) => {}
                _ = cut.wait_for(|cut| cut.as_deref() == Some(address.as_str())) => {}
            }
        });
        Ok(Box::new(near))
    }
}

/// What volumes are opened with; the identities follow from the seed.
pub(crate) fn volumes_options(seed: u128) -> VolumesOptions {
    VolumesOptions {
        new_server: ServerUuid(seed),
        new_volumes: (0..8).map(|at| VolumeUuid(seed << 8 | at)).collect(),
        geometry: Geometry::default(),
        boot: BootId([1; 16]),
        max_open: 64,
    }
}

/// A chunkserver that runs.
pub(crate) struct Running {
    pub(crate) number: u32,
    pub(crate) address: String,
    pub(crate) wire: Wire,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    trigger: ShutdownTrigger,
    tasks: Tasks,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Where a chunkserver keeps its data.
pub(crate) enum Disk {
    Real(tempfile::TempDir),
    Model(FaultyFiles),
    /// Several, one for each volume.
    Models(Vec<FaultyFiles>),
    /// A real one, and who watches what is durable on it.
    Watched(tempfile::TempDir, WitnessFiles),
}

impl Disk {
    pub(crate) fn real() -> Self {
        Self::Real(tempfile::tempdir().unwrap())
    }

    pub(crate) fn model() -> (Self, FaultyFiles) {
        let files = FaultyFiles::new(1);
        (Self::Model(files.clone()), files)
    }

    pub(crate) fn models(count: u64) -> (Self, Vec<FaultyFiles>) {
        let files: Vec<FaultyFiles> = (1..=count).map(FaultyFiles::new).collect();
        (Self::Models(files.clone()), files)
    }

    pub(crate) fn watched() -> (Self, WitnessFiles) {
        let files = WitnessFiles::new(Arc::new(OsFiles));
        (Self::Watched(tempfile::tempdir().unwrap(), files.clone()), files)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        match self {
            Self::Real(dir) | Self::Watched(dir, _) => dir.path().join("volume"),
            Self::Model(_) | Self::Models(_) => Path::new("/volume").to_owned(),
        }
    }

    /// The data directories.
    pub(crate) fn directories(&self) -> Vec<Directory> {
        let one = |files: Arc<dyn ChunkFiles>| vec![Directory { dir: self.dir(), files }];
        match self {
            Self::Real(_) => one(Arc::new(OsFiles)),
            Self::Model(files) => one(Arc::new(files.clone())),
            Self::Watched(_, files) => one(Arc::new(files.clone())),
            Self::Models(all) => (0..)
                .zip(all)
                .map(|(at, files)| Directory {
                    dir: PathBuf::from(format!("/volume-{at}")),
                    files: Arc::new(files.clone()),
                })
                .collect(),
        }
    }
}

impl Running {
    /// Starts a chunkserver and waits until the master takes it. It does not scrub.
    pub(crate) async fn start(master: &Master, disk: &Disk, seed: u128) -> Self {
        Self::scrubbing(master, disk, seed, 0).await
    }

    /// The same; scrubs at this rate, pass after pass.
    pub(crate) async fn scrubbing(master: &Master, disk: &Disk, seed: u128, rate: u64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (dirs, options) = (disk.directories(), volumes_options(seed));
        let opened = tokio::task::spawn_blocking(move || Volumes::open(dirs, &options));
        let volumes = Arc::new(opened.await.unwrap().unwrap());
        let (trigger, shutdown) = Shutdown::new();
        let metrics = Metrics::new();
        let tasks = Tasks::new(shutdown.clone(), &metrics);
        let health = Health::new(Arc::new(SystemClock));
        let wire = Wire::new();
        let config = Config {
            masters: vec![master.address.clone()],
            advertise: vec![address.clone()],
            place: pb::Place::default(),
            boot_id: [1; 16],
            stale_read_limit: None,
            push_memory: 64 << 20,
            max_reads: 8,
            // Not while a test holds a stream, however slow the machine is.
            idle_limit: Millis(3_600_000),
            scrub: Settings { rate, interval: Millis(0) },
            transport: gfs_transport::Config::default(),
        };
        let server = ChunkServer::new(
            Parts {
                clock: Arc::new(SystemClock),
                random: random_from_seed(seed as u64),
                metrics: metrics.clone(),
                health: health.clone(),
                tasks: tasks.clone(),
                shutdown,
                connector: Arc::new(wire.clone()),
                volumes,
            },
            config,
        );
        let mut number = server.number();
        let serving = tokio::spawn(server.serve(tcp_incoming(listener)));
        let registered = number.wait_for(|number| *number != 0);
        let number = *tokio::time::timeout(Duration::from_secs(20), registered)
            .await
            .expect("registers")
            .unwrap();
        master.registered(number).await;
        Self { number, address, wire, metrics, health, trigger, tasks, serving }
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.trigger.request();
        self.serving.await.unwrap().unwrap();
        self.tasks.ended(Duration::from_secs(10)).await.unwrap();
    }
}

/// A master and so many chunkservers, numbered from 1.
pub(crate) struct Rig {
    pub(crate) master: Master,
    pub(crate) servers: Vec<Running>,
    pub(crate) disks: Vec<Disk>,
    pub(crate) dialer: Dialer,
}

impl Rig {
    pub(crate) async fn start(count: usize) -> Self {
        Self::on((0..count).map(|_| Disk::real()).collect()).await
    }

    pub(crate) async fn on(disks: Vec<Disk>) -> Self {
        let master = Master::start().await;
        let mut servers = Vec::new();
        for (at, disk) in disks.iter().enumerate() {
            servers.push(Running::start(&master, disk, at as u128 + 1).await);
        }
        let dialer = Dialer::new(Arc::new(TcpConnector), gfs_transport::Config::default());
        Self { master, servers, disks, dialer }
    }

    pub(crate) fn server(&self, number: u32) -> &Running {
        self.servers.iter().find(|server| server.number == number).unwrap()
    }
}
