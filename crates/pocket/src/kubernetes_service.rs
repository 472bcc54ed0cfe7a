//! The Service `default/kubernetes`, as in every cluster, which points to the API itself. Its
//! address is the node's address, where the API listens, so that the certificate matches.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::network::API_PORT;

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";

/// Applies the Service, its EndpointSlice and its Endpoints for the API's current address.
pub(super) async fn apply_service(client: &Client, node: Ipv4Addr) -> kube::Result<()> {
    let params = PatchParams::apply("kube-apiserver").force();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP", "targetPort": API_PORT}]},
    });
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    services
        .patch(NAME, &params, &Patch::Apply(&service))
        .await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    slices.patch(NAME, &params, &Patch::Apply(&slice)).await?;
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": NAME, "namespace": NAMESPACE,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": node}], "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}]}],
    });
    let all: Api<Endpoints> = Api::namespaced(client.clone(), NAMESPACE);
    all.patch(NAME, &params, &Patch::Apply(&endpoints))
        .await
        .map(drop)
}
