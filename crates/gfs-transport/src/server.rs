//! One port: control calls to tonic services, bulk streams to their handlers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower::Service;

use crate::config::Config;
use crate::connect::Accepted;
use crate::error::chain;
use crate::stream::{BulkReceiver, BulkSender, ResponseBody, is_grpc, server_stream};

/// Wait after a failed accept (descriptors used up, say) before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What opened a bulk stream.
#[derive(Debug)]
pub struct BulkCall {
    /// The method, `/package.Service/Method`.
    pub path: String,
    /// The request's headers, metadata among them.
    pub headers: HeaderMap,
    /// The client's address, where it has one.
    pub peer: Option<SocketAddr>,
}

/// Serves the bulk streams of one method. Also implemented by closures of the same shape.
///
/// Each stream gets a task of its own. Returning ends the stream, after all that was sent, with the
/// status given (OK, or code, message and details, which are dropped beyond 8 KiB); what the client still sends is dropped. A
/// panic resets the stream. When the client goes away the task is not stopped: `recv` and `send`
/// fail, so that a handler can end in its own order. Only when the time to drain is over at
/// shutdown is a handler stopped at whatever it awaits.
#[async_trait]
pub trait BulkHandler: Send + Sync + 'static {
    /// Serves one stream.
    ///
    /// # Errors
    /// The status for the client, where it is not OK.
    async fn handle(
        &self,
        call: BulkCall,
        sender: BulkSender,
        receiver: BulkReceiver,
    ) -> Result<(), Status>;
}

#[async_trait]
impl<F, R> BulkHandler for F
where
    F: Fn(BulkCall, BulkSender, BulkReceiver) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), Status>> + Send,
{
    async fn handle(
        &self,
        call: BulkCall,
        sender: BulkSender,
        receiver: BulkReceiver,
    ) -> Result<(), Status> {
        self(call, sender, receiver).await
    }
}

/// Serves control calls and bulk streams of all connections it is given.
#[derive(Clone)]
pub struct Server {
    config: Arc<Config>,
    routes: Routes,
    bulk: Arc<HashMap<String, Arc<dyn BulkHandler>>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A server that answers every call with `UNIMPLEMENTED`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), routes: Routes::default(), bulk: Arc::default() }
    }

    /// Serves these tonic services.
    #[must_use]
    pub fn control(mut self, routes: Routes) -> Self {
        self.routes = routes.prepare();
        self
    }

    /// Serves the bulk streams of the method `path` (`/package.Service/Method`). It takes
    /// precedence over a tonic service of the same path.
    #[must_use]
    pub fn bulk(mut self, path: impl Into<String>, handler: impl BulkHandler) -> Self {
        let mut bulk = HashMap::clone(&self.bulk);
        bulk.insert(path.into(), Arc::new(handler));
        self.bulk = Arc::new(bulk);
        self
    }

    /// Serves `incoming` until `shutdown` is ready or `incoming` ends; then takes no more
    /// connections and calls, and returns when those under way ended, at the latest after
    /// [`Config::drain_timeout`](crate::Config::drain_timeout). Dropping the future stops everything
    /// at once.
    pub async fn serve<I, F>(&self, incoming: I, shutdown: F)
    where
        I: Stream<Item = io::Result<Accepted>> + Send,
        F: Future<Output = ()> + Send,
    {
        let serving = Serving {
            server: self.clone(),
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        let stop_on_drop = serving.stop.clone().drop_guard();
        let room = Arc::new(Semaphore::new(self.config.max_connections));
        let mut incoming = Box::pin(incoming);
        let mut shutdown = pin!(shutdown);
        let mut accepting = true;
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = incoming.next(), if accepting => accepted,
                // `incoming` ended: until then, the connections there are.
                () = serving.tasks.wait(), if !accepting => break,
            };
            match accepted {
                Some(Ok(accepted)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(permit) => {
                        let connection = serving.clone().connection(accepted);
                        serving.tasks.spawn(async move {
                            connection.await;
                            drop(permit);
                        });
                    }
                    Err(_) => tracing::warn!(peer = ?accepted.peer, "too many connections: closed"),
                },
                Some(Err(error)) => {
                    tracing::warn!(%error, "accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
                None => {
                    accepting = false;
                    serving.tasks.close();
                }
            }
        }
        // Close the listener now: peers that dial are to be refused, not left to wait.
        drop(incoming);
        serving.drain.cancel();
        serving.tasks.close();
        if timeout(self.config.drain_timeout, serving.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = serving.tasks.len(), "calls did not end in time: stopped");
        }
        drop(stop_on_drop);
        // Stopped tasks end at their next await, unless they block a thread.
        let _ = timeout(Duration::from_secs(1), serving.tasks.wait()).await;
    }
}

/// What the tasks of one `serve` share.
#[derive(Clone)]
struct Serving {
    server: Server,
    tasks: TaskTracker,
    /// No new calls; end when those under way did.
    drain: CancellationToken,
    /// End now.
    stop: CancellationToken,
}

impl Serving {
    async fn connection(self, accepted: Accepted) {
        let Accepted { io, peer } = accepted;
        let config = Arc::clone(&self.server.config);
        let (drain, stop) = (self.drain.clone(), self.stop.clone());
        let called = Arc::new(AtomicBool::new(false));
        let has_called = Arc::clone(&called);
        let service = service_fn(move |request| {
            called.store(true, Ordering::Relaxed);
            let serving = self.clone();
            async move { Ok::<_, Infallible>(serving.call(request, peer).await) }
        });
        let connection = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(config.stream_window)
            .initial_connection_window_size(config.connection_window)
            .max_frame_size(config.max_frame_size)
            .max_send_buf_size(config.send_buffer)
            .max_concurrent_streams(config.max_streams)
            .keep_alive_interval(config.keep_alive_interval)
            .keep_alive_timeout(config.keep_alive_timeout)
            .serve_connection(TokioIo::new(io), service);
        let mut connection = pin!(connection);
        let mut first_request = pin!(sleep(config.first_request_timeout));
        let (mut draining, mut waiting) = (false, true);
        let outcome = loop {
            tokio::select! {
                outcome = connection.as_mut() => break outcome,
                () = stop.cancelled() => return,
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = &mut first_request, if waiting => {
                    waiting = false;
                    if !has_called.load(Ordering::Relaxed) {
                        tracing::debug!(?peer, "no request on a new connection: closed");
                        return;
                    }
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(?peer, error = chain(&error), "connection broke");
        }
    }

    async fn call(
        mut self,
        mut request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<ResponseBody> {
        let Some(handler) = self.server.bulk.get(request.uri().path()).cloned() else {
            // What `tonic::Request::remote_addr` looks for.
            request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr: peer });
            let Ok(response) = self.server.routes.call(request).await;
            return response.map(ResponseBody::Control);
        };
        if !is_grpc(request.headers()) {
            let refusal = Status::invalid_argument("content-type is not application/grpc");
            return refusal.into_http().map(ResponseBody::Control);
        }
        self.bulk(handler, request, peer)
    }

    fn bulk(
        self,
        handler: Arc<dyn BulkHandler>,
        request: Request<Incoming>,
        peer: Option<SocketAddr>,
    ) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let call = BulkCall { path: head.uri.path().to_owned(), headers: head.headers, peer };
        let (sender, receiver, body, verdict) = server_stream(body, self.server.config.limits);
        let stop = self.stop;
        self.tasks.spawn(async move {
            let status = tokio::select! {
                outcome = handler.handle(call, sender, receiver) => match outcome {
                    Ok(()) => Status::ok(""),
                    Err(status) => status,
                },
                () = stop.cancelled() => return,
            };
            tokio::select! {
                () = verdict.give(status) => {}
                () = stop.cancelled() => {}
            }
        });
        let mut response = Response::new(ResponseBody::Bulk(body));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}
