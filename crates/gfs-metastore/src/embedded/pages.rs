//! Reading all records, page by page, without holding up commits.

use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;
use redb::ReadTransaction;

use super::engine::Failure;
use super::format::RECORDS;
use crate::snapshot::{Entry, PageSource};
use crate::{Key, StoreError};

const PAGE_ENTRIES: usize = 4096;
const PAGE_BYTES: usize = 1024 * 1024;

/// One consistent view of the records, and how far it was read.
pub(crate) struct TablePages {
    /// `None` while a page is being read, and for good once that was abandoned.
    cursor: Option<Cursor>,
}

struct Cursor {
    view: ReadTransaction,
    after: Option<Key>,
}

impl TablePages {
    pub(crate) fn new(view: ReadTransaction) -> Self {
        Self { cursor: Some(Cursor { view, after: None }) }
    }
}

#[async_trait]
impl PageSource for TablePages {
    async fn next_page(&mut self) -> Result<Vec<Entry>, StoreError> {
        let Some(cursor) = self.cursor.take() else {
            return Err(StoreError::Unavailable(
                "reading this snapshot was interrupted".to_owned(),
            ));
        };
        let read = tokio::task::spawn_blocking(move || cursor.next_page());
        let (cursor, page) = read
            .await
            .map_err(|e| StoreError::Corrupt(format!("reading records: {e}")))?
            .map_err(Failure::into_store_error)?;
        self.cursor = Some(cursor);
        Ok(page)
    }
}

impl Cursor {
    fn next_page(mut self) -> Result<(Self, Vec<Entry>), Failure> {
        let records = self.view.open_table(RECORDS)?;
        let from = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        let mut bytes = 0;
        for entry in records.range::<&[u8]>((from, Bound::Unbounded))? {
            let (key, value) = entry?;
            let (key, value) = (key.value(), value.value());
            bytes += key.len() + value.len();
            page.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if page.len() >= PAGE_ENTRIES || bytes >= PAGE_BYTES {
                break;
            }
        }
        drop(records);
        if let Some((last, _)) = page.last() {
            self.after = Some(last.clone());
        }
        Ok((self, page))
    }
}
