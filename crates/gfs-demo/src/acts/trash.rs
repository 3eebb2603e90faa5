//! The tree is removed by mistake, and brought back.

use std::sync::Arc;

use anyhow::Context as _;

use super::tree::{self, TREE};
use crate::stage::Stage;

/// Bytes of the files that are compared afterwards, about.
const COMPARED: u64 = 100_000_000;

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.screen.title("5  The tree is removed, and restored from the trash");
    let removed = stage.client.remove_all(TREE).await?;
    let gone = !stage.client.exists(TREE).await?;
    let entry = stage.client.find_in_trash(TREE).await?;
    stage.screen.say(&format!(
        "removed {removed} files and directories; the trash has {} of them as one entry",
        entry.files + entry.directories
    ));
    let inode = entry.attributes.context("the entry has no attributes")?.inode;
    let path = stage.client.restore_trash(inode, None).await?;
    stage.screen.say(&format!("{path} is back"));
    let back = gone && path == TREE && stage.client.stat(TREE).await?.inode == inode;
    stage.verdict.claim(
        "a removed tree is gone, and restored as it was",
        if back { "yes" } else { "no" },
        back,
    );
    let largest = Arc::new(stage.corpus.largest_files(COMPARED));
    tree::get(stage.screen, &stage.client, &largest, TREE).await?;
    stage.verdict.claim("after the restore: SHA-256 equal", "yes", true);
    stage.claim_consistent("after the restore").await
}
