//! Sends probes until all of them pass, or the time is up.

use jiff::SignedDuration;

use super::{
    ReleaseStep,
    reconciliation::{Flow, Reconciliation},
    timers::TimerKind,
};
use crate::{
    api::{TaskPhase, VerifyTask},
    domain::text::Clean,
};

/// Seconds between two rounds of probes.
const PROBE_INTERVAL_SECONDS: u64 = 1;

pub(super) fn reconcile_verify(run: &mut Reconciliation, index: usize, task: &VerifyTask) -> Flow {
    // Requests for a closed lane go to the baseline: probes would pass without testing the new
    // version.
    let closed = run.observed.routes.closed.get(&task.lane_group);
    if let Some(closed) = closed.filter(|c| c.waits && run.status.tasks[index].started_at.is_none())
    {
        run.set_phase(index, TaskPhase::Pending, Some(closed.why.clone()));
        return Flow::Stay;
    }
    run.start_task(index);
    let told = run.status.tasks[index].clone();
    let mine = run
        .observed
        .probes
        .filter(|p| p.task == told.name && p.attempt == told.attempt);
    // Results from before this attempt began, or before the engine started, prove nothing.
    let last = mine.and_then(|p| p.last.as_ref());
    let words = match (closed, last) {
        (Some(closed), _) => closed.why.clone(),
        (None, Some((_, Ok(results))))
            if !results.is_empty() && results.iter().all(|r| r.passed) =>
        {
            run.status.tasks[index].probes.clone_from(results);
            run.set_phase(index, TaskPhase::Succeeded, None);
            return Flow::Next;
        }
        (None, Some((_, Ok(results)))) => {
            let wrong = results.iter().find(|r| !r.passed);
            let why = wrong
                .and_then(|r| r.message.as_deref())
                .unwrap_or("no probe was sent");
            let path = wrong.map_or("", |r| r.probe.path.as_str());
            run.status.tasks[index].probes.clone_from(results);
            format!(
                "{}: {}",
                Clean::from_untrusted(path),
                Clean::from_untrusted(why)
            )
        }
        (None, Some((_, Err(failure)))) => failure.to_string(),
        (None, None) => "probes are on their way".to_owned(),
    };
    let left = i64::from(task.timeout_seconds) - run.seconds_spent(index, TimerKind::Task);
    if left <= 0 {
        run.fail_task(
            index,
            format!("not as expected within {} s: {words}", task.timeout_seconds),
        );
        return Flow::Stay;
    }
    run.set_phase(index, TaskPhase::Running, Some(words));
    run.requeue_after(SignedDuration::from_secs(
        left.min(PROBE_INTERVAL_SECONDS.cast_signed()),
    ));
    let rested = last.is_none_or(|(ago, _)| ago.as_secs() >= PROBE_INTERVAL_SECONDS);
    if rested && closed.is_none() && !mine.is_some_and(|p| p.running) {
        run.steps.push(ReleaseStep::RunProbes {
            task: told.name,
            attempt: told.attempt,
            group: task.lane_group.clone(),
            probes: task.probes.clone(),
        });
    }
    Flow::Stay
}
