//! Patches of a rollout: each is one JSON merge patch from the live object to the wanted one, with
//! the resourceVersion it was made from.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    goal::Goal,
    latch::{
        DeploymentSettings, Latch, LatchPhase, LatchStep, NEVER_AVAILABLE_SECONDS,
        NO_DEADLINE_SECONDS, PreviousVersion, RolloutMode,
    },
    orphaned::is_latch_on,
    records::ActiveRollout,
    template,
};
use crate::{api::label, domain::observe::is_autoscaled};

/// Fields of a Deployment's spec that the rollout writes itself, or that are immutable.
const ROLLOUT_FIELDS: [&str; 7] = [
    "template",
    "replicas",
    "selector",
    "paused",
    "minReadySeconds",
    "progressDeadlineSeconds",
    "strategy",
];

/// Builds one merge patch by editing a copy of the live object.
pub(super) struct PatchBuilder {
    before: Value,
    after: Value,
}

impl PatchBuilder {
    pub(super) fn from_live(live: &impl Serialize) -> Self {
        let before = serde_json::to_value(live).unwrap_or_default();
        Self {
            after: before.clone(),
            before,
        }
    }

    pub(super) fn set_spec(&mut self, key: &str, value: Option<Value>) -> &mut Self {
        set_path(&mut self.after, &["spec", key], value);
        self
    }

    pub(super) fn set_annotation(&mut self, key: &str, value: Option<String>) -> &mut Self {
        set_path(
            &mut self.after,
            &["metadata", "annotations", key],
            value.map(Value::String),
        );
        self
    }

    pub(super) fn set_settings(&mut self, own: &DeploymentSettings) -> &mut Self {
        self.set_spec("minReadySeconds", own.min_ready_seconds.map(Value::from));
        self.set_spec(
            "progressDeadlineSeconds",
            own.progress_deadline_seconds.map(Value::from),
        );
        self.set_spec("strategy", own.strategy.clone())
    }

    /// Sets the latch's fields as `written` says, and the latch itself as annotation.
    pub(super) fn set_latch(&mut self, latch: &Latch) -> &mut Self {
        if latch.mode == RolloutMode::Latched {
            self.set_spec("minReadySeconds", Some(NEVER_AVAILABLE_SECONDS.into()));
            self.set_spec("progressDeadlineSeconds", Some(NO_DEADLINE_SECONDS.into()));
            let rolling = latch.written.rolling_update();
            self.set_spec(
                "strategy",
                Some(json!({"type": "RollingUpdate", "rollingUpdate": rolling})),
            );
            self.set_spec(
                "paused",
                latch.written.is_paused().then_some(Value::Bool(true)),
            );
        }
        let text = serde_json::to_string(latch).ok();
        self.set_annotation(label::LATCH, text)
    }

    /// Takes over what the manifest says, except these fields of its spec.
    pub(super) fn merge_manifest(
        &mut self,
        manifest: &impl Serialize,
        taken: &[&str],
    ) -> &mut Self {
        let wanted = serde_json::to_value(manifest).unwrap_or_default();
        for key in ["labels", "annotations"] {
            for (name, value) in wanted["metadata"][key].as_object().into_iter().flatten() {
                set_path(
                    &mut self.after,
                    &["metadata", key, name],
                    Some(value.clone()),
                );
            }
        }
        for (key, value) in wanted["spec"].as_object().into_iter().flatten() {
            if !taken.contains(&key.as_str()) {
                self.set_spec(key, Some(value.clone()));
            }
        }
        self
    }

    /// Ends the rollout: removes the latch, and keeps what was replaced in an annotation.
    pub(super) fn end_rollout<O: Serialize>(&mut self, previous: &PreviousVersion<O>) -> &mut Self {
        self.set_annotation(label::LATCH, None)
            .set_annotation(label::PREVIOUS, serde_json::to_string(previous).ok())
    }

    /// Restores what was replaced, and removes all annotations of the rollout.
    pub(super) fn restore_template<O>(&mut self, before: &PreviousVersion<O>) -> &mut Self {
        self.set_spec("template", Some(before.template.clone()));
        self.set_annotation(label::LATCH, None)
            .set_annotation(label::PREVIOUS, None);
        self.set_annotation(label::APPLIED, before.applied.clone())
    }

    /// The merge patch; `None` when nothing changes.
    pub(super) fn build_patch(&self) -> Option<Value> {
        let mut patch = template::make_merge_patch(&self.before, &self.after)?;
        if let Some(version) = self.before.pointer("/metadata/resourceVersion") {
            set_path(
                &mut patch,
                &["metadata", "resourceVersion"],
                Some(version.clone()),
            );
        }
        Some(patch)
    }
}

fn set_path(object: &mut Value, path: &[&str], value: Option<Value>) {
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
pub(super) fn begin_rollout(
    live: &Deployment,
    goal: &Goal,
    mode: RolloutMode,
    written: LatchStep,
) -> Option<Value> {
    let own = DeploymentSettings::from_deployment(live);
    let after = own.overlay_manifest(goal.manifest);
    let wanted = template::of_deployment(goal.manifest);
    let templates = (template::of_deployment(live), &wanted);
    let latch = goal.initial_latch(&live.metadata, templates, (own, after), (mode, written));
    let mut edit = PatchBuilder::from_live(live);
    edit.merge_manifest(goal.manifest, &ROLLOUT_FIELDS)
        .set_spec("template", Some(wanted));
    if mode == RolloutMode::Native {
        edit.set_settings(&latch.after);
    }
    edit.set_latch(&latch).build_patch()
}

/// Later step behind the latch.
pub(super) fn write_step(
    live: &Deployment,
    latch: &Latch,
    written: LatchStep,
    hash: Option<String>,
) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_latch(&latch.with_step(written, hash))
        .build_patch()
}

/// Latch taken over by a new attempt.
pub(super) fn take_over_latch(
    live: &Deployment,
    rollout: &ActiveRollout<LatchStep, DeploymentSettings>,
    goal: &Goal,
    written: LatchStep,
) -> Latch {
    let mut latch = rollout.latch.with_attempt(goal.attempt, written);
    // An object that somebody recreated has its own settings, unless it came with the latch.
    if rollout.made_again && !is_latch_on(live) {
        let (own, have) = (
            DeploymentSettings::from_deployment(live),
            template::of_deployment(live),
        );
        latch.update_for_recreated(
            (own.overlay_manifest(goal.manifest), own),
            have,
            &template::of_deployment(goal.manifest),
        );
    }
    latch
}

/// A new attempt takes over: sets the approved template and the latch's fields as they should be.
pub(super) fn take_over(
    live: &Deployment,
    rollout: &ActiveRollout<LatchStep, DeploymentSettings>,
    goal: &Goal,
    written: LatchStep,
) -> Option<Value> {
    let latch = take_over_latch(live, rollout, goal, written);
    let mut edit = PatchBuilder::from_live(live);
    edit.merge_manifest(goal.manifest, &ROLLOUT_FIELDS)
        .set_spec("template", Some(template::of_deployment(goal.manifest)));
    if latch.mode == RolloutMode::Native {
        edit.set_settings(&latch.after).set_spec("paused", None);
    }
    edit.set_latch(&latch).build_patch()
}

/// All pods are new: restores the user's own settings and resumes the Deployment, in one patch;
/// what was replaced stays in an annotation.
pub(super) fn finish_rollout(live: &Deployment, latch: &Latch) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_settings(&latch.after)
        .set_spec("paused", None)
        .end_rollout(&latch.to_previous())
        .build_patch()
}

/// Back: restores the old template *and* the user's settings and resumes the Deployment, in one
/// patch.
pub(super) fn revert(live: &Deployment, before: &PreviousVersion) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_settings(&before.own)
        .set_spec("paused", None)
        .restore_template(before)
        .build_patch()
}

/// Removes an annotation that nothing on the object agrees with.
pub(super) fn remove_mark(live: &impl Serialize) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_annotation(label::LATCH, None)
        .build_patch()
}

/// Removes a latch that no rollout needs any more: restores the user's own settings, keeps the
/// template.
pub(super) fn remove_latch(live: &Deployment, own: &DeploymentSettings) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_settings(own)
        .set_spec("paused", None)
        .set_annotation(label::LATCH, None)
        .build_patch()
}

/// Applies the rest of the manifest where the template is already the wanted one.
pub(super) fn sync_other_fields(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    let mut edit = PatchBuilder::from_live(live);
    edit.merge_manifest(manifest, &ROLLOUT_FIELDS)
        .set_settings(&DeploymentSettings::from_deployment(live).overlay_manifest(manifest));
    edit.set_spec("replicas", wanted_replicas(live, manifest).map(Value::from));
    edit.build_patch()
}

/// Sets the replicas before a rollout begins, when the manifest asks for another number and nothing
/// else scales the workload.
pub(super) fn scale(live: &Deployment, manifest: &Deployment) -> Option<Value> {
    PatchBuilder::from_live(live)
        .set_spec("replicas", wanted_replicas(live, manifest).map(Value::from))
        .build_patch()
}

fn wanted_replicas(live: &Deployment, manifest: &Deployment) -> Option<i32> {
    let of = |d: &Deployment| d.spec.as_ref().and_then(|s| s.replicas);
    choose_replicas(&live.metadata, of(live), of(manifest))
}

/// Wanted replicas: those of the manifest, unless it names none or something else scales the
/// workload.
pub(super) fn choose_replicas(
    live: &ObjectMeta,
    have: Option<i32>,
    manifest: Option<i32>,
) -> Option<i32> {
    if is_autoscaled(live) {
        have
    } else {
        manifest.or(have)
    }
}

impl LatchStep {
    pub(super) fn hold(replicas: u32, at: u32, surge: u32) -> Self {
        Self {
            phase: LatchPhase::Hold,
            replicas,
            from: at,
            to: at,
            surge,
        }
    }

    pub(super) fn retire(replicas: u32, from: u32, to: u32) -> Self {
        Self {
            phase: LatchPhase::Retire,
            replicas,
            from,
            to,
            surge: 0,
        }
    }

    pub(super) fn surge(replicas: u32, from: u32, to: u32) -> Self {
        Self {
            phase: LatchPhase::Surge,
            replicas,
            from,
            to,
            surge: 0,
        }
    }
}
