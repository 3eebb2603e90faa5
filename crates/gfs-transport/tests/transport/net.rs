//! A network in memory: a connector whose connections a server in the same process takes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use gfs_transport::{Accepted, BoxedIo, Config, Connector, Dialer, Server};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bounds every wait of these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `future`'s output; the test fails when it takes too long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this took too long")
}

pub(crate) struct Wire {
    accept: mpsc::Sender<DuplexStream>,
    pub(crate) dials: AtomicUsize,
}

#[async_trait]
impl Connector for Wire {
    async fn connect(&self, _address: &str) -> io::Result<BoxedIo> {
        self.dials.fetch_add(1, Ordering::SeqCst);
        let (near, far) = tokio::io::duplex(256 << 10);
        self.accept.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(near))
    }
}

pub(crate) fn wire() -> (Arc<Wire>, impl Stream<Item = io::Result<Accepted>> + Send + 'static) {
    let (accept, accepted) = mpsc::channel(16);
    let incoming = stream::unfold(accepted, |mut accepted: mpsc::Receiver<DuplexStream>| async {
        let io = accepted.recv().await?;
        Some((Ok(Accepted::anonymous(io)), accepted))
    });
    (Arc::new(Wire { accept, dials: AtomicUsize::new(0) }), incoming)
}

/// A server and a dialer on one wire.
pub(crate) struct Pair {
    pub(crate) dialer: Dialer,
    pub(crate) wire: Arc<Wire>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

pub(crate) fn pair(server: Server, config: Config) -> Pair {
    let (wire, incoming) = wire();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move { server.serve(incoming, stop.cancelled_owned()).await });
    Pair { dialer: Dialer::new(wire.clone(), config), wire, shutdown, serving }
}
