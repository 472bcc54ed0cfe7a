//! Properties that hold for every configuration.

use super::super::{apply_merge_patch, apply_server_side, apply_strategic_patch, track_update};
use super::{LATER, NOW, deployment, deployments, owned};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Maps a small number to a leaf of a Deployment, so that two configurations may or may not share
/// fields.
fn field(i: u8, value: u8) -> (&'static [&'static str], Value) {
    match i {
        0 => (&["replicas"], json!(value)),
        1 => (&["paused"], json!(value.is_multiple_of(2))),
        2 => (&["minReadySeconds"], json!(value)),
        3 => (
            &["template", "metadata", "labels", "app"],
            json!(value.to_string()),
        ),
        4 => (
            &["template", "metadata", "labels", "tag"],
            json!(value.to_string()),
        ),
        5 => (
            &["template", "spec", "nodeSelector"],
            json!({"n": value.to_string()}),
        ),
        6 => (
            &["template", "spec", "tolerations"],
            json!([{"key": value.to_string()}]),
        ),
        7 => (
            &["template", "spec", "containers"],
            json!([{"name": "a", "image": value.to_string()}]),
        ),
        8 => (
            &["template", "spec", "containers"],
            json!([{"name": "b", "env": [{"name": "X", "value": value.to_string()}]}]),
        ),
        _ => (
            &["template", "spec", "volumes"],
            json!([{"name": value.to_string(), "emptyDir": {}}]),
        ),
    }
}

fn build(fields: &[(u8, u8)]) -> Value {
    let mut spec = json!({});
    for (i, value) in fields {
        let (path, value) = field(*i, *value);
        let mut at = &mut spec;
        for step in path {
            at = at
                .as_object_mut()
                .unwrap()
                .entry(*step)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        match (at, value) {
            (Value::Array(items), Value::Array(more)) => items.extend(more),
            (at, value) => *at = value,
        }
    }
    // An empty map is a field too.
    let mut object = deployment(spec);
    if fields.is_empty() {
        object.as_object_mut().unwrap().remove("spec");
    }
    object
}

fn fields() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::btree_map(0u8..10, 0u8..4, 0..10).prop_map(|m| m.into_iter().collect())
}

/// Without managedFields, and with containers sorted by name: the order of a keyed list is that of
/// the last applier, and nobody owns it.
fn bare(object: &Value) -> Value {
    let mut out = object.clone();
    let containers = out.pointer_mut("/spec/template/spec/containers");
    if let Some(containers) = containers.and_then(Value::as_array_mut) {
        containers.sort_by_key(|c| c["name"].to_string());
    }
    out["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    out
}

proptest! {
    #[test]
    fn apply_is_idempotent(first in fields(), second in fields()) {
        let keys = deployments();
        let one = apply_server_side(None, &build(&first), "one", false, NOW, &keys).unwrap();
        let both = apply_server_side(Some(&one), &build(&second), "two", true, NOW, &keys).unwrap();
        let again = apply_server_side(Some(&both), &build(&second), "two", false, LATER, &keys).unwrap();
        prop_assert_eq!(again, both);
    }

    #[test]
    fn disjoint_managers_never_conflict_and_both_stay(all in fields(), split in any::<u16>()) {
        let keys = deployments();
        let (a, b): (Vec<_>, Vec<_>) = all.iter().copied().partition(|(i, _)| split >> i & 1 == 0);
        let one = apply_server_side(None, &build(&a), "one", false, NOW, &keys).unwrap();
        let two = apply_server_side(Some(&one), &build(&b), "two", false, LATER, &keys);
        prop_assert!(two.is_ok(), "{}", two.unwrap_err());
        let two = two.unwrap();
        prop_assert_eq!(owned(&two, "one"), owned(&one, "one"));
        // The result has the fields of both and nothing else.
        let alone = apply_server_side(None, &build(&all), "x", false, NOW, &keys).unwrap();
        let rest = apply_server_side(Some(&two), &build(&all), "x", false, NOW, &keys).unwrap();
        prop_assert_eq!(bare(&rest), bare(&two));
        prop_assert_eq!(owned(&rest, "x"), owned(&alone, "x"));
        // Each configuration can be removed on its own.
        let gone = apply_server_side(Some(&two), &build(&[]), "one", false, LATER, &keys).unwrap();
        prop_assert_eq!(owned(&gone, "one"), Value::Null);
        let only = apply_server_side(None, &build(&b), "two", false, NOW, &keys).unwrap();
        if !b.is_empty() {
            prop_assert_eq!(bare(&gone), bare(&only));
        }
    }

    #[test]
    fn a_removed_field_goes_only_when_solely_owned(mine in fields(), theirs in fields(), keep in any::<u16>()) {
        let keys = deployments();
        let one = apply_server_side(None, &build(&mine), "one", false, NOW, &keys).unwrap();
        // The other manager wants some of the same fields, with the same values.
        let shared: Vec<(u8, u8)> = mine.iter().copied().filter(|(i, _)| theirs.iter().any(|(j, _)| i == j)).collect();
        let two = apply_server_side(Some(&one), &build(&shared), "two", false, NOW, &keys).unwrap();
        let kept: Vec<(u8, u8)> = mine.iter().copied().filter(|(i, _)| keep >> i & 1 == 1).collect();
        let out = apply_server_side(Some(&two), &build(&kept), "one", false, LATER, &keys).unwrap();
        let mut expected: Vec<(u8, u8)> = mine.iter().copied().filter(|f| kept.contains(f) || shared.contains(f)).collect();
        expected.sort_unstable();
        if !expected.is_empty() {
            let want = apply_server_side(None, &build(&expected), "w", false, NOW, &keys).unwrap();
            let same = apply_server_side(Some(&out), &build(&expected), "w", false, NOW, &keys).unwrap();
            prop_assert_eq!(owned(&same, "w"), owned(&want, "w"));
            prop_assert_eq!(bare(&out), bare(&want));
        }
    }

    #[test]
    fn tracking_changes_nothing_but_the_bookkeeping(first in fields(), second in fields()) {
        let keys = deployments();
        let one = track_update(None, &build(&first), "one", None, NOW, &keys);
        prop_assert_eq!(bare(&one), bare(&build(&first)));
        let two = track_update(Some(&one), &build(&second), "two", None, LATER, &keys);
        prop_assert_eq!(bare(&two), bare(&build(&second)));
        // Every field of the object has an owner, and applying the same values is no conflict.
        let applied = apply_server_side(Some(&two), &build(&second), "three", false, LATER, &keys);
        prop_assert!(applied.is_ok());
    }

    #[test]
    fn an_empty_patch_is_the_identity(object in fields()) {
        let object = build(&object);
        prop_assert_eq!(apply_merge_patch(&object, &json!({})), object.clone());
        prop_assert_eq!(apply_strategic_patch(&object, &json!({}), &deployments()).unwrap(), object);
    }

    #[test]
    fn an_object_patched_with_itself_is_itself(object in fields()) {
        let object = build(&object);
        prop_assert_eq!(apply_strategic_patch(&object, &object, &deployments()).unwrap(), object.clone());
        prop_assert_eq!(apply_merge_patch(&object, &object), object);
    }
}
