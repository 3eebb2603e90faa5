//! The shell around a writer of any kind: its payload, its streams, its questions. What it is that
//! the application does with it is in [`writing`](super::writing), [`appending`](super::appending)
//! and [`overwriting`](super::overwriting).

use super::appending::Appending;
use super::calls::Purpose;
use super::overwriting::Overwriting;
use super::writing::Writing;
use super::{Client, Role, WAKE};
use crate::context::{Context, Timer};
use crate::network::StreamId;
use crate::server::node_at;
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::{Request, Response};
use gfs_core::writer::{
    Answer, AskId, Effect, Event, Question, SliceId, StreamEvent, StreamId as PushId,
};
use gfs_proto::v1 as pb;
use gfs_types::{BlockSums, ErrorCode, Millis};
use std::collections::BTreeMap;

/// Longest wait for what a replica remembers, in microseconds.
const OUTCOMES: u64 = 2_000_000;

/// What the application does with a file.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a client has one at a time")]
pub(super) enum Job {
    Write(Writing),
    Append(Appending),
    Overwrite(Overwriting),
}

/// A file that is changed.
#[derive(Debug)]
pub(super) struct Pushing {
    /// Its number in the ledger.
    pub(super) file: u64,
    pub(super) job: Job,
    /// What is not acknowledged.
    pub(super) slices: BTreeMap<SliceId, Bytes>,
    streams: BTreeMap<PushId, StreamId>,
    last: u64,
}

impl Pushing {
    pub(super) fn new(file: u64, job: Job) -> Self {
        Self { file, job, slices: BTreeMap::new(), streams: BTreeMap::new(), last: 0 }
    }

    /// A number for a slice or a token.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn wakes_at(&self) -> Option<Millis> {
        match &self.job {
            Job::Write(writing) => writing.writer.wake_at(),
            Job::Append(appending) => appending.appender.wake_at(),
            Job::Overwrite(overwriting) => overwriting.overwriter.wake_at(),
        }
    }
}

impl Client {
    /// The application goes on, as far as there is room.
    pub(super) fn push_on(&mut self, ctx: &mut Context) {
        match self.pushing.as_ref().map(|pushing| &pushing.job) {
            Some(Job::Write(_)) => self.write_on(ctx),
            Some(Job::Append(_)) => self.append_on(ctx),
            Some(Job::Overwrite(_)) => self.overwrite_on(ctx),
            None => {}
        }
    }

    /// An application that is not always in a hurry: whether it pauses here.
    pub(super) fn thinks(&mut self, ctx: &mut Context) -> bool {
        let pauses = self.dice.chance(30);
        if pauses {
            let pause = self.dice.range(0, self.think + 1);
            ctx.after(self.me(), pause, Timer { kind: super::GO_ON, number: 0 });
        }
        pauses
    }

    pub(super) fn push_step(&mut self, ctx: &mut Context, event: Event) {
        let Some(pushing) = self.pushing.as_mut() else { return };
        let (mut effects, now) = (Vec::new(), ctx.millis());
        match &mut pushing.job {
            Job::Write(writing) => writing.writer.step(now, event, &mut effects),
            Job::Append(appending) => appending.appender.step(now, event, &mut effects),
            Job::Overwrite(overwriting) => overwriting.overwriter.step(now, event, &mut effects),
        }
        self.push_effects(ctx, effects);
    }

    pub(super) fn push_effects(&mut self, ctx: &mut Context, effects: Vec<Effect>) {
        for effect in effects {
            self.push_effect(ctx, effect);
        }
        if let Some(wake) = self.pushing.as_ref().and_then(Pushing::wakes_at) {
            let after = (wake.0 * 1000).saturating_sub(ctx.now.0).max(1);
            ctx.after(self.me(), after, Timer { kind: WAKE, number: wake.0 });
        }
    }

    fn push_effect(&mut self, ctx: &mut Context, effect: Effect) {
        use pb::push_request::Body;
        let me = self.me();
        let Some(pushing) = self.pushing.as_mut() else { return };
        match effect {
            Effect::Ask { ask, question } => {
                let request = match question {
                    Question::Allocate(r) => Request::Allocate(r),
                    Question::Recover(r) => Request::Recover(r),
                    Question::Lease(r) => Request::Lease(r),
                    Question::Sync(r) => Request::Sync(r),
                    Question::Close(r) => Request::Close(r),
                };
                self.calls.call(ctx, Purpose::Ask(ask), request);
            }
            Effect::OpenStream { stream, server, open } => {
                let Some(node) = node_at(&server) else { return };
                let opened = ctx.open(me, node, Wire::Push(Box::new(Body::Open(open)), None));
                pushing.streams.insert(stream, opened);
                self.roles.insert(opened, Role::Push(stream));
            }
            Effect::Send { stream, slice, from, mut head } => {
                let Some(to) = pushing.streams.get(&stream) else { return };
                // A payload that was let go of too early is gone: nothing right can be sent.
                let payload = pushing
                    .slices
                    .get(&slice)
                    .and_then(|payload| {
                        let from = from as usize;
                        let to = from.checked_add(head.length as usize)?;
                        (to <= payload.len()).then(|| payload.slice(from..to))
                    })
                    .unwrap_or_else(|| vec![0; head.length as usize].into());
                let sums = BlockSums::of(head.offset, std::slice::from_ref(&payload));
                head.sums = sums.0.into_iter().map(|sum| sum.0).collect();
                ctx.send(me, *to, Wire::Push(Box::new(Body::Slice(head)), Some(payload)));
            }
            Effect::SendCommit { stream, through } => {
                self.say(ctx, stream, Body::Commit(pb::Commit { through }));
            }
            Effect::SendFinish { stream } => {
                self.say(ctx, stream, Body::Finish(pb::Finish::default()));
            }
            Effect::SendFlush { stream, token } => {
                self.say(ctx, stream, Body::Flush(pb::Flush { token }));
            }
            Effect::CloseStream { stream } => {
                if let Some(closed) = pushing.streams.remove(&stream) {
                    self.roles.remove(&closed);
                    ctx.close(me, closed);
                }
            }
            Effect::Probe { probe, server, request } => {
                let Some(node) = node_at(&server) else { return };
                let stream = ctx.open(me, node, Wire::Confirmed(request));
                self.roles.insert(stream, Role::Probe(probe));
            }
            Effect::Outcomes { ask, server, request } => {
                let Some(node) = node_at(&server) else { return };
                let stream = ctx.open(me, node, Wire::Outcomes(request));
                self.roles.insert(stream, Role::Outcomes(ask));
                ctx.after(me, OUTCOMES, Timer { kind: super::OUTCOMES, number: stream.0 });
            }
            Effect::Release { slice } => {
                pushing.slices.remove(&slice);
            }
            Effect::Settled { slice, result } => match pushing.job {
                Job::Write(_) => {}
                Job::Append(_) => self.appended(ctx, slice, result),
                Job::Overwrite(_) => self.overwritten(ctx, slice, result),
            },
            Effect::Done { token, result } => match pushing.job {
                Job::Write(_) => self.write_done(ctx, token, result),
                Job::Append(_) => self.append_done(ctx, token, result),
                Job::Overwrite(_) => self.overwrite_done(ctx, token, result),
            },
        }
    }

    fn say(&self, ctx: &mut Context, stream: PushId, body: pb::push_request::Body) {
        if let Some(to) = self.pushing.as_ref().and_then(|p| p.streams.get(&stream)) {
            ctx.send(self.me(), *to, Wire::Push(Box::new(body), None));
        }
    }

    /// The file is closed, or given up.
    pub(super) fn end_pushing(&mut self, ctx: &mut Context) {
        let Some(pushing) = self.pushing.take() else { return };
        self.drop_streams(ctx, pushing.streams);
        if let Some(fact) = ctx.ledger.file(pushing.file) {
            fact.being_written = false;
        }
        self.calls.forget(ctx, |purpose| matches!(purpose, Purpose::Ask(_)));
        self.task_done(ctx);
    }

    fn drop_streams(&mut self, ctx: &mut Context, streams: BTreeMap<PushId, StreamId>) {
        for stream in streams.into_values() {
            self.roles.remove(&stream);
            ctx.close(self.me(), stream);
        }
    }

    pub(super) fn push_answer(
        &mut self,
        ctx: &mut Context,
        ask: AskId,
        result: Result<Response, pb::ErrorDetail>,
    ) {
        let chunk = |chunk: Option<pb::ChunkLocation>| {
            Ok(Answer::Chunk(Box::new(chunk.unwrap_or_default())))
        };
        let attributes = |attributes: Option<pb::Attributes>| {
            Ok(Answer::Attributes(Box::new(attributes.unwrap_or_default())))
        };
        let result = match result {
            Ok(Response::Allocate(r)) => chunk(r.chunk),
            Ok(Response::Recover(r)) => chunk(r.chunk),
            Ok(Response::Lease(r)) => chunk(r.chunk),
            Ok(Response::Sync(r)) => attributes(r.attributes),
            Ok(Response::Close(r)) => attributes(r.attributes),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        self.push_step(ctx, Event::Answer { ask, result });
        self.push_on(ctx);
    }

    /// What a replica remembers; or it does not answer.
    pub(super) fn outcomes_heard(
        &mut self,
        ctx: &mut Context,
        stream: StreamId,
        ask: AskId,
        message: Option<Wire>,
    ) {
        self.roles.remove(&stream);
        let result = match message {
            Some(Wire::AreOutcomes(Ok(outcomes))) => Ok(Answer::Outcomes(Box::new(outcomes))),
            Some(Wire::AreOutcomes(Err(error))) => Err(*error),
            _ => Err(pb::ErrorDetail::new(ErrorCode::Unavailable, "the server does not answer")),
        };
        ctx.close(self.me(), stream);
        self.push_step(ctx, Event::Answer { ask, result });
        self.push_on(ctx);
    }

    pub(super) fn push_heard(
        &mut self,
        ctx: &mut Context,
        stream: PushId,
        body: Option<pb::push_reply::Body>,
    ) {
        use pb::push_reply::Body;
        let event = match body {
            None => StreamEvent::Broken,
            Some(Body::Opened(opened)) => StreamEvent::Opened(opened),
            Some(Body::Acknowledged(acknowledged)) => StreamEvent::Acknowledged(acknowledged),
            Some(Body::Resend(resend)) => StreamEvent::Resend(resend),
            Some(Body::Finished(finished)) => StreamEvent::Finished(finished),
            Some(Body::Failed(failed)) => StreamEvent::Failed(failed.error.unwrap_or_default()),
            Some(Body::Flushed(flushed)) => StreamEvent::Flushed(flushed),
            Some(Body::Held(_) | Body::Applied(_)) => return,
        };
        self.push_step(ctx, Event::Stream { stream, event });
        self.push_on(ctx);
    }
}
