//! Resource requests and limits of containers.

use serde_json::Value;

use super::super::error::FieldError;
use super::super::quantity::Quantity;
use super::rules::{Problems, as_text, push_messages, qualified_name_errors};

pub(super) fn check_requirements(requirements: &Value, path: &str, problems: &mut Problems) {
    let (limits, requests) = (&requirements["limits"], &requirements["requests"]);
    let (mut computes, mut huge) = (false, false);
    for (field, list) in [("limits", limits), ("requests", requests)] {
        for (name, value) in list.as_object().into_iter().flatten() {
            let own = format!("{path}.{field}[{name}]");
            self::check_resource_name(name, &own, problems);
            let Ok(quantity) = Quantity::parse(as_text(value)) else {
                continue;
            };
            self::check_resource_value(name, &quantity, &own, problems);
            computes |= matches!(name.as_str(), "cpu" | "memory");
            huge |= is_huge_page(name);
            if field == "requests" {
                check_within_limit(name, &quantity, limits, path, problems);
            }
        }
    }
    if huge && !computes {
        problems.push(FieldError::forbidden(
            path,
            "HugePages require cpu or memory",
        ));
    }
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether a limit may exceed the request: true for Kubernetes' own resources, except huge pages.
fn can_overcommit(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !is_huge_page(name)
}

fn check_resource_name(name: &str, path: &str, problems: &mut Problems) {
    let value = Value::from(name);
    let wrong = qualified_name_errors(name);
    let known = wrong.is_empty();
    push_messages(path, &value, wrong, problems);
    if !name.contains('/') {
        let of_containers =
            matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name);
        let of_quotas = matches!(
            name,
            "storage"
                | "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        ) || name.starts_with("requests.")
            || name.starts_with("limits.");
        if !of_containers {
            if known && !of_quotas {
                let words = "must be a standard resource type or fully qualified";
                problems.push(FieldError::invalid(path, &value, words));
            }
            problems.push(FieldError::invalid(
                path,
                &value,
                "must be a standard resource for containers",
            ));
        }
    } else if !name.contains("kubernetes.io/") && name.starts_with("requests.") {
        problems.push(FieldError::invalid(
            path,
            &value,
            "doesn't follow extended resource name standard",
        ));
    }
}

fn check_resource_value(name: &str, quantity: &Quantity, path: &str, problems: &mut Problems) {
    let shown = Value::from(quantity.to_string());
    if quantity.is_negative() {
        problems.push(FieldError::invalid(
            path,
            &shown,
            "must be greater than or equal to 0",
        ));
    }
    let extended = name.contains('/') && !name.contains("kubernetes.io/");
    if (extended || is_huge_page(name)) && !quantity.is_whole() {
        problems.push(FieldError::invalid(path, &shown, "must be an integer"));
    }
}

fn check_within_limit(
    name: &str,
    quantity: &Quantity,
    limits: &Value,
    path: &str,
    problems: &mut Problems,
) {
    let limit = limits
        .get(name)
        .and_then(Value::as_str)
        .and_then(|limit| Quantity::parse(limit).ok());
    let words = match &limit {
        None if can_overcommit(name) => return,
        None => {
            let words = "Limit must be set for non overcommitable resources";
            return problems.push(FieldError::required(format!("{path}.limits"), words));
        }
        Some(limit) if quantity != limit && !can_overcommit(name) => {
            format!("must be equal to {name} limit of {limit}")
        }
        Some(limit) if quantity > limit => {
            format!("must be less than or equal to {name} limit of {limit}")
        }
        Some(_) => return,
    };
    problems.push(FieldError::invalid(
        format!("{path}.requests"),
        &quantity.to_string().into(),
        words,
    ));
}

/// The QoS class: `Guaranteed` if every container's CPU and memory limits equal its requests,
/// `BestEffort` if no container has any.
pub(in crate::rest) fn quality_of_service(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| super::as_list(&spec[field]));
    let (mut asked, mut guaranteed) = (false, true);
    for container in containers {
        let amount = |list: &str, name: &str| {
            let value = container["resources"][list][name].as_str();
            value
                .and_then(|v| Quantity::parse(v).ok())
                .filter(|q| !q.is_zero() && !q.is_negative())
        };
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount("limits", name), amount("requests", name));
            asked |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (asked, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_stay_within_limits() {
        let said = |requirements: Value| {
            let mut problems = Vec::new();
            super::check_requirements(&requirements, "r", &mut problems);
            problems
                .into_iter()
                .map(|p| p.to_string())
                .collect::<Vec<_>>()
        };
        assert!(
            said(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}))
                .is_empty()
        );
        assert_eq!(
            said(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}})),
            ["r.requests: Invalid value: \"1001m\": must be less than or equal to cpu limit of 1"]
        );
        assert_eq!(
            said(json!({"limits": {"gpu.com/x": "1500m"}, "requests": {"gpu.com/x": "1"}})),
            [
                "r.limits[gpu.com/x]: Invalid value: \"1500m\": must be an integer",
                "r.requests: Invalid value: \"1\": must be equal to gpu.com/x limit of 1500m"
            ]
        );
        assert_eq!(said(json!({"requests": {"disk": "1"}})).len(), 2);
        assert_eq!(said(json!({"requests": {"cpu": "-1"}})).len(), 1);
    }

    #[test]
    fn qualities() {
        let of = |list: &[Value]| {
            let containers: Vec<Value> = list.iter().map(|r| json!({"resources": r})).collect();
            quality_of_service(&json!({"containers": containers}))
        };
        let whole = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
        let part = json!({"requests": {"cpu": "1"}});
        assert_eq!(of(&[json!({})]), "BestEffort");
        assert_eq!(of(&[whole.clone(), whole.clone()]), "Guaranteed");
        assert_eq!(of(&[whole, json!({})]), "Burstable");
        assert_eq!(of(&[part]), "Burstable");
    }
}
