//! Service accounts that read and write an App's objects. The engine impersonates an account in the
//! namespace of each object, so editing an App gives nobody more rights than that account has
//! (modelled on Flux's `spec.serviceAccountName`). The engine's own rights cover graylane's kinds
//! only.

use serde_json::Value;

use super::text::Clean;
use crate::api::{App, Environment, GROUP, NamespaceRef, ObjectRef, label};

/// Verbs on resources of an API group, as in an RBAC rule.
pub struct Grant {
    /// API group.
    pub group: &'static str,
    /// Resources in the plural, or `resource/subresource`.
    pub resources: &'static [&'static str],
    /// Lists of verbs; all of them are granted.
    pub verbs: &'static [&'static [&'static str]],
}

/// Verbs that read a resource.
pub const READ_VERBS: &[&str] = &["get", "list", "watch"];
/// Verbs that change a resource.
pub const WRITE_VERBS: &[&str] = &["create", "update", "patch", "delete"];

/// Default service account of an environment.
pub const DEPLOYER: &str = "graylane-deployer";
/// Name of the engine's service account, Deployment and Lease.
pub const ENGINE: &str = "graylane-engine";

/// Rights that `graylane install` gives to [`DEPLOYER`] in its namespace: what manifests usually
/// contain and what a rollout needs. No Secrets, no Roles, none of graylane's own kinds.
pub const DEPLOYER_GRANTS: &[Grant] = &[
    Grant {
        group: "apps",
        resources: &["deployments", "statefulsets", "daemonsets"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    Grant {
        group: "batch",
        resources: &["jobs", "cronjobs"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    // Labels for pods that are older than their App, and pods of a StatefulSet that never become
    // ready.
    Grant {
        group: "",
        resources: &["pods"],
        verbs: &[READ_VERBS, &["patch", "delete"]],
    },
    Grant {
        group: "",
        resources: &[
            "services",
            "configmaps",
            "serviceaccounts",
            "persistentvolumeclaims",
        ],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    Grant {
        group: "autoscaling",
        resources: &["horizontalpodautoscalers"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    Grant {
        group: "policy",
        resources: &["poddisruptionbudgets"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    Grant {
        group: "networking.k8s.io",
        resources: &["ingresses", "networkpolicies"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    Grant {
        group: "gateway.networking.k8s.io",
        resources: &["httproutes", "gateways"],
        verbs: &[READ_VERBS, WRITE_VERBS],
    },
    // Owner references from routes to their lane group, if the server requires this right.
    Grant {
        group: GROUP,
        resources: &["lanegroups/finalizers"],
        verbs: &[&["update"]],
    },
];

/// A service account in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// Namespace of the account.
    pub namespace: NamespaceRef,
    /// Name of the account.
    pub name: String,
}

impl Account {
    /// Default account of a namespace.
    pub fn deployer(namespace: NamespaceRef) -> Self {
        Self {
            namespace,
            name: DEPLOYER.to_owned(),
        }
    }

    /// Account that acts for an environment on an object: in the object's own namespace, or in the
    /// environment's for cluster-scoped objects.
    pub fn for_object(environment: &Environment, object: &ObjectRef) -> Self {
        let mut namespace = object.key.namespace.clone();
        if namespace.name.is_empty() {
            namespace.name = environment.namespace.as_str().into();
        }
        Self {
            namespace,
            name: environment
                .service_account_name
                .clone()
                .unwrap_or_else(|| DEPLOYER.to_owned()),
        }
    }

    /// Account that acts for an environment of an App. If the App no longer has the environment,
    /// the account that deployed it.
    pub fn for_environment(app: Option<&App>, name: &str, object: &ObjectRef) -> Self {
        if let Some(environment) = app.and_then(|app| app.spec.environment(name)) {
            return Self::for_object(environment, object);
        }
        let status = app.and_then(|app| app.status.as_ref()?.environments.get(name));
        let by = status.and_then(|status| status.service_account_name.clone());
        Self {
            name: by.unwrap_or_else(|| DEPLOYER.to_owned()),
            ..Self::deployer(object.key.namespace.clone())
        }
    }

    /// User name of the account for API servers.
    pub fn user(&self) -> String {
        format!(
            "system:serviceaccount:{}:{}",
            self.namespace.name, self.name
        )
    }
}

/// Whether [`DEPLOYER_GRANTS`] contains this right.
pub fn may_deploy(verb: &str, group: &str, resource: &str) -> bool {
    let holds = |g: &Grant| {
        g.group == group
            && g.resources.contains(&resource)
            && g.verbs.iter().any(|verbs| verbs.contains(&verb))
    };
    DEPLOYER_GRANTS.iter().any(holds)
}

/// Suggests what to do about a server's message that an account lacks a right.
pub fn suggest_remedy(words: &str) -> Option<&'static str> {
    if words.contains("cannot impersonate resource \"serviceaccounts\"") {
        return Some(
            "`graylane install --deploy-to` with that namespace makes the account and lets the engine act as it",
        );
    }
    let forbidden = words.contains("is forbidden: User \"system:serviceaccount:")
        && words.contains("\" cannot ");
    forbidden.then_some(
        "it is applied as this service account: give it the right by a role of your own (`graylane install --deploy-to` \
         gives graylane-deployer what manifests usually hold)",
    )
}

/// An object is graylane's own, or its pods would run as one of graylane's accounts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnObjectError {
    /// Its kind is one of graylane's.
    #[error("{kind} {name}: graylane's own kinds cannot be part of an App: apply it separately")]
    Kind {
        /// Kind of the object.
        kind: Clean,
        /// Name of the object.
        name: Clean,
    },
    /// It has the name or the label of one of graylane's own objects.
    #[error(
        "{kind} {name} is graylane's own: give this one another name, without {}",
        label::COMPONENT
    )]
    Name {
        /// Kind of the object.
        kind: Clean,
        /// Name of the object.
        name: Clean,
    },
    /// Its pods would run as an account that deploys Apps.
    #[error(
        "{kind} {name}: its pods would run as {account}, which deploys Apps: give them another account"
    )]
    Account {
        /// Kind of the object.
        kind: Clean,
        /// Name of the object.
        name: Clean,
        /// The account.
        account: Clean,
    },
}

/// Rejects objects that no App may contain: graylane's own objects, and pods that would run as one
/// of graylane's accounts. `account` is the account that would apply the object.
pub fn check_not_own_object(object: &Value, account: &str) -> Result<(), OwnObjectError> {
    let text = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, name) = (
        Clean::from_untrusted(text("/kind")),
        Clean::from_untrusted(text("/metadata/name")),
    );
    let group = text("/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    if group == GROUP {
        return Err(OwnObjectError::Kind { kind, name });
    }
    let component = object
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(label::COMPONENT));
    if [ENGINE, DEPLOYER].contains(&text("/metadata/name")) || component.is_some() {
        return Err(OwnObjectError::Name { kind, name });
    }
    for pod in [
        "/spec",
        "/spec/template/spec",
        "/spec/jobTemplate/spec/template/spec",
    ] {
        for field in ["serviceAccountName", "serviceAccount"] {
            let runs_as = text(&format!("{pod}/{field}"));
            if !runs_as.is_empty() && [ENGINE, DEPLOYER, account].contains(&runs_as) {
                let account = Clean::from_untrusted(runs_as);
                return Err(OwnObjectError::Account {
                    kind,
                    name,
                    account,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ObjectKey;

    fn object(namespace: &str) -> ObjectRef {
        ObjectRef::new("v1", "Service", ObjectKey::new(namespace.into(), "s"))
    }

    #[test]
    fn an_object_is_written_by_an_account_of_its_own_namespace() {
        let plain = Environment {
            namespace: "prod".into(),
            ..Environment::default()
        };
        let named = Environment {
            service_account_name: Some("shop".into()),
            ..plain.clone()
        };
        for (environment, namespace, context, user) in [
            (
                &plain,
                "prod",
                None,
                "system:serviceaccount:prod:graylane-deployer",
            ),
            (
                &plain,
                "other",
                None,
                "system:serviceaccount:other:graylane-deployer",
            ),
            (
                &plain,
                "",
                None,
                "system:serviceaccount:prod:graylane-deployer",
            ),
            (&named, "prod", None, "system:serviceaccount:prod:shop"),
            (
                &named,
                "far/prod",
                Some("far"),
                "system:serviceaccount:prod:shop",
            ),
            (
                &named,
                "a/b/",
                Some("a/b"),
                "system:serviceaccount:prod:shop",
            ),
        ] {
            let account = Account::for_object(environment, &object(namespace));
            assert_eq!(
                (account.namespace.cluster.context(), account.user().as_str()),
                (context, user),
                "{namespace}"
            );
        }
        assert_eq!(
            Account::deployer("far/x".into()).user(),
            "system:serviceaccount:x:graylane-deployer"
        );
    }

    #[test]
    fn an_app_holds_nothing_of_graylanes_own() {
        let meta = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        let with = |mut object: Value, path: &str, value: Value| {
            let mut at = &mut object;
            for step in path.split('/') {
                at = &mut at[step];
            }
            *at = value;
            object
        };
        let deployment = || meta("apps/v1", "Deployment", "web");
        for (object, told) in [
            (
                meta("graylane.dev/v1alpha1", "Release", "r"),
                "graylane's own kinds",
            ),
            (meta("graylane.dev/v2", "App", "a"), "graylane's own kinds"),
            (
                meta("apps/v1", "Deployment", "graylane-engine"),
                "is graylane's own",
            ),
            (
                meta("coordination.k8s.io/v1", "Lease", "graylane-engine"),
                "is graylane's own",
            ),
            (
                meta("v1", "ServiceAccount", "graylane-deployer"),
                "is graylane's own",
            ),
            (
                with(
                    deployment(),
                    "metadata/labels",
                    json!({label::COMPONENT: "engine"}),
                ),
                "is graylane's own",
            ),
            (
                with(
                    deployment(),
                    "spec/template/spec/serviceAccountName",
                    "graylane-engine".into(),
                ),
                "run as graylane-engine",
            ),
            (
                with(
                    deployment(),
                    "spec/template/spec/serviceAccount",
                    "shop".into(),
                ),
                "run as shop",
            ),
            (
                with(
                    meta("v1", "Pod", "p"),
                    "spec/serviceAccountName",
                    "graylane-deployer".into(),
                ),
                "run as graylane-deployer",
            ),
            (
                with(
                    meta("batch/v1", "CronJob", "c"),
                    "spec/jobTemplate/spec/template/spec/serviceAccountName",
                    "shop".into(),
                ),
                "run as shop",
            ),
        ] {
            let why = check_not_own_object(&object, "shop")
                .unwrap_err()
                .to_string();
            assert!(why.contains(told), "{object}: {why}");
        }
        let own = with(
            deployment(),
            "spec/template/spec/serviceAccountName",
            "web".into(),
        );
        assert_eq!(
            (
                check_not_own_object(&own, "shop"),
                check_not_own_object(&deployment(), "")
            ),
            (Ok(()), Ok(()))
        );
    }

    #[test]
    fn a_deployer_has_no_right_over_graylane_nor_over_rights() {
        assert!(may_deploy("patch", "apps", "deployments") && may_deploy("delete", "", "pods"));
        for (verb, group, resource) in [
            ("create", GROUP, "releases"),
            ("update", GROUP, "releases/status"),
            ("patch", "coordination.k8s.io", "leases"),
            ("create", "rbac.authorization.k8s.io", "rolebindings"),
            ("get", "", "secrets"),
            ("create", "", "pods"),
            ("impersonate", "", "serviceaccounts"),
            ("create", "", "serviceaccounts/token"),
            ("create", "apps", "controllerrevisions"),
        ] {
            assert!(
                !may_deploy(verb, group, resource),
                "{verb} {group}/{resource}"
            );
        }
    }
}
