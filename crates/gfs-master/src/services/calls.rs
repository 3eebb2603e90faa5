//! The Metadata and Admin services: calls that the brain answers, one for one.

use gfs_core::brain::{Request as Ask, Response as Answer};
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::admin_server::Admin;
use gfs_proto::v1::rpc::metadata_server::Metadata;
use gfs_types::ErrorCode;
use tonic::{Request, Response, Status};

use super::{Front, mismatched};

/// Implements a service. `served` calls have the same name in the brain (a function after `with`
/// completes the answer); `later` ones belong to a later release.
macro_rules! service {
    ($service:ident
     served { $($method:ident $name:ident $request:ident $response:ident $(with $complete:ident)?;)* }
     later { $($later:ident $later_request:ident $later_response:ident $what:literal;)* }) => {
        #[tonic::async_trait]
        impl $service for Front {
            $(async fn $method(
                &self,
                request: Request<pb::$request>,
            ) -> Result<Response<pb::$response>, Status> {
                match self.call(Ask::$name(request.into_inner())).await? {
                    Answer::$name(response) => {
                        $(let response = $complete(response);)?
                        Ok(Response::new(response))
                    }
                    _ => Err(mismatched()),
                }
            })*
            $(async fn $later(
                &self,
                _: Request<pb::$later_request>,
            ) -> Result<Response<pb::$later_response>, Status> {
                Err(unsupported($what))
            })*
        }
    };
}

service! { Metadata
    served {
        connect Connect ConnectRequest ConnectResponse;
        stat Stat StatRequest StatResponse;
        list List ListRequest ListResponse;
        mkdir Mkdir MkdirRequest MkdirResponse;
        create Create CreateRequest CreateResponse;
        open Open OpenRequest OpenResponse;
        locate Locate LocateRequest LocateResponse;
        allocate Allocate AllocateRequest AllocateResponse;
        recover Recover RecoverRequest RecoverResponse;
        sync Sync SyncRequest SyncResponse;
        close Close CloseRequest CloseResponse;
        rename Rename RenameRequest RenameResponse;
        remove Remove RemoveRequest RemoveResponse;
        list_trash ListTrash ListTrashRequest ListTrashResponse;
        restore_trash RestoreTrash RestoreTrashRequest RestoreTrashResponse;
        empty_trash EmptyTrash EmptyTrashRequest EmptyTrashResponse;
        set_attributes SetAttributes SetAttributesRequest SetAttributesResponse;
        report_damage ReportDamage ReportDamageRequest ReportDamageResponse;
    }
    later {
        lease LeaseRequest LeaseResponse "overwriting";
        truncate TruncateRequest TruncateResponse "truncation";
    }
}

service! { Admin
    served {
        status Status StatusRequest StatusResponse with with_memory;
        list_servers ListServers ListServersRequest ListServersResponse;
        fsck Fsck FsckRequest FsckResponse;
        set_pod_states SetPodStates SetPodStatesRequest SetPodStatesResponse;
        set_drain SetDrain SetDrainRequest SetDrainResponse;
        rebalance Rebalance RebalanceRequest RebalanceResponse;
        set_maintenance SetMaintenance SetMaintenanceRequest SetMaintenanceResponse;
        end_rollback EndRollback EndRollbackRequest EndRollbackResponse;
    }
    later {
    }
}

/// The brain has no notion of its process.
fn with_memory(mut status: pb::StatusResponse) -> pb::StatusResponse {
    status.memory_bytes = gfs_process::resident_bytes().unwrap_or(0);
    status
}

fn unsupported(what: &str) -> Status {
    gfs_proto::status_of(&pb::ErrorDetail::new(
        ErrorCode::Unsupported,
        format!("{what} is not supported by this release"),
    ))
}
