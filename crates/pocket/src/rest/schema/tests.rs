use serde_json::json;

use super::super::error::ApiError;
use super::*;

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 1},
                "port": {"x-kubernetes-int-or-string": true},
                "list": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "map",
                         "x-kubernetes-list-map-keys": ["k"],
                         "items": {"type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer", "default": 7}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "choice": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                           "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            },
            "x-kubernetes-validations": [
                {"rule": "self.size != 5", "message": "five is not a size"},
                {"rule": "self.size >= oldSelf.size", "message": "may not shrink"},
            ],
        }},
    })
}

fn words(spec: Value) -> Vec<String> {
    let problems = validate_object(&schema(), &json!({"spec": spec}));
    problems
        .iter()
        .map(|p| ApiError::invalid("", "W", "w", std::slice::from_ref(p)).message)
        .map(|m| m.trim_start_matches("W \"w\" is invalid: ").to_owned())
        .collect()
}

#[test]
fn pruning_keeps_what_is_known() {
    let mut object = json!({
        "apiVersion": "v1", "kind": "W", "metadata": {"name": "w"}, "extra": 1,
        "spec": {"size": 1, "sise": 2, "free": {"x": {"y": 1}}, "map": {"a": "b"}, "list": [{"k": "a", "z": 1}]},
    });
    let mut dropped = Vec::new();
    prune_unknown_fields(&schema(), &mut object, &mut dropped);
    dropped.sort();
    assert_eq!(dropped, ["extra", "spec.list[0].z", "spec.sise"]);
    assert_eq!(
        object["spec"],
        json!({"size": 1, "free": {"x": {"y": 1}}, "map": {"a": "b"}, "list": [{"k": "a"}]})
    );
}

#[test]
fn defaults_fill_gaps_and_nulls() {
    let mut object = json!({"spec": {"colour": null, "list": [{"k": "a"}, {"k": "b", "n": 1}]}});
    apply_defaults(&schema(), &mut object);
    assert_eq!(
        object["spec"],
        json!({"list": [{"k": "a", "n": 7}, {"k": "b", "n": 1}], "colour": "red"})
    );
}

#[test]
fn what_is_wrong_is_told_in_kubernetes_words() {
    assert_eq!(
        words(json!({"size": 1, "port": 80, "choice": {"a": ""}})),
        Vec::<String>::new()
    );
    let cases = [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": "x"}),
            r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#,
        ),
        (
            json!({"size": 0}),
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            json!({"size": 1, "colour": "green"}),
            r#"spec.colour: Unsupported value: "green": supported values: "red", "blue""#,
        ),
        (
            json!({"size": 1, "name": "A"}),
            r#"spec.name: Invalid value: "A": spec.name in body should match '^[a-z]+$'"#,
        ),
        (
            json!({"size": 1, "name": "abcdef"}),
            "spec.name: Too long: may not be more than 5 bytes",
        ),
        (
            json!({"size": 1, "list": [{"k": "a"}, {"k": "a"}]}),
            r#"spec.list[1]: Duplicate value: {"k":"a"}"#,
        ),
        (
            json!({"size": 1, "map": {"a": 1}}),
            r#"spec.map.a: Invalid value: "integer": spec.map.a in body must be of type string: "integer""#,
        ),
        (
            json!({"size": 1, "choice": {"a": "", "b": ""}}),
            r#"spec.choice: Invalid value: {"a":"","b":""}: "spec.choice" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(words(spec), [expected]);
    }
}

#[test]
fn rules_see_the_object_and_its_past() {
    let rules = ValidationRules::default();
    let check = |size: u64, old: Option<u64>| -> Vec<String> {
        let object = |size: u64| json!({"spec": {"size": size}});
        let old = old.map(object);
        rules
            .check_object(&schema(), &object(size), old.as_ref())
            .iter()
            .map(|p| p.field.clone())
            .collect()
    };
    assert_eq!(check(4, None), Vec::<String>::new());
    assert_eq!(check(5, None), ["spec"]);
    assert_eq!(check(3, Some(4)), ["spec"]);
    assert_eq!(check(4, Some(4)), Vec::<String>::new());
}
