//! Compiles the listeners of our Gateways into entries.

use std::net::{AddrParseError, IpAddr, SocketAddr};

use kube::ResourceExt;

use super::{ListenerVerdict, Objects, Verdicts};
use crate::{
    api::gateway_api::{Gateway, LANE_GATEWAY, Listener},
    domain::routing::{HostPattern, MatchList},
    gateway::{
        table::{Frontend, RoutingTable},
        tunnel::parse_idle_timeout,
    },
};

pub(super) struct EntryListener<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) hosts: HostPattern,
    pub(super) port: u16,
    pub(super) name: &'a str,
    pub(super) all_namespaces: bool,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Whether the class of a Gateway is one of this controller.
pub(super) fn is_ours(objects: &Objects, gateway: &Gateway) -> bool {
    let class = objects
        .classes
        .iter()
        .find(|c| c.name_any() == gateway.spec.gateway_class_name);
    class.is_some_and(|c| c.spec.controller_name == LANE_GATEWAY)
}

pub(super) fn compile_entries<'a>(
    objects: &'a Objects,
    node: IpAddr,
    table: &mut RoutingTable,
    verdicts: &mut Verdicts,
) -> Vec<EntryListener<'a>> {
    let mut entries = vec![];
    let ours = objects.gateways.iter().enumerate();
    for (g, gateway) in ours.filter(|(_, g)| is_ours(objects, g)) {
        let addresses = GatewayAddresses::parse(gateway, node);
        let mut listeners = vec![];
        for listener in &gateway.spec.listeners {
            let mut verdict = addresses.judge_listener(listener);
            occupy_addresses(gateway, &mut verdict, table);
            if verdict.refused.is_none() {
                entries.push(EntryListener::new(gateway, listener, &verdict));
            }
            listeners.push(verdict);
        }
        verdicts.gateways.push((g, listeners));
    }
    entries
}

impl<'a> EntryListener<'a> {
    fn new(gateway: &'a Gateway, listener: &'a Listener, verdict: &ListenerVerdict) -> Self {
        let from = listener
            .allowed_routes
            .as_ref()
            .and_then(|a| a.namespaces.as_ref()?.from.as_deref());
        Self {
            gateway,
            hosts: HostPattern::from_hostname(listener.hostname.as_deref()),
            port: listener.port,
            name: &listener.name,
            all_namespaces: from == Some("All"),
            addresses: verdict.addresses.clone(),
        }
    }
}

/// The addresses that a Gateway asks for.
struct GatewayAddresses<'a> {
    asked: Vec<&'a str>,
    ips: Result<Vec<IpAddr>, AddrParseError>,
}

impl<'a> GatewayAddresses<'a> {
    /// Without an address, a Gateway listens on `node`.
    fn parse(gateway: &'a Gateway, node: IpAddr) -> Self {
        let asked: Vec<&str> = gateway
            .spec
            .addresses
            .iter()
            .filter_map(|a| a.value.as_deref())
            .collect();
        let ips = if asked.is_empty() {
            Ok(vec![node])
        } else {
            asked.iter().map(|a| a.parse()).collect()
        };
        Self { asked, ips }
    }

    /// Where a listener is to listen, or why it cannot be served.
    fn judge_listener(&self, listener: &Listener) -> ListenerVerdict {
        let mut verdict = ListenerVerdict {
            name: listener.name.clone(),
            routes: 0,
            addresses: vec![],
            refused: None,
        };
        match &self.ips {
            _ if listener.protocol != "HTTP" => {
                let words = format!("{} is not served, only HTTP", listener.protocol);
                verdict.refused = Some(("UnsupportedProtocol", words));
            }
            Err(_) => {
                let words = format!("{:?}: no IP addresses", self.asked);
                verdict.refused = Some(("UnsupportedAddress", words));
            }
            Ok(ips) => {
                let at = |ip: &IpAddr| SocketAddr::new(*ip, listener.port);
                verdict.addresses = ips.iter().map(at).collect();
            }
        }
        verdict
    }
}

/// Takes the addresses of a listener in the table; refuses it where another one has them.
fn occupy_addresses(gateway: &Gateway, verdict: &mut ListenerVerdict, table: &mut RoutingTable) {
    let full = format!(
        "{}/{}",
        gateway.namespace().unwrap_or_default(),
        gateway.name_any()
    );
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
                let words = format!("{address} belongs to Service {}", table.ports[*i].name());
                verdict.refused = Some(("PortUnavailable", words));
            }
            None => {
                let frontend = Frontend::Entry {
                    gateway: full.clone(),
                    routes: MatchList::default(),
                };
                table.listeners.insert(*address, frontend);
                if let Ok(Some(idle)) = parse_idle_timeout(gateway.annotations()) {
                    table.tunnel_idle.insert(*address, idle);
                }
            }
        }
    }
}
