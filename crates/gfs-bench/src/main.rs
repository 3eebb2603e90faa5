//! `make bench`.

mod raw;
mod report;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures a GFS cluster on this machine beside raw baselines taken in the same run
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    command: Option<Internal>,
}

#[derive(Subcommand)]
enum Internal {
    /// A server of the raw baseline
    #[command(hide = true)]
    RawServer {
        /// Where its files are
        directory: PathBuf,
        /// The next of the chain
        next: Option<SocketAddr>,
    },
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    match flags.command {
        Some(Internal::RawServer { directory, next }) => raw::serve(directory, next),
        None => {
            let home = tempfile::tempdir()?;
            let chain = raw::RawChain::start(home.path())?;
            for _ in 0..3 {
                println!("write {:?}", chain.write(1, 1 << 30)?);
                println!("read {:?}", chain.read(1, 1 << 30)?);
            }
            println!("write4 {:?}", chain.write(4, 256 << 20)?);
            println!("read4 {:?}", chain.read(4, 256 << 20)?);
            Ok(())
        }
    }
}
