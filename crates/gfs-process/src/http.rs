//! The HTTP endpoint: `/healthz`, `/readyz`, `/metrics`.
//!
//! It has a thread and a runtime of its own, so that a process with all its workers busy still
//! answers its probes: a probe that fails because of load would restart the very process that is
//! needed most. Connections are bounded in number and in time, one request each.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::tasks::Tasks;

/// Connections served at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// From accept to the last byte of the answer.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// After accept fails, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of a running endpoint. It ends on shutdown.
#[derive(Clone, Copy, Debug)]
pub struct HttpEndpoint {
    address: SocketAddr,
}

impl HttpEndpoint {
    /// Starts serving on `listen`; port 0 takes any free one. Needs no runtime.
    ///
    /// # Errors
    /// Where the address cannot be listened on, such as a port in use, or no thread can be had.
    pub fn start(
        listen: SocketAddr,
        health: Health,
        metrics: Metrics,
        shutdown: Shutdown,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answers = Arc::new(Answers { health, metrics });
        tasks.essential_thread("http", move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::select! {
                    never = accept(listener, answers) => match never {},
                    () = shutdown.requested() => Ok(()),
                }
            })
        })?;
        Ok(Self { address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(listen).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => ": another process uses this port; choose another one",
            ErrorKind::AddrNotAvailable => ": this machine does not have this address",
            ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
            _ => "",
        };
        anyhow::Error::from(error).context(format!("cannot serve HTTP on {listen}{hint}"))
    })?;
    listener.set_nonblocking(true).context("preparing the HTTP listener")?;
    Ok(listener)
}

async fn accept(listener: tokio::net::TcpListener, answers: Arc<Answers>) -> Infallible {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            // Nothing closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_LIMIT, serve(stream, answers));
                    // A peer that hangs up or dawdles concerns nobody.
                    let _ = served.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answers.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

struct Answers {
    health: Health,
    metrics: Metrics,
}

impl Answers {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/healthz" => probe(self.health.alive()),
            "/readyz" => probe(self.health.ready()),
            "/metrics" => match self.metrics.render() {
                Ok(page) => {
                    let mut answer = text(StatusCode::OK, page);
                    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format));
                    answer
                }
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/" => text(StatusCode::OK, "/healthz\n/readyz\n/metrics\n"),
            _ => text(StatusCode::NOT_FOUND, "see /\n"),
        }
    }
}

fn probe(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use gfs_types::Millis;

    use super::*;
    use crate::clock::ManualClock;
    use crate::shutdown::ShutdownTrigger;

    struct Fixture {
        endpoint: HttpEndpoint,
        health: Health,
        clock: Arc<ManualClock>,
        tasks: Tasks,
        trigger: ShutdownTrigger,
    }

    fn start() -> Fixture {
        let (trigger, shutdown) = Shutdown::new();
        let metrics = Metrics::new();
        let tasks = Tasks::new(shutdown.clone(), &metrics);
        metrics.counter("gfs_test_reads_total", "Reads").inc();
        let clock = Arc::new(ManualClock::default());
        let health = Health::new(clock.clone());
        let any = "127.0.0.1:0".parse().expect("address");
        let endpoint =
            HttpEndpoint::start(any, health.clone(), metrics, shutdown, &tasks).expect("starts");
        Fixture { endpoint, health, clock, tasks, trigger }
    }

    impl Fixture {
        fn send(&self, request: &[u8]) -> String {
            let mut stream = TcpStream::connect(self.endpoint.address()).expect("connects");
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
            stream.write_all(request).expect("writes");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("reads");
            answer
        }

        fn get(&self, path: &str) -> String {
            self.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        }
    }

    #[test]
    fn probes_follow_health_and_say_why() {
        let fixture = start();
        let condition = fixture.health.condition("registered", "no master yet");
        let _pulse = fixture.health.pulse("loop", Millis(10));
        assert!(fixture.get("/healthz").starts_with("HTTP/1.1 200"));
        let unready = fixture.get("/readyz");
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("no master yet"));
        condition.hold();
        assert!(fixture.get("/readyz").starts_with("HTTP/1.1 200"));
        fixture.clock.advance(Millis(11));
        let stuck = fixture.get("/healthz");
        assert!(stuck.starts_with("HTTP/1.1 503") && stuck.contains("loop made no progress"));
    }

    #[test]
    fn metrics_are_served_and_other_requests_refused() {
        let fixture = start();
        let metrics = fixture.get("/metrics");
        assert!(metrics.contains("openmetrics-text") && metrics.contains("gfs_test_reads_total 1"));
        assert!(fixture.get("/nothing").starts_with("HTTP/1.1 404"));
        assert!(fixture.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 405"));
        let garbage = fixture.send(b"\x16\x03\x01 not http at all\r\n\r\n");
        assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 20_000]].concat();
        assert!(fixture.send(&endless).starts_with("HTTP/1.1 431"));
        assert!(fixture.get("/healthz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn idle_connections_do_not_keep_probes_out() {
        let fixture = start();
        let address = fixture.endpoint.address();
        let idle: Vec<_> = (0..MAX_CONNECTIONS - 1)
            .map(|_| TcpStream::connect(address).expect("connects"))
            .collect();
        assert!(fixture.get("/healthz").starts_with("HTTP/1.1 200"));
        drop(idle);
    }

    #[test]
    fn a_port_in_use_is_a_clear_error() {
        let fixture = start();
        let error = bind(fixture.endpoint.address()).expect_err("in use");
        assert!(error.to_string().contains("another process uses this port"), "{error:#}");
    }

    #[tokio::test]
    async fn it_ends_on_shutdown() {
        let fixture = start();
        fixture.trigger.request();
        fixture.tasks.ended(Duration::from_secs(5)).await.expect("ends");
        assert!(fixture.tasks.failure().is_none());
        assert!(TcpStream::connect(fixture.endpoint.address()).is_err());
    }
}
