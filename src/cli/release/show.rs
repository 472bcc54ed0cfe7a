//! One release for people: head, tasks, batches, history.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Release, TaskStatus},
    cli::output::{Table, age},
};

pub(super) fn text(release: &Release, now: Timestamp) -> String {
    let status = release.status.clone().unwrap_or_default();
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
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
    line("Comment:", release.spec.comment.as_deref().unwrap_or_default());
    line("Window:", release.spec.window.as_deref().unwrap_or_default());
    for (name, reference) in &status.images {
        line("Image:", &format!("{name}={reference}"));
    }
    if !status.tasks.is_empty() {
        let mut table = Table::new(&["TASK", "KIND", "PHASE", "ATTEMPT", "BATCHES", "MESSAGE"]);
        for task in &status.tasks {
            table.row([
                task.name.clone(),
                task.kind.clone(),
                format!("{:?}", task.phase),
                task.attempt.to_string(),
                batches(task),
                task.message.clone().unwrap_or_default(),
            ]);
        }
        out.push('\n');
        out.push_str(&table.render());
    }
    if !status.history.is_empty() {
        let mut table = Table::new(&["AGE", "BY", "WHAT", "TASK", "MESSAGE"]);
        for entry in &status.history {
            table.row([
                age(entry.at.parse().ok(), now),
                entry.by.clone(),
                entry.action.clone(),
                entry.task.clone().unwrap_or_default(),
                entry.message.clone().unwrap_or_default(),
            ]);
        }
        out.push('\n');
        out.push_str(&table.render());
    }
    out
}

/// `1 Done, 2 Surging, 4 Pending`: new pods after each batch.
fn batches(task: &TaskStatus) -> String {
    task.batches.iter().map(|b| format!("{} {:?}", b.target, b.phase)).collect::<Vec<_>>().join(", ")
}
