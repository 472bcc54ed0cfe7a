//! Handles one request: chooses rule, tag and backend, and forwards it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version, header, request::Parts,
    uri::PathAndQuery,
};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};
use tokio_util::task::TaskTracker;

use super::{
    body::{ResponseBody, Upload},
    headers::{adapt_to_version, add_forwarded_headers},
    hop_record::{HopRecord, HopSink},
    limits::Limits,
    refusal::Refusal,
    table::{Change, Frontend, Match, Port, RoutingTable, Rule},
    trace_context::{TraceContext, random_below},
};
use crate::domain::{
    hop::{Hop, truncate_text},
    request::{InFlightRequest, admit_request, strip_look_alikes},
    routing::{MatchList, strip_port},
};
use net::admission::{Admission, ConnectionSlot};

/// Data shared by all requests.
#[derive(Debug)]
pub(super) struct DataPlane {
    pub(super) table: ArcSwap<RoutingTable>,
    pub(super) limits: Limits,
    pub(super) hops: HopSink,
    /// Switched connections, which the HTTP server no longer counts.
    pub(super) switched: TaskTracker,
    /// Slots for them, limited per source and in total.
    pub(super) tunnels: Admission,
}

/// A caller that wants to switch protocols, with a slot for its tunnel.
pub(super) struct UpgradeRequest {
    pub(super) caller: OnUpgrade,
    /// How long the tunnel may be silent.
    pub(super) idle: Option<Duration>,
    pub(super) place: ConnectionSlot,
}

/// The connection that a request came in on.
#[derive(Debug)]
pub(super) struct ConnectionInfo {
    pub(super) at: SocketAddr,
    /// The same as text, for a request that names no host.
    pub(super) local: Arc<str>,
    /// Address of the caller.
    pub(super) peer: SocketAddr,
    /// IP address of the caller, as a header value.
    pub(super) from: HeaderValue,
    /// Set when the connection must not end as if a response were complete.
    pub(super) cut: Arc<AtomicBool>,
}

/// A request with its destination.
pub(super) struct RoutedRequest<'t> {
    pub(super) port: &'t Port,
    pub(super) parts: Parts,
    /// The last rule that matched; sets timeouts and changes the response.
    pub(super) rule: Option<Arc<Rule>>,
    pub(super) changes: Vec<&'t Change>,
    /// The request asks for a WebSocket.
    pub(super) upgrade: bool,
    /// For a response that ends with the connection: set when it ended too early.
    pub(super) cut: Option<Arc<AtomicBool>>,
}

impl DataPlane {
    /// Answers a request; never fails.
    #[tracing::instrument(level = "trace", skip_all, fields(method = %request.method(), path = request.uri().path()))]
    pub(super) async fn answer_request(
        &self,
        mut request: Request<Incoming>,
        came: Arc<ConnectionInfo>,
    ) -> Response<ResponseBody> {
        let start = Instant::now();
        let table = self.table.load_full();
        let caller = request
            .headers()
            .contains_key(header::UPGRADE)
            .then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let trace = TraceContext::from_traceparent(
            parts
                .headers
                .get("traceparent")
                .and_then(|v| v.to_str().ok()),
        );
        let mut record = HopRecord::new(&self.hops, start, &parts, &trace);
        let entry = matches!(table.listeners.get(&came.at), Some(Frontend::Entry { .. }));
        let version = parts.version;
        let refuse = |mut record: HopRecord, refusal: Refusal| {
            let hop = record.hop();
            hop.status = refusal.status.as_u16();
            hop.error = Some(truncate_text(&refusal.words));
            // A request without a destination is not a hop.
            if hop.service.is_empty() {
                record.discard();
            }
            refusal.to_response(entry, trace.id.as_str(), version)
        };
        if body.size_hint().lower() > self.limits.body {
            let words = format!(
                "the request's body is longer than {} bytes",
                self.limits.body
            );
            return refuse(
                record,
                Refusal::request_error(StatusCode::PAYLOAD_TOO_LARGE, words),
            );
        }
        let plan = match route_request(&table, parts, &came, &trace, record.hop()) {
            Ok(plan) => plan,
            Err(refusal) => return refuse(record, refusal),
        };
        let switching = match caller.filter(|_| plan.upgrade) {
            None => None,
            Some(caller) => match self.admit_upgrade(&table, caller, came.at, came.peer).await {
                Ok(switching) => Some(switching),
                Err(refusal) => return refuse(record, refusal),
            },
        };
        let upload = Upload::new(body, self.limits.body);
        match self.forward_request(plan, upload, record, switching).await {
            Ok(answer) => adapt_to_version(version, answer),
            Err((record, refusal)) => refuse(record, refusal),
        }
    }

    /// Takes a slot for the tunnel of a caller that wants to switch protocols.
    async fn admit_upgrade(
        &self,
        table: &RoutingTable,
        caller: OnUpgrade,
        at: SocketAddr,
        peer: SocketAddr,
    ) -> Result<UpgradeRequest, Refusal> {
        let Some(place) = self.tunnels.admit_peer(peer, at).await else {
            let words = "there are too many WebSockets already";
            return Err(Refusal::request_error(
                StatusCode::SERVICE_UNAVAILABLE,
                words,
            ));
        };
        let idle = table
            .tunnel_idle
            .get(&at)
            .copied()
            .unwrap_or(Some(self.limits.tunnel_idle));
        Ok(UpgradeRequest {
            caller,
            idle,
            place,
        })
    }
}

/// Applies the rules of the entry and of the Service, and turns the request into what the pod
/// receives.
fn route_request<'t>(
    table: &'t RoutingTable,
    mut parts: Parts,
    came: &ConnectionInfo,
    trace: &TraceContext,
    hop: &mut Hop,
) -> Result<RoutedRequest<'t>, Refusal> {
    let cut = (parts.version < Version::HTTP_11).then(|| came.cut.clone());
    let admitted = admit_request(&mut parts, &came.local, &table.tags)?;
    let host = parts
        .headers
        .get(header::HOST)
        .cloned()
        .unwrap_or(HeaderValue::from_static(""));
    let name = strip_port(host.to_str().unwrap_or_default());
    let mut router = RequestRouter {
        table,
        name,
        trace,
        hop,
        changes: vec![],
        last: None,
    };
    let frontend = table.listeners.get(&came.at).ok_or_else(|| {
        let words = "nothing is served here any more";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, words)
    })?;
    let port = match frontend {
        Frontend::Service(port) | Frontend::Raw(port) => {
            add_forwarded_headers(&mut parts, &came.from, &host, false);
            *port
        }
        Frontend::Entry { routes, .. } => {
            let found = router.find_entry_match(routes, &mut parts)?;
            add_forwarded_headers(&mut parts, &came.from, &host, true);
            router.take_route(found, None, &mut parts)?
        }
    };
    router.hop.entry = matches!(frontend, Frontend::Entry { .. });
    let port = router.route_at_service(port, &mut parts)?;
    let (changes, last) = (router.changes, router.last);
    set_trace_parent(&mut parts, trace);
    strip_look_alikes(&mut parts.headers, &|name| {
        is_managed_header(table, &changes, name)
    });
    // The tag that the pod receives, so that a service is never said to have lost one that it did
    // not get.
    hop.tag = lane_tag(&parts, last.as_deref());
    set_request_line(&mut parts, admitted.websocket);
    Ok(RoutedRequest {
        port: &table.ports[port],
        parts,
        rule: last,
        changes,
        upgrade: admitted.websocket,
        cut,
    })
}

/// A request on its way through the rules of the entry and of the Service.
struct RequestRouter<'t, 'r> {
    table: &'t RoutingTable,
    /// The host that was asked for.
    name: &'r str,
    trace: &'r TraceContext,
    hop: &'r mut Hop,
    changes: Vec<&'t Change>,
    /// The last rule that matched.
    last: Option<Arc<Rule>>,
}

impl<'t> RequestRouter<'t, '_> {
    fn find_entry_match(
        &self,
        routes: &'t MatchList<Arc<Rule>>,
        parts: &mut Parts,
    ) -> Result<&'t Match, Refusal> {
        let Some(found) = find_match(routes, self.name, parts) else {
            let words = format!("no route takes {} {}", parts.method, parts.uri.path());
            return Err(Refusal::request_error(StatusCode::NOT_FOUND, words));
        };
        if let Some(colour) = &found.rule.colour {
            colour.apply_tag(parts, self.trace.id.as_str());
        }
        Ok(found)
    }

    /// Routes of the Service that was called may choose another one; returns its port.
    fn route_at_service(&mut self, port: usize, parts: &mut Parts) -> Result<usize, Refusal> {
        // The Service that was called, whichever backend answers.
        let asked = &self.table.ports[port];
        self.hop.namespace.clone_from(&asked.namespace);
        self.hop.service.clone_from(&asked.service);
        self.hop.app.clone_from(&asked.service);
        if asked.routes.is_empty() {
            return Ok(port);
        }
        let Some(found) = find_match(&asked.routes, self.name, parts) else {
            let words = format!(
                "Service {}: no route takes {} {}",
                asked.name(),
                parts.method,
                parts.uri.path()
            );
            return Err(Refusal::new(StatusCode::NOT_FOUND, words));
        };
        if let Some(colour) = &found.rule.colour {
            colour.apply_tag(parts, self.trace.id.as_str());
        }
        self.take_route(found, Some(port), parts)
    }

    fn take_route(
        &mut self,
        found: &'t Match,
        asked: Option<usize>,
        parts: &mut Parts,
    ) -> Result<usize, Refusal> {
        let (hop, changes) = (&mut *self.hop, &mut self.changes);
        let port = apply_rule(self.table, found, asked, parts, hop, changes)?;
        self.last = Some(found.rule.clone());
        Ok(port)
    }
}

fn set_trace_parent(parts: &mut Parts, trace: &TraceContext) {
    if let Ok(value) = HeaderValue::from_bytes(&trace.to_traceparent()) {
        parts.headers.insert("traceparent", value);
    }
}

/// Makes a request line that a pod understands: a path, and HTTP/1.1 with its way to upgrade.
fn set_request_line(parts: &mut Parts, websocket: bool) {
    if websocket {
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts
            .headers
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let target = parts
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(PathAndQuery::from_static("/"));
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_11;
}

/// The first route that matches a request.
fn find_match<'t>(
    routes: &'t MatchList<Arc<Rule>>,
    host: &str,
    parts: &Parts,
) -> Option<&'t Match> {
    let seen = InFlightRequest { parts, trace: "" };
    routes.find(host, &seen)
}

/// Whether the gateway or a route sets this header, so that a lookalike must be removed.
fn is_managed_header(table: &RoutingTable, changes: &[&Change], name: &str) -> bool {
    let named = |n: &http::HeaderName| n.as_str() == name;
    let changed = |c: &&Change| {
        let r = &c.request;
        r.set
            .iter()
            .chain(&r.add)
            .map(|(n, _)| n)
            .chain(&r.remove)
            .any(named)
    };
    let own = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "traceparent",
        "tracestate",
        "via",
    ];
    own.contains(&name)
        || name.starts_with("x-forwarded-")
        || table.tags.iter().any(named)
        || changes.iter().any(changed)
}

/// Applies a rule: its lane group, its changes, one of its backends. Routes and endpoints come from
/// separate watches, so a lane's route may be seen before its pods exist or after they are gone.
/// Then the pods of the `asked` Service serve, as for an app without a gray version.
fn apply_rule<'t>(
    table: &RoutingTable,
    found: &'t Match,
    asked: Option<usize>,
    parts: &mut Parts,
    hop: &mut Hop,
    changes: &mut Vec<&'t Change>,
) -> Result<usize, Refusal> {
    let rule = &found.rule;
    if let Some(group) = &rule.group {
        hop.group.get_or_insert_default().clone_from(group);
    }
    let wrong = |words: &str| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("HTTPRoute {}: {words}", rule.route),
        )
    };
    if let Some(words) = &rule.broken {
        return Err(wrong(words));
    }
    let sum: u64 = rule.backends.iter().map(|b| u64::from(b.weight)).sum();
    let mut at = random_below(sum);
    let drawn = rule.backends.iter().find(|b| {
        let here = at < u64::from(b.weight);
        at = at.saturating_sub(u64::from(b.weight));
        here
    });
    let backend = drawn.ok_or_else(|| wrong("no backend has any weight"))?;
    for change in [&rule.change, &backend.change] {
        change.request.apply(&mut parts.headers);
        if let Some(host) = &change.host {
            parts.headers.insert(header::HOST, host.clone());
        }
        if let Some(rewrite) = &change.path {
            let path = rewrite.rewrite_path(parts.uri.path(), &found.path);
            let target = parts
                .uri
                .query()
                .map_or(path.clone(), |q| format!("{path}?{q}"));
            parts.uri = target
                .parse()
                .map_err(|_| wrong(&format!("{target:?} is not a path")))?;
        }
        changes.push(change);
    }
    match (&backend.port, asked.filter(|_| rule.falls_back)) {
        (Ok(port), Some(asked)) if table.ports[*port].endpoints.is_empty() => Ok(asked),
        (Err(_), Some(asked)) => Ok(asked),
        (Ok(port), _) => Ok(*port),
        (Err(why), None) => Err(wrong(&why.to_string())),
    }
}

/// The lane tag of a request, in the header of its lane group.
fn lane_tag(parts: &Parts, rule: Option<&Rule>) -> Option<String> {
    let header = rule.and_then(|r| r.tag.as_ref());
    let value = header.map_or_else(|| parts.headers.get("x-mse-tag"), |h| parts.headers.get(h));
    value
        .and_then(|v| v.to_str().ok())
        .filter(|v| !v.is_empty())
        .map(truncate_text)
}

impl Port {
    pub(super) fn name(&self) -> String {
        format!("{}/{}:{}", self.namespace, self.service, self.port)
    }
}
