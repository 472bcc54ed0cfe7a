//! Service ports that do not speak HTTP: connections pass through unchanged, without lanes or hops.

use std::{net::SocketAddr, sync::Arc};

use k8s_openapi::api::core::v1::ServicePort;
use tokio::{net::TcpStream, time::timeout};

use super::{
    endpoint::{Endpoint, InFlightGuard},
    forward::dial_backend,
    proxy::DataPlane,
    table::Frontend,
};

/// Protocols other than HTTP/1 (from `appProtocol`, else from the name as service meshes read it).
const NOT_HTTP: &[&str] = &[
    "https",
    "tls",
    "tcp",
    "h2c",
    "grpc",
    "grpcs",
    "http2",
    "mongo",
    "mysql",
    "postgres",
    "postgresql",
    "redis",
    "kafka",
    "amqp",
];

/// Whether a port is passed through. Without a protocol, every port but 443 is HTTP.
pub(super) fn is_raw(port: &ServicePort) -> bool {
    let protocol = port
        .app_protocol
        .as_deref()
        .map(|p| p.strip_prefix("kubernetes.io/").unwrap_or(p));
    let named = port
        .name
        .as_deref()
        .map(|n| n.split('-').next().unwrap_or(n))
        .filter(|n| !n.is_empty());
    protocol.or(named).map_or(port.port == 443, |p| {
        NOT_HTTP.contains(&p.to_ascii_lowercase().as_str())
    })
}

impl DataPlane {
    /// Index of the Service port at an address, if it is passed through.
    pub(super) fn raw_port_at(&self, at: SocketAddr) -> Option<usize> {
        match self.table.load().listeners.get(&at) {
            Some(Frontend::Raw(port)) => Some(*port),
            _ => None,
        }
    }

    /// Joins a caller with the first endpoint that accepts a connection; closes it if there is
    /// none.
    #[tracing::instrument(level = "trace", skip_all, fields(port))]
    pub(super) async fn pass_through(self: Arc<Self>, mut caller: TcpStream, port: usize) {
        let table = self.table.load_full();
        let Some(port) = table.ports.get(port) else {
            return;
        };
        let mut tried = vec![];
        while tried.len() < 3 {
            let Some(endpoint) = port
                .endpoints
                .pick(&tried)
                .filter(|e| !tried.contains(&e.address))
            else {
                break;
            };
            tried.push(endpoint.address);
            if let Some(mut backend) = self.dial_endpoint(endpoint).await {
                let _pending = InFlightGuard::for_endpoint(endpoint);
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut backend).await;
                return;
            }
        }
        tracing::debug!("Service {}: no endpoint takes a connection", port.name());
    }

    async fn dial_endpoint(&self, endpoint: &Endpoint) -> Option<TcpStream> {
        let stream = timeout(self.limits.connect, dial_backend(endpoint.address))
            .await
            .ok()?
            .ok()?;
        let _ = stream.set_nodelay(true);
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_http_unless_they_say_otherwise() {
        let port = |port, name: Option<&str>, protocol: Option<&str>| {
            let (name, app_protocol) = (name.map(Into::into), protocol.map(Into::into));
            is_raw(&ServicePort {
                port,
                name,
                app_protocol,
                ..ServicePort::default()
            })
        };
        assert!(
            !port(80, None, None)
                && !port(20001, Some("http"), None)
                && !port(443, Some("http-x"), None)
        );
        assert!(
            port(443, None, None)
                && port(6443, Some("https"), None)
                && port(1, Some("tcp-x"), None)
        );
        assert!(
            port(80, Some("http"), Some("kubernetes.io/h2c"))
                && !port(443, Some("https"), Some("http"))
        );
    }
}
