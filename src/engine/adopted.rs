//! Labels pods that are older than their App with its labels, by which an App's pods are found. Not
//! needed after the first release, whose pod template has the labels.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    runtime::reflector::ObjectRef,
};
use serde_json::json;
use tokio::time::Instant;

use super::{Options, cache::Cache, wake::Key};
use crate::{
    api::{FIELD_MANAGER, InventoryItem, label},
    cluster::error,
    domain::{
        account::Account,
        observe::{from_before, unlabelled},
    },
};

pub(super) async fn look(options: &Options, cache: &Cache, changed: &BTreeSet<Key>) {
    let mut adopted = concerned(options, cache, changed);
    adopted.retain(|live| from_before(live));
    if adopted.is_empty() {
        return;
    }
    let (sets, pods) = (cache.workloads.sets.state(), cache.workloads.pods.state());
    for live in adopted {
        let own = |key: &str| live.labels().get(key).cloned();
        let labels =
            json!({label::APP: own(label::APP), label::ENVIRONMENT: own(label::ENVIRONMENT)});
        for (namespace, name) in
            unlabelled(&live, sets.iter().map(|s| &**s), pods.iter().map(|p| &**p))
        {
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..PatchParams::default()
            };
            let patch = json!({"metadata": {"labels": labels}});
            let item = InventoryItem {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: namespace.clone(),
                name: name.clone(),
                uid: String::new(),
            };
            if let Err(undone) = cache.fights.may(&item, &patch, Instant::now()) {
                tracing::warn!("{}", undone.words(&item, &[]));
                continue;
            }
            let by = account(options, cache, &live, &item);
            let api: Api<Pod> = Api::namespaced(options.clusters.acting_as(&by), &namespace);
            match api
                .patch_metadata(&name, &params, &Patch::Merge(patch))
                .await
            {
                Err(why) if error::code(&why) != Some(404) => {
                    tracing::warn!(
                        namespace,
                        name,
                        "the labels of its App: {}",
                        error::words(&why)
                    );
                }
                _ => {}
            }
        }
    }
}

/// Service account of the environment.
fn account(options: &Options, cache: &Cache, live: &Deployment, item: &InventoryItem) -> Account {
    let app = live.labels().get(label::APP);
    let app = app.and_then(|app| {
        cache
            .apps
            .get(&ObjectRef::new(app).within(&options.namespace))
    });
    let environment = live
        .labels()
        .get(label::ENVIRONMENT)
        .map(String::as_str)
        .unwrap_or_default();
    Account::for_environment(app.as_deref(), environment, item)
}

/// Deployments that the changes concern.
fn concerned(options: &Options, cache: &Cache, changed: &BTreeSet<Key>) -> Vec<Arc<Deployment>> {
    if changed.contains(&Key::All) {
        return cache.workloads.deployments.state();
    }
    let mut names = BTreeSet::new();
    for key in changed {
        match key {
            Key::Workload(namespace, name) => drop(names.insert((namespace.clone(), name.clone()))),
            Key::App(app) => {
                let app = cache
                    .apps
                    .get(&ObjectRef::new(app).within(&options.namespace));
                let status = app.as_ref().and_then(|a| a.status.as_ref());
                let items = status
                    .into_iter()
                    .flat_map(|s| s.environments.values())
                    .flat_map(|e| &e.inventory);
                let deployments = items.filter(|i| i.kind == "Deployment");
                names.extend(deployments.map(|i| (i.namespace.clone(), i.name.clone())));
            }
            _ => {}
        }
    }
    names
        .iter()
        .filter_map(|(ns, name)| {
            cache
                .workloads
                .deployments
                .get(&ObjectRef::new(name).within(ns))
        })
        .collect()
}
