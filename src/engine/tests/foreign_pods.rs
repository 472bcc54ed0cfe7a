//! Which pods start a pass of the engine.

use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::PostParams;
use serde_json::json;

use super::Rig;
use crate::{api::label, domain::world::ObjectKey, engine::change_queue::ChangeKey};

impl Rig {
    fn has_started_pass(&self) -> bool {
        self.wake.wait_for_change().now_or_never().is_some()
    }

    /// Waits for a pass, and takes what it is about.
    async fn take_pass(&self) {
        let wait = self.wake.wait_for_change();
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .expect("a pass is started");
        self.wake.take_all();
    }

    async fn wait_for_key(&self, key: &ChangeKey) {
        let wait = async {
            while !self.wake.take_all().contains(key) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), wait)
            .await
            .expect("it is noted");
    }

    async fn touch_pod(&self, name: &str, value: &str) {
        let patch = json!({"metadata": {"labels": {"touched": value}}});
        self.patch::<Pod>(name, "test", patch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_nothing_waits_for_starts_no_pass_until_something_does() {
    let rig = Rig::new().await;
    tokio::join!(
        rig.cache.classes.wait_until_synced(),
        rig.cache.gateways.wait_until_synced(),
        rig.cache.routes.wait_until_synced()
    );
    rig.take_pass().await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w-5f", "uid": "u", "controller": true}]);
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    for (name, meta) in [
        (
            "foreign",
            json!({"name": "foreign", "ownerReferences": owner}),
        ),
        (
            "ours",
            json!({"name": "ours", "labels": {label::APP: "a", label::ENVIRONMENT: "e"}}),
        ),
    ] {
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        rig.api()
            .create(&PostParams::default(), &pod)
            .await
            .unwrap();
        rig.shown(name, |c| {
            c.workloads.pods.get_named("default", name).is_some()
        })
        .await;
    }
    let (workload, app) = (
        ChangeKey::Workload(ObjectKey::at_home("default", "w")),
        ChangeKey::App("a".into()),
    );
    rig.wait_for_key(&app).await;
    assert!(!rig.has_started_pass());

    // The App gets a release, or is in a lane group.
    rig.wake.set_awaited([app].into());
    rig.touch_pod("ours", "1").await;
    rig.take_pass().await;
    rig.touch_pod("foreign", "1").await;
    rig.wait_for_key(&workload).await;
    assert!(!rig.has_started_pass());

    // An App takes over the Deployment, whose pods lack its labels.
    let adopted: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "w", "labels": {label::APP: "b", label::ENVIRONMENT: "e"}},
        "spec": {
            "selector": {"matchLabels": {"run": "w"}},
            "template": {"metadata": {"labels": {"run": "w"}}, "spec": spec},
        },
    }))
    .unwrap();
    rig.api()
        .create(&PostParams::default(), &adopted)
        .await
        .unwrap();
    rig.take_pass().await;
    rig.touch_pod("foreign", "2").await;
    rig.take_pass().await;
}
