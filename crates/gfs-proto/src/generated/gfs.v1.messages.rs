// Generated from proto/gfs/v1 by `make generate`. Do not edit.
/// Details of every failed call (`grpc-status-details-bin`, this message bare).
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ErrorDetail {
    /// Stable number of the error code (`gfs_types::ErrorCode`). Set by the server, always.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// What failed, on what, what to do. For people.
    #[prost(string, tag = "2")]
    pub message: ::prost::alloc::string::String,
    /// With NOT_LEADER: where a leader may be found, likeliest first, `host:port`.
    #[prost(string, repeated, tag = "3")]
    pub leader_addresses: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// With retryable codes: not before this long, in milliseconds. 0: as the caller likes.
    #[prost(uint32, tag = "4")]
    pub retry_after_ms: u32,
    /// With UNREACHABLE: the number of the chunkserver that could not be reached.
    #[prost(uint32, tag = "5")]
    pub server: u32,
    /// With STALE_VERSION and WRONG_OFFSET: the version or offset that the server has.
    #[prost(uint64, tag = "6")]
    pub actual: u64,
    /// With STALE_EPOCH: the highest epoch the server saw.
    #[prost(uint64, tag = "7")]
    pub epoch: u64,
}
/// In every request of a client to a master.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RequestHeader {
    /// The cluster the client means. Set by the client, always, except in Connect.
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    /// Drawn at random by the client when it starts; names it until it ends.
    #[prost(uint64, tag = "2")]
    pub client_id: u64,
    /// Mutations only: the client's own counter, from 1. A repeat of (client_id, sequence) returns
    /// the recorded outcome and changes nothing.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Every operation of this client up to and including this sequence has been answered: their
    /// recorded outcomes may be forgotten. Set by the client, on mutations.
    #[prost(uint64, tag = "4")]
    pub answered_through: u64,
    /// The highest epoch the client has seen. A master of a lower one answers NOT_LEADER.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
}
/// Where something runs. Set by the operator through the Admin service, or by flags.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Place {
    /// Kubernetes node name, or host name.
    #[prost(string, tag = "1")]
    pub node: ::prost::alloc::string::String,
    /// Failure zone; empty: unknown.
    #[prost(string, tag = "2")]
    pub zone: ::prost::alloc::string::String,
    /// Pod name, for people.
    #[prost(string, tag = "3")]
    pub pod: ::prost::alloc::string::String,
    /// Pod UID: identity of the pod that runs the process.
    #[prost(string, tag = "4")]
    pub pod_uid: ::prost::alloc::string::String,
}
/// A chunkserver as clients and peers see it.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ServerLocation {
    /// Minted by the leader at registration, from 1, never reused.
    #[prost(uint32, tag = "1")]
    pub server: u32,
    /// `host:port` for gRPC, best first.
    #[prost(string, repeated, tag = "2")]
    pub addresses: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Where it runs.
    #[prost(message, optional, tag = "3")]
    pub place: ::core::option::Option<Place>,
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "4")]
    pub uuid: ::prost::bytes::Bytes,
}
/// Goal of redundancy. An enum of kinds rather than a number: other kinds come later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Goal {
    #[prost(oneof = "goal::Kind", tags = "1")]
    pub kind: ::core::option::Option<goal::Kind>,
}
/// Nested message and enum types in `Goal`.
pub mod goal {
    #[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Oneof)]
    pub enum Kind {
        /// Whole copies, 1 to 8.
        #[prost(uint32, tag = "1")]
        Copies(u32),
    }
}
/// One chunk of a file, with where it can be read and written.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ChunkLocation {
    /// Minted by the leader, never reused.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// Minted by the leader per chunk.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Position among the file's extents, from 0.
    #[prost(uint32, tag = "3")]
    pub index: u32,
    /// File offset of its first byte.
    #[prost(uint64, tag = "4")]
    pub start: u64,
    /// Bytes that count. Of an open chunk: the last length the master was told; ask the primary.
    #[prost(uint32, tag = "5")]
    pub length: u32,
    /// Accepts no more data; `length` is final at this version.
    #[prost(bool, tag = "6")]
    pub sealed: bool,
    /// Current replicas whose servers are alive, the primary (if any) first, then nearest to the
    /// caller first.
    #[prost(message, repeated, tag = "7")]
    pub servers: ::prost::alloc::vec::Vec<ServerLocation>,
    /// The number of the server that orders mutations at this version; 0: nobody holds the lease.
    #[prost(uint32, tag = "8")]
    pub primary: u32,
    /// A hole: no chunk exists, the range reads as zeros. `handle` is 0.
    #[prost(bool, tag = "9")]
    pub hole: bool,
}
/// How far a volume's background verification is (the scrub: every replica is read and compared with
/// its checksums, in turn), and what it has found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ScrubState {
    /// Bytes that it may read in a second; 0: off.
    #[prost(uint64, tag = "1")]
    pub rate: u64,
    /// Of the replicas, how many the present pass has verified, in percent; 100 between two passes.
    #[prost(uint32, tag = "2")]
    pub percent: u32,
    /// When the last complete pass ended, milliseconds since 1970; 0: there was none yet.
    #[prost(uint64, tag = "3")]
    pub completed_ms: u64,
    /// Complete passes since the volume was made.
    #[prost(uint64, tag = "4")]
    pub passes: u64,
    /// Blocks found damaged, and replicas found lost or beyond use, since the volume was made.
    #[prost(uint64, tag = "5")]
    pub damaged_blocks: u64,
    #[prost(uint64, tag = "6")]
    pub lost_replicas: u64,
}
/// A half-open range of blocks (64 KiB each) of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct BlockRange {
    #[prost(uint32, tag = "1")]
    pub first: u32,
    #[prost(uint32, tag = "2")]
    pub count: u32,
}
/// What a replica remembers of a writer: what recognises the repeats of its mutations.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct WindowEntry {
    /// The client id of the writer.
    #[prost(uint64, tag = "1")]
    pub writer: u64,
    /// The last of its mutations of this chunk that was applied. They count from 1.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    /// Where its last mutations went within the chunk, the one of `sequence` last; at most 8.
    #[prost(uint32, repeated, tag = "3")]
    pub offsets: ::prost::alloc::vec::Vec<u32>,
}
/// What an acknowledgement stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Durability {
    /// As the file says; a file that says nothing: REPLICATED.
    Default = 0,
    /// On every current replica, at least `min_copies`; survives the death of any process.
    Replicated = 1,
    /// The same and fsynced on each of them; survives power loss of all.
    Disk = 2,
}
impl Durability {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Default => "DURABILITY_DEFAULT",
            Self::Replicated => "DURABILITY_REPLICATED",
            Self::Disk => "DURABILITY_DISK",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "DURABILITY_DEFAULT" => Some(Self::Default),
            "DURABILITY_REPLICATED" => Some(Self::Replicated),
            "DURABILITY_DISK" => Some(Self::Disk),
            _ => None,
        }
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct StatusRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
}
/// Chunks by health. Each chunk is counted once, except in `total`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ChunkHealth {
    #[prost(uint64, tag = "1")]
    pub total: u64,
    /// As many live, current copies as the goal says (or more).
    #[prost(uint64, tag = "2")]
    pub full: u64,
    #[prost(uint64, tag = "3")]
    pub under_replicated: u64,
    /// One live copy of a goal above one.
    #[prost(uint64, tag = "4")]
    pub endangered: u64,
    /// No live copy.
    #[prost(uint64, tag = "5")]
    pub unavailable: u64,
    /// Copies being made now.
    #[prost(uint64, tag = "6")]
    pub cloning: u64,
}
/// A loss of servers or copies, and how it healed. Spans are milliseconds from `begun_at`.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Incident {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub begun_at: u64,
    /// What happened, for people.
    #[prost(string, tag = "3")]
    pub cause: ::prost::alloc::string::String,
    /// From the last sign of life to the verdict.
    #[prost(uint32, tag = "4")]
    pub detected_ms: u32,
    /// From the verdict on: first copy begun, no chunk below two copies, all full. Absent: not yet.
    #[prost(uint32, optional, tag = "5")]
    pub first_clone_ms: ::core::option::Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    pub two_copies_ms: ::core::option::Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    pub full_ms: ::core::option::Option<u32>,
    #[prost(uint64, tag = "8")]
    pub chunks: u64,
    #[prost(uint64, tag = "9")]
    pub bytes: u64,
    /// Servers lost.
    #[prost(uint32, repeated, tag = "10")]
    pub servers: ::prost::alloc::vec::Vec<u32>,
    /// Over: all are full, or the lost servers came back.
    #[prost(bool, tag = "11")]
    pub closed: bool,
}
/// How equally full the servers are, and what is done about it. A server's fullness is what it is
/// listed with (`ServerStatus.stored_bytes`), of that and what is free on it; servers that are dead,
/// draining or away do not count.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct BalanceStatus {
    /// Copies are moved until all are equally full, or as far as that goes.
    #[prost(bool, tag = "1")]
    pub active: bool,
    /// Because somebody asked.
    #[prost(bool, tag = "2")]
    pub asked: bool,
    /// In thousandths.
    #[prost(uint32, tag = "3")]
    pub emptiest_permille: u32,
    #[prost(uint32, tag = "4")]
    pub fullest_permille: u32,
    /// No server is off its share by more than a twentieth of it, or one full chunk.
    #[prost(bool, tag = "5")]
    pub balanced: bool,
    /// Copies on their way, for the sake of fullness or of nodes and zones.
    #[prost(uint64, tag = "6")]
    pub moving: u64,
    /// What fuller servers hold above their shares.
    #[prost(uint64, tag = "7")]
    pub bytes_left: u64,
    /// Since this master leads.
    #[prost(uint64, tag = "8")]
    pub moved_chunks: u64,
    #[prost(uint64, tag = "9")]
    pub moved_bytes: u64,
    /// Why nothing is begun though something is to be done, for people; empty: it goes on, or is done.
    #[prost(string, tag = "10")]
    pub waits_for: ::prost::alloc::string::String,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StatusResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub commit_sequence: u64,
    /// Address of the leader.
    #[prost(string, tag = "4")]
    pub leader: ::prost::alloc::string::String,
    /// Serving, or why not yet.
    #[prost(string, tag = "5")]
    pub phase: ::prost::alloc::string::String,
    #[prost(uint64, tag = "6")]
    pub files: u64,
    #[prost(uint64, tag = "7")]
    pub directories: u64,
    #[prost(message, optional, tag = "8")]
    pub chunks: ::core::option::Option<ChunkHealth>,
    #[prost(uint64, tag = "9")]
    pub total_bytes: u64,
    #[prost(uint64, tag = "10")]
    pub free_bytes: u64,
    /// Bytes of all files, counted once.
    #[prost(uint64, tag = "11")]
    pub logical_bytes: u64,
    #[prost(message, repeated, tag = "12")]
    pub servers: ::prost::alloc::vec::Vec<ServerStatus>,
    /// Newest first, at most 64.
    #[prost(message, repeated, tag = "13")]
    pub incidents: ::prost::alloc::vec::Vec<Incident>,
    #[prost(bool, tag = "14")]
    pub rollback_mode: bool,
    #[prost(uint32, tag = "15")]
    pub chunk_size: u32,
    /// Milliseconds since this master began to lead.
    #[prost(uint64, tag = "16")]
    pub leading_ms: u64,
    /// Resident memory of the master, in bytes.
    #[prost(uint64, tag = "17")]
    pub memory_bytes: u64,
    /// Entries of the trash: what it holds is in `chunks`, and not in `files`, `directories` and
    /// `logical_bytes`.
    #[prost(uint64, tag = "18")]
    pub trash_entries: u64,
    #[prost(uint64, tag = "19")]
    pub trash_files: u64,
    #[prost(uint64, tag = "20")]
    pub trash_directories: u64,
    /// Bytes of the files in the trash, counted once, as of the last round of counting.
    #[prost(uint64, tag = "21")]
    pub trash_bytes: u64,
    /// How long what is removed stays in the trash, in milliseconds; 0: nothing goes there.
    #[prost(uint64, tag = "22")]
    pub trash_period_ms: u64,
    #[prost(message, optional, tag = "23")]
    pub balance: ::core::option::Option<BalanceStatus>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ServerStatus {
    #[prost(message, optional, tag = "1")]
    pub location: ::core::option::Option<ServerLocation>,
    #[prost(enumeration = "ServerState", tag = "2")]
    pub state: i32,
    /// Milliseconds since the last heartbeat.
    #[prost(uint32, tag = "3")]
    pub silent_ms: u32,
    #[prost(uint64, tag = "4")]
    pub total_bytes: u64,
    #[prost(uint64, tag = "5")]
    pub free_bytes: u64,
    /// Replicas that it holds and should.
    #[prost(uint64, tag = "6")]
    pub chunks: u64,
    /// Why it is in its state, for people.
    #[prost(string, tag = "7")]
    pub reason: ::prost::alloc::string::String,
    /// Milliseconds in this state.
    #[prost(uint64, tag = "8")]
    pub since_ms: u64,
    #[prost(message, repeated, tag = "9")]
    pub volumes: ::prost::alloc::vec::Vec<server_status::VolumeState>,
    #[prost(string, tag = "10")]
    pub software: ::prost::alloc::string::String,
    /// It is being emptied, whatever its state.
    #[prost(bool, tag = "20")]
    pub draining: bool,
    /// Draining: chunks that still list it as a member.
    #[prost(uint64, tag = "21")]
    pub chunks_left: u64,
    /// Draining: no chunk lists it, none needs what it has: it can be taken away for good.
    #[prost(bool, tag = "22")]
    pub may_be_removed: bool,
    /// Draining: why it does not go on, for people; empty: it does, or is done.
    #[prost(string, tag = "23")]
    pub drain_stuck: ::prost::alloc::string::String,
    /// Recorded bytes of the chunks that list it as a member.
    #[prost(uint64, tag = "24")]
    pub stored_bytes: u64,
}
/// Nested message and enum types in `ServerStatus`.
pub mod server_status {
    #[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
    pub struct VolumeState {
        #[prost(uint64, tag = "1")]
        pub total_bytes: u64,
        #[prost(uint64, tag = "2")]
        pub free_bytes: u64,
        /// Out of service; why.
        #[prost(string, tag = "3")]
        pub failing: ::prost::alloc::string::String,
        #[prost(bytes = "bytes", tag = "4")]
        pub uuid: ::prost::bytes::Bytes,
        /// Where its server has it.
        #[prost(string, tag = "5")]
        pub dir: ::prost::alloc::string::String,
        /// Replicas on it, as its server counts them.
        #[prost(uint32, tag = "6")]
        pub chunks: u32,
        /// Age of the oldest disk operation under way.
        #[prost(uint32, tag = "7")]
        pub oldest_io_ms: u32,
        /// As the volume's server last told.
        #[prost(message, optional, tag = "10")]
        pub scrub: ::core::option::Option<super::ScrubState>,
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListServersRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListServersResponse {
    #[prost(message, repeated, tag = "1")]
    pub servers: ::prost::alloc::vec::Vec<ServerStatus>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct FsckRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// Only below this path; empty: everything.
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// At most so many problems in the answer; 0: 1 000.
    #[prost(uint32, tag = "3")]
    pub limit: u32,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct FsckProblem {
    /// Stable name: UNDER_REPLICATED, UNAVAILABLE, DAMAGED, MISPLACED, LENGTH_MISMATCH, ORPHAN, STALE.
    #[prost(string, tag = "1")]
    pub kind: ::prost::alloc::string::String,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    #[prost(uint64, tag = "4")]
    pub handle: u64,
    /// What is wrong, for people.
    #[prost(string, tag = "5")]
    pub text: ::prost::alloc::string::String,
    /// Data cannot be read now.
    #[prost(bool, tag = "6")]
    pub severe: bool,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct FsckResponse {
    #[prost(uint64, tag = "1")]
    pub files: u64,
    #[prost(uint64, tag = "2")]
    pub directories: u64,
    #[prost(message, optional, tag = "3")]
    pub chunks: ::core::option::Option<ChunkHealth>,
    #[prost(message, repeated, tag = "4")]
    pub problems: ::prost::alloc::vec::Vec<FsckProblem>,
    /// All problems, also those over the limit.
    #[prost(uint64, tag = "5")]
    pub problem_count: u64,
    /// Files in the trash: checked when the path is the root, and not counted in `files`.
    #[prost(uint64, tag = "6")]
    pub trash_files: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PodState {
    #[prost(string, tag = "1")]
    pub pod: ::prost::alloc::string::String,
    #[prost(string, tag = "2")]
    pub pod_uid: ::prost::alloc::string::String,
    #[prost(string, tag = "3")]
    pub node: ::prost::alloc::string::String,
    #[prost(string, tag = "4")]
    pub zone: ::prost::alloc::string::String,
    #[prost(bool, tag = "5")]
    pub ready: bool,
    /// Deletion was asked for.
    #[prost(bool, tag = "6")]
    pub terminating: bool,
    /// The pod does not exist any more.
    #[prost(bool, tag = "7")]
    pub deleted: bool,
    #[prost(bool, tag = "8")]
    pub node_cordoned: bool,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct SetPodStatesRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(message, repeated, tag = "2")]
    pub pods: ::prost::alloc::vec::Vec<PodState>,
    /// `pods` is all there is: pods not in it do not exist.
    #[prost(bool, tag = "3")]
    pub complete: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetPodStatesResponse {}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetDrainRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint32, tag = "2")]
    pub server: u32,
    #[prost(bool, tag = "3")]
    pub drain: bool,
    /// Also where the servers that stay are too few or too full: what can be moved is moved, and files
    /// of a higher goal than there are servers left stay under-replicated or where they are.
    #[prost(bool, tag = "4")]
    pub force: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetDrainResponse {
    /// Chunks that still list the server as a member.
    #[prost(uint64, tag = "1")]
    pub chunks_left: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RebalanceRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// Stops what was begun, asked for or not.
    #[prost(bool, tag = "2")]
    pub stop: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RebalanceResponse {
    #[prost(message, optional, tag = "1")]
    pub balance: ::core::option::Option<BalanceStatus>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetMaintenanceRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint32, tag = "2")]
    pub server: u32,
    #[prost(bool, tag = "3")]
    pub maintenance: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetMaintenanceResponse {
    /// Chunks that have no other live copy: the server should not go.
    #[prost(uint64, tag = "1")]
    pub endangered: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct EndRollbackRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// Do it.
    #[prost(bool, tag = "2")]
    pub confirmed: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct EndRollbackResponse {
    /// The cluster is in rollback mode, after this call.
    #[prost(bool, tag = "1")]
    pub rollback_mode: bool,
    /// Chunks that servers hold and no file has, as far as servers have reported, and replicas of them.
    #[prost(uint64, tag = "2")]
    pub unknown_chunks: u64,
    #[prost(uint64, tag = "3")]
    pub unknown_replicas: u64,
    /// Servers that have not reported: what they hold is not counted.
    #[prost(uint32, tag = "4")]
    pub silent_servers: u32,
}
/// State of a server in the failure detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum ServerState {
    Unspecified = 0,
    Alive = 1,
    /// Silent or disconnected, not yet long enough.
    Suspect = 2,
    Dead = 3,
    /// Being emptied.
    Draining = 4,
    /// Away on purpose for a short time.
    Maintenance = 5,
}
impl ServerState {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "SERVER_STATE_UNSPECIFIED",
            Self::Alive => "SERVER_STATE_ALIVE",
            Self::Suspect => "SERVER_STATE_SUSPECT",
            Self::Dead => "SERVER_STATE_DEAD",
            Self::Draining => "SERVER_STATE_DRAINING",
            Self::Maintenance => "SERVER_STATE_MAINTENANCE",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "SERVER_STATE_UNSPECIFIED" => Some(Self::Unspecified),
            "SERVER_STATE_ALIVE" => Some(Self::Alive),
            "SERVER_STATE_SUSPECT" => Some(Self::Suspect),
            "SERVER_STATE_DEAD" => Some(Self::Dead),
            "SERVER_STATE_DRAINING" => Some(Self::Draining),
            "SERVER_STATE_MAINTENANCE" => Some(Self::Maintenance),
            _ => None,
        }
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Bulk {
    #[prost(bytes = "bytes", tag = "1")]
    pub head: ::prost::bytes::Bytes,
    /// At most 1 MiB.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: ::prost::bytes::Bytes,
}
/// The first message of each data stream names the cluster and the protocol.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct StreamHeader {
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint32, tag = "2")]
    pub protocol_version: u32,
    /// Highest epoch the caller has seen.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
}
/// Up a push stream: from the writer to the primary, and from each member to the next.
///
/// Data flow and control flow are apart (GFS paper §3): slices go down the chain and are held;
/// nothing is applied until all members hold it; then the primary gives it a serial and sends Apply
/// down the same chain.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PushRequest {
    #[prost(oneof = "push_request::Body", tags = "1, 2, 3, 4, 5, 6")]
    pub body: ::core::option::Option<push_request::Body>,
}
/// Nested message and enum types in `PushRequest`.
pub mod push_request {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Open(super::PushOpen),
        #[prost(message, tag = "2")]
        Slice(super::Slice),
        #[prost(message, tag = "3")]
        Commit(super::Commit),
        #[prost(message, tag = "4")]
        Apply(super::Apply),
        #[prost(message, tag = "5")]
        Finish(super::Finish),
        #[prost(message, tag = "6")]
        Flush(super::Flush),
    }
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PushOpen {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<StreamHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// The client id of the writer.
    #[prost(uint64, tag = "4")]
    pub writer: u64,
    /// Members of the chunk behind the receiver, in order; the first of them is dialled next.
    #[prost(message, repeated, tag = "5")]
    pub chain: ::prost::alloc::vec::Vec<ServerLocation>,
    /// File offset of the chunk's first byte: a receiver that knows another one refuses.
    #[prost(uint64, tag = "6")]
    pub start: u64,
    /// Position of the receiver in the chain: 0 is the primary.
    #[prost(uint32, tag = "7")]
    pub position: u32,
    /// Highest sequence of this writer that it knows acknowledged at this chunk; 0: none.
    #[prost(uint64, tag = "8")]
    pub acknowledged: u64,
    /// Highest sequence it ever told a primary of this chunk to apply: what lies between the two may
    /// have been applied. A primary that cannot tell, because it remembers nothing of a writer that
    /// was forgotten, refuses with OUTCOME_UNKNOWN; if nothing is in doubt it goes on behind
    /// `acknowledged`.
    #[prost(uint64, tag = "9")]
    pub committed: u64,
    /// Bytes of the largest mutation that waits to be sent. Each member reserves at least so much for
    /// the stream, or refuses it: with NO_CREDIT where there is no room now, with OUT_OF_RANGE where
    /// there never is. 0: nothing in particular.
    #[prost(uint32, tag = "10")]
    pub need: u32,
}
/// A mutation, or a piece of one. Payload: `length` bytes.
///
/// A mutation of more than 1 MiB travels as several slices of one sequence: each but the last has
/// the mark `more` and is 1 MiB long. It is applied whole or not at all. At most a quarter of a chunk.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Slice {
    /// The writer's counter of mutations of this chunk, from 1, without gaps.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Where it goes within the chunk. With `append`: its place within the mutation.
    #[prost(uint32, tag = "2")]
    pub offset: u32,
    #[prost(uint32, tag = "3")]
    pub length: u32,
    /// CRC-32C of each part: the slice cut at block borders (64 KiB) of the chunk; with `append`, at
    /// multiples of 64 KiB of the mutation.
    #[prost(fixed32, repeated, tag = "4")]
    pub sums: ::prost::alloc::vec::Vec<u32>,
    /// Apply it and all before it as soon as every member holds them. Otherwise they wait for a later
    /// slice with this mark, or for Commit. With `more`: ignored.
    #[prost(bool, tag = "5")]
    pub commit: bool,
    /// Record append (GFS paper 3.3): the primary chooses the offset. Where it does not fit into the
    /// chunk the primary seals that, short, and answers Finished: it and all after it were not and
    /// will not be applied to this chunk.
    #[prost(bool, tag = "6")]
    pub append: bool,
    /// The mutation goes on with the next slice.
    #[prost(bool, tag = "7")]
    pub more: bool,
}
/// Writer to primary: apply what was pushed up to this sequence, as if it bore the mark `commit`.
/// Passed down the chain: members answer Held for what is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Commit {
    #[prost(uint64, tag = "1")]
    pub through: u64,
}
/// Primary to members.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Apply {
    /// Order within the version, from 1, no gaps.
    #[prost(uint64, tag = "1")]
    pub serial: u64,
    #[prost(uint64, tag = "2")]
    pub writer: u64,
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Confirmed length of the chunk so far: every byte below it is acknowledged.
    #[prost(uint32, tag = "4")]
    pub confirmed: u32,
    /// Where the mutation goes within the chunk.
    #[prost(uint32, tag = "5")]
    pub offset: u32,
    /// Every mutation through this serial is acknowledged.
    #[prost(uint64, tag = "6")]
    pub acknowledged: u64,
}
/// Writer to primary: no more mutations from me; confirm the length. The primary passes it down the
/// chain when all is applied, so that each member knows its bytes confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Finish {
    /// Set by the primary on its way down: confirmed length of the chunk.
    #[prost(uint32, tag = "1")]
    pub confirmed: u32,
}
/// Writer to primary: everything committed so far is to be on disk. When it is applied the primary
/// passes it down the chain; each member answers Flushed when what it has applied is fsynced there
/// and below.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Flush {
    /// Counts within the stream, from 1.
    #[prost(uint64, tag = "1")]
    pub token: u64,
}
/// Down a push stream.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PushReply {
    #[prost(oneof = "push_reply::Body", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub body: ::core::option::Option<push_reply::Body>,
}
/// Nested message and enum types in `PushReply`.
pub mod push_reply {
    #[derive(Clone, PartialEq, Eq, Hash, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Opened(super::PushOpened),
        #[prost(message, tag = "2")]
        Held(super::Held),
        #[prost(message, tag = "3")]
        Applied(super::Applied),
        #[prost(message, tag = "4")]
        Acknowledged(super::Acknowledged),
        #[prost(message, tag = "5")]
        Resend(super::Resend),
        #[prost(message, tag = "6")]
        Finished(super::Finished),
        #[prost(message, tag = "7")]
        Failed(super::PushFailed),
        #[prost(message, tag = "8")]
        Flushed(super::Flushed),
    }
}
/// The stream is open on all members down from here, with credit for this many bytes in flight.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PushOpened {
    #[prost(uint32, tag = "1")]
    pub credit: u32,
    /// Bytes the replica has, applied.
    #[prost(uint32, tag = "2")]
    pub length: u32,
    /// Last sequence of this writer that is applied; 0: none.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Where its last mutations went, the one of `sequence` last; at most 8.
    #[prost(uint32, repeated, tag = "4")]
    pub offsets: ::prost::alloc::vec::Vec<u32>,
}
/// Between members: every one from here down holds the slices up to this sequence. Said once
/// something not yet said is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Held {
    #[prost(uint64, tag = "1")]
    pub through: u64,
}
/// Between members: every one from here down has applied up to this serial. May answer several at
/// once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Applied {
    #[prost(uint64, tag = "1")]
    pub through: u64,
}
/// Primary to writer: applied on every member. The level is REPLICATED.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Acknowledged {
    #[prost(uint64, tag = "1")]
    pub through: u64,
    /// Confirmed length of the chunk.
    #[prost(uint32, tag = "2")]
    pub length: u32,
    /// Where this writer's mutations newly acknowledged went, in their order.
    #[prost(uint32, repeated, tag = "3")]
    pub offsets: ::prost::alloc::vec::Vec<u32>,
}
/// A member no longer holds it: push it again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Resend {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    #[prost(uint32, tag = "2")]
    pub server: u32,
}
/// Primary to writer: all is applied and nothing more is accepted from this writer at this version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Finished {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(uint32, tag = "2")]
    pub length: u32,
    #[prost(uint64, tag = "3")]
    pub serial: u64,
}
/// Of every member from the sender down: what was applied when Flush came is fsynced. To a writer:
/// the level DISK for all acknowledged before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Flushed {
    #[prost(uint64, tag = "1")]
    pub token: u64,
}
/// The stream ends. What was not acknowledged is unknown: Recover, then push again with the same
/// sequences.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PushFailed {
    #[prost(message, optional, tag = "1")]
    pub error: ::core::option::Option<ErrorDetail>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ReadRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<StreamHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    /// The version of the location used; another one is refused with STALE_VERSION.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Within the chunk.
    #[prost(uint32, tag = "4")]
    pub offset: u32,
    /// At most so many bytes; fewer come where the chunk ends.
    #[prost(uint32, tag = "5")]
    pub length: u32,
}
/// Payload: the bytes, at most 1 MiB.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ReadReply {
    #[prost(uint32, tag = "1")]
    pub offset: u32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
    /// CRC-32C of each part: the bytes cut at block borders (64 KiB) of the chunk.
    #[prost(fixed32, repeated, tag = "3")]
    pub sums: ::prost::alloc::vec::Vec<u32>,
    /// Length of the chunk as confirmed: in the first reply.
    #[prost(uint32, tag = "4")]
    pub chunk_length: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CopyRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<StreamHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    /// The version the caller prepares (Equalize) or the one planned from (Clone).
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Only the state and the checksums.
    #[prost(bool, tag = "4")]
    pub checksums_only: bool,
    /// Blocks wanted; none: all.
    #[prost(message, repeated, tag = "5")]
    pub blocks: ::prost::alloc::vec::Vec<BlockRange>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CopyReply {
    #[prost(oneof = "copy_reply::Body", tags = "1, 2, 3")]
    pub body: ::core::option::Option<copy_reply::Body>,
}
/// Nested message and enum types in `CopyReply`.
pub mod copy_reply {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Header(super::CopyHeader),
        #[prost(message, tag = "2")]
        Blocks(super::CopyBlocks),
        /// These blocks do not match their checksums here: take them elsewhere.
        #[prost(message, tag = "3")]
        Damaged(super::BlockRange),
    }
}
/// The first reply.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CopyHeader {
    #[prost(uint64, tag = "1")]
    pub promised: u64,
    #[prost(uint64, tag = "2")]
    pub complete: u64,
    #[prost(uint32, tag = "3")]
    pub length: u32,
    #[prost(uint64, tag = "4")]
    pub serial: u64,
    /// Of every block up to `length`; the last one of its part below `length`.
    #[prost(fixed32, repeated, tag = "5")]
    pub sums: ::prost::alloc::vec::Vec<u32>,
    #[prost(message, repeated, tag = "6")]
    pub window: ::prost::alloc::vec::Vec<WindowEntry>,
    #[prost(uint64, tag = "7")]
    pub inode: u64,
    #[prost(uint32, tag = "8")]
    pub index: u32,
    #[prost(uint64, tag = "9")]
    pub start: u64,
    #[prost(bool, tag = "10")]
    pub sealed: bool,
    /// A writer was dropped from `window` at some time.
    #[prost(bool, tag = "11")]
    pub forgot: bool,
}
/// Payload: whole blocks (the last one cut at `length`), at most 1 MiB.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CopyBlocks {
    #[prost(uint32, tag = "1")]
    pub first: u32,
    #[prost(uint32, tag = "2")]
    pub length: u32,
    #[prost(fixed32, repeated, tag = "3")]
    pub sums: ::prost::alloc::vec::Vec<u32>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfirmedRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<StreamHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConfirmedResponse {
    #[prost(uint32, tag = "1")]
    pub length: u32,
    /// Whether the answering server is the primary at this version.
    #[prost(bool, tag = "2")]
    pub primary: bool,
    /// Every mutation through this serial is acknowledged.
    #[prost(uint64, tag = "3")]
    pub serial: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct OutcomesRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<StreamHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    /// The version of the location used; another one is refused with STALE_VERSION.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// The client id of the writer.
    #[prost(uint64, tag = "4")]
    pub writer: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct OutcomesResponse {
    /// Last sequence of this writer that was applied; 0: none is remembered.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Where its last mutations went, the one of `sequence` last; at most 8.
    #[prost(uint32, repeated, tag = "2")]
    pub offsets: ::prost::alloc::vec::Vec<u32>,
    /// A writer was dropped from memory at some time: one that is not remembered may be it.
    #[prost(bool, tag = "3")]
    pub forgot: bool,
    /// No more records at this version, because it is sealed or full to its last byte: what was not
    /// applied never will be, in this chunk.
    #[prost(bool, tag = "4")]
    pub sealed: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConnectRequest {
    /// `cluster_id` may be empty: whichever cluster answers. If set, another one refuses.
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// `gfs_types::PROTOCOL_VERSION` of the client; another one is refused with WRONG_PROTOCOL.
    #[prost(uint32, tag = "2")]
    pub protocol_version: u32,
    /// Where the client runs, so that the nearest replicas come first. Optional.
    #[prost(message, optional, tag = "3")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ConnectResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint32, tag = "2")]
    pub protocol_version: u32,
    /// Epoch of the leader, or the highest that a follower knows.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// Bytes of a full chunk, fixed for the cluster.
    #[prost(uint32, tag = "4")]
    pub chunk_size: u32,
    /// Largest slice that may be pushed, in bytes.
    #[prost(uint32, tag = "5")]
    pub max_slice: u32,
    /// gRPC addresses of all masters, the leader first if known.
    #[prost(string, repeated, tag = "6")]
    pub master_addresses: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Whether the answering master leads.
    #[prost(bool, tag = "7")]
    pub leader: bool,
    /// Features' level of the cluster: nothing newer is written below it.
    #[prost(uint32, tag = "8")]
    pub cluster_level: u32,
}
/// A file or directory. Set by the master.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Attributes {
    /// Never reused: tells two files of the same name apart.
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(enumeration = "FileType", tag = "2")]
    pub r#type: i32,
    /// Bytes of a file as of the last close, sync or seal; 0 for a directory.
    #[prost(uint64, tag = "3")]
    pub length: u64,
    /// Milliseconds since 1970-01-01 UTC of the last change recorded by the master.
    #[prost(uint64, tag = "4")]
    pub modified_at: u64,
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// Redundancy of a file; what new files of a directory get.
    #[prost(message, optional, tag = "6")]
    pub goal: ::core::option::Option<Goal>,
    #[prost(enumeration = "Durability", tag = "7")]
    pub durability: i32,
    /// Entries of a directory.
    #[prost(uint64, tag = "8")]
    pub entries: u64,
    /// Extents of a file.
    #[prost(uint32, tag = "9")]
    pub chunks: u32,
    /// A client holds the right to write: the length may lag behind its acknowledged writes.
    #[prost(bool, tag = "10")]
    pub open_for_write: bool,
}
/// A name and what it is bound to.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Entry {
    #[prost(string, tag = "1")]
    pub name: ::prost::alloc::string::String,
    #[prost(message, optional, tag = "2")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct StatRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// If not 0, instead of `path`.
    #[prost(uint64, tag = "3")]
    pub inode: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct StatResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
    /// Epoch of the answering leader.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Of a file that is open for write: its last chunk, so that the caller can ask the primary for
    /// the confirmed length.
    #[prost(message, optional, tag = "3")]
    pub last: ::core::option::Option<ChunkLocation>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// Names after this one; empty: from the first.
    #[prost(string, tag = "3")]
    pub after: ::prost::alloc::string::String,
    /// At most so many entries; 0: as many as the master likes (1000), never more than 10 000.
    #[prost(uint32, tag = "4")]
    pub limit: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListResponse {
    #[prost(message, repeated, tag = "1")]
    pub entries: ::prost::alloc::vec::Vec<Entry>,
    /// More follow: ask again after the last name.
    #[prost(bool, tag = "2")]
    pub more: bool,
    /// The directory's inode: changes between pages if it was replaced.
    #[prost(uint64, tag = "3")]
    pub inode: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct MkdirRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// Makes missing parents, and an existing directory is no error.
    #[prost(bool, tag = "3")]
    pub parents: bool,
    /// If not 0: the inode the caller saw as the parent; another one is CONFLICT.
    #[prost(uint64, tag = "4")]
    pub parent_inode: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct MkdirResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CreateRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// An existing file is replaced, atomically, when the new one is closed: until then the old one
    /// stays under the name. Without it an existing name is ALREADY_EXISTS. Later.
    #[prost(bool, tag = "3")]
    pub replace: bool,
    /// Redundancy; absent: as the directory says.
    #[prost(message, optional, tag = "4")]
    pub goal: ::core::option::Option<Goal>,
    #[prost(enumeration = "Durability", tag = "5")]
    pub durability: i32,
    /// Makes missing parent directories.
    #[prost(bool, tag = "6")]
    pub parents: bool,
    /// Only the name: no chunk, no right to write.
    #[prost(bool, tag = "7")]
    pub empty: bool,
    /// If not 0: the inode the caller saw as the parent; another one is CONFLICT.
    #[prost(uint64, tag = "8")]
    pub parent_inode: u64,
    /// Inode the caller saw under the name (with `replace`); 0: none.
    #[prost(uint64, tag = "9")]
    pub replaced_inode: u64,
    /// Where the writer runs, so that the primary can be near.
    #[prost(message, optional, tag = "10")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CreateResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
    /// The first chunk, with a lease; absent with `empty`.
    #[prost(message, optional, tag = "2")]
    pub chunk: ::core::option::Option<ChunkLocation>,
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct OpenRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// If not 0, instead of `path`.
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    /// Asks for the right to write at the end: one writer at a time (BUSY otherwise). The last chunk
    /// gets a new version and a lease if it has room.
    #[prost(bool, tag = "4")]
    pub write: bool,
    /// Asks for the right to append records, shared with all others who append (BUSY while a client
    /// holds the right to write, and the other way round). Not together with `write`.
    #[prost(bool, tag = "7")]
    pub append: bool,
    /// How many locations to send at once, from the first chunk on; 0: 16.
    #[prost(uint32, tag = "5")]
    pub locations: u32,
    #[prost(message, optional, tag = "6")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct OpenResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
    /// The first extents.
    #[prost(message, repeated, tag = "2")]
    pub chunks: ::prost::alloc::vec::Vec<ChunkLocation>,
    /// With `write` or `append`: the open last chunk with its lease; absent when the file is empty or its last
    /// chunk is full: Allocate then.
    #[prost(message, optional, tag = "3")]
    pub last: ::core::option::Option<ChunkLocation>,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LocateRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// File offset from which on locations are wanted.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// At most so many; 0: 16, never more than 1 000.
    #[prost(uint32, tag = "4")]
    pub limit: u32,
    #[prost(message, optional, tag = "5")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct LocateResponse {
    /// Attributes as of now.
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
    #[prost(message, repeated, tag = "2")]
    pub chunks: ::prost::alloc::vec::Vec<ChunkLocation>,
    /// How long the answer may be used without asking again, in milliseconds.
    #[prost(uint32, tag = "3")]
    pub valid_ms: u32,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct AllocateRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// Position of the chunk wanted: one past the last extent.
    #[prost(uint32, tag = "3")]
    pub index: u32,
    /// The predecessor as its primary confirmed it, if it is full or was finished; else absent and
    /// the new chunk is a spare until then.
    #[prost(message, optional, tag = "4")]
    pub finished: ::core::option::Option<FinishedChunk>,
    #[prost(message, optional, tag = "5")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct AllocateResponse {
    #[prost(message, optional, tag = "1")]
    pub chunk: ::core::option::Option<ChunkLocation>,
}
/// What the primary confirmed of a chunk when it stopped accepting (or acknowledged it full). A
/// client only carries it; refused if the chunk is at another version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct FinishedChunk {
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Bytes.
    #[prost(uint32, tag = "3")]
    pub length: u32,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LeaseRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// File offset, below the file's length.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(message, optional, tag = "4")]
    pub place: ::core::option::Option<Place>,
    /// The version at which the caller failed to write the chunk; 0: it did not. If the chunk is still
    /// at it the lease comes with a new one.
    #[prost(uint64, tag = "5")]
    pub version: u64,
    /// Numbers of servers that the caller or a primary could not reach. Believed of those who were
    /// given the lease before.
    #[prost(uint32, repeated, tag = "6")]
    pub unreachable: ::prost::alloc::vec::Vec<u32>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct LeaseResponse {
    #[prost(message, optional, tag = "1")]
    pub chunk: ::core::option::Option<ChunkLocation>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RecoverRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    #[prost(uint64, tag = "3")]
    pub handle: u64,
    /// The version at which the writer failed. If the chunk is beyond it already, its present
    /// location is the answer.
    #[prost(uint64, tag = "4")]
    pub version: u64,
    /// Numbers of servers that the writer or a primary could not reach.
    #[prost(uint32, repeated, tag = "5")]
    pub unreachable: ::prost::alloc::vec::Vec<u32>,
    #[prost(message, optional, tag = "6")]
    pub place: ::core::option::Option<Place>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct RecoverResponse {
    #[prost(message, optional, tag = "1")]
    pub chunk: ::core::option::Option<ChunkLocation>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SyncRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// The last chunk as confirmed by its primary.
    #[prost(message, optional, tag = "3")]
    pub last: ::core::option::Option<FinishedChunk>,
    /// Nothing was written since the last call of this client for the file, nor is to be: it only
    /// renews its right. What a primary said of its absence stays true.
    #[prost(bool, tag = "4")]
    pub idle: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SyncResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CloseRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// Chunks confirmed since the last Allocate or Sync, in order, the last one last. Absent: nothing
    /// was written.
    #[prost(message, repeated, tag = "3")]
    pub finished: ::prost::alloc::vec::Vec<FinishedChunk>,
    /// Gives the file up: its name is removed and its chunks collected, as if never created. Only for
    /// a file that this client created and has not closed.
    #[prost(bool, tag = "4")]
    pub abandon: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CloseResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RenameRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub from: ::prost::alloc::string::String,
    #[prost(string, tag = "3")]
    pub to: ::prost::alloc::string::String,
    /// Inode the caller saw under `from`; 0: any.
    #[prost(uint64, tag = "4")]
    pub inode: u64,
    /// A file under `to` is replaced if it is this inode; 0: `to` must not exist, unless `replace`.
    #[prost(uint64, tag = "5")]
    pub replaced_inode: u64,
    /// Whatever file is under `to` is replaced (directories only when empty). It goes into the trash,
    /// as with Remove.
    #[prost(bool, tag = "6")]
    pub replace: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RenameResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RemoveRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    /// Inode the caller saw; 0: any.
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    /// A directory with all that is in it.
    #[prost(bool, tag = "4")]
    pub recursive: bool,
    /// Gone for good, instead of into the trash for the cluster's trash period.
    #[prost(bool, tag = "5")]
    pub skip_trash: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RemoveResponse {
    /// Files and directories removed.
    #[prost(uint64, tag = "1")]
    pub removed: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetAttributesRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    #[prost(message, optional, tag = "4")]
    pub goal: ::core::option::Option<Goal>,
    #[prost(enumeration = "Durability", tag = "5")]
    pub durability: i32,
    /// All that is below a directory as well. Later: as yet the caller sets each by itself.
    #[prost(bool, tag = "6")]
    pub recursive: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct SetAttributesResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct TruncateRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// If `inode` is 0.
    #[prost(string, tag = "4")]
    pub path: ::prost::alloc::string::String,
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// New length of the file, in bytes.
    #[prost(uint64, tag = "3")]
    pub length: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct TruncateResponse {
    #[prost(message, optional, tag = "1")]
    pub attributes: ::core::option::Option<Attributes>,
}
/// What one Remove (or the replacing of one name) took away: a file, or a directory with all that
/// was in it. Nobody reaches it but through the trash; its chunks are kept, and repaired, like any.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct TrashEntry {
    /// Path it had.
    #[prost(string, tag = "1")]
    pub path: ::prost::alloc::string::String,
    /// Names it from here on: its inode.
    #[prost(message, optional, tag = "2")]
    pub attributes: ::core::option::Option<Attributes>,
    /// Milliseconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "3")]
    pub deleted_at: u64,
    /// When it will be given up; the same unit.
    #[prost(uint64, tag = "4")]
    pub expires_at: u64,
    /// Files in it: 1 for a file.
    #[prost(uint64, tag = "5")]
    pub files: u64,
    /// Directories in it, itself included: 0 for a file.
    #[prost(uint64, tag = "6")]
    pub directories: u64,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ListTrashRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// Entries after this inode; 0: from the first.
    #[prost(uint64, tag = "2")]
    pub after: u64,
    /// At most so many entries; 0: as many as the master likes (1000), never more than 10 000.
    #[prost(uint32, tag = "3")]
    pub limit: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ListTrashResponse {
    #[prost(message, repeated, tag = "1")]
    pub entries: ::prost::alloc::vec::Vec<TrashEntry>,
    /// More follow: ask again after the last inode.
    #[prost(bool, tag = "2")]
    pub more: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RestoreTrashRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// The entry; NOT_FOUND if it is not in the trash (any more).
    #[prost(uint64, tag = "2")]
    pub inode: u64,
    /// Where to; empty: where it was. Missing parents are made. An existing name is ALREADY_EXISTS,
    /// and the entry stays in the trash.
    #[prost(string, tag = "3")]
    pub path: ::prost::alloc::string::String,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RestoreTrashResponse {
    /// What it is now, under its new name.
    #[prost(message, optional, tag = "1")]
    pub entry: ::core::option::Option<Entry>,
    /// The whole path.
    #[prost(string, tag = "2")]
    pub path: ::prost::alloc::string::String,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct EmptyTrashRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    /// These entries only, at most 32: NOT_FOUND, and nothing is given up, if one of them is not in
    /// the trash. None: all, the first to expire first, as many as fit into one transaction.
    #[prost(uint64, repeated, tag = "2")]
    pub inodes: ::prost::alloc::vec::Vec<u64>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct EmptyTrashResponse {
    /// Files and directories given up with this call.
    #[prost(uint64, tag = "1")]
    pub removed: u64,
    /// Entries are left: ask again. Only when all were meant.
    #[prost(bool, tag = "2")]
    pub more: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ReportDamageRequest {
    #[prost(message, optional, tag = "1")]
    pub header: ::core::option::Option<RequestHeader>,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// The server that sent the bytes.
    #[prost(uint32, tag = "4")]
    pub server: u32,
    #[prost(message, optional, tag = "5")]
    pub blocks: ::core::option::Option<BlockRange>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ReportDamageResponse {}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum FileType {
    Unspecified = 0,
    File = 1,
    Directory = 2,
}
impl FileType {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unspecified => "FILE_TYPE_UNSPECIFIED",
            Self::File => "FILE_TYPE_FILE",
            Self::Directory => "FILE_TYPE_DIRECTORY",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "FILE_TYPE_UNSPECIFIED" => Some(Self::Unspecified),
            "FILE_TYPE_FILE" => Some(Self::File),
            "FILE_TYPE_DIRECTORY" => Some(Self::Directory),
            _ => None,
        }
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ClusterRecord {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint32, tag = "3")]
    pub chunk_size: u32,
    #[prost(uint32, tag = "4")]
    pub cluster_level: u32,
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// Unknown chunks are quarantined, nothing is deleted, until an administrator ends it.
    #[prost(bool, tag = "6")]
    pub rollback_mode: bool,
    /// Goal of files whose directories say nothing.
    #[prost(uint32, tag = "7")]
    pub default_copies: u32,
    #[prost(uint32, tag = "8")]
    pub min_copies: u32,
    /// How long what is removed stays in the trash; 0: nothing goes there. Absent: 24 hours.
    #[prost(uint64, optional, tag = "9")]
    pub trash_period_ms: ::core::option::Option<u64>,
    /// The highest commit sequence that a server had heard when an administrator ended rollback mode:
    /// up to there it is no sign of another rollback.
    #[prost(uint64, tag = "10")]
    pub known_sequence: u64,
}
/// Next numbers to mint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Counters {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    #[prost(uint64, tag = "2")]
    pub handle: u64,
    #[prost(uint32, tag = "3")]
    pub server: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct EntryRecord {
    #[prost(uint64, tag = "1")]
    pub inode: u64,
    /// Present for a file.
    #[prost(message, optional, tag = "2")]
    pub file: ::core::option::Option<FileRecord>,
    /// Present for a directory.
    #[prost(message, optional, tag = "3")]
    pub directory: ::core::option::Option<DirectoryRecord>,
    #[prost(uint64, tag = "4")]
    pub modified_at: u64,
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// Present for what is in the trash (not for what lies below it).
    #[prost(message, optional, tag = "6")]
    pub trash: ::core::option::Option<TrashRecord>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct TrashRecord {
    /// Path it had.
    #[prost(string, tag = "1")]
    pub path: ::prost::alloc::string::String,
    /// Milliseconds since 1970-01-01 UTC.
    #[prost(uint64, tag = "2")]
    pub deleted_at: u64,
    /// When it is given up. A later change of the period does not change it.
    #[prost(uint64, tag = "3")]
    pub expires_at: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct DirectoryRecord {
    /// What new files below get; 0: as the parent.
    #[prost(uint32, tag = "1")]
    pub copies: u32,
    #[prost(enumeration = "Durability", tag = "2")]
    pub durability: i32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct FileRecord {
    /// Bytes of all extents, as last recorded.
    #[prost(uint64, tag = "1")]
    pub length: u64,
    /// 0: cluster default. What directories said was taken over when the file was made.
    #[prost(uint32, tag = "2")]
    pub copies: u32,
    #[prost(enumeration = "Durability", tag = "3")]
    pub durability: i32,
    /// The first 32 extents.
    #[prost(message, repeated, tag = "4")]
    pub extents: ::prost::alloc::vec::Vec<ExtentRecord>,
    /// How many there are in all.
    #[prost(uint32, tag = "5")]
    pub extent_count: u32,
    /// The next chunk, asked for early; no part of the file yet.
    #[prost(message, optional, tag = "6")]
    pub spare: ::core::option::Option<ExtentRecord>,
    /// Client that holds the right to write; 0: nobody.
    #[prost(uint64, tag = "7")]
    pub writer: u64,
    /// Clients that append records; at most 1 024, never together with `writer`.
    #[prost(uint64, repeated, tag = "8")]
    pub appenders: ::prost::alloc::vec::Vec<u64>,
    /// Extents that a truncation took away and that are still to be discarded, in pages of their own:
    /// the index that the first one had (a multiple of 32), and how many. As long as there are any the
    /// file does not grow.
    #[prost(uint32, tag = "9")]
    pub doomed_first: u32,
    #[prost(uint32, tag = "10")]
    pub doomed_count: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ExtentPage {
    #[prost(message, repeated, tag = "1")]
    pub extents: ::prost::alloc::vec::Vec<ExtentRecord>,
}
/// A chunk of a file, or a hole. A hole that is followed by a hole is as long as a chunk can be.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ExtentRecord {
    /// 0: a hole, no longer than a chunk.
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// 0 stands for 1: a fresh chunk costs no byte.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// A version change under way or to be repeated; 0: none.
    #[prost(uint64, tag = "3")]
    pub next: u64,
    /// Numbers of the servers that should hold it, the primary of the last grant first.
    #[prost(uint32, repeated, tag = "4")]
    pub members: ::prost::alloc::vec::Vec<u32>,
    /// Bytes, as recorded. Final when sealed. A full chunk is sealed, and so is a hole.
    #[prost(uint32, tag = "5")]
    pub length: u32,
    #[prost(bool, tag = "6")]
    pub sealed: bool,
    /// It took the place of a hole: at version 1 it begins as `length` zeros.
    #[prost(bool, tag = "7")]
    pub zeros: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ServerRecord {
    /// 16 bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub uuid: ::prost::bytes::Bytes,
    #[prost(string, repeated, tag = "2")]
    pub addresses: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    #[prost(message, optional, tag = "3")]
    pub place: ::core::option::Option<Place>,
    #[prost(bool, tag = "4")]
    pub draining: bool,
    /// Its number is not given again; what it held is not wanted.
    #[prost(bool, tag = "5")]
    pub decommissioned: bool,
    /// Kernel boot under which it registered last, 16 bytes; empty: not known.
    #[prost(bytes = "bytes", tag = "6")]
    pub boot_id: ::prost::bytes::Bytes,
    /// It has been up, with the files it had, since before a chunk of this handle or a higher one was
    /// made: the next handle when it first registered under `boot_id`.
    #[prost(uint64, tag = "7")]
    pub up_since_handle: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct OutcomeRecord {
    #[prost(message, repeated, tag = "1")]
    pub outcomes: ::prost::alloc::vec::Vec<Outcome>,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Outcome {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// 0: success.
    #[prost(uint32, tag = "2")]
    pub code: u32,
    /// The inode made, changed or removed.
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    /// Of Allocate, Create and Recover: the chunk.
    #[prost(uint64, tag = "4")]
    pub handle: u64,
    /// Of Remove and EmptyTrash: how many.
    #[prost(uint64, tag = "5")]
    pub count: u64,
    #[prost(string, tag = "6")]
    pub message: ::prost::alloc::string::String,
    /// Of EmptyTrash: entries are left.
    #[prost(bool, tag = "7")]
    pub more: bool,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct GarbageRecord {
    /// Numbers of the servers that may hold it.
    #[prost(uint32, repeated, tag = "1")]
    pub members: ::prost::alloc::vec::Vec<u32>,
    /// Highest version it had (or was promised): what a Delete condemns.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct RegisterRequest {
    /// Empty on a fresh volume: the server takes the id it is told.
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint32, tag = "2")]
    pub protocol_version: u32,
    /// 16 bytes, minted with the first volume and the same on all.
    #[prost(bytes = "bytes", tag = "3")]
    pub server_uuid: ::prost::bytes::Bytes,
    /// The number it was given before; 0: never registered.
    #[prost(uint32, tag = "4")]
    pub server: u32,
    /// Highest epoch and highest commit sequence it heard, as persisted.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
    #[prost(uint64, tag = "6")]
    pub commit_sequence: u64,
    /// `host:port` where clients and peers reach it.
    #[prost(string, repeated, tag = "7")]
    pub addresses: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    #[prost(message, optional, tag = "8")]
    pub place: ::core::option::Option<Place>,
    #[prost(message, repeated, tag = "9")]
    pub volumes: ::prost::alloc::vec::Vec<VolumeState>,
    /// 16 bytes that differ from those of before whenever the server may have forgotten replicas:
    /// derived from the kernel's boot id (/proc/sys/kernel/random/boot_id) and from which volumes are in
    /// service.
    #[prost(bytes = "bytes", tag = "10")]
    pub boot_id: ::prost::bytes::Bytes,
    /// Highest cluster level it supports.
    #[prost(uint32, tag = "11")]
    pub cluster_level: u32,
    /// Highest chunk handle among its replicas: a master that knows less was rolled back.
    #[prost(uint64, tag = "12")]
    pub highest_handle: u64,
    /// Software version, for people.
    #[prost(string, tag = "13")]
    pub software: ::prost::alloc::string::String,
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RegisterResponse {
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    /// The number the server has from now on.
    #[prost(uint32, tag = "2")]
    pub server: u32,
    /// Names this session in every further call.
    #[prost(uint64, tag = "3")]
    pub session: u64,
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
    #[prost(uint64, tag = "5")]
    pub commit_sequence: u64,
    /// Beat this often, in milliseconds.
    #[prost(uint32, tag = "6")]
    pub heartbeat_ms: u32,
    /// Serve reads at most this long after the last word of the leader, in milliseconds.
    #[prost(uint32, tag = "7")]
    pub stale_read_limit_ms: u32,
    /// Bytes of a full chunk in this cluster.
    #[prost(uint32, tag = "8")]
    pub chunk_size: u32,
    /// Whether the answering master leads.
    #[prost(bool, tag = "9")]
    pub leader: bool,
}
/// A data directory of a server, which may have several. One that leaves service does so alone: what
/// it held is missing from the next report, or told as damaged where it can perhaps still be read.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct VolumeState {
    /// 16 bytes, minted with the directory; empty: it could not be opened.
    #[prost(bytes = "bytes", tag = "1")]
    pub uuid: ::prost::bytes::Bytes,
    #[prost(uint64, tag = "2")]
    pub total_bytes: u64,
    #[prost(uint64, tag = "3")]
    pub free_bytes: u64,
    /// Age of the oldest disk operation still under way, in milliseconds.
    #[prost(uint32, tag = "4")]
    pub oldest_io_ms: u32,
    /// It is out of service; why, for people. Never better again while the server runs.
    #[prost(string, tag = "5")]
    pub failing: ::prost::alloc::string::String,
    /// Replicas on it.
    #[prost(uint32, tag = "6")]
    pub chunks: u32,
    /// Where the server has it, for people.
    #[prost(string, tag = "7")]
    pub dir: ::prost::alloc::string::String,
    /// Absent from servers that know of none.
    #[prost(message, optional, tag = "10")]
    pub scrub: ::core::option::Option<ScrubState>,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Heartbeat {
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// Counts from 1 within the stream.
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
    #[prost(message, repeated, tag = "3")]
    pub volumes: ::prost::alloc::vec::Vec<VolumeState>,
    /// Bytes received from writers and clones, sent to readers and clones, since the start.
    #[prost(uint64, tag = "4")]
    pub bytes_written: u64,
    #[prost(uint64, tag = "5")]
    pub bytes_read: u64,
    /// Streams open now.
    #[prost(uint32, tag = "6")]
    pub streams: u32,
    /// Going away on purpose (SIGTERM): treated as maintenance.
    #[prost(bool, tag = "7")]
    pub leaving: bool,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct HeartbeatReply {
    /// The beat answered.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Epoch and last commit of the leader (or the highest a follower knows).
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub commit_sequence: u64,
    /// Whether the sender leads. Leases of the session are renewed if so.
    #[prost(bool, tag = "4")]
    pub leader: bool,
    /// The session is not known: register again.
    #[prost(bool, tag = "5")]
    pub stale_session: bool,
    /// Chunks whose membership the server has lost since it was last told: no more reads of them.
    #[prost(message, repeated, tag = "6")]
    pub left_out: ::prost::alloc::vec::Vec<LeftOut>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct LeftOut {
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// The version that no longer includes it.
    #[prost(uint64, tag = "2")]
    pub version: u64,
}
/// Master to server. `epoch` of each is checked before anything else.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Command {
    /// Answered by a CommandResult with the same id; never reused within an epoch.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub handle: u64,
    #[prost(oneof = "command::Body", tags = "10, 11, 12, 13, 14, 15, 16, 17")]
    pub body: ::core::option::Option<command::Body>,
}
/// Nested message and enum types in `Command`.
pub mod command {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "10")]
        Grant(super::Grant),
        #[prost(message, tag = "11")]
        Prepare(super::Prepare),
        #[prost(message, tag = "12")]
        Equalize(super::Equalize),
        #[prost(message, tag = "13")]
        Clone(super::Clone),
        #[prost(message, tag = "14")]
        CancelClone(super::CancelClone),
        #[prost(message, tag = "15")]
        Delete(super::Delete),
        #[prost(message, tag = "16")]
        Verify(super::Verify),
        #[prost(message, tag = "17")]
        Revoke(super::Revoke),
    }
}
/// The chunk is at `version` with these members, and committed so. Makes a replica where there is
/// none (version 1 only), makes a prepared one complete, and gives the lease if `lease`.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Grant {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// All members in the order of the chain, the primary first.
    #[prost(message, repeated, tag = "2")]
    pub members: ::prost::alloc::vec::Vec<ServerLocation>,
    /// The first member orders mutations from now on; the others follow it.
    #[prost(bool, tag = "3")]
    pub lease: bool,
    #[prost(uint64, tag = "4")]
    pub inode: u64,
    #[prost(uint32, tag = "5")]
    pub index: u32,
    /// File offset of the chunk's first byte.
    #[prost(uint64, tag = "6")]
    pub start: u64,
    /// Length at this version as agreed, in bytes. Of a new chunk 0, or so many zeros where it takes
    /// the place of a hole. A replica made ready by Prepare that holds more is cut, if `sealed` or
    /// `cut`: the file was truncated.
    #[prost(uint32, tag = "7")]
    pub length: u32,
    #[prost(message, optional, tag = "8")]
    pub goal: ::core::option::Option<Goal>,
    #[prost(enumeration = "Durability", tag = "9")]
    pub durability: i32,
    /// No more mutations at this version.
    #[prost(bool, tag = "10")]
    pub sealed: bool,
    /// Copies below which nothing is acknowledged.
    #[prost(uint32, tag = "11")]
    pub min_copies: u32,
    /// What a replica holds behind `length` is dropped.
    #[prost(bool, tag = "12")]
    pub cut: bool,
    /// Bytes that it may grow to at this version: its length, where another extent or the end of a
    /// truncated file follows. 0: the size of a chunk.
    #[prost(uint32, tag = "13")]
    pub limit: u32,
}
/// First step of a version change: end what is under way below `next`, promise it durably, answer
/// with a ReplicaState.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Prepare {
    /// Version being replaced.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(uint64, tag = "2")]
    pub next: u64,
}
/// Second step: become equal to `source` under `next`. Blocks that cannot be verified at the source
/// come from `others`. Then length and window in one write.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Equalize {
    #[prost(uint64, tag = "1")]
    pub next: u64,
    #[prost(message, optional, tag = "2")]
    pub source: ::core::option::Option<ServerLocation>,
    #[prost(message, repeated, tag = "3")]
    pub others: ::prost::alloc::vec::Vec<ServerLocation>,
    /// What to become: the source's state as prepared.
    #[prost(uint32, tag = "4")]
    pub length: u32,
    #[prost(uint64, tag = "5")]
    pub serial: u64,
    #[prost(uint64, tag = "6")]
    pub inode: u64,
    #[prost(uint32, tag = "7")]
    pub index: u32,
    #[prost(uint64, tag = "8")]
    pub start: u64,
    #[prost(message, optional, tag = "9")]
    pub goal: ::core::option::Option<Goal>,
}
/// Copy the chunk as it stands at `source` into an incomplete replica, beside the writes.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Clone {
    /// Version at the source when the copy was planned.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// In the order to try.
    #[prost(message, repeated, tag = "2")]
    pub sources: ::prost::alloc::vec::Vec<ServerLocation>,
    #[prost(uint64, tag = "3")]
    pub inode: u64,
    #[prost(uint32, tag = "4")]
    pub index: u32,
    #[prost(uint64, tag = "5")]
    pub start: u64,
    #[prost(message, optional, tag = "6")]
    pub goal: ::core::option::Option<Goal>,
    /// Bytes per second; 0: as fast as it goes.
    #[prost(uint64, tag = "7")]
    pub rate: u64,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct CancelClone {
    /// Drops what was copied.
    #[prost(uint64, tag = "1")]
    pub version: u64,
}
/// The replica is not wanted. Refused if it has promised or completed more than `version`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Delete {
    #[prost(uint64, tag = "1")]
    pub version: u64,
}
/// Check these blocks (none: all) against their checksums under the chunk's lock, answer with what
/// was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Verify {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(message, optional, tag = "2")]
    pub blocks: ::core::option::Option<BlockRange>,
}
/// The lease ends: accept no more mutations, answer with the state. The length confirmed by that
/// is final at this version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Revoke {
    #[prost(uint64, tag = "1")]
    pub version: u64,
}
/// Server to master.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ServerMessage {
    #[prost(oneof = "server_message::Body", tags = "1, 2, 3")]
    pub body: ::core::option::Option<server_message::Body>,
}
/// Nested message and enum types in `ServerMessage`.
pub mod server_message {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        #[prost(message, tag = "2")]
        Result(super::CommandResult),
        #[prost(message, tag = "3")]
        Notice(super::Notice),
    }
}
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Hello {
    #[prost(bytes = "bytes", tag = "1")]
    pub cluster_id: ::prost::bytes::Bytes,
    #[prost(uint64, tag = "2")]
    pub session: u64,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct CommandResult {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub handle: u64,
    /// Absent: done.
    #[prost(message, optional, tag = "4")]
    pub error: ::core::option::Option<ErrorDetail>,
    /// State of the replica afterwards.
    #[prost(message, optional, tag = "5")]
    pub state: ::core::option::Option<ReplicaState>,
    /// Bytes copied by a Clone or Equalize.
    #[prost(uint64, tag = "6")]
    pub copied: u64,
}
/// A replica as its server knows it.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReplicaState {
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    /// Highest version promised; equal to `complete` when no change is under way.
    #[prost(uint64, tag = "2")]
    pub promised: u64,
    /// Version at which it is equal to the other members; 0: never was.
    #[prost(uint64, tag = "3")]
    pub complete: u64,
    #[prost(uint32, tag = "4")]
    pub length: u32,
    /// Last serial applied at `complete`.
    #[prost(uint64, tag = "5")]
    pub serial: u64,
    #[prost(uint64, tag = "6")]
    pub inode: u64,
    #[prost(uint32, tag = "7")]
    pub index: u32,
    /// File offset of its first byte.
    #[prost(uint64, tag = "8")]
    pub start: u64,
    #[prost(bool, tag = "9")]
    pub sealed: bool,
    /// Written by another boot of the kernel and not known to be on disk: counts as no copy until
    /// verified.
    #[prost(bool, tag = "10")]
    pub suspect: bool,
    /// Highest (version, serial) known to be fsynced.
    #[prost(uint64, tag = "11")]
    pub fsynced_version: u64,
    #[prost(uint64, tag = "12")]
    pub fsynced_serial: u64,
    /// Blocks that do not match their checksums.
    #[prost(message, repeated, tag = "13")]
    pub damaged: ::prost::alloc::vec::Vec<BlockRange>,
    /// CRC-32C over (length, all block checksums): equal digests are equal replicas. With Prepare
    /// and Verify results only.
    #[prost(uint32, tag = "14")]
    pub digest: u32,
    /// This server orders mutations of it.
    #[prost(bool, tag = "15")]
    pub lease: bool,
    /// Being copied, not yet equal to anything.
    #[prost(bool, tag = "16")]
    pub cloning: bool,
    /// Every byte below it is known to be acknowledged (or agreed in a version change).
    #[prost(uint32, tag = "17")]
    pub confirmed: u32,
}
/// Unasked.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Notice {
    #[prost(uint64, tag = "1")]
    pub handle: u64,
    #[prost(oneof = "notice::Body", tags = "2, 3, 4")]
    pub body: ::core::option::Option<notice::Body>,
}
/// Nested message and enum types in `Notice`.
pub mod notice {
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Body {
        /// The server's own finding (a read, a scrub): the replica is damaged or gone.
        #[prost(message, tag = "2")]
        Damaged(super::ReplicaState),
        /// A primary orders no more mutations.
        #[prost(message, tag = "3")]
        PrimaryEnded(super::PrimaryEnded),
        /// A writer of the chunk has neither a stream nor made a mutation for 60 s.
        #[prost(message, tag = "4")]
        WriterVanished(super::WriterVanished),
    }
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PrimaryEnded {
    /// It was the primary at this version, and nobody told it to end.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// Number of a member that it could not reach; 0: for another reason.
    #[prost(uint32, tag = "2")]
    pub unreachable: u32,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct WriterVanished {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(uint64, tag = "2")]
    pub writer: u64,
    #[prost(uint32, tag = "3")]
    pub length: u32,
}
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ReportRequest {
    #[prost(uint64, tag = "1")]
    pub session: u64,
    /// Numbered by the server, from 1; a new report starts over.
    #[prost(uint64, tag = "2")]
    pub report: u64,
    #[prost(uint32, tag = "3")]
    pub page: u32,
    /// At most 4 096.
    #[prost(message, repeated, tag = "4")]
    pub replicas: ::prost::alloc::vec::Vec<ReplicaState>,
    #[prost(bool, tag = "5")]
    pub last: bool,
    /// With `last`: how many replicas and the CRC-32C over (handle, complete, promised) of all, in
    /// the order sent.
    #[prost(uint64, tag = "6")]
    pub count: u64,
    #[prost(uint32, tag = "7")]
    pub digest: u32,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ReportResponse {
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
}
