//! ClusterRoles: each is complete by itself, and none uses a wildcard.
//!
//! A viewer reads everything and changes nothing. An operator releases and edits apps and lanes,
//! but can neither approve nor weaken approvals. An admin may also weaken approvals. An approver
//! approves, and reads everything. The engine writes graylane's own kinds where it is bound, and
//! reads what a viewer reads; workloads of Apps it writes as a service account of their namespace,
//! which it may impersonate only there.

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub use crate::domain::account::{DEPLOYER, ENGINE};
use crate::{
    api::{FIELD_MANAGER, GROUP},
    cluster::lease::ENGINE_LEASE,
    domain::{
        account::{self, READ_VERBS, WRITE_VERBS},
        rights::Right,
    },
};

pub const VIEWER: &str = "graylane-viewer";
pub const OPERATOR: &str = "graylane-operator";
pub const ADMIN: &str = "graylane-admin";
pub const APPROVER: &str = "graylane-approver";
/// May impersonate [`DEPLOYER`] where it is bound; a service account of another name needs a
/// similar role of its own.
pub const IMPERSONATOR: &str = "graylane-impersonator";

/// The verb on Apps that allows weakening or removing their approvals; the policy
/// `graylane-workflows` checks it.
pub(super) const WEAKEN: &str = Right::Weaken.rbac_parts().0;

/// All roles.
pub(super) fn cluster_roles() -> Vec<Value> {
    let with_view = |more: Vec<Value>| [viewer_rules(), more].concat();
    vec![
        // Kubernetes' own `view` role includes graylane's; `edit` and `admin` include `view`.
        cluster_role(
            VIEWER,
            json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"}),
            viewer_rules(),
        ),
        cluster_role(OPERATOR, json!({}), with_view(operator_rules())),
        cluster_role(
            ADMIN,
            json!({}),
            with_view(
                [
                    operator_rules(),
                    vec![policy_rule(GROUP, &["apps"], &[WEAKEN])],
                ]
                .concat(),
            ),
        ),
        cluster_role(
            APPROVER,
            json!({}),
            with_view(vec![policy_rule(GROUP, &["approvals"], &["create"])]),
        ),
        cluster_role(ENGINE, json!({}), with_view(engine_rules())),
        cluster_role(DEPLOYER, json!({}), deployer_rules()),
        cluster_role(
            IMPERSONATOR,
            json!({}),
            vec![named_rule(
                "",
                "serviceaccounts",
                DEPLOYER,
                &["impersonate"],
            )],
        ),
    ]
}

fn cluster_role(name: &str, labels: Value, rules: Vec<Value>) -> Value {
    let mut labels = labels;
    labels["app.kubernetes.io/managed-by"] = FIELD_MANAGER.into();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": rules,
    })
}

fn policy_rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// A rule for the one object of that name.
fn named_rule(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    let mut rule = policy_rule(group, &[resource], verbs);
    rule["resourceNames"] = json!([name]);
    rule
}

fn viewer_rules() -> Vec<Value> {
    vec![
        policy_rule(
            GROUP,
            &[
                "apps",
                "apptemplates",
                "variablegroups",
                "releases",
                "approvals",
                "lanegroups",
                "lanes",
            ],
            READ_VERBS,
        ),
        policy_rule(
            "",
            &[
                "pods",
                "services",
                "events",
                "namespaces",
                "serviceaccounts",
            ],
            READ_VERBS,
        ),
        policy_rule("", &["pods/log"], &["get"]),
        policy_rule(
            "apps",
            &[
                "deployments",
                "replicasets",
                "statefulsets",
                "daemonsets",
                "controllerrevisions",
            ],
            READ_VERBS,
        ),
        policy_rule("batch", &["jobs"], READ_VERBS),
        policy_rule("events.k8s.io", &["events"], READ_VERBS),
        policy_rule("discovery.k8s.io", &["endpointslices"], READ_VERBS),
        policy_rule("coordination.k8s.io", &["leases"], READ_VERBS),
        policy_rule(
            "gateway.networking.k8s.io",
            &["httproutes", "gateways", "gatewayclasses"],
            READ_VERBS,
        ),
    ]
}

fn operator_rules() -> Vec<Value> {
    vec![
        policy_rule(
            GROUP,
            &["releases", "apps", "apptemplates", "variablegroups"],
            &["create", "update", "patch"],
        ),
        policy_rule(GROUP, &["lanegroups", "lanes"], WRITE_VERBS),
    ]
}

/// Graylane's own kinds, and the Lease. Workloads of Apps are written by [`account::DEPLOYER`]
/// instead.
fn engine_rules() -> Vec<Value> {
    vec![
        policy_rule(GROUP, &["apps"], &["update", "patch"]),
        policy_rule(
            GROUP,
            &[
                "apps/status",
                "releases/status",
                "lanegroups/status",
                "lanes/status",
            ],
            &["get", "update", "patch"],
        ),
        // Releases that exceed an App's history limit.
        policy_rule(GROUP, &["releases", "approvals"], &["delete"]),
        policy_rule("coordination.k8s.io", &["leases"], &["create"]),
        named_rule(
            "coordination.k8s.io",
            "leases",
            ENGINE_LEASE,
            &["update", "patch"],
        ),
        // The revisions that releases are frozen to; they are immutable.
        policy_rule("apps", &["controllerrevisions"], &["create", "delete"]),
    ]
}

fn deployer_rules() -> Vec<Value> {
    account::DEPLOYER_GRANTS
        .iter()
        .map(|g| policy_rule(g.group, g.resources, &g.verbs.concat()))
        .collect()
}

/// The service accounts that deploy to these namespaces; no pod runs as one of them.
pub(super) fn deployer_objects(namespaces: &BTreeSet<&str>) -> Vec<Value> {
    let of = |namespace: &&str| {
        let meta =
            json!({"name": DEPLOYER, "namespace": namespace, "labels": common_labels(DEPLOYER)});
        [
            json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": meta,
                "automountServiceAccountToken": false,
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": role_ref(DEPLOYER),
                "subjects": [{"kind": "ServiceAccount", "name": DEPLOYER, "namespace": namespace}],
            }),
        ]
    };
    namespaces.iter().flat_map(of).collect()
}

fn common_labels(name: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": FIELD_MANAGER, "app.kubernetes.io/name": name})
}

fn role_ref(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name})
}

/// Name of the engine for a namespace: of its service account, its Deployment and its bindings.
pub(super) fn engine_name(home: &str) -> String {
    format!("{ENGINE}-{home}")
}

/// The engine's service account in `place`: it reads the cluster, carries out the releases of
/// `home`, and may impersonate the deploying accounts of these namespaces.
pub(super) fn engine_account(place: &str, home: &str, namespaces: &BTreeSet<&str>) -> Vec<Value> {
    let (name, labels) = (engine_name(home), common_labels(ENGINE));
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": place}]);
    let binding = |kind: &str, namespace: Option<&str>, name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "roleRef": role_ref(role),
            "subjects": subjects,
        })
    };
    let mut all = vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": place, "labels": labels},
        }),
        // Cluster-wide names are shared by the engines of all namespaces.
        binding(
            "ClusterRoleBinding",
            None,
            &format!("{ENGINE}-sees-{home}"),
            VIEWER,
        ),
        binding("RoleBinding", Some(home), ENGINE, ENGINE),
    ];
    let acts = format!("{name}-impersonates");
    all.extend(
        namespaces
            .iter()
            .map(|namespace| binding("RoleBinding", Some(namespace), &acts, IMPERSONATOR)),
    );
    all.iter_mut().for_each(|object| {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.retain(|_, value| !value.is_null());
        }
    });
    all
}
