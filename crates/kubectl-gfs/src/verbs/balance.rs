//! rebalance.

use std::time::Duration;

use anyhow::bail;
use gfs_client::Client;
use gfs_client::proto::BalanceStatus;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::flags::{Format, Rebalance};
use crate::output::{bytes, print};

/// How often the state is asked for.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// How equally full the servers are.
#[derive(Serialize)]
pub(crate) struct Balance {
    active: bool,
    /// Because somebody asked.
    asked: bool,
    balanced: bool,
    /// How full the servers are.
    emptiest_percent: f64,
    fullest_percent: f64,
    /// Copies on their way.
    moving: u64,
    bytes_left: u64,
    /// Since the master leads.
    moved_chunks: u64,
    moved_bytes: u64,
    /// Why nothing is begun though something is to be done; empty: it goes on, or is done.
    waits_for: String,
}

impl From<BalanceStatus> for Balance {
    fn from(status: BalanceStatus) -> Self {
        let percent = |permille: u32| f64::from(permille) / 10.0;
        Self {
            active: status.active,
            asked: status.asked,
            balanced: status.balanced,
            emptiest_percent: percent(status.emptiest_permille),
            fullest_percent: percent(status.fullest_permille),
            moving: status.moving,
            bytes_left: status.bytes_left,
            moved_chunks: status.moved_chunks,
            moved_bytes: status.moved_bytes,
            waits_for: status.waits_for,
        }
    }
}

/// In one line.
pub(crate) fn shown(balance: &Balance) -> String {
    let what = if balance.active || balance.moving > 0 {
        let left = bytes(balance.bytes_left);
        let moving = balance.moving;
        format!("balancing, {left} to move, {moving} copies on their way")
    } else if balance.balanced {
        "balanced".to_owned()
    } else {
        "not balanced".to_owned()
    };
    let waits = match balance.waits_for.as_str() {
        "" => String::new(),
        why => format!("; waits: {why}"),
    };
    let (low, high) = (balance.emptiest_percent, balance.fullest_percent);
    format!("servers are {low} to {high} % full: {what}{waits}\n")
}

pub(crate) async fn rebalance(
    client: &Client,
    verb: &Rebalance,
    timeout: u64,
    format: Format,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(timeout);
    let mut status = if verb.status {
        client.status().await?.balance.unwrap_or_default()
    } else {
        client.rebalance(verb.stop).await?
    };
    while verb.wait && (status.active || status.moving > 0) {
        if Instant::now() >= deadline {
            bail!("not done within {timeout} s: {}", shown(&status.into()).trim_end());
        }
        sleep(ASKED_EVERY).await;
        status = client.status().await?.balance.unwrap_or_default();
    }
    print(format, &Balance::from(status), shown)
}
