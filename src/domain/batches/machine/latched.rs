//! A rollout of this release in progress on a Deployment, behind the latch: the next step.

use super::{
    super::{
        compute_targets, foreign,
        goal::{Goal, RolloutAction, describe_readiness, not_approved, patch_or_wait},
        latch::{DeploymentSettings, Latch, LatchPhase, LatchStep, RolloutMode},
        patch,
        records::ActiveRollout,
        template,
    },
    plan_step,
};
use crate::domain::observe::{DeploymentSeen, VersionPods, last_writer};

/// A Deployment that is held by a rollout of this release.
pub(super) struct LatchedRollout<'a> {
    pub(super) seen: &'a DeploymentSeen,
    pub(super) rollout: &'a ActiveRollout<LatchStep, DeploymentSettings>,
    pub(super) goal: &'a Goal<'a>,
}

impl LatchedRollout<'_> {
    fn latch(&self) -> &Latch {
        &self.rollout.latch
    }

    fn replicas(&self) -> u32 {
        self.seen.replicas()
    }

    /// Next action; `Err` says why the rollout cannot go on.
    pub(super) fn next_action(&self) -> Result<RolloutAction, RolloutAction> {
        self.check_approved()?;
        if self.begins_again() {
            return Ok(self.take_over());
        }
        self.check_undisturbed()?;
        match self.latch().mode {
            RolloutMode::Native => self.next_native(),
            RolloutMode::Latched => self.next_step(),
        }
    }

    /// Stops when something else would be rolled out than was approved.
    fn check_approved(&self) -> Result<(), RolloutAction> {
        let wanted = template::of_deployment(self.goal.manifest);
        if self.latch().template == template::short_digest(&wanted) {
            Ok(())
        } else {
            Err(not_approved())
        }
    }

    /// Whether a new attempt takes the rollout in hand, or this one had not finished doing so.
    fn begins_again(&self) -> bool {
        self.goal.attempt > self.latch().attempt
            || (self.rollout.takes && self.rollout.foreign_change.is_some())
    }

    /// Stops when somebody else changed the annotation or the whole object.
    fn check_undisturbed(&self) -> Result<(), RolloutAction> {
        match &self.rollout.foreign_change {
            None => Ok(()),
            Some(words) => Err(self
                .goal
                .stop_for_foreign_change(words, self.find_foreign_change())),
        }
    }

    fn find_foreign_change(&self) -> Option<String> {
        foreign::find_foreign_change(self.seen, self.latch(), self.goal.manifest)
    }

    fn has_wanted_template(&self) -> bool {
        foreign::has_wanted_template(&self.seen.live, self.goal.manifest)
    }

    /// Next action where the Deployment's own strategy replaces the pods, all at once.
    fn next_native(&self) -> Result<RolloutAction, RolloutAction> {
        let live = &self.seen.live;
        if !self.has_wanted_template() {
            let who = last_writer(&live.metadata, &["spec", "template"])
                .map_or("somebody".into(), |(by, _)| by);
            return Err(RolloutAction::Stop(format!(
                "spec.template was changed by {who}"
            )));
        }
        Ok(match self.seen.check_settled(self.latch().min_ready()) {
            Ok(()) if self.goal.hold => RolloutAction::Held,
            Ok(()) => patch_or_wait(
                patch::finish_rollout(live, self.latch()),
                "done: the rollout's annotations are removed",
            ),
            Err((why, again)) => RolloutAction::Wait(why, again),
        })
    }

    /// Next step behind the latch.
    fn next_step(&self) -> Result<RolloutAction, RolloutAction> {
        if let Some(why) = self.find_foreign_change() {
            return Err(RolloutAction::Stop(why));
        }
        let LatchStep {
            phase, replicas, ..
        } = self.latch().written;
        Ok(match phase {
            LatchPhase::Surge | LatchPhase::Retire if replicas != self.replicas() => {
                self.pause_midway()
            }
            LatchPhase::Surge => self.continue_surge(),
            LatchPhase::Retire => self.continue_retire(),
            LatchPhase::Hold => self.continue_hold(),
        })
    }

    /// Takes the rollout in hand for a new attempt.
    fn take_over(&self) -> RolloutAction {
        let latch = self.latch();
        if self.has_no_replica_set() && latch.mode == RolloutMode::Latched {
            return self.restore_previous();
        }
        // Nobody interfered: continue the step where it is.
        let as_left = self.rollout.foreign_change.is_none()
            && latch.written.replicas == self.replicas()
            && self.find_foreign_change().is_none();
        let written = match latch.mode {
            RolloutMode::Latched if !as_left && self.has_wanted_template() => self.freeze_step(),
            RolloutMode::Latched if !as_left => LatchStep {
                from: 0,
                to: 0,
                ..self.freeze_step()
            },
            _ => latch.written,
        };
        patch_or_wait(
            patch::take_over(&self.seen.live, self.rollout, self.goal, written),
            "the latch again, for the new attempt",
        )
    }

    /// Whether it should have pods but has no ReplicaSet: this happens when somebody recreates it
    /// from a copy saved in the middle of a rollout.
    fn has_no_replica_set(&self) -> bool {
        self.seen.sets == 0 && self.replicas() > 0
    }

    /// No pods run beside which a new version could come up: restore the old version first, as when
    /// the whole Deployment is gone.
    fn restore_previous(&self) -> RolloutAction {
        let live = &self.seen.live;
        let written = self.latch().written;
        let latch = patch::take_over_latch(live, self.rollout, self.goal, written);
        match (
            patch::revert(live, &latch.before),
            serde_json::to_string(&latch),
        ) {
            (Some(patch), Ok(latch)) => RolloutAction::Restore(patch, latch),
            _ => RolloutAction::Wait("waiting for the Deployment controller".into(), None),
        }
    }

    /// Hold in the middle of a step. Pausing stops the rolling update but not the scaling: if fewer
    /// pods were allowed than exist, the controller would remove some from either side, ready or
    /// not.
    fn freeze_step(&self) -> LatchStep {
        let replicas = self.replicas();
        let above = self.seen.wanted_pods().saturating_sub(replicas);
        LatchStep::hold(
            replicas,
            self.seen.new.wanted.min(replicas),
            above.max(self.latch().written.allowed_surge()),
        )
    }

    fn write_step(&self, written: LatchStep, words: &'static str) -> RolloutAction {
        patch_or_wait(
            patch::write_step(
                &self.seen.live,
                self.latch(),
                written,
                self.seen.new.hash.clone(),
            ),
            words,
        )
    }

    /// An autoscaler or a person changed the replicas in the middle of a step: pause at once, then
    /// plan again from what is there.
    fn pause_midway(&self) -> RolloutAction {
        self.write_step(self.freeze_step(), "paused: the replicas were changed")
    }

    fn continue_surge(&self) -> RolloutAction {
        let to = self.latch().written.to;
        let min_ready = self.latch().min_ready();
        if self.seen.new.ready_pods(min_ready) < to || self.seen.new.wanted < to {
            return self.wait_until_ready(to);
        }
        if self.goal.hold {
            return RolloutAction::Held;
        }
        let LatchStep { from, .. } = self.latch().written;
        self.write_step(
            LatchStep::retire(self.replicas(), from, to),
            "old pods that new ones have replaced are deleted",
        )
    }

    fn continue_retire(&self) -> RolloutAction {
        let LatchStep { to, .. } = self.latch().written;
        let rest = self.replicas() - to.min(self.replicas());
        let VersionPods { wanted, .. } = self.seen.old;
        if self.seen.old.active_pods() > rest || wanted > rest || self.seen.new.wanted < to {
            let over = self.seen.old.active_pods().saturating_sub(rest);
            return RolloutAction::Wait(
                format!("{to} of {} new, {over} old to go", self.replicas()),
                None,
            );
        }
        // The latch never stays open longer than needed: pause unless the next step follows at
        // once.
        self.advance_from(to).unwrap_or_else(|| {
            self.write_step(LatchStep::hold(self.replicas(), to, 0), "exact: paused")
        })
    }

    fn continue_hold(&self) -> RolloutAction {
        let new = self.seen.new.wanted.min(self.replicas());
        let all = new.saturating_add(self.seen.old.wanted);
        if self.has_no_replica_set() && self.seen.is_observed() {
            let words =
                "it has no ReplicaSet any more, and its controller creates none while it is paused";
            return self.goal.stop_for_foreign_change(words, None);
        }
        if !self.seen.is_observed() || all < self.replicas() {
            return RolloutAction::Wait("waiting for the Deployment controller".into(), None);
        }
        if self.goal.hold {
            return RolloutAction::Held;
        }
        if self.seen.new.ready_pods(self.latch().min_ready()) < new {
            return self.wait_until_ready(new);
        }
        if all > self.replicas() && new > 0 {
            let written = LatchStep::retire(self.replicas(), new, new);
            return self.write_step(written, "old pods that new ones have replaced are deleted");
        }
        self.advance_from(new).unwrap_or(RolloutAction::Held)
    }

    /// From exactly `at` new pods: the next step, or the end of the rollout; `None` when neither is
    /// possible yet.
    fn advance_from(&self, at: u32) -> Option<RolloutAction> {
        let goal = self.goal;
        let ready = self.seen.new.ready_pods(self.latch().min_ready()) >= at;
        if goal.hold || !ready {
            return None;
        }
        let all = compute_targets(goal.batches, self.replicas());
        let target = goal
            .upto
            .checked_sub(1)
            .and_then(|i| all.get(i).or(all.last()))
            .copied()
            .unwrap_or(0);
        if at >= self.replicas() {
            let last = goal.upto >= all.len();
            return last.then(|| {
                patch_or_wait(
                    patch::finish_rollout(&self.seen.live, self.latch()),
                    "done: your own settings are restored",
                )
            });
        }
        let written = plan_step(&self.latch().after, goal, self.replicas(), at, target);
        (at < target).then(|| self.write_step(written, "the next new pods"))
    }

    fn wait_until_ready(&self, want: u32) -> RolloutAction {
        let min_ready = self.latch().min_ready();
        let again = self.seen.new.next_ready(min_ready);
        RolloutAction::Wait(describe_readiness(&self.seen.new, want, min_ready), again)
    }
}
