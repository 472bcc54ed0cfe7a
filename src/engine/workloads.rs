//! Workloads that are rolled out in batches, in one cluster: reading and patching, the same in home
//! and remote clusters.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use reconcile::store::Store;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::{FIELD_MANAGER, ObjectKey, ObjectRef, Uid},
    domain::{
        batches::WorkloadSeen,
        observe::{ObservedPod, ObservedSet, ReadyWatch, observe_deployment, observe_stateful_set},
    },
};

/// Watched kinds that make up workloads. Unlabelled ones too, because an App may take over running
/// workloads, which are rolled out and not replaced.
pub(super) struct Workloads {
    pub(super) deployments: Store<Deployment>,
    pub(super) stateful: Store<StatefulSet>,
    pub(super) sets: Store<ObservedSet>,
    pub(super) pods: Store<ObservedPod>,
    pub(super) ready: Readiness,
}

/// How long pods have been ready, as observed here.
pub(super) struct Readiness {
    began: Instant,
    watch: Mutex<ReadyWatch>,
}

/// Workloads at one point in time.
pub(super) struct WorkloadSnapshot<'a> {
    of: &'a Workloads,
    sets: Vec<Arc<ObservedSet>>,
    pub(super) pods: Vec<Arc<ObservedPod>>,
}

/// Answer of the server to a patch.
pub(super) enum WrittenWorkload {
    Deployment(Deployment),
    StatefulSet(StatefulSet),
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            watch: Mutex::default(),
        }
    }
}

impl Readiness {
    fn ready_duration(&self, pod: &ObservedPod) -> SignedDuration {
        self.lock_watch().ready_duration(pod, self.began.elapsed())
    }

    /// Forgets pods that no longer exist.
    fn forget_gone_pods(&self, there: &[Arc<ObservedPod>]) {
        let mut watch = self.lock_watch();
        if watch.len() > 64 + 2 * there.len() {
            let uids: HashSet<Uid> = there.iter().map(|p| Uid::from_meta(&p.metadata)).collect();
            watch.retain_pods(|uid| uids.contains(uid));
        }
    }

    fn lock_watch(&self) -> std::sync::MutexGuard<'_, ReadyWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workloads {
    pub(super) fn take_snapshot(&self) -> WorkloadSnapshot<'_> {
        let pods = self.pods.list();
        self.ready.forget_gone_pods(&pods);
        WorkloadSnapshot {
            of: self,
            sets: self.sets.list(),
            pods,
        }
    }

    /// Makes our own write count at once.
    pub(super) fn record_write(&self, written: WrittenWorkload) {
        match written {
            WrittenWorkload::Deployment(d) => self.deployments.record_write(&d),
            WrittenWorkload::StatefulSet(s) => self.stateful.record_write(&s),
        }
    }

    /// Waits until every kind has been listed once.
    pub(super) async fn wait_until_synced(&self) {
        tokio::join!(
            self.deployments.wait_until_synced(),
            self.stateful.wait_until_synced(),
            self.sets.wait_until_synced(),
            self.pods.wait_until_synced(),
        );
    }
}

impl WorkloadSnapshot<'_> {
    /// State of a workload of this cluster.
    pub(super) fn find_workload(&self, workload: &ObjectRef) -> Option<WorkloadSeen> {
        let ObjectKey { namespace, name } = &workload.key;
        let pods = || self.pods.iter().map(|p| &**p);
        let ready = |pod: &ObservedPod| self.of.ready.ready_duration(pod);
        Some(if workload.kind == "StatefulSet" {
            let live = self.of.stateful.get_named(&namespace.name, name)?;
            WorkloadSeen::StatefulSet(Box::new(observe_stateful_set(&live, pods(), &ready)))
        } else {
            let live = self.of.deployments.get_named(&namespace.name, name)?;
            WorkloadSeen::Deployment(Box::new(observe_deployment(
                &live,
                self.sets.iter().map(|s| &**s),
                pods(),
                &ready,
            )))
        })
    }
}

/// Sends one merge patch.
#[tracing::instrument(level = "debug", skip_all, fields(kind = workload.kind, namespace, name = workload.key.name))]
pub(super) async fn patch_workload(
    client: Client,
    namespace: &str,
    workload: &ObjectRef,
    patch: &Value,
) -> kube::Result<WrittenWorkload> {
    let name = &workload.key.name;
    if workload.kind == "StatefulSet" {
        merge_patch(client, namespace, name, patch)
            .await
            .map(WrittenWorkload::StatefulSet)
    } else {
        merge_patch(client, namespace, name, patch)
            .await
            .map(WrittenWorkload::Deployment)
    }
}

#[tracing::instrument(level = "debug", skip_all, fields(namespace, name))]
async fn merge_patch<K>(
    client: Client,
    namespace: &str,
    name: &str,
    patch: &Value,
) -> kube::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    Api::<K>::namespaced(client, namespace)
        .patch(name, &params, &Patch::Merge(patch))
        .await
}
