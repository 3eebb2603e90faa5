//! Bytes in the middle of a file: overwriting them, and cutting or extending the file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_proto::v1::rpc::metadata_client::MetadataClient;
use gfs_types::{ErrorCode, GfsError, GfsPath, MAX_FILE_LENGTH};
use tokio::time::{Instant, sleep};

use crate::client::{Client, ask, parsed, required};
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::write::overwrite::OverwriteWriter;

/// Chunks by which a file grows with one call to the master.
const GROWS_BY: u64 = 2_000;

/// How long the length of a file that was just closed may take to be found out, and how often one
/// looks.
const SETTLED: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A file whose bytes are overwritten, by this overwriter and any number of others at the same time,
/// anywhere below its length.
///
/// Of writes that overlap, the last one in the order of the servers stays, the same on all replicas;
/// those of one overwriter keep their order. A write within one chunk and of at most 1 MiB, and not
/// across a multiple of 1 MiB of the file, is stored whole or not at all; a larger one in pieces.
///
/// Where the file has a hole there are zeros, which the first write replaces.
///
/// ```no_run
/// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
/// client.create_empty("/table").await?;
/// client.truncate("/table", 1 << 30).await?; // a GiB of zeros that takes no space
/// let table = client.open_overwrite("/table").await?;
/// // Several on their way at once.
/// let (one, other) = (table.write_at(4096, "a record"), table.write_at(500 << 20, "another one"));
/// futures_util::future::try_join(one, other).await?;
/// table.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// After an error a write may be stored, in part or whole; it can be repeated.
#[derive(Debug)]
pub struct Overwriter {
    client: Client,
    path: GfsPath,
    attributes: pb::Attributes,
    /// As far as known: it may be longer.
    length: AtomicU64,
    writer: OverwriteWriter,
}

impl Client {
    /// Opens an existing file to overwrite what is in it.
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`.
    pub async fn open_overwrite(&self, path: &str) -> Result<Overwriter> {
        const OPERATION: &str = "open for overwriting";
        let attributes = self.stat(path).await?;
        let path = parsed(path, OPERATION)?;
        if attributes.r#type() != pb::FileType::File {
            let why = "it is a directory";
            return Err(Error::new(ErrorCode::IsADirectory, OPERATION, &path, why));
        }
        let disk = Durability::Default.is_disk(&attributes);
        let writer = OverwriteWriter::start(self, attributes.inode, disk);
        let length = AtomicU64::new(attributes.length);
        Ok(Overwriter { client: self.clone(), path, attributes, length, writer })
    }

    /// Cuts a file to this length, or extends it by zeros that take no space. Not while somebody
    /// writes or appends to it.
    ///
    /// A file is extended in steps if it is by very much: after an error it may have become longer.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
    /// let attributes = client.truncate("/logs/today", 1 << 20).await?;
    /// assert_eq!(attributes.length, 1 << 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`, `BUSY`, `OUT_OF_RANGE` for a length that no file can have.
    pub async fn truncate(&self, path: &str, length: u64) -> Result<pb::Attributes> {
        const OPERATION: &str = "truncate";
        let path = parsed(path, OPERATION)?;
        if length > MAX_FILE_LENGTH {
            let why = format!("no file can have {length} bytes; at most {MAX_FILE_LENGTH}");
            return Err(Error::new(ErrorCode::OutOfRange, OPERATION, &path, why));
        }
        let before = self.stat(path.as_str()).await?;
        let step = u64::from(self.inner.geometry.chunk_size()) * GROWS_BY;
        let mut reached = before.length;
        loop {
            let target = length.min(reached.saturating_add(step));
            let mutation = self.inner.masters.mutation();
            let request = pb::TruncateRequest {
                header: Some(mutation.header.clone()),
                path: String::new(),
                inode: before.inode,
                length: target,
            };
            let begun = Instant::now();
            let response = loop {
                match ask!(self, MetadataClient, truncate, request.clone()).await {
                    // Where somebody has just closed it, its length is being found out.
                    Err(detail)
                        if detail.error_code() == ErrorCode::Busy
                            && begun.elapsed() < SETTLED.min(self.deadline) =>
                    {
                        sleep(LOOK_AGAIN).await;
                    }
                    answer => {
                        break answer.map_err(|detail| Error::of(detail, OPERATION, &path))?;
                    }
                }
            };
            if target == length {
                return required(response.attributes, OPERATION, path.as_str());
            }
            reached = target;
        }
    }
}

impl Overwriter {
    /// The path it was opened under.
    #[must_use]
    pub fn path(&self) -> &GfsPath {
        &self.path
    }

    /// Writes these bytes at `offset`; returns when they are on every replica, on at least two
    /// servers (one where the goal is one). Many such writes may run at once.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` when they would end beyond the file: nothing was written.
    /// `OUTCOME_UNKNOWN` and `DEADLINE_EXCEEDED` when nobody could tell in time whether they are
    /// stored.
    pub async fn write_at(&self, offset: u64, bytes: impl Into<Bytes>) -> Result<()> {
        self.write_at_with(offset, bytes, Durability::Default).await
    }

    /// [`write_at`](Self::write_at), with a level of its own.
    ///
    /// # Errors
    /// The same.
    pub async fn write_at_with(
        &self,
        offset: u64,
        bytes: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<()> {
        let bytes = bytes.into();
        self.check_range(offset, bytes.len() as u64).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        let disk = durability.is_disk(&self.attributes);
        self.writer.write(offset, bytes, disk).await.map_err(|error| self.error(error))
    }

    /// Refuses what is not within the file, of which the length is asked only if it matters.
    async fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        let end = offset.checked_add(length);
        if end.is_some_and(|end| end <= self.length.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let now = self.client.length_of(self.attributes.inode).await;
        let now = now.map_err(|detail| Error::of(detail, "overwrite", &self.path))?;
        self.length.store(now, Ordering::Relaxed);
        if end.is_some_and(|end| end <= now) {
            return Ok(());
        }
        let why = format!(
            "{length} bytes at {offset} end beyond the file, which has {now}; extend it first \
             (truncate), or append"
        );
        Err(Error::new(ErrorCode::OutOfRange, "overwrite", &self.path, why))
    }

    /// Waits until every write handed in before has its answer; with [`Durability::Disk`], and is
    /// fsynced on every replica.
    ///
    /// # Errors
    /// Why no more can be known. (A write that failed says so itself.)
    pub async fn sync(&self, durability: Durability) -> Result<()> {
        let disk = durability.is_disk(&self.attributes);
        self.writer.flush(disk).await.map(drop).map_err(|error| self.error(error))
    }

    /// Waits for every write, and ends. Dropping an overwriter only forgets the answers.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn close(self) -> Result<()> {
        let Self { path, writer, .. } = self;
        let closed = writer.close().await;
        closed.map(drop).map_err(|error| Error::from_gfs(error, "close", &path))
    }

    fn error(&self, error: GfsError) -> Error {
        Error::from_gfs(error, "overwrite", &self.path)
    }
}
