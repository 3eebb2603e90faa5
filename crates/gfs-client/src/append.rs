//! Record append: many clients add records to one file, each whole, each once.

use std::sync::Arc;

use bytes::Bytes;
use gfs_core::writer::Start;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, GfsPath};

use crate::client::{Client, parsed, required};
use crate::error::{Error, Result};
use crate::open::{CreateOptions, Right};
use crate::options::Durability;
use crate::write::append::AppendWriter;

/// How a file is opened to append records; [`Default`]: one that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Makes the file if it is not there, like this.
    pub create: Option<CreateOptions>,
    /// The level of every record of this appender.
    pub durability: Durability,
}

/// A file that records are appended to, by this appender and any number of others at the same time,
/// of this client and of others.
///
/// A record lies in the file once, whole and in one piece, at an offset that is the same on all its
/// replicas, whatever fails meanwhile: servers, masters, connections. Nothing lies between records.
/// Records of one appender are in the order in which they were handed in; those of others may lie in
/// between. A record has at most [`max_record`](Self::max_record) bytes.
///
/// Several may be on their way: [`append`](Self::append) is a future of its own for each. Small ones
/// are sent together.
///
/// ```no_run
/// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
/// use futures_util::future::try_join_all;
///
/// let log = client.open_append("/logs/today").await?;
/// let first = log.append("started\n").await?;
/// // Together: in the order of the calls, and with one answer each.
/// let lines = ["one\n", "two\n", "three\n"];
/// let offsets = try_join_all(lines.map(|line| log.append(line))).await?;
/// assert!(first < offsets[0] && offsets[0] < offsets[1]);
/// log.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// **Failures.** A call that fails with `OUTCOME_UNKNOWN`, or because nothing moved until the client's
/// deadline (`DEADLINE_EXCEEDED`, or `NO_SPACE` or `TOO_FEW_SERVERS` if that was why), may have stored
/// its record: nobody could tell in time. After any other error it is not in the file. After the
/// deadline the appender takes nothing more; open another one.
///
/// **Dropping** an appender does nothing: what is acknowledged stays, and the master takes it for gone
/// when it was not heard for a minute. Close appenders.
#[derive(Debug)]
pub struct Appender {
    path: GfsPath,
    attributes: pb::Attributes,
    max_record: u32,
    durability: Durability,
    writer: AppendWriter,
}

impl Client {
    /// Opens an existing file to append records. Any number of clients may, but not while one
    /// [writes](Self::open_write) it.
    ///
    /// # Errors
    /// `NOT_FOUND`, `IS_A_DIRECTORY`, `BUSY` while another client writes the file.
    pub async fn open_append(&self, path: &str) -> Result<Appender> {
        self.open_append_with(path, AppendOptions::default()).await
    }

    /// [`open_append`](Self::open_append), with options.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> gfs_client::Result<()> {
    /// use gfs_client::{AppendOptions, CreateOptions};
    ///
    /// let create = Some(CreateOptions { parents: true, ..CreateOptions::default() });
    /// let options = AppendOptions { create, ..AppendOptions::default() };
    /// let log = client.open_append_with("/logs/2026/11/23", options).await?;
    /// log.append("the first, or not").await?;
    /// log.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The same, and those of [`create_with`](Self::create_with) except `ALREADY_EXISTS`.
    pub async fn open_append_with(&self, path: &str, options: AppendOptions) -> Result<Appender> {
        const OPERATION: &str = "open for appending";
        let path = parsed(path, OPERATION)?;
        let masters = self.inner.another_client();
        let open = || self.ask_open(&masters, &path, Right::Append, OPERATION);
        let response = match (open().await, options.create) {
            (Err(error), Some(create)) if error.code() == ErrorCode::NotFound => {
                match self.make(&path, create, true).await {
                    // Somebody else was faster.
                    Err(error) if error.code() != ErrorCode::AlreadyExists => return Err(error),
                    _ => open().await?,
                }
            }
            (response, _) => response?,
        };
        let attributes = required(response.attributes, OPERATION, path.as_str())?;
        let start = Start {
            inode: attributes.inode,
            writer: masters.client_id,
            length: attributes.length,
            chunks: attributes.chunks,
            last: response.last,
        };
        let disk = options.durability.is_disk(&attributes);
        let writer = AppendWriter::start(self, Arc::clone(&masters), start, disk)
            .map_err(|error| Error::from_gfs(error, OPERATION, &path))?;
        let max_record = self.inner.geometry.chunk_size() / 4;
        Ok(Appender { path, attributes, max_record, durability: options.durability, writer })
    }
}

impl Appender {
    /// The path it was opened under.
    #[must_use]
    pub fn path(&self) -> &GfsPath {
        &self.path
    }

    /// Attributes as of opening.
    #[must_use]
    pub fn attributes(&self) -> &pb::Attributes {
        &self.attributes
    }

    /// Most bytes of a record: a quarter of a chunk.
    #[must_use]
    pub fn max_record(&self) -> u32 {
        self.max_record
    }

    /// Appends a record: returns its offset in the file when it is on every replica, on at least two
    /// servers (one where the goal is one), and on their disks if the appender or the file is of
    /// [`Durability::Disk`].
    ///
    /// The record is handed in when the future is first polled, and waits for its turn while too
    /// much is on its way. Dropping the future later does not take it back.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` for a record over [`max_record`](Self::max_record), `INVALID_ARGUMENT` for an
    /// empty one: nothing was sent. See
    /// [`Appender`] for what others say of the record.
    pub async fn append(&self, record: impl Into<Bytes>) -> Result<u64> {
        self.append_with(record, self.durability).await
    }

    /// [`append`](Self::append), with a level of its own.
    ///
    /// # Errors
    /// The same.
    pub async fn append_with(
        &self,
        record: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<u64> {
        let record = record.into();
        if record.len() > self.max_record as usize {
            let why = format!(
                "a record of {} bytes; at most {} can be appended at once, a quarter of a chunk",
                record.len(),
                self.max_record
            );
            return Err(Error::new(ErrorCode::OutOfRange, "append to", &self.path, why));
        }
        if record.is_empty() {
            let why = "a record has at least one byte";
            return Err(Error::new(ErrorCode::InvalidArgument, "append to", &self.path, why));
        }
        let disk = durability.is_disk(&self.attributes);
        let answer = self.writer.record(record, disk).await.map_err(|e| self.error(e))?;
        match answer.await {
            Ok(place) => place.map_err(|error| self.error(error)),
            Err(_) => Err(self.error(self.writer.failure())),
        }
    }

    /// Waits until every record handed in before has its answer.
    ///
    /// # Errors
    /// Why no more can be known. (A record that failed says so itself.)
    pub async fn flush(&self) -> Result<()> {
        self.sync(Durability::Default).await
    }

    /// The same; with [`Durability::Disk`] every record stored through this appender is then fsynced
    /// on every replica.
    ///
    /// # Errors
    /// The same.
    pub async fn sync(&self, durability: Durability) -> Result<()> {
        let disk = durability.is_disk(&self.attributes);
        self.writer.flush(disk).await.map(drop).map_err(|error| self.error(error))
    }

    /// Waits for every record, and tells the master that this appender is gone. Returns the file's
    /// attributes; others may go on appending.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn close(self) -> Result<pb::Attributes> {
        let Self { path, attributes, writer, .. } = self;
        match writer.close().await {
            Ok(closed) => Ok(closed.map_or(attributes, |attributes| *attributes)),
            Err(error) => Err(Error::from_gfs(error, "close", &path)),
        }
    }

    fn error(&self, error: GfsError) -> Error {
        Error::from_gfs(error, "append to", &self.path)
    }
}
