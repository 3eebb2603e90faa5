//! How a client is set up.

use std::sync::Arc;
use std::time::Duration;

use gfs_process::{Clock, SystemClock};
use gfs_proto::v1 as pb;
use gfs_transport::{Config as TransportConfig, Connector, TcpConnector};
use gfs_types::ClusterId;

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
