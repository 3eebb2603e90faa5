//! RPC services: each turns a call into an event of the leading term and back.

mod calls;

mod session;

use std::sync::Arc;

use gfs_core::brain::{Request, Response};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc;
use gfs_types::ErrorCode;
use tokio::sync::watch;
use tonic::Status;
use tonic::service::{Routes, RoutesBuilder};

use crate::term::Term;

/// Largest message a service takes, in bytes: a full page of a report is below it.
const LARGEST_MESSAGE: usize = 4 << 20;

/// Who leads, as this master knows.
#[derive(Clone, Default)]
pub(crate) enum Leads {
    /// Not known yet: starting, or between terms.
    #[default]
    Nobody,
    /// Another master, at this address.
    Other(String),
    /// This one.
    Us(Arc<Term>),
}

/// What all services share.
#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) leads: watch::Receiver<Leads>,
}

impl Front {
    /// The term, if this master leads.
    fn term(&self) -> Result<Arc<Term>, Status> {
        let detail = match &*self.leads.borrow() {
            Leads::Us(term) => return Ok(Arc::clone(term)),
            Leads::Other(address) => pb::ErrorDetail {
                leader_addresses: vec![address.clone()],
                ..pb::ErrorDetail::new(
                    ErrorCode::NotLeader,
                    format!("the master at {address} leads; ask there"),
                )
            },
            Leads::Nobody => pb::ErrorDetail {
                retry_after_ms: 100,
                ..pb::ErrorDetail::new(
                    ErrorCode::NotReady,
                    "this master is starting or waits to lead; ask again",
                )
            },
        };
        Err(gfs_proto::status_of(&detail))
    }

    async fn call(&self, request: Request) -> Result<Response, Status> {
        let term = self.term()?;
        opened(term.call(request).await)
    }
}

fn opened(answer: crate::term::Answer) -> Result<Response, Status> {
    answer.map(|response| *response).map_err(|detail| gfs_proto::status_of(&detail))
}

/// The brain answered with the response to another call: a bug, told and survived.
fn mismatched() -> Status {
    gfs_proto::status_of(&pb::ErrorDetail::new(
        ErrorCode::Internal,
        "the master answered another question than was asked; this is a bug",
    ))
}

/// All services of a master.
pub(crate) fn routes(front: Front) -> Routes {
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            rpc::metadata_server::MetadataServer::new(front.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
        )
        .add_service(
            rpc::admin_server::AdminServer::new(front.clone())
                .max_decoding_message_size(LARGEST_MESSAGE),
        )
        .add_service(
            rpc::session_server::SessionServer::new(front)
                .max_decoding_message_size(LARGEST_MESSAGE),
        );
    routes.routes()
}
