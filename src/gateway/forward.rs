//! Forwards a request to a backend: connection reuse, retries where nothing was lost, timeouts.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{
    backend_connection::{BackendConnection, ExchangeError, MAX_INFORMATIONAL},
    body::{self, Download, ResponseBody, Upload},
    endpoint::{Endpoint, InFlightGuard},
    headers::normalize_response_head,
    hop_record::HopRecord,
    proxy::{DataPlane, RoutedRequest, UpgradeRequest},
    refusal::{Refusal, format_error_chain},
    table::Rule,
    tunnel::{self, TunnelEnd, keep_alive},
};
use crate::domain::request::strip_hop_by_hop;

/// Maximum number of tries: the first, one for a dead kept connection, one at another endpoint.
const MAX_TRIES: usize = 3;

/// How a try failed.
enum SendFailure {
    /// The backend has read nothing of the request: it may be retried.
    Unsent(Box<Request<Upload>>, Refusal),
    /// The backend may have seen the request.
    Sent(Refusal),
}

type BackendResponse = (Response<Incoming>, BackendConnection, InFlightGuard);

impl DataPlane {
    #[tracing::instrument(
        level = "trace",
        skip_all,
        fields(trace = record.describe().0, tag = record.describe().1, app = record.describe().2)
    )]
    pub(super) async fn forward_request(
        &self,
        plan: RoutedRequest<'_>,
        upload: Upload,
        mut record: HopRecord,
        switching: Option<UpgradeRequest>,
    ) -> Result<Response<ResponseBody>, (HopRecord, Refusal)> {
        let (port, rule) = (plan.port, plan.rule.as_deref());
        let request = build_backend_request(plan.parts, upload);
        let (outcome, pod) = self.begin_response(port, rule, request, plan.upgrade).await;
        if let Some(app) = pod.as_ref().and_then(|pod| pod.app.as_ref()) {
            record.hop().app.clone_from(app);
        }
        let (response, connection, pending) = match outcome {
            Ok(sent) => sent,
            Err(refusal) => return Err((record, refusal)),
        };
        let (mut parts, incoming) = response.into_parts();
        let pod = &pending.0;
        record.set_responding_pod(pod, parts.status);
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch_protocols(
                Response::from_parts(parts, incoming),
                switching,
                record,
                pending,
            );
        }
        let one_way = match normalize_response_head(&mut parts) {
            Ok(one_way) => one_way,
            Err(why) => {
                let words = format!(
                    "Service {}: {} answered with a head that cannot be read: {why}",
                    port.name(),
                    pod.ip
                );
                return Err((record, Refusal::new(StatusCode::BAD_GATEWAY, words)));
            }
        };
        // The gateway's own version: a backend's 1.0 would end the body with the connection, where
        // the end does not show whether it is complete.
        parts.version = Version::HTTP_11;
        plan.changes
            .iter()
            .for_each(|c| c.response.apply(&mut parts.headers));
        let pooled = if one_way { self.limits.pooled } else { 0 };
        let cut = plan.cut.filter(|_| incoming.size_hint().exact().is_none());
        let body = Download::new(incoming, record, connection, pooled, pending, cut);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }

    /// Tries until a response begins, no longer than the rule allows. Also returns the endpoint of a
    /// failed try.
    async fn begin_response(
        &self,
        port: &super::table::Port,
        rule: Option<&Rule>,
        request: Request<Upload>,
        upgrade: bool,
    ) -> (Result<BackendResponse, Refusal>, Option<Arc<Endpoint>>) {
        let ours = Some(self.limits.respond);
        let each = rule.and_then(|r| r.backend_request).unwrap_or(ours);
        let all = rule.and_then(|r| r.request).unwrap_or(None);
        let again = request.method().is_idempotent() && request.body().is_end_stream() && !upgrade;
        let tries = self.try_endpoints(port, request, again, upgrade, each);
        with_timeout(all, tries).await.unwrap_or_else(|| {
            let words = format!(
                "Service {}: no answer within the route's {all:?}",
                port.name()
            );
            (Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, words)), None)
        })
    }

    /// Tries until a response begins. Also returns the endpoint of a failed try.
    async fn try_endpoints(
        &self,
        port: &super::table::Port,
        mut request: Request<Upload>,
        again: bool,
        upgrade: bool,
        each: Option<Duration>,
    ) -> (Result<BackendResponse, Refusal>, Option<Arc<Endpoint>>) {
        let mut tried: Vec<SocketAddr> = vec![];
        let mut fresh = false;
        let mut last = None;
        for _ in 0..MAX_TRIES {
            let Some(endpoint) = port.endpoints.pick(&tried) else {
                let words = format!("Service {} has no ready endpoint", port.name());
                return (
                    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, words)),
                    None,
                );
            };
            // If this is the only endpoint, its connection would be refused again.
            if let Some(refusal) = last.take_if(|_| tried.contains(&endpoint.address) && fresh) {
                return (Err(refusal), Some(endpoint.clone()));
            }
            let kept = if fresh {
                None
            } else {
                endpoint.take_connection(self.limits.idle)
            };
            let reused = kept.is_some();
            let copy = (again && reused).then(|| copy_request(&request));
            let sent = self.send_once(port, endpoint, kept, request, upgrade, each);
            match sent.await {
                Ok(sent) => return (Ok(sent), Some(endpoint.clone())),
                Err(SendFailure::Unsent(back, refusal)) => {
                    // A dead kept connection tells nothing about the pod; a refused new one does.
                    if !reused {
                        tried.push(endpoint.address);
                    }
                    (request, last, fresh) = (*back, Some(refusal), true);
                }
                Err(SendFailure::Sent(refusal)) => match copy {
                    // The pod closed the kept connection while the request was on its way. No
                    // response began, and the method is idempotent, so it is safe to retry (RFC
                    // 9110 §9.2.2).
                    Some(copy) if refusal.status == StatusCode::BAD_GATEWAY => {
                        (request, last, fresh) = (copy, Some(refusal), true);
                    }
                    _ => return (Err(refusal), Some(endpoint.clone())),
                },
            }
        }
        let words = format!("Service {}: no endpoint could be reached", port.name());
        (
            Err(last.unwrap_or(Refusal::new(StatusCode::BAD_GATEWAY, words))),
            None,
        )
    }

    async fn send_once(
        &self,
        port: &super::table::Port,
        endpoint: &Arc<Endpoint>,
        kept: Option<BackendConnection>,
        request: Request<Upload>,
        upgrade: bool,
        each: Option<Duration>,
    ) -> Result<BackendResponse, SendFailure> {
        let pending = InFlightGuard::for_endpoint(endpoint);
        // Describes the backend; built only for errors.
        let backend = || match endpoint.pod.as_str() {
            "" => format!("Service {}: the endpoint {}", port.name(), endpoint.address),
            pod => format!("Service {}: pod {pod} ({})", port.name(), endpoint.address),
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => match self.connect_backend(&backend(), endpoint.address).await {
                Ok(connection) => connection,
                Err(refusal) => return Err(SendFailure::Unsent(Box::new(request), refusal)),
            },
        };
        let sent = connection.exchange(request, upgrade, each).await;
        let error = match sent {
            Ok(response) => return Ok((response, connection, pending)),
            Err(error) => error,
        };
        Err(match error {
            ExchangeError::Failed(mut error) => {
                let message = error.take_message();
                let refusal = Refusal::from_error(error.error(), &backend());
                match message {
                    Some(request) => SendFailure::Unsent(Box::new(request), refusal),
                    None => SendFailure::Sent(refusal),
                }
            }
            ExchangeError::Flood => {
                let words = format!(
                    "{} sent more than {MAX_INFORMATIONAL} informational answers",
                    backend()
                );
                SendFailure::Sent(Refusal::new(StatusCode::BAD_GATEWAY, words))
            }
            ExchangeError::TimedOut => {
                let limit = each.unwrap_or_default();
                let words = format!("{} did not answer within {limit:?}", backend());
                SendFailure::Sent(Refusal::new(StatusCode::GATEWAY_TIMEOUT, words))
            }
        })
    }

    #[tracing::instrument(level = "trace", skip_all, fields(backend, address = %address))]
    async fn connect_backend(
        &self,
        backend: &str,
        address: SocketAddr,
    ) -> Result<BackendConnection, Refusal> {
        let refused = |status, why: String| {
            Refusal::new(status, format!("{backend} takes no connection: {why}"))
        };
        let stream = match timeout(self.limits.connect, dial_backend(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(refused(StatusCode::BAD_GATEWAY, e.to_string())),
            Err(_) => {
                return Err(refused(
                    StatusCode::GATEWAY_TIMEOUT,
                    format!("nothing for {:?}", self.limits.connect),
                ));
            }
        };
        let _ = stream.set_nodelay(true);
        let handshake = http1::Builder::new()
            .max_buf_size(self.limits.head)
            .handshake::<_, Upload>(TokioIo::new(stream));
        let (sender, connection) = handshake
            .await
            .map_err(|e| refused(StatusCode::BAD_GATEWAY, format_error_chain(&e)))?;
        Ok(BackendConnection::new(sender, connection))
    }

    /// Joins the two ends of a switched connection; the hop is reported when it ends.
    fn switch_protocols(
        &self,
        mut response: Response<Incoming>,
        switching: Option<UpgradeRequest>,
        mut record: HopRecord,
        pending: InFlightGuard,
    ) -> Result<Response<ResponseBody>, (HopRecord, Refusal)> {
        let backend = hyper::upgrade::on(&mut response);
        let websocket = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"websocket");
        let asked = response
            .headers()
            .get(header::UPGRADE)
            .is_some_and(websocket);
        let Some(UpgradeRequest {
            caller,
            idle,
            place,
        }) = switching.filter(|_| asked)
        else {
            let words = "the backend switched to what nobody asked for";
            return Err((record, Refusal::new(StatusCode::BAD_GATEWAY, words)));
        };
        self.switched.spawn(async move {
            let _held = (pending, place);
            let (Ok(caller), Ok(backend)) = tokio::join!(caller, backend) else {
                return;
            };
            let ended = tunnel::join(TokioIo::new(caller), TokioIo::new(backend), idle).await;
            if let (TunnelEnd::IdleTimeout, Some(idle)) = (ended, idle) {
                record.hop().error =
                    Some(format!("nothing came for {idle:?}: the gateway ended it"));
            }
        });
        let (mut parts, _) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers, &[]);
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts
            .headers
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        Ok(Response::from_parts(parts, body::text_body(String::new())))
    }
}

fn build_backend_request(mut parts: Parts, upload: Upload) -> Request<Upload> {
    // Without it, hyper drops the body of a GET without a known length.
    if !upload.is_end_stream() && upload.size_hint().exact().is_none() {
        parts.headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    Request::from_parts(parts, upload)
}

/// Connects to a backend with TCP keepalive, to notice when it is gone.
pub(super) async fn dial_backend(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    keep_alive(&socket)?;
    socket.connect(address).await
}

/// A copy of a request without a body.
fn copy_request(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    copy
}

async fn with_timeout<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
