//! Containers of pods and pod templates; what they mount is in `mounts`.

mod mounts;

use serde_json::Value;

use self::mounts::{check_volume_devices, check_volume_mounts};
use super::super::error::FieldError;
use super::rules::{
    Problems, as_text, check_dns_label, check_not_negative, check_one_of, check_port_number,
    check_port_number_or_name, check_protocol, check_required, check_subdomain,
    check_variable_name, data_key_errors, port_name_errors, push_messages,
};
use super::{as_list, resources, security};

/// What validation of a container needs to know of its pod.
pub(super) struct PodContext<'a> {
    pub(super) volumes: Vec<&'a str>,
    /// Names of volumes that may be block devices, because they are claims.
    pub(super) claimed: Vec<&'a str>,
    pub(super) grace: &'a Value,
    pub(super) restarts: &'a Value,
    /// The pod has its own user namespace (`hostUsers: false`).
    pub(super) own_users: bool,
    /// Names of the pod's resource claims.
    pub(super) claims: Vec<&'a str>,
}

pub(super) const POD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks what containers of every type have in common.
pub(super) fn check_container(
    container: &Value,
    path: &str,
    pod: &PodContext<'_>,
    problems: &mut Problems,
) {
    if check_required(&container["name"], format!("{path}.name"), problems) {
        check_dns_label(&container["name"], &format!("{path}.name"), problems);
    }
    check_required(&container["image"], format!("{path}.image"), problems);
    let known = ["File", "FallbackToLogsOnError"];
    check_one_of(
        &container["terminationMessagePolicy"],
        &known,
        format!("{path}.terminationMessagePolicy"),
        problems,
    );
    check_ports(container, path, problems);
    for (at, variable) in as_list(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{at}]");
        if check_required(&variable["name"], format!("{path}.name"), problems) {
            check_variable_name(&variable["name"], &format!("{path}.name"), problems);
        }
        check_value_from(variable, &format!("{path}.valueFrom"), problems);
    }
    check_env_from(container, &format!("{path}.envFrom"), problems);
    check_volume_mounts(container, &format!("{path}.volumeMounts"), pod, problems);
    check_volume_devices(container, &format!("{path}.volumeDevices"), pod, problems);
    let known = ["Always", "IfNotPresent", "Never"];
    check_one_of(
        &container["imagePullPolicy"],
        &known,
        format!("{path}.imagePullPolicy"),
        problems,
    );
    resources::check_requirements(
        &container["resources"],
        &format!("{path}.resources"),
        problems,
    );
    check_claims(
        as_list(&container["resources"]["claims"]),
        &format!("{path}.resources.claims"),
        pod,
        problems,
    );
    check_resize_policies(
        as_list(&container["resizePolicy"]),
        &format!("{path}.resizePolicy"),
        pod,
        problems,
    );
    let path = format!("{path}.securityContext");
    security::check_container_security(
        &container["securityContext"],
        &path,
        pod.own_users,
        problems,
    );
}

fn check_claims(claims: &[Value], path: &str, pod: &PodContext<'_>, problems: &mut Problems) {
    let mut names: Vec<String> = Vec::new();
    for (at, claim) in claims.iter().enumerate() {
        let (name, request, path) = (
            as_text(&claim["name"]),
            as_text(&claim["request"]),
            format!("{path}[{at}]"),
        );
        if name.is_empty() {
            problems.push(FieldError::required(path, ""));
            continue;
        }
        let whole = if request.is_empty() {
            name.to_owned()
        } else {
            format!("{name}/{request}")
        };
        if !request.is_empty() {
            check_dns_label(&claim["request"], &format!("{path}.request"), problems);
        }
        let part = format!("{name}/");
        if names.iter().any(|n| n == name) {
            problems.push(FieldError::duplicate(path.clone(), &name.into()));
        } else if names.contains(&whole)
            || request.is_empty() && names.iter().any(|n| n.starts_with(&part))
        {
            problems.push(FieldError::duplicate(path.clone(), &whole.as_str().into()));
        }
        names.push(whole);
        if !pod.claims.contains(&name) {
            let mut known = pod.claims.clone();
            known.sort_unstable();
            let known = if known.is_empty() {
                " which is empty".into()
            } else {
                format!(": {}", known.join(", "))
            };
            let words = format!("must be one of the names in pod.spec.resourceClaims{known}");
            problems.push(FieldError::not_found_with_detail(path, &name.into(), words));
        }
    }
}

fn check_resize_policies(
    policies: &[Value],
    path: &str,
    pod: &PodContext<'_>,
    problems: &mut Problems,
) {
    let mut seen: Vec<&Value> = Vec::new();
    for (at, policy) in policies.iter().enumerate() {
        let (resource, restart) = (&policy["resourceName"], &policy["restartPolicy"]);
        if seen.contains(&resource) {
            problems.push(FieldError::duplicate(format!("{path}[{at}]"), resource));
        }
        seen.push(resource);
        for (value, known) in [
            (resource, ["cpu", "memory"]),
            (restart, ["NotRequired", "RestartContainer"]),
        ] {
            match as_text(value) {
                "" => problems.push(FieldError::required(path, "")),
                _ => check_one_of(value, &known, path, problems),
            }
        }
        if pod.restarts == "Never" && restart != "NotRequired" {
            let words = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            problems.push(FieldError::invalid(path, restart, words));
        }
    }
}

fn check_ports(container: &Value, path: &str, problems: &mut Problems) {
    let mut names: Vec<&str> = Vec::new();
    for (at, port) in as_list(&container["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let name = as_text(&port["name"]);
        if !name.is_empty() {
            let wrong = port_name_errors(name);
            if !wrong.is_empty() {
                push_messages(&format!("{path}.name"), &port["name"], wrong, problems);
            } else if names.contains(&name) {
                problems.push(FieldError::duplicate(format!("{path}.name"), &port["name"]));
            } else {
                names.push(name);
            }
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => {
                problems.push(FieldError::required(format!("{path}.containerPort"), ""));
            }
            Some(_) => check_port_number(
                &port["containerPort"],
                &format!("{path}.containerPort"),
                problems,
            ),
        }
        if port["hostPort"].as_i64().is_some_and(|n| n != 0) {
            check_port_number(&port["hostPort"], &format!("{path}.hostPort"), problems);
        }
        check_protocol(&port["protocol"], format!("{path}.protocol"), problems);
    }
}

/// Host ports are unique over all containers that run together.
pub(super) fn check_host_ports(containers: &[Value], path: &str, problems: &mut Problems) {
    let mut taken: Vec<String> = Vec::new();
    for (n, container) in containers.iter().enumerate() {
        for (at, port) in as_list(&container["ports"]).iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|n| *n != 0) else {
                continue;
            };
            let place = format!(
                "{}/{}/{number}",
                as_text(&port["protocol"]),
                as_text(&port["hostIP"])
            );
            if taken.contains(&place) {
                let path = format!("{path}[{n}].ports[{at}].hostPort");
                problems.push(FieldError::duplicate(path, &place.into()));
            } else {
                taken.push(place);
            }
        }
    }
}

fn check_value_from(variable: &Value, path: &str, problems: &mut Problems) {
    let from = &variable["valueFrom"];
    if !from.is_object() {
        return;
    }
    let mut sources = 0;
    let mut given = |field: &str| {
        let there = from[field].is_object();
        sources += usize::from(there);
        there
    };
    if given("fieldRef") {
        check_field_reference(
            &from["fieldRef"],
            &format!("{path}.fieldRef"),
            &POD_FIELDS,
            problems,
        );
    }
    if given("resourceFieldRef") {
        check_resource_reference(
            &from["resourceFieldRef"],
            &format!("{path}.resourceFieldRef"),
            false,
            problems,
        );
    }
    for field in ["configMapKeyRef", "secretKeyRef"] {
        if given(field) {
            let (path, reference) = (format!("{path}.{field}"), &from[field]);
            check_subdomain(&reference["name"], &format!("{path}.name"), problems);
            if check_required(&reference["key"], format!("{path}.key"), problems) {
                push_messages(
                    &format!("{path}.key"),
                    &reference["key"],
                    data_key_errors(as_text(&reference["key"])),
                    problems,
                );
            }
        }
    }
    given("fileKeyRef");
    let words = if sources == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !as_text(&variable["value"]).is_empty() {
        "may not be specified when `value` is not empty"
    } else if sources > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    problems.push(FieldError::invalid(path, &"".into(), words));
}

/// Checks a reference to a pod field by its path, including `metadata.labels['KEY']`.
pub(super) fn check_field_reference(
    reference: &Value,
    path: &str,
    known: &[&str],
    problems: &mut Problems,
) {
    if !check_required(
        &reference["apiVersion"],
        format!("{path}.apiVersion"),
        problems,
    ) || !check_required(
        &reference["fieldPath"],
        format!("{path}.fieldPath"),
        problems,
    ) {
        return;
    }
    let given = as_text(&reference["fieldPath"]);
    let key = |map: &str| {
        given
            .strip_prefix(map)?
            .strip_prefix("['")?
            .strip_suffix("']")
    };
    if let Some(key) = key("metadata.labels") {
        push_messages(
            path,
            &key.into(),
            super::rules::qualified_name_errors(key),
            problems,
        );
    } else if let Some(key) = key("metadata.annotations") {
        let lower = key.to_lowercase();
        push_messages(
            path,
            &lower.as_str().into(),
            super::rules::qualified_name_errors(&lower),
            problems,
        );
    } else if !known.contains(&given) {
        let path = format!("{path}.fieldPath");
        let words = format!("error converting fieldPath: field label not supported: {given}");
        let served = POD_FIELDS.contains(&given)
            || matches!(given, "metadata.labels" | "metadata.annotations");
        problems.push(if served {
            FieldError::not_supported(path, &reference["fieldPath"], known)
        } else {
            FieldError::invalid(path, &reference["fieldPath"], words)
        });
    }
}

pub(super) fn check_resource_reference(
    reference: &Value,
    path: &str,
    named: bool,
    problems: &mut Problems,
) {
    let resource = as_text(&reference["resource"]);
    if named && as_text(&reference["containerName"]).is_empty() {
        problems.push(FieldError::required(format!("{path}.containerName"), ""));
    } else if resource.is_empty() {
        problems.push(FieldError::required(format!("{path}.resource"), ""));
    } else if !RESOURCE_FIELDS.contains(&resource)
        && !["limits.hugepages-", "requests.hugepages-"]
            .iter()
            .any(|prefix| resource.starts_with(prefix))
    {
        problems.push(FieldError::not_supported(
            format!("{path}.resource"),
            &reference["resource"],
            &RESOURCE_FIELDS,
        ));
    }
    let divisor = as_text(&reference["divisor"]);
    if matches!(divisor, "" | "0") {
        return;
    }
    const SIZES: &str = "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the";
    let size = [
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ]
    .contains(&divisor);
    let words = match resource.split_once('.').map_or("", |(_, what)| what) {
        "cpu" if !matches!(divisor, "1m" | "1") => {
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
        }
        "memory" if !size => format!("{SIZES} memory resource"),
        "ephemeral-storage" if !size => format!("{SIZES} local ephemeral storage resource"),
        what if what.starts_with("hugepages-") && !size => format!("{SIZES} hugepages resource"),
        _ => return,
    };
    problems.push(FieldError::invalid(
        format!("{path}.divisor"),
        &reference["resource"],
        words,
    ));
}

fn check_env_from(container: &Value, path: &str, problems: &mut Problems) {
    for (at, source) in as_list(&container["envFrom"]).iter().enumerate() {
        let own = format!("{path}[{at}]");
        if !as_text(&source["prefix"]).is_empty() {
            check_variable_name(&source["prefix"], &format!("{own}.prefix"), problems);
        }
        let mut sources = 0;
        for field in ["configMapRef", "secretRef"] {
            if source[field].is_object() {
                sources += 1;
                let path = format!("{own}.{field}.name");
                if check_required(&source[field]["name"], path.clone(), problems) {
                    check_subdomain(&source[field]["name"], &path, problems);
                }
            }
        }
        let words = match sources {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        problems.push(FieldError::invalid(path, &"".into(), words));
    }
}

/// Checks lifecycle hooks and probes, which only containers that keep running have.
pub(super) fn check_lifecycle_and_probes(
    container: &Value,
    path: &str,
    pod: &PodContext<'_>,
    problems: &mut Problems,
) {
    for hook in ["postStart", "preStop"] {
        let action = &container["lifecycle"][hook];
        if action.is_object() {
            check_handler(action, &format!("{path}.lifecycle.{hook}"), pod, problems);
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let (probe, path) = (&container[field], format!("{path}.{field}"));
        if !probe.is_object() {
            continue;
        }
        check_handler(probe, &path, pod, problems);
        for number in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            check_not_negative(&probe[number], &format!("{path}.{number}"), problems);
        }
        let grace = &probe["terminationGracePeriodSeconds"];
        if grace.as_i64().is_some_and(|n| n <= 0) {
            let path = format!("{path}.terminationGracePeriodSeconds");
            problems.push(FieldError::invalid(path, grace, "must be greater than 0"));
        }
        if field == "readinessProbe" {
            if !grace.is_null() {
                let path = format!("{path}.terminationGracePeriodSeconds");
                problems.push(FieldError::invalid(
                    path,
                    grace,
                    "must not be set for readinessProbes",
                ));
            }
        } else if probe["successThreshold"] != 1 {
            let path = format!("{path}.successThreshold");
            problems.push(FieldError::invalid(
                path,
                &probe["successThreshold"],
                "must be 1",
            ));
        }
    }
}

fn check_handler(action: &Value, path: &str, pod: &PodContext<'_>, problems: &mut Problems) {
    let mut first = true;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let (of_kind, path) = (&action[kind], format!("{path}.{kind}"));
        if !of_kind.is_object() {
            continue;
        }
        if !first {
            problems.push(FieldError::forbidden(
                path,
                "may not specify more than 1 handler type",
            ));
            continue;
        }
        first = false;
        match kind {
            "exec" if as_list(&of_kind["command"]).is_empty() => {
                problems.push(FieldError::required(format!("{path}.command"), ""));
            }
            "httpGet" => check_http_get(of_kind, &path, problems),
            "tcpSocket" => {
                check_port_number_or_name(&of_kind["port"], &format!("{path}.port"), problems);
            }
            "grpc" => check_port_number(&of_kind["port"], &format!("{path}.port"), problems),
            "sleep" => {
                let (grace, seconds) = (
                    pod.grace.as_i64().unwrap_or(0),
                    of_kind["seconds"].as_i64().unwrap_or(0),
                );
                if seconds < 0 || seconds > grace {
                    let words = format!(
                        "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                    );
                    problems.push(FieldError::invalid(path, &seconds.into(), words));
                }
            }
            _ => {}
        }
    }
    if first {
        problems.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn check_http_get(get: &Value, path: &str, problems: &mut Problems) {
    check_required(&get["path"], format!("{path}.path"), problems);
    check_port_number_or_name(&get["port"], &format!("{path}.port"), problems);
    let known = ["HTTP", "HTTPS"];
    if !known.contains(&as_text(&get["scheme"])) {
        problems.push(FieldError::not_supported(
            format!("{path}.scheme"),
            &get["scheme"],
            &known,
        ));
    }
    for header in as_list(&get["httpHeaders"]) {
        let name = as_text(&header["name"]);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            let words = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            problems.push(FieldError::invalid(
                format!("{path}.httpHeaders"),
                &name.into(),
                words,
            ));
        }
    }
}
