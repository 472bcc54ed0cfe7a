//! What Releases record about a rollout, besides the workload's own annotation.
//!
//! An annotation is no proof: `kubectl rollout undo` replaces all annotations with those of an
//! older ReplicaSet (none of graylane's, or those of a finished rollout), and anybody can remove
//! one. So a Release writes the same data into its own status before the first patch. Where the two
//! differ, somebody else changed the workload: this is reported, and the way back uses the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::{
    foreign::last_foreign_writer,
    goal::{Goal, RolloutAction},
    latch::{Latch, RolloutId},
};
use crate::{
    api::{RolloutRecord, RolloutState, Uid, label},
    domain::{command_line::CommandLine, text::Clean},
};

/// What Releases have recorded about one workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a> {
    /// Record of the Release in question, or if it has none, of the last Release before it.
    pub kept: Option<&'a RolloutRecord>,
    /// Uids of the other Releases that are not over.
    pub under_way: &'a [Uid],
}

/// Rollout of this Release that is in progress on a workload.
pub(super) struct ActiveRollout<W, O> {
    pub(super) latch: Latch<W, O>,
    /// What somebody else did to the annotation, or to the whole object; `None` when nothing.
    pub(super) foreign_change: Option<String>,
    /// The object was deleted and recreated under the same name.
    pub(super) made_again: bool,
    /// This same attempt was about to take it over again, or to restore it.
    pub(super) takes: bool,
}

impl Records<'_> {
    /// The recorded latch, whichever release began it.
    pub(super) fn parse_latch<W: DeserializeOwned, O: DeserializeOwned>(
        &self,
    ) -> Option<Latch<W, O>> {
        serde_json::from_str(&self.kept?.latch).ok()
    }

    /// Recorded latch of a rollout of this Release that has begun and is not reverted. If only the
    /// intention to begin or to restore it is recorded, the workload must also show it (`shows`):
    /// the patch may never have arrived, and somebody else may have changed the object since.
    pub(super) fn begun_latch<W, O>(
        &self,
        release_uid: &Uid,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
    ) -> Option<Latch<W, O>>
    where
        W: DeserializeOwned,
        O: DeserializeOwned,
    {
        let kept = self.kept?;
        let latch = self
            .parse_latch::<W, O>()
            .filter(|latch| latch.release_uid == *release_uid)?;
        match kept.state {
            RolloutState::Begun | RolloutState::Takes => Some(latch),
            RolloutState::Restores if kept.workload.uid.is_empty() => None,
            RolloutState::Begins | RolloutState::Restores => {
                shows(&latch, kept.state).then_some(latch)
            }
            RolloutState::Gone => None,
        }
    }

    /// Whether the object is not the one that the record is about.
    pub(super) fn is_recreated(&self, live: &ObjectMeta) -> bool {
        let known = |r: &&RolloutRecord| !r.workload.uid.is_empty();
        self.kept
            .filter(known)
            .is_some_and(|r| live.uid.is_some() && !r.workload.uid.is_of(live))
    }

    pub(super) fn is_under_way(&self, release_uid: &Uid) -> bool {
        self.under_way.contains(release_uid)
    }
}

/// Whether the rollout of this latch has finished on this workload, by its own last patch.
pub(super) fn has_ended<W, O>(live: &ObjectMeta, latch: &Latch<W, O>) -> bool {
    let is = |by: RolloutId| {
        by.release_uid == latch.release_uid && by.task == latch.task && by.attempt == latch.attempt
    };
    RolloutId::from_meta(live).is_some_and(is)
}

fn describe_other_release<W, O>(other: &Latch<W, O>, rescue: &CommandLine) -> String {
    format!(
        "it is half-way in release {} (task {}): finish or abort that one, or see `{rescue}`",
        Clean::from_untrusted(&other.release),
        Clean::from_untrusted(&other.task)
    )
}

fn describe_recreation(live: &ObjectMeta) -> String {
    let at = live
        .creation_timestamp
        .as_ref()
        .map(|t| format!(" at {}", t.0))
        .unwrap_or_default();
    format!(
        "somebody else deleted and recreated it{at}{}",
        describe_last_writer(live)
    )
}

/// `, last written by NAME at TIME`, as far as the server knows.
fn describe_last_writer(live: &ObjectMeta) -> String {
    match last_foreign_writer(live) {
        Some((by, Some(at))) => format!(", last written by {} at {at}", Clean::from_untrusted(&by)),
        Some((by, None)) => format!(", last written by {}", Clean::from_untrusted(&by)),
        None => String::new(),
    }
}

impl<M> Goal<'_, M> {
    /// Rollout of this Release in progress on the workload, if any; `Err` says why the Release may
    /// not touch it. `is_stale` says whether nothing on the workload agrees with the annotation of
    /// a release that is over; `shows` says whether the workload shows a rollout that is only
    /// recorded.
    pub(super) fn find_active_rollout<W, O>(
        &self,
        live: &ObjectMeta,
        is_stale: impl Fn(&Latch<W, O>) -> bool,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
    ) -> Result<Option<ActiveRollout<W, O>>, RolloutAction>
    where
        W: DeserializeOwned,
        O: DeserializeOwned,
    {
        let kept = self.records.begun_latch::<W, O>(self.release_uid, shows);
        let made_again = kept.is_some() && self.records.is_recreated(live);
        let takes =
            |r: &RolloutRecord| matches!(r.state, RolloutState::Takes | RolloutState::Restores);
        let takes = self.records.kept.is_some_and(takes);
        let again = || describe_recreation(live);
        let (latch, foreign_change) = match (Latch::<W, O>::from_meta(live), kept) {
            (Ok(Some(latch)), _) if latch.release_uid == *self.release_uid => {
                (latch, made_again.then(again))
            }
            (Ok(Some(other)), kept)
                if self.records.is_under_way(&other.release_uid)
                    || (kept.is_none() && !is_stale(&other)) =>
            {
                return Err(RolloutAction::Stop(describe_other_release(
                    &other,
                    &self.rescue_command(),
                )));
            }
            (Err(unreadable), None) => {
                return Err(RolloutAction::Stop(unreadable.to_string()));
            }
            (_, None) => return Ok(None),
            (_, Some(kept)) if has_ended(live, &kept) => return Ok(None),
            (_, Some(kept)) if made_again => (kept, Some(again())),
            (Ok(None), Some(kept)) => (
                kept,
                Some(format!(
                    "the rollout's annotation {} was removed{}",
                    label::LATCH,
                    describe_last_writer(live)
                )),
            ),
            (Ok(Some(other)), Some(kept)) => {
                let other = Clean::from_untrusted(&other.release);
                let words = format!(
                    "its annotation is that of release {other} again, as an undo leaves it"
                );
                (kept, Some(words + &describe_last_writer(live)))
            }
            (Err(unreadable), Some(kept)) => (kept, Some(unreadable.to_string())),
        };
        Ok(Some(ActiveRollout {
            latch,
            foreign_change,
            made_again,
            takes,
        }))
    }

    /// Stops because of what somebody else did, and says what a person can do about it.
    pub(super) fn stop_for_foreign_change(
        &self,
        change: &str,
        more: Option<String>,
    ) -> RolloutAction {
        let more = more.map(|more| format!("; {more}")).unwrap_or_default();
        let command = |verb| {
            CommandLine::graylane(verb)
                .arg(self.release)
                .option_if("-n", self.home)
        };
        RolloutAction::Stop(format!(
            "{change}{more}. The batches stop here: `{}` continues where the batches stand, `{}` brings back the old \
            version with your own settings",
            command("retry"),
            command("abort")
        ))
    }
}
