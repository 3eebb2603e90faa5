//! An application that writes a file from its beginning to its end, or on from there.

use super::Client;
use super::pushing::{Job, Pushing};
use crate::context::{Context, Timer};
use gfs_core::writer::{Event, FileWriter, SliceId, Token};
use gfs_proto::v1 as pb;
use gfs_types::GfsError;

/// Sync, flush or close under way.
#[derive(Clone, Copy, Debug)]
struct Waits {
    token: Token,
    /// The length that it will acknowledge.
    mark: u64,
    /// And have on disk.
    disk: bool,
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) writer: FileWriter,
    /// Length to be reached.
    goal: u64,
    handed: u64,
    /// All of it is to be on disk.
    disk: bool,
    waits: Option<Waits>,
    closing: bool,
    /// It says nothing more.
    over: bool,
}

impl Writing {
    pub(super) fn new(writer: FileWriter, length: u64, goal: u64, disk: bool) -> Self {
        Self { writer, goal, handed: length, disk, waits: None, closing: false, over: false }
    }
}

impl Client {
    /// Hands in what there is room for; flushes now and then; closes at the end.
    pub(super) fn write_on(&mut self, ctx: &mut Context) {
        let disk = self.habits.disk;
        loop {
            let Some(pushing) = self.pushing.as_mut() else { return };
            let number = pushing.number();
            let Pushing { file, job: Job::Write(writing), slices, .. } = pushing else { return };
            if writing.over || writing.waits.is_some() {
                return;
            }
            let token = Token(number);
            let mut waits = Waits { token, mark: writing.handed, disk: writing.disk };
            let event = if writing.handed >= writing.goal {
                writing.closing = true;
                writing.waits = Some(waits);
                Event::Close { token }
            } else if writing.writer.failure().is_some() {
                // It failed while the application waited for room: that it hears now.
                writing.waits = Some(waits);
                Event::Flush { token, disk: false }
            } else if self.dice.chance(120) {
                let flush = self.dice.chance(500);
                let disk = disk && self.dice.chance(500);
                waits.disk |= disk;
                writing.waits = Some(waits);
                if flush { Event::Flush { token, disk } } else { Event::Sync { token, disk } }
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
                        "the writer of file {file} stands at {}, {} bytes were handed in",
                        room.position, writing.handed
                    ));
                }
                let Some(fact) = ctx.ledger.file(*file) else { return };
                let Some(layout) = fact.layout() else { return };
                let payload = layout.bytes(writing.handed, length as usize);
                slices.insert(SliceId(number), payload);
                writing.handed += length;
                fact.handed = fact.handed.max(writing.handed);
                Event::Data { slice: SliceId(number), length: length as u32 }
            };
            self.push_step(ctx, event);
            if self.thinks(ctx) {
                return;
            }
        }
    }

    pub(super) fn write_done(
        &mut self,
        ctx: &mut Context,
        token: Token,
        result: Result<Option<Box<pb::Attributes>>, GfsError>,
    ) {
        let me = self.me();
        let Some(Pushing { file, job: Job::Write(writing), .. }) = self.pushing.as_mut() else {
            return;
        };
        let Some(waits) = writing.waits.take_if(|waits| waits.token == token) else { return };
        let (file, closing, mark) = (*file, writing.closing, waits.mark);
        match result {
            Ok(attributes) => {
                let disk = if waits.disk { ", on disk" } else { "" };
                ctx.note(me, format_args!("file {file}: {mark} acknowledged{disk}"));
                if let Some(length) = attributes.map(|a| a.length)
                    && length != mark
                    && closing
                {
                    ctx.violation(format!("file {file} was closed at {length}, not at {mark}"));
                }
                if let Some(fact) = ctx.ledger.file(file) {
                    fact.acknowledged = fact.acknowledged.max(mark);
                    if waits.disk {
                        fact.on_disk = fact.on_disk.max(mark);
                    }
                    fact.closed = closing.then_some(mark);
                }
                if closing {
                    writing.over = true;
                } else {
                    ctx.after(me, 1, Timer { kind: super::GO_ON, number: 0 });
                }
            }
            Err(error) => {
                writing.over = true;
                self.failed_write(ctx, file, &error);
            }
        }
        if let Some(Pushing { job: Job::Write(Writing { over: true, .. }), .. }) = self.pushing {
            self.end_pushing(ctx);
        }
    }
}
