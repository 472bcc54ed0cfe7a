//! JSON patch (RFC 6902) as a Kubernetes API server applies it (gopkg.in/evanphx/json-patch.v4). It
//! differs from the RFC: a `test` for null holds for a missing field, `replace` adds a field that
//! an object lacks, and a negative index counts from the end of the list.

use serde_json::Value;

use super::PatchError;

/// Applies all operations or none.
pub fn apply_json_patch(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let malformed = |e| PatchError::Malformed(format!("not a list of JSON patch operations: {e}"));
    serde_json::from_value::<json_patch::Patch>(patch.clone()).map_err(malformed)?;
    let mut out = target.clone();
    for operation in patch.as_array().into_iter().flatten() {
        let mut operation = operation.clone();
        let adds = matches!(operation["op"].as_str(), Some("add" | "copy" | "move"));
        resolve_indices(&mut operation, "from", &out, false);
        resolve_indices(&mut operation, "path", &out, adds);
        let path = operation["path"].as_str().unwrap_or_default();
        let lacks = lacks_key(&out, path);
        match operation["op"].as_str() {
            Some("test") if lacks && operation["value"].is_null() => continue,
            Some("replace") if lacks => operation["op"] = "add".into(),
            _ => {}
        }
        let operation: json_patch::PatchOperation =
            serde_json::from_value(operation).map_err(malformed)?;
        json_patch::patch(&mut out, &[operation])
            .map_err(|e| PatchError::Inapplicable(e.to_string()))?;
    }
    Ok(out)
}

/// Whether the object that the pointer's last step belongs to exists but lacks that key.
fn lacks_key(document: &Value, pointer: &str) -> bool {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return false;
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    document
        .pointer(parent)
        .and_then(Value::as_object)
        .is_some_and(|parent| !parent.contains_key(&key))
}

/// Resolves negative indices, which count from the end of the list. Where the operation adds an
/// item, the list counts as one longer.
fn resolve_indices(operation: &mut Value, field: &str, document: &Value, adds: bool) {
    let Some(pointer) = operation[field].as_str().filter(|p| p.contains("/-")) else {
        return;
    };
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let mut resolved = String::new();
    for (at, step) in steps.iter().enumerate() {
        let length = document
            .pointer(&resolved)
            .and_then(Value::as_array)
            .map(Vec::len);
        let extra = usize::from(adds && at + 1 == steps.len());
        let from_end = step.strip_prefix('-').and_then(|n| n.parse::<usize>().ok());
        let index = length
            .zip(from_end)
            .and_then(|(length, back)| (length + extra).checked_sub(back));
        resolved.push('/');
        match index {
            Some(index) => resolved.push_str(&index.to_string()),
            None => resolved.push_str(step),
        }
    }
    operation[field] = resolved.into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_or_nothing() {
        let target = json!({"spec": {"paused": false, "n": [1, 2]}});
        let good = json!([
            {"op": "test", "path": "/spec/paused", "value": false},
            {"op": "replace", "path": "/spec/paused", "value": true},
            {"op": "add", "path": "/spec/n/-", "value": 3},
        ]);
        assert_eq!(
            apply_json_patch(&target, &good),
            Ok(json!({"spec": {"paused": true, "n": [1, 2, 3]}}))
        );
        let stale = json!([
            {"op": "remove", "path": "/spec/n"},
            {"op": "test", "path": "/spec/paused", "value": true},
        ]);
        assert!(matches!(
            apply_json_patch(&target, &stale),
            Err(PatchError::Inapplicable(_))
        ));
        assert!(matches!(
            apply_json_patch(&target, &json!({"op": "add"})),
            Err(PatchError::Malformed(_))
        ));
    }

    #[test]
    fn where_kubernetes_differs_from_the_rfc() {
        let target = json!({"m": {"a": "b", "c/d": 1}, "n": [1, 2, 3]});
        for (patch, changed) in [
            (
                json!({"op": "test", "path": "/m/none", "value": null}),
                Some(target.clone()),
            ),
            (
                json!({"op": "test", "path": "/none/none", "value": null}),
                None,
            ),
            (json!({"op": "test", "path": "/m/a", "value": null}), None),
            (
                json!({"op": "test", "path": "/m/c~1d", "value": 1}),
                Some(target.clone()),
            ),
            (
                json!({"op": "replace", "path": "/m/new", "value": 1}),
                Some(json!({"m": {"a": "b", "c/d": 1, "new": 1}, "n": [1, 2, 3]})),
            ),
            (
                json!({"op": "replace", "path": "/none/new", "value": 1}),
                None,
            ),
            (json!({"op": "remove", "path": "/m/none"}), None),
            (
                json!({"op": "remove", "path": "/n/-1"}),
                Some(json!({"m": {"a": "b", "c/d": 1}, "n": [1, 2]})),
            ),
            (
                json!({"op": "add", "path": "/n/-1", "value": 4}),
                Some(json!({"m": {"a": "b", "c/d": 1}, "n": [1, 2, 3, 4]})),
            ),
            (
                json!({"op": "test", "path": "/n/-3", "value": 1}),
                Some(target.clone()),
            ),
            (json!({"op": "test", "path": "/n/-4", "value": 1}), None),
        ] {
            assert_eq!(
                apply_json_patch(&target, &json!([patch])).ok(),
                changed,
                "{patch}"
            );
        }
    }
}
