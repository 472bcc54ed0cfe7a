//! Removes image names given by builds of releases when no object uses them: no Release, no
//! ReplicaSet that a Deployment could roll back to, no pod, no App. Any text in any object counts
//! as a use; only events are ignored.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Images;
use crate::store::Store;

const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);
/// Events describe the past and do not count as a use.
const EVENTS: &str = "events";

/// Removes unused names periodically until `stop` is cancelled.
pub(crate) async fn run_cleanup(store: Store, images: Images, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(CLEANUP_INTERVAL))
        .await
        .is_some()
    {
        let (store, images) = (store.clone(), images.clone());
        let look = move || {
            images.forget_unused(
                |asked| {
                    find_used(
                        store
                            .all_but(&[EVENTS])
                            .iter()
                            .map(|version| version.value()),
                        asked,
                    )
                },
                Timestamp::now(),
            )
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(gone)) if gone.is_empty() => {}
            Ok(Ok(gone)) => tracing::info!(
                names = gone.join(", "),
                "images that nothing names any more are gone"
            ),
            Ok(Err(why)) => tracing::warn!(%why, "images that nothing names any more stay"),
            Err(why) => tracing::warn!(%why, "images that nothing names any more stay"),
        }
    }
}

/// Returns which of the names occur in any text of any object.
fn find_used(objects: impl IntoIterator<Item = Arc<Value>>, asked: &[String]) -> BTreeSet<String> {
    let mut left: Vec<&String> = asked.iter().collect();
    let mut found = BTreeSet::new();
    for object in objects {
        let mut values = vec![&*object];
        while let Some(value) = values.pop() {
            match value {
                Value::String(text) => left.retain(|name| {
                    let is = text.contains(name.as_str());
                    if is {
                        found.insert((*name).clone());
                    }
                    !is
                }),
                Value::Array(items) => values.extend(items),
                Value::Object(map) => values.extend(map.values()),
                _ => {}
            }
        }
        if left.is_empty() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_names_an_image_uses_it() {
        let objects = [
            json!({"kind": "ReplicaSet", "spec": {"template": {"spec": {"containers": [{"image": "a:1"}]}}}}),
            json!({"kind": "Pod", "status": {"containerStatuses": [{"imageID": "a@sha256:ab"}]}}),
            json!({"kind": "Release", "status": {"tasks": [{"rollouts": [{"latch": "{\"image\":\"a:2\"}"}]}]}}),
        ]
        .map(Arc::new);
        let asked = ["a:1", "a:2", "a:3", "sha256:ab", "sha256:cd"].map(str::to_owned);
        let wanted = ["a:1", "a:2", "sha256:ab"].map(str::to_owned);
        assert_eq!(find_used(objects, &asked), BTreeSet::from(wanted));
        assert_eq!(find_used([], &asked), BTreeSet::new());
    }
}
