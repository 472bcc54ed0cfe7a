//! Input and output of a rollout step, and what is the same for every kind of workload: ownership,
//! and other controllers that roll it out.

use jiff::SignedDuration;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::Value;

use super::{
    foreign::applied_digest,
    latch::{Latch, PreviousVersion, RolloutId, RolloutMode},
    records::Records,
    template,
};
use crate::{
    api::{Amount, BatchPhase, Uid},
    domain::{
        command_line::CommandLine,
        observe::{PodSeen, VersionPods, last_writer},
        text::format_count,
    },
};

/// What a rollout is to reach, and how far it may go now.
#[derive(Debug)]
pub struct Goal<'a, M = Deployment> {
    /// Whole object as rendered, with graylane's labels and annotations.
    pub manifest: &'a M,
    /// Name of the Release.
    pub release: &'a str,
    /// Namespace of the Release, where it is known.
    pub home: Option<&'a str>,
    /// Uid of the Release.
    pub release_uid: &'a Uid,
    /// Name of the deploy task.
    pub task: &'a str,
    /// Attempt of the task.
    pub attempt: u32,
    /// Batches of the rollout ([`super::plan_batches`]).
    pub batches: &'a [Amount],
    /// Batch up to which it may go, from 1; with 0 it may not begin.
    pub upto: usize,
    /// Hold: take no step except pausing where the latch is open.
    pub hold: bool,
    /// Most pods above the replicas; `None` uses the Deployment's own maxSurge. A StatefulSet has
    /// no pods above its replicas.
    pub surge: Option<Amount>,
    /// What Releases have recorded about the workload.
    pub records: Records<'a>,
}

/// Next action of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum RolloutAction {
    /// The workload does not exist: apply the whole manifest; there is nothing to batch.
    Create,
    /// Send this merge patch; the text says what it does.
    Patch(Value, &'static str),
    /// Send this merge patch, which restores the old version because none of its pods run any more;
    /// the batches start over afterwards. The string is the latch to record.
    Restore(Value, String),
    /// Delete this pod: it is not Ready, it is to be replaced anyway, and it blocks everything
    /// else. The text says why.
    Delete(Box<PodSeen>, String),
    /// Nothing to do but wait for what the text says; look again after that time at the latest.
    Wait(String, Option<SignedDuration>),
    /// Exactly at a batch, and held: the next batch is not allowed yet, or everything is held.
    Held,
    /// It cannot continue until a person does something; the text says why.
    Stop(String),
    /// All pods are new and settled.
    Done,
}

/// Progress of the rollout of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of pods that the rollout covers.
    pub replicas: u32,
    /// Pods of the new version.
    pub new: u32,
    /// New pods that have been Ready for `minReadySeconds`.
    pub ready: u32,
    /// Pods of older versions.
    pub old: u32,
    /// Number of finished batches.
    pub done: usize,
    /// Phase of the current batch.
    pub phase: BatchPhase,
}

impl<M> Clone for Goal<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Goal<'_, M> {}

impl<'a, M> Goal<'a, M> {
    /// Same goal with another manifest.
    pub fn with_manifest<'b, N>(self, manifest: &'b N) -> Goal<'b, N>
    where
        'a: 'b,
    {
        let Goal {
            release,
            home,
            release_uid,
            task,
            attempt,
            batches,
            upto,
            hold,
            surge,
            records,
            ..
        } = self;
        Goal {
            manifest,
            release,
            home,
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

    /// Same goal for a workload of which this is recorded.
    pub fn with_records<'b>(self, records: Records<'b>) -> Goal<'b, M>
    where
        'a: 'b,
    {
        Goal { records, ..self }
    }

    /// Command that shows the ways out of rollouts that are half-way.
    pub(super) fn rescue_command(&self) -> CommandLine {
        CommandLine::graylane("rescue").option_if("-n", self.home)
    }

    /// Initial latch of a rollout: `have` is the live template, `wanted` that of the manifest.
    pub(super) fn initial_latch<W, O>(
        &self,
        live: &ObjectMeta,
        (have, wanted): (Value, &Value),
        (own, after): (O, O),
        (mode, written): (RolloutMode, W),
    ) -> Latch<W, O> {
        Latch {
            release: self.release.into(),
            release_uid: self.release_uid.clone(),
            task: self.task.into(),
            attempt: self.attempt,
            mode,
            batches: self.batches.to_vec(),
            template: template::short_digest(wanted),
            hash: None,
            written,
            after,
            before: PreviousVersion {
                by: None,
                own,
                template: have,
                applied: applied_digest(live).cloned(),
                left: None,
            },
        }
    }

    /// Stops when the template was changed after this same attempt had finished.
    pub(super) fn check_not_changed_after_end(
        &self,
        live: &ObjectMeta,
    ) -> Result<(), RolloutAction> {
        let is_this = |by: RolloutId| {
            by.release_uid == *self.release_uid
                && by.task == self.task
                && by.attempt == self.attempt
        };
        if !RolloutId::from_meta(live).is_some_and(is_this) {
            return Ok(());
        }
        let who = last_writer(live, &["spec", "template"])
            .map_or(String::new(), |(by, _)| format!(" by {by}"));
        Err(RolloutAction::Stop(format!(
            "spec.template was changed{who} after this rollout had finished"
        )))
    }
}

/// Describes who else rolls out this workload.
pub(super) fn find_other_driver(live: &ObjectMeta) -> Option<String> {
    let owner = live
        .owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true));
    if let Some(owner) = owner {
        return Some(format!(
            "it is owned by {} {}, which rolls it out: release through that one",
            owner.kind, owner.name
        ));
    }
    let (key, _) = live
        .annotations
        .iter()
        .flatten()
        .find(|(k, _)| k.starts_with("rollouts.kruise.io/"))?;
    Some(format!(
        "a Kruise Rollout manages it (annotation {key}): release through that one"
    ))
}

/// What is to be rolled out is not what was approved when the rollout began.
pub(super) fn not_approved() -> RolloutAction {
    RolloutAction::Stop(
        "the App's manifests or images changed during this rollout, and nobody approved that: change them back and \
        retry, or abort and start a new release"
            .into(),
    )
}

pub(super) fn patch_or_wait(patch: Option<Value>, words: &'static str) -> RolloutAction {
    match patch {
        Some(patch) => RolloutAction::Patch(patch, words),
        None => RolloutAction::Wait("waiting for the API server".into(), None),
    }
}

/// `2 of 4 new pods ready, waiting for NAME: CrashLoopBackOff …`
pub(super) fn describe_readiness(side: &VersionPods, want: u32, min_ready: u32) -> String {
    let ready = side.ready_pods(min_ready);
    let mut words = format!("{ready} of {} ready", format_count(want, "new pod"));
    if let Some(pod) = side.first_unready() {
        words += &format!(", waiting for {}", pod.name);
        words.extend(pod.trouble.iter().map(|t| format!(": {t}")));
    } else if let Some(trouble) = side.trouble.as_ref().filter(|_| side.active_pods() < want) {
        words += &format!(", and no more can be created: {trouble}");
    } else if min_ready > 0 && ready < want && side.next_ready(min_ready).is_some() {
        words += &format!(", each for {min_ready} s");
    }
    words
}

/// `web-2 WHAT (CrashLoopBackOff …)`
pub(super) fn describe_pod(pod: &PodSeen, what: &str) -> String {
    let trouble = pod
        .trouble
        .as_ref()
        .map_or_else(String::new, |t| format!(" ({t})"));
    format!("{} {what}{trouble}", pod.name)
}
