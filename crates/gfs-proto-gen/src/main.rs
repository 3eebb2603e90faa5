//! Compiles `proto/gfs/v1/*.proto` and writes, or with `--check` compares, the Rust code that is
//! checked in under `crates/gfs-proto/src/generated`.
//!
//! The code is checked in, and not made by a build script, so that a reader finds it, a review sees
//! a change of the protocol, and nobody who only builds needs the generator.

mod generate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

/// Generates the Rust code of the protocol.
#[derive(Parser)]
struct Flags {
    /// The directory that holds `gfs/v1/*.proto`.
    #[arg(long, default_value = "proto")]
    proto: PathBuf,

    /// The directory the generated files are written to.
    #[arg(long, default_value = "crates/gfs-proto/src/generated")]
    out: PathBuf,

    /// Write nothing; fail when what is there differs from what would be generated.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let files = generate::generate(&flags.proto)?;
    if !flags.check {
        fs::create_dir_all(&flags.out)?;
        for file in &files {
            write_if_changed(&flags.out.join(file.name), &file.text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut drifted = false;
    for file in &files {
        let path = flags.out.join(file.name);
        if fs::read_to_string(&path).ok().as_deref() != Some(&file.text) {
            eprintln!("{} is not what the .proto files give: run `make generate`", path.display());
            drifted = true;
        }
    }
    Ok(if drifted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Leaves an unchanged file alone, so that nothing is rebuilt for it.
fn write_if_changed(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).ok().as_deref() == Some(text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
