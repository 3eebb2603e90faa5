//! Sessions with the masters: register, take commands, report, and start over when that breaks.

use crate::node::Node;
use crate::store::StoreError;
use anyhow::Context as _;
use gfs_process::{Condition, Random, Shutdown};
use gfs_proto::{detail_of, v1 as pb};
use gfs_types::{ClusterId, Crc, ErrorCode, Geometry, Millis, PROTOCOL_VERSION, ServerNumber};
use pb::rpc::session_client::SessionClient;
use rand::RngExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Messages to a master that wait for it.
const QUEUE: usize = 4_096;
/// Replicas in a page of a report.
const PAGE: usize = 4_096;
/// Between two tries to register: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a master may take to accept the stream of commands.
const OPENING: Duration = Duration::from_secs(5);
/// The level of the cluster's formats that this software supports.
const CLUSTER_LEVEL: u32 = 1;

/// A session as heartbeats need to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// 0: none.
    pub(crate) number: u64,
    /// Milliseconds between beats.
    pub(crate) interval: u32,
}

/// The tie to one master: shared by the session's task and the heartbeats' thread.
pub(crate) struct Link {
    pub(crate) index: usize,
    pub(crate) address: String,
    /// The session that stands.
    pub(crate) session: watch::Sender<Session>,
    /// The number of a session that the master no longer knows.
    pub(crate) stale: watch::Sender<u64>,
}

impl Link {
    pub(crate) fn new(index: usize, address: String) -> Arc<Self> {
        let (session, stale) = (watch::channel(Session::default()).0, watch::channel(0).0);
        Arc::new(Self { index, address, session, stale })
    }
}

/// Who this server says it is.
#[derive(Clone)]
pub(crate) struct Identity {
    /// `host:port` where others reach it.
    pub(crate) addresses: Vec<String>,
    pub(crate) place: pb::Place,
    pub(crate) boot_id: [u8; 16],
}

/// What the sessions of one server share.
pub(crate) struct Sessions {
    pub(crate) node: Arc<Node>,
    pub(crate) identity: Identity,
    /// Holds once a master has registered it.
    pub(crate) registered: Condition,
    /// The number it has; 0 before it registered.
    pub(crate) number: watch::Sender<u32>,
    /// Reports are numbered by the server.
    pub(crate) reports: AtomicU32,
}

impl Sessions {
    /// Keeps a session with one master until shutdown.
    ///
    /// # Errors
    /// The volume and the master belong to different clusters, or the master refuses this software:
    /// what no further try can cure.
    pub(crate) async fn keep(
        self: Arc<Self>,
        link: Arc<Link>,
        shutdown: Shutdown,
        mut random: Random,
    ) -> anyhow::Result<()> {
        let mut pause = PAUSE_MIN;
        loop {
            let began = self.node.clock.now();
            let ended = tokio::select! {
                ended = self.session(&link) => ended,
                () = shutdown.requested() => return Ok(()),
            };
            link.session.send_replace(Session::default());
            self.node.set_master(link.index, None);
            if let Err(error) = ended {
                let detail = error.downcast_ref::<Refusal>().map(|refusal| &refusal.0);
                let code = detail.map(pb::ErrorDetail::error_code);
                if matches!(code, Some(ErrorCode::WrongCluster | ErrorCode::WrongProtocol)) {
                    return Err(error.context(format!("master {}", link.address)));
                }
                tracing::info!(
                    master = link.address,
                    error = format!("{error:#}"),
                    "no session with the master; trying again"
                );
            }
            if self.node.clock.now().since(began) > Millis(5_000) {
                pause = PAUSE_MIN;
            }
            let jitter = random.random_range(0.5..1.0);
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
                () = shutdown.requested() => return Ok(()),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One session, from registering to its end.
    async fn session(&self, link: &Arc<Link>) -> anyhow::Result<()> {
        let node = &self.node;
        let peer = node.dialer.peer(&link.address)?;
        let mut client = SessionClient::new(peer.control());
        let mut reports = node.reports.subscribe();
        reports.mark_unchanged();
        let answer = client.register(self.request()).await.map_err(refusal)?.into_inner();
        self.join(&answer).await?;
        let (to, queue) = mpsc::channel(QUEUE);
        let hello = pb::Hello { cluster_id: answer.cluster_id.clone(), session: answer.session };
        let hello = pb::ServerMessage { body: Some(pb::server_message::Body::Hello(hello)) };
        to.send(hello).await.context("the queue to the master")?;
        let interval = answer.heartbeat_ms.clamp(50, 5_000);
        link.session.send_replace(Session { number: answer.session, interval });
        let opening = client.commands(ReceiverStream::new(queue));
        let opened = tokio::time::timeout(OPENING, opening).await.context("commands")?;
        let mut commands = opened.map_err(refusal)?.into_inner();
        node.set_master(link.index, Some(to.clone()));
        tracing::info!(
            master = link.address,
            server = answer.server,
            session = answer.session,
            leader = answer.leader,
            "registered"
        );
        self.registered.hold();
        self.number.send_replace(answer.server);
        let mut stale = link.stale.subscribe();
        let reporting = self.report(client, answer.session);
        tokio::pin!(reporting);
        let mut reported = false;
        loop {
            tokio::select! {
                command = commands.next() => match command {
                    Some(Ok(command)) => node.command(command, to.clone()).await,
                    Some(Err(status)) => return Err(refusal(status)),
                    None => anyhow::bail!("the master ended the session"),
                },
                ended = &mut reporting, if !reported => {
                    ended?;
                    reported = true;
                }
                _ = reports.changed() => {
                    anyhow::bail!("what is here has changed: all is reported anew");
                }
                () = is_stale(&mut stale, answer.session) => {
                    anyhow::bail!("the master no longer knows the session");
                }
            }
        }
    }

    fn request(&self) -> pb::RegisterRequest {
        let node = &self.node;
        let record = node.volumes.record();
        let seen = node.gate().seen();
        let cluster = record.cluster.map(|id| id.to_bytes().to_vec()).unwrap_or_default();
        pb::RegisterRequest {
            cluster_id: cluster.into(),
            protocol_version: PROTOCOL_VERSION,
            server_uuid: record.server.to_bytes().to_vec().into(),
            server: record.number.0,
            epoch: seen.epoch,
            commit_sequence: seen.commit_sequence,
            addresses: self.identity.addresses.clone(),
            place: Some(self.identity.place.clone()),
            volumes: node.volumes.states(),
            boot_id: self.memory().into(),
            cluster_level: CLUSTER_LEVEL,
            highest_handle: node.chunks.highest_handle(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// What changes whenever this server may have forgotten replicas: with the kernel's boot, after
    /// which what was not synced may be gone, with the volumes in service, and when one of them is
    /// taken back. Nothing if there is, or was, something on a volume that cannot be told: that a
    /// chunk is not here does not show that it never was.
    fn memory(&self) -> Vec<u8> {
        if self.node.volumes.is_forgetful() {
            return Vec::new();
        }
        let boot = u128::from_be_bytes(self.identity.boot_id);
        (boot ^ self.node.volumes.memory()).to_be_bytes().to_vec()
    }

    /// Takes over what the master says: the cluster, the number, the epoch.
    async fn join(&self, answer: &pb::RegisterResponse) -> anyhow::Result<()> {
        let node = &self.node;
        let cluster = ClusterId::from_slice(&answer.cluster_id)
            .context("the master does not say which cluster it serves")?;
        let geometry = Geometry::new(u64::from(answer.chunk_size))?;
        anyhow::ensure!(answer.server != 0 && answer.session != 0, "the master gave no number");
        node.observe(answer.epoch, answer.commit_sequence).await.map_err(Refusal)?;
        let before = node.volumes.record();
        let number = ServerNumber(answer.server);
        if before.number != number || !node.volumes.are_joined(cluster, number, geometry) {
            let joined = node.volumes.join(cluster, number, geometry).await;
            joined.map_err(|error| match error {
                StoreError::WrongCluster { .. } | StoreError::Invalid(_) => {
                    let detail = pb::ErrorDetail::new(ErrorCode::WrongCluster, error.to_string());
                    anyhow::Error::from(Refusal(detail))
                }
                error => error.into(),
            })?;
            if before.number != number {
                node.chunks.forget_loaded();
                crate::upkeep::scan(node).await;
            }
        }
        let limit = node.read_limit.unwrap_or(Millis(u64::from(answer.stale_read_limit_ms)));
        let mut gate = node.gate();
        gate.set_read_limit(limit);
        if answer.leader {
            gate.heard_leader(answer.epoch, node.clock.now());
        }
        Ok(())
    }

    /// Reports every replica, in pages.
    async fn report(&self, mut client: SessionClient<Channel>, session: u64) -> anyhow::Result<()> {
        let report = u64::from(self.reports.fetch_add(1, Ordering::Relaxed)) + 1;
        let states = self.node.replica_states();
        let (count, mut digest) = (states.len() as u64, Crc::default());
        let pages = states.chunks(PAGE);
        let last_page = pages.len().saturating_sub(1);
        let pages: Vec<&[pb::ReplicaState]> =
            if states.is_empty() { vec![&[]] } else { pages.collect() };
        for (page, replicas) in pages.into_iter().enumerate() {
            for state in replicas {
                // As the master computes it: each number as 8 bytes, big endian.
                digest = digest
                    .append(&state.handle.to_be_bytes())
                    .append(&state.complete.to_be_bytes())
                    .append(&state.promised.to_be_bytes());
            }
            let last = page == last_page;
            let request = pb::ReportRequest {
                session,
                report,
                page: page as u32,
                replicas: replicas.to_vec(),
                last,
                count: if last { count } else { 0 },
                digest: if last { digest.0 } else { 0 },
            };
            client.report(request).await.map_err(refusal)?;
        }
        tracing::info!(replicas = count, "reported");
        Ok(())
    }
}

/// Completes when heartbeats say that the master no longer knows this session.
async fn is_stale(stale: &mut watch::Receiver<u64>, session: u64) {
    if stale.wait_for(|number| *number == session).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending::<()>().await;
    }
}

/// An answer of the master that is an error.
#[derive(Debug, thiserror::Error)]
#[error("{} ({})", .0.message, .0.error_code())]
struct Refusal(pb::ErrorDetail);

fn refusal(status: tonic::Status) -> anyhow::Error {
    Refusal(detail_of(&status)).into()
}
