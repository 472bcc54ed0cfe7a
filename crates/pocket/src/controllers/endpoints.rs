//! EndpointSlices: which pods belong to a Service, and which of them are ready.
//!
//! Pods that resolve the Service's ports to the same numbers share a slice. A terminating pod stays
//! in its slice as not ready, so that clients see it leave.

mod legacy;

use super::pods::{is_finished, is_ready};
use super::{ControllerContext, write};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use reconcile::runner::{KeySender, ReconcileResult};
use reconcile::store::{NamespacedName, namespaced_name};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label that names the manager of a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn enqueue_changes(shared: &ControllerContext, queue: KeySender<NamespacedName>) {
    let q = queue.clone();
    shared.services.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    let q = queue.clone();
    shared.slices.on_change(move |old, new| {
        let slice = new.or(old).expect("a change has an object");
        if let Some(service) = service_of(slice) {
            q.add((slice.namespace().unwrap_or_default(), service.to_owned()));
        }
    });
    let q = queue.clone();
    shared.endpoints.on_change(move |old, new| {
        q.add(namespaced_name(
            &new.or(old).expect("a change has an object").metadata,
        ));
    });
    let services = shared.services.clone();
    shared.pods.on_change(move |old, new| {
        for pod in [old, new].into_iter().flatten() {
            for service in services.list_namespace(&pod.namespace().unwrap_or_default()) {
                if service_selects(&service, pod) {
                    queue.add(namespaced_name(&service.metadata));
                }
            }
        }
    });
}

/// Whether this controller manages the slice.
pub(crate) fn is_own(slice: &EndpointSlice) -> bool {
    slice
        .metadata
        .labels
        .as_ref()
        .and_then(|l| l.get(MANAGED_BY))
        .is_some_and(|m| m == MANAGER)
}

fn service_of(slice: &EndpointSlice) -> Option<&str> {
    let labels = slice.metadata.labels.as_ref()?;
    labels
        .get(SERVICE_NAME)
        .filter(|_| is_own(slice))
        .map(String::as_str)
}

/// Whether the Service selects the pod. Endpoints of a Service without a selector are managed by
/// someone else.
fn service_selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|s| s.selector.as_ref())
        .filter(|s| !s.is_empty());
    let labels = pod.metadata.labels.as_ref();
    selector.is_some_and(|s| {
        s.iter()
            .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    })
}

#[tracing::instrument(level = "debug", skip_all, fields(object = ?at))]
pub(super) async fn reconcile_slices(
    shared: Arc<ControllerContext>,
    at: NamespacedName,
) -> ReconcileResult {
    let mut old = shared.slices.list_namespace(&at.0);
    old.retain(|s| service_of(s) == Some(at.1.as_str()));
    let service = shared
        .services
        .get(&at)
        .filter(|s| s.metadata.deletion_timestamp.is_none());
    let has_selector = |s: &Arc<Service>| {
        s.spec
            .as_ref()
            .is_some_and(|s| s.selector.as_ref().is_some_and(|s| !s.is_empty()))
    };
    let service = service.filter(has_selector);
    let wanted = service
        .as_ref()
        .map(|s| build_slices(s, &shared.pods.list_namespace(&at.0)))
        .unwrap_or_default();
    let api: Api<EndpointSlice> = Api::namespaced(shared.client.clone(), &at.0);
    for slice in &wanted {
        let before = old.iter().find(|o| o.name_any() == slice.name_any());
        write_slice(&shared, &api, slice, before.map(|before| &**before)).await?;
    }
    for slice in old
        .iter()
        .filter(|o| wanted.iter().all(|w| w.name_any() != o.name_any()))
    {
        let uid = Preconditions {
            uid: slice.uid(),
            resource_version: None,
        };
        write::ignore_not_found(
            api.delete(
                &slice.name_any(),
                &DeleteParams::default().preconditions(uid),
            )
            .await,
        )?;
        shared.slices.record_deletion(slice);
    }
    legacy::reconcile_endpoints(&shared, &at, service.as_deref(), &wanted).await?;
    Ok(None)
}

/// Creates a slice, or replaces the one that was there unless it is the same.
async fn write_slice(
    shared: &ControllerContext,
    api: &Api<EndpointSlice>,
    slice: &EndpointSlice,
    before: Option<&EndpointSlice>,
) -> kube::Result<()> {
    let params = PostParams::default();
    let written = match before {
        Some(before) if is_same_slice(before, slice) => return Ok(()),
        Some(before) => {
            let mut next = slice.clone();
            next.metadata.resource_version = before.resource_version();
            api.replace(&slice.name_any(), &params, &next).await
        }
        None => api.create(&params, slice).await,
    };
    if let Some(written) = write::ignore_not_found(written)? {
        shared.slices.record_write(&written);
    }
    Ok(())
}

fn is_same_slice(one: &EndpointSlice, two: &EndpointSlice) -> bool {
    (&one.endpoints, &one.ports, &one.metadata.labels)
        == (&two.endpoints, &two.ports, &two.metadata.labels)
}

/// Ports of a Service as resolved for a pod: name, number, protocol.
type ResolvedPorts = Vec<(Option<String>, i32, Option<String>)>;

fn build_slices(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<ResolvedPorts, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods
        .iter()
        .filter(|p| service_selects(service, p) && !is_finished(p))
    {
        if let Some(endpoint) = build_endpoint(service, pod) {
            groups
                .entry(resolve_ports(service, pod))
                .or_default()
                .push(endpoint);
        }
    }
    if groups.is_empty() {
        // As in Kubernetes, one empty slice means that there are no pods.
        groups.insert(vec![], vec![]);
    }
    let uid = service.uid().unwrap_or_default();
    let short: String = uid.chars().filter(|c| *c != '-').take(5).collect();
    let slice = |(n, (ports, mut endpoints)): (usize, (ResolvedPorts, Vec<Endpoint>))| {
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        let suffix = if n == 0 {
            String::new()
        } else {
            format!("-{n}")
        };
        let labels = [
            (SERVICE_NAME, service.name_any()),
            (MANAGED_BY, MANAGER.to_owned()),
        ];
        EndpointSlice {
            metadata: ObjectMeta {
                name: Some(format!("{}-{short}{suffix}", service.name_any())),
                namespace: service.namespace(),
                labels: Some(labels.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "v1".into(),
                    kind: "Service".into(),
                    name: service.name_any(),
                    uid: uid.clone(),
                    controller: Some(true),
                    block_owner_deletion: Some(true),
                }]),
                ..ObjectMeta::default()
            },
            address_type: "IPv4".into(),
            endpoints,
            ports: Some(ports.into_iter().map(to_endpoint_port).collect()),
        }
    };
    groups.into_iter().enumerate().map(slice).collect()
}

fn to_endpoint_port(
    (name, number, protocol): (Option<String>, i32, Option<String>),
) -> EndpointPort {
    EndpointPort {
        name: Some(name.unwrap_or_default()),
        port: Some(number),
        protocol: Some(protocol.unwrap_or_else(|| "TCP".into())),
        app_protocol: None,
    }
}

fn resolve_ports(service: &Service, pod: &Pod) -> ResolvedPorts {
    let all = service
        .spec
        .as_ref()
        .and_then(|s| s.ports.as_deref())
        .unwrap_or_default();
    let number = |p: &k8s_openapi::api::core::v1::ServicePort| match &p.target_port {
        None | Some(IntOrString::Int(0)) => Some(p.port),
        Some(IntOrString::Int(n)) => Some(*n),
        Some(IntOrString::String(name)) => find_named_port(pod, name),
    };
    all.iter()
        .filter_map(|p| Some((p.name.clone(), number(p)?, p.protocol.clone())))
        .collect()
}

/// Finds a container port by its name.
fn find_named_port(pod: &Pod, name: &str) -> Option<i32> {
    let containers = pod
        .spec
        .as_ref()
        .map(|s| s.containers.as_slice())
        .unwrap_or_default();
    let mut ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
    ports
        .find(|p| p.name.as_deref() == Some(name))
        .map(|p| p.container_port)
}

fn build_endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let address = pod
        .status
        .as_ref()?
        .pod_ip
        .clone()
        .filter(|a| !a.is_empty())?;
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    let always = service
        .spec
        .as_ref()
        .and_then(|s| s.publish_not_ready_addresses)
        .unwrap_or_default();
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(always || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(
            json!({"metadata": {"name": "s", "namespace": "n", "uid": "12345-6"}, "spec": spec}),
        )
        .unwrap()
    }

    fn pod(name: &str, ip: &str, ready: bool, deleted: bool, ports: Value) -> Arc<Pod> {
        let mut meta = json!({"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}});
        if deleted {
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let status = if ready { "True" } else { "False" };
        let pod = json!({"metadata": meta, "spec": {"containers": [{"name": "c", "ports": ports}]},
            "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": status}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn who_is_ready_and_stays_is_ready() {
        let s = service(
            json!({"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}),
        );
        let pods = [
            pod("b", "127.0.0.2", true, false, json!([])),
            pod("a", "127.0.0.1", false, false, json!([])),
            pod("c", "127.0.0.3", true, true, json!([])),
            pod("d", "", true, false, json!([])),
        ];
        let made = build_slices(&s, &pods);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].metadata.name.as_deref(), Some("s-12345"));
        let ready: Vec<(&str, bool)> = made[0]
            .endpoints
            .iter()
            .map(|e| {
                (
                    e.addresses[0].as_str(),
                    e.conditions.as_ref().unwrap().ready.unwrap(),
                )
            })
            .collect();
        assert_eq!(
            ready,
            [
                ("127.0.0.1", false),
                ("127.0.0.2", true),
                ("127.0.0.3", false)
            ]
        );
        let port = &made[0].ports.as_ref().unwrap()[0];
        assert_eq!(
            (port.name.as_deref(), port.port),
            (Some("http"), Some(8080))
        );
    }

    #[test]
    fn named_ports_are_each_pods_own() {
        let s = service(
            json!({"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": "web"}]}),
        );
        let port = |n: u16| json!([{"name": "web", "containerPort": n}]);
        let pods = [
            pod("a", "127.0.0.1", true, false, port(81)),
            pod("b", "127.0.0.2", true, false, port(82)),
            pod("c", "127.0.0.3", true, false, port(81)),
        ];
        let made = build_slices(&s, &pods);
        let shape: Vec<(i32, usize)> = made
            .iter()
            .map(|s| {
                (
                    s.ports.as_ref().unwrap()[0].port.unwrap(),
                    s.endpoints.len(),
                )
            })
            .collect();
        assert_eq!(shape, [(81, 2), (82, 1)]);
        assert_ne!(made[0].metadata.name, made[1].metadata.name);
    }

    #[test]
    fn nobody_is_one_empty_slice_and_no_selector_is_none_of_ours() {
        let s = service(json!({"selector": {"app": "a"}, "ports": [{"port": 80}]}));
        let made = build_slices(&s, &[]);
        assert!(made.len() == 1 && made[0].endpoints.is_empty());
        assert!(!service_selects(
            &service(json!({"ports": []})),
            &pod("a", "127.0.0.1", true, false, json!([]))
        ));
    }
}
