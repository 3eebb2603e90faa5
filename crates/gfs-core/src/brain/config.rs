//! What the brain is told once: its term, its limits, and the counters it goes on from.

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{
    ChunkHandle, ClusterId, CommitSequence, Epoch, Geometry, GfsError, InodeId, Millis,
    ServerNumber,
};
use prost::Message;

use super::chunks::ChunksConfig;

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
    /// gRPC addresses of all masters, this one first: what Connect tells.
    pub master_addresses: Vec<String>,
    /// Bounds.
    pub limits: Limits,
    /// Settings of the chunk side.
    pub chunks: ChunksConfig,
    /// Rules that are broken on purpose.
    #[cfg(feature = "planted-mistakes")]
    pub mistakes: crate::mistakes::Mistakes,
}

impl Default for BrainConfig {
    fn default() -> Self {
        Self {
            fresh_cluster_id: ClusterId(0),
            expected_cluster_id: None,
            geometry: Geometry::default(),
            default_copies: 3,
            min_copies: 2,
            master_addresses: Vec::new(),
            limits: Limits::default(),
            chunks: ChunksConfig::default(),
            #[cfg(feature = "planted-mistakes")]
            mistakes: crate::mistakes::Mistakes::default(),
        }
    }
}

/// Bounds on what the brain keeps and does in one step.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Groups of mutations and held replies that may wait for the store before calls are refused
    /// with RESOURCE_EXHAUSTED.
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
    /// Entries removed in one commit while a detached tree is taken down.
    pub removed_per_commit: usize,
    /// Such commits per tick.
    pub removals_per_tick: usize,
    /// Inodes an fsck looks at per step.
    pub fsck_per_step: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uncommitted: 10_000,
            outcomes_per_client: 256,
            clients: 100_000,
            client_idle: Millis(3_600_000),
            writer_idle: Millis(60_000),
            waiting: 10_000,
            removed_per_commit: 40,
            removals_per_tick: 25,
            fsck_per_step: 20_000,
        }
    }
}

/// The next numbers to mint. Carried by the sequence record of the store, so that a number handed
/// out in a committed state is never handed out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    inode: u64,
    handle: u64,
    server: u32,
}

/// Inode ids below this are the system's own: 0 none, 1 the root, 2 the orphanage.
pub(crate) const FIRST_INODE: u64 = 3;

impl Default for Counters {
    fn default() -> Self {
        Self { inode: FIRST_INODE, handle: 1, server: 1 }
    }
}

impl Counters {
    /// Reads the encoded form; empty bytes are those of a store nothing was minted in.
    ///
    /// # Errors
    /// The text says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record = pb::Counters::decode(bytes).map_err(|e| format!("counters: {e}"))?;
        let fresh = Self::default();
        Ok(Self {
            inode: record.inode.max(fresh.inode),
            handle: record.handle.max(fresh.handle),
            server: record.server.max(fresh.server),
        })
    }

    /// The encoded `pb::Counters`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let record =
            pb::Counters { inode: self.inode, handle: self.handle, server: self.server };
        record.encode_to_vec().into()
    }

    /// Mints an inode id.
    pub fn mint_inode(&mut self) -> InodeId {
        let id = self.inode;
        self.inode += 1;
        InodeId(id)
    }

    /// Mints a chunk handle.
    pub fn mint_handle(&mut self) -> ChunkHandle {
        let handle = self.handle;
        self.handle += 1;
        ChunkHandle(handle)
    }

    /// Mints a server number.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED after four thousand million of them.
    pub fn mint_server(&mut self) -> Result<ServerNumber, GfsError> {
        let number = self.server;
        self.server = number.checked_add(1).ok_or_else(|| {
            GfsError::new(gfs_types::ErrorCode::ResourceExhausted, "server numbers are used up")
        })?;
        Ok(ServerNumber(number))
    }

    /// The next inode id; every one in use is below.
    #[must_use]
    pub const fn next_inode(&self) -> InodeId {
        InodeId(self.inode)
    }

    /// The next chunk handle; every one in use is below.
    #[must_use]
    pub const fn next_handle(&self) -> ChunkHandle {
        ChunkHandle(self.handle)
    }

    /// The next server number; every one in use is below.
    #[must_use]
    pub const fn next_server(&self) -> ServerNumber {
        ServerNumber(self.server)
    }

    /// Nothing up to and including this handle is minted any more: a server holds a chunk of that
    /// number, so metadata was rolled back.
    pub fn skip_handles_through(&mut self, handle: ChunkHandle) {
        self.handle = self.handle.max(handle.0.saturating_add(1));
    }
}
