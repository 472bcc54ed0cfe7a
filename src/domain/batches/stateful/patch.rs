//! Patches of a StatefulSet, each with the resourceVersion it was made from: see
//! [`super::super::patch`].

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use super::{
    super::{
        goal::Goal,
        latch::{Latch, PreviousVersion, RolloutId, RolloutMode},
        patch::{PatchBuilder, choose_replicas},
        records::ActiveRollout,
        template,
    },
    orphaned::has_rollout_partition,
    settings::{PartitionStep, StatefulSettings},
};
use crate::api::{Uid, label};

/// Fields of the spec that the rollout writes itself, or that are immutable.
const ROLLOUT_FIELDS: [&str; 8] = [
    "template",
    "replicas",
    "selector",
    "serviceName",
    "podManagementPolicy",
    "volumeClaimTemplates",
    "updateStrategy",
    "ordinals",
];

impl PatchBuilder {
    fn set_stateful_settings(&mut self, own: &StatefulSettings) -> &mut Self {
        self.set_spec("minReadySeconds", own.min_ready_seconds.map(Value::from));
        self.set_spec("updateStrategy", own.update_strategy.clone())
    }

    fn set_stateful_latch(&mut self, latch: &Latch<PartitionStep, StatefulSettings>) -> &mut Self {
        self.set_spec(
            "minReadySeconds",
            latch.after.min_ready_seconds.map(Value::from),
        );
        self.set_spec(
            "updateStrategy",
            Some(latch.after.strategy_stopping_at(latch.written.partition)),
        );
        self.set_annotation(label::LATCH, serde_json::to_string(latch).ok())
    }
}

/// First patch: new template, the rest of the manifest, the partition, and what is needed to go
/// back.
pub(super) fn begin_rollout(
    live: &StatefulSet,
    goal: &Goal<StatefulSet>,
    written: PartitionStep,
) -> Option<Value> {
    let own = StatefulSettings::from_stateful_set(live);
    let after = own.overlay_manifest(goal.manifest);
    let wanted = template::of_stateful(goal.manifest);
    let templates = (template::of_stateful(live), &wanted);
    let latch = goal.initial_latch(
        &live.metadata,
        templates,
        (own, after),
        (RolloutMode::Latched, written),
    );
    PatchBuilder::from_live(live)
        .merge_manifest(goal.manifest, &ROLLOUT_FIELDS)
        .set_spec("template", Some(wanted))
        .set_stateful_latch(&latch)
        .build_patch()
}

/// Later step of the rollout.
pub(super) fn write_step(
    live: &StatefulSet,
    latch: &Latch<PartitionStep, StatefulSettings>,
    written: PartitionStep,
    hash: Option<String>,
) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_stateful_latch(&latch.with_step(written, hash))
        .build_patch()
}

/// Own settings of an object that somebody recreated; `None` when it came with the rollout's
/// settings.
pub(super) fn recreated_settings(
    live: &StatefulSet,
    rollout: &ActiveRollout<PartitionStep, StatefulSettings>,
) -> Option<StatefulSettings> {
    let own = StatefulSettings::from_stateful_set(live);
    let brought = own.partition() == rollout.latch.written.partition
        || has_rollout_partition(live, &rollout.latch);
    (rollout.made_again && !brought).then_some(own)
}

/// A new attempt takes over: sets the approved template and the partition.
pub(super) fn take_over(
    live: &StatefulSet,
    rollout: &ActiveRollout<PartitionStep, StatefulSettings>,
    goal: &Goal<StatefulSet>,
    written: PartitionStep,
) -> Option<Value> {
    let mut latch = rollout.latch.with_attempt(goal.attempt, written);
    let wanted = template::of_stateful(goal.manifest);
    if let Some(own) = recreated_settings(live, rollout) {
        latch.update_for_recreated(
            (own.overlay_manifest(goal.manifest), own),
            template::of_stateful(live),
            &wanted,
        );
    }
    PatchBuilder::from_live(live)
        .merge_manifest(goal.manifest, &ROLLOUT_FIELDS)
        .set_spec("template", Some(wanted))
        .set_stateful_latch(&latch)
        .build_patch()
}

/// All pods are new: restores the user's own settings in one patch; what was replaced stays in an
/// annotation.
pub(super) fn finish_rollout(
    live: &StatefulSet,
    latch: &Latch<PartitionStep, StatefulSettings>,
) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_stateful_settings(&latch.after)
        .end_rollout(&latch.to_previous())
        .build_patch()
}

/// Back: restores the old template *and* the user's settings in one patch.
pub(super) fn revert(
    live: &StatefulSet,
    before: &PreviousVersion<StatefulSettings>,
) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_stateful_settings(&before.own)
        .restore_template(before)
        .build_patch()
}

/// Back, where pods below the user's own partition are new: the partition goes down to them first.
/// What was replaced stays in an annotation, so that [`revert`] can finish.
pub(super) fn revert_down_to(
    live: &StatefulSet,
    before: &PreviousVersion<StatefulSettings>,
    release_uid: &Uid,
    partition: u32,
) -> Option<Value> {
    let own = StatefulSettings {
        update_strategy: Some(before.own.strategy_stopping_at(partition)),
        ..before.own.clone()
    };
    let by = before.by.clone().unwrap_or_else(|| RolloutId {
        release_uid: release_uid.clone(),
        ..RolloutId::default()
    });
    let told = PreviousVersion {
        by: Some(by),
        ..before.clone()
    };
    PatchBuilder::from_live(live)
        .set_stateful_settings(&own)
        .restore_template(before)
        .end_rollout(&told)
        .build_patch()
}

/// Removes a partition that no rollout needs any more: restores the user's own settings, keeps the
/// template.
pub(super) fn remove_partition(live: &StatefulSet, own: &StatefulSettings) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_stateful_settings(own)
        .set_annotation(label::LATCH, None)
        .build_patch()
}

/// Applies the rest of the manifest where the template is already the wanted one.
pub(super) fn sync_other_fields(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    let mut edit = PatchBuilder::from_live(live);
    edit.merge_manifest(manifest, &ROLLOUT_FIELDS)
        .set_stateful_settings(
            &StatefulSettings::from_stateful_set(live).overlay_manifest(manifest),
        );
    edit.set_spec("replicas", wanted_replicas(live, manifest).map(Value::from))
        .build_patch()
}

/// Sets the replicas before a rollout begins, when the manifest asks for another number and nothing
/// else scales the workload.
pub(super) fn scale(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_spec("replicas", wanted_replicas(live, manifest).map(Value::from))
        .build_patch()
}

fn wanted_replicas(live: &StatefulSet, manifest: &StatefulSet) -> Option<i32> {
    let of = |s: &StatefulSet| s.spec.as_ref().and_then(|s| s.replicas);
    choose_replicas(&live.metadata, of(live), of(manifest))
}
