//! trash list, trash restore, trash empty.

use anyhow::bail;
use gfs_client::Client;
use gfs_client::proto::TrashEntry;
use serde::Serialize;

use super::names::{Item, confirmed};
use crate::flags::{Empty, Format, Restore, TrashVerb};
use crate::output::{columns, print, time};

/// An entry of the trash, as programs see it. Field names are stable.
#[derive(Debug, Serialize)]
struct Removed {
    /// What was removed, with the path it had; its inode names the entry.
    #[serde(flatten)]
    item: Item,
    /// Files in it, itself included.
    files: u64,
    /// Directories in it, itself included.
    directories: u64,
    /// Milliseconds since 1970-01-01 UTC.
    deleted_at: u64,
    expires_at: u64,
}

impl Removed {
    fn new(entry: TrashEntry) -> Self {
        Self {
            item: Item::new(entry.path, &entry.attributes.unwrap_or_default()),
            files: entry.files,
            directories: entry.directories,
            deleted_at: entry.deleted_at,
            expires_at: entry.expires_at,
        }
    }
}

/// Where something is again.
#[derive(Debug, Serialize)]
struct Restored {
    inode: u64,
    path: String,
}

/// What is gone for good.
#[derive(Debug, Serialize)]
struct Emptied {
    /// Files and directories.
    removed: u64,
}

pub(crate) async fn trash(
    client: &Client,
    verb: &TrashVerb,
    format: Format,
    quiet: bool,
) -> anyhow::Result<()> {
    match verb {
        TrashVerb::List => list(client, format).await,
        TrashVerb::Restore(verb) => restore(client, verb, format, quiet).await,
        TrashVerb::Empty(verb) => empty(client, verb, format, quiet).await,
    }
}

async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let mut entries: Vec<_> = client.trash().await?.into_iter().map(Removed::new).collect();
    entries.sort_by_key(|entry| (entry.deleted_at, entry.item.inode()));
    print(format, &entries, |entries| {
        if entries.is_empty() {
            return String::new();
        }
        let head = ["inode", "removed (UTC)", "until (UTC)", "files", "path"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for entry in entries {
            rows.push(vec![
                entry.item.inode().to_string(),
                time(entry.deleted_at),
                time(entry.expires_at),
                entry.files.to_string(),
                entry.item.shown(),
            ]);
        }
        columns(&rows, &[0, 3])
    })
}

async fn restore(
    client: &Client,
    verb: &Restore,
    format: Format,
    quiet: bool,
) -> anyhow::Result<()> {
    let inode = meant(client, &verb.entry).await?;
    let path = client.restore_trash(inode, verb.to.as_deref()).await?;
    if format == Format::Text && quiet {
        return Ok(());
    }
    print(format, &Restored { inode, path }, |restored| format!("restored {}\n", restored.path))
}

async fn empty(client: &Client, verb: &Empty, format: Format, quiet: bool) -> anyhow::Result<()> {
    let removed = match &verb.entry {
        Some(entry) => {
            let inode = meant(client, entry).await?;
            if !verb.force && !confirmed(&format!("give up {entry} for good?"))? {
                return Ok(());
            }
            client.empty_trash_entry(inode).await?
        }
        None => {
            if !verb.force && !confirmed("give up everything in the trash for good?")? {
                return Ok(());
            }
            client.empty_trash().await?
        }
    };
    if format == Format::Text && quiet {
        return Ok(());
    }
    print(format, &Emptied { removed }, |emptied| {
        format!("gave up {} files and directories\n", emptied.removed)
    })
}

/// The inode of the entry that is meant by its number or by the path it had.
async fn meant(client: &Client, entry: &str) -> anyhow::Result<u64> {
    if !entry.starts_with('/') {
        return match entry.parse() {
            Ok(inode) => Ok(inode),
            Err(_) => bail!("{entry:?} is neither an absolute path nor an inode"),
        };
    }
    Ok(client.find_in_trash(entry).await?.attributes.unwrap_or_default().inode)
}
