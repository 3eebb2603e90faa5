//! Errors as they cross the wire: a stable machine code, and a text for people.

use std::fmt;

/// Result with a [`GfsError`].
pub type Result<T, E = GfsError> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $retry:literal;)*) => {
        /// What went wrong, for machines. Numbers and names are stable: a released one never
        /// changes its meaning and is never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code with this number; an unknown one (a newer peer's) reads as `Internal`.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$name,)*
                    _ => Self::Internal,
                }
            }

            /// Its stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the same call may succeed later or elsewhere, unchanged.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }
        }
    };
}

codes! {
    /// A bug or an unknown code of a newer peer.
    Internal = 1, "INTERNAL", false;
    /// The request is malformed; it changed nothing.
    InvalidArgument = 2, "INVALID_ARGUMENT", false;
    /// No such file or directory.
    NotFound = 3, "NOT_FOUND", false;
    /// The name is taken.
    AlreadyExists = 4, "ALREADY_EXISTS", false;
    /// A directory was needed.
    NotADirectory = 5, "NOT_A_DIRECTORY", false;
    /// A file was needed.
    IsADirectory = 6, "IS_A_DIRECTORY", false;
    /// The directory has entries.
    NotEmpty = 7, "NOT_EMPTY", false;
    /// The name is now bound to another inode than the caller saw.
    Conflict = 8, "CONFLICT", false;
    /// Another writer holds the file.
    Busy = 9, "BUSY", true;
    /// An offset or size beyond what is possible.
    OutOfRange = 10, "OUT_OF_RANGE", false;
    /// The cluster cannot do this yet or at this level.
    Unsupported = 11, "UNSUPPORTED", false;

    /// Another master leads; the detail lists addresses.
    NotLeader = 20, "NOT_LEADER", true;
    /// The master is starting, or its store is away.
    NotReady = 21, "NOT_READY", true;
    /// The request names another cluster.
    WrongCluster = 22, "WRONG_CLUSTER", false;
    /// The peer speaks another protocol version.
    WrongProtocol = 23, "WRONG_PROTOCOL", false;
    /// The epoch is lower than one already seen.
    StaleEpoch = 24, "STALE_EPOCH", false;
    /// The session ended; register again.
    StaleSession = 25, "STALE_SESSION", true;

    /// No such chunk here.
    UnknownChunk = 40, "UNKNOWN_CHUNK", true;
    /// The chunk is at another version; ask the master for locations.
    StaleVersion = 41, "STALE_VERSION", true;
    /// This server is not the chunk's primary at this version.
    NotPrimary = 42, "NOT_PRIMARY", true;
    /// A member of the chain cannot be reached; the detail names it.
    Unreachable = 43, "UNREACHABLE", true;
    /// A replica no longer holds the slice: push it again.
    Resend = 44, "RESEND", true;
    /// No credit for more pushed data now.
    NoCredit = 45, "NO_CREDIT", true;
    /// The chunk accepts no more mutations.
    Sealed = 46, "SEALED", false;
    /// The mutation does not begin where the chunk ends.
    WrongOffset = 47, "WRONG_OFFSET", false;
    /// Bytes do not match their checksum.
    Corrupt = 48, "CORRUPT", true;
    /// The replica may not answer now: it has not heard from the leader.
    Fenced = 49, "FENCED", true;

    /// Too few servers for the replication goal.
    TooFewServers = 60, "TOO_FEW_SERVERS", true;
    /// No space on the servers or in the metadata store.
    NoSpace = 61, "NO_SPACE", true;
    /// A disk error on a server.
    DiskError = 62, "DISK_ERROR", true;
    /// All copies of the data are gone or damaged.
    DataLost = 63, "DATA_LOST", false;

    /// The caller's deadline passed; the outcome may be unknown.
    DeadlineExceeded = 80, "DEADLINE_EXCEEDED", true;
    /// The peer could not be reached or the connection broke.
    Unavailable = 81, "UNAVAILABLE", true;
    /// The outcome of the operation cannot be told any more.
    OutcomeUnknown = 82, "OUTCOME_UNKNOWN", false;
    /// Over a limit of size or number; the text names it.
    ResourceExhausted = 83, "RESOURCE_EXHAUSTED", true;
    /// The operation was cancelled by its caller.
    Cancelled = 84, "CANCELLED", false;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error with its code and a text that says what failed, on what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct GfsError {
    /// For machines.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl GfsError {
    /// An error of this code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// `InvalidArgument` with this text.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }
}

impl From<crate::PathError> for GfsError {
    fn from(error: crate::PathError) -> Self {
        Self::invalid(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(*code as u32), *code);
            assert_eq!(ErrorCode::ALL.iter().filter(|c| c.name() == code.name()).count(), 1);
        }
        assert_eq!(ErrorCode::from_number(9999), ErrorCode::Internal);
    }
}
