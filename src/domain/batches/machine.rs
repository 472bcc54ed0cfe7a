//! The table of the design as a state machine: one observation in, one action out.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;

use super::{
    compute_targets, foreign,
    goal::{
        Goal, Progress, RolloutAction, describe_readiness, find_other_driver, not_approved,
        patch_or_wait,
    },
    latch::{DeploymentSettings, Latch, LatchPhase, LatchStep, RolloutMode},
    orphaned, patch,
    records::ActiveRollout,
    template,
};
use crate::{
    api::BatchPhase,
    domain::observe::{DeploymentSeen, VersionPods, is_observed, last_writer, replicas_or_default},
};

impl DeploymentSeen {
    /// `spec.replicas` of the Deployment.
    pub fn replicas(&self) -> u32 {
        replicas_or_default(self.live.spec.as_ref().and_then(|s| s.replicas))
    }

    /// Sum of `spec.replicas` of all its ReplicaSets.
    fn wanted_pods(&self) -> u32 {
        self.new.wanted.saturating_add(self.old.wanted)
    }

    /// Whether the controller has observed the current spec.
    fn is_observed(&self) -> bool {
        is_observed(
            &self.live.metadata,
            self.live
                .status
                .as_ref()
                .and_then(|s| s.observed_generation),
        )
    }

    /// Whether only pods of the current template run, all of them Ready; `Err` says what is
    /// missing, and when it may change.
    pub(super) fn check_settled(
        &self,
        min_ready: u32,
    ) -> Result<(), (String, Option<SignedDuration>)> {
        let replicas = self.replicas();
        let done = self.is_observed()
            && self.new.ready_pods(min_ready) >= replicas
            && self.new.wanted == replicas
            && self.old.wanted == 0
            && self.old.active_pods() == 0;
        if done {
            return Ok(());
        }
        let old = self.old.active_pods();
        let rest = if old > 0 {
            format!(", {old} old to go")
        } else {
            String::new()
        };
        Err((
            describe_readiness(&self.new, replicas, min_ready) + &rest,
            self.new.next_ready(min_ready),
        ))
    }
}

/// Next action for a Deployment.
pub fn next_action(seen: Option<&DeploymentSeen>, goal: &Goal) -> RolloutAction {
    let Some(seen) = seen else {
        return if goal.hold {
            RolloutAction::Held
        } else {
            RolloutAction::Create
        };
    };
    let selector = |d: &Deployment| {
        d.spec
            .as_ref()
            .and_then(|s| s.selector.match_labels.clone())
            .unwrap_or_default()
    };
    if let Some(why) = find_other_driver(&seen.live.metadata) {
        return RolloutAction::Stop(why);
    }
    if selector(&seen.live) != selector(goal.manifest) {
        return RolloutAction::Stop(
            "its selector differs from the manifest's, and a selector cannot be changed: rename one of them".into(),
        );
    }
    match find_active_rollout(seen, goal) {
        Err(stop) => stop,
        Ok(Some(hand)) => next_latched(seen, &hand, goal),
        Ok(None) => next_unlatched(seen, goal),
    }
}

fn find_active_rollout(
    seen: &DeploymentSeen,
    goal: &Goal,
) -> Result<Option<ActiveRollout<LatchStep, DeploymentSettings>>, RolloutAction> {
    let is_stale = |latch: &Latch| {
        latch.mode == RolloutMode::Native || orphaned::is_latch_off(&seen.live, latch)
    };
    goal.find_active_rollout(&seen.live.metadata, is_stale, |latch, state| {
        orphaned::shows_rollout(&seen.live, latch, state)
    })
}

/// Progress of a Deployment in the rollout of this manifest.
pub fn measure_progress(seen: Option<&DeploymentSeen>, goal: &Goal) -> Progress {
    let Some(seen) = seen else {
        return Progress::default();
    };
    let latch = find_active_rollout(seen, goal)
        .ok()
        .flatten()
        .map(|hand| hand.latch);
    let latched = latch.is_some()
        || !matches!(
            Latch::<LatchStep, DeploymentSettings>::from_meta(&seen.live.metadata),
            Ok(None)
        );
    let replicas = seen.replicas();
    let is_new = foreign::has_wanted_template(&seen.live, goal.manifest);
    let min_ready = latch.as_ref().map_or_else(
        || DeploymentSettings::from_deployment(&seen.live).min_ready(),
        Latch::min_ready,
    );
    let (new, old) = if is_new {
        (seen.new.active_pods(), seen.old.active_pods())
    } else {
        (0, seen.new.active_pods() + seen.old.active_pods())
    };
    let ready = if is_new {
        seen.new.ready_pods(min_ready)
    } else {
        0
    };
    let mut told = Progress {
        replicas,
        new,
        ready,
        old,
        done: 0,
        phase: BatchPhase::Pending,
    };
    let all = compute_targets(goal.batches, replicas);
    let count = |exact: u32| all.iter().take_while(|t| **t <= exact).count();
    match latch {
        None if is_new && seen.check_settled(min_ready).is_ok() => {
            told.done = all.len();
            told.phase = BatchPhase::Done;
        }
        // No latch: the native controller is rolling it out.
        None if is_new => told.phase = BatchPhase::Surging,
        None => {}
        Some(l) if l.mode == RolloutMode::Native => told.phase = BatchPhase::Surging,
        Some(latch) => {
            let exact = is_new && seen.wanted_pods() == replicas && ready >= seen.new.wanted;
            let (phase, at) = reached_by_latch(&latch.written, seen.new.wanted, exact);
            (told.phase, told.done) = (phase, count(at));
        }
    }
    // The last batch is done only when the user's own settings are restored.
    if told.phase != BatchPhase::Done || latched {
        told.done = told.done.min(all.len().saturating_sub(1));
    }
    told
}

/// Phase of the current batch behind the latch, and how many new pods are reached for certain.
/// `exact` means that a hold shows exactly `wanted` new pods, all of them ready.
fn reached_by_latch(written: &LatchStep, wanted: u32, exact: bool) -> (BatchPhase, u32) {
    match written.phase {
        LatchPhase::Surge => (BatchPhase::Surging, written.from),
        LatchPhase::Retire => (BatchPhase::Retiring, written.from),
        LatchPhase::Hold if exact => (BatchPhase::Done, wanted),
        LatchPhase::Hold => (BatchPhase::Done, written.to.min(wanted.saturating_sub(1))),
    }
}

fn next_unlatched(seen: &DeploymentSeen, goal: &Goal) -> RolloutAction {
    let live = &seen.live;
    if let Some(freed) = orphaned::release_orphaned_latch(seen, goal) {
        return freed;
    }
    if !foreign::has_wanted_template(live, goal.manifest) {
        return goal
            .stop_if_changed_after_end(&live.metadata)
            .unwrap_or_else(|| begin_rollout(seen, goal));
    }
    if !goal.hold
        && foreign::applied_digest(&live.metadata)
            != foreign::applied_digest(&goal.manifest.metadata)
    {
        // Nothing to roll out, but other fields may differ.
        if let Some(patch) = patch::sync_other_fields(live, goal.manifest) {
            return RolloutAction::Patch(patch, "the rest of the manifest");
        }
    }
    match seen.check_settled(DeploymentSettings::from_deployment(live).min_ready()) {
        Ok(()) => RolloutAction::Done,
        Err((why, again)) => RolloutAction::Wait(why, again),
    }
}

fn begin_rollout(seen: &DeploymentSeen, goal: &Goal) -> RolloutAction {
    let live = &seen.live;
    if goal.hold || goal.upto == 0 {
        return RolloutAction::Held;
    }
    if live.spec.as_ref().and_then(|s| s.paused) == Some(true) {
        let who = last_writer(&live.metadata, &["spec", "paused"])
            .map_or(String::new(), |(by, _)| format!(" by {by}"));
        return RolloutAction::Stop(format!(
            "it was paused{who}: resume it (kubectl rollout resume) and retry"
        ));
    }
    if let Some(patch) = patch::scale(live, goal.manifest) {
        return RolloutAction::Patch(patch, "the replicas of the manifest");
    }
    let replicas = seen.replicas();
    let own = DeploymentSettings::from_deployment(live);
    let after = own.overlay_manifest(goal.manifest);
    if own.uses_recreate() || after.uses_recreate() || replicas == 0 {
        let written = LatchStep::surge(replicas, 0, replicas);
        return patch_or_wait(
            patch::begin_rollout(live, goal, RolloutMode::Native, written),
            "the new version, all at once",
        );
    }
    if !seen.is_observed() || seen.wanted_pods() < replicas {
        return RolloutAction::Wait("waiting for the Deployment controller".into(), None);
    }
    let target = compute_targets(goal.batches, replicas)
        .get(goal.upto - 1)
        .copied()
        .unwrap_or(replicas);
    let written = plan_step(&after, goal, replicas, 0, target);
    patch_or_wait(
        patch::begin_rollout(live, goal, RolloutMode::Latched, written),
        "the first new pods, behind the latch",
    )
}

/// Next step from exactly `at` new pods towards `target`, limited by the allowed surge. Where no
/// surge is allowed, old pods go first, at most the user's own maxUnavailable at once.
fn plan_step(
    own: &DeploymentSettings,
    goal: &Goal,
    replicas: u32,
    at: u32,
    target: u32,
) -> LatchStep {
    let (surge, unavailable) = own.surge_and_unavailable(replicas);
    let surge = goal.surge.map_or(surge, |s| s.scaled_count(replicas));
    if surge == 0 {
        let to = target.min(at.saturating_add(unavailable.max(1)));
        return LatchStep::retire(replicas, at, to);
    }
    LatchStep::surge(replicas, at, target.min(at.saturating_add(surge)))
}

fn next_latched(
    seen: &DeploymentSeen,
    hand: &ActiveRollout<LatchStep, DeploymentSettings>,
    goal: &Goal,
) -> RolloutAction {
    let (latch, replicas) = (&hand.latch, seen.replicas());
    if latch.template != template::short_digest(&template::of_deployment(goal.manifest)) {
        return not_approved();
    }
    if goal.attempt > latch.attempt || (hand.takes && hand.foreign_change.is_some()) {
        return take_over(seen, hand, goal);
    }
    if let Some(words) = &hand.foreign_change {
        return goal.stop_for_foreign_change(
            words,
            foreign::find_foreign_change(seen, latch, goal.manifest),
        );
    }
    if latch.mode == RolloutMode::Native {
        if !foreign::has_wanted_template(&seen.live, goal.manifest) {
            let who = last_writer(&seen.live.metadata, &["spec", "template"])
                .map_or("somebody".into(), |(by, _)| by);
            return RolloutAction::Stop(format!("spec.template was changed by {who}"));
        }
        return match seen.check_settled(latch.min_ready()) {
            Ok(()) if goal.hold => RolloutAction::Held,
            Ok(()) => patch_or_wait(
                patch::finish_rollout(&seen.live, latch),
                "done: the rollout's annotations are removed",
            ),
            Err((why, again)) => RolloutAction::Wait(why, again),
        };
    }
    if let Some(why) = foreign::find_foreign_change(seen, latch, goal.manifest) {
        return RolloutAction::Stop(why);
    }
    let step = LatchedRollout {
        seen,
        latch,
        goal,
        replicas,
    };
    match latch.written.phase {
        LatchPhase::Surge | LatchPhase::Retire if latch.written.replicas != replicas => {
            step.pause_midway()
        }
        LatchPhase::Surge => step.continue_surge(),
        LatchPhase::Retire => step.continue_retire(),
        LatchPhase::Hold => step.continue_hold(),
    }
}

/// Takes the rollout in hand for a new attempt.
fn take_over(
    seen: &DeploymentSeen,
    hand: &ActiveRollout<LatchStep, DeploymentSettings>,
    goal: &Goal,
) -> RolloutAction {
    let (latch, replicas) = (&hand.latch, seen.replicas());
    if has_no_replica_set(seen) && latch.mode == RolloutMode::Latched {
        return restore_previous(seen, hand, goal);
    }
    // Nobody interfered: continue the step where it is.
    let as_left = hand.foreign_change.is_none()
        && latch.written.replicas == replicas
        && foreign::find_foreign_change(seen, latch, goal.manifest).is_none();
    let written = match latch.mode {
        RolloutMode::Latched
            if !as_left && foreign::has_wanted_template(&seen.live, goal.manifest) =>
        {
            freeze_step(seen, latch, replicas)
        }
        RolloutMode::Latched if !as_left => LatchStep {
            from: 0,
            to: 0,
            ..freeze_step(seen, latch, replicas)
        },
        _ => latch.written,
    };
    patch_or_wait(
        patch::take_over(&seen.live, hand, goal, written),
        "the latch again, for the new attempt",
    )
}

/// Whether it should have pods but has no ReplicaSet: this happens when somebody recreates it from
/// a copy saved in the middle of a rollout.
fn has_no_replica_set(seen: &DeploymentSeen) -> bool {
    seen.sets == 0 && seen.replicas() > 0
}

/// No pods run beside which a new version could come up: restore the old version first, as when the
/// whole Deployment is gone.
fn restore_previous(
    seen: &DeploymentSeen,
    hand: &ActiveRollout<LatchStep, DeploymentSettings>,
    goal: &Goal,
) -> RolloutAction {
    let latch = patch::take_over_latch(&seen.live, hand, goal, hand.latch.written);
    match (
        patch::revert(&seen.live, &latch.before),
        serde_json::to_string(&latch),
    ) {
        (Some(patch), Ok(latch)) => RolloutAction::Restore(patch, latch),
        _ => RolloutAction::Wait("waiting for the Deployment controller".into(), None),
    }
}

/// Hold in the middle of a step. Pausing stops the rolling update but not the scaling: if fewer
/// pods were allowed than exist, the controller would remove some from either side, ready or not.
fn freeze_step(seen: &DeploymentSeen, latch: &Latch, replicas: u32) -> LatchStep {
    let above = seen.wanted_pods().saturating_sub(replicas);
    LatchStep::hold(
        replicas,
        seen.new.wanted.min(replicas),
        above.max(latch.written.allowed_surge()),
    )
}

struct LatchedRollout<'a> {
    seen: &'a DeploymentSeen,
    latch: &'a Latch,
    goal: &'a Goal<'a>,
    replicas: u32,
}

impl LatchedRollout<'_> {
    fn write_step(&self, written: LatchStep, words: &'static str) -> RolloutAction {
        patch_or_wait(
            patch::write_step(
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
    fn pause_midway(&self) -> RolloutAction {
        self.write_step(
            freeze_step(self.seen, self.latch, self.replicas),
            "paused: the replicas were changed",
        )
    }

    fn continue_surge(&self) -> RolloutAction {
        let to = self.latch.written.to;
        let min_ready = self.latch.min_ready();
        if self.seen.new.ready_pods(min_ready) < to || self.seen.new.wanted < to {
            return self.wait_until_ready(to);
        }
        if self.goal.hold {
            return RolloutAction::Held;
        }
        let LatchStep { from, .. } = self.latch.written;
        self.write_step(
            LatchStep::retire(self.replicas, from, to),
            "old pods that new ones have replaced are deleted",
        )
    }

    fn continue_retire(&self) -> RolloutAction {
        let LatchStep { to, .. } = self.latch.written;
        let rest = self.replicas - to.min(self.replicas);
        let VersionPods { wanted, .. } = self.seen.old;
        if self.seen.old.active_pods() > rest || wanted > rest || self.seen.new.wanted < to {
            let over = self.seen.old.active_pods().saturating_sub(rest);
            return RolloutAction::Wait(
                format!("{to} of {} new, {over} old to go", self.replicas),
                None,
            );
        }
        // The latch never stays open longer than needed: pause unless the next step follows at
        // once.
        self.advance_from(to).unwrap_or_else(|| {
            self.write_step(LatchStep::hold(self.replicas, to, 0), "exact: paused")
        })
    }

    fn continue_hold(&self) -> RolloutAction {
        let new = self.seen.new.wanted.min(self.replicas);
        let all = new.saturating_add(self.seen.old.wanted);
        if has_no_replica_set(self.seen) && self.seen.is_observed() {
            let words =
                "it has no ReplicaSet any more, and its controller creates none while it is paused";
            return self.goal.stop_for_foreign_change(words, None);
        }
        if !self.seen.is_observed() || all < self.replicas {
            return RolloutAction::Wait("waiting for the Deployment controller".into(), None);
        }
        if self.goal.hold {
            return RolloutAction::Held;
        }
        if self.seen.new.ready_pods(self.latch.min_ready()) < new {
            return self.wait_until_ready(new);
        }
        if all > self.replicas && new > 0 {
            let written = LatchStep::retire(self.replicas, new, new);
            return self.write_step(written, "old pods that new ones have replaced are deleted");
        }
        self.advance_from(new).unwrap_or(RolloutAction::Held)
    }

    /// From exactly `at` new pods: the next step, or the end of the rollout; `None` when neither is
    /// possible yet.
    fn advance_from(&self, at: u32) -> Option<RolloutAction> {
        let goal = self.goal;
        let ready = self.seen.new.ready_pods(self.latch.min_ready()) >= at;
        if goal.hold || !ready {
            return None;
        }
        let all = compute_targets(goal.batches, self.replicas);
        let target = goal
            .upto
            .checked_sub(1)
            .and_then(|i| all.get(i).or(all.last()))
            .copied()
            .unwrap_or(0);
        if at >= self.replicas {
            let last = goal.upto >= all.len();
            return last.then(|| {
                patch_or_wait(
                    patch::finish_rollout(&self.seen.live, self.latch),
                    "done: your own settings are restored",
                )
            });
        }
        let written = plan_step(&self.latch.after, goal, self.replicas, at, target);
        (at < target).then(|| self.write_step(written, "the next new pods"))
    }

    fn wait_until_ready(&self, want: u32) -> RolloutAction {
        let min_ready = self.latch.min_ready();
        let again = self.seen.new.next_ready(min_ready);
        RolloutAction::Wait(describe_readiness(&self.seen.new, want, min_ready), again)
    }
}
