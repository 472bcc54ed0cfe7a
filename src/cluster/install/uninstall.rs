//! Removes what `install` created, found by labels and names; nothing that a release deployed.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Serialize;

use super::{
    InstallError, dynamic_api, install_error, otlp,
    roles::{DEPLOYER, ENGINE},
    v1_kind,
};
use crate::{
    api::{self, FIELD_MANAGER, GROUP, VERSION},
    cluster::error,
};

/// An object to remove.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Removal {
    /// API group of its kind.
    #[serde(skip)]
    group: String,
    /// Kind of the object.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// For a custom resource definition: how many objects are deleted with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<usize>,
}

/// In the order of removal: what acts first, what guards last.
const KINDS: [(&str, &str); 8] = [
    ("apps", "Deployment"),
    ("", "Service"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
];

/// Finds all installed objects in every namespace. `definitions` also includes the custom resource
/// definitions, with everything that people have written.
///
/// # Errors
///
/// When the server does not let us list them.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn find_installed(
    client: &Client,
    definitions: bool,
) -> Result<Vec<Removal>, InstallError> {
    let mut all = vec![];
    let ours =
        ListParams::default().labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
    for (group, name) in KINDS {
        let api: Api<DynamicObject> = Api::all_with(
            client.clone(),
            &ApiResource::from_gvk(&v1_kind(group, name)),
        );
        let listed = match api.list(&ours).await {
            Ok(listed) => listed.items,
            // A server without this kind has no such objects.
            Err(e) if error::status_code(&e) == Some(404) => vec![],
            Err(e) => return Err(install_error(&format!("{name}s"), &e)),
        };
        // An App's own Deployment may carry graylane's managed-by label, but not these names.
        let installed = listed.into_iter().filter(|o| match name {
            "Deployment" => o.name_any().starts_with(ENGINE),
            "Service" => o.name_any() == otlp::SERVICE,
            "ServiceAccount" => o.name_any() == DEPLOYER || o.name_any().starts_with(ENGINE),
            _ => o.name_any().starts_with("graylane-"),
        });
        all.extend(installed.map(|o| Removal {
            group: group.into(),
            kind: name.into(),
            namespace: o.namespace().unwrap_or_default(),
            name: o.name_any(),
            holds: None,
        }));
    }
    if definitions {
        for definition in api::crd_definitions() {
            let gvk = GroupVersionKind::gvk(GROUP, VERSION, &definition.spec.names.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &definition.spec.names.plural);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            match api.list_metadata(&ListParams::default()).await {
                Ok(listed) => all.push(Removal {
                    group: "apiextensions.k8s.io".into(),
                    kind: "CustomResourceDefinition".into(),
                    namespace: String::new(),
                    name: definition.name_any(),
                    holds: Some(listed.items.len()),
                }),
                Err(e) if error::status_code(&e) == Some(404) => {}
                Err(e) => return Err(install_error(&definition.name_any(), &e)),
            }
        }
    }
    Ok(all)
}

/// Removes one object; an object that is already gone is no error.
///
/// # Errors
///
/// When the server refuses.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn remove_object(client: &Client, what: &Removal) -> Result<(), InstallError> {
    let namespace = Some(what.namespace.as_str()).filter(|n| !n.is_empty());
    let api = dynamic_api(client, &v1_kind(&what.group, &what.kind), namespace);
    match api.delete(&what.name, &DeleteParams::background()).await {
        Err(e) if error::status_code(&e) == Some(404) => Ok(()),
        done => done
            .map(drop)
            .map_err(|e| install_error(&format!("{}/{}", what.kind, what.name), &e)),
    }
}
