//! Foreign changes to a StatefulSet, and fields of it that cannot change.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

use super::{
    super::{
        foreign::{describe_change, describe_template_change, is_wanted_template},
        latch::Latch,
        template,
    },
    settings::{PartitionStep, StatefulSettings},
};
use crate::domain::observe::StatefulSeen;

/// Whether the live template is the one that the manifest asks for.
pub fn has_wanted_template(live: &StatefulSet, manifest: &StatefulSet) -> bool {
    let (have, want) = (template::of_stateful(live), template::of_stateful(manifest));
    is_wanted_template((&have, &live.metadata), (&want, &manifest.metadata))
}

/// Describes the first field that somebody else changed while the rollout was in progress.
pub(super) fn find_foreign_change(
    seen: &StatefulSeen,
    latch: &Latch<PartitionStep, StatefulSettings>,
    manifest: &StatefulSet,
) -> Option<String> {
    let (live, meta) = (&seen.live, &seen.live.metadata);
    let spec = live.spec.as_ref()?;
    let moved_on = latch.hash.is_some() && seen.new.hash != latch.hash;
    if !has_wanted_template(live, manifest) || moved_on {
        return Some(describe_template_change(meta, &spec.template));
    }
    let strategy = StatefulSettings::from_stateful_set(live)
        .update_strategy
        .unwrap_or_default();
    let told = |field: &str, have: &Value, want: &Value| {
        let path: Vec<&str> = ["spec"].into_iter().chain(field.split('.')).collect();
        Some(describe_change(
            meta,
            &path,
            &format!("spec.{field} is {have}, not the {want} that graylane wrote"),
        ))
    };
    if strategy["type"] != "RollingUpdate" {
        return told(
            "updateStrategy.type",
            &strategy["type"],
            &json!("RollingUpdate"),
        );
    }
    let wanted = latch.after.strategy_stopping_at(latch.written.partition);
    // Defaults that the API server fills in.
    for (field, default) in [("partition", 0), ("maxUnavailable", 1)] {
        let of = |strategy: &Value| match &strategy["rollingUpdate"][field] {
            Value::Null => json!(default),
            told => told.clone(),
        };
        let (have, want) = (of(&strategy), of(&wanted));
        if have != want {
            return told(
                &format!("updateStrategy.rollingUpdate.{field}"),
                &have,
                &want,
            );
        }
    }
    let (have, want) = (
        StatefulSettings::from_stateful_set(live).min_ready(),
        latch.after.min_ready(),
    );
    (have != want).then(|| told("minReadySeconds", &have.into(), &want.into()))?
}

/// Names every field that the manifest would change although a StatefulSet cannot change it.
pub(super) fn find_immutable_changes(live: &StatefulSet, manifest: &StatefulSet) -> Option<String> {
    let spec = |s: &StatefulSet| serde_json::to_value(&s.spec).unwrap_or_default();
    let (have, want) = (spec(live), spec(manifest));
    let or = |value: &Value, default: &str| {
        if value.is_null() {
            Value::from(default)
        } else {
            value.clone()
        }
    };
    let mut differ = vec![];
    if have["selector"] != want["selector"] {
        differ.push("selector");
    }
    for (field, default) in [("serviceName", ""), ("podManagementPolicy", "OrderedReady")] {
        if or(&have[field], default) != or(&want[field], default) {
            differ.push(field);
        }
    }
    let claims = |v: &Value| if v.is_null() { json!([]) } else { v.clone() };
    if !template::covers(
        &claims(&have["volumeClaimTemplates"]),
        &claims(&want["volumeClaimTemplates"]),
    ) {
        differ.push("volumeClaimTemplates");
    }
    // It can be changed, but gives pods other names, so no batch of that could be held.
    let start = |v: &Value| v["ordinals"]["start"].as_i64().unwrap_or(0);
    if start(&have) != start(&want) {
        differ.push("ordinals");
    }
    (!differ.is_empty()).then(|| {
        format!(
            "spec.{} of the manifest is not what the StatefulSet has, and cannot be changed while its pods stay: put the \
             manifest back, or give the StatefulSet another name",
            differ.join(", spec.")
        )
    })
}
