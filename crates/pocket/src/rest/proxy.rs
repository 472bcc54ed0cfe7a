//! `pods/NAME/proxy` and `services/NAME/proxy`: forwards a request to a pod or a Service and
//! streams the answer back. The name may be `NAME:PORT`, as in Kubernetes.

use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderName, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::{
    ApiServer, Call,
    error::{ApiError, Result},
    reply::{BoxError, Reply},
};

/// Headers of one connection only (RFC 9110 §7.6.1), or that must not reach the backend.
const UNFORWARDED_HEADERS: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(super) type ProxyClient = Client<HttpConnector, Full<Bytes>>;

pub(super) fn build_client() -> ProxyClient {
    Client::builder(TokioExecutor::new()).build_http()
}

impl ApiServer {
    pub(super) async fn proxy_request(
        &self,
        parts: &http::request::Parts,
        call: Call,
    ) -> Result<Reply> {
        let name = call.name()?.to_owned();
        let (name, port) = name.split_once(':').unwrap_or((&name, ""));
        let object = self
            .find_stored(&call.resource, &call.store_key(name))?
            .value;
        let to = if call.resource.is_kind("", "Pod") {
            resolve_pod(&object, name, port)?
        } else {
            self.resolve_service(&call, &object, port)?
        };
        // The path stays encoded: decoding it once too often would change it.
        let rest = parts.uri.path().splitn(9, '/').nth(8).unwrap_or_default();
        let query = parts
            .uri
            .query()
            .map(|q| format!("?{q}"))
            .unwrap_or_default();
        let uri: Uri = format!("http://{to}/{rest}{query}")
            .parse()
            .map_err(|e| ApiError::bad_request(format!("{rest}: {e}")))?;
        let mut request = Request::new(Full::new(call.body));
        (*request.method_mut(), *request.uri_mut()) = (parts.method.clone(), uri);
        for (key, value) in parts
            .headers
            .iter()
            .filter(|(key, _)| !UNFORWARDED_HEADERS.contains(key))
        {
            request.headers_mut().append(key.clone(), value.clone());
        }
        let answer = self.inner.onward.request(request).await.map_err(|e| {
            let why =
                std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
            let message = format!("error trying to reach service: {to}: {why}");
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                message,
            )
        })?;
        let (mut head, body) = answer.into_parts();
        UNFORWARDED_HEADERS
            .iter()
            .for_each(|own| drop(head.headers.remove(own)));
        let body = body.into_data_stream().map_err(BoxError::from);
        Ok(Reply::Proxied {
            head,
            stream: Box::pin(body),
        })
    }

    /// Address of a ready pod of a Service, for a port's number or name.
    fn resolve_service(&self, call: &Call, service: &Value, port: &str) -> Result<String> {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        let none =
            |why: String| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", why);
        let ports = service["spec"]["ports"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let named = |p: &&Value| {
            p["name"] == port || p["port"].as_u64().is_some_and(|n| n.to_string() == port)
        };
        let found = if port.is_empty() {
            ports.first()
        } else {
            ports.iter().find(named)
        };
        let found = found.ok_or_else(|| {
            none(format!(
                "no service port {port:?} found for service {name:?}"
            ))
        })?;
        let registry = self.registry();
        let slices = registry
            .find_resource("discovery.k8s.io", "v1", "endpointslices")
            .ok_or_else(ApiError::no_such_path)?;
        let all = self
            .store()
            .list(&slices.storage, Some(call.namespace_or_none()));
        let own = all
            .values()
            .filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == name);
        for slice in own {
            let ports = slice["ports"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let name = |p: &Value| p["name"].as_str().unwrap_or_default().to_owned();
            let Some(port) = ports
                .iter()
                .find(|p| name(p) == name(found))
                .and_then(|p| p["port"].as_u64())
            else {
                continue;
            };
            let ready = |e: &&Value| e["conditions"]["ready"] != false;
            let mut endpoints = slice["endpoints"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(ready);
            if let Some(address) = endpoints.find_map(|e| e["addresses"][0].as_str()) {
                return Ok(format!("{address}:{port}"));
            }
        }
        Err(none(format!("no endpoints available for service {name:?}")))
    }
}

fn resolve_pod(pod: &Value, name: &str, port: &str) -> Result<String> {
    let address = pod["status"]["podIP"].as_str().filter(|a| !a.is_empty());
    let address = address.ok_or_else(|| {
        ApiError::bad_request(format!("address not allowed: pod {name} has none"))
    })?;
    let containers = || pod["spec"]["containers"].as_array().into_iter().flatten();
    let first = containers()
        .find_map(|c| c["ports"][0]["containerPort"].as_u64())
        .unwrap_or(80);
    match port {
        "" => Ok(format!("{address}:{first}")),
        port if port.parse::<u16>().is_ok() => Ok(format!("{address}:{port}")),
        port => Err(ApiError::bad_request(format!(
            "invalid port {port:?}: a pod's is a number"
        ))),
    }
}
