//! Peers by address: a control channel and a pool of data connections each.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Uri};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::config::Config;
use crate::connect::{BoxedIo, Connector};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::stream::{BulkReceiver, BulkSender};

/// Peers kept when nobody uses them.
const IDLE_PEERS: usize = 256;

/// Dials peers and remembers them. Cheap to clone; clones share the peers.
///
/// Needs to run within a tokio runtime.
#[derive(Clone)]
pub struct Dialer {
    inner: Arc<Inner>,
}

struct Inner {
    connector: Arc<dyn Connector>,
    config: Arc<Config>,
    peers: Mutex<Peers>,
}

#[derive(Default)]
struct Peers {
    by_address: HashMap<Arc<str>, (u64, Peer)>,
    /// Counts look-ups; orders peers by last use.
    uses: u64,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer that knows no peer yet.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>, config: Config) -> Self {
        let peers = Mutex::default();
        Self { inner: Arc::new(Inner { connector, config: Arc::new(config), peers }) }
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer at `address` (`host:port`), the same one for all who ask. Nothing is dialled yet.
    /// Peers that nobody holds are forgotten, the least recently asked for first, when there are
    /// many.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `address` is none.
    pub fn peer(&self, address: &str) -> Result<Peer> {
        let mut peers = self.peers();
        peers.uses += 1;
        let now = peers.uses;
        if let Some((used, peer)) = peers.by_address.get_mut(address) {
            *used = now;
            return Ok(peer.clone());
        }
        let peer = Peer::new(address, &self.inner.connector, &self.inner.config)?;
        if peers.by_address.len() >= IDLE_PEERS {
            let idle = peers.by_address.iter().filter(|(_, (_, peer))| peer.is_unused());
            let oldest =
                idle.min_by_key(|(_, (used, _))| *used).map(|(address, _)| address.clone());
            if let Some(oldest) = oldest {
                peers.by_address.remove(&oldest);
            }
        }
        peers.by_address.insert(Arc::clone(&peer.inner.address), (now, peer.clone()));
        Ok(peer)
    }

    /// Forgets the peer at `address`, for one that is known to be gone for good. Streams and calls
    /// under way are not touched.
    pub fn forget(&self, address: &str) {
        let forgotten = self.peers().by_address.remove(address);
        drop(forgotten);
    }
}

/// One peer. Cheap to clone; clones share the connections.
///
/// Control calls have a connection of their own, so that no data stream, read or unread, delays
/// them.
#[derive(Clone)]
pub struct Peer {
    inner: Arc<PeerInner>,
}

struct PeerInner {
    address: Arc<str>,
    control: Channel,
    data: Arc<Pool>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.inner.address).finish()
    }
}

impl Peer {
    fn new(address: &str, connector: &Arc<dyn Connector>, config: &Arc<Config>) -> Result<Self> {
        let invalid = || Error::invalid(format!("address {address:?}"));
        let uri: Uri = format!("http://{address}/").parse().map_err(|_| invalid())?;
        // Nothing but an authority: `h:1/path` would parse as well.
        let authority = uri.authority().filter(|authority| {
            authority.as_str() == address
                && authority.port_u16().is_some()
                && !address.contains('@')
        });
        let authority = authority.ok_or_else(invalid)?.clone();
        let address: Arc<str> = Arc::from(address);
        let control = control_channel(uri, Arc::clone(&address), Arc::clone(connector), config);
        let data =
            Pool::new(Arc::clone(&address), authority, Arc::clone(connector), Arc::clone(config));
        Ok(Self { inner: Arc::new(PeerInner { address, control, data }) })
    }

    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    /// Its address, as asked for.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// The channel for generated tonic clients. It connects at the first call and again after it
    /// broke; calls without a deadline of their own get
    /// [`Config::control_timeout`](crate::Config::control_timeout).
    #[must_use]
    pub fn control(&self) -> Channel {
        self.inner.control.clone()
    }

    /// Opens a bulk stream to the method `path` (`/package.Service/Method`), with `headers` as
    /// metadata. It returns as soon as a connection is there: that the peer knows the method, or
    /// refuses, is learned by receiving.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Exhausted`], or [`Error::Invalid`] for a path that is none.
    pub async fn open(&self, path: &str, headers: HeaderMap) -> Result<(BulkSender, BulkReceiver)> {
        self.inner.data.open(path, headers).await
    }
}

fn control_channel(
    uri: Uri,
    address: Arc<str>,
    connector: Arc<dyn Connector>,
    config: &Config,
) -> Channel {
    let connect_timeout = config.connect_timeout;
    Endpoint::from(uri)
        .timeout(config.control_timeout)
        .initial_stream_window_size(config.stream_window)
        .initial_connection_window_size(config.connection_window)
        .http2_keep_alive_interval(config.keep_alive_interval)
        .keep_alive_timeout(config.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let (address, connector) = (Arc::clone(&address), Arc::clone(&connector));
            async move {
                match timeout(connect_timeout, connector.connect(&address)).await {
                    Ok(connected) => connected.map(TokioIo::<BoxedIo>::new),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
                }
            }
        }))
}
