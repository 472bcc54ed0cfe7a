//! Who may do what: four ClusterRoles, each whole by itself, none with a wildcard.
//!
//! A viewer sees all and changes nothing. An operator releases and edits apps and lanes, and cannot approve. An
//! approver approves, and sees all. The engine writes what manifests usually hold, where it is bound; of the whole
//! cluster it only sees what a viewer sees.

use serde_json::{Value, json};

use crate::api::{FIELD_MANAGER, GROUP};

pub const VIEWER: &str = "graylane-viewer";
pub const OPERATOR: &str = "graylane-operator";
pub const APPROVER: &str = "graylane-approver";
pub const ENGINE: &str = "graylane-engine";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete"];

/// All four.
pub(super) fn roles() -> Vec<Value> {
    let with_view = |more: Vec<Value>| [view(), more].concat();
    vec![
        // Whoever has Kubernetes' own `view` sees graylane too; `edit` and `admin` hold `view`.
        role(VIEWER, json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"}), view()),
        role(OPERATOR, json!({}), with_view(operate())),
        role(APPROVER, json!({}), with_view(vec![rule(GROUP, &["approvals"], &["create"])])),
        role(ENGINE, json!({}), with_view(act())),
    ]
}

fn role(name: &str, labels: Value, rules: Vec<Value>) -> Value {
    let mut labels = labels;
    labels["app.kubernetes.io/managed-by"] = FIELD_MANAGER.into();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    })
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn view() -> Vec<Value> {
    vec![
        rule(GROUP, &["apps", "apptemplates", "releases", "approvals", "lanegroups", "lanes"], READ),
        rule("", &["pods", "services", "events", "namespaces"], READ),
        rule("", &["pods/log"], &["get"]),
        rule("apps", &["deployments", "replicasets", "statefulsets", "daemonsets"], READ),
        rule("batch", &["jobs"], READ),
        rule("events.k8s.io", &["events"], READ),
        rule("discovery.k8s.io", &["endpointslices"], READ),
        rule("coordination.k8s.io", &["leases"], READ),
        rule("gateway.networking.k8s.io", &["httproutes", "gateways", "gatewayclasses"], READ),
    ]
}

fn operate() -> Vec<Value> {
    vec![
        rule(GROUP, &["releases", "apps", "apptemplates"], &["create", "update", "patch"]),
        rule(GROUP, &["lanegroups", "lanes"], WRITE),
    ]
}

fn act() -> Vec<Value> {
    vec![
        rule(GROUP, &["apps"], &["update", "patch"]),
        rule(
            GROUP,
            &["apps/status", "releases/status", "lanegroups/status", "lanes/status"],
            &["get", "update", "patch"],
        ),
        // Owner references to a lane group, where the server asks for this right.
        rule(GROUP, &["lanegroups/finalizers"], &["update"]),
        rule("coordination.k8s.io", &["leases"], &["create", "update", "patch"]),
        rule("apps", &["deployments", "statefulsets", "daemonsets"], WRITE),
        rule("batch", &["jobs", "cronjobs"], WRITE),
        rule("batch", &["cronjobs"], READ),
        // The labels of an App for pods that ran before it; and a pod of a StatefulSet that never gets ready, on its way back.
        rule("", &["pods"], &["patch", "delete"]),
        rule("", &["services"], WRITE),
        rule("", &["configmaps", "serviceaccounts", "persistentvolumeclaims"], &[READ, WRITE].concat()),
        rule("autoscaling", &["horizontalpodautoscalers"], &[READ, WRITE].concat()),
        rule("policy", &["poddisruptionbudgets"], &[READ, WRITE].concat()),
        rule("networking.k8s.io", &["ingresses", "networkpolicies"], &[READ, WRITE].concat()),
        rule("gateway.networking.k8s.io", &["httproutes", "gateways"], WRITE),
    ]
}

/// The engine's own account, in the namespace of its releases: sees the cluster, writes there and in `deploy_to`.
pub(super) fn account(namespace: &str, deploy_to: &[String]) -> Vec<Value> {
    let labels = json!({"app.kubernetes.io/managed-by": FIELD_MANAGER, "app.kubernetes.io/name": ENGINE});
    let subjects = json!([{"kind": "ServiceAccount", "name": ENGINE, "namespace": namespace}]);
    let role = |name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
    let mut all = vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": ENGINE, "namespace": namespace, "labels": labels},
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            // Cluster-wide names are shared by the engines of all namespaces.
            "metadata": {"name": format!("{ENGINE}-sees-{namespace}"), "labels": labels},
            "roleRef": role(VIEWER),
            "subjects": subjects,
        }),
    ];
    let mut places = vec![namespace.to_owned()];
    places.extend(deploy_to.iter().filter(|n| *n != namespace).cloned());
    all.extend(places.into_iter().map(|place| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": format!("{ENGINE}-of-{namespace}"), "namespace": place, "labels": labels},
            "roleRef": role(ENGINE),
            "subjects": subjects,
        })
    }));
    all
}
