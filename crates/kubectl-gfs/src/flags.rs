//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::size;

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
    /// Write the end of a file to the standard output, and what is added to it
    Tail(Tail),
    /// Append records to a file, beside others who do
    Append(Append),
    /// Cut a file, or extend it by zeros that take no space
    Truncate(Truncate),
    /// Rename a file or directory, or move it into another directory
    Mv(Mv),
    /// Remove files or directories: into the trash, from which they can be restored for a while
    Rm(Rm),
    /// Look at what was removed, restore it, or give it up
    Trash(Trash),
    /// Show where the chunks of a file are
    Locate(OnePath),
    /// Show the health of the cluster: servers, chunks, incidents
    Status,
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
    /// What the end of a put stands for, also of what is written to the file later
    #[arg(long, value_enum, default_value_t = Level::Default)]
    pub(crate) durability: Level,
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
#[command(after_help = "Examples:
  kubectl gfs append /logs/today report.txt
  ./worker | kubectl gfs append --lines /logs/today

Each record lies in the file once, whole and in one piece, however many append at the same time, and
whatever fails meanwhile; records of one append are in its order, those of others may lie between.
Without --lines the input is cut into records of --record bytes. A record has at most a quarter of a
chunk (16M, unless the cluster was made with other chunks).")]
pub(crate) struct Append {
    /// Each line is a record, with its end
    #[arg(short, long)]
    pub(crate) lines: bool,
    /// Bytes of a record, as 64K or 1M
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size::parse, conflicts_with = "lines")]
    pub(crate) record: u64,
    /// The file must exist; otherwise it is made
    #[arg(long)]
    pub(crate) no_create: bool,
    /// Make missing directories
    #[arg(short, long)]
    pub(crate) parents: bool,
    /// What the end of an append stands for
    #[arg(long, value_enum, default_value_t = Level::Default)]
    pub(crate) durability: Level,
    /// A file in the cluster
    pub(crate) path: String,
    /// Local files, one after another; none, or -: the standard input
    pub(crate) sources: Vec<PathBuf>,
}

/// What an acknowledgement stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// As the file or directory says.
    Default,
    /// On all replicas: survives the death of any process.
    Replicated,
    /// On the disks of all replicas: survives the loss of power.
    Disk,
}

impl From<Level> for gfs_client::Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Default => Self::Default,
            Level::Replicated => Self::Replicated,
            Level::Disk => Self::Disk,
        }
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  kubectl gfs truncate /logs/today 10M
  kubectl gfs truncate /tables/new 1T

What is cut off is gone, not in the trash. Refused while somebody writes or appends to the file.")]
pub(crate) struct Truncate {
    /// A file
    pub(crate) path: String,
    /// The new length in bytes, or as 64K, 10M, 1G, 2T (multiples of 1024)
    #[arg(value_parser = size::parse)]
    pub(crate) length: u64,
}

#[derive(Args)]
#[command(after_help = "Example: kubectl gfs tail -f /logs/today")]
pub(crate) struct Tail {
    /// Go on with what is added, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin so many bytes before the end, as 100, 64K or 10M
    #[arg(short = 'c', long, value_name = "SIZE", default_value = "4K", value_parser = size::parse)]
    pub(crate) bytes: u64,
    /// A file
    pub(crate) path: String,
}

#[derive(Args)]
pub(crate) struct Cat {
    /// At the end of the last file, go on with what is added to it, until interrupted
    #[arg(short, long, conflicts_with = "length")]
    pub(crate) follow: bool,
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
