//! Metrics for Prometheus, and liveness and readiness of the engine. They do not influence any
//! decision.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

use crate::{api::ReleasePhase, domain::workflow::ReleaseStep};

/// The Lease is tried every two seconds. An engine that has not tried for this long hangs.
const MAX_LEASE_TRY_AGE: Duration = Duration::from_mins(1);
/// There is a pass every 30 seconds at the latest. One that waits for many answers may take long.
const MAX_PASS_AGE: Duration = Duration::from_mins(5);
/// The engine is ready if the API has answered within this time.
const MAX_ANSWER_AGE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    verb: &'static str,
    code: String,
}

#[derive(Clone, Debug)]
struct Heartbeat {
    tried: Instant,
    answered: Option<Instant>,
    /// While it acts: time of the last pass, and whether the caches are filled.
    looked: Option<Instant>,
    knows: bool,
}

/// Shared handle; clones refer to the same engine.
#[derive(Clone)]
pub struct Telemetry {
    registry: Arc<Registry>,
    releases: Family<PhaseLabel, Gauge>,
    steps: Family<StepLabel, Counter>,
    errors: Family<StepLabel, Counter>,
    pruned: Counter,
    looks: Histogram,
    requests: Family<RequestLabel, Counter>,
    held: Gauge,
    pub(super) queue: Gauge,
    beat: Arc<Mutex<Heartbeat>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::with_metrics(|_| {})
    }
}

impl Telemetry {
    /// Also includes the metrics that `more` registers.
    pub fn with_metrics(more: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("graylane");
        let this = Self {
            registry: Arc::default(),
            releases: Family::default(),
            steps: Family::default(),
            errors: Family::default(),
            pruned: Counter::default(),
            looks: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ]),
            requests: Family::default(),
            held: Gauge::default(),
            queue: Gauge::default(),
            beat: Arc::new(Mutex::new(Heartbeat {
                tried: Instant::now(),
                answered: None,
                looked: None,
                knows: false,
            })),
        };
        registry.register(
            "releases",
            "Releases by phase, while this engine acts",
            this.releases.clone(),
        );
        registry.register("steps", "Steps taken", this.steps.clone());
        registry.register(
            "step_errors",
            "Steps that failed; they are tried again",
            this.errors.clone(),
        );
        registry.register(
            "pruned_releases",
            "Finished releases deleted by their App's history",
            this.pruned.clone(),
        );
        registry.register(
            "look_duration_seconds",
            "Duration of one pass over what changed",
            this.looks.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the Kubernetes API by verb and HTTP code",
            this.requests.clone(),
        );
        registry.register(
            "lease_held",
            "1 while this engine acts, 0 while it stands by",
            this.held.clone(),
        );
        registry.register(
            "queue_length",
            "Changes that wait for the next pass",
            this.queue.clone(),
        );
        more(&mut registry);
        Self {
            registry: Arc::new(registry),
            ..this
        }
    }

    fn lock_heartbeat(&self) -> std::sync::MutexGuard<'_, Heartbeat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a try to get the Lease.
    pub(super) fn note_lease_try(&self, answered: bool) {
        let now = Instant::now();
        let mut beat = self.lock_heartbeat();
        beat.tried = now;
        if answered {
            beat.answered = Some(now);
        }
    }

    /// Records whether the engine acts from now on.
    pub(super) fn set_acting(&self, acts: bool) {
        self.held.set(i64::from(acts));
        let mut beat = self.lock_heartbeat();
        beat.looked = acts.then(Instant::now);
        beat.knows = false;
        drop(beat);
        if !acts {
            self.releases.clear();
            self.queue.set(0);
        }
    }

    /// Records a finished pass.
    pub(super) fn note_pass(&self, took: Duration, phases: impl Iterator<Item = ReleasePhase>) {
        self.looks.observe(took.as_secs_f64());
        let mut counts: HashMap<String, i64> = HashMap::new();
        phases.for_each(|p| *counts.entry(format!("{p:?}")).or_default() += 1);
        use ReleasePhase::{
            Aborted, Aborting, Failed, Paused, Pending, Running, Succeeded, Waiting,
        };
        for phase in [
            Pending, Running, Waiting, Paused, Aborting, Succeeded, Failed, Aborted,
        ] {
            let phase = format!("{phase:?}");
            let count = counts.get(&phase).copied().unwrap_or_default();
            self.releases
                .get_or_create(&PhaseLabel { phase })
                .set(count);
        }
        let mut beat = self.lock_heartbeat();
        beat.looked = Some(Instant::now());
        beat.knows = true;
    }

    pub(super) fn count_step(&self, step: &ReleaseStep, failed: bool) {
        let kind = StepLabel {
            step: match step {
                ReleaseStep::SetEnvironment { .. } => "setEnvironment",
                ReleaseStep::Apply { .. } => "apply",
                ReleaseStep::Patch { .. } => "patch",
                ReleaseStep::CreateJob(_) => "createJob",
                ReleaseStep::Delete { .. } => "delete",
                ReleaseStep::DeletePod { .. } => "deletePod",
                ReleaseStep::RunProbes { .. } => "runProbes",
                ReleaseStep::RemoveEnvironment(_) => "removeEnvironment",
            },
        };
        let family = if failed { &self.errors } else { &self.steps };
        family.get_or_create(&kind).inc();
    }

    /// Counts a deleted release.
    pub(super) fn count_pruned_release(&self) {
        self.pruned.inc();
    }

    /// Liveness: why the engine should be restarted. `None` if it is healthy.
    pub fn health_problem(&self) -> Option<String> {
        let beat = self.lock_heartbeat().clone();
        let late = |what: &str, at: Instant, most: Duration| {
            (at.elapsed() > most).then(|| format!("{what} for {} s", at.elapsed().as_secs()))
        };
        late(
            "no attempt to get the Lease yet",
            beat.tried,
            MAX_LEASE_TRY_AGE,
        )
        .or_else(|| late("no pass has been made", beat.looked?, MAX_PASS_AGE))
    }

    /// Readiness: why the engine cannot work now. `None` while it acts or stands by.
    pub fn readiness_problem(&self) -> Option<String> {
        let beat = self.lock_heartbeat().clone();
        match beat.answered {
            None => Some("the API has not answered yet".into()),
            Some(at) if at.elapsed() > MAX_ANSWER_AGE => Some(format!(
                "the API has not answered for {} s",
                at.elapsed().as_secs()
            )),
            Some(_) if beat.looked.is_some() && !beat.knows => {
                Some("the cluster is being read".into())
            }
            Some(_) => None,
        }
    }

    /// All metrics in the text format of OpenMetrics, which Prometheus reads.
    pub fn to_open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    /// Wraps a client so that its requests are counted.
    pub fn meter_client(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let requests = self.requests.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (client, requests) = (client.clone(), requests.clone());
            async move {
                let verb = request_verb(&request);
                let answer = client.send(request).await;
                let code = answer
                    .as_ref()
                    .map_or_else(|_| "none".to_owned(), |a| a.status().as_str().to_owned());
                requests.get_or_create(&RequestLabel { verb, code }).inc();
                answer
            }
        });
        Client::new(service, namespace)
    }
}

fn request_verb<B>(request: &http::Request<B>) -> &'static str {
    let watches = request
        .uri()
        .query()
        .is_some_and(|q| q.split('&').any(|p| p == "watch=true"));
    match *request.method() {
        http::Method::GET if watches => "watch",
        http::Method::GET => "get",
        http::Method::POST => "create",
        http::Method::PUT => "update",
        http::Method::PATCH => "patch",
        http::Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_hangs_is_sick_and_whom_the_api_does_not_answer_is_of_no_use() {
        let t = Telemetry::default();
        assert!(t.health_problem().is_none() && t.readiness_problem().is_some());
        t.note_lease_try(true);
        assert_eq!(t.readiness_problem(), None, "standing by is of use");
        t.set_acting(true);
        assert!(
            t.readiness_problem().is_some(),
            "it does not know the cluster yet"
        );
        t.note_pass(
            Duration::from_millis(3),
            [ReleasePhase::Failed, ReleasePhase::Failed].into_iter(),
        );
        assert_eq!(t.readiness_problem(), None);

        tokio::time::advance(MAX_ANSWER_AGE + Duration::from_secs(1)).await;
        t.note_lease_try(false);
        assert!(
            t.health_problem().is_none(),
            "a dead API is no reason to start anew"
        );
        assert!(
            t.readiness_problem()
                .is_some_and(|why| why.contains("31 s"))
        );
        tokio::time::advance(MAX_LEASE_TRY_AGE + Duration::from_secs(1)).await;
        assert!(t.health_problem().is_some_and(|why| why.contains("Lease")));
        t.note_lease_try(true);
        tokio::time::advance(MAX_PASS_AGE).await;
        t.note_lease_try(true);
        assert!(
            t.health_problem()
                .is_some_and(|why| why.contains("no pass"))
        );
        t.set_acting(false);
        assert!(t.health_problem().is_none());
    }

    #[test]
    fn the_text_has_the_numbers() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let text = runtime.block_on(async {
            let t = Telemetry::default();
            t.set_acting(true);
            t.note_pass(
                Duration::from_millis(3),
                [ReleasePhase::Failed, ReleasePhase::Failed].into_iter(),
            );
            t.count_step(&ReleaseStep::RemoveEnvironment("gray".into()), true);
            t.to_open_metrics()
        });
        for line in [
            "graylane_lease_held 1",
            "graylane_releases{phase=\"Failed\"} 2",
            "graylane_releases{phase=\"Running\"} 0",
            "graylane_step_errors_total{step=\"removeEnvironment\"} 1",
            "graylane_look_duration_seconds_count 1",
            "graylane_queue_length 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
