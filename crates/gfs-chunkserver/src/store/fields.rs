//! Numbers at fixed places: how headers and redo records are laid out. Little endian.

use super::header::{Extent, Position};
use gfs_types::{Crc, Serial, Version};

/// Reads one field after the other. Callers read no more than there is.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        // Slots have a fixed size and fields fixed places: running out cannot happen.
        match self.0.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.0 = rest;
                *head
            }
            None => [0; N],
        }
    }
    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }
    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }
    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
    pub(super) fn extent(&mut self) -> Extent {
        Extent { length: self.u32(), tail: Crc(self.u32()) }
    }
    pub(super) fn position(&mut self) -> Position {
        Position { version: Version(self.u64()), serial: Serial(self.u64()) }
    }
}

/// Writes one field after the other, from a place on.
pub(super) struct Writer<'a>(pub(super) &'a mut [u8], pub(super) usize);

impl Writer<'_> {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(target) = self.0.get_mut(self.1..self.1 + bytes.len()) {
            target.copy_from_slice(bytes);
        }
        self.1 += bytes.len();
    }
    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }
    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }
    pub(super) fn extent(&mut self, extent: Extent) {
        self.u32(extent.length);
        self.u32(extent.tail.0);
    }
    pub(super) fn position(&mut self, position: Position) {
        self.u64(position.version.0);
        self.u64(position.serial.0);
    }
}
