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
        account::{self, READ, WRITE},
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
pub(super) const WEAKEN: &str = Right::Weaken.parts().0;

/// All roles.
pub(super) fn roles() -> Vec<Value> {
    let with_view = |more: Vec<Value>| [view(), more].concat();
    vec![
        // Kubernetes' own `view` role includes graylane's; `edit` and `admin` include `view`.
        role(
            VIEWER,
            json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"}),
            view(),
        ),
        role(OPERATOR, json!({}), with_view(operate())),
        role(
            ADMIN,
            json!({}),
            with_view([operate(), vec![rule(GROUP, &["apps"], &[WEAKEN])]].concat()),
        ),
        role(
            APPROVER,
            json!({}),
            with_view(vec![rule(GROUP, &["approvals"], &["create"])]),
        ),
        role(ENGINE, json!({}), with_view(act())),
        role(DEPLOYER, json!({}), deploy()),
        role(
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

/// A rule for the one object of that name.
fn named_rule(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    let mut rule = rule(group, &[resource], verbs);
    rule["resourceNames"] = json!([name]);
    rule
}

fn view() -> Vec<Value> {
    vec![
        rule(
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
            READ,
        ),
        rule(
            "",
            &[
                "pods",
                "services",
                "events",
                "namespaces",
                "serviceaccounts",
            ],
            READ,
        ),
        rule("", &["pods/log"], &["get"]),
        rule(
            "apps",
            &[
                "deployments",
                "replicasets",
                "statefulsets",
                "daemonsets",
                "controllerrevisions",
            ],
            READ,
        ),
        rule("batch", &["jobs"], READ),
        rule("events.k8s.io", &["events"], READ),
        rule("discovery.k8s.io", &["endpointslices"], READ),
        rule("coordination.k8s.io", &["leases"], READ),
        rule(
            "gateway.networking.k8s.io",
            &["httproutes", "gateways", "gatewayclasses"],
            READ,
        ),
    ]
}

fn operate() -> Vec<Value> {
    vec![
        rule(
            GROUP,
            &["releases", "apps", "apptemplates", "variablegroups"],
            &["create", "update", "patch"],
        ),
        rule(GROUP, &["lanegroups", "lanes"], WRITE),
    ]
}

/// Graylane's own kinds, and the Lease. Workloads of Apps are written by [`account::DEPLOYER`]
/// instead.
fn act() -> Vec<Value> {
    vec![
        rule(GROUP, &["apps"], &["update", "patch"]),
        rule(
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
        rule(GROUP, &["releases", "approvals"], &["delete"]),
        rule("coordination.k8s.io", &["leases"], &["create"]),
        named_rule(
            "coordination.k8s.io",
            "leases",
            ENGINE_LEASE,
            &["update", "patch"],
        ),
        // The revisions that releases are frozen to; they are immutable.
        rule("apps", &["controllerrevisions"], &["create", "delete"]),
    ]
}

fn deploy() -> Vec<Value> {
    account::DEPLOYS
        .iter()
        .map(|g| rule(g.group, g.resources, &g.verbs.concat()))
        .collect()
}

/// The service accounts that deploy to these namespaces; no pod runs as one of them.
pub(super) fn deployers(namespaces: &BTreeSet<&str>) -> Vec<Value> {
    let of = |namespace: &&str| {
        let meta = json!({"name": DEPLOYER, "namespace": namespace, "labels": labels(DEPLOYER)});
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

fn labels(name: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": FIELD_MANAGER, "app.kubernetes.io/name": name})
}

fn role_ref(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name})
}

/// Name of the engine for a namespace: of its service account, its Deployment and its bindings.
pub(super) fn engine_of(home: &str) -> String {
    format!("{ENGINE}-{home}")
}

/// The engine's service account in `place`: it reads the cluster, carries out the releases of
/// `home`, and may impersonate the deploying accounts of these namespaces.
pub(super) fn account(place: &str, home: &str, namespaces: &BTreeSet<&str>) -> Vec<Value> {
    let (name, labels) = (engine_of(home), labels(ENGINE));
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
