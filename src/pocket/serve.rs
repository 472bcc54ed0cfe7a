//! The API on the network: TLS and a bearer token on the node's address, and the kubeconfig that says so.
//!
//! Identity (certificates, token) stays in the state folder, so that clients outlive a restart of the pocket.

mod identity;

use std::{net::TcpListener, path::Path, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    network::Network,
    rest::{ApiError, ApiServer, ResponseBody},
};
pub use identity::{Identity, IdentityError};

/// A client that does not finish its handshake is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that are open at the end get this long.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves on `listener` until `stop`; then lets what is under way finish, for a moment.
pub async fn serve(
    server: ApiServer,
    listener: TcpListener,
    identity: Identity,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(identity.tls);
    let graceful = GracefulShutdown::new();
    let token: Arc<str> = identity.token.into();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(why) => {
                    // Out of file descriptors, most likely: a moment later there may be some.
                    tracing::warn!(%why, "the API cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let (acceptor, server, token, watcher) = (acceptor.clone(), server.clone(), token.clone(), graceful.watcher());
        tokio::spawn(async move {
            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
            let service = service_fn(move |request| answer(server.clone(), token.clone(), request));
            let builder = Builder::new(TokioExecutor::new());
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let _ = watcher.watch(connection).await;
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

async fn answer(
    server: ApiServer,
    token: Arc<str>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, std::convert::Infallible> {
    let given =
        request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    if !given.is_some_and(|given| same(given, &token)) {
        return Ok(super::rest::refuse(&ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")));
    }
    Ok(server.handle(request).await)
}

/// Compares without telling by its duration how much was right.
fn same(one: &str, two: &str) -> bool {
    use sha2::{Digest, Sha256};
    Sha256::digest(one) == Sha256::digest(two)
}

/// Writes `DIR/kubeconfig`, for its owner only, in one go.
pub fn write_kubeconfig(state: &Path, network: Network, identity: &Identity) -> Result<(), IdentityError> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pocket",
        "contexts": [{"name": "pocket", "context": {"cluster": "pocket", "user": "you", "namespace": "default"}}],
        "clusters": [{"name": "pocket", "cluster": {
            "server": format!("https://{}:{}", network.node(), super::network::API_PORT),
            "certificate-authority-data": identity.authority_data(),
        }}],
        "users": [{"name": "you", "user": {"token": identity.token}}],
    });
    let text = serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string());
    identity::write_private(&state.join("kubeconfig"), text.as_bytes())
}
