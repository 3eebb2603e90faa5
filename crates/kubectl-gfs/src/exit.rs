//! Exit codes. Documented in `--help`; scripts rely on them.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; the text says what and why |
//! | 2 | wrong usage |
//! | 3 | `fsck` found problems |
//! | 4 | no such file or directory |
//! | 5 | the cluster cannot be reached |
//! | 130 | interrupted |

use gfs_client::Error;
use gfs_types::ErrorCode;

/// Failed.
pub(crate) const FAILURE: u8 = 1;
/// `fsck` found problems.
pub(crate) const PROBLEMS: u8 = 3;
/// No such file or directory.
pub(crate) const NOT_FOUND: u8 = 4;
/// The cluster cannot be reached.
pub(crate) const UNREACHABLE: u8 = 5;
/// Ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints an error, if there was one, and chooses the code.
pub(crate) fn code_of(outcome: anyhow::Result<u8>) -> u8 {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if broken_pipe(&error) {
        // Whoever read our output has enough, as with `| head`.
        return 0;
    }
    eprintln!("error: {error:#}");
    match error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::code) {
        Some(ErrorCode::NotFound) => NOT_FOUND,
        Some(ErrorCode::Unavailable | ErrorCode::NotReady | ErrorCode::NotLeader) => UNREACHABLE,
        _ => FAILURE,
    }
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Completes at the first Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
