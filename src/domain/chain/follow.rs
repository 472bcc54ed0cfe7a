//! The chains of a stream of hops: judged as they come, verdicts kept, bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;

use super::{Chain, Verdict, assemble::of_trace};
use crate::domain::{hop::Hop, world::World};

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
}

#[derive(Clone, Debug, Default)]
struct Trace {
    hops: Vec<Arc<Hop>>,
    chains: Vec<Arc<Chain>>,
}

impl Chains {
    /// Keeps that many traces.
    pub fn new(most: usize) -> Self {
        Self { most, seen: 0, traces: BTreeMap::new(), order: VecDeque::new(), unsettled: vec![] }
    }

    /// Takes the hops that are new in a world, and judges what has come. True when something changed.
    pub fn follow(&mut self, world: &World, now: Timestamp) -> bool {
        let fresh = world.hops_seen.saturating_sub(self.seen);
        // A world of another connection counts anew.
        let fresh = if world.hops_seen < self.seen { world.hops_seen } else { fresh };
        self.seen = world.hops_seen;
        let take = usize::try_from(fresh).unwrap_or(usize::MAX).min(world.hops.len());
        for hop in &world.hops[world.hops.len() - take..] {
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
        if trace.hops.len() < MOST_HOPS && !trace.hops.iter().any(|h| h.span == hop.span) {
            self.unsettled.push(hop.trace.clone());
            trace.hops.push(hop);
        }
    }

    /// Judges the chains that have come since. True when something changed.
    pub fn judge(&mut self, world: &World, now: Timestamp) -> bool {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.sort();
        unsettled.dedup();
        let mut changed = false;
        for id in unsettled {
            let Some(trace) = self.traces.get_mut(&id) else { continue };
            let hops: Vec<&Arc<Hop>> = trace.hops.iter().collect();
            let mut chains = of_trace(&hops, world, now);
            chains.iter_mut().for_each(|chain| keep(chain, &trace.chains));
            let told: usize = chains.iter().flat_map(|c| &c.steps).filter(|s| s.hop.is_some()).count();
            if told < hops.len() {
                self.unsettled.push(id.clone());
            }
            changed |= chains.len() != trace.chains.len() || chains.iter().zip(&trace.chains).any(|(a, b)| *a != **b);
            trace.chains = chains.into_iter().map(Arc::new).collect();
        }
        changed
    }

    /// All chains, those that came first first.
    pub fn list(&self) -> impl DoubleEndedIterator<Item = &Arc<Chain>> {
        self.order.iter().filter_map(|id| self.traces.get(id)).flat_map(|t| &t.chains)
    }
}

/// Keeps the verdicts of steps that were judged already.
fn keep(chain: &mut Chain, before: &[Arc<Chain>]) {
    for step in &mut chain.steps {
        let span = step.hop.as_ref().map(|h| h.span.as_str());
        let same = |s: &&super::Step| span.is_some() && s.hop.as_ref().map(|h| h.span.as_str()) == span;
        if let Some(judged) = before.iter().flat_map(|c| &c.steps).find(same) {
            step.verdict = judged.verdict;
            step.cause.clone_from(&judged.cause);
        }
    }
    chain.worst = chain.steps.iter().map(|s| s.verdict).max().unwrap_or(Verdict::Ok);
}
