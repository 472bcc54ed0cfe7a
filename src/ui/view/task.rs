//! Draws one task: its row, its batches as bars, and its details.

use super::{chain, labels};
use crate::{
    api::{
        BatchPhase, BatchStatus, HistoryEntry, RecordedTime, Release, TaskKind, TaskPhase,
        TaskStatus,
    },
    domain::text::display_width,
    ui::{
        facts::{self, ReplacementStrategy, count_versions, replacement_strategy},
        model::Model,
        theme::Role,
        widget::{RichText, longest_fitting, wrap_words},
    },
};

/// Widths of the name and the time column.
pub(in crate::ui) fn column_widths(model: &Model, tasks: &[TaskStatus]) -> (usize, usize) {
    let name = tasks
        .iter()
        .map(|t| t.name.chars().count())
        .max()
        .unwrap_or(8)
        .clamp(8, 20);
    (
        name,
        tasks
            .iter()
            .map(|t| task_elapsed(model, t).len())
            .max()
            .unwrap_or(0),
    )
}

/// Width of sign and number before each batch.
pub(in crate::ui) const BATCH_WIDTH: usize = 8;

/// Width of sign and name of each task.
pub(in crate::ui) const fn pinned_width((name, _): (usize, usize)) -> usize {
    2 + name + 2
}

fn task_elapsed(model: &Model, task: &TaskStatus) -> String {
    let (started, finished) = (task.started_at.as_ref(), task.finished_at.as_ref());
    labels::format_elapsed(model, started, finished, task.phase == TaskPhase::Running)
}

pub(in crate::ui) fn task_row(
    model: &Model,
    release: &Release,
    task: &TaskStatus,
    (name, time): (usize, usize),
    width: usize,
) -> RichText {
    let glyphs = &model.options.glyphs;
    let (role, sign) = labels::task_sign(glyphs, model.beat, task);
    let text = if task.phase == TaskPhase::Pending {
        Role::Muted
    } else {
        Role::Text
    };
    let line = RichText::styled(role, format!("{sign} "))
        .add_column(text, &task.name, name)
        .add(Role::Text, "  ");
    let spent = task_elapsed(model, task);
    let (role, forms) = describe_progress(model, release, task);
    let room = width.saturating_sub(line.width() + time + 1);
    line.add_column(role, longest_fitting(&forms, room), room)
        .add_right_column(Role::Muted, spent, time + 1)
}

/// Width in which no row is cut.
pub(in crate::ui) fn full_width(
    model: &Model,
    release: &Release,
    tasks: &[TaskStatus],
    (name, time): (usize, usize),
) -> usize {
    let told = tasks.iter().filter_map(|task| {
        let (_, forms) = describe_progress(model, release, task);
        forms.into_iter().map(|form| display_width(&form)).max()
    });
    2 + name + 2 + told.max().unwrap_or(0) + time + 1
}

/// Approvals and refusals of a task, oldest first.
fn task_decisions<'a>(
    release: &'a Release,
    task: &'a TaskStatus,
) -> impl Iterator<Item = &'a HistoryEntry> {
    let decided =
        |h: &&HistoryEntry| h.action.starts_with("approved") || h.action.starts_with("refused");
    let history = release.status.iter().flat_map(|s| &s.history);
    history
        .filter(move |h| h.by != "engine" && h.task.as_deref() == Some(task.name.as_str()))
        .filter(decided)
}

/// What a task does and its progress, in several lengths, the longest first.
fn describe_progress(model: &Model, release: &Release, task: &TaskStatus) -> (Role, Vec<String>) {
    let attempt = if task.attempt > 1 {
        format!(", attempt {}", task.attempt)
    } else {
        String::new()
    };

    let quiet = matches!(
        task.phase,
        TaskPhase::Pending | TaskPhase::Succeeded | TaskPhase::Skipped
    );
    let role = if quiet { Role::Muted } else { Role::Text };
    let forms = progress_forms(model, release, task);
    let (role, message) = match (&task.message, task.phase) {
        (Some(message), TaskPhase::Failed) => (Role::Bad, format!(": {message}")),
        _ => (role, String::new()),
    };
    (
        role,
        forms
            .into_iter()
            .map(|form| format!("{form}{attempt}{message}"))
            .collect(),
    )
}

/// What a task does and how far it is, in several lengths, the longest first.
fn progress_forms(model: &Model, release: &Release, task: &TaskStatus) -> Vec<String> {
    let arrow = model.options.glyphs.arrow;
    let environment = task.environment.as_deref().unwrap_or_default();
    match task.kind {
        TaskKind::Deploy => {
            let done = task
                .batches
                .iter()
                .filter(|b| b.phase == BatchPhase::Done)
                .count();
            match task.batches.len() {
                0 | 1 => vec![format!("{arrow} {environment}")],
                n => vec![
                    format!("{arrow} {environment}, {done} of {n} batches"),
                    format!("{arrow} {environment}, {done} of {n}"),
                    format!("{arrow} {environment} {done}/{n}"),
                ],
            }
        }
        TaskKind::CleanUp => vec![
            format!("take {environment} down"),
            format!("{environment} down"),
        ],
        TaskKind::Verify => {
            let passed = task.probes.iter().filter(|p| p.passed).count();
            match task.probes.len() {
                0 => vec!["probes".into()],
                n => vec![
                    format!("probes, {passed} of {n} right"),
                    format!("{passed} of {n} right"),
                ],
            }
        }
        TaskKind::Build => match task.new_images.values().next() {
            Some(image) => vec![
                labels::image_name(image).to_owned(),
                labels::image_tag(image).to_owned(),
            ],
            None => vec!["image".into()],
        },
        TaskKind::Approval => {
            let by: Vec<String> = task_decisions(release, task)
                .map(|h| format!("{} by {}", h.action, h.by))
                .collect();
            if by.is_empty() {
                vec!["approval".into()]
            } else {
                vec![by.join(", ")]
            }
        }
        TaskKind::Proceed => vec!["go-ahead".into()],
        TaskKind::Unknown => vec!["of a kind that this graylane does not know".into()],
    }
}

/// One line per batch with its target, then the current pods.
pub(in crate::ui) fn batch_lines(
    model: &Model,
    release: &Release,
    task: &TaskStatus,
    width: usize,
) -> Vec<RichText> {
    let glyphs = &model.options.glyphs;
    let environment = task.environment.as_deref().unwrap_or_default();
    let app = &release.spec.app;
    let workloads: Vec<_> = model.world.workloads_of(app, environment).collect();
    let now = count_versions(
        Some(task),
        &workloads,
        facts::environment_pods(&model.facts, &model.world, app, environment),
    );
    let total = task
        .batches
        .iter()
        .map(|b| b.target)
        .max()
        .unwrap_or(0)
        .max(now.wanted);
    let bar = usize::try_from(total)
        .unwrap_or(8)
        .clamp(4, (width / 3).clamp(4, 24))
        + 1;
    let coming = match replacement_strategy(&workloads) {
        ReplacementStrategy::Surge => "new pods come up",
        ReplacementStrategy::InPlace => "pods are replaced one by one",
        ReplacementStrategy::Mixed => "new pods take over",
    };
    let mut lines = vec![];
    for batch in &task.batches {
        lines.push(batch_line(model, task, batch, (total, bar, coming), width));
    }
    if let Some(gap) = model.world.find_gap(&["pods"]) {
        lines.push(RichText::styled(Role::Accent, "   now  ").add(Role::Warn, gap.describe_gap()));
    } else if now.wanted > 0 || now.new_ready + now.new_coming + now.old > 0 {
        let line = RichText::styled(Role::Accent, "   now  ");
        let line = line
            .join(labels::pod_bar(
                glyphs,
                now.new_ready,
                now.new_coming,
                now.old,
                bar,
            ))
            .pad_to(9 + bar);
        let coming = if now.new_coming > 0 {
            format!(", {} coming", now.new_coming)
        } else {
            String::new()
        };
        lines.push(line.add(
            Role::Text,
            format!("{} new ready{coming}, {} old", now.new_ready, now.old),
        ));
    }
    lines
}

/// A batch with its sign, its target out of `total` as a bar, and how long it took; `coming` says how
/// new pods come.
fn batch_line(
    model: &Model,
    task: &TaskStatus,
    batch: &BatchStatus,
    (total, bar, coming): (u32, usize, &str),
    width: usize,
) -> RichText {
    let glyphs = &model.options.glyphs;
    let old = total.saturating_sub(batch.target);
    let (role, sign, word) = match batch.phase {
        BatchPhase::Pending => (Role::Muted, glyphs.idle, ""),
        // Only a running task has a spinner.
        BatchPhase::Surging | BatchPhase::Retiring if task.phase != TaskPhase::Running => {
            match task.phase {
                TaskPhase::Failed => (Role::Bad, glyphs.bad, "not done"),
                TaskPhase::Waiting | TaskPhase::Paused => (Role::Warn, glyphs.held, "held"),
                TaskPhase::Aborted => (Role::Muted, glyphs.gone, "rolled back"),
                _ => (Role::Muted, glyphs.gone, "left"),
            }
        }
        BatchPhase::Surging => (Role::Busy, glyphs.spinner_frame(model.beat), coming),
        BatchPhase::Retiring => (Role::Busy, glyphs.spinner_frame(model.beat), "old pods go"),
        BatchPhase::Done => (Role::Ok, glyphs.ok, ""),
    };
    let line = RichText::styled(role, format!("  {sign} "))
        .add(Role::Muted, format!("{:>2}  ", batch.number));
    let line = line
        .join(labels::pod_bar(glyphs, batch.target, 0, old, bar - 1))
        .pad_to(9 + bar);
    let counts = format!("{} new {} old", batch.target, old);
    let ended = batch.finished_at.as_ref().or(task.finished_at.as_ref());
    let running = task.phase == TaskPhase::Running;
    let spent = labels::format_elapsed(model, batch.started_at.as_ref(), ended, running);
    let text = if batch.phase == BatchPhase::Pending {
        Role::Muted
    } else {
        Role::Text
    };
    let line = line.add_column(text, counts, 14);
    let room = width.saturating_sub(line.width() + 6);
    line.add_column(role, word, room)
        .add_right_column(Role::Muted, spent, 6)
}

/// Everything about a task.
pub(in crate::ui) fn task_detail(
    model: &Model,
    release: &Release,
    task: &TaskStatus,
) -> Vec<RichText> {
    let width = usize::from(model.size.0).saturating_sub(22).max(20);
    let mut lines = vec![];
    let mut add = |label: &str, text: String| {
        for (i, part) in wrap_words(&text, width).into_iter().enumerate() {
            lines.push(
                RichText::new()
                    .add_column(Role::Muted, if i == 0 { label } else { "" }, 16)
                    .add(Role::Text, part),
            );
        }
    };
    add("kind", task.kind.to_string());
    add(
        "phase",
        format!("{:?}, attempt {}", task.phase, task.attempt),
    );
    if let Some(environment) = &task.environment {
        add("environment", environment.clone());
    }
    let time = |at: &Option<RecordedTime>| at.as_ref().map(RecordedTime::to_string);
    for (label, value) in [
        ("started", time(&task.started_at)),
        ("finished", time(&task.finished_at)),
        ("message", task.message.clone()),
        ("job", task.job.clone()),
        ("draining since", time(&task.drain_since)),
        ("old version", task.old_version.clone()),
        ("new version", task.new_version.clone()),
    ] {
        if let Some(value) = value {
            add(label, value);
        }
    }
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map_or("nothing", String::as_str);
        add(&format!("image {image}"), format!("{old} → {new}"));
    }
    for said in task_decisions(release, task) {
        let at = said.at.timestamp().map_or_else(
            || said.at.to_string(),
            |at| at.strftime("%F %T").to_string(),
        );
        let comment = said
            .message
            .as_ref()
            .map(|m| format!(": {m}"))
            .unwrap_or_default();
        add(&said.action, format!("by {} at {at}{comment}", said.by));
    }
    for probe in &task.probes {
        let hops = probe
            .chain
            .iter()
            .map(|h| chain::hop_label(&model.options.glyphs, &model.facts, &h.app, Some(h.served)));
        let chain = chain::join_hops(&model.options.glyphs, hops).plain_text();
        let word = if probe.passed { "right" } else { "wrong" };
        let message = probe
            .message
            .as_deref()
            .map(|m| format!(": {m}"))
            .unwrap_or_default();
        add(
            "probe",
            format!(
                "{} {} {word}: {}{message}",
                probe.probe.path, probe.status, chain
            ),
        );
    }
    if !task.batches.is_empty() {
        lines.push(RichText::new());
        lines.extend(batch_lines(model, release, task, width));
    }
    lines
}
