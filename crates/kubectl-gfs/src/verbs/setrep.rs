//! setrep.

use futures_util::TryStreamExt as _;
use gfs_client::proto::FileType;
use gfs_client::{Client, ErrorCode};
use serde::Serialize;

use crate::flags::{Format, Setrep};
use crate::output::print;

/// Names set at a time.
const AT_A_TIME: usize = 16;

#[derive(Default, Serialize)]
struct Set {
    copies: u32,
    files: u64,
    directories: u64,
}

pub(crate) async fn setrep(
    client: &Client,
    verb: &Setrep,
    quiet: bool,
    format: Format,
) -> anyhow::Result<()> {
    let mut done = Set { copies: verb.copies, ..Set::default() };
    for path in &verb.paths {
        let attributes = client.set_copies(path, verb.copies).await?;
        count(&mut done, attributes.r#type());
        if verb.recursive && attributes.r#type() == FileType::Directory {
            below(client, path, verb.copies, &mut done).await?;
        }
    }
    if quiet && format == Format::Text {
        return Ok(());
    }
    print(format, &done, |done| {
        format!("{} copies: {} files, {} directories\n", done.copies, done.files, done.directories)
    })
}

/// Sets the goal of all that is below a directory. What is removed meanwhile is none of it.
async fn below(client: &Client, root: &str, copies: u32, done: &mut Set) -> anyhow::Result<()> {
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let base = directory.trim_end_matches('/').to_owned();
        let set = client.entries(&directory).map_ok(|entry| {
            let path = format!("{base}/{}", entry.name);
            async move {
                match client.set_copies(&path, copies).await {
                    Ok(attributes) => Ok(Some((path, attributes.r#type()))),
                    Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        let set = set.try_buffer_unordered(AT_A_TIME);
        let found: Vec<_> = match set.try_collect().await {
            Ok(found) => found,
            Err(error) if error.code() == ErrorCode::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        for (path, kind) in found.into_iter().flatten() {
            count(done, kind);
            if kind == FileType::Directory {
                open.push(path);
            }
        }
    }
    Ok(())
}

fn count(done: &mut Set, kind: FileType) {
    match kind {
        FileType::Directory => done.directories += 1,
        _ => done.files += 1,
    }
}
