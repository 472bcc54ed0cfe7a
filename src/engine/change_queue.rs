//! Changes since the last pass, as keys of what they concern. The cost of a pass depends on the
//! changes, not on the number of objects. Most pods of a cluster are of no release and of no lane:
//! their changes are noted, but start no pass.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use crate::{
    api::{App, Approval, Release, Uid, gateway_api::HttpRoute, label},
    domain::{
        observe::{ObservedPod, ObservedSet},
        world::ObjectKey,
    },
};

/// What a change concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ChangeKey {
    /// Everything, because a watch started again.
    All,
    /// The releases of an App, and its lane groups.
    App(String),
    /// One release, by name.
    Release(String),
    /// One release, by uid.
    Uid(Uid),
    /// A lane group.
    Group(String),
    /// The routes of a lane group: the group, and the releases of its apps.
    Routes(String),
    /// Lane groups that use a Service.
    Service(String),
    /// Lane groups whose entry is a Gateway.
    Gateway(String),
    /// All lane groups, because a GatewayClass changed.
    Class,
    /// Pruning of finished releases.
    History,
    /// A Deployment or StatefulSet without an App label, or its pods.
    Workload(ObjectKey),
}

#[derive(Default)]
pub(super) struct ChangeQueue {
    notify: Notify,
    pending: Mutex<PendingChanges>,
    /// Number of pending changes that a pass waits for.
    queue: Gauge,
}

#[derive(Default)]
struct PendingChanges {
    changed: BTreeSet<ChangeKey>,
    /// Changes that nothing waits for: the next pass takes them, but they start none.
    unawaited: BTreeSet<ChangeKey>,
    /// Apps and workloads whose pods something waits for, as of the last pass.
    awaited: BTreeSet<ChangeKey>,
}

impl ChangeQueue {
    pub(super) fn with_gauge(queue: Gauge) -> Self {
        Self {
            queue,
            ..Self::default()
        }
    }

    fn lock_pending(&self) -> MutexGuard<'_, PendingChanges> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds changes that start a pass.
    pub(super) fn add(&self, keys: impl IntoIterator<Item = ChangeKey>) {
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_none() {
            return;
        }
        let mut pending = self.lock_pending();
        pending.changed.extend(keys);
        self.queue
            .set(i64::try_from(pending.changed.len()).unwrap_or(i64::MAX));
        drop(pending);
        self.notify.notify_one();
    }

    /// Adds changes of pods or ReplicaSets. They start a pass if their App or workload is awaited,
    /// or if `is_wanted` says so of the workload.
    pub(super) fn add_parts(&self, keys: Vec<ChangeKey>, is_wanted: impl Fn(&ObjectKey) -> bool) {
        let mut pending = self.lock_pending();
        let is_awaited = |key: &ChangeKey| {
            pending.awaited.contains(key)
                || matches!(key, ChangeKey::Workload(workload) if is_wanted(workload))
        };
        if keys.iter().any(is_awaited) {
            drop(pending);
            self.add(keys);
        } else {
            pending.unawaited.extend(keys);
        }
    }

    /// Sets the Apps and workloads whose pods something waits for. A change that came before is
    /// with the pending ones, so none is missed that a job has not seen: after it a pass follows.
    pub(super) fn set_awaited(&self, awaited: BTreeSet<ChangeKey>) {
        self.lock_pending().awaited = awaited;
    }

    /// Waits until something has been added since the last call.
    pub(super) async fn wait_for_change(&self) {
        self.notify.notified().await;
    }

    pub(super) fn take_all(&self) -> BTreeSet<ChangeKey> {
        self.queue.set(0);
        let mut pending = self.lock_pending();
        let mut all = std::mem::take(&mut pending.changed);
        all.append(&mut pending.unawaited);
        all
    }
}

/// App by its label, otherwise the workload by name.
fn keys_for_app_or_workload(object: &impl ResourceExt, workload: Option<&str>) -> Vec<ChangeKey> {
    let key = || {
        Some(ChangeKey::Workload(ObjectKey::at_home(
            object.namespace().unwrap_or_default(),
            workload?,
        )))
    };
    app_key(object).or_else(key).into_iter().collect()
}

fn app_key(object: &impl ResourceExt) -> Option<ChangeKey> {
    object.labels().get(label::APP).cloned().map(ChangeKey::App)
}

/// A finished release may exceed the history limit, or may have kept another one from being
/// deleted.
pub(super) fn keys_for_release(release: &Release) -> Vec<ChangeKey> {
    let is_over = release.status.as_ref().is_some_and(|s| s.phase.is_final());
    [ChangeKey::App(release.spec.app.clone())]
        .into_iter()
        .chain(is_over.then_some(ChangeKey::History))
        .collect()
}

/// The App contains the history limits, and the last release of each environment.
pub(super) fn keys_for_app(app: &App) -> Vec<ChangeKey> {
    vec![ChangeKey::App(app.name_any()), ChangeKey::History]
}

/// The Approval may be left over from a deleted release.
pub(super) fn keys_for_approval(approval: &Approval) -> Vec<ChangeKey> {
    vec![
        ChangeKey::Release(approval.spec.release.clone()),
        ChangeKey::History,
    ]
}

/// As [`keys_for_approval`], if the Job is of a release and not from a manifest.
pub(super) fn keys_for_job(job: &Job) -> Vec<ChangeKey> {
    let left = job.annotations().contains_key(label::RELEASE)
        && !job.labels().contains_key(label::ENVIRONMENT);
    app_key(job)
        .into_iter()
        .chain(left.then_some(ChangeKey::History))
        .collect()
}

/// Its lane group, otherwise the groups with the same Gateway.
pub(super) fn keys_for_route(route: &HttpRoute) -> Vec<ChangeKey> {
    if let Some(group) = route.labels().get(label::LANE_GROUP) {
        vec![ChangeKey::Routes(group.clone())]
    } else {
        let parents = route.spec.parent_refs.iter().filter(|p| p.is_gateway());
        parents
            .map(|p| ChangeKey::Gateway(p.name.clone()))
            .collect()
    }
}

pub(super) fn keys_for_labelled(object: &impl ResourceExt) -> Vec<ChangeKey> {
    app_key(object).into_iter().collect()
}

pub(super) fn keys_for_workload(object: &impl ResourceExt) -> Vec<ChangeKey> {
    keys_for_app_or_workload(object, Some(&object.name_any()))
}

pub(super) fn keys_for_replica_set(set: &ObservedSet) -> Vec<ChangeKey> {
    keys_for_app_or_workload(set, controller_owner(set).map(|o| &*o.name))
}

pub(super) fn keys_for_pod(pod: &ObservedPod) -> Vec<ChangeKey> {
    let workload = controller_owner(pod).and_then(|owner| match &*owner.kind {
        // A ReplicaSet is named `DEPLOYMENT-HASH`.
        "ReplicaSet" => owner
            .name
            .rsplit_once('-')
            .map(|(deployment, _)| deployment),
        _ => Some(&*owner.name),
    });
    keys_for_app_or_workload(pod, workload)
}

fn controller_owner(object: &impl Resource) -> Option<&OwnerReference> {
    object
        .meta()
        .owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::{Value, json};

    use super::*;

    fn keys(object: Value) -> Vec<ChangeKey> {
        keys_for_pod(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_pod_concerns_its_app_or_the_workload_it_comes_from() {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-prod-7f", "uid": "u", "controller": true}]);
        let plain = json!({"metadata": {"name": "p", "namespace": "n", "ownerReferences": owner}});
        assert_eq!(
            keys(plain.clone()),
            [ChangeKey::Workload(ObjectKey::at_home("n", "a-prod"))]
        );
        let mut placed = plain.clone();
        placed["metadata"]["ownerReferences"][0]["kind"] = "StatefulSet".into();
        assert_eq!(
            keys(placed),
            [ChangeKey::Workload(ObjectKey::at_home("n", "a-prod-7f"))],
            "its own name has no hash"
        );
        let mut ours = plain;
        ours["metadata"]["labels"] = json!({label::APP: "a"});
        assert_eq!(keys(ours), [ChangeKey::App("a".into())]);
        assert_eq!(
            keys(json!({"metadata": {"name": "alone", "namespace": "n"}})),
            []
        );
    }

    /// Pruning costs as much as there are finished releases, so it must only be triggered by what
    /// it reads.
    #[test]
    fn the_history_is_looked_at_for_what_it_reads_and_nothing_else() {
        fn read<K: serde::de::DeserializeOwned>(
            object: Value,
            keys: fn(&K) -> Vec<ChangeKey>,
        ) -> bool {
            keys(&serde_json::from_value(object).unwrap()).contains(&ChangeKey::History)
        }
        let release = |phase: &str| {
            let (meta, spec) = (json!({"name": "a-1"}), json!({"app": "a", "stage": "s"}));
            json!({"metadata": meta, "spec": spec, "status": {"phase": phase}})
        };
        let job = |meta: Value| json!({"metadata": meta, "spec": {"template": {"spec": {"containers": []}}}});
        let of_app = |meta: Value| json!({"metadata": meta});
        let app = json!({label::APP: "a"});
        for (what, reads, want) in [
            (
                "a release under way",
                read(release("Running"), keys_for_release),
                false,
            ),
            (
                "one that is over",
                read(release("Succeeded"), keys_for_release),
                true,
            ),
            (
                "one that went back",
                read(release("Aborted"), keys_for_release),
                true,
            ),
            (
                "a build's Job",
                read(
                    job(
                        json!({"name": "j", "labels": app, "annotations": {label::RELEASE: "a-1"}}),
                    ),
                    keys_for_job,
                ),
                true,
            ),
            (
                "a Job of the manifests",
                read(job(json!({"name": "j", "labels": app})), keys_for_job),
                false,
            ),
            (
                "a pod",
                read(of_app(json!({"name": "p", "labels": app})), keys_for_pod),
                false,
            ),
            (
                "a set",
                read(
                    of_app(json!({"name": "s", "labels": app})),
                    keys_for_replica_set,
                ),
                false,
            ),
            (
                "a workload",
                read(
                    of_app(json!({"name": "w", "labels": app})),
                    |p: &k8s_openapi::api::apps::v1::Deployment| keys_for_workload(p),
                ),
                false,
            ),
        ] {
            assert_eq!(reads, want, "{what}");
        }
    }

    fn is_notified(queue: &ChangeQueue) -> bool {
        queue.wait_for_change().now_or_never().is_some()
    }

    #[test]
    fn pods_that_nothing_waits_for_start_no_pass_and_are_not_forgotten() {
        let queue = ChangeQueue::default();
        let app = |name: &str| ChangeKey::App(name.into());
        let workload = |name: &str| ChangeKey::Workload(ObjectKey::at_home("n", name));
        let nobody = |_: &ObjectKey| false;
        queue.add([]);
        queue.add_parts(vec![], nobody);
        queue.add_parts(vec![app("a")], nobody);
        queue.add_parts(vec![workload("w")], nobody);
        assert!(!is_notified(&queue));
        assert_eq!(queue.take_all(), [app("a"), workload("w")].into());

        queue.set_awaited([app("a"), workload("w")].into());
        for key in [app("a"), workload("w")] {
            queue.add_parts(vec![key.clone()], nobody);
            assert!(is_notified(&queue), "{key:?}");
            assert_eq!(queue.take_all(), [key].into());
        }
        queue.add_parts(vec![app("b")], nobody);
        queue.add_parts(vec![workload("v")], |wanted| {
            *wanted == ObjectKey::at_home("n", "u")
        });
        assert!(!is_notified(&queue));
        queue.add_parts(vec![workload("u")], |wanted| {
            *wanted == ObjectKey::at_home("n", "u")
        });
        assert!(is_notified(&queue));
        queue.set_awaited(BTreeSet::new());
        queue.add_parts(vec![app("a")], nobody);
        assert!(!is_notified(&queue), "nothing waits for it any more");
        queue.add([app("b")]);
        assert!(is_notified(&queue), "what is no pod always starts a pass");
    }

    #[tokio::test]
    async fn many_changes_are_taken_at_once() {
        let wake = ChangeQueue::default();
        for name in ["a", "b", "a"] {
            wake.add([ChangeKey::App(name.into())]);
        }
        wake.wait_for_change().await;
        assert_eq!(
            wake.take_all(),
            [ChangeKey::App("a".into()), ChangeKey::App("b".into())].into()
        );
        assert!(wake.take_all().is_empty());
    }
}
