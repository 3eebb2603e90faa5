//! A role: the part a replica plays in ordering mutations at one version. Volatile; ended by any
//! failure, and never started again at the same version.

use super::mutation::Mutation;
use super::{Output, Outputs, Replica, StreamId, Window, failure};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use pb::push_reply::Body as ReplyBody;
use std::collections::{BTreeMap, VecDeque};

/// A mutation that has its serial and is not written here yet.
#[derive(Debug)]
pub(super) struct Ordered<P> {
    pub(super) writer: u64,
    pub(super) sequence: u64,
    pub(super) mutation: Mutation<P>,
}

/// A mutation that the primary ordered and has not acknowledged yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) serial: u64,
    pub(super) writer: u64,
    pub(super) sequence: u64,
    pub(super) stream: StreamId,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// What a primary knows of a writer that has a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    /// Last sequence that was given a serial.
    pub(super) ordered: u64,
    /// Last sequence acknowledged.
    pub(super) acknowledged: u64,
    /// Last sequence of a mutation that it appends; 0: none came.
    pub(super) appended: u64,
}

/// What a primary has beyond what every member has.
#[derive(Debug)]
pub(super) struct Primary {
    /// Last serial given out.
    pub(super) serial: u64,
    /// Length of the chunk once all that is in flight is applied.
    pub(super) projected: u32,
    /// The window then.
    pub(super) window: Window,
    /// Bytes that the chunk may grow to.
    pub(super) limit: u32,
    pub(super) writers: BTreeMap<u64, Writer>,
    pub(super) flight: VecDeque<InFlight>,
    /// No new mutations: a Revoke waits for those in flight.
    pub(super) draining: bool,
    /// Finished: no more mutations at this version.
    pub(super) closed: bool,
    /// A record did not fit: the chunk is being closed to everybody.
    pub(super) full: bool,
}

#[derive(Debug)]
pub(super) struct Role<P> {
    pub(super) version: u64,
    /// All members, the primary first.
    pub(super) members: Vec<pb::ServerLocation>,
    pub(super) min_copies: u32,
    pub(super) primary: Option<Primary>,
    /// Ordered and not yet written, by serial. May have gaps.
    pub(super) ordered: BTreeMap<u64, Ordered<P>>,
    /// Store that the chunk is sealed when the disk is free.
    pub(super) seal: bool,
}

impl<P> Role<P> {
    pub(super) const fn is_primary(&self) -> bool {
        self.primary.is_some()
    }

    pub(super) fn member(&self, server: u32) -> Option<&pb::ServerLocation> {
        self.members.iter().find(|member| member.server == server)
    }
}

impl<P: Clone> Replica<P> {
    /// Starts the role that a grant gives. The replica is complete at `grant.version`, empty of
    /// mutations of it.
    pub(super) fn start_role(&mut self, grant: &pb::Grant) {
        self.members = (grant.version, grant.members.clone());
        let me = self.settings.server;
        let first = grant.members.first().map(|member| member.server);
        let is_member = grant.members.iter().any(|member| member.server == me);
        let Some(header) = self.header() else { return };
        if !is_member || header.sealed || self.ended_at >= grant.version {
            return;
        }
        let primary = if first != Some(me) {
            None
        } else if grant.lease {
            Some(Primary {
                serial: header.serial,
                projected: header.length,
                window: header.window.clone(),
                limit: match grant.limit {
                    0 => self.settings.chunk_size,
                    limit => limit.min(self.settings.chunk_size),
                },
                writers: BTreeMap::new(),
                flight: VecDeque::new(),
                draining: false,
                closed: false,
                full: false,
            })
        } else {
            return;
        };
        if let Some(primary) = &primary {
            self.led = grant.version;
            let clock = self.clock;
            self.seen = primary.window.entries().map(|entry| (entry.writer, clock)).collect();
        }
        self.role = Some(Role {
            version: grant.version,
            members: grant.members.clone(),
            min_copies: grant.min_copies,
            primary,
            ordered: BTreeMap::new(),
            seal: false,
        });
    }

    /// Ends the role, if any, and every stream of its version and below: what was ordered and is
    /// not being written is forgotten. Streams that wait for a later grant go on waiting.
    pub(super) fn end_role(&mut self, error: &pb::ErrorDetail, out: &mut Outputs<P>) {
        let complete = self.header().map_or(0, |header| header.complete);
        if let Some(role) = self.role.take() {
            self.ended_at = self.ended_at.max(role.version);
        }
        let over = |version: u64| version <= complete;
        let streams: Vec<_> =
            self.streams.iter().filter(|(_, s)| over(s.version)).map(|(id, _)| *id).collect();
        for stream in streams {
            self.fail_stream(stream, error.clone(), out);
        }
    }

    /// Tells the sender of a stream why it ends, and ends it: at once, or as an orphan when what it
    /// has in flight must be carried to its end.
    pub(super) fn fail_stream(
        &mut self,
        stream: StreamId,
        error: pb::ErrorDetail,
        out: &mut Outputs<P>,
    ) {
        if let Some(state) = self.streams.get(&stream) {
            if state.upstream {
                let failed = pb::PushFailed { error: Some(error) };
                out.push(Output::Reply { stream, body: ReplyBody::Failed(failed) });
            }
            self.upstream_closed(stream, out);
        }
    }

    /// The role ends because something failed: where it is a primary's, the master must know, for
    /// its writers may be gone and never ask for another one.
    pub(super) fn fail_role(&mut self, error: &pb::ErrorDetail, out: &mut Outputs<P>) {
        if let Some(version) = self.primary_at() {
            let other = error.server != self.settings.server;
            let unreachable = if other { error.server } else { 0 };
            out.push(Output::PrimaryEnded { version, unreachable });
        }
        self.end_role(error, out);
    }

    /// The role ends because the disk failed here.
    pub(super) fn disk_failed(&mut self, mut error: pb::ErrorDetail, out: &mut Outputs<P>) {
        error.server = self.settings.server;
        self.fail_role(&error, out);
    }

    /// The error that names a member which cannot be reached.
    pub(super) fn unreachable(server: u32, why: &str) -> pb::ErrorDetail {
        let mut error =
            failure(ErrorCode::Unreachable, format!("chunkserver {server} is unreachable: {why}"));
        error.server = server;
        error
    }
}
