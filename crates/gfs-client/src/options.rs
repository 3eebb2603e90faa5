//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use gfs_process::{Clock, SystemClock};
use gfs_proto::v1 as pb;
use gfs_transport::{Config as TransportConfig, Connector, TcpConnector};
use gfs_types::ClusterId;

/// What an acknowledgement stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As the file says; one that says nothing: [`Replicated`](Self::Replicated).
    #[default]
    Default,
    /// On every replica, on at least two servers (one where the goal is one): survives the death of
    /// any process, not yet the loss of power of all of them at once.
    Replicated,
    /// The same, and fsynced on each of them: survives the loss of power.
    Disk,
}

impl Durability {
    /// Whether it asks for disks, of this file.
    pub(crate) fn is_disk(self, file: &pb::Attributes) -> bool {
        match self {
            Self::Default => file.durability() == pb::Durability::Disk,
            Self::Replicated => false,
            Self::Disk => true,
        }
    }

    pub(crate) fn proto(self) -> pb::Durability {
        match self {
            Self::Default => pb::Durability::Default,
            Self::Replicated => pb::Durability::Replicated,
            Self::Disk => pb::Durability::Disk,
        }
    }
}

/// How a client is set up; [`Default`] suits most applications.
#[derive(Clone)]
pub struct ClientOptions {
    /// Longest time a call may take, retries included; for data, longest time without progress.
    /// Default 30 s.
    pub deadline: Duration,
    /// The cluster meant. Default: whichever answers at the endpoints.
    pub cluster: Option<ClusterId>,
    /// Where the client runs, so that near replicas are preferred. Default: unknown.
    pub place: pb::Place,
    /// Bytes a writer may hand in before the first of them are acknowledged, per file. Default
    /// 16 MiB.
    pub write_window: u32,
    /// Makes connections. Default: TCP.
    pub connector: Arc<dyn Connector>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Windows and limits of connections.
    pub transport: TransportConfig,
    /// Seed of the client's id and of jitter. Default: entropy of the kernel.
    pub seed: Option<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(30),
            cluster: None,
            place: pb::Place::default(),
            write_window: 16 << 20,
            connector: Arc::new(TcpConnector),
            clock: Arc::new(SystemClock),
            transport: TransportConfig::default(),
            seed: None,
        }
    }
}

/// How something is removed; [`Default`]: a file or an empty directory, into the trash.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// A directory with all that is in it.
    pub recursive: bool,
    /// Gone for good, its space given back at once, instead of into the trash.
    pub skip_trash: bool,
}
