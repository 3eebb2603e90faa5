//! One replica of a chunk on a chunkserver, and the gate that fences its server.
//!
//! [`Replica::step`] takes one [`Event`] with the time and appends [`Output`]s, which the shell
//! carries out in order. The rules it keeps:
//!
//! * **Data flow apart from control flow** (GFS paper §3.2). Slices go down the chain and are held
//!   ([`push`]) until their mutation is whole ([`mutation`]); the primary gives it its serial, and
//!   of a record that is appended the place (§3.3), only when every member holds it; every member
//!   applies strictly by serial, and a missing one blocks ([`order`]).
//! * **Acknowledged means applied everywhere**: the primary acknowledges a serial when it and
//!   everything behind it in the chain has applied it, in the order of serials.
//! * **Exactly once**: a writer's mutations are taken in the writer's order; a repeat is recognised
//!   by the window that is stored with the chunk, and gets the recorded answer. A writer that was
//!   forgotten is told so, if something is in doubt ([`writers`]).
//! * **No padding**: a record that does not fit closes the chunk, short, to everybody ([`finish`]).
//! * **Nothing is shown that may be taken back**: neither bytes behind the confirmed end nor those
//!   that an unacknowledged mutation has replaced ([`unsettled`], [`read`]).
//! * **On disk means on every member's disk**: a flush goes down the chain when what it is to cover
//!   is acknowledged ([`flush`]).
//! * **A role is volatile and fragile** ([`role`]): any failure of a member, a stream in the chain
//!   or the disk ends it, and nothing but a new version starts another one.
//! * **A version change first ends what is under way** ([`command`]): Prepare is answered when no
//!   write runs any more and the promise is stored.
//! * **One disk operation at a time** ([`disk`]), so that what is stored is always a prefix of what
//!   was ordered.
//!
//! The payload type `P` is what the shell keeps slices in; it is handed back to be written and to
//! be sent on, and looked at by nobody here.

mod command;
mod copy_plan;
mod disk;
mod finish;
mod flush;
mod gate;
mod header;
mod mutation;
mod order;
mod push;
mod read;
mod role;
mod stream;
#[cfg(test)]
mod tests;
mod unsettled;
mod writers;

pub use command::CopyOutcome;
pub use copy_plan::{CopyPlan, PlanError, digest};
pub use disk::DiskOp;
pub use gate::{Remember, ServerGate};
pub use header::{Header, Identity, MAX_WRITERS, WINDOW_DEPTH, Window};
pub use mutation::Part;
pub use read::ReadVerdict;
pub use writers::WRITER_SILENCE;

use crate::mistakes::Mistakes;
use command::Pending;
use disk::Running;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use pb::push_reply::Body as ReplyBody;
use pb::push_request::Body as PushBody;
use role::Role;
use std::collections::{BTreeMap, VecDeque};
use stream::Stream;
use unsettled::Unsettled;

/// A push stream into this server. Minted by the shell, never reused while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// A command under way. Minted by the shell, never reused while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// How long a push waits for the Grant that is on its way, in milliseconds.
pub const GRANT_WAIT: Millis = Millis(2_000);
/// How long a primary waits for any progress below it; members further down wait a little less, so
/// that the one next to the culprit names it.
pub const PROGRESS_LIMIT: Millis = Millis(2_000);
/// The same while a member below has a flush to do: its disk may be slow, and writes wait for it.
pub const FLUSH_LIMIT: Millis = Millis(10_000);
/// The same while a stream is being opened. Longer than [`GRANT_WAIT`].
pub const OPEN_LIMIT: Millis = Millis(2_800);
/// Time between two events counts at most this much: a process that was stopped must not conclude
/// from its own silence that others were silent.
pub const MAX_LAPSE: Millis = Millis(250);
/// Slices that a stream may hold, whatever their size.
pub const MAX_HELD: usize = 1_024;
/// Commands that wait for their turn.
pub const MAX_COMMANDS: usize = 32;

/// What a replica must know of its server and cluster.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The number of this server.
    pub server: u32,
    /// Bytes of a full chunk.
    pub chunk_size: u32,
    /// Rules broken on purpose; none in a release.
    pub mistakes: Mistakes,
}

/// What happens to a replica.
#[derive(Clone, Debug)]
pub enum Event<P> {
    /// Time passes. Every 100 ms for a replica that [`Replica::needs_ticks`].
    Tick,
    /// A message came up a push stream. The first of a stream is its Open. A slice comes with its
    /// payload, verified against its sums, of the length it says.
    Push {
        /// The stream.
        stream: StreamId,
        /// The message.
        body: PushBody,
        /// Payload of a slice.
        payload: Option<P>,
        /// With Open: bytes that the server reserved for this stream.
        credit: u32,
    },
    /// The shell found a message of the sender wrong (a payload that does not match its sums, say):
    /// the stream ends with this error.
    Refused {
        /// The stream.
        stream: StreamId,
        /// What is wrong.
        error: pb::ErrorDetail,
    },
    /// The sender of a stream closed it or is gone.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// A message came back from the next member of the chain.
    Down {
        /// The stream it belongs to.
        stream: StreamId,
        /// The message.
        body: ReplyBody,
    },
    /// The next member could not be reached, or its stream broke.
    DownBroken {
        /// The stream it belongs to.
        stream: StreamId,
        /// Why, for people.
        why: String,
    },
    /// The master commands (its epoch was checked by [`ServerGate`]).
    Command {
        /// Names the answer.
        id: CommandId,
        /// The command. `Verify` is none of the replica's: the shell does it.
        body: pb::command::Body,
    },
    /// A higher epoch was seen: commands that were not begun are void, copies under way too.
    NewEpoch,
    /// The source of a copy answered.
    CopyPlanned {
        /// The command that copies.
        id: CommandId,
        /// The version the source is complete at.
        source_complete: u64,
    },
    /// A copy is over; all that it wrote is written.
    CopyEnded {
        /// The command that copied.
        id: CommandId,
        /// What the replica holds now, or why not.
        result: Result<CopyOutcome, pb::ErrorDetail>,
    },
    /// The disk operation under way ended.
    DiskDone {
        /// How.
        result: Result<(), pb::ErrorDetail>,
    },
    /// The primary said how much of the chunk is acknowledged.
    Confirmed {
        /// At this version.
        version: u64,
        /// So many bytes.
        length: u32,
        /// And every mutation through this serial.
        serial: u64,
    },
    /// The leader said that the membership is lost.
    LeftOut {
        /// The version that no longer includes it.
        version: u64,
    },
}

/// What a copying command is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Copy {
    /// Fill an incomplete replica beside the writes.
    Clone(pb::Clone),
    /// Become equal to the source under a promised version.
    Equalize(pb::Equalize),
}

/// What a replica wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output<P> {
    /// Send a message down a stream to its sender. After `failed` there is nothing more to say.
    Reply {
        /// The stream.
        stream: StreamId,
        /// The message.
        body: ReplyBody,
    },
    /// Open the stream to the next member of the chain.
    Dial {
        /// The stream it belongs to.
        stream: StreamId,
        /// The member.
        next: pb::ServerLocation,
        /// What to open it with.
        open: Box<pb::PushOpen>,
    },
    /// Send a message to the next member.
    SendDown {
        /// The stream it belongs to.
        stream: StreamId,
        /// The message.
        body: PushBody,
        /// Payload of a slice.
        payload: Option<P>,
    },
    /// The stream is over, both sides of it, once what was sent before is sent.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// Do this on disk; answered by [`Event::DiskDone`]. The next one comes only after that.
    Disk(DiskOp<P>),
    /// Ask the source of this copy for its header, then say [`Event::CopyPlanned`].
    PlanCopy {
        /// The command.
        id: CommandId,
        /// What to copy from where.
        copy: Copy,
    },
    /// Copy what the plan says, then say [`Event::CopyEnded`].
    GoCopy {
        /// The command.
        id: CommandId,
    },
    /// Stop copying; [`Event::CopyEnded`] is still owed.
    AbortCopy {
        /// The command.
        id: CommandId,
    },
    /// A command is carried out or refused.
    CommandDone {
        /// The command.
        id: CommandId,
        /// How.
        result: Result<(), pb::ErrorDetail>,
        /// The answer carries the digest of the content.
        digest: bool,
    },
    /// Tell the master that this primary orders no more mutations, because something failed.
    PrimaryEnded {
        /// At this version.
        version: u64,
        /// The member that it could not reach; 0: it was something else.
        unreachable: u32,
    },
    /// Tell the master that a writer of the chunk is gone: for [`WRITER_SILENCE`] it had no stream
    /// and mutated nothing. Said by the primary, once.
    WriterVanished {
        /// At this version.
        version: u64,
        /// The writer.
        writer: u64,
        /// Bytes that are acknowledged.
        length: u32,
    },
}

/// A replica: what is stored of it, and its volatile part.
#[derive(Debug)]
pub struct Replica<P> {
    settings: Settings,
    handle: u64,
    /// `None`: nothing is stored (yet, or any more).
    stored: Option<(Identity, Header)>,
    /// Every byte below it is acknowledged or agreed.
    confirmed: u32,
    /// Which of those below it are not, because they were overwritten.
    unsettled: Unsettled,
    /// No more reads if complete below it.
    left_out: u64,
    /// At this version a role ended; none starts again.
    ended_at: u64,
    /// At this version it was the primary since the start: it knows what was acknowledged, also
    /// after its role ended.
    led: u64,
    /// As that: the writers, with the time of the last sign of each. Those that are gone and were
    /// told of are no longer in it.
    seen: BTreeMap<u64, Millis>,
    /// Members of the last grant since the start, the primary first, and its version.
    members: (u64, Vec<pb::ServerLocation>),
    role: Option<Role<P>>,
    streams: BTreeMap<StreamId, Stream<P>>,
    commands: VecDeque<Pending>,
    disk: Option<Running>,
    /// The last operation that was not a command's was a flush.
    flushed_last: bool,
    clock: Millis,
    last_event: Millis,
}

/// Where a step's outputs go.
type Outputs<P> = Vec<Output<P>>;

fn failure(code: ErrorCode, message: impl Into<String>) -> pb::ErrorDetail {
    pb::ErrorDetail::new(code, message)
}

impl<P: Clone> Replica<P> {
    /// A replica that is not there: a push that comes before its Grant may wait in it.
    #[must_use]
    pub fn absent(settings: Settings, handle: u64) -> Self {
        Self {
            settings,
            handle,
            stored: None,
            confirmed: 0,
            unsettled: Unsettled::default(),
            left_out: 0,
            ended_at: 0,
            led: 0,
            seen: BTreeMap::new(),
            members: (0, Vec::new()),
            role: None,
            streams: BTreeMap::new(),
            commands: VecDeque::new(),
            disk: None,
            flushed_last: false,
            clock: Millis(0),
            last_event: Millis(0),
        }
    }

    /// A replica as found on disk after a start. It has no role. Which of its bytes are
    /// acknowledged is known only if nothing was written since the version was agreed, or nothing
    /// can be any more.
    #[must_use]
    pub fn load(settings: Settings, identity: Identity, header: Header) -> Self {
        let settled = header.sealed || header.serial == 0;
        let changing = !header.sealed && header.promised > header.complete;
        let (serial, length) = (header.serial, header.length);
        let confirmed = if settled { length } else { 0 };
        let mut replica = Self::absent(settings, identity.handle);
        replica.stored = Some((identity, header));
        replica.confirmed = confirmed;
        if changing {
            // Blocks may have been taken over from another replica, and be taken back.
            replica.unsettled.overwritten(u64::MAX, 0, length);
        } else if !settled {
            // Which bytes were overwritten last is not known any more.
            replica.unsettled.overwritten(serial, 0, length);
        }
        replica
    }

    /// Its file is found to be gone: there is no such replica here any more, and a new one may be
    /// made. Does nothing while it is active ([`Self::is_active`]).
    pub fn lose(&mut self) {
        if self.is_active() {
            return;
        }
        if let Some(role) = self.role.take() {
            self.ended_at = self.ended_at.max(role.version);
        }
        self.is_gone();
    }

    fn is_gone(&mut self) {
        self.stored = None;
        self.confirmed = 0;
        self.unsettled = Unsettled::default();
        self.seen.clear();
    }

    /// What it was stored on is gone, and an operation that is under way may never end: all streams
    /// and commands end with this error, and there is no such replica here any more. Whatever still
    /// comes of what was under way is ignored; to be dropped after that.
    pub fn abandon(&mut self, mut error: pb::ErrorDetail, out: &mut Outputs<P>) {
        error.server = self.settings.server;
        self.disk = None;
        self.end_role(&error, out);
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.fail_stream(stream, error.clone(), out);
            if self.streams.remove(&stream).is_some() {
                out.push(Output::Close { stream });
            }
        }
        self.fail_commands(&error, out);
        self.stored = None;
        self.confirmed = 0;
    }

    /// Takes one event and appends what is to be done.
    pub fn step(&mut self, now: Millis, event: Event<P>, out: &mut Outputs<P>) {
        let lapse = now.since(self.last_event).min(MAX_LAPSE);
        self.clock = self.clock + lapse;
        self.last_event = self.last_event.max(now);
        match event {
            Event::Tick => self.tick(out),
            Event::Push { stream, body, payload, credit } => {
                self.pushed(stream, body, payload, credit, out);
            }
            Event::Refused { stream, error } => self.fail_stream(stream, error, out),
            Event::NewEpoch => self.drop_commands(out),
            Event::Closed { stream } => self.upstream_closed(stream, out),
            Event::Down { stream, body } => self.down(stream, body, out),
            Event::DownBroken { stream, why } => self.down_broken(stream, &why, out),
            Event::Command { id, body } => self.command(id, body, out),
            Event::CopyPlanned { id, source_complete } => {
                self.copy_planned(id, source_complete, out)
            }
            Event::CopyEnded { id, result } => self.copy_ended(id, result, out),
            Event::DiskDone { result } => self.disk_done(result, out),
            Event::Confirmed { version, length, serial } => {
                self.heard_confirmed(version, length, serial);
            }
            Event::LeftOut { version } => self.left_out = self.left_out.max(version),
        }
        self.run_commands(out);
        self.next_disk(out);
        self.watch_streams();
    }

    /// The chunk.
    #[must_use]
    pub const fn handle(&self) -> u64 {
        self.handle
    }

    /// Whether anything is stored.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// What is stored of it.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.stored.as_ref().map(|(_, header)| header)
    }

    /// Where it stands in its file.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.stored.as_ref().map(|(identity, _)| identity)
    }

    /// Whether it needs ticks: it is active, or waits for writers to come back. A role alone needs
    /// none: every chunk written since the start has one.
    #[must_use]
    pub fn needs_ticks(&self) -> bool {
        self.is_active() || !self.seen.is_empty()
    }

    /// Whether it has streams, commands or an operation under way. One that has not, and is not
    /// stored, may be dropped.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.streams.is_empty() || !self.commands.is_empty() || self.disk.is_some()
    }

    /// Whether this server orders mutations of it, and at which version.
    #[must_use]
    pub fn primary_at(&self) -> Option<u64> {
        self.role.as_ref().filter(|role| role.is_primary()).map(|role| role.version)
    }

    /// Whether nothing above [`Self::confirmed`] was ever acknowledged at this version: it was the
    /// primary that acknowledged. That its role ended changes nothing, for no other one has
    /// acknowledged anything at this version.
    #[must_use]
    pub fn knows_confirmed(&self, version: u64) -> bool {
        self.led == version && self.header().is_some_and(|header| header.complete == version)
    }

    /// Bytes known to be acknowledged.
    #[must_use]
    pub const fn confirmed(&self) -> u32 {
        self.confirmed
    }

    /// Last serial known to be acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.unsettled.acknowledged()
    }

    /// What the master is told of it; of what the shell knows (suspect, damaged, fsynced, digest)
    /// nothing is filled in. `None` when nothing is stored.
    #[must_use]
    pub fn state(&self) -> Option<pb::ReplicaState> {
        let (identity, header) = self.stored.as_ref()?;
        Some(pb::ReplicaState {
            handle: self.handle,
            promised: header.promised,
            complete: header.complete,
            length: header.length,
            serial: header.serial,
            inode: identity.inode,
            index: identity.index,
            start: identity.start,
            sealed: header.sealed,
            lease: self.role.as_ref().is_some_and(Role::is_primary),
            cloning: self.is_cloning(),
            confirmed: self.confirmed,
            ..Default::default()
        })
    }

    /// What a report says of it: as [`Self::state`], and what is being created, complete at nothing
    /// yet. It will be there after the report, and who commanded it may be gone: nobody else would
    /// ever know of it.
    #[must_use]
    pub fn reported(&self) -> Option<pb::ReplicaState> {
        if let Some(state) = self.state() {
            return Some(state);
        }
        let (identity, promised) = self.disk.as_ref()?.creates()?;
        Some(pb::ReplicaState {
            handle: self.handle,
            promised,
            inode: identity.inode,
            index: identity.index,
            start: identity.start,
            ..Default::default()
        })
    }

    fn header_mut(&mut self) -> Option<&mut Header> {
        self.stored.as_mut().map(|(_, header)| header)
    }
}
