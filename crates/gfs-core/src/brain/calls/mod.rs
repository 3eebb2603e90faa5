//! Calls of the Metadata and Admin services: what is common to all of them.

mod admin;
mod attributes;
mod change;
mod lookup;
mod make;
mod overwrite;
mod trash;
mod write;

use gfs_proto::v1 as pb;
use gfs_types::{
    ClientId, ClusterId, ErrorCode, GfsError, GfsPath, InodeId, MAX_SLICE, PROTOCOL_VERSION,
    ROOT_INODE, ServerNumber,
};

use super::journal::Fact;
use super::namespace::{Body, Found, MAX_DEPTH, Node};
use super::outcomes::Known;
use super::step::Brain;
use super::work::{Answer, Work};
use super::{Request, Response, Token};
use crate::mistakes::Mistake;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) client: ClientId,
    /// 0: not a mutation, or not to be recognised.
    pub(crate) sequence: u64,
}

/// A result; `None`: the answer comes later.
type Outcome = Result<Option<Response>, GfsError>;

fn header_of(request: &Request) -> Option<&pb::RequestHeader> {
    match request {
        Request::Connect(r) => r.header.as_ref(),
        Request::Stat(r) => r.header.as_ref(),
        Request::List(r) => r.header.as_ref(),
        Request::Mkdir(r) => r.header.as_ref(),
        Request::Create(r) => r.header.as_ref(),
        Request::Open(r) => r.header.as_ref(),
        Request::Locate(r) => r.header.as_ref(),
        Request::Allocate(r) => r.header.as_ref(),
        Request::Recover(r) => r.header.as_ref(),
        Request::Lease(r) => r.header.as_ref(),
        Request::Truncate(r) => r.header.as_ref(),
        Request::Sync(r) => r.header.as_ref(),
        Request::Close(r) => r.header.as_ref(),
        Request::Rename(r) => r.header.as_ref(),
        Request::Remove(r) => r.header.as_ref(),
        Request::ListTrash(r) => r.header.as_ref(),
        Request::RestoreTrash(r) => r.header.as_ref(),
        Request::EmptyTrash(r) => r.header.as_ref(),
        Request::SetAttributes(r) => r.header.as_ref(),
        Request::ReportDamage(r) => r.header.as_ref(),
        Request::Status(r) => r.header.as_ref(),
        Request::ListServers(r) => r.header.as_ref(),
        Request::Fsck(r) => r.header.as_ref(),
        Request::SetPodStates(r) => r.header.as_ref(),
        Request::SetMaintenance(r) => r.header.as_ref(),
        Request::EndRollback(r) => r.header.as_ref(),
        Request::SetDrain(r) => r.header.as_ref(),
        Request::Rebalance(r) => r.header.as_ref(),
    }
}

/// How a call's repeats are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Changes nothing.
    Read,
    /// Changes something, and a repeat would change nothing more.
    Idempotent,
    /// A repeat would do harm: its outcome is persisted.
    Once,
}

fn kind_of(request: &Request) -> Kind {
    match request {
        Request::Mkdir(_)
        | Request::Create(_)
        | Request::Close(_)
        | Request::Rename(_)
        | Request::SetAttributes(_)
        | Request::Remove(_)
        | Request::Truncate(_)
        | Request::RestoreTrash(_)
        | Request::EmptyTrash(_) => Kind::Once,
        Request::Open(r) if r.write || r.append => Kind::Idempotent,
        Request::Allocate(_) | Request::Recover(_) | Request::Lease(_) | Request::Sync(_) => {
            Kind::Idempotent
        }
        _ => Kind::Read,
    }
}

fn outcome_of(sequence: u64, answer: &Result<Response, GfsError>) -> pb::Outcome {
    let inode = |a: &Option<pb::Attributes>| a.as_ref().map_or(0, |a| a.inode);
    let handle = |c: &Option<pb::ChunkLocation>| c.as_ref().map_or(0, |c| c.handle);
    let mut outcome = pb::Outcome { sequence, ..Default::default() };
    match answer {
        Err(error) => {
            outcome.code = error.code as u32;
            outcome.message.clone_from(&error.message);
        }
        Ok(Response::Mkdir(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::Create(r)) => {
            (outcome.inode, outcome.handle) = (inode(&r.attributes), handle(&r.chunk));
        }
        Ok(Response::Open(r)) => {
            (outcome.inode, outcome.handle) = (inode(&r.attributes), handle(&r.last));
        }
        Ok(Response::Allocate(r)) => outcome.handle = handle(&r.chunk),
        Ok(Response::Recover(r)) => outcome.handle = handle(&r.chunk),
        Ok(Response::Lease(r)) => outcome.handle = handle(&r.chunk),
        Ok(Response::Truncate(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::Sync(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::Close(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::Rename(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::SetAttributes(r)) => outcome.inode = inode(&r.attributes),
        Ok(Response::Remove(r)) => outcome.count = r.removed,
        Ok(Response::RestoreTrash(r)) => {
            outcome.inode = r.entry.as_ref().map_or(0, |entry| inode(&entry.attributes));
        }
        Ok(Response::EmptyTrash(r)) => (outcome.count, outcome.more) = (r.removed, r.more),
        Ok(_) => {}
    }
    outcome
}

impl Brain {
    /// Handles a call: its answer goes into the work, now or later.
    pub(super) fn call(&mut self, work: &mut Work, token: Token, request: Request) {
        let answer: Option<Answer> = match self.admit(work, token, request) {
            Ok(None) => None,
            Ok(Some(response)) => Some(Ok(response)),
            Err(error) => Some(Err(self.detail(error))),
        };
        if let Some(answer) = answer {
            work.replies.push((token, answer));
        }
    }

    fn detail(&self, error: GfsError) -> pb::ErrorDetail {
        let retry_after_ms = match error.code {
            ErrorCode::ResourceExhausted => 100,
            ErrorCode::Busy | ErrorCode::TooFewServers | ErrorCode::NoSpace => 250,
            _ => 0,
        };
        pb::ErrorDetail { retry_after_ms, ..error.into() }
    }

    /// Checks what every call must hold to, and recognises repeats.
    fn admit(&mut self, work: &mut Work, token: Token, request: Request) -> Outcome {
        if self.journal.waiting() >= self.config.limits.uncommitted {
            return Err(GfsError::new(
                ErrorCode::ResourceExhausted,
                "the metadata store is behind; ask again",
            ));
        }
        let none = pb::RequestHeader::default();
        let header = header_of(&request).unwrap_or(&none);
        let is_connect = matches!(request, Request::Connect(_));
        if !(is_connect && header.cluster_id.is_empty())
            && ClusterId::from_slice(&header.cluster_id) != Some(self.cluster_id)
        {
            return Err(GfsError::new(
                ErrorCode::WrongCluster,
                format!("this is cluster {}, the request means another", self.cluster_id),
            ));
        }
        if header.epoch > self.term.epoch.0 {
            return Err(GfsError::new(
                ErrorCode::NotLeader,
                format!("epoch {} is over: the caller saw {}", self.term.epoch, header.epoch),
            ));
        }
        let caller = Caller { client: ClientId(header.client_id), sequence: header.sequence };
        let kind = kind_of(&request);
        if kind == Kind::Read {
            self.outcomes.seen(caller.client, work.now.mono);
            return self.read(work, token, caller, request);
        }

        if caller.client.0 == 0 {
            return Err(GfsError::invalid("a mutation without a client id"));
        }
        if caller.sequence == 0 {
            if kind == Kind::Once {
                return Err(GfsError::invalid("a mutation without a sequence"));
            }
            return self.mutate(work, token, caller, &request);
        }
        let (answered, harmless) = (header.answered_through, kind == Kind::Idempotent);
        let now = work.now.mono;
        match self.outcomes.look(caller.client, caller.sequence, answered, harmless, now)? {
            Known::Ended(outcome) if !self.config.mistakes.has(Mistake::MasterForgetsOutcomes) => {
                work.after = self.journal.last();
                return self.repeated(&request, &outcome).map(Some);
            }
            Known::UnderWay(first) => {
                self.wait_with(first, token)?;
                return Ok(None);
            }
            Known::Ended(_) | Known::New => {}
        }
        let answer = self.mutate(work, token, caller, &request).transpose();
        if let Some(answer) = &answer {
            let persisted = kind == Kind::Once && answer.is_ok() && work.is_dirty();
            self.note_outcome(work, caller.client, caller.sequence, persisted, answer);
        }
        answer.transpose()
    }

    /// Records what became of a call, unless it may be tried again.
    pub(super) fn note_outcome(
        &mut self,
        work: &mut Work,
        client: ClientId,
        sequence: u64,
        persisted: bool,
        answer: &Result<Response, GfsError>,
    ) {
        if sequence == 0 {
            return;
        }
        let limit = self.config.limits.outcomes_per_client;
        if answer.as_ref().is_err_and(|error| error.code.is_retryable()) {
            self.outcomes.reopen(client, sequence, limit);
            return;
        }
        self.outcomes.record(client, outcome_of(sequence, answer), persisted, limit);
        if persisted {
            work.clients.push(client);
            work.facts.push(Fact::Client(client));
        }
    }

    fn read(&mut self, work: &mut Work, token: Token, caller: Caller, request: Request) -> Outcome {
        match request {
            Request::Connect(r) => self.connect(&r),
            Request::Stat(r) => self.stat(work, &r),
            Request::List(r) => self.list(work, &r),
            Request::ListTrash(r) => self.list_trash(work, &r),
            Request::Open(r) => self.open(work, token, caller, &r),
            Request::Locate(r) => self.locate(work, &r),
            Request::ReportDamage(r) => self.report_damage(work, &r),
            Request::Status(_) => {
                self.rest_on_moves(work);
                Ok(Some(Response::Status(self.status(work))))
            }
            Request::ListServers(_) => {
                self.rest_on_moves(work);
                let servers = self.chunks.server_statuses(work.now);
                Ok(Some(Response::ListServers(pb::ListServersResponse { servers })))
            }
            Request::Fsck(r) => self.begin_fsck(work, token, &r).map(|()| None),
            Request::SetPodStates(r) => {
                self.chunks.set_pod_states(work.now, &r, &mut work.chunks);
                Ok(Some(Response::SetPodStates(pb::SetPodStatesResponse {})))
            }
            Request::SetDrain(r) => self.set_drain(work, &r),
            Request::Rebalance(r) => {
                self.chunks.rebalance(work.now, r.stop, &mut work.chunks);
                let balance = Some(self.chunks.balance_status(work.now));
                Ok(Some(Response::Rebalance(pb::RebalanceResponse { balance })))
            }
            Request::SetMaintenance(r) => {
                let server = ServerNumber(r.server);
                let endangered = self.chunks.set_maintenance(
                    work.now,
                    server,
                    r.maintenance,
                    &mut work.chunks,
                )?;
                Ok(Some(Response::SetMaintenance(pb::SetMaintenanceResponse { endangered })))
            }
            Request::EndRollback(r) => Ok(Some(self.end_rollback(work, &r))),
            other => self.mutate(work, token, caller, &other),
        }
    }

    fn mutate(
        &mut self,
        work: &mut Work,
        token: Token,
        caller: Caller,
        request: &Request,
    ) -> Outcome {
        match request {
            Request::Mkdir(r) => self.mkdir(work, r).map(Some),
            Request::Create(r) => self.create(work, caller, r).map(Some),
            Request::Open(r) => self.open(work, token, caller, r),
            Request::Allocate(r) => self.allocate(work, caller, r).map(Some),
            Request::Recover(r) => self.recover(work, token, caller, r),
            Request::Lease(r) => self.lease(work, token, caller, r),
            Request::Truncate(r) => self.truncate(work, token, caller, r),
            Request::Sync(r) => self.sync(work, caller, r).map(Some),
            Request::Close(r) => self.close(work, caller, r).map(Some),
            Request::Rename(r) => self.rename(work, r).map(Some),
            Request::SetAttributes(r) => self.set_attributes(work, r).map(Some),
            Request::Remove(r) => self.remove(work, r).map(Some),
            Request::RestoreTrash(r) => self.restore_trash(work, r).map(Some),
            Request::EmptyTrash(r) => self.empty_trash(work, r).map(Some),
            _ => Err(GfsError::new(ErrorCode::Internal, "not a mutation")),
        }
    }

    /// The answer of a call that took effect before, from what is recorded of it.
    fn repeated(&self, request: &Request, outcome: &pb::Outcome) -> Result<Response, GfsError> {
        if outcome.code != 0 {
            let code = ErrorCode::from_number(outcome.code);
            return Err(GfsError::new(code, outcome.message.clone()));
        }
        // What was made may be gone again by now: then only its id is known.
        let inode = InodeId(outcome.inode);
        let attributes = Some(
            self.namespace
                .get(inode)
                .map_or(pb::Attributes { inode: inode.0, ..Default::default() }, |node| {
                    self.attributes(inode, node)
                }),
        );
        let near = pb::Place::default();
        let location =
            |near: &pb::Place| self.chunks.location(gfs_types::ChunkHandle(outcome.handle), near);
        let epoch = self.term.epoch.0;
        Ok(match request {
            Request::Mkdir(_) => Response::Mkdir(pb::MkdirResponse { attributes }),
            Request::Create(r) => {
                let chunk = location(r.place.as_ref().unwrap_or(&near));
                Response::Create(pb::CreateResponse { attributes, chunk, epoch })
            }
            Request::Open(r) => {
                let near = r.place.as_ref().unwrap_or(&near);
                let chunks = self.first_locations(inode, r.locations, near);
                // Others who append may have gone on meanwhile.
                let last = match (r.append, self.open_chunk(inode)) {
                    (true, open) => open.and_then(|open| self.chunks.location(open, near)),
                    (false, _) => location(near),
                };
                Response::Open(pb::OpenResponse { attributes, chunks, last, epoch })
            }
            Request::Allocate(r) => {
                let chunk = location(r.place.as_ref().unwrap_or(&near));
                Response::Allocate(pb::AllocateResponse { chunk })
            }
            Request::Recover(r) => {
                let chunk = location(r.place.as_ref().unwrap_or(&near));
                Response::Recover(pb::RecoverResponse { chunk })
            }
            Request::Lease(r) => {
                let chunk = location(r.place.as_ref().unwrap_or(&near));
                Response::Lease(pb::LeaseResponse { chunk })
            }
            Request::Truncate(_) => Response::Truncate(pb::TruncateResponse { attributes }),
            Request::Sync(_) => Response::Sync(pb::SyncResponse { attributes }),
            Request::Close(_) => Response::Close(pb::CloseResponse { attributes }),
            Request::Rename(_) => Response::Rename(pb::RenameResponse { attributes }),
            Request::SetAttributes(_) => {
                Response::SetAttributes(pb::SetAttributesResponse { attributes })
            }
            Request::Remove(_) => Response::Remove(pb::RemoveResponse { removed: outcome.count }),
            Request::RestoreTrash(_) => self.restored(inode),
            Request::EmptyTrash(_) => {
                let (removed, more) = (outcome.count, outcome.more);
                Response::EmptyTrash(pb::EmptyTrashResponse { removed, more })
            }
            _ => return Err(GfsError::new(ErrorCode::Internal, "not a mutation")),
        })
    }

    fn connect(&self, request: &pb::ConnectRequest) -> Outcome {
        if request.protocol_version != PROTOCOL_VERSION {
            return Err(GfsError::new(
                ErrorCode::WrongProtocol,
                format!(
                    "this master speaks protocol {PROTOCOL_VERSION}, the client {}",
                    request.protocol_version
                ),
            ));
        }
        Ok(Some(Response::Connect(pb::ConnectResponse {
            cluster_id: self.cluster.cluster_id.clone(),
            protocol_version: PROTOCOL_VERSION,
            epoch: self.term.epoch.0,
            chunk_size: self.geometry.chunk_size(),
            max_slice: MAX_SLICE,
            master_addresses: self.config.master_addresses.clone(),
            leader: true,
            cluster_level: self.cluster.cluster_level,
        })))
    }

    /// Follows a path.
    pub(super) fn find(&self, work: &mut Work, path: &GfsPath) -> Result<Found, GfsError> {
        let found = self
            .namespace
            .find(path.names(), |parent, name| {
                work.rests_on(&self.journal, Fact::name(parent, name));
            })
            .map_err(|error| GfsError::new(error.code, format!("{path}: {}", error.message)))?;
        Ok(found)
    }

    /// The node at a path.
    pub(super) fn node_at<'a>(
        &'a self,
        work: &mut Work,
        path: &GfsPath,
    ) -> Result<(InodeId, &'a Node), GfsError> {
        let found = self.find(work, path)?;
        found
            .inode
            .and_then(|inode| Some((inode, self.namespace.get(inode)?)))
            .ok_or_else(|| GfsError::new(ErrorCode::NotFound, format!("{path} does not exist")))
    }

    /// Whether an inode is in the tree, below the root.
    pub(super) fn is_attached(&self, work: &mut Work, inode: InodeId) -> bool {
        self.namespace.is_within(inode, ROOT_INODE, |id| {
            work.rests_on(&self.journal, Fact::Inode(id));
        })
    }

    /// The node that a call means by inode id or, if that is 0, by path.
    pub(super) fn node_meant<'a>(
        &'a self,
        work: &mut Work,
        inode: u64,
        path: &str,
    ) -> Result<(InodeId, &'a Node), GfsError> {
        if inode == 0 {
            let (id, node) = self.node_at(work, &parse(path)?)?;
            work.rests_on(&self.journal, Fact::Inode(id));
            return Ok((id, node));
        }
        let id = InodeId(inode);
        if !self.is_attached(work, id) {
            return Err(GfsError::new(
                ErrorCode::NotFound,
                format!("inode {inode} does not exist"),
            ));
        }
        self.namespace.get(id).map(|node| (id, node)).ok_or_else(|| {
            GfsError::new(ErrorCode::NotFound, format!("inode {inode} does not exist"))
        })
    }

    /// Attributes as the wire has them.
    pub(super) fn attributes(&self, inode: InodeId, node: &Node) -> pb::Attributes {
        let (copies, durability) = self.namespace.policy(inode);
        let copies = if copies == 0 { self.cluster.default_copies } else { copies.into() };
        let mut attributes = pb::Attributes {
            inode: inode.0,
            modified_at: node.modified_at,
            created_at: node.created_at,
            goal: Some(pb::Goal { kind: Some(pb::goal::Kind::Copies(copies)) }),
            durability: durability.into(),
            ..Default::default()
        };
        match &node.body {
            Body::File(file) => {
                attributes.r#type = pb::FileType::File.into();
                attributes.length = self.length_of(file);
                attributes.chunks = file.extents.len() as u32;
                attributes.open_for_write = self.writers.contains_key(&inode);
            }
            Body::Directory(directory) => {
                attributes.r#type = pb::FileType::Directory.into();
                attributes.entries = directory.children.len() as u64;
            }
        }
        attributes
    }

    /// The attributes of an inode that is known to exist.
    pub(super) fn attributes_of(&self, inode: InodeId) -> Option<pb::Attributes> {
        self.namespace.get(inode).map(|node| self.attributes(inode, node))
    }
}

/// Checks a path, its depth too.
pub(super) fn parse(path: &str) -> Result<GfsPath, GfsError> {
    let path = GfsPath::parse(path)?;
    if path.names().count() > MAX_DEPTH + 1 {
        return Err(GfsError::invalid(format!("the path has more than {MAX_DEPTH} directories")));
    }
    Ok(path)
}

/// Reads a goal; 0 if none is given.
fn copies_of(goal: Option<&pb::Goal>) -> Result<u8, GfsError> {
    match goal.and_then(|goal| goal.kind.as_ref()) {
        None if goal.is_none() => Ok(0),
        Some(pb::goal::Kind::Copies(copies @ 1..=8)) => Ok(*copies as u8),
        Some(pb::goal::Kind::Copies(copies)) => {
            Err(GfsError::invalid(format!("a goal of {copies} copies; 1 to 8 are possible")))
        }
        None => Err(GfsError::new(ErrorCode::Unsupported, "a goal of a kind not known here")),
    }
}

/// Reads a durability.
fn durability_of(value: i32) -> Result<pb::Durability, GfsError> {
    pb::Durability::try_from(value)
        .map_err(|_| GfsError::invalid(format!("durability {value} is none")))
}

/// The error for a name that is bound to something else than the caller saw.
fn conflict(path: &GfsPath, now: InodeId, seen: u64) -> GfsError {
    GfsError::new(ErrorCode::Conflict, format!("{path} is inode {now} now, the caller saw {seen}"))
}
