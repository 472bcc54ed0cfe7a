//! The chains of a stream of hops: judged as they come, verdicts kept, bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Chain, Group, Verdict,
    assemble::{PATIENCE, of_trace},
    groups::Groups,
};
use crate::domain::{hop::Hop, signals::is_sampled, world::World};

/// Of one trace; a client that uses one trace id for everything must not fill the memory.
const MOST_HOPS: usize = 512;

/// The newest chains of a world, for the trace pane.
#[derive(Clone, Debug)]
pub struct Chains {
    most: usize,
    /// Of `World::hops_seen`.
    seen: u64,
    traces: BTreeMap<String, Trace>,
    /// In the order in which traces came.
    order: VecDeque<String>,
    /// Traces that got hops, or wait for their beginning.
    unsettled: Vec<String>,
    /// Traces that are counted from then on, should they be whole or not.
    uncounted: VecDeque<(Timestamp, String)>,
    /// Since when hops are followed.
    since: Option<Timestamp>,
    groups: Groups,
}

#[derive(Clone, Debug, Default)]
struct Trace {
    hops: Vec<Arc<Hop>>,
    chains: Vec<Arc<Chain>>,
    /// Those that stand in the groups as they are.
    counted: Vec<Arc<Chain>>,
    /// All of them are to be counted.
    is_due: bool,
}

impl Chains {
    /// Keeps that many traces.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            seen: 0,
            traces: BTreeMap::new(),
            order: VecDeque::new(),
            unsettled: vec![],
            uncounted: VecDeque::new(),
            since: None,
            groups: Groups::default(),
        }
    }

    /// Takes the hops that are new in a world, and judges what has come. True when something changed.
    pub fn follow(&mut self, world: &World, now: Timestamp) -> bool {
        let (fresh, _) = world.hops_since(self.seen);
        self.seen = world.hops_seen;
        self.since.get_or_insert(now);
        for hop in fresh {
            self.push(hop.clone());
        }
        self.judge(world, now)
    }

    /// Takes one hop; `judge` makes chains of them.
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
            Some(before) if hop.amends => trace.hops[before] = hop,
            None if trace.hops.len() < MOST_HOPS => trace.hops.push(hop),
            Some(_) | None => return,
        }
        self.unsettled.push(id);
    }

    /// Judges the chains that have come since. True when something changed.
    pub fn judge(&mut self, world: &World, now: Timestamp) -> bool {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.sort();
        unsettled.dedup();
        let mut changed = false;
        for id in unsettled {
            let Some(trace) = self.traces.get_mut(&id) else {
                continue;
            };
            let hops: Vec<&Arc<Hop>> = trace.hops.iter().collect();
            let mut chains = of_trace(&hops, world, now);
            chains
                .iter_mut()
                .for_each(|chain| keep(chain, &trace.chains));
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
            // Spans come in any order: for a while a part of them looks like a chain of its own.
            if !trace.is_due && trace.hops.iter().any(|h| is_sampled(h)) {
                let due = now.checked_add(PATIENCE).unwrap_or(now);
                if before.is_empty() && !trace.chains.is_empty() {
                    self.uncounted.push_back((due, id));
                }
            } else {
                trace.is_due = true;
            }
            trace.count(&mut self.groups, now);
        }
        while self.uncounted.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.uncounted.pop_front() else {
                break;
            };
            if let Some(trace) = self.traces.get_mut(&id) {
                trace.is_due = true;
                trace.count(&mut self.groups, now);
            }
        }
        changed
    }

    /// The chains that no more hops are waited for.
    pub fn settled(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.order
            .iter()
            .filter_map(|id| self.traces.get(id))
            .filter(|t| t.is_due)
            .flat_map(|t| &t.chains)
    }

    /// Goes up whenever a group of chains turns wrong.
    pub const fn alarms(&self) -> u64 {
        self.groups.alarms()
    }

    /// The chains of the last five minutes by groups, the most urgent first, each with what came in so many ten seconds.
    pub fn groups(&self, columns: usize, now: Timestamp) -> Vec<Group> {
        self.groups.list(self.since, columns, now)
    }

    /// All chains, those that came first first.
    pub fn list(&self) -> impl DoubleEndedIterator<Item = &Arc<Chain>> {
        self.order
            .iter()
            .filter_map(|id| self.traces.get(id))
            .flat_map(|t| &t.chains)
    }
}

impl Trace {
    /// Brings the groups up to what its chains are now. What went wrong is not waited for.
    fn count(&mut self, groups: &mut Groups, now: Timestamp) {
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
            .for_each(|c| groups.take_back(c, now));
        wanted
            .iter()
            .filter(|c| !is_in(&self.counted, c))
            .for_each(|c| groups.add(c, now));
        self.counted = wanted;
    }
}

/// Keeps the verdicts of steps that were judged already, and who answered: its pod may be gone by now. What was told with
/// less then is judged anew, unless it was bad.
fn keep(chain: &mut Chain, before: &[Arc<Chain>]) {
    for step in &mut chain.steps {
        let Some(hop) = &step.hop else { continue };
        let same = |s: &&super::Step| s.hop.as_ref().is_some_and(|h| h.span == hop.span);
        let Some(judged) = before.iter().flat_map(|c| &c.steps).find(same) else {
            continue;
        };
        if judged.pod == step.pod {
            step.version.clone_from(&judged.version);
        }
        let is_as_judged = judged.hop.as_ref().is_some_and(|h| h.tells_the_same(hop));
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
