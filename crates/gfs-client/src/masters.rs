//! The masters: who leads, and calls that find their way there.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gfs_proto::v1 as pb;
use gfs_transport::Dialer;
use gfs_types::{ClusterId, ErrorCode};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// Wait after all masters were asked in vain; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for one master's answer: a hung one must not use up the deadline.
const ONE_ANSWER: Duration = Duration::from_secs(5);
/// Addresses remembered.
const MOST_ADDRESSES: usize = 16;

/// Calls the leading master, wherever it is.
#[derive(Debug)]
pub(crate) struct Masters {
    dialer: Dialer,
    addresses: Mutex<Addresses>,
    /// The highest epoch seen.
    epoch: AtomicU64,
    pub(crate) client_id: u64,
    cluster: Mutex<Option<ClusterId>>,
    sequences: Mutex<Sequences>,
}

#[derive(Debug)]
struct Addresses {
    /// As configured and as told, without repeats.
    all: Vec<String>,
    /// Where the leader was last.
    current: usize,
}

/// Sequences of mutations: handed out in order, answered in any.
#[derive(Debug, Default)]
struct Sequences {
    last: u64,
    unanswered: BTreeSet<u64>,
}

impl Masters {
    pub(crate) fn new(dialer: Dialer, endpoints: Vec<String>, client_id: u64) -> Self {
        Self {
            dialer,
            addresses: Mutex::new(Addresses { all: endpoints, current: 0 }),
            epoch: AtomicU64::new(0),
            client_id,
            cluster: Mutex::new(None),
            sequences: Mutex::default(),
        }
    }

    /// The same masters for another client: an id and operations of its own.
    pub(crate) fn for_another(&self, client_id: u64) -> Self {
        let endpoints = lock(&self.addresses).all.clone();
        let other = Self::new(self.dialer.clone(), endpoints, client_id);
        lock(&other.addresses).current = lock(&self.addresses).current;
        *lock(&other.cluster) = self.cluster();
        other.saw_epoch(self.epoch());
        other
    }

    /// The header of a call that changes nothing.
    pub(crate) fn header(&self) -> pb::RequestHeader {
        let cluster = *lock(&self.cluster);
        pb::RequestHeader {
            cluster_id: cluster.map(|id| id.to_bytes().to_vec().into()).unwrap_or_default(),
            client_id: self.client_id,
            epoch: self.epoch.load(Ordering::Relaxed),
            ..pb::RequestHeader::default()
        }
    }

    /// The header of a mutation. Its sequence counts as unanswered until the mutation is dropped:
    /// keep it over all tries of the call.
    pub(crate) fn mutation(&self) -> Mutation<'_> {
        let mut sequences = lock(&self.sequences);
        sequences.last += 1;
        let sequence = sequences.last;
        sequences.unanswered.insert(sequence);
        let answered_through = sequences.unanswered.first().map_or(sequence, |first| first - 1);
        drop(sequences);
        let header = pb::RequestHeader { sequence, answered_through, ..self.header() };
        Mutation { masters: self, header }
    }

    pub(crate) fn set_cluster(&self, cluster: ClusterId) {
        *lock(&self.cluster) = Some(cluster);
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        *lock(&self.cluster)
    }

    /// The epoch of an answer.
    pub(crate) fn saw_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// The highest epoch seen.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Adds addresses of masters.
    pub(crate) fn learn(&self, addresses: impl IntoIterator<Item = String>) {
        let mut known = lock(&self.addresses);
        for address in addresses {
            if known.all.len() < MOST_ADDRESSES && !known.all.contains(&address) {
                known.all.push(address);
            }
        }
    }

    /// Calls the leader: asks wherever it may be, again and again, until it answers or `patience` is
    /// over. `call` sends the same message each time, so a mutation takes effect once.
    pub(crate) async fn call<T, F>(
        &self,
        patience: Duration,
        mut call: impl FnMut(Channel) -> F,
    ) -> Result<T, pb::ErrorDetail>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        let mut tries = 0_usize;
        let mut last = pb::ErrorDetail::new(ErrorCode::Unavailable, "no master was asked");
        loop {
            let (address, known) = self.current();
            let detail = match self.dialer.peer(&address) {
                Err(error) => pb::ErrorDetail::new(ErrorCode::InvalidArgument, error.to_string()),
                Ok(peer) => {
                    let until = deadline.min(Instant::now() + ONE_ANSWER);
                    match timeout_at(until, call(peer.control())).await {
                        Ok(Ok(response)) => return Ok(response.into_inner()),
                        Ok(Err(status)) => {
                            // A channel that cannot connect says so without our details.
                            let mut detail = gfs_proto::detail_of(&status);
                            if status.details().is_empty() {
                                detail.message = format!("{address}: {}", detail.message);
                            }
                            detail
                        }
                        Err(_) => pb::ErrorDetail::new(
                            ErrorCode::Unavailable,
                            format!("the master at {address} does not answer"),
                        ),
                    }
                }
            };
            tries += 1;
            match detail.error_code() {
                ErrorCode::NotLeader if !detail.leader_addresses.is_empty() => {
                    self.go_to(&detail.leader_addresses);
                }
                ErrorCode::NotLeader | ErrorCode::NotReady | ErrorCode::Unavailable => {
                    self.go_on(&address);
                }
                // Servers may be on their way back, as they are when the master was restarted.
                ErrorCode::TooFewServers => tries = tries.next_multiple_of(known),
                _ => return Err(detail),
            }
            let wait = Duration::from_millis(u64::from(detail.retry_after_ms)).max(pause);
            last = better(last, detail);
            if tries.is_multiple_of(known) {
                if Instant::now() + wait >= deadline {
                    return Err(give_up(last, patience));
                }
                sleep(wait).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else if Instant::now() >= deadline {
                return Err(give_up(last, patience));
            }
        }
    }

    /// Where to ask now, and how many addresses there are.
    fn current(&self) -> (String, usize) {
        let known = lock(&self.addresses);
        let address = known.all.get(known.current).or(known.all.first());
        (address.cloned().unwrap_or_default(), known.all.len().max(1))
    }

    fn go_to(&self, leaders: &[String]) {
        self.learn(leaders.iter().cloned());
        let mut known = lock(&self.addresses);
        if let Some(place) =
            leaders.iter().find_map(|leader| known.all.iter().position(|known| known == leader))
        {
            known.current = place;
        }
    }

    /// Away from a master that did not lead, unless another call went on already.
    fn go_on(&self, from: &str) {
        let mut known = lock(&self.addresses);
        if known.all.get(known.current).is_some_and(|current| current == from) {
            known.current = (known.current + 1) % known.all.len().max(1);
        }
    }
}

/// A mutation under way: its header, for all tries.
pub(crate) struct Mutation<'a> {
    masters: &'a Masters,
    pub(crate) header: pb::RequestHeader,
}

impl Drop for Mutation<'_> {
    fn drop(&mut self) {
        lock(&self.masters.sequences).unanswered.remove(&self.header.sequence);
    }
}

/// What a master said outweighs that another could not be reached.
fn better(last: pb::ErrorDetail, new: pb::ErrorDetail) -> pb::ErrorDetail {
    if new.error_code() == ErrorCode::Unavailable && last.error_code() != ErrorCode::Unavailable {
        last
    } else {
        new
    }
}

fn give_up(last: pb::ErrorDetail, deadline: Duration) -> pb::ErrorDetail {
    if last.error_code() == ErrorCode::TooFewServers {
        return last;
    }
    let message = format!(
        "no leading master answered within {} s; check that the masters run and the endpoint is \
         right; the last answer was: {}",
        deadline.as_secs_f64(),
        last.message
    );
    pb::ErrorDetail::new(ErrorCode::Unavailable, message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gfs_transport::{Config, TcpConnector};

    use super::*;

    fn masters(endpoints: &[&str]) -> Masters {
        let dialer = Dialer::new(Arc::new(TcpConnector), Config::default());
        Masters::new(dialer, endpoints.iter().map(|e| (*e).to_owned()).collect(), 7)
    }

    #[tokio::test]
    async fn sequences_are_answered_in_any_order() {
        let masters = masters(&["127.0.0.1:1"]);
        let first = masters.mutation();
        let second = masters.mutation();
        assert_eq!((first.header.sequence, second.header.sequence), (1, 2));
        assert_eq!(second.header.answered_through, 0);
        drop(second);
        assert_eq!(masters.mutation().header.answered_through, 0);
        drop(first);
        assert_eq!(masters.mutation().header.answered_through, 3);
    }

    #[tokio::test]
    async fn a_hint_leads_to_the_leader() {
        let masters = masters(&["127.0.0.1:1"]);
        let mut asked = Vec::new();
        let answer = masters
            .call(Duration::from_secs(5), |_| {
                asked.push(masters.current().0);
                let first = asked.len() == 1;
                async move {
                    if first {
                        Err(gfs_proto::status_of(&pb::ErrorDetail {
                            leader_addresses: vec!["127.0.0.1:2".to_owned()],
                            ..pb::ErrorDetail::new(ErrorCode::NotLeader, "elsewhere")
                        }))
                    } else {
                        Ok(Response::new(42))
                    }
                }
            })
            .await;
        assert_eq!(answer, Ok(42));
        assert_eq!(asked, ["127.0.0.1:1", "127.0.0.1:2"]);
    }

    #[tokio::test]
    async fn too_few_servers_are_waited_for_and_told_at_the_end() {
        let masters = masters(&["127.0.0.1:1", "127.0.0.1:2"]);
        let too_few = || gfs_proto::status_of(&pb::ErrorDetail::new(ErrorCode::TooFewServers, "0"));
        let mut asked = 0;
        let answer = masters
            .call(Duration::from_secs(5), |_| {
                asked += 1;
                let enough = asked == 3;
                async move { if enough { Ok(Response::new(42)) } else { Err(too_few()) } }
            })
            .await;
        assert_eq!(answer, Ok(42));
        let answer: Result<(), _> =
            masters.call(Duration::from_millis(300), |_| async { Err(too_few()) }).await;
        let detail = answer.expect_err("there are never enough");
        assert_eq!(detail.error_code(), ErrorCode::TooFewServers);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_deadline_and_the_last_answer() {
        let masters = masters(&["127.0.0.1:1", "127.0.0.1:2"]);
        let answer: Result<(), _> = masters
            .call(Duration::from_millis(300), |_| async {
                let detail = pb::ErrorDetail::new(ErrorCode::NotReady, "loading");
                Err(gfs_proto::status_of(&detail))
            })
            .await;
        let detail = answer.expect_err("nobody leads");
        assert_eq!(detail.error_code(), ErrorCode::Unavailable);
        assert!(detail.message.contains("loading"), "{}", detail.message);
    }
}
