//! One pass over one release, stage by stage:
//!
//! ```text
//! observe ─▶ decide ─▶ write the status ─▶ take the steps ─▶ requeue
//! ```
//!
//! [`ReleasePass::run_stages`] is that line. What ends a pass early is a [`PassEnd`], and
//! [`ReleasePass::requeue_after`] says what becomes of each.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams};
use reconcile::backoff::BackoffRange;
use tokio::time::Instant;

use super::{COALESCE_DELAY, RESYNC_INTERVAL, Reconciler, STEP_BACKOFF, memory::StepBackoff};
use crate::{
    api::{App, Release, ReleasePhase, ReleaseStatus, Uid},
    cluster::error,
    domain::workflow::{Decision, Observed, ReleaseFacts, ReleaseStep, StepFailure, decide_steps},
    engine::{
        act::{StepError, StepRunner},
        observe::{self, Observation},
    },
};

/// Longest time between passes for a release that waits for a person.
const WAITING_RESYNC_INTERVAL: Duration = Duration::from_mins(5);
/// A refusal that lasts beyond a back-off of this length counts as permanent.
const FORBIDDEN_AFTER: Duration = Duration::from_secs(4);
/// Back-off for a release that cannot be observed.
pub(super) const OBSERVE_BACKOFF: BackoffRange = BackoffRange {
    first: Duration::from_millis(500),
    max: Duration::from_secs(5),
};

/// One pass over one release.
pub(super) struct ReleasePass<'a> {
    engine: &'a Reconciler,
    release: &'a Release,
    uid: Uid,
    /// All other releases that are not over.
    others: &'a [&'a Release],
    /// Failure of the last try of its steps, unless a person has asked for a retry since.
    backoff: Option<StepBackoff>,
}

/// Why a pass ends before its steps are taken.
enum PassEnd {
    /// The release cannot be observed.
    Unobservable(kube::Error),
    /// Somebody else has written the Release meanwhile: the watch triggers another pass.
    StatusConflict,
    /// The server did not take the status.
    StatusRefused(kube::Error),
    /// The steps failed a while ago: they are not tried again before then.
    BacksOff(Instant),
    /// A step failed.
    StepFailed(Box<StepError>),
}

impl<'a> ReleasePass<'a> {
    pub(super) fn begin(
        engine: &'a Reconciler,
        release: &'a Release,
        others: &'a [&'a Release],
    ) -> Self {
        let uid = Uid::from_meta(&release.metadata);
        let retries = &release.spec.control.retry;
        let backoff = engine.lock_memory().release(&uid).backoff.clone();
        Self {
            engine,
            release,
            uid,
            others,
            backoff: backoff.filter(|b| b.retries == *retries),
        }
    }

    /// Runs the pass. Returns when the release is due again although nothing changes.
    #[tracing::instrument(name = "reconcile_release", level = "info", skip_all, fields(release = self.release.metadata.name, app = self.release.spec.app))]
    pub(super) async fn run(self) -> Instant {
        match self.run_stages().await {
            Ok(due) => due,
            Err(end) => self.requeue_after(end).await,
        }
    }

    async fn run_stages(&self) -> Result<Instant, PassEnd> {
        let decision = self.decide().await?;
        let due = Instant::now() + longest_rest(&decision);
        self.write_status(&decision.status).await?;
        self.check_backoff(due)?;
        self.take_steps(&decision.steps).await?;
        Ok(due.min(self.due_after(&decision.steps)))
    }

    /// Observes the release and decides about it.
    async fn decide(&self) -> Result<Decision, PassEnd> {
        let mut decision = self.observe_and_decide().await?;
        // Watches of different kinds are not ordered. Do not fail because of an App that was fixed
        // meanwhile.
        if self.is_new_failure(&decision.status) && self.app_moved_on().await {
            decision = self.observe_and_decide().await?;
        }
        self.engine.lock_memory().release(&self.uid).unobserved = 0;
        Ok(decision)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    async fn observe_and_decide(&self) -> Result<Decision, PassEnd> {
        let Reconciler { options, cache, .. } = self.engine;
        let observation = observe::observe_release(options, cache, self.release)
            .await
            .map_err(PassEnd::Unobservable)?;
        let decision = self.decide_from(&observation);
        self.ensure_revision(&observation.facts, &decision.status)
            .await
            .map_err(PassEnd::Unobservable)?;
        Ok(decision)
    }

    /// Decides from what was observed and what the engine remembers, and remembers the timers.
    fn decide_from(&self, observation: &Observation) -> Decision {
        let Observation {
            facts,
            rolled,
            remote_namespaces,
        } = observation;
        let now = Timestamp::now();
        let (mut timers, rendered, clock) = {
            let mut memory = self.engine.lock_memory();
            let clock = memory.began.elapsed();
            let known = memory.release(&self.uid);
            known.rolled = rolled.iter().cloned().collect();
            known.remote_namespaces.clone_from(remote_namespaces);
            let timers = std::mem::take(&mut known.timers);
            (timers, Arc::clone(&known.rendered), clock)
        };
        let status = self.release.status.clone().unwrap_or_default();
        timers.track_status(&status, clock, now);
        let probes = self.engine.probes.last_results(&self.uid);
        let observed = Observed {
            release: self.release,
            others: self.others,
            facts,
            probes: probes.as_ref(),
            trouble: self.backoff.as_ref().map(|b| &b.trouble),
            timers: &timers,
            rendered: &rendered,
            clock,
            now,
        };
        let decision = observe::run_blocking(|| decide_steps(&observed));
        timers.track_status(&decision.status, clock, now);
        self.engine.lock_memory().release(&self.uid).timers = timers;
        decision
    }

    /// Creates the revision that the status is the first to name: it must exist before.
    async fn ensure_revision(
        &self,
        facts: &ReleaseFacts,
        status: &ReleaseStatus,
    ) -> kube::Result<()> {
        let named = self
            .release
            .status
            .as_ref()
            .and_then(|s| s.revision.as_ref());
        let app = facts.app.as_ref().ok();
        let Some(app) = app.filter(|_| named != status.revision.as_ref()) else {
            return Ok(());
        };
        let Reconciler { options, cache, .. } = self.engine;
        cache
            .revisions
            .ensure_revision(options, app, &cache.releases.list())
            .await
    }

    /// Whether this status fails the release in a new way.
    fn is_new_failure(&self, status: &ReleaseStatus) -> bool {
        status.phase == ReleasePhase::Failed && self.release.status.as_ref() != Some(status)
    }

    /// Reads the App. Returns whether it differs from the cached one, and caches it.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn app_moved_on(&self) -> bool {
        let Reconciler { options, cache, .. } = self.engine;
        let api: Api<App> = Api::namespaced(options.client.clone(), &options.namespace);
        let Ok(app) = api.get(&self.release.spec.app).await else {
            return false;
        };
        let known = cache
            .apps
            .get_named(&options.namespace, &self.release.spec.app);
        let moved_on = known.is_none_or(|k| k.resource_version() != app.resource_version());
        cache.apps.record_write(&app);
        moved_on
    }

    /// Writes the status if it changed.
    #[tracing::instrument(level = "debug", skip_all, fields(release = self.release.metadata.name))]
    async fn write_status(&self, status: &ReleaseStatus) -> Result<(), PassEnd> {
        if self.release.status.as_ref() == Some(status) {
            return Ok(());
        }
        let Reconciler { options, cache, .. } = self.engine;
        let api: Api<Release> = Api::namespaced(options.client.clone(), &options.namespace);
        let mut release = self.release.clone();
        release.status = Some(status.clone());
        release.metadata.managed_fields = None;
        let written = api
            .replace_status(&release.name_any(), &PostParams::default(), &release)
            .await;
        match written {
            Ok(written) => {
                cache.releases.record_write(&written);
                Ok(())
            }
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
                Err(PassEnd::StatusConflict)
            }
            Err(why) => Err(PassEnd::StatusRefused(why)),
        }
    }

    /// Whether the steps may be tried now; the release is due at `due` in any case.
    fn check_backoff(&self, due: Instant) -> Result<(), PassEnd> {
        match &self.backoff {
            Some(backoff) if backoff.at > Instant::now() => {
                Err(PassEnd::BacksOff(due.min(backoff.at)))
            }
            _ => Ok(()),
        }
    }

    async fn take_steps(&self, steps: &[ReleaseStep]) -> Result<(), PassEnd> {
        let Reconciler {
            options,
            cache,
            probes,
            ..
        } = self.engine;
        let runner = StepRunner {
            options,
            cache,
            probes,
            release: self.release,
        };
        runner
            .execute_steps(steps)
            .await
            .map_err(|failed| PassEnd::StepFailed(Box::new(failed)))
    }

    /// When the release is due at the latest, now that these steps are taken.
    fn due_after(&self, steps: &[ReleaseStep]) -> Instant {
        let failed_before = self
            .engine
            .lock_memory()
            .release(&self.uid)
            .backoff
            .take()
            .is_some();
        let rest = match (failed_before, steps.is_empty()) {
            // One pass soon, so that the status no longer reports the failure.
            (true, _) => COALESCE_DELAY,
            // Changes of objects without a watch trigger no pass.
            (false, false) => STEP_BACKOFF.first,
            (false, true) => WAITING_RESYNC_INTERVAL,
        };
        Instant::now() + rest
    }

    /// When the release is due again after a pass that ended early.
    async fn requeue_after(&self, end: PassEnd) -> Instant {
        let pause = match end {
            PassEnd::BacksOff(until) => return until,
            PassEnd::Unobservable(why) => self.report_unobservable(&why).await,
            PassEnd::StatusConflict => STEP_BACKOFF.first,
            PassEnd::StatusRefused(why) => {
                let why = error::describe_error(&why);
                tracing::warn!(release = self.release.name_any(), "status: {why}");
                STEP_BACKOFF.first
            }
            PassEnd::StepFailed(failed) => {
                self.back_off(&failed);
                // One pass soon, so that the status reports the failure.
                COALESCE_DELAY
            }
        };
        Instant::now() + pause
    }

    /// Reports a failure to observe if it lasts. Returns the back-off.
    #[tracing::instrument(level = "debug", skip_all, fields(release = self.release.metadata.name))]
    async fn report_unobservable(&self, why: &kube::Error) -> Duration {
        let words = format!("cannot be read: {}", error::describe_error(why));
        tracing::warn!(release = self.release.name_any(), "{words}");
        let before = {
            let mut memory = self.engine.lock_memory();
            let failures = &mut memory.release(&self.uid).unobserved;
            std::mem::replace(failures, failures.saturating_add(1))
        };
        if before > 0 {
            let status = ReleaseStatus {
                message: Some(words),
                ..self.release.status.clone().unwrap_or_default()
            };
            // If reads fail, this write may fail too.
            let _ = self.write_status(&status).await;
        }
        OBSERVE_BACKOFF.pause(before)
    }

    /// Remembers a failed step, and when to try it again.
    fn back_off(&self, failed: &StepError) {
        tracing::warn!(release = self.release.name_any(), "{failed}");
        let pause = self
            .backoff
            .as_ref()
            .map_or(STEP_BACKOFF.first, |b| (b.pause * 2).min(STEP_BACKOFF.max));
        let lasts = failed.is_refused() && pause > FORBIDDEN_AFTER;
        let trouble = StepFailure {
            message: failed.to_string(),
            permanent: lasts || failed.is_permanent(),
        };
        let at = Instant::now() + failed.wait().map_or(pause, |wait| wait.max(pause));
        self.engine.lock_memory().release(&self.uid).backoff = Some(StepBackoff {
            trouble,
            at,
            pause,
            retries: self.release.spec.control.retry.clone(),
        });
    }
}

/// How long a release may rest after this decision although nothing changes.
fn longest_rest(decision: &Decision) -> Duration {
    let waits = matches!(
        decision.status.phase,
        ReleasePhase::Waiting | ReleasePhase::Paused | ReleasePhase::Failed
    );
    let longest = if waits {
        WAITING_RESYNC_INTERVAL
    } else {
        RESYNC_INTERVAL
    };
    let asked = decision.look_again.and_then(|d| Duration::try_from(d).ok());
    asked.unwrap_or(longest).min(longest)
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use kube::core::Status;
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    use super::*;
    use crate::engine::{
        change_queue::ChangeQueue, probes::Probes, reconcile::tests::release, tests::Rig,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_looked_at_for_longer_is_told() {
        let rig = Rig::new().await;
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
        let engine = Reconciler::new(
            &rig.options,
            Arc::new(rig.cache),
            probes,
            &wake,
            &crate::engine::lease::RenewalPace::default(),
        );
        let pass = ReleasePass::begin(&engine, &release, &[]);
        let why = kube::Error::Api(Box::new(
            Status::failure("etcd is full", "InternalError").with_code(500),
        ));
        let told = async || api.get("a-1").await.unwrap().status.and_then(|s| s.message);
        let mut pauses = vec![];
        for message in [None, Some("cannot be read: etcd is full".to_owned())] {
            pauses.push(pass.report_unobservable(&why).await);
            assert_eq!(told().await, message);
        }
        assert!(
            pauses[0] < pauses[1] && pass.report_unobservable(&why).await <= OBSERVE_BACKOFF.max
        );
    }
}
