//! Patches of a StatefulSet, each with the resourceVersion it was made from: see
//! [`super::super::patch`].

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use super::{
    super::{
        goal::Goal,
        latch::{By, Latch, Mode, Previous},
        patch::{Edit, asked},
        records::InHand,
        template,
    },
    left::is_on,
    own::{Own, Written},
};
use crate::api::label;

/// Fields of the spec that the rollout writes itself, or that are immutable.
const TAKEN: [&str; 8] = [
    "template",
    "replicas",
    "selector",
    "serviceName",
    "podManagementPolicy",
    "volumeClaimTemplates",
    "updateStrategy",
    "ordinals",
];

impl Edit {
    fn stateful_own(&mut self, own: &Own) -> &mut Self {
        self.spec("minReadySeconds", own.min_ready_seconds.map(Value::from));
        self.spec("updateStrategy", own.update_strategy.clone())
    }

    fn stateful_latch(&mut self, latch: &Latch<Written, Own>) -> &mut Self {
        self.spec(
            "minReadySeconds",
            latch.after.min_ready_seconds.map(Value::from),
        );
        self.spec(
            "updateStrategy",
            Some(latch.after.stopping_at(latch.written.partition)),
        );
        self.annotation(label::LATCH, serde_json::to_string(latch).ok())
    }
}

/// First patch: new template, the rest of the manifest, the partition, and what is needed to go
/// back.
pub(super) fn begin(
    live: &StatefulSet,
    goal: &Goal<StatefulSet>,
    written: Written,
) -> Option<Value> {
    let own = Own::of(live);
    let after = own.overlaid(goal.manifest);
    let wanted = template::of_stateful(goal.manifest);
    let templates = (template::of_stateful(live), &wanted);
    let latch = goal.begun(
        &live.metadata,
        templates,
        (own, after),
        (Mode::Latched, written),
    );
    Edit::of(live)
        .manifest(goal.manifest, &TAKEN)
        .spec("template", Some(wanted))
        .stateful_latch(&latch)
        .patch()
}

/// Later step of the rollout.
pub(super) fn step(
    live: &StatefulSet,
    latch: &Latch<Written, Own>,
    written: Written,
    hash: Option<String>,
) -> Option<Value> {
    Edit::of(live)
        .stateful_latch(&latch.stepped(written, hash))
        .patch()
}

/// Own settings of an object that somebody recreated; `None` when it came with the rollout's
/// settings.
pub(super) fn own_again(live: &StatefulSet, hand: &InHand<Written, Own>) -> Option<Own> {
    let own = Own::of(live);
    let brought = own.partition() == hand.latch.written.partition || is_on(live, &hand.latch);
    (hand.made_again && !brought).then_some(own)
}

/// A new attempt takes over: sets the approved template and the partition.
pub(super) fn take_over(
    live: &StatefulSet,
    hand: &InHand<Written, Own>,
    goal: &Goal<StatefulSet>,
    written: Written,
) -> Option<Value> {
    let mut latch = hand.latch.taken_over(goal.attempt, written);
    let wanted = template::of_stateful(goal.manifest);
    if let Some(own) = own_again(live, hand) {
        latch.made_again(
            (own.overlaid(goal.manifest), own),
            template::of_stateful(live),
            &wanted,
        );
    }
    Edit::of(live)
        .manifest(goal.manifest, &TAKEN)
        .spec("template", Some(wanted))
        .stateful_latch(&latch)
        .patch()
}

/// All pods are new: restores the user's own settings in one patch; what was replaced stays in an
/// annotation.
pub(super) fn finalize(live: &StatefulSet, latch: &Latch<Written, Own>) -> Option<Value> {
    Edit::of(live)
        .stateful_own(&latch.after)
        .ended(&latch.ended())
        .patch()
}

/// Back: restores the old template *and* the user's settings in one patch.
pub(super) fn revert(live: &StatefulSet, before: &Previous<Own>) -> Option<Value> {
    Edit::of(live)
        .stateful_own(&before.own)
        .reverted(before)
        .patch()
}

/// Back, where pods below the user's own partition are new: the partition goes down to them first.
/// What was replaced stays in an annotation, so that [`revert`] can finish.
pub(super) fn revert_down_to(
    live: &StatefulSet,
    before: &Previous<Own>,
    release_uid: &str,
    partition: u32,
) -> Option<Value> {
    let own = Own {
        update_strategy: Some(before.own.stopping_at(partition)),
        ..before.own.clone()
    };
    let by = before.by.clone().unwrap_or_else(|| By {
        release_uid: release_uid.into(),
        ..By::default()
    });
    let told = Previous {
        by: Some(by),
        ..before.clone()
    };
    Edit::of(live)
        .stateful_own(&own)
        .reverted(before)
        .ended(&told)
        .patch()
}

/// Removes a partition that no rollout needs any more: restores the user's own settings, keeps the
/// template.
pub(super) fn free(live: &StatefulSet, own: &Own) -> Option<Value> {
    Edit::of(live)
        .stateful_own(own)
        .annotation(label::LATCH, None)
        .patch()
}

/// Applies the rest of the manifest where the template is already the wanted one.
pub(super) fn adjust(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    let mut edit = Edit::of(live);
    edit.manifest(manifest, &TAKEN)
        .stateful_own(&Own::of(live).overlaid(manifest));
    edit.spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

/// Sets the replicas before a rollout begins, when the manifest asks for another number and nothing
/// else scales the workload.
pub(super) fn scale(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    Edit::of(live)
        .spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

fn replicas(live: &StatefulSet, manifest: &StatefulSet) -> Option<i32> {
    let of = |s: &StatefulSet| s.spec.as_ref().and_then(|s| s.replicas);
    asked(&live.metadata, of(live), of(manifest))
}
