//! `gfs-demo`: see `--help`.

use std::path::PathBuf;
use std::process::{ExitCode, Termination as _};

use anyhow::Context as _;
use clap::Parser;
use gfs_demo::{Outcome, Screen};

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

/// Stores real files on a cluster of its own while servers die, and says what came of it
///
/// Starts a master and four chunkservers on this machine and stores some 500 MB of files that are
/// here anyway (the Rust toolchain, sources of crates) with three copies each. Kills and freezes
/// chunkservers while files are written and read, flips bits on a disk, removes the tree and restores
/// it, kills the master. On a second cluster, one of two data directories of a server turns read-only
/// while files are written: as root on a machine with loop devices; elsewhere it is taken away. At
/// the end a table shows each claim and what was seen. The exit code is 0 when all of them held, 1
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

    /// How often to play it while nothing but deadlines is missed
    ///
    /// For machines that others use at the same time. What is lost or wrong, or never comes, fails
    /// at once.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    tries: u32,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let mut left = flags.tries;
    loop {
        left -= 1;
        match play(&flags) {
            Ok(Some(Outcome::Late)) if left > 0 => {
                println!("\nDeadlines were missed, all else held: once more.\n");
            }
            Ok(Some(Outcome::Held)) => return ExitCode::SUCCESS,
            Ok(Some(Outcome::Late | Outcome::Failed)) => return ExitCode::FAILURE,
            Ok(None) => return ExitCode::from(130),
            Err(error) => return Err::<(), _>(error).report(),
        }
    }
}

/// Plays it once; `None` when it was interrupted.
fn play(flags: &Flags) -> anyhow::Result<Option<Outcome>> {
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
            outcome = gfs_demo::run(directory.path(), &screen) => outcome.map(Some),
            _ = tokio::signal::ctrl_c() => Ok(None),
        }
    });
    if flags.keep {
        screen.say(&format!("the cluster's files and logs are in {}", directory.path().display()));
    }
    outcome
}
