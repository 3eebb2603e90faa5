//! What the application does: files are written, read back, read by others, renamed, removed, cut,
//! extended, opened again and written on; records are appended to files that others append to as
//! well, and files overwritten that others overwrite.

use super::pushing::{Job, Pushing};
use super::reading::{Asked, Reading};
use super::writing::Writing;
use super::{Client, NEXT};
use super::{appending::Appending, calls::Purpose, overwriting::Overwriting};
use crate::content::Layout;
use crate::context::{Context, Timer};
use crate::ledger::Content;
use crate::ledger::records::Records;
use crate::ledger::slots::{SLOT, Slots};
use gfs_core::brain::{Request, Response};
use gfs_core::writer::{Config, FileAppender, FileOverwriter, FileWriter, Start};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, PROTOCOL_VERSION};

/// What an application is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It writes files of its own, from their beginning to their end.
    Writes,
    /// It appends records to files that others append to.
    Appends,
    /// It overwrites files that others overwrite.
    Overwrites,
}

/// How an application behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// What it is for.
    pub part: Part,
    /// Tasks.
    pub rounds: u32,
    /// Largest file, in bytes.
    pub largest: u64,
    /// Longest pause while writing, in microseconds.
    pub think: u64,
    /// Longest pause between tasks, in microseconds.
    pub rest: u64,
    /// Whether it opens files again to write on.
    pub appends: bool,
    /// Whether it renames and removes.
    pub moves: bool,
    /// Whether it cuts and extends.
    pub cuts: bool,
    /// Whether it wants things on disk.
    pub disk: bool,
}

/// What the client is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Connect,
    Nothing,
    Create {
        file: u64,
    },
    /// A file that many will change is closed by who made it,
    Leave {
        file: u64,
    },
    /// and extended to its length.
    Extend {
        file: u64,
    },
    Append {
        file: u64,
    },
    /// Records are to be appended, by one of many.
    Join {
        file: u64,
    },
    Push,
    Open {
        file: u64,
        path: String,
        asked: Asked,
    },
    Read,
    Rename {
        file: u64,
        to: String,
    },
    Remove {
        file: u64,
    },
    Cut {
        file: u64,
        length: u64,
    },
}

/// Whether a file is changed by those who do this.
fn is_for(part: Part, content: &Content) -> bool {
    match content {
        Content::Written(_) => part == Part::Writes,
        Content::Records(_) => part == Part::Appends,
        Content::Slots(_) => part == Part::Overwrites,
    }
}

impl Client {
    pub(super) fn connect(&mut self, ctx: &mut Context) {
        self.task = Task::Connect;
        let request =
            pb::ConnectRequest { protocol_version: PROTOCOL_VERSION, ..Default::default() };
        self.calls.call(ctx, Purpose::Task, Request::Connect(request));
    }

    /// A client that reads these files and takes no excuse.
    pub fn verify(&mut self, ctx: &mut Context, files: Vec<u64>) {
        self.to_verify = files;
        self.rounds = 0;
        self.start(ctx);
    }

    pub(super) fn task_done(&mut self, ctx: &mut Context) {
        self.task = Task::Nothing;
        let pause = self.dice.range(1, self.habits.rest + 2);
        ctx.after(self.me(), pause, Timer { kind: NEXT, number: 0 });
    }

    pub(super) fn next_task(&mut self, ctx: &mut Context) {
        if self.task != Task::Nothing {
            return;
        }
        if self.calls.cluster.is_empty() {
            return self.connect(ctx);
        }
        if let Some(file) = self.to_verify.pop() {
            return self.open(ctx, file, true);
        }
        if self.rounds == 0 {
            return;
        }
        self.rounds -= 1;
        match self.habits.part {
            Part::Writes => self.next_of_writer(ctx),
            Part::Appends | Part::Overwrites => self.next_of_many(ctx),
        }
    }

    fn next_of_writer(&mut self, ctx: &mut Context) {
        let draw = self.dice.range(0, 100);
        let idle: Vec<u64> = ctx
            .ledger
            .certain()
            .filter(|(_, fact)| is_for(Part::Writes, &fact.content) && !fact.being_written)
            .map(|(file, _)| file)
            .collect();
        let some: Vec<u64> = ctx.ledger.certain().map(|(file, _)| file).collect();
        let (one, any) = (self.dice.pick(&idle).copied(), self.dice.pick(&some).copied());
        match (draw, one, any) {
            (0..20, _, Some(file)) => self.open(ctx, file, false),
            (20..30, Some(file), _) if self.habits.appends => self.append(ctx, file),
            (30..38, Some(file), _) if self.habits.moves => self.rename(ctx, file),
            (38..45, Some(file), _) if self.habits.moves => self.remove(ctx, file),
            (45..65, Some(file), _) if self.habits.cuts => self.cut(ctx, file),
            _ => {
                self.create(ctx, Content::Written(Layout::default()));
            }
        }
    }

    /// A client that shares its files with others.
    fn next_of_many(&mut self, ctx: &mut Context) {
        let part = self.habits.part;
        let draw = self.dice.range(0, 100);
        let mine = ctx.ledger.certain().filter(|(_, fact)| is_for(part, &fact.content));
        let mine: Vec<u64> = mine.map(|(file, _)| file).collect();
        let made = ctx.ledger.files.values().any(|f| is_for(part, &f.content) && f.being_written);
        match self.dice.pick(&mine).copied() {
            None if made => {
                // Somebody is about to make one.
                self.rounds += 1;
                self.task_done(ctx);
            }
            Some(file) if draw < 30 => self.open(ctx, file, false),
            Some(file) if draw < 92 || mine.len() > 2 => match part {
                Part::Appends => self.join(ctx, file),
                _ => self.overwrite_some(ctx, file),
            },
            _ => {
                let key = self.dice.any();
                let content = match part {
                    Part::Appends => Content::Records(Records::new(key)),
                    _ => {
                        let most = (u64::from(self.chunk_size) * 3 / SLOT).min(30);
                        let count = self.dice.range(1, most + 1) as usize;
                        Content::Slots(Slots::new(
                            key,
                            count,
                            self.chunk_size,
                            self.write_config.max_slice,
                        ))
                    }
                };
                self.create(ctx, content);
            }
        }
    }

    fn create(&mut self, ctx: &mut Context, content: Content) {
        let path = format!("/c{}-{}", self.index, self.rounds);
        let file = ctx.ledger.create(path.clone(), content);
        if let Some(layout) = ctx.ledger.file(file).and_then(|fact| fact.layout()) {
            layout.begin(file, 0);
        }
        self.task = Task::Create { file };
        let request = pb::CreateRequest { path, ..Default::default() };
        self.calls.call(ctx, Purpose::Task, Request::Create(request));
    }

    fn open(&mut self, ctx: &mut Context, file: u64, strict: bool) {
        let at = ctx.millis();
        let Some(fact) = ctx.ledger.file(file) else { return };
        let (path, least) = (fact.path.clone().unwrap_or_default(), fact.promised());
        let asked = Asked { at, least, strict, cuts: fact.cuts };
        self.task = Task::Open { file, path: path.clone(), asked };
        let request = pb::OpenRequest { path, locations: 1_000, ..Default::default() };
        self.calls.call(ctx, Purpose::Task, Request::Open(request));
    }

    fn append(&mut self, ctx: &mut Context, file: u64) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        fact.being_written = true;
        let request = pb::OpenRequest {
            path: fact.path.clone().unwrap_or_default(),
            write: true,
            locations: 1_000,
            ..Default::default()
        };
        self.task = Task::Append { file };
        self.calls.call(ctx, Purpose::Task, Request::Open(request));
    }

    /// Opens a file to append records, as a client of its own.
    fn join(&mut self, ctx: &mut Context, file: u64) {
        self.become_another(ctx);
        let Some(fact) = ctx.ledger.file(file) else { return };
        let path = fact.path.clone().unwrap_or_default();
        let request = pb::OpenRequest { path, append: true, ..Default::default() };
        self.task = Task::Join { file };
        self.calls.call(ctx, Purpose::Task, Request::Open(request));
    }

    fn become_another(&mut self, ctx: &mut Context) {
        self.calls.forget(ctx, |_| true);
        let id = self.dice.any() | 1;
        self.calls = self.calls.of_another(id);
    }

    fn overwrite_some(&mut self, ctx: &mut Context, file: u64) {
        self.become_another(ctx);
        let (config, writer, now) = (self.config(), self.calls.client_id(), ctx.millis());
        let Some(fact) = ctx.ledger.file(file) else { return };
        let overwriter = FileOverwriter::new(config, fact.inode, writer, now);
        let writes = self.dice.range(1, 40) as u32;
        let overwriting = Overwriting::new(overwriter, writes, config.max_slice);
        self.begin(ctx, file, Job::Overwrite(overwriting));
    }

    /// How a file is written this time.
    fn config(&mut self) -> Config {
        let disk = self.habits.disk && self.dice.chance(200);
        Config { disk, ..self.write_config }
    }

    fn begin(&mut self, ctx: &mut Context, file: u64, job: Job) {
        self.pushing = Some(Pushing::new(file, job));
        self.task = Task::Push;
        self.push_on(ctx);
    }

    fn rename(&mut self, ctx: &mut Context, file: u64) {
        let to = format!("/m{}-{}", self.index, self.rounds);
        let Some(fact) = ctx.ledger.file(file) else { return };
        // Others keep away from it meanwhile.
        fact.doubtful = true;
        let request = pb::RenameRequest {
            from: fact.path.clone().unwrap_or_default(),
            to: to.clone(),
            inode: fact.inode,
            ..Default::default()
        };
        self.task = Task::Rename { file, to };
        self.calls.call(ctx, Purpose::Task, Request::Rename(request));
    }

    fn remove(&mut self, ctx: &mut Context, file: u64) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        fact.removed = true;
        let request = pb::RemoveRequest {
            path: fact.path.clone().unwrap_or_default(),
            inode: fact.inode,
            ..Default::default()
        };
        self.task = Task::Remove { file };
        self.calls.call(ctx, Purpose::Task, Request::Remove(request));
    }

    /// Cuts a file that is closed, or extends it.
    fn cut(&mut self, ctx: &mut Context, file: u64) {
        let size = u64::from(self.chunk_size);
        let Some(fact) = ctx.ledger.file(file) else { return };
        let closed = fact.closed.filter(|_| fact.excused.is_none());
        let Some(before) = closed else { return self.task_done(ctx) };
        let length = match self.dice.range(0, 6) {
            0 => 0,
            1 => before / size * size,
            2..4 => self.dice.range(0, before + 1),
            _ => before + self.dice.range(0, 2 * size),
        };
        fact.being_written = true;
        fact.cuts += 1;
        let inode = fact.inode;
        self.task = Task::Cut { file, length };
        let request = pb::TruncateRequest { inode, length, ..Default::default() };
        self.calls.call(ctx, Purpose::Task, Request::Truncate(request));
    }

    pub(super) fn task_answered(
        &mut self,
        ctx: &mut Context,
        result: Result<Response, pb::ErrorDetail>,
    ) {
        match (self.task.clone(), result) {
            (Task::Connect, Ok(Response::Connect(response))) => {
                self.calls.cluster = response.cluster_id;
                self.chunk_size = response.chunk_size;
                self.write_config.chunk_size = response.chunk_size;
                self.task_done(ctx);
            }
            (Task::Create { file }, Ok(Response::Create(response))) => {
                self.created(ctx, file, response);
            }
            (Task::Leave { file }, Ok(Response::Close(_))) => self.left(ctx, file),
            (Task::Extend { file }, Ok(Response::Truncate(response))) => {
                self.extended(ctx, file, &response.attributes.unwrap_or_default());
            }
            (Task::Append { file }, Ok(Response::Open(response))) => {
                self.write_behind(ctx, file, response);
            }
            (Task::Join { file }, Ok(Response::Open(response))) => {
                self.joined(ctx, file, response);
            }
            (Task::Open { file, asked, .. }, Ok(Response::Open(response))) => {
                let inode = response.attributes.map_or(0, |a| a.inode);
                self.reading = Some(Reading::new(file, inode, response.chunks, asked));
                self.task = Task::Read;
                self.read_on(ctx);
            }
            (Task::Rename { file, to }, Ok(_)) => {
                if let Some(fact) = ctx.ledger.file(file) {
                    fact.doubtful = false;
                    fact.path = Some(to);
                }
                self.task_done(ctx);
            }
            (Task::Remove { .. }, Ok(_)) => self.task_done(ctx),
            (Task::Cut { file, length }, Ok(Response::Truncate(response))) => {
                self.has_cut(ctx, file, length, &response.attributes.unwrap_or_default());
            }
            (task, Err(error)) => self.task_failed(ctx, &task, &error),
            (task, Ok(_)) => {
                ctx.violation(format!("the master answered another question than {task:?}"));
                self.task_done(ctx);
            }
        }
    }

    fn created(&mut self, ctx: &mut Context, file: u64, response: pb::CreateResponse) {
        let inode = response.attributes.unwrap_or_default().inode;
        let Some(fact) = ctx.ledger.file(file) else { return };
        fact.inode = inode;
        if !is_for(Part::Writes, &fact.content) {
            self.task = Task::Leave { file };
            let request = pb::CloseRequest { inode, ..Default::default() };
            return self.calls.call(ctx, Purpose::Task, Request::Close(request));
        }
        fact.doubtful = false;
        let goal = match self.dice.range(0, 4) {
            0 => self.dice.range(0, 70_000),
            // To the byte full.
            1 => u64::from(self.chunk_size) * self.dice.range(1, 3),
            _ => self.dice.range(0, self.habits.largest + 1),
        };
        let start = Start {
            inode,
            writer: self.calls.client_id(),
            length: 0,
            chunks: u32::from(response.chunk.is_some()),
            last: response.chunk,
        };
        self.begin_writing(ctx, file, start, goal);
    }

    /// A file that many will change is there, and empty.
    fn left(&mut self, ctx: &mut Context, file: u64) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        let inode = fact.inode;
        match &fact.content {
            Content::Slots(slots) => {
                let length = slots.length();
                self.task = Task::Extend { file };
                let request = pb::TruncateRequest { inode, length, ..Default::default() };
                self.calls.call(ctx, Purpose::Task, Request::Truncate(request));
            }
            _ => {
                fact.doubtful = false;
                fact.being_written = false;
                self.task_done(ctx);
            }
        }
    }

    fn extended(&mut self, ctx: &mut Context, file: u64, attributes: &pb::Attributes) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        fact.doubtful = false;
        fact.being_written = false;
        let length = fact.slots().map_or(0, |slots| slots.length());
        (fact.acknowledged, fact.handed) = (length, length);
        if attributes.length != length {
            let found = attributes.length;
            ctx.violation(format!("file {file} was extended to {found}, not to {length}"));
        }
        self.task_done(ctx);
    }

    fn has_cut(&mut self, ctx: &mut Context, file: u64, length: u64, found: &pb::Attributes) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        fact.being_written = false;
        fact.cuts += 1;
        let before = fact.acknowledged;
        if let Some(layout) = fact.layout() {
            if length < before {
                layout.cut(length);
            } else {
                layout.extend(before);
            }
        }
        (fact.acknowledged, fact.handed, fact.closed) = (length, length, Some(length));
        fact.on_disk = fact.on_disk.min(length);
        if found.length != length {
            ctx.violation(format!("file {file} was cut to {}, not to {length}", found.length));
        }
        self.task_done(ctx);
    }

    fn joined(&mut self, ctx: &mut Context, file: u64, response: pb::OpenResponse) {
        let attributes = response.attributes.unwrap_or_default();
        let start = Start {
            inode: attributes.inode,
            writer: self.calls.client_id(),
            length: attributes.length,
            chunks: attributes.chunks,
            last: response.last,
        };
        let config = self.config();
        match FileAppender::new(config, start, ctx.millis()) {
            Ok(appender) => {
                let records = self.dice.range(0, 40) as u32;
                let most = FileAppender::most(&config);
                let appending = Appending::new(appender, records, most, config.disk);
                self.begin(ctx, file, Job::Append(appending));
            }
            Err(error) => self.cannot_begin(ctx, file, &error),
        }
    }

    fn write_behind(&mut self, ctx: &mut Context, file: u64, response: pb::OpenResponse) {
        let attributes = response.attributes.unwrap_or_default();
        let (least, most) =
            ctx.ledger.file(file).map_or((0, 0), |fact| (fact.promised(), fact.handed));
        if attributes.length < least || attributes.length > most {
            ctx.violation(format!(
                "file {file} is opened at {}, {least} bytes were acknowledged of {most}",
                attributes.length
            ));
        }
        let start = Start {
            inode: attributes.inode,
            writer: self.calls.client_id(),
            length: attributes.length,
            chunks: attributes.chunks,
            last: response.last,
        };
        let goal = attributes.length + self.dice.range(1, self.habits.largest / 2 + 2);
        if let Some(fact) = ctx.ledger.file(file) {
            fact.closed = None;
            if let Some(layout) = fact.layout() {
                layout.begin(file, attributes.length);
            }
        }
        self.begin_writing(ctx, file, start, goal);
    }

    fn begin_writing(&mut self, ctx: &mut Context, file: u64, start: Start, goal: u64) {
        let (length, config) = (start.length, self.config());
        match FileWriter::new(config, start, ctx.millis()) {
            Ok(writer) => {
                let writing = Writing::new(writer, length, goal, config.disk);
                self.begin(ctx, file, Job::Write(writing));
            }
            Err(error) => self.cannot_begin(ctx, file, &error),
        }
    }

    fn cannot_begin(&mut self, ctx: &mut Context, file: u64, error: &GfsError) {
        ctx.violation(format!("file {file} cannot be written: {error}"));
        if let Some(fact) = ctx.ledger.file(file) {
            fact.being_written = false;
        }
        self.task_done(ctx);
    }

    /// A write came to an end before the file's. Reasons that do not lie in the faults of the run
    /// are violations.
    pub(super) fn failed_write(&mut self, ctx: &mut Context, file: u64, error: &GfsError) {
        self.writes_failed += 1;
        let text = format!("file {file}: write failed: {error}");
        let excusable = matches!(
            error.code,
            ErrorCode::DeadlineExceeded | ErrorCode::Unavailable | ErrorCode::NotReady
        ) || ctx.ledger.file(file).is_some_and(|fact| fact.excused.is_some());
        if excusable {
            ctx.note(self.me(), format_args!("{text}"));
        } else {
            ctx.violation(text);
        }
    }

    fn task_failed(&mut self, ctx: &mut Context, task: &Task, error: &pb::ErrorDetail) {
        let code = error.error_code();
        let text = format!("{task:?} failed: {} {}", code.name(), error.message);
        // Codes that say nothing of what happened, or that the call may pass later.
        let unknown = code.is_retryable() || code == ErrorCode::OutcomeUnknown;
        match task {
            Task::Open { asked: Asked { strict: true, .. }, .. } => ctx.violation(text),
            Task::Append { file } => {
                if let Some(fact) = ctx.ledger.file(*file) {
                    fact.being_written = false;
                }
                if !unknown && code != ErrorCode::NotFound {
                    ctx.violation(text);
                }
            }
            Task::Create { file }
            | Task::Rename { file, .. }
            | Task::Leave { file }
            | Task::Extend { file } => {
                if let Some(fact) = ctx.ledger.file(*file) {
                    fact.being_written = false;
                }
                if !unknown {
                    ctx.violation(text);
                }
            }
            Task::Cut { file, .. } => {
                if let Some(fact) = ctx.ledger.file(*file) {
                    fact.being_written = false;
                    if code == ErrorCode::Busy {
                        fact.cuts += 1;
                    } else {
                        // How long it is now nobody can tell.
                        fact.doubtful = true;
                    }
                }
                if !unknown && code != ErrorCode::NotFound {
                    ctx.violation(text);
                }
            }
            Task::Join { .. } if !unknown => ctx.violation(text),
            Task::Open { file, path, .. } => {
                // Another client may have moved or removed it meanwhile.
                let fact = ctx.ledger.file(*file);
                let there = fact
                    .is_some_and(|f| !f.removed && !f.doubtful && f.path.as_deref() == Some(path));
                if !unknown && (there || code != ErrorCode::NotFound) {
                    ctx.violation(text);
                }
            }
            Task::Remove { .. } => {
                let moved = matches!(code, ErrorCode::NotFound | ErrorCode::Conflict);
                if !unknown && !moved {
                    ctx.violation(text);
                }
            }
            _ => ctx.note(self.me(), format_args!("{text}")),
        }
        self.task_done(ctx);
    }
}
