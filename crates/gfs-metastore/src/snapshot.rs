//! Loading everything, page by page.

use std::fmt;

use async_trait::async_trait;

use crate::{Key, Revision, SequenceRecord, StoreError, Value};

/// A record.
pub type Entry = (Key, Value);

/// All records of a store as of one revision.
pub struct Snapshot {
    /// The revision. [`follow`](crate::MetaStore::follow) from here misses nothing.
    pub revision: Revision,
    /// The sequence record at that revision.
    pub sequence: SequenceRecord,
    pages: Box<dyn PageSource>,
}

/// Where a [`Snapshot`] gets its pages from: the part a store implements.
#[async_trait]
pub trait PageSource: Send {
    /// The next records in the order of their keys, a few thousand and a few MiB at most; empty
    /// when all have been returned.
    ///
    /// # Errors
    /// As [`Snapshot::next_page`].
    async fn next_page(&mut self) -> Result<Vec<Entry>, StoreError>;
}

impl Snapshot {
    /// A snapshot reading from `pages`.
    #[must_use]
    pub fn new(revision: Revision, sequence: SequenceRecord, pages: Box<dyn PageSource>) -> Self {
        Self { revision, sequence, pages }
    }

    /// The next records in the order of their keys, a few thousand and a few MiB at most; `None`
    /// when all have been returned.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when loading took so long that the revision is gone, and
    /// [`StoreError::Unavailable`]: load again from the start.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        let page = self.pages.next_page().await?;
        Ok((!page.is_empty()).then_some(page))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
