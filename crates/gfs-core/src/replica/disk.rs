//! What a replica stores, one operation at a time.

use super::command::Intent;
use super::{CopyOutcome, Identity, Output, Outputs, Replica};
use gfs_proto::v1 as pb;
use gfs_types::Millis;

/// One operation on what is stored of a replica. Each is atomic: after a failure or a crash either
/// all or nothing of it holds.
#[derive(Clone, Debug)]
pub enum DiskOp<P> {
    /// Create the replica, empty.
    Create {
        /// What it is.
        identity: Identity,
        /// Complete and promised at this version; 0: an incomplete one, to be copied into.
        version: u64,
    },
    /// Write a slice at the end of the content, with the header: data before checksums before
    /// header.
    Write {
        /// The version, which it is complete at.
        version: u64,
        /// The serial after the last one.
        serial: u64,
        /// For the window, with the slice's sequence, offset and length.
        writer: u64,
        /// Where, and the checksums.
        slice: pb::Slice,
        /// The bytes.
        payload: P,
    },
    /// Store a promise.
    Promise {
        /// The version promised.
        next: u64,
    },
    /// It is equal to the other members now: complete at the version promised, with no mutation
    /// of it. What it holds is trusted.
    Complete {
        /// The version.
        version: u64,
        /// No more mutations.
        sealed: bool,
    },
    /// No more mutations.
    Seal,
    /// It is going to be overwritten: complete at nothing.
    Demote,
    /// Its blocks were made equal to those of another replica: take over length, serial, window.
    Become(CopyOutcome),
    /// Delete it.
    Delete,
}

/// The operation under way, and what changes in memory when it succeeds.
#[derive(Debug)]
pub(super) enum Running {
    Write { serial: u64, writer: u64, sequence: u64, offset: u32, length: u32 },
    Seal,
    Command(Intent),
}

impl Running {
    pub(super) const fn serial(&self) -> Option<u64> {
        match self {
            Self::Write { serial, .. } => Some(*serial),
            _ => None,
        }
    }

    /// What it creates, and the version it will have promised.
    pub(super) const fn creates(&self) -> Option<(&Identity, u64)> {
        match self {
            Self::Command(Intent::Create { identity, grant }) => Some((identity, grant.version)),
            Self::Command(Intent::CreateClone { identity }) => Some((identity, 0)),
            _ => None,
        }
    }
}

impl<P: Clone> Replica<P> {
    /// Starts the next operation if the disk is free. Commands start theirs themselves.
    pub(super) fn next_disk(&mut self, out: &mut Outputs<P>) {
        if self.disk.is_some() {
            return;
        }
        if let Some(op) = self.next_write(out) {
            if let DiskOp::Write { serial, writer, slice, .. } = &op {
                self.disk = Some(Running::Write {
                    serial: *serial,
                    writer: *writer,
                    sequence: slice.sequence,
                    offset: slice.offset,
                    length: slice.length,
                });
            }
            out.push(Output::Disk(op));
        } else if self.role.as_ref().is_some_and(|role| role.seal && role.ordered.is_empty())
            && self.header().is_some_and(|header| !header.sealed)
        {
            self.disk = Some(Running::Seal);
            out.push(Output::Disk(DiskOp::Seal));
        }
    }

    pub(super) fn disk_done(&mut self, result: Result<(), pb::ErrorDetail>, out: &mut Outputs<P>) {
        match (self.disk.take(), result) {
            (None, _) => {}
            (Some(Running::Command(intent)), result) => self.stored_intent(intent, result, out),
            (Some(_), Err(error)) => self.disk_failed(error, out),
            (Some(Running::Write { serial, writer, sequence, offset, length }), Ok(())) => {
                if let Some(header) = self.header_mut() {
                    header.serial = serial;
                    header.length = header.length.max(offset + length);
                    header.window.record(writer, sequence, offset);
                }
                self.applied(out);
            }
            (Some(Running::Seal), Ok(())) => {
                if let Some(header) = self.header_mut() {
                    header.sealed = true;
                }
                self.finish_streams(out);
            }
        }
    }

    /// Time of the replica's own clock, which stands still while nothing ticks it.
    #[must_use]
    pub const fn clock(&self) -> Millis {
        self.clock
    }
}
