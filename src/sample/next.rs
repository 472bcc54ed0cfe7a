//! Calls the next service and passes on the headers that must be propagated.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::config::{Config, NextService};

/// Longer than any chain.
const MAX_BODY_BYTES: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Caller {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Why the next service gave no chain: a status and a text.
pub(super) type Failure = (StatusCode, String);

impl Caller {
    /// Calls from this address, as a pod does: a gateway's log identifies the caller by it.
    pub(super) fn new(address: IpAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address));
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client }
    }

    /// The response of the next service at `path`.
    pub(super) async fn call(
        &self,
        me: &Config,
        next: &NextService,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<String, Failure> {
        let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
        let Some(authority) = me.via.as_ref().or(next.authority.as_ref()) else {
            let variable = next.service.to_uppercase().replace('-', "_");
            return Err(unavailable(format!(
                "{} cannot find {}: {variable}_SERVICE_HOST and _PORT are not set. Create the Service {} in this \
                 namespace, then restart this pod.\n",
                me.letter, next.service, next.service
            )));
        };
        let request = build_request(me, next, authority, path, headers);
        let failed = |why: String| {
            unavailable(format!(
                "{} cannot reach {} at {authority}: {why}. Are its pods ready?\n",
                me.letter, next.service
            ))
        };
        let request = request.map_err(|e| failed(e.to_string()))?;
        let answer = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|e| failed(format_error_chain(&e)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BODY_BYTES)
                .collect()
                .await
                .map_err(|e| failed(e.to_string()))?;
            let text = String::from_utf8_lossy(&body.to_bytes())
                .trim_end()
                .to_owned();
            if status.is_success() {
                Ok(text)
            } else {
                Err((status, format!("{} -> {text}\n", me.link())))
            }
        };
        let timeout = || {
            (
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "{} has no answer from {} in {TIMEOUT:?}\n",
                    me.letter, next.service
                ),
            )
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .map_err(|_| timeout())?
    }
}

/// A request that carries on what the headers tell of the trace and its tag.
fn build_request(
    me: &Config,
    next: &NextService,
    authority: &str,
    path: &str,
    headers: &HeaderMap,
) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(format!("http://{authority}{path}"));
    if me.via.is_some() {
        request = request.header("host", &next.service);
    }
    for name in [
        "traceparent",
        "tracestate",
        "baggage",
        me.tag_header.as_str(),
    ] {
        if me.drop_tag && (name == "baggage" || name == me.tag_header) {
            continue;
        }
        for value in headers.get_all(name) {
            request = request.header(name, value);
        }
    }
    request.body(Empty::new())
}

/// The text of an error with its causes.
fn format_error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source()).map(ToString::to_string);
    std::iter::once(error.to_string())
        .chain(causes)
        .collect::<Vec<_>>()
        .join(": ")
}
