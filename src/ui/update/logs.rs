//! Opens logs of what is selected, and changes which part of them is shown.

use crate::{
    domain::{
        log::{ContainerChoice, LogRequest},
        pod_selection::PodSelection,
        world::ObjectKey,
    },
    ui::{
        effect::{Effect, Query},
        model::{Level, LogTarget, Model, Overlay, Source, Text},
    },
};

/// The pods whose logs the key opens: of the selected pod, environment, App, lane or chain.
pub(in crate::ui) fn selected_pods(model: &Model) -> Option<PodSelection> {
    model.pane.behaviour().selected_pods(model)
}

pub(in crate::ui) fn open_logs(model: &mut Model) -> Vec<Effect> {
    let chosen = selected_pods(model);
    let found = chosen.filter(|selection| !selection.select_pods(&model.world).is_empty());
    let Some(selection) = found else {
        let words = model.pane.behaviour().explain_missing_pods(model);
        model.add_notice(Level::Warn, words, vec![]);
        return vec![];
    };
    let scopes = selection.list_scopes(&model.world);
    let mut target = LogTarget {
        selection,
        scopes,
        ..LogTarget::default()
    };
    find_containers(model, &mut target);
    let (text, effect) = request_log(model, target);
    model.overlays.push(Overlay::Text(Box::new(text)));
    vec![effect]
}

/// Names the containers of the chosen pods; of one pod the first one is chosen.
fn find_containers(model: &Model, target: &mut LogTarget) {
    let mut names: Vec<String> = vec![];
    for pod in target.selection.select_pods(&model.world) {
        for name in &pod.containers {
            if !names.iter().any(|known| **known == **name) {
                names.push(name.to_string());
            }
        }
    }
    target.container = target
        .container
        .take()
        .filter(|name| names.contains(name))
        .or_else(|| {
            names
                .first()
                .filter(|_| target.selection.is_one_pod())
                .cloned()
        });
    target.containers = names;
}

/// The log shown in the topmost overlay.
pub(in crate::ui) fn top_log(model: &Model) -> Option<&LogTarget> {
    match model.overlays.last() {
        Some(Overlay::Text(text)) => match &text.source {
            Source::Logs(log) => Some(log),
            _ => None,
        },
        _ => None,
    }
}

/// Replaces the open log by another one: of another container, run, time or choice of pods.
pub(in crate::ui) fn switch_log(
    model: &mut Model,
    change: impl FnOnce(&mut LogTarget),
) -> Vec<Effect> {
    let Some(mut target) = top_log(model).cloned() else {
        return vec![];
    };
    change(&mut target);
    find_containers(model, &mut target);
    let Some(Overlay::Text(old)) = model.overlays.pop() else {
        return vec![];
    };
    let (text, effect) = request_log(model, target);
    let text = Text {
        filter: old.filter,
        search: old.search,
        wrap: old.wrap,
        left: old.left,
        ..text
    };
    model.overlays.push(Overlay::Text(Box::new(text)));
    let cancelled = old.ticket.map(Effect::CancelQuery);
    cancelled.into_iter().chain([effect]).collect()
}

fn request_log(model: &mut Model, target: LogTarget) -> (Text, Effect) {
    let ticket = model.next_ticket();
    let pods = target.selection.select_pods(&model.world).len();
    let request = LogRequest {
        selection: target.selection.clone(),
        containers: target
            .container
            .clone()
            .map_or(ContainerChoice::First, |name| {
                ContainerChoice::Named(vec![name])
            }),
        since: target.range.since_seconds(),
        tail: Some(target.range.tail_lines(pods)),
        previous: target.previous,
    };
    let text = Text {
        ticket: Some(ticket),
        loading: true,
        follow: !target.previous,
        timestamps: model.timestamps,
        wrap: !model.unwrapped,
        ..Text::new(target.title(), Source::Logs(Box::new(target)))
    };
    let namespace = model.world.namespace.clone();
    let query = Query::Logs { namespace, request };
    (text, Effect::Query(ticket, query))
}

/// Short name of a pod in the open log.
pub(in crate::ui) fn label_pod(model: &Model, target: &LogTarget, key: &ObjectKey) -> String {
    let short = |app: &str| model.facts.short_name(app).to_owned();
    target.selection.label_pod(&model.world, key, short)
}

/// Shows the time of each line of the open log, or hides it.
pub(in crate::ui) fn toggle_timestamps(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Text(text)) = model.overlays.last_mut() {
        text.timestamps = !text.timestamps;
        model.timestamps = text.timestamps;
    }
    vec![]
}
