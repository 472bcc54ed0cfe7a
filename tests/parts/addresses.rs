//! Services' addresses on a pocket's API: given, kept, refused, moved with the network.

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use pocket::network::Network;
use serde_json::{Value, json};

fn service(name: &str, spec: Value) -> Service {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80}]);
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn ip(service: &Service) -> Option<String> {
    service.spec.as_ref()?.cluster_ip.clone()
}

#[tokio::test]
async fn addresses_are_given_kept_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    let (network, _held) = Network::claim_for(dir.path()).unwrap();
    server.set_network(network).await.unwrap();
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    let params = PostParams::default();
    let made = futures::future::join_all((0..10).map(|n| {
        let (api, params) = (api.clone(), params.clone());
        async move {
            ip(&api
                .create(&params, &service(&format!("s{n}"), json!({})))
                .await
                .unwrap())
            .unwrap()
        }
    }))
    .await;
    let distinct: std::collections::BTreeSet<&String> = made.iter().collect();
    assert_eq!(distinct.len(), 10);
    assert!(
        made.iter().all(|a| network.is_service(a.parse().unwrap())),
        "{made:?}"
    );

    let headless = api
        .create(&params, &service("headless", json!({"clusterIP": "None"})))
        .await
        .unwrap();
    assert_eq!(ip(&headless).as_deref(), Some("None"));
    let taken = api
        .create(&params, &service("t", json!({"clusterIP": made[0]})))
        .await
        .unwrap_err()
        .to_string();
    assert!(taken.contains("already allocated"), "{taken}");
    let foreign = api
        .create(&params, &service("t", json!({"clusterIP": "10.0.0.1"})))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        foreign.contains("not of this pocket's network"),
        "{foreign}"
    );

    let mut named = service("s0", json!({"selector": {"a": "b"}}));
    named.metadata.resource_version = api.get("s0").await.unwrap().metadata.resource_version;
    assert_eq!(
        ip(&api.replace("s0", &params, &named).await.unwrap()).as_deref(),
        Some(made[0].as_str())
    );
    let applied = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s1"}, "spec": {"ports": [{"port": 80}]}});
    let applied = api
        .patch(
            "s1",
            &PatchParams::apply("me").force(),
            &Patch::Apply(applied),
        )
        .await
        .unwrap();
    assert_eq!(ip(&applied).as_deref(), Some(made[1].as_str()));
    let moved =
        Patch::Merge(json!({"spec": {"clusterIP": network.service_address(9999).unwrap()}}));
    let moved = api
        .patch("s1", &PatchParams::default(), &moved)
        .await
        .unwrap_err()
        .to_string();
    assert!(moved.contains("immutable"), "{moved}");
}

#[tokio::test]
async fn another_network_brings_other_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let (first, held) = Network::claim_for(dir.path()).unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    server.set_network(first).await.unwrap();
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    let before = ip(&api
        .create(&PostParams::default(), &service("s", json!({})))
        .await
        .unwrap())
    .unwrap();
    server.close().await;
    drop((server, api));
    // Its own network is taken meanwhile.
    let (second, _also) = Network::claim_for(dir.path()).unwrap();
    let server = graylane::embedded::open_api(dir.path()).unwrap();
    server.set_network(second).await.unwrap();
    let api: Api<Service> = Api::namespaced(server.client(), "default");
    let after = ip(&api.get("s").await.unwrap()).unwrap();
    assert_ne!(before, after);
    assert!(second.is_service(after.parse().unwrap()), "{after}");
    drop(held);
}
