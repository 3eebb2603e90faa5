//! Reads: verified on disk, streamed in pieces of up to 1 MiB, the next piece read while one is
//! sent.

use crate::chunks::Chunk;
use crate::handshake::{FIRST_MESSAGE, error};
use crate::node::Node;
use crate::push::status;
use crate::store::{ChunkRead, StoreError};
use gfs_core::replica::{Event, ReadVerdict};
use gfs_proto::v1 as pb;
use gfs_transport::{BulkFrame, BulkReceiver, BulkSender};
use gfs_types::{ChunkHandle, ErrorCode, GfsError, MAX_SLICE};
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::Status;

/// How long the primary may take to say what is acknowledged.
const ASK_PRIMARY: Duration = Duration::from_secs(1);

/// Serves one read.
pub(crate) async fn serve(
    node: Arc<Node>,
    sender: BulkSender,
    mut receiver: BulkReceiver,
) -> Result<(), Status> {
    let _stream = node.stream();
    let first = timeout(FIRST_MESSAGE, receiver.recv()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request"))??;
    let Some(first) = first else { return Ok(()) };
    let Ok(_turn) = node.reading.try_acquire() else {
        let error = error(ErrorCode::ResourceExhausted, "too many reads at a time here");
        node.metrics.failed_reads.with([error.error_code().name()]).inc();
        return Err(status(&error));
    };
    answer(&node, first, sender).await.map_err(|error| {
        node.metrics.failed_reads.with([error.error_code().name()]).inc();
        status(&error)
    })
}

async fn answer(
    node: &Arc<Node>,
    first: BulkFrame,
    sender: BulkSender,
) -> Result<(), pb::ErrorDetail> {
    let request = pb::ReadRequest::decode(first.head)
        .map_err(|e| error(ErrorCode::InvalidArgument, format!("a garbled request: {e}")))?;
    node.check_header(request.header.as_ref())?;
    node.gate().check_read(node.clock.now())?;
    let chunk = node.chunk(request.handle).await?;
    let (bytes, chunk_length) = judge(node, &chunk, &request).await?;
    stream(node, &chunk, &request, bytes, chunk_length, sender).await
}

/// How many bytes may be served, after asking the primary where that is needed.
async fn judge(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    request: &pb::ReadRequest,
) -> Result<(u32, u32), pb::ErrorDetail> {
    let verdict = || {
        let inner = chunk.inner();
        if inner.suspect {
            let text = "this replica may have lost bytes in a power loss and was not verified yet";
            return ReadVerdict::Refuse(error(ErrorCode::Fenced, text));
        }
        inner.replica.read(request.version, request.offset, request.length)
    };
    let primary = match verdict() {
        ReadVerdict::Serve { bytes, chunk_length } => return Ok((bytes, chunk_length)),
        ReadVerdict::Refuse(error) => return Err(error),
        ReadVerdict::AskPrimary(primary) => primary,
    };
    let asked = timeout(ASK_PRIMARY, ask_primary(node, &primary, request)).await;
    let (length, serial) =
        asked.unwrap_or_else(|_| Err("it does not answer".to_owned())).map_err(|why| {
            let text =
                format!("the primary, chunkserver {}, cannot be asked: {why}", primary.server);
            error(ErrorCode::Fenced, text)
        })?;
    node.step(chunk, Event::Confirmed { version: request.version, length, serial });
    // What the primary has not acknowledged does not count yet.
    let known = length.saturating_sub(request.offset).min(request.length);
    let known = pb::ReadRequest { length: known, ..request.clone() };
    let inner = chunk.inner();
    match inner.replica.read(known.version, known.offset, known.length) {
        ReadVerdict::Serve { bytes, .. } => Ok((bytes, length)),
        ReadVerdict::Refuse(error) => Err(error),
        ReadVerdict::AskPrimary(_) => Err(inner.replica.unsettled_now()),
    }
}

async fn ask_primary(
    node: &Node,
    primary: &pb::ServerLocation,
    request: &pb::ReadRequest,
) -> Result<(u32, u64), String> {
    let address = primary.addresses.first().ok_or("it has no address")?;
    let peer = node.dialer.peer(address).map_err(|error| error.to_string())?;
    let question = pb::ConfirmedRequest {
        header: Some(node.stream_header()),
        handle: request.handle,
        version: request.version,
    };
    let mut client = pb::rpc::data_client::DataClient::new(peer.control());
    let answer = client.confirmed(question).await.map_err(|status| status.message().to_owned())?;
    let answer = answer.into_inner();
    if answer.primary {
        Ok((answer.length, answer.serial))
    } else {
        Err("it is not the primary".to_owned())
    }
}

type Piece = JoinHandle<Result<ChunkRead, pb::ErrorDetail>>;

/// Starts to read one piece.
fn read_piece(node: &Arc<Node>, chunk: &Arc<Chunk>, offset: u32, bytes: u32) -> Piece {
    let (node, chunk) = (Arc::clone(node), Arc::clone(chunk));
    let handle = ChunkHandle(chunk.handle);
    let volumes = Arc::clone(&node.volumes);
    volumes.blocking(handle, move || {
        let mut damaged = Vec::new();
        let result = node.timed("read", || {
            let read = node.volumes.read(handle, offset, bytes);
            if let Err(StoreError::Corrupt { blocks, .. }) = &read {
                damaged.clone_from(blocks);
            }
            read
        });
        if !damaged.is_empty() {
            node.report_damage(&chunk, &damaged);
        }
        result
    })
}

/// The piece that begins here: up to the next border of 1 MiB, so that most are whole blocks.
const fn piece_at(offset: u32, left: u32) -> u32 {
    let whole = MAX_SLICE - offset % MAX_SLICE;
    if left < whole { left } else { whole }
}

async fn stream(
    node: &Arc<Node>,
    chunk: &Arc<Chunk>,
    request: &pb::ReadRequest,
    mut left: u32,
    chunk_length: u32,
    mut sender: BulkSender,
) -> Result<(), pb::ErrorDetail> {
    let mut offset = request.offset;
    if left == 0 {
        let reply = pb::ReadReply { offset, chunk_length, ..Default::default() };
        let _ = sender.send(BulkFrame::head_only(reply.encode_to_vec())).await;
        return Ok(());
    }
    let mut first = true;
    // Where the disk is needed the next piece is read while this one is sent.
    let mut ahead: Option<Piece> = None;
    while left > 0 {
        let bytes = piece_at(offset, left);
        let cached = match ahead {
            Some(_) => None,
            None => node.volumes.read_cached(ChunkHandle(chunk.handle), offset, bytes),
        };
        let from_disk = cached.is_none();
        let read = match cached {
            Some(read) => read,
            None => {
                let piece = ahead.take().unwrap_or_else(|| read_piece(node, chunk, offset, bytes));
                let bay = node.volumes.bay(ChunkHandle(chunk.handle)).map_err(GfsError::from)?;
                tokio::select! {
                    read = piece => {
                        read.map_err(|_| error(ErrorCode::Internal, "a read panicked"))??
                    }
                    () = bay.gone() => {
                        let why = format!("the volume is gone: {}", bay.service().reason());
                        return Err(error(ErrorCode::DiskError, why));
                    }
                }
            }
        };
        node.gate().check_read(node.clock.now())?;
        let length = read.data.len() as u32;
        if length != bytes {
            let text = format!("{length} bytes at {offset}, fewer than the replica holds");
            return Err(error(ErrorCode::Internal, text));
        }
        // What was settled when it was judged may have been overwritten since.
        if !chunk.inner().replica.is_settled(offset, length) {
            judge(node, chunk, &pb::ReadRequest { offset, length, ..request.clone() }).await?;
        }
        left -= length;
        if left > 0 && from_disk {
            let at = offset + length;
            ahead = Some(read_piece(node, chunk, at, piece_at(at, left)));
        }
        let reply = pb::ReadReply {
            offset,
            length,
            sums: read.sums.0.iter().map(|sum| sum.0).collect(),
            chunk_length: if first { chunk_length } else { 0 },
        };
        first = false;
        offset += length;
        if sender.send(BulkFrame::new(reply.encode_to_vec(), read.data)).await.is_err() {
            // The reader is gone.
            return Ok(());
        }
        node.counts.read.fetch_add(u64::from(length), Ordering::Relaxed);
        node.metrics.read.inc_by(u64::from(length));
    }
    Ok(())
}

/// Blocks as ranges, in order.
pub(crate) fn ranges(blocks: &[u32]) -> Vec<pb::BlockRange> {
    let mut ranges: Vec<pb::BlockRange> = Vec::new();
    for block in blocks {
        match ranges.last_mut() {
            Some(last) if last.first + last.count == *block => last.count += 1,
            _ => ranges.push(pb::BlockRange { first: *block, count: 1 }),
        }
    }
    ranges
}

impl Node {
    /// Blocks were found not to match their checksums: the master is told.
    pub(crate) fn report_damage(&self, chunk: &Chunk, blocks: &[u32]) {
        self.metrics.corrupt.inc_by(blocks.len() as u64);
        tracing::warn!(chunk = chunk.handle, ?blocks, "blocks do not match their checksums");
        let state = chunk.inner().state();
        if let Some(state) = state {
            let damaged = pb::ReplicaState { damaged: ranges(blocks), ..state };
            self.notify(chunk.handle, pb::notice::Body::Damaged(damaged));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_borders_and_cover_the_range() {
        let (mut offset, mut left, mut pieces) = (5, 3 * MAX_SLICE, Vec::new());
        while left > 0 {
            let piece = piece_at(offset, left);
            pieces.push(piece);
            offset += piece;
            left -= piece;
        }
        assert_eq!(pieces, [MAX_SLICE - 5, MAX_SLICE, MAX_SLICE, 5]);
    }

    #[test]
    fn blocks_next_to_each_other_are_one_range() {
        let range = |first, count| pb::BlockRange { first, count };
        assert_eq!(ranges(&[1, 2, 3, 7]), [range(1, 3), range(7, 1)]);
    }
}
