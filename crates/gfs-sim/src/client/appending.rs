//! An application that appends records to a file, as others do at the same time.

use super::Client;
use super::pushing::{Job, Pushing};
use crate::context::Context;
use crate::ledger::records::{Fate, LEAST};
use gfs_core::writer::{Event, FileAppender, SliceId, Token};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};
use std::collections::BTreeMap;

/// A flush or close under way.
#[derive(Debug)]
struct Waits {
    token: Token,
    /// Records that will be on disk.
    on_disk: Vec<usize>,
    closing: bool,
}

/// A file being appended to.
#[derive(Debug)]
pub(super) struct Appending {
    pub(super) appender: FileAppender,
    /// Records still to be appended.
    left: u32,
    /// Largest record.
    most: u32,
    /// All records are to be on disk when it is closed.
    disk: bool,
    /// Records of this session, by the slice while it is on its way.
    sent: BTreeMap<SliceId, usize>,
    records: Vec<usize>,
    waits: Option<Waits>,
    failed: Option<GfsError>,
}

impl Appending {
    pub(super) fn new(appender: FileAppender, records: u32, most: u32, disk: bool) -> Self {
        Self {
            appender,
            left: records,
            most,
            disk,
            sent: BTreeMap::new(),
            records: Vec::new(),
            waits: None,
            failed: None,
        }
    }

    /// Records of which nothing was heard.
    pub(super) fn unheard(&self) -> Vec<usize> {
        self.sent.values().copied().collect()
    }
}

impl Client {
    /// Hands in records, several at a time; flushes now and then; closes at the end.
    pub(super) fn append_on(&mut self, ctx: &mut Context) {
        loop {
            let Some(pushing) = self.pushing.as_mut() else { return };
            let number = pushing.number();
            let Pushing { file, job: Job::Append(appending), slices, .. } = pushing else { return };
            if appending.appender.failure().is_some() {
                let error = appending.appender.failure().cloned();
                appending.failed = appending.failed.take().or(error);
                return self.end_appending(ctx);
            }
            let closing = appending.left == 0;
            let flushing = self.habits.disk && self.dice.chance(80);
            let event = if closing || flushing {
                // One after the other; a flush keeps nobody from appending.
                match &appending.waits {
                    Some(_) if closing => return,
                    Some(_) => continue,
                    None => {}
                }
                let disk = if closing { appending.disk } else { self.dice.chance(700) };
                let on_disk = if disk { appending.records.clone() } else { Vec::new() };
                let token = Token(number);
                appending.waits = Some(Waits { token, on_disk, closing });
                if closing { Event::Close { token } } else { Event::Flush { token, disk } }
            } else {
                let length = match self.dice.range(0, 8) {
                    0 => appending.most,
                    1..3 => self.dice.range(LEAST.into(), u64::from(appending.most) + 1) as u32,
                    _ => self.dice.range(LEAST.into(), 3_000) as u32,
                };
                // Some wait until fewer are under way, as those do who gather small records.
                let hurry = self.dice.chance(700);
                let waiting = if hurry { u64::MAX } else { length.into() };
                if appending.appender.room(waiting).is_none() {
                    return;
                }
                let Some(fact) = ctx.ledger.file(*file) else { return };
                fact.handed += u64::from(length);
                let Some(records) = fact.records() else { return };
                let (record, bytes) = records.send(length);
                appending.left -= 1;
                appending.records.push(record);
                appending.sent.insert(SliceId(number), record);
                slices.insert(SliceId(number), bytes);
                Event::Data { slice: SliceId(number), length }
            };
            self.push_step(ctx, event);
            if self.thinks(ctx) {
                return;
            }
        }
    }

    pub(super) fn appended(
        &mut self,
        ctx: &mut Context,
        slice: SliceId,
        result: Result<u64, GfsError>,
    ) {
        let me = self.me();
        let Some(Pushing { file, job: Job::Append(appending), .. }) = self.pushing.as_mut() else {
            return;
        };
        let Some(record) = appending.sent.remove(&slice) else { return };
        let file = *file;
        ctx.note(me, format_args!("file {file}: record {record} is {result:?}"));
        let Some(fact) = ctx.ledger.file(file) else { return };
        let excused = fact.excused.is_some();
        let Some(records) = fact.records() else { return };
        let fate = match &result {
            Ok(at) => Fate::Stored(*at),
            // It may be there if nobody could tell, or not in time.
            Err(error) => match error.code {
                ErrorCode::OutcomeUnknown
                | ErrorCode::DeadlineExceeded
                | ErrorCode::NoSpace
                | ErrorCode::TooFewServers => Fate::Unknown,
                _ => Fate::Never,
            },
        };
        if let Some(record) = records.record(record) {
            record.fate = fate;
        }
        fact.acknowledged = fact.records().map_or(0, |records| records.end(false));
        match result {
            // Nobody here is forgotten: there are fewer appenders than a replica remembers.
            Err(error) if error.code == ErrorCode::OutcomeUnknown && !excused => {
                ctx.violation(format!("file {file}: record {record}: {error}"));
            }
            _ => {}
        }
    }

    pub(super) fn append_done(
        &mut self,
        ctx: &mut Context,
        token: Token,
        result: Result<Option<Box<pb::Attributes>>, GfsError>,
    ) {
        let me = self.me();
        let Some(Pushing { file, job: Job::Append(appending), .. }) = self.pushing.as_mut() else {
            return;
        };
        let Some(waits) = appending.waits.take_if(|waits| waits.token == token) else { return };
        let file = *file;
        if let Err(error) = result {
            appending.failed.get_or_insert(error);
        } else if let Some(fact) = ctx.ledger.file(file) {
            if let Some(records) = fact.records() {
                for number in &waits.on_disk {
                    if let Some(record) = records.record(*number) {
                        record.on_disk = true;
                    }
                }
                let end = records.end(true);
                fact.on_disk = end;
            }
            let (count, end) = (waits.on_disk.len(), fact.on_disk);
            ctx.note(me, format_args!("file {file}: {count} records on disk, up to {end}"));
        }
        let failed = self.pushing.as_ref().is_some_and(
            |pushing| matches!(&pushing.job, Job::Append(appending) if appending.failed.is_some()),
        );
        if waits.closing || failed {
            self.end_appending(ctx);
        }
    }

    fn end_appending(&mut self, ctx: &mut Context) {
        let Some(Pushing { file, job: Job::Append(appending), .. }) = self.pushing.as_mut() else {
            return;
        };
        let (file, failed, unheard) = (*file, appending.failed.take(), appending.unheard());
        if let Some(records) = ctx.ledger.records(file) {
            records.give_up(unheard.iter().copied());
        }
        if failed.is_none() && !unheard.is_empty() {
            ctx.violation(format!("file {file} was closed without a word of {unheard:?}"));
        }
        if let Some(error) = failed {
            self.failed_write(ctx, file, &error);
        }
        self.end_pushing(ctx);
    }
}
