//! Cells against what kubectl shows for the same objects on a real cluster.

use serde_json::json;

use super::*;

#[test]
fn ages_are_shortened_as_kubectl_does() {
    let cases = [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (9 * 3600, "9h"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (4000 * 86400, "10y"),
        (-5, "<invalid>"),
    ];
    for (seconds, words) in cases {
        assert_eq!(age::human_duration(seconds), words, "{seconds}");
    }
}

#[test]
fn printer_columns_find_what_they_name() {
    let object = json!({
        "metadata": {"labels": {"a.b/c": "x"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
                   "addresses": [{"value": "1"}, {"value": "2"}]},
    });
    let find = |path: &str| -> Vec<String> {
        json_path::find_path(&object, path)
            .iter()
            .map(|v| v.to_string())
            .collect()
    };
    assert_eq!(
        find(r#".status.conditions[?(@.type=="Ready")].status"#),
        [r#""True""#]
    );
    assert_eq!(
        find(".status.conditions[?(@.type=='Other')].status"),
        [r#""False""#]
    );
    assert_eq!(find(".status.addresses[*].value"), [r#""1""#, r#""2""#]);
    assert_eq!(find(".status.addresses[-1].value"), [r#""2""#]);
    assert_eq!(find(r".metadata.labels.a\.b/c"), [r#""x""#]);
    assert_eq!(find(".metadata.labels['a.b/c']"), [r#""x""#]);
    for nothing in [
        ".nope.x",
        ".status.addresses[7]",
        ".status[",
        ".status.conditions[?(@.type)]",
    ] {
        assert!(find(nothing).is_empty(), "{nothing}");
    }
}

#[test]
fn one_word_for_a_pod() {
    let pod =
        |status: Value| json!({"metadata": {}, "spec": {"containers": [{}]}, "status": status});
    let state = |state: Value| json!({"phase": "Running", "containerStatuses": [{"ready": false, "state": state}]});
    assert_eq!(
        pods::pod_status(&pod(json!({"phase": "Pending"}))),
        "Pending"
    );
    assert_eq!(
        pods::pod_status(&pod(state(
            json!({"waiting": {"reason": "CrashLoopBackOff"}})
        ))),
        "CrashLoopBackOff"
    );
    assert_eq!(
        pods::pod_status(&pod(state(json!({"terminated": {"exitCode": 3}})))),
        "ExitCode:3"
    );
    assert_eq!(
        pods::pod_status(&pod(state(json!({"running": {}})))),
        "Running"
    );
    let mut leaving = pod(state(json!({"running": {}})));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(pods::pod_status(&leaving), "Terminating");
    let mut starting =
        pod(json!({"phase": "Pending", "initContainerStatuses": [{"state": {"running": {}}}]}));
    starting["spec"]["initContainers"] = json!([{}, {}]);
    assert_eq!(pods::pod_status(&starting), "Init:0/2");
}
