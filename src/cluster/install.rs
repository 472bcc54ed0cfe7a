//! Brings graylane's resource definitions into a cluster, and waits until it serves them.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};

use super::error;
use crate::api;

/// How long a cluster may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// Why they are not there.
#[derive(Debug, thiserror::Error)]
#[error("installing {name}: {why}")]
pub struct InstallError {
    /// The definition.
    pub name: String,
    /// In words.
    pub why: String,
}

/// Applies all definitions; what is there already is brought up to date.
pub async fn definitions(client: &Client) -> Result<(), InstallError> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(api::FIELD_MANAGER).force();
    let all = api::definitions();
    for crd in &all {
        let name = crd.name_any();
        crds.patch(&name, &params, &Patch::Apply(crd))
            .await
            .map_err(|e| InstallError { name: name.clone(), why: error::words(&e) })?;
    }
    for crd in all {
        let name = crd.name_any();
        let served = await_condition(crds.clone(), &name, conditions::is_crd_established());
        let why = match tokio::time::timeout(ESTABLISHED, served).await {
            Ok(Ok(_)) => continue,
            Ok(Err(e)) => e.to_string(),
            Err(_) => format!("not served within {} s", ESTABLISHED.as_secs()),
        };
        return Err(InstallError { name, why });
    }
    Ok(())
}
