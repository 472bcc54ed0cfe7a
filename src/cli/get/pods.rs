//! Counts the pods of environments. All contexts are asked at the same time; one that does not
//! respond gets one request only.

use std::collections::BTreeMap;

use color_eyre::eyre::Result;
use futures::{StreamExt, future::join_all, stream};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    api::{App, ClusterName, Environment, label},
    cli::session::{Session, api_error},
    cluster::error,
};

/// Concurrent requests to one cluster.
const CONCURRENT_REQUESTS: usize = 16;

/// Ready and wanted pods; `None` if they cannot be read.
type PodCount = Option<(i32, i32)>;

/// The pods of each row, and warnings.
pub(super) async fn count_pods(
    session: &Session,
    rows: &[(&App, &Environment)],
) -> Result<(Vec<PodCount>, Vec<String>)> {
    let mut clusters: BTreeMap<ClusterName, Vec<usize>> = BTreeMap::new();
    for (i, (_, environment)) in rows.iter().enumerate() {
        clusters
            .entry(session.clusters.normalize_name(&environment.context))
            .or_default()
            .push(i);
    }
    let asked = clusters.into_iter().map(async |(cluster, of_it)| {
        let client = session.clusters.client_for(&cluster);
        let wanted = of_it
            .into_iter()
            .map(|i| {
                (
                    i,
                    rows[i].1.namespace.clone(),
                    environment_selector(rows[i]),
                )
            })
            .collect();
        (cluster, count_in_cluster(client, wanted).await)
    });
    let (mut pods, mut warnings) = (vec![None; rows.len()], vec![]);
    for (cluster, answers) in join_all(asked).await {
        let mut failed = None;
        for (i, answer) in answers {
            match answer {
                Ok(found) => pods[i] = Some(found),
                // One forbidden namespace does not hide the others.
                Err(e) if error::status_code(&e) == Some(403) => {}
                Err(e) if cluster.is_home() => return Err(api_error("listing workloads")(e)),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        // An unreachable cluster does not hide the others.
        if let (Some(context), Some(e)) = (cluster.context(), failed) {
            warnings.push(format!("context {context}: {}", error::describe_error(&e)));
        }
    }
    Ok((pods, warnings))
}

fn environment_selector((app, environment): (&App, &Environment)) -> String {
    format!(
        "{}={},{}={}",
        label::APP,
        app.name_any(),
        label::ENVIRONMENT,
        environment.name
    )
}

/// Counts in one cluster. If the first request gets no response, the others are not sent.
async fn count_in_cluster(
    client: Client,
    wanted: Vec<(usize, String, String)>,
) -> Vec<(usize, kube::Result<(i32, i32)>)> {
    let ask = |(i, namespace, selector): (usize, String, String)| {
        let client = client.clone();
        async move { (i, count_workload_pods(&client, &namespace, &selector).await) }
    };
    let mut wanted = wanted.into_iter();
    let Some(first) = wanted.next() else {
        return vec![];
    };
    let mut answers = vec![ask(first).await];
    if !matches!(&answers[0].1, Err(e) if error::status_code(e).is_none()) {
        answers.extend(
            stream::iter(wanted)
                .map(ask)
                .buffer_unordered(CONCURRENT_REQUESTS)
                .collect::<Vec<_>>()
                .await,
        );
    }
    answers
}

/// Ready and wanted pods of all workloads that match the selector.
async fn count_workload_pods(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> kube::Result<(i32, i32)> {
    let all = ListParams::default().labels(selector);
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?
        .items;
    let sets = Api::<StatefulSet>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?
        .items;
    let count = |ready: Option<i32>, wanted: Option<Option<i32>>| {
        (ready.unwrap_or(0), wanted.map_or(0, |n| n.unwrap_or(1)))
    };
    let of_deployments = deployments.iter().map(|d| {
        let ready = d.status.as_ref().and_then(|s| s.ready_replicas);
        count(ready, d.spec.as_ref().map(|s| s.replicas))
    });
    let of_sets = sets.iter().map(|s| {
        let ready = s.status.as_ref().and_then(|s| s.ready_replicas);
        count(ready, s.spec.as_ref().map(|s| s.replicas))
    });
    Ok(of_deployments
        .chain(of_sets)
        .fold((0_i32, 0_i32), |all, (ready, wanted)| {
            (all.0.saturating_add(ready), all.1.saturating_add(wanted))
        }))
}

#[cfg(all(test, feature = "pocket"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::session::tests::on_pocket;

    #[tokio::test]
    async fn a_context_that_is_away_is_warned_of_once_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let session = on_pocket(dir.path()).await;
        let app: App =
            serde_json::from_value(json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App",
            "metadata": {"name": "a"}, "spec": {"manifests": [], "environments": [
                {"name": "pre", "namespace": "demo", "context": "far"},
                {"name": "test", "namespace": "demo"},
                {"name": "prod", "namespace": "demo", "context": "far"}]}}))
            .unwrap();
        let rows: Vec<_> = app.spec.environments.iter().map(|e| (&app, e)).collect();
        let (pods, warnings) = count_pods(&session, &rows).await.unwrap();
        assert_eq!(pods, [None, Some((0, 0)), None]);
        assert!(
            matches!(warnings.as_slice(), [one] if one.starts_with("context far: ")),
            "{warnings:?}"
        );
    }
}
