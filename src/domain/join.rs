//! Joins spans to hops: what several parties report about one request to a pod becomes one hop,
//! with the pod as the world knows it.
//!
//! A span is evidence of a hop if it names a known pod as the callee: a client's or gateway's span
//! by the pod's address, the pod's own span by its emitter. Other spans only connect these. Along
//! the parents of a span, the next evidence of the same pod belongs to the same hop, and the next
//! evidence of another pod belongs to the hop that called it. Where no parents connect them, as in
//! access logs, the caller's address and the time do.

mod route;
mod trace_hops;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    hop::Hop,
    pods::PodIndex,
    span::{Side, Source, Span, Tag},
    world::LaneGroups,
};
use trace_hops::build_hops;

/// Access logs are written at the end of a request, the callee's before its caller's. A trace of
/// log lines is considered complete after this time without a new line.
const QUIET_LOG: SignedDuration = SignedDuration::from_millis(150);
/// Spans are exported in batches, up to 5 seconds late (OpenTelemetry's SDKs, Envoy,
/// ingress-nginx).
const QUIET_SPANS: SignedDuration = SignedDuration::from_secs(6);
/// How long a trace is remembered after its last span.
pub const TRACE_RETENTION: SignedDuration = SignedDuration::from_secs(60);
/// Maximum number of spans of all traces.
const MAX_SPANS: usize = 20_000;
/// Maximum number of spans per trace: a client that uses one trace id for everything must not fill
/// the memory.
const MAX_SPANS_PER_TRACE: usize = 512;
/// Maximum number of emitters that are known to report the tag.
const MAX_TAG_REPORTERS: usize = 1024;

/// What spans are joined with.
#[derive(Clone, Copy)]
pub struct JoinContext<'a> {
    /// Pods of Apps.
    pub pods: &'a PodIndex,
    /// Lane groups by name.
    pub groups: &'a LaneGroups,
}

/// Collects spans and builds the hops of traces that have become quiet.
#[derive(Debug, Default)]
pub struct Joiner {
    traces: HashMap<String, TraceSpans>,
    /// Trace ids in order of arrival.
    order: VecDeque<String>,
    /// When each trace becomes quiet, the earliest first.
    due: BTreeSet<(Timestamp, String)>,
    held: usize,
    dropped: u64,
    /// Emitters that have reported a tag: a span of theirs without one has no tag.
    tellers: TagReporters,
}

#[derive(Debug)]
struct TraceSpans {
    spans: Vec<Span>,
    last: Timestamp,
    due: Option<Timestamp>,
    /// Hop in which each span was last reported.
    told: BTreeMap<SpanKey, Arc<Hop>>,
}

/// Sources and services that have reported a tag in their spans of that side.
type TagReporters = BTreeSet<(Source, Side, String)>;

/// Key of a span; in Zipkin's traces, both sides of a call share one id.
pub(super) type SpanKey = (Side, String);

fn span_key(span: &Span) -> SpanKey {
    (span.side, span.span.clone())
}

impl Joiner {
    /// Adds a span that arrived at time `now`.
    pub fn add_span(&mut self, mut span: Span, now: Timestamp) {
        self.note_tag_reporter(&span);
        if span.trace.is_empty() {
            // Nothing connects it to other spans, so it is a trace of its own.
            span.trace.clone_from(&span.span);
        }
        let id = span.trace.clone();
        if !self.traces.contains_key(&id) {
            self.order.push_back(id.clone());
            let trace = TraceSpans {
                spans: vec![],
                last: now,
                due: None,
                told: BTreeMap::new(),
            };
            self.traces.insert(id.clone(), trace);
        }
        let Some(trace) = self.traces.get_mut(&id) else {
            return;
        };
        let key = span_key(&span);
        if trace
            .spans
            .iter()
            .any(|s| s.side == key.0 && s.span == key.1)
        {
            return;
        }
        if trace.spans.len() >= MAX_SPANS_PER_TRACE {
            self.dropped += 1;
            return;
        }
        trace.spans.push(span);
        trace.last = now;
        if let Some(due) = trace.due.take() {
            self.due.remove(&(due, id.clone()));
        }
        let logs = trace.spans.iter().all(|s| s.side == Side::Gateway);
        let due = now
            .checked_add(if logs { QUIET_LOG } else { QUIET_SPANS })
            .unwrap_or(now);
        trace.due = Some(due);
        self.due.insert((due, id));
        self.held += 1;
        while self.held > MAX_SPANS && self.forget_oldest() {}
    }

    fn note_tag_reporter(&mut self, span: &Span) {
        if !span.tag.is_unknown() && self.tellers.len() < MAX_TAG_REPORTERS {
            self.tellers
                .insert((span.source, span.side, span.by.service.clone()));
        }
    }

    /// When the next trace becomes quiet.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Number of spans that were dropped because there were too many.
    pub fn dropped_spans(&self) -> u64 {
        self.dropped
    }

    /// Builds the hops of the traces that are quiet now, callers before callees. A hop is returned
    /// once, and again as an amendment if later spans tell more about it, such as its caller.
    pub fn settle_traces(&mut self, now: Timestamp, known: JoinContext<'_>) -> Vec<Arc<Hop>> {
        let mut hops = vec![];
        while let Some((due, id)) = self.due.first().cloned().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id.clone()));
            let Some(trace) = self.traces.get_mut(&id) else {
                continue;
            };
            trace.due = None;
            for (hop, members) in build_hops(&trace.spans, &self.tellers, &trace.told, known) {
                let before = members.iter().find_map(|key| trace.told.get(key));
                let hop = Arc::new(Hop {
                    amends: before.is_some(),
                    ..hop
                });
                if before.is_none_or(|before| !before.is_same_report(&hop)) {
                    hops.push(Arc::clone(&hop));
                }
                trace
                    .told
                    .extend(members.into_iter().map(|key| (key, Arc::clone(&hop))));
            }
        }
        let is_old = |trace: &TraceSpans| {
            trace.due.is_none() && now.duration_since(trace.last) > TRACE_RETENTION
        };
        while self
            .order
            .front()
            .and_then(|id| self.traces.get(id))
            .is_some_and(is_old)
            && self.forget_oldest()
        {}
        hops
    }

    /// Forgets the oldest trace; false if there is none.
    fn forget_oldest(&mut self) -> bool {
        let Some(id) = self.order.pop_front() else {
            return false;
        };
        if let Some(trace) = self.traces.remove(&id) {
            self.held -= trace.spans.len();
            if let Some(due) = trace.due {
                self.dropped += trace.spans.len() as u64;
                self.due.remove(&(due, id));
            }
        }
        true
    }
}

/// Tag of a span, as far as it is known. An emitter that has reported a tag reports every tag, so a
/// missing one means that there was none.
fn known_tag(span: &Span, tellers: &TagReporters) -> Tag {
    match &span.tag {
        Tag::Unknown if tellers.contains(&(span.source, span.side, span.by.service.clone())) => {
            Tag::Absent
        }
        told => told.clone(),
    }
}

#[cfg(test)]
mod tests;
