//! Random lives of files: writers that come, go and vanish, servers that die and return, masters
//! that die at any moment. What was acknowledged is there afterwards, to the byte.

use std::collections::BTreeMap;

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, Millis};
use proptest::prelude::*;

use super::world::{CHUNK, Server, World};
use super::writing::sound;
use crate::brain::{Request, Response};

#[derive(Clone, Debug)]
enum Deed {
    Create(usize),
    /// Appends so many eighths of a chunk.
    Write(usize, u32),
    /// Asks for the next chunk early.
    Spare(usize),
    Sync(usize),
    Close(usize),
    /// The writer is never heard of again.
    Vanish(usize),
    Open(usize),
    Remove(usize),
    /// To so many eighths of a chunk.
    Truncate(usize, u32),
    /// Overwrites something at so many eighths of a chunk.
    Overwrite(usize, u32),
    Kill(usize),
    Return,
    Pass(u64),
    /// The master dies; with `true` in the middle of an Allocate.
    Crash(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    let file = || 0_usize..3;
    prop_oneof![
        3 => file().prop_map(Deed::Create),
        12 => (file(), 1_u32..20).prop_map(|(file, eighths)| Deed::Write(file, eighths)),
        3 => file().prop_map(Deed::Spare),
        2 => file().prop_map(Deed::Sync),
        3 => file().prop_map(Deed::Close),
        2 => file().prop_map(Deed::Vanish),
        3 => file().prop_map(Deed::Open),
        1 => file().prop_map(Deed::Remove),
        3 => (file(), 0_u32..30).prop_map(|(file, eighths)| Deed::Truncate(file, eighths)),
        3 => (file(), 0_u32..30).prop_map(|(file, eighths)| Deed::Overwrite(file, eighths)),
        2 => (0_usize..5).prop_map(Deed::Kill),
        2 => Just(Deed::Return),
        3 => prop::sample::select(vec![100_u64, 1_000, 5_000, 61_000]).prop_map(Deed::Pass),
        1 => any::<bool>().prop_map(Deed::Crash),
    ]
}

/// A client that writes a file.
#[derive(Clone, Debug)]
struct Writer {
    client: u64,
    chunk: Option<pb::ChunkLocation>,
    /// Extents of the file when it was opened.
    extents: u32,
    /// Acknowledged in this chunk.
    length: u32,
    spare: Option<pb::ChunkLocation>,
    /// Full chunks that the master was not told of.
    finished: Vec<pb::FinishedChunk>,
}

#[derive(Clone, Debug, Default)]
struct File {
    inode: u64,
    /// Acknowledged, in all.
    length: u64,
    writer: Option<Writer>,
    /// A writer that vanished may still hold the right until then.
    held_until: Millis,
}

struct Lives {
    world: World,
    files: BTreeMap<usize, File>,
    clients: u64,
}

impl Lives {
    fn header(&self, client: u64) -> Option<pb::RequestHeader> {
        let sequence = self.world.fresh().unwrap().sequence;
        self.world.header(client, sequence)
    }

    fn new_client(&mut self) -> u64 {
        self.clients += 1;
        self.clients
    }

    /// The writer cannot go on with its chunk: a new version of it. `false`: it waits in vain.
    fn recover(&mut self, at: usize, unreachable: Vec<u32>) -> bool {
        let writer = self.files[&at].writer.clone().unwrap();
        let chunk = writer.chunk.unwrap();
        let Some(chunk) = self.recovered(at, chunk.handle, chunk.version, unreachable) else {
            return false;
        };
        assert!(chunk.length >= writer.length, "acknowledged");
        self.files.get_mut(&at).unwrap().writer.as_mut().unwrap().chunk = Some(chunk);
        true
    }

    /// A full chunk that the master was not told of has another version by now.
    fn recover_finished(&mut self, at: usize) -> bool {
        let writer = self.files[&at].writer.clone().unwrap();
        let first = writer.finished[0];
        let Some(chunk) = self.recovered(at, first.handle, first.version, vec![]) else {
            return false;
        };
        assert_eq!(chunk.length, CHUNK, "acknowledged");
        let writer = self.files.get_mut(&at).unwrap().writer.as_mut().unwrap();
        writer.finished[0].version = chunk.version;
        true
    }

    fn recovered(
        &mut self,
        at: usize,
        handle: u64,
        version: u64,
        unreachable: Vec<u32>,
    ) -> Option<pb::ChunkLocation> {
        let file = &self.files[&at];
        let request = pb::RecoverRequest {
            header: self.header(file.writer.as_ref().unwrap().client),
            inode: file.inode,
            handle,
            version,
            unreachable,
            place: None,
        };
        match self.world.ask(Request::Recover(request)) {
            Ok(Response::Recover(answer)) => answer.chunk,
            Ok(other) => panic!("{other:?}"),
            Err(detail) => {
                assert!(detail.error_code().is_retryable(), "{detail:?}");
                None
            }
        }
    }

    /// The chunk after the writer's present one, which is full.
    fn next_chunk(&mut self, at: usize) -> bool {
        let file = &self.files[&at];
        let writer = file.writer.clone().unwrap();
        let full = writer.chunk.as_ref().map(|chunk| pb::FinishedChunk {
            handle: chunk.handle,
            version: chunk.version,
            length: CHUNK,
        });
        if let (Some(spare), Some(full)) = (&writer.spare, full) {
            let writer = self.files.get_mut(&at).unwrap().writer.as_mut().unwrap();
            writer.finished.push(full);
            (writer.chunk, writer.spare, writer.length) = (Some(spare.clone()), None, 0);
            return true;
        }
        let index = writer.chunk.as_ref().map_or(writer.extents, |chunk| chunk.index + 1);
        match self.allocate(at, index, full) {
            Ok(chunk) => {
                let writer = self.files.get_mut(&at).unwrap().writer.as_mut().unwrap();
                (writer.chunk, writer.length) = (Some(chunk), 0);
                true
            }
            Err(ErrorCode::StaleVersion) => {
                self.recover(at, vec![]);
                false
            }
            Err(code) => {
                assert!(code.is_retryable(), "{code}");
                false
            }
        }
    }

    fn allocate(
        &mut self,
        at: usize,
        index: u32,
        finished: Option<pb::FinishedChunk>,
    ) -> Result<pb::ChunkLocation, ErrorCode> {
        let file = &self.files[&at];
        let writer = file.writer.clone().unwrap();
        let inode = file.inode;
        // What was finished meanwhile comes first.
        while let Some(first) = self.files[&at].writer.as_ref().unwrap().finished.first() {
            let last = Some(*first);
            let request = pb::SyncRequest { header: self.header(writer.client), inode, last };
            match self.world.ask(Request::Sync(request)) {
                Ok(_) => {
                    self.files.get_mut(&at).unwrap().writer.as_mut().unwrap().finished.remove(0);
                }
                Err(detail) => {
                    assert_eq!(detail.error_code(), ErrorCode::StaleVersion);
                    if !self.recover_finished(at) {
                        return Err(ErrorCode::Unavailable);
                    }
                }
            }
        }
        let request = pb::AllocateRequest {
            header: self.header(writer.client),
            inode,
            index,
            finished,
            place: None,
        };
        match self.world.ask(Request::Allocate(request)) {
            Ok(Response::Allocate(answer)) => Ok(answer.chunk.unwrap()),
            Ok(other) => panic!("{other:?}"),
            Err(detail) => Err(detail.error_code()),
        }
    }

    fn write(&mut self, at: usize, mut bytes: u32) {
        let mut attempts = 0;
        while bytes > 0 && attempts < 10 {
            let Some(writer) = self.files[&at].writer.clone() else { return };
            if writer.chunk.is_none() || writer.length == CHUNK {
                if !self.next_chunk(at) {
                    return;
                }
                continue;
            }
            let step = bytes.min(CHUNK - writer.length);
            let chunk = writer.chunk.unwrap();
            match self.world.try_write(&chunk, writer.length + step) {
                Ok(()) => {
                    let file = self.files.get_mut(&at).unwrap();
                    file.writer.as_mut().unwrap().length += step;
                    file.length += u64::from(step);
                    bytes -= step;
                }
                Err(missing) => {
                    attempts += 1;
                    if !self.recover(at, missing) {
                        return;
                    }
                }
            }
        }
    }

    fn close(&mut self, at: usize) {
        for _ in 0..10 {
            let Some(file) = self.files.get(&at) else { return };
            let Some(writer) = file.writer.clone() else { return };
            let inode = file.inode;
            let mut finished = writer.finished.clone();
            finished.extend(writer.chunk.as_ref().map(|chunk| pb::FinishedChunk {
                handle: chunk.handle,
                version: chunk.version,
                length: writer.length,
            }));
            let header = self.header(writer.client);
            let request = pb::CloseRequest { header, inode, finished, abandon: false };
            match self.world.ask(Request::Close(request)) {
                Ok(Response::Close(answer)) => {
                    let file = self.files.get_mut(&at).unwrap();
                    assert_eq!(answer.attributes.unwrap().length, file.length);
                    file.writer = None;
                    return;
                }
                Ok(other) => panic!("{other:?}"),
                Err(detail) if detail.error_code() == ErrorCode::StaleVersion => {
                    let again = writer.finished.is_empty() || self.recover_finished(at);
                    if !again || !self.recover(at, vec![]) {
                        return self.vanish(at);
                    }
                }
                Err(detail) => panic!("{detail:?}"),
            }
        }
    }

    fn vanish(&mut self, at: usize) {
        if let Some(file) = self.files.get_mut(&at)
            && file.writer.take().is_some()
        {
            file.held_until = self.world.now + Millis(62_000);
        }
    }

    fn open(&mut self, at: usize) {
        let client = self.new_client();
        let Some(file) = self.files.get(&at).cloned() else { return };
        if file.writer.is_some() {
            return;
        }
        let header = self.header(client);
        let request =
            pb::OpenRequest { header, inode: file.inode, write: true, ..Default::default() };
        match self.world.ask(Request::Open(request)) {
            Ok(Response::Open(answer)) => {
                let attributes = answer.attributes.unwrap();
                assert_eq!(attributes.length, file.length, "what was acknowledged");
                let length = answer.last.as_ref().map_or(0, |last| last.length);
                let writer = Writer {
                    client,
                    length: if answer.last.is_some() { length } else { CHUNK },
                    chunk: answer.last,
                    extents: attributes.chunks,
                    spare: None,
                    finished: Vec::new(),
                };
                self.files.get_mut(&at).unwrap().writer = Some(writer);
            }
            Ok(other) => panic!("{other:?}"),
            Err(detail) => match detail.error_code() {
                ErrorCode::Busy => assert!(self.world.now < file.held_until, "free by now"),
                code => assert!(code.is_retryable(), "{detail:?}"),
            },
        }
    }

    fn create(&mut self, at: usize) {
        if self.files.contains_key(&at) {
            return;
        }
        let client = self.new_client();
        let header = self.header(client);
        let request = pb::CreateRequest { header, path: format!("/{at}"), ..Default::default() };
        match self.world.ask(Request::Create(request)) {
            Ok(Response::Create(answer)) => {
                let writer = Writer {
                    client,
                    chunk: answer.chunk,
                    extents: 0,
                    length: 0,
                    spare: None,
                    finished: Vec::new(),
                };
                let inode = answer.attributes.unwrap().inode;
                let file = File { inode, writer: Some(writer), ..File::default() };
                self.files.insert(at, file);
            }
            Ok(other) => panic!("{other:?}"),
            Err(detail) => assert_eq!(detail.error_code(), ErrorCode::TooFewServers),
        }
    }

    fn deed(&mut self, deed: &Deed) {
        match *deed {
            Deed::Create(at) => self.create(at),
            Deed::Write(at, eighths) if self.files.contains_key(&at) => {
                self.write(at, eighths * (CHUNK / 8));
            }
            Deed::Spare(at) => {
                let Some(file) = self.files.get(&at) else { return };
                let Some(writer) = &file.writer else { return };
                let Some(chunk) = &writer.chunk else { return };
                if writer.spare.is_some() || writer.length == CHUNK {
                    return;
                }
                let index = chunk.index + 1;
                if let Ok(spare) = self.allocate(at, index, None) {
                    let writer = self.files.get_mut(&at).unwrap().writer.as_mut().unwrap();
                    writer.spare = Some(spare);
                }
            }
            Deed::Sync(at) => {
                let Some(file) = self.files.get(&at) else { return };
                let Some(writer) = file.writer.clone() else { return };
                let Some(chunk) = writer.chunk else { return };
                if !writer.finished.is_empty() {
                    return;
                }
                let last = Some(pb::FinishedChunk {
                    handle: chunk.handle,
                    version: chunk.version,
                    length: writer.length,
                });
                let inode = file.inode;
                let request = pb::SyncRequest { header: self.header(writer.client), inode, last };
                if let Err(detail) = self.world.ask(Request::Sync(request)) {
                    assert_eq!(detail.error_code(), ErrorCode::StaleVersion);
                }
            }
            Deed::Close(at) => self.close(at),
            Deed::Vanish(at) => self.vanish(at),
            Deed::Open(at) => self.open(at),
            Deed::Remove(at) if self.files.remove(&at).is_some() => {
                let header = self.header(1_000_000);
                let request =
                    pb::RemoveRequest { header, path: format!("/{at}"), ..Default::default() };
                self.world.ask(Request::Remove(request)).unwrap();
            }
            Deed::Truncate(at, eighths) if self.files.contains_key(&at) => {
                let inode = self.files[&at].inode;
                let length = u64::from(eighths) * u64::from(CHUNK / 8);
                let header = self.header(1_000_001);
                let path = String::new();
                let request = pb::TruncateRequest { header, path, inode, length };
                match self.world.ask(Request::Truncate(request)) {
                    Ok(Response::Truncate(answer)) => {
                        assert_eq!(answer.attributes.unwrap().length, length);
                        let file = self.files.get_mut(&at).unwrap();
                        file.writer = None;
                        file.length = length;
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(detail) => {
                        assert!(detail.error_code().is_retryable(), "{detail:?}");
                        // A writer that was silent for so long is displaced before that.
                        let writing = self.world.brain.writers.get(&gfs_types::InodeId(inode));
                        if writing.is_none_or(|writing| writing.ending) {
                            self.vanish(at);
                        }
                    }
                }
            }
            Deed::Overwrite(at, eighths) if self.files.contains_key(&at) => {
                let file = &self.files[&at];
                let offset = u64::from(eighths) * u64::from(CHUNK / 8);
                let inside = offset < file.length;
                let is_open = file.writer.is_some() || self.world.now < file.held_until;
                let inode = file.inode;
                let header = self.header(1_000_002);
                let request = pb::LeaseRequest { header, inode, offset, ..Default::default() };
                match self.world.ask(Request::Lease(request)) {
                    Ok(Response::Lease(answer)) => {
                        let chunk = answer.chunk.unwrap();
                        assert_ne!(chunk.primary, 0);
                        assert!(chunk.start <= offset && (inside || !chunk.sealed));
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(detail) => match detail.error_code() {
                        // What only its writer knows of cannot be found.
                        ErrorCode::OutOfRange => assert!(!inside || is_open, "{detail:?}"),
                        code => assert!(code.is_retryable(), "{detail:?}"),
                    },
                }
            }
            Deed::Kill(at) if self.world.servers.iter().all(|s| !s.silent) => {
                self.world.servers[at].silent = true;
            }
            Deed::Return => self.all_return(),
            Deed::Pass(span) => self.world.run(Millis(span)),
            Deed::Crash(amid) => self.crash(amid),
            Deed::Write(..)
            | Deed::Remove(_)
            | Deed::Kill(_)
            | Deed::Truncate(..)
            | Deed::Overwrite(..) => {}
        }
    }

    fn all_return(&mut self) {
        for at in 0..self.world.servers.len() {
            if self.world.servers[at].silent {
                self.world.servers[at].silent = false;
                self.world.servers[at].session = None;
                self.world.register(at);
            }
        }
        self.world.settle();
    }

    fn crash(&mut self, amid: bool) {
        if amid
            && let Some((_, file)) = self.files.first_key_value()
            && let Some(writer) = &file.writer
        {
            let request = pb::AllocateRequest {
                header: self.header(writer.client),
                inode: file.inode,
                index: writer.chunk.as_ref().map_or(0, |chunk| chunk.index + 1),
                ..Default::default()
            };
            self.world.call(Request::Allocate(request));
        }
        self.world.crash();
        for file in self.files.values_mut() {
            // The new master counts from its start.
            file.held_until = file.held_until.max(self.world.now + Millis(62_000));
        }
        self.world.register_all();
        self.world.run(Millis(500));
    }

    /// All is quiet: every file is as long as was acknowledged.
    fn end(&mut self) {
        self.all_return();
        self.world.run(Millis(70_000));
        let files: Vec<usize> = self.files.keys().copied().collect();
        for at in files {
            self.vanish(at);
            self.world.run(Millis(62_000));
            self.open(at);
            assert!(self.files[&at].writer.is_some(), "could be opened");
            self.close(at);
        }
        self.world.run(Millis(5_000));
        sound(&mut self.world);
        let mut held: BTreeMap<u64, Vec<&Server>> = BTreeMap::new();
        for server in &self.world.servers {
            for handle in server.held.keys() {
                held.entry(*handle).or_default().push(server);
            }
        }
        for (handle, servers) in held {
            assert!(
                self.world.brain.chunks.info(gfs_types::ChunkHandle(handle)).is_some(),
                "chunk {handle} of no file is still held by {} servers",
                servers.len()
            );
        }
    }
}

fn live(world: World, deeds: &[Deed]) {
    let mut lives = Lives { world, files: BTreeMap::new(), clients: 10 };
    for deed in deeds {
        lives.deed(deed);
    }
    lives.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn files_are_as_long_as_was_acknowledged(deeds in prop::collection::vec(deed(), 1..60)) {
        live(World::with_servers(5), &deeds);
    }
}

#[cfg(feature = "planted-mistakes")]
#[test]
fn a_handle_used_twice_is_noticed() {
    use super::world::config;
    use crate::brain::BrainConfig;
    use crate::mistakes::{Mistake, Mistakes};
    let caught = std::panic::catch_unwind(|| {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let deeds = prop::collection::vec(deed(), 20..60);
        runner.run(&deeds, |deeds| {
            let mistakes = Mistakes::default().with(Mistake::MasterReusesHandle);
            live(World::with(BrainConfig { mistakes, ..config() }).and_servers(5), &deeds);
            Ok(())
        })
    });
    assert!(!matches!(caught, Ok(Ok(()))), "not noticed");
}
