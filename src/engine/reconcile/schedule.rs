//! Decides what a change affects, and what is due.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use kube::ResourceExt;
use tokio::time::Instant;

use reconcile::queue::WorkQueue;

use super::{
    PRUNE_DELAY, RESYNC_INTERVAL, Reconciler,
    job::{Job, JobScope},
    memory::Memory,
};
use crate::{
    api::{LaneGroup, Release, Uid},
    domain::{routes::internal_gateway_name, world::ObjectKey},
    engine::change_queue::ChangeKey,
};

/// Changes that trigger reconciliation.
struct Triggers {
    changed: BTreeSet<ChangeKey>,
    /// Apps with changes, and Apps that share a window with them.
    apps: HashSet<String>,
    mates: HashSet<String>,
    now: Instant,
}

impl Triggers {
    fn has_key(&self, key: ChangeKey) -> bool {
        self.changed.contains(&key)
    }

    fn affects_release(&self, release: &Release, due: Option<Instant>) -> bool {
        due.is_none_or(|at| at <= self.now)
            || self.has_key(ChangeKey::All)
            || self.apps.contains(&release.spec.app)
            || self.has_key(ChangeKey::Release(release.name_any()))
            || self.has_key(ChangeKey::Uid(Uid::from_meta(&release.metadata)))
    }

    fn affects_group(&self, group: &LaneGroup) -> bool {
        let serves = |service: &String| {
            let rest = |own: &str| {
                service
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            group.spec.apps.iter().any(|a| rest(a.service()))
        };
        self.has_key(ChangeKey::All)
            || self.has_key(ChangeKey::Group(group.name_any()))
            || self.has_key(ChangeKey::Routes(group.name_any()))
            || self.has_key(ChangeKey::Class)
            || self.has_key(ChangeKey::Gateway(group.spec.entry.gateway.clone()))
            || self.has_key(ChangeKey::Gateway(internal_gateway_name(group)))
            || group
                .spec
                .apps
                .iter()
                .any(|a| self.apps.contains(&a.app) || self.mates.contains(&a.app))
            || self
                .changed
                .iter()
                .any(|k| matches!(k, ChangeKey::Service(service) if serves(service)))
    }
}

impl Triggers {
    /// `releases` provide the windows of Apps; `rolled` finds the Apps that roll out a workload.
    fn from_changes<'a>(
        changed: BTreeSet<ChangeKey>,
        releases: impl Iterator<Item = &'a Release> + Clone,
        groups: &[std::sync::Arc<LaneGroup>],
        rolled: impl Fn(&ObjectKey) -> Vec<String>,
    ) -> Self {
        let mut apps = HashSet::new();
        for key in &changed {
            match key {
                ChangeKey::App(app) => drop(apps.insert(app.clone())),
                ChangeKey::Workload(workload) => apps.extend(rolled(workload)),
                ChangeKey::Routes(name) => {
                    let group = groups.iter().find(|g| g.name_any() == *name);
                    apps.extend(
                        group
                            .iter()
                            .flat_map(|g| &g.spec.apps)
                            .map(|a| a.app.clone()),
                    );
                }
                _ => {}
            }
        }
        let windows: HashSet<&String> = releases
            .clone()
            .filter(|r| apps.contains(&r.spec.app))
            .filter_map(|r| r.spec.window.as_ref())
            .collect();
        let mates =
            releases.filter(|r| r.spec.window.as_ref().is_some_and(|w| windows.contains(w)));
        let mates = mates.map(|r| r.spec.app.clone()).collect();
        Self {
            changed,
            apps,
            mates,
            now: Instant::now(),
        }
    }
}

impl Reconciler {
    /// Queues everything that has changed or is due. Returns when the next pass is due although
    /// nothing changes.
    pub(super) fn schedule_jobs(&self, queue: &mut WorkQueue<Job, JobScope>) -> Instant {
        let now = Instant::now();
        let changed = self.wake.take_all();
        let all = self.cache.releases.list();
        let groups = self.cache.groups.list();
        let active = self.active_releases();
        let mut memory = self.lock_memory();
        memory.note_pass(now, 2 * RESYNC_INTERVAL);
        if !changed.is_empty() {
            let scope = JobScope {
                changed: changed.clone(),
                ..JobScope::default()
            };
            queue.add(Job::Adopted, scope);
        }
        let may_prune = changed.contains(&ChangeKey::History) || changed.contains(&ChangeKey::All);
        if may_prune && !queue.has_failed(&Job::Prune) {
            queue.add_at(Job::Prune, now + PRUNE_DELAY);
        }
        queue.add_due(now);
        let rolled = |name: &ObjectKey| {
            let uids: HashSet<&Uid> = memory.find_rollouts(name).collect();
            let of = active
                .iter()
                .filter(|r| uids.contains(&Uid::from_meta(&r.metadata)));
            of.map(|r| r.spec.app.clone()).collect()
        };
        let concerned = Triggers::from_changes(changed, all.iter().map(|r| &**r), &groups, rolled);
        for group in groups.iter().filter(|group| concerned.affects_group(group)) {
            queue.add(Job::Group(group.name_any()), JobScope::default());
        }
        // Until that pass is over, which sets the next due time.
        let later = Instant::now() + RESYNC_INTERVAL;
        queue_apps(queue, &mut memory, &concerned, &active, later);
        self.forget_finished(&mut memory, &active);
        self.wake
            .set_awaited(awaited_parts(&all, &active, &groups, &memory));
        let due = [memory.next_due(), queue.next_due()];
        due.into_iter().flatten().fold(later, Instant::min)
    }

    /// Drops what is remembered of releases that are over.
    fn forget_finished(&self, memory: &mut Memory, active: &[Arc<Release>]) {
        let uids: HashSet<Uid> = active.iter().map(|r| Uid::from_meta(&r.metadata)).collect();
        if memory.forget_finished(&uids) {
            self.cache
                .remote_clusters
                .retain_watched(|name| memory.uses_remote_namespace(name));
            self.probes.retain_releases(|uid| uids.contains(uid));
        }
    }
}

/// Apps and workloads whose pods a release or a lane group waits for: those whose change would make
/// [`Triggers`] queue something.
fn awaited_parts(
    all: &[Arc<Release>],
    active: &[Arc<Release>],
    groups: &[Arc<LaneGroup>],
    memory: &Memory,
) -> BTreeSet<ChangeKey> {
    let released = active.iter().map(|r| &r.spec.app);
    let apps: HashSet<&String> = groups
        .iter()
        .flat_map(|g| &g.spec.apps)
        .map(|a| &a.app)
        .chain(released)
        .collect();
    // A change of one App of a window concerns the others.
    let windows: HashSet<&String> = all
        .iter()
        .filter(|r| apps.contains(&r.spec.app))
        .filter_map(|r| r.spec.window.as_ref())
        .collect();
    let mates = all
        .iter()
        .filter(|r| r.spec.window.as_ref().is_some_and(|w| windows.contains(w)))
        .map(|r| &r.spec.app);
    let apps = apps.iter().copied().chain(mates);
    let workloads = memory.rolled_workloads();
    apps.map(|app| ChangeKey::App(app.clone()))
        .chain(workloads.cloned().map(ChangeKey::Workload))
        .collect()
}

/// Queues the Apps of the releases that are concerned, in order of creation as far as possible.
fn queue_apps(
    queue: &mut WorkQueue<Job, JobScope>,
    memory: &mut Memory,
    concerned: &Triggers,
    active: &[Arc<Release>],
    later: Instant,
) {
    let mut wanted: BTreeMap<&str, BTreeSet<Uid>> = BTreeMap::new();
    let mut order = vec![];
    for release in active {
        let uid = Uid::from_meta(&release.metadata);
        if concerned.affects_release(release, memory.due_at(&uid)) {
            memory.release(&uid).due = Some(later);
            if !wanted.contains_key(release.spec.app.as_str()) {
                order.push(release.spec.app.as_str());
            }
            wanted.entry(&release.spec.app).or_default().insert(uid);
        }
    }
    for app in order {
        let releases = wanted.remove(app).unwrap_or_default();
        queue.add(
            Job::App(app.to_owned()),
            JobScope {
                releases,
                ..JobScope::default()
            },
        );
    }
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::reconcile::tests::release;

    fn group(name: &str, app: &str) -> LaneGroup {
        let spec =
            json!({"entry": {"gateway": "edge", "routes": []}, "apps": [{"app": app, "port": 80}]});
        LaneGroup::new(name, serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn pods_are_awaited_of_releases_groups_windows_and_rollouts_and_of_nobody_else() {
        let mut a = release("a", "u-a");
        a.spec.window = Some("w".into());
        let mut mate = release("mate", "u-mate");
        mate.spec.window = Some("w".into());
        let mut strange = release("strange", "u-strange");
        strange.spec.window = Some("other".into());
        let [a, mate, strange] = [a, mate, strange].map(Arc::new);
        let mut memory = Memory::starting_at(Instant::now());
        memory
            .release(&"u-a".into())
            .rolled
            .insert(ObjectKey::at_home("n", "taken-over"));
        let awaited = awaited_parts(
            &[Arc::clone(&a), mate, strange],
            &[a],
            &[Arc::new(group("g", "laned"))],
            &memory,
        );
        let app = |name: &str| ChangeKey::App(name.into());
        let rolled = ChangeKey::Workload(ObjectKey::at_home("n", "taken-over"));
        assert_eq!(
            awaited,
            [app("a"), app("laned"), app("mate"), rolled].into()
        );
    }

    #[test]
    fn a_change_concerns_its_own_and_nobody_else() {
        let now = Instant::now();
        let later = now + RESYNC_INTERVAL;
        let (a, b) = (release("a", "u-a"), release("b", "u-b"));
        let (g, h) = (group("g", "a"), group("h", "b"));
        let whom = |keys: &[ChangeKey], apps: &[&str], mates: &[&str]| {
            let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
            let changed = keys.iter().cloned().collect();
            let c = Triggers {
                changed,
                apps: set(apps),
                mates: set(mates),
                now,
            };
            [
                c.affects_release(&a, Some(later)),
                c.affects_release(&b, Some(later)),
                c.affects_group(&g),
                c.affects_group(&h),
            ]
        };
        assert_eq!(whom(&[], &[], &[]), [false; 4]);
        assert_eq!(whom(&[ChangeKey::All], &[], &[]), [true; 4]);
        assert_eq!(
            whom(&[], &["a"], &["a", "b"]),
            [true, false, true, true],
            "a window opens its lanes together"
        );
        assert_eq!(
            whom(&[ChangeKey::Release("b-1".into())], &[], &[]),
            [false, true, false, false]
        );
        assert_eq!(
            whom(&[ChangeKey::Uid("u-a".into())], &[], &[]),
            [true, false, false, false]
        );
        for service in ["a", "a-gray"] {
            assert_eq!(
                whom(&[ChangeKey::Service(service.into())], &[], &[]),
                [false, false, true, false]
            );
        }
        assert_eq!(
            whom(&[ChangeKey::Service("ab".into())], &[], &[]),
            [false; 4]
        );
        assert_eq!(
            whom(&[ChangeKey::Group("h".into())], &[], &[]),
            [false, false, false, true]
        );
        assert_eq!(
            whom(&[ChangeKey::Gateway("edge".into())], &[], &[]),
            [false, false, true, true]
        );
        let due = Triggers {
            changed: BTreeSet::new(),
            apps: HashSet::new(),
            mates: HashSet::new(),
            now,
        };
        assert!(due.affects_release(&a, Some(now)) && due.affects_release(&a, None));
        assert!(!due.affects_release(&a, Some(later)));
    }
}
