//! The Service that routes spans to all engine replicas, active or not.

use kube::{Client, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    AppliedObject, EngineDeployment, InstallError, ObjectChange,
    deployment::{INSTANCE_LABEL, engine_labels, pod_labels},
    dynamic_api, install_error, v1_kind,
};
use crate::cluster::error;

/// Name of the Service, which is configured in gateways and collectors.
pub(super) const SERVICE: &str = "graylane-hops";

/// Ports of the Service. Istio derives the protocol from the first part of a port's name.
pub(super) const PORTS: [(&str, u16); 2] = [("grpc-otlp", 4317), ("http-otlp", 4318)];

/// The engine's command-line arguments for OTLP.
pub(super) fn otlp_args() -> impl Iterator<Item = String> {
    ["--otlp-grpc", "--otlp-http"]
        .into_iter()
        .zip(PORTS)
        .flat_map(|(flag, (_, port))| [flag.to_owned(), format!("0.0.0.0:{port}")])
}

/// The Service in the engine's namespace, for the releases of `home`.
pub(super) fn render_service(engine: &EngineDeployment, home: &str) -> Value {
    let port =
        |(name, port)| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": engine.namespace,
            "labels": engine_labels(home),
        },
        "spec": {
            "selector": pod_labels(home),
            "ports": PORTS.map(port),
        },
    })
}

/// Deletes the Service of an engine that no longer receives spans.
pub(super) async fn remove_service(
    client: &Client,
    engine: &EngineDeployment,
    home: &str,
) -> Result<Option<AppliedObject>, InstallError> {
    let api = dynamic_api(client, &v1_kind("", "Service"), Some(&engine.namespace));
    let object = format!("Service/{SERVICE}");
    let found = api
        .get_opt(SERVICE)
        .await
        .map_err(|e| install_error(&object, &e))?;
    if found.is_none_or(|service| {
        service
            .labels()
            .get(INSTANCE_LABEL)
            .is_none_or(|of| of != home)
    }) {
        return Ok(None);
    }
    match api.delete(SERVICE, &DeleteParams::default()).await {
        Err(e) if error::status_code(&e) == Some(404) => Ok(None),
        deleted => {
            deleted.map_err(|e| install_error(&object, &e))?;
            Ok(Some(AppliedObject {
                object,
                namespace: Some(engine.namespace.clone()),
                done: ObjectChange::Removed,
            }))
        }
    }
}
