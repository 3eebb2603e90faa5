//! What can go wrong between two peers.

use std::sync::Arc;

use tonic::Status;

/// Result with a transport [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a bulk stream could not be opened, or ended early.
///
/// The variants are what a caller decides by: [`Connect`](Self::Connect) and
/// [`Broken`](Self::Broken) say nothing about the request (try again, or another peer),
/// [`Status`](Self::Status) is the peer's own answer, [`Protocol`](Self::Protocol) and
/// [`TooLarge`](Self::TooLarge) are mistakes that a repetition will not cure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection to the peer: it was not reached, refused, did not answer in time, or failed
    /// so recently that it is not tried again yet. Nothing was sent.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The peer, as it was asked for.
        address: Arc<str>,
        /// What the connector or the HTTP/2 handshake said.
        source: Arc<std::io::Error>,
    },
    /// Every connection allowed to this peer carries as many streams as it may. Nothing was sent.
    #[error("too many bulk streams to {address}")]
    Exhausted {
        /// The peer, as it was asked for.
        address: Arc<str>,
    },
    /// The stream ended without the peer's verdict: the connection broke or went silent, the peer
    /// reset the stream, or this end was closed. Whether messages already sent were acted upon is
    /// unknown. A sender that sees this should ask its receiver, which knows the peer's status if
    /// there was one.
    #[error("stream broken: {0}")]
    Broken(Arc<str>),
    /// The peer ended the stream with a status other than OK.
    #[error("peer answered {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// The peer sent something that is no gRPC stream of bulk messages. The stream was given up.
    #[error("protocol violation: {0}")]
    Protocol(Arc<str>),
    /// A head or payload is larger than allowed; sent by us it was refused before any of it went
    /// out, sent by the peer it was refused before any of it was taken in.
    #[error("{part} of {actual} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// `"head"`, `"payload"` or `"message"`.
        part: &'static str,
        /// Bytes announced.
        actual: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The address or path cannot be used in a request.
    #[error("invalid {0}")]
    Invalid(Arc<str>),
}

impl Error {
    pub(crate) fn broken(why: impl AsRef<str>) -> Self {
        Self::Broken(Arc::from(why.as_ref()))
    }

    pub(crate) fn protocol(why: impl AsRef<str>) -> Self {
        Self::Protocol(Arc::from(why.as_ref()))
    }

    pub(crate) fn invalid(what: impl AsRef<str>) -> Self {
        Self::Invalid(Arc::from(what.as_ref()))
    }

    /// `error` with all its causes, as hyper's own text names only the outermost.
    pub(crate) fn broken_by(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::broken(chain(error))
    }

    /// The peer's own answer, if that is what ended the stream.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the peer, or the way to it, failed, so that another peer or a later try may do.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken(_))
    }
}

/// The error as a gRPC status, for a handler that failed because of a stream of its own.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Status(status) => *status,
            Error::Connect { .. } | Error::Broken(_) => Status::unavailable(error.to_string()),
            Error::Exhausted { .. } | Error::TooLarge { .. } => {
                Status::resource_exhausted(error.to_string())
            }
            Error::Protocol(_) | Error::Invalid(_) => Status::invalid_argument(error.to_string()),
        }
    }
}

/// The texts of `error` and its causes, outermost first.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
