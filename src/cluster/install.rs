//! Installs graylane into a cluster and removes it: custom resource definitions, roles, admission
//! policies, the engine.
//!
//! All objects are applied server-side by one field manager. Installing twice changes nothing,
//! fields that someone else changed are reported and not overwritten, and `--print` shows
//! everything that would be applied.

mod deployment;
mod legacy;
mod otlp;
mod policy;
mod roles;
mod uninstall;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::version::Info,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{conditions, wait::await_condition},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{error, rights::Permission};
use crate::api;

pub(in crate::cluster) use deployment::INSTANCE_LABEL;
pub use uninstall::{Removal, find_installed, remove_object};

/// How long a cluster may take to serve a new kind.
const ESTABLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Names of installed objects.
pub mod names {
    pub use super::policy::{
        APPROVALS as APPROVAL_POLICY, RELEASES as RELEASE_POLICY, WORKFLOWS as WORKFLOW_POLICY,
    };
    pub use super::roles::{ADMIN, APPROVER, DEPLOYER, ENGINE, IMPERSONATOR, OPERATOR, VIEWER};
}

/// Why an installation failed.
#[derive(Debug, thiserror::Error)]
#[error("installing {name}: {why}")]
pub struct InstallError {
    /// Kind and name of the object.
    pub name: String,
    /// The reason.
    pub why: String,
}

/// What to install.
#[derive(Clone, Debug, Default)]
pub struct InstallSpec {
    /// Namespace of the releases.
    pub namespace: String,
    /// Additional namespaces that Apps are deployed to.
    pub deploy_to: Vec<String>,
    /// The engine as a Deployment; `None` when the engine runs elsewhere.
    pub engine: Option<EngineDeployment>,
}

/// The engine's Deployment.
#[derive(Clone, Debug, Default)]
pub struct EngineDeployment {
    /// Container image.
    pub image: String,
    /// Number of replicas: one is active, the others stand by.
    pub replicas: u32,
    /// Namespace that the engine runs in. No App is deployed there, so no App can tamper with the
    /// engine.
    pub namespace: String,
    /// Whether it receives spans over OTLP, through a Service of its own.
    pub otlp: bool,
}

/// Default namespace of engines.
pub const ENGINE_NAMESPACE: &str = "graylane-system";

/// Result of applying one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedObject {
    /// Kind and name, for example `ClusterRole/graylane-viewer`.
    pub object: String,
    /// Only for namespaced objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What was done.
    pub done: ObjectChange,
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectChange {
    /// It did not exist.
    Created,
    /// It was different.
    Changed,
    /// It was already up to date.
    Unchanged,
    /// The server does not know this kind.
    Skipped,
    /// An earlier version installed it, and it is no longer needed.
    Removed,
}

/// All objects, in the order in which they are applied.
///
/// # Panics
/// Never: a definition is always JSON.
pub fn render_objects(wanted: &InstallSpec) -> Vec<Value> {
    let definitions = api::crd_definitions().into_iter().map(|d| {
        let mut value = serde_json::to_value(d).expect("a definition is JSON");
        value["apiVersion"] = "apiextensions.k8s.io/v1".into();
        value["kind"] = "CustomResourceDefinition".into();
        value
    });
    let mut all: Vec<Value> = definitions.collect();
    all.extend(roles::cluster_roles());
    all.extend(policy::render_policies());
    let home = wanted.namespace.as_str();
    let places: BTreeSet<&str> = wanted
        .deploy_to
        .iter()
        .map(String::as_str)
        .chain([home])
        .collect();
    all.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}}));
    all.extend(roles::deployer_objects(&places));
    if let Some(engine) = &wanted.engine {
        let mut namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": engine.namespace}});
        if engine.namespace == ENGINE_NAMESPACE {
            // Graylane's own pods need no more. An existing namespace keeps its level.
            namespace["metadata"]["labels"] =
                json!({"pod-security.kubernetes.io/enforce": "restricted"});
        }
        all.push(namespace);
        all.extend(roles::engine_account(&engine.namespace, home, &places));
        all.push(deployment::render_deployment(engine, home));
        if engine.otlp {
            all.push(otlp::render_service(engine, home));
        }
    }
    all
}

/// Pod labels of the engine that carries out the releases of `home`.
pub fn engine_labels(home: &str) -> BTreeMap<String, String> {
    serde_json::from_value(deployment::pod_labels(home)).unwrap_or_default()
}

/// The permissions of each role, one by one.
pub fn role_permissions() -> Vec<(String, Vec<Permission>)> {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let of = |rule: &Value| -> Vec<Permission> {
        let group = texts(&rule["apiGroups"]).pop().unwrap_or_default();
        let mut all = vec![];
        for whole in texts(&rule["resources"]) {
            let (resource, subresource) = whole.split_once('/').unwrap_or((&whole, ""));
            all.extend(texts(&rule["verbs"]).into_iter().map(|verb| Permission {
                verb,
                group: group.clone(),
                resource: resource.into(),
                subresource: subresource.into(),
            }));
        }
        all
    };
    let rules = |role: &Value| {
        role["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(of)
            .collect()
    };
    let name = |role: &Value| {
        role["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    roles::cluster_roles()
        .iter()
        .map(|role| (name(role), rules(role)))
        .collect()
}

/// Applies all objects. `force` takes over fields of other managers; without it, such a conflict is
/// an error that names the manager.
///
/// # Errors
///
/// The first refusal by the server.
#[tracing::instrument(level = "debug", skip_all, fields(force))]
pub async fn apply_objects(
    client: &Client,
    wanted: &InstallSpec,
    force: bool,
) -> Result<Vec<AppliedObject>, InstallError> {
    let version = client.apiserver_version().await;
    let pocket = version
        .map_err(|e| install_error("the server's version", &e))
        .map(|v| is_pocket(&v))?;
    let mut done = vec![];
    let mut definitions = vec![];
    for object in render_objects(wanted) {
        let (object, namespace) = parse_object(object);
        let gvk = object_kind(&object);
        let applied = |done| AppliedObject {
            object: object_name(&object),
            namespace: namespace.clone(),
            done,
        };
        if pocket
            && !matches!(
                &*gvk.kind,
                "CustomResourceDefinition"
                    | "Namespace"
                    | "ServiceAccount"
                    | "Deployment"
                    | "Service"
            )
        {
            done.push(applied(ObjectChange::Skipped));
            continue;
        }
        if gvk.kind == "CustomResourceDefinition" {
            definitions.push(object.name_any());
        } else if !definitions.is_empty() {
            // Policies and roles are validated against the kinds that they name.
            wait_established(client, &std::mem::take(&mut definitions)).await?;
        }
        let change = apply_object(client, &object, &gvk, namespace.as_deref(), force).await?;
        done.push(applied(change));
    }
    wait_established(client, &definitions).await?;
    if let Some(engine) = wanted.engine.as_ref().filter(|engine| !engine.otlp) {
        done.extend(otlp::remove_service(client, engine, &wanted.namespace).await?);
    }
    if !pocket && let Some(engine) = &wanted.engine {
        done.extend(
            legacy::remove_legacy_engine(client, &wanted.namespace, &engine.namespace).await?,
        );
    }
    Ok(done)
}

#[tracing::instrument(level = "debug", skip_all, fields(kind = gvk.kind, name = object.metadata.name))]
async fn apply_object(
    client: &Client,
    object: &DynamicObject,
    gvk: &GroupVersionKind,
    namespace: Option<&str>,
    force: bool,
) -> Result<ObjectChange, InstallError> {
    let name = object.name_any();
    let api = dynamic_api(client, gvk, namespace);
    let told = |e: kube::Error| install_error(&object_name(object), &e);
    let before = api.get_opt(&name).await.map_err(told)?;
    if gvk.kind == "Namespace" && before.is_some() {
        return Ok(ObjectChange::Unchanged);
    }
    // The Service is the only name that engines of several namespaces share.
    if gvk.kind == "Service"
        && let Some(other) = before.as_ref().and_then(|b| b.labels().get(INSTANCE_LABEL))
        && Some(other) != object.labels().get(INSTANCE_LABEL)
    {
        let why = format!(
            "it leads to the engine for {other}, which runs in {} too: give this one a namespace of its own with \
             --engine-namespace",
            namespace.unwrap_or_default()
        );
        return Err(InstallError {
            name: object_name(object),
            why,
        });
    }
    let params = PatchParams::apply(api::FIELD_MANAGER);
    let params = if force { params.force() } else { params };
    let after = api
        .patch(&name, &params, &Patch::Apply(object))
        .await
        .map_err(told)?;
    Ok(match before {
        None => ObjectChange::Created,
        Some(before) if before.resource_version() == after.resource_version() => {
            ObjectChange::Unchanged
        }
        Some(_) => ObjectChange::Changed,
    })
}

/// Applies the custom resource definitions, updating existing ones.
///
/// # Errors
///
/// The first definition that the server refuses or does not serve in time.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn apply_definitions(client: &Client) -> Result<(), InstallError> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(api::FIELD_MANAGER).force();
    let all = api::crd_definitions();
    for crd in &all {
        let name = crd.name_any();
        crds.patch(&name, &params, &Patch::Apply(crd))
            .await
            .map_err(|e| install_error(&name, &e))?;
    }
    wait_established(
        client,
        &all.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
    )
    .await
}

#[tracing::instrument(level = "debug", skip_all)]
async fn wait_established(client: &Client, names: &[String]) -> Result<(), InstallError> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for name in names {
        let served = await_condition(crds.clone(), name, conditions::is_crd_established());
        let why = match tokio::time::timeout(ESTABLISH_TIMEOUT, served).await {
            Ok(Ok(_)) => continue,
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("not served within {} s", ESTABLISH_TIMEOUT.as_secs()),
        };
        return Err(InstallError {
            name: name.clone(),
            why,
        });
    }
    Ok(())
}

/// Whether a server is a pocket, by the version that it reports.
pub fn is_pocket(version: &Info) -> bool {
    version.go_version.ends_with(" pocket")
}

fn install_error(name: &str, why: &kube::Error) -> InstallError {
    let mut words = error::describe_error(why);
    if error::is_conflict(why) {
        words += "; --force-conflicts takes these fields over";
    }
    if error::status_code(why) == Some(404) && words.starts_with("namespaces ") {
        words += "; make it first: kubectl create namespace NAME";
    }
    InstallError {
        name: name.into(),
        why: words,
    }
}

fn parse_object(object: Value) -> (DynamicObject, Option<String>) {
    let object: DynamicObject = serde_json::from_value(object).expect("what we write is an object");
    let namespace = object.namespace();
    (object, namespace)
}

fn object_kind(object: &DynamicObject) -> GroupVersionKind {
    let types = object.types.clone().unwrap_or_default();
    GroupVersionKind::try_from(types).expect("what we write has a kind")
}

fn object_name(object: &DynamicObject) -> String {
    format!("{}/{}", object_kind(object).kind, object.name_any())
}

fn v1_kind(group: &str, kind: &str) -> GroupVersionKind {
    GroupVersionKind::gvk(group, "v1", kind)
}

fn dynamic_api(
    client: &Client,
    gvk: &GroupVersionKind,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(gvk);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Value> {
        all_of(true)
    }

    fn all_of(otlp: bool) -> Vec<Value> {
        let engine = EngineDeployment {
            image: "registry/graylane:1".into(),
            replicas: 2,
            namespace: ENGINE_NAMESPACE.into(),
            otlp,
        };
        render_objects(&InstallSpec {
            namespace: "demo".into(),
            deploy_to: vec!["demo-test".into()],
            engine: Some(engine),
        })
    }

    #[test]
    fn every_object_has_a_kind_a_name_and_is_there_once() {
        let mut seen = std::collections::BTreeSet::new();
        for object in all() {
            let (object, namespace) = parse_object(object);
            assert!(
                seen.insert((object_name(&object), namespace)),
                "{} stands twice",
                object_name(&object)
            );
        }
        assert_eq!(seen.len(), 7 + 7 + 6 + (1 + 2 * 2) + (1 + 3 + 2) + 1 + 1);
        assert!(
            render_objects(&InstallSpec::default())
                .iter()
                .all(|o| o["kind"] != "Deployment")
        );
    }

    #[test]
    fn spans_reach_the_engines_only_where_that_was_asked_for() {
        let of = |otlp: bool, kind: &str| all_of(otlp).into_iter().find(|o| o["kind"] == kind);
        assert_eq!(of(false, "Service"), None);
        assert!(
            !of(false, "Deployment")
                .unwrap()
                .to_string()
                .contains("otlp")
        );
        let (service, deployment) = (
            of(true, "Service").unwrap(),
            of(true, "Deployment").unwrap(),
        );
        assert_eq!(
            (
                &service["metadata"]["name"],
                &service["metadata"]["namespace"]
            ),
            (&json!("graylane-hops"), &json!(ENGINE_NAMESPACE))
        );
        assert_eq!(
            service["spec"]["selector"],
            deployment["spec"]["template"]["metadata"]["labels"]
        );
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].to_string();
        assert!(
            args.contains(r#""--otlp-grpc","0.0.0.0:4317","--otlp-http","0.0.0.0:4318""#),
            "{args}"
        );
        for (name, port) in [("grpc-otlp", 4317), ("http-otlp", 4318)] {
            let ports = container["ports"].as_array().unwrap();
            assert!(
                ports
                    .iter()
                    .any(|p| p["name"] == name && p["containerPort"] == port),
                "{ports:?}"
            );
            let ports = service["spec"]["ports"].as_array().unwrap();
            assert!(
                ports
                    .iter()
                    .any(|p| p["name"] == name && p["port"] == port && p["targetPort"] == name)
            );
        }
    }

    #[test]
    fn no_right_is_a_wildcard_and_only_one_role_approves() {
        for object in all().iter().filter(|o| o["kind"] == "ClusterRole") {
            let rules = object["rules"].to_string();
            assert!(!rules.contains("\"*\""), "{rules}");
            assert!(
                !rules.contains("secrets") && !rules.contains("escalate"),
                "{rules}"
            );
            let name = object["metadata"]["name"].as_str().unwrap();
            assert_eq!(
                rules.contains("impersonate"),
                name == names::IMPERSONATOR,
                "{rules}"
            );
            let rules: Vec<Value> = object["rules"].as_array().cloned().unwrap_or_default();
            let has = |list: &Value, what: &str| {
                list.as_array().is_some_and(|l| l.iter().any(|x| x == what))
            };
            let approves = rules
                .iter()
                .any(|r| has(&r["resources"], "approvals") && has(&r["verbs"], "create"));
            let writes = rules.iter().any(|r| {
                ["create", "update", "patch", "delete"]
                    .iter()
                    .any(|v| has(&r["verbs"], v))
            });
            assert_eq!(approves, name == names::APPROVER, "{name}");
            assert_eq!(
                writes,
                ![names::VIEWER, names::IMPERSONATOR].contains(&name),
                "{name}"
            );
            // Only the deploying role may write the workloads of Apps; no other role of graylane
            // may.
            let deploys = rules
                .iter()
                .any(|r| has(&r["resources"], "deployments") && has(&r["verbs"], "patch"));
            assert_eq!(deploys, name == names::DEPLOYER, "{name}");
        }
    }
}
