//! Group commit: what many operations want to change, merged into one batch.

use std::collections::BTreeMap;

use crate::batch::{entry_bytes, sequence_bytes};
use crate::{Key, Limits, MAX_COUNTERS_BYTES, Mutation, TooLarge, Value};

/// Collects the mutations of whole operations until the batch is full.
///
/// A later operation's value for a key replaces an earlier one's, as if they had been committed one
/// after the other. An operation is taken whole or not at all: it is never half committed.
///
/// Room for the sequence record is set aside, so that [`puts`](Self::into_puts) always fit.
#[derive(Debug)]
pub struct GroupBatch {
    limits: Limits,
    puts: BTreeMap<Key, Option<Value>>,
    bytes: usize,
    operations: usize,
}

/// Why an operation was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room left for it here; it belongs into the next batch. Here it is back.
    Full(Vec<Mutation>),
    /// It would not even fit into a batch of its own.
    TooLarge(TooLarge),
}

impl GroupBatch {
    /// An empty batch for a store with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, puts: BTreeMap::new(), bytes: EMPTY_BYTES, operations: 0 }
    }

    /// Adds all mutations of one operation, in their order (of two with one key the later counts).
    /// An operation without mutations always fits.
    ///
    /// # Errors
    /// When it does not fit; the batch is unchanged then.
    pub fn add(&mut self, operation: Vec<Mutation>) -> Result<(), Refused> {
        alone(&self.limits, &operation).map_err(Refused::TooLarge)?;
        let Growth { entries, bytes } = self.growth(&operation);
        let fits = self.puts.len() + entries <= self.limits.max_operations
            && self.bytes + bytes <= self.limits.max_batch_bytes;
        if !fits {
            return Err(Refused::Full(operation));
        }
        self.bytes += bytes;
        self.operations += 1;
        self.puts.extend(operation);
        Ok(())
    }

    /// How many operations it holds.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// How many keys it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.puts.len()
    }

    /// Whether it changes nothing (it may hold operations without mutations).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty()
    }

    /// What it counts against [`Limits::max_batch_bytes`], room for the sequence record included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The merged mutations, for [`Batch::puts`](crate::Batch::puts).
    #[must_use]
    pub fn into_puts(self) -> BTreeMap<Key, Option<Value>> {
        self.puts
    }

    /// What taking the operation would add. Counts a key the batch has already as growing by the
    /// new value without giving back the old one's room: simple, and never too little.
    fn growth(&self, operation: &[Mutation]) -> Growth {
        let entries = operation.iter().filter(|(key, _)| !self.puts.contains_key(key)).count();
        let bytes = operation.iter().map(|(key, value)| entry_bytes(key, value.as_deref())).sum();
        Growth { entries, bytes }
    }
}

/// What an empty batch counts: the sequence record at its largest.
const EMPTY_BYTES: usize = sequence_bytes(MAX_COUNTERS_BYTES);

struct Growth {
    entries: usize,
    bytes: usize,
}

/// Whether an operation fits into an empty batch.
fn alone(limits: &Limits, operation: &[Mutation]) -> Result<(), TooLarge> {
    let mut bytes = EMPTY_BYTES;
    for (key, value) in operation {
        limits.check_entry(key, value.as_deref())?;
        bytes += entry_bytes(key, value.as_deref());
    }
    limits.check_operations(operation.len())?;
    limits.check_bytes(bytes)
}
