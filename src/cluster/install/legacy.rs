//! Objects of earlier versions that are no longer needed: the engine used to run in the namespace
//! of the Apps, with rights of its own to write their workloads.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};

use super::{
    AppliedObject, InstallError, ObjectChange, dynamic_api, install_error, roles::ENGINE, v1_kind,
};
use crate::{api::FIELD_MANAGER, cluster::error};

/// Deletes the engine in `home`, its service account and its bindings. Called after the new engine
/// exists, which takes over the Lease.
#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn remove_legacy_engine(
    client: &Client,
    home: &str,
    now_in: &str,
) -> Result<Vec<AppliedObject>, InstallError> {
    let mut done = vec![];
    if home == now_in {
        return Ok(done);
    }
    let rbac = "rbac.authorization.k8s.io";
    let bound = format!("{ENGINE}-of-{home}");
    for (group, name, kind_name, everywhere) in [
        ("apps", ENGINE, "Deployment", false),
        (rbac, &bound, "RoleBinding", true),
        ("", ENGINE, "ServiceAccount", false),
    ] {
        let gvk = v1_kind(group, kind_name);
        let api: Api<DynamicObject> = dynamic_api(client, &gvk, Some(home).filter(|_| !everywhere));
        let ours =
            ListParams::default().labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
        let listed = api
            .list(&ours)
            .await
            .map_err(|e| install_error(&format!("{kind_name}s"), &e))?
            .items;
        for old in listed.iter().filter(|o| o.name_any() == name) {
            let namespace = old.namespace().unwrap_or_default();
            let object = format!("{kind_name}/{name}");
            match dynamic_api(client, &gvk, Some(&namespace))
                .delete(name, &DeleteParams::background())
                .await
            {
                Err(e) if error::status_code(&e) == Some(404) => continue,
                deleted => deleted.map(drop).map_err(|e| install_error(&object, &e))?,
            }
            done.push(AppliedObject {
                object,
                namespace: Some(namespace),
                done: ObjectChange::Removed,
            });
        }
    }
    Ok(done)
}
