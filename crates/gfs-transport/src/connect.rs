//! Byte streams to and from peers: the seam at which tests put their own network.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A two-way byte stream.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Any two-way byte stream.
pub type BoxedIo = Box<dyn Io>;

/// Makes connections. Production uses [`TcpConnector`]; tests give their own, with the faults they
/// want.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Connects to `address` (`host:port`). Needs no timeout of its own: the caller sets one by
    /// dropping the future.
    ///
    /// # Errors
    /// Whatever kept it from connecting; it is shown to people and not interpreted.
    async fn connect(&self, address: &str) -> io::Result<BoxedIo>;
}

/// Connects by TCP, resolving names anew each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self, address: &str) -> io::Result<BoxedIo> {
        let stream = TcpStream::connect(address).await?;
        tune(&stream)?;
        Ok(Box::new(stream))
    }
}

/// A connection that came in.
pub struct Accepted {
    /// The byte stream.
    pub io: BoxedIo,
    /// The other end, where it has an address.
    pub peer: Option<SocketAddr>,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Accepted {
    /// A connection without addresses, such as a [`tokio::io::duplex`].
    pub fn anonymous(io: impl Io) -> Self {
        Self { io: Box::new(io), peer: None }
    }
}

/// The connections a listener accepts.
pub fn tcp_incoming(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> + Send {
    stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.and_then(|(stream, peer)| {
            tune(&stream)?;
            Ok(Accepted { io: Box::new(stream), peer: Some(peer) })
        });
        Some((accepted, listener))
    })
}

/// No delay for small writes. The kernel's probes are a second line behind HTTP/2's own, for a
/// connection on which no HTTP/2 has begun.
fn tune(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    let socket = stream.as_fd();
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}
