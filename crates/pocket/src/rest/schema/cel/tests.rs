use serde_json::{Value, json};

use super::*;

fn problems(schema: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    check_rules(schema, "schema", &mut problems);
    problems.iter().map(ToString::to_string).collect()
}

fn schema(rule: &str) -> Value {
    json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {"spec": {
        "type": "object",
        "properties": {
            "n": {"type": "integer"}, "ratio": {"type": "number"}, "name": {"type": "string"},
            "on": {"type": "boolean"}, "at": {"type": "string", "format": "date-time"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"key": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "a-b": {"type": "string"},
        },
    }}})
}

#[test]
fn what_kubernetes_takes_is_taken() {
    for rule in [
        "self.spec.n >= 0",
        "self.spec.n + 1 < 3 && self.spec.name.startsWith('a')",
        "self.spec.ratio > 1",
        "has(self.spec.name) ? self.spec.name != '' : true",
        "!has(self.spec.list) || self.spec.list.all(x, x.key != '')",
        "self.spec.list.map(x, x.key).exists(k, k == 'a')",
        "self.spec.list.filter(x, has(x.key)).size() < 3",
        "self.spec.list.map(x, x.key.size()).sum() < 10",
        "self.spec.labels.all(k, self.spec.labels[k].size() > 0)",
        "'a' in self.spec.labels && self.spec.labels.a == 'b'",
        "self.spec.port == 80 || self.spec.port == 'http'",
        "self.spec.at > timestamp('2026-01-01T00:00:00Z')",
        "self.spec.a__dash__b == oldSelf.spec.a__dash__b",
        "self.metadata.name.size() < 10 && self.kind == 'X'",
        "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        "sets.contains(['a'], [self.spec.name])",
        "self.spec.name in ['a', 'b']",
        "self.spec.list.exists_one(x, x.key == 'a')",
        "[1, 2].max() == 2",
        "format.dns1123Label().validate(self.spec.name).hasValue() == false",
    ] {
        assert_eq!(problems(&schema(rule)), [""; 0], "{rule}");
    }
}

#[test]
fn what_could_never_be_evaluated_is_refused() {
    for (rule, why) in [
        ("self.spec.n >=", "Syntax error"),
        ("self.spec.nope == 1", "undefined field 'nope'"),
        ("has(self.spec.nope)", "undefined field 'nope'"),
        ("self.metadata.labels == {}", "undefined field 'labels'"),
        ("self.spec.free.a == 1", "undefined field 'a'"),
        ("spec.n == 1", "undeclared reference to 'spec'"),
        ("nope(self.spec.n)", "undeclared reference to 'nope'"),
        ("self.spec.name.nope()", "undeclared reference to 'nope'"),
        ("math.abs(-1) == 1", "undeclared reference to 'math.abs'"),
        (
            "self.spec.n == 'a'",
            "found no matching overload for '_==_' applied to '(int, string)'",
        ),
        (
            "self.spec.n > 'a'",
            "found no matching overload for '_>_' applied to '(int, string)'",
        ),
        (
            "self.spec.n + 'a' == ''",
            "found no matching overload for '_+_'",
        ),
        (
            "self.spec.n.startsWith('a')",
            "found no matching overload for 'startsWith' applied to 'int.(string)'",
        ),
        ("self.spec.name.startsWith(1)", "found no matching overload"),
        (
            "self.spec.name.contains('a', 'b')",
            "found no matching overload",
        ),
        (
            "self.spec.n && true",
            "found no matching overload for '_&&_'",
        ),
        (
            "self.spec.n.all(x, true)",
            "cannot be range of a comprehension",
        ),
        (
            "self.spec.name.size == 1",
            "does not support field selection",
        ),
        (
            "self.spec.list.all(x, x.nope == '')",
            "undefined field 'nope'",
        ),
        (
            "self.spec.list.all(x, x.key == 1)",
            "found no matching overload",
        ),
        ("self.spec.n", "cel expression must evaluate to a bool"),
        (
            "[1, 'a'].size() == 2",
            "expected type 'int' but found 'string'",
        ),
        ("self.spec.name.matches('[')", "invalid matches argument"),
        (
            "duration('abc') > duration('1s')",
            "invalid duration argument",
        ),
        (
            "self.spec.at > timestamp('yesterday')",
            "invalid timestamp argument",
        ),
        ("Foo{a: 1} == Foo{a: 1}", "undeclared reference to 'Foo'"),
    ] {
        let found = problems(&schema(rule));
        assert!(
            found.len() == 1 && found[0].contains(why),
            "{rule}: {found:?}"
        );
    }
}

#[test]
fn what_the_library_cannot_evaluate_is_refused_in_pockets_words() {
    for rule in [
        "optional.of(self.spec.name).optMap(v, v + 'a').orValue('') == ''",
        "type(self.spec.n) == int",
        "dyn(self.spec.n) == 1",
        "self.spec.labels.all(k, v, k != v)",
        "self.spec.list.exists(i, v, v.key == 'a')",
        "self.spec.labels.transformList(k, v, v).size() == 0",
        "self.spec.labels.transformMap(k, v, v + 'a').size() == 0",
        "self.spec.list.sortBy(x, x.key).size() == 0",
        "bool(self.spec.name)",
    ] {
        let found = problems(&schema(rule));
        assert!(
            found.len() == 1 && found[0].contains("pocket's CEL does not evaluate"),
            "{rule}: {found:?}"
        );
    }
    let found = problems(&schema("self.?spec.name.orValue('') == ''"));
    assert!(found.len() == 1, "optional selection: {found:?}");
}

#[test]
fn the_wording_of_a_rule() {
    let of = |rule: Value| {
        problems(
            &json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {"a": {"type": "string"}}}),
        )
    };
    for (rule, field) in [
        (json!({"rule": " "}), "rule: Required"),
        (json!({"rule": "true", "message": " "}), "message: Invalid"),
        (
            json!({"rule": "true", "message": "a\nb"}),
            "message: Invalid",
        ),
        (json!({"rule": "true &&\ntrue"}), "message: Required"),
        (
            json!({"rule": "true", "messageExpression": " "}),
            "messageExpression: Required",
        ),
        (
            json!({"rule": "true", "messageExpression": "1"}),
            "messageExpression must evaluate to a string",
        ),
        (
            json!({"rule": "true", "messageExpression": "self.b"}),
            "messageExpression compilation failed",
        ),
        (
            json!({"rule": "true", "reason": "Because"}),
            "reason: Unsupported",
        ),
        (
            json!({"rule": "true", "fieldPath": " "}),
            "fieldPath: Invalid",
        ),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            "may not be set if oldSelf is not used",
        ),
        (
            json!({"rule": "oldSelf.a == ''", "optionalOldSelf": true}),
            "does not evaluate an optional oldSelf",
        ),
    ] {
        let found = of(rule.clone());
        assert!(
            found.len() == 1 && found[0].contains(field),
            "{rule}: {found:?}"
        );
    }
}

#[test]
fn what_was_before_is_known_only_where_items_are_told_apart() {
    let list = |kind: &str| {
        let rule = json!([{"rule": "self.key == oldSelf.key"}]);
        let items = json!({"type": "object", "properties": {"key": {"type": "string"}}, "x-kubernetes-validations": rule});
        let list = json!({"type": "array", "x-kubernetes-list-type": kind, "items": items});
        problems(&json!({"type": "object", "properties": {"list": list}}))
    };
    assert_eq!(list("map"), [""; 0]);
    for kind in ["atomic", "set"] {
        let found = list(kind);
        assert!(
            found[0]
                .contains("uncorrelatable portion of the schema within schema.properties[list]"),
            "{found:?}"
        );
    }
}

#[test]
fn the_rules_of_what_pocket_brings_are_fine() {
    for definition in crate::rest::seed::seed_definitions() {
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let found = problems(&version["schema"]["openAPIV3Schema"]);
            assert_eq!(
                found, [""; 0],
                "{} {}",
                definition["metadata"]["name"], version["name"]
            );
        }
    }
}
