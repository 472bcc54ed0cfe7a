//! The Service that routes spans to all engine replicas, active or not.

use kube::{Client, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    Applied, Change, Engine, InstallError, api_of,
    deployment::{INSTANCE, component},
    failed, kind,
    roles::ENGINE,
};
use crate::{
    api::{FIELD_MANAGER, label},
    cluster::error,
};

/// Name of the Service, which is configured in gateways and collectors.
pub(super) const SERVICE: &str = "graylane-hops";

/// Ports of the Service. Istio derives the protocol from the first part of a port's name.
pub(super) const PORTS: [(&str, u16); 2] = [("grpc-otlp", 4317), ("http-otlp", 4318)];

/// The engine's command-line arguments for OTLP.
pub(super) fn args() -> impl Iterator<Item = String> {
    ["--otlp-grpc", "--otlp-http"]
        .into_iter()
        .zip(PORTS)
        .flat_map(|(flag, (_, port))| [flag.to_owned(), format!("0.0.0.0:{port}")])
}

/// The Service in the engine's namespace, for the releases of `home`.
pub(super) fn service(engine: &Engine, home: &str) -> Value {
    let port =
        |(name, port)| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": engine.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": FIELD_MANAGER,
                "app.kubernetes.io/name": ENGINE,
                label::COMPONENT: "engine",
                INSTANCE: home,
            },
        },
        "spec": {
            "selector": component(home),
            "ports": PORTS.map(port),
        },
    })
}

/// Deletes the Service of an engine that no longer receives spans.
pub(super) async fn remove(
    client: &Client,
    engine: &Engine,
    home: &str,
) -> Result<Option<Applied>, InstallError> {
    let api = api_of(client, &kind("", "Service"), Some(&engine.namespace));
    let object = format!("Service/{SERVICE}");
    let found = api
        .get_opt(SERVICE)
        .await
        .map_err(|e| failed(&object, &e))?;
    if found.is_none_or(|service| service.labels().get(INSTANCE).is_none_or(|of| of != home)) {
        return Ok(None);
    }
    match api.delete(SERVICE, &DeleteParams::default()).await {
        Err(e) if error::code(&e) == Some(404) => Ok(None),
        deleted => {
            deleted.map_err(|e| failed(&object, &e))?;
            Ok(Some(Applied {
                object,
                namespace: Some(engine.namespace.clone()),
                done: Change::Removed,
            }))
        }
    }
}
