//! Trees of files into the cluster and out of it, several files at a time, the largest one first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use gfs_client::Client;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::corpus::{Corpus, Fingerprint, InputFile};
use crate::meter::Meter;

/// Files under way at a time.
const PARALLEL: usize = 8;
/// Read at a time.
const PIECE: usize = 1 << 20;

/// Stores the corpus below `root`, which must not exist.
///
/// # Errors
/// What went wrong first, and with which file.
pub async fn put_tree(
    client: &Client,
    corpus: &Arc<Corpus>,
    root: &str,
    meter: &Arc<Meter>,
) -> anyhow::Result<()> {
    client.mkdir(root).await?;
    for directory in &corpus.directories {
        client.mkdir(&format!("{root}/{directory}")).await?;
    }
    let (client, root, meter) = (client.clone(), Arc::<str>::from(root), Arc::clone(meter));
    each(corpus, move |corpus, place| {
        let (client, root, meter) = (client.clone(), Arc::clone(&root), Arc::clone(&meter));
        async move {
            let file = corpus.files.get(place).context("no such file")?;
            put(&client, file, &root, &meter)
                .await
                .with_context(|| format!("putting {}", file.name))
        }
    })
    .await
}

/// Fetches the tree below `root` and compares every file's SHA-256 with the corpus.
///
/// # Errors
/// What went wrong first, and with which file.
pub async fn get_tree(
    client: &Client,
    corpus: &Arc<Corpus>,
    root: &str,
    meter: &Arc<Meter>,
) -> anyhow::Result<()> {
    let (client, root, meter) = (client.clone(), Arc::<str>::from(root), Arc::clone(meter));
    each(corpus, move |corpus, place| {
        let (client, root, meter) = (client.clone(), Arc::clone(&root), Arc::clone(&meter));
        async move {
            let file = corpus.files.get(place).context("no such file")?;
            get(&client, file, &root, &meter)
                .await
                .with_context(|| format!("getting {}", file.name))
        }
    })
    .await
}

async fn put(client: &Client, file: &InputFile, root: &str, meter: &Meter) -> anyhow::Result<()> {
    let mut source = tokio::fs::File::open(&file.source).await?;
    let mut stream = meter.stream(&file.name);
    let mut target = client.create(&format!("{root}/{}", file.name)).await?;
    let mut stored = 0;
    while stored < file.bytes {
        let piece = PIECE.min(usize::try_from(file.bytes - stored)?);
        let mut buffer = BytesMut::with_capacity(piece);
        while buffer.len() < piece {
            ensure!(source.read_buf(&mut buffer).await? > 0, "the local file became shorter");
        }
        buffer.truncate(piece);
        target.write_bytes(buffer.freeze()).await?;
        stored += piece as u64;
        stream.step(piece);
    }
    let attributes = target.close().await?;
    ensure!(
        attributes.length == file.bytes,
        "{} of {} bytes were stored",
        attributes.length,
        file.bytes
    );
    Ok(())
}

async fn get(client: &Client, file: &InputFile, root: &str, meter: &Meter) -> anyhow::Result<()> {
    let mut stream = meter.stream(&file.name);
    let mut source = client.open(&format!("{root}/{}", file.name)).await?;
    let mut hash = Sha256::new();
    let mut fetched = 0;
    while let Some(piece) = source.next_piece().await? {
        stream.step(piece.len());
        fetched += piece.len() as u64;
        hash.update(&piece);
    }
    ensure!(fetched == file.bytes, "{fetched} of {} bytes came back", file.bytes);
    let found: Fingerprint = hash.finalize().into();
    ensure!(found == file.fingerprint, "it came back with another SHA-256");
    Ok(())
}

/// Does `work` with each file, the largest first; ends with the first error.
async fn each<F>(
    corpus: &Arc<Corpus>,
    work: impl Fn(Arc<Corpus>, usize) -> F + Clone + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let order = Arc::new(corpus.largest_first());
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..PARALLEL {
        let (corpus, order, next) = (Arc::clone(corpus), Arc::clone(&order), Arc::clone(&next));
        let work = work.clone();
        tasks.spawn(async move {
            while let Some(place) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(Arc::clone(&corpus), *place).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a transfer panicked")??;
    }
    Ok(())
}
