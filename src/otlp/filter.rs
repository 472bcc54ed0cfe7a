//! Which spans are worth a line: those of a lane, those that gray pods tell or answer, whatever failed, what ties these, and a
//! bounded share of the rest. Pure: the clock is the caller's.
//!
//! A span comes with others of its trace or long before them, so traces and parents that are wanted are remembered for
//! a while. They also come to different engines: each then knows a part only, and what it leaves out is missing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use xxhash_rust::xxh3::Xxh3;

use crate::domain::{
    pods::PodIndex,
    span::{Emitter, Side, Span},
};

/// Traces, and parents, that are remembered.
const REMEMBERED: usize = 1 << 16;

/// Lines a second, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all kinds.
    pub lines: u32,
    /// Of spans that nothing but our pods makes worth a line.
    pub rest: u32,
}

impl Default for Limits {
    /// At 400 bytes a line what a kubelet keeps of a log (50 MiB) lasts two minutes at the most.
    fn default() -> Self {
        Self {
            lines: 1000,
            rest: 100,
        }
    }
}

/// Spans that were left out, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// They were worth a line, and there were too many of them.
    pub rate: u64,
    /// Of the baseline's everyday requests, over the share of these.
    pub share: u64,
    /// About none of our pods, or work within a service, and nothing is tied by them.
    pub elsewhere: u64,
}

/// What a span is worth; the first is written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It has a tag, or is told by, of, or for a gray pod.
    Lane,
    /// It failed.
    Failed,
    /// It is of the trace of such a one, or leads to one.
    Tie,
    /// It is about a pod of ours.
    Rest,
    /// It is about nothing of ours.
    Elsewhere,
}

/// Chooses; remembers what it has chosen.
#[derive(Debug)]
pub struct Filter {
    lines: Bucket,
    rest: Bucket,
    traces: Recent,
    parents: Recent,
}

impl Filter {
    /// With these limits.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let (lines, rest) = (
            Bucket::new(limits.lines, now),
            Bucket::new(limits.rest, now),
        );
        Self {
            lines,
            rest,
            traces: Recent::default(),
            parents: Recent::default(),
        }
    }

    /// Of the spans of one request those worth a line, in their order.
    pub fn choose(
        &mut self,
        spans: Vec<Span>,
        pods: &PodIndex,
        now: Instant,
    ) -> (Vec<Span>, Skipped) {
        let mut worths = self.worths(&spans, pods);
        let mut skipped = Skipped::default();
        for worth in worths.iter_mut().filter(|worth| **worth == Worth::Rest) {
            if !self.rest.take(now) {
                *worth = Worth::Elsewhere;
                skipped.share += 1;
            }
        }
        self.tie(&spans, &mut worths);
        skipped.elsewhere = worths.iter().filter(|w| **w == Worth::Elsewhere).count() as u64;
        // One that is over the share may tie others, and is written then.
        skipped.share = skipped.share.min(skipped.elsewhere);
        skipped.elsewhere -= skipped.share;
        let mut order: Vec<usize> = (0..spans.len())
            .filter(|i| worths[*i] != Worth::Elsewhere)
            .collect();
        order.sort_by_key(|i| worths[*i]);
        let mut kept = vec![false; spans.len()];
        for at in order {
            kept[at] = self.lines.take(now);
            skipped.rate += u64::from(!kept[at]);
        }
        let chosen = spans
            .into_iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .map(|(span, _)| span);
        (chosen.collect(), skipped)
    }

    fn worths(&mut self, spans: &[Span], pods: &PodIndex) -> Vec<Worth> {
        let mut emitters = Emitters::default();
        let mut worths: Vec<Worth> = spans
            .iter()
            .map(|span| worth(span, pods, &mut emitters))
            .collect();
        for (span, worth) in spans.iter().zip(&worths) {
            if matches!(worth, Worth::Lane | Worth::Failed) && !span.trace.is_empty() {
                self.traces.add(hash(&span.trace, ""));
            }
        }
        for (span, worth) in spans.iter().zip(&mut worths) {
            if *worth == Worth::Rest && self.traces.has(hash(&span.trace, "")) {
                *worth = Worth::Tie;
            }
        }
        worths
    }

    /// Whoever is above one that is written ties it, and is written too, now or when it comes.
    fn tie(&mut self, spans: &[Span], worths: &mut [Worth]) {
        let mut by_id: HashMap<u64, Vec<usize>> = HashMap::with_capacity(spans.len());
        for (at, span) in spans
            .iter()
            .enumerate()
            .filter(|(_, span)| !span.trace.is_empty())
        {
            let id = hash(&span.trace, &span.span);
            by_id.entry(id).or_default().push(at);
            if worths[at] == Worth::Elsewhere && self.parents.has(id) {
                worths[at] = Worth::Tie;
            }
        }
        let mut open: Vec<usize> = (0..spans.len())
            .filter(|i| worths[*i] != Worth::Elsewhere)
            .collect();
        while let Some(at) = open.pop() {
            let Some(parent) = spans[at]
                .parent
                .as_ref()
                .filter(|_| !spans[at].trace.is_empty())
            else {
                continue;
            };
            let id = hash(&spans[at].trace, parent);
            let Some(above) = by_id.get(&id) else {
                self.parents.add(id);
                continue;
            };
            for &above in above {
                // Each is opened once: a loop of parents ends.
                if worths[above] == Worth::Elsewhere {
                    worths[above] = Worth::Tie;
                    open.push(above);
                }
            }
        }
    }
}

/// What a span is worth by itself.
fn worth<'s>(span: &'s Span, pods: &PodIndex, emitters: &mut Emitters<'s>) -> Worth {
    if span.tag.value().is_some() {
        return Worth::Lane;
    }
    let at = |address: &Option<String>| {
        pods.at(address.as_deref()?, span.time)
            .map(|pod| pod.tag.is_some())
    };
    let about = [
        emitters.is_gray(span, pods),
        at(&span.peer),
        at(&span.caller),
    ];
    if about.contains(&Some(true)) {
        // Work within a gray pod is no hop.
        return if span.side == Side::Inner {
            Worth::Elsewhere
        } else {
            Worth::Lane
        };
    }
    let failed = span.status.is_some_and(|status| status >= 500) || span.error.is_some();
    match span.side {
        Side::Inner => Worth::Elsewhere,
        _ if failed => Worth::Failed,
        _ if about.contains(&Some(false)) => Worth::Rest,
        _ => Worth::Elsewhere,
    }
}

/// Whether those who told a request's spans are gray. Most spans of a request are told by one, and looking one up may take
/// a walk through all pods.
#[derive(Default)]
struct Emitters<'s>(HashMap<[Option<&'s str>; 4], Option<bool>>);

impl<'s> Emitters<'s> {
    /// None: it is no pod of ours.
    fn is_gray(&mut self, span: &'s Span, pods: &PodIndex) -> Option<bool> {
        let Emitter {
            namespace,
            pod,
            uid,
            address,
            ..
        } = &span.by;
        let key = [namespace, pod, uid, address].map(Option::as_deref);
        *self.0.entry(key).or_insert_with(|| {
            pods.of_emitter(&span.by, span.time)
                .map(|pod| pod.tag.is_some())
        })
    }
}

fn hash(trace: &str, span: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(trace.as_bytes());
    hash.update(span.as_bytes());
    hash.digest()
}

/// The last of many, by their hashes.
#[derive(Debug, Default)]
struct Recent {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn add(&mut self, hash: u64) {
        if !self.known.insert(hash) {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
    }

    fn has(&self, hash: u64) -> bool {
        self.known.contains(&hash)
    }
}

/// So many a second, and as many at once.
#[derive(Debug)]
struct Bucket {
    a_second: f64,
    left: f64,
    filled: Instant,
}

impl Bucket {
    fn new(a_second: u32, now: Instant) -> Self {
        let a_second = a_second.into();
        Self {
            a_second,
            left: a_second,
            filled: now,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + since * self.a_second).min(self.a_second);
        self.filled = self.filled.max(now);
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests;
