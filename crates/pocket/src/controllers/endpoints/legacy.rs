//! Endpoints, the predecessor of EndpointSlices, for clients that still read them.

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use super::super::{ControllerContext, write};
use reconcile::store::NamespacedName;

/// Label by which Kubernetes marks the Endpoints that its controller manages.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Makes the Endpoints of a Service match its slices. Endpoints of a Service without a selector are
/// not managed here.
pub(super) async fn reconcile_endpoints(
    shared: &ControllerContext,
    at: &NamespacedName,
    service: Option<&Service>,
    slices: &[EndpointSlice],
) -> kube::Result<()> {
    let api: Api<Endpoints> = Api::namespaced(shared.client.clone(), &at.0);
    let live = shared.endpoints.get(at);
    match (service, live) {
        (Some(service), None) => {
            let made = api
                .create(&PostParams::default(), &build_endpoints(service, slices))
                .await;
            match made {
                // Somebody else created them: the watch will report it.
                Err(error) if write::is_code(&error, 409) => {}
                made => drop(
                    write::ignore_not_found(made)?
                        .inspect(|made| shared.endpoints.record_write(made)),
                ),
            }
        }
        (Some(service), Some(live)) => {
            let mut wanted = build_endpoints(service, slices);
            if (&wanted.subsets, &wanted.metadata.labels) != (&live.subsets, &live.metadata.labels)
            {
                wanted.metadata.resource_version = live.resource_version();
                let written = api.replace(&at.1, &PostParams::default(), &wanted).await;
                write::ignore_not_found(written)?
                    .inspect(|written| shared.endpoints.record_write(written));
            }
        }
        (None, Some(live))
            if live
                .labels()
                .get(MANAGED_BY.0)
                .is_some_and(|by| by == MANAGED_BY.1) =>
        {
            let uid = Preconditions {
                uid: live.uid(),
                resource_version: None,
            };
            write::ignore_not_found(
                api.delete(&at.1, &DeleteParams::default().preconditions(uid))
                    .await,
            )?;
            shared.endpoints.record_deletion(&live);
        }
        (None, _) => {}
    }
    Ok(())
}

fn build_endpoints(service: &Service, slices: &[EndpointSlice]) -> Endpoints {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if service
        .spec
        .as_ref()
        .is_some_and(|s| s.cluster_ip.as_deref() == Some("None"))
    {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    let subsets: Vec<EndpointSubset> = slices.iter().filter_map(build_subset).collect();
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

fn build_subset(slice: &EndpointSlice) -> Option<EndpointSubset> {
    let condition = |e: &Endpoint| e.conditions.clone().unwrap_or_default();
    let address = |e: &Endpoint| EndpointAddress {
        ip: e.addresses.first().cloned().unwrap_or_default(),
        node_name: e.node_name.clone(),
        target_ref: e.target_ref.clone(),
        hostname: e.hostname.clone(),
    };
    let (ready, rest): (Vec<&Endpoint>, Vec<&Endpoint>) = slice
        .endpoints
        .iter()
        .partition(|e| condition(e).ready.unwrap_or(true));
    // Terminating endpoints are left out.
    let rest = rest
        .into_iter()
        .filter(|e| !condition(e).terminating.unwrap_or(false));
    let listed = |all: Vec<EndpointAddress>| (!all.is_empty()).then_some(all);
    let (ready, rest) = (
        listed(ready.into_iter().map(address).collect()),
        listed(rest.map(address).collect()),
    );
    if ready.is_none() && rest.is_none() {
        return None;
    }
    let port = |p: &k8s_openapi::api::discovery::v1::EndpointPort| {
        let name = p.name.clone().filter(|n| !n.is_empty());
        Some(EndpointPort {
            name,
            port: p.port?,
            protocol: p.protocol.clone(),
            app_protocol: p.app_protocol.clone(),
        })
    };
    let ports: Vec<EndpointPort> = slice.ports.iter().flatten().filter_map(port).collect();
    Some(EndpointSubset {
        addresses: ready,
        not_ready_addresses: rest,
        ports: (!ports.is_empty()).then_some(ports),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_say_what_the_slices_say() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "labels": {"a": "b"}}, "spec": {"clusterIP": "None"},
        }))
        .unwrap();
        let endpoint = |ip: &str, ready: bool, terminating: bool| json!({"addresses": [ip], "conditions": {"ready": ready, "terminating": terminating}});
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4", "metadata": {}, "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
            "endpoints": [endpoint("127.0.0.1", true, false), endpoint("127.0.0.2", false, false), endpoint("127.0.0.3", false, true)],
        }))
        .unwrap();
        let empty = EndpointSlice {
            endpoints: vec![],
            ..slice.clone()
        };
        let made = serde_json::to_value(build_endpoints(&service, &[slice, empty])).unwrap();
        assert_eq!(
            made["subsets"],
            json!([{"addresses": [{"ip": "127.0.0.1"}], "notReadyAddresses": [{"ip": "127.0.0.2"}],
                "ports": [{"port": 80, "protocol": "TCP"}]}])
        );
        let labels = json!({"a": "b", "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            "service.kubernetes.io/headless": ""});
        assert_eq!(made["metadata"]["labels"], labels);
    }
}
