//! What stands in a workload's annotations while a rollout is under way, and after it. Of each kind it says the same,
//! but for what was written last and which settings are its user's own.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{records::Records, template};

use crate::{
    api::{Amount, RolloutState, label},
    domain::command_line::CommandLine,
};

/// New pods are never *available* while this is their `minReadySeconds`.
pub const NEVER: i32 = 2_147_483_646;
/// More than `NEVER`, as validation asks; `i32::MAX` means no deadline.
pub const NO_DEADLINE: i32 = i32::MAX;

/// What the annotation [`label::LATCH`] says on every kind: whose rollout it is, and its batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The Release's name.
    pub release: String,
    /// Its uid.
    pub release_uid: String,
    /// Its task.
    pub task: String,
    /// The batches of this rollout, as they were when it began.
    pub batches: Vec<Amount>,
    /// The new version's hash, or revision, once it has one.
    pub hash: Option<String>,
}

/// The annotation [`label::LATCH`]; as its types stand, that of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latch<W = Written, O = Own> {
    /// The Release's name.
    pub release: String,
    /// Its uid.
    pub release_uid: String,
    /// Its task.
    pub task: String,
    /// The task's attempt that wrote last.
    pub attempt: u32,
    /// How the version is rolled.
    #[serde(default)]
    pub mode: Mode,
    /// The batches of this rollout, as they were when it began.
    pub batches: Vec<Amount>,
    /// Digest of the pod template that was approved and is being rolled out.
    pub template: String,
    /// The new version's `pod-template-hash`, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What the last patch wrote.
    pub written: W,
    /// The settings to leave behind when all is done.
    pub after: O,
    /// What an abort puts back.
    pub before: Previous<O>,
}

/// What a rollout replaced; also the annotation [`label::PREVIOUS`] that a finished one leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Previous<O = Own> {
    /// The Release whose rollout it was, and its attempt; for the annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// The settings.
    pub own: O,
    /// The whole pod template.
    pub template: Value,
    /// [`label::APPLIED`] as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// For the annotation: the settings that the rollout left, which are the user's own until the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<O>,
}

/// Which rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct By {
    /// The Release's uid.
    pub release_uid: String,
    /// Its task.
    pub task: String,
    /// The attempt.
    pub attempt: u32,
}

/// The fields that the latch takes, as the user wants them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Own {
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

/// How a version is rolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Behind the latch.
    #[default]
    Latched,
    /// By the Deployment's own strategy, at once: `Recreate`, or nothing runs.
    Native,
}

/// The latch's own fields as last written. Where they are not so any more, somebody else wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// Which step of the table.
    pub phase: Phase,
    /// `spec.replicas` that the step was made for.
    pub replicas: u32,
    /// New pods before the step.
    pub from: u32,
    /// New pods after it.
    pub to: u32,
    /// Pods above the replicas that a hold lets be: a paused Deployment is still scaled to what is allowed.
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

/// The steps of the table in the design.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// (i) New pods beside all old ones.
    Surge,
    /// (iii) The old pods they stand for go.
    Retire,
    /// (iv) Paused.
    #[default]
    Hold,
}

impl Mark {
    /// The mark of a rollout under way; an unreadable one is an error.
    pub fn of(meta: &ObjectMeta) -> Result<Option<Self>, String> {
        read(meta, label::LATCH)
    }
}

impl By {
    /// The rollout that has come to its end here.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        #[derive(Deserialize)]
        struct Told {
            by: Option<By>,
        }
        read::<Told>(meta, label::PREVIOUS).ok().flatten()?.by
    }
}

impl<W: DeserializeOwned, O: DeserializeOwned> Latch<W, O> {
    /// The latch of a workload; an unreadable one is an error.
    pub fn of(meta: &ObjectMeta) -> Result<Option<Self>, String> {
        read(meta, label::LATCH)
    }
}

impl<W, O> Latch<W, O> {
    /// Whose it is.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            release: self.release.clone(),
            release_uid: self.release_uid.clone(),
            task: self.task.clone(),
            batches: self.batches.clone(),
            hash: self.hash.clone(),
        }
    }
}

impl<W: Clone, O: Clone> Latch<W, O> {
    /// After a later step; the new version's hash is kept once it is known.
    pub(super) fn stepped(&self, written: W, hash: Option<String>) -> Self {
        Self {
            written,
            hash: self.hash.clone().or(hash),
            ..self.clone()
        }
    }

    /// In the hands of a new attempt.
    pub(super) fn taken_over(&self, attempt: u32, written: W) -> Self {
        Self {
            attempt,
            hash: None,
            written,
            ..self.clone()
        }
    }

    /// Of another object of the same name: its own settings, and its template unless that is the new one.
    pub(super) fn made_again(&mut self, (after, own): (O, O), have: Value, wanted: &Value) {
        (self.after, self.before.own) = (after, own);
        if !template::same(&have, wanted) {
            self.before.template = have;
        }
    }

    /// What a finished rollout leaves behind.
    pub(super) fn ended(&self) -> Previous<O> {
        let by = By {
            release_uid: self.release_uid.clone(),
            task: self.task.clone(),
            attempt: self.attempt,
        };
        Previous {
            by: Some(by),
            left: Some(self.after.clone()),
            ..self.before.clone()
        }
    }
}

impl Latch {
    /// The user's `minReadySeconds` for the new version.
    pub fn min_ready(&self) -> u32 {
        self.after.min_ready()
    }
}

impl<O: DeserializeOwned> Previous<O> {
    /// What the last finished rollout left behind.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        read(meta, label::PREVIOUS).ok().flatten()
    }

    /// What a release's rollout replaced, under way or finished: as the workload says, or else the record. `shows` tells
    /// of a rollout that is written down whether the workload shows it, `latched` whether it has its settings still.
    pub(super) fn before<W: DeserializeOwned>(
        meta: &ObjectMeta,
        release_uid: &str,
        records: &Records,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
        latched: impl Fn(&Latch<W, O>) -> bool,
    ) -> Option<Self> {
        if let Some(latch) = Latch::<W, O>::of(meta)
            .ok()
            .flatten()
            .filter(|l| l.release_uid == release_uid)
        {
            return Some(latch.before);
        }
        // Another object of the same name is its maker's, unless it was made with the latch.
        let again = records.made_again(meta);
        let kept = records
            .begun::<W, O>(release_uid, shows)
            .filter(|l| !again || latched(l));
        kept.map(|l| l.before)
            .or_else(|| Self::of(meta).filter(|p| p.is_by(release_uid)))
    }

    /// Whether that rollout was of this release.
    pub fn is_by(&self, release_uid: &str) -> bool {
        self.by
            .as_ref()
            .is_some_and(|by| by.release_uid == release_uid)
    }
}

impl Own {
    /// As a Deployment has them now.
    pub fn of(d: &Deployment) -> Self {
        let spec = d.spec.as_ref();
        Self {
            min_ready_seconds: spec.and_then(|s| s.min_ready_seconds),
            progress_deadline_seconds: spec.and_then(|s| s.progress_deadline_seconds),
            strategy: spec.and_then(|s| serde_json::to_value(s.strategy.as_ref()?).ok()),
        }
    }

    /// As a manifest wants them; what it does not name stays.
    pub fn overlaid(&self, manifest: &Deployment) -> Self {
        let other = Self::of(manifest);
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
        seconds(self.min_ready_seconds)
    }

    /// `strategy: Recreate`.
    pub fn recreates(&self) -> bool {
        self.strategy
            .as_ref()
            .is_some_and(|s| s["type"] == "Recreate")
    }

    /// The user's maxSurge and maxUnavailable in pods; surge rounds up, unavailable down.
    pub fn fences(&self, replicas: u32) -> (u32, u32) {
        let rolling = self.strategy.as_ref().map(|s| &s["rollingUpdate"]);
        let read = |key: &str, up: bool| match rolling.map(|r| &r[key]) {
            Some(Value::Number(n)) => n
                .as_u64()
                .map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
            Some(Value::String(text)) => share(text, replicas, up),
            _ => share("25%", replicas, up),
        };
        let (surge, unavailable) = (read("maxSurge", true), read("maxUnavailable", false));
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }
}

fn share(text: &str, replicas: u32, up: bool) -> u32 {
    let percent: u64 = text.trim().trim_end_matches('%').parse().unwrap_or(0);
    let product = percent.saturating_mul(u64::from(replicas));
    u32::try_from(if up {
        product.div_ceil(100)
    } else {
        product / 100
    })
    .unwrap_or(u32::MAX)
}

impl Written {
    /// `strategy.rollingUpdate`.
    pub fn rolling(&self) -> Value {
        match self.phase {
            Phase::Surge => json!({"maxSurge": self.above(), "maxUnavailable": self.from}),
            // One of the two must not be 0; a paused Deployment with nothing new takes nothing away by it.
            Phase::Retire | Phase::Hold => {
                json!({"maxSurge": self.above(), "maxUnavailable": self.to.max(1)})
            }
        }
    }

    /// Pods above the replicas that the step allows.
    pub fn above(&self) -> u32 {
        match self.phase {
            // An annotation may say anything.
            Phase::Surge => self.to.saturating_sub(self.from),
            Phase::Retire => 0,
            Phase::Hold => self.surge,
        }
    }

    /// `spec.paused`.
    pub fn paused(&self) -> bool {
        self.phase == Phase::Hold
    }
}

/// Seconds as an object's spec has them: what is not there is none.
pub(super) fn seconds(told: Option<i32>) -> u32 {
    told.map_or(0, |n| u32::try_from(n).unwrap_or(0))
}

fn read<T: DeserializeOwned>(meta: &ObjectMeta, key: &str) -> Result<Option<T>, String> {
    let Some(text) = meta.annotations.as_ref().and_then(|a| a.get(key)) else {
        return Ok(None);
    };
    serde_json::from_str(text).map(Some).map_err(|e| {
        format!(
            "the annotation {key} cannot be read: {e}. Put it right; or set by hand what it kept (strategy, \
             minReadySeconds, progressDeadlineSeconds, paused; of a StatefulSet updateStrategy) and take it off: `{}`",
            CommandLine::kubectl("annotate KIND NAME").arg(format!("{key}-"))
        )
    })
}
