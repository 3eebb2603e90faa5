//! The shell around the readers of a file's chunks, one after the other, and what it finds.

use super::calls::Purpose;
use super::{Client, Role};
use crate::context::{Context, Timer};
use crate::ledger::Content;
use crate::network::StreamId;
use crate::server::node_at;
use crate::wire::Wire;
use bytes::Bytes;
use gfs_core::brain::{Request, Response};
use gfs_core::reader::{ChunkReader, Effect, Event, Range, StreamId as ReadId};
use gfs_proto::v1 as pb;
use gfs_types::{GfsError, Millis};
use std::collections::{BTreeMap, VecDeque};

/// What a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) at: Millis,
    /// What must be there at least: acknowledged before.
    pub(super) least: u64,
    /// Any error is a violation.
    pub(super) strict: bool,
    /// How often it had been cut.
    pub(super) cuts: u32,
}

/// A file being read from its first byte to its last.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its number in the ledger.
    pub(super) file: u64,
    inode: u64,
    chunks: VecDeque<pb::ChunkLocation>,
    reader: Option<ChunkReader>,
    streams: BTreeMap<ReadId, (StreamId, u64)>,
    /// The next byte of the file.
    at: u64,
    /// What must be there at least: acknowledged before the file was opened.
    least: u64,
    /// Any error is a violation.
    strict: bool,
    /// When it was asked for.
    asked: Millis,
    /// How often it had been cut by then.
    cuts: u32,
    /// What was read of a file of records.
    records: Vec<u8>,
}

impl Reading {
    pub(super) fn new(file: u64, inode: u64, chunks: Vec<pb::ChunkLocation>, asked: Asked) -> Self {
        let Asked { at, least, strict, cuts } = asked;
        Self {
            file,
            inode,
            chunks: chunks.into(),
            reader: None,
            streams: BTreeMap::new(),
            at: 0,
            least,
            strict,
            asked: at,
            cuts,
            records: Vec::new(),
        }
    }

    /// Takes what was read; says what is wrong with it.
    fn take(&mut self, ctx: &mut Context, bytes: &[u8]) {
        let (file, at) = (self.file, self.at);
        self.at += bytes.len() as u64;
        let Some(fact) = ctx.ledger.file(file) else { return };
        let cut = fact.was_cut_since(self.cuts);
        match &mut fact.content {
            // Who cuts or extends it meanwhile decides what is there.
            Content::Written(_) if cut => {}
            Content::Written(layout) => {
                if let Some(at) = layout.difference(at, bytes) {
                    ctx.violation(format!("file {file}: a reader was given wrong bytes at {at}"));
                }
            }
            Content::Records(_) => self.records.extend_from_slice(bytes),
            Content::Slots(slots) => {
                for text in slots.check(at, bytes, self.asked, false) {
                    ctx.violation(format!("file {file}, read: {text}"));
                }
            }
        }
    }

    /// It ends here: `whole`, since there is nothing behind.
    fn end(&self, ctx: &mut Context, whole: bool) {
        let (file, least) = (self.file, self.least);
        let Some(fact) = ctx.ledger.file(file) else { return };
        let excused = fact.excused;
        let Some(records) = fact.records() else { return };
        for text in records.check(&self.records, whole, true, excused, least) {
            ctx.violation(format!("file {file}, read: {text}"));
        }
    }
}

impl Client {
    /// Begins with the next chunk, or ends.
    pub(super) fn read_on(&mut self, ctx: &mut Context) {
        let size = self.chunk_size;
        let Some(reading) = self.reading.as_mut() else { return };
        if reading.reader.is_some() {
            return;
        }
        let Some(location) = reading.chunks.pop_front() else {
            let (file, at, least) = (reading.file, reading.at, reading.least);
            ctx.note(Self::node(self.index), format_args!("file {file}: read to {at}"));
            reading.end(ctx, true);
            let fact = ctx.ledger.file(file);
            let excused = fact.as_ref().and_then(|fact| fact.excused);
            let cut = fact.is_some_and(|fact| fact.was_cut_since(reading.cuts));
            if !cut && at < excused.map_or(least, |from| least.min(from)) {
                ctx.violation(format!(
                    "file {file} ends at {at} for a reader, {least} bytes were acknowledged"
                ));
            }
            self.reading = None;
            self.bytes_read += at;
            return self.task_done(ctx);
        };
        if location.start != reading.at {
            ctx.violation(format!(
                "file {}: chunk {} begins at {}, the one before ends at {}",
                reading.file, location.index, location.start, reading.at
            ));
        }
        if location.hole {
            reading.take(ctx, &vec![0; location.length as usize]);
            return self.read_on(ctx);
        }
        let last = reading.chunks.is_empty() && !location.sealed;
        let acknowledged = reading.least.saturating_sub(location.start).min(u64::from(size)) as u32;
        let range = if last {
            Range { offset: 0, end: size, required: acknowledged.max(location.length) }
        } else {
            Range { offset: 0, end: location.length, required: location.length }
        };
        reading.reader = Some(ChunkReader::new(self.read_config, location, range));
        self.read_step(ctx, Event::Tick);
    }

    pub(super) fn read_step(&mut self, ctx: &mut Context, event: Event) {
        let Some(reading) = self.reading.as_mut() else { return };
        let Some(reader) = reading.reader.as_mut() else { return };
        let mut effects = Vec::new();
        reader.step(ctx.millis(), event, &mut effects);
        if let Some(wake) = reader.wake_at() {
            let after = (wake.0 * 1000).saturating_sub(ctx.now.0).max(1);
            ctx.after(Self::node(self.index), after, Timer { kind: super::READ_WAKE, number: 0 });
        }
        for effect in effects {
            self.read_effect(ctx, effect);
        }
    }

    fn read_effect(&mut self, ctx: &mut Context, effect: Effect) {
        let me = self.me();
        let Some(reading) = self.reading.as_mut() else { return };
        match effect {
            Effect::Open { stream, server, request } => {
                let Some(node) = node_at(&server) else { return };
                let opened = ctx.open(me, node, Wire::Read(request));
                self.roles.insert(opened, Role::Read(stream));
                reading.streams.insert(stream, (opened, ctx.now.0));
                self.watch_silence(ctx, stream);
            }
            Effect::Close { stream } => {
                if let Some((closed, _)) = reading.streams.remove(&stream) {
                    self.roles.remove(&closed);
                    ctx.close(me, closed);
                }
            }
            Effect::Locate { recover } => {
                let Some(location) = reading.reader.as_ref().map(ChunkReader::location) else {
                    return;
                };
                let request = if recover {
                    Request::Recover(pb::RecoverRequest {
                        inode: reading.inode,
                        handle: location.handle,
                        version: location.version,
                        ..Default::default()
                    })
                } else {
                    Request::Locate(pb::LocateRequest {
                        inode: reading.inode,
                        offset: location.start,
                        limit: 1,
                        ..Default::default()
                    })
                };
                self.calls.call(ctx, Purpose::Locate, request);
            }
            Effect::Deliver { pieces } => {
                // What came together was read together.
                reading.take(ctx, &pieces.concat());
            }
            Effect::Report(request) => {
                self.calls.call(ctx, Purpose::Report, Request::ReportDamage(request));
            }
            Effect::Done => {
                reading.reader = None;
                self.read_on(ctx);
            }
            Effect::Failed(error) => self.read_failed(ctx, &error),
        }
    }

    fn watch_silence(&self, ctx: &mut Context, stream: ReadId) {
        let patience = self.read_config.patience.0 * 1000;
        ctx.after(self.me(), patience, Timer { kind: super::SILENCE, number: stream.0 });
    }

    pub(super) fn read_silence(&mut self, ctx: &mut Context, number: u64) {
        let stream = ReadId(number);
        let Some(reading) = self.reading.as_ref() else { return };
        let Some((_, heard)) = reading.streams.get(&stream) else { return };
        if ctx.now.0 >= heard + self.read_config.patience.0 * 1000 {
            self.read_step(ctx, Event::Silent { stream });
        } else {
            self.watch_silence(ctx, stream);
        }
    }

    fn read_failed(&mut self, ctx: &mut Context, error: &GfsError) {
        let Some(reading) = self.reading.take() else { return };
        reading.end(ctx, false);
        for (stream, _) in reading.streams.into_values() {
            self.roles.remove(&stream);
            ctx.close(self.me(), stream);
        }
        self.calls.forget(ctx, |purpose| purpose == Purpose::Locate);
        self.reads_failed += 1;
        let text = format!("file {}: read failed at {}: {error}", reading.file, reading.at);
        // What a loss of power took may be missed at any time.
        let excused = ctx.ledger.file(reading.file).and_then(|fact| fact.excused);
        if reading.strict && excused.is_none_or(|from| reading.at < from) {
            ctx.violation(text);
        } else {
            ctx.note(self.me(), format_args!("{text}"));
        }
        self.task_done(ctx);
    }

    pub(super) fn read_located(
        &mut self,
        ctx: &mut Context,
        result: Result<Response, pb::ErrorDetail>,
    ) {
        let located = match result {
            Ok(Response::Locate(r)) => Ok(r.chunks.into_iter().next().unwrap_or_default()),
            Ok(Response::Recover(r)) => Ok(r.chunk.unwrap_or_default()),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        self.read_step(ctx, Event::Located(located.map(Box::new)));
    }

    pub(super) fn read_heard(&mut self, ctx: &mut Context, stream: ReadId, message: Option<Wire>) {
        let now = ctx.now.0;
        if let Some((_, heard)) =
            self.reading.as_mut().and_then(|reading| reading.streams.get_mut(&stream))
        {
            *heard = now;
        }
        let event = match message {
            Some(Wire::Piece(reply, payload)) => {
                // In two pieces, as it may come.
                let cut = payload.len() / 3;
                let payload: Vec<Bytes> = vec![payload.slice(..cut), payload.slice(cut..)];
                Event::Received { stream, reply, payload }
            }
            Some(Wire::Status(Ok(()))) => Event::Ended { stream },
            Some(Wire::Status(Err(detail))) => Event::Failed { stream, detail: *detail },
            _ => Event::Broken { stream },
        };
        self.read_step(ctx, event);
    }
}
