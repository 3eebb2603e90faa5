//! put, get, cat, tail.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use gfs_client::Client;
use gfs_client::proto::FileType;
use gfs_types::ErrorCode;

use super::names::{inside_directory, join};
use crate::flags::{Cat, Get, Put, Tail};
use crate::progress::Progress;
use crate::transfer::{self, Source};

pub(crate) async fn put(client: &Client, verb: Put, quiet: bool) -> anyhow::Result<()> {
    let progress = Progress::new("stored", quiet);
    let several = verb.sources.len() > 1;
    let mut files: Vec<(Source, String)> = Vec::new();
    for source in verb.sources {
        if source.as_os_str() == "-" {
            files.push((Source::Stdin, verb.target.clone()));
            continue;
        }
        let metadata = std::fs::metadata(&source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        let name = source.file_name().map(utf8).transpose()?.unwrap_or_default();
        let target = inside_directory(client, &verb.target, &name).await?;
        if several && target == verb.target {
            bail!("{} is no directory; several sources need one", verb.target);
        }
        if metadata.is_dir() {
            if !verb.recursive {
                bail!("{} is a directory; use -r to store all that is in it", source.display());
            }
            put_tree(client, &source, &target, &mut files, &progress).await?;
        } else {
            progress.expect(metadata.len());
            files.push((Source::File(source), target));
        }
    }
    if !verb.force {
        for (_, target) in files.iter().filter(|_| !verb.recursive) {
            if client.exists(target).await? {
                bail!("{target} exists; use --force to replace it");
            }
        }
    }
    let progress = &progress;
    let durability = verb.durability.into();
    transfer::each(files, verb.parallel, |(source, target)| async move {
        transfer::store(client, source, &target, verb.force, durability, progress)
            .await
            .with_context(|| format!("storing {target}"))?;
        progress.file_done(&target);
        Ok(())
    })
    .await?;
    progress.finish();
    Ok(())
}

/// Makes the directories of a tree, and notes its files.
async fn put_tree(
    client: &Client,
    source: &Path,
    target: &str,
    files: &mut Vec<(Source, String)>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut directories = VecDeque::from([(source.to_owned(), target.to_owned())]);
    while let Some((from, to)) = directories.pop_front() {
        client.mkdir_all(&to).await?;
        let entries =
            std::fs::read_dir(&from).with_context(|| format!("cannot list {}", from.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
            let path = entry.path();
            let kind = entry.file_type()?;
            let target = join(&to, &utf8(entry.file_name())?);
            if kind.is_dir() {
                directories.push_back((path, target));
            } else if kind.is_file() {
                progress.expect(entry.metadata()?.len());
                files.push((Source::File(path), target));
            } else {
                eprintln!("skipped {}: neither a file nor a directory", path.display());
            }
        }
    }
    Ok(())
}

pub(crate) async fn get(client: &Client, verb: Get, quiet: bool) -> anyhow::Result<()> {
    if verb.target.as_os_str() == "-" {
        let progress = Progress::new("fetched", true);
        for source in &verb.sources {
            transfer::print(client, source, 0, None, &progress).await?;
        }
        return Ok(());
    }
    let progress = Progress::new("fetched", quiet);
    let into_directory = verb.target.is_dir();
    if verb.sources.len() > 1 && !into_directory {
        bail!("{} is no directory; several sources need one", verb.target.display());
    }
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for source in &verb.sources {
        let attributes = client.stat(source).await?;
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let target = if into_directory && !name.is_empty() {
            verb.target.join(name)
        } else {
            verb.target.clone()
        };
        if attributes.r#type() == FileType::Directory {
            if !verb.recursive {
                bail!("{source} is a directory; use -r to fetch all that is in it");
            }
            get_tree(client, source, &target, &mut files, &progress).await?;
        } else {
            progress.expect(attributes.length);
            files.push((source.clone(), target));
        }
    }
    let progress = &progress;
    transfer::each(files, verb.parallel, |(source, target)| async move {
        transfer::fetch(client, &source, &target, verb.force, progress)
            .await
            .with_context(|| format!("fetching {source}"))?;
        progress.file_done(&source);
        Ok(())
    })
    .await?;
    progress.finish();
    Ok(())
}

async fn get_tree(
    client: &Client,
    source: &str,
    target: &Path,
    files: &mut Vec<(String, PathBuf)>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut directories = VecDeque::from([(source.to_owned(), target.to_owned())]);
    while let Some((from, to)) = directories.pop_front() {
        std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        for entry in client.list(&from).await? {
            let attributes = entry.attributes.unwrap_or_default();
            let (path, local) = (join(&from, &entry.name), to.join(&entry.name));
            if attributes.r#type() == FileType::Directory {
                directories.push_back((path, local));
            } else {
                progress.expect(attributes.length);
                files.push((path, local));
            }
        }
    }
    Ok(())
}

pub(crate) async fn cat(client: &Client, verb: &Cat) -> anyhow::Result<()> {
    let progress = Progress::new("read", true);
    for (number, path) in verb.paths.iter().enumerate() {
        length_of(client, path).await?;
        let last = number + 1 == verb.paths.len();
        if verb.follow && last {
            transfer::follow(client, path, verb.offset).await?;
        } else {
            transfer::print(client, path, verb.offset, verb.length, &progress).await?;
        }
    }
    Ok(())
}

pub(crate) async fn tail(client: &Client, verb: &Tail) -> anyhow::Result<()> {
    let from = length_of(client, &verb.path).await?.saturating_sub(verb.bytes);
    if verb.follow {
        return transfer::follow(client, &verb.path, from).await;
    }
    let progress = Progress::new("read", true);
    transfer::print(client, &verb.path, from, Some(verb.bytes), &progress).await
}

async fn length_of(client: &Client, path: &str) -> anyhow::Result<u64> {
    let attributes = client.stat(path).await?;
    if attributes.r#type() == FileType::Directory {
        let code = ErrorCode::IsADirectory;
        bail!("cannot read {path}: it is a directory ({code})");
    }
    Ok(attributes.length)
}

fn utf8(name: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<String> {
    let name = name.as_ref();
    match name.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => bail!("the name {} is not valid UTF-8; rename it first", name.to_string_lossy()),
    }
}
