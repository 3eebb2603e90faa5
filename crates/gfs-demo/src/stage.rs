//! What all acts share: cluster, client, input, observer, verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use gfs_client::proto::{ServerLocation, ServerState, StatusResponse};
use gfs_client::{Client, ClientOptions};
use gfs_local::{LocalCluster, Options, Part};

use crate::corpus::Corpus;
use crate::screen::Screen;
use crate::verdict::Verdict;
use crate::watch::Watch;

const POLL: Duration = Duration::from_millis(50);
/// How long processes may take to be ready again.
const READY: Duration = Duration::from_secs(20);

/// How long leftovers may take to go.
const CLEAN: Duration = Duration::from_secs(10);

/// A running cluster with everything an act needs.
pub struct Stage<'a> {
    /// What is printed.
    pub screen: &'a Screen,
    /// The processes. They end when it is dropped.
    pub cluster: LocalCluster,
    /// Talks to them.
    pub client: Client,
    /// The input.
    pub corpus: Arc<Corpus>,
    /// The observer.
    pub watch: Watch,
    /// What was claimed and seen so far.
    pub verdict: Verdict,
    /// The number under which the master knows each chunkserver.
    numbers: BTreeMap<u32, Part>,
}

impl<'a> Stage<'a> {
    /// Starts four chunkservers and a master in `directory`.
    ///
    /// # Errors
    /// Where one does not start, or the client cannot connect.
    pub async fn set(
        directory: &Path,
        screen: &'a Screen,
        corpus: Arc<Corpus>,
    ) -> anyhow::Result<Self> {
        // Only the ports' range depends on it; a machine may run several demos.
        let options = Options::isolated(directory, &AtomicU16::new(0))?;
        let cluster = tokio::task::block_in_place(|| LocalCluster::start(options))?;
        let client = connect(&cluster).await?;
        let mut numbers = BTreeMap::new();
        for server in client.status().await?.servers {
            let location = server.location.unwrap_or_default();
            numbers.insert(location.server, part_of(&cluster, &location)?);
        }
        ensure!(numbers.len() == cluster.servers().count(), "not all chunkservers registered");
        let watch = Watch::start(connect(&cluster).await?, screen.clone(), numbers.clone());
        let verdict = Verdict::default();
        Ok(Self { screen, cluster, client, corpus, watch, verdict, numbers })
    }

    /// The process that the master knows under this number.
    ///
    /// # Errors
    /// Where it is none of ours.
    pub fn part(&self, number: u32) -> anyhow::Result<Part> {
        self.numbers.get(&number).copied().with_context(|| format!("no server has number {number}"))
    }

    /// The number under which the master knows `part`.
    ///
    /// # Errors
    /// Where that is no chunkserver.
    pub fn number(&self, part: Part) -> anyhow::Result<u32> {
        let found = self.numbers.iter().find(|(_, known)| **known == part);
        found.map(|(number, _)| *number).with_context(|| format!("{part} has no number"))
    }

    /// Asks for the status until `enough` finds what it waits for.
    ///
    /// # Errors
    /// Where it has not after `patience`; `what` says what was awaited.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        mut enough: impl FnMut(&StatusResponse) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + patience;
        loop {
            let status = self.client.status().await?;
            if let Some(found) = enough(&status) {
                return Ok(found);
            }
            if Instant::now() >= until {
                bail!("{what}: not within {patience:?}; {}", summary(&status));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until all servers are alive and every chunk has all its copies.
    ///
    /// # Errors
    /// Where that takes more than `patience`.
    pub async fn wait_whole(&self, patience: Duration) -> anyhow::Result<()> {
        let servers = self.cluster.servers().count();
        self.wait_for("all servers alive and all chunks full", patience, |status| {
            let alive = status.servers.iter().filter(|s| s.state() == ServerState::Alive).count();
            let chunks = status.chunks.unwrap_or_default();
            (alive == servers && chunks.full == chunks.total && chunks.cloning == 0).then_some(())
        })
        .await
    }

    /// Starts a process again and waits until it is ready.
    ///
    /// # Errors
    /// Where it is not in time.
    pub fn restart(&self, part: Part) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| {
            self.cluster.restart(part)?;
            self.cluster.wait_part_ready(part, READY)
        })
    }

    /// Claims that `fsck` finds nothing wrong with the whole cluster. What is being cleaned up
    /// still, as copies that were replaced are, has a little time to go.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub async fn claim_consistent(&mut self, when: &str) -> anyhow::Result<()> {
        let until = Instant::now() + CLEAN;
        let found = loop {
            let found = self.client.fsck("/", 10).await?;
            if found.problem_count == 0 || Instant::now() >= until {
                break found;
            }
            tokio::time::sleep(POLL).await;
        };
        for problem in &found.problems {
            self.screen.say(&format!("fsck: {} {}: {}", problem.kind, problem.path, problem.text));
        }
        let seen = match found.problem_count {
            0 => format!("{} files", found.files),
            count => format!("{count} problems"),
        };
        let holds = found.problem_count == 0;
        let verdict = if holds { "nothing is wrong" } else { "NOT as it should be" };
        self.screen.say(&format!("fsck {when}: {seen}, {verdict}"));
        self.verdict.claim(format!("fsck {when}: nothing is wrong"), seen, holds);
        Ok(())
    }
}

/// The chunkserver at a location's address.
///
/// # Errors
/// Where none of the cluster's listens there.
pub(crate) fn part_of(cluster: &LocalCluster, location: &ServerLocation) -> anyhow::Result<Part> {
    for part in cluster.servers() {
        if location.addresses.contains(&cluster.grpc(part)?.to_string()) {
            return Ok(part);
        }
    }
    bail!("no chunkserver listens at {:?}", location.addresses)
}

async fn connect(cluster: &LocalCluster) -> anyhow::Result<Client> {
    Ok(Client::connect([cluster.endpoint()], ClientOptions::default()).await?)
}

/// The cluster in a few words.
pub(crate) fn summary(status: &StatusResponse) -> String {
    let chunks = status.chunks.unwrap_or_default();
    let alive = status.servers.iter().filter(|s| s.state() == ServerState::Alive).count();
    format!(
        "{alive} of {} servers alive; of {} chunks {} full, {} short of copies, {} with one copy, \
         {} with none",
        status.servers.len(),
        chunks.total,
        chunks.full,
        chunks.under_replicated,
        chunks.endangered,
        chunks.unavailable
    )
}
