//! Serving other servers that clone a replica or make theirs equal to it.

use crate::chunks::Chunk;
use crate::handshake::{FIRST_MESSAGE, error};
use crate::node::Node;
use crate::push::status;
use crate::store::StoreError;
use gfs_core::replica::{Header, Identity};
use gfs_proto::v1 as pb;
use gfs_transport::{BulkFrame, BulkReceiver, BulkSender};
use gfs_types::{BLOCK_SIZE, ChunkHandle, ErrorCode, MAX_SLICE};
use pb::copy_reply::Body;
use prost::Message as _;
use std::sync::Arc;
use tokio::time::timeout;
use tonic::Status;

const PIECE: u32 = MAX_SLICE / BLOCK_SIZE;

/// Serves one copy.
pub(crate) async fn serve(
    node: Arc<Node>,
    sender: BulkSender,
    mut receiver: BulkReceiver,
) -> Result<(), Status> {
    let _stream = node.stream();
    let first = timeout(FIRST_MESSAGE, receiver.recv()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request"))??;
    let Some(first) = first else { return Ok(()) };
    answer(&node, first, sender).await.map_err(|error| status(&error))
}

async fn answer(
    node: &Arc<Node>,
    first: BulkFrame,
    mut sender: BulkSender,
) -> Result<(), pb::ErrorDetail> {
    let request = pb::CopyRequest::decode(first.head)
        .map_err(|e| error(ErrorCode::InvalidArgument, format!("a garbled request: {e}")))?;
    node.check_header(request.header.as_ref())?;
    let chunk = node.chunk(request.handle).await?;
    let header = header(node, &chunk, request.version).await?;
    let length = header.length;
    if send(&mut sender, Body::Header(header), Vec::new()).await.is_err() || request.checksums_only
    {
        return Ok(());
    }
    let blocks = length.div_ceil(BLOCK_SIZE);
    let all = [pb::BlockRange { first: 0, count: blocks }];
    let wanted: &[pb::BlockRange] = if request.blocks.is_empty() { &all } else { &request.blocks };
    for range in wanted {
        let end = range.first.saturating_add(range.count).min(blocks);
        let mut block = range.first.min(end);
        while block < end {
            let count = PIECE.min(end - block);
            if !send_blocks(node, &chunk, block, count, length, &mut sender).await? {
                return Ok(());
            }
            block += count;
        }
    }
    Ok(())
}

/// The replica as it stands: what was applied, and the checksums of exactly that. Writes go on
/// meanwhile, and only add what lies behind.
async fn header(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    version: u64,
) -> Result<pb::CopyHeader, pb::ErrorDetail> {
    let stored: Option<(Identity, Header)> = {
        let inner = chunk.inner();
        // In a version change that it has promised, the master has chosen it all the same: no
        // better copy is left.
        let promised = |header: &Header| header.promised == version && header.complete < version;
        let chosen = inner.replica.header().is_some_and(promised);
        if inner.suspect && !chosen {
            let text = "this replica may have lost bytes in a power loss";
            return Err(error(ErrorCode::Fenced, text));
        }
        inner.replica.identity().copied().zip(inner.replica.header().cloned())
    };
    let Some((identity, header)) = stored else {
        let text = format!("there is no replica of chunk {} here", chunk.handle);
        return Err(error(ErrorCode::UnknownChunk, text));
    };
    if header.complete == 0 {
        let text = format!("the replica of chunk {} is unfinished", chunk.handle);
        return Err(error(ErrorCode::StaleVersion, text));
    }
    let (n, handle, length) = (Arc::clone(node), ChunkHandle(chunk.handle), header.length);
    let sums = move || {
        let recorded = n.volumes.checksums(handle)?;
        let whole = (length / BLOCK_SIZE) as usize;
        let mut sums: Vec<u32> = recorded.sums.iter().take(whole).map(|sum| sum.0).collect();
        let tail = length % BLOCK_SIZE;
        if tail > 0 && recorded.length == length {
            sums.extend(recorded.sums.get(whole).map(|sum| sum.0));
        } else if tail > 0 {
            // The last block has grown since: the checksum of what it was is computed anew.
            let read = n.volumes.read(handle, length - tail, tail)?;
            sums.extend(read.sums.0.first().map(|sum| sum.0));
        }
        Ok(sums)
    };
    let sums = node.on_disk("checksums", handle, sums).await?;
    Ok(pb::CopyHeader {
        promised: header.promised,
        complete: header.complete,
        length: header.length,
        serial: header.serial,
        sums,
        window: header.window.entries().cloned().collect(),
        inode: identity.inode,
        index: identity.index,
        start: identity.start,
        sealed: header.sealed,
        forgot: header.window.forgot(),
    })
}

/// Sends blocks, or says which of them are damaged. Whether the receiver still listens.
async fn send_blocks(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    first: u32,
    count: u32,
    length: u32,
    sender: &mut BulkSender,
) -> Result<bool, pb::ErrorDetail> {
    let offset = first * BLOCK_SIZE;
    let bytes = (length - offset).min(count * BLOCK_SIZE);
    let (n, handle) = (Arc::clone(node), ChunkHandle(chunk.handle));
    let read = move || match n.volumes.read(handle, offset, bytes) {
        Ok(read) => Ok(Ok(read)),
        Err(StoreError::Corrupt { blocks, .. }) => Ok(Err(blocks)),
        Err(error) => Err(error),
    };
    let read = match node.volumes.read_cached(handle, offset, bytes) {
        Some(read) => Ok(read),
        None => node.on_disk("read", handle, read).await?,
    };
    match read {
        Ok(read) => {
            let blocks = pb::CopyBlocks {
                first,
                length: read.data.len() as u32,
                sums: read.sums.0.iter().map(|sum| sum.0).collect(),
            };
            node.metrics.served.inc_by(read.data.len() as u64);
            Ok(send(sender, Body::Blocks(blocks), vec![read.data]).await.is_ok())
        }
        Err(damaged) => {
            node.report_damage(chunk, &damaged);
            for block in first..first + count {
                let here = if damaged.contains(&block) {
                    let range = pb::BlockRange { first: block, count: 1 };
                    send(sender, Body::Damaged(range), Vec::new()).await.is_ok()
                } else if count == 1 {
                    // A single block cannot be damaged and not listed.
                    true
                } else {
                    Box::pin(send_blocks(node, chunk, block, 1, length, sender)).await?
                };
                if !here {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

async fn send(
    sender: &mut BulkSender,
    body: Body,
    payload: Vec<bytes::Bytes>,
) -> Result<(), gfs_transport::Error> {
    let head = pb::CopyReply { body: Some(body) }.encode_to_vec().into();
    sender.send(BulkFrame { head, payload }).await
}
