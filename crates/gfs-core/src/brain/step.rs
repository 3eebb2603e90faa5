//! The brain itself: takes an event, lets the parts handle it, and sends what came of it in the
//! right order.

use std::collections::BTreeMap;

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ClusterId, CommitSequence, Geometry, InodeId, Millis};
use prost::Message;

use super::chunks::Chunks;
use super::config::{BrainConfig, Term};
use super::fsck::FsckJob;
use super::journal::{Fact, Journal};
use super::namespace::{Body, Namespace};
use super::outcomes::Outcomes;
use super::overwriting::Overwriters;
use super::records;
use super::rights::Writing;
use super::status::LogicalBytes;
use super::trash::Trash;
use super::truncation::Doomed;
use super::work::Work;
use super::writers::Waiting;
use super::{Effect, Event, Now, Ordinal, Token};
use crate::mistakes::Mistake;

/// Mutations of a group that could as well be several: within the limits of any store.
const GROUP: usize = 100;

/// The master's brain for one term. Made by a [`Loader`](super::Loader).
#[derive(Debug)]
pub struct Brain {
    pub(super) config: BrainConfig,
    pub(super) term: Term,
    pub(super) cluster_id: ClusterId,
    pub(super) geometry: Geometry,
    pub(super) cluster: pb::ClusterRecord,
    pub(super) counters: pb::Counters,
    pub(super) namespace: Namespace,
    pub(super) trash: Trash,
    pub(super) chunks: Chunks,
    pub(super) journal: Journal,
    pub(super) outcomes: Outcomes,
    /// Files that are open for write or to append.
    pub(super) writers: BTreeMap<InodeId, Writing>,
    /// The next of them to look at, for clients that have vanished.
    pub(super) writers_from: InodeId,
    /// Who overwrites which chunk.
    pub(super) overwriters: Overwriters,
    /// What truncations cut off files and is still to be discarded.
    pub(super) doomed: BTreeMap<InodeId, Doomed>,
    /// Files that are being cut, by the call that waits for that.
    pub(super) cutting: BTreeMap<InodeId, Token>,
    /// Calls that wait for a version change.
    pub(super) waiting: BTreeMap<Token, Waiting>,
    pub(super) fsck: Option<FsckJob>,
    pub(super) logical: LogicalBytes,
    /// The last commit of this term.
    pub(super) commit_sequence: CommitSequence,
    /// When this term began.
    pub(super) began: Millis,
    /// Nothing may be said before this is durable: the cluster's creation.
    pub(super) floor: Ordinal,
    pub(super) work: Work,
}

impl Brain {
    /// The cluster it leads.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// How the cluster cuts files.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Groups of mutations and effects that wait for the store.
    #[must_use]
    pub fn uncommitted(&self) -> usize {
        self.journal.waiting()
    }

    /// Handles one event. What is to be done is appended to `out`, in order.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let mut work = std::mem::take(&mut self.work);
        work.begin(now, self.floor);
        let outbox = &mut work.chunks;
        match event {
            Event::Committed { through, sequence } => {
                self.commit_sequence = self.commit_sequence.max(sequence);
                self.chunks.committed(sequence.0);
                self.journal.committed(through, out);
            }
            Event::Call { token, request } => {
                self.call(&mut work, token, request);
                self.carry_on(&mut work);
                self.flush(&mut work, usize::MAX, out);
            }
            Event::Forget { token } => self.forget(token),
            Event::Register { token, request } => {
                self.chunks.register(now, token, &request, &mut self.counters, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::Heartbeat { session, beat } => {
                self.chunks.heartbeat(now, session, &beat, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::CommandsOpen { session } => {
                self.chunks.commands_open(now, session, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::SessionBroken { session } => {
                self.chunks.session_broken(now, session, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::Result { session, result } => {
                self.chunks.result(now, session, &result, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::Notice { session, notice } => {
                self.chunks.notice(now, session, &notice, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::Report { token, page } => {
                self.chunks.report(now, token, &page, &mut self.counters, outbox);
                self.flush_chunks(&mut work, out);
            }
            Event::Tick => {
                self.chunks.tick(now, outbox);
                self.flush_chunks(&mut work, out);
                self.tick(&mut work, out);
            }
        }
        self.work = work;
    }

    /// Time passed, on the namespace side.
    fn tick(&mut self, work: &mut Work, out: &mut Vec<Effect>) {
        for _ in 0..self.config.limits.removals_per_tick {
            let any =
                self.expire_trash(work) || self.take_down(work) || self.take_down_doomed(work);
            if !any {
                break;
            }
            self.flush(work, usize::MAX, out);
        }
        let limits = self.config.limits;
        for client in self.outcomes.sweep(work.now.mono, limits.client_idle, limits.clients) {
            work.deleted.push(records::client_key(client));
            work.facts.push(Fact::Client(client));
        }
        self.flush(work, GROUP, out);
        self.end_long_waits(work, out);
        self.find_vanished(work, out);
        self.find_left(work);
        self.count_bytes();
        self.go_on_with_fsck(work);
        self.flush(work, usize::MAX, out);
    }

    /// After an event of the chunk side: what it changed goes in groups (each chunk's record for
    /// itself), then those who waited for a version change go on.
    fn flush_chunks(&mut self, work: &mut Work, out: &mut Vec<Effect>) {
        self.flush(work, GROUP, out);
        if work.chunks.is_news() {
            self.carry_on(work);
            self.flush(work, usize::MAX, out);
        }
    }

    /// Sends what the work came to: first its mutations, in groups of at most `group`; then,
    /// when they are durable, what rests on them.
    pub(super) fn flush(&mut self, work: &mut Work, group: usize, out: &mut Vec<Effect>) {
        if !work.chunks.cuts.is_empty() {
            self.finish_cuts(work, out);
        }
        if std::mem::take(&mut work.chunks.rolled_back) {
            self.cluster.rollback_mode = true;
            work.cluster = true;
        }
        if work.is_dirty() {
            self.commit(work, group, out);
            work.after = self.journal.last();
        }
        let after = if self.config.mistakes.has(Mistake::MasterRepliesBeforeCommit) {
            Ordinal(0)
        } else {
            work.after
        };
        for (token, result) in work.replies.drain(..) {
            let result = result.map(Box::new).map_err(Box::new);
            self.journal.hold(after, Effect::Reply { token, result }, out);
        }

        // What the chunk side says may rest on anything before.
        let last = self.journal.last();
        let outbox = &mut work.chunks;
        for (token, result) in outbox.replies.drain(..) {
            let result = result.map(Box::new).map_err(Box::new);
            self.journal.hold(last, Effect::Reply { token, result }, out);
        }
        for (session, command) in outbox.sends.drain(..) {
            let command = Box::new(command);
            self.journal.hold(last, Effect::Send { session, command }, out);
        }
        for session in outbox.ended.drain(..) {
            self.journal.hold(last, Effect::EndSession { session }, out);
        }
        out.extend(outbox.beats.drain(..).map(|(session, reply)| Effect::Beat { session, reply }));
        out.extend(outbox.notes.drain(..).map(|(severe, text)| Effect::Note { severe, text }));
    }

    pub(super) fn commit(&mut self, work: &mut Work, group: usize, out: &mut Vec<Effect>) {
        for handle in std::mem::take(&mut work.chunks.touched) {
            self.touched(work, handle);
        }
        // Each key once; what is deleted and written again is written.
        let mut mutations: BTreeMap<Bytes, Option<Bytes>> =
            work.deleted.drain(..).map(|key| (key, None)).collect();
        work.entries.sort_unstable();
        work.entries.dedup();
        for inode in work.entries.drain(..) {
            if let Some((key, record)) = self.entry_record(inode) {
                mutations.insert(key, Some(records::encode(&record)));
            }
        }
        work.pages.sort_unstable();
        work.pages.dedup();
        for (inode, page) in work.pages.drain(..) {
            if let Some(record) = self.page_record(inode, page) {
                mutations.insert(records::page_key(inode, page), Some(records::encode(&record)));
            }
        }
        for client in work.clients.drain(..) {
            let record = self.outcomes.persisted(client);
            mutations
                .insert(records::client_key(client), record.map(|record| records::encode(&record)));
        }
        for server in work.chunks.touched_servers.drain(..) {
            if let Some(record) = self.chunks.server_record(server) {
                mutations.insert(records::server_key(server), Some(records::encode(&record)));
            }
        }
        for (handle, record) in work.chunks.garbage.drain(..) {
            mutations.insert(
                records::garbage_key(handle),
                record.map(|record| records::encode(&record)),
            );
        }
        if std::mem::take(&mut work.cluster) {
            mutations.insert(records::cluster_key(), Some(records::encode(&self.cluster)));
        }

        let counters: Bytes = self.counters.encode_to_vec().into();
        let mut mutations = mutations.into_iter().collect::<Vec<_>>();
        while mutations.len() > group {
            let rest = mutations.split_off(group);
            self.journal.commit(mutations, counters.clone(), std::iter::empty(), out);
            mutations = rest;
        }
        self.journal.commit(mutations, counters, work.facts.drain(..), out);
    }

    /// What is written from now on is of the present format: who reads older ones only would take
    /// it for something else.
    pub(super) fn raise_format(&mut self, work: &mut Work) {
        if self.cluster.format < records::FORMAT {
            self.cluster.format = records::FORMAT;
            work.cluster = true;
        }
    }

    /// The record of an entry as it is now.
    pub(super) fn entry_record(&self, inode: InodeId) -> Option<(Bytes, pb::EntryRecord)> {
        let node = self.namespace.get(inode)?;
        let mut record = pb::EntryRecord {
            inode: inode.0,
            modified_at: node.modified_at,
            created_at: node.created_at,
            trash: self.trash.get(inode).map(|trashed| pb::TrashRecord {
                path: trashed.path.to_string(),
                deleted_at: trashed.deleted_at,
                expires_at: trashed.expires_at,
            }),
            ..Default::default()
        };
        match &node.body {
            Body::Directory(directory) => {
                record.directory = Some(pb::DirectoryRecord {
                    copies: directory.copies.into(),
                    durability: directory.durability.into(),
                });
            }
            Body::File(file) => {
                let writing = self.writers.get(&inode);
                let doomed = self.doomed.get(&inode);
                let (writer, appenders) = writing.map(Writing::record).unwrap_or_default();
                record.file = Some(pb::FileRecord {
                    length: self.length_of(file),
                    copies: file.copies.into(),
                    durability: file.durability.into(),
                    extents: self.page_of_extents(inode, 0),
                    extent_count: file.extents.len() as u32,
                    spare: writing
                        .and_then(|writing| writing.spare)
                        .and_then(|handle| self.chunks.record(handle)),
                    writer,
                    appenders,
                    doomed_first: doomed.map_or(0, |doomed| doomed.first as u32),
                    doomed_count: doomed.map_or(0, |doomed| doomed.extents.len() as u32),
                });
            }
        }
        Some((records::entry_key(node.parent, &node.name), record))
    }

    /// The record of a further page of extents as it is now.
    fn page_record(&self, inode: InodeId, page: u32) -> Option<pb::ExtentPage> {
        let extents = self.page_of_extents(inode, page);
        (!extents.is_empty()).then_some(pb::ExtentPage { extents })
    }
}
