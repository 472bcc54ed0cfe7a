//! Handles outcomes of intents and answers to queries.

use super::{act::shown_namespace, edit, forward, logs};
use crate::domain::{log::LogEvent, text::Clean, world::ObjectKey};
use crate::ui::{
    effect::{Answer, Effect, Fault, IntentOutcome, Query, Returned, Ticket, cluster_of_place},
    model::{Level, Model, Overlay, Source, Text, style_described_line, style_yaml_line},
    theme::Role,
    widget::RichText,
};

pub(in crate::ui) fn handle_settled(
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
    let told = match &outcome {
        Ok(done) => Ok(done.text.to_string()),
        Err(fault) => Err(fault.text.to_string()),
    };
    let about = ObjectKey::at_home(pending.namespace, pending.about);
    let effects = report_outcome(model, &about.namespace.name, pending.draft, outcome);
    if let Some(id) = pending.run {
        end_part_of_run(model, id, &about, told);
    }
    effects
}

/// Notes what came of one intent of a run. After the last one all of them are told.
fn end_part_of_run(model: &mut Model, id: u64, about: &ObjectKey, outcome: Result<String, String>) {
    let scope = model.scope_of(&about.namespace.name);
    let app = scope.and_then(|scope| {
        let release = scope.world.releases.get(&about.name)?;
        Some(scope.key_of(&release.spec.app))
    });
    let name = model.qualified_name(&about.namespace.name, &about.name);
    let Some(run) = model.runs.get_mut(&id) else {
        return;
    };
    match outcome {
        Ok(text) => run.done.push(text),
        Err(why) => {
            run.failed.push(format!("{name}: {why}"));
            // What failed can be tried again.
            model.marked.extend(app);
        }
    }
    if run.done.len() + run.failed.len() < run.all {
        return;
    }
    let Some(run) = model.runs.remove(&id) else {
        return;
    };
    let (word, all, failed) = (run.word, run.all, run.failed.len());
    if failed == 0 {
        model.add_notice(Level::Good, format!("{word}: all done"), run.done);
        return;
    }
    let words = format!(
        "{word}: {} of {all} done, {failed} failed and marked again",
        run.done.len()
    );
    let detail = run.failed.into_iter().chain(run.done).collect();
    model.add_notice(Level::Bad, words, detail);
}

fn report_outcome(
    model: &mut Model,
    namespace: &str,
    draft: Option<String>,
    outcome: Result<IntentOutcome, Fault>,
) -> Vec<Effect> {
    let mut discard = vec![];
    match outcome {
        Ok(done) => {
            if let Some(path) = draft {
                let ticket = model.next_ticket();
                discard = vec![Effect::Query(ticket, Query::Discard(path))];
            }
            let words = name_namespace(model, namespace, &done.text);
            model.add_notice(Level::Good, words, vec![]);
            // When releases were created, follow the newest one instead of the chosen one.
            if model.release.is_some()
                && model.world.namespace == namespace
                && done
                    .releases
                    .iter()
                    .any(|name| Some(name) != model.release.as_ref())
            {
                (model.release, model.task) = (None, None);
            }
        }
        Err(mut fault) => {
            let kept = draft.map(|path| format!("the text is kept in {path}"));
            fault.detail.extend(kept.map(Clean::from));
            fault.text = Clean::from(name_namespace(model, namespace, &fault.text));
            report_fault(model, &fault);
        }
    }
    discard
}

/// What is told of a namespace, with its name where several are shown.
fn name_namespace(model: &Model, namespace: &str, words: &str) -> String {
    if model.shows_all && !namespace.is_empty() {
        format!("{namespace}: {words}")
    } else {
        words.to_owned()
    }
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

pub(in crate::ui) fn handle_answer(
    model: &mut Model,
    ticket: Ticket,
    answer: Answer,
) -> Vec<Effect> {
    match answer {
        Answer::Editable(object) => return edit::open_editor(model, ticket, object),
        Answer::EditChecked(checked) => return edit::ask_to_save(model, ticket, checked),
        Answer::Failed(fault) if model.edits.remove(&ticket).is_some() => {
            model.pending.remove(&ticket);
            report_fault(model, &fault);
        }
        Answer::Saved(path) => model.add_notice(Level::Good, format!("saved to {path}"), vec![]),
        Answer::NotSaved(fault) => report_fault(model, &fault),
        answer if model.forwards.contains_key(&ticket) => {
            forward::handle_answer(model, ticket, answer);
        }
        answer if is_for_palette(model, ticket) => fill_palette(model, ticket, answer),
        Answer::Log(events) => add_to_log(model, ticket, events),
        answer => add_to_text(model, ticket, answer),
    }
    vec![]
}

/// A program that had the terminal has ended.
pub(in crate::ui) fn handle_returned(
    model: &mut Model,
    ticket: Ticket,
    returned: Result<Returned, Fault>,
) -> Vec<Effect> {
    match returned {
        Ok(returned) => {
            if let Some(words) = &returned.words {
                model.add_notice(Level::Info, words, vec![]);
            }
            edit::check_draft(model, ticket, returned)
        }
        Err(fault) => {
            model.edits.remove(&ticket);
            report_fault(model, &fault);
            vec![]
        }
    }
}

fn is_for_palette(model: &Model, ticket: Ticket) -> bool {
    let asked = |o: &Overlay| matches!(o, Overlay::Palette(p) if p.ticket == Some(ticket));
    model.overlays.iter().any(asked)
}

fn fill_palette(model: &mut Model, ticket: Ticket, answer: Answer) {
    let shown = model.options.place.clone();
    let namespace = shown_namespace(model);
    let palette = model.overlays.iter_mut().find_map(|o| match o {
        Overlay::Palette(palette) if palette.ticket == Some(ticket) => Some(palette),
        _ => None,
    });
    match (palette, answer) {
        (Some(palette), Answer::Choices(choices)) => {
            palette.set_choices(choices, cluster_of_place(&shown));
        }
        (Some(palette), Answer::Namespaces(choices)) => {
            palette.set_namespaces(choices, &namespace);
        }
        (Some(palette), Answer::Ports(ports)) => forward::set_ports(palette, ports),
        (Some(palette), Answer::Failed(fault)) => palette.none = fault.text.to_string(),
        _ => {}
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
            if matches!(text.source, Source::Output) {
                text.append_lines(lines.iter().map(|l| RichText::styled(Role::Text, &**l)));
            } else {
                text.append_lines(lines.iter().map(|l| style_yaml_line(l)));
            }
        }
        Answer::Described(lines) => {
            text.loading = false;
            if !text.lines.is_empty() {
                text.append_lines([RichText::new()]);
            }
            text.append_lines(lines.iter().map(style_described_line));
        }
        Answer::Choices(_)
        | Answer::Namespaces(_)
        | Answer::Log(_)
        | Answer::Saved(_)
        | Answer::NotSaved(_)
        | Answer::Editable(_)
        | Answer::EditChecked(_)
        | Answer::Ports(_)
        | Answer::Forwarding(_) => {}
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
