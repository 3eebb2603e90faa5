//! A chunkserver, made from its parts.

use crate::confirmed::DataService;
use crate::handshake::{COPY, PUSH, READ};
use crate::heartbeat::Heartbeats;
use crate::metrics::ServerMetrics;
use crate::node::{Node, NodeParts};
use crate::session::{Identity, Link, Sessions};
use crate::volumes::Volumes;
use crate::{copy, push, read, upkeep};
use gfs_core::scrub;
use gfs_process::{Clock, Health, Metrics, Random, Shutdown, Tasks};
use gfs_proto::v1 as pb;
use gfs_transport::{Accepted, Connector, Dialer};
use gfs_types::Millis;
use pb::rpc::data_server::DataServer;
use rand::SeedableRng as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::service::Routes;

/// How long the master is told that the server leaves before streams are ended.
const FAREWELL: Duration = Duration::from_millis(300);
/// A heartbeat loop that stands still for so long makes the process unhealthy.
const HEARTBEAT_LIMIT: Millis = Millis(30_000);
/// So long after all volumes are gone the process counts as stuck: a restart may bring them back.
const VOLUMES_LIMIT: Millis = Millis(600_000);

/// What a chunkserver is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// Every master, `host:port`.
    pub masters: Vec<String>,
    /// Where clients and peers reach this server, `host:port`, best first.
    pub advertise: Vec<String>,
    /// Where it runs.
    pub place: pb::Place,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Serve reads so long after the last word of the leader; `None`: as the master says.
    pub stale_read_limit: Option<Millis>,
    /// Memory for pushed data, in bytes.
    pub push_memory: u64,
    /// Reads served at a time; each may hold three MiB.
    pub max_reads: usize,
    /// Push streams that have nothing to do end after this long.
    pub idle_limit: Millis,
    /// How each volume is verified in the background.
    pub scrub: scrub::Settings,
    /// Windows, limits and times of connections.
    pub transport: gfs_transport::Config,
}

/// What a chunkserver is made from.
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for jitter.
    pub random: Random,
    /// Where it registers its metrics.
    pub metrics: Metrics,
    /// Where it reports its health.
    pub health: Health,
    /// Where it starts tasks.
    pub tasks: Tasks,
    /// When to end.
    pub shutdown: Shutdown,
    /// Dials masters and peers.
    pub connector: Arc<dyn Connector>,
    /// The data directories, opened.
    pub volumes: Arc<Volumes>,
}

/// A chunkserver. Does nothing before [`ChunkServer::serve`].
pub struct ChunkServer {
    config: Config,
    parts: Parts,
    number: watch::Sender<u32>,
}

impl ChunkServer {
    /// A chunkserver of these parts.
    #[must_use]
    pub fn new(parts: Parts, config: Config) -> Self {
        Self { config, parts, number: watch::channel(0).0 }
    }

    /// The number that the cluster knows the server by; 0 until it has registered.
    #[must_use]
    pub fn number(&self) -> watch::Receiver<u32> {
        self.number.subscribe()
    }

    /// Serves these connections until shutdown is requested, then leaves in order: says so to the
    /// master, ends its streams, makes its chunks clean. Must run within a runtime of several
    /// threads.
    ///
    /// # Errors
    /// No thread can be had.
    pub async fn serve<I>(self, incoming: I) -> anyhow::Result<()>
    where
        I: Stream<Item = io::Result<Accepted>> + Send,
    {
        let Self { config, parts, number } = self;
        let Parts { clock, mut random, metrics, health, tasks, shutdown, connector, volumes } =
            parts;
        let node = Node::new(NodeParts {
            volumes,
            clock,
            dialer: Dialer::new(Arc::clone(&connector), config.transport.clone()),
            tasks: tasks.clone(),
            metrics: ServerMetrics::new(&metrics),
            push_memory: config.push_memory,
            idle_limit: config.idle_limit,
            max_reads: config.max_reads,
            read_limit: config.stale_read_limit,
        });
        let registered = health.condition("registered", "no master has registered this server yet");
        upkeep::start(&node).await;

        // Heartbeats and upkeep go on while streams are being ended.
        let (ended_trigger, ended) = Shutdown::new();
        let links: Vec<Arc<Link>> = config
            .masters
            .iter()
            .enumerate()
            .map(|(index, address)| Link::new(index, address.clone()))
            .collect();
        let heartbeats = Heartbeats {
            node: Arc::clone(&node),
            links: links.clone(),
            connector,
            transport: config.transport.clone(),
            shutdown: ended.clone(),
            pulse: health.pulse("heartbeats", HEARTBEAT_LIMIT),
            main: tokio::runtime::Handle::current(),
        };
        tasks.essential_thread("heartbeats", move || heartbeats.run())?;
        for (at, bay) in node.volumes.bays().iter().enumerate() {
            let (syncing, bay, ended_sync) = (Arc::clone(&node), Arc::clone(bay), ended.clone());
            tasks.essential_thread("sync", move || upkeep::sync(&syncing, &bay, &ended_sync))?;
            if config.scrub.rate > 0 {
                let (scrubbing, ended, settings) = (Arc::clone(&node), ended.clone(), config.scrub);
                tasks.essential_thread("scrub", move || {
                    crate::scrub::run(&scrubbing, at, settings, &ended)
                })?;
            }
        }
        let pulse = health.pulse("volumes", VOLUMES_LIMIT);
        tasks.essential(
            "ticks",
            upkeep::tick(Arc::clone(&node), ended.clone(), pulse, random.fork()),
        );
        let sessions = Arc::new(Sessions {
            node: Arc::clone(&node),
            identity: Identity {
                addresses: config.advertise,
                place: config.place,
                boot_id: config.boot_id,
            },
            registered,
            number,
            reports: AtomicU32::new(0),
        });
        for link in links {
            let keep = Arc::clone(&sessions).keep(link, ended.clone(), random.fork());
            tasks.essential("session", keep);
        }

        let leaving = Arc::clone(&node);
        let stop = async move {
            shutdown.requested().await;
            leaving.leaving.store(true, Ordering::Relaxed);
            tokio::time::sleep(FAREWELL).await;
        };
        server(&node, config.transport).serve(incoming, stop).await;
        // Also where the connections ended by themselves.
        node.leaving.store(true, Ordering::Relaxed);
        let closed = upkeep::close(&node).await;
        ended_trigger.request();
        closed
    }
}

/// The services of a node, on one port.
fn server(node: &Arc<Node>, transport: gfs_transport::Config) -> gfs_transport::Server {
    let (pushes, reads, copies) = (Arc::clone(node), Arc::clone(node), Arc::clone(node));
    let control = Routes::new(DataServer::new(DataService(Arc::clone(node))));
    gfs_transport::Server::new(transport)
        .control(control)
        .bulk(PUSH, move |_, sender, receiver| push::serve(Arc::clone(&pushes), sender, receiver))
        .bulk(READ, move |_, sender, receiver| read::serve(Arc::clone(&reads), sender, receiver))
        .bulk(COPY, move |_, sender, receiver| copy::serve(Arc::clone(&copies), sender, receiver))
}
