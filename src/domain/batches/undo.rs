//! The way back, from wherever a rollout stands; and the way out for a Deployment whose release is gone.

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    latch::{Latch, Mark, Mode, Own, Previous, Written},
    left::{self, is_on},
    patch,
    records::{Records, has_ended},
};
use crate::domain::observe::{DeploymentSeen, PodSeen};

/// One answer on the way back.
#[derive(Clone, Debug, PartialEq)]
pub enum Undo {
    /// This one merge patch brings the old version back.
    Patch(Value),
    /// This pod goes: it stands in the way, in words.
    Delete(Box<PodSeen>, String),
    /// The old version is coming up.
    Wait(String, Option<SignedDuration>),
    /// The release has left nothing of itself here.
    Done,
}

/// The ways out of a workload that was left half-way, each one patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Ways {
    /// Whose rollout it is, as far as anybody knows.
    pub of: Mark,
    /// To the new version.
    pub finish: Value,
    /// Back to the old one.
    pub abort: Value,
    /// What is to be known before, in words.
    pub note: Option<&'static str>,
}

/// One look on the way back of a release.
pub fn undo(seen: &DeploymentSeen, release_uid: &str, records: &Records) -> Undo {
    let live = &seen.live;
    let shows = |latch: &Latch, state| left::shows(live, latch, state);
    let before =
        Previous::before::<Written>(&live.metadata, release_uid, records, shows, |_| is_on(live));
    // Nobody's annotation, and no record: the latch is known by what it is.
    let nobodys =
        || (is_on(live) && Mark::of(&live.metadata) == Ok(None)).then(|| left::before(seen, None));
    let of_another = before.is_none() && records.made_again(&live.metadata);
    let before = before.or_else(nobodys);
    if let Some(patch) = before.and_then(|b| patch::revert(live, &b)) {
        return Undo::Patch(patch);
    }
    match seen.settled(Own::of(live).min_ready()) {
        // How it does is in its maker's hands.
        _ if of_another => Undo::Done,
        Ok(()) => Undo::Done,
        Err((why, again)) => Undo::Wait(why, again),
    }
}

/// For a Deployment found half-way: the one patch that finishes it, and the one that aborts it.
pub fn rescue(seen: &DeploymentSeen, records: &Records) -> Result<Option<Ways>, String> {
    let live = &seen.live;
    let known: Option<Latch> = records.latch().filter(|l| !has_ended(&live.metadata, l));
    let (latch, kept) = match (Latch::of(&live.metadata), known) {
        (Ok(Some(latch)), known) => {
            let over = !records.is_under_way(&latch.release_uid);
            if over && latch.mode == Mode::Latched && left::is_off(live, &latch) {
                // By it anybody would be led back to a version of long ago.
                return Ok(patch::unmark(live).map(|patch| Ways {
                    of: latch.mark(),
                    finish: patch.clone(),
                    abort: patch,
                    note: Some(
                        "nothing of it is on: an undo has brought its annotation back, and that comes off either way",
                    ),
                }));
            }
            // What an undo brought back is not what is on.
            match known.filter(|k| over && k.release_uid != latch.release_uid && is_on(live)) {
                Some(known) => (known, true),
                None => (latch, false),
            }
        }
        (_, Some(known)) if !left::is_off(live, &known) => (known, true),
        (Err(why), _) => return Err(why),
        (Ok(None), _) if is_on(live) => return Ok(nobodys(seen)),
        (Ok(None), _) => return Ok(None),
    };
    let note = kept.then_some(
        "another hand took its annotation away: what it kept is from the release's own record",
    );
    let patches = patch::finalize(live, &latch).zip(patch::revert(live, &latch.before));
    Ok(patches.map(|(finish, abort)| Ways {
        of: latch.mark(),
        finish,
        abort,
        note,
    }))
}

/// Neither an annotation nor a record: the latch is known by what it is.
fn nobodys(seen: &DeploymentSeen) -> Option<Ways> {
    let note = Some(match left::left_by_the_last(&seen.live) {
        Some(_) => {
            "no annotation and no release tells of it: its own settings are those that the rollout before it left"
        }
        None => {
            "no annotation and no release tells what its own settings were: Kubernetes' defaults are put; look at \
             minReadySeconds, progressDeadlineSeconds and strategy afterwards"
        }
    });
    let finish = left::free(&seen.live, None)?;
    let abort = patch::revert(&seen.live, &left::before(seen, None))?;
    Some(Ways {
        of: Mark::default(),
        finish,
        abort,
        note,
    })
}
