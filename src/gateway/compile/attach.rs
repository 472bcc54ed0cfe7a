//! Attaches routes to the parents that they name: listeners of our Gateways, and Services.

use std::{collections::HashMap, net::SocketAddr};

use kube::ResourceExt;

use super::{
    Objects, Reason, RouteVerdict, Verdicts,
    entries::{EntryListener, is_ours},
};
use crate::{
    api::gateway_api::{Gateway, HttpRoute, ParentRef},
    domain::routing::{self, HostPattern, MatchList, MatchOrder},
    gateway::{
        rule::CompiledRoute,
        table::{Frontend, Match, Port, RoutingTable},
    },
};

/// The matches of all routes, by where they are attached.
#[derive(Default)]
struct AttachedMatches {
    entries: HashMap<SocketAddr, Vec<(MatchOrder, Match)>>,
    /// By index of the port.
    ports: HashMap<usize, Vec<(MatchOrder, Match)>>,
}

/// Attaches one route after the other, and collects what they match.
pub(super) struct RouteAttacher<'a> {
    objects: &'a Objects,
    entries: Vec<EntryListener<'a>>,
    matches: AttachedMatches,
}

impl<'a> RouteAttacher<'a> {
    pub(super) fn new(objects: &'a Objects, entries: Vec<EntryListener<'a>>) -> Self {
        Self {
            objects,
            entries,
            matches: AttachedMatches::default(),
        }
    }

    /// Attaches the route with index `r` to all of its parents that are ours.
    pub(super) fn attach_route(
        &mut self,
        r: usize,
        compiled: &CompiledRoute,
        table: &RoutingTable,
        verdicts: &mut Verdicts,
    ) {
        let route = &*self.objects.routes[r];
        for parent in &route.spec.parent_refs {
            let accepted = if parent.is_gateway() {
                self.attach_to_gateway(route, parent, compiled, verdicts)
            } else if parent.is_service() {
                Some(self.attach_to_service(route, parent, compiled, table))
            } else {
                None
            };
            let Some(accepted) = accepted else { continue };
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

    /// `None` if the Gateway is not ours.
    fn attach_to_gateway(
        &mut self,
        route: &HttpRoute,
        parent: &ParentRef,
        compiled: &CompiledRoute,
        verdicts: &mut Verdicts,
    ) -> Option<Reason> {
        let namespace = route.namespace().unwrap_or_default();
        let lead = |r: usize| compiled.rules[r].clone();
        let places = match self.find_places(route, parent, &namespace)? {
            Ok(places) => places,
            Err(no) => return Some(no),
        };
        for (address, host, listener) in places {
            count_attached_route(verdicts, self.objects, parent, &namespace, &listener);
            self.matches
                .entries
                .entry(address)
                .or_default()
                .extend(routing::compile_matches(route, &host, &lead));
        }
        Some(("Accepted", "requests are routed".to_owned()))
    }

    fn attach_to_service(
        &mut self,
        route: &HttpRoute,
        parent: &ParentRef,
        compiled: &CompiledRoute,
        table: &RoutingTable,
    ) -> Reason {
        let namespace = route.namespace().unwrap_or_default();
        if parent.namespace.as_ref().is_some_and(|n| *n != namespace) {
            return (
                "NotAllowedByListeners",
                "a route of another namespace is not taken".to_owned(),
            );
        }
        let lead = |r: usize| compiled.rules[r].clone();
        let own = |(_, p): &(usize, &Port)| {
            p.namespace == namespace
                && p.service == parent.name
                && parent.port.is_none_or(|n| n == p.port)
        };
        let mut found = false;
        for (i, _) in table.ports.iter().enumerate().filter(own) {
            found = true;
            self.matches
                .ports
                .entry(i)
                .or_default()
                .extend(routing::compile_matches(route, &HostPattern::Any, &lead));
        }
        if found {
            ("Accepted", "requests are routed".to_owned())
        } else {
            (
                "NoMatchingParent",
                format!("there is no Service {} with that port", parent.name),
            )
        }
    }

    /// Where a route attaches to a Gateway; `None` if the Gateway is not ours.
    fn find_places(
        &self,
        route: &HttpRoute,
        parent: &ParentRef,
        namespace: &str,
    ) -> Option<Result<Vec<Attachment>, Reason>> {
        let of = parent.namespace.as_deref().unwrap_or(namespace);
        let same =
            |g: &Gateway| g.name_any() == parent.name && g.namespace().unwrap_or_default() == of;
        self.objects
            .gateways
            .iter()
            .find(|g| same(g) && is_ours(self.objects, g))?;
        let fits = |e: &&EntryListener| {
            same(e.gateway)
                && parent.section_name.as_ref().is_none_or(|s| s == e.name)
                && parent.port.is_none_or(|p| p == e.port)
        };
        let fitting: Vec<&EntryListener> = self.entries.iter().filter(fits).collect();
        if fitting.is_empty() {
            return Some(Err((
                "NoMatchingParent",
                format!("Gateway {} has no such listener", parent.name),
            )));
        }
        let allowed: Vec<&EntryListener> = fitting
            .into_iter()
            .filter(|e| e.all_namespaces || of == namespace)
            .collect();
        if allowed.is_empty() {
            return Some(Err((
                "NotAllowedByListeners",
                format!("Gateway {} takes no route of {namespace}", parent.name),
            )));
        }
        let places = collect_places(route, &allowed);
        Some(if places.is_empty() {
            Err((
                "NoMatchingListenerHostname",
                "no listener has a host of the route".to_owned(),
            ))
        } else {
            Ok(places)
        })
    }

    /// Enters all matches into the table, in their order.
    pub(super) fn enter_matches(self, table: &mut RoutingTable) {
        for (address, all) in self.matches.entries {
            if let Some(Frontend::Entry { routes, .. }) = table.listeners.get_mut(&address) {
                *routes = MatchList::new(routing::sort_matches(all));
            }
        }
        for (port, all) in self.matches.ports {
            table.ports[port].routes = MatchList::new(routing::sort_matches(all));
        }
    }
}

/// Address, host and name of a listener that takes a route.
type Attachment = (SocketAddr, HostPattern, String);

/// All addresses of these listeners, with the hosts that they share with the route.
fn collect_places(route: &HttpRoute, listeners: &[&EntryListener]) -> Vec<Attachment> {
    let names: Vec<Option<&str>> = match route.spec.hostnames.as_slice() {
        [] => vec![None],
        names => names.iter().map(|n| Some(n.as_str())).collect(),
    };
    let mut places = vec![];
    for entry in listeners {
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
    places
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
