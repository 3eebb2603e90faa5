//! The acts, one file each, in the order they are played.

mod death;
mod records;
mod rot;
mod successor;
mod trash;
mod tree;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::corpus::Corpus;
use crate::screen::Screen;
use crate::stage::Stage;
use crate::verdict::{Outcome, seconds};

/// An act may take at most this long; each wait within has a limit of its own.
const ACT: Duration = Duration::from_secs(120);
/// What all of it may take.
const ALL: Duration = Duration::from_secs(180);

/// Plays all acts on a fresh cluster in `directory`, prints the table, and says what it comes to.
///
/// # Errors
/// Where it could not be played to the end.
pub async fn run(directory: &Path, screen: &Screen) -> anyhow::Result<Outcome> {
    screen.title("A file system whose servers die while you watch");
    let corpus =
        tokio::task::spawn_blocking(Corpus::choose).await.context("choosing panicked")??;
    let largest = corpus.largest()?;
    screen.say(&format!(
        "input: {} files, {} MB, from this machine's Rust toolchain and crates",
        corpus.files.len(),
        corpus.bytes() / 1_000_000
    ));
    screen.say(&format!("the largest is {} with {} MB", largest.name, largest.bytes / 1_000_000));
    let corpus = Arc::new(corpus);
    let mut stage = Stage::set(directory, screen, Arc::clone(&corpus)).await?;
    screen.say(&format!(
        "cluster: a master and {} chunkservers; look on with: kubectl-gfs --endpoint {} status",
        stage.cluster.servers().count(),
        stage.cluster.endpoint()
    ));
    stage
        .verdict
        .note("input", format!("{} files, {} MB", corpus.files.len(), corpus.bytes() / 1_000_000));

    let played = play(&mut stage).await;
    if let Err(error) = &played {
        screen.say(&format!("FAILED: {error:#}"));
        stage.verdict.claim("every act was played to its end", "no", false);
    }
    show_status(&stage).await;
    let took = screen.elapsed();
    stage.verdict.claim(format!("all of it < {} s", ALL.as_secs()), seconds(took), took < ALL);
    screen.title("What was claimed, and what was seen");
    screen.line(stage.verdict.table().trim_end());
    screen.line("");
    screen.line(&match stage.verdict.failures() {
        0 => "All of it held.".to_owned(),
        1 => "1 claim did NOT hold.".to_owned(),
        count => format!("{count} claims did NOT hold."),
    });
    let outcome = stage.verdict.outcome();
    // Its servers' leaving is no news.
    drop(stage.watch);
    tokio::task::block_in_place(|| stage.cluster.shutdown())?;
    Ok(outcome)
}

async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    bounded("storing a tree", tree::play(stage)).await?;
    bounded("the killed server", death::play(stage, death::Kind::Killed)).await?;
    bounded("the frozen server", death::play(stage, death::Kind::Frozen)).await?;
    bounded("the rotten bytes", rot::play(stage)).await?;
    bounded("the removed tree", trash::play(stage)).await?;
    bounded("the killed master", successor::play(stage)).await?;
    bounded("the appended records", records::play(stage)).await?;
    let deaths = stage.watch.false_deaths();
    for death in &deaths {
        stage.screen.say(&format!("it ran, and yet: {death}"));
    }
    let ended = tokio::task::block_in_place(|| stage.cluster.take_ended())?;
    for (part, status) in &ended {
        stage.screen.say(&format!("{part} ended by itself: {status}"));
    }
    stage.verdict.claim(
        "only servers that were stopped were found dead",
        if deaths.is_empty() { "yes".to_owned() } else { format!("{} others", deaths.len()) },
        deaths.is_empty(),
    );
    stage.verdict.claim(
        "no process ended by itself",
        if ended.is_empty() { "yes".to_owned() } else { format!("{} did", ended.len()) },
        ended.is_empty(),
    );
    Ok(())
}

async fn bounded(what: &str, act: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::time::timeout(ACT, act)
        .await
        .with_context(|| format!("{what} took longer than {ACT:?}"))?
        .with_context(|| what.to_owned())
}

/// What an administrator would see now.
async fn show_status(stage: &Stage<'_>) {
    let binary = stage.cluster.options().binaries.master.with_file_name("kubectl-gfs");
    let endpoint = stage.cluster.endpoint();
    stage.screen.title(&format!("$ kubectl-gfs --endpoint {endpoint} status"));
    let output = tokio::process::Command::new(&binary)
        .args(["--endpoint", &endpoint, "--timeout", "10", "status"])
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(Duration::from_secs(15), output).await {
        Ok(Ok(output)) => {
            stage.screen.line(String::from_utf8_lossy(&output.stdout).trim_end());
            let words = String::from_utf8_lossy(&output.stderr);
            if !words.trim().is_empty() {
                stage.screen.line(words.trim_end());
            }
        }
        Ok(Err(error)) => stage.screen.line(&format!("{}: {error}", binary.display())),
        Err(_) => stage.screen.line("no answer"),
    }
}
