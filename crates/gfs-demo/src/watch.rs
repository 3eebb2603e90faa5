//! An observer with a client of its own: tells what the master says of servers and incidents as it
//! happens, and keeps it beyond the master's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gfs_client::Client;
use gfs_client::proto::{Incident, ServerState, StatusResponse};
use gfs_local::Part;
use tokio::task::JoinSet;

use crate::screen::Screen;

const EVERY: Duration = Duration::from_millis(50);

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    states: BTreeMap<u32, ServerState>,
    /// Servers that are expected to be found dead now.
    absent: BTreeSet<u32>,
    /// What must not be: servers found dead that ran.
    false_deaths: Vec<String>,
    /// By server: the newest incident that names it, and when it was first seen full.
    incidents: BTreeMap<u32, (Incident, Option<Instant>)>,
    /// By server: the incident that is an old story.
    told: BTreeMap<u32, u64>,
}

/// The observer. It ends when dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

impl Watch {
    pub(crate) fn start(client: Client, screen: Screen, names: BTreeMap<u32, Part>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut task = JoinSet::new();
        let into = Arc::clone(&seen);
        task.spawn(async move {
            loop {
                // While the master is down there is nothing to be seen.
                if let Ok(status) = client.status().await {
                    for line in lock(&into).take(&status, &names) {
                        screen.say(&line);
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, _task: task }
    }

    /// From now on this server may be found dead.
    pub fn expect_absent(&self, server: u32) {
        let mut seen = lock(&self.seen);
        seen.absent.insert(server);
        if let Some((incident, _)) = seen.incidents.remove(&server) {
            seen.told.insert(server, incident.id);
        }
    }

    /// It is back: a death would be a false one again.
    pub fn expect_present(&self, server: u32) {
        lock(&self.seen).absent.remove(&server);
    }

    /// The newest incident that names this server, and when it was first seen full.
    #[must_use]
    pub fn incident(&self, server: u32) -> Option<(Incident, Option<Instant>)> {
        lock(&self.seen).incidents.get(&server).cloned()
    }

    /// Servers that were found dead although they ran.
    #[must_use]
    pub fn false_deaths(&self) -> Vec<String> {
        lock(&self.seen).false_deaths.clone()
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    /// Takes a status in. Returns what is worth telling.
    fn take(&mut self, status: &StatusResponse, names: &BTreeMap<u32, Part>) -> Vec<String> {
        let name = |number: u32| {
            names.get(&number).map_or_else(|| format!("server {number}"), Part::to_string)
        };
        let mut news = Vec::new();
        for server in &status.servers {
            let number = server.location.as_ref().map_or(0, |location| location.server);
            let state = server.state();
            let before = self.states.insert(number, state);
            if before == Some(state) || (before.is_none() && state == ServerState::Alive) {
                continue;
            }
            let word = state.as_str_name().trim_start_matches("SERVER_STATE_").to_lowercase();
            let why = if server.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", server.reason)
            };
            let line = format!("  {} is {word}{why}", name(number));
            if state == ServerState::Dead && !self.absent.contains(&number) {
                self.false_deaths.push(line.trim().to_owned());
            }
            news.push(line);
        }
        // They come newest first: of a server's incidents the newest is taken last.
        for incident in status.incidents.iter().rev() {
            for server in &incident.servers {
                let old = self.told.get(server).is_some_and(|told| incident.id <= *told);
                if !old && !self.take_incident(*server, incident) {
                    self.false_deaths.push(format!("incident: {}", incident.cause));
                }
            }
        }
        news
    }

    /// Keeps the incident of a server. Says whether it may be.
    fn take_incident(&mut self, server: u32, incident: &Incident) -> bool {
        let known = self.incidents.get(&server).filter(|(known, _)| known.id == incident.id);
        let expected = known.is_some() || self.absent.contains(&server);
        let full_at = known.and_then(|(_, full_at)| *full_at);
        let full_at = full_at.or_else(|| incident.full_ms.map(|_| Instant::now()));
        self.incidents.insert(server, (incident.clone(), full_at));
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_client::proto::{ServerLocation, ServerStatus};

    fn status(state: ServerState, incidents: Vec<Incident>) -> StatusResponse {
        let location = Some(ServerLocation { server: 7, ..ServerLocation::default() });
        let server = ServerStatus { location, state: state.into(), ..ServerStatus::default() };
        StatusResponse { servers: vec![server], incidents, ..StatusResponse::default() }
    }

    #[test]
    fn a_death_counts_as_false_unless_it_was_expected() {
        let (mut seen, names) = (Seen::default(), BTreeMap::new());
        assert!(seen.take(&status(ServerState::Alive, vec![]), &names).is_empty());
        seen.absent.insert(7);
        assert_eq!(seen.take(&status(ServerState::Dead, vec![]), &names).len(), 1);
        assert!(seen.take(&status(ServerState::Dead, vec![]), &names).is_empty(), "no news");
        seen.take(&status(ServerState::Alive, vec![]), &names);
        assert!(seen.false_deaths.is_empty());
        seen.absent.remove(&7);
        seen.take(&status(ServerState::Dead, vec![]), &names);
        assert_eq!(seen.false_deaths.len(), 1);
    }

    #[test]
    fn an_incident_is_kept_with_the_moment_it_was_full() {
        let (mut seen, names) = (Seen::default(), BTreeMap::new());
        seen.absent.insert(7);
        let open = Incident { id: 1, servers: vec![7], ..Incident::default() };
        seen.take(&status(ServerState::Dead, vec![open.clone()]), &names);
        assert!(seen.incidents.get(&7).expect("kept").1.is_none());
        let full = Incident { full_ms: Some(9), ..open };
        seen.take(&status(ServerState::Dead, vec![full.clone()]), &names);
        let first = seen.incidents.get(&7).expect("kept").1.expect("full");
        seen.take(&status(ServerState::Dead, vec![full.clone()]), &names);
        assert_eq!(seen.incidents.get(&7).expect("kept").1, Some(first), "the first moment stays");
        seen.absent.remove(&7);
        seen.take(&status(ServerState::Alive, vec![full]), &names);
        assert!(seen.false_deaths.is_empty(), "it is the known one");
        let other = Incident { id: 2, servers: vec![7], ..Incident::default() };
        seen.take(&status(ServerState::Alive, vec![other]), &names);
        assert_eq!(seen.false_deaths.len(), 1);
    }
}
