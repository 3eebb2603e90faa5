//! Where the chunks of one open file are: as the master said, for as long as that may be used.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gfs_proto::v1 as pb;
use gfs_types::Millis;

use crate::client::Client;

/// How long an answer may be used when it does not say so itself.
const VALID: Millis = Millis(10_000);
/// Locations asked for at once.
const AHEAD: u32 = 16;
/// Locations kept of one file.
const MOST: usize = 4096;

/// What is known of the part of a file from some position on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The chunk that holds the position; `None`: the file ends there.
    pub(crate) chunk: Option<pb::ChunkLocation>,
    /// Whether the chunk may hold more than its location says.
    pub(crate) grows: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// By start, each with the time until which it may be used.
    chunks: BTreeMap<u64, (Millis, pb::ChunkLocation)>,
    length: u64,
    grows: bool,
    /// Until when length and `grows` may be used.
    valid: Millis,
}

/// The locations of one file.
#[derive(Debug)]
pub(crate) struct Locations {
    client: Client,
    pub(crate) inode: u64,
    known: Mutex<Known>,
}

impl Locations {
    /// What the answer to Open said.
    pub(crate) fn new(
        client: Client,
        attributes: &pb::Attributes,
        chunks: Vec<pb::ChunkLocation>,
    ) -> Self {
        let locations = Self { client, inode: attributes.inode, known: Mutex::default() };
        locations.learn(attributes, chunks, VALID);
        locations
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        self.client.inner.options.clock.now()
    }

    fn learn(&self, attributes: &pb::Attributes, chunks: Vec<pb::ChunkLocation>, valid: Millis) {
        let until = self.now() + valid;
        let mut known = self.known();
        known.length = attributes.length;
        known.grows = attributes.open_for_write;
        known.valid = until;
        if known.chunks.len() + chunks.len() > MOST {
            known.chunks.clear();
        }
        known.chunks.extend(chunks.into_iter().map(|chunk| (chunk.start, (until, chunk))));
    }

    /// The chunk at this position of the file, asked of the master unless it is known.
    pub(crate) async fn at(&self, position: u64) -> Result<Place, pb::ErrorDetail> {
        if let Some(place) = self.remembered(position) {
            return Ok(place);
        }
        let answer = self.client.locations(self.inode, position, AHEAD).await?;
        let attributes = answer.attributes.unwrap_or_default();
        let valid = match answer.valid_ms {
            0 => VALID,
            millis => Millis(u64::from(millis)).min(VALID),
        };
        let chunk = answer.chunks.iter().find(|chunk| holds(chunk, position, &attributes)).cloned();
        self.learn(&attributes, answer.chunks, valid);
        Ok(Place { chunk, grows: attributes.open_for_write })
    }

    fn remembered(&self, position: u64) -> Option<Place> {
        let now = self.now();
        let known = self.known();
        if now >= known.valid {
            return None;
        }
        if position >= known.length && !known.grows {
            return Some(Place { chunk: None, grows: false });
        }
        let (_, (until, chunk)) = known.chunks.range(..=position).next_back()?;
        let attributes = pb::Attributes {
            length: known.length,
            open_for_write: known.grows,
            ..pb::Attributes::default()
        };
        // Somebody may have written to a hole since, and no server would say so.
        (now < *until && !chunk.hole && holds(chunk, position, &attributes))
            .then(|| Place { chunk: Some(chunk.clone()), grows: known.grows })
    }

    /// What is known of the end of the file may be out of date: it is asked for again.
    pub(crate) fn forget_end(&self) {
        self.known().valid = Millis(0);
    }

    /// The chunk as it is now: what was known did not work.
    pub(crate) async fn again(
        &self,
        chunk: &pb::ChunkLocation,
        recover: bool,
    ) -> Result<Box<pb::ChunkLocation>, pb::ErrorDetail> {
        self.known().chunks.remove(&chunk.start);
        if recover {
            return self.client.inner.recover(self.inode, chunk, self.client.deadline).await;
        }
        let answer = self.client.locations(self.inode, chunk.start, 1).await?;
        let found = answer.chunks.into_iter().find(|found| found.handle == chunk.handle);
        let found = found.ok_or_else(|| {
            pb::ErrorDetail::new(
                gfs_types::ErrorCode::NotFound,
                format!("chunk {:016x} is no longer in the file", chunk.handle),
            )
        })?;
        self.learn(&answer.attributes.unwrap_or_default(), vec![found.clone()], VALID);
        Ok(Box::new(found))
    }
}

/// Whether `position` is, or may come to be, in this chunk.
fn holds(chunk: &pb::ChunkLocation, position: u64, attributes: &pb::Attributes) -> bool {
    let end = chunk.start + u64::from(chunk.length);
    let last = end >= attributes.length;
    chunk.start <= position
        && (position < end || (last && attributes.open_for_write && !chunk.sealed))
}
