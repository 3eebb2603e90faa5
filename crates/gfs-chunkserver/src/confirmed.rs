//! The control call among the data services: how much of a chunk is acknowledged.

use crate::node::Node;
use crate::push::status;
use gfs_proto::v1 as pb;
use gfs_types::ErrorCode;
use pb::rpc::data_server::Data;
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

/// The Data service as tonic sees it; its streams are served beside tonic.
pub(crate) struct DataService(pub(crate) Arc<Node>);

type Nothing = Pin<Box<dyn Stream<Item = Result<pb::Bulk, Status>> + Send>>;

fn bulk<T>() -> Result<T, Status> {
    Err(Status::unimplemented("bulk streams are served by the transport"))
}

#[tonic::async_trait]
impl Data for DataService {
    type PushStream = Nothing;
    type ReadStream = Nothing;
    type CopyStream = Nothing;

    async fn push(&self, _: Request<Streaming<pb::Bulk>>) -> Result<Response<Nothing>, Status> {
        bulk()
    }

    async fn read(&self, _: Request<Streaming<pb::Bulk>>) -> Result<Response<Nothing>, Status> {
        bulk()
    }

    async fn copy(&self, _: Request<Streaming<pb::Bulk>>) -> Result<Response<Nothing>, Status> {
        bulk()
    }

    async fn confirmed(
        &self,
        request: Request<pb::ConfirmedRequest>,
    ) -> Result<Response<pb::ConfirmedResponse>, Status> {
        let request = request.into_inner();
        let node = &self.0;
        node.check_header(request.header.as_ref()).map_err(|error| status(&error))?;
        let chunk = node.chunk(request.handle).await.map_err(|error| status(&error))?;
        let inner = chunk.inner();
        let complete = inner.replica.header().map_or(0, |header| header.complete);
        if complete != request.version {
            let text = format!("chunk {} is at version {complete} here", request.handle);
            let mut error = pb::ErrorDetail::new(ErrorCode::StaleVersion, text);
            error.actual = complete;
            return Err(status(&error));
        }
        Ok(Response::new(pb::ConfirmedResponse {
            length: inner.replica.confirmed(),
            primary: inner.replica.knows_confirmed(request.version),
            serial: inner.replica.acknowledged(),
        }))
    }

    async fn outcomes(
        &self,
        request: Request<pb::OutcomesRequest>,
    ) -> Result<Response<pb::OutcomesResponse>, Status> {
        let request = request.into_inner();
        let node = &self.0;
        node.check_header(request.header.as_ref()).map_err(|error| status(&error))?;
        node.gate().check_read(node.clock.now()).map_err(|error| status(&error))?;
        let chunk = node.chunk(request.handle).await.map_err(|error| status(&error))?;
        let inner = chunk.inner();
        if inner.suspect {
            let text = "this replica may have lost mutations in a power loss";
            return Err(status(&pb::ErrorDetail::new(ErrorCode::Fenced, text)));
        }
        let outcomes = inner.replica.outcomes(request.version, request.writer);
        outcomes.map(Response::new).map_err(|error| status(&error))
    }
}
