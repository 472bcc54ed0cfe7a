//! Decides what a change affects, and what is due.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    IDLE, Looker, PRUNE,
    queue::{Job, Load, Queue},
};
use crate::{
    api::{LaneGroup, Release},
    domain::{routes::internal_gateway, workflow::Name},
    engine::wake::Key,
};

/// Changes that trigger reconciliation.
struct Concerned {
    changed: BTreeSet<Key>,
    /// Apps with changes, and Apps that share a window with them.
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
            let rest = |own: &str| {
                service
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            group.spec.apps.iter().any(|a| rest(a.service()))
        };
        due.is_none_or(|at| *at <= self.now)
            || self.is(Key::All)
            || self.is(Key::Group(group.name_any()))
            || self.is(Key::Routes(group.name_any()))
            || self.is(Key::Class)
            || self.is(Key::Gateway(group.spec.entry.gateway.clone()))
            || self.is(Key::Gateway(internal_gateway(group)))
            || group
                .spec
                .apps
                .iter()
                .any(|a| self.apps.contains(&a.app) || self.mates.contains(&a.app))
            || self
                .changed
                .iter()
                .any(|k| matches!(k, Key::Service(service) if serves(service)))
    }
}

impl Concerned {
    /// `releases` provide the windows of Apps; `rolled` finds the App that rolls out a workload.
    fn of<'a>(
        changed: BTreeSet<Key>,
        releases: impl Iterator<Item = &'a Release> + Clone,
        groups: &[std::sync::Arc<LaneGroup>],
        rolled: impl Fn(&Name) -> Option<String>,
    ) -> Self {
        let mut apps = HashSet::new();
        for key in &changed {
            match key {
                Key::App(app) => drop(apps.insert(app.clone())),
                Key::Workload(namespace, name) => {
                    apps.extend(rolled(&(namespace.clone(), name.clone())))
                }
                Key::Routes(name) => {
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

impl Looker {
    /// Queues everything that has changed or is due. Returns when the next pass is due although
    /// nothing changes.
    pub(super) fn plan(&self, queue: &mut Queue) -> Instant {
        let now = Instant::now();
        let changed = self.wake.take();
        let all = self.cache.releases.state();
        let groups = self.cache.groups.state();
        let active = self.active();
        let mut memory = self.memory();
        if now.duration_since(memory.last) > 2 * IDLE {
            // This process was suspended.
            let clock = now.duration_since(memory.began);
            memory
                .timers
                .values_mut()
                .for_each(|timers| timers.skip_gap(clock));
        }
        memory.last = now;
        if !changed.is_empty() {
            queue.add(
                Job::Adopted,
                Load {
                    changed: changed.clone(),
                    ..Load::default()
                },
            );
        }
        if memory.prune_wrong.is_none()
            && (changed.contains(&Key::History) || changed.contains(&Key::All))
        {
            memory.prune_due = memory.prune_due.min(now + PRUNE);
        }
        if memory.prune_due <= now {
            memory.prune_due = now + IDLE;
            queue.add(Job::Prune, Load::default());
        }
        let rolled = |name: &Name| memory.rolled.get(name).cloned();
        let concerned = Concerned::of(changed, all.iter().map(|r| &**r), &groups, rolled);
        // Until that pass is over, which sets the next due time.
        let later = Instant::now() + IDLE;
        for group in &groups {
            let name = group.name_any();
            if concerned.group(group, memory.groups_due.get(&name)) {
                memory.groups_due.insert(name.clone(), later);
                queue.add(Job::Group(name), Load::default());
            }
        }
        let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        // In order of creation, as far as possible.
        let mut order = vec![];
        for release in &active {
            let uid = release.uid().unwrap_or_default();
            if concerned.release(release, memory.due.get(&uid)) {
                memory.due.insert(uid.clone(), later);
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
                Load {
                    releases,
                    ..Load::default()
                },
            );
        }
        if memory.due.len() > active.len() {
            let uids: HashSet<String> = active.iter().filter_map(|r| r.uid()).collect();
            memory.due.retain(|uid, _| uids.contains(uid));
            memory.troubles.retain(|uid, _| uids.contains(uid));
            memory.blind.retain(|uid, _| uids.contains(uid));
            memory.timers.retain(|uid, _| uids.contains(uid));
            memory.rendered.retain(|uid, _| uids.contains(uid));
            memory.places.retain(|uid, _| uids.contains(uid));
            self.cache
                .elsewhere
                .keep(|name| memory.places.values().any(|of| of.contains(name)));
            self.probes.keep(|uid| uids.contains(uid));
        }
        if memory.groups_due.len() > groups.len() {
            memory
                .groups_due
                .retain(|name, _| groups.iter().any(|g| g.name_any() == *name));
            memory
                .groups_wrong
                .retain(|name, _| groups.iter().any(|g| g.name_any() == *name));
        }
        let next = memory
            .due
            .values()
            .chain(memory.groups_due.values())
            .min()
            .copied();
        next.unwrap_or(later).min(later).min(memory.prune_due)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::look::tests::release;

    fn group(name: &str, app: &str) -> LaneGroup {
        let spec =
            json!({"entry": {"gateway": "edge", "routes": []}, "apps": [{"app": app, "port": 80}]});
        LaneGroup::new(name, serde_json::from_value(spec).unwrap())
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
            let c = Concerned {
                changed,
                apps: set(apps),
                mates: set(mates),
                now,
            };
            [
                c.release(&a, Some(&later)),
                c.release(&b, Some(&later)),
                c.group(&g, Some(&later)),
                c.group(&h, Some(&later)),
            ]
        };
        assert_eq!(whom(&[], &[], &[]), [false; 4]);
        assert_eq!(whom(&[Key::All], &[], &[]), [true; 4]);
        assert_eq!(
            whom(&[], &["a"], &["a", "b"]),
            [true, false, true, true],
            "a window opens its lanes together"
        );
        assert_eq!(
            whom(&[Key::Release("b-1".into())], &[], &[]),
            [false, true, false, false]
        );
        assert_eq!(
            whom(&[Key::Uid("u-a".into())], &[], &[]),
            [true, false, false, false]
        );
        for service in ["a", "a-gray"] {
            assert_eq!(
                whom(&[Key::Service(service.into())], &[], &[]),
                [false, false, true, false]
            );
        }
        assert_eq!(whom(&[Key::Service("ab".into())], &[], &[]), [false; 4]);
        assert_eq!(
            whom(&[Key::Group("h".into())], &[], &[]),
            [false, false, false, true]
        );
        assert_eq!(
            whom(&[Key::Gateway("edge".into())], &[], &[]),
            [false, false, true, true]
        );
        let due = Concerned {
            changed: BTreeSet::new(),
            apps: HashSet::new(),
            mates: HashSet::new(),
            now,
        };
        assert!(due.release(&a, Some(&now)) && due.release(&a, None) && due.group(&g, None));
    }
}
