//! drain, undrain.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use gfs_client::Client;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::flags::{Drain, Format, Servers};
use crate::output::print;

/// How often the state is asked for.
const ASKED_EVERY: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Drained {
    server: u32,
    draining: bool,
    /// Chunks that still list the server.
    chunks_left: u64,
    may_be_removed: bool,
    /// Why it does not go on; empty: it does, or is done.
    stuck: String,
}

pub(crate) async fn drain(
    client: &Client,
    verb: &Drain,
    timeout: u64,
    format: Format,
) -> anyhow::Result<()> {
    let servers = &verb.which.servers;
    for server in servers {
        client.set_drain(*server, true, verb.force).await?;
    }
    let deadline = Instant::now() + Duration::from_secs(timeout);
    let states = loop {
        let states = states(client, servers).await?;
        if !verb.wait || states.iter().all(|state| state.may_be_removed) {
            break states;
        }
        if let Some(state) = states.iter().find(|state| !state.draining) {
            bail!("the drain of s{} was taken back", state.server);
        }
        if Instant::now() >= deadline {
            bail!("not done within {timeout} s: {}", shown(&states).trim_end());
        }
        sleep(ASKED_EVERY).await;
    };
    print(format, &states, |states| shown(states))
}

pub(crate) async fn undrain(client: &Client, verb: &Servers, format: Format) -> anyhow::Result<()> {
    for server in &verb.servers {
        client.set_drain(*server, false, false).await?;
    }
    print(format, &states(client, &verb.servers).await?, |states| shown(states))
}

/// The state of these servers.
async fn states(client: &Client, servers: &[u32]) -> anyhow::Result<Vec<Drained>> {
    let all = client.servers().await?;
    let number = |status: &gfs_client::proto::ServerStatus| {
        status.location.as_ref().map_or(0, |location| location.server)
    };
    let wanted = all.into_iter().filter(|status| servers.contains(&number(status)));
    Ok(wanted
        .map(|status| Drained {
            server: number(&status),
            draining: status.draining,
            chunks_left: status.chunks_left,
            may_be_removed: status.may_be_removed,
            stuck: status.drain_stuck,
        })
        .collect())
}

fn shown(states: &[Drained]) -> String {
    let mut text = String::new();
    for state in states {
        let what = if !state.draining {
            "takes chunks again".to_owned()
        } else if state.may_be_removed {
            "drained: may be removed".to_owned()
        } else if state.stuck.is_empty() {
            format!("draining: {} chunks left", state.chunks_left)
        } else {
            format!("draining is stuck with {} chunks left: {}", state.chunks_left, state.stuck)
        };
        let _ = writeln!(text, "s{}: {what}", state.server);
    }
    text
}
