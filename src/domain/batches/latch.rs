//! Annotations of a workload during a rollout and after it. They are the same for every kind,
//! except for what was written last and which settings are the user's own.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{records::Records, template};

use crate::{
    api::{Amount, RolloutState, Uid, label},
    domain::command_line::CommandLine,
};

/// `minReadySeconds` that keeps new pods from ever becoming *available*.
pub const NEVER_AVAILABLE_SECONDS: i32 = 2_147_483_646;
/// Larger than `NEVER`, as validation requires; `i32::MAX` means no deadline.
pub const NO_DEADLINE_SECONDS: i32 = i32::MAX;

/// What the annotation [`label::LATCH`] says for every kind: whose rollout it is, and its batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutMark {
    /// Name of the Release.
    pub release: String,
    /// Uid of the Release.
    pub release_uid: Uid,
    /// Name of the deploy task.
    pub task: String,
    /// Batches of this rollout, fixed when it began.
    pub batches: Vec<Amount>,
    /// Pod template hash or revision of the new version, once it is known.
    pub hash: Option<String>,
}

/// The annotation [`label::LATCH`]; the default type parameters are those of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latch<W = LatchStep, O = DeploymentSettings> {
    /// Name of the Release.
    pub release: String,
    /// Uid of the Release.
    pub release_uid: Uid,
    /// Name of the deploy task.
    pub task: String,
    /// Attempt of the task that wrote last.
    pub attempt: u32,
    /// How the version is rolled out.
    #[serde(default)]
    pub mode: RolloutMode,
    /// Batches of this rollout, fixed when it began.
    pub batches: Vec<Amount>,
    /// Digest of the pod template that was approved and is being rolled out.
    pub template: String,
    /// `pod-template-hash` of the new version, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What the last patch wrote.
    pub written: W,
    /// Settings to leave behind when the rollout is done.
    pub after: O,
    /// What an abort restores.
    pub before: PreviousVersion<O>,
}

/// What a rollout replaced; also the annotation [`label::PREVIOUS`] that a finished rollout leaves
/// behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousVersion<O = DeploymentSettings> {
    /// Rollout that replaced it; only in the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RolloutId>,
    /// Settings before the rollout.
    pub own: O,
    /// Whole pod template.
    pub template: Value,
    /// [`label::APPLIED`] before the rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// Settings that the rollout left behind, which are the user's own until the next rollout; only
    /// in the annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<O>,
}

/// Identifies a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutId {
    /// Uid of the Release.
    pub release_uid: Uid,
    /// Name of the deploy task.
    pub task: String,
    /// Attempt of the task.
    pub attempt: u32,
}

/// The fields that the latch takes over, with the user's own values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSettings {
    /// `spec.minReadySeconds`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<i32>,
    /// `spec.progressDeadlineSeconds`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.strategy`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Value>,
}

/// How a version is rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutMode {
    /// In batches, held by the latch.
    #[default]
    Latched,
    /// All at once by the Deployment's own strategy: it is `Recreate`, or no pods run.
    Native,
}

/// The latch's own fields as last written. If they differ on the object, somebody else wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatchStep {
    /// Step of the table in the design.
    pub phase: LatchPhase,
    /// `spec.replicas` that the step was computed for.
    pub replicas: u32,
    /// New pods before the step.
    pub from: u32,
    /// New pods after the step.
    pub to: u32,
    /// Pods above the replicas that a hold tolerates: a paused Deployment is still scaled to what
    /// is allowed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub surge: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none(n: &u32) -> bool {
    *n == 0
}

/// Steps of the table in the design.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LatchPhase {
    /// (i) New pods start beside all old ones.
    Surge,
    /// (iii) The old pods that they replace are removed.
    Retire,
    /// (iv) The Deployment is paused.
    #[default]
    Hold,
}

/// An annotation that graylane wrote cannot be parsed any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the annotation {key} cannot be read: {reason}. Correct it; or restore by hand what it kept (strategy, \
    minReadySeconds, progressDeadlineSeconds, paused; of a StatefulSet updateStrategy) and remove it: `{}`",
    CommandLine::kubectl("annotate KIND NAME").arg(format!("{key}-"))
)]
pub struct AnnotationError {
    /// Key of the annotation.
    pub key: String,
    /// Message of the JSON parser.
    pub reason: String,
}

impl RolloutMark {
    /// Mark of a rollout in progress; `Err` when the annotation cannot be parsed.
    pub fn from_meta(meta: &ObjectMeta) -> Result<Option<Self>, AnnotationError> {
        read_annotation(meta, label::LATCH)
    }
}

impl RolloutId {
    /// Last rollout that finished on this workload.
    pub fn from_meta(meta: &ObjectMeta) -> Option<Self> {
        #[derive(Deserialize)]
        struct PreviousRollout {
            by: Option<RolloutId>,
        }
        read_annotation::<PreviousRollout>(meta, label::PREVIOUS)
            .ok()
            .flatten()?
            .by
    }
}

impl<W: DeserializeOwned, O: DeserializeOwned> Latch<W, O> {
    /// Latch of a workload; `Err` when the annotation cannot be parsed.
    pub fn from_meta(meta: &ObjectMeta) -> Result<Option<Self>, AnnotationError> {
        read_annotation(meta, label::LATCH)
    }
}

impl<W, O> Latch<W, O> {
    /// The mark of this latch: whose rollout it is, and its batches.
    pub(super) fn to_mark(&self) -> RolloutMark {
        RolloutMark {
            release: self.release.clone(),
            release_uid: self.release_uid.clone(),
            task: self.task.clone(),
            batches: self.batches.clone(),
            hash: self.hash.clone(),
        }
    }
}

impl<W: Clone, O: Clone> Latch<W, O> {
    /// Latch after a later step; the hash of the new version is kept once it is known.
    pub(super) fn with_step(&self, written: W, hash: Option<String>) -> Self {
        Self {
            written,
            hash: self.hash.clone().or(hash),
            ..self.clone()
        }
    }

    /// Latch taken over by a new attempt.
    pub(super) fn with_attempt(&self, attempt: u32, written: W) -> Self {
        Self {
            attempt,
            hash: None,
            written,
            ..self.clone()
        }
    }

    /// Updates the latch for a recreated object of the same name: its own settings, and its
    /// template unless that is already the new one.
    pub(super) fn update_for_recreated(
        &mut self,
        (after, own): (O, O),
        have: Value,
        wanted: &Value,
    ) {
        (self.after, self.before.own) = (after, own);
        if !template::is_same_template(&have, wanted) {
            self.before.template = have;
        }
    }

    /// What a finished rollout leaves behind.
    pub(super) fn to_previous(&self) -> PreviousVersion<O> {
        let by = RolloutId {
            release_uid: self.release_uid.clone(),
            task: self.task.clone(),
            attempt: self.attempt,
        };
        PreviousVersion {
            by: Some(by),
            left: Some(self.after.clone()),
            ..self.before.clone()
        }
    }
}

impl Latch {
    /// The user's `minReadySeconds` for the new version, in seconds.
    pub fn min_ready(&self) -> u32 {
        self.after.min_ready()
    }
}

impl<O: DeserializeOwned> PreviousVersion<O> {
    /// What the last finished rollout left behind.
    pub fn from_meta(meta: &ObjectMeta) -> Option<Self> {
        read_annotation(meta, label::PREVIOUS).ok().flatten()
    }

    /// What a rollout of this release replaced, in progress or finished: from the workload, or else
    /// from the record. `shows` says whether the workload shows a rollout that is only recorded,
    /// `latched` whether it still has the rollout's settings.
    pub(super) fn find_for_release<W: DeserializeOwned>(
        meta: &ObjectMeta,
        release_uid: &Uid,
        records: &Records,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
        latched: impl Fn(&Latch<W, O>) -> bool,
    ) -> Option<Self> {
        if let Some(latch) = Latch::<W, O>::from_meta(meta)
            .ok()
            .flatten()
            .filter(|l| l.release_uid == *release_uid)
        {
            return Some(latch.before);
        }
        // A recreated object belongs to whoever made it, unless it was made with the latch.
        let again = records.is_recreated(meta);
        let kept = records
            .begun_latch::<W, O>(release_uid, shows)
            .filter(|l| !again || latched(l));
        kept.map(|l| l.before)
            .or_else(|| Self::from_meta(meta).filter(|p| p.is_of_release(release_uid)))
    }

    /// Whether that rollout was one of this release.
    pub fn is_of_release(&self, release_uid: &Uid) -> bool {
        self.by
            .as_ref()
            .is_some_and(|by| by.release_uid == *release_uid)
    }
}

impl DeploymentSettings {
    /// Current settings of a Deployment.
    pub fn from_deployment(d: &Deployment) -> Self {
        let spec = d.spec.as_ref();
        Self {
            min_ready_seconds: spec.and_then(|s| s.min_ready_seconds),
            progress_deadline_seconds: spec.and_then(|s| s.progress_deadline_seconds),
            strategy: spec.and_then(|s| serde_json::to_value(s.strategy.as_ref()?).ok()),
        }
    }

    /// Settings with those of the manifest on top; what the manifest omits stays.
    #[must_use]
    pub fn overlay_manifest(&self, manifest: &Deployment) -> Self {
        let other = Self::from_deployment(manifest);
        Self {
            min_ready_seconds: other.min_ready_seconds.or(self.min_ready_seconds),
            progress_deadline_seconds: other
                .progress_deadline_seconds
                .or(self.progress_deadline_seconds),
            strategy: other.strategy.or_else(|| self.strategy.clone()),
        }
    }

    /// Seconds a pod must be Ready before it counts.
    pub fn min_ready(&self) -> u32 {
        to_seconds(self.min_ready_seconds)
    }

    /// Whether the strategy is `Recreate`.
    pub fn uses_recreate(&self) -> bool {
        self.strategy
            .as_ref()
            .is_some_and(|s| s["type"] == "Recreate")
    }

    /// The user's maxSurge and maxUnavailable in pods; surge rounds up, unavailable rounds down.
    pub fn surge_and_unavailable(&self, replicas: u32) -> (u32, u32) {
        let rolling = self.strategy.as_ref().map(|s| &s["rollingUpdate"]);
        let read = |key: &str, up: bool| match rolling.map(|r| &r[key]) {
            Some(Value::Number(n)) => n
                .as_u64()
                .map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            Some(Value::String(text)) => resolve_percent(text, replicas, up),
            _ => resolve_percent("25%", replicas, up),
        };
        let (surge, unavailable) = (read("maxSurge", true), read("maxUnavailable", false));
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }
}

fn resolve_percent(text: &str, replicas: u32, up: bool) -> u32 {
    let percent: u64 = text.trim().trim_end_matches('%').parse().unwrap_or(0);
    let product = percent.saturating_mul(u64::from(replicas));
    u32::try_from(if up {
        product.div_ceil(100)
    } else {
        product / 100
    })
    .unwrap_or(u32::MAX)
}

impl LatchStep {
    /// Value of `strategy.rollingUpdate`.
    pub fn rolling_update(&self) -> Value {
        match self.phase {
            LatchPhase::Surge => {
                json!({"maxSurge": self.allowed_surge(), "maxUnavailable": self.from})
            }
            // One of the two must not be 0; a paused Deployment without new pods removes nothing by
            // it.
            LatchPhase::Retire | LatchPhase::Hold => {
                json!({"maxSurge": self.allowed_surge(), "maxUnavailable": self.to.max(1)})
            }
        }
    }

    /// Pods above the replicas that the step allows.
    pub fn allowed_surge(&self) -> u32 {
        match self.phase {
            // The annotation may hold any numbers.
            LatchPhase::Surge => self.to.saturating_sub(self.from),
            LatchPhase::Retire => 0,
            LatchPhase::Hold => self.surge,
        }
    }

    /// Value of `spec.paused`.
    pub fn is_paused(&self) -> bool {
        self.phase == LatchPhase::Hold
    }
}

/// Seconds from an object's spec: a missing or negative value is 0.
pub(super) fn to_seconds(told: Option<i32>) -> u32 {
    told.map_or(0, |n| u32::try_from(n).unwrap_or(0))
}

fn read_annotation<T: DeserializeOwned>(
    meta: &ObjectMeta,
    key: &str,
) -> Result<Option<T>, AnnotationError> {
    let Some(text) = meta.annotations.as_ref().and_then(|a| a.get(key)) else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|e| AnnotationError {
            key: key.to_owned(),
            reason: e.to_string(),
        })
}
