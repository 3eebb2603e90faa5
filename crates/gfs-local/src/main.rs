//! `gfs-local`: a whole GFS cluster on one machine.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A whole GFS cluster on one machine: a master and chunkservers, as child processes
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster, and run it until Ctrl-C
    ///
    /// A directory that holds a cluster is taken up again, with all files in it.
    Up(Box<Up>),
    /// Show the processes of the cluster in a directory; fails unless all are ready
    Status(Place),
    /// End the cluster that runs in a directory, and wait until it is gone
    Down(Place),
}

#[derive(Args)]
struct Place {
    /// The cluster's directory
    #[arg(long, env = "GFS_LOCAL_DATA", value_name = "DIR")]
    data: PathBuf,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    place: Place,

    /// How many chunkservers to run
    #[arg(long, value_name = "N", default_value_t = 4)]
    servers: usize,

    /// Data directories of each chunkserver
    #[arg(long, value_name = "N", default_value_t = 1)]
    dirs: usize,

    /// Spread the servers over this many zones
    #[arg(long, value_name = "N", default_value_t = 1)]
    zones: usize,

    /// Where all processes listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    address: std::net::Ipv4Addr,

    /// The master's port; the ports behind it are used too, two for each process
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    master_port: u16,

    /// Bytes of a chunk, for a new cluster: a multiple of 65536
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u64>,

    /// Start processes again that end by themselves
    #[arg(long)]
    restart: bool,

    /// The directory of gfs-master and gfs-chunkserver; that of this program if not given
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// The processes' log filter
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().command {
        Command::Up(up) => commands::up(*up),
        Command::Status(place) => commands::status(&place.data),
        Command::Down(place) => commands::down(&place.data),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gfs-local: {error:#}");
            ExitCode::FAILURE
        }
    }
}
