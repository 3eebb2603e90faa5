//! From a metadata store to a serving master, and again when a term ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::Stream;
use gfs_core::brain::{BrainConfig, Event, Loader, Now, Term as BrainTerm};
use gfs_metastore::{EmbeddedOptions, EmbeddedStore, Leadership, MetaStore, StoreError};
use gfs_process::{Clock, Metrics, Process, Random, Shutdown, Tasks};
use gfs_transport::{Accepted, Config as TransportConfig, Server, tcp_incoming};
use gfs_types::{ClusterId, Epoch, Geometry, Millis};
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::committer::Committer;
use crate::metrics::MasterMetrics;
use crate::services::{self, Front, Leads};
use crate::term::Term;

/// Time passes for the brain this often.
const TICK: Duration = Duration::from_millis(25);
/// The cluster's state is copied to metrics this often.
const SHOW: Duration = Duration::from_secs(1);
/// Wait before leadership is sought again after a term ended or the store did not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// What a master is told by its flags.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// Address and port for gRPC; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where others reach it, if not where it listens.
    pub advertise: Option<String>,
    /// Directory of the embedded metadata store.
    pub data: PathBuf,
    /// Bytes of a full chunk, for a new cluster.
    pub chunk_size: u64,
    /// Id for a new cluster; must match that of an existing one.
    pub cluster_id: Option<String>,
    /// Copies of files whose directories do not say, for a new cluster: 1 to 8.
    pub copies: u8,
    /// How long removed files stay in the trash, zero for not at all; `None`: as the cluster has it.
    pub trash_period: Option<Duration>,
}

/// What a master is made of; tests give their own.
pub struct MasterParts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Source of the cluster id.
    pub random: Random,
    /// Where metadata is kept.
    pub store: Arc<dyn MetaStore>,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Where tasks are started.
    pub tasks: Tasks,
    /// Whether to end.
    pub shutdown: Shutdown,
}

/// A master: leads, or waits to lead.
pub struct Master {
    parts: MasterParts,
    brain: BrainConfig,
    wanted_cluster: Option<ClusterId>,
    address: Arc<str>,
    leads: watch::Sender<Leads>,
    metrics: MasterMetrics,
}

impl Master {
    /// A master that others reach at `address`.
    ///
    /// # Errors
    /// For a chunk size or cluster id that cannot be.
    pub fn new(config: &MasterConfig, address: &str, parts: MasterParts) -> anyhow::Result<Self> {
        let geometry = Geometry::new(config.chunk_size)?;
        let wanted_cluster = match &config.cluster_id {
            None => None,
            Some(text) => Some(
                ClusterId::parse(text)
                    .with_context(|| format!("--cluster-id {text:?} is not a UUID"))?,
            ),
        };
        Ok(Self {
            metrics: MasterMetrics::new(&parts.metrics),
            parts,
            brain: BrainConfig {
                expected_cluster_id: wanted_cluster,
                geometry,
                default_copies: config.copies,
                min_copies: config.copies.min(2),
                trash_period: config
                    .trash_period
                    .map(|period| Millis(u64::try_from(period.as_millis()).unwrap_or(u64::MAX))),
                master_addresses: vec![address.to_owned()],
                ..BrainConfig::default()
            },
            wanted_cluster,
            address: address.into(),
            leads: watch::Sender::new(Leads::Nobody),
        })
    }

    /// The whole process: opens the store, listens, leads, serves until asked to end.
    ///
    /// # Errors
    /// What keeps it from starting, or from going on.
    pub async fn run(config: MasterConfig, process: Process) -> anyhow::Result<()> {
        let ready = process.health.condition("leading", "waits to lead");
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        let bound = listener.local_addr().context("asking for the port")?;
        let address = config.advertise.clone().unwrap_or_else(|| reachable(bound).to_string());
        let store: Arc<dyn MetaStore> = Arc::new(
            EmbeddedStore::open(&config.data, EmbeddedOptions::default())
                .await
                .with_context(|| format!("opening the metadata in {}", config.data.display()))?,
        );
        let parts = MasterParts {
            clock: Arc::clone(&process.clock),
            random: process.random,
            store: Arc::clone(&store),
            metrics: process.metrics.clone(),
            tasks: process.tasks.clone(),
            shutdown: process.shutdown.clone(),
        };
        let master = Self::new(&config, &address, parts)?;
        let mut leads = master.leads.subscribe();
        let http = process.http_address;
        process.tasks.essential("readiness", {
            let shutdown = process.shutdown.clone();
            async move {
                let mut announced = false;
                loop {
                    tokio::select! {
                        () = shutdown.requested() => return Ok(()),
                        changed = leads.changed() => if changed.is_err() { return Ok(()) },
                    }
                    match &*leads.borrow() {
                        Leads::Us(_) => ready.hold(),
                        Leads::Other(_) => ready.hold(),
                        Leads::Nobody => ready.fail("between terms of leadership"),
                    }
                    if !announced {
                        announced = true;
                        println!("gfs-master ready grpc={bound} http={http}");
                    }
                }
            }
        });
        let outcome = master.serve(tcp_incoming(listener)).await;
        store.close().await;
        outcome
    }

    /// Serves `incoming` and leads when it can, until asked to end.
    ///
    /// # Errors
    /// What keeps it from going on.
    pub async fn serve(
        mut self,
        incoming: impl Stream<Item = std::io::Result<Accepted>> + Send,
    ) -> anyhow::Result<()> {
        let front = Front { leads: self.leads.subscribe() };
        let server = Server::new(TransportConfig::default()).control(services::routes(front));
        let shutdown = self.parts.shutdown.clone();
        let ended = self.parts.shutdown.clone();
        tokio::select! {
            biased;
            outcome = self.lead() => outcome,
            () = server.serve(incoming, async move { shutdown.requested().await }) => {
                if ended.is_requested() { Ok(()) } else { bail!("no more connections come in") }
            }
        }
    }

    /// Leads, term after term, until asked to end.
    async fn lead(&mut self) -> anyhow::Result<()> {
        // The highest epoch anybody told us of; a rolled-back store does not know it.
        let above = Epoch(0);
        loop {
            let shutdown = self.parts.shutdown.clone();
            let store = Arc::clone(&self.parts.store);
            let acquired = tokio::select! {
                () = shutdown.requested() => return Ok(()),
                acquired = store.acquire(&self.address, above) => acquired,
                never = point_to_leader(&*store, &self.leads) => match never {},
            };
            let leadership = match acquired {
                Ok(leadership) => leadership,
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!(%why, "cannot become the leader; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error).context("becoming the leader"),
            };
            self.term(leadership).await?;
            self.metrics.leading.set(0);
            if shutdown.is_requested() {
                // Nobody's answer is lost: what was not committed was not answered.
                let _ = store.resign(&leadership).await;
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One term, from loading to its end.
    async fn term(&mut self, leadership: Leadership) -> anyhow::Result<()> {
        let parts = &mut self.parts;
        let mut snapshot = parts.store.load().await.context("loading the metadata")?;
        let sequence = snapshot.sequence.clone();
        let brain_term = BrainTerm { epoch: leadership.epoch, commit_sequence: sequence.sequence };
        let config = BrainConfig {
            fresh_cluster_id: self
                .wanted_cluster
                .unwrap_or_else(|| ClusterId(draw(&mut parts.random))),
            ..self.brain.clone()
        };
        let mut loader =
            Loader::new(config, brain_term, &sequence.counters).context("loading the metadata")?;
        let mut entries = 0_u64;
        while let Some(page) = snapshot.next_page().await.context("loading the metadata")? {
            for (key, value) in page {
                loader.entry(&key, &value).context("loading the metadata")?;
                entries += 1;
            }
            tokio::task::yield_now().await;
        }
        let now = Now { mono: parts.clock.now(), wall: parts.clock.wall() };
        let mut first = Vec::new();
        let brain = loader.finish(now, &mut first).context("loading the metadata")?;
        tracing::info!(epoch = %leadership.epoch, entries, "leading");

        let term = Arc::new(Term::new(
            brain,
            first,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.store),
            leadership,
            self.metrics.term.clone(),
        ));
        let committer = Committer {
            term: Arc::clone(&term),
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            sequence: sequence.sequence,
            tried: sequence.sequence,
            metrics: self.metrics.commit.clone(),
        };
        self.metrics.leading.set(1);
        self.leads.send_replace(Leads::Us(Arc::clone(&term)));
        let outcome = tokio::select! {
            () = parts.shutdown.requested() => Ok(()),
            () = term.over() => Ok(()),
            outcome = committer.run() => outcome,
            () = tick(&term) => Ok(()),
            () = show(&term, &self.metrics) => Ok(()),
        };
        term.end();
        self.leads.send_replace(Leads::Nobody);
        outcome
    }
}

/// While another master leads, callers are told where it is.
async fn point_to_leader(
    store: &dyn MetaStore,
    leads: &watch::Sender<Leads>,
) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(PAUSE).await;
        let now = match store.leader().await {
            Ok(Some(leader)) => Leads::Other(leader.who),
            Ok(None) | Err(_) => Leads::Nobody,
        };
        leads.send_replace(now);
    }
}

async fn tick(term: &Term) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !term.is_over() {
        ticks.tick().await;
        term.tell(Event::Tick);
    }
}

async fn show(term: &Term, metrics: &MasterMetrics) {
    let mut ticks = tokio::time::interval(SHOW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !term.is_over() {
        ticks.tick().await;
        if let Some(status) = term.status().await {
            metrics.cluster.show(&status);
        }
        if let Some(usage) = term.usage() {
            metrics.show_usage(&usage);
        }
    }
}

/// 128 random bits, not all zero.
fn draw(random: &mut Random) -> u128 {
    let bits = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
    bits.max(1)
}

/// An address others can dial: "any" stands for this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if bound.ip().is_unspecified() {
        address.set_ip(match bound {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
