//! Objects of earlier versions that are no longer needed: the engine used to run in the namespace
//! of the Apps, with rights of its own to write their workloads.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};

use super::{Applied, Change, InstallError, api_of, failed, kind, roles::ENGINE};
use crate::{api::FIELD_MANAGER, cluster::error};

/// Deletes the engine in `home`, its service account and its bindings. Called after the new engine
/// exists, which takes over the Lease.
pub(super) async fn remove(
    client: &Client,
    home: &str,
    now_in: &str,
) -> Result<Vec<Applied>, InstallError> {
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
        let gvk = kind(group, kind_name);
        let api: Api<DynamicObject> = api_of(client, &gvk, Some(home).filter(|_| !everywhere));
        let ours =
            ListParams::default().labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
        let listed = api
            .list(&ours)
            .await
            .map_err(|e| failed(&format!("{kind_name}s"), &e))?
            .items;
        for old in listed.iter().filter(|o| o.name_any() == name) {
            let namespace = old.namespace().unwrap_or_default();
            let object = format!("{kind_name}/{name}");
            match api_of(client, &gvk, Some(&namespace))
                .delete(name, &DeleteParams::background())
                .await
            {
                Err(e) if error::code(&e) == Some(404) => continue,
                deleted => deleted.map(drop).map_err(|e| failed(&object, &e))?,
            }
            done.push(Applied {
                object,
                namespace: Some(namespace),
                done: Change::Removed,
            });
        }
    }
    Ok(done)
}
