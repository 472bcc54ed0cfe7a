//! Cluster IPs of Services: assigned when a Service is created, kept for its lifetime, and changed
//! only when pocket runs with another network than before.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};

use super::{
    ApiServer,
    change::Decision,
    delete,
    error::{ApiError, FieldError, Result},
    meta,
    registry::Resource,
};
use crate::network::Network;

const STORAGE: &str = "services";

/// State of the address allocation.
#[derive(Default)]
pub(super) struct AddressAllocator {
    network: OnceLock<Network>,
    /// Continues after the last address assigned, so that two Services created at once never get
    /// the same one and a freed address is not reused soon.
    next: AtomicU32,
    /// See [`ApiServer::lock_writes`].
    pub(super) write_lock: tokio::sync::Mutex<()>,
}

impl ApiServer {
    /// Gives Services addresses from now on; Services with an address of another network get a new
    /// one.
    pub async fn set_network(&self, network: Network) -> Result<()> {
        let addresses = &self.inner.addresses;
        if addresses.network.set(network).is_err() {
            return Ok(());
        }
        let registry = self.registry();
        let Some(resource) = registry.find_by_storage(STORAGE) else {
            return Ok(());
        };
        for service in self.store().list(STORAGE, None).values() {
            let own = if is_api_service(&service) {
                Some(network.node_address())
            } else {
                None
            };
            let right = |a| own.map_or(network.is_service(a), |node| node == a);
            if !needs_address(&service) || parse_cluster_ip(&service).is_some_and(right) {
                continue;
            }
            let fresh = own.map_or_else(|| self.next_free_address(network), Ok)?;
            let key = delete::object_key(resource, &service);
            let gone = self.change_object(resource, &key, false, |current| {
                let Some(current) = current else {
                    return Err(ApiError::not_found(resource, &key.name));
                };
                let mut object = (*current.value).clone();
                set_cluster_ip(&mut object, fresh);
                Ok(Decision::Put(object))
            });
            match gone.await {
                Err(error) if error.reason != "NotFound" => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives a new Service an address: the one that it names, if that is free, otherwise the next
    /// free one.
    pub(super) fn assign_address(&self, resource: &Resource, object: &mut Value) -> Result<()> {
        if !resource.is_kind("", "Service") {
            return Ok(());
        }
        set_ip_families(object);
        let Some(network) = self.inner.addresses.network.get() else {
            return Ok(());
        };
        if !needs_address(object) {
            return Ok(());
        }
        if is_api_service(object) {
            set_cluster_ip(object, network.node_address());
            return Ok(());
        }
        let named = object["spec"]["clusterIP"]
            .as_str()
            .filter(|t| !t.is_empty());
        let Some(named) = named else {
            set_cluster_ip(object, self.next_free_address(*network)?);
            return Ok(());
        };
        let refuse = |why: &str| {
            let value = json!(named);
            let problem = FieldError::invalid("spec.clusterIPs[0]", &value, why);
            ApiError::invalid(
                &resource.group,
                &resource.kind,
                meta::field_text(object, "name"),
                &[problem],
            )
        };
        match named.parse() {
            Ok(address) if network.is_service(address) => {
                if self.addresses_in_use().contains(&address) {
                    return Err(refuse("provided IP is already allocated"));
                }
                set_cluster_ip(object, address);
                Ok(())
            }
            _ => Err(refuse(&format!(
                "failed to allocate IP {named}: the provided IP is not of this pocket's network"
            ))),
        }
    }

    fn next_free_address(&self, network: Network) -> Result<Ipv4Addr> {
        let used = self.addresses_in_use();
        let next = &self.inner.addresses.next;
        // Start over once at the end of the range.
        let mut wrapped = false;
        loop {
            match network.service_address(next.fetch_add(1, Ordering::Relaxed)) {
                Some(address) if !used.contains(&address) => return Ok(address),
                Some(_) => {}
                None if wrapped => {
                    return Err(ApiError::internal(
                        "failed to allocate a serviceIP: range is full",
                    ));
                }
                None => {
                    wrapped = true;
                    next.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    fn addresses_in_use(&self) -> HashSet<Ipv4Addr> {
        self.store()
            .list(STORAGE, None)
            .values()
            .filter_map(|s| parse_cluster_ip(&s))
            .collect()
    }
}

/// Keeps the old address if a change names none; refuses a different one.
pub(super) fn keep_allocated_fields(
    resource: &Resource,
    old: &Value,
    object: &mut Value,
) -> Result<()> {
    keep_node_ports(old, object);
    drop_stale_type_fields(old, object);
    if object["spec"]["type"] != "ExternalName" {
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if let Some(value) = old["spec"]
                .get(field)
                .filter(|_| object["spec"].get(field).is_none())
            {
                object["spec"][field] = value.clone();
            }
        }
    }
    let Some(was) = old["spec"]["clusterIP"].as_str().filter(|t| !t.is_empty()) else {
        return Ok(());
    };
    let is = object["spec"]["clusterIP"].as_str().unwrap_or_default();
    if is.is_empty() && object["spec"]["type"] != "ExternalName" {
        let (ip, ips) = (
            old["spec"]["clusterIP"].clone(),
            old["spec"]["clusterIPs"].clone(),
        );
        object["spec"]["clusterIP"] = ip;
        if !ips.is_null() {
            object["spec"]["clusterIPs"] = ips;
        }
        return Ok(());
    }
    if is == was || object["spec"]["type"] == "ExternalName" {
        return Ok(());
    }
    let problem = FieldError::invalid("spec.clusterIPs[0]", &json!(is), "field is immutable");
    Err(ApiError::invalid(
        &resource.group,
        &resource.kind,
        meta::field_text(old, "name"),
        &[problem],
    ))
}

/// Ports that remain keep their node ports; a Service that no longer needs node ports loses them.
fn keep_node_ports(old: &Value, object: &mut Value) {
    let outside = |kind: &Value| kind == "NodePort" || kind == "LoadBalancer";
    let (was, is) = (
        outside(&old["spec"]["type"]),
        outside(&object["spec"]["type"]),
    );
    let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in object["spec"]
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let number = |port: &Value| port["nodePort"].as_i64().unwrap_or(0);
        let same = before
            .iter()
            .find(|p| p["port"] == port["port"] && p["protocol"] == port["protocol"]);
        let Some(kept) = same.map(number).filter(|n| *n != 0) else {
            continue;
        };
        if was && is && number(port) == 0 {
            port["nodePort"] = kept.into();
        } else if was && !is && number(port) == kept {
            meta::remove_field(port, "nodePort");
        }
    }
}

/// Drops fields that only the old type of the Service has, unless the change sets them.
fn drop_stale_type_fields(old: &Value, object: &mut Value) {
    let spec = &mut object["spec"];
    if old["spec"]["type"] == spec["type"] {
        return;
    }
    let kind = spec["type"].as_str().unwrap_or_default();
    let named = spec["externalIPs"]
        .as_array()
        .is_some_and(|ips| !ips.is_empty());
    let outside = matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && named);
    let mut fields = Vec::new();
    if !outside {
        fields.push("externalTrafficPolicy");
    }
    if kind != "LoadBalancer" {
        fields.extend([
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
            "healthCheckNodePort",
        ]);
    }
    if kind == "ExternalName" {
        fields.extend([
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ]);
    }
    for field in fields {
        if spec.get(field).is_some() && spec.get(field) == old["spec"].get(field) {
            meta::remove_field(spec, field);
        }
    }
}

/// Sets the fields that go with an address. As in Kubernetes nobody owns them, because they are set
/// after field ownership is recorded.
fn set_ip_families(service: &mut Value) {
    let spec = &mut service["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let named = spec
        .get("clusterIP")
        .filter(|ip| ip.as_str().is_some_and(|t| !t.is_empty()))
        .cloned();
    for (field, value) in [
        ("clusterIPs", named.map(|ip| json!([ip]))),
        ("ipFamilies", Some(json!(["IPv4"]))),
        ("ipFamilyPolicy", Some("SingleStack".into())),
    ] {
        if let Some(value) = value.filter(|_| spec[field].is_null()) {
            spec[field] = value;
        }
    }
}

fn needs_address(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["clusterIP"] != "None" && spec["type"] != "ExternalName"
}

/// Whether this is `default/kubernetes`: the API itself, which listens on the node's address.
fn is_api_service(service: &Value) -> bool {
    service["metadata"]["namespace"] == "default" && service["metadata"]["name"] == "kubernetes"
}

fn parse_cluster_ip(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

fn set_cluster_ip(service: &mut Value, address: Ipv4Addr) {
    let spec = &mut service["spec"];
    if spec.is_null() {
        *spec = json!({});
    }
    spec["clusterIP"] = json!(address);
    spec["clusterIPs"] = json!([address]);
}
