//! `make bench`: what GFS reaches on this machine, beside raw baselines measured by the same program
//! in the same run.

mod append;
mod cluster;
mod data;
mod empty;
mod metadata;
mod overwrite;
mod raw;
mod recovery;
mod report;
mod scrub;
mod usage;
mod warmth;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::cluster::Bench;
use crate::raw::RawChain;
use crate::report::Row;
use crate::warmth::Warmth;

#[global_allocator]
static ALLOCATOR: gfs_transport::memory::Allocator = gfs_transport::memory::Allocator;

/// Measures a GFS cluster on this machine beside raw baselines taken in the same run
///
/// Figures of one run can be compared with each other; absolute ones of different machines, or of
/// one machine on different days, hardly. Ends with 1 when a figure that is acceptance was missed.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Where files are put; needs 15 GB
    #[arg(long, value_name = "DIR", default_value = ".cache/bench")]
    directory: PathBuf,

    /// Where the figures are written as JSON
    #[arg(long, value_name = "FILE", default_value = ".cache/bench.json")]
    json: PathBuf,

    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,

    /// Rounds of each sequential figure; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How many clients write and read at once, in turn
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    clients: Vec<usize>,

    /// Bytes written and read in each round, in MiB
    #[arg(long, default_value_t = 1024)]
    size: u64,

    /// Do not touch memory first: where a host hands out memory lazily, the figures then measure that
    #[arg(long)]
    cold: bool,

    #[command(subcommand)]
    command: Option<Internal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sequential read and write
    Data,
    /// Records appended by many to one file
    Append,
    /// Small overwrites and reads at random places
    Random,
    /// Creates, stats, memory of the master
    Metadata,
    /// Memory of the servers under load
    Memory,
    /// Servers that die or hang
    Recovery,
    /// Background verification of what is stored
    Scrub,
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
    /// A server of empty calls
    #[command(hide = true)]
    EmptyServer,
    /// Touches memory and ends
    #[command(hide = true)]
    TouchMemory {
        /// How much
        bytes: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    match flags.command {
        Some(Internal::RawServer { directory, next }) => {
            raw::serve(directory, next)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Internal::TouchMemory { bytes }) => {
            warmth::touch_here(bytes);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Internal::EmptyServer) | None => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(Internal::EmptyServer) = flags.command {
        runtime.block_on(empty::serve())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = runtime.block_on(measure(&flags))?;
    print!("{}", report::table(&rows));
    if let Some(parent) = flags.json.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&flags.json, serde_json::to_vec_pretty(&rows)?)
        .with_context(|| format!("writing {}", flags.json.display()))?;
    let missed = rows.iter().any(|row| row.acceptance && row.met() == Some(false));
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(flags: &Flags) -> anyhow::Result<Vec<Row>> {
    let directory = &flags.directory;
    if directory.exists() {
        std::fs::remove_dir_all(directory)
            .with_context(|| format!("removing what is left in {}", directory.display()))?;
    }
    std::fs::create_dir_all(directory)?;
    let outcome = parts(flags, directory).await;
    std::fs::remove_dir_all(directory)?;
    outcome
}

async fn parts(flags: &Flags, directory: &Path) -> anyhow::Result<Vec<Row>> {
    let wanted = |part| flags.only.is_empty() || flags.only.contains(&part);
    let bytes = flags.size << 20;
    let warmth = if flags.cold { Warmth::Cold } else { Warmth::Warm };
    let mut rows = Vec::new();
    let together = [Part::Data, Part::Append, Part::Random, Part::Metadata, Part::Memory];
    if together.into_iter().any(wanted) {
        let bench = Bench::start(directory, 4).await?;
        if wanted(Part::Data) {
            eprintln!("sequential write of fresh files …");
            data::fresh(&bench, directory, bytes, &mut rows).await?;
            eprintln!("sequential write and read …");
            let chain = RawChain::start(directory)?;
            for count in &flags.clients {
                let load = data::Load { clients: *count, bytes, rounds: flags.rounds, warmth };
                data::sequential(&bench, &chain, load, &mut rows).await?;
            }
        }
        if wanted(Part::Append) {
            eprintln!("records appended to one file …");
            append::large(&bench, bytes, flags.rounds, warmth, &mut rows).await?;
            append::small(&bench, &mut rows).await?;
        }
        if wanted(Part::Random) {
            eprintln!("random overwrites and reads …");
            overwrite::random(&bench, &mut rows).await?;
        }
        if wanted(Part::Memory) {
            eprintln!("memory under 16 writers …");
            data::memory_under_load(&bench, &mut rows).await?;
        }
        if wanted(Part::Metadata) {
            eprintln!("creates and stats …");
            metadata::stats(&bench, &mut rows).await?;
            metadata::creates(&bench, &mut rows).await?;
        }
        drop(bench);
        std::fs::remove_dir_all(directory.join("cluster-4"))?;
    }
    if wanted(Part::Metadata) {
        eprintln!("many small files …");
        metadata::many_files(directory, &mut rows).await?;
    }
    if wanted(Part::Recovery) {
        eprintln!("servers that die or hang …");
        recovery::losses(directory, warmth, &mut rows).await?;
    }
    if wanted(Part::Scrub) {
        eprintln!("background verification …");
        scrub::unlimited(directory, &mut rows).await?;
        scrub::beside_readers(directory, flags.rounds, &mut rows).await?;
    }
    Ok(rows)
}
