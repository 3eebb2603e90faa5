//! The application's side of a file being written: the buffer that small writes fill, and the
//! questions that wait.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::buf::Limit;
use bytes::{BufMut as _, Bytes, BytesMut};
use gfs_types::{ErrorCode, GfsError};
use tokio::sync::oneshot;
use tokio_util::sync::PollSender;

use crate::write::{BUFFER, Command, Outcome, Writer};

/// Makes a question of the place where its answer goes.
type Question = fn(oneshot::Sender<Outcome>) -> Command;

#[derive(Debug)]
pub(crate) struct Sink {
    writer: Writer,
    commands: PollSender<Command>,
    /// Has no memory while empty.
    buffer: BytesMut,
    /// File position after all that was handed in.
    end: u64,
    /// A flush that waits for its answer, and how far it reaches.
    flushing: Option<(u64, oneshot::Receiver<Outcome>)>,
    closing: Option<oneshot::Receiver<Outcome>>,
    /// Nothing more may be asked.
    closed: bool,
}

impl Sink {
    pub(crate) fn new(writer: Writer, end: u64) -> Self {
        let commands = PollSender::new(writer.commands.clone());
        Self {
            writer,
            commands,
            buffer: BytesMut::new(),
            end,
            flushing: None,
            closing: None,
            closed: false,
        }
    }

    /// File position after all that was handed in.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    fn check_open(&self) -> Result<(), GfsError> {
        if self.closed { Err(GfsError::invalid("the file is closed")) } else { Ok(()) }
    }

    /// The part of the buffer that is free: never nothing. Say what came with
    /// [`took`](Self::took).
    pub(crate) fn free(&mut self) -> Limit<&mut BytesMut> {
        if self.buffer.capacity() == 0 {
            self.buffer = self.writer.buffers.take();
        }
        let room = BUFFER.saturating_sub(self.buffer.len());
        (&mut self.buffer).limit(room)
    }

    pub(crate) fn took(&mut self, count: usize) {
        self.end += count as u64;
    }

    /// Copies as much as fits into the buffer, which is passed on when full.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, GfsError>> {
        self.check_open()?;
        ready!(self.poll_full_buffer(cx))?;
        let mut free = self.free();
        let count = bytes.len().min(free.remaining_mut());
        free.put_slice(bytes.get(..count).unwrap_or_default());
        self.took(count);
        // Passed on at once where possible, so that data flows; else with the next call.
        if let Poll::Ready(Err(error)) = self.poll_full_buffer(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(count))
    }

    /// Passes the buffer on if it is full.
    pub(crate) fn poll_full_buffer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GfsError>> {
        if self.buffer.len() < BUFFER {
            return Poll::Ready(Ok(()));
        }
        self.poll_buffer(cx)
    }

    /// Passes the buffer on.
    pub(crate) fn poll_buffer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GfsError>> {
        if !self.buffer.is_empty() {
            ready!(self.poll_reserve(cx))?;
            let bytes = std::mem::take(&mut self.buffer).freeze();
            self.send(Command::Data(bytes))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GfsError>> {
        self.commands.poll_reserve(cx).map_err(|_| self.writer.failure())
    }

    fn send(&mut self, command: Command) -> Result<(), GfsError> {
        self.commands.send_item(command).map_err(|_| self.writer.failure())
    }

    /// Hands in bytes as they are.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), GfsError> {
        self.check_open()?;
        if bytes.is_empty() {
            return Ok(());
        }
        poll_fn(|cx| self.poll_buffer(cx)).await?;
        poll_fn(|cx| self.poll_reserve(cx)).await?;
        let count = bytes.len();
        self.send(Command::Data(bytes))?;
        self.took(count);
        Ok(())
    }

    /// Asks, behind all that was handed in.
    pub(crate) async fn ask(&mut self, question: Question) -> Outcome {
        self.check_open()?;
        poll_fn(|cx| self.poll_buffer(cx)).await?;
        let answer = self.question(question).await?;
        answer.await.unwrap_or_else(|_| Err(self.writer.failure()))
    }

    async fn question(
        &mut self,
        question: Question,
    ) -> Result<oneshot::Receiver<Outcome>, GfsError> {
        poll_fn(|cx| self.poll_reserve(cx)).await?;
        let (reply, answer) = oneshot::channel();
        self.send(question(reply))?;
        Ok(answer)
    }

    /// Forgets what was not passed on, and takes nothing more.
    pub(crate) async fn abandon(&mut self) -> Outcome {
        self.check_open()?;
        self.buffer = BytesMut::new();
        let answer = self.question(Command::Abandon).await?;
        self.closed = true;
        answer.await.unwrap_or_else(|_| Err(self.writer.failure()))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), GfsError>> {
        if self.closed && self.closing.is_none() {
            return Poll::Ready(Ok(()));
        }
        loop {
            if let Some((reach, answer)) = &mut self.flushing {
                let outcome = ready!(Pin::new(answer).poll(cx));
                let all = *reach == self.end;
                self.flushing = None;
                outcome.unwrap_or_else(|_| Err(self.writer.failure()))?;
                if all {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.poll_buffer(cx))?;
            ready!(self.poll_reserve(cx))?;
            let (reply, answer) = oneshot::channel();
            self.send(Command::Flush(reply))?;
            self.flushing = Some((self.end, answer));
        }
    }

    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            if let Some(answer) = &mut self.closing {
                let outcome = ready!(Pin::new(answer).poll(cx));
                self.closing = None;
                return Poll::Ready(outcome.unwrap_or_else(|_| Err(self.writer.failure())));
            }
            if self.closed {
                return Poll::Ready(Err(GfsError::new(
                    ErrorCode::InvalidArgument,
                    "the file is closed already",
                )));
            }
            ready!(self.poll_buffer(cx))?;
            ready!(self.poll_reserve(cx))?;
            let (reply, answer) = oneshot::channel();
            self.send(Command::Close(reply))?;
            self.closing = Some(answer);
            self.closed = true;
        }
    }
}
