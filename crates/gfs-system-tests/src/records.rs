//! Records that can be told from any other, appended by many and found again in a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use gfs_client::{Appender, Client, Durability, ErrorCode};
use gfs_types::Crc;
use tokio::task::JoinSet;

use crate::bench::Bench;
use crate::content::{Content, Dice};
use crate::replicas::Replica;

/// Magic, appender, number, length; the CRC of the whole record is its last four bytes.
const HEAD: usize = 20;
const MAGIC: u32 = 0x5245_4331;
/// The least bytes of a record.
pub const LEAST: usize = HEAD + 4;

/// The record of this number of an appender, `length` bytes long.
#[must_use]
pub fn record(appender: u64, number: u32, length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_u32_le(MAGIC);
    bytes.put_u64_le(appender);
    bytes.put_u32_le(number);
    bytes.put_u32_le(length as u32);
    let content = Content(appender ^ (u64::from(number) << 40));
    bytes.extend_from_slice(&content.bytes(0, length.saturating_sub(LEAST)));
    let crc = Crc::of(&bytes);
    bytes.put_u32_le(crc.0);
    bytes.freeze()
}

/// Which records a file has: (appender, number) → offset. It must be records and nothing else, each
/// whole and there once.
///
/// # Errors
/// Where it is not.
pub fn records_of(file: &[u8]) -> anyhow::Result<BTreeMap<(u64, u32), u64>> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    while at < file.len() {
        let rest = file.get(at..).unwrap_or_default();
        let head: &[u8; HEAD] = rest.first_chunk().context("a piece of a record at the end")?;
        let word = |place: usize| {
            let bytes: [u8; 4] = head[place..place + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(bytes)
        };
        let appender = u64::from(word(4)) | u64::from(word(8)) << 32;
        let (number, length) = (word(12), word(16) as usize);
        ensure!(word(0) == MAGIC && length >= LEAST, "no record begins at {at}");
        let whole = rest.get(..length).with_context(|| format!("cut short at {at}"))?;
        ensure!(
            whole == record(appender, number, length),
            "record {number} of {appender} at {at} is damaged"
        );
        if let Some(before) = found.insert((appender, number), at as u64) {
            bail!("record {number} of {appender} is at {before} and at {at}");
        }
        at += length;
    }
    Ok(found)
}

/// How appenders get on. Shared with whoever kills servers meanwhile.
#[derive(Debug, Default)]
pub struct Appending {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Appending {
    /// Records that were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Has the appenders close at the next opportunity.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// What was acknowledged to one appender, and what nobody could tell it.
#[derive(Debug, Default)]
pub struct Told {
    /// Offsets by number.
    pub stored: BTreeMap<u32, u64>,
    /// Those that may be there or not.
    pub unknown: Vec<u32>,
    /// Records that were handed in.
    pub handed_in: u32,
}

/// Appends up to `count` records of random lengths up to `most`, a few at a time, and closes.
///
/// # Errors
/// What the client says.
pub async fn append_records(
    client: Client,
    path: String,
    appender: u64,
    count: u32,
    most: usize,
    progress: Arc<Appending>,
) -> anyhow::Result<Told> {
    let mut dice = Dice::new(appender);
    let file = Arc::new(client.open_append(&path).await?);
    let mut told = Told::default();
    while told.handed_in < count && !progress.stop.load(Ordering::SeqCst) {
        let together = (1 + dice.below(8) as u32).min(count - told.handed_in);
        let records = (0..together).map(|n| {
            let number = told.handed_in + n;
            let length = LEAST + dice.below((most - LEAST) as u64 + 1) as usize;
            (number, record(appender, number, length))
        });
        let answers = append_together(&file, records.collect()).await?;
        told.handed_in += together;
        for (number, answer) in answers {
            match answer {
                Ok(offset) => {
                    progress.acknowledged.fetch_add(1, Ordering::SeqCst);
                    told.stored.insert(number, offset);
                }
                Err(error) if error.code() == ErrorCode::OutcomeUnknown => {
                    told.unknown.push(number);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if dice.below(16) == 0 {
            file.sync(Durability::Default).await?;
        }
    }
    if let Ok(file) = Arc::try_unwrap(file) {
        file.close().await?;
    }
    Ok(told)
}

type Answers = Vec<(u32, gfs_client::Result<u64>)>;

async fn append_together(
    file: &Arc<Appender>,
    records: Vec<(u32, Bytes)>,
) -> anyhow::Result<Answers> {
    let mut tasks = JoinSet::new();
    for (number, record) in records {
        let file = Arc::clone(file);
        tasks.spawn(async move { (number, file.append(record).await) });
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer?);
    }
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers)
}

impl Bench {
    /// Reads a file from end to end.
    ///
    /// # Errors
    /// What the client says.
    pub async fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut file = self.client.open(path).await?;
        while let Some(piece) = file.next_piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Checks that a file is records and nothing else, each where its appender was told, and nothing
    /// is missing. (A record of which nobody could tell may be there.)
    ///
    /// # Errors
    /// Where it is not so.
    pub async fn check_records(&self, path: &str, told: &[(u64, Told)]) -> anyhow::Result<()> {
        let found = records_of(&self.read(path).await?).context(path.to_owned())?;
        let mut expected = 0;
        for (appender, told) in told {
            for (number, offset) in &told.stored {
                let place = found.get(&(*appender, *number));
                ensure!(
                    place == Some(offset),
                    "record {number} of {appender} was acknowledged at {offset}, found: {place:?}"
                );
            }
            let unknown = told.unknown.iter().filter(|n| found.contains_key(&(*appender, **n)));
            expected += told.stored.len() + unknown.count();
        }
        ensure!(expected == found.len(), "{} records, of which {expected} are known", found.len());
        Ok(())
    }

    /// Compares the replicas of a closed file, on the disks, with what a client reads: there must be
    /// `copies` of each chunk, all the same.
    ///
    /// # Errors
    /// Where it is not so.
    pub async fn check_replicas_are_equal(&self, path: &str, copies: usize) -> anyhow::Result<()> {
        let file = self.read(path).await?;
        let mut position = 0;
        for chunk in self.client.locate(path).await? {
            ensure!(chunk.start == position, "{path} has a gap at {position}: {chunk:?}");
            position += u64::from(chunk.length);
            let bytes = file.get(chunk.start as usize..position as usize);
            let bytes = bytes.with_context(|| format!("{path} is shorter than {position}"))?;
            if chunk.hole {
                ensure!(bytes.iter().all(|byte| *byte == 0), "a hole at {}", chunk.start);
                continue;
            }
            ensure!(chunk.servers.len() == copies, "{chunk:?} is not on {copies} servers");
            for server in &chunk.servers {
                let data: &Path = self.cluster.data(self.part(server)?)?;
                let replica = Replica::of(data, chunk.handle, self.chunk_size())?
                    .with_context(|| format!("no replica in {}", data.display()))?;
                let stored = replica.bytes()?;
                ensure!(
                    stored == bytes,
                    "{} has {} bytes, which differ from the {} of the file",
                    replica.path.display(),
                    stored.len(),
                    bytes.len()
                );
            }
        }
        ensure!(position == file.len() as u64, "the chunks have {position} bytes");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_and_anything_else_is_noticed() {
        let file = [record(1, 0, 100), record(2, 0, LEAST), record(1, 1, 5000)].concat();
        let found = records_of(&file).expect("it is records");
        assert_eq!(found.get(&(1, 1)), Some(&(100 + LEAST as u64)));
        assert!(records_of(&[file.clone(), record(2, 0, LEAST).to_vec()].concat()).is_err());
        assert!(records_of(&file[..file.len() - 1]).is_err());
        assert!(records_of(&[&file[..], &[0; 64]].concat()).is_err());
        let mut torn = file;
        torn[60] ^= 1;
        assert!(records_of(&torn).is_err());
    }
}
