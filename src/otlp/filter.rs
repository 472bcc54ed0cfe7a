//! Chooses the spans that are worth a line: those of a lane, those reported or answered by gray
//! pods, failures, the spans that connect these, and a bounded share of the rest. Pure: the caller
//! passes the time.
//!
//! Spans of one trace may arrive together or long after each other, so traces and parents that
//! matter are remembered for a while. They may also reach different engines: each engine then knows
//! only a part, and what it leaves out is missing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use xxhash_rust::xxh3::Xxh3;

use crate::domain::{
    pods::PodIndex,
    span::{Emitter, Side, Span},
};

/// Number of traces, and of parents, that are remembered.
const REMEMBERED: usize = 1 << 16;

/// Maximum lines per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For all kinds of spans.
    pub lines: u32,
    /// For spans that only concern our pods.
    pub rest: u32,
}

impl Default for Limits {
    /// At this rate and 400 bytes a line, the 50 MiB of log that a kubelet keeps last two minutes.
    fn default() -> Self {
        Self {
            lines: 1000,
            rest: 100,
        }
    }
}

/// Spans that were left out, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Worth a line, but over the rate limit.
    pub rate: u64,
    /// Ordinary requests of the baseline, over their share.
    pub share: u64,
    /// Spans that concern none of our pods, or work within a service, and connect nothing.
    pub elsewhere: u64,
}

/// What a span is worth; the first is written first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    /// It has a lane tag, or a gray pod reported, called or answered it.
    Lane,
    /// It failed.
    Failed,
    /// It is in the trace of such a span, or is an ancestor of one.
    Related,
    /// It concerns one of our pods.
    Rest,
    /// It concerns none of our pods.
    Unrelated,
}

/// Chooses spans and remembers what it has chosen.
#[derive(Debug)]
pub struct Filter {
    lines: TokenBucket,
    rest: TokenBucket,
    traces: RecentHashes,
    parents: RecentHashes,
}

impl Filter {
    /// Creates a filter with these limits.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let (lines, rest) = (
            TokenBucket::new(limits.lines, now),
            TokenBucket::new(limits.rest, now),
        );
        Self {
            lines,
            rest,
            traces: RecentHashes::default(),
            parents: RecentHashes::default(),
        }
    }

    /// The spans of one request that are worth a line, in their order.
    pub fn choose_spans(
        &mut self,
        spans: Vec<Span>,
        pods: &PodIndex,
        now: Instant,
    ) -> (Vec<Span>, Skipped) {
        let mut worths = self.prioritize_spans(&spans, pods);
        let mut skipped = Skipped::default();
        for worth in worths.iter_mut().filter(|worth| **worth == Priority::Rest) {
            if !self.rest.try_take(now) {
                *worth = Priority::Unrelated;
                skipped.share += 1;
            }
        }
        self.keep_ancestors(&spans, &mut worths);
        skipped.elsewhere = worths.iter().filter(|w| **w == Priority::Unrelated).count() as u64;
        // A span over the share may still connect others, and is written then.
        skipped.share = skipped.share.min(skipped.elsewhere);
        skipped.elsewhere -= skipped.share;
        let mut order: Vec<usize> = (0..spans.len())
            .filter(|i| worths[*i] != Priority::Unrelated)
            .collect();
        order.sort_by_key(|i| worths[*i]);
        let mut kept = vec![false; spans.len()];
        for at in order {
            kept[at] = self.lines.try_take(now);
            skipped.rate += u64::from(!kept[at]);
        }
        let chosen = spans
            .into_iter()
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .map(|(span, _)| span);
        (chosen.collect(), skipped)
    }

    fn prioritize_spans(&mut self, spans: &[Span], pods: &PodIndex) -> Vec<Priority> {
        let mut emitters = GrayEmitters::default();
        let mut worths: Vec<Priority> = spans
            .iter()
            .map(|span| prioritize_span(span, pods, &mut emitters))
            .collect();
        for (span, worth) in spans.iter().zip(&worths) {
            if matches!(worth, Priority::Lane | Priority::Failed) && !span.trace.is_empty() {
                self.traces.insert(span_hash(&span.trace, ""));
            }
        }
        for (span, worth) in spans.iter().zip(&mut worths) {
            if *worth == Priority::Rest && self.traces.contains(span_hash(&span.trace, "")) {
                *worth = Priority::Related;
            }
        }
        worths
    }

    /// Ancestors of a written span are written too, now or when they arrive.
    fn keep_ancestors(&mut self, spans: &[Span], worths: &mut [Priority]) {
        let mut by_id: HashMap<u64, Vec<usize>> = HashMap::with_capacity(spans.len());
        for (at, span) in spans
            .iter()
            .enumerate()
            .filter(|(_, span)| !span.trace.is_empty())
        {
            let id = span_hash(&span.trace, &span.span);
            by_id.entry(id).or_default().push(at);
            if worths[at] == Priority::Unrelated && self.parents.contains(id) {
                worths[at] = Priority::Related;
            }
        }
        let mut open: Vec<usize> = (0..spans.len())
            .filter(|i| worths[*i] != Priority::Unrelated)
            .collect();
        while let Some(at) = open.pop() {
            let Some(parent) = spans[at]
                .parent
                .as_ref()
                .filter(|_| !spans[at].trace.is_empty())
            else {
                continue;
            };
            let id = span_hash(&spans[at].trace, parent);
            let Some(above) = by_id.get(&id) else {
                self.parents.insert(id);
                continue;
            };
            for &above in above {
                // Each is opened once, so loops of parents end.
                if worths[above] == Priority::Unrelated {
                    worths[above] = Priority::Related;
                    open.push(above);
                }
            }
        }
    }
}

/// What a span is worth by itself.
fn prioritize_span<'s>(
    span: &'s Span,
    pods: &PodIndex,
    emitters: &mut GrayEmitters<'s>,
) -> Priority {
    if span.tag.value().is_some() {
        return Priority::Lane;
    }
    let at = |address: &Option<String>| {
        pods.find_by_address(address.as_deref()?, span.time)
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
            Priority::Unrelated
        } else {
            Priority::Lane
        };
    }
    let failed = span.status.is_some_and(|status| status >= 500) || span.error.is_some();
    match span.side {
        Side::Inner => Priority::Unrelated,
        _ if failed => Priority::Failed,
        _ if about.contains(&Some(false)) => Priority::Rest,
        _ => Priority::Unrelated,
    }
}

/// Whether the emitters of a request's spans are gray. Most spans of a request have the same
/// emitter, and a lookup may walk through all pods.
#[derive(Default)]
struct GrayEmitters<'s>(HashMap<[Option<&'s str>; 4], Option<bool>>);

impl<'s> GrayEmitters<'s> {
    /// `None` when the emitter is none of our pods.
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
            pods.find_by_emitter(&span.by, span.time)
                .map(|pod| pod.tag.is_some())
        })
    }
}

fn span_hash(trace: &str, span: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(trace.as_bytes());
    hash.update(span.as_bytes());
    hash.digest()
}

/// The most recent hashes.
#[derive(Debug, Default)]
struct RecentHashes {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl RecentHashes {
    fn insert(&mut self, hash: u64) {
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

    fn contains(&self, hash: u64) -> bool {
        self.known.contains(&hash)
    }
}

/// A token bucket, refilled every second up to its size.
#[derive(Debug)]
struct TokenBucket {
    a_second: f64,
    left: f64,
    filled: Instant,
}

impl TokenBucket {
    fn new(a_second: u32, now: Instant) -> Self {
        let a_second = a_second.into();
        Self {
            a_second,
            left: a_second,
            filled: now,
        }
    }

    fn try_take(&mut self, now: Instant) -> bool {
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
