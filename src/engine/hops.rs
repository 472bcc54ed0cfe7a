//! What an engine reports about the hops it reads: the sources it follows, and where it writes the
//! spans.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    api::{HopSourceStatus, LaneGroup, SpanLog},
    cluster::trace::{HealthByLog, LogHealth},
    domain::hop_logs::{HopLog, list_access_logs},
};

/// Shared handle; clones refer to the same engine.
#[derive(Clone, Debug, Default)]
pub struct HopReport {
    /// Pods in whose logs the spans are written. `None` if this engine writes none.
    span_log: Option<SpanLog>,
    /// Whether it receives spans over OTLP.
    otlp: bool,
    health: Arc<Mutex<HealthByLog>>,
}

impl HopReport {
    /// Report of an engine that writes the spans it reads to its pod's log.
    pub fn writing_to(span_log: SpanLog, otlp: bool) -> Self {
        Self {
            span_log: Some(span_log),
            otlp,
            health: Arc::default(),
        }
    }

    /// Records the state of the followed logs.
    pub fn note_health(&self, health: &HealthByLog) {
        self.health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(health);
    }

    /// Where cockpits find the spans.
    pub(super) fn span_log(&self) -> Option<SpanLog> {
        self.span_log.clone()
    }

    /// Hop sources of a lane group, with their state.
    pub(super) fn sources(&self, namespace: &str, group: &LaneGroup) -> Vec<HopSourceStatus> {
        if self.span_log.is_none() {
            return vec![];
        }
        let health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = list_access_logs(namespace, group).into_iter().map(|log| {
            let source = log.display_name();
            let LogHealth { pods, problem } = health
                .get(&HopLog::Access(Box::new(log)))
                .cloned()
                .unwrap_or_default();
            HopSourceStatus {
                source,
                pods,
                problem: problem.map(|p| p.to_string()),
            }
        });
        let otlp = self.otlp.then(|| HopSourceStatus {
            source: "otlp".into(),
            ..HopSourceStatus::default()
        });
        logs.chain(otlp).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        api::{AccessLog, HopSource, LaneGroupSpec, LogFormat},
        domain::text::Clean,
    };

    #[test]
    fn each_source_tells_how_it_does_and_one_that_writes_nothing_tells_nothing() {
        let log = AccessLog {
            format: LogFormat::Envoy,
            ..AccessLog::default()
        };
        let hops = vec![HopSource {
            access_log: Some(log),
            ..HopSource::default()
        }];
        let mut spec = LaneGroupSpec {
            hops,
            ..LaneGroupSpec::default()
        };
        spec.entry.gateway = "gw".into();
        let group = LaneGroup::new("g", spec);
        assert!(HopReport::default().sources("demo", &group).is_empty());
        let log = SpanLog {
            namespace: "graylane-system".into(),
            match_labels: BTreeMap::new(),
        };
        let report = HopReport::writing_to(log.clone(), true);
        let followed = list_access_logs("demo", &group).remove(0);
        let health = LogHealth {
            pods: 0,
            problem: Some(Clean::from("no pod")),
        };
        report.note_health(&BTreeMap::from([(
            HopLog::Access(Box::new(followed)),
            health,
        )]));
        let told: Vec<_> = report
            .sources("demo", &group)
            .into_iter()
            .map(|s| (s.source, s.problem))
            .collect();
        let expected = [
            ("accessLog envoy of gw".into(), Some("no pod".into())),
            ("otlp".into(), None),
        ];
        assert_eq!(
            (told.as_slice(), report.span_log()),
            (&expected[..], Some(log))
        );
    }
}
