//! locate, status, fsck.

use std::fmt::Write as _;

use gfs_client::Client;
use gfs_client::proto::server_status::VolumeState;
use gfs_client::proto::{ChunkHealth, Incident, ScrubState, ServerState, ServerStatus};
use serde::Serialize;

use super::balance::{self, Balance};
use crate::exit;
use crate::flags::{EndRollback, Format, Fsck, OnePath};
use crate::output::{bytes, columns, print, time};

#[derive(Serialize)]
struct Chunk {
    index: u32,
    handle: String,
    version: u64,
    start: u64,
    length: u32,
    sealed: bool,
    /// Number of the server that orders mutations; 0: none.
    primary: u32,
    servers: Vec<Holder>,
}

#[derive(Serialize)]
struct Holder {
    server: u32,
    address: String,
    node: String,
    zone: String,
    pod: String,
}

pub(crate) async fn locate(client: &Client, verb: &OnePath, format: Format) -> anyhow::Result<()> {
    let chunks: Vec<Chunk> = client
        .locate(&verb.path)
        .await?
        .into_iter()
        .map(|chunk| Chunk {
            index: chunk.index,
            handle: format!("{:016x}", chunk.handle),
            version: chunk.version,
            start: chunk.start,
            length: chunk.length,
            sealed: chunk.sealed,
            primary: chunk.primary,
            servers: chunk
                .servers
                .into_iter()
                .map(|server| {
                    let place = server.place.unwrap_or_default();
                    Holder {
                        server: server.server,
                        address: server.addresses.into_iter().next().unwrap_or_default(),
                        node: place.node,
                        zone: place.zone,
                        pod: place.pod,
                    }
                })
                .collect(),
        })
        .collect();
    print(format, &chunks, |chunks| {
        let mut rows = vec![row(["chunk", "handle", "version", "length", "servers"])];
        for chunk in chunks {
            let servers: Vec<String> = chunk
                .servers
                .iter()
                .map(|holder| format!("s{} ({})", holder.server, holder.address))
                .collect();
            rows.push(vec![
                chunk.index.to_string(),
                chunk.handle.clone(),
                chunk.version.to_string(),
                chunk.length.to_string(),
                servers.join(", "),
            ]);
        }
        columns(&rows, &[0, 2, 3])
    })
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[derive(Serialize)]
struct Status {
    cluster: String,
    leader: String,
    phase: String,
    epoch: u64,
    rollback_mode: bool,
    files: u64,
    directories: u64,
    /// Bytes of all files, counted once.
    logical_bytes: u64,
    /// What is in the trash, and in none of the three above.
    trash: TrashStatus,
    total_bytes: u64,
    free_bytes: u64,
    chunk_size: u32,
    master_memory_bytes: u64,
    chunks: Health,
    balance: Balance,
    servers: Vec<Server>,
    incidents: Vec<Healing>,
}

#[derive(Serialize)]
struct TrashStatus {
    entries: u64,
    files: u64,
    directories: u64,
    /// Bytes of its files, counted once.
    logical_bytes: u64,
    /// How long things stay there; 0: nothing goes there.
    period_ms: u64,
}

#[derive(Serialize)]
struct Health {
    total: u64,
    full: u64,
    under_replicated: u64,
    endangered: u64,
    unavailable: u64,
    cloning: u64,
}

impl From<ChunkHealth> for Health {
    fn from(health: ChunkHealth) -> Self {
        Self {
            total: health.total,
            full: health.full,
            under_replicated: health.under_replicated,
            endangered: health.endangered,
            unavailable: health.unavailable,
            cloning: health.cloning,
        }
    }
}

#[derive(Serialize)]
struct Server {
    server: u32,
    uuid: String,
    address: String,
    node: String,
    zone: String,
    state: &'static str,
    reason: String,
    silent_ms: u32,
    chunks: u64,
    total_bytes: u64,
    free_bytes: u64,
    /// Of the chunks that list it as a member.
    stored_bytes: u64,
    scrub: Vec<Scrub>,
    draining: bool,
    /// Draining: chunks still to be moved.
    chunks_left: u64,
    may_be_removed: bool,
    volumes: Vec<Volume>,
}

/// A data directory of a server.
#[derive(Serialize)]
struct Volume {
    dir: String,
    uuid: String,
    /// Why it is out of service; empty: it is in service.
    failing: String,
    chunks: u32,
    total_bytes: u64,
    free_bytes: u64,
    /// Age of its oldest disk operation.
    oldest_io_ms: u32,
}

impl From<&VolumeState> for Volume {
    fn from(volume: &VolumeState) -> Self {
        Self {
            dir: volume.dir.clone(),
            uuid: uuid(&volume.uuid),
            failing: volume.failing.clone(),
            chunks: volume.chunks,
            total_bytes: volume.total_bytes,
            free_bytes: volume.free_bytes,
            oldest_io_ms: volume.oldest_io_ms,
        }
    }
}

/// Background verification of one volume.
#[derive(Serialize)]
struct Scrub {
    /// Bytes a second at most; 0: off.
    rate: u64,
    /// Of the present pass.
    percent: u32,
    passes: u64,
    /// End of the last complete pass, milliseconds since 1970; absent: none yet.
    completed_at: Option<u64>,
    damaged_blocks: u64,
    lost_replicas: u64,
}

impl From<ScrubState> for Scrub {
    fn from(state: ScrubState) -> Self {
        Self {
            rate: state.rate,
            percent: state.percent,
            passes: state.passes,
            completed_at: (state.completed_ms != 0).then_some(state.completed_ms),
            damaged_blocks: state.damaged_blocks,
            lost_replicas: state.lost_replicas,
        }
    }
}

/// A server's scrub in a word or two: the volume that is least far.
fn scrub_text(scrubs: &[Scrub]) -> String {
    let Some(scrub) = scrubs.iter().min_by_key(|scrub| (scrub.completed_at, scrub.percent)) else {
        return String::new();
    };
    let now = if scrub.rate == 0 { "off".to_owned() } else { format!("{} %", scrub.percent) };
    let last = scrub.completed_at.map_or(String::new(), |at| format!(", last {}", time(at)));
    let count = |of: fn(&Scrub) -> u64| scrubs.iter().map(of).sum::<u64>();
    let found = match (count(|s| s.damaged_blocks), count(|s| s.lost_replicas)) {
        (0, 0) => String::new(),
        (blocks, 0) => format!(", found {blocks} bad blocks"),
        (blocks, lost) => format!(", found {blocks} bad blocks, {lost} lost copies"),
    };
    format!("{now}{last}{found}")
}

/// An incident. Spans in milliseconds; absent: not yet.
#[derive(Serialize)]
struct Healing {
    id: u64,
    begun_at: u64,
    cause: String,
    detected_ms: u32,
    first_clone_ms: Option<u32>,
    two_copies_ms: Option<u32>,
    full_ms: Option<u32>,
    chunks: u64,
    bytes: u64,
    servers: Vec<u32>,
    closed: bool,
}

fn server(status: ServerStatus) -> Server {
    let state = match status.state() {
        ServerState::Alive => "alive",
        ServerState::Suspect => "suspect",
        ServerState::Dead => "dead",
        ServerState::Draining => "draining",
        ServerState::Maintenance => "maintenance",
        ServerState::Unspecified => "unknown",
    };
    let location = status.location.unwrap_or_default();
    let place = location.place.unwrap_or_default();
    Server {
        server: location.server,
        uuid: uuid(&location.uuid),
        address: location.addresses.into_iter().next().unwrap_or_default(),
        node: place.node,
        zone: place.zone,
        state,
        reason: status.reason,
        silent_ms: status.silent_ms,
        chunks: status.chunks,
        total_bytes: status.total_bytes,
        free_bytes: status.free_bytes,
        volumes: status.volumes.iter().map(Volume::from).collect(),
        stored_bytes: status.stored_bytes,
        scrub: status.volumes.into_iter().filter_map(|v| v.scrub).map(Scrub::from).collect(),
        draining: status.draining,
        chunks_left: status.chunks_left,
        may_be_removed: status.may_be_removed,
    }
}

fn uuid(bytes: &[u8]) -> String {
    gfs_types::ServerUuid::from_slice(bytes).map_or_else(String::new, |uuid| uuid.to_string())
}

fn healing(incident: Incident) -> Healing {
    Healing {
        id: incident.id,
        begun_at: incident.begun_at,
        cause: incident.cause,
        detected_ms: incident.detected_ms,
        first_clone_ms: incident.first_clone_ms,
        two_copies_ms: incident.two_copies_ms,
        full_ms: incident.full_ms,
        chunks: incident.chunks,
        bytes: incident.bytes,
        servers: incident.servers,
        closed: incident.closed,
    }
}

pub(crate) async fn status(client: &Client, format: Format) -> anyhow::Result<()> {
    let answer = client.status().await?;
    let status = Status {
        cluster: gfs_types::ClusterId::from_slice(&answer.cluster_id)
            .map_or_else(String::new, |id| id.to_string()),
        leader: answer.leader,
        phase: answer.phase,
        epoch: answer.epoch,
        rollback_mode: answer.rollback_mode,
        files: answer.files,
        directories: answer.directories,
        logical_bytes: answer.logical_bytes,
        trash: TrashStatus {
            entries: answer.trash_entries,
            files: answer.trash_files,
            directories: answer.trash_directories,
            logical_bytes: answer.trash_bytes,
            period_ms: answer.trash_period_ms,
        },
        total_bytes: answer.total_bytes,
        free_bytes: answer.free_bytes,
        chunk_size: answer.chunk_size,
        master_memory_bytes: answer.memory_bytes,
        chunks: answer.chunks.unwrap_or_default().into(),
        balance: answer.balance.unwrap_or_default().into(),
        servers: answer.servers.into_iter().map(server).collect(),
        incidents: answer.incidents.into_iter().map(healing).collect(),
    };
    print(format, &status, status_text)
}

/// What ending rollback mode means, or meant. Field names are stable.
#[derive(Serialize)]
struct Ended {
    /// The cluster is in rollback mode now.
    rollback_mode: bool,
    unknown_chunks: u64,
    unknown_replicas: u64,
    silent_servers: u32,
    /// This call ended it.
    ended: bool,
}

pub(crate) async fn end_rollback(
    client: &Client,
    verb: &EndRollback,
    format: Format,
) -> anyhow::Result<()> {
    let before = client.end_rollback(false).await?;
    let answer = match verb.yes && before.rollback_mode {
        true => client.end_rollback(true).await?,
        false => before,
    };
    let ended = Ended {
        rollback_mode: answer.rollback_mode,
        unknown_chunks: answer.unknown_chunks,
        unknown_replicas: answer.unknown_replicas,
        silent_servers: answer.silent_servers,
        ended: before.rollback_mode && !answer.rollback_mode,
    };
    print(format, &ended, end_rollback_text)
}

fn end_rollback_text(ended: &Ended) -> String {
    let Ended { unknown_chunks, unknown_replicas, silent_servers, .. } = ended;
    let unknown = format!("{unknown_chunks} chunks that no file has ({unknown_replicas} replicas)");
    let silent = match silent_servers {
        0 => String::new(),
        n => format!("{n} servers have not reported; what they hold is not counted.\n"),
    };
    if ended.ended {
        format!("Rollback mode is ended: {unknown} are being deleted.\n{silent}")
    } else if ended.rollback_mode {
        format!(
            "The cluster is in rollback mode: its metadata is older than what servers saw. Nothing \
             is deleted.\nEnding it deletes {unknown}, for good: among them are those of files made \
             after the metadata that is there now.\n{silent}Nothing was done. To do it: kubectl gfs \
             end-rollback --yes\n"
        )
    } else {
        "The cluster is not in rollback mode.\n".to_owned()
    }
}

fn status_text(status: &Status) -> String {
    let mut text = String::new();
    let health = &status.chunks;
    let verdict = if status.rollback_mode {
        "ROLLBACK MODE: nothing is deleted until an administrator ends it"
    } else if health.unavailable > 0 {
        "DATA UNAVAILABLE"
    } else if health.endangered > 0 {
        "endangered: some chunks have one copy"
    } else if health.under_replicated > 0 {
        "healing"
    } else {
        "healthy"
    };
    let _ = writeln!(text, "cluster {}: {verdict}", status.cluster);
    let _ = writeln!(text, "master {} ({}), epoch {}", status.leader, status.phase, status.epoch);
    let _ = writeln!(
        text,
        "{} files, {} directories, {}; {} of {} free",
        status.files,
        status.directories,
        bytes(status.logical_bytes),
        bytes(status.free_bytes),
        bytes(status.total_bytes)
    );
    if status.trash.entries > 0 {
        let _ = writeln!(
            text,
            "trash: {} entries with {} files, {} directories, {}",
            status.trash.entries,
            status.trash.files,
            status.trash.directories,
            bytes(status.trash.logical_bytes)
        );
    }
    let _ = writeln!(
        text,
        "{} chunks: {} full, {} under-replicated, {} endangered, {} unavailable; {} being copied",
        health.total,
        health.full,
        health.under_replicated,
        health.endangered,
        health.unavailable,
        health.cloning
    );
    let _ = writeln!(text, "{}", balance::shown(&status.balance));
    let mut rows = vec![row([
        "server",
        "state",
        "silent",
        "chunks",
        "stored",
        "free",
        "scrub (UTC)",
        "address",
        "node",
        "zone",
        "",
    ])];
    for server in &status.servers {
        rows.push(vec![
            format!("s{}", server.server),
            server.state.to_owned(),
            format!("{} ms", server.silent_ms),
            server.chunks.to_string(),
            bytes(server.stored_bytes),
            bytes(server.free_bytes),
            scrub_text(&server.scrub),
            server.address.clone(),
            server.node.clone(),
            server.zone.clone(),
            server.reason.clone(),
        ]);
    }
    text += &columns(&rows, &[2, 3, 4, 5]);
    text += &volumes_text(&status.servers);
    if !status.incidents.is_empty() {
        text.push('\n');
        let mut rows = vec![row([
            "incident (UTC)",
            "detected",
            "first clone",
            "two copies",
            "full",
            "chunks",
            "cause",
        ])];
        let span = |ms: Option<u32>| ms.map_or("not yet".to_owned(), |ms| format!("{ms} ms"));
        for incident in &status.incidents {
            rows.push(vec![
                time(incident.begun_at),
                span(Some(incident.detected_ms)),
                span(incident.first_clone_ms),
                span(incident.two_copies_ms),
                span(incident.full_ms),
                incident.chunks.to_string(),
                incident.cause.clone(),
            ]);
        }
        text += &columns(&rows, &[1, 2, 3, 4, 5]);
        text += "Times of an incident count from the last sign of life (detected) and from the \
                 verdict (the others).\n";
    }
    text
}

/// The volumes of servers that have several, and those that are out of service.
fn volumes_text(servers: &[Server]) -> String {
    let mut rows = vec![row(["volume of", "chunks", "free", "oldest I/O", "directory", ""])];
    for server in servers {
        let several = server.volumes.len() > 1;
        for volume in server.volumes.iter().filter(|v| several || !v.failing.is_empty()) {
            let service = match volume.failing.as_str() {
                "" => String::new(),
                why => format!("OUT OF SERVICE: {why}"),
            };
            rows.push(vec![
                format!("s{}", server.server),
                volume.chunks.to_string(),
                bytes(volume.free_bytes),
                format!("{} ms", volume.oldest_io_ms),
                volume.dir.clone(),
                service,
            ]);
        }
    }
    if rows.len() == 1 { String::new() } else { format!("\n{}", columns(&rows, &[1, 2, 3])) }
}

#[derive(Serialize)]
struct Check {
    files: u64,
    directories: u64,
    /// In the trash; not in `files`. Checked only with everything.
    trash_files: u64,
    chunks: Health,
    problem_count: u64,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    /// Stable name.
    kind: String,
    path: String,
    inode: u64,
    handle: String,
    text: String,
    severe: bool,
}

pub(crate) async fn fsck(client: &Client, verb: &Fsck, format: Format) -> anyhow::Result<u8> {
    let answer = client.fsck(&verb.path, verb.limit).await?;
    let check = Check {
        files: answer.files,
        directories: answer.directories,
        trash_files: answer.trash_files,
        chunks: answer.chunks.unwrap_or_default().into(),
        problem_count: answer.problem_count,
        problems: answer
            .problems
            .into_iter()
            .map(|problem| Problem {
                kind: problem.kind,
                path: problem.path,
                inode: problem.inode,
                handle: format!("{:016x}", problem.handle),
                text: problem.text,
                severe: problem.severe,
            })
            .collect(),
    };
    print(format, &check, |check| {
        let mut text = String::new();
        for problem in &check.problems {
            let mark = if problem.severe { "SEVERE " } else { "" };
            let name = if problem.path.is_empty() { &problem.handle } else { &problem.path };
            let _ = writeln!(text, "{mark}{} {name}: {}", problem.kind, problem.text);
        }
        let verdict = match check.problem_count {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        let trash = match check.trash_files {
            0 => String::new(),
            count => format!(", {count} files in the trash"),
        };
        let _ = writeln!(
            text,
            "checked {} files, {} directories{trash}, {} chunks: {verdict}",
            check.files, check.directories, check.chunks.total
        );
        text
    })?;
    Ok(if check.problem_count == 0 { 0 } else { exit::PROBLEMS })
}
