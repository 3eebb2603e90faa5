//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Files and health of a GFS cluster
///
/// Works as a kubectl plugin (`kubectl gfs`) and by itself. Paths in the cluster are absolute:
/// /data/file.
#[derive(Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Flags {
    /// Masters of the cluster, host:port, separated by commas
    #[arg(
        long,
        global = true,
        env = "GFS_ENDPOINT",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:7000"
    )]
    pub(crate) endpoint: Vec<String>,

    /// Longest time to wait for an answer, or for data to move, in seconds
    #[arg(
        long,
        global = true,
        env = "GFS_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    pub(crate) timeout: u64,

    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    /// No progress, no summary
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 fsck found problems, \
4 no such file or directory, 5 the cluster cannot be reached, 130 interrupted.";

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make directories
    Mkdir(Mkdir),
    /// List a directory
    Ls(Ls),
    /// Show the attributes of a file or directory
    Stat(Paths),
    /// Store files or trees
    Put(Put),
    /// Fetch files or trees
    Get(Get),
    /// Write a file to the standard output
    Cat(Cat),
    /// Rename a file or directory, or move it into another directory
    Mv(Mv),
    /// Remove files or directories: into the trash, from which they can be restored for a while
    Rm(Rm),
    /// Look at what was removed, restore it, or give it up
    Trash(Trash),
    /// Set how many copies files are kept in
    Setrep(Setrep),
    /// Show where the chunks of a file are
    Locate(OnePath),
    /// Show the health of the cluster: servers, chunks, incidents
    Status,
    /// End rollback mode, after older metadata was put back: chunks that no file has are deleted
    EndRollback(EndRollback),
    /// Have all chunks moved away from servers, so that they can be removed
    Drain(Drain),
    /// Take a drain back
    Undrain(Servers),
    /// Have copies moved until servers are equally full
    Rebalance(Rebalance),
    /// Check namespace, chunks and copies; exit code 3 when something is wrong
    Fsck(Fsck),
}

#[derive(Args)]
#[command(after_help = "Example: kubectl gfs mkdir -p /models/2026/11")]
pub(crate) struct Mkdir {
    /// Make missing parents; an existing directory is fine
    #[arg(short, long)]
    pub(crate) parents: bool,
    /// Directories to make
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Example: kubectl gfs ls -l /models")]
pub(crate) struct Ls {
    /// Type, copies, size and time as well
    #[arg(short, long)]
    pub(crate) long: bool,
    /// What lies below as well
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Directory or file
    #[arg(default_value = "/")]
    pub(crate) path: String,
}

#[derive(Args)]
pub(crate) struct Paths {
    /// Files or directories
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
pub(crate) struct OnePath {
    /// A file
    pub(crate) path: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs put model.bin /models/
  kubectl gfs put -r ./dataset /datasets/
  tar c . | kubectl gfs put - /backups/today.tar

A file appears under its name when it is complete: a failed put leaves nothing there.")]
pub(crate) struct Put {
    /// Directories with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Replace files that exist
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Files stored at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Local files or directories; - is the standard input
    #[arg(required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Where to: a directory that exists, or the new name
    pub(crate) target: String,
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs get /models/model.bin .
  kubectl gfs get -r /datasets/images ./images
  kubectl gfs get /backups/today.tar - | tar x

Every byte is checked against its checksum; a failed get leaves nothing under the final name.")]
pub(crate) struct Get {
    /// Directories with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Replace files that exist
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Files fetched at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Files or directories in the cluster
    #[arg(required = true)]
    pub(crate) sources: Vec<String>,
    /// Where to: a directory that exists, or the new name; - is the standard output
    pub(crate) target: PathBuf,
}

#[derive(Args)]
pub(crate) struct Cat {
    /// First byte
    #[arg(long, default_value_t = 0)]
    pub(crate) offset: u64,
    /// At most so many bytes
    #[arg(long)]
    pub(crate) length: Option<u64>,
    /// Files, one after another
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Example: kubectl gfs mv /models/draft /models/2026-11")]
pub(crate) struct Mv {
    /// Replace a file of that name
    #[arg(short, long)]
    pub(crate) force: bool,
    /// What to rename
    pub(crate) from: String,
    /// The new name, or a directory that exists
    pub(crate) to: String,
}

#[derive(Args)]
pub(crate) struct Rm {
    /// Directories with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Do not ask, and do not mind what is not there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// For good, not into the trash
    #[arg(long)]
    pub(crate) skip_trash: bool,
    /// Files or directories
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Trash {
    #[command(subcommand)]
    pub(crate) verb: TrashVerb,
}

#[derive(Subcommand)]
pub(crate) enum TrashVerb {
    /// Show what was removed and can be restored
    List,
    /// Bring back what was removed, whole: to the path it had, or another
    Restore(Restore),
    /// Give up what was removed, for good
    Empty(Empty),
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs trash restore /models/2026-11
  kubectl gfs trash restore 4711 --to /models/rescued

What one rm removed is restored as a whole; missing parent directories are made; a name that exists
is never replaced.")]
pub(crate) struct Restore {
    /// The path it had (of several removed from there, the last), or its inode as `list` shows it
    #[arg(value_name = "PATH|INODE")]
    pub(crate) entry: String,
    /// Where to, instead of where it was
    #[arg(long, value_name = "PATH")]
    pub(crate) to: Option<String>,
}

#[derive(Args)]
pub(crate) struct Empty {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only this: the path it had (of several removed from there, the last), or its inode
    #[arg(value_name = "PATH|INODE")]
    pub(crate) entry: Option<String>,
}

#[derive(Args)]
#[command(
    after_help = "When the metadata that the master finds is older than what chunkservers saw (a backup was
restored), the cluster goes into rollback mode: nothing is deleted, for the chunks that no file has
may be those of files made after the backup. As long as it lasts they can be saved by putting newer
metadata back. Ending it gives them up. Without --yes it only says how many there are."
)]
pub(crate) struct EndRollback {
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs setrep 2 /scratch
  kubectl gfs setrep -R 3 /models

A file gets copies, or loses some, by and by: `status` shows what is under-replicated. What a
directory says counts for files that are made in it from then on; -R sets it for all that is there.")]
pub(crate) struct Setrep {
    /// What is below directories as well
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// How many copies; no more than there are servers
    #[arg(value_name = "COPIES", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) copies: u32,
    /// Files or directories
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs drain s3
  kubectl gfs drain s3 --wait --timeout 3600

Copies are made elsewhere first, then the server's are given up: no chunk ever has fewer copies.
`status` shows how many chunks are left, and `drained: may be removed` when the server can be
stopped for good. Refused when fewer servers than a goal asks for would remain, or too little room,
unless --force: then what can be moved is moved, and `status` says what the rest waits for.")]
pub(crate) struct Drain {
    /// Also where the servers that stay are too few or too full
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Wait until the servers may be removed, as long as --timeout says
    #[arg(short, long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) which: Servers,
}

#[derive(Args)]
pub(crate) struct Servers {
    /// Servers by their number, as `status` shows them: s3 or 3
    #[arg(required = true, value_name = "SERVER", value_parser = server_number)]
    pub(crate) servers: Vec<u32>,
}

fn server_number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('s').unwrap_or(text);
    digits.parse().map_err(|_| "a server is given by its number: s3 or 3".to_owned())
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs rebalance
  kubectl gfs rebalance --status
  kubectl gfs rebalance --wait --timeout 3600

Unasked this begins when servers differ by more than 10 % of their space, after a new one joined,
say. It comes after all repair, at a limited rate, and never lowers the number of copies of a chunk
or the nodes and zones they are on. A master that takes over does not know that somebody asked.")]
pub(crate) struct Rebalance {
    /// Wait until nothing more is to be moved, as long as --timeout says
    #[arg(short, long, conflicts_with = "stop")]
    pub(crate) wait: bool,
    /// Only show how far it is
    #[arg(long, conflicts_with = "stop")]
    pub(crate) status: bool,
    /// Stop what was begun, asked for or not
    #[arg(long)]
    pub(crate) stop: bool,
}

#[derive(Args)]
pub(crate) struct Fsck {
    /// Only below this directory
    #[arg(default_value = "/")]
    pub(crate) path: String,
    /// At most so many problems shown
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Flags::command().debug_assert();
    }
}
