//! Serves `/healthz`, `/readyz` and `/metrics` over plain HTTP, read-only.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::telemetry::Telemetry;
use net::{accept::bind_and_accept, admission::ConnectionSlot, first_byte::FirstByteDeadline};

/// A client that does not send its request in this time is disconnected.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Binds first, so that a port in use is reported at once; then serves until `stop`.
///
/// # Errors
///
/// If the address cannot be bound.
pub async fn serve_telemetry(
    address: SocketAddr,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> std::io::Result<(SocketAddr, impl Future<Output = ()> + Send)> {
    bind_and_accept(address, stop, move |stream, place| {
        serve_connection(stream, place, telemetry.clone())
    })
    .await
}

async fn serve_connection(stream: TcpStream, place: ConnectionSlot, telemetry: Telemetry) {
    let stream = FirstByteDeadline::new(stream, CLIENT_TIMEOUT, Some(place));
    let service = service_fn(move |request| {
        let answer = answer_request(&telemetry, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT);
    // However it ends, the client notices.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

fn answer_request(telemetry: &Telemetry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text_response(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET is served here\n".into(),
        );
    }
    let health = |why: Option<String>| match why {
        None => text_response(StatusCode::OK, "text/plain", "ok\n".into()),
        Some(why) => text_response(StatusCode::SERVICE_UNAVAILABLE, "text/plain", why + "\n"),
    };
    match request.uri().path() {
        "/healthz" | "/livez" => health(telemetry.health_problem()),
        "/readyz" => health(telemetry.readiness_problem()),
        "/metrics" => text_response(StatusCode::OK, OPEN_METRICS, telemetry.to_open_metrics()),
        _ => text_response(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /healthz, /readyz and /metrics\n".into(),
        ),
    }
}

fn text_response(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = code;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    answer
}
