//! The engine as a Deployment: replicas stand by for each other by the Lease, none has more than it needs.

use serde_json::{Value, json};

use super::roles::{ENGINE, engine_of};
use crate::api::{FIELD_MANAGER, label};

/// Where it answers `/healthz`, `/readyz` and `/metrics`.
const PORT: u16 = 8080;

/// The label that says whose releases it carries out.
pub(in crate::cluster) const INSTANCE: &str = "app.kubernetes.io/instance";

/// In `namespace`, for the releases of `home`.
pub(super) fn deployment(namespace: &str, home: &str, image: &str, replicas: u32) -> Value {
    let name = engine_of(home);
    let component = json!({label::COMPONENT: "engine", INSTANCE: home});
    let probe = |path: &str, seconds: u32| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": seconds, "timeoutSeconds": 3});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": FIELD_MANAGER,
                "app.kubernetes.io/name": ENGINE,
                label::COMPONENT: "engine",
                INSTANCE: home,
            },
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": component},
            // One steps down when the next is ready: the Lease is given up on the way out.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": component,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": PORT.to_string(),
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": {
                    "serviceAccountName": name,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                        "weight": 100,
                        "podAffinityTerm": {
                            "labelSelector": {"matchLabels": component},
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }]}},
                    "containers": [{
                        "name": "engine",
                        "image": image,
                        "args": [
                            "engine", "--no-install", "--namespace", home, "--listen", format!("0.0.0.0:{PORT}"),
                        ],
                        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                        "livenessProbe": probe("/healthz", 10),
                        "readinessProbe": probe("/readyz", 5),
                        "resources": {
                            "requests": {"cpu": "50m", "memory": "64Mi"},
                            "limits": {"memory": "512Mi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }],
                },
            },
        },
    })
}
