//! Who overwrites which chunk.
//!
//! Any client may overwrite what is there: Lease gives the chunk a primary, which orders what all of
//! them do. Nobody holds a right for it, so that only the primary knows when the last one is gone:
//! it says of each that it has neither a stream nor made a mutation for 60 s. Then a version change
//! ends the lease: all replicas know their bytes acknowledged, and readers need not ask a primary.
//!
//! Where a primary ended, a version change settles what it left.
//!
//! What is noted here is only a help: it keeps a reader or one client that is gone from ending the
//! lease of the others. A new leader knows nothing of it and ends such leases as it hears of them;
//! who still overwrites asks for a new one.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::{ChunkHandle, ClientId, ErrorCode, GfsError};

use super::step::Brain;
use super::work::Work;

/// Clients noted for one chunk: as many as a replica remembers.
const CLIENTS: usize = 64;
/// Chunks looked at per tick.
const EXAMINED: usize = 1_000;

/// Clients that overwrite, by chunk.
#[derive(Debug, Default)]
pub(crate) struct Overwriters {
    chunks: BTreeMap<ChunkHandle, BTreeSet<ClientId>>,
    /// The next chunk to look at.
    from: ChunkHandle,
}

impl Brain {
    /// A client was told that it may overwrite a chunk.
    pub(super) fn note_overwriter(&mut self, handle: ChunkHandle, client: ClientId) {
        let clients = self.overwriters.chunks.entry(handle).or_default();
        if clients.len() < CLIENTS {
            clients.insert(client);
        }
    }

    /// Whether a client is known to overwrite a chunk.
    pub(super) fn overwrites(&self, handle: ChunkHandle, client: ClientId) -> bool {
        self.overwriters.chunks.get(&handle).is_some_and(|clients| clients.contains(&client))
    }

    /// Why a chunk's lease is not to be taken away now.
    pub(super) fn is_overwritten(&self, handle: ChunkHandle) -> Result<(), GfsError> {
        match self.overwriters.chunks.get(&handle) {
            Some(clients) if !clients.is_empty() => Err(GfsError::new(
                ErrorCode::Busy,
                format!("{} clients overwrite chunk {handle}", clients.len()),
            )),
            _ => Ok(()),
        }
    }

    /// A primary says that a client that overwrote a chunk is gone.
    pub(super) fn overwriter_vanished(
        &mut self,
        work: &mut Work,
        handle: ChunkHandle,
        client: ClientId,
    ) {
        if let Some(clients) = self.overwriters.chunks.get_mut(&handle) {
            clients.remove(&client);
            if !clients.is_empty() {
                return;
            }
            self.overwriters.chunks.remove(&handle);
        }
        // Where the chunk may grow the lease is another's.
        if self.chunks.is_capped(handle) {
            self.chunks.fix(work.now, handle, &mut work.chunks);
        }
    }

    /// Looks at some more chunks: forgets those that nobody has a lease of, and ends leases of
    /// clients that were not heard of for so long that nobody will speak of them again.
    pub(super) fn find_left(&mut self, work: &mut Work) {
        let Overwriters { chunks, from } = &self.overwriters;
        let some: Vec<ChunkHandle> =
            chunks.range(*from..).map(|(h, _)| *h).take(EXAMINED).collect();
        self.overwriters.from = match some.last() {
            Some(last) if some.len() == EXAMINED => ChunkHandle(last.0.saturating_add(1)),
            _ => ChunkHandle(0),
        };
        let (now, limits) = (work.now.mono, &self.config.limits);
        for handle in some {
            let leased = self.chunks.is_leased(handle);
            let limit = match self.chunks.has_primary(handle) {
                true => limits.client_idle,
                false => limits.writer_idle,
            };
            let heard = |client: &ClientId| {
                self.outcomes.last_seen(*client).is_some_and(|seen| now.since(seen) < limit)
            };
            let clients = self.overwriters.chunks.get(&handle);
            if leased && clients.is_some_and(|clients| clients.iter().any(heard)) {
                continue;
            }
            // Where a primary ended, what it left unacknowledged may be on some replicas only: those
            // who still overwrite ask for another one, and if nobody does, it is settled all the same.
            self.overwriters.chunks.remove(&handle);
            if self.chunks.is_capped(handle) {
                self.chunks.fix(work.now, handle, &mut work.chunks);
            }
        }
    }
}
