//! The cluster under measurement, with its processes' CPU time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use gfs_client::proto::StatusResponse;
use gfs_client::{Client, ClientOptions};
use gfs_local::{LocalCluster, Options};

use crate::usage::CpuMeter;

/// How often the status is asked while something is waited for.
const POLL: Duration = Duration::from_millis(20);

pub(crate) struct Bench {
    pub(crate) cluster: LocalCluster,
    pub(crate) client: Client,
}

impl Bench {
    /// A cluster with this many servers, its files below `directory`.
    pub(crate) async fn start(directory: &Path, servers: usize) -> anyhow::Result<Self> {
        let name = format!("cluster-{servers}");
        Self::start_as(&directory.join(name), u16::try_from(servers)?, servers, &[]).await
    }

    /// The same with its files in `directory`, and arguments for each server. `slot`: clusters that
    /// run at the same time differ in it.
    pub(crate) async fn start_as(
        directory: &Path,
        slot: u16,
        servers: usize,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let counter = std::sync::atomic::AtomicU16::new(slot);
        let options = Options {
            servers,
            log: "warn".to_owned(),
            server_arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..Options::isolated(directory, &counter)?
        };
        let cluster = tokio::task::spawn_blocking(move || LocalCluster::start(options))
            .await
            .context("starting the cluster")??;
        let client = Client::connect([cluster.endpoint()], ClientOptions::default()).await?;
        Ok(Self { cluster, client })
    }

    /// Further clients, each with connections of its own.
    pub(crate) async fn clients(&self, count: usize) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients
                .push(Client::connect([self.cluster.endpoint()], ClientOptions::default()).await?);
        }
        Ok(clients)
    }

    /// The CPU time of the whole cluster and this process.
    pub(crate) fn cpu(&self) -> anyhow::Result<CpuMeter> {
        CpuMeter::start(self.pids()?.into_iter().map(|(_, pid)| pid))
    }

    /// The processes that run, by name.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<(String, u32)>> {
        let mut pids = Vec::new();
        for part in self.cluster.parts() {
            if let Some(pid) = self.cluster.pid(part)? {
                pids.push((part.to_string(), pid));
            }
        }
        Ok(pids)
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn wait(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&StatusResponse) -> bool,
    ) -> anyhow::Result<StatusResponse> {
        let begun = Instant::now();
        loop {
            let status = self.client.status().await?;
            if wanted(&status) {
                return Ok(status);
            }
            if begun.elapsed() > patience {
                bail!(
                    "{what} did not come within {patience:?}: {:?}, incidents {:?}",
                    status.chunks,
                    status.incidents
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until every chunk has all its copies.
    pub(crate) async fn wait_full(&self, patience: Duration) -> anyhow::Result<StatusResponse> {
        self.wait("full redundancy", patience, |status| {
            status.chunks.is_some_and(|health| health.full == health.total && health.cloning == 0)
        })
        .await
    }
}
