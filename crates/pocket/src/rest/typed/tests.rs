use proptest::prelude::*;
use serde_json::json;

use super::super::registry::builtin;
use super::*;

fn said(message: &'static str, body: &str) -> Result<TypedObject, TypeMismatch> {
    read_object(message, serde_json::from_str(body).unwrap())
}

fn deployment(spec: &str) -> Result<TypedObject, TypeMismatch> {
    said(
        "apps/v1.Deployment",
        &format!(r#"{{"metadata": {{"name": "x"}}, "spec": {spec}}}"#),
    )
}

/// What a real 1.36.2 answers after `cannot be handled as a Deployment: `.
#[test]
fn what_does_not_fit_is_told_in_gos_words() {
    let container =
        |inner: &str| format!(r#"{{"template": {{"spec": {{"containers": [{{}}, {inner}]}}}}}}"#);
    for (spec, field, words) in [
        (
            r#"{"replicas": "two"}"#.to_owned(),
            "spec.replicas",
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"replicas": 1.5}"#.to_owned(),
            "spec.replicas",
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"replicas": 3000000000}"#.to_owned(),
            "spec.replicas",
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"selector": {"matchLabels": {"app": 1}}}"#.to_owned(),
            "spec.selector.matchLabels.app",
            "json: cannot unmarshal number into Go struct field LabelSelector.spec.selector.matchLabels of type string",
        ),
        (
            container(r#"{"args": "x"}"#),
            "spec.template.spec.containers[1].args",
            "json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.args of type []string",
        ),
        (
            container(r#"{"imagePullPolicy": true}"#),
            "spec.template.spec.containers[1].imagePullPolicy",
            "json: cannot unmarshal bool into Go struct field Container.spec.template.spec.containers.imagePullPolicy of type v1.PullPolicy",
        ),
        (
            container(r#"{"livenessProbe": {"httpGet": 1}}"#),
            "spec.template.spec.containers[1].livenessProbe.httpGet",
            "json: cannot unmarshal number into Go struct field Probe.spec.template.spec.containers.livenessProbe.ProbeHandler.httpGet of type v1.HTTPGetAction",
        ),
        (
            container(r#"{"resources": {"limits": {"cpu": "abc"}}}"#),
            "spec.template.spec.containers[1].resources.limits.cpu",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            container(r#"{"resources": {"limits": {"cpu": "1K"}}}"#),
            "spec.template.spec.containers[1].resources.limits.cpu",
            "unable to parse quantity's suffix",
        ),
    ] {
        let mistake = deployment(&spec).unwrap_err();
        assert_eq!(
            (mistake.field.as_str(), mistake.words.as_str()),
            (field, words)
        );
    }
}

#[test]
fn strict_validation_sees_what_is_unknown_and_what_is_there_twice() {
    let found = deployment(
        r#"{"replica": 1, "replicas": 1, "replicas": 2, "selector": {"matchLabels": {"a": "b", "a": "c"}},
            "template": {"spec": {"containers": [{"name": "c", "immage": "x", "name": "d"}]}}}"#,
    )
    .unwrap();
    let told: Vec<String> = found
        .strict
        .iter()
        .map(|(what, path)| format!("{what} {path}"))
        .collect();
    assert_eq!(
        told,
        [
            "unknown field spec.replica",
            "duplicate field spec.replicas",
            "duplicate field spec.selector.matchLabels.a",
            "unknown field spec.template.spec.containers[0].immage",
            "duplicate field spec.template.spec.containers[0].name",
        ]
    );
    assert_eq!(found.object["spec"]["replicas"], 2, "the last one is taken");
}

#[test]
fn objects_stand_as_go_writes_them() {
    let read = said(
        "core/v1.Pod",
        r#"{"spec": {"containers": [{"image": "i", "name": "c", "env": [{"name": "A", "value": ""}], "args": [],
            "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}], "hostNetwork": false, "nodeName": ""},
            "metadata": {"name": "p", "labels": {"a": null}, "finalizers": [], "creationTimestamp": null},
            "apiVersion": "v1", "kind": "Pod"}"#,
    )
    .unwrap();
    assert_eq!(
        read.object.to_string(),
        json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "labels": {"a": ""}},
            "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "A"}],
                "resources": {"limits": {"cpu": "1", "memory": "1024"}}}]},
            "status": {},
        })
        .to_string()
    );
}

proptest! {
    /// For every kind, reading and writing an object a second time does not change it.
    #[test]
    fn it_settles_at_once(at in 0..builtin::ALL.len(), key in "[a-z]{1,12}", n: i64, text in ".{0,12}") {
        let row = &builtin::ALL[at];
        let Some(message) = types::find_message(row.group, row.version, row.kind) else { return Ok(()) };
        let fields = types::message_fields(message).unwrap();
        let mut body = json!({"metadata": {"name": text, "labels": {key.clone(): text}}});
        for field in fields.iter().filter(|f| f.name != "metadata") {
            body[field.name] = match field.kind {
                FieldKind::Text(_) => text.clone().into(),
                FieldKind::Int32 | FieldKind::Int64 => n.into(),
                _ => json!({key.clone(): n}),
            };
        }
        if let Ok(first) = read_object(message, body.into()) {
            let again = read_object(message, first.object.clone().into()).unwrap();
            prop_assert!(again.strict.is_empty());
            prop_assert_eq!(again.object.to_string(), first.object.to_string());
        }
    }
}
