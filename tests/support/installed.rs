//! What a real API server lacks that every pocket has from its first moment, and what `install` brings.

use std::time::Duration;

use graylane::cluster::install::{self, InstallSpec};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};

const LIMIT: Duration = Duration::from_mins(1);

/// graylane's definitions and those of Gateway API.
pub async fn definitions(client: &Client) {
    install::apply_definitions(client).await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for text in [
        include_str!("../../crates/pocket/src/rest/gateway_api/backendtlspolicies.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/gatewayclasses.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/gateways.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/grpcroutes.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/httproutes.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/referencegrants.json"),
        include_str!("../../crates/pocket/src/rest/gateway_api/tlsroutes.json"),
    ] {
        let made = definitions
            .create(&PostParams::default(), &serde_json::from_str(text).unwrap())
            .await
            .unwrap();
        let name = made.name_any();
        let served = await_condition(definitions.clone(), &name, is_crd_established());
        tokio::time::timeout(LIMIT, served)
            .await
            .expect("served")
            .unwrap();
    }
}

/// Of what `install` brings the objects of these kinds.
pub async fn apply(client: &Client, wanted: &InstallSpec, kinds: &[&str]) {
    for object in install::render_objects(wanted)
        .into_iter()
        .filter(|o| kinds.iter().any(|k| o["kind"] == *k))
    {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        let gvk = GroupVersionKind::try_from(object.types.clone().unwrap()).unwrap();
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let params = PatchParams::apply("graylane").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object))
            .await
            .unwrap();
    }
}
