//! Windows, limits and times of connections.

use std::time::Duration;

use crate::frame::Limits;

/// Windows, limits and times of connections; [`Default`] is what ships.
///
/// The windows are chosen so that streams of one connection cannot stall each other: the
/// connection's window is the streams' window times the number of streams the pool puts on one
/// connection. A stream that nobody reads holds at most its own window.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes the peer may send on one stream beyond what was read. 2 to 4 messages: enough to keep
    /// the wire busy while one message is worked on.
    pub stream_window: u32,
    /// Bytes the peer may send on one connection beyond what was read.
    pub connection_window: u32,
    /// Largest HTTP/2 frame accepted, in bytes, 16 KiB to 16 MiB - 1. A little more than a whole
    /// message, so that a message arrives as one piece of memory.
    pub max_frame_size: u32,
    /// Bytes of one stream that may wait for the socket before the sender waits. A message is
    /// never cut by it.
    pub send_buffer: usize,
    /// Largest bulk message.
    pub limits: Limits,
    /// Data connections a peer gets before streams share them.
    pub data_connections: usize,
    /// Data connections a peer gets at most.
    pub max_data_connections: usize,
    /// Bulk streams that share one data connection at most.
    pub streams_per_connection: usize,
    /// Longest time to establish a connection, HTTP/2 handshake included.
    pub connect_timeout: Duration,
    /// Wait after the first failed dial; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest wait after a failed dial.
    pub backoff_max: Duration,
    /// Silence after which a connection is probed with a PING, also when it is idle.
    pub keep_alive_interval: Duration,
    /// Time the PING may stay unanswered before the connection counts as broken.
    pub keep_alive_timeout: Duration,
    /// Deadline of a control call that sets none itself.
    pub control_timeout: Duration,
    /// Connections a server has at most; further ones are closed at once.
    pub max_connections: usize,
    /// Streams a client may have open on one connection.
    pub max_streams: u32,
    /// Time in which a new connection must have sent its first request.
    pub first_request_timeout: Duration,
    /// Time running calls get to end by themselves at shutdown.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let stream_window = 4 << 20;
        let streams_per_connection = 16;
        Self {
            stream_window,
            connection_window: stream_window * streams_per_connection as u32,
            max_frame_size: (1 << 20) + (64 << 10),
            send_buffer: 1 << 20,
            limits: Limits::default(),
            data_connections: 2,
            max_data_connections: 8,
            streams_per_connection,
            connect_timeout: Duration::from_millis(1000),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
            keep_alive_interval: Duration::from_millis(1000),
            keep_alive_timeout: Duration::from_millis(3000),
            control_timeout: Duration::from_secs(10),
            max_connections: 4096,
            max_streams: 1024,
            first_request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
        }
    }
}
