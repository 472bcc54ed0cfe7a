//! Chains of a stream of hops: judged as the hops arrive, with verdicts kept and memory bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Chain, ChainGroup, Verdict,
    assemble::{CALLER_WAIT, assemble_trace},
    groups::ChainGroups,
};
use crate::domain::{hop::Hop, signals::is_sampled, world::World};

/// Maximum number of hops per trace: a client that uses one trace id for everything must not fill
/// the memory.
const MAX_HOPS_PER_TRACE: usize = 512;

/// Newest chains of a world, for the trace pane.
#[derive(Clone, Debug)]
pub struct Chains {
    most: usize,
    /// Number of hops read so far, as in `World::hops_seen`.
    seen: u64,
    traces: BTreeMap<String, TraceChains>,
    /// Trace ids in order of arrival.
    order: VecDeque<String>,
    /// Traces with new hops, and traces that wait for their first hop.
    unsettled: Vec<String>,
    /// Traces to count from that time on, whether they are complete or not.
    uncounted: VecDeque<(Timestamp, String)>,
    /// Since when hops are followed.
    since: Option<Timestamp>,
    groups: ChainGroups,
}

#[derive(Clone, Debug, Default)]
struct TraceChains {
    hops: Vec<Arc<Hop>>,
    chains: Vec<Arc<Chain>>,
    /// Chains as they are counted in the groups.
    counted: Vec<Arc<Chain>>,
    /// Whether all of the chains are to be counted.
    is_due: bool,
}

impl Chains {
    /// Creates an empty collection that keeps up to `most` traces.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            seen: 0,
            traces: BTreeMap::new(),
            order: VecDeque::new(),
            unsettled: vec![],
            uncounted: VecDeque::new(),
            since: None,
            groups: ChainGroups::default(),
        }
    }

    /// Adds the new hops of a world and judges the chains. Returns whether something changed.
    pub fn follow_world(&mut self, world: &World, now: Timestamp) -> bool {
        let (fresh, _) = world.hops_since(self.seen);
        self.seen = world.hops_seen;
        self.since.get_or_insert(now);
        for hop in fresh {
            self.push(hop.clone());
        }
        self.judge_pending(world, now)
    }

    /// Adds one hop; it becomes part of a chain when the chains are judged next.
    pub fn push(&mut self, hop: Arc<Hop>) {
        if !self.traces.contains_key(&hop.trace) {
            self.order.push_back(hop.trace.clone());
            while self.order.len() > self.most {
                if let Some(old) = self.order.pop_front() {
                    self.traces.remove(&old);
                }
            }
        }
        let trace = self.traces.entry(hop.trace.clone()).or_default();
        let id = hop.trace.clone();
        match trace.hops.iter().position(|h| h.span == hop.span) {
            Some(before) if hop.replaces(&trace.hops[before]) => trace.hops[before] = hop,
            None if trace.hops.len() < MAX_HOPS_PER_TRACE => trace.hops.push(hop),
            Some(_) | None => return,
        }
        self.unsettled.push(id);
    }

    /// Judges the chains with new hops. Returns whether something changed.
    pub fn judge_pending(&mut self, world: &World, now: Timestamp) -> bool {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.sort();
        unsettled.dedup();
        let mut changed = false;
        for id in unsettled {
            let Some(trace) = self.traces.get_mut(&id) else {
                continue;
            };
            let hops: Vec<&Arc<Hop>> = trace.hops.iter().collect();
            let mut chains = assemble_trace(&hops, world, now);
            chains
                .iter_mut()
                .for_each(|chain| keep_verdicts(chain, &trace.chains));
            let told: usize = chains
                .iter()
                .flat_map(|c| &c.steps)
                .filter(|s| s.hop.is_some())
                .count();
            if told < hops.len() {
                self.unsettled.push(id.clone());
            }
            changed |= chains.len() != trace.chains.len()
                || chains.iter().zip(&trace.chains).any(|(a, b)| *a != **b);
            let before = std::mem::take(&mut trace.chains);
            let known = |chain: Chain| {
                before
                    .iter()
                    .find(|b| ***b == chain)
                    .cloned()
                    .unwrap_or_else(|| Arc::new(chain))
            };
            trace.chains = chains.into_iter().map(known).collect();
            // Spans come in any order: for a while, some of them look like a chain of their own.
            if !trace.is_due && trace.hops.iter().any(|h| is_sampled(h)) {
                let due = now.checked_add(CALLER_WAIT).unwrap_or(now);
                if before.is_empty() && !trace.chains.is_empty() {
                    self.uncounted.push_back((due, id));
                }
            } else {
                trace.is_due = true;
            }
            trace.update_groups(&mut self.groups, now);
        }
        while self.uncounted.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.uncounted.pop_front() else {
                break;
            };
            if let Some(trace) = self.traces.get_mut(&id) {
                trace.is_due = true;
                trace.update_groups(&mut self.groups, now);
            }
        }
        changed
    }

    /// Chains that no longer wait for hops.
    pub fn settled_chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.order
            .iter()
            .filter_map(|id| self.traces.get(id))
            .filter(|t| t.is_due)
            .flat_map(|t| &t.chains)
    }

    /// Counter that goes up whenever a group of chains turns faulty.
    pub const fn alarm_count(&self) -> u64 {
        self.groups.alarm_count()
    }

    /// Groups of the chains of the last five minutes, the most urgent first, each with its requests
    /// in that many slots of ten seconds.
    pub fn list_groups(&self, columns: usize, now: Timestamp) -> Vec<ChainGroup> {
        self.groups.list_groups(self.since, columns, now)
    }

    /// All chains in order of arrival.
    pub fn all_chains(&self) -> impl DoubleEndedIterator<Item = &Arc<Chain>> {
        self.order
            .iter()
            .filter_map(|id| self.traces.get(id))
            .flat_map(|t| &t.chains)
    }
}

impl TraceChains {
    /// Updates the groups to the current chains. Faulty chains are counted without waiting.
    fn update_groups(&mut self, groups: &mut ChainGroups, now: Timestamp) {
        let wanted: Vec<Arc<Chain>> = self
            .chains
            .iter()
            .filter(|c| self.is_due || c.is_wrong())
            .cloned()
            .collect();
        let is_in =
            |all: &[Arc<Chain>], chain: &Arc<Chain>| all.iter().any(|c| Arc::ptr_eq(c, chain));
        self.counted
            .iter()
            .filter(|c| !is_in(&wanted, c))
            .for_each(|c| groups.remove_chain(c, now));
        wanted
            .iter()
            .filter(|c| !is_in(&self.counted, c))
            .for_each(|c| groups.add_chain(c, now));
        self.counted = wanted;
    }
}

/// Keeps the verdict of steps that were judged before, and the version that answered, because its
/// pod may be gone by now. A step that is reported in more detail now is judged again, unless its
/// verdict was bad.
fn keep_verdicts(chain: &mut Chain, before: &[Arc<Chain>]) {
    for step in &mut chain.steps {
        let Some(hop) = &step.hop else { continue };
        let same = |s: &&super::ChainStep| s.hop.as_ref().is_some_and(|h| h.span == hop.span);
        let Some(judged) = before.iter().flat_map(|c| &c.steps).find(same) else {
            continue;
        };
        if judged.pod == step.pod {
            step.version.clone_from(&judged.version);
        }
        let is_as_judged = judged.hop.as_ref().is_some_and(|h| h.is_same_report(hop));
        if is_as_judged || judged.verdict.is_bad() {
            step.verdict = judged.verdict;
            step.cause.clone_from(&judged.cause);
        }
    }
    chain.worst = chain
        .steps
        .iter()
        .map(|s| s.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
}
