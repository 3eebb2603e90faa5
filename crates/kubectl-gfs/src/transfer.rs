//! Bytes between this machine and the cluster: one file, and many at a time.

use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gfs_client::{Client, CreateOptions, Durability, File, RemoveOptions};

use crate::progress::Progress;

/// Read and written at a time: a whole slice.
const PIECE: usize = 1 << 20;

/// What was not complete is nothing for the trash.
const AT_ONCE: RemoveOptions = RemoveOptions { recursive: false, skip_trash: true };

/// Stores what a reader has under `target`. The name appears when the file is complete: until then
/// it is written under a hidden name beside it.
pub(crate) async fn store(
    client: &Client,
    source: Source,
    target: &str,
    replace: bool,
    durability: Durability,
    progress: &Progress,
) -> anyhow::Result<()> {
    let hidden = hidden_name(target);
    let options = CreateOptions { durability, ..CreateOptions::default() };
    let mut file = match client.create_with(&hidden, options).await {
        Err(error) if error.code() == gfs_types::ErrorCode::AlreadyExists => {
            // Left behind by an interrupted put of the same file.
            client.remove_with(&hidden, AT_ONCE).await?;
            client.create_with(&hidden, options).await?
        }
        created => created?,
    };
    let written = match copy_in(&mut file, source, progress).await {
        Ok(()) => match file.close().await {
            Ok(_) => match client.rename(&hidden, target, replace).await {
                Ok(_) => return Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        },
        Err(error) => {
            // The first error is the one to tell.
            let _ = file.abandon().await;
            return Err(error);
        }
    };
    let _ = client.remove_with(&hidden, AT_ONCE).await;
    written
}

/// Where bytes come from.
pub(crate) enum Source {
    /// A local file.
    File(PathBuf),
    /// The standard input.
    Stdin,
}

async fn copy_in(file: &mut File, source: Source, progress: &Progress) -> anyhow::Result<()> {
    // Reading blocks: it has a thread of its own and is two pieces ahead.
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(2);
    let shown = match &source {
        Source::File(path) => path.display().to_string(),
        Source::Stdin => "the standard input".to_owned(),
    };
    let reader = tokio::task::spawn_blocking(move || {
        let opened: std::io::Result<Box<dyn std::io::Read>> = match source {
            Source::File(path) => std::fs::File::open(path).map(|file| Box::new(file) as _),
            Source::Stdin => Ok(Box::new(std::io::stdin().lock())),
        };
        let mut from = match opened {
            Ok(from) => from,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        loop {
            let piece = read_piece(&mut *from);
            let last = !matches!(&piece, Ok(piece) if piece.len() == PIECE);
            let empty = matches!(&piece, Ok(piece) if piece.is_empty());
            if empty || sender.blocking_send(piece).is_err() || last {
                return;
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        let piece = piece.with_context(|| format!("reading {shown}"))?;
        let length = piece.len() as u64;
        file.write_bytes(piece).await?;
        progress.moved(length);
    }
    reader.await.context("the reading thread failed")
}

/// The next piece: full unless the source ends.
fn read_piece(from: &mut dyn std::io::Read) -> std::io::Result<Bytes> {
    let mut piece = BytesMut::zeroed(PIECE);
    let mut filled = 0;
    while filled < PIECE {
        match from.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    piece.truncate(filled);
    Ok(piece.freeze())
}

/// Fetches a file into `target`, which appears when it is complete.
pub(crate) async fn fetch(
    client: &Client,
    source: &str,
    target: &Path,
    replace: bool,
    progress: &Progress,
) -> anyhow::Result<()> {
    if !replace && target.exists() {
        bail!("{} exists; use --force to replace it", target.display());
    }
    let name = target.file_name().context("the target has no file name")?.to_string_lossy();
    let hidden = target.with_file_name(format!(".{name}.gfs-part"));
    let fetched = fetch_into(client, source, &hidden, progress).await;
    let outcome = match fetched {
        Ok(()) => std::fs::rename(&hidden, target)
            .with_context(|| format!("renaming to {}", target.display())),
        Err(error) => Err(error),
    };
    if outcome.is_err() {
        let _ = std::fs::remove_file(&hidden);
    }
    outcome
}

async fn fetch_into(
    client: &Client,
    source: &str,
    hidden: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut file = client.open(source).await?;
    let path = hidden.to_owned();
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<Bytes>(4);
    let writer = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let context = || format!("writing {}", path.display());
        let mut out = std::fs::File::create(&path).with_context(context)?;
        while let Some(piece) = pieces.blocking_recv() {
            out.write_all(&piece).with_context(context)?;
        }
        Ok(())
    });
    let read = async {
        while let Some(piece) = file.next_piece().await? {
            let length = piece.len() as u64;
            if sender.send(piece).await.is_err() {
                break; // The writer failed and says why.
            }
            progress.moved(length);
        }
        anyhow::Ok(())
    }
    .await;
    drop(sender);
    let written = writer.await.context("the writing thread failed")?;
    read.and(written)
}

/// Writes a range of a file to the standard output.
pub(crate) async fn print(
    client: &Client,
    source: &str,
    offset: u64,
    length: Option<u64>,
    progress: &Progress,
) -> anyhow::Result<()> {
    use tokio::io::AsyncSeekExt as _;
    let mut file = client.open(source).await?;
    if offset > 0 {
        file.seek(std::io::SeekFrom::Start(offset)).await?;
    }
    let mut left = length.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(mut piece) = file.next_piece().await? else { break };
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let length = piece.len() as u64;
        tokio::task::spawn_blocking(move || std::io::stdout().write_all(&piece))
            .await
            .context("the writing thread failed")??;
        left -= length;
        progress.moved(length);
    }
    Ok(std::io::stdout().flush()?)
}

/// Writes a file from this byte on to the standard output, and what is added to it, for ever.
pub(crate) async fn follow(client: &Client, source: &str, offset: u64) -> anyhow::Result<()> {
    use tokio::io::AsyncSeekExt as _;
    let mut file = client.open(source).await?;
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    loop {
        let piece = file.next_piece_or_wait().await?;
        tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            out.write_all(&piece)?;
            out.flush()
        })
        .await
        .context("the writing thread failed")??;
    }
}

/// Runs one task per item, `parallel` at a time; ends with the first error.
pub(crate) async fn each<T, F>(
    items: Vec<T>,
    parallel: u16,
    task: impl Fn(T) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    stream::iter(items.into_iter().map(task))
        .buffer_unordered(usize::from(parallel))
        .try_collect::<Vec<()>>()
        .await
        .map(drop)
}

/// The name beside `target` under which it is written: a hash where it would be too long.
fn hidden_name(target: &str) -> String {
    let (directory, name) = target.rsplit_once('/').unwrap_or(("", target));
    if name.len() + "..gfs-part".len() <= gfs_types::MAX_NAME_BYTES {
        format!("{directory}/.{name}.gfs-part")
    } else {
        let crc = gfs_types::Crc::of(name.as_bytes());
        format!("{directory}/.{:08x}.gfs-part", crc.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_valid_names_beside_the_target() {
        assert_eq!(hidden_name("/a/b"), "/a/.b.gfs-part");
        assert_eq!(hidden_name("/b"), "/.b.gfs-part");
        let long = hidden_name(&format!("/a/{}", "n".repeat(255)));
        assert!(gfs_types::GfsPath::parse(&long).is_ok() && long.starts_with("/a/."));
    }
}
