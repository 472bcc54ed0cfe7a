//! Serves the API on the network, with TLS and a bearer token at the node's address, and writes the
//! kubeconfig for it.
//!
//! The identity (certificates, token) is stored in the state folder, so that clients keep working
//! after a restart of the pocket. It is renewed while the pocket runs.

mod identity;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use jiff::Timestamp;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    durable,
    network::Network,
    rest::{ApiError, ApiServer, ResponseBody},
};
pub use identity::{Identity, IdentityError};
use net::{admission::Admission, first_byte::FirstByteDeadline};

/// Share of this process's file descriptors that is available to API clients.
const CONNECTION_SHARE: f64 = 0.125;
/// Time limit for the TLS handshake and for the head of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of HTTP/2 pings; a client that does not answer within the handshake time limit is
/// disconnected.
const PING_INTERVAL: Duration = Duration::from_mins(1);
/// Interval of the renewal check; also the time until a changed clock is noticed.
const RENEWAL_INTERVAL: Duration = Duration::from_mins(1);
/// Time that open connections get at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves on `listener` until `stop` is cancelled, then lets running requests finish for a moment.
pub async fn serve_api(
    server: ApiServer,
    listener: TcpListener,
    identity: Identity,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let graceful = GracefulShutdown::new();
    let (admission, here) = (
        Admission::for_descriptor_share(CONNECTION_SHARE, 1),
        listener.local_addr()?,
    );
    let builder = build_server();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(why) => {
                    // Most likely out of file descriptors: some may be free a moment later.
                    tracing::warn!(%why, "the API cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let builder = builder.clone();
        let acceptor = TlsAcceptor::from(identity.serving_state().tls);
        let (server, identity, watcher) = (server.clone(), identity.clone(), graceful.watcher());
        let admission = admission.clone();
        tokio::spawn(async move {
            // A client with too many connections is disconnected without an answer.
            let Some(place) = admission.admit_peer(peer, here).await else {
                return;
            };
            let Ok(Ok(stream)) =
                tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await
            else {
                return;
            };
            let stream = FirstByteDeadline::new(stream, HANDSHAKE_TIMEOUT, Some(place));
            let service = service_fn(move |request| {
                answer_request(server.clone(), identity.serving_state().tokens, request)
            });
            let connection = builder
                .serve_connection(TokioIo::new(stream), service)
                .into_owned();
            let _ = watcher.watch(connection).await;
        });
    }
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
    Ok(())
}

fn build_server() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(HANDSHAKE_TIMEOUT);
    builder
}

async fn answer_request(
    server: ApiServer,
    tokens: Arc<[String]>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, std::convert::Infallible> {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "));
    if !given.is_some_and(|given| tokens.iter().any(|token| constant_time_eq(given, token))) {
        return Ok(super::rest::refuse(&ApiError::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Unauthorized",
        )));
    }
    Ok(server.handle_request(request).await)
}

/// Compares in constant time.
fn constant_time_eq(one: &str, two: &str) -> bool {
    use sha2::{Digest, Sha256};
    Sha256::digest(one) == Sha256::digest(two)
}

/// Renews the identity and the kubeconfig before they expire, until `stop` is cancelled.
pub async fn run_renewal(
    state: PathBuf,
    network: Network,
    identity: Identity,
    stop: CancellationToken,
) {
    while stop
        .run_until_cancelled(tokio::time::sleep(RENEWAL_INTERVAL))
        .await
        .is_some()
    {
        match identity.renew(Timestamp::now()) {
            Ok(false) => {}
            Ok(true) => match write_kubeconfig(&state, network, &identity) {
                Ok(()) => {}
                Err(why) => {
                    tracing::error!(%why, "the kubeconfig does not follow the API's identity");
                }
            },
            Err(why) => tracing::error!(%why, "the API's identity cannot be renewed"),
        }
    }
}

/// Writes `DIR/kubeconfig` atomically, for its owner only.
pub fn write_kubeconfig(
    state: &Path,
    network: Network,
    identity: &Identity,
) -> Result<(), IdentityError> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pocket",
        "contexts": [{"name": "pocket", "context": {"cluster": "pocket", "user": "you", "namespace": "default"}}],
        "clusters": [{"name": "pocket", "cluster": {
            "server": format!("https://{}:{}", network.node_address(), super::network::API_PORT),
            "certificate-authority-data": identity.authority_data(),
        }}],
        "users": [{"name": "you", "user": {"token": identity.token()}}],
    });
    let text = serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string());
    let file = state.join("kubeconfig");
    durable::write_atomically(&file, text.as_bytes())
        .map_err(|why| IdentityError::File { file, why })
}
