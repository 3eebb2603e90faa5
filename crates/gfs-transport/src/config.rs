//! Windows, limits and times of connections.

use std::time::Duration;

use crate::frame::Limits;

/// Windows, limits and times of connections; [`Default`] is what ships.
///
/// Sizes were measured with the example `raw_vs_bulk`, against blocking TCP in the same run, on two
/// cores that also did other work, so the CPU per byte says more than the throughput:
///
/// | | CPU of raw TCP | throughput of raw TCP |
/// |---|---|---|
/// | read, 1 stream | 1.1–1.2 × | 83–95 % |
/// | read, 4 streams | 1.2–1.3 × | 78–97 % |
/// | chain of three, 1 stream | 1.2–1.3 × | 77–100 % |
/// | chain of three, 4 streams | 1.4 × | 49–74 %, the cores four times oversubscribed |
///
/// - Frames of a whole message are best: of 256 KiB they cost a tenth more CPU in a chain, of
///   64 KiB a third more, as each is read, woken for and passed on by itself.
/// - A window of two messages is best: with four, several streams at once cost a fifth more CPU,
///   because more buffers take turns than the caches hold. What remains above raw TCP is the same
///   effect (raw TCP uses one buffer over and over); a profile shows the kernel's copies and the
///   CRC, and next to nothing of this crate, HTTP/2, or the allocator.
/// - The number of runtime threads (1 to 3) and the send buffer (256 KiB to 2 MiB) make no
///   difference; the allocator makes a large one, see the module `memory`.
///
/// The windows are chosen so that streams of one connection cannot stall each other: the
/// connection's window is the streams' window times the number of streams the pool puts on one
/// connection. A stream that nobody reads holds at most its own window.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes the peer may send on one stream beyond what was read. Two messages: enough to keep the
    /// wire busy while one is worked on.
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
