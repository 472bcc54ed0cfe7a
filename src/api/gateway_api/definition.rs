//! Definitions of the Gateway API kinds for a cluster that has none. They accept every field; the
//! lane gateway reports unsupported ones in a status.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::GATEWAY_GROUP;

/// Definitions of GatewayClass, Gateway and HTTPRoute.
pub fn gateway_definitions() -> Vec<CustomResourceDefinition> {
    let programmed = r#".status.conditions[?(@.type=="Programmed")].status"#;
    let accepted = r#".status.conditions[?(@.type=="Accepted")].status"#;
    let class = [
        ("Controller", ".spec.controllerName"),
        ("Accepted", accepted),
    ];
    let gateway = [
        ("Class", ".spec.gatewayClassName"),
        ("Address", ".status.addresses[*].value"),
        ("Programmed", programmed),
    ];
    [
        kind_definition("GatewayClass", "gatewayclasses", "gc", "Cluster", &class),
        kind_definition("Gateway", "gateways", "gtw", "Namespaced", &gateway),
        kind_definition(
            "HTTPRoute",
            "httproutes",
            "",
            "Namespaced",
            &[("Hostnames", ".spec.hostnames")],
        ),
    ]
    .into_iter()
    .filter_map(|json| serde_json::from_value(json).ok())
    .collect()
}

fn kind_definition(
    kind: &str,
    plural: &str,
    short: &str,
    scope: &str,
    columns: &[(&str, &str)],
) -> Value {
    let short: Vec<&str> = Some(short).filter(|s| !s.is_empty()).into_iter().collect();
    let column =
        |(name, path): &(&str, &str)| json!({"name": name, "type": "string", "jsonPath": path});
    let mut columns: Vec<Value> = columns.iter().map(column).collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{GATEWAY_GROUP}"),
            // Required of every definition under *.k8s.io. This is a subset of the approved
            // definition.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a subset for graylane's pocket"},
        },
        "spec": {
            "group": GATEWAY_GROUP,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                "singular": kind.to_lowercase(), "shortNames": short, "categories": ["gateway-api"],
            },
            "scope": scope,
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn none_is_lost() {
        let names: Vec<_> = super::gateway_definitions()
            .into_iter()
            .map(|d| d.spec.names.kind)
            .collect();
        assert_eq!(names, ["GatewayClass", "Gateway", "HTTPRoute"]);
    }
}
