//! Assembles hops into chains: hops are grouped by trace and linked to their callers by span id.
//! They may come in any order, interleaved, and with gaps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Chain, ChainStep, Verdict,
    judge::{CallerContext, describe_lost_tag, judge_hop},
};
use crate::domain::{hop::Hop, signals::Version, world::World};

/// How long a hop waits for its caller's hop before it is shown alone. The caller's hop is reported
/// only when its own response is complete.
pub(super) const CALLER_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// Assembles the chains of these hops, oldest first. A chain whose first hop may still come is left
/// out.
pub fn assemble_chains(hops: &[Arc<Hop>], world: &World, now: Timestamp) -> Vec<Chain> {
    let mut traces: BTreeMap<&str, Vec<&Arc<Hop>>> = BTreeMap::new();
    for hop in hops {
        traces.entry(&hop.trace).or_default().push(hop);
    }
    let mut chains: Vec<Chain> = traces
        .values()
        .flat_map(|hops| assemble_trace(hops, world, now))
        .collect();
    chains.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    chains
}

/// Assembles the chains of one trace: one for each hop whose caller is not among the hops.
pub(super) fn assemble_trace(hops: &[&Arc<Hop>], world: &World, now: Timestamp) -> Vec<Chain> {
    let spans: BTreeSet<&str> = hops.iter().map(|h| h.span.as_str()).collect();
    let mut callees: BTreeMap<&str, Vec<&Arc<Hop>>> = BTreeMap::new();
    let mut begins = vec![];
    for hop in hops {
        match hop
            .parent
            .as_deref()
            .filter(|p| spans.contains(p) && *p != hop.span && !hop.entry)
        {
            Some(parent) => callees.entry(parent).or_default().push(hop),
            None => begins.push(*hop),
        }
    }
    callees
        .values_mut()
        .for_each(|c| c.sort_by(|a, b| (a.time, &a.span).cmp(&(b.time, &b.span))));
    let chain = |first: &Arc<Hop>| {
        let orphan = !first.entry && first.parent.is_some();
        // Clocks differ, so the hop may seem to end at any time, even in the future: then do not
        // wait.
        if orphan && now.duration_since(end_time(first)).abs() < CALLER_WAIT {
            return None;
        }
        let mut walk = ChainWalk {
            callees: &callees,
            world,
            seen: BTreeSet::new(),
            steps: vec![],
        };
        if orphan {
            walk.steps.push(unreported_caller(first));
        }
        walk.visit_hop(first, usize::from(orphan), None);
        let worst = walk
            .steps
            .iter()
            .map(|s| s.verdict)
            .max()
            .unwrap_or_default();
        Some(Chain {
            trace: first.trace.clone(),
            id: first.span.clone(),
            time: first.time,
            tag: first.tag.clone(),
            group: first.group.clone(),
            path: first.path.clone(),
            status: first.status,
            micros: first.micros,
            steps: walk.steps,
            worst,
        })
    };
    begins.into_iter().filter_map(chain).collect()
}

fn end_time(hop: &Hop) -> Timestamp {
    let took = SignedDuration::from_micros(i64::try_from(hop.micros).unwrap_or(i64::MAX));
    hop.time.checked_add(took).unwrap_or(hop.time)
}

/// Stands for a caller whose own hop was not reported.
fn unreported_caller(callee: &Hop) -> ChainStep {
    let cause = format!(
        "the caller of {} has a span that no gateway reported",
        callee.app
    );
    ChainStep {
        verdict: Verdict::NoData,
        cause: Some(cause),
        ..ChainStep::default()
    }
}

struct ChainWalk<'a> {
    callees: &'a BTreeMap<&'a str, Vec<&'a Arc<Hop>>>,
    world: &'a World,
    /// Spans that were visited: a span that calls itself, for whatever reason, is visited once.
    seen: BTreeSet<&'a str>,
    steps: Vec<ChainStep>,
}

impl<'a> ChainWalk<'a> {
    fn visit_hop(&mut self, hop: &'a Arc<Hop>, depth: usize, before: Option<&CallerContext>) {
        if !self.seen.insert(&hop.span) {
            return;
        }
        let (verdict, cause) = judge_hop(hop, before, self.world);
        self.steps.push(ChainStep {
            depth,
            app: hop.app.clone(),
            served: hop.served(),
            tag: hop.tag.clone(),
            pod_tag: hop.pod_tag.clone(),
            pod: hop.pod.clone(),
            address: hop.address.clone(),
            version: Version::from_hop(hop, self.world),
            status: Some(hop.status),
            micros: Some(hop.micros),
            verdict,
            cause,
            hop: Some(hop.clone()),
        });
        let own = CallerContext {
            tag: hop.tag.clone(),
            caller: hop
                .pod
                .as_ref()
                .map_or(hop.app.clone(), |pod| format!("{} ({pod})", hop.app)),
            lost: before
                .and_then(|b| describe_lost_tag(hop, b, self.world))
                .filter(|_| hop.tag.is_none()),
        };
        for callee in self.callees.get(hop.span.as_str()).into_iter().flatten() {
            self.visit_hop(callee, depth + 1, Some(&own));
        }
    }
}
