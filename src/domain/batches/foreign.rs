//! Foreign changes: which field differs from what the last patch wrote, and who wrote it.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{
    latch::{Latch, NEVER, NO_DEADLINE, Own},
    template,
};
use crate::{
    api::label,
    domain::{
        observe::{DeploymentSeen, writer},
        text::Clean,
    },
};

/// Whether the live template is the one that the manifest asks for.
pub fn is_template(live: &Deployment, manifest: &Deployment) -> bool {
    let (have, want) = (
        template::of_deployment(live),
        template::of_deployment(manifest),
    );
    is_wanted((&have, &live.metadata), (&want, &manifest.metadata))
}

/// Same check for a workload of any kind: pairs of template and object metadata.
pub(super) fn is_wanted(
    (have, live): (&Value, &ObjectMeta),
    (want, manifest): (&Value, &ObjectMeta),
) -> bool {
    // An API server may fill in defaults that are not known here; then the digest of the applied
    // manifest decides.
    template::same(have, want)
        || (applied(live).is_some()
            && applied(live) == applied(manifest)
            && template::covers(have, want))
}

/// Digest of the manifest that an object was applied from.
pub(super) fn applied(meta: &ObjectMeta) -> Option<&String> {
    meta.annotations.as_ref()?.get(label::APPLIED)
}

/// Describes the first field that somebody else changed while the latch was on.
pub fn hand(seen: &DeploymentSeen, latch: &Latch, manifest: &Deployment) -> Option<String> {
    let live = &seen.live;
    let spec = live.spec.as_ref()?;
    // Without any ReplicaSet there is no other version to compare with.
    let moved_on = latch.hash.is_some() && seen.new.hash != latch.hash && seen.sets > 0;
    if !is_template(live, manifest) || moved_on {
        return Some(other_template(&live.metadata, &spec.template));
    }
    let own = Own::of(live);
    let rolling = latch.written.rolling();
    let told =
        |field: &str, want: &dyn std::fmt::Display, have: &dyn std::fmt::Display, path: &[&str]| {
            Some(words(
                &live.metadata,
                path,
                &format!("spec.{field} is {have}, not the {want} that graylane wrote"),
            ))
        };
    if own.min_ready_seconds != Some(NEVER) {
        return told(
            "minReadySeconds",
            &NEVER,
            &shown(own.min_ready_seconds),
            &["spec", "minReadySeconds"],
        );
    }
    if own.progress_deadline_seconds != Some(NO_DEADLINE) {
        let have = shown(own.progress_deadline_seconds);
        return told(
            "progressDeadlineSeconds",
            &NO_DEADLINE,
            &have,
            &["spec", "progressDeadlineSeconds"],
        );
    }
    let strategy = own.strategy.unwrap_or_default();
    if strategy["type"] != "RollingUpdate" {
        return told(
            "strategy.type",
            &"RollingUpdate",
            &strategy["type"],
            &["spec", "strategy", "type"],
        );
    }
    for key in ["maxSurge", "maxUnavailable"] {
        let have = &strategy["rollingUpdate"][key];
        if have != &rolling[key] {
            let path = ["spec", "strategy", "rollingUpdate", key];
            return told(
                &format!("strategy.rollingUpdate.{key}"),
                &rolling[key],
                have,
                &path,
            );
        }
    }
    let paused = spec.paused.unwrap_or(false);
    (paused != latch.written.paused()).then(|| {
        words(
            &live.metadata,
            &["spec", "paused"],
            if paused {
                "it was paused"
            } else {
                "it was resumed"
            },
        )
    })
}

/// Latest writer other than graylane and the cluster's own controllers, and when it wrote.
pub(super) fn newest_hand(live: &ObjectMeta) -> Option<(String, Option<jiff::Timestamp>)> {
    let ours = |by: &str| by == crate::api::FIELD_MANAGER || by == "kube-controller-manager";
    let all = live
        .managed_fields
        .iter()
        .flatten()
        .filter(|e| e.subresource.as_deref().is_none_or(str::is_empty));
    let others = all.filter_map(|e| Some((e.manager.clone()?, e.time.as_ref().map(|t| t.0))));
    others.filter(|(by, _)| !ours(by)).max_by_key(|(_, at)| *at)
}

fn shown(value: Option<i32>) -> String {
    value.map_or_else(|| "unset".into(), |v| v.to_string())
}

/// Describes a template that is not the one that was written: by whom, and with which images.
pub(super) fn other_template(live: &ObjectMeta, template: &PodTemplateSpec) -> String {
    let images = template
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .filter_map(|c| c.image.as_deref());
    let images = images.collect::<Vec<_>>().join(", ");
    words(
        live,
        &["spec", "template"],
        &format!("spec.template was changed (image now {images})"),
    )
}

/// Describes what was changed, and by whom.
pub(super) fn words(live: &ObjectMeta, path: &[&str], what: &str) -> String {
    match writer(live, path) {
        Some((by, Some(at))) if by != crate::api::FIELD_MANAGER => {
            format!("{what}, by {by} at {at}")
        }
        Some((by, None)) if by != crate::api::FIELD_MANAGER => format!("{what}, by {by}"),
        // A removed field has no manager any more.
        _ => format!("{what}; {}", as_far_as_known(live)),
    }
}

/// What the server knows when a field has no known manager: who else has written since graylane
/// did.
fn as_far_as_known(live: &ObjectMeta) -> String {
    let ours = live
        .managed_fields
        .iter()
        .flatten()
        .filter(|e| e.manager.as_deref() == Some(crate::api::FIELD_MANAGER));
    let ours = ours.filter_map(|e| e.time.as_ref().map(|t| t.0)).max();
    match newest_hand(live) {
        Some((by, Some(at))) if ours.is_none_or(|ours| at >= ours) => {
            let by = Clean::from_untrusted(&by);
            format!("the server does not say by whom (last written by {by} at {at})")
        }
        _ => "the server does not say by whom".to_owned(),
    }
}
