//! Peers that speak HTTP/2 and no more: what they send is an error, never a message or a clean end.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gfs_transport::{BulkFrame, Config, Connector, Dialer, Error, Result, Server};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tonic::Code;

use crate::net::{pair, soon, wire};

const PATH: &str = "/gfs.v1.Data/Push";

/// What a hostile server answers every request with.
#[derive(Clone, Default)]
struct Answer {
    http_status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    trailers: Option<&'static [(&'static str, &'static str)]>,
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// All messages a client receives from a server that answers so, or the error.
async fn received(answer: Answer) -> Result<Vec<BulkFrame>> {
    let (wire, incoming) = wire();
    tokio::spawn(async move {
        let mut incoming = std::pin::pin!(incoming);
        let accepted = incoming.next().await.unwrap().unwrap();
        let service = service_fn(move |_| {
            let answer = answer.clone();
            async move {
                let data = Frame::data(Bytes::from_static(answer.body));
                let trailers = answer.trailers.map(|fields| Frame::trailers(map(fields)));
                let frames = [Some(data), trailers].into_iter().flatten().map(Ok::<_, Infallible>);
                let mut response = Response::new(StreamBody::new(stream::iter(frames)));
                *response.status_mut() = answer.http_status.try_into().unwrap();
                *response.headers_mut() = map(answer.headers);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(accepted.io), service).await;
    });
    let dialer = Dialer::new(wire, Config::default());
    let (_sender, mut receiver) = dialer.peer("a:1")?.open(PATH, HeaderMap::new()).await?;
    soon(async {
        let mut frames = Vec::new();
        while let Some(frame) = receiver.recv().await? {
            frames.push(frame);
        }
        Ok(frames)
    })
    .await
}

#[tokio::test]
async fn a_client_takes_only_whole_messages_and_a_status_for_a_clean_end() {
    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
    const OK: Option<&[(&str, &str)]> = Some(&[("grpc-status", "0")]);
    const MESSAGE: &[u8] = &[0, 0, 0, 0, 3, 0x0a, 1, b'h'];
    let whole = Answer { http_status: 200, headers: GRPC, body: MESSAGE, trailers: OK };
    assert_eq!(received(whole.clone()).await.unwrap(), [BulkFrame::head_only("h")]);

    let ended_within = Answer { body: &MESSAGE[..6], ..whole.clone() };
    assert!(matches!(received(ended_within).await, Err(Error::Protocol(_))));
    let within_prefix = Answer { body: &MESSAGE[..2], ..whole.clone() };
    assert!(matches!(received(within_prefix).await, Err(Error::Protocol(_))));
    let no_status = Answer { trailers: None, ..whole.clone() };
    assert!(matches!(received(no_status).await, Err(Error::Broken(_))));
    let no_grpc_status = Answer { trailers: Some(&[("other", "0")]), ..whole.clone() };
    assert!(matches!(received(no_grpc_status).await, Err(Error::Protocol(_))));
    let odd_status = Answer { trailers: Some(&[("grpc-status", "x")]), ..whole.clone() };
    let error = received(odd_status).await.unwrap_err();
    assert_eq!(error.status().map(|status| status.code()), Some(Code::Unknown), "{error}");
    let not_found = Answer { http_status: 404, ..whole.clone() };
    assert!(matches!(received(not_found).await, Err(Error::Protocol(_))));
    let html = Answer { headers: &[("content-type", "text/html")], ..whole.clone() };
    assert!(matches!(received(html).await, Err(Error::Protocol(_))));
    let oversized = Answer { body: &[0, 0xff, 0xff, 0xff, 0xff], ..whole };
    assert!(matches!(received(oversized).await, Err(Error::TooLarge { .. })));
}

/// The grpc-status a server of bulk streams gives to this request body.
async fn status_for(content_type: &str, body: &'static [u8]) -> Option<i32> {
    let echo = |_,
                mut sender: gfs_transport::BulkSender,
                mut receiver: gfs_transport::BulkReceiver| async move {
        while let Some(frame) = receiver.recv().await? {
            sender.send(frame).await?;
        }
        Ok(())
    };
    let pair = pair(Server::new(Config::default()).bulk(PATH, echo), Config::default());
    let io = TokioIo::new(Arc::clone(&pair.wire).connect("a:1").await.unwrap());
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://a:1{PATH}"))
        .header("content-type", content_type)
        .body(Full::new(Bytes::from_static(body)))
        .unwrap();
    let response = soon(requests.send_request(request)).await.unwrap();
    let early = response.headers().get("grpc-status").cloned();
    let late = soon(response.into_body().collect()).await.unwrap();
    let status = early.or_else(|| late.trailers()?.get("grpc-status").cloned())?;
    status.to_str().unwrap().parse().ok()
}

#[tokio::test]
async fn a_server_refuses_what_is_no_stream_of_messages() {
    assert_eq!(status_for("application/grpc", &[]).await, Some(Code::Ok as i32));
    let whole = &[0, 0, 0, 0, 2, 0x0a, 0];
    assert_eq!(status_for("application/grpc+proto", whole).await, Some(Code::Ok as i32));
    let refused = Some(Code::InvalidArgument as i32);
    assert_eq!(status_for("application/grpc", &whole[..6]).await, refused, "cut short");
    assert_eq!(status_for("application/grpc", &[1, 0, 0, 0, 0]).await, refused, "compressed");
    assert_eq!(status_for("text/plain", &[]).await, refused, "no gRPC");
    let oversized = &[0, 0xff, 0xff, 0xff, 0xff];
    let status = status_for("application/grpc", oversized).await;
    assert_eq!(status, Some(Code::ResourceExhausted as i32));
}
