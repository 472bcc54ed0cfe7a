//! One request: which rule, which tag, which backend, and back.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts, uri::PathAndQuery,
};
use hyper::body::{Body, Incoming};
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

use super::{
    body::{Answer, Upload},
    headers::{forwarded, strip_hop_by_hop, upgrade},
    limits::Limits,
    record::{HopSink, Record},
    refusal::Refusal,
    table::{Change, Frontend, Match, Port, Rule, Table},
    trace::{Trace, draw},
};
use crate::domain::hop::Hop;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) table: ArcSwap<Table>,
    pub(super) limits: Limits,
    pub(super) hops: HopSink,
    /// Switched connections, which no server counts as its own any more.
    pub(super) switched: TaskTracker,
}

/// Where a request came in.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) at: SocketAddr,
    /// The caller's address, as a header says it.
    pub(super) from: HeaderValue,
}

/// A request that knows where it goes.
pub(super) struct Plan<'t> {
    pub(super) port: &'t Port,
    pub(super) parts: Parts,
    /// The last rule that was taken: it limits times and changes the response.
    pub(super) rule: Option<Arc<Rule>>,
    pub(super) changes: Vec<&'t Change>,
    /// What the request asks to switch to.
    pub(super) upgrade: Option<HeaderValue>,
}

impl Shared {
    /// Answers a request; whatever happens, there is an answer.
    pub(super) async fn answer(&self, mut request: Request<Incoming>, came: Came) -> Response<Answer> {
        let start = Instant::now();
        let table = self.table.load_full();
        let caller = upgrade(request.headers()).map(|_| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let trace = Trace::of(parts.headers.get("traceparent").and_then(|v| v.to_str().ok()));
        let mut record = Record::new(blank(&parts, &trace), self.hops.clone(), start);
        let refuse = |mut record: Record, refusal: Refusal| {
            record.hop.status = refusal.status.as_u16();
            record.hop.error = Some(refusal.words.clone());
            // A request for nobody is no hop of anybody.
            if record.hop.service.is_empty() {
                record.discard();
            }
            refusal.answer()
        };
        if parts.method == Method::CONNECT {
            let words = "CONNECT is not served: this gateway is no forward proxy";
            return refuse(record, Refusal::new(StatusCode::NOT_IMPLEMENTED, words));
        }
        if body.size_hint().lower() > self.limits.body {
            let words = format!("the request's body is longer than {} bytes", self.limits.body);
            return refuse(record, Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, words));
        }
        let plan = match plan(&table, parts, came, &trace, &mut record.hop) {
            Ok(plan) => plan,
            Err(refusal) => return refuse(record, refusal),
        };
        let upload = Upload::new(body, self.limits.body);
        match self.forward(plan, upload, record, caller).await {
            Ok(answer) => answer,
            Err((record, refusal)) => refuse(record, refusal),
        }
    }
}

fn blank(parts: &Parts, trace: &Trace) -> Hop {
    Hop {
        time: Timestamp::now(),
        trace: trace.id.clone(),
        span: trace.span.clone(),
        parent: trace.parent.clone(),
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
        // What a caller that goes away before the answer leaves behind (nginx's 499).
        status: 499,
        error: Some("the caller went away before the answer".into()),
        ..Hop::default()
    }
}

/// Goes through the rules of the entry and of the Service, and makes the request what the pod shall see.
fn plan<'t>(table: &'t Table, mut parts: Parts, came: Came, trace: &Trace, hop: &mut Hop) -> Result<Plan<'t>, Refusal> {
    let switch = upgrade(&parts.headers);
    let host = host_of(&parts);
    let mut changes = vec![];
    let mut last = None;
    let frontend = table.listeners.get(&came.at);
    let entry = matches!(frontend, Some(Frontend::Entry { .. }));
    let mut port = match frontend {
        None => return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "nothing is served here any more")),
        Some(Frontend::Service(port) | Frontend::Raw(port)) => *port,
        Some(Frontend::Entry { gateway, routes }) => {
            let Some(found) = routes.iter().find(|m| m.takes(name_of(&host), &parts)) else {
                let words = format!("Gateway {gateway}: no route takes {} {}", parts.method, parts.uri.path());
                return Err(Refusal::new(StatusCode::NOT_FOUND, words));
            };
            if let Some(colour) = &found.rule.colour {
                colour.apply(&mut parts, &trace.id);
            }
            let port = take(table, found, None, &mut parts, hop, &mut changes)?;
            last = Some(found.rule.clone());
            port
        }
    };
    hop.entry = entry;
    // The Service that was asked, whoever is going to answer for it.
    let asked = &table.ports[port];
    hop.namespace.clone_from(&asked.namespace);
    hop.service.clone_from(&asked.service);
    hop.app.clone_from(&asked.service);
    if !asked.routes.is_empty() {
        let Some(found) = asked.routes.iter().find(|m| m.takes(name_of(&host), &parts)) else {
            let words = format!("Service {}: no route takes {} {}", asked.name(), parts.method, parts.uri.path());
            return Err(Refusal::new(StatusCode::NOT_FOUND, words));
        };
        let colour = found.rule.colour.as_ref();
        if let Some(colour) = colour {
            colour.apply(&mut parts, &trace.id);
        }
        port = take(table, found, Some(port), &mut parts, hop, &mut changes)?;
        last = Some(found.rule.clone());
    }
    hop.tag = tag_of(&parts, last.as_deref());
    strip_hop_by_hop(&mut parts.headers);
    if let Some(protocol) = &switch {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol.clone());
    }
    forwarded(&mut parts.headers, &came.from, &host, entry);
    parts.headers.entry(header::HOST).or_insert(host);
    if let Ok(value) = HeaderValue::from_str(&trace.header()) {
        parts.headers.insert("traceparent", value);
    }
    let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    parts.uri = Uri::from(target);
    parts.version = Version::HTTP_11;
    Ok(Plan { port: &table.ports[port], parts, rule: last, changes, upgrade: switch })
}

/// Takes a rule: its group, its changes, one of its backends. Routes and endpoints come by watches of their own, so
/// a lane's route may be seen before the pods behind it, or after they are gone: then the `asked` Service's own pods
/// serve, as an app without a gray version does.
fn take<'t>(
    table: &Table,
    found: &'t Match,
    asked: Option<usize>,
    parts: &mut Parts,
    hop: &mut Hop,
    changes: &mut Vec<&'t Change>,
) -> Result<usize, Refusal> {
    let rule = &found.rule;
    hop.group = rule.group.clone().or(hop.group.take());
    let wrong =
        |words: &str| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("HTTPRoute {}: {words}", rule.route));
    if let Some(words) = &rule.broken {
        return Err(wrong(words));
    }
    let sum: u64 = rule.backends.iter().map(|b| u64::from(b.weight)).sum();
    let mut at = draw(sum);
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
            let path = rewrite.path(parts.uri.path(), &found.path);
            let target = parts.uri.query().map_or(path.clone(), |q| format!("{path}?{q}"));
            parts.uri = target.parse().map_err(|_| wrong(&format!("{target:?} is no path")))?;
        }
        changes.push(change);
    }
    match (&backend.port, asked.filter(|_| rule.falls_back)) {
        (Ok(port), Some(asked)) if table.ports[*port].endpoints.is_empty() => Ok(asked),
        (Err(_), Some(asked)) => Ok(asked),
        (Ok(port), _) => Ok(*port),
        (Err(words), None) => Err(wrong(words)),
    }
}

/// The lane tag on a request, by the header of its lane group.
fn tag_of(parts: &Parts, rule: Option<&Rule>) -> Option<String> {
    let header = rule.and_then(|r| r.tag.as_ref());
    let value = header.map_or_else(|| parts.headers.get("x-mse-tag"), |h| parts.headers.get(h));
    value.and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty()).map(str::to_owned)
}

fn host_of(parts: &Parts) -> HeaderValue {
    let authority = parts.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    authority.or_else(|| parts.headers.get(header::HOST).cloned()).unwrap_or(HeaderValue::from_static(""))
}

/// A host without its port.
fn name_of(host: &HeaderValue) -> &str {
    let text = host.to_str().unwrap_or_default();
    let port = text.rfind(':').filter(|i| text[i + 1..].bytes().all(|b| b.is_ascii_digit()));
    port.map_or(text, |i| &text[..i])
}

impl Port {
    pub(super) fn name(&self) -> String {
        format!("{}/{}:{}", self.namespace, self.service, self.port)
    }
}
