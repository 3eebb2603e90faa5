//! Dialling, accepting, windows and the copy-free gRPC codec for bulk streams.
//!
//! Everything on the wire is gRPC over HTTP/2. Control calls are plain tonic. Bulk streams (push,
//! read, clone) are gRPC too, but tonic's codec would copy each payload once in and once out, so
//! here their messages are taken from and given to HTTP/2 frames directly: payload is received as
//! shared memory, checked where it lies, and written to a file or to the next peer from there. The
//! transport does not know what the messages mean. What a bulk message looks like on the wire is
//! specified at the top of `frame.rs`: `message Bulk { bytes head = 1; bytes payload = 2; }`.
//!
//! # A client
//!
//! A process has one [`Dialer`]; it remembers a [`Peer`] per address. A peer has one connection for
//! control calls ([`Peer::control`], for generated tonic clients) and a small pool for bulk streams
//! ([`Peer::open`]), so that no data stream, read or not, delays a heartbeat.
//!
//! ```
//! use gfs_transport::{BulkFrame, Dialer, Result};
//!
//! /// Sends slices and awaits an answer for each, with several under way.
//! async fn push(dialer: &Dialer, address: &str, slices: Vec<BulkFrame>) -> Result<usize> {
//!     let peer = dialer.peer(address)?;
//!     let (mut sender, mut receiver) = peer.open("/gfs.v1.Data/Push", Default::default()).await?;
//!     let send = async {
//!         for slice in slices {
//!             // Waits while the peer does not read. An error only says that the stream ended...
//!             if sender.send(slice).await.is_err() {
//!                 return;
//!             }
//!         }
//!         let _ = sender.finish().await; // without this, dropping the sender resets the stream
//!     };
//!     let receive = async {
//!         let mut answers = 0;
//!         // ...the receiver says why: the peer's status, or that the connection broke.
//!         while let Some(_answer) = receiver.recv().await? {
//!             answers += 1;
//!         }
//!         Ok(answers) // the peer's status was OK
//!     };
//!     // Both at once: a client that only sends, to a server that waits for its answers to be
//!     // read, waits for ever.
//!     let ((), answers) = tokio::join!(send, receive);
//!     answers
//! }
//! ```
//!
//! # A server
//!
//! ```
//! use gfs_transport::{BulkCall, BulkFrame, BulkReceiver, BulkSender, Config, Server, tcp_incoming};
//! use tonic::Status;
//!
//! /// Answers each message with one that has its head only.
//! async fn push(
//!     _call: BulkCall,
//!     mut sender: BulkSender,
//!     mut receiver: BulkReceiver,
//! ) -> Result<(), Status> {
//!     while let Some(slice) = receiver.recv().await? {
//!         // slice.payload: pieces of shared memory. Check, store, and pass them on.
//!         if slice.payload_len() == 0 {
//!             return Err(Status::invalid_argument("an empty slice")); // with_details for a code
//!         }
//!         sender.send(BulkFrame::head_only(slice.head)).await?;
//!     }
//!     Ok(()) // the client finished; the stream ends with status OK
//! }
//!
//! # async fn run(stop: impl Future<Output = ()> + Send) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let server = Server::new(Config::default()).bulk("/gfs.v1.Data/Push", push);
//! // .control(tonic::service::Routes::new(...)) adds tonic services on the same port.
//! server.serve(tcp_incoming(listener), stop).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - **Order and wholeness.** Messages of one stream arrive whole, once, in order, or the stream
//!   fails. `Ok(None)` from `recv` is a clean end that the other side meant; everything else is an
//!   [`Error`].
//! - **Bounded memory.** A sender waits while about two messages of its stream are unsent; a
//!   receiver that is not asked holds at most [`Config::stream_window`]. Lengths the peer claims
//!   are checked against [`Limits`] and never allocated for.
//! - **No stalls across streams.** A connection's window is as large as the windows of all streams
//!   the pool puts on it, so streams that nobody reads cannot hold up others.
//! - **No silent loss.** A peer that dies resets its connections; one that hangs is noticed by
//!   unanswered PINGs within [`Config::keep_alive_interval`] + [`Config::keep_alive_timeout`]. A
//!   stream to a process that hangs opens all the same, since its kernel still accepts. Where a
//!   caller must react faster it sets a timeout around `recv`; dropping the halves cancels.
//! - **Cancellation.** A client that drops its sender without `finish`, or its receiver before the
//!   end, resets the stream; the server's `recv` and `send` then fail. The server ends a stream by
//!   returning from its handler.
//! - **Seams.** Connections come from a [`Connector`] and a stream of [`Accepted`]; nothing else
//!   here touches a network, so tests supply both (`tokio::io::duplex`, a faulty wrapper).

mod config;
mod connect;
mod error;
mod frame;
#[cfg(feature = "allocator")]
pub mod memory;
mod peer;
mod pieces;
mod pool;
mod server;
mod stream;

pub use config::Config;
pub use connect::{Accepted, BoxedIo, Connector, Io, TcpConnector, tcp_incoming};
pub use error::{Error, Result};
pub use frame::{BulkFrame, Limits};
pub use peer::{Dialer, Peer};
pub use server::{BulkCall, BulkHandler, Server};
pub use stream::{BulkReceiver, BulkSender};
