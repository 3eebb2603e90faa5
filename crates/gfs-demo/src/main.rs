//! `gfs-demo`: see `--help`.

use std::path::PathBuf;
use std::process::{ExitCode, Termination as _};

use anyhow::Context as _;
use clap::Parser;
use gfs_demo::Screen;

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

/// Stores real files on a cluster of its own while servers die, and says what came of it
///
/// Starts a master and four chunkservers on this machine and stores some 500 MB of files that are
/// here anyway (the Rust toolchain, sources of crates) with three copies each. Kills and freezes
/// chunkservers while files are written and read, flips bits on a disk, kills the master. At the
/// end a table shows each claim and what was seen. The exit code is 0 when all of them held, 1
/// when one did not, 130 when interrupted.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where the cluster's files go, in a directory of their own that is removed at the end
    ///
    /// About 6 GB must be free.
    #[arg(long, value_name = "DIR", default_value = ".cache")]
    data: PathBuf,

    /// Leave the cluster's files and logs behind, and say where
    #[arg(long)]
    keep: bool,

    /// Tell what came too late, but do not fail for it
    ///
    /// For machines that others use at the same time. Lost or wrong data, and what never comes,
    /// fail as always.
    #[arg(long)]
    tell_times: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match play(&flags) {
        Ok(code) => code,
        Err(error) => Err::<(), _>(error).report(),
    }
}

fn play(flags: &Flags) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&flags.data)
        .with_context(|| format!("creating {}", flags.data.display()))?;
    let directory = tempfile::Builder::new()
        .prefix("demo-")
        .disable_cleanup(flags.keep)
        .tempdir_in(&flags.data)
        .with_context(|| format!("creating a directory in {}", flags.data.display()))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no threads")?;
    let screen = Screen::new();
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = gfs_demo::run(directory.path(), &screen, flags.tell_times) => outcome.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    });
    if flags.keep {
        screen.say(&format!("the cluster's files and logs are in {}", directory.path().display()));
    }
    Ok(match outcome? {
        Some(0) => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(130),
    })
}
