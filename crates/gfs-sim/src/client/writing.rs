//! The shell around a file writer.

use super::calls::Purpose;
use super::{Client, Role, WAKE};
use crate::content;
use crate::context::{Context, Timer};
use crate::network::StreamId;
use crate::server::node_at;
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::{Request, Response};
use gfs_core::writer::{
    Answer, Effect, Event, FileWriter, Question, SliceId, StreamEvent, StreamId as PushId, Token,
};
use gfs_proto::v1 as pb;
use gfs_types::{BlockSums, GfsError, Millis};
use std::collections::BTreeMap;

/// A file being written.
#[derive(Debug)]
pub(super) struct Writing {
    /// Its number in the ledger.
    pub(super) file: u64,
    writer: FileWriter,
    slices: BTreeMap<SliceId, Bytes>,
    streams: BTreeMap<PushId, StreamId>,
    last: u64,
    /// Length to be reached.
    goal: u64,
    handed: u64,
    /// Sync, flush or close under way, and the length that it will acknowledge.
    waits: Option<(Token, u64)>,
    closing: bool,
    /// It says nothing more.
    over: bool,
}

impl Writing {
    pub(super) fn new(file: u64, writer: FileWriter, length: u64, goal: u64) -> Self {
        Self {
            file,
            writer,
            slices: BTreeMap::new(),
            streams: BTreeMap::new(),
            last: 0,
            goal,
            handed: length,
            waits: None,
            closing: false,
            over: false,
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Millis> {
        self.writer.wake_at()
    }
}

impl Client {
    /// Hands in what there is room for; flushes now and then; closes at the end.
    pub(super) fn write_on(&mut self, ctx: &mut Context) {
        loop {
            let Some(writing) = self.writing.as_mut().filter(|w| !w.over && w.waits.is_none())
            else {
                return;
            };
            writing.last += 1;
            let number = writing.last;
            let event = if writing.handed >= writing.goal {
                writing.closing = true;
                writing.waits = Some((Token(number), writing.handed));
                Event::Close { token: Token(number) }
            } else if writing.writer.failure().is_some() {
                // It failed while the application waited for room: that it hears now.
                writing.waits = Some((Token(number), writing.handed));
                Event::Flush { token: Token(number), disk: false }
            } else if self.dice.chance(120) {
                writing.waits = Some((Token(number), writing.handed));
                if self.dice.chance(500) {
                    Event::Flush { token: Token(number), disk: false }
                } else {
                    Event::Sync { token: Token(number), disk: false }
                }
            } else {
                let Some(room) = writing.writer.room() else { return };
                let most = u64::from(room.length).min(writing.goal - writing.handed);
                // Often a whole slice, often something odd.
                let length = match self.dice.range(0, 3) {
                    0 => most,
                    1 => self.dice.range(1, most + 1),
                    _ => self.dice.range(1, most.min(5_000) + 1),
                };
                if room.position != writing.handed {
                    ctx.violation(format!(
                        "the writer of file {} stands at {}, {} bytes were handed in",
                        writing.file, room.position, writing.handed
                    ));
                }
                let payload = content::bytes(writing.file, writing.handed, length as usize);
                writing.slices.insert(SliceId(number), payload);
                writing.handed += length;
                if let Some(fact) = ctx.ledger.file(writing.file) {
                    fact.handed = fact.handed.max(writing.handed);
                }
                Event::Data { slice: SliceId(number), length: length as u32 }
            };
            self.write_step(ctx, event);
            // An application that is not always in a hurry.
            if self.dice.chance(30) {
                let pause = self.dice.range(0, self.think + 1);
                ctx.after(self.me(), pause, Timer { kind: super::GO_ON, number: 0 });
                return;
            }
        }
    }

    pub(super) fn write_step(&mut self, ctx: &mut Context, event: Event) {
        let Some(writing) = self.writing.as_mut() else { return };
        let mut effects = Vec::new();
        writing.writer.step(ctx.millis(), event, &mut effects);
        for effect in effects {
            self.write_effect(ctx, effect);
        }
        if let Some(wake) = self.writing.as_ref().and_then(|w| w.writer.wake_at()) {
            let after = (wake.0 * 1000).saturating_sub(ctx.now.0).max(1);
            ctx.after(self.me(), after, Timer { kind: WAKE, number: wake.0 });
        }
    }

    fn write_effect(&mut self, ctx: &mut Context, effect: Effect) {
        let me = self.me();
        let Some(writing) = self.writing.as_mut() else { return };
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
                let body = Box::new(pb::push_request::Body::Open(open));
                let opened = ctx.open(me, node, Wire::Push(body, None));
                writing.streams.insert(stream, opened);
                self.roles.insert(opened, Role::Push(stream));
            }
            Effect::Send { stream, slice, from, mut head } => {
                let Some(to) = writing.streams.get(&stream) else { return };
                // A payload that was let go of too early is gone: nothing right can be sent.
                let payload = writing
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
                let body = Box::new(pb::push_request::Body::Slice(head));
                ctx.send(me, *to, Wire::Push(body, Some(payload)));
            }
            Effect::SendCommit { stream, through } => {
                let body = Box::new(pb::push_request::Body::Commit(pb::Commit { through }));
                if let Some(to) = writing.streams.get(&stream) {
                    ctx.send(me, *to, Wire::Push(body, None));
                }
            }
            Effect::SendFinish { stream } => {
                let body = Box::new(pb::push_request::Body::Finish(pb::Finish::default()));
                if let Some(to) = writing.streams.get(&stream) {
                    ctx.send(me, *to, Wire::Push(body, None));
                }
            }
            Effect::SendFlush { stream, token } => {
                let body = Box::new(pb::push_request::Body::Flush(pb::Flush { token }));
                if let Some(to) = writing.streams.get(&stream) {
                    ctx.send(me, *to, Wire::Push(body, None));
                }
            }
            Effect::CloseStream { stream } => {
                if let Some(closed) = writing.streams.remove(&stream) {
                    self.roles.remove(&closed);
                    ctx.close(me, closed);
                }
            }
            Effect::Probe { probe, server, request } => {
                let Some(node) = node_at(&server) else { return };
                let stream = ctx.open(me, node, Wire::Confirmed(request));
                self.roles.insert(stream, Role::Probe(probe));
            }
            // Only of what is appended or overwritten.
            Effect::Outcomes { .. } | Effect::Settled { .. } => {}
            Effect::Release { slice } => {
                writing.slices.remove(&slice);
            }
            Effect::Done { token, result } => self.write_done(ctx, token, result),
        }
    }

    fn write_done(
        &mut self,
        ctx: &mut Context,
        token: Token,
        result: Result<Option<Box<pb::Attributes>>, GfsError>,
    ) {
        let Some(writing) = self.writing.as_mut() else { return };
        let Some((_, mark)) = writing.waits.take_if(|(waited, _)| *waited == token) else { return };
        let (file, closing) = (writing.file, writing.closing);
        match result {
            Ok(attributes) => {
                ctx.note(Self::node(self.index), format_args!("file {file}: {mark} acknowledged"));
                if let Some(length) = attributes.map(|a| a.length)
                    && length != mark
                    && closing
                {
                    ctx.violation(format!("file {file} was closed at {length}, not at {mark}"));
                }
                if let Some(fact) = ctx.ledger.file(file) {
                    fact.acknowledged = fact.acknowledged.max(mark);
                    fact.closed = closing.then_some(mark);
                }
                if closing {
                    writing.over = true;
                } else {
                    ctx.after(Self::node(self.index), 1, Timer { kind: super::GO_ON, number: 0 });
                }
            }
            Err(error) => {
                writing.over = true;
                self.failed_write(ctx, file, &error);
            }
        }
        if self.writing.as_ref().is_some_and(|w| w.over) {
            self.end_writing(ctx);
        }
    }

    /// The file is closed, or given up.
    fn end_writing(&mut self, ctx: &mut Context) {
        let Some(writing) = self.writing.take() else { return };
        for stream in writing.streams.into_values() {
            self.roles.remove(&stream);
            ctx.close(self.me(), stream);
        }
        if let Some(fact) = ctx.ledger.file(writing.file) {
            fact.being_written = false;
        }
        self.calls.forget(ctx, |purpose| matches!(purpose, Purpose::Ask(_)));
        self.task_done(ctx);
    }

    pub(super) fn write_answer(
        &mut self,
        ctx: &mut Context,
        ask: gfs_core::writer::AskId,
        result: Result<Response, pb::ErrorDetail>,
    ) {
        let result = match result {
            Ok(Response::Allocate(r)) => Ok(Answer::Chunk(Box::new(r.chunk.unwrap_or_default()))),
            Ok(Response::Recover(r)) => Ok(Answer::Chunk(Box::new(r.chunk.unwrap_or_default()))),
            Ok(Response::Sync(r)) => {
                Ok(Answer::Attributes(Box::new(r.attributes.unwrap_or_default())))
            }
            Ok(Response::Close(r)) => {
                Ok(Answer::Attributes(Box::new(r.attributes.unwrap_or_default())))
            }
            Ok(_) => return,
            Err(error) => Err(error),
        };
        self.write_step(ctx, Event::Answer { ask, result });
        self.write_on(ctx);
    }

    pub(super) fn write_heard(
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
        self.write_step(ctx, Event::Stream { stream, event });
        self.write_on(ctx);
    }
}
