//! The chunks of all files, as the master's store has them.

use crate::master::Store;
use gfs_proto::v1 as pb;
use prost::Message;
use std::collections::BTreeMap;

/// Extents of a page of a file.
const PAGE: usize = 32;

/// A file's chunks.
#[derive(Clone, Debug, Default)]
pub struct Extents {
    /// Chunks that are a part of it, in order.
    pub extents: Vec<pb::ExtentRecord>,
    /// Bytes as recorded.
    pub length: u64,
    /// Somebody may write it.
    pub writer: u64,
    /// Asked for early.
    pub spare: Option<pb::ExtentRecord>,
}

/// Every file, by inode; and what could not be read.
#[must_use]
pub fn of(store: &Store) -> (BTreeMap<u64, Extents>, Vec<String>) {
    let mut files: BTreeMap<u64, Extents> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, value) in &store.records {
        match key.first() {
            Some(b'd') => match pb::EntryRecord::decode(value.clone()) {
                Ok(record) => {
                    let Some(file) = record.file else { continue };
                    let entry = files.entry(record.inode).or_default();
                    let pages = std::mem::take(&mut entry.extents);
                    entry.extents = file.extents;
                    entry.extents.extend(pages);
                    entry.length = file.length;
                    entry.writer = file.writer;
                    entry.spare = file.spare;
                }
                Err(error) => wrong.push(format!("record {key:?}: {error}")),
            },
            Some(b'x') => {
                let number = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
                let inode = number.map(u64::from_be_bytes).unwrap_or_default();
                match pb::ExtentPage::decode(value.clone()) {
                    Ok(page) => {
                        // Entries sort before pages, and pages in their order.
                        let entry = files.entry(inode).or_default();
                        if !entry.extents.len().is_multiple_of(PAGE) {
                            wrong.push(format!("inode {inode}: a page after a page not full"));
                        }
                        entry.extents.extend(page.extents);
                    }
                    Err(error) => wrong.push(format!("record {key:?}: {error}")),
                }
            }
            _ => {}
        }
    }
    (files, wrong)
}

/// The version of a record.
#[must_use]
pub fn version(record: &pb::ExtentRecord) -> u64 {
    record.version.max(1)
}
