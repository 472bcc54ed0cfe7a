//! Prometheus metrics of the receiver.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::{decode::Dropped, filter::Skipped};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    protocol: &'static str,
    signal: &'static str,
    code: &'static str,
}

/// A handle; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    received: Counter,
    written: Counter,
    dropped: Family<Reason, Counter>,
    requests: Family<Answered, Counter>,
}

impl Metrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("otlp");
        registry.register(
            "spans_received",
            "Spans and log records received over OTLP",
            self.received.clone(),
        );
        registry.register(
            "spans_written",
            "Spans written as lines",
            self.written.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans and log records not written, by why",
            self.dropped.clone(),
        );
        registry.register(
            "requests",
            "OTLP requests by protocol, signal and answer",
            self.requests.clone(),
        );
        self.count_decoded(0, Dropped::default());
        self.count_skipped(Skipped::default());
        self.count_queue_full(0);
    }

    /// Counts the spans of a decoded request, and what was left out.
    pub(super) fn count_decoded(&self, spans: usize, dropped: Dropped) {
        let Dropped {
            too_many,
            bad_id,
            bad_time,
            no_access_log,
            attributes: _,
        } = dropped;
        self.received
            .inc_by(spans as u64 + too_many + bad_id + bad_time + no_access_log);
        self.count_dropped("too_many", too_many);
        self.count_dropped("bad_id", bad_id);
        self.count_dropped("bad_time", bad_time);
        self.count_dropped("no_access_log", no_access_log);
    }

    /// Counts the spans that the filter left out.
    pub(super) fn count_skipped(&self, skipped: Skipped) {
        let Skipped {
            rate,
            share,
            elsewhere,
        } = skipped;
        self.count_dropped("rate", rate);
        self.count_dropped("share", share);
        self.count_dropped("elsewhere", elsewhere);
    }

    /// Counts spans that did not fit into the queue.
    pub(super) fn count_queue_full(&self, spans: u64) {
        self.count_dropped("queue", spans);
    }

    /// Counts lines that were written.
    pub(super) fn count_written(&self, lines: u64) {
        self.written.inc_by(lines);
    }

    /// Counts an answered request.
    pub(super) fn count_answer(
        &self,
        protocol: &'static str,
        signal: &'static str,
        code: &'static str,
    ) {
        self.requests
            .get_or_create(&Answered {
                protocol,
                signal,
                code,
            })
            .inc();
    }

    fn count_dropped(&self, reason: &'static str, spans: u64) {
        self.dropped.get_or_create(&Reason { reason }).inc_by(spans);
    }
}
