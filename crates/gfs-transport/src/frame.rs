//! Bulk messages on the gRPC wire, taken apart and put together without copying payload.
//!
//! # Format
//!
//! Every message is a gRPC length-prefixed message that holds this protobuf message, so that any
//! gRPC client can speak it:
//!
//! ```proto
//! message Bulk {
//!   bytes head = 1;     // an encoded message of the method's own
//!   bytes payload = 2;  // at most 1 MiB
//! }
//! ```
//!
//! On the wire, `head` first and `payload` last, both left out when empty:
//!
//! | bytes | |
//! |---|---|
//! | 1 | 0: not compressed (compression is refused) |
//! | 4 | length of all that follows, big endian |
//! | 1 + 1..3 + n | `0x0a`, varint n, the head |
//! | 1 + 1..4 + m | `0x12`, varint m, the payload |
//!
//! A receiver takes the fields in any order, skips fields it does not know, and refuses repeated
//! ones, groups, and lengths beyond its [`Limits`].

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};
use crate::pieces::Pieces;

const TAG_HEAD: u8 = 0x0a;
const TAG_PAYLOAD: u8 = 0x12;
const PREFIX: usize = 5;

/// Pieces smaller than this are joined with their neighbours on receipt: a peer that sends many
/// tiny frames must not make us keep a record for each.
const TINY: usize = 4 << 10;

/// Bytes allowed for a message beyond head and payload: tags, lengths, and fields unknown to us.
const SLACK: usize = 4 << 10;

/// How large a bulk message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest head, in bytes.
    pub head: usize,
    /// Largest payload, in bytes.
    pub payload: usize,
}

impl Default for Limits {
    /// A head of 256 KiB, a payload of 1 MiB.
    fn default() -> Self {
        Self { head: 256 << 10, payload: 1 << 20 }
    }
}

impl Limits {
    fn message(&self) -> usize {
        self.head.saturating_add(self.payload).saturating_add(SLACK)
    }
}

fn check(part: &'static str, actual: usize, limit: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { part, actual: actual as u64, limit: limit as u64 })
}

/// A bulk message: a small encoded head, and payload in as many pieces as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkFrame {
    /// A small encoded message; the transport only sees bytes.
    pub head: Bytes,
    /// The payload's bytes, in order. Pieces are shared memory: cloning one copies nothing, and
    /// passing them on to another stream writes them from where they were received.
    pub payload: Vec<Bytes>,
}

impl BulkFrame {
    /// A message with a payload of one piece.
    #[must_use]
    pub fn new(head: impl Into<Bytes>, payload: impl Into<Bytes>) -> Self {
        Self { head: head.into(), payload: vec![payload.into()] }
    }

    /// A message without payload.
    #[must_use]
    pub fn head_only(head: impl Into<Bytes>) -> Self {
        Self { head: head.into(), payload: Vec::new() }
    }

    /// Bytes of payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.payload.iter().map(Bytes::len).sum()
    }

    /// The message as it goes out: prefix, tags and head in one new small piece, the payload's
    /// pieces as they are.
    pub(crate) fn encode(self, limits: &Limits) -> Result<Pieces> {
        let payload = self.payload_len();
        check("head", self.head.len(), limits.head)?;
        check("payload", payload, limits.payload)?;
        let mut fields = 0;
        if !self.head.is_empty() {
            fields += 1 + varint_len(self.head.len()) + self.head.len();
        }
        if payload > 0 {
            fields += 1 + varint_len(payload);
        }
        let total = u32::try_from(fields + payload).map_err(|_| Error::TooLarge {
            part: "message",
            actual: (fields + payload) as u64,
            limit: u64::from(u32::MAX),
        })?;
        let mut front = BytesMut::with_capacity(PREFIX + fields);
        front.put_u8(0);
        front.put_u32(total);
        if !self.head.is_empty() {
            front.put_u8(TAG_HEAD);
            put_varint(&mut front, self.head.len());
            front.put_slice(&self.head);
        }
        if payload > 0 {
            front.put_u8(TAG_PAYLOAD);
            put_varint(&mut front, payload);
        }
        Ok(Pieces::new(front.freeze(), self.payload))
    }
}

fn varint_len(value: usize) -> usize {
    let bits = (usize::BITS - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

fn put_varint(into: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        into.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.put_u8(value as u8);
}

/// Puts messages together from the pieces that arrive. Never allocates by a length it was told:
/// it holds the pieces that came, and copies only heads and tiny pieces.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// Received and not yet given out.
    arrived: Arrived,
    /// Length of the message being received, once its prefix is here.
    expected: Option<usize>,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, arrived: Arrived::default(), expected: None }
    }

    /// Takes in what arrived.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.arrived.push(piece);
    }

    /// Whether the stream may end here: not within a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.expected.is_none() && self.arrived.len == 0
    }

    /// The next message, if all of it arrived.
    pub(crate) fn next(&mut self) -> Result<Option<BulkFrame>> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => {
                if self.arrived.len < PREFIX {
                    return Ok(None);
                }
                let mut prefix = [0; PREFIX];
                self.arrived.copy_to(&mut prefix);
                let [compressed, length @ ..] = prefix;
                if compressed != 0 {
                    return Err(Error::protocol("compressed message"));
                }
                let expected = u32::from_be_bytes(length) as usize;
                check("message", expected, self.limits.message())?;
                self.expected = Some(expected);
                expected
            }
        };
        if self.arrived.len < expected {
            return Ok(None);
        }
        self.expected = None;
        self.message(expected).map(Some)
    }

    /// Takes apart a message of `left` bytes, all of which arrived.
    fn message(&mut self, mut left: usize) -> Result<BulkFrame> {
        let (mut head, mut payload) = (None, None);
        while left > 0 {
            let key = self.varint(&mut left)?;
            if key > u64::from(u32::MAX) {
                return Err(Error::protocol("field number out of range"));
            }
            match (key >> 3, key & 7) {
                (1, 2) if head.is_none() => {
                    let length = self.length(&mut left)?;
                    check("head", length, self.limits.head)?;
                    head = Some(self.arrived.take_joined(length));
                }
                (2, 2) if payload.is_none() => {
                    let length = self.length(&mut left)?;
                    check("payload", length, self.limits.payload)?;
                    payload = Some(self.arrived.take_pieces(length));
                }
                (1 | 2, _) => return Err(Error::protocol("repeated or mistyped field")),
                (0, _) => return Err(Error::protocol("field number 0")),
                (_, 0) => {
                    self.varint(&mut left)?;
                }
                (_, 1) => self.skip(8, &mut left)?,
                (_, 2) => {
                    let length = self.length(&mut left)?;
                    drop(self.arrived.take_pieces(length));
                }
                (_, 5) => self.skip(4, &mut left)?,
                _ => return Err(Error::protocol("unknown wire type")),
            }
        }
        Ok(BulkFrame { head: head.unwrap_or_default(), payload: payload.unwrap_or_default() })
    }

    fn varint(&mut self, left: &mut usize) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if *left == 0 {
                return Err(Error::protocol("field cut short"));
            }
            *left -= 1;
            self.arrived.copy_to(&mut byte);
            let [byte] = byte;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::protocol("number of more than 64 bits"))
    }

    /// Length of a field, of which all bytes are within the message.
    fn length(&mut self, left: &mut usize) -> Result<usize> {
        let length = self.varint(left)?;
        match usize::try_from(length).ok().filter(|length| length <= left) {
            Some(length) => {
                *left -= length;
                Ok(length)
            }
            None => Err(Error::protocol("field longer than its message")),
        }
    }

    fn skip(&mut self, count: usize, left: &mut usize) -> Result<()> {
        *left = left.checked_sub(count).ok_or_else(|| Error::protocol("field cut short"))?;
        drop(self.arrived.take_pieces(count));
        Ok(())
    }
}

/// Received pieces, in order. The counts asked of it never exceed `len`.
#[derive(Debug, Default)]
struct Arrived {
    pieces: VecDeque<Bytes>,
    /// Tiny pieces being joined; they come after `pieces`.
    tail: BytesMut,
    len: usize,
}

impl Arrived {
    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < TINY {
            self.tail.put_slice(&piece);
            if self.tail.len() >= TINY {
                self.settle();
            }
        } else {
            self.settle();
            self.pieces.push_back(piece);
        }
    }

    fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// The next piece, of at most `most` bytes.
    fn take_piece(&mut self, most: usize) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.settle();
        }
        let front = self.pieces.front_mut()?;
        let piece =
            if front.len() <= most { self.pieces.pop_front()? } else { front.split_to(most) };
        self.len -= piece.len();
        Some(piece)
    }

    fn take_pieces(&mut self, mut count: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while count > 0 {
            let Some(piece) = self.take_piece(count) else { break };
            count -= piece.len();
            taken.push(piece);
        }
        taken
    }

    fn take_joined(&mut self, count: usize) -> Bytes {
        let mut pieces = self.take_pieces(count);
        match pieces.len() {
            0 => Bytes::new(),
            // Copied, lest a small head that is kept holds a large receive buffer.
            1 => pieces.pop().map(|piece| Bytes::copy_from_slice(&piece)).unwrap_or_default(),
            _ => pieces.concat().into(),
        }
    }

    fn copy_to(&mut self, mut into: &mut [u8]) {
        if self.pieces.is_empty() {
            self.settle();
        }
        while !into.is_empty() {
            if self.pieces.is_empty() {
                self.settle();
            }
            let Some(front) = self.pieces.front_mut() else { return };
            let count = into.len().min(front.len());
            let (now, later) = into.split_at_mut(count);
            front.copy_to_slice(now);
            into = later;
            self.len -= count;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests;
