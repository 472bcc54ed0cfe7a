//! To a backend and back: a kept connection or a new one, one more try where nothing was lost, time limits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    body::{self, Answer, Download, Upload},
    endpoint::{Endpoint, Pending},
    headers::strip_hop_by_hop,
    proxy::{Plan, Shared},
    record::Record,
    refusal::{Refusal, causes},
};

/// Tries to be made at most: the first, one where the kept connection was dead, one elsewhere.
const TRIES: usize = 3;

/// How a try failed.
enum Failed {
    /// Nothing of the request was read by a backend: it may be tried again.
    Unsent(Box<Request<Upload>>, Refusal),
    /// It may have been seen.
    Sent(Refusal),
}

type Sent = (Response<Incoming>, SendRequest<Upload>, Pending);

impl Shared {
    pub(super) async fn forward(
        &self,
        plan: Plan<'_>,
        upload: Upload,
        mut record: Record,
        caller: Option<OnUpgrade>,
    ) -> Result<Response<Answer>, (Record, Refusal)> {
        let Plan { port, parts, rule, changes, upgrade } = plan;
        let ours = Some(self.limits.respond);
        let each = rule.as_ref().and_then(|r| r.backend_request).unwrap_or(ours);
        let all = rule.as_ref().and_then(|r| r.request).unwrap_or(None);
        let again = parts.method.is_idempotent() && upload.is_end_stream() && upgrade.is_none();
        let request = Request::from_parts(parts, upload);
        let tries = self.tries(port, request, again, each);
        let (outcome, pod) = within(all, tries).await.unwrap_or_else(|| {
            let words = format!("Service {}: no answer within the route's {all:?}", port.name());
            (Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, words)), None)
        });
        if let Some(pod) = &pod {
            record.hop.app = pod.app.clone().unwrap_or(std::mem::take(&mut record.hop.app));
        }
        let (response, sender, pending) = match outcome {
            Ok(sent) => sent,
            Err(refusal) => return Err((record, refusal)),
        };
        let (mut parts, incoming) = response.into_parts();
        let pod = &pending.0;
        record.hop.pod = Some(if pod.pod.is_empty() { pod.ip.clone() } else { pod.pod.clone() });
        record.hop.address = Some(pod.ip.clone());
        record.hop.pod_tag.clone_from(&pod.tag);
        record.hop.status = parts.status.as_u16();
        record.hop.error = None;
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(Response::from_parts(parts, incoming), caller, record, pending);
        }
        strip_hop_by_hop(&mut parts.headers);
        changes.iter().for_each(|c| c.response.apply(&mut parts.headers));
        let body = Download::new(incoming, record, sender, self.limits.pooled, pending);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }

    /// Tries until an answer begins. The endpoint is told also where it fails.
    async fn tries(
        &self,
        port: &super::table::Port,
        mut request: Request<Upload>,
        again: bool,
        each: Option<Duration>,
    ) -> (Result<Sent, Refusal>, Option<Arc<Endpoint>>) {
        let mut tried: Vec<SocketAddr> = vec![];
        let mut fresh = false;
        let mut last = None;
        for _ in 0..TRIES {
            let Some(endpoint) = port.endpoints.pick(&tried) else {
                let words = format!("Service {} has no ready endpoint", port.name());
                return (Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, words)), None);
            };
            // Without another endpoint a refused connection is refused again.
            if let Some(refusal) = last.take_if(|_| tried.contains(&endpoint.address) && fresh) {
                return (Err(refusal), Some(endpoint.clone()));
            }
            let kept = if fresh { None } else { endpoint.take(self.limits.idle) };
            let reused = kept.is_some();
            let copy = (again && reused).then(|| copy(&request));
            match self.attempt(port, endpoint, kept, request, each).await {
                Ok(sent) => return (Ok(sent), Some(endpoint.clone())),
                Err(Failed::Unsent(back, refusal)) => {
                    // A dead kept connection says nothing of the pod; a refused new one does.
                    if !reused {
                        tried.push(endpoint.address);
                    }
                    (request, last, fresh) = (*back, Some(refusal), true);
                }
                Err(Failed::Sent(refusal)) => match copy {
                    // The pod closed the kept connection as the request was on its way: no answer began, and
                    // asking twice is safe for this method (RFC 9110 §9.2.2).
                    Some(copy) if refusal.status == StatusCode::BAD_GATEWAY => {
                        (request, last, fresh) = (copy, Some(refusal), true);
                    }
                    _ => return (Err(refusal), Some(endpoint.clone())),
                },
            }
        }
        let words = format!("Service {}: no endpoint could be reached", port.name());
        (Err(last.unwrap_or(Refusal::new(StatusCode::BAD_GATEWAY, words))), None)
    }

    async fn attempt(
        &self,
        port: &super::table::Port,
        endpoint: &Arc<Endpoint>,
        kept: Option<SendRequest<Upload>>,
        request: Request<Upload>,
        each: Option<Duration>,
    ) -> Result<Sent, Failed> {
        let pending = Pending::on(endpoint);
        // Words for what goes wrong, made only then.
        let backend = || match endpoint.pod.as_str() {
            "" => format!("Service {}: the endpoint {}", port.name(), endpoint.address),
            pod => format!("Service {}: pod {pod} ({})", port.name(), endpoint.address),
        };
        let mut sender = match kept {
            Some(sender) => sender,
            None => match self.connect(&backend(), endpoint.address).await {
                Ok(sender) => sender,
                Err(refusal) => return Err(Failed::Unsent(Box::new(request), refusal)),
            },
        };
        match within(each, sender.try_send_request(request)).await {
            Some(Ok(response)) => Ok((response, sender, pending)),
            Some(Err(mut error)) => {
                let message = error.take_message();
                let refusal = Refusal::of_error(error.error(), &backend());
                Err(message.map_or(Failed::Sent(Refusal::new(refusal.status, refusal.words.clone())), |request| {
                    Failed::Unsent(Box::new(request), refusal)
                }))
            }
            None => {
                let words = format!("{} did not answer within {:?}", backend(), each.unwrap_or_default());
                Err(Failed::Sent(Refusal::new(StatusCode::GATEWAY_TIMEOUT, words)))
            }
        }
    }

    async fn connect(&self, backend: &str, address: SocketAddr) -> Result<SendRequest<Upload>, Refusal> {
        let refused = |status, why: String| Refusal::new(status, format!("{backend} takes no connection: {why}"));
        let stream = match timeout(self.limits.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(refused(StatusCode::BAD_GATEWAY, e.to_string())),
            Err(_) => {
                return Err(refused(StatusCode::GATEWAY_TIMEOUT, format!("nothing for {:?}", self.limits.connect)));
            }
        };
        let _ = stream.set_nodelay(true);
        let handshake = http1::Builder::new()
            .max_buf_size(self.limits.head)
            .max_headers(self.limits.headers)
            .handshake::<_, Upload>(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|e| refused(StatusCode::BAD_GATEWAY, causes(&e)))?;
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    /// Joins the two ends of a switched connection; the hop is told when it ends.
    fn switch(
        &self,
        mut response: Response<Incoming>,
        caller: Option<OnUpgrade>,
        record: Record,
        pending: Pending,
    ) -> Result<Response<Answer>, (Record, Refusal)> {
        let backend = hyper::upgrade::on(&mut response);
        let Some(caller) = caller else {
            let words = "the backend switched protocols though nobody asked";
            return Err((record, Refusal::new(StatusCode::BAD_GATEWAY, words)));
        };
        self.switched.spawn(async move {
            let _held = (record, pending);
            let (Ok(caller), Ok(backend)) = tokio::join!(caller, backend) else { return };
            let (mut caller, mut backend) = (TokioIo::new(caller), TokioIo::new(backend));
            let _ = tokio::io::copy_bidirectional(&mut caller, &mut backend).await;
        });
        let (mut parts, _) = response.into_parts();
        let protocol = parts.headers.get(header::UPGRADE).cloned();
        strip_hop_by_hop(&mut parts.headers);
        if let Some(protocol) = protocol {
            parts.headers.insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol);
        }
        Ok(Response::from_parts(parts, body::text(String::new())))
    }
}

/// The same request once more; only for one without a body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    copy
}

async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
