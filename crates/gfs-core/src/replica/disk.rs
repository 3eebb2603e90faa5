//! What a replica stores, one operation at a time.

use super::command::Intent;
use super::{CopyOutcome, Identity, Output, Outputs, Part, Replica};
use gfs_proto::v1 as pb;
use gfs_types::Millis;

/// One operation on what is stored of a replica. Each is atomic: after a failure or a crash either
/// all or nothing of it holds.
#[derive(Clone, Debug)]
pub enum DiskOp<P> {
    /// Create the replica.
    Create {
        /// What it is.
        identity: Identity,
        /// Complete and promised at this version; 0: an incomplete one, to be copied into.
        version: u64,
        /// So many zero bytes to begin with.
        length: u32,
    },
    /// Write a mutation, with the header: data before checksums before header. What it replaces
    /// below the present length is there whole, or its new bytes are, whatever happens.
    Write {
        /// The version, which it is complete at.
        version: u64,
        /// The serial after the last one.
        serial: u64,
        /// For the window, with the sequence and the offset.
        writer: u64,
        /// The writer's number of it.
        sequence: u64,
        /// Where it goes: at most the present length.
        offset: u32,
        /// Its checksums are cut at multiples of 64 KiB of itself, not of the chunk.
        append: bool,
        /// Its bytes, one part behind the other.
        parts: Vec<Part<P>>,
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
        /// Bytes it holds from now on: at most the present length. What is behind is dropped.
        length: u32,
    },
    /// No more mutations.
    Seal,
    /// It is going to be overwritten: complete at nothing.
    Demote,
    /// Its blocks were made equal to those of another replica: take over length, serial, window.
    Become(CopyOutcome),
    /// Have everything that was written on the disk, bytes and header, so that it survives a loss
    /// of power.
    Flush,
    /// Delete it.
    Delete,
}

/// The operation under way, and what changes in memory when it succeeds.
#[derive(Debug)]
pub(super) enum Running {
    Write { serial: u64, writer: u64, sequence: u64, offset: u32, length: u32 },
    Seal,
    Flush,
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
    /// Starts the next operation if the disk is free. Commands start theirs themselves. Writes and
    /// flushes that wait for each other take turns.
    pub(super) fn next_disk(&mut self, out: &mut Outputs<P>) {
        if self.disk.is_some() {
            return;
        }
        if !self.flushed_last && self.begin_flush(out) {
            return;
        }
        self.flushed_last = false;
        if let Some(op) = self.next_write(out) {
            if let DiskOp::Write { serial, writer, sequence, offset, parts, .. } = &op {
                self.disk = Some(Running::Write {
                    serial: *serial,
                    writer: *writer,
                    sequence: *sequence,
                    offset: *offset,
                    length: parts.iter().map(|part| part.length).sum(),
                });
            }
            out.push(Output::Disk(op));
        } else if self.begin_flush(out) {
        } else if self.role.as_ref().is_some_and(|role| role.seal && role.ordered.is_empty())
            && self.header().is_some_and(|header| !header.sealed)
        {
            self.disk = Some(Running::Seal);
            out.push(Output::Disk(DiskOp::Seal));
        }
    }

    fn begin_flush(&mut self, out: &mut Outputs<P>) -> bool {
        let begins = self.take_flushes();
        if begins {
            self.flushed_last = true;
            self.disk = Some(Running::Flush);
            out.push(Output::Disk(DiskOp::Flush));
        }
        begins
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
            (Some(Running::Flush), Ok(())) => self.flushed_here(out),
            (Some(Running::Seal), Ok(())) => {
                if let Some(header) = self.header_mut() {
                    header.sealed = true;
                }
                self.seen.clear();
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
