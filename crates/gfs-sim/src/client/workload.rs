//! What the application does: files are written, read back, read by others, renamed, removed,
//! opened again and appended to.

use super::calls::Purpose;
use super::reading::Reading;
use super::writing::Writing;
use super::{Client, NEXT};
use crate::context::{Context, Timer};
use gfs_core::brain::{Request, Response};
use gfs_core::writer::{FileWriter, Start};
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis, PROTOCOL_VERSION};

/// How an application behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Tasks.
    pub rounds: u32,
    /// Largest file, in bytes.
    pub largest: u64,
    /// Longest pause while writing, in microseconds.
    pub think: u64,
    /// Longest pause between tasks, in microseconds.
    pub rest: u64,
    /// Whether it opens files again to append.
    pub appends: bool,
    /// Whether it renames and removes.
    pub moves: bool,
}

/// What the client is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Connect,
    Nothing,
    Create { file: u64 },
    Append { file: u64 },
    Write,
    Open { file: u64, path: String, least: u64, strict: bool },
    Read,
    Rename { file: u64, to: String },
    Remove { file: u64 },
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

    pub(super) fn writing_wakes_at(&self) -> Option<Millis> {
        self.writing.as_ref().and_then(Writing::wakes_at)
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
        let draw = self.dice.range(0, 100);
        let idle: Vec<u64> = ctx
            .ledger
            .certain()
            .filter(|(_, fact)| !fact.being_written)
            .map(|(file, _)| file)
            .collect();
        let some: Vec<u64> = ctx.ledger.certain().map(|(file, _)| file).collect();
        let (one, any) = (self.dice.pick(&idle).copied(), self.dice.pick(&some).copied());
        match (draw, one, any) {
            (0..20, _, Some(file)) => self.open(ctx, file, false),
            (20..30, Some(file), _) if self.habits.appends => self.append(ctx, file),
            (30..38, Some(file), _) if self.habits.moves => self.rename(ctx, file),
            (38..45, Some(file), _) if self.habits.moves => self.remove(ctx, file),
            _ => self.create(ctx),
        }
    }

    fn create(&mut self, ctx: &mut Context) {
        let path = format!("/c{}-{}", self.index, self.rounds);
        let file = ctx.ledger.create(path.clone());
        self.task = Task::Create { file };
        let request = pb::CreateRequest { path, ..Default::default() };
        self.calls.call(ctx, Purpose::Task, Request::Create(request));
    }

    fn open(&mut self, ctx: &mut Context, file: u64, strict: bool) {
        let Some(fact) = ctx.ledger.file(file) else { return };
        let (path, least) = (fact.path.clone().unwrap_or_default(), fact.promised());
        self.task = Task::Open { file, path: path.clone(), least, strict };
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
            (Task::Append { file }, Ok(Response::Open(response))) => {
                self.appending(ctx, file, response);
            }
            (Task::Open { file, least, strict, .. }, Ok(Response::Open(response))) => {
                let inode = response.attributes.map_or(0, |a| a.inode);
                self.reading = Some(Reading::new(file, inode, response.chunks, least, strict));
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
            (task, Err(error)) => self.task_failed(ctx, &task, &error),
            (task, Ok(_)) => {
                ctx.violation(format!("the master answered another question than {task:?}"));
                self.task_done(ctx);
            }
        }
    }

    fn created(&mut self, ctx: &mut Context, file: u64, response: pb::CreateResponse) {
        let attributes = response.attributes.unwrap_or_default();
        if let Some(fact) = ctx.ledger.file(file) {
            fact.doubtful = false;
            fact.inode = attributes.inode;
            fact.closed = None;
        }
        let goal = match self.dice.range(0, 4) {
            0 => self.dice.range(0, 70_000),
            // To the byte full.
            1 => u64::from(self.chunk_size) * self.dice.range(1, 3),
            _ => self.dice.range(0, self.habits.largest + 1),
        };
        let start = Start {
            inode: attributes.inode,
            writer: self.calls.client_id(),
            length: 0,
            chunks: u32::from(response.chunk.is_some()),
            last: response.chunk,
        };
        self.begin_writing(ctx, file, start, goal);
    }

    fn appending(&mut self, ctx: &mut Context, file: u64, response: pb::OpenResponse) {
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
        }
        self.begin_writing(ctx, file, start, goal);
    }

    fn begin_writing(&mut self, ctx: &mut Context, file: u64, start: Start, goal: u64) {
        let length = start.length;
        match FileWriter::new(self.write_config, start, ctx.millis()) {
            Ok(writer) => {
                self.writing = Some(Writing::new(file, writer, length, goal));
                self.task = Task::Write;
                self.write_on(ctx);
            }
            Err(error) => {
                ctx.violation(format!("file {file} cannot be written: {error}"));
                if let Some(fact) = ctx.ledger.file(file) {
                    fact.being_written = false;
                }
                self.task_done(ctx);
            }
        }
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
            Task::Open { strict: true, .. } => ctx.violation(text),
            Task::Append { file } => {
                if let Some(fact) = ctx.ledger.file(*file) {
                    fact.being_written = false;
                }
                if !unknown && code != ErrorCode::NotFound {
                    ctx.violation(text);
                }
            }
            Task::Create { file } | Task::Rename { file, .. } => {
                if let Some(fact) = ctx.ledger.file(*file) {
                    fact.being_written = false;
                }
                if !unknown {
                    ctx.violation(text);
                }
            }
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
