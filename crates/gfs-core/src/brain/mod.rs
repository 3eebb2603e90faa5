//! The master's brain.
//!
//! [`Brain::step`] takes one [`Event`] with the time and appends [`Effect`]s. State is changed at
//! once (*speculatively*); what changed goes out as [`Effect::Commit`], and every effect that
//! depends on it, replies of reads included, is held by the `journal` until
//! [`Event::Committed`] says that it is durable. If a commit fails the shell drops the whole brain
//! and loads a new one in the next term: nothing uncommitted was ever seen by anybody.
//!
//! | part | is |
//! |---|---|
//! | `step` | [`Brain`]: which part handles an event, and the order in which things leave |
//! | `work` | what one event changes and answers |
//! | `journal` | what is not durable yet, and who waits for it |
//! | `extents` | where the extents of files are |
//! | `truncation` | cutting files, extending them by holes |
//! | `overwriting` | who overwrites which chunk |
//! | `records` | keys and values of the store |
//! | `load` | a brain from the store's records, or a new cluster |
//! | `namespace` | the tree, in memory |
//! | `calls` | the calls of clients, one module for each kind |
//! | `outcomes` | what became of operations, so that a repeat changes nothing |
//! | `rights` | who may write or append to a file |
//! | `writers` | files being written, and calls that wait for a version change |
//! | `trash` | what was removed and can be brought back |
//! | `takedown` | taking down what was removed for good, a little at a time |
//! | `fsck`, `status` | what people ask for |
//! | [`chunks`] | chunk table, servers, version changes, detector, repair |

mod calls;
pub mod chunks;
mod config;
mod extents;
mod fsck;
mod journal;
mod load;
mod namespace;
mod outcomes;
mod overwriting;
mod records;
mod rights;
mod status;
mod step;
mod takedown;
mod trash;
mod truncation;
mod usage;
mod work;
mod writers;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{CommitSequence, Millis, WallMillis};

pub use config::{BrainConfig, Limits, Term};
pub use load::{LoadError, Loader};
pub use step::Brain;
pub use usage::Usage;

/// Names a call that waits for its reply. Minted by the shell, unique within a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A chunkserver's session with this master. Minted by the brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Position of a group of mutations in the order in which they were made. From 1 in each term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u64);

/// The time of an event: monotonic for decisions, wall for what people see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Monotonic.
    pub mono: Millis,
    /// Time of day.
    pub wall: WallMillis,
}

/// A call of the Metadata or Admin service.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the call of the same name in proto/gfs/v1")]
pub enum Request {
    Connect(pb::ConnectRequest),
    Stat(pb::StatRequest),
    List(pb::ListRequest),
    Mkdir(pb::MkdirRequest),
    Create(pb::CreateRequest),
    Open(pb::OpenRequest),
    Locate(pb::LocateRequest),
    Allocate(pb::AllocateRequest),
    Recover(pb::RecoverRequest),
    Lease(pb::LeaseRequest),
    Truncate(pb::TruncateRequest),
    Sync(pb::SyncRequest),
    Close(pb::CloseRequest),
    Rename(pb::RenameRequest),
    Remove(pb::RemoveRequest),
    ListTrash(pb::ListTrashRequest),
    RestoreTrash(pb::RestoreTrashRequest),
    EmptyTrash(pb::EmptyTrashRequest),
    SetAttributes(pb::SetAttributesRequest),
    ReportDamage(pb::ReportDamageRequest),
    Status(pb::StatusRequest),
    ListServers(pb::ListServersRequest),
    Fsck(pb::FsckRequest),
    SetPodStates(pb::SetPodStatesRequest),
    SetMaintenance(pb::SetMaintenanceRequest),
    EndRollback(pb::EndRollbackRequest),
    SetDrain(pb::SetDrainRequest),
    Rebalance(pb::RebalanceRequest),
}

/// The answer to a [`Request`] (same name) or to a session's call.
#[expect(clippy::large_enum_variant, reason = "Status is the large one, and rare")]
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the answer to the call of the same name")]
pub enum Response {
    Connect(pb::ConnectResponse),
    Stat(pb::StatResponse),
    List(pb::ListResponse),
    Mkdir(pb::MkdirResponse),
    Create(pb::CreateResponse),
    Open(pb::OpenResponse),
    Locate(pb::LocateResponse),
    Allocate(pb::AllocateResponse),
    Recover(pb::RecoverResponse),
    Lease(pb::LeaseResponse),
    Truncate(pb::TruncateResponse),
    Sync(pb::SyncResponse),
    Close(pb::CloseResponse),
    Rename(pb::RenameResponse),
    Remove(pb::RemoveResponse),
    ListTrash(pb::ListTrashResponse),
    RestoreTrash(pb::RestoreTrashResponse),
    EmptyTrash(pb::EmptyTrashResponse),
    SetAttributes(pb::SetAttributesResponse),
    ReportDamage(pb::ReportDamageResponse),
    Status(pb::StatusResponse),
    ListServers(pb::ListServersResponse),
    Fsck(pb::FsckResponse),
    SetPodStates(pb::SetPodStatesResponse),
    SetMaintenance(pb::SetMaintenanceResponse),
    EndRollback(pb::EndRollbackResponse),
    SetDrain(pb::SetDrainResponse),
    Rebalance(pb::RebalanceResponse),
    Register(pb::RegisterResponse),
    Report(pb::ReportResponse),
}

/// What happens to the brain.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client or administrator asks.
    Call {
        /// Names the reply.
        token: Token,
        /// What is asked.
        request: Request,
    },
    /// The caller is gone or its deadline passed: no reply is needed. (The operation may still
    /// take effect.)
    Forget {
        /// Of the call.
        token: Token,
    },
    /// A chunkserver registers.
    Register {
        /// Names the reply.
        token: Token,
        /// What it says.
        request: pb::RegisterRequest,
    },
    /// A heartbeat; answered by [`Effect::Beat`] at once.
    Heartbeat {
        /// As the beat says.
        session: SessionId,
        /// The beat.
        beat: pb::Heartbeat,
    },
    /// The stream of commands of a session stands: commands may be sent.
    CommandsOpen {
        /// Its session.
        session: SessionId,
    },
    /// The stream of heartbeats or of commands broke.
    SessionBroken {
        /// Its session.
        session: SessionId,
    },
    /// A command was carried out or refused.
    Result {
        /// Who says so.
        session: SessionId,
        /// The outcome.
        result: pb::CommandResult,
    },
    /// A server says something unasked.
    Notice {
        /// Who.
        session: SessionId,
        /// What.
        notice: pb::Notice,
    },
    /// A page of a server's report.
    Report {
        /// Names the reply.
        token: Token,
        /// The page.
        page: pb::ReportRequest,
    },
    /// All mutations up to this ordinal are durable.
    Committed {
        /// The last one.
        through: Ordinal,
        /// The number of the transaction that made it durable.
        sequence: CommitSequence,
    },
    /// Time passes. At least every 100 ms.
    Tick,
}

/// What the brain wants done, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make these mutations durable, atomically, after all earlier ones; then say
    /// [`Event::Committed`]. Each key stands once.
    Commit {
        /// Position.
        ordinal: Ordinal,
        /// Key, and value or `None` to delete it.
        mutations: Vec<(Bytes, Option<Bytes>)>,
        /// The counters as of this ordinal, to go into the sequence record (encoded
        /// `pb::Counters`).
        counters: Bytes,
    },
    /// Answer a call.
    Reply {
        /// Of the call.
        token: Token,
        /// The answer.
        result: Result<Box<Response>, Box<pb::ErrorDetail>>,
    },
    /// Send a command to a server.
    Send {
        /// Its session.
        session: SessionId,
        /// The command.
        command: Box<pb::Command>,
    },
    /// Answer a heartbeat.
    Beat {
        /// Its session.
        session: SessionId,
        /// The answer.
        reply: pb::HeartbeatReply,
    },
    /// Close the streams of a session: another one of the same server took its place.
    EndSession {
        /// The session that ended.
        session: SessionId,
    },
    /// Something that a human should see in the log.
    Note {
        /// Whether a human must act.
        severe: bool,
        /// The text.
        text: String,
    },
}
