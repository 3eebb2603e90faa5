//! Where chunks go: on servers that can take them, on different nodes and in different zones as
//! far as there are any, and among those on the least loaded (GFS paper §4.2).
//!
//! Ties are broken by a hash of the handle: the same state gives the same choice.

use super::servers::Server;
use super::{Chunks, Now};
use crate::volume::FULL_FOR_CLONES;
pub(super) use crate::volume::Purpose as For;
use gfs_proto::v1 as pb;
use gfs_types::{ChunkHandle, ServerNumber};
use smallvec::SmallVec;

/// A server that is this much busier than the best one is not worth its nearness.
const NEARNESS: u64 = 64;

/// Why none was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Those that could take it have enough to do now.
    Busy,
    /// No other server could take it.
    Servers,
    /// The others are full.
    Space,
}

impl Chunks {
    /// A server for one more copy beside `others`. `near`: where the writer is.
    pub(super) fn place(
        &self,
        now: Now,
        handle: ChunkHandle,
        others: &[ServerNumber],
        near: Option<&pb::Place>,
        purpose: For,
        usable: impl Fn(&Server) -> bool,
    ) -> Result<ServerNumber, Lack> {
        let mut lack = Lack::Servers;
        let taken: SmallVec<[&pb::Place; 8]> =
            others.iter().filter_map(|s| self.servers.get(*s)).map(|s| &s.place).collect();
        let same = |a: &str, b: &str| !a.is_empty() && a == b;
        let mut best = None;
        for server in self.servers.registered() {
            if others.contains(&server.number) || !usable(server) {
                continue;
            }
            match self.room_for(server, purpose) {
                Ok(()) => {}
                Err(why) => {
                    lack = match (lack, why) {
                        (Lack::Busy, _) | (_, Lack::Busy) => Lack::Busy,
                        (Lack::Space, _) | (_, Lack::Space) => Lack::Space,
                        _ => Lack::Servers,
                    };
                    continue;
                }
            }
            let on_node = taken.iter().filter(|p| same(&p.node, &server.place.node)).count();
            let in_zone = taken.iter().filter(|p| same(&p.zone, &server.place.zone)).count();
            let far = near.map_or(0, |near| {
                if same(&near.node, &server.place.node) {
                    0
                } else if same(&near.zone, &server.place.zone) {
                    NEARNESS / 2
                } else {
                    NEARNESS
                }
            });
            let troubled = server.trouble_until > now.mono;
            let rank = (troubled, on_node, in_zone, load(server) + far, mix(handle, server.number));
            if best.is_none_or(|(r, _)| rank < r) {
                best = Some((rank, server.number));
            }
        }
        best.map(|(_, server)| server).ok_or(lack)
    }

    /// Whether a server can take one more chunk.
    fn room_for(&self, server: &Server, purpose: For) -> Result<(), Lack> {
        if !server.is_usable() || server.draining || server.is_leaving() || server.is_stuck() {
            return Err(Lack::Servers);
        }
        if !server.has_room(purpose, self.config.chunk_size) {
            return Err(Lack::Space);
        }
        if purpose == For::Clone && server.incoming >= self.clone_limit() {
            return Err(Lack::Busy);
        }
        Ok(())
    }

    /// Whether a server can take one more clone, now or when it has done what it has to do.
    pub(super) fn has_room_for_clone(&self, server: &Server) -> bool {
        matches!(self.room_for(server, For::Clone), Ok(()) | Err(Lack::Busy))
    }

    /// Notes that a server got a chunk: it is less attractive for a while.
    pub(super) fn placed(&mut self, server: ServerNumber) {
        if let Some(server) = self.servers.get_mut(server) {
            server.recent = server.recent.saturating_add(256);
        }
    }
}

/// Bytes that clones may fill on a server.
pub(super) fn clone_room(server: &Server) -> u64 {
    let (total, free) = server.room();
    let kept = (u128::from(total) * u128::from(100 - FULL_FOR_CLONES) / 100) as u64;
    free.saturating_sub(kept)
}

/// How much a server has to do and holds: about one per recent chunk, two per stream or copy, and
/// one per half per cent that it is full.
pub(super) fn load(server: &Server) -> u64 {
    let (total, free) = server.room();
    let full = if total == 0 { 0 } else { (total - free) as u128 * 200 / u128::from(total) } as u64;
    let copies = u64::from(server.incoming) + u64::from(server.outgoing);
    u64::from(server.recent) / 256 + 2 * u64::from(server.streams.min(1_000)) + 2 * copies + full
}

/// A number that differs from chunk to chunk and server to server (the finaliser of splitmix64).
pub(super) fn mix(handle: ChunkHandle, server: ServerNumber) -> u64 {
    let mut x = handle.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(server.0) << 40);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
