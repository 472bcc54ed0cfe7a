//! One task: its row, its batches as exact bars, and everything about it.

use super::words;
use crate::{
    api::{BatchPhase, HistoryEntry, Release, TaskPhase, TaskStatus},
    ui::{
        facts::{self, Way, split, way},
        model::Model,
        theme::Role,
        widget::{Rich, wrap},
    },
};

pub(super) fn row(model: &Model, release: &Release, task: &TaskStatus, name: usize, width: usize) -> Rich {
    let glyphs = &model.options.glyphs;
    let (role, sign) = words::task(glyphs, model.beat, task);
    let text = if task.phase == TaskPhase::Pending { Role::Muted } else { Role::Text };
    let line = Rich::of(role, format!("{sign} ")).col(text, &task.name, name).add(Role::Text, "  ");
    let spent = words::elapsed(model, task.started_at.as_ref(), task.finished_at.as_ref());
    let (role, words) = about(model, release, task);
    let room = width.saturating_sub(line.width() + 7);
    line.col(role, words, room).right(Role::Muted, spent, 6)
}

/// Who decided on a task, in what words, oldest first.
fn decisions<'a>(release: &'a Release, task: &'a TaskStatus) -> impl Iterator<Item = &'a HistoryEntry> {
    let decided = |h: &&HistoryEntry| h.action.starts_with("approved") || h.action.starts_with("refused");
    let history = release.status.iter().flat_map(|s| &s.history);
    history.filter(move |h| h.by != "engine" && h.task.as_deref() == Some(task.name.as_str())).filter(decided)
}

fn about(model: &Model, release: &Release, task: &TaskStatus) -> (Role, String) {
    let arrow = model.options.glyphs.arrow;
    let environment = task.environment.as_deref().unwrap_or_default();
    let attempt = if task.attempt > 1 { format!(", attempt {}", task.attempt) } else { String::new() };
    let quiet = matches!(task.phase, TaskPhase::Pending | TaskPhase::Succeeded | TaskPhase::Skipped);
    let role = if quiet { Role::Muted } else { Role::Text };
    let words = match task.kind.as_str() {
        "deploy" => {
            let done = task.batches.iter().filter(|b| b.phase == BatchPhase::Done).count();
            let batches = match task.batches.len() {
                0 | 1 => String::new(),
                n => format!(", {done} of {n} batches"),
            };
            format!("{arrow} {environment}{batches}")
        }
        "cleanUp" => format!("take {environment} down"),
        "verify" => {
            let passed = task.probes.iter().filter(|p| p.passed).count();
            match task.probes.len() {
                0 => "probes".into(),
                n => format!("probes, {passed} of {n} right"),
            }
        }
        "build" => task.new_images.values().next().map_or_else(|| "image".into(), |i| words::image(i).to_owned()),
        "approval" => {
            let by: Vec<String> = decisions(release, task).map(|h| format!("{} by {}", h.action, h.by)).collect();
            if by.is_empty() { "approval".into() } else { by.join(", ") }
        }
        "proceed" => "go-ahead".into(),
        other => other.to_owned(),
    };
    match (&task.message, task.phase) {
        (Some(message), TaskPhase::Failed) => (Role::Bad, format!("{words}{attempt}: {message}")),
        _ => (role, format!("{words}{attempt}")),
    }
}

/// Batch by batch what is to be, and the pods as they are.
pub(super) fn batches(model: &Model, release: &Release, task: &TaskStatus, width: usize) -> Vec<Rich> {
    let glyphs = &model.options.glyphs;
    let environment = task.environment.as_deref().unwrap_or_default();
    let app = &release.spec.app;
    let workloads: Vec<_> = model.world.workloads_of(app, environment).collect();
    let now = split(Some(task), &workloads, facts::pods(&model.facts, &model.world, app, environment));
    let total = task.batches.iter().map(|b| b.target).max().unwrap_or(0).max(now.wanted);
    let bar = usize::try_from(total).unwrap_or(8).clamp(4, (width / 3).clamp(4, 24)) + 1;
    let coming = match way(&workloads) {
        Way::Beside => "new pods come up",
        Way::InPlace => "pods are replaced one by one",
        Way::Both => "new pods take over",
    };
    let mut lines = vec![];
    for batch in &task.batches {
        let old = total.saturating_sub(batch.target);
        let (role, sign, word) = match batch.phase {
            BatchPhase::Pending => (Role::Muted, glyphs.idle, ""),
            // Only what is at work turns.
            BatchPhase::Surging | BatchPhase::Retiring if task.phase != TaskPhase::Running => match task.phase {
                TaskPhase::Failed => (Role::Bad, glyphs.bad, "not done"),
                TaskPhase::Waiting | TaskPhase::Paused => (Role::Warn, glyphs.held, "held"),
                TaskPhase::Aborted => (Role::Muted, glyphs.gone, "rolled back"),
                _ => (Role::Muted, glyphs.gone, "left"),
            },
            BatchPhase::Surging => (Role::Busy, glyphs.spinner(model.beat), coming),
            BatchPhase::Retiring => (Role::Busy, glyphs.spinner(model.beat), "old pods go"),
            BatchPhase::Done => (Role::Ok, glyphs.ok, ""),
        };
        let line = Rich::of(role, format!("  {sign} ")).add(Role::Muted, format!("{:>2}  ", batch.number));
        let line = line.join(words::bar(glyphs, batch.target, 0, old, bar - 1)).to(9 + bar);
        let counts = format!("{} new {} old", batch.target, old);
        let ended = batch.finished_at.as_ref().or(task.finished_at.as_ref());
        let spent = words::elapsed(model, batch.started_at.as_ref(), ended);
        let text = if batch.phase == BatchPhase::Pending { Role::Muted } else { Role::Text };
        let line = line.col(text, counts, 14);
        let room = width.saturating_sub(line.width() + 7);
        lines.push(line.col(role, word, room).right(Role::Muted, spent, 6));
    }
    if let Some(gap) = model.world.gap(&["pods"]) {
        lines.push(Rich::of(Role::Accent, "   now  ").add(Role::Warn, gap.words()));
    } else if now.wanted > 0 || now.new_ready + now.new_coming + now.old > 0 {
        let line = Rich::of(Role::Accent, "   now  ");
        let line = line.join(words::bar(glyphs, now.new_ready, now.new_coming, now.old, bar)).to(9 + bar);
        let coming = if now.new_coming > 0 { format!(", {} coming", now.new_coming) } else { String::new() };
        lines.push(line.add(Role::Text, format!("{} new ready{coming}, {} old", now.new_ready, now.old)));
    }
    lines
}

/// Everything about a task, for reading.
pub(super) fn detail(model: &Model, release: &Release, task: &TaskStatus) -> Vec<Rich> {
    let width = usize::from(model.size.0).saturating_sub(22).max(20);
    let mut lines = vec![];
    let mut add = |label: &str, text: String| {
        for (i, part) in wrap(&text, width).into_iter().enumerate() {
            lines.push(Rich::new().col(Role::Muted, if i == 0 { label } else { "" }, 16).add(Role::Text, part));
        }
    };
    add("kind", task.kind.clone());
    add("phase", format!("{:?}, attempt {}", task.phase, task.attempt));
    if let Some(environment) = &task.environment {
        add("environment", environment.clone());
    }
    for (label, value) in [
        ("started", &task.started_at),
        ("finished", &task.finished_at),
        ("message", &task.message),
        ("job", &task.job),
        ("draining since", &task.drain_since),
        ("old version", &task.old_version),
        ("new version", &task.new_version),
    ] {
        if let Some(value) = value {
            add(label, value.clone());
        }
    }
    for (image, new) in &task.new_images {
        let old = task.old_images.get(image).map_or("nothing", String::as_str);
        add(&format!("image {image}"), format!("{old} → {new}"));
    }
    for said in decisions(release, task) {
        let at = words::time(Some(&said.at)).map_or_else(|| said.at.clone(), |at| at.strftime("%F %T").to_string());
        let comment = said.message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
        add(&said.action, format!("by {} at {at}{comment}", said.by));
    }
    for probe in &task.probes {
        let chain: Vec<String> = probe.chain.iter().map(|h| format!("{} {}", h.app, h.served.word())).collect();
        let word = if probe.passed { "right" } else { "wrong" };
        let message = probe.message.as_deref().map(|m| format!(": {m}")).unwrap_or_default();
        add("probe", format!("{} {} {word}: {}{message}", probe.probe.path, probe.status, chain.join(" → ")));
    }
    if !task.batches.is_empty() {
        lines.push(Rich::new());
        lines.extend(batches(model, release, task, width));
    }
    lines
}
