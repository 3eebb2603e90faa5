//! Errors as gRPC statuses: the status code is for middleboxes and stock clients, the details (one
//! [`ErrorDetail`], bare) are what GFS itself reads.

use gfs_types::ErrorCode;
use prost::Message as _;
use tonic::{Code, Status};

use crate::v1::ErrorDetail;

/// The status that carries `detail`.
#[must_use]
pub fn status_of(detail: &ErrorDetail) -> Status {
    use ErrorCode as E;
    let code = match detail.error_code() {
        E::Internal | E::DiskError => Code::Internal,
        E::InvalidArgument | E::IsADirectory | E::NotADirectory => Code::InvalidArgument,
        E::NotFound | E::UnknownChunk => Code::NotFound,
        E::AlreadyExists => Code::AlreadyExists,
        E::NotEmpty
        | E::Sealed
        | E::WrongOffset
        | E::WrongCluster
        | E::WrongProtocol
        | E::StaleVersion
        | E::StaleEpoch
        | E::StaleSession
        | E::NotPrimary => Code::FailedPrecondition,
        E::Conflict | E::Busy | E::Resend => Code::Aborted,
        E::OutOfRange => Code::OutOfRange,
        E::Unsupported => Code::Unimplemented,
        E::NotLeader | E::NotReady | E::Unreachable | E::Fenced | E::Unavailable => {
            Code::Unavailable
        }
        E::NoCredit | E::TooFewServers | E::NoSpace | E::ResourceExhausted => {
            Code::ResourceExhausted
        }
        E::Corrupt | E::DataLost => Code::DataLoss,
        E::DeadlineExceeded => Code::DeadlineExceeded,
        E::OutcomeUnknown => Code::Unknown,
        E::Cancelled => Code::Cancelled,
    };
    Status::with_details(code, detail.message.clone(), detail.encode_to_vec().into())
}

/// What a status says. One without our details comes from a proxy or the transport: it is read by
/// its gRPC code, and what may be tried again is `Unavailable`.
#[must_use]
pub fn detail_of(status: &Status) -> ErrorDetail {
    if !status.details().is_empty()
        && let Ok(detail) = ErrorDetail::decode(status.details())
        && detail.code != 0
    {
        return detail;
    }
    let code = match status.code() {
        Code::InvalidArgument => ErrorCode::InvalidArgument,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::Unimplemented => ErrorCode::Unsupported,
        Code::Cancelled | Code::Unavailable | Code::Unknown | Code::Aborted => {
            ErrorCode::Unavailable
        }
        Code::ResourceExhausted => ErrorCode::ResourceExhausted,
        _ => ErrorCode::Internal,
    };
    ErrorDetail::new(code, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in ErrorCode::ALL {
            let detail = ErrorDetail { server: 7, ..ErrorDetail::new(*code, "text") };
            assert_eq!(detail_of(&status_of(&detail)), detail);
        }
    }

    #[test]
    fn foreign_statuses_are_read_by_their_code() {
        assert_eq!(detail_of(&Status::unavailable("proxy")).error_code(), ErrorCode::Unavailable);
        let garbage = Status::with_details(Code::Internal, "x", vec![0xff, 0xff].into());
        assert_eq!(detail_of(&garbage).error_code(), ErrorCode::Internal);
    }
}
