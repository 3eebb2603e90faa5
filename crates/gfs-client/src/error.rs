//! Errors as an application sees them.

use std::fmt;
use std::io;

use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError};

/// Result with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, on what, and why. The text ends with what may be done about it, where something
/// may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    /// What was attempted, as a verb: `open`.
    operation: &'static str,
    /// On what: a path or a file by its inode.
    subject: String,
    message: String,
}

impl Error {
    pub(crate) fn new(
        code: ErrorCode,
        operation: &'static str,
        subject: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self { code, operation, subject: subject.to_string(), message: message.into() }
    }

    pub(crate) fn of(
        detail: pb::ErrorDetail,
        operation: &'static str,
        subject: impl fmt::Display,
    ) -> Self {
        Self::new(detail.error_code(), operation, subject, detail.message)
    }

    pub(crate) fn from_gfs(
        error: GfsError,
        operation: &'static str,
        subject: impl fmt::Display,
    ) -> Self {
        Self::new(error.code, operation, subject, error.message)
    }

    /// The stable code, to decide by.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// What was attempted.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The path (or inode) it was attempted on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }

    /// What may help, where something is known to.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        use ErrorCode as E;
        Some(match self.code {
            E::Busy => "another client writes the file: wait until it closes it",
            E::Conflict => "somebody changed it meanwhile: look again and repeat",
            E::NotLeader | E::NotReady | E::Unavailable => {
                "see whether masters and chunkservers run, and try again"
            }
            E::DeadlineExceeded => "try again, or give more time",
            E::WrongCluster => "the endpoint belongs to another cluster than the one asked for",
            E::WrongProtocol => "use a client of the cluster's release",
            E::TooFewServers => "start more chunkservers, or ask for fewer copies",
            E::NoSpace => "remove something, empty the trash, or add chunkservers",
            E::Corrupt => "try again: damaged copies are repaired from good ones",
            E::DataLost => "bring back the servers that hold the other copies, or restore a backup",
            E::OutcomeUnknown => "look whether it is there before you repeat it",
            E::Sealed => "open the file again to go on",
            _ => return None,
        })
    }

    /// Why it failed.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {} ({})", self.operation, self.subject, self.message, self.code)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        use ErrorCode as E;
        let kind = match error.code {
            E::NotFound => io::ErrorKind::NotFound,
            E::AlreadyExists => io::ErrorKind::AlreadyExists,
            E::InvalidArgument | E::OutOfRange => io::ErrorKind::InvalidInput,
            E::NotADirectory => io::ErrorKind::NotADirectory,
            E::IsADirectory => io::ErrorKind::IsADirectory,
            E::NotEmpty => io::ErrorKind::DirectoryNotEmpty,
            E::Unsupported => io::ErrorKind::Unsupported,
            E::NoSpace => io::ErrorKind::StorageFull,
            E::Busy => io::ErrorKind::ResourceBusy,
            E::DeadlineExceeded => io::ErrorKind::TimedOut,
            E::Corrupt | E::DataLost => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_on_what_and_why() {
        let error = Error::new(ErrorCode::NotFound, "open", "/a/b", "no such file");
        assert_eq!(error.to_string(), "cannot open /a/b: no such file (NOT_FOUND)");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }
}
