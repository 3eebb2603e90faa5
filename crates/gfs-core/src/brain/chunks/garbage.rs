//! Chunks that no file needs any more: remembered until every server that may hold a replica has
//! deleted it.

use super::servers::Purpose;
use super::strays::MAX_DELETES;
use super::table::Health;
use super::{Chunks, Outbox};
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ErrorCode, GfsError, ServerNumber};
use std::collections::BTreeSet;

/// A chunk to be deleted everywhere.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// What a Delete condemns.
    version: u64,
    members: BTreeSet<ServerNumber>,
    /// It has a record. Replicas of unknown chunks that servers report have none.
    persisted: bool,
}

impl Chunks {
    /// No file needs the chunk any more: it leaves the table, its replicas are deleted.
    pub fn discard(&mut self, handle: ChunkHandle, out: &mut Outbox) {
        let Some(slot) = self.table.get(handle) else { return };
        self.enqueue(handle, 0);
        self.stuck.remove(&handle);
        self.setbacks.remove(&handle);
        self.leaving.remove(&handle);
        self.incidents.discarded(handle);
        self.count(slot.counted(), Health::Full);
        let mut members: BTreeSet<ServerNumber> = slot.members().collect();
        members.extend(self.strays_of(handle).map(|(server, _)| server));
        members.extend(self.clones_of(handle).map(|(server, _)| server));
        self.cancel_clones(handle, out);
        let mut version = slot.version;
        if let Some(change) = self.changes.remove(&handle) {
            version = version.max(change.next);
            let text = format!("chunk {handle} was removed");
            let gone = GfsError::new(ErrorCode::NotFound, text);
            out.done.extend(change.waiters.iter().map(|waiter| (*waiter, Err(gone.clone()))));
        }
        let strays: Vec<ServerNumber> = self.strays_of(handle).map(|(server, _)| server).collect();
        for server in strays {
            self.remove_stray(handle, server);
        }
        for server in slot.holders() {
            if let Some(server) = self.servers.get_mut(server) {
                server.held = server.held.saturating_sub(1);
            }
        }
        self.list(&slot, false);
        self.table.remove(handle);
        let garbage = Garbage { version, members, persisted: true };
        out.garbage.push((handle, Some(garbage.record())));
        self.add_garbage(handle, garbage);
        self.finish_garbage(handle, out);
        self.pump_deletes(out);
    }

    /// Adds a chunk that no file needs.
    pub fn load_garbage(&mut self, handle: ChunkHandle, record: &pb::GarbageRecord) {
        let members = record.members.iter().map(|m| ServerNumber(*m)).collect();
        let garbage = Garbage { version: record.version, members, persisted: true };
        self.garbage.insert(handle, garbage);
    }

    /// All servers are loaded: the garbage goes to those that may hold it.
    pub(super) fn assign_garbage(&mut self) {
        for (handle, garbage) in std::mem::take(&mut self.garbage) {
            self.add_garbage(handle, garbage);
        }
    }

    /// A server reports a replica of a chunk that is not in the table. Handles are never reused:
    /// the chunk was removed (unless metadata was rolled back, and then nothing is deleted).
    pub(super) fn orphan(&mut self, handle: ChunkHandle, server: ServerNumber, version: u64) {
        if let Some(garbage) = self.garbage.get_mut(&handle) {
            garbage.version = garbage.version.max(version);
            garbage.members.insert(server);
            if let Some(server) = self.servers.get_mut(server) {
                server.deletes.insert(handle);
            }
        } else {
            let members = BTreeSet::from([server]);
            self.add_garbage(handle, Garbage { version, members, persisted: false });
        }
    }

    /// How many replicas there are of each chunk that servers reported and that is in no record.
    pub(super) fn unknown_replicas(&self) -> impl Iterator<Item = usize> + Clone {
        self.garbage.values().filter(|g| !g.persisted).map(|g| g.members.len())
    }

    fn add_garbage(&mut self, handle: ChunkHandle, mut garbage: Garbage) {
        // A server that does not exist (any more) holds nothing.
        garbage.members.retain(|m| self.servers.get(*m).is_some_and(|s| !s.decommissioned));
        for member in &garbage.members {
            if let Some(server) = self.servers.get_mut(*member) {
                server.deletes.insert(handle);
            }
        }
        self.garbage.insert(handle, garbage);
    }

    /// Sends deletes of garbage, as many as the servers may have.
    pub(super) fn pump_deletes(&mut self, out: &mut Outbox) {
        if self.garbage.is_empty() || !self.deletes_allowed() {
            return;
        }
        let ready: Vec<ServerNumber> = self
            .servers
            .iter()
            .filter(|s| !s.deletes.is_empty() && s.takes_commands())
            .map(|s| s.number)
            .collect();
        for number in ready {
            while let Some(server) = self.servers.get_mut(number) {
                if server.session.as_ref().is_none_or(|s| s.deleting >= MAX_DELETES) {
                    break;
                }
                let Some(handle) = server.deletes.pop_first() else { break };
                let Some(garbage) = self.garbage.get(&handle) else { continue };
                let delete = Body::Delete(pb::Delete { version: garbage.version });
                if !self.send(number, handle, Purpose::DeleteGarbage, delete, out) {
                    if let Some(server) = self.servers.get_mut(number) {
                        server.deletes.insert(handle);
                    }
                    break;
                }
            }
        }
    }

    /// A Delete of garbage was carried out, or refused.
    pub(super) fn garbage_deleted(
        &mut self,
        handle: ChunkHandle,
        server: ServerNumber,
        error: Option<&pb::ErrorDetail>,
        out: &mut Outbox,
    ) {
        let Some(garbage) = self.garbage.get_mut(&handle) else {
            self.pump_deletes(out);
            return;
        };
        match error {
            None => {
                garbage.members.remove(&server);
                self.finish_garbage(handle, out);
            }
            Some(error) if error.error_code() == ErrorCode::UnknownChunk => {
                garbage.members.remove(&server);
                self.finish_garbage(handle, out);
            }
            Some(error) => {
                if error.error_code() == ErrorCode::StaleVersion && error.actual > garbage.version {
                    // It had promised more than was known. The chunk is gone all the same.
                    garbage.version = error.actual;
                    if garbage.persisted {
                        out.garbage.push((handle, Some(garbage.record())));
                    }
                }
                if let Some(server) = self.servers.get_mut(server) {
                    server.deletes_later.insert(handle);
                }
            }
        }
        self.pump_deletes(out);
    }

    fn finish_garbage(&mut self, handle: ChunkHandle, out: &mut Outbox) {
        if self.garbage.get(&handle).is_some_and(|g| g.members.is_empty())
            && let Some(garbage) = self.garbage.remove(&handle)
            && garbage.persisted
        {
            out.garbage.push((handle, None));
        }
    }

    /// Takes failed deletes up again.
    pub(super) fn tick_garbage(&mut self, whole_second: bool, out: &mut Outbox) {
        if whole_second {
            for server in self.servers.iter_mut() {
                let later = std::mem::take(&mut server.deletes_later);
                server.deletes.extend(later);
            }
        }
        self.pump_deletes(out);
    }
}

impl Garbage {
    fn record(&self) -> pb::GarbageRecord {
        pb::GarbageRecord {
            members: self.members.iter().map(|m| m.0).collect(),
            version: self.version,
        }
    }

    /// Who holds it, if it was never a chunk that this master knew.
    pub(super) fn unknown_on(&self) -> Option<Vec<ServerNumber>> {
        (!self.persisted).then(|| self.members.iter().copied().collect())
    }
}
