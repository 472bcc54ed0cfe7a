//! The patches: each one JSON merge patch from the live object to the one that is wanted, with the
//! resourceVersion it was made from.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    goal::Goal,
    latch::{Latch, Mode, NEVER, NO_DEADLINE, Own, Phase, Previous, Written},
    left::is_on,
    records::InHand,
    template,
};
use crate::{api::label, domain::observe::autoscaled};

/// What of a Deployment's spec a rollout writes itself, or nobody can.
const TAKEN: [&str; 7] = [
    "template",
    "replicas",
    "selector",
    "paused",
    "minReadySeconds",
    "progressDeadlineSeconds",
    "strategy",
];

/// An object being edited.
pub(super) struct Edit {
    before: Value,
    after: Value,
}

impl Edit {
    pub(super) fn of(live: &impl Serialize) -> Self {
        let before = serde_json::to_value(live).unwrap_or_default();
        Self {
            after: before.clone(),
            before,
        }
    }

    pub(super) fn spec(&mut self, key: &str, value: Option<Value>) -> &mut Self {
        put(&mut self.after, &["spec", key], value);
        self
    }

    pub(super) fn annotation(&mut self, key: &str, value: Option<String>) -> &mut Self {
        put(
            &mut self.after,
            &["metadata", "annotations", key],
            value.map(Value::String),
        );
        self
    }

    pub(super) fn own(&mut self, own: &Own) -> &mut Self {
        self.spec("minReadySeconds", own.min_ready_seconds.map(Value::from));
        self.spec(
            "progressDeadlineSeconds",
            own.progress_deadline_seconds.map(Value::from),
        );
        self.spec("strategy", own.strategy.clone())
    }

    /// The latch as its `written` says, and itself as annotation.
    pub(super) fn latch(&mut self, latch: &Latch) -> &mut Self {
        if latch.mode == Mode::Latched {
            self.spec("minReadySeconds", Some(NEVER.into()));
            self.spec("progressDeadlineSeconds", Some(NO_DEADLINE.into()));
            let rolling = latch.written.rolling();
            self.spec(
                "strategy",
                Some(json!({"type": "RollingUpdate", "rollingUpdate": rolling})),
            );
            self.spec(
                "paused",
                latch.written.paused().then_some(Value::Bool(true)),
            );
        }
        let text = serde_json::to_string(latch).ok();
        self.annotation(label::LATCH, text)
    }

    /// What a manifest says, but for these fields of its spec.
    pub(super) fn manifest(&mut self, manifest: &impl Serialize, taken: &[&str]) -> &mut Self {
        let wanted = serde_json::to_value(manifest).unwrap_or_default();
        for key in ["labels", "annotations"] {
            for (name, value) in wanted["metadata"][key].as_object().into_iter().flatten() {
                put(
                    &mut self.after,
                    &["metadata", key, name],
                    Some(value.clone()),
                );
            }
        }
        for (key, value) in wanted["spec"].as_object().into_iter().flatten() {
            if !taken.contains(&key.as_str()) {
                self.spec(key, Some(value.clone()));
            }
        }
        self
    }

    /// The rollout is over: the latch is off, and what was replaced stays told.
    pub(super) fn ended<O: Serialize>(&mut self, previous: &Previous<O>) -> &mut Self {
        self.annotation(label::LATCH, None)
            .annotation(label::PREVIOUS, serde_json::to_string(previous).ok())
    }

    /// What was replaced is back, and the rollout leaves no mark.
    pub(super) fn reverted<O>(&mut self, before: &Previous<O>) -> &mut Self {
        self.spec("template", Some(before.template.clone()));
        self.annotation(label::LATCH, None)
            .annotation(label::PREVIOUS, None);
        self.annotation(label::APPLIED, before.applied.clone())
    }

    /// The merge patch; none when nothing changes.
    pub(super) fn patch(&self) -> Option<Value> {
        let mut patch = template::diff(&self.before, &self.after)?;
        if let Some(version) = self.before.pointer("/metadata/resourceVersion") {
            put(
                &mut patch,
                &["metadata", "resourceVersion"],
                Some(version.clone()),
            );
        }
        Some(patch)
    }
}

fn put(object: &mut Value, path: &[&str], value: Option<Value>) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut at = object;
    for part in parents {
        if !at.get(*part).is_some_and(Value::is_object) {
            if value.is_none() {
                return;
            }
            at[*part] = Value::Object(Map::new());
        }
        at = &mut at[*part];
    }
    match value {
        Some(value) => at[*last] = value,
        None => {
            at.as_object_mut().map(|map| map.shift_remove(*last));
        }
    }
}

/// The first patch of a rollout: new template, what else the manifest says, and the latch (or none of it for a
/// Deployment that is rolled by its own strategy).
pub(super) fn begin(live: &Deployment, goal: &Goal, mode: Mode, written: Written) -> Option<Value> {
    let own = Own::of(live);
    let after = own.overlaid(goal.manifest);
    let wanted = template::of_deployment(goal.manifest);
    let templates = (template::of_deployment(live), &wanted);
    let latch = goal.begun(&live.metadata, templates, (own, after), (mode, written));
    let mut edit = Edit::of(live);
    edit.manifest(goal.manifest, &TAKEN)
        .spec("template", Some(wanted));
    if mode == Mode::Native {
        edit.own(&latch.after);
    }
    edit.latch(&latch).patch()
}

/// A later step behind the latch.
pub(super) fn step(
    live: &Deployment,
    latch: &Latch,
    written: Written,
    hash: Option<String>,
) -> Option<Value> {
    Edit::of(live).latch(&latch.stepped(written, hash)).patch()
}

/// The latch in the hands of a new attempt.
pub(super) fn in_hand_again(
    live: &Deployment,
    hand: &InHand<Written, Own>,
    goal: &Goal,
    written: Written,
) -> Latch {
    let mut latch = hand.latch.taken_over(goal.attempt, written);
    // What another hand has made again has settings of its own, unless it brought the latch with it.
    if hand.made_again && !is_on(live) {
        let (own, have) = (Own::of(live), template::of_deployment(live));
        latch.made_again(
            (own.overlaid(goal.manifest), own),
            have,
            &template::of_deployment(goal.manifest),
        );
    }
    latch
}

/// A new attempt takes over: the approved template and the latch's fields as they ought to be.
pub(super) fn take_over(
    live: &Deployment,
    hand: &InHand<Written, Own>,
    goal: &Goal,
    written: Written,
) -> Option<Value> {
    let latch = in_hand_again(live, hand, goal, written);
    let mut edit = Edit::of(live);
    edit.manifest(goal.manifest, &TAKEN)
        .spec("template", Some(template::of_deployment(goal.manifest)));
    if latch.mode == Mode::Native {
        edit.own(&latch.after).spec("paused", None);
    }
    edit.latch(&latch).patch()
}

/// All is new: the user's own settings back, unpaused, in one patch; what was replaced stays told.
pub(super) fn finalize(live: &Deployment, latch: &Latch) -> Option<Value> {
    Edit::of(live)
        .own(&latch.after)
        .spec("paused", None)
        .ended(&latch.ended())
        .patch()
}

/// Back: the old template *and* the user's settings, unpaused, in one patch.
pub(super) fn revert(live: &Deployment, before: &Previous) -> Option<Value> {
    Edit::of(live)
        .own(&before.own)
        .spec("paused", None)
        .reverted(before)
        .patch()
}

/// An annotation that nothing on the object agrees with comes off.
pub(super) fn unmark(live: &impl Serialize) -> Option<Value> {
    Edit::of(live).annotation(label::LATCH, None).patch()
}

/// A latch that nobody's rollout needs any more comes off: the user's own settings, the template as it stands.
pub(super) fn free(live: &Deployment, own: &Own) -> Option<Value> {
    Edit::of(live)
        .own(own)
        .spec("paused", None)
        .annotation(label::LATCH, None)
        .patch()
}

/// The manifest's words besides the template, where nothing is to be rolled.
pub(super) fn adjust(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    let mut edit = Edit::of(live);
    edit.manifest(manifest, &TAKEN)
        .own(&Own::of(live).overlaid(manifest));
    edit.spec("replicas", replicas(live, manifest).map(Value::from));
    edit.patch()
}

/// The replicas before a rollout begins, when the manifest asks for another number and nobody else scales.
pub(super) fn scale(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    Edit::of(live)
        .spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

fn replicas(live: &Deployment, manifest: &Deployment) -> Option<i32> {
    let of = |d: &Deployment| d.spec.as_ref().and_then(|s| s.replicas);
    asked(&live.metadata, of(live), of(manifest))
}

/// The replicas that are wanted: those of the manifest, unless it names none or somebody else scales.
pub(super) fn asked(live: &ObjectMeta, have: Option<i32>, manifest: Option<i32>) -> Option<i32> {
    if autoscaled(live) {
        have
    } else {
        manifest.or(have)
    }
}

impl Written {
    pub(super) fn hold(replicas: u32, at: u32, surge: u32) -> Self {
        Self {
            phase: Phase::Hold,
            replicas,
            from: at,
            to: at,
            surge,
        }
    }

    pub(super) fn retire(replicas: u32, from: u32, to: u32) -> Self {
        Self {
            phase: Phase::Retire,
            replicas,
            from,
            to,
            surge: 0,
        }
    }

    pub(super) fn surge(replicas: u32, from: u32, to: u32) -> Self {
        Self {
            phase: Phase::Surge,
            replicas,
            from,
            to,
            surge: 0,
        }
    }
}
