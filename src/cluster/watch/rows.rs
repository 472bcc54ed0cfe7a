//! Converts objects to rows. Untrusted text is cleaned here, where it enters.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1 as core,
};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;

use crate::{
    api::{App, AppTemplate, Approval, Lane, LaneGroup, Release, VariableGroup, label},
    cluster::status::summarize_pod,
    domain::{
        batches::{DeploymentSettings, is_latch_on, stateful::pods_left_alone},
        observe::{REVISION_LABEL, cause, is_autoscaled},
        revision::Revision,
        text::Clean,
        world::{EngineHolder, Event, ObjectKey, Pod, Route, Workload, WorkloadKind},
    },
};

/// A row of any kind.
#[derive(Clone, Debug)]
pub(super) enum Row {
    App(Arc<App>),
    Template(Arc<AppTemplate>),
    Variables(Arc<VariableGroup>),
    Release(Arc<Release>),
    Revision(Arc<Revision>),
    Approval(Arc<Approval>),
    Group(Arc<LaneGroup>),
    Lane(Arc<Lane>),
    Deployment(Workload),
    Stateful(Workload),
    Pod(Pod),
    Route(Route),
    Event(Event),
    Engine(EngineHolder),
}

fn clean_text(text: &str) -> Clean {
    Clean::from_untrusted(text)
}

fn count_or_zero(n: Option<i32>) -> u32 {
    n.and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
}

fn clean_label(object: &impl ResourceExt, name: &str) -> Option<String> {
    object.labels().get(name).map(|v| clean_text(v).to_string())
}

impl Row {
    /// Sets the key of the row: an object does not know which cluster it is from.
    pub(super) fn with_key(mut self, key: ObjectKey) -> Self {
        match &mut self {
            Self::Deployment(row) | Self::Stateful(row) => row.key = key,
            Self::Pod(row) => row.key = key,
            Self::Route(row) => row.key = key,
            // An event is about an object of its own namespace.
            Self::Event(row) => row.object.namespace = key.namespace,
            _ => {}
        }
        self
    }
}

/// Cleans every string line by line, so that templates keep their line breaks.
pub(super) fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(is_suspicious) => {
            let lines: Vec<String> = text.split('\n').map(clean_line).collect();
            *text = lines.join("\n");
        }
        Value::Array(items) => items.iter_mut().for_each(clean_value),
        Value::Object(map) => {
            if map.keys().any(|k| k.chars().any(is_suspicious)) {
                let old = std::mem::take(map);
                map.extend(
                    old.into_iter()
                        .map(|(k, v)| (clean_text(&k).to_string(), v)),
                );
            }
            map.values_mut().for_each(clean_value);
        }
        _ => {}
    }
}

fn clean_line(line: &str) -> String {
    line.split('\t')
        .map(|part| clean_text(part).to_string())
        .collect::<Vec<_>>()
        .join("\t")
}

/// Whether a character may need cleaning; most text has none.
fn is_suspicious(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The fields that both kinds of workload share; `counts` are the Ready, updated and available
/// pods.
fn workload_row(
    kind: WorkloadKind,
    object: &impl ResourceExt,
    spec: Option<(Option<i32>, &core::PodTemplateSpec)>,
    counts: [Option<i32>; 3],
) -> Workload {
    let (replicas, template) = spec.unzip();
    let containers = template
        .and_then(|t| t.spec.as_ref())
        .map(|s| s.containers.as_slice())
        .unwrap_or_default();
    let [ready, updated, available] = counts.map(count_or_zero);
    Workload {
        kind,
        app: clean_label(object, label::APP),
        environment: clean_label(object, label::ENVIRONMENT),
        replicas: replicas.map_or(0, |told| told.map_or(1, |n| count_or_zero(Some(n)))),
        ready,
        updated,
        available,
        images: containers
            .iter()
            .filter_map(|c| c.image.as_deref())
            .map(clean_text)
            .collect(),
        latched: object.annotations().contains_key(label::LATCH),
        applied: object.annotations().get(label::APPLIED).cloned(),
        autoscaled: is_autoscaled(object.meta()),
        ..Workload::default()
    }
}

pub(super) fn deployment_row(object: &Deployment) -> Workload {
    let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
    let counts = status.map_or([None; 3], |s| {
        [s.ready_replicas, s.updated_replicas, s.available_replicas]
    });
    let mut row = workload_row(
        WorkloadKind::Deployment,
        object,
        spec.map(|s| (s.replicas, &s.template)),
        counts,
    );
    // `kubectl rollout undo` removes the annotation and leaves the latch, which is recognised by
    // its settings.
    row.latched |= is_latch_on(object);
    let cause = cause::of_deployment(object);
    let stuck = cause.as_ref().is_some_and(|c| !cause::is_noise(c));
    let message = cause.map(|c| c.message.clone().unwrap_or(c.reason));
    let recreates = DeploymentSettings::from_deployment(object).uses_recreate();
    Workload {
        paused: spec.and_then(|s| s.paused).unwrap_or_default(),
        message,
        stuck,
        recreates,
        ..row
    }
}

pub(super) fn stateful_set_row(object: &StatefulSet) -> Workload {
    let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
    let counts = status.map_or([None; 3], |s| {
        [s.ready_replicas, s.updated_replicas, s.available_replicas]
    });
    Workload {
        revision: status
            .and_then(|s| s.update_revision.as_deref())
            .map(|r| clean_text(r).to_string()),
        left_alone: pods_left_alone(object),
        ..workload_row(
            WorkloadKind::StatefulSet,
            object,
            spec.map(|s| (s.replicas, &s.template)),
            counts,
        )
    }
}

pub(super) fn pod_row(object: &core::Pod) -> Pod {
    let words = summarize_pod(object);
    let containers = object
        .spec
        .as_ref()
        .map(|s| s.containers.as_slice())
        .unwrap_or_default();
    let status = object.status.as_ref();
    let owner = object
        .owner_references()
        .iter()
        .find(|o| o.controller == Some(true) && matches!(&*o.kind, "ReplicaSet" | "StatefulSet"));
    Pod {
        key: ObjectKey::default(),
        app: clean_label(object, label::APP),
        environment: clean_label(object, label::ENVIRONMENT),
        tag: clean_label(object, label::SERVICE_TAG),
        owner: owner.map(|o| o.name.clone()),
        hash: clean_label(object, "pod-template-hash")
            .or_else(|| clean_label(object, REVISION_LABEL)),
        address: status
            .and_then(|s| s.pod_ip.as_deref())
            .map(|a| clean_text(a).to_string()),
        uid: object.uid().map(|uid| clean_text(&uid).as_str().into()),
        state: clean_text(&words.state),
        ready: words.ready,
        terminating: object.metadata.deletion_timestamp.is_some(),
        restarts: words.restarts,
        images: containers
            .iter()
            .filter_map(|c| c.image.as_deref())
            .map(clean_text)
            .collect(),
        containers: containers.iter().map(|c| clean_text(&c.name)).collect(),
        born: object.metadata.creation_timestamp.as_ref().map(|t| t.0),
        message: words.message.as_deref().map(clean_text),
    }
}

pub(super) fn route_row(object: &DynamicObject) -> Route {
    let parents = object
        .data
        .pointer("/status/parents")
        .and_then(Value::as_array);
    let accepted: Vec<&Value> = parents
        .into_iter()
        .flatten()
        .filter_map(|p| {
            p.get("conditions")?
                .as_array()?
                .iter()
                .find(|c| c["type"] == "Accepted")
        })
        .collect();
    let refused = accepted.iter().find(|c| c["status"] != "True");
    let told = refused
        .or_else(|| accepted.first())
        .and_then(|c| c["message"].as_str());
    Route {
        key: ObjectKey::default(),
        group: clean_label(object, label::LANE_GROUP),
        accepted: (!accepted.is_empty()).then_some(refused.is_none()),
        message: told.filter(|m| !m.is_empty()).map(clean_text),
    }
}

pub(super) fn event_row(object: &core::Event) -> Event {
    let about = &object.involved_object;
    let time = (object.last_timestamp.as_ref().map(|t| t.0))
        .or_else(|| {
            object
                .series
                .as_ref()
                .and_then(|s| s.last_observed_time.as_ref())
                .map(|t| t.0)
        })
        .or_else(|| object.event_time.as_ref().map(|t| t.0))
        .or_else(|| object.metadata.creation_timestamp.as_ref().map(|t| t.0));
    Event {
        time,
        warning: object.type_.as_deref() == Some("Warning"),
        kind: clean_text(about.kind.as_deref().unwrap_or_default()),
        object: ObjectKey::at_home(
            clean_text(about.namespace.as_deref().unwrap_or_default()).as_str(),
            clean_text(about.name.as_deref().unwrap_or_default()).as_str(),
        ),
        reason: clean_text(object.reason.as_deref().unwrap_or_default()),
        message: clean_text(object.message.as_deref().unwrap_or_default()),
        count: count_or_zero(
            object
                .series
                .as_ref()
                .and_then(|s| s.count)
                .or(object.count),
        )
        .max(1),
    }
}

/// An engine renews its Lease every two seconds, and each row that differs makes a new world: of its
/// renewals one in so many seconds is taken over.
const RENEWAL_STEP_SECONDS: i64 = 10;

/// `None` when nobody holds the Lease.
pub(super) fn engine_row(object: &Lease) -> Option<EngineHolder> {
    let spec = object.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|h| !h.is_empty())?;
    Some(EngineHolder {
        holder: clean_text(holder),
        renewed: spec.renew_time.as_ref().and_then(|t| {
            let steps = t.0.as_second().div_euclid(RENEWAL_STEP_SECONDS);
            jiff::Timestamp::from_second(steps * RENEWAL_STEP_SECONDS).ok()
        }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_keep_their_lines_and_lose_their_escapes() {
        let mut value =
            json!({"template": "a:\n\tb: \u{1b}c\n", "plain": "x", "list": ["\u{202e}y"]});
        clean_value(&mut value);
        let text = value.to_string();
        assert!(text.contains(r"a:\n\tb: ") && text.ends_with('}'), "{text}");
        assert!(!text.contains("u001b"), "{text}");
    }

    #[test]
    fn a_latched_deployment_is_not_called_unwell_for_what_the_latch_does() {
        let object = |annotations: Value| -> Deployment {
            serde_json::from_value(json!({
                "metadata": {"name": "d", "annotations": annotations},
                "spec": {"selector": {}, "paused": true, "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
                "status": {"readyReplicas": 1, "conditions": [
                    {"type": "Available", "status": "False", "message": "no minimum availability"}]}
            }))
            .unwrap()
        };
        let plain = deployment_row(&object(json!({})));
        assert_eq!(plain.message.as_deref(), Some("no minimum availability"));
        assert_eq!((plain.replicas, plain.ready, plain.paused), (1, 1, true));
        let latched = deployment_row(&object(json!({label::LATCH: "{}"})));
        assert_eq!((latched.message, latched.latched), (None, true));
        let mut undone = object(json!({}));
        undone.spec.as_mut().unwrap().min_ready_seconds = Some(2_147_483_646);
        assert!(
            deployment_row(&undone).latched,
            "an undo leaves the latch and takes the annotation"
        );
    }

    #[test]
    fn a_stateful_set_is_a_workload_and_its_pods_are_told_apart_by_its_revision() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "db", "annotations": {label::LATCH: "{}"}},
            "spec": {"replicas": 3, "serviceName": "db", "selector": {}, "template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}},
                "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "updateRevision": "db-2f"},
        }))
        .unwrap();
        let row = stateful_set_row(&set);
        assert_eq!(
            (row.kind.resource(), row.replicas, row.ready, row.updated),
            ("statefulsets.apps", 3, 2, 1)
        );
        assert!(row.latched && row.images[0].as_str() == "i:2");
        assert_eq!(
            (row.revision.as_deref(), row.left_alone),
            (Some("db-2f"), 2)
        );
        // While a rollout holds the partition, the user's own value is stored in the latch.
        let own =
            |partition: u32| json!({"updateStrategy": {"rollingUpdate": {"partition": partition}}});
        let latch = json!({"release": "r", "releaseUid": "u", "task": "t", "attempt": 1, "batches": [], "template": "",
            "written": {"partition": 2, "replicas": 3}, "after": own(1), "before": {"own": own(1), "template": {}}});
        let mut held = set.clone();
        held.metadata.annotations = Some([(label::LATCH.to_owned(), latch.to_string())].into());
        assert_eq!(stateful_set_row(&held).left_alone, 1);
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true}]);
        let object = json!({"metadata": {"name": "db-2", "labels": {REVISION_LABEL: "db-2f"}, "ownerReferences": owner}});
        let row = pod_row(&serde_json::from_value(object).unwrap());
        assert_eq!(
            (row.owner.as_deref(), row.hash.as_deref()),
            (Some("db"), Some("db-2f"))
        );
    }

    #[test]
    fn a_route_is_accepted_when_every_parent_says_so() {
        let of = |parents: Value| {
            let object = json!({"apiVersion": "g/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "status": {"parents": parents}});
            route_row(&serde_json::from_value(object).unwrap())
        };
        let says = |status: &str, message: &str| json!({"conditions": [{"type": "Accepted", "status": status, "message": message}]});
        assert_eq!(of(json!([])).accepted, None);
        assert_eq!(of(json!([says("True", "")])).accepted, Some(true));
        let mixed = of(json!([
            says("True", "fine"),
            says("False", "no such backend")
        ]));
        assert_eq!(
            (mixed.accepted, mixed.message.as_deref()),
            (Some(false), Some("no such backend"))
        );
    }

    #[test]
    fn of_an_engines_renewals_one_in_ten_seconds_is_a_new_row() {
        let row = |holder: &str, renewed: &str| {
            let spec = json!({"holderIdentity": holder, "renewTime": renewed});
            engine_row(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap())
        };
        let first = row("a", "2026-12-01T12:00:00.000001Z");
        assert!(first.as_ref().is_some_and(|row| row.renewed.is_some()));
        assert_eq!(row("a", "2026-12-01T12:00:09.999999Z"), first);
        for (holder, renewed) in [
            ("a", "2026-12-01T12:00:10.000000Z"),
            ("b", "2026-12-01T12:00:00.000001Z"),
            ("a", "2026-12-01T11:59:59.999999Z"),
        ] {
            assert_ne!(row(holder, renewed), first, "{holder} {renewed}");
        }
        assert!(row("a", "0001-01-01T00:00:00.000000Z").is_some());
    }
}
