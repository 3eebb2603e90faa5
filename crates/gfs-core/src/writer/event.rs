//! What a writer is told, and what it wants done.

use gfs_proto::v1 as pb;
use gfs_types::GfsError;

/// Names a slice (or a record, or a batch of them) whose payload the shell keeps. Minted by the
/// shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceId(pub u64);
/// Names a flush, sync, close or abandon that waits. Minted by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);
/// Names a push stream. Minted by the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);
/// Names a question to the master, or a probe. Minted by the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What happens to a writer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The application hands in data, as much as [`FileWriter::room`] allows.
    Data {
        /// Names it.
        slice: SliceId,
        /// Bytes, at least 1.
        length: u32,
    },
    /// Answer when all data handed in so far is acknowledged.
    Flush {
        /// Names the answer.
        token: Token,
        /// And fsynced on every replica.
        disk: bool,
    },
    /// The same, and the master shall have recorded the length.
    Sync {
        /// Names the answer.
        token: Token,
        /// And fsynced on every replica.
        disk: bool,
    },
    /// Finish the file. No more data comes.
    Close {
        /// Names the answer.
        token: Token,
    },
    /// Give the file up: the master removes it.
    Abandon {
        /// Names the answer.
        token: Token,
    },
    /// The master answered. (That another master leads, or that none is ready yet, is a matter of
    /// the shell, which asks again with the same operation sequence.)
    Answer {
        /// Of the question.
        ask: AskId,
        /// The answer.
        result: Result<Answer, pb::ErrorDetail>,
    },
    /// Something came up a stream.
    Stream {
        /// Which.
        stream: StreamId,
        /// What.
        event: StreamEvent,
    },
    /// The server answered a probe, no matter what.
    Probed {
        /// Of the probe.
        probe: AskId,
    },
    /// Time passed: see [`FileWriter::wake_at`].
    Tick,
}

/// What comes up a push stream.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// All members stand.
    Opened(pb::PushOpened),
    /// Applied on every member.
    Acknowledged(pb::Acknowledged),
    /// A member lost it: push it again.
    Resend(pb::Resend),
    /// All is applied, the length is final.
    Finished(pb::Finished),
    /// All acknowledged before is on disk.
    Flushed(pb::Flushed),
    /// The server ended the stream.
    Failed(pb::ErrorDetail),
    /// The stream could not be opened, or broke without a word.
    Broken,
}

/// A question to the master; the shell adds the header and the caller's place.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is the call of the same name in proto/gfs/v1")]
pub enum Question {
    Allocate(pb::AllocateRequest),
    Recover(pb::RecoverRequest),
    Lease(pb::LeaseRequest),
    Sync(pb::SyncRequest),
    Close(pb::CloseRequest),
}

/// The answer to a [`Question`], or to [`Effect::Outcomes`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// To Allocate, Recover and Lease.
    Chunk(Box<pb::ChunkLocation>),
    /// To Sync and Close.
    Attributes(Box<pb::Attributes>),
    /// What a replica remembers of this writer.
    Outcomes(Box<pb::OutcomesResponse>),
}

/// What a writer wants done, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the master; answer with [`Event::Answer`].
    Ask {
        /// Names the question.
        ask: AskId,
        /// The question.
        question: Question,
    },
    /// Open a push stream and send this first (the shell adds the header).
    OpenStream {
        /// Names the stream.
        stream: StreamId,
        /// The primary.
        server: pb::ServerLocation,
        /// The first message.
        open: pb::PushOpen,
    },
    /// Send a slice (the shell adds the sums and the payload).
    Send {
        /// On which stream.
        stream: StreamId,
        /// Whose payload.
        slice: SliceId,
        /// From which of its bytes on; the head says how many.
        from: u32,
        /// The head, without sums.
        head: pb::Slice,
    },
    /// Send a commit.
    SendCommit {
        /// On which stream.
        stream: StreamId,
        /// Through this sequence.
        through: u64,
    },
    /// Send a finish.
    SendFinish {
        /// On which stream.
        stream: StreamId,
    },
    /// Ask for everything committed to be on disk.
    SendFlush {
        /// On which stream.
        stream: StreamId,
        /// Names the answer.
        token: u64,
    },
    /// Nothing more is expected of this stream; what comes is ignored.
    CloseStream {
        /// Which.
        stream: StreamId,
    },
    /// Ask the server for the chunk's confirmed length (`Data.Confirmed`) on its control
    /// connection; [`Event::Probed`] when it answers.
    Probe {
        /// Names the probe.
        probe: AskId,
        /// The server.
        server: pb::ServerLocation,
        /// The question, without header.
        request: pb::ConfirmedRequest,
    },
    /// Ask the server what it remembers of this writer (`Data.Outcomes`), on its control
    /// connection; answer with [`Event::Answer`], in bounded time.
    Outcomes {
        /// Names the question.
        ask: AskId,
        /// A replica's server.
        server: pb::ServerLocation,
        /// The question, without header.
        request: pb::OutcomesRequest,
    },
    /// What became of something appended or overwritten: it is on every current replica, and
    /// begins at this position of the file; or why not. Once for each, before its release.
    Settled {
        /// Of which.
        slice: SliceId,
        /// Position in the file.
        result: Result<u64, GfsError>,
    },
    /// The payload may go.
    Release {
        /// Of this slice.
        slice: SliceId,
    },
    /// Answer the application.
    Done {
        /// Of the flush, sync, close or abandon.
        token: Token,
        /// The file's attributes after a sync or close of which the master knows.
        result: Result<Option<Box<pb::Attributes>>, GfsError>,
    },
}

/// How much may be handed in now, and where it will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Position in the file.
    pub position: u64,
    /// Position in its chunk: where its checksums are cut.
    pub offset: u32,
    /// Most bytes.
    pub length: u32,
}
