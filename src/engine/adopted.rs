//! Labels pods that are older than their App with its labels, by which an App's pods are found. Not
//! needed after the first release, whose pod template has the labels.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{Options, cache::Cache, change_queue::ChangeKey};
use crate::{
    api::{FIELD_MANAGER, ObjectRef, label},
    cluster::error,
    domain::{
        account::Account,
        observe::{predates_app, unlabelled_pods},
        world::ObjectKey,
    },
};

#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn label_adopted_pods(
    options: &Options,
    cache: &Cache,
    changed: &BTreeSet<ChangeKey>,
) {
    let mut adopted = affected_deployments(options, cache, changed);
    adopted.retain(|live| predates_app(live));
    if adopted.is_empty() {
        return;
    }
    let (sets, pods) = (cache.workloads.sets.list(), cache.workloads.pods.list());
    for live in adopted {
        let own = |key: &str| live.labels().get(key).cloned();
        let labels =
            json!({label::APP: own(label::APP), label::ENVIRONMENT: own(label::ENVIRONMENT)});
        for (namespace, name) in
            unlabelled_pods(&live, sets.iter().map(|s| &**s), pods.iter().map(|p| &**p))
        {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..PatchParams::default()
            };
            let patch = json!({"metadata": {"labels": labels}});
            let pod = ObjectRef::pod(ObjectKey::at_home(namespace.as_str(), name.as_str()));
            if let Err(undone) = cache.conflicts.begin_write(&pod, &patch, Instant::now()) {
                tracing::warn!("{}", undone.describe_conflict(&pod, &[]));
                continue;
            }
            let by = account_for_pod(options, cache, &live, &pod);
            let api: Api<Pod> = Api::namespaced(options.clusters.client_acting_as(&by), &namespace);
            match api
                .patch_metadata(&name, &params, &Patch::Merge(patch))
                .await
            {
                Err(why) if error::status_code(&why) != Some(404) => {
                    tracing::warn!(
                        namespace,
                        name,
                        "the labels of its App: {}",
                        error::describe_error(&why)
                    );
                }
                _ => {}
            }
        }
    }
}

/// Service account of the environment.
fn account_for_pod(
    options: &Options,
    cache: &Cache,
    live: &Deployment,
    pod: &ObjectRef,
) -> Account {
    let app = live.labels().get(label::APP);
    let app = app.and_then(|app| cache.apps.get_named(&options.namespace, app));
    let environment = live
        .labels()
        .get(label::ENVIRONMENT)
        .map(String::as_str)
        .unwrap_or_default();
    Account::for_environment(app.as_deref(), environment, pod)
}

/// Deployments that the changes concern.
fn affected_deployments(
    options: &Options,
    cache: &Cache,
    changed: &BTreeSet<ChangeKey>,
) -> Vec<Arc<Deployment>> {
    if changed.contains(&ChangeKey::All) {
        return cache.workloads.deployments.list();
    }
    let mut names = BTreeSet::new();
    for key in changed {
        match key {
            ChangeKey::Workload(key) => {
                names.insert(key.clone());
            }
            ChangeKey::App(app) => {
                let app = cache.apps.get_named(&options.namespace, app);
                let status = app.as_ref().and_then(|a| a.status.as_ref());
                let items = status
                    .into_iter()
                    .flat_map(|s| s.environments.values())
                    .flat_map(|e| &e.inventory);
                let deployments = items.filter(|i| i.object.kind == "Deployment");
                names.extend(deployments.map(|i| i.object.key.clone()));
            }
            _ => {}
        }
    }
    names
        .iter()
        .filter(|key| key.namespace.cluster.is_home())
        .filter_map(|key| {
            let deployments = &cache.workloads.deployments;
            deployments.get_named(&key.namespace.name, &key.name)
        })
        .collect()
}
