//! What the API server answers, word for word.

use serde_json::json;

use super::driver::{manifest, template};
use crate::cluster::Place;
use crate::transcript::{Shown, Transcript};

const SETS: &str = "apps/v1 statefulsets";
const REVISIONS: &str = "apps/v1 controllerrevisions";

pub async fn stateful_sets(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    t.say("defaults");
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"selector": {"matchLabels": {"app": "web"}},
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}, "ordinals": {}, "minReadySeconds": 0,
        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}, "template": template("v1")}});
    t.post("apps/v1 statefulsets?dryRun=All", bare).await;
    for strategy in [
        json!({"type": "RollingUpdate"}),
        json!({"type": ""}),
        json!({"type": "OnDelete"}),
        json!(null),
    ] {
        let body = manifest(1, json!({"updateStrategy": strategy})).to_string();
        let parts = Shown::Parts(&["/spec/updateStrategy"]);
        t.ask("POST", "apps/v1 statefulsets?dryRun=All", "", &body, parts)
            .await;
    }
    t.say("what is refused");
    for spec in [
        json!({"replicas": -1, "minReadySeconds": -1, "revisionHistoryLimit": -1, "ordinals": {"start": -1}}),
        json!({"podManagementPolicy": "Odd", "serviceName": "a.b"}),
        json!({"serviceName": "A_"}),
        json!({"updateStrategy": {"type": "Odd"}}),
        json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
        json!({"updateStrategy": {"rollingUpdate": {"partition": -1}}}),
        json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Odd"}}),
        json!({"selector": {"matchLabels": {"app": "other"}}}),
        json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 4}}}),
    ] {
        let body = manifest(1, spec).to_string();
        t.ask(
            "POST",
            "apps/v1 statefulsets?dryRun=All",
            "",
            &body,
            Shown::Nothing,
        )
        .await;
    }
    for name in ["a.b", "A", &"a".repeat(64)] {
        let mut body = manifest(1, json!({}));
        body["metadata"]["name"] = name.into();
        t.ask(
            "POST",
            "apps/v1 statefulsets?dryRun=All",
            "",
            &body.to_string(),
            Shown::Nothing,
        )
        .await;
    }
    t.say("what may change and what may not");
    t.given(SETS, manifest(0, json!({}))).await;
    let parts = ["/spec", "/metadata/generation"];
    let web = "apps/v1 statefulsets/web";
    for spec in [
        json!({"minReadySeconds": 1, "revisionHistoryLimit": 3, "ordinals": {"start": 2}}),
        json!({"updateStrategy": {"rollingUpdate": {"partition": 3, "maxUnavailable": 2}}}),
        json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}),
        json!({"updateStrategy": {"rollingUpdate": {"partition": null}}}),
        json!({"updateStrategy": {"type": "OnDelete"}}),
        json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}),
        json!({"minReadySeconds": 0}),
        json!({"serviceName": "other"}),
        json!({"podManagementPolicy": "Parallel"}),
        json!({"selector": {"matchLabels": {"more": "x"}}}),
        json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}]}),
        json!({"template": {"metadata": {"labels": {"app": "other"}}}}),
    ] {
        t.patch("merge", web, json!({"spec": spec}), &parts).await;
    }
    t.say("other patches, and who owns what");
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:v2"}]}}}});
    t.patch("strategic", web, image, &["/spec/template/spec/containers"])
        .await;
    let back = json!({"spec": {"template": {"$patch": "replace", "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "d", "image": "web:v3"}]}}}});
    t.patch("strategic", web, back, &["/spec/template/spec/containers"])
        .await;
    let applied = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "applied"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "ordinals": {"start": 1},
        "updateStrategy": {"rollingUpdate": {"partition": 2}}, "template": template("v1")}});
    let place = "apps/v1 statefulsets/applied?fieldManager=one";
    let parts = [
        "/spec/updateStrategy",
        "/metadata/generation",
        "/metadata/managedFields/0",
    ];
    t.patch("apply", place, applied.clone(), &parts).await;
    let mut other = applied;
    other["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0.into();
    other["spec"]["replicas"] = 1.into();
    t.patch(
        "apply",
        "apps/v1 statefulsets/applied?fieldManager=two",
        other,
        &parts,
    )
    .await;
    t.say("its scale");
    let parts = ["/kind", "/spec", "/status/selector"];
    t.ask(
        "GET",
        "apps/v1 statefulsets/web/scale",
        "",
        "",
        Shown::Parts(&parts),
    )
    .await;
    t.patch(
        "merge",
        "apps/v1 statefulsets/web/scale",
        json!({"spec": {"replicas": 1}}),
        &parts,
    )
    .await;
    t.say("revisions");
    for body in [
        json!({"metadata": {"name": "one"}, "revision": -1}),
        json!({"metadata": {"name": "one"}, "data": {"spec": {"a": [1]}}}),
    ] {
        t.post(REVISIONS, body).await;
    }
    t.patch(
        "merge",
        "apps/v1 controllerrevisions/one",
        json!({"revision": 7}),
        &["/revision", "/data"],
    )
    .await;
    t.patch(
        "merge",
        "apps/v1 controllerrevisions/one",
        json!({"data": {"b": 1}}),
        &["/data"],
    )
    .await;
    t.end("stateful_sets");
}

pub async fn stateful_sets_in_tables(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    t.given(SETS, manifest(0, json!({}))).await;
    let revision = json!({"metadata": {"name": "a"}, "revision": 4, "data": {"spec": {}}});
    t.given(REVISIONS, revision).await;
    let table = "|application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut parts = vec!["/kind".to_owned()];
    for at in 0..5 {
        parts.extend(
            ["name", "type", "format", "priority"].map(|f| format!("/columnDefinitions/{at}/{f}")),
        );
    }
    // All but the age.
    parts.extend([0, 1, 3, 4].map(|at| format!("/rows/0/cells/{at}")));
    let sets: Vec<&str> = parts.iter().map(String::as_str).collect();
    t.ask("GET", SETS, table, "", Shown::Parts(&sets)).await;
    parts.truncate(parts.len() - 4);
    parts.extend([0, 1, 2].map(|at| format!("/rows/0/cells/{at}")));
    let revisions: Vec<&str> = parts.iter().map(String::as_str).collect();
    t.ask(
        "GET",
        "apps/v1 controllerrevisions?fieldSelector=metadata.name=a",
        table,
        "",
        Shown::Parts(&revisions),
    )
    .await;
    t.end("stateful_sets_in_tables");
}
