//! Compiles objects into a table, and into results for their statuses.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderName;
use kube::ResourceExt;

use super::{
    objects::{KnownEndpoints, Objects, build_ports},
    rule,
    table::{Frontend, Match, RoutingTable},
    tunnel::parse_idle_timeout,
};
use crate::{
    api::gateway_api::{Gateway, HttpRoute, LANE_GATEWAY, ParentRef},
    domain::{
        lanes::Colouring,
        routing::{self, HostPattern, MatchOrder},
    },
};

/// Results for the statuses of the objects.
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

struct EntryListener<'a> {
    gateway: &'a Gateway,
    hosts: HostPattern,
    port: u16,
    name: &'a str,
    all_namespaces: bool,
    addresses: Vec<SocketAddr>,
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
    table.tags = colours
        .values()
        .map(|c| c.header.clone())
        .chain([HeaderName::from_static("x-mse-tag")])
        .collect();
    table.tags.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    table.tags.dedup();
    for service in &objects.services {
        let ip: Option<IpAddr> = service
            .spec
            .as_ref()
            .and_then(|s| s.cluster_ip.as_deref())
            .and_then(|ip| ip.parse().ok());
        let Some(ip) = ip else { continue };
        let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
        // The API server listens on the address of its Service itself.
        if (namespace.as_str(), name.as_str()) == ("default", "kubernetes") {
            continue;
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
    let mut entries = compile_entries(objects, node, &mut table, &mut verdicts);
    let mut matches: HashMap<SocketAddr, Vec<(MatchOrder, Match)>> = HashMap::new();
    let mut meshes: HashMap<usize, Vec<(MatchOrder, Match)>> = HashMap::new();
    for (r, route) in objects.routes.iter().enumerate() {
        let namespace = route.namespace().unwrap_or_default();
        let parents: Vec<&ParentRef> = route.spec.parent_refs.iter().collect();
        let compiled = rule::compile_route(route, &index, &colours);
        let lead = |r: usize| compiled.rules[r].clone();
        for parent in parents {
            let accepted = if parent.is_gateway() {
                match attach_to_gateway(route, parent, &namespace, &mut entries, objects) {
                    None => continue,
                    Some(Err(no)) => no,
                    Some(Ok(places)) => {
                        for (address, host, listener) in places {
                            count_attached_route(
                                &mut verdicts,
                                objects,
                                parent,
                                &namespace,
                                &listener,
                            );
                            matches
                                .entry(address)
                                .or_default()
                                .extend(routing::compile_matches(route, &host, &lead));
                        }
                        ("Accepted", "requests are routed".to_owned())
                    }
                }
            } else if parent.is_service() {
                if parent.namespace.as_ref().is_some_and(|n| *n != namespace) {
                    (
                        "NotAllowedByListeners",
                        "a route of another namespace is not taken".to_owned(),
                    )
                } else {
                    let own = |(_, p): &(usize, &super::table::Port)| {
                        p.namespace == namespace
                            && p.service == parent.name
                            && parent.port.is_none_or(|n| n == p.port)
                    };
                    let found: Vec<usize> = table
                        .ports
                        .iter()
                        .enumerate()
                        .filter(own)
                        .map(|(i, _)| i)
                        .collect();
                    for &i in &found {
                        meshes
                            .entry(i)
                            .or_default()
                            .extend(routing::compile_matches(route, &HostPattern::Any, &lead));
                    }
                    match found.is_empty() {
                        true => (
                            "NoMatchingParent",
                            format!("there is no Service {} with that port", parent.name),
                        ),
                        false => ("Accepted", "requests are routed".to_owned()),
                    }
                }
            } else {
                continue;
            };
            let accepted = match (&compiled.unsupported, accepted) {
                (Some(words), ("Accepted", _)) => ("UnsupportedValue", words.clone()),
                (_, accepted) => accepted,
            };
            let verdict = RouteVerdict {
                accepted,
                resolved: compiled.resolved.clone(),
            };
            verdicts.routes.push((r, parent.clone(), verdict));
        }
    }
    for (address, all) in matches {
        if let Some(Frontend::Entry { routes, .. }) = table.listeners.get_mut(&address) {
            *routes = routing::sort_matches(all);
        }
    }
    for (port, all) in meshes {
        table.ports[port].routes = routing::sort_matches(all);
    }
    (table, verdicts)
}

/// Colouring of each lane group, by namespace and name.
fn compile_colouring(objects: &Objects) -> HashMap<(String, String), Arc<Colouring>> {
    let colour = |group: &Arc<crate::api::LaneGroup>| {
        let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
        let own = |l: &&Arc<crate::api::Lane>| {
            l.namespace().unwrap_or_default() == namespace && l.spec.group == name
        };
        let lanes: Vec<crate::api::Lane> = objects
            .lanes
            .iter()
            .filter(own)
            .map(|l| (**l).clone())
            .collect();
        ((namespace, name), Arc::new(Colouring::new(group, &lanes)))
    };
    objects.groups.iter().map(colour).collect()
}

fn is_ours(objects: &Objects, gateway: &Gateway) -> bool {
    let class = objects
        .classes
        .iter()
        .find(|c| c.name_any() == gateway.spec.gateway_class_name);
    class.is_some_and(|c| c.spec.controller_name == LANE_GATEWAY)
}

fn compile_entries<'a>(
    objects: &'a Objects,
    node: IpAddr,
    table: &mut RoutingTable,
    verdicts: &mut Verdicts,
) -> Vec<EntryListener<'a>> {
    let mut entries = vec![];
    for (g, gateway) in objects
        .gateways
        .iter()
        .enumerate()
        .filter(|(_, g)| is_ours(objects, g))
    {
        let full = format!(
            "{}/{}",
            gateway.namespace().unwrap_or_default(),
            gateway.name_any()
        );
        let mut listeners = vec![];
        let asked: Vec<&str> = gateway
            .spec
            .addresses
            .iter()
            .filter_map(|a| a.value.as_deref())
            .collect();
        let ips: Result<Vec<IpAddr>, _> = asked.iter().map(|a| a.parse()).collect();
        for listener in &gateway.spec.listeners {
            let mut verdict = ListenerVerdict {
                name: listener.name.clone(),
                routes: 0,
                addresses: vec![],
                refused: None,
            };
            match &ips {
                _ if listener.protocol != "HTTP" => {
                    let words = format!("{} is not served, only HTTP", listener.protocol);
                    verdict.refused = Some(("UnsupportedProtocol", words));
                }
                Err(_) => {
                    verdict.refused =
                        Some(("UnsupportedAddress", format!("{asked:?}: no IP addresses")))
                }
                Ok(ips) => {
                    let ips = if ips.is_empty() {
                        vec![node]
                    } else {
                        ips.clone()
                    };
                    verdict.addresses = ips
                        .iter()
                        .map(|ip| SocketAddr::new(*ip, listener.port))
                        .collect();
                }
            }
            for address in &verdict.addresses {
                match table.listeners.get(address) {
                    Some(Frontend::Entry { gateway, .. }) if *gateway == full => {}
                    Some(Frontend::Entry { gateway, .. }) => {
                        verdict.refused = Some((
                            "PortUnavailable",
                            format!("{address} belongs to Gateway {gateway}"),
                        ));
                    }
                    Some(Frontend::Service(i) | Frontend::Raw(i)) => {
                        let words =
                            format!("{address} belongs to Service {}", table.ports[*i].name());
                        verdict.refused = Some(("PortUnavailable", words));
                    }
                    None => {
                        let frontend = Frontend::Entry {
                            gateway: full.clone(),
                            routes: vec![],
                        };
                        table.listeners.insert(*address, frontend);
                        if let Ok(Some(idle)) = parse_idle_timeout(gateway.annotations()) {
                            table.tunnel_idle.insert(*address, idle);
                        }
                    }
                }
            }
            if verdict.refused.is_none() {
                let from = listener
                    .allowed_routes
                    .as_ref()
                    .and_then(|a| a.namespaces.as_ref()?.from.clone());
                entries.push(EntryListener {
                    gateway,
                    hosts: HostPattern::from_hostname(listener.hostname.as_deref()),
                    port: listener.port,
                    name: &listener.name,
                    all_namespaces: from.as_deref() == Some("All"),
                    addresses: verdict.addresses.clone(),
                });
            }
            listeners.push(verdict);
        }
        verdicts.gateways.push((g, listeners));
    }
    entries
}

type Attachment = (SocketAddr, HostPattern, String);

/// Where a route attaches to a Gateway; `None` if the Gateway is not ours.
fn attach_to_gateway(
    route: &HttpRoute,
    parent: &ParentRef,
    namespace: &str,
    entries: &mut [EntryListener],
    objects: &Objects,
) -> Option<Result<Vec<Attachment>, (&'static str, String)>> {
    let of = parent.namespace.as_deref().unwrap_or(namespace);
    let same = |g: &Gateway| g.name_any() == parent.name && g.namespace().unwrap_or_default() == of;
    objects
        .gateways
        .iter()
        .find(|g| same(g) && is_ours(objects, g))?;
    let fits = |e: &&mut EntryListener| {
        same(e.gateway)
            && parent.section_name.as_ref().is_none_or(|s| s == e.name)
            && parent.port.is_none_or(|p| p == e.port)
    };
    let fitting: Vec<&mut EntryListener> = entries.iter_mut().filter(fits).collect();
    if fitting.is_empty() {
        return Some(Err((
            "NoMatchingParent",
            format!("Gateway {} has no such listener", parent.name),
        )));
    }
    let allowed: Vec<&mut EntryListener> = fitting
        .into_iter()
        .filter(|e| e.all_namespaces || of == namespace)
        .collect();
    if allowed.is_empty() {
        return Some(Err((
            "NotAllowedByListeners",
            format!("Gateway {} takes no route of {namespace}", parent.name),
        )));
    }
    let names: Vec<Option<&str>> = match route.spec.hostnames.as_slice() {
        [] => vec![None],
        names => names.iter().map(|n| Some(n.as_str())).collect(),
    };
    let mut places = vec![];
    for entry in allowed {
        for host in names
            .iter()
            .filter_map(|n| HostPattern::from_hostname(*n).intersect_with(&entry.hosts))
        {
            places.extend(
                entry
                    .addresses
                    .iter()
                    .map(|a| (*a, host.clone(), entry.name.to_owned())),
            );
        }
    }
    Some(match places.is_empty() {
        true => Err((
            "NoMatchingListenerHostname",
            "no listener has a host of the route".to_owned(),
        )),
        false => Ok(places),
    })
}

fn count_attached_route(
    verdicts: &mut Verdicts,
    objects: &Objects,
    parent: &ParentRef,
    namespace: &str,
    listener: &str,
) {
    let of = parent.namespace.as_deref().unwrap_or(namespace);
    for (g, listeners) in &mut verdicts.gateways {
        let gateway = &objects.gateways[*g];
        if gateway.name_any() == parent.name && gateway.namespace().unwrap_or_default() == of {
            listeners
                .iter_mut()
                .filter(|l| l.name == listener)
                .for_each(|l| l.routes += 1);
        }
    }
}
