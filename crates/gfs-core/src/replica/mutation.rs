//! A mutation: what one writer wants done to the chunk in one piece, put together from the slices
//! it comes in.

use gfs_proto::v1 as pb;

/// A piece of a mutation as it came, verified against its sums.
#[derive(Clone, Debug)]
pub struct Part<P> {
    /// Bytes.
    pub length: u32,
    /// CRC-32C of each piece of it: cut at block borders of the chunk; of a mutation that is
    /// appended, at multiples of 64 KiB of the mutation.
    pub sums: Vec<u32>,
    /// The bytes.
    pub payload: P,
}

/// A mutation of which something came.
#[derive(Debug)]
pub(super) struct Mutation<P> {
    /// The primary chooses where it goes.
    pub(super) append: bool,
    /// Where it goes within the chunk; of an appended one 0, until it is ordered.
    pub(super) offset: u32,
    /// Bytes that came.
    pub(super) length: u32,
    /// Nothing is missing.
    pub(super) whole: bool,
    pub(super) parts: Vec<Part<P>>,
    commit: bool,
    /// Parts, and their bytes, that were sent on.
    sent: (usize, u32),
}

impl<P: Clone> Mutation<P> {
    /// Begins with its first slice; `None` if that is none.
    pub(super) fn begin(slice: pb::Slice, payload: P) -> Option<Self> {
        if slice.append && slice.offset != 0 {
            return None;
        }
        let mut mutation = Self {
            append: slice.append,
            offset: slice.offset,
            length: 0,
            whole: false,
            parts: Vec::with_capacity(1),
            commit: false,
            sent: (0, 0),
        };
        mutation.take(slice, payload);
        Some(mutation)
    }

    /// Whether this slice is the next one of it.
    pub(super) fn goes_on_with(&self, slice: &pb::Slice) -> bool {
        let next = u64::from(self.offset) + u64::from(self.length);
        !self.whole && slice.append == self.append && u64::from(slice.offset) == next
    }

    /// Takes its next slice.
    pub(super) fn take(&mut self, slice: pb::Slice, payload: P) {
        self.length += slice.length;
        self.whole = !slice.more;
        self.commit = slice.commit && self.whole;
        self.parts.push(Part { length: slice.length, sums: slice.sums, payload });
    }

    /// Whether it came in more than one piece, or is going to.
    pub(super) fn is_cut(&self) -> bool {
        self.parts.len() > 1 || !self.whole
    }

    /// The next slice of it that was not sent on.
    pub(super) fn send_on(&mut self, sequence: u64) -> Option<(pb::Slice, P)> {
        let (parts, bytes) = self.sent;
        let part = self.parts.get(parts)?;
        self.sent = (parts + 1, bytes + part.length);
        let last = self.whole && parts + 1 == self.parts.len();
        let slice = pb::Slice {
            sequence,
            offset: self.offset + bytes,
            length: part.length,
            sums: part.sums.clone(),
            commit: self.commit && last,
            append: self.append,
            more: !last,
        };
        Some((slice, part.payload.clone()))
    }
}
