//! Templates of a StatefulSet, stored as ControllerRevisions: which one is current, which one is
//! being rolled out, and which ones may be deleted.

use super::super::deployment::model::safe_hash;
use super::super::ownership;
use super::model;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use std::sync::Arc;

const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// Maximum length of the StatefulSet's name within a revision's name.
const MAX_NAME_LENGTH: usize = 223;

/// A template and the name of its revision.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Revision {
    pub name: String,
    pub template: PodTemplateSpec,
}

/// The revision that the pods have, and the one that they are updated to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RevisionPair {
    pub current: Revision,
    pub update: Revision,
}

#[derive(Debug)]
pub(super) enum RevisionStep {
    /// Both revisions exist.
    Resolved(Box<RevisionPair>),
    Create(Box<ControllerRevision>),
    /// An earlier template is used again: its revision gets the highest number.
    Renumber {
        name: String,
        resource_version: Option<String>,
        revision: i64,
    },
}

/// Sorts oldest first; creation times and names break ties between equal numbers.
pub(super) fn sort_revisions(revisions: &mut [ControllerRevision]) {
    let made = |r: &ControllerRevision| {
        r.metadata
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::MAX, |t| t.0)
    };
    revisions.sort_by_key(|r| (r.revision, made(r), r.metadata.name.clone()));
}

/// Returns the patch that restores the template, as `kubectl rollout undo` sends it.
fn encode_template(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    let mut data = json!({"spec": {"template": template}});
    data.sort_all_objects();
    data
}

fn revision_data(revision: &ControllerRevision) -> Option<&Value> {
    revision.data.as_ref().map(|raw| &raw.0)
}

/// Whether two revisions contain the same template.
pub(super) fn is_same_data(a: &ControllerRevision, b: &ControllerRevision) -> bool {
    revision_data(a) == revision_data(b)
}

fn decode_revision(revision: &ControllerRevision) -> Revision {
    let mut template =
        revision_data(revision).map_or(Value::Null, |data| data["spec"]["template"].clone());
    template
        .as_object_mut()
        .map(|template| template.shift_remove("$patch"));
    Revision {
        name: revision.name_any(),
        template: serde_json::from_value(template).unwrap_or_default(),
    }
}

/// Creates a revision of the current template; `collisions` salts its name.
fn new_revision(set: &StatefulSet, number: i64, collisions: i32) -> ControllerRevision {
    let template = set
        .spec
        .as_ref()
        .map(|s| s.template.clone())
        .unwrap_or_default();
    let data = encode_template(&template);
    let hash = safe_hash(&[
        data.to_string().as_bytes(),
        collisions.to_string().as_bytes(),
    ]);
    let mut labels = template.metadata.and_then(|m| m.labels).unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let parent: String = set.name_any().chars().take(MAX_NAME_LENGTH).collect();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{parent}-{hash}")),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![ownership::controller_reference(set)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// Pairs the current revision with `update`, the one that the set asks for.
pub(super) fn pair_revisions(
    set: &StatefulSet,
    known: &[ControllerRevision],
    update: &ControllerRevision,
) -> RevisionPair {
    let update = decode_revision(update);
    let current = set
        .status
        .as_ref()
        .and_then(|s| s.current_revision.as_deref());
    let current = known
        .iter()
        .find(|r| r.metadata.name.as_deref() == current)
        .map(decode_revision);
    RevisionPair {
        current: current.unwrap_or_else(|| update.clone()),
        update,
    }
}

/// Determines the next step; `known` must be sorted.
pub(super) fn next_step(
    set: &StatefulSet,
    known: &[ControllerRevision],
    collisions: i32,
) -> RevisionStep {
    let number = known
        .last()
        .map_or(1, |last| last.revision.saturating_add(1));
    let wanted = new_revision(set, number, collisions);
    let Some(last) = known.last() else {
        return RevisionStep::Create(Box::new(wanted));
    };
    match known.iter().rfind(|r| is_same_data(r, &wanted)) {
        None => RevisionStep::Create(Box::new(wanted)),
        Some(equal) if is_same_data(equal, last) => {
            RevisionStep::Resolved(Box::new(pair_revisions(set, known, last)))
        }
        Some(equal) => RevisionStep::Renumber {
            name: equal.name_any(),
            resource_version: equal.resource_version(),
            revision: number,
        },
    }
}

/// Revisions beyond the history limit that neither a pod nor the pair uses; `known` must be sorted.
pub(super) fn superfluous_revisions(
    set: &StatefulSet,
    known: Vec<ControllerRevision>,
    pair: &RevisionPair,
    pods: &[Arc<Pod>],
) -> Vec<ControllerRevision> {
    let live = |name: &str| {
        name == pair.current.name
            || name == pair.update.name
            || pods.iter().any(|p| model::revision(p) == name)
    };
    let mut past: Vec<_> = known.into_iter().filter(|r| !live(&r.name_any())).collect();
    let limit = set
        .spec
        .as_ref()
        .and_then(|s| s.revision_history_limit)
        .unwrap_or(10);
    // A negative limit means no limit.
    let keep = usize::try_from(limit).unwrap_or(usize::MAX);
    past.truncate(past.len().saturating_sub(keep));
    past
}
