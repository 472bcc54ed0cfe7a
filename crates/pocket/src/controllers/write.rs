//! Writes that send only what changed.

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::fmt::Debug;

/// Returns the merge patch from `old` to `new`, or `None` if they are equal.
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut out = Map::new();
            for (key, was) in old {
                match new.get(key) {
                    None if was.is_null() => {}
                    None => {
                        out.insert(key.clone(), Value::Null);
                    }
                    Some(is) => {
                        if let Some(change) = merge_diff(was, is) {
                            out.insert(key.clone(), change);
                        }
                    }
                }
            }
            for (key, is) in new {
                if !old.contains_key(key) {
                    out.insert(key.clone(), is.clone());
                }
            }
            (!out.is_empty()).then(|| Value::Object(out))
        }
        (old, new) => (old != new).then(|| new.clone()),
    }
}

/// Updates the status of `object` from `old` to `new`; writes nothing if they are equal.
///
/// The patch names the object's uid, so it cannot change another object of the same name.
pub async fn patch_status<K, S>(
    api: &Api<K>,
    object: &K,
    old: Option<&S>,
    new: &S,
) -> kube::Result<Option<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let text = |e| kube::Error::SerdeError(e);
    let before = old
        .map(serde_json::to_value)
        .transpose()
        .map_err(text)?
        .unwrap_or_else(|| json!({}));
    let after = serde_json::to_value(new).map_err(text)?;
    let Some(change) = merge_diff(&before, &after) else {
        return Ok(None);
    };
    let patch = json!({"metadata": {"uid": object.uid()}, "status": change});
    match api
        .patch_status(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
    {
        // Another object of the same name exists: report it as an ordinary conflict.
        Err(kube::Error::Api(mut status))
            if status.code == 422 && status.message.contains("metadata.uid: ") =>
        {
            status.code = 409;
            Err(kube::Error::Api(status))
        }
        written => written.map(Some),
    }
}

pub fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// Turns "not found" into `None`: a write to an object that is gone needs no retry, because the
/// watch reports the deletion.
pub fn ignore_not_found<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_code(&error, 404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..5i32).prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn a_diff_applied_gives_the_new(old in json_value(), new in json_value()) {
            let mut value = old.clone();
            if let Some(diff) = merge_diff(&old, &new) {
                json_patch::merge(&mut value, &diff);
            } else {
                prop_assert_eq!(&old, &new);
            }
            prop_assert_eq!(value, new);
        }
    }
}
