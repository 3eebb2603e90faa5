//! A brain from what the store holds: record by record, in any order, in pages of any size; or a
//! new cluster when the store is empty.

use std::collections::BTreeMap;

use gfs_proto::v1 as pb;
use gfs_types::{
    ChunkHandle, ClientId, ClusterId, ErrorCode, Geometry, InodeId, Name, ROOT_INODE, ServerNumber,
};
use prost::Message;
use smallvec::SmallVec;
use thiserror::Error;

use super::chunks::{ChunkInfo, Chunks, ChunksConfig};
use super::config::{BrainConfig, Term};
use super::journal::Journal;
use super::namespace::{Body, Directory, Extent, Extents, File, Hole, Namespace, Node};
use super::namespace::{ORPHANAGE, trash_name};
use super::outcomes::Outcomes;
use super::overwriting::Overwriters;
use super::records::{EXTENTS_PER_PAGE, FORMAT, Key, page_of};
use super::rights::{MAX_APPENDERS, Writing};
use super::step::Brain;
use super::trash::{DEFAULT_PERIOD, Trash, Trashed};
use super::truncation::Doomed;
use super::work::Work;
use super::{Effect, Now};

/// Inode ids below this are the system's own: 0 none, 1 the root, 2 the orphanage.
const FIRST_INODE: u64 = 3;

/// Why a store cannot be loaded. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Written by a newer version of the software.
    #[error("the metadata has format {found}, this version knows {FORMAT}: use a newer one")]
    NewerFormat {
        /// What the cluster record says.
        found: u32,
    },
    /// It is the store of another cluster.
    #[error("this is the metadata of cluster {found}, not of {expected}")]
    OtherCluster {
        /// What the cluster record says.
        found: ClusterId,
        /// What the configuration says.
        expected: ClusterId,
    },
    /// A record cannot be what was written.
    #[error("the metadata is damaged: record {key:?}: {reason}; restore a snapshot of it")]
    Corrupt {
        /// Its key, or what it is about.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting for a fresh cluster makes no sense.
    #[error("{0}")]
    Settings(String),
}

fn corrupt(key: impl std::fmt::Debug, reason: impl Into<String>) -> LoadError {
    LoadError::Corrupt { key: format!("{key:?}"), reason: reason.into() }
}

/// What a file's record says beside its node.
#[derive(Debug)]
struct Loaded {
    extents: Vec<pb::ExtentRecord>,
    count: usize,
    spare: Option<Box<pb::ExtentRecord>>,
    writer: u64,
    appenders: Vec<u64>,
    /// What a truncation cut off: the index that the first one had, and how many.
    doomed: (usize, usize),
}

/// Gathers the records of a store.
#[derive(Debug)]
pub struct Loader {
    config: BrainConfig,
    term: Term,
    counters: pb::Counters,
    cluster: Option<pb::ClusterRecord>,
    nodes: Vec<(InodeId, Node)>,
    files: Vec<(InodeId, Loaded)>,
    trash: Vec<(InodeId, pb::TrashRecord)>,
    pages: BTreeMap<(InodeId, u32), pb::ExtentPage>,
    servers: Vec<(ServerNumber, pb::ServerRecord)>,
    garbage: Vec<(ChunkHandle, pb::GarbageRecord)>,
    clients: Vec<(ClientId, pb::OutcomeRecord)>,
}

impl Loader {
    /// Begins. `counters` are those of the store's sequence record; empty in a fresh store.
    ///
    /// # Errors
    /// If the counters cannot be read.
    pub fn new(config: BrainConfig, term: Term, counters: &[u8]) -> Result<Self, LoadError> {
        let mut counters =
            pb::Counters::decode(counters).map_err(|e| corrupt("counters", e.to_string()))?;
        counters.inode = counters.inode.max(FIRST_INODE);
        counters.handle = counters.handle.max(1);
        counters.server = counters.server.max(1);
        Ok(Self {
            config,
            term,
            counters,
            cluster: None,
            nodes: Vec::new(),
            files: Vec::new(),
            trash: Vec::new(),
            pages: BTreeMap::new(),
            servers: Vec::new(),
            garbage: Vec::new(),
            clients: Vec::new(),
        })
    }

    /// Takes one record.
    ///
    /// # Errors
    /// If it cannot be read, is of a newer format or of another cluster.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let parsed = Key::parse(key).ok_or_else(|| corrupt(key, "the key is none of ours"))?;
        let unreadable = |e: prost::DecodeError| corrupt(&parsed, e.to_string());
        match &parsed {
            Key::Cluster => {
                let record = pb::ClusterRecord::decode(value).map_err(unreadable)?;
                self.check_cluster(&record)?;
                self.cluster = Some(record);
            }
            Key::Entry(directory, name) => {
                let record = pb::EntryRecord::decode(value).map_err(unreadable)?;
                self.node(*directory, name, record).map_err(|why| corrupt(&parsed, why))?;
            }
            Key::Page(inode, page) => {
                let record = pb::ExtentPage::decode(value).map_err(unreadable)?;
                self.pages.insert((*inode, *page), record);
            }
            Key::Server(number) => {
                let record = pb::ServerRecord::decode(value).map_err(unreadable)?;
                if number.0 == 0 || number.0 >= self.counters.server {
                    return Err(corrupt(&parsed, "a server number that was never given out"));
                }
                self.servers.push((*number, record));
            }
            Key::Garbage(handle) => {
                let record = pb::GarbageRecord::decode(value).map_err(unreadable)?;
                self.garbage.push((*handle, record));
            }
            Key::Client(client) => {
                let record = pb::OutcomeRecord::decode(value).map_err(unreadable)?;
                self.clients.push((*client, record));
            }
        }
        Ok(())
    }

    fn check_cluster(&self, record: &pb::ClusterRecord) -> Result<(), LoadError> {
        if record.format > FORMAT {
            return Err(LoadError::NewerFormat { found: record.format });
        }
        let found = ClusterId::from_slice(&record.cluster_id)
            .ok_or_else(|| corrupt("cluster", "no cluster id"))?;
        match self.config.expected_cluster_id {
            Some(expected) if expected != found => {
                return Err(LoadError::OtherCluster { found, expected });
            }
            _ => {}
        }
        Geometry::new(record.chunk_size.into()).map_err(|e| corrupt("cluster", e.to_string()))?;
        if !goals_make_sense(record.default_copies, record.min_copies) {
            return Err(corrupt("cluster", "copies that make no sense"));
        }
        Ok(())
    }

    fn node(&mut self, parent: InodeId, name: &str, record: pb::EntryRecord) -> Result<(), String> {
        let inode = InodeId(record.inode);
        if inode == ROOT_INODE {
            if parent.0 != 0 || !name.is_empty() || record.directory.is_none() {
                return Err("the root under a name".into());
            }
        } else {
            Name::new(name).map_err(|e| e.to_string())?;
            if inode.0 < FIRST_INODE || inode.0 >= self.counters.inode {
                return Err(format!("inode {inode} was never given out"));
            }
            if parent != ROOT_INODE && parent != ORPHANAGE && parent.0 < FIRST_INODE {
                return Err(format!("inode {parent} is no directory"));
            }
        }
        let is_trash = parent == ORPHANAGE && name == trash_name(inode);
        if is_trash != record.trash.is_some() {
            return Err("it is in the trash by its name or by its record, not by both".into());
        }
        if let Some(trash) = record.trash {
            self.trash.push((inode, trash));
        }
        let copies = |copies: u32| match u8::try_from(copies) {
            Ok(copies) if copies <= 8 => Ok(copies),
            _ => Err(format!("{copies} copies")),
        };
        let durability =
            |value: i32| pb::Durability::try_from(value).map_err(|_| format!("durability {value}"));
        let body = match (record.file, record.directory) {
            (Some(file), None) => {
                let body = File {
                    extents: SmallVec::new(),
                    copies: copies(file.copies)?,
                    durability: durability(file.durability)?,
                };
                let count = file.extent_count as usize;
                if file.extents.len() != count.min(EXTENTS_PER_PAGE) {
                    return Err(format!("{} of {count} extents", file.extents.len()));
                }
                if file.appenders.len() > MAX_APPENDERS
                    || (file.writer != 0 && !file.appenders.is_empty())
                {
                    return Err("more clients than may write it".into());
                }
                let held = file.writer != 0 || !file.appenders.is_empty();
                if count > 0 || file.spare.is_some() || held || file.doomed_count > 0 {
                    let loaded = Loaded {
                        extents: file.extents,
                        count,
                        spare: file.spare.map(Box::new),
                        writer: file.writer,
                        appenders: file.appenders,
                        doomed: (file.doomed_first as usize, file.doomed_count as usize),
                    };
                    self.files.push((inode, loaded));
                }
                Body::File(body)
            }
            (None, Some(directory)) => Body::Directory(Box::new(Directory {
                copies: copies(directory.copies)?,
                durability: durability(directory.durability)?,
                ..Directory::default()
            })),
            _ => return Err("neither a file nor a directory".into()),
        };
        let node = Node {
            parent,
            name: SmallVec::from_slice(name.as_bytes()),
            modified_at: record.modified_at,
            created_at: record.created_at,
            body,
        };
        self.nodes.push((inode, node));
        Ok(())
    }

    /// Makes the brain. Of an empty store it makes a new cluster, and a cluster of another trash
    /// period than configured gets that one: the commit that says so is then in `out`, and no call is answered before it is durable.
    ///
    /// # Errors
    /// If the records contradict each other.
    pub fn finish(mut self, now: Now, out: &mut Vec<Effect>) -> Result<Brain, LoadError> {
        let fresh = self.cluster.is_none();
        let mut cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None if self.is_empty() => self.fresh_cluster(now)?,
            None => return Err(corrupt("cluster", "it is missing")),
        };
        let cluster_id = ClusterId::from_slice(&cluster.cluster_id)
            .ok_or_else(|| corrupt("cluster", "no cluster id"))?;
        let geometry = Geometry::new(cluster.chunk_size.into())
            .map_err(|e| corrupt("cluster", e.to_string()))?;
        if !fresh && !self.nodes.iter().any(|(inode, _)| *inode == ROOT_INODE) {
            return Err(corrupt("root", "it is missing"));
        }

        let mut chunks_config = ChunksConfig::new(cluster_id, geometry.chunk_size());
        chunks_config.min_copies = cluster.min_copies as u8;
        chunks_config.heartbeat_ms = self.config.heartbeat.0 as u32;
        chunks_config.stale_read_limit_ms = self.config.stale_read_limit.0 as u32;
        chunks_config.clones_per_server = self.config.clones_per_server;
        chunks_config.mistakes = self.config.mistakes;
        let mut chunks = Chunks::new(chunks_config);
        for (number, record) in &self.servers {
            chunks.load_server(*number, record);
        }
        for (handle, record) in &self.garbage {
            self.check_handle(*handle)?;
            chunks.load_garbage(*handle, record);
        }

        let nodes = std::mem::take(&mut self.nodes);
        let mut namespace = Namespace::load(cluster.created_at, nodes)
            .map_err(|reason| corrupt("directories", reason))?;
        let mut trash = Trash::default();
        for (inode, record) in std::mem::take(&mut self.trash) {
            let files = namespace.files_in(inode);
            let trashed = Trashed {
                path: record.path.into(),
                deleted_at: record.deleted_at,
                expires_at: record.expires_at,
                files,
                directories: namespace.weight(inode) - files,
            };
            trash.insert(inode, trashed);
        }
        let (mut writers, mut doomed) = (BTreeMap::new(), BTreeMap::new());
        for (inode, loaded) in std::mem::take(&mut self.files) {
            let mut parts = Parts {
                cluster: &cluster,
                namespace: &mut namespace,
                chunks: &mut chunks,
                writers: &mut writers,
                doomed: &mut doomed,
            };
            self.file(inode, loaded, now, &mut parts)?;
        }
        if let Some(((inode, page), _)) = self.pages.first_key_value() {
            return Err(corrupt(Key::Page(*inode, *page), "no file needs it"));
        }

        let mut outcomes = Outcomes::default();
        let limit = self.config.limits.outcomes_per_client;
        for (client, record) in self.clients {
            outcomes.load(client, record, limit, now.mono);
        }
        let period = self.config.trash_period.map(|period| period.0);
        let other_period = period.is_some() && cluster.trash_period_ms != period;
        if other_period {
            cluster.trash_period_ms = period;
        }
        chunks.started(now, self.term.epoch.0, self.term.commit_sequence.0, cluster.rollback_mode);
        chunks.forgive(cluster.known_sequence);
        let mut brain = Brain {
            config: self.config,
            term: self.term,
            cluster_id,
            geometry,
            cluster,
            counters: self.counters,
            namespace,
            trash,
            chunks,
            journal: Journal::default(),
            outcomes,
            writers,
            writers_from: InodeId(0),
            overwriters: Overwriters::default(),
            doomed,
            cutting: BTreeMap::new(),
            waiting: BTreeMap::new(),
            fsck: None,
            logical: Default::default(),
            commit_sequence: self.term.commit_sequence,
            began: now.mono,
            floor: Default::default(),
            work: Work::default(),
        };
        if fresh || other_period {
            let mut work = Work::default();
            work.begin(now, brain.floor);
            work.cluster = true;
            if fresh {
                work.entry(ROOT_INODE);
            }
            brain.flush(&mut work, usize::MAX, out);
            brain.floor = brain.journal.last();
        }
        Ok(brain)
    }

    fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.pages.is_empty()
            && self.servers.is_empty()
            && self.garbage.is_empty()
            && self.clients.is_empty()
    }

    fn fresh_cluster(&self, now: Now) -> Result<pb::ClusterRecord, LoadError> {
        let config = &self.config;
        let id = config.expected_cluster_id.unwrap_or(config.fresh_cluster_id);
        if id.0 == 0 {
            return Err(LoadError::Settings("a new cluster needs an id".into()));
        }
        let (copies, least) = (config.default_copies.into(), config.min_copies.into());
        if !goals_make_sense(copies, least) {
            return Err(LoadError::Settings(format!(
                "{copies} copies of each chunk, {least} at least: 1 to 8 copies are possible, and \
                 no more can be needed than there are"
            )));
        }
        Ok(pb::ClusterRecord {
            format: FORMAT,
            cluster_id: id.to_bytes().to_vec().into(),
            chunk_size: config.geometry.chunk_size(),
            cluster_level: 1,
            created_at: now.wall.0,
            rollback_mode: false,
            known_sequence: 0,
            default_copies: copies,
            min_copies: least,
            trash_period_ms: Some(config.trash_period.unwrap_or(DEFAULT_PERIOD).0),
        })
    }

    fn check_handle(&self, handle: ChunkHandle) -> Result<(), LoadError> {
        if handle.0 == 0 || handle.0 >= self.counters.handle {
            return Err(corrupt(handle, "a chunk handle that was never given out"));
        }
        Ok(())
    }

    /// The records of so many extents of a file from the beginning of a page on.
    fn take_pages(
        &mut self,
        inode: InodeId,
        mut page: u32,
        count: usize,
        records: &mut Vec<pb::ExtentRecord>,
    ) -> Result<(), LoadError> {
        let wrong = |reason: String| corrupt(format!("inode {inode}"), reason);
        while records.len() < count {
            let Some(next) = self.pages.remove(&(inode, page)) else {
                return Err(wrong(format!("page {page} of its extents is missing")));
            };
            if next.extents.len() != (count - records.len()).min(EXTENTS_PER_PAGE) {
                return Err(wrong(format!("page {page} of its extents is not complete")));
            }
            records.extend(next.extents);
            page += 1;
        }
        Ok(())
    }

    /// Makes extents of records, from this index and place on.
    fn extents(
        &self,
        info: ChunkInfo,
        records: &[pb::ExtentRecord],
        chunk_size: u32,
        chunks: &mut Chunks,
    ) -> Result<(Extents, ChunkInfo), LoadError> {
        let wrong = |reason: String| corrupt(format!("inode {}", info.inode), reason);
        let mut info = info;
        let mut extents = Extents::with_capacity(records.len());
        // Holes since the last chunk, and whether the last one was shorter than a chunk.
        let (mut holes, mut ended) = (0, false);
        for record in records {
            let handle = ChunkHandle(record.handle);
            if record.length > chunk_size {
                return Err(wrong(format!("extent {} has {} bytes", info.index, record.length)));
            }
            if record.handle == 0 {
                if record.length == 0 || ended {
                    return Err(wrong(format!("extent {} is no hole", info.index)));
                }
                ended = record.length < chunk_size;
                extents.push(Extent::hole(Hole { length: record.length, after: holes }));
                holes += 1;
            } else {
                self.check_handle(handle)?;
                chunks.load_chunk(info, record);
                extents.push(Extent::chunk(handle));
                (holes, ended) = (0, false);
            }
            info.index =
                info.index.checked_add(1).ok_or_else(|| wrong("too many extents".into()))?;
            info.start += u64::from(record.length);
        }
        Ok((extents, info))
    }

    /// Puts together a file that has extents, a writer or appenders.
    fn file(
        &mut self,
        inode: InodeId,
        loaded: Loaded,
        now: Now,
        parts: &mut Parts<'_>,
    ) -> Result<(), LoadError> {
        let (copies, durability) = parts.namespace.policy(inode);
        let copies = if copies == 0 { parts.cluster.default_copies as u8 } else { copies };
        let chunk_size = parts.cluster.chunk_size;
        let wrong = |reason: String| corrupt(format!("inode {inode}"), reason);
        let mut records = loaded.extents;
        self.take_pages(inode, 1, loaded.count, &mut records)?;
        let first = ChunkInfo { inode, index: 0, start: 0, copies, durability };
        let (extents, next) = self.extents(first, &records, chunk_size, parts.chunks)?;

        let (first, count) = loaded.doomed;
        if count > 0 {
            let mut records = Vec::new();
            if first == 0 || first < loaded.count || !first.is_multiple_of(EXTENTS_PER_PAGE) {
                return Err(wrong(format!("what was cut off it begins at extent {first}")));
            }
            self.take_pages(inode, page_of(first), count, &mut records)?;
            let index = u32::try_from(first).map_err(|_| wrong("too many extents".into()))?;
            let info = ChunkInfo { index, ..next };
            let (extents, _) = self.extents(info, &records, chunk_size, parts.chunks)?;
            parts.doomed.insert(inode, Doomed { first, extents });
        }
        let spare = match &loaded.spare {
            None => None,
            Some(record) => {
                let handle = ChunkHandle(record.handle);
                self.check_handle(handle)?;
                let Some(last) = records.last() else {
                    return Err(wrong("a spare without an extent".into()));
                };
                // Where it will be when the last chunk is full.
                let start = next.start - u64::from(last.length) + u64::from(chunk_size);
                parts.chunks.load_chunk(ChunkInfo { start, ..next }, record);
                Some(handle)
            }
        };
        if let Some(writing) = Writing::load(loaded.writer, &loaded.appenders, now.mono) {
            parts.writers.insert(inode, Writing { spare, ..writing });
        } else if spare.is_some() {
            return Err(wrong("a spare without a writer".into()));
        } else if let Some(last) = extents.last().and_then(|last| last.handle()) {
            parts.chunks.cap(last);
        }
        let Some(file) = parts.namespace.file_mut(inode) else {
            return Err(wrong(ErrorCode::NotFound.to_string()));
        };
        file.extents = extents;
        Ok(())
    }
}

/// The parts of the brain that is being made.
struct Parts<'a> {
    cluster: &'a pb::ClusterRecord,
    namespace: &'a mut Namespace,
    chunks: &'a mut Chunks,
    writers: &'a mut BTreeMap<InodeId, Writing>,
    doomed: &'a mut BTreeMap<InodeId, Doomed>,
}

/// Whether a replication goal and the least copies are possible.
fn goals_make_sense(copies: u32, least: u32) -> bool {
    (1..=8).contains(&copies) && (1..=copies).contains(&least)
}
