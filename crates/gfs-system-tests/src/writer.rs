//! A writer that knows, at every moment, how much was acknowledged to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gfs_client::{Client, CreateOptions};
use tokio::io::AsyncWriteExt as _;

use crate::content::{Content, Dice};

/// How far a writer is. Shared with whoever kills servers meanwhile.
#[derive(Debug, Default)]
pub struct Acknowledged {
    bytes: AtomicU64,
    handed_in: AtomicU64,
    stop: AtomicBool,
}

impl Acknowledged {
    /// Bytes from the begin of the file on that were acknowledged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Bytes that were handed in; some may not have been acknowledged.
    #[must_use]
    pub fn handed_in(&self) -> u64 {
        self.handed_in.load(Ordering::SeqCst)
    }

    /// Counts something else than a file's bytes.
    pub fn add(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::SeqCst);
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Has the writer close the file at the next opportunity.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Makes a file and writes `length` bytes of `content` into it, or until it is told to stop, in
/// pieces of random sizes up to 256 KiB, flushing after each few; then closes it. Returns its
/// length.
///
/// # Errors
/// What the client says.
pub async fn write_file(
    client: Client,
    path: String,
    content: Content,
    length: u64,
    copies: u32,
    progress: Arc<Acknowledged>,
) -> anyhow::Result<u64> {
    let mut dice = Dice::new(content.0);
    let options = CreateOptions { copies, ..CreateOptions::default() };
    let mut file = client.create_with(&path, options).await?;
    let mut position = 0;
    while position < length && !progress.stop.load(Ordering::SeqCst) {
        for _ in 0..=dice.below(4) {
            let piece = (1 + dice.below(256 << 10)).min(length - position);
            file.write_bytes(content.bytes(position, piece as usize)).await?;
            position += piece;
            progress.handed_in.store(position, Ordering::SeqCst);
        }
        file.flush().await?;
        progress.bytes.store(position, Ordering::SeqCst);
    }
    file.close().await?;
    Ok(position)
}
