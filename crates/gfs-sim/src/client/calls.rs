//! Calls to the master: sent again, unchanged, until they are answered or their time is up.

use crate::context::{Context, Timer};
use crate::network::{Node, StreamId};
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::{Request, Response};
use gfs_core::writer::AskId;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Longest wait for one answer.
const ONE_ANSWER: Millis = Millis(5_000);
/// Longest wait for a call.
const DEADLINE: Millis = Millis(30_000);

/// Why a call was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The client's present task waits for it.
    Task,
    /// The writer asks.
    Ask(AskId),
    /// The reader asks where its chunk is.
    Locate,
    /// Nobody waits.
    Report,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    purpose: Purpose,
    sequence: u64,
    stream: Option<StreamId>,
    sent_at: Millis,
    deadline: Millis,
    pause: u64,
    /// When it is sent again.
    again_at: Millis,
}

/// The calls of a client.
#[derive(Debug)]
pub(super) struct Calls {
    me: Node,
    client_id: u64,
    pub(super) cluster: Bytes,
    epoch: u64,
    sequence: u64,
    unanswered: BTreeSet<u64>,
    pending: BTreeMap<u64, Pending>,
    by_stream: BTreeMap<StreamId, u64>,
    last: u64,
}

/// The timer of a call.
pub(super) const CALL: u32 = 2;

fn header_of(request: &mut Request) -> (Option<&mut Option<pb::RequestHeader>>, bool) {
    match request {
        Request::Connect(r) => (Some(&mut r.header), false),
        Request::Stat(r) => (Some(&mut r.header), false),
        Request::Create(r) => (Some(&mut r.header), true),
        Request::Open(r) => (Some(&mut r.header), r.write || r.append),
        Request::Locate(r) => (Some(&mut r.header), false),
        Request::Allocate(r) => (Some(&mut r.header), true),
        Request::Recover(r) => (Some(&mut r.header), true),
        Request::Lease(r) => (Some(&mut r.header), true),
        Request::Truncate(r) => (Some(&mut r.header), true),
        Request::Sync(r) => (Some(&mut r.header), true),
        Request::Close(r) => (Some(&mut r.header), true),
        Request::Rename(r) => (Some(&mut r.header), true),
        Request::Remove(r) => (Some(&mut r.header), true),
        Request::ReportDamage(r) => (Some(&mut r.header), false),
        _ => (None, false),
    }
}

impl Calls {
    pub(super) fn new(me: Node, client_id: u64) -> Self {
        Self {
            me,
            client_id,
            cluster: Bytes::new(),
            epoch: 0,
            sequence: 0,
            unanswered: BTreeSet::new(),
            pending: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            last: 0,
        }
    }

    /// Calls of another client in the same process, to the same cluster.
    pub(super) fn of_another(&self, client_id: u64) -> Self {
        let mut calls = Self::new(self.me, client_id);
        // Timers and streams of the calls before must not be taken for those of its own.
        calls.last = self.last;
        calls.cluster = self.cluster.clone();
        calls.epoch = self.epoch;
        calls
    }

    pub(super) fn client_id(&self) -> u64 {
        self.client_id
    }

    /// Makes a call.
    pub(super) fn call(&mut self, ctx: &mut Context, purpose: Purpose, mut request: Request) {
        let (header, mutation) = header_of(&mut request);
        let mut sequence = 0;
        if mutation {
            self.sequence += 1;
            sequence = self.sequence;
            self.unanswered.insert(sequence);
        }
        let answered = self.unanswered.first().map_or(0, |first| first - 1);
        if let Some(header) = header {
            *header = Some(pb::RequestHeader {
                cluster_id: self.cluster.clone(),
                client_id: self.client_id,
                sequence,
                answered_through: if mutation { answered } else { 0 },
                epoch: self.epoch,
            });
        }
        self.last += 1;
        let number = self.last;
        let pending = Pending {
            request,
            purpose,
            sequence,
            stream: None,
            sent_at: ctx.millis(),
            deadline: ctx.millis() + DEADLINE,
            pause: 20,
            again_at: Millis(0),
        };
        self.pending.insert(number, pending);
        self.send(ctx, number);
    }

    fn send(&mut self, ctx: &mut Context, number: u64) {
        let Some(pending) = self.pending.get_mut(&number) else { return };
        let call = Wire::Call(Box::new(pending.request.clone()));
        let stream = ctx.open(self.me, Node::Master, call);
        pending.stream = Some(stream);
        pending.sent_at = ctx.millis();
        self.by_stream.insert(stream, number);
        ctx.after(self.me, ONE_ANSWER.0 * 1000, Timer { kind: CALL, number });
    }

    /// Sends it again after a pause, or gives up.
    fn again(
        &mut self,
        ctx: &mut Context,
        number: u64,
        error: pb::ErrorDetail,
    ) -> Option<(Purpose, Result<Response, pb::ErrorDetail>)> {
        let pending = self.pending.get_mut(&number)?;
        if let Some(stream) = pending.stream.take() {
            self.by_stream.remove(&stream);
            ctx.close(self.me, stream);
        }
        if ctx.millis() >= pending.deadline {
            return self.end(number, Err(error));
        }
        let pause = pending.pause.max(u64::from(error.retry_after_ms)) * 1000;
        pending.pause = (pending.pause * 2).min(500);
        pending.again_at = Millis(ctx.now.plus(pause).0 / 1000);
        ctx.after(self.me, pause + 1000, Timer { kind: CALL, number });
        None
    }

    fn end(
        &mut self,
        number: u64,
        result: Result<Response, pb::ErrorDetail>,
    ) -> Option<(Purpose, Result<Response, pb::ErrorDetail>)> {
        let pending = self.pending.remove(&number)?;
        self.unanswered.remove(&pending.sequence);
        Some((pending.purpose, result))
    }

    /// Whether this stream is a call.
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// The answer to a call came, or (`None`) its stream broke.
    pub(super) fn arrived(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        answer: Option<Result<Box<Response>, Box<pb::ErrorDetail>>>,
    ) -> Option<(Purpose, Result<Response, pb::ErrorDetail>)> {
        let number = self.by_stream.remove(&stream)?;
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.stream = None;
        }
        match answer {
            None => {
                let error = pb::ErrorDetail::new(ErrorCode::Unavailable, "the stream broke");
                self.again(ctx, number, error)
            }
            Some(Ok(response)) => {
                match &*response {
                    Response::Connect(r) => self.epoch = self.epoch.max(r.epoch),
                    Response::Create(r) => self.epoch = self.epoch.max(r.epoch),
                    Response::Open(r) => self.epoch = self.epoch.max(r.epoch),
                    _ => {}
                }
                self.end(number, Ok(*response))
            }
            Some(Err(error)) => match error.error_code() {
                ErrorCode::NotLeader | ErrorCode::NotReady | ErrorCode::Unavailable => {
                    self.again(ctx, number, *error)
                }
                _ => self.end(number, Err(*error)),
            },
        }
    }

    /// A timer of a call went off.
    pub(super) fn timer(
        &mut self,
        ctx: &mut Context,
        number: u64,
    ) -> Option<(Purpose, Result<Response, pb::ErrorDetail>)> {
        let pending = self.pending.get(&number)?;
        let now = ctx.millis();
        match pending.stream {
            None if now >= pending.again_at => {
                self.send(ctx, number);
                None
            }
            Some(_) if now.since(pending.sent_at) >= ONE_ANSWER => {
                let error = pb::ErrorDetail::new(ErrorCode::Unavailable, "no answer");
                self.again(ctx, number, error)
            }
            _ => None,
        }
    }

    /// Nobody waits for calls of this purpose any more.
    pub(super) fn forget(&mut self, ctx: &mut Context, which: impl Fn(Purpose) -> bool) {
        let numbers: Vec<u64> =
            self.pending.iter().filter(|(_, p)| which(p.purpose)).map(|(n, _)| *n).collect();
        for number in numbers {
            if let Some(stream) = self.pending.get_mut(&number).and_then(|p| p.stream.take()) {
                self.by_stream.remove(&stream);
                ctx.close(self.me, stream);
            }
            self.end(number, Err(pb::ErrorDetail::default()));
        }
    }
}
