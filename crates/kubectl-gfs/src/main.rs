//! `kubectl-gfs`: files and clusters from the command line.

mod exit;
mod flags;
mod output;
mod progress;
mod size;
mod transfer;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

fn main() -> ExitCode {
    let flags = flags::Flags::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::from(exit::FAILURE);
        }
    };
    let code = runtime.block_on(async {
        tokio::select! {
            outcome = verbs::run(flags) => exit::code_of(outcome),
            // Whatever was being written is not closed: nothing half done gets its final name.
            () = exit::interrupted() => exit::INTERRUPTED,
        }
    });
    // Reads of the standard input cannot be cancelled; they must not hold up the end.
    runtime.shutdown_background();
    ExitCode::from(code)
}
