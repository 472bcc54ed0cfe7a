//! What every object does: made, read, changed, refused.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

use super::cluster::{Place, cases, eventually, refusal};

cases!(create_read_update_and_conflict, a_pod_is_bound_runs_and_goes);

async fn create_read_update_and_conflict(at: Place) {
    let maps: Api<ConfigMap> = at.api();
    let made: ConfigMap = at.create(json!({"metadata": {"name": "a"}, "data": {"k": "1"}})).await;
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    let status = refusal(at.try_create::<ConfigMap>(json!({"metadata": {"name": "a"}})).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(status.message, "configmaps \"a\" already exists");

    let (mut first, mut second) = (made.clone(), made.clone());
    first.data.get_or_insert_default().insert("k".into(), "2".into());
    let updated = maps.replace("a", &PostParams::default(), &first).await.unwrap();
    assert_eq!(updated.uid(), made.uid());
    assert_ne!(updated.resource_version(), made.resource_version());
    second.data.get_or_insert_default().insert("k".into(), "3".into());
    let status = refusal(maps.replace("a", &PostParams::default(), &second).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    let same = maps.replace("a", &PostParams::default(), &updated).await.unwrap();
    assert_eq!(same.resource_version(), updated.resource_version(), "a write that changes nothing is no change");
}

async fn a_pod_is_bound_runs_and_goes(at: Place) {
    let pods: Api<Pod> = at.api();
    let spec = json!({"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 5});
    at.create::<Pod>(json!({"metadata": {"name": "p"}, "spec": spec})).await;
    let ready = |p: &Pod| {
        let conditions = p.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    eventually("ready", async || pods.get("p").await.ok().filter(|p| ready(p))).await;
    pods.delete("p", &Default::default()).await.unwrap();
    eventually("gone", async || pods.get_opt("p").await.unwrap().is_none().then_some(())).await;
}
