//! What Releases keep of a rollout beside the workload's own annotation.
//!
//! An annotation is no proof: `kubectl rollout undo` puts those of an older ReplicaSet in the place of all (none of ours,
//! or those of a rollout long over), and anybody can take one off. So a Release writes the same into its own status before
//! the first patch. Where the two differ another hand was at work: that is told, and the way back goes by the record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::{
    foreign::newest_hand,
    goal::{Goal, Move},
    latch::{By, Latch},
};
use crate::{
    api::{RolloutRecord, RolloutState, label},
    domain::{command_line::CommandLine, text::Clean},
};

/// What Releases say of one workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records<'a> {
    /// The record of the Release in question, or where it has none of the last one before it.
    pub kept: Option<&'a RolloutRecord>,
    /// Uids of the other Releases that are not over.
    pub under_way: &'a [&'a str],
}

/// A rollout that this Release has in hand.
pub(super) struct InHand<W, O> {
    pub(super) latch: Latch<W, O>,
    /// In words, what another hand did to the annotation, or to the whole object.
    pub(super) hand: Option<String>,
    /// The object is another one of the same name.
    pub(super) made_again: bool,
    /// This very attempt was about to take it in hand again, or to bring it back.
    pub(super) takes: bool,
}

impl Records<'_> {
    /// What is kept, whoever began it.
    pub(super) fn latch<W: DeserializeOwned, O: DeserializeOwned>(&self) -> Option<Latch<W, O>> {
        serde_json::from_str(&self.kept?.latch).ok()
    }

    /// What is kept of a rollout of this Release that has begun, and is not brought back: where it is only written down
    /// that it begins, or that the same object is brought back, the workload `shows` it. The patch may never have come
    /// there, and another hand may have been at it before the next look.
    pub(super) fn begun<W, O>(
        &self,
        release_uid: &str,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
    ) -> Option<Latch<W, O>>
    where
        W: DeserializeOwned,
        O: DeserializeOwned,
    {
        let kept = self.kept?;
        let latch = self
            .latch::<W, O>()
            .filter(|latch| latch.release_uid == release_uid)?;
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
    pub(super) fn made_again(&self, live: &ObjectMeta) -> bool {
        let uid = |r: &&RolloutRecord| !r.workload.uid.is_empty();
        self.kept
            .filter(uid)
            .is_some_and(|r| live.uid.as_ref().is_some_and(|uid| *uid != r.workload.uid))
    }

    pub(super) fn is_under_way(&self, release_uid: &str) -> bool {
        self.under_way.contains(&release_uid)
    }
}

/// The rollout of this latch has come to its end here, by its own last patch.
pub(super) fn has_ended<W, O>(live: &ObjectMeta, latch: &Latch<W, O>) -> bool {
    let is = |by: By| {
        by.release_uid == latch.release_uid && by.task == latch.task && by.attempt == latch.attempt
    };
    By::of(live).is_some_and(is)
}

/// `, last written by NAME at TIME`, as far as the server knows.
fn written_by(live: &ObjectMeta) -> String {
    match newest_hand(live) {
        Some((by, Some(at))) => format!(", last written by {} at {at}", Clean::from_untrusted(&by)),
        Some((by, None)) => format!(", last written by {}", Clean::from_untrusted(&by)),
        None => String::new(),
    }
}

impl<M> Goal<'_, M> {
    /// The rollout of this Release, if it has the workload in hand; `Err` says why it may not. `is_stale` tells of the
    /// annotation of a release that is over that nothing on the workload agrees with it, `shows` of a rollout that is
    /// only written down that the workload shows it.
    pub(super) fn in_hand<W, O>(
        &self,
        live: &ObjectMeta,
        is_stale: impl Fn(&Latch<W, O>) -> bool,
        shows: impl Fn(&Latch<W, O>, RolloutState) -> bool,
    ) -> Result<Option<InHand<W, O>>, Move>
    where
        W: DeserializeOwned,
        O: DeserializeOwned,
    {
        let kept = self.records.begun::<W, O>(self.release_uid, shows);
        let made_again = kept.is_some() && self.records.made_again(live);
        let takes =
            |r: &RolloutRecord| matches!(r.state, RolloutState::Takes | RolloutState::Restores);
        let takes = self.records.kept.is_some_and(takes);
        let again = || {
            let at = live
                .creation_timestamp
                .as_ref()
                .map(|t| format!(" at {}", t.0))
                .unwrap_or_default();
            format!(
                "another hand deleted it and made it again{at}{}",
                written_by(live)
            )
        };
        let (latch, hand) = match (Latch::<W, O>::of(live), kept) {
            (Ok(Some(latch)), _) if latch.release_uid == self.release_uid => {
                (latch, made_again.then(again))
            }
            (Ok(Some(other)), kept)
                if self.records.is_under_way(&other.release_uid)
                    || (kept.is_none() && !is_stale(&other)) =>
            {
                return Err(Move::Stop(format!(
                    "it is half-way in release {} (task {}): finish or abort that one, or see `graylane rescue`",
                    Clean::from_untrusted(&other.release),
                    Clean::from_untrusted(&other.task)
                )));
            }
            (Err(why), None) => return Err(Move::Stop(why)),
            (_, None) => return Ok(None),
            (_, Some(kept)) if has_ended(live, &kept) => return Ok(None),
            (_, Some(kept)) if made_again => (kept, Some(again())),
            (Ok(None), Some(kept)) => (
                kept,
                Some(format!(
                    "the rollout's annotation {} was taken off{}",
                    label::LATCH,
                    written_by(live)
                )),
            ),
            (Ok(Some(other)), Some(kept)) => {
                let other = Clean::from_untrusted(&other.release);
                let words = format!(
                    "its annotation is that of release {other} again, as an undo leaves it"
                );
                (kept, Some(words + &written_by(live)))
            }
            (Err(why), Some(kept)) => (kept, Some(why)),
        };
        Ok(Some(InHand {
            latch,
            hand,
            made_again,
            takes,
        }))
    }

    /// Stops for what another hand did; what a person can do about it.
    pub(super) fn stopped_by(&self, hand: &str, more: Option<String>) -> Move {
        let more = more.map(|more| format!("; {more}")).unwrap_or_default();
        let command = |verb| CommandLine::graylane(verb).arg(self.release);
        Move::Stop(format!(
            "{hand}{more}. No batch goes on by that: `{}` takes it in hand again where the batches stand, `{}` brings the \
             old version back with your own settings",
            command("retry"),
            command("abort")
        ))
    }
}
