//! Reading a file: chunk after chunk, each by one stream for all that is wanted of it, the next
//! one begun before the last has ended.

mod chunk;
mod locations;

use std::sync::Arc;

use bytes::Bytes;
use gfs_core::reader::Range;
use gfs_types::{ErrorCode, GfsError, MAX_SLICE};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use chunk::Delivery;
pub(crate) use locations::Locations;

/// Messages (at most 1 MiB each) that wait for the application, and for the order of chunks.
const AHEAD: usize = 3;
/// Bytes left of a chunk when the next one is begun.
const EARLY: u64 = 8 << 20;

/// A file being read from some position on. Dropped, it stops.
pub(crate) struct Reading {
    messages: mpsc::Receiver<Delivery>,
    /// Ends with this.
    _task: JoinSet<()>,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}

impl Reading {
    /// Begins to read `position..end`, or to the end of the file if that comes first.
    pub(crate) fn start(
        client: &Client,
        locations: &Arc<Locations>,
        position: u64,
        end: u64,
    ) -> Self {
        let (out, messages) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        let walk = Walk { client: client.clone(), locations: Arc::clone(locations), end };
        task.spawn(walk.run(position, out));
        Self { messages, _task: task }
    }

    /// The next bytes, in the pieces in which they came; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.messages.recv().await
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Delivery>> {
        self.messages.poll_recv(cx)
    }
}

struct Walk {
    client: Client,
    locations: Arc<Locations>,
    end: u64,
}

/// A chunk whose stream runs.
struct Running {
    messages: mpsc::Receiver<Delivery>,
    /// Where in the file the range ends, if the chunk is as long as it may be.
    end: u64,
    /// Everything up to `end` exists: the next chunk begins there.
    certain: bool,
}

impl Walk {
    async fn run(self, position: u64, out: mpsc::Sender<Delivery>) {
        if let Err(error) = self.walk(position, &out).await {
            // Nobody may be listening any more.
            let _ = out.send(Err(error)).await;
        }
    }

    async fn walk(&self, mut position: u64, out: &mpsc::Sender<Delivery>) -> Result<(), GfsError> {
        let mut tasks = JoinSet::new();
        let mut running = self.begin(position, &mut tasks).await?;
        let mut next: Option<Running> = None;
        while let Some(current) = &mut running {
            while let Some(delivery) = current.messages.recv().await {
                let pieces = delivery?;
                position += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                if out.send(Ok(pieces)).await.is_err() {
                    return Ok(());
                }
                if next.is_none() && current.certain && position + EARLY >= current.end {
                    next = self.begin(current.end, &mut tasks).await?;
                }
            }
            if position < current.end && current.certain {
                // Its task ended without a word.
                return Err(GfsError::new(ErrorCode::Internal, "reading a chunk was cut short"));
            }
            let short = position < current.end;
            running = match next.take() {
                Some(next) => Some(next),
                // The chunk ended where the file ends, for now: unless it was sealed short of its
                // size meanwhile, and another one follows.
                None if short => {
                    self.locations.forget_end();
                    let place = self.locations.at(position).await?;
                    match place.chunk.filter(|chunk| chunk.start == position) {
                        Some(_) => self.begin(position, &mut tasks).await?,
                        None => None,
                    }
                }
                None => self.begin(position, &mut tasks).await?,
            };
        }
        Ok(())
    }

    /// Begins to read the chunk at `position`; `None` where the file or the range ends.
    async fn begin(
        &self,
        position: u64,
        tasks: &mut JoinSet<()>,
    ) -> Result<Option<Running>, GfsError> {
        while tasks.try_join_next().is_some() {}
        if position >= self.end {
            return Ok(None);
        }
        let place = self.locations.at(position).await?;
        let Some(location) = place.chunk else { return Ok(None) };
        if location.hole {
            let end = (location.start + u64::from(location.length)).min(self.end);
            let (out, messages) = mpsc::channel(AHEAD);
            tasks.spawn(zeros(end.saturating_sub(position), out));
            return Ok(Some(Running { messages, end, certain: true }));
        }
        let known_end = location.start + u64::from(location.length);
        let chunk_size = u64::from(self.client.inner.geometry.chunk_size());
        // The last chunk of a file that is being written may have more than the master knows.
        let certain = !place.grows || location.sealed || known_end >= self.end;
        let end = if certain { known_end } else { location.start + chunk_size }.min(self.end);
        let within = |position: u64| (position - location.start).min(chunk_size) as u32;
        let range = Range {
            offset: within(position),
            end: within(end),
            required: within(known_end.min(end).max(location.start)),
        };
        let (out, messages) = mpsc::channel(AHEAD);
        tasks.spawn(chunk::read(
            self.client.clone(),
            Arc::clone(&self.locations),
            location,
            range,
            out,
        ));
        Ok(Some(Running { messages, end, certain }))
    }
}

/// Delivers so many bytes of a hole.
async fn zeros(mut left: u64, out: mpsc::Sender<Delivery>) {
    let piece = Bytes::from(vec![0; left.min(u64::from(MAX_SLICE)) as usize]);
    while left > 0 {
        let length = left.min(piece.len() as u64);
        if out.send(Ok(vec![piece.slice(..length as usize)])).await.is_err() {
            return;
        }
        left -= length;
    }
}

/// The pieces of a short range, joined only if there are several.
pub(crate) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.pop().unwrap_or_default(),
        _ => pieces.concat().into(),
    }
}
