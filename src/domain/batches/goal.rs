//! What a rollout is asked, what it answers, and what is the same for every kind: whose it is, and who else has it in hand.

use jiff::SignedDuration;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::Value;

use super::{
    foreign::applied,
    latch::{By, Latch, Mode, Previous},
    records::Records,
    template,
};
use crate::{
    api::{Amount, BatchPhase},
    domain::observe::{PodSeen, Side, writer},
};

/// What a rollout is to reach, and how far it may go now.
#[derive(Debug)]
pub struct Goal<'a, M = Deployment> {
    /// The whole object as rendered, with graylane's labels and annotations.
    pub manifest: &'a M,
    /// The Release's name.
    pub release: &'a str,
    /// Its uid.
    pub release_uid: &'a str,
    /// Its task.
    pub task: &'a str,
    /// The task's attempt.
    pub attempt: u32,
    /// The batches ([`super::batches`]).
    pub batches: &'a [Amount],
    /// The batch up to which it may go, from 1; 0: nothing may begin.
    pub upto: usize,
    /// Hold: no step but to pause where the latch stands open.
    pub hold: bool,
    /// Most pods above the replicas; none takes the Deployment's own maxSurge. A StatefulSet has none above them.
    pub surge: Option<Amount>,
    /// What Releases say of the workload.
    pub records: Records<'a>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// It is not there: apply the whole manifest, there is nothing to batch.
    Create,
    /// This merge patch; in words.
    Patch(Value, &'static str),
    /// This merge patch brings the old version back, for nothing of it runs any more; the batches begin anew after it.
    /// With it the latch as it is to be written down.
    Restore(Value, String),
    /// This pod goes: it is not Ready, it would be replaced, and while it stands in the way nothing is. In words.
    Delete(Box<PodSeen>, String),
    /// Nothing to do but to look again, at the latest then.
    Wait(String, Option<SignedDuration>),
    /// Exact, and held: the next batch is not allowed yet, or everything is held.
    Held,
    /// It cannot go on until a person does something.
    Stop(String),
    /// All is new and settled.
    Done,
}

/// How far a workload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods that the rollout is about.
    pub replicas: u32,
    /// Pods of the new version.
    pub new: u32,
    /// Of them, Ready for long enough.
    pub ready: u32,
    /// Pods of older versions.
    pub old: u32,
    /// Batches that are done.
    pub done: usize,
    /// What it is at.
    pub phase: BatchPhase,
}

impl<M> Clone for Goal<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Goal<'_, M> {}

impl<M> Goal<'_, M> {
    /// The same goal, of this manifest.
    pub fn of<'a, N>(&'a self, manifest: &'a N) -> Goal<'a, N> {
        let Goal {
            release,
            release_uid,
            task,
            attempt,
            batches,
            upto,
            hold,
            surge,
            records,
            ..
        } = *self;
        Goal {
            manifest,
            release,
            release_uid,
            task,
            attempt,
            batches,
            upto,
            hold,
            surge,
            records,
        }
    }

    /// The latch as a rollout begins: `have` is the live template, `wanted` that of the manifest.
    pub(super) fn begun<W, O>(
        &self,
        live: &ObjectMeta,
        (have, wanted): (Value, &Value),
        (own, after): (O, O),
        (mode, written): (Mode, W),
    ) -> Latch<W, O> {
        Latch {
            release: self.release.into(),
            release_uid: self.release_uid.into(),
            task: self.task.into(),
            attempt: self.attempt,
            mode,
            batches: self.batches.to_vec(),
            template: template::digest(wanted),
            hash: None,
            written,
            after,
            before: Previous {
                by: None,
                own,
                template: have,
                applied: applied(live).cloned(),
                left: None,
            },
        }
    }

    /// The template is another one though this very attempt had come to its end.
    pub(super) fn changed_since(&self, live: &ObjectMeta) -> Option<Move> {
        let by = By::of(live)?;
        let this = by.release_uid == self.release_uid
            && by.task == self.task
            && by.attempt == self.attempt;
        let who = writer(live, &["spec", "template"])
            .map_or(String::new(), |(by, _)| format!(" by {by}"));
        this.then(|| {
            Move::Stop(format!(
                "spec.template was changed{who} after this rollout had finished"
            ))
        })
    }
}

/// Who else drives this workload.
pub(super) fn driven(live: &ObjectMeta) -> Option<String> {
    let owner = live
        .owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true));
    if let Some(owner) = owner {
        return Some(format!(
            "it is owned by {} {}, which rolls it out: drive that one",
            owner.kind, owner.name
        ));
    }
    let (key, _) = live
        .annotations
        .iter()
        .flatten()
        .find(|(k, _)| k.starts_with("rollouts.kruise.io/"))?;
    Some(format!(
        "a Kruise Rollout has it in hand (annotation {key}): drive that one"
    ))
}

/// What is to be rolled is not what was approved when it began.
pub(super) fn not_approved() -> Move {
    Move::Stop(
        "the App's manifests or images changed while this rollout was under way, and nobody approved that: put them \
         back and retry, or abort and start a new release"
            .into(),
    )
}

pub(super) fn patched(patch: Option<Value>, words: &'static str) -> Move {
    match patch {
        Some(patch) => Move::Patch(patch, words),
        None => Move::Wait("waiting for the API server".into(), None),
    }
}

/// `2 of 4 new pods ready, waiting for NAME: CrashLoopBackOff …`
pub(super) fn waiting(side: &Side, want: u32, min_ready: u32) -> String {
    let ready = side.ready(min_ready);
    let pods = if want == 1 { "pod" } else { "pods" };
    let mut words = format!("{ready} of {want} new {pods} ready");
    if let Some(pod) = side.laggard() {
        words += &format!(", waiting for {}", pod.name);
        words.extend(pod.trouble.iter().map(|t| format!(": {t}")));
    } else if let Some(trouble) = side.trouble.as_ref().filter(|_| side.active() < want) {
        words += &format!(", and no more can be made: {trouble}");
    } else if min_ready > 0 && ready < want && side.next_ready(min_ready).is_some() {
        words += &format!(", each for {min_ready} s");
    }
    words
}

/// `web-2 …: CrashLoopBackOff …`
pub(super) fn settling(pod: &PodSeen, what: &str) -> String {
    let trouble = pod
        .trouble
        .as_ref()
        .map_or_else(String::new, |t| format!(" ({t})"));
    format!("{} {what}{trouble}", pod.name)
}
