//! Patches of a rollout: each is one JSON merge patch from the live object to the wanted one, with
//! the resourceVersion it was made from.

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

/// Fields of a Deployment's spec that the rollout writes itself, or that are immutable.
const TAKEN: [&str; 7] = [
    "template",
    "replicas",
    "selector",
    "paused",
    "minReadySeconds",
    "progressDeadlineSeconds",
    "strategy",
];

/// Builds one merge patch by editing a copy of the live object.
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

    /// Sets the latch's fields as `written` says, and the latch itself as annotation.
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

    /// Takes over what the manifest says, except these fields of its spec.
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

    /// Ends the rollout: removes the latch, and keeps what was replaced in an annotation.
    pub(super) fn ended<O: Serialize>(&mut self, previous: &Previous<O>) -> &mut Self {
        self.annotation(label::LATCH, None)
            .annotation(label::PREVIOUS, serde_json::to_string(previous).ok())
    }

    /// Restores what was replaced, and removes all annotations of the rollout.
    pub(super) fn reverted<O>(&mut self, before: &Previous<O>) -> &mut Self {
        self.spec("template", Some(before.template.clone()));
        self.annotation(label::LATCH, None)
            .annotation(label::PREVIOUS, None);
        self.annotation(label::APPLIED, before.applied.clone())
    }

    /// The merge patch; `None` when nothing changes.
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

/// First patch of a rollout: new template, the rest of the manifest, and the latch (or only its
/// annotation for a Deployment that is rolled out by its own strategy).
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

/// Later step behind the latch.
pub(super) fn step(
    live: &Deployment,
    latch: &Latch,
    written: Written,
    hash: Option<String>,
) -> Option<Value> {
    Edit::of(live).latch(&latch.stepped(written, hash)).patch()
}

/// Latch taken over by a new attempt.
pub(super) fn in_hand_again(
    live: &Deployment,
    hand: &InHand<Written, Own>,
    goal: &Goal,
    written: Written,
) -> Latch {
    let mut latch = hand.latch.taken_over(goal.attempt, written);
    // An object that somebody recreated has its own settings, unless it came with the latch.
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

/// A new attempt takes over: sets the approved template and the latch's fields as they should be.
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

/// All pods are new: restores the user's own settings and resumes the Deployment, in one patch;
/// what was replaced stays in an annotation.
pub(super) fn finalize(live: &Deployment, latch: &Latch) -> Option<Value> {
    Edit::of(live)
        .own(&latch.after)
        .spec("paused", None)
        .ended(&latch.ended())
        .patch()
}

/// Back: restores the old template *and* the user's settings and resumes the Deployment, in one
/// patch.
pub(super) fn revert(live: &Deployment, before: &Previous) -> Option<Value> {
    Edit::of(live)
        .own(&before.own)
        .spec("paused", None)
        .reverted(before)
        .patch()
}

/// Removes an annotation that nothing on the object agrees with.
pub(super) fn unmark(live: &impl Serialize) -> Option<Value> {
    Edit::of(live).annotation(label::LATCH, None).patch()
}

/// Removes a latch that no rollout needs any more: restores the user's own settings, keeps the
/// template.
pub(super) fn free(live: &Deployment, own: &Own) -> Option<Value> {
    Edit::of(live)
        .own(own)
        .spec("paused", None)
        .annotation(label::LATCH, None)
        .patch()
}

/// Applies the rest of the manifest where the template is already the wanted one.
pub(super) fn adjust(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    let mut edit = Edit::of(live);
    edit.manifest(manifest, &TAKEN)
        .own(&Own::of(live).overlaid(manifest));
    edit.spec("replicas", replicas(live, manifest).map(Value::from));
    edit.patch()
}

/// Sets the replicas before a rollout begins, when the manifest asks for another number and nothing
/// else scales the workload.
pub(super) fn scale(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    Edit::of(live)
        .spec("replicas", replicas(live, manifest).map(Value::from))
        .patch()
}

fn replicas(live: &Deployment, manifest: &Deployment) -> Option<i32> {
    let of = |d: &Deployment| d.spec.as_ref().and_then(|s| s.replicas);
    asked(&live.metadata, of(live), of(manifest))
}

/// Wanted replicas: those of the manifest, unless it names none or something else scales the
/// workload.
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
