use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-11-30T21:10:00Z".parse().unwrap()
}

fn told(object: &Value, events: &[ObjectEvent]) -> Vec<String> {
    let line = |line: DescribedLine| {
        let label = match line.label.as_str() {
            "" => String::new(),
            label => format!("{label}: "),
        };
        let sign = match line.tone {
            Tone::Heading => "# ",
            Tone::Plain => "",
            Tone::Good => "+ ",
            Tone::Warn => "! ",
            Tone::Bad => "x ",
        };
        format!("{}{sign}{label}{}", "  ".repeat(line.indent), line.text)
    };
    describe_object(object, events, now())
        .into_iter()
        .map(line)
        .collect()
}

#[test]
fn a_pod_tells_its_containers_and_how_the_last_run_ended() {
    let pod = json!({
        "kind": "Pod",
        "metadata": {"name": "a-1", "namespace": "demo", "creationTimestamp": "2026-11-30T21:00:00Z",
            "labels": {"app": "a"}, "ownerReferences": [{"kind": "ReplicaSet", "name": "a"}]},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "r/a:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "app",
                    "lastTransitionTime": "2026-11-30T21:09:00Z"},
                {"type": "DisruptionTarget", "status": "False"}],
            "containerStatuses": [{"name": "app", "imageID": "r/a@sha256:00", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "signal": 9,
                    "finishedAt": "2026-11-30T21:09:30Z"}}}]},
    });
    let event = ObjectEvent {
        time: "2026-11-30T21:09:40Z".parse().ok(),
        warning: true,
        reason: "BackOff".into(),
        message: "restarting \u{1b}[31mfailed".into(),
        count: 4,
    };
    assert_eq!(
        told(&pod, &[event]),
        [
            "# Pod a-1",
            "  namespace: demo",
            "  age: 10m",
            "  owner: ReplicaSet a",
            "  labels: app=a",
            "  + phase: Running",
            "  address: 10.0.0.7",
            "  node: n1",
            "# Containers",
            "  app",
            "    image: r/a:1",
            "    ports: http 8080",
            "    requests: cpu=100m",
            "    limits: memory=64Mi",
            "    digest: sha256:00",
            "    ! state: waiting: CrashLoopBackOff: back-off",
            "    ! restarts: 3",
            "    ! run before: ended 30s ago with code 137, signal 9: OOMKilled",
            "# Conditions",
            "  ! Ready: False for 60s (ContainersNotReady: app)",
            "  + DisruptionTarget: False",
            "# Events",
            "  ! 20s ago: BackOff: restarting failed (×4)",
        ]
    );
}

#[test]
fn workloads_services_and_others_tell_what_they_are_for() {
    let deployment = json!({"kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"spec": {"containers": [{"name": "app", "image": "r/a:1"}]}}},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1}});
    assert_eq!(
        told(&deployment, &[])[1..4],
        [
            "  ! pods: 3 wanted, 3 there, 1 updated, 2 ready, 0 available",
            "  strategy: RollingUpdate maxSurge=25%",
            "  selector: app=a",
        ]
    );
    let service = json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "ClusterIP",
        "clusterIPs": ["10.1.0.1"], "selector": {"app": "a"},
        "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}});
    assert_eq!(
        told(&service, &[])[1..5],
        [
            "  type: ClusterIP",
            "  address: 10.1.0.1",
            "  port: http 80/TCP to web",
            "  selector: app=a",
        ]
    );
    let lane = json!({"kind": "Lane", "metadata": {"name": "gray"}, "spec": {"tag": "gray", "match": {"all": []}},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}]}});
    let told = told(&lane, &[]);
    assert!(told.contains(&"  tag: gray".to_owned()), "{told:?}");
    assert!(told.contains(&"  + Accepted: True".to_owned()), "{told:?}");
    assert!(
        !told.iter().any(|line| line.contains("# Status")),
        "{told:?}"
    );
}

proptest::proptest! {
    /// Whatever a server says, something is told and nothing moves the cursor.
    #[test]
    fn any_object_can_be_described(text in ".{0,12}", number in proptest::prelude::any::<i64>()) {
        for kind in ["Pod", "Deployment", "Service", "Lane", &text] {
            let odd = json!({"kind": kind, "metadata": {"name": text, "labels": number, "ownerReferences": [number]},
                "spec": {"replicas": text, "containers": [text, {"name": number, "ports": text}], "ports": [number]},
                "status": {"conditions": [{"type": text, "status": number}], "containerStatuses": {"a": text}}});
            let lines = describe_object(&odd, &[], now());
            proptest::prop_assert!(lines.len() > 2);
            proptest::prop_assert!(lines.iter().all(|l| !l.text.contains(char::is_control)));
        }
    }
}
