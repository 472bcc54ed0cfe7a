//! Describes one release for people: summary, tasks, batches and history.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{HistoryEntry, Release, TaskKind, TaskPhase, TaskStatus},
    cli::{
        output::{Table, format_age},
        proposal,
        session::Session,
    },
    cluster::revision,
    domain::{text::Clean, variables::format_value},
};

/// What is waiting for approval, as a change to what runs; otherwise whether the App has changed
/// since the release began.
pub(super) async fn describe_pending(session: &Session, release: &Release) -> String {
    let Some(status) = release
        .status
        .as_ref()
        .filter(|s| !s.phase.is_final() && s.revision.is_some())
    else {
        return String::new();
    };
    let waits = |t: &&TaskStatus| t.kind == TaskKind::Approval && t.phase == TaskPhase::Waiting;
    let Some(task) = status.tasks.iter().find(waits) else {
        return match revision::read_frozen_app(&session.client, &session.namespace, release).await {
            Ok((_, true)) => {
                format!(
                    "\nApp {} has changed since this release began: the release does not use the change\n",
                    release.spec.app
                )
            }
            Ok(_) => String::new(),
            Err(why) => format!("\n{why}\n"),
        };
    };
    match proposal::describe_proposal(session, release, Some(&task.name)).await {
        Ok((_, words)) => format!("\nTo be approved by {}: {words}", task.name),
        Err(why) => format!("\nWhat {} is to approve is not known: {why}\n", task.name),
    }
}

pub(super) fn describe_release(release: &Release, now: Timestamp) -> String {
    let status = release.status.clone().unwrap_or_default();
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let value = Clean::from_untrusted(value);
        if !value.is_empty() {
            let _ = writeln!(out, "{name:<11}{value}");
        }
    };
    line("Release:", &release.name_any());
    line("App:", &release.spec.app);
    match &release.spec.teardown {
        Some(teardown) => line("Teardown:", &teardown.environment),
        None => line("Stage:", &release.spec.stage),
    }
    line("Phase:", &format!("{:?}", status.phase));
    line("Message:", status.message.as_deref().unwrap_or_default());
    line("Requester:", &release.spec.requester);
    line(
        "Comment:",
        release.spec.comment.as_deref().unwrap_or_default(),
    );
    line(
        "Window:",
        release.spec.window.as_deref().unwrap_or_default(),
    );
    line("Revision:", status.revision.as_deref().unwrap_or_default());
    for (name, reference) in &status.images {
        line("Image:", &format!("{name}={reference}"));
    }
    for (environment, values) in &status.variables {
        let values: Vec<String> = values
            .iter()
            .map(|(key, value)| format!("{key}={}", format_value(value)))
            .collect();
        line(
            "Variables:",
            &format!("{environment}: {}", values.join(", ")),
        );
    }
    if !status.tasks.is_empty() {
        out.push('\n');
        out.push_str(&task_table(&status.tasks).render());
    }
    if !status.history.is_empty() {
        out.push('\n');
        out.push_str(&history_table(&status.history, now).render());
    }
    out
}

fn task_table(tasks: &[TaskStatus]) -> Table {
    let mut table = Table::new(&["TASK", "KIND", "PHASE", "ATTEMPT", "BATCHES", "MESSAGE"]);
    for task in tasks {
        table.add_row([
            task.name.clone(),
            task.kind.to_string(),
            format!("{:?}", task.phase),
            task.attempt.to_string(),
            format_batches(task),
            task.message.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn history_table(history: &[HistoryEntry], now: Timestamp) -> Table {
    let mut table = Table::new(&["AGE", "BY", "WHAT", "TASK", "MESSAGE"]);
    for entry in history {
        table.add_row([
            format_age(entry.at.timestamp(), now),
            entry.by.clone(),
            entry.action.clone(),
            entry.task.clone().unwrap_or_default(),
            entry.message.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// New pods and phase of each batch, as `1 Done, 2 Surging, 4 Pending`.
fn format_batches(task: &TaskStatus) -> String {
    task.batches
        .iter()
        .map(|b| format!("{} {:?}", b.target, b.phase))
        .collect::<Vec<_>>()
        .join(", ")
}
