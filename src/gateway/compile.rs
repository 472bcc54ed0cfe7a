//! Compiles objects into a table, and into results for their statuses: listeners in `entries`, routes
//! in `attach`.

mod attach;
mod entries;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderName;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use self::{attach::RouteAttacher, entries::compile_entries};
use super::{
    objects::{KnownEndpoints, Objects, build_ports},
    rule,
    table::{Frontend, RoutingTable},
    tunnel::parse_idle_timeout,
};
use crate::{
    api::{Lane, LaneGroup, gateway_api::ParentRef},
    domain::lanes::Colouring,
};

/// Reason and message of a condition.
type Reason = (&'static str, String);
#[derive(Debug, Default)]
pub struct Verdicts {
    /// For each route (index in the objects) and each of its parents that is ours.
    pub(super) routes: Vec<(usize, ParentRef, RouteVerdict)>,
    /// For each Gateway of our class (index in the objects).
    pub(super) gateways: Vec<(usize, Vec<ListenerVerdict>)>,
}

/// Result for a route at one parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouteVerdict {
    /// Reason and message; `Accepted` means yes.
    pub(super) accepted: (&'static str, String),
    /// Reason and message; `ResolvedRefs` means yes.
    pub(super) resolved: (&'static str, String),
}

/// Result for a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenerVerdict {
    pub(super) name: String,
    pub(super) routes: i32,
    /// Addresses to listen on.
    pub(super) addresses: Vec<SocketAddr>,
    /// Reason and message if it is not served.
    pub(super) refused: Option<(&'static str, String)>,
}

/// Compiles all objects. `known` carries the endpoints over from the previous table.
pub fn compile_table(
    objects: &Objects,
    node: IpAddr,
    known: &mut KnownEndpoints,
) -> (RoutingTable, Verdicts) {
    let mut verdicts = Verdicts::default();
    let mut table = RoutingTable {
        ports: build_ports(objects, known),
        ..RoutingTable::default()
    };
    let index: HashMap<(String, String, u16), usize> = table
        .ports
        .iter()
        .enumerate()
        .map(|(i, p)| ((p.namespace.clone(), p.service.clone(), p.port), i))
        .collect();
    let colours = compile_colouring(objects);
    table.tags = collect_tags(colours.values());
    for service in &objects.services {
        listen_for_service(service, &mut table);
    }
    let entries = compile_entries(objects, node, &mut table, &mut verdicts);
    let mut attacher = RouteAttacher::new(objects, entries);
    for (r, route) in objects.routes.iter().enumerate() {
        let compiled = rule::compile_route(route, &index, &colours);
        attacher.attach_route(r, &compiled, &table, &mut verdicts);
    }
    attacher.enter_matches(&mut table);
    (table, verdicts)
}

/// The headers that carry a tag.
fn collect_tags<'a>(colours: impl Iterator<Item = &'a Arc<Colouring>>) -> Vec<HeaderName> {
    let mut tags: Vec<HeaderName> = colours
        .map(|c| c.header.clone())
        .chain([HeaderName::from_static("x-mse-tag")])
        .collect();
    tags.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    tags.dedup();
    tags
}

/// Listens on the cluster IP of a Service, for each of its ports.
fn listen_for_service(service: &Service, table: &mut RoutingTable) {
    let ip: Option<IpAddr> = service
        .spec
        .as_ref()
        .and_then(|s| s.cluster_ip.as_deref())
        .and_then(|ip| ip.parse().ok());
    let Some(ip) = ip else { return };
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    // The API server listens on the address of its Service itself.
    if (namespace.as_str(), name.as_str()) == ("default", "kubernetes") {
        return;
    }
    for (i, port) in table
        .ports
        .iter()
        .enumerate()
        .filter(|(_, p)| p.namespace == namespace && p.service == name)
    {
        let at = SocketAddr::new(ip, port.port);
        table.listeners.insert(
            at,
            if port.raw {
                Frontend::Raw(i)
            } else {
                Frontend::Service(i)
            },
        );
        if let Ok(Some(idle)) = parse_idle_timeout(service.annotations()) {
            table.tunnel_idle.insert(at, idle);
        }
    }
}

/// Colouring of each lane group, by namespace and name.
fn compile_colouring(objects: &Objects) -> HashMap<(String, String), Arc<Colouring>> {
    let colour = |group: &Arc<LaneGroup>| {
        let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
        let own =
            |l: &&Arc<Lane>| l.namespace().unwrap_or_default() == namespace && l.spec.group == name;
        let lanes: Vec<Lane> = objects
            .lanes
            .iter()
            .filter(own)
            .map(|l| (**l).clone())
            .collect();
        ((namespace, name), Arc::new(Colouring::new(group, &lanes)))
    };
    objects.groups.iter().map(colour).collect()
}
