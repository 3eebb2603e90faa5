//! An application that overwrites slots of a file, as others do at the same time.

use super::Client;
use super::pushing::{Job, Pushing};
use crate::context::{Context, Timer};
use crate::ledger::slots::SLOT;
use gfs_core::writer::{Event, FileOverwriter, SliceId, Token};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};
use std::collections::BTreeMap;

/// Writes under way at most.
const AT_ONCE: usize = 6;

/// A slot and the number of a write of it.
type Write = (usize, usize);

/// A flush or close under way.
#[derive(Debug)]
struct Waits {
    token: Token,
    /// Writes that will be on disk.
    on_disk: Vec<Write>,
    closing: bool,
}

/// A file being overwritten.
#[derive(Debug)]
pub(super) struct Overwriting {
    pub(super) overwriter: FileOverwriter,
    /// Writes still to be made.
    left: u32,
    /// Cut into slices of at most so many bytes.
    max_slice: u32,
    /// Slices on their way, and of which write.
    sent: BTreeMap<SliceId, Write>,
    /// Writes on their way: slices of each, and whether one failed.
    under_way: BTreeMap<Write, (usize, bool)>,
    /// Writes that are to be on disk with the next flush.
    stored: Vec<Write>,
    waits: Option<Waits>,
}

impl Overwriting {
    pub(super) fn new(overwriter: FileOverwriter, writes: u32, max_slice: u32) -> Self {
        Self {
            overwriter,
            left: writes,
            max_slice,
            sent: BTreeMap::new(),
            under_way: BTreeMap::new(),
            stored: Vec::new(),
            waits: None,
        }
    }

    /// Writes of which nothing was heard.
    pub(super) fn unheard(&self) -> Vec<Write> {
        self.under_way.keys().copied().collect()
    }
}

impl Client {
    /// Overwrites slots that nobody else writes just now, several at a time; flushes now and then;
    /// closes at the end.
    pub(super) fn overwrite_on(&mut self, ctx: &mut Context) {
        let me = self.me();
        loop {
            let Some(pushing) = self.pushing.as_mut() else { return };
            let number = pushing.number();
            let Pushing { file, job: Job::Overwrite(overwriting), .. } = pushing else { return };
            if let Some(error) = overwriting.overwriter.failure().cloned() {
                return self.end_overwriting(ctx, Some(&error));
            }
            let closing = overwriting.left == 0;
            let flushing = self.habits.disk && self.dice.chance(80);
            if closing || flushing {
                match &overwriting.waits {
                    Some(_) if closing => return,
                    Some(_) => continue,
                    None => {}
                }
                let token = Token(number);
                // What was stored before is on disk after it; of what is under way nothing is said.
                let disk = !closing;
                let on_disk = if disk { overwriting.stored.clone() } else { Vec::new() };
                overwriting.waits = Some(Waits { token, on_disk, closing });
                let event = match closing {
                    true => Event::Close { token },
                    false => Event::Flush { token, disk },
                };
                self.push_step(ctx, event);
            } else {
                if overwriting.under_way.len() >= AT_ONCE
                    || !overwriting.overwriter.has_room(SLOT as u32)
                {
                    return;
                }
                let Some(slots) = ctx.ledger.slots(*file) else { return };
                let Some(slot) = self.dice.pick(&slots.idle()).copied() else {
                    // Others write all of them.
                    return ctx.after(me, 20_000, Timer { kind: super::GO_ON, number: 0 });
                };
                self.overwrite(ctx, slot);
            }
            if self.thinks(ctx) {
                return;
            }
        }
    }

    fn overwrite(&mut self, ctx: &mut Context, slot: usize) {
        let Some(pushing) = self.pushing.as_mut() else { return };
        let Some(slots) = ctx.ledger.slots(pushing.file) else { return };
        let Some((write, mut position, mut bytes)) = slots.send(slot) else { return };
        let mut effects = Vec::new();
        while !bytes.is_empty() {
            let slice = SliceId(pushing.number());
            let Job::Overwrite(overwriting) = &mut pushing.job else { return };
            let most = u64::from(overwriting.max_slice);
            let length = (most - position % most).min(bytes.len() as u64) as u32;
            overwriting.sent.insert(slice, (slot, write));
            overwriting.under_way.entry((slot, write)).or_default().0 += 1;
            pushing.slices.insert(slice, bytes.split_to(length as usize));
            let now = ctx.millis();
            overwriting.overwriter.write(now, slice, position, length, &mut effects);
            position += u64::from(length);
        }
        if let Job::Overwrite(overwriting) = &mut pushing.job {
            overwriting.left -= 1;
        }
        self.push_effects(ctx, effects);
    }

    pub(super) fn overwritten(
        &mut self,
        ctx: &mut Context,
        slice: SliceId,
        result: Result<u64, GfsError>,
    ) {
        let (me, now) = (self.me(), ctx.millis());
        let Some(Pushing { file, job: Job::Overwrite(overwriting), .. }) = self.pushing.as_mut()
        else {
            return;
        };
        let Some((slot, write)) = overwriting.sent.remove(&slice) else { return };
        let Some((left, failed)) = overwriting.under_way.get_mut(&(slot, write)) else { return };
        *left -= 1;
        *failed |= result.is_err();
        let (left, failed, file) = (*left, *failed, *file);
        if left == 0 {
            overwriting.under_way.remove(&(slot, write));
            if !failed {
                overwriting.stored.push((slot, write));
            }
            ctx.note(me, format_args!("file {file}: slot {slot} write {write} failed: {failed}"));
            if let Some(slots) = ctx.ledger.slots(file) {
                slots.settle(slot, write, !failed, now);
            }
        }
        if let Err(error) = result
            && overwriting.overwriter.failure().is_none()
        {
            self.failed_write(ctx, file, &error);
        }
    }

    pub(super) fn overwrite_done(
        &mut self,
        ctx: &mut Context,
        token: Token,
        result: Result<Option<Box<pb::Attributes>>, GfsError>,
    ) {
        let me = self.me();
        let Some(Pushing { file, job: Job::Overwrite(overwriting), .. }) = self.pushing.as_mut()
        else {
            return;
        };
        let Some(waits) = overwriting.waits.take_if(|waits| waits.token == token) else { return };
        let file = *file;
        match result {
            Ok(_) => {
                if let Some(slots) = ctx.ledger.slots(file) {
                    for (slot, write) in waits.on_disk {
                        slots.is_on_disk(slot, write);
                    }
                }
                if waits.closing {
                    self.end_overwriting(ctx, None);
                }
            }
            // What was stored in a chunk that was changed since may have been brought to disk by
            // nobody. The writes stay.
            Err(error) if error.code == ErrorCode::Conflict && !waits.closing => {
                overwriting.stored.retain(|write| !waits.on_disk.contains(write));
                ctx.note(me, format_args!("file {file}: not on disk: {error}"));
            }
            Err(error) => self.end_overwriting(ctx, Some(&error)),
        }
    }

    fn end_overwriting(&mut self, ctx: &mut Context, failed: Option<&GfsError>) {
        let Some(Pushing { file, job: Job::Overwrite(overwriting), .. }) = self.pushing.as_ref()
        else {
            return;
        };
        let (file, unheard, now) = (*file, overwriting.unheard(), ctx.millis());
        if let Some(slots) = ctx.ledger.slots(file) {
            for (slot, write) in &unheard {
                slots.settle(*slot, *write, false, now);
            }
        }
        match failed {
            Some(error) => self.failed_write(ctx, file, error),
            None if !unheard.is_empty() => {
                ctx.violation(format!("file {file} was closed without a word of {unheard:?}"));
            }
            None => {}
        }
        self.end_pushing(ctx);
    }
}
