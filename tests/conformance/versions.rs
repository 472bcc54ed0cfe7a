//! Kinds in several versions, and rules that are refused when their definition is made.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::{Value, json};

use super::{
    cluster::{LIMIT, Place, cases, eventually},
    transcript::{Shown, Transcript},
};

cases!(versions_of_a_kind, rules_refused_with_their_definition);

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn version(name: &str, storage: bool, field: Value) -> Value {
    let mut properties = json!({"both": {"type": "string"}});
    properties
        .as_object_mut()
        .unwrap()
        .extend(field.as_object().unwrap().clone());
    let spec = json!({"type": "object", "properties": properties});
    json!({"name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}})
}

async fn versions_of_a_kind(at: Place) {
    let mut t = Transcript::new(&at);
    let mut old = version("v1alpha1", false, json!({"old": {"type": "string"}}));
    old["deprecated"] = true.into();
    let mut beta = version("v2beta1", false, json!({}));
    beta["deprecated"] = true.into();
    beta["deprecationWarning"] = "use v10".into();
    let definition = json!({"metadata": {"name": "gears.versions.example.com"}, "spec": {
        "group": "versions.example.com", "scope": "Namespaced", "names": {"plural": "gears", "kind": "Gear"},
        "versions": [old, version("v1", true, json!({"kept": {"type": "string", "default": "yes"}})), beta,
            version("v10", false, json!({"new": {"type": "string"}, "filled": {"type": "integer", "default": 3}}))],
    }});
    let definitions: Api<CustomResourceDefinition> = Api::all(at.client.clone());
    definitions
        .create(
            &PostParams::default(),
            &serde_json::from_value(definition).unwrap(),
        )
        .await
        .unwrap();
    let name = "gears.versions.example.com";
    tokio::time::timeout(
        LIMIT,
        await_condition(definitions.clone(), name, is_crd_established()),
    )
    .await
    .unwrap()
    .unwrap();
    // A real server tells a group a moment after it serves it.
    eventually("told and served", async || {
        let ask = async |path: &str| {
            let request = http::Request::get(path).body(Vec::new()).unwrap();
            at.client.request::<Value>(request).await.ok()
        };
        ask("/apis/versions.example.com/v10/gears").await?;
        let group = ask("/apis/versions.example.com").await?;
        (group["versions"].as_array()?.len() == 4).then_some(())
    })
    .await;
    t.say("the preferred version is the newest stable one");
    let names = [
        "/preferredVersion",
        "/versions/0",
        "/versions/1",
        "/versions/2",
        "/versions/3",
    ];
    t.ask(
        "GET",
        "/apis/versions.example.com",
        "",
        "",
        Shown::Parts(&names),
    )
    .await;
    t.say("what the stored version does not know is dropped");
    let gear = |name: &str, version: &str, spec: Value| json!({"apiVersion": format!("versions.example.com/{version}"), "kind": "Gear", "metadata": {"name": name}, "spec": spec});
    let parts = ["/apiVersion", "/spec"];
    for (name, version, spec) in [
        ("a", "v10", json!({"both": "b", "new": "n", "kept": "k"})),
        ("b", "v1", json!({"both": "b", "kept": "k"})),
        ("c", "v1alpha1", json!({"both": "b", "old": "o"})),
    ] {
        let path = format!("versions.example.com/{version} gears");
        t.ask(
            "POST",
            &path,
            "",
            &gear(name, version, spec).to_string(),
            Shown::Parts(&parts),
        )
        .await;
    }
    for version in ["v1alpha1", "v1", "v2beta1", "v10"] {
        for name in ["a", "b", "c"] {
            let path = format!("versions.example.com/{version} gears/{name}");
            t.ask("GET", &path, "", "", Shown::Parts(&parts)).await;
        }
    }
    t.say("a deprecated version is told with every answer");
    for path in ["v1alpha1 gears", "v1alpha1 gears/nope", "v2beta1 gears"] {
        t.ask(
            "GET",
            &format!("versions.example.com/{path}"),
            "",
            "",
            Shown::Parts(&["/kind", "/apiVersion"]),
        )
        .await;
    }
    t.patch(
        "merge",
        "versions.example.com/v2beta1 gears/b",
        json!({"spec": {"both": "c"}}),
        &parts,
    )
    .await;
    t.ask(
        "GET",
        "versions.example.com/v1 gears/b",
        "",
        "",
        Shown::Parts(&parts),
    )
    .await;
    definitions
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
    eventually("gone", async || {
        definitions
            .get_opt(name)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    t.end("versions_of_a_kind");
}

/// The words of a compiler are its own: only the code and the reason are held.
async fn rules_refused_with_their_definition(at: Place) {
    let mut t = Transcript::new(&at);
    let spec = json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "name": {"type": "string", "maxLength": 10},
        "list": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {"key": {"type": "string", "maxLength": 5}}}},
        "labels": {"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 5}},
    }});
    for rule in [
        json!({"rule": "self.spec.n > 0 && self.spec.name.startsWith('a')"}),
        json!({"rule": "self.spec.list.all(x, x.key != '') && size(self.spec.labels) < 3"}),
        json!({"rule": "self.metadata.name == 'a'", "messageExpression": "'not ' + self.metadata.name"}),
        json!({"rule": "self.spec.n >= oldSelf.spec.n"}),
        json!({"rule": "self.spec.n >"}),
        json!({"rule": "self.spec.nope == 1"}),
        json!({"rule": "spec.n == 1"}),
        json!({"rule": "nope(self.spec.n)"}),
        json!({"rule": "self.spec.n == 'a'"}),
        json!({"rule": "self.spec.n"}),
        json!({"rule": "self.spec.list.all(x, x.nope == '')"}),
        json!({"rule": "self.spec.name.matches('[')"}),
        json!({"rule": "duration('soon') > duration('1s')"}),
        json!({"rule": "math.abs(self.spec.n) == 1"}),
        json!({"rule": ""}),
        json!({"rule": "true", "message": ""}),
        json!({"rule": "true &&\ntrue"}),
        json!({"rule": "true", "messageExpression": "1"}),
        json!({"rule": "true", "reason": "Because"}),
        json!({"rule": "true", "optionalOldSelf": true}),
    ] {
        let schema = json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {"spec": spec}});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ruled.rules.example.com"}, "spec": {
            "group": "rules.example.com", "scope": "Namespaced", "names": {"plural": "ruled", "kind": "Ruled"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        }});
        t.say(&rule.to_string());
        let path = format!("{DEFINITIONS}?dryRun=All");
        let answer = t
            .ask(
                "POST",
                &path,
                "application/json",
                &definition.to_string(),
                Shown::Code,
            )
            .await;
        let field = answer.body["details"]["causes"][0]["field"]
            .as_str()
            .unwrap_or_default();
        t.say(&format!(
            "of {}",
            if answer.code == 201 { "nothing" } else { field }
        ));
    }
    t.end("rules_refused_with_their_definition");
}
