//! Commands of the leader, and the answers to them.

use crate::chunks::Chunk;
use crate::node::{Node, ToMaster};
use crate::read::ranges;
use crate::store::StoreError;
use gfs_core::replica::{CommandId, Event, digest};
use gfs_proto::v1 as pb;
use gfs_types::{BLOCK_SIZE, ChunkHandle, ErrorCode};
use pb::command::Body;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who waits for the answer to a command.
pub(crate) struct Origin {
    id: u64,
    epoch: u64,
    kind: &'static str,
    to: ToMaster,
    /// Bytes copied for it.
    pub(crate) copied: Arc<AtomicU64>,
}

impl Node {
    /// Takes a command. The commands of one chunk are carried out in the order of these calls.
    pub(crate) async fn command(self: &Arc<Self>, command: pb::Command, to: ToMaster) {
        let pb::Command { id, epoch, handle, body } = command;
        let kind = kind_of(body.as_ref());
        let origin = Origin { id, epoch, kind, to, copied: Arc::default() };
        if let Err(error) = self.observe(epoch, 0).await {
            return self.send_result(handle, origin, Some(error), None);
        }
        let Some(body) = body else {
            let text = "a command this server does not know";
            let error = pb::ErrorDetail::new(ErrorCode::Unsupported, text);
            return self.send_result(handle, origin, Some(error), None);
        };
        let chunk = match self.chunk(handle).await {
            Ok(chunk) => chunk,
            Err(error) => return self.send_result(handle, origin, Some(error), None),
        };
        tracing::debug!(chunk = handle, id, kind, "command");
        if let Body::Verify(verify) = body {
            let node = Arc::clone(self);
            self.tasks.passing("verify", async move { node.verify(&chunk, origin, verify).await });
            return;
        }
        let id = CommandId(self.chunks.next_id());
        chunk.inner().commands.insert(id, origin);
        self.step(&chunk, Event::Command { id, body });
    }

    /// A command is carried out or refused. With `digest` the answer also says what the replica
    /// holds; nothing changes it before the master has the answer.
    pub(crate) fn answer(
        self: &Arc<Self>,
        chunk: &Arc<Chunk>,
        origin: Origin,
        result: Result<(), pb::ErrorDetail>,
        state: Option<pb::ReplicaState>,
        digest: bool,
    ) {
        let error = result.err();
        let state = chunk_state(chunk.handle, error.as_ref(), state);
        let Some(state) = state.clone().filter(|_| digest) else {
            return self.send_result(chunk.handle, origin, error, state);
        };
        let (node, chunk) = (Arc::clone(self), Arc::clone(chunk));
        self.tasks.passing("digest", async move {
            match node.with_digest(chunk.handle, state).await {
                Ok(state) => node.send_result(chunk.handle, origin, error, Some(state)),
                Err(error) => node.send_result(chunk.handle, origin, Some(error), None),
            }
        });
    }

    /// Adds the digest and the damage that is known. A suspect replica is read as a whole first.
    async fn with_digest(
        self: &Arc<Self>,
        handle: u64,
        state: pb::ReplicaState,
    ) -> Result<pb::ReplicaState, pb::ErrorDetail> {
        let (node, suspect) = (Arc::clone(self), state.suspect);
        let read = move || {
            if suspect {
                node.volumes.verify(ChunkHandle(handle))?;
            }
            node.volumes.checksums(ChunkHandle(handle))
        };
        let own = self.on_disk("checksums", ChunkHandle(handle), read).await?;
        let sums: Vec<u32> = own.sums.iter().map(|sum| sum.0).collect();
        Ok(pb::ReplicaState {
            digest: digest(own.length, &sums),
            damaged: ranges(&own.damaged),
            ..state
        })
    }

    /// Compares blocks with their checksums.
    async fn verify(self: &Arc<Self>, chunk: &Arc<Chunk>, origin: Origin, verify: pb::Verify) {
        let handle = chunk.handle;
        let state = chunk.inner().state();
        let Some(state) = state.filter(|state| state.complete == verify.version) else {
            let text = format!("chunk {handle} is not complete at {} here", verify.version);
            let error = pb::ErrorDetail::new(ErrorCode::StaleVersion, text);
            return self.send_result(handle, origin, Some(error), None);
        };
        let (node, blocks) = (Arc::clone(self), verify.blocks);
        let read = move || {
            let Some(range) = blocks else {
                return node.volumes.verify(ChunkHandle(handle)).map(|_| ());
            };
            let end =
                range.first.saturating_add(range.count).min(state.length.div_ceil(BLOCK_SIZE));
            for block in range.first..end {
                match node.volumes.read(ChunkHandle(handle), block * BLOCK_SIZE, BLOCK_SIZE) {
                    // What is damaged is remembered by the store.
                    Ok(_) | Err(StoreError::Corrupt { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let done = self.on_disk("verify", ChunkHandle(handle), read).await;
        match done {
            Ok(()) => match self.with_digest(handle, state).await {
                Ok(state) => self.send_result(handle, origin, None, Some(state)),
                Err(error) => self.send_result(handle, origin, Some(error), None),
            },
            Err(error) => self.send_result(handle, origin, Some(error), None),
        }
    }

    fn send_result(
        &self,
        handle: u64,
        origin: Origin,
        error: Option<pb::ErrorDetail>,
        state: Option<pb::ReplicaState>,
    ) {
        let code = error.as_ref().map_or("OK", |error| error.error_code().name());
        self.metrics.commands.with([origin.kind, code]).inc();
        if let Some(error) = &error {
            tracing::info!(chunk = handle, kind = origin.kind, %code, error = error.message,
                "a command was refused");
        }
        let result = pb::CommandResult {
            id: origin.id,
            epoch: origin.epoch,
            handle,
            error,
            state,
            copied: origin.copied.load(Ordering::Relaxed),
        };
        let body = pb::server_message::Body::Result(result);
        // A master whose session has ended learns it from the next report.
        let _ = origin.to.try_send(pb::ServerMessage { body: Some(body) });
    }
}

/// A replica that was deleted, or never was, has a state too: none of its numbers.
fn chunk_state(
    handle: u64,
    error: Option<&pb::ErrorDetail>,
    state: Option<pb::ReplicaState>,
) -> Option<pb::ReplicaState> {
    match (state, error) {
        (Some(state), _) => Some(state),
        (None, None) => Some(pb::ReplicaState { handle, ..Default::default() }),
        (None, Some(_)) => None,
    }
}

const fn kind_of(body: Option<&Body>) -> &'static str {
    match body {
        Some(Body::Grant(_)) => "grant",
        Some(Body::Prepare(_)) => "prepare",
        Some(Body::Equalize(_)) => "equalize",
        Some(Body::Clone(_)) => "clone",
        Some(Body::CancelClone(_)) => "cancel_clone",
        Some(Body::Delete(_)) => "delete",
        Some(Body::Verify(_)) => "verify",
        Some(Body::Revoke(_)) => "revoke",
        None => "unknown",
    }
}
