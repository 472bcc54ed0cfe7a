//! The engine as a Deployment. The Lease decides which replica is active; none has more rights than
//! it needs.

use serde_json::{Value, json};

use super::{
    EngineDeployment, otlp,
    roles::{ENGINE, engine_name},
};
use crate::api::{FIELD_MANAGER, label};

/// Port of `/healthz`, `/readyz` and `/metrics`.
const HTTP_PORT: u16 = 8080;

/// Label with the namespace whose releases an engine carries out.
pub(in crate::cluster) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The Deployment of the engine for the releases of `home`.
pub(super) fn render_deployment(engine: &EngineDeployment, home: &str) -> Value {
    let name = engine_name(home);
    let component = pod_labels(home);
    let port =
        |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let (mut args, mut ports) = (
        json!([
            "engine",
            "--no-install",
            "--namespace",
            home,
            "--listen",
            format!("0.0.0.0:{HTTP_PORT}"),
            "--write-spans",
            engine.namespace,
        ]),
        json!([port("http", HTTP_PORT)]),
    );
    if let (true, Some(args), Some(ports)) =
        (engine.otlp, args.as_array_mut(), ports.as_array_mut())
    {
        args.extend(otlp::otlp_args().map(Value::from));
        ports.extend(otlp::PORTS.map(|(name, number)| port(name, number)));
    }
    let probe = |path: &str, seconds: u32| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": seconds, "timeoutSeconds": 3});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": engine.namespace,
            "labels": engine_labels(home),
        },
        "spec": {
            "replicas": engine.replicas,
            "selector": {"matchLabels": component},
            // An engine stops after the next one is ready, and gives up the Lease when it stops.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": component,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": HTTP_PORT.to_string(),
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
                        "image": engine.image,
                        "args": args,
                        "ports": ports,
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

/// Labels of what `install` makes for the engine of `home`.
pub(super) fn engine_labels(home: &str) -> Value {
    json!({
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        "app.kubernetes.io/name": ENGINE,
        label::COMPONENT: "engine",
        INSTANCE_LABEL: home,
    })
}

/// Labels of the engine's pods.
pub(super) fn pod_labels(home: &str) -> Value {
    json!({label::COMPONENT: "engine", INSTANCE_LABEL: home})
}
