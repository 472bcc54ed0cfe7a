//! The reconcile loop. Each iteration reconciles the lane groups and releases that have changed or
//! are due; reconciling too often does no harm. Jobs only wait for jobs that share something with
//! them, so slow reads and writes of one App do not hold up another App.

mod job;
mod memory;
mod schedule;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};
use reconcile::{
    backoff::BackoffRange,
    queue::{Outcome, WorkQueue},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Options, act, adopted,
    cache::Cache,
    change_queue::ChangeQueue,
    lanes::{self, GroupOutcome},
    observe,
    probes::Probes,
    prune,
};
use crate::{
    api::{App, Release, ReleasePhase, ReleaseStatus},
    cluster::error,
    domain::workflow::{Decision, StepFailure, decide_steps},
};
use job::{Job, JobScope};
use memory::{Memory, StepBackoff};

/// Maximum number of concurrent jobs; most of the time they wait for the API.
const MAX_CONCURRENT_JOBS: usize = 16;
/// A job that takes longer is cancelled and tried again a little later.
const JOB_TIMEOUT: Duration = Duration::from_secs(60);
/// Changes within this time are handled together.
const COALESCE_DELAY: Duration = Duration::from_millis(5);
/// Longest time between passes, to find what no watch reports.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time between passes for a release that waits for a person.
const WAITING_RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// Back-off after a failed step, or a lane group that was refused.
const STEP_BACKOFF: BackoffRange = BackoffRange {
    first: Duration::from_millis(500),
    max: Duration::from_secs(20),
};
/// Pause before pruning after a change, and between passes when many releases are pruned, so that
/// pruning does not delay running releases.
const PRUNE_DELAY: Duration = Duration::from_secs(2);
/// Back-off if pruning is refused.
const PRUNE_BACKOFF: BackoffRange = BackoffRange {
    first: Duration::from_secs(30),
    max: Duration::from_secs(3600),
};
/// Back-off for a release that cannot be observed.
const OBSERVE_BACKOFF: BackoffRange = BackoffRange {
    first: Duration::from_millis(500),
    max: Duration::from_secs(5),
};
/// A refusal that lasts beyond a back-off of this length counts as permanent.
const FORBIDDEN_AFTER: Duration = Duration::from_secs(4);

pub(super) struct Reconciler {
    options: Options,
    cache: Cache,
    probes: Probes,
    wake: Arc<ChangeQueue>,
    memory: Mutex<Memory>,
}

impl Reconciler {
    pub(super) fn new(
        options: &Options,
        cache: Cache,
        probes: Probes,
        wake: &Arc<ChangeQueue>,
    ) -> Self {
        let now = Instant::now();
        let memory = Mutex::new(Memory::starting_at(now));
        Self {
            options: options.clone(),
            cache,
            probes,
            wake: Arc::clone(wake),
            memory,
        }
    }

    /// The lock is never held across an await.
    fn lock_memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn run_loop(self, stop: &CancellationToken) {
        let mut queue = WorkQueue::default();
        queue.add_at(Job::Prune, Instant::now());
        let mut busy = FuturesUnordered::new();
        loop {
            let next = self.schedule_jobs(&mut queue);
            while busy.len() < MAX_CONCURRENT_JOBS
                && let Some((job, load)) = queue.take_next()
            {
                busy.push(self.run_job(job, load));
            }
            if queue.is_idle() {
                self.report_pass(Duration::ZERO);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Some((job, outcome)) = busy.next() => {
                    let pause = queue.finish(&job, outcome, Instant::now());
                    if let (Job::Prune, Some(pause)) = (job, pause) {
                        tracing::warn!("pruning is tried again in {} s", pause.as_secs());
                    }
                }
                () = self.wake.wait_for_change() => sleep(COALESCE_DELAY).await,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Runs one job, with a timeout.
    async fn run_job(&self, job: Job, load: JobScope) -> (Job, Outcome) {
        let began = Instant::now();
        let look = async {
            match &job {
                Job::Adopted => {
                    adopted::label_adopted_pods(&self.options, &self.cache, &load.changed).await;
                    Outcome::Done
                }
                Job::Group(name) => self.reconcile_group(name).await,
                Job::App(app) => {
                    self.reconcile_app(app, &load.releases).await;
                    Outcome::Done
                }
                Job::Prune => self.prune_releases().await,
            }
        };
        let outcome = timeout(JOB_TIMEOUT, look).await.unwrap_or_else(|_| {
            tracing::warn!(
                ?job,
                "the API has not answered for {} s: tried again",
                JOB_TIMEOUT.as_secs()
            );
            match &job {
                Job::Adopted => Outcome::Done,
                Job::Group(_) | Job::Prune => Outcome::RequeueAfter(OBSERVE_BACKOFF.max),
                Job::App(_) => {
                    let again = Instant::now() + OBSERVE_BACKOFF.max;
                    let mut memory = self.lock_memory();
                    for uid in &load.releases {
                        memory.release(uid).due = Some(again);
                    }
                    Outcome::Done
                }
            }
        });
        self.report_pass(began.elapsed());
        (job, outcome)
    }

    fn report_pass(&self, took: Duration) {
        let phases = self.cache.releases.list();
        let phases = phases
            .iter()
            .map(|r| r.status.as_ref().map(|s| s.phase).unwrap_or_default());
        self.options.telemetry.note_pass(took, phases);
    }

    #[tracing::instrument(level = "debug", skip_all, fields(group = name))]
    async fn reconcile_group(&self, name: &str) -> Outcome {
        let Some(group) = self.cache.groups.get_named(&self.options.namespace, name) else {
            return Outcome::Done;
        };
        let looked = lanes::reconcile_lane_group(&self.options, &self.cache, &group).await;
        if let Err(why) = &looked {
            tracing::warn!(group = name, "lanes: {}", error::describe_error(why));
        }
        match looked {
            Ok(GroupOutcome {
                again,
                refused: false,
            }) => Outcome::RequeueAfter(again.unwrap_or(RESYNC_INTERVAL).min(RESYNC_INTERVAL)),
            // When somebody fixes it, a watch event triggers the next pass.
            _ => Outcome::Failed(STEP_BACKOFF),
        }
    }

    /// Deletes some of the finished releases that no App keeps.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn prune_releases(&self) -> Outcome {
        match prune::prune_releases(&self.options, &self.cache).await {
            Ok(prune::PruneOutcome { more: true }) => Outcome::RequeueAfter(PRUNE_DELAY),
            Ok(prune::PruneOutcome { more: false }) => Outcome::RequeueAfter(RESYNC_INTERVAL),
            Err(why) => {
                tracing::warn!("finished releases are not pruned: {why}");
                Outcome::Failed(PRUNE_BACKOFF)
            }
        }
    }

    /// Reconciles these releases of an App.
    #[tracing::instrument(level = "debug", skip_all, fields(app))]
    async fn reconcile_app(&self, app: &str, uids: &BTreeSet<String>) {
        let mut done = BTreeSet::new();
        // Reads the state again each time: a release that has just taken an environment holds it.
        loop {
            let all = self.active_releases();
            let next = all.iter().find(|r| {
                let uid = r.uid().unwrap_or_default();
                r.spec.app == app && uids.contains(&uid) && !done.contains(&uid)
            });
            let Some(release) = next else { return };
            let uid = release.uid().unwrap_or_default();
            let others: Vec<&Release> = all
                .iter()
                .map(|r| &**r)
                .filter(|r| r.uid() != release.uid())
                .collect();
            let again = self.reconcile_release(release, &others).await;
            self.lock_memory().release(&uid).due = Some(again);
            done.insert(uid);
        }
    }

    /// Releases that are not over, oldest first: the oldest gets an environment first.
    fn active_releases(&self) -> Vec<Arc<Release>> {
        let mut active = self.cache.releases.list();
        active.retain(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()));
        active.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
        active
    }

    #[tracing::instrument(level = "info", skip_all, fields(release = release.metadata.name, app = release.spec.app))]
    async fn reconcile_release(&self, release: &Release, others: &[&Release]) -> Instant {
        let uid = release.uid().unwrap_or_default();
        let retries = &release.spec.control.retry;
        let wrong = self
            .lock_memory()
            .release(&uid)
            .trouble
            .clone()
            .filter(|w| w.retries == *retries);
        let told = wrong.as_ref().map(|w| &w.trouble);
        let decision = match self.observe_and_decide(release, others, told).await {
            // Watches of different kinds are not ordered. Do not fail because of an App that was
            // fixed meanwhile.
            Ok(decision)
                if is_new_failure(release, &decision) && self.app_moved_on(release).await =>
            {
                self.observe_and_decide(release, others, told).await
            }
            decided => decided,
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(why) => return Instant::now() + self.report_unobservable(release, &why).await,
        };
        self.lock_memory().release(&uid).unobserved = 0;
        let look_again = decision.look_again.and_then(|d| Duration::try_from(d).ok());
        let rests = matches!(
            decision.status.phase,
            ReleasePhase::Waiting | ReleasePhase::Paused | ReleasePhase::Failed
        );
        let idle = if rests {
            WAITING_RESYNC_INTERVAL
        } else {
            RESYNC_INTERVAL
        };
        let mut next = Instant::now() + look_again.unwrap_or(idle).min(idle);
        match self.write_status(release, &decision).await {
            Ok(true) => {}
            // Somebody else wrote in between: the watch triggers another pass.
            Ok(false) => return Instant::now() + STEP_BACKOFF.first,
            Err(why) => {
                tracing::warn!(
                    release = release.name_any(),
                    "status: {}",
                    error::describe_error(&why)
                );
                return Instant::now() + STEP_BACKOFF.first;
            }
        }
        if let Some(wrong) = wrong.as_ref().filter(|w| w.at > Instant::now()) {
            return next.min(wrong.at);
        }
        let steps = &decision.steps;
        let taken =
            act::execute_steps(&self.options, &self.cache, &self.probes, release, steps).await;
        match taken {
            Ok(()) => {
                if self.lock_memory().release(&uid).trouble.take().is_some() {
                    next = next.min(Instant::now() + COALESCE_DELAY);
                }
                // Changes of objects without a watch trigger no pass.
                if !steps.is_empty() {
                    next = next.min(Instant::now() + STEP_BACKOFF.first);
                }
                next
            }
            Err(failed) => {
                self.back_off(release, failed, wrong);
                // One pass soon, so that the status reports the failure.
                Instant::now() + COALESCE_DELAY
            }
        }
    }

    /// Remembers a failed step, and when to try it again. `before` is its last failure.
    fn back_off(&self, release: &Release, failed: act::FailedAttempt, before: Option<StepBackoff>) {
        let act::FailedAttempt {
            mut trouble,
            wait,
            refused,
        } = failed;
        tracing::warn!(release = release.name_any(), "{}", trouble.message);
        let pause = before.map_or(STEP_BACKOFF.first, |w| (w.pause * 2).min(STEP_BACKOFF.max));
        trouble.permanent |= refused && pause > FORBIDDEN_AFTER;
        let at = Instant::now() + wait.map_or(pause, |wait| wait.max(pause));
        let uid = release.uid().unwrap_or_default();
        self.lock_memory().release(&uid).trouble = Some(StepBackoff {
            trouble,
            at,
            pause,
            retries: release.spec.control.retry.clone(),
        });
    }

    /// Reports a failure to observe if it lasts. Returns the back-off.
    #[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
    async fn report_unobservable(&self, release: &Release, why: &kube::Error) -> Duration {
        let words = format!("cannot be read: {}", error::describe_error(why));
        tracing::warn!(release = release.name_any(), "{words}");
        let uid = release.uid().unwrap_or_default();
        let before = {
            let mut memory = self.lock_memory();
            let failures = &mut memory.release(&uid).unobserved;
            std::mem::replace(failures, failures.saturating_add(1))
        };
        if before > 0 {
            let status = release.status.clone().unwrap_or_default();
            let decision = Decision {
                status: ReleaseStatus {
                    message: Some(words),
                    ..status
                },
                ..Decision::default()
            };
            // If reads fail, this write may fail too.
            let _ = self.write_status(release, &decision).await;
        }
        OBSERVE_BACKOFF.pause(before)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn observe_and_decide(
        &self,
        release: &Release,
        others: &[&Release],
        trouble: Option<&StepFailure>,
    ) -> kube::Result<Decision> {
        let facts = observe::gather_facts(&self.options, &self.cache, release).await?;
        let uid = release.uid().unwrap_or_default();
        let now = Timestamp::now();
        let (mut timers, rendered, clock) = {
            let mut memory = self.lock_memory();
            let clock = memory.began.elapsed();
            let known = memory.release(&uid);
            known.rolled = facts.rolled_workloads().cloned().collect();
            (
                std::mem::take(&mut known.timers),
                Arc::clone(&known.rendered),
                clock,
            )
        };
        timers.track_status(
            release.status.as_ref().unwrap_or(&ReleaseStatus::default()),
            clock,
            now,
        );
        let probes = self.probes.last_results(&uid);
        let approvals = facts.approvals();
        let known = (&timers, &*rendered, clock, now);
        let observed =
            facts.as_observed(release, others, &approvals, probes.as_ref(), trouble, known);
        let decision = observe::run_blocking(|| decide_steps(&observed));
        timers.track_status(&decision.status, clock, now);
        let revision = decision.status.revision.as_ref();
        if let Some(app) = facts
            .app()
            .filter(|_| release.status.as_ref().and_then(|s| s.revision.as_ref()) != revision)
        {
            // The revision must exist before a release names it.
            self.cache
                .revisions
                .ensure_revision(&self.options, app, &self.cache.releases.list())
                .await?;
        }
        let mut memory = self.lock_memory();
        let known = memory.release(&uid);
        known.timers = timers;
        known.places = facts.into_remote_namespaces();
        Ok(decision)
    }

    /// Reads the App. Returns whether it differs from the cached one, and caches it.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn app_moved_on(&self, release: &Release) -> bool {
        let api: Api<App> = Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let Ok(app) = api.get(&release.spec.app).await else {
            return false;
        };
        let known = self
            .cache
            .apps
            .get_named(&self.options.namespace, &release.spec.app);
        let moved_on = known.is_none_or(|k| k.resource_version() != app.resource_version());
        self.cache.apps.record_write(&app);
        moved_on
    }

    /// Writes the status if it changed. Returns false if the Release has changed meanwhile.
    #[tracing::instrument(level = "debug", skip_all, fields(release = release.metadata.name))]
    async fn write_status(&self, release: &Release, decision: &Decision) -> kube::Result<bool> {
        if release.status.as_ref() == Some(&decision.status) {
            return Ok(true);
        }
        let api: Api<Release> =
            Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let mut new = release.clone();
        new.status = Some(decision.status.clone());
        new.metadata.managed_fields = None;
        match api
            .replace_status(&release.name_any(), &PostParams::default(), &new)
            .await
        {
            Ok(written) => {
                self.cache.releases.record_write(&written);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// Whether the decision fails the release in a new way.
fn is_new_failure(release: &Release, decision: &Decision) -> bool {
    decision.status.phase == ReleasePhase::Failed
        && release.status.as_ref() != Some(&decision.status)
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use kube::core::Status;
    use serde_json::json;
    use tokio_util::task::TaskTracker;

    use super::*;

    pub(super) fn release(app: &str, uid: &str) -> Release {
        let spec = json!({"app": app, "stage": "s"});
        let mut release = Release::new(&format!("{app}-1"), serde_json::from_value(spec).unwrap());
        release.metadata.uid = Some(uid.into());
        release
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_looked_at_for_longer_is_told() {
        let rig = crate::engine::tests::Rig::new().await;
        let api = rig.api::<Release>();
        let release = api
            .create(&PostParams::default(), &release("a", ""))
            .await
            .unwrap();
        let (wake, stop) = (Arc::new(ChangeQueue::default()), CancellationToken::new());
        let probes = Probes::new(
            rig.options.prober.clone(),
            Arc::clone(&wake),
            TaskTracker::new(),
            stop,
        );
        let looker = Reconciler::new(&rig.options, rig.cache, probes, &wake);
        let why = kube::Error::Api(Box::new(
            Status::failure("etcd is full", "InternalError").with_code(500),
        ));
        let told = async || api.get("a-1").await.unwrap().status.and_then(|s| s.message);
        let mut pauses = vec![];
        for message in [None, Some("cannot be read: etcd is full".to_owned())] {
            pauses.push(looker.report_unobservable(&release, &why).await);
            assert_eq!(told().await, message);
        }
        assert!(
            pauses[0] < pauses[1]
                && looker.report_unobservable(&release, &why).await <= OBSERVE_BACKOFF.max
        );
    }
}
