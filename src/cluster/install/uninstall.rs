//! Takes out what `install` brought in, found by its labels and names; nothing that a release deployed.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Serialize;

use super::{
    InstallError, api_of, failed, kind, otlp,
    roles::{DEPLOYER, ENGINE},
};
use crate::{
    api::{self, FIELD_MANAGER, GROUP, VERSION},
    cluster::error,
};

/// One object that goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Removal {
    /// Group of its kind.
    #[serde(skip)]
    group: String,
    /// Its kind.
    pub kind: String,
    /// Empty for what is cluster-wide.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// For a definition: how many objects go with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<usize>,
}

/// In the order of going: who acts first, who guards last.
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

/// What there is to be removed, in every namespace. `definitions` also removes what people have written.
///
/// # Errors
///
/// When the server does not let us look.
pub async fn found(client: &Client, definitions: bool) -> Result<Vec<Removal>, InstallError> {
    let mut all = vec![];
    let ours =
        ListParams::default().labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
    for (group, name) in KINDS {
        let api: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk(&kind(group, name)));
        let listed = match api.list(&ours).await {
            Ok(listed) => listed.items,
            // A server without this kind has none of it.
            Err(e) if error::code(&e) == Some(404) => vec![],
            Err(e) => return Err(failed(&format!("{name}s"), &e)),
        };
        // An App's own Deployment may say that graylane manages it; it is not called so.
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
        for definition in api::definitions() {
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
                Err(e) if error::code(&e) == Some(404) => {}
                Err(e) => return Err(failed(&definition.name_any(), &e)),
            }
        }
    }
    Ok(all)
}

/// Removes one of them; what is gone already is gone.
///
/// # Errors
///
/// With the server's words.
pub async fn remove(client: &Client, what: &Removal) -> Result<(), InstallError> {
    let namespace = Some(what.namespace.as_str()).filter(|n| !n.is_empty());
    let api = api_of(client, &kind(&what.group, &what.kind), namespace);
    match api.delete(&what.name, &DeleteParams::background()).await {
        Err(e) if error::code(&e) == Some(404) => Ok(()),
        done => done
            .map(drop)
            .map_err(|e| failed(&format!("{}/{}", what.kind, what.name), &e)),
    }
}
