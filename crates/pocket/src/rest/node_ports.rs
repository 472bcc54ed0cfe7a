//! Node ports of Services: from one range, each used by one Service only, requested or allocated.

use serde_json::Value;

use super::ApiServer;
use super::error::{ApiError, FieldError, Result};
use super::meta;
use super::registry::Resource;

const FIRST: i64 = 30000;
const LAST: i64 = 32767;

impl ApiServer {
    /// Allocates a node port for each port of a Service whose type has node ports.
    pub(super) fn assign_node_ports(&self, resource: &Resource, object: &mut Value) -> Result<()> {
        if !resource.is_kind("", "Service") {
            return Ok(());
        }
        let uid = meta::field_text(object, "uid").to_owned();
        let others = self.store().list(&resource.storage, None);
        let taken: Vec<i64> = others
            .values()
            .filter(|s| meta::field_text(s, "uid") != uid)
            .flat_map(|s| node_ports_of(&s))
            .collect();
        let name = meta::field_text(object, "name").to_owned();
        allocate_node_ports(&mut object["spec"], &taken).map_err(|problem| {
            ApiError::invalid(&resource.group, &resource.kind, &name, &[*problem])
        })
    }
}

fn node_ports_of(service: &Value) -> Vec<i64> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| port["nodePort"].as_i64().filter(|n| *n != 0))
        .collect()
}

/// `taken` are the node ports of other Services. Ports with the same number but different protocols
/// share a node port.
fn allocate_node_ports(
    spec: &mut Value,
    taken: &[i64],
) -> std::result::Result<(), Box<FieldError>> {
    let kind = spec["type"].as_str().unwrap_or_default();
    let gives = kind == "NodePort"
        || (kind == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] != false);
    if !matches!(kind, "NodePort" | "LoadBalancer") {
        return Ok(());
    }
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    let mut book = PortBook {
        taken,
        own: Vec::new(),
    };
    book.enter_given(ports)?;
    if gives {
        book.fill_missing(ports)?;
    }
    Ok(())
}

/// The node ports of other Services, and those of one with their protocols.
struct PortBook<'a> {
    taken: &'a [i64],
    own: Vec<(String, i64)>,
}

impl PortBook<'_> {
    fn is_free(&self, protocol: &str, number: i64) -> bool {
        !self.taken.contains(&number)
            && !self.own.iter().any(|(p, n)| p == protocol && *n == number)
    }

    /// Enters the node ports that a Service asks for.
    fn enter_given(&mut self, ports: &[Value]) -> std::result::Result<(), Box<FieldError>> {
        for (at, port) in ports.iter().enumerate() {
            let Some(number) = port["nodePort"].as_i64().filter(|n| *n != 0) else {
                continue;
            };
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let why = if !(FIRST..=LAST).contains(&number) {
                format!(
                    "provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}"
                )
            } else if !self.is_free(protocol, number) {
                "provided port is already allocated".to_owned()
            } else {
                self.own.push((protocol.to_owned(), number));
                continue;
            };
            return Err(FieldError::invalid(
                format!("spec.ports[{at}].nodePort"),
                &port["nodePort"],
                why,
            )
            .into());
        }
        Ok(())
    }

    /// Chooses the node ports that are missing.
    fn fill_missing(&mut self, ports: &mut [Value]) -> std::result::Result<(), Box<FieldError>> {
        for at in 0..ports.len() {
            if ports[at]["nodePort"].as_i64().unwrap_or(0) != 0 {
                continue;
            }
            let protocol = ports[at]["protocol"].as_str().unwrap_or("TCP").to_owned();
            let same = ports.iter().find(|p| {
                p["port"] == ports[at]["port"] && p["nodePort"].as_i64().unwrap_or(0) != 0
            });
            let shared = same
                .and_then(|p| p["nodePort"].as_i64())
                .filter(|n| self.is_free(&protocol, *n));
            let number = shared.or_else(|| next_free_port(|n| self.is_free(&protocol, n)));
            let Some(number) = number else {
                let path = format!("spec.ports[{at}].nodePort");
                return Err(FieldError::invalid_whole(path, "no node port is free").into());
            };
            self.own.push((protocol, number));
            ports[at]["nodePort"] = number.into();
        }
        Ok(())
    }
}

/// Searches from a random start, so that a freed port is not reused soon.
fn next_free_port(free: impl Fn(i64) -> bool) -> Option<i64> {
    let count = LAST - FIRST + 1;
    let start = i64::from(uuid::Uuid::new_v4().as_fields().0) % count;
    (0..count)
        .map(|n| FIRST + (start + n) % count)
        .find(|n| free(*n))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(mut spec: Value, taken: &[i64]) -> std::result::Result<Vec<i64>, String> {
        allocate_node_ports(&mut spec, taken).map_err(|e| e.to_string())?;
        Ok(spec["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["nodePort"].as_i64().unwrap_or(0))
            .collect())
    }

    #[test]
    fn ports_are_given_once() {
        let port = |port: i64, protocol: &str, node: i64| json!({"port": port, "protocol": protocol, "nodePort": node});
        let of = |kind: &str, ports: &[Value]| json!({"type": kind, "ports": ports});
        assert_eq!(
            given(of("ClusterIP", &[port(80, "TCP", 0)]), &[]),
            Ok(vec![0])
        );
        let made = given(
            of("NodePort", &[port(80, "TCP", 0), port(81, "TCP", 0)]),
            &[],
        )
        .unwrap();
        assert!(
            made[0] != made[1] && made.iter().all(|n| (FIRST..=LAST).contains(n)),
            "{made:?}"
        );
        let shared = given(
            of("LoadBalancer", &[port(53, "TCP", 0), port(53, "UDP", 0)]),
            &[],
        )
        .unwrap();
        assert_eq!(shared[0], shared[1]);
        assert_eq!(
            given(of("NodePort", &[port(80, "TCP", 30000)]), &[30001]),
            Ok(vec![30000])
        );
        for (node, taken, words) in [
            (
                80,
                None,
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
            (
                32768,
                None,
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
            (30000, Some(30000), "provided port is already allocated"),
        ] {
            let told = given(of("NodePort", &[port(80, "TCP", node)]), taken.as_slice());
            assert_eq!(
                told,
                Err(format!(
                    "spec.ports[0].nodePort: Invalid value: {node}: {words}"
                ))
            );
        }
        let all: Vec<i64> = (FIRST..LAST).collect();
        assert_eq!(
            given(of("NodePort", &[port(80, "TCP", 0)]), &all),
            Ok(vec![LAST])
        );
        let mut closed = of("LoadBalancer", &[port(80, "TCP", 0)]);
        closed["allocateLoadBalancerNodePorts"] = false.into();
        assert_eq!(given(closed, &[]), Ok(vec![0]));
    }
}
