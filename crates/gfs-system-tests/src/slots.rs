//! A table of slots that several overwrite, so that it is known what each must hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gfs_client::Overwriter;
use tokio::task::JoinHandle;

use crate::bench::Bench;
use crate::content::{Content, Dice};
use crate::writer::Acknowledged;

/// Bytes of a slot: not a multiple of a block.
const SLOT: u64 = 9_000;

/// What a slot holds after its write of this number; 0: before the first.
fn slot_bytes(slot: u64, number: u64) -> Bytes {
    if number == 0 {
        return vec![0; SLOT as usize].into();
    }
    Content(slot << 32 | number).bytes(0, SLOT as usize)
}

/// One who overwrites; returns what its slots hold in the end.
pub type SlotWriter = JoinHandle<anyhow::Result<Vec<u8>>>;

/// Makes a file of slots, so many for each of `writers`, who overwrite theirs at random, one at a
/// time, until told to stop. `progress` counts the writes that were acknowledged.
///
/// # Errors
/// What the client says.
pub async fn write_slots(
    bench: &Bench,
    path: &str,
    writers: u64,
    each: u64,
    progress: &Arc<Acknowledged>,
) -> anyhow::Result<Vec<SlotWriter>> {
    bench.client.create_empty(path).await?;
    bench.client.truncate(path, writers * each * SLOT).await?;
    let mut tasks = Vec::new();
    for writer in 0..writers {
        let client = bench.another_client(Duration::from_secs(60)).await?;
        let file = client.open_overwrite(path).await?;
        let progress = Arc::clone(progress);
        tasks.push(tokio::spawn(write(file, writer * each, each, progress)));
    }
    Ok(tasks)
}

async fn write(
    file: Overwriter,
    first: u64,
    count: u64,
    progress: Arc<Acknowledged>,
) -> anyhow::Result<Vec<u8>> {
    let mut dice = Dice::new(first);
    let mut last = vec![0; count as usize];
    let mut number = 0;
    while !progress.is_stopped() {
        number += 1;
        let slot = dice.below(count);
        file.write_at((first + slot) * SLOT, slot_bytes(first + slot, number)).await?;
        if let Some(last) = last.get_mut(slot as usize) {
            *last = number;
        }
        progress.add(1);
    }
    file.close().await?;
    let slots = last.iter().zip(first..).map(|(number, slot)| slot_bytes(slot, *number));
    Ok(slots.collect::<Vec<_>>().concat())
}

/// What the file must hold.
///
/// # Errors
/// What a writer failed with.
pub async fn slots_written(writers: Vec<SlotWriter>) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await??);
    }
    Ok(all)
}
