//! Builds the hops of one trace from all its spans; the order of the spans does not matter.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{JoinContext, SpanKey, TagReporters, known_tag, route::app_for_route, span_key};
use crate::domain::{
    hop::Hop,
    span::{Side, Span, Tag},
    world::Pod,
};

/// Maximum number of parents to follow from a span, so that a cycle ends.
const MAX_PARENTS: usize = 64;
/// Tolerance for clocks that differ and for logs with whole milliseconds.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_millis(50);

/// Builds every hop with the spans that report it, callers before callees. `told` holds the hop in
/// which a span was reported before.
pub(super) fn build_hops(
    spans: &[Span],
    tellers: &TagReporters,
    told: &BTreeMap<SpanKey, Arc<Hop>>,
    known: JoinContext<'_>,
) -> Vec<(Hop, Vec<SpanKey>)> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by(|a, b| {
        let by = |i: &usize| (spans[*i].time, spans[*i].side, &spans[*i].span);
        by(a).cmp(&by(b))
    });
    let spans: Vec<&Span> = order.into_iter().map(|i| &spans[i]).collect();
    let trace = TraceIndex::new(&spans, known);
    let mut hops = trace.group_evidence();
    trace.link_by_address(&mut hops);
    let mut all: Vec<(Hop, Vec<SpanKey>)> = hops
        .iter()
        .filter_map(|h| trace.build_hop(h, &hops, tellers, told))
        .collect();
    all.sort_by(|(a, _), (b, _)| (a.time, &a.span).cmp(&(b.time, &b.span)));
    all
}

/// Callee that a span names.
#[derive(Clone, Debug)]
enum Callee<'a> {
    Pod(&'a Pod),
    /// No pod answered or it is unknown; the gateway's route names the app.
    Route {
        group: &'a str,
        app: &'a str,
    },
}

/// What the spans of a hop call together.
struct Called<'a> {
    pod: Option<&'a Pod>,
    app: &'a str,
    /// Lane group of the app.
    group: Option<&'a str>,
    /// Name of the app's Service.
    service: &'a str,
}

impl Callee<'_> {
    fn is_same_callee(&self, other: &Callee<'_>) -> bool {
        match (self, other) {
            (Callee::Pod(a), Callee::Pod(b)) => a.key == b.key && a.uid == b.uid,
            (Callee::Route { app: a, .. }, Callee::Route { app: b, .. }) => a == b,
            (Callee::Pod(pod), Callee::Route { app, .. })
            | (Callee::Route { app, .. }, Callee::Pod(pod)) => pod.app.as_deref() == Some(*app),
        }
    }
}

/// Indexes of some spans of one hop, and the hop that called it.
#[derive(Debug, Default)]
struct HopMembers {
    spans: Vec<usize>,
    caller: Option<Caller>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// Index of the calling hop.
    Hop(usize),
    /// A known pod whose own hop was not reported.
    Unreported,
}

struct TraceIndex<'a, 's> {
    spans: &'s [&'a Span],
    callees: Vec<Option<Callee<'a>>>,
    by_id: HashMap<&'a str, Vec<usize>>,
    known: JoinContext<'a>,
}

impl<'a, 's> TraceIndex<'a, 's> {
    fn new(spans: &'s [&'a Span], known: JoinContext<'a>) -> Self {
        let mut by_id: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, span) in spans.iter().enumerate() {
            by_id.entry(&span.span).or_default().push(i);
        }
        let callees = spans.iter().map(|span| find_callee(span, known)).collect();
        Self {
            spans,
            callees,
            by_id,
            known,
        }
    }

    /// Finds the parent of a span. Zipkin gives both sides of a call one id.
    fn find_parent(&self, i: usize) -> Option<usize> {
        let span = self.spans[i];
        let of = |id: &str, sides: &[Side]| {
            let places = self.by_id.get(id)?;
            let by_side = |side: &Side| {
                places
                    .iter()
                    .copied()
                    .find(|p| *p != i && self.spans[*p].side == *side)
            };
            sides.iter().find_map(by_side)
        };
        // A pod's own span may share the id that a gateway logs; a gateway's own span with that id
        // reports the same request again.
        let shared: &[Side] = if self.callees[i].is_some() {
            &[Side::Client, Side::Gateway]
        } else {
            &[Side::Client]
        };
        if span.side == Side::Server
            && let Some(shared) = of(&span.span, shared)
        {
            return Some(shared);
        }
        // Envoy logs the id that it sends on, which is the id of its client span.
        if span.side == Side::Client
            && let Some(line) = of(&span.span, &[Side::Gateway])
        {
            return Some(line);
        }
        if span.side == Side::Gateway && span.parent.is_none() {
            // If the gateway also traces, its own span knows more.
            let own = of(&span.span, &[Side::Server]);
            let sent = || {
                of(&span.span, &[Side::Client])
                    .and_then(|client| self.spans[client].parent.as_deref())
            };
            return own.or_else(|| of(sent()?, &[Side::Server, Side::Inner]));
        }
        let parent = span.parent.as_deref().filter(|p| *p != span.span)?;
        match span.side {
            Side::Server | Side::Gateway => of(
                parent,
                &[Side::Client, Side::Gateway, Side::Inner, Side::Server],
            ),
            Side::Client | Side::Inner => of(
                parent,
                &[Side::Gateway, Side::Server, Side::Inner, Side::Client],
            ),
        }
    }

    /// Finds the next span along the parents that is evidence of a hop.
    fn find_next_evidence(&self, i: usize) -> Option<usize> {
        let mut at = i;
        for _ in 0..MAX_PARENTS {
            at = self.find_parent(at)?;
            if self.callees[at].is_some() {
                return Some(at).filter(|found| *found != i);
            }
        }
        None
    }

    /// Groups the evidence of each hop, and links hops where parents connect them.
    fn group_evidence(&self) -> Vec<HopMembers> {
        let evidence: Vec<usize> = (0..self.spans.len())
            .filter(|i| self.callees[*i].is_some())
            .collect();
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        let mut hops: Vec<HopMembers> = vec![];
        let next: HashMap<usize, usize> = evidence
            .iter()
            .filter_map(|i| Some((*i, self.find_next_evidence(*i)?)))
            .collect();
        for &i in &evidence {
            // Go up to the topmost evidence of the same hop; a cycle of parents ends at its
            // earliest span.
            let mut top = i;
            let mut seen = BTreeSet::from([i]);
            while let Some(&up) = next.get(&top).filter(|up| self.is_same_callee(**up, i)) {
                if !seen.insert(up) {
                    top = seen.first().copied().unwrap_or(top);
                    break;
                }
                top = up;
            }
            let group = *group_of.entry(top).or_insert_with(|| {
                hops.push(HopMembers::default());
                hops.len() - 1
            });
            hops[group].spans.push(i);
        }
        self.join_unlinked(&mut hops);
        let place =
            |hops: &[HopMembers], span: usize| hops.iter().position(|h| h.spans.contains(&span));
        for at in 0..hops.len() {
            let above = hops[at]
                .spans
                .iter()
                .filter_map(|i| next.get(i))
                .filter_map(|up| place(&hops, *up));
            hops[at].caller = above.filter(|other| *other != at).min().map(Caller::Hop);
        }
        hops
    }

    fn is_same_callee(&self, a: usize, b: usize) -> bool {
        matches!((&self.callees[a], &self.callees[b]), (Some(a), Some(b)) if a.is_same_callee(b))
    }

    /// Joins a pod's own span without a reported parent to a gateway's line about a request to that
    /// pod at that time.
    fn join_unlinked(&self, hops: &mut Vec<HopMembers>) {
        let mut at = 0;
        while at < hops.len() {
            let own = hops[at]
                .spans
                .iter()
                .all(|i| self.spans[*i].side == Side::Server);
            let first = hops[at].spans.first().copied();
            let into = first.filter(|_| own).and_then(|i| {
                let fits = |(place, other): &(usize, &HopMembers)| {
                    *place != at
                        && other
                            .spans
                            .iter()
                            .all(|o| self.spans[*o].side != Side::Server)
                        && other.spans.iter().any(|o| {
                            let spans = self.spans;
                            spans[*o].side == Side::Gateway
                                && self.is_same_callee(*o, i)
                                && covers_time(spans[*o], spans[i].time)
                        })
                };
                let start =
                    |place: usize| hops[place].spans.iter().map(|o| self.spans[*o].time).max();
                hops.iter()
                    .enumerate()
                    .filter(fits)
                    .map(|(place, _)| place)
                    .max_by_key(|place| start(*place))
            });
            match into {
                Some(into) => {
                    let moved = std::mem::take(&mut hops[at].spans);
                    hops[into].spans.extend(moved);
                    hops.remove(at);
                }
                None => at += 1,
            }
        }
    }

    /// Links hops that no parent connects: the caller is a pod that was handling a request at that
    /// time.
    fn link_by_address(&self, hops: &mut [HopMembers]) {
        for at in 0..hops.len() {
            if hops[at].caller.is_some() {
                continue;
            }
            let Some((caller, time)) = self.find_caller(&hops[at]) else {
                continue;
            };
            let asked = |place: &usize| {
                *place != at
                    && hops[*place].spans.iter().any(|o| {
                        let pod = matches!(&self.callees[*o], Some(Callee::Pod(pod)) if pod.key == caller.key);
                        pod && covers_time(self.spans[*o], time)
                    })
            };
            // Prefer the last hop that began before the call; one that seems to begin after it
            // counts only because clocks differ.
            let start = |place: &usize| {
                let start = hops[*place].spans.iter().map(|o| self.spans[*o].time).min();
                let late = start.filter(|start| *start > time);
                (late.is_none(), late.map(std::cmp::Reverse), start)
            };
            let found = (0..hops.len())
                .filter(asked)
                .filter(|p| !is_ancestor(hops, at, *p))
                .max_by_key(start);
            hops[at].caller = Some(found.map_or(Caller::Unreported, Caller::Hop));
        }
    }

    /// Finds the known pod that sent the request, and when.
    fn find_caller(&self, hop: &HopMembers) -> Option<(&'a Pod, Timestamp)> {
        hop.spans.iter().find_map(|i| {
            let span = self.spans[*i];
            let pods = self.known.pods;
            let pod = match span.side {
                Side::Gateway => pods.find_by_address(span.caller.as_deref()?, span.time),
                Side::Client => pods.find_by_emitter(&span.by, span.time),
                Side::Server | Side::Inner => None,
            };
            // A sidecar of the called pod is not the caller.
            let beside = matches!((&self.callees[*i], pod), (Some(Callee::Pod(a)), Some(b)) if a.key == b.key);
            pod.filter(|_| !beside).map(|pod| (pod, span.time))
        })
    }

    /// Builds the hop; `None` if its app is unknown.
    fn build_hop(
        &self,
        members: &HopMembers,
        hops: &[HopMembers],
        tellers: &TagReporters,
        told: &BTreeMap<SpanKey, Arc<Hop>>,
    ) -> Option<(Hop, Vec<SpanKey>)> {
        let first = self.best_span(members)?;
        let span = self.spans[first];
        let Called {
            pod,
            app,
            group,
            service,
        } = self.find_called(members)?;
        let ids = |members: &HopMembers| self.hop_id(members, told);
        let parent = match members.caller {
            None => None,
            Some(Caller::Hop(place)) => ids(&hops[place]),
            // No hop has this id, so the caller's hop shows as missing.
            Some(Caller::Unreported) => Some(format!("unseen-{}", span.span)),
        };
        let taken = self.find_incoming_span(first).map(|i| self.spans[i]);
        let others = || {
            members
                .spans
                .iter()
                .filter(|i| **i != first)
                .map(|i| self.spans[*i])
        };
        let tag = merge_tags(tellers, span, taken, parent.is_some(), others());
        let entry = parent.is_none();
        let text = |of: fn(&Span) -> &str| {
            let entry = taken.filter(|_| entry);
            let all = entry.into_iter().chain([span]).chain(others()).chain(taken);
            all.map(of)
                .find(|t| !t.is_empty())
                .unwrap_or_default()
                .to_owned()
        };
        let reported = || [span].into_iter().chain(others()).chain(taken);
        let status = reported().find_map(|s| s.status);
        let error = reported().find_map(|s| s.error.clone());
        let address = pod
            .and_then(|p| p.address.clone())
            .or_else(|| span.peer.clone());
        let namespace = pod
            .map(|p| p.key.namespace.name.to_string())
            .unwrap_or_default();
        let hop = Hop {
            time: span.time,
            trace: span.trace.clone(),
            span: ids(members)?,
            entry,
            parent,
            namespace,
            group: group.map(str::to_owned),
            tag: tag.value().map(str::to_owned),
            tag_unknown: tag.is_unknown(),
            source: Some(span.source),
            app: app.to_owned(),
            service: service.to_owned(),
            pod: pod.map(|p| p.key.name.clone()),
            address,
            pod_tag: pod.and_then(|p| p.tag.clone()),
            method: text(|s| &s.method),
            path: text(|s| &s.path),
            status: status.unwrap_or_default(),
            micros: span.micros,
            error,
            amends: false,
        };
        let keys = members.spans.iter().map(|i| span_key(self.spans[*i]));
        Some((hop, keys.collect()))
    }

    /// What the spans of a hop call; `None` if the app is unknown.
    fn find_called(&self, members: &HopMembers) -> Option<Called<'_>> {
        let callees = || {
            members
                .spans
                .iter()
                .filter_map(|i| self.callees[*i].as_ref())
        };
        let pod = callees().find_map(|c| match c {
            Callee::Pod(pod) => Some(*pod),
            Callee::Route { .. } => None,
        });
        let route = callees().find_map(|c| match c {
            Callee::Route { group, app } => Some((*group, *app)),
            Callee::Pod(_) => None,
        });
        let app = pod
            .and_then(|p| p.app.as_deref())
            .or(route.map(|(_, app)| app))?;
        let groups = self.known.groups;
        let has = |group: &str| {
            groups
                .get(group)
                .is_some_and(|g| g.spec.apps.iter().any(|a| a.app == app))
        };
        let group = route
            .map(|(group, _)| group)
            .or_else(|| groups.keys().map(String::as_str).find(|g| has(g)));
        let lane_app = group.and_then(|g| groups.get(g)?.spec.apps.iter().find(|a| a.app == app));
        Some(Called {
            pod,
            app,
            group,
            service: lane_app.map_or(app, |a| a.service()),
        })
    }

    /// Finds a gateway's own span of the incoming request.
    fn find_incoming_span(&self, i: usize) -> Option<usize> {
        let mut at = i;
        for _ in 0..MAX_PARENTS {
            let up = self
                .find_parent(at)
                .filter(|up| self.callees[*up].is_none())?;
            // A gateway's log and its spans may name it differently.
            if self.spans[i].side != Side::Gateway && self.spans[up].by != self.spans[i].by {
                return None;
            }
            at = up;
            if self.spans[at].side == Side::Server {
                return Some(at);
            }
        }
        None
    }

    /// The span that tells most about a hop: the gateway's line, then the client's span, then the
    /// pod's own; the earliest among equals.
    fn best_span(&self, members: &HopMembers) -> Option<usize> {
        let rank = |i: &usize| match self.spans[*i].side {
            Side::Gateway => 0,
            Side::Client => 1,
            Side::Server => 2,
            Side::Inner => 3,
        };
        members.spans.iter().copied().min_by_key(|i| (rank(i), *i))
    }

    /// Id of a hop: the id that it was reported with before, or else that of the span that tells
    /// most.
    fn hop_id(&self, members: &HopMembers, told: &BTreeMap<SpanKey, Arc<Hop>>) -> Option<String> {
        let before = members
            .spans
            .iter()
            .find_map(|i| told.get(&span_key(self.spans[*i])));
        before
            .map(|hop| hop.span.clone())
            .or_else(|| Some(self.spans[self.best_span(members)?].span.clone()))
    }
}

/// Whether a hop called another, directly or through other hops.
fn is_ancestor(hops: &[HopMembers], hop: usize, of: usize) -> bool {
    let mut at = of;
    for _ in 0..hops.len() {
        match hops[at].caller {
            Some(Caller::Hop(up)) if up == hop => return true,
            Some(Caller::Hop(up)) => at = up,
            _ => return false,
        }
    }
    true
}

/// Whether a time is within a span, with some tolerance.
fn covers_time(span: &Span, time: Timestamp) -> bool {
    let took = SignedDuration::from_micros(i64::try_from(span.micros).unwrap_or(i64::MAX));
    let end = span.time.checked_add(took).unwrap_or(Timestamp::MAX);
    let (from, to) = (
        span.time.checked_sub(CLOCK_TOLERANCE),
        end.checked_add(CLOCK_TOLERANCE),
    );
    from.is_ok_and(|from| from <= time) && to.map_or(true, |to| time <= to)
}

fn find_callee<'a>(span: &Span, known: JoinContext<'a>) -> Option<Callee<'a>> {
    let by_address = || known.pods.find_by_address(span.peer.as_deref()?, span.time);
    let by_route =
        || app_for_route(span, known.groups).map(|(group, app)| Callee::Route { group, app });
    match span.side {
        Side::Inner => None,
        Side::Client => by_address().map(Callee::Pod),
        Side::Gateway => by_address().map(Callee::Pod).or_else(by_route),
        Side::Server => known
            .pods
            .find_by_emitter(&span.by, span.time)
            .map(Callee::Pod),
    }
}

/// The tag of a request, from all of its spans. `taken` is the gateway's span of the incoming
/// request.
fn merge_tags<'s>(
    tellers: &TagReporters,
    span: &Span,
    taken: Option<&Span>,
    has_parent: bool,
    others: impl Iterator<Item = &'s Span>,
) -> Tag {
    // The tag that the caller sent. At an entry, which may colour, it does not tell what the
    // pod got.
    let taken_tag = taken.map_or(Tag::Unknown, |s| known_tag(s, tellers));
    let tag_in = if has_parent {
        span.tag_came.clone().or(taken_tag)
    } else {
        Tag::Unknown
    };
    let own_tag = known_tag(span, tellers);
    others.fold(tag_in.or(own_tag), |tag, other| {
        tag.or(known_tag(other, tellers))
    })
}
