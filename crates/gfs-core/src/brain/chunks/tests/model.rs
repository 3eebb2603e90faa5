//! Chunkservers as the contract says they behave, reduced to what the master sees of them: a
//! replica's content is the list of writes applied to it.

use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{Crc, ErrorCode};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replica {
    pub(super) promised: u64,
    pub(super) complete: u64,
    pub(super) serial: u64,
    pub(super) content: Vec<u32>,
    pub(super) damaged: bool,
    pub(super) suspect: bool,
    pub(super) lease: bool,
    pub(super) sealed: bool,
    pub(super) inode: u64,
    pub(super) index: u32,
    /// Of the last grant.
    pub(super) members: Vec<u32>,
}

impl Replica {
    pub(super) fn state(&self, handle: u64) -> pb::ReplicaState {
        let bytes: Vec<u8> = self.content.iter().flat_map(|w| w.to_be_bytes()).collect();
        pb::ReplicaState {
            handle,
            promised: self.promised,
            complete: self.complete,
            length: self.content.len() as u32,
            serial: self.serial,
            inode: self.inode,
            index: self.index,
            sealed: self.sealed,
            suspect: self.suspect,
            damaged: if self.damaged {
                vec![pb::BlockRange { first: 0, count: 1 }]
            } else {
                Vec::new()
            },
            digest: Crc::of(&bytes).0,
            lease: self.lease,
            ..Default::default()
        }
    }

    /// Equal to the others of the chunk at this version.
    pub(super) fn is_current(&self, version: u64) -> bool {
        // Prepared and equalized under the number that was committed, its Grant on the way: equal,
        // too.
        self.complete == version || self.promised == version
    }
}

/// A chunkserver.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) number: u32,
    pub(super) session: Option<u64>,
    pub(super) epoch: u64,
    pub(super) reported: bool,
    /// The process runs.
    pub(super) up: bool,
    /// It runs and does nothing (SIGSTOP).
    pub(super) stopped: bool,
    /// It beats, and its commands do not reach it.
    pub(super) deaf: bool,
    /// Its disk takes promises and copies, and no Grant of what exists: a sync failed before.
    pub(super) grants_fail: bool,
    /// Where it is, from its next registration on.
    pub(super) zone: String,
    /// Bytes of its volume; `None`: more than enough, whatever it stores.
    pub(super) space: Option<u64>,
    /// Power losses so far.
    pub(super) boot: u8,
    pub(super) replicas: BTreeMap<u64, Replica>,
    pub(super) inbox: VecDeque<pb::Command>,
    /// Results on their way, with the session in which they were sent.
    pub(super) results: VecDeque<(u64, pb::CommandResult)>,
}

impl Host {
    pub(super) fn runs(&self) -> bool {
        self.up && !self.stopped
    }

    /// What it says of its volume.
    pub(super) fn volume(&self) -> pb::VolumeState {
        let stored = self.replicas.values().map(|r| r.content.len() as u64).sum();
        let (total_bytes, free_bytes) = match self.space {
            Some(space) => (space, space.saturating_sub(stored)),
            None => (1 << 40, 1 << 39),
        };
        pb::VolumeState { total_bytes, free_bytes, ..Default::default() }
    }
}

fn refuse(code: ErrorCode, actual: u64) -> Result<(), pb::ErrorDetail> {
    Err(pb::ErrorDetail { actual, ..pb::ErrorDetail::new(code, "model") })
}

/// Server `at` carries out a command; `hosts` by number, from 1 at index 0.
pub(super) fn carry_out(hosts: &mut [Host], at: usize, command: &pb::Command) -> pb::CommandResult {
    let handle = command.handle;
    let me = hosts[at].number;
    let source_of = |hosts: &[Host], location: &pb::ServerLocation| {
        hosts
            .iter()
            .find(|h| h.number == location.server && h.runs())
            .and_then(|h| h.replicas.get(&handle))
            .filter(|r| !r.damaged)
            .cloned()
    };
    let mut with_state = true;
    let outcome = match command.body.as_ref().unwrap() {
        Body::Grant(grant) if hosts[at].grants_fail && grant.version > 1 => {
            refuse(ErrorCode::DiskError, 0)
        }
        Body::Grant(grant) => match hosts[at].replicas.get_mut(&handle) {
            None if grant.version == 1 => {
                let replica = Replica {
                    promised: 1,
                    complete: 1,
                    lease: grant.lease && grant.members[0].server == me,
                    inode: grant.inode,
                    index: grant.index,
                    members: grant.members.iter().map(|m| m.server).collect(),
                    ..Replica::default()
                };
                hosts[at].replicas.insert(handle, replica);
                Ok(())
            }
            None => refuse(ErrorCode::UnknownChunk, 0),
            Some(r) if r.promised != grant.version => refuse(ErrorCode::StaleVersion, r.promised),
            Some(r) => {
                if r.complete != grant.version {
                    r.serial = 0;
                }
                r.complete = grant.version;
                r.suspect = false;
                r.sealed = grant.sealed;
                r.lease = grant.lease && grant.members[0].server == me;
                r.members = grant.members.iter().map(|m| m.server).collect();
                Ok(())
            }
        },
        Body::Prepare(prepare) => match hosts[at].replicas.get_mut(&handle) {
            None => refuse(ErrorCode::UnknownChunk, 0),
            Some(r) if r.promised > prepare.next => refuse(ErrorCode::StaleVersion, r.promised),
            Some(r) => {
                r.promised = prepare.next;
                r.lease = false;
                Ok(())
            }
        },
        Body::Equalize(equalize) => {
            let source = equalize.source.as_ref().unwrap();
            match (source_of(hosts, source), hosts[at].replicas.get_mut(&handle)) {
                (_, None) => refuse(ErrorCode::UnknownChunk, 0),
                (_, Some(r)) if r.promised != equalize.next => {
                    refuse(ErrorCode::StaleVersion, r.promised)
                }
                (None, _) => Err(pb::ErrorDetail {
                    server: source.server,
                    ..pb::ErrorDetail::new(ErrorCode::Unreachable, "model")
                }),
                (Some(from), Some(r)) => {
                    r.content = from.content;
                    r.serial = equalize.serial;
                    r.damaged = false;
                    Ok(())
                }
            }
        }
        Body::Clone(clone) => {
            let found = clone.sources.iter().find_map(|s| source_of(hosts, s));
            let exists = hosts[at].replicas.get(&handle).is_some_and(|r| r.complete > 0);
            match found {
                _ if exists => refuse(ErrorCode::InvalidArgument, 0),
                None => Err(pb::ErrorDetail {
                    server: clone.sources[0].server,
                    ..pb::ErrorDetail::new(ErrorCode::Unreachable, "model")
                }),
                Some(from) => {
                    let replica = Replica {
                        promised: 0,
                        complete: 0,
                        content: from.content,
                        inode: clone.inode,
                        index: clone.index,
                        ..Replica::default()
                    };
                    hosts[at].replicas.insert(handle, replica);
                    Ok(())
                }
            }
        }
        Body::CancelClone(_) => {
            if hosts[at].replicas.get(&handle).is_some_and(|r| r.complete == 0 && r.promised == 0) {
                hosts[at].replicas.remove(&handle);
            }
            with_state = false;
            Ok(())
        }
        Body::Delete(delete) => match hosts[at].replicas.get(&handle) {
            None => refuse(ErrorCode::UnknownChunk, 0),
            Some(r) if r.promised.max(r.complete) > delete.version => {
                refuse(ErrorCode::StaleVersion, r.promised.max(r.complete))
            }
            Some(_) => {
                hosts[at].replicas.remove(&handle);
                with_state = false;
                Ok(())
            }
        },
        Body::Verify(_) => Ok(()),
        Body::Revoke(_) => {
            if let Some(r) = hosts[at].replicas.get_mut(&handle) {
                r.lease = false;
            }
            Ok(())
        }
    };
    let state = hosts[at].replicas.get(&handle).map(|r| r.state(handle)).filter(|_| with_state);
    pb::CommandResult {
        id: command.id,
        epoch: command.epoch,
        handle,
        error: outcome.err(),
        state,
        copied: 0,
    }
}
