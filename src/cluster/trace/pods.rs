//! Finds the pods that write a log by their labels.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    cluster::error,
    domain::{hop_logs::HopLog, text::Clean},
};

/// Names of gateway containers that write the access log, for pods with several containers.
const LOG_CONTAINERS: [&str; 5] = [
    "traefik",
    "envoy",
    "istio-proxy",
    "higress-gateway",
    "nginx",
];
/// Upper bound of pods of one gateway that are followed.
const MOST_PODS: usize = 32;

/// A pod and the container that writes the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogPod {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: Option<String>,
}

/// The pods of a log; `Err` says why they cannot be looked up.
#[tracing::instrument(level = "debug", skip_all)]
pub(super) async fn find_pods(client: &Client, log: &HopLog) -> Result<Vec<LogPod>, Clean> {
    let (places, container) = match log {
        HopLog::LaneGateway => {
            let found = LogPod {
                namespace: super::GATEWAY_NAMESPACE.into(),
                pod: super::GATEWAY_POD.into(),
                container: None,
            };
            return Ok(vec![found]);
        }
        // A store has no pods; its group is used as the key.
        HopLog::Store(store) => {
            return Ok(vec![LogPod {
                namespace: String::new(),
                pod: store.group.clone(),
                container: None,
            }]);
        }
        HopLog::Spans { namespace, labels } => {
            (vec![(Some(namespace.clone()), labels.clone())], None)
        }
        HopLog::Access(log) => (log.pod_selectors(), log.log.container.clone()),
    };
    let mut refused = None;
    for (namespace, labels) in places {
        let pods: Api<Pod> = match &namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let selector: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        match pods
            .list(&ListParams::default().labels(&selector.join(",")))
            .await
        {
            Ok(list) => {
                let found: Vec<LogPod> = list
                    .items
                    .iter()
                    .filter(|p| is_running(p))
                    .take(MOST_PODS)
                    .map(|p| to_log_pod(p, container.as_deref()))
                    .collect();
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            Err(why) => {
                refused = Some(Clean::from(format!(
                    "looking for its pods: {}",
                    error::describe_error(&why)
                )));
            }
        }
    }
    refused.map_or(Ok(vec![]), Err)
}

fn is_running(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|s| s.phase.as_deref())
        .is_none_or(|phase| phase == "Running")
}

fn to_log_pod(pod: &Pod, wanted: Option<&str>) -> LogPod {
    let names: Vec<&str> = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .map(|c| c.name.as_str())
        .collect();
    let known = names
        .iter()
        .find(|name| LOG_CONTAINERS.contains(name))
        .or(names.first());
    let container = wanted
        .map(str::to_owned)
        .or_else(|| known.filter(|_| names.len() > 1).map(ToString::to_string));
    LogPod {
        namespace: pod.namespace().unwrap_or_default(),
        pod: pod.name_any(),
        container,
    }
}

/// The problem to report when no pod is found.
pub(super) fn no_pods_message(log: &HopLog) -> String {
    let HopLog::Access(log) = log else {
        return "no pod writes it".into();
    };
    let places = log.pod_selectors().into_iter().map(|(namespace, labels)| {
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        format!(
            "{} in {}",
            labels.join(","),
            namespace.as_deref().unwrap_or("any namespace")
        )
    });
    format!(
        "no running pod of the gateway was found by the labels {}; spec.hops[].accessLog.matchLabels and namespace name \
         them",
        places.collect::<Vec<_>>().join(", nor ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_several_containers_the_gateway_writes() {
        let container = |names: &[&str], wanted: Option<&str>| {
            let containers: Vec<_> = names.iter().map(|n| json!({"name": n})).collect();
            let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": containers}});
            to_log_pod(&serde_json::from_value(pod).unwrap(), wanted).container
        };
        assert_eq!(container(&["my-traefik"], None), None);
        assert_eq!(
            container(&["shutdown-manager", "envoy"], None).as_deref(),
            Some("envoy")
        );
        assert_eq!(container(&["a", "b"], None).as_deref(), Some("a"));
        assert_eq!(container(&["a", "b"], Some("b")).as_deref(), Some("b"));
    }
}
