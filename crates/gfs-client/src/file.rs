//! An open file.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gfs_proto::v1 as pb;
use gfs_types::{ErrorCode, GfsError, GfsPath, MAX_FILE_LENGTH};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::read::{Locations, Reading, join};
use crate::sink::Sink;
use crate::write::{Command, Writer};

/// Pauses of who waits for a file to grow: doubling, up to the longest.
const FOLLOW_MIN: Duration = Duration::from_millis(50);
const FOLLOW_MAX: Duration = Duration::from_millis(500);

/// An open file: from [`Client::open`] to be read, from [`Client::create`] or
/// [`Client::open_write`] to be written at its end.
///
/// It is [`AsyncRead`], [`AsyncWrite`] and [`AsyncSeek`]; what fits the other way of opening gives
/// an error of the kind [`Unsupported`](io::ErrorKind::Unsupported), as does a write elsewhere than
/// at the end. Errors of these traits hold an [`Error`] with the code.
///
/// **Writing.** Small writes are collected up to 1 MiB, or until a flush; then data goes to the
/// servers at once, up to [`ClientOptions::write_window`](crate::ClientOptions::write_window) ahead
/// of their acknowledgement. After a flush, [`sync`](Self::sync) or [`close`](Self::close) all of it is on
/// every replica, on at least two servers (one where the goal is one): it survives the death of any
/// process, not yet the loss of power of all of them at once, unless the file or the call
/// ([`sync_with`](Self::sync_with)) is of [`Durability::Disk`]. `sync` and `close` also record the
/// length at the master.
///
/// **Dropping** a file that is being written does nothing: what is acknowledged stays, what is not
/// may or may not have been written, and the master ends the file when its writer was not heard for
/// a minute. Close files, or [`abandon`](Self::abandon) them.
#[derive(Debug)]
pub struct File {
    client: Client,
    path: GfsPath,
    attributes: pb::Attributes,
    /// Where the next byte is read or written.
    position: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Read { locations: Arc<Locations>, reading: Option<Reading>, pieces: VecDeque<Bytes> },
    Write(Sink),
}

impl File {
    pub(crate) fn reading(
        client: Client,
        path: GfsPath,
        attributes: pb::Attributes,
        locations: Arc<Locations>,
    ) -> Self {
        let mode = Mode::Read { locations, reading: None, pieces: VecDeque::new() };
        Self { client, path, attributes, position: 0, mode }
    }

    pub(crate) fn writing(
        client: Client,
        path: GfsPath,
        attributes: pb::Attributes,
        writer: Writer,
        end: u64,
    ) -> Self {
        let mode = Mode::Write(Sink::new(writer, end));
        Self { client, path, attributes, position: end, mode }
    }

    /// The path it was opened under.
    #[must_use]
    pub fn path(&self) -> &GfsPath {
        &self.path
    }

    /// Attributes as of opening, or of the last [`sync`](Self::sync).
    #[must_use]
    pub fn attributes(&self) -> &pb::Attributes {
        &self.attributes
    }

    /// Its length: of a file being read as of opening, of one being written with all that was
    /// handed in.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.mode {
            Mode::Read { .. } => self.attributes.length,
            Mode::Write(sink) => sink.end(),
        }
    }

    /// Whether [`len`](Self::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn error(&self, error: GfsError, operation: &'static str) -> Error {
        Error::from_gfs(error, operation, &self.path)
    }

    fn unsupported(&self, operation: &'static str, why: &str) -> Error {
        Error::new(ErrorCode::Unsupported, operation, &self.path, why)
    }

    /// Reads up to `length` bytes at `offset`, fewer only where the file ends. Does not move the
    /// position; many such reads may run at once.
    ///
    /// # Errors
    /// `UNSUPPORTED` on a file opened to write, `OUT_OF_RANGE` for offsets no file can have,
    /// `UNAVAILABLE` and the like when no replica could be read before the deadline.
    pub async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let Mode::Read { locations, .. } = &self.mode else {
            return Err(self.unsupported("read", "it is open for writing; open it again to read"));
        };
        let end = offset.checked_add(length as u64).filter(|end| *end <= MAX_FILE_LENGTH);
        let Some(end) = end else {
            let why = format!("{length} bytes at {offset} end beyond {MAX_FILE_LENGTH}");
            return Err(Error::new(ErrorCode::OutOfRange, "read", &self.path, why));
        };
        let mut reading = Reading::start(&self.client, locations, offset, end);
        let mut all = Vec::new();
        while let Some(delivery) = reading.next().await {
            all.extend(delivery.map_err(|error| self.error(error, "read"))?);
        }
        Ok(join(all))
    }

    /// The next bytes of the file in the memory in which they arrived, at most 1 MiB, verified;
    /// `None` at its end. The fastest way to read: nothing is copied.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// The next bytes, as [`next_piece`](Self::next_piece), of a file that grows: at its end, waits
    /// until there are more. What comes is acknowledged: on every replica.
    ///
    /// ```no_run
    /// # async fn example(client: gfs_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut log = client.open("/logs/today").await?;
    /// loop {
    ///     let more = log.next_piece_or_wait().await?;
    ///     println!("{} bytes more", more.len());
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at); `NOT_FOUND` when the file was removed for good.
    pub async fn next_piece_or_wait(&mut self) -> Result<Bytes> {
        let mut pause = FOLLOW_MIN;
        loop {
            if let Some(piece) = self.next_piece().await? {
                return Ok(piece);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FOLLOW_MAX);
            if let Mode::Read { locations, .. } = &self.mode {
                locations.forget_end();
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let (client, position) = (&self.client, self.position);
        let Mode::Read { locations, reading, pieces } = &mut self.mode else {
            let why = "it is open for writing; open it again to read";
            return Poll::Ready(Err(self.unsupported("read", why)));
        };
        loop {
            if let Some(piece) = pieces.pop_front() {
                self.position += piece.len() as u64;
                return Poll::Ready(Ok(Some(piece)));
            }
            let running = reading.get_or_insert_with(|| {
                Reading::start(client, locations, position, MAX_FILE_LENGTH)
            });
            match ready!(running.poll_next(cx)) {
                Some(Ok(more)) => pieces.extend(more.into_iter().filter(|p| !p.is_empty())),
                // Asked again it looks again: the file may have grown, the fault may be gone.
                Some(Err(error)) => {
                    *reading = None;
                    return Poll::Ready(Err(self.error(error, "read")));
                }
                None => {
                    *reading = None;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Writes the rest of the file, from the position on, to `sink`, without a copy in between.
    /// Returns how many bytes that were.
    ///
    /// # Errors
    /// Those of reading (they hold an [`Error`]) and of the sink.
    pub async fn copy_to<W: AsyncWrite + Unpin>(&mut self, sink: &mut W) -> io::Result<u64> {
        let mut copied = 0;
        while let Some(piece) = self.next_piece().await? {
            sink.write_all(&piece).await?;
            copied += piece.len() as u64;
        }
        Ok(copied)
    }

    /// Appends all that `source` has. Returns how many bytes that were.
    ///
    /// # Errors
    /// Those of writing (they hold an [`Error`]) and of the source.
    pub async fn copy_from<R: AsyncRead + Unpin>(&mut self, source: &mut R) -> io::Result<u64> {
        let mut copied = 0;
        loop {
            let Mode::Write(sink) = &mut self.mode else {
                return Err(self.unsupported("write", "it is open for reading").into());
            };
            let count = source.read_buf(&mut sink.free()).await?;
            if count == 0 {
                return Ok(copied);
            }
            sink.took(count);
            copied += count as u64;
            self.position = sink.end();
            let sent = poll_fn(|cx| sink.poll_full_buffer(cx)).await;
            sent.map_err(|error| self.error(error, "write"))?;
        }
    }

    /// Appends bytes without copying them, at once: they are not collected. Returns when they are on their way; waits while too much
    /// is.
    ///
    /// # Errors
    /// `UNSUPPORTED` on a file opened to read; what went wrong with data handed in before.
    pub async fn write_bytes(&mut self, bytes: Bytes) -> Result<()> {
        let Mode::Write(sink) = &mut self.mode else {
            return Err(self.unsupported("write", "it is open for reading"));
        };
        let sent = sink.write(bytes).await;
        self.position = sink.end();
        sent.map_err(|error| self.error(error, "write"))
    }

    /// Waits until all that was written is on every replica, and the master has recorded the
    /// length.
    ///
    /// # Errors
    /// Why it cannot be: `DEADLINE_EXCEEDED` after
    /// [`ClientOptions::deadline`](crate::ClientOptions::deadline) without progress, for one. What
    /// was acknowledged before stays.
    pub async fn sync(&mut self) -> Result<&pb::Attributes> {
        self.sync_with(Durability::Default).await
    }

    /// [`sync`](Self::sync), with a level of its own: with [`Durability::Disk`], all that was
    /// written through this file is fsynced on every replica.
    ///
    /// # Errors
    /// The same.
    pub async fn sync_with(&mut self, durability: Durability) -> Result<&pb::Attributes> {
        let Mode::Write(sink) = &mut self.mode else {
            return Err(self.unsupported("sync", "it is open for reading"));
        };
        let disk = durability == Durability::Disk;
        let question = if disk { Command::SyncToDisk } else { Command::Sync };
        match sink.ask(question).await {
            Ok(attributes) => {
                if let Some(attributes) = attributes {
                    self.attributes = *attributes;
                }
                Ok(&self.attributes)
            }
            Err(error) => Err(self.error(error, "sync")),
        }
    }

    /// Finishes the file: all that was written is on every replica, its length recorded, and others
    /// may append. Returns the final attributes.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn close(mut self) -> Result<pb::Attributes> {
        let Mode::Write(sink) = &mut self.mode else { return Ok(self.attributes) };
        match poll_fn(|cx| sink.poll_close(cx)).await {
            Ok(attributes) => Ok(attributes.map_or(self.attributes, |attributes| *attributes)),
            Err(error) => Err(self.error(error, "close")),
        }
    }

    /// [`close`](Self::close), with a level of its own: with [`Durability::Disk`], all that was
    /// written through this file is fsynced on every replica first.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub async fn close_with(mut self, durability: Durability) -> Result<pb::Attributes> {
        if durability == Durability::Disk {
            self.sync_with(durability).await?;
        }
        self.close().await
    }

    /// Gives a file up that was just created: it is removed, as if it had never been.
    ///
    /// # Errors
    /// When the master does not answer, or the file was there before.
    pub async fn abandon(mut self) -> Result<()> {
        let Mode::Write(sink) = &mut self.mode else {
            return Err(self.unsupported("abandon", "it is open for reading"));
        };
        match sink.abandon().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(error, "abandon")),
        }
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let file = self.get_mut();
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(mut piece) = ready!(file.poll_piece(cx))? else { return Poll::Ready(Ok(())) };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        into.put_slice(&piece);
        if let (false, Mode::Read { pieces, .. }) = (rest.is_empty(), &mut file.mode) {
            file.position -= rest.len() as u64;
            pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let file = self.get_mut();
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => file.len().checked_add_signed(by),
            SeekFrom::Current(by) => file.position.checked_add_signed(by),
        };
        let Some(target) = target.filter(|target| *target <= MAX_FILE_LENGTH) else {
            let why = format!("{to:?} is no position of a file");
            return Err(Error::new(ErrorCode::OutOfRange, "seek in", &file.path, why).into());
        };
        if target != file.position
            && let Mode::Read { reading, pieces, .. } = &mut file.mode
        {
            *reading = None;
            pieces.clear();
        }
        file.position = target;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let file = self.get_mut();
        let position = file.position;
        let Mode::Write(sink) = &mut file.mode else {
            return Poll::Ready(Err(file.unsupported("write", "it is open for reading").into()));
        };
        if position != sink.end() {
            let why = format!("only appending is possible, at {}, not at {position}", sink.end());
            return Poll::Ready(Err(file.unsupported("write", &why).into()));
        }
        let taken = ready!(sink.poll_take(cx, bytes));
        file.position = sink.end();
        Poll::Ready(taken.map_err(|error| file.error(error, "write").into()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let file = self.get_mut();
        let Mode::Write(sink) = &mut file.mode else { return Poll::Ready(Ok(())) };
        let flushed = ready!(sink.poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| file.error(error, "flush").into()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let file = self.get_mut();
        let Mode::Write(sink) = &mut file.mode else { return Poll::Ready(Ok(())) };
        match ready!(sink.poll_close(cx)) {
            Ok(attributes) => {
                if let Some(attributes) = attributes {
                    file.attributes = *attributes;
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(file.error(error, "close").into())),
        }
    }
}
