//! What every pocket has from the first moment.

use serde_json::{Value, json};

use super::meta;
use crate::pocket::store::Key;

const NAMESPACES: &[&str] = &["default", "graylane-system", "kube-system"];

pub(super) fn objects() -> Vec<(Key, Value)> {
    NAMESPACES.iter().map(|name| namespace(name)).collect()
}

fn namespace(name: &str) -> (Key, Value) {
    let key = Key { resource: "namespaces".into(), namespace: String::new(), name: name.to_owned() };
    let value = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": meta::now(),
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    (key, value)
}
