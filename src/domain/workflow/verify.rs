//! Sends probes until all of them pass, or the time is up.

use jiff::SignedDuration;

use super::{
    ClosedLane, ProbesSeen, ReleaseStep, outcome::TaskOutcome, timers::TimerKind, view::TaskView,
};
use crate::{
    api::{ProbeResult, TaskPhase, VerifyTask},
    domain::text::Clean,
};

/// Seconds between two rounds of probes.
const PROBE_INTERVAL_SECONDS: u64 = 1;

pub(super) fn decide_verify(view: &TaskView, task: &VerifyTask) -> TaskOutcome {
    // Requests for a closed lane go to the baseline: probes would pass without testing the new
    // version.
    let closed = view.observed.facts.routes.closed.get(&task.lane_group);
    if let Some(closed) = closed.filter(|c| c.waits && !view.has_begun()) {
        return TaskOutcome::unchanged(view).in_phase(TaskPhase::Pending, Some(closed.why.clone()));
    }
    let mut outcome = TaskOutcome::unchanged(view).started();
    // Results from before this attempt began, or before the engine started, prove nothing.
    let probes = view
        .observed
        .probes
        .filter(|p| p.task == view.task.name && p.attempt == view.task.attempt);
    let results = probes
        .and_then(|p| p.last.as_ref())
        .and_then(|(_, results)| results.as_ref().ok());
    if let Some(results) = results.filter(|_| closed.is_none()) {
        outcome.status.probes.clone_from(results);
        if have_all_passed(results) {
            return outcome.succeeded(None);
        }
    }
    let words = describe_probes(closed, probes);
    let spent = view
        .with_task(&outcome.status)
        .seconds_spent(TimerKind::Task);
    let left = i64::from(task.timeout_seconds) - spent;
    if left <= 0 {
        let seconds = task.timeout_seconds;
        return outcome.failed(format!("not as expected within {seconds} s: {words}"));
    }
    let next_round = left.min(PROBE_INTERVAL_SECONDS.cast_signed());
    outcome
        .in_phase(TaskPhase::Running, Some(words))
        .requeued_after(SignedDuration::from_secs(next_round))
        .with_steps(next_probes(view, task, closed, probes))
}

fn have_all_passed(results: &[ProbeResult]) -> bool {
    !results.is_empty() && results.iter().all(|r| r.passed)
}

/// What is waited for.
fn describe_probes(closed: Option<&ClosedLane>, probes: Option<&ProbesSeen>) -> String {
    match (closed, probes.and_then(|p| p.last.as_ref())) {
        (Some(closed), _) => closed.why.clone(),
        (None, Some((_, Ok(results)))) => {
            let wrong = results.iter().find(|r| !r.passed);
            let why = wrong
                .and_then(|r| r.message.as_deref())
                .unwrap_or("no probe was sent");
            let path = wrong.map_or("", |r| r.probe.path.as_str());
            format!(
                "{}: {}",
                Clean::from_untrusted(path),
                Clean::from_untrusted(why)
            )
        }
        (None, Some((_, Err(failure)))) => failure.to_string(),
        (None, None) => "probes are on their way".to_owned(),
    }
}

/// The next round of probes, unless one is under way or has just ended.
fn next_probes(
    view: &TaskView,
    task: &VerifyTask,
    closed: Option<&ClosedLane>,
    probes: Option<&ProbesSeen>,
) -> Option<ReleaseStep> {
    let last = probes.and_then(|p| p.last.as_ref());
    let rested = last.is_none_or(|(ago, _)| ago.as_secs() >= PROBE_INTERVAL_SECONDS);
    let running = probes.is_some_and(|p| p.running);
    (rested && closed.is_none() && !running).then(|| ReleaseStep::RunProbes {
        task: view.task.name.clone(),
        attempt: view.task.attempt,
        group: task.lane_group.clone(),
        probes: task.probes.clone(),
    })
}
