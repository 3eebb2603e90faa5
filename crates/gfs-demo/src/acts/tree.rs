//! A tree is stored and comes back as it was.

use std::sync::Arc;
use std::time::Duration;

use gfs_client::Client;

use crate::corpus::Corpus;
use crate::meter::Meter;
use crate::screen::Screen;
use crate::stage::Stage;
use crate::transfer::{get_tree, put_tree};

/// Where the tree stays.
pub(crate) const TREE: &str = "/tree";
const WHOLE: Duration = Duration::from_secs(20);

pub(crate) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.screen.title("1  A tree of files is stored, three copies of each chunk");
    let put = put(stage.screen, &stage.client, &stage.corpus, TREE).await?;
    let chunks = stage.client.locate(&format!("{TREE}/{}", stage.corpus.largest()?.name)).await?;
    stage.screen.say(&format!("the largest file has {} chunks", chunks.len()));
    stage.verdict.claim("a file of 3 chunks or more", chunks.len().to_string(), chunks.len() >= 3);
    let get = get(stage.screen, &stage.client, &stage.corpus, TREE).await?;
    stage.wait_whole(WHOLE).await?;
    stage.verdict.claim("the tree comes back, SHA-256 equal", "yes", true);
    stage.verdict.note("put, get", format!("{:.0}, {:.0} MB/s", put.1, get.1));
    stage.claim_consistent("after storing").await
}

/// Puts the corpus below `root`. Returns the stopwatch and the rate in MB/s.
pub(crate) async fn put(
    screen: &Screen,
    client: &Client,
    corpus: &Arc<Corpus>,
    root: &str,
) -> anyhow::Result<(Arc<Meter>, f64)> {
    let meter = Arc::new(Meter::new("put", corpus.bytes()));
    screen.showing(&meter, put_tree(client, corpus, root, &meter)).await?;
    Ok((Arc::clone(&meter), told(screen, &meter, "stored")))
}

/// Gets the tree at `root` and compares it with the corpus.
pub(crate) async fn get(
    screen: &Screen,
    client: &Client,
    corpus: &Arc<Corpus>,
    root: &str,
) -> anyhow::Result<(Arc<Meter>, f64)> {
    let meter = Arc::new(Meter::new("get", corpus.bytes()));
    screen.showing(&meter, get_tree(client, corpus, root, &meter)).await?;
    Ok((Arc::clone(&meter), told(screen, &meter, "fetched, SHA-256 of every file equal")))
}

fn told(screen: &Screen, meter: &Meter, what: &str) -> f64 {
    let rate = meter.rate();
    screen.say(&format!(
        "{what}: {:.0} MB in {:.1} s, {rate:.0} MB/s",
        meter.total() as f64 / 1e6,
        meter.elapsed().as_secs_f64()
    ));
    rate
}
