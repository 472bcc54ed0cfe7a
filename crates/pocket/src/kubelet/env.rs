//! Environment, command and arguments of a container, without I/O: Services, ConfigMaps, Secrets,
//! the downward API, and `$(VAR)` references.

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, ObjectFieldSelector, Pod, Secret, Service,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Objects that the values come from.
pub struct EnvSources<'a> {
    pub pod: &'a Pod,
    pub pod_ip: Ipv4Addr,
    pub host_ip: Ipv4Addr,
    pub services: &'a [Service],
    pub config_maps: &'a BTreeMap<String, ConfigMap>,
    pub secrets: &'a BTreeMap<String, Secret>,
}

/// Why the environment of a container cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    #[error("fieldPath {0:?} is not supported")]
    FieldPath(String),
    #[error("{0} {1:?} not found")]
    NoObject(&'static str, String),
    #[error("couldn't find key {key} in {what} {name:?}")]
    NoKey {
        what: &'static str,
        name: String,
        key: String,
    },
    #[error("env {0}: this kind of valueFrom is not supported by pocket")]
    UnsupportedSource(String),
}

/// Replaces `$(NAME)` by the value of NAME if there is one, and `$$` by `$`; everything else stays.
pub fn expand_variables(text: &str, vars: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            if let Some(value) = vars.get(name) {
                out.push_str(value);
            } else {
                out.push_str("$(");
                out.push_str(name);
                out.push(')');
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Resolves a downward API path; the error names an unsupported path.
pub fn resolve_field(
    selector: &ObjectFieldSelector,
    pod: &Pod,
    pod_ip: Ipv4Addr,
    host_ip: Ipv4Addr,
) -> Result<String, EnvError> {
    let (meta, spec) = (&pod.metadata, pod.spec.as_ref());
    let path = selector.field_path.as_str();
    let keyed = |prefix: &str| path.strip_prefix(prefix).and_then(|k| k.strip_suffix("']"));
    let map = |m: &Option<BTreeMap<String, String>>, key: &str| {
        m.as_ref()
            .and_then(|m| m.get(key))
            .cloned()
            .unwrap_or_default()
    };
    let all = |m: &Option<BTreeMap<String, String>>| {
        let lines = m.iter().flatten().map(|(k, v)| format!("{k}={v:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => all(&meta.labels),
        "metadata.annotations" => all(&meta.annotations),
        "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_else(|| "default".into()),
        "status.podIP" | "status.podIPs" => pod_ip.to_string(),
        "status.hostIP" | "status.hostIPs" => host_ip.to_string(),
        _ => match (keyed("metadata.labels['"), keyed("metadata.annotations['")) {
            (Some(key), _) => map(&meta.labels, key),
            (_, Some(key)) => map(&meta.annotations, key),
            _ => return Err(EnvError::FieldPath(path.to_owned())),
        },
    })
}

/// Returns `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT`, `NAME_SERVICE_PORT_<PORT NAME>` and
/// `NAME_PORT` of every Service with an address.
pub fn service_vars(services: &[Service]) -> BTreeMap<String, String> {
    let upper = |s: &str| s.to_uppercase().replace('-', "_");
    let mut vars = BTreeMap::new();
    for service in services {
        let Some(spec) = service.spec.as_ref() else {
            continue;
        };
        let (Some(ip), Some(name)) = (spec.cluster_ip.as_ref(), service.metadata.name.as_deref())
        else {
            continue;
        };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        if ip.is_empty() || ip == "None" {
            continue;
        }
        let prefix = upper(name);
        vars.insert(format!("{prefix}_SERVICE_HOST"), ip.clone());
        vars.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        vars.insert(
            format!("{prefix}_PORT"),
            format!("tcp://{ip}:{}", first.port),
        );
        for port in ports {
            if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
                vars.insert(
                    format!("{prefix}_SERVICE_PORT_{}", upper(name)),
                    port.port.to_string(),
                );
            }
        }
    }
    vars
}

fn config_data(map: &ConfigMap) -> BTreeMap<String, String> {
    map.data.clone().unwrap_or_default()
}

fn secret_data(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.iter().flatten();
    let mut out: BTreeMap<_, _> = data
        .map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned()))
        .collect();
    out.extend(secret.string_data.clone().unwrap_or_default());
    out
}

/// Builds the variables of a container on top of `base` (those of its image and of pocket). An
/// error is reported as `CreateContainerConfigError`.
pub fn build_variables(
    container: &Container,
    base: BTreeMap<String, String>,
    from: &EnvSources,
) -> Result<BTreeMap<String, String>, EnvError> {
    let mut vars = base;
    let links = from
        .pod
        .spec
        .as_ref()
        .and_then(|s| s.enable_service_links)
        .unwrap_or(true);
    if links {
        vars.extend(service_vars(from.services));
    }
    extend_from_objects(&mut vars, container, from)?;
    for var in container.env.iter().flatten() {
        let Some(source) = &var.value_from else {
            let value = expand_variables(var.value.as_deref().unwrap_or_default(), &vars);
            vars.insert(var.name.clone(), value);
            continue;
        };
        let value = read_source(&var.name, source, from)?;
        if let Some(value) = value {
            vars.insert(var.name.clone(), value);
        }
    }
    Ok(vars)
}

/// Adds what `envFrom` names.
fn extend_from_objects(
    vars: &mut BTreeMap<String, String>,
    container: &Container,
    from: &EnvSources,
) -> Result<(), EnvError> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let (what, name, optional, data) = if let Some(r) = &source.config_map_ref {
            (
                "configmap",
                &r.name,
                r.optional,
                from.config_maps.get(&r.name).map(config_data),
            )
        } else if let Some(r) = &source.secret_ref {
            (
                "secret",
                &r.name,
                r.optional,
                from.secrets.get(&r.name).map(secret_data),
            )
        } else {
            continue;
        };
        match data {
            Some(data) => vars.extend(data.into_iter().map(|(k, v)| (format!("{prefix}{k}"), v))),
            None if optional == Some(true) => {}
            None => return Err(EnvError::NoObject(what, name.clone())),
        }
    }
    Ok(())
}

/// The value of `valueFrom`; none if what is optional is not there.
fn read_source(
    variable: &str,
    source: &EnvVarSource,
    from: &EnvSources,
) -> Result<Option<String>, EnvError> {
    if let Some(selector) = &source.field_ref {
        resolve_field(selector, from.pod, from.pod_ip, from.host_ip).map(Some)
    } else if let Some(r) = &source.config_map_key_ref {
        let data = from.config_maps.get(&r.name).map(config_data);
        let entry = ("configmap", r.name.as_str(), r.key.as_str());
        pick_entry(entry, r.optional == Some(true), data)
    } else if let Some(r) = &source.secret_key_ref {
        let data = from.secrets.get(&r.name).map(secret_data);
        let entry = ("secret", r.name.as_str(), r.key.as_str());
        pick_entry(entry, r.optional == Some(true), data)
    } else {
        Err(EnvError::UnsupportedSource(variable.to_owned()))
    }
}

/// The value under a key of an object, which is named by its kind and name.
fn pick_entry(
    (what, name, key): (&'static str, &str, &str),
    optional: bool,
    data: Option<BTreeMap<String, String>>,
) -> Result<Option<String>, EnvError> {
    match data {
        Some(mut data) => match data.remove(key) {
            None if !optional => Err(EnvError::NoKey {
                what,
                name: name.to_owned(),
                key: key.to_owned(),
            }),
            value => Ok(value),
        },
        None if optional => Ok(None),
        None => Err(EnvError::NoObject(what, name.to_owned())),
    }
}

/// Builds the command line: `command` replaces the image's entrypoint with its arguments; `args`
/// are appended in both cases.
pub fn command_line(
    container: &Container,
    entrypoint: Vec<String>,
    vars: &BTreeMap<String, String>,
) -> Vec<String> {
    let own = container.command.as_ref().filter(|c| !c.is_empty());
    let mut words = own.cloned().map_or(entrypoint, |c| {
        c.iter().map(|w| expand_variables(w, vars)).collect()
    });
    words.extend(
        container
            .args
            .iter()
            .flatten()
            .map(|w| expand_variables(w, vars)),
    );
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    }

    #[test]
    fn expansion_as_kubernetes_documents_it() {
        let vars = vars(&[("A", "1"), ("B", "$(A)")]);
        for (text, want) in [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y$(A)z"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NO)", "$(NO)"),
            ("$(A", "$(A"),
            ("$A ${A} $", "$A ${A} $"),
            ("é$(A)é", "é1é"),
        ] {
            assert_eq!(expand_variables(text, &vars), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]{0,40}") {
            prop_assert_eq!(expand_variables(&text, &BTreeMap::new()), text);
        }

        #[test]
        fn expansion_never_panics(text in "[$()a-cé]{0,30}") {
            expand_variables(&text, &vars(&[("a", "$("), ("b", ")")]));
        }
    }

    #[test]
    fn all_sources_in_order() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a.b/c": "gray"}},
            "spec": {"nodeName": "pocket", "containers": []},
        }))
        .unwrap();
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "spring-cloud-b"},
            "spec": {"clusterIP": "127.70.128.1", "ports": [{"port": 20002, "name": "http"}]},
        }))
        .unwrap();
        let map: ConfigMap = serde_json::from_value(
            json!({"metadata": {"name": "m"}, "data": {"k": "v", "A": "map"}}),
        )
        .unwrap();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "data": {"k": "c2VjcmV0"}}))
                .unwrap();
        let sources = EnvSources {
            pod: &pod,
            pod_ip: Ipv4Addr::new(127, 70, 16, 1),
            host_ip: Ipv4Addr::new(127, 70, 0, 1),
            services: &[service],
            config_maps: &BTreeMap::from([("m".into(), map)]),
            secrets: &BTreeMap::from([("s".into(), secret)]),
        };
        let container: Container = serde_json::from_value(json!({
            "name": "c", "command": ["run", "$(TAG)"], "args": ["$(URL)"],
            "envFrom": [{"prefix": "M_", "configMapRef": {"name": "m"}},
                {"configMapRef": {"name": "none", "optional": true}}],
            "env": [
                {"name": "A", "value": "own"},
                {"name": "TAG", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}},
                {"name": "NONE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['x']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "URL", "value": "http://$(SPRING_CLOUD_B_SERVICE_HOST):$(SPRING_CLOUD_B_SERVICE_PORT_HTTP)"},
            ],
        }))
        .unwrap();
        let got = build_variables(
            &container,
            vars(&[("A", "image"), ("PATH", "/bin")]),
            &sources,
        )
        .unwrap();
        for (name, want) in [
            ("A", "own"),
            ("M_k", "v"),
            ("M_A", "map"),
            ("TAG", "gray"),
            ("NONE", ""),
            ("IP", "127.70.16.1"),
            ("SECRET", "secret"),
            ("URL", "http://127.70.128.1:20002"),
            ("PATH", "/bin"),
            ("SPRING_CLOUD_B_SERVICE_PORT", "20002"),
        ] {
            assert_eq!(got.get(name).map(String::as_str), Some(want), "{name}");
        }
        let line = command_line(&container, vec!["image".into()], &got);
        assert_eq!(line, ["run", "gray", "http://127.70.128.1:20002"]);
        let missing: Container = serde_json::from_value(json!({
            "name": "c",
            "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k"}}}],
        }))
        .unwrap();
        assert!(
            build_variables(&missing, BTreeMap::new(), &sources)
                .unwrap_err()
                .to_string()
                .contains("configmap \"none\" not found")
        );
    }
}
