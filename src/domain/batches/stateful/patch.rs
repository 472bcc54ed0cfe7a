//! The patches of a StatefulSet, each with the resourceVersion it was made from: see [`super::super::patch`].

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

/// What of the spec a rollout writes itself, or nobody can.
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

/// The first patch: new template, what else the manifest says, where it stops, and what it takes to go back.
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

/// A later step.
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

/// What another hand has made again has settings of its own, unless it brought the rollout's with it.
pub(super) fn own_again(live: &StatefulSet, hand: &InHand<Written, Own>) -> Option<Own> {
    let own = Own::of(live);
    let brought = own.partition() == hand.latch.written.partition || is_on(live, &hand.latch);
    (hand.made_again && !brought).then_some(own)
}

/// A new attempt takes over: the approved template, and where it stops.
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

/// All is new: the user's own settings back, in one patch; what was replaced stays told.
pub(super) fn finalize(live: &StatefulSet, latch: &Latch<Written, Own>) -> Option<Value> {
    Edit::of(live)
        .stateful_own(&latch.after)
        .ended(&latch.ended())
        .patch()
}

/// Back: the old template *and* the user's settings, in one patch.
pub(super) fn revert(live: &StatefulSet, before: &Previous<Own>) -> Option<Value> {
    Edit::of(live)
        .stateful_own(&before.own)
        .reverted(before)
        .patch()
}

/// Back, where pods below the user's own partition are new: the controller is let down to them first. What was
/// replaced stays told, so that [`revert`] can end it.
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

/// A partition that no rollout needs any more comes off: the user's own settings, the template as it stands.
pub(super) fn free(live: &StatefulSet, own: &Own) -> Option<Value> {
    Edit::of(live)
        .stateful_own(own)
        .annotation(label::LATCH, None)
        .patch()
}

/// The manifest's words besides the template, where nothing is to be rolled.
pub(super) fn adjust(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    let mut edit = Edit::of(live);
    edit.manifest(manifest, &TAKEN)
        .stateful_own(&Own::of(live).overlaid(manifest));
    edit.spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

/// The replicas before a rollout begins, when the manifest asks for another number and nobody else scales.
pub(super) fn scale(live: &StatefulSet, manifest: &StatefulSet) -> Option<Value> {
    Edit::of(live)
        .spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

fn replicas(live: &StatefulSet, manifest: &StatefulSet) -> Option<i32> {
    let of = |s: &StatefulSet| s.spec.as_ref().and_then(|s| s.replicas);
    asked(&live.metadata, of(live), of(manifest))
}
