//! The reconcile loop. Each iteration reconciles the lane groups and releases that have changed or
//! are due; reconciling too often does no harm. Jobs only wait for jobs that share something with
//! them, so slow reads and writes of one App do not hold up another App.

mod job;
mod memory;
mod release;
mod schedule;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use kube::ResourceExt;
use reconcile::{
    backoff::BackoffRange,
    queue::{Outcome, WorkQueue},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Options, adopted,
    cache::Cache,
    change_queue::ChangeQueue,
    lanes::{self, GroupOutcome},
    lease::RenewalPace,
    probes::Probes,
    prune,
};
use crate::{
    api::{Release, Uid},
    cluster::error,
};
use job::{Job, JobScope};
use memory::Memory;
use release::{OBSERVE_BACKOFF, ReleasePass};

/// Maximum number of concurrent jobs by the time that the API server takes to renew the Lease, the
/// longest first. Most of the time jobs wait for the server. One that answers late is overloaded:
/// fewer requests leave room for renewals.
const JOB_LIMITS: [(Duration, usize); 3] = [
    (Duration::from_secs(2), 1),
    (Duration::from_secs(1), 4),
    (Duration::from_millis(500), 8),
];
/// The same for a server that answers in time.
const MAX_CONCURRENT_JOBS: usize = 16;
/// A job that takes longer is cancelled and tried again a little later.
const JOB_TIMEOUT: Duration = Duration::from_mins(1);
/// Changes within this time are handled together.
const COALESCE_DELAY: Duration = Duration::from_millis(5);
/// Longest time between passes, to find what no watch reports.
const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
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
    max: Duration::from_hours(1),
};

pub(super) struct Reconciler {
    options: Options,
    cache: Arc<Cache>,
    probes: Probes,
    wake: Arc<ChangeQueue>,
    memory: Mutex<Memory>,
    pace: RenewalPace,
}

impl Reconciler {
    pub(super) fn new(
        options: &Options,
        cache: Arc<Cache>,
        probes: Probes,
        wake: &Arc<ChangeQueue>,
        pace: &RenewalPace,
    ) -> Self {
        let now = Instant::now();
        let memory = Mutex::new(Memory::starting_at(now));
        Self {
            options: options.clone(),
            cache,
            probes,
            wake: Arc::clone(wake),
            memory,
            pace: pace.clone(),
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
            while busy.len() < limit_jobs(self.pace.renewal_time())
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
    async fn reconcile_app(&self, app: &str, uids: &BTreeSet<Uid>) {
        let mut done = BTreeSet::new();
        // Reads the state again each time: a release that has just taken an environment holds it.
        loop {
            let all = self.active_releases();
            let next = all.iter().find(|r| {
                let uid = Uid::from_meta(&r.metadata);
                r.spec.app == app && uids.contains(&uid) && !done.contains(&uid)
            });
            let Some(release) = next else { return };
            let uid = Uid::from_meta(&release.metadata);
            let others: Vec<&Release> = all
                .iter()
                .map(|r| &**r)
                .filter(|r| r.uid() != release.uid())
                .collect();
            let due = ReleasePass::begin(self, release, &others).run().await;
            self.lock_memory().release(&uid).due = Some(due);
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
}

/// Maximum number of concurrent jobs when the Lease was renewed within this time.
fn limit_jobs(renewal: Duration) -> usize {
    let slow = JOB_LIMITS.iter().find(|(from, _)| renewal >= *from);
    slow.map_or(MAX_CONCURRENT_JOBS, |(_, most)| *most)
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn release(app: &str, uid: &str) -> Release {
        let spec = json!({"app": app, "stage": "s"});
        let mut release = Release::new(&format!("{app}-1"), serde_json::from_value(spec).unwrap());
        release.metadata.uid = Some(uid.into());
        release
    }

    #[test]
    fn the_slower_the_server_the_fewer_jobs_and_never_none() {
        let limits = [0, 499, 500, 999, 1000, 1999, 2000, 60_000]
            .map(|millis| limit_jobs(Duration::from_millis(millis)));
        assert_eq!(limits, [16, 16, 8, 8, 4, 4, 1, 1]);
    }
}
