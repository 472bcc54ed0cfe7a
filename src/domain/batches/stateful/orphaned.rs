//! A StatefulSet whose partition is left over from a rollout, although no annotation and no record
//! says so.
//!
//! Any value of a partition may be the user's, unlike a Deployment's latch. The evidence is who
//! wrote it: graylane, although no finished rollout left it, with pods of two versions around it.
//! Such a partition must not be mistaken for the user's own: the next release would stop there and
//! report success.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::{
    super::{
        compute_targets,
        goal::{Goal, RolloutAction, patch_or_wait},
        latch::{Latch, PreviousVersion, RolloutMark},
        records::has_ended,
        template,
    },
    patch,
    settings::{PartitionStep, StatefulSettings},
};
use crate::{
    api::FIELD_MANAGER,
    domain::{
        command_line::CommandLine,
        observe::{StatefulSeen, last_writer},
    },
};

/// A StatefulSet's partition that is left over, with both ways out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its partition {partition} looks like that of a rollout of which neither an annotation nor a release is left, \
    and it has pods of two versions. To finish it: `{}`. To go back: `{}`, and the same patch after it. Where the partition is your own, put it into the manifest",
    self.finish_command(), self.undo_command()
)]
pub struct OrphanedPartition {
    /// Name of the StatefulSet.
    pub name: String,
    /// Its partition.
    pub partition: u32,
}

/// Whether the settings are those of the rollout, and neither those before it nor those to come.
/// The record may be one step behind, so the stop of any of its batches counts as its own.
pub(super) fn has_rollout_partition(
    live: &StatefulSet,
    latch: &Latch<PartitionStep, StatefulSettings>,
) -> bool {
    let at = StatefulSettings::from_stateful_set(live).partition();
    let PartitionStep {
        partition,
        replicas,
    } = latch.written;
    let batches = compute_targets(
        &latch.batches,
        replicas.saturating_sub(latch.after.partition()),
    );
    let mut stops = batches
        .iter()
        .map(|new| replicas.saturating_sub(*new))
        .chain([partition]);
    stops.any(|stop| stop == at)
        && at != latch.before.own.partition()
        && at != latch.after.partition()
}

/// Whether a StatefulSet shows a rollout that is only recorded.
pub(in crate::domain::batches) fn shows_rollout(
    live: &StatefulSet,
    latch: &Latch<PartitionStep, StatefulSettings>,
) -> bool {
    has_rollout_partition(live, latch)
        || !template::is_same_template(&latch.before.template, &template::of_stateful(live))
}

fn is_written_by_us(live: &StatefulSet, path: &[&str]) -> bool {
    last_writer(&live.metadata, path).is_some_and(|(by, _)| by == FIELD_MANAGER)
}

/// Whether its partition may be left over from an unknown rollout: graylane wrote it, and no
/// finished rollout left it.
pub fn may_be_orphaned(seen: &StatefulSeen) -> bool {
    let (live, meta) = (&seen.live, &seen.live.metadata);
    let at = StatefulSettings::from_stateful_set(live).partition();
    let left = PreviousVersion::<StatefulSettings>::from_meta(meta)
        .map(|p| p.left.unwrap_or(p.own).partition());
    RolloutMark::from_meta(meta) == Ok(None)
        && (1..seen.replicas()).contains(&at)
        && left != Some(at)
        && is_written_by_us(
            live,
            &["spec", "updateStrategy", "rollingUpdate", "partition"],
        )
}

/// Whether the partition is left over, as far as can be seen without a record: pods of two
/// versions, and graylane wrote the template.
pub(super) fn is_orphaned(seen: &StatefulSeen) -> bool {
    let two = !seen.new.pods.is_empty() && !seen.old.pods.is_empty();
    two && may_be_orphaned(seen) && is_written_by_us(&seen.live, &["spec", "template"])
}

/// What a new release does first about such a partition; `None` when nothing is left over.
pub(super) fn release_orphaned_partition(
    seen: &StatefulSeen,
    goal: &Goal<StatefulSet>,
) -> Option<RolloutAction> {
    let live = &seen.live;
    let known = goal
        .records
        .parse_latch::<PartitionStep, StatefulSettings>();
    let Some(known) =
        known.filter(|k| has_rollout_partition(live, k) && !has_ended(&live.metadata, k))
    else {
        let named = StatefulSettings::from_stateful_set(goal.manifest)
            .update_strategy
            .is_some_and(|s| !s["rollingUpdate"]["partition"].is_null());
        // A manifest that names a partition says whose it is.
        return (is_orphaned(seen) && !named && !goal.hold).then(|| {
            let orphaned = OrphanedPartition::from_live(&seen.live);
            RolloutAction::Stop(format!("{orphaned}; then retry"))
        });
    };
    if goal.hold || goal.upto == 0 {
        return Some(RolloutAction::Held);
    }
    let back = template::is_same_template(&known.before.template, &template::of_stateful(live));
    if !(back || (seen.is_observed() && seen.old.pods.is_empty())) {
        return Some(RolloutAction::Stop(format!(
            "it has the partition of a rollout but no annotation of it, and pods of two versions: `{}` shows both \
            ways out; then retry",
            goal.rescue_command()
        )));
    }
    Some(patch_or_wait(
        patch::remove_partition(live, &known.before.own),
        "the partition of a rollout that has ended is removed",
    ))
}

impl OrphanedPartition {
    pub(super) fn from_live(live: &StatefulSet) -> Self {
        Self {
            name: live.metadata.name.clone().unwrap_or_default(),
            partition: StatefulSettings::from_stateful_set(live).partition(),
        }
    }

    fn finish_command(&self) -> CommandLine {
        let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
        CommandLine::kubectl("patch statefulset")
            .arg(&self.name)
            .json_option("-p", &patch)
    }

    fn undo_command(&self) -> CommandLine {
        CommandLine::kubectl("rollout undo statefulset").arg(&self.name)
    }
}
