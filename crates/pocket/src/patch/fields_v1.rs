//! `fieldsV1`: a set of paths as JSON (`f:` field, `k:` keyed item, `v:` set item, `i:` index, `.`
//! the parent itself).

use super::fieldset::{FieldSet, PathElement};
use serde_json::{Map, Value};

pub(super) fn encode_fields(set: &FieldSet) -> Value {
    let mut out = Map::new();
    let mut elements: Vec<&PathElement> = set.members.iter().chain(set.children.keys()).collect();
    elements.sort();
    elements.dedup();
    for element in elements {
        let mut node = Map::new();
        if let Some(child) = set.children.get(element) {
            if set.members.contains(element) {
                node.insert(".".into(), Value::Object(Map::new()));
            }
            if let Value::Object(inner) = encode_fields(child) {
                node.extend(inner);
            }
        }
        out.insert(encode_element(element), Value::Object(node));
    }
    Value::Object(out)
}

/// Returns `None` for anything that is not fieldsV1; an API server then resets managedFields.
pub(super) fn decode_fields(fields: &Value) -> Option<FieldSet> {
    let mut set = FieldSet::default();
    for (name, node) in fields.as_object()? {
        if name == "." {
            continue;
        }
        let element = decode_element(name)?;
        let inner = node.as_object()?;
        if inner.is_empty() || inner.contains_key(".") {
            set.members.insert(element.clone());
        }
        let child = decode_fields(node)?;
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
    Some(set)
}

fn encode_element(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
        PathElement::Key(json) => format!("k:{json}"),
        PathElement::Item(json) => format!("v:{json}"),
        PathElement::Index(i) => format!("i:{i}"),
    }
}

fn decode_element(text: &str) -> Option<PathElement> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "f" => Some(PathElement::Field(rest.to_owned())),
        "k" => {
            let fields: Map<String, Value> = serde_json::from_str(rest).ok()?;
            Some(PathElement::from_key_fields(
                fields.iter().map(|(k, v)| (k.as_str(), v)).collect(),
            ))
        }
        "v" => Some(PathElement::from_set_item(
            &serde_json::from_str(rest).ok()?,
        )),
        "i" => rest.parse().ok().map(PathElement::Index),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_kubernetes_writes_reads_back_the_same() {
        let real = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}}},
            "f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}}},
        });
        let set = decode_fields(&real).unwrap();
        let mut path = vec![
            PathElement::Field("spec".into()),
            PathElement::Field("ports".into()),
            PathElement::Key(r#"{"port":80,"protocol":"TCP"}"#.into()),
        ];
        assert!(set.contains(&path));
        path.push(PathElement::Field("port".into()));
        assert!(set.contains(&path));
        path.push(PathElement::Field("no".into()));
        assert!(!set.contains(&path));
        assert_eq!(encode_fields(&set), real);
        assert_eq!(decode_fields(&encode_fields(&set)), Some(set));
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [
            json!("x"),
            json!({"q:x": {}}),
            json!({"f:x": 1}),
            json!({"k:[]": {}}),
            json!({"v:{": {}}),
        ] {
            assert_eq!(decode_fields(&bad), None, "{bad}");
        }
    }
}
