//! A chunkserver dies, or hangs, while one tree is written and another is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use gfs_client::RemoveOptions;
use gfs_client::proto::Incident;
use gfs_local::{Part, Signal};

use super::tree::{self, TREE};
use crate::meter::Meter;
use crate::stage::Stage;
use crate::transfer::{get_tree, put_tree};
use crate::verdict::seconds;

/// How much is written and read when the server dies, at least.
const PUT_BYTES: u64 = 150 << 20;
const GET_BYTES: u64 = 300 << 20;
/// The get begins when the put has come this far, in percent.
const GET_AT: f64 = 2.0;
/// The death comes when both have come this far.
const DEATH_AT: f64 = 12.0;
const POLL: Duration = Duration::from_millis(1);
/// Within which each kill must land, in percent of the bytes of put and get.
const WINDOW: std::ops::RangeInclusive<f64> = 10.0..=90.0;
const FULL: Duration = Duration::from_secs(5);
/// How long recovery is awaited before it counts as not having happened.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// SIGKILL: gone, its connections closed by the kernel.
    Killed,
    /// SIGSTOP: silent, its connections open.
    Frozen,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "SIGKILL",
            Self::Frozen => "SIGSTOP",
        }
    }

    const fn detected(self) -> Duration {
        match self {
            Self::Killed => Duration::from_secs(1),
            Self::Frozen => Duration::from_secs(2),
        }
    }

    const fn stall(self) -> Duration {
        match self {
            Self::Killed => Duration::from_secs(2),
            Self::Frozen => Duration::from_secs(4),
        }
    }

    const fn signal(self) -> Signal {
        match self {
            Self::Killed => Signal::KILL,
            Self::Frozen => Signal::STOP,
        }
    }
}

/// The moment of death.
struct Death {
    victim: Part,
    number: u32,
    at: Instant,
    put: f64,
    get: f64,
}

pub(crate) async fn play(stage: &mut Stage<'_>, kind: Kind) -> anyhow::Result<()> {
    let name = kind.name();
    let root = format!("/during-{}", name.to_lowercase());
    stage.screen.title(match kind {
        Kind::Killed => "2  A chunkserver is killed (SIGKILL) while files are written and read",
        Kind::Frozen => "3  A chunkserver is frozen (SIGSTOP) while files are written and read",
    });
    let written = Arc::new(stage.corpus.largest_files(PUT_BYTES));
    let read = Arc::new(stage.corpus.largest_files(GET_BYTES));
    stage.screen.say(&format!(
        "putting {} files with {} MB more, getting {} of the tree with {} MB meanwhile",
        written.files.len(),
        written.bytes() / 1_000_000,
        read.files.len(),
        read.bytes() / 1_000_000
    ));
    let put = Arc::new(Meter::new("put", written.bytes()));
    let get = Arc::new(Meter::new("get", read.bytes()));
    let (death, (), ()) = tokio::try_join!(
        kill(stage, kind, &root, &put, &get),
        stage.screen.showing(&put, put_tree(&stage.client, &written, &root, &put)),
        async {
            reaches(&put, GET_AT).await;
            stage.screen.showing(&get, get_tree(&stage.client, &read, TREE, &get)).await
        },
    )?;
    stage.screen.say("put and get finished; every file that was read had the right SHA-256");
    let (put_stall, get_stall) = (put.stall(), get.stall());
    for (meter, stall) in [(&put, &put_stall), (&get, &get_stall)] {
        stage.screen.say(&format!(
            "longest stall of the {}: {} ({} at byte {})",
            meter.name(),
            seconds(stall.span),
            stall.file,
            stall.at
        ));
    }
    let (incident, full_at) = recovery(stage, &death).await?;
    let times = Times::new(&incident, death.at, full_at);
    stage.screen.say(&times.told());

    let landed = WINDOW.contains(&death.put) && WINDOW.contains(&death.get);
    stage.verdict.claim(
        format!("{name} within 10-90 % of put and get"),
        format!("{:.0} %, {:.0} %", death.put, death.get),
        landed,
    );
    stage.verdict.within(
        &format!("{name}: longest stall of the put"),
        Some(put_stall.span),
        kind.stall(),
    );
    stage.verdict.within(
        &format!("{name}: longest stall of the get"),
        Some(get_stall.span),
        kind.stall(),
    );
    stage.verdict.within(&format!("{name}: detected"), Some(times.detected), kind.detected());
    let note = |span: Option<Duration>| span.map_or_else(|| "never".to_owned(), seconds);
    stage.verdict.note(format!("{name}: first copy begun"), note(times.first_clone));
    stage.verdict.note(format!("{name}: no chunk below 2 copies"), note(times.two_copies));
    stage.verdict.within(&format!("{name}: full redundancy"), times.full, FULL);

    // What was written meanwhile is what it should be, too.
    tree::get(stage.screen, &stage.client, &written, &root).await?;
    stage.verdict.claim(format!("{name}: what was put meanwhile, SHA-256 equal"), "yes", true);

    match kind {
        Kind::Killed => stage.restart(death.victim)?,
        Kind::Frozen => stage.cluster.cont(death.victim)?,
    }
    stage.screen.say(&format!("{} is let back", death.victim));
    stage.wait_whole(PATIENCE).await?;
    stage.watch.expect_present(death.number);
    stage.claim_consistent(&format!("after {name} and return")).await?;
    let options = RemoveOptions { recursive: true, skip_trash: true };
    let removed = stage.client.remove_with(&root, options).await?;
    stage.screen.say(&format!("removed {removed} files and directories again"));
    ensure!(removed as usize > written.files.len(), "too few were removed");
    Ok(())
}

pub(super) async fn reaches(meter: &Meter, percent: f64) {
    while meter.percent() < percent {
        tokio::time::sleep(POLL).await;
    }
}

/// Waits for both transfers to be under way, then signals a server in the chain of the chunk that
/// is being written at the end of the largest file.
async fn kill(
    stage: &Stage<'_>,
    kind: Kind,
    root: &str,
    put: &Meter,
    get: &Meter,
) -> anyhow::Result<Death> {
    tokio::join!(reaches(put, DEATH_AT), reaches(get, DEATH_AT));
    let largest = format!("{root}/{}", stage.corpus.largest()?.name);
    let chunks = stage.client.locate(&largest).await?;
    let last = chunks.last().context("the largest file has no chunk yet")?;
    // Of the servers in its chain the one whose loss costs most.
    let status = stage.client.status().await?;
    let number = status
        .servers
        .iter()
        .filter_map(|server| Some((server.chunks, server.location.as_ref()?.server)))
        .filter(|(_, number)| last.servers.iter().any(|member| member.server == *number))
        .max()
        .map(|(_, number)| number)
        .context("its last chunk has no server")?;
    let victim = stage.part(number)?;
    stage.watch.expect_absent(number);
    let at = Instant::now();
    tokio::task::block_in_place(|| stage.cluster.kill(victim, kind.signal()))?;
    let death = Death { victim, number, at, put: put.percent(), get: get.percent() };
    stage.screen.say(&format!(
        "{} to {victim}, with the put at {:.0} % and the get at {:.0} %",
        kind.name(),
        death.put,
        death.get
    ));
    if kind == Kind::Killed {
        // It was we who ended it.
        stage.cluster.take_ended()?;
    }
    Ok(death)
}

/// The incident of a death, once its chunks are full again, and when that was seen.
async fn recovery(stage: &Stage<'_>, death: &Death) -> anyhow::Result<(Incident, Option<Instant>)> {
    let until = Instant::now() + PATIENCE;
    loop {
        match stage.watch.incident(death.number) {
            Some((incident, Some(full_at))) => return Ok((incident, Some(full_at))),
            Some((incident, None)) if Instant::now() >= until => return Ok((incident, None)),
            _ => {}
        }
        ensure!(Instant::now() < until, "the master never noticed the death of {}", death.victim);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The four times of a recovery. `detected` counts from the last sign of life, which is before the
/// death; so do the others.
struct Times {
    detected: Duration,
    first_clone: Option<Duration>,
    two_copies: Option<Duration>,
    full: Option<Duration>,
    chunks: u64,
    bytes: u64,
}

impl Times {
    fn new(incident: &Incident, death: Instant, full_at: Option<Instant>) -> Self {
        let detected = Duration::from_millis(incident.detected_ms.into());
        let since = |ms: Option<u32>| ms.map(|ms| detected + Duration::from_millis(ms.into()));
        // By the master's account, or by ours if that is longer.
        let full = match (since(incident.full_ms), full_at) {
            (Some(full), Some(full_at)) => Some(full.max(full_at.duration_since(death))),
            _ => None,
        };
        Self {
            detected,
            first_clone: since(incident.first_clone_ms),
            two_copies: since(incident.two_copies_ms),
            full,
            chunks: incident.chunks,
            bytes: incident.bytes,
        }
    }

    fn told(&self) -> String {
        let span = |span: Option<Duration>| span.map_or_else(|| "never".to_owned(), seconds);
        format!(
            "recovery, from the last sign of life: detected {}, first copy begun {}, no chunk \
             below 2 copies {}, full redundancy {} ({} chunks, {} MB)",
            seconds(self.detected),
            span(self.first_clone),
            span(self.two_copies),
            span(self.full),
            self.chunks,
            self.bytes / 1_000_000
        )
    }
}
