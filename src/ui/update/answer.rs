//! Handles outcomes of intents and answers to queries.

use super::logs;
use crate::domain::log::LogEvent;
use crate::ui::{
    effect::{Answer, Effect, Fault, IntentOutcome, Ticket},
    model::{Level, Model, Overlay, Source, Text, style_yaml_line},
    theme::Role,
    widget::RichText,
};

pub(super) fn handle_settled(
    model: &mut Model,
    ticket: Ticket,
    outcome: Result<IntentOutcome, Fault>,
) -> Vec<Effect> {
    let Some(pending) = model.pending.remove(&ticket) else {
        return vec![];
    };
    if let Some(id) = pending.probe {
        return handle_probe(model, id, &pending.about, outcome);
    }
    match outcome {
        Ok(done) => {
            model.add_notice(Level::Good, &*done.text, vec![]);
            // When releases were created, follow the newest one instead of the chosen one.
            if model.release.is_some()
                && done
                    .releases
                    .iter()
                    .any(|name| Some(name) != model.release.as_ref())
            {
                (model.release, model.task) = (None, None);
            }
        }
        Err(fault) => report_fault(model, &fault),
    }
    vec![]
}

fn report_fault(model: &mut Model, fault: &Fault) {
    let detail = fault.detail.iter().map(ToString::to_string).collect();
    let level = if fault.moved_on {
        Level::Warn
    } else {
        Level::Bad
    };
    model.add_notice(level, &*fault.text, detail);
}

/// Adds the result to the open probe overlay; when that was closed, reports it as a notice.
fn handle_probe(
    model: &mut Model,
    id: u64,
    label: &str,
    outcome: Result<IntentOutcome, Fault>,
) -> Vec<Effect> {
    let open = model.overlays.iter_mut().find_map(|o| match o {
        Overlay::Text(text) if matches!(text.source, Source::Probe(ref run) if run.id == id) => {
            Some(text)
        }
        _ => None,
    });
    match open {
        Some(text) => fill_probe_slot(text, label, outcome),
        None => match outcome {
            Ok(done) => {
                for probe in &done.probes {
                    let level = if probe.passed {
                        Level::Good
                    } else {
                        Level::Bad
                    };
                    model.add_notice(
                        level,
                        format!("probe {label} {}: {}", probe.path, probe.verdict),
                        probe.problems.clone(),
                    );
                }
            }
            Err(fault) => report_fault(model, &fault),
        },
    }
    vec![]
}

fn fill_probe_slot(text: &mut Text, label: &str, outcome: Result<IntentOutcome, Fault>) {
    let Source::Probe(run) = &mut text.source else {
        return;
    };
    if let Some((_, slot)) = run
        .slots
        .iter_mut()
        .find(|(own, slot)| own == label && slot.is_none())
    {
        *slot = Some(outcome.map(|done| done.probes));
    }
    text.loading = run.slots.iter().any(|(_, slot)| slot.is_none());
}

pub(super) fn handle_answer(model: &mut Model, ticket: Ticket, answer: Answer) {
    let shown = model.options.place.clone();
    let palette = model.overlays.iter_mut().find_map(|o| match o {
        Overlay::Palette(palette) if palette.ticket == Some(ticket) => Some(palette),
        _ => None,
    });
    if let Some(palette) = palette {
        match answer {
            Answer::Choices(choices) => palette.set_choices(choices, &shown),
            Answer::Failed(fault) => palette.none = fault.text.to_string(),
            Answer::Lines(_) | Answer::Compared(_) | Answer::End => {}
            Answer::Log(_) | Answer::Saved(_) | Answer::NotSaved(_) => {}
        }
        return;
    }
    match answer {
        Answer::Saved(path) => model.add_notice(Level::Good, format!("saved to {path}"), vec![]),
        Answer::NotSaved(fault) => report_fault(model, &fault),
        Answer::Log(events) => add_to_log(model, ticket, events),
        answer => add_to_text(model, ticket, answer),
    }
}

/// Adds lines to the open log that asked for them.
fn add_to_log(model: &mut Model, ticket: Ticket, events: Vec<LogEvent>) {
    let asked = |o: &Overlay| matches!(o, Overlay::Text(text) if text.ticket == Some(ticket));
    let Some(at) = model.overlays.iter().position(asked) else {
        return;
    };
    let mut overlays = std::mem::take(&mut model.overlays);
    if let Some(Overlay::Text(text)) = overlays.get_mut(at)
        && let Source::Logs(target) = text.source.clone()
    {
        text.loading = false;
        text.append_log(events, |key| logs::label_pod(model, &target, key));
    }
    model.overlays = overlays;
}

fn add_to_text(model: &mut Model, ticket: Ticket, answer: Answer) {
    let open = model.overlays.iter_mut().find_map(|o| match o {
        Overlay::Text(text) if text.ticket == Some(ticket) => Some(text),
        _ => None,
    });
    let Some(text) = open else { return };
    match answer {
        Answer::Lines(lines) => {
            text.loading = false;
            text.append_lines(lines.iter().map(|l| style_yaml_line(l)));
        }
        Answer::Choices(_) | Answer::Log(_) | Answer::Saved(_) | Answer::NotSaved(_) => {}
        Answer::Compared(pair) => {
            text.loading = false;
            if let Source::Comparison(shown) = &mut text.source {
                shown.answers = Some(pair);
                shown.compare_again(&model.ignored);
            }
        }
        Answer::End => {
            text.loading = false;
            if matches!(text.source, Source::Logs(_)) {
                text.append_lines([RichText::styled(Role::Muted, "the log has ended")]);
            }
        }
        Answer::Failed(fault) => {
            text.loading = false;
            text.append_lines([RichText::styled(Role::Bad, &*fault.text)]);
            text.append_lines(
                fault
                    .detail
                    .iter()
                    .map(|d| RichText::styled(Role::Muted, &**d))
                    .collect::<Vec<_>>(),
            );
        }
    }
}
