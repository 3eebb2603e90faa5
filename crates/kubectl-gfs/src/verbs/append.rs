//! append.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use gfs_client::{AppendOptions, Client, CreateOptions};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::flags::{Append, Format};
use crate::output;
use crate::progress::Progress;

/// Records that may be on their way, and the bytes of them.
const RECORDS: usize = 1024;
const BYTES: usize = 32 << 20;
/// Records that are read together, and the bytes of them.
const READ_RECORDS: usize = 256;
const READ_BYTES: usize = 1 << 20;

/// What an append did.
#[derive(Serialize)]
struct Appended {
    path: String,
    records: u64,
    bytes: u64,
    /// Offsets in the file of the first and the last record.
    first: Option<u64>,
    last: Option<u64>,
}

pub(crate) async fn append(
    client: &Client,
    verb: Append,
    format: Format,
    quiet: bool,
) -> anyhow::Result<()> {
    let create = CreateOptions { parents: verb.parents, ..CreateOptions::default() };
    let options = AppendOptions {
        create: (!verb.no_create).then_some(create),
        durability: verb.durability.into(),
    };
    let file = client.open_append_with(&verb.path, options).await?;
    let most = file.max_record();
    let cut = if verb.lines {
        Cut::Lines(most as usize)
    } else if (1..=u64::from(most)).contains(&verb.record) {
        Cut::Every(verb.record as usize)
    } else {
        // Nobody else waits for a right that is not used.
        file.close().await?;
        bail!("a record has 1 to {most} bytes, not {}", verb.record);
    };
    let progress = Progress::new("appended", quiet);
    let (sender, mut read) = mpsc::channel(2);
    let sources = verb.sources;
    let reader = tokio::task::spawn_blocking(move || read_all(sources, &cut, &sender));

    let mut done =
        Appended { path: verb.path.clone(), records: 0, bytes: 0, first: None, last: None };
    let mut under_way = FuturesOrdered::new();
    let mut bytes_under_way = 0;
    let mut ended = false;
    let outcome = loop {
        let full = under_way.len() >= RECORDS || bytes_under_way >= BYTES;
        tokio::select! {
            Some(stored) = under_way.next() => {
                let (offset, length) = match stored {
                    Ok(stored) => stored,
                    Err(error) => break Err(anyhow::Error::from(error)),
                };
                bytes_under_way -= length;
                done.records += 1;
                done.bytes += length as u64;
                done.first.get_or_insert(offset);
                done.last = Some(offset);
                progress.moved(length as u64);
            }
            records = read.recv(), if !ended && !full => match records {
                Some(records) => {
                    for record in records {
                        let length = record.len();
                        bytes_under_way += length;
                        let stored = file.append(record);
                        under_way.push_back(async move {
                            stored.await.map(|offset| (offset, length))
                        });
                    }
                }
                None => ended = true,
            },
            else => break Ok(()),
        }
    };
    drop(under_way);
    drop(read);
    let outcome = match outcome {
        Ok(()) => reader.await.context("the reading thread failed")?,
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(()) => file.close().await.map(drop).map_err(anyhow::Error::from),
        Err(error) => {
            // The first error is the one to tell.
            let _ = file.close().await;
            Err(error)
        }
    };
    progress.clear();
    if outcome.is_err() {
        eprintln!("{} records were acknowledged before the failure", done.records);
    } else if format != Format::Text || !quiet {
        output::print(format, &done, text)?;
    }
    outcome
}

fn text(done: &Appended) -> String {
    let plural = if done.records == 1 { "" } else { "s" };
    let what = format!("appended {} record{plural}, {}", done.records, output::bytes(done.bytes));
    match (done.first, done.last) {
        (Some(first), Some(last)) if first != last => {
            format!("{what}, to {}: the first at {first}, the last at {last}\n", done.path)
        }
        (Some(first), _) => format!("{what}, to {}: at {first}\n", done.path),
        _ => format!("{what}\n"),
    }
}

/// How the input is cut into records.
enum Cut {
    /// At the ends of lines, of at most so many bytes.
    Lines(usize),
    /// Every so many bytes.
    Every(usize),
}

/// Reads records, some at a time, until there are no more or nobody wants them.
fn read_all(
    sources: Vec<PathBuf>,
    cut: &Cut,
    sender: &mpsc::Sender<Vec<Bytes>>,
) -> anyhow::Result<()> {
    let sources = if sources.is_empty() { vec![PathBuf::from("-")] } else { sources };
    for source in sources {
        let from: Box<dyn Read> = if source.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = std::fs::File::open(&source)
                .with_context(|| format!("cannot read {}", source.display()))?;
            Box::new(file)
        };
        let mut from = BufReader::with_capacity(READ_BYTES, from);
        loop {
            let (mut records, mut length) = (Vec::new(), 0);
            while records.len() < READ_RECORDS && length < READ_BYTES {
                let record = match read_record(&mut from, cut) {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) => {
                        // What came before it is appended.
                        let _ = sender.blocking_send(records);
                        return Err(error.context(format!("reading {}", source.display())));
                    }
                };
                length += record.len();
                records.push(record);
                // What is there already goes together; nothing waits for more input.
                if !from.buffer().contains(&b'\n') {
                    break;
                }
            }
            if records.is_empty() {
                break;
            }
            if sender.blocking_send(records).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The next record; `None` at the end.
fn read_record(from: &mut BufReader<Box<dyn Read>>, cut: &Cut) -> anyhow::Result<Option<Bytes>> {
    let mut record = Vec::new();
    match *cut {
        Cut::Lines(most) => {
            from.by_ref().take(most as u64 + 1).read_until(b'\n', &mut record)?;
            if record.len() > most {
                bail!("a line has more than {most} bytes, the most that a record can have");
            }
        }
        Cut::Every(length) => {
            from.by_ref().take(length as u64).read_to_end(&mut record)?;
        }
    }
    Ok((!record.is_empty()).then(|| Bytes::from(record)))
}
