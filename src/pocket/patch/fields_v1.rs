//! `fieldsV1`: a set of paths as JSON (`f:` field, `k:` keyed item, `v:` set item, `i:` index, `.`
//! the parent itself).

use super::fieldset::{Element, Set};
use serde_json::{Map, Value};

pub(super) fn encode(set: &Set) -> Value {
    let mut out = Map::new();
    let mut elements: Vec<&Element> = set.members.iter().chain(set.children.keys()).collect();
    elements.sort();
    elements.dedup();
    for element in elements {
        let mut node = Map::new();
        if let Some(child) = set.children.get(element) {
            if set.members.contains(element) {
                node.insert(".".into(), Value::Object(Map::new()));
            }
            if let Value::Object(inner) = encode(child) {
                node.extend(inner);
            }
        }
        out.insert(text(element), Value::Object(node));
    }
    Value::Object(out)
}

/// Returns `None` for anything that is not fieldsV1; an API server then resets managedFields.
pub(super) fn decode(fields: &Value) -> Option<Set> {
    let mut set = Set::default();
    for (name, node) in fields.as_object()? {
        if name == "." {
            continue;
        }
        let element = element(name)?;
        let inner = node.as_object()?;
        if inner.is_empty() || inner.contains_key(".") {
            set.members.insert(element.clone());
        }
        let child = decode(node)?;
        if !child.is_empty() {
            set.children.insert(element, child);
        }
    }
    Some(set)
}

fn text(element: &Element) -> String {
    match element {
        Element::Field(name) => format!("f:{name}"),
        Element::Key(json) => format!("k:{json}"),
        Element::Item(json) => format!("v:{json}"),
        Element::Index(i) => format!("i:{i}"),
    }
}

fn element(text: &str) -> Option<Element> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "f" => Some(Element::Field(rest.to_owned())),
        "k" => {
            let fields: Map<String, Value> = serde_json::from_str(rest).ok()?;
            Some(Element::key(
                fields.iter().map(|(k, v)| (k.as_str(), v)).collect(),
            ))
        }
        "v" => Some(Element::item(&serde_json::from_str(rest).ok()?)),
        "i" => rest.parse().ok().map(Element::Index),
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
        let set = decode(&real).unwrap();
        let mut path = vec![
            Element::Field("spec".into()),
            Element::Field("ports".into()),
            Element::Key(r#"{"port":80,"protocol":"TCP"}"#.into()),
        ];
        assert!(set.has(&path));
        path.push(Element::Field("port".into()));
        assert!(set.has(&path));
        path.push(Element::Field("no".into()));
        assert!(!set.has(&path));
        assert_eq!(encode(&set), real);
        assert_eq!(decode(&encode(&set)), Some(set));
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
            assert_eq!(decode(&bad), None, "{bad}");
        }
    }
}
