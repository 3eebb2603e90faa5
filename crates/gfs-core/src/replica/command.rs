//! The master's commands: grants, version changes, copies, deletes. One after the other; each first
//! waits until what it replaces has ended.

use super::disk::Running;
use super::unsettled::Unsettled;
use super::{
    CommandId, Copy, DiskOp, Header, Identity, MAX_COMMANDS, Output, Outputs, Replica, Window,
    failure,
};
use crate::mistakes::Mistake;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use pb::command::Body;

/// What a copy made of the replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOutcome {
    /// Bytes it holds.
    pub length: u32,
    /// Checksum of the last block if that is not whole; 0 otherwise.
    pub tail: u32,
    /// Last serial of the source at the version it is complete at.
    pub serial: u64,
    /// The window of the source.
    pub window: Window,
}

/// A change that a command makes to what is stored.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    Create {
        identity: Identity,
        grant: pb::Grant,
    },
    CreateClone {
        identity: Identity,
    },
    Promise {
        next: u64,
    },
    Complete {
        grant: pb::Grant,
    },
    Demote,
    Become(CopyOutcome),
    Delete,
    /// Delete what a clone began that failed for this reason.
    Discard(pb::ErrorDetail),
}

/// How far a command is.
#[derive(Debug)]
enum Stage {
    /// Waits for its turn.
    New,
    /// Waits until the disk is free, to store this.
    Quiet(Intent),
    /// Storing.
    Storing,
    /// Revoke: what is in flight is carried to its end.
    Draining,
    /// The source is asked for its header.
    Planning,
    /// Blocks are copied.
    Copying,
    /// The copy was told to stop.
    Aborting,
}

/// A command that is not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    id: CommandId,
    body: Body,
    stage: Stage,
}

impl Pending {
    /// Whether a copy that is under way is useless once this command waits: a repeat of it, or a
    /// late grant, do not make it so.
    const fn ends_copy(&self) -> bool {
        match self.body {
            Body::Prepare(_) | Body::Delete(_) | Body::CancelClone(_) => true,
            Body::Equalize(_) | Body::Clone(_) | Body::Grant(_) => false,
            Body::Verify(_) | Body::Revoke(_) => false,
        }
    }
}

type Refusal = pb::ErrorDetail;

impl<P: Clone> Replica<P> {
    pub(super) fn command(&mut self, id: CommandId, body: Body, out: &mut Outputs<P>) {
        if self.commands.len() >= MAX_COMMANDS {
            let error = failure(ErrorCode::ResourceExhausted, "too many commands for one chunk");
            out.push(Output::CommandDone { id, result: Err(error), digest: false });
            return;
        }
        let pending = Pending { id, body, stage: Stage::New };
        if pending.ends_copy() {
            self.abort_copy(out);
        }
        self.commands.push_back(pending);
    }

    /// Whether blocks are being copied into the replica, or it was never made equal to another.
    pub(super) fn is_cloning(&self) -> bool {
        let copying = |c: &Pending| matches!(c.stage, Stage::Planning | Stage::Copying);
        self.commands.front().is_some_and(copying)
            && self.header().is_some_and(|header| header.complete == 0)
    }

    /// Commands of an older epoch that were not begun are void, and so is what a copy is for.
    pub(super) fn drop_commands(&mut self, out: &mut Outputs<P>) {
        self.abort_copy(out);
        let begun = self.commands.front().is_some_and(|c| !matches!(c.stage, Stage::New));
        for dropped in self.commands.drain(usize::from(begun)..) {
            let error = failure(ErrorCode::StaleEpoch, "a master of a higher epoch leads");
            out.push(Output::CommandDone { id: dropped.id, result: Err(error), digest: false });
        }
    }

    /// Ends all commands with this error, whatever they are about.
    pub(super) fn fail_commands(&mut self, error: &pb::ErrorDetail, out: &mut Outputs<P>) {
        self.abort_copy(out);
        for failed in self.commands.drain(..) {
            let result = Err(error.clone());
            out.push(Output::CommandDone { id: failed.id, result, digest: false });
        }
    }

    fn abort_copy(&mut self, out: &mut Outputs<P>) {
        if let Some(front) = self.commands.front_mut()
            && matches!(front.stage, Stage::Planning | Stage::Copying)
        {
            front.stage = Stage::Aborting;
            out.push(Output::AbortCopy { id: front.id });
        }
    }

    /// Carries the first command on as far as it goes, then the next.
    pub(super) fn run_commands(&mut self, out: &mut Outputs<P>) {
        while let Some(front) = self.commands.front() {
            match &front.stage {
                Stage::New => {
                    let body = front.body.clone();
                    match self.begin(&body, out) {
                        Ok(Some(stage)) => {
                            if let Some(front) = self.commands.front_mut() {
                                front.stage = stage;
                            }
                        }
                        Ok(None) => self.finish_command(Ok(()), out),
                        Err(error) => self.finish_command(Err(error), out),
                    }
                }
                Stage::Quiet(intent) => {
                    let hasty = matches!(intent, Intent::Promise { .. })
                        && self.settings.mistakes.has(Mistake::ReplicaAnswersPrepareDuringWrite);
                    if self.disk.is_some() && !hasty {
                        return;
                    }
                    let intent = intent.clone();
                    if hasty && self.disk.is_some() {
                        self.stored_intent(intent, Ok(()), out);
                    } else {
                        out.push(Output::Disk(disk_op(&intent)));
                        self.disk = Some(Running::Command(intent));
                        if let Some(front) = self.commands.front_mut() {
                            front.stage = Stage::Storing;
                        }
                    }
                }
                Stage::Draining => {
                    let primary = self.role.as_ref().and_then(|role| role.primary.as_ref());
                    if primary.is_some_and(|primary| !primary.flight.is_empty()) {
                        return;
                    }
                    let error = failure(ErrorCode::NotPrimary, "the lease was revoked");
                    self.end_role(&error, out);
                    self.finish_command(Ok(()), out);
                }
                Stage::Storing | Stage::Planning | Stage::Copying | Stage::Aborting => return,
            }
        }
    }

    fn finish_command(&mut self, result: Result<(), Refusal>, out: &mut Outputs<P>) {
        if let Some(done) = self.commands.pop_front() {
            let digest = matches!(done.body, Body::Prepare(_) | Body::Equalize(_) | Body::Clone(_));
            out.push(Output::CommandDone { id: done.id, digest: digest && result.is_ok(), result });
        }
    }

    /// First step of a command: refuse it, end what is under way, say what to wait for. `None`:
    /// there is nothing left to do.
    fn begin(&mut self, body: &Body, out: &mut Outputs<P>) -> Result<Option<Stage>, Refusal> {
        match body {
            Body::Grant(grant) => self.begin_grant(grant, out),
            Body::Prepare(prepare) => self.begin_prepare(prepare, out),
            Body::Equalize(equalize) => self.begin_equalize(equalize, out),
            Body::Clone(clone) => self.begin_clone(clone, out),
            Body::CancelClone(cancel) => match self.header() {
                // Only what was never made equal is dropped, and only if no later change has it.
                Some(header) if header.complete == 0 && header.promised <= cancel.version => {
                    Ok(Some(Stage::Quiet(Intent::Delete)))
                }
                _ => Ok(None),
            },
            Body::Delete(delete) => {
                let Some(header) = self.header() else { return Ok(None) };
                if header.promised > delete.version || header.complete > delete.version {
                    return Err(self.stale(delete.version));
                }
                let error = failure(ErrorCode::UnknownChunk, "the replica is being deleted");
                self.end_role(&error, out);
                Ok(Some(Stage::Quiet(Intent::Delete)))
            }
            Body::Revoke(revoke) => {
                let header = self.header().ok_or_else(|| self.unknown())?;
                if header.complete != revoke.version {
                    return Err(self.stale(revoke.version));
                }
                self.ended_at = self.ended_at.max(revoke.version);
                if let Some(primary) = self.role.as_mut().and_then(|role| role.primary.as_mut()) {
                    primary.draining = true;
                }
                Ok(Some(Stage::Draining))
            }
            Body::Verify(_) => Err(failure(ErrorCode::Internal, "verify is not for the replica")),
        }
    }

    fn unknown(&self) -> Refusal {
        failure(
            ErrorCode::UnknownChunk,
            format!("chunkserver {} has no chunk {}", self.settings.server, self.handle),
        )
    }

    fn begin_grant(
        &mut self,
        grant: &pb::Grant,
        out: &mut Outputs<P>,
    ) -> Result<Option<Stage>, Refusal> {
        if grant.members.is_empty() || grant.version == 0 {
            return Err(failure(ErrorCode::InvalidArgument, "a grant without members or version"));
        }
        let Some((_, header)) = &self.stored else {
            // Only a new chunk may begin so: an older one has content somewhere.
            if grant.version != 1 {
                return Err(self.unknown());
            }
            if grant.length > self.settings.chunk_size {
                let text = format!("{} bytes to begin with", grant.length);
                return Err(failure(ErrorCode::OutOfRange, text));
            }
            let identity = Identity {
                handle: self.handle,
                inode: grant.inode,
                index: grant.index,
                start: grant.start,
                copies: copies(grant.goal.as_ref()),
            };
            let intent = Intent::Create { identity, grant: grant.clone() };
            return Ok(Some(Stage::Quiet(intent)));
        };
        if grant.version == header.complete && header.promised == header.complete {
            self.grant_again(grant, out);
            return Ok(None);
        }
        if grant.version != header.promised {
            return Err(self.stale(grant.version));
        }
        let cut = (grant.cut || grant.sealed) && grant.length < header.length;
        if grant.length != header.length && !cut {
            let text = format!(
                "chunk {} has {} bytes here, {} were agreed",
                self.handle, header.length, grant.length
            );
            return Err(failure(ErrorCode::Conflict, text));
        }
        Ok(Some(Stage::Quiet(Intent::Complete { grant: grant.clone() })))
    }

    /// A grant of the version the replica is at: the master repeats itself, or gives the lease to
    /// another session. A live role stays; a new one starts only where nothing was written at this
    /// version, since only then is it sure that all members stand at the same serial.
    fn grant_again(&mut self, grant: &pb::Grant, out: &mut Outputs<P>) {
        let fresh = self.header().is_some_and(|header| header.serial == 0);
        if self.role.is_none() && fresh {
            self.start_role(grant);
            self.open_waiting(out);
        } else if self.members.0 <= grant.version {
            self.members = (grant.version, grant.members.clone());
        }
    }

    fn begin_prepare(
        &mut self,
        prepare: &pb::Prepare,
        out: &mut Outputs<P>,
    ) -> Result<Option<Stage>, Refusal> {
        let header = self.header().ok_or_else(|| self.unknown())?;
        if prepare.next < header.promised || prepare.next <= header.complete {
            return Err(self.stale(prepare.next));
        }
        let again = prepare.next == header.promised;
        if !self.settings.mistakes.has(Mistake::ReplicaAcceptsOldVersion) {
            let mut error = self.stale(prepare.version);
            error.actual = prepare.next;
            self.end_role(&error, out);
        }
        if again && self.disk.is_none() {
            return Ok(None);
        }
        Ok(Some(Stage::Quiet(Intent::Promise { next: prepare.next })))
    }

    fn begin_equalize(
        &mut self,
        equalize: &pb::Equalize,
        out: &mut Outputs<P>,
    ) -> Result<Option<Stage>, Refusal> {
        let header = self.header().ok_or_else(|| self.unknown())?;
        if header.promised != equalize.next || header.complete >= equalize.next {
            return Err(self.stale(equalize.next));
        }
        self.plan(Copy::Equalize(equalize.clone()), out)
    }

    fn begin_clone(
        &mut self,
        clone: &pb::Clone,
        out: &mut Outputs<P>,
    ) -> Result<Option<Stage>, Refusal> {
        match self.header() {
            None => {
                let identity = Identity {
                    handle: self.handle,
                    inode: clone.inode,
                    index: clone.index,
                    start: clone.start,
                    copies: copies(clone.goal.as_ref()),
                };
                Ok(Some(Stage::Quiet(Intent::CreateClone { identity })))
            }
            Some(header) if header.complete == 0 => self.plan(Copy::Clone(clone.clone()), out),
            Some(_) => {
                let text = format!(
                    "chunkserver {} already has a replica of chunk {}",
                    self.settings.server, self.handle
                );
                Err(failure(ErrorCode::AlreadyExists, text))
            }
        }
    }

    fn plan(&mut self, copy: Copy, out: &mut Outputs<P>) -> Result<Option<Stage>, Refusal> {
        if self.commands.iter().skip(1).any(Pending::ends_copy) {
            return Err(failure(ErrorCode::Cancelled, "another command ends the copy"));
        }
        if let Some(front) = self.commands.front() {
            out.push(Output::PlanCopy { id: front.id, copy });
        }
        Ok(Some(Stage::Planning))
    }

    /// The source answered. A replica that is not a prefix of it must not be taken for what it was
    /// once its blocks are overwritten.
    pub(super) fn copy_planned(
        &mut self,
        id: CommandId,
        source_complete: u64,
        out: &mut Outputs<P>,
    ) {
        let Some(complete) = self.header().map(|header| header.complete) else { return };
        if let Some(front) = self.commands.front_mut()
            && front.id == id
            && matches!(front.stage, Stage::Planning)
        {
            let demote = complete != 0 && complete != source_complete;
            if demote {
                front.stage = Stage::Quiet(Intent::Demote);
            } else {
                front.stage = Stage::Copying;
                out.push(Output::GoCopy { id });
                // What comes may be taken back by another change.
                let length = self.header().map_or(0, |header| header.length);
                self.unsettled.overwritten(u64::MAX, 0, length);
            }
        }
    }

    pub(super) fn copy_ended(
        &mut self,
        id: CommandId,
        result: Result<CopyOutcome, pb::ErrorDetail>,
        out: &mut Outputs<P>,
    ) {
        let Some(front) = self.commands.front_mut() else { return };
        let copying = matches!(front.stage, Stage::Planning | Stage::Copying | Stage::Aborting);
        if front.id != id || !copying {
            return;
        }
        let aborted = matches!(front.stage, Stage::Aborting);
        match result {
            Ok(outcome) if !aborted => front.stage = Stage::Quiet(Intent::Become(outcome)),
            Ok(_) => {
                let error = failure(ErrorCode::Cancelled, "another command ended the copy");
                self.finish_command(Err(error), out);
            }
            // What a clone has begun is of no use to anybody who does not know of it.
            Err(error) if !aborted && self.is_fragment() => self.discard(error),
            Err(error) => self.finish_command(Err(error), out),
        }
    }

    fn discard(&mut self, error: pb::ErrorDetail) {
        if let Some(front) = self.commands.front_mut() {
            front.stage = Stage::Quiet(Intent::Discard(error));
        }
    }

    /// Whether it is what a clone began, and was never a copy or about to become one.
    fn is_fragment(&self) -> bool {
        self.header().is_some_and(|header| header.complete == 0 && header.promised == 0)
    }

    /// What a command wanted stored is stored, or failed to be.
    pub(super) fn stored_intent(
        &mut self,
        intent: Intent,
        result: Result<(), pb::ErrorDetail>,
        out: &mut Outputs<P>,
    ) {
        if let Err(error) = result {
            if matches!(intent, Intent::Become(_)) && self.is_fragment() {
                self.discard(error);
            } else {
                self.finish_command(Err(error), out);
            }
            return;
        }
        match intent {
            Intent::Create { identity, grant } => {
                let header = Header {
                    promised: grant.version,
                    complete: grant.version,
                    length: grant.length,
                    ..Header::default()
                };
                self.stored = Some((identity, header));
                self.granted(&grant, out);
            }
            Intent::Complete { grant } => {
                let forget = self.settings.mistakes.has(Mistake::ReplicaForgetsWindow);
                if let Some(header) = self.header_mut() {
                    header.promised = grant.version;
                    header.complete = grant.version;
                    header.serial = 0;
                    header.sealed = grant.sealed;
                    header.length = grant.length;
                    if forget {
                        header.window = Window::default();
                    }
                }
                self.granted(&grant, out);
            }
            Intent::CreateClone { identity } => {
                self.stored = Some((identity, Header::default()));
                self.confirmed = 0;
                self.unsettled = Unsettled::default();
                if let Some(front) = self.commands.front_mut() {
                    front.stage = Stage::New;
                }
                return;
            }
            Intent::Promise { next } => {
                if let Some(header) = self.header_mut() {
                    header.promised = next;
                }
            }
            Intent::Demote => {
                if let Some(header) = self.header_mut() {
                    header.complete = 0;
                }
                self.confirmed = 0;
                if let Some(front) = self.commands.front_mut() {
                    front.stage = Stage::Copying;
                    out.push(Output::GoCopy { id: front.id });
                }
                if self.commands.iter().skip(1).any(Pending::ends_copy) {
                    self.abort_copy(out);
                }
                return;
            }
            Intent::Become(outcome) => {
                if let Some(header) = self.header_mut() {
                    header.length = outcome.length;
                    header.serial = outcome.serial;
                    header.window = outcome.window;
                }
            }
            Intent::Delete => self.is_gone(),
            Intent::Discard(error) => {
                self.is_gone();
                self.finish_command(Err(error), out);
                return;
            }
        }
        self.finish_command(Ok(()), out);
    }

    /// Complete at the grant's version: all bytes are agreed, and the role begins.
    fn granted(&mut self, grant: &pb::Grant, out: &mut Outputs<P>) {
        self.confirmed = self.header().map_or(0, |header| header.length);
        self.unsettled = Unsettled::default();
        self.seen.clear();
        self.start_role(grant);
        self.open_waiting(out);
    }
}

fn disk_op<P>(intent: &Intent) -> DiskOp<P> {
    match intent.clone() {
        Intent::Create { identity, grant } => {
            DiskOp::Create { identity, version: grant.version, length: grant.length }
        }
        Intent::CreateClone { identity } => DiskOp::Create { identity, version: 0, length: 0 },
        Intent::Promise { next } => DiskOp::Promise { next },
        Intent::Complete { grant } => {
            let pb::Grant { version, sealed, length, .. } = grant;
            DiskOp::Complete { version, sealed, length }
        }
        Intent::Demote => DiskOp::Demote,
        Intent::Become(outcome) => DiskOp::Become(outcome),
        Intent::Delete | Intent::Discard(_) => DiskOp::Delete,
    }
}

fn copies(goal: Option<&pb::Goal>) -> u8 {
    match goal.and_then(|goal| goal.kind.as_ref()) {
        Some(pb::goal::Kind::Copies(copies)) => u8::try_from(*copies).unwrap_or(0),
        None => 0,
    }
}
