//! Figures of the chunk store alone: start-up by scan and by log, sequential writes and reads, beside the plain
//! system calls for the same bytes. Run with `--release`, a directory, and a number of chunks:
//!
//! ```text
//! cargo run --release -p gfs-chunkserver --example store_figures -- DIR 100000
//! ```

use anyhow::{Context, Result};
use bytes::Bytes;
use gfs_chunkserver::files::{ChunkFiles, OsFiles};
use gfs_chunkserver::store::{BootId, Cut, NewChunk, Part, Place, Volume, VolumeOptions, Write};
use gfs_types::{
    BlockSums, ChunkHandle, ClusterId, Geometry, MAX_SLICE, Millis, Serial, ServerUuid, Version,
    VolumeUuid,
};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DATA_CHUNKS: u64 = 8;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().context("which directory?")?;
    let dir = Path::new(&dir);
    let chunks: u64 = arguments.next().context("how many chunks?")?.parse()?;
    let options = VolumeOptions {
        cluster: Some(ClusterId(1)),
        new_server: ServerUuid(1),
        new_volume: VolumeUuid(1),
        geometry: Geometry::default(),
        boot: BootId([1; 16]),
        max_open: 1024,
    };
    let volume = Volume::open(Arc::new(OsFiles), &dir.join("volume"), options)?;
    for round in ["fresh", "warm"] {
        data(&volume, round)?;
    }
    baseline(dir)?;
    small(&volume)?;

    let begin = Instant::now();
    for handle in 0..chunks {
        volume.create(chunk(1_000_000 + handle))?;
    }
    report("create", chunks, "chunks", begin.elapsed());
    drop(volume);
    let mut volume = Volume::open(Arc::new(OsFiles), &dir.join("volume"), options)?;
    for threads in [1, 2] {
        let begin = Instant::now();
        let found = volume.scan(threads)?.entries.len() as u64;
        report(&format!("scan, {threads} threads"), found, "chunks", begin.elapsed());
    }
    let begin = Instant::now();
    let unclean = volume.close_all();
    report(&format!("close, {unclean} unclean"), chunks, "chunks", begin.elapsed());
    for threads in [1, 2] {
        let begin = Instant::now();
        let logged = volume.write_start_log()?;
        report("write start-up log", logged, "chunks", begin.elapsed());
        drop(volume);
        volume = Volume::open(Arc::new(OsFiles), &dir.join("volume"), options)?;
        let begin = Instant::now();
        let (found, log) = volume.start(threads)?;
        let what = format!("start, log {}, {threads} thr.", log.name());
        report(&what, found.entries.len() as u64, "chunks", begin.elapsed());
    }
    let begin = Instant::now();
    for handle in 0..chunks {
        volume.delete(ChunkHandle(1_000_000 + handle), Version(1))?;
    }
    report("delete", chunks, "chunks", begin.elapsed());
    Ok(())
}

fn report(what: &str, count: u64, unit: &str, took: Duration) {
    let seconds = took.as_secs_f64();
    println!(
        "{what:<28} {count:>8} {unit:<8} {seconds:>8.3} s {:>10.0} /s",
        count as f64 / seconds
    );
}

fn chunk(handle: u64) -> NewChunk {
    let (promised, complete) = (Version(1), Version(1));
    let handle = ChunkHandle(handle);
    let (place, incomplete) = (Place::default(), false);
    NewChunk { handle, place, promised, complete, incomplete, length: 0, durable: false }
}

fn slice() -> Vec<Bytes> {
    let slice: Vec<u8> =
        (0..MAX_SLICE).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![Bytes::from(slice)]
}

fn data(volume: &Volume, round: &str) -> Result<()> {
    let pieces = slice();
    let slices = u64::from(Geometry::default().chunk_size() / MAX_SLICE);
    let begin = Instant::now();
    for handle in 1..=DATA_CHUNKS {
        volume.create(chunk(handle))?;
        for serial in 1..=slices {
            let offset = (serial - 1) as u32 * MAX_SLICE;
            let sums = &BlockSums::of(offset, &pieces); // what a server does on receiving
            let (version, serial) = (Version(1), Serial(serial));
            let parts = &[Part { pieces: &pieces, sums }];
            let write = Write { version, serial, offset, parts, cut: Cut::Chunk, writer: None };
            volume.write(ChunkHandle(handle), &write)?;
        }
    }
    report(&format!("write + CRC, {round}"), DATA_CHUNKS * slices, "MiB", begin.elapsed());
    let begin = Instant::now();
    for handle in 1..=DATA_CHUNKS {
        for slice in 0..slices {
            let read = volume.read(ChunkHandle(handle), slice as u32 * MAX_SLICE, MAX_SLICE)?;
            anyhow::ensure!(read.data.len() == MAX_SLICE as usize);
        }
    }
    report(&format!("verified read, {round}"), DATA_CHUNKS * slices, "MiB", begin.elapsed());
    let begin = Instant::now();
    volume.close_all();
    report(&format!("close, {round}"), DATA_CHUNKS, "chunks", begin.elapsed());
    for handle in 1..=DATA_CHUNKS {
        volume.delete(ChunkHandle(handle), Version(1))?;
    }
    Ok(())
}

/// Many chunks of 4 KiB, then what it takes to make them clean.
fn small(volume: &Volume) -> Result<()> {
    const COUNT: u64 = 2_000;
    let pieces = vec![Bytes::from_static(&[7; 4096])];
    let sums = &BlockSums::of(0, &pieces);
    let begin = Instant::now();
    for handle in 1..=COUNT {
        volume.create(chunk(handle))?;
        let (version, serial) = (Version(1), Serial(1));
        let parts = &[Part { pieces: &pieces, sums }];
        let write = Write { version, serial, offset: 0, parts, cut: Cut::Chunk, writer: None };
        volume.write(ChunkHandle(handle), &write)?;
    }
    report("create and write 4 KiB", COUNT, "chunks", begin.elapsed());
    let begin = Instant::now();
    volume.background_sync(Millis(0));
    let cleaned = volume.background_sync(Millis(2_000)).cleaned;
    report("make clean", cleaned, "chunks", begin.elapsed());
    for handle in 1..=COUNT {
        volume.delete(ChunkHandle(handle), Version(1))?;
    }
    Ok(())
}

/// The same bytes by plain system calls: what the store could reach at best.
fn baseline(dir: &Path) -> Result<()> {
    let pieces = slice();
    let slices = u64::from(Geometry::default().chunk_size() / MAX_SLICE);
    let files: Vec<_> = (0..DATA_CHUNKS)
        .map(|n| OsFiles.create(&dir.join(format!("plain-{n}"))))
        .collect::<Result<_, _>>()?;
    let begin = Instant::now();
    for file in &files {
        for slice in 0..slices {
            std::hint::black_box(BlockSums::of(0, &pieces));
            file.write_pieces(&pieces, slice * u64::from(MAX_SLICE))?;
        }
    }
    report("plain pwritev + CRC", DATA_CHUNKS * slices, "MiB", begin.elapsed());
    let mut buffer = vec![0; MAX_SLICE as usize];
    let begin = Instant::now();
    for file in &files {
        for slice in 0..slices {
            file.read(&mut buffer, slice * u64::from(MAX_SLICE))?;
            std::hint::black_box(gfs_types::Crc::of(&buffer));
        }
    }
    report("plain pread + CRC", DATA_CHUNKS * slices, "MiB", begin.elapsed());
    for n in 0..DATA_CHUNKS {
        OsFiles.unlink(&dir.join(format!("plain-{n}")))?;
    }
    Ok(())
}
