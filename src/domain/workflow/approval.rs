//! Waits for people's approval, bound to this release, this attempt, these images, and the exact
//! objects that it lets through.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    Observed, outcome::TaskOutcome, proposal::bound_images, task_error::TaskError,
    timers::TimerKind, view::TaskView,
};
use crate::{
    api::{
        Approval, ApprovalMode, ApprovalSpec, ApprovalTask, Decision, HistoryEntry, Release,
        ReleaseStatus, TaskPhase, TaskStatus, Uid,
    },
    domain::text::Clean,
};

pub(super) fn decide_approval(view: &TaskView, task: &ApprovalTask) -> TaskOutcome {
    let mut outcome = TaskOutcome::unchanged(view).started();
    match digest_shown(view) {
        Ok(digest) => outcome.status.digest = Some(digest),
        Err(error) => return outcome.failed(error),
    }
    let (said, passed_over) = weigh_decisions(
        view.observed.facts.approvals.iter().map(|a| &**a),
        view.observed.release,
        view.release,
        &outcome.status,
        task,
    );
    let outcome = record_decisions(view, outcome, &said);
    if let Some(error) = find_refusal(&said) {
        return outcome.failed(error);
    }
    let needed = match needed_approvals(task, &view.spec().requester) {
        Ok(needed) => needed,
        Err(error) => return outcome.failed(error),
    };
    if said.len() >= needed {
        return outcome.succeeded(None);
    }
    let lasted = view
        .with_task(&outcome.status)
        .seconds_lasted(TimerKind::Task);
    let left = i64::from(task.timeout_seconds) - lasted;
    if left <= 0 {
        return outcome.failed(TaskError::ApprovalTimeout {
            seconds: task.timeout_seconds,
            given: said.len(),
            needed,
        });
    }
    let words = describe_waiting(task, said.len(), needed, &passed_over);
    outcome
        .waiting(words)
        .requeued_after(SignedDuration::from_secs(left))
}

/// Digest of the objects that an approval of this task lets through.
fn digest_shown(view: &TaskView) -> Result<String, TaskError> {
    let Observed { rendered, .. } = view.observed;
    rendered
        .digest_proposal(
            view.app()?,
            view.spec(),
            view.release,
            Some(&view.task.name),
        )
        .map_err(TaskError::Proposal)
}

fn find_refusal(said: &BTreeMap<&str, &Approval>) -> Option<TaskError> {
    let (by, no) = said
        .iter()
        .find(|(_, a)| a.spec.decision == Decision::Refuse)?;
    Some(TaskError::DecidedAgainst {
        by: Clean::from_untrusted(by),
        comment: no.spec.comment.as_deref().map(Clean::from_untrusted),
    })
}

fn describe_waiting(
    task: &ApprovalTask,
    given: usize,
    needed: usize,
    passed_over: &[String],
) -> String {
    let who = if task.approvers.is_empty() {
        String::new()
    } else {
        format!(" by {}", task.approvers.join(", "))
    };
    let mut words = match needed {
        1 => format!("waits for approval{who}"),
        n => format!("{given} of {n} approved{who}"),
    };
    if !passed_over.is_empty() {
        words += &format!("; does not count: {}", passed_over.join(", "));
    }
    words
}

/// Decisions on a task's attempt that count, by approver; and why others do not count.
fn weigh_decisions<'a>(
    approvals: impl IntoIterator<Item = &'a Approval>,
    release: &Release,
    status: &ReleaseStatus,
    told: &TaskStatus,
    task: &ApprovalTask,
) -> (BTreeMap<&'a str, &'a Approval>, Vec<String>) {
    let images = bound_images(status);
    let name = release.metadata.name.as_deref();
    let mine = |a: &&Approval| {
        Some(a.spec.release.as_str()) == name
            && a.spec.release_uid.is_of(&release.metadata)
            && a.spec.task == told.name
            && a.spec.attempt == told.attempt
    };
    let requester = &release.spec.requester;
    let mut said: BTreeMap<&str, &Approval> = BTreeMap::new();
    let mut passed_over: Vec<String> = vec![];
    for approval in approvals.into_iter().filter(mine) {
        let by = approval.spec.approver.as_str();
        let shown = Clean::from_untrusted(by);
        if !task.approvers.is_empty() && !task.approvers.iter().any(|a| a == by) {
            passed_over.push(format!("{shown} is not an approver"));
        } else if by == requester && !task.requester_may_approve {
            passed_over.push(format!(
                "{shown} started the release and may not decide on it"
            ));
        } else if approval.spec.images != images {
            passed_over.push(format!("{shown} decided on other images"));
        } else if approval.spec.digest.is_none() {
            passed_over.push(format!(
                "{shown} decided without naming the objects to apply, and must decide again"
            ));
        } else if (&approval.spec.revision, &approval.spec.digest)
            != (&status.revision, &told.digest)
        {
            passed_over.push(format!(
                "{shown} decided on other objects than would be applied now"
            ));
        } else if said
            .get(by)
            .is_none_or(|a| a.spec.decision == Decision::Pass)
        {
            // A refusal outweighs an approval by the same person.
            said.insert(by, approval);
        }
    }
    (said, passed_over)
}

/// How many people have approved a waiting task (0 if somebody has refused), and whose decisions do
/// not count and why.
pub(super) fn count_given(
    approvals: &[&Approval],
    release: &Release,
    told: &TaskStatus,
    task: &ApprovalTask,
) -> (usize, Vec<String>) {
    let status = release.status.clone().unwrap_or_default();
    let (said, passed_over) =
        weigh_decisions(approvals.iter().copied(), release, &status, told, task);
    let refused = said.values().any(|a| a.spec.decision == Decision::Refuse);
    (if refused { 0 } else { said.len() }, passed_over)
}

/// A person's decision on a task (name and attempt), bound to what the release is about to apply.
pub fn new_decision(
    release: &Release,
    (task, attempt): (&str, u32),
    by: &str,
    decision: Decision,
    digest: Option<String>,
) -> ApprovalSpec {
    let status = release.status.clone().unwrap_or_default();
    ApprovalSpec {
        release: release.metadata.name.clone().unwrap_or_default(),
        release_uid: Uid::from_meta(&release.metadata),
        task: task.into(),
        attempt,
        decision,
        approver: by.into(),
        comment: None,
        images: bound_images(&status),
        revision: status.revision,
        digest,
    }
}

pub(super) fn needed_approvals(task: &ApprovalTask, requester: &str) -> Result<usize, TaskError> {
    let may = |a: &&String| task.requester_may_approve || *a != requester;
    let able = task.approvers.iter().filter(may).count();
    let needed = match task.mode {
        ApprovalMode::Any => 1,
        ApprovalMode::All => able.max(1),
        ApprovalMode::Count => task.count.unwrap_or(1).max(1) as usize,
    };
    if !task.approvers.is_empty() && able < needed {
        return Err(TaskError::TooFewApprovers { needed, able });
    }
    Ok(needed)
}

/// Approver and action of a decision as the history has them, and whether the history has it
/// already.
fn history_entry<'h>(
    approval: &Approval,
    history: impl IntoIterator<Item = &'h HistoryEntry>,
) -> (String, String, bool) {
    let word = if approval.spec.decision == Decision::Pass {
        "approved"
    } else {
        "refused"
    };
    let attempt = approval.spec.attempt;
    let action = if attempt > 1 {
        format!("{word}, attempt {attempt}")
    } else {
        word.to_owned()
    };
    let by = Clean::from_untrusted(&approval.spec.approver).to_string();
    let task = Some(approval.spec.task.as_str());
    let known = history
        .into_iter()
        .any(|h| h.by == by && h.action == action && h.task.as_deref() == task);
    (by, action, known)
}

/// Whether an Approval exists that no engine has counted yet, on the current attempt of a task that
/// still waits.
pub fn has_uncounted_decision(release: &Release, approvals: &[Approval]) -> bool {
    let Some(status) = &release.status else {
        return false;
    };
    let name = release.metadata.name.as_deref();
    let waits = |a: &Approval| {
        let of =
            |t: &&TaskStatus| t.name == a.spec.task && t.attempt.max(1) == a.spec.attempt.max(1);
        status
            .tasks
            .iter()
            .find(of)
            .is_some_and(|t| t.phase == TaskPhase::Waiting)
    };
    let own = |a: &&Approval| {
        name == Some(a.spec.release.as_str()) && a.spec.release_uid.is_of(&release.metadata)
    };
    approvals
        .iter()
        .filter(own)
        .any(|a| waits(a) && !history_entry(a, &status.history).2)
}

/// Adds the decisions to the history that it does not have yet.
fn record_decisions(
    view: &TaskView,
    mut outcome: TaskOutcome,
    said: &BTreeMap<&str, &Approval>,
) -> TaskOutcome {
    for approval in said.values() {
        let known = view.release.history.iter().chain(&outcome.history);
        let (by, action, is_known) = history_entry(approval, known);
        if !is_known {
            let comment = approval.spec.comment.as_deref();
            let comment = comment.map(|c| Clean::from_untrusted(c).to_string());
            outcome = outcome.with_history(&by, action, comment);
        }
    }
    outcome
}
