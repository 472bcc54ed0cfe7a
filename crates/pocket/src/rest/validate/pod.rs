//! Pods and pod templates.

use serde_json::{Value, json};

use super::super::error::FieldError;
use super::rules::{
    Problems, as_text, check_dns_label, check_one_of, check_subdomain, label_value_errors,
    push_messages, qualified_name_errors,
};
use super::{affinity, as_list, container, network, resources, security, volume};

pub(super) fn check_pod(pod: &Value, old: Option<&Value>, problems: &mut Vec<FieldError>) {
    match old {
        None => {
            check_pod_spec(&pod["spec"], "spec", true, problems);
            let containers = as_list(&pod["spec"]["ephemeralContainers"]);
            if !containers.is_empty() {
                let words = "cannot be set on create";
                problems.push(FieldError::forbidden("spec.ephemeralContainers", words));
            }
        }
        Some(old) if restore_mutable_fields(&old["spec"], &pod["spec"]) != old["spec"] => {
            problems.push(FieldError::forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
        }
        Some(_) => {}
    }
}

/// The new spec with every mutable field set to its old value: equals the old spec if nothing else
/// changed.
fn restore_mutable_fields(old: &Value, new: &Value) -> Value {
    let mut spec = new.clone();
    let restore = |spec: &mut Value, field: &str| match (old.get(field), spec.as_object_mut()) {
        (Some(value), Some(map)) => {
            map.insert(field.to_owned(), value.clone());
        }
        (None, Some(map)) => {
            map.shift_remove(field);
        }
        _ => {}
    };
    restore(&mut spec, "activeDeadlineSeconds");
    restore(&mut spec, "tolerations");
    for field in ["containers", "initContainers"] {
        let list = spec.get_mut(field).and_then(Value::as_array_mut);
        for (now, was) in list.into_iter().flatten().zip(as_list(&old[field])) {
            if now.get("image").is_some() && was.get("image").is_some() {
                now["image"] = was["image"].clone();
            }
        }
    }
    spec
}

/// Checks the template of a workload.
pub(super) fn check_pod_template(template: &Value, path: &str, problems: &mut Problems) {
    let metadata = &template["metadata"];
    check_labels(&metadata["labels"], &format!("{path}.labels"), problems);
    check_annotations(
        &metadata["annotations"],
        &format!("{path}.annotations"),
        problems,
    );
    check_pod_spec(&template["spec"], &format!("{path}.spec"), false, problems);
    if !as_list(&template["spec"]["ephemeralContainers"]).is_empty() {
        let words = "ephemeral containers not allowed in pod template";
        problems.push(FieldError::forbidden(
            format!("{path}.spec.ephemeralContainers"),
            words,
        ));
    }
}

pub(super) fn check_labels(labels: &Value, path: &str, problems: &mut Problems) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        push_messages(
            path,
            &key.as_str().into(),
            qualified_name_errors(key),
            problems,
        );
        push_messages(path, value, label_value_errors(as_text(value)), problems);
    }
}

fn check_annotations(annotations: &Value, path: &str, problems: &mut Problems) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        push_messages(
            path,
            &key.as_str().into(),
            qualified_name_errors(&key.to_lowercase()),
            problems,
        );
        size += key.len() + as_text(value).len();
    }
    if size > 256 << 10 {
        problems.push(FieldError::too_long(path, 256 << 10));
    }
}

/// `is_pod`: the spec is that of a pod, not of a template.
fn check_pod_spec(spec: &Value, path: &str, is_pod: bool, problems: &mut Problems) {
    let pod = build_context(spec, path, problems);
    check_containers(spec, path, &pod, problems);
    check_init_containers(spec, path, &pod, problems);
    check_host_network(spec, path, is_pod, problems);
    check_one_of(
        &spec["restartPolicy"],
        &["Always", "OnFailure", "Never"],
        format!("{path}.restartPolicy"),
        problems,
    );
    let known = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    check_one_of(
        &spec["dnsPolicy"],
        &known,
        format!("{path}.dnsPolicy"),
        problems,
    );
    check_labels(
        &spec["nodeSelector"],
        &format!("{path}.nodeSelector"),
        problems,
    );
    security::check_pod_security(spec, path, problems);
    affinity::check_affinity(&spec["affinity"], &format!("{path}.affinity"), problems);
    network::check_dns(spec, path, problems);
    check_gates(spec, path, problems);
    let constraints = as_list(&spec["topologySpreadConstraints"]);
    affinity::check_spread_constraints(
        constraints,
        &format!("{path}.topologySpreadConstraints"),
        problems,
    );
    if pod.own_users {
        check_host_namespaces(spec, path, problems);
    }
    check_subdomains(spec, ["serviceAccountName", "nodeName"], path, problems);
    check_deadline(spec, path, problems);
    for field in ["hostname", "subdomain"] {
        if !as_text(&spec[field]).is_empty() {
            check_dns_label(&spec[field], &format!("{path}.{field}"), problems);
        }
    }
    check_tolerations(
        as_list(&spec["tolerations"]),
        &format!("{path}.tolerations"),
        problems,
    );
    network::check_host_aliases(
        as_list(&spec["hostAliases"]),
        &format!("{path}.hostAliases"),
        problems,
    );
    check_subdomains(
        spec,
        ["priorityClassName", "runtimeClassName"],
        path,
        problems,
    );
    let preemption = &spec["preemptionPolicy"];
    check_one_of(
        preemption,
        &["PreemptLowerPriority", "Never"],
        format!("{path}.preemptionPolicy"),
        problems,
    );
    let overhead = json!({"limits": spec["overhead"]});
    resources::check_requirements(&overhead, &format!("{path}.overhead"), problems);
    check_os(spec, path, problems);
}

/// Checks volumes and claims, which containers refer to.
fn build_context<'a>(
    spec: &'a Value,
    path: &str,
    problems: &mut Problems,
) -> container::PodContext<'a> {
    let volumes = volume::check_volumes(
        as_list(&spec["volumes"]),
        &format!("{path}.volumes"),
        problems,
    );
    let claimed = as_list(&spec["volumes"])
        .iter()
        .filter(|v| v["persistentVolumeClaim"].is_object() || v["ephemeral"].is_object());
    let claimed: Vec<&str> = claimed
        .map(|v| as_text(&v["name"]))
        .filter(|name| volumes.contains(name))
        .collect();
    let claims = check_resource_claims(
        as_list(&spec["resourceClaims"]),
        &format!("{path}.resourceClaims"),
        problems,
    );
    container::PodContext {
        volumes,
        claimed,
        grace: &spec["terminationGracePeriodSeconds"],
        restarts: &spec["restartPolicy"],
        own_users: spec["hostUsers"] == false,
        claims,
    }
}

/// For a pod with its own user namespace.
fn check_host_namespaces(spec: &Value, path: &str, problems: &mut Problems) {
    for (field, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec[field] == true {
            problems.push(FieldError::forbidden(
                format!("{path}.{shown}"),
                "when `hostUsers` is false",
            ));
        }
    }
}

fn check_subdomains(spec: &Value, fields: [&str; 2], path: &str, problems: &mut Problems) {
    for field in fields {
        if !as_text(&spec[field]).is_empty() {
            check_subdomain(&spec[field], &format!("{path}.{field}"), problems);
        }
    }
}

fn check_deadline(spec: &Value, path: &str, problems: &mut Problems) {
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline
        .as_i64()
        .is_some_and(|n| !(1..=i64::from(i32::MAX)).contains(&n))
    {
        let words = "must be between 1 and 2147483647, inclusive";
        problems.push(FieldError::invalid(
            format!("{path}.activeDeadlineSeconds"),
            deadline,
            words,
        ));
    }
}

fn check_os(spec: &Value, path: &str, problems: &mut Problems) {
    if spec["os"].is_object() {
        match as_text(&spec["os"]["name"]) {
            "" => problems.push(FieldError::required(format!("{path}.os.name"), "")),
            _ => check_one_of(
                &spec["os"]["name"],
                &["linux", "windows"],
                format!("{path}.os"),
                problems,
            ),
        }
    }
}

/// Returns the names of the claims.
fn check_resource_claims<'a>(
    claims: &'a [Value],
    path: &str,
    problems: &mut Problems,
) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (at, claim) in claims.iter().enumerate() {
        let (name, path) = (as_text(&claim["name"]), format!("{path}[{at}]"));
        if name.is_empty() {
            problems.push(FieldError::required(format!("{path}.name"), ""));
        } else if names.contains(&name) {
            problems.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
        } else {
            check_dns_label(&claim["name"], &format!("{path}.name"), problems);
            names.push(name);
        }
        let (given, template) = (
            &claim["resourceClaimName"],
            &claim["resourceClaimTemplateName"],
        );
        let words = match (given.is_null(), template.is_null()) {
            (false, false) => Some(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
            (true, true) => {
                Some("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
            }
            _ => None,
        };
        if let Some(words) = words {
            // Kubernetes shows its internal form.
            let shown = json!({"Name": name, "ResourceClaimName": given, "ResourceClaimTemplateName": template});
            problems.push(FieldError::invalid(path.clone(), &shown, words));
        }
        for field in ["resourceClaimName", "resourceClaimTemplateName"] {
            if !claim[field].is_null() {
                check_subdomain(&claim[field], &format!("{path}.{field}"), problems);
            }
        }
    }
    names
}

/// With `hostNetwork`, the host port must equal the container port.
fn check_host_network(spec: &Value, path: &str, is_pod: bool, problems: &mut Problems) {
    if spec["hostNetwork"] != true {
        return;
    }
    for (n, container) in as_list(&spec["containers"]).iter().enumerate() {
        for (at, port) in as_list(&container["ports"]).iter().enumerate() {
            let (host, own) = (
                port["hostPort"].as_i64().unwrap_or(0),
                port["containerPort"].as_i64().unwrap_or(0),
            );
            if (is_pod || host != 0) && host != own {
                let path = format!("{path}.containers[{n}].ports[{at}].hostPort");
                let words = "must match `containerPort` when `hostNetwork` is true";
                problems.push(FieldError::invalid(path, &host.into(), words));
            }
        }
    }
}

fn check_gates(spec: &Value, path: &str, problems: &mut Problems) {
    for (at, gate) in as_list(&spec["readinessGates"]).iter().enumerate() {
        let kind = as_text(&gate["conditionType"]);
        push_messages(
            &format!("{path}.readinessGates[{at}].conditionType"),
            &kind.into(),
            qualified_name_errors(kind),
            problems,
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, gate) in as_list(&spec["schedulingGates"]).iter().enumerate() {
        let (name, path) = (
            as_text(&gate["name"]),
            format!("{path}.schedulingGates[{at}]"),
        );
        push_messages(&path, &name.into(), qualified_name_errors(name), problems);
        if names.contains(&name) {
            problems.push(FieldError::duplicate(path, &name.into()));
        }
        names.push(name);
    }
}

fn check_containers(
    spec: &Value,
    path: &str,
    pod: &container::PodContext<'_>,
    problems: &mut Problems,
) {
    let path = format!("{path}.containers");
    let containers = as_list(&spec["containers"]);
    if containers.is_empty() {
        return problems.push(FieldError::required(path, ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, one) in containers.iter().enumerate() {
        let path = format!("{path}[{at}]");
        container::check_container(one, &path, pod, problems);
        let name = as_text(&one["name"]);
        if names.contains(&name) {
            problems.push(FieldError::duplicate(format!("{path}.name"), &one["name"]));
        }
        names.push(name);
        container::check_lifecycle_and_probes(one, &path, pod, problems);
        let known = ["Always", "Never", "OnFailure"];
        if one["restartPolicy"]
            .as_str()
            .is_some_and(|p| !known.contains(&p))
        {
            problems.push(FieldError::not_supported(
                format!("{path}.restartPolicy"),
                &one["restartPolicy"],
                &known,
            ));
        }
    }
    container::check_host_ports(containers, &path, problems);
}

fn check_init_containers(
    spec: &Value,
    path: &str,
    pod: &container::PodContext<'_>,
    problems: &mut Problems,
) {
    let path = format!("{path}.initContainers");
    let mut names: Vec<&str> = as_list(&spec["containers"])
        .iter()
        .map(|c| as_text(&c["name"]))
        .collect();
    for (at, one) in as_list(&spec["initContainers"]).iter().enumerate() {
        let own = format!("{path}[{at}]");
        container::check_container(one, &own, pod, problems);
        let name = as_text(&one["name"]);
        if names.contains(&name) {
            problems.push(FieldError::duplicate(format!("{own}.name"), &one["name"]));
        } else if !name.is_empty() {
            names.push(name);
        }
        container::check_host_ports(std::slice::from_ref(one), &path, problems);
        if one["restartPolicy"] == "Always" {
            container::check_lifecycle_and_probes(one, &own, pod, problems);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if one[field].is_object() {
                let words = "may not be set for init containers without restartPolicy=Always";
                problems.push(FieldError::forbidden(format!("{own}.{field}"), words));
            }
        }
    }
}

fn check_tolerations(tolerations: &[Value], path: &str, problems: &mut Problems) {
    for (at, toleration) in tolerations.iter().enumerate() {
        check_toleration(toleration, &format!("{path}[{at}]"), problems);
    }
}

fn check_toleration(toleration: &Value, path: &str, problems: &mut Problems) {
    let (key, operator) = (
        as_text(&toleration["key"]),
        as_text(&toleration["operator"]),
    );
    let shown = Value::from;
    if !key.is_empty() {
        push_messages(
            &format!("{path}.key"),
            &shown(key),
            qualified_name_errors(key),
            problems,
        );
    } else if operator != "Exists" {
        let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        problems.push(FieldError::invalid(
            format!("{path}.operator"),
            &shown(operator),
            words,
        ));
    }
    let effect = as_text(&toleration["effect"]);
    if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
        let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        problems.push(FieldError::invalid(
            format!("{path}.effect"),
            &shown(effect),
            words,
        ));
    }
    check_toleration_value(operator, as_text(&toleration["value"]), path, problems);
    if !effect.is_empty() {
        let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check_one_of(
            &toleration["effect"],
            &known,
            format!("{path}.effect"),
            problems,
        );
    }
}

/// Checks the operator with its value.
fn check_toleration_value(operator: &str, value: &str, path: &str, problems: &mut Problems) {
    let shown = Value::from;
    let path_of_operator = format!("{path}.operator");
    match operator {
        "" | "Equal" => {
            let wrong = label_value_errors(value).join(";");
            if !wrong.is_empty() {
                problems.push(FieldError::invalid(path_of_operator, &shown(value), wrong));
            }
        }
        "Exists" if !value.is_empty() => {
            let words = "value must be empty when `operator` is 'Exists'";
            problems.push(FieldError::invalid(path_of_operator, &shown(value), words));
        }
        "Exists" => {}
        _ => {
            let known: &[&str] = match operator {
                "Lt" | "Gt" => &["Equal", "Exists", "Lt", "Gt"],
                _ => &["Equal", "Exists"],
            };
            problems.push(FieldError::not_supported(
                path_of_operator,
                &shown(operator),
                known,
            ));
        }
    }
}
