//! What an error means to a writer.

use super::Config;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, Millis};

/// What to do about a failed stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Open it again: same version, same primary.
    Reopen,
    /// Ask for another version, without this server if one is to blame.
    Recover(Option<u32>),
    /// It will never work.
    GiveUp,
}

/// The error as the writer's own type.
pub(super) fn error_of(detail: &pb::ErrorDetail) -> GfsError {
    GfsError::new(ErrorCode::from_number(detail.code), detail.message.clone())
}

/// What a primary's refusal means.
pub(super) fn remedy(detail: &pb::ErrorDetail, primary: u32) -> Remedy {
    use ErrorCode as E;
    let named = (detail.server != 0).then_some(detail.server);
    match ErrorCode::from_number(detail.code) {
        // A server in the chain is gone: the one named.
        E::Unreachable => Remedy::Recover(named),
        // Its disk cannot take it: leave it out, the primary if no other is named.
        E::DiskError | E::NoSpace => Remedy::Recover(named.or(Some(primary))),
        // The version, the role or the chunk changed hands.
        E::StaleVersion
        | E::NotPrimary
        | E::UnknownChunk
        | E::Fenced
        | E::StaleSession
        // The master knows whether the end is as we left it (a Finish whose answer was lost) or
        // somebody else's.
        | E::Sealed
        // The members are others than the location said: one of them died since.
        | E::InvalidArgument
        | E::TooFewServers
        | E::DeadlineExceeded
        | E::Internal => Remedy::Recover(None),
        // It passes, or only this stream was hit.
        E::NoCredit
        | E::ResourceExhausted
        | E::Corrupt
        | E::Resend
        | E::StaleEpoch
        | E::Unavailable
        | E::NotReady
        | E::Busy
        | E::NotLeader
        // An older stream of ours arrived after this one and took its place.
        | E::Cancelled => Remedy::Reopen,
        E::NotFound
        | E::AlreadyExists
        | E::NotADirectory
        | E::IsADirectory
        | E::NotEmpty
        | E::Conflict
        | E::OutOfRange
        | E::Unsupported
        | E::WrongCluster
        | E::WrongProtocol
        | E::WrongOffset
        | E::DataLost
        | E::OutcomeUnknown => Remedy::GiveUp,
    }
}

/// How long to wait before try number `attempts` + 1: not at all at first, then doubling.
pub(super) fn pause(config: &Config, attempts: u32) -> Millis {
    match attempts.checked_sub(1) {
        None => Millis(0),
        Some(doublings) => {
            Millis((config.pause_min.0 << doublings.min(16)).min(config.pause_max.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_server_is_to_blame() {
        let detail = |code: ErrorCode, server| pb::ErrorDetail {
            code: code as u32,
            server,
            ..Default::default()
        };
        assert_eq!(remedy(&detail(ErrorCode::Unreachable, 7), 3), Remedy::Recover(Some(7)));
        assert_eq!(remedy(&detail(ErrorCode::DiskError, 0), 3), Remedy::Recover(Some(3)));
        assert_eq!(remedy(&detail(ErrorCode::StaleVersion, 0), 3), Remedy::Recover(None));
        assert_eq!(remedy(&detail(ErrorCode::NoCredit, 0), 3), Remedy::Reopen);
        assert_eq!(remedy(&detail(ErrorCode::WrongOffset, 0), 3), Remedy::GiveUp);
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        let config = Config::default();
        let pauses: Vec<u64> = (0..9).map(|n| pause(&config, n).0).collect();
        assert_eq!(pauses, [0, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        assert_eq!(pause(&config, u32::MAX), config.pause_max);
    }
}
