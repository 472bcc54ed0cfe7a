//! Kinds that people bring: schemas, rules, defaults, pruning, columns, subresources.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::json;

use super::{
    cluster::{LIMIT, Place, cases, eventually},
    transcript::{Shown, Transcript},
};

cases!(a_kind_of_ones_own, graylanes_own_kinds);

async fn a_kind_of_ones_own(at: Place) {
    let mut t = Transcript::new(&at);
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {
    "group": "example.com", "scope": "Namespaced",
    "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
    "versions": [{"name": "v1", "served": true, "storage": true,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "Parts", "type": "string", "jsonPath": ".spec.parts[*].name"}, {"name": "Whole", "type": "string", "jsonPath": ".spec.parts"}],
        "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
            "spec": {"type": "object", "required": ["size"],
                "x-kubernetes-validations": [{"rule": "self.size < 8 || self.colour == 'blue'", "message": "large ones are blue"}],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                    "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is fixed"}]},
                    "name": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
                    "parts": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "n": {"type": "integer", "default": 1}}}},
                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "amount": {"x-kubernetes-int-or-string": true},
                }},
            "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
        }}}}]}});
    let definitions: Api<CustomResourceDefinition> = Api::all(at.client.clone());
    definitions
        .create(
            &PostParams::default(),
            &serde_json::from_value(definition).unwrap(),
        )
        .await
        .unwrap();
    tokio::time::timeout(
        LIMIT,
        await_condition(
            definitions.clone(),
            "widgets.example.com",
            is_crd_established(),
        ),
    )
    .await
    .unwrap()
    .unwrap();
    let widget = |name: &str, spec: serde_json::Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec});
    let widgets = "example.com/v1 widgets";
    let path = t.path(widgets);
    eventually("served", async || {
        let request = http::Request::get(&path).body(Vec::new()).unwrap();
        at.client.request::<serde_json::Value>(request).await.ok()
    })
    .await;
    let made = t
        .post(
            widgets,
            widget(
                "w",
                json!({"size": 3, "parts": [{"name": "a"}], "any": {"x": {"y": 1}}, "amount": "25%", "fixed": "f"}),
            ),
        )
        .await;
    t.say("pruned and warned, or refused");
    let mut odd = widget(
        "odd",
        json!({"size": 1, "odd": true, "parts": [{"name": "a", "odd": 1}]}),
    );
    odd["status"] = json!({"size": 9});
    t.post(widgets, odd.clone()).await;
    t.ask(
        "POST",
        "example.com/v1 widgets?fieldValidation=Strict",
        "",
        &odd.to_string(),
        Shown::Message,
    )
    .await;
    t.say("refused by the schema and by the rules");
    for spec in [
        json!({}),
        json!({"size": 0}),
        json!({"size": 11, "colour": "blue"}),
        json!({"size": 1, "colour": "green"}),
        json!({"size": 1, "name": "abcd"}),
        json!({"size": 1, "name": "A"}),
        json!({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]}),
        json!({"size": 1, "parts": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
        json!({"size": 1, "parts": [{}]}),
        json!({"size": 9}),
        json!({"size": 1, "amount": 1.5}),
        json!({"size": null}),
    ] {
        t.ask(
            "POST",
            widgets,
            "",
            &widget("bad", spec).to_string(),
            Shown::Nothing,
        )
        .await;
    }
    let mut none = widget("bad", json!({}));
    none.as_object_mut().unwrap().remove("spec");
    t.ask("POST", widgets, "", &none.to_string(), Shown::Nothing)
        .await;
    t.say("changes");
    let one = "example.com/v1 widgets/w";
    let parts = ["/spec", "/status", "/metadata/generation"];
    t.patch("merge", one, json!({"spec": {"fixed": "other"}}), &parts)
        .await;
    t.patch(
        "merge",
        one,
        json!({"spec": {"size": 4}, "status": {"size": 4}}),
        &parts,
    )
    .await;
    t.patch(
        "merge",
        "example.com/v1 widgets/w/status",
        json!({"spec": {"size": 5}, "status": {"size": 4}}),
        &parts,
    )
    .await;
    t.patch("strategic", one, json!({"spec": {"size": 5}}), &parts)
        .await;
    t.ask(
        "GET",
        "example.com/v1 widgets/w/scale",
        "",
        "",
        Shown::Parts(&["/kind", "/spec", "/status"]),
    )
    .await;
    t.patch(
        "merge",
        "example.com/v1 widgets/w/scale",
        json!({"spec": {"replicas": 6}}),
        &["/spec"],
    )
    .await;
    t.patch(
        "merge",
        "example.com/v1 widgets/w/scale",
        json!({"spec": {"replicas": 60}}),
        &["/spec"],
    )
    .await;
    t.ask(
        "PUT",
        one,
        "",
        &widget("w", json!({"size": 1})).to_string(),
        Shown::All,
    )
    .await;
    let mut body = widget("w", json!({"size": 1, "fixed": "f"}));
    body["metadata"]["resourceVersion"] = made.version().into();
    t.ask("PUT", one, "", &body.to_string(), Shown::All).await;
    t.say("applied: parts are merged by name");
    let apply = |parts: serde_json::Value| widget("w", json!({"size": 6, "parts": parts}));
    t.patch(
        "apply",
        "example.com/v1 widgets/w?fieldManager=ann&force=true",
        apply(json!([{"name": "b", "n": 2}])),
        &["/spec"],
    )
    .await;
    t.patch(
        "apply",
        "example.com/v1 widgets/w?fieldManager=bob",
        apply(json!([{"name": "b", "n": 3}])),
        &["/spec"],
    )
    .await;
    t.ask(
        "GET",
        widgets,
        "|application/json;as=Table;g=meta.k8s.io;v=v1",
        "",
        Shown::Parts(&[
            "/kind",
            "/columnDefinitions/0/name",
            "/columnDefinitions/1/name",
            "/columnDefinitions/1/type",
            "/columnDefinitions/2/name",
            "/rows/1/cells/0",
            "/rows/1/cells/1",
            "/rows/1/cells/3",
            "/rows/1/cells/4",
        ]),
    )
    .await;
    definitions
        .delete("widgets.example.com", &DeleteParams::default())
        .await
        .unwrap();
    eventually("gone", async || {
        definitions
            .get_opt("widgets.example.com")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    t.end("a_kind_of_ones_own");
}

/// An Approval is written once. (The other kinds' schemas grow; their own tests hold them.)
async fn graylanes_own_kinds(at: Place) {
    let mut t = Transcript::new(&at);
    let approval = json!({"apiVersion": "graylane.dev/v1alpha1", "kind": "Approval", "metadata": {"name": "a"},
        "spec": {"release": "r", "releaseUid": "u", "task": "t", "attempt": 1, "decision": "pass", "approver": "admin", "images": {}}});
    let (all, one) = (
        "graylane.dev/v1alpha1 approvals",
        "graylane.dev/v1alpha1 approvals/a",
    );
    t.ask(
        "POST",
        all,
        "",
        &approval.to_string(),
        Shown::Parts(&["/spec/decision"]),
    )
    .await;
    t.patch(
        "merge",
        one,
        json!({"spec": {"decision": "refuse"}}),
        &["/spec/decision"],
    )
    .await;
    t.patch(
        "merge",
        one,
        json!({"metadata": {"labels": {"a": "b"}}}),
        &["/metadata/labels", "/metadata/generation"],
    )
    .await;
    t.end("graylanes_own_kinds");
}
