//! Copying a replica from other servers: clones, and becoming equal in a version change.

use crate::chunks::Chunk;
use crate::handshake::{COPY, error};
use crate::node::Node;
use crate::push::connect;
use gfs_core::replica::{CommandId, Copy, CopyOutcome, CopyPlan, Event};
use gfs_proto::v1 as pb;
use gfs_transport::BulkReceiver;
use gfs_types::{BLOCK_SIZE, BlockSums, ChunkHandle, Crc, ErrorCode, Millis};
use pb::copy_reply::Body;
use prost::Message as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A source that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(5);
/// Rounds over all sources before a copy fails.
const ROUNDS: usize = 3;

/// A copy under way.
pub(crate) struct CopyTask {
    /// The replica is ready to be overwritten.
    pub(crate) go: Arc<Notify>,
    /// Stop.
    pub(crate) stop: CancellationToken,
}

/// What is known of the replica's own blocks.
struct Mine {
    length: u32,
    sums: Vec<u32>,
    damaged: BTreeSet<u32>,
}

struct Fetch {
    node: Arc<Node>,
    chunk: Arc<Chunk>,
    id: CommandId,
    version: u64,
    /// In the order to try.
    sources: Vec<pb::ServerLocation>,
    /// Bytes per second; 0: as fast as it goes.
    rate: u64,
    copied: Arc<AtomicU64>,
    go: Arc<Notify>,
    /// What an Equalize was told to become, in bytes.
    expected: Option<u32>,
    /// Held by a write: one at a time, and none outlives the copy.
    writes: Arc<Semaphore>,
    began: Millis,
}

impl Node {
    /// Starts a copy into a replica, in a task of its own that owes a `CopyEnded`.
    pub(crate) fn copy(
        self: &Arc<Self>,
        chunk: &Arc<Chunk>,
        id: CommandId,
        copy: Copy,
        copied: Arc<AtomicU64>,
    ) -> CopyTask {
        let (version, sources, rate, expected) = match copy {
            Copy::Clone(clone) => (clone.version, clone.sources, clone.rate, None),
            Copy::Equalize(equalize) => {
                let sources = equalize.source.into_iter().chain(equalize.others).collect();
                (equalize.next, sources, 0, Some(equalize.length))
            }
        };
        let task = CopyTask { go: Arc::default(), stop: CancellationToken::new() };
        let (go, stop) = (Arc::clone(&task.go), task.stop.clone());
        let (node, chunk) = (Arc::clone(self), Arc::clone(chunk));
        self.tasks.passing("copy", async move {
            let began = node.clock.now();
            let writes = Arc::new(Semaphore::new(1));
            let fetch = Fetch {
                node: Arc::clone(&node),
                chunk: Arc::clone(&chunk),
                id,
                version,
                sources,
                rate,
                copied,
                go,
                expected,
                writes: Arc::clone(&writes),
                began,
            };
            let copying = async {
                let _turn = node.copying.acquire().await;
                fetch.run().await
            };
            let result = tokio::select! {
                result = copying => result,
                () = stop.cancelled() => {
                    Err(error(ErrorCode::Cancelled, "the copy was told to stop"))
                }
            };
            if let Err(error) = &result {
                tracing::info!(chunk = chunk.handle, error = error.message, "a copy failed");
            }
            // A write that was handed to the disk before the copy was stopped ends first.
            let _ended = writes.acquire().await;
            node.step(&chunk, Event::CopyEnded { id, result });
        });
        task
    }
}

impl Fetch {
    async fn run(&self) -> Result<CopyOutcome, pb::ErrorDetail> {
        let mut mine = self.mine().await?;
        let mut plan: Option<CopyPlan> = None;
        let mut last = error(ErrorCode::InvalidArgument, "a copy without a source");
        for _ in 0..ROUNDS {
            for source in self.sources.clone() {
                match self.from(&source, &mut plan, &mut mine).await {
                    Ok(()) => {
                        let wanted = plan.as_ref().map(CopyPlan::wanted).unwrap_or_default();
                        let text = format!(
                            "chunkserver {}: it has no good copy of blocks {wanted:?}",
                            source.server
                        );
                        last = error(ErrorCode::Corrupt, text);
                    }
                    Err(why) => {
                        let text = format!("chunkserver {}: {}", source.server, why.message);
                        last = pb::ErrorDetail { message: text, ..why };
                        let local =
                            matches!(last.error_code(), ErrorCode::NoSpace | ErrorCode::DiskError);
                        if local {
                            return Err(last);
                        }
                    }
                }
                if let Some(plan) = plan.as_ref().filter(|plan| plan.is_done()) {
                    return Ok(plan.outcome());
                }
            }
        }
        Err(last)
    }

    /// The replica's own blocks; what is suspect is read and compared first.
    async fn mine(&self) -> Result<Mine, pb::ErrorDetail> {
        let (node, handle) = (Arc::clone(&self.node), ChunkHandle(self.chunk.handle));
        let suspect = self.chunk.inner().suspect;
        let read = move || {
            if suspect {
                node.volumes.verify(handle)?;
            }
            node.volumes.checksums(handle)
        };
        let own = self.node.on_disk("checksums", handle, read).await?;
        Ok(Mine {
            length: own.length,
            sums: own.sums.iter().map(|sum| sum.0).collect(),
            damaged: own.damaged.into_iter().collect(),
        })
    }

    /// Copies what is missing from one source, as far as that goes.
    async fn from(
        &self,
        source: &pb::ServerLocation,
        plan: &mut Option<CopyPlan>,
        mine: &mut Mine,
    ) -> Result<(), pb::ErrorDetail> {
        if plan.is_none() {
            let mut replies = self.ask(source, true, Vec::new()).await?;
            let header = first_header(&mut replies).await?;
            *plan = Some(self.plan(&header, mine)?);
            let source_complete = header.complete;
            self.node.step(&self.chunk, Event::CopyPlanned { id: self.id, source_complete });
            self.go.notified().await;
        }
        let Some(wanted) = plan.as_ref().map(CopyPlan::wanted).filter(|w| !w.is_empty()) else {
            return Ok(());
        };
        let mut replies = self.ask(source, false, wanted).await?;
        let header = first_header(&mut replies).await?;
        // A chunk that is being written has grown: the plan is made anew from what is here now.
        let mut current = self.plan(&header, mine)?;
        let result = self.take(&mut replies, &mut current, mine).await;
        *plan = Some(current);
        result
    }

    fn plan(&self, header: &pb::CopyHeader, mine: &Mine) -> Result<CopyPlan, pb::ErrorDetail> {
        if self.expected.is_some_and(|length| length != header.length) {
            let text = format!("it holds {} bytes, not what was agreed", header.length);
            return Err(error(ErrorCode::Conflict, text));
        }
        let chunk_size = self.node.volumes.record().geometry.chunk_size();
        CopyPlan::new(header, chunk_size, mine.length, &mine.sums, &mine.damaged)
            .map_err(|why| error(ErrorCode::InvalidArgument, why.to_string()))
    }

    async fn ask(
        &self,
        source: &pb::ServerLocation,
        checksums_only: bool,
        blocks: Vec<pb::BlockRange>,
    ) -> Result<BulkReceiver, pb::ErrorDetail> {
        let unreachable = |why: String| error(ErrorCode::Unreachable, why);
        let opened = timeout(SILENCE, connect(&self.node, source, COPY)).await;
        let (mut sender, receiver) =
            opened.unwrap_or_else(|_| Err("it does not answer".to_owned())).map_err(unreachable)?;
        let request = pb::CopyRequest {
            header: Some(self.node.stream_header()),
            handle: self.chunk.handle,
            version: self.version,
            checksums_only,
            blocks,
        };
        let frame = gfs_transport::BulkFrame::head_only(request.encode_to_vec());
        sender.send(frame).await.map_err(|error| unreachable(error.to_string()))?;
        sender.finish().await.map_err(|error| unreachable(error.to_string()))?;
        Ok(receiver)
    }

    /// Takes blocks until the source ends: one is written while the next is received.
    async fn take(
        &self,
        replies: &mut BulkReceiver,
        plan: &mut CopyPlan,
        mine: &mut Mine,
    ) -> Result<(), pb::ErrorDetail> {
        let mut writing = None;
        let ended = loop {
            let (body, payload) = match reply(replies).await {
                Ok(Some(reply)) => reply,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let blocks = match body {
                Body::Blocks(blocks) => blocks,
                Body::Damaged(_) => continue,
                Body::Header(_) => break Err(error(ErrorCode::InvalidArgument, "two headers")),
            };
            if let Err(why) = check(plan, &blocks, &payload) {
                break Err(why);
            }
            if let Some(write) = writing.take() {
                finish(write, plan, mine).await?;
            }
            self.pace(u64::from(blocks.length)).await;
            let (node, handle) = (Arc::clone(&self.node), ChunkHandle(self.chunk.handle));
            let (first, sums) = (blocks.first, blocks.sums.clone());
            let Ok(turn) = Arc::clone(&self.writes).acquire_owned().await else {
                break Err(error(ErrorCode::Cancelled, "the copy is over"));
            };
            let write = self.node.volumes.blocking(handle, move || {
                let sums = BlockSums(sums.into_iter().map(Crc).collect());
                let _turn = turn;
                node.timed("copy", || node.volumes.replace_blocks(handle, first, &payload, &sums))
            });
            writing = Some((blocks, write));
        };
        if let Some(write) = writing.take() {
            finish(write, plan, mine).await?;
        }
        ended
    }

    /// Counts bytes, and waits while they come faster than they should.
    async fn pace(&self, bytes: u64) {
        let copied = self.copied.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.node.metrics.copied.inc_by(bytes);
        self.node.counts.written.fetch_add(bytes, Ordering::Relaxed);
        if let Some(due) = copied.saturating_mul(1000).checked_div(self.rate) {
            let spent = self.node.clock.now().since(self.began).0;
            sleep(Duration::from_millis(due.saturating_sub(spent).min(10_000))).await;
        }
    }
}

type Writing = (pb::CopyBlocks, tokio::task::JoinHandle<Result<(), pb::ErrorDetail>>);

/// Blocks are written: from now on they are the replica's own.
async fn finish(
    (blocks, write): Writing,
    plan: &mut CopyPlan,
    mine: &mut Mine,
) -> Result<(), pb::ErrorDetail> {
    write.await.map_err(|_| error(ErrorCode::Internal, "a write panicked"))??;
    let count = blocks.sums.len() as u32;
    plan.written(blocks.first, count);
    for (block, sum) in (blocks.first..).zip(&blocks.sums) {
        let at = block as usize;
        if mine.sums.len() <= at {
            // What lies between is not here yet, whatever its sum.
            let missing = mine.sums.len() as u32..block;
            mine.damaged.extend(missing);
            mine.sums.resize(at + 1, 0);
        }
        if let Some(own) = mine.sums.get_mut(at) {
            *own = *sum;
        }
        mine.damaged.remove(&block);
    }
    let end = blocks.first * BLOCK_SIZE + blocks.length;
    if end > mine.length {
        // The block that was the last one ends elsewhere now.
        if !mine.length.is_multiple_of(BLOCK_SIZE) && mine.length / BLOCK_SIZE < blocks.first {
            mine.damaged.insert(mine.length / BLOCK_SIZE);
        }
        mine.length = end;
    }
    Ok(())
}

fn check(
    plan: &CopyPlan,
    blocks: &pb::CopyBlocks,
    payload: &[bytes::Bytes],
) -> Result<(), pb::ErrorDetail> {
    plan.check(blocks).map_err(|why| error(ErrorCode::InvalidArgument, why.to_string()))?;
    let length: usize = payload.iter().map(bytes::Bytes::len).sum();
    let sums = BlockSums::of(blocks.first * BLOCK_SIZE, payload);
    let same = sums.0.iter().map(|sum| sum.0).eq(blocks.sums.iter().copied());
    if length != blocks.length as usize || !same {
        let text = format!("blocks from {} do not match their checksums", blocks.first);
        return Err(error(ErrorCode::Corrupt, text));
    }
    Ok(())
}

type Reply = (Body, Vec<bytes::Bytes>);

/// The next reply of a source; `None` at its end.
async fn reply(replies: &mut BulkReceiver) -> Result<Option<Reply>, pb::ErrorDetail> {
    let next = timeout(SILENCE, replies.recv()).await;
    let next = next.map_err(|_| error(ErrorCode::Unreachable, "it went silent"))?;
    let frame = next.map_err(|why| match why.status() {
        Some(status) => gfs_proto::detail_of(status),
        None => error(ErrorCode::Unreachable, why.to_string()),
    })?;
    let Some(frame) = frame else { return Ok(None) };
    let reply = pb::CopyReply::decode(frame.head)
        .map_err(|e| error(ErrorCode::InvalidArgument, format!("a garbled reply: {e}")))?;
    match reply.body {
        Some(body) => Ok(Some((body, frame.payload))),
        None => Err(error(ErrorCode::InvalidArgument, "an empty reply")),
    }
}

async fn first_header(replies: &mut BulkReceiver) -> Result<pb::CopyHeader, pb::ErrorDetail> {
    match reply(replies).await? {
        Some((Body::Header(header), _)) => Ok(header),
        _ => Err(error(ErrorCode::InvalidArgument, "a copy that does not begin with its header")),
    }
}
