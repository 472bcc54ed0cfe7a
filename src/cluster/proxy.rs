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

    /// Reaches a Gateway of that namespace; `Err` says why no way was found.
    pub async fn to_gateway(
        client: &Client,
        namespace: &str,
        gateway: &str,
    ) -> Result<Self, String> {
        let gateways: Api<Gateway> = Api::namespaced(client.clone(), namespace);
        let found = gateways
            .get(gateway)
            .await
            .map_err(|e| format!("Gateway {gateway}: {}", error::describe_error(&e)))?;
        let port = found
            .spec
            .listeners
            .iter()
            .find(|l| l.protocol == "HTTP")
            .map(|l| l.port);
        let port = port.ok_or_else(|| format!("Gateway {gateway} has no HTTP listener"))?;
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let marked = ListParams::default().labels(&format!("{GATEWAY_NAME}={gateway}"));
        let services = services
            .list(&marked)
            .await
            .map_err(|e| format!("listing Services: {}", error::describe_error(&e)))?;
        if let Some(service) = services.items.first() {
            let target = ProxyTarget {
                namespace: namespace.into(),
                service: service.name_any(),
                port: port.to_string(),
            };
            return Ok(Self::to_service(client, &target));
        }
        let classes: Api<GatewayClass> = Api::all(client.clone());
        let class = classes
            .get_opt(&found.spec.gateway_class_name)
            .await
            .ok()
            .flatten();
        if class.is_some_and(|c| c.spec.controller_name == LANE_GATEWAY) {
            let pods: Api<Pod> = Api::namespaced(client.clone(), trace::GATEWAY_NAMESPACE);
            let ours = ListParams::default().labels(&format!(
                "{}={}",
                label::COMPONENT,
                trace::GATEWAY_POD
            ));
            let pods = pods
                .list(&ours)
                .await
                .map_err(|e| format!("listing pods: {}", error::describe_error(&e)))?;
            if let Some(pod) = pods.items.first() {
                let base = format!(
                    "/api/v1/namespaces/{}/pods/{}:{port}/proxy",
                    trace::GATEWAY_NAMESPACE,
                    pod.name_any()
                );
                return Ok(Self {
                    client: client.clone(),
                    base,
                });
            }
        }
        Err(format!(
            "no Service in namespace {namespace} says that it is Gateway {gateway}'s (label {GATEWAY_NAME}): name it, as \
             in --via proxy=NAMESPACE/SERVICE:PORT"
        ))
    }

    /// Sends a request; its path is the path at the Gateway.
    pub async fn send(&self, request: Request<()>) -> Result<Response<Body>, String> {
        self.send_body(request.map(|()| Body::empty())).await
    }

    /// Sends a request with a body.
    pub async fn send_body(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        parts.uri = format!("{}{path}", self.base)
            .parse()
            .map_err(|e| format!("{path}: {e}"))?;
        let sent = self.client.send(Request::from_parts(parts, body)).await;
        check_refusal(sent.map_err(|e| error::describe_error(&e))?).await
    }
}

/// Turns a refusal by the API server itself into an error; answers from behind it pass.
async fn check_refusal(answer: Response<Body>) -> Result<Response<Body>, String> {
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
        .map_err(|e| e.to_string())?
        .to_bytes();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(status) if status["kind"] == "Status" && status["apiVersion"] == "v1" => {
            let message = status["message"].as_str().unwrap_or("refused");
            Err(format!(
                "the API server says: {}",
                Clean::bounded(message, 300)
            ))
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
