//! The master is killed; the next one finds everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gfs_client::proto::FileType;
use gfs_local::{Part, Signal};

use super::tree::{self, TREE};
use crate::stage::Stage;
use crate::verdict::seconds;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.screen.title("6  The master is killed and started again");
    let begun = Instant::now();
    tokio::task::block_in_place(|| stage.cluster.kill(Part::Master, Signal::KILL))?;
    stage.cluster.take_ended()?;
    stage.restart(Part::Master)?;
    let answered = stage.client.stat(TREE).await.map(|_| begun.elapsed())?;
    stage
        .screen
        .say(&format!("SIGKILL to the master; the next one answers after {}", seconds(answered)));
    stage.verdict.note("the next master answers after", seconds(answered));

    let found = listed(stage).await?;
    let missing =
        stage.corpus.files.iter().filter(|file| found.get(&file.name) != Some(&file.bytes));
    let missing = missing.count();
    let seen = format!("{} files, {missing} missing", found.len());
    stage.screen.say(&format!("listed: {seen}"));
    let holds = missing == 0 && found.len() == stage.corpus.files.len();
    stage.verdict.claim("after the master's death: every file is listed", seen, holds);
    tree::get(stage.screen, &stage.client, &stage.corpus, TREE).await?;
    stage.verdict.claim("after the master's death: SHA-256 equal", "yes", true);
    stage.wait_whole(PATIENCE).await?;
    stage.claim_consistent("at the end").await
}

/// All files of the tree with their lengths.
async fn listed(stage: &Stage<'_>) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(directory) = directories.pop() {
        for entry in stage.client.list(&format!("{TREE}{directory}")).await? {
            let path = format!("{directory}/{}", entry.name);
            let attributes = entry.attributes.unwrap_or_default();
            if attributes.r#type() == FileType::Directory {
                directories.push(path);
            } else {
                found.insert(path.trim_start_matches('/').to_owned(), attributes.length);
            }
        }
    }
    Ok(found)
}
