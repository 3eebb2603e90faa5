//! The data connections to one peer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::connect::Connector;
use crate::error::{Error, Result, chain};
use crate::stream::{BulkBody, BulkReceiver, BulkSender, ClientStream, StreamCount};

/// Data connections to one peer, dialled when streams need them, dropped when they break.
///
/// A stream gets an idle connection; else a new one while there are fewer than
/// `data_connections`; else it shares the least busy one; else, when all are full, a further one up
/// to `max_data_connections`. While dialling fails, it is tried again at growing intervals, and
/// asked for in between it fails at once.
pub(crate) struct Pool {
    address: Arc<str>,
    authority: Authority,
    connector: Arc<dyn Connector>,
    config: Arc<Config>,
    state: Mutex<State>,
    this: Weak<Pool>,
}

#[derive(Default)]
struct State {
    connections: Vec<Connection>,
    dialling: Vec<(u64, Dial)>,
    dials: u64,
    failure: Option<Failure>,
}

struct Connection {
    requests: SendRequest<BulkBody>,
    streams: Arc<AtomicUsize>,
}

impl Connection {
    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    fn enter(&self) -> (SendRequest<BulkBody>, StreamCount) {
        (self.requests.clone(), StreamCount::enter(&self.streams))
    }
}

/// The last dial failed; the next is not made before its time.
#[derive(Clone)]
struct Failure {
    error: Error,
    pause: Duration,
    until: Instant,
}

/// A dial under way; all who wait share it, and it ends even when none waits any more.
type Dial = Shared<Pin<Box<dyn Future<Output = Result<()>> + Send>>>;

enum Choice {
    Use(SendRequest<BulkBody>, StreamCount),
    Wait(Dial),
}

impl Pool {
    pub(crate) fn new(
        address: Arc<str>,
        authority: Authority,
        connector: Arc<dyn Connector>,
        config: Arc<Config>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            address,
            authority,
            connector,
            config,
            state: Mutex::default(),
            this: this.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn open(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<(BulkSender, BulkReceiver)> {
        let request = self.request(path, headers)?;
        let (mut requests, count) = self.connection().await?;
        let (stream, body) = ClientStream::new();
        let response = requests.send_request(request.map(|()| body));
        Ok(stream.halves(response, self.config.limits, count))
    }

    fn request(&self, path: &str, headers: HeaderMap) -> Result<Request<()>> {
        let invalid = || Error::invalid(format!("path {path:?}"));
        if !path.starts_with('/') {
            return Err(invalid());
        }
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        uri.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| invalid())?);
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_parts(uri).map_err(|_| invalid())?;
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        let fixed = request.headers_mut();
        fixed.insert(header::TE, HeaderValue::from_static("trailers"));
        fixed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(request)
    }

    /// A connection with room for one more stream.
    async fn connection(&self) -> Result<(SendRequest<BulkBody>, StreamCount)> {
        // Each round ends in a connection, an error, or the wait for a dial; others may be quicker
        // to fill what was dialled, but there are only so many dials.
        for _ in 0..=self.config.max_data_connections {
            let dial = match self.choose()? {
                Choice::Use(requests, count) => return Ok((requests, count)),
                Choice::Wait(dial) => dial,
            };
            if let Err(error) = dial.await {
                return self.state().share(&self.config).ok_or(error);
            }
        }
        Err(self.exhausted())
    }

    fn exhausted(&self) -> Error {
        Error::Exhausted { address: Arc::clone(&self.address) }
    }

    fn choose(&self) -> Result<Choice> {
        let mut state = self.state();
        state.connections.retain(|connection| !connection.requests.is_closed());
        let shared = state.share(&self.config);
        let wanted = match &shared {
            // The count includes this stream.
            Some((_, count)) if count.is_only() => 0,
            Some(_) => self.config.data_connections,
            None => self.config.max_data_connections,
        };
        if state.connections.len() + state.dialling.len() < wanted {
            let failure = state.failure.as_ref().filter(|failure| Instant::now() < failure.until);
            match (failure, shared) {
                (None, _) => {
                    state.dials += 1;
                    let number = state.dials;
                    let dial = self.dial(number);
                    state.dialling.push((number, dial.clone()));
                    return Ok(Choice::Wait(dial));
                }
                (Some(_), Some((requests, count))) => return Ok(Choice::Use(requests, count)),
                (Some(failure), None) => return Err(failure.error.clone()),
            }
        }
        match (shared, state.dialling.first()) {
            (Some((requests, count)), _) => Ok(Choice::Use(requests, count)),
            (None, Some((_, dial))) => Ok(Choice::Wait(dial.clone())),
            (None, None) => Err(self.exhausted()),
        }
    }

    /// Starts to dial, in a task of its own that leaves the connection, or the failure, in `state`.
    fn dial(&self, number: u64) -> Dial {
        let (address, connector) = (Arc::clone(&self.address), Arc::clone(&self.connector));
        let (config, pool) = (Arc::clone(&self.config), self.this.clone());
        let task = tokio::spawn(async move {
            let _over = DialOver { pool: pool.clone(), number };
            let dialled =
                timeout(config.connect_timeout, handshake(&*connector, &address, &config));
            let dialled = match dialled.await {
                Ok(dialled) => dialled,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            let dialled =
                dialled.map_err(|error| Error::Connect { address, source: Arc::new(error) });
            match pool.upgrade() {
                Some(pool) => pool.dialled(dialled),
                None => dialled.map(drop),
            }
        });
        let address = Arc::clone(&self.address);
        let outcome = task.map(move |outcome| {
            outcome.unwrap_or_else(|error| {
                Err(Error::Connect { address, source: Arc::new(io::Error::other(error)) })
            })
        });
        outcome.boxed().shared()
    }

    fn dialled(&self, outcome: Result<SendRequest<BulkBody>>) -> Result<()> {
        let mut state = self.state();
        match outcome {
            Ok(requests) => {
                state.connections.push(Connection { requests, streams: Arc::default() });
                state.failure = None;
                Ok(())
            }
            Err(error) => {
                let pause = match &state.failure {
                    Some(last) => (last.pause * 2).min(self.config.backoff_max),
                    None => self.config.backoff_min,
                };
                let until = Instant::now() + pause;
                state.failure = Some(Failure { error: error.clone(), pause, until });
                Err(error)
            }
        }
    }
}

/// Takes a dial out of the pool's books when its task ends, however it ends.
struct DialOver {
    pool: Weak<Pool>,
    number: u64,
}

impl Drop for DialOver {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.state().dialling.retain(|(number, _)| *number != self.number);
        }
    }
}

impl State {
    /// The least busy connection that has room, with the new stream counted.
    fn share(&mut self, config: &Config) -> Option<(SendRequest<BulkBody>, StreamCount)> {
        self.connections
            .iter()
            .filter(|connection| !connection.requests.is_closed())
            .min_by_key(|connection| connection.streams())
            .filter(|connection| connection.streams() < config.streams_per_connection)
            .map(Connection::enter)
    }
}

async fn handshake(
    connector: &dyn Connector,
    address: &str,
    config: &Config,
) -> io::Result<SendRequest<BulkBody>> {
    let io = connector.connect(address).await?;
    let (requests, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .max_frame_size(config.max_frame_size)
        .max_send_buf_size(config.send_buffer)
        .keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| io::Error::other(chain(&error)))?;
    let address = address.to_owned();
    tokio::spawn(async move {
        // The streams learn of it by themselves, and the pool by asking the connection.
        if let Err(error) = connection.await {
            tracing::debug!(%address, error = chain(&error), "data connection broke");
        }
    });
    Ok(requests)
}
