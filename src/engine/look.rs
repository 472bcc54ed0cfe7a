//! The loop: every wake-up is one look at those lane groups and releases that something has changed for, or whose
//! time has come. It asks for more rather than less: a look too many changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::{Api, ResourceExt, api::PostParams, runtime::reflector::ObjectRef};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Options, act, adopted,
    cache::Cache,
    lanes::{self, Looked},
    observe,
    probes::Probes,
    wake::{Key, Wake},
};
use crate::{
    api::{App, LaneGroup, Release, ReleasePhase, ReleaseStatus},
    cluster::error,
    domain::{
        routes::internal_gateway,
        workflow::{Decision, Name, Trouble, decide},
    },
};

/// Changes that come together are one look.
const GATHER: Duration = Duration::from_millis(5);
/// The longest without a look: what no watch tells is found out then.
const IDLE: Duration = Duration::from_secs(30);
/// The same for a release that waits for a person.
const REST: Duration = Duration::from_secs(300);
/// After a step that went wrong: the first pause, doubled up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// The longest pause before a release that cannot be looked at is looked at again.
const BLIND: Duration = Duration::from_secs(5);
/// What is still not permitted after a pause as long as this will not be.
const REFUSED: Duration = Duration::from_secs(4);

pub(super) struct Looker {
    options: Options,
    cache: Cache,
    probes: Probes,
    wake: Arc<Wake>,
    /// By release uid: what went wrong at the last try.
    troubles: HashMap<String, Wrong>,
    /// Looking since then without a gap, and the last look.
    awake: (Timestamp, Timestamp),
    /// When each release (by uid) and each lane group is looked at again though nothing has changed.
    due: HashMap<String, Instant>,
    groups_due: HashMap<String, Instant>,
    /// The pause after what went wrong at the last look at a group.
    groups_wrong: HashMap<String, Duration>,
    /// By release uid: the pause after it could not be looked at.
    blind: HashMap<String, Duration>,
    /// By release uid: the namespaces of other contexts that it looks at.
    places: HashMap<String, BTreeSet<String>>,
    /// Workloads that a release rolls, to its App.
    rolled: HashMap<Name, String>,
}

/// What went wrong at the last try of a release's steps.
#[derive(Clone)]
struct Wrong {
    trouble: Trouble,
    /// When they are tried again, and how long that is from the try.
    at: Instant,
    pause: Duration,
    /// As they were asked for then: a person who asks for another try gets one.
    retries: BTreeMap<String, u32>,
}

/// Whom a look concerns.
struct Concerned {
    changed: BTreeSet<Key>,
    /// Apps of which something changed, and those that share a window with them.
    apps: HashSet<String>,
    mates: HashSet<String>,
    now: Instant,
}

impl Concerned {
    fn is(&self, key: Key) -> bool {
        self.changed.contains(&key)
    }

    fn release(&self, release: &Release, due: Option<&Instant>) -> bool {
        due.is_none_or(|at| *at <= self.now)
            || self.is(Key::All)
            || self.apps.contains(&release.spec.app)
            || self.is(Key::Release(release.name_any()))
            || self.is(Key::Uid(release.uid().unwrap_or_default()))
    }

    fn group(&self, group: &LaneGroup, due: Option<&Instant>) -> bool {
        let serves = |service: &String| {
            let rest =
                |own: &str| service.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            group.spec.apps.iter().any(|a| rest(a.service()))
        };
        due.is_none_or(|at| *at <= self.now)
            || self.is(Key::All)
            || self.is(Key::Group(group.name_any()))
            || self.is(Key::Routes(group.name_any()))
            || self.is(Key::Class)
            || self.is(Key::Gateway(group.spec.entry.gateway.clone()))
            || self.is(Key::Gateway(internal_gateway(group)))
            || group.spec.apps.iter().any(|a| self.apps.contains(&a.app) || self.mates.contains(&a.app))
            || self.changed.iter().any(|k| matches!(k, Key::Service(service) if serves(service)))
    }
}

impl Looker {
    pub(super) fn new(options: &Options, cache: Cache, probes: Probes, wake: &Arc<Wake>) -> Self {
        let now = Timestamp::now();
        Self {
            options: options.clone(),
            cache,
            probes,
            wake: Arc::clone(wake),
            troubles: HashMap::new(),
            awake: (now, now),
            due: HashMap::new(),
            groups_due: HashMap::new(),
            groups_wrong: HashMap::new(),
            blind: HashMap::new(),
            places: HashMap::new(),
            rolled: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, stop: &CancellationToken) {
        let wake = Arc::clone(&self.wake);
        loop {
            let began = Instant::now();
            let Some(next) = stop.run_until_cancelled(self.look()).await else { return };
            let phases = self.cache.releases.state();
            let phases = phases.iter().map(|r| r.status.as_ref().map(|s| s.phase).unwrap_or_default());
            self.options.telemetry.looked(began.elapsed(), phases);
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake.woken() => sleep(GATHER).await,
                () = sleep_until(next) => {}
            }
        }
    }

    /// One look at all that changed or is due; answers when to look again though nothing has changed.
    async fn look(&mut self) -> Instant {
        let now = Timestamp::now();
        let (since, last) = self.awake;
        // The machine slept, or its clock was set.
        let gap = now < last || now.duration_since(last).unsigned_abs() > 2 * IDLE;
        self.awake = (if gap { now } else { since }, now);
        let all = self.cache.releases.state();
        let groups = self.cache.groups.state();
        let concerned = self.concerned(&all, &groups);
        adopted::look(&self.options, &self.cache, &concerned.changed).await;
        for group in &groups {
            if !concerned.group(group, self.groups_due.get(&group.name_any())) {
                continue;
            }
            let looked = lanes::look(&self.options, &self.cache, group).await;
            if let Err(why) = &looked {
                tracing::warn!(group = group.name_any(), "lanes: {}", error::words(why));
            }
            let again = match looked {
                Ok(Looked { again, refused: false }) => {
                    self.groups_wrong.remove(&group.name_any());
                    again.unwrap_or(IDLE).min(IDLE)
                }
                // What a hand does about it wakes us.
                _ => {
                    let before = self.groups_wrong.get(&group.name_any());
                    let pause = before.map_or(AGAIN.0, |p| (*p * 2).min(AGAIN.1));
                    self.groups_wrong.insert(group.name_any(), pause);
                    pause
                }
            };
            self.groups_due.insert(group.name_any(), Instant::now() + again);
        }
        let over = |r: &Release| r.status.as_ref().is_some_and(|s| s.phase.is_final());
        let mut active: Vec<&Arc<Release>> = all.iter().filter(|r| !over(r)).collect();
        // The one that came first gets an environment first.
        active.sort_by_key(|r| (r.creation_timestamp().map(|t| t.0), r.name_any()));
        for release in &active {
            let uid = release.uid().unwrap_or_default();
            if !concerned.release(release, self.due.get(&uid)) {
                continue;
            }
            // As they are after what this very look has written: who has just taken an environment holds it.
            let now = self.cache.releases.state();
            let others: Vec<&Release> =
                now.iter().map(|r| &**r).filter(|r| r.uid() != release.uid() && !over(r)).collect();
            let next = self.release(release, &others).await;
            self.due.insert(uid, next);
        }
        if self.due.len() > active.len() {
            let uids: HashSet<String> = active.iter().filter_map(|r| r.uid()).collect();
            self.due.retain(|uid, _| uids.contains(uid));
            self.troubles.retain(|uid, _| uids.contains(uid));
            self.blind.retain(|uid, _| uids.contains(uid));
            self.places.retain(|uid, _| uids.contains(uid));
            self.cache.elsewhere.keep(|name| self.places.values().any(|of| of.contains(name)));
            self.probes.keep(|uid| uids.contains(uid));
        }
        if self.groups_due.len() > groups.len() {
            self.groups_due.retain(|name, _| groups.iter().any(|g| g.name_any() == *name));
            self.groups_wrong.retain(|name, _| groups.iter().any(|g| g.name_any() == *name));
        }
        let next = self.due.values().chain(self.groups_due.values()).min().copied();
        next.unwrap_or_else(|| Instant::now() + IDLE).min(Instant::now() + IDLE)
    }

    fn concerned(&self, releases: &[Arc<Release>], groups: &[Arc<LaneGroup>]) -> Concerned {
        let changed = self.wake.take();
        let mut apps = HashSet::new();
        for key in &changed {
            match key {
                Key::App(app) => drop(apps.insert(app.clone())),
                Key::Workload(namespace, name) => {
                    apps.extend(self.rolled.get(&(namespace.clone(), name.clone())).cloned());
                }
                Key::Routes(name) => {
                    let group = groups.iter().find(|g| g.name_any() == *name);
                    apps.extend(group.iter().flat_map(|g| &g.spec.apps).map(|a| a.app.clone()));
                }
                _ => {}
            }
        }
        let windows: HashSet<&String> =
            releases.iter().filter(|r| apps.contains(&r.spec.app)).filter_map(|r| r.spec.window.as_ref()).collect();
        let mates = releases.iter().filter(|r| r.spec.window.as_ref().is_some_and(|w| windows.contains(w)));
        let mates = mates.map(|r| r.spec.app.clone()).collect();
        Concerned { changed, apps, mates, now: Instant::now() }
    }

    async fn release(&mut self, release: &Release, others: &[&Release]) -> Instant {
        let uid = release.uid().unwrap_or_default();
        let retries = &release.spec.control.retry;
        let wrong = self.troubles.get(&uid).filter(|w| w.retries == *retries).cloned();
        let told = wrong.as_ref().map(|w| &w.trouble);
        let decision = match self.decided(release, others, told).await {
            // Nothing fails by an App that has been mended meanwhile: watches do not tell in the order of writes.
            Ok(decision) if fails(release, &decision) && self.app_moved_on(release).await => {
                self.decided(release, others, told).await
            }
            decided => decided,
        };
        let decision = match decision {
            Ok(decision) => decision,
            Err(why) => return Instant::now() + self.blind(release, &why).await,
        };
        self.blind.remove(&uid);
        let look_again = decision.look_again.and_then(|d| Duration::try_from(d).ok());
        let rests =
            matches!(decision.status.phase, ReleasePhase::Waiting | ReleasePhase::Paused | ReleasePhase::Failed);
        let idle = if rests { REST } else { IDLE };
        let mut next = Instant::now() + look_again.unwrap_or(idle).min(idle);
        match self.written(release, &decision).await {
            Ok(true) => {}
            // Somebody wrote in between: the watch wakes us with what.
            Ok(false) => return Instant::now() + AGAIN.0,
            Err(why) => {
                tracing::warn!(release = release.name_any(), "status: {}", error::words(&why));
                return Instant::now() + AGAIN.0;
            }
        }
        if let Some(wrong) = wrong.as_ref().filter(|w| w.at > Instant::now()) {
            return next.min(wrong.at);
        }
        match act::steps(&self.options, &self.cache, &self.probes, release, &decision.steps).await {
            Ok(()) => {
                if self.troubles.remove(&uid).is_some() {
                    next = next.min(Instant::now() + GATHER);
                }
                // Of objects that nothing watches nobody tells what became of a step.
                if !decision.steps.is_empty() {
                    next = next.min(Instant::now() + AGAIN.0);
                }
            }
            Err(act::NotDone { mut trouble, refused }) => {
                tracing::warn!(release = release.name_any(), "{}", trouble.message);
                let pause = wrong.map_or(AGAIN.0, |w| (w.pause * 2).min(AGAIN.1));
                trouble.permanent |= refused && pause > REFUSED;
                let at = Instant::now() + pause;
                self.troubles.insert(uid, Wrong { trouble, at, pause, retries: retries.clone() });
                // Once at once, so that the status tells it.
                next = Instant::now() + GATHER;
            }
        }
        next
    }

    /// What lasts is told; answers when to look again.
    async fn blind(&mut self, release: &Release, why: &kube::Error) -> Duration {
        let words = format!("cannot be looked at: {}", error::words(why));
        tracing::warn!(release = release.name_any(), "{words}");
        let before = self.blind.get(&release.uid().unwrap_or_default()).copied();
        let pause = before.map_or(AGAIN.0, |p| (p * 2).min(BLIND));
        self.blind.insert(release.uid().unwrap_or_default(), pause);
        if before.is_some() {
            let status = release.status.clone().unwrap_or_default();
            let decision = Decision { status: ReleaseStatus { message: Some(words), ..status }, ..Decision::default() };
            // Where nothing can be asked nothing can be told.
            let _ = self.written(release, &decision).await;
        }
        pause
    }

    async fn decided(
        &mut self,
        release: &Release,
        others: &[&Release],
        trouble: Option<&Trouble>,
    ) -> kube::Result<Decision> {
        let facts = observe::facts(&self.options, &self.cache, release).await?;
        self.rolled.extend(facts.rolled().map(|name| (name.clone(), release.spec.app.clone())));
        let probes = self.probes.seen(&release.uid().unwrap_or_default());
        let times = (self.awake.0, Timestamp::now());
        let decision = decide(&facts.observed(release, others, &facts.approvals(), probes.as_ref(), trouble, times));
        self.places.insert(release.uid().unwrap_or_default(), facts.places());
        Ok(decision)
    }

    /// Whether the App is another than the one that is known; then it is known.
    async fn app_moved_on(&self, release: &Release) -> bool {
        let api: Api<App> = Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let Ok(app) = api.get(&release.spec.app).await else { return false };
        let known = self.cache.apps.get(&ObjectRef::new(&release.spec.app).within(&self.options.namespace));
        let moved_on = known.is_none_or(|k| k.resource_version() != app.resource_version());
        self.cache.apps.remember(app);
        moved_on
    }

    /// Writes the status, if it changes; false when the Release has moved on meanwhile.
    async fn written(&self, release: &Release, decision: &Decision) -> kube::Result<bool> {
        if release.status.as_ref() == Some(&decision.status) {
            return Ok(true);
        }
        let api: Api<Release> = Api::namespaced(self.options.client.clone(), &self.options.namespace);
        let mut new = release.clone();
        new.status = Some(decision.status.clone());
        new.metadata.managed_fields = None;
        match api.replace_status(&release.name_any(), &PostParams::default(), &new).await {
            Ok(written) => {
                self.cache.releases.remember(written);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(why) => Err(why),
        }
    }
}

/// It did not stand failed like this before.
fn fails(release: &Release, decision: &Decision) -> bool {
    decision.status.phase == ReleasePhase::Failed && release.status.as_ref() != Some(&decision.status)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;
    use tokio_util::task::TaskTracker;

    use super::*;

    fn release(app: &str, uid: &str) -> Release {
        let spec = json!({"app": app, "stage": "s"});
        let mut release = Release::new(&format!("{app}-1"), serde_json::from_value(spec).unwrap());
        release.metadata.uid = Some(uid.into());
        release
    }

    fn group(name: &str, app: &str) -> LaneGroup {
        let spec = json!({"entry": {"gateway": "edge", "routes": []}, "apps": [{"app": app, "port": 80}]});
        LaneGroup::new(name, serde_json::from_value(spec).unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_cannot_be_looked_at_for_longer_is_told() {
        let rig = crate::engine::tests::Rig::new().await;
        let api = rig.api::<Release>();
        let release = api.create(&PostParams::default(), &release("a", "")).await.unwrap();
        let (wake, stop) = (Arc::new(Wake::default()), CancellationToken::new());
        let probes = Probes::new(rig.options.prober.clone(), Arc::clone(&wake), TaskTracker::new(), stop);
        let mut looker = Looker::new(&rig.options, rig.cache, probes, &wake);
        let why = kube::Error::Api(Box::new(Status::failure("etcd is full", "InternalError").with_code(500)));
        let told = async || api.get("a-1").await.unwrap().status.and_then(|s| s.message);
        let mut pauses = vec![];
        for message in [None, Some("cannot be looked at: etcd is full".to_owned())] {
            pauses.push(looker.blind(&release, &why).await);
            assert_eq!(told().await, message);
        }
        assert!(pauses[0] < pauses[1] && looker.blind(&release, &why).await <= BLIND);
    }

    #[test]
    fn a_change_concerns_its_own_and_nobody_else() {
        let now = Instant::now();
        let later = now + IDLE;
        let (a, b) = (release("a", "u-a"), release("b", "u-b"));
        let (g, h) = (group("g", "a"), group("h", "b"));
        let whom = |keys: &[Key], apps: &[&str], mates: &[&str]| {
            let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
            let changed = keys.iter().cloned().collect();
            let c = Concerned { changed, apps: set(apps), mates: set(mates), now };
            [
                c.release(&a, Some(&later)),
                c.release(&b, Some(&later)),
                c.group(&g, Some(&later)),
                c.group(&h, Some(&later)),
            ]
        };
        assert_eq!(whom(&[], &[], &[]), [false; 4]);
        assert_eq!(whom(&[Key::All], &[], &[]), [true; 4]);
        assert_eq!(whom(&[], &["a"], &["a", "b"]), [true, false, true, true], "a window opens its lanes together");
        assert_eq!(whom(&[Key::Release("b-1".into())], &[], &[]), [false, true, false, false]);
        assert_eq!(whom(&[Key::Uid("u-a".into())], &[], &[]), [true, false, false, false]);
        for service in ["a", "a-gray"] {
            assert_eq!(whom(&[Key::Service(service.into())], &[], &[]), [false, false, true, false]);
        }
        assert_eq!(whom(&[Key::Service("ab".into())], &[], &[]), [false; 4]);
        assert_eq!(whom(&[Key::Group("h".into())], &[], &[]), [false, false, false, true]);
        assert_eq!(whom(&[Key::Gateway("edge".into())], &[], &[]), [false, false, true, true]);
        let due = Concerned { changed: BTreeSet::new(), apps: HashSet::new(), mates: HashSet::new(), now };
        assert!(due.release(&a, Some(&now)) && due.release(&a, None) && due.group(&g, None));
    }
}
