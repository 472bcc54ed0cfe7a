//! The table of the design as a state machine: one observation in, one action out.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;

use super::{
    foreign,
    goal::{Goal, Move, Progress, driven, not_approved, patched, waiting},
    latch::{Latch, Mode, Own, Phase, Written},
    left, patch,
    records::InHand,
    targets, template,
};
use crate::{
    api::BatchPhase,
    domain::observe::{DeploymentSeen, Side, observed, replicas, writer},
};

impl DeploymentSeen {
    /// `spec.replicas` of the Deployment.
    pub fn replicas(&self) -> u32 {
        replicas(self.live.spec.as_ref().and_then(|s| s.replicas))
    }

    /// Sum of `spec.replicas` of all its ReplicaSets.
    fn wanted(&self) -> u32 {
        self.new.wanted.saturating_add(self.old.wanted)
    }

    /// Whether the controller has observed the current spec.
    fn observed(&self) -> bool {
        observed(
            &self.live.metadata,
            self.live
                .status
                .as_ref()
                .and_then(|s| s.observed_generation),
        )
    }

    /// Whether only pods of the current template run, all of them Ready; `Err` says what is
    /// missing, and when it may change.
    pub(super) fn settled(&self, min_ready: u32) -> Result<(), (String, Option<SignedDuration>)> {
        let replicas = self.replicas();
        let done = self.observed()
            && self.new.ready(min_ready) >= replicas
            && self.new.wanted == replicas
            && self.old.wanted == 0
            && self.old.active() == 0;
        if done {
            return Ok(());
        }
        let old = self.old.active();
        let rest = if old > 0 {
            format!(", {old} old to go")
        } else {
            String::new()
        };
        Err((
            waiting(&self.new, replicas, min_ready) + &rest,
            self.new.next_ready(min_ready),
        ))
    }
}

/// Next action for a Deployment.
pub fn next(seen: Option<&DeploymentSeen>, goal: &Goal) -> Move {
    let Some(seen) = seen else {
        return if goal.hold { Move::Held } else { Move::Create };
    };
    let selector = |d: &Deployment| {
        d.spec
            .as_ref()
            .and_then(|s| s.selector.match_labels.clone())
            .unwrap_or_default()
    };
    if let Some(why) = driven(&seen.live.metadata) {
        return Move::Stop(why);
    }
    if selector(&seen.live) != selector(goal.manifest) {
        return Move::Stop(
            "its selector differs from the manifest's, and a selector cannot be changed: rename one of them".into(),
        );
    }
    match in_hand(seen, goal) {
        Err(stop) => stop,
        Ok(Some(hand)) => latched(seen, &hand, goal),
        Ok(None) => unlatched(seen, goal),
    }
}

fn in_hand(seen: &DeploymentSeen, goal: &Goal) -> Result<Option<InHand<Written, Own>>, Move> {
    let is_stale = |latch: &Latch| latch.mode == Mode::Native || left::is_off(&seen.live, latch);
    goal.in_hand(&seen.live.metadata, is_stale, |latch, state| {
        left::shows(&seen.live, latch, state)
    })
}

/// Progress of a Deployment in the rollout of this manifest.
pub fn progress(seen: Option<&DeploymentSeen>, goal: &Goal) -> Progress {
    let Some(seen) = seen else {
        return Progress::default();
    };
    let latch = in_hand(seen, goal).ok().flatten().map(|hand| hand.latch);
    let latched =
        latch.is_some() || !matches!(Latch::<Written, Own>::of(&seen.live.metadata), Ok(None));
    let replicas = seen.replicas();
    let is_new = foreign::is_template(&seen.live, goal.manifest);
    let min_ready = latch
        .as_ref()
        .map_or_else(|| Own::of(&seen.live).min_ready(), Latch::min_ready);
    let (new, old) = if is_new {
        (seen.new.active(), seen.old.active())
    } else {
        (0, seen.new.active() + seen.old.active())
    };
    let ready = if is_new { seen.new.ready(min_ready) } else { 0 };
    let mut told = Progress {
        replicas,
        new,
        ready,
        old,
        done: 0,
        phase: BatchPhase::Pending,
    };
    let all = targets(goal.batches, replicas);
    let count = |exact: u32| all.iter().take_while(|t| **t <= exact).count();
    match latch {
        None if is_new && seen.settled(min_ready).is_ok() => {
            told.done = all.len();
            told.phase = BatchPhase::Done;
        }
        // No latch: the native controller is rolling it out.
        None if is_new => told.phase = BatchPhase::Surging,
        None => {}
        Some(l) if l.mode == Mode::Native => told.phase = BatchPhase::Surging,
        Some(l) => match l.written.phase {
            Phase::Surge => (told.phase, told.done) = (BatchPhase::Surging, count(l.written.from)),
            Phase::Retire => {
                (told.phase, told.done) = (BatchPhase::Retiring, count(l.written.from))
            }
            Phase::Hold => {
                let exact = is_new && seen.wanted() == replicas && ready >= seen.new.wanted;
                let at = if exact {
                    seen.new.wanted
                } else {
                    l.written.to.min(seen.new.wanted.saturating_sub(1))
                };
                (told.phase, told.done) = (BatchPhase::Done, count(at));
            }
        },
    }
    // The last batch is done only when the user's own settings are restored.
    if told.phase != BatchPhase::Done || latched {
        told.done = told.done.min(all.len().saturating_sub(1));
    }
    told
}

fn unlatched(seen: &DeploymentSeen, goal: &Goal) -> Move {
    let live = &seen.live;
    if let Some(freed) = left::freed(seen, goal) {
        return freed;
    }
    if !foreign::is_template(live, goal.manifest) {
        return goal
            .changed_since(&live.metadata)
            .unwrap_or_else(|| begin(seen, goal));
    }
    if !goal.hold && foreign::applied(&live.metadata) != foreign::applied(&goal.manifest.metadata) {
        // Nothing to roll out, but other fields may differ.
        if let Some(patch) = patch::adjust(live, goal.manifest) {
            return Move::Patch(patch, "the rest of the manifest");
        }
    }
    match seen.settled(Own::of(live).min_ready()) {
        Ok(()) => Move::Done,
        Err((why, again)) => Move::Wait(why, again),
    }
}

fn begin(seen: &DeploymentSeen, goal: &Goal) -> Move {
    let live = &seen.live;
    if goal.hold || goal.upto == 0 {
        return Move::Held;
    }
    if live.spec.as_ref().and_then(|s| s.paused) == Some(true) {
        let who = writer(&live.metadata, &["spec", "paused"])
            .map_or(String::new(), |(by, _)| format!(" by {by}"));
        return Move::Stop(format!(
            "it was paused{who}: resume it (kubectl rollout resume) and retry"
        ));
    }
    if let Some(patch) = patch::scale(live, goal.manifest) {
        return Move::Patch(patch, "the replicas of the manifest");
    }
    let replicas = seen.replicas();
    let own = Own::of(live);
    let after = own.overlaid(goal.manifest);
    if own.recreates() || after.recreates() || replicas == 0 {
        let written = Written::surge(replicas, 0, replicas);
        return patched(
            patch::begin(live, goal, Mode::Native, written),
            "the new version, all at once",
        );
    }
    if !seen.observed() || seen.wanted() < replicas {
        return Move::Wait("waiting for the Deployment controller".into(), None);
    }
    let target = targets(goal.batches, replicas)
        .get(goal.upto - 1)
        .copied()
        .unwrap_or(replicas);
    let written = forward(&after, goal, replicas, 0, target);
    patched(
        patch::begin(live, goal, Mode::Latched, written),
        "the first new pods, behind the latch",
    )
}

/// Next step from exactly `at` new pods towards `target`, limited by the allowed surge. Where no
/// surge is allowed, old pods go first, at most the user's own maxUnavailable at once.
fn forward(own: &Own, goal: &Goal, replicas: u32, at: u32, target: u32) -> Written {
    let (surge, unavailable) = own.fences(replicas);
    let surge = goal.surge.map_or(surge, |s| s.of(replicas));
    if surge == 0 {
        let to = target.min(at.saturating_add(unavailable.max(1)));
        return Written::retire(replicas, at, to);
    }
    Written::surge(replicas, at, target.min(at.saturating_add(surge)))
}

fn latched(seen: &DeploymentSeen, hand: &InHand<Written, Own>, goal: &Goal) -> Move {
    let (latch, replicas) = (&hand.latch, seen.replicas());
    if latch.template != template::digest(&template::of_deployment(goal.manifest)) {
        return not_approved();
    }
    if goal.attempt > latch.attempt || (hand.takes && hand.hand.is_some()) {
        if has_nothing(seen) && latch.mode == Mode::Latched {
            return restore(seen, hand, goal);
        }
        // Nobody interfered: continue the step where it is.
        let as_left = hand.hand.is_none()
            && latch.written.replicas == replicas
            && foreign::hand(seen, latch, goal.manifest).is_none();
        let written = match latch.mode {
            Mode::Latched if !as_left && foreign::is_template(&seen.live, goal.manifest) => {
                frozen(seen, latch, replicas)
            }
            Mode::Latched if !as_left => Written {
                from: 0,
                to: 0,
                ..frozen(seen, latch, replicas)
            },
            _ => latch.written,
        };
        return patched(
            patch::take_over(&seen.live, hand, goal, written),
            "the latch again, for the new attempt",
        );
    }
    if let Some(words) = &hand.hand {
        return goal.stopped_by(words, foreign::hand(seen, latch, goal.manifest));
    }
    if latch.mode == Mode::Native {
        if !foreign::is_template(&seen.live, goal.manifest) {
            let who = writer(&seen.live.metadata, &["spec", "template"])
                .map_or("somebody".into(), |(by, _)| by);
            return Move::Stop(format!("spec.template was changed by {who}"));
        }
        return match seen.settled(latch.min_ready()) {
            Ok(()) if goal.hold => Move::Held,
            Ok(()) => patched(
                patch::finalize(&seen.live, latch),
                "done: the rollout's marks are taken off",
            ),
            Err((why, again)) => Move::Wait(why, again),
        };
    }
    if let Some(why) = foreign::hand(seen, latch, goal.manifest) {
        return Move::Stop(why);
    }
    let step = Step {
        seen,
        latch,
        goal,
        replicas,
    };
    match latch.written.phase {
        Phase::Surge | Phase::Retire if latch.written.replicas != replicas => step.freeze(),
        Phase::Surge => step.surging(),
        Phase::Retire => step.retiring(),
        Phase::Hold => step.holding(),
    }
}

/// Whether it should have pods but has no ReplicaSet: this happens when somebody recreates it from
/// a copy saved in the middle of a rollout.
fn has_nothing(seen: &DeploymentSeen) -> bool {
    seen.sets == 0 && seen.replicas() > 0
}

/// No pods run beside which a new version could come up: restore the old version first, as when the
/// whole Deployment is gone.
fn restore(seen: &DeploymentSeen, hand: &InHand<Written, Own>, goal: &Goal) -> Move {
    let latch = patch::in_hand_again(&seen.live, hand, goal, hand.latch.written);
    match (
        patch::revert(&seen.live, &latch.before),
        serde_json::to_string(&latch),
    ) {
        (Some(patch), Ok(latch)) => Move::Restore(patch, latch),
        _ => Move::Wait("waiting for the Deployment controller".into(), None),
    }
}

/// Hold in the middle of a step. Pausing stops the rolling update but not the scaling: if fewer
/// pods were allowed than exist, the controller would remove some from either side, ready or not.
fn frozen(seen: &DeploymentSeen, latch: &Latch, replicas: u32) -> Written {
    let above = seen.wanted().saturating_sub(replicas);
    Written::hold(
        replicas,
        seen.new.wanted.min(replicas),
        above.max(latch.written.above()),
    )
}

struct Step<'a> {
    seen: &'a DeploymentSeen,
    latch: &'a Latch,
    goal: &'a Goal<'a>,
    replicas: u32,
}

impl Step<'_> {
    fn write(&self, written: Written, words: &'static str) -> Move {
        patched(
            patch::step(
                &self.seen.live,
                self.latch,
                written,
                self.seen.new.hash.clone(),
            ),
            words,
        )
    }

    /// An autoscaler or a person changed the replicas in the middle of a step: pause at once, then
    /// plan again from what is there.
    fn freeze(&self) -> Move {
        self.write(
            frozen(self.seen, self.latch, self.replicas),
            "paused: the replicas were changed",
        )
    }

    fn surging(&self) -> Move {
        let to = self.latch.written.to;
        let min_ready = self.latch.min_ready();
        if self.seen.new.ready(min_ready) < to || self.seen.new.wanted < to {
            return self.wait(to);
        }
        if self.goal.hold {
            return Move::Held;
        }
        let Written { from, .. } = self.latch.written;
        self.write(
            Written::retire(self.replicas, from, to),
            "the old pods that new ones stand for go",
        )
    }

    fn retiring(&self) -> Move {
        let Written { to, .. } = self.latch.written;
        let rest = self.replicas - to.min(self.replicas);
        let Side { wanted, .. } = self.seen.old;
        if self.seen.old.active() > rest || wanted > rest || self.seen.new.wanted < to {
            let over = self.seen.old.active().saturating_sub(rest);
            return Move::Wait(
                format!("{to} of {} new, {over} old to go", self.replicas),
                None,
            );
        }
        // The latch never stays open longer than needed: pause unless the next step follows at
        // once.
        self.onward(to)
            .unwrap_or_else(|| self.write(Written::hold(self.replicas, to, 0), "exact: paused"))
    }

    fn holding(&self) -> Move {
        let new = self.seen.new.wanted.min(self.replicas);
        let all = new.saturating_add(self.seen.old.wanted);
        if has_nothing(self.seen) && self.seen.observed() {
            let words = "none of its ReplicaSets is there any more, and while it is paused its controller makes none";
            return self.goal.stopped_by(words, None);
        }
        if !self.seen.observed() || all < self.replicas {
            return Move::Wait("waiting for the Deployment controller".into(), None);
        }
        if self.goal.hold {
            return Move::Held;
        }
        if self.seen.new.ready(self.latch.min_ready()) < new {
            return self.wait(new);
        }
        if all > self.replicas && new > 0 {
            let written = Written::retire(self.replicas, new, new);
            return self.write(written, "the old pods that new ones stand for go");
        }
        self.onward(new).unwrap_or(Move::Held)
    }

    /// From exactly `at` new pods: the next step, or the end of the rollout; `None` when neither is
    /// possible yet.
    fn onward(&self, at: u32) -> Option<Move> {
        let goal = self.goal;
        let ready = self.seen.new.ready(self.latch.min_ready()) >= at;
        if goal.hold || !ready {
            return None;
        }
        let all = targets(goal.batches, self.replicas);
        let target = goal
            .upto
            .checked_sub(1)
            .and_then(|i| all.get(i).or(all.last()))
            .copied()
            .unwrap_or(0);
        if at >= self.replicas {
            let last = goal.upto >= all.len();
            return last.then(|| {
                patched(
                    patch::finalize(&self.seen.live, self.latch),
                    "done: your own settings back",
                )
            });
        }
        let written = forward(&self.latch.after, goal, self.replicas, at, target);
        (at < target).then(|| self.write(written, "the next new pods"))
    }

    fn wait(&self, want: u32) -> Move {
        let min_ready = self.latch.min_ready();
        let again = self.seen.new.next_ready(min_ready);
        Move::Wait(waiting(&self.seen.new, want, min_ready), again)
    }
}
