//! The reconcile loop. Each iteration reconciles the lane groups and releases that have changed or
//! are due; reconciling too often does no harm. Jobs only wait for jobs that share something with
//! them, so slow reads and writes of one App do not hold up another App.

mod plan;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams, runtime::reflector::ObjectRef};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Options, act, adopted,
    cache::Cache,
    lanes::{self, Looked},
    observe,
    probes::Probes,
    prune,
    wake::Wake,
};
use crate::{
    api::{App, LaneGroup, Release, ReleasePhase, ReleaseStatus},
    cluster::error,
    domain::workflow::{Decision, Name, Rendered, Timers, Trouble, decide},
};
use queue::{Job, Load, Queue};

/// Maximum number of concurrent jobs; most of the time they wait for the API.
const AT_ONCE: usize = 16;
/// A job that takes longer is cancelled and tried again a little later.
const LIMIT: Duration = Duration::from_secs(60);
/// Changes within this time are handled together.
const GATHER: Duration = Duration::from_millis(5);
/// Longest time between passes, to find what no watch reports.
const IDLE: Duration = Duration::from_secs(30);
/// Longest time between passes for a release that waits for a person.
const REST: Duration = Duration::from_secs(300);
/// Back-off after a failed step: the first pause, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// Pause before pruning after a change, and between passes when many releases are pruned, so that
/// pruning does not delay running releases.
const PRUNE: Duration = Duration::from_secs(2);
/// Back-off if pruning is refused: the first pause, doubled up to the second.
const UNPRUNED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// Maximum back-off for a release that cannot be observed.
const BLIND: Duration = Duration::from_secs(5);
/// A refusal that lasts beyond a back-off of this length counts as permanent.
const REFUSED: Duration = Duration::from_secs(4);

pub(super) struct Looker {
    options: Options,
    cache: Cache,
    probes: Probes,
    wake: Arc<Wake>,
    memory: Mutex<Memory>,
}

/// What is known from earlier passes.
struct Memory {
    /// By release UID: failure of the last try.
    troubles: HashMap<String, Wrong>,
    /// Start of the engine's monotonic clock, and time of the last pass.
    began: Instant,
    last: Instant,
    /// By release UID: what has started when, on that clock.
    timers: HashMap<String, Timers>,
    /// By release UID: rendered objects that its approval lets through.
    rendered: HashMap<String, Arc<Rendered>>,
    /// When each release (by UID) and each lane group is due although nothing has changed.
    due: HashMap<String, Instant>,
    groups_due: HashMap<String, Instant>,
    /// Back-off of a group after a failure.
    groups_wrong: HashMap<String, Duration>,
    /// By release UID: back-off after it could not be observed.
    blind: HashMap<String, Duration>,
    /// By release UID: namespaces of remote clusters that it uses.
    places: HashMap<String, BTreeSet<String>>,
    /// Workloads that a release rolls out, and their App.
    rolled: HashMap<Name, String>,
    /// When pruning is due although nothing has changed, and its back-off after a failure.
    prune_due: Instant,
    prune_wrong: Option<Duration>,
}

/// Failure of the last try of a release's steps.
#[derive(Clone)]
struct Wrong {
    trouble: Trouble,
    /// When to try again, and how long that is after the failed try.
    at: Instant,
    pause: Duration,
    /// Requested retries at the time of the failure: a person's retry request ends the back-off.
    retries: BTreeMap<String, u32>,
}

impl Memory {
    /// Memory of an engine whose clock starts `now`.
    fn since(now: Instant) -> Self {
        Self {
            troubles: HashMap::new(),
            began: now,
            last: now,
            timers: HashMap::new(),
            rendered: HashMap::new(),
            due: HashMap::new(),
            groups_due: HashMap::new(),
            groups_wrong: HashMap::new(),
            blind: HashMap::new(),
            places: HashMap::new(),
            rolled: HashMap::new(),
            prune_due: now,
            prune_wrong: None,
        }
    }
}

impl Looker {
    pub(super) fn new(options: &Options, cache: Cache, probes: Probes, wake: &Arc<Wake>) -> Self {
        let now = Instant::now();
        let memory = Mutex::new(Memory::since(now));
        Self {
            options: options.clone(),
            cache,
            probes,
            wake: Arc::clone(wake),
            memory,
        }
    }

    /// The lock is never held across an await.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn run(self, stop: &CancellationToken) {
        let mut queue = Queue::default();
        let mut busy = FuturesUnordered::new();
        loop {
            let next = self.plan(&mut queue);
            while busy.len() < AT_ONCE
                && let Some((job, load)) = queue.take()
            {
                busy.push(self.work(job, load));
            }
            if queue.is_idle() {
                self.tell(Duration::ZERO);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Some(job) = busy.next() => queue.done(&job),
                () = self.wake.woken() => sleep(GATHER).await,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Runs one job, with a timeout.
    async fn work(&self, job: Job, load: Load) -> Job {
        let began = Instant::now();
        let look = async {
            match &job {
                Job::Adopted => adopted::look(&self.options, &self.cache, &load.changed).await,
                Job::Group(name) => self.group(name).await,
                Job::App(app) => self.app(app, &load.releases).await,
                Job::Prune => self.prune().await,
            }
        };
        if timeout(LIMIT, look).await.is_err() {
            tracing::warn!(
                ?job,
                "the API has not answered for {} s: tried again",
                LIMIT.as_secs()
            );
            let again = Instant::now() + BLIND;
            let mut memory = self.memory();
            match &job {
                Job::Adopted => {}
                Job::Group(name) => drop(memory.groups_due.insert(name.clone(), again)),
                Job::Prune => memory.prune_due = again,
                Job::App(_) => memory
                    .due
                    .extend(load.releases.iter().map(|uid| (uid.clone(), again))),
            }
        }
        self.tell(began.elapsed());
        job
    }

    fn tell(&self, took: Duration) {
        let phases = self.cache.releases.state();
        let phases = phases
            .iter()
            .map(|r| r.status.as_ref().map(|s| s.phase).unwrap_or_default());
        self.options.telemetry.looked(took, phases);
    }

    async fn group(&self, name: &str) {
        let key = ObjectRef::<LaneGroup>::new(name).within(&self.options.namespace);
        let Some(group) = self.cache.groups.get(&key) else {
            return;
        };
        let looked = lanes::look(&self.options, &self.cache, &group).await;
        if let Err(why) = &looked {
            tracing::warn!(group = name, "lanes: {}", error::words(why));
        }
        let mut memory = self.memory();
        let again = match looked {
            Ok(Looked {
                again,
                refused: false,
            }) => {
                memory.groups_wrong.remove(name);
                again.unwrap_or(IDLE).min(IDLE)
            }
            // When somebody fixes it, a watch event triggers the next pass.
            _ => {
                let pause = memory
                    .groups_wrong
                    .get(name)
                    .map_or(AGAIN.0, |p| (*p * 2).min(AGAIN.1));
                memory.groups_wrong.insert(name.to_owned(), pause);
                pause
            }
        };
        memory
            .groups_due
            .insert(name.to_owned(), Instant::now() + again);
    }

    /// Deletes some of the finished releases that no App keeps.
    async fn prune(&self) {
        let pruned = prune::look(&self.options, &self.cache).await;
        let mut memory = self.memory();
        let again = match pruned {
            Ok(prune::Pruned { more }) => {
                memory.prune_wrong = None;
                if more { PRUNE } else { IDLE }
            }
            Err(why) => {
                let pause = memory
                    .prune_wrong
                    .map_or(UNPRUNED.0, |p| (p * 2).min(UNPRUNED.1));
                tracing::warn!(
                    "finished releases are not pruned (tried again in {} s): {why}",
                    pause.as_secs()
                );
                memory.prune_wrong = Some(pause);
                pause
            }
        };
        memory.prune_due = Instant::now() + again;
    }

    /// Reconciles these releases of an App.
    async fn app(&self, app: &str, uids: &BTreeSet<String>) {
        let mut done = BTreeSet::new();
        // Reads the state again each time: a release that has just taken an environment holds it.
        loop {
            let all = self.active();
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
            let again = self.release(release, &others).await;
            self.memory().due.insert(uid.clone(), again);
            done.insert(uid);
        }
    }

    /// Releases that are not over, oldest first: the oldest gets an environment first.
    fn active(&self) -> Vec<Arc<Release>> {
        let mut active = self.cache.releases.state();
        active.retain(|r| !r.status.as_ref().is_some_and(|s| s.phase.is_final()));
        active.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
        active
    }

    async fn release(&self, release: &Release, others: &[&Release]) -> Instant {
        let uid = release.uid().unwrap_or_default();
        let retries = &release.spec.control.retry;
        let wrong = self
            .memory()
            .troubles
            .get(&uid)
            .filter(|w| w.retries == *retries)
            .cloned();
        let told = wrong.as_ref().map(|w| &w.trouble);
        let decision = match self.decided(release, others, told).await {
            // Watches of different kinds are not ordered. Do not fail because of an App that was
            // fixed meanwhile.
            Ok(decision) if fails(release, &decision) && self.app_moved_on(release).await => {
                self.decided(release, others, told).await
            }
            decided => decided,
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(why) => return Instant::now() + self.blind(release, &why).await,
        };
        self.memory().blind.remove(&uid);
        let look_again = decision.look_again.and_then(|d| Duration::try_from(d).ok());
        let rests = matches!(
            decision.status.phase,
            ReleasePhase::Waiting | ReleasePhase::Paused | ReleasePhase::Failed
        );
        let idle = if rests { REST } else { IDLE };
        let mut next = Instant::now() + look_again.unwrap_or(idle).min(idle);
        match self.written(release, &decision).await {
            Ok(true) => {}
            // Somebody else wrote in between: the watch triggers another pass.
            Ok(false) => return Instant::now() + AGAIN.0,
            Err(why) => {
                tracing::warn!(
                    release = release.name_any(),
                    "status: {}",
                    error::words(&why)
                );
                return Instant::now() + AGAIN.0;
            }
        }
        if let Some(wrong) = wrong.as_ref().filter(|w| w.at > Instant::now()) {
            return next.min(wrong.at);
        }
        match act::steps(
            &self.options,
            &self.cache,
            &self.probes,
            release,
            &decision.steps,
        )
        .await
        {
            Ok(()) => {
                if self.memory().troubles.remove(&uid).is_some() {
                    next = next.min(Instant::now() + GATHER);
                }
                // Changes of objects without a watch trigger no pass.
                if !decision.steps.is_empty() {
                    next = next.min(Instant::now() + AGAIN.0);
                }
            }
            Err(act::NotDone {
                mut trouble,
                wait,
                refused,
            }) => {
                tracing::warn!(release = release.name_any(), "{}", trouble.message);
                let pause = wrong.map_or(AGAIN.0, |w| (w.pause * 2).min(AGAIN.1));
                trouble.permanent |= refused && pause > REFUSED;
                let at = Instant::now() + wait.map_or(pause, |wait| wait.max(pause));
                self.memory().troubles.insert(
                    uid,
                    Wrong {
                        trouble,
                        at,
                        pause,
                        retries: retries.clone(),
                    },
                );
                // One pass soon, so that the status reports the failure.
                next = Instant::now() + GATHER;
            }
        }
        next
    }

    /// Reports a failure to observe if it lasts. Returns the back-off.
    async fn blind(&self, release: &Release, why: &kube::Error) -> Duration {
        let words = format!("cannot be looked at: {}", error::words(why));
        tracing::warn!(release = release.name_any(), "{words}");
        let uid = release.uid().unwrap_or_default();
        let before = self.memory().blind.get(&uid).copied();
        let pause = before.map_or(AGAIN.0, |p| (p * 2).min(BLIND));
        self.memory().blind.insert(uid, pause);
        if before.is_some() {
            let status = release.status.clone().unwrap_or_default();
            let decision = Decision {
                status: ReleaseStatus {
                    message: Some(words),
                    ..status
                },
                ..Decision::default()
            };
            // If reads fail, this write may fail too.
            let _ = self.written(release, &decision).await;
        }
        pause
    }

    async fn decided(
        &self,
        release: &Release,
        others: &[&Release],
        trouble: Option<&Trouble>,
    ) -> kube::Result<Decision> {
        let facts = observe::facts(&self.options, &self.cache, release).await?;
        let uid = release.uid().unwrap_or_default();
        let now = Timestamp::now();
        let (mut timers, rendered, clock) = {
            let mut memory = self.memory();
            memory.rolled.extend(
                facts
                    .rolled()
                    .map(|name| (name.clone(), release.spec.app.clone())),
            );
            let rendered = Arc::clone(memory.rendered.entry(uid.clone()).or_default());
            (
                memory.timers.remove(&uid).unwrap_or_default(),
                rendered,
                memory.began.elapsed(),
            )
        };
        timers.follow(
            release.status.as_ref().unwrap_or(&ReleaseStatus::default()),
            clock,
            now,
        );
        let probes = self.probes.seen(&uid);
        let approvals = facts.approvals();
        let known = (&timers, &*rendered, clock, now);
        let observed = facts.observed(release, others, &approvals, probes.as_ref(), trouble, known);
        let decision = observe::apart(|| decide(&observed));
        timers.follow(&decision.status, clock, now);
        let revision = decision.status.revision.as_ref();
        if let Some(app) = facts
            .app()
            .filter(|_| release.status.as_ref().and_then(|s| s.revision.as_ref()) != revision)
        {
            // The revision must exist before a release names it.
            self.cache
                .revisions
                .keep(&self.options, app, &self.cache.releases.state())
                .await?;
        }
        let mut memory = self.memory();
        memory.timers.insert(uid.clone(), timers);
        memory.places.insert(uid, facts.places());
        Ok(decision)
    }

    /// Reads the App. Returns whether it differs from the cached one, and caches it.
    async fn app_moved_on(&self, release: &Release) -> bool {
        let api: Api<App> = Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let Ok(app) = api.get(&release.spec.app).await else {
            return false;
        };
        let known = self
            .cache
            .apps
            .get(&ObjectRef::new(&release.spec.app).within(&self.options.namespace));
        let moved_on = known.is_none_or(|k| k.resource_version() != app.resource_version());
        self.cache.apps.remember(app);
        moved_on
    }

    /// Writes the status if it changed. Returns false if the Release has changed meanwhile.
    async fn written(&self, release: &Release, decision: &Decision) -> kube::Result<bool> {
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
                self.cache.releases.remember(written);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// Whether the decision fails the release in a new way.
fn fails(release: &Release, decision: &Decision) -> bool {
    decision.status.phase == ReleasePhase::Failed
        && release.status.as_ref() != Some(&decision.status)
}

#[cfg(test)]
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
        let (wake, stop) = (Arc::new(Wake::default()), CancellationToken::new());
        let probes = Probes::new(
            rig.options.prober.clone(),
            Arc::clone(&wake),
            TaskTracker::new(),
            stop,
        );
        let looker = Looker::new(&rig.options, rig.cache, probes, &wake);
        let why = kube::Error::Api(Box::new(
            Status::failure("etcd is full", "InternalError").with_code(500),
        ));
        let told = async || api.get("a-1").await.unwrap().status.and_then(|s| s.message);
        let mut pauses = vec![];
        for message in [None, Some("cannot be looked at: etcd is full".to_owned())] {
            pauses.push(looker.blind(&release, &why).await);
            assert_eq!(told().await, message);
        }
        assert!(pauses[0] < pauses[1] && looker.blind(&release, &why).await <= BLIND);
    }
}
