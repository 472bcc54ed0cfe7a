//! What is rolled out in batches, as one cluster shows it: read, and patched, the same at home and elsewhere.

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

/// The watched kinds that make up workloads. Unlabelled ones too: an App may take over what runs already, and that is
/// rolled, not replaced.
pub(super) struct Workloads {
    pub(super) deployments: Kept<Deployment>,
    pub(super) stateful: Kept<StatefulSet>,
    pub(super) sets: Store<ReplicaSet>,
    pub(super) pods: Store<Pod>,
    pub(super) ready: Readiness,
}

/// For how long pods have been Ready, as seen from here.
pub(super) struct Readiness {
    began: Instant,
    watch: Mutex<ReadyWatch>,
}

/// One look at them.
pub(super) struct View<'a> {
    of: &'a Workloads,
    sets: Vec<Arc<ReplicaSet>>,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// What the server answered to a patch.
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

    /// Pods come and go: those that are gone need no place here.
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

    /// Our own write counts at once.
    pub(super) fn remember(&self, written: Written) {
        match written {
            Written::Deployment(d) => self.deployments.remember(d),
            Written::StatefulSet(s) => self.stateful.remember(s),
        }
    }

    /// Returns when every kind has been listed once.
    pub(super) async fn ready(&self) {
        // A dropped writer means that the engine ends: then nobody waits for this either.
        let _ = tokio::join!(
            self.deployments.wait_until_ready(),
            self.stateful.wait_until_ready(),
            self.sets.wait_until_ready(),
            self.pods.wait_until_ready(),
        );
    }
}

impl View<'_> {
    /// The workload of an item that is rolled, in the namespace as its own cluster knows it.
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

/// One merge patch.
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
