//! One HTTP request to a process's endpoint, without a client library.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The largest answer read.
const MAX_ANSWER: u64 = 16 << 20;

/// What an endpoint answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// Gets `path` (`/readyz`, `/metrics`, …) from the endpoint at `address`. Each step of it, connect,
/// write and every read, may take `patience`.
///
/// # Errors
/// Where nothing answers in time, or not in HTTP.
pub fn http_get(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nno master\n");
        let answer = answer.expect("parses");
        assert_eq!((answer.status, answer.body.as_str()), (503, "no master\n"));
        for garbage in ["", "hello", "HTTP/1.1 200", "HTTP/1.1 x\r\n\r\n"] {
            assert!(parse(garbage).is_none(), "{garbage}");
        }
    }
}
