//! Objects as an API server stores them, and pod status as the kubelet reports it; the same for
//! both kinds of workload.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::domain::observe::ObservedPod;

/// Live object created from a manifest.
pub(in crate::domain::batches) fn create_object(manifest: &Value, uid: &str) -> Value {
    let mut live = manifest.clone();
    live["metadata"]["uid"] = uid.into();
    live["metadata"]["resourceVersion"] = "1".into();
    live["metadata"]["generation"] = 1.into();
    live
}

/// Merge patch as a client sends it: a stale one is refused.
pub(in crate::domain::batches) fn merge_patch(
    live: &mut Value,
    patch: &Value,
) -> Result<(), &'static str> {
    if let Some(version) = patch.pointer("/metadata/resourceVersion")
        && version != &live["metadata"]["resourceVersion"]
    {
        return Err("409");
    }
    let before = live["spec"].clone();
    json_patch::merge(live, patch);
    bump_version(live);
    if before != live["spec"] {
        live["metadata"]["generation"] =
            (live["metadata"]["generation"].as_i64().unwrap() + 1).into();
    }
    Ok(())
}

/// Increments the resourceVersion after a write.
pub(in crate::domain::batches) fn bump_version(live: &mut Value) {
    let version: u64 = live["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    live["metadata"]["resourceVersion"] = (version + 1).to_string().into();
}

/// How long a pod has been Ready, for a watcher that has seen all of it.
pub(in crate::domain::batches) fn ready_duration(pod: &ObservedPod, now: i64) -> SignedDuration {
    let since = pod.ready.and_then(|r| r.since).map(Timestamp::as_second);
    SignedDuration::from_secs(now - since.unwrap_or(now))
}

/// Status of a pod: since when it is Ready, or why it is not.
pub(in crate::domain::batches) fn pod_status(ready: Option<i64>, broken: bool) -> Value {
    let since = Timestamp::from_second(ready.unwrap_or(0))
        .unwrap()
        .to_string();
    let reason = if broken {
        "CrashLoopBackOff"
    } else {
        "ContainerCreating"
    };
    let state = if ready.is_some() {
        json!({"running": {}})
    } else {
        json!({"waiting": {"reason": reason}})
    };
    json!({"phase": "Running",
        "conditions": [{"type": "Ready", "lastTransitionTime": since, "status": if ready.is_some() { "True" } else { "False" }}],
        "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": ready.is_some(), "restartCount": 0, "state": state}]})
}
