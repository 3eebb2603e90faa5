//! What the brain is told once: its term, its settings, its bounds.

use gfs_types::{ClusterId, CommitSequence, Epoch, Geometry, Millis};

use crate::mistakes::Mistakes;

/// The leadership term the brain lives in. A new term gets a new brain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// Of this term; above all earlier ones.
    pub epoch: Epoch,
    /// The last commit before the term.
    pub commit_sequence: CommitSequence,
}

/// Settings of a brain. What concerns the cluster's format (id, geometry, goals) is used only to
/// create one in an empty store; afterwards the `ClusterRecord` says it.
#[derive(Clone, Debug)]
pub struct BrainConfig {
    /// Id of a cluster created in an empty store: drawn at random by the shell.
    pub fresh_cluster_id: ClusterId,
    /// If set, a store of another cluster is refused.
    pub expected_cluster_id: Option<ClusterId>,
    /// Chunk size of a fresh cluster.
    pub geometry: Geometry,
    /// Replication goal of a fresh cluster's files, 1 to 8.
    pub default_copies: u8,
    /// Copies below which nothing is acknowledged, of a fresh cluster; at most `default_copies`.
    pub min_copies: u8,
    /// How long what is removed stays in the trash, 0 for not at all. `None`: as the cluster has it,
    /// 24 h in a fresh one. Holds for what is removed from now on.
    pub trash_period: Option<Millis>,
    /// gRPC addresses of all masters, this one first: what Connect tells.
    pub master_addresses: Vec<String>,
    /// How often chunkservers beat.
    pub heartbeat: Millis,
    /// How long chunkservers serve reads after the leader's last word.
    pub stale_read_limit: Millis,
    /// Clones into one server at a time, and out of one server at a time.
    pub clones_per_server: u8,
    /// Bounds.
    pub limits: Limits,
    /// Rules that are broken on purpose; none can be in a release.
    pub mistakes: Mistakes,
}

impl Default for BrainConfig {
    fn default() -> Self {
        Self {
            fresh_cluster_id: ClusterId(0),
            expected_cluster_id: None,
            geometry: Geometry::default(),
            default_copies: 3,
            min_copies: 2,
            trash_period: None,
            master_addresses: Vec::new(),
            heartbeat: Millis(250),
            stale_read_limit: Millis(10_000),
            clones_per_server: 4,
            limits: Limits::default(),
            mistakes: Mistakes::default(),
        }
    }
}

/// Bounds on what the brain keeps and does in one step.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Replies and groups of mutations that may wait for the store before calls are refused with
    /// RESOURCE_EXHAUSTED.
    pub uncommitted: usize,
    /// Outcomes remembered for one client; older ones are then answered OUTCOME_UNKNOWN.
    pub outcomes_per_client: usize,
    /// Clients whose outcomes are remembered.
    pub clients: usize,
    /// A client that was silent for so long is forgotten.
    pub client_idle: Millis,
    /// A writer that was silent for so long may be displaced by another client's Open.
    pub writer_idle: Millis,
    /// Calls that wait for a version change.
    pub waiting: usize,
    /// A call that waited so long for a version change is answered DEADLINE_EXCEEDED.
    pub longest_wait: Millis,
    /// Entries removed in one commit while a detached tree is taken down.
    pub removed_per_commit: usize,
    /// Such commits per tick.
    pub removals_per_tick: usize,
    /// Entries of the trash; one more makes the first to expire go before its time.
    pub trash_entries: usize,
    /// Inodes an fsck looks at per step.
    pub fsck_per_step: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uncommitted: 10_000,
            outcomes_per_client: 1_024,
            clients: 100_000,
            client_idle: Millis(3_600_000),
            writer_idle: Millis(60_000),
            waiting: 10_000,
            longest_wait: Millis(60_000),
            removed_per_commit: 40,
            removals_per_tick: 25,
            trash_entries: 1_000_000,
            fsck_per_step: 20_000,
        }
    }
}
