//! What travels over the virtual network: the messages of the protocol, heads and payload. A unary
//! call is a stream with one message each way.

use bytes::Bytes;
use gfs_core::brain::{Request, Response};
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use std::fmt;

/// One message.
#[derive(Clone, Debug)]
pub enum Wire {
    /// A client calls the master.
    Call(Box<Request>),
    /// A server registers.
    Register(Box<pb::RegisterRequest>),
    /// A page of a server's report.
    Report(Box<pb::ReportRequest>),
    /// The answer to these three.
    Reply(Result<Box<Response>, Box<pb::ErrorDetail>>),
    /// Up the stream of heartbeats.
    Beat(pb::Heartbeat),
    /// Down the stream of heartbeats.
    BeatReply(pb::HeartbeatReply),
    /// Up the stream of commands.
    FromServer(Box<pb::server_message::Body>),
    /// Down the stream of commands.
    Command(Box<pb::Command>),
    /// Up a push stream.
    Push(Box<pb::push_request::Body>, Option<Bytes>),
    /// Down a push stream.
    Pushed(Box<pb::push_reply::Body>),
    /// Opens a stream of reads.
    Read(pb::ReadRequest),
    /// Down a stream of reads.
    Piece(pb::ReadReply, Bytes),
    /// Opens a copy.
    Copy(pb::CopyRequest),
    /// Down a copy.
    Copied(Box<pb::copy_reply::Body>, Bytes),
    /// Asks for the confirmed length.
    Confirmed(pb::ConfirmedRequest),
    /// The answer to it.
    IsConfirmed(Result<pb::ConfirmedResponse, Box<pb::ErrorDetail>>),
    /// Asks what became of a writer's mutations.
    Outcomes(pb::OutcomesRequest),
    /// The answer to it.
    AreOutcomes(Result<pb::OutcomesResponse, Box<pb::ErrorDetail>>),
    /// The end of a stream of reads or of a copy, as a gRPC status.
    Status(Result<(), Box<pb::ErrorDetail>>),
}

impl Wire {
    /// Bytes of payload, which take time.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            Self::Push(_, Some(payload)) | Self::Piece(_, payload) | Self::Copied(_, payload) => {
                payload.len() as u64
            }
            _ => 0,
        }
    }
}

/// The name of a code, as it stands in the log.
#[must_use]
pub fn code(error: &pb::ErrorDetail) -> &'static str {
    ErrorCode::from_number(error.code).name()
}

struct Outcome<'a>(Result<&'static str, &'a pb::ErrorDetail>);

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(text) => f.write_str(text),
            Err(e) => write!(f, "{}({}) {}", code(e), e.server, e.message),
        }
    }
}

fn location(f: &mut fmt::Formatter<'_>, l: Option<&pb::ChunkLocation>) -> fmt::Result {
    let Some(l) = l else { return f.write_str(" -") };
    write!(f, " {}v{}@{}+{} primary {} on", l.handle, l.version, l.start, l.length, l.primary)?;
    l.servers.iter().try_for_each(|s| write!(f, " {}", s.server))?;
    f.write_str(if l.sealed { " sealed" } else { "" })
}

fn request(f: &mut fmt::Formatter<'_>, request: &Request) -> fmt::Result {
    match request {
        Request::Connect(_) => f.write_str("connect"),
        Request::Stat(r) => write!(f, "stat {}{}", r.path, r.inode),
        Request::List(r) => write!(f, "list {}", r.path),
        Request::Mkdir(r) => write!(f, "mkdir {}", r.path),
        Request::Create(r) => write!(f, "create {}", r.path),
        Request::Open(r) => {
            write!(f, "open {} write {} append {}", r.path, r.write, r.append)
        }
        Request::Locate(r) => write!(f, "locate {} from {}", r.inode, r.offset),
        Request::Allocate(r) => write!(f, "allocate {}[{}] {:?}", r.inode, r.index, r.finished),
        Request::Recover(r) => {
            write!(f, "recover {}v{} without {:?}", r.handle, r.version, r.unreachable)
        }
        Request::Lease(r) => write!(f, "lease {} at {}", r.inode, r.offset),
        Request::Truncate(r) => write!(f, "truncate {} to {}", r.inode, r.length),
        Request::Sync(r) => write!(f, "sync {} {:?}", r.inode, r.last),
        Request::Close(r) => write!(f, "close {} {:?} abandon {}", r.inode, r.finished, r.abandon),
        Request::Rename(r) => write!(f, "rename {} {}", r.from, r.to),
        Request::Remove(r) => write!(f, "remove {}", r.path),
        Request::ListTrash(r) => write!(f, "trash after {}", r.after),
        Request::RestoreTrash(r) => write!(f, "restore {} to {}", r.inode, r.path),
        Request::EmptyTrash(r) => write!(f, "give up {:?}", r.inodes),
        Request::ReportDamage(r) => write!(f, "damage {}v{} on {}", r.handle, r.version, r.server),
        Request::Status(_) => f.write_str("status"),
        Request::ListServers(_) => f.write_str("servers"),
        Request::Fsck(_) => f.write_str("fsck"),
        Request::SetPodStates(_) => f.write_str("pods"),
        Request::EndRollback(r) => write!(f, "end rollback {}", r.confirmed),
        Request::SetAttributes(r) => write!(f, "set attributes of {} {}", r.path, r.inode),
        Request::Rebalance(r) => write!(f, "rebalance {}", if r.stop { "stop" } else { "now" }),
        Request::SetDrain(r) => write!(f, "drain {} {}", r.server, r.drain),
        Request::SetMaintenance(r) => write!(f, "maintenance {} {}", r.server, r.maintenance),
    }
}

fn response(f: &mut fmt::Formatter<'_>, response: &Response) -> fmt::Result {
    match response {
        Response::Create(r) => {
            write!(f, "created {}", r.attributes.as_ref().map_or(0, |a| a.inode))?;
            location(f, r.chunk.as_ref())
        }
        Response::Open(r) => {
            write!(f, "opened {:?}", r.attributes.as_ref().map(|a| (a.inode, a.length)))?;
            r.chunks.iter().chain(&r.last).try_for_each(|l| location(f, Some(l)))
        }
        Response::Locate(r) => {
            write!(f, "located {:?}", r.attributes.as_ref().map(|a| (a.inode, a.length)))?;
            r.chunks.iter().try_for_each(|l| location(f, Some(l)))
        }
        Response::Allocate(r) => {
            f.write_str("allocated")?;
            location(f, r.chunk.as_ref())
        }
        Response::Recover(r) => {
            f.write_str("recovered")?;
            location(f, r.chunk.as_ref())
        }
        Response::Register(r) => write!(f, "registered {} session {:x}", r.server, r.session),
        Response::Lease(r) => {
            f.write_str("leased")?;
            location(f, r.chunk.as_ref())
        }
        Response::Truncate(r) => {
            write!(f, "truncated to {:?}", r.attributes.as_ref().map(|a| a.length))
        }
        Response::Sync(r) => write!(f, "synced {:?}", r.attributes.as_ref().map(|a| a.length)),
        Response::Close(r) => write!(f, "closed {:?}", r.attributes.as_ref().map(|a| a.length)),
        Response::Stat(r) => {
            write!(f, "stat {:?}", r.attributes.as_ref().map(|a| (a.inode, a.length)))
        }
        Response::Rename(_) => f.write_str("renamed"),
        Response::Remove(_) => f.write_str("removed"),
        Response::Mkdir(_) => f.write_str("made"),
        Response::Report(_) => f.write_str("reported"),
        _ => f.write_str("answered"),
    }
}

fn command(f: &mut fmt::Formatter<'_>, c: &pb::Command) -> fmt::Result {
    use pb::command::Body;
    write!(f, "#{} {}:", c.id, c.handle)?;
    match &c.body {
        Some(Body::Grant(g)) => {
            write!(f, "grant v{} length {} lease {} to", g.version, g.length, g.lease)?;
            g.members.iter().try_for_each(|m| write!(f, " {}", m.server))?;
            f.write_str(if g.sealed { " sealed" } else { "" })
        }
        Some(Body::Prepare(p)) => write!(f, "prepare v{} next {}", p.version, p.next),
        Some(Body::Equalize(e)) => {
            let source = e.source.as_ref().map_or(0, |s| s.server);
            write!(
                f,
                "equalize next {} from {source} length {} serial {}",
                e.next, e.length, e.serial
            )
        }
        Some(Body::Clone(c)) => {
            write!(f, "clone v{} from", c.version)?;
            c.sources.iter().try_for_each(|m| write!(f, " {}", m.server))
        }
        Some(Body::CancelClone(c)) => write!(f, "cancel clone v{}", c.version),
        Some(Body::Delete(d)) => write!(f, "delete v{}", d.version),
        Some(Body::Verify(v)) => write!(f, "verify v{} {:?}", v.version, v.blocks),
        Some(Body::Revoke(r)) => write!(f, "revoke v{}", r.version),
        None => f.write_str("nothing"),
    }
}

fn state(f: &mut fmt::Formatter<'_>, s: Option<&pb::ReplicaState>) -> fmt::Result {
    let Some(s) = s else { return f.write_str(" no replica") };
    write!(
        f,
        " {}: promised {} complete {} serial {} length {} confirmed {} digest {:x}",
        s.handle, s.promised, s.complete, s.serial, s.length, s.confirmed, s.digest
    )?;
    for (flag, text) in [
        (s.lease, " lease"),
        (s.sealed, " sealed"),
        (s.cloning, " cloning"),
        (s.suspect, " suspect"),
        (!s.damaged.is_empty(), " damaged"),
    ] {
        if flag {
            f.write_str(text)?;
        }
    }
    Ok(())
}

fn from_server(f: &mut fmt::Formatter<'_>, body: &pb::server_message::Body) -> fmt::Result {
    use pb::notice::Body as Notice;
    use pb::server_message::Body;
    match body {
        Body::Hello(hello) => write!(f, "hello of {:x}", hello.session),
        Body::Result(r) => {
            write!(
                f,
                "result #{} {} copied {}",
                r.id,
                Outcome(r.error.as_ref().map_or(Ok("done"), Err)),
                r.copied
            )?;
            state(f, r.state.as_ref())
        }
        Body::Notice(n) => match &n.body {
            Some(Notice::Damaged(d)) => {
                f.write_str("notice damaged")?;
                state(f, Some(d))
            }
            Some(Notice::PrimaryEnded(e)) => {
                write!(f, "notice {}v{}: ended, {} unreachable", n.handle, e.version, e.unreachable)
            }
            Some(Notice::WriterVanished(w)) => {
                write!(f, "notice {}: writer {}", n.handle, w.writer)
            }
            None => f.write_str("notice"),
        },
    }
}

fn push(f: &mut fmt::Formatter<'_>, body: &pb::push_request::Body) -> fmt::Result {
    use pb::push_request::Body;
    match body {
        Body::Open(o) => {
            write!(f, "push {}v{} of {:x} at {} then", o.handle, o.version, o.writer, o.position)?;
            o.chain.iter().try_for_each(|s| write!(f, " {}", s.server))
        }
        Body::Slice(s) => {
            write!(f, "slice {} at {}+{} commit {}", s.sequence, s.offset, s.length, s.commit)?;
            s.sums.iter().try_for_each(|sum| write!(f, " {sum:x}"))
        }
        Body::Commit(c) => write!(f, "commit {}", c.through),
        Body::Apply(a) => {
            write!(
                f,
                "apply {} slice {} at {} confirmed {} through {}",
                a.serial, a.sequence, a.offset, a.confirmed, a.acknowledged
            )
        }
        Body::Finish(p) => write!(f, "finish {}", p.confirmed),
        Body::Flush(p) => write!(f, "flush {}", p.token),
    }
}

fn pushed(f: &mut fmt::Formatter<'_>, body: &pb::push_reply::Body) -> fmt::Result {
    use pb::push_reply::Body;
    match body {
        Body::Opened(o) => write!(f, "opened length {} sequence {}", o.length, o.sequence),
        Body::Held(h) => write!(f, "held {}", h.through),
        Body::Applied(a) => write!(f, "applied {}", a.through),
        Body::Acknowledged(a) => write!(f, "acknowledged {} length {}", a.through, a.length),
        Body::Resend(r) => write!(f, "resend {} for {}", r.sequence, r.server),
        Body::Finished(p) => write!(f, "finished v{} {} serial {}", p.version, p.length, p.serial),
        Body::Flushed(p) => write!(f, "flushed {}", p.token),
        Body::Failed(p) => {
            write!(f, "failed {}", Outcome(p.error.as_ref().map_or(Ok("for no reason"), Err)))
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(r) => request(f, r),
            Self::Register(r) => write!(f, "register {} epoch {}", r.server, r.epoch),
            Self::Report(r) => {
                write!(f, "report {} page {}", r.report, r.page)?;
                r.replicas.iter().try_for_each(|r| state(f, Some(r)))
            }
            Self::Reply(Ok(r)) => response(f, r),
            Self::Reply(Err(e)) => write!(f, "{}", Outcome(Err(e))),
            Self::Beat(b) => write!(f, "beat {} of {:x}", b.sequence, b.session),
            Self::BeatReply(b) => {
                write!(f, "beat {} epoch {} stale {}", b.sequence, b.epoch, b.stale_session)?;
                b.left_out
                    .iter()
                    .try_for_each(|l| write!(f, " left out {}v{}", l.handle, l.version))
            }
            Self::FromServer(m) => from_server(f, m),
            Self::Command(c) => command(f, c),
            Self::Push(body, _) => push(f, body),
            Self::Pushed(body) => pushed(f, body),
            Self::Read(r) => write!(f, "read {}v{} {}+{}", r.handle, r.version, r.offset, r.length),
            Self::Piece(r, _) => {
                write!(f, "piece {}+{} of {}", r.offset, r.length, r.chunk_length)?;
                r.sums.iter().try_for_each(|sum| write!(f, " {sum:x}"))
            }
            Self::Copy(c) => write!(f, "copy {}v{} {} ranges", c.handle, c.version, c.blocks.len()),
            Self::Copied(body, _) => match &**body {
                pb::copy_reply::Body::Header(h) => {
                    write!(
                        f,
                        "header complete {} length {} serial {}",
                        h.complete, h.length, h.serial
                    )
                }
                pb::copy_reply::Body::Blocks(b) => {
                    write!(f, "blocks {} on, {} bytes", b.first, b.length)?;
                    b.sums.iter().try_for_each(|sum| write!(f, " {sum:x}"))
                }
                pb::copy_reply::Body::Damaged(d) => write!(f, "damaged {}+{}", d.first, d.count),
            },
            Self::Confirmed(c) => write!(f, "confirmed of {}v{}?", c.handle, c.version),
            Self::IsConfirmed(Ok(c)) => write!(f, "confirmed {} primary {}", c.length, c.primary),
            Self::IsConfirmed(Err(e)) => write!(f, "{}", Outcome(Err(e))),
            Self::Outcomes(o) => {
                write!(f, "outcomes of {:x} in {}v{}?", o.writer, o.handle, o.version)
            }
            Self::AreOutcomes(Ok(o)) => {
                write!(f, "outcomes {} at {:?} sealed {}", o.sequence, o.offsets, o.sealed)
            }
            Self::AreOutcomes(Err(e)) => write!(f, "{}", Outcome(Err(e))),
            Self::Status(s) => {
                write!(f, "status {}", Outcome(s.as_ref().map(|()| "ok").map_err(|e| &**e)))
            }
        }
    }
}
