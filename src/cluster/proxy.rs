//! Reaches a Gateway through the API server when its addresses cannot be reached from here: by the
//! `proxy` subresource of its Service. It needs only access to the API server and permission for
//! that subresource.

use std::str::FromStr;

use http::{Request, Response, header};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, ResourceExt, api::ListParams, client::Body};
use serde_json::Value;

use super::{error, trace};
use crate::{
    api::{
        gateway_api::{Gateway, GatewayClass, LANE_GATEWAY},
        label,
    },
    domain::text::Clean,
};

/// Bytes of a refusal that are read.
const MOST_BYTES: usize = 64 * 1024;
/// The label by which implementations mark the objects of a Gateway (GEP-1762).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The Service of a Gateway: `NAMESPACE/SERVICE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTarget {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Number or name of the port.
    pub port: String,
}

/// The text is not `NAMESPACE/SERVICE:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no Service: write NAMESPACE/SERVICE:PORT, as in traefik/traefik:80")]
pub struct ProxyTargetError(String);

impl FromStr for ProxyTarget {
    type Err = ProxyTargetError;

    fn from_str(text: &str) -> Result<Self, ProxyTargetError> {
        let parts = text
            .split_once('/')
            .and_then(|(ns, rest)| Some((ns, rest.rsplit_once(':')?)));
        let word = |w: &str| {
            !w.is_empty()
                && w.chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        };
        match parts {
            Some((ns, (service, port))) if [ns, service, port].into_iter().all(word) => Ok(Self {
                namespace: ns.into(),
                service: service.into(),
                port: port.into(),
            }),
            _ => Err(ProxyTargetError(text.into())),
        }
    }
}

/// A request cannot be sent through the API server.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The Gateway cannot be read.
    #[error("Gateway {gateway}: {}", error::describe_error(.error))]
    Gateway {
        /// Name of the Gateway.
        gateway: String,
        /// The client's error.
        error: kube::Error,
    },
    /// The Gateway does not listen for HTTP.
    #[error("Gateway {0} has no HTTP listener")]
    NoListener(String),
    /// The objects among which one leads to the Gateway cannot be listed.
    #[error("listing {what}: {}", error::describe_error(.error))]
    List {
        /// Kind of the objects, in the plural.
        what: &'static str,
        /// The client's error.
        error: kube::Error,
    },
    /// Nothing says that it leads to the Gateway.
    #[error(
        "no Service in namespace {namespace} says that it is Gateway {gateway}'s (label {GATEWAY_NAME}): name it, as in \
         --via proxy=NAMESPACE/SERVICE:PORT"
    )]
    NoService {
        /// Namespace of the Gateway.
        namespace: String,
        /// Name of the Gateway.
        gateway: String,
    },
    /// The path is no part of a URI.
    #[error("{path}: {source}")]
    Path {
        /// Path and query of the request.
        path: String,
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// The API server did not answer.
    #[error("{}", error::describe_error(.0))]
    Send(kube::Error),
    /// The answer cannot be read, or is too long.
    #[error("{0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
    /// The API server itself refused. Holds its message.
    #[error("the API server says: {0}")]
    Refused(Clean),
}

/// A Service or pod behind the API server.
#[derive(Clone)]
pub struct Proxy {
    client: Client,
    /// `/api/v1/namespaces/NS/services/NAME:PORT/proxy`.
    base: String,
}

impl Proxy {
    /// Reaches a Service.
    pub fn to_service(client: &Client, target: &ProxyTarget) -> Self {
        let ProxyTarget {
            namespace,
            service,
            port,
        } = target;
        Self {
            client: client.clone(),
            base: format!("/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"),
        }
    }

    /// Reaches a Gateway of that namespace.
    #[tracing::instrument(level = "debug", skip_all, fields(namespace, gateway))]
    pub async fn to_gateway(
        client: &Client,
        namespace: &str,
        gateway: &str,
    ) -> Result<Self, ProxyError> {
        let gateways: Api<Gateway> = Api::namespaced(client.clone(), namespace);
        let found = gateways
            .get(gateway)
            .await
            .map_err(|error| ProxyError::Gateway {
                gateway: gateway.to_owned(),
                error,
            })?;
        let port = found
            .spec
            .listeners
            .iter()
            .find(|l| l.protocol == "HTTP")
            .map(|l| l.port);
        let port = port.ok_or_else(|| ProxyError::NoListener(gateway.to_owned()))?;
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let marked = ListParams::default().labels(&format!("{GATEWAY_NAME}={gateway}"));
        let services = services
            .list(&marked)
            .await
            .map_err(|error| ProxyError::List {
                what: "Services",
                error,
            })?;
        if let Some(service) = services.items.first() {
            let target = ProxyTarget {
                namespace: namespace.into(),
                service: service.name_any(),
                port: port.to_string(),
            };
            return Ok(Self::to_service(client, &target));
        }
        if let Some(base) = find_gateway_pod(client, &found.spec.gateway_class_name, port).await? {
            return Ok(Self {
                client: client.clone(),
                base,
            });
        }
        Err(ProxyError::NoService {
            namespace: namespace.to_owned(),
            gateway: gateway.to_owned(),
        })
    }

    /// Sends a request; its path is the path at the Gateway.
    pub async fn send(&self, request: Request<()>) -> Result<Response<Body>, ProxyError> {
        self.send_body(request.map(|()| Body::empty())).await
    }

    /// Sends a request with a body.
    #[tracing::instrument(level = "debug", skip_all, fields(method = %request.method(), path = request.uri().path()))]
    pub async fn send_body(&self, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        parts.uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|source| ProxyError::Path {
                path: path.to_owned(),
                source,
            })?;
        let sent = self.client.send(Request::from_parts(parts, body)).await;
        check_refusal(sent.map_err(ProxyError::Send)?).await
    }
}

/// Path of a pod of graylane's own gateway, if the class is graylane's.
async fn find_gateway_pod(
    client: &Client,
    class: &str,
    port: u16,
) -> Result<Option<String>, ProxyError> {
    let classes: Api<GatewayClass> = Api::all(client.clone());
    let class = classes.get_opt(class).await.ok().flatten();
    if class.is_none_or(|c| c.spec.controller_name != LANE_GATEWAY) {
        return Ok(None);
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), trace::GATEWAY_NAMESPACE);
    let ours =
        ListParams::default().labels(&format!("{}={}", label::COMPONENT, trace::GATEWAY_POD));
    let pods = pods.list(&ours).await.map_err(|error| ProxyError::List {
        what: "pods",
        error,
    })?;
    Ok(pods.items.first().map(|pod| {
        format!(
            "/api/v1/namespaces/{}/pods/{}:{port}/proxy",
            trace::GATEWAY_NAMESPACE,
            pod.name_any()
        )
    }))
}

/// Turns a refusal by the API server itself into an error; answers from behind it pass.
async fn check_refusal(answer: Response<Body>) -> Result<Response<Body>, ProxyError> {
    let json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t == "application/json");
    if !json || answer.status().as_u16() < 400 {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let bytes = Limited::new(body, MOST_BYTES)
        .collect()
        .await
        .map_err(ProxyError::Answer)?
        .to_bytes();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(status) if status["kind"] == "Status" && status["apiVersion"] == "v1" => {
            let message = status["message"].as_str().unwrap_or("refused");
            Err(ProxyError::Refused(Clean::bounded(message, 300)))
        }
        _ => Ok(Response::from_parts(head, Body::from(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_namespace_service_and_port() {
        let target: ProxyTarget = "traefik/traefik:web".parse().unwrap();
        assert_eq!(
            (&*target.namespace, &*target.service, &*target.port),
            ("traefik", "traefik", "web")
        );
        for wrong in [
            "traefik",
            "traefik:80",
            "a/b",
            "a/:80",
            "/b:80",
            "a/b:",
            "a/../b:80",
        ] {
            let refused = wrong.parse::<ProxyTarget>().unwrap_err().to_string();
            assert!(refused.contains("NAMESPACE/SERVICE:PORT"), "{refused}");
        }
    }
}
