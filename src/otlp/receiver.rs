//! The two protocols of OTLP: gRPC (`TraceService/Export` and `LogsService/Export`, unary, plain
//! HTTP/2) and HTTP (`/v1/traces` and `/v1/logs`). <https://opentelemetry.io/docs/specs/otlp/>
//!
//! Both gRPC calls are unary, so gRPC is a frame of five bytes and a few trailers, and needs no
//! dedicated server.

mod answer;
mod body;
mod grpc;
mod http;
mod inflate;
mod intake;
mod refusal;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use net::{accept::bind_and_accept, admission::ConnectionSlot, first_byte::FirstByteDeadline};

pub use intake::{ClusterView, Intake};

/// Timeout for a sender's first byte, and for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is probed this often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Concurrent requests on one connection.
const MAX_STREAMS: u32 = 32;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, over HTTP/2 without TLS.
    Grpc,
    /// HTTP/1.1 or HTTP/2, without TLS.
    Http,
}

impl Protocol {
    /// The name for messages.
    pub const fn display_name(self) -> &'static str {
        match self {
            Self::Grpc => "OTLP/gRPC",
            Self::Http => "OTLP/HTTP",
        }
    }
}

/// Binds first, so that a port in use is reported at once; then serves until `stop`.
///
/// # Errors
///
/// When the address cannot be bound.
pub async fn bind_and_serve(
    protocol: Protocol,
    address: SocketAddr,
    intake: Arc<Intake>,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()> + Send)> {
    bind_and_accept(address, stop, move |stream, place| {
        serve_connection(protocol, stream, place, intake.clone())
    })
    .await
}

async fn serve_connection(
    protocol: Protocol,
    stream: TcpStream,
    place: ConnectionSlot,
    intake: Arc<Intake>,
) {
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(FirstByteDeadline::new(stream, HEAD_TIMEOUT, Some(place)));
    let service = service_fn(move |request| {
        let intake = intake.clone();
        async move { Ok::<_, Infallible>(answer_request(protocol, &intake, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    let http2 = &mut server.http2();
    http2
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .max_header_list_size(MAX_HEAD_BYTES as u32);
    http2.max_concurrent_streams(MAX_STREAMS);
    let server = if protocol == Protocol::Grpc {
        server.http2_only()
    } else {
        server
    };
    // However it ends, the sender notices.
    let _ = server.serve_connection(stream, service).await;
}

async fn answer_request(
    protocol: Protocol,
    intake: &Arc<Intake>,
    request: Request<Incoming>,
) -> Answer {
    match protocol {
        Protocol::Grpc => grpc::answer_grpc(intake, request).await,
        Protocol::Http => http::answer_http(intake, request).await,
    }
}
