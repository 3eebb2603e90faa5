//! What is committed: a batch of mutations and the sequence record, and how large it may be.

use std::collections::BTreeMap;

use bytes::Bytes;
use gfs_types::CommitSequence;

use crate::{CommitError, TooLarge};

/// A record's key, without any prefix of the store. Not empty.
pub type Key = Bytes;

/// A record's value. May be empty.
pub type Value = Bytes;

/// One change: a put, or a deletion where the value is `None`. Deleting what is not there is no
/// error.
pub type Mutation = (Key, Option<Value>);

/// What every entry is counted with beside its key and value: framing, and the prefix under which
/// etcd keeps it. Generous, so that a batch within [`Limits::max_batch_bytes`] is certainly within
/// etcd's request limit.
pub const ENTRY_OVERHEAD_BYTES: usize = 96;

/// The most a [`SequenceRecord::counters`] may hold.
pub const MAX_COUNTERS_BYTES: usize = 1024;

/// The record that every batch replaces: the number of the last commit, and with it the leader's
/// id counters, so that numbers handed out are never handed out again.
///
/// Stored as one value: the sequence as 8 bytes big endian, then the counters, which are opaque to
/// the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceRecord {
    /// The number of the last commit; 0 in a store that has seen none.
    pub sequence: CommitSequence,
    /// The leader's id counters, in an encoding of its own; at most [`MAX_COUNTERS_BYTES`].
    pub counters: Bytes,
}

impl SequenceRecord {
    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(8 + self.counters.len());
        value.extend_from_slice(&self.sequence.0.to_be_bytes());
        value.extend_from_slice(&self.counters);
        value
    }

    /// Reads the stored form; `None` when it is too short to be one.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (sequence, counters) = value.split_first_chunk::<8>()?;
        Some(Self {
            sequence: CommitSequence(u64::from_be_bytes(*sequence)),
            counters: Bytes::copy_from_slice(counters),
        })
    }
}

/// A set of changes that takes effect whole or not at all. Each key stands once, by construction
/// (etcd refuses a transaction that names a key twice).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The sequence the store must be at: that of the caller's last commit.
    pub expected: CommitSequence,
    /// What the sequence record becomes. Its number is above `expected` and was never tried with
    /// this `expected` before (see [`MetaStore`](crate::MetaStore), *Unknown outcomes*); it need
    /// not be the next one.
    pub next: SequenceRecord,
    /// The changes by key; may be empty.
    pub puts: BTreeMap<Key, Option<Value>>,
}

impl Batch {
    /// What the batch is counted as against [`Limits::max_batch_bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let records: usize =
            self.puts.iter().map(|(key, value)| entry_bytes(key, value.as_deref())).sum();
        records + sequence_bytes(self.next.counters.len())
    }

    /// Whether it stores anything, rather than only deleting.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.puts.values().any(Option::is_some)
    }

    /// What every store checks before it looks at the guard: the batch can be one of ours, and is
    /// within `limits`.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] or [`CommitError::TooLarge`].
    pub fn check(&self, limits: &Limits) -> Result<(), CommitError> {
        if self.next.sequence <= self.expected {
            return Err(CommitError::Malformed("the sequence must grow"));
        }
        if self.puts.keys().any(Key::is_empty) {
            return Err(CommitError::Malformed("a key is empty"));
        }
        limits.check_counters(self.next.counters.len())?;
        limits.check_operations(self.puts.len())?;
        for (key, value) in &self.puts {
            limits.check_entry(key, value.as_deref())?;
        }
        Ok(limits.check_bytes(self.bytes())?)
    }
}

/// What one entry counts.
pub(crate) fn entry_bytes(key: &[u8], value: Option<&[u8]>) -> usize {
    ENTRY_OVERHEAD_BYTES + key.len() + value.map_or(0, <[u8]>::len)
}

/// What the sequence record counts.
pub(crate) const fn sequence_bytes(counters: usize) -> usize {
    ENTRY_OVERHEAD_BYTES + 8 + counters
}

/// What a store accepts in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Mutations in one batch, the sequence record not counted.
    pub max_operations: usize,
    /// Bytes in one batch as [`Batch::bytes`] counts them.
    pub max_batch_bytes: usize,
    /// Bytes in one value.
    pub max_value_bytes: usize,
    /// Bytes in one key.
    pub max_key_bytes: usize,
}

impl Limits {
    /// What etcd takes with its default settings: 128 operations in a transaction, one of which is
    /// the sequence record, and requests of 1.5 MiB. A single operation of the master stays within
    /// these in *every* store, so that metadata can move to etcd.
    pub const ETCD: Self = Self {
        max_operations: 127,
        max_batch_bytes: 1536 * 1024,
        max_value_bytes: 1024 * 1024,
        max_key_bytes: 4096,
    };

    pub(crate) fn check_counters(&self, found: usize) -> Result<(), TooLarge> {
        within("bytes of counters", found, MAX_COUNTERS_BYTES)
    }

    pub(crate) fn check_operations(&self, found: usize) -> Result<(), TooLarge> {
        within("operations in a batch", found, self.max_operations)
    }

    pub(crate) fn check_bytes(&self, found: usize) -> Result<(), TooLarge> {
        within("bytes in a batch", found, self.max_batch_bytes)
    }

    pub(crate) fn check_entry(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), TooLarge> {
        within("bytes in a key", key.len(), self.max_key_bytes)?;
        within("bytes in a value", value.map_or(0, <[u8]>::len), self.max_value_bytes)
    }
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), TooLarge> {
    if found > limit { Err(TooLarge { what, found, limit }) } else { Ok(()) }
}
