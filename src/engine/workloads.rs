//! Workloads that are rolled out in batches, in one cluster: reading and patching, the same in home
//! and remote clusters.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::SignedDuration;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::Pod,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::cache::Kept;
use crate::{
    api::{FIELD_MANAGER, InventoryItem},
    domain::{
        batches::WorkloadSeen,
        observe::{ReadyWatch, deployment, stateful},
    },
};

/// Watched kinds that make up workloads. Unlabelled ones too, because an App may take over running
/// workloads, which are rolled out and not replaced.
pub(super) struct Workloads {
    pub(super) deployments: Kept<Deployment>,
    pub(super) stateful: Kept<StatefulSet>,
    pub(super) sets: Store<ReplicaSet>,
    pub(super) pods: Store<Pod>,
    pub(super) ready: Readiness,
}

/// How long pods have been ready, as observed here.
pub(super) struct Readiness {
    began: Instant,
    watch: Mutex<ReadyWatch>,
}

/// Workloads at one point in time.
pub(super) struct View<'a> {
    of: &'a Workloads,
    sets: Vec<Arc<ReplicaSet>>,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// Answer of the server to a patch.
pub(super) enum Written {
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
    fn lasted(&self, pod: &Pod) -> SignedDuration {
        self.watch().lasted(pod, self.began.elapsed())
    }

    /// Forgets pods that no longer exist.
    fn forget(&self, there: &[Arc<Pod>]) {
        let mut watch = self.watch();
        if watch.len() > 64 + 2 * there.len() {
            let uids: HashSet<&str> = there
                .iter()
                .filter_map(|p| p.metadata.uid.as_deref())
                .collect();
            watch.keep(|uid| uids.contains(uid));
        }
    }

    fn watch(&self) -> std::sync::MutexGuard<'_, ReadyWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workloads {
    pub(super) fn look(&self) -> View<'_> {
        let pods = self.pods.state();
        self.ready.forget(&pods);
        View {
            of: self,
            sets: self.sets.state(),
            pods,
        }
    }

    /// Makes our own write count at once.
    pub(super) fn remember(&self, written: Written) {
        match written {
            Written::Deployment(d) => self.deployments.remember(d),
            Written::StatefulSet(s) => self.stateful.remember(s),
        }
    }

    /// Waits until every kind has been listed once.
    pub(super) async fn ready(&self) {
        // A dropped writer means that the engine is stopping, and nobody waits for this either.
        let _ = tokio::join!(
            self.deployments.wait_until_ready(),
            self.stateful.wait_until_ready(),
            self.sets.wait_until_ready(),
            self.pods.wait_until_ready(),
        );
    }
}

impl View<'_> {
    /// State of a workload, in the namespace as its own cluster knows it.
    pub(super) fn seen(&self, item: &InventoryItem, namespace: &str) -> Option<WorkloadSeen> {
        let pods = || self.pods.iter().map(|p| &**p);
        let ready = |pod: &Pod| self.of.ready.lasted(pod);
        Some(if item.kind == "StatefulSet" {
            let live = self
                .of
                .stateful
                .get(&ObjectRef::new(&item.name).within(namespace))?;
            WorkloadSeen::StatefulSet(Box::new(stateful(&live, pods(), &ready)))
        } else {
            let live = self
                .of
                .deployments
                .get(&ObjectRef::new(&item.name).within(namespace))?;
            WorkloadSeen::Deployment(Box::new(deployment(
                &live,
                self.sets.iter().map(|s| &**s),
                pods(),
                &ready,
            )))
        })
    }
}

/// Sends one merge patch.
pub(super) async fn patch(
    client: Client,
    namespace: &str,
    item: &InventoryItem,
    patch: &Value,
) -> kube::Result<Written> {
    if item.kind == "StatefulSet" {
        merge(client, namespace, &item.name, patch)
            .await
            .map(Written::StatefulSet)
    } else {
        merge(client, namespace, &item.name, patch)
            .await
            .map(Written::Deployment)
    }
}

async fn merge<K>(client: Client, namespace: &str, name: &str, patch: &Value) -> kube::Result<K>
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
