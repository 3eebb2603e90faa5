//! Records that many append to one file: who was told what of each, and what of it a file that is
//! read must show.
//!
//! A record says which one it is and how long, and its bytes follow from that: a file must be
//! records and nothing else, each whole.

use crate::content;
use bytes::{BufMut as _, Bytes, BytesMut};
use std::collections::BTreeMap;

/// Magic, number, length.
const HEAD: usize = 16;
const MAGIC: u32 = 0x5245_4331;
/// The least bytes of a record.
pub const LEAST: u32 = HEAD as u32 + 1;

/// What became of a record, as its appender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on its way.
    Sent,
    /// It was acknowledged, at this offset.
    Stored(u64),
    /// Nobody could tell: it is there once, or not.
    Unknown,
    /// It failed in a way that says that it is not there.
    Never,
}

/// A record.
#[derive(Clone, Debug)]
pub struct Record {
    length: u32,
    /// What its appender knows.
    pub fate: Fate,
    /// It was acknowledged to be on disk.
    pub on_disk: bool,
    /// Where a reader has seen it: what was read once stays.
    seen: Option<u64>,
}

/// The records of a file.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// A number of the file's own, so that its records are told from those of others.
    key: u64,
    records: Vec<Record>,
}

impl Records {
    /// No records, of the file with this number.
    #[must_use]
    pub const fn new(key: u64) -> Self {
        Self { key, records: Vec::new() }
    }

    /// A new record, on its way: its number and its bytes.
    pub fn send(&mut self, length: u32) -> (usize, Bytes) {
        let number = self.records.len();
        self.records.push(Record { length, fate: Fate::Sent, on_disk: false, seen: None });
        (number, self.bytes(number, length))
    }

    fn bytes(&self, number: usize, length: u32) -> Bytes {
        let mut bytes = BytesMut::with_capacity(length as usize);
        bytes.put_u32_le(MAGIC);
        bytes.put_u64_le(number as u64);
        bytes.put_u32_le(length);
        let key = content::key(self.key, number as u64);
        bytes.extend_from_slice(&content::bytes(key, 0, (length as usize).saturating_sub(HEAD)));
        bytes.freeze()
    }

    /// One of the records.
    pub fn record(&mut self, number: usize) -> Option<&mut Record> {
        self.records.get_mut(number)
    }

    /// Whoever sent this is gone, or gave up: what it was not told is not known.
    pub fn give_up(&mut self, numbers: impl IntoIterator<Item = usize>) {
        for number in numbers {
            if let Some(record) = self.record(number).filter(|r| r.fate == Fate::Sent) {
                record.fate = Fate::Unknown;
            }
        }
    }

    /// Where the last record ends that was acknowledged (or, `on_disk`, acknowledged to be on disk).
    #[must_use]
    pub fn end(&self, on_disk: bool) -> u64 {
        let ends = self.records.iter().filter_map(|record| match record.fate {
            Fate::Stored(at) if record.on_disk || !on_disk => Some(at + u64::from(record.length)),
            _ => None,
        });
        ends.max().unwrap_or(0)
    }

    /// Where the last record ends that begins in this range and was acknowledged to be on disk.
    #[must_use]
    pub fn on_disk_within(&self, from: u64, to: u64) -> u64 {
        let ends = self.records.iter().filter_map(|record| match record.fate {
            Fate::Stored(at) if record.on_disk && (from..to).contains(&at) => {
                Some(at + u64::from(record.length))
            }
            _ => None,
        });
        ends.max().unwrap_or(from)
    }

    /// Which records these bytes are, from the beginning of the file on: numbers with offsets.
    /// `cut`: the last one may be cut short. Or what is wrong with them.
    fn parse(&self, file: &[u8], cut: bool) -> (Vec<(usize, u64)>, Option<String>) {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(rest) = file.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(head) = rest.first_chunk::<HEAD>() else {
                return (found, (!cut).then(|| format!("a piece of a record at {at}")));
            };
            let word = |place: usize| {
                let bytes = head.get(place..place + 4).and_then(|b| b.try_into().ok());
                u32::from_le_bytes(bytes.unwrap_or_default())
            };
            let number = (u64::from(word(4)) | u64::from(word(8)) << 32) as usize;
            let length = word(12);
            let known = self.records.get(number).is_some_and(|record| record.length == length);
            if word(0) != MAGIC || !known {
                return (found, Some(format!("no record begins at {at}")));
            }
            let Some(whole) = rest.get(..length as usize) else {
                let text = format!("record {number} at {at} is cut short");
                return (found, (!cut).then_some(text));
            };
            if let Some(wrong) = content::difference(&self.bytes(number, length), whole) {
                let text = format!("record {number} at {at} is damaged at its byte {wrong}");
                return (found, Some(text));
            }
            found.push((number, at as u64));
            at += length as usize;
        }
        (found, None)
    }

    /// What is wrong with the content of the file, from its beginning on, as far as it is not
    /// excused from some byte on. `whole`: it is all of the file, so nothing may be missing (of what
    /// was acknowledged when it ended `least`); `by_reader`: what is in it was shown to somebody.
    #[must_use]
    pub fn check(
        &mut self,
        file: &[u8],
        whole: bool,
        by_reader: bool,
        excused: Option<u64>,
        least: u64,
    ) -> Vec<String> {
        let limit = excused.unwrap_or(u64::MAX);
        let (found, wrong) = self.parse(file, !whole);
        let end = found.last().map_or(0, |(number, at)| {
            at + self.records.get(*number).map_or(0, |record| u64::from(record.length))
        });
        let mut complaints: Vec<String> = wrong.into_iter().filter(|_| end < limit).collect();
        let mut places: BTreeMap<usize, u64> = BTreeMap::new();
        for (number, at) in found.into_iter().filter(|(_, at)| *at < limit) {
            if let Some(before) = places.insert(number, at) {
                complaints.push(format!("record {number} is at {before} and at {at}"));
            }
            let Some(record) = self.records.get_mut(number) else { continue };
            let end = at + u64::from(record.length);
            match record.fate {
                Fate::Stored(told) if told != at && end <= limit => complaints
                    .push(format!("record {number} is at {at}, its appender was told {told}")),
                Fate::Never => complaints.push(format!(
                    "record {number} is at {at}, its appender was told that it is not stored"
                )),
                _ => {}
            }
            if let Some(seen) = record.seen.filter(|seen| *seen != at && end <= limit) {
                complaints.push(format!("record {number} is at {at}, it was seen at {seen}"));
            }
            if by_reader {
                record.seen = Some(at);
            }
        }
        if !whole || !complaints.is_empty() {
            return complaints;
        }
        for (number, record) in self.records.iter().enumerate() {
            let told = match record.fate {
                Fate::Stored(told) => Some(told),
                _ => record.seen,
            };
            let must = told.filter(|at| at + u64::from(record.length) <= limit.min(least));
            if let Some(at) = must
                && !places.contains_key(&number)
            {
                complaints.push(format!("record {number} is missing, which was at {at}"));
            }
        }
        complaints
    }

    /// From here on a loss of power took every copy: what was seen there may be gone.
    pub fn forget_seen(&mut self, from: u64) {
        for record in &mut self.records {
            record.seen.take_if(|at| *at + u64::from(record.length) > from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> (Records, Vec<u8>) {
        let mut records = Records::new(5);
        let mut file = Vec::new();
        for (length, fate) in [(100, Fate::Stored(0)), (LEAST, Fate::Unknown), (5000, Fate::Sent)] {
            let (number, bytes) = records.send(length);
            if let Some(record) = records.record(number) {
                record.fate = fate;
            }
            file.extend_from_slice(&bytes);
        }
        (records, file)
    }

    fn complaints(records: &mut Records, file: &[u8]) -> usize {
        records.check(file, true, false, None, u64::MAX).len()
    }

    #[test]
    fn records_are_found_and_anything_else_is_noticed() {
        let (mut records, file) = three();
        let first = 100;
        assert_eq!(complaints(&mut records, &file), 0);
        assert_eq!(complaints(&mut records, &file[..first]), 0, "the others may be missing");
        assert_eq!(complaints(&mut records, &[]), 1, "missing");
        assert_eq!(complaints(&mut records, &file[..file.len() - 1]), 1, "cut");
        assert_eq!(records.check(&file[..200], false, false, None, 0).len(), 0);
        let twice = [&file[..], &file[first..first + LEAST as usize]].concat();
        assert_eq!(complaints(&mut records, &twice), 1, "twice");
        let moved = [&file[first..], &file[..first]].concat();
        assert_eq!(complaints(&mut records, &moved), 1, "elsewhere");
        assert_eq!(complaints(&mut records, &[&file[..], &[0; 64]].concat()), 1, "padding");
        let mut torn = file.clone();
        torn[60] ^= 1;
        assert!(complaints(&mut records, &torn) > 0, "damaged");
        records.record(1).unwrap().fate = Fate::Never;
        assert_eq!(complaints(&mut records, &file), 1, "not to be there");
    }

    #[test]
    fn what_was_read_once_stays() {
        let (mut records, file) = three();
        assert!(records.check(&file, true, true, None, u64::MAX).is_empty());
        assert_eq!(complaints(&mut records, &file[..100]), 2);
        records.forget_seen(100);
        assert_eq!(complaints(&mut records, &file[..100]), 0);
    }
}
