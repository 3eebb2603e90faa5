//! mkdir, ls, stat, mv, rm.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use gfs_client::proto::{Attributes, FileType, goal::Kind};
use gfs_client::{Client, RemoveOptions};
use gfs_types::ErrorCode;
use serde::Serialize;

use crate::flags::{Format, Ls, Mkdir, Mv, Paths, Rm};
use crate::output::{bytes, columns, print, time};

/// A file or directory, as programs see it. Field names are stable.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    path: String,
    inode: u64,
    /// `file` or `directory`.
    r#type: &'static str,
    /// Bytes.
    length: u64,
    /// Of a file.
    copies: u32,
    chunks: u32,
    /// Of a directory.
    entries: u64,
    /// Milliseconds since 1970-01-01 UTC.
    modified_at: u64,
    created_at: u64,
    open_for_write: bool,
}

impl Item {
    pub(crate) fn new(path: String, attributes: &Attributes) -> Self {
        let copies = match attributes.goal.as_ref().and_then(|goal| goal.kind) {
            Some(Kind::Copies(copies)) => copies,
            None => 0,
        };
        Self {
            path,
            inode: attributes.inode,
            r#type: match attributes.r#type() {
                FileType::Directory => "directory",
                FileType::File | FileType::Unspecified => "file",
            },
            length: attributes.length,
            copies,
            chunks: attributes.chunks,
            entries: attributes.entries,
            modified_at: attributes.modified_at,
            created_at: attributes.created_at,
            open_for_write: attributes.open_for_write,
        }
    }

    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Its path, with a slash behind that of a directory.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.path, if self.is_directory() { "/" } else { "" })
    }

    fn is_directory(&self) -> bool {
        self.r#type == "directory"
    }
}

pub(crate) async fn mkdir(client: &Client, verb: &Mkdir) -> anyhow::Result<()> {
    for path in &verb.paths {
        if verb.parents {
            client.mkdir_all(path).await?;
        } else {
            client.mkdir(path).await?;
        }
    }
    Ok(())
}

pub(crate) async fn ls(client: &Client, verb: &Ls, format: Format) -> anyhow::Result<()> {
    let attributes = client.stat(&verb.path).await?;
    let top = Item::new(verb.path.clone(), &attributes);
    let mut items = Vec::new();
    if top.is_directory() {
        let mut directories = vec![verb.path.clone()];
        while let Some(directory) = directories.pop() {
            for entry in client.list(&directory).await? {
                let path = join(&directory, &entry.name);
                let item = Item::new(path, &entry.attributes.unwrap_or_default());
                if verb.recursive && item.is_directory() {
                    directories.push(item.path.clone());
                }
                items.push(item);
            }
        }
        items.sort_by(|a, b| a.path.cmp(&b.path));
    } else {
        items.push(top);
    }
    let prefix = format!("{}/", verb.path.trim_end_matches('/'));
    print(format, &items, |items| {
        let name = |item: &Item| {
            let name = item.path.strip_prefix(&prefix).unwrap_or(&item.path);
            format!("{name}{}", if item.is_directory() { "/" } else { "" })
        };
        if !verb.long {
            return items.iter().map(|item| name(item) + "\n").collect();
        }
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|item| {
                let (copies, size) = if item.is_directory() {
                    (String::from("-"), String::from("-"))
                } else {
                    (item.copies.to_string(), item.length.to_string())
                };
                let kind = if item.is_directory() { "d" } else { "-" };
                vec![kind.to_owned(), copies, size, time(item.modified_at), name(item)]
            })
            .collect();
        columns(&rows, &[1, 2])
    })
}

pub(crate) async fn stat(client: &Client, verb: &Paths, format: Format) -> anyhow::Result<()> {
    let mut items = Vec::new();
    for path in &verb.paths {
        items.push(Item::new(path.clone(), &client.stat(path).await?));
    }
    print(format, &items, |items| {
        let mut text = String::new();
        for item in items {
            let mut rows = vec![
                vec!["path".to_owned(), item.path.clone()],
                vec!["type".to_owned(), item.r#type.to_owned()],
                vec!["inode".to_owned(), item.inode.to_string()],
            ];
            if item.is_directory() {
                rows.push(vec!["entries".to_owned(), item.entries.to_string()]);
            } else {
                let size = format!("{} ({})", item.length, bytes(item.length));
                rows.push(vec!["length".to_owned(), size]);
                rows.push(vec!["copies".to_owned(), item.copies.to_string()]);
                rows.push(vec!["chunks".to_owned(), item.chunks.to_string()]);
                if item.open_for_write {
                    rows.push(vec!["open".to_owned(), "being written".to_owned()]);
                }
            }
            rows.push(vec!["modified".to_owned(), time(item.modified_at) + " UTC"]);
            rows.push(vec!["created".to_owned(), time(item.created_at) + " UTC"]);
            text += &columns(&rows, &[]);
        }
        text
    })
}

pub(crate) async fn mv(client: &Client, verb: &Mv) -> anyhow::Result<()> {
    let target = inside_directory(client, &verb.to, &verb.from).await?;
    client.rename(&verb.from, &target, verb.force).await?;
    Ok(())
}

pub(crate) async fn rm(client: &Client, verb: &Rm, quiet: bool) -> anyhow::Result<()> {
    let mut removed = 0;
    let options = RemoveOptions { recursive: verb.recursive, skip_trash: verb.skip_trash };
    for path in &verb.paths {
        let question = || format!("remove {path} and all that is in it?");
        if verb.recursive && !verb.force && !confirmed(&question())? {
            continue;
        }
        match client.remove_with(path, options).await {
            Ok(count) => removed += count,
            Err(error) if verb.force && error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    if verb.recursive && !quiet {
        eprintln!("removed {removed} files and directories");
    }
    Ok(())
}

/// Asks whoever sits at the terminal; if nobody does, that is a yes.
pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `target`, or the name of `source` inside it if it is a directory that exists.
pub(crate) async fn inside_directory(
    client: &Client,
    target: &str,
    source: &str,
) -> anyhow::Result<String> {
    let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match client.stat(target).await {
        Ok(attributes) if attributes.r#type() == FileType::Directory => {
            if name.is_empty() {
                bail!("{source} has no name; say what it is to be called in {target}");
            }
            Ok(join(target, name))
        }
        Ok(_) => Ok(target.to_owned()),
        Err(error) if error.code() == ErrorCode::NotFound && !target.ends_with('/') => {
            Ok(target.to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// The path of `name` in `directory`.
pub(crate) fn join(directory: &str, name: &str) -> String {
    format!("{}/{name}", directory.trim_end_matches('/'))
}
