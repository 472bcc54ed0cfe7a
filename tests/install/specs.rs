//! A right spec of each kind, to be made wrong.

use serde_json::{Value, json};

pub fn app() -> Value {
    json!({
        "images": {"backend": {"repository": "a"}},
        "manifests": [{"name": "d.yaml", "template": "x"}],
        "environments": [
            {"name": "gray", "namespace": "demo", "lane": "gray", "rollout": {"batches": [1, "50%", "100%"]}},
            {"name": "prod", "namespace": "demo"},
        ],
        "workflow": {"stages": [{"name": "production", "tasks": [
            {"name": "approve", "approval": {}}, {"name": "go", "proceed": {}}, {"name": "up", "deploy": {"environment": "gray"}},
        ]}]},
    })
}

pub fn lane() -> Value {
    let condition = |on: &str, op: &str, values: &[&str]| json!({"type": on, "key": "k", "op": op, "values": values});
    json!({"group": "g", "tag": "gray", "match": {"paths": ["/A"], "all": [
        condition("parameter", "==", &["gray"]),
        condition("header", "notIn", &["a", "b"]),
        condition("cookie", "percent", &["12.5"]),
        {"type": "method", "op": "in", "values": ["GET"]},
        {"type": "cookie", "key": "k", "op": "exists"},
    ]}})
}

pub fn group() -> Value {
    json!({
        "entry": {"gateway": "edge", "routes": [{"path": "/A", "app": "a", "rewrite": "/"}]},
        "apps": [{"app": "a", "port": 80}, {"app": "b", "service": "b-svc", "port": 81}],
    })
}

pub fn approval() -> Value {
    json!({
        "release": "a-1", "releaseUid": "u", "task": "approve", "attempt": 1, "decision": "pass", "approver": "admin",
        "images": {"backend": "sha256:1"},
    })
}
