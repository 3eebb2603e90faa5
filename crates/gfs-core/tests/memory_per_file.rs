//! What a file costs the master in memory: a brain with 100 000 files of one chunk each, measured
//! by counting what is allocated.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gfs_core::brain::{
    Brain, BrainConfig, Effect, Event, Loader, Now, Request, Response, SessionId, Term, Token,
};
use gfs_proto::v1 as pb;
use gfs_types::{ClusterId, CommitSequence, Millis, PROTOCOL_VERSION, WallMillis};

/// Bytes allocated now, with what the usual allocator adds: 8 bytes each, rounded up to 16.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn cost(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: everything is left to the system's allocator; counting has no part in it.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLUSTER: ClusterId = ClusterId(0xC1);
const FILES: u64 = 100_000;
const BYTES_PER_FILE: usize = 200;

/// What a server answers that grants a chunk.
fn done(command: &pb::Command) -> pb::CommandResult {
    let state = match &command.body {
        Some(pb::command::Body::Grant(grant)) => Some(pb::ReplicaState {
            handle: command.handle,
            promised: grant.version,
            complete: grant.version,
            inode: grant.inode,
            lease: grant.lease,
            ..Default::default()
        }),
        _ => None,
    };
    pb::CommandResult {
        id: command.id,
        epoch: command.epoch,
        handle: command.handle,
        state,
        ..Default::default()
    }
}

struct Driver {
    brain: Brain,
    now: Millis,
    token: u64,
    sequence: u64,
    out: Vec<Effect>,
}

impl Driver {
    fn now(&self) -> Now {
        Now { mono: self.now, wall: WallMillis(self.now.0) }
    }

    /// Lets the event happen and its commits be durable at once, and has the servers do as they
    /// are told; returns what was answered.
    fn step(&mut self, event: Event) -> Option<Response> {
        let now = self.now();
        self.brain.step(now, event, &mut self.out);
        let mut answer = None;
        while !self.out.is_empty() {
            for effect in std::mem::take(&mut self.out) {
                match effect {
                    Effect::Commit { ordinal: through, .. } => {
                        self.sequence += 1;
                        let sequence = CommitSequence(self.sequence);
                        let event = Event::Committed { through, sequence };
                        self.brain.step(now, event, &mut self.out);
                    }
                    Effect::Reply { result, .. } => answer = Some(*result.unwrap()),
                    Effect::Send { session, command } => {
                        let result = done(&command);
                        self.brain.step(now, Event::Result { session, result }, &mut self.out);
                    }
                    _ => {}
                }
            }
        }
        answer
    }

    fn call(&mut self, request: Request) -> Response {
        self.token += 1;
        let token = Token(self.token);
        self.step(Event::Call { token, request }).unwrap()
    }

    fn header(&self, sequence: u64) -> Option<pb::RequestHeader> {
        Some(pb::RequestHeader {
            cluster_id: CLUSTER.to_bytes().to_vec().into(),
            client_id: 7,
            sequence,
            answered_through: sequence.saturating_sub(1),
            epoch: 1,
        })
    }

    fn register(&mut self, uuid: u8) {
        self.token += 1;
        let volume = pb::VolumeState {
            uuid: vec![uuid; 16].into(),
            total_bytes: 1 << 50,
            free_bytes: 1 << 49,
            ..Default::default()
        };
        let request = pb::RegisterRequest {
            cluster_id: CLUSTER.to_bytes().to_vec().into(),
            protocol_version: PROTOCOL_VERSION,
            server_uuid: vec![uuid; 16].into(),
            addresses: vec![format!("s{uuid}:1")],
            place: Some(pb::Place { node: format!("n{uuid}"), ..Default::default() }),
            volumes: vec![volume.clone()],
            boot_id: vec![9; 16].into(),
            cluster_level: 1,
            ..Default::default()
        };
        let token = Token(self.token);
        let Some(Response::Register(answer)) = self.step(Event::Register { token, request }) else {
            panic!("not registered")
        };
        let session = SessionId(answer.session);
        self.step(Event::CommandsOpen { session });
        let beat = pb::Heartbeat {
            session: session.0,
            sequence: 1,
            volumes: vec![volume],
            ..Default::default()
        };
        self.step(Event::Heartbeat { session, beat });
        let page =
            pb::ReportRequest { session: session.0, report: 1, last: true, ..Default::default() };
        self.step(Event::Report { token, page });
    }
}

#[test]
fn a_file_takes_at_most_200_bytes_of_memory() {
    let config = BrainConfig { fresh_cluster_id: CLUSTER, ..BrainConfig::default() };
    let mut out = Vec::new();
    let term = Term { epoch: gfs_types::Epoch(1), commit_sequence: CommitSequence(0) };
    let brain = Loader::new(config, term, &[]).unwrap().finish(Now::default(), &mut out).unwrap();
    let mut driver = Driver { brain, now: Millis(1_000), token: 0, sequence: 0, out };
    driver.step(Event::Tick);
    for uuid in 1..=4 {
        driver.register(uuid);
    }
    for directory in 0..100 {
        let request = pb::MkdirRequest {
            header: driver.header(1 + directory),
            path: format!("/{directory}"),
            ..Default::default()
        };
        driver.call(Request::Mkdir(request));
    }

    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut sequence = 1_000;
    for file in 0..FILES {
        // Not in the order of names.
        let number = file.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
        let path = format!("/{}/{:016x}", file % 100, number);
        sequence += 1;
        let header = driver.header(sequence);
        let request = pb::CreateRequest { header, path, ..Default::default() };
        let Response::Create(made) = driver.call(Request::Create(request)) else { panic!() };
        let chunk = made.chunk.unwrap();
        sequence += 1;
        let finished = vec![pb::FinishedChunk { handle: chunk.handle, version: 1, length: 1_000 }];
        let inode = made.attributes.unwrap().inode;
        let header = driver.header(sequence);
        driver.call(Request::Close(pb::CloseRequest { header, inode, finished, abandon: false }));
    }
    let each = (ALLOCATED.load(Ordering::Relaxed) - before) / FILES as usize;
    let tree = driver.brain.namespace_memory() / FILES;
    println!("{each} bytes a file, {tree} of them in the tree");
    assert!(each <= BYTES_PER_FILE, "{each} bytes a file");
}
