//! Why a release was rolled back, as its status tells it in the end.

use crate::{
    api::{Control, HistoryEntry, ReleaseStatus, TaskPhase, TaskStatus},
    domain::{text::Clean, workflow::outcome::ENGINE},
};

/// Why it was rolled back: who asked for it, what had failed, and what was left behind.
pub(in crate::domain::workflow) fn abort_reason(
    control: &Control,
    status: &ReleaseStatus,
) -> String {
    let clean = |text: &str| Clean::from_untrusted(text).to_string();
    let wish = control.last.as_ref().filter(|wish| wish.action == "abort");
    let comment = wish
        .and_then(|w| w.comment.as_deref())
        .map(|c| format!(": {}", clean(c)));
    let by = wish.map(|w| format!("aborted by {}{}", clean(&w.by), comment.unwrap_or_default()));
    let failure = last_failure(&status.history).map(|h| {
        let task = h.task.as_deref().unwrap_or_default();
        let why = h.message.as_deref().unwrap_or("no reason is known");
        format!("{task} had failed: {why}")
    });
    let aborted = |t: &&TaskStatus| t.phase == TaskPhase::Aborted;
    let left = status.tasks.iter().filter(aborted);
    let mut told = vec![by.unwrap_or_else(|| "aborted".into())];
    told.extend(failure);
    told.extend(left.filter_map(|t| t.message.clone()));
    told.join("; ")
}

/// The last phase change of a task before the abort, if it was a failure.
fn last_failure(history: &[HistoryEntry]) -> Option<&HistoryEntry> {
    let begun = history
        .iter()
        .rposition(|h| h.by == ENGINE && h.action == "abort")
        .unwrap_or(history.len());
    let turns = [
        "failed",
        "running",
        "waiting",
        "paused",
        "succeeded",
        "skipped",
    ];
    let mut before = history[..begun].iter().rev();
    before
        .find(|h| h.by == ENGINE && h.task.is_some() && turns.contains(&h.action.as_str()))
        .filter(|h| h.action == "failed")
}
