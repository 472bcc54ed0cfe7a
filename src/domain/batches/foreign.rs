//! Foreign changes: which field differs from what the last patch wrote, and who wrote it.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::Value;

use super::{
    latch::{DeploymentSettings, Latch, NEVER_AVAILABLE_SECONDS, NO_DEADLINE_SECONDS},
    template,
};
use crate::{
    api::label,
    domain::{
        observe::{DeploymentSeen, last_writer},
        text::Clean,
    },
};

/// Whether the live template is the one that the manifest asks for.
pub fn has_wanted_template(live: &Deployment, manifest: &Deployment) -> bool {
    let (have, want) = (
        template::of_deployment(live),
        template::of_deployment(manifest),
    );
    is_wanted_template((&have, &live.metadata), (&want, &manifest.metadata))
}

/// Same check for a workload of any kind: pairs of template and object metadata.
pub(super) fn is_wanted_template(
    (have, live): (&Value, &ObjectMeta),
    (want, manifest): (&Value, &ObjectMeta),
) -> bool {
    // An API server may fill in defaults that are not known here; then the digest of the applied
    // manifest decides.
    template::is_same_template(have, want)
        || (applied_digest(live).is_some()
            && applied_digest(live) == applied_digest(manifest)
            && template::covers(have, want))
}

/// Digest of the manifest that an object was applied from.
pub(super) fn applied_digest(meta: &ObjectMeta) -> Option<&String> {
    meta.annotations.as_ref()?.get(label::APPLIED)
}

/// Describes the first field that somebody else changed while the latch was on.
pub fn find_foreign_change(
    seen: &DeploymentSeen,
    latch: &Latch,
    manifest: &Deployment,
) -> Option<String> {
    let live = &seen.live;
    let spec = live.spec.as_ref()?;
    // Without any ReplicaSet there is no other version to compare with.
    let moved_on = latch.hash.is_some() && seen.new.hash != latch.hash && seen.sets > 0;
    if !has_wanted_template(live, manifest) || moved_on {
        return Some(describe_template_change(&live.metadata, &spec.template));
    }
    if let Some(change) = find_changed_setting(live, latch) {
        return Some(change);
    }
    let paused = spec.paused.unwrap_or(false);
    (paused != latch.written.is_paused()).then(|| {
        describe_change(
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

/// A field of the latch that is not as it was written last, except `paused`.
fn find_changed_setting(live: &Deployment, latch: &Latch) -> Option<String> {
    let own = DeploymentSettings::from_deployment(live);
    let rolling = latch.written.rolling_update();
    let told =
        |field: &str, want: &dyn std::fmt::Display, have: &dyn std::fmt::Display, path: &[&str]| {
            Some(describe_change(
                &live.metadata,
                path,
                &format!("spec.{field} is {have}, not the {want} that graylane wrote"),
            ))
        };
    if own.min_ready_seconds != Some(NEVER_AVAILABLE_SECONDS) {
        return told(
            "minReadySeconds",
            &NEVER_AVAILABLE_SECONDS,
            &format_seconds(own.min_ready_seconds),
            &["spec", "minReadySeconds"],
        );
    }
    if own.progress_deadline_seconds != Some(NO_DEADLINE_SECONDS) {
        let have = format_seconds(own.progress_deadline_seconds);
        return told(
            "progressDeadlineSeconds",
            &NO_DEADLINE_SECONDS,
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
    None
}

/// Latest writer other than graylane and the cluster's own controllers, and when it wrote.
pub(super) fn last_foreign_writer(live: &ObjectMeta) -> Option<(String, Option<jiff::Timestamp>)> {
    let ours = |by: &str| by == crate::api::FIELD_MANAGER || by == "kube-controller-manager";
    let all = live
        .managed_fields
        .iter()
        .flatten()
        .filter(|e| e.subresource.as_deref().is_none_or(str::is_empty));
    let others = all.filter_map(|e| Some((e.manager.clone()?, e.time.as_ref().map(|t| t.0))));
    others.filter(|(by, _)| !ours(by)).max_by_key(|(_, at)| *at)
}

fn format_seconds(value: Option<i32>) -> String {
    value.map_or_else(|| "unset".into(), |v| v.to_string())
}

/// Describes a template that is not the one that was written: by whom, and with which images.
pub(super) fn describe_template_change(live: &ObjectMeta, template: &PodTemplateSpec) -> String {
    let images = template
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .filter_map(|c| c.image.as_deref());
    let images = images.collect::<Vec<_>>().join(", ");
    describe_change(
        live,
        &["spec", "template"],
        &format!("spec.template was changed (image now {images})"),
    )
}

/// Describes what was changed, and by whom.
pub(super) fn describe_change(live: &ObjectMeta, path: &[&str], what: &str) -> String {
    match last_writer(live, path) {
        Some((by, Some(at))) if by != crate::api::FIELD_MANAGER => {
            format!("{what}, by {by} at {at}")
        }
        Some((by, None)) if by != crate::api::FIELD_MANAGER => format!("{what}, by {by}"),
        // A removed field has no manager any more.
        _ => format!("{what}; {}", describe_unknown_writer(live)),
    }
}

/// What the server knows when a field has no known manager: who else has written since graylane
/// did.
fn describe_unknown_writer(live: &ObjectMeta) -> String {
    let ours = live
        .managed_fields
        .iter()
        .flatten()
        .filter(|e| e.manager.as_deref() == Some(crate::api::FIELD_MANAGER));
    let ours = ours.filter_map(|e| e.time.as_ref().map(|t| t.0)).max();
    match last_foreign_writer(live) {
        Some((by, Some(at))) if ours.is_none_or(|ours| at >= ours) => {
            let by = Clean::from_untrusted(&by);
            format!("the server does not say by whom (last written by {by} at {at})")
        }
        _ => "the server does not say by whom".to_owned(),
    }
}
