//! Tests of the replica: message by message, and three of them wired together by an adversarial
//! scheduler.

mod chaos;
mod cluster;
mod cluster_checks;
mod cluster_disk;
mod cluster_master;
mod cluster_writers;
mod commands;
mod confirmed;
mod flush;
mod idle;
mod messages;
mod mutations;
mod overwrites;
mod writers;

use super::*;
use gfs_types::BLOCK_SIZE;
use pb::command::Body;

/// What a slice of a test carries.
pub(super) type Payload = Vec<u8>;

pub(super) const CHUNK: u32 = 1 << 20;

pub(super) fn settings(server: u32) -> Settings {
    // Streams stay as long as a test does not want to see them end.
    let idle_limit = Millis(u64::MAX);
    Settings { server, chunk_size: CHUNK, idle_limit, mistakes: Mistakes::default() }
}

pub(super) fn member(server: u32) -> pb::ServerLocation {
    pb::ServerLocation {
        server,
        addresses: vec![format!("server-{server}:1")],
        ..Default::default()
    }
}

pub(super) fn members(servers: &[u32]) -> Vec<pb::ServerLocation> {
    servers.iter().map(|server| member(*server)).collect()
}

pub(super) fn grant(version: u64, servers: &[u32], length: u32) -> pb::Grant {
    pb::Grant {
        version,
        members: members(servers),
        lease: true,
        inode: 7,
        length,
        min_copies: 1,
        ..Default::default()
    }
}

pub(super) fn open(version: u64, writer: u64, position: u32, chain: &[u32]) -> PushBody {
    PushBody::Open(pb::PushOpen {
        version,
        writer,
        chain: members(chain),
        position,
        ..Default::default()
    })
}

pub(super) fn slice(sequence: u64, offset: u32, bytes: &[u8]) -> (PushBody, Payload) {
    let slice = pb::Slice {
        sequence,
        offset,
        length: bytes.len() as u32,
        sums: vec![0],
        commit: true,
        ..Default::default()
    };
    (PushBody::Slice(slice), bytes.to_vec())
}

/// A record to be appended.
pub(super) fn record(sequence: u64, length: u32) -> (PushBody, Payload) {
    let sums = vec![0; length.div_ceil(BLOCK_SIZE) as usize];
    let slice =
        pb::Slice { sequence, length, sums, commit: true, append: true, ..Default::default() };
    (PushBody::Slice(slice), Vec::new())
}

/// One replica under test, driven by hand.
pub(super) struct One {
    pub(super) replica: Replica<Payload>,
    pub(super) now: Millis,
    /// Bytes reserved for each stream.
    pub(super) credit: u32,
    ids: u64,
}

impl One {
    pub(super) fn absent(server: u32) -> Self {
        Self {
            replica: Replica::absent(settings(server), 5),
            now: Millis(1_000),
            credit: 100,
            ids: 0,
        }
    }

    /// A replica that was granted version 1 with these members.
    pub(super) fn granted(server: u32, servers: &[u32]) -> Self {
        let mut one = Self::absent(server);
        let out = one.command(Body::Grant(grant(1, servers, 0)));
        assert!(matches!(out.as_slice(), [Output::Disk(DiskOp::Create { version: 1, .. })]));
        let out = one.disk(Ok(()));
        assert!(matches!(out.as_slice(), [Output::CommandDone { result: Ok(()), .. }]), "{out:?}");
        one
    }

    pub(super) fn step(&mut self, event: Event<Payload>) -> Vec<Output<Payload>> {
        let mut out = Vec::new();
        self.replica.step(self.now, event, &mut out);
        out
    }

    pub(super) fn command(&mut self, body: Body) -> Vec<Output<Payload>> {
        self.ids += 1;
        self.step(Event::Command { id: CommandId(self.ids), body })
    }

    pub(super) fn disk(&mut self, result: Result<(), pb::ErrorDetail>) -> Vec<Output<Payload>> {
        self.step(Event::DiskDone { result })
    }

    pub(super) fn push(&mut self, stream: u64, body: PushBody) -> Vec<Output<Payload>> {
        let (stream, credit) = (StreamId(stream), self.credit);
        self.step(Event::Push { stream, body, payload: None, credit })
    }

    pub(super) fn slice(
        &mut self,
        stream: u64,
        slice: (PushBody, Payload),
    ) -> Vec<Output<Payload>> {
        let (stream, payload) = (StreamId(stream), Some(slice.1));
        self.step(Event::Push { stream, body: slice.0, payload, credit: 0 })
    }

    pub(super) fn down(&mut self, stream: u64, body: ReplyBody) -> Vec<Output<Payload>> {
        self.step(Event::Down { stream: StreamId(stream), body })
    }

    pub(super) fn opened_below(&mut self, stream: u64) -> Vec<Output<Payload>> {
        let opened = pb::PushOpened { credit: self.credit * 4 / 5, ..Default::default() };
        self.down(stream, ReplyBody::Opened(opened))
    }

    /// Lets time pass in ticks.
    pub(super) fn wait(&mut self, span: u64) -> Vec<Output<Payload>> {
        let (mut out, end) = (Vec::new(), self.now + Millis(span));
        while self.now < end {
            self.now = self.now + Millis(100);
            out.extend(self.step(Event::Tick));
        }
        out
    }
}

/// The replies among outputs.
pub(super) fn replies(out: &[Output<Payload>]) -> Vec<&ReplyBody> {
    out.iter()
        .filter_map(|output| match output {
            Output::Reply { body, .. } => Some(body),
            _ => None,
        })
        .collect()
}

/// The code of the one failure among replies.
pub(super) fn failed(out: &[Output<Payload>]) -> Option<(ErrorCode, u32, u64)> {
    replies(out).into_iter().find_map(|body| match body {
        ReplyBody::Failed(failed) => {
            let error = failed.error.clone().unwrap_or_default();
            Some((error.error_code(), error.server, error.actual))
        }
        _ => None,
    })
}

pub(super) fn acknowledged(out: &[Output<Payload>]) -> Option<(u64, u32)> {
    replies(out).into_iter().find_map(|body| match body {
        ReplyBody::Acknowledged(ack) => Some((ack.through, ack.length)),
        _ => None,
    })
}

/// Where the writer's mutations went that are acknowledged.
pub(super) fn places(out: &[Output<Payload>]) -> Option<(u64, Vec<u32>)> {
    replies(out).into_iter().find_map(|body| match body {
        ReplyBody::Acknowledged(ack) => Some((ack.through, ack.offsets.clone())),
        _ => None,
    })
}

/// The serial of the write among outputs.
pub(super) fn written(out: &[Output<Payload>]) -> Option<u64> {
    out.iter().find_map(|output| match output {
        Output::Disk(DiskOp::Write { serial, .. }) => Some(*serial),
        _ => None,
    })
}

pub(super) fn sent_down(out: &[Output<Payload>]) -> Vec<&PushBody> {
    out.iter()
        .filter_map(|output| match output {
            Output::SendDown { body, .. } => Some(body),
            _ => None,
        })
        .collect()
}

pub(super) fn done(out: &[Output<Payload>]) -> Option<Result<(), ErrorCode>> {
    out.iter().find_map(|output| match output {
        Output::CommandDone { result, .. } => {
            Some(result.clone().map_err(|error| error.error_code()))
        }
        _ => None,
    })
}

pub(super) fn disk_error() -> pb::ErrorDetail {
    failure(ErrorCode::DiskError, "planned")
}
