//! Server-side apply: who owns what, and who is told of whom.

use graylane::api::App;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    cluster::{Place, cases},
    transcript::{Shown, Transcript},
};

cases!(
    owners_of_a_map,
    owners_of_a_deployment,
    what_an_apply_may_not,
    nulls_that_are_applied
);

const FIELDS: [&str; 3] = ["/data", "/metadata/labels", "/metadata/managedFields"];

fn map(data: serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

async fn owners_of_a_map(at: Place) {
    let mut t = Transcript::new(&at);
    let (ann, bob) = (
        "configmaps/a?fieldManager=ann",
        "configmaps/a?fieldManager=bob",
    );
    let one = t
        .patch("apply", ann, map(json!({"k": "1", "l": "1"})), &FIELDS)
        .await;
    let two = t
        .patch("apply", ann, map(json!({"k": "1", "l": "1"})), &FIELDS)
        .await;
    assert_eq!(one.version(), two.version());
    t.say("the same value is shared, another one is a conflict");
    t.patch("apply", bob, map(json!({"k": "1"})), &FIELDS).await;
    t.patch("apply", bob, map(json!({"k": "2", "l": "2"})), &FIELDS)
        .await;
    t.patch(
        "apply",
        "configmaps/a?fieldManager=bob&force=true",
        map(json!({"k": "2"})),
        &FIELDS,
    )
    .await;
    t.say("what nobody wants any more goes");
    t.patch("apply", ann, map(json!({"k": "2"})), &FIELDS).await;
    t.patch("apply", bob, map(json!({"m": "3"})), &FIELDS).await;
    t.say("an update takes what it changes");
    t.patch(
        "merge",
        "configmaps/a?fieldManager=eve",
        json!({"data": {"k": "9"}, "metadata": {"labels": {"e": "v"}}}),
        &FIELDS,
    )
    .await;
    t.patch("apply", ann, map(json!({"k": "1"})), &FIELDS).await;
    t.patch(
        "apply",
        ann,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}),
        &FIELDS,
    )
    .await;
    t.patch(
        "merge",
        "configmaps/a?fieldManager=eve",
        json!({"metadata": {"managedFields": [{}]}}),
        &FIELDS,
    )
    .await;
    t.patch("apply", ann, map(json!({"k": "9"})), &FIELDS).await;
    t.patch(
        "apply",
        "configmaps/a?fieldManager=ann&dryRun=All",
        map(json!({"k": "9", "z": "1"})),
        &FIELDS,
    )
    .await;
    t.end("owners_of_a_map");
}

async fn owners_of_a_deployment(at: Place) {
    let mut t = Transcript::beside_controllers(&at);
    let web = |replicas: i32, env: serde_json::Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"paused": true, "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "web:1", "env": env, "ports": [{"containerPort": 80}]}]}}}})
    };
    let fields = [
        "/spec/replicas",
        "/spec/template/spec/containers/0/env",
        "/metadata/managedFields/0",
    ];
    let both = [
        "/spec/replicas",
        "/spec/template/spec/containers/0/env",
        "/spec/minReadySeconds",
    ];
    let ann = "apps/v1 deployments/web?fieldManager=ann";
    t.patch(
        "apply",
        ann,
        web(0, json!([{"name": "A", "value": "1"}])),
        &fields,
    )
    .await;
    t.patch(
        "apply",
        "apps/v1 deployments/web?fieldManager=bob",
        web(
            1,
            json!([{"name": "A", "value": "2"}, {"name": "B", "value": "2"}]),
        ),
        &both,
    )
    .await;
    t.patch(
        "apply",
        "apps/v1 deployments/web?fieldManager=bob",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "B", "value": "2"}]}]}}}}),
        &both,
    )
    .await;
    t.patch("apply", ann, web(0, json!([])), &both).await;
    t.say("the latch by a patch, as the engine writes it; then the whole again");
    t.patch("merge", "apps/v1 deployments/web?fieldManager=graylane", json!({"spec": {"minReadySeconds": 5, "replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}), &both).await;
    let mut whole = web(0, json!([]));
    whole["spec"]["minReadySeconds"] = 0.into();
    whole["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": "25%"}});
    t.patch("apply", ann, whole, &both).await;
    t.patch("apply", "apps/v1 deployments/web/status?fieldManager=sam", json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"conditions": [{"type": "Odd", "status": "True"}]}}), &["/kind"]).await;
    t.end("owners_of_a_deployment");
}

async fn what_an_apply_may_not(at: Place) {
    let mut t = Transcript::new(&at);
    let a = "configmaps/a?fieldManager=ann";
    t.patch("apply", "configmaps/a", map(json!({"k": "1"})), &FIELDS)
        .await;
    let mut body = map(json!({"k": "1"}));
    body["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]);
    t.patch("apply", a, body, &FIELDS).await;
    let mut body = map(json!({"k": "1"}));
    body["metadata"]["name"] = "b".into();
    t.patch("apply", a, body, &FIELDS).await;
    t.patch("apply", a, json!({"metadata": {"name": "a"}}), &FIELDS)
        .await;
    t.ask(
        "PATCH",
        a,
        "application/apply-patch+yaml",
        "kind: [",
        Shown::Code,
    )
    .await;
    let mut body = map(json!({"k": "1"}));
    body["metadata"]["resourceVersion"] = "1".into();
    t.ask(
        "PATCH",
        a,
        "application/apply-patch+yaml",
        &body.to_string(),
        Shown::Code,
    )
    .await;
    t.patch(
        "merge",
        "configmaps/a?force=true",
        json!({"data": {"k": "1"}}),
        &FIELDS,
    )
    .await;
    t.end("what_an_apply_may_not");
}

/// A null is a value where a custom resource's schema lets any stand; elsewhere it is none.
async fn nulls_that_are_applied(at: Place) {
    let app = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "App",
        "metadata": {"name": "a", "annotations": {"k": "v"}, "labels": null}, "spec": {"repository": null, "manifests": [],
        "environments": [{"name": "e", "namespace": "n", "lock": null, "values": {"gone": null, "list": [null, {"in": null}]}}]}});
    let by = PatchParams::apply("ann");
    let made = at
        .api::<App>()
        .patch("a", &by, &Patch::Apply(&app))
        .await
        .unwrap();
    let written = serde_json::to_value(&made).unwrap();
    let values = &written["spec"]["environments"][0]["values"];
    assert_eq!(
        *values,
        json!({"gone": null, "list": [null, {"in": null}]}),
        "{written}"
    );
    assert_eq!(
        (
            &written["metadata"]["labels"],
            &written["spec"]["repository"]
        ),
        (&Value::Null, &Value::Null)
    );
    let again = at
        .api::<App>()
        .patch("a", &by, &Patch::Apply(&app))
        .await
        .unwrap();
    // When a second has passed a real server stamps the manager's entry anew, where there is a null.
    assert_eq!(
        (&again.spec, again.metadata.generation),
        (&made.spec, made.metadata.generation),
        "the same again"
    );
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": null}, "data": {"k": "v"}});
    let made = at
        .api::<ConfigMap>()
        .patch("a", &by, &Patch::Apply(&map))
        .await
        .unwrap();
    assert_eq!((made.metadata.labels, made.data.unwrap().len()), (None, 1));
}
