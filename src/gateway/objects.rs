//! The objects that a table is compiled from, as read from the API (or made by a test).

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Pod, Service, ServicePort},
    discovery::v1::{EndpointPort, EndpointSlice},
};
use kube::ResourceExt;

use super::{
    endpoint::{Endpoint, Endpoints},
    table::Port,
};
use crate::{
    api::{
        Lane, LaneGroup,
        gateway_api::{Gateway, GatewayClass, HttpRoute},
        label,
    },
    domain::routing::MatchList,
};

/// All objects that the data plane follows.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All GatewayClasses, also of other controllers.
    pub classes: Vec<Arc<GatewayClass>>,
    /// All Gateways, also of other classes.
    pub gateways: Vec<Arc<Gateway>>,
    /// All HTTPRoutes.
    pub routes: Vec<Arc<HttpRoute>>,
    /// All Services.
    pub services: Vec<Arc<Service>>,
    /// All EndpointSlices.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// All pods; only labels and deletion are used.
    pub pods: Vec<Arc<Pod>>,
    /// All lane groups.
    pub groups: Vec<Arc<LaneGroup>>,
    /// All lanes.
    pub lanes: Vec<Arc<Lane>>,
}

/// Endpoints of the previous table: those that are still there keep their connections and counts.
#[derive(Debug, Default)]
pub struct KnownEndpoints(HashMap<EndpointIdentity, Arc<Endpoint>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EndpointIdentity {
    address: SocketAddr,
    uid: String,
    app: Option<String>,
    tag: Option<String>,
}

/// Every TCP port of every Service with its ready endpoints.
pub(super) fn build_ports(objects: &Objects, known: &mut KnownEndpoints) -> Vec<Port> {
    let pods: HashMap<(String, String), &Pod> = objects
        .pods
        .iter()
        .map(|p| ((p.namespace().unwrap_or_default(), p.name_any()), &**p))
        .collect();
    let slices = group_by_service(&objects.slices);
    let mut collector = EndpointCollector {
        pods,
        known,
        next: KnownEndpoints::default(),
    };
    let mut ports = vec![];
    for service in &objects.services {
        let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
        let of_service = slices
            .get(&(namespace.clone(), name.as_str()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (number, port) in tcp_ports(service) {
            let port_name = port.name.as_deref().unwrap_or_default();
            ports.push(Port {
                namespace: namespace.clone(),
                service: name.clone(),
                port: number,
                raw: super::passthrough::is_raw(port),
                endpoints: Endpoints::new(collector.collect_ready(of_service, port_name)),
                routes: MatchList::default(),
            });
        }
    }
    *known = collector.next;
    ports
}

/// The slices of each Service, by its namespace and name.
fn group_by_service(all: &[Arc<EndpointSlice>]) -> HashMap<(String, &str), Vec<&EndpointSlice>> {
    let mut slices: HashMap<(String, &str), Vec<&EndpointSlice>> = HashMap::new();
    for slice in all {
        if let Some(service) = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|l| l.get("kubernetes.io/service-name"))
        {
            slices
                .entry((slice.namespace().unwrap_or_default(), service))
                .or_default()
                .push(slice);
        }
    }
    slices
}

fn tcp_ports(service: &Service) -> impl Iterator<Item = (u16, &ServicePort)> {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default();
    ports
        .iter()
        .filter(|p| p.protocol.as_deref().unwrap_or("TCP") == "TCP")
        .filter_map(|p| Some((u16::try_from(p.port).ok()?, p)))
}

/// Finds the endpoints of ports; those that are known stay the same.
struct EndpointCollector<'a> {
    pods: HashMap<(String, String), &'a Pod>,
    known: &'a KnownEndpoints,
    next: KnownEndpoints,
}

impl EndpointCollector<'_> {
    /// The ready endpoints of a port in slices, in the order of their addresses.
    fn collect_ready(&mut self, slices: &[&EndpointSlice], port: &str) -> Vec<Arc<Endpoint>> {
        let mut list = vec![];
        for slice in slices {
            if let Some(number) = port_number(slice, port) {
                self.add_ready_endpoints(slice, number, &mut list);
            }
        }
        list.sort_by_key(|e: &Arc<Endpoint>| e.address);
        list.dedup_by_key(|e| e.address);
        list
    }

    fn add_ready_endpoints(
        &mut self,
        slice: &EndpointSlice,
        number: u16,
        list: &mut Vec<Arc<Endpoint>>,
    ) {
        let namespace = slice.namespace().unwrap_or_default();
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
            let target = endpoint
                .target_ref
                .as_ref()
                .filter(|t| t.kind.as_deref() == Some("Pod"));
            let name = target.and_then(|t| t.name.clone()).unwrap_or_default();
            let pod = self.pods.get(&(namespace.clone(), name.clone()));
            // The deletion of a pod may be known before its slice is updated.
            let ending = pod.is_some_and(|p| p.metadata.deletion_timestamp.is_some());
            if !ready || terminating || ending {
                continue;
            }
            let labels = pod.and_then(|p| p.metadata.labels.as_ref());
            let label = |name: &str| {
                labels
                    .and_then(|l| l.get(name))
                    .filter(|v| !v.is_empty())
                    .cloned()
            };
            let app = label(label::APP);
            let tag = label(label::SERVICE_TAG);
            for address in &endpoint.addresses {
                let Ok(ip) = address.parse() else { continue };
                let uid = target
                    .and_then(|t| t.uid.clone())
                    .unwrap_or_else(|| name.clone());
                let identity = EndpointIdentity {
                    address: SocketAddr::new(ip, number),
                    uid,
                    app: app.clone(),
                    tag: tag.clone(),
                };
                list.push(self.keep_or_add(identity, &name));
            }
        }
    }

    /// The endpoint with this identity, which may be known already.
    fn keep_or_add(&mut self, identity: EndpointIdentity, pod: &str) -> Arc<Endpoint> {
        let made = || {
            Arc::new(Endpoint::new(
                identity.address,
                pod.to_owned(),
                identity.app.clone(),
                identity.tag.clone(),
            ))
        };
        let same = self
            .known
            .0
            .get(&identity)
            .or_else(|| self.next.0.get(&identity))
            .cloned()
            .unwrap_or_else(made);
        self.next.0.insert(identity, same.clone());
        same
    }
}

/// Number of the port with this name in a slice.
fn port_number(slice: &EndpointSlice, port: &str) -> Option<u16> {
    let named = |p: &&EndpointPort| p.name.as_deref().unwrap_or_default() == port;
    let ports = slice.ports.as_deref().unwrap_or_default();
    let number = ports.iter().find(named)?.port?;
    u16::try_from(number).ok()
}

impl KnownEndpoints {
    /// Closes connections that were idle for too long.
    pub(super) fn prune(&self, idle: std::time::Duration) {
        self.0.values().for_each(|e| e.prune(idle));
    }
}
