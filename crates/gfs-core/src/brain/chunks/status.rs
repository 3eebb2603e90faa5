//! What people see: servers, health, problems.

use super::detector::State;
use super::servers::Server;
use super::strays::StrayKind;
use super::table::Health;
use super::{Chunks, Now, Problem};
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, InodeId, ServerNumber};

impl Chunks {
    /// Chunks by health, exact after a tick. A copy on a server that is suspected or in
    /// maintenance counts until the detector's verdict.
    #[must_use]
    pub fn health(&self) -> pb::ChunkHealth {
        let [under_replicated, endangered, unavailable] = self.lacking;
        let total = self.table.len();
        pb::ChunkHealth {
            total,
            full: total.saturating_sub(under_replicated + endangered + unavailable),
            under_replicated,
            endangered,
            unavailable,
            cloning: self.clones.len() as u64,
        }
    }

    /// Every server.
    #[must_use]
    pub fn server_statuses(&self, now: Now) -> Vec<pb::ServerStatus> {
        let shown = |server| {
            let mut status = status(server, now);
            self.drain_status(server, &mut status);
            status.stored_bytes = self.stored(server.number);
            status
        };
        self.servers.registered().map(shown).collect()
    }

    /// What is persisted of a server.
    #[must_use]
    pub fn server_record(&self, server: ServerNumber) -> Option<pb::ServerRecord> {
        self.servers.get(server).map(Server::record)
    }

    /// Incidents, the newest first, at most 64.
    #[must_use]
    pub fn incidents(&self) -> Vec<pb::Incident> {
        self.incidents.shown()
    }

    /// Total and free bytes of the servers that are not dead.
    #[must_use]
    pub fn capacity(&self) -> (u64, u64) {
        self.servers
            .registered()
            .filter(|s| s.session.is_some())
            .map(Server::room)
            .fold((0, 0), |(total, free), (t, f)| (total.saturating_add(t), free.saturating_add(f)))
    }

    /// What is wrong with chunks (at most `limit` of them), and how much in all.
    #[must_use]
    pub fn problems(&self, limit: usize) -> (Vec<Problem>, u64) {
        let mut problems = Vec::new();
        let mut count = 0u64;
        let mut add = |handle, inode, kind, text: &dyn Fn() -> String, severe| {
            count += 1;
            if problems.len() < limit {
                problems.push(Problem { handle, inode, kind, text: text(), severe });
            }
        };
        for (handle, slot) in self.table.iter() {
            let inode = InodeId(slot.inode);
            let lacking = || {
                format!("{} of {} copies, on {}", slot.good(), slot.copies, names(slot.holders()))
            };
            match slot.health() {
                Health::Full => {}
                Health::Under | Health::Endangered => {
                    add(handle, inode, "UNDER_REPLICATED", &lacking, false);
                }
                Health::Unavailable => {
                    let text =
                        || format!("no copy is there; should be on {}", names(slot.members()));
                    add(handle, inode, "UNAVAILABLE", &text, true);
                }
            }
            if self.is_misplaced(slot) {
                let text = || {
                    format!("copies share a node though others exist: {}", names(slot.holders()))
                };
                add(handle, inode, "MISPLACED", &text, false);
            }
        }
        for ((handle, server), stray) in &self.strays {
            let Some(slot) = self.table.get(*handle) else { continue };
            let inode = InodeId(slot.inode);
            match stray.kind {
                StrayKind::Damaged => {
                    let text = || format!("the copy on {server} has damaged blocks");
                    add(*handle, inode, "DAMAGED", &text, slot.good() == 0);
                }
                StrayKind::Suspect => {
                    let text =
                        || format!("the copy on {server} is not verified after a power loss");
                    add(*handle, inode, "STALE", &text, false);
                }
                StrayKind::Stale if !stray.deleting && slot.good() < slot.copies => {
                    let text = || {
                        format!(
                            "the copy on {server} is at version {}, not {}",
                            stray.complete, slot.version
                        )
                    };
                    add(*handle, inode, "STALE", &text, false);
                }
                StrayKind::Stale | StrayKind::Filled => {}
            }
        }
        if self.rollback {
            for (handle, servers) in self.unknown_chunks() {
                let text = || format!("on {} and in no file", names(servers.iter().copied()));
                add(handle, InodeId(0), "ORPHAN", &text, false);
            }
        }
        (problems, count)
    }

    /// Two copies share a node while some live server runs on a node without one.
    fn is_misplaced(&self, slot: &super::table::Slot) -> bool {
        let nodes: Vec<&str> = slot
            .holders()
            .filter_map(|s| self.servers.get(s))
            .map(|s| s.place.node.as_str())
            .filter(|node| !node.is_empty())
            .collect();
        let shared =
            nodes.iter().enumerate().any(|(i, node)| nodes.iter().skip(i + 1).any(|n| n == node));
        shared
            && self.servers.registered().any(|s| {
                s.is_usable() && !s.place.node.is_empty() && !nodes.contains(&s.place.node.as_str())
            })
    }
}

fn names(servers: impl Iterator<Item = ServerNumber>) -> String {
    let names: Vec<String> = servers.map(|s| s.to_string()).collect();
    if names.is_empty() { "no server".into() } else { names.join(", ") }
}

fn status(server: &Server, now: Now) -> pb::ServerStatus {
    let state = match server.watch.state() {
        State::Alive if server.draining => pb::ServerState::Draining,
        State::Alive => pb::ServerState::Alive,
        State::Suspect | State::NotHeard => pb::ServerState::Suspect,
        State::Dead => pb::ServerState::Dead,
        State::Maintenance => pb::ServerState::Maintenance,
    };
    let (total_bytes, free_bytes) = server.volumes.iter().fold((0u64, 0u64), |(t, f), v| {
        (t.saturating_add(v.total_bytes), f.saturating_add(v.free_bytes))
    });
    pb::ServerStatus {
        location: Some(server.location()),
        state: state as i32,
        silent_ms: u32::try_from(now.mono.since(server.watch.last_sign.mono).0).unwrap_or(u32::MAX),
        total_bytes,
        free_bytes,
        chunks: server.held,
        reason: server.watch.reason.into(),
        since_ms: now.mono.since(server.watch.since).0,
        volumes: server
            .volumes
            .iter()
            .map(|v| pb::server_status::VolumeState {
                total_bytes: v.total_bytes,
                free_bytes: v.free_bytes,
                failing: v.failing.clone(),
                uuid: v.uuid.clone(),
                dir: v.dir.clone(),
                chunks: v.chunks,
                oldest_io_ms: v.oldest_io_ms,
                scrub: v.scrub,
            })
            .collect(),
        software: server.software.clone(),
        ..Default::default()
    }
}

impl Chunks {
    /// Chunks that servers hold and nobody knows, kept because of a rollback.
    fn unknown_chunks(&self) -> impl Iterator<Item = (ChunkHandle, Vec<ServerNumber>)> {
        self.garbage.iter().filter_map(|(handle, garbage)| Some((*handle, garbage.unknown_on()?)))
    }
}
