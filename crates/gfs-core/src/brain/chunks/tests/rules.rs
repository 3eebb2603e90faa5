//! The rules that must hold after every event.

use super::world::World;
use crate::brain::SessionId;
use crate::brain::chunks::strays::StrayKind;
use gfs_proto::v1::{self as pb, command::Body};
use gfs_types::{ChunkHandle, ServerNumber};
use std::collections::BTreeMap;

impl World {
    /// A record becomes durable.
    pub(super) fn commit(&mut self, handle: u64, record: pb::ExtentRecord) {
        let Some(known) = self.known.get_mut(&handle) else { return };
        let version = record.version.max(1);
        if let Some(old) = self.records.get(&handle) {
            let before = old.version.max(1);
            let old_next = old.next.max(before);
            if version < before {
                self.broken
                    .push(format!("chunk {handle}: version went back from {before} to {version}"));
            }
            if record.next != 0 && record.next != old.next && record.next <= known.highest {
                self.broken.push(format!("chunk {handle}: number {} is used again", record.next));
            }
            if version != before && version != old_next {
                self.broken
                    .push(format!("chunk {handle}: version {version} was not announced as next"));
            }
            if version == before && record.members != old.members {
                self.broken.push(format!("chunk {handle}: members changed without a new version"));
            }
            if record.next == 0 && version == before && old.next > before {
                self.broken.push(format!("chunk {handle}: number {} was forgotten", old.next));
            }
            if version > before {
                for member in &record.members {
                    let replica = self
                        .hosts
                        .iter()
                        .find(|h| h.number == *member)
                        .and_then(|h| h.replicas.get(&handle));
                    let equal = replica.is_some_and(|r| {
                        r.promised >= version && r.content.starts_with(&known.acked)
                    });
                    if !equal {
                        self.broken.push(format!(
                            "chunk {handle}: s{member} became a member at version {version} and has {replica:?}; \
                             acknowledged were {:?}",
                            known.acked
                        ));
                    }
                }
            }
        }
        known.highest = known.highest.max(record.next).max(version);
        self.records.insert(handle, record);
    }

    /// A chunk is deleted everywhere, says the master.
    pub(super) fn forget_garbage(&mut self, handle: u64) {
        let Some(record) = self.garbage.remove(&handle) else { return };
        for host in self.hosts.iter().filter(|h| record.members.contains(&h.number)) {
            if host.replicas.contains_key(&handle) {
                self.broken.push(format!(
                    "chunk {handle} is forgotten, s{} still has a replica",
                    host.number
                ));
            }
        }
    }

    /// Copies that are there and good, on servers that run.
    pub(super) fn good(&self, handle: u64) -> Vec<u32> {
        let Some(record) = self.records.get(&handle) else { return Vec::new() };
        self.hosts
            .iter()
            .filter(|h| h.runs() && record.members.contains(&h.number))
            .filter(|h| {
                h.replicas.get(&handle).is_some_and(|r| {
                    r.is_current(record.version.max(1)) && !r.damaged && !r.suspect
                })
            })
            .map(|h| h.number)
            .collect()
    }

    /// A command leaves.
    pub(super) fn check_send(&mut self, session: SessionId, command: &pb::Command) {
        let Some(host) = self.hosts.iter().find(|h| h.session == Some(session.0)) else { return };
        if !host.reported && host.session == Some(session.0) && !self.reporting(session) {
            self.broken.push(format!("a command for s{} before its report", host.number));
        }
        let Some(Body::Delete(delete)) = &command.body else { return };
        let handle = command.handle;
        let Some(record) = self.records.get(&handle) else { return };
        let number = host.number;
        let version = record.version.max(1);
        if delete.version >= version {
            self.broken.push(format!(
                "chunk {handle}: a delete condemns version {} of {version}",
                delete.version
            ));
        }
        let goal = usize::from(self.known[&handle].info.copies);
        let held = host.replicas.get(&handle).cloned().unwrap_or_default();
        let live: Vec<u32> = self.chunks_live(handle);
        // What the server itself found damaged gives way to a fresh copy.
        let stray = self.chunks.strays.get(&(ChunkHandle(handle), ServerNumber(number)));
        let condemned = stray.is_some_and(|s| s.kind == StrayKind::Damaged);
        let enough = if condemned { (goal - 1).clamp(1, 2) } else { goal };
        let fresh = held.complete == 0 && held.promised == 0;
        if live.iter().filter(|n| **n != number).count() < enough && !fresh {
            self.broken.push(format!(
                "chunk {handle}: the replica {held:?} on s{number} is deleted while {live:?} have good ones (goal {goal})"
            ));
        }
    }

    /// Whether the last page of the report of this session has just come.
    fn reporting(&self, session: SessionId) -> bool {
        self.chunks
            .servers
            .by_session(session)
            .and_then(|n| self.chunks.servers.get(n))
            .is_some_and(|s| s.is_reported())
    }

    /// Good copies on servers whose sessions stand and that are not stopped for so long that the
    /// master should have noticed.
    fn chunks_live(&self, handle: u64) -> Vec<u32> {
        let record = &self.records[&handle];
        self.hosts
            .iter()
            .filter(|h| h.up && record.members.contains(&h.number))
            .filter(|h| {
                self.chunks.servers.get(ServerNumber(h.number)).is_some_and(|s| s.watch.is_live())
            })
            .filter(|h| {
                h.replicas.get(&handle).is_some_and(|r| r.is_current(record.version.max(1)))
            })
            .map(|h| h.number)
            .collect()
    }

    /// What holds after every event.
    pub(super) fn check(&mut self) {
        let chunks = &self.chunks;
        // The last clone begun may go over the limit, by less than a full chunk.
        let limit = chunks.clone_limit() + 15;
        let mut incoming: BTreeMap<ServerNumber, u16> = BTreeMap::new();
        let mut outgoing: BTreeMap<ServerNumber, u16> = BTreeMap::new();
        for ((_, target), clone) in &chunks.clones {
            *incoming.entry(*target).or_default() += clone.shares;
            *outgoing.entry(clone.source).or_default() += clone.shares;
        }
        for server in chunks.servers.iter() {
            let (i, o) = (
                incoming.get(&server.number).copied().unwrap_or(0),
                outgoing.get(&server.number).copied().unwrap_or(0),
            );
            if i > limit || o > limit || (i, o) != (server.incoming, server.outgoing) {
                self.broken.push(format!(
                    "{}: {i} shares in, {o} out, counted {} and {}, limit {limit}",
                    server.number, server.incoming, server.outgoing
                ));
            }
        }
        let mut lacking = [0u64; 3];
        let mut held: BTreeMap<ServerNumber, u64> = BTreeMap::new();
        let mut listed: BTreeMap<ServerNumber, (u64, u64)> = BTreeMap::new();
        let mut queued = 0;
        for (handle, slot) in chunks.table.iter() {
            let good = slot.good();
            if good < slot.copies {
                lacking[match good {
                    0 => 2,
                    1 => 1,
                    _ => 0,
                }] += 1;
            }
            for server in slot.holders() {
                *held.entry(server).or_default() += 1;
            }
            for server in slot.members() {
                let (count, bytes) = listed.entry(server).or_default();
                *count += 1;
                *bytes += u64::from(slot.length);
            }
            queued += usize::from(slot.queued != 0);
            let strays = chunks.strays_of(handle).next().is_some();
            if strays != slot.strays {
                self.broken.push(format!("chunk {handle}: the mark of strays is wrong"));
            }
            if slot.queued != 0 && !chunks.queue.contains(&(slot.queued, handle)) {
                self.broken.push(format!("chunk {handle}: not where it should be in the queue"));
            }
        }
        if lacking != chunks.lacking {
            self.broken.push(format!("counted {:?}, there are {lacking:?}", chunks.lacking));
        }
        if queued != chunks.queue.len() {
            self.broken.push(format!("{} in the queue, {queued} marked", chunks.queue.len()));
        }
        for server in chunks.servers.iter() {
            let members = listed.get(&server.number).copied().unwrap_or((0, 0));
            let counted = (chunks.listed(server.number), chunks.stored(server.number));
            if counted != members {
                self.broken.push(format!(
                    "{}: a member of so many chunks and bytes: {members:?}, counted {counted:?}",
                    server.number
                ));
            }
            if server.held != held.get(&server.number).copied().unwrap_or(0) {
                self.broken.push(format!(
                    "{}: holds {}, counted {}",
                    server.number, held[&server.number], server.held
                ));
            }
        }
        for (handle, record) in &self.records {
            let Some(known) = self.known.get(handle) else { continue };
            // Whoever is current has all that was acknowledged.
            for host in self.hosts.iter().filter(|h| record.members.contains(&h.number)) {
                let Some(replica) = host.replicas.get(handle) else { continue };
                if replica.complete == record.version.max(1)
                    && !replica.suspect
                    && !replica.content.starts_with(&known.acked)
                {
                    self.broken.push(format!(
                        "chunk {handle}: s{} is current with {:?}, acknowledged were {:?}",
                        host.number, replica.content, known.acked
                    ));
                }
            }
            // Nobody reads from a replica that is not current.
            let location = chunks.location(ChunkHandle(*handle), &pb::Place::default()).unwrap();
            for server in &location.servers {
                let host = self.hosts.iter().find(|h| h.number == server.server).unwrap();
                let stale = host.replicas.get(handle).is_some_and(|r| {
                    !r.is_current(record.version.max(1)) && r.promised <= record.version.max(1)
                });
                if stale && host.up {
                    self.broken
                        .push(format!("chunk {handle}: s{} is named and is stale", server.server));
                }
            }
        }
        if let Some(first) = self.broken.first() {
            panic!("{first}\n({} rules broken; at {})", self.broken.len(), self.now.mono);
        }
    }
}
