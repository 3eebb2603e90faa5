//! An empty unary call on the stack that the master uses: what any call costs at least.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use gfs_client::proto::{ReportDamageRequest, ReportDamageResponse};
use gfs_transport::{Config, Dialer, Server, TcpConnector, tcp_incoming};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const PATH: &str = "/gfs.bench.Empty/Call";

/// The server process; ends when dropped.
pub(crate) struct EmptyServer {
    child: Child,
    address: SocketAddr,
}

impl EmptyServer {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("empty-server")
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server of empty calls")?;
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }

    /// Clients with a connection each.
    pub(crate) fn clients(&self, count: usize) -> anyhow::Result<Vec<EmptyClient>> {
        (0..count)
            .map(|_| {
                let dialer = Dialer::new(Arc::new(TcpConnector), Config::default());
                Ok(EmptyClient { channel: dialer.peer(&self.address.to_string())?.control() })
            })
            .collect()
    }
}

impl Drop for EmptyServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct EmptyClient {
    channel: Channel,
}

impl EmptyClient {
    pub(crate) async fn call(&self) -> anyhow::Result<()> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<ReportDamageRequest, ReportDamageResponse>::default();
        let path = http::uri::PathAndQuery::from_static(PATH);
        grpc.unary(Request::new(ReportDamageRequest::default()), path, codec).await?;
        Ok(())
    }
}

/// The server process: serves until killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Server::new(Config::default())
        .control(Routes::new(Empty))
        .serve(tcp_incoming(listener), std::future::pending())
        .await;
    Ok(())
}

#[derive(Clone)]
struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "gfs.bench.Empty";
}

impl UnaryService<ReportDamageRequest> for Empty {
    type Response = ReportDamageResponse;
    type Future = Ready<Result<Response<ReportDamageResponse>, Status>>;

    fn call(&mut self, _: Request<ReportDamageRequest>) -> Self::Future {
        ready(Ok(Response::new(ReportDamageResponse {})))
    }
}

impl Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let codec = ProstCodec::<ReportDamageResponse, ReportDamageRequest>::default();
            Ok(Grpc::new(codec).unary(Empty, request).await)
        })
    }
}
